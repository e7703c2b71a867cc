//! Members who type while the guild is busy.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::Context;
use guildhall_client::{ClientError, Guild};
use tokio::time::{MissedTickBehavior, interval};

use super::scans::Enough;
use crate::random::Random;
use crate::trial::latency::{Kind, Latencies};
use crate::trial::shape::{CHANNELS, OPEN_CHANNELS, Shape};

/// Has one after the other of `members` type in a channel that all see, and the owner in any, until it is enough.
pub(crate) async fn type_about(
    guild: Guild,
    shape: Shape,
    members: Vec<u64>,
    enough: Enough,
) -> anyhow::Result<Latencies> {
    let mut latencies = Latencies::default();
    let mut random = Random::new(shape.seed, TYPING);
    let mut ticks = interval(TYPED_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    while !enough.load(Ordering::Relaxed) {
        ticks.tick().await;
        let member = random.pick(&members).copied().filter(|number| number % 2 == 0);
        let (user, idx) = match member {
            Some(number) => (Shape::user(number), random.below(OPEN_CHANNELS)),
            None => (Shape::owner(), random.below(CHANNELS)),
        };
        let begun = Instant::now();
        match guild.typing(user, Shape::channel(idx)).await {
            Ok(_) => latencies.note(Kind::Typing, begun.elapsed()),
            // It is over by then.
            Err(ClientError::Overloaded { .. }) => {}
            Err(error) => return Err(error).context("typing failed"),
        }
    }
    Ok(latencies)
}

const TYPED_EVERY: Duration = Duration::from_millis(25);
/// Tells what typing draws from what else is drawn.
const TYPING: u64 = 0x7479_7065;
