//! One entry's way into the ring: whom it is for, who changes cohort with it, who is woken, who ends.

use std::sync::Arc;

use guildhall_permissions::Rights;
use guildhall_proto::{Event, EventKind, Level, Overwrite, OverwriteTarget, RoleId, UserId};

use super::Relay;
use crate::audience::Audience;
use crate::batch::Op;
use crate::bits::numbers;
use crate::cohort::{CohortId, Cohorts, Standing, shows};
use crate::entry::{Call, Entry, Fact, Move, Scope};
use crate::hearing::{List, Listener, Mark};
use crate::news::Moved;
use crate::scan;
use crate::session::{DetachReason, SessionKey};
use crate::slots::{NONE, Slots, Way};
use crate::stream::{End, Ending};

impl Relay {
    /// Brings rights, cohorts and sessions from just before the event to just after it, and appends it to the ring.
    pub(super) fn fan_out(&mut self, event: Arc<Event>, woken: &mut Vec<SessionKey>) {
        let before = self.audience_before(&event.kind);
        let owner_before = self.rights.owner();
        self.audiences.note(&event.kind);
        self.rights.apply(&event.kind);
        let moves = self.moves(&event.kind, owner_before);
        let scope = self.scope(&event.kind, before);

        if let EventKind::MemberLeft { member } = &event.kind {
            self.forget(member.user);
        } else if let EventKind::MembersLeft { users } = &event.kind {
            users.iter().for_each(|user| self.forget(*user));
        }

        let position = event.position;
        let ending = self.ended_by(&event.kind);
        let entry =
            Entry { fact: Fact::Event(told(event)), scope, moves, made_bytes: self.audiences.take_made_bytes() };
        self.wake_for(&entry, woken);
        let at = self.head();
        let slow = if entry.is_slow() { at.slow.next() } else { at.slow };
        for (idx, reason) in ending {
            // One that does not hear the event ends just before it: losing that is no loss to it.
            let end = if self.hears(idx, &entry.scope) { Mark { whole: at.whole.next(), slow } } else { at };
            self.end(idx, End { at: end, position, reason, is_in_hole: false }, at, woken);
        }
        self.append(entry);
    }

    /// Takes those who change cohort to their new one, and wakes the waiting sessions that the entry, to be appended now, is for.
    pub(super) fn wake_for(&mut self, entry: &Entry, woken: &mut Vec<SessionKey>) {
        let at = self.head();
        // Those who move are taken out first: each is asked alone, by both its cohorts. They come back once the rest are woken.
        let mut staying = Vec::new();
        for Move { session, to } in &*entry.moves {
            let who = self.slots.listener(session.idx);
            let Relay { slots, cohorts, news, told, .. } = self;
            let slot = slots.at_mut(session.idx);
            let from = Arc::clone(cohorts.find(slot.cohort).expect("a session's cohort has sessions"));
            let was_waiting = unwait(slots, cohorts, session.idx);
            let slot = slots.at_mut(session.idx);
            slot.cohort = to.id;
            cohorts.leave(from.id, at.whole.next());
            if from.id != to.id {
                news.note_moved(Moved { session: *session, seq: entry.position().seq, from: Arc::clone(&from) });
            }
            let Way::Stream(door) = &slot.way else {
                continue;
            };
            #[cfg(feature = "defects")]
            if guildhall_proto::Defect::CohortOfNow.is_on() && matches!(door.at(), crate::stream::At::Woken(_)) {
                door.change_cohort(scan::Moved { cohort: Arc::clone(to), since: at.whole.next() });
            }
            if was_waiting && entry.is_for(&who, &from, to) {
                // Its cohort stays the old one until it reads the entry.
                door.wake(at, told.head());
                woken.push(*session);
            } else if was_waiting {
                if from.id != to.id {
                    door.change_cohort(scan::Moved { cohort: Arc::clone(to), since: at.whole.next() });
                }
                staying.push(session.idx);
            }
        }
        match &entry.scope {
            Scope::Message { audience, except, call } => {
                let seen_by = audience.seen_by();
                self.wake_cohorts(
                    &[List::Active],
                    at,
                    |idx, _| seen_by.word(idx),
                    |who| *except != Some(who.session),
                    woken,
                );
                if let Some(call) = call {
                    self.wake_called(entry, audience, call, woken);
                }
            }
            Scope::Seeing(audience) => {
                self.wake_cohorts(&List::ALL, at, |idx, _| audience.seen_by().word(idx), |_| true, woken);
            }
            Scope::Around { before, after } => {
                let sides = [before.as_deref(), after.as_deref()];
                let word = |idx| sides.iter().flatten().fold(0, |word, audience| word | audience.seen_by().word(idx));
                self.wake_cohorts(&List::ALL, at, |idx, _| word(idx), |_| true, woken);
            }
            Scope::Everyone => self.wake_cohorts(&List::ALL, at, |_, _| u64::MAX, |_| true, woken),
            Scope::Member(_) => {
                self.wake_cohorts(&[List::Active], at, |idx, all| all.wanting_members().word(idx), |_| true, woken);
            }
            Scope::Members => {
                self.wake_cohorts(&List::ALL, at, |idx, all| all.wanting_members().word(idx), |_| true, woken);
            }
            Scope::Unread => self.wake_asked(entry, woken),
        }
        for idx in staying {
            self.list_waiting(idx);
        }
    }

