//! Who is alive and who owns what, at one revision of a coordinator.
//!
//! Each guild lies in a shard, and each shard has a row: its node, and the grant under which that may claim its guilds. A pin is a row of one
//! guild's own, which wins over that of its shard. A coordinator changes a placement by the methods here; everybody else has copies, which cost
//! some pointers, and looks guilds up in them without asking anybody.
//!
//! Invariants:
//! - a row's grant is the revision at which it was written, so of one guild the grant never falls, whichever rows it is found by:
//!   where a pin goes, the row of its shard is written anew;
//! - a row's node is alive, and was in the same run when the row was written: where a node begins a new run, its rows are written anew, so that
//!   the run before is refused by the store;
//! - while any node is alive every shard has a row, and of any two nodes the one has at most one shard more than the other.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use guildhall_proto::{Grant, GuildId, Instance, NodeId};

use crate::balance::moves;
use crate::{SHARDS, Shard};

/// The answer in force, up to a revision. Clones share what they have in common.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placement {
    revision: Revision,
    peers: Arc<BTreeMap<NodeId, Peer>>,
    shards: Arc<[Option<Place>]>,
    pins: im::OrdMap<GuildId, Place>,
}

/// Rises by one with each change of a placement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Revision(pub u64);

/// Where a guild is to be, and by whose leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The node that may claim it.
    pub node: NodeId,
    /// With which grant.
    pub grant: Grant,
}

/// What a placement says to one run of a node that may have a guild, or has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leave {
    /// The guild is to be here, and may be claimed by this grant.
    Given(Grant),
    /// It is to be at another node.
    Elsewhere(Place),
    /// It is to be at a later run of this node.
    Outlived,
    /// No node is alive.
    Nowhere,
}

/// A node that is alive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Which run of it.
    pub instance: Instance,
    /// Where it is dialed, the best first.
    pub addresses: Vec<SocketAddr>,
}

/// What came of a node's joining.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Joined {
    /// It was not there.
    New,
    /// An earlier run of it was there, and is shut out now.
    Anew(Instance),
    /// It was there. Its addresses are those that it names now.
    Before,
}

/// What came of a node's leaving.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Left {
    /// It is gone, and the others have its shards.
    Now,
    /// That run of it was not there any more. Nothing changed.
    Before,
}

/// The node is not alive, so nothing can be placed there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{node:?} is not alive")]
pub struct UnknownNode {
    /// Which was named.
    pub node: NodeId,
}

/// One thing in which two placements differ, as it is in the later one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A node has come, or changed; `None` if it has gone.
    Peer {
        /// Which.
        node: NodeId,
        /// What is known of it.
        peer: Option<Peer>,
    },
    /// A shard's row was written; `None` if no node is alive to have it. Its pinned guilds stay where they are.
    Shard {
        /// Which.
        shard: Shard,
        /// Where it is.
        place: Option<Place>,
    },
    /// A pin was written; `None` if it is gone, and its shard's row, written since, is the one that holds.
    Pin {
        /// Whose.
        guild: GuildId,
        /// Where it is.
        place: Option<Place>,
    },
}

impl Leave {
    /// Whether an owner goes on that claimed its guild by a grant: not if the guild is to be elsewhere, nor by another grant here, for between the
    /// two it may have been another's, and may have been claimed.
    pub fn is_for(self, claimed: Grant) -> bool {
        #[cfg(feature = "defects")]
        if guildhall_proto::Defect::MovedKept.is_on() {
            return true;
        }
        self == Self::Given(claimed)
    }
}

impl Placement {
    /// One without nodes, that will give grants above `above`: above all that the store has seen.
    pub fn new(above: Grant) -> Self {
        Self {
            revision: Revision(above.0),
            peers: Arc::default(),
            shards: vec![None; SHARDS].into(),
            pins: im::OrdMap::new(),
        }
    }

    /// That of its last change.
    pub const fn revision(&self) -> Revision {
        self.revision
    }

    /// Where a guild is to be; `None` while no node is alive. O(log pins).
    pub fn find(&self, guild: GuildId) -> Option<Place> {
        self.pins.get(&guild).copied().or_else(|| self.shard(Shard::of(guild)))
    }

    /// The grant by which one run of a node may claim a guild, if it [may](Self::leave_to). O(log nodes + log pins).
    pub fn grant(&self, guild: GuildId, node: NodeId, instance: Instance) -> Option<Grant> {
        match self.leave_to(guild, node, instance) {
            Leave::Given(grant) => Some(grant),
            Leave::Elsewhere(_) | Leave::Outlived | Leave::Nowhere => None,
        }
    }

    /// Whether one run of a node may claim a guild. O(log nodes + log pins).
    pub fn leave_to(&self, guild: GuildId, node: NodeId, instance: Instance) -> Leave {
        match self.find(guild) {
            #[cfg(feature = "defects")]
            Some(place) if guildhall_proto::Defect::GrantBorrowed.is_on() => Leave::Given(place.grant),
            Some(place) if place.node != node => Leave::Elsewhere(place),
            Some(place) if self.peer(node).is_some_and(|peer| peer.instance == instance) => Leave::Given(place.grant),
            Some(_) => Leave::Outlived,
            None => Leave::Nowhere,
        }
    }

    /// The row of a shard; `None` while no node is alive.
    pub fn shard(&self, shard: Shard) -> Option<Place> {
        self.shards[shard.index()]
    }

    /// The pinned guilds, ascending.
    pub fn pins(&self) -> impl Iterator<Item = (GuildId, Place)> {
        self.pins.iter().map(|(guild, place)| (*guild, *place))
    }

