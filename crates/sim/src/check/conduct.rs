//! How a client behaves: what it believes of where guilds are, where it looks for them, and how often it asks again.
//!
//! It is not known here what a client should make of what it is told. Held are facts against each other: that belief in a coordinator's word never
//! goes back to an older one; that nothing is sent where the client has no link to, unless somebody has named that node since the link ended; that
//! what is repeated is within the budget.

use std::collections::{BTreeMap, BTreeSet};

use guildhall_cluster::{BudgetConfig, Place};
use guildhall_proto::{GuildId, NodeId};

use super::{Breach, Given, Promise};
use crate::queue::Micros;

/// What is known of one client in one cluster.
#[derive(Debug)]
pub(crate) struct Conduct {
    budget: BudgetConfig,
    since: Micros,
    begun: u64,
    repeated: u64,
    /// What it believed of each guild when it was last seen.
    believed: BTreeMap<GuildId, Place>,
    /// Who was said to have a guild, or has answered for it, since a call last failed to be sent there.
    named: BTreeSet<(NodeId, GuildId)>,
}

impl Conduct {
    pub(crate) const fn new(budget: BudgetConfig, since: Micros) -> Self {
        Self { budget, since, begun: 0, repeated: 0, believed: BTreeMap::new(), named: BTreeSet::new() }
    }

    /// A call begins.
    pub(crate) fn begins(&mut self) {
        self.begun += 1;
    }

    /// A call is sent again, or will be, that has cost a node something: promise 7 of what a client repeats.
    pub(crate) fn repeats(&mut self, now: Micros) -> Result<(), Breach> {
        self.repeated += 1;
        let BudgetConfig { percent, per_second, burst } = self.budget;
        let micros = now.0 - self.since.0;
        let most =
            u64::from(burst) + self.begun * u64::from(percent) / 100 + micros * u64::from(per_second) / 1_000_000;
        Promise::Bounds.require(self.repeated <= most + 1, || {
            format!("a client has repeated {} of {} calls in {micros} µs: {:?}", self.repeated, self.begun, self.budget)
        })
    }

    /// What it believes of a guild, doubted or not; `None` if it has heard nothing, or has forgotten it for want of room.
    pub(crate) fn believes(&mut self, guild: GuildId, word: Option<Place>, given: &Given) -> Result<(), Breach> {
        let Some(word) = word else {
            self.believed.remove(&guild);
            return Ok(());
        };
        let Some(before) = self.believed.insert(guild, word).filter(|before| *before != word) else { return Ok(()) };
        Promise::Ways.require(before.grant < word.grant, || {
            format!("a client knew that guild {guild} is at {before:?}, and now believes that it is at {word:?}")
        })?;
        given.said(guild, word)
    }

    /// It is told that a node has a guild, or the node answers for it.
    pub(crate) fn is_named(&mut self, guild: GuildId, node: NodeId) {
        self.named.insert((node, guild));
    }

    /// It knows that its link to a node has ended.
    pub(crate) fn is_unlinked(&mut self, node: NodeId) {
        self.named.retain(|(named, _)| *named != node);
    }

    /// A node says that it is stopping.
    pub(crate) fn is_declined(&mut self, guild: GuildId, node: NodeId) {
        self.named.remove(&(node, guild));
    }

    /// A call is to go to a node, and there is no link.
    pub(crate) fn goes_nowhere(&mut self, guild: GuildId, node: NodeId) -> Result<(), Breach> {
        Promise::Ways.require(self.named.remove(&(node, guild)), || {
            format!("a call to guild {guild} is to go to {node:?}, and nobody has named it since its link ended")
        })
    }
}

#[cfg(test)]
mod tests {
    use guildhall_proto::{Grant, Instance};

    use super::*;

    const GUILD: GuildId = GuildId::MIN;

    fn place(node: u64, grant: u64) -> Place {
        Place { node: NodeId::new(node).unwrap(), grant: Grant(grant) }
    }

    #[test]
    fn belief_goes_forward_in_what_was_given_unless_it_was_forgotten() {
        let mut given = Given::default();
        for grant in [3, 5] {
            given.in_force(Micros(grant), GUILD, place(grant, grant), Instance(1)).unwrap();
        }
        let mut conduct = Conduct::new(BudgetConfig::default(), Micros(0));
        for believed in [Some(place(3, 3)), Some(place(5, 5)), Some(place(5, 5)), None, Some(place(3, 3))] {
            conduct.believes(GUILD, believed, &given).unwrap();
        }
        conduct.believes(GUILD, Some(place(5, 5)), &given).unwrap();
        assert!(conduct.believes(GUILD, Some(place(3, 3)), &given).is_err());
        assert!(conduct.believes(GUILD, Some(place(1, 6)), &given).is_err(), "nobody gave that");
    }

    #[test]
    fn a_node_without_a_link_is_asked_once_for_each_time_that_it_is_named() {
        let (mut conduct, node) = (Conduct::new(BudgetConfig::default(), Micros(0)), place(1, 1).node);
        assert!(conduct.goes_nowhere(GUILD, node).is_err());
        conduct.is_named(GUILD, node);
        assert!(conduct.goes_nowhere(GUILD, node).is_ok());
        assert!(conduct.goes_nowhere(GUILD, node).is_err());
        conduct.is_named(GUILD, node);
        conduct.is_unlinked(node);
        assert!(conduct.goes_nowhere(GUILD, node).is_err());
    }
}
