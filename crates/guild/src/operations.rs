//! The outcomes that retries may still ask for, and the floors under which an operation may have been forgotten.
//!
//! Outcomes are kept until [`OUTCOME_KEPT`] past their issue time, the newest [`CLIENT_OUTCOMES_MAX`] per client. What is forgotten
//! raises a floor: the time floor follows the owner's clock, a client's counter floor follows its forgotten counters. At or under a
//! floor an operation is `Expired`, never applied, so that no retry is applied twice however late it comes.
//!
//! Invariants:
//! - a client's outcomes ascend by counter, and all lie above its floor;
//! - no client is forgotten while an operation under its floor could pass the time floor.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::sync::Arc;

use guildhall_proto::limits::{CLIENT_OUTCOMES_MAX, ISSUE_AHEAD_MAX, OUTCOME_KEPT};
use guildhall_proto::{AppliedOp, BodyHash, ClientId, CommandError, KeptClient, Limited, Millis, OpId, Outcome, Stage};

use crate::decide::within;

/// A clone costs one reference count per client.
#[derive(Debug, Clone, Default)]
pub(crate) struct Operations {
    clients: BTreeMap<ClientId, Arc<Client>>,
    /// The client that was swept last.
    swept: Option<ClientId>,
}

/// What is known of an operation before it is applied.
#[derive(Debug)]
pub(crate) enum Seen {
    /// It is new: apply it.
    New,
    /// It was answered before: answer the same.
    Answered(Result<Outcome, CommandError>),
    /// It was begun, is not finished, and has come to this.
    Unfinished(Outcome),
}

#[derive(Debug, Clone, Default)]
struct Client {
    floor: u64,
    floor_issued_at: Millis,
    kept: VecDeque<Kept>,
}

#[derive(Debug, Clone)]
struct Kept {
    counter: u64,
    issued_at: Millis,
    body: BodyHash,
    answer: Known,
}

/// What is known of an operation.
#[derive(Debug, Clone)]
enum Known {
    Final(Result<Outcome, CommandError>),
    SoFar(Outcome),
}

impl Operations {
    /// Tells whether an operation may be applied.
    ///
    /// # Errors
    /// `IssuedAhead`, `Expired`, `OpReused`, or `LimitExceeded` where one more client would be too many.
    pub(crate) fn look_up(&mut self, now: Millis, op: OpId, body: BodyHash) -> Result<Seen, CommandError> {
        self.sweep(now);
        if op.issued_at > now.plus(ISSUE_AHEAD_MAX) {
            return Err(CommandError::IssuedAhead { op, now });
        }
        if op.issued_at <= time_floor(now) || op.counter == 0 {
            return Err(CommandError::Expired { op });
        }
        if self.clients.len() >= Limited::Clients.max() && !self.clients.contains_key(&op.client) {
            self.sweep_all(now);
        }
        let Some(client) = self.clients.get(&op.client) else {
            within(Limited::Clients, self.clients.len() + 1)?;
            return Ok(Seen::New);
        };
        match client.find(op.counter) {
            Ok(at) => {
                let kept = &client.kept[at];
                #[cfg(feature = "defects")]
                let body = if guildhall_proto::Defect::BodyIgnored.is_on() { kept.body } else { body };
                #[cfg(feature = "defects")]
                let op = if guildhall_proto::Defect::IssueTimeIgnored.is_on() {
                    OpId { issued_at: kept.issued_at, ..op }
                } else {
                    op
                };
                if kept.body != body || kept.issued_at != op.issued_at {
                    return Err(CommandError::OpReused { op });
                }
                #[cfg(feature = "defects")]
                if guildhall_proto::Defect::RetryAppliedAgain.is_on() {
                    return Ok(Seen::New);
                }
                Ok(match &kept.answer {
                    Known::Final(answer) => Seen::Answered(answer.clone()),
                    Known::SoFar(outcome) => Seen::Unfinished(*outcome),
                })
            }
            Err(_) if op.counter <= client.floor => Err(CommandError::Expired { op }),
            Err(_) => Ok(Seen::New),
        }
    }

