//! The logs of a directory that nobody has open: checked, mended, printed.

use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::Arc;

use guildhall_log::{Found, Repaired, Verified};
use guildhall_store::{Alone, Directory, EmbeddedConfig, Inspection, Logs, OfEach, Seen};
use serde::Serialize;

use crate::args::{CatArgs, EXIT_FAILED, GuildsArgs, LogCommand, RepairArgs};
use crate::data::DataError;
use crate::guild::Damaged;
use crate::operations::now;

/// Carries a command out.
///
/// # Errors
/// [`DataError`] for a directory that is not there; anything else if it cannot be read or written.
pub(crate) fn run(command: &LogCommand, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    match command {
        LogCommand::Verify(args) => verify(args, out),
        LogCommand::Repair(args) => repair(args, out),
        LogCommand::Cat(args) => cat(args, out),
    }
}

/// A log, as it was found or as it is left.
#[derive(Debug, Serialize)]
struct LogLine {
    log: &'static str,
    segments: u64,
    records: u64,
    bytes: u64,
    /// Of the end that was being written in a crash: nobody was told of it, and it is no damage.
    torn_bytes: u64,
    damage: Option<Damaged>,
    /// Behind the damage.
    records_lost: u64,
    bytes_lost: u64,
    /// Of the records those that cannot be read at all.
    unreadable: u64,
    /// Segments cut off, by their names then.
    cut: Vec<String>,
}

fn verify(args: &GuildsArgs, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    let OfEach { records, checkpoints } =
        logs(args)?.verify().map_err(|error| DataError::opening(&args.data, error))?;
    let line = |log, Verified { found, bad }| LogLine::of(log, Repaired { found, bad, ..Repaired::default() });
    let lines = [line("records", records), line("checkpoints", checkpoints)];
    show(&lines, args.json, out)?;
    Ok(if tell_damage(&lines) { ExitCode::from(EXIT_FAILED) } else { ExitCode::SUCCESS })
}

fn repair(args: &RepairArgs, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    let RepairArgs { of, yes, accept } = args;
    let logs = if *yes { Logs::of(Directory::lock(&of.data).map_err(DataError::from)?) } else { logs(of)? };
    let config = EmbeddedConfig::default();
    let repaired = if *yes { logs.repair(&config, now()?) } else { logs.foresee() };
    let OfEach { records, checkpoints } = repaired.map_err(|error| DataError::opening(&of.data, error))?;
    let lines = [LogLine::of("records", records), LogLine::of("checkpoints", checkpoints)];
    show(&lines, of.json, out)?;
    let is_damaged = tell_damage(&lines);
    tell_unreadable(&lines);
    if is_damaged && !yes {
        drop(writeln!(io::stderr(), "guildhall: nothing is changed yet: --yes cuts off what is lost"));
        return Ok(ExitCode::from(EXIT_FAILED));
    }
    if *accept && is_damaged {
        drop(writeln!(io::stderr(), "guildhall: nothing is accepted yet: see first which guilds the repair has cut"));
    } else if *accept {
        for (guild, number) in logs.accept().map_err(|error| DataError::opening(&of.data, error))? {
            let line = format!("guild {guild} comes back without some of what it had stored, up to record {number}");
            drop(writeln!(io::stderr(), "guildhall: {line}"));
        }
    }
    drop(logs);
    // What was cut may have been a guild's only checkpoint, or records between others.
    let directory = Directory::look(&of.data).map_err(DataError::from)?;
    let verification = Inspection::verify(directory, Arc::new(Alone));
    let verification = verification.map_err(|error| DataError::opening(&of.data, error))?;
    for (guild, error) in &verification.damaged {
        drop(writeln!(io::stderr(), "guildhall: guild {guild} stays away: {error}"));
    }
    Ok(if verification.is_whole() { ExitCode::SUCCESS } else { ExitCode::from(EXIT_FAILED) })
}

