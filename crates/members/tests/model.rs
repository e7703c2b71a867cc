//! The member store against a plain `BTreeMap`: random histories with folds, abandoned folds, deleted roles and old
//! views at any moment.

#![expect(clippy::unwrap_used, reason = "a test stops where something is not as built")]

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};

use guildhall_members::{Digest, FoldJob, Folded, Members, MembersConfig, Put, Question, UnknownInView, View};
use guildhall_permissions::Rights;
use guildhall_proto::{
    Channel, ChannelId, ChannelKind, EventKind, GuildId, GuildSettings, Member, MemberFlags, Millis, Name, Nick,
    Overwrite, OverwriteTarget, Permissions, Position, Role, RoleId, Status, UserId,
};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use xxhash_rust::xxh3::xxh3_128_with_seed;

const HISTORIES: u32 = 1_000;
const USERS: u64 = 90;
const ROLES: usize = 6;
const CHANNELS: u64 = 3;

#[derive(Debug, Clone)]
enum Step {
    Put { user: u64, nick: usize, roles: u8, flags: u16 },
    Remove { user: u64 },
    SetStatus { user: u64, status: u8 },
    DeleteRole { role: usize },
    SetOverwrite { channel: u64, target: u64, allow: bool },
    BeginFold,
    RunFold,
    Install,
    Abandon,
    Restore,
    View,
    OrderNicks,
    OrderNicksAsBefore,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => (1..=USERS, 0..NICKS.len(), any::<u8>(), 0..3_u16)
            .prop_map(|(user, nick, roles, flags)| Step::Put { user, nick, roles, flags: flags / 2 }),
        4 => (1..=USERS).prop_map(|user| Step::Remove { user }),
        12 => (1..=USERS, 0..4_u8).prop_map(|(user, status)| Step::SetStatus { user, status }),
        1 => (0..ROLES).prop_map(|role| Step::DeleteRole { role }),
        1 => (1..=CHANNELS, 0..16_u64, any::<bool>())
            .prop_map(|(channel, target, allow)| Step::SetOverwrite { channel, target, allow }),
        3 => Just(Step::BeginFold),
        3 => Just(Step::RunFold),
        3 => Just(Step::Install),
        1 => Just(Step::Abandon),
        1 => Just(Step::View),
        1 => Just(Step::Restore),
        1 => Just(Step::OrderNicks),
        1 => Just(Step::OrderNicksAsBefore),
    ]
}

/// How often what the histories are about really happened.
#[derive(Debug, Default)]
struct Occurred {
    folds: Cell<u32>,
    folds_with_changes_meanwhile: Cell<u32>,
    abandoned_before_running: Cell<u32>,
    abandoned_after_running: Cell<u32>,
    stale_installs: Cell<u32>,
    roles_masked: Cell<u32>,
    roles_cleaned: Cell<u32>,
    restores: Cell<u32>,
    old_views_checked: Cell<u32>,
    folds_due: Cell<u32>,
    chunked_scans: Cell<u32>,
    nicks_ordered: Cell<u32>,
    orders_carried_by_folds: Cell<u32>,
    orders_carried_over_folds: Cell<u32>,
    searches_in_order: Cell<u32>,
    searches_by_page: Cell<u32>,
}

fn count(counter: &Cell<u32>) {
    counter.set(counter.get() + 1);
}

#[test]
fn members_answer_as_a_plain_map_does_at_every_step() {
    let occurred = Occurred::default();
    let config = Config { cases: HISTORIES, failure_persistence: None, max_shrink_iters: 20_000, ..Config::default() };
    let mut runner =
        TestRunner::new_with_rng(config, proptest::test_runner::TestRng::deterministic_rng(Default::default()));
    let histories = (vec(step(), 150..250), 2..7_usize);
    let outcome = runner.run(&histories, |(steps, page_members)| {
        let mut world = World::new(page_members, &occurred);
        for step in steps {
            world.take(step);
        }
        world.finish();
        Ok(())
    });
    outcome.unwrap();
    let least = HISTORIES / 10;
    for (what, times) in [
        ("folds", &occurred.folds),
        ("folds with changes meanwhile", &occurred.folds_with_changes_meanwhile),
        ("folds abandoned before they ran", &occurred.abandoned_before_running),
        ("folds abandoned after they ran", &occurred.abandoned_after_running),
        ("outcomes of abandoned folds refused", &occurred.stale_installs),
        ("roles masked", &occurred.roles_masked),
        ("roles cleaned out", &occurred.roles_cleaned),
        ("restores", &occurred.restores),
        ("old views checked", &occurred.old_views_checked),
        ("folds due", &occurred.folds_due),
        ("scans in chunks", &occurred.chunked_scans),
        ("bases ordered by nick", &occurred.nicks_ordered),
        ("orders carried by folds", &occurred.orders_carried_by_folds),
        ("orders carried over folds", &occurred.orders_carried_over_folds),
        ("searches in such an order", &occurred.searches_in_order),
        ("searches page by page", &occurred.searches_by_page),
    ] {
        assert!(times.get() >= least, "{what}: {} times in {HISTORIES} histories", times.get());
    }
}

