//! A guild, made event by event, and sessions that hear what a test says.
//!
//! It has an owner, three members and three channels: everybody sees two, those who hold the role of staff see the hidden one too. Cyd
//! holds it.

use std::sync::Arc;

use guildhall_proto::{
    Channel, ChannelId, ChannelKind, Ephemeral, EphemeralKind, Epoch, Event, EventKind, GuildId, GuildSettings, Level,
    Member, MemberFlags, Mentions, Message, Millis, Name, Nick, Overwrite, OverwriteTarget, Payload, Permissions,
    Position, Role, RoleId, SessionId, Status, Unread, UserId,
};
use guildhall_relay::{DetachReason, Gap};

use crate::check::hearing::{Begin, EarId, Ears, Heard};
use crate::check::{Annals, Breach, Opening};
use crate::workload::Way;

pub(super) const OWNER: u64 = 1;
pub(super) const ADA: u64 = 2;
pub(super) const BOB: u64 = 3;
pub(super) const CYD: u64 = 4;
pub(super) const STAFF: u64 = 100;
pub(super) const GUESTS: u64 = 101;
pub(super) const OPEN: u64 = 10;
pub(super) const GARDEN: u64 = 11;
pub(super) const HIDDEN: u64 = 12;

pub(super) struct Scene {
    pub(super) annals: Annals,
    pub(super) ears: Ears,
    ears_begun: u64,
}

impl Scene {
    pub(super) fn new() -> Self {
        let mut scene = Self { annals: Annals::new(guild()), ears: Ears::default(), ears_begun: 0 };
        scene.open_epoch(Position::default());
        let everyone = Role { permissions: Permissions::VIEW_CHANNEL, position: 0, ..role(guild().get()) };
        let settings = GuildSettings { name: name("guild"), owner: user(OWNER) };
        scene.make(EventKind::GuildCreated { settings, everyone, owner: member(OWNER, &[]) });
        scene.make(EventKind::RoleCreated { role: role(STAFF) });
        for joining in [member(ADA, &[]), member(BOB, &[]), member(CYD, &[STAFF])] {
            scene.make(EventKind::MemberJoined { member: joining });
        }
        for (id, overwrites) in [(OPEN, vec![]), (GARDEN, vec![]), (HIDDEN, vec![staff_allowed(), everyone_denied()])] {
            scene.make(EventKind::ChannelCreated { channel: room(id), overwrites });
        }
        scene
    }

    /// The next owner begins behind a position; what comes after that is lost.
    pub(super) fn open_epoch(&mut self, after: Position) {
        let epoch = Epoch(self.annals.epoch().map_or(1, |epoch| epoch.0 + 1));
        self.annals.forget_behind(after);
        self.annals.open(Opening { epoch, after });
        self.ears.opened(&self.annals);
    }

    pub(super) fn head(&self) -> Position {
        let opening = self.annals.epoch().and_then(|epoch| self.annals.opening(epoch)).unwrap();
        self.annals.position().max(Position { epoch: opening.epoch, seq: opening.after.seq })
    }

    pub(super) fn make(&mut self, kind: EventKind) -> Arc<Event> {
        let event = Arc::new(Event { position: self.head().next(), at: Millis(1), kind });
        assert_eq!(self.annals.name(&event), None);
        self.annals.append(Arc::clone(&event));
        self.ears.released(&self.annals, &event).unwrap();
        event
    }

    pub(super) fn say(&mut self, channel: u64) -> Arc<Event> {
        self.publish(channel, |message| message)
    }

    pub(super) fn call(&mut self, channel: u64, mentions: Mentions) -> Arc<Event> {
        self.publish(channel, |message| Message { mentions, ..message })
    }

    pub(super) fn publish(&mut self, to: u64, change: impl FnOnce(Message) -> Message) -> Arc<Event> {
        self.make(EventKind::MessagePublished(change(message(to))))
    }

    /// An owner that was shut out says something.
    pub(super) fn say_in(&mut self, epoch: Epoch, position: Position) -> Arc<Event> {
        assert_eq!(position.epoch, epoch);
        let event = Arc::new(Event { position, at: Millis(1), kind: EventKind::MessagePublished(message(OPEN)) });
        self.ears.released(&self.annals, &event).unwrap();
        event
    }

    pub(super) fn roles(&mut self, of: u64, before: &[u64], after: &[u64]) -> Arc<Event> {
        self.make(EventKind::MemberUpdated { before: member(of, before), after: member(of, after) })
    }

    pub(super) fn join(&mut self, who: u64) -> Arc<Event> {
        self.make(EventKind::MemberJoined { member: member(who, &[]) })
    }

    pub(super) fn leave(&mut self, who: u64) -> Arc<Event> {
        self.make(EventKind::MemberLeft { member: member(who, &[]) })
    }

    pub(super) fn overwrite(&mut self, at: u64, after: Overwrite) -> Arc<Event> {
        self.make(EventKind::OverwriteChanged { channel: channel(at), before: None, after: Some(after) })
    }

    pub(super) fn delete_channel(&mut self, which: u64) -> Arc<Event> {
        self.make(EventKind::ChannelDeleted { channel: room(which), overwrites: vec![], children: vec![] })
    }

    pub(super) fn delete_role(&mut self, which: u64) -> Arc<Event> {
        let overwrites = vec![(channel(HIDDEN), staff_allowed())];
        self.make(EventKind::RoleDeleted { role: role(which), overwrites })
    }

    pub(super) fn types(&mut self, who: u64, at: u64, since: u64) -> Ephemeral {
        self.tell(EphemeralKind::Typing { channel: channel(at), user: user(who), since: Millis(since) })
    }

