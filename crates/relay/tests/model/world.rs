//! The guild as it is, naively: every version of rights and members is kept, by event number.

use std::collections::BTreeMap;
use std::sync::Arc;

use guildhall_permissions::Rights;
use guildhall_proto::{
    Channel, ChannelId, ChannelKind, Epoch, Event, EventKind, GuildId, GuildSettings, Level, Member, MemberFlags,
    Mentions, Message, Millis, Name, Nick, Overwrite, OverwriteTarget, Payload, Permissions, Position, Role, RoleId,
    Seq, SessionId, UserId,
};

pub(crate) const USERS: u64 = 6;

pub(crate) struct World {
    /// By event number: the version just after it.
    pub(crate) rights: Vec<Rights>,
    pub(crate) members: Vec<BTreeMap<UserId, Vec<RoleId>>>,
    pub(crate) events: Vec<Arc<Event>>,
    /// The epochs opened, by the number of the last event before them.
    pub(crate) opened: BTreeMap<u64, Epoch>,
    epoch: Epoch,
    next_id: u64,
}

/// How a session listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ear {
    pub(crate) level: Level,
    pub(crate) is_online: bool,
    pub(crate) members: bool,
}

pub(crate) fn guild() -> GuildId {
    GuildId::new(1).unwrap()
}

pub(crate) fn user(number: u64) -> UserId {
    UserId::new(1 + number % USERS).unwrap()
}

/// Few bits, so that random sets meet.
fn bits(mask: u16) -> Permissions {
    let all = [Permissions::VIEW_CHANNEL, Permissions::SEND_MESSAGES];
    let some = (0..2).filter(|bit| mask >> bit & 1 == 1).fold(Permissions::NONE, |some, bit| some | all[bit]);
    if mask % 16 == 15 { some | Permissions::ADMINISTRATOR } else { some }
}

fn mentions(kind: u16, pick: u16, roles: &[RoleId]) -> Mentions {
    let mut mentions = Mentions::default();
    match kind % 10 {
        0 | 1 => mentions.users.push(user(u64::from(pick))),
        2 => mentions.roles.extend(roles.get(usize::from(pick) % roles.len().max(1))),
        3 => mentions.everyone = true,
        4 => mentions.here = true,
        _ => {}
    }
    mentions
}

fn name() -> Name {
    Name::parse("x").unwrap()
}

fn role(id: RoleId, permissions: Permissions) -> Role {
    Role { id, name: name(), position: 1, permissions, hoist: false, mentionable: false }
}

pub(crate) fn member(user: UserId, roles: &[RoleId]) -> Member {
    Member {
        user,
        nick: Nick::parse("x").unwrap(),
        roles: roles.to_vec(),
        joined_at: Millis(0),
        flags: MemberFlags::NONE,
    }
}

impl World {
    pub(crate) fn new(setup: u16) -> Self {
        let settings = GuildSettings { name: name(), owner: user(0) };
        let rights = Rights::new(guild(), settings, Rights::everyone_role(guild(), bits(setup)));
        let members = (0..USERS).map(|number| (user(number), Vec::new())).collect();
        let mut world = Self {
            rights: vec![rights],
            members: vec![members],
            events: Vec::new(),
            opened: BTreeMap::new(),
            epoch: Epoch(1),
            next_id: 1_000,
        };
        for mask in 0..3 {
            let id = RoleId::new(world.id()).unwrap();
            world.happen(EventKind::RoleCreated { role: role(id, bits(mask)) });
        }
        for number in 0..3 {
            world.create_channel(number, setup >> number);
        }
        world
    }

    pub(crate) fn head(&self) -> u64 {
        self.events.len() as u64
    }

    pub(crate) fn is_deleted(&self) -> bool {
        matches!(self.events.last().map(|event| &event.kind), Some(EventKind::GuildDeleted))
    }

    /// The position of the event of this number; as the epoch that follows sees it, if `anew`.
    pub(crate) fn position(&self, seq: u64, anew: bool) -> Position {
        let epoch = match seq.checked_sub(1) {
            Some(idx) => self.events[idx as usize].position.epoch,
            None => Epoch(1),
        };
        let epoch = self.opened.get(&seq).copied().filter(|_| anew).unwrap_or(epoch);
        Position { epoch, seq: Seq(seq) }
    }

    pub(crate) fn open_epoch(&mut self) {
        self.epoch.0 += 1;
        self.opened.insert(self.head(), self.epoch);
    }

