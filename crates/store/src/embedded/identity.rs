//! Whose directory it is: the file `guildhall`.
//!
//! A few lines of text, so that an operator can read them: the format, the cluster and the node, the names of the two logs (a log's
//! records prove that they belong to it), the seed of content hashes, the epochs that a restored directory begins with, the grants that the
//! last coordinator began with, and the guilds of which a repair or a backup lacks what they had. The last line is a sum over all before it.
//!
//! The file is replaced whole: written beside, synced, renamed, and the directory synced. It is there before the logs are, marked as
//! unfinished; so a directory with logs and without it is not taken for a new one.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io;
use std::iter::Peekable;
use std::sync::Arc;

use guildhall_log::LogId;
use guildhall_log::files::{File, Files};
use guildhall_proto::{Epoch, Grant, GuildId, Millis, NodeId};
use xxhash_rust::xxh3::xxh3_64;

/// The name of the file.
pub(crate) const IDENTITY_FILE: &str = "guildhall";
const BESIDE: &str = "guildhall.new";
/// The format of the directory that this version reads and writes.
pub const FORMAT: u32 = 1;
const TITLE: &str = "guildhall data, format ";
/// An identity takes some 300 bytes, and 30 for each guild that a repair may have cut; a longer file is none.
const BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Claims, or changes of a placement, that nobody knows of any more; as many as 1,024 milliseconds are in an epoch or a grant.
const GIVEN_SINCE: u64 = 1 << 32;
/// The last time that can be in an epoch or a grant.
const MILLIS_MAX: u64 = u64::MAX >> 23;

/// Who a directory belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The cluster whose guilds lie in it.
    pub cluster: u128,
    /// The node that writes it.
    pub node: NodeId,
    /// Every claim gives an epoch above this one: 0, but for a directory that was restored from a backup or repaired.
    pub epochs_from: Epoch,
    /// The last coordinator gave grants above this one, and the next begins above all that it may have given. 0 until there was one; in a
    /// directory that was restored, the highest that a guild in it was claimed by.
    pub(crate) grants_from: Grant,
    pub(crate) records: LogId,
    pub(crate) checkpoints: LogId,
    /// The seed of content hashes: so that who chooses a member's nick cannot choose what it hashes to.
    pub(crate) seed: u64,
    /// Whether the logs have been made. Until then nothing was ever stored in the directory.
    pub(crate) is_ready: bool,
    /// Guilds of which a repair has cut off records or checkpoints, or that a backup left out, with the number of the last record that they
    /// had stored. Those that do not reach it stay away.
    pub(crate) reached: BTreeMap<GuildId, u64>,
}

