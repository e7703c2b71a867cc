//! What the chat backend asks of the world: the communities.
//!
//! A workload is asked again and again what happens next, and answers from its dice and from what a chat backend would [know](Known).
//! It touches nothing; the world carries out what it says ([`Doing`]).
//!
//! | Workload | What it is about |
//! |---|---|
//! | `everyday` | a few talk in few channels, most who listen look elsewhere, now and then somebody comes or goes |
//! | `raid` | thousands join at once and are thrown out again: bans, kicks, prunes |
//! | `roles` | roles created, deleted, reordered, handed about, while messages for their holders are under way |
//! | `doors` | channels made, moved, deleted; overwrites by role and by user |
//! | `sweeps` | imports and prunes of a whole guild, cut in the middle and gone on with |
//! | `bans` | people banned, forgiven, and trying to come back |
//! | `lives` | guilds created, used, deleted, and asked for after that |
//! | `sleepers` | many small guilds, idle for longer than it takes to fall asleep |
//! | `reconnects` | hundreds or thousands of sessions cut at once, back at the same backend or at another |
//! | `laggards` | readers that are slow or stop, small rings, large messages |
//! | `hostile` | operation ids too old, ahead, or another's; what is not there or not theirs; one more than there may be |
//! | `busy` | one client that asks for more than outcomes are kept of, and then again for what it asked first |
//! | `nomads` | guilds that move from node to node, links that end, sessions that come back elsewhere at once |
//! | `mixed` | some of these at a time, in the same guilds, and after a while others |

mod bans;
mod busy;
mod doors;
mod everyday;
mod hostile;
mod laggards;
mod lives;
mod mixed;
mod nomads;
mod raid;
mod reconnects;
mod roles;
mod scene;
mod sleepers;
mod sweeps;
#[cfg(test)]
mod tests;
pub mod town;

use std::cell::Cell;
use std::collections::BTreeMap;

use guildhall_proto::{Actor, ChannelId, Command, GuildId, Level, Millis, SessionId, Status, UserId};

use crate::check::Chronicle;
use crate::dice::Dice;
use crate::model::Community;
use crate::queue::Micros;

pub use scene::Scene;
pub use town::Town;

/// A kind of community, or of trouble with one.
pub trait Workload {
    /// By which it is asked for.
    fn name(&self) -> &'static str;

    /// What it wants the world to be.
    fn setting(&self) -> Setting {
        Setting::default()
    }

    /// Appends what happens now, and says how long it is until this is called again; `None` if nothing more comes.
    fn next(&mut self, now: Millis, dice: &mut Dice, known: &Known<'_>, doings: &mut Vec<Doing>) -> Option<Micros>;
}

/// What a workload wants the world to be; the rest is drawn by the seed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Setting {
    /// Guilds that there may be; none of them exists before it is created.
    pub guilds: usize,
    /// Backends that sessions may be at.
    pub backends: usize,
    /// How long a guild is idle before it falls asleep.
    pub sleep_after: Micros,
    /// Events that a ring holds: of an owner, and of a relay. `None`: as drawn.
    pub ring_events: Option<usize>,
}

impl Default for Setting {
    fn default() -> Self {
        Self { guilds: 3, backends: 2, sleep_after: Micros::seconds(10), ring_events: None }
    }
}

/// One thing that happens.
#[derive(Debug, Clone, PartialEq)]
pub enum Doing {
    /// A command is sent.
    Call {
        /// To which guild.
        guild: GuildId,
        /// On whose behalf.
        actor: Actor,
        /// What.
        command: Command,
        /// Under which id.
        id: CallAs,
    },
    /// One of the latest operations of a guild is sent once more, under its id, whatever became of it.
    Retry {
        /// Of which guild.
        guild: GuildId,
        /// How many operations back; 0 is the latest.
        nth_last: usize,
    },
    /// A new session attaches.
    Attach {
        /// Its id, which no session had before.
        session: SessionId,
        /// To which guild.
        guild: GuildId,
        /// Whose it is.
        user: UserId,
        /// Through which backend.
        backend: usize,
        /// How it hears.
        way: Way,
        /// How closely it listens.
        level: Level,
        /// Whether its user is there.
        status: Status,
        /// Whether it wants to hear of other members.
        members: bool,
    },
    /// A session leaves.
    Detach(SessionId),
    /// Somebody says that a session is theirs, be it or not, and is to leave.
    Evict {
        /// Of which guild.
        guild: GuildId,
        /// Which.
        session: SessionId,
        /// Whose it is said to be.
        user: UserId,
    },
    /// A session's connection breaks.
    Cut(SessionId),
    /// A session comes back: one that was cut, or, as when its secret was stolen or an answer was lost, one that is still there.
    Resume {
        /// Which.
        session: SessionId,
        /// What it shows.
        proof: Proof,
        /// Through which backend.
        backend: usize,
        /// How closely it listens from now on.
        level: Level,
        /// Whether its user is there.
        status: Status,
    },
    /// A session listens in another way.
    SetLevel(SessionId, Level),
    /// A session shows another status.
    SetStatus(SessionId, Status),
    /// How fast a session reads. A batch has one reader for all: the pace of the last session that was told one.
    Pace(SessionId, Pace),
    /// Somebody types.
    Type {
        /// Where.
        guild: GuildId,
        /// Who.
        user: UserId,
        /// In which channel.
        channel: ChannelId,
    },
    /// A member is read, at or after the position of the latest answer of its guild.
    Read {
        /// Where.
        guild: GuildId,
        /// Who.
        user: UserId,
    },
    /// The guild is placed at another node.
    Move {
        /// Which.
        guild: GuildId,
        /// At which of those that may have it, counted over; `None`: at that of its shard.
        to: Option<u64>,
    },
    /// A link to the node that has a guild ends.
    CutLink {
        /// Which guild.
        guild: GuildId,
        /// Of which backend; `None`: of those who ask for nothing but commands and reads.
        backend: Option<usize>,
    },
    /// The guild's owner ends before its time, and the next one is to come.
    Retire {
        /// Which guild's.
        guild: GuildId,
    },
}

