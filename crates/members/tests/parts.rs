//! A base written out part by part and read back: equal, whatever its members are; and never a wrong one, whatever the
//! bytes are.

#![expect(clippy::unwrap_used, reason = "a test stops where something is not as built")]

use std::collections::BTreeMap;
use std::thread;

use guildhall_members::{Base, Dictionary, Members, MembersConfig, PagePiece, PartError, PartKind, SetsPiece};
use guildhall_permissions::Rights;
use guildhall_proto::{
    GuildId, GuildSettings, Member, MemberFlags, Millis, Name, Nick, Permissions, Position, RoleId, UserId,
};
use proptest::collection::{btree_set, vec};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRng, TestRunner};

const USERS: u64 = 60;
const ROLES: u64 = 300;

#[derive(Debug, Clone)]
enum Step {
    Put(Member),
    Remove(UserId),
    DeleteRole(RoleId),
    Fold,
    WriteAndRead,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => member().prop_map(Step::Put),
        4 => (1..=USERS).prop_map(|number| Step::Remove(user(number))),
        2 => (1..=ROLES).prop_map(|number| Step::DeleteRole(role(number))),
        2 => Just(Step::Fold),
        2 => Just(Step::WriteAndRead),
    ]
}

fn member() -> impl Strategy<Value = Member> {
    let few = btree_set(1..=6_u64, 0..4);
    let many = btree_set(1..=ROLES, 0..=250);
    let roles = prop_oneof![8 => few, 1 => many];
    (1..=USERS, nick(), roles, any::<u64>(), any::<u16>()).prop_map(|(number, nick, roles, joined_at, flags)| Member {
        user: user(number),
        nick,
        roles: roles.into_iter().map(role).collect(),
        joined_at: Millis(joined_at),
        flags: MemberFlags(flags),
    })
}

/// Equal beginnings, both cases, all lengths: what orders nicks is met everywhere.
fn nick() -> impl Strategy<Value = Nick> {
    let piece = prop::sample::select(vec!["a", "B", "b", "Ä", "ä", "🦀", "İ", "ß", "abcdefgh", "ABCDEFG", "-", "~"]);
    vec(piece, 1..20).prop_map(|pieces| {
        let text: String = pieces.concat().chars().take(32).collect();
        Nick::parse(&text).unwrap()
    })
}

fn user(number: u64) -> UserId {
    UserId::new(number).unwrap()
}

fn role(number: u64) -> RoleId {
    RoleId::new(number).unwrap()
}

fn plain(number: u64, nick: &str, roles: &[u64]) -> Member {
    Member {
        user: user(number),
        nick: Nick::parse(nick).unwrap(),
        roles: roles.iter().copied().map(role).collect(),
        joined_at: Millis(number),
        flags: MemberFlags::NONE,
    }
}

fn folded(members: &mut Members) -> Base {
    if let Some(job) = members.begin_fold() {
        drop(members.install(job.run()));
    }
    members.base()
}

fn written(base: &Base) -> Vec<(PartKind, Vec<u8>)> {
    let bytes = |part: guildhall_members::Part<'_>| {
        let mut bytes = Vec::new();
        part.encode_into(&mut bytes);
        (part.kind(), bytes)
    };
    base.parts().map(bytes).collect()
}

fn read(parts: &[(PartKind, Vec<u8>)]) -> Result<Base, PartError> {
    Base::from_parts(parts.iter().map(|(_, bytes)| &bytes[..]))
}

#[test]
fn a_base_reads_back_equal_at_every_moment_of_a_history() {
    let config = Config { cases: 300, failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(Default::default()));
    let histories = (vec(step(), 60..120), 2..40_usize);
    let outcome = runner.run(&histories, |(steps, page_members)| {
        let config = MembersConfig { page_members, ..MembersConfig::default() };
        let mut members = Members::new(config);
        let mut model: BTreeMap<UserId, Member> = BTreeMap::new();
        for step in steps.into_iter().chain([Step::WriteAndRead]) {
            match step {
                Step::Put(mut member) => {
                    member.roles.retain(|role| !members.is_masked(*role));
                    members.put(&member);
                    model.insert(member.user, member);
                }
                Step::Remove(user) => {
                    members.remove(user);
                    model.remove(&user);
                }
                Step::DeleteRole(role) => {
                    members.delete_role(role);
                    model.values_mut().for_each(|member| member.roles.retain(|held| *held != role));
                }
                Step::Fold => drop(folded(&mut members)),
                Step::WriteAndRead => {
                    let base = folded(&mut members);
                    let parts = written(&base);
                    let again = read(&parts).unwrap();
                    assert!(again.iter().eq(model.values().cloned()));
                    assert_eq!(written(&again), parts);
                    assert_eq!(again.digest(), base.digest());
                    assert_eq!(again.digest(), members.digest());
                    // The history goes on with what was read.
                    members = Members::restore(config, again);
                    assert_eq!(members.digest(), base.digest());
                }
            }
        }
        Ok(())
    });
    outcome.unwrap();
}

