//! Channels come and go, open and close, and let single people in or keep them out, while somebody talks there.

use guildhall_proto::{ChannelEdit, Command, GuildId, Millis, OverwriteTarget, Permissions};

use super::{Doing, Known, Scene, Town, Workload, town};
use crate::dice::Dice;
use crate::model::Community;
use crate::queue::Micros;

/// One guild whose channels are never at rest.
#[derive(Debug)]
pub(super) struct Doors {
    town: Town,
}

impl Doors {
    pub(super) fn new(dice: &mut Dice) -> Self {
        Self { town: Town::ordinary(0, dice) }
    }
}

impl Workload for Doors {
    fn name(&self) -> &'static str {
        "doors"
    }

    fn next(&mut self, now: Millis, dice: &mut Dice, known: &Known<'_>, doings: &mut Vec<Doing>) -> Option<Micros> {
        let mut scene = Scene { now, dice, known, doings };
        let Some((guild, known)) = scene.settled(&mut self.town) else { return Some(Micros::millis(20)) };
        scene.keep_listening(guild, known, LISTENERS);
        scene.stir(guild);
        if scene.dice.one_in(2) {
            scene.say(guild, known);
        } else {
            let (actor, command) = (scene.actor(), change(&mut scene, guild, known));
            scene.call(guild, actor, command);
        }
        Some(Micros(scene.dice.below(8_000)))
    }
}

/// What somebody changes about the channels of a guild, or who sees one.
pub(super) fn change(scene: &mut Scene<'_, '_>, guild: GuildId, known: &Community) -> Command {
    let channel = scene.channel(known);
    let target = match scene.dice.below(2) {
        0 => OverwriteTarget::User(scene.listener(guild, known)),
        _ => OverwriteTarget::Role(scene.role(known)),
    };
    let overwrite = match scene.dice.below(5) {
        0 | 1 => town::allow(target, Permissions::VIEW_CHANNEL | Permissions::SEND_MESSAGES),
        2 | 3 => town::deny(target, Permissions::VIEW_CHANNEL),
        _ => town::deny(target, Permissions::SEND_MESSAGES),
    };
    match scene.dice.below(16) {
        0 | 1 => {
            // Numbers are few, so that a channel is made under the id that one bore until lately.
            let channel = town::new_channel(scene.dice.below(NUMBERS));
            Command::CreateChannel { channel, overwrites: if scene.dice.one_in(2) { vec![overwrite] } else { vec![] } }
        }
        2 => Command::DeleteChannel { channel },
        3 => {
            let parent = scene.dice.one_in(2).then(|| town::channel(town::CATEGORY));
            Command::UpdateChannel { channel, edit: ChannelEdit { name: None, parent: Some(parent) } }
        }
        4 => Command::UpdateChannel { channel, edit: ChannelEdit { name: Some(town::name("renamed")), parent: None } },
        5 => {
            let n_moved = 1 + scene.dice.index(known.channels.len()).unwrap_or(0);
            Command::ReorderChannels {
                positions: known.channels.keys().rev().copied().zip(1..).take(n_moved).collect(),
            }
        }
        6..9 => {
            let there = known.channels.get(&channel).and_then(|known| known.overwrites.keys().next().copied());
            Command::RemoveOverwrite { channel, target: there.unwrap_or(target) }
        }
        _ => Command::SetOverwrite { channel, overwrite },
    }
}

const LISTENERS: usize = 60;
/// Channels have numbers below this.
const NUMBERS: u64 = 16;
