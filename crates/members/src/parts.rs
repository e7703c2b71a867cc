//! A base as bytes, part by part: what a store keeps of the members and reads back.
//!
//! A base is cut where it is shared: a page is a part, and the table of role sets is one part for its dictionary and
//! one for each run of 4,096 sets. What a fold left alone has the same bytes as before, so that whoever names parts by a
//! hash of their content writes what changed alone. Columns are copied as they lie in memory, so both ways run at about
//! the speed of memory.
//!
//! Reading goes the other way in three steps, the first two of them short. Whoever has workers gives each a share of the
//! sets, then of the pages:
//!
//! 1. [`Dictionary::decode`], then [`Dictionary::decode_sets`] for each part of that kind, anywhere;
//! 2. [`Dictionary::join`] makes the [`RoleTable`]; then [`RoleTable::decode_page`] for each page, anywhere;
//! 3. [`RoleTable::assemble`] makes the base. The digest's sums were made page by page and are only added up here, so
//!    [`Members::restore`](crate::Members::restore) has nothing left to compute.
//!
//! # Form
//!
//! All numbers are little-endian. A part begins with 16 bytes: its kind (1 dictionary, 2 sets, 3 page), the form's
//! version (1), two bytes 0, and three counts of 32 bits. Behind them
//!
//! | Kind | Counts | Content |
//! |---|---|---|
//! | dictionary | roles, sets, pages | members (64 bits); role ids (64 bits each) |
//! | sets | chunks, words, 0 | words of 16 bits: of each chunk of 256 sets where each set begins and the last one ends, counted from the chunk's start, then the places in the dictionary, ascending by role |
//! | page | rows, bytes of long nicks, 0 | users (64 bits each); sets (32); rows ascending by folded nick (16); 24 bytes a row: joined (64), flags (16), length of the nick (8; 255 if it is long), nick or place and length of a long one (32, 8), zeros; long nicks |
//!
//! One base has one form. Bytes are hostile until they are decoded: lengths are compared before anything is allocated,
//! and whatever a base relies on is checked. What cannot be seen is that a part was replaced by another well-formed one:
//! the bytes' checksums and the base's digest are for whoever keeps them to compare.

mod join;

use crate::base::Base;
use crate::page::Page;
use crate::role_sets::{Chunk, RoleSets};

pub use join::{Dictionary, PagePiece, RoleTable, SetsPiece};

/// What a part holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PartKind {
    /// Which roles the sets speak of, and how much of everything there is. Every base has one.
    Dictionary,
    /// A run of role sets.
    Sets,
    /// A page of members.
    Page,
}

/// Why bytes are not a part, or parts are not a base.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PartError {
    /// They do not even have a part's head.
    #[error("{found} bytes; a part has at least {HEAD_BYTES}")]
    Cut {
        /// Bytes there are.
        found: usize,
    },
    /// They begin as no part does, or as one of another kind.
    #[error("begins with {found:?}, but a part of kind {expected:?} begins with {:?}", expected.mark())]
    Kind {
        /// The kind asked for.
        expected: PartKind,
        /// The first four bytes: kind, version, 0, 0.
        found: [u8; 4],
    },
    /// They are fewer or more than the counts in their head take.
    #[error("{found} bytes behind the head; what it counts takes {expected}")]
    Length {
        /// Bytes that belong there.
        expected: u64,
        /// Bytes there are.
        found: usize,
    },
    /// There is more of something than there may be, or a number points behind an end.
    #[error("{what} {at}: {found} is not allowed; at most {max}")]
    Limit {
        /// Of what.
        what: &'static str,
        /// Where: which row, set or role of the part, from 0.
        at: usize,
        /// How much.
        found: u64,
        /// How much may be.
        max: u64,
    },
    /// Something is not as it must be: out of order, twice, or no text.
    #[error("{what} {at} is not well-formed or out of order")]
    Malformed {
        /// What.
        what: &'static str,
        /// Where: which row, set or role of the part, from 0; which page of the base.
        at: usize,
    },
    /// The parts are not as many, or do not hold as much, as the dictionary says.
    #[error("{found} {what}; the dictionary says {expected}")]
    Count {
        /// Of what.
        what: &'static str,
        /// How many there should be.
        expected: u64,
        /// How many there are.
        found: u64,
    },
}

/// One part of a base, not yet written out.
#[derive(Debug, Clone, Copy)]
pub struct Part<'a>(Content<'a>);

