use guildhall_proto::{ChannelKind, GuildSettings};
use proptest::prelude::*;

use super::*;

const GUILD: u64 = 1;
const ROLES: [u64; 4] = [1, 21, 22, 23];
const USERS: [u64; 4] = [10, 11, 12, 13];
const CHANNELS: [u64; 3] = [31, 32, 33];
/// Few bits, so that random sets meet: view, send, administrator, mention everyone.
const BITS: [Permissions; 4] =
    [Permissions::VIEW_CHANNEL, Permissions::SEND_MESSAGES, Permissions::ADMINISTRATOR, Permissions::MENTION_EVERYONE];

fn guild() -> GuildId {
    GuildId::new(GUILD).unwrap()
}

fn user(number: u64) -> UserId {
    UserId::new(number).unwrap()
}

fn role_id(number: u64) -> RoleId {
    RoleId::new(number).unwrap()
}

fn channel_id(number: u64) -> ChannelId {
    ChannelId::new(number).unwrap()
}

fn bits(mask: u8) -> Permissions {
    (0..4).filter(|bit| mask >> bit & 1 == 1).fold(Permissions::NONE, |all, bit| all | BITS[bit])
}

fn name() -> Name {
    Name::parse("x").unwrap()
}

fn role(number: u64, position: u16, permissions: Permissions) -> Role {
    Role { id: role_id(number), name: name(), position, permissions, hoist: false, mentionable: false }
}

fn channel(number: u64) -> Channel {
    Channel { id: channel_id(number), name: name(), kind: ChannelKind::Text, parent: None, position: 0 }
}

fn rights(everyone: Permissions) -> Rights {
    let settings = GuildSettings { name: name(), owner: user(10) };
    Rights::new(guild(), settings, Rights::everyone_role(guild(), everyone))
}

/// The documented algorithm, step by step, over plain lists.
fn naive(
    owner: bool,
    everyone: Permissions,
    own: &[(RoleId, Permissions)],
    overwrites: &[Overwrite],
    who: UserId,
) -> Permissions {
    if owner {
        return Permissions::ALL;
    }
    let mut permissions = everyone;
    for (_, role) in own {
        permissions |= *role;
    }
    if permissions.contains(Permissions::ADMINISTRATOR) {
        return Permissions::ALL;
    }
    for overwrite in overwrites.iter().filter(|o| o.target == OverwriteTarget::Role(role_id(GUILD))) {
        permissions = permissions - overwrite.deny;
        permissions |= overwrite.allow;
    }
    let of_roles = |o: &&Overwrite| own.iter().any(|(id, _)| o.target == OverwriteTarget::Role(*id));
    for overwrite in overwrites.iter().filter(of_roles) {
        permissions = permissions - overwrite.deny;
    }
    for overwrite in overwrites.iter().filter(of_roles) {
        permissions |= overwrite.allow;
    }
    for overwrite in overwrites.iter().filter(|o| o.target == OverwriteTarget::User(who)) {
        permissions = permissions - overwrite.deny;
        permissions |= overwrite.allow;
    }
    permissions
}

