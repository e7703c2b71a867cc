//! Whether sessions were told gaps for a reason.
//!
//! A session alone cannot tell. Whoever is served with others falls behind with them, and is told so whether or not anything there was for it; and
//! a passive session may have lost a summary where it has heard all events. So what counts is whether anybody has missed anything under the gaps
//! that end at the same number, and whether an active session was told one.

use std::collections::BTreeMap;

use guildhall_proto::Level;
use tracing::info;

use crate::checks::Number;

/// Gaps that end behind what was judged, by where they end.
#[derive(Debug, Default)]
pub(super) struct Gaps(BTreeMap<Number, Told>);

/// Gaps that end at one number, as of one window.
#[derive(Debug, Default)]
struct Told {
    /// Those of active sessions that are straight.
    to_active: u64,
    crooked: u64,
    /// Whether anything due lies under one of them, as of all windows so far.
    has_missed: bool,
}

impl Gaps {
    /// Takes note of a gap that a session still has in a window, once for the window.
    pub(super) fn note(&mut self, through: Number, level: Level, is_crooked: bool, has_missed: bool) {
        let told = self.0.entry(through).or_default();
        match level {
            _ if is_crooked => told.crooked += 1,
            Level::Active => told.to_active += 1,
            Level::Passive => {}
        }
        told.has_missed |= has_missed;
    }

    /// Ends a window before the number `end`: how many of the gaps that end there were told without a reason, or are crooked. The others
    /// are noted again in the next.
    pub(super) fn end(&mut self, end: Number) -> u64 {
        let later = self.0.split_off(&end);
        let over = std::mem::replace(&mut self.0, later);
        for told in self.0.values_mut() {
            *told = Told { has_missed: told.has_missed, ..Told::default() };
        }
        let needless = |(through, told): (Number, Told)| {
            let needless = if told.has_missed { 0 } else { told.to_active };
            if needless > 0 {
                info!(through, sessions = needless, "gaps under which nobody has missed anything");
            }
            needless + told.crooked
        };
        over.into_iter().map(needless).sum()
    }
}
