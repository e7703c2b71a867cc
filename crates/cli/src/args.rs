//! What the command line may say, and its help.

mod load;
mod pki;
mod remote;
mod serve;

use std::path::PathBuf;

use clap::{Parser, Subcommand};
use guildhall_proto::GuildId;
use guildhall_proto::limits::MEMBERS_MAX;

use crate::demo::{Asked, Tamper};
use crate::logging::{Format, Level};

pub(crate) use load::LoadArgs;
pub(crate) use pki::{PkiCommand, PkiInitArgs, PkiIssueArgs, PkiShowArgs};
pub(crate) use remote::{CanArgs, CreateArgs, ImportArgs, NodeArgs, NodesArgs, RecipientsArgs, Source, SourceArgs};
pub(crate) use serve::ServeArgs;

/// A check failed, or the work could not be finished.
pub(crate) const EXIT_FAILED: u8 = 1;
/// The command line or a file it names is not acceptable; the same number as the argument parser's.
pub(crate) const EXIT_BAD_INPUT: u8 = 2;

/// The live state of chat communities: who is in a guild, what they may see, and who hears what, in one order.
#[derive(Debug, Parser)]
#[command(name = "guildhall", version, arg_required_else_help = true, after_help = AFTER_HELP)]
pub(crate) struct Args {
    /// How log lines on standard error look
    #[arg(long, global = true, value_enum, value_name = "FORMAT", default_value = "human", help_heading = LOG_HEADING)]
    pub(crate) log: Format,

    /// From which importance on events are logged
    #[arg(long, global = true, value_enum, value_name = "LEVEL", default_value = "warn", help_heading = LOG_HEADING)]
    pub(crate) log_level: Level,

    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Build a large guild, work it hard with thousands of sessions, and check every delivery
    #[command(long_about = DEMO_ABOUT, after_long_help = DEMO_AFTER_HELP)]
    Demo(DemoArgs),

    /// Turn chat logs into one guild and check every delivery
    #[command(long_about = REPLAY_ABOUT, after_long_help = REPLAY_AFTER_HELP)]
    Replay(ReplayArgs),

    /// Run a guild node until it is told to end
    #[command(after_help = serve::AFTER_HELP)]
    Serve(ServeArgs),

    /// Ask nodes that run whether they answer, and how soon
    #[command(after_help = remote::PING_AFTER_HELP)]
    Ping(NodeArgs),

    /// Ask nodes that run for what they count
    #[command(after_help = remote::PING_AFTER_HELP)]
    Stats(NodeArgs),

    /// Load guilds at a node that runs with sessions, messages and changes, and check every delivery
    #[command(long_about = load::ABOUT, after_long_help = load::AFTER_HELP)]
    Load(LoadArgs),

    /// Guilds at nodes that run, or in a directory that no process has open
    #[command(subcommand, after_help = GUILD_AFTER_HELP)]
    Guild(GuildCommand),

    /// Check, mend or print the logs in a directory that no process has open
    #[command(subcommand, after_help = LOG_AFTER_HELP)]
    Log(LogCommand),

    /// Write all guilds of a node that runs, or of a directory that no process has open, into one file
    #[command(after_help = BACKUP_AFTER_HELP)]
    Backup(BackupArgs),

    /// Make a directory of guilds from a backup
    #[command(after_help = RESTORE_AFTER_HELP)]
    Restore(RestoreArgs),

    /// Make an authority for a cluster, and certificates for those who take part
    #[command(subcommand, after_help = pki::AFTER_HELP)]
    Pki(PkiCommand),

    /// Kill processes at their work, and check that whatever they had acknowledged is there
    #[command(hide = true)]
    Crash(CrashArgs),

    /// The work of a process that is to be killed
    #[command(hide = true)]
    Victim(VictimArgs),

    /// Print a completion script for a shell
    #[command(after_help = COMPLETIONS_AFTER_HELP)]
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
}

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

#[derive(Debug, clap::Args)]
pub(crate) struct ReplayArgs {
    /// IRC logs, replayed in the order of their file names
    ///
    /// Each is a file of 1 byte to 1 GiB without NUL bytes. Bytes that are not UTF-8 are replaced.
    #[arg(long, value_name = "FILE", num_args = 1.., required = true)]
    pub(crate) irc: Vec<PathBuf>,

    /// Keep the guild in this directory, and go on with the one that is there
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,

