//! What a seat asks of its guild's owner, one thing after the other, and its place at the relay.
//!
//! Each request may be asked again and comes to the same, but for a coming back: once its answer is lost, nobody knows as which the owner
//! holds the session, and it is given up.

use std::collections::VecDeque;
use std::time::Duration;

use guildhall_cluster::{GaveUp, Repeat};
use guildhall_guild::{Attached, Reply, SessionRequest};
use guildhall_proto::{CommandError, Generation, GuildId, Level, Member, Millis, Position, SessionId, Status, UserId};
use guildhall_relay::{Attach, AttachError, Claims, Gap, ListenError, Resume, ResumeError, SessionKey, Stream};

use super::{Holding, Seat, World};
use crate::check::{Begin, Breach, EarId};
use crate::queue::Micros;
use crate::workload::{KnownSession, KnownStage, Pace, Way};
use crate::world::client::{Ended, Terms, Whose};
use crate::world::message::{Answered, Ask, Happening};
use crate::world::wire::Host;

/// One thing that a seat is to do.
#[derive(Debug, Clone)]
pub(crate) enum Errand {
    /// To be accepted by the owner.
    Attach,
    /// To be accepted as one who comes back.
    Resume {
        generation: Generation,
        known: Position,
    },
    /// To be placed at the relay, as it was accepted.
    Place {
        attached: Box<Attached>,
        known: Option<Position>,
        tries: u32,
    },
    /// To be known to a new owner.
    Reattach,
    SetLevel(Level),
    SetStatus(Status),
    /// To be detached; what is to be done with it afterwards is nothing.
    Leave,
}

/// A session that is to listen.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Coming {
    pub(crate) session: SessionId,
    pub(crate) guild: GuildId,
    pub(crate) user: UserId,
    pub(crate) way: Way,
    pub(crate) members: bool,
    pub(crate) level: Level,
    pub(crate) status: Status,
}

impl World {
    /// A session takes a seat, to do something first.
    pub(in crate::world) fn take_seat(
        &mut self,
        backend: usize,
        coming: Coming,
        first: Errand,
        generation: Option<Generation>,
    ) -> Result<(), Breach> {
        let seat = self.put_seat(backend, coming, first, generation)?;
        self.is_seat_of(backend, seat);
        self.errand(backend, seat)
    }

    /// Puts a seat for a session that may have another.
    pub(in crate::world) fn put_seat(
        &mut self,
        backend: usize,
        coming: Coming,
        first: Errand,
        generation: Option<Generation>,
    ) -> Result<EarId, Breach> {
        self.named += 1;
        let seat = EarId(self.named);
        let Coming { session, guild, user, way, members, level, status } = coming;
        self.open_relay(backend, guild)?;
        let held = Seat {
            session,
            guild,
            user,
            way,
            members,
            level,
            status,
            pace: Pace::Fast,
            generation,
            joined_at: Millis::default(),
            known_again: None,
            key: None,
            stream: None,
            is_heard: true,
            is_cut: false,
            is_leaving: matches!(first, Errand::Leave),
            is_called: false,
            todo: VecDeque::from([first]),
            asked: None,
        };
        self.backends[backend].seats.insert(seat, held);
        Ok(seat)
    }

    /// A seat is the one where its session is from now on.
    fn is_seat_of(&mut self, backend: usize, seat: EarId) {
        let Some(held) = self.backends[backend].seats.get(&seat) else { return };
        let Seat { session, guild, user, way, members, level, status, .. } = *held;
        let holding = self.holdings.entry(session).or_insert_with(|| Holding {
            seat,
            secret: None,
            secret_before: None,
            known: Position::default(),
            members,
            cuts: 0,
            generation: None,
        });
        holding.seat = seat;
        let stage = KnownStage::Coming;
        let known = KnownSession { guild, user, backend, way, level, status, pace: Pace::Fast, stage };
        self.sessions.insert(session, known);
    }

