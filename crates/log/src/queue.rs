//! The queue before the one who commits: many put in, one takes out a group at a time.
//!
//! While a group is synced the next one gathers here, so that under load groups grow by themselves, and the default waits for nobody.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

/// The bounds of a queue, and how large a group gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueConfig {
    /// Items that wait; 65,536 if not given. Less refuses sooner, more lets those at the end wait longer.
    pub items_max: usize,
    /// Their bytes, as told with each; 64 MiB if not given.
    pub bytes_max: usize,
    /// How long the first of a group waits for others; 0 if not given: only as long as the group before takes. More makes groups larger
    /// when few write, at the price of each one's latency.
    pub window: Duration,
    /// Items of one group; 4,096 if not given. Less costs syncs, more lets the first of a group wait for the last.
    pub group_items: usize,
    /// Their bytes; 4 MiB if not given. An item that alone is larger makes a group of its own.
    pub group_bytes: usize,
}

impl Default for QueueConfig {
    fn default() -> Self {
        Self {
            items_max: 64 * 1024,
            bytes_max: 64 * 1024 * 1024,
            window: Duration::ZERO,
            group_items: 4 * 1024,
            group_bytes: 4 * 1024 * 1024,
        }
    }
}

/// A bounded queue in order, of which groups are taken.
#[derive(Debug)]
pub struct Queue<T> {
    config: QueueConfig,
    waiting: Mutex<Waiting<T>>,
    /// Told when the first item comes, when a group is full, and when the queue is closed.
    changed: Condvar,
}

#[derive(Debug)]
struct Waiting<T> {
    items: VecDeque<(T, usize)>,
    bytes: usize,
    is_closed: bool,
}

/// Why an item was not taken. It comes back with it.
#[derive(Debug, thiserror::Error)]
pub enum Refused<T> {
    /// It would pass a bound of the queue.
    #[error("the queue is full")]
    Full(T),
    /// Nobody takes items any more.
    #[error("the queue is closed")]
    Closed(T),
}

/// What was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// A group, of at least one item.
    Group,
    /// Nothing waits.
    Nothing,
    /// Nothing waits, and nothing will come.
    Closed,
}

impl<T> Queue<T> {
    /// An empty queue.
    pub fn new(config: QueueConfig) -> Self {
        let waiting = Waiting { items: VecDeque::new(), bytes: 0, is_closed: false };
        Self { config, waiting: Mutex::new(waiting), changed: Condvar::new() }
    }

    /// Puts an item of so many bytes behind all others. Does not wait, but for a lock that is held shortly.
    ///
    /// # Errors
    /// [`Refused::Full`], [`Refused::Closed`].
    pub fn push(&self, item: T, bytes: usize) -> Result<(), Refused<T>> {
        let mut waiting = self.waiting.lock();
        if waiting.is_closed {
            return Err(Refused::Closed(item));
        }
        let bytes_after = waiting.bytes.saturating_add(bytes);
        if waiting.items.len() >= self.config.items_max || bytes_after > self.config.bytes_max {
            return Err(Refused::Full(item));
        }
        waiting.items.push_back((item, bytes));
        waiting.bytes = bytes_after;
        let wakes = waiting.items.len() == 1 || self.is_group_full(&waiting);
        drop(waiting);
        if wakes {
            self.changed.notify_one();
        }
        Ok(())
    }

    /// Waits for an item, and then, as long as the window says, for a group to be full; appends the group to `group`.
    pub fn take(&self, group: &mut Vec<T>) -> Taken {
        let mut waiting = self.waiting.lock();
        while waiting.items.is_empty() {
            if waiting.is_closed {
                return Taken::Closed;
            }
            self.changed.wait(&mut waiting);
        }
        if !self.config.window.is_zero() {
            let until = Instant::now() + self.config.window;
            while !waiting.is_closed && !self.is_group_full(&waiting) {
                if self.changed.wait_until(&mut waiting, until).timed_out() {
                    break;
                }
            }
        }
        self.take_group(&mut waiting, group)
    }

    /// As [`take`](Self::take) for who must not wait: takes what is there.
    pub fn try_take(&self, group: &mut Vec<T>) -> Taken {
        self.take_group(&mut self.waiting.lock(), group)
    }

    /// Takes no more items. Those that wait are still handed out.
    pub fn close(&self) {
        self.waiting.lock().is_closed = true;
        self.changed.notify_all();
    }

    /// How many items wait, and how many bytes they are.
    pub fn waiting(&self) -> (usize, usize) {
        let waiting = self.waiting.lock();
        (waiting.items.len(), waiting.bytes)
    }

    fn take_group(&self, waiting: &mut Waiting<T>, group: &mut Vec<T>) -> Taken {
        let (mut items, mut bytes) = (0, 0_usize);
        while items < self.config.group_items.max(1)
            && let Some((item, weight)) = waiting
                .items
                .pop_front_if(|(_, weight)| items == 0 || bytes.saturating_add(*weight) <= self.config.group_bytes)
        {
            group.push(item);
            items += 1;
            bytes += weight;
        }
        waiting.bytes -= bytes;
        match items {
            0 if waiting.is_closed => Taken::Closed,
            0 => Taken::Nothing,
            _ => Taken::Group,
        }
    }