/// Three pages and some of everything: long and short nicks, sets of many roles, deleted roles, a dead set.
fn small() -> Base {
    let mut members = Members::new(MembersConfig { page_members: 5, ..MembersConfig::default() });
    let nicks = ["Ada", "bob", "Ünal", "a nick of twenty chars", "🦀🦀🦀🦀🦀", "abcdefgh1", "ABCDEFGH0"];
    for number in 1..=14 {
        let roles: Vec<u64> = (1..=number % 5).map(|role| role * 3).collect();
        members.put(&plain(number * 1_000, nicks[number as usize % nicks.len()], &roles));
    }
    folded(&mut members);
    members.delete_role(role(6));
    members.put(&plain(3_000, "Cy", &[3, 9, 12]));
    members.remove(user(4_000));
    members.remove(user(9_000));
    members.remove(user(14_000));
    folded(&mut members)
}

/// Reads all there is in every way, and changes it.
fn use_up(base: Base) {
    let members: Vec<Member> = base.iter().collect();
    assert!(members.is_sorted_by(|one, next| one.user < next.user));
    assert_eq!(members.len(), base.len());
    for member in &members {
        assert!(member.roles.is_sorted_by(|one, next| one < next));
    }
    let digest = base.digest();
    let mut store = Members::restore(MembersConfig { page_members: 4, ..MembersConfig::default() }, base);
    assert_eq!(store.digest(), digest);
    let guild = GuildId::new(1).unwrap();
    let settings = GuildSettings { name: Name::parse("g").unwrap(), owner: user(1) };
    let rights = Rights::new(guild, settings, Rights::everyone_role(guild, Permissions::NONE));
    let view = store.view(Position::default(), &rights);
    let by_nick = view.by_prefix("", usize::MAX);
    assert_eq!(by_nick.len(), members.len());
    for member in &members {
        assert_eq!(view.member(member.user).as_ref(), Some(member));
        assert!(view.by_prefix(member.nick.as_str(), usize::MAX).contains(member));
    }
    let mut kept = Vec::new();
    let filter = view.filter(|member, _| member.roles().count() > 1);
    (0..filter.chunks()).for_each(|chunk| filter.run_chunk(chunk, &mut kept));
    assert_eq!(kept.len(), members.iter().filter(|member| member.roles.len() > 1).count());

    let held = members.iter().flat_map(|member| &member.roles).max().copied();
    held.into_iter().for_each(|role| store.delete_role(role));
    for (number, member) in (1..).zip(&members) {
        let roles: Vec<RoleId> = member.roles.iter().copied().filter(|role| Some(*role) != held).step_by(2).collect();
        match number % 3 {
            0 => {
                store.remove(member.user);
            }
            1 => drop(store.put(&Member { roles, ..member.clone() })),
            _ => {}
        }
    }
    let digest = store.digest();
    let base = folded(&mut store);
    let parts = written(&base);
    let again = read(&parts).unwrap();
    assert_eq!(again.digest(), digest);
    assert!(again.iter().eq(base.iter()));
}

#[test]
fn bytes_that_are_cut_or_extended_are_refused() {
    let parts = written(&small());
    assert_eq!(parts.iter().map(|(kind, _)| *kind).collect::<Vec<_>>()[..2], [PartKind::Dictionary, PartKind::Sets]);
    use_up(read(&parts).unwrap());
    for part in 0..parts.len() {
        let whole = &parts[part].1;
        for cut in 0..whole.len() {
            let mut parts = parts.clone();
            parts[part].1.truncate(cut);
            assert!(read(&parts).is_err(), "part {part} cut at {cut}");
        }
        let mut longer = parts.clone();
        longer[part].1.push(0);
        assert!(read(&longer).is_err(), "part {part} extended");
    }
}