    /// A seat is to do something more.
    pub(in crate::world) fn ask_seat(&mut self, backend: usize, seat: EarId, errand: Errand) -> Result<(), Breach> {
        if let Some(held) = self.backends[backend].seats.get_mut(&seat) {
            held.todo.push_back(errand);
        }
        self.errand(backend, seat)
    }

    /// A seat does what is next.
    pub(in crate::world) fn errand(&mut self, backend: usize, seat: EarId) -> Result<(), Breach> {
        let Some(held) = self.backends[backend].seats.get_mut(&seat).filter(|held| held.asked.is_none()) else {
            return Ok(());
        };
        let Some(next) = held.todo.front() else { return Ok(()) };
        let Seat { session, guild, user, status, generation, .. } = *held;
        let generation = generation.unwrap_or_default();
        let request = match next {
            Errand::Attach => SessionRequest::Attach { user, status },
            Errand::Resume { generation, known } => {
                SessionRequest::Resume { user, status, generation: *generation, known: *known }
            }
            Errand::Place { .. } => return self.place(backend, seat),
            Errand::Reattach => SessionRequest::Reattach { user, status, generation },
            Errand::SetLevel(level) => SessionRequest::SetLevel { user, level: *level, generation },
            Errand::SetStatus(status) => SessionRequest::SetStatus { user, status: *status, generation },
            Errand::Leave if held.generation.is_some() => SessionRequest::Release { user, generation },
            Errand::Leave => SessionRequest::Detach { user },
        };
        // Repeating it does no harm, but whether it may have come through must be told. A second coming back is refused.
        let is_again = matches!(next, Errand::Resume { .. });
        let repeat = if is_again { Repeat::Never } else { Repeat::ById };
        self.named += 1;
        let call = self.named;
        held.asked = Some(call);
        let terms = Terms { guild, repeat, within: ASKED_WITHIN };
        self.begin_call(Host::Backend(backend), call, terms, Ask::Session { session, request }, Whose::Seat(seat))
    }

    fn errand_later(&mut self, backend: usize, seat: EarId) {
        let pause = self.wire.between(Micros::millis(2), Micros::millis(80));
        self.wire.later(pause, Happening::Errand { backend, seat });
    }

    /// What a seat asked for came to.
    pub(in crate::world) fn seat_told(&mut self, seat: EarId, ended: Ended) -> Result<(), Breach> {
        let Ended { client: Host::Backend(backend), call, came, .. } = ended else {
            unreachable!("seats are at backends")
        };
        let Some(held) = self.backends[backend].seats.get_mut(&seat).filter(|held| held.asked == Some(call)) else {
            return Ok(());
        };
        held.asked = None;
        let answer = match came {
            Ok((Answered::Reply(answer), _)) => answer,
            Ok((Answered::Opened { .. } | Answered::Continued, _)) => unreachable!("no seat asks for a feed"),
            Err(why) => {
                if why == GaveUp::OutcomeUnknown && matches!(held.todo.front(), Some(Errand::Resume { .. })) {
                    // It may have come back, as a generation that nobody knows.
                    held.todo = VecDeque::from([Errand::Leave]);
                    held.is_leaving = true;
                    self.watch.seen.resume_refused += 1;
                }
                self.errand_later(backend, seat);
                return Ok(());
            }
        };
        let Some(done) = held.todo.pop_front() else { return Ok(()) };
        match answer {
            Ok(reply) => self.granted(backend, seat, done, reply)?,
            Err(refusal) => self.refused(backend, seat, &done, &refusal)?,
        }
        self.errand(backend, seat)
    }

