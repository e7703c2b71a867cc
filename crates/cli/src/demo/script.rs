//! What is done to the guild, one operation after the other, and what must follow from each.
//!
//! The script knows the guild as it has made it, for each operation says what has to be done before it: so every one is allowed, and
//! changes something. The one thing that it does not know is how far the prune has come; it leaves those alone who
//! are pruned.

use std::collections::{BTreeMap, BTreeSet};

use guildhall_proto::{
    Actor, ChannelEdit, Command, GuildEdit, MemberEdit, MemberFlags, Mentions, NewMember, Nick, OverwriteTarget,
    Payload, Permissions, Publish, RoleEdit, RoleId, SessionId,
};

use super::GUILD;
use super::seat::{Errand, Seats};
use crate::checks::{Number, Spoken};
use crate::random::Random;
use crate::trial::bell::Bell;
use crate::trial::fact::Fact;
use crate::trial::latency::Kind;
use crate::trial::rights::Rights;
use crate::trial::shape::{CHANNELS, LAPSED, OPEN_CHANNELS, POPULAR, ROLES, STEWARD, Shape};

/// The guild as the script has made it so far, and what it may still do.
pub(crate) struct Script {
    shape: Shape,
    random: Random,
    rights: Rights,
    /// Roles of members that are no longer those they began with.
    roles: BTreeMap<u64, Vec<RoleId>>,
    /// Members with sessions who stay to the end.
    staying: Vec<u64>,
    /// Members with sessions who leave on the way, and all others who must not be touched after that.
    leaving: Vec<u64>,
    gone: BTreeSet<u64>,
    /// Sessions that speak for themselves.
    voices: Vec<(SessionId, u64)>,
    joined: u64,
    guests: Vec<u64>,
    banned: Vec<u64>,
    messages: Number,
    changes: u64,
}

/// One operation, and the facts that follow from it: the last at the number that its answer names, others just before that.
#[derive(Debug)]
pub(crate) struct Operation {
    pub(crate) kind: Kind,
    pub(crate) actor: Actor,
    pub(crate) command: Command,
    pub(crate) after: After,
    pub(crate) facts: Vec<Fact>,
}

/// What has to be answered before an operation begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum After {
    Nothing,
    /// What was begun before about the same: a member's number, or [`RIGHTS`].
    Of(u64),
    /// All that was begun before about anything; and nothing more about anything begins before it is answered itself. What comes after
    /// nothing goes on meanwhile.
    AllOf,
    /// All that was begun before; and nothing else begins before it is answered itself.
    All,
}

/// What happens once on the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turning {
    /// The role that most hold is deleted.
    DeleteRole,
    CreateRole,
    CreateChannel,
    DeleteChannel,
}

impl Script {
    pub(crate) fn new(shape: Shape, seats: &Seats) -> Self {
        let of_sessions: BTreeSet<u64> = seats.0.iter().map(|seat| seat.member).collect();
        let staying = |number: &u64| *number > 0 && !shape.is_lapsed(*number);
        let mut staying: Vec<u64> = of_sessions.into_iter().filter(staying).collect();
        // Who leaves while its session is cut has none to come back to.
        let breaking = seats.0.iter().filter(|seat| seat.errand == Errand::Break).map(|seat| seat.member);
        let breaking: BTreeSet<u64> = breaking.collect();
        let may_leave = staying.iter().copied().filter(|number| !breaking.contains(number));
        let leaving = may_leave.skip(7).step_by(100).collect::<Vec<_>>();
        staying.retain(|number| !leaving.contains(number));
        let is_voice = |member| staying.binary_search(&member).is_ok();
        let voices = seats.0.iter().filter(|seat| is_voice(seat.member)).map(|seat| (seat.session, seat.member));
        Self {
            voices: voices.step_by(3).collect(),
            random: Random::new(shape.seed, SCRIPT),
            rights: shape.rights(),
            roles: BTreeMap::new(),
            gone: leaving.iter().copied().collect(),
            staying,
            leaving,
            joined: 0,
            guests: Vec::new(),
            banned: Vec::new(),
            messages: 0,
            changes: 0,
            shape,
        }
    }

    pub(crate) fn messages(&self) -> u64 {
        self.messages
    }

    /// Members with sessions who stay to the end.
    pub(crate) fn staying(&self) -> &[u64] {
        &self.staying
    }

