//! What may lie where a log is to be made.

use crate::files::Files;
use crate::segment::{self, HEADER_BYTES, SPARE};
use crate::survey;
use crate::verify::header;
use crate::{LogError, LogId};

/// That no log lies in a directory, or one that was never written to. Changes nothing. Waits for the disk.
///
/// # Errors
/// [`LogError::Exists`], [`LogError::Io`].
pub fn vacant(files: &dyn Files) -> Result<(), LogError> {
    for number in survey::numbers(files)? {
        let file = segment::name(number);
        if number != 1 || !survey::has_only_zeros(files, &file, HEADER_BYTES)? {
            return Err(LogError::Exists { file });
        }
    }
    Ok(())
}

/// Removes a log of which nobody was told anything, as far as it was made. Waits for the disk.
///
/// # Errors
/// [`LogError::Exists`] if another log lies there: nothing is changed; [`LogError::Io`].
pub fn discard(files: &dyn Files, id: LogId) -> Result<(), LogError> {
    let names: Vec<String> = survey::numbers(files)?.into_iter().map(segment::name).collect();
    for name in &names {
        if header(files, name).is_ok_and(|header| header.id != id) {
            return Err(LogError::Exists { file: name.clone() });
        }
    }
    let spare = files.list().map_err(LogError::io(".", "list"))?.into_iter().filter(|name| name == SPARE);
    for name in names.into_iter().chain(spare) {
        files.remove(&name).map_err(LogError::io(&name, "remove"))?;
    }
    files.sync().map_err(LogError::io(".", "sync"))
}
