//! The file layer: all that a log asks of a disk, small enough that a test can be the disk.
//!
//! Two directories implement it: [`DirFiles`], a real one, and [`MemoryFiles`], which remembers what was synced and can lose, tear,
//! flip, fill and fail the rest.
//!
//! Nothing is durable before it is synced: a file's bytes and length by [`File::sync`], its name by [`Files::sync`]. After a sync that
//! failed nothing is known of what was written since the one before.

mod dir;
mod memory;

use std::fmt::Debug;
use std::io;
use std::sync::Arc;

pub use dir::DirFiles;
pub use memory::{Counters, Failure, Fault, MemoryFiles, Site};

/// A flat directory of files.
///
/// Names are plain: neither empty nor with a path separator. Every method may wait for the disk.
pub trait Files: Debug + Send + Sync + 'static {
    /// The names of all files, sorted.
    fn list(&self) -> io::Result<Vec<String>>;

    /// Makes a file, empty, for reading and writing.
    ///
    /// # Errors
    /// [`io::ErrorKind::AlreadyExists`] if the name is taken.
    fn create(&self, name: &str) -> io::Result<Arc<dyn File>>;

    /// Opens a file that exists, for reading and writing.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`] if there is none of that name.
    fn open(&self, name: &str) -> io::Result<Arc<dyn File>>;

    /// Gives a file another name, whole or not at all; a file that had that name is gone.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a name. Whoever has the file open reads on.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Makes durable which names there are. Returns when it is.
    fn sync(&self) -> io::Result<()>;
}

/// An open file, read and written at positions given with each call, by any number of threads.
pub trait File: Debug + Send + Sync {
    /// Its length, in bytes.
    fn len(&self) -> io::Result<u64>;

    /// Whether there is not a byte in it.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Reads up to as many bytes as `buffer` holds, and tells how many; 0 at the end of the file.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Writes all of `bytes`. After an error any part of them may be written.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Makes the file `bytes` long, with zeros where nothing was written, and takes the room for all of it from the disk: a later write
    /// within that length does not lack room.
    ///
    /// # Errors
    /// [`io::ErrorKind::StorageFull`] if there is not as much room.
    fn allocate(&self, bytes: u64) -> io::Result<()>;

    /// Cuts the file to `bytes`, or makes it as long.
    fn set_len(&self, bytes: u64) -> io::Result<()>;

    /// Makes the bytes and the length durable. Returns when they are.
    fn sync(&self) -> io::Result<()>;
}
