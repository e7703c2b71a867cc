//! Readers that are slow, readers that stop, and a guild that waits for none of them: rings pass them by, and they are told so.

use guildhall_proto::Millis;

use super::{Doing, Known, Pace, Scene, Setting, Town, Workload, doors, roles};
use crate::dice::Dice;
use crate::queue::Micros;

/// One busy guild with readers of every pace.
#[derive(Debug)]
pub(super) struct Laggards {
    town: Town,
    ring_events: usize,
}

impl Laggards {
    pub(super) fn new(dice: &mut Dice) -> Self {
        Self { town: Town::ordinary(0, dice), ring_events: dice.within(8, 128) as usize }
    }
}

impl Workload for Laggards {
    fn name(&self) -> &'static str {
        "laggards"
    }

    fn setting(&self) -> Setting {
        Setting { ring_events: Some(self.ring_events), ..Setting::default() }
    }

    fn next(&mut self, now: Millis, dice: &mut Dice, known: &Known<'_>, doings: &mut Vec<Doing>) -> Option<Micros> {
        let mut scene = Scene { now, dice, known, doings };
        let Some((guild, known)) = scene.settled(&mut self.town) else { return Some(Micros::millis(20)) };
        scene.keep_listening(guild, known, LISTENERS);
        let paces = [Pace::Stopped, Pace::Slow, Pace::Slow, Pace::Fast, Pace::Fast];
        if let Some((session, _)) = scene.session(guild)
            && scene.dice.one_in(3)
        {
            scene.doings.extend(scene.dice.one_of(&paces).map(|pace| Doing::Pace(session, *pace)));
        }
        scene.stir(guild);
        // What they lag behind is also who may see what: they are to hear by the rights of then.
        if scene.dice.one_in(6) {
            let change = if scene.dice.one_in(2) { roles::change } else { doors::change };
            let command = change(&mut scene, guild, known);
            scene.ask(guild, command);
        }
        let burst = if scene.dice.one_in(30) { 2 * self.ring_events as u64 } else { scene.dice.below(4) };
        (0..burst).for_each(|_| scene.say(guild, known));
        if scene.dice.one_in(50) {
            let large = scene.dice.within(10_000, 60_000);
            scene.say_bytes(guild, known, large);
        }
        Some(Micros(scene.dice.below(20_000)))
    }
}

const LISTENERS: usize = 60;
