//! Views held against the naive guild.

use guildhall_members::{Question, View};
use guildhall_proto::{GuildId, Member, Overwrite, Status, UserId};

use super::register::Register;
use super::{Breach, Promise, Turn};
use crate::check::Annals;
use crate::model::Community;

/// A view that is let out with a turn is the guild as of the turn's end.
pub(super) fn position_is(
    view: &View,
    guild: GuildId,
    turn: &Turn,
    annals: &Annals,
    register: &Register,
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
    Promise::Reads.require(view.online() == register.online(), || {
        format!(
            "guild {guild} at {at}: {} members are shown in a view, and should be {}",
            view.online(),
            register.online()
        )
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
pub(super) fn compare(guild: GuildId, view: Option<&View>, annals: &Annals, register: &Register) -> Result<(), Breach> {
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
    for user in community.members.keys() {
        same_member(guild, view, annals, *user)?;
        let (got, expected) = (view.status(*user), register.status(*user));
        if got != Some(expected) {
            return Err(wrong(format!("{user} is shown as {got:?}, and should be as {expected:?}")));
        }
    }
    are_here(guild, view, community, register)
}

/// Who is called by `@here` in some channel: the members who see it and are there.
fn are_here(guild: GuildId, view: &View, community: &Community, register: &Register) -> Result<(), Breach> {
    let at = view.position();
    // Another channel in each view.
    let nth = usize::try_from(at.seq.0).unwrap_or(0) % community.channels.len().max(1);
    let Some(channel) = community.channels.keys().nth(nth).copied() else { return Ok(()) };
    let is_here = |user: &UserId| register.status(*user) != Status::Offline && community.sees(*user, channel);
    let expected: Vec<UserId> = community.members.keys().copied().filter(is_here).collect();
    let scan = view.scan(Question::Here { channel }).map_err(|error| {
        Promise::Reads.breach(format!("guild {guild} at {at}: {channel} cannot be asked about: {error}"))
    })?;
    let got = scan.run();
    Promise::Reads.require(got == expected, || {
        format!("guild {guild} at {at}: {got:?} are here in {channel}, and should be {expected:?}")
    })
}
