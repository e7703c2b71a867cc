//! A little of everything, in small guilds: what a run is made of when nothing else is asked for.

use guildhall_proto::{Millis};

use super::{Doing, Known, Workload};
use crate::dice::Dice;
use crate::queue::Micros;

#[derive(Debug, Default)]
pub(super) struct Mixed {}

impl Workload for Mixed {
    fn name(&self) -> &'static str {
        "mixed"
    }

    fn next(&mut self, _now: Millis, dice: &mut Dice, _known: &Known<'_>, _doings: &mut Vec<Doing>) -> Option<Micros> {
        Some(Micros::millis(dice.below(10)))
    }
}
