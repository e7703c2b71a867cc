//! What goes wrong with hosts, links and sessions, and how it is well again.

use guildhall_cluster::Repeat;
use guildhall_guild::SessionRequest;
use guildhall_proto::{Generation, GuildId, Level, Position, Seq, SessionId, Status, UserId};
use guildhall_relay::Secret;

use super::backend::{Coming, Errand, Holding};
use super::client::{Client, Terms, Whose, number_of};
use super::machine::End;
use super::message::{Ask, Happening, Which};
use super::wire::Host;
use super::{Seen, What, World};
use crate::check::{Breach, EarId, Promise};
use crate::faults::Trouble;
use crate::queue::Micros;
use crate::workload::{KnownSession, KnownStage, Proof};

/// What is well again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Again {
    Disk { machine: usize },
    Link { client: Host, node: usize },
    Node { node: usize },
    Guild { guild: GuildId, at: usize },
}

impl World {
    pub(super) fn begin_troubles(&mut self) {
        let all: Vec<Trouble> = self.faults.all().collect();
        for trouble in all {
            self.trouble_later(trouble);
        }
    }

    fn trouble_later(&mut self, trouble: Trouble) {
        if let Some(after) = self.faults.next(trouble, &mut self.fault_dice) {
            self.wire.later(after, Happening::Trouble(trouble));
        }
    }

    fn any(&mut self, many: usize) -> usize {
        self.fault_dice.index(many).unwrap_or(0)
    }

    /// Something goes wrong.
    pub(super) fn trouble(&mut self, trouble: Trouble) -> Result<(), Breach> {
        if self.is_healed {
            return Ok(());
        }
        self.trouble_later(trouble);
        self.watch.digest.note(trouble as u64);
        self.remember(What::WentWrong(trouble));
        let (machine, node) = (self.any(self.machines.len()), self.any(self.nodes.len()));
        let backend = self.any(self.backends.len());
        let client = self.any(1 + self.backends.len()).checked_sub(1).map_or(Host::Callers, Host::Backend);
        let while_ms = self.fault_dice.within(20, 6_000 / self.faults.haste);
        match trouble {
            Trouble::PowerCut if self.fault_dice.one_in(3) => return self.process_ends(machine, End::PowerCut),
            Trouble::PowerCut => self.machines[machine].arm(),
            Trouble::Kill => return self.process_ends(machine, End::Killed),
            Trouble::DiskError if self.machines[machine].is_up() => self.machines[machine].fail_once(),
            Trouble::DiskError => {}
            Trouble::SlowDisk => {
                self.machines[machine].slowness = self.fault_dice.within(5, 100);
                self.disk_well_later(machine, while_ms);
            }
            Trouble::FullDisk => {
                self.watch.seen.disks_full += 1;
                self.machines[machine].fill();
                self.disk_well_later(machine, FULL_FOR * while_ms);
            }
            Trouble::BitRot => {
                self.machines[machine].rot();
                self.disk_well_later(machine, while_ms);
            }
            Trouble::Pause => return self.pause(node, while_ms.max(60)),
            Trouble::CutLink => {
                self.watch.seen.links_cut += 1;
                self.wire.cut(client, node, false);
            }
            Trouble::Partition => {
                self.watch.seen.partitions += 1;
                self.wire.cut(client, node, true);
                self.wire.later(Micros::millis(while_ms), Happening::Well(Again::Link { client, node }));
            }
            Trouble::LoseBackend => self.lose_backend(backend),
            Trouble::MoveGuild => {
                let guild = self.guilds[self.fault_dice.index(self.guilds.len()).unwrap_or(0)];
                let nodes = self.nodes_of(self.machine_of(guild));
                // One in four goes back to where its shard is.
                let to = if self.fault_dice.one_in(4) { None } else { self.fault_dice.one_of(&nodes).copied() };
                let before = self.placed(guild);
                self.place_guild(guild, to)?;
                // Half of them are back before long, perhaps before anybody there has heard that they were gone.
                if let Some(at) = before.filter(|_| self.fault_dice.one_in(2)) {
                    let after = Micros::millis(self.fault_dice.within(5, 800));
                    self.wire.later(after, Happening::Well(Again::Guild { guild, at }));
                }
            }
            Trouble::StopNode => return self.stop_node(node, while_ms),
            Trouble::Retire => {
                let nth = self.any(self.guilds.len());
                return self.retire(self.guilds[nth]);
            }
            Trouble::Squeeze => self.squeeze(backend),
            Trouble::ClockJump if self.fault_dice.one_in(2) => {
                let minutes = self.fault_dice.within(1, CLOCK_JUMP_MINUTES);
                self.wire.ahead.0 += minutes * 60_000;
            }
            Trouble::ClockJump => {
                let skew = i64::try_from(self.fault_dice.below(2 * CLOCK_SKEW_MS)).unwrap_or(0);
                self.nodes[node].set_clock(skew - CLOCK_SKEW_MS as i64);
            }
        }
        Ok(())
    }

