//! Folds beside changes, statuses that wait for one, roles that are masked, and what members take.

use std::collections::BTreeMap;

use guildhall_proto::{EventKind, GuildId, GuildSettings, MemberFlags, Millis, Name, Nick, Permissions, Role};
use proptest::prelude::*;

use super::*;
use crate::Question;

fn user(number: u64) -> UserId {
    UserId::new(number).unwrap()
}

fn member(number: u64, roles: &[u64]) -> Member {
    Member {
        user: user(number),
        nick: Nick::parse(&format!("nick{:08}", number % 100_000_000)).unwrap(),
        roles: roles.iter().map(|role| RoleId::new(*role).unwrap()).collect(),
        joined_at: Millis(number),
        flags: MemberFlags::NONE,
    }
}

fn put_all(members: &mut Members, numbers: impl IntoIterator<Item = u64>) {
    for number in numbers {
        members.put(&member(number, &[]));
    }
}

fn fold(members: &mut Members) {
    let folded = members.begin_fold().unwrap().run();
    drop(members.install(folded));
}

/// Four roles out of 500, as many different choices of them as asked for.
fn four_roles(choice: u64) -> [u64; 4] {
    let mut roles = [0, 1, 2, 3]
        .map(|place| 1 + place * 125 + choice.wrapping_mul(0x9e37_79b9_7f4a_7c15) / (1 << (place * 13)) % 125);
    roles.sort_unstable();
    roles
}

fn bytes_per_member(distinct_sets: u64) -> f64 {
    const MEMBERS: u64 = 100_000;
    let mut members = Members::new(MembersConfig::default());
    for number in 1..=MEMBERS {
        members.put(&member(number * 1_000_003, &four_roles(number % distinct_sets)));
    }
    fold(&mut members);
    // As a million members have with an overlay that is due for a fold.
    for number in 1..=MEMBERS / 500 {
        members.put(&member(number * 500_001_500, &four_roles(number)));
    }
    members.memory().total() as f64 / MEMBERS as f64
}

#[test]
fn a_member_takes_at_most_48_bytes_with_few_role_sets_and_64_with_one_each() {
    let few = bytes_per_member(5_000);
    assert!((30.0..48.0).contains(&few), "{few} bytes");
    let own = bytes_per_member(u64::MAX);
    assert!((few..64.0).contains(&own), "{own} bytes");
}

#[test]
fn memory_stays_bounded_while_members_and_role_sets_change_for_ever() {
    let mut members = Members::new(MembersConfig { page_members: 16, ..MembersConfig::default() });
    let mut most = 0;
    for round in 0..300 {
        for number in 1..=50 {
            members.remove(user(round * 20 + number));
            members.put(&member((round + 1) * 20 + number, &four_roles(round * 50 + number)));
        }
        fold(&mut members);
        assert!(members.role_sets().unwrap() <= members.len());
        if round == 10 {
            most = members.memory().total() * 2;
        }
        assert!(most == 0 || members.memory().total() <= most, "round {round}: {:?}", members.memory());
    }
}

#[test]
fn a_status_set_while_a_fold_runs_is_settled_by_later_changes() {
    let mut members = Members::new(MembersConfig::default());
    put_all(&mut members, 1..=8);
    fold(&mut members);
    members.put(&member(9, &[]));
    let job = members.begin_fold().unwrap();
    (1..=9).for_each(|number| assert_eq!(members.set_status(user(number), Status::Online), Some(Status::Offline)));
    drop(members.install(job.run()));
    assert_eq!(members.layers.fresh.len(), 9);
    for number in 1..=5 {
        assert_eq!(members.set_status(user(number), Status::Idle), Some(Status::Online));
    }
    assert_eq!(members.layers.fresh.len(), 0);
    assert_eq!(members.online(), 9);
    assert_eq!([1, 5, 6, 9].map(|number| members.status(user(number)).unwrap() as u8), [1, 1, 3, 3]);
}

#[test]
fn a_role_that_comes_with_a_put_after_its_deletion_is_left_out() {
    let mut members = Members::new(MembersConfig::default());
    members.put(&member(1, &[7, 8]));
    members.delete_role(RoleId::new(7).unwrap());
    members.put(&member(2, &[7, 8]));
    assert_eq!([1, 2].map(|number| members.member(user(number)).unwrap().roles.len()), [1, 1]);
    fold(&mut members);
    assert!(!members.is_masked(RoleId::new(7).unwrap()));
    assert_eq!(members.digest(), members.layers.base.digest());
}

