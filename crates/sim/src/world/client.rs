//! A client of guild nodes: a small shell around the machines of `guildhall_cluster`, as the crate `client` is the real one.
//!
//! The nodes of a machine are a cluster of their own, for they share its store: a client keeps routes and a budget for each. Whatever callers,
//! seats and relays ask of a guild is a call here.

use std::collections::{BTreeMap, BTreeSet};

use guildhall_cluster::{
    BudgetConfig, Call, GaveUp, Input, Place, Repeat, Retry, RetryBudget, RetryConfig, Routes, RoutesConfig, Step,
};
use guildhall_proto::call::FeedId;
use guildhall_proto::{CommandError, GuildId, NodeId};

use super::message::{Answered, Ask, At, Body, Calling, Happening, NoAnswer};
use super::node::HEARD_WITHIN;
use super::wire::{End, Host, Lane, LinkId};
use super::{World, machine_of};
use crate::check::{Breach, Conduct, EarId, Promise};
use crate::dice::Dice;
use crate::queue::Micros;

/// One client.
#[derive(Debug)]
pub(crate) struct Client {
    clusters: Vec<Ways>,
    calls: BTreeMap<u64, Outgoing>,
    /// Calls that wait for any link.
    linkless: BTreeSet<u64>,
}

/// What a client knows of one cluster, and may repeat there.
#[derive(Debug)]
struct Ways {
    routes: Routes,
    budget: RetryBudget,
    conduct: Conduct,
}

/// How clients are kept.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ClientConfig {
    routes: RoutesConfig,
    budget: BudgetConfig,
}

/// A call on its way.
#[derive(Debug)]
struct Outgoing {
    retry: Retry,
    guild: GuildId,
    ask: Ask,
    whose: Whose,
    deadline: Micros,
    /// Where it is, and since when.
    out: Option<(LinkId, Micros)>,
    /// How often it came to a node that does not have its guild, or to none.
    misses: u32,
    /// When anything last happened that calls may miss their guild by, if that is long ago.
    calm: Option<Micros>,
    /// Whether an answer to it was lost.
    is_in_doubt: bool,
    /// Whether nothing goes wrong since before it began.
    begun_well: bool,
}

/// Who waits for what a call comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Whose {
    Caller,
    Seat(EarId),
    Relay(At),
    Nobody,
}

/// How a call is made.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Terms {
    pub(crate) guild: GuildId,
    pub(crate) repeat: Repeat,
    pub(crate) within: Micros,
}

/// A call that is over, and what it came to.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) client: Host,
    pub(crate) call: u64,
    pub(crate) guild: GuildId,
    pub(crate) ask: Ask,
    /// Whether nothing went wrong since before it began.
    pub(crate) begun_well: bool,
    pub(crate) came: Result<(Answered, LinkId), GaveUp>,
}

impl ClientConfig {
    /// In some runs there is hardly anything to repeat with, or next to no routes; in others more to repeat with than is ever needed.
    pub(crate) fn drawn(dice: &mut Dice) -> Self {
        let budget = match dice.below(8) {
            0 => BudgetConfig { percent: 1, per_second: 1, burst: 3 },
            1 | 2 => BudgetConfig::default(),
            _ => BudgetConfig { percent: 100, per_second: 1_000, burst: 10_000 },
        };
        let routes = if dice.one_in(4) { RoutesConfig { entries_max: 2 } } else { RoutesConfig::default() };
        Self { routes, budget }
    }
}

impl Client {
    pub(crate) fn new(config: &ClientConfig, clusters: usize, now: Micros) -> Self {
        let ways = |_| Ways {
            routes: Routes::new(config.routes),
            budget: RetryBudget::new(config.budget, of_machine(now)),
            conduct: Conduct::new(config.budget, now),
        };
        Self { clusters: (0..clusters).map(ways).collect(), calls: BTreeMap::new(), linkless: BTreeSet::new() }
    }

    /// How many calls are under way.
    pub(crate) fn calls(&self) -> usize {
        self.calls.len()
    }
}

impl World {
    /// A number for a call that is about to begin.
    pub(super) fn next_call(&mut self) -> u64 {
        self.named += 1;
        self.named
    }

