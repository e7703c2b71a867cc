//! A relay on a stage: a guild with two channels, a few members, and short words for what happens.

use std::sync::Arc;

use guildhall_permissions::Rights;
use guildhall_proto::{
    Channel, ChannelId, ChannelKind, Ephemeral, EphemeralKind, Epoch, Event, EventKind, GuildId, GuildSettings, Level,
    Member, MemberFlags, Mentions, Message, Millis, Name, Nick, Overwrite, OverwriteTarget, Payload, Permissions,
    Position, Role, RoleId, Seq, SessionId, Status, Unread, UserId,
};
use guildhall_ring::RingConfig;

use crate::{
    Attach, Batch, BatchItem, BatchRead, Delivery, DetachReason, Gap, Read, Relay, RelayConfig, Resume, SessionKey,
    StaleResync, Stream, Wait,
};

pub(super) const OWNER: u64 = 10;
pub(super) const ADA: u64 = 11;
pub(super) const BOB: u64 = 12;
/// Everyone sees it, unless a test hides it.
pub(super) const HALL: u64 = 31;
/// Only holders of [`STAFF`] see it.
pub(super) const OFFICE: u64 = 32;
pub(super) const STAFF: u64 = 21;

/// What a session has heard, by event number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Heard {
    Event(u64),
    Gap(u64, u64),
    Unread(Vec<u64>),
    /// Who, in which channel, and when.
    Typing(u64, u64, u64),
    Presence(u64, Status),
    Detached(DetachReason),
}

/// A relay with two channels, and what has happened at it.
pub(super) struct Stage {
    pub(super) relay: Relay,
    pub(super) batch: Batch,
    pub(super) woken: Vec<SessionKey>,
}

impl Stage {
    pub(super) fn new() -> Self {
        Self::with(RelayConfig::default())
    }

    pub(super) fn with_ring(entries_max: usize) -> Self {
        Self::with(RelayConfig { ring: RingConfig { entries_max, ..RingConfig::default() }, ..RelayConfig::default() })
    }

    pub(super) fn with_slow_ring(entries_max: usize) -> Self {
        let slow_ring = RingConfig { entries_max, ..RingConfig::default() };
        Self::with(RelayConfig { slow_ring, ..RelayConfig::default() })
    }

    pub(super) fn with(config: RelayConfig) -> Self {
        let mut rights =
            Rights::new(guild(), settings(OWNER), Rights::everyone_role(guild(), Permissions::VIEW_CHANNEL));
        let office = vec![hide(everyone()), show(OverwriteTarget::Role(role(STAFF).id))];
        rights.apply(&EventKind::RoleCreated { role: role(STAFF) });
        rights.apply(&EventKind::ChannelCreated { channel: channel(HALL), overwrites: Vec::new() });
        rights.apply(&EventKind::ChannelCreated { channel: channel(OFFICE), overwrites: office });
        let (relay, batch) = Relay::new(config, rights, position(0));
        Self { relay, batch, woken: Vec::new() }
    }

    /// Applies the next event and returns its number.
    pub(super) fn apply(&mut self, kind: EventKind) -> u64 {
        let position = self.relay.position().next();
        self.woken.clear();
        self.relay.apply(Arc::new(Event { position, at: Millis(0), kind }), &mut self.woken).unwrap();
        position.seq.0
    }

    pub(super) fn delete_role(&mut self, number: u64) -> u64 {
        let overwrites = self.relay.rights().role_overwrites(role(number).id).collect();
        self.apply(EventKind::RoleDeleted { role: role(number), overwrites })
    }

    pub(super) fn say(&mut self, channel: u64) -> u64 {
        self.apply(message(channel, None, false))
    }

    /// A message that calls everyone.
    pub(super) fn call(&mut self, channel: u64) -> u64 {
        self.apply(calling(channel, None, Mentions { everyone: true, ..Mentions::default() }))
    }

    pub(super) fn attach(&mut self, attach: Attach<'_>) -> Stream {
        self.relay.attach_stream(attach).unwrap()
    }

    /// Attaches a session of `user`, who holds `roles`, as of now.
    pub(super) fn join(&mut self, session: u64, user: u64, roles: &[RoleId]) -> Stream {
        let accepted = self.relay.position();
        self.attach(Attach { accepted, ..as_of(0, session, user, roles) })
    }

