//! Samples of outcomes, refusals, records and checkpoints.

use std::sync::Arc;

use guildhall_proto::{
    AppliedOp, Ban, BodyHash, ClientId, CommandError, Event, EventKind, KeptClient, Limited, LineFault, ListedThing,
    Millis, Outcome, OverwriteTarget, Permissions, Record, Stage, Standing, Structure,
};

use crate::sample::{Sample, variants, variants_of};
use crate::values::{
    ada, category, channel_id, everyone, general, moderators, op, position, reason, role_id, role_overwrite, session,
    settings, user, user_overwrite,
};

variants!(Outcome: Applied, MembersPruned, MembersImported);
variants!(LineFault: UserTwice, TooManyRoles, RoleTwice, EveryoneRole, UnknownRole, GuildFull);
variants!(Stage: Finished, Unfinished);
variants!(Standing: Uncreated, Alive, Deleted);
variants!(CommandError:
    UnknownGuild, GuildExists, UnknownActor, UnknownMember, UnknownRole, UnknownChannel, UnknownOverwrite,
    UnknownSession, ForeignSession, MemberExists, RoleExists, ChannelExists, Duplicate, LimitExceeded,
    MissingPermissions, ExcessPermissions, Outranked, OwnerOnly, SystemOnly, OwnerStays, EveryoneRole, NotText,
    NotCategory, PositionReserved, Expired, OpReused, IssuedAhead, TooLarge, UserBanned,
    UnknownBan, SessionSuperseded, PositionAhead, StoreFull,
);

pub(crate) fn variants() -> Vec<String> {
    variants_of::<Outcome>()
        .chain(variants_of::<LineFault>())
        .chain(variants_of::<CommandError>())
        .chain(variants_of::<Stage>())
        .chain(variants_of::<Standing>())
        .collect()
}

pub(crate) fn samples() -> Vec<Sample> {
    [outcomes(), refusals(), records(), checkpoints()].into_iter().flatten().collect()
}

fn outcomes() -> Vec<Sample> {
    let at = position(3, 1_000);
    let imported =
        |stopped| Outcome::MembersImported { at, lines: 9_999, added: 9_990, existing: 8, banned: 1, stopped };
    let role = role_id(20);
    let faults = [
        LineFault::UserTwice,
        LineFault::TooManyRoles { got: 251 },
        LineFault::RoleTwice { role },
        LineFault::EveryoneRole,
        LineFault::UnknownRole { role },
        LineFault::GuildFull,
    ];
    let mut samples = vec![
        Sample::variant("", Outcome::MembersPruned { at, removed: 100_000 }),
        Sample::variant("all", imported(None)),
        Sample::variant("stopped", imported(Some(LineFault::UnknownRole { role }))),
        Sample::variant("", Outcome::Applied { at: position(3, 1_000) }),
    ];
    samples.extend(faults.map(|fault| Sample::variant("", fault)));
    samples
}

fn refusals() -> Vec<Sample> {
    let (channel, role, session) = (channel_id(30), role_id(20), session(40));
    [
        CommandError::UnknownGuild,
        CommandError::GuildExists,
        CommandError::UnknownActor { actor: user(7) },
        CommandError::UnknownMember { user: user(7) },
        CommandError::UnknownRole { role },
        CommandError::UnknownChannel { channel },
        CommandError::UnknownOverwrite { channel, target: OverwriteTarget::Role(role) },
        CommandError::UnknownSession { session },
        CommandError::ForeignSession { session },
        CommandError::MemberExists { user: user(7) },
        CommandError::RoleExists { role },
        CommandError::ChannelExists { channel },
        CommandError::Duplicate { what: ListedThing::Channel, id: 30 },
        CommandError::LimitExceeded { what: Limited::Roles, got: 513 },
        CommandError::MissingPermissions { missing: Permissions::SEND_MESSAGES },
        CommandError::ExcessPermissions { excess: Permissions::ADMINISTRATOR },
        CommandError::Outranked,
        CommandError::OwnerOnly,
        CommandError::SystemOnly,
        CommandError::OwnerStays,
        CommandError::EveryoneRole,
        CommandError::NotText { channel },
        CommandError::NotCategory { channel },
        CommandError::PositionReserved,
        CommandError::Expired { op: op() },
        CommandError::OpReused { op: op() },
        CommandError::IssuedAhead { op: op(), now: Millis(1_699_999_000_000) },
        CommandError::TooLarge,
        CommandError::UserBanned { user: user(7) },
        CommandError::UnknownBan { user: user(7) },
        CommandError::SessionSuperseded { session },
        CommandError::PositionAhead { got: position(3, 1_000), at: position(3, 999) },
        CommandError::StoreFull,
    ]
    .into_iter()
    .map(|error| Sample::variant("", error))
    .collect()
}

fn records() -> Vec<Sample> {
    let (at, applied) = (position(3, 1_000), applied());
    let now = Millis(1_700_000_000_005);
    let event = Event { position: at, at: now, kind: EventKind::MemberJoined { member: ada() } };
    vec![
        Sample::plain("AppliedOp", applied),
        Sample::plain("Record/nothing changed", Record { number: 1, position: at, at: now, op: applied, event: None }),
        Sample::plain(
            "Record/member joined",
            Record { number: 300, position: at, at: now, op: applied, event: Some(Arc::new(event)) },
        ),
    ]
}

fn checkpoints() -> Vec<Sample> {
    let ban = Ban { user: user(8), reason: Some(reason("spam")) };
    let alive = Standing::Alive {
        settings: settings("Guild"),
        roles: vec![moderators(), everyone()],
        channels: vec![(general(), vec![role_overwrite(), user_overwrite()]), (category(), Vec::new())],
        bans: vec![ban.clone()],
    };
    let kept = KeptClient {
        client: ClientId::new(5).unwrap(),
        floor: 299,
        floor_issued_at: Millis(1_699_999_999_999),
        operations: vec![applied()],
    };
    let structure = Structure {
        position: position(3, 1_000),
        records: 700,
        clock: Millis(1_700_000_000_005),
        departed: Millis(1_700_000_000_003),
        standing: alive.clone(),
        operations: vec![kept.clone()],
    };
    vec![
        Sample::variant("", Standing::Uncreated),
        Sample::variant("", alive),
        Sample::variant("", Standing::Deleted),
        Sample::plain("Ban", ban),
        Sample::variant("", Stage::Finished),
        Sample::variant("", Stage::Unfinished),
        Sample::plain("KeptClient", kept),
        Sample::plain("Structure", structure),
    ]
}

fn applied() -> AppliedOp {
    let outcome = Outcome::Applied { at: position(3, 1_000) };
    AppliedOp { id: op(), body: BodyHash(0x0123_4567_89ab_cdef), outcome, stage: Stage::Finished }
}
