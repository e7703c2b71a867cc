//! Long answers, and calls beside them.

use std::time::{Duration, Instant};

use guildhall_proto::Question;

use super::super::probe::compared;
use super::{Bench, Linked, MEMBERS, Run, alone, count, sample};
use crate::latency::{Slices, latencies};
use crate::machine::Watch;
use crate::row::{Measured, Unit};
use crate::worlds::channel;

/// Long answers, and calls beside them.
pub(in crate::rows) const SCANS: Bench = Bench { rows: &[alone(RECIPIENTS), alone(BESIDE_RECIPIENTS)], run: scans };

const RECIPIENTS: &str = "link_recipients";
const BESIDE_RECIPIENTS: &str = "link_beside_recipients";

impl Linked {
    /// Measures a slice of the probe; what the guild node takes is no trouble of others.
    fn slice(&self, time: Duration, all: &mut Slices) {
        let (watch, mut took) = (Watch::begin_with(&[self.node.process.id()]), latencies());
        self.probe(time, &mut took, |_| vec![7; 300]);
        all.push(took, watch.others());
    }
}

fn scans(run: &mut Run) {
    let linked = Linked::new(run.size(MEMBERS));
    let bare = linked.bare();
    let scan = {
        let guild = linked.guild.clone();
        move || {
            let guild = guild.clone();
            async move {
                let question = Question::Everyone { channel: channel(0) };
                let mut recipients = guild.recipients(question).await.expect("it is asked");
                let mut users = 0;
                while let Some(chunk) = recipients.next().await.expect("it is answered") {
                    users += chunk.len() as u64;
                }
                users
            }
        }
    };
    let users = linked.runtime.block_on(scan());
    assert_eq!(users, linked.members, "all members see the channel");
    if run.wants(RECIPIENTS) {
        let runs = run.times(15, 3);
        let timed = |begin: Instant| begin.elapsed().as_secs_f64() * 1e3;
        let ours = sample(runs, || {
            let begin = Instant::now();
            linked.runtime.block_on(scan());
            timed(begin)
        });
        let length = usize::try_from(users * 8).expect("some megabytes");
        let limit = sample(runs, || {
            let begin = Instant::now();
            linked.runtime.block_on(bare.call(64, length));
            timed(begin)
        });
        let sizes = format!("{} members, who all see the channel", count(linked.members));
        let what = "ids of all whom @everyone reaches in a channel, by a call to another process: from the call to the last id";
        let row = Measured::new(RECIPIENTS, (ours, Unit::Ms), sizes, what).reach(50.0 * users as f64 / MEMBERS as f64);
        run.tell(row.limit(limit.middle, "bare quinn answers as many bytes, and nobody looks at them"));
    }
    if run.wants(BESIDE_RECIPIENTS) {
        let [mut idle, mut beside] = [Slices::default(), Slices::default()];
        let slices = run.times(25, 2);
        for _ in 0..slices {
            linked.slice(SECOND, &mut idle);
            let scanning = linked.runtime.spawn(scan());
            linked.slice(SECOND, &mut beside);
            linked.runtime.block_on(scanning).expect("the scan is answered");
        }
        let sizes = format!("{} members, slices of a second", count(linked.members));
        run.tell(
            compared(
                BESIDE_RECIPIENTS,
                &beside,
                ("idle", &idle),
                &sizes,
                "p99 of 1,000 calls a second to another process, open loop, beside one answer with all members' ids a second",
            )
            .reach(2.0),
        );
    }
}

const SECOND: Duration = Duration::from_secs(1);
