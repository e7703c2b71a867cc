//! A guild node: which guilds it has, how they are loaded, and what it does with what arrives.
//!
//! Several nodes may live in one process and share its store, and a coordinator that places its guilds: what a node may claim, and by which
//! grant, is in the placement that it has heard of last. One that stands still is taken for dead, its guilds are another's, and it is shut out
//! by the fence when it goes on.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use guildhall_cluster::{Coordinator, Peer, Placement};
use guildhall_guild::{Guild, GuildConfig};
use guildhall_proto::call::FeedId;
use guildhall_proto::{CommandError, Epoch, Grant, GuildId, Instance, Millis, Position};
use guildhall_store::{Claim, Known, PendingClaim, Store, StoreError};

use super::client::{id_of, index_of};
use super::message::{Answered, Ask, Body, Happening, NoAnswer, Owned};
use super::owner::{Around, End, Owner, OwnerConfig, Posted, reply};
use super::wire::LinkId;
use super::{World, machine_of};
use crate::check::{Breach, Promise, Recovered};
use crate::queue::Micros;

pub(crate) struct Node {
    number: usize,
    pub(crate) machine: usize,
    places: BTreeMap<GuildId, Held>,
    /// Which run of it.
    instance: Instance,
    /// As it has heard of it last.
    placement: Placement,
    /// Whether it has stopped in good order.
    pub(crate) has_left: bool,
    /// What has come while it stands still; `None` while it goes.
    standstill: Option<VecDeque<Happening>>,
    /// How far its clock is ahead, in milliseconds; behind, if that is negative.
    skew: i64,
    pub(crate) config: NodeConfig,
}

/// How a node keeps its guilds.
#[derive(Debug, Clone)]
pub(crate) struct NodeConfig {
    pub(crate) guild: GuildConfig,
    pub(crate) owner: OwnerConfig,
}

/// A guild at a node.
enum Held {
    Loading(Load),
    Awake(Box<Owner>),
}

/// A guild on its way from the store.
struct Load {
    claim: Option<PendingClaim>,
    grant: Grant,
    waiting: Vec<Posted>,
}

impl Load {
    /// Relays that wait for the guild do so no more: nobody would take what they are sent.
    fn unlisten(&mut self, link: LinkId, of: Option<FeedId>) {
        self.waiting.retain(|waiting| !waiting.is_for(link, of));
    }
}

impl Node {
    pub(crate) fn new(number: usize, machine: usize, skew: i64, config: NodeConfig) -> Self {
        Self {
            number,
            machine,
            places: BTreeMap::new(),
            instance: Instance(0),
            placement: Placement::new(Grant(0)),
            has_left: false,
            standstill: None,
            skew,
            config,
        }
    }

    pub(crate) fn owner(&self, guild: GuildId) -> Option<&Owner> {
        match self.places.get(&guild) {
            Some(Held::Awake(owner)) => Some(owner),
            Some(Held::Loading(_)) | None => None,
        }
    }

    pub(crate) fn owners(&self) -> impl Iterator<Item = &Owner> {
        self.places.values().filter_map(|place| match place {
            Held::Awake(owner) => Some(&**owner),
            Held::Loading(_) => None,
        })
    }

    /// Its clock is set to be so far ahead from now on.
    pub(crate) fn set_clock(&mut self, skew: i64) {
        self.skew = skew;
    }

    /// Folds are not slow any more.
    pub(crate) fn hasten(&mut self) {
        let job = self.config.owner.job;
        self.config.owner.fold = job;
        for place in self.places.values_mut() {
            match place {
                Held::Awake(owner) => owner.hasten(job),
                Held::Loading(_) => {}
            }
        }
    }

    pub(crate) fn is_paused(&self) -> bool {
        self.standstill.is_some()
    }

    pub(crate) fn pause(&mut self) {
        self.standstill.get_or_insert_default();
    }

    /// Goes on with what has come meanwhile.
    pub(crate) fn unpause(&mut self) -> VecDeque<Happening> {
        self.standstill.take().unwrap_or_default()
    }

    pub(crate) fn postpone(&mut self, happening: Happening) {
        self.standstill.get_or_insert_default().push_back(happening);
    }

    /// The process has ended: nothing is left of its guilds.
    pub(crate) fn crash(&mut self) {
        self.places.clear();
        self.standstill = None;
        self.has_left = false;
    }

