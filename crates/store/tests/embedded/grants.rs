//! Grants of the coordinators of one directory, run after run: none falls under what the store has seen.

use std::sync::Arc;

use guildhall_cluster::{Coordinator, Peer, Placement, Shard};
use guildhall_log::files::{Failure, Fault, Site};
use guildhall_proto::{Grant, GuildId, Instance, Millis, NodeId};
use guildhall_store::{Alone, EmbeddedCoordinator, Store, StoreError, restore};

use crate::world::{Disk, Opened, checkpoint, guild, record, tiny};

fn node(number: u64) -> NodeId {
    NodeId::new(number).unwrap()
}

/// Two nodes, in runs that nobody had before.
fn join(coordinator: &EmbeddedCoordinator, instance: u64) {
    for number in [1, 2] {
        coordinator.join(node(number), Peer { instance: Instance(instance + number), addresses: Vec::new() });
    }
}

fn grant(placement: &Placement, guild: GuildId) -> Grant {
    placement.find(guild).unwrap().grant
}

/// Claims a guild by the placement in force, stores something of it, and has a checkpoint repeat the claim if `saves`.
fn claim(opened: &mut Opened, coordinator: &EmbeddedCoordinator, of: GuildId, saves: bool) -> Grant {
    let grant = grant(&coordinator.placement(), of);
    let claim = opened.claim(of, grant.0).unwrap();
    let last = claim.tail.last().map(|record| record.number);
    let last = last.or_else(|| claim.checkpoint.as_ref().map(|found| found.structure.records)).unwrap_or(0);
    let stored = record(claim.epoch, last + 1, 7, 1);
    opened.append_now(of, claim.epoch, vec![stored.clone()]).unwrap();
    if saves {
        opened.save_now(of, claim.epoch, checkpoint(&[stored])).unwrap();
    }
    grant
}

#[test]
fn every_guild_can_be_claimed_in_the_next_run_whatever_was_granted_before_and_whatever_the_clock_says() {
    let disk = Disk::with_store(&tiny());
    let mut before = Vec::new();
    let clocks = [1_700_000_000_000, 1_700_000_000_000, 0, 1_699_999_999_999, 1_700_000_000_001];
    for (run, now) in clocks.into_iter().enumerate() {
        let mut opened = disk.open(&tiny()).unwrap();
        let coordinator = opened.store.coordinator(Millis(now)).unwrap();
        join(&coordinator, run as u64 * 10);
        for (of, given) in before.drain(..) {
            assert!(grant(&coordinator.placement(), of) > given);
        }
        for number in 1..=6 {
            let of = guild(number);
            // Some are pinned, and some of these no more: then the row of their shard is newer than the pin was.
            if number > 2 {
                coordinator.pin(of, node(number % 2 + 1)).unwrap();
                claim(&mut opened, &coordinator, of, false);
            }
            if number > 4 {
                coordinator.unpin(of).unwrap();
            }
            let given = claim(&mut opened, &coordinator, of, number % 2 == 0);
            let stale = StoreError::StaleGrant { got: Grant(given.0 - 1), seen: given };
            assert_eq!(opened.store.begin_claim(of, Grant(given.0 - 1)).unwrap_err(), stale);
            before.push((of, given));
        }
    }
}

#[test]
fn a_node_of_the_run_before_is_refused_once_its_guild_was_claimed_in_the_next() {
    let disk = Disk::with_store(&tiny());
    let old = {
        let mut opened = disk.open(&tiny()).unwrap();
        let coordinator = opened.store.coordinator(Millis(5)).unwrap();
        join(&coordinator, 0);
        // As high as one run can give of a clock that stands: changes nobody claimed by.
        for _ in 0..100 {
            coordinator.pin(guild(1), node(1)).unwrap();
            coordinator.unpin(guild(1)).unwrap();
        }
        claim(&mut opened, &coordinator, guild(1), true)
    };
    let mut opened = disk.open(&tiny()).unwrap();
    let coordinator = opened.store.coordinator(Millis(5)).unwrap();
    join(&coordinator, 10);
    let new = claim(&mut opened, &coordinator, guild(1), false);
    assert!(new > old);
    let stale = StoreError::StaleGrant { got: old, seen: new };
    assert_eq!(opened.store.begin_claim(guild(1), old).unwrap_err(), stale);
}

#[test]
fn a_restored_store_and_its_backup_restored_again_grant_above_what_they_hold() {
    let disk = Disk::with_store(&tiny());
    let mut opened = disk.open(&tiny()).unwrap();
    let coordinator = opened.store.coordinator(Millis(1_700_000_000_000)).unwrap();
    join(&coordinator, 0);
    let mut held = claim(&mut opened, &coordinator, guild(1), false);
    for _ in 0..2 {
        let mut archive = Vec::new();
        opened.store.backup(&mut archive, Millis(5)).unwrap();
        let disk = Disk::default();
        // A clock that is far behind.
        restore(&mut &*archive, &disk.directory(), node(9), [3; 40], Millis(0), &tiny(), Arc::new(Alone)).unwrap();
        opened = disk.open(&tiny()).unwrap();
        let coordinator = opened.store.coordinator(Millis(0)).unwrap();
        join(&coordinator, 0);
        let given = claim(&mut opened, &coordinator, guild(1), true);
        assert!(given > held);
        held = given;
    }
}

#[test]
fn two_coordinators_of_one_run_give_no_grant_twice() {
    let disk = Disk::with_store(&tiny());
    let opened = disk.open(&tiny()).unwrap();
    let [first, second] = [Millis(9), Millis(9)].map(|now| opened.store.coordinator(now).unwrap());
    join(&first, 0);
    join(&second, 10);
    let lowest = Shard::all().map(|shard| second.placement().shard(shard).unwrap().grant).min().unwrap();
    assert!(lowest.0 > first.placement().revision().0);
}

#[test]
fn wherever_the_power_is_cut_while_a_coordinator_begins_the_store_opens_and_the_next_gives_higher_grants() {
    let mut cuts = 0;
    for site in [Site::Create, Site::Write, Site::Sync, Site::Rename, Site::Remove, Site::SyncNames] {
        for nth in 0..4 {
            let disk = Disk::with_store(&tiny());
            let given = {
                let mut opened = disk.open(&tiny()).unwrap();
                let coordinator = opened.store.coordinator(Millis(7)).unwrap();
                join(&coordinator, 0);
                claim(&mut opened, &coordinator, guild(1), true)
            };
            let opened = disk.open(&tiny()).unwrap();
            disk.root.fail(Fault { site, after: nth, times: 1, failure: Failure::PowerOff });
            let begun = opened.store.coordinator(Millis(7));
            cuts += u32::from(begun.is_err());
            drop((opened, begun));
            disk.power_cut(nth, 512);

            let mut opened = disk.open(&tiny()).unwrap();
            let coordinator = opened.store.coordinator(Millis(7)).unwrap();
            join(&coordinator, 20);
            assert!(claim(&mut opened, &coordinator, guild(1), true) > given);
        }
    }
    assert!(cuts >= 4, "{cuts} of its operations were cut");
}
