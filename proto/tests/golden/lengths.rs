//! Lengths inside a body: none, as many as there may be, one more, and 2^32 - 1 in a few bytes, of each type that has a bound.
//!
//! Of some the type itself knows the bound, and a greater length is refused before anything is read or taken for it. Of the others the guild does, whose
//! refusal says how many there were (`crates/guild/tests/guild/refused/limits.rs`): they are decoded, under the bound of any value.

use guildhall_proto::call::{Piece, Prefix, Users};
use guildhall_proto::codec::{self, CodecError, DecodeError, Encode};
use guildhall_proto::limits::{
    BULK_MEMBERS_MAX, CHANNELS_MAX, MEMBER_ROLES_MAX, MENTION_ROLES_MAX, MENTION_USERS_MAX, NAME_CHARS_MAX,
    NICK_CHARS_MAX, OVERWRITES_MAX, PAYLOAD_BYTES_MAX, REASON_CHARS_MAX, ROLES_MAX,
};
use guildhall_proto::{
    CallError, Channel, ChannelId, ChannelKind, Command, EventKind, Member, MemberEdit, MemberFlags, Mentions, Millis,
    Name, NewMember, Nick, Overwrite, OverwriteTarget, Payload, Permissions, PruneBy, Reason, RoleId, UserId,
};

/// One length with a bound.
struct Bounded {
    name: &'static str,
    cap: usize,
    /// The value with a length of so many.
    of: fn(usize) -> Vec<u8>,
    decode: fn(&[u8]) -> Result<(), CodecError>,
    known: Known,
    may_be_empty: bool,
}

/// Who knows the bound: beside the type whoever takes the value, which of chunks is their run.
enum Known {
    /// The type, which reads so many bytes or elements at most.
    ByType {
        read_max: usize,
    },
    ByGuild,
}

/// Rows of `name: type, cap, known, may be empty, value of a length`.
macro_rules! table {
    ($($name:literal: $type:ty, $cap:expr, $known:expr, $may_be_empty:expr, $of:expr;)*) => {
        vec![$(Bounded {
            name: $name,
            cap: $cap,
            of: $of,
            decode: |bytes| codec::decode::<$type>(bytes).map(drop),
            known: $known,
            may_be_empty: $may_be_empty,
        },)*]
    };
}

fn table() -> Vec<Bounded> {
    // A character takes four bytes at most, and is counted as one.
    let chars = |max: usize| Known::ByType { read_max: max * 4 };
    let of_type = |max| Known::ByType { read_max: max };
    table! {
        "Nick": Nick, NICK_CHARS_MAX, chars(NICK_CHARS_MAX), false, |len| encoded(&text(len));
        "Name": Name, NAME_CHARS_MAX, chars(NAME_CHARS_MAX), false, |len| encoded(&text(len));
        "Reason": Reason, REASON_CHARS_MAX, chars(REASON_CHARS_MAX), false, |len| encoded(&text(len));
        "Prefix": Prefix, NICK_CHARS_MAX, chars(NICK_CHARS_MAX), true, |len| encoded(&text(len));
        "CallError::Unavailable": CallError, CallError::REASON_BYTES_MAX, of_type(CallError::REASON_BYTES_MAX), true,
            |len| [vec![4], encoded(&"r".repeat(len))].concat();
        "CallError::Denied": CallError, CallError::REASON_BYTES_MAX, of_type(CallError::REASON_BYTES_MAX), true,
            |len| [vec![6], encoded(&"r".repeat(len))].concat();
        "Payload": Payload, PAYLOAD_BYTES_MAX, of_type(PAYLOAD_BYTES_MAX), true, |len| encoded(&vec![7_u8; len]);
        "Users": Users, BULK_MEMBERS_MAX, of_type(BULK_MEMBERS_MAX), true, |len| encoded(&users(len));
        "Mentions.users": Mentions, MENTION_USERS_MAX, Known::ByGuild, true,
            |len| encoded(&Mentions { users: users(len), ..Mentions::default() });
        "Mentions.roles": Mentions, MENTION_ROLES_MAX, Known::ByGuild, true,
            |len| encoded(&Mentions { roles: roles(len), ..Mentions::default() });
        "Member.roles": Member, MEMBER_ROLES_MAX, Known::ByGuild, true, |len| encoded(&member(roles(len)));
        "NewMember.roles": NewMember, MEMBER_ROLES_MAX, Known::ByGuild, true, |len| encoded(&new_member(user(1), roles(len)));
        "MemberEdit.roles": MemberEdit, MEMBER_ROLES_MAX, Known::ByGuild, true,
            |len| encoded(&MemberEdit { roles: Some(roles(len)), ..MemberEdit::default() });
        "Command::ImportMembers": Command, BULK_MEMBERS_MAX, Known::ByGuild, true, |len| {
            encoded(&Command::ImportMembers(users(len).into_iter().map(|user| new_member(user, Vec::new())).collect()))
        };
        "Command::CreateChannel.overwrites": Command, OVERWRITES_MAX, Known::ByGuild, true,
            |len| encoded(&Command::CreateChannel { channel: channel(), overwrites: overwrites(len) });
        "Command::PruneMembers": Command, BULK_MEMBERS_MAX, Known::ByGuild, true,
            |len| encoded(&Command::PruneMembers(PruneBy::Absent(users(len))));
        "Command::ReorderRoles": Command, ROLES_MAX, Known::ByGuild, true,
            |len| encoded(&Command::ReorderRoles { positions: roles(len).into_iter().map(|role| (role, 1)).collect() });
        "Command::ReorderChannels": Command, CHANNELS_MAX, Known::ByGuild, true, |len| {
            let positions = ids(len).map(|id| (ChannelId::new(id).unwrap(), 1)).collect();
            encoded(&Command::ReorderChannels { positions })
        };
        "EventKind::MembersLeft": EventKind, BULK_MEMBERS_MAX, Known::ByGuild, true,
            |len| encoded(&EventKind::MembersLeft { users: users(len) });
        "EventKind::MembersJoined": EventKind, BULK_MEMBERS_MAX, Known::ByGuild, true, |len| {
            let members = users(len).into_iter().map(|user| Member { user, ..member(Vec::new()) }).collect();
            encoded(&EventKind::MembersJoined { members })
        };
        "EventKind::ChannelCreated.overwrites": EventKind, OVERWRITES_MAX, Known::ByGuild, true,
            |len| encoded(&EventKind::ChannelCreated { channel: channel(), overwrites: overwrites(len) });
        "Piece::Channel.overwrites": Piece, OVERWRITES_MAX, Known::ByGuild, true,
            |len| encoded(&Piece::Channel(channel(), overwrites(len)));
    }
}