    fn disk_well_later(&mut self, machine: usize, while_ms: u64) {
        self.wire.later(Micros::millis(while_ms), Happening::Well(Again::Disk { machine }));
    }

    pub(super) fn well_again(&mut self, again: Again) -> Result<(), Breach> {
        match again {
            Again::Disk { machine } => {
                self.machines[machine].slowness = 1;
                self.machines[machine].empty();
                self.machines[machine].unrot();
                self.machines[machine].attend(&mut self.wire);
            }
            Again::Link { client, node } => self.wire.mend(client, node),
            Again::Node { node } if self.nodes[node].has_left => return self.join(node),
            Again::Node { .. } => {}
            Again::Guild { guild, at } => return self.place_guild(guild, Some(at)),
        }
        Ok(())
    }

    /// A writer has its turn at the disk; if that fails, the process ends.
    pub(super) fn write(&mut self, machine: usize, life: u64, log: Which) -> Result<(), Breach> {
        let host = &mut self.machines[machine];
        if host.life != life || !host.is_up() {
            return Ok(());
        }
        let is_armed = host.is_armed();
        match host.write(log, &mut self.wire) {
            Ok(()) => {
                self.look_for_claims(machine);
                self.machines[machine].check_log(log)
            }
            Err(_) if is_armed => {
                self.watch.seen.power_cuts_at_sync += 1;
                self.process_ends(machine, End::PowerCut)
            }
            Err(_) => {
                self.watch.seen.disk_errors += 1;
                self.process_ends(machine, End::Killed)
            }
        }
    }

    /// A process ends, with all its nodes; it starts again.
    pub(super) fn process_ends(&mut self, machine: usize, end: End) -> Result<(), Breach> {
        if !self.machines[machine].is_up() {
            return Ok(());
        }
        self.remember(What::Ended { machine, end });
        let Seen { power_cuts, kills, .. } = &mut self.watch.seen;
        match end {
            End::PowerCut => *power_cuts += 1,
            End::Killed => *kills += 1,
        }
        self.machines[machine].end(end);
        for node in 0..self.nodes.len() {
            if self.nodes[node].machine != machine {
                continue;
            }
            self.nodes[node].crash();
            self.cut_all(node);
            self.wire.node_ends(node);
        }
        let life = self.machines[machine].life;
        let after = self.wire.between(Micros::millis(1), Micros::millis(500));
        self.wire.later(after, Happening::Restart { machine, life });
        self.note_placement(machine)
    }

    pub(super) fn restart(&mut self, machine: usize, life: u64) -> Result<(), Breach> {
        if self.machines[machine].life != life || self.machines[machine].is_up() {
            return Ok(());
        }
        let is_troubled = !self.is_healed && self.faults.all().any(|trouble| trouble == Trouble::PowerCut);
        if is_troubled && self.fault_dice.one_in(3) {
            self.machines[machine].arm();
        }
        if self.machines[machine].open(self.wire.clock(), &mut self.watch.seen)? {
            self.join_all(machine)?;
        } else {
            let after = self.wire.between(Micros::millis(1), Micros::millis(200));
            self.wire.later(after, Happening::Restart { machine, life });
        }
        Ok(())
    }

    /// The nodes of a process that has begun are there.
    pub(super) fn join_all(&mut self, machine: usize) -> Result<(), Breach> {
        self.nodes_of(machine).into_iter().try_for_each(|node| self.join(node))
    }

    /// All links of a node end.
    fn cut_all(&mut self, node: usize) {
        self.wire.cut(Host::Callers, node, false);
        for backend in 0..self.backends.len() {
            self.wire.cut(Host::Backend(backend), node, false);
        }
    }

