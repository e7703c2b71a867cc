//! The end of a run: everything is healed and comes to rest, is asked and looked at whole, loses its power once more, and the same again.

use guildhall_cluster::Coordinator;
use guildhall_proto::{Actor, Command, GuildEdit};

use super::client::Client;
use super::machine::{End, Machine};
use super::message::Happening;
use super::node::Node;
use super::watch::Watch;
use super::{What, World};
use crate::check::{Breach, EarId, Promise};
use crate::queue::Micros;
use crate::workload::{CallAs, Pace};

impl World {
    /// Runs the world for so many happenings, heals it, and sees whether what was promised holds.
    pub(crate) fn run(&mut self, steps: u64) -> Result<(), Breach> {
        while self.steps < steps {
            if !self.step()? {
                break;
            }
        }
        self.heal()?;
        self.settle()?;
        self.probe()?;
        for machine in 0..self.machines.len() {
            self.process_ends(machine, End::PowerCut)?;
        }
        self.settle()?;
        self.probe()?;
        self.rest()
    }

    /// Heals everything: from now on nothing goes wrong, and nobody asks for anything new.
    fn heal(&mut self) -> Result<(), Breach> {
        self.is_healed = true;
        self.remember(What::Healed);
        self.wire.mend_all();
        self.wire.duplicated_percent = 0;
        for machine in 0..self.machines.len() {
            let mended = &mut self.machines[machine];
            mended.slowness = 1;
            mended.empty();
            mended.unrot();
            mended.disarm();
        }
        for node in 0..self.nodes.len() {
            self.nodes[node].hasten();
            self.wire.later(Micros(0), Happening::Unpause { node });
            if self.nodes[node].has_left {
                self.join(node)?;
            }
        }
        let readers: Vec<(usize, EarId)> = (0..self.backends.len())
            .flat_map(|backend| self.backends[backend].seats.keys().map(move |seat| (backend, *seat)))
            .collect();
        for (backend, seat) in readers {
            self.set_pace(backend, seat, Pace::Fast);
        }
        for known in self.sessions.values_mut() {
            known.pace = Pace::Fast;
        }
        Ok(())
    }

    /// Goes on until nothing is under way any more.
    fn settle(&mut self) -> Result<(), Breach> {
        let deadline = self.wire.now.plus(SETTLED_WITHIN);
        let most = self.steps + SETTLED_WITHIN_STEPS;
        loop {
            let unrest = self.unrest();
            let Err(unrest) = unrest else { return self.owners_are_latest() };
            if self.wire.now > deadline || self.steps > most {
                return Err(Promise::Liveness.breach(format!("it does not come to rest: {unrest}")));
            }
            let mut happens = true;
            for _ in 0..64 {
                happens = happens && self.step()?;
            }
            if let Err(unrest) = self.unrest()
                && !happens
            {
                return Err(Promise::Liveness.breach(format!("nothing happens any more: {unrest}")));
            }
        }
    }

    /// At rest every node has heard where guilds are: who goes on as an owner is the latest that its guild has had.
    fn owners_are_latest(&self) -> Result<(), Breach> {
        let owners = self.nodes.iter().flat_map(Node::owners).map(|owner| owner.owned);
        owners.into_iter().try_for_each(|owned| {
            Promise::OneOwner.require(self.watch.ledger.is_latest(owned.guild, owned.epoch), || {
                format!("{owned:?} goes on, and its guild has had a later owner")
            })
        })
    }

    fn unrest(&self) -> Result<(), String> {
        if let Some(down) = self.machines.iter().position(|machine| !machine.is_up()) {
            return Err(format!("machine {down} is down"));
        }
        let calls: usize = self.clients.iter().map(Client::calls).sum();
        if calls > 0 {
            return Err(format!("{calls} calls are under way"));
        }
        if !self.wire.is_whole(&self.hosts(), self.nodes.len()) {
            return Err("a link does not stand".to_owned());
        }
        for node in &self.nodes {
            let placement = self.machines[node.machine].coordinator().map(Coordinator::placement);
            if placement.is_some_and(|placement| placement.revision() != node.placement().revision()) {
                return Err("a node has not heard of the placement".to_owned());
            }
        }
        if let Some(node) = self.nodes.iter().position(|node| !node.is_quiet() || node.is_paused()) {
            return Err(format!("node {node} has something under way"));
        }
        (0..self.backends.len()).try_for_each(|backend| self.is_backend_quiet(backend))
    }

    /// Asks every guild something, and looks at it whole.
    fn probe(&mut self) -> Result<(), Breach> {
        self.is_probed = true;
        for guild in self.guilds.clone() {
            let nothing = Command::UpdateGuild(GuildEdit { name: None });
            self.call(guild, Actor::System, nothing, CallAs::Fresh)?;
        }
        self.settle()?;
        self.is_probed = false;
        for guild in self.guilds.clone() {
            if let Some(owner) = self.placed(guild).and_then(|node| self.nodes[node].owner(guild)) {
                self.watch.ledger.compare(guild, owner.view())?;
            }
        }
        Ok(())
    }

    /// Some time goes by, and what was for a session has been heard.
    fn rest(&mut self) -> Result<(), Breach> {
        let until = self.wire.now.plus(Micros::seconds(6));
        while self.wire.now < until && self.step()? {}
        self.settle()?;
        self.machines.iter().try_for_each(Machine::check_records_at_rest)?;
        let Watch { ledger, ears, .. } = &mut self.watch;
        ledger.chronicle.iter().try_for_each(|(_, annals)| ears.rests(annals))
    }
}

/// How long everything may take to come to rest once nothing goes wrong.
const SETTLED_WITHIN: Micros = Micros::seconds(240);
/// The same, in happenings.
const SETTLED_WITHIN_STEPS: u64 = 400_000;
