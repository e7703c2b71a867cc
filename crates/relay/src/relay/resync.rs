//! Starting again from a view, when the feed has a hole.

use guildhall_permissions::Rights;
use guildhall_proto::{Member, Position, UserId};

use super::{Relay, Run};
use crate::entry::{Entry, Fact, Move, Scope};
use crate::hearing::Mark;
use crate::session::{DetachReason, SessionKey, StaleResync};
use crate::slots::NONE;
use crate::stream::End;

impl Relay {
    /// Goes on from a view at `at`, with its rights and the records of the members that sessions belong to; `member` is asked once
    /// for each user that has sessions, and answers `None` for one who is no member (any more). `outlived` are sessions of a membership that
    /// has ended within the hole, of users who are members again: the relay cannot know these apart from the sessions that came since.
    ///
    /// Every session is told a [`Gap`](crate::Gap) up to `at`, after what it has not heard of the events before the hole; sessions
    /// of users who are gone, and those outlived, end then, with [`DetachReason::MemberLeft`]. O(sessions).
    ///
    /// # Errors
    /// [`StaleResync`] if the relay has applied newer events.
    pub fn resync(
        &mut self,
        at: Position,
        rights: Rights,
        mut member: impl FnMut(UserId) -> Option<Member>,
        outlived: &[SessionKey],
        woken: &mut Vec<SessionKey>,
    ) -> Result<(), StaleResync> {
        self.enter_hole(at)?;
        self.rights = rights;
        self.audiences.clear();

        let place = self.ring.head();
        let (mut moves, mut gone) = (Vec::new(), Vec::new());
        for user in self.slots.users() {
            match member(user) {
                Some(member) => {
                    self.move_user(user, Some(&member.roles), &mut moves);
                    #[cfg(feature = "defects")]
                    let outlived = if guildhall_proto::Defect::OutlivedForgotten.is_on() { &[] } else { outlived };
                    let own = self.slots.of_user(user).filter(|idx| outlived.contains(&self.slots.key(*idx)));
                    gone.extend(own.map(|idx| (idx, DetachReason::MemberLeft)));
                }
                None => gone.extend(self.slots.of_user(user).map(|idx| (idx, DetachReason::MemberLeft))),
            }
        }
        moves.retain(|moved| {
            let from = self.slots.at(moved.session.idx).cohort;
            if moved.to.id == from {
                // Most stay where they are: they are counted out again, and the entry is kept small.
                self.cohorts.leave(from, place);
            }
            moved.to.id != from
        });
        moves.sort_unstable_by_key(|moved| moved.session);

        self.append_hole(at, moves, gone, woken);
        Ok(())
    }

    /// Ends with the guild, of whose deletion the feed has told without its event: there is no view of it to start again from.
    /// `at` is where the guild ended.
    ///
    /// Every session is told a [`Gap`](crate::Gap) up to `at`, after what it has not heard of the events before the hole, then
    /// [`DetachReason::GuildDeleted`]. O(sessions).
    ///
    /// # Errors
    /// [`StaleResync`] if the relay has applied newer events.
    pub fn end_guild(&mut self, at: Position, woken: &mut Vec<SessionKey>) -> Result<(), StaleResync> {
        self.enter_hole(at)?;
        let all = self.slots.iter().map(|(idx, _)| (idx, DetachReason::GuildDeleted)).collect();
        self.append_hole(at, Vec::new(), all, woken);
        Ok(())
    }

    /// Lets the sessions join that were accepted within the hole: they have lost what came after that, like all others.
    fn enter_hole(&mut self, at: Position) -> Result<(), StaleResync> {
        if at < self.position {
            return Err(StaleResync { got: at, at: self.position });
        }
        self.settle_attaches_before(at);
        Ok(())
    }

    /// Closes the hole: appends it to the ring, wakes everybody for it, and ends those of the sessions that end there.
    fn append_hole(
        &mut self,
        at: Position,
        moves: Vec<Move>,
        ending: Vec<(u32, DetachReason)>,
        woken: &mut Vec<SessionKey>,
    ) {
        let place = self.head();
        let behind = Mark { whole: place.whole.next(), slow: place.slow.next() };
        let entry =
            Entry { fact: Fact::Hole { through: at }, scope: Scope::Everyone, moves: moves.into(), made_bytes: 0 };
        #[cfg(feature = "defects")]
        let entry = if guildhall_proto::Defect::HoleUntold.is_on() {
            Entry { scope: Scope::Around { before: None, after: None }, ..entry }
        } else {
            entry
        };
        self.wake_for(&entry, woken);
        // What was news before is in the view that everybody begins again from.
        self.news.clear();
        self.forget_all();
        for (idx, reason) in ending {
            // A session accepted behind the hole has lost nothing in it.
            let is_ahead = self.slots.at(idx).cohort == NONE;
            let from = if is_ahead { behind } else { place };
            self.end(idx, End { at: behind, position: at, reason, is_in_hole: true }, from, woken);
        }
        self.append(entry);
        self.position = at;
        self.opened_at = at.seq;
        self.run = Run { at: self.ring.head(), slow: self.slow.head(), position: at };
        self.settle(woken);
    }
}
