//! The sessions of one relay as they are to be at the guild's owner, whoever that is.
//!
//! An owner forgets its sessions when it ends, or when their backend was away from it for too long; what is kept here is told to the next one, or to it
//! again. One errand at a time tells an owner of a
//! session, and goes on until it has told what is kept: so a detach or a change of status that meets a change of owners is not undone
//! by it. A session whose connection broke keeps its seat until it comes back, or its time is over; a new owner is not told of it, for it
//! may have come back elsewhere, or ended, without this backend's knowing.
//!
//! Invariants:
//! - a session's id names at most one seat, from before its attach is asked for until its detach is known to have come last;
//! - only the latest [`Tenure`] of a seat changes it;
//! - a seat that an errand is telling of stays until that errand is done.

use std::convert::Infallible;
use std::mem::{replace, take};
use std::num::NonZeroU64;

use guildhall_index::{Row, Table};
use guildhall_proto::{Generation, Millis, SessionId, SessionRequest, Status, UserId};
use guildhall_relay::SessionKey;
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::cuts::Cuts;
use crate::seat::Held;

#[derive(Debug, Default)]
pub(crate) struct Seats {
    seats: Table<Seat, 1>,
    /// Of the sessions whose connection broke.
    cuts: Cuts,
    tenures: u64,
}

/// What becomes of a session whose connection broke.
#[derive(Debug)]
pub(crate) struct WasCut {
    /// Under which the relay has it.
    pub(crate) key: Option<SessionKey>,
    /// If nobody waits for the end of their times: ends once none is left that may come back.
    pub(crate) none_left: Option<oneshot::Receiver<Infallible>>,
}

/// Which of the sessions whose connection broke is to be given up next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum GiveUp {
    /// This one: its time is over.
    Now(Held),
    /// None before then.
    At(Instant),
    /// There is none.
    Nobody,
}

/// One time that a seat is held: from an attach, or a coming back, until another takes it over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tenure(u64);

/// As which an owner knows a session, if it has said so: owners number generations from one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Known(Option<NonZeroU64>);

/// 64 bytes: there is one for each session.
#[derive(Debug)]
struct Seat {
    session: SessionId,
    tenure: Tenure,
    user: UserId,
    status: Status,
    known: Known,
    /// Whether a new owner has come before that.
    untold: bool,
    /// `None` until the relay has it.
    key: Option<SessionKey>,
    /// When its member had joined, as of its attach.
    joined_at: Millis,
    stage: Stage,
    /// Whether an errand tells the owner of it.
    telling: bool,
    /// Whether there is another owner to be told since that errand began.
    again: bool,
    /// Whether an owner has been told of it beside its own requests: one may know it then that has not ended it.
    retold: bool,
    /// Whether an owner was told that it leaves, by an errand.
    told_leaving: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Attached,
    /// Its connection broke. It may come back.
    Cut,
    /// A detach was asked for.
    Leaving,
    /// The detach is done: only an errand that may have told the owner otherwise keeps the seat.
    Left,
}

impl Seats {
    /// Takes the seat of a session, if it is free, or its user's connection to it broke.
    pub(crate) fn reserve(&mut self, session: SessionId, user: UserId, status: Status) -> Option<Tenure> {
        let is_free = self.find(session).is_none_or(|seat| seat.stage == Stage::Cut && seat.user == user);
        is_free.then(|| self.hold(session, user, status, Known::NOT_YET).0)
    }

    /// Takes the seat of a session that has come back, from whoever has it. With it goes the key under which the relay has it still.
    pub(crate) fn take_over(
        &mut self,
        session: SessionId,
        user: UserId,
        status: Status,
        generation: Generation,
    ) -> (Tenure, Option<SessionKey>) {
        self.hold(session, user, status, generation.into())
    }

    fn hold(&mut self, session: SessionId, user: UserId, status: Status, known: Known) -> (Tenure, Option<SessionKey>) {
        self.tenures += 1;
        let tenure = Tenure(self.tenures);
        let mut seat = Seat {
            session,
            tenure,
            user,
            status,
            known,
            untold: false,
            key: None,
            joined_at: Millis::default(),
            stage: Stage::Attached,
            telling: false,
            again: false,
            retold: false,
            told_leaving: false,
        };
        let mut key = None;
        if let Some(before) = self.remove(session) {
            // The owner may know it, and an errand goes on with what is wanted now.
            (seat.retold, seat.telling) = (true, before.telling);
            key = before.key;
        }
        self.seats.insert(seat);
        (tenure, key)
    }

