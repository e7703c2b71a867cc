//! What sessions heard, over all the processes that had them: in order, once, and whatever is missing under a gap.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::AddAssign;
use std::ops::Bound::{Excluded, Included};

use guildhall_client::proto::{Epoch, Position, Seq};

use crate::SESSIONS;
use crate::backend::Process;
use crate::writers::Written;

/// All sessions' ears.
#[derive(Debug, Default)]
pub(crate) struct Ears {
    sessions: BTreeMap<u64, Ear>,
    /// What sessions heard that were attached anew since.
    ended: Vec<(u64, Life)>,
    /// Messages by their position, as anybody heard them.
    messages: BTreeMap<Position, u64>,
}

#[derive(Debug, Default)]
struct Ear {
    secret: String,
    life: Life,
    begun: &'static str,
    /// Since it was attached or came back: events, those of the latest epoch among them, and gaps.
    events: u64,
    of_epoch: u64,
    gaps: u64,
}

/// One session from where it was attached, wherever it came back.
#[derive(Debug, Default)]
struct Life {
    from: Position,
    /// The last that it has heard, or was told that it has not.
    known: Position,
    heard: BTreeSet<Position>,
    /// What may be missing: behind the first, and the second with it.
    gaps: Vec<(Position, Position)>,
}

/// What all have heard, in figures.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    pub(crate) events: u64,
    pub(crate) gaps: u64,
    /// Events that happened, as far as anybody was told, and that somebody was told to have missed.
    pub(crate) missed: u64,
}

impl Ears {
    /// Takes a line of a process.
    pub(crate) fn take(&mut self, line: &str) {
        let words: Vec<&str> = line.split(' ').collect();
        let number = |word: usize| words[word].parse::<u64>().unwrap_or_else(|error| panic!("{error}: {line}"));
        let at = |word| Position { epoch: Epoch(number(word)), seq: Seq(number(word + 1)) };
        let session = number(0);
        let ear = self.sessions.entry(session).or_default();
        match words[1] {
            "attached" => {
                let life = Life { from: at(2), known: at(2), ..Life::default() };
                let before = std::mem::replace(&mut ear.life, life);
                self.ended.push((session, before));
                ear.begin("attached", words[4]);
            }
            "resumed" => {
                // What it knows from the beginning may be beyond what it knew: that is a gap, of which it is told.
                assert!(at(2) >= ear.life.known, "{line}: it knew {} already", ear.life.known);
                ear.begin("resumed", words[4]);
            }
            "event" => {
                let (at, known) = (at(2), ear.life.known);
                // All that happens is for all of them.
                let is_next = at.epoch == known.epoch && at.seq.0 == known.seq.0 + 1;
                assert!(is_next, "session {session}: {at} behind {known}");
                ear.of_epoch =
                    if ear.life.heard.last().is_some_and(|last| last.epoch == at.epoch) { ear.of_epoch + 1 } else { 1 };
                ear.life.known = at;
                ear.life.heard.insert(at);
                ear.events += 1;
                if number(4) > 0 {
                    let same = *self.messages.entry(at).or_insert(number(4));
                    assert_eq!(same, number(4), "two messages at {at}");
                }
            }
            "gap" => {
                let (through, after) = (at(2), at(4));
                assert_eq!(after, ear.life.known, "session {session}: a gap up to {through} behind another place");
                assert!(through > after, "session {session}: a gap up to {through} behind {after}");
                ear.life.known = through;
                ear.life.gaps.push((after, through));
                ear.gaps += 1;
            }
            "refused" => {
                // Its owner knew it from the backend's own word alone, or has never heard of it.
                assert!(words[2].starts_with("UnknownSession"), "{line}");
                ear.begun = "refused";
            }
            _ => panic!("{line}"),
        }
    }

    /// Hears until each session was begun so, and has heard so many events since.
    pub(crate) fn hear(&mut self, process: &mut Process, begun: &str, events: u64) {
        self.until(process, |ear| ear.begun == begun && ear.events >= events);
    }

    /// Hears until each session has heard so many events of a later epoch, without having come back or ended: the backend does nothing.
    pub(crate) fn hear_beyond(&mut self, process: &mut Process, epoch: Epoch, events: u64) {
        for ear in self.sessions.values_mut() {
            ear.begun = "";
        }
        self.until(process, |ear| ear.life.known.epoch > epoch && ear.of_epoch >= events);
        for (session, ear) in &self.sessions {
            assert_eq!((ear.begun, ear.gaps), ("", 1), "session {session} heard more of its node's end than its gap");
        }
    }

    /// Hears until each session was told why it does not come back.
    pub(crate) fn hear_refusals(&mut self, process: &mut Process) {
        for ear in self.sessions.values_mut() {
            ear.begun = "";
        }
        self.until(process, |ear| !ear.begun.is_empty());
        for (session, ear) in &self.sessions {
            assert_eq!(
                ear.begun, "refused",
                "session {session} came back to an owner that cannot know what the last one knew"
            );
        }
    }

    fn until(&mut self, process: &mut Process, is_so: impl Fn(&Ear) -> bool) {
        // A session of the process before may be so already: what it had is behind it.
        while self.sessions.len() < SESSIONS as usize || !self.sessions.values().all(&is_so) {
            let line = process.line();
            self.take(&line);
        }
    }

