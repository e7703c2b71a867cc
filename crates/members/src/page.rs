//! A page: some thousands of members, ascending by user, as columns. Immutable; shared by every base and view that has
//! it.
//!
//! A scan reads ids, and a fold role sets, so those are columns of their own. What only a read of one member wants (nick,
//! joined time, flags) lies together in one [`Row`] of 24 bytes: a cache miss, not three one after the other. A page
//! that is made by an edit of another shares the columns that stay as they are.
//!
//! Invariants:
//! - all columns have one entry per member, and there is at least one member;
//! - `by_nick` is a permutation of the rows, ascending by (folded nick, user).

mod builder;
mod bytes;
mod edit;

use std::cmp::Ordering;
use std::slice;
use std::sync::Arc;

use guildhall_proto::{MemberFlags, Millis, UserId};
use prefetch_index::prefetch_index;

pub(crate) use builder::PageBuilder;
pub(crate) use edit::Edit;

use crate::config::NICK_BYTES_MAX;
use crate::nick::{self, Prefix};
use crate::role_sets::SetId;

#[derive(Debug)]
pub(crate) struct Page {
    // Each shared for itself: an edit copies the columns that it changes.
    ids: Arc<[UserId]>,
    sets: Arc<[SetId]>,
    rows: Arc<[Row]>,
    /// Nicks that do not fit into their row, one after the other.
    long_nicks: Box<str>,
    by_nick: Arc<[u16]>,
}

/// What of a member is read one at a time.
#[derive(Debug, Clone, Copy)]
struct Row {
    joined_at: Millis,
    flags: MemberFlags,
    /// The nick's bytes, or [`LONG`].
    nick_len: u8,
    /// The nick; of a long one, where it begins among the page's long ones (four bytes, little-endian), and its length.
    nick: [u8; SHORT_NICK_BYTES],
}

impl Page {
    pub(crate) fn len(&self) -> usize {
        self.ids.len()
    }

    pub(crate) fn ids(&self) -> &[UserId] {
        &self.ids
    }

    pub(crate) fn first(&self) -> UserId {
        self.ids[0]
    }

    pub(crate) fn last(&self) -> UserId {
        self.ids[self.ids.len() - 1]
    }

    pub(crate) fn sets(&self) -> &[SetId] {
        &self.sets
    }

    /// Begins to fetch where the columns lie.
    pub(crate) fn approach_columns(&self) {
        // It may lie in two lines of the cache.
        prefetch_index(slice::from_ref(&self.ids), 0);
        prefetch_index(slice::from_ref(&self.sets), 0);
        prefetch_index(slice::from_ref(&self.rows), 0);
    }

    /// Begins to fetch a row into the cache, while the caller still finds out which row it needs. Cache misses then run side by
    /// side; measured to take a quarter to a half off a random read.
    pub(crate) fn fetch_ahead(&self, row: usize) {
        prefetch_index(&self.rows, row);
        prefetch_index(&self.sets, row);
    }

    /// The same of all that a row has.
    pub(crate) fn approach(&self, row: usize) {
        prefetch_index(&self.ids, row);
        self.fetch_ahead(row);
        // A row may lie in two lines of the cache.
        prefetch_index(&self.rows, row + 1);
    }

    pub(crate) fn joined_at(&self, row: usize) -> Millis {
        self.rows[row].joined_at
    }

    pub(crate) fn flags(&self, row: usize) -> MemberFlags {
        self.rows[row].flags
    }

    pub(crate) fn nick(&self, row: usize) -> &str {
        self.rows[row].nick(&self.long_nicks)
    }

    /// The nick as it lies there: what is only compared, or hashed, need not be found to be text first.
    pub(crate) fn nick_bytes(&self, row: usize) -> &[u8] {
        self.rows[row].nick_bytes(&self.long_nicks)
    }

    /// The rows whose nicks have the prefix or come after such nicks, ascending by (folded nick, user). O(log n).
    pub(crate) fn tail_from_prefix(&self, prefix: &Prefix) -> &[u16] {
        &self.by_nick[self.by_nick.partition_point(|row| prefix.place(self.nick(usize::from(*row))).is_lt())..]
    }

    /// All rows, ascending by (folded nick, user).
    pub(crate) fn by_nick(&self) -> impl Iterator<Item = usize> {
        self.by_nick.iter().map(|row| usize::from(*row))
    }

    /// How many rows from this one on are those of another page from `other_row` on, as far as ids and nicks tell.
    pub(crate) fn same_from(&self, row: usize, other: &Self, other_row: usize) -> usize {
        let users = self.ids[row..].iter().zip(&other.ids[other_row..]);
        if std::ptr::eq(self, other) {
            return users.take_while(|(own, its)| own == its).count();
        }
        let rows = self.rows[row..].iter().zip(&other.rows[other_row..]);
        let same = users.zip(rows).take_while(|((own_user, its_user), (own, its))| {
            own_user == its_user && own.has_nick_of(its, &self.long_nicks, &other.long_nicks)
        });
        same.count()
    }

