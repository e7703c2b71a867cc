//! What the guilds are asked: commands of the system, most of which are possible.

use guildhall_proto::{
    Channel, ChannelId, ChannelKind, Command, GuildEdit, MemberEdit, MemberFlags, Mentions, Name, NewMember, Nick,
    Overwrite, OverwriteTarget, Payload, Permissions, PruneBy, Publish, Reason, Role, RoleEdit, RoleId, UserId,
};

use crate::model::{Community, Life, Model};

/// Numbers from a seed: SplitMix64, as published by Steele, Lea and Flood (2014).
#[derive(Debug)]
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    pub(crate) fn one_in(&mut self, bound: u64) -> bool {
        self.below(bound) == 0
    }

    /// One of those there, or now and then one that may not be.
    pub(crate) fn index(&mut self, len: usize) -> Option<usize> {
        let len = len as u64;
        (len > 0).then(|| usize::try_from(self.below(len)).unwrap())
    }

    fn user(&mut self) -> UserId {
        user(1 + self.below(USERS))
    }

    /// Mostly one that is there.
    fn member(&mut self, community: &Community) -> UserId {
        if self.one_in(8) {
            return self.user();
        }
        let nth = self.index(community.members.len()).unwrap();
        *community.members.keys().nth(nth).unwrap()
    }

    fn permissions(&mut self) -> Permissions {
        [Permissions::NONE, Permissions::VIEW_CHANNEL, Permissions::SEND_MESSAGES, Permissions::MANAGE_ROLES]
            [self.below(4) as usize]
    }

    fn nick(&mut self) -> Nick {
        Nick::parse(&format!("n{}", self.below(1_000))).unwrap()
    }

    fn role(&mut self, community: &Community) -> RoleId {
        let nth = self.index(community.roles.len()).unwrap();
        *community.roles.keys().nth(nth).unwrap()
    }

    /// None, or one that is there; now and then one that nobody can hold.
    fn roles(&mut self, community: &Community) -> Vec<RoleId> {
        let role = self.role(community);
        if role == community.everyone && !self.one_in(10) || self.one_in(3) { vec![] } else { vec![role] }
    }

    fn channel(&mut self, community: &Community) -> ChannelId {
        let nth = self.index(community.channels.len());
        nth.map_or(ChannelId::MIN, |nth| *community.channels.keys().nth(nth).unwrap())
    }

    fn new_member(&mut self, community: &Community) -> NewMember {
        NewMember {
            user: self.user(),
            nick: self.nick(),
            roles: self.roles(community),
            flags: MemberFlags(self.below(3) as u16),
        }
    }
}

/// The next command for a guild. `fresh` is a number that no command before had.
pub(crate) fn command(dice: &mut Dice, model: &Model, fresh: u64) -> Command {
    let community = match &model.life {
        Life::Alive(community) if !dice.one_in(400) => community,
        Life::Alive(_) if dice.one_in(4) => return Command::DeleteGuild,
        Life::Alive(_) | Life::Uncreated | Life::Deleted => return create(dice),
    };
    match dice.below(40) {
        0 => Command::UpdateGuild(GuildEdit { name: Some(name(fresh)) }),
        1 => Command::TransferOwnership { to: dice.member(community) },
        2 | 3 => Command::CreateRole(Role {
            id: RoleId::new(ROLES_FROM + fresh).unwrap(),
            name: name(fresh),
            position: 1 + u16::try_from(dice.below(5)).unwrap(),
            permissions: dice.permissions(),
            hoist: false,
            mentionable: false,
        }),
        4 => {
            let edit = RoleEdit { permissions: Some(dice.permissions()), ..RoleEdit::default() };
            Command::UpdateRole { role: dice.role(community), edit }
        }
        5 if dice.one_in(2) => Command::DeleteRole { role: dice.role(community) },
        5 | 6 => {
            let id = ChannelId::new(1_000 + fresh).unwrap();
            let channel = Channel { id, name: name(fresh), kind: ChannelKind::Text, parent: None, position: 0 };
            Command::CreateChannel { channel, overwrites: vec![] }
        }
        7 if dice.one_in(3) => Command::DeleteChannel { channel: dice.channel(community) },
        7 | 8 => {
            let target = match dice.one_in(2) {
                true => OverwriteTarget::Role(dice.role(community)),
                false => OverwriteTarget::User(dice.member(community)),
            };
            let overwrite = Overwrite { target, allow: dice.permissions(), deny: Permissions::NONE };
            Command::SetOverwrite { channel: dice.channel(community), overwrite }
        }
        9..17 => Command::AddMember(dice.new_member(community)),
        17..24 => {
            let edit = match dice.one_in(2) {
                true => MemberEdit { nick: Some(dice.nick()), ..MemberEdit::default() },
                false => MemberEdit { roles: Some(dice.roles(community)), ..MemberEdit::default() },
            };
            Command::UpdateMember { user: dice.member(community), edit }
        }
        24 | 25 => Command::RemoveMember { user: dice.member(community) },
        26 => Command::Ban {
            user: dice.member(community),
            reason: dice.one_in(2).then(|| Reason::parse("spam").unwrap()),
        },
        27 => {
            let nth = dice.index(community.bans.len());
            Command::Unban { user: nth.map_or_else(|| dice.user(), |nth| *community.bans.keys().nth(nth).unwrap()) }
        }
        28 | 29 => import(dice, community),
        30 => Command::PruneMembers(match dice.below(4) {
            0 | 1 => PruneBy::Absent(crowd(dice)),
            _ => PruneBy::Role(dice.role(community)),
        }),
        _ => {
            let channel = dice.channel(community);
            let (payload, mentions) = (Payload::default(), Mentions::default());
            Command::Publish(Publish { channel, payload, mentions, session: None, echo: false })
        }
    }
}

/// Whether a command is carried out by and by.
pub(crate) fn is_spread(command: &Command) -> bool {
    matches!(command, Command::PruneMembers(_) | Command::ImportMembers(_))
}

fn create(dice: &mut Dice) -> Command {
    let owner = NewMember { user: user(1), nick: dice.nick(), roles: vec![], flags: MemberFlags::NONE };
    let everyone = Permissions::VIEW_CHANNEL | Permissions::SEND_MESSAGES;
    Command::CreateGuild { name: name(0), everyone, owner }
}

/// Of up to three batches.
fn import(dice: &mut Dice, community: &Community) -> Command {
    let (roles, nick) = (dice.roles(community), dice.nick());
    let line = |user| NewMember { user, nick: nick.clone(), roles: roles.clone(), flags: MemberFlags::NONE };
    Command::ImportMembers(crowd(dice).into_iter().map(line).collect())
}

/// Users who come and go together: mostly a few, sometimes enough for two or three batches.
fn crowd(dice: &mut Dice) -> Vec<UserId> {
    let n = if dice.one_in(3) { 257 + dice.below(300) } else { 1 + dice.below(20) };
    let first = CROWD_FROM + dice.below(200);
    (first..first + n).map(user).collect()
}

fn user(number: u64) -> UserId {
    UserId::new(number).unwrap()
}

fn name(number: u64) -> Name {
    Name::parse(&format!("name {number}")).unwrap()
}

/// Users that come one by one.
const USERS: u64 = 100;
/// The first of those that come in crowds.
const CROWD_FROM: u64 = 1_000;
/// Above every guild's id, for that is its everyone role's.
const ROLES_FROM: u64 = 10_000;
