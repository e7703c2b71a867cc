//! What lies in a relay's rings: a fact, whom it is for, and who changes cohort with it.
//!
//! Invariants:
//! - the audiences of an entry cover every cohort there was when it was appended;
//! - `moves` are ascending by slot, one a session; an entry about one member lists all sessions of that member here, also those
//!   that stay in their cohort;
//! - an audience is weighed in the entry that it was made for, and in no other.
//! - an entry with moves is in both rings.

use std::sync::Arc;

use guildhall_proto::{Event, Level, Mentions, Position, RoleId, SessionId, UserId};
use guildhall_ring::Weigh;

use crate::audience::Audience;
use crate::cohort::Cohort;
use crate::hearing::Listener;
use crate::news::Summary;
use crate::session::SessionKey;

#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) fact: Fact,
    pub(crate) scope: Scope,
    pub(crate) moves: Arc<[Move]>,
    /// What the audiences take that were made for this entry.
    pub(crate) made_bytes: usize,
}

#[derive(Debug, Clone)]
pub(crate) enum Fact {
    Event(Arc<Event>),
    /// The feed had a hole: whatever happened up to here is unknown.
    Hole {
        through: Position,
    },
    /// News up to here is summarised.
    Unread {
        at: Position,
        summary: Arc<Summary>,
    },
}

/// Whom an entry is for.
#[derive(Debug, Clone)]
pub(crate) enum Scope {
    Everyone,
    /// Who sees a channel, or one of several, which the event leaves as they are.
    Seeing(Arc<Audience>),
    /// The same for a message: without the session that published it, unless that asked for an echo. Of passive sessions, those
    /// that it calls.
    Message {
        audience: Arc<Audience>,
        except: Option<SessionId>,
        call: Option<Arc<Call>>,
    },
    /// Who sees a channel just before or just after the event; `None` where there is no such channel then.
    Around {
        before: Option<Arc<Audience>>,
        after: Option<Arc<Audience>>,
    },
    /// One member's own sessions, and the active ones that want members.
    Member(UserId),
    /// Those that want members.
    Members,
    /// Passive sessions that have news.
    Unread,
}

/// Whom a message calls.
#[derive(Debug)]
pub(crate) struct Call {
    /// Ascending.
    users: Box<[UserId]>,
    /// Ascending.
    roles: Box<[RoleId]>,
    pub(crate) everyone: bool,
    pub(crate) here: bool,
    /// The sessions of `users` that there were here when the message came.
    pub(crate) sessions: Box<[SessionKey]>,
}

/// One session's change of cohort.
#[derive(Debug)]
pub(crate) struct Move {
    pub(crate) session: SessionKey,
    pub(crate) to: Arc<Cohort>,
}

impl Call {
    /// `None` if nobody is called.
    pub(crate) fn new(mentions: &Mentions, sessions: impl FnOnce() -> Box<[SessionKey]>) -> Option<Arc<Self>> {
        if mentions.is_empty() {
            return None;
        }
        let (mut users, mut roles) = (mentions.users.clone(), mentions.roles.clone());
        users.sort_unstable();
        roles.sort_unstable();
        let Mentions { everyone, here, .. } = *mentions;
        Some(Arc::new(Self { users: users.into(), roles: roles.into(), everyone, here, sessions: sessions() }))
    }

    /// Whether it calls a role that the sessions of a cohort hold. O(roles called × log roles held).
    pub(crate) fn calls_role_of(&self, cohort: &Cohort) -> bool {
        self.roles.iter().any(|role| cohort.standing.roles.binary_search(role).is_ok())
    }

    pub(crate) fn calls_roles(&self) -> bool {
        !self.roles.is_empty()
    }

