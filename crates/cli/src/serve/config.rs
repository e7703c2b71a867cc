//! The configuration of a node: a file of TOML, checked as a whole before anything is opened.
//!
//! `ops/config.example.toml` has every option with its unit, its default and what it does; a test holds it against the sections here.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use guildhall_log::LogConfig;
use guildhall_node::{NodeConfig, ServeConfig};
use guildhall_proto::{Instance, NodeId};
use guildhall_store::EmbeddedConfig;
use guildhall_transport::TransportConfig;
use serde::{Deserialize, Serialize};

use super::keys::KeysConfig;
use super::section::{Milliseconds, Seconds, Threads, section};
use crate::input::InputError;

/// What a node is given at its start.
#[derive(Debug)]
pub(super) struct Config {
    pub(super) listen: SocketAddr,
    pub(super) data: PathBuf,
    pub(super) credentials: PathBuf,
    pub(super) node: NodeConfig,
    pub(super) keys: KeysConfig,
    pub(super) store: EmbeddedConfig,
    pub(super) links: TransportConfig,
    /// For a node and a run that are not known yet.
    pub(super) serving: ServeConfig,
}

/// What a file may say.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(default = "anywhere_here")]
    listen: SocketAddr,
    data: PathBuf,
    credentials: PathBuf,
    #[serde(default)]
    guilds: Guilds,
    #[serde(default)]
    members: Members,
    #[serde(default)]
    mailbox: Mailbox,
    #[serde(default)]
    turn: Turn,
    #[serde(default)]
    workers: Workers,
    #[serde(default)]
    keys: Keys,
    #[serde(default)]
    store: Store,
    #[serde(default)]
    links: Links,
    #[serde(default)]
    serving: Serving,
}

section! {
    /// Guilds that are awake, and what each keeps for those who listen.
    Guilds for NodeConfig = NodeConfig::default();
    awake_max: usize = guilds_max;
    sleep_after_s: Seconds = sleep_after;
    ring_events: usize = ring.entries_max;
    ring_bytes: usize = ring.bytes_max;
    told_subjects: usize = told.subjects_max;
    told_bytes: usize = told.bytes_max;
    rings_bytes_max: usize = rings_bytes_max;
    loads_at_once: usize = loads.at_once;
    loads_waiting_max: usize = loads.waiting_max;
    load_callers_max: usize = loads.callers_max;
}

section! {
    /// How a guild keeps its members, and when it makes checkpoints.
    Members for NodeConfig = NodeConfig::default();
    page_members: usize = guild.members.page_members;
    fold_at: usize = guild.members.fold_at;
    inline_fold_members: usize = guild.members.inline_fold_members;
    checkpoint_changes_min: u64 = guild.checkpoints.changes_min;
    checkpoint_members_a_change: u64 = guild.checkpoints.members_a_change;
    checkpoint_changes_max: u64 = guild.checkpoints.changes_max;
}

section! {
    /// What waits for a guild's owner, by class.
    Mailbox for NodeConfig = NodeConfig::default();
    durable_items: usize = mailbox.durable.items;
    durable_bytes: usize = mailbox.durable.bytes;
    message_items: usize = mailbox.message.items;
    message_bytes: usize = mailbox.message.bytes;
    session_items: usize = mailbox.session.items;
    session_bytes: usize = mailbox.session.bytes;
    ephemeral_items: usize = mailbox.ephemeral.items;
    ephemeral_bytes: usize = mailbox.ephemeral.bytes;
}

section! {
    /// When an owner lets others run.
    Turn for NodeConfig = NodeConfig::default();
    inputs_max: usize = turn.inputs_max;
    micros_max: u64 = turn.micros_max;
    unsettled_max: usize = turn.unsettled_max;
    unsettled_bytes_max: usize = turn.unsettled_bytes_max;
}

section! {
    /// The workers that scan, fold and drop.
    Workers for NodeConfig = NodeConfig::default();
    threads: Threads = offload.threads;
    scans_max: usize = offload.scans_max;
    guild_scans_max: usize = offload.guild_scans_max;
    answers_max: usize = offload.answers_max;
    discards_max: usize = offload.discards_max;
}

section! {
    /// The keys of sessions' secrets.
    Keys for KeysConfig = KeysConfig::default();
    sign_for_s: Seconds = sign_for;
}

section! {
    /// The store in the data directory.
    Store for EmbeddedConfig = EmbeddedConfig::default();
    segment_bytes: u64 = segment_bytes;
    slack_bytes: u64 = slack_bytes;
    small_bytes: usize = small_bytes;
    records_items_max: usize = records.items_max;
    records_bytes_max: usize = records.bytes_max;
    records_window_ms: Milliseconds = records.window;
    records_group_items: usize = records.group_items;
    records_group_bytes: usize = records.group_bytes;
    checkpoints_items_max: usize = checkpoints.items_max;
    checkpoints_bytes_max: usize = checkpoints.bytes_max;
    checkpoints_window_ms: Milliseconds = checkpoints.window;
    checkpoints_group_items: usize = checkpoints.group_items;
    checkpoints_group_bytes: usize = checkpoints.group_bytes;
    room_pause_ms: Milliseconds = room_pause;
    lost_after_s: Seconds = lost_after;
}

