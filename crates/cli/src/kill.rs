//! Kills: what a process had acknowledged when it was killed is there when its directory is opened again, once.
//!
//! A [child](victim::victim) works the guilds of a directory with many clients at once, and writes down what they ask for before they ask, and what they are
//! answered. It is [killed](round::kill) at a moment that it does not know. Then the directory is opened here and
//! [compared](check::Ledger::check) with the lines. Some children work on a directory one after the other, and every second or so finds it as the
//! one before left it when it was killed; so what was acknowledged must outlast many kills, those in the middle of opening among them.

mod check;
mod hand;
mod line;
mod report;
mod round;
mod things;
mod victim;

use std::fs;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use guildhall_node::{Node, NodeConfig};
use guildhall_proto::{Actor, ClientId, Command, GuildId, MemberFlags, Name, NewMember, Nick, Permissions, UserId};
use guildhall_store::{EmbeddedConfig, Store};

use crate::data;
use crate::operations::Operations;
use crate::random::Random;
use check::Ledger;

pub(crate) use report::Totals;
pub(crate) use victim::victim;

/// Kills `kills` children, each started with `child_args`, on one directory as many as [`KILLS_A_DIRECTORY`]; calls `killed` after each. With `state`, the totals are
/// kept in that file after each directory, and those that stand there are gone on with.
///
/// # Errors
/// If something cannot be done that has nothing to do with what was acknowledged, or a directory cannot be opened: it is then kept.
pub(crate) fn kills(
    kills: u64,
    seed: u64,
    child_args: &[String],
    state: Option<&Path>,
    killed: impl Fn(u64),
) -> anyhow::Result<Totals> {
    let mut totals = match state {
        Some(path) if path.exists() => {
            let text = fs::read(path).with_context(|| format!("{} cannot be read", path.display()))?;
            serde_json::from_slice(&text).with_context(|| format!("{} is no state of kills", path.display()))?
        }
        _ => Totals::default(),
    };
    while totals.kills < kills {
        let directory = tempfile::tempdir().context("there is no temporary directory")?;
        let seed = Random::new(seed, totals.kills).draw();
        let before = totals.clone();
        let rounds = (kills - totals.kills).min(KILLS_A_DIRECTORY);
        let outcome = on_one_directory(directory.path(), seed, rounds, child_args, &mut totals, &killed);
        let is_wrong = totals.verdict() != before.verdict();
        if outcome.is_err() || is_wrong {
            let kept = directory.keep();
            tracing::error!(path = %kept.display(), seed, "kept for a closer look");
            outcome.with_context(|| format!("{} is kept for a closer look", kept.display()))?;
        }
        if let Some(path) = state {
            fs::write(path, serde_json::to_vec(&totals)?)
                .with_context(|| format!("{} is not written", path.display()))?;
        }
    }
    Ok(totals)
}

fn on_one_directory(
    path: &Path,
    seed: u64,
    rounds: u64,
    child_args: &[String],
    totals: &mut Totals,
    killed: &impl Fn(u64),
) -> anyhow::Result<()> {
    found(path)?;
    let mut ledger = Ledger::default();
    let mut random = Random::new(seed, u64::MAX);
    for round in 0..rounds {
        let killed_child = round::kill(path, round, seed, child_args, &mut random)?;
        totals.kills += 1;
        totals.ended += u64::from(!killed_child.was_alive);
        totals.while_opening += u64::from(killed_child.lines.is_empty());
        ledger.note(seed, round, &killed_child.lines, totals)?;
        killed(1);
        if round + 1 < rounds && random.below(2) == 0 {
            // The next one finds what this one left, and not what a clean stop did.
            totals.unclean_starts += 1;
            continue;
        }

        let running = data::open(path, CLUSTER, &store_config())?;
        let report = running.report();
        totals.torn += u64::from(report.records.torn.is_some() || report.checkpoints.torn.is_some());
        let store = Arc::clone(running.store()) as Arc<dyn Store>;
        running.run(Box::pin(async {
            let node = ledger.check(store, totals).await?;
            // What ends without a word is the child.
            node.stop().await;
            Ok(())
        }))?;
    }
    Ok(())
}

/// Makes the guilds that outlive every child.
fn found(path: &Path) -> anyhow::Result<()> {
    let running = data::open(path, CLUSTER, &store_config())?;
    let store = Arc::clone(running.store()) as Arc<dyn Store>;
    running.run(Box::pin(async {
        let node = Node::start(node_config(), store)?;
        for guild in hand::guilds() {
            let owner = NewMember {
                user: owner(guild),
                nick: Nick::parse("owner")?,
                roles: Vec::new(),
                flags: MemberFlags::NONE,
            };
            let create =
                Command::CreateGuild { name: Name::parse("load")?, everyone: Permissions::VIEW_CHANNEL, owner };
            let mut operations = Operations::of(ClientId::new(u64::MAX - 1)?);
            node.call(guild, operations.call(Actor::System, create)?).await.context("a guild is not founded")?;
        }
        node.stop().await;
        Ok(())
    }))
}

