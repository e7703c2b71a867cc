//! Everything at once, on several threads: per session no event is out of order, doubled, or lost but under a gap.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use guildhall_node::{Backend, Counter, Delivery, Gap, SessionStream};
use guildhall_proto::{CallError, GuildId, Position};
use parking_lot::Mutex;

use crate::world::{Dice, World, add_member, attach, message, soon, until, until_async};

const GUILDS: u64 = 3;
const MESSAGES: u64 = 1_500;
const LISTENERS: u64 = 5;
const VISITS: u64 = 60;

/// What a session heard between two positions that it was there for.
struct Account {
    guild: GuildId,
    /// Everything after this was for it.
    from: Position,
    /// Everything up to this was for it.
    until: Position,
    events: Vec<Position>,
    gaps: Vec<Gap>,
}

impl Account {
    fn new(guild: GuildId, from: Position) -> Self {
        Self { guild, from, until: from, events: Vec::new(), gaps: Vec::new() }
    }

    /// Takes a delivery; `false` for the end.
    fn hear(&mut self, delivery: Option<Delivery>) -> bool {
        let known = self.events.last().max(self.gaps.last().map(|gap| &gap.through)).copied();
        match delivery {
            Some(Delivery::Event(event)) => {
                assert!(known < Some(event.position), "{} came after {known:?}", event.position);
                self.events.push(event.position);
                true
            }
            Some(Delivery::Gap(gap)) => {
                assert!(known <= Some(gap.through), "a gap up to {} came after {known:?}", gap.through);
                self.gaps.push(gap);
                true
            }
            Some(Delivery::Unread(unread)) => panic!("an active session hears all itself: {unread:?}"),
            Some(Delivery::Ephemeral(told)) => panic!("nobody types here, but {told:?}"),
            Some(Delivery::Detached(_)) | None => false,
        }
    }

    fn check(&self, published: &[(GuildId, Position)]) {
        for (_, at) in
            published.iter().filter(|(guild, at)| *guild == self.guild && *at > self.from && *at <= self.until)
        {
            let gap = self.gaps.iter().any(|gap| gap.after < *at && *at <= gap.through);
            assert!(gap || self.events.binary_search(at).is_ok(), "{at} was neither heard nor under {:?}", self.gaps);
        }
    }
}

/// Where the guild stands now, whatever owner it has.
async fn position(world: &World, guild: GuildId) -> Position {
    loop {
        match world.view(guild).await {
            Ok(view) => return view.position(),
            Err(CallError::Unavailable { .. }) => tokio::task::yield_now().await,
            Err(error) => panic!("{error}"),
        }
    }
}

async fn attach_soon(backend: &Backend, guild: GuildId, session: u64, user: u64) -> SessionStream {
    soon(attach(backend, guild, session, user)).await
}

/// Detaches and hears the rest.
async fn leave(mut stream: SessionStream, mut account: Account) -> Account {
    account.until = soon(stream.detach()).await.unwrap();
    while soon(hear(&mut stream, &mut account)).await {}
    account
}

/// Hears what is next, in one of the ways there are; `false` at the end.
async fn hear(stream: &mut SessionStream, account: &mut Account) -> bool {
    let way = account.events.len() % 5;
    if way == 0 {
        return account.hear(stream.next().await);
    }
    let mut goes_on = true;
    stream.read(way, |delivery| goes_on &= account.hear(Some(delivery.into()))).await && goes_on
}

async fn publish(
    world: Arc<World>,
    guild: GuildId,
    first_member: u64,
    published: Arc<Mutex<Vec<(GuildId, Position)>>>,
) {
    for number in 0..MESSAGES {
        let durable = number % 50 == 0;
        let command = if durable { add_member(first_member + number) } else { message(number) };
        match soon(world.ask(guild, command)).await {
            Ok(outcome) if !durable => published.lock().push((guild, outcome.at())),
            Ok(_) | Err(CallError::OutcomeUnknown | CallError::Unavailable { .. }) => {}
            Err(CallError::Overloaded { .. }) => tokio::task::yield_now().await,
            Err(error) => panic!("{error}"),
        }
    }
}

/// One that stays until it is told to go.
async fn listen(
    world: Arc<World>,
    backend: Backend,
    guild: GuildId,
    number: u64,
    over: Arc<tokio::sync::Notify>,
) -> Account {
    let mut stream = attach_soon(&backend, guild, number, number).await;
    let mut account = Account::new(guild, position(&world, guild).await);
    let mut over = std::pin::pin!(over.notified());
    loop {
        tokio::select! {
            biased;
            () = &mut over => return leave(stream, account).await,
            goes_on = hear(&mut stream, &mut account) => assert!(goes_on, "it ended by itself"),
        }
    }
}

