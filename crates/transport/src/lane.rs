//! The two ends of a lane: frames into it, and frames out of it, in order.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use guildhall_proto::Version;
use guildhall_proto::codec::{CodecError, Encode};
use guildhall_proto::frame::{self, AppendError, Frame, FrameError, FrameReader, Kind, Lane};
use quinn::{Connection, ReadError, RecvStream, SendStream, VarInt, WriteError};
use tokio::time::Instant;

use crate::counters::{Counter, Counters};
use crate::in_time::in_time;
use crate::{CloseReason, Closed, TransportConfig};

/// Sends frames. They gather in a buffer until they are flushed, many in one write. Dropped before it is finished, it tells the other
/// end that it gave up.
#[derive(Debug)]
pub struct LaneSender {
    stream: Stream,
    lane: Lane,
    version: Version,
    /// The kind of the last frame.
    last: Option<Kind>,
    gathered: Vec<u8>,
    is_finished: bool,
    /// How long the other end may take nothing of what is flushed, if there is such a time.
    taken_within: Option<Duration>,
    /// What a lane that is dropped unfinished says.
    word: VarInt,
}

/// Where frames go.
#[derive(Debug)]
enum Stream {
    Open(SendStream),
    /// A lane in one direction, before anything is sent on it: the other end, which sees lanes in their order, waits for the first frame of each.
    Unopened(Connection),
}

/// Receives frames. What is wrong with them, or too late, ends the lane, is counted and told; if it is a lane that pushes, on which nothing may be
/// lost, it ends the link. Dropped, it tells the other end that nobody reads on.
#[derive(Debug)]
pub struct LaneReceiver {
    stream: RecvStream,
    reader: FrameReader,
    /// What has come and is not read.
    came: Bytes,
    /// How long the first frame may take, once it is waited for.
    first_within: Option<Duration>,
    /// By when the frame that is waited for must have come, if there is such a time.
    due: Option<Instant>,
    is_first: bool,
    /// Whether something has to come at least every [`TransportConfig::stall`].
    is_hurried: bool,
    frame_within: Duration,
    stall_within: Duration,
    /// The link, if it is to end with the lane.
    link: Option<Connection>,
    counters: Arc<Counters>,
}

/// How urgent what a lane carries is beside the other lanes of its link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Priority {
    /// As it comes.
    Ordinary,
    /// What is long, and is sent while nothing else is.
    Bulk,
}

