//! A backup over a link: one thread reads the store and writes the archive, and is a few chunks ahead of whoever reads it.
//!
//! An archive may take longer than any caller may wait. So it is given up not when its caller's time is over, but when a chunk of it has lain unread for as
//! long as that; or when the caller has read nothing for as long as its link's lanes allow ([`guildhall_transport::TransportConfig::stall`]), as for every answer.

use std::io;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use guildhall_proto::frame::{BODY_BYTES_MAX, Kind};
use guildhall_proto::{CallError, Millis};
use guildhall_store::Store;
use guildhall_transport::{LaneSender, Priority};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::timeout;

use super::unanswered::Unanswered;
use crate::offload;

/// An archive that is being written.
pub(super) struct Archive {
    pieces: mpsc::Receiver<Piece>,
    /// How long a chunk may wait to be read whole, beside what the lane allows.
    patience: Duration,
}

enum Piece {
    Bytes(Vec<u8>),
    /// All of it has come.
    End,
    /// No more comes.
    Failed(String),
}

/// Hands over what is written, a chunk at a time; waits while nobody takes it, and fails once nobody will.
struct Chunks {
    to: mpsc::Sender<Piece>,
    gathered: Vec<u8>,
}

impl Archive {
    /// Begins to write all that the store has.
    ///
    /// # Errors
    /// `Overloaded` while as many are written as may be; `Unavailable` if there is no thread for it.
    pub(super) fn begin(
        store: Arc<dyn Store>,
        made_at: Millis,
        places: &Arc<Semaphore>,
        patience: Duration,
    ) -> Result<Self, CallError> {
        let place = Arc::clone(places).try_acquire_owned();
        let place = place.map_err(|_| CallError::Overloaded { retry_after: RETRY_AFTER })?;
        let (to, pieces) = mpsc::channel(AHEAD_CHUNKS);
        let write = move || write(&*store, made_at, to, place);
        let thread = thread::Builder::new().name("backup".to_owned()).spawn(write);
        thread.map_err(|error| CallError::Unavailable { reason: format!("no thread for a backup: {error}") })?;
        Ok(Self { pieces, patience })
    }

    /// Sends it as it comes.
    pub(super) async fn send(mut self, lane: &mut LaneSender) -> Result<(), Unanswered> {
        lane.set_priority(Priority::Bulk);
        loop {
            let piece = tokio::select! {
                biased;
                piece = self.pieces.recv() => piece,
                () = lane.given_up() => return Err(Unanswered::Left),
            };
            match piece {
                Some(Piece::Bytes(bytes)) => lane.append(Kind::Chunk, &bytes).map_err(Unanswered::unfit)?,
                Some(Piece::End) => return lane.append(Kind::End, &[]).map_err(Unanswered::unfit),
                Some(Piece::Failed(reason)) => return Err(CallError::Unavailable { reason }.into()),
                None => {
                    return Err(CallError::Unavailable { reason: "the backup's thread has panicked".to_owned() }.into());
                }
            }
            timeout(self.patience, lane.flush()).await.map_err(|_| Unanswered::Unread)??;
        }
    }
}

fn write(store: &dyn Store, made_at: Millis, to: mpsc::Sender<Piece>, _place: OwnedSemaphorePermit) {
    offload::at_lowest_priority();
    let mut chunks = Chunks { to, gathered: Vec::new() };
    let end = match store.backup(&mut chunks, made_at) {
        Ok(report) => {
            tracing::info!(
                guilds = report.guilds,
                bytes = report.bytes,
                left_out = report.left_out.len(),
                "backup written"
            );
            Piece::End
        }
        Err(error) => {
            tracing::warn!(%error, "no backup");
            Piece::Failed(format!("no backup: {error}"))
        }
    };
    // Who has gone needs no end.
    drop(chunks.to.blocking_send(end));
}

impl Chunks {
    fn hand_over(&mut self, bytes: Vec<u8>) -> io::Result<()> {
        let sent = self.to.blocking_send(Piece::Bytes(bytes));
        sent.map_err(|_| io::Error::new(io::ErrorKind::BrokenPipe, "nobody takes it any more"))
    }
}

impl io::Write for Chunks {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(BODY_BYTES_MAX - self.gathered.len());
        self.gathered.extend_from_slice(&bytes[..taken]);
        if self.gathered.len() == BODY_BYTES_MAX {
            let full = std::mem::take(&mut self.gathered);
            self.hand_over(full)?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.gathered.is_empty() {
            return Ok(());
        }
        let rest = std::mem::take(&mut self.gathered);
        self.hand_over(rest)
    }
}

/// Backups that are written at a time: each reads all of the disk, and two take twice as long.
pub(super) const BACKUPS_MAX: usize = 1;
/// Chunks that are written and not sent: some 1 MiB.
const AHEAD_CHUNKS: usize = 4;
/// Most take longer.
const RETRY_AFTER: Duration = Duration::from_secs(10);
