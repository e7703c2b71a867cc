//! Members in pages as long as guilds have them, changed many at a time, against a plain `BTreeMap`; with dictionaries of roles about as long as a
//! byte numbers, and as long as any may be.

#![expect(clippy::unwrap_used, reason = "a test stops where something is not as built")]

use std::collections::BTreeMap;

use guildhall_members::{Base, Members, MembersConfig, PartKind, Question, View};
use guildhall_permissions::Rights;
use guildhall_proto::{
    Channel, ChannelId, ChannelKind, EventKind, GuildId, GuildSettings, Member, MemberFlags, Millis, Name, Nick,
    Overwrite, OverwriteTarget, Permissions, Position, Role, RoleId, Status, UserId,
};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRng, TestRunner};

const HISTORIES: u32 = 96;
const USERS: u64 = 3_000;
/// Roles that the guild has at any time, beside those that only lengthen the dictionary.
const ROLES: usize = 16;
/// Roles that a member may have.
const MEMBER_ROLES: u64 = 250;

#[derive(Debug, Clone)]
enum Step {
    Put(Sweep, Roles),
    Remove(Sweep),
    SetStatus(Sweep, u8),
    DeleteRole(usize),
    Fold,
    FoldBeside(Sweep, Roles),
    View,
    OrderNicks,
    WriteAndRead,
}

/// So many users, from the first on, each so far from the last.
#[derive(Debug, Clone, Copy)]
struct Sweep {
    first: u64,
    step: u64,
    count: u64,
}

/// What members of a sweep come to hold.
#[derive(Debug, Clone, Copy)]
enum Roles {
    /// All the same: a bit for each of the guild's roles.
    Same(u16),
    /// Each a choice of its own.
    Own(u16),
}

impl Sweep {
    fn users(self) -> impl Iterator<Item = u64> {
        (0..self.count).map(move |nth| (self.first + nth * self.step) % USERS)
    }
}

impl Roles {
    fn bits(self, user: u64) -> u16 {
        match self {
            Self::Same(bits) => bits,
            Self::Own(salt) => ((user ^ u64::from(salt)).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 48) as u16 & salt,
        }
    }
}

fn sweep() -> impl Strategy<Value = Sweep> {
    let count = prop_oneof![2 => 1..30_u64, 2 => 30..400_u64, 1 => 400..USERS];
    (0..USERS, 1..60_u64, count).prop_map(|(first, step, count)| Sweep { first, step, count })
}

fn roles() -> impl Strategy<Value = Roles> {
    prop_oneof![any::<u16>().prop_map(Roles::Same), any::<u16>().prop_map(Roles::Own)]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        10 => (sweep(), roles()).prop_map(|(some, roles)| Step::Put(some, roles)),
        4 => sweep().prop_map(Step::Remove),
        4 => (sweep(), 0..4_u8).prop_map(|(some, status)| Step::SetStatus(some, status)),
        2 => (0..ROLES).prop_map(Step::DeleteRole),
        4 => Just(Step::Fold),
        4 => (sweep(), roles()).prop_map(|(some, roles)| Step::FoldBeside(some, roles)),
        3 => Just(Step::View),
        1 => Just(Step::OrderNicks),
        2 => Just(Step::WriteAndRead),
    ]
}

type Model = BTreeMap<UserId, (Member, Status)>;

struct World {
    config: MembersConfig,
    members: Members,
    model: Model,
    rights: Rights,
    roles: Vec<RoleId>,
    next_role: u64,
    time: u64,
    views: Vec<(View, Model)>,
    seen: Seen,
}

/// The most of everything that was met.
#[derive(Debug, Default, Clone, Copy)]
struct Seen {
    pages: usize,
    chunks: usize,
    dictionary: u32,
}

#[test]
fn pages_of_any_size_answer_as_a_plain_map_does() {
    let config = Config { cases: HISTORIES, failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(Default::default()));
    let page_members = prop_oneof![6 => 60..=500_usize, 1 => 501..=2_048_usize];
    // With the guild's own they are 16, just below and above what a byte numbers, or as many as there may be.
    let others = prop_oneof![4 => Just(0_u64), 1 => Just(239), 1 => Just(240), 1 => Just(241), 1 => Just(65_519)];
    let all = std::cell::RefCell::new(Vec::new());
    let outcome = runner.run(&(vec(step(), 10..40), page_members, others), |(steps, page_members, others)| {
        let mut world = World::new(page_members, others);
        for step in steps {
            world.take(step);
        }
        world.take(Step::View);
        world.take(Step::WriteAndRead);
        world.check_views();
        all.borrow_mut().push((page_members, world.seen));
        Ok(())
    });
    outcome.unwrap();
    let all = all.into_inner();
    let times = |what: &dyn Fn(usize, Seen) -> bool| all.iter().filter(|(size, seen)| what(*size, *seen)).count();
    for (what, times) in [
        ("pages of 60 to 500", times(&|size, seen| size <= 500 && seen.pages > 5)),
        ("pages of more", times(&|size, seen| size > 500 && seen.pages > 1)),
        ("scans in chunks", times(&|_, seen| seen.chunks > 1)),
        ("255 roles", times(&|_, seen| seen.dictionary == 255)),
        ("256 roles", times(&|_, seen| seen.dictionary == 256)),
        ("257 roles", times(&|_, seen| seen.dictionary == 257)),
        ("65,535 roles", times(&|_, seen| seen.dictionary == 65_535)),
    ] {
        assert!(times >= 2, "{what}: in {times} of {HISTORIES} histories");
    }
}

