//! A few sessions and a short history, heard rightly and wrongly.

use guildhall_client::Gap;
use guildhall_proto::{
    Ephemeral, EphemeralKind, Epoch, Event, EventKind, GuildId, Millis, Position, Seq, Status, Subject,
};
use parking_lot::Mutex;

use super::super::ear::{Ears, News};
use super::super::found::Spread;
use super::super::last::Last;
use super::*;
use crate::trial::bell::Bell;
use crate::trial::shape::Shape;

const EPOCH: Epoch = Epoch(3);
/// The number before the first.
const BEFORE: Number = 100;
/// All see the first, and nobody but the owner and its four roles the other.
const OPEN: u64 = 0;
const HIDDEN: u64 = 11;
/// Begins without roles, and is given one that sees the hidden channel.
const RISING: u64 = 7;
const OTHER: u64 = 8;

/// Who types in the hidden channel, who types in the open one, and who comes and goes.
fn subjects() -> Arc<Subjects> {
    let typing = |channel| Subject { user: Shape::user(OTHER), channel: Some(Shape::channel(channel)) };
    Arc::new(Subjects::new(vec![typing(HIDDEN), typing(OPEN), Subject::of_user(Shape::user(RISING))]))
}

/// Each of these as it is told at a number; the last of somebody of whom the load tells nothing.
fn words(number: Number) -> [Ephemeral; 4] {
    let typing = |channel| EphemeralKind::Typing {
        channel: Shape::channel(channel),
        user: Shape::user(OTHER),
        since: Millis(number),
    };
    let presence = |member| EphemeralKind::Presence { user: Shape::user(member), status: Status::Idle };
    [typing(HIDDEN), typing(OPEN), presence(RISING), presence(3)].map(|kind| Ephemeral { at: at(number), kind })
}

fn shape() -> Shape {
    Shape { guild: GuildId::MIN, members: 10, seed: 1 }
}

/// Numbers 101 to 107: a message in each channel, a call of everyone, a role for [`RISING`], a message in the hidden channel, one in the open channel by
/// [`OTHER`]'s session, a bell.
fn history() -> Vec<Fact> {
    let message = |idx, number, call, except| Fact::Message { channel: Shape::channel(idx), number, except, call };
    let everyone = Mentions { everyone: true, ..Mentions::default() };
    vec![
        message(OPEN, 0, None, None),
        message(HIDDEN, 1, None, None),
        message(OPEN, 2, Some(Box::new(everyone)), None),
        Fact::Changed { user: Shape::user(RISING), nick: Shape::nick(RISING), roles: [Shape::role(11)].into() },
        message(HIDDEN, 3, None, None),
        message(OPEN, 4, None, Some(SessionId::new(OTHER + 1).unwrap())),
        Fact::Bell { bell: Bell::new(0) },
    ]
}

fn seat(member: u64, level: Level) -> Seat {
    let spread = Spread { sessions: 1, active: 0, first: member + 1 };
    Seat { level, ..Seat::new(0, spread, Shape::user(member), [].into()) }
}

fn at(number: Number) -> Position {
    Position { epoch: EPOCH, seq: Seq(number) }
}

/// A judge of these seats, and a record for each, which has heard these numbers of a history.
fn heard(seats: &[Seat], history: &[Fact], numbers: &[Number]) -> (Judge, Vec<Mutex<Record>>) {
    let channels = [OPEN, HIDDEN].map(Shape::channel).to_vec();
    let record = || {
        let mut record = Record::new(at(BEFORE));
        for number in numbers {
            // What happened does not matter: its mark is given beside it.
            let event = Event { position: at(*number), at: Millis(0), kind: EventKind::GuildDeleted };
            let fact = history.get(usize::try_from(number - BEFORE - 1).unwrap());
            record.tally.hear(&event, Some(fact.map_or(7, Fact::mark)));
        }
        Mutex::new(record)
    };
    (Judge::new(shape().rights(), channels, seats, subjects()), seats.iter().map(|_| record()).collect())
}

