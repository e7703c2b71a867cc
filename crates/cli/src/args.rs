//! What the command line may say, and its help.

use std::path::PathBuf;

use clap::{Parser, Subcommand};

use crate::logging::{Format, Level};

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
    /// Turn chat logs into one guild and check every delivery
    #[command(long_about = REPLAY_ABOUT, after_long_help = REPLAY_AFTER_HELP)]
    Replay(ReplayArgs),

    /// Print a completion script for a shell
    #[command(after_help = COMPLETIONS_AFTER_HELP)]
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
}

#[derive(Debug, clap::Args)]
pub(crate) struct ReplayArgs {
    /// IRC logs, replayed in the order of their file names
    ///
    /// Each is a file of 1 byte to 1 GiB without NUL bytes. Bytes that are not UTF-8 are replaced.
    #[arg(long, value_name = "FILE", num_args = 1.., required = true)]
    pub(crate) irc: Vec<PathBuf>,

    /// Print one JSON object instead of a table
    #[arg(long)]
    pub(crate) json: bool,
}

const LOG_HEADING: &str = "Log options";

const AFTER_HELP: &str = "\
Examples:
  guildhall replay --irc ops/sample/irc.txt    replay a log, check every delivery
  guildhall replay --irc logs/*.txt --json     replay many, for programs to read
  guildhall replay --help                      how a log becomes a guild

Exit codes:
  0  done, and every check passed
  1  a check failed, or the work could not be finished
  2  the command line or an input file is not acceptable";

// Lines of a table stay under 80 columns: the parser wraps longer ones and takes them out of it.
const REPLAY_ABOUT: &str = "\
Turn chat logs into one guild and check every delivery.

All files become one guild with one channel, held in memory. Each line goes the way that live traffic goes: a command to the \
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
  members      members of the guild at the end, as the guild counts them
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

Examples:
  guildhall replay --irc ops/sample/irc.txt
  guildhall replay --irc logs/*.txt --json | jq .deliveries

Exit codes:
  0  replayed, and nothing was lost, duplicated, reordered, leaked, altered
     or late
  1  something was, or the replay could not be finished
  2  the command line or a file is not acceptable; standard error says which
     and why";

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
