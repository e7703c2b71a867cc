//! What may be said to commands that ask running nodes.

use std::net::{SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};

use guildhall_proto::{ChannelId, GuildId, Name, Nick, Permissions, Question, RoleId, UserId};

use super::guild_id;

/// Nodes that run, and who asks them.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct NodesArgs {
    /// A guild node that runs: host and port. May be said several times
    #[arg(long, value_name = "ADDRESS", value_parser = address, required = true)]
    pub(crate) node: Vec<SocketAddr>,

    /// Who asks: the directory that `pki issue` has made
    #[arg(long, value_name = "DIR")]
    pub(crate) credentials: PathBuf,

    /// How long each call may take, 1 to 600
    #[arg(long, value_name = "SECONDS", default_value_t = WITHIN_DEFAULT, value_parser = clap::value_parser!(u64).range(1..=600))]
    pub(crate) within: u64,
}

/// Where guilds are: in a directory, or at nodes that run.
#[derive(Debug, clap::Args)]
pub(crate) struct SourceArgs {
    /// The directory of guilds' data, which no process has open
    #[arg(long, value_name = "DIR", required_unless_present = "node", conflicts_with_all = ["node", "credentials", "within"])]
    data: Option<PathBuf>,

    /// Instead: a guild node that runs, as host and port. May be said several times
    #[arg(long, value_name = "ADDRESS", value_parser = address, requires = "credentials")]
    node: Vec<SocketAddr>,

    /// With --node: who asks, the directory that `pki issue` has made
    #[arg(long, value_name = "DIR", requires = "node")]
    credentials: Option<PathBuf>,

    /// With --node: how long each call may take, 1 to 600
    #[arg(long, value_name = "SECONDS", default_value_t = WITHIN_DEFAULT, value_parser = clap::value_parser!(u64).range(1..=600))]
    within: u64,
}

/// One or the other.
#[derive(Debug)]
pub(crate) enum Source<'a> {
    Data(&'a Path),
    Nodes(NodesArgs),
}

impl SourceArgs {
    pub(crate) fn source(&self) -> Source<'_> {
        match &self.data {
            Some(data) => Source::Data(data),
            None => {
                let credentials = self.credentials.clone();
                let credentials = credentials.expect("the parser wants --data or --node, and with that --credentials");
                Source::Nodes(NodesArgs { node: self.node.clone(), credentials, within: self.within })
            }
        }
    }
}

/// `ping` and `stats`.
#[derive(Debug, clap::Args)]
pub(crate) struct NodeArgs {
    #[command(flatten)]
    pub(crate) at: NodesArgs,

    /// Print one JSON object for each node
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct CreateArgs {
    /// The new guild's id
    #[arg(value_name = "GUILD", value_parser = guild_id)]
    pub(crate) guild: GuildId,

    /// How it is called
    #[arg(long, value_name = "TEXT", value_parser = name)]
    pub(crate) name: Name,

    /// Who owns it, as its first member
    #[arg(long, value_name = "USER", value_parser = user_id)]
    pub(crate) owner: UserId,

    /// How the owner is called there
    #[arg(long, value_name = "TEXT", value_parser = nick)]
    pub(crate) nick: Nick,

    /// What everyone may do: the number of the bits, as `export` has it
    #[arg(long, value_name = "BITS", value_parser = permissions, default_value = "3072")]
    pub(crate) everyone: Permissions,

    #[command(flatten)]
    pub(crate) at: NodesArgs,

    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct CanArgs {
    /// Which guild
    #[arg(value_name = "GUILD", value_parser = guild_id)]
    pub(crate) guild: GuildId,

    /// Which member
    #[arg(value_name = "USER", value_parser = user_id)]
    pub(crate) user: UserId,

    /// In this channel, and not in the guild as a whole
    #[arg(long, value_name = "CHANNEL", value_parser = channel_id)]
    pub(crate) channel: Option<ChannelId>,

    #[command(flatten)]
    pub(crate) at: NodesArgs,

    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct RecipientsArgs {
    /// Which guild
    #[arg(value_name = "GUILD", value_parser = guild_id)]
    pub(crate) guild: GuildId,

    /// Only who sees this channel
    #[arg(long, value_name = "CHANNEL", value_parser = channel_id)]
    channel: Option<ChannelId>,

    /// Of these, only who is online
    #[arg(long, requires = "channel", conflicts_with = "role")]
    online: bool,

    /// Only who holds this role
    #[arg(long, value_name = "ROLE", value_parser = role_id)]
    role: Option<RoleId>,

    /// Print how many there are, and not who
    #[arg(long)]
    pub(crate) count: bool,

    #[command(flatten)]
    pub(crate) at: NodesArgs,

    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

impl RecipientsArgs {
    pub(crate) fn question(&self) -> Question {
        match (self.role, self.channel) {
            (Some(role), channel) => Question::Role { role, channel },
            (None, None) => Question::All,
            (None, Some(channel)) if self.online => Question::Here { channel },
            (None, Some(channel)) => Question::Everyone { channel },
        }
    }
}

#[derive(Debug, clap::Args)]
pub(crate) struct ImportArgs {
    /// What `guild export` has written; standard input if it is not said
    #[arg(value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) at: NodesArgs,

    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

fn address(text: &str) -> Result<SocketAddr, String> {
    let mut found = text.to_socket_addrs().map_err(|error| error.to_string())?;
    found.next().ok_or_else(|| String::from("no address has this name"))
}

fn id<T: TryFrom<u64, Error: ToString>>(text: &str) -> Result<T, String> {
    let number: u64 = text.parse().map_err(|error: std::num::ParseIntError| error.to_string())?;
    T::try_from(number).map_err(|error| error.to_string())
}

fn user_id(text: &str) -> Result<UserId, String> {
    id(text)
}

fn channel_id(text: &str) -> Result<ChannelId, String> {
    id(text)
}

fn role_id(text: &str) -> Result<RoleId, String> {
    id(text)
}

fn name(text: &str) -> Result<Name, String> {
    Name::parse(text).map_err(|error| error.to_string())
}

fn nick(text: &str) -> Result<Nick, String> {
    Nick::parse(text).map_err(|error| error.to_string())
}

fn permissions(text: &str) -> Result<Permissions, String> {
    let bits: u64 = text.parse().map_err(|error: std::num::ParseIntError| error.to_string())?;
    Permissions::from_bits(bits).map_err(|error| error.to_string())
}

const WITHIN_DEFAULT: u64 = 60;

pub(super) const PING_AFTER_HELP: &str = "\
Examples:
  guildhall ping --node 127.0.0.1:7700 --credentials ada
  guildhall stats --node 127.0.0.1:7700 --credentials ada --json

Exit codes:
  0  answered
  1  a node cannot be reached, or refuses: standard error says why
  2  the command line or the credentials are not acceptable";