    fn granted(&mut self, backend: usize, seat: EarId, done: Errand, reply: Reply) -> Result<(), Breach> {
        match (done, reply) {
            (Errand::Attach, Reply::Attached(attached)) => {
                let known = self.backends[backend].seats.get(&seat).and_then(|held| held.known_again);
                self.is_accepted(backend, seat, *attached, known)
            }
            (Errand::Resume { known, .. }, Reply::Attached(attached)) => {
                let session = self.backends[backend].seats.get(&seat).map(|held| held.session);
                let holds = |held: &Seat| Some(held.session) == session && held.key.is_some();
                let others = self.backends.iter().enumerate().filter(|(other, _)| *other != backend);
                let is_twice = others.flat_map(|(_, other)| other.seats.values()).any(holds);
                self.watch.seen.held_twice += u64::from(is_twice);
                self.is_seat_of(backend, seat);
                self.supersede_others(backend, seat)?;
                self.is_accepted(backend, seat, *attached, Some(known))
            }
            (Errand::SetLevel(level), Reply::Accepted(at)) => self.level_set(backend, seat, level, at),
            (Errand::SetStatus(status), Reply::Accepted(at)) => self.status_set(backend, seat, status, at),
            (Errand::Leave, Reply::Accepted(at)) => self.left(backend, seat, Some(at)),
            (Errand::Reattach, Reply::Accepted(_)) => Ok(()),
            (done, reply) => unreachable!("{reply:?} is no answer to {done:?}"),
        }
    }

    fn is_accepted(
        &mut self,
        backend: usize,
        seat: EarId,
        attached: Attached,
        known: Option<Position>,
    ) -> Result<(), Breach> {
        if let Some(held) = self.backends[backend].seats.get_mut(&seat) {
            held.generation = Some(attached.generation);
            held.todo.push_front(Errand::Place { attached: Box::new(attached), known, tries: 0 });
        }
        Ok(())
    }

    fn refused(&mut self, backend: usize, seat: EarId, done: &Errand, refusal: &CommandError) -> Result<(), Breach> {
        match done {
            Errand::Attach => self.seat_over(backend, seat),
            Errand::Resume { .. } => {
                self.watch.seen.resume_refused += 1;
                self.seat_over(backend, seat)
            }
            Errand::Leave => self.left(backend, seat, None),
            Errand::Reattach | Errand::SetLevel(_) | Errand::SetStatus(_)
                if matches!(refusal, CommandError::SessionSuperseded { .. }) =>
            {
                self.supersede(backend, seat)
            }
            Errand::Reattach | Errand::SetLevel(_) | Errand::SetStatus(_) | Errand::Place { .. } => Ok(()),
        }
    }

    /// A session has come back here: whatever else has it here ends.
    fn supersede_others(&mut self, backend: usize, seat: EarId) -> Result<(), Breach> {
        let Some(session) = self.backends[backend].seats.get(&seat).map(|held| held.session) else { return Ok(()) };
        let others = self.backends[backend].seats.iter();
        let others = others.filter(|(other, held)| **other != seat && held.session == session);
        let others: Vec<EarId> = others.map(|(other, _)| *other).collect();
        others.into_iter().try_for_each(|other| self.supersede(backend, other))
    }

    /// A session goes on elsewhere: here it is over.
    fn supersede(&mut self, backend: usize, seat: EarId) -> Result<(), Breach> {
        self.watch.seen.superseded += 1;
        let Some(held) = self.backends[backend].seats.get_mut(&seat) else { return Ok(()) };
        held.todo.clear();
        held.is_leaving = true;
        let (guild, key) = (held.guild, held.key);
        let host = self.backends[backend].relays.get_mut(&guild);
        let (Some(key), Some(host)) = (key, host) else { return self.seat_over(backend, seat) };
        let at = host.at;
        let Some(core) = &mut host.core else { return self.seat_over(backend, seat) };
        let mut woken = Vec::new();
        let position = core.relay.position();
        let superseded = core.relay.supersede(key, &mut woken);
        let is_heard = self.backends[backend].seats.get(&seat).is_some_and(|held| held.is_heard);
        match superseded {
            Ok(()) if is_heard => {
                self.watch.ears.detached(seat, position);
                self.call_reader(backend, seat);
            }
            Ok(()) | Err(_) => self.seat_over(backend, seat)?,
        }
        self.wake(at, &woken);
        Ok(())
    }

