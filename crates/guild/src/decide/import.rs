//! Imports: who may begin one, and whom its next batch adds.

use guildhall_permissions::Authority;
use guildhall_proto::limits::MEMBERS_MAX;
use guildhall_proto::{CommandError, EventKind, Limited, LineFault, Member, NewMember};

use super::members::Unheld;
use super::{Decision, Scene, system_only, within};
use crate::work::{BATCH_MEMBERS, BATCH_ROLES, Import, Taken, Task};

impl Scene<'_> {
    /// Begins an import, or goes on behind the lines `taken` before a crash.
    pub(super) fn import_members(
        &self,
        authority: &Authority<'_>,
        lines: Vec<NewMember>,
        taken: Taken,
    ) -> Result<Decision, CommandError> {
        system_only(authority)?;
        within(Limited::BulkMembers, lines.len())?;
        let twice = first_repeated(&lines);
        let mut lines = lines.into_iter();
        lines.by_ref().take(taken.lines() as usize).for_each(drop);
        Ok(Decision::Later(Task::Import(Import { lines, twice, taken, stopped: None })))
    }

    /// The next batch of an import: takes up to [`BATCH_MEMBERS`] lines, or fewer with many roles, none behind a bad one.
    pub(crate) fn import_batch(&self, import: &mut Import) -> Option<EventKind> {
        let mut members = Vec::new();
        let mut roles = 0;
        for _ in 0..BATCH_MEMBERS {
            if roles >= BATCH_ROLES {
                break;
            }
            let Some(line) = import.lines.next() else {
                break;
            };
            roles += line.roles.len();
            match self.import_line(line, members.len(), import) {
                Ok(member) => members.extend(member),
                Err(fault) => {
                    import.stopped = Some(fault);
                    break;
                }
            }
        }
        members.sort_unstable_by_key(|member| member.user);
        (!members.is_empty()).then_some(EventKind::MembersJoined { members })
    }

    /// The member of one line, unless nobody is to be added for it.
    fn import_line(
        &self,
        line: NewMember,
        members_before: usize,
        import: &mut Import,
    ) -> Result<Option<Member>, LineFault> {
        let taken = &mut import.taken;
        if import.twice == Some(taken.lines()) {
            return Err(LineFault::UserTwice);
        }
        let member = self.member(line).map_err(fault)?;
        if self.members.bans().contains(member.user) {
            taken.banned += 1;
            return Ok(None);
        }
        #[cfg(feature = "defects")]
        if guildhall_proto::Defect::ImportUnfinished.is_on() && member.user.get() % 7 == 0 {
            taken.existing += 1;
            return Ok(None);
        }
        if self.members.contains(member.user) {
            taken.existing += 1;
            return Ok(None);
        }
        if self.members.len() + members_before >= MEMBERS_MAX {
            return Err(LineFault::GuildFull);
        }
        taken.added += 1;
        Ok(Some(member))
    }
}

/// The first line whose user stands in an earlier one.
fn first_repeated(lines: &[NewMember]) -> Option<u32> {
    let mut users: Vec<_> = (0..).zip(lines).map(|(at, line)| (line.user, at)).collect();
    users.sort_unstable();
    users.windows(2).filter(|pair| pair[0].0 == pair[1].0).map(|pair| pair[1].1).min()
}

fn fault(unheld: Unheld) -> LineFault {
    match unheld {
        Unheld::TooMany { got } => LineFault::TooManyRoles { got },
        Unheld::Twice { role } => LineFault::RoleTwice { role },
        Unheld::Everyone => LineFault::EveryoneRole,
        Unheld::Unknown { role } => LineFault::UnknownRole { role },
    }
}
