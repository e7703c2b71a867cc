//! What guilds do most of the time: a few talk in few channels, most who listen look elsewhere, now and then somebody comes or goes.

use guildhall_proto::{Command, MemberEdit, Millis};

use super::{Doing, Known, KnownStage, Scene, Setting, Town, Workload, town};
use crate::dice::Dice;
use crate::queue::Micros;

/// Some guilds on an ordinary day.
#[derive(Debug)]
pub(super) struct Everyday {
    towns: Vec<Town>,
}

impl Everyday {
    pub(super) fn new(dice: &mut Dice) -> Self {
        Self { towns: (0..dice.within(1, 5)).map(|nth| Town::ordinary(nth as usize, dice)).collect() }
    }
}

impl Workload for Everyday {
    fn name(&self) -> &'static str {
        "everyday"
    }

    fn setting(&self) -> Setting {
        Setting { guilds: self.towns.len(), ..Setting::default() }
    }

    fn next(&mut self, now: Millis, dice: &mut Dice, known: &Known<'_>, doings: &mut Vec<Doing>) -> Option<Micros> {
        let mut scene = Scene { now, dice, known, doings };
        let nth = scene.dice.index(self.towns.len())?;
        let Some((guild, known)) = scene.settled(&mut self.towns[nth]) else { return Some(Micros::millis(20)) };
        match (scene.dice.below(100), scene.session(guild)) {
            (0..10, Some((_, session))) => {
                let channel = scene.channel(known);
                scene.doings.push(Doing::Type { guild, user: session.user, channel });
            }
            (10..16, Some((session, _))) => {
                let status = scene.status();
                scene.doings.push(Doing::SetStatus(session, status));
            }
            (16..24, Some((session, listens))) => scene.turn(session, &listens),
            (24..28, Some((session, _))) => scene.doings.push(Doing::Detach(session)),
            (28..32, Some((session, _))) => scene.doings.push(Doing::Cut(session)),
            (32..37, _) => {
                if let Some((session, was)) = scene.session_at(guild, KnownStage::Cut) {
                    scene.resume(session, &was);
                }
            }
            (37..52, _) => {
                let user = scene.member(known);
                scene.attach(guild, user);
            }
            (52..55, _) => {
                let newcomer = scene.dice.below(2 * self.towns[nth].members);
                let newcomer = self.towns[nth].member(newcomer, scene.dice);
                scene.ask(guild, Command::AddMember(newcomer));
            }
            (55, _) => {
                let user = scene.member(known);
                scene.ask(guild, Command::RemoveMember { user });
            }
            (56..60, _) => {
                let (user, nick) = (scene.member(known), town::nick(scene.dice.below(1_000)));
                scene.ask(
                    guild,
                    Command::UpdateMember { user, edit: MemberEdit { nick: Some(nick), ..MemberEdit::default() } },
                );
            }
            (60..64, _) => {
                let user = scene.member(known);
                scene.doings.push(Doing::Read { guild, user });
            }
            _ => scene.say(guild, known),
        }
        Some(Micros(scene.dice.below(20_000)))
    }
}