    /// Wakes the waiting passive sessions that a message calls, and looks at no others where it can.
    fn wake_called(&mut self, entry: &Entry, audience: &Audience, call: &Call, woken: &mut Vec<SessionKey>) {
        for list in List::PASSIVE {
            let calls_all = call.everyone || call.here && list == List::PassiveOnline;
            if !calls_all && !call.calls_roles() {
                continue;
            }
            for idx in 0..audience.seen_by().words() {
                for id in numbers(idx, audience.seen_by().word(idx) & self.cohorts.waiting_in(list).word(idx)) {
                    let cohort = Arc::clone(self.cohorts.find(id).expect("a cohort with waiting sessions is there"));
                    if calls_all || call.calls_role_of(&cohort) {
                        let at = self.head();
                        self.wake_cohort(id, list, at, |who| entry.is_for(who, &cohort, &cohort), woken);
                    }
                }
            }
        }
        for key in &call.sessions {
            let slot = self.slots.at(key.idx);
            let (who, at) = (self.slots.listener(key.idx), self.head());
            let Some(cohort) = self.cohorts.find(slot.cohort).filter(|_| slot.waiting != NONE) else {
                continue;
            };
            if who.hearing.level == Level::Passive && entry.is_for(&who, cohort, cohort) {
                let Relay { slots, cohorts, told, .. } = self;
                unwait(slots, cohorts, key.idx);
                if let Way::Stream(door) = &slots.at(key.idx).way {
                    door.wake(at, told.head());
                }
                woken.push(*key);
            }
        }
    }

    /// Wakes the waiting passive sessions that an entry is for, asking each.
    fn wake_asked(&mut self, entry: &Entry, woken: &mut Vec<SessionKey>) {
        let at = self.head();
        for list in List::PASSIVE {
            for idx in 0..self.cohorts.waiting_in(list).words() {
                for id in numbers(idx, self.cohorts.waiting_in(list).word(idx)) {
                    let cohort = Arc::clone(self.cohorts.find(id).expect("a cohort with waiting sessions is there"));
                    self.wake_cohort(id, list, at, |who| entry.is_for(who, &cohort, &cohort), woken);
                }
            }
        }
    }

