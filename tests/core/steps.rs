//! What may happen next, out of one number: so that a history is a list of numbers, made fast, shortened freely, replayed exactly.

use guildhall_proto::{
    Actor, Channel, ChannelEdit, ChannelId, ChannelKind, Command, GuildEdit, GuildId, Level, MemberEdit, MemberFlags,
    Mentions, Millis, Name, NewMember, Nick, Overwrite, OverwriteTarget, Payload, Permissions, PruneBy, Publish,
    Reason, Role, RoleEdit, RoleId, SessionId, Status, UserId,
};

use crate::model::Hearing;

pub(crate) const GUILD: u64 = 1;

/// One thing that happens. Numbers that pick among what is there are taken modulo how much is there.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    /// A command comes to the owner.
    Command(Actor, Command),
    /// The same from the author's own session, whichever that is.
    PublishFrom {
        nth: usize,
        publish: Publish,
    },
    /// The owner carries on with a whole-guild change that it has begun.
    Proceed,
    /// A command comes again.
    Retry(usize),
    /// A session is cut off.
    Cut {
        nth: usize,
    },
    /// One that was cut off comes back, perhaps twice at once.
    Resume {
        nth: usize,
        hearing: Hearing,
        relay: usize,
        way: Way,
        twice: bool,
    },
    /// A new session attaches, for a user, at a relay.
    Attach {
        user: UserId,
        hearing: Hearing,
        relay: usize,
        way: Way,
        members: bool,
    },
    /// One of the attached sessions asks for something.
    SetStatus {
        nth: usize,
        status: Status,
    },
    SetLevel {
        nth: usize,
        level: Level,
    },
    Detach {
        nth: usize,
    },
    /// A session that was never attached.
    DetachUnknown,
    /// The owner's turn ends.
    EndTurn,
    /// The store has stored a turn's records; mostly the first that waits.
    Settle {
        nth: usize,
    },
    /// The owner would end here, with so many turns stored that nobody has heard of; the next one answers a stored command.
    Recover {
        turns: usize,
        nth: usize,
    },
    /// The fold under way is done.
    Fold,
    /// An accepted attach or detach reaches its relay.
    Deliver {
        nth: usize,
    },
    /// A relay applies events.
    Apply {
        relay: usize,
        events: usize,
    },
    /// Somebody types, or would.
    Type {
        user: UserId,
        channel: ChannelId,
    },
    /// A relay takes what is told beside the events.
    Tell {
        relay: usize,
        max: usize,
    },
    /// Time passes for a relay.
    Tick {
        relay: usize,
        ms: u64,
    },
    /// The ring of the owner, or those of a relay, may hold next to nothing from now on, or what they could before.
    Squeeze {
        relay: Option<usize>,
        is_squeezed: bool,
    },
    /// A relay starts again from the published view.
    Resync {
        relay: usize,
    },
    /// A relay is lost with its sessions; another takes its place.
    Replace {
        relay: usize,
    },
    /// A stream session reads.
    Read {
        nth: usize,
        max: usize,
        waits: bool,
    },
    /// A relay's batch consumer reads.
    ReadBatch {
        relay: usize,
        fills: bool,
        max: usize,
    },
}

/// How a session hears.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    Stream,
    Batch,
}

