//! Answers that are read chunk by chunk: workers wait for who reads, and who reads no more costs nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;

use guildhall_node::{Counter, NodeConfig, Question};
use guildhall_proto::{CallError, GuildId, UserId};

use crate::world::{World, add_member, poll_once, settle, soon, until, user};

/// Members of a window of eight chunks of eight pages: [`narrow`] makes pages of 16.
const WINDOW: u64 = 8 * 8 * 16;
const MEMBERS: u64 = 5 * WINDOW;

fn narrow(config: &mut NodeConfig) {
    config.guild.members.page_members = 16;
}

/// A guild whose members all lie in pages.
async fn found(world: &World) -> GuildId {
    let guild = world.found(1, MEMBERS).await;
    soon(world.sleep(guild)).await.unwrap();
    guild
}

async fn settled(asked: &AtomicU64) -> u64 {
    settle().await;
    asked.load(Ordering::SeqCst)
}

#[tokio::test]
async fn workers_are_a_window_ahead_of_the_reader_and_no_more() {
    let world = World::with(narrow);
    let guild = found(&world).await;
    let asked = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&asked);
    let filter = world.filter(guild, move |member, _| {
        count.fetch_add(1, Ordering::SeqCst);
        member.user.get() % 2 == 1
    });
    let mut found = soon(filter).await.unwrap();
    let at = world.view(guild).await.unwrap().position();
    // What happens while it is read is not in it.
    soon(world.ask(guild, add_member(MEMBERS + 1))).await.unwrap();

    let mut ids = Vec::new();
    let mut chunks = 0;
    while let Some(chunk) = soon(found.next()).await.unwrap() {
        assert!(!chunk.is_empty());
        ids.extend(chunk);
        chunks += 1;
        // The window that is read, and the next.
        let scanned = settled(&asked).await;
        assert!(scanned <= ids.len() as u64 * 2 + 2 * WINDOW + WINDOW / 8, "{scanned} scanned, {} read", ids.len());
    }
    assert!(ids.iter().copied().eq((1..=MEMBERS).step_by(2).map(user)));
    assert_eq!((found.as_of().at, asked.load(Ordering::SeqCst)), (at, MEMBERS));
    assert!(chunks >= MEMBERS / WINDOW * 8, "{chunks} chunks");
    assert_eq!(soon(found.next()).await, Ok(None));
}

#[tokio::test]
async fn a_reader_that_goes_away_ends_the_scan_and_gives_its_places_back() {
    let world = World::with(|config| {
        narrow(config);
        config.offload.guild_scans_max = 1;
        config.offload.answers_max = 1;
    });
    let (guild, other) = (found(&world).await, world.found(2, 3).await);
    let asked = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&asked);
    let filter = world.filter(guild, move |_, _| {
        count.fetch_add(1, Ordering::SeqCst);
        true
    });
    let mut found = soon(filter).await.unwrap();
    assert!(soon(found.next()).await.unwrap().is_some());
    for refused in [guild, other] {
        let refused = world.everybody(refused).await;
        assert!(matches!(refused, Err(CallError::Overloaded { retry_after }) if !retry_after.is_zero()), "{refused:?}");
    }
    assert_eq!(world.count(Counter::RefusedScan), 2);

    drop(found);
    until(|| Arc::strong_count(&asked) == 1).await;
    assert!(asked.load(Ordering::SeqCst) <= 2 * WINDOW);
    assert_eq!(soon(world.everybody(guild)).await.unwrap().len() as u64, MEMBERS);
    // One that is read to its end keeps nothing either.
    let mut found = soon(world.recipients(guild, Question::All)).await.unwrap();
    while soon(found.next()).await.unwrap().is_some() {}
    assert_eq!(soon(world.everybody(other)).await.unwrap().len(), 3);
    drop(found);
}

