//! Sessions for which nobody speaks any more, released a few at a time, between other inputs.
//!
//! A list of each sponsor's sessions would be memory for as long as none goes; so once one is gone, all rows are looked at, from the last to the
//! first. What comes meanwhile lies behind them, and where a row is taken out, the last one gets its place, which has been looked at.
//!
//! Invariant: no row at `left` or behind it is one of a sponsor that was gone when it came there.

use guildhall_proto::{Reply, Sponsor};

use crate::effect::Effect;
use crate::guild::Guild;
use crate::input::SponsorGone;
use crate::snapshot::Life;

/// Who is gone, and how far the look for their sessions is.
#[derive(Debug, Default)]
pub(crate) struct Forsaken {
    gone: Vec<Sponsor>,
    /// The rows before this one are still to be looked at.
    left: usize,
    released: u64,
}

impl Forsaken {
    pub(crate) fn is_empty(&self) -> bool {
        self.gone.is_empty()
    }
}

impl Guild {
    /// Sessions that were released because their sponsor was gone, since the owner began.
    pub fn forsaken_released(&self) -> u64 {
        self.forsaken.released
    }

    pub(crate) fn sponsor_gone(&mut self, gone: SponsorGone, effects: &mut Vec<Effect>) {
        let SponsorGone { id, sponsor } = gone;
        if self.sessions.len() > 0 && !self.forsaken.gone.contains(&sponsor) {
            self.forsaken.gone.push(sponsor);
        }
        // From the last row on, also for those who were looked for before: one look is for all.
        self.forsaken.left = self.sessions.len();
        effects.push(Effect::Answer(id, Ok(Reply::Accepted(self.position))));
    }

    /// Looks at some of the rows that are left, and releases those that are to go. O(log n) in members for each of these.
    pub(crate) fn release_forsaken(&mut self, effects: &mut Vec<Effect>) {
        // Rows behind may have gone by themselves.
        self.forsaken.left = self.forsaken.left.min(self.sessions.len());
        let (mut looks, mut releases) = (LOOKS, RELEASES);
        while looks > 0 && releases > 0 && self.forsaken.left > 0 {
            looks -= 1;
            self.forsaken.left -= 1;
            let (session, user, sponsor) =
                self.sessions.at(self.forsaken.left).expect("rows lie without a hole, and so many are left");
            if !self.forsaken.gone.contains(&sponsor) {
                continue;
            }
            releases -= 1;
            let before = self.sessions.status(user);
            self.sessions.remove(session);
            self.forsaken.released += 1;
            if let Life::Alive(_) = self.life {
                self.show_status(user, before, effects);
            }
        }
        if self.forsaken.left == 0 {
            self.forsaken.gone = Vec::new();
        }
    }
}

/// Rows looked at in one turn: some 10 µs.
const LOOKS: usize = 4_096;
/// Sessions released in one turn: some 100 µs.
const RELEASES: usize = 256;