#[test]
fn each_length_is_taken_up_to_its_bound_and_no_further() {
    for Bounded { name, cap, of, decode, known, may_be_empty } in table() {
        assert_eq!(decode(&of(0)).is_ok(), may_be_empty, "{name}: none");
        assert!(decode(&of(1)).is_ok() && decode(&of(cap)).is_ok(), "{name}: {cap}");
        let is_of_guild = matches!(known, Known::ByGuild);
        assert_eq!(decode(&of(cap + 1)).is_ok(), is_of_guild, "{name}: {}", cap + 1);
    }
}

#[test]
fn a_length_that_is_claimed_in_a_few_bytes_is_refused_before_anything_is_taken_for_it() {
    for Bounded { name, cap, of, decode, known, may_be_empty: _ } in table() {
        let head = head(of);
        let refused = |len: u64, behind: &[u8]| {
            let bytes = [&head[..], &encoded(&len), behind].concat();
            decode(&bytes).expect_err(name)
        };
        // As many as there may be, of which the bytes are missing.
        let error = refused(cap as u64, &[]);
        assert!(was_read_for(&error), "{name}: {error}");
        for behind in [&[][..], b"a", b"abc"] {
            let error = refused(u32::MAX.into(), behind);
            assert!(!was_read_for(&error), "{name}: {error}");
            if let Known::ByType { read_max } = known {
                let error = refused(read_max as u64 + 1, behind);
                assert!(!was_read_for(&error), "{name}: {error}");
            }
        }
    }
}

/// Whether it was the missing bytes that were noticed, and not the length.
fn was_read_for(error: &CodecError) -> bool {
    matches!(error, CodecError::Malformed(DecodeError::UnexpectedEnd { .. }))
}

/// What stands before the length: as far as the value without any, and the one with one, are the same.
fn head(of: fn(usize) -> Vec<u8>) -> Vec<u8> {
    let (none, one) = (of(0), of(1));
    let len = none.iter().zip(&one).take_while(|(of_none, of_one)| of_none == of_one).count();
    assert!(none[len] == 0 && one[len] > 0, "what differs first is the length");
    none[..len].to_vec()
}

fn encoded<T: Encode>(value: &T) -> Vec<u8> {
    codec::encode(value).unwrap()
}

/// Of the longest characters.
fn text(chars: usize) -> String {
    "\u{1f3db}".repeat(chars)
}

fn ids(len: usize) -> impl Iterator<Item = u64> {
    1..=len as u64
}

fn user(number: u64) -> UserId {
    UserId::new(number).unwrap()
}

fn users(len: usize) -> Vec<UserId> {
    ids(len).map(user).collect()
}

fn roles(len: usize) -> Vec<RoleId> {
    ids(len).map(|id| RoleId::new(id).unwrap()).collect()
}

fn overwrites(len: usize) -> Vec<Overwrite> {
    let of =
        |role| Overwrite { target: OverwriteTarget::Role(role), allow: Permissions::NONE, deny: Permissions::NONE };
    roles(len).into_iter().map(of).collect()
}

fn channel() -> Channel {
    let (id, name) = (ChannelId::MIN, Name::parse("a").unwrap());
    Channel { id, name, kind: ChannelKind::Text, parent: None, position: 0 }
}

fn member(roles: Vec<RoleId>) -> Member {
    let NewMember { user, nick, roles, flags } = new_member(user(1), roles);
    Member { user, nick, roles, joined_at: Millis(1), flags }
}

fn new_member(user: UserId, roles: Vec<RoleId>) -> NewMember {
    NewMember { user, nick: Nick::parse("a").unwrap(), roles, flags: MemberFlags::NONE }
}
