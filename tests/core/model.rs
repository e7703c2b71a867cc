//! The naive guild: plain ordered maps, the documented rules written out, nothing shared with the product but `proto`'s types.
//!
//! It knows the guild as of the last command it was told, who may do what ([`rules`]), and who hears what ([`Scope`]).

mod rules;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use guildhall_proto::{
    Channel, ChannelId, Command, GuildId, Level, Member, Mentions, Millis, Name, NewMember, OverwriteTarget,
    Permissions, Reason, Role, RoleId, SessionId, Status, UserId,
};

use crate::steps::GUILD;

pub(crate) use rules::{Accepted, Verdict};

/// A guild as anyone would write it down.
#[derive(Debug, Clone)]
pub(crate) struct Model {
    pub(crate) seq: u64,
    pub(crate) alive: bool,
    pub(crate) guild: GuildId,
    pub(crate) name: Name,
    pub(crate) owner: UserId,
    pub(crate) roles: BTreeMap<RoleId, Role>,
    pub(crate) channels: BTreeMap<ChannelId, Room>,
    pub(crate) members: BTreeMap<UserId, Member>,
    pub(crate) sessions: BTreeMap<SessionId, (UserId, Status)>,
    /// Roles that were deleted: their ids may or may not be free yet.
    pub(crate) deleted_roles: BTreeSet<RoleId>,
    /// Who is kept out, and why.
    pub(crate) bans: BTreeMap<UserId, Option<Reason>>,
    /// The latest joining of anyone who has left.
    pub(crate) departed: Millis,
}

/// A channel with its overwrites: what each allows and denies.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Room {
    pub(crate) channel: Channel,
    pub(crate) overwrites: BTreeMap<OverwriteTarget, (Permissions, Permissions)>,
}

/// Whom an event is for.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Scope {
    Everyone,
    /// Who sees one of these just before or just after it.
    Seeing(Vec<ChannelId>),
    /// Who sees the channel, but for one session; of those who listen from afar, whom it calls.
    Message {
        channel: ChannelId,
        except: Option<SessionId>,
        mentions: Mentions,
    },
    /// That member's own sessions, and those that want members.
    Member(UserId),
    /// Those that want members.
    Members,
}

/// One who listens: all that decides what it hears.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ear {
    pub(crate) session: SessionId,
    pub(crate) user: UserId,
    pub(crate) members: bool,
}

/// A place in the hierarchy; greater is higher. The owner's and the system's are above every role's.
pub(crate) type Place = (u32, Reverse<u64>);

impl Model {
    /// The guild that a creation makes.
    pub(crate) fn created(now: Millis, command: &Command) -> Self {
        let Command::CreateGuild { name, everyone, owner } = command else {
            unreachable!("every history begins with the guild's creation");
        };
        let guild = GuildId::new(GUILD).unwrap();
        let everyone = Role {
            id: RoleId::everyone(guild),
            name: Name::parse("@everyone").unwrap(),
            position: 0,
            permissions: *everyone,
            hoist: false,
            mentionable: false,
        };
        let NewMember { user, nick, roles, flags } = owner.clone();
        let member = Member { user, nick, roles, joined_at: now, flags };
        Self {
            seq: 1,
            alive: true,
            guild,
            name: name.clone(),
            owner: user,
            roles: [(everyone.id, everyone)].into(),
            channels: BTreeMap::new(),
            members: [(user, member)].into(),
            sessions: BTreeMap::new(),
            deleted_roles: BTreeSet::new(),
            bans: BTreeMap::new(),
            departed: Millis::default(),
        }
    }

    /// What a member may do in the guild as a whole.
    pub(crate) fn base(&self, user: UserId) -> Permissions {
        if user == self.owner {
            return Permissions::ALL;
        }
        let mut permissions = self.roles[&RoleId::everyone(self.guild)].permissions;
        for role in &self.members[&user].roles {
            permissions |= self.roles[role].permissions;
        }
        if permissions.contains(Permissions::ADMINISTRATOR) {
            return Permissions::ALL;
        }
        permissions
    }