    fn wake_cohorts(
        &mut self,
        lists: &[List],
        at: Mark,
        word: impl Fn(usize, &Cohorts) -> u64,
        is_for: impl Fn(&Listener) -> bool,
        woken: &mut Vec<SessionKey>,
    ) {
        for list in lists {
            for idx in 0..self.cohorts.waiting_in(*list).words() {
                let ids = word(idx, &self.cohorts) & self.cohorts.waiting_in(*list).word(idx);
                #[cfg(feature = "defects")]
                let ids = if guildhall_proto::Defect::WakeTooFew.is_on() { ids & ids.wrapping_neg() } else { ids };
                for id in numbers(idx, ids) {
                    self.wake_cohort(id, *list, at, &is_for, woken);
                }
            }
        }
    }

    /// Wakes the waiting sessions of one cohort, as far as the entry is for them.
    #[inline]
    fn wake_cohort(
        &mut self,
        id: CohortId,
        list: List,
        at: Mark,
        is_for: impl Fn(&Listener) -> bool,
        woken: &mut Vec<SessionKey>,
    ) {
        let Relay { slots, cohorts, told, .. } = self;
        let told = told.head();
        cohorts.wake(id, list, |idx, place_if_kept| {
            let who = slots.listener(idx);
            let slot = slots.at_mut(idx);
            if !is_for(&who) {
                slot.waiting = place_if_kept;
                return false;
            }
            slot.waiting = NONE;
            if let Way::Stream(door) = &slot.way {
                door.wake(at, told);
            }
            woken.push(who.key);
            true
        });
    }

    /// Ends a session, and frees its slot. If it is waiting, it goes on from `from` to hear so.
    pub(super) fn end(&mut self, idx: u32, end: End, from: Mark, woken: &mut Vec<SessionKey>) {
        let key = self.slots.key(idx);
        let Relay { slots, cohorts, .. } = self;
        unwait(slots, cohorts, idx);
        let slot = slots.at(idx);
        match &slot.way {
            Way::Stream(door) => {
                if door.end(end, from) == Ending::Woken {
                    woken.push(key);
                }
            }
            Way::Batch(token) => {
                self.ops.push(Op::Leave { key, token: *token, end });
                self.batch_sessions -= 1;
            }
            Way::Vacant => unreachable!("only attached sessions end"),
        }
        if slot.cohort != NONE {
            cohorts.leave(slot.cohort, self.ring.head().max(end.at.whole));
        }
        slots.remove(idx);
    }

    /// The sessions whose cohort the event, which the rights already have, may change, with the cohort they are in from now on.
    fn moves(&mut self, event: &EventKind, owner_before: UserId) -> Arc<[Move]> {
        let mut moves = Vec::new();
        match event {
            #[cfg(feature = "defects")]
            EventKind::MemberUpdated { before, .. } if guildhall_proto::Defect::RolesTakenLate.is_on() => {
                self.move_user(before.user, Some(&before.roles), &mut moves);
            }
            EventKind::MemberUpdated { after, .. } => self.move_user(after.user, Some(&after.roles), &mut moves),
            EventKind::MemberJoined { member } | EventKind::MemberLeft { member } => {
                self.move_user(member.user, None, &mut moves);
            }
            EventKind::GuildCreated { owner, .. } => {
                for user in [Some(owner_before), Some(owner.user).filter(|user| *user != owner_before)] {
                    user.into_iter().for_each(|user| self.move_user(user, None, &mut moves));
                }
            }
            EventKind::GuildUpdated { before, after } if before.owner != after.owner => {
                self.move_user(before.owner, None, &mut moves);
                self.move_user(after.owner, None, &mut moves);
            }
            EventKind::OverwriteChanged { before, after, .. } => {
                let view = |side: &Option<Overwrite>| side.as_ref().and_then(shows);
                if view(before) != view(after)
                    && let Some(OverwriteTarget::User(user)) = before.or(*after).map(|side| side.target)
                {
                    self.move_user(user, None, &mut moves);
                }
            }
            EventKind::ChannelCreated { overwrites, .. } | EventKind::ChannelDeleted { overwrites, .. } => {
                for overwrite in overwrites {
                    if let (OverwriteTarget::User(user), Some(_)) = (overwrite.target, shows(overwrite)) {
                        self.move_user(user, None, &mut moves);
                    }
                }
            }
            EventKind::RoleCreated { role } => self.move_former_holders(role.id, &mut moves),
            EventKind::GuildUpdated { .. }
            | EventKind::GuildDeleted
            | EventKind::RoleUpdated { .. }
            | EventKind::RoleDeleted { .. }
            | EventKind::RolesReordered { .. }
            | EventKind::ChannelUpdated { .. }
            | EventKind::ChannelsReordered { .. }
            | EventKind::MembersJoined { .. }
            | EventKind::MessagePublished(_)
            | EventKind::MembersLeft { .. }
            | EventKind::UserBanned { .. }
            | EventKind::UserUnbanned { .. } => {}
        }
        if moves.is_empty() {
            return Arc::default();
        }
        moves.sort_unstable_by_key(|moved| moved.session);
        moves.into()
    }

