//! One session from the beginning of its listening to its end, and the check of each thing that it reads.
//!
//! Invariants:
//! - up to where the eye is, everything was looked at: it was heard, lies under a gap, or was not for the session;
//! - nothing up to `known` may come any more, and the eye is there or behind it;
//! - `turns` and `shows` rise, and begin with how the session began.

use std::collections::BTreeMap;
use std::sync::Arc;

use guildhall_proto::{
    ChannelId, Ephemeral, EphemeralKind, Event, EventKind, GuildId, Level, Position, Seq, Status, Subject, Unread,
};
use guildhall_relay::{DetachReason, Gap};

use super::eye::{Eye, begins, channel_of, ends, stripped, weight};
use super::past::Past;
use super::{Begin, Heard, Reach, Tally};
use crate::check::{Annals, Breach, Promise};
use crate::workload::Way;

#[derive(Debug)]
pub(super) struct Ear {
    begin: Begin,
    eye: Eye,
    /// The last event that it heard, or the end of its last gap.
    known: Position,
    /// Levels, each for what comes after a position.
    turns: Vec<(Position, Level)>,
    /// Whether its user was there, likewise.
    shows: Vec<(Position, bool)>,
    /// Channels whose latest message came while it was passive, and would have been for it as an active one: where that stands.
    news: BTreeMap<ChannelId, Position>,
    /// News up to here may be missing from its summaries.
    news_unsure_to: Position,
    /// Set once it has come to the event that ends it.
    end: Option<DetachReason>,
    /// Up to where it was to hear before its detach, once that is asked for.
    leaves: Option<Position>,
    /// How many of what was told of a subject are behind it.
    told: BTreeMap<Subject, usize>,
    /// What it was told that its member may see from a later position on only: that must have come before the next event.
    doubts: Vec<(Ephemeral, Position)>,
    /// Whether the last that it read was a gap.
    is_after_gap: bool,
    is_over: bool,
}

/// What the ear is held against.
pub(super) struct Facts<'a> {
    pub(super) annals: &'a Annals,
    pub(super) past: &'a Past,
    pub(super) tally: &'a mut Tally,
}

/// How the eye passes events that the session did not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Passing {
    /// None of them may have been for it.
    Hearing,
    /// They are under a gap.
    UnderGap,
}

impl Ear {
    pub(super) fn new(begin: Begin, annals: &Annals) -> Result<Self, Breach> {
        let eye = Eye::new(begin.user, begin.after);
        let is_member = Eye::new(begin.user, begin.accepted).is_member(annals);
        // Summaries that were made before it came are not for it. One that comes back is told at once what it has missed.
        let news_unsure_to = if begin.again { begin.after } else { begin.after.max(begin.relay_at) };
        let ear = Self {
            begin,
            eye,
            known: begin.after,
            turns: vec![(begin.after, begin.level)],
            shows: vec![(begin.after, begin.status.is_online())],
            news: BTreeMap::new(),
            news_unsure_to,
            end: None,
            leaves: None,
            told: BTreeMap::new(),
            doubts: Vec::new(),
            is_after_gap: false,
            is_over: false,
        };
        let accepted = begin.accepted;
        ear.require(Promise::Rights, is_member, || format!("was taken at {accepted} for one who is no member"))?;
        ear.require(Promise::Order, begin.after <= accepted, || {
            format!("came back at {accepted}, knowing all up to {}", begin.after)
        })?;
        Ok(ear)
    }

    pub(super) fn guild(&self) -> GuildId {
        self.begin.guild
    }

    /// It listens at another level from `from` on.
    pub(super) fn turn(
        &mut self,
        facts: &mut Facts<'_>,
        level: Level,
        accepted: Position,
        from: Position,
    ) -> Result<(), Breach> {
        if self.is_over || self.turns.last().is_some_and(|(_, last)| *last == level) {
            return Ok(());
        }
        self.require_turn(facts, accepted, from)?;
        self.turns.retain(|(at, _)| *at <= from);
        self.turns.push((from, level));
        if from < self.eye.at() {
            // What it passed by there is looked at again, at its new level.
            self.eye = Eye::new(self.begin.user, from);
            self.end = None;
            self.news.retain(|_, at| *at <= from);
        }
        Ok(())
    }

