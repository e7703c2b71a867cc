//! The task that drives one guild: one order, one truth.
//!
//! It loops over turns: take inputs, let the guild handle them, hand the turn's records to the store and its jobs to workers, let out
//! what the gate releases. It waits for nothing but its mailbox.
//!
//! While its guild is idle it is [parked](parked): without a task, until something comes for it.
//!
//! It ends in one of five ways: the node stops, or the guild is to be at another; there is no guild (any more); the guild falls asleep; it retires because the store or
//! a job failed; or the task panics. In every
//! case the mailbox closes, waiting callers are told or see their answer's sender go, relays hear the end, and the next call loads
//! the guild from the store under a higher epoch.
//!
//! Invariants:
//! - once there is a reason to end, no input is handled and no record goes to the store;
//! - between turns no effect is left over: each was admitted by the turn that made it.

mod calls;
mod falling_asleep;
#[cfg(test)]
mod held;
mod parked;
mod rest;
mod storing;

use std::mem::take;
use std::sync::Arc;
use std::time::{Duration, Instant};

use guildhall_guild::{
    Call, Effect, Gate, Guild, GuildConfig, Input, Outcomes, ScanJob, SessionCall, SponsorGone, Tell, TypingCall,
};
use guildhall_members::{FoldJob, View};
use guildhall_proto::{CommandError, Ephemeral, Event, Subject};
use guildhall_ring::{Evicted, LatestWriter, Writer};
use guildhall_sessions::Rings;
use guildhall_store::{Store, StoreError};
use tokio::runtime::Handle;
use tokio::time::timeout;

use crate::clock::Clock;
use crate::config::TurnConfig;
use crate::counters::{Counter, Counters};
use crate::live::{Control, Live, NoReply, Posted, Request};
use crate::mailbox::Taken;
use crate::membership::Whereabouts;
use crate::offload::{JobPanicked, Offload};
use crate::registry::Places;
use calls::Calls;
pub(crate) use falling_asleep::Bedtime;
pub use falling_asleep::SleepError;
pub(crate) use parked::Parked;
use rest::Rest;
use storing::Checkpoints;

/// What every owner of a node shares.
pub(crate) struct Surroundings {
    /// Where owners run.
    pub(crate) runtime: Handle,
    pub(crate) clock: Clock,
    pub(crate) turn: TurnConfig,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) offload: Offload,
    pub(crate) counters: Arc<Counters>,
    /// Where the owner gives its guild's place back at its end.
    pub(crate) places: Arc<Places>,
    pub(crate) rings: Arc<Rings>,
    /// Which guilds the node may load.
    pub(crate) whereabouts: Whereabouts,
}

struct Owner {
    guild: Guild,
    gate: Gate,
    live: Arc<Live>,
    ring: Writer<Arc<Event>>,
    told: LatestWriter<Subject, Ephemeral>,
    /// Whether the ring is known to hold a lease.
    listed: bool,
    around: Arc<Surroundings>,
    calls: Calls,
    effects: Vec<Effect>,
    /// Views that were replaced and may hold a base that was too, on their way to a worker.
    old_views: Vec<Arc<View>>,
    /// Whether the next one may.
    folded: bool,
    /// Shared with the events that workers are to drop.
    burial: Arc<()>,
    checkpoints: Checkpoints,
    /// By whom the guild is to fall asleep, if it is.
    drowsy: Option<Bedtime>,
    rest: Rest,
    /// Whether what is kept for the next turn is to be freed, and the owner parked.
    tidying: bool,
    stopping: Stopping,
    ended: Option<End>,
}

/// How far an owner is on its way out because the node stops, or its guild is to be elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stopping {
    No,
    /// It takes no requests, and lets out what it has accepted.
    Refusing,
    /// It is its turn to leave: the store has room for its last checkpoint.
    Leaving,
    /// The last checkpoint has been begun.
    Saving,
}

/// Why an owner ends.
#[derive(Debug)]
enum End {
    Stopped,
    /// Its creation was refused, or it was deleted, and nobody asks any more: there is nothing to own.
    NoGuild,
    Asleep,
    StoreFailed(StoreError),
    JobPanicked(JobPanicked),
}

/// An owner that has a task. However that ends, a panic included: nobody waits for it in vain, and what it held dies on a worker.
struct Driven(Option<Box<Owner>>);

