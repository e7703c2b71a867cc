//! Who holds which session at a guild's owner: what is asked about sessions decided again (promises 4 and 5).
//!
//! Nothing of it outlives an owner, but for the generations given: a secret is good for one generation, so no two may be the same.

use std::collections::{BTreeMap, BTreeSet};

use guildhall_guild::{Answer, Attached, Reply, SessionRequest};
use guildhall_proto::limits::{GUILD_SESSIONS_MAX, USER_SESSIONS_MAX};
use guildhall_proto::{
    Actor, Command, EventKind, Generation, GuildId, Millis, Position, Publish, SessionId, Status, UserId,
};

use super::{Breach, Promise};
use crate::model::Life;

#[derive(Debug, Default)]
pub(super) struct Register {
    held: BTreeMap<SessionId, Held>,
    of: BTreeMap<UserId, BTreeSet<SessionId>>,
    /// What is shown of who is there; nobody who is shown as offline.
    shown: BTreeMap<UserId, Status>,
    /// The highest generation given so far by the clocks of owners, rising.
    given: BTreeMap<Millis, Generation>,
    /// How many sessions have ended, and when a user's last one did.
    endings: u64,
    ended: BTreeMap<UserId, u64>,
}

#[derive(Debug, Clone, Copy)]
struct Held {
    user: UserId,
    status: Status,
    generation: Generation,
    /// Whether its owner knows the generation from its holder alone.
    is_hearsay: bool,
}

/// What was asked about a session, and where.
#[derive(Debug)]
pub(super) struct Asking<'a> {
    pub(super) guild: GuildId,
    pub(super) session: SessionId,
    pub(super) request: SessionRequest,
    /// The guild there.
    pub(super) life: &'a Life,
    pub(super) at: Position,
    pub(super) now: Millis,
    pub(super) answer: &'a Answer,
}

impl Asking<'_> {
    #[track_caller]
    fn wrong(&self, what: &str) -> Breach {
        let Self { guild, session, request, at, answer, .. } = self;
        Promise::Order
            .breach(format!("guild {guild} at {at}: {what}: {session:?} asks {request:?} and is told {answer:?}"))
    }
}

impl Register {
    /// A new owner begins: it knows of no session.
    pub(super) fn begins(&mut self) {
        self.held.clear();
        self.of.clear();
        self.shown.clear();
        self.ended.clear();
    }

    /// How many sessions have ended so far.
    pub(super) fn endings(&self) -> u64 {
        self.endings
    }

    /// Whether a user has a session, or has had one since so many had ended.
    pub(super) fn was_there(&self, user: UserId, since: u64) -> bool {
        self.of.contains_key(&user) || self.ended.get(&user).is_some_and(|ended| *ended > since)
    }

    /// Whether a command may name the session that it does, if it does: who publishes as a session has it.
    pub(super) fn may_publish(&self, actor: Actor, command: &Command) -> bool {
        let Command::Publish(Publish { session: Some(session), .. }) = command else { return true };
        self.held.get(session).is_some_and(|held| actor == Actor::User(held.user))
    }

    /// What a user's sessions show together: the most present of them.
    pub(super) fn status(&self, user: UserId) -> Status {
        self.shown.get(&user).copied().unwrap_or(Status::Offline)
    }

    /// How many users are shown as anything but offline.
    pub(super) fn online(&self) -> usize {
        self.shown.len()
    }

    /// Sessions end with their members, and with their guild.
    pub(super) fn note(&mut self, event: &EventKind) {
        if let EventKind::MemberLeft { member } = event {
            self.forget_user(member.user);
        } else if let EventKind::MembersLeft { users } = event {
            users.iter().for_each(|user| self.forget_user(*user));
        } else if matches!(event, EventKind::GuildDeleted) {
            self.begins();
        }
    }

    /// What was asked about a session must be granted if it may be, and is then so.
    pub(super) fn decide(&mut self, asking: &Asking<'_>) -> Result<(), Breach> {
        let Asking { session, request, answer, .. } = *asking;
        let may_be = self.may_be(asking);
        let reply = match answer {
            Err(_) if may_be => return Err(asking.wrong("it should not be refused")),
            Err(_) => return Ok(()),
            Ok(_) if !may_be => return Err(asking.wrong("it should be refused")),
            Ok(reply) => reply,
        };
        match (request, reply) {
            (
                SessionRequest::Attach { user, status } | SessionRequest::Resume { user, status, .. },
                Reply::Attached(attached),
            ) => {
                self.require_attached(asking, user, attached)?;
                self.hold(session, Held { user, status, generation: attached.generation, is_hearsay: false });
                return Ok(());
            }
            (SessionRequest::Reattach { user, status, generation }, Reply::Accepted(_)) => {
                let own = self.held.get(&session).filter(|held| held.generation == generation);
                let is_hearsay = own.is_none_or(|held| held.is_hearsay);
                self.hold(session, Held { user, status, generation, is_hearsay });
            }
            (SessionRequest::Detach { .. } | SessionRequest::Release { .. }, Reply::Accepted(_)) => {
                self.forget(session);
            }
            (SessionRequest::SetStatus { status, .. }, Reply::Accepted(_)) => {
                if let Some(held) = self.held.get(&session).copied() {
                    self.hold(session, Held { status, ..held });
                }
            }
            (SessionRequest::SetLevel { .. }, Reply::Accepted(_)) => {}
            (_, Reply::Attached(_) | Reply::Accepted(_) | Reply::Outcome(_)) => {
                return Err(asking.wrong("that is the answer to something else"));
            }
        }
        if *reply == Reply::Accepted(asking.at) { Ok(()) } else { Err(asking.wrong("its position is another")) }
    }

