//! Guilds in a directory that nobody has open: listed, shown, exported, checked. Nothing is claimed or changed.

mod lines;
mod verify;

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, bail};
use guildhall_node::{StoredView, View, stored_view};
use guildhall_proto::{GuildId, UserId};
use guildhall_store::Inspection;
use serde::Serialize;

use crate::args::{EXIT_FAILED, ExportArgs, GuildArgs, GuildCommand, GuildsArgs, MembersArgs};
use crate::data;
use lines::{BanLine, ChannelLine, GuildLine, MemberLine, RoleLine};

pub(crate) use verify::Damaged;

/// Carries a command out.
///
/// # Errors
/// [`DataError`](crate::data::DataError) for a directory or guild that is not there; anything else if it cannot be read.
pub(crate) fn run(command: &GuildCommand, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    match command {
        GuildCommand::List(args) => list(args, out),
        GuildCommand::Show(args) => show(args, out),
        GuildCommand::Members(args) => members(args, out),
        GuildCommand::Verify(args) => verify::verify(args, out),
        GuildCommand::Export(args) => export(args, out),
    }
}

/// Lists all guilds. One that cannot be read is told on standard error, and does not hide the others.
fn list(args: &GuildsArgs, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    let inspection = data::inspect(&args.data)?;
    let mut code = ExitCode::SUCCESS;
    for guild in inspection.guilds() {
        match read(&inspection, guild) {
            Ok((line, _)) if args.json => json(out, &line)?,
            Ok((line, _)) => writeln!(out, "{line}")?,
            Err(error) => {
                drop(writeln!(io::stderr(), "guildhall: {}", crate::told(&error)));
                code = ExitCode::from(EXIT_FAILED);
            }
        }
    }
    Ok(code)
}

fn show(args: &GuildArgs, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    let (line, view) = chosen(&args.of.data, args.guild)?;
    if args.of.json {
        json(out, &line)?;
    } else {
        writeln!(out, "{}", line.in_full())?;
    }
    let Some(view) = view else {
        return Ok(ExitCode::SUCCESS);
    };
    for role in roles(&view) {
        if args.of.json { json(out, &role)? } else { writeln!(out, "{role}")? }
    }
    for channel in channels(&view) {
        if args.of.json { json(out, &channel)? } else { writeln!(out, "{channel}")? }
    }
    Ok(ExitCode::SUCCESS)
}

fn members(args: &MembersArgs, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    #[derive(Serialize)]
    struct Count {
        guild: String,
        members: usize,
    }
    let (line, view) = chosen(&args.of.of.data, args.of.guild)?;
    let is_json = args.of.of.json;
    match (args.count, is_json) {
        (true, true) => json(out, &Count { guild: line.guild, members: line.members })?,
        (true, false) => writeln!(out, "{}", line.members)?,
        (false, _) => {
            for member in view.iter().flat_map(all_members) {
                if is_json { json(out, &member)? } else { writeln!(out, "{member}")? }
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn export(args: &ExportArgs, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    let (line, view) = chosen(&args.data, args.guild)?;
    json(out, &line)?;
    if let Some(view) = view {
        roles(&view).try_for_each(|role| json(out, &role))?;
        channels(&view).try_for_each(|channel| json(out, &channel))?;
        all_members(&view).try_for_each(|member| json(out, &member))?;
        view.bans().behind(None).try_for_each(|ban| json(out, &BanLine::of(ban)))?;
    }
    Ok(ExitCode::SUCCESS)
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
