//! All kinds of community and of trouble in one world: a few at a time, and after a while others.

use guildhall_proto::Millis;

use super::{Doing, KINDS, Known, Setting, Workload};
use crate::dice::Dice;
use crate::queue::Micros;

/// Some workloads that take turns at the same guilds.
pub(super) struct Mixed {
    on: Vec<Box<dyn Workload>>,
}

impl Mixed {
    pub(super) fn new(dice: &mut Dice) -> Self {
        Self { on: (0..dice.within(2, 5)).map(|_| any(dice)).collect() }
    }
}

impl Workload for Mixed {
    fn name(&self) -> &'static str {
        "mixed"
    }

    /// As much as any of those at the beginning wants; those that come later make do with it.
    fn setting(&self) -> Setting {
        let settings = self.on.iter().map(|workload| workload.setting());
        settings.fold(Setting { guilds: GUILDS, ..Setting::default() }, |all, one| Setting {
            guilds: all.guilds.max(one.guilds),
            backends: all.backends.max(one.backends),
            sleep_after: all.sleep_after.min(one.sleep_after),
            ring_events: all.ring_events.or(one.ring_events),
        })
    }

    fn next(&mut self, now: Millis, dice: &mut Dice, known: &Known<'_>, doings: &mut Vec<Doing>) -> Option<Micros> {
        let nth = dice.index(self.on.len())?;
        let pause = self.on[nth].next(now, dice, known, doings);
        if pause.is_none() || dice.one_in(STAYS) {
            self.on[nth] = any(dice);
        }
        // Each is asked as often as if it were alone.
        Some(Micros(pause.map_or(0, |pause| pause.0 / self.on.len() as u64)))
    }
}

fn any(dice: &mut Dice) -> Box<dyn Workload> {
    let others: Vec<_> = KINDS.iter().filter(|(name, _)| *name != "mixed").collect();
    let (_, make) = dice.one_of(&others).expect("there are others");
    make(dice)
}

/// Guilds that there may be at least: some of those who come later end one now and then.
const GUILDS: usize = 16;
/// A workload is on for about so many moments.
const STAYS: u64 = 300;