    fn find(&self, session: SessionId) -> Option<&Seat> {
        self.seats.find(0, session.get())
    }

    fn find_mut(&mut self, session: SessionId) -> Option<&mut Seat> {
        self.seats.find_mut(0, session.get())
    }

    fn remove(&mut self, session: SessionId) -> Option<Seat> {
        let seat = self.seats.remove(0, session.get())?;
        if seat.stage == Stage::Cut {
            self.cuts.leave(session);
        }
        Some(seat)
    }

    fn held(&self, session: SessionId, tenure: Tenure) -> Option<&Seat> {
        self.find(session).filter(|seat| seat.tenure == tenure)
    }

    fn held_mut(&mut self, session: SessionId, tenure: Tenure) -> Option<&mut Seat> {
        self.find_mut(session).filter(|seat| seat.tenure == tenure)
    }

    /// Has a seat that is held so stand elsewhere.
    fn move_on(&mut self, session: SessionId, tenure: Tenure, stage: Stage) -> Option<&mut Seat> {
        let seat = self.seats.find_mut(0, session.get()).filter(|seat| seat.tenure == tenure)?;
        if replace(&mut seat.stage, stage) == Stage::Cut {
            self.cuts.leave(session);
        }
        Some(seat)
    }

    /// Notes as which the owner knows a session. Whether another owner has come meanwhile and is to be told.
    pub(crate) fn attached(&mut self, session: SessionId, tenure: Tenure, generation: Generation) -> bool {
        self.held_mut(session, tenure).is_some_and(|seat| {
            seat.known = generation.into();
            take(&mut seat.untold)
        })
    }

    /// Notes under which key the relay has a session, and when its member had joined.
    pub(crate) fn place(&mut self, session: SessionId, tenure: Tenure, key: SessionKey, joined_at: Millis) {
        if let Some(seat) = self.held_mut(session, tenure) {
            seat.key = Some(key);
            seat.joined_at = joined_at;
        }
    }

    /// Under which key the relay has a session, if it has.
    pub(crate) fn key(&self, session: SessionId, tenure: Tenure) -> Option<SessionKey> {
        self.held(session, tenure)?.key
    }

    /// Keeps the seat of a session whose connection broke until then. `None` if it is held by another.
    pub(crate) fn cut(&mut self, session: SessionId, tenure: Tenure, until: Instant) -> Option<WasCut> {
        let key = self.move_on(session, tenure, Stage::Cut)?.key.take();
        let none_left = self.cuts.enter(session, until);
        Some(WasCut { key, none_left })
    }

    /// Which session is to be given up next. One whose time is over leaves with that: it is to be detached.
    pub(crate) fn give_up(&mut self, now: Instant) -> GiveUp {
        let Some((until, session)) = self.cuts.first() else {
            return GiveUp::Nobody;
        };
        if now < until {
            return GiveUp::At(until);
        }
        let Seat { tenure, user, known, .. } = *self.find(session).expect("who is cut keeps its seat");
        self.leave(session, tenure);
        GiveUp::Now(Held { session, user, tenure, known })
    }

    /// The users of all seats, some of them more than once. O(sessions).
    pub(crate) fn users(&self) -> Vec<UserId> {
        self.seats.iter().map(|seat| seat.user).collect()
    }

    /// The sessions that the relay has of users who, by what `joined` says, have left since and joined anew. O(sessions).
    pub(crate) fn outlived(&self, joined: impl Fn(UserId) -> Option<Millis>) -> Vec<SessionKey> {
        let is_earlier = |seat: &&Seat| joined(seat.user).is_some_and(|joined_at| seat.joined_at < joined_at);
        let outlived = self.seats.iter().filter(|seat| seat.key.is_some()).filter(is_earlier);
        outlived.filter_map(|seat| seat.key).collect()
    }

    /// Notes what a session shows from now on, and tells what it showed before.
    pub(crate) fn set_status(&mut self, session: SessionId, tenure: Tenure, status: Status) -> Option<Status> {
        self.held_mut(session, tenure).map(|seat| replace(&mut seat.status, status))
    }

