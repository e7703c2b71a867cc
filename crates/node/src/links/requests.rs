//! What comes behind a request: a run of chunks, or nothing. Nothing is begun before all of it has come.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use guildhall_proto::UserId;
use guildhall_proto::call::{CallFault, ChunkFault, IdRun, LineRun, Malformed};
use guildhall_proto::frame::Kind;
use guildhall_proto::limits::GUILD_SESSIONS_MAX;
use guildhall_transport::{LaneReceiver, in_time};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};

use super::unanswered::Unanswered;

/// The rest of a request, and until when its caller waits.
pub(super) struct Incoming<'a> {
    pub(super) lane: &'a mut LaneReceiver,
    /// Leave to take in more than one chunk: of whoever dialed, and of the node.
    pub(super) places: [&'a Arc<Semaphore>; 2],
    /// How long that was from the beginning.
    pub(super) within: Duration,
    pub(super) deadline: Instant,
}

/// The place that a request of more than one chunk takes, for as long as it is there.
pub(super) type Place = Option<[OwnedSemaphorePermit; 2]>;

impl Incoming<'_> {
    /// Waits for the end of a request behind which nothing may come.
    pub(super) async fn nothing(&mut self) -> Result<(), Unanswered> {
        let deadline = self.deadline;
        let behind = in_time(|| Some(deadline), pin!(self.lane.next())).await.ok_or(CallFault::TooLate)??;
        match behind {
            None => self.in_time(),
            Some(_) => Err(Malformed::Chunks.into()),
        }
    }

    /// Takes in the lines of an import.
    pub(super) async fn lines(&mut self) -> Result<(LineRun, Place), Unanswered> {
        let mut lines = LineRun::default();
        let place = self.run(|chunk| lines.take(chunk)).await?;
        Ok((lines, place))
    }

    /// Takes in the users for whom a feed is opened.
    pub(super) async fn users(&mut self) -> Result<(Vec<UserId>, Place), Unanswered> {
        let (mut run, mut users) = (IdRun::new(GUILD_SESSIONS_MAX), Vec::new());
        let place = self.run(|chunk| run.take(chunk, &mut users)).await?;
        Ok((users, place))
    }

    async fn run(&mut self, take: impl FnMut(&[u8]) -> Result<(), ChunkFault>) -> Result<Place, Unanswered> {
        let place = timeout_at(self.deadline, run(self.lane, self.places, take)).await;
        let place = place.map_err(|_| CallFault::TooLate)??;
        self.in_time().map(|()| place)
    }

    fn in_time(&self) -> Result<(), Unanswered> {
        if Instant::now() < self.deadline { Ok(()) } else { Err(CallFault::TooLate.into()) }
    }
}

/// Takes chunks up to the end of their run, and of the lane.
async fn run(
    lane: &mut LaneReceiver,
    [of_peer, of_node]: [&Arc<Semaphore>; 2],
    mut take: impl FnMut(&[u8]) -> Result<(), ChunkFault>,
) -> Result<Place, Unanswered> {
    let (mut taken, mut place, mut is_whole) = (0, None, false);
    while let Some(frame) = lane.next().await? {
        match frame.kind {
            Kind::Chunk => {
                taken += 1;
                if taken == 2 {
                    // The dialer's first: who waits for that keeps nobody else from the node's.
                    let of_peer = acquire(of_peer).await;
                    place = Some([of_peer, acquire(of_node).await]);
                    lane.hurry();
                }
                take(&frame.body).map_err(Malformed::from)?;
            }
            Kind::End => is_whole = true,
            Kind::Hello
            | Kind::HelloAnswer
            | Kind::Request
            | Kind::Answer
            | Kind::Error
            | Kind::Feed
            | Kind::Ephemeral => return Err(Malformed::Chunks.into()),
        }
    }
    if is_whole { Ok(place) } else { Err(Malformed::Chunks.into()) }
}

/// Waits for one of these places.
pub(super) async fn acquire(places: &Arc<Semaphore>) -> OwnedSemaphorePermit {
    Arc::clone(places).acquire_owned().await.expect("the semaphore is never closed")
}
