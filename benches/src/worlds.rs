//! Guilds to measure on: large, and shaped like real ones.
//!
//! Everything follows from a seed, so that two runs measure the same guild.

use guildhall_guild::{Call, CallId, Effect, Guild, GuildConfig, Input, Operation};
use guildhall_members::{Members, MembersConfig, View};
use guildhall_permissions::Rights;
use guildhall_proto::{
    Actor, Channel, ChannelId, ChannelKind, ClientId, Command, Epoch, EventKind, GuildId, GuildSettings, Member,
    MemberFlags, Millis, Name, NewMember, Nick, OpId, Overwrite, OverwriteTarget, Permissions, Position, Role, RoleId,
    Status, UserId,
};

/// Roles of a large guild, beside everyone.
pub const ROLES: u64 = 250;
/// Channels of a large guild.
pub const CHANNELS: u64 = 100;
/// Distinct role sets among the members of a large guild.
pub const ROLE_SETS: u64 = 40_000;
/// The time at which everything happens.
pub const NOW: Millis = Millis(1_700_000_000_000);

/// SplitMix64 (Steele, Lea, Flood 2014): random enough to spread ids, and the same everywhere.
#[derive(Debug, Clone)]
pub struct Random(pub u64);

impl Random {
    /// The next number.
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        bits ^ (bits >> 31)
    }

    /// A number from 0 up to, but not with, 1.
    pub fn unit(&mut self) -> f64 {
        (self.draw() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// A number below `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.draw() % bound
    }
}

/// The guild of every world.
pub fn guild_id() -> GuildId {
    GuildId::new(1).expect("1 is an id")
}

/// The `number`th member, 0 for the owner: snowflakes, ascending with uneven gaps.
pub fn user(number: u64) -> UserId {
    let spread = Random(number).draw() % 1_000;
    UserId::new((1 << 40) + number * 1_000 + spread).expect("far from both ends")
}

/// The `number`th role.
pub fn role(number: u64) -> RoleId {
    RoleId::new((1 << 30) + number).expect("far from both ends")
}

/// The `number`th channel.
pub fn channel(number: u64) -> ChannelId {
    ChannelId::new((1 << 20) + number).expect("far from both ends")
}

/// A nick of twelve bytes. Nicks are in another order than their numbers, as they are than users' ids.
pub fn nick(number: u64) -> Nick {
    let letters = Random(number).draw() >> 32;
    Nick::parse(&format!("nick{letters:08x}")).expect("twelve letters are a nick")
}

/// 250 roles, and 100 channels: every second is hidden from everyone and shown to four roles and two users, every fourth hidden from two
/// roles that few hold and shown to two users.
pub fn rights() -> Rights {
    let settings = GuildSettings { name: name(), owner: user(0) };
    let everyone = Permissions::VIEW_CHANNEL | Permissions::SEND_MESSAGES;
    let mut rights = Rights::new(guild_id(), settings, Rights::everyone_role(guild_id(), everyone));
    for role in roles() {
        rights.apply(&EventKind::RoleCreated { role });
    }
    for (channel, overwrites) in channels() {
        rights.apply(&EventKind::ChannelCreated { channel, overwrites });
    }
    rights
}

/// Four roles of 250: one of [`ROLE_SETS`] sets, of which a few are most members' and most are few members'.
pub fn zipf_roles(random: &mut Random) -> Vec<RoleId> {
    let set = (ROLE_SETS as f64 * random.unit().powi(3)) as u64;
    let mut of_set = Random(set);
    let mut roles: Vec<RoleId> = Vec::with_capacity(4);
    while roles.len() < 4 {
        // The square of a uniform number leans to the low ranks.
        let drawn = role((ROLES as f64 * of_set.unit().powi(2)) as u64);
        if !roles.contains(&drawn) {
            roles.push(drawn);
        }
    }
    roles.sort_unstable();
    roles
}