    /// Its user is there, or is not, from `from` on.
    pub(super) fn show(
        &mut self,
        facts: &mut Facts<'_>,
        status: Status,
        accepted: Position,
        from: Position,
    ) -> Result<(), Breach> {
        if self.is_over {
            return Ok(());
        }
        self.require_turn(facts, accepted, from)?;
        self.shows.retain(|(at, _)| *at <= from);
        self.shows.push((from, status.is_online()));
        Ok(())
    }

    /// It ends behind `at`, or before, if it was to end there already.
    pub(super) fn leave(&mut self, at: Position) {
        self.leaves = Some(self.leaves.map_or(at, |before| before.min(at)));
    }

    pub(super) fn hear(&mut self, facts: &mut Facts<'_>, heard: &Heard) -> Result<(), Breach> {
        self.require(Promise::Order, !self.is_over, || format!("was told {heard:?} behind its end"))?;
        match heard {
            Heard::Event(event) => self.hear_event(facts, event)?,
            Heard::Gap(gap) => self.lose(facts, *gap)?,
            Heard::Unread(unread) => self.hear_unread(facts, unread)?,
            Heard::Ephemeral(ephemeral) => self.hear_told(facts, *ephemeral)?,
            Heard::Detached(reason) => self.ends(facts, *reason)?,
        }
        self.is_after_gap = matches!(heard, Heard::Gap(_));
        Ok(())
    }

    /// It has read all there is for it up to `at`.
    pub(super) fn wait(&mut self, facts: &mut Facts<'_>, at: Position) -> Result<(), Breach> {
        if self.is_over {
            return Ok(());
        }
        self.pass(facts, at, Passing::Hearing)?;
        let end = self.end;
        self.require(Promise::Order, end.is_none(), || format!("waits at {at}, and was not told its end by {end:?}"))?;
        let leaves = self.leaves.filter(|leaves| *leaves <= at);
        self.require(Promise::Order, leaves.is_none(), || {
            format!("waits at {at}, and was not told its end by the detach at {leaves:?}")
        })
    }

    /// Nothing more comes.
    pub(super) fn rest(&mut self, facts: &mut Facts<'_>) -> Result<(), Breach> {
        if self.is_over {
            return Ok(());
        }
        self.wait(facts, facts.past.head())?;
        let is_left = self.leaves.is_some();
        self.require(Promise::Order, !is_left, || "was detached, and never told so".to_owned())?;
        let since = self.turns.last().filter(|(_, level)| *level == Level::Passive).map(|(from, _)| *from);
        let untold = since.and_then(|since| self.sure_news(since).next());
        self.require(Promise::Order, untold.is_none(), || format!("was never told of the news {untold:?}"))
    }

    fn hear_event(&mut self, facts: &mut Facts<'_>, event: &Arc<Event>) -> Result<(), Breach> {
        let at = event.position;
        self.must_be_as_made(facts, event)?;
        let known = self.known;
        self.require(Promise::Order, at > known, || format!("heard {} when it knew all up to {known}", brief(event)))?;
        let just_before = Position { seq: Seq(at.seq.0.saturating_sub(1)), ..at };
        if at <= self.eye.at() {
            // It was passed by, as not for it, when something behind it was told.
            let passed = self.eye.at();
            self.eye = Eye::new(self.begin.user, just_before);
            let is_due = self.step(facts, event)?.is_due;
            self.require(Promise::Order, !is_due, || {
                format!("heard {} when it had been told what came by {passed}", brief(event))
            })?;
            return Err(self.leaked(facts, event));
        }
        self.pass(facts, just_before, Passing::Hearing)?;
        let has_ended = self.end.is_some();
        let Looked { is_due, is_seen } = self.step(facts, event)?;
        if has_ended {
            return Err(self.breach(Promise::Rights, format!("heard {} behind its member's end", brief(event))));
        }
        if !is_due {
            return Err(if is_seen { self.not_for_it(event) } else { self.leaked(facts, event) });
        }
        let leaves = self.leaves.filter(|leaves| self.begin.way == Way::Stream && *leaves < at);
        self.require(Promise::Order, leaves.is_none(), || format!("heard {} behind its detach", brief(event)))?;
        let doubt = self.doubts.iter().find(|(_, from)| *from >= at).map(|(told, _)| *told);
        self.require(Promise::Rights, doubt.is_none(), || format!("was told {doubt:?}, and only then came to see it"))?;
        self.doubts.clear();
        self.known = at;
        self.count(facts, event);
        Ok(())
    }

