//! What may be said to `guild`.

use std::path::PathBuf;

use clap::Subcommand;
use guildhall_proto::GuildId;

use super::guild_id;
use super::remote::{CanArgs, CreateArgs, ImportArgs, RecipientsArgs, SourceArgs};

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
    /// A guild as JSON lines, with and without --json: first the guild, then its roles, channels, bans and members
    Export(GuildArgs),
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

const IMPORT_ABOUT: &str = "\
Make a guild, at a node, of what an export wrote: the guild with its roles, channels, bans and members.

Roles, channels and members that are there already stay as they are, and are counted, and so does what everyone may do, unless that is nothing: an \
import that was broken off is gone on with by the same command. In a guild that was there before, who is a member is not banned; who is banned is so for \
the file's reason. A guild that is there under another name or owner is not touched. Members have joined when \
they are imported, not when they had. The file is read as it is sent: what is before a bad line is there.";

pub(super) const AFTER_HELP: &str = "\
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
