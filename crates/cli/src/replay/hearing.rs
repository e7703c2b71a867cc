//! What one session hears, checked against what it must hear.
//!
//! A session that is online from before message `from` until before message `until` must hear exactly the messages in
//! `from..until` that are not its own, ascending. This knows nothing of relays: both bounds, and how many of the messages are its
//! own, come from the log.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use guildhall_proto::{Message, UserId};

use crate::checks::{Heard as Numbers, Noted, Number, Spoken};

/// The end of a session's time online, set before the first message that it must not hear is sent.
#[derive(Debug, Clone)]
pub(crate) struct Until(Arc<AtomicU64>);

impl Until {
    /// An end not known yet.
    pub(crate) fn open() -> Self {
        Self(Arc::new(AtomicU64::new(Number::MAX)))
    }

    pub(crate) fn set(&self, until: Number) {
        self.0.store(until, Ordering::Release);
    }

    fn get(&self) -> Number {
        self.0.load(Ordering::Acquire)
    }
}

/// One session's ear.
#[derive(Debug)]
pub(crate) struct Hearing {
    user: UserId,
    until: Until,
    numbers: Numbers,
    heard: Heard,
}

/// What a session has heard, counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Heard {
    /// Messages that arrived, of whatever kind.
    pub(crate) deliveries: u64,
    /// Different messages that it had to hear, late ones among them.
    pub(crate) right: u64,
    /// Messages that it had heard before.
    pub(crate) duplicated: u64,
    /// Messages that arrived after a later one.
    pub(crate) reordered: u64,
    /// Messages that are its own, or outside its time.
    pub(crate) leaked: u64,
    /// Messages that are not as they were sent.
    pub(crate) altered: u64,
}

impl Hearing {
    pub(crate) fn new(user: UserId, from: Number, until: Until) -> Self {
        Self { user, until, numbers: Numbers::new(from), heard: Heard::default() }
    }

    /// Takes note of a message. O(1).
    pub(crate) fn hear(&mut self, message: &Message) {
        self.heard.deliveries += 1;
        match Spoken::read(message.payload.bytes()) {
            Some(spoken) if message.author == Some(spoken.author) => self.note(spoken),
            Some(_) | None => self.heard.altered += 1,
        }
    }

    /// All that was heard.
    pub(crate) fn finish(self) -> Heard {
        self.heard
    }

    fn note(&mut self, spoken: Spoken) {
        let Spoken { number, author } = spoken;
        if number >= self.until.get() || author == self.user {
            self.heard.leaked += 1;
            return;
        }
        match self.numbers.note(number) {
            Noted::InOrder => self.heard.right += 1,
            Noted::Late => {
                self.heard.right += 1;
                self.heard.reordered += 1;
            }
            Noted::Again => self.heard.duplicated += 1,
            Noted::Early => self.heard.leaked += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use guildhall_proto::{ChannelId, Mentions, Payload};

    use super::*;

    fn user(number: u64) -> UserId {
        UserId::new(number).unwrap()
    }

    fn message(number: Number, author: u64) -> Message {
        let payload = Payload::new(Spoken { number, author: user(author) }.write("text")).unwrap();
        let mentions = Mentions::default();
        let channel = ChannelId::MIN;
        Message { channel, author: Some(user(author)), session: None, echo: false, mentions, payload }
    }

    /// What user 1 has heard, online for the messages 10 to 19, of which 13 is its own.
    fn heard(numbers: &[Number]) -> Heard {
        let until = Until::open();
        until.set(20);
        let mut hearing = Hearing::new(user(1), 10, until);
        for &number in numbers {
            hearing.hear(&message(number, if number == 13 { 1 } else { 2 }));
        }
        hearing.finish()
    }

    #[test]
    fn all_messages_but_its_own_are_right() {
        let all = [10, 11, 12, 14, 15, 16, 17, 18, 19];
        assert_eq!(heard(&all), Heard { deliveries: 9, right: 9, ..Heard::default() });
    }

    #[test]
    fn a_missing_message_shows_in_the_number_of_right_ones() {
        assert_eq!(heard(&[10, 11, 14, 19]), Heard { deliveries: 4, right: 4, ..Heard::default() });
    }

    #[test]
    fn a_message_heard_again_is_duplicated_however_late() {
        assert_eq!(heard(&[10, 10, 11, 10]), Heard { deliveries: 4, right: 2, duplicated: 2, ..Heard::default() });
    }

    #[test]
    fn a_late_message_is_reordered_once_and_then_duplicated() {
        let expected = Heard { deliveries: 6, right: 5, reordered: 3, duplicated: 1, ..Heard::default() };
        assert_eq!(heard(&[10, 17, 12, 11, 16, 12]), expected);
    }

    #[test]
    fn a_message_from_before_or_after_its_time_or_its_own_is_leaked() {
        assert_eq!(heard(&[9, 10, 13, 20]), Heard { deliveries: 4, right: 1, leaked: 3, ..Heard::default() });
    }

    #[test]
    fn a_message_of_another_author_or_text_is_altered() {
        let mut hearing = Hearing::new(user(1), 0, Until::open());
        hearing.hear(&Message { author: Some(user(3)), ..message(0, 2) });
        let mut bytes = Spoken { number: 0, author: user(2) }.write("text");
        *bytes.last_mut().unwrap() ^= 1;
        hearing.hear(&Message { payload: Payload::new(bytes).unwrap(), ..message(0, 2) });
        hearing.hear(&Message { payload: Payload::default(), ..message(0, 2) });
        assert_eq!(hearing.finish(), Heard { deliveries: 3, altered: 3, ..Heard::default() });
    }
}