    fn lose(&mut self, facts: &mut Facts<'_>, gap: Gap) -> Result<(), Breach> {
        let Gap { after, through } = gap;
        let (known, head) = (self.known, facts.past.head());
        let what = || {
            format!("was told a gap after {after} through {through}, knowing all up to {known}, of a guild at {head}")
        };
        self.require(Promise::Order, after <= through && through >= known, what)?;
        // It tells of what nobody has let out.
        self.require(Promise::Durable, through <= head, what)?;
        self.pass(facts, after.min(through), Passing::Hearing)?;
        let (epoch, missed) = (self.eye.at().epoch, facts.tally.missed);
        self.pass(facts, through, Passing::UnderGap)?;
        self.known = through;
        self.news_unsure_to = self.news_unsure_to.max(through);
        self.doubts.clear();
        facts.tally.gaps += 1;
        facts.tally.epochs_over_gaps += u64::from(self.eye.at().epoch > epoch);
        facts.tally.gaps_over_nothing += u64::from(self.eye.at().epoch == epoch && facts.tally.missed == missed);
        Ok(())
    }

    /// A gap over what its relay can still tell is none. What a session missed while it listened in another way is not looked at, nor
    /// what came before a member joined or a role was deleted, where its rights of then may not be known.
    pub(super) fn must_be_lost(&self, facts: &Facts<'_>, gap: Gap, reach: &Reach) -> Result<(), Breach> {
        let from = gap.after.min(reach.read_to);
        let listens_on = self.turns.len() == 1 && self.leaves.is_none() && self.end.is_none();
        let bounds = (reach.events / 2, reach.bytes / 2);
        if from < reach.from || from.epoch != reach.at.epoch || gap.through == from || !listens_on {
            return Ok(());
        }
        let user = self.begin.user;
        let is_unsure = |event: &Event| {
            matches!(event.kind, EventKind::RoleDeleted { .. })
                || ends(&event.kind, user).is_some()
                || begins(&event.kind, user)
        };
        let (mut events, mut bytes) = (0, 0);
        for event in facts.past.between(from, reach.at) {
            events += 1;
            bytes += weight(&event.kind, reach.sessions);
            if events >= bounds.0 || bytes >= bounds.1 || is_unsure(event) {
                return Ok(());
            }
        }
        self.require(Promise::Order, false, || {
            format!(
                "was told a gap after {from} through {}, of {events} events that its relay, at {}, must have",
                gap.through, reach.at
            )
        })
    }

    fn hear_unread(&mut self, facts: &mut Facts<'_>, unread: &Unread) -> Result<(), Breach> {
        let (at, known) = (unread.at, self.known);
        self.require(Promise::Order, at >= known, || format!("was told {unread:?} when it knew all up to {known}"))?;
        self.pass(facts, at, Passing::Hearing)?;
        let has_ended = self.end.is_some();
        self.require(Promise::Rights, !has_ended, || format!("was told {unread:?} behind its member's end"))?;
        let Some((since, surely_since)) = self.passive_since(at) else {
            return Err(self.breach(Promise::Order, format!("was told {unread:?} while it was active")));
        };
        let is_listed = unread.channels.is_sorted_by(|one, next| one < next) && !unread.channels.is_empty();
        self.require(Promise::Order, is_listed, || format!("was told {unread:?}, which is no list"))?;
        for channel in &unread.channels {
            let is_news = self.news.get(channel).is_some_and(|at| *at > since);
            let promise = if self.eye.sees(facts.annals, *channel) { Promise::Order } else { Promise::Rights };
            self.require(promise, is_news, || {
                format!("was told {unread:?}, but there is no news for it in {channel:?}")
            })?;
        }
        let left_out =
            self.sure_news(surely_since).find(|(channel, _)| unread.channels.binary_search(channel).is_err());
        self.require(Promise::Order, left_out.is_none(), || {
            format!("was told {unread:?} without the news {left_out:?}")
        })?;
        self.news.clear();
        facts.tally.summaries += 1;
        Ok(())
    }

