//! Runs of pieces as they must be, and each way in which they are not.

use super::*;
use crate::{
    ChannelId, ChannelKind, Epoch, EventKind, MemberFlags, Millis, Name, Nick, OverwriteTarget, Permissions, Position,
    RoleId, Seq, UserId, codec,
};

fn user(id: u64) -> UserId {
    UserId::new(id).unwrap()
}

fn name() -> Name {
    Name::parse("name").unwrap()
}

fn settings() -> Piece {
    Piece::Settings(GuildSettings { name: name(), owner: user(7) })
}

fn role(id: u64) -> Piece {
    let (id, permissions) = (RoleId::new(id).unwrap(), Permissions::NONE);
    Piece::Role(Role { id, name: name(), position: 1, permissions, hoist: false, mentionable: false })
}

fn channel(id: u64, users: &[u64]) -> Piece {
    let id = ChannelId::new(id).unwrap();
    let overwrite = |id: &u64| Overwrite {
        target: OverwriteTarget::User(user(*id)),
        allow: Permissions::NONE,
        deny: Permissions::NONE,
    };
    let channel = Channel { id, name: name(), kind: ChannelKind::Text, parent: None, position: 0 };
    Piece::Channel(channel, users.iter().map(overwrite).collect())
}

fn ban(id: u64) -> Piece {
    Piece::Ban(Ban { user: user(id), reason: None })
}

fn event(epoch: u64, seq: u64) -> Piece {
    let position = Position { epoch: Epoch(epoch), seq: Seq(seq) };
    Piece::Event(Arc::new(Event { position, at: Millis(0), kind: EventKind::UserUnbanned { user: user(1) } }))
}

fn member(id: u64, roles: &[u64]) -> Piece {
    let roles = roles.iter().map(|id| RoleId::new(*id).unwrap()).collect();
    let (nick, joined_at, flags) = (Nick::parse("ada").unwrap(), Millis(0), MemberFlags::NONE);
    Piece::Member(Member { user: user(id), nick, roles, joined_at, flags })
}

/// Reads a run of which each chunk has one piece, and then the same in one chunk.
fn read(course: Course, pieces: &[Piece]) -> Result<(), ChunkFault> {
    let chunks: Vec<Vec<u8>> = pieces.iter().map(|piece| codec::encode(piece).unwrap()).collect();
    let run = |chunks: &[Vec<u8>]| {
        let (mut run, mut read) = (PieceRun::new(course), Vec::new());
        let taken = chunks.iter().try_for_each(|chunk| run.take(chunk, &mut read));
        assert_eq!(read, pieces[..read.len()]);
        if let Err(fault) = taken {
            assert_eq!(fault.at, read.len() as u64);
            return Err(fault);
        }
        assert_eq!(read.len(), pieces.len());
        run.end()
    };
    let outcome = run(&chunks);
    assert_eq!(run(&[chunks.concat()]), outcome);
    outcome
}

const SHOW: Course = Course::Show;
const ALL: Course = Course::Members { limit: None };
const FEED: Course = Course::Feed { past: 2 };

fn found(limit: u32) -> Course {
    Course::Found { limit: PageLimit::new(limit).unwrap() }
}

#[test]
fn whole_runs_are_read() {
    let (shown, owner) = ([settings(), role(1), role(2), channel(3, &[7, 8]), channel(4, &[])], member(7, &[1, 2]));
    assert_eq!(read(SHOW, &shown), Ok(()));
    assert_eq!(read(SHOW, &[settings()]), Ok(()));
    assert_eq!(read(ALL, &[]), Ok(()));
    assert_eq!(read(ALL, &[owner.clone(), member(8, &[])]), Ok(()));
    assert_eq!(read(found(2), &[member(8, &[]), owner.clone()]), Ok(()));
    let fed = [&shown[..], &[event(3, 9), event(4, 1), owner.clone()]].concat();
    assert_eq!(read(FEED, &fed), Ok(()));
    assert_eq!(read(Course::Export, &[&shown[..], &[ban(1), ban(2), owner]].concat()), Ok(()));
}