fn found(seat: Seat, numbers: &[Number]) -> Findings {
    let (seats, history) = ([seat], history());
    let (mut judge, records) = heard(&seats, &history, numbers);
    judge.judge(BEFORE + 1, history, seats.iter().zip(&records))
}

fn due(due: u64) -> Findings {
    Findings { due, ..Findings::default() }
}

#[test]
fn a_session_is_to_hear_what_its_member_sees_at_that_time() {
    assert_eq!(found(seat(0, Level::Active), &[101, 102, 103, 105, 106, 107]), due(6));
    assert_eq!(found(seat(RISING, Level::Active), &[101, 103, 104, 105, 106, 107]), due(6));
    assert_eq!(found(seat(9, Level::Active), &[101, 103, 106, 107]), due(4));
    // What it published itself, and did not want to hear.
    let publisher = seat(OTHER, Level::Active);
    assert_eq!(publisher.session.get(), OTHER + 1);
    assert_eq!(found(publisher, &[101, 103, 107]), due(3));
    let curious = Seat { members: true, ..seat(9, Level::Active) };
    assert_eq!(found(curious, &[101, 103, 104, 106, 107]), due(5));
    assert_eq!(found(seat(9, Level::Passive), &[103, 107]), due(2));
    assert_eq!(found(seat(RISING, Level::Passive), &[103, 104, 107]), due(3));
}

#[test]
fn every_kind_of_fault_is_found_by_its_name() {
    let active = || seat(9, Level::Active);
    assert_eq!(found(active(), &[101, 106, 107]), Findings { lost: 1, ..due(4) });
    assert_eq!(found(active(), &[101, 102, 103, 106, 107]), Findings { leaked: 1, ..due(4) });
    assert_eq!(found(active(), &[101, 106, 103, 107]), Findings { reordered: 1, ..due(4) });
    // Before the role came, and a message to a passive session that calls nobody.
    assert_eq!(
        found(seat(RISING, Level::Active), &[101, 102, 103, 104, 105, 106, 107]),
        Findings { leaked: 1, ..due(6) }
    );
    assert_eq!(found(seat(9, Level::Passive), &[101, 103, 107]), Findings { leaked: 1, ..due(2) });
}

#[test]
fn what_is_under_a_gap_is_missed_and_not_lost() {
    let (seats, history) = ([seat(9, Level::Active)], history());
    let (mut judge, records) = heard(&seats, &history, &[101]);
    records[0].lock().tally.gap(Gap { after: at(101), through: at(105) });
    let found = judge.judge(BEFORE + 1, history, seats.iter().zip(&records));
    assert_eq!(found, Findings { missed: 1, lost: 2, ..due(4) });
}

/// A session, what it has heard, and the gaps that it was told then: what each is after, and through.
type Told<'a> = (Seat, &'a [Number], &'a [(Number, Number)]);

