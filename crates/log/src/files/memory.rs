//! A disk in memory that tests can be cruel to.
//!
//! It keeps, beside what a reader sees, what would be left if the power went now: each file as of its last sync with the writes since,
//! and the names as of the directory's last sync with the changes since. [`MemoryFiles::power_cut`] decides by a seed what of
//! these reached the disk.
//!
//! It is as harsh as real disks are, not harsher: writes reach it in any order and in parts (of whole units), changes of names one by one
//! and in any choice; a rename is whole or not at all; and what was synced stays.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::sync::Arc;

use parking_lot::Mutex;

use super::{File, Files};

/// A disk in memory. Clones are the same disk; [`copy`](Self::copy) makes another.
#[derive(Clone, Default)]
pub struct MemoryFiles {
    disk: Arc<Mutex<Disk>>,
}

/// Names and lengths: who prints a log does not mean all of its bytes.
impl fmt::Debug for MemoryFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let disk = self.disk.lock();
        f.debug_map().entries(disk.names.iter().map(|(name, inode)| (name, disk.inodes[inode].len()))).finish()
    }
}

/// Where an operation can be made to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Site {
    /// Any of those below.
    Any,
    /// [`Files::create`].
    Create,
    /// [`Files::rename`].
    Rename,
    /// [`Files::remove`].
    Remove,
    /// [`Files::sync`].
    SyncNames,
    /// [`File::write_at`].
    Write,
    /// [`File::allocate`].
    Allocate,
    /// [`File::set_len`].
    SetLen,
    /// [`File::sync`].
    Sync,
    /// [`File::read_at`].
    Read,
}

/// How it fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// With this error of the operating system (5 is EIO, 28 is ENOSPC). Half of a write is written. A sync forgets that any bytes are to
    /// be written, as Linux does: readers see what no later sync writes.
    Error(i32),
    /// The power goes: this operation and all later ones fail, until [`MemoryFiles::power_cut`]. Of a write or a sync, any part may
    /// have happened.
    PowerOff,
}

/// One operation that is to fail.
#[derive(Clone, Copy, Debug)]
pub struct Fault {
    /// Which operations are counted.
    pub site: Site,
    /// How many of them still succeed.
    pub after: u64,
    /// How many then fail.
    pub times: u64,
    /// How.
    pub failure: Failure,
}

/// How many operations there were.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Of any kind that can fail, reads apart.
    pub changes: u64,
    /// Syncs of files.
    pub syncs: u64,
    /// Syncs of the directory.
    pub name_syncs: u64,
    /// Writes.
    pub writes: u64,
    /// Units (or whole changes) that power cuts have lost.
    pub lost: u64,
}

impl MemoryFiles {
    /// A disk with room for so many bytes, as files are long.
    pub fn with_capacity(bytes: u64) -> Self {
        let files = Self::default();
        files.set_capacity(bytes);
        files
    }

    /// Gives the disk another size. What is on it stays, even if that is more.
    pub fn set_capacity(&self, bytes: u64) {
        self.disk.lock().capacity = Some(bytes);
    }

    /// Another disk with the same bytes, names, and memory of what was synced; without faults, with counters of its own.
    pub fn copy(&self) -> Self {
        let disk = self.disk.lock();
        let copy = Disk {
            names: disk.names.clone(),
            durable_names: disk.durable_names.clone(),
            name_changes: disk.name_changes.clone(),
            inodes: disk
                .inodes
                .iter()
                .map(|(at, inode)| (*at, Inode { open: Arc::default(), ..inode.clone() }))
                .collect(),
            inode_next: disk.inode_next,
            capacity: disk.capacity,
            ignores_sync: disk.ignores_sync,
            ..Disk::default()
        };
        Self { disk: Arc::new(Mutex::new(copy)) }
    }

    /// The power goes and comes back: of what is not synced, as much is left as the seed says, in units of `unit_bytes` (512 or 4096).
    /// Files that are open fail from now on; faults are gone.
    pub fn power_cut(&self, seed: u64, unit_bytes: u64) {
        self.disk.lock().power_cut(&mut Random(seed), unit_bytes.max(1));
    }

    /// The process ends, the machine goes on: what was written stays visible. Files that are open fail from now on; faults are gone.
    pub fn kill(&self) {
        let mut disk = self.disk.lock();
        disk.life += 1;
        disk.faults.clear();
        disk.is_off = false;
    }

    /// Makes an operation fail.
    pub fn fail(&self, fault: Fault) {
        self.disk.lock().faults.push(fault);
    }

    /// Lets every operation succeed again that was to fail.
    pub fn mend(&self) {
        self.disk.lock().faults.clear();
    }