/// One that comes and goes in every way.
async fn visit(world: Arc<World>, backend: Backend, guild: GuildId, number: u64, accounts: Arc<Mutex<Vec<Account>>>) {
    let mut dice = Dice(number);
    for round in 0..VISITS {
        let session = 1_000_000 * number + round;
        if dice.roll(4) == 0 {
            // Given up on the way.
            let mut attaching = Box::pin(attach(&backend, guild, session, number));
            for _ in 0..dice.roll(4) {
                if crate::world::poll_once(&mut attaching).await.is_ready() {
                    break;
                }
                tokio::task::yield_now().await;
            }
            continue;
        }
        let mut stream = attach_soon(&backend, guild, session, number).await;
        let mut account = Account::new(guild, position(&world, guild).await);
        for _ in 0..dice.roll(30) {
            assert!(soon(hear(&mut stream, &mut account)).await, "it ended by itself");
        }
        match dice.roll(3) {
            0 => drop(stream),
            1 => {
                let mut leaving = Box::pin(stream.detach());
                let _given_up = crate::world::poll_once(&mut leaving).await;
            }
            _ => {
                let account = leave(stream, account).await;
                accounts.lock().push(account);
            }
        }
    }
}

async fn everything_at_once(ring_entries: usize) {
    let world = Arc::new(World::with(|config| {
        config.ring.entries_max = ring_entries;
        config.relay.ring.entries_max = ring_entries;
    }));
    let backend = world.backend();
    let (published, accounts) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Mutex::new(Vec::new())));
    let over = Arc::new(tokio::sync::Notify::new());
    let (mut listeners, mut visitors, mut publishers, mut guilds) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for number in 1..=GUILDS {
        let guild = world.found(number, 50).await;
        guilds.push(guild);
        for user in 1..=LISTENERS {
            listeners.push(tokio::spawn(listen(Arc::clone(&world), backend.clone(), guild, user, Arc::clone(&over))));
        }
    }
    until_async(async || {
        for guild in &guilds {
            if world.online(*guild).await < LISTENERS as usize {
                return false;
            }
        }
        true
    })
    .await;
    let busy = Arc::new(AtomicUsize::new(0));
    for guild in &guilds {
        for first_member in [1_000, 100_000] {
            publishers.push(tokio::spawn(publish(Arc::clone(&world), *guild, first_member, Arc::clone(&published))));
        }
        for user in 11..13 {
            let visit = visit(Arc::clone(&world), backend.clone(), *guild, user, Arc::clone(&accounts));
            let busy = Arc::clone(&busy);
            busy.fetch_add(1, Ordering::SeqCst);
            visitors.push(tokio::spawn(async move {
                visit.await;
                busy.fetch_sub(1, Ordering::SeqCst);
            }));
        }
    }
    // The first guild is hit again and again; the last never.
    for number in 0..6 {
        let done = world.count(Counter::Events);
        until(|| {
            world.count(Counter::Events) > done + 400 || publishers.iter().all(|publisher| publisher.is_finished())
        })
        .await;
        let guild = guilds[number % (guilds.len() - 1)];
        let panicked = soon(world.filter(guild, |_, _| panic!("the job of this test panics"))).await;
        assert!(panicked.is_err());
    }
    for publisher in publishers {
        soon(publisher).await.unwrap();
    }
    // Visitors wait for something to hear.
    let mut number = MESSAGES;
    while busy.load(Ordering::SeqCst) > 0 {
        for guild in &guilds {
            let _outcome = soon(world.ask(*guild, message(number))).await;
        }
        number += 1;
        tokio::task::yield_now().await;
    }
    for visitor in visitors {
        soon(visitor).await.unwrap();
    }
    for guild in &guilds {
        world.until_online(*guild, LISTENERS as usize).await;
    }
    over.notify_waiters();
    for listener in listeners {
        let account = soon(listener).await.unwrap();
        accounts.lock().push(account);
    }

    check(&accounts.lock(), &published.lock());
    // Two jobs that panic in a row may meet one owner.
    assert!((1..=6).contains(&world.count(Counter::RetiredByJob)));
    for guild in &guilds {
        world.until_online(*guild, 0).await;
    }
    until(|| backend.relays() == 0).await;
    soon(world.stop()).await;
}

fn check(accounts: &[Account], published: &[(GuildId, Position)]) {
    assert!(published.len() > 1_000 && accounts.len() > 20);
    accounts.iter().for_each(|account| account.check(published));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sessions_hear_all_in_order_while_guilds_retire_and_sessions_come_and_go() {
    everything_at_once(4_096).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sessions_that_lag_lose_nothing_but_under_a_gap() {
    everything_at_once(16).await;
}
