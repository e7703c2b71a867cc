//! Those who type, and those who come and go, beside the load proper: at steady rates, one after the other.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context;
use guildhall_client::{Attach, AttachError, Backend, Client, Guild, SessionStream};
use guildhall_proto::limits::TYPING_EVERY;
use guildhall_proto::{CallError, GuildId, Level, Position, Status, Subject};
use parking_lot::Mutex;
use tokio::time::sleep;

use super::drive::{Calls, Count};
use super::ear::{Parting, parting};
use super::last::Last;
use super::pace::Pace;
use super::told::{Subjects, said};
use crate::checks::Number;
use crate::random::Random;
use crate::trial::latency::Kind;

/// What is done in one guild that sessions are told of now.
pub(super) struct Asides {
    guild: Guild,
    calls: Arc<Calls>,
    pub(super) subjects: Arc<Subjects>,
    began: Began,
    /// Of who types where, by the subjects' places: the last number as of which sessions must have been told; 0 if there is none.
    typed: Box<[AtomicU64]>,
    walkers: Mutex<Vec<Walker>>,
}

/// When all sessions were attached.
#[derive(Debug, Clone, Copy)]
struct Began {
    /// Behind which number they hear.
    after: Number,
    since: Instant,
}

/// A member with one session, which says whether the member is there.
struct Walker {
    place: usize,
    session: SessionStream,
    /// As it was last acknowledged.
    status: Status,
}

impl Asides {
    /// Attaches the sessions of those who come and go, at one backend node, once all others are attached as of a position.
    ///
    /// # Errors
    /// If one is not attached.
    pub(super) async fn open(
        (guild, at): (GuildId, Position),
        (client, backend): (&Client, &Backend),
        calls: &Arc<Calls>,
        subjects: Arc<Subjects>,
    ) -> anyhow::Result<Arc<Self>> {
        let began = Began { after: at.seq.0, since: Instant::now() };
        let mut walkers = Vec::new();
        for (place, user) in subjects.walking() {
            let attach = Attach { level: Level::Passive, ..Attach::new(client.new_session(), user) };
            let session = loop {
                match backend.attach(guild, attach).await {
                    Err(AttachError::Call(CallError::Overloaded { retry_after })) => {
                        sleep(retry_after).await;
                    }
                    attached => {
                        break attached.context("the session of a member who comes and goes is not attached")?;
                    }
                }
            };
            walkers.push(Walker { place, session, status: attach.status });
        }
        let typed = subjects.all().iter().map(|_| AtomicU64::new(0)).collect();
        let (guild, calls) = (client.guild(guild), Arc::clone(calls));
        Ok(Arc::new(Self { guild, calls, subjects, began, typed, walkers: Mutex::new(walkers) }))
    }

    /// Has one after the other type at that pace.
    pub(super) async fn type_about(self: Arc<Self>, pace: Pace) {
        let typing: Vec<(usize, Subject)> = self.subjects.typing().collect();
        for (number, (place, subject)) in (0..pace.count()).zip(typing.iter().cycle()) {
            let Some(due) = self.calls.wait(pace, number).await else { return };
            let channel = subject.channel.expect("who types does so in a channel");
            let begun = Instant::now();
            match self.guild.typing(subject.user, channel).await {
                Ok(at) => {
                    if self.began.is_told(at, begun) {
                        self.typed[*place].fetch_max(at.seq.0, Ordering::Relaxed);
                    }
                    self.calls.carried_out(Count::Typing, Kind::Typing, due);
                }
                Err(error) => self.calls.came_to_nothing(&error, due),
            }
        }
    }

    /// Has one after the other come or go at that pace.
    pub(super) async fn walk_about(self: Arc<Self>, pace: Pace, seed: u64) {
        let mut walkers = std::mem::take(&mut *self.walkers.lock());
        let mut random = Random::new(seed, WALKING);
        for (number, idx) in (0..pace.count()).zip((0..walkers.len()).cycle()) {
            let Some(due) = self.calls.wait(pace, number).await else { break };
            let walker = &mut walkers[idx];
            let others = STATUSES.map(|status| (status != walker.status).then_some(status));
            let others: Vec<Status> = others.into_iter().flatten().collect();
            let status = *random.pick(&others).expect("there are several");
            match walker.session.set_status(status).await {
                Ok(_) => {
                    walker.status = status;
                    self.calls.carried_out(Count::Presence, Kind::Presence, due);
                }
                Err(CallError::Overloaded { retry_after }) => self.calls.refused(due, Some(retry_after)),
                Err(CallError::Unavailable { .. } | CallError::Stopping) => self.calls.refused(due, None),
                Err(error) => self.calls.failed(&error),
            }
        }
        *self.walkers.lock() = walkers;
    }

    /// What sessions must have been told last of each subject, by its place.
    pub(super) fn last(&self) -> Vec<Last> {
        let typed = |number: &AtomicU64| match number.load(Ordering::Relaxed) {
            0 => Last::Anything,
            number => Last::AsOf(number),
        };
        let mut last: Vec<Last> = self.typed.iter().map(typed).collect();
        for walker in &*self.walkers.lock() {
            last[walker.place] = Last::Said(said(walker.status));
        }
        last
    }

    /// Detaches the sessions of those who come and go.
    ///
    /// # Errors
    /// If one is not detached.
    pub(super) async fn close(&self) -> anyhow::Result<()> {
        let walkers = std::mem::take(&mut *self.walkers.lock());
        for mut walker in walkers {
            while let Parting::Later(pause) = parting(walker.session.detach().await)? {
                sleep(pause).await;
            }
        }
        Ok(())
    }
}

impl Began {
    /// Whether sessions must have been told of typing that was accepted as of a position. Who has typed a moment before they were attached, beside
    /// another load say, types on, and they are not told again.
    fn is_told(self, at: Position, begun: Instant) -> bool {
        at.seq.0 > self.after || begun.saturating_duration_since(self.since) >= TYPING_EVERY + CLOCKS
    }
}

const STATUSES: [Status; 4] = [Status::Online, Status::Idle, Status::DoNotDisturb, Status::Offline];
/// Tells what is drawn for this from what is drawn for other things.
const WALKING: u64 = 0x7761_6C6B;
/// How much further another machine's clock may go in some seconds.
const CLOCKS: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use guildhall_proto::{Epoch, Seq};

    use super::*;

    #[test]
    fn typing_must_have_been_told_once_none_of_before_the_load_is_in_force() {
        let began = Began { after: 7, since: Instant::now() };
        let is_told = |number, after| {
            began.is_told(Position { epoch: Epoch(1), seq: Seq(number) }, began.since + Duration::from_secs(after))
        };
        // At the place where sessions were attached, and before it: by the time alone.
        assert_eq!([0, 4, 5].map(|after| is_told(7, after)), [false, false, true]);
        assert!(!is_told(3, 1) && is_told(3, 5));
        // Behind it nobody has typed before.
        assert!(is_told(8, 0));
    }
}
