//! What sessions heard, over all the processes that had them: in order, once, and whatever is missing under a gap.

use std::collections::BTreeMap;

use guildhall_client::proto::{Epoch, Position, Seq};

use crate::SESSIONS;
use crate::backend::Process;
use crate::writers::Written;

/// All sessions' ears.
#[derive(Debug, Default)]
pub(crate) struct Ears {
    sessions: BTreeMap<u64, Ear>,
    /// Messages by their position, as anybody heard them.
    messages: BTreeMap<Position, u64>,
    heard: u64,
}

#[derive(Debug, Default)]
struct Ear {
    secret: String,
    known: Position,
    /// Events since it was attached or came back.
    events: u64,
    /// Events of the latest epoch.
    of_epoch: u64,
    gaps: u64,
    begun: &'static str,
    /// A gap was told and no event has followed.
    is_behind_gap: bool,
}

impl Ears {
    /// Takes a line of a process.
    pub(crate) fn take(&mut self, line: &str) {
        let words: Vec<&str> = line.split(' ').collect();
        let number = |word: usize| words[word].parse::<u64>().unwrap_or_else(|error| panic!("{error}: {line}"));
        let at = || Position { epoch: Epoch(number(2)), seq: Seq(number(3)) };
        let session = number(0);
        let ear = self.sessions.entry(session).or_default();
        match words[1] {
            "attached" => *ear = Ear { secret: words[4].to_owned(), known: at(), begun: "attached", ..Ear::default() },
            "resumed" => {
                assert!(at() == ear.known || at() > ear.known, "{line}: it knew {} already", ear.known);
                // What it knows from the beginning may be beyond what it knew: that is a gap, of which it is told.
                *ear = Ear { secret: words[4].to_owned(), known: ear.known, begun: "resumed", ..Ear::default() };
            }
            "event" => {
                let at = at();
                let is_next = at.epoch == ear.known.epoch && at.seq.0 == ear.known.seq.0 + 1;
                assert!(is_next || ear.is_behind_gap && at > ear.known, "session {session}: {at} behind {}", ear.known);
                ear.of_epoch = if at.epoch == ear.known.epoch { ear.of_epoch + 1 } else { 1 };
                (ear.known, ear.is_behind_gap) = (at, false);
                ear.events += 1;
                self.heard += 1;
                if number(4) > 0 {
                    let same = *self.messages.entry(at).or_insert(number(4));
                    assert_eq!(same, number(4), "two messages at {at}");
                }
            }
            "gap" => {
                assert!(at() >= ear.known, "session {session}: a gap up to {} behind {}", at(), ear.known);
                (ear.known, ear.is_behind_gap) = (at(), true);
                ear.gaps += 1;
            }
            "refused" => ear.begun = "refused",
            _ => panic!("{line}"),
        }
        if words[1] == "refused" {
            assert!(line.contains("UnknownSession"), "{line}");
        }
    }

    /// Hears until each session was begun so, and has heard so many events since.
    pub(crate) fn hear(&mut self, process: &mut Process, begun: &str, events: u64) {
        self.until(process, |ear| ear.begun == begun && ear.events >= events);
    }

    /// Hears until each session has heard so many events of a later epoch.
    pub(crate) fn hear_beyond(&mut self, process: &mut Process, epoch: Epoch, events: u64) {
        self.until(process, |ear| ear.known.epoch > epoch && ear.of_epoch >= events);
    }

    /// Hears until each session has come back, and an event since, or was refused; how many of each.
    pub(crate) fn come_back(&mut self, process: &mut Process) -> (u64, u64) {
        for ear in self.sessions.values_mut() {
            (ear.begun, ear.events) = ("", 0);
        }
        self.until(process, |ear| ear.begun == "refused" || ear.begun == "resumed" && ear.events > 0);
        let refused = self.sessions.values().filter(|ear| ear.begun == "refused").count() as u64;
        (SESSIONS - refused, refused)
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
        let token = |ear: &Ear| format!("{} {} {}", ear.secret, ear.known.epoch.0, ear.known.seq.0);
        self.sessions.values().map(token).collect()
    }

    /// The latest epoch of which any session has heard.
    pub(crate) fn epoch(&self) -> Epoch {
        self.sessions.values().map(|ear| ear.known.epoch).max().unwrap_or_default()
    }

    /// Nothing was missed by any session since it was attached or came back.
    pub(crate) fn expect_no_gap(&self) {
        assert!(self.sessions.values().all(|ear| ear.gaps == 0), "{self:?}");
    }

    pub(crate) const fn heard(&self) -> u64 {
        self.heard
    }

    /// What was heard is what was said.
    pub(crate) fn check(&self, written: &Written) {
        for (at, number) in &written.messages {
            if let Some(heard) = self.messages.get(at) {
                assert_eq!(heard, number, "another message is heard at {at}");
            }
        }
        assert!(self.messages.len() > 100 && self.heard > 1_000, "{} of {}", self.messages.len(), self.heard);
    }
}
