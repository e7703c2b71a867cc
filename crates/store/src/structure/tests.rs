use guildhall_proto::limits::*;
use guildhall_proto::{
    AppliedOp, BodyHash, Channel, ChannelId, ChannelKind, ClientId, Epoch, GuildSettings, LineFault, Millis, Name,
    OpId, Outcome, OverwriteTarget, Permissions, Position, Reason, RoleId, Seq, Stage, UserId,
};

use super::*;

/// How much of everything a structure has.
#[derive(Debug, Clone, Copy)]
struct Size {
    roles: u64,
    channels: u64,
    overwrites: u64,
    bans: u64,
    clients: u64,
    operations: u64,
    /// The largest form of everything, instead of a small one.
    is_largest: bool,
}

const SMALL: Size =
    Size { roles: 3, channels: 4, overwrites: 2, bans: 5, clients: 3, operations: 2, is_largest: false };

/// Ids as they are given out in life: rising, with gaps.
fn number(count: u64, size: Size) -> u64 {
    let from = if size.is_largest { u64::MAX - (1 << 40) } else { 1 << 42 };
    from + count * 4_099
}

fn text(chars_max: usize, size: Size) -> String {
    if size.is_largest { "🦀".repeat(chars_max) } else { String::from("plain") }
}

fn structure(size: Size) -> Structure {
    let name = Name::parse(&text(NAME_CHARS_MAX, size)).unwrap();
    let reason = text(REASON_CHARS_MAX, size);
    let role = |count: u64| Role {
        id: RoleId::new(number(count, size)).unwrap(),
        name: name.clone(),
        position: if size.is_largest { u16::MAX } else { 1 },
        permissions: Permissions::ALL,
        hoist: true,
        mentionable: false,
    };
    let channel = |count: u64| Channel {
        id: ChannelId::new(number(count, size)).unwrap(),
        name: name.clone(),
        kind: ChannelKind::Text,
        parent: Some(ChannelId::new(number(0, size)).unwrap()),
        position: if size.is_largest { u16::MAX } else { 1 },
    };
    let overwrite = |count: u64| {
        let target = OverwriteTarget::User(UserId::new(number(count, size)).unwrap());
        Overwrite { target, allow: Permissions::ALL, deny: Permissions::ALL }
    };
    let ban = |count: u64| {
        let reason = size.is_largest.then(|| Reason::parse(&reason).unwrap());
        Ban { user: UserId::new(number(count, size)).unwrap(), reason }
    };
    let settings = GuildSettings { name: name.clone(), owner: UserId::new(number(0, size)).unwrap() };
    let standing = Standing::Alive {
        settings,
        roles: (0..size.roles).map(role).collect(),
        channels: (0..size.channels)
            .map(|count| (channel(count), (0..size.overwrites).map(overwrite).collect()))
            .collect(),
        bans: (0..size.bans).map(ban).collect(),
    };
    let operations = (0..size.clients).map(|count| client(count, size)).collect();
    let at = number(1, size);
    Structure {
        position: Position { epoch: Epoch(at), seq: Seq(at) },
        records: at,
        clock: Millis(at),
        departed: Millis(at / 2),
        standing,
        operations,
    }
}

fn client(count: u64, size: Size) -> KeptClient {
    let client = ClientId::new(number(count, size)).unwrap();
    let large = number(1, size);
    let at = Position { epoch: Epoch(large), seq: Seq(large) };
    let most = if size.is_largest { u32::MAX } else { 1 };
    let stopped = Some(LineFault::RoleTwice { role: RoleId::new(large).unwrap() });
    let outcome = Outcome::MembersImported { at, lines: most, added: most, existing: most, banned: most, stopped };
    let operation = |count: u64| AppliedOp {
        id: OpId { client, counter: number(count, size), issued_at: Millis(large) },
        body: BodyHash(u64::MAX),
        outcome,
        stage: Stage::Unfinished,
    };
    KeptClient {
        client,
        floor: large,
        floor_issued_at: Millis(large),
        operations: (0..size.operations).map(operation).collect(),
    }
}

fn written(structure: &Structure) -> Vec<Vec<u8>> {
    let bytes = |part: StructurePart<'_>| {
        let mut bytes = Vec::new();
        part.encode_into(&mut bytes).unwrap();
        bytes
    };
    parts(structure).map(bytes).collect()
}

