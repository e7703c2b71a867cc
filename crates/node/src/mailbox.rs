//! An owner's bounded queue of inputs.
//!
//! Inputs come out in the order of arrival, whatever their class; a quota in items and bytes for each class keeps any of them from
//! crowding out the others. Only control (a stored turn, a finished job, a stop) overtakes; it comes from the node itself, at most a
//! few items for each thing under way.
//!
//! Full: the poster is refused at once, with a pause measured from how fast the owner drains the queue.
//!
//! An owner that expects nothing for a while may [leave](Mailbox::leave): the next poster calls it back.
//!
//! Invariants: a class never holds more than its quota, but for one item that alone is larger; no item is taken after the close.

use std::collections::VecDeque;
use std::fmt;
use std::mem::{replace, take};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::config::{MailboxConfig, Quota};
use crate::pace::Pace;

/// The importance of a request, by which a mailbox tells requests apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    Durable,
    Message,
    Session,
    Ephemeral,
}

/// A queue of `T`s in classes and `C`s that overtake them.
#[derive(Debug)]
pub(crate) struct Mailbox<T, C> {
    config: Arc<MailboxConfig>,
    queue: Mutex<Queue<T, C>>,
    arrived: Notify,
}

#[derive(Debug)]
struct Queue<T, C> {
    items: VecDeque<Queued<T>>,
    control: Vec<C>,
    used: [Quota; CLASSES],
    closed: bool,
    sleep: Sleep,
    pace: Pace,
}

/// What wakes the owner, so that posting to one that is busy, or has no use for the item, costs no wake-up.
#[derive(Debug)]
enum Sleep {
    Awake,
    /// It wants control and items.
    UntilAnything,
    /// It takes no items for now.
    UntilControl,
    /// It has left, and is called back by whatever comes.
    Away(Box<dyn Away>),
    /// It has ended.
    Never,
}

/// What is left of an owner that has left its mailbox.
pub(crate) trait Away: fmt::Debug + Send {
    /// Has the owner come back.
    fn come_back(self: Box<Self>);
}

#[derive(Debug)]
pub(crate) struct Queued<T> {
    pub(crate) item: T,
    pub(crate) since: Instant,
    class: Class,
    bytes: usize,
}

/// Why an item was not taken; it comes back.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// The class has no room.
    Full { retry_after: Duration },
    /// The owner takes nothing any more.
    Closed,
}

/// What an owner takes out at once.
#[derive(Debug)]
pub(crate) struct Taken<T, C> {
    pub(crate) control: Vec<C>,
    pub(crate) items: Vec<Queued<T>>,
}

impl<T, C> Default for Taken<T, C> {
    fn default() -> Self {
        Self { control: Vec::new(), items: Vec::new() }
    }
}

impl<T, C> Mailbox<T, C> {
    pub(crate) fn new(config: Arc<MailboxConfig>) -> Self {
        let queue = Queue {
            items: VecDeque::new(),
            control: Vec::new(),
            used: [Quota { items: 0, bytes: 0 }; CLASSES],
            closed: false,
            sleep: Sleep::Awake,
            pace: Pace::default(),
        };
        Self { config, queue: Mutex::new(queue), arrived: Notify::new() }
    }

    /// Queues an item, behind all that were queued before.
    pub(crate) fn post(&self, class: Class, bytes: usize, item: T) -> Result<(), Refused> {
        let quota = self.quota(class);
        // Read without the lock, for which others wait.
        let since = Instant::now();
        let mut queue = self.queue.lock();
        queue.require_room(class, bytes, quota)?;
        let used = &mut queue.used[class as usize];
        used.items += 1;
        used.bytes += bytes;
        queue.items.push_back(Queued { item, since, class, bytes });
        if matches!(queue.sleep, Sleep::UntilAnything | Sleep::Away(_)) {
            self.wake(queue);
        }
        Ok(())
    }

    /// What [`post`](Self::post) would say now, for who has to do much before it posts.
    pub(crate) fn require_room(&self, class: Class, bytes: usize) -> Result<(), Refused> {
        self.queue.lock().require_room(class, bytes, self.quota(class))
    }