    /// The test switch: syncs return at once and make nothing durable.
    pub fn ignore_sync(&self, ignore: bool) {
        self.disk.lock().ignores_sync = ignore;
    }

    /// What was done so far.
    pub fn counters(&self) -> Counters {
        self.disk.lock().counters
    }

    /// How long all files are together.
    pub fn bytes(&self) -> u64 {
        self.disk.lock().bytes()
    }

    /// A file's bytes.
    pub fn contents(&self, name: &str) -> Option<Vec<u8>> {
        let disk = self.disk.lock();
        disk.names.get(name).map(|inode| disk.inodes[inode].bytes.clone())
    }

    /// Puts a file there, durably, whatever was there before.
    pub fn replace(&self, name: &str, bytes: Vec<u8>) {
        let mut disk = self.disk.lock();
        let inode = disk.inode_next;
        disk.inode_next += 1;
        disk.inodes.insert(inode, Inode { durable: bytes.clone(), bytes, ..Inode::default() });
        disk.names.insert(name.to_owned(), inode);
        disk.durable_names.insert(name.to_owned(), inode);
    }

    /// Changes bits of one byte, as a disk does that goes bad. False if there is no such byte.
    pub fn flip(&self, name: &str, offset: u64, bits: u8) -> bool {
        let mut disk = self.disk.lock();
        let Some(inode) = disk.names.get(name).copied() else {
            return false;
        };
        let inode = disk.inode(inode);
        let Some(byte) = usize::try_from(offset).ok().and_then(|at| inode.bytes.get_mut(at)) else {
            return false;
        };
        *byte ^= bits;
        if let Some(byte) = usize::try_from(offset).ok().and_then(|at| inode.durable.get_mut(at)) {
            *byte ^= bits;
        }
        true
    }
}

impl Files for MemoryFiles {
    fn list(&self) -> io::Result<Vec<String>> {
        let disk = self.disk.lock();
        if disk.is_off { Err(power_is_off()) } else { Ok(disk.names.keys().cloned().collect()) }
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn File>> {
        let mut disk = self.disk.lock();
        disk.attempt(Site::Create)?;
        if disk.names.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let inode = disk.inode_next;
        disk.inode_next += 1;
        disk.inodes.insert(inode, Inode::default());
        disk.change_names(NameChange::Create { name: name.to_owned(), inode });
        Ok(self.handle(&disk, inode))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn File>> {
        let disk = self.disk.lock();
        if disk.is_off {
            return Err(power_is_off());
        }
        let inode = *disk.names.get(name).ok_or(io::ErrorKind::NotFound)?;
        Ok(self.handle(&disk, inode))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut disk = self.disk.lock();
        disk.attempt(Site::Rename)?;
        if !disk.names.contains_key(from) {
            return Err(io::ErrorKind::NotFound.into());
        }
        disk.change_names(NameChange::Rename { from: from.to_owned(), to: to.to_owned() });
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut disk = self.disk.lock();
        disk.attempt(Site::Remove)?;
        if !disk.names.contains_key(name) {
            return Err(io::ErrorKind::NotFound.into());
        }
        disk.change_names(NameChange::Remove { name: name.to_owned() });
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut disk = self.disk.lock();
        disk.counters.name_syncs += 1;
        let outcome = disk.attempt(Site::SyncNames);
        if outcome.is_ok() && !disk.ignores_sync {
            disk.durable_names = disk.names.clone();
            disk.name_changes.clear();
            disk.drop_nameless();
        }
        outcome
    }
}

impl MemoryFiles {
    fn handle(&self, disk: &Disk, inode: u64) -> Arc<dyn File> {
        let open = Arc::clone(&disk.inodes[&inode].open);
        Arc::new(MemoryFile { disk: Arc::clone(&self.disk), inode, life: disk.life, _open: open })
    }
}

struct MemoryFile {
    disk: Arc<Mutex<Disk>>,
    inode: u64,
    /// The process that opened it: it ends with that.
    life: u64,
    /// Keeps the bytes, whatever becomes of the name.
    _open: Arc<()>,
}

impl fmt::Debug for MemoryFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryFile").field("inode", &self.inode).finish_non_exhaustive()
    }
}

impl MemoryFile {
    fn with<T>(&self, site: Site, act: impl FnOnce(&mut Disk, u64) -> io::Result<T>) -> io::Result<T> {
        let mut disk = self.disk.lock();
        if disk.life != self.life {
            return Err(power_is_off());
        }
        let attempt = disk.attempt(site);
        if let Err(error) = attempt {
            return disk.fail_partly(site, self.inode, error);
        }
        act(&mut disk, self.inode)
    }
}