/// Small numbers out of one large one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        let rolled = self.0 % bound as u64;
        self.0 /= bound as u64;
        usize::try_from(rolled).unwrap()
    }

    pub(crate) fn one_in(&mut self, bound: usize) -> bool {
        self.below(bound) == 0
    }

    pub(crate) fn user(&mut self) -> UserId {
        user(self.below(USERS))
    }

    /// One of the few who may be banned, and so are let in again now and then.
    fn suspect(&mut self) -> UserId {
        user(5 + self.below(5))
    }

    pub(crate) fn channel(&mut self) -> ChannelId {
        channel_id(self.below(CHANNELS))
    }

    fn role(&mut self) -> RoleId {
        match self.below(ROLES + 1) {
            ROLES => RoleId::everyone(GuildId::new(GUILD).unwrap()),
            nth => role_id(nth),
        }
    }

    fn roles(&mut self) -> Vec<RoleId> {
        let mask = self.below(1 << ROLES) & self.below(1 << ROLES);
        (0..ROLES).filter(|nth| mask >> nth & 1 == 1).map(role_id).collect()
    }

    fn permissions(&mut self) -> Permissions {
        PERMISSIONS[self.below(PERMISSIONS.len())]
    }

    fn target(&mut self) -> OverwriteTarget {
        if self.one_in(2) { OverwriteTarget::Role(self.role()) } else { OverwriteTarget::User(self.user()) }
    }

    /// Mostly about who sees the channel.
    fn overwrite(&mut self) -> Overwrite {
        let target = self.target();
        let (allow, deny) = match self.below(6) {
            0 | 1 => (Permissions::VIEW_CHANNEL, Permissions::NONE),
            2 | 3 => (Permissions::NONE, Permissions::VIEW_CHANNEL),
            _ => (self.permissions(), self.permissions()),
        };
        Overwrite { target, allow, deny }
    }

    fn status(&mut self) -> Status {
        [Status::Offline, Status::Idle, Status::DoNotDisturb, Status::Online][self.below(4)]
    }

    fn level(&mut self) -> Level {
        if self.one_in(2) { Level::Active } else { Level::Passive }
    }

    fn nick(&mut self) -> Nick {
        Nick::parse(["Ada", "adam", "Bob", "BOBBY", "Eve", "Ünal"][self.below(6)]).unwrap()
    }

    fn name(&mut self) -> Name {
        name(["one", "two"][self.below(2)])
    }
}

impl Step {
    pub(crate) fn of(word: u64) -> Self {
        let mut dice = Dice(word);
        match dice.below(100) {
            0..27 => {
                let actor = if dice.one_in(3) { Actor::User(dice.user()) } else { Actor::System };
                Self::Command(actor, command(&mut dice))
            }
            28..40 => {
                let publish = publish(&mut dice);
                match dice.below(3) {
                    0 => Self::Command(Actor::System, Command::Publish(publish)),
                    1 => Self::Command(Actor::User(dice.user()), Command::Publish(publish)),
                    _ => Self::PublishFrom { nth: dice.below(1_000), publish },
                }
            }
            40..42 => Self::Retry(dice.below(1_000)),
            46 if dice.one_in(2) => Self::Cut { nth: dice.below(1_000) },
            27 | 47 => {
                let (nth, relay) = (dice.below(1_000), dice.below(1_000));
                let hearing = Hearing { level: dice.level(), status: dice.status() };
                let way = if dice.one_in(2) { Way::Stream } else { Way::Batch };
                Self::Resume { nth, hearing, relay, way, twice: dice.one_in(3) }
            }
            42..47 => {
                let (user, status, relay) = (dice.user(), dice.status(), dice.below(1_000));
                let way = if dice.one_in(2) { Way::Stream } else { Way::Batch };
                let members = dice.one_in(3);
                let hearing = Hearing { level: dice.level(), status };
                Self::Attach { user, hearing, relay, way, members }
            }
            48 => Self::SetStatus { nth: dice.below(1_000), status: dice.status() },
            49 => match dice.below(4) {
                0 => Self::DetachUnknown,
                _ => Self::Detach { nth: dice.below(1_000) },
            },
            50 | 51 => Self::SetLevel { nth: dice.below(1_000), level: dice.level() },
            52 => Self::Proceed,
            53 => Self::Type { user: dice.user(), channel: dice.channel() },
            54 => Self::EndTurn,
            55..63 => Self::Settle { nth: if dice.one_in(8) { dice.below(3) } else { 0 } },
            63..66 => Self::Fold,
            66..72 => Self::Deliver { nth: dice.below(1_000) },
            72 => match dice.below(6) {
                0 => {
                    let relay = (!dice.one_in(3)).then(|| dice.below(1_000));
                    Self::Squeeze { relay, is_squeezed: dice.one_in(3) }
                }
                1 => Self::Recover { turns: dice.below(4), nth: dice.below(1_000) },
                _ => Self::Tick { relay: dice.below(1_000), ms: dice.below(5) as u64 * 1_500 },
            },
            73 | 74 => Self::Tell { relay: dice.below(1_000), max: 1 + dice.below(8) },
            75..83 => Self::Apply { relay: dice.below(1_000), events: 1 + dice.below(6) },
            83 => match dice.below(8) {
                0 => Self::Replace { relay: dice.below(1_000) },
                1 | 2 => Self::Resync { relay: dice.below(1_000) },
                _ => Self::Apply { relay: dice.below(1_000), events: 20 },
            },
            84..93 => Self::Read { nth: dice.below(1_000), max: 1 + dice.below(4), waits: !dice.one_in(8) },
            _ => Self::ReadBatch { relay: dice.below(1_000), fills: !dice.one_in(5), max: 1 + dice.below(8) },
        }
    }
}

