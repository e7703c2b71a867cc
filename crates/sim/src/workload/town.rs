//! What a community looks like before a workload begins: roles held as people hold them, channels of which few are busy and some
//! hidden, members by the dozen or the hundred; and the ids and texts that workloads make things of.
//!
//! Popularity follows Zipf's law: of roles, channels and talkers each next one is held, used or heard about as much less as its rank
//! says. Ids follow from numbers, so that a workload keeps no list of what it made.

use guildhall_proto::{
    Channel, ChannelId, ChannelKind, Command, GuildId, MemberFlags, Millis, Name, NewMember, Nick, Overwrite,
    OverwriteTarget, Permissions, Role, RoleId, UserId,
};

use crate::dice::Dice;
use crate::model::Community;

/// The shape of one community, and whether it has come to be.
#[derive(Debug, Clone)]
pub struct Town {
    /// Which of the guilds that there may be.
    pub nth: usize,
    /// Members to begin with, at least one. Number 0 is the owner; 1 to 3 are moderators.
    pub members: u64,
    /// Roles to begin with besides everyone, at least one. The last is the moderators'.
    pub roles: u64,
    /// Channels to begin with besides one category, at least one.
    pub channels: u64,
    /// How far it is.
    pub(super) founding: Founding,
}

/// How far a community has come to be. What is taken from it once it is there is not put back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Founding {
    /// What it lacks was asked for so many times, and lately at that time. Some of it may be refused however often: a role whose id is
    /// still taken, a member who is banned.
    Tried(u32, Millis),
    /// It is there.
    Done,
}

impl Town {
    /// A community of ordinary size: of dozens, now and then of hundreds.
    pub fn ordinary(nth: usize, dice: &mut Dice) -> Self {
        let members = if dice.one_in(4) { dice.within(200, 800) } else { dice.within(20, 80) };
        Self {
            nth,
            members,
            roles: dice.within(4, 16),
            channels: dice.within(3, 12),
            founding: Founding::Tried(0, Millis(0)),
        }
    }

    /// One of a handful of people.
    pub fn hamlet(nth: usize, dice: &mut Dice) -> Self {
        Self { nth, members: dice.within(2, 12), roles: 2, channels: 2, founding: Founding::Tried(0, Millis(0)) }
    }

    /// What is to be asked next so that it comes to be; nothing once it is complete. To be asked again when that is answered.
    pub fn missing(&self, guild: GuildId, known: Option<&Community>, dice: &mut Dice) -> Vec<Command> {
        let Some(known) = known else {
            let everyone = Permissions::VIEW_CHANNEL | Permissions::SEND_MESSAGES | Permissions::CHANGE_NICKNAME;
            return vec![Command::CreateGuild { name: name("town"), everyone, owner: plain_member(0) }];
        };
        let roles = (0..self.roles).filter(|nth| !known.roles.contains_key(&role(*nth)));
        let mut missing: Vec<Command> = roles.map(|nth| Command::CreateRole(self.role(nth))).collect();
        if !missing.is_empty() {
            return missing; // Channels and members refer to them.
        }
        let channels = [CATEGORY].into_iter().chain(0..self.channels);
        let channels = channels.filter(|nth| !known.channels.contains_key(&channel(*nth)));
        missing.extend(channels.map(|nth| self.channel(guild, nth)));
        if (known.members.len() as u64) < self.members {
            let is_missing = |nth: &u64| {
                let user = user(*nth);
                !known.members.contains_key(&user) && !known.bans.contains_key(&user)
            };
            let new: Vec<NewMember> = (1..self.members).filter(is_missing).map(|nth| self.member(nth, dice)).collect();
            let chunks = new.chunks(IMPORT_LINES);
            missing.extend(chunks.map(|chunk| Command::ImportMembers(chunk.to_vec())));
        }
        missing
    }

    /// Somebody who joins with up to three roles, mostly popular ones; a moderator with that role alone.
    pub fn member(&self, nth: u64, dice: &mut Dice) -> NewMember {
        let mut roles = match nth {
            0 => Vec::new(),
            1..4 => vec![role(self.roles - 1)],
            _ => (0..dice.below(4)).map(|_| self.popular_role(dice)).collect(),
        };
        roles.sort_unstable();
        roles.dedup();
        NewMember { roles, ..plain_member(nth) }
    }

    /// A role other than the moderators', if there is one: mostly one of the first.
    pub fn popular_role(&self, dice: &mut Dice) -> RoleId {
        role(dice.zipf(self.roles as usize - 1).unwrap_or(0) as u64)
    }

