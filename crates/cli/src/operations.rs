//! The names of operations, as a client gives them.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context;
use guildhall_node::Call;
use guildhall_proto::{Actor, ClientId, Command, Millis, OpId};

/// One client's operations, numbered from 1 on.
#[derive(Debug)]
pub(crate) struct Operations {
    client: ClientId,
    counter: u64,
}

impl Operations {
    pub(crate) fn of(client: ClientId) -> Self {
        Self { client, counter: 0 }
    }

    /// Those of a client that has been here before: their counters lie above all that it gave at earlier times, as long as it gave fewer
    /// than a million a millisecond.
    pub(crate) fn of_now(client: ClientId) -> anyhow::Result<Self> {
        Ok(Self { client, counter: now()?.0 << 20 })
    }

    /// The next operation.
    ///
    /// # Errors
    /// If the machine's clock is not set.
    pub(crate) fn call(&mut self, actor: Actor, command: Command) -> anyhow::Result<Call> {
        self.counter += 1;
        let op = OpId { client: self.client, counter: self.counter, issued_at: now()? };
        Ok(Call { op, actor, command })
    }
}

/// The time, as operations and guilds tell it.
///
/// # Errors
/// If the machine's clock is not set.
pub(crate) fn now() -> anyhow::Result<Millis> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).context("the clock stands before 1970")?;
    Ok(Millis(u64::try_from(now.as_millis())?))
}