    fn reaches(&self, who: &Listener, cohort: &Cohort) -> bool {
        #[cfg(feature = "defects")]
        if guildhall_proto::Defect::MentionLost.is_on() {
            return self.everyone || self.calls_role_of(cohort);
        }
        self.everyone
            || self.here && who.hearing.is_online
            || self.users.binary_search(&who.user).is_ok()
            || self.calls_role_of(cohort)
    }
}

impl Entry {
    /// Whether the entry is for a session that is in the cohort `before` just before it, and in `after` just after.
    #[inline]
    pub(crate) fn is_for(&self, who: &Listener, before: &Cohort, after: &Cohort) -> bool {
        let is_active = who.hearing.level == Level::Active;
        match &self.scope {
            Scope::Message { audience, except, call } => {
                (is_active || call.as_ref().is_some_and(|call| call.reaches(who, after)))
                    && audience.sees(after)
                    && *except != Some(who.session)
            }
            Scope::Seeing(audience) => audience.sees(after),
            Scope::Around { before: was, after: is } => {
                was.as_ref().is_some_and(|audience| audience.sees(before))
                    || is.as_ref().is_some_and(|audience| audience.sees(after))
            }
            Scope::Member(member) => *member == who.user || is_active && after.standing.members,
            Scope::Members => after.standing.members,
            Scope::Everyone => true,
            Scope::Unread => match &self.fact {
                Fact::Unread { summary, .. } => !is_active && summary.channels(who, after).next().is_some(),
                Fact::Event(_) | Fact::Hole { .. } => false,
            },
        }
    }

    /// Whether it can be for passive sessions: then it goes into the slow ring too.
    pub(crate) fn is_slow(&self) -> bool {
        match &self.scope {
            Scope::Message { call, .. } => call.is_some(),
            Scope::Around { before, after } => before.is_some() || after.is_some() || !self.moves.is_empty(),
            // Of one member hear only its own sessions, and these are the moves.
            Scope::Member(_) => !self.moves.is_empty(),
            Scope::Seeing(_) | Scope::Members | Scope::Everyone | Scope::Unread => true,
        }
    }

    /// The position of the relay just after the entry.
    pub(crate) fn position(&self) -> Position {
        match &self.fact {
            Fact::Event(event) => event.position,
            Fact::Hole { through: at } | Fact::Unread { at, .. } => *at,
        }
    }

    /// The cohort to which a session changes with this entry, if it does.
    #[inline]
    pub(crate) fn moved(&self, session: SessionKey) -> Option<&Arc<Cohort>> {
        if self.moves.is_empty() {
            return None;
        }
        let at = self.moves.binary_search_by_key(&session, |moved| moved.session).ok()?;
        Some(&self.moves[at].to)
    }
}

impl Weigh for Entry {
    /// Counts the event, and the cohorts moved to, as if this ring alone held them. An audience counts in the first entry that
    /// holds it: one that outlasts that entry in the ring is uncounted from then on, which at most one for each list of overwrites
    /// does at a time.
    fn weight_bytes(&self) -> usize {
        let fact = match &self.fact {
            Fact::Event(event) => event.weight_bytes(),
            Fact::Hole { .. } => 0,
            Fact::Unread { summary, .. } => summary.weight_bytes(),
        };
        let call = match &self.scope {
            Scope::Message { call: Some(call), .. } => {
                size_of::<Call>()
                    + size_of_val(&call.users[..])
                    + size_of_val(&call.roles[..])
                    + size_of_val(&call.sessions[..])
            }
            Scope::Message { call: None, .. }
            | Scope::Everyone
            | Scope::Seeing(_)
            | Scope::Around { .. }
            | Scope::Member(_)
            | Scope::Members
            | Scope::Unread => 0,
        };
        let cohorts = self.moves.chunk_by(|one, next| Arc::ptr_eq(&one.to, &next.to));
        let cohorts: usize = cohorts.map(|moves| moves[0].to.bytes()).sum();
        fact + call + size_of::<Self>() + size_of_val(&self.moves[..]) + cohorts + self.made_bytes
    }
}
