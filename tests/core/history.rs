//! One history: the owner, its relays and their sessions, step by step beside the model.

mod fan_out;
mod levels;
mod resume;
mod sessions;
mod told;

use std::collections::BTreeMap;
use std::sync::Arc;

use guildhall_guild::{Answer, CallId, CheckpointConfig, GuildConfig, Reply};
use guildhall_members::MembersConfig;
use guildhall_proto::{Actor, Command, Event, EventKind, Level, SessionId, Status};
use guildhall_ring::Reader;

use crate::backend::{Backend, Size};
use crate::listener::{Due, Listener, Stage};
use crate::model::{Hearing, Model, Passive, Scope, reach};
use crate::owner::{Made, Owner};
use crate::seen::Seen;
use crate::steps::{Dice, Step, Way, opening, user};

pub(crate) use told::Told;

pub(crate) struct History {
    owner: Owner,
    feed: Reader<Arc<Event>>,
    relays: Vec<Backend>,
    /// All sessions that ever were; those that hear nothing more stay to be looked up by number.
    listeners: Vec<Listener>,
    /// Calls of sessions whose answers are held: for which listener, and what of it they ask for; nothing for an attach.
    asked: BTreeMap<CallId, (usize, Option<Due>)>,
    relay_sizes: Vec<Size>,
    /// The guild before each event that was made.
    models: Vec<Model>,
    /// Milliseconds, as relays are told them.
    clock: u64,
    seen: Seen,
}

impl History {
    /// A history in a setting of its own: how large pages and rings are, how many relays there are, what the guild begins with.
    pub(crate) fn new(setting: u64) -> Self {
        let mut dice = Dice(setting);
        let members = MembersConfig {
            page_members: 2 + dice.below(4),
            fold_at: 1 + dice.below(8),
            inline_fold_members: dice.below(3) * 8,
        };
        let checkpoints = CheckpointConfig { changes_min: 5 + dice.below(60) as u64, ..CheckpointConfig::default() };
        let config = GuildConfig { members, checkpoints };
        let ring_entries = [6, 12, 15, 4_096][dice.below(4)];
        // Up to 15 entries a ring keeps exactly as many as it may: each lies in a chunk of its own.
        let relay_sizes: Vec<Size> = (0..2 - usize::from(dice.one_in(4))).map(|_| size(&mut dice)).collect();
        let mut opening = opening(setting.rotate_left(23)).into_iter();
        let create = opening.next().expect("every history begins with the guild's creation");
        let (mut owner, feed) = Owner::new(config, ring_entries, &create);
        owner.create(create);
        let (listeners, asked) = (Vec::new(), BTreeMap::new());
        let mut history = Self {
            owner,
            feed,
            relays: Vec::new(),
            listeners,
            asked,
            relay_sizes,
            models: Vec::new(),
            clock: 0,
            seen: Seen::default(),
        };
        for command in opening {
            history.command(Actor::System, command);
        }
        history.catch_up();
        for relay in 0..history.relay_sizes.len() {
            let backend = history.new_backend(relay).expect("the guild was just published");
            history.relays.push(backend);
        }
        for nth in 0..dice.below(9) {
            let way = if nth % 2 == 0 { Way::Stream } else { Way::Batch };
            let level = if dice.one_in(2) { Level::Active } else { Level::Passive };
            let hearing = Hearing { level, status: Status::Online };
            history.ask_attach(user(dice.below(8)), hearing, nth / 2, way, dice.one_in(3));
        }
        history.catch_up();
        while history.deliver(0) {}
        history
    }