    /// Queues control ahead of all items, after the close too. Dropped if the owner has [ended](Self::end).
    pub(crate) fn post_control(&self, control: C) {
        let mut queue = self.queue.lock();
        match queue.sleep {
            Sleep::Never => {
                drop(queue);
                drop(control);
            }
            Sleep::Awake => queue.control.push(control),
            Sleep::UntilAnything | Sleep::UntilControl | Sleep::Away(_) => {
                queue.control.push(control);
                self.wake(queue);
            }
        }
    }

    /// Waits until there is control or, if `items_max` is not 0, an item; then takes all control and up to `items_max` items into
    /// `taken`, which must be empty. Large items come alone, so that the owner can look at its clock between them.
    pub(crate) async fn take(&self, items_max: usize, taken: &mut Taken<T, C>) {
        debug_assert!(taken.control.is_empty() && taken.items.is_empty());
        loop {
            if self.try_take(items_max, taken) {
                return;
            }
            if self.fall_asleep(items_max) {
                self.arrived.notified().await;
            }
        }
    }

    /// Lets the owner leave: whoever posts next calls it back. If something has come meanwhile, it is called back at once.
    pub(crate) fn leave(&self, owner: Box<dyn Away>) {
        let mut queue = self.queue.lock();
        queue.pace.pause();
        let nothing = queue.control.is_empty() && queue.items.is_empty();
        queue.sleep = Sleep::Away(owner);
        if !nothing {
            self.wake(queue);
        }
    }

    /// Whether the owner has left.
    pub(crate) fn is_left(&self) -> bool {
        matches!(self.queue.lock().sleep, Sleep::Away(_))
    }

    /// Calls the owner back if it has left, though nothing has come for it.
    pub(crate) fn call_back(&self) {
        let queue = self.queue.lock();
        if matches!(queue.sleep, Sleep::Away(_)) {
            self.wake(queue);
        }
    }

    /// Frees the room of what was queued and taken.
    pub(crate) fn tidy(&self) {
        let mut queue = self.queue.lock();
        queue.items.shrink_to_fit();
        queue.control.shrink_to_fit();
    }

    /// Takes no items any more, and gives back those that were queued. Control still comes.
    pub(crate) fn close(&self) -> Vec<T> {
        let mut queue = self.queue.lock();
        queue.closed = true;
        queue.used = [Quota { items: 0, bytes: 0 }; CLASSES];
        take(&mut queue.items).into_iter().map(|queued| queued.item).collect()
    }

    /// Drops what control has come in vain, and what comes from now on: somebody may wait for what became of it, and hold the mailbox.
    /// To be called when all see that the owner has ended.
    pub(crate) fn end(&self) {
        let mut queue = self.queue.lock();
        queue.sleep = Sleep::Never;
        let control = take(&mut queue.control);
        drop(queue);
        drop(control);
    }

    /// Whether it takes no items any more.
    pub(crate) fn is_closed(&self) -> bool {
        self.queue.lock().closed
    }

    /// Takes no items any more, unless some are queued: then nothing changes. Whether it is closed.
    pub(crate) fn close_if_empty(&self) -> bool {
        let mut queue = self.queue.lock();
        queue.closed |= queue.items.is_empty();
        queue.closed
    }

    /// Like [`take`](Self::take), but returns at once, with nothing if there is nothing.
    pub(crate) fn try_take(&self, items_max: usize, taken: &mut Taken<T, C>) -> bool {
        let mut queue = self.queue.lock();
        let Queue { items, control, used, .. } = &mut *queue;
        taken.control.append(control);
        let mut bytes = 0;
        while taken.items.len() < items_max
            && let Some(queued) = items.pop_front_if(|next| bytes == 0 || bytes + next.bytes <= TAKE_BYTES_MAX)
        {
            bytes += queued.bytes;
            let used = &mut used[queued.class as usize];
            used.items -= 1;
            used.bytes -= queued.bytes;
            taken.items.push(queued);
        }
        let nothing = taken.control.is_empty() && taken.items.is_empty();
        if !nothing {
            queue.pace.took(taken.items.len());
        }
        !nothing
    }

    /// Has the next poster of what the owner wants wake it, unless something has come meanwhile.
    fn fall_asleep(&self, items_max: usize) -> bool {
        let mut queue = self.queue.lock();
        let nothing = queue.control.is_empty() && (items_max == 0 || queue.items.is_empty());
        if nothing && items_max > 0 {
            queue.sleep = Sleep::UntilAnything;
            queue.pace.pause();
        } else if nothing {
            // No pause: what the owner waits for now, the items wait for too.
            queue.sleep = Sleep::UntilControl;
        }
        nothing
    }

