//! Recovery against the guild that never failed: whatever the history, a checkpoint and the records after it give the same guild.

use std::collections::BTreeSet;

use guildhall_members::{FoldJob, Members, MembersConfig};
use guildhall_proto::{
    Channel, ChannelEdit, ChannelId, ChannelKind, ClientId, Generation, GuildEdit, MemberEdit, MemberFlags, Mentions,
    Name, NewMember, Nick, Overwrite, OverwriteTarget, Payload, Permissions, PruneBy, Publish, Reason, Role, RoleEdit,
    RoleId, SessionId, Sponsor, Status, UserId, codec,
};
use proptest::collection::vec;
use proptest::prelude::any;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use super::*;
use crate::input::CallId;
use crate::scan::ScanJob;

#[test]
fn a_checkpoint_and_the_records_after_it_give_the_guild_that_never_failed() {
    let config = Config { cases: CASES, failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let seen = std::cell::Cell::new(Counts::default());
    let outcome = runner.run(&(any::<u64>(), vec(any::<u64>(), STEPS)), |(setting, steps)| {
        let mut run = Run::new(setting, seen.get());
        run.step(Step::Create);
        for word in steps {
            run.step(Step::of(word));
        }
        run.check();
        seen.set(run.seen);
        Ok(())
    });
    outcome.unwrap_or_else(|failure| panic!("{failure}"));
    let seen = seen.get();
    println!("{seen:?}");
    let counts = [
        seen.events,
        seen.refusals,
        seen.unchanged,
        seen.retries,
        seen.expired,
        seen.folds_late,
        seen.folds_inline,
        seen.changed_while_folding,
        seen.checkpoints,
        seen.recoveries,
        seen.crashes,
        seen.roles_deleted,
        seen.roles_back,
        seen.guilds_deleted,
        seen.orphaned_folds,
        seen.bans,
        seen.bans_lifted,
        seen.spread,
        seen.spread_over_others,
        seen.cut,
        seen.taken_up,
        seen.given_up,
    ];
    assert!(counts.iter().all(|count| *count >= 10), "too few of something: {seen:?}");
}

const CASES: u32 = 250;
const STEPS: std::ops::Range<usize> = 100..300;
const GUILD: u64 = 1;

/// What really happened, over all histories.
#[derive(Debug, Clone, Copy, Default)]
struct Counts {
    events: u32,
    refusals: u32,
    unchanged: u32,
    retries: u32,
    expired: u32,
    folds_late: u32,
    folds_inline: u32,
    changed_while_folding: u32,
    checkpoints: u32,
    recoveries: u32,
    crashes: u32,
    roles_deleted: u32,
    roles_back: u32,
    guilds_deleted: u32,
    orphaned_folds: u32,
    bans: u32,
    bans_lifted: u32,
    /// Operations spread over turns that came to their end.
    spread: u32,
    /// Those between whose batches something else happened.
    spread_over_others: u32,
    /// Those that a crash cut, and that a retry took up.
    cut: u32,
    taken_up: u32,
    /// Those that ended with their guild.
    given_up: u32,
}

enum Step {
    Create,
    Command(Actor, Command),
    Session(SessionId, SessionRequest),
    Retry(usize),
    Fold,
    Turn,
    Wait(u64),
    Check,
    Crash,
}

type Asked = (OpId, Actor, Command);

struct Run {
    config: GuildConfig,
    guild: Guild,
    epoch: Epoch,
    now: Millis,
    calls: u64,
    fold: Option<FoldJob>,
    scans: Vec<ScanJob>,
    /// Operations under way, with the position at which they were asked for.
    pending: Vec<(CallId, Asked, Position)>,
    /// Operations that a crash has cut.
    cut: Vec<Asked>,
    records: Vec<Record>,
    checkpoints: Vec<(Vec<u8>, Base)>,
    accepted: Vec<(OpId, Actor, Command, Outcome)>,
    deleted_roles: BTreeSet<RoleId>,
    seen: Counts,
}

impl Run {
    fn new(setting: u64, seen: Counts) -> Self {
        let mut dice = Dice(setting);
        let members = MembersConfig {
            page_members: 2 + dice.below(3),
            fold_at: 1 + dice.below(6),
            inline_fold_members: dice.below(2) * 100,
        };
        let checkpoints = CheckpointConfig { changes_min: 3 + dice.below(30) as u64, ..CheckpointConfig::default() };
        let config = GuildConfig { members, checkpoints };
        let guild = Guild::new(config.clone(), GuildId::new(GUILD).unwrap(), Epoch(1));
        Self {
            config,
            guild,
            epoch: Epoch(1),
            now: Millis(1_700_000_000_000),
            calls: 0,
            fold: None,
            scans: Vec::new(),
            pending: Vec::new(),
            cut: Vec::new(),
            records: Vec::new(),
            checkpoints: Vec::new(),
            accepted: Vec::new(),
            deleted_roles: BTreeSet::new(),
            seen,
        }
    }

    fn step(&mut self, step: Step) {
        self.now.0 += 1;
        match step {
            Step::Create => {
                let (name, everyone) = (Name::parse("Ada's").unwrap(), Permissions::VIEW_CHANNEL);
                self.command(Actor::System, Command::CreateGuild { name, everyone, owner: new(1, vec![], 0) });
                for at in 0..5 {
                    self.command(Actor::System, Command::CreateRole(role(&mut Dice(at))));
                    self.command(
                        Actor::System,
                        Command::CreateChannel { channel: channel(&mut Dice(at)), overwrites: vec![] },
                    );
                }
            }
            Step::Command(actor, command) => self.command(actor, command),
            Step::Session(session, request) => {
                let id = CallId(0);
                self.handle(Input::Session(SessionCall { id, session, sponsor: Sponsor::HERE, request }));
            }
            Step::Retry(nth) => self.retry(nth),
            Step::Fold => self.finish_fold(),
            Step::Turn => self.turn(),
            Step::Wait(ms) => self.now.0 += ms,
            Step::Check => self.check(),
            Step::Crash => {
                self.guild = self.recover(self.checkpoints.len());
                self.fold = None;
                self.scans.clear();
                let cut = self.pending.drain(..).map(|(_, asked, _)| asked);
                self.cut.extend(cut.inspect(|_| self.seen.cut += 1));
                self.epoch = Epoch(self.epoch.0 + 1);
                self.guild.open(self.epoch);
                self.seen.crashes += 1;
            }
        }
        if self.guild.is_congested() {
            self.finish_fold();
        }
    }

    fn command(&mut self, actor: Actor, command: Command) {
        self.calls += 1;
        let client = ClientId::new(1 + self.calls % 3).unwrap();
        let op = OpId { client, counter: self.calls, issued_at: self.now };
        let (before, folding) = (self.guild.position(), self.fold.is_some());
        let Some(answer) = self.call(op, actor, command.clone()) else {
            return;
        };
        match answer {
            Ok(Reply::Outcome(outcome)) => {
                let changed = self.guild.position() != before;
                self.seen.events += u32::from(changed);
                self.seen.unchanged += u32::from(!changed);
                self.seen.changed_while_folding += u32::from(changed && folding);
                self.note(&command);
                if command.is_durable() {
                    self.accepted.push((op, actor, command, outcome));
                }
            }
            Ok(other) => panic!("{other:?} is no outcome of a command"),
            Err(_) => {
                assert_eq!(self.guild.position(), before);
                self.seen.refusals += 1;
            }
        }
    }

    fn note(&mut self, command: &Command) {
        if let Command::DeleteRole { role } = command {
            self.deleted_roles.insert(*role);
            self.seen.roles_deleted += 1;
        }
        if let Command::CreateRole(role) = command {
            self.seen.roles_back += u32::from(self.deleted_roles.contains(&role.id));
        }
        self.seen.bans += u32::from(matches!(command, Command::Ban { .. }));
        self.seen.bans_lifted += u32::from(matches!(command, Command::Unban { .. }));
        if *command == Command::DeleteGuild {
            self.seen.guilds_deleted += 1;
            self.seen.orphaned_folds += u32::from(self.fold.is_some());
        }
    }

    /// Sends again what a crash has cut; it is carried on, or is too late.
    fn take_up(&mut self) {
        let Some((op, actor, command)) = self.cut.pop() else {
            return;
        };
        match self.call(op, actor, command.clone()) {
            None => self.seen.taken_up += 1,
            Some(Ok(Reply::Outcome(outcome))) => self.accepted.push((op, actor, command, outcome)),
            Some(Ok(other)) => panic!("{other:?} is no outcome of a command"),
            Some(Err(_)) => {}
        }
    }

    fn retry(&mut self, nth: usize) {
        if nth.is_multiple_of(3) {
            self.take_up();
        }
        let Some((op, actor, command, outcome)) =
            nth.checked_rem(self.accepted.len()).map(|at| self.accepted[at].clone())
        else {
            return;
        };
        let (records, before) = (self.records.len(), self.guild.position());
        match self.call(op, actor, command).expect("it was answered before") {
            Ok(reply) => {
                assert_eq!(reply, Reply::Outcome(outcome));
                self.seen.retries += 1;
            }
            Err(refusal) => {
                assert_eq!(refusal, CommandError::Expired { op });
                self.seen.expired += 1;
            }
        }
        assert_eq!((self.records.len(), self.guild.position()), (records, before), "a retry was applied again");
    }

    /// The answer, unless that comes with a later turn.
    fn call(&mut self, op: OpId, actor: Actor, command: Command) -> Option<Answer> {
        self.calls += 1;
        let (id, at) = (CallId(self.calls), self.guild.position());
        let operation = Operation::new(op, actor, command.clone()).unwrap();
        let answer = self.handle(Input::Command(Call { id, operation }));
        if answer.is_none() {
            self.pending.push((id, (op, actor, command), at));
        }
        answer
    }

    fn turn(&mut self) {
        let mut effects = Vec::new();
        self.guild.proceed(self.now, &mut effects);
        self.perform(effects);
    }

    fn handle(&mut self, input: Input) -> Option<Answer> {
        let mut effects = Vec::new();
        self.guild.handle(self.now, input, &mut effects);
        self.perform(effects)
    }

    /// Notes what the effects say, and returns the answer to a call that is not pending.
    fn perform(&mut self, effects: Vec<Effect>) -> Option<Answer> {
        let mut answer = None;
        for effect in effects {
            match effect {
                Effect::Fold(job) => assert!(self.fold.replace(job).is_none(), "one fold is under way at a time"),
                Effect::Record(record) => self.records.push(record),
                Effect::Checkpoint(checkpoint) => {
                    self.seen.checkpoints += 1;
                    self.seen.folds_inline += u32::from(self.guild.members.folds_inline());
                    let structure = codec::encode(&checkpoint.structure.structure()).unwrap();
                    self.checkpoints.push((structure, checkpoint.base));
                }
                Effect::Scan(job) => self.scans.push(job),
                Effect::Answer(call, given) => match self.pending.iter().position(|(id, ..)| *id == call) {
                    Some(at) => self.finish(at, given),
                    None => answer = Some(given),
                },
                Effect::Append(_) | Effect::Discard(_) | Effect::Tell(_) => {}
            }
        }
        answer
    }

    fn finish(&mut self, at: usize, given: Answer) {
        let (_, (op, actor, command), since) = self.pending.remove(at);
        match given {
            Ok(Reply::Outcome(outcome)) => {
                self.seen.spread += 1;
                self.seen.spread_over_others += u32::from(outcome.at().seq.0 > since.seq.0 + 1);
                self.accepted.push((op, actor, command, outcome));
            }
            Ok(other) => panic!("{other:?} is no outcome of a command"),
            Err(refusal) => {
                assert_eq!(refusal, CommandError::UnknownGuild);
                self.seen.given_up += 1;
            }
        }
    }

    fn finish_fold(&mut self) {
        for job in std::mem::take(&mut self.scans) {
            self.handle(Input::ScanDone(job.run()));
        }
        if let Some(job) = self.fold.take() {
            self.seen.folds_late += 1;
            self.handle(Input::FoldDone(job.run()));
        }
    }

    /// Recovers from every checkpoint there was, and from none, and compares.
    fn check(&mut self) {
        for from in 0..=self.checkpoints.len() {
            let mut recovered = self.recover(from);
            self.seen.recoveries += 1;
            assert_eq!(recovered.members.digest(), self.guild.members.digest());
            assert!(recovered.clock <= self.guild.clock);
            assert!(recovered.position <= self.guild.position);
            let views = (recovered.view(), self.guild.view());
            match views {
                (None, None) => {}
                (Some(recovered), Some(alive)) => {
                    assert_eq!(recovered.rights(), alive.rights());
                    let members = recovered.range(None, usize::MAX);
                    assert_eq!(members, alive.range(None, usize::MAX));
                    assert_eq!(recovered.online(), 0);
                    assert!(recovered.bans().behind(None).eq(alive.bans().behind(None)));
                    assert!(alive.bans().behind(None).all(|ban| alive.member(ban.user).is_none()));
                    let mut anew = Members::new(MembersConfig::default());
                    for member in &members {
                        anew.put(member);
                    }
                    assert_eq!(anew.digest(), self.guild.members.digest());
                }
                (recovered, alive) => panic!("{recovered:?} was recovered, not {alive:?}"),
            }
            self.check_retries(&mut recovered);
        }
    }

    fn check_retries(&mut self, recovered: &mut Guild) {
        let now = self.now;
        for (op, actor, command, _) in self.accepted.clone() {
            let body = BodyHash::of(&(actor, &command)).unwrap();
            let answer = |guild: &mut Guild| match guild.operations.look_up(now, op, body) {
                Ok(Seen::New | Seen::Unfinished(_)) => panic!("{op:?} would be applied again"),
                Ok(Seen::Answered(answer)) => answer,
                Err(refusal) => Err(refusal),
            };
            assert_eq!(answer(recovered), answer(&mut self.guild));
        }
    }

    /// The guild as of what the store holds once checkpoint `from` (counted from 1; 0 is none) has reached it.
    fn recover(&self, from: usize) -> Guild {
        let id = GuildId::new(GUILD).unwrap();
        let (mut guild, covered) = match from.checked_sub(1) {
            Some(at) => {
                let (structure, base) = &self.checkpoints[at];
                let structure: Structure = codec::decode(structure).unwrap();
                let covered = structure.records;
                let guild = Guild::restore(self.config.clone(), id, structure, base.clone());
                assert_eq!(guild.members.digest(), base.digest());
                (guild, covered)
            }
            None => (Guild::new(self.config.clone(), id, Epoch(0)), 0),
        };
        for record in self.records.iter().filter(|record| record.number > covered) {
            guild.replay(record).unwrap();
        }
        guild
    }
}

/// Small numbers out of one large one.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        let rolled = self.0 % bound as u64;
        self.0 /= bound as u64;
        rolled as usize
    }

    fn user(&mut self) -> UserId {
        UserId::new(1 + self.below(24) as u64).unwrap()
    }

    fn role(&mut self) -> RoleId {
        RoleId::new(50 + self.below(5) as u64).unwrap()
    }

    fn channel(&mut self) -> ChannelId {
        ChannelId::new(70 + self.below(4) as u64).unwrap()
    }

    fn roles(&mut self) -> Vec<RoleId> {
        let mask = self.below(32) & self.below(32);
        (0..5).filter(|bit| mask >> bit & 1 == 1).map(|bit| RoleId::new(50 + bit).unwrap()).collect()
    }

    fn permissions(&mut self) -> Permissions {
        [Permissions::NONE, Permissions::VIEW_CHANNEL, Permissions::MANAGE_ROLES, Permissions::ADMINISTRATOR]
            [self.below(4)]
    }
}

