//! Places of members in the base that are asked for soon, looked up side by side.
//!
//! A member of a large guild lies somewhere in tens of megabytes: to find it the processor waits some hundred nanoseconds
//! for memory, several times. It waits for many at a time if it knows of them before it needs the first.
//!
//! Invariants:
//! - of whom a place is kept, the frozen overlay says nothing, and it is that in the base; whatever changes either clears all;
//! - of whom nothing fresh is known, the fresh overlay says nothing: what it comes to say is [noted](Ahead::note_change).

use guildhall_proto::UserId;

use crate::layers::{Layers, Place};
use crate::overlay::Change;

/// The places looked up last. Empty until somebody looks ahead in a guild that is worth it.
#[derive(Debug, Default)]
pub(crate) struct Ahead {
    /// By a few bits that all of a user's id decide.
    places: Box<[Option<Known>]>,
    /// Those who are being looked up.
    sought: Vec<Sought>,
}

#[derive(Debug, Clone, Copy)]
struct Known {
    user: UserId,
    /// Page and row; `None` if the base has no such member.
    place: Option<(u32, u32)>,
    /// Whether the fresh overlay may tell something newer.
    is_fresh: bool,
}

#[derive(Debug, Clone, Copy)]
struct Sought {
    user: UserId,
    /// The page, and at first the block, then the row; `None` if the base has no such member.
    place: Option<(usize, usize)>,
}

impl Ahead {
    /// Looks users up, and has what lies there brought near.
    pub(crate) fn look(&mut self, layers: &Layers, users: impl Iterator<Item = UserId>) {
        let base = &layers.base;
        if base.len() < WORTH_MEMBERS {
            return;
        }
        if self.places.is_empty() {
            self.places = vec![None; PLACES].into();
        }
        // Each step for all of them, before any takes the next: so all that a step fetches is under way at once.
        let sought = &mut self.sought;
        for user in users {
            layers.frozen.approach(user);
            layers.fresh.approach(user);
            sought.push(Sought { user, place: base.approach_page(user).map(|page_idx| (page_idx, 0)) });
        }
        for Sought { user, place } in &mut *sought {
            *place = place.and_then(|(page_idx, _)| Some((page_idx, base.approach_block(page_idx, *user)?)));
        }
        for Sought { user, place } in &mut *sought {
            *place = place.and_then(|(page_idx, block)| Some((page_idx, base.approach_row(page_idx, block, *user)?)));
            if let Some((page_idx, row)) = *place {
                layers.presence.approach(page_idx, row);
            }
        }
        for (page_idx, row) in sought.iter().filter_map(|sought| sought.place) {
            base.approach_set(page_idx, row);
        }
        for Sought { user, place } in sought.drain(..) {
            if let Some((page_idx, row)) = place {
                base.fetch_set(page_idx, row);
            }
            if layers.frozen.get(user).is_some() {
                continue;
            }
            let place = place.map(|(page_idx, row)| (index(page_idx), index(row)));
            let is_fresh = layers.fresh.get(user).is_some();
            self.places[slot(user)] = Some(Known { user, place, is_fresh });
        }
    }

    /// Finds a member; if nothing newer is known of it, at its place in the base.
    pub(crate) fn find<'a>(&self, layers: &'a Layers, user: UserId) -> Option<Place<'a>> {
        let Some(Some(known)) =
            self.places.get(slot(user)).filter(|known| known.is_some_and(|known| known.user == user))
        else {
            return layers.find(user);
        };
        debug_assert!(layers.frozen.get(user).is_none(), "a fold that begins clears all places");
        debug_assert_eq!(known.place, layers.base.find(user).map(|(page, row)| (index(page), index(row))));
        debug_assert!(known.is_fresh || layers.fresh.get(user).is_none(), "each change is noted");
        let newer = if known.is_fresh { layers.fresh.get(user) } else { None };
        let status = match newer {
            Some(Change::Put(member, status)) => return Some(Place::Overlay(member, status)),
            Some(Change::Gone) => return None,
            Some(Change::Status(status)) => Some(status),
            None => None,
        };
        let (page_idx, row) = known.place?;
        Some(Place::Base { page_idx: page_idx as usize, row: row as usize, status })
    }

    /// Notes that the fresh overlay is about to tell something of a user. Whether it is known to have told nothing so far.
    pub(crate) fn note_change(&mut self, user: UserId) -> bool {
        match self.places.get_mut(slot(user)) {
            Some(Some(known)) if known.user == user => !std::mem::replace(&mut known.is_fresh, true),
            Some(_) | None => false,
        }
    }

    /// Forgets all: there is another base, or another frozen overlay.
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
/// Some times the inputs that are handled at once, so that few push each other out; 6 KB.
const PLACES: usize = 256;
const PLACES_SHIFT: u32 = u64::BITS - PLACES.ilog2();

const _: () = assert!(size_of::<Option<Known>>() * PLACES == 6 * 1_024);

#[cfg(test)]
mod tests {
    use guildhall_proto::{Member, MemberFlags, Millis, Nick};

    use super::*;
    use crate::{Members, MembersConfig};

    fn user(number: u64) -> UserId {
        UserId::new(number + 1).unwrap()
    }

    fn fold(members: &mut Members) {
        let folded = members.begin_fold().unwrap().run();
        drop(members.install(folded));
    }

    #[test]
    fn who_was_looked_up_ahead_is_found_where_the_next_base_has_it() {
        let mut members = Members::new(MembersConfig::default());
        for number in 0..2 * WORTH_MEMBERS as u64 {
            let nick = Nick::parse("ada").unwrap();
            let (user, joined_at, flags) = (user(number), Millis(number), MemberFlags::NONE);
            members.put(&Member { user, nick, roles: Vec::new(), joined_at, flags });
        }
        fold(&mut members);
        let asked = || (0..1_000).map(|number| user(number * 9));
        let found = |members: &Members| -> Vec<Option<u64>> {
            asked().map(|user| members.with_member(user, |member| member.joined_at.0)).collect()
        };
        let expected = |gone: u64| -> Vec<Option<u64>> {
            let is_there = |number: &u64| (gone..2 * WORTH_MEMBERS as u64).contains(number);
            (0..1_000).map(|number| Some(number * 9).filter(is_there)).collect()
        };
        members.look_ahead(asked());
        assert_eq!(found(&members), expected(0));
        (0..100).for_each(|number| assert!(members.remove(user(number)).is_some()));
        assert_eq!(found(&members), expected(100));
        let job = members.begin_fold().unwrap();
        assert_eq!(found(&members), expected(100));
        members.look_ahead(asked());
        assert_eq!(found(&members), expected(100));
        drop(members.install(job.run()));
        assert_eq!(found(&members), expected(100));
        members.look_ahead(asked());
        assert_eq!(found(&members), expected(100));
    }
}
