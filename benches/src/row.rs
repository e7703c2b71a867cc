//! One row of the table: what was measured, beside what bounds it, what the peer does, and the number to reach.
//!
//! A row is [`Measured`] in a process of its own, which writes it as a line of JSON; the process that started that one adds the peer and
//! judges: a [`Row`].

use serde::{Deserialize, Serialize};

/// What a number counts. Of rates more is better, of all else less.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Unit {
    /// Nanoseconds.
    #[serde(rename = "ns")]
    Ns,
    /// Microseconds.
    #[serde(rename = "us")]
    Us,
    /// Milliseconds.
    #[serde(rename = "ms")]
    Ms,
    /// Seconds.
    #[serde(rename = "s")]
    S,
    /// Bytes.
    #[serde(rename = "bytes")]
    Bytes,
    /// Times 1,048,576 bytes.
    #[serde(rename = "MiB")]
    MiB,
    /// So many a second.
    #[serde(rename = "per_s")]
    PerS,
    /// As a multiple of what the row says it is compared with.
    #[serde(rename = "times")]
    Times,
}

impl Unit {
    /// The unit as the table and the JSON name it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ns => "ns",
            Self::Us => "us",
            Self::Ms => "ms",
            Self::S => "s",
            Self::Bytes => "bytes",
            Self::MiB => "MiB",
            Self::PerS => "per_s",
            Self::Times => "times",
        }
    }

    /// Whether `ours` is as good as `bar`, or better.
    pub fn is_reached(self, ours: f64, bar: f64) -> bool {
        if self == Self::PerS { ours >= bar } else { ours <= bar }
    }

    /// How many times better `ours` is than `theirs`, both in this unit.
    pub fn ratio(self, ours: f64, theirs: f64) -> f64 {
        if self == Self::PerS { ours / theirs } else { theirs / ours }
    }

    /// `value` of this unit in another; `None` if the two count different things. A rate is the time that each takes.
    pub fn convert(self, value: f64, to: Self) -> Option<f64> {
        if self == to {
            return Some(value);
        }
        match (self.seconds(), to.seconds()) {
            (Some(from), Some(to)) => Some(value * from / to),
            (Some(from), None) => (to == Self::PerS).then(|| 1.0 / (value * from)),
            (None, Some(to)) => (self == Self::PerS).then(|| 1.0 / (value * to)),
            (None, None) => Some(value * self.bytes()? / to.bytes()?),
        }
    }

    fn seconds(self) -> Option<f64> {
        match self {
            Self::Ns => Some(1e-9),
            Self::Us => Some(1e-6),
            Self::Ms => Some(1e-3),
            Self::S => Some(1.0),
            Self::Bytes | Self::MiB | Self::PerS | Self::Times => None,
        }
    }

    fn bytes(self) -> Option<f64> {
        match self {
            Self::Bytes => Some(1.0),
            Self::MiB => Some(1_048_576.0),
            Self::Ns | Self::Us | Self::Ms | Self::S | Self::PerS | Self::Times => None,
        }
    }
}

/// Several runs of one measurement.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// The middle one; of an even number the upper of the two in the middle.
    pub middle: f64,
    /// The smallest.
    pub least: f64,
    /// The largest.
    pub most: f64,
    /// How many there were.
    pub runs: usize,
}

impl Sample {
    /// Sums up runs, of which there is at least one.
    ///
    /// # Panics
    /// If there is none.
    pub fn of(runs: impl IntoIterator<Item = f64>) -> Self {
        let mut runs: Vec<f64> = runs.into_iter().collect();
        runs.sort_by(f64::total_cmp);
        let [least, .., most] = runs[..] else {
            let only = *runs.first().expect("a measurement has at least one run");
            return Self::once(only);
        };
        Self { middle: runs[runs.len() / 2], least, most, runs: runs.len() }
    }

    /// What was measured once, or summed up elsewhere.
    pub fn once(value: f64) -> Self {
        Self { middle: value, least: value, most: value, runs: 1 }
    }