    fn hear_told(&mut self, facts: &mut Facts<'_>, told: Ephemeral) -> Result<(), Breach> {
        let all = facts.past.told(told.subject());
        let from = self.told.get(&told.subject()).copied().unwrap_or(0);
        let Some(place) = all[from..].iter().position(|one| *one == told) else {
            let promise = if all.contains(&told) { Promise::Order } else { Promise::Names };
            return Err(
                self.breach(promise, format!("was told {told:?}, which is older than what it was told, or nobody's"))
            );
        };
        self.told.insert(told.subject(), from + place + 1);
        self.pass(facts, told.at, Passing::Hearing)?;
        let has_ended = self.end.is_some();
        self.require(Promise::Rights, !has_ended, || format!("was told {told:?} behind its member's end"))?;
        let Some(seen_from) = self.may_be_told_from(facts, told) else {
            return Err(self.breach(Promise::Rights, format!("was told {told:?}, which is not for it")));
        };
        if seen_from > self.known.max(told.at) {
            self.doubts.push((told, seen_from));
        }
        facts.tally.told += 1;
        Ok(())
    }

    fn ends(&mut self, facts: &mut Facts<'_>, reason: DetachReason) -> Result<(), Breach> {
        match reason {
            DetachReason::Requested | DetachReason::Superseded => {
                let Some(leaves) = self.leaves else {
                    return Err(self.breach(Promise::Order, format!("was told {reason:?}, and nobody asked for that")));
                };
                if !self.is_after_gap {
                    self.pass(facts, leaves, Passing::Hearing)?;
                }
            }
            DetachReason::GuildDeleted if self.is_told_by_others() => {
                let mut ahead = facts.past.between(self.begin.after, facts.past.head());
                let is_deleted = ahead.any(|event| matches!(event.kind, EventKind::GuildDeleted));
                self.require(Promise::Order, is_deleted, || "was told of the end of a guild that is there".to_owned())?;
            }
            DetachReason::MemberLeft | DetachReason::GuildDeleted => {
                let mut ahead = facts.past.between(self.eye.at(), facts.past.head());
                let user = self.begin.user;
                let next = ahead.find_map(|event| Some((event.position, ends(&event.kind, user)?)));
                if let (None, Some((at, _)), false) = (self.end, next, self.is_after_gap) {
                    self.pass(facts, at, Passing::Hearing)?;
                }
                let end = self.end.or(next.map(|(_, reason)| reason));
                self.require(Promise::Order, end == Some(reason), || {
                    format!("was told {reason:?}, but what ends it is {end:?}")
                })?;
            }
        }
        self.is_over = true;
        let count = match reason {
            DetachReason::Requested => &mut facts.tally.left,
            DetachReason::MemberLeft => &mut facts.tally.removed,
            DetachReason::GuildDeleted => &mut facts.tally.deleted,
            DetachReason::Superseded => &mut facts.tally.superseded,
        };
        *count += 1;
        Ok(())
    }

    /// Whether its relay may have been told of the guild's end by others: then it ends with a gap, however little that names, or where
    /// its relay never came to its beginning.
    fn is_told_by_others(&self) -> bool {
        let never_began = self.known == self.begin.after && self.begin.after > self.begin.relay_at;
        self.is_after_gap || never_began
    }

    /// Looks at what the session did not read, up to `through`.
    fn pass(&mut self, facts: &mut Facts<'_>, through: Position, passing: Passing) -> Result<(), Breach> {
        let (from, past) = (self.eye.at(), facts.past);
        if through <= from {
            return Ok(());
        }
        if passing == Passing::Hearing && through.epoch > from.epoch {
            let is_continued = past.is_continued(from.epoch, through.epoch);
            self.require(Promise::Order, is_continued, || {
                format!("came from {from} to {through} without a gap, though not all of the epoch before was left")
            })?;
            facts.tally.epochs_continued += 1;
        }
        for event in past.between(from, through) {
            let had_ended = self.end;
            let is_due = self.step(facts, event)?.is_due && self.leaves.is_none_or(|leaves| event.position <= leaves);
            match passing {
                Passing::UnderGap => {
                    facts.tally.missed += u64::from(is_due);
                    if self.begin.again && event.position <= self.begin.accepted {
                        // Its owner knew it still when it came back: what ended there was an earlier time of its member.
                        self.end = had_ended;
                    }
                }
                Passing::Hearing if is_due => return Err(self.lost(facts, event)),
                Passing::Hearing => {}
            }
        }
        self.eye.pass(through);
        Ok(())
    }