fn cat(args: &CatArgs, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    #[derive(Serialize)]
    struct RecordLine<'a> {
        log: &'a str,
        segment: u64,
        offset: u64,
        guild: String,
        epoch: u64,
        seq: u64,
        kind: &'a str,
        bytes: u32,
    }
    let CatArgs { of, guild: wanted } = args;
    let mut written = Ok(());
    let read = logs(of)?.read(|seen| {
        let Seen { log, kind, place, head } = seen;
        if written.is_err() || wanted.is_some_and(|wanted| wanted.get() != head.guild) {
            return;
        }
        let (segment, offset, bytes) = (place.segment, place.offset, place.bytes);
        let (guild, epoch, seq) = (head.guild, head.epoch, head.seq);
        written = if of.json {
            let line = RecordLine { log, segment, offset, guild: guild.to_string(), epoch, seq, kind, bytes };
            serde_json::to_writer(&mut *out, &line).map_err(io::Error::from).and_then(|()| out.write_all(b"\n"))
        } else {
            writeln!(
                out,
                "{log}/{segment:012}.log\toffset {offset}\tguild {guild}\tepoch {epoch}\tseq {seq}\t{kind}\t{bytes} bytes"
            )
        };
    });
    written?;
    read.map_err(|error| DataError::opening(&of.data, error))?;
    Ok(ExitCode::SUCCESS)
}

fn logs(args: &GuildsArgs) -> Result<Logs, DataError> {
    Ok(Logs::of(Directory::look(&args.data)?))
}

fn show(lines: &[LogLine], is_json: bool, out: &mut dyn Write) -> anyhow::Result<()> {
    for line in lines {
        if is_json {
            serde_json::to_writer(&mut *out, line).map_err(io::Error::from)?;
            out.write_all(b"\n")?;
            continue;
        }
        let LogLine { log, segments, records, bytes, torn_bytes, damage, records_lost, bytes_lost, unreadable: _, cut } =
            line;
        write!(out, "{log}\t{records} records\t{bytes} bytes\t{segments} segments")?;
        if *torn_bytes > 0 {
            write!(out, "\t{torn_bytes} bytes of an unfinished write behind them")?;
        }
        match damage {
            None => writeln!(out, "\tnot damaged")?,
            Some(_) if *bytes_lost > 0 => {
                let cut = if cut.is_empty() { "no segment".to_owned() } else { cut.join(" ") };
                writeln!(out, "\tdamaged: {records_lost} records, {bytes_lost} bytes lost; {cut} cut off")?;
            }
            Some(_) => writeln!(out, "\tdamaged")?,
        }
    }
    Ok(())
}

/// Says on standard error that it is not known whose some of the lost records were.
fn tell_unreadable(lines: &[LogLine]) {
    for LogLine { log, unreadable, .. } in lines.iter().filter(|line| line.unreadable > 0) {
        drop(writeln!(
            io::stderr(),
            "guildhall: {log}: of {unreadable} lost records or more it cannot be told whose they were: \
             a guild that is not named may lack them"
        ));
    }
}

/// Says on standard error what is damaged. Returns whether anything is.
fn tell_damage(lines: &[LogLine]) -> bool {
    let damage: Vec<&Damaged> = lines.iter().filter_map(|line| line.damage.as_ref()).collect();
    for damaged in &damage {
        drop(writeln!(io::stderr(), "guildhall: {}", damaged.what));
    }
    !damage.is_empty()
}

impl LogLine {
    fn of(log: &'static str, repaired: Repaired) -> Self {
        let Repaired { found, bad, records_lost, bytes_lost, unreadable, renamed } = repaired;
        let Found { segments, records, bytes, unmarked: _, torn } = found;
        Self {
            log,
            segments,
            records,
            bytes,
            torn_bytes: torn.map_or(0, |torn| torn.bytes),
            damage: bad.map(|bad| Damaged::in_log(log, &bad)),
            records_lost,
            bytes_lost,
            unreadable,
            cut: renamed,
        }
    }
}