impl Driven {
    /// Drives the guild until the owner ends or is parked.
    async fn run(mut self) {
        let owner = self.0.as_mut().expect("the owner is taken out at the end alone");
        owner.drive().await;
        if owner.ended.is_none()
            && let Some(owner) = self.0.take()
        {
            owner.park();
        }
    }
}

impl Drop for Driven {
    fn drop(&mut self) {
        if let Some(owner) = &mut self.0 {
            owner.leave_all();
        }
    }
}

impl Owner {
    fn new(parked: Parked) -> Self {
        let Parked { guild, live, ring, told, listed, around } = parked;
        Self {
            guild,
            gate: Gate::default(),
            live,
            ring,
            told,
            listed,
            around,
            calls: Calls::default(),
            effects: Vec::new(),
            old_views: Vec::new(),
            folded: false,
            burial: Arc::default(),
            checkpoints: Checkpoints::default(),
            drowsy: None,
            rest: Rest::default(),
            tidying: false,
            stopping: Stopping::No,
            ended: None,
        }
    }

    /// Drives the guild until the node stops, the guild retires, or the owner may be parked.
    async fn drive(&mut self) {
        let mut taken = Taken::default();
        // Recovery may have left much to fold, and to save.
        self.guild.begin_fold_if_due(&mut self.effects);
        self.admit();
        self.release();
        while self.ended.is_none() {
            let wanted = self.inputs_wanted().min(CHUNK_INPUTS);
            if self.has_work() && self.rest.is_over() {
                // The turn has something to do even if nothing has come.
                self.live.mailbox.try_take(wanted, &mut taken);
            } else if self.has_work() {
                // In a box, as below: a timer is large, and few owners ever have one.
                Box::pin(self.rest.cut_short_by(self.live.mailbox.take(wanted, &mut taken))).await;
            } else if self.guild.waits_for_room() && wanted > 0 {
                // Of new room nobody sends word. Without an input it is a turn all the same: it looks for room.
                drop(Box::pin(timeout(ROOM_PAUSE, self.live.mailbox.take(wanted, &mut taken))).await);
            } else {
                self.live.mailbox.take(wanted, &mut taken).await;
            }
            self.turn(&mut taken);
            if take(&mut self.tidying) && self.ended.is_none() {
                self.tidy(&mut taken);
                if self.may_be_parked() {
                    return;
                }
            }
            // Another guild's turn, however much waits here.
            tokio::task::yield_now().await;
        }
    }

    /// How many inputs the next turn may take: none while too much waits for the store or a fold, and none once the end is near.
    fn inputs_wanted(&self) -> usize {
        let turn = &self.around.turn;
        let gate_full = self.gate.len() >= turn.unsettled_max || self.gate.bytes() >= turn.unsettled_bytes_max;
        let held_up = gate_full || self.guild.is_congested();
        if held_up || self.is_stopping() || self.ended.is_some() { 0 } else { self.around.turn.inputs_max }
    }

    /// Whether the guild carries on with what it has spread over turns: while it takes inputs, and few turns wait for the store.
    fn has_work(&self) -> bool {
        let unsettled_max = WORK_UNSETTLED_MAX.min(self.around.turn.unsettled_max.div_ceil(2));
        self.guild.has_work() && self.inputs_wanted() > 0 && self.gate.len() < unsettled_max
    }

    fn turn(&mut self, taken: &mut Taken<Posted, Control>) {
        self.around.counters.bump(Counter::Turns);
        self.guild.set_room(self.around.store.has_room());
        let had_work = self.guild.has_work();
        // Who called meanwhile is handled and let out behind it, not behind the next one too.
        self.proceed();
        let begin = Instant::now();
        let time = Duration::from_micros(self.around.turn.micros_max);
        let mut inputs = 0;
        loop {
            inputs += taken.items.len();
            self.handle(taken, begin);
            let wanted = self.inputs_wanted().saturating_sub(inputs).min(CHUNK_INPUTS);
            if wanted == 0 || begin.elapsed() >= time || !self.live.mailbox.try_take(wanted, taken) {
                break;
            }
        }
        if had_work && inputs > 0 {
            self.rest.note_calls();
        }
        self.admit();
        // A store in memory has settled the turn by now; another sends word through the mailbox.
        while self.live.mailbox.try_take(0, taken) {
            self.handle(taken, begin);
            // A fold that is done has effects too.
            self.admit();
        }
        self.release();
        if self.gate.is_empty() && self.checkpoints.are_done() {
            if self.is_stopping() {
                self.leave();
            } else if !self.guild.exists() && self.live.mailbox.close_if_empty() {
                self.live.set_handled_all();
                self.end(End::NoGuild);
            }
        }
        self.fall_asleep(inputs);
    }