    /// Begins a call.
    pub(super) fn begin_call(
        &mut self,
        client: Host,
        call: u64,
        terms: Terms,
        ask: Ask,
        whose: Whose,
    ) -> Result<(), Breach> {
        let Terms { guild, repeat, within } = terms;
        let (now, seed, cluster) = (self.wire.now, self.wire.number(), self.machine_of(guild));
        let (deadline, calm) = (now.plus(within), self.calm(client, cluster));
        let Client { clusters, calls, .. } = &mut self.clients[number_of(client)];
        let Ways { routes, budget, conduct } = &mut clusters[cluster];
        let begun = Call { guild, repeat, deadline: of_machine(deadline) };
        let config = RetryConfig::default();
        let (retry, step) = Retry::begin(of_machine(now), begun, &config, seed, routes, budget);
        conduct.begins();
        let (is_in_doubt, begun_well) = (false, self.is_probed);
        let outgoing =
            Outgoing { retry, guild, ask, whose, deadline, out: None, misses: 0, calm, is_in_doubt, begun_well };
        calls.insert(call, outgoing);
        self.wire.later(within, Happening::Due { client, call });
        self.perform_step(client, call, step, None)
    }

    /// Does what a call's machine says, until that is to wait.
    fn perform_step(
        &mut self,
        client: Host,
        call: u64,
        mut step: Step,
        mut answer: Option<(Answered, LinkId)>,
    ) -> Result<(), Breach> {
        loop {
            let input = match step {
                Step::Done => {
                    let answer = answer.take().expect("it is done by its answer");
                    return self.end_call(client, call, Ok(answer));
                }
                Step::GiveUp(why) => return self.end_call(client, call, Err(why)),
                Step::Wait => {
                    let due = self.outgoing(client, call).and_then(|outgoing| outgoing.retry.due());
                    let due = due.map_or(0, |due| due.since(of_machine(self.wire.now)));
                    self.wire.later(Micros(due), Happening::Due { client, call });
                    return Ok(());
                }
                Step::Ask => match self.any_node(client, call) {
                    Some(node) => Input::Chosen(node),
                    None => return Ok(()),
                },
                Step::Send(node) => {
                    if self.send_call(client, call, node) {
                        return Ok(());
                    }
                    self.goes_nowhere(client, call, node)?;
                    Input::Unsent
                }
            };
            step = self.told(client, call, input)?;
        }
    }

    /// Tells a call's machine what has come, and what its node said of where the guild is.
    fn told(&mut self, client: Host, call: u64, input: Input) -> Result<Step, Breach> {
        let now = self.wire.now;
        let Client { clusters, calls, .. } = &mut self.clients[number_of(client)];
        let Some(outgoing) = calls.get_mut(&call) else { return Ok(Step::Wait) };
        let guild = outgoing.guild;
        let Ways { routes, budget, conduct } = &mut clusters[machine_of(guild, self.machines.len())];
        // Calls to other guilds may have displaced what was known of this one.
        conduct.believes(guild, routes.word(guild), &self.watch.given)?;
        let is_stale = matches!(input, Input::Moved(place) if is_older(place, routes.word(guild)));
        match (input, outgoing.out.take()) {
            (Input::Moved(place), _) => conduct.is_named(guild, place.node),
            (Input::Answered | Input::Expired, Some((link, _))) => conduct.is_named(guild, id_of(link.node)),
            // It says that it is stopping.
            (Input::Unsent, Some((link, _))) => conduct.is_declined(guild, id_of(link.node)),
            (..) => {}
        }
        let step = outgoing.retry.handle(of_machine(now), input, routes, budget);
        conduct.believes(guild, routes.word(guild), &self.watch.given)?;
        Promise::Bounds.require(routes.len() <= self.client_config.routes.entries_max, || {
            format!("a client knows of {} guilds: {:?}", routes.len(), self.client_config.routes)
        })?;
        let is_displaced = routes.word(guild).is_none() && routes.len() == self.client_config.routes.entries_max;
        if step == Step::Ask && is_displaced {
            // Other guilds have displaced what was known of this one while the call paused: it is looked for anew.
            outgoing.misses = 0;
        }
        outgoing.misses += u32::from(matches!(input, Input::Moved(_) | Input::Unsent));
        let goes_on = !matches!(step, Step::Done | Step::GiveUp(_));
        Promise::Liveness.require(now < outgoing.deadline || !goes_on, || {
            format!("a call to guild {guild} goes on past its time: {input:?} came, and it does {step:?}")
        })?;
        let is_costly = matches!(input, Input::Overloaded { .. } | Input::Unavailable | Input::Lost);
        if is_costly && step == Step::Wait {
            conduct.repeats(now)?;
        }
        outgoing.is_in_doubt |= input == Input::Lost;
        let has_time = now.plus(LONGEST_PAUSE) < outgoing.deadline;
        let seen = &mut self.watch.seen;
        seen.stale_words += u64::from(is_stale);
        seen.redirected += u64::from(matches!((input, step), (Input::Moved(_), Step::Send(_))));
        seen.lost_with_link += u64::from(input == Input::Lost);
        seen.budget_spent +=
            u64::from(is_costly && has_time && matches!(step, Step::GiveUp(_)) && goes_by_id(&outgoing.ask));
        seen.answered_in_doubt += u64::from(input == Input::Answered && outgoing.is_in_doubt);
        seen.expired_in_doubt += u64::from(input == Input::Expired && outgoing.is_in_doubt);
        Ok(step)
    }

