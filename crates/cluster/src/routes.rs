//! What a client knows of where guilds are: enough to send most calls to the right node at once, and never believed against better knowledge.
//!
//! A route comes from whoever was asked, or from a node that no longer has the guild and says who does. Of what is said of one guild the
//! highest grant wins, whatever the order in which it is heard: a node that lags behind cannot send a caller back. When a link to a node ends, what
//! is known of its guilds is *doubted*: it is not used any more until somebody says it again, but it still outvotes what is older.
//!
//! Invariants:
//! - the grant of an entry never falls;
//! - `len() <= entries_max`; every entry stands in the queue once. Beyond that the oldest go that nobody has used for a round.

use std::collections::{BTreeMap, VecDeque};

use guildhall_proto::{Grant, GuildId, NodeId};

use crate::Place;

/// How much a client knows at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RoutesConfig {
    /// Guilds. Default 65,536, some 5 MB; at least 1. Less, and calls to guilds beyond it ask for their way first; more takes memory, and the end
    /// of a link looks at all of them.
    pub entries_max: usize,
}

/// Where guilds are, as far as one client knows.
#[derive(Debug)]
pub struct Routes {
    config: RoutesConfig,
    entries: BTreeMap<GuildId, Entry>,
    /// In the order in which they will be looked at for one to forget.
    queue: VecDeque<GuildId>,
}

#[derive(Debug)]
struct Entry {
    node: NodeId,
    grant: Grant,
    is_doubted: bool,
    /// Whether anybody has asked for it since it was last looked at for one to forget.
    is_used: bool,
}

/// What came of hearing where a guild is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Learned {
    /// It is followed from now on.
    News,
    /// It was known, and is believed again if it was doubted.
    Known,
    /// It is older than what is known, or contradicts it under the same grant; nothing changed.
    Stale,
}

impl Routes {
    /// Knows nothing yet.
    pub const fn new(config: RoutesConfig) -> Self {
        Self { config, entries: BTreeMap::new(), queue: VecDeque::new() }
    }

    /// Which node has the guild; `None` if that is not known or doubted, and somebody is to be asked. O(log entries).
    pub fn find(&mut self, guild: GuildId) -> Option<NodeId> {
        let entry = self.entries.get_mut(&guild).filter(|entry| !entry.is_doubted)?;
        entry.is_used = true;
        Some(entry.node)
    }

    /// Somebody says where a guild is. O(log entries).
    pub fn learn(&mut self, guild: GuildId, place: Place) -> Learned {
        let Place { node, grant } = place;
        match self.entries.get_mut(&guild) {
            Some(entry) if grant < entry.grant || grant == entry.grant && node != entry.node => Learned::Stale,
            Some(entry) if grant == entry.grant => {
                entry.is_doubted = false;
                Learned::Known
            }
            Some(entry) => {
                (entry.node, entry.grant, entry.is_doubted) = (node, grant, false);
                Learned::News
            }
            None => {
                self.make_room();
                self.entries.insert(guild, Entry { node, grant, is_doubted: false, is_used: false });
                self.queue.push_back(guild);
                Learned::News
            }
        }
    }

    /// The link to a node has ended, could not be made, or the node says that it is stopping: whatever it has may be elsewhere soon.
    /// To be told once of each end, not by each call that was on the link: O(entries).
    pub fn doubt(&mut self, node: NodeId) {
        for entry in self.entries.values_mut().filter(|entry| entry.node == node) {
            entry.is_doubted = true;
        }
    }

    /// How many guilds it knows of.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether it knows of none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Forgets the oldest that was not used since it was last spared. Each is spared once at most, so it ends.
    fn make_room(&mut self) {
        while self.entries.len() >= self.config.entries_max.max(1) {
            let oldest = self.queue.pop_front().expect("every entry stands in the queue");
            let entry = self.entries.get_mut(&oldest).expect("what stands in the queue is an entry");
            if std::mem::take(&mut entry.is_used) {
                self.queue.push_back(oldest);
            } else {
                self.entries.remove(&oldest);
            }
        }
    }
}

