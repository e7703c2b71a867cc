//! Guilds at nodes that run: the same lines as of a directory, of one moment each.

use std::io::Write;

use guildhall_client::{Client, ClientError, PageLimit, Piece, Pieces};
use guildhall_proto::{
    Actor, AsOf, Ban, Channel, Command, CommandError, GuildId, GuildSettings, Member, MemberFlags, NewMember,
    Overwrite, Permissions, Role,
};
use serde::Serialize;

use super::lines::{BanLine, ChannelLine, GuildLine, Line, MemberLine, RoleLine};
use super::{json, show_channel, show_count, show_head, show_member, show_role};
use crate::args::{CanArgs, CreateArgs, MembersArgs, NodesArgs, RecipientsArgs};
use crate::bars::bar;
use crate::input::InputError;
use crate::remote::{each, with};

/// Makes a guild.
pub(super) fn create(args: &CreateArgs, out: &mut dyn Write) -> anyhow::Result<()> {
    #[derive(Serialize)]
    struct Created {
        guild: String,
        at: String,
    }
    let CreateArgs { guild, name, owner, nick, everyone, at, json: is_json } = args;
    let owner = NewMember { user: *owner, nick: nick.clone(), roles: Vec::new(), flags: MemberFlags::NONE };
    let command = Command::CreateGuild { name: name.clone(), everyone: *everyone, owner };
    let outcome = with(at, async |client| Ok(client.guild(*guild).call(Actor::System, command).await?))?;
    let at = outcome.at().to_string();
    match is_json {
        true => json(out, &Created { guild: guild.to_string(), at }),
        false => Ok(writeln!(out, "guild {guild} is there, at {at}")?),
    }
}

/// Lists the guilds of each node.
pub(super) fn list(nodes: &NodesArgs, is_json: bool, out: &mut dyn Write) -> anyhow::Result<()> {
    let listed = each(nodes, async |_, client| {
        let mut after = None;
        loop {
            let page = client.guilds(after, PageLimit::MAX).await?;
            for guild in &page.guilds {
                let line = match client.guild(*guild).show().await {
                    Ok(pieces) => Head::read(pieces).await?.line(*guild),
                    Err(ClientError::Refused(CommandError::UnknownGuild)) => GuildLine::absent(*guild),
                    Err(error) => return Err(error.into()),
                };
                if is_json { json(out, &Line::Guild(line))? } else { writeln!(out, "{line}")? }
            }
            after = page.guilds.last().copied();
            if !page.more || after.is_none() {
                return Ok(());
            }
        }
    });
    listed.map(|_| ())
}

pub(super) fn show(
    nodes: &NodesArgs,
    guild: Option<GuildId>,
    is_json: bool,
    out: &mut dyn Write,
) -> anyhow::Result<()> {
    with(nodes, async |client| {
        let guild = chosen(client, guild).await?;
        let head = Head::read(client.guild(guild).show().await?).await?;
        show_head(head.line(guild), is_json, out)?;
        head.roles.iter().try_for_each(|role| show_role(RoleLine::of(role), is_json, out))?;
        let mut channels = head.channels.iter();
        channels.try_for_each(|(channel, overwrites)| show_channel(ChannelLine::of(channel, overwrites), is_json, out))
    })
}

pub(super) fn members(nodes: &NodesArgs, args: &MembersArgs, out: &mut dyn Write) -> anyhow::Result<()> {
    let is_json = args.of.of.json;
    with(nodes, async |client| {
        let guild = chosen(client, args.of.guild).await?;
        if args.count {
            let members = client.guild(guild).show().await?.members();
            return show_count(guild.to_string(), members as usize, is_json, out);
        }
        let mut members = client.guild(guild).members(None, None).await?;
        while let Some(member) = members.next().await? {
            show_member(MemberLine::of(member), is_json, out)?;
        }
        Ok(())
    })
}

/// What a member may do.
pub(super) fn can(args: &CanArgs, out: &mut dyn Write) -> anyhow::Result<()> {
    #[derive(Serialize)]
    struct Can {
        guild: String,
        user: String,
        channel: Option<String>,
        /// The bits' number.
        permissions: String,
        names: Vec<&'static str>,
        at: String,
    }
    let CanArgs { guild, user, channel, at, json: is_json } = args;
    let (as_of, permissions) = with(at, async |client| Ok(client.guild(*guild).can(*user, *channel).await?))?;
    let names = Permissions::NAMED.iter().filter(|(_, bit)| permissions.contains(*bit)).map(|(name, _)| *name);
    let can = Can {
        guild: guild.to_string(),
        user: user.to_string(),
        channel: channel.map(|channel| channel.to_string()),
        permissions: permissions.bits().to_string(),
        names: names.collect(),
        at: as_of.at.to_string(),
    };
    match is_json {
        true => json(out, &can),
        false => can.names.iter().try_for_each(|name| Ok(writeln!(out, "{name}")?)),
    }
}