    /// What each session comes back by.
    pub(crate) fn tokens(&self) -> Vec<String> {
        let token = |ear: &Ear| format!("{} {} {}", ear.secret, ear.life.known.epoch.0, ear.life.known.seq.0);
        self.sessions.values().map(token).collect()
    }

    /// The latest epoch of which any session has heard.
    pub(crate) fn epoch(&self) -> Epoch {
        self.sessions.values().map(|ear| ear.life.known.epoch).max().unwrap_or_default()
    }

    /// Nothing was missed by any session since it was attached or came back.
    pub(crate) fn expect_no_gap(&self) {
        assert!(self.sessions.values().all(|ear| ear.gaps == 0), "{self:?}");
    }

    /// What was heard is what was said, once, and whatever else happened is under a gap; under each gap something is.
    pub(crate) fn check(mut self, written: &Written) -> Heard {
        self.check_messages(written);
        self.ended.extend(self.sessions.into_iter().map(|(session, ear)| (session, ear.life)));
        let acknowledged = written.members.values().chain(written.messages.keys()).copied();
        let heard = self.ended.iter().flat_map(|(_, life)| &life.heard).copied();
        let happened: BTreeSet<Position> = acknowledged.chain(heard).collect();
        let mut all = Heard::default();
        for (session, life) in &self.ended {
            all += life.check(*session, &happened);
        }
        all
    }
}

impl Ears {
    /// Each message stands at one place, where it was acknowledged if it was, and is one that may have come through.
    fn check_messages(&self, written: &Written) {
        let acknowledged: BTreeMap<u64, Position> =
            written.messages.iter().map(|(at, number)| (*number, *at)).collect();
        let mut places = BTreeMap::new();
        for (at, number) in &self.messages {
            if let Some(before) = places.insert(*number, *at) {
                panic!("message {number} is heard at {before} and at {at}");
            }
            match acknowledged.get(number) {
                Some(acknowledged) => {
                    assert_eq!(at, acknowledged, "message {number} was acknowledged at another place")
                }
                None => assert!(
                    written.doubtful_messages.contains(number),
                    "message {number} is heard at {at}: not acknowledged, not in doubt{}",
                    if written.refused_messages.contains(number) { ", and nothing had happened" } else { "" },
                ),
            }
        }
        for (at, number) in &written.messages {
            let heard = self.messages.get(at);
            assert!(
                heard.is_none_or(|heard| heard == number),
                "message {heard:?} is heard at {at}, of message {number}"
            );
        }
    }
}

impl Ear {
    fn begin(&mut self, begun: &'static str, secret: &str) {
        let life = std::mem::take(&mut self.life);
        *self = Self { secret: secret.to_owned(), life, begun, ..Self::default() };
    }
}

impl Life {
    /// All that happened in its time was heard or is under a gap, and not both.
    fn check(&self, session: u64, happened: &BTreeSet<Position>) -> Heard {
        let Self { from, known, heard, gaps } = self;
        let is_missed = |at: &Position| gaps.iter().any(|(after, through)| after < at && at <= through);
        let mut missed = 0;
        for at in happened.range((Excluded(*from), Included(*known))) {
            assert_ne!(heard.contains(at), is_missed(at), "session {session}, {at}: heard, and under a gap");
            missed += u64::from(is_missed(at));
        }
        for (after, through) in gaps {
            // Nobody knows what else a node has let out that was killed.
            let is_of_an_end = after.epoch < through.epoch;
            let is_needed = happened.range((Excluded(*after), Included(*through))).next().is_some();
            assert!(is_of_an_end || is_needed, "session {session}: nothing lies behind {after}, up to {through}");
        }
        Heard { events: heard.len() as u64, gaps: gaps.len() as u64, missed }
    }
}

impl AddAssign for Heard {
    fn add_assign(&mut self, more: Self) {
        self.events += more.events;
        self.gaps += more.gaps;
        self.missed += more.missed;
    }
}

/// What is heard of two messages, one of them acknowledged, the other as `told`: the lines of one session.
fn heard_of_two(lines: &[&str], told: impl FnOnce(&mut Written)) {
    let mut ears = Ears::default();
    ears.take("1 attached 1 10 secret");
    lines.iter().for_each(|line| ears.take(line));
    let mut written = Written::default();
    written.messages.insert(Position { epoch: Epoch(1), seq: Seq(11) }, 7);
    told(&mut written);
    ears.check(&written);
}

#[test]
fn a_message_in_doubt_may_be_heard_once() {
    heard_of_two(&["1 event 1 11 7", "1 event 1 12 8"], |written| written.doubtful_messages.extend([8]));
}

#[test]
#[should_panic(expected = "message 8 is heard at 1.12 and at 1.13")]
fn a_message_that_was_repeated_behind_a_lost_answer_is_noticed() {
    let lines = ["1 event 1 11 7", "1 event 1 12 8", "1 event 1 13 8"];
    heard_of_two(&lines, |written| written.doubtful_messages.extend([8]));
}

#[test]
#[should_panic(expected = "message 7 was acknowledged at another place")]
fn a_message_that_is_heard_elsewhere_than_it_was_acknowledged_is_noticed() {
    heard_of_two(&["1 event 1 11 0", "1 event 1 12 7"], |_| ());
}

#[test]
#[should_panic(expected = "not acknowledged, not in doubt, and nothing had happened")]
fn a_message_that_is_heard_although_nothing_had_happened_is_noticed() {
    heard_of_two(&["1 event 1 11 7", "1 event 1 12 8"], |written| written.refused_messages.extend([8]));
}
