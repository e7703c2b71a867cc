//! Backups over a link.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use guildhall_node::Counter;
use guildhall_proto::call::{Answer, Ask, CallFault, Request, Within};
use guildhall_proto::frame::Kind;
use guildhall_proto::{CallError, Epoch, Grant, GuildId, Millis};
use guildhall_store::{
    BackupError, BackupReport, Batch, Claim, Known, MemoryStore, Store, StoreError, Stored, StoredCheckpoint,
};
use guildhall_transport::{LaneError, LaneReceiver, Role, TransportConfig};

use crate::world::{Dialer, World, soon};

/// A store in memory, with an archive of so many bytes.
struct Archived {
    store: Arc<MemoryStore>,
    bytes: usize,
}

impl Store for Archived {
    fn knows(&self, guild: GuildId) -> Result<Known, StoreError> {
        self.store.knows(guild)
    }

    fn list(&self, after: Option<GuildId>, limit: usize) -> Result<Vec<GuildId>, StoreError> {
        self.store.list(after, limit)
    }

    fn confirm(&self, guild: GuildId, epoch: Epoch, confirmed: Stored) {
        self.store.confirm(guild, epoch, confirmed);
    }

    fn claim(&self, guild: GuildId, grant: Grant) -> Result<Claim, StoreError> {
        self.store.claim(guild, grant)
    }

    fn append(&self, batch: Batch, stored: Stored) {
        self.store.append(batch, stored);
    }

    fn checkpoint(&self, guild: GuildId, epoch: Epoch, checkpoint: StoredCheckpoint, stored: Stored) {
        self.store.checkpoint(guild, epoch, checkpoint, stored);
    }

    fn has_room(&self) -> bool {
        self.store.has_room()
    }

    fn backup(&self, archive: &mut dyn io::Write, _: Millis) -> Result<BackupReport, BackupError> {
        // In pieces that are no divisor of a chunk.
        for begin in (0..self.bytes).step_by(10_007) {
            archive.write_all(&bytes(begin..self.bytes.min(begin + 10_007)))?;
        }
        archive.flush()?;
        Ok(BackupReport::default())
    }
}

fn bytes(range: std::ops::Range<usize>) -> Vec<u8> {
    range.map(|at| (at % 251) as u8).collect()
}

fn world(bytes: usize) -> World {
    World::over(|store| Arc::new(Archived { store, bytes }), |_, _| {})
}

#[tokio::test]
async fn an_archive_of_which_nothing_is_read_is_given_up_as_soon_as_any_answer_however_long_its_caller_may_wait() {
    let transport = TransportConfig { stall: Duration::from_millis(100), ..TransportConfig::default() };
    let bytes = 64 * 1024 * 1024;
    let world = World::over_links(|store| Arc::new(Archived { store, bytes }), transport);
    let dialer = world.dial(Role::Operator).await;
    let mut receive = begun(&dialer, &Ask { within: Within::MAX, request: Request::Backup }).await;
    world.until_counted(Counter::CallsStalled, 1).await;
    let error = loop {
        match soon(receive.next()).await {
            Ok(frame) => assert!(frame.is_some(), "it is not whole"),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, LaneError::Unread), "{error}");
}

#[tokio::test]
async fn an_archive_comes_whole_however_long_it_is() {
    for length in [0, 1, 256 * 1024, 5_000_000] {
        let world = world(length);
        let dialer = world.dial(Role::Operator).await;
        let answered = dialer.ask(Request::Backup).await.unwrap();
        assert!(answered.answer == Answer::Archive && answered.bytes == bytes(0..length), "{length}");
    }
}

#[tokio::test]
async fn an_archive_that_nobody_reads_is_given_up_and_meanwhile_there_is_no_other() {
    // More than all windows hold together.
    let world = world(64 * 1024 * 1024);
    let dialer = world.dial(Role::Operator).await;
    let ask = Ask { within: Within::new(Duration::from_secs(2)).unwrap(), request: Request::Backup };
    let stalled = begun(&dialer, &ask).await;
    let other = dialer.ask(Request::Backup).await;
    assert!(matches!(other, Err(CallFault::Call(CallError::Overloaded { .. }))), "{other:?}");
    world.until_counted(Counter::CallsUnread, 1).await;
    drop(stalled);

    // Its place is free, and one whose reader goes away leaves it too; one that is read goes on for longer than its caller would wait.
    drop(begun(&dialer, &ask).await);
    world.until_counted(Counter::CallsLeft, 1).await;
    let mut receive = begun(&dialer, &ask).await;
    let (mut came, mut last) = (0, Kind::Answer);
    while let Some(frame) = soon(receive.next()).await.unwrap() {
        came += frame.body.len();
        last = frame.kind;
    }
    assert_eq!((came, last), (64 * 1024 * 1024, Kind::End));
}

/// Begins a backup, as soon as the thread of the one before has noticed that it is over.
async fn begun(dialer: &Dialer, ask: &Ask) -> LaneReceiver {
    loop {
        let (send, mut receive) = dialer.begin(ask.clone(), &[]).await;
        soon(send.finish()).await.unwrap();
        if soon(receive.next()).await.unwrap().unwrap().kind == Kind::Answer {
            return receive;
        }
    }
}

#[tokio::test]
async fn a_store_without_anything_that_lasts_has_no_backup() {
    let world = World::new();
    let dialer = world.dial(Role::Operator).await;
    let refused = dialer.ask(Request::Backup).await;
    let Err(CallFault::Call(CallError::Unavailable { reason })) = refused else { panic!("{refused:?}") };
    assert_eq!(reason, "no backup: this store keeps nothing that could be saved");
}
