//! Random histories through the real relay: what its sessions hear breaks no promise, and what is altered on its way to them does.

mod happening;

use std::collections::{BTreeMap, BTreeSet};

use guildhall_permissions::Rights;
use guildhall_proto::{ChannelId, Member, Millis, RoleId};
use guildhall_relay::{
    Attach, Batch, BatchItem, Delivery, Gap, Opened, Read, Relay, RelayConfig, Resume, SessionKey, Stream, Wait,
};
use guildhall_ring::RingConfig;

use super::*;
use crate::check::Breach;
use crate::check::hearing::eye::ends;
use crate::dice::Dice;
use crate::model::Community;

#[test]
fn what_a_relay_lets_its_sessions_hear_breaks_no_promise() {
    let mut counts = [0; 14];
    for seed in 0..HISTORIES {
        let mut history = History::new(seed, None);
        history.run().unwrap_or_else(|breach| panic!("seed {seed}: {breach}"));
        counts.iter_mut().zip(history.counts()).for_each(|(all, count)| *all += count);
    }
    // What makes the test worth something really occurred, and often.
    assert!(counts.iter().all(|count| *count >= 20), "{counts:?}");
}

#[test]
fn whatever_is_altered_on_its_way_to_a_session_is_found() {
    let mut altered = BTreeMap::new();
    for seed in 0..HISTORIES {
        let fault = [Fault::Dropped, Fault::Doubled, Fault::Slipped][(seed % 3) as usize];
        let mut history = History::new(seed, Some(fault));
        let result = history.run();
        if history.is_altered {
            *altered.entry(fault).or_insert(0) += 1;
            assert!(result.is_err(), "seed {seed}: {fault:?} was not found");
        }
    }
    assert!(altered.len() == 3 && altered.values().all(|count| *count >= 20), "{altered:?}");
}

/// What is done to one event on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fault {
    Dropped,
    Doubled,
    /// Another event slips in before it.
    Slipped,
}

struct History {
    dice: Dice,
    scene: Scene,
    /// All that was let out, and the rights after each.
    log: Vec<(Arc<Event>, Rights)>,
    told: Vec<Ephemeral>,
    hosts: Vec<Host>,
    sessions: Vec<Session>,
    /// What members' records name, deleted roles among them.
    records: BTreeMap<UserId, BTreeSet<RoleId>>,
    cleaned_to: Seq,
    now: Millis,
    fault: Option<Fault>,
    is_altered: bool,
}

struct Host {
    relay: Relay,
    batch: Batch,
    told: usize,
}

struct Session {
    ear: EarId,
    begin: Begin,
    host: usize,
    key: SessionKey,
    stream: Option<Stream>,
    /// The last position that it knows.
    known: Position,
    stage: Stage,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Served,
    /// Its end is decided.
    Leaving,
    Cut,
    Over,
}

impl History {
    fn new(seed: u64, fault: Option<Fault>) -> Self {
        let mut scene = Scene::new();
        let mut rights = None;
        let mut log = Vec::new();
        for entry in scene.annals.trunk().to_vec() {
            let rights = rights.get_or_insert_with(|| first_rights(&entry.event.kind));
            rights.apply(&entry.event.kind);
            log.push((entry.event, rights.clone()));
        }
        let dice = Dice::new(seed);
        scene.make(EventKind::RoleCreated { role: role(GUESTS) });
        let mut history = Self {
            dice,
            scene,
            log,
            told: Vec::new(),
            hosts: Vec::new(),
            sessions: Vec::new(),
            records: BTreeMap::new(),
            cleaned_to: Seq(0),
            now: Millis(1_000_000),
            fault,
            is_altered: false,
        };
        history.note();
        history.clean_records();
        for _ in 0..2 {
            let small = RingConfig { entries_max: 4 + history.below(40), bytes_max: 1 << 20 };
            let config = RelayConfig { ring: small, slow_ring: small, ..RelayConfig::default() };
            let (relay, batch) = Relay::new(config, history.log[history.log.len() - 1].1.clone(), history.scene.head());
            history.hosts.push(Host { relay, batch, told: 0 });
        }
        history
    }