fn command(dice: &mut Dice) -> Command {
    match dice.below(36) {
        0 => Command::UpdateGuild(GuildEdit { name: Some(dice.name()) }),
        1 => match dice.below(20) {
            0 => Command::DeleteGuild,
            _ => Command::TransferOwnership { to: dice.user() },
        },
        2..4 => Command::CreateRole(new_role(dice)),
        4..7 => {
            let (role, permissions) = (dice.role(), Some(dice.permissions()));
            let mentionable = dice.one_in(6).then(|| dice.one_in(2));
            Command::UpdateRole { role, edit: RoleEdit { permissions, mentionable, ..RoleEdit::default() } }
        }
        7 => Command::DeleteRole { role: dice.role() },
        8 => {
            let positions = (0..1 + dice.below(2)).map(|_| (dice.role(), position(dice))).collect();
            Command::ReorderRoles { positions }
        }
        9 => {
            let overwrites = (0..dice.below(3)).map(|_| dice.overwrite()).collect();
            Command::CreateChannel { channel: new_channel(dice), overwrites }
        }
        10 => {
            let (channel, parent) = (dice.channel(), dice.one_in(2).then(|| dice.channel()));
            let edit = match dice.below(3) {
                0 => ChannelEdit { name: Some(dice.name()), parent: None },
                _ => ChannelEdit { name: None, parent: Some(parent) },
            };
            Command::UpdateChannel { channel, edit }
        }
        11 => Command::DeleteChannel { channel: dice.channel() },
        12 => {
            let positions = (0..1 + dice.below(3)).map(|_| (dice.channel(), position(dice))).collect();
            Command::ReorderChannels { positions }
        }
        13..19 => Command::SetOverwrite { channel: dice.channel(), overwrite: dice.overwrite() },
        19 => Command::RemoveOverwrite { channel: dice.channel(), target: dice.target() },
        20..25 => Command::AddMember(new_member(dice)),
        25..30 => {
            let user = dice.user();
            let edit = match dice.below(4) {
                0 => MemberEdit { nick: Some(dice.nick()), ..MemberEdit::default() },
                1 => MemberEdit { flags: Some(MemberFlags(7)), nick: Some(dice.nick()), roles: None },
                _ => MemberEdit { roles: Some(dice.roles()), ..MemberEdit::default() },
            };
            Command::UpdateMember { user, edit }
        }
        30 | 31 => Command::RemoveMember { user: dice.user() },
        32 => {
            let reason = dice.one_in(2).then(|| Reason::parse("spam").unwrap());
            Command::Ban { user: dice.suspect(), reason }
        }
        33 => Command::Unban { user: dice.suspect() },
        34 => Command::PruneMembers(match dice.below(8) {
            0 => PruneBy::Role(dice.role()),
            1 => PruneBy::Idle { joined_before: Millis(1_700_000_000_000 + dice.below(400) as u64) },
            _ => PruneBy::Absent((0..1 + dice.below(3)).map(|_| dice.user()).collect()),
        }),
        _ => {
            let mut lines: Vec<NewMember> = (0..1 + dice.below(4)).map(|_| new_member(dice)).collect();
            // A line that repeats a user is tried beside the guild; here it would hide what is behind it.
            lines.sort_by_key(|line| line.user);
            lines.dedup_by_key(|line| line.user);
            Command::ImportMembers(lines)
        }
    }
}