section! {
    /// The bounds of links.
    Links for TransportConfig = TransportConfig::default();
    link_receive_bytes: u32 = link_receive_bytes;
    lane_receive_bytes: u32 = lane_receive_bytes;
    link_send_bytes: u32 = link_send_bytes;
    calls_max: u32 = calls_max;
    idle_ms: Milliseconds = idle;
    keep_alive_ms: Milliseconds = keep_alive;
    handshake_ms: Milliseconds = handshake;
    handshakes_max: usize = handshakes_max;
    handshakes_trusted: usize = handshakes_trusted;
    links_max: usize = links_max;
    peer_links_max: usize = peer_links_max;
    first_frame_ms: Milliseconds = first_frame;
    frame_ms: Milliseconds = frame;
    stall_ms: Milliseconds = stall;
}

section! {
    /// What is served over links.
    Serving for ServeConfig = unnamed();
    feeds_max: u32 = feeds_max;
    long_requests_max: usize = long_requests_max;
    peer_long_requests_max: usize = peer_long_requests_max;
    peer_answers_max: usize = peer_answers_max;
    sessions_kept_ms: Milliseconds = sessions_kept;
}

impl Config {
    /// Reads and checks a file. Paths in it are looked for from where it lies.
    ///
    /// # Errors
    /// [`InputError`]; an option that does not exist, or cannot be so, is named.
    pub(super) fn read(path: &Path) -> Result<Self, InputError> {
        let text = fs::read_to_string(path).map_err(|source| InputError::Unreadable { path: path.into(), source })?;
        let wrong = |why| InputError::Config { path: path.into(), why };
        let written: Written = toml::from_str(&text).map_err(|error| wrong(error.to_string()))?;
        written.checked(path.parent().unwrap_or(Path::new(""))).map_err(wrong)
    }
}

impl Written {
    fn checked(self, beside: &Path) -> Result<Config, String> {
        let Self { listen, data, credentials, guilds, members, mailbox, turn, workers, keys, store, links, serving } =
            self;
        let of = |section: &'static str| move |why: String| format!("[{section}] {why}");
        let mut node = NodeConfig::default();
        guilds.apply(&mut node).map_err(of("guilds"))?;
        members.apply(&mut node).map_err(of("members"))?;
        if !PAGE_MEMBERS.contains(&node.guild.members.page_members) {
            return Err(format!("[members] page_members must be {PAGE_MEMBERS:?}"));
        }
        mailbox.apply(&mut node).map_err(of("mailbox"))?;
        turn.apply(&mut node).map_err(of("turn"))?;
        workers.apply(&mut node).map_err(of("workers"))?;
        let mut signing = KeysConfig::default();
        keys.apply(&mut signing).map_err(of("keys"))?;
        signing.check().map_err(of("keys"))?;
        let mut embedded = EmbeddedConfig::default();
        store.apply(&mut embedded).map_err(of("store"))?;
        if !SEGMENT_BYTES.contains(&embedded.segment_bytes) {
            return Err(format!("[store] segment_bytes must be {SEGMENT_BYTES:?}"));
        }
        if embedded.small_bytes as u64 > embedded.segment_bytes / 2 {
            return Err(String::from("[store] small_bytes must be half of segment_bytes at most"));
        }
        let mut transport = TransportConfig::default();
        links.apply(&mut transport).map_err(of("links"))?;
        transport.check().map_err(|error| format!("[links] {error}"))?;
        let mut served = unnamed();
        serving.apply(&mut served).map_err(of("serving"))?;
        let (data, credentials) = (beside.join(data), beside.join(credentials));
        let (keys, store, links, serving) = (signing, embedded, transport, served);
        Ok(Config { listen, data, credentials, node, keys, store, links, serving })
    }
}

/// The defaults of what does not depend on which node it is.
fn unnamed() -> ServeConfig {
    ServeConfig::new(NodeId::MIN, Instance(0))
}

/// Where a node listens if nothing is said: for this machine alone.
const fn anywhere_here() -> SocketAddr {
    SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), PORT)
}

const PORT: u16 = 7_700;
/// As many that what a guild of 20 million says of its pages fits into a segment, and as few as their columns rely on.
const PAGE_MEMBERS: RangeInclusive<usize> = 64..=65_535;
/// From where the largest page fits, 11 MB of members that use every limit, to what a log takes.
const SEGMENT_BYTES: RangeInclusive<u64> = 12 * 1024 * 1024..=*LogConfig::SEGMENT_BYTES.end();

#[cfg(test)]
mod tests {
    use guildhall_node::Clock;
    use guildhall_proto::Millis;
    use toml::{Table, Value};

    use super::*;

    const EXAMPLE: &str = include_str!("../../../../ops/config.example.toml");

