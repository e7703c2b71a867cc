//! A guild node: which guilds it has, how they are loaded, and what it does with what arrives.
//!
//! Several nodes may live in one process and share its store: then one that stands still is passed over by another, and is shut out by
//! the fence when it goes on.

use std::collections::{BTreeMap, VecDeque};

use guildhall_guild::{Guild, GuildConfig};
use guildhall_proto::{Command, CommandError, Epoch, Grant, GuildId, Millis, Position};
use guildhall_store::{Claim, Known, PendingClaim, Store, StoreError};

use super::World;
use super::message::{At, Body, Feed, Happening, NoAnswer, Owned};
use super::owner::{Around, End, Owner, OwnerConfig, Posted, ReplyTo, Request, reply};
use crate::check::{Breach, Promise, Recovered};
use crate::queue::Micros;

pub(crate) struct Node {
    number: usize,
    pub(crate) machine: usize,
    places: BTreeMap<GuildId, Place>,
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
enum Place {
    Loading(Load),
    Awake(Box<Owner>),
}

/// A guild on its way from the store.
struct Load {
    claim: Option<PendingClaim>,
    grant: Grant,
    waiting: Vec<Waiting>,
}

/// Who waits for a guild.
#[derive(Debug)]
enum Waiting {
    Post(Posted),
    Read { call: u64, user: guildhall_proto::UserId, at_least: Position },
    Listen { at: At, from: Option<Position> },
}

impl Load {
    /// Relays that wait for the guild do so no more: nobody would take what they are sent.
    fn unlisten(&mut self, is_gone: impl Fn(At) -> bool) {
        self.waiting.retain(|waiting| !matches!(waiting, Waiting::Listen { at, .. } if is_gone(*at)));
    }
}

impl Waiting {
    fn creates(&self) -> bool {
        matches!(self, Self::Post(Posted { request: Request::Command { command, .. }, .. })
            if matches!(**command, Command::CreateGuild { .. }))
    }
}

impl Node {
    pub(crate) fn new(number: usize, machine: usize, skew: i64, config: NodeConfig) -> Self {
        Self { number, machine, places: BTreeMap::new(), standstill: None, skew, config }
    }

    pub(crate) fn owner(&self, guild: GuildId) -> Option<&Owner> {
        match self.places.get(&guild) {
            Some(Place::Awake(owner)) => Some(owner),
            Some(Place::Loading(_)) | None => None,
        }
    }

