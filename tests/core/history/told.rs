//! What is told beside the events: who types, and who is there.

use std::ops::ControlFlow;

use guildhall_proto::{ChannelId, Ephemeral, EphemeralKind, Level, Subject, UserId};
use guildhall_relay::TellError;
use guildhall_ring::Version;

use super::History;
use super::fan_out::{same_keys, served};
use crate::listener::Listener;
use crate::model::Model;
use crate::seen::Seen;
use crate::steps::Way;

/// What a relay was told.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Told {
    /// How many things the relay had been told by then.
    pub(crate) nth: u64,
    pub(crate) ephemeral: Ephemeral,
    /// Where the relay was.
    pub(crate) seq: u64,
}

impl Told {
    fn is_about(&self, other: &Self) -> bool {
        self.ephemeral.subject() == other.ephemeral.subject()
    }
}

impl History {
    /// A relay is told the next of what the owner let out, as far as it has come.
    pub(super) fn tell(&mut self, relay: usize, max: usize) {
        for _ in 0..max {
            let backend = &mut self.relays[relay];
            if backend.is_lost {
                return;
            }
            let mut next = None;
            let mut from = Version(backend.told_version);
            self.owner.told_reader.read(&mut from, |version, ephemeral| {
                next = Some((version.0, *ephemeral));
                ControlFlow::Break(())
            });
            let expected = self.owner.told.iter().find(|(version, _)| *version > backend.told_version);
            assert_eq!(next, expected.copied());
            let Some((version, ephemeral)) = next else {
                return;
            };
            let (position, mut woken) = (backend.places.position, Vec::new());
            match backend.relay.tell(ephemeral, &mut woken) {
                Ok(_) => assert!(ephemeral.at.seq.0 <= position),
                Err(TellError::Ahead { .. }) => {
                    assert!(ephemeral.at.seq.0 > position && woken.is_empty());
                    self.seen.told_ahead += 1;
                    return;
                }
                Err(error @ TellError::Stale { .. }) => panic!("{error}"),
            }
            backend.told_version = version;
            backend.told_count += 1;
            let told = Told { nth: backend.told_count, ephemeral, seq: position };
            backend.told.push(told);
            let now = model_at(&self.models, &self.owner.model, position);
            let mut expected = Vec::new();
            for listener in served(&mut self.listeners, relay) {
                let is_waiting = listener.waits && listener.end.is_none() && listener.accepted <= position;
                let is_active = listener.hearing_after(position).level == Level::Active;
                if is_waiting && is_active && !listener.is_called && may_hear(listener, &ephemeral, now) {
                    listener.is_called = true;
                    expected.extend(listener.key);
                }
            }
            same_keys(woken, expected);
        }
    }

    /// Whether somebody types there, and may.
    pub(super) fn type_in(&mut self, user: UserId, channel: ChannelId) {
        self.owner.type_in(user, channel, &mut self.seen);
    }

    /// A stream has read everything and waits: it has heard what is for it of what was told.
    pub(super) fn must_have_been_told(&mut self, at: usize) {
        let listener = &self.listeners[at];
        let backend = &self.relays[listener.relay];
        let position = backend.places.position;
        if listener.hearing_after(position).level == Level::Passive || !listener.has_joined(position) {
            return;
        }
        let now = model_at(&self.models, &self.owner.model, position);
        for (at, told) in backend.told.iter().enumerate().filter(|(_, told)| told.nth > listener.told_from) {
            let is_latest = |told: &Told| !backend.told[at + 1..].iter().any(|later| later.is_about(told));
            if !is_latest(told) {
                continue;
            }
            let subject = told.ephemeral.subject();
            let is_heard = listener.told.get(&subject).is_some_and(|nth| *nth >= told.nth);
            // Whose rights may have changed since does not hear of typing before that, nor who listened from afar of anything.
            let is_from_before =
                told.seq < listener.accepted || told.seq <= listener.turned_at() || told.nth <= listener.told_at_turn;
            let is_sure = !is_from_before && (subject.channel.is_none() || told.seq == position);
            let is_due = is_sure && may_hear(listener, &told.ephemeral, now);
            assert!(is_heard || !is_due, "{told:?} was not told to {listener:?}");
        }
    }
}

/// The guild just after an event.
pub(super) fn model_at<'a>(models: &'a [Model], now: &'a Model, seq: u64) -> &'a Model {
    if seq >= now.seq {
        return now;
    }
    let behind = models.partition_point(|model| model.seq <= seq);
    models[..behind].last().unwrap_or(now)
}

/// Whether something told is for a session that is active, as the guild is then.
fn may_hear(listener: &Listener, ephemeral: &Ephemeral, then: &Model) -> bool {
    match ephemeral.kind {
        EphemeralKind::Typing { channel, user, .. } => {
            user != listener.ear.user && then.sees(listener.ear.user, channel)
        }
        EphemeralKind::Presence { .. } => listener.ear.members,
    }
}

/// A session hears something that was told: the latest of its subject, once, for it, and behind the events before it.
pub(super) fn hear_told(
    listener: &mut Listener,
    ephemeral: &Ephemeral,
    told: &[Told],
    (models, now): (&[Model], &Model),
    seen: &mut Seen,
) {
    let subject: Subject = ephemeral.subject();
    let found = told.iter().rev().find(|told| match listener.end {
        None => told.ephemeral.subject() == subject,
        // What was told behind its end is not for it.
        Some(_) => told.ephemeral == *ephemeral,
    });
    let found = found.filter(|told| told.ephemeral == *ephemeral);
    let found = found.unwrap_or_else(|| panic!("{ephemeral:?} is not the latest, for {listener:?} with {told:?}"));
    assert!(found.nth > listener.told_from, "{found:?} is from before {listener:?}");
    let before = listener.told.insert(subject, found.nth);
    assert!(before < Some(found.nth), "{found:?} was told twice, or after {before:?}, to {listener:?}");
    assert!(may_hear(listener, ephemeral, model_at(models, now, found.seq)), "{found:?} is not for {listener:?}");
    // Of who is there a stream hears as soon as it is active, also what was told while it was not.
    let is_late = listener.way == Way::Stream && subject.channel.is_none() && listener.hearing().level == Level::Active;
    // What was told before it came to listen at another level, at the same event, is for it as it listened then.
    let is_before_turn = found.nth <= listener.told_at_turn && found.seq == listener.turned_at();
    let turns = listener.turns.iter().filter(|(at, _)| is_before_turn && *at == found.seq);
    let before_turn = is_before_turn.then(|| listener.hearing_after(found.seq.saturating_sub(1)));
    let mut then = turns.map(|(_, hearing)| *hearing).chain(before_turn).chain([listener.hearing_after(found.seq)]);
    let is_active = then.any(|hearing| hearing.level == Level::Active);
    assert!(is_active || is_late, "{found:?} for {listener:?}");
    assert!(listener.next().is_none_or(|next| next > found.seq), "{found:?} came too early to {listener:?}");
    seen.typing_heard += u64::from(subject.channel.is_some());
    seen.presences_heard += u64::from(subject.channel.is_none());
    seen.told_in_batches += u64::from(listener.way == Way::Batch);
}
