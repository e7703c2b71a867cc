//! A view beside the model: it must hold the same guild.

use guildhall_members::View;
use guildhall_proto::Member;

use crate::model::Model;

pub(crate) fn compare(view: Option<&View>, model: &Model) {
    let community = model.community();
    assert_eq!(view.is_some(), community.is_some(), "whether there is a guild");
    let (Some(view), Some(community)) = (view, community) else { return };
    assert_eq!(view.len(), community.members.len());
    let members: Vec<Member> = view.range(None, usize::MAX);
    assert!(members.iter().eq(community.members.values()), "{members:?} are not {:?}", community.members);
    let rights = view.rights();
    assert_eq!((rights.owner(), &rights.settings().name), (community.owner, &community.name));
    assert!(rights.roles().eq(community.roles.values()), "the roles differ");
    assert!(rights.channels().eq(community.channels.values().map(|(channel, _)| channel)), "the channels differ");
    for (channel, (_, expected)) in &community.channels {
        let overwrites = rights.overwrites(*channel).expect("compared just above").as_slice().iter();
        let overwrites = overwrites.map(|overwrite| (overwrite.target, (overwrite.allow, overwrite.deny)));
        assert!(overwrites.eq(expected.iter().map(|(target, bits)| (*target, *bits))), "the overwrites differ");
    }
    let bans = view.bans().behind(None).map(|ban| (ban.user, ban.reason));
    assert!(bans.eq(community.bans.iter().map(|(user, reason)| (*user, reason.clone()))), "the bans differ");
}
