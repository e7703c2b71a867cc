//! What lines mean: the texts and numbers in them, checked as they become what they stand for.

use anyhow::Context;
use guildhall_proto::{
    Ban, Channel, ChannelKind, GuildId, GuildSettings, MemberFlags, Name, NewMember, Nick, Overwrite, OverwriteTarget,
    Permissions, Reason, Role, UserId,
};

use super::{BanLine, ChannelLine, ChannelType, GuildLine, MemberLine, OverwriteLine, RoleLine, Standing, Target};

impl GuildLine {
    /// Which guild, with its settings.
    ///
    /// # Errors
    /// If something in it is not well-formed, or the guild is not alive.
    pub(in crate::guild) fn guild(&self) -> anyhow::Result<(GuildId, GuildSettings)> {
        match self.standing {
            Standing::Alive => {}
            Standing::Deleted | Standing::Uncreated | Standing::Absent => {
                anyhow::bail!("the guild is {}", self.standing)
            }
        }
        Ok((id(&self.guild)?, GuildSettings { name: Name::parse(&self.name)?, owner: id(&self.owner)? }))
    }
}

impl RoleLine {
    /// # Errors
    /// If something in it is not well-formed.
    pub(in crate::guild) fn role(&self) -> anyhow::Result<Role> {
        let Self { role, name, position, permissions, hoist, mentionable } = self;
        Ok(Role {
            id: id(role)?,
            name: Name::parse(name)?,
            position: *position,
            permissions: bits(permissions)?,
            hoist: *hoist,
            mentionable: *mentionable,
        })
    }
}

impl ChannelLine {
    /// # Errors
    /// If something in it is not well-formed.
    pub(in crate::guild) fn channel(&self) -> anyhow::Result<(Channel, Vec<Overwrite>)> {
        let Self { channel, name, r#type, parent, position, overwrites } = self;
        let channel = Channel {
            id: id(channel)?,
            name: Name::parse(name)?,
            kind: match r#type {
                ChannelType::Text => ChannelKind::Text,
                ChannelType::Category => ChannelKind::Category,
            },
            parent: parent.as_deref().map(id).transpose()?,
            position: *position,
        };
        let overwrites = overwrites.iter().map(OverwriteLine::overwrite).collect::<anyhow::Result<_>>()?;
        Ok((channel, overwrites))
    }
}

impl OverwriteLine {
    fn overwrite(&self) -> anyhow::Result<Overwrite> {
        let target = match self.r#for {
            Target::Role => OverwriteTarget::Role(id(&self.id)?),
            Target::User => OverwriteTarget::User(id(&self.id)?),
        };
        Ok(Overwrite { target, allow: bits(&self.allow)?, deny: bits(&self.deny)? })
    }
}

impl MemberLine {
    /// # Errors
    /// If something in it is not well-formed.
    pub(in crate::guild) fn member(&self) -> anyhow::Result<NewMember> {
        let Self { user, nick, roles, joined_at: _, flags } = self;
        Ok(NewMember {
            user: id(user)?,
            nick: Nick::parse(nick)?,
            roles: roles.iter().map(|role| id(role)).collect::<anyhow::Result<_>>()?,
            flags: MemberFlags(*flags),
        })
    }
}

impl BanLine {
    /// # Errors
    /// If something in it is not well-formed.
    pub(in crate::guild) fn ban(&self) -> anyhow::Result<Ban> {
        let user: UserId = id(&self.user)?;
        Ok(Ban { user, reason: self.reason.as_deref().map(Reason::parse).transpose()? })
    }
}

fn id<T: TryFrom<u64, Error = guildhall_proto::IdError>>(text: &str) -> anyhow::Result<T> {
    let number: u64 = text.parse().with_context(|| format!("{text:?} is not an id"))?;
    Ok(T::try_from(number)?)
}

fn bits(text: &str) -> anyhow::Result<Permissions> {
    let bits: u64 = text.parse().with_context(|| format!("{text:?} is not a number of permissions"))?;
    Ok(Permissions::from_bits(bits)?)
}
