//! What may be said to `demo`.

use guildhall_proto::limits::MEMBERS_MAX;

use crate::demo::{Asked, Tamper};

#[derive(Debug, clap::Args)]
pub(crate) struct DemoArgs {
    /// Members of the guild as it begins, 1 to 10,000,000
    #[arg(long, value_name = "NUMBER", default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..=DEMO_MEMBERS_MAX))]
    members: u64,

    /// Sessions that listen, beside two of the owner's: at most 62 a member, and 2,000,000 divided by the seconds
    #[arg(long, value_name = "NUMBER", default_value_t = 10_000)]
    sessions: u64,

    /// How long the guild is worked, 1 to 3,600
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=3_600))]
    seconds: u64,

    /// Where roles, messages and changes are drawn from: the same seed, the same demo
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    seed: u64,

    /// Print one JSON object instead of tables
    #[arg(long)]
    pub(crate) json: bool,

    /// Break something between a session and the checker, which must find it
    #[arg(long, value_enum, value_name = "WHAT")]
    tamper: Option<Tamper>,
}

impl DemoArgs {
    pub(crate) fn asked(&self) -> Asked {
        let Self { members, sessions, seconds, seed, json: _, tamper } = *self;
        Asked { members, sessions, seconds, seed, tamper }
    }
}

// Lines of a table stay under 80 columns: the parser wraps longer ones and takes them out of it.
pub(super) const ABOUT: &str = "\
Build a large guild, work it hard with thousands of sessions, and check every delivery.

The guild has 250 roles and 100 channels, and is kept in a temporary directory. Three guild nodes share that, and three backend nodes reach them over authenticated links of this machine, all \
in this process. Sessions attach at the backend nodes, which have a relay each, nine in ten as \
passive; some read for themselves, the others are served together. Then, at a steady rate and whatever the answers do, the owner and \
members publish 1,000 messages a second, 1,000 members a second change, others come, go and are banned, and ten rights a second \
change. On the way a role is deleted that four in ten hold, and one in ten members is pruned; a thousand sessions are cut and come back, to the \
same backend node or another; others change their level, members type and go away, one reader stops until it has lost events, and a thousand small guilds fall asleep and wake, one in three of them at another guild node. All the while \
it is asked whom @everyone and @here reach.

What every session must hear is worked out from the answers to the operations alone, by the published rule of permissions, \
written a second time and as plainly as can be; and compared with what it does hear.

In the last act other processes do durable work in guilds of their own, are killed with SIGKILL at moments that they do not know, and their \
directory is opened again: whatever they had acknowledged must be there, once, and nothing have been heard that is not.";

pub(super) const AFTER_HELP: &str = "\
What is reported (--json; the tables say the same):
  members, sessions, roles, channels, seed: how it began
  nodes, relays  guild nodes; backend nodes, with a link to each of those and a
               relay
  messages, events, deliveries, deliveries_per_second
  pruned       members that were pruned
  ended        sessions that ended with their members
  resumed      sessions that were cut, and came back
  refused      calls refused for want of room, and made again
  redirected   calls that came to a node without their guild, and were made again
               where it was
  slept, woken small guilds that fell asleep, and that woke
  moved        of these, those placed with another guild node meanwhile, and seen
               to wake there
  due          deliveries that had to be
  gaps, missed the reader that stopped was told so many gaps, with so many due
               deliveries under them
  told         times that sessions were told that somebody types, or is there
               or not
  lost         deliveries due, and neither heard nor under a gap
  duplicated   deliveries heard again
  reordered    deliveries heard after a later one, and older typing or
               presence after newer
  leaked       deliveries, typing, presence, and channels named as having
               news, that the session may not see
  altered      deliveries that are not as they were made: another channel,
               author, byte or mention of a message, another nick or role of a
               member, other permissions of a role, another name or overwrite
               of a channel
  late         sessions that had not heard all when nothing had moved for ten
               seconds
  strange_gaps, untold_gaps: gaps told to others or without a loss; 1 if the
               reader that stopped was told none
  unexplained  event numbers that no operation explains
  failed       operations that were not carried out
  wrong_answers  scans and counts that are not as the rule has it, and guilds
               that did not wake as they fell asleep, or not at the node that
               they are placed with
  killed       processes killed at a work of their own: how many operations were
               acknowledged, unanswered, kept and cut, and (all to be 0) lost,
               doubled, phantoms (heard of, and not there), epochs_not_risen
  operations   for each kind: count, p50_us, p90_us, p99_us, p999_us (of a thousand
               all but one), max_us. What has a due time is measured from that
  seconds, memory_bytes, peak_memory_bytes (null if the system hides it)
  passed       whether nothing is wrong

Examples:
  guildhall demo
  guildhall demo --members 50000 --sessions 2000 --seconds 3 --json | jq .leaked
  guildhall demo --tamper lost; echo $?

Exit codes:
  0  done, and nothing is wrong
  1  something is, or the demo could not be finished
  2  the command line is not acceptable; standard error says why";

/// Half of what a guild may have: there is room for those who join on the way.
const DEMO_MEMBERS_MAX: u64 = MEMBERS_MAX as u64 / 2;