    /// Counts all sessions of `user` into the cohort of its standing by the rights as they are, with `roles` or those it had.
    pub(super) fn move_user(&mut self, user: UserId, roles: Option<&[RoleId]>, moves: &mut Vec<Move>) {
        let Relay { slots, cohorts, rights, ring, .. } = self;
        let mut roles: Option<Arc<[RoleId]>> = roles.map(Arc::from);
        for idx in slots.of_user(user) {
            let held = &cohorts.find(slots.at(idx).cohort).expect("a session's cohort has sessions").standing;
            let members = held.members;
            let roles = roles.get_or_insert_with(|| Arc::clone(&held.roles));
            let to = cohorts.join(Standing::new(rights, user, Arc::clone(roles), members), ring.head());
            moves.push(Move { session: slots.key(idx), to });
        }
    }

    /// The sessions that hear the event last, and why.
    fn ended_by(&self, event: &EventKind) -> Vec<(u32, DetachReason)> {
        #[cfg(feature = "defects")]
        if guildhall_proto::Defect::HeardAfterLeaving.is_on() {
            return Vec::new();
        }
        if let EventKind::MemberLeft { member } = event {
            self.slots.of_user(member.user).map(|idx| (idx, DetachReason::MemberLeft)).collect()
        } else if let EventKind::MembersLeft { users } = event {
            let left = users.iter().flat_map(|user| self.slots.of_user(*user));
            left.map(|idx| (idx, DetachReason::MemberLeft)).collect()
        } else if let EventKind::GuildDeleted = event {
            self.slots.iter().map(|(idx, _)| (idx, DetachReason::GuildDeleted)).collect()
        } else {
            Vec::new()
        }
    }

    /// Whether an event that ends the session is for it.
    fn hears(&self, idx: u32, scope: &Scope) -> bool {
        let Scope::Members = scope else {
            return true;
        };
        self.cohorts.find(self.slots.at(idx).cohort).is_some_and(|cohort| cohort.standing.members)
    }

    /// A role has come to life whose id a deleted one had: who held that does not hold this. O(cohorts), and O(users) if any did.
    fn move_former_holders(&mut self, role: RoleId, moves: &mut Vec<Move>) {
        let Relay { slots, cohorts, .. } = self;
        if !cohorts.iter().any(|cohort| cohort.standing.roles.binary_search(&role).is_ok()) {
            return;
        }
        let former = slots.users().into_iter().filter_map(|user| {
            // Sessions of one user differ in deleted roles alone: one attached after the deletion came without.
            let mut held =
                slots.of_user(user).filter_map(|idx| Some(&cohorts.find(slots.at(idx).cohort)?.standing.roles));
            let held = held.find(|held| held.binary_search(&role).is_ok())?;
            Some((user, held.iter().copied().filter(|held| *held != role).collect()))
        });
        let former: Vec<(UserId, Vec<RoleId>)> = former.collect();
        for (user, roles) in former {
            self.move_user(user, Some(&roles), moves);
        }
    }