/// Why a lane goes no further.
#[derive(Debug, thiserror::Error)]
pub enum LaneError {
    /// What came breaks the protocol.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// The first frame did not come in time.
    #[error("no whole frame has come in time")]
    Silent,
    /// A frame that had begun did not end in time.
    #[error("a frame that had begun did not end in time")]
    Half,
    /// In the middle of a long request nothing more came for too long.
    #[error("nothing more has come in time")]
    Paused,
    /// What was sent was not read for too long, and whoever sent it gave up.
    #[error("what was sent was not read in time")]
    Unread,
    /// The other end gave up sending, or does not read on.
    #[error("the other end gave the lane up")]
    GivenUp,
    /// What was to be sent cannot be encoded.
    #[error(transparent)]
    Codec(#[from] CodecError),
    /// The whole link has ended.
    #[error("the link has ended: {0}")]
    Closed(#[from] Closed),
}

impl LaneSender {
    pub(crate) const fn new(stream: SendStream, lane: Lane, version: Version) -> Self {
        Self::on(Stream::Open(stream), lane, version)
    }

    /// One that is opened when something is sent.
    pub(crate) const fn unopened(link: Connection, lane: Lane, version: Version) -> Self {
        Self::on(Stream::Unopened(link), lane, version)
    }

    const fn on(stream: Stream, lane: Lane, version: Version) -> Self {
        Self {
            stream,
            lane,
            version,
            last: None,
            gathered: Vec::new(),
            is_finished: false,
            taken_within: None,
            word: GIVEN_UP,
        }
    }

    /// The same, for an other end that is to read on.
    pub(crate) fn within(mut self, taken_within: Duration) -> Self {
        self.taken_within = Some(taken_within);
        self
    }

    /// Adds a frame to those that are sent with the next [`LaneSender::flush`].
    ///
    /// # Errors
    /// [`LaneError::Frame`] if the lane may not carry that there, or the body is not of a length that its kind may have. The lane is as it was.
    pub fn append(&mut self, kind: Kind, body: &[u8]) -> Result<(), LaneError> {
        self.check_place(kind)?;
        frame::append(kind, self.version, body, &mut self.gathered)?;
        self.last = Some(kind);
        Ok(())
    }

    /// The same with an encoded value as body.
    ///
    /// # Errors
    /// As [`LaneSender::append`], and [`LaneError::Codec`].
    pub fn append_value<T: Encode>(&mut self, kind: Kind, value: &T) -> Result<(), LaneError> {
        self.check_place(kind)?;
        self.gathered.reserve(ORDINARY_BYTES);
        frame::append_value(kind, self.version, value, &mut self.gathered)?;
        self.last = Some(kind);
        Ok(())
    }

    /// Bytes that are gathered and not flushed.
    pub fn gathered_bytes(&self) -> usize {
        self.gathered.len()
    }

    /// Hands over all that is gathered, as one; waits while the other end lags as far behind as it may. What is handed over goes out by itself.
    ///
    /// # Errors
    /// [`LaneError::GivenUp`], [`LaneError::Closed`]; [`LaneError::Unread`] if this answers a call, and the other end has taken nothing for
    /// [`TransportConfig::stall`]. Dropped while it waits, it may have sent a part: only to drop the lane is left then, as after an error.
    pub async fn flush(&mut self) -> Result<(), LaneError> {
        if self.gathered.is_empty() {
            return Ok(());
        }
        let stream = self.stream.opened().await?;
        let gathered = std::mem::take(&mut self.gathered).into();
        let Some(within) = self.taken_within else {
            return Ok(stream.write_chunk(gathered).await?);
        };
        let mut left = [gathered];
        while !left[0].is_empty() {
            match in_time(|| Some(Instant::now() + within), pin!(stream.write_chunks(&mut left))).await {
                Some(written) => drop(written?),
                None => {
                    self.word = UNREAD;
                    return Err(LaneError::Unread);
                }
            }
        }
        Ok(())
    }

    /// Flushes, and says that nothing follows.
    ///
    /// # Errors
    /// [`LaneError::Frame`] if something has to, by the lane's rules; or as [`LaneSender::flush`].
    pub async fn finish(mut self) -> Result<(), LaneError> {
        self.conclude().await
    }

    /// Finishes, and waits until the other end has received all.
    pub(crate) async fn finish_and_wait(mut self) -> Result<(), LaneError> {
        self.conclude().await?;
        match self.stream.opened().await?.stopped().await {
            Ok(None) => Ok(()),
            Ok(Some(_)) => Err(LaneError::GivenUp),
            Err(quinn::StoppedError::ConnectionLost(error)) => Err(LaneError::Closed(error.into())),
            Err(quinn::StoppedError::ZeroRttRejected) => Err(LaneError::GivenUp),
        }
    }

    /// Waits until the other end reads no more, or the link has ended. Never ends while the other end reads on.
    pub fn given_up(&self) -> impl Future<Output = ()> + Send + use<> {
        let stopped = match &self.stream {
            Stream::Open(stream) => Ok(stream.stopped()),
            Stream::Unopened(link) => Err(link.clone()),
        };
        async move {
            match stopped {
                Ok(stopped) => {
                    if let Ok(None) = stopped.await {
                        // It has all of a lane that was finished.
                        std::future::pending().await
                    }
                }
                Err(link) => drop(link.closed().await),
            }
        }
    }

    /// How urgent it is from here on.
    pub fn set_priority(&self, priority: Priority) {
        let number = match priority {
            Priority::Ordinary => 0,
            Priority::Bulk => -1,
        };
        if let Stream::Open(stream) = &self.stream {
            // Of a lane that has ended nothing is sent, so its priority is of no matter.
            stream.set_priority(number).ok();
        }
    }

    async fn conclude(&mut self) -> Result<(), LaneError> {
        if !self.lane.may_end(self.last) {
            return Err(FrameError::Cut { lane: self.lane }.into());
        }
        self.flush().await?;
        self.is_finished = true;
        match &mut self.stream {
            Stream::Open(stream) => stream.finish().map_err(|_| LaneError::GivenUp),
            Stream::Unopened(_) => Ok(()),
        }
    }

    fn check_place(&self, kind: Kind) -> Result<(), FrameError> {
        if self.lane.next(self.last).contains(&kind) {
            Ok(())
        } else {
            Err(FrameError::Misplaced { kind, lane: self.lane })
        }
    }
}

impl Drop for LaneSender {
    fn drop(&mut self) {
        if !self.is_finished
            && let Stream::Open(stream) = &mut self.stream
        {
            // Without this, QUIC would end it as if it were whole. It fails on a lane that has ended already.
            stream.reset(self.word).ok();
        }
    }
}

impl Stream {
    async fn opened(&mut self) -> Result<&mut SendStream, LaneError> {
        if let Self::Unopened(link) = self {
            let stream = link.open_uni().await.map_err(Closed::from)?;
            *self = Self::Open(stream);
        }
        match self {
            Self::Open(stream) => Ok(stream),
            Self::Unopened(_) => unreachable!("it was opened above"),
        }
    }
}

impl LaneReceiver {
    /// `first_within` is for the first frame; `None` if that may take as long as it likes.
    pub(crate) fn new(
        stream: RecvStream,
        lane: Lane,
        version: Version,
        first_within: Option<Duration>,
        config: &TransportConfig,
        counters: Arc<Counters>,
    ) -> Self {
        Self {
            stream,
            reader: FrameReader::new(lane, version),
            came: Bytes::new(),
            first_within,
            due: None,
            is_first: true,
            is_hurried: false,
            frame_within: config.frame,
            stall_within: config.stall,
            link: None,
            counters,
        }
    }

    /// The same, for a lane on which nothing may be lost.
    pub(crate) fn ending(self, link: Connection) -> Self {
        Self { link: Some(link), ..self }
    }

    /// From here on something has to come at least every [`TransportConfig::stall`] while it is waited for: whoever sends takes a place that others
    /// need.
    pub fn hurry(&mut self) {
        self.is_hurried = true;
    }

    /// The next frame; `None` once the lane has ended as it may. May be dropped while it waits, and asked again.
    ///
    /// # Errors
    /// [`LaneError`]; after one there is nothing more to read.
    pub async fn next(&mut self) -> Result<Option<Frame>, LaneError> {
        loop {
            if let Some(frame) = self.reader.read(&mut self.came).map_err(|error| self.refuse(error))? {
                self.due = None;
                self.first_within = None;
                self.is_first = false;
                return Ok(Some(frame));
            }
            let came = {
                let Self { stream, reader, first_within, due, is_hurried, frame_within, stall_within, .. } = self;
                let limit = || {
                    let now = Instant::now();
                    let within = first_within.take().or_else(|| reader.is_within_frame().then_some(*frame_within));
                    *due = due.or_else(|| within.map(|within| now + within));
                    // Counted from the last that came: who is slow may be.
                    let stalled = is_hurried.then(|| now + *stall_within);
                    (*due).into_iter().chain(stalled).min()
                };
                in_time(limit, pin!(stream.read_chunk(CHUNK_BYTES_MAX, true))).await
            };
            let read = came.ok_or_else(|| self.late())?;
            match read? {
                Some(chunk) => self.came = chunk.bytes,
                None => return self.reader.end().map(|()| None).map_err(|error| self.refuse(error)),
            }
        }
    }

    /// The only frame of a lane that may carry one alone, with the lane's end.
    pub(crate) async fn only(&mut self) -> Result<Frame, LaneError> {
        // An end without any frame is refused by the reader, and so is all that comes behind this one.
        let frame = self.next().await?.ok_or(LaneError::GivenUp)?;
        self.next().await?;
        Ok(frame)
    }

    /// Bytes of memory kept for a frame that has begun.
    pub fn kept_bytes(&self) -> usize {
        self.reader.kept_bytes()
    }

    fn refuse(&mut self, error: FrameError) -> LaneError {
        self.counters.bump(error.into());
        self.give_up();
        error.into()
    }

    fn late(&mut self) -> LaneError {
        self.give_up();
        let is_due = self.due.is_some_and(|due| due <= Instant::now());
        let (counter, error) = if !is_due {
            (Counter::LanePaused, LaneError::Paused)
        } else if self.is_first && !self.reader.is_within_frame() {
            (Counter::LaneSilent, LaneError::Silent)
        } else {
            (Counter::LaneHalf, LaneError::Half)
        };
        self.counters.bump(counter);
        error
    }

    fn give_up(&mut self) {
        // It fails on a lane that has ended already.
        self.stream.stop(GIVEN_UP).ok();
        if let Some(link) = &self.link {
            link.close(CloseReason::Broken.code(), CloseReason::Broken.name().as_bytes());
        }
    }
}

impl From<AppendError> for LaneError {
    fn from(error: AppendError) -> Self {
        match error {
            AppendError::Frame(error) => Self::Frame(error),
            AppendError::Codec(error) => Self::Codec(error),
        }
    }
}

impl From<ReadError> for LaneError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::ConnectionLost(error) => Self::Closed(error.into()),
            ReadError::Reset(UNREAD) => Self::Unread,
            ReadError::Reset(_)
            | ReadError::ClosedStream
            | ReadError::IllegalOrderedRead
            | ReadError::ZeroRttRejected => Self::GivenUp,
        }
    }
}

impl From<WriteError> for LaneError {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::ConnectionLost(error) => Self::Closed(error.into()),
            WriteError::Stopped(_) | WriteError::ClosedStream | WriteError::ZeroRttRejected => Self::GivenUp,
        }
    }
}

/// What a reset or a stop says.
const GIVEN_UP: VarInt = VarInt::from_u32(0);
/// What a reset says where the other end has not read for too long.
const UNREAD: VarInt = VarInt::from_u32(1);

/// Room for what most calls ask and are answered, so that it is not found piece by piece.
const ORDINARY_BYTES: usize = 512;

/// What is taken from a lane at once, at most: more than a packet has.
const CHUNK_BYTES_MAX: usize = 64 * 1024;