#[test]
fn a_changed_byte_gives_an_error_or_a_base_that_is_whole() {
    let parts = written(&small());
    let (mut refused, mut read_well) = (0, 0);
    for part in 0..parts.len() {
        for at in 0..parts[part].1.len() {
            for change in [1, 2, 4, 0x20, 0x80, 0xff] {
                let mut changed = parts.clone();
                changed[part].1[at] ^= change;
                match read(&changed) {
                    Ok(base) => {
                        assert_eq!(written(&base), changed, "one base has one form");
                        use_up(base);
                        read_well += 1;
                    }
                    Err(_) => refused += 1,
                }
            }
        }
    }
    // A joined time may be any number; most of the rest may not.
    assert!(refused > 2_000 && read_well > 500, "{refused} refused, {read_well} read");
}

#[test]
fn counts_beyond_what_is_there_are_refused_before_anything_is_made_for_them() {
    let parts = written(&small());
    for part in 0..parts.len() {
        for count in 0..3 {
            for claimed in [u32::MAX, u32::MAX / 2, 1 << 16, 0] {
                let mut changed = parts.clone();
                let at = 4 + count * 4;
                if changed[part].1[at..at + 4] == claimed.to_le_bytes() {
                    continue;
                }
                changed[part].1[at..at + 4].copy_from_slice(&claimed.to_le_bytes());
                assert!(read(&changed).is_err(), "part {part} claims {claimed} as count {count}");
            }
        }
    }
    let mut changed = parts.clone();
    changed[0].1[16..24].copy_from_slice(&u64::MAX.to_le_bytes());
    assert_eq!(
        read(&changed).unwrap_err(),
        PartError::Limit { what: "members", at: 0, found: u64::MAX, max: 20_000_000 }
    );
}

#[test]
fn parts_that_are_missing_double_or_out_of_order_are_refused() {
    let parts = written(&small());
    let pages = parts.len() - 2;
    for part in 0..parts.len() {
        let mut fewer = parts.clone();
        fewer.remove(part);
        assert!(read(&fewer).is_err(), "without part {part}");
        let mut double = parts.clone();
        double.insert(part, parts[part].clone());
        assert!(read(&double).is_err(), "part {part} twice");
        for other in 0..part {
            let mut swapped = parts.clone();
            swapped.swap(other, part);
            assert!(read(&swapped).is_err(), "parts {other} and {part} swapped");
        }
    }
    let mut swapped = parts.clone();
    swapped.swap(2, 1 + pages);
    assert!(matches!(read(&swapped), Err(PartError::Malformed { what: "page", .. })));
    assert_eq!(read(&[]).unwrap_err(), PartError::Cut { found: 0 });
}

#[test]
fn what_is_wrong_is_named_with_its_place() {
    let parts = written(&small());
    let changed = |part: usize, at: usize, bytes: &[u8]| {
        let mut parts = parts.clone();
        parts[part].1[at..at + bytes.len()].copy_from_slice(bytes);
        read(&parts).unwrap_err()
    };
    let page = &parts[2].1;
    let rows = u32::from_le_bytes(page[4..8].try_into().unwrap()) as usize;
    let (sets, by_nick, columns) = (16 + rows * 8, 16 + rows * 12, 16 + rows * 14);
    assert_eq!(changed(2, 16 + 8, &[0; 8]), PartError::Malformed { what: "user of row", at: 1 });
    let first = page[16..24].to_vec();
    assert_eq!(changed(2, 16 + 8, &first), PartError::Malformed { what: "user of row", at: 1 });
    assert_eq!(changed(2, sets + 4, &[0xff; 4]), PartError::Malformed { what: "set of row", at: 1 });
    let first = page[by_nick..by_nick + 2].to_vec();
    assert_eq!(changed(2, by_nick + 2, &first), PartError::Malformed { what: "row by nick", at: 1 });
    assert_eq!(changed(2, columns + 24 + 10, &[14]), PartError::Malformed { what: "nick of row", at: 1 });
    assert_eq!(changed(2, columns + 11, b" "), PartError::Malformed { what: "nick of row", at: 0 });
    let kind = PartError::Kind { expected: PartKind::Dictionary, found: [1, 2, 0, 0] };
    assert_eq!(changed(0, 1, &[2]), kind);
    assert_eq!(PartKind::of(page), Some(PartKind::Page));
    assert_eq!(PartKind::of(&[9, 1, 0, 0]), None);
}

