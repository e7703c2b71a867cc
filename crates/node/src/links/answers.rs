//! What each request comes to.
//!
//! Whatever can be read is read from a view, without the guild's owner; only what changes something, or is about a session, is posted to that.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::Duration;

use guildhall_proto::call::{Answer, CallFault, FeedId, Freshness, Read, Request};
use guildhall_proto::limits::MEMBERS_MAX;
use guildhall_proto::{CallError, CommandError, GuildId, Name, Outcome, Position, Reply, UserId};
use guildhall_sessions::{Guilds, Opening};
use guildhall_transport::LaneSender;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::Dialer;
use super::archive::Archive;
use super::calls::Prepared;
use super::feeds::Beginning;
use super::pieces::{Members, Pieces, Users};
use super::requests::{Incoming, Place, acquire};
use super::unanswered::Unanswered;
use crate::counters::Counter;
use crate::last::Readable;
use crate::node::Call;
use crate::pace::spread;
use crate::reads::{ViewRef, unknown};

impl Dialer {
    /// Does what is asked, up to where the answer is sent. What waits lies in boxes: each call is one future, moved when it is begun, and as large as the largest that
    /// it may come to.
    pub(super) async fn prepare(
        &self,
        asked: Request,
        incoming: &mut Incoming<'_>,
        answer: &LaneSender,
    ) -> Result<Prepared, Unanswered> {
        let (node, deadline) = (&self.served.node, incoming.deadline);
        match asked {
            Request::Ping => Ok(Prepared::Whole(self.pong())),
            Request::Stats => Ok(Prepared::Whole(self.stats())),
            Request::Guilds { after, limit } => {
                let (guilds, more) = node.stored_guilds(after, limit.get() as usize)?;
                Ok(Prepared::Whole(Answer::Guilds { guilds, more }))
            }
            Request::Command { guild, op, actor, command } => {
                change(deadline, Box::pin(outcome(node.call(guild, Call { op, actor, command })))).await
            }
            Request::Import { guild, op, actor } => {
                let (lines, _place) = Box::pin(incoming.lines()).await?;
                change(deadline, Box::pin(outcome(node.call(guild, Call { op, actor, command: lines.command() }))))
                    .await
            }
            Request::Typing { guild, user, channel } => {
                change(deadline, Box::pin(node.tell_typing(guild, user, channel))).await
            }
            Request::Session { guild, session, request } => {
                let word = (&*self.sponsoring, &self.standing);
                change(deadline, Box::pin(node.ask_on_word_of(word, guild, session, request))).await
            }
            Request::Read { guild, freshness, read } => {
                unless_left(answer, deadline, pin!(self.read(guild, freshness, read))).await
            }
            Request::Recipients { guild, freshness, question } => {
                let scan = async {
                    let of = node.readable_as(guild, freshness).await?;
                    let place = self.answer_place()?;
                    let recipients = node.recipients_of(of, question).await?;
                    Ok(Prepared::Users(Answer::Recipients(recipients.as_of()), Users::of(recipients, place)))
                };
                unless_left(answer, deadline, Box::pin(scan)).await
            }
            Request::Export { guild, freshness } => {
                let export = async {
                    let of = node.readable_as(guild, freshness).await?;
                    let view = node.view_in(&of)?;
                    let (head, members) = (head(&view), Members::Behind { after: None, left: MEMBERS_MAX });
                    let pieces = Pieces::of(node, &of, view, members)?.of_dialer(self)?.with_rights().with_bans();
                    Ok(Prepared::Pieces(head, pieces))
                };
                unless_left(answer, deadline, Box::pin(export)).await
            }
            Request::Backup => {
                let (store, places) = (Arc::clone(node.store()), &self.served.backups);
                let archive = Archive::begin(store, node.time(), places, incoming.within)?;
                Ok(Prepared::Archive(Answer::Archive, archive))
            }
            Request::SecretKeys => {
                let keys = node.session_keys();
                let (current, previous) = (keys.current().clone(), keys.previous().cloned());
                Ok(Prepared::Whole(Answer::SecretKeys { current, previous }))
            }
            Request::Feed { guild, feed, past, told_since } => {
                let (users, place) = Box::pin(incoming.users()).await?;
                let past = usize::try_from(past).unwrap_or(usize::MAX);
                unless_left(answer, deadline, Box::pin(self.open(guild, feed, (past, told_since), (users, place))))
                    .await
            }
            Request::CloseFeed { feed } => {
                self.feeds.close_for_good(feed);
                Ok(Prepared::Whole(Answer::FeedClosed))
            }
        }
    }

