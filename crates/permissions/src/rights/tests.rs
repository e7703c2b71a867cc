use guildhall_proto::{ChannelKind, GuildSettings, Member};
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
                (1, Some(channel)) => rights.apply(&EventKind::ChannelDeleted { channel, overwrites: Vec::new(), children: Vec::new() }),
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

    #[test]
    fn events_taken_back_newest_first_lead_through_every_version_to_the_first(
        steps in prop::collection::vec((0..12_u8, any::<u8>(), target(), 0..16_u8), 1..80),
    ) {
        let mut rights = rights(Permissions::NONE);
        let mut past = Vec::new();
        for (kind, pick, target, mask) in steps {
            if let Some(event) = event(&rights, kind, pick, target, mask) {
                past.push((rights.clone(), event.clone()));
                rights.apply(&event);
            }
        }
        for (version, event) in past.into_iter().rev() {
            rights.take_back(&event).unwrap();
            prop_assert_eq!(&rights, &version, "before {:?}", event);
        }
    }
}

/// Something that can happen to a guild with such rights.
fn event(rights: &Rights, kind: u8, pick: u8, target: OverwriteTarget, mask: u8) -> Option<EventKind> {
    let at = usize::from(pick);
    let id = channel_id(CHANNELS[at % CHANNELS.len()]);
    let role_id = role_id(ROLES[1 + at % (ROLES.len() - 1)]);
    let (channel, role) = (rights.channel(id).cloned(), rights.role(role_id).cloned());
    let is_known = match target {
        OverwriteTarget::Role(role) => rights.role(role).is_some(),
        OverwriteTarget::User(_) => true,
    };
    let overwrite = Overwrite { target, allow: bits(mask), deny: bits(mask / 2) };
    let overwrites = || rights.overwrites(id).map_or_else(Vec::new, |all| all.as_slice().to_vec());
    let position = u16::from(mask);
    match (kind, channel, role) {
        (0, None, _) if is_known => {
            let parent = channel_id(CHANNELS[usize::from(mask) % CHANNELS.len()]);
            let parent = Some(parent).filter(|parent| rights.channel(*parent).is_some());
            let channel = Channel { parent, ..channel_of(id, position) };
            Some(EventKind::ChannelCreated { channel, overwrites: vec![overwrite] })
        }
        (1, Some(channel), _) => {
            let children = rights.children(id).collect();
            Some(EventKind::ChannelDeleted { channel, overwrites: overwrites(), children })
        }
        (2 | 3, Some(_), _) if is_known => {
            let before = rights.overwrites(id)?.find(target).copied();
            Some(EventKind::OverwriteChanged { channel: id, before, after: Some(overwrite) })
        }
        (4, Some(_), _) => {
            let before = Some(*rights.overwrites(id)?.find(target)?);
            Some(EventKind::OverwriteChanged { channel: id, before, after: None })
        }
        (5, Some(before), _) => {
            let parent = channel_id(CHANNELS[usize::from(mask) % CHANNELS.len()]);
            let parent = Some(parent).filter(|parent| *parent != id && rights.channel(*parent).is_some());
            Some(EventKind::ChannelUpdated { after: Channel { parent, ..before.clone() }, before })
        }
        (6, Some(before), _) => {
            let (before, after) = (vec![(id, before.position)], vec![(id, position)]);
            Some(EventKind::ChannelsReordered { before, after })
        }
        (7, _, None) => Some(EventKind::RoleCreated { role: role_of(role_id, bits(mask)) }),
        (8, _, Some(role)) => {
            let overwrites = rights.role_overwrites(role_id).collect();
            Some(EventKind::RoleDeleted { role, overwrites })
        }
        (9, _, Some(before)) => {
            Some(EventKind::RoleUpdated { after: Role { permissions: bits(mask), ..before.clone() }, before })
        }
        (10, _, Some(before)) => {
            let (before, after) = (vec![(role_id, before.position)], vec![(role_id, position)]);
            Some(EventKind::RolesReordered { before, after })
        }
        (11, _, _) => {
            let before = rights.settings().clone();
            let after = GuildSettings { owner: user(USERS[at % USERS.len()]), ..before.clone() };
            Some(EventKind::GuildUpdated { before, after })
        }
        _ => None,
    }
}

fn role_of(id: RoleId, permissions: Permissions) -> Role {
    role(id.get(), 1, permissions)
}

fn channel_of(id: ChannelId, position: u16) -> Channel {
    Channel { position, ..channel(id.get()) }
}

#[test]
fn nothing_was_before_a_guilds_creation() {
    let mut rights = rights(Permissions::NONE);
    let before = rights.clone();
    let member = Member {
        user: user(10),
        nick: guildhall_proto::Nick::parse("x").unwrap(),
        roles: Vec::new(),
        joined_at: guildhall_proto::Millis(0),
        flags: guildhall_proto::MemberFlags::NONE,
    };
    let created = EventKind::GuildCreated {
        settings: rights.settings().clone(),
        everyone: rights.everyone().clone(),
        owner: member,
    };
    assert_eq!(rights.take_back(&created), Err(crate::NoPast));
    assert_eq!(rights, before);
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

    rights.apply(&EventKind::RoleDeleted { role: mods.clone(), overwrites: Vec::new() });

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

    rights.apply(&EventKind::ChannelDeleted { channel: category, overwrites: vec![hidden], children: vec![child.id] });

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
