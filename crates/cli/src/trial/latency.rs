//! How long operations took, by kind.

use std::collections::BTreeMap;
use std::time::Duration;

use comfy_table::Table;
use hdrhistogram::Histogram;
use serde::Serialize;

use crate::tables::{aligned, grouped, new_table};

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// Ten thousand members of an import.
    Import,
    Attach,
    Detach,
    /// A session that was cut comes back.
    Resume,
    Publish,
    /// A message is heard, counted for each session that hears it.
    Deliver,
    /// A message of those that push the reader which stopped out of its ring: as many at once as the guild takes.
    Burst,
    /// A member changes, comes, goes, or is banned.
    MemberChange,
    /// A role, channel or overwrite changes, or the guild's name.
    RightsChange,
    /// A session takes another level.
    Level,
    /// A session's user goes away, or is back.
    Presence,
    /// A member types.
    Typing,
    Prune,
    /// A small guild falls asleep.
    Sleep,
    /// A read wakes a small guild.
    Wake,
    /// Who is reached by `@everyone`: the ids.
    ScanEveryone,
    /// Who is reached by `@here`.
    ScanHere,
    /// A member's record and rights in a channel, from a view.
    Read,
    /// A call is refused for want of room or time.
    Refused,
    /// How long to wait until such a call is made again, as its caller was told.
    RetryAfter,
}

impl Kind {
    pub(crate) const ALL: [Self; 20] = [
        Self::Import,
        Self::Attach,
        Self::Detach,
        Self::Resume,
        Self::Publish,
        Self::Deliver,
        Self::Burst,
        Self::MemberChange,
        Self::RightsChange,
        Self::Level,
        Self::Presence,
        Self::Typing,
        Self::Prune,
        Self::Sleep,
        Self::Wake,
        Self::ScanEveryone,
        Self::ScanHere,
        Self::Read,
        Self::Refused,
        Self::RetryAfter,
    ];

    /// Its key in the report.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Import => "import",
            Self::Attach => "attach",
            Self::Detach => "detach",
            Self::Resume => "resume",
            Self::Publish => "publish",
            Self::Deliver => "deliver",
            Self::Burst => "publish_burst",
            Self::MemberChange => "member_change",
            Self::RightsChange => "rights_change",
            Self::Level => "level",
            Self::Presence => "presence",
            Self::Typing => "typing",
            Self::Prune => "prune",
            Self::Sleep => "sleep",
            Self::Wake => "wake",
            Self::ScanEveryone => "scan_everyone",
            Self::ScanHere => "scan_here",
            Self::Read => "read",
            Self::Refused => "refused",
            Self::RetryAfter => "retry_after",
        }
    }
}

/// Times taken, by kind.
#[derive(Debug, Default)]
pub(crate) struct Latencies(BTreeMap<Kind, Histogram<u64>>);

/// One kind's times, in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Times {
    pub(crate) count: u64,
    pub(crate) p50_us: f64,
    pub(crate) p90_us: f64,
    pub(crate) p99_us: f64,
    /// Of a thousand, all but one.
    pub(crate) p999_us: f64,
    pub(crate) max_us: f64,
}

impl Latencies {
    pub(crate) fn note(&mut self, kind: Kind, taken: Duration) {
        self.note_times(kind, taken, 1);
    }

    /// Notes the same time so many times.
    pub(crate) fn note_times(&mut self, kind: Kind, taken: Duration, times: u64) {
        let nanos = u64::try_from(taken.as_nanos()).unwrap_or(u64::MAX);
        let histogram = self.0.entry(kind).or_insert_with(|| {
            Histogram::new_with_max(NANOS_MAX, DIGITS).expect("three digits up to an hour are few buckets")
        });
        histogram.saturating_record_n(nanos.max(1), times);
    }

    pub(crate) fn add(&mut self, other: Self) {
        for (kind, theirs) in other.0 {
            match self.0.get_mut(&kind) {
                Some(ours) => ours.add(theirs).expect("all histograms have the same bounds"),
                None => drop(self.0.insert(kind, theirs)),
            }
        }
    }

    /// `None` if there was nothing of the kind.
    pub(crate) fn times(&self, kind: Kind) -> Option<Times> {
        let histogram = self.0.get(&kind)?;
        let micros = |nanos: u64| nanos as f64 / 1_000.0;
        let at = |quantile| micros(histogram.value_at_quantile(quantile));
        Some(Times {
            count: histogram.len(),
            p50_us: at(0.5),
            p90_us: at(0.9),
            p99_us: at(0.99),
            p999_us: at(0.999),
            max_us: micros(histogram.max()),
        })
    }
}

/// Times by kind, for people.
pub(crate) fn operations_table(operations: &BTreeMap<&'static str, Times>) -> Table {
    let heads = ["operation", "count", "p50 \u{b5}s", "p90 \u{b5}s", "p99 \u{b5}s", "p99.9 \u{b5}s", "max \u{b5}s"];
    let mut table = new_table(&heads);
    for (name, times) in operations {
        let Times { count, p50_us, p90_us, p99_us, p999_us, max_us } = times;
        let quantiles = [p50_us, p90_us, p99_us, p999_us, max_us].map(|micros| format!("{micros:.1}"));
        table.add_row([name.replace('_', " "), grouped(*count)].into_iter().chain(quantiles));
    }
    aligned(table)
}

const NANOS_MAX: u64 = 3_600_000_000_000;
const DIGITS: u8 = 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_several_threads_are_one_distribution() {
        let (mut one, mut two) = (Latencies::default(), Latencies::default());
        (1..=50).for_each(|micros| one.note(Kind::Read, Duration::from_micros(micros)));
        (51..=100).for_each(|micros| two.note(Kind::Read, Duration::from_micros(micros)));
        two.note(Kind::Prune, Duration::from_secs(1));
        one.add(two);
        let times = one.times(Kind::Read).unwrap();
        assert_eq!(times.count, 100);
        assert!((times.p50_us - 50.0).abs() < 1.0 && (times.p90_us - 90.0).abs() < 1.0, "{times:?}");
        assert!((times.p999_us - 100.0).abs() < 1.0 && (times.max_us - 100.0).abs() < 1.0, "{times:?}");
        assert_eq!(one.times(Kind::Prune).unwrap().count, 1);
        assert_eq!(one.times(Kind::Publish), None);
    }

    #[test]
    fn every_kind_has_a_name_of_its_own() {
        let mut names = Kind::ALL.map(Kind::name).to_vec();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Kind::ALL.len());
    }
}