type Model = BTreeMap<UserId, (Member, Status)>;

enum Fold {
    None,
    Begun(FoldJob),
    Ran(Folded),
}

struct World<'a> {
    config: MembersConfig,
    members: Members,
    model: Model,
    /// The model as of the beginning of the fold under way.
    folding: Model,
    changed_since_fold: bool,
    rights: Rights,
    roles: Vec<RoleId>,
    next_role: u64,
    masked: BTreeSet<RoleId>,
    fold: Fold,
    stale: Option<Folded>,
    views: Vec<(View, Model)>,
    steps: u64,
    occurred: &'a Occurred,
}

impl<'a> World<'a> {
    fn new(page_members: usize, occurred: &'a Occurred) -> Self {
        let config = MembersConfig { page_members, fold_at: 12, inline_fold_members: 8 };
        let guild = GuildId::new(1).unwrap();
        let settings = GuildSettings { name: Name::parse("g").unwrap(), owner: user_id(3) };
        let everyone = Rights::everyone_role(guild, Permissions::SEND_MESSAGES);
        let mut world = Self {
            config,
            members: Members::new(config),
            model: Model::new(),
            folding: Model::new(),
            changed_since_fold: false,
            rights: Rights::new(guild, settings, everyone),
            roles: Vec::new(),
            next_role: 100,
            masked: BTreeSet::new(),
            fold: Fold::None,
            stale: None,
            views: Vec::new(),
            steps: 0,
            occurred,
        };
        for role_idx in 0..ROLES {
            let role = world.create_role(role_idx);
            world.roles.push(role);
        }
        for channel in 1..=CHANNELS {
            let id = ChannelId::new(channel).unwrap();
            let name = Name::parse("c").unwrap();
            let channel = Channel { id, name, kind: ChannelKind::Text, parent: None, position: 0 };
            world.rights.apply(&EventKind::ChannelCreated { channel, overwrites: Vec::new() });
        }
        world
    }

    fn create_role(&mut self, role_idx: usize) -> RoleId {
        // Ids fall and rise, so that a new role does not always come last.
        self.next_role += 1;
        let id = RoleId::new(self.next_role ^ 0x15).unwrap();
        let permissions = match role_idx {
            0 => Permissions::ADMINISTRATOR,
            1 | 2 => Permissions::VIEW_CHANNEL,
            _ => Permissions::NONE,
        };
        let name = Name::parse("r").unwrap();
        let role = Role { id, name, position: 1, permissions, hoist: false, mentionable: false };
        self.rights.apply(&EventKind::RoleCreated { role });
        id
    }