    /// Notes that a detach is asked for, before it is. Whether the seat is still held so.
    pub(crate) fn leave(&mut self, session: SessionId, tenure: Tenure) -> bool {
        self.move_on(session, tenure, Stage::Leaving).is_some()
    }

    /// Notes that a detach was refused. Whether an owner has been told otherwise meanwhile, and has to be told again.
    pub(crate) fn stay(&mut self, session: SessionId, tenure: Tenure) -> bool {
        self.move_on(session, tenure, Stage::Attached).is_some_and(|seat| take(&mut seat.told_leaving))
    }

    /// Gives a seat back: its session is detached at the owner, or was never known there. Tells its key, if the relay has it.
    pub(crate) fn left(&mut self, session: SessionId, tenure: Tenure) -> Option<SessionKey> {
        let seat = self.move_on(session, tenure, Stage::Left)?;
        let key = seat.key.take();
        if !seat.telling {
            self.remove(session);
        }
        key
    }

    /// Whether an owner may know a session that the relay has ended by itself.
    pub(crate) fn was_retold(&self, session: SessionId, tenure: Tenure) -> bool {
        self.held(session, tenure).is_some_and(|seat| seat.retold)
    }

    pub(crate) fn sessions(&self) -> Vec<SessionId> {
        self.seats.iter().map(|seat| seat.session).collect()
    }

    /// What a new owner is to be told of a session, if there is anything, and if no errand is telling it that already.
    pub(crate) fn begin_telling(&mut self, session: SessionId) -> Option<SessionRequest> {
        let seat = self.find_mut(session)?;
        if seat.telling {
            seat.again = true;
            return None;
        }
        let wanted = seat.request();
        seat.telling = wanted.is_some();
        wanted
    }

    /// Notes what an owner was told, and says what it is to be told next; `None` ends the errand.
    pub(crate) fn told(&mut self, session: SessionId, told: SessionRequest) -> Option<SessionRequest> {
        let seat = self.find_mut(session)?;
        if let Some(wanted) = seat.request()
            && (wanted != told || take(&mut seat.again))
        {
            return Some(wanted);
        }
        seat.telling = false;
        seat.told_leaving = seat.stage == Stage::Leaving;
        if seat.stage == Stage::Left {
            self.remove(session);
        }
        None
    }
}

impl Seat {
    /// What an owner has to be told; `None` while the session's own attach is on its way, and of one that is cut.
    fn request(&mut self) -> Option<SessionRequest> {
        let Self { user, status, known, .. } = *self;
        match (self.stage, known.generation()) {
            (Stage::Attached, Some(generation)) => {
                self.retold = true;
                Some(SessionRequest::Reattach { user, status, generation })
            }
            (Stage::Attached, None) => {
                self.untold = true;
                None
            }
            (Stage::Cut, _) => None,
            (Stage::Leaving | Stage::Left, Some(generation)) => Some(SessionRequest::Release { user, generation }),
            (Stage::Leaving | Stage::Left, None) => Some(SessionRequest::Detach { user }),
        }
    }
}

impl Row<1> for Seat {
    fn id(&self, _which: usize) -> u64 {
        self.session.get()
    }
}

impl Known {
    /// The owner has not said so.
    pub(crate) const NOT_YET: Self = Self(None);

    pub(crate) fn generation(self) -> Option<Generation> {
        self.0.map(|number| Generation(number.get()))
    }
}

impl From<Generation> for Known {
    fn from(generation: Generation) -> Self {
        Self(NonZeroU64::new(generation.0))
    }
}

