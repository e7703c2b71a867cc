//! Sessions that hear messages in lumps, and tell when all have heard one: beside a node, or at the far end of a link.

use std::hint::black_box;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use guildhall_node::{BatchItem, DeliveryRef};
use guildhall_proto::Level;
use guildhall_sessions::{Backend, BatchSession, Guilds, SessionStream};
use tokio::runtime::{Handle, Runtime};
use tokio::sync::Notify;

use crate::shell::{attach, guild_id, side_by_side};

/// How many lumps of messages all have heard, and a bell for who waits for that.
pub struct Heard {
    /// Sessions, or consumers.
    parties: u64,
    /// How many of them have heard a lump, for those that some have: nobody is ahead by as many lumps as there are slots.
    slots: [AtomicU64; 4 * LUMPS_AHEAD as usize],
    complete: AtomicU64,
    due: AtomicU64,
    reached: Notify,
}

impl Heard {
    /// Of so many who hear.
    pub fn by(parties: u64) -> Arc<Self> {
        let slots = std::array::from_fn(|_| AtomicU64::new(0));
        let (complete, due) = (AtomicU64::new(0), AtomicU64::new(0));
        Arc::new(Self { parties, slots, complete, due, reached: Notify::new() })
    }

    /// How many all have heard.
    pub fn complete(&self) -> u64 {
        self.complete.load(Ordering::SeqCst)
    }

    /// One of them has heard the lump of this number.
    fn add(&self, lump: u64) {
        let slot = &self.slots[usize::try_from(lump % self.slots.len() as u64).expect("an index")];
        if slot.fetch_add(1, Ordering::SeqCst) + 1 < self.parties {
            return;
        }
        slot.store(0, Ordering::SeqCst);
        if self.complete.fetch_add(1, Ordering::SeqCst) + 1 == self.due.load(Ordering::SeqCst) {
            self.reached.notify_one();
        }
    }

    /// Waits until so many lumps were heard by all.
    pub fn wait_for(&self, lumps: u64, handle: &Handle) {
        self.due.store(lumps, Ordering::SeqCst);
        while self.complete() < lumps {
            // A bell of an earlier wait may have been left over.
            let bell = async { tokio::time::timeout(WAITED_MAX, self.reached.notified()).await };
            handle.block_on(bell).expect("sessions that lose events are told a gap, and end this row");
        }
    }
}

/// Attaches these sessions and has one consumer serve them.
pub fn attach_batches<G: Guilds>(
    runtime: &Runtime,
    backend: &Backend<G>,
    numbers: RangeInclusive<u64>,
    heard: &Arc<Heard>,
) -> Vec<BatchSession<G>> {
    let first = *numbers.start();
    runtime.block_on(consume(backend, numbers.clone().count(), Arc::clone(heard)));
    side_by_side(runtime, ATTACHING, numbers, |number| {
        let (backend, attach) = (backend.clone(), attach(number, Level::Active));
        async move { backend.attach_batch(guild_id(1), attach, number - first).await.expect("there is room") }
    })
}

/// Attaches so many sessions, and has a task read each.
pub fn attach_streams<G: Guilds>(runtime: &Runtime, backend: &Backend<G>, sessions: u64, heard: &Arc<Heard>) {
    side_by_side(runtime, ATTACHING, 1..=sessions, |number| {
        let (backend, heard) = (backend.clone(), Arc::clone(heard));
        async move {
            let stream = backend.attach(guild_id(1), attach(number, Level::Active)).await.expect("there is room");
            tokio::spawn(listen(stream, heard));
        }
    });
}

async fn consume<G: Guilds>(backend: &Backend<G>, sessions: usize, heard: Arc<Heard>) {
    let batches = backend.batches(guild_id(1)).await.expect("the guild is there");
    let mut batches = batches.expect("it is the only consumer");
    tokio::spawn(async move {
        let mut touched = vec![0_u64; sessions];
        let (mut told, mut deliveries) = (0, 0);
        loop {
            let goes_on = batches.read(READ_AT_ONCE, |item| match item {
                BatchItem::Event { tokens, .. } => {
                    for token in tokens {
                        touched[*token as usize] += 1;
                    }
                    deliveries += tokens.len() as u64;
                }
                BatchItem::Gap { gap, .. } => panic!("the consumer keeps up here, but {gap:?}"),
                BatchItem::Unread { .. } | BatchItem::Ephemeral { .. } | BatchItem::Detached { .. } => {}
            });
            if !goes_on.await {
                return;
            }
            while (told + 1) * LUMP * sessions as u64 <= deliveries {
                heard.add(told);
                told += 1;
            }
        }
    });
}

async fn listen<G: Guilds>(mut stream: SessionStream<G>, heard: Arc<Heard>) {
    let (mut told, mut events) = (0, 0_u64);
    loop {
        let goes_on = stream.read(READ_AT_ONCE, |delivery| match delivery {
            DeliveryRef::Event(event) => {
                black_box(event.position);
                events += 1;
            }
            DeliveryRef::Gap(gap) => panic!("sessions keep up here, but {gap:?}"),
            DeliveryRef::Unread(_) | DeliveryRef::Ephemeral(_) | DeliveryRef::Detached(_) => {}
        });
        if !goes_on.await {
            return;
        }
        while (told + 1) * LUMP <= events {
            heard.add(told);
            told += 1;
        }
    }
}

/// Messages that a session tells of at once.
pub const LUMP: u64 = 64;
/// How far the slowest session may be behind: half of its relay's ring.
pub const LUMPS_AHEAD: u64 = 16;
/// Events that a session, or a batch consumer, reads at once.
const READ_AT_ONCE: usize = 64;
/// Attaches under way at a time.
const ATTACHING: usize = 1_024;
const WAITED_MAX: Duration = Duration::from_secs(120);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shell::runtime;

    #[test]
    fn a_lump_is_heard_once_the_slowest_has_it() {
        let heard = Heard::by(2);
        (0..3).for_each(|lump| heard.add(lump));
        assert_eq!(heard.complete(), 0);
        heard.add(0);
        assert_eq!(heard.complete(), 1);
        heard.add(1);
        heard.add(2);
        assert_eq!(heard.complete(), 3);
    }

    #[test]
    fn who_waits_for_a_lump_is_called_when_it_comes() {
        let (heard, runtime) = (Heard::by(1), runtime(1));
        let hearing = Arc::clone(&heard);
        let listener = runtime.spawn(async move { (0..200).for_each(|lump| hearing.add(lump)) });
        heard.wait_for(200, runtime.handle());
        assert_eq!(heard.complete(), 200);
        runtime.block_on(listener).unwrap();
    }
}
