//! A small guild to try things on, and the ways to try them.
//!
//! | Who | Roles | Rank |
//! |---|---|---|
//! | [`OWNER`] | none | owner |
//! | [`CHIEF`] | [`CHIEFS`] (administrator) | 8 |
//! | [`MOD`], [`PEER`] | [`MODS`] (manages most things) | 5 |
//! | [`HELPER`] | [`HELPERS`] | 2 |
//! | [`PLAIN`] | none | lowest |
//!
//! Everyone may see channels, publish and change the own nick. [`GENERAL`] is open, [`STAFF`] is hidden from all but mods,
//! [`TOPICS`] is a category.

use std::sync::Arc;

use guildhall_guild::{
    Answer, Call, CallId, Effect, Guild, GuildConfig, Input, Operation, Reply, SessionCall, SessionRequest,
    SponsorGone, TypingCall,
};
use guildhall_permissions::Rights;
use guildhall_proto::{
    Actor, Channel, ChannelId, ChannelKind, ClientId, Command, CommandError, Epoch, Event, EventKind, GuildId, Member,
    MemberEdit, MemberFlags, Mentions, Millis, Name, NewMember, Nick, OpId, Outcome, Overwrite, OverwriteTarget,
    Payload, Permissions, Position, Publish, Record, Role, RoleId, SessionId, Sponsor, Status, UserId,
};

pub(crate) const OWNER: u64 = 10;
pub(crate) const CHIEF: u64 = 11;
pub(crate) const MOD: u64 = 12;
pub(crate) const PEER: u64 = 13;
pub(crate) const HELPER: u64 = 14;
pub(crate) const PLAIN: u64 = 15;
/// Nobody here.
pub(crate) const STRANGER: u64 = 99;

pub(crate) const GUILD: u64 = 1;
pub(crate) const CHIEFS: u64 = 50;
pub(crate) const MODS: u64 = 51;
pub(crate) const HELPERS: u64 = 52;
/// No role.
pub(crate) const NO_ROLE: u64 = 59;

pub(crate) const GENERAL: u64 = 70;
pub(crate) const STAFF: u64 = 71;
pub(crate) const TOPICS: u64 = 72;
/// No channel.
pub(crate) const NO_CHANNEL: u64 = 79;

/// A guild, and all that it let out.
pub(crate) struct World {
    pub(crate) guild: Guild,
    pub(crate) now: Millis,
    pub(crate) calls: u64,
}

/// All that anyone can tell of a guild from outside.
#[derive(Debug, PartialEq)]
struct Shown {
    position: Position,
    sessions: usize,
    view: Option<ShownView>,
}

#[derive(Debug, PartialEq)]
struct ShownView {
    position: Position,
    rights: Rights,
    members: Vec<(Member, Option<Status>)>,
    online: usize,
}

impl World {
    /// The guild of the table above.
    pub(crate) fn new() -> Self {
        let mut world = Self::uncreated();
        let everyone = Permissions::VIEW_CHANNEL | Permissions::SEND_MESSAGES | Permissions::CHANGE_NICKNAME;
        world.system(Command::CreateGuild { name: name("Ada's"), everyone, owner: new_member(OWNER, &[]) });
        let manages = Permissions::MANAGE_ROLES
            | Permissions::MANAGE_CHANNELS
            | Permissions::MANAGE_GUILD
            | Permissions::MANAGE_NICKNAMES
            | Permissions::KICK_MEMBERS;
        for (id, position, permissions) in
            [(CHIEFS, 8, Permissions::ADMINISTRATOR), (MODS, 5, manages), (HELPERS, 2, Permissions::NONE)]
        {
            world.system(Command::CreateRole(role(id, position, permissions)));
        }
        for (user, roles) in
            [(CHIEF, &[CHIEFS][..]), (MOD, &[MODS]), (PEER, &[MODS]), (HELPER, &[HELPERS]), (PLAIN, &[])]
        {
            world.system(Command::AddMember(new_member(user, roles)));
        }
        world.system(Command::CreateChannel { channel: text(GENERAL), overwrites: vec![] });
        let hidden = overwrite(for_role(GUILD), Permissions::NONE, Permissions::VIEW_CHANNEL);
        let shown = overwrite(for_role(MODS), Permissions::VIEW_CHANNEL, Permissions::NONE);
        world.system(Command::CreateChannel { channel: text(STAFF), overwrites: vec![hidden, shown] });
        world.system(Command::CreateChannel { channel: category(TOPICS), overwrites: vec![] });
        world
    }