    /// A session that comes back now and knows all up to `known`.
    pub(super) fn come_back(&mut self, known: Position, attach: Attach<'_>) -> Stream {
        self.relay.resume_stream(self.resume(known, attach)).unwrap().0
    }

    /// The same in the batch, where its token is its number.
    pub(super) fn come_back_in_batch(&mut self, known: Position, attach: Attach<'_>) -> SessionKey {
        let token = attach.session.get();
        self.relay.resume_batch(self.resume(known, attach), token).unwrap().0
    }

    fn resume<'a>(&self, known: Position, attach: Attach<'a>) -> Resume<'a> {
        let attach = Attach { accepted: self.relay.position(), ..attach };
        Resume { attach, known, deleted_roles: &[], deletions_unknown_to: Seq(0) }
    }

    /// All the stream has to say, until it waits or ends.
    pub(super) fn hear(&mut self, stream: &mut Stream) -> Vec<Heard> {
        let mut heard = Vec::new();
        loop {
            let read = stream.read(2, |delivery| {
                heard.push(match delivery {
                    Delivery::Event(event) => Heard::Event(event.position.seq.0),
                    Delivery::Gap(Gap { after, through }) => Heard::Gap(after.seq.0, through.seq.0),
                    Delivery::Unread(unread) => Heard::Unread(channels(unread)),
                    Delivery::Ephemeral(told) => of_now(&told),
                    Delivery::Detached(reason) => Heard::Detached(reason),
                });
            });
            match read {
                Read::More => {}
                Read::Idle | Read::Waiting if self.relay.wait(stream).unwrap() != Wait::Waiting => {}
                Read::Idle | Read::Waiting | Read::Ended => return heard,
            }
        }
    }

    /// All the batch has to say, by token, in order.
    pub(super) fn hear_batch(&mut self) -> Vec<(u64, Heard)> {
        let mut heard = Vec::new();
        loop {
            self.relay.fill(&mut self.batch);
            let read = self.batch.read(2, |item| match item {
                BatchItem::Event { event, tokens } => {
                    heard.extend(tokens.iter().map(|token| (*token, Heard::Event(event.position.seq.0))));
                }
                BatchItem::Gap { gap, tokens } => {
                    let gap = Heard::Gap(gap.after.seq.0, gap.through.seq.0);
                    heard.extend(tokens.iter().map(|token| (*token, gap.clone())));
                }
                BatchItem::Unread { unread, tokens } => {
                    heard.extend(tokens.iter().map(|token| (*token, Heard::Unread(channels(unread)))));
                }
                BatchItem::Ephemeral { ephemeral, tokens } => {
                    heard.extend(tokens.iter().map(|token| (*token, of_now(ephemeral))));
                }
                BatchItem::Detached { reason, token } => heard.push((token, Heard::Detached(reason))),
            });
            if read == BatchRead::Idle {
                heard.sort_by_key(|(token, _)| *token);
                return heard;
            }
        }
    }

    /// Tells what was accepted as of now, and returns how many others left for it.
    pub(super) fn tell(&mut self, kind: EphemeralKind) -> usize {
        self.woken.clear();
        self.relay.tell(Ephemeral { at: self.relay.position(), kind }, &mut self.woken).unwrap()
    }

    /// A passive session of `user`, as of now.
    pub(super) fn join_passive(&mut self, session: u64, user: u64, roles: &[RoleId]) -> Stream {
        let accepted = self.relay.position();
        self.attach(Attach { accepted, level: Level::Passive, ..as_of(0, session, user, roles) })
    }

    pub(super) fn set_level(&mut self, stream: &mut Stream, level: Level, accepted: u64) -> u64 {
        self.woken.clear();
        self.relay.set_level(stream, level, position(accepted), &mut self.woken).unwrap().seq.0
    }

    pub(super) fn tick(&mut self, now: u64) {
        self.woken.clear();
        self.relay.tick(Millis(now), &mut self.woken);
    }

    pub(super) fn resync(&mut self, at: Position, members: &[u64]) -> Result<(), StaleResync> {
        let rights = self.relay.rights().clone();
        let find = |user: UserId| members.contains(&user.get()).then(|| member(user.get(), &[]));
        self.woken.clear();
        self.relay.resync(at, rights, find, &[], &mut self.woken)
    }
}