impl Default for RoutesConfig {
    fn default() -> Self {
        Self { entries_max: 65_536 }
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn guild(number: u64) -> GuildId {
        GuildId::new(number).unwrap()
    }

    fn place(node: u64, grant: u64) -> Place {
        Place { node: NodeId::new(node).unwrap(), grant: Grant(grant) }
    }

    fn routes(entries_max: usize) -> Routes {
        Routes::new(RoutesConfig { entries_max })
    }

    #[test]
    fn a_lower_grant_than_is_known_is_not_followed() {
        let mut routes = routes(8);
        assert_eq!(routes.find(guild(1)), None);
        assert_eq!(routes.learn(guild(1), place(2, 5)), Learned::News);
        assert_eq!(routes.learn(guild(1), place(1, 4)), Learned::Stale);
        assert_eq!(routes.learn(guild(1), place(1, 5)), Learned::Stale);
        assert_eq!(routes.find(guild(1)), Some(place(2, 5).node));
        assert_eq!(routes.learn(guild(1), place(3, 6)), Learned::News);
        assert_eq!(routes.find(guild(1)), Some(place(3, 6).node));
    }

    #[test]
    fn what_is_doubted_is_not_used_until_it_is_said_again_and_outvotes_what_is_older() {
        let mut routes = routes(8);
        routes.learn(guild(1), place(2, 5));
        routes.learn(guild(2), place(3, 5));
        routes.doubt(place(2, 0).node);
        assert_eq!(routes.find(guild(1)), None);
        assert_eq!(routes.find(guild(2)), Some(place(3, 5).node), "another node's");
        assert_eq!(routes.learn(guild(1), place(1, 4)), Learned::Stale);
        assert_eq!(routes.find(guild(1)), None);
        assert_eq!(routes.learn(guild(1), place(2, 5)), Learned::Known);
        assert_eq!(routes.find(guild(1)), Some(place(2, 5).node));
    }

    #[test]
    fn what_is_used_stays_when_others_have_to_go() {
        let mut routes = routes(4);
        for number in 1..=100 {
            routes.learn(guild(number), place(1, 1));
            assert!(routes.find(guild(1)).is_some(), "after {number}");
            assert!(routes.len() <= 4);
        }
        assert_eq!(routes.find(guild(50)), None);
    }

    #[derive(Debug, Clone)]
    enum Told {
        Learn(u64, u64),
        Doubt(u64),
        Find(u64),
    }

    proptest! {
        /// Each grant names one node, as a coordinator gives them.
        #[test]
        fn a_guild_is_looked_for_where_the_highest_grant_that_was_heard_says(
            told in vec(prop_oneof![
                4 => (1_u64..6, 0_u64..40).prop_map(|(guild, grant)| Told::Learn(guild, grant)),
                1 => (1_u64..4).prop_map(Told::Doubt),
                2 => (1_u64..6).prop_map(Told::Find),
            ], 0..200),
        ) {
            let mut routes = routes(5);
            let mut model: BTreeMap<u64, (u64, bool)> = BTreeMap::new();
            let node_of = |grant: u64| grant % 3 + 1;
            for told in told {
                match told {
                    Told::Learn(number, grant) => {
                        routes.learn(guild(number), place(node_of(grant), grant));
                        let known = model.entry(number).or_insert((grant, false));
                        if grant >= known.0 {
                            *known = (grant, false);
                        }
                    }
                    Told::Doubt(node) => {
                        routes.doubt(NodeId::new(node).unwrap());
                        for (grant, is_doubted) in model.values_mut() {
                            *is_doubted |= node_of(*grant) == node;
                        }
                    }
                    Told::Find(number) => {
                        let expected = model.get(&number).filter(|(_, is_doubted)| !is_doubted);
                        prop_assert_eq!(routes.find(guild(number)).map(NodeId::get), expected.map(|(grant, _)| node_of(*grant)));
                    }
                }
            }
        }
    }
}
