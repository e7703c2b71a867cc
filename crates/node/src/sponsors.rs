//! On whose word sessions are known that links tell of, and what becomes of them once their backend is gone.
//!
//! A sponsor is one run of a backend: a number, for as long as its links do not stay away for longer than they may. An owner notes with each session
//! who has told of it last; so nobody keeps a list of whose sessions are whose, and what a backend tells of again, over whichever link, is known as
//! before. Once a sponsor is gone for good the owners that it has spoken to are told, and release its sessions. If its backend comes back after all, it is
//! another sponsor, sees so when its feeds are opened, and tells of its sessions again.
//!
//! Invariants:
//! - of a backend's run there is one sponsor at a time, and no two that there are have the same number;
//! - behind what an owner is told of a sponsor's end nothing comes on the word of that sponsor;
//! - behind what a sponsor says over a link nothing comes that it said over an earlier one.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use guildhall_proto::{CallError, GuildId, Sponsor};
use guildhall_transport::{Identity, Peer, Standing};
use parking_lot::Mutex;
use tokio::task::{JoinError, JoinSet};

use crate::counters::Counter;
use crate::live::{NoReply, Request};
use crate::node::Node;

/// The sponsors of one node.
#[derive(Debug, Default)]
pub(crate) struct Sponsors {
    runs: Mutex<Runs>,
}

#[derive(Debug, Default)]
struct Runs {
    by_peer: HashMap<Peer, Run>,
    /// The number that was given last.
    last: u32,
    /// Of them, those without a link, by whose they are.
    away: HashMap<Identity, usize>,
    /// Last links that have ended so far.
    ends: u64,
}

/// One run of a backend.
#[derive(Debug)]
struct Run {
    sponsoring: Arc<Sponsoring>,
    links: usize,
    /// The number of the end of its last link.
    end: u64,
}

/// A sponsor, as its calls speak for it.
pub(crate) struct Sponsoring {
    sponsor: Sponsor,
    /// Whom it has spoken to; `None` once it is gone.
    told: Mutex<Option<HashSet<GuildId>>>,
}

/// What the end of a sponsor's link leaves to be done.
#[derive(Debug)]
enum Left {
    Nothing,
    /// To see whether a link has come back: it is the run's end of that number.
    Away(u64),
    /// To have its sessions released, without waiting: too many wait already.
    Gone(Arc<Sponsoring>),
}

impl Sponsors {
    /// Who speaks over a link that has come to stand. To be [told](Node::link_ended) of its end.
    pub(crate) fn linked(&self, peer: &Peer) -> Arc<Sponsoring> {
        let mut runs = self.runs.lock();
        if let Some(run) = runs.by_peer.get_mut(peer) {
            run.links += 1;
            let (links, sponsoring) = (run.links, Arc::clone(&run.sponsoring));
            if links == 1 {
                runs.is_back(&peer.identity);
            }
            return sponsoring;
        }
        let sponsoring = Arc::new(Sponsoring { sponsor: runs.next(), told: Mutex::new(Some(HashSet::new())) });
        runs.by_peer.insert(peer.clone(), Run { sponsoring: Arc::clone(&sponsoring), links: 1, end: 0 });
        sponsoring
    }

    fn link_ended(&self, peer: &Peer) -> Left {
        let mut runs = self.runs.lock();
        let ends = runs.ends + 1;
        let run = runs.by_peer.get_mut(peer).expect("a run is there as long as it has links");
        run.links -= 1;
        if run.links > 0 {
            return Left::Nothing;
        }
        run.end = ends;
        runs.ends = ends;
        let run = &runs.by_peer[peer];
        if run.sponsoring.has_spoken() && runs.may_wait(&peer.identity) {
            *runs.away.entry(peer.identity.clone()).or_default() += 1;
            return Left::Away(ends);
        }
        runs.by_peer.remove(peer).map_or(Left::Nothing, |run| Left::Gone(run.sponsoring))
    }

    /// The sponsor of a run that has had no link since its end of that number, and is forgotten.
    fn give_up(&self, peer: &Peer, end: u64) -> Option<Arc<Sponsoring>> {
        let mut runs = self.runs.lock();
        runs.by_peer.get(peer).filter(|run| run.links == 0 && run.end == end)?;
        runs.is_back(&peer.identity);
        runs.by_peer.remove(peer).map(|run| run.sponsoring)
    }
}

impl Runs {
    /// Whether one more run of an identity may be waited for: one that ends run after run takes nobody else's places.
    fn may_wait(&self, identity: &Identity) -> bool {
        let of_identity = self.away.get(identity).copied().unwrap_or_default();
        of_identity < PEER_AWAY_MAX && self.away.values().sum::<usize>() < AWAY_MAX
    }

