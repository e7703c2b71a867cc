//! What may be said to `load`.

use guildhall_proto::GuildId;
use guildhall_proto::limits::{MEMBERS_MAX, PAYLOAD_BYTES_MAX};

use super::NodesArgs;
use super::guild_id;
use crate::checks::Spoken;
use crate::trial::tamper::Tamper;

#[derive(Debug, clap::Args)]
pub(crate) struct LoadArgs {
    /// Which guilds; what follows is shared out among them: of each rate every guild has its turn
    #[arg(value_name = "GUILD", value_parser = guild_id, required = true)]
    pub(crate) guilds: Vec<GuildId>,

    #[command(flatten)]
    pub(crate) at: NodesArgs,

    /// Make each guild first, with so many members, 250 roles and 100 channels: 1 to 20,000,000
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(1..=MEMBERS_MAX as u64))]
    pub(crate) members: Option<u64>,

    /// Sessions in all, 0 to 1,000,000: at most 64 a member
    #[arg(long, value_name = "NUMBER", default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(0..=1_000_000))]
    pub(crate) sessions: u64,

    /// How many sessions in a hundred are active, 0 to 100; the others hear only what calls them
    #[arg(long, value_name = "PERCENT", default_value_t = 10, value_parser = clap::value_parser!(u64).range(0..=100))]
    pub(crate) active: u64,

    /// Serve each session by a task of its own, and not all of a guild in batches
    #[arg(long)]
    pub(crate) streams: bool,

    /// Backend nodes with a link and relays each, 1 to 32: the sessions are shared out among them
    #[arg(long, value_name = "NUMBER", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=32))]
    pub(crate) backends: u64,

    /// Messages a second, 0 to 1,000,000
    #[arg(long, value_name = "RATE", default_value_t = 100, value_parser = clap::value_parser!(u64).range(0..=1_000_000))]
    pub(crate) messages: u64,

    /// Bytes of a message, 24 to 65,536
    #[arg(long, value_name = "BYTES", default_value_t = 300, value_parser = clap::value_parser!(u64).range(Spoken::HEAD_BYTES as u64..=PAYLOAD_BYTES_MAX as u64))]
    pub(crate) bytes: u64,

    /// Changes of members a second, 0 to 1,000,000: a nick and a role each
    #[arg(long, value_name = "RATE", default_value_t = 100, value_parser = clap::value_parser!(u64).range(0..=1_000_000))]
    pub(crate) changes: u64,

    /// Times a second that somebody types, 0 to 1,000; of one member in one channel a node tells once in 4 seconds
    #[arg(long, value_name = "RATE", default_value_t = 10, value_parser = clap::value_parser!(u64).range(0..=1_000))]
    pub(crate) typing: u64,

    /// Times a second that a member comes or goes, 0 to 1,000: some of those without other sessions
    #[arg(long, value_name = "RATE", default_value_t = 10, value_parser = clap::value_parser!(u64).range(0..=1_000))]
    pub(crate) presence: u64,

    /// For how long, 1 to 86,400
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub(crate) seconds: u64,

    /// Where guilds, messages and changes are drawn from
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    pub(crate) seed: u64,

    /// Print one JSON object instead of tables
    #[arg(long)]
    pub(crate) json: bool,

    /// Break something between a session and the checker, which must find it
    #[arg(long, value_enum, value_name = "WHAT")]
    pub(crate) tamper: Option<Tamper>,
}

// Lines of a table stay under 80 columns: the parser wraps longer ones and takes them out of it.
pub(super) const ABOUT: &str = "\
Load guilds at a node that runs: attach sessions, publish and change members at steady rates, and check every delivery.

This is a backend node, with a backend's certificate: a link, relays here, and sessions beside them. With --backends it is several, with a link and \
relays each; messages and changes go over the first of these links. Calls begin when they are due, whether or \
not those before them are answered, and times count from then; but of typing, and of members who come and go, \
a guild has one call at a time. At most 1,024 calls of a guild are open at a time; what is due and cannot be begun in \
the time that was asked for is counted, and left out.