    fn take(&mut self, step: Step) {
        self.steps += 1;
        match step {
            Step::Put { user, nick, roles, flags } => self.put(user_id(user), nick, roles, flags),
            Step::Remove { user } => {
                let user = user_id(user);
                let joined_at = self.model.remove(&user).map(|known| known.0.joined_at);
                assert_eq!(self.members.remove(user), joined_at);
                self.changed_since_fold = true;
            }
            Step::SetStatus { user, status } => {
                let (user, status) = (user_id(user), Status::from_number(status).unwrap());
                let before = self.model.get_mut(&user).map(|(_, own)| std::mem::replace(own, status));
                assert_eq!(self.members.set_status(user, status), before);
                self.changed_since_fold = true;
            }
            Step::DeleteRole { role } => self.delete_role(role),
            Step::SetOverwrite { channel, target, allow } => self.set_overwrite(channel, target, allow),
            Step::BeginFold => self.begin_fold(),
            Step::RunFold => {
                self.fold = match std::mem::replace(&mut self.fold, Fold::None) {
                    Fold::Begun(job) => Fold::Ran(job.run()),
                    fold @ (Fold::None | Fold::Ran(_)) => fold,
                };
            }
            Step::Install => self.install(),
            Step::Abandon => {
                match std::mem::replace(&mut self.fold, Fold::None) {
                    Fold::None => {}
                    Fold::Begun(_) => count(&self.occurred.abandoned_before_running),
                    Fold::Ran(folded) => {
                        count(&self.occurred.abandoned_after_running);
                        self.stale = Some(folded);
                    }
                }
                self.members.abandon_fold();
            }
            Step::Restore => self.restore(),
            Step::View => self.view(),
            Step::OrderNicks => {
                let view = self.members.view(Position::default(), &self.rights);
                view.order_nicks();
                assert!(is_ordered(&view));
                count(&self.occurred.nicks_ordered);
            }
            Step::OrderNicksAsBefore => {
                let view = self.members.view(Position::default(), &self.rights);
                let is_news = !is_ordered(&view);
                if let Some((before, _)) = self.views.first() {
                    before.order_nicks();
                    view.order_nicks_as(before);
                }
                if is_news && is_ordered(&view) {
                    count(&self.occurred.orders_carried_over_folds);
                }
            }
        }
        self.check();
    }

    fn put(&mut self, user: UserId, nick: usize, roles: u8, flags: u16) {
        let mut roles: Vec<RoleId> =
            self.roles.iter().enumerate().filter(|(idx, _)| roles >> idx & 1 != 0).map(|(_, role)| *role).collect();
        roles.sort();
        let nick = Nick::parse(NICKS[nick]).unwrap();
        let member = Member { user, nick, roles, joined_at: Millis(self.steps / 3), flags: MemberFlags(flags) };
        let status = self.model.get(&user).map(|(_, status)| *status);
        let expected = if status.is_some() { Put::Replaced } else { Put::New };
        assert_eq!(self.members.put(&member), expected);
        self.model.insert(user, (member, status.unwrap_or_default()));
        self.changed_since_fold = true;
    }

    fn delete_role(&mut self, role_idx: usize) {
        let role = self.roles[role_idx];
        let overwrites = self.rights.role_overwrites(role).collect();
        self.rights.apply(&EventKind::RoleDeleted { role: self.rights.role(role).unwrap().clone(), overwrites });
        self.members.delete_role(role);
        self.masked.insert(role);
        for (member, _) in self.model.values_mut() {
            member.roles.retain(|held| *held != role);
        }
        count(&self.occurred.roles_masked);
        self.roles[role_idx] = self.create_role(role_idx);
    }

    fn set_overwrite(&mut self, channel: u64, target: u64, allow: bool) {
        let target = match target {
            0 => OverwriteTarget::Role(RoleId::everyone(self.rights.guild())),
            user @ 1..8 => OverwriteTarget::User(user_id(user * 7)),
            role => OverwriteTarget::Role(self.roles[role as usize % ROLES]),
        };
        let channel = ChannelId::new(channel).unwrap();
        let before = self.rights.overwrites(channel).unwrap().find(target).copied();
        let (allow, deny) = if allow {
            (Permissions::VIEW_CHANNEL, Permissions::NONE)
        } else {
            (Permissions::NONE, Permissions::VIEW_CHANNEL)
        };
        let after = Some(Overwrite { target, allow, deny });
        self.rights.apply(&EventKind::OverwriteChanged { channel, before, after });
    }

    fn begin_fold(&mut self) {
        let under_way = !matches!(self.fold, Fold::None);
        match self.members.begin_fold() {
            Some(job) => {
                assert!(!under_way, "one fold at a time");
                assert!(job.changes() > 0 || !self.masked.is_empty());
                self.folding = self.model.clone();
                self.changed_since_fold = false;
                self.fold = Fold::Begun(job);
            }
            None if !under_way => assert!(!self.members.fold_due(), "what is due can begin"),
            None => {}
        }
    }