/// Whom a ping reaches.
pub(super) fn recipients(args: &RecipientsArgs, out: &mut dyn Write) -> anyhow::Result<()> {
    #[derive(Serialize)]
    struct Recipient {
        user: String,
    }
    #[derive(Serialize)]
    struct Count {
        guild: String,
        recipients: usize,
    }
    with(&args.at, async |client| {
        let mut recipients = client.guild(args.guild).recipients(args.question()).await?;
        let mut count = 0;
        while let Some(users) = recipients.next().await? {
            count += users.len();
            for user in users.iter().filter(|_| !args.count) {
                if args.json { json(out, &Recipient { user: user.to_string() })? } else { writeln!(out, "{user}")? }
            }
        }
        match (args.count, args.json) {
            (true, true) => json(out, &Count { guild: args.guild.to_string(), recipients: count }),
            (true, false) => Ok(writeln!(out, "{count}")?),
            (false, _) => Ok(()),
        }
    })
}

/// Writes a whole guild, with a bar of its members.
pub(super) fn export(nodes: &NodesArgs, guild: Option<GuildId>, out: &mut dyn Write) -> anyhow::Result<()> {
    with(nodes, async |client| {
        let guild = chosen(client, guild).await?;
        let mut pieces = client.guild(guild).export().await?;
        let bar = bar(pieces.members().into(), "members exported");
        let (mut head, mut is_told) = (Head::new(&pieces), false);
        while let Some(some) = pieces.next().await? {
            for piece in some {
                let Some(rest) = head.take(piece) else { continue };
                if !is_told {
                    head.tell(guild, out)?;
                    is_told = true;
                }
                match rest {
                    Rest::Ban(ban) => json(out, &Line::Ban(BanLine::of(ban)))?,
                    Rest::Member(member) => {
                        json(out, &Line::Member(MemberLine::of(member)))?;
                        bar.inc(1);
                    }
                }
            }
        }
        bar.finish_and_clear();
        if is_told { Ok(()) } else { head.tell(guild, out) }
    })
}

/// The guild that was asked for: by its id, or as the only one there is.
async fn chosen(client: &Client, asked: Option<GuildId>) -> anyhow::Result<GuildId> {
    if let Some(guild) = asked {
        return Ok(guild);
    }
    let two = PageLimit::new(2).expect("two are within a page");
    let page = client.guilds(None, two).await?;
    match page.guilds[..] {
        [guild] if !page.more => Ok(guild),
        [] => Err(InputError::WhichGuild { guilds: "no" }.into()),
        _ => Err(InputError::WhichGuild { guilds: "several" }.into()),
    }
}

/// What a guild's pieces begin with.
struct Head {
    as_of: AsOf,
    members: u32,
    online: u32,
    bans: u32,
    settings: Option<GuildSettings>,
    roles: Vec<Role>,
    channels: Vec<(Channel, Vec<Overwrite>)>,
}

/// What comes behind that.
enum Rest {
    Ban(Ban),
    Member(Member),
}

impl Head {
    fn new(pieces: &Pieces) -> Self {
        let (as_of, members, online, bans) = (pieces.as_of(), pieces.members(), pieces.online(), pieces.bans());
        Self { as_of, members, online, bans, settings: None, roles: Vec::new(), channels: Vec::new() }
    }

    /// Reads all of it, of pieces that have nothing else.
    async fn read(mut pieces: Pieces) -> Result<Self, ClientError> {
        let mut head = Self::new(&pieces);
        while let Some(some) = pieces.next().await? {
            for piece in some {
                head.take(piece);
            }
        }
        Ok(head)
    }

    /// Keeps a piece, if it belongs here.
    fn take(&mut self, piece: Piece) -> Option<Rest> {
        match piece {
            Piece::Settings(settings) => self.settings = Some(settings),
            Piece::Role(role) => self.roles.push(role),
            Piece::Channel(channel, overwrites) => self.channels.push((channel, overwrites)),
            Piece::Ban(ban) => return Some(Rest::Ban(ban)),
            Piece::Member(member) => return Some(Rest::Member(member)),
            // A client lets none through where they were not asked for.
            Piece::Event(_) => {}
        }
        None
    }

    fn line(&self, guild: GuildId) -> GuildLine {
        let settings = self.settings.as_ref().expect("a client lets nothing through that does not begin with it");
        let (of_members, of_things) = ((self.members, self.online, self.bans), (self.roles.len(), self.channels.len()));
        GuildLine::told(guild, self.as_of, settings, of_members, of_things)
    }

    fn tell(&self, guild: GuildId, out: &mut dyn Write) -> anyhow::Result<()> {
        json(out, &Line::Guild(self.line(guild)))?;
        self.roles.iter().try_for_each(|role| json(out, &Line::Role(RoleLine::of(role))))?;
        let mut channels = self.channels.iter();
        channels.try_for_each(|(channel, overwrites)| json(out, &Line::Channel(ChannelLine::of(channel, overwrites))))
    }
}
