//! One client that asks for more than outcomes are kept of, and then asks once more for what it asked first.

use guildhall_proto::limits::CLIENT_OUTCOMES_MAX;
use guildhall_proto::{Actor, Command, GuildEdit, Millis};

use super::town;
use super::{CallAs, Doing, Known, Scene, Town, Workload};
use crate::dice::Dice;
use crate::queue::Micros;

/// A guild whose name changes all the time.
#[derive(Debug)]
pub(super) struct Busy {
    town: Town,
    asked: usize,
}

impl Busy {
    pub(super) fn new(dice: &mut Dice) -> Self {
        Self { town: Town::hamlet(0, dice), asked: 0 }
    }
}

impl Workload for Busy {
    fn name(&self) -> &'static str {
        "busy"
    }

    fn next(&mut self, now: Millis, dice: &mut Dice, known: &Known<'_>, doings: &mut Vec<Doing>) -> Option<Micros> {
        let mut scene = Scene { now, dice, known, doings };
        let Some((guild, _)) = scene.settled(&mut self.town) else { return Some(Micros::millis(20)) };
        if scene.known.calls_open(guild) < OPEN_MAX {
            for _ in 0..AT_ONCE {
                let name = town::name(&format!("town {}", scene.dice.below(1_000_000)));
                let command = Command::UpdateGuild(GuildEdit { name: Some(name) });
                scene.doings.push(Doing::Call { guild, actor: Actor::System, command, id: CallAs::Busy });
                self.asked += 1;
            }
            // From around the place behind which they are forgotten, and from the first that can be asked for again.
            let nth_last = CLIENT_OUTCOMES_MAX - 100 + usize::try_from(scene.dice.below(400)).unwrap_or(0);
            if nth_last < self.asked {
                scene.doings.push(Doing::Retry { guild, nth_last });
            }
        }
        Some(Micros(scene.dice.below(20_000)))
    }
}

/// Calls of one moment.
const AT_ONCE: usize = 16;
/// From so many unanswered calls on it waits.
const OPEN_MAX: usize = 64;