    fn run(&mut self) -> Result<(), Breach> {
        for _ in 0..STEPS {
            if self.is_deleted() {
                break;
            }
            self.step()?;
        }
        if self.dice.one_in(4) && !self.is_deleted() {
            self.make(EventKind::GuildDeleted);
        }
        for host in 0..self.hosts.len() {
            self.feed(host, usize::MAX);
            for _ in 0..2 {
                self.now.0 += 10_000;
                self.hosts[host].relay.tick(self.now, &mut Vec::new());
                while self.read_batch(host, 100)? {}
                for idx in 0..self.sessions.len() {
                    while self.sessions[idx].host == host && self.read(idx, 100)? {}
                }
            }
        }
        let Scene { annals, ears, .. } = &mut self.scene;
        ears.rests(annals)
    }

    fn step(&mut self) -> Result<(), Breach> {
        let (host, session) = (self.below(self.hosts.len()), self.below(self.sessions.len().max(1)));
        match self.below(100) {
            0..=34 => self.happen(),
            35..=54 => {
                let count = 1 + self.below(12);
                self.feed(host, count);
            }
            55..=62 => self.attach(host)?,
            63..=76 => {
                let max = 1 + self.below(6);
                self.read(session, max)?;
            }
            77..=82 => {
                let max = 1 + self.below(6);
                self.read_batch(host, max)?;
            }
            83..=86 => self.turn(session)?,
            87 => self.show(session)?,
            88 => self.detach(session),
            89..=90 => self.cut(session),
            91..=93 => self.resume(session, host)?,
            94..=95 => self.tell(),
            96..=97 => {
                self.now.0 += self.dice.below(8_000);
                self.hosts[host].relay.tick(self.now, &mut Vec::new());
            }
            98 => self.resync(host),
            _ => self.open_epoch(),
        }
        Ok(())
    }

    fn make(&mut self, kind: EventKind) {
        if let EventKind::MemberUpdated { after: member, .. } | EventKind::MemberJoined { member } = &kind {
            self.records.insert(member.user, member.roles.iter().copied().collect());
        } else if let EventKind::MembersJoined { members } = &kind {
            self.records.extend(members.iter().map(|member| (member.user, BTreeSet::new())));
        } else if let EventKind::RoleCreated { .. } = &kind {
            // An id is free again once records are clean.
            self.clean_records();
        }
        self.scene.make(kind);
        self.note();
    }

    fn clean_records(&mut self) {
        let holding = self.community().members.values().map(|member| (member.user, member.roles.clone()));
        self.records = holding.map(|(user, roles)| (user, roles.into_iter().collect())).collect();
        self.cleaned_to = self.scene.head().seq;
    }

    /// Takes note of the event that was made last.
    fn note(&mut self) {
        let event = Arc::clone(&self.scene.annals.trunk().last().unwrap().event);
        let mut rights = self.log.last().unwrap().1.clone();
        rights.apply(&event.kind);
        self.log.push((event, rights));
    }

    fn open_epoch(&mut self) {
        let head = self.scene.head();
        let lost = self.log.iter().rev().take_while(|(event, _)| !event.is_durable()).count() as u64;
        let lost = if self.dice.one_in(2) { 0 } else { self.dice.below(lost + 1) };
        let after = Position { seq: Seq(head.seq.0 - lost), ..head };
        // Relays find their way alone if nothing is lost; all others begin again from a view.
        let is_clean = lost == 0;
        for host in 0..self.hosts.len() {
            if is_clean {
                self.feed(host, usize::MAX);
            }
        }
        self.scene.open_epoch(after);
        let epoch = self.scene.annals.epoch().unwrap();
        for host in 0..self.hosts.len() {
            let relay = &mut self.hosts[host].relay;
            let opened = relay.open_epoch(epoch, is_clean.then_some(after), &mut Vec::new());
            if opened == Ok(Opened::MustResync) {
                self.resync(host);
            }
        }
    }

    fn feed(&mut self, host: usize, count: usize) {
        let Host { relay, told, .. } = &mut self.hosts[host];
        let from = relay.position();
        let next = self.log.partition_point(|(event, _)| event.position <= from);
        for (event, _) in self.log[next..].iter().take(count) {
            relay.apply(Arc::clone(event), &mut Vec::new()).unwrap();
        }
        while let Some(next) = self.told.get(*told).filter(|told| told.at <= relay.position()) {
            // Of an owner that is gone, it is dropped.
            let _ = relay.tell(*next, &mut Vec::new());
            *told += 1;
        }
    }

