//! Reads: answered from a view, on the caller's thread or a worker's, never by the owner.

use std::ops::Deref;
use std::sync::Arc;

use guildhall_members::{MemberRef, Question, UnknownInView, View};
use guildhall_proto::{CallError, ChannelId, CommandError, GuildId, Member, Permissions, Position, Status, UserId};
use rayon::iter::{IntoParallelIterator, ParallelIterator};

use crate::live::{Control, Live};
use crate::node::Node;
use crate::offload::{JobPanicked, Offload};

/// A guild as of one position, to be read at leisure: the guild goes on meanwhile. If it is the last to hold what it shows, that dies
/// on a worker.
#[derive(Debug)]
pub struct ViewRef {
    /// `None` only while it is dropped.
    view: Option<Arc<View>>,
    offload: Offload,
}

impl Deref for ViewRef {
    type Target = View;

    fn deref(&self) -> &View {
        self.view.as_ref().expect("the view is taken out by the drop alone")
    }
}

impl Drop for ViewRef {
    fn drop(&mut self) {
        if let Some(last) = self.view.take().and_then(Arc::into_inner) {
            self.offload.discard(last);
        }
    }
}

/// The members that a question names, in chunks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipients {
    /// The answer is true at this position.
    pub at: Position,
    /// Ids, ascending within and over the chunks.
    pub chunks: Vec<Vec<UserId>>,
}

impl Recipients {
    /// How many they are.
    pub fn len(&self) -> usize {
        self.chunks.iter().map(Vec::len).sum()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.chunks.iter().all(Vec::is_empty)
    }

    /// Each, ascending.
    pub fn iter(&self) -> impl Iterator<Item = UserId> + '_ {
        self.chunks.iter().flatten().copied()
    }
}

impl Node {
    /// The guild's latest view. Loads the guild if it sleeps; otherwise a few tens of nanoseconds.
    ///
    /// # Errors
    /// `UnknownGuild`, `Unavailable` or `Stopping`.
    pub async fn view(&self, guild: GuildId) -> Result<ViewRef, CallError> {
        self.view_of(&*self.live(guild).await?)
    }

    /// A member's record, with the position at which it is true.
    ///
    /// # Errors
    /// As [`view`](Self::view), and `UnknownMember`.
    pub async fn member(&self, guild: GuildId, user: UserId) -> Result<(Position, Member), CallError> {
        let view = self.view(guild).await?;
        let member = view.member(user).ok_or(CommandError::UnknownMember { user })?;
        Ok((view.position(), member))
    }

    /// What a member may do, in a channel or in the guild as a whole.
    ///
    /// # Errors
    /// As [`view`](Self::view), and `UnknownMember` or `UnknownChannel`.
    pub async fn can(
        &self,
        guild: GuildId,
        user: UserId,
        channel: Option<ChannelId>,
    ) -> Result<(Position, Permissions), CallError> {
        let view = self.view(guild).await?;
        Ok((view.position(), view.can(user, channel).map_err(unknown)?))
    }

    /// Members in the order of their ids, after `after`, at most `limit`.
    ///
    /// # Errors
    /// As [`view`](Self::view).
    pub async fn members(
        &self,
        guild: GuildId,
        after: Option<UserId>,
        limit: usize,
    ) -> Result<(Position, Vec<Member>), CallError> {
        let view = self.view(guild).await?;
        Ok((view.position(), view.range(after, limit)))
    }

    /// Members whose nick begins with `prefix`, whatever the case, in the order of their nicks, at most `limit`. Runs on a worker.
    ///
    /// # Errors
    /// As [`view`](Self::view), and `Overloaded` if too many scans run.
    pub async fn members_by_prefix(
        &self,
        guild: GuildId,
        prefix: &str,
        limit: usize,
    ) -> Result<(Position, Vec<Member>), CallError> {
        let prefix = prefix.to_owned();
        self.scan(guild, move |view| Ok((view.position(), view.by_prefix(&prefix, limit)))).await
    }

    /// The members that a question names. Runs on all workers, over the view as it is now.
    ///
    /// # Errors
    /// As [`view`](Self::view), `Overloaded` if too many scans run, and what the question names may be unknown.
    pub async fn recipients(&self, guild: GuildId, question: Question) -> Result<Recipients, CallError> {
        self.scan(guild, move |view| {
            let scan = view.scan(question).map_err(unknown)?;
            let chunks = on_all_workers(scan.chunks(), |chunk, ids| scan.run_chunk(chunk, ids));
            Ok(Recipients { at: view.position(), chunks })
        })
        .await
    }

    /// The members that `keep` keeps. Runs on all workers, over the view as it is now. If `keep` panics, the guild retires and is
    /// loaded again.
    ///
    /// # Errors
    /// As [`recipients`](Self::recipients), and `Unavailable` if `keep` panicked.
    pub async fn filter<F>(&self, guild: GuildId, keep: F) -> Result<Recipients, CallError>
    where
        F: Fn(&MemberRef<'_>, Status) -> bool + Send + Sync + 'static,
    {
        self.scan(guild, move |view| {
            let filter = view.filter(keep);
            let chunks = on_all_workers(filter.chunks(), |chunk, ids| filter.run_chunk(chunk, ids));
            Ok(Recipients { at: view.position(), chunks })
        })
        .await
    }

    async fn scan<R: Send + 'static>(
        &self,
        guild: GuildId,
        scan: impl FnOnce(&View) -> Result<R, CallError> + Send + 'static,
    ) -> Result<R, CallError> {
        let live = self.live(guild).await?;
        let view = self.view_of(&live)?;
        let place = self.offload().guild_scan(&live)?;
        // On the worker, so that the guild hears of it also if the caller has gone.
        let retire = move |panic: &JobPanicked| live.mailbox.post_control(Control::JobPanicked(panic.clone()));
        let job = move || {
            let _place = place;
            scan(&view)
        };
        let done = self.offload().scan(job, retire).await?;
        done.unwrap_or_else(|panic| Err(CallError::Unavailable { reason: panic.to_string() }))
    }

    pub(crate) fn view_of(&self, live: &Live) -> Result<ViewRef, CallError> {
        Ok(ViewRef { view: Some(live.view()?), offload: self.offload().clone() })
    }
}

/// Runs every chunk of a scan, on whichever worker of the pool is free.
fn on_all_workers(chunks: usize, run: impl Fn(usize, &mut Vec<UserId>) + Sync) -> Vec<Vec<UserId>> {
    let chunk = |idx| {
        let mut ids = Vec::new();
        run(idx, &mut ids);
        ids
    };
    (0..chunks).into_par_iter().map(chunk).collect()
}

fn unknown(unknown: UnknownInView) -> CallError {
    CallError::Refused(match unknown {
        UnknownInView::Member(user) => CommandError::UnknownMember { user },
        UnknownInView::Channel(channel) => CommandError::UnknownChannel { channel },
        UnknownInView::Role(role) => CommandError::UnknownRole { role },
    })
}
