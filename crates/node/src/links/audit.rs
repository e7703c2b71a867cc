//! What operators do, on record: one line of the log, at the target [`AUDIT`], for each call of theirs, when it has ended.
//!
//! Who asked, what, of which guild, about whom, under which operation id, where it was carried out, and how the call ended. Of what was asked
//! nothing else stands there, above all no text that anybody has chosen.

use std::sync::Arc;

use guildhall_proto::call::{Answer, CallFault, Request};
use guildhall_proto::{GuildId, OpId, Position, Reply, UserId};
use guildhall_transport::Identity;

use super::calls::Prepared;
use super::unanswered::Unanswered;

/// The target of the lines, which are of the level `INFO`.
pub const AUDIT: &str = "audit";

/// One call, written when it is dropped: however the call ends, it is on record.
pub(super) struct Record {
    operator: Arc<Identity>,
    call: &'static str,
    guild: Option<GuildId>,
    user: Option<UserId>,
    op: Option<OpId>,
    at: Option<Position>,
    outcome: &'static str,
    /// What the caller was told, if that is not what it asked for.
    why: Option<CallFault>,
}

impl Record {
    /// Of a call that is not read yet.
    pub(super) fn new(operator: Arc<Identity>) -> Self {
        let (call, outcome) = (UNREADABLE, BROKEN_OFF);
        Self { operator, call, guild: None, user: None, op: None, at: None, outcome, why: None }
    }

    pub(super) fn asks(&mut self, asked: &Request) {
        self.call = call(asked);
        self.guild = asked.guild();
        match asked {
            Request::Command { op, command, .. } => (self.op, self.user) = (Some(*op), command.user()),
            Request::Import { op, .. } => self.op = Some(*op),
            Request::Read { read, .. } => self.user = read.user(),
            Request::Ping
            | Request::Stats
            | Request::Guilds { .. }
            | Request::Typing { .. }
            | Request::Recipients { .. }
            | Request::Session { .. }
            | Request::SecretKeys
            | Request::Feed { .. }
            | Request::CloseFeed { .. }
            | Request::Export { .. }
            | Request::Backup => {}
        }
    }

    /// It was carried out, and what is left is to tell.
    pub(super) fn carried_out(&mut self, prepared: &Prepared) {
        if let Prepared::Whole(Answer::Reply(Reply::Outcome(outcome))) = prepared {
            self.at = Some(outcome.at());
        }
    }

    /// All was told.
    pub(super) fn answered(&mut self) {
        self.outcome = "answered";
    }

    /// The first reason stands.
    pub(super) fn unanswered(&mut self, unanswered: &Unanswered) {
        if self.why.is_some() {
            return;
        }
        self.outcome = match unanswered {
            Unanswered::Fault(fault) => {
                self.why = Some(fault.clone());
                fault.reason()
            }
            Unanswered::Left => "left",
            Unanswered::Unread => "unread",
            Unanswered::Stalled => "stalled",
        };
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        let Self { operator, call, guild, user, op, at, outcome, why } = self;
        tracing::info!(
            target: AUDIT,
            operator = %operator,
            call,
            guild = guild.map(display),
            user = user.map(display),
            op = op.map(|op| display(format!("{}.{}", op.client.get(), op.counter))),
            at = at.map(display),
            outcome,
            why = why.as_ref().map(display),
            "an operator's call"
        );
    }
}

/// What is asked, by the name of the command, of what is read, or of the call.
fn call(asked: &Request) -> &'static str {
    match asked {
        Request::Command { command, .. } => command.name(),
        Request::Read { read, .. } => read.name(),
        Request::Ping
        | Request::Stats
        | Request::Guilds { .. }
        | Request::Import { .. }
        | Request::Typing { .. }
        | Request::Recipients { .. }
        | Request::Session { .. }
        | Request::SecretKeys
        | Request::Feed { .. }
        | Request::CloseFeed { .. }
        | Request::Export { .. }
        | Request::Backup => asked.call().name(),
    }
}

/// What no request could be read from.
const UNREADABLE: &str = "unreadable";
/// The node itself gave it up.
const BROKEN_OFF: &str = "broken off";