/// Who owns a guild of the child, and is none of its hands' users.
fn owner(guild: GuildId) -> UserId {
    UserId::new(guild.get()).expect("a guild's number is a user's too")
}

/// Small segments and early checkpoints, so that in a second logs are rotated, truncated and written again.
fn store_config() -> EmbeddedConfig {
    EmbeddedConfig {
        segment_bytes: 1024 * 1024,
        slack_bytes: 512 * 1024,
        small_bytes: 4 * 1024,
        ..EmbeddedConfig::default()
    }
}

fn node_config() -> NodeConfig {
    let mut config = NodeConfig::default();
    config.guild.checkpoints.changes_min = 200;
    config
}

/// The cluster of directories that are made to be killed in: "guildhall kills".
const CLUSTER: u128 = u128::from_be_bytes(*b"guildhall kills.");
/// Children that work on one directory, one after the other.
const KILLS_A_DIRECTORY: u64 = 5;

#[cfg(test)]
mod tests {
    use guildhall_proto::{Epoch, Millis, Position, Seq};

    use super::hand::{Hand, HandId};
    use super::line::{Issued, Line};
    use super::*;
    use crate::checks::Verdict;
    use crate::operations::now;

    /// What a check of a directory, in which nothing but the guilds was made, says of these lines.
    fn checked(lines: &[Line]) -> Totals {
        let directory = tempfile::tempdir().unwrap();
        found(directory.path()).unwrap();
        let (mut ledger, mut totals) = (Ledger::default(), Totals::default());
        ledger.note(SEED, 0, lines, &mut totals).unwrap();
        let running = data::open(directory.path(), CLUSTER, &store_config()).unwrap();
        let store = Arc::clone(running.store()) as Arc<dyn Store>;
        running.run(Box::pin(async { ledger.check(store, &mut totals).await.map(drop) })).unwrap();
        totals
    }

    fn issued() -> Issued {
        Issued { hand: 0, step: 1, at: now().unwrap() }
    }

    fn at(seq: u64) -> Position {
        Position { epoch: Epoch(1), seq: Seq(seq) }
    }

    #[test]
    fn what_nobody_was_told_of_may_be_there_or_not() {
        let totals = checked(&[Line::Begun, Line::Issued(issued())]);
        assert_eq!((totals.unanswered, totals.unanswered_cut), (1, 1));
        assert_eq!(totals.verdict(), Verdict::Passed, "{totals:?}");
    }

    #[test]
    fn an_answer_of_which_nothing_is_there_is_found() {
        let outcome = format!("Applied {{ at: {} }}", at(1));
        let answered = Line::Answered { hand: 0, step: 1, at: at(1), outcome };
        let totals = checked(&[Line::Issued(issued()), answered]);
        // It is not there, and asked for again it is carried out anew.
        assert_eq!(
            (totals.lost > 0, totals.doubled > 0, totals.verdict()),
            (true, true, Verdict::Failed),
            "{totals:?}"
        );
    }

    #[test]
    fn an_event_that_was_heard_and_is_not_there_is_found() {
        let guild = Hand::new(SEED, HandId { round: 0, number: 0 }).next().guild;
        let totals = checked(&[Line::Seen { guild, at: at(99), thing: 1 }]);
        assert_eq!((totals.phantoms, totals.verdict()), (1, Verdict::Failed), "{totals:?}");
    }

    #[test]
    fn a_guild_that_comes_back_in_an_old_epoch_is_found() {
        let guild = Hand::new(SEED, HandId { round: 0, number: 0 }).next().guild;
        let late = Position { epoch: Epoch(1_000), seq: Seq(1) };
        assert_eq!(checked(&[Line::Seen { guild, at: late, thing: 1 }]).epochs_not_risen, 1);
    }

    #[test]
    fn lines_that_do_not_fit_together_are_refused() {
        let mut ledger = Ledger::default();
        let mut note = |line| ledger.note(SEED, 0, &[line], &mut Totals::default());
        assert!(note(Line::Answered { hand: 0, step: 1, at: at(1), outcome: String::new() }).is_err());
        assert!(note(Line::Issued(Issued { hand: 0, step: 2, at: Millis(1) })).is_err());
        assert!(note(Line::Issued(Issued { hand: 10_000, step: 1, at: Millis(1) })).is_err());
    }

    const SEED: u64 = 5;
}
