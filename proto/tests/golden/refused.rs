//! Bytes that no decoder may accept.

use guildhall_proto::call::{
    Answer, CallFault, ChunkFlaw, FeedEnd, Freshness, Malformed, News, PageLimit, Piece, Prefix, Read, Request, Users,
    Within,
};
use guildhall_proto::codec::{self, Decode, Encode};
use guildhall_proto::limits::{BULK_MEMBERS_MAX, NAME_CHARS_MAX, NICK_CHARS_MAX, PAYLOAD_BYTES_MAX, REASON_CHARS_MAX};
use guildhall_proto::{
    Actor, CallError, ChannelId, ChannelKind, ClientId, Command, CommandError, EphemeralKind, EventKind, Generation,
    GuildId, HelloAnswer, Level, Limited, LineFault, ListedThing, MemberFlags, Mentions, Name, Nick, NodeId, Outcome,
    OverwriteTarget, Payload, Permissions, PruneBy, Question, Reason, Reply, RoleId, SecretKey, Seq, SessionId,
    SessionRequest, Stage, Status, UserId, Version, Versions,
};

/// Bytes, and the type as which they are refused; the name starts with it.
pub(crate) struct Refused {
    pub(crate) name: &'static str,
    pub(crate) bytes: Vec<u8>,
    pub(crate) is_refused: fn(&[u8]) -> bool,
}

pub(crate) fn cases() -> Vec<Refused> {
    [ids(), texts(), numbers(), unknown_variants()].into_iter().flatten().collect()
}

fn ids() -> Vec<Refused> {
    macro_rules! reserved {
        ($($id:ident),*) => {
            vec![$(
                refused::<$id>(concat!(stringify!($id), "/zero"), encoded(&0_u64)),
                refused::<$id>(concat!(stringify!($id), "/maximum"), encoded(&u64::MAX)),
            )*]
        };
    }
    reserved!(UserId, GuildId, ChannelId, RoleId, SessionId, NodeId, ClientId)
}

fn texts() -> Vec<Refused> {
    vec![
        refused::<Nick>("Nick/empty", encoded(&"")),
        refused::<Nick>("Nick/blank", encoded(&"  ")),
        refused::<Nick>("Nick/not trimmed", encoded(&" a")),
        refused::<Nick>("Nick/control character", encoded(&"a\u{7}b")),
        refused::<Nick>("Nick/control character of Latin-1", encoded(&"a\u{85}b")),
        refused::<Nick>("Nick/a character too long", encoded(&"a".repeat(NICK_CHARS_MAX + 1))),
        refused::<Nick>("Nick/not UTF-8", vec![1, 0xff]),
        refused::<Nick>("Nick/length beyond the bytes", vec![2, b'a']),
        refused::<Nick>("Nick/length beyond the limit", [vec![253], (1_u64 << 40).to_le_bytes().to_vec()].concat()),
        refused::<Nick>("Nick/trailing byte", vec![1, b'a', 0]),
        refused::<Name>("Name/empty", encoded(&"")),
        refused::<Name>("Name/a character too long", encoded(&"n".repeat(NAME_CHARS_MAX + 1))),
        refused::<Reason>("Reason/empty", encoded(&"")),
        refused::<Reason>("Reason/not trimmed", encoded(&"a\n")),
        refused::<Reason>("Reason/carriage return", encoded(&"a\r\nb")),
        refused::<Reason>("Reason/a character too long", encoded(&"r".repeat(REASON_CHARS_MAX + 1))),
        refused::<Payload>("Payload/a byte too long", encoded(&vec![b'p'; PAYLOAD_BYTES_MAX + 1])),
        refused::<Prefix>("Prefix/a character too long", encoded(&"a".repeat(NICK_CHARS_MAX + 1))),
        refused::<CallError>(
            "CallError/a reason a byte too long",
            [vec![4], encoded(&"r".repeat(CallError::REASON_BYTES_MAX + 1))].concat(),
        ),
    ]
}

fn numbers() -> Vec<Refused> {
    vec![
        refused::<Permissions>("Permissions/unknown bit 47", encoded(&(1_u64 << 47))),
        refused::<Permissions>("Permissions/unknown bit 63", encoded(&(1_u64 << 63))),
        refused::<MemberFlags>("MemberFlags/wider than its type", vec![252, 1, 0, 0, 0]),
        refused::<UserId>("UserId/wider than its type", [vec![254], vec![1; 16]].concat()),
        refused::<UserId>("UserId/reserved width", vec![255, 1]),
        refused::<UserId>("UserId/nothing", Vec::new()),
        refused::<Mentions>("Mentions/bool of 2", vec![0, 0, 2, 0]),
        refused::<Option<UserId>>("Option<UserId>/tag of 2", vec![2, 7]),
        refused::<Version>("Version/0", vec![0]),
        refused::<Seq>("Seq/maximum", encoded(&u64::MAX)),
        refused::<Generation>("Generation/0", encoded(&0_u64)),
        refused::<Versions>("Versions/from 0", vec![0, 1]),
        refused::<Versions>("Versions/none", vec![2, 1]),
        refused::<Within>("Within/0", encoded(&0_u32)),
        refused::<Within>("Within/600001", encoded(&600_001_u32)),
        refused::<PageLimit>("PageLimit/0", encoded(&0_u32)),
        refused::<PageLimit>("PageLimit/1001", encoded(&1_001_u32)),
        refused::<Users>("Users/not ascending", vec![2, 8, 7]),
        refused::<Users>("Users/one twice", vec![2, 7, 7]),
        refused::<Users>("Users/one too many", encoded(&(1..=BULK_MEMBERS_MAX as u64 + 1).collect::<Vec<_>>())),
        refused::<SecretKey>("SecretKey/cut", [vec![1], vec![0xab; 31]].concat()),
    ]
}

fn unknown_variants() -> Vec<Refused> {
    // 200 is a discriminant of none of them, and likely stays so.
    macro_rules! unknown {
        ($($type:ident),*) => {
            vec![$(refused::<$type>(concat!(stringify!($type), "/unknown variant"), vec![200]),)*]
        };
    }
    unknown!(
        Actor,
        ChannelKind,
        OverwriteTarget,
        Status,
        Level,
        ListedThing,
        Limited,
        Command,
        Outcome,
        CommandError,
        EventKind,
        EphemeralKind,
        PruneBy,
        LineFault,
        Stage,
        HelloAnswer,
        Request,
        Freshness,
        Read,
        Question,
        SessionRequest,
        Answer,
        Reply,
        Piece,
        CallFault,
        CallError,
        Malformed,
        ChunkFlaw,
        News,
        FeedEnd
    )
}

fn refused<T: Decode<()>>(name: &'static str, bytes: Vec<u8>) -> Refused {
    Refused { name, bytes, is_refused: |bytes| codec::decode::<T>(bytes).is_err() }
}

fn encoded<T: Encode>(value: &T) -> Vec<u8> {
    codec::encode(value).unwrap()
}
