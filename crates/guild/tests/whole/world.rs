//! A guild with the shell around it that matters here: what is stored, what is told, and what workers have still to do.
//!
//! [`OWNER`] owns it; [`CHIEF`] is an administrator; [`MOD`] and [`PEER`] moderate, and rank alike.

use std::collections::BTreeMap;
use std::sync::Arc;

use guildhall_guild::{
    Answer, Call, CallId, Effect, Guild, GuildConfig, Input, Operation, Reply, ScanJob, SessionCall, SessionRequest,
};
use guildhall_members::{Base, FoldJob};
use guildhall_proto::{
    Actor, ClientId, Command, CommandError, Epoch, Event, EventKind, GuildId, MemberFlags, Millis, Name, NewMember,
    Nick, OpId, Outcome, Permissions, Reason, Record, Role, RoleId, SessionId, Sponsor, Status, Structure, UserId,
    codec,
};

pub(crate) const OWNER: u64 = 10;
pub(crate) const CHIEF: u64 = 11;
pub(crate) const MOD: u64 = 12;
pub(crate) const PEER: u64 = 13;
/// Nobody here.
pub(crate) const STRANGER: u64 = 99;

pub(crate) const CHIEFS: u64 = 50;
pub(crate) const MODS: u64 = 51;
/// A role below the mods' that many hold.
pub(crate) const GUESTS: u64 = 52;

/// What a batch looks at: events of more members than this would be a turn that is too long.
pub(crate) const BATCH: usize = 96;

/// How many of so many members each batch looks at.
pub(crate) fn in_batches(members: usize) -> Vec<usize> {
    (0..members).step_by(BATCH).map(|from| BATCH.min(members - from)).collect()
}

pub(crate) struct World {
    pub(crate) guild: Guild,
    pub(crate) now: Millis,
    calls: u64,
    /// As the store has them: those that the checkpoint does not cover.
    pub(crate) records: Vec<Record>,
    checkpoint: Option<(Vec<u8>, Base)>,
    /// How many were made.
    pub(crate) checkpoints: usize,
    pub(crate) events: Vec<Arc<Event>>,
    pub(crate) answers: BTreeMap<CallId, Answer>,
    pub(crate) scans: Vec<ScanJob>,
    fold: Option<FoldJob>,
}

impl World {
    pub(crate) fn new() -> Self {
        let guild = Guild::new(GuildConfig::default(), guild_id(), Epoch(1));
        let mut world = Self {
            guild,
            now: Millis(1_700_000_000_000),
            calls: 0,
            records: Vec::new(),
            checkpoint: None,
            checkpoints: 0,
            events: Vec::new(),
            answers: BTreeMap::new(),
            scans: Vec::new(),
            fold: None,
        };
        let owner = new_member(OWNER, &[]);
        world.system(Command::CreateGuild { name: name("Ada's"), everyone: Permissions::VIEW_CHANNEL, owner });
        let moderates = Permissions::KICK_MEMBERS | Permissions::BAN_MEMBERS | Permissions::MANAGE_GUILD;
        for (id, position, permissions) in
            [(CHIEFS, 8, Permissions::ADMINISTRATOR), (MODS, 5, moderates), (GUESTS, 2, Permissions::NONE)]
        {
            world.system(Command::CreateRole(role(id, position, permissions)));
        }
        for (user, roles) in [(CHIEF, &[CHIEFS][..]), (MOD, &[MODS]), (PEER, &[MODS])] {
            world.system(Command::AddMember(new_member(user, roles)));
        }
        world.events.clear();
        world
    }

    /// Adds members, whatever their number, and forgets that it was told.
    pub(crate) fn add(&mut self, users: std::ops::Range<u64>, roles: &[u64]) {
        for first in users.clone().step_by(10_000) {
            let some = (first..users.end.min(first + 10_000)).map(|user| new_member(user, roles)).collect();
            self.system(Command::ImportMembers(some));
            self.settle();
        }
        self.events.clear();
    }

    pub(crate) fn op(&mut self) -> OpId {
        self.calls += 1;
        OpId { client: ClientId::new(1).unwrap(), counter: self.calls, issued_at: self.now }
    }

    /// Hands over a command, under an id of its own or one of before.
    pub(crate) fn send(&mut self, op: OpId, actor: Actor, command: Command) -> CallId {
        self.calls += 1;
        let id = CallId(self.calls);
        let operation = Operation::new(op, actor, command).unwrap();
        self.input(Input::Command(Call { id, operation }));
        id
    }

    pub(crate) fn answer(&mut self, call: CallId) -> Answer {
        self.answers.remove(&call).expect("the call is answered")
    }

    /// What a command comes to. One that is not answered at once is carried through, with all else that is under way.
    pub(crate) fn by(&mut self, actor: Actor, command: Command) -> Result<Outcome, CommandError> {
        let op = self.op();
        let call = self.send(op, actor, command);
        if !self.answers.contains_key(&call) {
            self.settle();
        }
        self.answer(call).map(outcome)
    }

    pub(crate) fn system(&mut self, command: Command) -> Outcome {
        self.by(Actor::System, command).expect("the system may")
    }