    /// Keeps an operation's final answer, unless one is kept, and forgets the client's oldest if it has too many. O(1) for rising
    /// counters.
    pub(crate) fn keep(&mut self, op: OpId, body: BodyHash, answer: Result<Outcome, CommandError>) {
        self.note(op, body, Known::Final(answer));
    }

    /// Keeps what an applied operation has come to. As [`keep`](Self::keep).
    pub(crate) fn keep_applied(&mut self, applied: &AppliedOp) {
        let known = match applied.stage {
            Stage::Finished => Known::Final(Ok(applied.outcome)),
            Stage::Unfinished => Known::SoFar(applied.outcome),
        };
        self.note(applied.id, applied.body, known);
    }

    fn note(&mut self, op: OpId, body: BodyHash, answer: Known) {
        let client = Arc::make_mut(self.clients.entry(op.client).or_default());
        let at = match client.find(op.counter) {
            Ok(at) => {
                let kept = &mut client.kept[at];
                match kept.answer {
                    // Recovery may meet an operation that its checkpoint holds already.
                    Known::Final(_) => {}
                    Known::SoFar(_) => kept.answer = answer,
                }
                return;
            }
            Err(at) => at,
        };
        // Forgotten before it was finished, or before the checkpoint that recovery began with.
        if op.counter <= client.floor {
            return;
        }
        client.kept.insert(at, Kept { counter: op.counter, issued_at: op.issued_at, body, answer });
        #[cfg(feature = "defects")]
        if guildhall_proto::Defect::OutcomesUnbounded.is_on() {
            return;
        }
        if client.kept.len() > CLIENT_OUTCOMES_MAX {
            client.forget_oldest();
        }
    }

    /// Forgets what lies under the time floor, of one client after the other, so that no command pays for all of them: O(log
    /// clients), and what is forgotten was kept by a command each. The time floor alone keeps it from being applied again.
    fn sweep(&mut self, now: Millis) {
        let after = self.swept.map_or(Bound::Unbounded, Bound::Excluded);
        let next = self.clients.range_mut((after, Bound::Unbounded)).next();
        self.swept = next.as_ref().map(|(id, _)| **id);
        if let Some((id, client)) = next
            && client.expire(time_floor(now))
        {
            let id = *id;
            self.clients.remove(&id);
        }
    }

    /// Forgets all that lies under the time floor: O(clients). For when there is room for no more of them.
    fn sweep_all(&mut self, now: Millis) {
        let floor = time_floor(now);
        self.clients.retain(|_, client| !client.expire(floor));
    }

    /// Forgets all that lies under the time floor, and frees the room of what was forgotten. O(clients).
    pub(crate) fn tidy(&mut self, now: Millis) {
        self.sweep_all(now);
        if self.clients.is_empty() {
            // A tree that was emptied keeps a leaf.
            self.clients = BTreeMap::new();
        }
        for client in self.clients.values_mut() {
            if let Some(client) = Arc::get_mut(client) {
                client.kept.shrink_to_fit();
            }
        }
    }

    /// The kept outcomes of applied operations, for a checkpoint. Refusals changed nothing and are not among them.
    pub(crate) fn export(&self) -> Vec<KeptClient> {
        let kept = |id: ClientId, client: &Client| KeptClient {
            client: id,
            floor: client.floor,
            floor_issued_at: client.floor_issued_at,
            operations: client.kept.iter().filter_map(|kept| kept.applied(id)).collect(),
        };
        self.clients.iter().map(|(id, client)| kept(*id, client)).collect()
    }

    /// What [`export`](Self::export) gave.
    pub(crate) fn import(clients: Vec<KeptClient>) -> Self {
        let mut operations = Self::default();
        for kept in clients {
            let client = Client { floor: kept.floor, floor_issued_at: kept.floor_issued_at, kept: VecDeque::new() };
            operations.clients.insert(kept.client, Arc::new(client));
            for applied in kept.operations {
                operations.keep_applied(&applied);
            }
        }
        operations
    }
}

