//! Whose turn it is to attach to a relay, or to come back to it: a few sessions at a time, in the order they came.
//!
//! A storm of attaches is as many tasks as there are clients. All of them at once would have other guilds' turns wait behind that many
//! tasks that are ready. A few at a time, one after the other without a pause, still keep all cores busy for as long as the storm lasts, and then
//! whatever wakes waits for the scheduler to take a core away: up to a tick of its clock, 4 ms, where the whole call takes 0.1. So while
//! somebody calls the node, a place that was used is free again only behind a rest, in which the cores have nothing to do. A node that nobody calls
//! takes a storm without rest.
//!
//! Invariant: of the places each is free, held by a [`Turn`], or counted in `Pace::resting`, which is more than none only while a task is to
//! free them.

use std::sync::Arc;
use std::time::Duration;

use guildhall_proto::CallError;
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, timeout};

use super::seat::LAGGING_RETRY_AFTER;
use crate::counters::Counter;
use crate::node::Node;

/// The turns of one relay.
pub(super) struct Turns {
    node: Node,
    runtime: Handle,
    places: Semaphore,
    /// Leave to wait for one of them: as many as there may be sessions.
    waiting: Semaphore,
    waiting_max: usize,
    pace: Mutex<Pace>,
}

/// Leave to attach one session, or have one come back. To be given back by its drop.
pub(super) struct Turn(Arc<Turns>);

#[derive(Debug, Default)]
struct Pace {
    /// Calls that owners had handled at the last look.
    calls: u64,
    /// When there were last more of them than at the look before.
    called: Option<Instant>,
    /// Places that were used, and are free again after the rest.
    resting: usize,
}

impl Turns {
    pub(super) fn new(node: Node, sessions_max: usize) -> Arc<Self> {
        let waiting_max = sessions_max.min(Semaphore::MAX_PERMITS);
        Arc::new(Self {
            node,
            runtime: Handle::current(),
            places: Semaphore::new(AT_A_TIME),
            waiting: Semaphore::new(waiting_max),
            waiting_max,
            pace: Mutex::default(),
        })
    }

    /// Waits until it is one more session's turn.
    ///
    /// # Errors
    /// `Overloaded` if as many wait as there may be sessions, or if it takes too long: those before it do not come to an end.
    pub(super) async fn next(self: &Arc<Self>) -> Result<Turn, CallError> {
        if let Ok(place) = self.places.try_acquire() {
            place.forget();
            return Ok(Turn(Arc::clone(self)));
        }
        let late = CallError::Overloaded { retry_after: LAGGING_RETRY_AFTER };
        let Ok(_waiting) = self.waiting.try_acquire() else {
            return Err(late);
        };
        match timeout(TURN_AFTER_MAX, self.places.acquire()).await {
            Ok(place) => {
                place.expect("it is never closed").forget();
                Ok(Turn(Arc::clone(self)))
            }
            Err(_elapsed) => Err(late),
        }
    }

    /// Whether somebody waits while others call the node.
    fn wants_rest(&self, pace: &mut Pace) -> bool {
        if self.waiting.available_permits() == self.waiting_max {
            return false;
        }
        let (now, calls) = (Instant::now(), self.node.counters().of(Counter::Calls));
        if calls != pace.calls {
            (pace.calls, pace.called) = (calls, Some(now));
        }
        pace.called.is_some_and(|called| now - called < OF_LATE)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let Self(turns) = self;
        let mut pace = turns.pace.lock();
        if !turns.wants_rest(&mut pace) {
            drop(pace);
            turns.places.add_permits(1);
            return;
        }
        pace.resting += 1;
        if pace.resting == 1 {
            let turns = Arc::clone(turns);
            turns.runtime.clone().spawn(async move {
                sleep(REST).await;
                let rested = std::mem::take(&mut turns.pace.lock().resting);
                turns.places.add_permits(rested);
            });
        }
    }
}

