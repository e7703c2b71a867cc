//! The task that has idle guilds fall asleep.
//!
//! It looks at all guilds in rounds, eight within [`sleep_after`](crate::NodeConfig::sleep_after): a look-up marks its guild with the
//! number of the round, and a guild whose mark is old is told to sleep. So neither owners nor readers keep a timer. At most
//! [`FALLING_MAX`] guilds fall asleep at a time, and the sweep waits with the next: sleep is not urgent, and its checkpoints are not
//! to crowd out those who are awake.
//!
//! A guild that is idle for a shorter time is told to keep no room for its next turn.
//!
//! If somebody is refused because all places are taken, the next look comes at once, and takes up to a sixteenth of all places from
//! guilds that were not asked for lately.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::places::Places;
use crate::config::NodeConfig;
use crate::live::{Control, Live};
use crate::owner::Bedtime;

/// Whoever holds the node holds this.
pub(super) struct Held {
    _held: Arc<()>,
}

struct Sweeper {
    places: Arc<Places>,
    held: Weak<()>,
    round: Duration,
    falling: Arc<Semaphore>,
}

/// Starts the task. It ends when the node stops, or when nobody holds the node and all guilds sleep.
pub(super) fn start(config: &NodeConfig, places: Arc<Places>) -> Held {
    let held = Arc::new(());
    let round = round(config.sleep_after);
    let falling = Arc::new(Semaphore::new(FALLING_MAX));
    tokio::spawn(Sweeper { places, held: Arc::downgrade(&held), round, falling }.run());
    Held { _held: held }
}

/// When somebody may be given a place who finds all taken: after the next look for guilds that may sleep.
pub(super) fn look_pause(sleep_after: Duration) -> Duration {
    round(sleep_after).min(LOOK_PAUSE)
}

fn round(sleep_after: Duration) -> Duration {
    if sleep_after == Duration::MAX { sleep_after } else { (sleep_after / ROUNDS).max(ROUND_MIN) }
}

impl Sweeper {
    async fn run(self) {
        let mut due = self.next();
        while !self.places.is_stopping() && (self.held.strong_count() > 0 || self.places.taken() > 0) {
            let pressed = tokio::select! {
                biased;
                () = self.places.pressed.notified() => true,
                () = until(due) => false,
            };
            if pressed {
                let some = self.places.max() / PRESSED_SHARE + 1;
                self.sweep(self.places.round(), PRESSED_ROUNDS, some).await;
                tokio::time::sleep(self.round.min(LOOK_PAUSE)).await;
            } else {
                due = self.next();
                let round = self.places.next_round();
                self.sweep(round, ROUNDS, usize::MAX).await;
            }
        }
    }

    /// When the next round begins; `None` if guilds never sleep by themselves.
    fn next(&self) -> Option<Instant> {
        Instant::now().checked_add(self.round)
    }

    /// Has up to `some` guilds fall asleep of those that nobody has asked for in more than `rounds`.
    async fn sweep(&self, round: u32, rounds: u32, some: usize) {
        self.places.forget_lasts(round, Some(rounds));
        let mut told = 0;
        for awake in self.places.awake_by_shard().filter(|awake| !awake.is_empty()) {
            for live in awake {
                if told >= some || self.places.is_stopping() {
                    return;
                }
                // Told again in each round: it may have had something under way, or have been called back by the node alone.
                if live.idle_rounds(round) >= TIDY_ROUNDS && !live.mailbox.is_left() {
                    live.mailbox.post_control(Control::Tidy);
                }
                if is_idle(&live, round, rounds) {
                    let Ok(permit) = Arc::clone(&self.falling).acquire_owned().await else {
                        return;
                    };
                    live.mailbox.post_control(Control::Sleep(Bedtime::Idle { _pace: permit }));
                    told += 1;
                }
            }
            // A shard is some hundred microseconds' work.
            tokio::task::yield_now().await;
        }
    }
}

/// The runtime shuts down, or there is nothing left to sweep. Owners without a task would never hear of the former.
impl Drop for Sweeper {
    fn drop(&mut self) {
        self.places.set_stopping();
        self.places.awake_by_shard().flatten().for_each(|live| live.mailbox.call_back());
    }
}

async fn until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}

fn is_idle(live: &Live, round: u32, rounds: u32) -> bool {
    live.idle_rounds(round) > rounds && !live.is_heard()
}

/// Looks within the time after which an idle guild sleeps: it is at most one of them late.
const ROUNDS: u32 = 8;
/// A guild that was not asked for in so many rounds, and perhaps is heard, frees what it keeps for its next turn.
const TIDY_ROUNDS: u32 = 2;
/// A guild that was asked for within so many rounds keeps its place, whoever wants it.
const PRESSED_ROUNDS: u32 = 1;
/// Looks do not follow each other faster.
const ROUND_MIN: Duration = Duration::from_millis(10);
/// The pause after a look that somebody's refusal has brought on.
const LOOK_PAUSE: Duration = Duration::from_secs(1);
/// The part of all places that such a look frees.
const PRESSED_SHARE: usize = 16;
/// Guilds on their way to sleep at a time: enough to keep the workers busy, few enough to leave them to others.
const FALLING_MAX: usize = 32;
