use std::pin::pin;
use std::task::{Context, Poll, Waker};

use guildhall_proto::Grant;
use guildhall_store::{Batch, Claim, Known, MemoryStore, Stored, StoredCheckpoint};

use super::*;

/// Keeps questions until it is told to answer.
#[derive(Default)]
struct Slow {
    store: MemoryStore,
    questions: Mutex<Vec<Stored>>,
}

impl Slow {
    fn questions(&self) -> Vec<Stored> {
        take(&mut *self.questions.lock())
    }
}

impl Store for Slow {
    fn knows(&self, guild: GuildId) -> Result<Known, StoreError> {
        self.store.knows(guild)
    }

    fn list(&self, after: Option<GuildId>, limit: usize) -> Result<Vec<GuildId>, StoreError> {
        self.store.list(after, limit)
    }

    fn confirm(&self, _guild: GuildId, _epoch: Epoch, confirmed: Stored) {
        self.questions.lock().push(confirmed);
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
        true
    }
}

fn world() -> (Arc<Slow>, Arc<Confirmations>) {
    let store = Arc::new(Slow::default());
    let confirmations = Confirmations::new(Arc::clone(&store) as Arc<_>, Arc::default());
    (store, Arc::new(confirmations))
}

const OWNER: Owner = (GuildId::MIN, Epoch(3));

fn poll<T>(future: std::pin::Pin<&mut impl Future<Output = T>>) -> Poll<T> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

#[test]
fn who_comes_while_a_question_is_under_way_has_the_answer_to_the_next_one() {
    let (store, confirmations) = world();
    let mut first = pin!(confirmations.confirm(OWNER));
    assert!(poll(first.as_mut()).is_pending());
    let [question] = <[Stored; 1]>::try_from(store.questions()).ok().expect("it is asked at once");
    let mut later: Vec<_> = (0..100).map(|_| Box::pin(confirmations.confirm(OWNER))).collect();
    assert!(later.iter_mut().all(|asker| poll(asker.as_mut()).is_pending()));
    assert!(store.questions().is_empty(), "one is under way");
    question(Ok(()));
    assert_eq!(poll(first), Poll::Ready(Ok(())));
    assert!(later.iter_mut().all(|asker| poll(asker.as_mut()).is_pending()), "that was asked before they came");
    let [question] = <[Stored; 1]>::try_from(store.questions()).ok().expect("one question for them all");
    let fenced = StoreError::Fenced { got: Epoch(3), current: Epoch(4) };
    question(Err(fenced.clone()));
    assert!(later.iter_mut().all(|asker| poll(asker.as_mut()) == Poll::Ready(Err(fenced.clone()))));
    assert!(confirmations.under_way.lock().is_empty());
}

#[test]
fn who_has_gone_takes_no_room_and_a_question_without_an_answer_is_none() {
    let (store, confirmations) = world();
    let mut first = pin!(confirmations.confirm(OWNER));
    assert!(poll(first.as_mut()).is_pending());
    for _ in 0..10_000 {
        assert!(poll(pin!(confirmations.confirm(OWNER))).is_pending());
    }
    assert!(confirmations.under_way.lock()[&OWNER].waiting.capacity() <= 8);
    drop(store.questions());
    assert!(matches!(poll(first), Poll::Ready(Err(StoreError::Unavailable { .. }))));
    drop(store.questions());
    assert!(confirmations.under_way.lock().is_empty());
}

/// Answers while it is asked, and has another reader come before each answer.
#[derive(Default)]
struct Prompt {
    store: MemoryStore,
    confirmations: Mutex<Option<Arc<Confirmations>>>,
    /// Those who are to come, and the answers to those who have.
    to_come: Mutex<usize>,
    come: Mutex<Vec<Reader>>,
}

type Reader = std::pin::Pin<Box<dyn Future<Output = Result<(), StoreError>> + Send>>;

impl Store for Prompt {
    fn knows(&self, guild: GuildId) -> Result<Known, StoreError> {
        self.store.knows(guild)
    }

    fn list(&self, after: Option<GuildId>, limit: usize) -> Result<Vec<GuildId>, StoreError> {
        self.store.list(after, limit)
    }

    fn confirm(&self, _guild: GuildId, _epoch: Epoch, confirmed: Stored) {
        let left = {
            let mut left = self.to_come.lock();
            *left = left.saturating_sub(1);
            *left
        };
        if left > 0 {
            let confirmations = self.confirmations.lock().clone().unwrap();
            let mut reader: Reader = Box::pin(async move { confirmations.confirm(OWNER).await });
            assert!(poll(std::pin::Pin::new(&mut reader)).is_pending());
            self.come.lock().push(reader);
        }
        confirmed(Ok(()));
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
        true
    }
}

#[test]
fn a_store_that_answers_at_once_is_asked_one_question_behind_the_other_however_many_come() {
    let store = Arc::new(Prompt::default());
    let confirmations = Arc::new(Confirmations::new(Arc::clone(&store) as Arc<_>, Arc::default()));
    *store.confirmations.lock() = Some(Arc::clone(&confirmations));
    // Each within the one before would be more than any stack has.
    *store.to_come.lock() = 200_000;
    assert_eq!(poll(pin!(confirmations.confirm(OWNER))), Poll::Ready(Ok(())));
    let mut come = take(&mut *store.come.lock());
    assert_eq!(come.len(), 199_999);
    assert!(come.iter_mut().all(|reader| poll(std::pin::Pin::new(reader)) == Poll::Ready(Ok(()))));
    assert!(confirmations.under_way.lock().is_empty());
    *store.confirmations.lock() = None;
}
