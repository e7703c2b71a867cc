//! Random histories of what is told beside the events, against a plain account of who may hear it and who must.
//!
//! Told things are numbered. Whoever hears one could hear it by its rights as of then, after all events before it, and nothing older of
//! its subject after it. Once all is read, by those alone who were woken, the latest of each subject is known to all who must hear it.

#![expect(clippy::unwrap_used, reason = "the helpers of a test fail as the test does")]

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use guildhall_permissions::Rights;
use guildhall_proto::{
    Channel, ChannelId, ChannelKind, Ephemeral, EphemeralKind, Epoch, Event, EventKind, GuildId, GuildSettings, Level,
    Member, MemberFlags, Mentions, Message, Millis, Name, Nick, Overwrite, OverwriteTarget, Payload, Permissions,
    Position, Role, RoleId, Seq, SessionId, Status, Subject, UserId,
};
use guildhall_relay::{
    Attach, Batch, BatchItem, BatchRead, Delivery, Read, Relay, RelayConfig, SessionKey, Stream, Wait,
};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

#[derive(Debug, Clone, PartialEq)]
enum Step {
    Say(u64),
    /// Gives the user the role that shows the second channel, or takes it.
    Toggle(u64),
    /// Shows the first channel to all, or hides it.
    Veil,
    Type {
        user: u64,
        channel: u64,
    },
    Come(u64, bool),
    Attach {
        user: u64,
        members: bool,
        is_stream: bool,
    },
    SetLevel(usize, bool),
    Read(usize, usize),
    ReadBatch(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let (user, channel) = (0..USERS, 0..2_u64);
    let step = prop_oneof![
        4 => channel.clone().prop_map(Step::Say),
        2 => user.clone().prop_map(Step::Toggle),
        1 => Just(Step::Veil),
        6 => (user.clone(), channel).prop_map(|(user, channel)| Step::Type { user, channel }),
        2 => (user.clone(), any::<bool>()).prop_map(|(user, here)| Step::Come(user, here)),
        2 => (user, any::<bool>(), any::<bool>())
            .prop_map(|(user, members, is_stream)| Step::Attach { user, members, is_stream }),
        1 => (0..1_000_usize, any::<bool>()).prop_map(|(at, active)| Step::SetLevel(at, active)),
        6 => (0..1_000_usize, 1..4_usize).prop_map(|(at, max)| Step::Read(at, max)),
        2 => (1..6_usize).prop_map(Step::ReadBatch),
    ];
    prop::collection::vec(step, 1..150)
}

const USERS: u64 = 4;

/// One session, and what it is known to have heard.
struct Session {
    user: u64,
    members: bool,
    level: Level,
    stream: Option<Stream>,
    /// A stream is read when it was woken, or at random while it does not wait.
    is_awake: bool,
    /// What was told before is not for it: its number at the attach, or at the last change of level.
    since: u64,
    heard: BTreeMap<Subject, u64>,
    last: u64,
    known: u64,
}

/// Something told, and who could hear it then.
struct Told {
    subject: Subject,
    at: u64,
    hearers: BTreeSet<u64>,
}

struct World {
    relay: Relay,
    batch: Batch,
    sessions: Vec<Session>,
    by_key: BTreeMap<SessionKey, usize>,
    staff: BTreeSet<u64>,
    is_veiled: bool,
    /// When the user's roles changed last, by number of what was told before.
    changed: [u64; USERS as usize],
    told: Vec<Told>,
}

#[derive(Default)]
struct Occurred {
    replaced_unheard: Cell<u32>,
    heard_late: Cell<u32>,
    not_for_all: Cell<u32>,
    called_while_waiting: Cell<u32>,
}

fn count(occurred: &Cell<u32>, really: bool) {
    occurred.set(occurred.get() + u32::from(really));
}

impl World {
    fn new() -> Self {
        let settings = GuildSettings { name: name(), owner: UserId::new(99).unwrap() };
        let mut rights = Rights::new(guild(), settings, Rights::everyone_role(guild(), Permissions::VIEW_CHANNEL));
        rights.apply(&EventKind::RoleCreated { role: role() });
        let hidden = Overwrite { target: everyone(), allow: Permissions::NONE, deny: Permissions::VIEW_CHANNEL };
        let shown = Overwrite {
            target: OverwriteTarget::Role(role().id),
            allow: Permissions::VIEW_CHANNEL,
            deny: Permissions::NONE,
        };
        rights.apply(&EventKind::ChannelCreated { channel: channel(0), overwrites: Vec::new() });
        rights.apply(&EventKind::ChannelCreated { channel: channel(1), overwrites: vec![hidden, shown] });
        let (relay, batch) = Relay::new(RelayConfig::default(), rights, position(0));
        Self {
            relay,
            batch,
            sessions: Vec::new(),
            by_key: BTreeMap::new(),
            staff: BTreeSet::new(),
            is_veiled: false,
            changed: [0; USERS as usize],
            told: Vec::new(),
        }
    }

