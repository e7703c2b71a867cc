//! A node over a store whose disk fails at a sync, while many call: nobody is told afterwards that something is stored, and the next
//! start has all that anybody was told before.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use guildhall_log::MemoryFiles;
use guildhall_log::files::{Failure, Fault, Site};
use guildhall_node::WriterFailure;
use guildhall_proto::{CallError, GuildId};
use guildhall_store::EmbeddedConfig;
use tokio::task::JoinSet;

use crate::durable::{Disk, EIO, World};
use crate::world::{add_member, soon, user};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_failed_sync_of_records_nobody_is_acknowledged_and_the_next_start_is_right() {
    for after in [0, 1, 7, 40] {
        fails_at_a_sync(Disk::records, "records/", after).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_failed_sync_of_a_checkpoint_nobody_is_acknowledged_and_the_next_start_is_right() {
    for after in 0..3 {
        fails_at_a_sync(Disk::checkpoints, "checkpoints/", after).await;
    }
}

async fn fails_at_a_sync(log: impl Fn(&Disk) -> &MemoryFiles, named: &str, after: u64) {
    let disk = Disk::default();
    let open = |client| {
        World::with(disk.directory(), EmbeddedConfig::default(), client, |config| {
            config.guild.checkpoints.changes_min = 50;
        })
    };
    let world = Arc::new(open(1));
    for guild in guilds() {
        world.found(guild, 10).await;
    }
    log(&disk).fail(Fault { site: Site::Sync, after, times: 1, failure: Failure::Error(EIO) });

    // Each goes on until it is refused.
    let has_failed = Arc::new(AtomicBool::new(false));
    let mut callers = JoinSet::new();
    for caller in 1..=CALLERS {
        let (world, has_failed) = (Arc::clone(&world), Arc::clone(&has_failed));
        callers.spawn(async move {
            let guild = guilds()[caller as usize % GUILDS];
            let mut acknowledged = Vec::new();
            for member in caller * 100_000.. {
                let had_failed = has_failed.load(Ordering::SeqCst);
                let called = world.ask(guild, add_member(member)).await;
                if called.is_ok() {
                    assert!(!had_failed, "acknowledged by a disk that has failed");
                    acknowledged.push((guild, member));
                } else if had_failed {
                    break;
                }
            }
            acknowledged
        });
    }
    let failure = soon(world.durable.failed()).await;
    has_failed.store(true, Ordering::SeqCst);
    let WriterFailure::Disk(told) = &failure else { panic!("{failure}") };
    let told = told.to_string();
    assert!(told.contains(named) && told.contains(".log: cannot sync") && told.contains("os error 5"), "{told}");
    let acknowledged = soon(callers.join_all()).await.concat();

    // What was settled is still read, and nothing new is said.
    for guild in guilds() {
        let view = soon(world.view(guild)).await.unwrap();
        assert!(acknowledged.iter().all(|(of, member)| *of != guild || view.member(user(*member)).is_some()));
        let refused = world.ask(guild, add_member(49)).await.unwrap_err();
        assert!(matches!(refused, CallError::Unavailable { .. } | CallError::OutcomeUnknown), "{refused}");
    }
    let world = Arc::into_inner(world).unwrap();
    assert_eq!(world.stop().await, Err(failure));

    disk.power_cut(after);
    log(&disk).mend();
    let next = open(2);
    for guild in guilds() {
        let view = soon(next.view(guild)).await.unwrap();
        let lost: Vec<_> =
            acknowledged.iter().filter(|(of, member)| *of == guild && view.member(user(*member)).is_none()).collect();
        assert!(lost.is_empty(), "{lost:?}");
        let of_it = acknowledged.iter().filter(|(of, _)| *of == guild).count();
        // Each caller had one call under way, which may have come in.
        assert!((10 + of_it..=10 + of_it + CALLERS as usize).contains(&view.len()));
        next.ask(guild, add_member(50)).await.unwrap();
    }
    next.stop().await.unwrap();
}

fn guilds() -> [GuildId; GUILDS] {
    std::array::from_fn(|at| GuildId::new(at as u64 + 1).unwrap())
}

const GUILDS: usize = 3;
const CALLERS: u64 = 12;
