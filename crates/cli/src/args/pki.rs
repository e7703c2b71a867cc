//! What may be said to `pki`.

use std::path::PathBuf;

use clap::Subcommand;
use guildhall_transport::{Label, Role};

#[derive(Debug, Subcommand)]
pub(crate) enum PkiCommand {
    /// Make the authority of a new cluster
    Init(PkiInitArgs),
    /// Issue a certificate for a node, a backend, an operator or an observer
    Issue(PkiIssueArgs),
    /// Tell whose a certificate is, and until when it is good
    Show(PkiShowArgs),
}

#[derive(Debug, clap::Args)]
pub(crate) struct PkiInitArgs {
    /// The cluster's name
    #[arg(long, value_name = "NAME", value_parser = label)]
    pub(crate) cluster: Label,

    /// The directory to make, for authority.pem and authority.key
    #[arg(long, value_name = "DIR")]
    pub(crate) to: PathBuf,

    /// How long it is good, in days
    #[arg(long, value_name = "NUMBER", default_value_t = 3_650, value_parser = clap::value_parser!(u64).range(1..=DAYS_MAX))]
    pub(crate) days: u64,

    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct PkiIssueArgs {
    /// guild-node, backend, operator or observer
    #[arg(value_name = "ROLE", value_parser = role)]
    pub(crate) role: Role,

    /// Who it is for: a name of its own among those of its role
    #[arg(value_name = "NAME", value_parser = label)]
    pub(crate) name: Label,

    /// The directory of the authority
    #[arg(long, value_name = "DIR")]
    pub(crate) authority: PathBuf,

    /// The directory to make, for certificate.pem, key.pem and authority.pem
    #[arg(long, value_name = "DIR")]
    pub(crate) to: PathBuf,

    /// How long it is good, in days
    #[arg(long, value_name = "NUMBER", default_value_t = 365, value_parser = clap::value_parser!(u64).range(1..=DAYS_MAX))]
    pub(crate) days: u64,

    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct PkiShowArgs {
    /// Certificates (PEM), or directories that `pki` made
    #[arg(value_name = "PATH", num_args = 1.., required = true)]
    pub(crate) paths: Vec<PathBuf>,

    /// Print one JSON object for each
    #[arg(long)]
    pub(crate) json: bool,
}

fn label(text: &str) -> Result<Label, String> {
    text.parse().map_err(|error: guildhall_transport::IdentityError| error.to_string())
}

fn role(text: &str) -> Result<Role, String> {
    text.parse().map_err(|error: guildhall_transport::IdentityError| error.to_string())
}

/// A hundred years.
const DAYS_MAX: u64 = 36_525;

pub(super) const AFTER_HELP: &str = "\
A node is known by its certificate: spiffe://CLUSTER/ROLE/NAME. Keep authority.key
where nobody else can read it, and off the machines that only use certificates:
whoever has it can be anybody of the cluster. Nothing that is there is overwritten,
and all files are for their owner alone. There is no list of what was revoked: issue
for short times.

Examples:
  guildhall pki init --cluster main --to authority
  guildhall pki issue guild-node a --authority authority --to node-a
  guildhall pki issue operator ada --authority authority --to ada --days 30
  guildhall pki show node-a ada

Exit codes:
  0  done; with `show`, and every certificate is good now
  1  with `show`: one is not good yet, or has expired; or a file cannot be written
  2  the command line or a file is not acceptable";