    /// Who sees the channel that the event is about just before it, if that is asked for.
    fn audience_before(&mut self, event: &EventKind) -> Option<Arc<Audience>> {
        let channel = if let EventKind::OverwriteChanged { channel, .. } = event {
            *channel
        } else if let EventKind::ChannelDeleted { channel, .. } = event {
            channel.id
        } else {
            return None;
        };
        self.audiences.of(channel, &self.rights, &self.cohorts)
    }

    /// Whom the event, which rights and cohorts already have, is for.
    fn scope(&mut self, event: &EventKind, before: Option<Arc<Audience>>) -> Scope {
        let Relay { audiences, rights, cohorts, slots, .. } = self;
        let mut of = |channel, rights: &Rights| audiences.of(channel, rights, cohorts);
        match event {
            EventKind::MessagePublished(message) => {
                let except = message.session.filter(|_| !message.echo);
                match of(message.channel, rights) {
                    Some(audience) => {
                        let users = message.mentions.users.iter();
                        let sessions =
                            || users.flat_map(|user| slots.of_user(*user)).map(|idx| slots.key(idx)).collect();
                        Scope::Message { audience, except, call: Call::new(&message.mentions, sessions) }
                    }
                    // No such channel: nobody sees it.
                    None => Scope::Around { before: None, after: None },
                }
            }
            EventKind::ChannelCreated { channel, .. } | EventKind::ChannelUpdated { after: channel, .. } => {
                Scope::Around { before, after: of(channel.id, rights) }
            }
            EventKind::ChannelDeleted { .. } => Scope::Around { before, after: None },
            EventKind::OverwriteChanged { channel, .. } => Scope::Around { before, after: of(*channel, rights) },
            EventKind::ChannelsReordered { after, .. } => {
                let channels = after.iter().map(|(channel, _)| *channel);
                Scope::Seeing(audiences.of_any(channels, rights, cohorts))
            }
            EventKind::MemberJoined { member }
            | EventKind::MemberUpdated { after: member, .. }
            | EventKind::MemberLeft { member } => Scope::Member(member.user),
            // Those who left among others do not hear who: they end with it.
            EventKind::MembersJoined { .. } | EventKind::MembersLeft { .. } => Scope::Members,
            // Who is banned and why is for moderators: for no session.
            EventKind::UserBanned { .. } | EventKind::UserUnbanned { .. } => {
                Scope::Around { before: None, after: None }
            }
            EventKind::GuildCreated { .. }
            | EventKind::GuildUpdated { .. }
            | EventKind::GuildDeleted
            | EventKind::RoleCreated { .. }
            | EventKind::RoleUpdated { .. }
            | EventKind::RoleDeleted { .. }
            | EventKind::RolesReordered { .. } => Scope::Everyone,
        }
    }
}

/// What sessions are told of an event: not in which channels a deleted role had overwrites, nor which stood under a deleted
/// category, for they may not see all of those.
fn told(event: Arc<Event>) -> Arc<Event> {
    let kind = if let EventKind::RoleDeleted { role, overwrites } = &event.kind
        && !overwrites.is_empty()
    {
        EventKind::RoleDeleted { role: role.clone(), overwrites: Vec::new() }
    } else if let EventKind::ChannelDeleted { channel, overwrites, children } = &event.kind
        && !children.is_empty()
    {
        let (channel, overwrites) = (channel.clone(), overwrites.clone());
        EventKind::ChannelDeleted { channel, overwrites, children: Vec::new() }
    } else {
        return event;
    };
    Arc::new(Event { kind, ..*event })
}

/// Takes a session from the waiting ones of its cohort; whether it was one.
pub(super) fn unwait(slots: &mut Slots, cohorts: &mut Cohorts, idx: u32) -> bool {
    let slot = slots.at_mut(idx);
    let place = std::mem::replace(&mut slot.waiting, NONE);
    if place == NONE {
        return false;
    }
    if let Some(moved) = cohorts.unwait(slot.cohort, slot.hearing.list(), place) {
        slots.at_mut(moved).waiting = place;
    }
    true
}
