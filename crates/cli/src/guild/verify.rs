//! Everything in a directory, read and checked.

use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::Arc;

use guildhall_log::LogError;
use guildhall_node::stored_view;
use guildhall_proto::GuildId;
use guildhall_store::{Alone, Directory, Inspection, OpenError, Verification};
use serde::Serialize;

use super::json;
use crate::args::{EXIT_FAILED, GuildsArgs};
use crate::data::DataError;

/// What a check came to.
#[derive(Debug, Default, Serialize)]
struct Report {
    /// Records and bytes of both logs.
    records: u64,
    bytes: u64,
    /// Guilds that can be brought back.
    guilds: usize,
    damage: Vec<Damaged>,
}

/// One thing that is damaged, as far as it is known what and where.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Damaged {
    pub(crate) file: Option<String>,
    /// Counted from 1 in its file; 0 for the file's header.
    pub(crate) record: Option<u64>,
    pub(crate) offset: Option<u64>,
    pub(crate) guild: Option<String>,
    pub(crate) what: String,
}

pub(super) fn verify(args: &GuildsArgs, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    let directory = Directory::look(&args.data).map_err(DataError::from)?;
    let report = match Inspection::verify(directory.clone(), Arc::new(Alone)) {
        Ok(verification) => Report::of(&verification).with_guilds(directory, &verification),
        Err(error @ (OpenError::Log { .. } | OpenError::Content { .. })) => {
            Report { damage: vec![Damaged::by(&error)], ..Report::default() }
        }
        Err(error) => return Err(DataError::opening(&args.data, error)),
    };
    if args.json {
        json(out, &report)?;
    } else {
        let Report { records, bytes, guilds, damage } = &report;
        writeln!(out, "{records} records, {bytes} bytes, {guilds} guilds: {} damaged", damage.len())?;
    }
    for damaged in &report.damage {
        drop(writeln!(io::stderr(), "guildhall: {}", damaged.what));
    }
    Ok(if report.damage.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(EXIT_FAILED) })
}

impl Report {
    fn of(verification: &Verification) -> Self {
        let (records, bytes) = verification.read();
        let logs = [("records", &verification.records), ("checkpoints", &verification.checkpoints)];
        let bad = logs.iter().filter_map(|(log, verified)| Some(Damaged::in_log(log, verified.bad.as_ref()?)));
        Self { records, bytes, guilds: 0, damage: bad.collect() }
    }

    /// Brings every guild back that could be read.
    fn with_guilds(mut self, directory: Directory, verification: &Verification) -> Self {
        for (guild, error) in &verification.damaged {
            self.damage.push(Damaged::guild(*guild, error));
        }
        if verification.guilds.is_empty() {
            return self;
        }
        match Inspection::open(directory, Arc::new(Alone)) {
            Ok(inspection) => {
                for guild in &verification.guilds {
                    let brought_back = match inspection.read(*guild) {
                        Ok(Some(stored)) => {
                            stored_view(*guild, stored).map(drop).map_err(|error| Damaged::guild(*guild, &error))
                        }
                        Ok(None) => Ok(()),
                        Err(error) => Err(Damaged::guild(*guild, &error)),
                    };
                    match brought_back {
                        Ok(()) => self.guilds += 1,
                        Err(damaged) => self.damage.push(damaged),
                    }
                }
            }
            Err(error) => self.damage.push(Damaged::by(&error)),
        }
        self
    }
}

impl Damaged {
    /// Damage in one of the two logs.
    pub(crate) fn in_log(log: &str, error: &LogError) -> Self {
        let what = format!("{log}/{error}");
        let file = |file: &str| Some(format!("{log}/{file}"));
        match error {
            LogError::Corrupt { file: name, record, offset, what: _ } => {
                Self { file: file(name), record: Some(*record), offset: Some(*offset), guild: None, what }
            }
            LogError::Missing { file: name }
            | LogError::Foreign { file: name }
            | LogError::Format { file: name, .. }
            | LogError::Exists { file: name }
            | LogError::Io { file: name, .. } => Self { file: file(name), what, ..Self::default() },
            LogError::CommitFirst | LogError::Full | LogError::TooLarge { .. } | LogError::Poisoned { .. } => {
                Self { what, ..Self::default() }
            }
        }
    }

    fn guild(guild: GuildId, error: &impl ToString) -> Self {
        Self {
            guild: Some(guild.to_string()),
            what: format!("guild {guild}: {}", error.to_string()),
            ..Self::default()
        }
    }

    fn by(error: &OpenError) -> Self {
        match error {
            OpenError::Log { log, error } => Self::in_log(log, error),
            OpenError::Content { log, segment, offset, guild, what: _ } => Self {
                file: Some(format!("{log}/{segment:012}.log")),
                offset: Some(*offset),
                guild: Some(guild.to_string()),
                record: None,
                what: error.to_string(),
            },
            OpenError::Identity(_) | OpenError::Exists => Self { what: error.to_string(), ..Self::default() },
        }
    }
}
