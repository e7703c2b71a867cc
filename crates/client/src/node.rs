//! Calls to a node itself, and not to a guild: to any that is linked, once.

use std::time::Duration;

use guildhall_proto::call::{Answer, PageLimit, Request};
use guildhall_proto::{GuildId, Instance, Millis, Name, NodeId};
use tokio::time::Instant;

use crate::client::Client;
use crate::error::{ClientError, unfit};

/// What a node says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pong {
    /// Which it is.
    pub node: NodeId,
    /// Which run of it.
    pub instance: Instance,
    /// Since when it runs, by its clock.
    pub started: Millis,
    /// What its clock shows.
    pub now: Millis,
    /// How long the answer took.
    pub took: Duration,
}

/// Some of a node's guilds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GuildPage {
    /// Those behind the one that was asked for, ascending.
    pub guilds: Vec<GuildId>,
    /// Whether there are more behind the last.
    pub more: bool,
}

impl Client {
    /// Whether a node answers, and how soon.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/node.rs"));
    /// # fn main() -> node::Done { node::with_backend(async |client| {
    /// let pong = client.ping().await?;
    /// assert!(pong.started <= pong.now);
    /// println!("node {} answered in {:?}", pong.node, pong.took);
    /// # Ok(()) }) }
    /// ```
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn ping(&self) -> Result<Pong, ClientError> {
        let asked = Instant::now();
        let answer = self.ask_any(Request::Ping).await?;
        let Answer::Pong { node, instance, started, now } = answer else { return Err(unfit(&answer)) };
        Ok(Pong { node, instance, started, now, took: asked.elapsed() })
    }

    /// A node's counters, by name. For operators and observers, as the next.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/node.rs"));
    /// # fn main() -> node::Done { node::with_operator(async |client| {
    /// for (name, count) in client.stats().await? {
    ///     println!("{} {count}", name.as_str());
    /// }
    /// # Ok(()) }) }
    /// ```
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn stats(&self) -> Result<Vec<(Name, u64)>, ClientError> {
        let answer = self.ask_any(Request::Stats).await?;
        let Answer::Stats(counts) = answer else { return Err(unfit(&answer)) };
        Ok(counts)
    }

    /// The guilds that a node has, ascending, behind `after`.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/node.rs"));
    /// # fn main() -> node::Done { node::with_operator(async |client| {
    /// use guildhall_client::PageLimit;
    ///
    /// let (mut after, mut count) = (None, 0);
    /// loop {
    ///     let page = client.guilds(after, PageLimit::MAX).await?;
    ///     count += page.guilds.len();
    ///     after = page.guilds.last().copied();
    ///     if !page.more {
    ///         break;
    ///     }
    /// }
    /// assert_eq!(count, 1);
    /// # Ok(()) }) }
    /// ```
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn guilds(&self, after: Option<GuildId>, limit: PageLimit) -> Result<GuildPage, ClientError> {
        let answer = self.ask_any(Request::Guilds { after, limit }).await?;
        let Answer::Guilds { guilds, more } = answer else { return Err(unfit(&answer)) };
        Ok(GuildPage { guilds, more })
    }

    async fn ask_any(&self, request: Request) -> Result<Answer, ClientError> {
        let deadline = Instant::now() + self.held.config.deadline;
        let linked = self.held.linked(deadline).await;
        let linked =
            linked.ok_or(if self.held.is_closed() { ClientError::Closed } else { ClientError::Unavailable })?;
        Ok(linked.ask(deadline.saturating_duration_since(Instant::now()), request).await?)
    }
}