    fn outgoing(&mut self, client: Host, call: u64) -> Option<&mut Outgoing> {
        self.clients[number_of(client)].calls.get_mut(&call)
    }

    /// A node that the client has a link to; if there is none, the call waits for one.
    fn any_node(&mut self, client: Host, call: u64) -> Option<NodeId> {
        let guild = self.outgoing(client, call)?.guild;
        let nodes = self.nodes_of(self.machine_of(guild));
        let node = self.wire.any(client, &nodes);
        if node.is_none() {
            self.clients[number_of(client)].linkless.insert(call);
        }
        node.map(id_of)
    }

    /// Sends a call to a node; false if there is no link.
    fn send_call(&mut self, client: Host, call: u64, node: NodeId) -> bool {
        let Some(link) = self.wire.link(client, index_of(node)) else { return false };
        self.named += 1;
        let name = FeedId(self.named);
        let Some(outgoing) = self.clients[number_of(client)].calls.get_mut(&call) else { return true };
        outgoing.out = Some((link, self.wire.now));
        if let Ask::Feed { feed, .. } = &mut outgoing.ask {
            *feed = name;
        }
        let calling = Calling { link, call, deadline: outgoing.deadline };
        // All of one backend's sessions ask in order; news of a feed come behind its beginning.
        let lane =
            if matches!(outgoing.ask, Ask::Session { .. } | Ask::Feed { .. }) { Lane::Ordered } else { Lane::Loose };
        let body = Body::Ask { calling, guild: outgoing.guild, ask: outgoing.ask.clone() };
        self.wire.send(link, End::Node, lane, body);
        true
    }

    /// An answer arrives.
    pub(super) fn call_answered(&mut self, calling: Calling, answer: Result<Answered, NoAnswer>) -> Result<(), Breach> {
        let Calling { link, call, .. } = calling;
        let client = link.client;
        let Some(Outgoing { guild, out: Some((out, asked)), .. }) = self.outgoing(client, call) else { return Ok(()) };
        let (guild, asked) = (*guild, *asked);
        if *out != link {
            return Ok(());
        }
        let (input, answer) = match answer {
            Ok(answer) => {
                self.watch.given.answered(guild, id_of(link.node), asked, HEARD_WITHIN)?;
                let has_expired = matches!(answer, Answered::Reply(Err(CommandError::Expired { .. })));
                (if has_expired { Input::Expired } else { Input::Answered }, Some((answer, link)))
            }
            Err(why) => (input_of(why), None),
        };
        if let Input::Moved(place) = input {
            self.watch.given.said(guild, place)?;
        }
        let step = self.told(client, call, input)?;
        self.perform_step(client, call, step, answer)
    }