    /// Does a batch of what the guild has spread over turns, if there is any and the last one's rest is over.
    fn proceed(&mut self) {
        if !self.has_work() || !self.rest.is_over() {
            return;
        }
        let released = self.guild.forsaken_released();
        self.guild.proceed(self.around.clock.now(), &mut self.effects);
        let forsaken = self.guild.forsaken_released() - released;
        self.around.counters.add(Counter::SessionsForsaken, forsaken);
        self.rest.note();
    }

    /// Frees what turns leave behind for the next one, for that is not near: most of an idle guild's memory.
    fn tidy(&mut self, taken: &mut Taken<Posted, Control>) {
        *taken = Taken::default();
        self.effects = Vec::new();
        self.gate.tidy();
        self.calls.tidy();
        self.live.mailbox.tidy();
        self.guild.tidy(self.around.clock.now());
    }

    fn handle(&mut self, taken: &mut Taken<Posted, Control>, turn_began: Instant) {
        for control in taken.control.drain(..) {
            self.control(control);
        }
        if taken.items.is_empty() {
            return;
        }
        if self.ended.is_some() {
            taken.items.drain(..).for_each(|queued| queued.item.reply(Err(NoReply::Unhandled)));
            return;
        }
        let now = self.around.clock.now();
        self.around.counters.add(Counter::Inputs, taken.items.len() as u64);
        let (mut waited, mut calls) = (Duration::ZERO, taken.items.len() as u64);
        let before = self.effects.len();
        self.guild.look_ahead(taken.items.iter().filter_map(|queued| match &queued.item.request {
            Request::Command(operation) => Some((operation.actor(), operation.command())),
            Request::Session { .. } | Request::SponsorGone { .. } | Request::Typing { .. } => None,
        }));
        for queued in taken.items.drain(..) {
            waited += turn_began.saturating_duration_since(queued.since);
            let Posted { request, reply } = queued.item;
            let id = self.calls.open(reply);
            let input = match request {
                Request::Command(operation) => Input::Command(Call { id, operation }),
                Request::Session { session, sponsor, request } => {
                    calls -= 1;
                    Input::Session(SessionCall { id, session, sponsor, request })
                }
                Request::SponsorGone { sponsor } => {
                    calls -= 1;
                    Input::SponsorGone(SponsorGone { id, sponsor })
                }
                Request::Typing { user, channel } => Input::Typing(TypingCall { id, user, channel }),
            };
            self.guild.handle(now, input, &mut self.effects);
        }
        self.count_refused_for_room(before);
        self.around.counters.add(Counter::Calls, calls);
        let waited = u64::try_from(waited.as_micros()).unwrap_or(u64::MAX);
        self.around.counters.add(Counter::MailboxWaitMicros, waited);
    }

    /// Counts what the guild has refused for want of room, of the effects behind the first `before`.
    fn count_refused_for_room(&self, before: usize) {
        if self.guild.has_room() {
            return;
        }
        let refused = |effect: &&Effect| matches!(effect, Effect::Answer(_, Err(CommandError::StoreFull)));
        let refused = self.effects[before..].iter().filter(refused).count();
        self.around.counters.add(Counter::RefusedStoreFull, refused as u64);
    }

    fn control(&mut self, control: Control) {
        match control {
            Control::Settled(turn, stored) => {
                if let Err(error) = self.gate.settle(turn, stored) {
                    self.end(End::StoreFailed(error));
                }
            }
            Control::Fenced(error) => self.end(End::StoreFailed(error)),
            Control::Folded(folded) => {
                self.guild.handle(self.around.clock.now(), Input::FoldDone(*folded), &mut self.effects);
                // What came meanwhile may be due as well, and nothing else may come.
                self.guild.begin_fold_if_due(&mut self.effects);
            }
            Control::Scanned(scanned) => {
                self.guild.handle(self.around.clock.now(), Input::ScanDone(*scanned), &mut self.effects);
            }
            Control::CheckpointDone { stored } => self.checkpoint_done(stored),
            Control::GiveBack => {
                let evicted = self.ring.give_back();
                self.bury_events(evicted);
            }
            Control::JobPanicked(panic) => self.end(End::JobPanicked(panic)),
            Control::Tidy => self.tidying = true,
            Control::Sleep(bedtime) => self.become_drowsy(bedtime),
            Control::Stop(told) => self.stop(&told),
            Control::Leave if self.stopping == Stopping::Refusing => self.stopping = Stopping::Leaving,
            Control::Leave => {}
        }
    }

