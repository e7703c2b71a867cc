//! What a node is told at its start. Every number says its unit, its default, and what goes wrong on either side.

use std::time::Duration;

use guildhall_guild::GuildConfig;
use guildhall_proto::limits::ENCODED_BYTES_MAX;
use guildhall_relay::{RelayConfig, SecretKeys};
use guildhall_ring::{LatestConfig, RingConfig};

use crate::clock::Clock;

/// A node's configuration.
#[derive(Debug, Clone)]
pub struct NodeConfig {
    /// Where time comes from (default: the machine's clock).
    pub clock: Clock,
    /// How guilds keep their members and when they make checkpoints.
    pub guild: GuildConfig,
    /// Bounds of each guild's ring (default 4,096 events, 8 MiB). Smaller: relays fall out of it sooner and resync. Larger: memory.
    pub ring: RingConfig,
    /// Bounds of each guild's keep-latest map of typing and presence (default 4,096 subjects, 1 MiB). Smaller: relays that lag miss
    /// subjects. Larger: memory.
    pub told: LatestConfig,
    /// What all rings of the node, its guilds' and its relays', hold together (default 1 GiB), beside 4 KiB each that are free. Less:
    /// busy guilds keep less than their bounds, and who lags or resumes meets gaps sooner. More: memory. An event that lies in several
    /// rings counts in each.
    pub rings_bytes_max: usize,
    /// How relays beside local sessions are bounded.
    pub relay: RelayConfig,
    /// Bounds of each guild's mailbox.
    pub mailbox: MailboxConfig,
    /// Bounds of an owner's turn.
    pub turn: TurnConfig,
    /// The workers that scan, fold and drop.
    pub offload: OffloadConfig,
    /// How sessions come back whose connection broke.
    pub resume: ResumeConfig,
    /// How guilds are loaded.
    pub loads: LoadConfig,
    /// Guilds awake at a time, those being loaded among them (default 100,000). Past it a guild that sleeps is refused as
    /// overloaded, and the node looks for guilds that may fall asleep early. Fewer: guilds come and go. More: memory.
    pub guilds_max: usize,
    /// How long a guild without sessions is neither called nor read before it falls asleep (default 5 minutes); at most an eighth
    /// later. [`Duration::MAX`]: never. Shorter: guilds are stored and loaded again for a few calls. Longer: memory.
    pub sleep_after: Duration,
}

impl Default for NodeConfig {
    fn default() -> Self {
        Self {
            clock: Clock::system(),
            guild: GuildConfig::default(),
            ring: RingConfig { entries_max: 4_096, bytes_max: 8 * 1024 * 1024 },
            told: LatestConfig::default(),
            rings_bytes_max: 1024 * 1024 * 1024,
            relay: RelayConfig::default(),
            mailbox: MailboxConfig::default(),
            turn: TurnConfig::default(),
            offload: OffloadConfig::default(),
            resume: ResumeConfig::default(),
            loads: LoadConfig::default(),
            guilds_max: 100_000,
            sleep_after: Duration::from_secs(300),
        }
    }
}

/// How sessions come back.
#[derive(Debug, Clone)]
pub struct ResumeConfig {
    /// How long a session whose connection broke may come back, and shows its status meanwhile (default 60 s). Shorter: clients that
    /// change networks start anew. Longer: who has gone seems to be there, and a guild's idle relays are kept that long. With zero
    /// no session comes back.
    pub within: Duration,
    /// How long a session's secret is good from when it is asked for (default 24 h). Shorter: clients are to be given a new one as
    /// often. Longer: a stolen one is good for longer, though only while its session was cut, and once.
    pub secret_lifetime: Duration,
    /// The keys that secrets are signed with; of one cluster the same on all nodes (default: random ones, for a cluster
    /// of one node). [`Node::rotate_session_keys`](crate::Node::rotate_session_keys) replaces them.
    pub keys: Option<SecretKeys>,
}

impl Default for ResumeConfig {
    fn default() -> Self {
        let day = Duration::from_secs(24 * 60 * 60);
        Self { within: Duration::from_secs(60), secret_lifetime: day, keys: None }
    }
}

