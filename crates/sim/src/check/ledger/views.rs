//! Views held against the naive guild.

use guildhall_members::View;
use guildhall_proto::{GuildId, Member, Overwrite, UserId};

use super::{Breach, Promise, Turn};
use crate::check::Annals;

/// A view that is let out with a turn is the guild as of the turn's end.
pub(super) fn position_is(
    view: &View,
    guild: GuildId,
    turn: &Turn,
    annals: &Annals,
    is_present: bool,
) -> Result<(), Breach> {
    let last = turn.made.iter().rev().find_map(|made| made.events.last()).map(|event| event.position);
    let at = view.position();
    Promise::Reads.require(last.is_none_or(|last| last == at), || {
        format!("guild {guild}: a view at {at} is let out with a turn that ends at {last:?}")
    })?;
    let Some(community) = annals.as_of(at).community().filter(|_| is_present) else {
        return Ok(());
    };
    Promise::Reads.require(view.len() == community.members.len(), || {
        format!("guild {guild} at {at}: a view has {} members, and should have {}", view.len(), community.members.len())
    })?;
    for made in &turn.made {
        for event in &made.events {
            if let Some(user) = event_user(&event.kind) {
                same_member(guild, view, annals, user)?;
            }
        }
    }
    Ok(())
}

fn event_user(kind: &guildhall_proto::EventKind) -> Option<UserId> {
    use guildhall_proto::EventKind;
    if let EventKind::MemberJoined { member }
    | EventKind::MemberUpdated { after: member, .. }
    | EventKind::MemberLeft { member } = kind
    {
        return Some(member.user);
    }
    None
}

fn same_member(guild: GuildId, view: &View, annals: &Annals, user: UserId) -> Result<(), Breach> {
    let at = view.position();
    let expected = annals.as_of(at).community().and_then(|community| community.members.get(&user));
    let expected = expected.map(|member| Member::clone(member));
    let got = view.member(user);
    Promise::Reads.require(got == expected, || {
        format!("guild {guild} at {at}: {user} is {got:?} in a view, and should be {expected:?}")
    })
}

/// Everything in a view.
pub(super) fn compare(guild: GuildId, view: Option<&View>, annals: &Annals) -> Result<(), Breach> {
    let Some(view) = view else {
        return Promise::Reads
            .require(annals.latest().community().is_none(), || format!("guild {guild} exists, and has no view"));
    };
    let at = view.position();
    let wrong = |what: String| Promise::Reads.breach(format!("guild {guild} at {at}: {what}"));
    let Some(community) = annals.as_of(at).community() else {
        return Err(wrong("there is a view of a guild that does not exist".to_owned()));
    };
    let rights = view.rights();
    if *rights.settings() != community.settings {
        return Err(wrong(format!("{:?}, and should be {:?}", rights.settings(), community.settings)));
    }
    let (roles, expected): (Vec<_>, Vec<_>) = (rights.roles().collect(), community.roles.values().collect());
    if roles != expected {
        return Err(wrong(format!("roles {roles:?}, and should be {expected:?}")));
    }
    if !rights.channels().map(|channel| channel.id).eq(community.channels.keys().copied()) {
        return Err(wrong("the channels are others".to_owned()));
    }
    for channel in rights.channels() {
        let room = &community.channels[&channel.id];
        let overwrites = rights.overwrites(channel.id).map_or(&[][..], |all| all.as_slice());
        let expected: Vec<Overwrite> = room.overwrites.values().copied().collect();
        if *channel != room.channel || *overwrites != expected[..] {
            return Err(wrong(format!("{channel:?} with {overwrites:?}, and should be {room:?}")));
        }
    }
    let bans = view.bans().behind(None).map(|ban| (ban.user, ban.reason));
    if !bans.eq(community.bans.iter().map(|(user, reason)| (*user, reason.clone()))) {
        return Err(wrong("the bans are others".to_owned()));
    }
    if view.len() != community.members.len() {
        return Err(wrong(format!("{} members, and should be {}", view.len(), community.members.len())));
    }
    community.members.keys().try_for_each(|user| same_member(guild, view, annals, *user))
}