    /// Lives through the steps, then to where everybody has heard everything; returns what happened.
    pub(crate) fn run(mut self, words: &[u64]) -> Seen {
        for word in words {
            self.step(Step::of(*word));
            self.check(*word);
        }
        self.drain();
        self.seen.steps += words.len() as u64;
        self.seen.events += self.owner.events.len() as u64;
        self.seen
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Command(actor, command) => {
                self.command(actor, command);
                // Every other turn holds one command alone.
                if self.owner.now.0.is_multiple_of(2) {
                    self.end_turn();
                }
            }
            Step::PublishFrom { nth, mut publish } => {
                let sessions = &self.owner.model.sessions;
                if let Some((session, (user, _))) = pick(sessions.iter(), nth) {
                    let user = *user;
                    publish.session = Some(*session);
                    self.command(Actor::User(user), Command::Publish(publish));
                    self.end_turn();
                }
            }
            Step::Proceed => self.proceed(),
            Step::Retry(nth) => self.owner.retry(nth, &mut self.seen),
            Step::Attach { user, hearing, relay, way, members } => self.ask_attach(user, hearing, relay, way, members),
            Step::Cut { nth } => self.cut(nth),
            Step::Resume { nth, hearing, relay, way, twice } => {
                self.ask_resume(nth, hearing, relay % self.relays.len(), way, twice);
            }
            Step::SetStatus { nth, status } => self.set_status(nth, status),
            Step::SetLevel { nth, level } => self.set_level(nth, level),
            Step::Detach { nth } => self.ask_detach(nth),
            Step::DetachUnknown => self.detach_unknown(),
            Step::EndTurn => self.end_turn(),
            Step::Settle { nth } => {
                self.owner.settle(nth, &mut self.seen);
                self.release();
            }
            Step::Recover { turns, nth } => {
                self.owner.recover(turns, nth, nth as u64, &mut self.seen);
            }
            Step::Fold => self.owner.finish_fold(&mut self.seen),
            Step::Deliver { nth } => {
                self.deliver(nth);
            }
            Step::Apply { relay, events } => self.apply(relay % self.relays.len(), events),
            Step::Type { user, channel } => self.type_in(user, channel),
            Step::Tell { relay, max } => self.tell(relay % self.relays.len(), max),
            Step::Tick { relay, ms } => {
                self.clock += ms;
                self.tick(relay % self.relays.len());
            }
            Step::Squeeze { relay: None, is_squeezed } => self.owner.squeeze(is_squeezed),
            Step::Squeeze { relay: Some(relay), is_squeezed } => {
                let relay = relay % self.relays.len();
                self.relays[relay].squeeze(is_squeezed);
            }
            Step::Resync { relay } => self.resync(relay % self.relays.len()),
            Step::Replace { relay } => self.replace(relay % self.relays.len()),
            Step::Read { nth, max, waits } => self.read_nth(nth, max, waits),
            Step::ReadBatch { relay, fills, max } => self.read_batch(relay % self.relays.len(), fills, max),
        }
    }

    /// What holds after every step: the guild is the model, and the relays count the sessions that there are.
    fn check(&mut self, word: u64) {
        self.owner.check(word);
        for (relay, backend) in self.relays.iter().enumerate().filter(|(_, backend)| !backend.is_lost) {
            let own = || self.listeners.iter().filter(move |listener| listener.is_alive_at(relay));
            let batch = own().filter(|listener| listener.way == Way::Batch);
            let waiting = own().filter(|listener| listener.waits && listener.has_joined(backend.places.position));
            assert_eq!(backend.relay.sessions(), own().count());
            assert_eq!(backend.relay.batch_sessions(), batch.count());
            assert_eq!(backend.relay.waiting(), waiting.count());
            assert_eq!(backend.relay.unread_due().map(|due| due.0), self.unread_due(relay));
        }
    }

    fn command(&mut self, actor: Actor, command: Command) {
        if matches!(command, Command::PruneMembers(_) | Command::ImportMembers(_)) {
            self.proceed();
        }
        let made = self.owner.command(actor, command, &mut self.seen);
        self.made(made);
    }

    /// The owner carries on with what it has begun.
    fn proceed(&mut self) {
        let made = self.owner.proceed_with_work(&mut self.seen);
        self.made(made);
    }

    /// Notes for whom an event is, if one was made.
    fn made(&mut self, made: Option<Made>) {
        let Some(made) = made else {
            return;
        };
        let after = &self.owner.model;
        let event = &self.owner.events[made.seq as usize - 1].kind;
        self.seen.roles_deleted += u64::from(matches!(event, EventKind::RoleDeleted { .. }));
        self.seen.guilds_deleted += u64::from(matches!(event, EventKind::GuildDeleted));
        for listener in self.listeners.iter_mut().filter(|listener| listener.stage != Stage::Over) {
            note(&made, after, event, listener, &self.owner.events, &mut self.seen);
            let reach = reach(&made.before, after, &made.scope, listener.ear);
            if reach.active || reach.passive != Passive::Never {
                listener.chances.push((made.seq, reach));
            }
        }
        self.models.push(made.before);
    }

    fn end_turn(&mut self) {
        self.seen.checkpoints += self.owner.checkpoints() as u64;
        self.owner.end_turn(&mut self.seen);
        self.release();
        while self.owner.turns_held() > TURNS_HELD_MAX {
            self.owner.settle(0, &mut self.seen);
            self.release();
        }
    }

    fn release(&mut self) {
        for (call, answer) in self.owner.release() {
            if let Some((at, asked)) = self.asked.remove(&call) {
                self.answered(at, asked, answer);
            }
        }
    }

    /// The owner's answer to what a session has asked has left.
    fn answered(&mut self, at: usize, asked: Option<Due>, answer: Answer) {
        let listener = &mut self.listeners[at];
        match answer {
            Ok(Reply::Attached(attached)) if listener.stage == Stage::Asked => {
                assert_eq!(attached.at.seq.0, listener.accepted);
                listener.member = Some(attached.member);
                listener.generation = attached.generation;
                listener.stage = Stage::Accepted;
                if let Some(back) = &mut listener.back {
                    back.deleted_roles = attached.deleted_roles;
                    back.deletions_unknown_to = attached.deletions_unknown_to;
                    // What it asked before it was cut off is in what it comes back with.
                    listener.due.clear();
                }
            }
            Ok(Reply::Accepted(position)) => {
                let due = asked.expect("an attach is not just accepted");
                listener.due.push_back((position.seq.0, due));
            }
            // Its relay was replaced meanwhile.
            Ok(Reply::Attached(_)) => {}
            other => panic!("{other:?} is no answer to an accepted request"),
        }
    }

    /// Ends the turn and lets everything out.
    fn catch_up(&mut self) {
        self.end_turn();
        while self.owner.turns_held() > 0 {
            self.owner.settle(0, &mut self.seen);
            self.release();
        }
    }

    fn drain(&mut self) {
        self.proceed();
        self.owner.finish_fold(&mut self.seen);
        self.catch_up();
        for relay in 0..self.relays.len() {
            self.apply(relay, usize::MAX);
        }
        // An attach that came too late is asked for anew.
        for _ in 0..2 {
            while self.deliver(0) {}
            self.catch_up();
        }
        while self.deliver(0) {}
        self.clock += 5_000;
        for relay in 0..self.relays.len() {
            self.tick(relay);
            self.tell(relay, usize::MAX);
            self.drain_batch(relay);
        }
        for at in 0..self.listeners.len() {
            while self.read(at, 3, true) {}
            let listener = &mut self.listeners[at];
            if listener.stage == Stage::Served {
                assert!(listener.end.is_none(), "{listener:?} was never told its end");
                listener.must_have_heard(self.relays[listener.relay].places.position);
            }
        }
    }

    fn new_backend(&self, relay: usize) -> Option<Backend> {
        let (view, _) = self.owner.published.as_ref()?;
        let (view, size) = (view.as_ref()?, self.relay_sizes[relay]);
        let through = usize::try_from(view.position().seq.0).unwrap();
        let first = if size.has_past { self.owner.kept.first().min(through) } else { through };
        Some(Backend::new(view, &self.owner.events[first..through], self.owner.told_count, size))
    }

    fn listener_of(&self, session: SessionId) -> Option<usize> {
        let is_current = |listener: &Listener| listener.ear.session == session && listener.stage != Stage::Over;
        self.listeners.iter().rposition(is_current)
    }
}

