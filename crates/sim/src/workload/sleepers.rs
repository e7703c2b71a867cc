//! Many small guilds that hardly anybody needs: they fall asleep, and are woken by a call, a reader, or a hundred at once.

use guildhall_proto::{Command, Level, Millis};

use super::{Doing, Known, Scene, Setting, Town, Workload, town};
use crate::dice::Dice;
use crate::queue::Micros;

/// Small guilds, idle for longer than it takes to fall asleep.
#[derive(Debug)]
pub(super) struct Sleepers {
    towns: Vec<Town>,
}

impl Sleepers {
    pub(super) fn new(dice: &mut Dice) -> Self {
        Self { towns: (0..dice.within(5, 25)).map(|nth| Town::hamlet(FIRST + nth as usize, dice)).collect() }
    }
}

impl Workload for Sleepers {
    fn name(&self) -> &'static str {
        "sleepers"
    }

    fn setting(&self) -> Setting {
        Setting { guilds: FIRST + self.towns.len(), sleep_after: SLEEP_AFTER, ..Setting::default() }
    }

    fn next(&mut self, now: Millis, dice: &mut Dice, known: &Known<'_>, doings: &mut Vec<Doing>) -> Option<Micros> {
        let mut scene = Scene { now, dice, known, doings };
        let nth = scene.dice.index(self.towns.len())?;
        let Some((guild, known)) = scene.settled(&mut self.towns[nth]) else { return Some(Micros::millis(50)) };
        let user = scene.member(known);
        match scene.dice.below(10) {
            0 => (0..100).for_each(|_| scene.doings.push(Doing::Read { guild, user })),
            1 => (0..20).for_each(|_| scene.say(guild, known)),
            2 => scene.doings.push(Doing::Read { guild, user }),
            3 => scene.attach_at(guild, user, Level::Passive),
            4 => scene.retry(guild),
            5 => {
                let newcomer = town::plain_member(scene.dice.below(20));
                scene.ask(guild, Command::AddMember(newcomer));
            }
            6 => scene.say(guild, known),
            // Nobody needs it while somebody listens: so the listeners leave.
            _ => {
                let listeners = scene.known.sessions().iter().filter(|(_, session)| session.guild == guild);
                let leave: Vec<Doing> = listeners.map(|(session, _)| Doing::Detach(*session)).collect();
                scene.doings.extend(leave);
            }
        }
        // Mostly a moment, so that a guild is met as it falls asleep; now and then long enough for all.
        Some(if scene.dice.one_in(8) { SLEEP_AFTER } else { Micros(scene.dice.below(SLEEP_AFTER.0 / 8)) })
    }
}

/// Guilds before this one are left to those who need them more, if there are any.
const FIRST: usize = 4;
const SLEEP_AFTER: Micros = Micros::millis(400);
