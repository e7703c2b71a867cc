//! Each workload over a naive stand-in for the world: that its dice alone decide, and that it reaches what it is for.

mod stand_in;

use std::collections::BTreeMap;

use guildhall_proto::{ChannelId, EventKind, Level, RoleId};
use stand_in::StandIn;

use super::names;

/// Runs a workload from some seeds, and requires that everything happened so often.
#[track_caller]
fn reaches(name: &str, moments: usize, at_least: &[(&str, u64)]) {
    let mut all = StandIn::default();
    (0..SEEDS).for_each(|seed| all.add(&StandIn::of(name, seed, moments)));
    let rare = at_least.iter().filter(|(what, times)| all.counted(what) < *times);
    assert_eq!(rare.collect::<Vec<_>>(), Vec::<&(&str, u64)>::new(), "{name} has had {:?}", all.counts);
}

#[test]
fn the_dice_alone_decide_what_happens() {
    for name in names() {
        let one = StandIn::of(name, 7, 300);
        assert!(one.done.len() > 100, "{name} does next to nothing");
        assert_eq!(one.done, StandIn::of(name, 7, 300).done, "{name}");
        assert_ne!(one.done, StandIn::of(name, 8, 300).done, "{name}");
    }
}

#[test]
fn on_an_ordinary_day_people_talk_and_come_and_go() {
    let at_least = [
        ("MessagePublished", 1_000),
        ("attached", 500),
        ("SetLevel", 100),
        ("SetStatus", 100),
        ("Type", 100),
        ("Cut", 50),
        ("came back", 20),
        ("came elsewhere", 10),
        ("MemberJoined", 20),
        ("MemberLeft", 20),
        ("MemberUpdated", 50),
    ];
    reaches("everyday", 1_000, &at_least);
}

#[test]
fn few_channels_are_busy_few_roles_are_common_and_most_who_listen_are_passive() {
    let (mut said, mut held) = (BTreeMap::<ChannelId, usize>::new(), BTreeMap::<RoleId, usize>::new());
    let (mut passive, mut all) = (0, 0);
    for seed in 0..SEEDS {
        let world = StandIn::of("everyday", seed, 1_000);
        passive += world.sessions.values().filter(|known| known.level == Level::Passive).count();
        all += world.sessions.len();
        for (_, annals) in world.chronicle.iter() {
            for entry in annals.trunk() {
                if let EventKind::MessagePublished(message) = &entry.event.kind {
                    *said.entry(message.channel).or_default() += 1;
                }
            }
            let members = annals.latest().community().into_iter().flat_map(|community| community.members.values());
            members.flat_map(|member| member.roles.clone()).for_each(|role| *held.entry(role).or_default() += 1);
        }
    }
    assert!(passive * 4 > all * 3, "{passive} of {all}");
    let (said, held): (Vec<usize>, Vec<usize>) = (said.into_values().collect(), held.into_values().collect());
    assert!(said[0] > 2 * said[3] && said[0] + said[1] + said[2] > said[3..].iter().sum(), "{said:?}");
    assert!(held[0] > 2 * held[3] && held[3] > 2 * held[10], "{held:?}");
}

#[test]
fn a_busy_client_asks_for_what_was_forgotten() {
    reaches("busy", 200, &[("GuildUpdated", 2_000), ("Retry", 100)]);
}

#[test]
fn raiders_come_by_the_thousand_and_are_thrown_out() {
    let at_least = [
        ("most members", 1_000),
        ("UserBanned", 200),
        ("MemberLeft", 200),
        ("pruned by Absent", 200),
        ("pruned by Idle", 50),
        ("session ended with its member", 100),
        ("OverwriteChanged", 20),
        ("refused", 100),
    ];
    reaches("raid", 1_000, &at_least);
}

#[test]
fn roles_change_in_every_way_under_those_who_hold_them() {
    let at_least = [
        ("RoleCreated", 100),
        ("RoleDeleted", 20),
        ("RolesReordered", 50),
        ("RoleUpdated", 50),
        ("MemberUpdated", 200),
        ("SetLevel", 200),
        ("came back", 100),
        ("OverwriteChanged", 50),
        ("MessagePublished", 500),
        ("most sessions", 60),
        ("refused", 100),
    ];
    reaches("roles", 1_000, &at_least);
}

