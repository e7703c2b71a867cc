//! What may be said to `serve`.

use std::path::PathBuf;

#[derive(Debug, clap::Args)]
pub(crate) struct ServeArgs {
    /// The configuration, in TOML; `ops/config.example.toml` has every option
    #[arg(long, value_name = "FILE")]
    pub(crate) config: PathBuf,
}

pub(super) const AFTER_HELP: &str = "\
When the node is ready, one line of JSON is printed: the addresses at which it
listens, with the ports that were bound; its number, cluster and name; its data
directory; when its certificate expires; the id of the process. After that it prints
nothing. SIGTERM or SIGINT ends it: links are closed, and all that was accepted is
stored. A second one ends it at once; what was acknowledged is there even so.

Examples:
  guildhall pki init --cluster main --to authority
  guildhall pki issue guild-node a --authority authority --to node
  guildhall serve --config node.toml

Exit codes:
  0  ended as it was told, and all that was accepted is stored
  1  the node did not start, its disk failed, or it was told to end twice
  2  the command line, the configuration, the credentials or the directory is not
     acceptable; standard error says which and why";
