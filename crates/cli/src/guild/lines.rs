//! What is shown of a guild, a line each: as JSON, or for people, with tabs between the columns.
//!
//! Ids are strings: they take all 64 bits, and many readers of JSON have fewer for numbers.

use std::fmt;

use guildhall_node::StoredView;
use guildhall_proto::{
    Ban, Channel, ChannelKind, Epoch, GuildId, Member, Overwrite, OverwriteTarget, Permissions, Role, RoleId,
};
use serde::Serialize;

/// A guild as a whole.
#[derive(Debug, Serialize)]
pub(super) struct GuildLine {
    kind: &'static str,
    pub(super) guild: String,
    /// `alive`, `deleted`, or `uncreated`.
    standing: &'static str,
    /// As everything from here on, empty for a guild that is not alive.
    name: String,
    owner: String,
    pub(super) members: usize,
    roles: usize,
    channels: usize,
    bans: usize,
    /// The last owner's.
    epoch: u64,
    /// The last event that is stored.
    seq: u64,
}

#[derive(Debug, Serialize)]
pub(super) struct RoleLine {
    kind: &'static str,
    role: String,
    name: String,
    position: u16,
    /// The bits' number.
    permissions: String,
    hoist: bool,
    mentionable: bool,
}

#[derive(Debug, Serialize)]
pub(super) struct ChannelLine {
    kind: &'static str,
    channel: String,
    name: String,
    /// `text` or `category`.
    r#type: &'static str,
    parent: Option<String>,
    position: u16,
    overwrites: Vec<OverwriteLine>,
}

#[derive(Debug, Serialize)]
struct OverwriteLine {
    /// `role` or `user`.
    r#for: &'static str,
    id: String,
    allow: String,
    deny: String,
}

#[derive(Debug, Serialize)]
pub(super) struct MemberLine {
    kind: &'static str,
    user: String,
    nick: String,
    roles: Vec<String>,
    /// Milliseconds since 1970.
    joined_at: u64,
    flags: u16,
}

#[derive(Debug, Serialize)]
pub(super) struct BanLine {
    kind: &'static str,
    user: String,
    reason: Option<String>,
}

impl GuildLine {
    pub(super) fn of(guild: GuildId, epoch: Epoch, view: &StoredView) -> Self {
        let nothing = Self {
            kind: "guild",
            guild: guild.to_string(),
            standing: "",
            name: String::new(),
            owner: String::new(),
            members: 0,
            roles: 0,
            channels: 0,
            bans: 0,
            epoch: epoch.0,
            seq: 0,
        };
        match view {
            StoredView::Uncreated => Self { standing: "uncreated", ..nothing },
            StoredView::Deleted => Self { standing: "deleted", ..nothing },
            StoredView::Alive(view) => Self {
                standing: "alive",
                name: view.rights().settings().name.to_string(),
                owner: view.rights().owner().to_string(),
                members: view.len(),
                roles: view.rights().roles().len(),
                channels: view.rights().channels().len(),
                bans: view.bans().len(),
                seq: view.position().seq.0,
                ..nothing
            },
        }
    }

    /// A name and a value a line.
    pub(super) fn in_full(&self) -> String {
        let Self { kind: _, guild, standing, name, owner, members, roles, channels, bans, epoch, seq } = self;
        format!(
            "guild     {guild}\nstanding  {standing}\nname      {name}\nowner     {owner}\nmembers   {members}\nroles     {roles}\n\
             channels  {channels}\nbans      {bans}\nepoch     {epoch}\nseq       {seq}"
        )
    }
}

impl RoleLine {
    pub(super) fn of(role: &Role) -> Self {
        let Role { id, name, position, permissions, hoist, mentionable } = role;
        Self {
            kind: "role",
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
            kind: "channel",
            channel: id.to_string(),
            name: name.to_string(),
            r#type: match kind {
                ChannelKind::Text => "text",
                ChannelKind::Category => "category",
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
            OverwriteTarget::Role(role) => ("role", role.to_string()),
            OverwriteTarget::User(user) => ("user", user.to_string()),
        };
        Self { r#for, id, allow: bits(overwrite.allow), deny: bits(overwrite.deny) }
    }
}

impl MemberLine {
    pub(super) fn of(member: Member) -> Self {
        let Member { user, nick, roles, joined_at, flags } = member;
        Self {
            kind: "member",
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
        Self { kind: "ban", user: user.to_string(), reason: reason.map(|reason| reason.to_string()) }
    }
}

impl fmt::Display for GuildLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind: _, guild, standing, name, owner: _, members, roles, channels, bans, epoch, seq } = self;
        write!(
            f,
            "{guild}\t{standing}\t{name}\t{members} members\t{roles} roles\t{channels} channels\t{bans} bans\tat {epoch}.{seq}"
        )
    }
}

impl fmt::Display for RoleLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, role, name, position, permissions, hoist: _, mentionable: _ } = self;
        write!(f, "{kind}\t{role}\t{name}\tposition {position}\tpermissions {permissions}")
    }
}

impl fmt::Display for ChannelLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, channel, name, r#type, parent, position, overwrites } = self;
        write!(f, "{kind}\t{channel}\t{name}\t{type}\tposition {position}")?;
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
        let Self { kind: _, user, nick, roles, joined_at, flags } = self;
        write!(f, "{user}\t{nick}\t{}\t{joined_at}\t{flags}", roles.join(","))
    }
}

fn bits(permissions: Permissions) -> String {
    permissions.bits().to_string()
}
