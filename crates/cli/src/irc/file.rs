//! One log file in memory, and its lines.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::IrcError;

/// Bytes of the largest log that is read: a file lies in memory as a whole.
pub(crate) const LOG_BYTES_MAX: u64 = 1024 * 1024 * 1024;

/// A log file, read: not empty, without NUL bytes, at most [`LOG_BYTES_MAX`] long.
#[derive(Debug)]
pub(crate) struct LogFile {
    bytes: Vec<u8>,
}

impl LogFile {
    /// Checks, without reading it, whether the file may be replayed, so that a bad one is refused before the first is replayed.
    pub(crate) fn check(path: &Path) -> Result<(), IrcError> {
        open(path, LOG_BYTES_MAX).map(drop)
    }

    /// Reads the whole file. Waits for the disk.
    pub(crate) fn read(path: &Path) -> Result<Self, IrcError> {
        read(path, LOG_BYTES_MAX)
    }

    /// The lines that are not empty, each with its number in the file (from 1), without its end.
    ///
    /// Whether a line is empty is decided before a trailing carriage return is dropped: `\r\n` alone is a line.
    pub(crate) fn lines(&self) -> impl Iterator<Item = (usize, Cow<'_, str>)> {
        // A line feed is never part of a longer sequence, valid or not: decoding by line is decoding the whole.
        let lines = self.bytes.split(|&byte| byte == b'\n').enumerate().filter(|(_, line)| !line.is_empty());
        lines.map(|(idx, line)| {
            let end = line.iter().rposition(|&byte| byte != b'\r').map_or(0, |last| last + 1);
            (idx + 1, String::from_utf8_lossy(&line[..end]))
        })
    }
}

/// Puts the files in the order of their names, whatever folders they lie in; equal names in the order of their folders.
pub(crate) fn in_name_order(mut paths: Vec<PathBuf>) -> Vec<PathBuf> {
    paths.sort_by(|a, b| match a.file_name().cmp(&b.file_name()) {
        Ordering::Equal => a.cmp(b),
        unequal @ (Ordering::Less | Ordering::Greater) => unequal,
    });
    paths
}

fn read(path: &Path, bytes_max: u64) -> Result<LogFile, IrcError> {
    let mut bytes = Vec::new();
    // The file may have grown since its size was looked at, so the limit holds for the reading too.
    let mut limited = open(path, bytes_max)?.take(bytes_max + 1);
    limited.read_to_end(&mut bytes).map_err(|source| unreadable(path, source))?;
    if bytes.len() as u64 > bytes_max {
        return Err(IrcError::TooLarge { path: path.into(), max: bytes_max });
    }
    if bytes.is_empty() {
        return Err(IrcError::Empty { path: path.into() });
    }
    match bytes.iter().position(|&byte| byte == 0) {
        Some(at) => Err(IrcError::Nul { path: path.into(), at }),
        None => Ok(LogFile { bytes }),
    }
}

fn open(path: &Path, bytes_max: u64) -> Result<File, IrcError> {
    // Looked at before it is opened: to open a pipe would wait for its writer.
    let found = path.metadata().map_err(|source| unreadable(path, source))?;
    if !found.is_file() {
        return Err(IrcError::NotAFile { path: path.into() });
    }
    match found.len() {
        0 => Err(IrcError::Empty { path: path.into() }),
        bytes if bytes > bytes_max => Err(IrcError::TooLarge { path: path.into(), max: bytes_max }),
        _ => File::open(path).map_err(|source| unreadable(path, source)),
    }
}