    /// One run of an identity is not away any more, or gone for good.
    fn is_back(&mut self, identity: &Identity) {
        let away = self.away.get_mut(identity).expect("what is away was counted");
        *away -= 1;
        if *away == 0 {
            self.away.remove(identity);
        }
    }

    /// A number that no sponsor has. O(sponsors).
    fn next(&mut self) -> Sponsor {
        loop {
            self.last = self.last.wrapping_add(1);
            let sponsor = Sponsor(self.last);
            if sponsor != Sponsor::HERE && self.by_peer.values().all(|run| run.sponsoring.sponsor != sponsor) {
                return sponsor;
            }
        }
    }
}

impl Sponsoring {
    pub(crate) const fn sponsor(&self) -> Sponsor {
        self.sponsor
    }

    /// Posts to a guild's owner on the word of this sponsor; `None` if that is gone, or the link over which it spoke. The post must not wait: so nothing comes
    /// behind the sponsor's end, nor what came over a link behind anything that came over the next.
    pub(crate) fn speak<T>(
        &self,
        node: &Node,
        guild: GuildId,
        standing: &Standing,
        post: impl FnOnce(Sponsor) -> T,
    ) -> Option<T> {
        let mut told = self.told.lock();
        // With the lock: the next link's word is posted under it too, and this one is marked before that comes.
        let guilds = told.as_mut().filter(|_| !standing.has_ended())?;
        if guilds.len() == guilds.capacity() && !guilds.contains(&guild) {
            // A guild that is not awake has no sessions.
            guilds.retain(|guild| node.find_awake(*guild).is_some());
        }
        guilds.insert(guild);
        Some(post(self.sponsor))
    }

    fn has_spoken(&self) -> bool {
        self.told.lock().as_ref().is_some_and(|guilds| !guilds.is_empty())
    }

    /// Says nothing any more. Whom it has spoken to.
    fn end(&self) -> HashSet<GuildId> {
        self.told.lock().take().unwrap_or_default()
    }
}

impl Node {
    /// A link has ended, over which a sponsor spoke. If no other link of that comes to stand `within` that time, its sessions are released.
    pub(crate) fn link_ended(&self, peer: Peer, within: Duration) {
        match self.sponsors().link_ended(&peer) {
            Left::Nothing => {}
            Left::Gone(sponsoring) => drop(tokio::spawn(self.clone().release(sponsoring))),
            Left::Away(ends) => {
                let node = self.downgrade();
                tokio::spawn(async move {
                    tokio::time::sleep(within).await;
                    if let Some(node) = node.upgrade()
                        && let Some(sponsoring) = node.sponsors().give_up(&peer, ends)
                    {
                        node.release(sponsoring).await;
                    }
                });
            }
        }
    }

    /// Has the sessions of a sponsor released that is gone for good.
    async fn release(self, sponsoring: Arc<Sponsoring>) {
        let guilds = sponsoring.end();
        if guilds.is_empty() {
            return;
        }
        self.counters().bump(Counter::SponsorsGone);
        tracing::info!(sponsor = sponsoring.sponsor.0, guilds = guilds.len(), "a backend's links are gone for good");
        let mut telling = JoinSet::new();
        for guild in guilds {
            if telling.len() >= TELLING_MAX {
                note(telling.join_next().await);
            }
            telling.spawn(self.clone().tell_gone(guild, sponsoring.sponsor));
        }
        // One by one: an owner that could not be told keeps nobody from telling the others.
        while !telling.is_empty() {
            note(telling.join_next().await);
        }
    }

    /// Tells a guild's owner that a sponsor is gone; or the next one, if that ends meanwhile: the sponsor may have spoken to it too. One that comes later knows
    /// nothing of it.
    async fn tell_gone(self, guild: GuildId, sponsor: Sponsor) {
        while let Some(live) = self.find_awake(guild) {
            match live.post(Request::SponsorGone { sponsor }, self.counters()) {
                Ok(Some(answer)) => match answer.await {
                    Ok(Err(NoReply::Unhandled)) | Err(_) => live.ended().await,
                    Ok(Ok(_) | Err(NoReply::Refused(_) | NoReply::Stopping)) => return,
                },
                Ok(None) => live.ended().await,
                Err(CallError::Overloaded { retry_after }) => tokio::time::sleep(retry_after).await,
                Err(error) => {
                    tracing::error!(%guild, %error, "sessions of a backend that is gone are left");
                    return;
                }
            }
        }
    }
}

fn note(told: Option<Result<(), JoinError>>) {
    if let Some(Err(error)) = told {
        tracing::error!(%error, "sessions of a backend that is gone are left");
    }
}

impl fmt::Debug for Sponsoring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sponsoring").field("sponsor", &self.sponsor).finish_non_exhaustive()
    }
}

