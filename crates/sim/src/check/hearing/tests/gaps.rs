//! Gaps that need not be, and news to those who turn: what is allowed is narrow.

use super::*;

#[test]
fn a_gap_over_what_the_relay_can_still_tell_is_found() {
    let mut scene = Scene::new();
    let ear = scene.attach(ADA, Level::Active);
    let after = scene.head();
    let said = [scene.say(OPEN), scene.say(OPEN), scene.say(OPEN)];
    let whole =
        Reach { from: after, read_to: said[2].position, at: said[2].position, events: 8, bytes: 1 << 20, sessions: 1 };
    let mut loses = |gap_after: Position, reach: Reach| {
        let gap = Gap { after: gap_after, through: said[2].position };
        scene.ears.loses(&scene.annals, ear, gap, &reach)
    };
    assert_breach(loses(after, whole), Promise::Order);
    // Its rings may be full, of events or of bytes; the relay lost something itself; the batch has read nothing since.
    loses(after, Reach { events: 6, ..whole }).unwrap();
    loses(after, Reach { bytes: 1 << 12, ..whole }).unwrap();
    loses(after, Reach { from: said[0].position, ..whole }).unwrap();
    let read_to = Position { seq: Seq(after.seq.0 - 1), ..after };
    loses(after, Reach { read_to, ..whole }).unwrap();
    assert_breach(loses(said[1].position, Reach { events: 4, ..whole }), Promise::Order);
}

#[test]
fn what_came_before_a_member_joined_or_a_role_was_deleted_may_be_under_a_gap() {
    let changes: [fn(&mut Scene); 2] = [|scene| drop(scene.join(ADA)), |scene| drop(scene.delete_role(STAFF))];
    for change in changes {
        let mut scene = Scene::new();
        let ear = scene.attach(ADA, Level::Active);
        let after = scene.head();
        change(&mut scene);
        let at = scene.head();
        let reach = Reach { from: after, read_to: at, at, events: 1_000, bytes: 1 << 30, sessions: 1 };
        scene.ears.loses(&scene.annals, ear, Gap { after, through: at }, &reach).unwrap();
    }
}

#[test]
fn who_turns_twice_at_one_place_may_be_told_the_news_that_it_had_before() {
    let mut scene = Scene::new();
    let ears = [(); 3].map(|()| scene.attach(ADA, Level::Passive));
    let said = scene.say(OPEN);
    let at = said.position;
    for ear in ears {
        scene.turn(ear, Level::Active, at, at).unwrap();
        scene.turn(ear, Level::Passive, at, at).unwrap();
    }
    scene.unread(ears[0], &[OPEN]).unwrap();
    // It need not be, and behind that place it is none.
    scene.waits(ears[1]).unwrap();
    scene.say(GARDEN);
    assert_breach(scene.unread(ears[2], &[OPEN, GARDEN]), Promise::Order);
}