    /// Bytes held; columns that are shared with another version of the page are counted as its own.
    pub(crate) fn bytes(&self) -> usize {
        size_of::<Self>()
            + COLUMNS * COLUMN_OVERHEAD_BYTES
            + size_of_val(&*self.ids)
            + size_of_val(&*self.sets)
            + size_of_val(&*self.rows)
            + self.long_nicks.len()
            + size_of_val(&*self.by_nick)
    }
}

impl Row {
    /// A row whose nick, if it is long, joins `long_nicks`.
    fn new(joined_at: Millis, flags: MemberFlags, nick: &str, long_nicks: &mut String) -> Self {
        let mut row = Self { joined_at, flags, nick_len: LONG, nick: [0; SHORT_NICK_BYTES] };
        match row.nick.get_mut(..nick.len()) {
            Some(short) => {
                short.copy_from_slice(nick.as_bytes());
                row.nick_len = len_byte(nick);
            }
            None => {
                row.place_long(long_nicks.len());
                row.nick[OFFSET_BYTES] = len_byte(nick);
                long_nicks.push_str(nick);
            }
        }
        row
    }

    fn nick<'a>(&'a self, long_nicks: &'a str) -> &'a str {
        if self.is_long() {
            let (offset, len) = self.long();
            return &long_nicks[offset..offset + len];
        }
        str::from_utf8(self.nick_bytes(long_nicks)).expect("the bytes are those of a whole nick")
    }

    fn nick_bytes<'a>(&'a self, long_nicks: &'a str) -> &'a [u8] {
        if self.is_long() {
            return self.nick(long_nicks).as_bytes();
        }
        &self.nick[..usize::from(self.nick_len)]
    }

    /// The folded nick as a number, if it is a short one in ASCII alone: such numbers compare as the nicks do.
    fn short_key(&self) -> Option<u128> {
        if self.is_long() {
            return None;
        }
        let mut bytes = [0; size_of::<u128>()];
        // Behind the nick there are zeros, and no nick has one in it.
        bytes[..SHORT_NICK_BYTES].copy_from_slice(&self.nick);
        nick::folded_ascii(bytes)
    }

    /// Whether it has the same nick as a row of another page.
    fn has_nick_of(&self, other: &Self, own_long_nicks: &str, other_long_nicks: &str) -> bool {
        if self.is_long() && other.is_long() {
            return self.nick(own_long_nicks) == other.nick(other_long_nicks);
        }
        // Behind a short nick there are zeros.
        (self.nick_len, self.nick) == (other.nick_len, other.nick)
    }

    fn is_long(&self) -> bool {
        self.nick_len == LONG
    }

    /// Where a long nick lies, and its length.
    fn long(&self) -> (usize, usize) {
        let [a, b, c, d, len, ..] = self.nick;
        (u32::from_le_bytes([a, b, c, d]) as usize, usize::from(len))
    }

    fn place_long(&mut self, offset: usize) {
        let offset =
            u32::try_from(offset).expect("the nicks gathered at a time are those of at most 20 million members");
        self.nick[..OFFSET_BYTES].copy_from_slice(&offset.to_le_bytes());
    }
}

/// Two of these rows by (folded nick, row).
fn compare(rows: &[Row], long_nicks: &str, one: usize, other: usize) -> Ordering {
    let by_nick = match (rows[one].short_key(), rows[other].short_key()) {
        (Some(one), Some(other)) => one.cmp(&other),
        (None, _) | (_, None) => nick::compare(rows[one].nick(long_nicks), rows[other].nick(long_nicks)),
    };
    by_nick.then(one.cmp(&other))
}

/// Lays the long nicks of these rows one after the other, and returns them.
fn compact(rows: &mut [Row], long_nicks: &str) -> String {
    let mut compact = String::new();
    for row in rows.iter_mut().filter(|row| row.is_long()) {
        let offset = compact.len();
        compact.push_str(row.nick(long_nicks));
        row.place_long(offset);
    }
    compact
}

/// The number of a row.
pub(crate) fn page_row(row: usize) -> u16 {
    u16::try_from(row).expect("a page has at most 65,535 rows")
}

fn len_byte(nick: &str) -> u8 {
    u8::try_from(nick.len()).expect("a nick has at most 32 characters of 4 bytes")
}

/// Nicks of up to so many bytes lie in their row, which makes that 24 bytes.
const SHORT_NICK_BYTES: usize = 13;
/// Columns that are shared each for itself, and the two counts of one.
const COLUMNS: usize = 4;
const COLUMN_OVERHEAD_BYTES: usize = 16;
/// Bytes of a long nick's place.
const OFFSET_BYTES: usize = 4;
/// The length that marks a long nick.
const LONG: u8 = u8::MAX;

const _: () = assert!(size_of::<Row>() == 24);
const _: () = assert!(NICK_BYTES_MAX < LONG as usize, "no length is the mark");
