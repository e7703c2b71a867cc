//! A record's bytes.
//!
//! Little-endian, at offsets that are multiples of 8: head sum u32 (over the rest of the head), payload bytes u32, kind u8, flags u8
//! (bit 0: the batch goes on in the next record), six zeros, guild u64, epoch u64, seq u64, body sum u64; then the payload, with zeros up
//! to the next multiple of 8, all under the body sum.
//!
//! Both sums are XXH3 under a seed made of the log's id, the segment's number and the record's offset: a record proves its place, and one
//! of another file, place or log is as bad as noise.

use std::num::NonZeroU8;

use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use crate::LogId;

/// What a record is to whoever wrote it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Kind(NonZeroU8);

impl Kind {
    /// 1 to 255; `None` for 0, which is the log's own.
    pub const fn new(kind: u8) -> Option<Self> {
        match NonZeroU8::new(kind) {
            Some(kind) => Some(Self(kind)),
            None => None,
        }
    }

    /// Its number.
    pub const fn number(self) -> u8 {
        self.0.get()
    }
}

/// What is told of a record before its payload. The numbers mean nothing to the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// What it is.
    pub kind: Kind,
    /// Whose it is.
    pub guild: u64,
    /// Under which epoch it was written.
    pub epoch: u64,
    /// Its number.
    pub seq: u64,
}

/// Where a record lies. Places grow as records are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The number of its segment.
    pub segment: u64,
    /// Where its head begins, in bytes.
    pub offset: u64,
    /// How long its payload is, in bytes.
    pub bytes: u32,
}

/// Length of a head.
pub(crate) const HEAD_BYTES: u64 = 48;
const HEAD: usize = HEAD_BYTES as usize;

/// What all sums of one segment are seeded with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seal {
    pub(crate) id: LogId,
    pub(crate) segment: u64,
}

impl Seal {
    fn seed(self, offset: u64) -> u64 {
        let mut place = [0; 32];
        place[..16].copy_from_slice(&self.id.0.to_le_bytes());
        place[16..24].copy_from_slice(&self.segment.to_le_bytes());
        place[24..].copy_from_slice(&offset.to_le_bytes());
        xxh3_64(&place)
    }
}

/// A head as it lies in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RawHead {
    pub(crate) payload: u32,
    /// 0 for a record of the log's own.
    kind: u8,
    /// Whether the batch goes on in the next record.
    pub(crate) more: bool,
    guild: u64,
    epoch: u64,
    seq: u64,
    body_sum: u64,
}

/// What a head is about.
pub(crate) enum Meaning {
    Record(Head),
    /// All before it is synced.
    Mark,
    /// No segment before this one is live.
    Truncation {
        oldest: u64,
    },
}

/// What lies where a head may lie.
pub(crate) enum Look {
    Head(RawHead),
    Zeros,
    Bad,
}

impl RawHead {
    pub(crate) fn decode(bytes: &[u8; HEAD], seal: Seal, offset: u64) -> Look {
        let u32_at = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        let u64_at = |at: usize| u64::from(u32_at(at)) | u64::from(u32_at(at + 4)) << 32;
        if bytes == &[0; HEAD] {
            return Look::Zeros;
        }
        // The plain looks first: a search for heads goes through a whole segment.
        let is_plain = bytes[9] <= 1 && bytes[10..16] == [0; 6];
        if !is_plain || u32_at(0) != head_sum(&bytes[4..], seal.seed(offset)) {
            return Look::Bad;
        }
        Look::Head(Self {
            payload: u32_at(4),
            kind: bytes[8],
            more: bytes[9] == 1,
            guild: u64_at(16),
            epoch: u64_at(24),
            seq: u64_at(32),
            body_sum: u64_at(40),
        })
    }

    fn encode(&self, seal: Seal, offset: u64) -> [u8; HEAD] {
        let mut bytes = [0; HEAD];
        bytes[4..8].copy_from_slice(&self.payload.to_le_bytes());
        bytes[8] = self.kind;
        bytes[9] = u8::from(self.more);
        bytes[16..24].copy_from_slice(&self.guild.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.epoch.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.seq.to_le_bytes());
        bytes[40..48].copy_from_slice(&self.body_sum.to_le_bytes());
        let sum = head_sum(&bytes[4..], seal.seed(offset));
        bytes[..4].copy_from_slice(&sum.to_le_bytes());
        bytes
    }

    pub(crate) fn meaning(&self) -> Meaning {
        match Kind::new(self.kind) {
            Some(kind) => Meaning::Record(Head { kind, guild: self.guild, epoch: self.epoch, seq: self.seq }),
            None if self.guild == 0 => Meaning::Mark,
            None => Meaning::Truncation { oldest: self.guild },
        }
    }

    /// From the head's beginning to where the next one begins.
    pub(crate) fn whole_bytes(&self) -> u64 {
        HEAD_BYTES + padded(self.payload)
    }

    /// Whether this is its payload, with the zeros behind it.
    pub(crate) fn seals(&self, padded_body: &[u8], seal: Seal, offset: u64) -> bool {
        self.body_sum == xxh3_64_with_seed(padded_body, seal.seed(offset))
    }
}

/// As long as a payload lies in a file.
pub(crate) fn padded(payload: u32) -> u64 {
    u64::from(payload).next_multiple_of(8)
}

/// Appends a record that lies at `offset`.
pub(crate) fn encode(into: &mut Vec<u8>, seal: Seal, offset: u64, head: &Head, more: bool, payload: &[u8]) {
    let Head { kind, guild, epoch, seq } = *head;
    let kind = kind.number();
    let bytes = u32::try_from(payload.len()).expect("a payload is shorter than its segment, and that than 4 GiB");
    let at = into.len();
    into.extend_from_slice(&[0; HEAD]);
    into.extend_from_slice(payload);
    into.resize(into.len().next_multiple_of(8), 0);
    let body_sum = xxh3_64_with_seed(&into[at + HEAD..], seal.seed(offset));
    let head = RawHead { payload: bytes, kind, more, guild, epoch, seq, body_sum };
    into[at..at + HEAD].copy_from_slice(&head.encode(seal, offset));
}

/// A record of the log's own: a mark.
pub(crate) fn mark(seal: Seal, offset: u64) -> [u8; HEAD] {
    own(seal, offset, 0)
}

/// A record of the log's own: a truncation.
pub(crate) fn truncation(seal: Seal, offset: u64, oldest: u64) -> [u8; HEAD] {
    own(seal, offset, oldest)
}

fn own(seal: Seal, offset: u64, oldest: u64) -> [u8; HEAD] {
    let body_sum = xxh3_64_with_seed(&[], seal.seed(offset));
    RawHead { payload: 0, kind: 0, more: false, guild: oldest, epoch: 0, seq: 0, body_sum }.encode(seal, offset)
}

/// Half of the hash: heads are short, and each is followed by what its body's sum covers.
fn head_sum(rest: &[u8], seed: u64) -> u32 {
    (xxh3_64_with_seed(rest, seed) >> 32) as u32
}

const _: () = assert!(HEAD_BYTES.is_multiple_of(8));