/// Four roles of 250, any: nearly every member of a large guild then has a role set of its own.
pub fn random_roles(random: &mut Random) -> Vec<RoleId> {
    let mut roles: Vec<RoleId> = Vec::with_capacity(4);
    while roles.len() < 4 {
        let drawn = role(random.below(ROLES));
        if !roles.contains(&drawn) {
            roles.push(drawn);
        }
    }
    roles.sort_unstable();
    roles
}

/// Cohorts of sessions to deliver to.
pub const COHORTS: u64 = 1_000;

/// The roles that sessions' cohorts are made of.
pub const COHORT_ROLES: u64 = 80;

/// Two roles of the first 64: a role set of its own for each cohort.
pub fn cohort_roles(number: u64) -> Vec<RoleId> {
    let cohort = number % COHORTS;
    vec![role(cohort % 32), role(32 + cohort / 32)]
}

/// A member store of `count` members in few role sets, three in ten of them online, with nothing left to fold.
pub fn members(count: u64) -> Members {
    members_with(count, zipf_roles)
}

/// The same with roles drawn otherwise.
pub fn members_with(count: u64, draw_roles: fn(&mut Random) -> Vec<RoleId>) -> Members {
    let mut members = Members::new(MembersConfig::default());
    let mut random = Random(1);
    for number in 0..count {
        let roles = draw_roles(&mut random);
        members.put(&Member {
            user: user(number),
            nick: nick(number),
            roles,
            joined_at: NOW,
            flags: MemberFlags::NONE,
        });
        if members.fold_due() && number % 65_536 == 0 {
            fold(&mut members);
        }
    }
    fold(&mut members);
    for number in 0..count {
        if random.below(10) < 3 {
            members.set_status(user(number), Status::Online);
        }
    }
    fold(&mut members);
    members
}

/// Folds what there is to fold.
pub fn fold(members: &mut Members) {
    if let Some(job) = members.begin_fold() {
        let folded = job.run();
        drop(members.install(folded));
    }
}

/// A view of [`members`].
pub fn view(members: &mut Members) -> View {
    members.view(Position::default(), &rights())
}

/// A guild of `count` members with the roles and channels of [`rights`], driven through its commands.
pub fn guild(count: u64) -> Guild {
    let everyone = Permissions::VIEW_CHANNEL | Permissions::SEND_MESSAGES;
    let owner = NewMember { user: user(0), nick: nick(0), roles: Vec::new(), flags: MemberFlags::NONE };
    let create = Command::CreateGuild { name: name(), everyone, owner };
    let channels = channels().map(|(channel, mut overwrites)| {
        // Users become members below, so their overwrites cannot be set yet.
        overwrites.retain(|overwrite| matches!(overwrite.target, OverwriteTarget::Role(_)));
        Command::CreateChannel { channel, overwrites }
    });
    let foundation = std::iter::once(create).chain(roles().map(Command::CreateRole)).chain(channels).collect();
    let mut random = Random(1);
    filled(&mut Operations::default(), foundation, count, |_| zipf_roles(&mut random))
}

/// A guild that comes of these commands, of which the first creates it, and of members added to its owner up to `count`.
pub fn filled(
    operations: &mut Operations,
    foundation: Vec<Command>,
    count: u64,
    roles_of: impl FnMut(u64) -> Vec<RoleId>,
) -> Guild {
    let mut guild = Guild::new(GuildConfig::default(), guild_id(), Epoch(1));
    foundation.into_iter().for_each(|command| operations.run(&mut guild, command));
    import(operations, &mut guild, 1..count, roles_of);
    guild
}

/// Adds members.
pub fn import(
    operations: &mut Operations,
    guild: &mut Guild,
    numbers: impl IntoIterator<Item = u64>,
    mut roles_of: impl FnMut(u64) -> Vec<RoleId>,
) {
    let numbers: Vec<u64> = numbers.into_iter().collect();
    for numbers in numbers.chunks(10_000) {
        let line = |number: &u64| NewMember {
            user: user(*number),
            nick: nick(*number),
            roles: roles_of(*number),
            flags: MemberFlags::NONE,
        };
        operations.run(guild, Command::ImportMembers(numbers.iter().map(line).collect()));
    }
}