/// Under which id a command is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallAs {
    /// A new one of some client's.
    Fresh,
    /// A new one of the client that asks the most.
    Busy,
    /// One that was issued too long ago.
    Expired,
    /// One that will be issued.
    Ahead,
    /// That of the guild's latest operation, which had another body.
    AnotherBody,
    /// That of the guild's latest operation, which had this body too, but was issued a moment earlier.
    AnotherTime,
}

/// What a session that comes back shows for its being that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proof {
    /// Its secret.
    Secret,
    /// The secret that it had before it last came back.
    Former,
    /// Its secret; but it says that it knows more than there was.
    Ahead,
    /// Another session's secret.
    Foreign(SessionId),
    /// Its secret with a bit of it changed.
    Forged,
}

/// How a session hears.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// It reads for itself.
    Stream,
    /// Its backend's batch consumer reads for it.
    Batch,
}

/// How fast a session reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// At once, all there is.
    Fast,
    /// A little, now and then.
    Slow,
    /// Not at all.
    Stopped,
}

/// What a chat backend knows of the world.
#[derive(Debug)]
pub struct Known<'a> {
    pub(crate) guilds: &'a [GuildId],
    pub(crate) backends: usize,
    pub(crate) chronicle: &'a Chronicle,
    pub(crate) calls_open: &'a BTreeMap<GuildId, usize>,
    pub(crate) sessions: &'a BTreeMap<SessionId, KnownSession>,
    pub(crate) fresh: &'a Cell<u64>,
}

/// What a chat backend knows of a session that has not ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KnownSession {
    /// Of which guild.
    pub guild: GuildId,
    /// Whose.
    pub user: UserId,
    /// Through which backend.
    pub backend: usize,
    /// How it hears.
    pub way: Way,
    /// How closely it listens.
    pub level: Level,
    /// Whether its user is there.
    pub status: Status,
    /// How fast it reads.
    pub pace: Pace,
    /// Whether it is served: attached, and not cut.
    pub stage: KnownStage,
}

/// How far a session is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KnownStage {
    /// It attaches, or comes back.
    Coming,
    /// It hears.
    Served,
    /// Its connection broke.
    Cut,
    /// It was told to leave.
    Leaving,
}

impl<'a> Known<'a> {
    /// All guilds that there may be.
    pub fn guilds(&self) -> &'a [GuildId] {
        self.guilds
    }

    /// How many backends there are.
    pub fn backends(&self) -> usize {
        self.backends
    }

    /// A guild as the latest events show it; `None` if it does not exist.
    pub fn community(&self, guild: GuildId) -> Option<&'a Community> {
        self.chronicle.find(guild).and_then(|annals| annals.latest().community())
    }

    /// Whether a guild was deleted; it is not created again.
    pub fn is_deleted(&self, guild: GuildId) -> bool {
        self.chronicle.find(guild).is_some_and(|annals| annals.latest().is_deleted())
    }

    /// Calls of a guild that are not answered yet.
    pub fn calls_open(&self, guild: GuildId) -> usize {
        self.calls_open.get(&guild).copied().unwrap_or(0)
    }

    /// Sessions that have not ended.
    pub fn sessions(&self) -> &'a BTreeMap<SessionId, KnownSession> {
        self.sessions
    }

    /// A number that was never told before, for ids.
    pub fn fresh(&self) -> u64 {
        self.fresh.set(self.fresh.get() + 1);
        self.fresh.get()
    }
}

/// A workload by its name; its shape is drawn. `None` if there is none of that name.
pub fn named(name: &str, dice: &mut Dice) -> Option<Box<dyn Workload>> {
    KINDS.iter().find(|(known, _)| *known == name).map(|(_, make)| make(dice))
}

/// The names of all workloads.
pub fn names() -> impl Iterator<Item = &'static str> {
    KINDS.iter().map(|(name, _)| *name)
}

type Make = fn(&mut Dice) -> Box<dyn Workload>;

const KINDS: &[(&str, Make)] = &[
    ("mixed", |dice| Box::new(mixed::Mixed::new(dice))),
    ("everyday", |dice| Box::new(everyday::Everyday::new(dice))),
    ("raid", |dice| Box::new(raid::Raid::new(dice))),
    ("roles", |dice| Box::new(roles::Roles::new(dice))),
    ("doors", |dice| Box::new(doors::Doors::new(dice))),
    ("sweeps", |dice| Box::new(sweeps::Sweeps::new(dice))),
    ("bans", |dice| Box::new(bans::Bans::new(dice))),
    ("lives", |dice| Box::new(lives::Lives::new(dice))),
    ("sleepers", |dice| Box::new(sleepers::Sleepers::new(dice))),
    ("reconnects", |dice| Box::new(reconnects::Reconnects::new(dice))),
    ("laggards", |dice| Box::new(laggards::Laggards::new(dice))),
    ("hostile", |dice| Box::new(hostile::Hostile::new(dice))),
    ("busy", |dice| Box::new(busy::Busy::new(dice))),
    ("nomads", |dice| Box::new(nomads::Nomads::new(dice))),
];