impl File for MemoryFile {
    fn len(&self) -> io::Result<u64> {
        let disk = self.disk.lock();
        if disk.life == self.life && !disk.is_off { Ok(disk.inodes[&self.inode].len()) } else { Err(power_is_off()) }
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.with(Site::Read, |disk, inode| {
            let bytes = &disk.inodes[&inode].bytes;
            let from = index(offset).min(bytes.len());
            let n = buffer.len().min(bytes.len() - from);
            buffer[..n].copy_from_slice(&bytes[from..from + n]);
            Ok(n)
        })
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut disk = self.disk.lock();
        if disk.life != self.life {
            return Err(power_is_off());
        }
        disk.counters.writes += 1;
        let end = offset + bytes.len() as u64;
        let grown = end.saturating_sub(disk.inodes[&self.inode].len());
        let failed = disk.attempt(Site::Write).and_then(|()| disk.check_room(grown));
        let written = match &failed {
            Ok(()) => bytes,
            // In flight when the power went: all of it may reach the disk, or any part.
            Err(_) if disk.is_off => bytes,
            Err(_) => &bytes[..bytes.len() / 2],
        };
        if failed.is_ok() || disk.is_off || grown == 0 {
            disk.inode(self.inode).change(Change::Write { offset, bytes: written.to_vec() });
        }
        failed
    }

    fn allocate(&self, bytes: u64) -> io::Result<()> {
        self.with(Site::Allocate, |disk, inode| {
            let len = disk.inodes[&inode].len();
            disk.check_room(bytes.saturating_sub(len))?;
            if bytes > len {
                disk.inode(inode).change(Change::SetLen(bytes));
            }
            Ok(())
        })
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        self.with(Site::SetLen, |disk, inode| {
            let len = disk.inodes[&inode].len();
            disk.check_room(bytes.saturating_sub(len))?;
            disk.inode(inode).change(Change::SetLen(bytes));
            Ok(())
        })
    }

    fn sync(&self) -> io::Result<()> {
        self.disk.lock().counters.syncs += 1;
        self.with(Site::Sync, |disk, inode| {
            if !disk.ignores_sync {
                disk.inode(inode).sync();
            }
            Ok(())
        })
    }
}

#[derive(Debug, Default)]
struct Disk {
    names: BTreeMap<String, u64>,
    durable_names: BTreeMap<String, u64>,
    /// Since the directory was synced, oldest first.
    name_changes: Vec<NameChange>,
    inodes: BTreeMap<u64, Inode>,
    inode_next: u64,
    capacity: Option<u64>,
    faults: Vec<Fault>,
    is_off: bool,
    ignores_sync: bool,
    /// Raised whenever the process ends: its files are closed by that.
    life: u64,
    counters: Counters,
}

#[derive(Clone, Debug)]
enum NameChange {
    Create { name: String, inode: u64 },
    Rename { from: String, to: String },
    Remove { name: String },
}

impl NameChange {
    fn apply(&self, names: &mut BTreeMap<String, u64>) {
        match self {
            Self::Create { name, inode } => drop(names.insert(name.clone(), *inode)),
            Self::Rename { from, to } => {
                // Nothing to rename if its creation did not reach the disk.
                if let Some(inode) = names.remove(from) {
                    names.insert(to.clone(), inode);
                }
            }
            Self::Remove { name } => drop(names.remove(name)),
        }
    }
}

#[derive(Clone, Debug, Default)]
struct Inode {
    /// What a reader sees.
    bytes: Vec<u8>,
    /// What is on the disk for certain,
    durable: Vec<u8>,
    /// and what may be, in any part and order.
    pending: Vec<Change>,
    /// Shared with the files that are open on it.
    open: Arc<()>,
}

#[derive(Clone, Debug)]
enum Change {
    Write { offset: u64, bytes: Vec<u8> },
    SetLen(u64),
}

