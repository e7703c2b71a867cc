//! What a session had to hear, by the ledger and the plain rule, beside what it has heard.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::thread;

use guildhall_client::DetachReason;
use guildhall_proto::{ChannelId, Level, Mentions, RoleId, UserId};
use tracing::info;

use super::ledger::Closed;
use super::record::{News, Record, Told};
use super::seat::{Errand, Sitting};
use crate::checks::Number;
use crate::trial::fact::{Fact, mark_at};
use crate::trial::findings::Findings;
use crate::trial::rights::Touched;
use crate::trial::shape::Shape;

/// Judges all sessions, on all cores.
pub(crate) fn judge_all(ledger: &Closed, heard: &[(Sitting, Record)]) -> Vec<Findings> {
    let threads = thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let share = heard.len().div_ceil(threads).max(1);
    thread::scope(|scope| {
        let judges: Vec<_> = heard
            .chunks(share)
            .map(|share| {
                scope.spawn(move || {
                    share.iter().map(|(sitting, record)| judge(ledger, sitting, record)).collect::<Vec<_>>()
                })
            })
            .collect();
        judges.into_iter().flat_map(|judge| judge.join().expect("a judge does not panic")).collect()
    })
}

/// Judges one session. O(entries of the ledger), and O(roles held × overwrites) for each channel after each change of rights.
pub(crate) fn judge(ledger: &Closed, sitting: &Sitting, record: &Record) -> Findings {
    let mut eye = Eye::new(ledger, sitting);
    let session = sitting.seat.session.get();
    let mut marks = 0_u64;
    let mut missed = vec![0_u64; record.tally.gaps.len()];
    let mut news = record.news.iter().peekable();
    // In the order of events, and of what came in between as it came.
    let mut told = record.told.clone();
    told.sort_by_key(|told| told.at);
    let mut told = told.iter().peekable();
    // Told of what it may not see as of when that was accepted: relays decide as of when they tell it, which may be later.
    let mut doubtful: Vec<&Told> = Vec::new();
    let mut found = Findings {
        told: record.told.len() as u64,
        duplicated: record.tally.duplicated,
        leaked: record.tally.early + record.tally.numbers.count_from(ledger.end()),
        altered: record.tally.altered,
        gaps: record.tally.gaps.len() as u64,
        ..Findings::default()
    };
    for (idx, number, fact) in ledger.from(0) {
        while let Some(told) = news.next_if(|told| told.at < number) {
            found.leaked += eye.not_news(told);
        }
        while let Some(told) = told.next_if(|told| told.at < number) {
            doubtful.push(told);
        }
        doubtful.retain(|told| !eye.may_be_told(told));
        if record.tally.numbers.contains(number) {
            // What it was told before it heard this, it was told before it came to see more.
            let told = doubtful.extract_if(.., |told| told.behind <= number);
            found.leaked +=
                told.inspect(|told| info!(session, ?told, "told what is not for the session")).count() as u64;
        }
        let is_due = eye.hears(idx, number, fact) && number >= record.tally.numbers.from();
        found.due += u64::from(is_due);
        if record.tally.numbers.contains(number) {
            marks = marks.wrapping_add(mark_at(number, fact.mark()));
            if !is_due {
                info!(session, number, ?fact, "heard what is not for the session");
                found.leaked += 1;
            } else if record.tally.late.contains(&number) {
                found.reordered += 1;
            }
        } else if is_due {
            match record.tally.gaps.iter().position(|gap| (gap.after + 1..=gap.through).contains(&number)) {
                Some(gap) => missed[gap] += 1,
                None => {
                    info!(session, number, ?fact, "not heard what is for the session");
                    found.lost += 1;
                }
            }
        }
    }
    found.leaked += news.map(|told| eye.not_news(told)).sum::<u64>();
    found.leaked += doubtful.into_iter().chain(told).filter(|told| !eye.may_be_told(told)).count() as u64;
    found.reordered += backwards(&record.told);
    found.missed = missed.iter().sum();
    let needless = record.tally.gaps.iter().zip(&missed).filter(|(gap, missed)| **missed == 0 || gap.is_crooked());
    found.needless_gaps = needless.count() as u64;
    // Every event that was heard is the one that its number says.
    found.altered += u64::from(marks != record.tally.marks);
    let told_end = record.end == Some(DetachReason::MemberLeft);
    found.lost += u64::from(eye.has_ended && !told_end);
    found.leaked += u64::from(!eye.has_ended && record.end.is_some());
    found
}

/// How often something was told that is older than what was told of the same before.
fn backwards(told: &[Told]) -> u64 {
    let mut latest = BTreeMap::new();
    let mut backwards = 0;
    for Told { at, user, typing, behind: _ } in told {
        let now = (*at, typing.map(|(_, since)| since));
        let before = latest.insert((*user, typing.map(|(channel, _)| channel)), now);
        backwards += u64::from(before.is_some_and(|before| before > now));
    }
    backwards
}

/// One session's rights and level, followed through the ledger.
struct Eye<'a> {
    ledger: &'a Closed,
    sitting: &'a Sitting,
    user: UserId,
    roles: Vec<RoleId>,
    version: usize,
    /// Which channels it sees, as far as that was asked since rights changed.
    seen: Vec<Option<bool>>,
    /// Channels whose latest message is news to it: as passive, and one that it would hear as active.
    news: u128,
    has_ended: bool,
}