#[test]
fn nothing_lies_between_or_behind_what_is_counted() {
    let parts = written(&small());
    let longer = |part: usize, count: usize, bytes: &[u8], counted: u32| {
        let mut parts = parts.clone();
        let at = 4 + count * 4;
        let old = u32::from_le_bytes(parts[part].1[at..at + 4].try_into().unwrap());
        parts[part].1[at..at + 4].copy_from_slice(&(old + counted).to_le_bytes());
        parts[part].1.extend_from_slice(bytes);
        read(&parts).unwrap_err()
    };
    assert!(matches!(longer(2, 1, b"x", 1), PartError::Length { .. }), "a long nick that nobody has");
    assert_eq!(longer(1, 1, &[0, 0], 1), PartError::Malformed { what: "chunk", at: 1 });
    // A second chunk, of one empty set, behind one that is not full.
    let mut parts = parts.clone();
    parts[0].1[8..12].copy_from_slice(&7_u32.to_le_bytes());
    parts[1].1[4..8].copy_from_slice(&2_u32.to_le_bytes());
    let words = u32::from_le_bytes(parts[1].1[8..12].try_into().unwrap()) + 2;
    parts[1].1[8..12].copy_from_slice(&words.to_le_bytes());
    parts[1].1.extend_from_slice(&[2, 0, 2, 0]);
    assert_eq!(read(&parts).unwrap_err(), PartError::Malformed { what: "chunk", at: 0 });
}

#[test]
fn a_set_that_nobody_has_must_be_empty() {
    let mut members = Members::new(MembersConfig::default());
    members.put(&plain(1, "x", &[5]));
    members.put(&plain(2, "y", &[5, 7]));
    let mut parts = written(&folded(&mut members));
    // Both members have the first set.
    let at = 16 + 2 * 8;
    let first = parts[2].1[at..at + 4].to_vec();
    parts[2].1[at + 4..at + 8].copy_from_slice(&first);
    assert_eq!(read(&parts).unwrap_err(), PartError::Malformed { what: "set", at: 1 });
}

#[test]
fn a_role_that_came_back_may_stand_twice_in_the_dictionary_but_is_held_from_one_place() {
    let mut members = Members::new(MembersConfig::default());
    members.put(&plain(1, "x", &[5, 7]));
    members.put(&plain(2, "y", &[9]));
    folded(&mut members);
    members.delete_role(role(5));
    members.delete_role(role(7));
    folded(&mut members);
    members.put(&plain(3, "z", &[5]));
    let base = folded(&mut members);
    let parts = written(&base);
    let dictionary: Vec<u64> =
        parts[0].1[24..].chunks(8).map(|role| u64::from_le_bytes(role.try_into().unwrap())).collect();
    assert_eq!(dictionary.iter().filter(|role| **role == 5).count(), 2, "{dictionary:?}");
    let again = read(&parts).unwrap();
    assert!(again.iter().eq(base.iter()));
    assert_eq!(again.digest(), members.digest());

    // Now one that two places in use hold.
    let mut parts = parts.clone();
    let nine = dictionary.iter().position(|role| *role == 9).unwrap();
    parts[0].1[24 + nine * 8] = 5;
    assert!(matches!(read(&parts), Err(PartError::Malformed { what: "role", .. })));
}

#[test]
fn a_dictionary_may_be_as_long_as_its_places_can_be_numbered() {
    let mut members = Members::new(MembersConfig::default());
    members.put(&plain(1, "x", &[1]));
    let mut parts = written(&folded(&mut members));
    let long = |len: u32| -> Vec<u8> {
        let head = [&parts[0].1[..4], &len.to_le_bytes(), &parts[0].1[8..24]].concat();
        head.into_iter().chain((1..=u64::from(len)).flat_map(u64::to_le_bytes)).collect()
    };
    let (longest, over) = (long(u16::MAX.into()), long(1 << 16));
    parts[0].1 = longest;
    use_up(read(&parts).unwrap());
    parts[0].1 = over;
    assert_eq!(read(&parts).unwrap_err(), PartError::Limit { what: "roles", at: 0, found: 65_536, max: 65_535 });
}