    /// A node stands still. If another shares its store, it is taken for dead before long, and its guilds are given away.
    fn pause(&mut self, node: usize, while_ms: u64) -> Result<(), Breach> {
        let machine = self.nodes[node].machine;
        if self.nodes[node].is_paused() || self.nodes[node].has_left || !self.machines[machine].is_up() {
            return Ok(());
        }
        self.watch.seen.pauses += 1;
        self.nodes[node].pause();
        self.wire.later(Micros::millis(while_ms), Happening::Unpause { node });
        // Who hears nothing of it gives its link up, sooner or later than it goes on.
        let silent = self.wire.between(Micros::millis(while_ms / 4), Micros::millis(while_ms * 2));
        self.wire.later(silent, Happening::Silent { node });
        let stands = |other: usize| !self.nodes[other].is_paused() && !self.nodes[other].has_left;
        let has_others = self.nodes_of(machine).into_iter().any(|other| other != node && stands(other));
        if has_others && while_ms > 40 { self.unjoin(node) } else { Ok(()) }
    }

    /// A node has said nothing for long.
    pub(super) fn silent(&mut self, node: usize) {
        if self.nodes[node].is_paused() {
            self.cut_all(node);
        }
    }

    /// A node stops in good order, and comes back by and by.
    fn stop_node(&mut self, node: usize, while_ms: u64) -> Result<(), Breach> {
        let stopping = &self.nodes[node];
        if stopping.is_paused() || stopping.has_left || !self.machines[stopping.machine].is_up() {
            return Ok(());
        }
        self.watch.seen.nodes_stopped += 1;
        self.nodes[node].has_left = true;
        self.unjoin(node)?;
        self.wire.later(Micros::millis(while_ms), Happening::Well(Again::Node { node }));
        Ok(())
    }

    pub(super) fn unpause(&mut self, node: usize) -> Result<(), Breach> {
        for happening in self.nodes[node].unpause() {
            self.wire.later(Micros(0), happening);
        }
        Ok(())
    }

    fn lose_backend(&mut self, backend: usize) {
        self.watch.seen.backends_lost += 1;
        self.backends[backend].relays.clear();
        let seats = std::mem::take(&mut self.backends[backend].seats);
        for (seat, held) in seats {
            if held.is_heard() {
                self.watch.ears.cut(seat);
            }
            self.connection_broke(held.session(), seat);
        }
        let client = Host::Backend(backend);
        self.clients[number_of(client)] = Client::new(&self.client_config, self.machines.len(), self.wire.now);
        for node in 0..self.nodes.len() {
            self.wire.cut(client, node, false);
            self.wire.forget(client, node);
            self.wire.dial_later(client, node);
        }
    }

    /// The client of a session learns that its connection is gone.
    fn connection_broke(&mut self, session: SessionId, seat: EarId) -> Option<usize> {
        let holding = self.holdings.get_mut(&session).filter(|holding| holding.seat == seat)?;
        let known = self.sessions.get_mut(&session)?;
        known.stage = KnownStage::Cut;
        holding.cuts += 1;
        let (backend, cuts) = (known.backend, holding.cuts);
        self.wire.later(CUT_KEPT, Happening::Forgotten { session, cuts, backend, seat });
        Some(backend)
    }

    /// A session's connection breaks; its backend notices at once, or by and by.
    pub(super) fn cut_session(&mut self, session: SessionId) {
        let Some(seat) = self.holdings.get(&session).map(|holding| holding.seat) else { return };
        let stage = self.sessions.get(&session).map(|known| known.stage);
        if !matches!(stage, Some(KnownStage::Served | KnownStage::Coming)) {
            return;
        }
        let Some(backend) = self.connection_broke(session, seat) else { return };
        if self.workload_dice.one_in(4) {
            self.stop_hearing(backend, seat);
            self.wire.later(Micros::seconds(5), Happening::Noticed { backend, seat });
        } else {
            self.cut_seat(backend, seat);
        }
    }

    /// A session comes back, with what it shows. One that is still there gets a second seat, which is its seat once its owner has agreed.
    pub(super) fn resume(
        &mut self,
        session: SessionId,
        proof: Proof,
        backend: usize,
        level: Level,
        status: Status,
    ) -> Result<(), Breach> {
        let Some(known) = self.sessions.get(&session).copied() else { return Ok(()) };
        let Some(generation) = self.proven(session, &known, proof)? else { return Ok(()) };
        let Holding { known: at, members, .. } = self.holdings[&session];
        let at = if proof == Proof::Ahead { Position { seq: Seq(at.seq.0 + AHEAD), ..at } } else { at };
        let coming = Coming { session, guild: known.guild, user: known.user, way: known.way, members, level, status };
        let errand = Errand::Resume { generation, known: at };
        if known.stage == KnownStage::Cut && matches!(proof, Proof::Secret) {
            self.watch.seen.resumed_elsewhere += u64::from(backend != known.backend);
            return self.take_seat(backend, coming, errand, None);
        }
        self.watch.seen.came_out_of_place += 1;
        let seat = self.put_seat(backend, coming, errand, None)?;
        self.errand(backend, seat)
    }