const _: () = assert!(size_of::<Seat>() <= 64);

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use guildhall_permissions::Rights;
    use guildhall_proto::{GuildId, GuildSettings, Level, Name, Permissions, Position};
    use guildhall_relay::{Attach, Relay, RelayConfig};
    use tokio::sync::oneshot::error::TryRecvError;

    use super::*;

    fn session() -> SessionId {
        SessionId::new(1).unwrap()
    }

    const USER: UserId = UserId::MIN;
    const GENERATION: Generation = Generation(3);

    /// Seats with one that is held and known to an owner.
    fn seats() -> (Seats, Tenure) {
        let mut seats = Seats::default();
        let tenure = seats.reserve(session(), USER, Status::Online).unwrap();
        assert!(!seats.attached(session(), tenure, GENERATION));
        (seats, tenure)
    }

    const REATTACH: SessionRequest =
        SessionRequest::Reattach { user: USER, status: Status::Online, generation: GENERATION };

    const RELEASE: SessionRequest = SessionRequest::Release { user: USER, generation: GENERATION };

    #[test]
    fn a_session_that_leaves_while_a_new_owner_is_told_of_it_is_detached_there_last() {
        let (mut seats, tenure) = seats();
        assert_eq!(seats.begin_telling(session()), Some(REATTACH));
        seats.leave(session(), tenure);
        seats.left(session(), tenure);
        // Its own detach may have come before the attach: the errand tells the end of it, and keeps the id until then.
        assert_eq!(seats.reserve(session(), USER, Status::Idle), None);
        assert_eq!(seats.told(session(), REATTACH), Some(RELEASE));
        assert_eq!(seats.told(session(), RELEASE), None);
        assert!(seats.reserve(session(), USER, Status::Idle).is_some());
    }

    #[test]
    fn a_session_that_stays_after_an_owner_was_told_otherwise_is_told_again() {
        let (mut seats, tenure) = seats();
        assert!(!seats.stay(session(), tenure));
        seats.leave(session(), tenure);
        assert_eq!(seats.begin_telling(session()), Some(RELEASE));
        assert_eq!(seats.told(session(), RELEASE), None);
        assert!(seats.stay(session(), tenure));
        assert_eq!(seats.begin_telling(session()), Some(REATTACH));
    }

    #[test]
    fn a_status_that_changes_while_an_owner_is_told_the_old_one_is_told_too() {
        let (mut seats, tenure) = seats();
        assert_eq!(seats.begin_telling(session()), Some(REATTACH));
        assert_eq!(seats.set_status(session(), tenure, Status::Idle), Some(Status::Online));
        let idle = SessionRequest::Reattach { user: USER, status: Status::Idle, generation: GENERATION };
        assert_eq!(seats.told(session(), REATTACH), Some(idle));
        assert_eq!(seats.told(session(), idle), None);
    }

    #[test]
    fn the_owner_after_the_next_is_told_too_by_the_same_errand() {
        let (mut seats, _) = seats();
        assert_eq!(seats.begin_telling(session()), Some(REATTACH));
        assert_eq!(seats.begin_telling(session()), None);
        assert_eq!(seats.told(session(), REATTACH), Some(REATTACH));
        assert_eq!(seats.told(session(), REATTACH), None);
        assert_eq!(seats.begin_telling(session()), Some(REATTACH));
    }

    #[test]
    fn an_owner_that_comes_while_a_session_attaches_is_told_once_its_generation_is_known() {
        let mut seats = Seats::default();
        let tenure = seats.reserve(session(), USER, Status::Online).unwrap();
        assert_eq!(seats.begin_telling(session()), None);
        assert!(seats.attached(session(), tenure, GENERATION));
        assert_eq!(seats.begin_telling(session()), Some(REATTACH));
    }

    #[test]
    fn of_two_sessions_of_a_user_that_of_before_it_left_is_outlived_whoever_attached_last() {
        let at = Position::default();
        let (mut relay, _batch) = Relay::new(RelayConfig::default(), rights(), at);
        let mut seats = Seats::default();
        let mut key_of = |number: u64, joined_at: Millis| {
            let session = SessionId::new(number).unwrap();
            let tenure = seats.reserve(session, USER, Status::Online).unwrap();
            let (level, status) = (Level::Active, Status::Online);
            let attach = Attach { session, accepted: at, user: USER, roles: &[], members: false, level, status };
            let key = relay.attach_batch(attach, number).unwrap();
            seats.place(session, tenure, key, joined_at);
            key
        };
        let before = key_of(1, Millis(5));
        key_of(2, Millis(9));
        assert_eq!(seats.outlived(|_| Some(Millis(9))), [before]);
        assert_eq!(seats.outlived(|_| Some(Millis(5))), []);
        // Who is no member is for the relay to see.
        assert_eq!(seats.outlived(|_| None), []);
    }

    #[test]
    fn sessions_that_are_cut_are_given_up_once_in_the_order_of_time() {
        let (mut seats, now) = (Seats::default(), Instant::now());
        let later = now + Duration::from_secs(1);
        let session = |number: u64| SessionId::new(number).unwrap();
        let tenures: Vec<Tenure> =
            (1..=4).map(|number| seats.reserve(session(number), USER, Status::Online).unwrap()).collect();
        let mut cut = |number: usize, until| {
            let cut = seats.cut(session(number as u64), tenures[number - 1], until).unwrap();
            cut.none_left
        };
        let sooner = now + Duration::from_millis(1);
        let mut none_left = cut(1, later).unwrap();
        assert!(cut(3, later).is_none() && cut(2, sooner).is_none());
        seats.take_over(session(1), USER, Status::Online, GENERATION);
        assert_eq!(seats.give_up(now), GiveUp::At(sooner));
        let mut given_up = || match seats.give_up(later) {
            GiveUp::Now(held) => held.session,
            other @ (GiveUp::At(_) | GiveUp::Nobody) => panic!("{other:?}"),
        };
        assert_eq!([given_up(), given_up()], [session(2), session(3)]);
        assert_eq!(seats.give_up(later), GiveUp::Nobody);
        assert_eq!(none_left.try_recv(), Err(TryRecvError::Closed));
        assert_eq!(seats.begin_telling(session(3)), Some(SessionRequest::Detach { user: USER }));
        // The next one is a first again.
        assert!(seats.cut(session(4), tenures[3], later).unwrap().none_left.is_some());
    }

    #[test]
    fn sessions_that_come_back_leave_nothing_behind_and_who_is_cut_next_is_waited_for() {
        let mut seats = Seats::default();
        let session = |number: u64| SessionId::new(number).unwrap();
        let back = |seats: &mut Seats, number| seats.take_over(session(number), USER, Status::Online, GENERATION).0;
        for round in 0..3 {
            let mut watched = Vec::new();
            let cut = |seats: &mut Seats, number| {
                let tenure = back(seats, number);
                seats.cut(session(number), tenure, Instant::now()).unwrap().none_left
            };
            for number in 1..=100 {
                watched.extend(cut(&mut seats, number));
            }
            assert_eq!(watched.len(), 1);
            if round == 1 {
                // Who waited is gone, as by a panic.
                watched.clear();
                watched.extend(cut(&mut seats, 1));
            }
            for number in 1..=100 {
                assert_eq!(watched[0].try_recv(), Err(TryRecvError::Empty));
                back(&mut seats, number);
            }
            assert_eq!(watched[0].try_recv(), Err(TryRecvError::Closed));
            assert_eq!(seats.cuts.first(), None);
        }
    }

    fn rights() -> Rights {
        let guild = GuildId::new(1).unwrap();
        let settings = GuildSettings { name: Name::parse("one").unwrap(), owner: USER };
        Rights::new(guild, settings, Rights::everyone_role(guild, Permissions::NONE))
    }

    #[test]
    fn a_session_that_was_cut_keeps_its_seat_for_its_user_and_loses_it_to_itself() {
        let (mut seats, first) = seats();
        let until = Instant::now();
        let WasCut { key, none_left } = seats.cut(session(), first, until).unwrap();
        let mut none_left = none_left.unwrap();
        assert_eq!((key, none_left.try_recv()), (None, Err(TryRecvError::Empty)));
        assert_eq!(seats.reserve(session(), UserId::new(2).unwrap(), Status::Online), None);
        assert_eq!(seats.begin_telling(session()), None);

        let (second, _) = seats.take_over(session(), USER, Status::Idle, Generation(4));
        assert_eq!(none_left.try_recv(), Err(TryRecvError::Closed));
        assert_eq!(seats.give_up(until), GiveUp::Nobody);
        assert!(!seats.leave(session(), first));
        assert_eq!(seats.left(session(), first), None);
        let idle = SessionRequest::Reattach { user: USER, status: Status::Idle, generation: Generation(4) };
        assert_eq!(seats.begin_telling(session()), Some(idle));
        assert!(seats.cut(session(), second, until).is_some());
        // An errand that is on its way goes on with what is wanted by then.
        let (_, _) = seats.take_over(session(), USER, Status::Idle, Generation(5));
        let later = SessionRequest::Reattach { user: USER, status: Status::Idle, generation: Generation(5) };
        assert_eq!(seats.told(session(), idle), Some(later));
        assert_eq!(seats.told(session(), later), None);
    }
}
