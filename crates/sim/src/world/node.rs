//! A guild node: which guilds it has, how they are loaded, and what it does with what arrives.
//!
//! Several nodes may live in one process and share its store, and a coordinator that places its guilds: what a node may claim, and by which
//! grant, is in the placement that it has heard of last. One that stands still is taken for dead, its guilds are another's, and it is shut out
//! by the fence when it goes on.

mod placing;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use guildhall_cluster::{Leave, Placement};
use guildhall_guild::{Guild, GuildConfig};
use guildhall_proto::call::FeedId;
use guildhall_proto::{AppliedOp, CommandError, Epoch, Grant, GuildId, Instance, Millis, Position, Stage};
use guildhall_store::{Claim, Known, PendingClaim, Store, StoreError};

use super::World;
use super::client::id_of;
use super::message::{Answered, Body, Happening, NoAnswer, Owned};
use super::owner::{Around, End, Owner, OwnerConfig, Posted, reply};
use super::wire::LinkId;
use crate::check::{Breach, Promise, Recovered};
use crate::queue::Micros;
pub(super) use placing::HEARD_WITHIN;

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

    /// Which placement it has heard of last.
    pub(crate) fn placement(&self) -> &Placement {
        &self.placement
    }

    /// Whether it may claim a guild, or go on with it.
    fn leave(&self, guild: GuildId) -> Leave {
        self.placement.leave_to(guild, id_of(self.number), self.instance)
    }

    /// The grant by which it may claim a guild; or what it says of one that it may not claim.
    fn grant(&self, guild: GuildId) -> Result<Grant, NoAnswer> {
        match self.leave(guild) {
            Leave::Given(grant) => Ok(grant),
            _ if self.has_left => Err(NoAnswer::Stopping),
            Leave::Elsewhere(place) => Err(NoAnswer::Moved(place)),
            Leave::Outlived | Leave::Nowhere => Err(NoAnswer::Unavailable),
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
        let not_here = self.nodes[node].grant(guild).err();
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
        let grant = match loading.grant(guild) {
            Ok(_) if loading.has_left => Err(NoAnswer::Stopping),
            leave => leave,
        };
        let grant = match grant {
            Ok(grant) => grant,
            Err(why) => {
                self.turn_away(node, &posted, Turned::Away(why));
                return Ok(());
            }
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
        let mut state = self.recover(guild, node, grant, claim)?;
        self.watch.seen.loaded += 1;
        self.watch.seen.from_checkpoints += u64::from(is_from_checkpoint);
        self.watch.seen.woken += u64::from(state.exists());
        if !waiting.iter().any(|waiting| state.is_worth_owning(waiting.purpose())) {
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
    fn recover(&mut self, guild: GuildId, by: usize, grant: Grant, claim: Claim) -> Result<Guild, Breach> {
        let config = self.config.guild.clone();
        let covered = claim.checkpoint.as_ref().map_or((Position::default(), 0), |checkpoint| {
            (checkpoint.structure.position, checkpoint.structure.records)
        });
        let kept = claim.checkpoint.iter().flat_map(|checkpoint| &checkpoint.structure.operations);
        let unfinished: Vec<AppliedOp> =
            kept.flat_map(|client| &client.operations).filter(|op| op.stage == Stage::Unfinished).cloned().collect();
        let mut state = match claim.checkpoint {
            Some(checkpoint) => Guild::restore(config, guild, checkpoint.structure, checkpoint.base),
            None => Guild::new(config, guild, Epoch::default()),
        };
        for record in &claim.tail {
            let replayed = state.replay(record);
            replayed.map_err(|error| Promise::Durable.breach(format!("guild {guild}: {error}")))?;
        }
        self.watch.given.claimed(guild, id_of(by), grant)?;
        let (epoch, tail, at) = (claim.epoch, &claim.tail, state.position());
        let found = Recovered { guild, by, grant, epoch, covered, unfinished: &unfinished, tail, at };
        state.open(claim.epoch);
        // The view says the new epoch; the guild in it is that of the position before.
        self.watch.recovered(&found, state.view().as_ref())?;
        Ok(state)
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

/// Requests that wait for one load.
const LOAD_WAITING_MAX: usize = 2_000;