impl World {
    /// A guild whose dictionary of roles already has so many others, each of which somebody holds.
    fn new(page_members: usize, others: u64) -> Self {
        let config = MembersConfig { page_members, ..MembersConfig::default() };
        let guild = GuildId::new(1).unwrap();
        let settings = GuildSettings { name: Name::parse("g").unwrap(), owner: user(7) };
        let everyone = Rights::everyone_role(guild, Permissions::VIEW_CHANNEL);
        let mut world = Self {
            config,
            members: Members::new(config),
            model: Model::new(),
            rights: Rights::new(guild, settings, everyone),
            roles: Vec::new(),
            next_role: others + 1,
            time: 0,
            views: Vec::new(),
            seen: Seen::default(),
        };
        let id = channel();
        let channel =
            Channel { id, name: Name::parse("c").unwrap(), kind: ChannelKind::Text, parent: None, position: 0 };
        world.rights.apply(&EventKind::ChannelCreated { channel, overwrites: Vec::new() });
        for at in 0..ROLES {
            world.create_role(at);
        }
        let first = 1..=others;
        for (number, roles) in (USERS..).zip(first.step_by(MEMBER_ROLES as usize)) {
            let held = (roles..=others).take(MEMBER_ROLES as usize).map(role);
            world.put(number, held.collect());
        }
        for number in 0..600 {
            world.put(number * 5, vec![world.roles[number as usize % ROLES]]);
        }
        world.fold_all();
        world
    }

    fn create_role(&mut self, at: usize) {
        self.next_role += 1;
        let id = role(self.next_role);
        let permissions = if at == 0 { Permissions::ADMINISTRATOR } else { Permissions::NONE };
        let name = Name::parse("r").unwrap();
        let role = Role { id, name, position: 1, permissions, hoist: false, mentionable: false };
        self.rights.apply(&EventKind::RoleCreated { role });
        // Hidden from who holds one of two roles, shown to who holds one of three others, whatever else.
        let (allow, deny) = match at {
            1 | 2 => (Permissions::NONE, Permissions::VIEW_CHANNEL),
            3..=5 => (Permissions::VIEW_CHANNEL, Permissions::NONE),
            _ => (Permissions::NONE, Permissions::NONE),
        };
        if (allow, deny) != (Permissions::NONE, Permissions::NONE) {
            let after = Some(Overwrite { target: OverwriteTarget::Role(id), allow, deny });
            self.rights.apply(&EventKind::OverwriteChanged { channel: channel(), before: None, after });
        }
        if at == self.roles.len() {
            self.roles.push(id);
        } else {
            self.roles[at] = id;
        }
    }

    fn take(&mut self, step: Step) {
        self.time += 1;
        match step {
            Step::Put(some, roles) => self.put_all(some, roles),
            Step::Remove(some) => {
                for user in some.users().map(user) {
                    let joined_at = self.model.remove(&user).map(|(member, _)| member.joined_at);
                    assert_eq!(self.members.remove(user), joined_at);
                }
            }
            Step::SetStatus(some, status) => {
                let status = Status::from_number(status).unwrap();
                for user in some.users().map(user) {
                    let before = self.model.get_mut(&user).map(|(_, own)| std::mem::replace(own, status));
                    assert_eq!(self.members.set_status(user, status), before);
                }
            }
            Step::DeleteRole(at) => self.delete_role(at),
            Step::Fold => self.fold_all(),
            Step::FoldBeside(some, roles) => {
                let job = self.members.begin_fold();
                self.put_all(some, roles);
                job.into_iter().for_each(|job| drop(self.members.install(job.run())));
            }
            Step::View => {
                self.views.push((self.members.view(Position::default(), &self.rights), self.model.clone()));
                if self.views.len() > 3 {
                    let (view, model) = self.views.remove(0);
                    self.check_view(&view, &model);
                }
            }
            Step::OrderNicks => self.members.view(Position::default(), &self.rights).order_nicks(),
            Step::WriteAndRead => self.write_and_read(),
        }
        assert_eq!(self.members.len(), self.model.len());
        assert_eq!(self.members.online(), self.model.values().filter(|(_, status)| status.is_online()).count());
    }

    fn put_all(&mut self, some: Sweep, roles: Roles) {
        for number in some.users() {
            let bits = roles.bits(number);
            let mut held: Vec<RoleId> = (0..ROLES).filter(|at| bits >> at & 1 != 0).map(|at| self.roles[at]).collect();
            held.sort_unstable();
            self.put(number, held);
        }
    }

