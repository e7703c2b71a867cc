//! Sessions that come back, on this relay or another: attached in the past, at the position that they last knew.
//!
//! From there on a session hears what it would have heard, by its rights as of each event. The roles that its member holds now are
//! taken back to then by the events between. What cannot be known any more is not guessed: the session is told a gap up to where it
//! is known again.

use std::ops::ControlFlow;

use guildhall_proto::{EventKind, Position, RoleId, UserId};

use super::Relay;
use super::attach::Begin;
use crate::entry::Fact;
use crate::session::{Attach, Gap, Resume, ResumeError, SessionKey};
use crate::stream::Stream;

impl Relay {
    /// Attaches a session that reads for itself and comes back: it hears what it would have heard after `resume.known`. With it goes
    /// the gap that it is told first, if the relay does not reach back so far. O(events since).
    ///
    /// # Errors
    /// See [`ResumeError`]; the relay is unchanged.
    pub fn resume_stream(&mut self, resume: Resume<'_>) -> Result<(Stream, Option<Gap>), ResumeError> {
        let (accepted, roles) = self.begin_again(&resume)?;
        let gap = gap(resume.known, accepted);
        let stream = self.place_stream(Attach { accepted, roles: &roles, ..resume.attach }, Begin::Again { gap })?;
        Ok((stream, gap))
    }

    /// The same for a session that the batch consumer serves, where it is called `token`.
    ///
    /// # Errors
    /// See [`ResumeError`]; the relay is unchanged.
    pub fn resume_batch(&mut self, resume: Resume<'_>, token: u64) -> Result<(SessionKey, Option<Gap>), ResumeError> {
        let (accepted, roles) = self.begin_again(&resume)?;
        let gap = gap(resume.known, accepted);
        let key =
            self.place_in_batch(Attach { accepted, roles: &roles, ..resume.attach }, token, Begin::Again { gap })?;
        Ok((key, gap))
    }

    /// Where the session goes on, and the roles that its member held there.
    fn begin_again(&self, resume: &Resume<'_>) -> Result<(Position, Vec<RoleId>), ResumeError> {
        let (known, accepted) = (resume.known, resume.attach.accepted);
        if known > accepted {
            return Err(ResumeError::Ahead { known, accepted });
        }
        if accepted > self.position {
            return Err(ResumeError::Behind { accepted, at: self.position });
        }
        self.check(resume.attach)?;
        let from = self.reached_from(known);
        #[cfg(feature = "defects")]
        let from = if guildhall_proto::Defect::NeedlessGap.is_on() { accepted.next() } else { from };
        if from.seq > accepted.seq {
            // Its roles are known as of a time before.
            return Ok((accepted, resume.attach.roles.to_vec()));
        }
        Ok(self.roles_back_to(from, resume))
    }

    /// The roles that the session's member held just after `from`, or, where that cannot be known, as early as it can, and that place.
    fn roles_back_to(&self, from: Position, resume: &Resume<'_>) -> (Position, Vec<RoleId>) {
        let mut roles = resume.attach.roles.to_vec();
        // Its record names deleted roles only until it is written again.
        let mut is_rewritten = false;
        for (at, step) in self.steps_between(from, resume).into_iter().rev() {
            match step {
                Step::Updated { before } => {
                    roles = before;
                    is_rewritten = true;
                }
                Step::RoleDeleted(role) => {
                    if is_rewritten || at.seq <= resume.deletions_unknown_to {
                        return (at, roles);
                    }
                    if resume.deleted_roles.contains(&role)
                        && let Err(place) = roles.binary_search(&role)
                    {
                        roles.insert(place, role);
                    }
                }
                Step::Joined => return (at, roles),
            }
        }
        (from, roles)
    }

    /// What changed the roles of the session's member between `from` and its attach, which are both within the ring's reach.
    fn steps_between(&self, from: Position, resume: &Resume<'_>) -> Vec<(Position, Step)> {
        let Attach { user, accepted, .. } = resume.attach;
        let mut steps = Vec::new();
        let mut cursor = self.behind(from);
        let end = self.behind(accepted);
        let read = self.rings.whole.read(&mut cursor, |at, entry| {
            if at >= end {
                return ControlFlow::Break(());
            }
            if let Fact::Event(event) = &entry.fact {
                steps.extend(Step::of(&event.kind, user).map(|step| (event.position, step)));
            }
            ControlFlow::Continue(())
        });
        debug_assert!(read.is_ok(), "it goes on from where the ring reaches to");
        steps
    }
}

/// What an event has to do with the roles of one member.
enum Step {
    Updated {
        before: Vec<RoleId>,
    },
    RoleDeleted(RoleId),
    /// It became a member, or ended being one: before that are other sessions' times.
    Joined,
}

impl Step {
    fn of(event: &EventKind, user: UserId) -> Option<Self> {
        match event {
            EventKind::MemberUpdated { before, .. } if before.user == user => {
                Some(Self::Updated { before: before.roles.clone() })
            }
            EventKind::RoleDeleted { role, .. } => Some(Self::RoleDeleted(role.id)),
            EventKind::MemberJoined { member }
            | EventKind::MemberLeft { member }
            | EventKind::GuildCreated { owner: member, .. } => (member.user == user).then_some(Self::Joined),
            EventKind::MembersJoined { members } => {
                members.binary_search_by_key(&user, |member| member.user).is_ok().then_some(Self::Joined)
            }
            EventKind::MembersLeft { users } => users.binary_search(&user).is_ok().then_some(Self::Joined),
            EventKind::MemberUpdated { .. }
            | EventKind::GuildUpdated { .. }
            | EventKind::GuildDeleted
            | EventKind::RoleCreated { .. }
            | EventKind::RoleUpdated { .. }
            | EventKind::RolesReordered { .. }
            | EventKind::ChannelCreated { .. }
            | EventKind::ChannelUpdated { .. }
            | EventKind::ChannelDeleted { .. }
            | EventKind::ChannelsReordered { .. }
            | EventKind::OverwriteChanged { .. }
            | EventKind::MessagePublished(_)
            | EventKind::UserBanned { .. }
            | EventKind::UserUnbanned { .. } => None,
        }
    }
}

fn gap(known: Position, from: Position) -> Option<Gap> {
    (from > known).then_some(Gap { after: known, through: from })
}
