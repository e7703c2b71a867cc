//! The sessions of one relay whose connection broke, in the order in which they are given up.
//!
//! A backend that loses its network has all of its sessions cut at once, so what each takes is to be little: an entry of 32 bytes beside its
//! seat, and one task for all. An entry whose session has come back stays until it is first, or until such entries are more than the others.

use std::collections::VecDeque;
use std::convert::Infallible;

use guildhall_proto::SessionId;
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::seats::Tenure;

/// A session that may come back until then.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cut {
    pub(crate) until: Instant,
    pub(crate) session: SessionId,
    pub(crate) tenure: Tenure,
}

/// All of them, by time.
#[derive(Debug, Default)]
pub(crate) struct Cuts {
    entries: VecDeque<Cut>,
    /// How many of them may still come back.
    cut: usize,
    /// While there are any. Its end tells who waits for theirs that there is nothing to wait for.
    any: Option<oneshot::Sender<Infallible>>,
}

impl Cuts {
    /// Adds one, no earlier than the last of those before it; `is_cut` tells which of all may still come back. With the first comes what ends
    /// when none may. O(1), amortised.
    pub(crate) fn enter(
        &mut self,
        mut cut: Cut,
        is_cut: impl Fn(&Cut) -> bool,
    ) -> Option<oneshot::Receiver<Infallible>> {
        if self.entries.len() >= 2 * self.cut + SPARE {
            self.entries.retain(is_cut);
            self.entries.shrink_to(2 * self.cut + SPARE);
        }
        cut.until = self.entries.back().map_or(cut.until, |last| last.until.max(cut.until));
        self.entries.push_back(cut);
        self.cut += 1;
        if self.any.is_some() {
            return None;
        }
        let (any, none_left) = oneshot::channel();
        self.any = Some(any);
        Some(none_left)
    }

    /// One of them has come back, or is gone.
    pub(crate) fn leave(&mut self) {
        self.cut -= 1;
        if self.cut == 0 {
            self.any = None;
        }
    }

    #[cfg(test)]
    pub(crate) fn entries(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn first(&self) -> Option<Cut> {
        self.entries.front().copied()
    }

    /// Forgets the first.
    pub(crate) fn pop(&mut self) {
        self.entries.pop_front();
        if self.entries.is_empty() {
            self.entries = VecDeque::new();
        }
    }
}

/// Entries of sessions that have come back, beyond as many as there are others.
const SPARE: usize = 64;

const _: () = assert!(size_of::<Cut>() <= 32);