    /// What a member may do in a channel: the documented algorithm, step by step.
    pub(crate) fn within(&self, user: UserId, channel: ChannelId) -> Permissions {
        let base = self.base(user);
        if base.contains(Permissions::ADMINISTRATOR) {
            return Permissions::ALL;
        }
        let overwrites = &self.channels[&channel].overwrites;
        let mut permissions = base;
        if let Some((allow, deny)) = overwrites.get(&OverwriteTarget::Role(RoleId::everyone(self.guild))) {
            permissions = permissions - *deny;
            permissions |= *allow;
        }
        let (mut allows, mut denies) = (Permissions::NONE, Permissions::NONE);
        for role in &self.members[&user].roles {
            if let Some((allow, deny)) = overwrites.get(&OverwriteTarget::Role(*role)) {
                allows |= *allow;
                denies |= *deny;
            }
        }
        permissions = permissions - denies;
        permissions |= allows;
        if let Some((allow, deny)) = overwrites.get(&OverwriteTarget::User(user)) {
            permissions = permissions - *deny;
            permissions |= *allow;
        }
        permissions
    }

    /// Whether a user is a member who sees a channel that is there.
    pub(crate) fn sees(&self, user: UserId, channel: ChannelId) -> bool {
        self.members.contains_key(&user)
            && self.channels.contains_key(&channel)
            && self.within(user, channel).contains(Permissions::VIEW_CHANNEL)
    }

    /// The status that a member's sessions make together.
    pub(crate) fn status(&self, user: UserId) -> Status {
        let own = self.sessions.values().filter(|(of, _)| *of == user);
        own.map(|(_, status)| *status).max().unwrap_or(Status::Offline)
    }

    /// The members for whom `keep` holds, ascending.
    pub(crate) fn users(&self, keep: impl Fn(&Member) -> bool) -> Vec<UserId> {
        self.members.values().filter(|member| keep(member)).map(|member| member.user).collect()
    }

    /// Where a user stands; one who is no member stands lowest.
    pub(crate) fn place(&self, user: UserId) -> Place {
        if user == self.owner {
            return (u32::MAX - 1, Reverse(0));
        }
        let roles = self.members.get(&user).map_or(&[][..], |member| &member.roles[..]);
        let held = roles.iter().map(|role| role_place(&self.roles[role]));
        held.fold((0, Reverse(self.guild.get())), Place::max)
    }
}

pub(crate) fn role_place(role: &Role) -> Place {
    (u32::from(role.position), Reverse(role.id.get()))
}

/// For whom an event is, by how they listen as of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reach {
    pub(crate) active: bool,
    pub(crate) passive: Passive,
}

/// Whether an event is for a passive session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Passive {
    Never,
    /// If its user is there.
    Online,
    Always,
}

/// How a session listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Hearing {
    pub(crate) level: Level,
    pub(crate) status: Status,
}

impl Reach {
    const NOBODY: Self = Self { active: false, passive: Passive::Never };

    /// The same for both levels.
    fn both(is_for: bool) -> Self {
        Self { active: is_for, passive: if is_for { Passive::Always } else { Passive::Never } }
    }

    pub(crate) fn is_for(self, hearing: Hearing) -> bool {
        match (hearing.level, self.passive) {
            (Level::Active, _) => self.active,
            (Level::Passive, Passive::Never) => false,
            (Level::Passive, Passive::Online) => hearing.status != Status::Offline,
            (Level::Passive, Passive::Always) => true,
        }
    }
}

/// How far an event between two states of a guild reaches a session that was attached before it.
pub(crate) fn reach(before: &Model, after: &Model, scope: &Scope, ear: Ear) -> Reach {
    let Some(member) = before.members.get(&ear.user) else {
        return Reach::NOBODY;
    };
    match scope {
        Scope::Everyone => Reach::both(true),
        Scope::Seeing(channels) => Reach::both(
            channels.iter().any(|channel| before.sees(ear.user, *channel) || after.sees(ear.user, *channel)),
        ),
        Scope::Message { channel, except, mentions } => {
            let active = after.sees(ear.user, *channel) && *except != Some(ear.session);
            let by_role = mentions.roles.iter().any(|role| member.roles.contains(role));
            let passive = if !active {
                Passive::Never
            } else if mentions.everyone || mentions.users.contains(&ear.user) || by_role {
                Passive::Always
            } else if mentions.here {
                Passive::Online
            } else {
                Passive::Never
            };
            Reach { active, passive }
        }
        Scope::Member(user) => Reach { active: ear.user == *user || ear.members, ..Reach::both(ear.user == *user) },
        Scope::Members => Reach::both(ear.members),
    }
}
