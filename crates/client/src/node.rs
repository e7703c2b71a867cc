//! Calls to a node itself, and not to a guild: to any that is linked, once.

use std::time::Duration;

use guildhall_proto::call::{Answer, PageLimit, Request, Within};
use guildhall_proto::{GuildId, Instance, Millis, Name, NodeId};
use tokio::time::Instant;

use crate::call::Answered;
use crate::client::Client;
use crate::error::{ClientError, unfit};
use crate::rest::Rest;

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

/// All guilds of a node's store, as bytes that come.
#[derive(Debug)]
pub struct Archive {
    /// `None` once nothing follows.
    rest: Option<Rest>,
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

    /// Everything that a node's store has, as one archive, of which `guildhall restore` makes a directory: each guild as it is stored when its turn comes. It may
    /// take as long as it takes, while it is read: it ends where nothing of it is read for as long as the node has patience with that (10 s, unless it is
    /// set otherwise), or a chunk for as long as a call may take; or where none has come for ten minutes. For operators.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/node.rs"));
    /// # fn main() -> node::Done { node::with_operator(async |client| {
    /// use std::io::Write;
    ///
    /// use guildhall_client::ClientError;
    ///
    /// let mut file = Vec::new();
    /// let mut archive = client.backup().await?;
    /// loop {
    ///     match archive.next().await {
    ///         Ok(Some(bytes)) => file.write_all(&bytes)?,
    ///         Ok(None) => break println!("{} bytes", file.len()),
    ///         // As here, where the node's store lies in memory: what is in the file is no backup.
    ///         Err(ClientError::Unavailable) => break file.clear(),
    ///         Err(error) => return Err(error.into()),
    ///     }
    /// }
    /// # Ok(()) }) }
    /// ```
    ///
    /// # Errors
    /// [`ClientError`]; `Overloaded` while the node writes another, `Unavailable` if its store keeps nothing that lasts.
    pub async fn backup(&self) -> Result<Archive, ClientError> {
        let (answer, rest) = self.send_any(Request::Backup).await?;
        let Answer::Archive = answer else { return Err(unfit(&answer)) };
        Ok(Archive { rest: Some(rest) })
    }

    async fn ask_any(&self, request: Request) -> Result<Answer, ClientError> {
        Ok(self.send_any(request).await?.0)
    }

    async fn send_any(&self, request: Request) -> Result<Answered, ClientError> {
        let deadline = Instant::now() + self.held.config.deadline;
        let linked = self.held.linked(deadline).await;
        let linked =
            linked.ok_or(if self.held.is_closed() { ClientError::Closed } else { ClientError::Unavailable })?;
        Ok(linked.begin(deadline.saturating_duration_since(Instant::now()), request).await?)
    }
}

impl Archive {
    /// The next of its bytes, never none; `None` behind the last.
    ///
    /// # Errors
    /// [`ClientError`]: what came before is no archive, and more will not come.
    pub async fn next(&mut self) -> Result<Option<Vec<u8>>, ClientError> {
        let Some(rest) = &mut self.rest else { return Ok(None) };
        // A guild is read and checked whole before a byte of it comes.
        let came = rest.next_until(Instant::now() + Within::MAX.duration()).await;
        if !matches!(came, Ok(Some(_))) {
            self.rest = None;
        }
        Ok(came?)
    }
}
