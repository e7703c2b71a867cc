//! How a relay is opened, fed, and begun again.

use std::collections::BTreeMap;
use std::sync::Arc;

use guildhall_cluster::Repeat;
use guildhall_members::View;
use guildhall_proto::call::FeedId;
use guildhall_proto::{Ephemeral, Epoch, Event, EventKind, GuildId, Position};
use guildhall_relay::{ApplyError, Opened, Relay, SessionKey, TellError};

use super::{Core, Errand, Feed, RelayHost, Seat, World};
use crate::check::{Breach, Promise};
use crate::queue::Micros;
use crate::workload::{Pace, Way};
use crate::world::client::{Ended, Terms, Whose};
use crate::world::message::{Answered, Ask, At, Body, Happening, News};
use crate::world::owner::is_within;
use crate::world::wire::{End, Host, Lane, LinkId};

impl World {
    /// Sees to it that there is a relay of a guild.
    pub(super) fn open_relay(&mut self, backend: usize, guild: GuildId) -> Result<(), Breach> {
        if let Some(host) = self.backends[backend].relays.get_mut(&guild) {
            // It was not there when it was last asked for, and may have been created since.
            if host.core.is_none() && std::mem::take(&mut host.is_over) {
                let at = host.at;
                return self.listen(at);
            }
            return Ok(());
        }
        self.named += 1;
        let at = At { backend, guild, relay: self.named };
        let host = RelayHost {
            at,
            core: None,
            feed: Feed::None,
            is_over: false,
            ahead: Vec::new(),
            epoch: Epoch::default(),
            keys: BTreeMap::new(),
            pace: Pace::Fast,
            is_batch_called: false,
            is_ticking: false,
            reopened: 0,
            fills: 0,
            whole_from: None,
            batch_at: Position::default(),
        };
        self.backends[backend].relays.insert(guild, host);
        self.listen(at)
    }

    /// Closes a relay that has no seats any more.
    pub(super) fn close_if_empty(&mut self, backend: usize, guild: GuildId) -> Result<(), Breach> {
        if self.backends[backend].seats.values().any(|seat| seat.guild == guild) {
            return Ok(());
        }
        let Some(host) = self.backends[backend].relays.remove(&guild) else { return Ok(()) };
        match host.feed {
            Feed::None => Ok(()),
            Feed::Asked(call) => self.cancel_call(Host::Backend(backend), call),
            Feed::Open(link, feed) => {
                self.wire.send(link, End::Node, Lane::Ordered, Body::Unlisten { guild, feed });
                Ok(())
            }
        }
    }

    /// A relay asks to be fed, from where it is on.
    pub(in crate::world) fn listen(&mut self, at: At) -> Result<(), Breach> {
        let call = self.next_call();
        let Some(host) = self.backends[at.backend].relay(at) else { return Ok(()) };
        if host.feed != Feed::None || host.is_over {
            return Ok(());
        }
        let from = host.core.as_ref().map(|core| core.relay.position());
        host.feed = Feed::Asked(call);
        // It is named when it is sent.
        let ask = Ask::Feed { at, feed: FeedId(0), from };
        let terms = Terms { guild: at.guild, repeat: Repeat::Freely, within: OPENED_WITHIN };
        self.begin_call(Host::Backend(at.backend), call, terms, ask, Whose::Relay(at))
    }

    fn listen_later(&mut self, at: At) {
        if let Some(host) = self.backends[at.backend].relay(at) {
            host.feed = Feed::None;
            host.reopened += 1;
            let pause = self.wire.between(Micros(200), Micros::millis(2 + 20 * host.reopened.min(10)));
            self.wire.later(pause, Happening::Listen { at });
        }
    }

    /// A backend notices that a link has ended, and with it all feeds that came over it.
    pub(in crate::world) fn feeds_lost(&mut self, backend: usize, link: LinkId) {
        let is_lost = |host: &&RelayHost| matches!(host.feed, Feed::Open(over, _) if over == link);
        let lost: Vec<At> = self.backends[backend].relays.values().filter(is_lost).map(|host| host.at).collect();
        for at in lost {
            self.listen_later(at);
        }
    }