fn unreadable(path: &Path, source: io::Error) -> IrcError {
    if source.kind() == io::ErrorKind::NotFound {
        IrcError::Missing { path: path.into() }
    } else {
        IrcError::Unreadable { path: path.into(), source }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn file(content: &[u8]) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log.txt");
        fs::write(&path, content).unwrap();
        (folder, path)
    }

    fn lines(content: &[u8]) -> Vec<(usize, String)> {
        let log = LogFile { bytes: content.to_vec() };
        log.lines().map(|(number, line)| (number, line.into_owned())).collect()
    }

    #[test]
    fn empty_lines_are_no_lines_but_keep_their_numbers() {
        assert_eq!(lines(b"a\n\n\nb\n"), [(1, "a".into()), (4, "b".into())]);
        assert_eq!(lines(b"\n\n"), []);
        assert_eq!(lines(b"no end"), [(1, "no end".into())]);
    }

    #[test]
    fn a_carriage_return_alone_is_a_line_and_one_in_the_middle_stays() {
        assert_eq!(lines(b"a\r\n\r\nb\rc\r\r\n"), [(1, "a".into()), (2, String::new()), (3, "b\rc".into())]);
    }

    #[test]
    fn bytes_that_are_not_utf8_are_replaced() {
        assert_eq!(
            lines(b"na\xefve \xff\xfe\n\xc3\n\xa9"),
            [(1, "na\u{fffd}ve \u{fffd}\u{fffd}".into()), (2, "\u{fffd}".into()), (3, "\u{fffd}".into())]
        );
    }

    #[test]
    fn files_are_ordered_by_name_before_folder() {
        let paths = ["b/1.txt", "a/2.txt", "a/1.txt", "c/0.txt"].map(PathBuf::from);
        assert_eq!(in_name_order(paths.to_vec()), ["c/0.txt", "a/1.txt", "b/1.txt", "a/2.txt"].map(PathBuf::from));
    }

    #[test]
    fn a_missing_file_is_refused() {
        let (folder, _) = file(b"x");
        let path = folder.path().join("absent\u{1b}.txt");
        let refused = LogFile::check(&path).unwrap_err();
        assert!(matches!(refused, IrcError::Missing { .. }));
        assert!(refused.to_string().ends_with("absent\\u{1b}.txt\" does not exist"), "{refused}");
        assert!(matches!(LogFile::read(&path), Err(IrcError::Missing { .. })));
    }

    #[test]
    fn an_empty_file_is_refused() {
        let (_folder, path) = file(b"");
        assert!(matches!(LogFile::check(&path), Err(IrcError::Empty { .. })));
        assert!(matches!(LogFile::read(&path), Err(IrcError::Empty { .. })));
    }

    #[test]
    fn a_nul_byte_is_refused_with_its_place() {
        let (_folder, path) = file(b"[10:00] <ada> hi\n\0");
        let refused = LogFile::read(&path).unwrap_err();
        assert!(matches!(refused, IrcError::Nul { at: 17, .. }));
        assert!(refused.to_string().ends_with("a NUL byte stands at byte 17"), "{refused}");
    }

    #[test]
    fn a_file_over_one_gibibyte_is_refused_by_its_size_alone() {
        let (_folder, path) = file(b"x");
        // Sparse: takes no room on the disk.
        File::options().write(true).open(&path).unwrap().set_len(LOG_BYTES_MAX + 1).unwrap();
        for refused in [LogFile::check(&path).unwrap_err(), LogFile::read(&path).unwrap_err()] {
            assert!(matches!(refused, IrcError::TooLarge { max: LOG_BYTES_MAX, .. }));
            assert!(refused.to_string().contains("more than 1073741824 bytes"), "{refused}");
        }
    }

    #[test]
    fn the_size_limit_itself_is_allowed() {
        let (_folder, path) = file(b"12345");
        assert!(read(&path, 5).is_ok());
        assert!(matches!(read(&path, 4), Err(IrcError::TooLarge { max: 4, .. })));
    }

    #[test]
    fn a_folder_and_a_device_are_refused() {
        let (folder, _) = file(b"x");
        assert!(matches!(LogFile::check(folder.path()), Err(IrcError::NotAFile { .. })));
        assert!(matches!(LogFile::read(Path::new("/dev/zero")), Err(IrcError::NotAFile { .. })));
    }

    #[test]
    fn a_file_behind_a_file_is_unreadable() {
        let (_folder, path) = file(b"x");
        assert!(matches!(LogFile::check(&path.join("below")), Err(IrcError::Unreadable { .. })));
    }
}