/// Sessions that attach or come back at a time: enough to fill a turn of the owner.
const AT_A_TIME: usize = 32;
/// What is done with that many takes a tenth of it on each of two cores. The timers of the runtime do not tell shorter times apart.
const REST: Duration = Duration::from_millis(1);
/// Who calls more rarely meets a few attaches that are under way, and no more.
const OF_LATE: Duration = Duration::from_millis(10);
/// How long a session waits for its turn. A hundred thousand have had theirs in 6 s, if all come through one relay, and with rests.
const TURN_AFTER_MAX: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use guildhall_proto::{
        Actor, ClientId, Command, GuildId, Level, MemberFlags, Millis, Name, NewMember, Nick, OpId, Permissions,
        SessionId, Status, UserId,
    };
    use guildhall_store::MemoryStore;

    use super::*;
    use crate::{Attach, AttachError, Backend, Call, Clock, NodeConfig};

    /// A node with one guild, of as many members as there are sessions in a storm.
    async fn node() -> Node {
        let config = NodeConfig { clock: Clock::from_fn(|| Millis(1)), ..NodeConfig::default() };
        let node = Node::start(config, Arc::new(MemoryStore::default())).unwrap();
        call(
            &node,
            1,
            Command::CreateGuild { name: Name::parse("one").unwrap(), everyone: Permissions::NONE, owner: member(1) },
        )
        .await;
        call(&node, 2, Command::ImportMembers((2..=STORM).map(member).collect())).await;
        node
    }

    async fn call(node: &Node, counter: u64, command: Command) {
        let op = OpId { client: ClientId::MIN, counter, issued_at: Millis(1) };
        node.call(GuildId::MIN, Call { op, actor: Actor::System, command }).await.unwrap();
    }

    fn user(number: u64) -> UserId {
        UserId::new(number).unwrap()
    }

    fn member(number: u64) -> NewMember {
        let nick = Nick::parse("ada").unwrap();
        NewMember { user: user(number), nick, roles: vec![], flags: MemberFlags::NONE }
    }

    fn attach(number: u64) -> Attach {
        let (session, user) = (SessionId::new(number).unwrap(), user(number));
        Attach { session, user, status: Status::Online, members: false, level: Level::Active }
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_too_long_for_its_turn_or_behind_too_many_is_told_to_come_again_and_then_comes_in() {
        let node = node().await;
        let backend = node.backend();
        let (relay, _lease) = backend.relay(GuildId::MIN).await.unwrap();

        let mut turns = Vec::new();
        for _ in 0..AT_A_TIME {
            turns.push(relay.turns.next().await.unwrap());
        }
        let begun = Instant::now();
        let refused = backend.attach(GuildId::MIN, attach(1)).await.unwrap_err();
        let late = AttachError::Call(CallError::Overloaded { retry_after: LAGGING_RETRY_AFTER });
        assert_eq!((refused, begun.elapsed()), (late.clone(), TURN_AFTER_MAX));

        let places = u32::try_from(relay.turns.waiting_max).unwrap();
        let waiting = relay.turns.waiting.try_acquire_many(places).unwrap();
        let begun = Instant::now();
        let refused = backend.attach(GuildId::MIN, attach(1)).await.unwrap_err();
        assert_eq!((refused, begun.elapsed()), (late, Duration::ZERO));

        drop((turns, waiting));
        assert!(backend.attach(GuildId::MIN, attach(1)).await.is_ok());
    }

    /// How long so many storms of attaches take, all at once.
    async fn storm(backend: &Backend) -> Duration {
        let begun = Instant::now();
        let attaching = (1..=STORM).map(|number| {
            let backend = backend.clone();
            tokio::spawn(async move { backend.attach(GuildId::MIN, attach(number)).await.unwrap() })
        });
        for session in attaching.collect::<Vec<_>>() {
            session.await.unwrap().detach().await.unwrap();
        }
        begun.elapsed()
    }

    const STORM: u64 = 4 * AT_A_TIME as u64;

    #[tokio::test(start_paused = true)]
    async fn a_storm_rests_between_a_few_attaches_and_the_next_while_somebody_calls_and_else_does_not() {
        let node = node().await;
        let backend = node.backend();
        // Somebody waits, but the last call was long ago.
        let (relay, _lease) = backend.relay(GuildId::MIN).await.unwrap();
        relay.turns.pace.lock().calls = node.counters().of(Counter::Calls);
        assert_eq!(storm(&backend).await, Duration::ZERO);

        call(&node, 3, Command::RemoveMember { user: user(STORM) }).await;
        call(&node, 4, Command::AddMember(member(STORM))).await;
        assert!(storm(&backend).await >= 3 * REST);
        tokio::time::advance(OF_LATE).await;
        assert_eq!(storm(&backend).await, Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn few_attaches_do_not_rest_though_somebody_calls() {
        let node = node().await;
        let backend = node.backend();
        let begun = Instant::now();
        for number in 1..=STORM {
            let session = backend.attach(GuildId::MIN, attach(number)).await.unwrap();
            drop(session);
        }
        assert_eq!(begun.elapsed(), Duration::ZERO);
    }
}