    fn resync(&mut self, host: usize) {
        let at = self.scene.head();
        let from = self.hosts[host].relay.position();
        if from == at || self.is_deleted() {
            return;
        }
        let members = self.community().members.clone();
        let rights = self.log.last().unwrap().1.clone();
        let is_outlived = |session: &&Session| {
            // Who left and came back within the hole is another.
            let since = session.begin.accepted.max(from);
            let mut later = self.log.iter().filter(|(event, _)| event.position > since);
            session.host == host && later.any(|(event, _)| ends(&event.kind, session.begin.user).is_some())
        };
        let outlived: Vec<SessionKey> = self.sessions.iter().filter(is_outlived).map(|session| session.key).collect();
        let member = |user: UserId| members.get(&user).map(|member| (**member).clone());
        self.hosts[host].relay.resync(at, rights, member, &outlived, &mut Vec::new()).unwrap();
    }

    fn attach(&mut self, host: usize) -> Result<(), Breach> {
        let back = self.dice.below(12);
        let head = self.scene.head();
        let opened = self.scene.annals.opening(head.epoch).unwrap().after;
        let accepted = Position { seq: Seq((head.seq.0 - back.min(head.seq.0)).max(opened.seq.0)), ..head };
        let Some(community) = self.scene.annals.as_of(accepted).community().cloned() else { return Ok(()) };
        let members: Vec<UserId> = community.members.keys().copied().collect();
        let who = *self.dice.one_of(&members).unwrap();
        let level = [Level::Active, Level::Passive][self.below(2)];
        let begin = self.scene.begin(who.get(), level);
        let way = [Way::Stream, Way::Batch][self.below(2)];
        let members = self.dice.one_in(4);
        let relay_at = self.hosts[host].relay.position();
        let begin = Begin { members, way, after: accepted, accepted, relay_at, status: self.status(), ..begin };
        let roles = community.members[&who].roles.clone();
        let attach = attach(&begin, &roles);
        let ear = EarId(begin.session.get());
        let relay = &mut self.hosts[host].relay;
        let (key, stream) = match way {
            Way::Stream => match relay.attach_stream(attach) {
                Ok(stream) => (stream.key(), Some(stream)),
                Err(_) => return Ok(()),
            },
            Way::Batch => match relay.attach_batch(attach, ear.0) {
                Ok(key) => (key, None),
                Err(_) => return Ok(()),
            },
        };
        self.scene.ears.begins(&self.scene.annals, ear, begin)?;
        self.sessions.push(Session { ear, begin, host, key, stream, known: accepted, stage: Stage::Served });
        Ok(())
    }

    fn turn(&mut self, idx: usize) -> Result<(), Breach> {
        let accepted = self.scene.head();
        let level = [Level::Active, Level::Passive][self.below(2)];
        let Some(session) = self.sessions.get_mut(idx).filter(|session| session.stage == Stage::Served) else {
            return Ok(());
        };
        let relay = &mut self.hosts[session.host].relay;
        let turned = match &mut session.stream {
            Some(stream) => relay.set_level(stream, level, accepted, &mut Vec::new()),
            None => relay.set_level_batch(session.key, level, accepted),
        };
        let Ok(from) = turned else { return Ok(()) };
        self.scene.ears.level(&self.scene.annals, session.ear, level, accepted, from)
    }

    fn show(&mut self, idx: usize) -> Result<(), Breach> {
        let (accepted, status) = (self.scene.head(), self.status());
        let Some(session) = self.sessions.get(idx).filter(|session| session.stage == Stage::Served) else {
            return Ok(());
        };
        match self.hosts[session.host].relay.set_status(session.key, status, accepted) {
            Ok(from) => self.scene.ears.status(&self.scene.annals, session.ear, status, accepted, from),
            Err(_) => Ok(()),
        }
    }

    fn detach(&mut self, idx: usize) {
        let accepted = self.scene.head();
        let Some(session) = self.sessions.get_mut(idx).filter(|session| session.stage == Stage::Served) else {
            return;
        };
        if !self.is_altered && self.hosts[session.host].relay.detach(session.key, accepted, &mut Vec::new()).is_ok() {
            self.scene.ears.detached(session.ear, accepted);
            session.stage = Stage::Leaving;
        }
    }

