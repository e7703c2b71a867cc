//! On whose word sessions are known, and what becomes of them once nobody speaks for them.

use std::collections::{BTreeMap, BTreeSet};

use guildhall_guild::{Attached, Effect, Reply, SessionRequest, Tell};
use guildhall_proto::{Actor, Command, CommandError, EphemeralKind, Sponsor, Status};
use proptest::prelude::*;

use crate::world::*;

const FIRST: Sponsor = Sponsor(1);
const SECOND: Sponsor = Sponsor(2);

fn attach_by(world: &mut World, sponsor: Sponsor, user: u64, session: u64) -> Attached {
    let request = SessionRequest::Attach { user: user_id(user), status: Status::Online };
    match world.session_by(sponsor, session, request).0 {
        Ok(Reply::Attached(attached)) => *attached,
        other => panic!("{other:?}"),
    }
}

/// Lets the guild carry on until it has nothing to do; what each turn told.
fn proceed(world: &mut World) -> Vec<Vec<Effect>> {
    let mut turns = Vec::new();
    while world.guild.has_work() {
        let mut effects = Vec::new();
        world.guild.proceed(world.now, &mut effects);
        turns.push(effects);
    }
    turns
}

#[test]
fn the_sessions_of_a_sponsor_that_is_gone_are_released_and_no_others() {
    let mut world = World::new();
    attach_by(&mut world, FIRST, PLAIN, 1);
    attach_by(&mut world, SECOND, MOD, 2);
    attach_by(&mut world, FIRST, PEER, 3);
    world.attach(HELPER, 4, Status::Online);
    world.gone(FIRST);
    assert!(world.guild.is_at_work(), "a guild that still looks for them does not fall asleep");
    let told: Vec<_> = proceed(&mut world).into_iter().flatten().collect();
    let offline = |user| EphemeralKind::Presence { user: user_id(user), status: Status::Offline };
    for (effect, user) in told.iter().zip([PEER, PLAIN]) {
        assert!(matches!(effect, Effect::Tell(Tell::Latest(told)) if told.kind == offline(user)), "{effect:?}");
    }
    assert_eq!((told.len(), world.guild.sessions(), world.guild.forsaken_released()), (2, 2, 2));
    assert_eq!((world.status(MOD), world.status(HELPER)), (Some(Status::Online), Some(Status::Online)));
    assert!(!world.guild.is_at_work());
}

#[test]
fn a_session_that_has_come_back_or_is_told_of_by_another_sponsor_outlives_the_first() {
    let mut world = World::new();
    let first = attach_by(&mut world, FIRST, PLAIN, 1);
    let (user, status) = (user_id(PLAIN), Status::Online);
    let resume = SessionRequest::Resume { user, status, generation: first.generation, known: first.at };
    assert!(world.session_by(SECOND, 1, resume).0.is_ok());
    let told = attach_by(&mut world, FIRST, MOD, 2);
    let generation = told.generation;
    let reattach = SessionRequest::Reattach { user: user_id(MOD), status, generation };
    assert!(world.session_by(SECOND, 2, reattach).0.is_ok());
    world.gone(FIRST);
    proceed(&mut world);
    assert_eq!((world.guild.sessions(), world.guild.forsaken_released()), (2, 0));
    // To be told of it anew has changed nothing else: it comes back.
    let resume = SessionRequest::Resume { user: user_id(MOD), status, generation, known: told.at };
    assert!(world.session_by(SECOND, 2, resume).0.is_ok());
}

#[test]
fn who_does_not_know_as_what_a_session_is_held_does_not_end_it_where_another_holds_it() {
    let mut world = World::new();
    attach_by(&mut world, FIRST, PLAIN, 1);
    let detach = SessionRequest::Detach { user: user_id(PLAIN) };
    // It was attached anew by another, and the first has not heard whether its own attach came through.
    attach_by(&mut world, SECOND, PLAIN, 1);
    let superseded = CommandError::SessionSuperseded { session: session_id(1) };
    assert_eq!(world.session_by(FIRST, 1, detach).0, Err(superseded));
    assert_eq!((world.guild.sessions(), world.status(PLAIN)), (1, Some(Status::Online)));
    assert!(world.session_by(SECOND, 1, detach).0.is_ok());
    assert_eq!(world.guild.sessions(), 0);
}