    /// A seat is placed at its relay, if there is room, and if the relay has come so far.
    fn place(&mut self, backend: usize, seat: EarId) -> Result<(), Breach> {
        let Some(held) = self.backends[backend].seats.get(&seat) else { return Ok(()) };
        let Some(Errand::Place { attached, known, tries }) = held.todo.front().cloned() else { return Ok(()) };
        let Seat { session, guild, user, way, members, level, status, is_cut, .. } = *held;
        if is_cut {
            return self.pass_by(backend, seat);
        }
        let Some(host) = self.backends[backend].relays.get_mut(&guild) else { return Ok(()) };
        if host.is_over {
            if let Some(held) = self.backends[backend].seats.get_mut(&seat) {
                held.todo = VecDeque::from([Errand::Leave]);
                held.is_leaving = true;
            }
            return self.errand(backend, seat);
        }
        // It is placed when there is a relay.
        let Some(core) = &mut host.core else { return Ok(()) };
        let Attached { at, member, deleted_roles, deletions_unknown_to, .. } = &*attached;
        let attach = Attach { session, accepted: *at, user, roles: &member.roles, members, level, status };
        let relay_at = core.relay.position();
        let placed: Result<(SessionKey, Option<Stream>, Option<Gap>), ResumeError> = match (known, way) {
            (None, Way::Stream) => {
                core.relay.attach_stream(attach).map(|stream| (stream.key(), Some(stream), None)).map_err(Into::into)
            }
            (None, Way::Batch) => {
                core.relay.attach_batch(attach, seat.0).map(|key| (key, None, None)).map_err(Into::into)
            }
            (Some(known), way) => {
                let deletions_unknown_to = *deletions_unknown_to;
                let resume = Resume { attach, known, deleted_roles, deletions_unknown_to };
                match way {
                    Way::Stream => {
                        core.relay.resume_stream(resume).map(|(stream, gap)| (stream.key(), Some(stream), gap))
                    }
                    Way::Batch => core.relay.resume_batch(resume, seat.0).map(|(key, gap)| (key, None, gap)),
                }
            }
        };
        self.watch.seen.pending_full +=
            u64::from(matches!(placed, Err(ResumeError::Attach(AttachError::PendingFull { .. }))));
        match placed {
            Ok((key, stream, gap)) => {
                host.keys.insert(key, seat);
                self.is_placed(backend, seat, attached.member, key, stream)?;
                let again = known.is_some();
                self.watch.seen.attached += u64::from(!again);
                self.watch.seen.resumed += u64::from(again);
                self.watch.seen.resumed_with_gap += u64::from(gap.is_some());
                let (accepted, after) = (attached.at, known.unwrap_or(attached.at));
                let begin =
                    Begin { guild, session, user, members, level, status, way, after, accepted, relay_at, again, gap };
                self.watch.begins(seat, begin)?;
                self.call_reader(backend, seat);
                let at = self.backends[backend].relays[&guild].at;
                self.check_relay(at)?;
                self.call_batch(at);
                self.errand(backend, seat)
            }
            Err(ResumeError::Attach(AttachError::TooOld { .. })) => {
                // The relay has moved on since: the owner tells a newer position.
                if let Some(held) = self.backends[backend].seats.get_mut(&seat) {
                    held.todo[0] = Errand::Attach;
                    held.known_again = known;
                }
                self.errand(backend, seat)
            }
            Err(_) if tries < PLACINGS_MAX => {
                if let Some(held) = self.backends[backend].seats.get_mut(&seat) {
                    held.todo[0] = Errand::Place { attached, known, tries: tries + 1 };
                }
                self.errand_later(backend, seat);
                Ok(())
            }
            Err(_) => {
                if let Some(held) = self.backends[backend].seats.get_mut(&seat) {
                    held.todo = VecDeque::from([Errand::Leave]);
                    held.is_leaving = true;
                }
                self.errand(backend, seat)
            }
        }
    }