    fn put(&mut self, number: u64, roles: Vec<RoleId>) {
        // Some long, some equal but for their case.
        let nick = match (number + self.time) % 5 {
            0 => format!("Nick {}", number % 40),
            1 => format!("nick {}", number % 40),
            2 => format!("a nick that is long, {number}"),
            _ => format!("n{}", number * 31 % 997),
        };
        let (nick, joined_at) = (Nick::parse(&nick).unwrap(), Millis(self.time / 2));
        let member = Member { user: user(number), nick, roles, joined_at, flags: MemberFlags((number % 3) as u16) };
        self.members.put(&member);
        let status = self.model.get(&member.user).map_or(Status::Offline, |(_, status)| *status);
        self.model.insert(member.user, (member, status));
    }

    fn delete_role(&mut self, at: usize) {
        let id = self.roles[at];
        let overwrites = self.rights.role_overwrites(id).collect();
        self.rights.apply(&EventKind::RoleDeleted { role: self.rights.role(id).unwrap().clone(), overwrites });
        self.members.delete_role(id);
        self.model.values_mut().for_each(|(member, _)| member.roles.retain(|held| *held != id));
        self.create_role(at);
    }

    fn fold_all(&mut self) {
        if let Some(job) = self.members.begin_fold() {
            drop(self.members.install(job.run()));
        }
        assert_eq!(self.members.base().digest(), self.members.digest());
    }

    /// Goes on with what was written and read again; nobody is online then.
    fn write_and_read(&mut self) {
        self.fold_all();
        let base = self.members.base();
        let mut parts = Vec::new();
        for part in base.parts() {
            let mut bytes = Vec::new();
            part.encode_into(&mut bytes);
            parts.push((part.kind(), bytes));
        }
        let pages = parts.iter().filter(|(kind, _)| *kind == PartKind::Page).count();
        let roles = u32::from_le_bytes(parts[0].1[4..8].try_into().unwrap());
        (self.seen.pages, self.seen.dictionary) = (self.seen.pages.max(pages), self.seen.dictionary.max(roles));
        let again = Base::from_parts(parts.iter().map(|(_, bytes)| &bytes[..])).unwrap();
        assert!(again.iter().eq(self.model.values().map(|(member, _)| member.clone())));
        assert_eq!(again.digest(), self.members.digest());
        self.members = Members::restore(self.config, again);
        self.model.values_mut().for_each(|(_, status)| *status = Status::Offline);
    }

    fn check_views(&mut self) {
        for (view, model) in std::mem::take(&mut self.views) {
            self.check_view(&view, &model);
        }
    }

    fn check_view(&mut self, view: &View, model: &Model) {
        assert_eq!(view.range(None, usize::MAX), model.values().map(|(member, _)| member.clone()).collect::<Vec<_>>());
        for number in (0..USERS).step_by(11) {
            let expected = model.get(&user(number));
            assert_eq!(view.status(user(number)), expected.map(|(_, status)| *status));
            assert_eq!(view.member(user(number)).as_ref(), expected.map(|(member, _)| member));
        }
        for prefix in ["nick 1", "A NICK", "n99"] {
            let mut expected: Vec<&Member> = model.values().map(|(member, _)| member).collect();
            let folded = |member: &Member| member.nick.as_str().to_lowercase();
            expected.retain(|member| folded(member).starts_with(&prefix.to_lowercase()));
            expected.sort_by_key(|member| (folded(member), member.user));
            assert!(view.by_prefix(prefix, 50).iter().eq(expected.into_iter().take(50)), "{prefix:?}");
        }
        let rights = view.rights();
        let sees = |member: &Member| {
            let permissions = rights.in_channel(member.user, &member.roles, channel()).unwrap();
            permissions.contains(Permissions::VIEW_CHANNEL)
        };
        let mut questions = vec![Question::Everyone { channel: channel() }, Question::Here { channel: channel() }];
        questions.extend(rights.roles().step_by(3).map(|role| Question::Role { role: role.id, channel: None }));
        for question in questions {
            let is_meant = |(member, status): &&(Member, Status)| match question {
                Question::All => true,
                Question::Everyone { .. } => sees(member),
                Question::Here { .. } => status.is_online() && sees(member),
                Question::Role { role, .. } => role == RoleId::everyone(rights.guild()) || member.roles.contains(&role),
            };
            let expected: Vec<UserId> = model.values().filter(is_meant).map(|(member, _)| member.user).collect();
            let scan = view.scan(question).unwrap();
            self.seen.chunks = self.seen.chunks.max(scan.chunks());
            assert_eq!(scan.run(), expected, "{question:?}");
        }
    }
}

fn channel() -> ChannelId {
    ChannelId::new(1).unwrap()
}

/// Ids with gaps that grow.
fn user(number: u64) -> UserId {
    UserId::new(number * number + 3).unwrap()
}

fn role(number: u64) -> RoleId {
    RoleId::new(number).unwrap()
}
