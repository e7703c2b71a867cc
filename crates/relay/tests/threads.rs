//! A feeding thread and reading threads on one relay: rights hold for every reader, however they interleave.

#![expect(clippy::unwrap_used, reason = "the helpers of a test fail as the test does")]

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use guildhall_permissions::Rights;
use guildhall_proto::{
    Channel, ChannelId, ChannelKind, Ephemeral, EphemeralKind, Epoch, Event, EventKind, GuildId, GuildSettings, Level,
    Member, MemberFlags, Mentions, Message, Millis, Name, Nick, Overwrite, OverwriteTarget, Payload, Permissions,
    Position, Role, RoleId, Seq, SessionId, Status, UserId,
};
use guildhall_relay::{Attach, Delivery, DetachReason, Read, Relay, RelayConfig, Stream, Wait};
use guildhall_ring::RingConfig;

const EVENTS: u64 = 40_000;
/// Every so many events Ada gets the role that shows her the channel, or loses it.
const TOGGLE: u64 = 16;

#[test]
fn no_reader_hears_what_its_member_could_not_see_while_rights_change_under_it() {
    let ring = RingConfig { entries_max: 256, bytes_max: 1024 * 1024 };
    let at = position(0);
    let (mut relay, _batch) = Relay::new(RelayConfig { ring, ..RelayConfig::default() }, rights(), at);
    let mut streams = Vec::new();
    for number in 1..=4 {
        streams.push(relay.attach_stream(attach(number, at)).unwrap());
    }
    let relay = Mutex::new(relay);

    let heard: Vec<(u64, u64)> = thread::scope(|scope| {
        let readers: Vec<_> = streams.into_iter().map(|stream| scope.spawn(|| read(&relay, stream))).collect();
        for seq in 1..=EVENTS {
            let event = Arc::new(Event { position: position(seq), at: Millis(0), kind: kind(seq) });
            let mut relay = relay.lock().unwrap();
            relay.apply(event, &mut Vec::new()).unwrap();
            relay.tell(typing(seq, seq), &mut Vec::new()).unwrap();
        }
        readers.into_iter().map(|reader| reader.join().unwrap()).collect()
    });

    for (events, gaps) in heard {
        assert!(events > 0 || gaps > 0);
    }
}

#[test]
fn neither_who_sleeps_until_it_is_woken_nor_who_always_looks_misses_what_is_told() {
    const TOLD: u64 = 500;
    let at = position(0);
    let (mut relay, _batch) = Relay::new(RelayConfig::default(), rights(), at);
    let mut streams = Vec::new();
    for number in 1..=2 {
        streams.push(relay.attach_stream(Attach { roles: &[staff()], ..attach(number, at) }).unwrap());
    }
    let relay = Mutex::new(relay);
    let sleepers: Vec<Sleeper> = streams.iter().map(|_| Sleeper::default()).collect();
    thread::scope(|scope| {
        for mut stream in streams {
            let (relay, sleeper) = (&relay, &sleepers[stream.key().index()]);
            // The other looks whether it was woken or not.
            let is_restless = stream.key().index() == 1;
            scope.spawn(move || {
                let mut sleeps = false;
                while sleeper.heard.load(Ordering::SeqCst) < TOLD {
                    let read = stream.read(32, |delivery| match delivery {
                        Delivery::Ephemeral(told) => {
                            let before = sleeper.heard.swap(since(&told), Ordering::SeqCst);
                            assert_eq!(before + 1, since(&told));
                        }
                        other @ (Delivery::Event(_)
                        | Delivery::Gap(_)
                        | Delivery::Unread(_)
                        | Delivery::Detached(_)) => {
                            panic!("nothing else happens here, but {other:?}")
                        }
                    });
                    if read == Read::Idle || read == Read::Waiting && !is_restless {
                        let waits = relay.lock().unwrap().wait(&mut stream).unwrap() == Wait::Waiting;
                        sleeps = waits && !is_restless;
                    }
                    while sleeps && !sleeper.is_woken.swap(false, Ordering::SeqCst) && !sleeper.has_heard(TOLD) {
                        thread::yield_now();
                    }
                }
            });
        }
        let mut woken = Vec::new();
        for number in 1..=TOLD {
            relay.lock().unwrap().tell(typing(0, number), &mut woken).unwrap();
            for key in woken.drain(..) {
                sleepers[key.index()].is_woken.store(true, Ordering::SeqCst);
            }
            let mut looks = 0;
            while !sleepers.iter().all(|sleeper| sleeper.has_heard(number)) {
                looks += 1;
                if looks == LOOKS_MAX {
                    sleepers.iter().for_each(|sleeper| sleeper.heard.store(TOLD, Ordering::SeqCst));
                    panic!("a sleeper was not woken for what is told as {number}");
                }
                thread::yield_now();
            }
        }
    });
}

/// What a reading thread and the telling one say to each other.
#[derive(Default)]
struct Sleeper {
    is_woken: AtomicBool,
    heard: AtomicU64,
}