    /// A message: most by the owner, anywhere; some by sessions of members, in channels that all see.
    pub(crate) fn publish(&mut self) -> Operation {
        let number = self.messages;
        self.messages += 1;
        let voice = self.random.pick(&self.voices).copied().filter(|_| number % 7 == 3);
        let (author, session, idx) = match voice {
            Some((session, member)) => (Shape::user(member), Some(session), self.random.below(OPEN_CHANNELS)),
            None => (Shape::owner(), None, self.random.zipf(CHANNELS)),
        };
        let channel = Shape::channel(idx);
        let mentions = if voice.is_some() { self.call_users(20) } else { self.call() };
        let (echo, has_roles) = (self.random.below(2) == 0, !mentions.roles.is_empty());
        let call = (!mentions.is_empty()).then(|| Box::new(mentions.clone()));
        let payload = Payload::new(Spoken { number, author }.write(TEXT)).expect("the text is short");
        let command = Command::Publish(Publish { channel, payload, mentions, session, echo });
        let fact = Fact::Message { channel, number, except: session.filter(|_| !echo), call };
        // A role that is called must not be gone.
        let after = if has_roles { After::Of(RIGHTS) } else { After::Nothing };
        Operation { kind: Kind::Publish, actor: Actor::User(author), command, after, facts: vec![fact] }
    }

    /// Another nick and a role more or less for a member; one in four has a session. `None` if there is nobody to be changed.
    pub(crate) fn change_member(&mut self) -> Option<Operation> {
        self.changes += 1;
        let with_session = if self.changes.is_multiple_of(4) { self.random.pick(&self.staying).copied() } else { None };
        let number = match with_session {
            Some(number) => number,
            None => self.random.below(self.shape.members),
        };
        if number == 0 || self.shape.is_lapsed(number) || self.gone.contains(&number) {
            return None;
        }
        let mut roles = self.roles_of(number);
        let role = self.a_role()?;
        match roles.binary_search(&role) {
            Ok(at) => drop(roles.remove(at)),
            Err(at) => roles.insert(at, role),
        }
        self.roles.insert(number, roles.clone());
        let user = Shape::user(number);
        let nick = Nick::parse(&format!("n{:x}", self.changes)).expect("letters and digits are a nick");
        let fact = Fact::Changed { user, nick: nick.clone(), roles: roles.clone().into() };
        let edit = MemberEdit { nick: Some(nick), roles: Some(roles), flags: None };
        Some(member_change(number, Command::UpdateMember { user, edit }, fact))
    }

    /// A new member comes.
    pub(crate) fn join(&mut self) -> Option<Operation> {
        let number = self.shape.members + self.joined;
        self.joined += 1;
        let roles: Vec<RoleId> = self.a_role().into_iter().collect();
        self.guests.push(number);
        self.roles.insert(number, roles.clone());
        let user = Shape::user(number);
        let nick = Shape::nick(number);
        let fact = Fact::Joined { user, nick: nick.clone(), roles: roles.clone().into() };
        let new = NewMember { user, nick, roles, flags: MemberFlags::NONE };
        Some(member_change(number, Command::AddMember(new), fact))
    }

    /// Somebody goes: of those with a session a few, else who came lately; or is banned, or unbanned.
    pub(crate) fn leave(&mut self) -> Option<Operation> {
        self.changes += 1;
        let with_session = if self.changes.is_multiple_of(8) { self.leaving.pop() } else { None };
        if self.changes.is_multiple_of(5)
            && with_session.is_none()
            && let Some(number) = self.banned.pop()
        {
            let command = Command::Unban { user: Shape::user(number) };
            return Some(member_change(number, command, Fact::Unheard));
        }
        let number = with_session.or_else(|| self.guests.pop())?;
        self.gone.insert(number);
        let user = Shape::user(number);
        if !self.changes.is_multiple_of(3) {
            return Some(member_change(number, Command::RemoveMember { user }, Fact::Left { user }));
        }
        self.banned.push(number);
        let facts = vec![Fact::Left { user }, Fact::Unheard];
        let command = Command::Ban { user, reason: None };
        Some(Operation { kind: Kind::MemberChange, actor: Actor::System, command, after: After::Of(number), facts })
    }

    /// An overwrite more or less, a channel's name, or an administrator's role that is one no more.
    pub(crate) fn change_rights(&mut self) -> Option<Operation> {
        self.changes += 1;
        match self.changes % 10 {
            0 => self.toggle_steward(),
            1 => {
                let channel = Shape::channel(self.random.below(CHANNELS));
                let name = Shape::name(&format!("channel {}", self.changes));
                let edit = ChannelEdit { name: Some(name.clone()), parent: None };
                let command = Command::UpdateChannel { channel, edit };
                Some(rights_change(After::Of(RIGHTS), command, Fact::ChannelUpdated { channel, name }))
            }
            2 => self.toggle_overwrite(OverwriteTarget::Role(RoleId::everyone(GUILD))),
            3..=5 => {
                let user = Shape::user(*self.random.pick(&self.staying)?);
                self.toggle_overwrite(OverwriteTarget::User(user))
            }
            _ => {
                let role = self.a_role()?;
                self.toggle_overwrite(OverwriteTarget::Role(role))
            }
        }
    }

