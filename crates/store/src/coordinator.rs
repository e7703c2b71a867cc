//! The coordinator of several nodes in one process.
//!
//! It lives in memory: its nodes die with it. What must not die is that grants never fall under what the store has seen, and those that have
//! heard of them (clients outlive a process) should not have heard of higher ones either. So it begins above both: above what a directory's
//! identity says that earlier runs gave, and above the time.

use std::fmt;
use std::sync::Weak;

use guildhall_cluster::{Bell, Coordinator, Joined, Left, Peer, Place, Placement, UnknownNode};
use guildhall_proto::{Grant, GuildId, Instance, Millis, NodeId};
use parking_lot::Mutex;

use crate::embedded::beyond;

/// Keeps the placement of one process's nodes. A change is made where it is asked for, and all bells are rung before that returns.
pub struct EmbeddedCoordinator {
    placement: Mutex<Placement>,
    bells: Mutex<Vec<Weak<Bell>>>,
}

impl EmbeddedCoordinator {
    /// For a store that dies with the process; where there is a directory, [`coordinator`](crate::EmbeddedStore::coordinator). `now` is the time,
    /// for clients that remember an earlier run.
    pub fn new(now: Millis) -> Self {
        Self::above(Grant(beyond(0, now)))
    }

    /// Gives grants above `above` alone.
    pub(crate) fn above(above: Grant) -> Self {
        Self { placement: Mutex::new(Placement::new(above)), bells: Mutex::default() }
    }

    fn change<T>(&self, change: impl FnOnce(&mut Placement) -> T) -> T {
        let (outcome, is_changed) = {
            let mut placement = self.placement.lock();
            let before = placement.revision();
            let outcome = change(&mut placement);
            (outcome, placement.revision() > before)
        };
        if is_changed {
            let bells: Vec<_> = {
                let mut bells = self.bells.lock();
                bells.retain(|bell| bell.strong_count() > 0);
                bells.iter().filter_map(Weak::upgrade).collect()
            };
            // Without a lock: whoever hears it may come back at once.
            bells.iter().for_each(|bell| bell());
        }
        outcome
    }
}

impl Coordinator for EmbeddedCoordinator {
    fn placement(&self) -> Placement {
        self.placement.lock().clone()
    }

    fn watch(&self, bell: Weak<Bell>) {
        self.bells.lock().push(bell);
    }

    fn join(&self, node: NodeId, peer: Peer) -> Joined {
        self.change(|placement| placement.join(node, peer))
    }

    fn leave(&self, node: NodeId, instance: Instance) -> Left {
        self.change(|placement| placement.leave(node, instance))
    }

    fn pin(&self, guild: GuildId, node: NodeId) -> Result<Place, UnknownNode> {
        self.change(|placement| placement.pin(guild, node))
    }

    fn unpin(&self, guild: GuildId) -> Option<Place> {
        self.change(|placement| placement.unpin(guild))
    }
}

impl fmt::Debug for EmbeddedCoordinator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EmbeddedCoordinator")
            .field("revision", &self.placement.lock().revision())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread;

    use guildhall_cluster::Revision;

    use super::*;

    fn node(number: u64) -> NodeId {
        NodeId::new(number).unwrap()
    }

    fn guild(number: u64) -> GuildId {
        GuildId::new(number).unwrap()
    }

    fn peer(instance: u64) -> Peer {
        Peer { instance: Instance(instance), addresses: Vec::new() }
    }

    /// A bell that counts, and looks whenever it is rung.
    fn watching(coordinator: &Arc<EmbeddedCoordinator>) -> (Arc<Bell>, Arc<AtomicUsize>, Arc<Mutex<Revision>>) {
        let (rung, seen) = (Arc::new(AtomicUsize::new(0)), Arc::new(Mutex::new(Revision(0))));
        let bell = {
            let (coordinator, rung, seen) = (Arc::clone(coordinator), Arc::clone(&rung), Arc::clone(&seen));
            Arc::new(move || {
                rung.fetch_add(1, Ordering::Relaxed);
                let mut seen = seen.lock();
                *seen = (*seen).max(coordinator.placement().revision());
            })
        };
        (bell, rung, seen)
    }

    fn hear(coordinator: &EmbeddedCoordinator, bell: &Arc<Bell>) {
        coordinator.watch(Arc::downgrade(bell));
    }

    #[test]
    fn a_bell_rings_after_each_change_and_after_nothing_else_for_as_long_as_it_lives() {
        let coordinator = Arc::new(EmbeddedCoordinator::new(Millis(0)));
        let (bell, rung, seen) = watching(&coordinator);
        hear(&coordinator, &bell);
        let told = |rings| {
            assert_eq!(rung.load(Ordering::Relaxed), rings);
            assert_eq!(*seen.lock(), coordinator.placement().revision(), "what it shows is there when it rings");
        };
        coordinator.join(node(1), peer(1));
        told(1);
        coordinator.join(node(1), peer(1));
        assert_eq!(coordinator.pin(guild(1), node(2)), Err(UnknownNode { node: node(2) }));
        coordinator.unpin(guild(1));
        coordinator.leave(node(1), Instance(2));
        told(1);
        coordinator.pin(guild(1), node(1)).unwrap();
        coordinator.unpin(guild(1));
        coordinator.leave(node(1), Instance(1));
        told(4);
        drop(bell);
        coordinator.join(node(1), peer(2));
        assert_eq!(rung.load(Ordering::Relaxed), 4);
        assert!(coordinator.bells.lock().is_empty(), "it is forgotten");
    }

    #[test]
    fn whoever_looks_after_the_last_ring_has_seen_all_that_threads_changed_at_once() {
        let coordinator = Arc::new(EmbeddedCoordinator::new(Millis(0)));
        let begun = coordinator.placement().revision();
        let (bell, rung, seen) = watching(&coordinator);
        hear(&coordinator, &bell);
        coordinator.join(node(1), peer(1));
        thread::scope(|threads| {
            for number in 0..4 {
                let coordinator = &coordinator;
                threads.spawn(move || {
                    for of_thread in 0..50 {
                        coordinator.pin(guild(number * 50 + of_thread + 1), node(1)).unwrap();
                    }
                });
            }
        });
        assert_eq!(rung.load(Ordering::Relaxed), 201);
        assert_eq!(*seen.lock(), Revision(begun.0 + 201));
        assert_eq!(coordinator.placement().pins().count(), 200);
    }

    #[test]
    fn a_later_run_begins_above_an_earlier_one_by_the_time() {
        let first = EmbeddedCoordinator::new(Millis(1_700_000_000_000)).placement().revision();
        let second = EmbeddedCoordinator::new(Millis(1_700_000_000_001)).placement().revision();
        assert!(second.0 - first.0 > 1_000_000, "there is room for the changes of a millisecond");
    }
}