/// The gaps that are found to be strange, and those that are behind all that happened.
fn strange_gaps(told: &[Told<'_>]) -> (u64, u64) {
    let history = history();
    let seats: Vec<Seat> = told.iter().map(|(seat, ..)| seat.clone()).collect();
    let (mut judge, _) = heard(&seats, &history, &[]);
    let ears = Ears::new(seats, at(BEFORE), Vec::new(), subjects());
    for ((_, numbers, gaps), record) in told.iter().zip(&ears.records) {
        let (_, mut heard) = heard(&ears.seats[..1], &history, numbers);
        *record.lock() = heard.remove(0).into_inner();
        for (after, through) in *gaps {
            record.lock().tally.gap(Gap { after: at(*after), through: at(*through) });
        }
    }
    let found = judge.judge(BEFORE + 1, history, ears.seats.iter().zip(&ears.records));
    (found.needless_gaps, ears.sums().0.gaps_beyond)
}

#[test]
fn a_gap_is_of_what_was_not_heard_and_happened_and_was_missed_by_somebody() {
    let (active, passive) = (|| seat(9, Level::Active), || seat(9, Level::Passive));
    let alone = |seat, numbers: &[Number], gap| strange_gaps(&[(seat, numbers, &[gap])]);
    assert_eq!(alone(active(), &[101], (101, 106)), (0, 0));
    // Of what was heard, though something is missing under it as well; and of what was told to be missing before.
    assert_eq!(alone(active(), &[101, 103], (101, 106)), (1, 0));
    assert_eq!(strange_gaps(&[(active(), &[101], &[(101, 105), (103, 106)])]), (1, 0));
    assert_eq!(alone(active(), &[101], (103, 102)), (1, 0));
    // Of what is behind the last that happened.
    assert_eq!(alone(active(), &[101], (101, 108)), (0, 1));
    assert_eq!(alone(passive(), &[103], (103, u64::MAX)), (0, 1));
    // Numbers 104 and 105 are nothing to it, but to another that was told with it.
    assert_eq!(alone(active(), &[101, 103], (103, 105)), (1, 0));
    let other = || seat(RISING, Level::Active);
    assert_eq!(strange_gaps(&[(active(), &[103], &[(103, 105)]), (other(), &[103], &[(103, 105)])]), (0, 0));
    assert_eq!(strange_gaps(&[(active(), &[103], &[(103, 105)]), (other(), &[103], &[(103, 106)])]), (1, 0));
    // A summary may be what it has lost.
    assert_eq!(alone(passive(), &[103], (103, 105)), (0, 0));
}

#[test]
fn a_gap_over_several_windows_is_judged_when_it_ends() {
    let message = |number| Fact::Message { channel: Shape::channel(HIDDEN), number, except: None, call: None };
    let bell = || Fact::Bell { bell: Bell::new(0) };
    for (first, last, strange) in [(bell(), message(1), 0), (message(0), bell(), 0), (message(0), message(1), 2)] {
        let window = |fact: &Fact| vec![fact.clone(); 64];
        let seats = [seat(9, Level::Active), seat(OTHER, Level::Active)];
        let (mut judge, records) = heard(&seats, &[], &[]);
        for record in &records {
            record.lock().tally.gap(Gap { after: at(BEFORE), through: at(BEFORE + 100) });
        }
        let mut needless =
            |fact, from| judge.judge(BEFORE + from, window(fact), seats.iter().zip(&records)).needless_gaps;
        assert_eq!((needless(&first, 1), needless(&last, 65)), (0, strange));
    }
}

#[test]
fn windows_follow_each_other_and_roles_are_as_they_were_left() {
    // A window of 64, in the middle of which the role comes; then another window.
    let message = |number| Fact::Message { channel: Shape::channel(HIDDEN), number, except: None, call: None };
    let mut first: Vec<Fact> = (0..64).map(message).collect();
    first[40] = Fact::Changed { user: Shape::user(RISING), nick: Shape::nick(RISING), roles: [Shape::role(11)].into() };
    let second: Vec<Fact> = (64..70).map(message).collect();
    let history: Vec<Fact> = first.iter().chain(&second).cloned().collect();
    let seats = [seat(RISING, Level::Active), seat(OTHER, Level::Active)];
    let numbers: Vec<Number> = (BEFORE + 41..=BEFORE + 70).collect();
    let (mut judge, records) = heard(&seats, &history, &numbers);
    // The other hears none of it.
    *records[1].lock() = Record::new(at(BEFORE));
    assert_eq!(judge.judge(BEFORE + 1, first, seats.iter().zip(&records)), due(24));
    assert_eq!(judge.judge(BEFORE + 65, second, seats.iter().zip(&records)), due(6));
    let Record { tally, explained, .. } = &*records[0].lock();
    assert_eq!((tally.marks, tally.numbers.words().len()), (*explained, 0));
    // Again, of a number that was judged.
    assert_eq!(tally.numbers.from(), BEFORE + 129);
}

#[test]
fn what_is_told_now_is_for_who_is_told_it() {
    let leaked = |seat: &Seat| {
        words(103).map(|word| {
            let (seats, history) = ([seat.clone()], vec![Fact::Bell { bell: Bell::new(0) }]);
            let (mut judge, records) = heard(&seats, &history, &[101]);
            records[0].lock().told.hear(subjects().word(&word), 3);
            let found = judge.judge(BEFORE + 1, history, seats.iter().zip(&records));
            assert_eq!(found, Findings { leaked: found.leaked, ..due(1) });
            // Once.
            assert_eq!(judge.judge(BEFORE + 65, Vec::new(), seats.iter().zip(&records)), due(0));
            found.leaked
        })
    };
    assert_eq!(leaked(&seat(9, Level::Active)), [1, 0, 1, 1]);
    assert_eq!(leaked(&seat(0, Level::Active)), [0, 0, 1, 1]);
    assert_eq!(leaked(&Seat { members: true, ..seat(9, Level::Active) }), [1, 0, 0, 0]);
    // It types itself; it is passive.
    assert_eq!(leaked(&seat(OTHER, Level::Active)), [1, 1, 1, 1]);
    assert_eq!(leaked(&Seat { members: true, ..seat(9, Level::Passive) }), [1; 4]);
}

#[tokio::test(start_paused = true)]
async fn in_the_end_all_have_been_told_what_was_set_last() {
    let keeps = |member| Seat { keeps: true, members: true, ..seat(member, Level::Active) };
    let seats = vec![keeps(0), keeps(9), Seat { keeps: false, members: false, ..keeps(3) }, keeps(OTHER)];
    let ears = Ears::new(seats, at(BEFORE), Vec::new(), subjects());
    let rights = shape().rights();
    let listeners = ears.listeners(|seat, channel| rights.sees(seat.user, &seat.roles, channel));
    // The owner of all; who sees the open channel of that, and of who comes and goes; who types only of the latter; whose roles change of nothing.
    assert_eq!(listeners, [(0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (3, 2)]);
    let tell =
        |idx: usize, word: usize, number| ears.records[idx].lock().told.hear(subjects().word(&words(number)[word]), 3);
    let untold = async |present| ears.hear_last(&listeners, &[Last::Anything, Last::AsOf(6), present]).await;
    [0, 1, 3].iter().for_each(|idx| tell(*idx, 2, 5));
    tell(0, 1, 7);
    assert_eq!(untold(Last::Said(1)).await, 1, "one does not know who types");
    tell(1, 1, 6);
    assert_eq!(untold(Last::Said(1)).await, 1, "and then not since when");
    tell(1, 1, 7);
    assert_eq!(untold(Last::Said(1)).await, 0);
    assert_eq!(untold(Last::Said(2)).await, 3, "something else was set");
    // Who was told a gap may have lost it.
    ears.gap(3, Gap { after: at(BEFORE), through: at(BEFORE + 1) });
    assert_eq!(untold(Last::Said(2)).await, 2);
}

#[test]
fn news_are_of_channels_that_a_passive_session_sees_and_in_which_somebody_spoke() {
    let told = |level, member, channel| {
        let (seats, history) = ([seat(member, level)], history());
        let (mut judge, records) = heard(&seats, &history, if level == Level::Passive { &[103, 107] } else { &[] });
        records[0].lock().news.push(News { at: 105, channels: [Shape::channel(channel)].into() });
        judge.judge(BEFORE + 1, history, seats.iter().zip(&records)).leaked
    };
    assert_eq!((told(Level::Passive, 9, OPEN), told(Level::Passive, 9, HIDDEN)), (0, 1));
    // It came to see it on the way.
    assert_eq!((told(Level::Passive, RISING, HIDDEN), told(Level::Passive, 9, 5)), (0, 1));
    assert_eq!(told(Level::Active, 9, OPEN), 1);
}

#[test]
fn a_range_of_bits_is_added_and_no_other() {
    for (from, to) in [(0, 0), (0, 1), (3, 64), (64, 64), (5, 130), (63, 65), (64, 128), (0, 192)] {
        let mut bits = empty(3);
        or(&mut bits, &[u64::MAX; 3], from..to);
        let mut places = Vec::new();
        each(&bits, |place| places.push(place));
        assert_eq!(places, (from..to).collect::<Vec<_>>());
    }
}
