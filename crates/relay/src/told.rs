//! What is told beside the events: typing and presence, the latest of each subject, with whom it is for.
//!
//! It lies in a keep-latest map beside the rings, put there once the relay has reached the position at which it was accepted. Its
//! *place* is the whole ring's head then: whoever has read all up to there, and no further, has the rights by which it is decided who
//! hears it. A stream looks at the map when it has read all there is; one whose rights have changed since a place does not judge what
//! was told there. The batch passes each at its place.
//!
//! Invariants:
//! - places rise with versions, and something is put before the ring's head passes its place: who loads that head first, and reads
//!   the map then, misses nothing told before that head;
//! - an audience covers every cohort there was when it was put;
//! - nothing is in the map of a member that has left, nor from before a hole.

use std::ops::ControlFlow;
use std::sync::Arc;

use guildhall_proto::{Ephemeral, Level, Subject, UserId};
use guildhall_ring::{Cursor, LatestReader, Version, Weigh};

use crate::audience::Audience;
use crate::cohort::Cohort;
use crate::hearing::Listener;
use crate::session::SessionKey;

/// Leave to read what is told.
pub(crate) type ToldReader = LatestReader<Subject, Arc<Told>>;

#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) ephemeral: Ephemeral,
    pub(crate) place: Cursor,
    pub(crate) hearers: Hearers,
    /// What the audience takes, if it was made for this.
    pub(crate) made_bytes: usize,
}

/// Who of the active sessions hears it.
#[derive(Debug)]
pub(crate) enum Hearers {
    /// Who sees a channel, but for the typist.
    Channel {
        audience: Arc<Audience>,
        typist: UserId,
        /// The typist's sessions that there were here when it was told.
        own: Box<[SessionKey]>,
    },
    /// Who wants members.
    Members,
}

impl Told {
    /// Whether it is for a session that has been in `cohort` since the place `since`.
    fn is_for(&self, who: &Listener, cohort: &Cohort, since: Cursor) -> bool {
        who.hearing.level == Level::Active
            && match &self.hearers {
                Hearers::Channel { audience, typist, .. } => {
                    *typist != who.user && self.place >= since && audience.sees(cohort)
                }
                Hearers::Members => cohort.standing.members,
            }
    }

    /// The sessions set apart from the rest of their cohort.
    pub(crate) fn own(&self) -> &[SessionKey] {
        match &self.hearers {
            Hearers::Channel { own, .. } => own,
            Hearers::Members => &[],
        }
    }
}

impl Weigh for Told {
    /// As with the entries of the rings, an audience counts in what it was made for.
    fn weight_bytes(&self) -> usize {
        size_of::<Self>() + size_of_val(self.own()) + self.made_bytes
    }
}

/// A stream's place in what is told.
#[derive(Debug)]
pub(crate) struct Ear {
    /// Nothing told up to here is for it any more.
    pub(crate) heard: Version,
    /// Whether there may be more for it: so unless it waits, and has not been called since it had heard all.
    pub(crate) is_called: bool,
}

impl Ear {
    /// Attends to what is told after `call`, if it had heard all before that.
    pub(crate) fn take_call(&mut self, call: Option<Version>) {
        if let Some(version) = call.filter(|_| !self.is_called) {
            // It may have come to what it is called for by itself, just before the call.
            self.heard = self.heard.max(version);
            self.is_called = true;
        }
    }
}

/// The next after `from` that is for a session that stands at `head`, in `cohort` since the place `since`. What is before it is
/// passed, it itself is not.
pub(crate) fn next(
    told: &ToldReader,
    from: &mut Version,
    head: Cursor,
    (who, cohort, since): (&Listener, &Cohort, Cursor),
) -> Option<(Version, Ephemeral)> {
    let mut found = None;
    told.read(from, |version, told| {
        if told.place > head {
            return ControlFlow::Break(());
        }
        if !told.is_for(who, cohort, since) {
            return ControlFlow::Continue(());
        }
        found = Some((version, told.ephemeral));
        ControlFlow::Break(())
    });
    found
}
