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
nothing on standard output. SIGTERM or SIGINT ends it: links are closed, and all that was accepted is
stored. A second one ends it at once; what was acknowledged is there even so.

What operators ask for is on record: one line for each of their calls when it has
ended, at the target `audit`, in the log on standard error from whatever --log-level
on but `off`. It says who asked (operator), what (call), of which guild, about which
user, as which operation (op: client and counter), at which position a change stands
(at), how the call ended (outcome: `answered`, or the reason), and what the operator
was told instead (why). The last example keeps the log in a file.

To log never holds the node up: while standard error takes nothing, 4,096 lines (4 MiB)
of what operators ask for may wait, and apart from these as many others. What finds no
place is lost, and counted: `guildhall stats` shows log_lines_lost_total by target,
`audit` or `other`, and the last line of the log says it too. Whoever needs each line of
`audit` has a reader that keeps up, or a file on a disk with room, and an eye on that.

Examples:
  guildhall pki init --cluster main --to authority
  guildhall pki issue guild-node a --authority authority --to node
  guildhall serve --config node.toml
  guildhall serve --config node.toml --log json 2>> node.log
  jq 'select(.target == \"audit\")' node.log

Exit codes:
  0  ended as it was told, and all that was accepted is stored
  1  the node did not start, its disk failed, or it was told to end twice
  2  the command line, the configuration, the credentials or the directory is not
     acceptable; standard error says which and why";