    pub(super) fn is_there(&mut self, who: u64, status: Status) -> Ephemeral {
        self.tell(EphemeralKind::Presence { user: user(who), status })
    }

    fn tell(&mut self, kind: EphemeralKind) -> Ephemeral {
        let ephemeral = Ephemeral { at: self.head(), kind };
        self.ears.told(&self.annals, &ephemeral);
        ephemeral
    }

    /// How a new session of a user begins at the guild's head.
    pub(super) fn begin(&mut self, of: u64, level: Level) -> Begin {
        self.ears_begun += 1;
        let at = self.head();
        Begin {
            guild: guild(),
            session: SessionId::new(1_000 + self.ears_begun).unwrap(),
            user: user(of),
            members: false,
            level,
            status: Status::Online,
            way: Way::Stream,
            after: at,
            accepted: at,
            relay_at: at,
            again: false,
            gap: None,
        }
    }

    pub(super) fn attach(&mut self, of: u64, level: Level) -> EarId {
        self.attach_with(of, level, |begin| begin)
    }

    /// Attached in the past.
    pub(super) fn attach_after(&mut self, of: u64, level: Level, after: Position) -> EarId {
        self.attach_with(of, level, |begin| Begin { after, accepted: after, ..begin })
    }

    pub(super) fn resume(&mut self, of: u64, level: Level, known: Position) -> EarId {
        self.attach_with(of, level, |begin| Begin { after: known, again: true, ..begin })
    }

    pub(super) fn attach_with(&mut self, of: u64, level: Level, change: impl FnOnce(Begin) -> Begin) -> EarId {
        let begin = self.begin(of, level);
        let ear = EarId(self.ears_begun);
        self.ears.begins(&self.annals, ear, change(begin)).unwrap();
        ear
    }

    /// The id of the session that was attached last.
    pub(super) fn last_session(&self) -> SessionId {
        SessionId::new(1_000 + self.ears_begun).unwrap()
    }

    pub(super) fn turn(&mut self, ear: EarId, level: Level, accepted: Position, from: Position) -> Result<(), Breach> {
        self.ears.level(&self.annals, ear, level, accepted, from)
    }

    pub(super) fn show(&mut self, ear: EarId, status: Status, from: Position) -> Result<(), Breach> {
        self.ears.status(&self.annals, ear, status, from, from)
    }

    pub(super) fn hears(&mut self, ear: EarId, event: &Arc<Event>) -> Result<(), Breach> {
        self.ears.heard(&self.annals, ear, &Heard::Event(Arc::clone(event)))
    }

    pub(super) fn gap(&mut self, ear: EarId, after: Position, through: Position) -> Result<(), Breach> {
        self.ears.heard(&self.annals, ear, &Heard::Gap(Gap { after, through }))
    }

    /// A summary, made at the guild's head.
    pub(super) fn unread(&mut self, ear: EarId, channels: &[u64]) -> Result<(), Breach> {
        let unread = Unread { at: self.head(), channels: channels.iter().copied().map(channel).collect() };
        self.ears.heard(&self.annals, ear, &Heard::Unread(unread))
    }

    pub(super) fn is_told(&mut self, ear: EarId, ephemeral: Ephemeral) -> Result<(), Breach> {
        self.ears.heard(&self.annals, ear, &Heard::Ephemeral(ephemeral))
    }

    pub(super) fn ends(&mut self, ear: EarId, reason: DetachReason) -> Result<(), Breach> {
        self.ears.heard(&self.annals, ear, &Heard::Detached(reason))
    }

    /// It has read all up to the guild's head.
    pub(super) fn waits(&mut self, ear: EarId) -> Result<(), Breach> {
        self.ears.waits(&self.annals, ear, self.head())
    }

    pub(super) fn rests(&mut self) -> Result<(), Breach> {
        self.ears.rests(&self.annals)
    }
}

pub(super) fn guild() -> GuildId {
    GuildId::new(5).unwrap()
}

pub(super) fn user(id: u64) -> UserId {
    UserId::new(id).unwrap()
}

pub(super) fn channel(id: u64) -> ChannelId {
    ChannelId::new(id).unwrap()
}

pub(super) fn role(id: u64) -> Role {
    Role {
        id: RoleId::new(id).unwrap(),
        name: name("role"),
        position: 1,
        permissions: Permissions::NONE,
        hoist: false,
        mentionable: true,
    }
}

pub(super) fn everyone_denied() -> Overwrite {
    let target = OverwriteTarget::Role(RoleId::everyone(guild()));
    Overwrite { target, allow: Permissions::NONE, deny: Permissions::VIEW_CHANNEL }
}

fn staff_allowed() -> Overwrite {
    let target = OverwriteTarget::Role(role(STAFF).id);
    Overwrite { target, allow: Permissions::VIEW_CHANNEL, deny: Permissions::NONE }
}

fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

pub(super) fn room(id: u64) -> Channel {
    Channel { id: channel(id), name: name("room"), kind: ChannelKind::Text, parent: None, position: 0 }
}

pub(super) fn member(id: u64, roles: &[u64]) -> Member {
    let nick = Nick::parse("member").unwrap();
    let roles = roles.iter().map(|id| role(*id).id).collect();
    Member { user: user(id), nick, roles, joined_at: Millis(0), flags: MemberFlags::NONE }
}

pub(super) fn message(to: u64) -> Message {
    Message {
        channel: channel(to),
        author: Some(user(OWNER)),
        session: None,
        echo: false,
        mentions: Mentions::default(),
        payload: Payload::default(),
    }
}
