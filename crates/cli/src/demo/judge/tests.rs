//! A few sessions and a short history, heard rightly and wrongly.

use guildhall_client::Gap;
use guildhall_proto::{
    Ephemeral, EphemeralKind, Epoch, Event, EventKind, GuildSettings, Member, MemberFlags, Millis, OverwriteTarget,
    Position, Seq, SessionId, Status, Unread,
};

use super::super::GUILD;
use super::super::ledger::Ledger;
use super::super::seat::{Seat, Service};
use super::*;
use crate::trial::bell::{Belfry, Bell};
use crate::trial::rights::Rights;
use crate::trial::tally::Sound;

fn rights() -> Rights {
    Shape { guild: GUILD, members: 10, seed: 1 }.rights()
}

const EPOCH: Epoch = Epoch(1);
/// All see the first, and nobody but the owner and its four roles the other.
const OPEN: u64 = 0;
const HIDDEN: u64 = 11;

/// Numbers 1 to 5: a message in each channel, a call of everyone, a revoke of the open channel for user 7, a message there.
fn history() -> Closed {
    let mut ledger = Ledger::after(0);
    let message = |idx, number, call| Fact::Message { channel: Shape::channel(idx), number, except: None, call };
    ledger.enter(1, message(OPEN, 0, None));
    ledger.enter(2, message(HIDDEN, 1, None));
    let everyone = Mentions { everyone: true, ..Mentions::default() };
    ledger.enter(3, message(OPEN, 2, Some(Box::new(everyone))));
    let target = OverwriteTarget::User(Shape::user(7));
    let after = Some(Shape::deny(target));
    ledger.enter(4, Fact::OverwriteChanged { channel: Shape::channel(OPEN), target, after });
    ledger.enter(5, message(OPEN, 3, None));
    ledger.close(rights(), Vec::new(), 0)
}

fn sitting(member: u64, level: Level) -> Sitting {
    let seat = Seat {
        session: SessionId::MIN,
        member,
        roles: Vec::new(),
        members: false,
        level,
        status: Status::Online,
        service: Service::Stream,
        relay: 0,
        errand: Errand::None,
    };
    Sitting { seat, turns: Vec::new() }
}

/// The record of a session that hears these numbers of the history.
fn heard(ledger: &Closed, numbers: &[Number]) -> Record {
    let mut record = Record::new(EPOCH, 0);
    for number in numbers {
        let (_, _, fact) = ledger.from(*number).next().unwrap();
        record.tally.hear(&event(*number), Some(fact.mark()));
    }
    record
}

/// What happened does not matter: its mark is given beside it.
fn event(number: Number) -> Event {
    let position = Position { epoch: EPOCH, seq: Seq(number) };
    Event { position, at: Millis(0), kind: EventKind::GuildDeleted }
}

fn found(sitting: &Sitting, numbers: &[Number]) -> Findings {
    let ledger = history();
    judge(&ledger, sitting, &heard(&ledger, numbers))
}

#[test]
fn an_active_session_hears_what_its_member_sees_at_that_time() {
    assert_eq!(found(&sitting(8, Level::Active), &[1, 3, 4, 5]), Findings { due: 4, ..Findings::default() });
    assert_eq!(found(&sitting(0, Level::Active), &[1, 2, 3, 4, 5]), Findings { due: 5, ..Findings::default() });
    // The revoke is the last that it hears of the channel.
    assert_eq!(found(&sitting(7, Level::Active), &[1, 3, 4]), Findings { due: 3, ..Findings::default() });
    let leaked = Findings { due: 3, leaked: 2, ..Findings::default() };
    assert_eq!(found(&sitting(7, Level::Active), &[1, 2, 3, 4, 5]), leaked);
}

#[test]
fn a_passive_session_hears_what_calls_it() {
    assert_eq!(found(&sitting(8, Level::Passive), &[3, 4]), Findings { due: 2, ..Findings::default() });
    let turned = Sitting { turns: vec![(3, Level::Active)], ..sitting(8, Level::Passive) };
    assert_eq!(found(&turned, &[3, 4, 5]), Findings { due: 3, ..Findings::default() });
    let leaked = Findings { due: 2, leaked: 1, ..Findings::default() };
    assert_eq!(found(&sitting(8, Level::Passive), &[3, 4, 5]), leaked);
}

#[test]
fn every_kind_of_fault_is_found_by_its_name() {
    let active = sitting(8, Level::Active);
    let right = Findings { due: 4, ..Findings::default() };
    assert_eq!(found(&active, &[1, 3, 5]), Findings { lost: 1, ..right });
    assert_eq!(found(&active, &[1, 3, 3, 4, 5]), Findings { duplicated: 1, ..right });
    assert_eq!(found(&active, &[1, 4, 3, 5]), Findings { reordered: 1, ..right });

    let ledger = history();
    let mut record = heard(&ledger, &[1, 3, 4]);
    record.tally.hear(&event(5), Some(ledger.facts[0].mark()));
    assert_eq!(judge(&ledger, &active, &record), Findings { altered: 1, ..right });
    let mut record = heard(&ledger, &[1, 3, 4, 5]);
    record.tally.hear(&event(6), Some(7));
    assert_eq!(judge(&ledger, &active, &record).leaked, 1);
    let mut record = heard(&ledger, &[1, 3, 4, 5]);
    record.tally.hear(&event(5), None);
    assert_eq!(judge(&ledger, &active, &record), Findings { altered: 1, ..right });
}

