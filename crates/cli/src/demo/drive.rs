//! Operations at their due time: begun by a thread of its own, whatever the guild's answers do, and noted as they are answered.
//!
//! Calls over links come as they come. So whatever depends on each other is done by one *hand*, one after the other: what is about the same member, and all that
//! changes rights or calls a role. Other messages depend on nothing, and meet all of it on the way. A role that goes waits for all hands, and they for it; messages
//! that do not call a role do not. A bell has all that was begun before answered first, and is answered before anything else begins.

use std::mem::replace;
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::Context;
use guildhall_client::Guild;
use guildhall_proto::Command;
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tracing::warn;

use super::ledger::Ledger;
use super::script::{After, Operation, Script, Turning};
use crate::trial::bell::Bell;
use crate::trial::latency::{Kind, Latencies};

/// Begins operations. What they come to goes to whoever waits for [`Collected`].
pub(crate) struct Driver {
    script: Script,
    runtime: Handle,
    caller: Arc<Caller>,
    hands: Vec<mpsc::Sender<Begun>>,
    open: Arc<Semaphore>,
    /// What hands have to do takes one of these as well.
    handed: Arc<Semaphore>,
}

/// What calls, and notes the answers.
struct Caller {
    guild: Guild,
    collected: Mutex<Collected>,
    role_deleted: watch::Sender<bool>,
}

/// An operation that is under way.
struct Begun {
    operation: Operation,
    due: Instant,
    _open: OwnedSemaphorePermit,
    _handed: OwnedSemaphorePermit,
}

/// What operations have come to.
pub(crate) struct Collected {
    pub(crate) ledger: Ledger,
    pub(crate) latencies: Latencies,
    /// Operations that the guild did not carry out.
    pub(crate) failed: u64,
}

impl Driver {
    /// Must be called within a runtime. What it returns says when the deletion of the role is answered.
    pub(crate) fn new(guild: Guild, script: Script, ledger: Ledger) -> (Self, watch::Receiver<bool>) {
        let (role_deleted, is_role_deleted) = watch::channel(false);
        let collected = Mutex::new(Collected::new(ledger));
        let caller = Arc::new(Caller { guild, collected, role_deleted });
        let hands = (0..HANDS).map(|_| {
            let (hand, mut begun) = mpsc::channel(OPEN_MAX as usize);
            let caller = Arc::clone(&caller);
            tokio::spawn(async move {
                while let Some(next) = begun.recv().await {
                    caller.carry_out(next).await;
                }
            });
            hand
        });
        let hands = hands.collect();
        let [open, handed] = [(); 2].map(|()| Arc::new(Semaphore::new(OPEN_MAX as usize)));
        (Self { script, runtime: Handle::current(), caller, hands, open, handed }, is_role_deleted)
    }

    /// Does for that time all that happens at a steady rate, and once on the way what happens once. Blocks its thread.
    pub(crate) fn run(&mut self, time: Duration) -> anyhow::Result<()> {
        let begun = Instant::now();
        let mut beats = Beat::ALL.map(|beat| (Duration::ZERO, beat));
        let mut turnings = TURNINGS.iter().map(|(percent, turning)| (time * *percent / 100, *turning)).peekable();
        loop {
            let (next, beat) = beats.iter_mut().min_by_key(|(next, _)| *next).expect("there are beats");
            let due = *next;
            if due >= time {
                return Ok(());
            }
            *next += beat.every();
            let beat = *beat;
            while let Some((_, turning)) = turnings.next_if(|(at, _)| *at <= due) {
                let operation = self.script.turn(turning);
                self.begin(operation, begun + due)?;
            }
            sleep((begun + due).saturating_duration_since(Instant::now()));
            if let Some(operation) = self.next(beat) {
                self.begin(operation, begun + due)?;
            }
        }
    }

    /// Publishes so many messages, as fast as the guild takes them.
    pub(crate) fn publish(&mut self, messages: u64) -> anyhow::Result<()> {
        for _ in 0..messages {
            let operation = Operation { kind: Kind::Burst, ..self.script.publish() };
            self.begin(operation, Instant::now())?;
        }
        Ok(())
    }

    pub(crate) fn ring(&mut self, bell: Bell) -> anyhow::Result<()> {
        self.begin(Script::ring(bell), Instant::now())
    }

    pub(crate) fn messages(&self) -> u64 {
        self.script.messages()
    }