fn read<'a>(parts: impl IntoIterator<Item = &'a Vec<u8>>) -> Result<Structure, StructureError> {
    join(parts.into_iter().map(|bytes| StructurePart::decode(bytes)).collect::<Result<_, _>>()?)
}

#[test]
fn a_structure_reads_back_equal() {
    for standing in [Standing::Uncreated, Standing::Deleted] {
        let structure = Structure { standing, ..structure(SMALL) };
        assert_eq!(read(&written(&structure)).unwrap(), structure);
    }
    for roles in [0, 1, 300] {
        let structure = structure(Size { roles, bans: roles * 9, clients: roles, ..SMALL });
        assert_eq!(read(&written(&structure)).unwrap(), structure);
    }
}

#[test]
fn the_largest_structure_goes_through_in_parts_far_below_the_limit_of_the_codec() {
    let largest = structure(Size {
        roles: ROLES_MAX as u64,
        channels: CHANNELS_MAX as u64,
        overwrites: OVERWRITES_MAX as u64,
        bans: BANS_MAX as u64,
        clients: GUILD_CLIENTS_MAX as u64,
        operations: CLIENT_OUTCOMES_MAX as u64,
        is_largest: true,
    });
    let mut bytes = Vec::new();
    let mut total = 0;
    let mut pieces = Vec::new();
    for part in parts(&largest) {
        bytes.clear();
        part.encode_into(&mut bytes).unwrap();
        assert!(bytes.len() <= PART_BYTES_MAX, "{} bytes", bytes.len());
        total += bytes.len();
        pieces.push(StructurePart::decode(&bytes).unwrap());
    }
    assert!(total > ENCODED_BYTES_MAX * 10, "{total} bytes");
    assert!(pieces.len() < 2_000, "{} parts", pieces.len());
    // Not by `assert_eq`, which would print it.
    assert!(join(pieces).unwrap() == largest, "the largest structure reads back equal");
}

#[test]
fn an_item_takes_no_more_than_is_reckoned_with() {
    fn check<T: runs::Item + codec::Encode>(items: &[T]) {
        for item in items {
            let encoded = codec::encode(item).unwrap().len();
            assert!(encoded <= item.bytes(), "{encoded} of {}", item.bytes());
        }
    }
    let structure = structure(Size { overwrites: 512, operations: 1_024, is_largest: true, ..SMALL });
    let (roles, channels, bans) = lists(&structure);
    check(roles);
    check(channels);
    check(bans);
    check(&structure.operations);
}

#[test]
fn a_small_change_changes_few_parts() {
    let many = Size { bans: 50_000, clients: 400, ..SMALL };
    let before = structure(many);
    let old = written(&before);
    let unchanged = |after: &Structure| {
        let new = written(after);
        (new.iter().filter(|part| !old.contains(part)).count(), new.len())
    };
    assert!((60..120).contains(&old.len()), "{} parts", old.len());

    let mut after = before.clone();
    let Standing::Alive { bans, .. } = &mut after.standing else { unreachable!("it is alive") };
    bans.remove(20_000);
    bans.remove(30_000);
    // The head counts, too.
    assert_eq!(unchanged(&after).0, 3);

    let mut after = before.clone();
    after.operations[200].operations.pop();
    assert_eq!(unchanged(&after).0, 1);
}

#[test]
fn a_guild_of_few_has_few_parts() {
    assert_eq!(parts(&structure(SMALL)).count(), 5);
    let none = Structure { standing: Standing::Uncreated, operations: Vec::new(), ..structure(SMALL) };
    assert_eq!(parts(&none).count(), 1);
}

#[test]
fn parts_that_are_missing_double_or_out_of_place_are_refused() {
    let parts = written(&structure(SMALL));
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
            assert!(matches!(read(&swapped), Err(StructureError::Misplaced { .. })), "{other} and {part} swapped");
        }
    }
    assert!(matches!(read(&[]), Err(StructureError::Headless)));
}

