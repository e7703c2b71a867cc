//! Guilds move from node to node, and links end under those who talk, ask and listen there.

use guildhall_proto::Millis;

use super::{Doing, Known, KnownStage, Scene, Setting, Town, Workload, doors, roles};
use crate::dice::Dice;
use crate::queue::Micros;

/// Some guilds that never stay where they are for long.
#[derive(Debug)]
pub(super) struct Nomads {
    towns: Vec<Town>,
}

impl Nomads {
    pub(super) fn new(dice: &mut Dice) -> Self {
        Self { towns: (0..dice.within(1, 4)).map(|nth| Town::ordinary(nth as usize, dice)).collect() }
    }
}

impl Workload for Nomads {
    fn name(&self) -> &'static str {
        "nomads"
    }

    fn setting(&self) -> Setting {
        Setting { guilds: self.towns.len(), backends: 3, ..Setting::default() }
    }

    fn next(&mut self, now: Millis, dice: &mut Dice, known: &Known<'_>, doings: &mut Vec<Doing>) -> Option<Micros> {
        let mut scene = Scene { now, dice, known, doings };
        let nth = scene.dice.index(self.towns.len())?;
        let Some((guild, community)) = scene.settled(&mut self.towns[nth]) else { return Some(Micros::millis(20)) };
        scene.keep_listening(guild, community, LISTENERS);
        match scene.dice.below(60) {
            0 => {
                let to = scene.dice.below(8);
                scene.doings.push(Doing::Move { guild, to: Some(to) });
            }
            1 => scene.doings.push(Doing::Move { guild, to: None }),
            2 => {
                let backend = if scene.dice.one_in(3) { None } else { Some(scene.backend()) };
                scene.doings.push(Doing::CutLink { guild, backend });
            }
            // Who comes back does so elsewhere, mostly before anybody has missed them.
            3..8 => {
                if let Some((session, listens)) = scene.session(guild) {
                    scene.doings.push(Doing::Cut(session));
                    scene.resume(session, &listens);
                }
            }
            8..14 => {
                if let Some((session, was)) = scene.session_at(guild, KnownStage::Cut) {
                    scene.resume(session, &was);
                }
            }
            14..24 => {
                let change = if scene.dice.one_in(2) { roles::change } else { doors::change };
                let command = change(&mut scene, guild, community);
                scene.ask(guild, command);
            }
            24..28 => scene.retry(guild),
            28..32 => {
                let user = scene.member(community);
                scene.doings.push(Doing::Read { guild, user });
            }
            _ => scene.say(guild, community),
        }
        Some(Micros(scene.dice.below(10_000)))
    }
}

/// Sessions in all guilds together.
const LISTENERS: usize = 40;
