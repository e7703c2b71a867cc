//! Where a store lies: three flat directories, and the lock that keeps a second process out.
//!
//! The lock is one of the operating system on the directory itself, not on a file in it: it leaves nothing behind, and no file can be
//! removed under it.

use std::fs::{self, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use guildhall_log::DirFiles;
use guildhall_log::files::Files;

use super::identity::{IDENTITY_FILE, Identity, IdentityError};

/// The files of one store. On a disk, it holds the directory's lock for as long as it lives.
///
/// The same layer carries a store in memory, for tests: any three [`Files`] do.
#[derive(Debug, Clone)]
pub struct Directory {
    pub(crate) root: Arc<dyn Files>,
    pub(crate) records: Arc<dyn Files>,
    pub(crate) checkpoints: Arc<dyn Files>,
    /// Kept for its lock alone, which the system takes back when the last handle is dropped, or the process ends.
    _lock: Option<Arc<fs::File>>,
}

/// Why a directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    /// Another process has it open, or another part of this one.
    #[error("{} is in use: another process has its data open", path.display())]
    InUse {
        /// The directory.
        path: PathBuf,
    },
    /// Nothing of Guildhall lies there.
    #[error("there is no data of Guildhall in {}", path.display())]
    NoData {
        /// The directory.
        path: PathBuf,
    },
    /// It cannot be made or read.
    #[error("{doing} {}: {source}", path.display())]
    Io {
        /// What was tried.
        doing: &'static str,
        /// With what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl Directory {
    /// A store's files, wherever they lie; nobody else may use them meanwhile.
    pub fn new(root: Arc<dyn Files>, records: Arc<dyn Files>, checkpoints: Arc<dyn Files>) -> Self {
        Self { root, records, checkpoints, _lock: None }
    }

    /// Whose directory it is. Changes nothing.
    ///
    /// # Errors
    /// [`IdentityError`]: [`Missing`](IdentityError::Missing) or [`Unfinished`](IdentityError::Unfinished) where there is no store.
    pub fn identity(&self) -> Result<Identity, IdentityError> {
        let identity = Identity::read(&*self.root)?;
        if identity.is_ready { Ok(identity) } else { Err(IdentityError::Unfinished) }
    }

    /// A directory on a disk that holds data already, locked.
    ///
    /// # Errors
    /// [`DirectoryError`]; nothing is made where there is nothing.
    pub fn lock(path: &Path) -> Result<Self, DirectoryError> {
        holds_data(path)?;
        Self::make(path)
    }

    /// A directory on a disk that holds data already, to be looked at: nothing in it is changed, and leave to read it is enough. Others may
    /// look at it too, and nobody may write it meanwhile.
    ///
    /// # Errors
    /// [`DirectoryError`].
    pub fn look(path: &Path) -> Result<Self, DirectoryError> {
        holds_data(path)?;
        let lock = locked(path, fs::File::try_lock_shared)?;
        Self::with(path, lock, |path| DirFiles::open_read_only(path))
    }

    /// A directory on a disk, made if it is not there, and locked.
    ///
    /// # Errors
    /// [`DirectoryError`].
    pub fn make(path: &Path) -> Result<Self, DirectoryError> {
        make_dir(path, &mut sync_dir)?;
        let lock = locked(path, fs::File::try_lock)?;
        make_dir(&path.join(RECORDS), &mut sync_dir)?;
        make_dir(&path.join(CHECKPOINTS), &mut sync_dir)?;
        Self::with(path, lock, |path| DirFiles::open(path))
    }

    fn with(path: &Path, lock: fs::File, open: impl Fn(&Path) -> io::Result<DirFiles>) -> Result<Self, DirectoryError> {
        let open = |path: &Path| {
            let files = open(path).map_err(io("opening", path))?;
            Ok(Arc::new(files) as Arc<dyn Files>)
        };
        Ok(Self {
            root: open(path)?,
            records: open(&path.join(RECORDS))?,
            checkpoints: open(&path.join(CHECKPOINTS))?,
            _lock: Some(Arc::new(lock)),
        })
    }
}

fn holds_data(path: &Path) -> Result<(), DirectoryError> {
    let holds_data = path.join(IDENTITY_FILE).exists();
    if holds_data { Ok(()) } else { Err(DirectoryError::NoData { path: path.to_owned() }) }
}

/// Opens a directory and locks it, for as long as it is open.
fn locked(path: &Path, lock: impl FnOnce(&fs::File) -> Result<(), TryLockError>) -> Result<fs::File, DirectoryError> {
    let directory = fs::File::open(path).map_err(io("opening", path))?;
    match lock(&directory) {
        Ok(()) => Ok(directory),
        Err(TryLockError::WouldBlock) => Err(DirectoryError::InUse { path: path.to_owned() }),
        Err(TryLockError::Error(source)) => Err(io("locking", path)(source)),
    }
}

/// Makes a directory that outlasts a power cut, and those above it. `sync` makes durable what names there are in one.
///
/// The name of one that is there is synced too: whoever made it may have been killed before that.
fn make_dir(path: &Path, sync: &mut impl FnMut(&Path) -> io::Result<()>) -> Result<(), DirectoryError> {
    let is_there = path.is_dir();
    let Some(parent) = path.parent() else {
        return Ok(());
    };
    let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
    if !is_there {
        make_dir(parent, sync)?;
        match fs::create_dir(path) {
            // Somebody else was faster.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => {}
            made => made.map_err(io("making", path))?,
        }
    }
    match sync(parent) {
        // Whoever made it there, where this process may not even look, has seen to it.
        Err(error) if is_there && error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
        synced => synced.map_err(io("syncing", parent)),
    }
}

fn sync_dir(path: &Path) -> io::Result<()> {
    fs::File::open(path)?.sync_all()
}

fn io(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> DirectoryError {
    let path = path.to_owned();
    move |source| DirectoryError::Io { doing, path, source }
}

pub(crate) const RECORDS: &str = "records";
pub(crate) const CHECKPOINTS: &str = "checkpoints";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_each_directory_made_is_synced_and_that_of_the_one_it_was_made_in() {
        let dir = tempfile::tempdir().unwrap();
        let base = dir.path().join("there");
        fs::create_dir(&base).unwrap();
        let mut synced = Vec::new();
        let mut sync = |path: &Path| {
            synced.push(path.to_owned());
            Ok(())
        };
        make_dir(&base.join("a/b/c"), &mut sync).unwrap();
        assert_eq!(synced, [dir.path().into(), base.clone(), base.join("a"), base.join("a/b")]);
        // What a start that was killed has made, and not synced.
        synced.clear();
        let mut sync = |path: &Path| {
            synced.push(path.to_owned());
            Ok(())
        };
        make_dir(&base.join("a/b/c"), &mut sync).unwrap();
        assert_eq!(synced, [base.join("a/b")]);
    }

    #[test]
    fn a_directory_whose_name_cannot_be_synced_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let mut fails = |_: &Path| Err(io::ErrorKind::Other.into());
        assert!(make_dir(&dir.path().join("new"), &mut fails).is_err());
    }
}
