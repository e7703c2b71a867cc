//! Reads: answered from a view, on the caller's thread or a worker's, never by the owner.
//!
//! A guild whose owner ended before its time is read from its last view until it is back, and each read tells so.

mod recipients;

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use guildhall_members::{MemberRef, Question, UnknownInView, View};
use guildhall_proto::{AsOf, CallError, ChannelId, CommandError, GuildId, Member, Permissions, Status, UserId};

use crate::counters::Counter;
use crate::last::Readable;
use crate::live::Live;
use crate::node::Node;
use crate::offload::{JobPanicked, Offload};

use recipients::Chunks;
pub use recipients::Recipients;
pub(crate) use recipients::Workers;

/// A guild as of one position, to be read at leisure: the guild goes on meanwhile. If it is the last to hold what it shows, that dies
/// on a worker.
#[derive(Debug)]
pub struct ViewRef {
    /// `None` only while it is dropped.
    view: Option<Arc<View>>,
    stale_for: Option<Duration>,
    offload: Offload,
}

impl ViewRef {
    /// When it is true.
    pub fn as_of(&self) -> AsOf {
        AsOf { at: self.position(), stale_for: self.stale_for }
    }
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

impl Node {
    /// The guild's latest view. Loads the guild if it sleeps; otherwise a few tens of nanoseconds. If its owner ended before its time,
    /// it is the last one that this owner let out, at once, while the guild is brought back: [`ViewRef::as_of`] tells how old it is.
    ///
    /// # Errors
    /// `UnknownGuild`, `Overloaded`, `Unavailable` or `Stopping`.
    pub async fn view(&self, guild: GuildId) -> Result<ViewRef, CallError> {
        self.view_in(&self.readable(guild).await?)
    }

    /// The same, but of a guild that has no owner now, waits for the next one: never the view of an owner that is known to be gone.
    ///
    /// # Errors
    /// As [`view`](Self::view).
    pub async fn current_view(&self, guild: GuildId) -> Result<ViewRef, CallError> {
        self.view_of(&*self.live(guild).await?)
    }

    /// A member's record, with when it is true.
    ///
    /// # Errors
    /// As [`view`](Self::view), and `UnknownMember`.
    pub async fn member(&self, guild: GuildId, user: UserId) -> Result<(AsOf, Member), CallError> {
        let view = self.view(guild).await?;
        let member = view.member(user).ok_or(CommandError::UnknownMember { user })?;
        Ok((view.as_of(), member))
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
    ) -> Result<(AsOf, Permissions), CallError> {
        let view = self.view(guild).await?;
        Ok((view.as_of(), view.can(user, channel).map_err(unknown)?))
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
    ) -> Result<(AsOf, Vec<Member>), CallError> {
        let view = self.view(guild).await?;
        Ok((view.as_of(), view.range(after, limit)))
    }

    /// Members whose nick begins with `prefix`, whatever the case, in the order of their nicks, at most `limit`. Runs on a worker.
    ///
    /// In a large guild the first search has a worker order all its nicks: that one takes milliseconds, those behind it some tens of
    /// microseconds, and the guild four bytes a member more for as long as it is searched.
    ///
    /// # Errors
    /// As [`view`](Self::view), and `Overloaded` if too many scans run.
    pub async fn members_by_prefix(
        &self,
        guild: GuildId,
        prefix: &str,
        limit: usize,
    ) -> Result<(AsOf, Vec<Member>), CallError> {
        let of = self.readable(guild).await?;
        self.search(of, prefix.to_owned(), limit, ViewRef::as_of).await
    }

    /// The same where it is said, with something about the view that was searched.
    pub(crate) async fn search<H: Send + 'static>(
        &self,
        of: Readable,
        prefix: String,
        limit: usize,
        about: fn(&ViewRef) -> H,
    ) -> Result<(H, Vec<Member>), CallError> {
        let search = move |view: &ViewRef| Ok((about(view), view.by_prefix(&prefix, limit), view.wants_nick_order()));
        let (about, found, wants_order) = self.scan(of.clone(), search).await?;
        if wants_order {
            self.offload().order_nicks(of);
        }
        Ok((about, found))
    }

    /// The members that a question names, as a stream of chunks. Runs on all workers while it is read, over the view as it is now.
    ///
    /// # Errors
    /// As [`view`](Self::view), `Overloaded` if too many scans run or too many answers are being read, and what the question names may
    /// be unknown.
    pub async fn recipients(&self, guild: GuildId, question: Question) -> Result<Recipients, CallError> {
        self.recipients_of(self.readable(guild).await?, question).await
    }

    /// The same where it is said.
    pub(crate) async fn recipients_of(&self, of: Readable, question: Question) -> Result<Recipients, CallError> {
        self.answer(of, move |view| Ok(Arc::new(view.scan(question).map_err(unknown)?))).await
    }

    /// The members that `keep` keeps, likewise. If `keep` panics, the guild retires and is loaded again.
    ///
    /// # Errors
    /// As [`recipients`](Self::recipients), and `Unavailable` if `keep` panicked.
    pub async fn filter<F>(&self, guild: GuildId, keep: F) -> Result<Recipients, CallError>
    where
        F: Fn(&MemberRef<'_>, Status) -> bool + Send + Sync + 'static,
    {
        self.answer(self.readable(guild).await?, move |view| Ok(Arc::new(view.filter(keep)))).await
    }

    async fn answer(
        &self,
        of: Readable,
        ask: impl FnOnce(&View) -> Result<Arc<dyn Chunks>, CallError> + Send + 'static,
    ) -> Result<Recipients, CallError> {
        let view = self.view_in(&of)?;
        let as_of = view.as_of();
        let places = self.offload().answer(&of)?;
        let workers = Workers::new(of, self.offload().clone(), places);
        Recipients::begin(as_of, workers, move || ask(&view)).await
    }

    async fn scan<R: Send + 'static>(
        &self,
        of: Readable,
        scan: impl FnOnce(&ViewRef) -> Result<R, CallError> + Send + 'static,
    ) -> Result<R, CallError> {
        let view = self.view_in(&of)?;
        let place = self.offload().guild_scan(&of)?;
        // On the worker, so that the guild hears of it also if the caller has gone.
        let retire = move |panic: &JobPanicked| of.retire(panic);
        let job = move || {
            let _place = place;
            scan(&view)
        };
        let done = self.offload().scan(job, retire)?.await;
        done.unwrap_or_else(|panic| Err(panic.into()))
    }

    pub(crate) fn view_in(&self, of: &Readable) -> Result<ViewRef, CallError> {
        let (view, stale_for) = of.view()?;
        if stale_for.is_some() {
            self.counters().bump(Counter::ReadsStale);
        }
        Ok(ViewRef { view: Some(view), stale_for, offload: self.offload().clone() })
    }

    pub(crate) fn view_of(&self, live: &Live) -> Result<ViewRef, CallError> {
        Ok(ViewRef { view: Some(live.view()?), stale_for: None, offload: self.offload().clone() })
    }
}

pub(crate) fn unknown(unknown: UnknownInView) -> CallError {
    CallError::Refused(match unknown {
        UnknownInView::Member(user) => CommandError::UnknownMember { user },
        UnknownInView::Channel(channel) => CommandError::UnknownChannel { channel },
        UnknownInView::Role(role) => CommandError::UnknownRole { role },
    })
}