impl Client {
    fn find(&self, counter: u64) -> Result<usize, usize> {
        match self.kept.back() {
            Some(newest) if newest.counter < counter => Err(self.kept.len()),
            Some(_) => self.kept.binary_search_by_key(&counter, |kept| kept.counter),
            None => Err(0),
        }
    }

    /// Forgets the oldest outcomes that lie under the time floor, and tells whether nothing is left that has to be known. An outcome
    /// that was issued before one with a lower counter goes with that.
    fn expire(self: &mut Arc<Self>, floor: Millis) -> bool {
        #[cfg(feature = "defects")]
        let floor = if guildhall_proto::Defect::ForgottenEarly.is_on() {
            floor.plus(OUTCOME_KEPT - std::time::Duration::from_secs(60))
        } else {
            floor
        };
        if self.kept.front().is_some_and(|oldest| oldest.issued_at <= floor) {
            let client = Arc::make_mut(self);
            while client.kept.front().is_some_and(|oldest| oldest.issued_at <= floor) {
                client.kept.pop_front();
            }
        }
        self.kept.is_empty() && self.floor_issued_at <= floor
    }

    fn forget_oldest(&mut self) {
        let oldest = self.kept.pop_front().expect("more are kept than are allowed, so at least one is");
        #[cfg(feature = "defects")]
        if guildhall_proto::Defect::FloorNotRaised.is_on() {
            return;
        }
        self.floor = self.floor.max(oldest.counter);
        self.floor_issued_at = self.floor_issued_at.max(oldest.issued_at);
    }
}

impl Kept {
    fn applied(&self, client: ClientId) -> Option<AppliedOp> {
        let (outcome, stage) = match &self.answer {
            Known::Final(Ok(outcome)) => (*outcome, Stage::Finished),
            Known::SoFar(outcome) => (*outcome, Stage::Unfinished),
            Known::Final(Err(_)) => return None,
        };
        let id = OpId { client, counter: self.counter, issued_at: self.issued_at };
        Some(AppliedOp { id, body: self.body, outcome, stage })
    }
}

/// At or before this issue time an operation may have been forgotten.
fn time_floor(now: Millis) -> Millis {
    #[cfg(feature = "defects")]
    if guildhall_proto::Defect::ExpiredApplied.is_on() {
        return Millis(0);
    }
    now.minus(OUTCOME_KEPT)
}

#[cfg(test)]
mod tests {
    use guildhall_proto::limits::GUILD_CLIENTS_MAX;
    use guildhall_proto::{Epoch, Position, Seq};

    use super::*;

    const NOW: Millis = Millis(10_000_000);

    fn op(client: u64, counter: u64, issued_at: Millis) -> OpId {
        OpId { client: ClientId::new(client).unwrap(), counter, issued_at }
    }

    fn outcome(seq: u64) -> Result<Outcome, CommandError> {
        Ok(Outcome::Applied { at: Position { epoch: Epoch(1), seq: Seq(seq) } })
    }

    #[test]
    fn a_retry_is_answered_as_before_and_another_body_is_refused() {
        let mut operations = Operations::default();
        let first = op(1, 5, NOW);
        assert!(matches!(operations.look_up(NOW, first, BodyHash(1)), Ok(Seen::New)));
        operations.keep(first, BodyHash(1), outcome(9));

        assert!(
            matches!(operations.look_up(NOW, first, BodyHash(1)), Ok(Seen::Answered(answer)) if answer == outcome(9))
        );
        assert!(matches!(operations.look_up(NOW, first, BodyHash(2)), Err(CommandError::OpReused { .. })));
        let later = op(1, 5, Millis(NOW.0 + 1));
        assert!(matches!(operations.look_up(NOW, later, BodyHash(1)), Err(CommandError::OpReused { .. })));
    }

