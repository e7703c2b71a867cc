//! Deliveries to the sessions of another process.

use std::time::Instant;

use tokio::task::JoinSet;

use super::{Bench, Linked, Run, alone, count, publish, sample};
use crate::hearing::{Heard, LUMP, LUMPS_AHEAD, attach_batches, attach_streams};
use crate::row::{Measured, Unit};
use crate::shell::side_by_side;
use crate::worlds::COHORTS;

/// Deliveries.
pub(in crate::rows) const DELIVERIES: Bench = Bench { rows: &[alone(BATCHES), alone(STREAMS)], run: deliveries };

const BATCHES: &str = "link_deliver_batch";
const STREAMS: &str = "link_deliver";

impl Linked {
    /// Publishes so many lumps of messages, a lump at a time, and waits until all are heard. It stays as near to those who hear as their relay's ring
    /// allows with ease.
    pub(super) fn publish(&self, lumps: u64, heard: &Heard) {
        let before = heard.complete();
        for lump in 0..lumps {
            self.lump();
            if let Some(behind) = (lump + 1).checked_sub(LUMPS_AHEAD) {
                heard.wait_for(before + behind, self.runtime.handle());
            }
        }
        heard.wait_for(before + lumps, self.runtime.handle());
    }

    /// Publishes a lump of messages at once.
    fn lump(&self) {
        let guild = self.guild.clone();
        let publishing = self.runtime.spawn(async move {
            let mut tasks = JoinSet::new();
            for _ in 0..LUMP {
                let guild = guild.clone();
                tasks.spawn(async move { publish(&guild, 300).await });
            }
            while let Some(done) = tasks.join_next().await {
                done.expect("the message is accepted");
            }
        });
        self.runtime.block_on(publishing).expect("the messages are accepted");
    }
}

fn deliveries(run: &mut Run) {
    let sessions = run.size(SESSIONS);
    let linked = Linked::new(sessions + 1);
    let lumps = |deliveries: u64| (deliveries / sessions / LUMP).clamp(1, LUMPS_MAX);
    let sizes = |lumps| {
        let cohorts = count(COHORTS.min(sessions));
        format!(
            "{} sessions in {cohorts} cohorts, one relay, {} messages of 300 bytes a run",
            count(sessions),
            count(lumps * LUMP)
        )
    };
    let runs = run.times(5, 2);
    let backend = linked.client.backend().expect("this is a backend node");
    if run.wants(BATCHES) {
        let heard = Heard::by(1);
        let held = attach_batches(&linked.runtime, &backend, 1..=sessions, &heard);
        let lumps = lumps(run.size(BATCH_DELIVERIES));
        let rate = sample(runs, || rate(&linked, lumps, sessions, &heard));
        detach_all(&linked, held);
        let what = "deliveries to sessions of another process than the guild's, consumed as batches: from the first publish until the one consumer has counted every message on every session's own counter";
        run.tell(Measured::new(BATCHES, (rate, Unit::PerS), sizes(lumps), what).reach(30e6));
    }
    if run.wants(STREAMS) {
        let heard = Heard::by(sessions);
        attach_streams(&linked.runtime, &backend, sessions, &heard);
        let lumps = lumps(run.size(STREAM_DELIVERIES));
        let rate = sample(runs, || rate(&linked, lumps, sessions, &heard));
        let what = "deliveries to a stream in a task each, in another process than the guild's: from the first publish until every session's task has been shown every message";
        run.tell(Measured::new(STREAMS, (rate, Unit::PerS), sizes(lumps), what).reach(8e6));
    }
}

fn rate(linked: &Linked, lumps: u64, sessions: u64, heard: &Heard) -> f64 {
    let begin = Instant::now();
    linked.publish(lumps, heard);
    (lumps * LUMP * sessions) as f64 / begin.elapsed().as_secs_f64()
}

/// What is dropped without a word is kept for its return.
pub(super) fn detach_all(linked: &Linked, held: Vec<guildhall_client::BatchSession>) {
    side_by_side(&linked.runtime, 1_024, held, |mut session| async move {
        session.detach().await.expect("it is attached");
    });
}

const SESSIONS: u64 = 100_000;
/// Deliveries of a run; but where sessions are few, as many messages as are published in a moment.
const BATCH_DELIVERIES: u64 = 200_000_000;
const STREAM_DELIVERIES: u64 = 40_000_000;
const LUMPS_MAX: u64 = 200;
