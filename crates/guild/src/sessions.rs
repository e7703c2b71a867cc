//! The sessions attached to a guild, and what they make of their users' presence.
//!
//! Invariants: every session's user is a member; a user and a guild have no more sessions than
//! [`limits`](guildhall_proto::limits) say; both indexes lead to every row; a generation is given out once, and later ones are higher.

use guildhall_index::Index;
use guildhall_proto::{CommandError, Generation, Limited, Millis, SessionId, Status, UserId};

use crate::decide::within;

#[derive(Debug, Default)]
pub(crate) struct Sessions {
    /// In no order: of a row that goes the last one takes the place.
    rows: Vec<Session>,
    by_session: Index,
    by_user: Index,
    last: Generation,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Session {
    session: SessionId,
    user: UserId,
    status: Status,
    generation: Generation,
    /// Whether the generation is an earlier owner's: that one may have given out a later one.
    is_hearsay: bool,
}

impl Sessions {
    /// Adds a session, or takes over one that is there, for a new holder.
    pub(crate) fn attach(
        &mut self,
        now: Millis,
        session: SessionId,
        user: UserId,
        status: Status,
    ) -> Result<Generation, CommandError> {
        self.require_room(session, user)?;
        let generation = self.next_generation(now);
        self.put(Session { session, user, status, generation, is_hearsay: false });
        Ok(generation)
    }

    /// Takes over a session of `user` that is there, if it was held as `before` until now, and that by this owner.
    pub(crate) fn resume(
        &mut self,
        now: Millis,
        session: SessionId,
        user: UserId,
        status: Status,
        before: Generation,
    ) -> Result<Generation, CommandError> {
        let held = *self.require(session, user)?;
        #[cfg(feature = "defects")]
        let before = if guildhall_proto::Defect::AnyGeneration.is_on() { held.generation } else { before };
        #[cfg(feature = "defects")]
        let held = Session { is_hearsay: held.is_hearsay && !guildhall_proto::Defect::HearsayTaken.is_on(), ..held };
        if held.generation != before {
            return Err(CommandError::SessionSuperseded { session });
        }
        if held.is_hearsay {
            return Err(CommandError::UnknownSession { session });
        }
        let generation = self.next_generation(now);
        self.put(Session { session, user, status, generation, is_hearsay: false });
        Ok(generation)
    }

    /// Adds a session that an earlier owner knew, or changes the status of one that is there.
    pub(crate) fn reattach(
        &mut self,
        session: SessionId,
        user: UserId,
        status: Status,
        generation: Generation,
    ) -> Result<(), CommandError> {
        self.require_room(session, user)?;
        self.require_held(session, generation)?;
        self.last = self.last.max(generation);
        let own = self.find(session).filter(|own| own.generation == generation);
        let is_hearsay = own.is_none_or(|own| own.is_hearsay);
        self.put(Session { session, user, status, generation, is_hearsay });
        Ok(())
    }

    /// Changes the status of a session of `user`, if nobody has taken it over from its holder.
    pub(crate) fn set_status(
        &mut self,
        session: SessionId,
        user: UserId,
        status: Status,
        generation: Generation,
    ) -> Result<(), CommandError> {
        let held = *self.require_holder(session, user, generation)?;
        self.put(Session { status, ..held });
        Ok(())
    }

    /// Takes a session of `user` away, if nobody has taken it over from its holder.
    pub(crate) fn release(
        &mut self,
        session: SessionId,
        user: UserId,
        generation: Generation,
    ) -> Result<(), CommandError> {
        self.require_holder(session, user, generation)?;
        self.detach(session, user)
    }

    /// Takes a session of `user` away.
    pub(crate) fn detach(&mut self, session: SessionId, user: UserId) -> Result<(), CommandError> {
        self.require(session, user)?;
        self.remove(session);
        Ok(())
    }

    /// Requires that a session is attached, is `user`'s, and that nobody has taken it over from the holder of this generation.
    pub(crate) fn require_holder(
        &self,
        session: SessionId,
        user: UserId,
        generation: Generation,
    ) -> Result<&Session, CommandError> {
        let held = self.require(session, user)?;
        self.require_held(session, generation)?;
        Ok(held)
    }

    /// Requires that a session is attached, and is `user`'s.
    pub(crate) fn require(&self, session: SessionId, user: UserId) -> Result<&Session, CommandError> {
        match self.find(session) {
            Some(held) if held.user == user => Ok(held),
            Some(_) => Err(CommandError::ForeignSession { session }),
            None => Err(CommandError::UnknownSession { session }),
        }
    }

