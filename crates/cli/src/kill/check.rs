//! What must be there after a kill, by the lines that were written, and what is.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use anyhow::Context;
use guildhall_node::{Node, View};
use guildhall_proto::{CallError, Command, CommandError, GuildId, Position, PruneBy};
use guildhall_store::Store;
use tracing::error;

use super::hand::{Hand, HandId, guilds};
use super::line::{Issued, Line};
use super::node_config;
use super::report::Totals;
use super::things::{Found, Things};
use super::victim::{call, operation};

/// All hands of a directory, as the lines of its children have them, and what was seen in its guilds.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    hands: BTreeMap<HandId, Known>,
    /// The latest position of each guild that anybody was told.
    told: BTreeMap<GuildId, Position>,
    /// The epochs in which guilds were last found.
    found: BTreeMap<GuildId, u64>,
}

/// What is known of a hand.
#[derive(Debug)]
struct Known {
    hand: Hand,
    /// When the step that is not answered was issued.
    issued: Option<Issued>,
    /// The latest answers, with their operations.
    answers: Vec<Answer>,
    /// The last position of an answer.
    answered_at: Position,
    /// The latest position at which a session heard of a thing of the hand.
    seen_at: Position,
}

#[derive(Debug)]
struct Answer {
    issued: Issued,
    guild: GuildId,
    command: Command,
    outcome: String,
}

impl Ledger {
    /// Goes through the lines of a child.
    pub(super) fn note(&mut self, seed: u64, round: u64, lines: &[Line], totals: &mut Totals) -> anyhow::Result<()> {
        for id in HandId::all(round) {
            let at = Position::default();
            let hand = Hand::new(seed, id);
            self.hands.insert(id, Known { hand, issued: None, answers: Vec::new(), answered_at: at, seen_at: at });
        }
        // Whoever owns a guild after a kill does so in a higher epoch.
        let before = self.told.clone();
        let mut low: BTreeSet<GuildId> = BTreeSet::new();
        let mut told = |guild: GuildId, at: Position| {
            low.extend(before.get(&guild).filter(|before| at.epoch <= before.epoch).map(|_| guild));
        };
        for line in lines {
            match line {
                Line::Begun => {}
                Line::Issued(issued) => {
                    totals.issued += 1;
                    let known = self.hand(round, issued.hand)?;
                    anyhow::ensure!(known.hand.next().number == issued.step, "a step is missing from the lines");
                    known.issued = Some(*issued);
                }
                Line::Answered { hand, step: _, at, outcome } => {
                    totals.acknowledged += 1;
                    let known = self.hand(round, *hand)?;
                    let guild = known.answer(*at, outcome)?;
                    told(guild, *at);
                    let last = self.told.entry(guild).or_default();
                    *last = (*last).max(*at);
                }
                Line::Failed { hand, step, why } => {
                    totals.failed += 1;
                    error!(hand, step, why, "an operation was refused");
                }
                Line::Seen { guild, at, thing } => {
                    totals.seen += 1;
                    told(*guild, *at);
                    let last = self.told.entry(*guild).or_default();
                    *last = (*last).max(*at);
                    if let Some(id) = HandId::of(*thing)
                        && let Some(known) = self.hands.get_mut(&id)
                    {
                        known.seen_at = known.seen_at.max(*at);
                    }
                }
                Line::Slept { .. } => totals.slept += 1,
            }
        }
        for guild in &low {
            error!(%guild, "what was told after a kill is of an epoch of before");
        }
        totals.epochs_not_risen += low.len() as u64;
        Ok(())
    }

    fn hand(&mut self, round: u64, number: u64) -> anyhow::Result<&mut Known> {
        self.hands.get_mut(&HandId { round, number }).context("the child has a hand that nobody knows")
    }

    /// Compares all guilds with what must be there; finishes what was under way by asking for it again; and compares once more.
    pub(super) async fn check(&mut self, store: Arc<dyn Store>, totals: &mut Totals) -> anyhow::Result<Node> {
        let node = Node::start(node_config(), store)?;
        for guild in guilds() {
            let view = node.view(guild).await.with_context(|| format!("guild {guild} is lost"))?;
            let (position, told) = (view.position(), self.told.get(&guild).copied().unwrap_or_default());
            // What anybody was told of is there; and what comes is in a later epoch than anything before.
            let before = self.found.insert(guild, position.epoch.0).unwrap_or_default();
            let (is_phantom, is_low) =
                (position.seq < told.seq, position.epoch <= told.epoch || position.epoch.0 <= before);
            if is_phantom || is_low {
                error!(%guild, %position, %told, before, "a guild is found before what was told of it");
            }
            totals.phantoms += u64::from(is_phantom);
            totals.epochs_not_risen += u64::from(is_low);
        }
        for known in self.hands.values_mut() {
            known.look(&node, totals).await?;
            known.try_again(&node, totals).await?;
        }
        self.count(&node, totals).await?;
        Ok(node)
    }

    /// Beside what was asked for there is nothing.
    async fn count(&self, node: &Node, totals: &mut Totals) -> anyhow::Result<()> {
        for guild in guilds() {
            let view = node.view(guild).await.context("a guild cannot be read")?;
            let things = || self.hands.values().filter_map(|known| known.hand.places().get(&guild)?.as_ref());
            let due = (
                1 + things().map(|things| things.members.len()).sum::<usize>(),
                things().map(|things| things.bans.len()).sum::<usize>(),
                1 + things().map(|things| things.roles.len()).sum::<usize>(),
                things().map(|things| things.channels.len()).sum::<usize>(),
            );
            let rights = view.rights();
            let found = (view.len(), view.bans().len(), rights.roles().len(), rights.channels().len());
            if found != due {
                error!(%guild, ?due, ?found, "there are not as many members, bans, roles and channels as there must be");
                totals.lost += u64::from(found < due);
                totals.doubled += u64::from(found > due);
            }
        }
        Ok(())
    }
}

