//! Who is known and online, as the log alone has it: what the guild and its sessions are checked against.
//!
//! Deliberately naive: two maps and some counters, written from the rules of the log and not from how guilds work.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use guildhall_proto::UserId;

use crate::checks::Number;

/// All nicks of the log, and who is online.
#[derive(Debug, Default)]
pub(crate) struct Model {
    nicks: BTreeMap<UserId, String>,
    online: BTreeMap<UserId, Stay>,
    messages: Number,
    peak_online: usize,
    deliveries: u64,
}

/// One stay online.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stay {
    /// The first message that it may hear.
    from: Number,
    /// How many messages are its own.
    own: u64,
}

/// What a stay must have heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Due {
    /// The first message that it must not hear.
    pub(crate) until: Number,
    /// How many messages it must hear.
    pub(crate) messages: u64,
}

/// How a nick is known.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Known {
    /// It was never seen before.
    New,
    /// It was.
    Already,
}

impl Model {
    /// Takes note of a nick.
    ///
    /// # Errors
    /// The other nick that has the same id; nothing is noted.
    pub(crate) fn know(&mut self, user: UserId, nick: &str) -> Result<Known, String> {
        match self.nicks.entry(user) {
            Entry::Vacant(entry) => {
                entry.insert(nick.to_owned());
                Ok(Known::New)
            }
            Entry::Occupied(entry) if entry.get() == nick => Ok(Known::Already),
            Entry::Occupied(entry) => Err(entry.get().clone()),
        }
    }

    pub(crate) fn is_online(&self, user: UserId) -> bool {
        self.online.contains_key(&user)
    }

    /// Begins a stay of a user who is offline. Returns the first message that it may hear.
    pub(crate) fn come(&mut self, user: UserId) -> Number {
        let before = self.online.insert(user, Stay { from: self.messages, own: 0 });
        debug_assert!(before.is_none(), "{user:?} is online already");
        self.peak_online = self.peak_online.max(self.online.len());
        self.messages
    }

    /// A user who is online says something; everybody else online is to hear it. Returns the message's number.
    pub(crate) fn speak(&mut self, user: UserId) -> Number {
        let number = self.messages;
        self.messages += 1;
        self.deliveries += self.online.len() as u64 - 1;
        self.online.get_mut(&user).expect("who speaks came online with the same line or before").own += 1;
        number
    }

    /// Ends a nick's stay, if there is one. Another nick's with the same id is no stay of this one.
    pub(crate) fn go(&mut self, user: UserId, nick: &str) -> Option<Due> {
        let known = self.nicks.get(&user)? == nick;
        if known { self.end(user) } else { None }
    }

    /// Ends all stays.
    pub(crate) fn go_all(&mut self) -> Vec<(UserId, Due)> {
        let online: Vec<UserId> = self.online.keys().copied().collect();
        online.into_iter().filter_map(|user| Some((user, self.end(user)?))).collect()
    }

    fn end(&mut self, user: UserId) -> Option<Due> {
        let stay = self.online.remove(&user)?;
        Some(Due { until: self.messages, messages: self.messages - stay.from - stay.own })
    }

    /// How many are online.
    pub(crate) fn online(&self) -> usize {
        self.online.len()
    }

    pub(crate) fn members(&self) -> usize {
        self.nicks.len()
    }

    pub(crate) fn peak_online(&self) -> usize {
        self.peak_online
    }

    /// How many deliveries were due so far, to all sessions together.
    pub(crate) fn deliveries(&self) -> u64 {
        self.deliveries
    }
}

/// The user id of a nick as written: FNV-1a (64 bits) over its UTF-8 bytes. Where that gives 0 or the maximum, which are no ids,
/// FNV-1a over the 8 little-endian bytes of the result instead.
pub(crate) fn user_of(nick: &str) -> UserId {
    let mut hash = fnv1a(nick.as_bytes());
    loop {
        match UserId::new(hash) {
            Ok(user) => return user,
            Err(_) => hash = fnv1a(&hash.to_le_bytes()),
        }
    }
}

fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(number: u64) -> UserId {
        UserId::new(number).unwrap()
    }

    #[test]
    fn ids_are_the_published_fnv1a() {
        // From the authors' test vectors.
        assert_eq!(user_of("").get(), 0xcbf2_9ce4_8422_2325);
        assert_eq!(user_of("a").get(), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(user_of("foobar").get(), 0x8594_4171_f739_67e8);
        assert_ne!(user_of("[x]"), user_of("[x] "));
    }

    #[test]
    fn the_reserved_numbers_hash_to_ids() {
        for reserved in [0, u64::MAX] {
            assert!(UserId::new(fnv1a(&u64::to_le_bytes(reserved))).is_ok());
        }
    }

    #[test]
    fn two_nicks_with_one_id_are_never_merged() {
        let mut model = Model::default();
        assert_eq!(model.know(user(1), "ada"), Ok(Known::New));
        assert_eq!(model.know(user(1), "ada"), Ok(Known::Already));
        assert_eq!(model.know(user(1), "ada "), Err("ada".into()));
        assert_eq!(model.members(), 1);

        model.come(user(1));
        assert_eq!(model.go(user(1), "ada "), None);
        assert!(model.is_online(user(1)));
        assert!(model.go(user(1), "ada").is_some());
    }

    #[test]
    fn a_stay_is_due_what_others_say_while_it_lasts() {
        let mut model = Model::default();
        let (ada, bob) = (user(1), user(2));
        model.know(ada, "ada").unwrap();
        model.know(bob, "bob").unwrap();
        assert_eq!(model.come(ada), 0);
        assert_eq!(model.speak(ada), 0);
        assert_eq!(model.come(bob), 1);
        assert_eq!([model.speak(ada), model.speak(bob), model.speak(bob)], [1, 2, 3]);
        assert_eq!(model.go(ada, "ada"), Some(Due { until: 4, messages: 2 }));
        assert_eq!(model.go(ada, "ada"), None);
        model.speak(bob);
        assert_eq!(model.go_all(), [(bob, Due { until: 5, messages: 1 })]);
        assert_eq!((model.deliveries(), model.peak_online()), (3, 2));
    }
}