    /// What a relay's call for a feed came to.
    pub(in crate::world) fn relay_told(&mut self, at: At, ended: Ended) -> Result<(), Breach> {
        let Ended { call, ask, came, .. } = ended;
        let Ask::Feed { feed, .. } = ask else { unreachable!("a relay asks for nothing else") };
        let Some(host) = self.backends[at.backend].relay(at).filter(|host| host.feed == Feed::Asked(call)) else {
            return Ok(());
        };
        match came {
            Ok((answer @ (Answered::Opened { .. } | Answered::Continued), link)) => {
                host.feed = Feed::Open(link, feed);
                host.reopened = 0;
                if let Answered::Opened { view, past } = answer {
                    self.opened(at, &view, &past)?;
                }
                self.take(link, at, feed);
                Ok(())
            }
            // There is no such guild.
            Ok((Answered::Reply(_), _)) => self.end_guild(at),
            Err(_) => {
                self.listen_later(at);
                Ok(())
            }
        }
    }

    /// A relay has taken what it was fed.
    fn take(&mut self, link: LinkId, at: At, feed: FeedId) {
        self.wire.send(link, End::Node, Lane::Ordered, Body::Taken { guild: at.guild, feed });
    }

    /// A relay is fed.
    pub(in crate::world) fn fed(&mut self, link: LinkId, at: At, feed: FeedId, news: News) -> Result<(), Breach> {
        // What comes of a feed that was given up is passed over.
        if self.backends[at.backend].relay(at).is_none_or(|host| host.feed != Feed::Open(link, feed)) {
            return Ok(());
        }
        match news {
            News::Events(events, told) => self.apply(at, events, told)?,
            News::Fallen { view } => self.resync(at, &view)?,
            News::Ended => {
                self.listen_later(at);
                return Ok(());
            }
            News::Moved(place) => {
                self.watch.seen.feeds_moved += 1;
                self.route_moved(Host::Backend(at.backend), at.guild, link.node, place)?;
                self.listen_later(at);
                return Ok(());
            }
            News::NoGuild => return self.end_guild(at),
        }
        self.take(link, at, feed);
        Ok(())
    }

    fn opened(&mut self, at: At, view: &View, past: &[Arc<Event>]) -> Result<(), Breach> {
        let backend = &mut self.backends[at.backend];
        let (config, budget) = (backend.config, Arc::clone(&backend.budget));
        let Some(host) = backend.relay(at) else { return Ok(()) };
        if host.core.is_some() {
            return self.resync(at, view);
        }
        let (relay, batch) = Relay::with_past(&budget, config, view.rights().clone(), view.position(), past);
        host.core = Some(Core { relay, batch });
        host.epoch = view.position().epoch;
        (host.whole_from, host.batch_at) = (Some(view.position()), Position::default());
        self.go_on_all(at.backend, at.guild)
    }

    /// Has every seat of a guild look at what is next.
    fn go_on_all(&mut self, backend: usize, guild: GuildId) -> Result<(), Breach> {
        let seats = self.backends[backend].seats.iter().filter(|(_, seat)| seat.guild == guild);
        let seats: Vec<_> = seats.map(|(seat, _)| *seat).collect();
        seats.into_iter().try_for_each(|seat| self.errand(backend, seat))
    }

    /// Begins again from a view.
    fn resync(&mut self, at: At, view: &View) -> Result<(), Breach> {
        let backend = &mut self.backends[at.backend];
        let joined = |user| view.with_member(user, |member| member.joined_at);
        // Who left and came back within the hole is a new member: the owner has detached the sessions of the one who left.
        let is_outlived = |seat: &&Seat| {
            seat.guild == at.guild && joined(seat.user).is_some_and(|joined_at| seat.joined_at < joined_at)
        };
        let outlived: Vec<SessionKey> =
            backend.seats.values().filter(is_outlived).filter_map(|seat| seat.key).collect();
        let Some(host) = backend.relay(at) else { return Ok(()) };
        let Some(core) = &mut host.core else { return Ok(()) };
        let position = view.position();
        let is_new_owner = position.epoch != host.epoch;
        host.epoch = position.epoch;
        if position > core.relay.position() {
            let mut woken = Vec::new();
            if is_new_owner {
                // Of how the epoch before ended nobody knows.
                let opened = core.relay.open_epoch(position.epoch, None, &mut woken);
                if opened == Ok(Opened::Continued) {
                    host.whole_from = Some(position);
                    self.wake(at, &woken);
                    return self.reattach_all(at.backend, at.guild);
                }
            }
            let synced =
                core.relay.resync(position, view.rights().clone(), |user| view.member(user), &outlived, &mut woken);
            synced.map_err(|error| Promise::Order.breach(format!("guild {}: {error}", at.guild)))?;
            host.ahead.clear();
            host.whole_from = Some(position);
            self.watch.seen.resyncs += 1;
            self.wake(at, &woken);
        }
        if is_new_owner {
            self.reattach_all(at.backend, at.guild)?;
        }
        Ok(())
    }

