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
    assert!(confirmations.under_way.lock()[&OWNER].capacity() <= 8);
    drop(store.questions());
    assert!(matches!(poll(first), Poll::Ready(Err(StoreError::Unavailable { .. }))));
    drop(store.questions());
    assert!(confirmations.under_way.lock().is_empty());
}
