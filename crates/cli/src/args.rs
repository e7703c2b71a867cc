//! What the command line may say, and its help.

mod archive;
mod crash;
mod demo;
mod guild;
mod load;
mod log;
mod pki;
mod remote;
mod replay;
mod serve;

use clap::builder::StyledStr;
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use guildhall_proto::GuildId;

use crate::logging::{Format, Level};

pub(crate) use archive::{BackupArgs, RestoreArgs};
pub(crate) use crash::{CrashArgs, VictimArgs};
pub(crate) use demo::DemoArgs;
pub(crate) use guild::{GuildArgs, GuildCommand, GuildsArgs, MembersArgs};
pub(crate) use load::LoadArgs;
pub(crate) use log::{CatArgs, LogCommand, RepairArgs};
pub(crate) use pki::{PkiCommand, PkiInitArgs, PkiIssueArgs, PkiShowArgs};
pub(crate) use remote::{CanArgs, CreateArgs, ImportArgs, NodeArgs, NodesArgs, RecipientsArgs, Source};
pub(crate) use replay::ReplayArgs;
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

    /// From which importance on events are logged; what operators do always is, but with `off`
    #[arg(long, global = true, value_enum, value_name = "LEVEL", default_value = "warn", help_heading = LOG_HEADING)]
    pub(crate) log_level: Level,

    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Build a large guild, work it hard with thousands of sessions, and check every delivery
    #[command(long_about = demo::ABOUT, after_long_help = demo::AFTER_HELP)]
    Demo(DemoArgs),

    /// Turn chat logs into one guild and check every delivery
    #[command(long_about = replay::ABOUT, after_long_help = replay::AFTER_HELP)]
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
    #[command(subcommand, after_help = guild::AFTER_HELP)]
    Guild(GuildCommand),

    /// Check, mend or print the logs in a directory that no process has open
    #[command(subcommand, after_help = log::AFTER_HELP)]
    Log(LogCommand),

    /// Write all guilds of a node that runs, or of a directory that no process has open, into one file
    #[command(after_help = archive::BACKUP_AFTER_HELP)]
    Backup(BackupArgs),

    /// Make a directory of guilds from a backup
    #[command(after_help = archive::RESTORE_AFTER_HELP)]
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

impl Args {
    /// What this process was asked for. What is not acceptable, and what only asks for help, ends it.
    pub(crate) fn read() -> Self {
        Self::from_arg_matches(&command_line().get_matches()).unwrap_or_else(|error| error.exit())
    }
}

/// The whole command line. A command that says nothing behind its options says what the one above it does.
pub(crate) fn command_line() -> clap::Command {
    fn with_help_of(above: Option<StyledStr>, command: clap::Command) -> clap::Command {
        let own = command.get_after_long_help().or(command.get_after_help()).cloned();
        let command = match (own.is_none(), &above) {
            (true, Some(above)) => command.after_help(above.clone()),
            _ => command,
        };
        let help = own.or(above);
        command.mut_subcommands(|below| with_help_of(help.clone(), below))
    }
    with_help_of(None, Args::command())
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

const COMPLETIONS_AFTER_HELP: &str = "\
Examples:
  guildhall completions bash > ~/.local/share/bash-completion/completions/guildhall
  guildhall completions zsh > ~/.zfunc/_guildhall

Exit codes:
  0  printed
  2  the command line is not acceptable";

#[cfg(test)]
mod tests {
    use super::*;

    /// What prints no JSON on request: a node prints nothing else, and a script is one already.
    const WITHOUT_JSON: &[&str] = &["serve", "completions"];

    #[test]
    fn the_command_line_is_consistent() {
        command_line().debug_assert();
    }

    #[test]
    fn each_command_says_what_its_exit_codes_mean_and_prints_json_if_it_is_asked_to() {
        fn check(mut command: clap::Command) -> usize {
            let help = command.render_long_help().to_string();
            assert!(help.contains("Exit codes:\n  0  "), "{}: {help}", command.get_name());
            let is_ours = |below: &&clap::Command| !below.is_hide_set() && below.get_name() != "help";
            let below: Vec<_> = command.get_subcommands().filter(is_ours).cloned().collect();
            if below.is_empty() {
                let is_json = command.get_arguments().any(|arg| arg.get_long() == Some("json"));
                assert_ne!(is_json, WITHOUT_JSON.contains(&command.get_name()), "{}", command.get_name());
                return 1;
            }
            below.into_iter().map(check).sum()
        }
        assert!(check(command_line()) > 20);
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
