//! A view beside the model: every read must say the same.

use guildhall_members::{Question, UnknownInView, View};
use guildhall_proto::{ChannelId, Member, Permissions, RoleId, UserId};

use crate::model::Model;
use crate::steps::{Dice, USERS, user};

/// Asks both for everything, and for one channel in depth; `probe` picks which, and the windows of the lists.
pub(crate) fn compare(view: Option<&View>, model: &Model, probe: u64) {
    let Some(view) = there(view, model) else {
        return;
    };
    let mut dice = Dice(probe);
    let members: Vec<Member> = model.members.values().cloned().collect();
    assert_eq!(view.range(None, usize::MAX), members);
    assert_eq!(view.online(), model.users(|member| model.status(member.user).is_online()).len());
    for nth in 0..USERS {
        let user = user(nth);
        let there = model.members.contains_key(&user);
        assert_eq!(view.member(user).as_ref(), model.members.get(&user));
        assert_eq!(view.status(user), there.then(|| model.status(user)));
        assert_eq!(view.can(user, None), if there { Ok(model.base(user)) } else { Err(UnknownInView::Member(user)) });
    }
    let bans: Vec<_> = view.bans().behind(None).map(|ban| (ban.user, ban.reason)).collect();
    assert_eq!(bans, model.bans.clone().into_iter().collect::<Vec<_>>());
    compare_lists(view, model, &mut dice);
    compare_rights(view, model);
    compare_channel(view, model, dice.channel());
    compare_holders(view, model, &mut dice);
}

/// What must still be so when a view was kept while the guild went on.
pub(crate) fn compare_again(view: Option<&View>, model: &Model) {
    if let Some(view) = there(view, model) {
        let members: Vec<Member> = model.members.values().cloned().collect();
        assert_eq!(view.range(None, usize::MAX), members);
        assert_eq!(view.online(), model.users(|member| model.status(member.user).is_online()).len());
    }
}

fn there<'a>(view: Option<&'a View>, model: &Model) -> Option<&'a View> {
    assert_eq!(view.is_some(), model.alive);
    let view = view?;
    assert_eq!((view.position().seq.0, view.len()), (model.seq, model.members.len()));
    Some(view)
}

fn compare_lists(view: &View, model: &Model, dice: &mut Dice) {
    let (after, limit) = (dice.user(), dice.below(6));
    let behind = model.members.values().filter(|member| member.user > after).take(limit).cloned();
    assert_eq!(view.range(Some(after), limit), behind.collect::<Vec<Member>>());

    let prefix = ["", "a", "AD", "bobb", "ü", "x"][dice.below(6)];
    let folded = |member: &Member| member.nick.as_str().to_lowercase();
    let mut found: Vec<Member> =
        model.members.values().filter(|member| folded(member).starts_with(&prefix.to_lowercase())).cloned().collect();
    found.sort_by_key(|member| (folded(member), member.user));
    found.truncate(limit);
    assert_eq!(view.by_prefix(prefix, limit), found);
}

fn compare_rights(view: &View, model: &Model) {
    let rights = view.rights();
    assert_eq!((rights.owner(), &rights.settings().name), (model.owner, &model.name));
    assert!(rights.roles().eq(model.roles.values()));
    assert!(rights.channels().eq(model.channels.values().map(|room| &room.channel)));
    for (channel, room) in &model.channels {
        let overwrites = rights.overwrites(*channel).expect("compared just above").as_slice().iter();
        let overwrites = overwrites.map(|overwrite| (overwrite.target, (overwrite.allow, overwrite.deny)));
        assert!(overwrites.eq(room.overwrites.iter().map(|(target, bits)| (*target, *bits))));
    }
}

fn compare_channel(view: &View, model: &Model, channel: ChannelId) {
    let scan = |question| view.scan(question).map(|scan| scan.run());
    let (everyone, here) = (Question::Everyone { channel }, Question::Here { channel });
    if !model.channels.contains_key(&channel) {
        assert_eq!(scan(everyone), Err(UnknownInView::Channel(channel)));
        assert_eq!(view.can(model.owner, Some(channel)), Err(UnknownInView::Channel(channel)));
        return;
    }
    for user in model.members.keys() {
        assert_eq!(view.can(*user, Some(channel)), Ok(model.within(*user, channel)));
    }
    let sees = |member: &Member| model.within(member.user, channel).contains(Permissions::VIEW_CHANNEL);
    assert_eq!(scan(everyone), Ok(model.users(sees)));
    let online = |member: &Member| sees(member) && model.status(member.user).is_online();
    assert_eq!(scan(here), Ok(model.users(online)));
}

fn compare_holders(view: &View, model: &Model, dice: &mut Dice) {
    let scan = |question| -> Vec<UserId> { view.scan(question).expect("the guild has what is asked for").run() };
    let role = *model.roles.keys().nth(dice.below(model.roles.len())).expect("picked among those there");
    let holds = |member: &Member| role == RoleId::everyone(model.guild) || member.roles.contains(&role);
    assert_eq!(scan(Question::Role { role, channel: None }), model.users(holds));
    if let Some(channel) = model.channels.keys().nth(dice.below(model.channels.len().max(1))) {
        let sees = |member: &Member| model.sees(member.user, *channel);
        let question = Question::Role { role, channel: Some(*channel) };
        assert_eq!(scan(question), model.users(|member| holds(member) && sees(member)));
    }
    let mut filtered = Vec::new();
    let filter = view.filter(|member, status| status.is_online() && member.user.get().is_multiple_of(2));
    for chunk_idx in 0..filter.chunks() {
        filter.run_chunk(chunk_idx, &mut filtered);
    }
    let even = |member: &Member| model.status(member.user).is_online() && member.user.get().is_multiple_of(2);
    assert_eq!(filtered, model.users(even));
}
