//! Operations at their due time: begun by a thread of its own, whatever the guild's answers do, and noted as they are answered.

use std::thread::sleep;
use std::time::{Duration, Instant};

use guildhall_node::{Node, Pending};
use guildhall_proto::{CallError, ClientId, Command};
use tokio::sync::{mpsc, watch};
use tracing::warn;

use super::GUILD;
use super::ledger::Ledger;
use super::script::{Operation, Script, Turning};
use crate::operations::Operations;
use crate::trial::bell::Bell;
use crate::trial::latency::{Kind, Latencies};

/// Begins operations. What was begun goes to [`collect`], in order.
pub(crate) struct Driver {
    node: Node,
    script: Script,
    operations: Operations,
    begun: mpsc::Sender<Begun>,
    /// Times that an operation was refused for want of room, and tried again.
    refused: u64,
}

/// An operation that has its place in the guild's order.
pub(crate) struct Begun {
    operation: Operation,
    due: Instant,
    pending: Pending,
}

/// What operations have come to.
pub(crate) struct Collected {
    pub(crate) ledger: Ledger,
    pub(crate) latencies: Latencies,
    /// Operations that the guild did not carry out.
    pub(crate) failed: u64,
}

impl Driver {
    pub(crate) fn new(node: Node, script: Script) -> (Self, mpsc::Receiver<Begun>) {
        let (begun, answered) = mpsc::channel(AHEAD_MAX);
        (Self { node, script, operations: Operations::of(ClientId::MIN), begun, refused: 0 }, answered)
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

    pub(crate) fn refused(&self) -> u64 {
        self.refused
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

    fn begin(&mut self, operation: Operation, due: Instant) -> anyhow::Result<()> {
        let call = self.operations.call(operation.actor, operation.command.clone())?;
        let pending = loop {
            match self.node.begin(GUILD, call.clone()) {
                Ok(pending) => break pending,
                // Nothing was begun meanwhile, so the order is kept.
                Err(CallError::Overloaded { retry_after }) => {
                    self.refused += 1;
                    sleep(retry_after);
                }
                Err(error) => return Err(anyhow::Error::new(error).context("an operation was not taken")),
            }
        };
        // A collector that is gone has failed, and says why.
        drop(self.begun.blocking_send(Begun { operation, due, pending }));
        Ok(())
    }
}

/// Notes what is answered until the driver is gone, and says when the deletion of the role is. How long an operation took counts from when
/// it was due.
pub(crate) async fn collect(
    mut begun: mpsc::Receiver<Begun>,
    ledger: Ledger,
    role_deleted: watch::Sender<bool>,
) -> Collected {
    let mut collected = Collected { ledger, latencies: Latencies::default(), failed: 0 };
    while let Some(Begun { operation, due, pending }) = begun.recv().await {
        match pending.answer().await {
            Ok(outcome) => {
                collected.latencies.note(operation.kind, due.elapsed());
                let last = outcome.at().seq.0;
                if matches!(operation.command, Command::DeleteRole { .. }) {
                    role_deleted.send_replace(true);
                }
                for (back, fact) in operation.facts.into_iter().rev().enumerate() {
                    collected.ledger.enter(last.saturating_sub(back as u64), fact);
                }
            }
            Err(error) => {
                collected.failed += 1;
                warn!(%error, ?operation, "an operation was not carried out");
            }
        }
    }
    collected
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
const AHEAD_MAX: usize = 512;

const _: () = assert!(AHEAD_MAX < guildhall_proto::limits::CLIENT_OUTCOMES_MAX);