    fn cut(&mut self, idx: usize) {
        let Some(session) = self.sessions.get_mut(idx).filter(|session| session.stage == Stage::Served) else {
            return;
        };
        if !self.is_altered {
            let relay = &mut self.hosts[session.host].relay;
            let _ = relay.detach(session.key, relay.position(), &mut Vec::new());
            session.stream = None;
            session.stage = Stage::Cut;
            self.scene.ears.cut(session.ear);
        }
    }

    fn resume(&mut self, idx: usize, host: usize) -> Result<(), Breach> {
        let Some(session) = self.sessions.get(idx).filter(|session| session.stage == Stage::Cut) else { return Ok(()) };
        let (known, before) = (session.known, session.begin);
        let accepted = self.scene.head();
        self.feed(host, usize::MAX);
        let mut since = self.log.iter().filter(|(event, _)| event.position > before.accepted);
        let has_left = since.any(|(event, _)| ends(&event.kind, before.user).is_some());
        if has_left || self.hosts[host].relay.position() != accepted {
            return Ok(());
        }
        if self.dice.one_in(3) {
            self.clean_records();
        }
        let roles = self.community().members[&before.user].roles.clone();
        let deleted: Vec<RoleId> =
            self.records[&before.user].iter().copied().filter(|role| !roles.contains(role)).collect();
        let ear = EarId(self.scene.begin(before.user.get(), before.level).session.get());
        let level = [Level::Active, Level::Passive][self.below(2)];
        let way = [Way::Stream, Way::Batch][self.below(2)];
        let relay = &mut self.hosts[host].relay;
        let mut begin = Begin { level, way, after: known, accepted, relay_at: relay.position(), again: true, ..before };
        let resume = Resume {
            attach: attach(&begin, &roles),
            known,
            deleted_roles: &deleted,
            deletions_unknown_to: self.cleaned_to,
        };
        let (key, stream) = match way {
            Way::Stream => match relay.resume_stream(resume) {
                Ok((stream, gap)) => {
                    begin.gap = gap;
                    (stream.key(), Some(stream))
                }
                Err(_) => return Ok(()),
            },
            Way::Batch => match relay.resume_batch(resume, ear.0) {
                Ok((key, _)) => (key, None),
                Err(_) => return Ok(()),
            },
        };
        self.scene.ears.begins(&self.scene.annals, ear, begin)?;
        self.sessions[idx] = Session { ear, begin, host, key, stream, known, stage: Stage::Served };
        Ok(())
    }

    fn tell(&mut self) {
        let members: Vec<UserId> = self.community().members.keys().copied().collect();
        let channels: Vec<ChannelId> = self.community().channels.keys().copied().collect();
        let user = self.dice.one_of(&members).unwrap().get();
        let told = match self.dice.one_of(&channels) {
            Some(channel) if !self.dice.one_in(3) => {
                self.now.0 += 1;
                self.scene.types(user, channel.get(), self.now.0)
            }
            _ => {
                let status = self.status();
                self.scene.is_there(user, status)
            }
        };
        self.told.push(told);
    }

    /// Reads a stream; whether there may be more.
    fn read(&mut self, idx: usize, max: usize) -> Result<bool, Breach> {
        let Some(session) = self.sessions.get_mut(idx) else { return Ok(false) };
        let (ear, host) = (session.ear, session.host);
        let Some(stream) = session.stream.as_mut().filter(|_| session.stage != Stage::Over) else { return Ok(false) };
        let mut all = Vec::new();
        let read = stream.read(max, |delivery| {
            all.push(match delivery {
                Delivery::Event(event) => Heard::Event(Arc::clone(event)),
                Delivery::Gap(gap) => Heard::Gap(gap),
                Delivery::Unread(unread) => Heard::Unread(unread.clone()),
                Delivery::Ephemeral(told) => Heard::Ephemeral(told),
                Delivery::Detached(reason) => Heard::Detached(reason),
            });
        });
        for heard in all {
            self.hear(ear, heard)?;
        }
        let relay = &mut self.hosts[host].relay;
        let stream = self.sessions[idx].stream.as_mut().unwrap();
        let is_waiting = match read {
            Read::More => return Ok(true),
            Read::Ended => return Ok(false),
            Read::Waiting => true,
            Read::Idle => match relay.wait(stream).unwrap() {
                Wait::Waiting => true,
                Wait::Ready | Wait::Gap => return Ok(true),
            },
        };
        assert!(is_waiting);
        self.scene.ears.waits(&self.scene.annals, ear, relay.position())?;
        Ok(false)
    }

