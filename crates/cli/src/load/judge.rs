//! What each session had to hear, by the ledger and the plain rule, beside what it has heard: one window of numbers after the other.
//!
//! A window is as long as whole words of bits, and all sessions' bits begin with the same number. What a session must hear of it is a few bits
//! or-ed together: of the channels that it sees, of what everybody hears, of its own member's changes. So a window of some thousand numbers
//! costs a session about a microsecond, and what was judged is kept nowhere.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::iter;
use std::ops::Range;
use std::sync::Arc;

use guildhall_proto::{ChannelId, Level, Mentions, OverwriteTarget, RoleId, SessionId, UserId};
use tracing::info;

use self::gaps::Gaps;
use super::ear::Record;
use super::seat::Seat;
use super::told::{Subjects, may_be_told};
use crate::checks::Number;
use crate::trial::fact::{Fact, mark_at};
use crate::trial::findings::Findings;
use crate::trial::rights::Rights;

/// What is known of a guild up to the next window.
pub(super) struct Judge {
    rights: Rights,
    /// Ascending; by their places here they are known in sets.
    channels: Vec<ChannelId>,
    /// Who has sessions.
    seated: HashSet<UserId>,
    /// Users with overwrites of their own.
    named: HashSet<UserId>,
    /// The roles of users with sessions that changed, as of the next window.
    changed: HashMap<UserId, Box<[RoleId]>>,
    /// Which channels are seen by who has such roles and no overwrites of their own.
    seen: HashMap<Box<[RoleId]>, Arc<[u64]>>,
    /// Channels in which somebody spoke.
    spoken: Bits,
    /// What the load itself tells of now.
    subjects: Arc<Subjects>,
    gaps: Gaps,
}

/// What happened in a window, turned to what sessions ask.
struct Window {
    first: Number,
    facts: Vec<Fact>,
    marks: Vec<u64>,
    /// Messages, by the places of their channels.
    messages: Vec<Bits>,
    /// What all hear, whatever their rights and levels.
    to_all: Bits,
    /// Changes of members.
    of_members: Bits,
    /// Messages that call more than some users, and those that call a user.
    calls: Vec<usize>,
    calls_of: HashMap<UserId, Vec<usize>>,
    /// Messages that a session published without wanting to hear them.
    not_for: HashMap<SessionId, Vec<usize>>,
    changes: BTreeMap<UserId, Vec<usize>>,
}

/// So many bits, 64 to a word.
type Bits = Vec<u64>;

impl Judge {
    /// Of a guild whose rights do not change.
    pub(super) fn new(rights: Rights, channels: Vec<ChannelId>, seats: &[Seat], subjects: Arc<Subjects>) -> Self {
        let named = channels.iter().filter_map(|channel| rights.overwrites(*channel)).flatten();
        let named = named.filter_map(|overwrite| match overwrite.target {
            OverwriteTarget::User(user) => Some(user),
            OverwriteTarget::Role(_) => None,
        });
        let named = named.chain([rights.owner()]).collect();
        let seated = seats.iter().map(|seat| seat.user).collect();
        let spoken = empty(channels.len().div_ceil(WORD));
        Self {
            rights,
            channels,
            seated,
            named,
            changed: HashMap::new(),
            seen: HashMap::new(),
            spoken,
            subjects,
            gaps: Gaps::default(),
        }
    }

