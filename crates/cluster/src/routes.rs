//! What a client knows of where guilds are: enough to send most calls to the right node at once, and never believed against better knowledge.
//!
//! A route comes from whoever was asked, or from a node that does not have the guild and says who does. Of what is said of one guild the
//! highest grant wins, whatever the order in which it is heard: a node that lags behind cannot send a caller back. When a link to a node ends, what
//! is known of its guilds is *doubted*: it is not used any more until somebody says it again, but it still outvotes what is older. Meanwhile,
//! and where nothing was said, a guild is looked for at the node that was last seen to answer for it, for it may have been found by a guess.
//!
//! Invariants:
//! - the grant of what was said of a guild never falls;
//! - `len() <= entries_max`; every entry stands in the queue once. Beyond that the oldest go that nobody has used for a round.

use std::collections::{BTreeMap, VecDeque};

use guildhall_proto::{GuildId, NodeId};

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

#[derive(Debug, Default)]
struct Entry {
    /// What was said under the highest grant.
    word: Option<Place>,
    is_doubted: bool,
    /// Who has answered for the guild since there is no word, or since it is doubted.
    seen: Option<NodeId>,
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
    /// It is older than what is known, or contradicts it under the same grant.
    Stale,
}

impl Routes {
    /// Knows nothing yet.
    pub const fn new(config: RoutesConfig) -> Self {
        Self { config, entries: BTreeMap::new(), queue: VecDeque::new() }
    }

    /// Which node has the guild; `None` if that is not known or doubted: then somebody is to be asked, or any node to be tried. O(log entries).
    pub fn find(&mut self, guild: GuildId) -> Option<NodeId> {
        let entry = self.entries.get_mut(&guild)?;
        entry.is_used = true;
        entry.leads_to()
    }

    /// What was said of a guild under the highest grant, doubted or not; `None` if nothing was, or it is forgotten. O(log entries).
    pub fn word(&self, guild: GuildId) -> Option<Place> {
        self.entries.get(&guild)?.word
    }

    /// Somebody says where a guild is. O(log entries).
    pub fn learn(&mut self, guild: GuildId, place: Place) -> Learned {
        let entry = self.entry(guild);
        let learned = match entry.word {
            Some(known) if place == known => Learned::Known,
            #[cfg(feature = "defects")]
            Some(_) if guildhall_proto::Defect::StaleFollowed.is_on() => Learned::News,
            Some(known) if place.grant <= known.grant => return Learned::Stale,
            Some(_) | None => Learned::News,
        };
        (entry.word, entry.is_doubted, entry.seen) = (Some(place), false, None);
        learned
    }

    /// A node that was asked something of a guild does not have it, and says who does. O(log entries).
    pub fn moved(&mut self, guild: GuildId, from: NodeId, to: Place) -> Learned {
        let entry = self.entry(guild);
        entry.seen = entry.seen.filter(|seen| *seen != from);
        self.learn(guild, to)
    }

    /// A node has answered for a guild. That says nothing against better knowledge of who may have it by now. O(log entries).
    pub fn answered(&mut self, guild: GuildId, node: NodeId) {
        let entry = self.entry(guild);
        if entry.word.is_none() || entry.is_doubted {
            entry.seen = Some(node);
        }
    }

    /// The link to a node has ended: whatever it has may be elsewhere soon. To be told once of each end, not by each call that was on the link:
    /// O(entries).
    pub fn doubt(&mut self, node: NodeId) {
        #[cfg(feature = "defects")]
        if guildhall_proto::Defect::DoubtedFollowed.is_on() {
            return;
        }
        self.entries.values_mut().for_each(|entry| entry.doubt(node));
    }

