//! Roles come and go and change hands, the popular ones most of all, while messages for their holders are under way.

use guildhall_proto::{Command, GuildId, MemberEdit, Millis, OverwriteTarget, Permissions, RoleEdit, RoleId};

use super::{Doing, Known, Scene, Town, Workload, town};
use crate::dice::Dice;
use crate::model::Community;
use crate::queue::Micros;

/// One guild whose roles are never at rest.
#[derive(Debug)]
pub(super) struct Roles {
    town: Town,
}

impl Roles {
    pub(super) fn new(dice: &mut Dice) -> Self {
        Self { town: Town::ordinary(0, dice) }
    }
}

impl Workload for Roles {
    fn name(&self) -> &'static str {
        "roles"
    }

    fn next(&mut self, now: Millis, dice: &mut Dice, known: &Known<'_>, doings: &mut Vec<Doing>) -> Option<Micros> {
        let mut scene = Scene { now, dice, known, doings };
        let Some((guild, known)) = scene.settled(&mut self.town) else { return Some(Micros::millis(20)) };
        scene.keep_listening(guild, known, LISTENERS);
        scene.stir(guild);
        if scene.dice.one_in(2) {
            scene.say(guild, known);
        } else {
            let (actor, command) = (scene.actor(), change(&mut scene, guild, known));
            scene.call(guild, actor, command);
        }
        Some(Micros(scene.dice.below(8_000)))
    }
}

/// What somebody changes about the roles of a guild, or who holds one.
pub(super) fn change(scene: &mut Scene<'_, '_>, guild: GuildId, known: &Community) -> Command {
    let role = scene.role(known);
    match scene.dice.below(16) {
        0 | 1 => {
            // Numbers are few, so that a role is made under the id that one bore until lately.
            let (nth, position) = (scene.dice.below(NUMBERS), scene.dice.within(1, NUMBERS));
            Command::CreateRole(town::new_role(nth, position, permissions(scene.dice)))
        }
        2 => Command::DeleteRole { role },
        3 | 4 => {
            let everyone = RoleId::everyone(guild);
            let mut roles: Vec<RoleId> = known.roles.keys().copied().filter(|role| *role != everyone).collect();
            let by = scene.dice.index(roles.len()).unwrap_or(0);
            roles.rotate_left(by);
            Command::ReorderRoles { positions: roles.into_iter().zip(1..).collect() }
        }
        5..8 => {
            let edit = RoleEdit { permissions: Some(permissions(scene.dice)), ..RoleEdit::default() };
            Command::UpdateRole { role, edit }
        }
        8 | 9 => {
            let overwrite = if scene.dice.one_in(2) { town::allow } else { town::deny };
            let overwrite = overwrite(OverwriteTarget::Role(role), Permissions::VIEW_CHANNEL);
            Command::SetOverwrite { channel: scene.channel(known), overwrite }
        }
        _ => {
            let user = scene.listener(guild, known);
            let mut roles = known.members.get(&user).map_or_else(Vec::new, |member| member.roles.clone());
            match roles.iter().position(|held| *held == role) {
                Some(held) => drop(roles.remove(held)),
                None => roles.push(role),
            }
            Command::UpdateMember { user, edit: MemberEdit { roles: Some(roles), ..MemberEdit::default() } }
        }
    }
}

/// Mostly about what is seen.
fn permissions(dice: &mut Dice) -> Permissions {
    match dice.below(6) {
        0 => Permissions::VIEW_CHANNEL,
        1 | 2 => Permissions::VIEW_CHANNEL | Permissions::SEND_MESSAGES,
        3 => Permissions::MENTION_EVERYONE | Permissions::MANAGE_ROLES,
        4 => Permissions::ADMINISTRATOR,
        _ => Permissions::NONE,
    }
}

const LISTENERS: usize = 60;
/// Roles have numbers below this.
const NUMBERS: u64 = 24;