    fn sees(&self, user: u64, channel: u64) -> bool {
        if channel == 0 { !self.is_veiled } else { self.staff.contains(&user) }
    }

    fn apply(&mut self, kind: EventKind) {
        let mut woken = Vec::new();
        let event = Event { position: self.relay.position().next(), at: Millis(0), kind };
        self.relay.apply(Arc::new(event), &mut woken).unwrap();
        self.wake(&woken);
    }

    fn wake(&mut self, woken: &[SessionKey]) {
        for key in woken {
            self.sessions[self.by_key[key]].is_awake = true;
        }
    }

    fn toggle(&mut self, user: u64) {
        let before = member(user, self.staff.contains(&user));
        if !self.staff.remove(&user) {
            self.staff.insert(user);
        }
        self.changed[user as usize] = self.told.len() as u64;
        self.apply(EventKind::MemberUpdated { before, after: member(user, self.staff.contains(&user)) });
    }

    fn veil(&mut self) {
        let veil = Overwrite { target: everyone(), allow: Permissions::NONE, deny: Permissions::VIEW_CHANNEL };
        let (before, after) = if self.is_veiled { (Some(veil), None) } else { (None, Some(veil)) };
        self.is_veiled = !self.is_veiled;
        self.apply(EventKind::OverwriteChanged { channel: channel(0).id, before, after });
    }

    fn tell(&mut self, kind: EphemeralKind, occurred: &Occurred) {
        let number = self.told.len() as u64 + 1;
        let kind = match kind {
            EphemeralKind::Typing { channel, user, .. } => {
                EphemeralKind::Typing { channel, user, since: Millis(number) }
            }
            kind @ EphemeralKind::Presence { .. } => kind,
        };
        let ephemeral = Ephemeral { at: self.relay.position(), kind };
        let subject = ephemeral.subject();
        let typist = subject.user.get() - 1;
        let hearers: BTreeSet<u64> = match subject.channel {
            Some(channel) => {
                let others = (0..USERS).filter(|user| *user != typist);
                others.filter(|user| self.sees(*user, channel.get() - 1)).collect()
            }
            None => (0..USERS).collect(),
        };
        count(&occurred.not_for_all, hearers.len() < USERS as usize - 1);
        self.told.push(Told { subject, at: ephemeral.at.seq.0, hearers });
        let mut woken = Vec::new();
        self.relay.tell(ephemeral, &mut woken).unwrap();
        count(&occurred.called_while_waiting, !woken.is_empty());
        self.wake(&woken);
    }

    fn attach(&mut self, user: u64, members: bool, is_stream: bool) {
        let number = self.sessions.len();
        let roles = if self.staff.contains(&user) { vec![role().id] } else { Vec::new() };
        let attach = Attach {
            session: SessionId::new(number as u64 + 1).unwrap(),
            accepted: self.relay.position(),
            user: user_id(user),
            roles: &roles,
            members,
            level: Level::Active,
            status: Status::Online,
        };
        let stream = is_stream.then(|| self.relay.attach_stream(attach).unwrap());
        match &stream {
            Some(stream) => {
                self.by_key.insert(stream.key(), number);
            }
            None => {
                self.relay.attach_batch(attach, number as u64).unwrap();
            }
        }
        let (since, known) = (self.told.len() as u64, self.relay.position().seq.0);
        let heard = BTreeMap::new();
        let is_awake = is_stream;
        self.sessions.push(Session {
            user,
            members,
            level: Level::Active,
            stream,
            is_awake,
            since,
            heard,
            last: since,
            known,
        });
    }