    /// The first reason stands.
    fn end(&mut self, end: End) {
        self.ended.get_or_insert(end);
    }

    /// Takes no requests any more. What was queued and not handled did not happen, and is told so.
    fn stop(&mut self, told: &NoReply) {
        for posted in self.live.mailbox.close() {
            posted.reply(Err(told.clone()));
        }
        if !self.is_stopping() {
            self.stopping = Stopping::Refusing;
        }
    }

    fn is_stopping(&self) -> bool {
        self.stopping != Stopping::No
    }

    /// Ends, with all that the guild is in the store: the next node has nothing to replay, and goes on at the same position. To be
    /// called when all that was accepted has been let out.
    fn leave(&mut self) {
        match self.stopping {
            // A last checkpoint is a fold first.
            Stopping::Leaving | Stopping::Saving if self.guild.is_folding() => {}
            Stopping::Leaving if !self.guild.is_checkpointed() => {
                self.stopping = Stopping::Saving;
                self.guild.checkpoint(&mut self.effects);
                self.admit();
                self.release();
            }
            // If the store has not taken it, the records are there all the same.
            Stopping::Leaving | Stopping::Saving => self.end(End::Stopped),
            Stopping::No | Stopping::Refusing => {}
        }
    }

    /// Hands the turn's effects to the gate, its records to the store and its jobs to workers.
    fn admit(&mut self) {
        if self.effects.is_empty() || self.ended.is_some() {
            return;
        }
        let view = self.guild.view();
        let admitted = self.gate.admit(&mut self.effects, view);
        if let Some((turn, records)) = admitted.append {
            self.store(turn, records);
        }
        if let Some(job) = admitted.fold {
            self.fold(job);
        }
        for job in admitted.scans {
            self.scan(job);
        }
        for garbage in admitted.discard {
            self.folded = true;
            self.around.offload.discard(garbage);
        }
    }

    fn scan(&self, job: ScanJob) {
        let live = Arc::clone(&self.live);
        self.around.offload.run(
            move || job.run(),
            move |scanned| {
                live.mailbox.post_control(match scanned {
                    Ok(scanned) => Control::Scanned(Box::new(scanned)),
                    Err(panic) => Control::JobPanicked(panic),
                });
            },
        );
    }

    fn fold(&self, job: FoldJob) {
        self.around.counters.bump(Counter::Folds);
        let live = Arc::clone(&self.live);
        self.around.offload.run(
            move || job.run(),
            move |folded| {
                live.mailbox.post_control(match folded {
                    Ok(folded) => Control::Folded(Box::new(folded)),
                    Err(panic) => Control::JobPanicked(panic),
                });
            },
        );
    }

    /// Performs what the gate lets out, in order.
    fn release(&mut self) {
        let (mut events, mut ephemerals) = (0, 0);
        let mut evicted = Evicted::default();
        while let Some(Outcomes { told, events: appended, view, answers, checkpoints }) = self.gate.release() {
            events += appended.len();
            for tell in told {
                ephemerals += usize::from(matches!(tell, Tell::Latest(_)));
                self.tell(tell);
            }
            for event in appended {
                self.ring.append_evicting(event, &mut evicted);
            }
            self.publish(view);
            // The last first: who waits for the oldest of many calls finds the others answered too when it is woken, and is woken once.
            for (call, answer) in answers.into_iter().rev() {
                self.calls.answer(call, answer.map_err(NoReply::Refused));
            }
            for checkpoint in checkpoints {
                self.checkpoint(checkpoint);
            }
        }
        self.bury_events(evicted);
        if self.folded && self.gate.is_empty() {
            // The old views may hold the base that a fold has replaced, however long this guild is idle now.
            self.folded = false;
            self.bury_views();
        }
        if events + ephemerals > 0 {
            self.around.counters.add(Counter::Events, events as u64);
            self.live.feed.tell();
            self.around.rings.note(&self.live, &mut self.listed);
        }
    }

    fn tell(&mut self, tell: Tell) {
        match tell {
            Tell::Latest(ephemeral) => {
                let pushed_out = self.told.put(ephemeral.subject(), ephemeral);
                self.around.counters.bump(Counter::EphemeralsTold);
                self.around.counters.add(Counter::EphemeralsPushedOut, pushed_out as u64);
            }
            Tell::Forget(user) => self.told.remove(&Subject::of_user(user), |subject| subject.user == user),
        }
    }

