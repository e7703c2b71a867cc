//! Looking at a log without changing it.

use crate::files::Files;
use crate::record::{Head, Kind, Place};
use crate::segment::{self, HEADER_BYTES, Header};
use crate::survey::{self, Found};
use crate::window::Window;
use crate::{Damage, LogError, LogId};

/// What was found in a log that was read from end to end.
#[derive(Debug, Default)]
pub struct Verified {
    /// All that is good before the first bad record.
    pub found: Found,
    /// The first bad record, if there is one.
    pub bad: Option<LogError>,
}

/// Reads a log as [`open`](crate::Log::open) does, and changes nothing: to look at one that nobody has open. Waits for the disk.
///
/// # Errors
/// As [`open`](crate::Log::open).
pub fn scan(
    files: &dyn Files,
    id: LogId,
    wants_body: impl Fn(Kind) -> bool,
    visit: impl FnMut(Place, Head, Option<&[u8]>),
) -> Result<Found, LogError> {
    survey::scan_with(files, id, wants_body, visit).map(|(_, found)| found)
}

/// Reads and checks every byte that matters of a log that nobody has open. Changes nothing. Waits for the disk.
///
/// # Errors
/// [`LogError::Io`] and [`LogError::Format`]; all other damage is in the answer.
pub fn verify(files: &dyn Files, id: LogId) -> Result<Verified, LogError> {
    let mut found = Found::default();
    let bad = verify_into(files, id, &mut found).err();
    match bad {
        Some(error @ (LogError::Io { .. } | LogError::Format { .. })) => Err(error),
        bad => Ok(Verified { found, bad }),
    }
}

fn verify_into(files: &dyn Files, id: LogId, found: &mut Found) -> Result<(), LogError> {
    let survey = survey::survey(files, id)?;
    *found = survey.found();
    for segment in &survey.segments {
        survey::walk(files, id, segment, &|_| true, &mut |_, _, _| {}, found)?;
    }
    Ok(())
}

/// Which log lies in a directory, by the oldest header that can be read.
///
/// # Errors
/// [`LogError::Missing`] if there is none; what is wrong with the newest header if none is whole.
pub fn identify(files: &dyn Files) -> Result<LogId, LogError> {
    let mut outcome = Err(LogError::Missing { file: segment::name(1) });
    for number in survey::numbers(files)? {
        outcome = header(files, &segment::name(number));
        if let Ok(header) = &outcome {
            return Ok(header.id);
        }
    }
    outcome.map(|header| header.id)
}

pub(crate) fn header(files: &dyn Files, name: &str) -> Result<Header, LogError> {
    let file = files.open(name).map_err(LogError::io(name, "open"))?;
    let len = file.len().map_err(LogError::io(name, "measure"))?;
    let mut window = Window::new(&*file, len.min(HEADER_BYTES));
    match window.array(0).map_err(LogError::io(name, "read"))? {
        Some(bytes) => Header::decode(name, bytes),
        None => Err(LogError::Corrupt { file: name.to_owned(), record: 0, offset: 0, what: Damage::Short }),
    }
}