#[derive(Debug, Clone, Copy)]
enum Content<'a> {
    Dictionary(&'a Base),
    Sets(&'a [Chunk]),
    Page(&'a Page),
}

impl Base {
    /// The parts that it is made of: the dictionary, the role sets, then the pages, each kind in order. Making them costs
    /// nothing; writing them is [`Part::encode_into`].
    pub fn parts(&self) -> impl Iterator<Item = Part<'_>> {
        let dictionary = std::iter::once(Content::Dictionary(self));
        let sets = self.sets().runs().map(Content::Sets);
        let pages = self.pages().iter().map(|page| Content::Page(page));
        dictionary.chain(sets).chain(pages).map(Part)
    }

    /// The base of these parts, in their order, decoded one after the other: for small ones and for tests.
    ///
    /// # Errors
    /// [`PartError`] for the first part that is not as it must be.
    pub fn from_parts<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> Result<Self, PartError> {
        let mut parts = parts.into_iter().peekable();
        let dictionary = Dictionary::decode(parts.next().unwrap_or_default())?;
        let is_sets = |part: &&[u8]| part.starts_with(&PartKind::Sets.mark());
        let mut sets = Vec::new();
        while let Some(part) = parts.next_if(is_sets) {
            sets.push(dictionary.decode_sets(part)?);
        }
        let table = dictionary.join(sets)?;
        let pages = parts.map(|part| table.decode_page(part)).collect::<Result<_, _>>()?;
        table.assemble(pages)
    }
}

impl Part<'_> {
    /// What it holds.
    pub fn kind(&self) -> PartKind {
        match self.0 {
            Content::Dictionary(_) => PartKind::Dictionary,
            Content::Sets(_) => PartKind::Sets,
            Content::Page(_) => PartKind::Page,
        }
    }

    /// Appends its bytes to `buffer`: at most some 600 KB of a dictionary, 2.2 MB of sets and 11 MB of a page, and with
    /// the usual sizes a tenth of that or less. Allocates no more than `buffer` grows by.
    pub fn encode_into(&self, buffer: &mut Vec<u8>) {
        match self.0 {
            Content::Dictionary(base) => {
                let (roles, sets) = (base.sets().dictionary(), base.sets().len());
                begin(buffer, PartKind::Dictionary, [roles.len(), sets, base.pages().len()]);
                buffer.extend_from_slice(&(base.len() as u64).to_le_bytes());
                put_column(buffer, roles, |role| role.get().to_le_bytes());
            }
            Content::Sets(chunks) => RoleSets::encode_run(chunks, buffer),
            Content::Page(page) => page.encode_into(buffer),
        }
    }
}

impl PartKind {
    /// The kind of the part that these bytes begin, as far as their first bytes tell; `None` if they begin none.
    pub fn of(bytes: &[u8]) -> Option<Self> {
        [Self::Dictionary, Self::Sets, Self::Page].into_iter().find(|kind| bytes.starts_with(&kind.mark()))
    }

    /// What a part begins with: kind and version.
    fn mark(self) -> [u8; 4] {
        let kind = match self {
            Self::Dictionary => 1,
            Self::Sets => 2,
            Self::Page => 3,
        };
        [kind, FORM, 0, 0]
    }
}

/// Writes a part's head.
pub(crate) fn begin(buffer: &mut Vec<u8>, kind: PartKind, counts: [usize; 3]) {
    buffer.extend_from_slice(&kind.mark());
    for count in counts {
        let count = u32::try_from(count).expect("a guild has at most 20 million of anything, a part fewer bytes");
        buffer.extend_from_slice(&count.to_le_bytes());
    }
}

/// Appends a column, so many bytes an entry.
pub(crate) fn put_column<T, const N: usize>(buffer: &mut Vec<u8>, column: &[T], bytes: impl Fn(&T) -> [u8; N]) {
    let at = buffer.len();
    buffer.resize(at + column.len() * N, 0);
    for (place, entry) in buffer[at..].as_chunks_mut().0.iter_mut().zip(column) {
        *place = bytes(entry);
    }
}

/// Reads a part's head, and returns its counts and what is behind.
pub(crate) fn open(bytes: &[u8], kind: PartKind) -> Result<([usize; 3], &[u8]), PartError> {
    let Some((head, body)) = bytes.split_first_chunk::<HEAD_BYTES>() else {
        return Err(PartError::Cut { found: bytes.len() });
    };
    let ([mark, counts @ ..], _) = head.as_chunks::<4>() else {
        return Err(PartError::Cut { found: bytes.len() });
    };
    if *mark != kind.mark() {
        return Err(PartError::Kind { expected: kind, found: *mark });
    }
    let [one, two, three] = counts else {
        return Err(PartError::Cut { found: bytes.len() });
    };
    Ok(([one, two, three].map(|count| u32::from_le_bytes(*count) as usize), body))
}

/// That what is behind the head is as long as its counts say: the products of 32-bit counts and small sizes.
pub(crate) fn check_length(body: &[u8], expected: usize) -> Result<(), PartError> {
    if body.len() == expected {
        return Ok(());
    }
    Err(PartError::Length { expected: expected as u64, found: body.len() })
}

pub(crate) fn check_limit(what: &'static str, at: usize, found: usize, max: usize) -> Result<(), PartError> {
    if found <= max { Ok(()) } else { Err(PartError::Limit { what, at, found: found as u64, max: max as u64 }) }
}

/// Kind, version, two zeros, three counts.
const HEAD_BYTES: usize = 16;
/// The version of the form. Another one is another form: it is added beside this, which stays readable.
const FORM: u8 = 1;
