//! Guilds at nodes that run, or in a directory that nobody has open: listed, shown, exported; at nodes also made and asked; in a directory also
//! checked. In a directory nothing is claimed or changed.

mod import;
mod lines;
mod remote;
mod verify;

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, bail};
use guildhall_node::{StoredView, View, stored_view};
use guildhall_proto::{GuildId, UserId};
use guildhall_store::Inspection;
use serde::Serialize;

use crate::args::{EXIT_FAILED, GuildArgs, GuildCommand, MembersArgs, Source};
use crate::data;
use lines::{BanLine, ChannelLine, GuildLine, Line, MemberLine, RoleLine};

pub(crate) use verify::Damaged;

/// Carries a command out.
///
/// # Errors
/// [`DataError`](crate::data::DataError) or [`InputError`](crate::input::InputError) for a directory, guild or file that is not there; anything else if
/// it cannot be read, or a node does not answer or refuses.
pub(crate) fn run(command: &GuildCommand, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    let done = match command {
        GuildCommand::Create(args) => remote::create(args, out),
        GuildCommand::List(args) => match args.from.source() {
            Source::Data(path) => return list(path, args.json, out),
            Source::Nodes(nodes) => remote::list(&nodes, args.json, out),
        },
        GuildCommand::Show(args) => match args.of.from.source() {
            Source::Data(path) => show(path, args, out),
            Source::Nodes(nodes) => remote::show(&nodes, args.guild, args.of.json, out),
        },
        GuildCommand::Members(args) => match args.of.of.from.source() {
            Source::Data(path) => members(path, args, out),
            Source::Nodes(nodes) => remote::members(&nodes, args, out),
        },
        GuildCommand::Can(args) => remote::can(args, out),
        GuildCommand::Recipients(args) => remote::recipients(args, out),
        GuildCommand::Verify(args) => return verify::verify(args, out),
        GuildCommand::Export(args) => match args.of.from.source() {
            Source::Data(path) => export(path, args, out),
            Source::Nodes(nodes) => remote::export(&nodes, args.guild, out),
        },
        GuildCommand::Import(args) => import::import(args, out),
    };
    done.map(|()| ExitCode::SUCCESS)
}

/// Lists all guilds. One that cannot be read is told on standard error, and does not hide the others.
fn list(path: &Path, is_json: bool, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    let inspection = data::inspect(path)?;
    let mut code = ExitCode::SUCCESS;
    for guild in inspection.guilds() {
        match read(&inspection, guild) {
            Ok((line, _)) if is_json => json(out, &Line::Guild(line))?,
            Ok((line, _)) => writeln!(out, "{line}")?,
            Err(error) => {
                drop(writeln!(io::stderr(), "guildhall: {}", crate::told(&error)));
                code = ExitCode::from(EXIT_FAILED);
            }
        }
    }
    Ok(code)
}

fn show(path: &Path, args: &GuildArgs, out: &mut dyn Write) -> anyhow::Result<()> {
    let (line, view) = chosen(path, args.guild)?;
    show_head(line, args.of.json, out)?;
    if let Some(view) = view {
        roles(&view).try_for_each(|role| show_role(role, args.of.json, out))?;
        channels(&view).try_for_each(|channel| show_channel(channel, args.of.json, out))?;
    }
    Ok(())
}

fn show_head(line: GuildLine, is_json: bool, out: &mut dyn Write) -> anyhow::Result<()> {
    if is_json { json(out, &Line::Guild(line)) } else { Ok(writeln!(out, "{}", line.in_full())?) }
}

fn show_role(line: RoleLine, is_json: bool, out: &mut dyn Write) -> anyhow::Result<()> {
    if is_json { json(out, &Line::Role(line)) } else { Ok(writeln!(out, "{line}")?) }
}

