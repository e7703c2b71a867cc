//! Connections break by the hundred or the thousand, all at once, and come back at the backend where they were or at another.

use guildhall_proto::{Millis, SessionId};

use super::{Doing, Known, KnownSession, KnownStage, Scene, Setting, Town, Workload, doors, roles};
use crate::dice::Dice;
use crate::queue::Micros;

/// One guild whose listeners lose their connections again and again, while there is something to miss.
#[derive(Debug)]
pub(super) struct Reconnects {
    town: Town,
    sessions: usize,
    /// Moments until the next storm.
    quiet: u64,
}

impl Reconnects {
    pub(super) fn new(dice: &mut Dice) -> Self {
        let sessions = if dice.one_in(4) { dice.within(1_000, 4_000) } else { dice.within(50, 300) };
        Self { town: Town::ordinary(0, dice), sessions: sessions as usize, quiet: dice.below(QUIET) }
    }
}

impl Workload for Reconnects {
    fn name(&self) -> &'static str {
        "reconnects"
    }

    fn setting(&self) -> Setting {
        Setting { backends: 3, ..Setting::default() }
    }

    fn next(&mut self, now: Millis, dice: &mut Dice, known: &Known<'_>, doings: &mut Vec<Doing>) -> Option<Micros> {
        let mut scene = Scene { now, dice, known, doings };
        let Some((guild, community)) = scene.settled(&mut self.town) else { return Some(Micros::millis(20)) };
        scene.keep_listening(guild, community, self.sessions);
        scene.say(guild, community);
        // What is missed is heard by the rights of then, whatever has become of them since.
        if scene.dice.one_in(4) {
            let change = if scene.dice.one_in(2) { roles::change } else { doors::change };
            let command = change(&mut scene, guild, community);
            scene.ask(guild, command);
        }
        if self.quiet == 0 {
            self.quiet = QUIET / 2 + scene.dice.below(QUIET);
            storm(&mut scene);
        } else if scene.dice.one_in(3) {
            come_back(&mut scene);
        }
        self.quiet -= 1;
        Some(Micros(scene.dice.below(20_000)))
    }
}

/// All sessions of a backend are cut, or those of all backends; but for a few.
fn storm(scene: &mut Scene<'_, '_>) {
    let backend = if scene.dice.one_in(2) { Some(scene.backend()) } else { None };
    for (session, known) in scene.known.sessions() {
        let is_hit = backend.is_none_or(|backend| backend == known.backend) && !scene.dice.one_in(20);
        if known.stage == KnownStage::Served && is_hit {
            scene.doings.push(Doing::Cut(*session));
        }
    }
}

/// Up to some hundred of those that are cut come back at once, some twice, for the first answer was lost.
fn come_back(scene: &mut Scene<'_, '_>) {
    let cut = scene.known.sessions().iter().filter(|(_, known)| known.stage == KnownStage::Cut);
    let many = scene.dice.within(1, 300) as usize;
    let back: Vec<(SessionId, KnownSession)> = cut.take(many).map(|(session, known)| (*session, *known)).collect();
    for (session, known) in back {
        scene.resume(session, &known);
        if scene.dice.one_in(10) {
            scene.resume(session, &known);
        }
    }
}

/// About so many moments lie between two storms.
const QUIET: u64 = 100;