    fn install(&mut self) {
        if let Some(stale) = self.stale.take() {
            drop(self.members.install(stale));
            count(&self.occurred.stale_installs);
            self.check();
        }
        match std::mem::replace(&mut self.fold, Fold::None) {
            Fold::Ran(folded) => {
                let base = folded.base();
                assert!(base.iter().eq(self.folding.values().map(|(member, _)| member.clone())));
                assert_eq!(base.digest(), digest_of(&self.folding));
                let was_ordered = is_ordered(&self.members.view(Position::default(), &self.rights));
                drop(self.members.install(folded));
                count(&self.occurred.folds);
                if was_ordered && is_ordered(&self.members.view(Position::default(), &self.rights)) {
                    count(&self.occurred.orders_carried_by_folds);
                }
                if self.changed_since_fold {
                    count(&self.occurred.folds_with_changes_meanwhile);
                }
                let members = &self.members;
                let cleaned = self.masked.extract_if(.., |role| !members.is_masked(*role)).count();
                (0..cleaned).for_each(|_| count(&self.occurred.roles_cleaned));
                assert!(self.members.role_sets().unwrap() <= base.len(), "a set without members is dead");
            }
            fold @ (Fold::None | Fold::Begun(_)) => self.fold = fold,
        }
    }

    /// Starts again from a checkpoint of all there is, which is what a fold of all changes makes.
    fn restore(&mut self) {
        if !self.steps.is_multiple_of(4) {
            return;
        }
        self.members.abandon_fold();
        self.fold = Fold::None;
        self.stale = None;
        let Some(job) = self.members.begin_fold() else {
            return;
        };
        self.members = Members::restore(self.config, job.run().base());
        self.masked.clear();
        for (_, status) in self.model.values_mut() {
            *status = Status::Offline;
        }
        count(&self.occurred.restores);
    }

    fn view(&mut self) {
        let view = self.members.view(Position::default(), &self.rights);
        self.check_view(&view, &self.model);
        self.views.push((view, self.model.clone()));
        if self.views.len() > 4 {
            let (view, model) = self.views.remove(0);
            self.check_view(&view, &model);
            count(&self.occurred.old_views_checked);
        }
    }

    fn finish(&mut self) {
        self.view();
        for (view, model) in std::mem::take(&mut self.views) {
            self.check_view(&view, &model);
        }
    }

    fn check(&self) {
        if self.members.fold_due() {
            count(&self.occurred.folds_due);
        }
        assert_eq!(self.members.len(), self.model.len());
        assert_eq!(self.members.online(), self.model.values().filter(|(_, status)| status.is_online()).count());
        assert!(self.masked.iter().all(|role| self.members.is_masked(*role)));
        let user = user_id(self.steps % USERS + 1);
        let expected = self.model.get(&user);
        assert_eq!(self.members.member(user).as_ref(), expected.map(|(member, _)| member));
        assert_eq!(self.members.status(user), expected.map(|(_, status)| *status));
        if self.steps.is_multiple_of(8) {
            assert_eq!(self.members.digest(), digest_of(&self.model));
        }
    }

    fn check_view(&self, view: &View, model: &Model) {
        assert_eq!(view.len(), model.len());
        for number in 0..=USERS + 1 {
            let user = user_id(number);
            let expected = model.get(&user);
            assert_eq!(view.member(user).as_ref(), expected.map(|(member, _)| member));
            assert_eq!(view.status(user), expected.map(|(_, status)| *status));
            let channel = ChannelId::new(1).unwrap();
            let may = expected.map(|(member, _)| view.rights().in_channel(user, &member.roles, channel).unwrap());
            assert_eq!(view.can(user, Some(channel)), may.ok_or(UnknownInView::Member(user)));
        }
        for after in [None, Some(user_id(0)), Some(user_id(self.steps % USERS)), Some(user_id(USERS + 1))] {
            let expected = model.values().map(|(member, _)| member.clone()).filter(|member| Some(member.user) > after);
            assert_eq!(view.range(after, 7), expected.take(7).collect::<Vec<_>>());
        }
        count(if is_ordered(view) { &self.occurred.searches_in_order } else { &self.occurred.searches_by_page });
        for prefix in ["", "a", "AL", "ä", "zz", "bob", "alphabetic", "alphabetical ö"] {
            for limit in [0, 3, 1_000] {
                assert_eq!(view.by_prefix(prefix, limit), with_prefix(model, prefix, limit), "{prefix:?}");
            }
        }
        let odd = |member: &Member, status: Status| member.flags.0 == 1 || status == Status::Idle;
        let expected: Vec<UserId> =
            model.values().filter(|(member, status)| odd(member, *status)).map(|(member, _)| member.user).collect();
        assert_eq!(view.filter(|member, status| odd(&member.to_member(), status)).run(), expected);
        self.check_scans(view, model);
    }

