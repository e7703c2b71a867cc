//! What members take in memory, by part.

use crate::bans::Bans;
use crate::base::NickOrder;
use crate::layers::Layers;

/// Bytes by part; pages and blocks that views share are counted once. Sums over small allocations are estimates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Memory {
    /// The pages of the base and their directory.
    pub pages: usize,
    /// The base's order by nick, where somebody searches by it: 4 bytes a member.
    pub nick_order: usize,
    /// Which roles each role set holds.
    pub role_sets: usize,
    /// Which members hold each role.
    pub holders: usize,
    /// What finds a role set's number, and the sums of the digest; the owner's alone.
    pub role_lookup: usize,
    /// Who is there.
    pub presence: usize,
    /// Changes not yet folded.
    pub overlay: usize,
    /// Who is kept out, and why.
    pub bans: usize,
}

impl Memory {
    pub(crate) fn of(layers: &Layers, bans: &Bans) -> Self {
        Self {
            pages: layers.base.bytes(),
            nick_order: layers.base.nick_order().map_or(0, NickOrder::bytes),
            role_sets: layers.base.sets().bytes(),
            holders: layers.base.holders_bytes(),
            role_lookup: 0,
            presence: layers.presence.bytes(),
            overlay: layers.fresh.bytes() + layers.frozen.bytes(),
            bans: bans.bytes(),
        }
    }

    /// Bytes of all parts.
    pub fn total(&self) -> usize {
        let Self { pages, nick_order, role_sets, holders, role_lookup, presence, overlay, bans } = *self;
        pages + nick_order + role_sets + holders + role_lookup + presence + overlay + bans
    }
}