    /// Takes all sessions of a user away.
    pub(crate) fn detach_user(&mut self, user: UserId) {
        let sessions: Vec<SessionId> = self.of(user).map(|own| own.session).collect();
        sessions.into_iter().for_each(|session| self.remove(session));
    }

    /// Whether a user has a session attached, whatever its status.
    pub(crate) fn has(&self, user: UserId) -> bool {
        self.of(user).next().is_some()
    }

    /// Whose session it is, if it is attached.
    pub(crate) fn user(&self, session: SessionId) -> Option<UserId> {
        self.find(session).map(|session| session.user)
    }

    /// What a user's sessions say together: of several, the most present; without any, offline.
    pub(crate) fn status(&self, user: UserId) -> Status {
        self.of(user).map(|own| own.status).max().unwrap_or_default()
    }

    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    fn require_room(&self, session: SessionId, user: UserId) -> Result<(), CommandError> {
        match self.user(session) {
            Some(owner) if owner != user => Err(CommandError::ForeignSession { session }),
            Some(_) => Ok(()),
            None => {
                within(Limited::GuildSessions, self.rows.len() + 1)?;
                within(Limited::UserSessions, self.of(user).count() + 1)
            }
        }
    }

    /// Requires that nobody has taken a session over from the holder of this generation. A lower one is known where an earlier holder
    /// has told a new owner first.
    fn require_held(&self, session: SessionId, generation: Generation) -> Result<(), CommandError> {
        #[cfg(feature = "defects")]
        if guildhall_proto::Defect::SupersededActs.is_on() {
            return Ok(());
        }
        let is_held = self.find(session).is_none_or(|session| session.generation <= generation);
        if is_held { Ok(()) } else { Err(CommandError::SessionSuperseded { session }) }
    }

    /// Above all before it, also those of earlier owners, whose clocks were not ahead of this by as much as they were earlier.
    fn next_generation(&mut self, now: Millis) -> Generation {
        #[cfg(feature = "defects")]
        let now = if guildhall_proto::Defect::GenerationsAnew.is_on() { Millis(0) } else { now };
        self.last = Generation(self.last.0.max(now.0 << GENERATIONS_PER_MILLI_BITS) + 1);
        self.last
    }

    /// Adds a session, or replaces what is known of it; its user stays.
    fn put(&mut self, row: Session) {
        if let Some(at) = self.row_of(row.session) {
            debug_assert!(self.rows[at as usize].user == row.user);
            self.rows[at as usize] = row;
            return;
        }
        self.rows.push(row);
        self.list(last_of(&self.rows));
    }

    /// Takes a session away, if it is there.
    fn remove(&mut self, session: SessionId) {
        let Some(at) = self.row_of(session) else {
            return;
        };
        let last = last_of(&self.rows);
        for row in [at].into_iter().chain(Some(last).filter(|last| *last != at)) {
            self.by_session.remove(row, |row| self.rows[row as usize].session.get());
            self.by_user.remove(row, |row| self.rows[row as usize].user.get());
        }
        self.rows.swap_remove(at as usize);
        if last != at {
            self.list(at);
        }
        if self.rows.capacity() > ROOM_A_SESSION * self.rows.len().max(SESSIONS_MIN) {
            self.rows.shrink_to_fit();
        }
    }

    /// Has a row be found.
    fn list(&mut self, row: u32) {
        self.by_session.insert(row, |row| self.rows[row as usize].session.get());
        self.by_user.insert(row, |row| self.rows[row as usize].user.get());
    }

    fn row_of(&self, session: SessionId) -> Option<u32> {
        self.by_session.find(session.get(), |row| self.rows[row as usize].session.get()).next()
    }

    fn find(&self, session: SessionId) -> Option<&Session> {
        self.row_of(session).map(|row| &self.rows[row as usize])
    }

    fn of(&self, user: UserId) -> impl Iterator<Item = &Session> {
        let rows = self.by_user.find(user.get(), |row| self.rows[row as usize].user.get());
        rows.map(|row| &self.rows[row as usize])
    }
}

/// The number of the last row, of which there is one.
fn last_of(rows: &[Session]) -> u32 {
    u32::try_from(rows.len() - 1).expect("a guild's sessions are limited to what 32 bits number")
}

/// Rows that there is room for with each in use, when many have gone, and how many are always in use for that.
const ROOM_A_SESSION: usize = 4;
const SESSIONS_MIN: usize = 16;
/// Times sessions are attached in a millisecond, before generations run ahead of the clock: a million, ten times what an owner does.
const GENERATIONS_PER_MILLI_BITS: u32 = 20;