    async fn read(&self, guild: GuildId, freshness: Freshness, read: Read) -> Result<Prepared, Unanswered> {
        let node = &self.served.node;
        let of = node.readable_as(guild, freshness).await?;
        let view = node.view_in(&of)?;
        let as_of = view.as_of();
        let members = match read {
            Read::Member(user) => {
                let member = view.member(user).ok_or(CommandError::UnknownMember { user })?;
                return Ok(Prepared::Whole(Answer::Member { as_of, member }));
            }
            Read::Can { user, channel } => {
                let permissions = view.can(user, channel).map_err(unknown)?;
                return Ok(Prepared::Whole(Answer::Can { as_of, permissions }));
            }
            Read::Show => {
                let head = head(&view);
                return Ok(Prepared::Pieces(head, Pieces::of(node, &of, view, Members::Nobody)?.with_rights()));
            }
            Read::Members { after, limit } => {
                Members::Behind { after, left: limit.map_or(MEMBERS_MAX, |limit| limit as usize) }
            }
            Read::MembersById(users) => Members::Of(users.as_slice().to_vec().into_iter()),
            Read::MembersByPrefix { prefix, limit } => {
                let (prefix, limit) = (prefix.as_str().to_owned(), limit.get() as usize);
                let place = self.answer_place()?;
                let (head, found) = Box::pin(node.search(of.clone(), prefix, limit, head)).await?;
                // The worker is done with it, and what it has found is a thousand members at most.
                drop(place);
                let found = Members::Found(found.into_iter());
                return Ok(Prepared::Pieces(head, Pieces::of(node, &of, view, found)?));
            }
        };
        Ok(Prepared::Pieces(head(&view), Pieces::of(node, &of, view, members)?.of_dialer(self)?))
    }

    /// The place of an answer that workers look for, or a search.
    ///
    /// # Errors
    /// `Overloaded` if whoever dialed has as many as it may have.
    pub(super) fn answer_place(&self) -> Result<OwnedSemaphorePermit, CallError> {
        Arc::clone(&self.share.answers).try_acquire_owned().map_err(|_| {
            self.served.node.counters().bump(Counter::RefusedPeerAnswer);
            CallError::Overloaded { retry_after: spread(ANSWER_AGAIN) }
        })
    }

    /// Opens a feed as of one view, and answers with that.
    async fn open(
        &self,
        guild: GuildId,
        feed: FeedId,
        (past, told_since): (usize, Option<Position>),
        (users, place): (Vec<UserId>, Place),
    ) -> Result<Prepared, Unanswered> {
        let node = &self.served.node;
        self.feeds.check(guild, feed)?;
        let members = Members::Of(users.into_iter());
        // Waited for, where others are refused: a backend that begins again opens all its feeds at once. Before the guild is asked, for a view would be held as
        // long, and a cursor lag.
        let answer = if members.are_many() { Some(acquire(&self.share.answers).await) } else { None };
        let opening = node.open(guild, past, Vec::new(), told_since).await?;
        let Opening { listening, at, rights: _, past, members: view, events, told, sponsor: _ } = opening;
        let of = Readable::Live(Arc::clone(listening.live()));
        let pieces = Pieces::of(node, &of, view, members)?.in_place(answer).with_rights().with_past(past, place);
        // From here on the cursor is there, so nothing is missed that comes while this is answered.
        let opened = self.feeds.open(guild, feed, Beginning { listening, events, told, told_since })?;
        node.counters().bump(Counter::FeedsOpened);
        Ok(Prepared::Fed(Answer::Fed { at, sponsor: self.sponsoring.sponsor() }, pieces, opened))
    }

    fn pong(&self) -> Answer {
        let config = &self.served.config;
        let now = self.served.node.time();
        Answer::Pong { node: config.node, instance: config.instance, started: self.served.since, now }
    }

    fn stats(&self) -> Answer {
        let counts = self.served.node.counts();
        let links = self.served.links.pull();
        let beside = &self.served.config.also_counted;
        let beside = beside.iter().map(|(name, count)| (*name, count.load(Ordering::Relaxed)));
        let all = counts.iter().chain(links).chain(beside);
        Answer::Stats(all.map(|(name, count)| (Name::parsed(name), count)).collect())
    }
}

/// The head of an answer in pieces.
fn head(view: &ViewRef) -> Answer {
    let count = |members| u32::try_from(members).unwrap_or(u32::MAX);
    let (members, online, bans) = (count(view.len()), count(view.online()), count(view.bans().len()));
    Answer::Pieces { as_of: view.as_of(), members, online, bans }
}

async fn outcome(call: impl Future<Output = Result<Outcome, CallError>>) -> Result<Reply, CallError> {
    Ok(Reply::Outcome(call.await?))
}

/// Waits for what a change comes to. Nothing takes that back, so if it is late, nobody knows.
async fn change(
    deadline: Instant,
    changing: Pin<Box<impl Future<Output = Result<Reply, CallError>>>>,
) -> Result<Prepared, Unanswered> {
    let reply = timeout_at(deadline, changing).await.map_err(|_| CallError::OutcomeUnknown)??;
    Ok(Prepared::Whole(Answer::Reply(reply)))
}

/// Waits for what is read, as long as somebody waits for it.
async fn unless_left(
    answer: &LaneSender,
    deadline: Instant,
    mut reading: impl Future<Output = Result<Prepared, Unanswered>> + Unpin,
) -> Result<Prepared, Unanswered> {
    // Most reads wait for nothing, and whether they are waited for takes the link's lock.
    if let Poll::Ready(read) = poll_fn(|context| Poll::Ready(Pin::new(&mut reading).poll(context))).await {
        return read;
    }
    let waiting = async {
        tokio::select! {
            biased;
            read = reading => read,
            () = answer.given_up() => Err(Unanswered::Left),
            () = sleep_until(deadline) => Err(CallFault::TooLate.into()),
        }
    };
    Box::pin(waiting).await
}

/// When to ask again for whom so many answers are looked for already: each takes some tens of milliseconds where it is read at once.
const ANSWER_AGAIN: Duration = Duration::from_millis(100);
