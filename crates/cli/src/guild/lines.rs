//! What is shown of a guild, a line each: as JSON, or for people, with tabs between the columns. An import reads the JSON again.
//!
//! Ids are strings: they take all 64 bits, and many readers of JSON have fewer for numbers.

mod read;

use std::fmt;

use guildhall_node::StoredView;
use guildhall_proto::{
    AsOf, Ban, Channel, ChannelKind, Epoch, GuildId, GuildSettings, Member, Overwrite, OverwriteTarget, Permissions,
    Role, RoleId,
};
use serde::{Deserialize, Serialize};

/// A line of JSON.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub(super) enum Line {
    Guild(GuildLine),
    Role(RoleLine),
    Channel(ChannelLine),
    Ban(BanLine),
    Member(MemberLine),
}

/// A guild as a whole.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct GuildLine {
    pub(super) guild: String,
    standing: Standing,
    /// As everything from here on, empty for a guild that is not alive.
    name: String,
    owner: String,
    pub(super) members: usize,
    /// Told by a node alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    online: Option<u32>,
    roles: usize,
    channels: usize,
    #[serde(default)]
    bans: usize,
    /// The last owner's.
    epoch: u64,
    /// The last event that is stored.
    seq: u64,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Standing {
    Alive,
    Deleted,
    Uncreated,
    /// Deleted or never created: a node tells no difference.
    Absent,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct RoleLine {
    role: String,
    name: String,
    position: u16,
    /// The bits' number.
    permissions: String,
    hoist: bool,
    mentionable: bool,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct ChannelLine {
    channel: String,
    name: String,
    r#type: ChannelType,
    parent: Option<String>,
    position: u16,
    overwrites: Vec<OverwriteLine>,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum ChannelType {
    Text,
    Category,
}

#[derive(Debug, Serialize, Deserialize)]
struct OverwriteLine {
    r#for: Target,
    id: String,
    allow: String,
    deny: String,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Target {
    Role,
    User,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct MemberLine {
    user: String,
    nick: String,
    roles: Vec<String>,
    /// Milliseconds since 1970.
    joined_at: u64,
    flags: u16,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct BanLine {
    user: String,
    reason: Option<String>,
}

impl GuildLine {
    fn empty(guild: GuildId, standing: Standing) -> Self {
        Self {
            guild: guild.to_string(),
            standing,
            name: String::new(),
            owner: String::new(),
            members: 0,
            online: None,
            roles: 0,
            channels: 0,
            bans: 0,
            epoch: 0,
            seq: 0,
        }
    }

    /// A guild that a node says it does not have.
    pub(super) fn absent(guild: GuildId) -> Self {
        Self::empty(guild, Standing::Absent)
    }

    /// As a node tells it.
    pub(super) fn told(
        guild: GuildId,
        as_of: AsOf,
        settings: &GuildSettings,
        (members, online, bans): (u32, u32, u32),
        (roles, channels): (usize, usize),
    ) -> Self {
        Self {
            name: settings.name.to_string(),
            owner: settings.owner.to_string(),
            members: members as usize,
            online: Some(online),
            roles,
            channels,
            bans: bans as usize,
            epoch: as_of.at.epoch.0,
            seq: as_of.at.seq.0,
            ..Self::empty(guild, Standing::Alive)
        }
    }

    pub(super) fn of(guild: GuildId, epoch: Epoch, view: &StoredView) -> Self {
        let nothing = |standing| Self { epoch: epoch.0, ..Self::empty(guild, standing) };
        match view {
            StoredView::Uncreated => nothing(Standing::Uncreated),
            StoredView::Deleted => nothing(Standing::Deleted),
            StoredView::Alive(view) => Self {
                name: view.rights().settings().name.to_string(),
                owner: view.rights().owner().to_string(),
                members: view.len(),
                roles: view.rights().roles().len(),
                channels: view.rights().channels().len(),
                bans: view.bans().len(),
                seq: view.position().seq.0,
                ..nothing(Standing::Alive)
            },
        }
    }

    /// A name and a value a line.
    pub(super) fn in_full(&self) -> String {
        let Self { guild, standing, name, owner, members, online, roles, channels, bans, epoch, seq } = self;
        let online = online.map(|online| format!("online    {online}\n")).unwrap_or_default();
        format!(
            "guild     {guild}\nstanding  {standing}\nname      {name}\nowner     {owner}\nmembers   {members}\n{online}roles     {roles}\n\
             channels  {channels}\nbans      {bans}\nepoch     {epoch}\nseq       {seq}"
        )
    }
}

impl RoleLine {
    pub(super) fn of(role: &Role) -> Self {
        let Role { id, name, position, permissions, hoist, mentionable } = role;
        Self {
            role: id.to_string(),
            name: name.to_string(),
            position: *position,
            permissions: bits(*permissions),
            hoist: *hoist,
            mentionable: *mentionable,
        }
    }
}

impl ChannelLine {
    pub(super) fn of(channel: &Channel, overwrites: &[Overwrite]) -> Self {
        let Channel { id, name, kind, parent, position } = channel;
        Self {
            channel: id.to_string(),
            name: name.to_string(),
            r#type: match kind {
                ChannelKind::Text => ChannelType::Text,
                ChannelKind::Category => ChannelType::Category,
            },
            parent: parent.map(|parent| parent.to_string()),
            position: *position,
            overwrites: overwrites.iter().map(OverwriteLine::of).collect(),
        }
    }
}

impl OverwriteLine {
    fn of(overwrite: &Overwrite) -> Self {
        let (r#for, id) = match overwrite.target {
            OverwriteTarget::Role(role) => (Target::Role, role.to_string()),
            OverwriteTarget::User(user) => (Target::User, user.to_string()),
        };
        Self { r#for, id, allow: bits(overwrite.allow), deny: bits(overwrite.deny) }
    }
}

impl MemberLine {
    pub(super) fn of(member: Member) -> Self {
        let Member { user, nick, roles, joined_at, flags } = member;
        Self {
            user: user.to_string(),
            nick: nick.to_string(),
            roles: roles.iter().map(RoleId::to_string).collect(),
            joined_at: joined_at.0,
            flags: flags.0,
        }
    }
}

impl BanLine {
    pub(super) fn of(ban: Ban) -> Self {
        let Ban { user, reason } = ban;
        Self { user: user.to_string(), reason: reason.map(|reason| reason.to_string()) }
    }
}

impl fmt::Display for GuildLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { guild, standing, name, owner: _, members, online, roles, channels, bans, epoch, seq } = self;
        write!(f, "{guild}\t{standing}\t{name}\t{members} members\t{roles} roles\t{channels} channels\t{bans} bans")?;
        if let Some(online) = online {
            write!(f, "\t{online} online")?;
        }
        write!(f, "\tat {epoch}.{seq}")
    }
}

impl fmt::Display for RoleLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { role, name, position, permissions, hoist: _, mentionable: _ } = self;
        write!(f, "role\t{role}\t{name}\tposition {position}\tpermissions {permissions}")
    }
}

impl fmt::Display for ChannelLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { channel, name, r#type, parent, position, overwrites } = self;
        write!(f, "channel\t{channel}\t{name}\t{type}\tposition {position}")?;
        if let Some(parent) = parent {
            write!(f, "\tunder {parent}")?;
        }
        for OverwriteLine { r#for, id, allow, deny } in overwrites {
            write!(f, "\n\tfor {for} {id}\tallow {allow}\tdeny {deny}")?;
        }
        Ok(())
    }
}

impl fmt::Display for MemberLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { user, nick, roles, joined_at, flags } = self;
        write!(f, "{user}\t{nick}\t{}\t{joined_at}\t{flags}", roles.join(","))
    }
}

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Alive => "alive",
            Self::Deleted => "deleted",
            Self::Uncreated => "uncreated",
            Self::Absent => "absent",
        })
    }
}

impl fmt::Display for ChannelType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Text => "text",
            Self::Category => "category",
        })
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Role => "role",
            Self::User => "user",
        })
    }
}

fn bits(permissions: Permissions) -> String {
    permissions.bits().to_string()
}
