//! One more than the limit, each named in the error with the number it would be.

use guildhall_guild::{Operation, SessionRequest};
use guildhall_proto::{
    Actor, Command, CommandError, Limited, Mentions, Nick, Payload, PayloadTooLong, Permissions, Status, TextError,
    UnknownPermissionBits,
};

use crate::world::*;

fn exceeded(what: Limited, got: u32) -> CommandError {
    CommandError::LimitExceeded { what, got }
}

#[test]
fn the_513th_role_is_refused() {
    let mut world = World::new();
    // Everyone and three others are there.
    for id in 1_000..1_000 + 512 - 4 {
        world.system(Command::CreateRole(role(id, 1, Permissions::NONE)));
    }
    let refused = world.refuses(Actor::System, Command::CreateRole(role(2_000, 1, Permissions::NONE)));
    assert_eq!(refused, exceeded(Limited::Roles, 513));
    assert_eq!(refused.to_string(), "513 roles of the guild; at most 512 are allowed");
    world.system(Command::DeleteRole { role: role_id(1_000) });
    world.system(Command::CreateRole(role(2_000, 1, Permissions::NONE)));
}

#[test]
fn the_1001st_channel_is_refused() {
    let mut world = World::new();
    for id in 1_000..1_000 + 1_000 - 3 {
        world.system(Command::CreateChannel { channel: text(id), overwrites: vec![] });
    }
    let refused = world.refuses(Actor::System, Command::CreateChannel { channel: text(3_000), overwrites: vec![] });
    assert_eq!(refused, exceeded(Limited::Channels, 1_001));
    assert_eq!(refused.to_string(), "1001 channels of the guild; at most 1000 are allowed");
}

#[test]
fn the_251st_role_of_a_member_is_refused() {
    let mut world = World::new();
    let roles: Vec<u64> = (1_000..1_251).collect();
    for id in &roles {
        world.system(Command::CreateRole(role(*id, 1, Permissions::NONE)));
    }
    let expected = exceeded(Limited::MemberRoles, 251);
    assert_eq!(world.refuses(Actor::System, grant(PLAIN, &roles)), expected);
    assert_eq!(world.refuses(Actor::System, Command::AddMember(new_member(STRANGER, &roles))), expected);
    assert_eq!(expected.to_string(), "251 roles of the member; at most 250 are allowed");
    world.system(grant(PLAIN, &roles[..250]));
}

#[test]
fn the_10_001st_line_of_an_import_is_refused() {
    let mut world = World::new();
    let members: Vec<_> = (1_000..11_001).map(|user| new_member(user, &[])).collect();
    let refused = world.refuses(Actor::System, Command::ImportMembers(members));
    assert_eq!(refused, exceeded(Limited::BulkMembers, 10_001));
    assert_eq!(refused.to_string(), "10001 members in one call; at most 10000 are allowed");
}

#[test]
fn a_nick_is_1_to_32_characters_without_control_characters() {
    let blank = Nick::parse(" \u{3000}\t ");
    assert_eq!(blank, Err(TextError::Blank { what: "nick" }));
    let long = Nick::parse(&"n".repeat(33)).unwrap_err();
    assert_eq!(long, TextError::TooLong { what: "nick", chars: 33, max: 32 });
    assert_eq!(long.to_string(), "a nick of 33 characters; at most 32 are allowed");
    let control = Nick::parse("Ada\u{0}Eve").unwrap_err();
    assert_eq!(control, TextError::Control { what: "nick", at: 3 });
    assert_eq!(control.to_string(), "a nick may hold no control character; one stands at byte 3");
}

#[test]
fn a_payload_of_64_kib_and_a_byte_is_refused() {
    let refused = Payload::new(vec![0; 64 * 1024 + 1]).unwrap_err();
    assert_eq!(refused, PayloadTooLong { bytes: 65_537 });
    assert_eq!(refused.to_string(), "a payload of 65537 bytes; at most 65536 are allowed");
    assert!(Payload::new(vec![0; 64 * 1024]).is_ok());
}

#[test]
fn permission_bits_that_mean_nothing_are_refused() {
    let refused = Permissions::from_bits(1 << 47).unwrap_err();
    assert_eq!(refused, UnknownPermissionBits { unknown: 1 << 47 });
    assert!(refused.to_string().starts_with("unknown permission bits 0x800000000000; known are 0x"));
}

#[test]
fn the_101st_mentioned_user_is_refused() {
    let users = (1_000..1_101).map(user_id).collect();
    let refused = World::new().refuses(Actor::System, mentioning(GENERAL, Mentions { users, ..Mentions::default() }));
    assert_eq!(refused, exceeded(Limited::MentionUsers, 101));
    assert_eq!(refused.to_string(), "101 mentioned users; at most 100 are allowed");
}

#[test]
fn the_101st_mentioned_role_is_refused() {
    let roles = (1_000..1_101).map(role_id).collect();
    let refused = World::new().refuses(Actor::System, mentioning(GENERAL, Mentions { roles, ..Mentions::default() }));
    assert_eq!(refused, exceeded(Limited::MentionRoles, 101));
    assert_eq!(refused.to_string(), "101 mentioned roles; at most 100 are allowed");
}

#[test]
fn the_513th_overwrite_of_a_channel_is_refused() {
    let mut world = World::new();
    let users = 1_000..1_513;
    for user in users.clone() {
        world.system(Command::AddMember(new_member(user, &[])));
    }
    let mut overwrites: Vec<_> =
        users.map(|user| overwrite(for_user(user), Permissions::NONE, Permissions::SPEAK)).collect();
    let create = Command::CreateChannel { channel: text(NO_CHANNEL), overwrites: overwrites.clone() };
    let expected = exceeded(Limited::Overwrites, 513);
    assert_eq!(world.refuses(Actor::System, create), expected);
    let last = overwrites.pop().unwrap();
    world.system(Command::CreateChannel { channel: text(NO_CHANNEL), overwrites: overwrites.clone() });
    assert_eq!(world.refuses(Actor::System, set_overwrite(NO_CHANNEL, last)), expected);
    assert_eq!(expected.to_string(), "513 overwrites of the channel; at most 512 are allowed");
    // One that is there may still be changed.
    overwrites[0].deny = Permissions::NONE;
    world.applies(Actor::System, set_overwrite(NO_CHANNEL, overwrites[0]));
}

#[test]
fn the_65th_session_of_a_user_is_refused() {
    let mut world = World::new();
    for session in 1..=64 {
        world.attach(PLAIN, session, Status::Online);
    }
    let request = SessionRequest::Attach { user: user_id(PLAIN), status: Status::Online };
    let refused = world.refuses_session(65, request);
    assert_eq!(refused, exceeded(Limited::UserSessions, 65));
    assert_eq!(refused.to_string(), "65 sessions of the user; at most 64 are allowed");
    // One that is there may still change its status.
    world.attach(PLAIN, 64, Status::Idle);
}

#[test]
fn a_command_larger_than_anything_that_is_encoded_is_refused() {
    let channel = channel_id(u64::MAX - 1);
    let positions = vec![(channel, 1); 32 * 1024 * 1024 / 10 + 1];
    let refused = Operation::new(World::new().op(), Actor::System, Command::ReorderChannels { positions }).unwrap_err();
    assert_eq!(refused, CommandError::TooLarge);
}
