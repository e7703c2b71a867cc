//! What may be said to `backup` and `restore`.

use std::path::PathBuf;

use super::remote::SourceArgs;

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

pub(super) const BACKUP_AFTER_HELP: &str = "\
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

pub(super) const RESTORE_AFTER_HELP: &str = "\
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