    /// Judges all sessions on the facts from the number `first` on, with which all records' bits begin, and has the records forget what was judged.
    /// O(sessions × channels × facts / 64), and O(roles held × overwrites) for each channel and set of roles not met before. Whoever still
    /// hears something waits meanwhile for its own record only.
    pub(super) fn judge<'a>(
        &mut self,
        first: Number,
        facts: Vec<Fact>,
        heard: impl IntoIterator<Item = (&'a Seat, &'a parking_lot::Mutex<Record>)>,
    ) -> Findings {
        let window = Window::new(first, facts, &self.channels);
        for (spoken, messages) in window.messages.iter().enumerate() {
            if messages.iter().any(|word| *word != 0) {
                set(&mut self.spoken, spoken);
            }
        }
        let mut found = Findings::default();
        for (seat, record) in heard {
            let due = self.due(&window, seat);
            let mut record = record.lock();
            self.note_gaps(&window, seat, &due, &record);
            found += compare(&window, seat, &due, &mut record);
            found.leaked += self.not_news(&window, seat, &mut record);
            found.leaked += self.not_told(&window, seat, &mut record);
        }
        found.needless_gaps += self.gaps.end(window.end());
        for (user, at) in window.changes {
            if let (Some(at), true) = (at.last(), self.seated.contains(&user))
                && let Fact::Changed { roles, .. } = &window.facts[*at]
            {
                self.changed.insert(user, roles.clone());
            }
        }
        found
    }

    /// Judges what came behind all that happened: nothing is due there, and what was told need only be for its session. Behind the last number that was
    /// judged.
    pub(super) fn judge_rest<'a>(
        &mut self,
        next: Number,
        heard: impl IntoIterator<Item = (&'a Seat, &'a parking_lot::Mutex<Record>)>,
    ) -> Findings {
        self.judge(next, Vec::new(), heard)
    }

    /// Takes note of the session's gaps, and of whether it has missed anything under them.
    fn note_gaps(&mut self, window: &Window, seat: &Seat, due: &[u64], record: &Record) {
        for gap in &record.tally.gaps {
            let under = window.under(std::slice::from_ref(gap));
            let heard = record.tally.numbers.words().iter().chain(iter::repeat(&0));
            let has_missed = due.iter().zip(under).zip(heard).any(|((due, under), heard)| due & under & !heard != 0);
            let is_crooked = gap.is_crooked();
            if is_crooked && gap.through < window.end() {
                info!(session = %seat.session, ?gap, "a gap of what the session had heard, or that ends before it begins");
            }
            self.gaps.note(gap.through, seat.level, is_crooked, has_missed);
        }
    }

    /// What of the window is for the session.
    fn due(&mut self, window: &Window, seat: &Seat) -> Bits {
        let mut due = window.to_all.clone();
        let own = window.changes.get(&seat.user).map_or(&[][..], Vec::as_slice);
        let mut from = 0;
        for at in own.iter().copied().chain([window.facts.len()]) {
            let roles = self.roles_as_of(window, seat, from);
            match seat.level {
                Level::Active => {
                    let seen = self.seen(seat.user, &roles);
                    each(&seen, |channel| or(&mut due, &window.messages[channel], from..at));
                }
                Level::Passive => {
                    let named = window.calls_of.get(&seat.user).into_iter().flatten();
                    for call in window.calls.iter().chain(named).filter(|call| (from..at).contains(call)) {
                        if self.is_called(seat, &roles, &window.facts[*call]) {
                            set(&mut due, *call);
                        }
                    }
                }
            }
            from = at;
        }
        // Its own user's change, whatever its level.
        own.iter().for_each(|at| set(&mut due, *at));
        if seat.members {
            or(&mut due, &window.of_members, 0..window.facts.len());
        }
        window.not_for.get(&seat.session).into_iter().flatten().for_each(|at| unset(&mut due, *at));
        due
    }

    fn is_called(&self, seat: &Seat, roles: &[RoleId], fact: &Fact) -> bool {
        let Fact::Message { channel, call: Some(call), .. } = fact else { return false };
        let Mentions { everyone, here, users, roles: called } = &**call;
        let is_called = *everyone
            || *here && seat.status.is_online()
            || users.contains(&seat.user)
            || called.iter().any(|role| roles.contains(role));
        is_called && self.rights.sees(seat.user, roles, *channel)
    }

    /// The roles of a session's user just behind the window's fact at `at - 1`.
    fn roles_as_of(&self, window: &Window, seat: &Seat, at: usize) -> Box<[RoleId]> {
        let changes = window.changes.get(&seat.user).map_or(&[][..], Vec::as_slice);
        let last = changes[..changes.partition_point(|change| *change <= at)].last();
        if let Some(Fact::Changed { roles, .. }) = last.map(|last| &window.facts[*last]) {
            return roles.clone();
        }
        self.changed.get(&seat.user).unwrap_or(&seat.roles).clone()
    }

    /// The channels that such a user sees.
    fn seen(&mut self, user: UserId, roles: &[RoleId]) -> Arc<[u64]> {
        let look = |rights: &Rights| {
            let mut seen = empty(self.channels.len().div_ceil(WORD));
            for (idx, channel) in self.channels.iter().enumerate() {
                if rights.sees(user, roles, *channel) {
                    set(&mut seen, idx);
                }
            }
            Arc::from(seen)
        };
        if self.named.contains(&user) {
            return look(&self.rights);
        }
        if let Some(seen) = self.seen.get(roles) {
            return Arc::clone(seen);
        }
        let seen: Arc<[u64]> = look(&self.rights);
        if self.seen.len() >= SETS_MAX {
            self.seen.clear();
        }
        self.seen.insert(roles.into(), Arc::clone(&seen));
        seen
    }

    /// How many channels the session was told to have news in, up to the window's end, of which it may not know: nobody spoke there, it does
    /// not see them, or it is active. Who had other roles at some time may have seen them then.
    fn not_news(&mut self, window: &Window, seat: &Seat, record: &mut Record) -> u64 {
        if record.news.is_empty() {
            return 0;
        }
        let has_changed = self.changed.contains_key(&seat.user) || window.changes.contains_key(&seat.user);
        let seen = (!has_changed).then(|| self.seen(seat.user, &seat.roles));
        let is_news = |channel: &ChannelId| {
            let idx = self.channels.binary_search(channel);
            let may_see = |idx| has(&self.spoken, idx) && seen.as_ref().is_none_or(|seen| has(seen, idx));
            seat.level == Level::Passive && idx.is_ok_and(may_see)
        };
        let mut wrong = 0;
        for news in record.news.extract_if(.., |news| news.at < window.end()) {
            let not: Vec<_> = news.channels.iter().filter(|channel| !is_news(channel)).collect();
            if !not.is_empty() {
                info!(session = %seat.session, at = news.at, channels = ?not, "news of channels without any for the session");
            }
            wrong += not.len() as u64;
        }
        wrong
    }

    /// Of how many subjects the session was told now that are not for it: its own typing, typing in a channel that it does not see, whoever is there
    /// where it does not want to know. Who had other roles at some time may have seen the channel then.
    fn not_told(&mut self, window: &Window, seat: &Seat, record: &mut Record) -> u64 {
        let told = std::mem::take(&mut record.told.unjudged);
        if told == [0; 2] {
            return 0;
        }
        let has_changed = self.changed.contains_key(&seat.user) || window.changes.contains_key(&seat.user);
        let seen = (!has_changed).then(|| self.seen(seat.user, &seat.roles));
        let mut wrong = 0;
        each(&told, |place| {
            let subject = self.subjects.all().get(place);
            let channel = subject.and_then(|subject| subject.channel);
            let idx = channel.map(|channel| self.channels.binary_search(&channel));
            let may_see = |idx| seen.as_ref().is_none_or(|seen| has(seen, idx));
            if !may_be_told(seat, subject) || !idx.is_none_or(|idx| idx.is_ok_and(may_see)) {
                info!(session = %seat.session, ?subject, "told now what is not for the session");
                wrong += 1;
            }
        });
        wrong
    }
}

