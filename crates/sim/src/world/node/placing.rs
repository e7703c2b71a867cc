//! Where guilds are to be, as coordinators say and as nodes come to hear of it.

use guildhall_cluster::{Coordinator, Peer};
use guildhall_proto::{GuildId, Instance};

use super::World;
use crate::check::Breach;
use crate::queue::Micros;
use crate::world::client::{id_of, index_of};
use crate::world::machine_of;
use crate::world::message::{Happening, Owned};

impl World {
    /// A node of a process that runs is there, in a run that it was not in before.
    pub(in crate::world) fn join(&mut self, node: usize) -> Result<(), Breach> {
        self.named += 1;
        let Self { nodes, machines, named, .. } = self;
        let joining = &mut nodes[node];
        let Some(coordinator) = machines[joining.machine].coordinator() else { return Ok(()) };
        (joining.instance, joining.has_left) = (Instance(*named), false);
        coordinator.join(id_of(node), Peer { instance: joining.instance, addresses: Vec::new() });
        joining.placement = coordinator.placement();
        let machine = joining.machine;
        self.ring(machine)
    }

    /// A node is no part of its cluster any more: it says so itself, or somebody has seen that it is dead.
    pub(in crate::world) fn unjoin(&mut self, node: usize) -> Result<(), Breach> {
        let leaving = &self.nodes[node];
        let machine = leaving.machine;
        if let Some(coordinator) = self.machines[machine].coordinator() {
            coordinator.leave(id_of(node), leaving.instance);
        }
        self.ring(machine)
    }

    /// Places a guild at a node of its machine by itself, or with its shard again.
    pub(in crate::world) fn place_guild(&mut self, guild: GuildId, at: Option<usize>) -> Result<(), Breach> {
        let machine = self.machine_of(guild);
        let Some(coordinator) = self.machines[machine].coordinator() else { return Ok(()) };
        let before = coordinator.placement().find(guild);
        let placed = match at {
            // One that is not alive gets nothing.
            Some(node) => coordinator.pin(guild, id_of(node)).ok(),
            None => coordinator.unpin(guild),
        };
        let is_elsewhere = placed.is_some_and(|placed| before.is_some_and(|before| before.node != placed.node));
        self.watch.seen.guilds_moved += u64::from(is_elsewhere);
        self.ring(machine)
    }

    /// The node that a guild is to be at.
    pub(in crate::world) fn placed(&self, guild: GuildId) -> Option<usize> {
        let coordinator = self.machines[self.machine_of(guild)].coordinator()?;
        coordinator.placement().find(guild).map(|place| index_of(place.node))
    }

    /// Has the nodes of a machine hear, each by and by, that its placement has changed, if it has.
    fn ring(&mut self, machine: usize) -> Result<(), Breach> {
        if !self.machines[machine].has_rung() {
            return Ok(());
        }
        self.stir(machine);
        self.note_placement(machine)?;
        let life = self.machines[machine].life;
        for node in self.nodes_of(machine) {
            let most = if self.wire.between(Micros(0), Micros(4)).0 == 0 { HEARD_WITHIN } else { Micros::millis(100) };
            let after = self.wire.between(Micros(200), most);
            self.wire.later(after, Happening::Bell { node, life });
        }
        Ok(())
    }

    /// What a machine's coordinator says is in force from now on; while it has none, nothing is.
    pub(in crate::world) fn note_placement(&mut self, machine: usize) -> Result<(), Breach> {
        let (now, machines) = (self.wire.now, self.machines.len());
        let placement = self.machines[machine].coordinator().map(Coordinator::placement);
        let placed = |guild| {
            let placement = placement.as_ref()?;
            let place = placement.find(guild)?;
            placement.peer(place.node).map(|peer| (place, peer.instance))
        };
        let given = &mut self.watch.given;
        let own = self.guilds.iter().copied().filter(|guild| machine_of(*guild, machines) == machine);
        for guild in own {
            match placed(guild) {
                Some((place, instance)) => given.in_force(now, guild, place, instance)?,
                None => given.ceases(now, guild),
            }
        }
        Ok(())
    }

    /// A node hears that the placement has changed: what it has and is not to have any more, it gives up.
    pub(in crate::world) fn hear_bell(&mut self, node: usize, life: u64) -> Result<(), Breach> {
        let machine = &self.machines[self.nodes[node].machine];
        let Some(coordinator) = machine.coordinator().filter(|_| machine.life == life) else { return Ok(()) };
        let placement = coordinator.placement();
        let hearing = &mut self.nodes[node];
        let is_alive = placement.peer(id_of(node)).is_some_and(|peer| peer.instance == hearing.instance);
        hearing.placement = placement;
        if !is_alive && !hearing.has_left {
            self.watch.seen.taken_for_dead += 1;
            self.join(node)?;
        }
        let awake: Vec<Owned> = self.nodes[node].owners().map(|owner| owner.owned).collect();
        awake.into_iter().try_for_each(|owned| self.leave_if_moved(owned))
    }

    /// An owner whose guild is to be elsewhere, as far as its node knows, lets out what it has taken and ends. So does one whose guild may be
    /// claimed by another grant than it was: between the two it may have been another's, of which only the store would tell.
    pub(super) fn leave_if_moved(&mut self, owned: Owned) -> Result<(), Breach> {
        let node = &self.nodes[owned.node];
        let Some(owner) = node.owner(owned.guild).filter(|owner| owner.owned == owned) else { return Ok(()) };
        if node.leave(owned.guild).is_for(owner.grant) || owner.is_leaving() {
            return Ok(());
        }
        let why = node.grant(owned.guild).err();
        self.watch.seen.granted_anew += u64::from(why.is_none());
        self.watch.seen.zombies += u64::from(!self.watch.ledger.is_latest(owned.guild, owned.epoch));
        self.with_owner(owned, |owner, around| {
            owner.leave(why, around);
            Ok(())
        })
        .map(drop)
    }
}

/// Within which time a node hears that the placement has changed, unless it stands still.
pub(crate) const HEARD_WITHIN: Micros = Micros::millis(1_500);