#[test]
fn nobody_holds_a_role_that_comes_again_or_takes_the_place_of_one_that_was_cleaned_out() {
    let mut members = Members::new(MembersConfig { page_members: 4, ..MembersConfig::default() });
    (1..=20).for_each(|number| {
        members.put(&member(number, if number % 2 == 0 { &[7, 8] } else { &[8] }));
    });
    fold(&mut members);
    members.delete_role(RoleId::new(7).unwrap());
    // Pages without a change are cleaned too. The new role takes the place of the deleted one.
    members.put(&member(2, &[8, 9]));
    fold(&mut members);
    let guild = GuildId::new(1).unwrap();
    let settings = GuildSettings { name: Name::parse("guild").unwrap(), owner: user(1) };
    let mut rights = Rights::new(guild, settings, Rights::everyone_role(guild, Permissions::NONE));
    for id in [7, 8, 9].map(|id| RoleId::new(id).unwrap()) {
        let name = Name::parse("role").unwrap();
        let role = Role { id, name, position: 1, permissions: Permissions::NONE, hoist: false, mentionable: false };
        rights.apply(&EventKind::RoleCreated { role });
    }
    let view = members.view(Position::default(), &rights);
    let holders = |role| view.scan(Question::Role { role: RoleId::new(role).unwrap(), channel: None }).unwrap().run();
    assert_eq!(view.layers().base.sets().dictionary().len(), 2);
    assert_eq!((holders(7), holders(8).len(), holders(9)), (vec![], 20, vec![user(2)]));
}

#[test]
fn small_guilds_fold_early_and_by_themselves() {
    let mut members = Members::new(MembersConfig::default());
    put_all(&mut members, 1..=7);
    assert!(members.folds_inline() && !members.fold_due());
    members.put(&member(8, &[]));
    assert!(members.fold_due());
    assert_eq!(members.unfolded(), 8);
    fold(&mut members);
    assert!(!members.fold_due());
    assert_eq!(members.unfolded(), 0);
    assert!(members.memory().total() < 2_048, "{:?}", members.memory());
}

#[test]
fn a_tidied_guild_folds_as_before_and_takes_less() {
    let mut members = Members::new(MembersConfig::default());
    (1..=20).for_each(|number| {
        members.put(&member(number, &four_roles(number)));
    });
    fold(&mut members);
    let before = members.memory().total();
    members.tidy();
    assert!(members.memory().total() < before);
    (21..=30).for_each(|number| {
        members.put(&member(number, &four_roles(number % 5)));
    });
    members.remove(user(1));
    fold(&mut members);
    assert_eq!(members.digest(), members.layers.base.digest());
    assert_eq!(members.len(), 29);
}

#[test]
fn many_deleted_roles_alone_make_a_fold_due() {
    let mut members = Members::new(MembersConfig::default());
    (1..=MASKED_ROLES_FOLD_AT as u64).for_each(|role| members.delete_role(RoleId::new(role).unwrap()));
    assert!(members.fold_due());
    fold(&mut members);
    assert!(!members.fold_due() && members.begin_fold().is_none());
}

#[test]
fn views_and_jobs_may_go_to_other_threads() {
    fn send_and_sync<T: Send + Sync>(_: &T) {}
    fn send<T: Send>(_: &T) {}
    let settings = GuildSettings { name: Name::parse("g").unwrap(), owner: user(1) };
    let guild = GuildId::new(1).unwrap();
    let rights = Rights::new(guild, settings, Rights::everyone_role(guild, guildhall_proto::Permissions::NONE));
    let mut members = Members::new(MembersConfig::default());
    members.put(&member(1, &[]));
    let view = members.view(Position::default(), &rights);
    send_and_sync(&view);
    send_and_sync(&view.scan(Question::All).unwrap());
    let job = members.begin_fold().unwrap();
    send(&job);
    let folded = job.run();
    send(&folded);
    send(&members.install(folded));
}

/// What happens to a guild that is large enough to be looked ahead in, to many members at a time.
#[derive(Debug, Clone)]
enum Many {
    LookAhead(Sweep),
    Put(Sweep),
    Remove(Sweep),
    SetStatus(Sweep, u8),
    View,
    BeginFold,
    RunFold,
    Install,
    Abandon,
}

/// So many users, from the first on, each so far from the last.
#[derive(Debug, Clone, Copy)]
struct Sweep {
    first: u64,
    step: u64,
    count: u64,
}

