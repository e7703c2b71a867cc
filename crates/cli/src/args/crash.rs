//! What is said to processes that are killed at their work, and to whoever kills them.

use std::path::PathBuf;

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
