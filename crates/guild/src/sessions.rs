//! The sessions attached to a guild, and what they make of their users' presence.
//!
//! Invariants: every session's user is a member; a user and a guild have no more sessions than
//! [`limits`](guildhall_proto::limits) say; both maps name the same sessions.

use std::collections::{BTreeMap, BTreeSet};

use guildhall_proto::{CommandError, Limited, SessionId, Status, UserId};

use crate::decide::within;

#[derive(Debug, Default)]
pub(crate) struct Sessions {
    sessions: BTreeMap<SessionId, (UserId, Status)>,
    by_user: BTreeSet<(UserId, SessionId)>,
}

impl Sessions {
    /// Adds a session, or changes the status of one that is there.
    pub(crate) fn attach(&mut self, session: SessionId, user: UserId, status: Status) -> Result<(), CommandError> {
        match self.sessions.get(&session) {
            Some((owner, _)) if *owner != user => return Err(CommandError::ForeignSession { session }),
            Some(_) => {}
            None => {
                within(Limited::GuildSessions, self.sessions.len() + 1)?;
                within(Limited::UserSessions, self.of(user).count() + 1)?;
            }
        }
        self.sessions.insert(session, (user, status));
        self.by_user.insert((user, session));
        Ok(())
    }

    /// Changes the status of a session of `user`.
    pub(crate) fn set_status(&mut self, session: SessionId, user: UserId, status: Status) -> Result<(), CommandError> {
        self.require(session, user)?;
        self.sessions.insert(session, (user, status));
        Ok(())
    }

    /// Takes a session of `user` away.
    pub(crate) fn detach(&mut self, session: SessionId, user: UserId) -> Result<(), CommandError> {
        self.require(session, user)?;
        self.sessions.remove(&session);
        self.by_user.remove(&(user, session));
        Ok(())
    }

    /// Requires that a session is attached, and is `user`'s.
    pub(crate) fn require(&self, session: SessionId, user: UserId) -> Result<(), CommandError> {
        match self.user(session) {
            Some(owner) if owner == user => Ok(()),
            Some(_) => Err(CommandError::ForeignSession { session }),
            None => Err(CommandError::UnknownSession { session }),
        }
    }

    /// Takes all sessions of a user away.
    pub(crate) fn detach_user(&mut self, user: UserId) {
        let sessions: Vec<SessionId> = self.of(user).collect();
        for session in sessions {
            self.sessions.remove(&session);
            self.by_user.remove(&(user, session));
        }
    }

    /// Whether a user has a session attached, whatever its status.
    pub(crate) fn has(&self, user: UserId) -> bool {
        self.of(user).next().is_some()
    }

    /// Whose session it is, if it is attached.
    pub(crate) fn user(&self, session: SessionId) -> Option<UserId> {
        self.sessions.get(&session).map(|(user, _)| *user)
    }

    /// What a user's sessions say together: of several, the most present; without any, offline.
    pub(crate) fn status(&self, user: UserId) -> Status {
        self.of(user).map(|session| self.sessions[&session].1).max().unwrap_or_default()
    }

    pub(crate) fn len(&self) -> usize {
        self.sessions.len()
    }

    fn of(&self, user: UserId) -> impl Iterator<Item = SessionId> + '_ {
        self.by_user.range((user, SessionId::MIN)..).take_while(move |(of, _)| *of == user).map(|(_, session)| *session)
    }
}