#[tokio::test]
async fn a_guilds_place_is_free_once_the_last_window_is_scanned_however_long_that_is_read() {
    let world = World::with(|config| {
        narrow(config);
        config.offload.guild_scans_max = 1;
    });
    let guild = world.found(1, WINDOW + WINDOW / 2).await;
    soon(world.sleep(guild)).await.unwrap();
    let mut found = soon(world.recipients(guild, Question::All)).await.unwrap();
    let mut read = soon(found.next()).await.unwrap().unwrap().len();
    // The second window, which is the last, is found ahead of who reads the first.
    let another = async {
        loop {
            match world.everybody(guild).await {
                Ok(everybody) => return everybody.len(),
                Err(CallError::Overloaded { .. }) => tokio::task::yield_now().await,
                Err(error) => panic!("{error}"),
            }
        }
    };
    assert_eq!(soon(another).await as u64, WINDOW + WINDOW / 2);
    while let Some(chunk) = soon(found.next()).await.unwrap() {
        read += chunk.len();
    }
    assert_eq!(read as u64, WINDOW + WINDOW / 2);
}

#[tokio::test]
async fn a_call_that_is_given_up_loses_nothing() {
    let world = World::with(narrow);
    let guild = found(&world).await;
    let mut found = soon(world.recipients(guild, Question::All)).await.unwrap();
    let mut ids: Vec<UserId> = Vec::new();
    loop {
        // Polled once and dropped, as by a `select!` that takes another branch.
        if let std::task::Poll::Ready(next) = poll_once(&mut Box::pin(found.next())).await {
            match next.unwrap() {
                Some(chunk) => ids.extend(chunk),
                None => break,
            }
        } else {
            tokio::task::yield_now().await;
        }
    }
    assert!(ids.into_iter().eq((1..=MEMBERS).map(user)));
}

#[tokio::test]
async fn an_answer_that_nobody_takes_any_more_dies_on_a_worker() {
    struct Told(mpsc::Sender<String>);
    impl Drop for Told {
        fn drop(&mut self) {
            self.0.send(std::thread::current().name().unwrap_or_default().to_owned()).unwrap();
        }
    }
    let world = World::with(|config| {
        narrow(config);
        config.offload.threads = 1;
    });
    let (guild, other) = (found(&world).await, world.found(2, 3).await);
    drop(soon(world.view(guild)).await.unwrap());
    let asked = Arc::new(AtomicU64::new(0));
    let (count, (tell, told)) = (Arc::clone(&asked), mpsc::channel());
    let held = Told(tell);
    let mut filter = Box::pin(world.filter(guild, move |_, _| {
        let _held = &held;
        count.fetch_add(1, Ordering::SeqCst);
        true
    }));
    // Its first chunk may be there already.
    let begun = poll_once(&mut filter).await;
    // The only worker has done what was before this.
    assert_eq!(soon(world.everybody(other)).await.unwrap().len(), 3);
    assert!(asked.load(Ordering::SeqCst) > 0);
    drop((begun, filter));
    until(|| Arc::strong_count(&asked) == 1).await;
    assert!(told.recv().unwrap().starts_with("offload-"));
}

#[tokio::test]
async fn a_condition_that_panics_late_spoils_no_earlier_chunk_and_retires_the_guild() {
    let world = World::with(narrow);
    let guild = found(&world).await;
    let epoch = soon(world.view(guild)).await.unwrap().position().epoch;
    let filter = world.filter(guild, |member, _| {
        assert!(member.user.get() <= 3 * WINDOW, "the condition of this test");
        true
    });
    let mut found = soon(filter).await.unwrap();
    let mut read = 0;
    let error = loop {
        match soon(found.next()).await {
            Ok(chunk) => read += chunk.unwrap().len() as u64,
            Err(error) => break error,
        }
    };
    assert!(matches!(&error, CallError::Unavailable { reason } if reason.contains("of this test")), "{error:?}");
    assert!((2 * WINDOW..=3 * WINDOW).contains(&read), "{read}");
    assert_eq!(soon(found.next()).await, Err(error), "it never looks like the end");
    soon(world.ask(guild, add_member(MEMBERS + 1))).await.unwrap();
    assert_eq!(world.view(guild).await.unwrap().position().epoch.0, epoch.0 + 1);
}
