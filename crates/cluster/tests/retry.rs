//! Calls against a scripted adversary: nodes that refuse, redirect, fall silent and lose answers, then stop doing so.

#![expect(clippy::unwrap_used, reason = "the helpers of a test fail as the test does")]

use std::time::Duration;

use guildhall_cluster::{
    BudgetConfig, Call, GaveUp, Input, Learned, Micros, Place, Repeat, Retry, RetryBudget, RetryConfig, Routes,
    RoutesConfig, Step,
};
use guildhall_proto::{Caps, Grant, GuildId, NodeId};
use proptest::collection::vec;
use proptest::prelude::*;

/// What goes wrong with one step; the step decides what of it applies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// Nothing: an owner carries out and answers, another says who does, whoever is asked knows.
    None,
    /// The guild moves first.
    Moves,
    /// The link is down, or the node is stopping.
    Unsent,
    /// The request is lost, or the question is.
    LostRequest,
    /// It is carried out, and the answer is lost.
    LostAnswer,
    /// Nothing comes any more; it may have been carried out.
    Silence {
        carried_out: bool,
    },
    Overloaded {
        retry_after_ms: u64,
    },
    Unavailable,
    /// Word of a node that the guild has left.
    Stale,
    /// Nobody knows the way, and any node is tried.
    Guess {
        node: u64,
    },
    TooLate,
    /// The end of a link is told as well, ahead of the answer or question, and later things that do not fit.
    Noise,
    Cancel,
}

/// A fault, and how many microseconds later the answer comes: by a slow driver even behind the deadline.
type Event = (Fault, u64);

fn script() -> impl Strategy<Value = Vec<Event>> {
    let micros = prop_oneof![3 => 1_u64..1_000, 1 => 1_000_u64..2_000_000];
    vec((fault(), micros), 0..30)
}

fn fault() -> impl Strategy<Value = Fault> {
    prop_oneof![
        2 => Just(Fault::None),
        3 => Just(Fault::Moves),
        2 => Just(Fault::Unsent),
        2 => Just(Fault::LostRequest),
        2 => Just(Fault::LostAnswer),
        1 => any::<bool>().prop_map(|carried_out| Fault::Silence { carried_out }),
        3 => (0_u64..3_000).prop_map(|retry_after_ms| Fault::Overloaded { retry_after_ms }),
        2 => Just(Fault::Unavailable),
        3 => Just(Fault::Stale),
        3 => (1..=NODES).prop_map(|node| Fault::Guess { node }),
        1 => Just(Fault::TooLate),
        2 => Just(Fault::Noise),
        1 => Just(Fault::Cancel),
    ]
}

fn repeat() -> impl Strategy<Value = Repeat> {
    prop_oneof![Just(Repeat::Freely), Just(Repeat::ById), Just(Repeat::Never)]
}

fn place(node: u64, grant: u64) -> Place {
    Place { node: NodeId::new(node).unwrap(), grant: Grant(grant) }
}

/// One call in its world, and what was seen of it.
struct World {
    now: Micros,
    routes: Routes,
    budget: RetryBudget,
    retry: Retry,
    call: Call,
    script: std::vec::IntoIter<Event>,
    /// By how many microseconds the driver's timer is late.
    lateness: u64,
    /// Where the guild is. A grant leads to one node only.
    grant: u64,
    /// Attempts that were carried out, each as its owner saw it: an operation that is known by its id counts once.
    carried_out: u32,
    /// Whether anything happened after which nobody can know.
    was_uncertain: bool,
    sent_since_pause: u32,
    /// Attempts that came behind one that cost a node something.
    paid: u32,
    owes: bool,
    /// Not before then may the call be sent.
    asked_to_wait: Micros,
}

const GUILD: u64 = 7;
const NODES: u64 = 4;
const CONFIG: RetryConfig =
    RetryConfig { pauses: Caps { first: Duration::from_millis(20), most: Duration::from_secs(1) }, redirects_max: 3 };

