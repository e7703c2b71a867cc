//! One call on its way: where it is sent, when it is sent again, and when it is given up.
//!
//! A pure machine: whoever drives it performs the [`Step`] that it is told, and tells what came of it as an [`Input`]. What it promises:
//!
//! - nothing is sent, nor asked, from the deadline on, and the call ends by it;
//! - what may have been carried out is sent again only if that does no harm ([`Repeat`]); who is told [`GaveUp::Late`],
//!   [`GaveUp::Overloaded`] or [`GaveUp::Unavailable`] of a call that changes something knows that it was not;
//! - a pause is never shorter than a node asked for, and spread by full jitter on top of that;
//! - a node that a call has cost something is asked again only as the client's [`RetryBudget`] allows. What costs a node nothing, because it had to
//!   say only who has the guild, or never heard of the call, is bounded by pauses that grow.

use std::time::Duration;

use guildhall_proto::{Caps, GuildId, Jitter, NodeId};

use crate::{Micros, Place, RetryBudget, Routes};

/// How calls are repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryConfig {
    /// What pauses stay below, without that for which a node asks. Default 20 ms for the first and 1 s for any. Shorter, and a node that is in trouble is
    /// asked for nothing; longer, and calls lie there when it is over.
    pub pauses: Caps,
    /// How often a call follows word of where its guild is without a pause. Default 4. Less, and a guild that moved twice costs a pause; more, and nodes that
    /// send callers to each other are asked for nothing.
    pub redirects_max: u32,
}

/// A call, as far as it matters for its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Call {
    /// Whose it is.
    pub guild: GuildId,
    /// What it would do to send it twice.
    pub repeat: Repeat,
    /// When it is to be over.
    pub deadline: Micros,
}

/// What comes of a call that is carried out and then sent again, because its answer was lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repeat {
    /// No harm: it only asks, or says again what is so.
    Freely,
    /// It is known by its operation id, which it bears again, and answered as it was: a durable command.
    ById,
    /// It would be carried out again: a message.
    Never,
}

/// What the driver is to do next, and then to tell what came of it. Whatever it is, it is over at [`Retry::due`]: then [`Input::Due`] is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Nobody has said where the guild is: ask, told as [`Input::Routed`]; or choose any node that can be reached, which will say so if it does not have the
    /// guild itself, told as [`Input::Chosen`]; or [`Input::Unrouted`].
    Ask,
    /// Send the call to this node: told as an answer, or as [`Input::Unsent`] or [`Input::Lost`].
    Send(NodeId),
    /// Go on with what is under way; if nothing is, wait.
    Wait,
    /// The call is answered: hand the answer on.
    Done,
    /// The call is over without an answer.
    GiveUp(GaveUp),
}

/// What has come of the last step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Input {
    /// Somebody says where the guild is.
    Routed(Place),
    /// This node is to be tried.
    Chosen(NodeId),
    /// Nobody could say where the guild is, and no node can be reached.
    Unrouted,
    /// The call is answered, be it with a refusal.
    Answered,
    /// The call is refused, for the time is over in which its operation id is known: what it came to is forgotten, if it came to anything.
    Expired,
    /// The node does not have the guild. Nothing happened.
    Moved(Place),
    /// The node has no room for the call. Nothing happened.
    Overloaded {
        /// When there should be.
        retry_after: Duration,
    },
    /// The node has the guild, and could not load it. Nothing happened.
    Unavailable,
    /// There is no link to the node, it never heard of the call, or it says that it is stopping. Nothing happened; the guild may be elsewhere soon.
    Unsent,
    /// The node says that the call came too late. Nothing happened.
    TooLate,
    /// The node may have heard of the call, and there will be no answer: the link has ended, or the guild's owner.
    Lost,
    /// It is [`Retry::due`].
    Due,
    /// Nobody wants the answer any more.
    Canceled,
}

/// Why a call is over without an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum GaveUp {
    /// It may have been carried out, or may yet be. A durable one may be sent again under its operation id.
    #[error("the outcome is unknown")]
    OutcomeUnknown,
    /// There was no room for it, and there will be none in time, or the client has repeated too much already. It was not carried out.
    #[error("overloaded; retry after {retry_after:?}")]
    Overloaded {
        /// What the node said last.
        retry_after: Duration,
    },
    /// No node could take it, and none will in time, or the client has repeated too much already. It was not carried out; of a call that only asks nothing is
    /// known but that no answer came.
    #[error("the guild cannot be reached")]
    Unavailable,
    /// Its deadline has come. It was not carried out; of a call that only asks nothing is known but that no answer came.
    #[error("the deadline has come")]
    Late,
    /// Nobody wants the answer any more.
    #[error("canceled")]
    Canceled,
}

