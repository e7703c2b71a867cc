//! Guilds are founded, used for a while, and deleted, with whoever listens there; and are asked for after that.

use guildhall_proto::{Actor, Command, Level, Millis, Permissions};

use super::{Doing, Known, Scene, Setting, Town, Workload, town};
use crate::dice::Dice;
use crate::queue::Micros;

/// Many guilds, each with a beginning and an end.
#[derive(Debug)]
pub(super) struct Lives {
    towns: Vec<Town>,
}

impl Lives {
    pub(super) fn new(dice: &mut Dice) -> Self {
        Self { towns: (0..GUILDS).map(|nth| Town::hamlet(nth, dice)).collect() }
    }
}

impl Workload for Lives {
    fn name(&self) -> &'static str {
        "lives"
    }

    fn setting(&self) -> Setting {
        Setting { guilds: GUILDS, ..Setting::default() }
    }

    fn next(&mut self, now: Millis, dice: &mut Dice, known: &Known<'_>, doings: &mut Vec<Doing>) -> Option<Micros> {
        let mut scene = Scene { now, dice, known, doings };
        // One that may not be there, or not any more.
        let any = *scene.dice.one_of(scene.known.guilds())?;
        match scene.dice.below(30) {
            0 => scene.ask(any, Command::DeleteChannel { channel: town::channel(1) }),
            1 => scene.attach_at(any, town::user(1), Level::Active),
            2 => scene.doings.push(Doing::Read { guild: any, user: town::user(1) }),
            3 => scene.retry(any),
            4 if scene.known.is_deleted(any) => {
                let (name, owner) = (town::name("again"), town::plain_member(0));
                scene.ask(any, Command::CreateGuild { name, everyone: Permissions::NONE, owner });
            }
            _ => {}
        }
        // Half of the guilds are left to those who need one that lasts.
        let guilds = scene.known.guilds();
        let mortal = 0..guilds.len().div_ceil(2).min(self.towns.len());
        let left = mortal.filter(|nth| !scene.known.is_deleted(guilds[*nth])).take(AT_ONCE);
        let nth = *scene.dice.one_of(&left.collect::<Vec<_>>())?;
        let Some((guild, known)) = scene.settled(&mut self.towns[nth]) else { return Some(Micros::millis(5)) };
        match scene.dice.below(40) {
            0 => scene.call(guild, Actor::User(known.owner()), Command::DeleteGuild),
            1 => {
                let to = scene.member(known);
                scene.ask(guild, Command::TransferOwnership { to });
            }
            2..10 => {
                let user = scene.member(known);
                scene.attach_at(guild, user, Level::Active);
            }
            _ => scene.say(guild, known),
        }
        Some(Micros(scene.dice.below(10_000)))
    }
}

/// Guilds that are there at a time.
const AT_ONCE: usize = 3;
/// Guilds that ever are.
const GUILDS: usize = 48;