/// Parts of a few thousand bytes, but for the dictionary, that speak of its last role on each page.
#[test]
fn what_is_read_takes_memory_for_what_members_hold_however_long_the_dictionary_is() {
    let mut members = Members::new(MembersConfig { page_members: 2, ..MembersConfig::default() });
    (1..=200).for_each(|number| {
        members.put(&plain(number, "x", &[1]));
    });
    let mut parts = written(&folded(&mut members));
    assert_eq!(parts[1].1[16..], [2, 0, 3, 0, 0, 0], "one set of one role");
    for (longest, place) in [(255, 254), (256, 255), (65_535, 65_534_u16)] {
        parts[0].1.splice(4..8, u32::to_le_bytes(longest));
        parts[0].1.truncate(24);
        parts[0].1.extend((1..=u64::from(longest)).flat_map(u64::to_le_bytes));
        parts[1].1[20..22].copy_from_slice(&place.to_le_bytes());
        let base = read(&parts).unwrap();
        assert!(base.iter().all(|member| member.roles == [role(longest.into())]));
        let bytes: usize = parts.iter().map(|(_, bytes)| bytes.len()).sum();
        let memory = Members::restore(MembersConfig::default(), base.clone()).memory();
        assert!(memory.total() <= 8 * bytes, "{bytes} bytes read take {}: {memory:?}", memory.total());
        let pages: usize = parts[2..].iter().map(|(_, bytes)| bytes.len()).sum();
        assert!(
            memory.holders <= 4 * pages,
            "{pages} bytes of pages, and {} of who holds what on them",
            memory.holders
        );
        use_up(base);
        parts[1].1[20..22].copy_from_slice(&(place + 1).to_le_bytes());
        assert_eq!(read(&parts).unwrap_err(), PartError::Malformed { what: "set", at: 0 });
    }
}

#[test]
fn a_fold_leaves_the_bytes_of_what_it_does_not_touch() {
    let mut members = Members::new(MembersConfig { page_members: 64, ..MembersConfig::default() });
    for number in 1..=6_400 {
        members.put(&plain(number, "nick", &[number % 7 + 1]));
    }
    let before = written(&folded(&mut members));
    members.put(&plain(3_200, "other", &[3]));
    let after = written(&folded(&mut members));
    let changed = before.iter().zip(&after).filter(|(one, other)| one != other).count();
    assert_eq!((before.len(), after.len(), changed), (102, 102, 1));
}

#[test]
fn pieces_are_decoded_on_any_thread() {
    let mut members = Members::new(MembersConfig { page_members: 500, ..MembersConfig::default() });
    for number in 1..=6_000 {
        members.put(&plain(number, "somebody", &[number % 90 + 1, number / 90 + 101]));
    }
    let base = folded(&mut members);
    let parts = written(&base);
    let of = |kind: PartKind| {
        let of_kind = parts.iter().filter(move |part| part.0 == kind);
        of_kind.map(|(_, bytes)| &bytes[..]).collect::<Vec<_>>()
    };
    assert_eq!(of(PartKind::Sets).len(), 2, "6,000 sets are two runs");

    let dictionary = Dictionary::decode(of(PartKind::Dictionary)[0]).unwrap();
    assert_eq!((dictionary.members(), dictionary.pages()), (6_000, 12));
    let sets: Vec<SetsPiece> = thread::scope(|scope| {
        let threads: Vec<_> = of(PartKind::Sets)
            .into_iter()
            .map(|bytes| scope.spawn(|| dictionary.decode_sets(bytes).unwrap()))
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let table = dictionary.join(sets).unwrap();
    let pages: Vec<PagePiece> = thread::scope(|scope| {
        let threads: Vec<_> =
            of(PartKind::Page).into_iter().map(|bytes| scope.spawn(|| table.decode_page(bytes).unwrap())).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let again = table.assemble(pages).unwrap();
    assert!(again.iter().eq(base.iter()));
    let restored = Members::restore(MembersConfig::default(), again);
    assert_eq!(restored.digest(), members.digest());
}

#[test]
fn a_guild_without_members_is_one_part() {
    let base = Members::new(MembersConfig::default()).base();
    let parts = written(&base);
    assert_eq!(parts.len(), 1);
    let again = read(&parts).unwrap();
    assert!(again.is_empty());
    assert_eq!(again.digest(), base.digest());
}

/// A base of today must be readable for ever: its bytes stand here.
#[test]
fn the_form_is_as_written_down() {
    let mut members = Members::new(MembersConfig::default());
    members.put(&plain(0x0102, "Bob", &[7]));
    members.put(&plain(0x0304, "a nick of 20 letters", &[7, 8]));
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let parts: Vec<String> = written(&folded(&mut members)).iter().map(|(_, bytes)| hex(bytes)).collect();
    let dictionary = "01010000 02000000 02000000 01000000 0200000000000000 0700000000000000 0800000000000000";
    let sets = "02010000 01000000 06000000 00000000 0300 0400 0600 0000 0000 0100";
    let page = "03010000 02000000 14000000 00000000 0201000000000000 0403000000000000 00000000 01000000 0100 0000 \
        0201000000000000 0000 03 426f6200000000000000000000 \
        0403000000000000 0000 ff 00000000 14 0000000000000000 \
        61206e69636b206f66203230206c657474657273";
    assert_eq!(parts, [dictionary, sets, page].map(|hex| hex.replace(' ', "")));
}
