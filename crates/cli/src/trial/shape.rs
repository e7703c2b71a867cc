//! What a guild on trial looks like: roles, channels, and who holds what, all from a seed and from nothing else.
//!
//! Members have numbers, 0 for the owner; number and user id follow from each other.

use guildhall_proto::limits::BULK_MEMBERS_MAX;
use guildhall_proto::{
    Channel, ChannelId, ChannelKind, Command, GuildId, MemberFlags, Name, NewMember, Nick, Overwrite, OverwriteTarget,
    Permissions, Role, RoleId, UserId,
};

use super::rights::Rights;
use crate::random::Random;

/// The guild as it begins.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) guild: GuildId,
    pub(crate) members: u64,
    pub(crate) seed: u64,
}

impl Shape {
    pub(crate) fn owner() -> UserId {
        Self::user(0)
    }

    /// The user of this number: ascending, with uneven gaps, like snowflakes.
    pub(crate) fn user(number: u64) -> UserId {
        let spread = Random::new(0, number).below(USER_GAP);
        UserId::new(USERS_FROM + number * USER_GAP + spread).expect("far from both ends")
    }

    /// The number of a user, whoever that is.
    pub(crate) fn number(user: UserId) -> u64 {
        user.get().saturating_sub(USERS_FROM) / USER_GAP
    }

    pub(crate) fn role(idx: u64) -> RoleId {
        RoleId::new(ROLES_FROM + idx).expect("far from both ends")
    }

    pub(crate) fn channel(idx: u64) -> ChannelId {
        ChannelId::new(CHANNELS_FROM + idx).expect("far from both ends")
    }

    /// The number of a channel of this shape, those made later among them.
    pub(crate) fn channel_idx(channel: ChannelId) -> usize {
        let idx = channel.get().saturating_sub(CHANNELS_FROM);
        usize::try_from(idx).expect("channels are few")
    }

    pub(crate) fn everyone() -> Permissions {
        Permissions::VIEW_CHANNEL | Permissions::SEND_MESSAGES
    }

    /// Whether the member of this number holds the role that is pruned: one in ten, the owner not.
    pub(crate) fn is_lapsed(self, number: u64) -> bool {
        number > 0 && Random::new(self.seed ^ LAPSING, number).below(10) == 0
    }

    /// The roles that a member begins with, ascending: four of a few popular sets and many rare ones.
    pub(crate) fn roles_of(self, number: u64) -> Vec<RoleId> {
        if number == 0 {
            return Vec::new();
        }
        let set = Random::new(self.seed, number).zipf(ROLE_SETS);
        let mut of_set = Random::new(!self.seed, set);
        let mut roles: Vec<RoleId> = Vec::with_capacity(5);
        while roles.len() < 4 {
            let role = Self::role(of_set.zipf(LAPSED));
            if !roles.contains(&role) {
                roles.push(role);
            }
        }
        if self.is_lapsed(number) {
            roles.push(Self::role(LAPSED));
        }
        roles.sort_unstable();
        roles
    }

    pub(crate) fn new_member(self, number: u64) -> NewMember {
        let (user, roles) = (Self::user(number), self.roles_of(number));
        NewMember { user, nick: Self::nick(number), roles, flags: MemberFlags::NONE }
    }

    /// A nick of twelve bytes, or more for very large numbers.
    pub(crate) fn nick(number: u64) -> Nick {
        Nick::parse(&format!("nick{number:08x}")).expect("at most twenty letters and digits are a nick")
    }

    pub(crate) fn name(text: &str) -> Name {
        Name::parse(text).expect("the names of a trial are short words")
    }

    pub(crate) fn roles() -> impl Iterator<Item = Role> {
        (0..ROLES).map(|idx| Self::new_role(idx, Permissions::NONE))
    }

    pub(crate) fn new_role(idx: u64, permissions: Permissions) -> Role {
        Role {
            id: Self::role(idx),
            name: Self::name("role"),
            position: u16::try_from(idx + 1).expect("roles are few"),
            permissions,
            hoist: false,
            mentionable: true,
        }
    }

    /// The first [`OPEN_CHANNELS`] are everyone's, for ever. Of the others every second is hidden from all but four roles, and the
    /// rest is hidden from one role.
    pub(crate) fn channels(self) -> impl Iterator<Item = (Channel, Vec<Overwrite>)> {
        (0..CHANNELS).map(move |idx| {
            let overwrites = match idx {
                0..OPEN_CHANNELS => Vec::new(),
                _ if idx % 2 == 1 => self.hidden(idx),
                _ => vec![Self::deny(OverwriteTarget::Role(Self::role(idx % 20)))],
            };
            (Self::new_channel(idx), overwrites)
        })
    }

