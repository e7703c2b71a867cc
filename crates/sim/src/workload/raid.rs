//! A crowd comes at once, floods what it finds, and is thrown out again: by bans, kicks, and prunes of those who are away.

use guildhall_proto::{Actor, Command, GuildId, Level, Millis, OverwriteTarget, Permissions, PruneBy, RoleId};

use super::town::{self, user};
use super::{Doing, Known, Scene, Town, Workload};
use crate::dice::Dice;
use crate::model::Community;
use crate::queue::Micros;

/// One guild that is raided, wave after wave.
#[derive(Debug)]
pub(super) struct Raid {
    town: Town,
    /// The number of the wave's first user, and how many they are.
    first: u64,
    crowd: u64,
    /// How many have come; from `crowd` on, for how long they are being thrown out.
    step: u64,
}

impl Raid {
    pub(super) fn new(dice: &mut Dice) -> Self {
        Self { town: Town::ordinary(0, dice), first: RAIDERS_FROM, crowd: crowd(dice), step: 0 }
    }

    fn are_thrown_out(&self, scene: &mut Scene<'_, '_>, guild: GuildId, known: &Community) {
        let raider = user(self.first + scene.dice.below(self.crowd));
        let command = match scene.dice.below(24) {
            0..9 => Command::Ban { user: raider, reason: None },
            9..15 => Command::RemoveMember { user: raider },
            15 => Command::PruneMembers(PruneBy::Absent((self.first..self.first + self.crowd).map(user).collect())),
            16 => Command::PruneMembers(PruneBy::Idle { joined_before: scene.now }),
            17 | 18 => {
                let (channel, everyone) = (scene.channel(known), OverwriteTarget::Role(RoleId::everyone(guild)));
                let overwrite = if scene.dice.one_in(2) { town::deny } else { town::allow };
                Command::SetOverwrite { channel, overwrite: overwrite(everyone, Permissions::SEND_MESSAGES) }
            }
            _ => return scene.say(guild, known),
        };
        let moderator = Actor::User(user(scene.dice.within(1, 4)));
        scene.call(guild, moderator, command);
    }
}

impl Workload for Raid {
    fn name(&self) -> &'static str {
        "raid"
    }

    fn next(&mut self, now: Millis, dice: &mut Dice, known: &Known<'_>, doings: &mut Vec<Doing>) -> Option<Micros> {
        let mut scene = Scene { now, dice, known, doings };
        let Some((guild, known)) = scene.settled(&mut self.town) else { return Some(Micros::millis(20)) };
        if self.step < self.crowd {
            for nth in self.first + self.step..(self.first + self.crowd).min(self.first + self.step + BURST) {
                scene.ask(guild, Command::AddMember(town::plain_member(nth)));
            }
            scene.say(guild, known);
        } else if self.step < 4 * self.crowd {
            self.are_thrown_out(&mut scene, guild, known);
        } else {
            // Half of them try again with the next wave, banned or not.
            (self.first, self.step) = (self.first + self.crowd / 2, 0);
            self.crowd = crowd(scene.dice);
        }
        let raider = user(self.first + scene.dice.below(self.step.clamp(1, self.crowd)));
        if known.members.contains_key(&raider) {
            scene.attach_at(guild, raider, Level::Active);
        }
        self.step += BURST;
        Some(Micros(scene.dice.below(5_000)))
    }
}

fn crowd(dice: &mut Dice) -> u64 {
    if dice.one_in(4) { dice.within(1_000, 4_000) } else { dice.within(50, 400) }
}

/// Raiders that join at one moment.
const BURST: u64 = 16;
/// Above everybody who is there before.
const RAIDERS_FROM: u64 = 10_000;