/// One call on its way.
#[derive(Debug)]
pub struct Retry {
    call: Call,
    redirects_max: u32,
    pauses: Jitter,
    phase: Phase,
    /// Followed so far without a pause.
    redirects: u32,
    /// Whether an attempt may have been carried out whose answer was lost.
    is_in_doubt: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Somebody is asked where the guild is.
    Asking,
    /// This node has the call.
    Out(NodeId),
    Pausing {
        until: Micros,
    },
    Ended(Result<(), GaveUp>),
}

impl Retry {
    /// Begins a call, and tells the first step. `seed` should differ from call to call.
    pub fn begin(
        now: Micros,
        call: Call,
        config: &RetryConfig,
        seed: u64,
        routes: &mut Routes,
        budget: &mut RetryBudget,
    ) -> (Self, Step) {
        let RetryConfig { pauses, redirects_max } = *config;
        let pauses = Jitter::new(pauses, seed);
        let mut retry = Self { call, redirects_max, pauses, phase: Phase::Asking, redirects: 0, is_in_doubt: false };
        budget.deposit(now);
        let step = retry.set_out(now, routes);
        (retry, step)
    }

    /// Takes what has come of the last step, and tells the next. What does not fit to that is passed over: an end that is told twice, say.
    ///
    /// Of a link that ended [`Routes::doubt`] is to be told beside it, once for all calls that were on it.
    pub fn handle(&mut self, now: Micros, input: Input, routes: &mut Routes, budget: &mut RetryBudget) -> Step {
        match self.phase {
            Phase::Ended(ended) => told(ended),
            Phase::Pausing { until } => self.pausing(now, until, input, routes),
            Phase::Asking => self.asking(now, input, routes),
            Phase::Out(node) => self.out(now, node, input, routes, budget),
        }
    }

    /// When to tell [`Input::Due`], if nothing else has come by then; `None` once the call is over.
    pub const fn due(&self) -> Option<Micros> {
        match self.phase {
            Phase::Asking | Phase::Out(_) => Some(self.call.deadline),
            Phase::Pausing { until } => Some(until),
            Phase::Ended(_) => None,
        }
    }

    /// Whether the call may have been carried out, by an attempt that is over and whose answer was lost.
    pub const fn is_in_doubt(&self) -> bool {
        self.is_in_doubt
    }

    fn pausing(&mut self, now: Micros, until: Micros, input: Input, routes: &mut Routes) -> Step {
        match input {
            Input::Due if now >= until => self.set_out(now, routes),
            Input::Canceled => self.end(Err(GaveUp::Canceled)),
            Input::Due
            | Input::Routed(_)
            | Input::Chosen(_)
            | Input::Unrouted
            | Input::Answered
            | Input::Expired
            | Input::Moved(_)
            | Input::Overloaded { .. }
            | Input::Unavailable
            | Input::Unsent
            | Input::TooLate
            | Input::Lost => Step::Wait,
        }
    }

    fn asking(&mut self, now: Micros, input: Input, routes: &mut Routes) -> Step {
        match input {
            Input::Routed(place) => {
                routes.learn(self.call.guild, place);
                match routes.find(self.call.guild) {
                    Some(node) => self.send(now, node),
                    // Whoever was asked knows less than is doubted already.
                    None => self.pause(now, Duration::ZERO, GaveUp::Unavailable),
                }
            }
            Input::Chosen(node) => self.send(now, node),
            Input::Unrouted => self.pause(now, Duration::ZERO, GaveUp::Unavailable),
            Input::Due if now >= self.call.deadline => self.give_up(GaveUp::Late),
            Input::Canceled => self.end(Err(GaveUp::Canceled)),
            Input::Due
            | Input::Answered
            | Input::Expired
            | Input::Moved(_)
            | Input::Overloaded { .. }
            | Input::Unavailable
            | Input::Unsent
            | Input::TooLate
            | Input::Lost => Step::Wait,
        }
    }