    fn quota(&self, class: Class) -> Quota {
        match class {
            Class::Durable => self.config.durable,
            Class::Message => self.config.message,
            Class::Session => self.config.session,
            Class::Ephemeral => self.config.ephemeral,
        }
    }

    fn wake(&self, mut queue: parking_lot::MutexGuard<'_, Queue<T, C>>) {
        let sleep = replace(&mut queue.sleep, Sleep::Awake);
        drop(queue);
        match sleep {
            Sleep::Awake | Sleep::UntilAnything | Sleep::UntilControl | Sleep::Never => self.arrived.notify_one(),
            Sleep::Away(owner) => owner.come_back(),
        }
    }
}

impl<T, C> Queue<T, C> {
    /// When what is queued now should be gone.
    fn require_room(&self, class: Class, bytes: usize, quota: Quota) -> Result<(), Refused> {
        if self.closed {
            return Err(Refused::Closed);
        }
        let used = &self.used[class as usize];
        let fits = used.items < quota.items && (used.bytes + bytes <= quota.bytes || used.items == 0);
        if fits { Ok(()) } else { Err(Refused::Full { retry_after: self.retry_after() }) }
    }

    fn retry_after(&self) -> Duration {
        let waited = self.items.front().map_or(Duration::ZERO, |oldest| oldest.since.elapsed());
        self.pace.retry_after(self.items.len(), waited)
    }
}