    /// A configuration that says nothing but what must be said.
    fn least() -> Written {
        toml::from_str("data = \"data\"\ncredentials = \"node\"").unwrap()
    }

    #[test]
    fn the_example_has_every_option_at_its_default_and_no_other() {
        let example: Table = toml::from_str(EXAMPLE).unwrap();
        assert_eq!(example, Table::try_from(least()).unwrap());
        let read: Written = toml::from_str(EXAMPLE).unwrap();
        assert_eq!(read, least());
    }

    #[test]
    fn the_example_says_of_each_option_what_it_is_and_its_default() {
        let mut above = String::new();
        for line in EXAMPLE.lines() {
            match line.strip_prefix('#') {
                Some(comment) => above += comment,
                None if line.contains('=') => {
                    let (name, value) = line.split_once(" = ").unwrap();
                    let unit = [
                        ("_s", "Seconds"),
                        ("_ms", "Milliseconds"),
                        ("_bytes", "Bytes"),
                        ("micros_max", "Microseconds"),
                    ];
                    for (end, unit) in unit {
                        assert!(!name.ends_with(end) || above.contains(unit), "{name} does not say {unit}");
                    }
                    assert!(
                        above.contains("Required.") || above.contains(&format!("Default {value}")),
                        "{name} does not say its default"
                    );
                    above.clear();
                }
                None => above.clear(),
            }
        }
    }

    #[test]
    fn what_does_not_exist_is_refused_by_its_name() {
        for (text, name) in [
            ("data = \"d\"\ncredentials = \"c\"\nlisten_on = 1", "listen_on"),
            ("data = \"d\"\ncredentials = \"c\"\n[links]\ncalls = 1", "calls"),
            ("data = \"d\"\ncredentials = \"c\"\n[link]\ncalls_max = 1", "link"),
            ("credentials = \"c\"", "data"),
        ] {
            let error = toml::from_str::<Written>(text).unwrap_err().to_string();
            assert!(error.contains(&format!("`{name}`")), "{error}");
        }
    }

    #[test]
    fn what_cannot_be_is_refused_by_its_name() {
        for (section, option, value, why) in [
            ("links", "calls_max", 0, "[links] calls_max must not be 0"),
            ("links", "idle_ms", 0, "[links] idle must not be 0"),
            ("links", "keep_alive_ms", 14_000, "[links] keep_alive must be"),
            ("turn", "inputs_max", 0, "[turn] inputs_max must not be 0"),
            ("members", "page_members", 63, "[members] page_members must be"),
            ("store", "small_bytes", 8 * 1024 * 1024 + 1, "[store] small_bytes must be half of segment_bytes"),
            ("store", "segment_bytes", 12 * 1024 * 1024 - 1, "[store] segment_bytes must be 12582912..=1073741824"),
            ("store", "segment_bytes", (1024 * 1024 * 1024) + 1, "[store] segment_bytes must be 12582912..=1073741824"),
            ("workers", "threads", 1_025, "[workers] threads is more"),
            ("keys", "sign_for_s", 86_999, "[keys] sign_for_s must be 0, or 87000 at least"),
        ] {
            let mut table = Table::try_from(least()).unwrap();
            table[section].as_table_mut().unwrap().insert(option.into(), Value::Integer(value));
            let written: Written = table.try_into().unwrap();
            let refused = written.checked(Path::new("")).unwrap_err();
            assert!(refused.starts_with(why), "{refused}");
        }
    }

    #[test]
    fn each_option_reaches_the_part_that_it_is_for() {
        let checked = |written: Table| {
            let mut config = written.try_into::<Written>().unwrap().checked(Path::new("")).unwrap();
            // A clock is told apart by its time, which goes on.
            config.node.clock = Clock::from_fn(|| Millis(0));
            config
        };
        let defaults = Table::try_from(least()).unwrap();
        let before = checked(defaults.clone());
        let mut changed = defaults;
        // Every number another than its default, so that none is left behind.
        let mut options = 0;
        for (_, section) in &mut changed {
            let Some(section) = section.as_table_mut() else { continue };
            for (name, value) in section {
                // One thread for each core is what is asked for by default.
                let more = if name == "threads" { before.node.offload.threads as i64 } else { 0 };
                *value = Value::Integer(value.as_integer().unwrap() + more + 1);
                options += 1;
            }
        }
        let after = checked(changed);
        let parts = |config: &Config| {
            format!("{:#?}", (&config.node, &config.keys, &config.store, &config.links, &config.serving))
        };
        let (before, after) = (parts(&before), parts(&after));
        let differing = before.lines().zip(after.lines()).filter(|(before, after)| before != after).count();
        assert_eq!(differing, options, "of the options and the parts that they are for:\n{after}");
    }

    #[test]
    fn paths_are_looked_for_from_where_the_file_lies() {
        let config = least().checked(Path::new("/etc/guildhall")).unwrap();
        assert_eq!((config.data, config.credentials), ("/etc/guildhall/data".into(), "/etc/guildhall/node".into()));
        assert_eq!(config.listen, "127.0.0.1:7700".parse().unwrap());
    }
}