/// Runs of backends without a link that are waited for, some hundred bytes each and their guilds. Of one more the sessions are released at once.
const AWAY_MAX: usize = 4_096;
/// Of these, runs of one identity: sixteen times the links that it may have by default.
const PEER_AWAY_MAX: usize = 1_024;
/// Owners that are told at a time.
const TELLING_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use guildhall_proto::{Instance, NodeId};

    use super::*;

    fn peer(instance: u64) -> Peer {
        peer_of("a", instance)
    }

    fn peer_of(name: &str, instance: u64) -> Peer {
        let identity = format!("spiffe://main/backend/{name}").parse().unwrap();
        Peer { identity, node: NodeId::MIN, instance: Instance(instance) }
    }

    /// As if it had spoken to a guild.
    fn speaks(sponsoring: &Sponsoring) {
        sponsoring.told.lock().as_mut().unwrap().insert(GuildId::MIN);
    }

    #[test]
    fn a_sponsor_is_one_run_of_a_backend_until_its_last_link_has_been_away_for_too_long() {
        let sponsors = Sponsors::default();
        let first = sponsors.linked(&peer(1));
        assert_ne!(sponsors.linked(&peer(2)).sponsor(), first.sponsor());
        assert_eq!(sponsors.linked(&peer(1)).sponsor(), first.sponsor());
        speaks(&first);
        assert!(matches!(sponsors.link_ended(&peer(1)), Left::Nothing));
        let Left::Away(before) = sponsors.link_ended(&peer(1)) else { panic!("it may come back") };
        // It has come back, and gone again: who waited for the first time waits in vain.
        assert_eq!(sponsors.linked(&peer(1)).sponsor(), first.sponsor());
        let Left::Away(ends) = sponsors.link_ended(&peer(1)) else { panic!("it may come back") };
        assert!(sponsors.give_up(&peer(1), before).is_none());
        assert_eq!(sponsors.give_up(&peer(1), ends).map(|gone| gone.sponsor()), Some(first.sponsor()));
        assert!(sponsors.give_up(&peer(1), ends).is_none());
        assert_ne!(sponsors.linked(&peer(1)).sponsor(), first.sponsor());
    }

    #[test]
    fn who_never_spoke_is_not_waited_for_nor_is_one_more_than_may_be_away() {
        let sponsors = Sponsors::default();
        sponsors.linked(&peer(0));
        assert!(matches!(sponsors.link_ended(&peer(0)), Left::Gone(_)));
        let ends = (0..PEER_AWAY_MAX as u64).map(|number| {
            speaks(&sponsors.linked(&peer(number)));
            let Left::Away(end) = sponsors.link_ended(&peer(number)) else { panic!("{number} may come back") };
            end
        });
        let ends: Vec<u64> = ends.collect();
        speaks(&sponsors.linked(&peer(u64::MAX)));
        assert!(matches!(sponsors.link_ended(&peer(u64::MAX)), Left::Gone(_)));
        assert!(sponsors.give_up(&peer(7), ends[7]).is_some());
        // Another run of the same backend: who waits for an end of the first does not end it.
        let (next, earlier) = (peer(7), ends[7]);
        speaks(&sponsors.linked(&next));
        let Left::Away(end) = sponsors.link_ended(&next) else { panic!("it may come back") };
        assert!(sponsors.give_up(&next, earlier).is_none() && sponsors.give_up(&next, end).is_some());
    }

    #[test]
    fn a_backend_that_ends_run_after_run_takes_nobody_elses_time_to_come_back() {
        let sponsors = Sponsors::default();
        let goes = |peer: &Peer| {
            speaks(&sponsors.linked(peer));
            sponsors.link_ended(peer)
        };
        for run in 0..2 * AWAY_MAX as u64 {
            goes(&peer_of("looping", run));
        }
        assert!(matches!(goes(&peer_of("looping", u64::MAX)), Left::Gone(_)));
        assert!(matches!(goes(&peer_of("steady", 1)), Left::Away(_)));
        // All places together are bounded too.
        for backend in 0..(AWAY_MAX / PEER_AWAY_MAX) {
            for run in 0..PEER_AWAY_MAX as u64 {
                goes(&peer_of(&format!("b{backend}"), run));
            }
        }
        assert_eq!(sponsors.runs.lock().away.values().sum::<usize>(), AWAY_MAX);
        assert!(matches!(goes(&peer_of("one-more", 1)), Left::Gone(_)));
        // Who is back is counted no more.
        assert!(matches!(goes(&peer_of("steady", 1)), Left::Away(_)));
        let away = |name| sponsors.runs.lock().away.get(&peer_of(name, 0).identity).copied();
        assert_eq!((away("steady"), away("one-more")), (Some(1), None));
    }
}