    /// A guild was looked for at a node to which there is no link, or which says that it is stopping: the guild may be elsewhere soon. O(log entries).
    pub fn doubt_of(&mut self, guild: GuildId, node: NodeId) {
        #[cfg(feature = "defects")]
        if guildhall_proto::Defect::DoubtedFollowed.is_on() {
            return;
        }
        if let Some(entry) = self.entries.get_mut(&guild) {
            entry.doubt(node);
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

    fn entry(&mut self, guild: GuildId) -> &mut Entry {
        if !self.entries.contains_key(&guild) {
            self.make_room();
            self.queue.push_back(guild);
        }
        self.entries.entry(guild).or_default()
    }

    /// Forgets the oldest that was not used since it was last spared. Each is spared once at most, so it ends.
    fn make_room(&mut self) {
        #[cfg(feature = "defects")]
        if guildhall_proto::Defect::RoutesUnbounded.is_on() {
            return;
        }
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

impl Entry {
    fn doubt(&mut self, node: NodeId) {
        self.is_doubted |= self.word.is_some_and(|word| word.node == node);
        self.seen = self.seen.filter(|seen| *seen != node);
    }

    fn leads_to(&self) -> Option<NodeId> {
        self.word.filter(|_| !self.is_doubted).map(|word| word.node).or(self.seen)
    }
}

impl Default for RoutesConfig {
    fn default() -> Self {
        Self { entries_max: 65_536 }
    }
}

#[cfg(test)]
mod tests {
    use guildhall_proto::Grant;
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
    fn who_was_found_by_a_guess_is_remembered_until_somebody_knows_better() {
        let [one, two] = [1, 2].map(|number| NodeId::new(number).unwrap());
        let mut routes = routes(8);
        routes.answered(guild(1), one);
        assert_eq!(routes.find(guild(1)), Some(one));
        assert_eq!(routes.learn(guild(1), place(2, 5)), Learned::News);
        routes.answered(guild(1), one);
        assert_eq!(routes.find(guild(1)), Some(two), "an answer that was long under way");
        // The node restarts: it is not known who has the guild until somebody answers for it.
        routes.doubt(two);
        assert_eq!(routes.find(guild(1)), None);
        routes.answered(guild(1), one);
        assert_eq!(routes.find(guild(1)), Some(one));
        // And that one is wrong by now, and lags too: it is not asked again.
        assert_eq!(routes.moved(guild(1), one, place(3, 4)), Learned::Stale);
        assert_eq!(routes.find(guild(1)), None);
        routes.answered(guild(1), one);
        assert_eq!(routes.moved(guild(1), one, place(2, 5)), Learned::Known);
        assert_eq!(routes.find(guild(1)), Some(two));
        routes.doubt(two);
        routes.answered(guild(1), one);
        routes.doubt(one);
        assert_eq!(routes.find(guild(1)), None);
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
        Answered(u64, u64),
        Doubt(u64),
        DoubtOf(u64, u64),
        Find(u64),
    }

    proptest! {
        /// Each grant names one node, as a coordinator gives them.
        #[test]
        fn a_guild_is_looked_for_where_the_highest_grant_that_was_heard_says(
            told in vec(prop_oneof![
                4 => (1_u64..6, 0_u64..40).prop_map(|(guild, grant)| Told::Learn(guild, grant)),
                2 => (1_u64..6, 1_u64..4).prop_map(|(guild, node)| Told::Answered(guild, node)),
                1 => (1_u64..4).prop_map(Told::Doubt),
                1 => (1_u64..6, 1_u64..4).prop_map(|(guild, node)| Told::DoubtOf(guild, node)),
                2 => (1_u64..6).prop_map(Told::Find),
            ], 0..200),
        ) {
            let mut routes = routes(5);
            // The highest grant that was heard of each guild, where it is not doubted, and who answered last since there is none.
            let mut model: BTreeMap<u64, (Option<u64>, bool, Option<u64>)> = BTreeMap::new();
            let node_of = |grant: u64| grant % 3 + 1;
            for told in told {
                match told {
                    Told::Learn(number, grant) => {
                        routes.learn(guild(number), place(node_of(grant), grant));
                        let known = model.entry(number).or_default();
                        if Some(grant) >= known.0 {
                            *known = (Some(grant), false, None);
                        }
                    }
                    Told::Answered(number, node) => {
                        routes.answered(guild(number), NodeId::new(node).unwrap());
                        let known = model.entry(number).or_default();
                        if known.0.is_none() || known.1 {
                            known.2 = Some(node);
                        }
                    }
                    Told::Doubt(node) => {
                        routes.doubt(NodeId::new(node).unwrap());
                        for (grant, is_doubted, seen) in model.values_mut() {
                            *is_doubted |= grant.is_some_and(|grant| node_of(grant) == node);
                            *seen = seen.filter(|seen| *seen != node);
                        }
                    }
                    Told::DoubtOf(number, node) => {
                        routes.doubt_of(guild(number), NodeId::new(node).unwrap());
                        if let Some((grant, is_doubted, seen)) = model.get_mut(&number) {
                            *is_doubted |= grant.is_some_and(|grant| node_of(grant) == node);
                            *seen = seen.filter(|seen| *seen != node);
                        }
                    }
                    Told::Find(number) => {
                        let expected = match model.get(&number).copied().unwrap_or_default() {
                            (Some(grant), false, _) => Some(node_of(grant)),
                            (_, _, seen) => seen,
                        };
                        prop_assert_eq!(routes.find(guild(number)).map(NodeId::get), expected);
                        let word = model.get(&number).and_then(|known| known.0);
                        prop_assert_eq!(routes.word(guild(number)).map(|place| place.grant.0), word);
                    }
                }
            }
        }
    }
}