    /// A node; `None` if it is not alive.
    pub fn peer(&self, node: NodeId) -> Option<&Peer> {
        self.peers.get(&node)
    }

    /// The nodes that are alive, ascending.
    pub fn peers(&self) -> impl Iterator<Item = (NodeId, &Peer)> {
        self.peers.iter().map(|(node, peer)| (*node, peer))
    }

    /// A node is alive: it is given its share of the shards, those of the dead first. One that was there in another run gets the same again
    /// under new grants.
    pub fn join(&mut self, node: NodeId, peer: Peer) -> Joined {
        let known = self.peers.get(&node);
        if known == Some(&peer) {
            return Joined::Before;
        }
        let before = known.map(|known| known.instance);
        let instance = peer.instance;
        let grant = self.next();
        Arc::make_mut(&mut self.peers).insert(node, peer);
        match before {
            Some(before) if before == instance => Joined::Before,
            Some(before) => {
                self.write_anew(node, grant);
                Joined::Anew(before)
            }
            None => {
                self.balance(grant);
                Joined::New
            }
        }
    }

    /// A run of a node is over: it has stopped, or somebody has seen that it is dead. The others are given its shards, and what was pinned there lies
    /// with its shard again.
    pub fn leave(&mut self, node: NodeId, instance: Instance) -> Left {
        if self.peers.get(&node).is_none_or(|peer| peer.instance != instance) {
            return Left::Before;
        }
        let grant = self.next();
        Arc::make_mut(&mut self.peers).remove(&node);
        for guild in self.pinned_to(node) {
            self.remove_pin(guild, grant);
        }
        self.balance(grant);
        Left::Now
    }

    /// Places one guild by itself. If it is pinned there already, its grant stays as it is.
    ///
    /// # Errors
    /// [`UnknownNode`]; nothing changed.
    pub fn pin(&mut self, guild: GuildId, node: NodeId) -> Result<Place, UnknownNode> {
        if !self.peers.contains_key(&node) {
            return Err(UnknownNode { node });
        }
        if let Some(place) = self.pins.get(&guild).filter(|place| place.node == node) {
            return Ok(*place);
        }
        let place = Place { node, grant: self.next() };
        self.pins.insert(guild, place);
        Ok(place)
    }

    /// Places a guild with its shard again, whose row is written anew, and returns that. Of one that is not pinned nothing changes.
    pub fn unpin(&mut self, guild: GuildId) -> Option<Place> {
        if self.pins.contains_key(&guild) {
            let grant = self.next();
            self.remove_pin(guild, grant);
        }
        self.find(guild)
    }

    /// In what this differs from an earlier placement of the same coordinator. What was between the two is not told: only what holds.
    ///
    /// O(pins) where pins differ, and most often only what differs of them; O([`SHARDS`]) where shards differ.
    pub fn changes_since(&self, before: &Self) -> Vec<Change> {
        let mut changes = Vec::new();
        if !Arc::ptr_eq(&self.peers, &before.peers) {
            let gone = before.peers.keys().filter(|node| !self.peers.contains_key(node));
            changes.extend(gone.map(|node| Change::Peer { node: *node, peer: None }));
            let written = self.peers.iter().filter(|(node, peer)| before.peers.get(node) != Some(peer));
            changes.extend(written.map(|(node, peer)| Change::Peer { node: *node, peer: Some(peer.clone()) }));
        }
        if !Arc::ptr_eq(&self.shards, &before.shards) {
            let written = Shard::all().filter(|shard| self.shard(*shard) != before.shard(*shard));
            changes.extend(written.map(|shard| Change::Shard { shard, place: self.shard(shard) }));
        }
        changes.extend(before.pins.diff(&self.pins).map(|item| match item {
            im::ordmap::DiffItem::Add(guild, place) => Change::Pin { guild: *guild, place: Some(*place) },
            im::ordmap::DiffItem::Update { new: (guild, place), .. } => {
                Change::Pin { guild: *guild, place: Some(*place) }
            }
            im::ordmap::DiffItem::Remove(guild, _) => Change::Pin { guild: *guild, place: None },
        }));
        changes
    }

    /// Begins a change.
    fn next(&mut self) -> Grant {
        self.revision.0 += 1;
        Grant(self.revision.0)
    }

    fn balance(&mut self, grant: Grant) {
        let moves = moves(self.shards.iter().map(|row| row.map(|place| place.node)), self.peers.keys().copied());
        let shards = Arc::make_mut(&mut self.shards);
        if self.peers.is_empty() {
            shards.fill(None);
        }
        for (shard, node) in moves {
            shards[shard.index()] = Some(Place { node, grant });
        }
    }

    /// Writes all rows of a node that stay where they are.
    fn write_anew(&mut self, node: NodeId, grant: Grant) {
        for row in Arc::make_mut(&mut self.shards).iter_mut().flatten().filter(|row| row.node == node) {
            row.grant = grant;
        }
        for guild in self.pinned_to(node) {
            self.pins.insert(guild, Place { node, grant });
        }
    }

    fn pinned_to(&self, node: NodeId) -> Vec<GuildId> {
        self.pins().filter(|(_, place)| place.node == node).map(|(guild, _)| guild).collect()
    }

    fn remove_pin(&mut self, guild: GuildId, grant: Grant) {
        self.pins.remove(&guild);
        #[cfg(feature = "defects")]
        if guildhall_proto::Defect::GrantFalls.is_on() {
            return;
        }
        if let Some(row) = &mut Arc::make_mut(&mut self.shards)[Shard::of(guild).index()] {
            row.grant = grant;
        }
    }
}
