//! Makes a guild at a node of the lines that an export wrote, as they come. Only channels, which are few, are kept until the last of them, so that
//! categories are there before what stands under them.
//!
//! Roles, channels and members that are there already stay as they are and are counted, so that an import that was broken off is gone on with by doing it again. What everyone may do,
//! and the owner, are there with the guild itself: they are set while they are as an import leaves them that has not come to their lines.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::mem::take;

use guildhall_client::{Client, ClientError, Guild, Piece};
use guildhall_proto::limits::BULK_MEMBERS_MAX;
use guildhall_proto::{
    Actor, Ban, Channel, ChannelKind, Command, CommandError, GuildId, GuildSettings, Member, MemberEdit, MemberFlags,
    NewMember, Nick, Outcome, Overwrite, Permissions, Position, Role, RoleEdit, RoleId, UserId,
};
use indicatif::ProgressBar;
use serde::Serialize;

use super::json;
use super::lines::Line;
use crate::args::ImportArgs;
use crate::bars::bar;
use crate::input::InputError;
use crate::remote::with;

pub(super) fn import(args: &ImportArgs, out: &mut dyn Write) -> anyhow::Result<()> {
    let mut lines: Box<dyn BufRead> = match &args.file {
        Some(path) => {
            let file = File::open(path).map_err(|source| InputError::Unreadable { path: path.clone(), source })?;
            Box::new(BufReader::new(file))
        }
        None => Box::new(io::stdin().lock()),
    };
    let imported = with(&args.at, async |client| import_all(client, &mut *lines).await)?;
    if args.json {
        return json(out, &imported);
    }
    let Imported { guild, created, roles, channels, bans, members, existing, banned, at } = &imported;
    let made = if *created { "made" } else { "there before" };
    Ok(writeln!(
        out,
        "guild {guild}, {made}\t{roles} roles\t{channels} channels\t{bans} bans\t{members} members\t{existing} there before\t{banned} banned\tat {at}"
    )?)
}

/// What an import came to.
#[derive(Debug, Default, Serialize)]
struct Imported {
    guild: String,
    /// Whether the guild was not there before.
    created: bool,
    /// As the next three: those that were added.
    roles: u64,
    channels: u64,
    bans: u64,
    members: u64,
    /// Roles, channels and members that were there before, members among them whom a line bans.
    existing: u64,
    /// Members left out, for they are banned.
    banned: u64,
    /// From which position on all of it can be read.
    at: String,
}

async fn import_all(client: &Client, lines: &mut dyn BufRead) -> anyhow::Result<Imported> {
    let mut import: Option<Import> = None;
    let mut text = String::new();
    let mut number = 0;
    while read_line(lines, number + 1, &mut text)? {
        number += 1;
        let wrong = |error: anyhow::Error| bad_line(number, &error);
        let line: Line = serde_json::from_str(&text).map_err(|error| wrong(error.into()))?;
        let Some(import) = &mut import else {
            let Line::Guild(head) = line else {
                return Err(bad_line(number, &anyhow::anyhow!("the first line is not a guild's")).into());
            };
            let (guild, settings) = head.guild().map_err(wrong)?;
            import = Some(Import::begin(client, guild, settings, head.members as u64).await?);
            continue;
        };
        if !matches!(line, Line::Channel(_)) {
            import.add_channels().await?;
        }
        import.line = number;
        match line {
            Line::Guild(_) => return Err(wrong(anyhow::anyhow!("another guild begins")).into()),
            Line::Role(line) => import.add_role(line.role().map_err(wrong)?).await?,
            Line::Channel(line) => import.channels.push((number, line.channel().map_err(wrong)?)),
            Line::Ban(line) => import.add_ban(line.ban().map_err(wrong)?).await?,
            Line::Member(line) => import.add_member(line.member().map_err(wrong)?).await?,
        }
    }
    let import = import.ok_or_else(|| bad_line(1, &anyhow::anyhow!("there is nothing to import")))?;
    import.end().await
}