    /// Every run as what `f` makes of it, which must be monotonous.
    pub fn map(self, f: impl Fn(f64) -> f64) -> Self {
        let (one, other) = (f(self.least), f(self.most));
        Self { middle: f(self.middle), least: one.min(other), most: one.max(other), runs: self.runs }
    }
}

/// What the machine allows, measured in the same process.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Limit {
    /// In the row's unit.
    pub value: f64,
    /// What was done to measure it.
    pub what: String,
}

/// The number to reach.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Reach {
    /// In the row's unit. Where it follows from the peer, as the peer's published figure gives it.
    pub value: f64,
    /// How many times better than the peer's figure of this very run it has to be, where that decides.
    pub times_peer: Option<f64>,
}

/// What the process of a row tells.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// The row.
    pub name: String,
    /// Exactly what is measured.
    pub what: String,
    /// How many of what.
    pub sizes: String,
    /// What came out.
    pub ours: Sample,
    /// In which unit.
    pub unit: Unit,
    /// What bounds it, if that is measured.
    pub limit: Option<Limit>,
    /// The number to reach, if there is one.
    pub reach: Option<Reach>,
    /// Why it is not held against that, if it is not.
    pub unjudged: Option<String>,
    /// What else was seen.
    pub note: String,
}

impl Measured {
    /// A row without limit, number to reach and note.
    pub fn new(name: &str, (ours, unit): (Sample, Unit), sizes: impl Into<String>, what: impl Into<String>) -> Self {
        let (name, what, sizes) = (name.to_owned(), what.into(), sizes.into());
        Self { name, what, sizes, ours, unit, limit: None, reach: None, unjudged: None, note: String::new() }
    }

    /// With what bounds it.
    #[must_use]
    pub fn limit(mut self, value: f64, what: impl Into<String>) -> Self {
        self.limit = Some(Limit { value, what: what.into() });
        self
    }

    /// With the number to reach.
    #[must_use]
    pub fn reach(mut self, value: f64) -> Self {
        self.reach = Some(Reach { value, times_peer: None });
        self
    }

    /// To be so many times better than the peer: than its published figure, or its figure of this run if there is one.
    #[must_use]
    pub fn reach_times_peer(mut self, times: f64, published: f64) -> Self {
        let value = if self.unit == Unit::PerS { published * times } else { published / times };
        self.reach = Some(Reach { value, times_peer: Some(times) });
        self
    }

    /// Without a verdict, if there is a reason for that.
    #[must_use]
    pub fn unjudged(mut self, why: Option<String>) -> Self {
        self.unjudged = self.unjudged.or(why);
        self
    }

    /// With a note.
    #[must_use]
    pub fn note(mut self, note: impl Into<String>) -> Self {
        self.note = note.into();
        self
    }
}

/// Quiet slices that a comparison takes, at the least, ours and the peer's.
pub const QUIET_MIN: usize = 5;

/// What a peer was measured to do.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct PeerFigure {
    /// The peer's row.
    pub name: String,
    /// What came out.
    pub value: f64,
    /// In which unit.
    pub unit: Unit,
    /// Exactly what was measured.
    #[serde(default)]
    pub what: String,
    /// Where it was measured in slices: how many of them were quiet.
    #[serde(default)]
    pub quiet: Option<usize>,
}

impl PeerFigure {
    /// Whether it was not too loud to be compared with.
    fn is_quiet(&self) -> bool {
        self.quiet.is_none_or(|quiet| quiet >= QUIET_MIN)
    }
}