impl<'a> Eye<'a> {
    fn new(ledger: &'a Closed, sitting: &'a Sitting) -> Self {
        let (user, roles) = (sitting.seat.user(), sitting.seat.roles.clone());
        Self { ledger, sitting, user, roles, version: 0, seen: Vec::new(), news: 0, has_ended: false }
    }

    /// Whether an entry is for the session; goes from just before it to just after it.
    fn hears(&mut self, idx: usize, number: Number, fact: &Fact) -> bool {
        if self.has_ended {
            return false;
        }
        let before = match fact {
            Fact::ChannelUpdated { channel, .. }
            | Fact::ChannelDeleted { channel }
            | Fact::OverwriteChanged { channel, .. } => self.sees(*channel),
            Fact::Message { .. }
            | Fact::RoleSet { .. }
            | Fact::RoleDeleted { .. }
            | Fact::ChannelCreated { .. }
            | Fact::Joined { .. }
            | Fact::Changed { .. }
            | Fact::Left { .. }
            | Fact::Pruned { .. }
            | Fact::Bell { .. }
            | Fact::Unheard => false,
        };
        self.follow(idx);
        let wants_members = self.sitting.seat.members;
        match fact {
            Fact::Message { channel, except, call, .. } => {
                let is_active = self.level(number) == Level::Active;
                let would_hear = *except != Some(self.sitting.seat.session) && self.sees(*channel);
                self.note_news(*channel, would_hear && !is_active);
                would_hear && (is_active || call.as_ref().is_some_and(|call| self.is_called(call)))
            }
            Fact::RoleSet { .. } | Fact::RoleDeleted { .. } | Fact::Bell { .. } => true,
            Fact::ChannelCreated { channel, .. }
            | Fact::ChannelUpdated { channel, .. }
            | Fact::OverwriteChanged { channel, .. } => before || self.sees(*channel),
            Fact::ChannelDeleted { channel } => {
                self.note_news(*channel, false);
                before
            }
            Fact::Joined { user, .. } | Fact::Changed { user, .. } | Fact::Left { user } if *user != self.user => {
                wants_members && self.level(number) == Level::Active
            }
            Fact::Joined { roles, .. } | Fact::Changed { roles, .. } => {
                self.roles = roles.to_vec();
                self.seen.clear();
                true
            }
            Fact::Left { .. } => {
                self.has_ended = true;
                true
            }
            Fact::Pruned { users } => {
                self.has_ended = users.binary_search(&self.user).is_ok();
                wants_members
            }
            Fact::Unheard => false,
        }
    }

    /// How many of the channels that it was told to have news in have none for it.
    fn not_news(&self, told: &News) -> u64 {
        let wrong = told.channels & !self.news;
        if wrong != 0 {
            info!(session = %self.sitting.seat.session, ?told, wrong, "news of channels without any for the session");
        }
        u64::from(wrong.count_ones())
    }

    /// Whether the session may be told that, as of where the eye stands.
    fn may_be_told(&mut self, told: &Told) -> bool {
        // Between two levels it is not told here from where on it is asked which it has.
        let may_be_active = self.sitting.seat.level == Level::Active || self.sitting.seat.errand == Errand::Turn;
        let may_see = match told.typing {
            Some((channel, _)) => told.user != self.user && self.sees(channel),
            None => self.sitting.seat.members,
        };
        may_be_active && may_see && !self.has_ended
    }

    fn note_news(&mut self, channel: ChannelId, is_news: bool) {
        let bit = 1_u128 << Shape::channel_idx(channel).min(127);
        self.news = if is_news { self.news | bit } else { self.news & !bit };
    }

    fn level(&self, number: Number) -> Level {
        let turned = self.sitting.turns.iter().rev().find(|(at, _)| *at < number);
        turned.map_or(self.sitting.seat.level, |(_, level)| *level)
    }

    fn is_called(&self, call: &Mentions) -> bool {
        call.everyone
            || call.here && self.sitting.seat.status.is_online()
            || call.users.contains(&self.user)
            || call.roles.iter().any(|role| self.roles.contains(role))
    }

    fn sees(&mut self, channel: ChannelId) -> bool {
        let idx = Shape::channel_idx(channel);
        if self.seen.len() <= idx {
            self.seen.resize(idx + 1, None);
        }
        let (_, rights, _) = &self.ledger.rights[self.version];
        *self.seen[idx].get_or_insert_with(|| rights.sees(self.user, &self.roles, channel))
    }

    /// Takes in what the entry changes of the rights.
    fn follow(&mut self, idx: usize) {
        let Some((_, _, touched)) = self.ledger.rights.get(self.version + 1).filter(|(from, ..)| *from == idx) else {
            return;
        };
        self.version += 1;
        match touched {
            Touched::Nothing => {}
            Touched::Channel(channel) => {
                if let Some(seen) = self.seen.get_mut(Shape::channel_idx(*channel)) {
                    *seen = None;
                }
            }
            Touched::Everything => self.seen.clear(),
        }
    }
}

#[cfg(test)]
mod tests;