/// A mailbox's quotas, one for each class, so that no class can crowd out another.
#[derive(Debug, Clone)]
pub struct MailboxConfig {
    /// For commands that change durable state (default 8,192 items, 64 MiB: two of the largest imports).
    pub durable: Quota,
    /// For messages (default 16,384 items, 32 MiB).
    pub message: Quota,
    /// For attaching, detaching and status (default 32,768 items, 8 MiB).
    pub session: Quota,
    /// For typing (default 4,096 items, 1 MiB).
    pub ephemeral: Quota,
}

/// How much of one class a mailbox holds. Fewer: bursts are refused. More: what waits, waits longer, in more memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    /// Items.
    pub items: usize,
    /// Bytes, as [`Command::weight_bytes`](guildhall_proto::Command::weight_bytes) counts them. An item that alone is larger is
    /// taken if nothing of its class waits.
    pub bytes: usize,
}

impl Default for MailboxConfig {
    fn default() -> Self {
        Self {
            durable: Quota { items: 8_192, bytes: 2 * ENCODED_BYTES_MAX },
            message: Quota { items: 16_384, bytes: 32 * 1024 * 1024 },
            session: Quota { items: 32_768, bytes: 8 * 1024 * 1024 },
            ephemeral: Quota { items: 4_096, bytes: 1024 * 1024 },
        }
    }
}

/// When an owner ends its turn and lets other tasks run.
#[derive(Debug, Clone)]
pub struct TurnConfig {
    /// Inputs of one turn (default 256: what most turns have time for). Fewer: more views and wake-ups for the same work. More: a hot guild
    /// holds its thread longer.
    pub inputs_max: usize,
    /// Microseconds of one turn (default 250), looked at every 32 inputs or 128 KiB of them, and after each larger one. Fewer: more
    /// turns for the same work. More: a hot guild holds its thread longer.
    pub micros_max: u64,
    /// Turns whose records wait for the store, and turns behind those (default 64). At this many the owner takes no inputs, and the
    /// mailbox fills. Fewer: a slow store holds the owner up. More: more is lost, and tried again, if the store fails.
    pub unsettled_max: usize,
    /// Bytes of such turns (default 64 MiB), of which the last may go over by as much as one input makes. As with their number.
    pub unsettled_bytes_max: usize,
}

impl Default for TurnConfig {
    fn default() -> Self {
        Self { inputs_max: 256, micros_max: 250, unsettled_max: 64, unsettled_bytes_max: 64 * 1024 * 1024 }
    }
}

/// The pace at which guilds are loaded: created, woken or brought back.
#[derive(Debug, Clone)]
pub struct LoadConfig {
    /// Guilds being loaded at a time (default 16), in the order in which they were first asked for. Fewer: a store that takes its
    /// time is left idle. More: a storm of loads takes the workers and the store from those who are awake.
    pub at_once: usize,
    /// Guilds waiting for that (default 16,384, some hundred bytes each). Past it a load is refused as overloaded.
    pub waiting_max: usize,
    /// Callers waiting for one guild (default 32,768). Past it a caller is refused as overloaded.
    pub callers_max: usize,
}

impl Default for LoadConfig {
    fn default() -> Self {
        Self { at_once: 16, waiting_max: 16_384, callers_max: 32_768 }
    }
}

/// The offload pool.
#[derive(Debug, Clone)]
pub struct OffloadConfig {
    /// Worker threads, at the lowest priority (default: one a core).
    pub threads: usize,
    /// Scans running or waiting (default 256). Past it a scan is refused as overloaded.
    pub scans_max: usize,
    /// One guild's scans, those whose answers are being read among them (default 64). Past it a scan of this guild is refused as overloaded. More: a hot guild leaves others none.
    pub guild_scans_max: usize,
    /// Scans whose answers are being read (default 1,024), each with a view and at most two windows of ids, 2 MiB with pages of the
    /// default size. Past it a scan is refused as
    /// overloaded. More: readers that take their time keep more memory.
    pub answers_max: usize,
    /// Things waiting to be dropped by a worker (default 4,096). Past it whoever holds one drops it in place, and it is counted.
    pub discards_max: usize,
}

impl Default for OffloadConfig {
    fn default() -> Self {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        Self { threads, scans_max: 256, guild_scans_max: 64, answers_max: 1_024, discards_max: 4_096 }
    }
}