    /// A call's pause or its time is over, if nothing has come meanwhile.
    pub(super) fn call_due(&mut self, client: Host, call: u64) -> Result<(), Breach> {
        let now = of_machine(self.wire.now);
        let Some(outgoing) = self.outgoing(client, call) else { return Ok(()) };
        if outgoing.retry.due().is_none_or(|due| due > now) {
            return Ok(());
        }
        let was_out = outgoing.out;
        self.clients[number_of(client)].linkless.remove(&call);
        let step = self.told(client, call, Input::Due)?;
        self.watch.seen.timeouts += u64::from(was_out.is_some());
        if let (Some((link, _)), Step::GiveUp(_)) = (was_out, step) {
            self.unlisten(client, call, link);
        }
        self.perform_step(client, call, step, None)
    }

    /// Nobody wants a call's answer any more.
    pub(super) fn cancel_call(&mut self, client: Host, call: u64) -> Result<(), Breach> {
        let was_out = self.outgoing(client, call).and_then(|outgoing| outgoing.out);
        if let Some((link, _)) = was_out {
            self.unlisten(client, call, link);
        }
        let step = self.told(client, call, Input::Canceled)?;
        self.clients[number_of(client)].linkless.remove(&call);
        if matches!(step, Step::GiveUp(_)) {
            self.clients[number_of(client)].calls.remove(&call);
        }
        Ok(())
    }

    /// A call for a feed is given up: if the feed begins all the same, nobody listens to it.
    fn unlisten(&mut self, client: Host, call: u64, link: LinkId) {
        let Some(Outgoing { guild, ask: Ask::Feed { feed, .. }, .. }) = self.outgoing(client, call) else { return };
        let body = Body::Unlisten { guild: *guild, feed: *feed };
        self.wire.send(link, End::Node, Lane::Ordered, body);
    }

    fn end_call(&mut self, client: Host, call: u64, came: Result<(Answered, LinkId), GaveUp>) -> Result<(), Breach> {
        let Some(ended) = self.clients[number_of(client)].calls.remove(&call) else { return Ok(()) };
        let Outgoing { guild, ask, whose, misses, calm, begun_well, .. } = ended;
        let stirred = self.stirred[self.machine_of(guild)];
        Promise::Ways.require(misses <= MISSES_MAX || calm != Some(stirred), || {
            format!("a call to guild {guild} has missed it {misses} times, though all is calm since {} µs", stirred.0)
        })?;
        self.watch.seen.missed_in_calm += u64::from(misses > 0 && calm == Some(stirred));
        let ended = Ended { client, call, guild, ask, begun_well, came };
        match whose {
            Whose::Caller => self.caller_told(ended),
            Whose::Seat(seat) => self.seat_told(seat, ended),
            Whose::Relay(at) => self.relay_told(at, ended),
            Whose::Nobody => Ok(()),
        }
    }

    /// A client has a link to a node again.
    pub(super) fn link_stands(&mut self, client: Host, node: usize) -> Result<(), Breach> {
        let machine = self.nodes[node].machine;
        let waiting = std::mem::take(&mut self.clients[number_of(client)].linkless);
        for call in waiting {
            let Some(guild) = self.outgoing(client, call).map(|outgoing| outgoing.guild) else { continue };
            if self.machine_of(guild) == machine {
                let step = self.told(client, call, Input::Chosen(id_of(node)))?;
                self.perform_step(client, call, step, None)?;
            } else {
                self.clients[number_of(client)].linkless.insert(call);
            }
        }
        Ok(())
    }

    /// A client has noticed that its link to a node has ended: what was asked over it has no answer.
    pub(super) fn calls_lost(&mut self, link: LinkId) -> Result<(), Breach> {
        let client = link.client;
        self.doubt(client, link.node);
        let calls = self.clients[number_of(client)].calls.iter();
        let lost = calls.filter(|(_, outgoing)| outgoing.out.is_some_and(|(out, _)| out == link));
        let lost: Vec<u64> = lost.map(|(call, _)| *call).collect();
        for call in lost {
            let step = self.told(client, call, Input::Lost)?;
            self.perform_step(client, call, step, None)?;
        }
        Ok(())
    }