    fn set_level(&mut self, at: usize, level: Level) {
        let session = &mut self.sessions[at];
        if session.level == level {
            return;
        }
        let Some(stream) = &mut session.stream else {
            return;
        };
        // One that lags changes where it is: here only one that has read all does.
        if session.is_awake {
            return;
        }
        let (position, mut woken) = (self.relay.position(), Vec::new());
        self.relay.set_level(stream, level, position, &mut woken).unwrap();
        (session.level, session.since) = (level, self.told.len() as u64);
        self.wake(&woken);
    }

    /// A stream that was woken reads.
    fn read(&mut self, at: usize, max: usize, occurred: &Occurred) {
        let session = &mut self.sessions[at];
        let Some(mut stream) = session.stream.take_if(|_| session.is_awake) else {
            return;
        };
        let told = &self.told;
        let read = stream.read(max, |delivery| match delivery {
            Delivery::Event(event) => session.hear_event(event.position.seq.0),
            Delivery::Ephemeral(ephemeral) => session.hear(&ephemeral, told, occurred),
            Delivery::Unread(_) => {}
            other @ (Delivery::Gap(_) | Delivery::Detached(_)) => panic!("nothing is lost here: {other:?}"),
        });
        if read != Read::More && self.relay.wait(&mut stream).unwrap() == Wait::Waiting {
            session.is_awake = false;
        }
        session.stream = Some(stream);
    }

    fn read_all(&mut self, occurred: &Occurred) {
        for at in 0..self.sessions.len() {
            while self.sessions[at].is_awake {
                self.read(at, 2, occurred);
            }
        }
        while self.read_batch(3, occurred) == BatchRead::More {}
    }

    fn read_batch(&mut self, max: usize, occurred: &Occurred) -> BatchRead {
        self.relay.fill(&mut self.batch);
        let Self { sessions, told, batch, .. } = self;
        batch.read(max, |item| match item {
            BatchItem::Event { event, tokens } => {
                tokens.iter().for_each(|token| sessions[*token as usize].hear_event(event.position.seq.0));
            }
            BatchItem::Ephemeral { ephemeral, tokens } => {
                assert!(!tokens.is_empty());
                tokens.iter().for_each(|token| sessions[*token as usize].hear(ephemeral, told, occurred));
            }
            BatchItem::Unread { .. } => {}
            other @ (BatchItem::Gap { .. } | BatchItem::Detached { .. }) => panic!("nothing is lost here: {other:?}"),
        })
    }

    /// All has been read: everybody has heard the latest of each subject that it must.
    fn check(&self, occurred: &Occurred) {
        let mut latest = BTreeMap::new();
        for (idx, told) in self.told.iter().enumerate() {
            let before = latest.insert(told.subject, idx as u64 + 1);
            let was_heard =
                |number: &u64| self.sessions.iter().any(|session| session.heard.get(&told.subject) == Some(number));
            count(&occurred.replaced_unheard, before.is_some_and(|number| !was_heard(&number)));
        }
        for session in &self.sessions {
            for (subject, number) in &latest {
                let told = &self.told[*number as usize - 1];
                // A stream whose roles have changed since does not judge any more.
                let is_judged = session.stream.is_none()
                    || subject.channel.is_none()
                    || self.changed[session.user as usize] < *number;
                if session.may_hear(*number, told) && session.level == Level::Active && is_judged {
                    assert_eq!(session.heard.get(subject), Some(number), "of {subject:?} to user {}", session.user);
                }
            }
        }
    }
}

impl Session {
    fn may_hear(&self, number: u64, told: &Told) -> bool {
        let wants = told.subject.channel.is_some() || self.members;
        number > self.since && told.hearers.contains(&self.user) && wants
    }

    fn hear_event(&mut self, seq: u64) {
        assert!(seq > self.known, "event {seq} after {}", self.known);
        self.known = seq;
    }