fn show_channel(line: ChannelLine, is_json: bool, out: &mut dyn Write) -> anyhow::Result<()> {
    if is_json { json(out, &Line::Channel(line)) } else { Ok(writeln!(out, "{line}")?) }
}

fn show_member(line: MemberLine, is_json: bool, out: &mut dyn Write) -> anyhow::Result<()> {
    if is_json { json(out, &Line::Member(line)) } else { Ok(writeln!(out, "{line}")?) }
}

fn members(path: &Path, args: &MembersArgs, out: &mut dyn Write) -> anyhow::Result<()> {
    let (line, view) = chosen(path, args.of.guild)?;
    let is_json = args.of.of.json;
    if args.count {
        return show_count(line.guild, line.members, is_json, out);
    }
    view.iter().flat_map(all_members).try_for_each(|member| show_member(member, is_json, out))
}

fn show_count(guild: String, members: usize, is_json: bool, out: &mut dyn Write) -> anyhow::Result<()> {
    #[derive(Serialize)]
    struct Count {
        guild: String,
        members: usize,
    }
    if is_json { json(out, &Count { guild, members }) } else { Ok(writeln!(out, "{members}")?) }
}

fn export(path: &Path, args: &GuildArgs, out: &mut dyn Write) -> anyhow::Result<()> {
    let (line, view) = chosen(path, args.guild)?;
    json(out, &Line::Guild(line))?;
    if let Some(view) = view {
        roles(&view).try_for_each(|role| json(out, &Line::Role(role)))?;
        channels(&view).try_for_each(|channel| json(out, &Line::Channel(channel)))?;
        view.bans().behind(None).try_for_each(|ban| json(out, &Line::Ban(BanLine::of(ban))))?;
        all_members(&view).try_for_each(|member| json(out, &Line::Member(member)))?;
    }
    Ok(())
}

fn chosen(path: &Path, asked: Option<GuildId>) -> anyhow::Result<(GuildLine, Option<View>)> {
    let inspection = data::inspect(path)?;
    let guild = data::choose(path, &inspection.guilds(), asked)?;
    read(&inspection, guild)
}

/// Reads a guild as its next owner would find it.
fn read(inspection: &Inspection, guild: GuildId) -> anyhow::Result<(GuildLine, Option<View>)> {
    let Some(stored) = inspection.read(guild).with_context(|| format!("guild {guild} cannot be read"))? else {
        bail!("nothing is stored of guild {guild}");
    };
    let epoch = stored.epoch;
    let view = stored_view(guild, stored).with_context(|| format!("guild {guild} cannot be brought back"))?;
    let line = GuildLine::of(guild, epoch, &view);
    Ok((line, if let StoredView::Alive(view) = view { Some(view) } else { None }))
}

fn roles(view: &View) -> impl Iterator<Item = RoleLine> {
    view.rights().roles().map(RoleLine::of)
}

fn channels(view: &View) -> impl Iterator<Item = ChannelLine> {
    let overwrites = |id| view.rights().overwrites(id).map(|overwrites| overwrites.as_slice()).unwrap_or_default();
    view.rights().channels().map(move |channel| ChannelLine::of(channel, overwrites(channel.id)))
}

/// All members, ascending, some thousands at a time.
fn all_members(view: &View) -> impl Iterator<Item = MemberLine> {
    let mut after: Option<UserId> = None;
    let mut runs = std::iter::from_fn(move || {
        let run = view.range(after, MEMBERS_A_RUN);
        after = run.last().map(|member| member.user).or(after);
        Some(run).filter(|run| !run.is_empty())
    });
    std::iter::from_fn(move || runs.next()).flatten().map(MemberLine::of)
}

/// Writes a line of JSON.
fn json(out: &mut dyn Write, line: &impl Serialize) -> anyhow::Result<()> {
    serde_json::to_writer(&mut *out, line).map_err(io::Error::from)?;
    Ok(out.write_all(b"\n")?)
}

const MEMBERS_A_RUN: usize = 4_096;
