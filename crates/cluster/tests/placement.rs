//! Random histories of a placement against what a naive reader of its rules expects.

#![expect(clippy::unwrap_used, reason = "the helpers of a test fail as the test does")]

use std::collections::{BTreeMap, BTreeSet};

use guildhall_cluster::{Change, Joined, Left, Peer, Place, Placement, SHARDS, Shard, UnknownNode};
use guildhall_proto::{Grant, GuildId, Instance, NodeId};
use proptest::collection::vec;
use proptest::prelude::*;

const GUILDS: u64 = 40;
const ABOVE: u64 = 1_000;

#[derive(Debug, Clone)]
enum Op {
    Join { node: u64, instance: u64, port: u16 },
    Leave { node: u64, instance: u64 },
    Pin { guild: u64, node: u64 },
    Unpin { guild: u64 },
}

fn op() -> impl Strategy<Value = Op> {
    let (node, instance, guild) = (1_u64..6, 1_u64..4, 1..=GUILDS);
    prop_oneof![
        3 => (node.clone(), instance.clone(), 1_u16..3).prop_map(|(node, instance, port)| Op::Join { node, instance, port }),
        2 => (node.clone(), instance).prop_map(|(node, instance)| Op::Leave { node, instance }),
        4 => (guild.clone(), node).prop_map(|(guild, node)| Op::Pin { guild, node }),
        2 => guild.prop_map(|guild| Op::Unpin { guild }),
    ]
}

fn guild(number: u64) -> GuildId {
    GuildId::new(number).unwrap()
}

fn node(number: u64) -> NodeId {
    NodeId::new(number).unwrap()
}

fn peer(instance: u64, port: u16) -> Peer {
    Peer { instance: Instance(instance), addresses: vec![([127, 0, 0, 1], port).into()] }
}

/// What whoever knows the rules, and not how they are kept, expects.
#[derive(Debug, Clone, Default)]
struct Model {
    alive: BTreeMap<u64, (u64, u16)>,
    pins: BTreeMap<u64, u64>,
    /// The highest grant that was ever seen of a guild, or none yet.
    grants: BTreeMap<u64, Grant>,
    /// To which run of which node each grant was given: to no other, ever.
    given: BTreeMap<(u64, Grant), (NodeId, Instance)>,
}

impl Model {
    /// Does the same, and says whether anything is to change.
    fn apply(&mut self, op: &Op, placement: &mut Placement) -> bool {
        match *op {
            Op::Join { node: number, instance, port } => {
                let before = self.alive.insert(number, (instance, port));
                let expected = match before {
                    None => Joined::New,
                    Some((before, _)) if before == instance => Joined::Before,
                    Some((before, _)) => Joined::Anew(Instance(before)),
                };
                assert_eq!(placement.join(node(number), peer(instance, port)), expected);
                before != Some((instance, port))
            }
            Op::Leave { node: number, instance } => {
                let is_there = self.alive.get(&number).is_some_and(|(alive, _)| *alive == instance);
                if is_there {
                    self.alive.remove(&number);
                    self.pins.retain(|_, pinned| *pinned != number);
                }
                let expected = if is_there { Left::Now } else { Left::Before };
                assert_eq!(placement.leave(node(number), Instance(instance)), expected);
                is_there
            }
            Op::Pin { guild: pinned, node: number } => {
                let pin = placement.pin(guild(pinned), node(number));
                if !self.alive.contains_key(&number) {
                    assert_eq!(pin, Err(UnknownNode { node: node(number) }));
                    return false;
                }
                assert_eq!(pin.map(|place| place.node), Ok(node(number)));
                self.pins.insert(pinned, number) != Some(number)
            }
            Op::Unpin { guild: pinned } => {
                let before = self.pins.remove(&pinned);
                let place = placement.unpin(guild(pinned));
                assert_eq!(place.is_some(), !self.alive.is_empty());
                assert_eq!(place, placement.shard(Shard::of(guild(pinned))), "it lies with its shard");
                before.is_some()
            }
        }
    }

    fn check(&mut self, placement: &Placement) {
        let alive: BTreeSet<NodeId> = self.alive.keys().copied().map(node).collect();
        assert!(placement.peers().map(|(node, _)| node).eq(alive.iter().copied()));

        let mut sizes: BTreeMap<NodeId, usize> = alive.iter().map(|node| (*node, 0)).collect();
        for shard in Shard::all() {
            match placement.shard(shard) {
                Some(place) => *sizes.get_mut(&place.node).expect("a row's node is alive") += 1,
                None => assert!(alive.is_empty(), "{shard:?} has no row"),
            }
        }
        let (least, most) = (sizes.values().min(), sizes.values().max());
        assert!(least.zip(most).is_none_or(|(least, most)| most - least <= 1), "{sizes:?}");

        for number in 1..=GUILDS {
            let Some(place) = placement.find(guild(number)) else {
                assert!(alive.is_empty());
                continue;
            };
            match self.pins.get(&number) {
                Some(pinned) => assert_eq!(place.node, node(*pinned)),
                None => assert_eq!(Some(place), placement.shard(Shard::of(guild(number)))),
            }
            let highest = self.grants.entry(number).or_insert(Grant(ABOVE + 1));
            assert!(place.grant >= *highest, "the grant of guild {number} fell from {highest:?} to {:?}", place.grant);
            assert!(place.grant.0 <= placement.revision().0);
            *highest = place.grant;
            let instance = placement.peer(place.node).expect("a row's node is alive").instance;
            let given = *self.given.entry((number, place.grant)).or_insert((place.node, instance));
            assert_eq!(given, (place.node, instance), "one grant is given to two");
            assert_eq!(placement.grant(guild(number), place.node, instance), Some(place.grant));
            assert_eq!(placement.grant(guild(number), place.node, Instance(99)), None);
            for other in alive.iter().filter(|other| **other != place.node) {
                let instance = placement.peer(*other).expect("it is alive").instance;
                assert_eq!(placement.grant(guild(number), *other, instance), None);
            }
        }
    }
}

