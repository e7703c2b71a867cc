//! Changes of a whole guild: imports and prunes that are spread over turns, cut in the middle, and gone on with.

use guildhall_proto::limits::LONG_OPERATIONS_MAX;
use guildhall_proto::{Command, GuildId, Level, Millis, NewMember, PruneBy};

use super::town::{self, user};
use super::{Doing, Known, Scene, Town, Workload};
use crate::dice::Dice;
use crate::queue::Micros;

/// One guild that is filled from a list, and emptied, again and again.
#[derive(Debug)]
pub(super) struct Sweeps {
    town: Town,
    /// The number of the next user on the list.
    line: u64,
    /// Lines of one call.
    chunk: u64,
    /// When more is asked for at once than may be under way; in some runs never.
    rushes: Option<Dice>,
}

impl Sweeps {
    pub(super) fn new(dice: &mut Dice) -> Self {
        let chunk = if dice.one_in(6) { dice.within(1_000, 4_000) } else { dice.within(100, 700) };
        let mut rushes = dice.fork("rushes");
        let rushes = rushes.one_in(2).then_some(rushes);
        Self { town: Town::ordinary(0, dice), line: LIST_FROM, chunk, rushes }
    }

    fn import(&mut self, dice: &mut Dice) -> Command {
        let mut lines: Vec<NewMember> = (self.line..self.line + self.chunk).map(town::plain_member).collect();
        for line in lines.iter_mut().step_by(3) {
            line.roles.push(self.town.popular_role(dice));
        }
        if dice.one_in(6) {
            let bad = dice.index(lines.len()).expect("a chunk has lines");
            lines[bad].roles.push(town::role(NO_ROLE));
        }
        self.line += self.chunk;
        Command::ImportMembers(lines)
    }

    /// Now and then many prunes at once, of nobody, for whom workers have to look.
    fn rush(&mut self, scene: &mut Scene<'_, '_>, guild: GuildId) {
        let few = scene.known.calls_open(guild) < RUSH_CALLS;
        if self.rushes.as_mut().is_some_and(|dice| few && dice.one_in(RUSH_EVERY)) {
            for _ in 0..RUSH_CALLS {
                scene.ask(guild, Command::PruneMembers(PruneBy::Idle { joined_before: Millis(1) }));
            }
        }
    }

    fn prune(&self, scene: &mut Scene<'_, '_>) -> Command {
        Command::PruneMembers(match scene.dice.below(4) {
            0 => PruneBy::Role(self.town.popular_role(scene.dice)),
            1 => PruneBy::Idle { joined_before: scene.now },
            _ => {
                let from = scene.dice.within(LIST_FROM, self.line + 1);
                PruneBy::Absent((from..from + self.chunk).map(user).collect())
            }
        })
    }
}

impl Workload for Sweeps {
    fn name(&self) -> &'static str {
        "sweeps"
    }

    fn next(&mut self, now: Millis, dice: &mut Dice, known: &Known<'_>, doings: &mut Vec<Doing>) -> Option<Micros> {
        let mut scene = Scene { now, dice, known, doings };
        let Some((guild, known)) = scene.settled(&mut self.town) else { return Some(Micros::millis(20)) };
        scene.keep_listening(guild, known, LISTENERS);
        self.rush(&mut scene, guild);
        let anyone = scene.member(known);
        match scene.dice.below(40) {
            0..3 if known.members.len() < MEMBERS_ENOUGH => {
                let import = self.import(scene.dice);
                scene.ask(guild, import);
            }
            // Who goes on with a list that was cut off begins where all before it is sure to be done.
            3 => self.line = self.line.saturating_sub(scene.dice.below(2 * self.chunk)).max(LIST_FROM),
            4..6 => {
                let prune = self.prune(&mut scene);
                scene.ask(guild, prune);
            }
            6 => scene.doings.push(Doing::Retire { guild }),
            7..10 => scene.retry(guild),
            // Those who stand in the way of a prune change under it.
            10..14 => scene.attach_at(guild, anyone, Level::Passive),
            14..17 => scene.ask(guild, Command::RemoveMember { user: anyone }),
            17 => {
                let to_come = user(self.line + scene.dice.below(self.chunk));
                scene.ask(guild, Command::Ban { user: to_come, reason: None });
            }
            _ => scene.say(guild, known),
        }
        Some(Micros(scene.dice.below(20_000)))
    }
}

const LISTENERS: usize = 30;
/// From here on nobody is imported until some are pruned.
const MEMBERS_ENOUGH: usize = 8_000;
/// A rush comes once in so many moments at which little is unanswered.
const RUSH_EVERY: u64 = 40;
/// More than may be under way at once.
const RUSH_CALLS: usize = LONG_OPERATIONS_MAX + 8;
/// Above everybody who is there before.
const LIST_FROM: u64 = 10_000;
/// No town has a role of this number.
const NO_ROLE: u64 = 900;