    /// Print one JSON object instead of a table
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum GuildCommand {
    /// Make a guild, at a node
    Create(CreateArgs),
    /// One line a guild: its id, name, and what it has
    List(ListArgs),
    /// All of a guild but its members: settings, roles, channels with their overwrites
    Show(GuildArgs),
    /// One line a member: user, nick, roles, when joined, flags
    Members(MembersArgs),
    /// What a member may do, at a node
    Can(CanArgs),
    /// Whom a ping reaches, at a node: one line a user
    Recipients(RecipientsArgs),
    /// Read and check every byte that matters in a directory: sums of records and parts, and that every guild can be brought back
    Verify(GuildsArgs),
    /// A guild as JSON lines: first the guild, then its roles, channels, bans and members
    Export(ExportArgs),
    /// Make a guild, at a node, of what an export wrote
    #[command(long_about = IMPORT_ABOUT)]
    Import(ImportArgs),
}

#[derive(Debug, clap::Args)]
pub(crate) struct GuildsArgs {
    /// The directory of guilds' data
    #[arg(long, value_name = "DIR")]
    pub(crate) data: PathBuf,

    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    pub(crate) from: SourceArgs,

    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct GuildArgs {
    /// Which guild; need not be said where there is only one
    #[arg(value_name = "GUILD", value_parser = guild_id)]
    pub(crate) guild: Option<GuildId>,

    #[command(flatten)]
    pub(crate) of: ListArgs,
}

#[derive(Debug, clap::Args)]
pub(crate) struct MembersArgs {
    #[command(flatten)]
    pub(crate) of: GuildArgs,

    /// Print how many there are, and not who
    #[arg(long)]
    pub(crate) count: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ExportArgs {
    /// Which guild; need not be said where there is only one
    #[arg(value_name = "GUILD", value_parser = guild_id)]
    pub(crate) guild: Option<GuildId>,

    #[command(flatten)]
    pub(crate) from: SourceArgs,
}

#[derive(Debug, Subcommand)]
pub(crate) enum LogCommand {
    /// Read every record, and tell the first that is bad
    Verify(GuildsArgs),
    /// Cut a damaged log off at its first bad record; without --yes, tell what would be lost
    #[command(long_about = REPAIR_ABOUT)]
    Repair(RepairArgs),
    /// One line a record: where it lies, whose it is, what it is
    Cat(CatArgs),
}

#[derive(Debug, clap::Args)]
pub(crate) struct RepairArgs {
    #[command(flatten)]
    pub(crate) of: GuildsArgs,

    /// Do it
    #[arg(long)]
    pub(crate) yes: bool,