    /// What all has come to, once it is answered.
    pub(crate) async fn collect(self) -> anyhow::Result<Collected> {
        let _all = self.open.acquire_many(OPEN_MAX).await?;
        Ok(replace(&mut *self.caller.collected.lock(), Collected::new(Ledger::after(0))))
    }

    fn next(&mut self, beat: Beat) -> Option<Operation> {
        match beat {
            Beat::Publish => Some(self.script.publish()),
            Beat::ChangeMember => self.script.change_member(),
            Beat::Join => self.script.join(),
            Beat::Leave => self.script.leave(),
            Beat::ChangeRights => self.script.change_rights(),
        }
    }

    fn begin(&self, operation: Operation, due: Instant) -> anyhow::Result<()> {
        let after = operation.after;
        let (places, handed) = match after {
            After::Nothing => (1, 0),
            After::Of(_) => (1, 1),
            After::AllOf => (1, OPEN_MAX),
            After::All => (OPEN_MAX, OPEN_MAX),
        };
        // Whoever has to wait for a place is late, which its time tells.
        let handed = self.runtime.block_on(Arc::clone(&self.handed).acquire_many_owned(handed))?;
        let open = self.runtime.block_on(Arc::clone(&self.open).acquire_many_owned(places))?;
        let begun = Begun { operation, due, _open: open, _handed: handed };
        let caller = Arc::clone(&self.caller);
        match after {
            After::Nothing | After::AllOf => drop(self.runtime.spawn(async move { caller.carry_out(begun).await })),
            After::All => self.runtime.block_on(caller.carry_out(begun)),
            After::Of(subject) => {
                let hand = &self.hands[subject as usize % self.hands.len()];
                hand.blocking_send(begun).ok().context("a hand has ended")?;
            }
        }
        Ok(())
    }
}

impl Collected {
    fn new(ledger: Ledger) -> Self {
        Self { ledger, latencies: Latencies::default(), failed: 0 }
    }
}

impl Caller {
    /// How long it took counts from when it was due.
    async fn carry_out(&self, begun: Begun) {
        let Begun { operation, due, _open, _handed } = begun;
        let Operation { kind, actor, command, facts, .. } = operation;
        let deletes_role = matches!(command, Command::DeleteRole { .. });
        let answer = self.guild.call(actor, command).await;
        let mut collected = self.collected.lock();
        match answer {
            Ok(outcome) => {
                collected.latencies.note(kind, due.elapsed());
                let last = outcome.at().seq.0;
                for (back, fact) in facts.into_iter().rev().enumerate() {
                    collected.ledger.enter(last.saturating_sub(back as u64), fact);
                }
            }
            Err(error) => {
                collected.failed += 1;
                warn!(%error, ?kind, ?facts, "an operation was not carried out");
            }
        }
        drop(collected);
        if deletes_role {
            self.role_deleted.send_replace(true);
        }
    }
}

/// What happens at a steady rate.
#[derive(Debug, Clone, Copy)]
enum Beat {
    Publish,
    ChangeMember,
    Join,
    Leave,
    ChangeRights,
}

impl Beat {
    const ALL: [Self; 5] = [Self::Publish, Self::ChangeMember, Self::Join, Self::Leave, Self::ChangeRights];

    fn every(self) -> Duration {
        Duration::from_secs(1) / self.per_second()
    }

    /// A busy guild of a million: see the numbers to reach in the design.
    fn per_second(self) -> u32 {
        match self {
            Self::Publish | Self::ChangeMember => 1_000,
            Self::Join => 50,
            Self::Leave => 40,
            Self::ChangeRights => 10,
        }
    }
}

/// What happens once, after so many parts in a hundred of the time. Sessions are cut when the role has been deleted: once a fold has
/// cleaned it out of members, who was away meanwhile is told a gap.
const TURNINGS: [(u32, Turning); 4] =
    [(25, Turning::DeleteRole), (35, Turning::CreateChannel), (60, Turning::CreateRole), (70, Turning::DeleteChannel)];

/// Operations begun and not answered: fewer than a client may hold open.
const OPEN_MAX: u32 = 512;
/// Each carries out one operation at a time, which the disk may take milliseconds for.
const HANDS: usize = 64;

const _: () = assert!((OPEN_MAX as usize) < guildhall_proto::limits::CLIENT_OUTCOMES_MAX);
