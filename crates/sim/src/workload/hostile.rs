//! Callers who keep to no rule: ids of operations that are too old, ahead, or another's; things that are not there or not theirs; as much
//! as there may be of everything, and more.

use guildhall_proto::limits::{
    BULK_MEMBERS_MAX, LONG_OPERATIONS_MAX, MENTION_USERS_MAX, OVERWRITES_MAX, PAYLOAD_BYTES_MAX, USER_SESSIONS_MAX,
};
use guildhall_proto::{
    Actor, Command, GuildId, Level, Mentions, Millis, OverwriteTarget, Permissions, PruneBy, Publish, SessionId,
};

use super::town::{self, user};
use super::{CallAs, Doing, Known, Proof, Scene, Town, Workload, doors, roles};
use crate::dice::Dice;
use crate::model::Community;
use crate::queue::Micros;

/// One guild among people who try everything.
#[derive(Debug)]
pub(super) struct Hostile {
    town: Town,
}

impl Hostile {
    pub(super) fn new(dice: &mut Dice) -> Self {
        Self { town: Town::ordinary(0, dice) }
    }
}

impl Workload for Hostile {
    fn name(&self) -> &'static str {
        "hostile"
    }

    fn next(&mut self, now: Millis, dice: &mut Dice, known: &Known<'_>, doings: &mut Vec<Doing>) -> Option<Micros> {
        let mut scene = Scene { now, dice, known, doings };
        let Some((guild, known)) = scene.settled(&mut self.town) else { return Some(Micros::millis(20)) };
        scene.keep_listening(guild, known, LISTENERS);
        let change = if scene.dice.one_in(2) { roles::change } else { doors::change };
        match scene.dice.below(100) {
            0..30 => {
                let command = change(&mut scene, guild, known);
                let id =
                    *scene.dice.one_of(&[CallAs::Expired, CallAs::Ahead, CallAs::AnotherBody, CallAs::AnotherTime])?;
                scene.doings.push(Doing::Call { guild, actor: Actor::System, command, id });
            }
            30..40 => scene.retry(guild),
            // Anybody tries what only moderators, or the chat backend, may do.
            40..60 => {
                let (actor, command) = (Actor::User(scene.member(known)), change(&mut scene, guild, known));
                scene.call(guild, actor, command);
            }
            60..65 => {
                let (actor, command) = (Actor::User(town::user_id(scene.dice)), change(&mut scene, guild, known));
                scene.call(guild, actor, command);
            }
            65..75 => meddle(&mut scene, guild, known),
            75 | 76 => exceed(&mut scene, guild, known),
            _ => scene.say(guild, known),
        }
        Some(Micros(scene.dice.below(8_000)))
    }
}

/// Somebody uses what is another's, or not there.
fn meddle(scene: &mut Scene<'_, '_>, guild: GuildId, known: &Community) {
    let (stranger, channel) = (town::user_id(scene.dice), scene.channel(known));
    let nobodys = SessionId::new(u64::MAX - 1).expect("it is below the maximum");
    let session = scene.session(guild).map_or(nobodys, |(session, _)| session);
    match scene.dice.below(6) {
        0 => scene.attach_at(guild, stranger, Level::Active),
        1 => {
            let session = if scene.dice.one_in(2) { session } else { nobodys };
            scene.doings.push(Doing::Evict { guild, session, user: stranger });
        }
        2 => scene.doings.push(Doing::Type { guild, user: stranger, channel }),
        3 => scene.ask(guild, Command::RemoveMember { user: stranger }),
        4 => {
            // A session that still hears comes back, as one does whose secret was stolen.
            let (backend, status) = (scene.backend(), scene.status());
            let proof = match scene.dice.below(6) {
                0 => Proof::Former,
                1 => Proof::Ahead,
                2 => Proof::Foreign(scene.session(guild).map_or(nobodys, |(other, _)| other)),
                3 => Proof::Forged,
                _ => Proof::Secret,
            };
            scene.doings.push(Doing::Resume { session, proof, backend, level: Level::Active, status });
        }
        _ => {
            let (payload, mentions) = (scene.payload(8), Mentions::default());
            let author = Actor::User(scene.member(known));
            // Without an echo, whose session it is would not hear it.
            let echo = session.get().is_multiple_of(2);
            let publish = Publish { channel, payload, mentions, session: Some(session), echo };
            scene.call(guild, author, Command::Publish(publish));
        }
    }
}

/// Somebody asks for as much of something as there may be, and for one more.
fn exceed(scene: &mut Scene<'_, '_>, guild: GuildId, known: &Community) {
    let channel = scene.channel(known);
    match scene.dice.below(6) {
        0 => {
            let allow = |user| town::allow(OverwriteTarget::User(user), Permissions::VIEW_CHANNEL);
            let overwrites: Vec<_> = (0..=OVERWRITES_MAX as u64).map(|nth| allow(user(nth))).collect();
            let channel = town::new_channel(NEW_CHANNEL);
            scene.ask(guild, Command::CreateChannel { channel, overwrites });
        }
        1 => {
            let payload = scene.payload(PAYLOAD_BYTES_MAX as u64);
            let users = known.members.keys().copied().take(MENTION_USERS_MAX + 1).collect();
            let mentions = Mentions { users, ..Mentions::default() };
            let publish = Publish { channel, payload, mentions, session: None, echo: false };
            scene.ask(guild, Command::Publish(publish));
        }
        2 => {
            let user = scene.member(known);
            (0..=USER_SESSIONS_MAX).for_each(|_| scene.attach_at(guild, user, Level::Passive));
        }
        3 => {
            let idle = Command::PruneMembers(PruneBy::Idle { joined_before: Millis(0) });
            (0..=LONG_OPERATIONS_MAX).for_each(|_| scene.ask(guild, idle.clone()));
        }
        4 => {
            let strangers = STRANGERS_FROM..=STRANGERS_FROM + BULK_MEMBERS_MAX as u64;
            scene.ask(guild, Command::ImportMembers(strangers.map(town::plain_member).collect()));
        }
        _ => {
            let twice = vec![user(5), user(6), user(5)];
            scene.ask(guild, Command::PruneMembers(PruneBy::Absent(twice)));
        }
    }
}

const LISTENERS: usize = 30;
/// A channel that no town has.
const NEW_CHANNEL: u64 = 900;
/// Users whom nobody knows.
const STRANGERS_FROM: u64 = 1_000_000;
