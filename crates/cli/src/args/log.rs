//! What may be said to `log`.

use clap::Subcommand;
use guildhall_proto::GuildId;

use super::guild::GuildsArgs;
use super::guild_id;

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

pub(super) const AFTER_HELP: &str = "\
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
