//! All guilds of a directory in one file, and a directory made of such a file.

use std::fs::{self, File, OpenOptions};
use std::io::{BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use guildhall_proto::NodeId;
use guildhall_store::{Alone, ArchiveError, BackupReport, EmbeddedConfig, RestoreError};
use serde::Serialize;

use crate::args::{BackupArgs, RestoreArgs};
use crate::data::{self, DataError};
use crate::operations::now;

#[derive(Serialize)]
struct Line {
    guilds: u64,
    records: u64,
    bytes: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    left_out: Vec<LeftOut>,
}

#[derive(Serialize)]
struct LeftOut {
    guild: String,
    why: String,
}

/// Writes a backup. The file is written under another name, synced, and then renamed: it is there only when it is whole.
///
/// # Errors
/// [`DataError`] for a directory that is not there, or a file that is; anything else if one cannot be read or the other written.
pub(crate) fn backup(args: &BackupArgs, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    let inspection = data::inspect(&args.data)?;
    if args.to.exists() {
        return Err(DataError::FileExists { path: args.to.clone() }.into());
    }
    let beside = beside(&args.to)?;
    let file = OpenOptions::new().write(true).create_new(true).open(&beside);
    let file = file.map_err(|source| DataError::Unreadable { path: beside.clone(), source })?;
    let written = (|| {
        let mut archive = BufWriter::with_capacity(BUFFER_BYTES, file);
        let report = inspection.backup(&mut archive, now()?)?;
        archive.into_inner().map_err(|error| error.into_error())?.sync_all()?;
        fs::rename(&beside, &args.to)?;
        sync_parent(&args.to)?;
        anyhow::Ok(report)
    })();
    if written.is_err() {
        // What is left of it is of no use; that it stays is no worse than why it does.
        drop(fs::remove_file(&beside));
    }
    tell(written.with_context(|| format!("{} is not written", args.to.display()))?, args.json, out)
}

/// Makes a directory of a backup.
///
/// # Errors
/// [`DataError`] for a file that is no backup, or a directory that holds something; anything else if the backup is damaged.
pub(crate) fn restore(args: &RestoreArgs, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    let unreadable = |source| DataError::Unreadable { path: args.from.clone(), source };
    let mut archive = BufReader::with_capacity(BUFFER_BYTES, File::open(&args.from).map_err(unreadable)?);
    let directory = data::make(&args.data)?;
    if data::found(&args.data, &directory)?.is_some() {
        return Err(DataError::HasData { path: args.data.clone() }.into());
    }
    let (node, config) = (NodeId::new(data::NODE)?, EmbeddedConfig::default());
    let workers = Arc::new(Alone);
    let restored = guildhall_store::restore(&mut archive, &directory, node, data::random()?, now()?, &config, workers);
    match restored {
        Ok(report) => tell(report, args.json, out),
        Err(RestoreError::Archive(source @ (ArchiveError::Title | ArchiveError::Format))) => {
            Err(DataError::Backup { path: args.from.clone(), source }.into())
        }
        Err(error @ (RestoreError::Archive(_) | RestoreError::Store(_))) => {
            Err(anyhow::Error::new(error).context(format!("{} is not restored", args.from.display())))
        }
    }
}

fn tell(report: BackupReport, is_json: bool, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    let BackupReport { guilds, records, bytes, left_out } = report;
    let left_out: Vec<LeftOut> =
        left_out.into_iter().map(|(guild, why)| LeftOut { guild: guild.to_string(), why }).collect();
    let exit = if left_out.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    if is_json {
        writeln!(out, "{}", serde_json::to_string(&Line { guilds, records, bytes, left_out })?)?;
    } else {
        writeln!(out, "{guilds} guilds, {records} records behind their checkpoints, {bytes} bytes")?;
        for LeftOut { guild, why } in left_out {
            writeln!(out, "guild {guild} is left out: {why}")?;
        }
    }
    Ok(exit)
}

/// A name beside that of the file, which no other file has: two backups to the same one do not meet.
fn beside(path: &Path) -> anyhow::Result<PathBuf> {
    let mut name = path.as_os_str().to_owned();
    let [a, b, c, d, ..] = data::random()?;
    name.push(format!(".{:08x}.unfinished", u32::from_le_bytes([a, b, c, d])));
    Ok(PathBuf::from(name))
}

/// So that the file's name outlasts a power cut.
fn sync_parent(path: &Path) -> std::io::Result<()> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(parent)?.sync_all()
}

const BUFFER_BYTES: usize = 1024 * 1024;
