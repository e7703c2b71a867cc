//! The cohorts of a session attached in the past, from the events between.
//!
//! The member's roles are known as of the attach and brought forward; the guild's owner and the user's overwrites are known as of
//! now and taken back. Events carry before and after, so both ways need nothing but the ring.

use std::collections::BTreeMap;
use std::mem;
use std::ops::ControlFlow;
use std::sync::Arc;

use guildhall_proto::{ChannelId, Event, EventKind, Overwrite, OverwriteTarget, RoleId, UserId};
use guildhall_ring::Cursor;

use super::Relay;
use crate::cohort::{Cohort, Standing, shows};
use crate::entry::Fact;
use crate::hearing::Mark;
use crate::session::DetachReason;
use crate::stream::End;

/// What a session went through between its attach and now.
pub(super) struct Past {
    /// Its cohort at the attach.
    pub(super) first: Arc<Cohort>,
    /// Its changes of cohort, newest first.
    pub(super) changes: Vec<(Cursor, Arc<Cohort>)>,
    pub(super) now: Now,
}

/// What has become of a session attached in the past.
pub(super) enum Now {
    Standing(Standing),
    Ended(End),
}

/// An event that may change the user's standing, with the roles from then on.
struct Step {
    at: Cursor,
    event: Arc<Event>,
    roles: Arc<[RoleId]>,
}

impl Relay {
    /// The past of a session of `user`, who holds `roles` just before the entry at `from`, which is in the ring or its head.
    /// O(events since).
    pub(super) fn past_of(&self, from: Cursor, user: UserId, roles: Arc<[RoleId]>, members: bool) -> Past {
        let (steps, end) = self.steps(from, user, Arc::clone(&roles));
        let present = Standing::new(&self.rights, user, Arc::default(), members);
        let mut owner = self.rights.owner();
        let mut overwrites: BTreeMap<ChannelId, bool> = present.overwrites.iter().copied().collect();
        let standing = |owner: UserId, overwrites: &BTreeMap<ChannelId, bool>, roles: &Arc<[RoleId]>| Standing {
            roles: Arc::clone(roles),
            owner: owner == user,
            overwrites: overwrites.iter().map(|(channel, shown)| (*channel, *shown)).collect(),
            members,
        };

        // From the newest step to the oldest: the standing after each, then the step is taken back.
        let mut after = Vec::with_capacity(steps.len());
        for step in steps.iter().rev() {
            after.push((step.at, standing(owner, &overwrites, &step.roles)));
            take_back(&step.event.kind, user, &mut owner, &mut overwrites);
        }
        let first = standing(owner, &overwrites, &roles);
        let now = match end {
            Some(end) => Now::Ended(end),
            None => Now::Standing(after.first().map_or(&first, |(_, newest)| newest).clone()),
        };
        let mut before = first.clone();
        let mut changes: Vec<(Cursor, Arc<Cohort>)> = Vec::new();
        for (at, standing) in after.into_iter().rev() {
            if standing != before {
                changes.push((at, Cohort::past(standing.clone())));
                before = standing;
            }
        }
        changes.reverse();
        Past { first: Cohort::past(first), changes, now }
    }

    /// The events from `from` on that may change the user's standing, and where the session ended, if it did.
    fn steps(&self, from: Cursor, user: UserId, mut roles: Arc<[RoleId]>) -> (Vec<Step>, Option<End>) {
        let (mut steps, mut end) = (Vec::new(), None);
        let mut cursor = from;
        let read = self.rings.whole.read(&mut cursor, |at, entry| {
            let Fact::Event(event) = &entry.fact else {
                return ControlFlow::Continue(());
            };
            let mut ends = |reason| {
                // The first end counts; what comes later is still taken back.
                let at = Mark { whole: at.next(), slow: self.mark(event.position).slow };
                end.get_or_insert(End { at, position: event.position, reason, is_in_hole: false });
            };
            match &event.kind {
                EventKind::MemberUpdated { after, .. } if after.user == user => {
                    if *roles != after.roles[..] {
                        roles = after.roles[..].into();
                    }
                }
                // Its id was a deleted role's, which nobody held any more.
                EventKind::RoleCreated { role } if roles.binary_search(&role.id).is_ok() => {
                    roles = roles.iter().copied().filter(|held| *held != role.id).collect();
                }
                EventKind::MemberLeft { member } if member.user == user => ends(DetachReason::MemberLeft),
                EventKind::MembersLeft { users } if users.binary_search(&user).is_ok() => {
                    ends(DetachReason::MemberLeft);
                }
                EventKind::GuildDeleted => ends(DetachReason::GuildDeleted),
                EventKind::GuildUpdated { .. }
                | EventKind::ChannelCreated { .. }
                | EventKind::ChannelDeleted { .. }
                | EventKind::OverwriteChanged { .. } => {}
                EventKind::GuildCreated { .. }
                | EventKind::RoleCreated { .. }
                | EventKind::RoleUpdated { .. }
                | EventKind::RoleDeleted { .. }
                | EventKind::RolesReordered { .. }
                | EventKind::ChannelUpdated { .. }
                | EventKind::ChannelsReordered { .. }
                | EventKind::MemberJoined { .. }
                | EventKind::MembersJoined { .. }
                | EventKind::MemberUpdated { .. }
                | EventKind::MemberLeft { .. }
                | EventKind::MessagePublished(_)
                | EventKind::MembersLeft { .. }
                | EventKind::UserBanned { .. }
                | EventKind::UserUnbanned { .. } => return ControlFlow::Continue(()),
            }
            steps.push(Step { at, event: Arc::clone(event), roles: Arc::clone(&roles) });
            ControlFlow::Continue(())
        });
        debug_assert!(read.is_ok(), "an attach is refused if the ring does not reach back");
        (steps, end)
    }
}

/// Takes owner and overwrites from just after an event to just before it.
fn take_back(event: &EventKind, user: UserId, owner: &mut UserId, overwrites: &mut BTreeMap<ChannelId, bool>) {
    let of_user = |overwrite: &Overwrite| overwrite.target == OverwriteTarget::User(user);
    let mut put_back = |channel: ChannelId, shown: Option<bool>| match shown {
        Some(shown) => mem::drop(overwrites.insert(channel, shown)),
        None => mem::drop(overwrites.remove(&channel)),
    };
    match event {
        EventKind::GuildUpdated { before, .. } => *owner = before.owner,
        EventKind::ChannelCreated { channel, .. } => put_back(channel.id, None),
        EventKind::ChannelDeleted { channel, overwrites, .. } => {
            put_back(channel.id, overwrites.iter().find(|overwrite| of_user(overwrite)).and_then(shows));
        }
        EventKind::OverwriteChanged { channel, before, after } => {
            if before.iter().chain(after).any(of_user) {
                put_back(*channel, before.as_ref().and_then(shows));
            }
        }
        EventKind::GuildCreated { .. }
        | EventKind::GuildDeleted
        | EventKind::RoleCreated { .. }
        | EventKind::RoleUpdated { .. }
        | EventKind::RoleDeleted { .. }
        | EventKind::RolesReordered { .. }
        | EventKind::ChannelUpdated { .. }
        | EventKind::ChannelsReordered { .. }
        | EventKind::MemberJoined { .. }
        | EventKind::MembersJoined { .. }
        | EventKind::MemberUpdated { .. }
        | EventKind::MemberLeft { .. }
        | EventKind::MessagePublished(_)
        | EventKind::MembersLeft { .. }
        | EventKind::UserBanned { .. }
        | EventKind::UserUnbanned { .. } => {}
    }
}
