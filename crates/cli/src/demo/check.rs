//! The check of a demo: what was heard and said, beside what must have been.

use anyhow::Context;
use guildhall_client::{DetachReason, Guild};
use guildhall_node::Node;
use tracing::warn;

use super::GUILD;
use super::drive::Collected;
use super::house::Heard;
use super::judge::judge_all;
use super::population::{Population, Reached};
use super::record::Record;
use super::report::{Checked, MemoryBytes};
use super::scans;
use super::seat::Errand;
use crate::trial::checks::Checks;
use crate::trial::latency::Latencies;
use crate::trial::shape::{CHANNELS, OPEN_CHANNELS, Shape};

/// What the guild says of itself in the end.
pub(super) struct Said {
    members: u64,
    /// For each of [`ASKED_CHANNELS`].
    reached: Vec<Reached>,
    /// Without what is not the guild's own.
    pub(super) memory: MemoryBytes,
}

impl Said {
    /// By the node that owns it, and to one that calls it.
    pub(super) async fn by(node: &Node, guild: &Guild) -> anyhow::Result<Self> {
        let view = node.view(GUILD).await.context("the guild cannot be read")?;
        let memory = view.memory();
        let memory = MemoryBytes {
            pages: memory.pages as u64,
            nick_order: memory.nick_order as u64,
            role_sets: (memory.role_sets + memory.holders) as u64,
            presence: memory.presence as u64,
            overlay: memory.overlay as u64,
            bans: memory.bans as u64,
            ..MemoryBytes::default()
        };
        let reached = scans::reached(guild, &ASKED_CHANNELS.map(Shape::channel)).await?;
        Ok(Self { members: view.len() as u64, reached, memory })
    }
}

/// What the check came to.
pub(super) struct Looked {
    pub(super) checked: Checked,
    pub(super) latencies: Latencies,
    pub(super) events: u64,
    pub(super) deliveries: u64,
    pub(super) ended: u64,
    pub(super) bytes: u64,
}

/// Checks what sessions have heard, and what the guild says of itself, beside the ledger. `removed` members were pruned.
pub(super) fn check(shape: Shape, collected: Collected, heard: Heard, removed: u64, said: &Said) -> Looked {
    let Collected { ledger, latencies, failed } = collected;
    let Heard { sessions, pruned, .. } = heard;
    let ledger = ledger.close(shape.rights(), pruned, removed);
    let checks = Checks { failed, unexplained: ledger.unexplained, ..Checks::default() };
    let mut checked = Checked { checks, ..Checked::default() };
    for (found, (sitting, _)) in judge_all(&ledger, &sessions).iter().zip(&sessions) {
        checked.add(found, sitting.seat.errand == Errand::Stall);
    }
    let population = Population::new(shape, &ledger, &sessions);
    checked.wrong_answers += u64::from(population.members() != said.members);
    let channels = ASKED_CHANNELS.map(Shape::channel);
    for (channel, (right, told)) in channels.iter().zip(population.reached(&channels).iter().zip(&said.reached)) {
        if right != told {
            warn!(%channel, ?right, ?told, "a scan finds others than the rule");
            checked.wrong_answers += 1;
        }
    }
    let records = || sessions.iter().map(|(_, record)| record);
    Looked {
        checked,
        latencies,
        events: ledger.facts.len() as u64,
        deliveries: records().map(|record| record.tally.deliveries).sum(),
        ended: records().filter(|record| record.end == Some(DetachReason::MemberLeft)).count() as u64,
        bytes: (records().map(Record::bytes).sum::<usize>() + size_of_val(&ledger.facts[..])) as u64,
    }
}

/// Channels of which it is asked in the end whom a ping reaches: open, hidden from one role, hidden from all but some.
const ASKED_CHANNELS: [u64; 3] = [0, 20, 21];

const _: () = assert!(ASKED_CHANNELS[0] < OPEN_CHANNELS && ASKED_CHANNELS[2] < CHANNELS);