#[test]
fn channels_change_in_every_way_under_those_who_see_them() {
    let at_least = [
        ("ChannelCreated", 50),
        ("ChannelDeleted", 20),
        ("ChannelUpdated", 50),
        ("ChannelsReordered", 20),
        ("OverwriteChanged", 300),
        ("MessagePublished", 500),
        ("most sessions", 60),
    ];
    reaches("doors", 1_000, &at_least);
}

#[test]
fn a_guild_is_filled_and_emptied_as_a_whole_and_cut_meanwhile() {
    let at_least = [
        ("imported", 10_000),
        ("imported before", 200),
        ("bad line", 10),
        ("pruned by Absent", 500),
        ("pruned by Idle", 500),
        ("pruned by Role", 500),
        ("session ended with its member", 50),
        ("Retire", 50),
        ("Retry", 100),
    ];
    reaches("sweeps", 1_000, &at_least);
}

#[test]
fn people_are_banned_and_forgiven_and_try_to_come_back() {
    let at_least = [
        ("UserBanned", 100),
        ("UserUnbanned", 50),
        ("MemberJoined", 30),
        ("session ended with its member", 50),
        ("refused", 200),
    ];
    reaches("bans", 1_000, &at_least);
}

#[test]
fn guilds_are_created_and_deleted_with_those_who_listen() {
    let at_least = [
        ("GuildCreated", 50),
        ("GuildDeleted", 50),
        ("GuildUpdated", 20),
        ("session ended with its member", 100),
        ("refused", 50),
    ];
    reaches("lives", 1_500, &at_least);
}

#[test]
fn small_guilds_are_left_alone_for_longer_than_it_takes_to_fall_asleep() {
    reaches("sleepers", 1_000, &[("GuildCreated", 50), ("long pause", 200), ("Read", 5_000), ("Detach", 100)]);
}

#[test]
fn connections_break_by_the_hundred_and_come_back_here_or_there() {
    let at_least = [
        ("most sessions", 1_000),
        ("Cut", 3_000),
        ("came back", 1_000),
        ("came elsewhere", 500),
        ("came out of place", 50),
        ("MessagePublished", 1_000),
    ];
    reaches("reconnects", 1_000, &at_least);
}

#[test]
fn readers_slow_down_and_stop_while_rights_change() {
    let at_least = [
        ("Stopped", 50),
        ("Slow", 100),
        ("Fast", 100),
        ("SetLevel", 100),
        ("MessagePublished", 2_000),
        ("OverwriteChanged", 50),
        ("MemberUpdated", 50),
    ];
    reaches("laggards", 1_000, &at_least);
}

#[test]
fn hostile_callers_use_every_wrong_id_and_go_over_every_limit() {
    let at_least = [
        ("Expired", 200),
        ("Ahead", 200),
        ("AnotherBody", 200),
        ("Retry", 200),
        ("refused", 500),
        ("came out of place", 20),
        ("most doings at once", 65),
    ];
    reaches("hostile", 1_000, &at_least);
}

#[test]
fn guilds_move_and_links_end_under_those_who_talk_and_listen() {
    let at_least = [
        ("Move", 50),
        ("CutLink", 30),
        ("Cut", 100),
        ("came back", 50),
        ("came elsewhere", 50),
        ("MessagePublished", 1_000),
        ("Retry", 100),
        ("Read", 100),
        ("OverwriteChanged", 50),
    ];
    reaches("nomads", 1_000, &at_least);
}

#[test]
fn a_mixture_is_of_everything() {
    let at_least = [
        ("MessagePublished", 1_000),
        ("Cut", 100),
        ("RoleDeleted", 5),
        ("ChannelDeleted", 5),
        ("UserBanned", 20),
        ("imported", 500),
        ("Expired", 2),
        ("Slow", 10),
        ("Retire", 1),
    ];
    reaches("mixed", 1_500, &at_least);
}

const SEEDS: u64 = 5;