fn owner(grant: u64) -> Place {
    place(grant % NODES + 1, grant)
}

impl World {
    fn new(call: Call, budget: BudgetConfig, script: Vec<Event>, seed: u64) -> (Self, Step) {
        let now = Micros(seed % 1_000);
        let mut routes = Routes::new(RoutesConfig::default());
        let mut budget = RetryBudget::new(budget, now);
        let (retry, step) = Retry::begin(now, call, &CONFIG, seed, &mut routes, &mut budget);
        let world = Self {
            now,
            routes,
            budget,
            retry,
            call,
            script: script.into_iter(),
            lateness: seed / 1_000 % 100_000,
            grant: 10,
            carried_out: 0,
            was_uncertain: false,
            sent_since_pause: 0,
            paid: 0,
            owes: false,
            asked_to_wait: Micros(0),
        };
        (world, step)
    }

    fn tell(&mut self, input: Input) -> Step {
        let step = self.retry.handle(self.now, input, &mut self.routes, &mut self.budget);
        let goes_on = matches!(step, Step::Ask | Step::Send(_) | Step::Wait);
        assert!(!goes_on || self.now < self.call.deadline, "{step:?} from the deadline on");
        step
    }

    /// Things that do not fit to what is under way must change nothing.
    fn noise(&mut self, step: Step) {
        if self.now >= self.call.deadline {
            return;
        }
        let due = self.retry.due();
        let misfits: &[Input] = match step {
            Step::Ask => &[Input::Answered, Input::Lost, Input::Unsent, Input::TooLate, Input::Unavailable, Input::Due],
            Step::Send(_) => &[Input::Unrouted, Input::Chosen(NodeId::MIN), Input::Due],
            Step::Wait => &[Input::Answered, Input::Lost, Input::Unsent, Input::Unrouted, Input::TooLate, Input::Due],
            Step::Done | Step::GiveUp(_) => &[],
        };
        for input in misfits {
            assert_eq!(self.tell(*input), Step::Wait, "{input:?} at {step:?}");
        }
        assert_eq!(self.retry.due(), due);
    }

    fn carry_out(&mut self) {
        match self.call.repeat {
            Repeat::Freely | Repeat::Never => self.carried_out += 1,
            Repeat::ById => self.carried_out = 1,
        }
    }

    /// Nothing comes until it is due.
    fn wait(&mut self) -> Step {
        let due = self.retry.due().expect("a call that goes on is due sometime");
        self.now = Micros(self.now.max(due).0 + self.lateness);
        self.sent_since_pause = 0;
        self.tell(Input::Due)
    }

    /// A node hears of the call, or does not.
    fn send(&mut self, node: NodeId, (fault, micros): Event) -> Step {
        self.sent_since_pause += 1;
        self.paid += u32::from(std::mem::take(&mut self.owes));
        assert!(self.now >= self.asked_to_wait, "sent earlier than a node asked for");
        assert!(self.sent_since_pause <= CONFIG.redirects_max + 1, "sent round and round without a pause");
        self.now.0 += micros;
        match fault {
            Fault::Unsent => {
                self.routes.doubt(node);
                return self.tell(Input::Unsent);
            }
            Fault::LostRequest => {
                self.routes.doubt(node);
                (self.owes, self.was_uncertain) = (true, true);
                return self.tell(Input::Lost);
            }
            Fault::Cancel => return self.tell(Input::Canceled),
            Fault::TooLate => return self.tell(Input::TooLate),
            Fault::Moves => self.grant += 1,
            Fault::Noise => self.noise(Step::Send(node)),
            Fault::None
            | Fault::LostAnswer
            | Fault::Silence { .. }
            | Fault::Overloaded { .. }
            | Fault::Unavailable
            | Fault::Guess { .. }
            | Fault::Stale => {}
        }
        if node != owner(self.grant).node {
            let place = if fault == Fault::Stale { owner(self.grant - 3) } else { owner(self.grant) };
            return self.tell(Input::Moved(place));
        }
        match fault {
            Fault::LostAnswer => {
                self.carry_out();
                self.routes.doubt(node);
                (self.owes, self.was_uncertain) = (true, true);
                self.tell(Input::Lost)
            }
            Fault::Silence { carried_out } => {
                if carried_out {
                    self.carry_out();
                }
                self.was_uncertain = true;
                self.wait()
            }
            Fault::Overloaded { retry_after_ms } => {
                let retry_after = Duration::from_millis(retry_after_ms);
                self.owes = true;
                self.asked_to_wait = self.now.plus(retry_after);
                self.tell(Input::Overloaded { retry_after })
            }
            Fault::Unavailable => {
                self.owes = true;
                self.tell(Input::Unavailable)
            }
            Fault::None
            | Fault::Moves
            | Fault::Unsent
            | Fault::LostRequest
            | Fault::Stale
            | Fault::Guess { .. }
            | Fault::TooLate
            | Fault::Noise
            | Fault::Cancel => {
                self.carry_out();
                self.tell(Input::Answered)
            }
        }
    }