fn target() -> impl Strategy<Value = OverwriteTarget> {
    prop_oneof![
        (0..4_usize).prop_map(|at| OverwriteTarget::Role(role_id(ROLES[at]))),
        (0..4_usize).prop_map(|at| OverwriteTarget::User(user(USERS[at]))),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn the_rule_is_the_documented_algorithm(
        everyone in 0..16_u8,
        roles in prop::array::uniform3(0..16_u8),
        held in 0..8_u8,
        who in 0..4_usize,
        overwrites in prop::collection::btree_map(target(), (0..16_u8, 0..16_u8), 0..8),
    ) {
        let mut rights = rights(bits(everyone));
        for (at, mask) in roles.iter().enumerate() {
            rights.apply(&EventKind::RoleCreated { role: role(ROLES[at + 1], 1, bits(*mask)) });
        }
        let overwrites: Vec<Overwrite> = overwrites
            .into_iter()
            .map(|(target, (allow, deny))| Overwrite { target, allow: bits(allow), deny: bits(deny) })
            .collect();
        rights.apply(&EventKind::ChannelCreated { channel: channel(31), overwrites: overwrites.clone() });
        let own: Vec<(RoleId, Permissions)> = (0..3)
            .filter(|at| held >> at & 1 == 1)
            .map(|at| (role_id(ROLES[at + 1]), bits(roles[at])))
            .collect();
        let ids: Vec<RoleId> = own.iter().map(|(id, _)| *id).collect();
        let who = user(USERS[who]);

        let expected = naive(who == user(10), bits(everyone), &own, &overwrites, who);
        prop_assert_eq!(rights.in_channel(who, &ids, channel_id(31)), Some(expected));

        // The shared part of the rule agrees wherever no exception applies.
        let rule = rights.rule(channel_id(31)).unwrap();
        if who != user(10) && !rule.users().any(|own| own == who) {
            let effect = ids.iter().fold(crate::RoleEffect::default(), |all, id| all | rule.effect(*id));
            prop_assert_eq!(rule.resolve(effect), expected);
        }
    }

    #[test]
    fn overwrites_of_users_are_found_whatever_happened_to_channels(
        steps in prop::collection::vec((0..4_u8, 0..3_usize, target(), 0..16_u8), 1..60),
    ) {
        let mut rights = rights(Permissions::NONE);
        for (kind, at, target, mask) in steps {
            let id = channel_id(CHANNELS[at]);
            let overwrite = Overwrite { target, allow: bits(mask), deny: Permissions::NONE };
            let known = |target| match target {
                OverwriteTarget::Role(role) => rights.role(role).is_some(),
                OverwriteTarget::User(_) => true,
            };
            let before = rights.overwrites(id).and_then(|all| all.find(target)).copied();
            match (kind, rights.channel(id).cloned()) {
                (0, None) if known(target) => {
                    rights.apply(&EventKind::ChannelCreated { channel: channel(CHANNELS[at]), overwrites: vec![overwrite] });
                }
                (1, Some(channel)) => rights.apply(&EventKind::ChannelDeleted { channel, overwrites: Vec::new() }),
                (2, Some(_)) if known(target) => {
                    rights.apply(&EventKind::OverwriteChanged { channel: id, before, after: Some(overwrite) });
                }
                (3, Some(_)) if before.is_some() => {
                    rights.apply(&EventKind::OverwriteChanged { channel: id, before, after: None });
                }
                _ => {}
            }
            for number in USERS {
                let found: Vec<(ChannelId, Overwrite)> = rights.user_overwrites(user(number)).collect();
                let searched: Vec<(ChannelId, Overwrite)> = rights
                    .channels()
                    .filter_map(|channel| {
                        let own = rights.overwrites(channel.id)?.find(OverwriteTarget::User(user(number)))?;
                        Some((channel.id, *own))
                    })
                    .collect();
                prop_assert_eq!(found, searched);
            }
        }
    }
}

#[test]
fn a_deleted_role_takes_its_overwrites_along() {
    let mut rights = rights(Permissions::VIEW_CHANNEL);
    let mods = role(21, 3, Permissions::NONE);
    rights.apply(&EventKind::RoleCreated { role: mods.clone() });
    let deny =
        Overwrite { target: OverwriteTarget::Role(mods.id), allow: Permissions::NONE, deny: Permissions::VIEW_CHANNEL };
    rights.apply(&EventKind::ChannelCreated { channel: channel(31), overwrites: vec![deny] });
    assert_eq!(rights.in_channel(user(11), &[mods.id], channel_id(31)), Some(Permissions::NONE));

    rights.apply(&EventKind::RoleDeleted { role: mods.clone() });

    assert_eq!(rights.in_channel(user(11), &[mods.id], channel_id(31)), Some(Permissions::VIEW_CHANNEL));
    assert!(rights.overwrites(channel_id(31)).unwrap().as_slice().is_empty());
}

#[test]
fn a_deleted_category_leaves_its_channels_without_a_parent_and_with_their_own_overwrites() {
    let mut rights = rights(Permissions::VIEW_CHANNEL);
    let hidden = Overwrite {
        target: OverwriteTarget::Role(role_id(GUILD)),
        allow: Permissions::NONE,
        deny: Permissions::VIEW_CHANNEL,
    };
    let category = Channel { kind: ChannelKind::Category, ..channel(31) };
    let child = Channel { parent: Some(category.id), ..channel(32) };
    rights.apply(&EventKind::ChannelCreated { channel: category.clone(), overwrites: vec![hidden] });
    rights.apply(&EventKind::ChannelCreated { channel: child.clone(), overwrites: Vec::new() });
    assert_eq!(rights.in_channel(user(11), &[], child.id), Some(Permissions::VIEW_CHANNEL));

    rights.apply(&EventKind::ChannelDeleted { channel: category, overwrites: vec![hidden] });

    assert_eq!(rights.channel(child.id).unwrap().parent, None);
}

#[test]
fn of_equal_positions_the_lower_id_stands_higher_and_the_owner_above_all() {
    let (low, high) = (role(22, 3, Permissions::NONE), role(21, 3, Permissions::NONE));
    assert!(Rank::of(&high) > Rank::of(&low));
    assert!(Rank::Owner > Rank::of(&role(23, u16::MAX, Permissions::NONE)));

    let mut rights = rights(Permissions::NONE);
    rights.apply(&EventKind::RoleCreated { role: low.clone() });
    rights.apply(&EventKind::RoleCreated { role: high.clone() });
    assert_eq!(rights.rank(user(11), &[high.id, low.id]), Rank::of(&high));
    assert_eq!(rights.rank(user(10), &[]), Rank::Owner);
    assert_eq!(rights.rank(user(12), &[]), Rank::of(rights.everyone()));
}
