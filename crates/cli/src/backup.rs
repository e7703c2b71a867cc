//! All guilds of a directory, or of a node that runs, in one file; and a directory made of such a file.

use std::fs::{self, File, OpenOptions};
use std::io::{BufReader, BufWriter, Seek, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use guildhall_client::Client;
use guildhall_proto::NodeId;
use guildhall_store::{Alone, ArchiveError, BackupReport, EmbeddedConfig, RestoreError};
use serde::Serialize;

use crate::args::{BackupArgs, NodesArgs, RestoreArgs, Source};
use crate::data::{self, DataError};
use crate::input::InputError;
use crate::operations::now;
use crate::remote::with;

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

/// Writes a backup. The file is written under another name, synced, read once more, and then renamed: it is there only when it is whole.
///
/// # Errors
/// [`DataError`] for a directory that is not there, or a file that is; [`InputError`] for more than one node; anything else if one cannot be read
/// or asked, or the other written.
pub(crate) fn backup(args: &BackupArgs, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    match args.from.source() {
        Source::Data(path) => {
            let inspection = data::inspect(path)?;
            write(args, out, |archive| Ok(inspection.backup(archive, now()?)?))
        }
        Source::Nodes(NodesArgs { node, .. }) if node.len() > 1 => {
            Err(InputError::OneNode { nodes: node.len() }.into())
        }
        Source::Nodes(nodes) => write(args, out, |archive| with(&nodes, async |client| copy(client, archive).await)),
    }
}

/// Copies the archive that a node writes.
async fn copy(client: &Client, to: &mut dyn Write) -> anyhow::Result<BackupReport> {
    let mut archive = client.backup().await?;
    while let Some(bytes) = archive.next().await? {
        to.write_all(&bytes)?;
    }
    // What the node knows of it stands in it.
    Ok(BackupReport::default())
}

fn write(
    args: &BackupArgs,
    out: &mut dyn Write,
    fill: impl FnOnce(&mut dyn Write) -> anyhow::Result<BackupReport>,
) -> anyhow::Result<ExitCode> {
    if args.to.exists() {
        return Err(DataError::FileExists { path: args.to.clone() }.into());
    }
    let beside = beside(&args.to)?;
    let file = OpenOptions::new().read(true).write(true).create_new(true).open(&beside);
    let file = file.map_err(|source| DataError::Unreadable { path: beside.clone(), source })?;
    let written = (|| {
        let mut archive = BufWriter::with_capacity(BUFFER_BYTES, file);
        let told = fill(&mut archive)?;
        let mut file = archive.into_inner().map_err(|error| error.into_error())?;
        file.sync_all()?;
        file.rewind()?;
        let mut report = guildhall_store::prove(&mut BufReader::with_capacity(BUFFER_BYTES, file))?;
        for (guild, why) in &mut report.left_out {
            // Whoever has written it knows more than what stands in it.
            if let Some((_, known)) = told.left_out.iter().find(|(left_out, _)| left_out == guild) {
                why.clone_from(known);
            }
        }
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