/// What a reader knows that takes one change after the other.
#[derive(Debug, Default, PartialEq, Eq)]
struct Reader {
    peers: BTreeMap<NodeId, Peer>,
    shards: BTreeMap<Shard, Place>,
    pins: BTreeMap<GuildId, Place>,
}

impl Reader {
    fn of(placement: &Placement) -> Self {
        Self {
            peers: placement.peers().map(|(node, peer)| (node, peer.clone())).collect(),
            shards: Shard::all().filter_map(|shard| Some((shard, placement.shard(shard)?))).collect(),
            pins: placement.pins().collect(),
        }
    }

    fn take(&mut self, change: Change) {
        fn put<K: Ord, V: PartialEq + std::fmt::Debug>(map: &mut BTreeMap<K, V>, key: K, value: Option<V>) {
            let before = match value {
                Some(value) => {
                    let told = map.get(&key) != Some(&value);
                    assert!(told, "a change that is none");
                    map.insert(key, value)
                }
                None => Some(map.remove(&key).expect("what goes was there")),
            };
            drop(before);
        }
        match change {
            Change::Peer { node, peer } => put(&mut self.peers, node, peer),
            Change::Shard { shard, place } => put(&mut self.shards, shard, place),
            Change::Pin { guild, place } => put(&mut self.pins, guild, place),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 120, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_placement_keeps_its_promises_whatever_happens(ops in vec(op(), 1..60), looks in vec(0_usize..60, 3)) {
        let mut placement = Placement::new(Grant(ABOVE));
        let mut model = Model::default();
        let (mut twin, mut of_twin) = (Placement::new(Grant(ABOVE)), Model::default());
        let mut seen = vec![placement.clone()];
        for op in &ops {
            let before = placement.clone();
            let is_changed = model.apply(op, &mut placement);
            prop_assert_eq!(placement.revision().0, before.revision().0 + u64::from(is_changed));
            prop_assert_eq!(placement == before, !is_changed, "a revision and what it is of change together");
            model.check(&placement);
            of_twin.apply(op, &mut twin);
            prop_assert!(placement == twin, "the same changes give the same placement");
            seen.push(placement.clone());
        }
        // A reader that looks now and then comes to the same as one that looks always.
        let mut looks: Vec<usize> = looks.into_iter().map(|look| look % seen.len()).collect();
        looks.push(seen.len() - 1);
        looks.sort_unstable();
        let mut reader = Reader::of(&seen[0]);
        let mut at = 0;
        for look in looks {
            for change in seen[look].changes_since(&seen[at]) {
                reader.take(change);
            }
            prop_assert_eq!(&reader, &Reader::of(&seen[look]));
            at = look;
        }
    }
}

/// Of two placements, the shards that are with another node, and those of a new grant.
fn moved(before: &Placement, after: &Placement) -> (Vec<Shard>, Vec<Shard>) {
    let differ = |differs: fn(Place, Place) -> bool| {
        Shard::all()
            .filter(|shard| before.shard(*shard).zip(after.shard(*shard)).is_some_and(|(old, new)| differs(old, new)))
            .collect()
    };
    (differ(|old, new| old.node != new.node), differ(|old, new| old.grant != new.grant))
}

#[test]
fn who_comes_is_given_its_share_and_who_goes_leaves_its_own_and_nothing_else_moves() {
    let mut placement = Placement::new(Grant(0));
    for number in 1..=9_u64 {
        let before = placement.clone();
        placement.join(node(number), peer(number, 1));
        let (moved, written) = moved(&before, &placement);
        assert_eq!(written, moved, "who stays is not disturbed");
        assert!(moved.iter().all(|shard| placement.shard(*shard).unwrap().node == node(number)));
        let share = SHARDS / number as usize;
        assert!(number == 1 || (share..=share + 1).contains(&moved.len()), "{} of {SHARDS} moved", moved.len());
    }
    for number in 1..9_u64 {
        let before = placement.clone();
        placement.leave(node(number), Instance(number));
        let (moved, written) = moved(&before, &placement);
        assert_eq!(written, moved, "who stays is not disturbed");
        assert!(moved.iter().all(|shard| before.shard(*shard).unwrap().node == node(number)));
    }
    placement.leave(node(9), Instance(9));
    assert_eq!(placement.find(guild(1)), None);
}

#[test]
fn a_node_that_begins_a_new_run_keeps_its_guilds_and_the_run_before_loses_its_leave() {
    let mut placement = Placement::new(Grant(0));
    placement.join(node(1), peer(10, 1));
    placement.join(node(2), peer(20, 1));
    placement.pin(guild(5), node(1)).unwrap();
    let before = placement.clone();
    assert_eq!(placement.join(node(1), peer(11, 1)), Joined::Anew(Instance(10)));
    let (moved, written) = moved(&before, &placement);
    assert_eq!((moved.len(), written.len()), (0, SHARDS / 2));
    let place = placement.find(guild(5)).unwrap();
    assert_eq!(place, Place { node: node(1), grant: Grant(placement.revision().0) });
    assert_eq!(placement.grant(guild(5), node(1), Instance(10)), None);
    assert_eq!(placement.leave(node(1), Instance(10)), Left::Before, "a late word of the run before");
    assert_eq!(placement.grant(guild(5), node(1), Instance(11)), Some(place.grant));
}