    fn check_scans(&self, view: &View, model: &Model) {
        let rights = view.rights();
        let channels = (1..=CHANNELS).map(|channel| ChannelId::new(channel).unwrap());
        let held: Vec<RoleId> = rights.roles().map(|role| role.id).collect();
        let mut questions = vec![Question::All];
        for channel in channels {
            questions.extend([Question::Everyone { channel }, Question::Here { channel }]);
        }
        for role in held {
            let channel = ChannelId::new(role.get() % CHANNELS + 1).unwrap();
            questions.extend([Question::Role { role, channel: None }, Question::Role { role, channel: Some(channel) }]);
        }
        for question in questions {
            let scan = view.scan(question).unwrap();
            let expected: Vec<UserId> = model
                .values()
                .filter(|(member, status)| naive(rights, member, *status, question))
                .map(|(member, _)| member.user)
                .collect();
            assert_eq!(scan.run(), expected, "{question:?}");
            if scan.chunks() > 1 {
                count(&self.occurred.chunked_scans);
            }
        }
        let (channel, role) = (ChannelId::new(77).unwrap(), RoleId::new(77).unwrap());
        assert_eq!(view.scan(Question::Here { channel }).unwrap_err(), UnknownInView::Channel(channel));
        assert_eq!(view.scan(Question::Role { role, channel: None }).unwrap_err(), UnknownInView::Role(role));
    }
}

fn is_ordered(view: &View) -> bool {
    view.memory().nick_order > 0
}

fn naive(rights: &Rights, member: &Member, status: Status, question: Question) -> bool {
    let sees = |channel| {
        let permissions = rights.in_channel(member.user, &member.roles, channel).unwrap();
        permissions.contains(Permissions::VIEW_CHANNEL)
    };
    match question {
        Question::All => true,
        Question::Everyone { channel } => sees(channel),
        Question::Here { channel } => status.is_online() && sees(channel),
        Question::Role { role, channel } => {
            let holds = role == RoleId::everyone(rights.guild()) || member.roles.contains(&role);
            holds && channel.is_none_or(sees)
        }
    }
}

fn with_prefix(model: &Model, prefix: &str, limit: usize) -> Vec<Member> {
    let folded = |text: &str| text.chars().flat_map(char::to_lowercase).collect::<String>();
    let mut found: Vec<&Member> = model
        .values()
        .map(|(member, _)| member)
        .filter(|member| folded(member.nick.as_str()).starts_with(&folded(prefix)))
        .collect();
    found.sort_by_key(|member| (folded(member.nick.as_str()), member.user));
    found.into_iter().take(limit).cloned().collect()
}

/// The written-down digest, by a walk.
fn digest_of(model: &Model) -> Digest {
    let mut sum = 0_u128;
    for (member, _) in model.values() {
        let mut record = Vec::new();
        record.extend(member.user.get().to_le_bytes());
        record.extend(member.joined_at.0.to_le_bytes());
        record.extend(member.flags.0.to_le_bytes());
        record.extend(member.nick.as_str().bytes());
        sum = sum.wrapping_add(xxh3_128_with_seed(&record, 1));
        for role in &member.roles {
            let pair = [member.user.get().to_le_bytes(), role.get().to_le_bytes()].concat();
            sum = sum.wrapping_add(xxh3_128_with_seed(&pair, 2));
        }
    }
    Digest(sum)
}

/// Ids in three clusters, so that interpolation does not just guess right.
fn user_id(number: u64) -> UserId {
    UserId::new(((number % 3) << 40) + number * number + 1).unwrap()
}

const NICKS: [&str; 19] = [
    "alice",
    "Alice",
    "ALan",
    "bob",
    "Bobby",
    "bo",
    "Ärger",
    "ärger",
    "ZZ top",
    "zz",
    "日本",
    "ßeta",
    "x",
    "Al",
    "alphabetic",
    "ALPHABETICAL",
    "alphabetical order",
    "Alphabetical Order",
    "alphabetical Ödem",
];
