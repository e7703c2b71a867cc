//! Where a list is cut into runs.

use std::iter;

use guildhall_proto::limits::{CLIENT_OUTCOMES_MAX, NAME_CHARS_MAX, OVERWRITES_MAX, REASON_CHARS_MAX};
use guildhall_proto::{Ban, KeptClient, Role};

use super::ChannelEntry;

/// What a list is made of, ascending by key.
pub(super) trait Item {
    /// One item in so many ends a run: how long runs are, unless they become too large before.
    const RUN_ITEMS: u64;

    /// What the list is ordered by.
    fn key(&self) -> u64;

    /// At least the bytes of its encoding.
    fn bytes(&self) -> usize;
}

/// The runs of a list: each ends behind an item whose key says so, at [`RUN_BYTES`], or with the list.
pub(super) fn runs<T: Item>(items: &[T]) -> impl Iterator<Item = &[T]> {
    let mut left = items;
    iter::from_fn(move || {
        let mut bytes = 0;
        let closing = left.iter().position(|item| {
            bytes += item.bytes();
            bytes >= RUN_BYTES || ends_run(item)
        });
        let (run, rest) = left.split_at(closing.map_or(left.len(), |closing| closing + 1));
        left = rest;
        (!run.is_empty()).then_some(run)
    })
}

/// Whether a run ends behind the item, whatever is around it. Written down, as all nodes must cut alike: the golden ratio's
/// multiples fall evenly, whichever bits of the keys differ.
fn ends_run<T: Item>(item: &T) -> bool {
    item.key().wrapping_mul(0x9e37_79b9_7f4a_7c15) < u64::MAX / T::RUN_ITEMS
}

impl Item for Role {
    const RUN_ITEMS: u64 = 64;

    fn key(&self) -> u64 {
        self.id.get()
    }

    fn bytes(&self) -> usize {
        FIXED_BYTES + self.name.as_str().len()
    }
}

impl Item for ChannelEntry {
    const RUN_ITEMS: u64 = 16;

    fn key(&self) -> u64 {
        self.0.id.get()
    }

    fn bytes(&self) -> usize {
        FIXED_BYTES + self.0.name.as_str().len() + self.1.len() * OVERWRITE_BYTES
    }
}

impl Item for Ban {
    const RUN_ITEMS: u64 = 1_024;

    fn key(&self) -> u64 {
        self.user.get()
    }

    fn bytes(&self) -> usize {
        BAN_BYTES + self.reason.as_ref().map_or(0, |reason| reason.as_str().len())
    }
}

impl Item for KeptClient {
    const RUN_ITEMS: u64 = 8;

    fn key(&self) -> u64 {
        self.client.get()
    }

    fn bytes(&self) -> usize {
        FIXED_BYTES + self.operations.len() * OPERATION_BYTES
    }
}

/// A run is closed at so many bytes: some milliseconds of a disk, and little memory for whoever reads several at a time. Hardly ever
/// reached: larger runs would be written again for one changed item, smaller ones make more parts.
const RUN_BYTES: usize = 1024 * 1024;
/// Bytes of the largest run.
pub(super) const RUN_BYTES_MAX: usize = RUN_BYTES + ITEM_BYTES_MAX;

/// Bytes of a role, channel or client without its text and lists: at most six numbers of 9 bytes and some marks.
const FIXED_BYTES: usize = 64;
/// A user (9 bytes), the length of a reason (3) and whether there is one.
const BAN_BYTES: usize = 13;
/// Three numbers of 9 bytes, and which kind of target.
const OVERWRITE_BYTES: usize = 28;
/// Id and body (36 bytes), the position of its outcome (18), up to four counts (5 each), the fault of an import (10), marks.
const OPERATION_BYTES: usize = 96;

const CHANNEL_BYTES_MAX: usize = FIXED_BYTES + NAME_CHARS_MAX * 4 + OVERWRITES_MAX * OVERWRITE_BYTES;
const BAN_BYTES_MAX: usize = BAN_BYTES + REASON_CHARS_MAX * 4;
const CLIENT_BYTES_MAX: usize = FIXED_BYTES + CLIENT_OUTCOMES_MAX * OPERATION_BYTES;
/// Bytes of the largest item: a client's.
const ITEM_BYTES_MAX: usize = CLIENT_BYTES_MAX;

const _: () = assert!(ITEM_BYTES_MAX >= CHANNEL_BYTES_MAX && ITEM_BYTES_MAX >= BAN_BYTES_MAX);