impl Sweep {
    fn users(self) -> impl Iterator<Item = u64> {
        (0..self.count).map(move |nth| 1 + (self.first + nth * self.step) % LARGE_USERS)
    }
}

const LARGE_USERS: u64 = 20_000;

fn many() -> impl Strategy<Value = Many> {
    let some = |count: std::ops::Range<u64>| {
        (0..LARGE_USERS, 1..40_u64, count).prop_map(|(first, step, count)| Sweep { first, step, count })
    };
    prop_oneof![
        8 => some(1..300).prop_map(Many::LookAhead),
        6 => some(1..40).prop_map(Many::Put),
        2 => some(500..3_000).prop_map(Many::Put),
        4 => some(1..40).prop_map(Many::Remove),
        1 => some(500..3_000).prop_map(Many::Remove),
        4 => (some(1..200), 0..4_u8).prop_map(|(some, status)| Many::SetStatus(some, status)),
        1 => Just(Many::View),
        3 => Just(Many::BeginFold),
        2 => Just(Many::RunFold),
        2 => Just(Many::Install),
        1 => Just(Many::Abandon),
    ]
}

type LargeModel = BTreeMap<u64, (u64, Status)>;

fn now(members: &Members, user: UserId) -> Option<(Millis, Status)> {
    Some((members.with_member(user, |own| own.joined_at)?, members.status(user)?))
}

/// Asserts that these users are as the model has them.
fn is_as(model: &LargeModel, user_of: impl Fn(UserId) -> Option<(Millis, Status)>, users: impl Iterator<Item = u64>) {
    for number in users {
        let expected = model.get(&number).map(|(joined_at, status)| (Millis(*joined_at), *status));
        assert_eq!(user_of(user(number)), expected, "user {number}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_large_guild_is_as_a_plain_map_whoever_is_looked_up_ahead(steps in prop::collection::vec(many(), 20..120)) {
        let config = MembersConfig { page_members: 500, ..MembersConfig::default() };
        let mut members = Members::new(config);
        put_all(&mut members, (1..=6_000).map(|number| number * 3 - 2));
        fold(&mut members);
        let there = (1..=6_000).map(|number| number * 3 - 2);
        let mut model: LargeModel = there.map(|number| (number, (number, Status::Offline))).collect();
        let guild = GuildId::new(1).unwrap();
        let settings = GuildSettings { name: Name::parse("g").unwrap(), owner: user(1) };
        let rights = Rights::new(guild, settings, Rights::everyone_role(guild, guildhall_proto::Permissions::NONE));
        let (mut job, mut folded, mut views) = (None, None, Vec::new());
        for (time, step) in (100_000..).zip(steps) {
            match step {
                Many::LookAhead(some) => {
                    members.look_ahead(some.users().map(user));
                    is_as(&model, |user| now(&members, user), some.users());
                }
                Many::Put(some) => {
                    for number in some.users() {
                        members.put(&Member { joined_at: Millis(time), ..member(number, &[]) });
                        model.entry(number).or_default().0 = time;
                    }
                }
                Many::Remove(some) => {
                    for number in some.users() {
                        let before = model.remove(&number).map(|(joined_at, _)| Millis(joined_at));
                        prop_assert_eq!(members.remove(user(number)), before);
                    }
                }
                Many::SetStatus(some, status) => {
                    for number in some.users() {
                        let status = Status::from_number(status).unwrap();
                        let before = model.get_mut(&number).map(|own| std::mem::replace(&mut own.1, status));
                        prop_assert_eq!(members.set_status(user(number), status), before);
                    }
                }
                Many::View => views.push((members.view(Position::default(), &rights), model.clone())),
                Many::BeginFold => job = members.begin_fold().or(job),
                Many::RunFold => folded = job.take().map(FoldJob::run).or(folded),
                Many::Install => drop(folded.take().map(|folded| members.install(folded))),
                Many::Abandon => {
                    members.abandon_fold();
                    (job, folded) = (None, None);
                }
            }
            prop_assert_eq!(members.len(), model.len());
            prop_assert_eq!(members.online(), model.values().filter(|(_, status)| status.is_online()).count());
        }
        views.push((members.view(Position::default(), &rights), model.clone()));
        for (view, model) in views {
            let then = |user| Some((view.with_member(user, |own| own.joined_at)?, view.status(user)?));
            is_as(&model, then, 1..=LARGE_USERS);
            prop_assert!(view.range(None, usize::MAX).iter().map(|own| own.user.get()).eq(model.keys().copied()));
        }
        is_as(&model, |user| now(&members, user), 1..=LARGE_USERS);
    }
}
