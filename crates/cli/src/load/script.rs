//! What is done to the guild: who says what, and whose nick and roles change. Whoever speaks keeps the roles, so all of it is allowed, in
//! whichever order calls come.

use guildhall_proto::limits::MEMBER_ROLES_MAX;
use guildhall_proto::{
    Actor, ChannelId, Command, MemberEdit, Mentions, Nick, Payload, Permissions, Publish, RoleId, SessionId, UserId,
};

use super::found::Found;
use super::seat::Seat;
use crate::checks::{Number, Spoken};
use crate::random::Random;
use crate::trial::fact::Fact;
use crate::trial::latency::Kind;
use crate::trial::rights::Rights;

/// One call, and what happens with it.
#[derive(Debug)]
pub(super) struct Operation {
    pub(super) kind: Kind,
    pub(super) actor: Actor,
    pub(super) command: Command,
    pub(super) fact: Fact,
}

/// Publishes: most messages as the owner, anywhere; some as sessions of members, where they may speak.
pub(super) struct Speaker {
    random: Random,
    owner: UserId,
    rights: Rights,
    channels: Vec<ChannelId>,
    roles: Vec<RoleId>,
    /// Users with sessions, of whom some are called.
    users: Vec<UserId>,
    /// Sessions that speak for themselves.
    voices: Vec<(SessionId, UserId, Box<[RoleId]>)>,
    text: String,
}

/// Changes members: each time another nick, and the roles that the member began with, but for one more or less.
pub(super) struct Changer {
    random: Random,
    roles: Vec<RoleId>,
    /// With sessions, and without.
    members: [Vec<(UserId, Box<[RoleId]>)>; 2],
}

impl Speaker {
    /// Messages of so many bytes, [`Spoken::HEAD_BYTES`] at least.
    pub(super) fn new(found: &Found, seats: &[Seat], seed: u64, bytes: usize) -> Self {
        let voices = seats.iter().filter(|seat| seat.keeps).step_by(3);
        let mut users: Vec<UserId> = seats.iter().map(|seat| seat.user).collect();
        users.dedup();
        Self {
            random: Random::new(seed, SPEAKING),
            owner: found.owner,
            rights: found.rights.clone(),
            channels: found.channels.clone(),
            roles: found.roles.clone(),
            users,
            voices: voices.map(|seat| (seat.session, seat.user, seat.roles.clone())).collect(),
            text: ".".repeat(bytes.saturating_sub(Spoken::HEAD_BYTES)),
        }
    }

    /// The message of a number.
    pub(super) fn publish(&mut self, number: Number) -> Operation {
        let idx = self.random.zipf(self.channels.len() as u64);
        let channel = self.channels[usize::try_from(idx).expect("it is below a length")];
        let speaks = Permissions::VIEW_CHANNEL | Permissions::SEND_MESSAGES;
        let voice = self.random.pick(&self.voices).filter(|_| number % 7 == 3);
        let voice = voice.filter(|(_, user, roles)| self.rights.can(*user, roles, channel).contains(speaks));
        let (author, session) = voice.map_or((self.owner, None), |(session, user, _)| (*user, Some(*session)));
        // Who may call everyone is not asked: the owner may.
        let mentions = if session.is_some() { self.call_users(20) } else { self.call() };
        let echo = self.random.below(2) == 0;
        let call = (!mentions.is_empty()).then(|| Box::new(mentions.clone()));
        let payload = Payload::new(Spoken { number, author }.write(&self.text)).expect("the parser bounds its length");
        Operation {
            kind: Kind::Publish,
            actor: Actor::User(author),
            command: Command::Publish(Publish { channel, payload, mentions, session, echo }),
            fact: Fact::Message { channel, number, except: session.filter(|_| !echo), call },
        }
    }

    /// Whom a message of the owner calls: mostly nobody.
    fn call(&mut self) -> Mentions {
        match self.random.below(200) {
            0 => Mentions { everyone: true, ..Mentions::default() },
            1 => Mentions { here: true, ..Mentions::default() },
            2..5 => {
                Mentions { roles: self.random.pick(&self.roles).copied().into_iter().collect(), ..Mentions::default() }
            }
            5..15 => self.call_users(1),
            _ => Mentions::default(),
        }
    }

    /// Calls up to three users with sessions, once in so many times.
    fn call_users(&mut self, once_in: u64) -> Mentions {
        if self.random.below(once_in) != 0 {
            return Mentions::default();
        }
        let mut users: Vec<UserId> = (0..3).filter_map(|_| self.random.pick(&self.users).copied()).collect();
        users.sort_unstable();
        users.dedup();
        Mentions { users, ..Mentions::default() }
    }
}

impl Changer {
    pub(super) fn new(found: &Found, seats: &[Seat], seed: u64) -> Self {
        let changing = seats.iter().filter(|seat| !seat.keeps && seat.user != found.owner);
        let mut with: Vec<_> = changing.map(|seat| (seat.user, seat.roles.clone())).collect();
        with.dedup_by_key(|(user, _)| *user);
        let members = [with, found.strangers.clone()];
        Self { random: Random::new(seed, CHANGING), roles: found.roles.clone(), members }
    }

    /// The change of a number; `None` if there is nobody to be changed.
    pub(super) fn change(&mut self, number: Number) -> Option<Operation> {
        let [with, without] = &self.members;
        let (first, second) = if self.random.below(2) == 0 { (with, without) } else { (without, with) };
        let (user, roles) = self.random.pick(if first.is_empty() { second } else { first })?.clone();
        let mut roles = roles.into_vec();
        if let Some(role) = self.random.pick(&self.roles) {
            match roles.binary_search(role) {
                Ok(at) => drop(roles.remove(at)),
                Err(at) if roles.len() < MEMBER_ROLES_MAX => roles.insert(at, *role),
                Err(_) => {}
            }
        }
        let nick = Nick::parse(&format!("n{number:x}")).expect("letters and digits are a nick");
        let edit = MemberEdit { nick: Some(nick.clone()), roles: Some(roles.clone()), flags: None };
        Some(Operation {
            kind: Kind::MemberChange,
            actor: Actor::System,
            command: Command::UpdateMember { user, edit },
            fact: Fact::Changed { user, nick, roles: roles.into() },
        })
    }
}

/// Tell what is drawn for one from what is drawn for the other.
const SPEAKING: u64 = 0x0073_7065_616B;
const CHANGING: u64 = 0x6368_616E_6765;