impl Sleeper {
    fn has_heard(&self, number: u64) -> bool {
        self.heard.load(Ordering::SeqCst) >= number
    }
}

/// Far more looks than a thread ever needs to come to its turn.
const LOOKS_MAX: u64 = 5_000_000;

/// Reads until the session ends, and returns the events and gaps it heard.
fn read(relay: &Mutex<Relay>, mut stream: Stream) -> (u64, u64) {
    let (mut known, mut events, mut gaps, mut told_last) = (0, 0, 0, 0);
    let mut reason = None;
    loop {
        let read = stream.read(32, |delivery| match delivery {
            Delivery::Event(event) => {
                let seq = event.position.seq.0;
                assert_eq!(Some(seq), (known + 1..=EVENTS).find(|seq| is_for_ada(*seq)), "after {known}");
                (known, events) = (seq, events + 1);
            }
            Delivery::Gap(gap) => {
                assert_eq!(gap.after.seq.0, known);
                assert!(gap.through.seq.0 > known);
                (known, gaps) = (gap.through.seq.0, gaps + 1);
            }
            Delivery::Unread(_) => panic!("an active session hears all itself"),
            Delivery::Ephemeral(told) => {
                let seq = told.at.seq.0;
                assert!(seq > told_last && holds(seq), "{seq} is told after {told_last}");
                assert_eq!((known + 1..=seq).find(|seq| is_for_ada(*seq)), None, "{seq} is told after {known}");
                told_last = seq;
            }
            Delivery::Detached(why) => reason = Some(why),
        });
        match read {
            Read::Ended => break,
            Read::More => {}
            Read::Idle => {
                relay.lock().unwrap().wait(&mut stream).unwrap();
            }
            // Polling stands in for the shell's wakers.
            Read::Waiting => thread::yield_now(),
        }
    }
    assert_eq!((known, reason), (EVENTS, Some(DetachReason::MemberLeft)));
    (events, gaps)
}

fn kind(seq: u64) -> EventKind {
    if seq == EVENTS {
        return EventKind::MemberLeft { member: member(holds(seq)) };
    }
    if seq.is_multiple_of(TOGGLE) {
        return EventKind::MemberUpdated { before: member(!holds(seq)), after: member(holds(seq)) };
    }
    EventKind::MessagePublished(Message {
        channel: office().id,
        author: None,
        session: None,
        echo: false,
        mentions: Mentions::default(),
        payload: Payload::new("hello").unwrap(),
    })
}

/// That Bob types in the office.
fn typing(seq: u64, since: u64) -> Ephemeral {
    let (channel, user) = (office().id, UserId::new(9).unwrap());
    Ephemeral { at: position(seq), kind: EphemeralKind::Typing { channel, user, since: Millis(since) } }
}

fn since(told: &Ephemeral) -> u64 {
    match told.kind {
        EphemeralKind::Typing { since, .. } => since.0,
        EphemeralKind::Presence { .. } => panic!("nobody comes or goes here: {told:?}"),
    }
}

fn attach(session: u64, accepted: Position) -> Attach<'static> {
    Attach {
        session: SessionId::new(session).unwrap(),
        accepted,
        user: ada(),
        roles: &[],
        members: false,
        level: Level::Active,
        status: Status::Online,
    }
}

/// Whether Ada has the role just after an event.
fn holds(seq: u64) -> bool {
    !(seq / TOGGLE).is_multiple_of(2)
}

fn is_for_ada(seq: u64) -> bool {
    seq == EVENTS || seq.is_multiple_of(TOGGLE) || holds(seq)
}

fn position(seq: u64) -> Position {
    Position { epoch: Epoch(1), seq: Seq(seq) }
}

fn ada() -> UserId {
    UserId::new(7).unwrap()
}

fn staff() -> RoleId {
    RoleId::new(21).unwrap()
}

fn office() -> Channel {
    let (id, name) = (ChannelId::new(31).unwrap(), Name::parse("office").unwrap());
    Channel { id, name, kind: ChannelKind::Text, parent: None, position: 0 }
}

fn member(is_staff: bool) -> Member {
    let roles = if is_staff { vec![staff()] } else { Vec::new() };
    Member { user: ada(), nick: Nick::parse("Ada").unwrap(), roles, joined_at: Millis(0), flags: MemberFlags::NONE }
}

fn rights() -> Rights {
    let guild = GuildId::new(1).unwrap();
    let settings = GuildSettings { name: Name::parse("x").unwrap(), owner: UserId::new(8).unwrap() };
    let mut rights = Rights::new(guild, settings, Rights::everyone_role(guild, Permissions::NONE));
    let role = Role {
        id: staff(),
        name: Name::parse("staff").unwrap(),
        position: 1,
        permissions: Permissions::NONE,
        hoist: false,
        mentionable: false,
    };
    rights.apply(&EventKind::RoleCreated { role });
    let shown =
        Overwrite { target: OverwriteTarget::Role(staff()), allow: Permissions::VIEW_CHANNEL, deny: Permissions::NONE };
    rights.apply(&EventKind::ChannelCreated { channel: office(), overwrites: vec![shown] });
    rights
}
