//! What one line of a log says.

use std::sync::LazyLock;

use regex::Regex;

/// A line, by its kind. Nicks stand as written, with any spaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Line<'a> {
    /// `[10:15] <ada> hello`: somebody says something, perhaps nothing.
    Message { nick: &'a str, text: &'a str },
    /// `=== ada [~ada@host] has joined #channel`
    Join { nick: &'a str },
    /// `=== ada [~ada@host] has left #channel []` or `has quit`
    Leave { nick: &'a str },
    /// `=== ada is now known as lovelace`
    Rename { old: &'a str, new: &'a str },
    /// Anything else: actions, notices, rubbish.
    Skipped,
}

impl<'a> Line<'a> {
    /// Tells what `line`, without its end, says. O(length of the line).
    pub(crate) fn parse(line: &'a str) -> Self {
        if let Some((_, [nick, text])) = MESSAGE.captures(line).map(|found| found.extract()) {
            Self::Message { nick, text }
        } else if let Some((_, [nick])) = JOIN.captures(line).map(|found| found.extract()) {
            Self::Join { nick }
        } else if let Some((_, [nick])) = LEAVE.captures(line).map(|found| found.extract()) {
            Self::Leave { nick }
        } else if let Some((_, [old, new])) = RENAME.captures(line).map(|found| found.extract()) {
            Self::Rename { old, new }
        } else {
            Self::Skipped
        }
    }
}

macro_rules! pattern {
    ($pattern:literal) => {
        LazyLock::new(|| Regex::new($pattern).expect("the pattern is constant, and the tests compile it"))
    };
}

static MESSAGE: LazyLock<Regex> = pattern!(r"^\[\d\d:\d\d\] <([^>]+)> ?(.*)$");
static JOIN: LazyLock<Regex> = pattern!(r"^=== (\S+) +\[[^\]]*\] +has joined #\S+");
static LEAVE: LazyLock<Regex> = pattern!(r"^=== (\S+) +\[[^\]]*\] +has (?:left|quit)\b");
static RENAME: LazyLock<Regex> = pattern!(r"^=== (\S+) +is now known as +(\S+)");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_keeps_the_nick_as_written_and_all_of_its_text_but_one_space() {
        assert_eq!(Line::parse("[10:15] <ada> hello"), Line::Message { nick: "ada", text: "hello" });
        assert_eq!(Line::parse("[10:15] <[x] >  two"), Line::Message { nick: "[x] ", text: " two" });
        assert_eq!(Line::parse("[23:59] <ada>glued>"), Line::Message { nick: "ada", text: "glued>" });
    }

    #[test]
    fn a_message_may_be_empty() {
        assert_eq!(Line::parse("[10:15] <ada>"), Line::Message { nick: "ada", text: "" });
        assert_eq!(Line::parse("[10:15] <ada> "), Line::Message { nick: "ada", text: "" });
    }

    #[test]
    fn a_message_may_hold_a_carriage_return() {
        assert_eq!(Line::parse("[10:15] <ada> a\rb"), Line::Message { nick: "ada", text: "a\rb" });
    }

    #[test]
    fn joins_leaves_and_renames_are_told_apart() {
        assert_eq!(Line::parse("=== ada [~ada@host] has joined #ubuntu"), Line::Join { nick: "ada" });
        assert_eq!(Line::parse("=== ada  [] has joined #u x"), Line::Join { nick: "ada" });
        assert_eq!(Line::parse("=== ada [~ada@host] has left #ubuntu []"), Line::Leave { nick: "ada" });
        assert_eq!(Line::parse("=== ada [~ada@host] has quit [Ping timeout]"), Line::Leave { nick: "ada" });
        assert_eq!(Line::parse("=== ada is now known as  bob etc"), Line::Rename { old: "ada", new: "bob" });
    }

    #[test]
    fn all_else_is_skipped() {
        for line in [
            "",
            "[10:15] * ada waves",
            "[9:15] <ada> one digit",
            " [10:15] <ada> indented",
            "[10:15] <> nobody",
            "[10:15]  <ada> two spaces",
            "=== ada [~ada@host] has joined",
            "=== ada [~ada@host] has leftovers",
            "=== ada [~ada@host has joined #ubuntu",
            "===  ada is now known as bob",
            "=== ada is now known as",
            "=== mode/#ubuntu [+o ada] by ChanServ",
        ] {
            assert_eq!(Line::parse(line), Line::Skipped, "{line:?}");
        }
    }
}
