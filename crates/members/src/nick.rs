//! The order of nicks and their prefixes, without regard to case.
//!
//! A nick is folded by mapping each of its characters to lower case by itself (Unicode's default mapping; without
//! locale and without context, so a final sigma stays a sigma). Folded texts compare by character, which for UTF-8 is
//! by byte.

use std::cmp::Ordering;

/// Compares two nicks as if both were folded. Allocates nothing.
pub(crate) fn compare(left: &str, right: &str) -> Ordering {
    let mut at = 0;
    for (l, r) in left.bytes().zip(right.bytes()) {
        if !l.is_ascii() || !r.is_ascii() {
            // Everything before `at` is ASCII in both, so it is a character boundary in both.
            return folded(&left[at..]).cmp(folded(&right[at..]));
        }
        match l.to_ascii_lowercase().cmp(&r.to_ascii_lowercase()) {
            Ordering::Equal => at += 1,
            unequal @ (Ordering::Less | Ordering::Greater) => return unequal,
        }
    }
    // One is used up. What the other still has may start with any character: only whether there is one matters.
    left.len().cmp(&right.len())
}

/// One part of a folded nick, sixteen bytes long, as a number; the last part has zeros behind the end. Of two nicks that agree in
/// all parts before, the one with the smaller number comes first.
pub(crate) fn key(nick: &str, part: usize) -> u128 {
    let of = |folded: &[u8]| {
        let mut bytes = [0; PART_BYTES];
        let rest = folded.get(part * PART_BYTES..).unwrap_or_default();
        let taken = rest.len().min(PART_BYTES);
        bytes[..taken].copy_from_slice(&rest[..taken]);
        bytes
    };
    let mut bytes = if nick.is_ascii() { of(nick.as_bytes()) } else { of(folded(nick).collect::<String>().as_bytes()) };
    bytes.make_ascii_lowercase();
    u128::from_be_bytes(bytes)
}

/// Sixteen bytes of a nick folded, as a number; `None` if they are not all ASCII. Of all bytes at once: folds compare nicks by the million.
pub(crate) fn folded_ascii(bytes: [u8; PART_BYTES]) -> Option<u128> {
    const EACH: u128 = u128::MAX / 0xff;
    let bytes = u128::from_be_bytes(bytes);
    if bytes & (EACH * 0x80) != 0 {
        return None;
    }
    // The uppermost bit of a byte tells whether it is at least the one that this makes 128; no byte runs over into its neighbour.
    let at_least = |byte: u8| bytes + EACH * u128::from(0x80 - byte);
    let is_upper = (at_least(b'A') ^ at_least(b'Z' + 1)) & (EACH * 0x80);
    Some(bytes | is_upper >> 2)
}

/// Whether the nick ends in the part with this [`key`], which no other nick has then.
pub(crate) fn ends_in(key: u128) -> bool {
    // No nick has a character zero.
    key.to_be_bytes()[PART_BYTES - 1] == 0
}

/// A folded prefix, and where nicks stand to it.
#[derive(Debug)]
pub(crate) struct Prefix {
    text: String,
    /// Its first eight bytes as a number, with zeros behind its end.
    first: u64,
    /// The bits of a nick's first bytes that stand for so many as the prefix has.
    mask: u64,
}

impl Prefix {
    /// Folds `prefix`, which is not trimmed: a space at its end counts.
    pub(crate) fn new(prefix: &str) -> Self {
        let text: String = folded(prefix).collect();
        let (mut first, mut mask) = ([0; FIRST_BYTES], [0; FIRST_BYTES]);
        for ((byte, first), mask) in text.bytes().zip(&mut first).zip(&mut mask) {
            (*first, *mask) = (byte, u8::MAX);
        }
        Self { text, first: u64::from_be_bytes(first), mask: u64::from_be_bytes(mask) }
    }

    /// Whether `nick` comes before all nicks with the prefix, is one of them, or comes after them.
    #[inline]
    pub(crate) fn place(&self, nick: &str) -> Ordering {
        // Of most nicks nothing else is looked at, and no branch waits for how many bytes agree.
        if let Some(mut first) = nick.as_bytes().first_chunk::<FIRST_BYTES>().copied()
            && first.is_ascii()
        {
            first.make_ascii_lowercase();
            let order = (u64::from_be_bytes(first) & self.mask).cmp(&self.first);
            if order.is_ne() || self.text.len() <= FIRST_BYTES {
                return order;
            }
        }
        self.place_by_bytes(nick)
    }