    /// Looks at the next event.
    fn step(&mut self, facts: &Facts<'_>, event: &Event) -> Result<Looked, Breach> {
        let at = event.position;
        let is_online = self.shows.iter().rev().find(|(from, _)| *from < at).is_some_and(|(_, is_online)| *is_online);
        let level = self.turns.iter().rev().find(|(from, _)| *from < at).map_or(self.begin.level, |(_, level)| *level);
        let reach = self.eye.look(facts.annals, event, &self.begin, is_online);
        if let EventKind::MessagePublished(message) = &event.kind {
            if reach.active && level == Level::Passive {
                self.news.insert(message.channel, at);
            } else {
                self.news.remove(&message.channel);
            }
        } else if let EventKind::ChannelDeleted { channel, .. } = &event.kind {
            self.news.remove(&channel.id);
        }
        let is_for = match level {
            Level::Active => reach.active,
            Level::Passive => reach.passive,
        };
        let is_due = is_for && self.end.is_none();
        self.end = self.end.or_else(|| ends(&event.kind, self.begin.user));
        Ok(Looked { is_due, is_seen: reach.is_seen })
    }

    /// From where on the session may be told something, at or behind where that was accepted; `None` if nowhere yet.
    fn may_be_told_from(&self, facts: &Facts<'_>, told: Ephemeral) -> Option<Position> {
        let from = told.at.max(self.begin.after);
        let mut eye = Eye::new(self.begin.user, from);
        let may_be_told = |eye: &mut Eye| {
            let at = eye.at();
            let level = self.turns.iter().rev().find(|(turn, _)| *turn <= at).map(|(_, level)| *level);
            level == Some(Level::Active)
                && match told.kind {
                    EphemeralKind::Typing { channel, user, .. } => {
                        user != self.begin.user && eye.sees(facts.annals, channel)
                    }
                    EphemeralKind::Presence { .. } => self.begin.members && eye.is_member(facts.annals),
                }
        };
        if may_be_told(&mut eye) {
            return Some(from);
        }
        let ahead = facts.past.between(from, facts.past.head());
        ahead.into_iter().find_map(|event| {
            eye.look(facts.annals, event, &self.begin, false);
            may_be_told(&mut eye).then_some(event.position)
        })
    }

    /// Since when the session, which is passive at `at`, has been so; and since when at the latest. Where it turns, it is what it was and
    /// what it will be, however often it turns there.
    fn passive_since(&self, at: Position) -> Option<(Position, Position)> {
        let turns = || self.turns.iter().rev().filter(|(from, _)| *from <= at);
        let mut latest = turns().skip_while(|(from, level)| *level == Level::Active && *from == at);
        let (latest, _) = *latest.next().filter(|(_, level)| *level == Level::Passive)?;
        let before = turns().find(|(from, _)| *from < at).filter(|(_, level)| *level == Level::Passive);
        Some((before.map_or(latest, |(from, _)| *from), latest))
    }

    /// The news that the next summary must have. Since when news are news to a session a relay knows by number alone: those of a later
    /// epoch that begins before that number may be missing.
    fn sure_news(&self, since: Position) -> impl Iterator<Item = (ChannelId, Position)> {
        let (unsure_to, relay_at) = (self.news_unsure_to.max(since), self.begin.relay_at);
        let repeats = |at: Position, known: Position| at.epoch > known.epoch && at.seq <= known.seq;
        let is_sure = move |at| at > unsure_to && !repeats(at, since) && !repeats(at, relay_at);
        self.news.iter().map(|(channel, at)| (*channel, *at)).filter(move |(_, at)| is_sure(*at))
    }