    fn out(&mut self, now: Micros, node: NodeId, input: Input, routes: &mut Routes, budget: &mut RetryBudget) -> Step {
        match input {
            Input::Answered | Input::Expired => {
                routes.answered(self.call.guild, node);
                #[cfg(feature = "defects")]
                if guildhall_proto::Defect::ExpiredBelieved.is_on() {
                    return self.end(Ok(()));
                }
                if input == Input::Expired && self.is_in_doubt {
                    return self.give_up(GaveUp::OutcomeUnknown);
                }
                self.end(Ok(()))
            }
            Input::Moved(place) => {
                routes.moved(self.call.guild, node, place);
                // Where it leads by now, which another call may know better; not to the one that has just said no.
                let elsewhere = routes.find(self.call.guild).filter(|elsewhere| *elsewhere != node);
                match elsewhere.filter(|_| self.redirects < self.redirects_max) {
                    Some(elsewhere) => {
                        self.redirects += 1;
                        self.send(now, elsewhere)
                    }
                    None => self.pause(now, Duration::ZERO, GaveUp::Unavailable),
                }
            }
            Input::Overloaded { retry_after } => {
                self.repeat(now, retry_after, GaveUp::Overloaded { retry_after }, budget)
            }
            Input::Unavailable => self.repeat(now, Duration::ZERO, GaveUp::Unavailable, budget),
            Input::Unsent => {
                routes.doubt_of(self.call.guild, node);
                self.pause(now, Duration::ZERO, GaveUp::Unavailable)
            }
            Input::TooLate => self.give_up(GaveUp::Late),
            #[cfg(feature = "defects")]
            Input::Lost if guildhall_proto::Defect::MessageRepeated.is_on() => {
                self.repeat(now, Duration::ZERO, GaveUp::OutcomeUnknown, budget)
            }
            Input::Lost => match self.call.repeat {
                Repeat::Freely => self.repeat(now, Duration::ZERO, GaveUp::Unavailable, budget),
                Repeat::ById => {
                    self.is_in_doubt = true;
                    self.repeat(now, Duration::ZERO, GaveUp::OutcomeUnknown, budget)
                }
                Repeat::Never => self.give_up(GaveUp::OutcomeUnknown),
            },
            #[cfg(feature = "defects")]
            Input::Due if guildhall_proto::Defect::DeadlinePassed.is_on() => Step::Wait,
            Input::Due if now >= self.call.deadline => match self.call.repeat {
                Repeat::Freely => self.give_up(GaveUp::Late),
                Repeat::ById | Repeat::Never => self.give_up(GaveUp::OutcomeUnknown),
            },
            Input::Canceled => self.end(Err(GaveUp::Canceled)),
            Input::Due | Input::Routed(_) | Input::Chosen(_) | Input::Unrouted => Step::Wait,
        }
    }

    /// Sends the call where its guild is, or asks where that is.
    fn set_out(&mut self, now: Micros, routes: &mut Routes) -> Step {
        match routes.find(self.call.guild) {
            Some(node) => self.send(now, node),
            None if now >= self.call.deadline => self.give_up(GaveUp::Late),
            None => {
                self.phase = Phase::Asking;
                Step::Ask
            }
        }
    }

    fn send(&mut self, now: Micros, node: NodeId) -> Step {
        if now >= self.call.deadline {
            return self.give_up(GaveUp::Late);
        }
        self.phase = Phase::Out(node);
        Step::Send(node)
    }

    /// Sends the call again after a pause, where the attempt before has cost a node something.
    fn repeat(&mut self, now: Micros, at_least: Duration, why: GaveUp, budget: &mut RetryBudget) -> Step {
        let step = self.pause(now, at_least, why);
        #[cfg(feature = "defects")]
        if guildhall_proto::Defect::BudgetUnspent.is_on() {
            return step;
        }
        match step {
            Step::Wait if budget.withdraw(now).is_err() => self.give_up(why),
            Step::Wait | Step::Ask | Step::Send(_) | Step::Done | Step::GiveUp(_) => step,
        }
    }

    /// Waits, or gives up at once if the deadline would come first.
    fn pause(&mut self, now: Micros, at_least: Duration, why: GaveUp) -> Step {
        let until = now.plus(at_least.saturating_add(self.pauses.draw()));
        if until >= self.call.deadline {
            return self.give_up(why);
        }
        self.phase = Phase::Pausing { until };
        Step::Wait
    }

    fn give_up(&mut self, why: GaveUp) -> Step {
        #[cfg(feature = "defects")]
        if guildhall_proto::Defect::DoubtForgotten.is_on() && why != GaveUp::OutcomeUnknown {
            return self.end(Err(why));
        }
        self.end(Err(if self.is_in_doubt { GaveUp::OutcomeUnknown } else { why }))
    }

    const fn end(&mut self, ended: Result<(), GaveUp>) -> Step {
        self.phase = Phase::Ended(ended);
        told(ended)
    }
}

const fn told(ended: Result<(), GaveUp>) -> Step {
    match ended {
        Ok(()) => Step::Done,
        Err(why) => Step::GiveUp(why),
    }
}

impl Default for RetryConfig {
    fn default() -> Self {
        let pauses = Caps { first: Duration::from_millis(20), most: Duration::from_secs(1) };
        Self { pauses, redirects_max: 4 }
    }
}