/// Counts what an event means to one who listens.
fn note(
    made: &Made,
    after: &Model,
    event: &EventKind,
    listener: &mut Listener,
    events: &[Arc<Event>],
    seen: &mut Seen,
) {
    let (before, user) = (&made.before, listener.ear.user);
    let Some(member) = before.members.get(&user) else {
        return;
    };
    match (event, &made.scope) {
        (EventKind::MessagePublished(message), Scope::Message { channel, except, .. }) => {
            seen.messages_hidden += u64::from(!after.sees(user, *channel));
            seen.echoes_withheld += u64::from(*except == Some(listener.ear.session) && !message.echo);
            return;
        }
        (EventKind::RoleDeleted { role, .. }, _) => {
            let is_held = member.roles.contains(&role.id);
            seen.roles_deleted_from_listeners += u64::from(is_held);
            if is_held {
                listener.lost_roles.push(made.seq);
            }
        }
        (EventKind::MemberUpdated { after, .. }, _) => {
            seen.cohort_changes += u64::from(after.user == user && after.roles != member.roles);
        }
        _ => {}
    }
    let is_outstanding = |channel| {
        let mut outstanding = listener.outstanding().map(|seq| &events[seq as usize - 1].kind);
        outstanding.any(|event| matches!(event, EventKind::MessagePublished(message) if message.channel == channel))
    };
    let mut channels = before.channels.keys().copied();
    let is_revoked =
        channels.any(|channel| before.sees(user, channel) && !after.sees(user, channel) && is_outstanding(channel));
    seen.revoked_while_lagging += u64::from(is_revoked);
}

/// How much a relay holds.
fn size(dice: &mut Dice) -> Size {
    Size {
        entries_max: [3, 6, 12, 4_096][dice.below(4)],
        slow_max: [2, 6, 12, 4_096][dice.below(4)],
        pending_max: [1, 3, 64, 64][dice.below(4)],
        has_past: !dice.one_in(4),
    }
}

/// The `nth` of what there is, counted round.
fn pick<T>(mut all: impl ExactSizeIterator<Item = T>, nth: usize) -> Option<T> {
    let at = nth.checked_rem(all.len())?;
    all.nth(at)
}

/// Turns that wait for the store before the shell takes no more inputs.
const TURNS_HELD_MAX: usize = 6;