const CLASSES: usize = 4;
/// Bytes taken at once, but for an item that alone is larger: well under a millisecond's work.
const TAKE_BYTES_MAX: usize = 128 * 1024;

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[derive(Debug)]
    struct Counted(Arc<AtomicUsize>);

    impl Away for Counted {
        fn come_back(self: Box<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn called_so_far(called: &AtomicUsize) -> usize {
        called.load(Ordering::Relaxed)
    }

    fn mailbox(items: usize, bytes: usize) -> Mailbox<u32, &'static str> {
        let quota = Quota { items, bytes };
        Mailbox::new(Arc::new(MailboxConfig { durable: quota, message: quota, session: quota, ephemeral: quota }))
    }

    async fn take(mailbox: &Mailbox<u32, &'static str>, max: usize) -> (Vec<&'static str>, Vec<u32>) {
        let mut taken = Taken::default();
        mailbox.take(max, &mut taken).await;
        (taken.control, taken.items.into_iter().map(|queued| queued.item).collect())
    }

    #[tokio::test]
    async fn items_of_all_classes_come_in_order_and_control_overtakes() {
        let mailbox = mailbox(10, 100);
        mailbox.post(Class::Message, 1, 1).unwrap();
        mailbox.post(Class::Durable, 1, 2).unwrap();
        mailbox.post_control("stored");
        mailbox.post(Class::Session, 1, 3).unwrap();
        assert_eq!(take(&mailbox, 2).await, (vec!["stored"], vec![1, 2]));
        assert_eq!(take(&mailbox, 2).await, (vec![], vec![3]));
    }

    #[tokio::test]
    async fn a_full_class_is_refused_by_items_and_by_bytes_and_the_others_are_not() {
        let mailbox = mailbox(2, 100);
        mailbox.post(Class::Message, 1, 1).unwrap();
        mailbox.post(Class::Message, 1, 2).unwrap();
        assert!(matches!(mailbox.post(Class::Message, 1, 3), Err(Refused::Full { .. })));
        mailbox.post(Class::Durable, 90, 4).unwrap();
        assert!(matches!(mailbox.require_room(Class::Durable, 11), Err(Refused::Full { .. })));
        assert!(matches!(mailbox.post(Class::Durable, 11, 5), Err(Refused::Full { .. })));
        mailbox.require_room(Class::Durable, 10).unwrap();
        mailbox.post(Class::Durable, 10, 6).unwrap();

        take(&mailbox, 1).await;
        mailbox.post(Class::Message, 1, 7).unwrap();
        assert_eq!(take(&mailbox, 10).await.1, [2, 4, 6, 7]);
    }

    #[tokio::test]
    async fn an_item_larger_than_the_quota_is_taken_when_it_is_alone() {
        let mailbox = mailbox(2, 100);
        mailbox.post(Class::Durable, 1_000, 1).unwrap();
        assert!(matches!(mailbox.post(Class::Durable, 1, 2), Err(Refused::Full { .. })));
        take(&mailbox, 1).await;
        mailbox.post(Class::Durable, 1, 2).unwrap();
    }

    #[tokio::test]
    async fn an_owner_that_takes_no_items_still_hears_control() {
        let mailbox = mailbox(2, 100);
        mailbox.post(Class::Durable, 1, 1).unwrap();
        let mut taken = Taken::default();
        let mut waiting = Box::pin(mailbox.take(0, &mut taken));
        assert!(futures_poll(&mut waiting).await.is_none());
        mailbox.post_control("stored");
        waiting.await;
        assert_eq!((taken.control, taken.items.len()), (vec!["stored"], 0));
    }

    #[tokio::test]
    async fn an_owner_that_takes_no_items_is_not_woken_by_them() {
        let mailbox = mailbox(2, 100);
        let mut taken = Taken::default();
        let mut waiting = Box::pin(mailbox.take(0, &mut taken));
        assert!(futures_poll(&mut waiting).await.is_none());
        mailbox.post(Class::Durable, 1, 1).unwrap();
        assert!(matches!(mailbox.queue.lock().sleep, Sleep::UntilControl));
        drop(waiting);
        assert_eq!(take(&mailbox, 1).await, (vec![], vec![1]));
    }

    #[test]
    fn an_owner_that_has_left_is_called_back_once_by_whatever_comes() {
        let mailbox = mailbox(2, 100);
        let called = Arc::new(AtomicUsize::new(0));
        let leave = || {
            let calls = Arc::clone(&called);
            mailbox.leave(Box::new(Counted(calls)));
            called_so_far(&called)
        };
        assert_eq!(leave(), 0);
        mailbox.post(Class::Message, 1, 1).unwrap();
        mailbox.post(Class::Message, 1, 2).unwrap();
        assert_eq!(called_so_far(&called), 1);
        assert_eq!(leave(), 2, "something waits for it");
        assert!(mailbox.try_take(10, &mut Taken::default()));
        assert_eq!(leave(), 2);
        mailbox.post_control("stored");
        mailbox.call_back();
        assert_eq!(called_so_far(&called), 3);
    }

    #[tokio::test]
    async fn large_items_are_taken_one_by_one() {
        let mailbox = mailbox(10, usize::MAX);
        for (item, bytes) in [(1, 10), (2, TAKE_BYTES_MAX), (3, TAKE_BYTES_MAX + 1), (4, 10), (5, 10)] {
            mailbox.post(Class::Durable, bytes, item).unwrap();
        }
        for expected in [vec![1], vec![2], vec![3], vec![4, 5]] {
            assert_eq!(take(&mailbox, 10).await.1, expected);
        }
    }

    #[tokio::test]
    async fn a_closed_mailbox_gives_back_what_it_held_and_takes_nothing() {
        let mailbox = mailbox(2, 100);
        mailbox.post(Class::Durable, 1, 1).unwrap();
        assert_eq!(mailbox.close(), [1]);
        assert_eq!(mailbox.post(Class::Durable, 1, 2), Err(Refused::Closed));
        mailbox.post_control("stored");
        assert_eq!(take(&mailbox, 1).await, (vec!["stored"], vec![]));
    }

    #[test]
    fn the_pause_follows_the_pace_and_the_length_of_the_queue() {
        let mailbox = mailbox(100, 1_000);
        (0..100).for_each(|item| mailbox.post(Class::Message, 1, item).unwrap());
        mailbox.queue.lock().pace.note(1_000_000);
        let Err(Refused::Full { retry_after }) = mailbox.post(Class::Message, 1, 100) else {
            panic!("the class is full");
        };
        assert!((87..=125).contains(&retry_after.as_millis()), "{retry_after:?}");
    }

    /// Polls once.
    async fn futures_poll<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
        std::future::poll_fn(|context| match std::pin::Pin::new(&mut *future).poll(context) {
            std::task::Poll::Ready(output) => std::task::Poll::Ready(Some(output)),
            std::task::Poll::Pending => std::task::Poll::Ready(None),
        })
        .await
    }
}