    /// Expects a refusal that leaves no trace.
    pub(crate) fn refuses(&mut self, actor: Actor, command: Command) -> CommandError {
        let (position, events, records) = (self.guild.position(), self.events.len(), self.records.len());
        let refusal = self.by(actor, command).expect_err("the command is refused");
        assert_eq!((self.guild.position(), self.events.len(), self.records.len()), (position, events, records));
        refusal
    }

    pub(crate) fn attach(&mut self, user: u64, session: u64, status: Status) -> Answer {
        let request = SessionRequest::Attach { user: user_id(user), status };
        self.calls += 1;
        let id = CallId(self.calls);
        self.input(Input::Session(SessionCall {
            id,
            session: SessionId::new(session).unwrap(),
            sponsor: Sponsor::HERE,
            request,
        }));
        self.answer(id)
    }

    /// So many turns without inputs.
    pub(crate) fn turns(&mut self, turns: usize) {
        for _ in 0..turns {
            self.turn();
        }
    }

    /// One turn without inputs. Whether there was anything to do in it.
    pub(crate) fn turn(&mut self) -> bool {
        if !self.guild.has_work() {
            return false;
        }
        let before = self.events.len();
        let mut effects = Vec::new();
        self.guild.proceed(self.now, &mut effects);
        self.perform(effects);
        assert!(self.events.len() <= before + 1, "a batch is one event");
        true
    }

    /// Lets workers finish what they have.
    pub(crate) fn work(&mut self) -> bool {
        let (fold, scans) = (self.fold.take(), std::mem::take(&mut self.scans));
        let worked = fold.is_some() || !scans.is_empty();
        if let Some(job) = fold {
            self.input(Input::FoldDone(job.run()));
        }
        for job in scans {
            self.input(Input::ScanDone(job.run()));
        }
        worked
    }

    /// Turns, and workers when there is no turn, until nothing is left to do.
    pub(crate) fn settle(&mut self) {
        while self.turn() || self.work() {}
    }

    /// The owner is gone with all that was not stored; another takes over.
    pub(crate) fn crash(&mut self) {
        let mut guild = match &self.checkpoint {
            Some((structure, base)) => {
                let structure: Structure = codec::decode(structure).unwrap();
                Guild::restore(GuildConfig::default(), guild_id(), structure, base.clone())
            }
            None => Guild::new(GuildConfig::default(), guild_id(), Epoch(0)),
        };
        for record in &self.records {
            let stored: Record = codec::decode(&codec::encode(record).unwrap()).unwrap();
            guild.replay(&stored).unwrap();
        }
        guild.open(Epoch(self.guild.position().epoch.0 + 1));
        self.guild = guild;
        (self.fold, self.scans) = (None, Vec::new());
        self.answers.clear();
    }

    pub(crate) fn is_member(&mut self, user: u64) -> bool {
        self.guild.view().unwrap().member(user_id(user)).is_some()
    }

    pub(crate) fn members(&mut self) -> Vec<u64> {
        self.guild.view().unwrap().range(None, usize::MAX).iter().map(|member| member.user.get()).collect()
    }

    pub(crate) fn kinds(&self) -> Vec<EventKind> {
        self.events.iter().map(|event| event.kind.clone()).collect()
    }

    fn input(&mut self, input: Input) {
        let mut effects = Vec::new();
        self.guild.handle(self.now, input, &mut effects);
        self.perform(effects);
    }

    fn perform(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Fold(job) => assert!(self.fold.replace(job).is_none()),
                Effect::Scan(job) => self.scans.push(job),
                Effect::Record(record) => self.records.push(record),
                Effect::Append(event) => self.events.push(event),
                Effect::Answer(call, answer) => assert!(self.answers.insert(call, answer).is_none()),
                Effect::Checkpoint(checkpoint) => {
                    let structure = checkpoint.structure.structure();
                    self.records.retain(|record| record.number > structure.records);
                    self.checkpoints += 1;
                    self.checkpoint = Some((codec::encode(&structure).unwrap(), checkpoint.base));
                }
                Effect::Discard(_) | Effect::Tell(_) => {}
            }
        }
    }
}

pub(crate) fn outcome(reply: Reply) -> Outcome {
    match reply {
        Reply::Outcome(outcome) => outcome,
        other @ (Reply::Attached(_) | Reply::Accepted(_)) => panic!("a command comes to an outcome, not to {other:?}"),
    }
}

pub(crate) fn by(user: u64) -> Actor {
    Actor::User(user_id(user))
}

pub(crate) fn user_id(user: u64) -> UserId {
    UserId::new(user).unwrap()
}

pub(crate) fn guild_id() -> GuildId {
    GuildId::new(1).unwrap()
}

pub(crate) fn role_id(role: u64) -> RoleId {
    RoleId::new(role).unwrap()
}

pub(crate) fn reason(text: &str) -> Option<Reason> {
    Some(Reason::parse(text).unwrap())
}

pub(crate) fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

pub(crate) fn role(id: u64, position: u16, permissions: Permissions) -> Role {
    Role { id: role_id(id), name: name("role"), position, permissions, hoist: false, mentionable: false }
}

pub(crate) fn new_member(user: u64, roles: &[u64]) -> NewMember {
    let roles = roles.iter().copied().map(role_id).collect();
    NewMember { user: user_id(user), nick: Nick::parse("nick").unwrap(), roles, flags: MemberFlags::NONE }
}