#[test]
fn a_session_that_was_released_and_is_told_of_again_is_online_and_does_not_come_back() {
    let mut world = World::new();
    let Attached { generation, at: known, .. } = attach_by(&mut world, FIRST, PLAIN, 1);
    world.gone(FIRST);
    proceed(&mut world);
    let (user, status) = (user_id(PLAIN), Status::Online);
    assert!(world.session_by(SECOND, 1, SessionRequest::Reattach { user, status, generation }).0.is_ok());
    assert_eq!(world.status(PLAIN), Some(status));
    let resume = SessionRequest::Resume { user, status, generation, known };
    let unknown = CommandError::UnknownSession { session: session_id(1) };
    assert_eq!(world.session_by(SECOND, 1, resume).0, Err(unknown));
}

#[test]
fn many_sessions_are_released_in_many_turns_and_who_comes_meanwhile_stays() {
    let mut world = World::new();
    for user in 1_000..11_000 {
        world.system(Command::AddMember(new_member(user, &[])));
        attach_by(&mut world, if user % 10 == 0 { FIRST } else { SECOND }, user, user);
    }
    world.gone(FIRST);
    let mut turns = 0;
    while world.guild.has_work() {
        let mut effects = Vec::new();
        world.guild.proceed(world.now, &mut effects);
        assert!(effects.len() <= 256, "{}", effects.len());
        turns += 1;
        // Its row lies behind those that were looked at.
        attach_by(&mut world, SECOND, PLAIN, turns);
        world.session_by(SECOND, turns, SessionRequest::Detach { user: user_id(PLAIN) }).0.unwrap();
        attach_by(&mut world, SECOND, MOD, 100_000);
    }
    assert_eq!(turns, 4, "a thousand releases at 256 a turn");
    assert_eq!((world.guild.sessions(), world.guild.forsaken_released()), (9_001, 1_000));
}

#[test]
fn a_guild_that_is_deleted_meanwhile_has_nobody_to_release() {
    let mut world = World::new();
    attach_by(&mut world, FIRST, PLAIN, 1);
    world.gone(FIRST);
    world.applies(Actor::System, Command::DeleteGuild);
    assert!(proceed(&mut world).into_iter().flatten().next().is_none());
    assert!(!world.guild.is_at_work());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Against a plain map of sessions: whatever comes and goes between, in the end exactly those of gone sponsors are missing.
    #[test]
    fn whatever_comes_and_goes_meanwhile_only_the_forsaken_are_released(
        steps in prop::collection::vec((0..8_u8, 0..60_u64, 1..5_u32), 0..300),
    ) {
        let mut world = World::new();
        for user in 1_000..1_060 {
            world.system(Command::AddMember(new_member(user, &[])));
        }
        let (mut model, mut gone) = (BTreeMap::new(), BTreeSet::new());
        for (what, number, sponsor) in steps {
            let (user, session) = (1_000 + number, 1 + number);
            // Who is gone says nothing any more; the next run has the next number.
            let sponsor = Sponsor(sponsor + 4 * gone.len() as u32);
            match what {
                0..4 => {
                    attach_by(&mut world, sponsor, user, session);
                    model.insert(session, sponsor);
                }
                4 => {
                    let holder = model.get(&session).copied().unwrap_or(sponsor);
                    let detach = SessionRequest::Detach { user: user_id(user) };
                    let detached = world.session_by(holder, session, detach).0.is_ok();
                    let known = model.remove(&session);
                    prop_assert!(!detached || known.is_some());
                    prop_assert!(detached || known.is_none_or(|sponsor| gone.contains(&sponsor)));
                }
                5 => {
                    let earlier = model.values().nth(number as usize).copied();
                    let sponsor = earlier.unwrap_or(sponsor);
                    world.gone(sponsor);
                    gone.insert(sponsor);
                }
                _ => world.guild.proceed(world.now, &mut Vec::new()),
            }
        }
        proceed(&mut world);
        model.retain(|_, sponsor| !gone.contains(sponsor));
        prop_assert_eq!(world.guild.sessions(), model.len());
        for (session, sponsor) in model {
            let detach = SessionRequest::Detach { user: user_id(999 + session) };
            prop_assert!(world.session_by(sponsor, session, detach).0.is_ok());
        }
    }
}