/// An import under way.
struct Import {
    guild: Guild,
    id: GuildId,
    settings: GuildSettings,
    imported: Imported,
    at: Position,
    /// Whether everyone may do nothing yet.
    is_bare: bool,
    has_owner: bool,
    /// The line that is being carried out.
    line: usize,
    /// Channels to be added next, with the lines in which they stand; members likewise.
    channels: Vec<(usize, (Channel, Vec<Overwrite>))>,
    members: Vec<(usize, NewMember)>,
    bar: ProgressBar,
}

impl Import {
    /// Makes the guild, if it is not there.
    async fn begin(client: &Client, id: GuildId, settings: GuildSettings, members: u64) -> anyhow::Result<Self> {
        let guild = client.guild(id);
        let nick = nick_until_named(settings.owner)?;
        let owner = NewMember { user: settings.owner, nick, roles: Vec::new(), flags: MemberFlags::NONE };
        let name = settings.name.clone();
        let command = Command::CreateGuild { name, everyone: Permissions::NONE, owner };
        let (mut at, mut is_bare) = (Position::default(), true);
        let created = match guild.call(Actor::System, command).await {
            Ok(outcome) => {
                at = outcome.at();
                true
            }
            Err(ClientError::Refused(CommandError::GuildExists)) => {
                let (mut pieces, mut found) = (guild.show().await?, None);
                while let Some(some) = pieces.next().await? {
                    for piece in some {
                        if let Piece::Settings(settings) = piece {
                            found = Some(settings);
                        } else if let Piece::Role(role) = piece
                            && role.id == RoleId::everyone(id)
                        {
                            is_bare = role.permissions == Permissions::NONE;
                        }
                    }
                }
                if found.as_ref() != Some(&settings) {
                    return Err(InputError::OtherGuild { guild: id }.into());
                }
                false
            }
            Err(error) => return Err(error.into()),
        };
        let imported = Imported { guild: id.to_string(), created, ..Imported::default() };
        let bar = bar(members, "members imported");
        let (channels, members) = (Vec::new(), Vec::new());
        Ok(Self { guild, id, settings, imported, at, is_bare, has_owner: false, line: 1, channels, members, bar })
    }

    async fn add_role(&mut self, role: Role) -> anyhow::Result<()> {
        if role.id == RoleId::everyone(self.id) {
            if !self.is_bare {
                return Ok(());
            }
            let edit = RoleEdit { permissions: Some(role.permissions), ..RoleEdit::default() };
            return self.apply(Command::UpdateRole { role: role.id, edit }).await.map(|_| ());
        }
        self.imported.roles += u64::from(self.add(Command::CreateRole(role)).await?);
        Ok(())
    }

    /// Adds the channels that were read so far, categories first.
    async fn add_channels(&mut self) -> anyhow::Result<()> {
        let mut channels = take(&mut self.channels);
        channels.sort_by_key(|(_, (channel, _))| channel.kind != ChannelKind::Category);
        for (line, (channel, overwrites)) in channels {
            self.line = line;
            let command = Command::CreateChannel { channel, overwrites };
            self.imported.channels += u64::from(self.add(command).await?);
        }
        Ok(())
    }

    /// Bans who is no member.
    async fn add_ban(&mut self, ban: Ban) -> anyhow::Result<()> {
        if self.is_there(ban.user).await?.is_some() {
            self.imported.existing += 1;
            return Ok(());
        }
        self.apply(Command::Ban { user: ban.user, reason: ban.reason }).await?;
        self.imported.bans += 1;
        Ok(())
    }