    /// A guild that was never created.
    pub(crate) fn uncreated() -> Self {
        let guild = Guild::new(GuildConfig::default(), GuildId::new(GUILD).unwrap(), Epoch(1));
        Self { guild, now: Millis(1_700_000_000_000), calls: 0 }
    }

    /// An operation id not used before.
    pub(crate) fn op(&mut self) -> OpId {
        self.calls += 1;
        OpId { client: ClientId::new(1).unwrap(), counter: self.calls, issued_at: self.now }
    }

    /// Lets the guild handle a command as it comes, and returns its answer with all else that it let out.
    pub(crate) fn call(&mut self, op: OpId, actor: Actor, command: Command) -> (Answer, Vec<Effect>) {
        let operation = Operation::new(op, actor, command).unwrap();
        self.input(|id| Input::Command(Call { id, operation }))
    }

    /// The same for what a session asks.
    pub(crate) fn session(&mut self, session: u64, request: SessionRequest) -> (Answer, Vec<Effect>) {
        self.session_by(Sponsor::HERE, session, request)
    }

    /// The same on somebody's word.
    pub(crate) fn session_by(
        &mut self,
        sponsor: Sponsor,
        session: u64,
        request: SessionRequest,
    ) -> (Answer, Vec<Effect>) {
        self.input(|id| Input::Session(SessionCall { id, session: session_id(session), sponsor, request }))
    }

    /// Tells that somebody is gone for good, which is accepted at once, and changes nothing yet.
    pub(crate) fn gone(&mut self, sponsor: Sponsor) {
        let (answer, others) = self.input(|id| Input::SponsorGone(SponsorGone { id, sponsor }));
        assert_eq!(answer, Ok(Reply::Accepted(self.guild.position())));
        assert!(others.is_empty(), "{others:?}");
    }

    /// Lets a member type.
    pub(crate) fn typing(&mut self, user: u64, channel: u64) -> (Answer, Vec<Effect>) {
        self.input(|id| Input::Typing(TypingCall { id, user: user_id(user), channel: channel_id(channel) }))
    }

    fn input(&mut self, input: impl FnOnce(CallId) -> Input) -> (Answer, Vec<Effect>) {
        self.calls += 1;
        let call = CallId(self.calls);
        let mut effects = Vec::new();
        self.guild.handle(self.now, input(call), &mut effects);
        let at =
            effects.iter().position(|effect| matches!(effect, Effect::Answer(..))).expect("every call is answered");
        let Effect::Answer(answered, answer) = effects.remove(at) else {
            unreachable!("an answer stands there");
        };
        assert_eq!(answered, call);
        (answer, effects)
    }

    /// Has the system do something that must be accepted.
    pub(crate) fn system(&mut self, command: Command) -> Outcome {
        let op = self.op();
        outcome(self.call(op, Actor::System, command).0)
    }

    /// What one member's command comes to.
    pub(crate) fn by(&mut self, actor: u64, command: Command) -> Result<Outcome, CommandError> {
        let op = self.op();
        self.call(op, by(actor), command).0.map(|reply| outcome(Ok(reply)))
    }

    /// Expects a refusal, after which nothing but the answer has left, and the guild is as it was.
    pub(crate) fn refuses(&mut self, actor: Actor, command: Command) -> CommandError {
        let op = self.op();
        self.refuses_op(op, actor, command)
    }