pub(super) fn guild() -> GuildId {
    GuildId::new(1).unwrap()
}

pub(super) fn user(number: u64) -> UserId {
    UserId::new(number).unwrap()
}

pub(super) fn session(number: u64) -> SessionId {
    SessionId::new(number).unwrap()
}

pub(super) fn position(seq: u64) -> Position {
    Position { epoch: Epoch(1), seq: Seq(seq) }
}

pub(super) fn name() -> Name {
    Name::parse("x").unwrap()
}

pub(super) fn settings(owner: u64) -> GuildSettings {
    GuildSettings { name: name(), owner: user(owner) }
}

pub(super) fn role(number: u64) -> Role {
    let permissions = Permissions::NONE;
    Role { id: RoleId::new(number).unwrap(), name: name(), position: 1, permissions, hoist: false, mentionable: false }
}

pub(super) fn staff() -> [RoleId; 1] {
    [role(STAFF).id]
}

pub(super) fn channel(number: u64) -> Channel {
    let id = ChannelId::new(number).unwrap();
    Channel { id, name: name(), kind: ChannelKind::Text, parent: None, position: 0 }
}

pub(super) fn everyone() -> OverwriteTarget {
    OverwriteTarget::Role(RoleId::everyone(guild()))
}

pub(super) fn hide(target: OverwriteTarget) -> Overwrite {
    Overwrite { target, allow: Permissions::NONE, deny: Permissions::VIEW_CHANNEL }
}

pub(super) fn show(target: OverwriteTarget) -> Overwrite {
    Overwrite { target, allow: Permissions::VIEW_CHANNEL, deny: Permissions::NONE }
}

pub(super) fn overwritten(number: u64, before: Option<Overwrite>, after: Option<Overwrite>) -> EventKind {
    EventKind::OverwriteChanged { channel: channel(number).id, before, after }
}

pub(super) fn member(number: u64, roles: &[RoleId]) -> Member {
    let nick = Nick::parse("x").unwrap();
    Member { user: user(number), nick, roles: roles.to_vec(), joined_at: Millis(0), flags: MemberFlags::NONE }
}

pub(super) fn updated(number: u64, before: &[RoleId], after: &[RoleId]) -> EventKind {
    EventKind::MemberUpdated { before: member(number, before), after: member(number, after) }
}

pub(super) fn left(number: u64) -> EventKind {
    EventKind::MemberLeft { member: member(number, &[]) }
}

pub(super) fn message(number: u64, by: Option<(u64, u64)>, echo: bool) -> EventKind {
    EventKind::MessagePublished(Message {
        channel: channel(number).id,
        author: by.map(|(author, _)| user(author)),
        session: by.map(|(_, publishing)| session(publishing)),
        echo,
        mentions: Mentions::default(),
        payload: Payload::new("hello").unwrap(),
    })
}

pub(super) fn as_of(seq: u64, number: u64, of: u64, roles: &[RoleId]) -> Attach<'_> {
    Attach {
        session: session(number),
        accepted: position(seq),
        user: user(of),
        roles,
        members: false,
        level: Level::Active,
        status: Status::Online,
    }
}

pub(super) fn calling(number: u64, by: Option<(u64, u64)>, mentions: Mentions) -> EventKind {
    let EventKind::MessagePublished(message) = message(number, by, false) else { unreachable!() };
    EventKind::MessagePublished(Message { mentions, ..message })
}

fn channels(unread: &Unread) -> Vec<u64> {
    unread.channels.iter().map(|channel| channel.get()).collect()
}

fn of_now(told: &Ephemeral) -> Heard {
    match told.kind {
        EphemeralKind::Typing { channel, user, since } => Heard::Typing(user.get(), channel.get(), since.0),
        EphemeralKind::Presence { user, status } => Heard::Presence(user.get(), status),
    }
}

pub(super) fn typing(user_number: u64, channel_number: u64, since: u64) -> EphemeralKind {
    EphemeralKind::Typing { channel: channel(channel_number).id, user: user(user_number), since: Millis(since) }
}

pub(super) fn presence(user_number: u64, status: Status) -> EphemeralKind {
    EphemeralKind::Presence { user: user(user_number), status }
}