    /// Applies events one by one, and tells what stands behind each.
    fn apply(&mut self, at: At, events: Vec<Arc<Event>>, told: Vec<Ephemeral>) -> Result<(), Breach> {
        let Some(host) = self.backends[at.backend].relay(at) else { return Ok(()) };
        let Some(core) = &mut host.core else { return Ok(()) };
        let mut woken = Vec::new();
        host.ahead.extend(told);
        let mut displaced = tell(&mut core.relay, &mut host.ahead, &mut woken);
        let mut is_missing = false;
        let mut revokes = 0;
        for event in events {
            revokes += u64::from(changes_rights(&event.kind));
            match core.relay.apply(event, &mut woken) {
                Ok(()) | Err(ApplyError::Stale { .. }) => {}
                Err(ApplyError::Jump { .. }) => {
                    is_missing = true;
                    break;
                }
            }
            displaced += tell(&mut core.relay, &mut host.ahead, &mut woken);
        }
        self.watch.seen.displaced_at_relays += displaced as u64;
        self.check_relay(at)?;
        let is_lagging = |seat: &Seat| seat.guild == at.guild && seat.pace != Pace::Fast && seat.key.is_some();
        if revokes > 0 && self.backends[at.backend].seats.values().any(is_lagging) {
            self.watch.seen.revokes_under_lag += revokes;
        }
        self.wake(at, &woken);
        if is_missing {
            let feed = self.backends[at.backend].relay(at).map(|host| host.feed);
            if let Some(Feed::Open(link, feed)) = feed {
                self.wire.send(link, End::Node, Lane::Ordered, Body::Unlisten { guild: at.guild, feed });
            }
            self.listen_later(at);
        }
        Ok(())
    }

    /// Promise 7: what a relay holds, and what waits there, is bounded.
    pub(super) fn check_relay(&mut self, at: At) -> Result<(), Breach> {
        let config = self.backends[at.backend].config;
        let Some(core) = self.backends[at.backend].relay(at).and_then(|host| host.core.as_ref()) else { return Ok(()) };
        let entries = core.relay.entries();
        let most = [config.ring.entries_max as u64, config.slow_ring.entries_max as u64];
        Promise::Bounds.require(entries[0] <= most[0] && entries[1] <= most[1], || {
            format!("guild {}: rings of a relay hold {entries:?} entries, and may hold {most:?}", at.guild)
        })?;
        is_within(at.guild, "a relay's", config.told, core.relay.told_held())?;
        let (pending, most) = (core.relay.pending(), config.pending_max);
        Promise::Bounds.require(pending <= most, || {
            format!("guild {}: {pending} sessions wait for a relay to come so far, and {most} may", at.guild)
        })
    }

    /// A backend's rings hold nothing but their newest entries, for now.
    pub(in crate::world) fn squeeze(&mut self, backend: usize) {
        let config = self.backends[backend].config;
        for host in self.backends[backend].relays.values_mut() {
            let Some(core) = &mut host.core else { continue };
            host.whole_from = Some(core.relay.position());
            core.relay.set_bytes_max(0, 0);
            core.relay.set_bytes_max(config.ring.bytes_max, config.slow_ring.bytes_max);
        }
    }

    fn end_guild(&mut self, at: At) -> Result<(), Breach> {
        let Some(host) = self.backends[at.backend].relay(at) else { return Ok(()) };
        (host.feed, host.is_over) = (Feed::None, true);
        host.whole_from = None;
        if let Some(core) = &mut host.core {
            let mut woken = Vec::new();
            let position = core.relay.position();
            let ended = core.relay.end_guild(position, &mut woken);
            ended.map_err(|error| Promise::Order.breach(format!("guild {}: {error}", at.guild)))?;
            self.wake(at, &woken);
        }
        self.go_on_all(at.backend, at.guild)
    }