/// What was heard beside what was due; the record forgets the window.
fn compare(window: &Window, seat: &Seat, due: &[u64], record: &mut Record) -> Findings {
    let Record { tally, explained, .. } = record;
    let words = due.len();
    let heard = tally.numbers.words();
    let heard_at = |word: usize| heard.get(word).copied().unwrap_or(0);
    let mut found = Findings { due: due.iter().map(|word| u64::from(word.count_ones())).sum(), ..Findings::default() };
    let under = window.under(&tally.gaps);
    for (word, due) in due.iter().enumerate() {
        let heard = heard_at(word);
        found.missed += u64::from((due & !heard & under[word]).count_ones());
        let (lost, leaked) = (due & !heard & !under[word], heard & !due);
        found.lost += u64::from(lost.count_ones());
        found.leaked += u64::from(leaked.count_ones());
        for (wrong, what) in
            [(lost, "not heard what is for the session"), (leaked, "heard what is not for the session")]
        {
            each(&[wrong], |bit| {
                let at = word * WORD + bit;
                info!(session = %seat.session, number = window.first + at as u64, fact = ?window.facts.get(at), what);
            });
        }
        each(&[heard], |bit| {
            let mark = window.marks.get(word * WORD + bit).copied().unwrap_or(0);
            *explained = explained.wrapping_add(mark);
        });
    }
    let late = tally.late.extract_if(.., |number| *number < window.end());
    let is_due = |number: &u64| {
        usize::try_from(number.saturating_sub(window.first)).is_ok_and(|at| at < words * WORD && has(due, at))
    };
    found.reordered = late.filter(is_due).count() as u64;
    tally.gaps.retain(|gap| gap.through >= window.end());
    tally.numbers.forget(words);
    found
}