    /// The same, under an operation id of the caller's choice.
    pub(crate) fn refuses_op(&mut self, op: OpId, actor: Actor, command: Command) -> CommandError {
        let before = self.shown();
        let (answer, others) = self.call(op, actor, command);
        assert!(others.is_empty(), "a refusal lets out {others:?}");
        assert_eq!(self.shown(), before, "a refusal changed the guild");
        answer.expect_err("the command is refused")
    }

    /// The same for what a session asks.
    pub(crate) fn refuses_session(&mut self, session: u64, request: SessionRequest) -> CommandError {
        let before = self.shown();
        let (answer, others) = self.session(session, request);
        assert!(others.is_empty(), "a refusal lets out {others:?}");
        assert_eq!(self.shown(), before, "a refusal changed the guild");
        answer.expect_err("the request is refused")
    }

    /// Expects one event: recorded, then appended, then answered with its position; and a retry to come to the same, silently.
    pub(crate) fn applies(&mut self, actor: Actor, command: Command) -> EventKind {
        let (op, before) = (self.op(), self.guild.position());
        let (answer, others) = self.call(op, actor, command.clone());
        let outcome = outcome(answer);
        let (records, events) = told(&others);
        let [event] = &events[..] else { panic!("one event, not {events:?}") };
        assert_eq!((event.position, event.at), (before.next(), self.now));
        assert_eq!((outcome.at(), self.guild.position()), (event.position, event.position));
        if command.is_durable() {
            let [record] = &records[..] else { panic!("one record, not {records:?}") };
            assert_eq!((record.position, record.at), (event.position, self.now));
            assert_eq!((record.op.id, record.op.outcome), (op, outcome));
            assert_eq!(record.event.as_ref(), Some(event));
        } else {
            assert_eq!(records, []);
        }
        self.retries(op, actor, command, outcome);
        event.kind.clone()
    }

    /// Expects no event, but a record, so that a retry is known for what it is.
    pub(crate) fn changes_nothing(&mut self, actor: Actor, command: Command) -> Outcome {
        let (op, before) = (self.op(), self.shown());
        let (answer, others) = self.call(op, actor, command.clone());
        let outcome = outcome(answer);
        let (records, events) = told(&others);
        assert_eq!(events, []);
        let [record] = &records[..] else { panic!("one record, not {records:?}") };
        assert_eq!((record.position, record.op.outcome, &record.event), (before.position, outcome, &None));
        assert_eq!(outcome.at(), before.position);
        assert_eq!(self.shown(), before);
        self.retries(op, actor, command, outcome);
        outcome
    }

    fn retries(&mut self, op: OpId, actor: Actor, command: Command, first: Outcome) {
        let before = self.shown();
        let (answer, others) = self.call(op, actor, command);
        assert_eq!(outcome(answer), first, "a retry is answered as the first");
        assert!(others.is_empty(), "a retry lets out {others:?}");
        assert_eq!(self.shown(), before);
    }

    /// Attaches a session that must be accepted.
    pub(crate) fn attach(&mut self, user: u64, session: u64, status: Status) {
        let (answer, _) = self.session(session, SessionRequest::Attach { user: user_id(user), status });
        assert!(matches!(answer, Ok(Reply::Attached(_))), "{answer:?}");
    }

    /// The member as a view shows it.
    pub(crate) fn member(&mut self, user: u64) -> Option<Member> {
        self.guild.view().unwrap().member(user_id(user))
    }

    /// The status as a view shows it.
    pub(crate) fn status(&mut self, user: u64) -> Option<Status> {
        self.guild.view().unwrap().status(user_id(user))
    }

    /// The rights as a view shows them.
    pub(crate) fn rights(&mut self) -> Rights {
        self.guild.view().unwrap().rights().clone()
    }

    fn shown(&mut self) -> Shown {
        let view = self.guild.view().map(|view| {
            let members = view.range(None, usize::MAX).into_iter();
            let members = members.map(|member| (member.clone(), view.status(member.user))).collect();
            ShownView { position: view.position(), rights: view.rights().clone(), members, online: view.online() }
        });
        Shown { position: self.guild.position(), sessions: self.guild.sessions(), view }
    }
}

