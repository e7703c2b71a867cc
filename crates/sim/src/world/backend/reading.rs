//! How sessions read, and what they hear.

use std::sync::Arc;

use guildhall_relay::{BatchItem, BatchRead, Delivery, Read, Wait};

use super::relays::pause;
use super::{Backend, Core, Seat, World};
use crate::check::{Breach, EarId, Heard};
use crate::workload::{Pace, Way};
use crate::world::message::{At, Happening};

impl World {
    /// Has a stream session read soon.
    pub(super) fn call_reader(&mut self, backend: usize, seat: EarId) {
        let Some(held) = self.backends[backend].seats.get_mut(&seat) else { return };
        if held.is_called || held.stream.is_none() {
            return;
        }
        held.is_called = true;
        if held.pace != Pace::Stopped && held.is_heard {
            let after = pause(held.pace);
            let after = self.wire.between(after.0, after.1);
            self.wire.later(after, Happening::Read { backend, seat });
        }
    }

    /// A session reads at another pace from now on.
    pub(in crate::world) fn set_pace(&mut self, backend: usize, seat: EarId, pace: Pace) {
        let Some(held) = self.backends[backend].seats.get_mut(&seat) else { return };
        let was_stopped = held.pace == Pace::Stopped;
        held.pace = pace;
        let (guild, is_batch) = (held.guild, held.way == Way::Batch);
        if is_batch {
            if let Some(host) = self.backends[backend].relays.get_mut(&guild) {
                host.pace = pace;
                let at = host.at;
                self.call_batch(at);
            }
        } else if was_stopped && std::mem::take(&mut held.is_called) {
            self.call_reader(backend, seat);
        }
    }

    /// A stream session reads.
    pub(in crate::world) fn read_stream(&mut self, backend: usize, seat: EarId) -> Result<(), Breach> {
        let Some(held) = self.backends[backend].seats.get_mut(&seat) else { return Ok(()) };
        if held.pace == Pace::Stopped || !held.is_heard {
            return Ok(());
        }
        held.is_called = false;
        let Some(mut stream) = held.stream.take() else { return Ok(()) };
        let guild = held.guild;
        let max = if held.pace == Pace::Fast { 64 } else { 3 };
        let mut heard = Vec::new();
        let read = stream.read(max, |delivery| {
            heard.push(match delivery {
                Delivery::Event(event) => Heard::Event(Arc::clone(event)),
                Delivery::Gap(gap) => Heard::Gap(gap),
                Delivery::Unread(unread) => Heard::Unread(unread.clone()),
                Delivery::Ephemeral(ephemeral) => Heard::Ephemeral(ephemeral),
                Delivery::Detached(reason) => Heard::Detached(reason),
            });
        });
        for heard in &heard {
            self.watch.seen.gaps_of_streams += u64::from(matches!(heard, Heard::Gap(_)));
            self.hear(backend, seat, heard)?;
        }
        let host = self.backends[backend].relays.get_mut(&guild);
        let core = host.and_then(|host| host.core.as_mut());
        let (reads_on, waits_at) = match (read, core) {
            (Read::Ended, _) => return self.seat_over(backend, seat),
            (_, None) => (false, None),
            (Read::More, _) => (true, None),
            (Read::Waiting, Some(core)) => (false, Some(core.relay.position())),
            (Read::Idle, Some(core)) => match core.relay.wait(&mut stream) {
                Ok(Wait::Waiting) => (false, Some(core.relay.position())),
                Ok(Wait::Ready | Wait::Gap) | Err(_) => (true, None),
            },
        };
        if let Some(held) = self.backends[backend].seats.get_mut(&seat) {
            held.stream = Some(stream);
        }
        if reads_on {
            self.call_reader(backend, seat);
        }
        if let Some(at) = waits_at {
            let annals = self.watch.ledger.chronicle.annals(guild);
            self.watch.ears.waits(annals, seat, at)?;
        }
        Ok(())
    }

    /// The batch consumer of a relay reads.
    pub(in crate::world) fn read_batch(&mut self, at: At) -> Result<(), Breach> {
        let Some(host) = self.backends[at.backend].relay(at) else { return Ok(()) };
        host.is_batch_called = false;
        if host.pace == Pace::Stopped {
            return Ok(());
        }
        host.fills += 1;
        let (fills, pace) = (host.fills, host.pace);
        let Some(Core { relay, batch }) = &mut host.core else { return Ok(()) };
        relay.fill(batch);
        let position = relay.position();
        let mut heard: Vec<(EarId, Heard)> = Vec::new();
        let read = batch.read(if pace == Pace::Fast { 64 } else { 3 }, |item| match item {
            BatchItem::Event { event, tokens } => {
                heard.extend(tokens.iter().map(|token| (EarId(*token), Heard::Event(Arc::clone(event)))));
            }
            BatchItem::Gap { gap, tokens } => {
                heard.extend(tokens.iter().map(|token| (EarId(*token), Heard::Gap(gap))));
            }
            BatchItem::Unread { unread, tokens } => {
                heard.extend(tokens.iter().map(|token| (EarId(*token), Heard::Unread(unread.clone()))));
            }
            BatchItem::Ephemeral { ephemeral, tokens } => {
                heard.extend(tokens.iter().map(|token| (EarId(*token), Heard::Ephemeral(*ephemeral))));
            }
            BatchItem::Detached { reason, token } => heard.push((EarId(token), Heard::Detached(reason))),
        });
        for (seat, heard) in &heard {
            self.watch.seen.gaps_of_batches += u64::from(matches!(heard, Heard::Gap(_)));
            self.hear(at.backend, *seat, heard)?;
            if matches!(heard, Heard::Detached(_)) {
                self.seat_over(at.backend, *seat)?;
            }
        }
        match read {
            BatchRead::More => self.call_batch(at),
            BatchRead::Idle => {
                if let Some(host) = self.backends[at.backend].relay(at) {
                    host.batch_at = position;
                }
                let is_here = |seat: &Seat| {
                    seat.guild == at.guild && seat.way == Way::Batch && seat.is_heard && seat.key.is_some()
                };
                let seats = self.backends[at.backend].seats.iter().filter(|(_, seat)| is_here(seat));
                let seats: Vec<EarId> = seats.map(|(seat, _)| *seat).collect();
                // Of many, not each time: it costs as much as they are.
                if seats.len() <= 16 || fills % 16 == 0 {
                    let annals = self.watch.ledger.chronicle.annals(at.guild);
                    for seat in seats {
                        self.watch.ears.waits(annals, seat, position)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn hear(&mut self, backend: usize, seat: EarId, heard: &Heard) -> Result<(), Breach> {
        let Some(held) = self.backends[backend].seats.get(&seat).filter(|held| held.is_heard) else {
            return Ok(());
        };
        if let Some(holding) = self.holdings.get_mut(&held.session).filter(|holding| holding.seat == seat) {
            match heard {
                Heard::Event(event) => holding.known = event.position,
                Heard::Gap(gap) => holding.known = gap.through,
                Heard::Unread(_) | Heard::Ephemeral(_) | Heard::Detached(_) => {}
            }
        }
        let Backend { relays, config, .. } = &self.backends[backend];
        let reach = relays.get(&held.guild).and_then(|host| host.reach(held.way, config));
        self.watch.heard(held.guild, seat, heard, reach)
    }
}