    /// A member of a guild that was there before.
    async fn is_there(&self, user: UserId) -> anyhow::Result<Option<Member>> {
        if self.imported.created {
            return Ok(None);
        }
        match self.guild.member(user).await {
            Ok((_, member)) => Ok(Some(member)),
            Err(ClientError::Refused(CommandError::UnknownMember { .. })) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    async fn add_member(&mut self, member: NewMember) -> anyhow::Result<()> {
        if member.user == self.settings.owner {
            self.has_owner = true;
            if let Some(owner) = self.is_there(member.user).await?
                && (owner.nick != nick_until_named(owner.user)? || !owner.roles.is_empty())
            {
                self.imported.existing += 1;
                self.bar.inc(1);
                return Ok(());
            }
            let NewMember { user, nick, roles, flags } = member;
            let edit = MemberEdit { nick: Some(nick), roles: Some(roles), flags: Some(flags) };
            self.apply(Command::UpdateMember { user, edit }).await?;
            self.imported.members += 1;
            self.bar.inc(1);
            return Ok(());
        }
        self.members.push((self.line, member));
        if self.members.len() < BULK_MEMBERS_MAX { Ok(()) } else { self.add_members().await }
    }

    /// Adds the members that were read so far.
    async fn add_members(&mut self) -> anyhow::Result<()> {
        if self.members.is_empty() {
            return Ok(());
        }
        let (numbers, members): (Vec<usize>, Vec<NewMember>) = take(&mut self.members).into_iter().unzip();
        let outcome = self.apply(Command::ImportMembers(members)).await?;
        let Outcome::MembersImported { at: _, lines, added, existing, banned, stopped } = outcome else {
            anyhow::bail!("an import came to {outcome:?}");
        };
        self.imported.members += u64::from(added);
        self.imported.existing += u64::from(existing);
        self.imported.banned += u64::from(banned);
        self.bar.inc(lines.into());
        match (stopped, numbers.get(lines as usize)) {
            (Some(fault), Some(line)) => Err(bad_line(*line, &fault.into()).into()),
            (Some(fault), None) => Err(fault.into()),
            (None, _) => Ok(()),
        }
    }

    /// Adds something that may be there already; whether it was not.
    async fn add(&mut self, command: Command) -> anyhow::Result<bool> {
        match self.guild.call(Actor::System, command).await {
            Ok(outcome) => {
                self.at = self.at.max(outcome.at());
                Ok(true)
            }
            Err(ClientError::Refused(CommandError::RoleExists { .. } | CommandError::ChannelExists { .. })) => {
                self.imported.existing += 1;
                Ok(false)
            }
            Err(error) => Err(self.refused(error)),
        }
    }

    async fn apply(&mut self, command: Command) -> anyhow::Result<Outcome> {
        let outcome = self.guild.call(Actor::System, command).await.map_err(|error| self.refused(error))?;
        self.at = self.at.max(outcome.at());
        Ok(outcome)
    }

    /// What is refused is the line's fault.
    fn refused(&self, error: ClientError) -> anyhow::Error {
        let is_refused = matches!(error, ClientError::Refused(_));
        let error = anyhow::Error::from(error);
        if is_refused { bad_line(self.line, &error).into() } else { error }
    }

    async fn end(mut self) -> anyhow::Result<Imported> {
        self.add_channels().await?;
        self.add_members().await?;
        self.bar.finish_and_clear();
        if !self.has_owner {
            return Err(bad_line(self.line, &anyhow::anyhow!("the owner is not among the members")).into());
        }
        self.imported.at = self.at.to_string();
        Ok(self.imported)
    }
}

/// What the owner is called until its own line has come.
fn nick_until_named(owner: UserId) -> anyhow::Result<Nick> {
    Ok(Nick::parse(&owner.to_string())?)
}

/// Reads the next line, without what ends it; `false` if there is none.
fn read_line(lines: &mut dyn BufRead, number: usize, text: &mut String) -> anyhow::Result<bool> {
    text.clear();
    let mut bounded = io::Read::take(lines, LINE_BYTES_MAX + 1);
    let read = bounded.read_line(text).map_err(|error| bad_line(number, &error.into()))?;
    if read as u64 > LINE_BYTES_MAX {
        return Err(bad_line(number, &anyhow::anyhow!("more than {LINE_BYTES_MAX} bytes")).into());
    }
    Ok(read > 0)
}

fn bad_line(line: usize, error: &anyhow::Error) -> InputError {
    InputError::Line { line, why: crate::told(error) }
}

/// A channel with all the overwrites that it may have takes some 100 bytes each.
const LINE_BYTES_MAX: u64 = 1024 * 1024;