fn outcome(answer: Answer) -> Outcome {
    match answer {
        Ok(Reply::Outcome(outcome)) => outcome,
        other => panic!("a command comes to an outcome, not to {other:?}"),
    }
}

/// Records and events of effects, the former ahead of the latter.
fn told(effects: &[Effect]) -> (Vec<Record>, Vec<Arc<Event>>) {
    let (mut records, mut events) = (Vec::new(), Vec::new());
    for effect in effects {
        match effect {
            Effect::Record(record) => {
                assert!(events.is_empty(), "recorded before anyone hears of it");
                records.push(record.clone());
            }
            Effect::Append(event) => events.push(Arc::clone(event)),
            // Housekeeping may fall into any turn.
            Effect::Fold(_) | Effect::Scan(_) | Effect::Discard(_) | Effect::Checkpoint(_) | Effect::Tell(_) => {}
            Effect::Answer(..) => panic!("one call, two answers"),
        }
    }
    (records, events)
}

pub(crate) fn by(user: u64) -> Actor {
    Actor::User(user_id(user))
}

pub(crate) fn user_id(user: u64) -> UserId {
    UserId::new(user).unwrap()
}

pub(crate) fn role_id(role: u64) -> RoleId {
    RoleId::new(role).unwrap()
}

pub(crate) fn channel_id(channel: u64) -> ChannelId {
    ChannelId::new(channel).unwrap()
}

pub(crate) fn session_id(session: u64) -> SessionId {
    SessionId::new(session).unwrap()
}

pub(crate) fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

pub(crate) fn nick(text: &str) -> Nick {
    Nick::parse(text).unwrap()
}

pub(crate) fn new_member(user: u64, roles: &[u64]) -> NewMember {
    let roles = roles.iter().copied().map(role_id).collect();
    NewMember { user: user_id(user), nick: nick(&format!("user {user}")), roles, flags: MemberFlags::NONE }
}

pub(crate) fn role(id: u64, position: u16, permissions: Permissions) -> Role {
    let name = name(&format!("role {id}"));
    Role { id: role_id(id), name, position, permissions, hoist: false, mentionable: false }
}

pub(crate) fn text(id: u64) -> Channel {
    let name = name(&format!("channel {id}"));
    Channel { id: channel_id(id), name, kind: ChannelKind::Text, parent: None, position: 0 }
}

pub(crate) fn category(id: u64) -> Channel {
    Channel { kind: ChannelKind::Category, ..text(id) }
}

pub(crate) fn for_role(role: u64) -> OverwriteTarget {
    OverwriteTarget::Role(role_id(role))
}

pub(crate) fn for_user(user: u64) -> OverwriteTarget {
    OverwriteTarget::User(user_id(user))
}

pub(crate) fn overwrite(target: OverwriteTarget, allow: Permissions, deny: Permissions) -> Overwrite {
    Overwrite { target, allow, deny }
}

pub(crate) fn set_overwrite(channel: u64, overwrite: Overwrite) -> Command {
    Command::SetOverwrite { channel: channel_id(channel), overwrite }
}

pub(crate) fn rename(user: u64, to: &str) -> Command {
    let edit = MemberEdit { nick: Some(nick(to)), ..MemberEdit::default() };
    Command::UpdateMember { user: user_id(user), edit }
}

pub(crate) fn grant(user: u64, roles: &[u64]) -> Command {
    let roles = roles.iter().copied().map(role_id).collect();
    let edit = MemberEdit { roles: Some(roles), ..MemberEdit::default() };
    Command::UpdateMember { user: user_id(user), edit }
}

pub(crate) fn message(channel: u64) -> Publish {
    let payload = Payload::new(&b"hello"[..]).unwrap();
    Publish { channel: channel_id(channel), payload, mentions: Mentions::default(), session: None, echo: false }
}

pub(crate) fn mentioning(channel: u64, mentions: Mentions) -> Command {
    Command::Publish(Publish { mentions, ..message(channel) })
}
