//! What goes wrong, and how often.
//!
//! A plan says of each kind of trouble how often it comes, in virtual time. When a run comes to its end everything is healed, and
//! what was promised must hold.

use crate::dice::Dice;
use crate::queue::Micros;

macro_rules! troubles {
    ($($(#[$doc:meta])* $trouble:ident $name:literal;)*) => {
        /// One kind of trouble.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Trouble {
            $($(#[$doc])* $trouble,)*
        }

        impl Trouble {
            /// All kinds.
            pub const ALL: &[Self] = &[$(Self::$trouble),*];

            /// How it is called on a command line.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$trouble => $name,)*
                }
            }
        }
    };
}

troubles! {
    /// A machine loses its power, now or in the midst of one of its next writes.
    PowerCut "power-cut";
    /// A process is killed.
    Kill "kill";
    /// A disk fails one operation.
    DiskError "disk-error";
    /// A disk is slow for a while.
    SlowDisk "slow-disk";
    /// A disk is full for a while.
    FullDisk "full-disk";
    /// A disk gives wrong bits for a while, of what was written long ago.
    BitRot "bit-rot";
    /// A node stands still for a while; another may take its guilds meanwhile.
    Pause "pause";
    /// A link of a backend, or of those who ask, to a node ends; another can stand as soon as it is dialed.
    CutLink "cut-link";
    /// A client and a node do not hear of each other for a while.
    Partition "partition";
    /// A backend is lost with its relays and sessions.
    LoseBackend "lose-backend";
    /// An owner ends before its time.
    Retire "retire";
    /// A ring may hold next to nothing for a while.
    Squeeze "squeeze";
    /// All clocks jump ahead by some minutes, or that of one node a little, ahead or back.
    ClockJump "clock-jump";
    /// A guild is placed at another node.
    MoveGuild "move-guild";
    /// A node stops in good order, and is there again after a while.
    StopNode "stop-node";
}

impl Trouble {
    /// The kind of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|trouble| trouble.name() == name)
    }
}

/// How often what goes wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Faults {
    name: &'static str,
    /// Each kind with the mean time between two, in milliseconds.
    every: Vec<(Trouble, u64)>,
    /// How many of a hundred durable calls arrive twice.
    pub(crate) duplicated_percent: u64,
    /// How many times as often as the plan says.
    pub(crate) haste: u64,
}

impl Faults {
    /// The names of all plans.
    pub const NAMES: &'static [&'static str] = &["none", "crash", "disk", "network", "pause", "mixed"];

    /// A plan by its name.
    pub fn named(name: &str) -> Option<Self> {
        let (name, every, duplicated_percent): (_, &'static [(Trouble, u64)], _) = match name {
            "none" => ("none", &[], 0),
            "crash" => ("crash", CRASH, 0),
            "disk" => ("disk", DISK, 0),
            "network" => ("network", NETWORK, 5),
            "pause" => ("pause", PAUSE, 0),
            "mixed" => ("mixed", MIXED, 3),
            _ => return None,
        };
        Some(Self { name, every: every.to_vec(), duplicated_percent, haste: 1 })
    }

    /// The same without some kinds of trouble.
    #[must_use]
    pub fn without(mut self, kinds: &[Trouble]) -> Self {
        self.every.retain(|(kind, _)| !kinds.contains(kind));
        self
    }

    /// The kinds of trouble that there are.
    pub fn kinds(&self) -> Vec<Trouble> {
        self.all().collect()
    }

    /// By which it is asked for.
    pub fn name(&self) -> &'static str {
        self.name
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = Trouble> {
        self.every.iter().map(|(trouble, _)| *trouble)
    }

    /// How long it is until a kind of trouble comes.
    pub(crate) fn next(&self, trouble: Trouble, dice: &mut Dice) -> Option<Micros> {
        let (_, every) = self.every.iter().find(|(kind, _)| *kind == trouble)?;
        let every = every * 1_000 / self.haste.max(1);
        Some(Micros(dice.within(every / 4, every * 7 / 4)))
    }
}

const CRASH: &[(Trouble, u64)] = &[(Trouble::PowerCut, 2_000), (Trouble::Kill, 6_000), (Trouble::LoseBackend, 8_000)];

const DISK: &[(Trouble, u64)] = &[
    (Trouble::PowerCut, 5_000),
    (Trouble::DiskError, 5_000),
    (Trouble::SlowDisk, 4_000),
    (Trouble::FullDisk, 6_000),
    (Trouble::BitRot, 3_000),
];

const NETWORK: &[(Trouble, u64)] = &[
    (Trouble::CutLink, 1_000),
    (Trouble::Partition, 3_000),
    (Trouble::LoseBackend, 6_000),
    (Trouble::Squeeze, 4_000),
    (Trouble::MoveGuild, 3_000),
];

const PAUSE: &[(Trouble, u64)] = &[
    (Trouble::Pause, 2_000),
    (Trouble::Retire, 3_000),
    (Trouble::PowerCut, 8_000),
    (Trouble::ClockJump, 8_000),
    (Trouble::MoveGuild, 2_000),
    (Trouble::StopNode, 4_000),
];

const MIXED: &[(Trouble, u64)] = &[
    (Trouble::PowerCut, 4_000),
    (Trouble::Kill, 12_000),
    (Trouble::DiskError, 15_000),
    (Trouble::SlowDisk, 9_000),
    (Trouble::FullDisk, 12_000),
    (Trouble::BitRot, 6_000),
    (Trouble::Pause, 6_000),
    (Trouble::CutLink, 3_000),
    (Trouble::Partition, 8_000),
    (Trouble::LoseBackend, 10_000),
    (Trouble::Retire, 5_000),
    (Trouble::Squeeze, 8_000),
    (Trouble::ClockJump, 15_000),
    (Trouble::MoveGuild, 4_000),
    (Trouble::StopNode, 10_000),
];
