//! What may be said to `replay`.

use std::path::PathBuf;

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

// Lines of a table stay under 80 columns: the parser wraps longer ones and takes them out of it.
pub(super) const ABOUT: &str = "\
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

pub(super) const AFTER_HELP: &str = "\
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