/// A row as it is shown and written.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// Its name.
    pub name: String,
    /// The middle of our runs.
    pub ours: f64,
    /// The unit of all its figures.
    pub unit: Unit,
    /// The peer's figure of this run.
    pub peer: Option<f64>,
    /// How many times better than the peer; `None` without one, and where one of the two was measured on a machine too busy.
    pub ratio: Option<f64>,
    /// What the machine allows, in this run.
    pub limit: Option<f64>,
    /// The number to reach.
    pub reach: Option<f64>,
    /// Whether it is reached; `None` without such a number, and where nothing can be said.
    pub reached: Option<bool>,
    /// Why nothing can be said.
    pub unjudged: Option<String>,
    /// Exactly what is measured.
    pub what: String,
    /// How many of what.
    pub sizes: String,
    /// The runs.
    pub spread: Sample,
    /// What the limit is.
    pub limit_what: Option<String>,
    /// What the peer does.
    pub peer_what: Option<String>,
    /// What else was seen.
    pub note: String,
}

impl Row {
    /// Judges what was measured, beside the best of the peer's figures for it.
    pub fn new(measured: Measured, peers: &[PeerFigure]) -> Self {
        let Measured { name, what, sizes, ours, unit, limit, reach, unjudged, note } = measured;
        let figures = peers.iter().filter_map(|peer| Some((peer.unit.convert(peer.value, unit)?, peer)));
        let best = figures.reduce(|best, other| if unit.is_reached(other.0, best.0) { other } else { best });
        let peer = best.map(|(value, _)| value);
        let is_compared = unjudged.is_none() && best.is_some_and(|(_, peer)| peer.is_quiet());
        let reach = reach.map(|Reach { value, times_peer }| match (times_peer, peer) {
            (Some(times), Some(peer)) if unit == Unit::PerS => peer * times,
            (Some(times), Some(peer)) => peer / times,
            (None, _) | (_, None) => value,
        });
        Self {
            name,
            ours: ours.middle,
            unit,
            peer,
            ratio: peer.filter(|_| is_compared).map(|peer| unit.ratio(ours.middle, peer)),
            limit: limit.as_ref().map(|limit| limit.value),
            reach,
            reached: reach.filter(|_| unjudged.is_none()).map(|reach| unit.is_reached(ours.middle, reach)),
            unjudged: unjudged.filter(|_| reach.is_some()),
            what,
            sizes,
            spread: ours,
            limit_what: limit.map(|limit| limit.what),
            peer_what: best.map(|(_, peer)| format!("{}: {}", peer.name, peer.what)),
            note,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(ours: f64, unit: Unit) -> Measured {
        Measured::new("row", (Sample::once(ours), unit), "one", "something")
    }

    fn peer(name: &str, value: f64, unit: Unit) -> PeerFigure {
        PeerFigure { name: name.to_owned(), value, unit, what: String::from("the same"), quiet: None }
    }

    #[test]
    fn the_middle_of_runs_is_no_mean_and_keeps_the_spread() {
        let sample = Sample::of([9.0, 1.0, 2.0, 100.0, 3.0]);
        assert_eq!(sample, Sample { middle: 3.0, least: 1.0, most: 100.0, runs: 5 });
        assert_eq!(Sample::of([4.0, 1.0]).middle, 4.0);
        assert_eq!(Sample::of([7.0]), Sample::once(7.0));
    }

    #[test]
    fn a_sample_turned_into_rates_keeps_least_below_most() {
        let sample = Sample::of([1.0, 2.0, 4.0]).map(|took| 1.0 / took);
        assert_eq!(sample, Sample { middle: 0.5, least: 0.25, most: 1.0, runs: 3 });
    }

    #[test]
    fn of_times_less_is_better_and_of_rates_more() {
        let at = |ours, unit| Row::new(measured(ours, unit).reach(10.0), &[peer("p", 20.0, unit)]);
        let fast = at(5.0, Unit::Ms);
        assert_eq!((fast.reached, fast.ratio), (Some(true), Some(4.0)));
        assert_eq!(at(11.0, Unit::Ms).reached, Some(false));
        let many = at(40.0, Unit::PerS);
        assert_eq!((many.reached, many.ratio), (Some(true), Some(2.0)));
        assert_eq!(at(9.0, Unit::PerS).reached, Some(false));
    }

    #[test]
    fn a_peer_in_another_unit_is_converted_and_one_that_counts_something_else_is_left_out() {
        let row = Row::new(measured(2.0, Unit::Us), &[peer("p", 4_000.0, Unit::Ns)]);
        assert!((row.peer.unwrap() - 4.0).abs() < 1e-9 && (row.ratio.unwrap() - 2.0).abs() < 1e-9, "{row:?}");
        let row = Row::new(measured(2e6, Unit::PerS), &[peer("p", 500.0, Unit::Ns)]);
        assert!((row.ratio.unwrap() - 1.0).abs() < 1e-9, "{row:?}");
        let row = Row::new(measured(2.0, Unit::Us), &[peer("p", 1.0, Unit::Bytes)]);
        assert_eq!((row.peer, row.ratio, row.peer_what), (None, None, None));
        assert_eq!(Unit::MiB.convert(2.0, Unit::Bytes), Some(2_097_152.0));
    }

    #[test]
    fn the_best_peer_counts() {
        let row = Row::new(measured(1.0, Unit::Ms), &[peer("slow", 9.0, Unit::Ms), peer("fast", 3.0, Unit::Ms)]);
        assert_eq!(row.peer, Some(3.0));
        assert_eq!(row.peer_what.unwrap(), "fast: the same");
    }

    #[test]
    fn a_number_that_follows_from_the_peer_is_that_of_this_run_if_there_is_one() {
        let row = || measured(300.0, Unit::Ns).reach_times_peer(2.5, 727.0);
        let alone = Row::new(row(), &[]);
        assert_eq!((alone.reach.map(f64::round), alone.reached), (Some(291.0), Some(false)));
        let beside = Row::new(row(), &[peer("p", 1_000.0, Unit::Ns)]);
        assert_eq!((beside.reach, beside.reached), (Some(400.0), Some(true)));
    }

    #[test]
    fn where_nothing_can_be_said_there_is_no_verdict() {
        let why = || Some(String::from("2 quiet slices of 9"));
        let row = Row::new(measured(1.0, Unit::Ms).reach(2.0).unjudged(why()), &[]);
        assert_eq!((row.reach, row.reached, row.unjudged), (Some(2.0), None, why()));
        let row = Row::new(measured(1.0, Unit::Ms).reach(2.0).unjudged(None), &[]);
        assert_eq!((row.reached, row.unjudged), (Some(true), None));
        assert_eq!(Row::new(measured(1.0, Unit::Ms).unjudged(why()), &[]).unjudged, None);
    }

    #[test]
    fn what_was_too_loud_is_compared_with_nobody() {
        let ratio = |ours: Option<&str>, quiet: Option<usize>| {
            let peer = PeerFigure { quiet, ..peer("p", 3.0, Unit::Ms) };
            Row::new(measured(1.0, Unit::Ms).unjudged(ours.map(str::to_owned)), &[peer]).ratio
        };
        assert_eq!([None, Some(QUIET_MIN)].map(|quiet| ratio(None, quiet)), [Some(3.0); 2]);
        assert_eq!((ratio(None, Some(QUIET_MIN - 1)), ratio(Some("no quiet slices"), None)), (None, None));
    }

    #[test]
    fn a_row_says_the_agreed_things_in_json() {
        let json = serde_json::to_value(Row::new(measured(1.0, Unit::PerS), &[])).unwrap();
        for key in [
            "name", "ours", "unit", "peer", "ratio", "limit", "reach", "reached", "unjudged", "what", "sizes", "spread",
        ] {
            assert!(json.get(key).is_some(), "{key} is missing from {json}");
        }
        assert_eq!(json["unit"], "per_s");
        assert!(json["peer"].is_null() && json["reached"].is_null());
    }

    #[test]
    fn a_unit_has_one_name_everywhere() {
        use Unit::{Bytes, MiB, Ms, Ns, PerS, S, Times, Us};
        for unit in [Ns, Us, Ms, S, Bytes, MiB, PerS, Times] {
            assert_eq!(serde_json::to_value(unit).unwrap(), unit.name());
        }
    }
}