impl Known {
    fn answer(&mut self, at: Position, outcome: &str) -> anyhow::Result<GuildId> {
        let (Some(issued), Some(step)) = (self.issued.take(), self.hand.pending().cloned()) else {
            anyhow::bail!("an answer without a question");
        };
        self.hand.answered();
        self.answered_at = at;
        if self.answers.len() == ANSWERS_TRIED {
            self.answers.remove(0);
        }
        let (guild, command) = (step.guild, step.command);
        self.answers.push(Answer { issued, guild, command, outcome: outcome.to_owned() });
        Ok(guild)
    }

    /// Compares what the hand has made with what is there, and tells how the step that was under way turned out.
    async fn look(&mut self, node: &Node, totals: &mut Totals) -> anyhow::Result<()> {
        let after = self.hand.places_after();
        let pending = self.hand.pending().map(|step| step.guild);
        let guilds: Vec<GuildId> = after.keys().copied().collect();
        for guild in guilds {
            let expected = [self.hand.places().get(&guild), after.get(&guild)];
            let found = find(node, guild, expected).await?;
            let is_right = match found {
                Found::Before => true,
                Found::After => pending == Some(guild),
                Found::Part => pending == Some(guild) && self.is_divisible(),
                Found::Wrong => false,
            };
            if !is_right {
                totals.lost += 1;
                error!(hand = ?self.hand.id, %guild, ?found, pending = ?self.hand.pending(), "what was answered is not there");
            }
            if pending == Some(guild) {
                totals.unanswered += 1;
                totals.unanswered_kept += u64::from(found == Found::After);
                totals.unanswered_cut += u64::from(found == Found::Before);
                // Beyond its answers, a session can have heard of the step under way alone.
                if found == Found::Before && self.seen_at.seq > self.answered_at.seq && self.answered_at.seq.0 > 0 {
                    totals.phantoms += 1;
                    error!(hand = ?self.hand.id, seen = %self.seen_at, answered = %self.answered_at, pending = ?self.hand.pending(), last = ?self.answers.last(), "a session heard of what is not there");
                }
            }
        }
        Ok(())
    }

    /// Whether the step that is under way may be there in part: it is spread over turns, or two facts.
    fn is_divisible(&self) -> bool {
        self.hand.pending().is_some_and(|step| {
            matches!(
                step.command,
                Command::ImportMembers(_) | Command::PruneMembers(PruneBy::Absent(_)) | Command::Ban { .. }
            )
        })
    }

    /// Asks for what was not answered once more, which must then be there; and for the latest answers, which must be the same.
    async fn try_again(&mut self, node: &Node, totals: &mut Totals) -> anyhow::Result<()> {
        let answers = std::mem::take(&mut self.answers);
        self.finish(node, totals).await?;
        self.answers.clear();
        for Answer { issued, guild, command, outcome } in &answers {
            totals.retried += 1;
            let again = call(node, *guild, operation(self.hand.id, *issued, command)).await;
            if !matches!(&again, Ok(again) if format!("{again:?}") == *outcome) {
                totals.doubled += 1;
                error!(hand = ?self.hand.id, step = issued.step, outcome, ?again, "a retry is answered otherwise");
            }
        }
        Ok(())
    }

    /// Asks for what was not answered once more.
    async fn finish(&mut self, node: &Node, totals: &mut Totals) -> anyhow::Result<()> {
        let (Some(issued), Some(step)) = (self.issued, self.hand.pending().cloned()) else {
            return Ok(());
        };
        let at = match call(node, step.guild, operation(self.hand.id, issued, &step.command)).await {
            Ok(outcome) => outcome.at(),
            Err(error) => {
                return Err(error).with_context(|| format!("{:?} is not finished: {step:?}", self.hand.id));
            }
        };
        self.answer(at, "")?;
        let now = self.hand.places().get(&step.guild);
        if find(node, step.guild, [now, now]).await? != Found::Before {
            totals.lost += 1;
            error!(hand = ?self.hand.id, ?step, "what was finished is not there");
        }
        Ok(())
    }
}

/// What is there of a guild, compared with what it was before a step and what after.
async fn find(node: &Node, guild: GuildId, expected: [Option<&Option<Things>>; 2]) -> anyhow::Result<Found> {
    let view = match node.view(guild).await {
        Ok(view) => Some(view),
        Err(CallError::Refused(CommandError::UnknownGuild)) => None,
        Err(error) => return Err(error).context("a guild cannot be read"),
    };
    // Not created yet is as good as deleted: there is nothing.
    let [before, after] = expected.map(|things| things.and_then(Option::as_ref));
    let nothing = Things::default();
    let is = |view: &View, things: Option<&Things>| {
        things.is_some_and(|things| Things::find(view, things, things) == Found::Before)
    };
    Ok(match &view {
        None if before.is_none() => Found::Before,
        None if after.is_none() => Found::After,
        None => Found::Wrong,
        Some(view) => match (before, after) {
            (Some(before), Some(after)) => Things::find(view, before, after),
            (Some(_), None) if is(view, before) => Found::Before,
            (None, Some(after)) if Things::find(view, &nothing, after) == Found::After => Found::After,
            (Some(_), None) | (None, Some(_) | None) => Found::Wrong,
        },
    })
}

/// Answers of a hand that are asked for again.
const ANSWERS_TRIED: usize = 8;