    fn place_by_bytes(&self, nick: &str) -> Ordering {
        let mut at = 0;
        for (byte, own) in nick.bytes().zip(self.text.bytes()) {
            if !byte.is_ascii() {
                // Everything before `at` is ASCII in both, so it is a character boundary in both.
                let own = &self.text[at..];
                return folded(&nick[at..]).take(own.chars().count()).cmp(own.chars());
            }
            match byte.to_ascii_lowercase().cmp(&own) {
                Ordering::Equal => at += 1,
                unequal @ (Ordering::Less | Ordering::Greater) => return unequal,
            }
        }
        if at == self.text.len() { Ordering::Equal } else { Ordering::Less }
    }
}

fn folded(text: &str) -> impl Iterator<Item = char> {
    text.chars().flat_map(char::to_lowercase)
}

/// Bytes of a nick's part: few nicks have two.
const PART_BYTES: usize = size_of::<u128>();
/// Bytes of a nick that are compared with a prefix first.
const FIRST_BYTES: usize = size_of::<u64>();

#[cfg(test)]
mod tests {
    use super::*;

    const NICKS: [&str; 27] = [
        "a",
        "A",
        "ab",
        "AB",
        "Az",
        "b",
        "Ä",
        "ä",
        "äb",
        "aÄ",
        "Äa",
        "İ",
        "i̇",
        "ß",
        "Σ",
        "σ",
        "日本",
        "🦀",
        "~",
        "abcdefg",
        "abcdefgh",
        "abcdefgH",
        "abcdefghi",
        "abcdefgÄ",
        "ABCDEFGä",
        "abcdefghabcdefghabcdefghabcdefgh",
        "ABCDEFGHABCDEFGHABCDEFGHABCDEFGI",
    ];

    #[test]
    fn nicks_compare_as_their_folded_characters_do() {
        let nicks = NICKS.into_iter().chain([""]);
        for left in nicks.clone() {
            for right in nicks.clone() {
                let expected = folded(left).collect::<String>().cmp(&folded(right).collect());
                assert_eq!(compare(left, right), expected, "{left:?} and {right:?}");
            }
        }
    }

    #[test]
    fn nicks_order_as_the_keys_of_their_parts_do() {
        let keys = |nick: &str| {
            let mut keys = vec![key(nick, 0)];
            while !ends_in(keys[keys.len() - 1]) {
                keys.push(key(nick, keys.len()));
            }
            keys
        };
        for left in NICKS {
            for right in NICKS {
                assert_eq!(keys(left).cmp(&keys(right)), compare(left, right), "{left:?} and {right:?}");
            }
        }
    }

    #[test]
    fn bytes_folded_at_once_are_those_folded_one_by_one() {
        for byte in 0..=u8::MAX {
            let mut bytes = *b"@AZ[`az{ 09~Mm/\0";
            bytes[5] = byte;
            let expected = byte.is_ascii().then(|| u128::from_be_bytes(bytes.map(|byte| byte.to_ascii_lowercase())));
            assert_eq!(folded_ascii(bytes), expected, "{byte}");
        }
    }

    #[test]
    fn a_nick_stands_to_a_prefix_as_its_folded_characters_do() {
        for prefix in NICKS.into_iter().chain(["", "abcdefghab", "ÄB", "🦀🦀"]) {
            for nick in NICKS {
                let own: Vec<char> = folded(prefix).collect();
                let expected = folded(nick).take(own.len()).collect::<Vec<_>>().cmp(&own);
                assert_eq!(Prefix::new(prefix).place(nick), expected, "{nick:?} and {prefix:?}");
            }
        }
    }

    #[test]
    fn a_prefix_is_found_whatever_the_case() {
        let prefix = Prefix::new("ÄD");
        assert_eq!(prefix.place("äda"), Ordering::Equal);
        assert_eq!(prefix.place("Ädä"), Ordering::Equal);
        assert_eq!(prefix.place("ä"), Ordering::Less);
        assert_eq!(prefix.place("äe"), Ordering::Greater);
        assert_eq!(Prefix::new("").place("x"), Ordering::Equal);
    }
}