    /// What a seat was to do next is not to be done any more.
    fn pass_by(&mut self, backend: usize, seat: EarId) -> Result<(), Breach> {
        if let Some(held) = self.backends[backend].seats.get_mut(&seat) {
            held.todo.pop_front();
        }
        self.errand(backend, seat)
    }

    fn is_placed(
        &mut self,
        backend: usize,
        seat: EarId,
        member: Member,
        key: SessionKey,
        stream: Option<Stream>,
    ) -> Result<(), Breach> {
        let Some(held) = self.backends[backend].seats.get_mut(&seat) else { return Ok(()) };
        held.todo.pop_front();
        (held.key, held.stream, held.joined_at) = (Some(key), stream, member.joined_at);
        let Seat { session, guild, user, generation, .. } = *held;
        let generation = generation.unwrap_or_default();
        let expires_at = self.wire.clock().plus(Duration::from_secs(24 * 60 * 60));
        let secret = self.keys.sign(&Claims { guild, session, user, generation, expires_at });
        if let Some(holding) = self.holdings.get_mut(&session).filter(|holding| holding.seat == seat) {
            holding.secret_before = holding.secret.replace(secret);
            holding.generation = Some(generation);
        }
        self.note_stage(session, seat, KnownStage::Served);
        Ok(())
    }

    fn level_set(&mut self, backend: usize, seat: EarId, level: Level, at: Position) -> Result<(), Breach> {
        let Some(held) = self.backends[backend].seats.get_mut(&seat).filter(|held| !held.is_cut) else { return Ok(()) };
        let (guild, pace) = (held.guild, held.pace);
        let (Some(key), mut stream) = (held.key, held.stream.take()) else { return Ok(()) };
        let Some(host) = self.backends[backend].relays.get_mut(&guild) else { return Ok(()) };
        let Some(core) = &mut host.core else { return Ok(()) };
        let mut woken = Vec::new();
        let from = match &mut stream {
            Some(stream) => core.relay.set_level(stream, level, at, &mut woken),
            None => core.relay.set_level_batch(key, level, at),
        };
        let relay = host.at;
        if let Some(held) = self.backends[backend].seats.get_mut(&seat) {
            held.stream = stream;
        }
        match from {
            Ok(from) => {
                self.watch.seen.level_changes += 1;
                self.watch.seen.level_changes_under_lag += u64::from(pace != Pace::Fast);
                if let Some(held) = self.backends[backend].seats.get_mut(&seat) {
                    held.level = level;
                    let session = held.session;
                    if let Some(known) = self.sessions.get_mut(&session) {
                        known.level = level;
                    }
                }
                let annals = self.watch.ledger.chronicle.annals(guild);
                self.watch.ears.level(annals, seat, level, at, from)?;
                self.check_relay(relay)?;
                self.wake(relay, &woken);
            }
            // The relay has moved on since: the owner tells a newer position.
            Err(ListenError::TooOld { .. }) => {
                if let Some(held) = self.backends[backend].seats.get_mut(&seat) {
                    held.todo.push_front(Errand::SetLevel(level));
                }
            }
            Err(ListenError::PendingFull { .. }) => self.watch.seen.pending_full += 1,
            Err(ListenError::Unknown(_) | ListenError::Switching { .. }) => {}
        }
        Ok(())
    }

    fn status_set(&mut self, backend: usize, seat: EarId, status: Status, at: Position) -> Result<(), Breach> {
        let Some(held) = self.backends[backend].seats.get_mut(&seat).filter(|held| !held.is_cut) else { return Ok(()) };
        held.status = status;
        let (guild, session, Some(key)) = (held.guild, held.session, held.key) else { return Ok(()) };
        if let Some(known) = self.sessions.get_mut(&session) {
            known.status = status;
        }
        let Some(host) = self.backends[backend].relays.get_mut(&guild) else { return Ok(()) };
        let (relay, Some(core)) = (host.at, &mut host.core) else { return Ok(()) };
        match core.relay.set_status(key, status, at) {
            Ok(from) => {
                let annals = self.watch.ledger.chronicle.annals(guild);
                self.watch.ears.status(annals, seat, status, at, from)?;
                self.check_relay(relay)
            }
            Err(ListenError::PendingFull { .. }) => {
                self.watch.seen.pending_full += 1;
                Ok(())
            }
            Err(ListenError::TooOld { .. } | ListenError::Unknown(_) | ListenError::Switching { .. }) => Ok(()),
        }
    }