#[test]
fn pieces_that_do_not_belong_there_are_told() {
    let misplaced = |at| Err(ChunkFault { at, flaw: ChunkFlaw::Misplaced });
    assert_eq!(read(SHOW, &[role(1)]), misplaced(0));
    assert_eq!(read(SHOW, &[settings(), member(7, &[])]), misplaced(1));
    assert_eq!(read(SHOW, &[settings(), event(3, 9)]), misplaced(1));
    assert_eq!(read(SHOW, &[settings(), ban(1)]), misplaced(1));
    assert_eq!(read(ALL, &[settings()]), misplaced(0));
    assert_eq!(read(FEED, &[settings(), ban(1)]), misplaced(1));
    assert_eq!(read(Course::Export, &[settings(), event(3, 9)]), misplaced(1));
}

#[test]
fn pieces_out_of_order_are_told() {
    let disordered = |at| Err(ChunkFault { at, flaw: ChunkFlaw::Disordered });
    assert_eq!(read(SHOW, &[settings(), role(2), role(1)]), disordered(2));
    assert_eq!(read(SHOW, &[settings(), role(2), role(2)]), disordered(2));
    assert_eq!(read(SHOW, &[settings(), channel(3, &[]), role(1)]), disordered(2));
    assert_eq!(read(SHOW, &[settings(), channel(3, &[8, 7])]), disordered(1));
    assert_eq!(read(SHOW, &[settings(), channel(3, &[7, 7])]), disordered(1));
    assert_eq!(read(ALL, &[member(8, &[]), member(7, &[])]), disordered(1));
    assert_eq!(read(ALL, &[member(7, &[2, 1])]), disordered(0));
    assert_eq!(read(FEED, &[settings(), event(4, 1), event(3, 9)]), disordered(2));
    assert_eq!(read(FEED, &[settings(), member(7, &[]), event(3, 9)]), disordered(2));
}

#[test]
fn pieces_beyond_what_was_asked_for_or_a_guild_may_have_are_told() {
    let too_many = |at, max| Err(ChunkFault { at, flaw: ChunkFlaw::TooMany { max } });
    assert_eq!(read(SHOW, &[settings(), settings()]), too_many(1, 1));
    assert_eq!(read(FEED, &[settings(), event(3, 1), event(3, 2), event(3, 3)]), too_many(3, 2));
    assert_eq!(read(Course::Members { limit: Some(1) }, &[member(7, &[]), member(8, &[])]), too_many(1, 1));
    assert_eq!(read(found(1), &[member(7, &[]), member(8, &[])]), too_many(1, 1));
    let roles: Vec<Piece> = [settings()].into_iter().chain((1..=513).map(role)).collect();
    assert_eq!(read(SHOW, &roles[..513]), Ok(()));
    assert_eq!(read(SHOW, &roles), too_many(513, 512));
    let channels: Vec<Piece> = [settings()].into_iter().chain((1..=1_001).map(|id| channel(id, &[]))).collect();
    assert_eq!(read(SHOW, &channels[..1_001]), Ok(()));
    assert_eq!(read(SHOW, &channels), too_many(1_001, 1_000));
    let users: Vec<u64> = (1..=513).collect();
    assert_eq!(read(SHOW, &[settings(), channel(1, &users[..512])]), Ok(()));
    assert_eq!(read(SHOW, &[settings(), channel(1, &users)]), too_many(1, 512));
}

#[test]
fn what_ends_too_early_or_is_cut_is_told() {
    for course in [SHOW, FEED, Course::Export] {
        assert_eq!(read(course, &[]), Err(ChunkFault { at: 0, flaw: ChunkFlaw::Incomplete }));
    }
    let whole = codec::encode(&settings()).unwrap();
    for cut in 1..whole.len() {
        let fault = PieceRun::new(SHOW).take(&whole[..cut], &mut Vec::new());
        assert_eq!(fault, Err(ChunkFault { at: 0, flaw: ChunkFlaw::Undecodable }), "cut at {cut}");
    }
}
