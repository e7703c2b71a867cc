//! How an idle guild falls asleep: what only memory holds goes to the store, then the owner ends and all is freed.
//!
//! Told to sleep, the owner goes on as before and looks at the end of each turn whether it may end: nobody listens, nothing is under
//! way, and the last checkpoint has everything. Whatever comes in between has been taken, so it is carried out, and the guild stays
//! awake. The mailbox closes only when it is empty: no request is ever turned away because of sleep.

use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::{End, Owner};

/// Why a guild stays awake that was asked to sleep.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SleepError {
    /// Sessions are attached, or a relay listens.
    #[error("the guild has {sessions} sessions, or a relay that listens")]
    Heard {
        /// How many sessions there are.
        sessions: usize,
    },
    /// Requests came meanwhile, or an operation is under way that is spread over turns.
    #[error("the guild is in use")]
    InUse,
    /// The store did not take the guild's checkpoint. The records are stored, so nothing is lost.
    #[error("the store did not take the guild's checkpoint")]
    NotStored,
    /// The node is stopping.
    #[error("the node is stopping")]
    Stopping,
}

/// Who has a guild fall asleep.
#[derive(Debug)]
pub(crate) enum Bedtime {
    /// It was idle for long. The permit is one of few, so that not all of a node's guilds go to the store at once.
    Idle { _pace: OwnedSemaphorePermit },
    /// Somebody asks for it, and is told what stands against it. Dropped without a word, the owner has ended.
    Asked(oneshot::Sender<Result<(), SleepError>>),
}

impl Owner {
    /// Has the guild fall asleep as soon as it may.
    pub(super) fn become_drowsy(&mut self, bedtime: Bedtime) {
        match (&self.drowsy, bedtime) {
            // Somebody waits for an answer: the node's own request may come again.
            (Some(_), Bedtime::Idle { .. }) => {}
            (_, bedtime) => self.drowsy = Some(bedtime),
        }
    }

    /// Goes on as if the guild had never been asked to sleep.
    pub(super) fn stay_awake(&mut self, because: SleepError) {
        if let Some(Bedtime::Asked(tell)) = self.drowsy.take() {
            // Who went away needs no answer.
            drop(tell.send(Err(because)));
        }
    }

    /// Falls asleep, or does the next thing towards it, if the guild is to. To be called at the end of a turn.
    pub(super) fn fall_asleep(&mut self, inputs: usize) {
        if self.drowsy.is_none() || self.ended.is_some() {
            return;
        }
        if let Some(obstacle) = self.obstacle(inputs) {
            return self.stay_awake(obstacle);
        }
        if !self.is_settled() {
            // What it waits for comes as control, and with it the next turn.
            return;
        }
        if !self.guild.is_checkpointed() {
            self.guild.checkpoint(&mut self.effects);
            self.admit();
            self.release();
            return;
        }
        if self.live.mailbox.close_if_empty() {
            self.live.set_asleep();
            self.end(End::Asleep);
        } else {
            self.stay_awake(SleepError::InUse);
        }
    }

    fn obstacle(&self, inputs: usize) -> Option<SleepError> {
        let sessions = self.guild.sessions();
        if self.is_stopping() {
            Some(SleepError::Stopping)
        } else if sessions > 0 || self.live.is_heard() {
            Some(SleepError::Heard { sessions })
        } else if inputs > 0 || self.guild.is_at_work() {
            Some(SleepError::InUse)
        } else {
            None
        }
    }

    /// Whether nothing is on its way to the store or a worker.
    fn is_settled(&self) -> bool {
        self.gate.is_empty() && self.checkpoints.are_done() && !self.guild.is_folding()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use guildhall_proto::{
        Actor, ClientId, Command, GuildId, Level, MemberFlags, Millis, Name, NewMember, Nick, OpId, Permissions,
        SessionId, Status, UserId,
    };
    use guildhall_store::MemoryStore;

    use crate::{Attach, Call, Clock, Node, NodeConfig};

    /// Waits until something is so: what is large dies on a worker.
    async fn until(is_so: impl Fn() -> bool) {
        let waiting = async {
            while !is_so() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), waiting).await.expect("it comes to be so");
    }

    #[tokio::test]
    async fn of_a_sleeping_guild_nothing_is_held_but_by_the_store() {
        let clock = Clock::from_fn(|| Millis(1));
        let config = NodeConfig { clock, sleep_after: Duration::MAX, ..NodeConfig::default() };
        let store = Arc::new(MemoryStore::default());
        let node = Node::start(config, Arc::clone(&store) as Arc<_>).unwrap();
        let holders = Arc::strong_count(&store);
        let guild = GuildId::MIN;
        let member = |user| NewMember {
            user: UserId::new(user).unwrap(),
            nick: Nick::parse("nick").unwrap(),
            roles: vec![],
            flags: MemberFlags::NONE,
        };
        let name = Name::parse("guild").unwrap();
        let create = Command::CreateGuild { name, everyone: Permissions::VIEW_CHANNEL, owner: member(1) };
        // Enough for folds on workers, and for a ring with a lease.
        let commands = [create].into_iter().chain(
            (0..5u64).map(|at| Command::AddMembers((2 + at * 1_000..2 + (at + 1) * 1_000).map(member).collect())),
        );
        for (counter, command) in (1..).zip(commands) {
            let op = OpId { client: ClientId::MIN, counter, issued_at: Millis(1) };
            node.call(guild, Call { op, actor: Actor::System, command }).await.unwrap();
        }
        let backend = node.backend();
        let (session, user) = (SessionId::MIN, UserId::new(1).unwrap());
        let attach = Attach { session, user, status: Status::Online, members: true, level: Level::Active };
        let mut stream = backend.attach(guild, attach).await.unwrap();

        let (live, view) = {
            let live = node.live(guild).await.unwrap();
            (Arc::downgrade(&live), Arc::downgrade(&live.view().unwrap()))
        };
        assert!(node.ring_bytes() > 0);
        stream.detach().await.unwrap();
        drop(stream);
        // The relay is still there for a moment.
        let asleep = async {
            while node.sleep(guild).await.is_err() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), asleep).await.expect("nobody needs it");
        until(|| (live.strong_count(), view.strong_count()) == (0, 0)).await;
        until(|| (node.awake(), node.ring_bytes(), backend.relays()) == (0, 0, 0)).await;
        assert_eq!(Arc::strong_count(&store), holders);
    }
}
