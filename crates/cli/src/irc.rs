//! IRC logs as they lie on the disk: files, their lines, and what a line says.
//!
//! Reading is strict about files and lenient about lines: a file that cannot be what it claims is refused by name, while a line
//! that is none of the known kinds is [`Line::Skipped`]. Bytes that are not UTF-8 are replaced, never refused.

mod error;
mod file;
mod line;

pub(crate) use error::IrcError;
pub(crate) use file::{LogFile, in_name_order};
pub(crate) use line::Line;
