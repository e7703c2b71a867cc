//! Bells: changes of the guild's name, which every session hears. They tell that all have heard what came before.

use std::sync::Arc;

use guildhall_proto::Name;

use crate::checks::{Progress, Waited};

/// One bell, by its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Bell(usize);

/// Who has heard which bell.
#[derive(Debug, Clone)]
pub(crate) struct Belfry(Arc<Bells>);

#[derive(Debug)]
struct Bells {
    bells: Vec<Progress>,
    gaps: Progress,
}

impl Bell {
    pub(crate) fn new(number: usize) -> Self {
        assert!(number < BELLS_MAX, "a trial has fewer bells");
        Self(number)
    }

    /// The one behind it; behind the last comes the first.
    pub(crate) fn next(self) -> Self {
        Self((self.0 + 1) % BELLS_MAX)
    }

    pub(crate) fn number(self) -> usize {
        self.0
    }

    pub(crate) fn name(self) -> Name {
        Name::parse(&format!("{PREFIX}{}", self.0)).expect("a word and a number are a name")
    }

    /// `None` for a name that is no bell's.
    pub(crate) fn read(name: &Name) -> Option<Self> {
        let number = name.as_str().strip_prefix(PREFIX)?.parse().ok()?;
        (number < BELLS_MAX).then_some(Self(number))
    }
}

impl Belfry {
    pub(crate) fn new() -> Self {
        let bells = (0..BELLS_MAX).map(|_| Progress::new()).collect();
        Self(Arc::new(Bells { bells, gaps: Progress::new() }))
    }

    /// So many sessions have heard the bell.
    pub(crate) fn heard(&self, bell: Bell, sessions: u64) {
        self.0.bells[bell.0].add(sessions);
    }

    /// A session that has heard the bells below `next` has ended: it is not waited for.
    pub(crate) fn ended(&self, next: usize) {
        self.0.bells[next..].iter().for_each(|bell| bell.add(1));
    }

    /// A session was told a gap.
    pub(crate) fn told_gap(&self) {
        self.0.gaps.add(1);
    }

    /// Waits until a session was told a gap: a bell before that might be under it.
    pub(crate) async fn wait_for_gap(&self) -> Waited {
        self.0.gaps.wait_for(1).await
    }

    /// Waits until so many sessions have heard the bell, or ended before.
    pub(crate) async fn wait(&self, bell: Bell, sessions: u64) -> Waited {
        self.0.bells[bell.0].wait_for(sessions).await
    }
}

const PREFIX: &str = "bell ";
/// Bells that differ.
const BELLS_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bell_is_known_by_its_name() {
        assert_eq!(Bell::read(&Bell::new(7).name()), Some(Bell(7)));
        assert_eq!((Bell(6).next(), Bell(BELLS_MAX - 1).next()), (Bell(7), Bell(0)));
        for other in ["bell", "bell 64", "bell x", "guild"] {
            assert_eq!(Bell::read(&Name::parse(other).unwrap()), None);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_has_ended_is_not_waited_for() {
        let belfry = Belfry::new();
        belfry.ended(1);
        belfry.heard(Bell(0), 3);
        belfry.heard(Bell(1), 2);
        assert_eq!(belfry.wait(Bell(0), 3).await, Waited::Reached);
        assert_eq!(belfry.wait(Bell(1), 3).await, Waited::Reached);
        assert_eq!(belfry.wait(Bell(0), 4).await, Waited::Stalled(3));
    }
}
