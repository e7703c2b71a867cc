//! The sessions attached to a guild, and what they make of their users' presence.
//!
//! Invariants: every session's user is a member; a user and a guild have no more sessions than
//! [`limits`](guildhall_proto::limits) say; a generation is given out once, and later ones are higher.

use std::time::Duration;

use guildhall_index::{Row, Table};
use guildhall_proto::{CommandError, Generation, Limited, Millis, SessionId, Sponsor, Status, UserId};

use crate::decide::within;

#[derive(Debug, Default)]
pub(crate) struct Sessions {
    rows: Table<Session, 2>,
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
    /// Who has told of it last.
    sponsor: Sponsor,
}

/// On whose word, and when, an owner is told of a session.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Word {
    pub(crate) now: Millis,
    pub(crate) sponsor: Sponsor,
}

impl Sessions {
    /// Adds a session, or takes over one that is there, for a new holder.
    pub(crate) fn attach(
        &mut self,
        word: Word,
        session: SessionId,
        user: UserId,
        status: Status,
    ) -> Result<Generation, CommandError> {
        self.require_room(session, user)?;
        let generation = self.next_generation(word.now);
        self.put(Session { session, user, status, generation, is_hearsay: false, sponsor: word.sponsor });
        Ok(generation)
    }

    /// Takes over a session of `user` that is there, if it was held as `before` until now, and that by this owner.
    pub(crate) fn resume(
        &mut self,
        word: Word,
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
        let generation = self.next_generation(word.now);
        self.put(Session { session, user, status, generation, is_hearsay: false, sponsor: word.sponsor });
        Ok(generation)
    }

    /// Adds a session that an earlier owner knew, or changes the status of one that is there.
    pub(crate) fn reattach(
        &mut self,
        word: Word,
        session: SessionId,
        user: UserId,
        status: Status,
        generation: Generation,
    ) -> Result<(), CommandError> {
        self.require_room(session, user)?;
        self.require_held(session, generation)?;
        if generation.0 > word.now.plus(CLOCKS_APART_MAX).0 << GENERATIONS_PER_MILLI_BITS {
            // No owner has given it, and those to come must be above it.
            return Err(CommandError::UnknownSession { session });
        }
        self.last = self.last.max(generation);
        let own = self.find(session).filter(|own| own.generation == generation);
        let is_hearsay = own.is_none_or(|own| own.is_hearsay);
        self.put(Session { session, user, status, generation, is_hearsay, sponsor: word.sponsor });
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
        self.remove(session);
        Ok(())
    }

    /// Takes a session of `user` away of which this sponsor has told last: who does not know as which the owner knows it is not to end it where it
    /// is held by another meanwhile.
    pub(crate) fn detach(&mut self, sponsor: Sponsor, session: SessionId, user: UserId) -> Result<(), CommandError> {
        if self.require(session, user)?.sponsor != sponsor {
            return Err(CommandError::SessionSuperseded { session });
        }
        self.remove(session);
        Ok(())
    }

    /// Takes a session away, if it is there.
    pub(crate) fn remove(&mut self, session: SessionId) {
        self.rows.remove(BY_SESSION, session.get());
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
        for session in sessions {
            self.rows.remove(BY_SESSION, session.get());
        }
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

    /// Which session it is, of which user, and on whose word, that lies at a number. They lie from 0 on, without a hole; where one is taken away, the
    /// last one gets its number.
    pub(crate) fn at(&self, number: usize) -> Option<(SessionId, UserId, Sponsor)> {
        self.rows.at(number).map(|row| (row.session, row.user, row.sponsor))
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
        match self.rows.find_mut(BY_SESSION, row.session.get()) {
            Some(held) => {
                debug_assert!(held.user == row.user);
                *held = row;
            }
            None => self.rows.insert(row),
        }
    }

    fn find(&self, session: SessionId) -> Option<&Session> {
        self.rows.find(BY_SESSION, session.get())
    }

    fn of(&self, user: UserId) -> impl Iterator<Item = &Session> {
        self.rows.all(BY_USER, user.get())
    }
}

impl Row<2> for Session {
    fn id(&self, which: usize) -> u64 {
        if which == BY_SESSION { self.session.get() } else { self.user.get() }
    }
}

/// The ids of a row.
const BY_SESSION: usize = 0;
const BY_USER: usize = 1;
/// Times sessions are attached in a millisecond, before generations run ahead of the clock: a million, ten times what an owner does.
const GENERATIONS_PER_MILLI_BITS: u32 = 20;
/// By how much an earlier owner's clock may have been ahead: by more, loads of its guilds are counted as a fault.
const CLOCKS_APART_MAX: Duration = Duration::from_secs(3_600);

const _: () = assert!(size_of::<Session>() <= 32);
