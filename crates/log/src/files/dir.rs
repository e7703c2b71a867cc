//! A directory of the operating system.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{FallocateFlags, fallocate};
use rustix::io::Errno;

use super::{File, Files};

/// A directory of the operating system, which exists.
#[derive(Debug)]
pub struct DirFiles {
    path: PathBuf,
    /// The directory itself, open, for its syncs.
    entries: fs::File,
    is_read_only: bool,
}

impl DirFiles {
    /// Opens a directory.
    ///
    /// # Errors
    /// Those of the operating system; [`io::ErrorKind::NotADirectory`] if it is something else.
    pub fn open(path: impl Into<PathBuf>) -> io::Result<Self> {
        Self::of(path.into(), false)
    }

    /// Opens a directory of which nothing is to be changed: whatever would is [`io::ErrorKind::ReadOnlyFilesystem`]. Leave to read it is
    /// enough.
    ///
    /// # Errors
    /// As of [`open`](Self::open).
    pub fn open_read_only(path: impl Into<PathBuf>) -> io::Result<Self> {
        Self::of(path.into(), true)
    }

    fn of(path: PathBuf, is_read_only: bool) -> io::Result<Self> {
        let entries = fs::File::open(&path)?;
        if !entries.metadata()?.is_dir() {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        Ok(Self { path, entries, is_read_only })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn within(&self, name: &str) -> io::Result<PathBuf> {
        let plain = !name.is_empty() && name != "." && name != ".." && !name.contains('/');
        if plain { Ok(self.path.join(name)) } else { Err(io::ErrorKind::InvalidInput.into()) }
    }

    /// The path of a name that is to be changed.
    fn written(&self, name: &str) -> io::Result<PathBuf> {
        if self.is_read_only { Err(io::ErrorKind::ReadOnlyFilesystem.into()) } else { self.within(name) }
    }
}

impl Files for DirFiles {
    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            // What is no file, or has a name that no log gives, is none of ours.
            if entry.file_type()?.is_file()
                && let Ok(name) = entry.file_name().into_string()
            {
                names.push(name);
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn File>> {
        Ok(Arc::new(OpenOptions::new().read(true).write(true).create_new(true).open(self.written(name)?)?))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn File>> {
        Ok(Arc::new(OpenOptions::new().read(true).write(!self.is_read_only).open(self.within(name)?)?))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.written(from)?, self.written(to)?)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.written(name)?)
    }

    fn sync(&self) -> io::Result<()> {
        self.entries.sync_all()
    }
}

impl File for fs::File {
    fn len(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        loop {
            match FileExt::read_at(self, buffer, offset) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                outcome => return outcome,
            }
        }
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.write_all_at(bytes, offset)
    }

    fn allocate(&self, bytes: u64) -> io::Result<()> {
        loop {
            match fallocate(self, FallocateFlags::empty(), 0, bytes) {
                Ok(()) => return Ok(()),
                Err(Errno::INTR) => {}
                Err(Errno::OPNOTSUPP) => return self.fill(bytes),
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        Self::set_len(self, bytes)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }
}

/// What stands in where the file system has no way to take room ahead.
trait Fill {
    fn fill(&self, bytes: u64) -> io::Result<()>;
}

impl Fill for fs::File {
    /// Writes zeros from the end of the file up to `bytes`: the room is taken by being used.
    fn fill(&self, bytes: u64) -> io::Result<()> {
        let zeros = [0; 64 * 1024];
        let mut offset = self.metadata()?.len();
        while offset < bytes {
            let n = zeros.len().min(usize::try_from(bytes - offset).unwrap_or(usize::MAX));
            self.write_all_at(&zeros[..n], offset)?;
            offset += n as u64;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_leaves_the_directory_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let files = DirFiles::open(dir.path()).unwrap();
        for name in ["", ".", "..", "a/b", "/a"] {
            assert_eq!(files.create(name).unwrap_err().kind(), io::ErrorKind::InvalidInput, "{name:?}");
        }
    }

    #[test]
    fn what_is_opened_to_be_read_cannot_be_changed() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("there"), "before").unwrap();
        let files = DirFiles::open_read_only(dir.path()).unwrap();
        let file = files.open("there").unwrap();
        let mut bytes = [0; 6];
        assert_eq!((file.read_at(&mut bytes, 0).unwrap(), &bytes), (6, b"before"));
        assert!(file.write_at(b"after", 0).is_err() && file.set_len(1).is_err());
        let refused = [files.create("new").map(drop), files.rename("there", "gone"), files.remove("there")];
        for refusal in refused {
            assert_eq!(refusal.unwrap_err().kind(), io::ErrorKind::ReadOnlyFilesystem);
        }
        assert_eq!(fs::read(dir.path().join("there")).unwrap(), b"before");
    }

    #[test]
    fn room_is_taken_alike_by_the_file_system_and_by_zeros() {
        let dir = tempfile::tempdir().unwrap();
        let files = DirFiles::open(dir.path()).unwrap();
        files.create("allocated").unwrap().allocate(100_000).unwrap();
        fs::File::create_new(dir.path().join("filled")).unwrap().fill(100_000).unwrap();
        let read = |name| fs::read(dir.path().join(name)).unwrap();
        assert_eq!(read("allocated"), vec![0; 100_000]);
        assert_eq!(read("filled"), vec![0; 100_000]);
        assert_eq!(files.list().unwrap(), ["allocated", "filled"]);
        assert_eq!(files.create("filled").unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        files.sync().unwrap();
    }
}