fn publish(dice: &mut Dice) -> Publish {
    let channel = dice.channel();
    let mut mentions = Mentions::default();
    match dice.below(8) {
        0 => mentions.users = vec![dice.user(), dice.user()],
        1 => mentions.roles = vec![dice.role()],
        2 => mentions.everyone = true,
        3 => mentions.here = true,
        _ => {}
    }
    Publish { channel, payload: Payload::default(), mentions, session: None, echo: dice.one_in(2) }
}

/// What every history begins with: a guild in which most things are possible.
pub(crate) fn opening(setting: u64) -> Vec<Command> {
    let mut dice = Dice(setting);
    let everyone = Permissions::VIEW_CHANNEL | Permissions::SEND_MESSAGES | Permissions::CHANGE_NICKNAME;
    let owner = NewMember { user: user(0), nick: dice.nick(), roles: vec![], flags: MemberFlags::NONE };
    let mut commands = vec![Command::CreateGuild { name: name("one"), everyone, owner }];
    for nth in 0..ROLES {
        let (name, permissions) = (name("role"), PERMISSIONS[dice.below(PERMISSIONS.len())]);
        let position = u16::try_from(1 + nth).unwrap();
        let role = Role { id: role_id(nth), name, position, permissions, hoist: false, mentionable: nth % 2 == 0 };
        commands.push(Command::CreateRole(role));
    }
    for nth in 1..USERS * 2 / 3 {
        let roles = Dice(setting.rotate_left(7) ^ (nth as u64 * 77)).roles();
        commands.push(Command::AddMember(NewMember {
            user: user(nth),
            nick: dice.nick(),
            roles,
            flags: MemberFlags::NONE,
        }));
    }
    for nth in 0..CHANNELS {
        let kind = if nth == 0 { ChannelKind::Category } else { ChannelKind::Text };
        let channel = Channel { id: channel_id(nth), name: name("channel"), kind, parent: None, position: 0 };
        commands.push(Command::CreateChannel { channel, overwrites: vec![] });
    }
    commands
}

fn new_member(dice: &mut Dice) -> NewMember {
    NewMember { user: dice.user(), nick: dice.nick(), roles: dice.roles(), flags: MemberFlags::NONE }
}

fn new_role(dice: &mut Dice) -> Role {
    let (id, position, permissions) = (dice.role(), position(dice), dice.permissions());
    Role { id, name: dice.name(), position, permissions, hoist: false, mentionable: dice.one_in(2) }
}

fn new_channel(dice: &mut Dice) -> Channel {
    let (id, position) = (dice.channel(), position(dice));
    let kind = if dice.one_in(4) { ChannelKind::Category } else { ChannelKind::Text };
    let parent = dice.one_in(3).then(|| dice.channel());
    Channel { id, name: dice.name(), kind, parent, position }
}

fn position(dice: &mut Dice) -> u16 {
    u16::try_from(dice.below(7)).unwrap()
}

pub(crate) fn user(nth: usize) -> UserId {
    UserId::new(100 + nth as u64).unwrap()
}

fn role_id(nth: usize) -> RoleId {
    RoleId::new(50 + nth as u64).unwrap()
}

fn channel_id(nth: usize) -> ChannelId {
    ChannelId::new(70 + nth as u64).unwrap()
}

pub(crate) fn session_id(nth: usize) -> SessionId {
    SessionId::new(1_000 + nth as u64).unwrap()
}

fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

/// Users that may ever be members.
pub(crate) const USERS: usize = 14;
const ROLES: usize = 5;
const CHANNELS: usize = 5;
const PERMISSIONS: &[Permissions] = &[
    Permissions::NONE,
    Permissions::VIEW_CHANNEL,
    Permissions::VIEW_CHANNEL,
    Permissions::SEND_MESSAGES,
    Permissions::MANAGE_ROLES,
    Permissions::MANAGE_CHANNELS,
    Permissions::ADMINISTRATOR,
    Permissions::MENTION_EVERYONE,
    Permissions::MANAGE_NICKNAMES,
    Permissions::KICK_MEMBERS,
    Permissions::MANAGE_GUILD,
];