    /// As which a session is to be held, by what it shows; `None` if that is not taken.
    fn proven(&self, session: SessionId, known: &KnownSession, proof: Proof) -> Result<Option<Generation>, Breach> {
        let holding = &self.holdings[&session];
        let secret = match proof {
            Proof::Secret | Proof::Ahead => holding.secret,
            Proof::Former => holding.secret_before,
            Proof::Foreign(other) => {
                self.holdings.get(&other).filter(|_| other != session).and_then(|held| held.secret)
            }
            Proof::Forged => holding.secret.and_then(|secret| {
                let mut bytes = secret.as_bytes().to_vec();
                let at = usize::try_from(self.steps).unwrap_or(0) % bytes.len();
                bytes[at] ^= 1 << (self.steps % 8);
                Secret::from_bytes(&bytes).ok()
            }),
        };
        let Some(secret) = secret else { return Ok(None) };
        let generation = self.keys.verify(&secret, known.guild, session, known.user, self.wire.clock()).ok();
        let is_false = matches!(proof, Proof::Foreign(_) | Proof::Forged) && generation.is_some();
        Promise::Rights.require(!is_false, || format!("a secret that is {proof:?} is taken for {session:?}"))?;
        Ok(generation)
    }

    /// Somebody asks for a session to leave, which is another's or not there.
    pub(super) fn evict(&mut self, guild: GuildId, session: SessionId, user: UserId) -> Result<(), Breach> {
        if self.sessions.get(&session).is_some_and(|known| known.user == user) {
            return Ok(());
        }
        // Nobody waits for the answer: it is the ledger's to see.
        let ask = Ask::Session { session, request: SessionRequest::Detach { user } };
        let terms = Terms { guild, repeat: Repeat::ById, within: Micros::seconds(5) };
        let call = self.next_call();
        self.begin_call(Host::Backend(0), call, terms, ask, Whose::Nobody)
    }

    /// A session leaves.
    pub(super) fn leave(&mut self, session: SessionId) -> Result<(), Breach> {
        let Some(known) = self.sessions.get_mut(&session).filter(|known| known.stage == KnownStage::Served) else {
            return Ok(());
        };
        known.stage = KnownStage::Leaving;
        let (backend, seat) = (known.backend, self.holdings[&session].seat);
        self.seat_leaves(backend, seat)
    }

    /// A session that was cut has had its time: nobody is to come back.
    pub(super) fn forgotten(
        &mut self,
        session: SessionId,
        cuts: u64,
        backend: usize,
        seat: EarId,
    ) -> Result<(), Breach> {
        let known = self.sessions.get(&session).copied();
        let holding = self.holdings.get(&session).cloned();
        let is_away = known.is_some_and(|known| known.stage == KnownStage::Cut)
            && holding.as_ref().is_some_and(|holding| holding.cuts == cuts);
        if is_away && let Some(known) = self.sessions.get_mut(&session) {
            known.stage = KnownStage::Leaving;
        }
        if self.backends[backend].seats.contains_key(&seat) {
            return self.seat_leaves(backend, seat);
        }
        let (Some(known), Some(holding)) = (known.filter(|_| is_away), holding) else { return Ok(()) };
        // Its backend was lost: another tells the owner.
        let coming = Coming {
            session,
            guild: known.guild,
            user: known.user,
            way: known.way,
            members: holding.members,
            level: known.level,
            status: known.status,
        };
        self.take_seat(backend, coming, Errand::Leave, holding.generation)
    }
}

/// A disk is full for so many times as long as other troubles last: until its next segment is needed.
const FULL_FOR: u64 = 4;
/// All clocks jump ahead by less than so many minutes: outcomes are kept for ten.
const CLOCK_JUMP_MINUTES: u64 = 13;
/// A node's clock may be so far off, ahead or behind.
const CLOCK_SKEW_MS: u64 = 100;
/// How long a session that was cut may come back.
const CUT_KEPT: Micros = Micros::seconds(20);
/// Events that there never were, and that somebody says to know.
const AHEAD: u64 = 1_000_000;