    /// Has those read that were woken, and the batch consumer, and the clock looked at.
    pub(super) fn wake(&mut self, at: At, woken: &[SessionKey]) {
        let Some(host) = self.backends[at.backend].relay(at) else { return };
        let seats: Vec<_> = woken.iter().filter_map(|key| host.keys.get(key).copied()).collect();
        for seat in seats {
            self.call_reader(at.backend, seat);
        }
        self.call_batch(at);
        self.tick_later(at);
    }

    pub(in crate::world) fn call_batch(&mut self, at: At) {
        let is_batch = |seat: &Seat| seat.guild == at.guild && seat.way == Way::Batch;
        let has_batch = self.backends[at.backend].seats.values().any(is_batch);
        let Some(host) = self.backends[at.backend].relay(at) else { return };
        if host.is_batch_called || !has_batch || host.core.is_none() || host.pace == Pace::Stopped {
            return;
        }
        host.is_batch_called = true;
        let after = pause(host.pace);
        let after = self.wire.between(after.0, after.1);
        self.wire.later(after, Happening::ReadBatch { at });
    }

    fn tick_later(&mut self, at: At) {
        let Some(host) = self.backends[at.backend].relay(at) else { return };
        let due = host.core.as_ref().and_then(|core| core.relay.unread_due());
        if let Some(due) = due.filter(|_| !host.is_ticking) {
            host.is_ticking = true;
            let wait = due.since(self.wire.clock());
            let wait = Micros(u64::try_from(wait.as_micros()).unwrap_or(u64::MAX)).0.clamp(1_000, 10_000_000);
            self.wire.later(Micros(wait), Happening::Tick { at });
        }
    }

    /// Time passes for a relay.
    pub(in crate::world) fn tick(&mut self, at: At) {
        let now = self.wire.clock();
        let Some(host) = self.backends[at.backend].relay(at) else { return };
        host.is_ticking = false;
        let Some(core) = &mut host.core else { return };
        let mut woken = Vec::new();
        if core.relay.unread_due().is_some_and(|due| due <= now) {
            core.relay.tick(now, &mut woken);
        }
        self.wake(at, &woken);
    }

    /// A new owner is to know the sessions that are here.
    fn reattach_all(&mut self, backend: usize, guild: GuildId) -> Result<(), Breach> {
        let here = |seat: &&mut Seat| seat.guild == guild && seat.key.is_some() && !seat.is_cut && !seat.is_leaving;
        for seat in self.backends[backend].seats.values_mut().filter(here) {
            // What is asked just now is answered by the owner before, or by the new one: it is told either way.
            let place = usize::from(seat.asked.is_some());
            seat.todo.insert(place.min(seat.todo.len()), Errand::Reattach);
            self.watch.seen.reattached += 1;
        }
        self.go_on_all(backend, guild)
    }
}

/// Tells what the relay has come to. Returns how much of others had to make room for it.
fn tell(relay: &mut Relay, ahead: &mut Vec<Ephemeral>, woken: &mut Vec<SessionKey>) -> usize {
    let mut displaced = 0;
    ahead.retain(|ephemeral| match relay.tell(*ephemeral, woken) {
        Ok(others) => {
            displaced += others;
            false
        }
        Err(TellError::Stale { .. }) => false,
        Err(TellError::Ahead { .. }) => true,
    });
    displaced
}

fn changes_rights(kind: &EventKind) -> bool {
    matches!(
        kind,
        EventKind::RoleUpdated { .. }
            | EventKind::RoleDeleted { .. }
            | EventKind::OverwriteChanged { .. }
            | EventKind::MemberUpdated { .. }
    )
}

/// How long a relay's call for its feed may take.
const OPENED_WITHIN: Micros = Micros::seconds(10);

/// How long a reader takes before it reads.
pub(super) fn pause(pace: Pace) -> (Micros, Micros) {
    match pace {
        Pace::Fast => (Micros(10), Micros(500)),
        Pace::Slow | Pace::Stopped => (Micros::millis(50), Micros::millis(800)),
    }
}