    fn hear(&mut self, ephemeral: &Ephemeral, told: &[Told], occurred: &Occurred) {
        let subject = ephemeral.subject();
        // Presence bears no number: the first that it can be, after what was heard last.
        let numbers = self.last as usize..told.len();
        let number = match ephemeral.kind {
            EphemeralKind::Typing { since, .. } => since.0,
            EphemeralKind::Presence { .. } => {
                let mut of_subject = numbers.filter(|idx| told[*idx].subject == subject);
                of_subject.next_back().expect("what is heard was told, and not heard before") as u64 + 1
            }
        };
        let told = &told[number as usize - 1];
        assert!(number > self.last, "{number} is told after {}", self.last);
        assert_eq!((told.subject, told.at), (subject, ephemeral.at.seq.0));
        assert!(self.level == Level::Active && self.may_hear(number, told), "{number} is not for user {}", self.user);
        count(&occurred.heard_late, self.known > told.at);
        // No event up to its position is heard after it.
        self.known = self.known.max(told.at);
        self.last = number;
        self.heard.insert(subject, number);
    }
}

#[test]
fn everybody_hears_the_latest_that_is_for_it_and_nothing_else() {
    let occurred = Occurred::default();
    let mut runner = TestRunner::new(Config { cases: 1_000, ..Config::default() });
    let outcome = runner.run(&steps(), |steps| {
        let mut world = World::new();
        for step in steps {
            let sessions = world.sessions.len();
            match step {
                Step::Say(channel) => world.apply(message(channel)),
                Step::Toggle(user) => world.toggle(user),
                Step::Veil => world.veil(),
                Step::Type { user, channel: of } => {
                    let typing =
                        EphemeralKind::Typing { channel: channel(of).id, user: user_id(user), since: Millis(0) };
                    world.tell(typing, &occurred);
                }
                Step::Come(user, here) => {
                    let status = if here { Status::Online } else { Status::Offline };
                    world.tell(EphemeralKind::Presence { user: user_id(user), status }, &occurred);
                }
                Step::Attach { user, members, is_stream } => world.attach(user, members, is_stream),
                Step::SetLevel(at, active) if sessions > 0 => {
                    world.set_level(at % sessions, if active { Level::Active } else { Level::Passive });
                }
                Step::Read(at, max) if sessions > 0 => world.read(at % sessions, max, &occurred),
                Step::SetLevel(..) | Step::Read(..) => {}
                Step::ReadBatch(max) => {
                    world.read_batch(max, &occurred);
                }
            }
        }
        world.read_all(&occurred);
        world.check(&occurred);
        Ok(())
    });
    assert_eq!(outcome, Ok(()));
    let Occurred { replaced_unheard, heard_late, not_for_all, called_while_waiting } = &occurred;
    for occurrences in [replaced_unheard, heard_late, not_for_all, called_while_waiting] {
        assert!(occurrences.get() > 100);
    }
}

fn guild() -> GuildId {
    GuildId::new(1).unwrap()
}

fn user_id(user: u64) -> UserId {
    UserId::new(user + 1).unwrap()
}

fn position(seq: u64) -> Position {
    Position { epoch: Epoch(1), seq: Seq(seq) }
}

fn name() -> Name {
    Name::parse("x").unwrap()
}

fn everyone() -> OverwriteTarget {
    OverwriteTarget::Role(RoleId::everyone(guild()))
}

fn role() -> Role {
    let (id, permissions) = (RoleId::new(21).unwrap(), Permissions::NONE);
    Role { id, name: name(), position: 1, permissions, hoist: false, mentionable: false }
}

fn channel(number: u64) -> Channel {
    let id = ChannelId::new(number + 1).unwrap();
    Channel { id, name: name(), kind: ChannelKind::Text, parent: None, position: 0 }
}

fn member(user: u64, is_staff: bool) -> Member {
    let roles = if is_staff { vec![role().id] } else { Vec::new() };
    Member {
        user: user_id(user),
        nick: Nick::parse("x").unwrap(),
        roles,
        joined_at: Millis(0),
        flags: MemberFlags::NONE,
    }
}

fn message(number: u64) -> EventKind {
    EventKind::MessagePublished(Message {
        channel: channel(number).id,
        author: None,
        session: None,
        echo: false,
        mentions: Mentions::default(),
        payload: Payload::new("hello").unwrap(),
    })
}
