//! What lies in a relay's ring: a fact, whom it is for, and who changes cohort with it.
//!
//! Invariants:
//! - the audiences of an entry cover every cohort there was when it was appended;
//! - `moves` are ascending by slot, one a session; an entry about one member lists all sessions of that member here, also those
//!   that stay in their cohort;
//! - an audience is weighed in the entry that it was made for, and in no other.

use std::sync::Arc;

use guildhall_proto::{Event, Position, SessionId, UserId};
use guildhall_ring::Weigh;

use crate::audience::Audience;
use crate::cohort::Cohort;
use crate::session::SessionKey;

#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) fact: Fact,
    pub(crate) scope: Scope,
    pub(crate) moves: Box<[Move]>,
    /// What the audiences take that were made for this entry.
    pub(crate) made_bytes: usize,
}

#[derive(Debug)]
pub(crate) enum Fact {
    Event(Arc<Event>),
    /// The feed had a hole: whatever happened up to here is unknown.
    Hole {
        through: Position,
    },
}

/// Whom an entry is for.
#[derive(Debug)]
pub(crate) enum Scope {
    Everyone,
    /// Who sees a channel, or one of several, which the event leaves as they are.
    Seeing(Arc<Audience>),
    /// The same for a message: without the session that published it, unless that asked for an echo.
    Message {
        audience: Arc<Audience>,
        except: Option<SessionId>,
    },
    /// Who sees a channel just before or just after the event; `None` where there is no such channel then.
    Around {
        before: Option<Arc<Audience>>,
        after: Option<Arc<Audience>>,
    },
    /// One member's own sessions, and those that want members.
    Member(UserId),
    /// Those that want members.
    Members,
}

/// One session's change of cohort.
#[derive(Debug)]
pub(crate) struct Move {
    pub(crate) session: SessionKey,
    pub(crate) to: Arc<Cohort>,
}

impl Entry {
    /// Whether the entry is for a session that is in the cohort `before` just before it, and in `after` just after.
    #[inline]
    pub(crate) fn is_for(&self, user: UserId, session: SessionId, before: &Cohort, after: &Cohort) -> bool {
        match &self.scope {
            Scope::Message { audience, except } => audience.sees(after) && *except != Some(session),
            Scope::Seeing(audience) => audience.sees(after),
            Scope::Around { before: was, after: is } => {
                was.as_ref().is_some_and(|audience| audience.sees(before))
                    || is.as_ref().is_some_and(|audience| audience.sees(after))
            }
            Scope::Member(member) => *member == user || after.standing.members,
            Scope::Members => after.standing.members,
            Scope::Everyone => true,
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
        let event = match &self.fact {
            Fact::Event(event) => event.weight_bytes(),
            Fact::Hole { .. } => 0,
        };
        let cohorts = self.moves.chunk_by(|one, next| Arc::ptr_eq(&one.to, &next.to));
        let cohorts: usize = cohorts.map(|moves| moves[0].to.bytes()).sum();
        event + size_of::<Self>() + size_of_val(&self.moves[..]) + cohorts + self.made_bytes
    }
}
