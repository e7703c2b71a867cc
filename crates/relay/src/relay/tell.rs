//! What is told beside the events: held back until its position is reached, then put into the keep-latest map.

use std::sync::Arc;

use guildhall_proto::{Ephemeral, EphemeralKind, Subject, UserId};
use guildhall_ring::Version;

use super::Relay;
use crate::bits::numbers;
use crate::hearing::List;
use crate::session::{SessionKey, TellError};
use crate::slots::Way;
use crate::told::{Hearers, Told};

impl Relay {
    /// Tells what holds now to those who may hear it by the rights at the relay's position, and appends to `woken` the waiting
    /// sessions among them that were not woken for such before. Returns how many other subjects had to leave the map for it.
    ///
    /// It comes in the place of what was told of its subject before, in the order of these calls. O(log subjects + cohorts / 64 +
    /// waiting sessions that hear it); nothing for others.
    ///
    /// # Errors
    /// See [`TellError`]; the relay is unchanged.
    pub fn tell(&mut self, ephemeral: Ephemeral, woken: &mut Vec<SessionKey>) -> Result<usize, TellError> {
        let (got, at) = (ephemeral.at, self.position);
        #[cfg(feature = "defects")]
        let at = if guildhall_proto::Defect::ToldAhead.is_on() { at.max(got) } else { at };
        if got > at {
            return Err(TellError::Ahead { got, at });
        }
        if got.epoch < at.epoch {
            return Err(TellError::Stale { got, at });
        }
        let Some(hearers) = self.hearers(&ephemeral) else {
            // What was told of it before is not the latest any more: who comes to listen again is not to hear that.
            let subject = ephemeral.subject();
            self.told.remove(&subject, |kept| *kept == subject);
            return Ok(0);
        };
        let heard = self.told.head();
        let made_bytes = self.audiences.take_made_bytes();
        let told = Arc::new(Told { ephemeral, place: self.ring.head(), hearers, made_bytes });
        let pushed_out = self.told.put(ephemeral.subject(), Arc::clone(&told));
        // Afterwards: who is called finds it there.
        self.call_waiting(&told.hearers, heard, woken);
        Ok(pushed_out)
    }

    /// Takes away what was told of a user that is no member any more.
    pub(super) fn forget(&mut self, user: UserId) {
        self.told.remove(&Subject::of_user(user), |subject| subject.user == user);
    }

    /// Takes away all that was told.
    pub(super) fn forget_all(&mut self) {
        self.told.remove(&Subject::of_user(UserId::MIN), |_| true);
    }

    /// Who hears it; `None` if nobody here can.
    fn hearers(&mut self, ephemeral: &Ephemeral) -> Option<Hearers> {
        let Self { audiences, rights, cohorts, slots, .. } = self;
        match ephemeral.kind {
            _ if slots.len() == slots.passive() => None,
            EphemeralKind::Typing { channel, user: typist, .. } => {
                let audience = audiences.of(channel, rights, cohorts)?;
                let own = slots.of_user(typist).map(|idx| slots.key(idx)).collect();
                Some(Hearers::Channel { audience, typist, own })
            }
            EphemeralKind::Presence { .. } => {
                let wanting = cohorts.wanting_members();
                (0..wanting.words()).any(|idx| wanting.word(idx) != 0).then_some(Hearers::Members)
            }
        }
    }

    /// Tells the waiting sessions that hear it that there is something after `heard`.
    fn call_waiting(&self, hearers: &Hearers, heard: Version, woken: &mut Vec<SessionKey>) {
        let Self { cohorts, slots, .. } = self;
        let (hearing, typist) = match hearers {
            Hearers::Channel { audience, typist, .. } => (audience.seen_by(), Some(*typist)),
            Hearers::Members => (cohorts.wanting_members(), None),
        };
        let waiting = cohorts.waiting_in(List::Active);
        for idx in 0..waiting.words() {
            for id in numbers(idx, hearing.word(idx) & waiting.word(idx)) {
                for slot_idx in cohorts.waiting_of(id, List::Active) {
                    let slot = slots.at(*slot_idx);
                    if typist == Some(slot.user) {
                        continue;
                    }
                    match &slot.way {
                        Way::Stream(door) if door.call(heard) => woken.push(slots.key(*slot_idx)),
                        Way::Stream(_) | Way::Batch(_) | Way::Vacant => {}
                    }
                }
            }
        }
    }
}