    /// A client doubts all that a node is said to have.
    fn doubt(&mut self, client: Host, node: usize) {
        let machine = self.nodes[node].machine;
        let Ways { routes, conduct, .. } = &mut self.clients[number_of(client)].clusters[machine];
        routes.doubt(id_of(node));
        conduct.is_unlinked(id_of(node));
    }

    /// A client has no link to the node that a call is to go to.
    fn goes_nowhere(&mut self, client: Host, call: u64, node: NodeId) -> Result<(), Breach> {
        let machine = self.nodes[index_of(node)].machine;
        let Client { clusters, calls, .. } = &mut self.clients[number_of(client)];
        let guild = calls.get(&call).map(|outgoing| outgoing.guild);
        guild.map_or(Ok(()), |guild| clusters[machine].conduct.goes_nowhere(guild, node))
    }

    /// A relay is told where its guild is now.
    pub(super) fn route_moved(&mut self, client: Host, guild: GuildId, from: usize, to: Place) -> Result<(), Breach> {
        let machine = self.machine_of(guild);
        let Ways { routes, conduct, .. } = &mut self.clients[number_of(client)].clusters[machine];
        conduct.believes(guild, routes.word(guild), &self.watch.given)?;
        self.watch.seen.stale_words += u64::from(is_older(to, routes.word(guild)));
        routes.moved(guild, id_of(from), to);
        conduct.is_named(guild, to.node);
        self.watch.given.said(guild, to)?;
        conduct.believes(guild, routes.word(guild), &self.watch.given)
    }

    /// When anything last happened in a cluster that calls of a client may miss their guild by: `None` if that is not so long ago that all have
    /// heard of it, or something is still amiss.
    fn calm(&self, client: Host, machine: usize) -> Option<Micros> {
        let stirred = self.stirred[machine];
        let is_well = |node: &usize| {
            let goes = !self.nodes[*node].has_left && !self.nodes[*node].is_paused();
            goes && self.wire.link(client, *node).is_some()
        };
        let is_calm = self.wire.now >= stirred.plus(HEARD_WITHIN) && self.machines[machine].is_up();
        (is_calm && self.nodes_of(machine).iter().all(is_well)).then_some(stirred)
    }

    /// Something happens in a cluster that calls may miss their guild by.
    pub(super) fn stir(&mut self, machine: usize) {
        self.stirred[machine] = self.wire.now;
    }
}

/// Whether a word is older than what is known.
fn is_older(word: Place, known: Option<Place>) -> bool {
    known.is_some_and(|known| known != word && word.grant <= known.grant)
}

/// The place of a client among all.
pub(super) const fn number_of(client: Host) -> usize {
    match client {
        Host::Callers => 0,
        Host::Backend(backend) => 1 + backend,
    }
}

/// The name of a node.
pub(super) fn id_of(node: usize) -> NodeId {
    NodeId::new(node as u64 + 1).expect("it is above zero")
}

/// The node of a name.
pub(super) fn index_of(node: NodeId) -> usize {
    usize::try_from(node.get() - 1).expect("nodes are few")
}

const fn of_machine(now: Micros) -> guildhall_cluster::Micros {
    guildhall_cluster::Micros(now.0)
}

fn goes_by_id(ask: &Ask) -> bool {
    matches!(ask, Ask::Command { command, .. } if command.is_durable())
}

/// What the machine is told of an attempt that was not answered.
fn input_of(why: NoAnswer) -> Input {
    match why {
        NoAnswer::Moved(place) => Input::Moved(place),
        NoAnswer::Overloaded { retry_after } => Input::Overloaded { retry_after },
        NoAnswer::Unavailable => Input::Unavailable,
        NoAnswer::Stopping => Input::Unsent,
        NoAnswer::TooLate => Input::TooLate,
        NoAnswer::Unknown => Input::Lost,
    }
}

/// How often a call may come to a node that does not have its guild while all is calm: such a node says who has it.
const MISSES_MAX: u32 = 1;
/// Longer than any pause that a call makes.
const LONGEST_PAUSE: Micros = Micros::millis(1_500);