/// Why the identity of a directory cannot be told.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// There is none: nobody made a store there.
    #[error("there is no data of Guildhall: the file {IDENTITY_FILE:?} is missing")]
    Missing,
    /// A store was begun there, or a restore, and not finished: nothing is stored, and both can be begun again.
    #[error("there is no data of Guildhall: what was begun there was never finished")]
    Unfinished,
    /// The directory is of another format than this version reads.
    #[error("the file {IDENTITY_FILE:?} names format {found}; this version reads and writes format {FORMAT}")]
    Format {
        /// The format found.
        found: u32,
    },
    /// The file is damaged.
    #[error("the file {IDENTITY_FILE:?} is damaged: {what}")]
    Damaged {
        /// What is wrong with it.
        what: String,
    },
    /// It cannot be read or written.
    #[error("{doing} the file {IDENTITY_FILE:?}: {source}")]
    Io {
        /// What was tried.
        doing: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

impl Identity {
    /// Names for a new directory; `random` is what nobody else has, 40 bytes of it.
    pub fn new(cluster: u128, node: NodeId, random: [u8; 40]) -> Self {
        let number = |at: usize| u128::from_le_bytes(random[at..at + 16].try_into().expect("16 bytes were taken"));
        Self {
            cluster,
            node,
            epochs_from: Epoch(0),
            grants_from: Grant(0),
            records: LogId(number(0)),
            checkpoints: LogId(number(16)),
            seed: u64::from_le_bytes(random[32..].try_into().expect("40 bytes without 32 are 8")),
            is_ready: false,
            reached: BTreeMap::new(),
        }
    }

    /// Whether a file that begins so may be one that tells whose a directory is, or the beginning of one.
    pub fn may_begin(bytes: &[u8]) -> bool {
        let len = bytes.len().min(TITLE.len());
        bytes[..len] == TITLE.as_bytes()[..len]
    }

    /// Has every claim from now on give an epoch above `highest`, and [above those that may have been given since](beyond). So whatever
    /// a directory lost, of repairs and restores none gives an epoch that one before it gave, if the clock rises.
    pub(crate) fn raise(&mut self, highest: Epoch, now: Millis) {
        self.epochs_from = Epoch(beyond(highest.0, now));
    }

    /// The same for the grants of a coordinator that begins.
    pub(crate) fn raise_grants(&mut self, now: Millis) {
        self.grants_from = Grant(beyond(self.grants_from.0, now));
    }

    pub(crate) fn read(files: &dyn Files) -> Result<Self, IdentityError> {
        let io = |source| IdentityError::Io { doing: "reading", source };
        if !files.list().map_err(io)?.iter().any(|name| name == IDENTITY_FILE) {
            return Err(IdentityError::Missing);
        }
        let file = files.open(IDENTITY_FILE).map_err(io)?;
        let len = file.len().map_err(io)?;
        if len > BYTES_MAX {
            return Err(damaged(format!("{len} bytes are more than any has")));
        }
        let mut bytes = vec![0; usize::try_from(len).expect("at most 64 MiB")];
        let mut read = 0;
        while read < bytes.len() {
            match file.read_at(&mut bytes[read..], read as u64).map_err(io)? {
                0 => return Err(damaged(format!("it ends after {read} of {len} bytes"))),
                more => read += more,
            }
        }
        Self::parse(&bytes)
    }

    /// Puts it in the place of the one before, so that one of the two is there whatever happens.
    pub(crate) fn write(&self, files: &dyn Files) -> Result<(), IdentityError> {
        let io = |source| IdentityError::Io { doing: "writing", source };
        if files.list().map_err(io)?.iter().any(|name| name == BESIDE) {
            files.remove(BESIDE).map_err(io)?;
        }
        let text = self.text();
        let file: Arc<dyn File> = files.create(BESIDE).map_err(io)?;
        file.write_at(text.as_bytes(), 0).map_err(io)?;
        file.sync().map_err(io)?;
        files.rename(BESIDE, IDENTITY_FILE).map_err(io)?;
        files.sync().map_err(io)
    }

    fn text(&self) -> String {
        let Self { cluster, node, epochs_from, grants_from, records, checkpoints, seed, is_ready, reached } = self;
        let mut text = format!(
            "{TITLE}{FORMAT}\ncluster {cluster:032x}\nnode {node}\nepochs-from {}\nrecords {:032x}\ncheckpoints {:032x}\nseed {seed:016x}\nready {}\n",
            epochs_from.0,
            records.0,
            checkpoints.0,
            u8::from(*is_ready),
        );
        if *grants_from > Grant(0) {
            writeln!(text, "{GRANTS_FROM}{}", grants_from.0).expect(INFALLIBLE);
        }
        for (guild, number) in reached {
            writeln!(text, "{REACHED}{guild} {number}").expect(INFALLIBLE);
        }
        let sum = xxh3_64(text.as_bytes());
        writeln!(text, "sum {sum:016x}").expect(INFALLIBLE);
        text
    }

    fn parse(bytes: &[u8]) -> Result<Self, IdentityError> {
        let text = str::from_utf8(bytes).map_err(|_| damaged("it is no text".to_owned()))?;
        let found = text.strip_prefix(TITLE).and_then(|rest| rest.split('\n').next());
        let found = found.and_then(|found| found.parse::<u32>().ok());
        let found = found.ok_or_else(|| damaged("its first line is not that of such a file".to_owned()))?;
        if found != FORMAT {
            return Err(IdentityError::Format { found });
        }
        let mut lines = Lines(text.lines().skip(1).peekable());
        let parsed = Self {
            cluster: lines.hex("cluster ")?,
            node: lines.number("node ")?.try_into().map_err(|error| damaged(format!("{error}")))?,
            epochs_from: Epoch(lines.number("epochs-from ")?),
            records: LogId(lines.hex("records ")?),
            checkpoints: LogId(lines.hex("checkpoints ")?),
            seed: u64::try_from(lines.hex("seed ")?).map_err(|_| damaged("its seed is too long".to_owned()))?,
            is_ready: lines.number("ready ")? == 1,
            grants_from: Grant(if lines.is_next(GRANTS_FROM) { lines.number(GRANTS_FROM)? } else { 0 }),
            reached: lines.0.map_while(|line| reached(line.strip_prefix(REACHED)?)).collect(),
        };
        // There is one way to write an identity: so the sum, and all that was not looked at, is right if the text is the same.
        if parsed.text() == text { Ok(parsed) } else { Err(damaged("its sum does not match".to_owned())) }
    }
}

struct Lines<'a, I: Iterator<Item = &'a str>>(Peekable<I>);

impl<'a, I: Iterator<Item = &'a str>> Lines<'a, I> {
    fn is_next(&mut self, name: &str) -> bool {
        self.0.peek().is_some_and(|line| line.starts_with(name))
    }

    fn value(&mut self, name: &str) -> Result<&'a str, IdentityError> {
        let value = self.0.next().and_then(|line| line.strip_prefix(name));
        value.ok_or_else(|| damaged(format!("the line {:?} is missing", name.trim_end())))
    }

    fn number(&mut self, name: &str) -> Result<u64, IdentityError> {
        self.value(name)?.parse().map_err(|_| damaged(format!("the line {:?} has no number", name.trim_end())))
    }

    fn hex(&mut self, name: &str) -> Result<u128, IdentityError> {
        let value = self.value(name)?;
        u128::from_str_radix(value, 16).map_err(|_| damaged(format!("the line {:?} has no number", name.trim_end())))
    }
}

fn reached(line: &str) -> Option<(GuildId, u64)> {
    let (guild, number) = line.split_once(' ')?;
    Some((guild.parse::<u64>().ok()?.try_into().ok()?, number.parse().ok()?))
}

/// A number above `highest`, and above those that may have been given since that was: by so many as nobody gives between two looks at a
/// directory, and above the time, in milliseconds since 1970, moved left by 22 bits.
pub(crate) fn beyond(highest: u64, now: Millis) -> u64 {
    highest.saturating_add(GIVEN_SINCE).max(now.0.min(MILLIS_MAX) << 22)
}

const GRANTS_FROM: &str = "grants-from ";
const REACHED: &str = "reached ";
const INFALLIBLE: &str = "text takes whatever is written to it";

fn damaged(what: String) -> IdentityError {
    IdentityError::Damaged { what }
}