    /// Have guilds that a repair has cut come back as it left them
    #[arg(long, requires = "yes")]
    pub(crate) accept: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct CatArgs {
    #[command(flatten)]
    pub(crate) of: GuildsArgs,

    /// Only records of this guild
    #[arg(long, value_name = "GUILD", value_parser = guild_id)]
    pub(crate) guild: Option<GuildId>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct BackupArgs {
    #[command(flatten)]
    pub(crate) from: SourceArgs,

    /// The file to write, which must not be there yet
    #[arg(long, value_name = "FILE")]
    pub(crate) to: PathBuf,

    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct RestoreArgs {
    /// The backup
    #[arg(long, value_name = "FILE")]
    pub(crate) from: PathBuf,

    /// The directory to make: one that is not there, is empty, or holds what an earlier restore left unfinished
    #[arg(long, value_name = "DIR")]
    pub(crate) data: PathBuf,

    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct CrashArgs {
    /// A fault that the processes are to have, and this one not
    #[cfg(feature = "defects")]
    #[arg(long, value_name = "NAME")]
    pub(crate) defect: Option<String>,

    /// How many processes
    #[arg(long, value_name = "NUMBER", default_value_t = 20)]
    pub(crate) rounds: u64,

    /// Where the moments and the work are drawn from
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    pub(crate) seed: u64,

    /// Keep the totals in this file, and go on with those that stand there
    #[arg(long, value_name = "FILE")]
    pub(crate) state: Option<PathBuf>,

    /// Print one JSON object instead of a table
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct VictimArgs {
    /// With this fault in it.
    #[cfg(feature = "defects")]
    #[arg(long)]
    pub(crate) defect: Option<String>,

    #[arg(long)]
    pub(crate) data: PathBuf,

    #[arg(long)]
    pub(crate) round: u64,

    #[arg(long)]
    pub(crate) seed: u64,
}

fn guild_id(text: &str) -> Result<GuildId, String> {
    let number: u64 = text.parse().map_err(|error| format!("{error}"))?;
    GuildId::new(number).map_err(|error| error.to_string())
}

const LOG_HEADING: &str = "Log options";

const AFTER_HELP: &str = "\
Examples:
  guildhall demo                               a guild of a million, in a minute
  guildhall replay --irc ops/sample/irc.txt    replay a log, check every delivery
  guildhall replay --irc logs/*.txt --json     replay many, for programs to read
  guildhall replay --help                      how a log becomes a guild
  guildhall guild list --data DIR              what guilds lie in a directory
  guildhall serve --config node.toml           run a guild node
  guildhall load 1 --members 100000 --node 127.0.0.1:7700 --credentials b
                                               load it, check every delivery

Exit codes:
  0  done, and every check passed
  1  a check failed, or the work could not be finished
  2  the command line or an input file is not acceptable";

/// Half of what a guild may have: there is room for those who join on the way.
const DEMO_MEMBERS_MAX: u64 = MEMBERS_MAX as u64 / 2;

// Lines of a table stay under 80 columns: the parser wraps longer ones and takes them out of it.
const DEMO_ABOUT: &str = "\
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

const DEMO_AFTER_HELP: &str = "\
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
  altered      deliveries that are not as they were made
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
  operations   for each kind: count, p50_us, p99_us, max_us. What has a due time
               is measured from that
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

const REPLAY_ABOUT: &str = "\
Turn chat logs into one guild and check every delivery.

All files become one guild with one channel, held in memory, or in a directory with --data. Each line goes the way that live traffic goes: a command to the \
guild's owner, an event in its ring, through the relay, to the sessions of all who are online, one task each. What every session \
must hear is worked out from the log alone, and compared with what it does hear.

What lines mean:
  [10:15] <ada> hello                      ada comes online, and says hello to
                                           all others who are online
  === ada [~ada@host] has joined #hall     ada comes online
  === ada [~ada@host] has left #hall []    ada goes offline; so for `has quit`
  === ada is now known as eve              ada goes offline, eve comes online

Who comes online for the first time becomes a member. Empty lines are ignored, any other line is counted and skipped. At the end \
of each file everybody goes offline.";

const REPLAY_AFTER_HELP: &str = "\
What is reported:
  files, lines, messages, joins, leaves, renames, skipped: what was read
  deliveries   message events that arrived at sessions
  members      members of the guild at the end, as the guild counts them; with
               --data, those of earlier replays among them
  peak_online  most nicks online at once, as the log has it
  lost         messages that a session had to hear and did not
  duplicated   messages that a session heard again
  reordered    messages that a session heard after a later one
  leaked       messages that a session heard and should not have: its own, or
               those outside its time online
  seconds      the whole replay, reading the files included
  altered      messages that arrived with another author or text than was sent
  late         messages due, but not heard when nothing had moved for ten
               seconds; lost, unless they came after all
  deliveries_per_second, and peak_memory_bytes (null if the system hides it)

With --data the guild's members are kept in a directory. One that is not there
or is empty is made, and the figures are those without it; where an earlier
replay left its guild, that is gone on with: who is a member is not added again,
and all figures but `members` are of this replay alone. A directory with other
files in it, of another cluster or format, or open in another process, is left
alone (exit code 2).

Examples:
  guildhall replay --irc ops/sample/irc.txt
  guildhall replay --irc monday.txt --data d && guildhall replay --irc tuesday.txt --data d
  guildhall replay --irc logs/*.txt --json | jq .deliveries

Exit codes:
  0  replayed, and nothing was lost, duplicated, reordered, leaked, altered
     or late
  1  something was, or the replay could not be finished
  2  the command line or a file is not acceptable; standard error says which
     and why";

const IMPORT_ABOUT: &str = "\
Make a guild, at a node, of what an export wrote: the guild with its roles, channels, bans and members.

Roles, channels and members that are there already stay as they are, and are counted: an import that was broken off is gone on with by \
the same command. A guild that is there under another name or owner is not touched. Members have joined when \
they are imported, not when they had. The file is read as it is sent: what is before a bad line is there.";

const GUILD_AFTER_HELP: &str = "\
Guilds are asked for at nodes that run (--node, --credentials), or looked for in a
directory (--data). That must not be open in a process that writes it; leave to read
it is enough. Nothing in it is changed, and no guild is claimed: what is shown is what
the next owner would find. Ids are strings in JSON, for they are beyond the
numbers that many programs read exactly.

Examples:
  guildhall guild list --data DIR
  guildhall guild members --data DIR --count
  guildhall guild members 4711 --data DIR --json | jq -r .nick
  guildhall guild export 4711 --data DIR > 4711.jsonl
  guildhall guild verify --data DIR
  guildhall guild list --node 127.0.0.1:7700 --credentials ada
  guildhall guild import 4711.jsonl --node 127.0.0.1:7700 --credentials ada

Exit codes:
  0  done; with `verify`, and nothing is damaged
  1  something is damaged: standard error says file, record, offset and guild,
     as far as they are known; or a node cannot be reached, or refuses
  2  the command line, the directory, the credentials or a line of an import is
     not acceptable";

const LOG_AFTER_HELP: &str = "\
A directory has two logs: `records` and `checkpoints`. Whether every guild can be
read from them tells `guildhall guild verify`.

Examples:
  guildhall log verify --data DIR
  guildhall log repair --data DIR          what a repair would lose
  guildhall log repair --data DIR --yes
  guildhall log cat --data DIR --guild 4711 --json

Exit codes:
  0  done, and nothing is damaged, or not any more
  1  something is damaged: standard error says file, record and offset
  2  the command line or the directory is not acceptable";

const REPAIR_ABOUT: &str = "\
Cut a damaged log off at its first bad record; without --yes, tell what would be lost.

What is behind the bad record was acknowledged once, and is lost to the guilds: take a copy of the directory, or restore a backup, \
rather than repair. Often `guildhall backup` can still read most guilds, or all of them, where what is damaged is not in use any more: \
then to restore that loses less. Later segments are kept beside the log as `*.cut`. Every guild's next epoch is above all that were given before, so \
that nobody takes what comes for what was lost. A guild of which records are lost is named, and stays away, until a \
repair with --accept, which is not carried out while anything is damaged: then it comes back as of what is left, if that is without a hole, and what it is asked for again is done again. What is so bad that it cannot be told \
whose it was is counted; a guild whose last records or checkpoint that was comes back without them.";

const BACKUP_AFTER_HELP: &str = "\
The file is checksummed throughout, read once more when it is written, and there only
when it is whole. A guild that is damaged is left out and named, there and by the
restore; the others are saved. A node goes on while it is saved, and each guild is
as it was stored when its turn came; with --node, --within is for how long nothing
of it may be taken.

Examples:
  guildhall backup --data DIR --to guilds.backup
  guildhall backup --node 127.0.0.1:7700 --credentials ada --to guilds.backup

Exit codes:
  0  written
  1  a guild is damaged and left out, or the file cannot be written
  2  the command line, the directory or the file is not acceptable";

const RESTORE_AFTER_HELP: &str = "\
Every guild's next epoch is above all that the old directory gave, also after the
backup was made: what it lost is never taken for what comes. That rests on the
clock of this machine: it must not be behind what it was at the last restore.
Guilds that the backup left out stay away until `guildhall log repair --accept`.

Examples:
  guildhall restore --from guilds.backup --data DIR

Exit codes:
  0  restored
  1  restored without the guilds that the backup left out, which are named; or
     the backup is damaged, or the directory cannot be written: the directory
     holds no data then, and may be restored into again, as after a kill
  2  the command line, the backup's format or the directory is not acceptable";

const COMPLETIONS_AFTER_HELP: &str = "\
Examples:
  guildhall completions bash > ~/.local/share/bash-completion/completions/guildhall
  guildhall completions zsh > ~/.zfunc/_guildhall";

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn several_files_may_follow_one_flag_and_other_flags_may_follow_them() {
        let args = Args::try_parse_from(["guildhall", "replay", "--irc", "a", "b", "--json", "--log", "json"]).unwrap();
        assert_eq!(args.log, Format::Json);
        let Command::Replay(replay) = args.command else { panic!("it says replay") };
        assert_eq!((replay.irc.len(), replay.json), (2, true));
    }

    #[test]
    fn a_replay_of_nothing_is_refused() {
        for args in [&["guildhall", "replay"][..], &["guildhall", "replay", "--irc"]] {
            assert_eq!(Args::try_parse_from(args).unwrap_err().exit_code(), i32::from(EXIT_BAD_INPUT));
        }
    }
}