    /// Which placement it has heard of last, and by which grant it may claim a guild by that.
    pub(crate) fn placement(&self) -> &Placement {
        &self.placement
    }

    fn grant(&self, guild: GuildId) -> Option<Grant> {
        let place = self.placement.find(guild)?;
        #[cfg(feature = "defects")]
        if guildhall_proto::Defect::GrantBorrowed.is_on() {
            return Some(place.grant);
        }
        self.placement.grant(guild, id_of(self.number), self.instance).filter(|_| place.node == id_of(self.number))
    }

    /// What it says of a guild that it may not claim.
    fn not_here(&self, guild: GuildId) -> NoAnswer {
        match self.placement.find(guild) {
            _ if self.has_left => NoAnswer::Stopping,
            Some(place) if place.node != id_of(self.number) => NoAnswer::Moved(place),
            Some(_) | None => NoAnswer::Unavailable,
        }
    }

    /// Whether no guild is being loaded, and none has anything under way.
    pub(crate) fn is_quiet(&self) -> bool {
        self.places.values().all(|place| match place {
            Held::Awake(owner) => owner.is_quiet(),
            Held::Loading(_) => false,
        })
    }
}

impl World {
    /// Does something with an owner, if that is still there.
    fn with_owner<R>(
        &mut self,
        owned: Owned,
        act: impl FnOnce(&mut Owner, &mut Around<'_>) -> Result<R, Breach>,
    ) -> Result<Option<R>, Breach> {
        let node = &mut self.nodes[owned.node];
        let clock = Millis(self.wire.clock().0.saturating_add_signed(node.skew));
        let machine = &mut self.machines[node.machine];
        match node.places.get_mut(&owned.guild) {
            Some(Held::Awake(owner)) if owner.owned == owned => {
                let mut around = Around { machine, wire: &mut self.wire, watch: &mut self.watch, clock };
                act(owner, &mut around).map(Some)
            }
            Some(_) | None => Ok(None),
        }
    }

    pub(super) fn turn(&mut self, owned: Owned) -> Result<(), Breach> {
        let end = self.with_owner(owned, |owner, around| owner.turn(around))?.flatten();
        self.end_if(owned, end)
    }

    pub(super) fn job_done(&mut self, owned: Owned, job: super::message::Job) -> Result<(), Breach> {
        self.with_owner(owned, |owner, around| owner.done(job, around)).map(drop)
    }

    pub(super) fn word(&mut self, owned: Owned, word: super::machine::Word) -> Result<(), Breach> {
        let end = self.with_owner(owned, |owner, around| owner.hear(word, around))?.flatten();
        self.end_if(owned, end)
    }

    pub(super) fn doze(&mut self, owned: Owned) -> Result<(), Breach> {
        let doze = |owner: &mut Owner, around: &mut Around<'_>| {
            owner.doze(around);
            Ok(())
        };
        self.with_owner(owned, doze).map(drop)
    }