What every session must hear is worked out from the answers to the calls and from what the guild was before, by the published rule of \
permissions, written a second time and as plainly as can be; and compared with what it does hear. Now and then the guild's name changes, \
which all sessions hear: so it is known what they have heard by then, and what was checked is not kept.

The guilds should be there for that alone: members have other nicks and roles afterwards, and whoever else changes a guild meanwhile makes the \
check fail. Sessions that are passive, nine in ten unless something else is said, hear messages only if these call them.

Typing and presence have no number in the guild. Of each member, and of each channel in which one types, a session must never be told older than it was; it must be told \
only what is for it; and it must have been told in the end what was set last, unless it was told a gap. Of typing that is what the node has accepted last, by the position that it \
answers with. Where nothing has happened in the guild since the sessions were attached, that is so only of what is accepted 5 seconds after that: before, somebody may have typed already, and typing \
that goes on is not told again. Not judged is whether it was told what was soon set anew, and whether a summary of unread channels came: only that nothing wrong is in that. \
What comes while sessions are detached is checked too: each must be told once that it has ended, and until then whether members are there, but no event.";

pub(super) const AFTER_HELP: &str = "\
What is reported (--json; the tables say the same):
  guilds, members, sessions, active, backends, streams, seed: what was loaded
  messages, changes, typing, presence: calls that were carried out
  refused      calls not carried out for want of room or time: the load is more
               than the node takes
  not_begun    calls that were due and were not begun in time; where these two are
               more than one in a hundred the tables say so, and the load passes:
               what it did ask for was right
  events, deliveries, deliveries_per_second
  due          deliveries that had to be
  gaps, missed sessions were told so many gaps, with so many due deliveries
               under them: they fell behind, and were told
  told         times that sessions were told that somebody types, or is there or
               not: typing_told and presence_told
  lost         deliveries due, and neither heard nor under a gap
  duplicated   deliveries heard again
  reordered    deliveries heard after a later one, and older typing or
               presence after newer
  leaked       deliveries, typing, presence, and channels named as having
               news, that the session may not see
  altered      deliveries that are not as they were made: another channel,
               author, byte or mention of a message, another nick or role of a
               member, another name of the guild
  strange_gaps  gaps of what was heard or told before, gaps of what never
               happened, and gaps of active sessions under which nobody who was
               told them has missed anything
  late         sessions that had not heard a bell, which is a change of the
               guild's name, or anything behind it when no session had heard one
               for ten seconds: then no more calls are begun
  untold       how often a session was not told in the end who types somewhere, or
               whether somebody is there
  ended        sessions that ended before they were detached, or were not told
               once, and for that reason, that they have
  unexplained  event numbers that no call explains
  failed       calls that the guild refused, or whose outcome is unknown
  operations   for each kind: count, p50_us, p90_us, p99_us, p999_us (of a thousand
               all but one), max_us. publish, member_change, deliver and
               refused, which is until a call was refused, are measured from
               when they were due; retry_after is after which time the node
               said to come again
  counted      what the client counts: relay_resyncs (relays that began
               again), sessions_cut, sessions_resumed
  seconds, memory_bytes, peak_memory_bytes (null if the system hides it)
  passed       whether lost, duplicated, reordered, leaked, altered, strange_gaps,
               late, untold, ended, unexplained and failed are 0

Examples:
  guildhall pki issue backend b --authority authority --to b
  guildhall load 1 --members 1000000 --sessions 100000 --node 127.0.0.1:7700 --credentials b
  guildhall load 1 --messages 1000 --changes 1000 --seconds 60 --node 127.0.0.1:7700 --credentials b --json

Exit codes:
  0  done, and nothing is wrong; gaps and refused calls are not
  1  something is, or the load could not be finished
  2  the command line, the credentials or the guilds are not acceptable";