#[test]
fn what_is_under_a_gap_is_missed_and_not_lost() {
    let ledger = history();
    let active = sitting(8, Level::Active);
    let gap = |after, through| {
        let at = |number| Position { epoch: EPOCH, seq: Seq(number) };
        let mut record = heard(&ledger, &[1]);
        record.gap(Gap { after: at(after), through: at(through) });
        for number in [4, 5] {
            record.tally.hear(&event(number), Some(ledger.from(number).next().unwrap().2.mark()));
        }
        judge(&ledger, &active, &record)
    };
    let right = Findings { due: 4, gaps: 1, ..Findings::default() };
    assert_eq!(gap(1, 3), Findings { missed: 1, ..right });
    assert_eq!(gap(1, 2), Findings { lost: 1, needless_gaps: 1, ..right });
    // What comes after all comes late.
    assert_eq!(gap(1, 4), Findings { missed: 1, reordered: 1, ..right });
}

#[test]
fn a_session_ends_with_its_member_and_hears_so() {
    let left = Member {
        user: Shape::user(8),
        nick: Shape::nick(8),
        roles: Vec::new(),
        joined_at: Millis(0),
        flags: MemberFlags::NONE,
    };
    let mut ledger = Ledger::after(0);
    ledger.enter(1, Fact::Left { user: left.user });
    ledger.enter(2, Fact::Bell { bell: Bell::new(0) });
    let ledger = ledger.close(rights(), Vec::new(), 0);
    let hears = |ends: bool, and_more: bool| {
        let mut record = Record::new(EPOCH, 0);
        let kind = EventKind::MemberLeft { member: left.clone() };
        record.hear(&Sound::of(&Event { kind, ..event(1) }));
        if and_more {
            let settings = |name| GuildSettings { name, owner: Shape::owner() };
            let (before, after) = (settings(Shape::name("demo")), settings(Bell::new(0).name()));
            record.hear(&Sound::of(&Event { kind: EventKind::GuildUpdated { before, after }, ..event(2) }));
        }
        if ends {
            record.end(DetachReason::MemberLeft, &Belfry::new());
        }
        judge(&ledger, &sitting(8, Level::Active), &record)
    };
    let right = Findings { due: 1, ..Findings::default() };
    assert_eq!(hears(true, false), right);
    assert_eq!(hears(false, false), Findings { lost: 1, ..right });
    assert_eq!(hears(true, true), Findings { leaked: 1, ..right });
}

#[test]
fn news_and_what_is_told_of_now_are_held_to_the_same_rights() {
    let ledger = history();
    let at = |number| Position { epoch: EPOCH, seq: Seq(number) };
    let news = |level, number, idx| {
        let mut record = Record::new(EPOCH, 0);
        record.unread(&Unread { at: at(number), channels: vec![Shape::channel(idx)] });
        judge(&ledger, &sitting(7, level), &record).leaked
    };
    assert_eq!([news(Level::Passive, 1, OPEN), news(Level::Passive, 4, OPEN)], [0, 0]);
    assert_eq!([news(Level::Passive, 0, OPEN), news(Level::Passive, 5, OPEN), news(Level::Passive, 2, HIDDEN)], [1; 3]);
    assert_eq!(news(Level::Active, 1, OPEN), 1);

    let told = |member, told: &[(Number, u64)]| {
        let mut record = Record::new(EPOCH, 0);
        for (number, since) in told {
            let kind =
                EphemeralKind::Typing { channel: Shape::channel(OPEN), user: Shape::user(9), since: Millis(*since) };
            record.tell(&Ephemeral { at: at(*number), kind });
        }
        let found = judge(&ledger, &sitting(member, Level::Active), &record);
        (found.told, found.leaked, found.reordered)
    };
    assert_eq!(told(7, &[(0, 1), (3, 2)]), (2, 0, 0));
    assert_eq!(told(7, &[(4, 1)]), (1, 1, 0));
    assert_eq!(told(9, &[(0, 1)]), (1, 1, 0));
    assert_eq!(told(8, &[(3, 2), (3, 1)]), (2, 0, 1));
}

#[test]
fn what_is_told_late_is_held_to_the_rights_of_then() {
    let target = OverwriteTarget::User(Shape::user(7));
    let change = |after| Fact::OverwriteChanged { channel: Shape::channel(OPEN), target, after };
    let mut ledger = Ledger::after(0);
    ledger.enter(1, change(Some(Shape::deny(target))));
    ledger.enter(2, change(None));
    let ledger = ledger.close(rights(), Vec::new(), 0);
    // Accepted while the channel was hidden, and told before or after it came to be seen again.
    let told_after = |heard_before: &[Number], heard_then: &[Number]| {
        let mut record = heard(&ledger, heard_before);
        let kind = EphemeralKind::Typing { channel: Shape::channel(OPEN), user: Shape::user(9), since: Millis(1) };
        record.tell(&Ephemeral { at: Position { epoch: EPOCH, seq: Seq(1) }, kind });
        for number in heard_then {
            record.tally.hear(&event(*number), Some(ledger.from(*number).next().unwrap().2.mark()));
        }
        judge(&ledger, &sitting(7, Level::Active), &record)
    };
    let right = Findings { due: 2, told: 1, ..Findings::default() };
    assert_eq!(told_after(&[1, 2], &[]), right);
    assert_eq!(told_after(&[1], &[2]), Findings { leaked: 1, ..right });
}