impl Window {
    fn new(first: Number, facts: Vec<Fact>, channels: &[ChannelId]) -> Self {
        let words = facts.len().div_ceil(WORD);
        let mut window = Self {
            first,
            marks: (first..).zip(&facts).map(|(number, fact)| mark_at(number, fact.mark())).collect(),
            messages: channels.iter().map(|_| empty(words)).collect(),
            to_all: empty(words),
            of_members: empty(words),
            calls: Vec::new(),
            calls_of: HashMap::new(),
            not_for: HashMap::new(),
            changes: BTreeMap::new(),
            facts: Vec::new(),
        };
        for (at, fact) in facts.iter().enumerate() {
            match fact {
                Fact::Message { channel, except, call, .. } => {
                    let idx = channels.binary_search(channel).expect("messages go to channels of the guild");
                    set(&mut window.messages[idx], at);
                    if let Some(session) = except {
                        window.not_for.entry(*session).or_default().push(at);
                    }
                    if let Some(call) = call {
                        window.note_call(at, call);
                    }
                }
                Fact::Bell { .. } => set(&mut window.to_all, at),
                Fact::Changed { user, .. } => {
                    set(&mut window.of_members, at);
                    window.changes.entry(*user).or_default().push(at);
                }
                Fact::Unheard => {}
                Fact::RoleSet { .. }
                | Fact::RoleDeleted { .. }
                | Fact::ChannelCreated { .. }
                | Fact::ChannelUpdated { .. }
                | Fact::ChannelDeleted { .. }
                | Fact::OverwriteChanged { .. }
                | Fact::Joined { .. }
                | Fact::Left { .. }
                | Fact::Pruned { .. } => unreachable!("a load does nothing of that kind: {fact:?}"),
            }
        }
        Self { facts, ..window }
    }

    fn note_call(&mut self, at: usize, call: &Mentions) {
        if call.everyone || call.here || !call.roles.is_empty() {
            self.calls.push(at);
        } else {
            call.users.iter().for_each(|user| self.calls_of.entry(*user).or_default().push(at));
        }
    }

    /// The first number behind it.
    fn end(&self) -> Number {
        self.first + self.facts.len() as u64
    }

    /// What of it lies under gaps.
    fn under(&self, gaps: &[crate::trial::tally::Missed]) -> Bits {
        let mut under = empty(self.to_all.len());
        for gap in gaps {
            let from = gap.after.saturating_add(1).max(self.first);
            let to = gap.through.saturating_add(1).min(self.end());
            (from..to).for_each(|number| {
                set(&mut under, usize::try_from(number - self.first).expect("a window is short"));
            });
        }
        under
    }
}

fn empty(words: usize) -> Bits {
    vec![0; words]
}

fn set(bits: &mut [u64], at: usize) {
    bits[at / WORD] |= 1 << (at % WORD);
}

fn unset(bits: &mut [u64], at: usize) {
    bits[at / WORD] &= !(1 << (at % WORD));
}

fn has(bits: &[u64], at: usize) -> bool {
    bits[at / WORD] & 1 << (at % WORD) != 0
}

/// Calls `visit` with the place of each bit that is set.
fn each(bits: &[u64], mut visit: impl FnMut(usize)) {
    for (word, bits) in bits.iter().enumerate() {
        let mut left = *bits;
        while left != 0 {
            visit(word * WORD + left.trailing_zeros() as usize);
            left &= left - 1;
        }
    }
}

/// Adds the bits of a range.
fn or(to: &mut [u64], from: &[u64], range: Range<usize>) {
    for word in range.start / WORD..range.end.div_ceil(WORD) {
        let behind_start = u64::MAX << range.start.saturating_sub(word * WORD).min(WORD - 1);
        let before_end = match range.end - word * WORD {
            left @ 1..WORD => (1 << left) - 1,
            _ => u64::MAX,
        };
        to[word] |= from[word] & behind_start & before_end;
    }
}

const WORD: usize = u64::BITS as usize;
/// Sets of roles of which it is kept what they see.
const SETS_MAX: usize = 65_536;

mod gaps;
#[cfg(test)]
mod tests;