#[test]
fn lists_that_do_not_ascend_or_are_too_long_are_refused() {
    let refused = |change: fn(&mut Structure)| {
        let mut changed = structure(SMALL);
        change(&mut changed);
        read(&written(&changed)).unwrap_err().to_string()
    };
    fn alive(structure: &mut Structure) -> (&mut Vec<Role>, &mut Vec<ChannelEntry>, &mut Vec<Ban>) {
        match &mut structure.standing {
            Standing::Alive { roles, channels, bans, .. } => (roles, channels, bans),
            Standing::Uncreated | Standing::Deleted => unreachable!("it is alive"),
        }
    }
    assert_eq!(refused(|changed| alive(changed).0.swap(0, 1)), "roles 1 is out of order");
    assert_eq!(refused(|changed| alive(changed).1[2].1.swap(0, 1)), "overwrite of channel 2 is out of order");
    assert_eq!(refused(|changed| alive(changed).2.swap(3, 4)), "bans 4 is out of order");
    assert_eq!(refused(|changed| changed.operations.swap(0, 2)), "clients 1 is out of order");
    assert_eq!(refused(|changed| changed.operations[1].operations.swap(0, 1)), "operation of client 1 is out of order");
    assert_eq!(
        refused(|changed| changed.operations[1].operations[1].id.client = ClientId::MIN),
        "an operation of another client stands under client 1"
    );
    let over = |size: Size| read(&written(&structure(size))).unwrap_err().to_string();
    assert_eq!(over(Size { roles: 513, ..SMALL }), "513 roles; at most 512 are allowed");
    assert_eq!(over(Size { channels: 1_001, ..SMALL }), "1001 channels; at most 1000 are allowed");
    assert_eq!(over(Size { overwrites: 513, ..SMALL }), "513 overwrites; at most 512 are allowed");
    assert_eq!(over(Size { bans: 100_001, ..SMALL }), "100001 bans; at most 100000 are allowed");
    assert_eq!(over(Size { operations: 1_025, ..SMALL }), "1025 operations of a client; at most 1024 are allowed");
}

#[test]
fn every_cut_is_refused_and_a_changed_byte_gives_an_error_or_a_structure() {
    let parts = written(&structure(SMALL));
    for part in 0..parts.len() {
        for cut in 0..parts[part].len() {
            let mut changed = parts.clone();
            changed[part].truncate(cut);
            assert!(read(&changed).is_err(), "part {part} cut at {cut}");
        }
        for at in 0..parts[part].len() {
            for value in 0..=u8::MAX {
                let mut changed = parts.clone();
                changed[part][at] = value;
                if let Ok(structure) = read(&changed) {
                    assert_eq!(read(&written(&structure)).unwrap(), structure);
                }
            }
        }
        let mut longer = parts.clone();
        longer[part].push(0);
        assert!(read(&longer).is_err(), "part {part} extended");
    }
    let long = vec![HEAD; PART_BYTES_MAX + 1];
    assert!(matches!(StructurePart::decode(&long), Err(StructureError::TooLong { .. })));
}

/// A structure of today must be readable for ever: its bytes stand here.
#[test]
fn the_form_is_as_written_down() {
    let user = UserId::new(3).unwrap();
    let name = Name::parse("g").unwrap();
    let standing = Standing::Alive {
        settings: GuildSettings { name: name.clone(), owner: user },
        roles: vec![Role {
            id: RoleId::new(1).unwrap(),
            name: name.clone(),
            position: 0,
            permissions: Permissions::NONE,
            hoist: false,
            mentionable: false,
        }],
        channels: Vec::new(),
        bans: vec![Ban { user: UserId::new(4).unwrap(), reason: None }],
    };
    let client = ClientId::new(9).unwrap();
    let kept = KeptClient { client, floor: 5, floor_issued_at: Millis(6), operations: Vec::new() };
    let position = Position { epoch: Epoch(1), seq: Seq(2) };
    let structure =
        Structure { position, records: 7, clock: Millis(8), departed: Millis(6), standing, operations: vec![kept] };
    let hex = |bytes: &Vec<u8>| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let parts: Vec<String> = written(&structure).iter().map(hex).collect();
    assert_eq!(
        parts,
        [
            "010101020708060101670300000000010001 01",
            "0201 01 01 01 67 00 00 00 00",
            "0401 01 04 00",
            "0501 01 09 05 06 00"
        ]
        .map(|hex| hex.replace(' ', ""))
    );
}