    fn may_be(&self, asking: &Asking<'_>) -> bool {
        let Some(community) = asking.life.community() else { return false };
        let is_member = |user: UserId| community.members.contains_key(&user);
        let held = self.held.get(&asking.session);
        let holds = |user: UserId| held.is_some_and(|held| held.user == user);
        let is_latest = |generation: Generation| held.is_none_or(|held| held.generation <= generation);
        match asking.request {
            SessionRequest::Attach { user, .. } => is_member(user) && self.has_room(held, user),
            SessionRequest::Resume { user, generation, known, .. } => {
                let is_its = held.is_some_and(|held| held.generation == generation && !held.is_hearsay);
                is_member(user) && holds(user) && is_its && known <= asking.at
            }
            SessionRequest::Reattach { user, generation, .. } => {
                is_member(user) && self.has_room(held, user) && is_latest(generation)
            }
            SessionRequest::SetStatus { user, generation, .. }
            | SessionRequest::SetLevel { user, generation, .. }
            | SessionRequest::Release { user, generation } => holds(user) && is_latest(generation),
            SessionRequest::Detach { user } => holds(user),
        }
    }

    fn has_room(&self, held: Option<&Held>, user: UserId) -> bool {
        let own = self.of.get(&user).map_or(0, BTreeSet::len);
        held.map_or(self.held.len() < GUILD_SESSIONS_MAX && own < USER_SESSIONS_MAX, |held| held.user == user)
    }

    fn require_attached(&mut self, asking: &Asking<'_>, user: UserId, attached: &Attached) -> Result<(), Breach> {
        let community = asking.life.community().expect("only of a guild that is there it may be");
        if attached.at != asking.at || community.members.get(&user).is_none_or(|member| **member != attached.member) {
            return Err(asking.wrong("its position or its member is another"));
        }
        if !attached.deleted_roles.iter().all(|role| community.deleted_roles.contains(role)) {
            return Err(asking.wrong("a role is said to be deleted that is not"));
        }
        // An owner whose clock was ahead of this one's may have given a higher one.
        let before = self.given.range(..asking.now).next_back().map(|(_, generation)| *generation);
        let before = before.max(self.held.get(&asking.session).map(|held| held.generation));
        if before.is_some_and(|before| before >= attached.generation) {
            return Err(asking.wrong(&format!("a generation is given that is not above {before:?}")));
        }
        // One that was told of a higher one by its holder goes on above that, as if its own clock were there.
        let now = asking.now.max(Millis(attached.generation.0 >> GENERATIONS_PER_MILLI_BITS));
        let highest = self.given.range(..=now).next_back().map(|(_, generation)| *generation);
        self.given.insert(now, highest.unwrap_or_default().max(attached.generation));
        Ok(())
    }

    fn hold(&mut self, session: SessionId, held: Held) {
        self.of.entry(held.user).or_default().insert(session);
        self.held.insert(session, held);
        self.show(held.user);
    }

    /// What a user shows may have changed.
    fn show(&mut self, user: UserId) {
        let own = self.of.get(&user).into_iter().flatten();
        let most = own.map(|session| self.held[session].status).max().filter(|status| *status != Status::Offline);
        match most {
            Some(status) => drop(self.shown.insert(user, status)),
            None => drop(self.shown.remove(&user)),
        }
    }

    fn forget(&mut self, session: SessionId) {
        let Some(held) = self.held.remove(&session) else { return };
        if let Some(own) = self.of.get_mut(&held.user) {
            own.remove(&session);
            if own.is_empty() {
                self.forget_user(held.user);
            }
        }
        self.show(held.user);
    }

    fn forget_user(&mut self, user: UserId) {
        let Some(sessions) = self.of.remove(&user) else { return };
        self.endings += 1;
        self.ended.insert(user, self.endings);
        for session in sessions {
            self.held.remove(&session);
        }
        self.shown.remove(&user);
    }
}

/// Generations are numbered by the clock: a million of them to a millisecond.
const GENERATIONS_PER_MILLI_BITS: u32 = 20;