    /// A session is detached at the owner, or is not known there: it ends here too.
    fn left(&mut self, backend: usize, seat: EarId, at: Option<Position>) -> Result<(), Breach> {
        let Some(held) = self.backends[backend].seats.get_mut(&seat) else { return Ok(()) };
        held.todo.clear();
        let guild = held.guild;
        let (Some(key), false) = (held.key, held.is_cut) else {
            return self.seat_over(backend, seat);
        };
        let Some(host) = self.backends[backend].relays.get_mut(&guild) else { return Ok(()) };
        let relay = host.at;
        let Some(core) = &mut host.core else { return Ok(()) };
        let at = at.unwrap_or_else(|| core.relay.position());
        let mut woken = Vec::new();
        if core.relay.detach(key, at, &mut woken).is_ok() {
            self.watch.ears.detached(seat, at);
        }
        self.wake(relay, &woken);
        self.call_reader(backend, seat);
        Ok(())
    }

    /// A session is to be detached.
    pub(in crate::world) fn seat_leaves(&mut self, backend: usize, seat: EarId) -> Result<(), Breach> {
        if let Some(held) = self.backends[backend].seats.get_mut(&seat).filter(|held| !held.is_leaving) {
            held.is_leaving = true;
            held.todo.push_back(Errand::Leave);
        }
        self.errand(backend, seat)
    }

    /// Nobody hears what a session is given any more; its backend does not know.
    pub(in crate::world) fn stop_hearing(&mut self, backend: usize, seat: EarId) {
        if let Some(held) = self.backends[backend].seats.get_mut(&seat)
            && std::mem::take(&mut held.is_heard)
        {
            self.watch.ears.cut(seat);
        }
    }

    /// It is noticed that a session's connection broke: its place at the relay is free, its seat is kept.
    pub(in crate::world) fn cut_seat(&mut self, backend: usize, seat: EarId) {
        let Some(held) = self.backends[backend].seats.get_mut(&seat).filter(|held| !held.is_cut) else { return };
        let (guild, key) = (held.guild, held.key.take());
        (held.is_cut, held.stream, held.is_called) = (true, None, false);
        if std::mem::take(&mut held.is_heard) {
            self.watch.ears.cut(seat);
        }
        // Of what it was about to ask, nothing matters any more but its end.
        let asks = if held.asked.is_some() { held.todo.pop_front() } else { None };
        let was_leaving = held.todo.iter().any(|errand| matches!(errand, Errand::Leave));
        held.todo = asks.into_iter().collect();
        if was_leaving || key.is_none() && !held.is_leaving {
            held.todo.push_back(Errand::Leave);
        }
        let Some(host) = self.backends[backend].relays.get_mut(&guild) else { return };
        let at = host.at;
        if let (Some(key), Some(core)) = (key, &mut host.core) {
            host.keys.remove(&key);
            let position = core.relay.position();
            let mut woken = Vec::new();
            // It may have ended by itself.
            if core.relay.detach(key, position, &mut woken).is_ok() {
                self.wake(at, &woken);
            }
        }
        self.errand_later(backend, seat);
    }
}

impl Seat {
    pub(in crate::world) fn is_heard(&self) -> bool {
        self.is_heard
    }

    pub(in crate::world) fn session(&self) -> SessionId {
        self.session
    }
}

/// How long a seat waits for an answer before it asks anew.
const ASKED_WITHIN: Micros = Micros::seconds(5);
/// How often a session tries to be placed at a relay that is full, or lags.
const PLACINGS_MAX: u32 = 60;
