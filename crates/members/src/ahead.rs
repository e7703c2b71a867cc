//! Places of members in the base that are asked for soon, looked up side by side.
//!
//! A member of a large guild lies somewhere in tens of megabytes: to find it the processor waits some hundred nanoseconds
//! for memory, several times. It waits for many at a time if it knows of them before it needs the first.
//!
//! Invariant: what is kept is true of the base that the members have; a new one clears it.

use std::hint::black_box;

use guildhall_proto::UserId;

use crate::layers::{Layers, Place};

/// The places looked up last. Empty until somebody looks ahead in a guild that is worth it.
#[derive(Debug, Default)]
pub(crate) struct Ahead {
    /// By the low bits of the user's id.
    places: Box<[Option<Known>]>,
}

#[derive(Debug, Clone, Copy)]
struct Known {
    user: UserId,
    /// Page and row; `None` if the base has no such member.
    place: Option<(u32, u32)>,
}

impl Ahead {
    /// Looks a user up, and has what lies there brought near.
    pub(crate) fn look(&mut self, layers: &Layers, user: UserId) {
        if layers.base.len() < WORTH_MEMBERS {
            return;
        }
        if self.places.is_empty() {
            self.places = vec![None; PLACES].into();
        }
        let found = layers.base.find(user);
        if let Some((page_idx, row)) = found {
            // Read for nothing, which delays nobody: nothing waits for what it says.
            layers.base.fetch_ahead(page_idx, row);
            black_box(layers.presence.status(page_idx, row));
        }
        let place = found.map(|(page_idx, row)| (index(page_idx), index(row)));
        self.places[slot(user)] = Some(Known { user, place });
    }

    /// Finds a member; in the base at its place there, if that is known.
    pub(crate) fn find<'a>(&self, layers: &'a Layers, user: UserId) -> Option<Place<'a>> {
        layers.find_by(user, || match self.places.get(slot(user)) {
            Some(Some(known)) if known.user == user => {
                known.place.map(|(page_idx, row)| (page_idx as usize, row as usize))
            }
            Some(_) | None => layers.base.find(user),
        })
    }

    /// Forgets all: there is another base.
    pub(crate) fn clear(&mut self) {
        self.places.fill(None);
    }
}

fn slot(user: UserId) -> usize {
    // Ids may be multiples of anything: the product's upper bits depend on all of theirs.
    let spread = user.get().wrapping_mul(0x9E37_79B9_7F4A_7C15) >> PLACES_SHIFT;
    usize::try_from(spread).expect("a few bits")
}

fn index(of: usize) -> u32 {
    u32::try_from(of).expect("members are at most 20 million")
}

/// Below, all that is looked up stays in the caches, and the guild keeps no places.
const WORTH_MEMBERS: usize = 4_096;
/// Some times the inputs that are handled at once, so that few push each other out; 4 KB.
const PLACES: usize = 256;
const PLACES_SHIFT: u32 = u64::BITS - PLACES.ilog2();
