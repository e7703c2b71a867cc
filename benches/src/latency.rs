//! Times of many calls, and the moment at which each is due.

use std::thread;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

/// An empty histogram of microseconds.
pub fn latencies() -> Histogram<u64> {
    Histogram::new(3).expect("3 digits")
}

/// Notes the time since then.
pub fn note(since: Instant, into: &mut Histogram<u64>) {
    into.record(u64::try_from(since.elapsed().as_micros()).unwrap_or(u64::MAX)).expect("it resizes");
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

/// Latencies of many slices of time.
#[derive(Debug, Default)]
pub struct Slices(pub Vec<Histogram<u64>>);

impl Slices {
    /// The p99 of the middle slice: a few slices in which something outside held the machine up do not change it.
    pub fn p99(&self) -> f64 {
        let all = self.p99s();
        all.get(all.len() / 2).map_or(f64::NAN, |p99| *p99 as f64)
    }

    /// The p99 of every slice, ascending.
    pub fn p99s(&self) -> Vec<u64> {
        let mut all: Vec<u64> = self.0.iter().map(|slice| slice.value_at_quantile(0.99)).collect();
        all.sort_unstable();
        all
    }

    /// All slices as one.
    pub fn all(&self) -> Histogram<u64> {
        let mut all = latencies();
        self.0.iter().for_each(|slice| all.add(slice).expect("both resize"));
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slice(micros: u64) -> Histogram<u64> {
        let mut slice = latencies();
        slice.record(micros).unwrap();
        slice
    }

    #[test]
    fn one_bad_slice_does_not_change_the_middle_one() {
        let slices = Slices(vec![slice(20), slice(90_000), slice(10)]);
        assert_eq!(slices.p99(), 20.0);
        assert_eq!(slices.all().len(), 3);
        assert!(Slices::default().p99().is_nan());
    }

    #[test]
    fn nothing_is_due_too_early() {
        let due = Instant::now() + Duration::from_millis(2);
        until(due);
        assert!(Instant::now() >= due);
    }
}