    /// Reads a batch; whether there may be more.
    fn read_batch(&mut self, host: usize, max: usize) -> Result<bool, Breach> {
        let Host { relay, batch, .. } = &mut self.hosts[host];
        relay.fill(batch);
        let (mut all, at) = (Vec::new(), relay.position());
        let read = batch.read(max, |item| match item {
            BatchItem::Event { event, tokens } => {
                all.extend(tokens.iter().map(|token| (*token, Heard::Event(Arc::clone(event)))));
            }
            BatchItem::Gap { gap, tokens } => all.extend(tokens.iter().map(|token| (*token, Heard::Gap(gap)))),
            BatchItem::Unread { unread, tokens } => {
                all.extend(tokens.iter().map(|token| (*token, Heard::Unread(unread.clone()))));
            }
            BatchItem::Ephemeral { ephemeral, tokens } => {
                all.extend(tokens.iter().map(|token| (*token, Heard::Ephemeral(*ephemeral))));
            }
            BatchItem::Detached { reason, token } => all.push((token, Heard::Detached(reason))),
        });
        for (token, heard) in all {
            self.hear(EarId(token), heard)?;
        }
        if read == guildhall_relay::BatchRead::More {
            return Ok(true);
        }
        for session in &self.sessions {
            if (session.host, session.begin.way) == (host, Way::Batch) && session.begin.accepted <= at {
                self.scene.ears.waits(&self.scene.annals, session.ear, at)?;
            }
        }
        Ok(false)
    }

    fn hear(&mut self, ear: EarId, heard: Heard) -> Result<(), Breach> {
        let Some(session) = self.sessions.iter_mut().find(|session| session.ear == ear) else { return Ok(()) };
        if session.stage == Stage::Cut {
            return Ok(());
        }
        match &heard {
            Heard::Event(event) => session.known = event.position,
            Heard::Gap(Gap { through, .. }) => session.known = *through,
            Heard::Detached(_) => session.stage = Stage::Over,
            Heard::Unread(_) | Heard::Ephemeral(_) => {}
        }
        let is_served = session.stage == Stage::Served;
        let Scene { annals, ears, .. } = &mut self.scene;
        if let (Heard::Event(_), Some(fault)) = (&heard, self.fault)
            && is_served
            && !self.is_altered
            && self.dice.one_in(30)
        {
            self.is_altered = true;
            match fault {
                Fault::Dropped => return Ok(()),
                Fault::Doubled => ears.heard(annals, ear, &heard)?,
                Fault::Slipped => {
                    let (other, _) = self.dice.one_of(&self.log).unwrap();
                    ears.heard(annals, ear, &Heard::Event(Arc::clone(other)))?;
                }
            }
        }
        ears.heard(annals, ear, &heard)
    }

    fn community(&self) -> &Community {
        self.scene.annals.latest().community().expect("it ends with its guild")
    }

    fn is_deleted(&self) -> bool {
        self.scene.annals.latest().is_deleted()
    }

    fn status(&mut self) -> Status {
        [Status::Online, Status::Offline, Status::Idle][self.below(3)]
    }

    fn below(&mut self, bound: usize) -> usize {
        self.dice.index(bound).unwrap_or(0)
    }

    fn counts(&self) -> [u64; 14] {
        let Tally { events, replayed, replayed_hidden, hidden_meanwhile, calls, gaps, missed, .. } =
            self.scene.ears.tally();
        let Tally { epochs_continued, epochs_over_gaps, summaries, told, left, removed, deleted, .. } =
            self.scene.ears.tally();
        let heard = [events, replayed, replayed_hidden, hidden_meanwhile, calls, gaps, missed];
        let others = [epochs_continued, epochs_over_gaps, summaries, told, left, removed, deleted];
        std::array::from_fn(|at| if at < 7 { heard[at] } else { others[at - 7] })
    }
}

fn first_rights(created: &EventKind) -> Rights {
    let EventKind::GuildCreated { settings, everyone, .. } = created else { panic!("a guild begins with {created:?}") };
    Rights::new(guild(), settings.clone(), everyone.clone())
}

fn attach<'a>(begin: &Begin, roles: &'a [RoleId]) -> Attach<'a> {
    let Begin { session, accepted, user, members, level, status, .. } = *begin;
    Attach { session, accepted, user, roles, members, level, status }
}

const HISTORIES: u64 = 300;
const STEPS: usize = 400;
