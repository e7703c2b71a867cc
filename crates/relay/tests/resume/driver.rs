//! Drives relays, old and new ones of one guild, and the sessions that are cut and come back.

use std::collections::{BTreeMap, BTreeSet};

use guildhall_permissions::Rights;
use guildhall_proto::{
    ChannelId, EventKind, Level, Permissions, Position, RoleId, Seq, SessionId, Status, Unread, UserId,
};
use guildhall_relay::{
    Attach, AttachError, Batch, BatchItem, BatchRead, Delivery, DetachReason, Gap, Opened, Read, Relay, RelayConfig,
    Resume, ResumeError, SessionKey, Stream, Wait,
};
use guildhall_ring::{Budget, RingConfig};

use crate::world::{Ear, World, user};

/// How often the things happened that the test is about.
#[derive(Debug, Default)]
pub(crate) struct Counts(BTreeMap<&'static str, u64>);

impl Counts {
    pub(crate) fn of(&self, what: &str) -> u64 {
        self.0.get(what).copied().unwrap_or(0)
    }

    pub(crate) fn add(&mut self, other: &Self) {
        for (what, count) in &other.0 {
            *self.0.entry(what).or_default() += count;
        }
    }

    fn note(&mut self, what: &'static str, happened: bool) {
        *self.0.entry(what).or_default() += u64::from(happened);
    }
}

pub(crate) struct Driver {
    world: World,
    /// All have been fed everything when a step ends, but for the world's news.
    relays: Vec<(Relay, Batch)>,
    sessions: Vec<Session>,
    fed: u64,
    config: RelayConfig,
    ring_entries: u64,
    /// Who has been deleted up to here is not in any record any more.
    cleaned: u64,
    counts: Counts,
}

struct Session {
    id: SessionId,
    user: UserId,
    ear: Ear,
    /// From where on it listens so, if it listened otherwise before.
    switched: Option<(u64, Ear)>,
    /// Where it is attached, if it is.
    at: Option<Place>,
    /// What it has heard, by event number, of late: those it may say it knows.
    heard: Vec<u64>,
    known: u64,
    /// What it is to be told of as news, and where.
    news: Option<(u64, Vec<ChannelId>)>,
    is_over: bool,
}

struct Place {
    relay: usize,
    key: SessionKey,
    stream: Option<Stream>,
    /// A gap that it is to be told first.
    gap: Option<Gap>,
}

enum Heard {
    Event(Position),
    Gap(Gap),
    Unread(Unread),
    Detached(DetachReason),
}

impl Driver {
    pub(crate) fn new(setup: u16) -> Self {
        let world = World::new(setup);
        let ring_entries = if setup.is_multiple_of(4) { 24 } else { 1_024 };
        let ring = RingConfig { entries_max: ring_entries as usize, bytes_max: 1024 * 1024 };
        let config = RelayConfig { ring, ..RelayConfig::default() };
        let relay = Relay::new(config, world.rights[0].clone(), world.position(0, false));
        Self {
            world,
            relays: vec![relay],
            sessions: Vec::new(),
            fed: 0,
            config,
            ring_entries,
            cleaned: 0,
            counts: Counts::default(),
        }
    }

    pub(crate) fn step(&mut self, (kind, a, b, c): (u8, u16, u16, u16)) {
        let idx = usize::from(a).checked_rem(self.sessions.len());
        match (kind, idx) {
            (0..=119, _) => self.world.random_event(a, b, c, &[]),
            (120..=169, _) => self.feed(u64::from(a % 16) + 1),
            (170..=189, _) => self.attach(b, c),
            (190..=209, Some(idx)) => self.read(idx, usize::from(b % 7) + 1),
            (210..=229, Some(idx)) => self.cut(idx, b),
            (230..=246, Some(idx)) => self.resume(idx, b, c),
            (247..=249, Some(idx)) => self.set_level(idx),
            (250..=252, _) => self.cleaned = self.fed,
            (253, _) => self.world.open_epoch(),
            (254, _) if a.is_multiple_of(4) => self.world.delete(),
            _ => self.feed(1),
        }
    }

    /// Lets everybody come back and hear everything, and says what happened in all.
    pub(crate) fn finish(mut self) -> Counts {
        self.feed(u64::MAX);
        for idx in 0..self.sessions.len() {
            self.resume(idx, idx as u16 * 3, 0);
        }
        for idx in 0..self.sessions.len() {
            self.read(idx, usize::MAX);
            let session = &self.sessions[idx];
            let is_done = session.at.is_none() || session.is_over;
            assert!(is_done || self.next_for(idx).is_none() && session.news.is_none(), "not heard");
        }
        self.counts
    }

    fn feed(&mut self, count: u64) {
        for _ in 0..count {
            if let Some(epoch) = self.world.opened.get(&self.fed).copied() {
                for (relay, _) in &mut self.relays {
                    if epoch > relay.position().epoch {
                        let at = relay.position();
                        assert_eq!(relay.open_epoch(epoch, Some(at), &mut Vec::new()), Ok(Opened::Continued));
                    }
                }
            }
            if self.fed == self.world.head() {
                return;
            }
            let event = &self.world.events[self.fed as usize];
            for (relay, _) in &mut self.relays {
                relay.apply(event.clone(), &mut Vec::new()).unwrap();
            }
            self.fed += 1;
        }
    }

    fn is_alive(&self, who: UserId) -> bool {
        self.world.members[self.fed as usize].contains_key(&who) && !self.is_deleted()
    }

    fn is_deleted(&self) -> bool {
        self.fed > 0 && self.world.deletes(self.fed)
    }

    /// The roles of a member as of the relays' position: those it holds, and deleted ones that its record still names.
    fn roles(&self, who: UserId) -> (Vec<RoleId>, Vec<RoleId>) {
        let rights = &self.world.rights[self.fed as usize];
        let held = self.world.members[self.fed as usize][&who].iter().copied();
        let (held, deleted): (Vec<_>, Vec<_>) = held.partition(|role| rights.role(*role).is_some());
        let is_known = |role: &RoleId| self.deleted_at(*role).is_some_and(|seq| seq > self.cleaned);
        (held, deleted.into_iter().filter(is_known).collect())
    }

    fn deleted_at(&self, role: RoleId) -> Option<u64> {
        let deletes =
            |kind: &EventKind| matches!(kind, EventKind::RoleDeleted { role: deleted, .. } if deleted.id == role);
        let event = self.world.events.iter().rev().find(|event| deletes(&event.kind))?;
        Some(event.position.seq.0)
    }

    fn attach(&mut self, b: u16, c: u16) {
        let who = user(u64::from(c));
        if self.sessions.len() >= 16 || !self.is_alive(who) {
            return;
        }
        let id = SessionId::new(self.sessions.len() as u64 + 1).unwrap();
        let (roles, _) = self.roles(who);
        let ear = ear(b);
        let relay = usize::from(c / 8) % self.relays.len();
        let (of, _) = &mut self.relays[relay];
        let attach = attach(id, who, ear, &roles, of.position());
        let (key, stream) = if b.is_multiple_of(3) {
            (of.attach_batch(attach, id.get() - 1).unwrap(), None)
        } else {
            let stream = of.attach_stream(attach).unwrap();
            (stream.key(), Some(stream))
        };
        let at = Some(Place { relay, key, stream, gap: None });
        let known = self.fed;
        self.sessions.push(Session {
            id,
            user: who,
            ear,
            switched: None,
            at,
            heard: vec![known],
            known,
            news: None,
            is_over: false,
        });
    }

    fn cut(&mut self, idx: usize, b: u16) {
        let fed = self.fed;
        let session = &mut self.sessions[idx];
        if session.is_over {
            return;
        }
        let Some(place) = session.at.take() else { return };
        let (relay, batch) = &mut self.relays[place.relay];
        if let Some(untold) = place.gap {
            session.known = untold.after.seq.0;
        }
        let _over = relay.detach(place.key, relay.position(), &mut Vec::new());
        if place.stream.is_none() {
            // The consumer has the others hear what is theirs; what it shows to nobody is lost on the way.
            relay.fill(batch);
            let mut heard = Vec::new();
            while batch.read(64, |item| collect(item, &mut heard)) == BatchRead::More {}
            heard.retain(|(token, _)| *token != idx as u64);
            for (token, heard) in heard {
                self.hear(token as usize, heard);
            }
        }
        let session = &mut self.sessions[idx];
        (session.switched, session.news) = (None, None);
        // Some of what it was sent last may not have come through.
        if b.is_multiple_of(3) && session.heard.len() > 1 {
            let back = 1 + usize::from(b / 3) % session.heard.len().min(6);
            let at = session.heard.len().saturating_sub(back);
            session.known = session.known.min(session.heard[at]);
            self.counts.note("resumes before what was heard", true);
        }
        let known = session.known;
        session.heard.retain(|seq| *seq < known);
        session.heard.push(known);
        assert!(known <= fed);
    }

    fn resume(&mut self, idx: usize, b: u16, c: u16) {
        let Session { id, user: who, ear: before, known, is_over, .. } = self.sessions[idx];
        let was_member = (known..=self.fed).all(|seq| self.world.members[seq as usize].contains_key(&who));
        if self.sessions[idx].at.is_some() || is_over || !self.is_alive(who) || !was_member {
            return;
        }
        let relay = if b.is_multiple_of(3) { self.another(b / 3) } else { usize::from(b) % self.relays.len() };
        let ear = if c.is_multiple_of(2) { before } else { ear(b / 8) };
        let (roles, deleted_roles) = self.roles(who);
        let (of, _) = &mut self.relays[relay];
        let known = self.world.position(known, c.is_multiple_of(4)).min(of.position());
        let resume = Resume {
            attach: attach(id, who, ear, &roles, of.position()),
            known,
            deleted_roles: &deleted_roles,
            deletions_unknown_to: Seq(self.cleaned),
        };
        let ahead = Resume { known: of.position().next(), ..resume };
        assert!(matches!(of.resume_stream(ahead), Err(ResumeError::Ahead { .. })));
        let behind = Attach { accepted: of.position().next(), ..resume.attach };
        let behind = of.resume_stream(Resume { attach: behind, ..resume });
        assert!(matches!(behind, Err(ResumeError::Behind { .. } | ResumeError::Attach(AttachError::Full { .. }))));
        let (key, stream, gap) = if b.is_multiple_of(5) {
            let (key, gap) = of.resume_batch(resume, id.get() - 1).unwrap();
            (key, None, gap)
        } else {
            let (stream, gap) = of.resume_stream(resume).unwrap();
            (stream.key(), Some(stream), gap)
        };
        self.counts.note("refused: ahead", true);
        self.counts.note("resumes on the same relay", relay == 0);
        self.counts.note("resumes on another relay", relay > 0);
        self.counts.note("resumes of streams", stream.is_some());
        self.counts.note("resumes of batch sessions", stream.is_none());
        self.counts.note("resumes of passive sessions", ear.level == Level::Passive);
        self.counts.note("resumes at another level", ear.level != before.level);
        match gap {
            Some(gap) => {
                assert_eq!(gap.after, known);
                assert!(gap.through > gap.after && gap.through <= self.relays[relay].0.position());
                self.check_reason(relay, who, gap);
            }
            None => self.count_replay(who, known.seq.0),
        }
        let from = gap.map_or(known.seq.0, |gap| gap.through.seq.0);
        let news = self.news_since(from, id, who).filter(|_| ear.level == Level::Passive);
        let session = &mut self.sessions[idx];
        session.news = news;
        session.ear = ear;
        session.switched = None;
        session.at = Some(Place { relay, key, stream, gap });
    }

    /// The channels whose latest message since is one that an active session would have heard.
    fn news_since(&self, from: u64, session: SessionId, who: UserId) -> Option<(u64, Vec<ChannelId>)> {
        let mut news = BTreeSet::new();
        for seq in from + 1..=self.fed {
            let (published, deleted) = self.world.news(seq);
            let is_there = |channel: &ChannelId| self.world.rights[seq as usize].channel(*channel).is_some();
            if let Some(channel) = published.filter(is_there) {
                if self.world.is_for_active(seq, who, session, false) {
                    news.insert(channel);
                } else {
                    news.remove(&channel);
                }
            }
            deleted.map(|channel| news.remove(&channel));
        }
        (!news.is_empty()).then(|| (self.fed, news.into_iter().collect()))
    }

    /// A relay of the guild that was made just now, from a view and the owner's ring.
    fn another(&mut self, reach: u16) -> usize {
        let back = u64::from(reach % 4) * 16 + 8;
        let from = self.fed.saturating_sub(back);
        let at = self.relays[0].0.position();
        let past = &self.world.events[from as usize..self.fed as usize];
        let rights: Rights = self.world.rights[self.fed as usize].clone();
        let (relay, batch) = Relay::with_past(&Budget::new(usize::MAX), self.config, rights, at, past);
        assert_eq!(relay.position(), at);
        assert_eq!(relay.rights(), &self.world.rights[self.fed as usize]);
        if self.relays.len() < 3 {
            self.relays.push((relay, batch));
            return self.relays.len() - 1;
        }
        // The oldest of those made on the way goes; who was on it is cut without a word.
        let replaced = 1 + usize::from(reach) % 2;
        for idx in 0..self.sessions.len() {
            if self.sessions[idx].at.as_ref().is_some_and(|place| place.relay == replaced) {
                self.cut(idx, 1);
            }
        }
        self.relays[replaced] = (relay, batch);
        replaced
    }

    /// A gap is told only if something between is not known.
    fn check_reason(&mut self, relay: usize, who: UserId, gap: Gap) {
        let (after, through) = (gap.after.seq.0, gap.through.seq.0);
        let between = &self.world.events[after as usize..through as usize];
        let last = between.last().map(|event| &event.kind);
        let at = self.relays[relay].0.position();
        if gap.after.epoch < at.epoch && (after == through || relay > 0) {
            // What a new relay is made from is of one epoch.
            self.counts.note("gaps: another epoch", true);
        } else if matches!(last, Some(EventKind::RoleDeleted { .. })) {
            let rewritten = self.world.events[through as usize..self.fed as usize]
                .iter()
                .any(|event| matches!(&event.kind, EventKind::MemberUpdated { after, .. } if after.user == who));
            let passed = through + 24 / 2 <= self.fed;
            assert!(rewritten || through <= self.cleaned || passed || relay > 0, "{gap:?}");
            self.counts.note("gaps: roles unknown", true);
        } else {
            let reach = if relay == 0 { self.ring_entries - self.ring_entries / 8 - 1 } else { 8 };
            assert!(
                self.fed - through >= reach.min(self.fed - through.min(self.fed)) && self.fed - after >= reach.min(8)
            );
            self.counts.note("gaps: the ring has passed", true);
        }
    }

    fn count_replay(&mut self, who: UserId, known: u64) {
        let between = &self.world.events[known as usize..self.fed as usize];
        let deleted = between.iter().any(|event| matches!(event.kind, EventKind::RoleDeleted { .. }));
        self.counts.note("replays over a role deletion", deleted);
        let sees = |version: u64| {
            let roles = self.world.members[version as usize].get(&who).cloned().unwrap_or_default();
            let rights = &self.world.rights[version as usize];
            let sees =
                |id| rights.in_channel(who, &roles, id).is_some_and(|may| may.contains(Permissions::VIEW_CHANNEL));
            rights.channels().map(|channel| channel.id).filter(|id| sees(*id)).collect::<Vec<_>>()
        };
        let is_revoked = (known..self.fed).any(|seq| {
            let (was, is) = (sees(seq), sees(seq + 1));
            was.iter().any(|channel| !is.contains(channel))
        });
        self.counts.note("replays over a revoke", is_revoked);
        let members = &self.world.members[known as usize..=self.fed as usize];
        self.counts.note(
            "replays over a change of own roles",
            members.windows(2).any(|two| two[0].get(&who) != two[1].get(&who)),
        );
    }

    fn set_level(&mut self, idx: usize) {
        let session = &mut self.sessions[idx];
        let Some(Place { relay, stream: Some(stream), gap: None, .. }) = &mut session.at else { return };
        let (of, _) = &mut self.relays[*relay];
        let level = if session.ear.level == Level::Active { Level::Passive } else { Level::Active };
        if session.is_over || session.switched.is_some() {
            return;
        }
        let Ok(at) = of.set_level(stream, level, of.position(), &mut Vec::new()) else { return };
        let old = session.ear;
        session.ear.level = level;
        session.switched = Some((at.seq.0, old));
        self.counts.note("level changes while lagging", session.known < self.fed);
    }

    fn read(&mut self, idx: usize, max: usize) {
        let Some(place) = &mut self.sessions[idx].at else { return };
        let mut heard = Vec::new();
        let (relay, batch) = &mut self.relays[place.relay];
        match &mut place.stream {
            Some(stream) => {
                let mut left = max;
                while left > 0 {
                    let read = stream.read(left.min(8), |delivery| match delivery {
                        Delivery::Event(event) => heard.push((idx as u64, Heard::Event(event.position))),
                        Delivery::Gap(gap) => heard.push((idx as u64, Heard::Gap(gap))),
                        Delivery::Unread(unread) => heard.push((idx as u64, Heard::Unread(unread.clone()))),
                        Delivery::Detached(reason) => heard.push((idx as u64, Heard::Detached(reason))),
                        Delivery::Ephemeral(told) => panic!("nobody told {told:?}"),
                    });
                    left = left.saturating_sub(8);
                    match read {
                        Read::More => {}
                        Read::Idle if relay.wait(stream).unwrap() != Wait::Waiting => {}
                        Read::Idle | Read::Waiting | Read::Ended => break,
                    }
                }
            }
            None => {
                relay.fill(batch);
                while batch.read(64, |item| collect(item, &mut heard)) == BatchRead::More {}
            }
        }
        for (token, heard) in heard {
            self.hear(token as usize, heard);
        }
    }

    /// The next event that a session should hear.
    fn next_for(&self, idx: usize) -> Option<u64> {
        let session = &self.sessions[idx];
        let is_for = |seq: &u64| {
            let ear = session.switched.filter(|(at, _)| seq <= at).map_or(session.ear, |(_, old)| old);
            self.world.is_for(*seq, session.user, session.id, ear)
        };
        let ends = |seq: u64| self.world.removes(seq, session.user) || self.world.deletes(seq);
        if session.known > 0 && ends(session.known) {
            return None;
        }
        for seq in session.known + 1..=self.fed {
            if is_for(&seq) {
                return Some(seq);
            }
            if ends(seq) {
                return None;
            }
        }
        None
    }

    fn hear(&mut self, idx: usize, heard: Heard) {
        let next = self.next_for(idx);
        let session = &mut self.sessions[idx];
        let Some(place) = &mut session.at else { panic!("a session that is cut hears nothing") };
        assert!(!session.is_over);
        match heard {
            Heard::Event(position) => {
                assert!(place.gap.is_none(), "the gap comes first");
                assert_eq!(next, Some(position.seq.0), "session {idx} of {:?}", session.user);
                session.known = position.seq.0;
                session.heard.push(session.known);
                self.counts.note("deliveries", true);
            }
            Heard::Gap(gap) => {
                let is_first = place.gap.is_some_and(|told| told == gap);
                match place.gap.take() {
                    Some(told) => {
                        assert_eq!(gap.after, told.after);
                        assert!(gap.through >= told.through);
                    }
                    None if place.stream.is_some() => assert_eq!(gap.after.seq.0, session.known),
                    // All of a batch lag together.
                    None => assert!(next.is_none_or(|next| next > gap.after.seq.0)),
                }
                session.known = session.known.max(gap.through.seq.0);
                session.heard.push(session.known);
                if session.news.as_ref().is_some_and(|(at, _)| *at <= session.known) && !is_first {
                    // It has lost that too.
                    session.news = None;
                }
                self.counts.note("gaps", true);
            }
            Heard::Unread(Unread { at, channels }) => {
                assert!(next.is_none_or(|next| next > at.seq.0));
                assert_eq!(session.news.take(), Some((at.seq.0, channels)));
                self.counts.note("news while away", true);
            }
            Heard::Detached(reason) => {
                assert_eq!(next, None);
                assert_ne!(reason, DetachReason::Requested);
                session.is_over = true;
                self.counts.note("ends after a resume", true);
            }
        }
    }
}

fn collect(item: BatchItem<'_>, heard: &mut Vec<(u64, Heard)>) {
    match item {
        BatchItem::Event { event, tokens } => {
            heard.extend(tokens.iter().map(|token| (*token, Heard::Event(event.position))));
        }
        BatchItem::Gap { gap, tokens } => heard.extend(tokens.iter().map(|token| (*token, Heard::Gap(gap)))),
        BatchItem::Unread { unread, tokens } => {
            heard.extend(tokens.iter().map(|token| (*token, Heard::Unread(unread.clone()))));
        }
        BatchItem::Detached { reason, token } => heard.push((token, Heard::Detached(reason))),
        BatchItem::Ephemeral { ephemeral, .. } => panic!("nobody told {ephemeral:?}"),
    }
}

fn ear(pick: u16) -> Ear {
    let level = if (pick / 3).is_multiple_of(3) { Level::Passive } else { Level::Active };
    Ear { level, is_online: pick.is_multiple_of(2), members: (pick / 2).is_multiple_of(4) }
}

fn attach(session: SessionId, user: UserId, ear: Ear, roles: &[RoleId], accepted: Position) -> Attach<'_> {
    let status = if ear.is_online { Status::Online } else { Status::Offline };
    Attach { session, accepted, user, roles, members: ear.members, level: ear.level, status }
}