    pub(crate) fn owners(&self) -> impl Iterator<Item = &Owner> {
        self.places.values().filter_map(|place| match place {
            Place::Awake(owner) => Some(&**owner),
            Place::Loading(_) => None,
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
                Place::Awake(owner) => owner.hasten(job),
                Place::Loading(_) => {}
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
    }

    /// Whether no guild is being loaded, and none has anything under way.
    pub(crate) fn is_quiet(&self) -> bool {
        self.places.values().all(|place| match place {
            Place::Awake(owner) => owner.is_quiet(),
            Place::Loading(_) => false,
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
            Some(Place::Awake(owner)) if owner.owned == owned => {
                let mut around = Around { machine, wire: &mut self.wire, watch: &mut self.watch, clock };
                act(owner, &mut around).map(Some)
            }
            Some(_) | None => Ok(None),
        }
    }

    pub(super) fn turn(&mut self, owned: Owned) -> Result<(), Breach> {
        let end = self.with_owner(owned, |owner, around| owner.turn(around))?.flatten();
        self.end_if(owned, end);
        Ok(())
    }

    pub(super) fn job_done(&mut self, owned: Owned, job: super::message::Job) -> Result<(), Breach> {
        self.with_owner(owned, |owner, around| owner.done(job, around)).map(drop)
    }

    pub(super) fn word(&mut self, owned: Owned, word: super::machine::Word) -> Result<(), Breach> {
        let end = self.with_owner(owned, |owner, around| owner.hear(word, around))?.flatten();
        self.end_if(owned, end);
        Ok(())
    }

    pub(super) fn doze(&mut self, owned: Owned) -> Result<(), Breach> {
        let doze = |owner: &mut Owner, around: &mut Around<'_>| {
            owner.doze(around);
            Ok(())
        };
        self.with_owner(owned, doze).map(drop)
    }

    /// An owner learns that it is one no more.
    pub(super) fn learn(&mut self, owned: Owned) {
        self.placed_before.remove(&owned.guild);
        if self.nodes[owned.node].owner(owned.guild).is_some_and(|owner| owner.owned == owned) {
            self.watch.seen.zombies += 1;
            self.end_if(owned, Some(End::Retired));
        }
    }

    /// An owner ends before its time.
    pub(super) fn retire(&mut self, guild: GuildId) {
        let node = self.placement[&guild].0;
        if let Some(owned) = self.nodes[node].owner(guild).map(|owner| owner.owned) {
            self.end_if(owned, Some(End::Retired));
        }
    }

    fn end_if(&mut self, owned: Owned, end: Option<End>) {
        let Some(end) = end else { return };
        let node = &mut self.nodes[owned.node];
        if let Some(Place::Awake(owner)) = node.places.remove(&owned.guild) {
            self.watch.seen.retired += u64::from(matches!(end, End::Retired | End::StoreFailed(_)));
            owner.end(&end, &mut self.wire);
        }
    }

    /// A message arrives at a node.
    pub(super) fn arrive_at_node(&mut self, node: usize, body: Body) -> Result<(), Breach> {
        match body {
            Body::Call { call, attempt, guild, op, actor, command } => {
                let request = Request::Command { op, actor, command };
                self.post(node, guild, Waiting::Post(Posted { request, reply: ReplyTo::Call { call, attempt } }))
            }
            Body::Read { call, guild, user, at_least } => {
                self.post(node, guild, Waiting::Read { call, user, at_least })
            }
            Body::Type { guild, user, channel } => {
                let request = Request::Typing { user, channel };
                self.post(node, guild, Waiting::Post(Posted { request, reply: ReplyTo::Nobody }))
            }
            Body::Ask { asked, guild, session, request } => {
                let request = Request::Session { session, request };
                self.post(node, guild, Waiting::Post(Posted { request, reply: ReplyTo::Ask(asked) }))
            }
            Body::Listen { at, from } => self.post(node, at.guild, Waiting::Listen { at, from }),
            Body::Unlisten { at } => {
                match self.nodes[node].places.get_mut(&at.guild) {
                    Some(Place::Awake(owner)) => owner.unlisten(at.backend, Some(at)),
                    Some(Place::Loading(load)) => load.unlisten(|listener| listener == at),
                    None => {}
                }
                Ok(())
            }
            Body::Taken { at } => {
                let Some(owned) = self.nodes[node].owner(at.guild).map(|owner| owner.owned) else { return Ok(()) };
                let taken = |owner: &mut Owner, around: &mut Around<'_>| {
                    owner.taken(at, around);
                    Ok(())
                };
                self.with_owner(owned, taken).map(drop)
            }
            Body::Answer { .. } | Body::Answered { .. } | Body::Feed { .. } => {
                unreachable!("it is not said to a node")
            }
        }
    }

    /// Both ends notice that a link has broken.
    pub(super) fn forget_feeds(&mut self, node: usize, backend: usize) {
        for place in self.nodes[node].places.values_mut() {
            match place {
                Place::Awake(owner) => owner.unlisten(backend, None),
                Place::Loading(load) => load.unlisten(|listener| listener.backend == backend),
            }
        }
    }

    /// Gives an owner something, or has the guild loaded for it.
    fn post(&mut self, node: usize, guild: GuildId, waiting: Waiting) -> Result<(), Breach> {
        match self.nodes[node].places.get_mut(&guild) {
            Some(Place::Awake(owner)) => {
                let owned = owner.owned;
                self.with_owner(owned, |owner, around| hand_over(owner, waiting, around)).map(drop)
            }
            Some(Place::Loading(load)) if load.waiting.len() < LOAD_WAITING_MAX => {
                load.waiting.push(waiting);
                Ok(())
            }
            Some(Place::Loading(_)) => {
                self.turn_away(node, waiting, Turned::Away(NoAnswer::Overloaded));
                Ok(())
            }
            None => self.load(node, guild, waiting),
        }
    }

    /// Begins to load a guild.
    fn load(&mut self, node: usize, guild: GuildId, waiting: Waiting) -> Result<(), Breach> {
        // A node from which a guild has moved claims it by the grant that it had, as long as it does not know.
        let places = [Some(&self.placement[&guild]), self.placed_before.get(&guild)];
        let Some((_, grant)) = places.into_iter().flatten().find(|(placed, _)| *placed == node) else {
            self.turn_away(node, waiting, Turned::Away(NoAnswer::Moved));
            return Ok(());
        };
        let grant = Grant(*grant);
        let machine = &mut self.machines[self.nodes[node].machine];
        let Some(store) = machine.store() else {
            self.turn_away(node, waiting, Turned::Away(NoAnswer::Unavailable));
            return Ok(());
        };
        if store.knows(guild) == Ok(Known::Nothing) && !waiting.creates() {
            self.turn_away(node, waiting, Turned::NoGuild);
            return self.no_guild(guild);
        }
        match store.begin_claim(guild, grant) {
            Ok(claim) => {
                let load = Load { claim: Some(claim), grant, waiting: vec![waiting] };
                self.nodes[node].places.insert(guild, Place::Loading(load));
                machine.attend(&mut self.wire);
                Ok(())
            }
            Err(error) => self.load_failed(node, guild, vec![waiting], &error),
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
        waiting: Vec<Waiting>,
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
            StoreError::Full | StoreError::Busy => NoAnswer::Overloaded,
            StoreError::StaleGrant { .. } | StoreError::Fenced { .. } | StoreError::Unavailable { .. } => {
                NoAnswer::Unavailable
            }
        };
        for waiting in waiting {
            self.turn_away(node, waiting, Turned::Away(away));
        }
        Ok(())
    }

    /// Looks for claims that the writer has settled.
    pub(super) fn look_for_claims(&mut self, machine: usize) {
        let life = self.machines[machine].life;
        for node in self.nodes.iter().filter(|node| node.machine == machine) {
            for (guild, place) in &node.places {
                if let Place::Loading(Load { claim: Some(claim), .. }) = place
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
        let Some(Place::Loading(load)) = self.nodes[node].places.get_mut(&guild) else { return Ok(()) };
        let Some(claim) = load.claim.take_if(|claim| claim.is_settled()) else { return Ok(()) };
        let (grant, waiting) = (load.grant, std::mem::take(&mut load.waiting));
        self.nodes[node].places.remove(&guild);
        let claim = match claim.finish() {
            Ok(claim) => claim,
            Err(error) => return self.load_failed(node, guild, waiting, &error),
        };
        let (owned, clock) = (Owned { node, guild, epoch: claim.epoch }, clock_of(&claim));
        let is_from_checkpoint = claim.checkpoint.is_some();
        let (mut state, life) = self.recover(guild, grant, claim)?;
        self.watch.seen.loaded += 1;
        self.watch.seen.from_checkpoints += u64::from(is_from_checkpoint);
        self.watch.seen.woken += u64::from(life == Existing::Alive);
        let creates = waiting.iter().any(Waiting::creates);
        if life == Existing::Deleted || life == Existing::Never && !creates {
            drop(state);
            for waiting in waiting {
                let refusal = if waiting.creates() { Turned::Exists } else { Turned::NoGuild };
                self.turn_away(node, waiting, refusal);
            }
            return Ok(());
        }
        let config = self.nodes[node].config.owner;
        state.set_room(true);
        let owner = Owner::new(owned, state, clock, config, self.wire.now);
        self.nodes[node].places.insert(guild, Place::Awake(Box::new(owner)));
        if self.placement[&guild] != (node, grant.0) {
            self.learn_later(owned, LEARNT_WITHIN_MS);
        }
        self.with_owner(owned, |owner, around| {
            owner.begin(around)?;
            waiting.into_iter().try_for_each(|waiting| hand_over(owner, waiting, around))
        })
        .map(drop)
    }

    /// Brings a guild back from what the store has of it, and holds that against what is known.
    fn recover(&mut self, guild: GuildId, grant: Grant, claim: Claim) -> Result<(Guild, Existing), Breach> {
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
        let found = Recovered { guild, grant, epoch: claim.epoch, covered, tail: &claim.tail, at: state.position() };
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

    fn turn_away(&mut self, node: usize, waiting: Waiting, turned: Turned) {
        let to = match waiting {
            Waiting::Post(posted) => posted.reply,
            Waiting::Read { call, .. } => ReplyTo::Call { call, attempt: 0 },
            Waiting::Listen { at, .. } => {
                let feed = match turned {
                    Turned::Away(_) => Feed::NotNow,
                    Turned::NoGuild | Turned::Exists => Feed::NoGuild,
                };
                return super::owner::send_feed(&mut self.wire, node, at, feed);
            }
        };
        let answer = match turned {
            Turned::Away(why) => {
                self.watch.seen.overloaded += u64::from(why == NoAnswer::Overloaded);
                Err(why)
            }
            Turned::NoGuild => Ok(Err(CommandError::UnknownGuild)),
            Turned::Exists => Ok(Err(CommandError::GuildExists)),
        };
        reply(&mut self.wire, node, to, answer);
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

fn hand_over(owner: &mut Owner, waiting: Waiting, around: &mut Around<'_>) -> Result<(), Breach> {
    match waiting {
        Waiting::Post(posted) => owner.post(posted, around),
        Waiting::Read { call, user, at_least } => return owner.read(call, user, at_least, around),
        Waiting::Listen { at, from } => owner.listen(at, from, around),
    }
    Ok(())
}

/// The clock with which a guild comes back.
fn clock_of(claim: &Claim) -> Millis {
    let saved = claim.checkpoint.as_ref().map_or(Millis::default(), |checkpoint| checkpoint.structure.clock);
    claim.tail.iter().map(|record| record.at).fold(saved, Millis::max)
}

/// Within about this time a node learns that it has claimed a guild that had moved.
const LEARNT_WITHIN_MS: u64 = 100;
/// Requests that wait for one load.
const LOAD_WAITING_MAX: usize = 2_000;
