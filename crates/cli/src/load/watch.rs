//! Whoever rings the bells of one guild, waits until all have heard them, and has judged what they heard before that.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use guildhall_client::ClientError;
use guildhall_proto::{Actor, Command, GuildEdit, Name};
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, sleep};
use tracing::warn;

use super::drive::Calls;
use super::ear::Ears;
use super::judge::Judge;
use super::script::Operation;
use crate::checks::{Number, Waited};
use crate::trial::bell::Bell;
use crate::trial::fact::Fact;
use crate::trial::findings::Findings;
use crate::trial::latency::Kind;

/// What came of a watch.
pub(super) struct Watched {
    /// The place of its guild.
    pub(super) idx: usize,
    /// Who has judged all that was to be heard.
    pub(super) judge: Judge,
    pub(super) found: Findings,
    /// How many sessions had not heard everything when nothing moved any more.
    pub(super) late: u64,
}

/// Rings and waits, and has judged.
pub(super) struct Watch {
    calls: Arc<Calls>,
    ears: Arc<Ears>,
    /// `None` only while it judges.
    judge: Option<Judge>,
    bell: Bell,
    found: Findings,
    late: u64,
}

impl Watch {
    /// Of a guild that bears this name.
    pub(super) fn new(calls: Arc<Calls>, ears: Arc<Ears>, judge: Judge, name: &Name) -> Self {
        // Another name each time, also where an earlier load was broken off.
        let bell = Bell::read(name).map_or(Bell::new(0), Bell::next);
        Self { calls, ears, judge: Some(judge), bell, found: Findings::default(), late: 0 }
    }

    /// Watches until it is over and all calls are answered; once sessions are late no more calls are begun.
    ///
    /// # Errors
    /// If the guild takes no bell in the end.
    pub(super) async fn watch(mut self, idx: usize, mut is_over: watch::Receiver<bool>) -> anyhow::Result<Watched> {
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut rung = Instant::now();
        while self.late == 0 {
            tokio::select! {
                biased;
                // Its sender lives longer.
                Ok(_) = is_over.wait_for(|is_over| *is_over) => break,
                _ = ticks.tick() => {}
            }
            let since = {
                let ledger = self.calls.ledger.lock();
                ledger.end() - ledger.next()
            };
            if since < BELL_EVENTS && rung.elapsed() < BELL_EVERY {
                continue;
            }
            // If there is no room for it there will be later.
            if let Ok(number) = self.ring().await {
                self.hear(number).await;
                self.judge(number, false).await?;
            }
            rung = Instant::now();
        }
        self.calls.stop();
        drop(is_over.wait_for(|is_over| *is_over).await);
        self.calls.settle().await;
        let mut patience = LAST_TRIES;
        let number = loop {
            match self.ring().await {
                Ok(number) => break number,
                Err(error) if patience == 0 => return Err(error).context("the last bell cannot be rung"),
                Err(_) => sleep(TICK).await,
            }
            patience -= 1;
        };
        self.hear(number).await;
        self.judge(number, true).await?;
        let judge = self.judge.expect("it comes back each time");
        Ok(Watched { idx, judge, found: self.found, late: self.late })
    }

    /// Has all sessions told something; at which number.
    async fn ring(&mut self) -> Result<Number, ClientError> {
        let bell = self.bell;
        let command = Command::UpdateGuild(GuildEdit { name: Some(bell.name()) });
        let fact = Fact::Bell { bell };
        let ringing = Operation { kind: Kind::RightsChange, actor: Actor::System, command, fact };
        let number = self.calls.call(ringing, Instant::now()).await?;
        self.bell = bell.next();
        Ok(number)
    }

    /// Waits until all sessions have heard the number, or something behind it, or hear nothing any more.
    async fn hear(&mut self, number: Number) {
        loop {
            let bells = self.ears.bells.total();
            // The last word: who was told a gap has heard no bell under it.
            let behind = self.ears.behind(number);
            if behind == 0 {
                return;
            }
            if let Waited::Stalled(_) = self.ears.bells.wait_for(bells + behind).await {
                self.late = self.ears.behind(number);
                if self.late > 0 {
                    warn!(sessions = self.late, number, "sessions hear nothing more, and have not heard all");
                }
                return;
            }
        }
    }

    /// Judges all sessions on what they must have heard with a number, as far as it is known: on whole words of it, or, in the end, on all.
    async fn judge(&mut self, number: Number, is_last: bool) -> anyhow::Result<()> {
        let (first, facts) = {
            let mut ledger = self.calls.ledger.lock();
            let (first, end) = (ledger.next(), if is_last { ledger.end() } else { ledger.complete().min(number + 1) });
            let whole = (end - first) / u64::from(u64::BITS) * u64::from(u64::BITS);
            (first, ledger.take(if is_last { end } else { first + whole }))
        };
        let ears = Arc::clone(&self.ears);
        let mut judge = self.judge.take().expect("it comes back each time");
        let judging = move || {
            let found = judge.judge(first, facts, ears.seats.iter().zip(&ears.records));
            (judge, found)
        };
        let (judge, found) = tokio::task::spawn_blocking(judging).await.context("the judge failed")?;
        self.judge = Some(judge);
        self.found += found;
        Ok(())
    }
}

/// How often it is looked whether a bell is due.
const TICK: Duration = Duration::from_millis(250);
/// A bell is rung after so many events, for so many bits each session keeps that were not judged yet; and after so much time.
const BELL_EVENTS: u64 = 4_096;
const BELL_EVERY: Duration = Duration::from_secs(5);
/// How often the last bell is tried again.
const LAST_TRIES: u32 = 20;
