//! Commands about the guild as a whole.

use guildhall_permissions::{Authority, Rank, Rights};
use guildhall_proto::{
    Actor, CommandError, EventKind, GuildEdit, GuildId, GuildSettings, Member, Millis, Name, NewMember, Permissions,
    UserId,
};

use super::{Decision, Scene, denied};

/// The event that brings a guild to life.
pub(crate) fn create(
    now: Millis,
    guild: GuildId,
    actor: Actor,
    name: Name,
    everyone: Permissions,
    owner: NewMember,
) -> Result<EventKind, CommandError> {
    match actor {
        Actor::System => {}
        Actor::User(_) => return Err(CommandError::SystemOnly),
    }
    if let Some(role) = owner.roles.first() {
        return Err(CommandError::UnknownRole { role: *role });
    }
    let settings = GuildSettings { name, owner: owner.user };
    let owner = Member { user: owner.user, nick: owner.nick, roles: Vec::new(), joined_at: now, flags: owner.flags };
    Ok(EventKind::GuildCreated { settings, everyone: Rights::everyone_role(guild, everyone), owner })
}

impl Scene<'_> {
    pub(super) fn update_guild(&self, authority: &Authority<'_>, edit: GuildEdit) -> Result<Decision, CommandError> {
        authority.require(Permissions::MANAGE_GUILD).map_err(denied)?;
        let before = self.rights.settings().clone();
        let after = GuildSettings { name: edit.name.unwrap_or_else(|| before.name.clone()), owner: before.owner };
        Ok(Decision::change_if(before != after, || EventKind::GuildUpdated { before, after }))
    }

    pub(super) fn delete_guild(&self, authority: &Authority<'_>) -> Result<Decision, CommandError> {
        owner_only(authority)?;
        Ok(Decision::change(EventKind::GuildDeleted))
    }

    pub(super) fn transfer_ownership(&self, authority: &Authority<'_>, to: UserId) -> Result<Decision, CommandError> {
        owner_only(authority)?;
        self.require_member(to)?;
        let before = self.rights.settings().clone();
        let after = GuildSettings { name: before.name.clone(), owner: to };
        Ok(Decision::change_if(before != after, || EventKind::GuildUpdated { before, after }))
    }
}

fn owner_only(authority: &Authority<'_>) -> Result<(), CommandError> {
    if authority.rank() >= Rank::Owner { Ok(()) } else { Err(CommandError::OwnerOnly) }
}