    /// Whether a passive session of `who` is called by the event of this number.
    fn calls(&self, seq: u64, who: UserId, is_online: bool) -> bool {
        let EventKind::MessagePublished(message) = &self.events[seq as usize - 1].kind else {
            return false;
        };
        let held = self.members[seq as usize].get(&who).map_or(&[][..], Vec::as_slice);
        let Mentions { users, roles, everyone, here } = &message.mentions;
        *everyone || *here && is_online || users.contains(&who) || roles.iter().any(|role| held.contains(role))
    }

    /// The channel of the message of this number, if it is one, and the channel deleted by the event, if it does so.
    pub(crate) fn news(&self, seq: u64) -> (Option<ChannelId>, Option<ChannelId>) {
        let kind = &self.events[seq as usize - 1].kind;
        if let EventKind::MessagePublished(message) = kind {
            (Some(message.channel), None)
        } else if let EventKind::ChannelDeleted { channel, .. } = kind {
            (None, Some(channel.id))
        } else {
            (None, None)
        }
    }

    /// Which kind of mention the event of this number has first.
    pub(crate) fn mention(&self, seq: u64) -> Option<&'static str> {
        let EventKind::MessagePublished(message) = &self.events[seq as usize - 1].kind else {
            return None;
        };
        let Mentions { users, roles, everyone, here } = &message.mentions;
        [
            (!users.is_empty(), "passive mentions of users"),
            (!roles.is_empty(), "passive mentions of roles"),
            (*everyone, "passive mentions of everyone"),
            (*here, "passive mentions of here"),
        ]
        .into_iter()
        .find_map(|(is_it, kind)| is_it.then_some(kind))
    }

    /// What the event of this number means to a session: whether it should hear it, listening as it does.
    pub(crate) fn is_for(&self, seq: u64, who: UserId, session: SessionId, ear: Ear) -> bool {
        let Ear { level, is_online, members } = ear;
        if level == Level::Active {
            return self.is_for_active(seq, who, session, members);
        }
        let kind = &self.events[seq as usize - 1].kind;
        let is_message = matches!(kind, EventKind::MessagePublished(_));
        let of_another = matches!(
            kind,
            EventKind::MemberJoined { member }
            | EventKind::MemberUpdated { after: member, .. }
            | EventKind::MemberLeft { member } if member.user != who
        );
        !of_another
            && (!is_message || self.calls(seq, who, is_online))
            && self.is_for_active(seq, who, session, members)
    }

    /// The same for an active session.
    pub(crate) fn is_for_active(&self, seq: u64, who: UserId, session: SessionId, wants_members: bool) -> bool {
        let (before, after) = (seq as usize - 1, seq as usize);
        let sees = |version: usize, channel: ChannelId| {
            let roles = self.members[version].get(&who).map_or(&[][..], Vec::as_slice);
            let permissions = self.rights[version].in_channel(who, roles, channel);
            permissions.is_some_and(|permissions| permissions.contains(Permissions::VIEW_CHANNEL))
        };
        match &self.events[before].kind {
            EventKind::MessagePublished(message) => {
                sees(after, message.channel) && (message.echo || message.session != Some(session))
            }
            EventKind::ChannelCreated { channel, .. }
            | EventKind::ChannelDeleted { channel, .. }
            | EventKind::ChannelUpdated { after: channel, .. } => sees(before, channel.id) || sees(after, channel.id),
            EventKind::OverwriteChanged { channel, .. } => sees(before, *channel) || sees(after, *channel),
            EventKind::ChannelsReordered { after: listed, .. } => {
                listed.iter().any(|(channel, _)| sees(after, *channel))
            }
            EventKind::GuildCreated { .. }
            | EventKind::GuildUpdated { .. }
            | EventKind::GuildDeleted
            | EventKind::RoleCreated { .. }
            | EventKind::RoleUpdated { .. }
            | EventKind::RoleDeleted { .. }
            | EventKind::RolesReordered { .. } => true,
            EventKind::MemberJoined { member }
            | EventKind::MemberUpdated { after: member, .. }
            | EventKind::MemberLeft { member } => member.user == who || wants_members,
            EventKind::MembersJoined { .. } | EventKind::MembersLeft { .. } => wants_members,
            EventKind::UserBanned { .. } | EventKind::UserUnbanned { .. } => false,
        }
    }

    /// Whether the event of this number is a message that its publishing session does not hear.
    pub(crate) fn leaves_out(&self, seq: u64, session: SessionId) -> bool {
        let EventKind::MessagePublished(message) = &self.events[seq as usize - 1].kind else {
            return false;
        };
        message.session == Some(session) && !message.echo
    }

    /// Whether the event of this number ends the sessions of `who`.
    pub(crate) fn removes(&self, seq: u64, who: UserId) -> bool {
        let kind = &self.events[seq as usize - 1].kind;
        matches!(kind, EventKind::MemberLeft { member } if member.user == who)
            || matches!(kind, EventKind::MembersLeft { users } if users.contains(&who))
    }

    pub(crate) fn deletes(&self, seq: u64) -> bool {
        matches!(&self.events[seq as usize - 1].kind, EventKind::GuildDeleted)
    }

    /// Makes something happen that fits the guild as it is.
    pub(crate) fn random_event(&mut self, kind: u16, a: u16, b: u16, sessions: &[(UserId, SessionId)]) {
        if self.is_deleted() {
            return;
        }
        let now = self.rights.last().unwrap().clone();
        let roles: Vec<RoleId> = now.roles().map(|role| role.id).collect();
        let own: Vec<RoleId> = roles.iter().copied().filter(|role| *role != RoleId::everyone(guild())).collect();
        let channels: Vec<ChannelId> = now.channels().map(|channel| channel.id).collect();
        let pick_role = |number: u16| roles[usize::from(number) % roles.len()];
        let (who, is_member) = {
            let who = user(u64::from(a));
            (who, self.members.last().unwrap().contains_key(&who))
        };
        let channel = channels.get(usize::from(b) % channels.len().max(1)).copied();
        match kind % 32 {
            0..=11 => {
                let Some(channel) = channel else { return };
                let by = sessions.get(usize::from(a / 8) % sessions.len().max(1)).filter(|_| !a.is_multiple_of(4));
                let message = Message {
                    channel,
                    author: by.map(|(author, _)| *author),
                    session: by.map(|(_, session)| *session),
                    echo: b.is_multiple_of(3),
                    mentions: mentions(a / 64, b / 16, &own),
                    payload: Payload::new(vec![0; usize::from(a % 64)]).unwrap(),
                };
                self.happen(EventKind::MessagePublished(message));
            }
            12..=15 if is_member => {
                let held = self.members.last().unwrap()[&who].clone();
                // Some held roles may be deleted already: they stay in the record until somebody changes it.
                let after: Vec<RoleId> =
                    own.iter().enumerate().filter(|(bit, _)| b >> (bit % 16) & 1 == 1).map(|(_, role)| *role).collect();
                let keep_deleted = b & 0x100 == 0;
                let mut after: Vec<RoleId> =
                    held.iter().copied().filter(|role| keep_deleted && !own.contains(role)).chain(after).collect();
                after.sort_unstable();
                // As a guild tells it, which leaves out what is deleted.
                let before: Vec<RoleId> = held.iter().copied().filter(|role| own.contains(role)).collect();
                self.happen(EventKind::MemberUpdated { before: member(who, &before), after: member(who, &after) });
            }
            16..=19 => {
                let Some(channel) = channel else { return };
                let target = if kind.is_multiple_of(2) {
                    OverwriteTarget::Role(pick_role(a))
                } else {
                    OverwriteTarget::User(who)
                };
                let before = now.overwrites(channel).unwrap().find(target).copied();
                let after = Overwrite { target, allow: bits(a / 8 % 4), deny: bits(b / 8 % 4) };
                let after = (before.is_none() || !b.is_multiple_of(4)).then_some(after);
                self.happen(EventKind::OverwriteChanged { channel, before, after });
            }
            20 | 21 => {
                let before = now.role(pick_role(a)).unwrap().clone();
                let after = Role { permissions: bits(b), ..before.clone() };
                self.happen(EventKind::RoleUpdated { before, after });
            }
            22 => {
                let id = RoleId::new(self.id()).unwrap();
                self.happen(EventKind::RoleCreated { role: role(id, bits(b)) });
            }
            23 => {
                let Some(role) = own.get(usize::from(a) % own.len().max(1)) else { return };
                let overwrites = now.role_overwrites(*role).collect();
                self.happen(EventKind::RoleDeleted { role: now.role(*role).unwrap().clone(), overwrites });
            }
            24 if channels.len() < 6 => self.create_channel(a, b),
            25 if a.is_multiple_of(2) => {
                let Some(channel) = channel else { return };
                let overwrites = now.overwrites(channel).unwrap().as_slice().to_vec();
                let (channel, children) = (now.channel(channel).unwrap().clone(), now.children(channel).collect());
                self.happen(EventKind::ChannelDeleted { channel, overwrites, children });
            }
            26 => {
                let Some(channel) = channel else { return };
                let before = now.channel(channel).unwrap().clone();
                self.happen(EventKind::ChannelUpdated { after: before.clone(), before });
            }
            27 if !channels.is_empty() => {
                let listed: Vec<(ChannelId, u16)> =
                    channels.iter().take(usize::from(a % 3) + 1).map(|id| (*id, 0)).collect();
                self.happen(EventKind::ChannelsReordered { before: listed.clone(), after: listed });
            }
            28 if is_member => {
                let before = now.settings().clone();
                let after = GuildSettings { owner: who, ..before.clone() };
                self.happen(EventKind::GuildUpdated { before, after });
            }
            29 if is_member && now.owner() != who && b.is_multiple_of(2) => {
                let members = self.members.last().unwrap();
                let leave = |other: &UserId| *other == who || (*other != now.owner() && other.get().is_multiple_of(3));
                let users = members.keys().copied().filter(leave).collect();
                self.happen(EventKind::MembersLeft { users });
            }
            29 if is_member && now.owner() != who => {
                let held = self.members.last().unwrap()[&who].clone();
                self.happen(EventKind::MemberLeft { member: member(who, &held) });
            }
            30 | 31 if !is_member => {
                if kind.is_multiple_of(2) {
                    self.happen(EventKind::MemberJoined { member: member(who, &[]) });
                } else {
                    self.happen(EventKind::MembersJoined { members: vec![member(who, &[])] });
                }
            }
            30 => self.happen(EventKind::RolesReordered { before: Vec::new(), after: Vec::new() }),
            _ => {}
        }
    }

    pub(crate) fn delete(&mut self) {
        if !self.is_deleted() {
            self.happen(EventKind::GuildDeleted);
        }
    }

    fn create_channel(&mut self, a: u16, b: u16) {
        let id = ChannelId::new(self.id()).unwrap();
        let channel = Channel { id, name: name(), kind: ChannelKind::Text, parent: None, position: 0 };
        let everyone = OverwriteTarget::Role(RoleId::everyone(guild()));
        let mut overwrites = Vec::new();
        if a % 2 == 1 {
            overwrites.push(Overwrite { target: everyone, allow: Permissions::NONE, deny: bits(a / 2) });
        }
        if b % 2 == 1 {
            let target = OverwriteTarget::User(user(u64::from(b / 2)));
            overwrites.push(Overwrite { target, allow: bits(b / 16), deny: bits(b / 64) });
        }
        self.happen(EventKind::ChannelCreated { channel, overwrites });
    }

    fn id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    fn happen(&mut self, kind: EventKind) {
        let mut rights = self.rights.last().unwrap().clone();
        rights.apply(&kind);
        let mut members = self.members.last().unwrap().clone();
        match &kind {
            EventKind::MemberUpdated { after: member, .. } | EventKind::MemberJoined { member } => {
                members.insert(member.user, member.roles.clone());
            }
            EventKind::MembersJoined { members: joined } => {
                members.extend(joined.iter().map(|member| (member.user, member.roles.clone())));
            }
            EventKind::MemberLeft { member } => {
                members.remove(&member.user);
            }
            EventKind::MembersLeft { users } => members.retain(|user, _| !users.contains(user)),
            EventKind::GuildCreated { .. }
            | EventKind::GuildUpdated { .. }
            | EventKind::GuildDeleted
            | EventKind::RoleCreated { .. }
            | EventKind::RoleUpdated { .. }
            | EventKind::RoleDeleted { .. }
            | EventKind::RolesReordered { .. }
            | EventKind::ChannelCreated { .. }
            | EventKind::ChannelUpdated { .. }
            | EventKind::ChannelDeleted { .. }
            | EventKind::ChannelsReordered { .. }
            | EventKind::OverwriteChanged { .. }
            | EventKind::MessagePublished(_)
            | EventKind::UserBanned { .. }
            | EventKind::UserUnbanned { .. } => {}
        }
        let position = Position { epoch: self.epoch, seq: Seq(self.head() + 1) };
        self.events.push(Arc::new(Event { position, at: Millis(0), kind }));
        self.rights.push(rights);
        self.members.push(members);
    }
}