/// Numbers operations, and runs them on a guild as a shell without a store would.
#[derive(Debug, Default)]
pub struct Operations {
    counter: u64,
}

impl Operations {
    /// The next call.
    pub fn call(&mut self, command: Command) -> Call {
        self.counter += 1;
        let client = ClientId::new(1).expect("1 is an id");
        let op = OpId { client, counter: self.counter, issued_at: NOW };
        let operation = Operation::new(op, Actor::System, command).expect("no command here is so large");
        Call { id: CallId(self.counter), operation }
    }

    /// Runs a command that must be accepted, the folds and searches that it asks for, and all its batches.
    pub fn run(&mut self, guild: &mut Guild, command: Command) {
        let mut effects = Vec::new();
        guild.handle(NOW, Input::Command(self.call(command)), &mut effects);
        loop {
            let Some(effect) = effects.pop() else {
                if !guild.has_work() {
                    return;
                }
                guild.proceed(NOW, &mut effects);
                continue;
            };
            match effect {
                Effect::Answer(_, Err(refusal)) => panic!("refused: {refusal}"),
                Effect::Fold(job) => guild.handle(NOW, Input::FoldDone(job.run()), &mut effects),
                Effect::Scan(job) => guild.handle(NOW, Input::ScanDone(job.run()), &mut effects),
                Effect::Answer(_, Ok(_))
                | Effect::Record(_)
                | Effect::Append(_)
                | Effect::Discard(_)
                | Effect::Tell(_)
                | Effect::Checkpoint(_) => {}
            }
        }
    }
}

fn name() -> Name {
    Name::parse("guild").expect("five letters are a name")
}

fn roles() -> impl Iterator<Item = Role> {
    (0..ROLES).map(|number| Role {
        id: role(number),
        name: name(),
        position: u16::try_from(number).expect("250 roles") + 1,
        permissions: Permissions::NONE,
        hoist: false,
        mentionable: false,
    })
}

fn channels() -> impl Iterator<Item = (Channel, Vec<Overwrite>)> {
    (0..CHANNELS).map(|number| {
        let text = Channel { id: channel(number), name: name(), kind: ChannelKind::Text, parent: None, position: 0 };
        let overwrites = match number % 4 {
            1 | 3 => hidden(number),
            2 => shown(number),
            _ => Vec::new(),
        };
        (text, overwrites)
    })
}

/// Hidden from everyone; shown to four roles and two users.
fn hidden(number: u64) -> Vec<Overwrite> {
    let (view, none) = (Permissions::VIEW_CHANNEL, Permissions::NONE);
    let everyone = Overwrite { target: OverwriteTarget::Role(RoleId::everyone(guild_id())), allow: none, deny: view };
    let roles = (0..4).map(|at| OverwriteTarget::Role(role((number + at * 7) % ROLES)));
    let shown = roles.chain(users(number)).map(|target| Overwrite { target, allow: view, deny: none });
    sorted(shown.chain([everyone]))
}

/// Hidden from two roles that few hold; shown to two users whatever they hold.
fn shown(number: u64) -> Vec<Overwrite> {
    let (view, none) = (Permissions::VIEW_CHANNEL, Permissions::NONE);
    let roles = (0..2).map(|at| OverwriteTarget::Role(role(ROLES - 1 - (number + at) % 20)));
    let hidden = roles.map(|target| Overwrite { target, allow: none, deny: view });
    let shown = users(number).map(|target| Overwrite { target, allow: view, deny: none });
    sorted(hidden.chain(shown))
}

fn users(number: u64) -> impl Iterator<Item = OverwriteTarget> {
    (0..2).map(move |at| OverwriteTarget::User(user(number * 10 + at)))
}

fn sorted(overwrites: impl Iterator<Item = Overwrite>) -> Vec<Overwrite> {
    let mut overwrites: Vec<Overwrite> = overwrites.collect();
    overwrites.sort_unstable_by_key(|overwrite| overwrite.target);
    overwrites
}