    #[test]
    fn counters_may_come_in_any_order_above_the_floor() {
        let mut operations = Operations::default();
        for counter in [7, 3, 5] {
            assert!(matches!(operations.look_up(NOW, op(1, counter, NOW), BodyHash(1)), Ok(Seen::New)));
            operations.keep(op(1, counter, NOW), BodyHash(1), outcome(counter));
        }
        for counter in [3, 5, 7] {
            let seen = operations.look_up(NOW, op(1, counter, NOW), BodyHash(1));
            assert!(matches!(seen, Ok(Seen::Answered(answer)) if answer == outcome(counter)));
        }
    }

    #[test]
    fn what_a_client_had_forgotten_by_count_is_expired_and_stays_so_over_a_checkpoint() {
        let mut operations = Operations::default();
        let newest = CLIENT_OUTCOMES_MAX as u64 + 2;
        for counter in 1..=newest {
            operations.keep(op(1, counter, NOW), BodyHash(1), outcome(counter));
        }
        let mut restored = Operations::import(operations.export());
        for operations in [&mut operations, &mut restored] {
            assert!(matches!(operations.look_up(NOW, op(1, 2, NOW), BodyHash(1)), Err(CommandError::Expired { .. })));
            assert!(matches!(operations.look_up(NOW, op(1, 3, NOW), BodyHash(1)), Ok(Seen::Answered(_))));
            assert!(matches!(operations.look_up(NOW, op(1, newest + 1, NOW), BodyHash(1)), Ok(Seen::New)));
        }
    }

    #[test]
    fn counters_begin_at_1() {
        let mut operations = Operations::default();
        assert!(matches!(operations.look_up(NOW, op(1, 0, NOW), BodyHash(1)), Err(CommandError::Expired { .. })));
        assert!(matches!(operations.look_up(NOW, op(1, 1, NOW), BodyHash(1)), Ok(Seen::New)));
    }

    #[test]
    fn an_operation_expires_with_time_and_its_client_is_forgotten() {
        let mut operations = Operations::default();
        operations.keep(op(1, 1, NOW), BodyHash(1), outcome(1));
        let late = NOW.plus(OUTCOME_KEPT);
        let just_before = Millis(late.0 - 1);
        assert!(matches!(operations.look_up(just_before, op(1, 1, NOW), BodyHash(1)), Ok(Seen::Answered(_))));
        assert!(matches!(operations.look_up(late, op(1, 1, NOW), BodyHash(1)), Err(CommandError::Expired { .. })));
        operations.sweep(late);
        assert!(operations.clients.is_empty());
    }

    #[test]
    fn an_operation_from_the_future_is_refused() {
        let mut operations = Operations::default();
        let edge = NOW.plus(ISSUE_AHEAD_MAX);
        assert!(matches!(operations.look_up(NOW, op(1, 1, edge), BodyHash(1)), Ok(Seen::New)));
        let over = Millis(edge.0 + 1);
        assert!(matches!(operations.look_up(NOW, op(1, 1, over), BodyHash(1)), Err(CommandError::IssuedAhead { .. })));
    }

    #[test]
    fn one_client_too_many_is_refused_until_others_have_expired() {
        let mut operations = Operations::default();
        for client in 1..=GUILD_CLIENTS_MAX as u64 {
            operations.keep(op(client, 1, NOW), BodyHash(1), outcome(1));
        }
        let newcomer = GUILD_CLIENTS_MAX as u64 + 1;
        let refused = operations.look_up(NOW, op(newcomer, 1, NOW), BodyHash(1));
        assert!(matches!(refused, Err(CommandError::LimitExceeded { what: Limited::Clients, got: 4_097 })));
        let late = NOW.plus(OUTCOME_KEPT);
        assert!(matches!(operations.look_up(late, op(newcomer, 1, late), BodyHash(1)), Ok(Seen::New)));
    }
}
