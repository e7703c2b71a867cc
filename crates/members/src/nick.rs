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

/// A folded prefix, and where nicks stand to it.
#[derive(Debug)]
pub(crate) struct Prefix(Vec<char>);

impl Prefix {
    /// Folds `prefix`, which is not trimmed: a space at its end counts.
    pub(crate) fn new(prefix: &str) -> Self {
        Self(folded(prefix).collect())
    }

    /// Whether `nick` comes before all nicks with the prefix, is one of them, or comes after them.
    pub(crate) fn place(&self, nick: &str) -> Ordering {
        folded(nick).take(self.0.len()).cmp(self.0.iter().copied())
    }
}

fn folded(text: &str) -> impl Iterator<Item = char> {
    text.chars().flat_map(char::to_lowercase)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nicks_compare_as_their_folded_characters_do() {
        let nicks = [
            "", "a", "A", "ab", "AB", "Az", "b", "Ä", "ä", "äb", "aÄ", "Äa", "İ", "i̇", "ß", "Σ", "σ", "日本", "🦀", "~",
        ];
        for left in nicks {
            for right in nicks {
                let expected = folded(left).collect::<String>().cmp(&folded(right).collect());
                assert_eq!(compare(left, right), expected, "{left:?} and {right:?}");
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