    fn role(&self, nth: u64) -> Role {
        let permissions = match nth {
            nth if nth + 1 == self.roles => MODERATORS.iter().fold(Permissions::NONE, |all, one| all | *one),
            nth if nth % 4 == 3 => Permissions::MENTION_EVERYONE,
            _ => Permissions::NONE,
        };
        new_role(nth, nth + 1, permissions)
    }

    /// Every third is hidden from all but the holders of one role, and the owner's eyes.
    fn channel(&self, guild: GuildId, nth: u64) -> Command {
        let everyone = OverwriteTarget::Role(RoleId::everyone(guild));
        let holders = OverwriteTarget::Role(role(nth % self.roles));
        let see = Permissions::VIEW_CHANNEL;
        let overwrites =
            if nth % 3 == 2 && nth != CATEGORY { vec![deny(everyone, see), allow(holders, see)] } else { Vec::new() };
        Command::CreateChannel { channel: new_channel(nth), overwrites }
    }
}

/// Somebody without roles.
pub fn plain_member(nth: u64) -> NewMember {
    NewMember { user: user(nth), nick: nick(nth), roles: Vec::new(), flags: MemberFlags::NONE }
}

/// A role of this number at this place.
pub fn new_role(nth: u64, position: u64, permissions: Permissions) -> Role {
    let position = u16::try_from(position).unwrap_or(u16::MAX);
    Role { id: role(nth), name: name("role"), position, permissions, hoist: false, mentionable: nth.is_multiple_of(2) }
}

/// A channel of this number: under the category, or every second one, or the category itself.
pub fn new_channel(nth: u64) -> Channel {
    let kind = if nth == CATEGORY { ChannelKind::Category } else { ChannelKind::Text };
    let parent = (nth != CATEGORY && nth.is_multiple_of(2)).then(|| channel(CATEGORY));
    Channel { id: channel(nth), name: name("channel"), kind, parent, position: 0 }
}

/// An overwrite that gives.
pub fn allow(target: OverwriteTarget, allow: Permissions) -> Overwrite {
    Overwrite { target, allow, deny: Permissions::NONE }
}

/// An overwrite that takes away.
pub fn deny(target: OverwriteTarget, deny: Permissions) -> Overwrite {
    Overwrite { target, allow: Permissions::NONE, deny }
}

/// The user of this number, below [`USERS`]: the same person in whatever guilds. Ids of neighbours lie far apart, as people who join
/// together have not come into being together; so an even draw among ids is an even draw among users.
pub fn user(nth: u64) -> UserId {
    UserId::new(1 + nth.wrapping_mul(SCATTER) % USER_IDS).expect("it is between 1 and the ids of users")
}

/// Any id that a user may have.
pub fn user_id(dice: &mut Dice) -> UserId {
    UserId::new(1 + dice.below(USER_IDS)).expect("it is between 1 and the ids of users")
}

/// The role of this number, in whatever guild.
pub fn role(nth: u64) -> RoleId {
    RoleId::new(ROLES_FROM + nth).expect("roles are few beside 64 bits")
}

/// The channel of this number, in whatever guild.
pub fn channel(nth: u64) -> ChannelId {
    ChannelId::new(CHANNELS_FROM + nth).expect("channels are few beside 64 bits")
}

/// A nick that tells a number.
pub fn nick(nth: u64) -> Nick {
    Nick::parse(&format!("n{nth}")).expect("at most 21 letters and digits are a nick")
}

/// A name.
///
/// # Panics
/// If it is none.
pub fn name(text: &str) -> Name {
    Name::parse(text).expect("workloads name things by short words")
}

/// What moderators may do.
const MODERATORS: &[Permissions] = &[
    Permissions::KICK_MEMBERS,
    Permissions::BAN_MEMBERS,
    Permissions::MANAGE_CHANNELS,
    Permissions::MANAGE_GUILD,
    Permissions::MANAGE_ROLES,
    Permissions::MANAGE_NICKNAMES,
    Permissions::MENTION_EVERYONE,
];

/// The number of each town's category: the last of its channels.
pub const CATEGORY: u64 = 1_000;
/// Users are numbered below this.
pub const USERS: u64 = USER_IDS;
/// Members that are missing in a town are added so many at a time.
const IMPORT_LINES: usize = 400;
/// A power of two, so that an odd factor scatters numbers over it without meeting any twice.
const USER_IDS: u64 = 1 << 32;
/// Odd, and near the golden section of [`USER_IDS`]: so neighbours lie evenly apart however many there are.
const SCATTER: u64 = 0x9E37_79B1;
/// Above every guild's id, for that is its everyone role's.
const ROLES_FROM: u64 = 1 << 40;
const CHANNELS_FROM: u64 = 1 << 41;
