//! Bans of people with open clients, of strangers, and of those who try to come back.

use guildhall_proto::{Actor, Command, Millis, Reason};

use super::town::{self, user};
use super::{Doing, Known, Scene, Town, Workload};
use crate::dice::Dice;
use crate::queue::Micros;

/// One guild with a few who are banned, forgiven, and banned again.
#[derive(Debug)]
pub(super) struct Bans {
    town: Town,
}

impl Bans {
    pub(super) fn new(dice: &mut Dice) -> Self {
        Self { town: Town::ordinary(0, dice) }
    }
}

impl Workload for Bans {
    fn name(&self) -> &'static str {
        "bans"
    }

    fn next(&mut self, now: Millis, dice: &mut Dice, known: &Known<'_>, doings: &mut Vec<Doing>) -> Option<Micros> {
        let mut scene = Scene { now, dice, known, doings };
        let Some((guild, known)) = scene.settled(&mut self.town) else { return Some(Micros::millis(20)) };
        scene.keep_listening(guild, known, LISTENERS);
        scene.stir(guild);
        // Members and strangers of few numbers, so that the same are met in every state.
        let nth = scene.dice.within(2, 22);
        let (actor, suspect) = (scene.actor(), user(nth));
        match scene.dice.below(20) {
            0..3 => {
                let reason =
                    scene.dice.one_in(2).then(|| Reason::parse("spam\nagain").expect("two words are a reason"));
                scene.call(guild, actor, Command::Ban { user: suspect, reason });
            }
            3 | 4 => scene.call(guild, actor, Command::Unban { user: suspect }),
            5..9 => scene.ask(guild, Command::AddMember(town::plain_member(nth))),
            9 => scene.ask(guild, Command::ImportMembers((2..22).map(town::plain_member).collect())),
            10 => scene.call(guild, Actor::User(suspect), Command::RemoveMember { user: suspect }),
            // Twice at once: the second finds the first, or comes before it.
            11 => (0..2).for_each(|_| scene.call(guild, actor, Command::Ban { user: suspect, reason: None })),
            12..15 => scene.attach(guild, suspect),
            _ => scene.say(guild, known),
        }
        Some(Micros(scene.dice.below(8_000)))
    }
}

const LISTENERS: usize = 40;
