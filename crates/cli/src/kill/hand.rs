//! One client of the child: what it asks for, one operation after the other, on things that no other client touches.
//!
//! Two processes go through the same hand: the one that is killed asks for its operations, the one that checks goes through them again by
//! the lines that were written. So a hand draws from its seed and from what it was told of its own operations alone.

use std::collections::BTreeSet;

use guildhall_proto::{
    Channel, ChannelId, ChannelKind, ClientId, Command, GuildId, MemberEdit, MemberFlags, Name, NewMember, Nick,
    Permissions, PruneBy, Reason, Role, RoleEdit, RoleId, UserId,
};

use super::things::{Places, Things, apply};
use crate::random::Random;

/// Which hand: of which child of a directory, and which of its.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct HandId {
    pub(super) round: u64,
    pub(super) number: u64,
}

/// What a hand asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Step {
    /// Counted from 1.
    pub(super) number: u64,
    pub(super) guild: GuildId,
    pub(super) command: Command,
}

/// One client.
#[derive(Debug)]
pub(super) struct Hand {
    pub(super) id: HandId,
    work: Work,
    random: Random,
    places: Places,
    steps: u64,
    /// Ids given to things so far.
    things: u64,
    /// Blocks of members that were imported, and not pruned since.
    block: Option<Vec<UserId>>,
    /// The step that is not answered yet.
    pending: Option<Step>,
}

/// What a hand does.
#[derive(Debug, Clone, Copy)]
enum Work {
    /// It works in one guild, which outlives it.
    In(GuildId),
    /// It founds guilds and deletes them.
    Mayflies,
}

impl HandId {
    /// All of one round.
    pub(super) fn all(round: u64) -> impl Iterator<Item = Self> {
        (0..HANDS).map(move |number| Self { round, number })
    }

    pub(super) fn client(self) -> ClientId {
        ClientId::new(1 + self.nth()).expect("it is above zero and far below the highest number")
    }

    /// The first of the ids of its users, roles and channels.
    fn first_id(self) -> u64 {
        (1 + self.nth()) * IDS
    }

    fn nth(self) -> u64 {
        self.round * HANDS + self.number
    }

    /// Whose the id of a user, role or channel is. `None` for what no hand has made.
    pub(super) fn of(id: u64) -> Option<Self> {
        let nth = (id / IDS).checked_sub(1)?;
        Some(Self { round: nth / HANDS, number: nth % HANDS })
    }
}

impl Hand {
    pub(super) fn new(seed: u64, id: HandId) -> Self {
        let guild = |number| Work::In(GuildId::new(1 + number).expect("it is above zero"));
        let work = match id.number {
            number @ 0..HANDS_AWAKE => guild(number % GUILDS_AWAKE),
            number if number + 1 < HANDS => guild(GUILDS_AWAKE + number % (GUILDS - GUILDS_AWAKE)),
            _ => Work::Mayflies,
        };
        let mut places = Places::new();
        if let Work::In(guild) = work {
            places.insert(guild, Some(Things::default()));
        }
        let random = Random::new(seed, id.first_id());
        Self { id, work, random, places, steps: 0, things: 0, block: None, pending: None }
    }

    /// What is there when all steps that were answered are applied.
    pub(super) fn places(&self) -> &Places {
        &self.places
    }

    /// The step that is not answered yet.
    pub(super) fn pending(&self) -> Option<&Step> {
        self.pending.as_ref()
    }

    /// What is there when the pending step is applied too.
    pub(super) fn places_after(&self) -> Places {
        let mut after = self.places.clone();
        if let Some(Step { guild, command, .. }) = &self.pending {
            apply(&mut after, *guild, command);
        }
        after
    }

    /// Whether it makes pauses, so that its guild can fall asleep.
    pub(super) fn is_leisurely(&self) -> bool {
        matches!(self.work, Work::In(guild) if guild.get() > GUILDS_AWAKE)
    }

    /// What it asks for next. The step before must have been answered.
    pub(super) fn next(&mut self) -> Step {
        debug_assert!(self.pending.is_none(), "one at a time");
        self.steps += 1;
        let (guild, command) = match self.work {
            Work::In(guild) => (guild, self.act(guild)),
            Work::Mayflies => self.live_briefly(),
        };
        let step = Step { number: self.steps, guild, command };
        self.pending = Some(step.clone());
        step
    }

    /// The step was answered, and is applied.
    pub(super) fn answered(&mut self) {
        self.places = self.places_after();
        self.pending = None;
    }

