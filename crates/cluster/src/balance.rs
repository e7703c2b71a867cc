//! Which shards change hands when nodes come or go.
//!
//! Of any two nodes the one has at most one shard more than the other. No more shards move than must: those whose node is gone, and what a node has
//! beyond its share. The same rows and nodes give the same moves.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use guildhall_proto::NodeId;

use crate::{SHARDS, Shard};

/// The moves that spread all shards over `nodes`, ascending by shard. None if there are no nodes.
///
/// `held` names the node of each shard, in order.
pub(crate) fn moves(
    held: impl Iterator<Item = Option<NodeId>>,
    nodes: impl Iterator<Item = NodeId>,
) -> BTreeMap<Shard, NodeId> {
    let mut shards: BTreeMap<NodeId, Vec<Shard>> = nodes.map(|node| (node, Vec::new())).collect();
    let mut free = BTreeSet::new();
    for (shard, node) in Shard::all().zip(held) {
        match node.and_then(|node| shards.get_mut(&node)) {
            Some(of_node) => of_node.push(shard),
            None => drop(free.insert(shard)),
        }
    }
    if shards.is_empty() {
        return BTreeMap::new();
    }
    let (share, extra) = (SHARDS / shards.len(), SHARDS % shards.len());
    // Who has most keeps one of those that are left over: so the fewest move.
    let mut by_size: Vec<NodeId> = shards.keys().copied().collect();
    by_size.sort_by_key(|node| Reverse(shards[node].len()));
    // By how many shards a node lacks, most first: so what a dead node leaves is taken by all in turn.
    let mut wanting: BTreeSet<(usize, NodeId)> = BTreeSet::new();
    for (nth, node) in by_size.into_iter().enumerate() {
        let quota = share + usize::from(nth < extra);
        let of_node = shards.get_mut(&node).expect("the list was made of the map's keys");
        let keeps = of_node.len().min(quota);
        free.extend(of_node.drain(keeps..));
        if keeps < quota {
            wanting.insert((quota - keeps, node));
        }
    }
    let take = |shard| {
        let (lacks, node) = wanting.pop_last().expect("the quotas add up to all shards");
        if lacks > 1 {
            wanting.insert((lacks - 1, node));
        }
        (shard, node)
    };
    free.into_iter().map(take).collect()
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn node(number: u64) -> NodeId {
        NodeId::new(number).unwrap()
    }

    fn counts(held: &[Option<NodeId>]) -> BTreeMap<NodeId, usize> {
        let mut counts = BTreeMap::new();
        for node in held.iter().flatten() {
            *counts.entry(*node).or_default() += 1;
        }
        counts
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn shards_are_spread_evenly_with_the_fewest_moves(
            held in vec(proptest::option::of(1_u64..8), SHARDS),
            skew in 0..SHARDS,
            alive in proptest::collection::btree_set(1_u64..12, 0..8),
        ) {
            let mut held: Vec<Option<NodeId>> = held.into_iter().map(|number| number.map(node)).collect();
            held[..skew].fill(Some(node(3)));
            let alive: BTreeSet<NodeId> = alive.into_iter().map(node).collect();
            let moves = moves(held.iter().copied(), alive.iter().copied());

            let mut after = held.clone();
            for (shard, to) in &moves {
                prop_assert!(after[shard.index()] != Some(*to), "{shard:?} moves to where it is");
                after[shard.index()] = Some(*to);
            }
            if alive.is_empty() {
                prop_assert!(moves.is_empty());
                return Ok(());
            }
            let counts_after = counts(&after);
            let (share, extra) = (SHARDS / alive.len(), SHARDS % alive.len());
            for node in &alive {
                let has = counts_after.get(node).copied().unwrap_or_default();
                prop_assert!(has == share || has == share + 1, "{node:?} has {has}");
            }
            prop_assert_eq!(counts_after.keys().copied().collect::<BTreeSet<_>>(), alive.clone());

            // What must move whatever is decided: the orphans, and what lies beyond the larger share, or beyond the smaller where the larger shares
            // are used up.
            let counts_before = counts(&held);
            let kept = alive.iter().map(|node| counts_before.get(node).copied().unwrap_or_default());
            let mut kept: Vec<usize> = kept.collect();
            kept.sort_unstable_by(|left, right| right.cmp(left));
            let kept = kept.into_iter().enumerate().map(|(nth, has)| has.min(share + usize::from(nth < extra)));
            prop_assert_eq!(moves.len(), SHARDS - kept.sum::<usize>());
        }
    }

    #[test]
    fn what_a_dead_node_leaves_is_taken_by_all_others_in_turn() {
        let held: Vec<_> = (0..SHARDS).map(|shard| Some(node(shard as u64 % 4 + 1))).collect();
        let moves = moves(held.into_iter(), [node(2), node(3), node(4)].into_iter());
        assert_eq!(moves.len(), SHARDS / 4);
        let first: BTreeSet<NodeId> = moves.values().take(3).copied().collect();
        assert_eq!(first.len(), 3, "the first three go to three nodes");
    }
}