impl Inode {
    fn len(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn change(&mut self, change: Change) {
        match &change {
            Change::Write { offset, bytes } => write(&mut self.bytes, *offset, bytes),
            Change::SetLen(len) => self.bytes.resize(index(*len), 0),
        }
        self.pending.push(change);
    }

    /// Only what is pending: what an earlier sync failed to write is never written.
    fn sync(&mut self) {
        for change in self.pending.drain(..) {
            match change {
                Change::Write { offset, bytes } => write(&mut self.durable, offset, &bytes),
                Change::SetLen(len) => self.durable.resize(index(len), 0),
            }
        }
    }

    /// Leaves of the changes since the last sync what the dice say. Returns how many units were lost.
    fn power_cut(&mut self, random: &mut Random, unit_bytes: u64) -> u64 {
        let mut lost = 0;
        // Cuts differ: all is lost in some, nearly nothing in others.
        let kept_of_8 = random.below(9);
        for change in self.pending.drain(..) {
            match change {
                Change::SetLen(len) if random.below(8) < kept_of_8 => self.durable.resize(index(len), 0),
                Change::SetLen(_) => lost += 1,
                Change::Write { offset, bytes } => {
                    let mut at = offset;
                    let end = offset + bytes.len() as u64;
                    while at < end {
                        let unit_end = end.min((at / unit_bytes + 1) * unit_bytes);
                        if random.below(8) < kept_of_8 {
                            write(&mut self.durable, at, &bytes[index(at - offset)..index(unit_end - offset)]);
                        } else {
                            lost += 1;
                        }
                        at = unit_end;
                    }
                }
            }
        }
        self.bytes.clone_from(&self.durable);
        lost
    }
}

impl Disk {
    fn inode(&mut self, inode: u64) -> &mut Inode {
        self.inodes.entry(inode).or_default()
    }

    fn change_names(&mut self, change: NameChange) {
        change.apply(&mut self.names);
        self.name_changes.push(change);
    }

    /// Counts an operation, and fails it if it is to fail.
    fn attempt(&mut self, site: Site) -> io::Result<()> {
        if self.is_off {
            return Err(power_is_off());
        }
        if site != Site::Read {
            self.counters.changes += 1;
        }
        let mut failure = None;
        for fault in &mut self.faults {
            if fault.site != site && (fault.site != Site::Any || site == Site::Read) {
                continue;
            }
            if fault.after > 0 {
                fault.after -= 1;
            } else if fault.times > 0 {
                fault.times -= 1;
                failure = Some(fault.failure);
            }
        }
        match failure {
            None => Ok(()),
            Some(Failure::Error(number)) => Err(io::Error::from_raw_os_error(number)),
            Some(Failure::PowerOff) => {
                self.is_off = true;
                Err(power_is_off())
            }
        }
    }

    /// What a failed operation on a file leaves behind.
    fn fail_partly<T>(&mut self, site: Site, inode: u64, error: io::Error) -> io::Result<T> {
        if site == Site::Sync && !self.is_off {
            // Lengths lie in the file system's journal, which does not go on after it has lost something.
            self.inode(inode).pending.retain(|change| matches!(change, Change::SetLen(_)));
        }
        Err(error)
    }

    fn bytes(&self) -> u64 {
        self.names.values().map(|inode| self.inodes[inode].len()).sum()
    }

    fn check_room(&self, bytes: u64) -> io::Result<()> {
        let used = self.bytes();
        match self.capacity {
            Some(capacity) if bytes > 0 && used + bytes > capacity => Err(io::ErrorKind::StorageFull.into()),
            Some(_) | None => Ok(()),
        }
    }

    fn power_cut(&mut self, random: &mut Random, unit_bytes: u64) {
        self.life += 1;
        self.faults.clear();
        self.is_off = false;
        let kept_of_8 = random.below(9);
        for change in self.name_changes.drain(..) {
            if random.below(8) < kept_of_8 {
                change.apply(&mut self.durable_names);
            } else {
                self.counters.lost += 1;
            }
        }
        self.names = self.durable_names.clone();
        for inode in self.inodes.values_mut() {
            self.counters.lost += inode.power_cut(random, unit_bytes);
        }
        self.drop_nameless();
    }

    /// Forgets files that no name leads to, whatever reaches the disk, and that nobody has open.
    fn drop_nameless(&mut self) {
        let (names, durable) = (&self.names, &self.durable_names);
        let is_named = |inode: &u64| names.values().chain(durable.values()).any(|named| named == inode);
        self.inodes.retain(|at, inode| is_named(at) || Arc::strong_count(&inode.open) > 1);
    }
}

fn write(into: &mut Vec<u8>, offset: u64, bytes: &[u8]) {
    let (from, to) = (index(offset), index(offset) + bytes.len());
    if into.len() < to {
        into.resize(to, 0);
    }
    into[from..to].copy_from_slice(bytes);
}

fn index(offset: u64) -> usize {
    usize::try_from(offset).expect("a disk in memory is no longer than memory")
}

fn power_is_off() -> io::Error {
    io::Error::other("the power is off")
}

/// SplitMix64 (Steele, Lea and Flood 2014): one number of state, and every seed is good.
#[derive(Debug)]
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % bound
    }
}