    /// Replaces the view. The old one is dropped here: what sets it apart from the next is what a turn has changed, less than it costs to
    /// have a worker begin. Unless it may be the last to hold a base that a fold has replaced: that is a worker's.
    fn publish(&mut self, view: Option<View>) {
        let old = self.live.view.swap(view.map(Arc::new));
        if self.folded {
            self.old_views.extend(old);
            if self.old_views.len() >= OLD_VIEWS_MAX {
                self.bury_views();
            }
        }
    }

    /// Has a worker drop what the ring has evicted, if that is not behind.
    fn bury_events(&self, evicted: Evicted<Arc<Event>>) {
        if !evicted.is_empty() && self.may_bury() {
            self.around.offload.discard((evicted, Arc::clone(&self.burial)));
        }
    }

    fn bury_views(&mut self) {
        self.around.offload.discard(take(&mut self.old_views));
    }

    /// Whether workers are not behind with what this guild's ring has them drop: so what waits beyond the ring's bounds is a few burials,
    /// however fast it lives and however little the workers come to run.
    fn may_bury(&self) -> bool {
        Arc::strong_count(&self.burial) <= BURIALS_MAX
    }
}

impl Owner {
    /// Ends: nobody is to wait for it in vain.
    fn leave_all(&mut self) {
        for posted in self.live.mailbox.close() {
            posted.reply(Err(NoReply::Unhandled));
        }
        let (guild, epoch, seq) = (self.live.guild, self.live.feed.epoch.0, self.guild.position().seq.0);
        // What was let out stays readable if the guild has to be brought back.
        let mut last = self.live.last();
        match &self.ended {
            Some(End::Stopped | End::NoGuild) => last = None,
            Some(End::Asleep) => {
                last = None;
                self.around.counters.bump(Counter::GuildsAsleep);
                tracing::info!(%guild, epoch, seq, "guild asleep");
            }
            Some(End::StoreFailed(error)) => {
                self.around.counters.bump(Counter::RetiredByStore);
                tracing::error!(%guild, epoch, seq, %error, "guild retired: its records were not stored");
            }
            Some(End::JobPanicked(panic)) => {
                self.around.counters.bump(Counter::RetiredByJob);
                tracing::error!(%guild, epoch, seq, %panic, "guild retired: a job of it panicked");
            }
            // A task that is dropped where it waits (its runtime shuts down) ends without a word too; that is no panic.
            None if std::thread::panicking() => {
                self.around.counters.bump(Counter::RetiredByOwner);
                tracing::error!(%guild, epoch, seq, "guild retired: its owner panicked");
            }
            None => last = None,
        }
        // Before the end is told: whoever hears that looks for the guild anew, and is not to find this owner.
        self.around.places.vacate(guild, &self.live, last);
        if let (Some(End::Asleep), Some(bedtime)) = (&self.ended, self.drowsy.take()) {
            bedtime.tell(Ok(()));
        }
        self.live.end();
        self.live.mailbox.end();
        if self.listed {
            self.around.rings.leave();
        }
        let empty = Guild::new(GuildConfig::default(), guild, self.live.feed.epoch);
        let state = std::mem::replace(&mut self.guild, empty);
        let held = (take(&mut self.effects), take(&mut self.gate), take(&mut self.checkpoints));
        self.around.offload.discard((state, held, take(&mut self.old_views)));
    }
}

/// Turns that wait for the store, at which batches of whole-guild changes pause, or half of those there may be: a call that comes meanwhile has no
/// more ahead. Fewer would leave the store idle between two batches.
const WORK_UNSETTLED_MAX: usize = 12;
/// How often an owner looks for room at the store that has an operation to carry on and none for it.
const ROOM_PAUSE: Duration = Duration::from_millis(100);
/// Inputs taken out of the mailbox at once; the clock is looked at between.
const CHUNK_INPUTS: usize = 32;
/// Such views that an owner holds before it sends them to a worker: one job for many.
const OLD_VIEWS_MAX: usize = 32;
/// Burials of one guild's events that wait for a worker.
const BURIALS_MAX: usize = 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_guild_takes_little_beside_its_members() {
        let (parked, live) = (size_of::<Parked>(), size_of::<Live>());
        assert!(parked <= 720 && live <= 344, "parked {parked}, live {live} bytes");
    }
}