    fn is_group_full(&self, waiting: &Waiting<T>) -> bool {
        waiting.items.len() >= self.config.group_items || waiting.bytes >= self.config.group_bytes
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    fn queue(items_max: usize, bytes_max: usize) -> Queue<u32> {
        Queue::new(QueueConfig { items_max, bytes_max, group_items: 3, group_bytes: 100, window: Duration::ZERO })
    }

    fn take(queue: &Queue<u32>) -> (Taken, Vec<u32>) {
        let mut group = Vec::new();
        (queue.try_take(&mut group), group)
    }

    #[test]
    fn groups_are_taken_in_order_up_to_their_bounds() {
        let queue = queue(100, 1000);
        for (item, bytes) in [(1, 10), (2, 10), (3, 10), (4, 60), (5, 60), (6, 300), (7, 0)] {
            queue.push(item, bytes).unwrap();
        }
        assert_eq!(take(&queue), (Taken::Group, vec![1, 2, 3]), "three are a group");
        assert_eq!(take(&queue), (Taken::Group, vec![4]), "two would pass 100 bytes");
        assert_eq!(take(&queue), (Taken::Group, vec![5]));
        assert_eq!(take(&queue), (Taken::Group, vec![6]), "one alone may be larger");
        assert_eq!(take(&queue), (Taken::Group, vec![7]));
        assert_eq!(take(&queue), (Taken::Nothing, vec![]));
        assert_eq!(queue.waiting(), (0, 0));
    }

    #[test]
    fn a_full_queue_refuses_by_items_and_by_bytes_and_gives_back_what_it_refuses() {
        let queue = queue(3, 100);
        queue.push(1, 60).unwrap();
        assert!(matches!(queue.push(2, 41), Err(Refused::Full(2))));
        assert!(matches!(queue.push(2, usize::MAX), Err(Refused::Full(2))));
        queue.push(2, 40).unwrap();
        queue.push(3, 0).unwrap();
        assert!(matches!(queue.push(4, 0), Err(Refused::Full(4))));
        assert_eq!(take(&queue).1, [1, 2, 3]);
        queue.push(4, 100).unwrap();
    }

    #[test]
    fn a_closed_queue_hands_out_what_waits_and_takes_no_more() {
        let queue = queue(10, 100);
        queue.push(1, 1).unwrap();
        queue.close();
        assert!(matches!(queue.push(2, 1), Err(Refused::Closed(2))));
        let mut group = Vec::new();
        assert_eq!((queue.take(&mut group), queue.take(&mut group)), (Taken::Group, Taken::Closed));
        assert_eq!((take(&queue).0, group), (Taken::Closed, vec![1]));
    }

    #[test]
    fn who_waits_is_told_of_the_first_item_of_a_full_group_and_of_the_end() {
        // A window that would outlast the test: only a full group, or the end, can close it.
        let window = Duration::from_secs(3600);
        let queue: Queue<u32> = Queue::new(QueueConfig { window, group_items: 3, ..QueueConfig::default() });
        thread::scope(|scope| {
            let taker = scope.spawn(|| {
                let mut groups = Vec::new();
                loop {
                    let mut group = Vec::new();
                    match queue.take(&mut group) {
                        Taken::Group => groups.push(group),
                        Taken::Closed => return groups,
                        Taken::Nothing => panic!("take waits"),
                    }
                }
            });
            for item in 1..=7 {
                queue.push(item, 1).unwrap();
            }
            queue.close();
            assert_eq!(taker.join().unwrap(), [vec![1, 2, 3], vec![4, 5, 6], vec![7]]);
        });
    }

    #[test]
    fn a_window_that_is_over_closes_a_group() {
        let window = Duration::from_millis(1);
        let queue: Queue<u32> = Queue::new(QueueConfig { window, ..QueueConfig::default() });
        queue.push(1, 1).unwrap();
        let mut group = Vec::new();
        assert_eq!(queue.take(&mut group), Taken::Group);
        assert_eq!(group, [1]);
    }

    #[test]
    fn each_writer_keeps_its_order() {
        let queue: Queue<(u32, u32)> = Queue::new(QueueConfig { items_max: 16, ..QueueConfig::default() });
        thread::scope(|scope| {
            let writers: Vec<_> = (0..4)
                .map(|writer| {
                    let queue = &queue;
                    scope.spawn(move || {
                        for item in 0..500 {
                            let mut waiting = (writer, item);
                            while let Err(Refused::Full(back)) = queue.push(waiting, 1) {
                                waiting = back;
                                thread::yield_now();
                            }
                        }
                    })
                })
                .collect();
            let taker = scope.spawn(|| {
                let (mut group, mut next) = (Vec::new(), [0; 4]);
                while queue.take(&mut group) == Taken::Group {
                    for (writer, item) in group.drain(..) {
                        assert_eq!(item, next[writer as usize]);
                        next[writer as usize] += 1;
                    }
                }
                next
            });
            for writer in writers {
                writer.join().unwrap();
            }
            queue.close();
            assert_eq!(taker.join().unwrap(), [500; 4]);
        });
    }
}