    fn ask(&mut self, (fault, micros): Event) -> Step {
        self.now.0 += micros;
        match fault {
            Fault::Unsent
            | Fault::LostRequest
            | Fault::LostAnswer
            | Fault::Overloaded { .. }
            | Fault::TooLate
            | Fault::Unavailable => self.tell(Input::Unrouted),
            Fault::Guess { node } => self.tell(Input::Chosen(NodeId::new(node).unwrap())),
            Fault::Silence { .. } => self.wait(),
            Fault::Stale => self.tell(Input::Routed(owner(self.grant - 2))),
            Fault::Cancel => self.tell(Input::Canceled),
            Fault::Moves => {
                let place = owner(self.grant);
                self.grant += 1;
                self.tell(Input::Routed(place))
            }
            Fault::Noise => {
                self.noise(Step::Ask);
                self.tell(Input::Routed(owner(self.grant)))
            }
            Fault::None => self.tell(Input::Routed(owner(self.grant))),
        }
    }

    /// Drives the call to its end. Not forever: the script ends, and then nothing goes wrong.
    fn run(&mut self, mut step: Step) -> Result<(), GaveUp> {
        for _ in 0..1_000 {
            step = match step {
                Step::Ask => {
                    let event = self.script.next().unwrap_or((Fault::None, 1));
                    self.ask(event)
                }
                Step::Send(node) => {
                    let event = self.script.next().unwrap_or((Fault::None, 1));
                    self.send(node, event)
                }
                Step::Wait => {
                    if self.script.as_slice().first().is_some_and(|(fault, _)| *fault == Fault::Noise) {
                        self.noise(step);
                    }
                    self.wait()
                }
                Step::Done | Step::GiveUp(_) => {
                    assert_eq!(self.retry.due(), None);
                    assert_eq!(self.tell(Input::Answered), step, "what is over stays over");
                    return match step {
                        Step::Done => Ok(()),
                        Step::GiveUp(why) => Err(why),
                        Step::Ask | Step::Send(_) | Step::Wait => unreachable!("they go on"),
                    };
                }
            };
        }
        panic!("the call does not end");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_call_keeps_its_promises_whatever_goes_wrong(
        script in script(),
        repeat in repeat(),
        deadline_ms in 0_u64..8_000,
        burst in 0_u32..6,
        seed: u64,
    ) {
        let deadline = Micros(deadline_ms * 1_000);
        let call = Call { guild: GuildId::new(GUILD).unwrap(), repeat, deadline };
        let budget = BudgetConfig { percent: 0, per_second: 0, burst };
        let (mut world, step) = World::new(call, budget, script, seed);
        prop_assert!(world.now < deadline || step == Step::GiveUp(GaveUp::Late), "begun too late");
        let ended = world.run(step);
        prop_assert!(world.paid <= burst, "{} retries of a budget of {burst}", world.paid);
        if repeat == Repeat::Never {
            prop_assert!(world.carried_out <= 1, "carried out twice");
        }
        match ended {
            Ok(()) => prop_assert!(world.carried_out >= 1),
            Err(GaveUp::Late | GaveUp::Unavailable | GaveUp::Overloaded { .. }) => {
                prop_assert!(repeat == Repeat::Freely || world.carried_out == 0, "it was carried out");
            }
            Err(GaveUp::OutcomeUnknown) => {
                prop_assert!(repeat != Repeat::Freely && world.was_uncertain, "nothing is unknown");
            }
            Err(GaveUp::Canceled) => {}
        }
    }

    #[test]
    fn a_call_is_answered_once_nothing_goes_wrong_any_more(
        script in script(),
        repeat in repeat(),
        seed: u64,
    ) {
        let ends_it = |fault: &Fault| match fault {
            Fault::Silence { .. } | Fault::TooLate | Fault::Cancel => true,
            Fault::LostRequest | Fault::LostAnswer => repeat == Repeat::Never,
            Fault::None
            | Fault::Moves
            | Fault::Unsent
            | Fault::Overloaded { .. }
            | Fault::Unavailable
            | Fault::Stale
            | Fault::Guess { .. }
            | Fault::Noise => false,
        };
        let script = script.into_iter().filter(|(fault, _)| !ends_it(fault)).collect();
        let call = Call { guild: GuildId::new(GUILD).unwrap(), repeat, deadline: Micros(3_600_000_000) };
        let (mut world, step) = World::new(call, BudgetConfig::default(), script, seed);
        prop_assert_eq!(world.run(step), Ok(()));
        prop_assert!(world.carried_out >= 1 && (repeat == Repeat::Freely || world.carried_out == 1));
        prop_assert!(world.now < Micros(200_000_000), "it took {:?}", world.now);
    }
}

/// A call that is out at node 3, sent there by a route that is known.
fn out(repeat: Repeat, budget: BudgetConfig) -> World {
    let call = Call { guild: GuildId::new(GUILD).unwrap(), repeat, deadline: Micros(10_000_000) };
    let (mut world, step) = World::new(call, budget, Vec::new(), 0);
    assert_eq!(step, Step::Ask);
    assert_eq!(world.tell(Input::Routed(owner(10))), Step::Send(owner(10).node));
    world
}

#[test]
fn a_route_that_is_known_is_not_asked_for() {
    let mut world = out(Repeat::Freely, BudgetConfig::default());
    assert_eq!(world.tell(Input::Answered), Step::Done);
    let (_, step) = Retry::begin(world.now, world.call, &CONFIG, 1, &mut world.routes, &mut world.budget);
    assert_eq!(step, Step::Send(owner(10).node));
}

#[test]
fn a_guess_that_was_right_is_remembered_and_one_that_was_wrong_leads_on() {
    let call = Call { guild: GuildId::new(GUILD).unwrap(), repeat: Repeat::Freely, deadline: Micros(10_000_000) };
    let (mut world, step) = World::new(call, BudgetConfig::default(), Vec::new(), 0);
    let [right, wrong] = [owner(10).node, owner(11).node];
    assert_eq!((step, world.tell(Input::Chosen(wrong))), (Step::Ask, Step::Send(wrong)));
    assert_eq!(world.tell(Input::Moved(owner(10))), Step::Send(right));
    // The link ends, and comes back: who has the guild was never said again, but can be found.
    world.routes.doubt(right);
    assert_eq!(world.tell(Input::Unsent), Step::Wait);
    assert_eq!(world.wait(), Step::Ask);
    assert_eq!(world.tell(Input::Chosen(right)), Step::Send(right));
    assert_eq!(world.tell(Input::Answered), Step::Done);
    assert_eq!(world.routes.find(call.guild), Some(right));

    // It had the guild, has it no more, and knows only what is older than what is doubted: it is not asked again and again.
    let (mut retry, step) = Retry::begin(world.now, call, &CONFIG, 1, &mut world.routes, &mut world.budget);
    assert_eq!(step, Step::Send(right));
    let mut told = |now, input| retry.handle(now, input, &mut world.routes, &mut world.budget);
    assert_eq!(told(world.now, Input::Moved(owner(9))), Step::Wait);
    assert_eq!(told(world.now.plus(CONFIG.pauses.first), Input::Due), Step::Ask);
}

#[test]
fn a_message_whose_answer_was_lost_is_not_sent_again_and_a_command_is() {
    for (repeat, step) in [
        (Repeat::Never, Step::GiveUp(GaveUp::OutcomeUnknown)),
        (Repeat::ById, Step::Wait),
        (Repeat::Freely, Step::Wait),
    ] {
        let mut world = out(repeat, BudgetConfig::default());
        assert_eq!(world.tell(Input::Lost), step);
        // What surely was not carried out is sent again whatever it is.
        let mut world = out(repeat, BudgetConfig::default());
        assert_eq!(world.tell(Input::Unsent), Step::Wait);
        // Not where it did not come through, until somebody says again that its guild is there.
        assert_eq!(world.wait(), Step::Ask);
        assert_eq!(world.tell(Input::Routed(owner(10))), Step::Send(owner(10).node));
    }
}

#[test]
fn what_a_command_came_to_that_has_expired_is_unknown_only_if_it_may_have_come_through_before() {
    let mut world = out(Repeat::ById, BudgetConfig::default());
    assert_eq!(world.tell(Input::Expired), Step::Done, "it is refused");

    let mut world = out(Repeat::ById, BudgetConfig::default());
    assert_eq!(world.tell(Input::Lost), Step::Wait);
    assert_eq!(world.wait(), Step::Send(owner(10).node));
    assert_eq!(world.tell(Input::Expired), Step::GiveUp(GaveUp::OutcomeUnknown));
}

#[test]
fn who_gives_up_after_a_lost_answer_says_that_the_outcome_is_unknown() {
    let mut world = out(Repeat::ById, BudgetConfig::default());
    assert_eq!(world.tell(Input::Lost), Step::Wait);
    assert_eq!(world.wait(), Step::Send(owner(10).node));
    let overloaded = Input::Overloaded { retry_after: Duration::from_secs(60) };
    assert_eq!(world.tell(overloaded), Step::GiveUp(GaveUp::OutcomeUnknown));

    let mut world = out(Repeat::ById, BudgetConfig::default());
    let why = GaveUp::Overloaded { retry_after: Duration::from_secs(60) };
    assert_eq!(world.tell(overloaded), Step::GiveUp(why), "there is no room in time, and it was not carried out");
}

#[test]
fn without_a_budget_a_call_follows_moves_and_is_not_repeated() {
    let none = BudgetConfig { percent: 0, per_second: 0, burst: 0 };
    let mut world = out(Repeat::ById, none);
    for grant in 11..14 {
        assert_eq!(world.tell(Input::Moved(owner(grant))), Step::Send(owner(grant).node));
    }
    assert_eq!(world.tell(Input::Moved(owner(14))), Step::Wait, "often enough without a pause");
    assert_eq!(world.wait(), Step::Send(owner(14).node));
    assert_eq!(world.tell(Input::Unavailable), Step::GiveUp(GaveUp::Unavailable));
}

#[test]
fn word_that_leads_back_is_not_followed() {
    let mut world = out(Repeat::ById, BudgetConfig::default());
    assert_eq!(world.tell(Input::Moved(owner(9))), Step::Wait);
    assert_eq!(world.wait(), Step::Send(owner(10).node));
    // But another call may have heard better meanwhile.
    let call = world.call;
    assert_eq!(world.routes.learn(call.guild, owner(11)), Learned::News);
    assert_eq!(world.tell(Input::Moved(owner(9))), Step::Send(owner(11).node));
}