    /// What makes the guild of this name, with its owner as its only member: to be carried out in this order, the others one by one or together.
    pub(crate) fn founding(self, name: &str) -> (Command, impl Iterator<Item = Command>) {
        let owner = self.new_member(0);
        let create = Command::CreateGuild { name: Self::name(name), everyone: Self::everyone(), owner };
        let channels = self.channels().map(|(channel, overwrites)| Command::CreateChannel { channel, overwrites });
        (create, Self::roles().map(Command::CreateRole).chain(channels))
    }

    /// What brings in all other members, as many at once as an import may.
    pub(crate) fn imports(self) -> impl Iterator<Item = Command> {
        (1..self.members).step_by(BULK_MEMBERS_MAX).map(move |from| {
            let to = self.members.min(from + BULK_MEMBERS_MAX as u64);
            Command::ImportMembers((from..to).map(|number| self.new_member(number)).collect())
        })
    }

    /// Who may see what, as the guild begins.
    pub(crate) fn rights(self) -> Rights {
        let everyone = (RoleId::everyone(self.guild), Self::everyone());
        let roles = Self::roles().map(|role| (role.id, role.permissions));
        let channels = self.channels().map(|(channel, overwrites)| (channel.id, overwrites.into()));
        Rights::new(self.guild, Self::owner(), roles.chain([everyone]), channels)
    }

    pub(crate) fn new_channel(idx: u64) -> Channel {
        let name = Self::name("channel");
        Channel { id: Self::channel(idx), name, kind: ChannelKind::Text, parent: None, position: 0 }
    }

    /// Hidden from everyone but four roles, popular and rare ones.
    pub(crate) fn hidden(self, idx: u64) -> Vec<Overwrite> {
        let everyone = Self::deny(OverwriteTarget::Role(RoleId::everyone(self.guild)));
        let mut shown = [idx % 12, idx % 12 + 12 + idx % 7, 40 + idx, 150 + idx % 90].map(Self::role).to_vec();
        shown.sort_unstable();
        shown.dedup();
        let shown = shown.into_iter().map(|role| Self::allow(OverwriteTarget::Role(role)));
        let mut overwrites: Vec<Overwrite> = shown.chain([everyone]).collect();
        overwrites.sort_unstable_by_key(|overwrite| overwrite.target);
        overwrites
    }

    pub(crate) fn allow(target: OverwriteTarget) -> Overwrite {
        Overwrite { target, allow: Permissions::VIEW_CHANNEL, deny: Permissions::NONE }
    }

    pub(crate) fn deny(target: OverwriteTarget) -> Overwrite {
        Overwrite { target, allow: Permissions::NONE, deny: Permissions::VIEW_CHANNEL }
    }
}

/// Roles beside everyone.
pub(crate) const ROLES: u64 = 250;
/// The role that most hold; it is deleted on the way.
pub(crate) const POPULAR: u64 = 0;
/// A rare role that is an administrator's for some of the time.
pub(crate) const STEWARD: u64 = 200;
/// The role whose holders are pruned. Nobody is given it on the way.
pub(crate) const LAPSED: u64 = ROLES - 1;
pub(crate) const CHANNELS: u64 = 100;
/// Channels without overwrites: all members see them and may speak there.
pub(crate) const OPEN_CHANNELS: u64 = 10;
/// Distinct role sets among very many members.
const ROLE_SETS: u64 = 40_000;

const USERS_FROM: u64 = 1 << 40;
const USER_GAP: u64 = 1_000;
const ROLES_FROM: u64 = 1 << 30;
const CHANNELS_FROM: u64 = 1 << 20;
/// Tells what decides on the lapsed from what decides on role sets.
const LAPSING: u64 = 0x6C61_7073_6564;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_and_numbers_follow_from_each_other() {
        for number in [0, 1, 2, 999, 1_000_000, 20_000_000] {
            assert_eq!(Shape::number(Shape::user(number)), number);
        }
    }

    #[test]
    fn roles_are_shared_unevenly_and_one_in_ten_lapses() {
        let shape = Shape { guild: GuildId::MIN, members: 10_000, seed: 1 };
        let holders = |idx| (0..10_000).filter(|number| shape.roles_of(*number).contains(&Shape::role(idx))).count();
        let (popular, lapsed) = (holders(POPULAR), holders(LAPSED));
        assert!(popular > 2_000 && popular > 5 * holders(100), "{popular}");
        assert!((800..1_200).contains(&lapsed), "{lapsed}");
        assert!(shape.roles_of(0).is_empty());
        assert!((1..100).all(|number| shape.roles_of(number).is_sorted()));
    }
}
