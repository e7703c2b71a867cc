//! From a command to the event it makes, or to the refusal: reads the guild, changes nothing.

mod bans;
mod channels;
mod guild;
mod import;
mod members;
mod messages;
mod prune;
mod roles;

use guildhall_members::Members;
use guildhall_permissions::{Authority, Denied, Rights};
use guildhall_proto::{Actor, Command, CommandError, EventKind, Limited, ListedThing, Millis, Outcome, RoleId, UserId};

use crate::sessions::Sessions;
use crate::work::{Taken, Task};

pub(crate) use guild::create as create_guild;

/// What an accepted command comes to.
#[derive(Debug)]
pub(crate) enum Decision {
    /// A change, made at once.
    Now(Change),
    /// Changes spread over turns.
    Later(Task),
}

/// What a command changes at once.
#[derive(Debug, Default)]
pub(crate) struct Change {
    /// What happens ahead of the event, and is recorded as a part of the operation. In a box, for it is rare, and every change is moved.
    pub(crate) ahead: Option<Box<EventKind>>,
    /// The event, unless the guild is as the command asks already.
    pub(crate) event: Option<EventKind>,
}

/// A guild that exists, as a command finds it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scene<'a> {
    pub(crate) joins_at: Millis,
    pub(crate) rights: &'a Rights,
    pub(crate) members: &'a Members,
    pub(crate) sessions: &'a Sessions,
}

impl Scene<'_> {
    /// Decides a command of an existing guild. `so_far` is what the operation had come to when a crash cut it, if it did.
    pub(crate) fn decide(
        &self,
        actor: Actor,
        command: Command,
        so_far: Option<Outcome>,
    ) -> Result<Decision, CommandError> {
        let roles;
        let authority = match actor {
            Actor::System => Authority::system(self.rights),
            Actor::User(user) => {
                roles = self.members.roles(user).ok_or(CommandError::UnknownActor { actor: user })?;
                Authority::member(self.rights, user, &roles)
            }
        };
        match command {
            Command::CreateGuild { .. } => Err(CommandError::GuildExists),
            Command::UpdateGuild(edit) => self.update_guild(&authority, edit),
            Command::DeleteGuild => self.delete_guild(&authority),
            Command::TransferOwnership { to } => self.transfer_ownership(&authority, to),
            Command::CreateRole(role) => self.create_role(&authority, role),
            Command::UpdateRole { role, edit } => self.update_role(&authority, role, edit),
            Command::DeleteRole { role } => self.delete_role(&authority, role),
            Command::ReorderRoles { positions } => self.reorder_roles(&authority, positions),
            Command::CreateChannel { channel, overwrites } => self.create_channel(&authority, channel, overwrites),
            Command::UpdateChannel { channel, edit } => self.update_channel(&authority, channel, edit),
            Command::DeleteChannel { channel } => self.delete_channel(&authority, channel),
            Command::ReorderChannels { positions } => self.reorder_channels(&authority, positions),
            Command::SetOverwrite { channel, overwrite } => self.set_overwrite(&authority, channel, overwrite),
            Command::RemoveOverwrite { channel, target } => self.remove_overwrite(&authority, channel, target),
            Command::AddMember(new) => self.add_member(&authority, new),
            Command::UpdateMember { user, edit } => self.update_member(&authority, user, edit),
            Command::RemoveMember { user } => self.remove_member(&authority, user),
            Command::Publish(publish) => self.publish(&authority, publish),
            Command::Ban { user, reason } => self.ban(&authority, user, reason),
            Command::Unban { user } => self.unban(&authority, user),
            Command::PruneMembers(by) => self.prune_members(&authority, by, removed(so_far)),
            Command::ImportMembers(lines) => self.import_members(&authority, lines, taken(so_far)),
        }
    }

    fn require_member(&self, user: UserId) -> Result<(), CommandError> {
        if self.members.contains(user) { Ok(()) } else { Err(CommandError::UnknownMember { user }) }
    }

    fn require_role(&self, role: RoleId) -> Result<(), CommandError> {
        self.rights.role(role).map(|_| ()).ok_or(CommandError::UnknownRole { role })
    }

    fn is_everyone(&self, role: RoleId) -> bool {
        role == RoleId::everyone(self.rights.guild())
    }
}

impl Decision {
    fn change(event: EventKind) -> Self {
        Self::Now(Change { event: Some(event), ..Change::default() })
    }

    /// The event, unless nothing would change by it.
    fn change_if(changes: bool, event: impl FnOnce() -> EventKind) -> Self {
        Self::Now(Change { event: changes.then(event), ..Change::default() })
    }
}

fn removed(so_far: Option<Outcome>) -> u32 {
    match so_far {
        Some(Outcome::MembersPruned { removed, .. }) => removed,
        Some(Outcome::Applied { .. } | Outcome::MembersImported { .. }) | None => 0,
    }
}

fn taken(so_far: Option<Outcome>) -> Taken {
    match so_far {
        Some(Outcome::MembersImported { added, existing, banned, .. }) => Taken { added, existing, banned },
        Some(Outcome::Applied { .. } | Outcome::MembersPruned { .. }) | None => Taken::default(),
    }
}

/// Refuses `got` of `what` past its limit.
pub(crate) fn within(what: Limited, got: usize) -> Result<(), CommandError> {
    if got <= what.max() {
        return Ok(());
    }
    Err(CommandError::LimitExceeded { what, got: u32::try_from(got).unwrap_or(u32::MAX) })
}

/// Sorts ascending and refuses what is named twice.
fn sort_distinct<T, K: Ord + Copy>(
    list: &mut [T],
    what: ListedThing,
    key: impl Fn(&T) -> K,
    number: impl Fn(K) -> u64,
) -> Result<(), CommandError> {
    list.sort_unstable_by_key(&key);
    match list.windows(2).find(|pair| key(&pair[0]) == key(&pair[1])) {
        Some(pair) => Err(CommandError::Duplicate { what, id: number(key(&pair[0])) }),
        None => Ok(()),
    }
}

fn denied(denied: Denied) -> CommandError {
    match denied {
        Denied::Missing { missing } => CommandError::MissingPermissions { missing },
        Denied::Excess { excess } => CommandError::ExcessPermissions { excess },
        Denied::Outranked => CommandError::Outranked,
    }
}

fn system_only(authority: &Authority<'_>) -> Result<(), CommandError> {
    if authority.is_system() { Ok(()) } else { Err(CommandError::SystemOnly) }
}
