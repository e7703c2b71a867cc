//! What the child writes to its standard output, a line each: what it asked for, what it was answered, what it saw.
//!
//! A line is written with one call before whatever follows from it: an operation is told before it is asked for, an answer when it is there. What
//! the system has taken of them outlives the child.

use std::fmt;
use std::str::FromStr;

use guildhall_proto::{Epoch, GuildId, Millis, Position, Seq};

/// One line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Line {
    /// The store is open, and the child begins.
    Begun,
    /// A hand asks for a step.
    Issued(Issued),
    /// It was answered.
    Answered { hand: u64, step: u64, at: Position, outcome: String },
    /// It was refused, which none should be.
    Failed { hand: u64, step: u64, why: String },
    /// A session heard an event, about something that a hand made.
    Seen { guild: GuildId, at: Position, thing: u64 },
    /// A guild fell asleep.
    Slept { guild: GuildId },
}

/// A step that is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Issued {
    pub(super) hand: u64,
    pub(super) step: u64,
    pub(super) at: Millis,
}

/// A line that no child writes.
#[derive(Debug, thiserror::Error)]
#[error("the child wrote a line that means nothing: {0:?}")]
pub(super) struct Strange(String);

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Begun => write!(f, "begun"),
            Self::Issued(Issued { hand, step, at }) => write!(f, "issued {hand} {step} {}", at.0),
            Self::Answered { hand, step, at, outcome } => {
                write!(f, "answered {hand} {step} {} {} {outcome}", at.epoch.0, at.seq.0)
            }
            Self::Failed { hand, step, why } => write!(f, "failed {hand} {step} {why}"),
            Self::Seen { guild, at, thing } => write!(f, "seen {guild} {} {} {thing}", at.epoch.0, at.seq.0),
            Self::Slept { guild } => write!(f, "slept {guild}"),
        }
    }
}

impl FromStr for Line {
    type Err = Strange;

    fn from_str(line: &str) -> Result<Self, Strange> {
        parse(line).ok_or_else(|| Strange(line.to_owned()))
    }
}

fn parse(line: &str) -> Option<Line> {
    let (kind, rest) = line.split_once(' ').unwrap_or((line, ""));
    let mut words = rest.splitn(5, ' ');
    let mut number = || words.next()?.parse::<u64>().ok();
    Some(match kind {
        "begun" => Line::Begun,
        "issued" => Line::Issued(Issued { hand: number()?, step: number()?, at: Millis(number()?) }),
        "answered" => {
            let (hand, step) = (number()?, number()?);
            let at = Position { epoch: Epoch(number()?), seq: Seq(number()?) };
            Line::Answered { hand, step, at, outcome: words.next()?.to_owned() }
        }
        "failed" => {
            let (hand, step) = (number()?, number()?);
            Line::Failed { hand, step, why: words.collect::<Vec<_>>().join(" ") }
        }
        "seen" => {
            let guild = GuildId::new(number()?).ok()?;
            Line::Seen { guild, at: Position { epoch: Epoch(number()?), seq: Seq(number()?) }, thing: number()? }
        }
        "slept" => Line::Slept { guild: GuildId::new(number()?).ok()? },
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_as_they_were_written() {
        let at = Position { epoch: Epoch(3), seq: Seq(9) };
        let guild = GuildId::new(7).unwrap();
        for line in [
            Line::Begun,
            Line::Issued(Issued { hand: 1, step: 2, at: Millis(3) }),
            Line::Answered { hand: 1, step: 2, at, outcome: "Applied { at: 3.9 }".into() },
            Line::Failed { hand: 1, step: 2, why: "the guild is full of it".into() },
            Line::Seen { guild, at, thing: 5 },
            Line::Slept { guild },
        ] {
            assert_eq!(line.to_string().parse::<Line>().unwrap(), line);
        }
        assert!("nonsense".parse::<Line>().is_err() && "issued 1 x".parse::<Line>().is_err());
    }
}