    pub(crate) fn turn(&mut self, turning: Turning) -> Operation {
        let (channel, role) = (Shape::channel(CHANNELS), Shape::role(POPULAR));
        let (command, fact) = match turning {
            Turning::DeleteRole => (Command::DeleteRole { role }, Fact::RoleDeleted { role }),
            Turning::CreateRole => {
                let role = Shape::new_role(ROLES, Permissions::NONE);
                let fact = Fact::RoleSet { role: role.id, permissions: role.permissions };
                (Command::CreateRole(role), fact)
            }
            Turning::CreateChannel => {
                let overwrites = self.shape.hidden(CHANNELS);
                let fact = Fact::ChannelCreated { channel, overwrites: overwrites.clone().into() };
                (Command::CreateChannel { channel: Shape::new_channel(CHANNELS), overwrites }, fact)
            }
            Turning::DeleteChannel => (Command::DeleteChannel { channel }, Fact::ChannelDeleted { channel }),
        };
        self.rights.apply(&fact);
        let after = match turning {
            // Members' changes and messages name it.
            Turning::DeleteRole => After::AllOf,
            // Nothing else is about these.
            Turning::CreateRole | Turning::CreateChannel | Turning::DeleteChannel => After::Of(RIGHTS),
        };
        rights_change(after, command, fact)
    }

    /// A change that every session hears: behind all else, so that whoever has heard it has heard that.
    pub(crate) fn ring(bell: Bell) -> Operation {
        let command = Command::UpdateGuild(GuildEdit { name: Some(bell.name()) });
        rights_change(After::All, command, Fact::Bell { bell })
    }

    fn toggle_steward(&mut self) -> Option<Operation> {
        let role = Shape::role(STEWARD);
        let permissions = match self.rights.permissions_of(role)? {
            Permissions::NONE => Permissions::ADMINISTRATOR,
            _ => Permissions::NONE,
        };
        let fact = Fact::RoleSet { role, permissions };
        self.rights.apply(&fact);
        let edit = RoleEdit { permissions: Some(permissions), ..RoleEdit::default() };
        Some(rights_change(After::Of(RIGHTS), Command::UpdateRole { role, edit }, fact))
    }

    fn toggle_overwrite(&mut self, target: OverwriteTarget) -> Option<Operation> {
        let channel = Shape::channel(OPEN_CHANNELS + self.random.below(CHANNELS - OPEN_CHANNELS));
        let has = self.rights.overwrites(channel)?.iter().any(|overwrite| overwrite.target == target);
        let allows = self.random.below(2) == 0 && target != OverwriteTarget::Role(RoleId::everyone(GUILD));
        let after = match (has, allows) {
            (true, _) => None,
            (false, true) => Some(Shape::allow(target)),
            (false, false) => Some(Shape::deny(target)),
        };
        let fact = Fact::OverwriteChanged { channel, target, after };
        self.rights.apply(&fact);
        let command = match after {
            Some(overwrite) => Command::SetOverwrite { channel, overwrite },
            None => Command::RemoveOverwrite { channel, target },
        };
        Some(rights_change(After::Of(RIGHTS), command, fact))
    }

    /// Whom a message of the owner calls: mostly nobody.
    fn call(&mut self) -> Mentions {
        match self.random.below(200) {
            0 => Mentions { everyone: true, ..Mentions::default() },
            1 => Mentions { here: true, ..Mentions::default() },
            2..5 => Mentions { roles: self.a_role().into_iter().collect(), ..Mentions::default() },
            5..15 => self.call_users(1),
            _ => Mentions::default(),
        }
    }

    /// Calls up to three members with sessions, once in so many times.
    fn call_users(&mut self, once_in: u64) -> Mentions {
        if self.random.below(once_in) != 0 {
            return Mentions::default();
        }
        let mut users: Vec<_> =
            (0..3).filter_map(|_| self.random.pick(&self.staying).copied()).map(Shape::user).collect();
        users.sort_unstable();
        users.dedup();
        Mentions { users, ..Mentions::default() }
    }

    /// A role that there is, but for the one that is pruned.
    fn a_role(&mut self) -> Option<RoleId> {
        let role = Shape::role(self.random.zipf(LAPSED));
        self.rights.has_role(role).then_some(role)
    }

    fn roles_of(&self, number: u64) -> Vec<RoleId> {
        let mut roles = self.roles.get(&number).cloned().unwrap_or_else(|| self.shape.roles_of(number));
        roles.retain(|role| self.rights.has_role(*role));
        roles
    }
}

fn member_change(number: u64, command: Command, fact: Fact) -> Operation {
    let after = After::Of(number);
    Operation { kind: Kind::MemberChange, actor: Actor::System, command, after, facts: vec![fact] }
}

fn rights_change(after: After, command: Command, fact: Fact) -> Operation {
    Operation { kind: Kind::RightsChange, actor: Actor::System, command, after, facts: vec![fact] }
}

/// What all changes of rights are about. No member has this number.
const RIGHTS: u64 = u64::MAX;

/// Brings a message to 300 bytes, of which 24 are its mark.
const TEXT: &str = match std::str::from_utf8(&[b'.'; 276]) {
    Ok(text) => text,
    Err(_) => "",
};
/// Tells what the script draws from what the shape draws.
const SCRIPT: u64 = 0x7363_7269_7074;