    /// A node of a process that runs is there, in a run that it was not in before.
    pub(super) fn join(&mut self, node: usize) -> Result<(), Breach> {
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
    pub(super) fn unjoin(&mut self, node: usize) -> Result<(), Breach> {
        let leaving = &self.nodes[node];
        let machine = leaving.machine;
        if let Some(coordinator) = self.machines[machine].coordinator() {
            coordinator.leave(id_of(node), leaving.instance);
        }
        self.ring(machine)
    }

    /// Places a guild at a node of its machine by itself, or with its shard again.
    pub(super) fn place_guild(&mut self, guild: GuildId, at: Option<usize>) -> Result<(), Breach> {
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
    pub(super) fn placed(&self, guild: GuildId) -> Option<usize> {
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
    pub(super) fn note_placement(&mut self, machine: usize) -> Result<(), Breach> {
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
    pub(super) fn hear_bell(&mut self, node: usize, life: u64) -> Result<(), Breach> {
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
    fn leave_if_moved(&mut self, owned: Owned) -> Result<(), Breach> {
        #[cfg(feature = "defects")]
        if guildhall_proto::Defect::MovedKept.is_on() {
            return Ok(());
        }
        let node = &self.nodes[owned.node];
        let Some(owner) = node.owner(owned.guild).filter(|owner| owner.owned == owned) else { return Ok(()) };
        let grant = node.grant(owned.guild);
        if grant == Some(owner.grant) || owner.is_leaving() {
            return Ok(());
        }
        let why = if grant.is_some() { None } else { Some(node.not_here(owned.guild)) };
        self.watch.seen.granted_anew += u64::from(grant.is_some());
        self.watch.seen.zombies += u64::from(!self.watch.ledger.is_latest(owned.guild, owned.epoch));
        self.with_owner(owned, |owner, around| {
            owner.leave(why, around);
            Ok(())
        })
        .map(drop)
    }

    /// An owner ends before its time.
    pub(super) fn retire(&mut self, guild: GuildId) -> Result<(), Breach> {
        let Some(node) = self.placed(guild) else { return Ok(()) };
        match self.nodes[node].owner(guild).map(|owner| owner.owned) {
            Some(owned) => self.end_if(owned, Some(End::Retired)),
            None => Ok(()),
        }
    }

    fn end_if(&mut self, owned: Owned, end: Option<End>) -> Result<(), Breach> {
        let Some(end) = end else { return Ok(()) };
        let node = &mut self.nodes[owned.node];
        let Some(Held::Awake(mut owner)) = node.places.remove(&owned.guild) else { return Ok(()) };
        self.watch.seen.retired += u64::from(matches!(end, End::Retired | End::StoreFailed(_)));
        self.watch.seen.moved_away += u64::from(matches!(end, End::Gone(_)));
        let next = if owner.is_leaving() { std::mem::take(owner.next()) } else { Vec::new() };
        owner.end(&end, &mut self.wire);
        next.into_iter().try_for_each(|posted| self.post(owned.node, owned.guild, posted))
    }

    /// A message arrives at a node.
    pub(super) fn arrive_at_node(&mut self, link: LinkId, body: Body) -> Result<(), Breach> {
        let node = link.node;
        match body {
            Body::Ask { calling, guild, ask } => self.post(node, guild, Posted { ask, calling }),
            Body::Unlisten { guild, feed } => {
                match self.nodes[node].places.get_mut(&guild) {
                    Some(Held::Awake(owner)) => owner.unlisten(link, Some(feed)),
                    Some(Held::Loading(load)) => load.unlisten(link, Some(feed)),
                    None => {}
                }
                Ok(())
            }
            Body::Taken { guild, feed } => {
                let Some(owned) = self.nodes[node].owner(guild).map(|owner| owner.owned) else { return Ok(()) };
                let taken = |owner: &mut Owner, around: &mut Around<'_>| {
                    owner.taken(link, feed, around);
                    Ok(())
                };
                self.with_owner(owned, taken).map(drop)
            }
            Body::Answer { .. } | Body::Feed { .. } => unreachable!("it is not said to a node"),
        }
    }

    /// A node notices that a link has ended, and with it all that was fed over it.
    pub(super) fn end_feeds_of(&mut self, link: LinkId) {
        for held in self.nodes[link.node].places.values_mut() {
            match held {
                Held::Awake(owner) => owner.unlisten(link, None),
                Held::Loading(load) => load.unlisten(link, None),
            }
        }
    }

    /// Gives an owner something, or has the guild loaded for it.
    fn post(&mut self, node: usize, guild: GuildId, posted: Posted) -> Result<(), Breach> {
        if posted.calling.deadline <= self.wire.now {
            self.watch.seen.came_too_late += 1;
            self.turn_away(node, &posted, Turned::Away(NoAnswer::TooLate));
            return Ok(());
        }
        let here = &self.nodes[node];
        let not_here = if here.grant(guild).is_some() { None } else { Some(here.not_here(guild)) };
        match self.nodes[node].places.get_mut(&guild) {
            Some(Held::Awake(owner)) if owner.is_leaving() => {
                let why = match not_here {
                    Some(why) => why,
                    None if owner.next().len() < LOAD_WAITING_MAX => {
                        owner.next().push(posted);
                        return Ok(());
                    }
                    None => self.overloaded(),
                };
                self.turn_away(node, &posted, Turned::Away(why));
                Ok(())
            }
            Some(Held::Awake(owner)) => {
                let owned = owner.owned;
                self.with_owner(owned, |owner, around| owner.take_in(posted, around)).map(drop)
            }
            Some(Held::Loading(load)) if load.waiting.len() < LOAD_WAITING_MAX => {
                load.waiting.push(posted);
                Ok(())
            }
            Some(Held::Loading(_)) => {
                let why = self.overloaded();
                self.turn_away(node, &posted, Turned::Away(why));
                Ok(())
            }
            None => self.load(node, guild, posted),
        }
    }

    fn overloaded(&mut self) -> NoAnswer {
        let retry_after = self.wire.between(Micros(500), Micros::millis(60));
        NoAnswer::Overloaded { retry_after: Duration::from_micros(retry_after.0) }
    }

    /// Begins to load a guild.
    fn load(&mut self, node: usize, guild: GuildId, posted: Posted) -> Result<(), Breach> {
        let loading = &self.nodes[node];
        // As it knows it: the store has the last word.
        let Some(grant) = loading.grant(guild).filter(|_| !loading.has_left) else {
            let why = loading.not_here(guild);
            self.turn_away(node, &posted, Turned::Away(why));
            return Ok(());
        };
        let machine = &mut self.machines[loading.machine];
        let Some(store) = machine.store() else {
            self.turn_away(node, &posted, Turned::Away(NoAnswer::Unavailable));
            return Ok(());
        };
        if store.knows(guild) == Ok(Known::Nothing) && !posted.creates() {
            self.turn_away(node, &posted, Turned::NoGuild);
            return self.no_guild(guild);
        }
        match store.begin_claim(guild, grant) {
            Ok(claim) => {
                let load = Load { claim: Some(claim), grant, waiting: vec![posted] };
                self.nodes[node].places.insert(guild, Held::Loading(load));
                machine.attend(&mut self.wire);
                Ok(())
            }
            Err(error) => self.load_failed(node, guild, vec![posted], &error),
        }
    }

    /// A node says that there is no such guild.
    fn no_guild(&mut self, guild: GuildId) -> Result<(), Breach> {
        let annals = self.watch.ledger.chronicle.annals(guild);
        Promise::Durable
            .require(annals.latest().community().is_none(), || format!("guild {guild} is said not to exist"))
    }

    fn load_failed(
        &mut self,
        node: usize,
        guild: GuildId,
        waiting: Vec<Posted>,
        error: &StoreError,
    ) -> Result<(), Breach> {
        self.watch.seen.stale_grants += u64::from(matches!(error, StoreError::StaleGrant { .. }));
        let away = match error {
            StoreError::Corrupt { .. } if self.machines[self.nodes[node].machine].is_rotten() => {
                self.watch.seen.damage_told += 1;
                NoAnswer::Unavailable
            }
            StoreError::Corrupt { what } => {
                return Err(Promise::Durable.breach(format!("guild {guild} is said to be damaged: {what}")));
            }
            StoreError::Full | StoreError::Busy => self.overloaded(),
            StoreError::StaleGrant { .. } | StoreError::Fenced { .. } | StoreError::Unavailable { .. } => {
                NoAnswer::Unavailable
            }
        };
        for waiting in waiting {
            self.turn_away(node, &waiting, Turned::Away(away));
        }
        Ok(())
    }

    /// Looks for claims that the writer has settled.
    pub(super) fn look_for_claims(&mut self, machine: usize) {
        let life = self.machines[machine].life;
        for node in self.nodes.iter().filter(|node| node.machine == machine) {
            for (guild, held) in &node.places {
                if let Held::Loading(Load { claim: Some(claim), .. }) = held
                    && claim.is_settled()
                {
                    let after = self.wire.between(Micros(20), Micros(3_000));
                    self.wire.later(after, Happening::Load { node: node.number, life, guild: *guild });
                }
            }
        }
    }

    /// A claim is settled and read back: the next owner begins.
    pub(super) fn loaded(&mut self, node: usize, life: u64, guild: GuildId) -> Result<(), Breach> {
        let machine = self.nodes[node].machine;
        if self.machines[machine].life != life {
            return Ok(());
        }
        let Some(Held::Loading(load)) = self.nodes[node].places.get_mut(&guild) else { return Ok(()) };
        let Some(claim) = load.claim.take_if(|claim| claim.is_settled()) else { return Ok(()) };
        let (grant, waiting) = (load.grant, std::mem::take(&mut load.waiting));
        self.nodes[node].places.remove(&guild);
        let claim = match claim.finish() {
            Ok(claim) => claim,
            Err(error) => return self.load_failed(node, guild, waiting, &error),
        };
        let (owned, clock) = (Owned { node, guild, epoch: claim.epoch }, clock_of(&claim));
        let is_from_checkpoint = claim.checkpoint.is_some();
        let (mut state, life) = self.recover(guild, node, grant, claim)?;
        self.watch.seen.loaded += 1;
        self.watch.seen.from_checkpoints += u64::from(is_from_checkpoint);
        self.watch.seen.woken += u64::from(life == Existing::Alive);
        let creates = waiting.iter().any(Posted::creates);
        // Of one that was deleted it is known still what was answered before.
        let asks = waiting.iter().any(|waiting| matches!(waiting.ask, Ask::Command { .. }));
        #[cfg(feature = "defects")]
        let asks = asks && !guildhall_proto::Defect::DeletedForgotten.is_on();
        if life == Existing::Deleted && !asks || life == Existing::Never && !creates {
            drop(state);
            for waiting in waiting {
                let refusal = if waiting.creates() { Turned::Exists } else { Turned::NoGuild };
                self.turn_away(node, &waiting, refusal);
            }
            return Ok(());
        }
        let config = self.nodes[node].config.owner;
        state.set_room(true);
        let owner = Owner::new((owned, grant), state, clock, config, self.wire.now);
        self.nodes[node].places.insert(guild, Held::Awake(Box::new(owner)));
        self.with_owner(owned, |owner, around| {
            owner.begin(around)?;
            waiting.into_iter().try_for_each(|waiting| owner.take_in(waiting, around))
        })?;
        // It may have moved while it was loaded.
        self.leave_if_moved(owned)
    }

    /// Brings a guild back from what the store has of it, and holds that against what is known.
    fn recover(&mut self, guild: GuildId, by: usize, grant: Grant, claim: Claim) -> Result<(Guild, Existing), Breach> {
        let config = self.config.guild.clone();
        let covered = claim.checkpoint.as_ref().map_or((Position::default(), 0), |checkpoint| {
            (checkpoint.structure.position, checkpoint.structure.records)
        });
        let mut state = match claim.checkpoint {
            Some(checkpoint) => Guild::restore(config, guild, checkpoint.structure, checkpoint.base),
            None => Guild::new(config, guild, Epoch::default()),
        };
        for record in &claim.tail {
            let replayed = state.replay(record);
            replayed.map_err(|error| Promise::Durable.breach(format!("guild {guild}: {error}")))?;
        }
        self.watch.given.claimed(guild, id_of(by), grant)?;
        let found =
            Recovered { guild, by, grant, epoch: claim.epoch, covered, tail: &claim.tail, at: state.position() };
        state.open(claim.epoch);
        // The view says the new epoch; the guild in it is that of the position before.
        self.watch.recovered(&found, state.view().as_ref())?;
        let existing = match (state.exists(), state.was_deleted()) {
            (true, _) => Existing::Alive,
            (false, true) => Existing::Deleted,
            (false, false) => Existing::Never,
        };
        Ok((state, existing))
    }

    fn turn_away(&mut self, node: usize, posted: &Posted, turned: Turned) {
        debug_assert_eq!(posted.calling.link.node, node, "it is answered where it was asked");
        let answer = match turned {
            Turned::Away(why) => {
                self.watch.seen.overloaded += u64::from(matches!(why, NoAnswer::Overloaded { .. }));
                Err(why)
            }
            Turned::NoGuild => Ok(Answered::Reply(Err(CommandError::UnknownGuild))),
            Turned::Exists => Ok(Answered::Reply(Err(CommandError::GuildExists))),
        };
        reply(&mut self.wire, posted.calling, answer);
    }
}

/// Whether a guild exists that was recovered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Existing {
    Alive,
    Deleted,
    Never,
}

/// Why somebody who waited for a guild is turned away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turned {
    Away(NoAnswer),
    NoGuild,
    Exists,
}

/// The clock with which a guild comes back.
fn clock_of(claim: &Claim) -> Millis {
    let saved = claim.checkpoint.as_ref().map_or(Millis::default(), |checkpoint| checkpoint.structure.clock);
    claim.tail.iter().map(|record| record.at).fold(saved, Millis::max)
}

/// Within which time a node hears that the placement has changed, unless it stands still.
pub(crate) const HEARD_WITHIN: Micros = Micros::millis(1_500);
/// Requests that wait for one load.
const LOAD_WAITING_MAX: usize = 2_000;
