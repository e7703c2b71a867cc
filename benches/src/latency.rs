//! Times of many calls, and the moment at which each is due.

use std::thread;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use crate::row::QUIET_MIN;

/// An empty histogram of microseconds.
pub fn latencies() -> Histogram<u64> {
    Histogram::new(3).expect("3 digits")
}

/// Notes the time since then.
pub fn note(since: Instant, into: &mut Histogram<u64>) {
    record(since.elapsed(), into);
}

/// Notes a time.
pub fn record(took: Duration, into: &mut Histogram<u64>) {
    into.record(u64::try_from(took.as_micros()).unwrap_or(u64::MAX)).expect("it resizes");
}

/// Waits for a moment, awake for the last of it: a sleep ends some 60 µs late.
pub fn until(due: Instant) {
    let left = due.saturating_duration_since(Instant::now());
    thread::sleep(left.saturating_sub(Duration::from_micros(100)));
    while Instant::now() < due {
        std::hint::spin_loop();
    }
}

/// Does this so many times, so many a second, each when it is due.
pub fn at_rate(times: u64, a_second: u32, mut act: impl FnMut(Instant)) {
    let begin = Instant::now();
    for time in 0..times {
        let due = begin + Duration::from_secs(1) * u32::try_from(time).expect("few") / a_second;
        until(due);
        act(due);
    }
}

/// The usual four figures.
pub fn text(all: &Histogram<u64>) -> String {
    if all.is_empty() {
        return String::from("-");
    }
    let [p50, p99, p999] = [0.5, 0.99, 0.999].map(|quantile| all.value_at_quantile(quantile));
    format!("p50 {p50} µs, p99 {p99} µs, p99.9 {p999} µs, max {} µs", all.max())
}

/// Latencies of many slices of time, and how much of the machine others had in each.
///
/// What others take delays calls whatever is measured. So the slices that count are those in which they took little; where these are
/// few, the few in which they took least, and then [nothing is judged](Self::unjudged) by them.
#[derive(Debug, Default)]
pub struct Slices(Vec<Slice>);

#[derive(Debug)]
struct Slice {
    took: Histogram<u64>,
    others: f64,
}

impl Slices {
    /// Adds a slice in which others had so large a share of the machine.
    pub fn push(&mut self, took: Histogram<u64>, others: f64) {
        let at = self.0.partition_point(|slice| slice.others <= others);
        self.0.insert(at, Slice { took, others });
    }

    /// How many there are.
    pub fn measured(&self) -> usize {
        self.0.len()
    }

    /// In how many others took little.
    pub fn quiet(&self) -> usize {
        self.0.partition_point(|slice| slice.others <= OTHERS_MAX)
    }

    /// Those that count.
    fn counted(&self) -> &[Slice] {
        &self.0[..self.quiet().max(COUNTED_MIN).min(self.0.len())]
    }

    /// The p99 of the middle slice: a few slices in which something outside held the machine up do not change it.
    pub fn p99(&self) -> f64 {
        let all = self.p99s();
        all.get(all.len() / 2).map_or(f64::NAN, |p99| *p99 as f64)
    }

    /// The p99 of every slice that counts, ascending.
    pub fn p99s(&self) -> Vec<u64> {
        let mut all: Vec<u64> = self.counted().iter().map(|slice| slice.took.value_at_quantile(0.99)).collect();
        all.sort_unstable();
        all
    }

    /// All slices that count as one.
    pub fn all(&self) -> Histogram<u64> {
        let mut all = latencies();
        self.counted().iter().for_each(|slice| all.add(&slice.took).expect("both resize"));
        all
    }

    /// Why nothing can be said by comparing these: of one of them too few were quiet. `None` if something can.
    pub fn unjudged<const N: usize>(all: [&Self; N]) -> Option<String> {
        let loudest =
            all.into_iter().min_by_key(|slices| slices.quiet()).filter(|slices| slices.quiet() < COUNTED_MIN)?;
        Some(format!("{} quiet slices of {}", loudest.quiet(), loudest.measured()))
    }

    /// How many slices count, and how quiet they were.
    pub fn quietness(&self) -> String {
        let (counted, measured) = (self.counted(), self.measured());
        let most = counted.last().map_or(0.0, |slice| slice.others * 100.0);
        format!("{} of {measured} slices count, others had up to {most:.1} % of the machine in these", counted.len())
    }
}

/// What others may take of the machine in a slice that is worth its figures. The system's own threads take up to 1 %.
const OTHERS_MAX: f64 = 0.03;
/// Slices that count, at the least; of fewer quiet ones there is a figure, and no verdict.
const COUNTED_MIN: usize = QUIET_MIN;

#[cfg(test)]
mod tests {
    use super::*;

    fn slice(micros: u64) -> Histogram<u64> {
        let mut slice = latencies();
        slice.record(micros).unwrap();
        slice
    }

    fn slices(all: impl IntoIterator<Item = (u64, f64)>) -> Slices {
        let mut slices = Slices::default();
        all.into_iter().for_each(|(micros, others)| slices.push(slice(micros), others));
        slices
    }

    #[test]
    fn one_bad_slice_does_not_change_the_middle_one() {
        let slices = slices([(20, 0.0), (90_000, 0.0), (10, 0.0)]);
        assert_eq!(slices.p99(), 20.0);
        assert_eq!(slices.all().len(), 3);
        assert!(Slices::default().p99().is_nan());
    }

    #[test]
    fn slices_in_which_others_were_busy_do_not_count_unless_there_are_no_better_ones() {
        let quiet = (0..7).map(|micros| (10 + micros, 0.01));
        let busy = (0..9).map(|micros| (1_000 + micros, 0.5));
        let mixed = slices(busy.clone().chain(quiet));
        assert_eq!((mixed.p99(), mixed.quiet(), mixed.measured()), (13.0, 7, 16));

        let few = slices([(1, 0.9), (2, 0.1), (3, 0.2), (4, 0.01), (5, 0.3), (6, 0.8), (7, 0.4)]);
        assert_eq!((few.p99s(), few.quiet()), (vec![2, 3, 4, 5, 7], 1));
    }

    #[test]
    fn what_is_compared_is_judged_if_enough_of_each_was_quiet() {
        let with_quiet = |quiet: usize| slices((0..9).map(|slice| (1, if slice < quiet { 0.01 } else { 0.5 })));
        let (few, enough) = (with_quiet(COUNTED_MIN - 1), with_quiet(COUNTED_MIN));
        assert_eq!(Slices::unjudged([&enough, &enough]), None);
        assert_eq!(Slices::unjudged([&enough, &few]).unwrap(), "4 quiet slices of 9");
        assert_eq!(Slices::unjudged([&few, &with_quiet(0)]).unwrap(), "0 quiet slices of 9");
    }

    #[test]
    fn nothing_is_due_too_early() {
        let due = Instant::now() + Duration::from_millis(2);
        until(due);
        assert!(Instant::now() >= due);
    }
}