impl Step {
    fn of(word: u64) -> Self {
        let mut dice = Dice(word);
        let actor = if dice.below(5) == 0 { Actor::User(dice.user()) } else { Actor::System };
        match dice.below(48) {
            0..9 => {
                let (user, roles) = (dice.user().get(), dice.roles());
                Self::Command(actor, Command::AddMember(new(user, roles, dice.below(9))))
            }
            9..13 => Self::Command(actor, Command::RemoveMember { user: dice.user() }),
            13..19 => {
                let (user, roles) = (dice.user(), dice.roles());
                let nick = Some(nick(dice.below(3)));
                let edit = MemberEdit { nick, roles: Some(roles), flags: None };
                Self::Command(actor, Command::UpdateMember { user, edit })
            }
            19..22 => Self::Command(actor, Command::CreateRole(role(&mut dice))),
            22 => {
                let (role, permissions) = (dice.role(), Some(dice.permissions()));
                Self::Command(
                    actor,
                    Command::UpdateRole { role, edit: RoleEdit { permissions, ..RoleEdit::default() } },
                )
            }
            23..25 => Self::Command(actor, Command::DeleteRole { role: dice.role() }),
            25 => {
                Self::Command(actor, Command::ReorderRoles { positions: vec![(dice.role(), 1 + dice.below(4) as u16)] })
            }
            26 => Self::Command(actor, Command::CreateChannel { channel: channel(&mut dice), overwrites: vec![] }),
            27 => {
                let edit = ChannelEdit { name: None, parent: Some(Some(dice.channel())) };
                Self::Command(actor, Command::UpdateChannel { channel: dice.channel(), edit })
            }
            28 => Self::Command(actor, Command::DeleteChannel { channel: dice.channel() }),
            29 => {
                let overwrite =
                    Overwrite { target: target(&mut dice), allow: dice.permissions(), deny: dice.permissions() };
                Self::Command(actor, Command::SetOverwrite { channel: dice.channel(), overwrite })
            }
            30 => {
                let target = target(&mut dice);
                Self::Command(actor, Command::RemoveOverwrite { channel: dice.channel(), target })
            }
            31 => match dice.below(40) {
                0..3 => Self::Command(actor, Command::DeleteGuild),
                3..20 => Self::Command(actor, Command::TransferOwnership { to: dice.user() }),
                _ => {
                    let name = Name::parse(["one", "two"][dice.below(2)]).unwrap();
                    Self::Command(actor, Command::UpdateGuild(GuildEdit { name: Some(name) }))
                }
            },
            32 => {
                let channel = dice.channel();
                let (payload, mentions) = (Payload::default(), Mentions::default());
                Self::Command(
                    actor,
                    Command::Publish(Publish { channel, payload, mentions, session: None, echo: false }),
                )
            }
            33 => {
                let session = SessionId::new(90 + dice.below(8) as u64).unwrap();
                let status = [Status::Offline, Status::Idle, Status::Online][dice.below(3)];
                let request = match dice.below(3) {
                    0 => SessionRequest::Detach { user: dice.user() },
                    1 => {
                        let generation = [Generation::default(), Generation(u64::MAX)][dice.below(2)];
                        SessionRequest::SetStatus { user: dice.user(), status, generation }
                    }
                    _ => SessionRequest::Attach { user: dice.user(), status },
                };
                Self::Session(session, request)
            }
            34..36 => Self::Retry(dice.below(1_000)),
            36..38 => Self::Fold,
            40 => {
                let reason = [None, Some(Reason::parse("spam").unwrap())][dice.below(2)].clone();
                Self::Command(actor, Command::Ban { user: dice.user(), reason })
            }
            41 => Self::Command(actor, Command::Unban { user: dice.user() }),
            42..44 => {
                let by = match dice.below(3) {
                    0 => PruneBy::Role(dice.role()),
                    1 => PruneBy::Idle { joined_before: Millis(1_700_000_000_000 + dice.below(300) as u64) },
                    _ => PruneBy::Absent((0..3).map(|_| dice.user()).collect()),
                };
                Self::Command(actor, Command::PruneMembers(by))
            }
            44 => {
                let (first, roles) = (dice.user().get(), dice.roles());
                let lines = (first..first + 4).map(|user| new(user, roles.clone(), 0)).collect();
                Self::Command(actor, Command::ImportMembers(lines))
            }
            45..48 => Self::Turn,
            38 => match dice.below(3) {
                0 => Self::Wait(dice.below(400_000) as u64),
                1 => Self::Crash,
                _ => Self::Check,
            },
            _ => Self::Wait(1),
        }
    }
}

fn new(user: u64, roles: Vec<RoleId>, flags: usize) -> NewMember {
    NewMember { user: UserId::new(user).unwrap(), nick: nick(0), roles, flags: MemberFlags(flags as u16) }
}

fn nick(nth: usize) -> Nick {
    Nick::parse(["Ada", "Bob", "Eve"][nth]).unwrap()
}

fn role(dice: &mut Dice) -> Role {
    let (id, permissions) = (dice.role(), dice.permissions());
    let (name, position) = (Name::parse("role").unwrap(), 1 + dice.below(4) as u16);
    Role { id, name, position, permissions, hoist: false, mentionable: true }
}

fn channel(dice: &mut Dice) -> Channel {
    let (id, kind) = (dice.channel(), [ChannelKind::Text, ChannelKind::Category][dice.below(2)]);
    Channel { id, name: Name::parse("channel").unwrap(), kind, parent: None, position: 0 }
}

fn target(dice: &mut Dice) -> OverwriteTarget {
    if dice.below(2) == 0 { OverwriteTarget::Role(dice.role()) } else { OverwriteTarget::User(dice.user()) }
}