    fn must_be_as_made(&self, facts: &Facts<'_>, event: &Arc<Event>) -> Result<(), Breach> {
        let Some(made) = facts.past.find(event.position) else {
            return Err(self.breach(Promise::Names, format!("heard {}, which nobody let out", brief(event))));
        };
        let Some(told) = stripped(made) else {
            let is_same = Arc::ptr_eq(made, event) || made == event;
            return self.require(Promise::Names, is_same, || format!("heard {} for {}", brief(event), brief(made)));
        };
        self.require(Promise::Rights, event != made, || format!("heard all of {}", brief(made)))?;
        self.require(Promise::Names, **event == told, || format!("heard {} for {}", brief(event), brief(made)))
    }

    fn require_turn(&self, facts: &Facts<'_>, accepted: Position, from: Position) -> Result<(), Breach> {
        let fits = from >= accepted && from <= facts.past.head().max(accepted);
        self.require(Promise::Order, fits, || {
            format!("is to listen in another way from {accepted} on, and does so from {from} on")
        })
    }

    /// It should have heard an event.
    #[track_caller]
    fn lost(&self, facts: &Facts<'_>, event: &Event) -> Breach {
        let is_hidden = self.is_in_past(event) && self.is_seen_today(facts, event) == Some(false);
        let promise = if is_hidden { Promise::Past } else { Promise::Order };
        self.breach(promise, format!("never heard {}, and was told no gap", brief(event)))
    }

    /// It should not have heard an event, and its member may not see it.
    #[track_caller]
    fn leaked(&self, facts: &Facts<'_>, event: &Event) -> Breach {
        let is_shown = self.is_in_past(event) && self.is_seen_today(facts, event) == Some(true);
        let promise = if is_shown { Promise::Past } else { Promise::Rights };
        self.breach(promise, format!("heard {}, which its member may not see", brief(event)))
    }

    /// It should not have heard an event, though its member may see it.
    #[track_caller]
    fn not_for_it(&self, event: &Event) -> Breach {
        self.breach(Promise::Order, format!("heard {}, which is not for it as it listens", brief(event)))
    }

    /// Whether an event came before the session did, which is back.
    fn is_in_past(&self, event: &Event) -> bool {
        self.begin.again && event.position <= self.begin.accepted.max(self.begin.relay_at)
    }

    /// Whether the member sees the channel of an event by the rights of when the session came back.
    fn is_seen_today(&self, facts: &Facts<'_>, event: &Event) -> Option<bool> {
        let channel = channel_of(&event.kind)?;
        let today = self.begin.accepted.max(self.begin.relay_at);
        Some(Eye::new(self.begin.user, today).sees(facts.annals, channel))
    }

    fn count(&mut self, facts: &mut Facts<'_>, event: &Event) {
        let is_in_past = self.is_in_past(event);
        let is_hidden_today = is_in_past && self.is_seen_today(facts, event) == Some(false);
        let channel = channel_of(&event.kind).filter(|_| facts.past.head() > event.position);
        let now = |channel| facts.annals.latest().community().is_some_and(|now| now.sees(self.begin.user, channel));
        let is_call =
            matches!(event.kind, EventKind::MessagePublished(_)) && self.passive_since(event.position).is_some();
        let tally = &mut *facts.tally;
        tally.events += 1;
        tally.replayed += u64::from(is_in_past);
        tally.replayed_hidden += u64::from(is_hidden_today);
        tally.hidden_meanwhile += u64::from(channel.is_some_and(|channel| !now(channel)));
        tally.calls += u64::from(is_call);
    }

    #[track_caller]
    fn require(&self, promise: Promise, holds: bool, what: impl FnOnce() -> String) -> Result<(), Breach> {
        if holds { Ok(()) } else { Err(self.breach(promise, what())) }
    }

    #[track_caller]
    fn breach(&self, promise: Promise, what: String) -> Breach {
        let Begin { guild, session, user, .. } = self.begin;
        promise.breach(format!("{session:?} of {user:?} in {guild:?} {what}"))
    }
}

/// What a look at an event came to.
#[derive(Debug, Clone, Copy)]
struct Looked {
    is_due: bool,
    is_seen: bool,
}

/// An event as a message has room for it.
fn brief(event: &Event) -> String {
    let mut brief = format!("{} {:?}", event.position, event.kind);
    if let Some((end, _)) = brief.char_indices().nth(BRIEF_CHARS) {
        brief.truncate(end);
        brief.push('…');
    }
    brief
}

/// Bulk events name thousands.
const BRIEF_CHARS: usize = 300;