    fn act(&mut self, guild: GuildId) -> Command {
        let things = self.places.get(&guild).and_then(Option::as_ref).cloned().unwrap_or_default();
        let chance = self.random.below(100);
        let user = self.single();
        let is_member = things.members.contains_key(&user);
        let is_banned = things.bans.contains(&user);
        match chance {
            0..6 => match self.block.take() {
                None => {
                    let size = 50 + self.random.below(750);
                    let users: Vec<UserId> =
                        (0..size).map(|_| self.fresh()).filter_map(|id| UserId::new(id).ok()).collect();
                    self.block = Some(users.clone());
                    Command::ImportMembers(users.into_iter().map(|user| self.newcomer(user, &things)).collect())
                }
                Some(users) => Command::PruneMembers(PruneBy::Absent(users)),
            },
            6..12 if things.roles.len() < 3 => Command::CreateRole(self.role()),
            6..10 => Command::DeleteRole { role: *things.roles.keys().next().expect("there are three") },
            10..16 => match things.roles.keys().next() {
                Some(role) => {
                    let edit = RoleEdit { name: Some(self.name("renamed")), ..RoleEdit::default() };
                    Command::UpdateRole { role: *role, edit }
                }
                None => Command::CreateRole(self.role()),
            },
            16..22 if things.channels.len() < 2 => {
                Command::CreateChannel { channel: self.channel(), overwrites: Vec::new() }
            }
            16..22 => Command::DeleteChannel { channel: *things.channels.keys().next().expect("there are two") },
            22..30 if is_banned => Command::Unban { user },
            22..30 => Command::Ban { user, reason: Reason::parse("load").ok() },
            _ if is_banned => Command::Unban { user },
            _ if !is_member => Command::AddMember(self.newcomer(user, &things)),
            30..45 => Command::RemoveMember { user },
            _ => {
                let edit = MemberEdit { nick: Some(self.nick()), roles: Some(self.some_roles(&things)), flags: None };
                Command::UpdateMember { user, edit }
            }
        }
    }

    /// Founds a guild, has some members join it, deletes it, and so on.
    fn live_briefly(&mut self) -> (GuildId, Command) {
        let last = self.places.last_key_value().map(|(guild, things)| (*guild, things.clone()));
        if let Some((guild, Some(things))) = last {
            if things.members.len() > 3 {
                return (guild, Command::DeleteGuild);
            }
            let user = UserId::new(self.fresh()).expect("its ids are above zero");
            return (guild, Command::AddMember(self.newcomer(user, &things)));
        }
        let guild = GuildId::new(self.fresh()).expect("its ids are above zero");
        let user = UserId::new(self.fresh()).expect("its ids are above zero");
        let owner = self.newcomer(user, &Things::default());
        (guild, Command::CreateGuild { name: self.name("mayfly"), everyone: Permissions::VIEW_CHANNEL, owner })
    }

    fn newcomer(&mut self, user: UserId, things: &Things) -> NewMember {
        NewMember { user, nick: self.nick(), roles: self.some_roles(things), flags: MemberFlags::NONE }
    }

    /// One of its few users that come and go.
    fn single(&mut self) -> UserId {
        UserId::new(self.id.first_id() + self.random.below(SINGLES)).expect("its ids are above zero")
    }

    fn fresh(&mut self) -> u64 {
        self.things += 1;
        self.id.first_id() + SINGLES + self.things
    }

    fn role(&mut self) -> Role {
        let id = RoleId::new(self.fresh()).expect("its ids are above zero");
        let permissions = Permissions::SEND_MESSAGES;
        Role { id, name: self.name("role"), position: 1, permissions, hoist: false, mentionable: false }
    }

    fn channel(&mut self) -> Channel {
        let id = ChannelId::new(self.fresh()).expect("its ids are above zero");
        Channel { id, name: self.name("channel"), kind: ChannelKind::Text, parent: None, position: 0 }
    }

    fn some_roles(&mut self, things: &Things) -> Vec<RoleId> {
        let roles: BTreeSet<RoleId> = things.roles.keys().copied().filter(|_| self.random.below(2) == 0).collect();
        roles.into_iter().collect()
    }

    /// A name that nobody had before.
    fn name(&mut self, kind: &str) -> Name {
        Name::parse(&format!("{kind} {}", self.random.draw())).expect("letters and digits are a name")
    }

    fn nick(&mut self) -> Nick {
        Nick::parse(&format!("n{}", self.random.draw())).expect("letters and digits are a nick")
    }
}

/// The guilds that outlive every child: the first ones with sessions.
pub(super) fn guilds() -> Vec<GuildId> {
    (1..=GUILDS).map(|guild| GuildId::new(guild).expect("it is above zero")).collect()
}

/// Guilds that outlive every child.
const GUILDS: u64 = 6;
/// Of them so many, the first ones, with sessions; the others fall asleep.
pub(super) const GUILDS_AWAKE: u64 = 2;
/// Hands in the guilds with sessions.
const HANDS_AWAKE: u64 = 8 * GUILDS_AWAKE;
/// Hands of a child: two in each of the other guilds, and one for guilds that come and go.
const HANDS: u64 = HANDS_AWAKE + 2 * (GUILDS - GUILDS_AWAKE) + 1;
/// Users of a hand that come and go.
const SINGLES: u64 = 24;
/// Ids that a hand may give.
const IDS: u64 = 1_000_000_000;
