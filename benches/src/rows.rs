//! All rows, by the bench that measures them.

mod durable;
mod fan_out;
mod isolation;
mod links;
mod members;
mod memory;
mod owner;
mod probe;
mod scans;
mod storms;
mod whole;

use crate::row::{Measured, Sample};

/// Rows that are measured in one process, over one world.
#[derive(Debug, Clone, Copy)]
pub struct Bench {
    /// Its rows, in the order of the table.
    pub rows: &'static [Name],
    /// Measures those that are wanted.
    pub run: fn(&mut Run),
}

/// A row, and the rows of the peers that do the same, of which the best counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Name {
    /// Its name, no other row's.
    pub name: &'static str,
    /// The peers'.
    pub peers: &'static [&'static str],
}

/// All there are, in the order of the table.
pub const BENCHES: &[Bench] = &[
    members::BYTES_ZIPF,
    members::BYTES_RANDOM,
    members::READS,
    owner::CHANGES,
    owner::CALLS,
    scans::ZIPF,
    scans::RANDOM,
    scans::TEN,
    scans::NODE,
    fan_out::TEN_K,
    fan_out::HUNDRED_K,
    fan_out::MILLION,
    fan_out::BREADTH,
    whole::CALLS,
    whole::TURNS,
    isolation::BENCH,
    storms::BENCH,
    memory::BENCHES[0],
    memory::BENCHES[1],
    memory::BENCHES[2],
    memory::BENCHES[3],
    memory::BENCHES[4],
    memory::BENCHES[5],
    memory::BENCHES[6],
    memory::BENCHES[7],
    memory::BENCHES[8],
    durable::CHANGES,
    durable::CALL,
    durable::COLD,
    links::CALLS,
    links::DURABLE,
    links::DELIVERIES,
    links::BYTES,
    links::SCANS,
    links::STOPPED,
];

/// A name that is a part of no row's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no row has {0:?} in its name")]
pub struct UnknownName(pub String);

/// The benches that measure what is asked for by parts of names, each with the rows of it; all, if nothing is.
///
/// # Errors
/// The first name that is a part of no row's.
pub fn choose(parts: &[String]) -> Result<Vec<(&'static Bench, Vec<Name>)>, UnknownName> {
    if parts.is_empty() {
        return Ok(BENCHES.iter().map(|bench| (bench, bench.rows.to_vec())).collect());
    }
    choose_by(parts, |row, part| row.contains(part))
}

/// The same for whole names.
///
/// # Errors
/// The first that no row has.
pub fn named(names: &[String]) -> Result<Vec<(&'static Bench, Vec<Name>)>, UnknownName> {
    choose_by(names, |row, name| row == name)
}

fn choose_by(
    names: &[String],
    is_meant: impl Fn(&str, &str) -> bool,
) -> Result<Vec<(&'static Bench, Vec<Name>)>, UnknownName> {
    let all = BENCHES.iter().flat_map(|bench| bench.rows);
    if let Some(unknown) = names.iter().find(|name| !all.clone().any(|row| is_meant(row.name, name))) {
        return Err(UnknownName(unknown.clone()));
    }
    let is_wanted = |row: &&Name| names.iter().any(|name| is_meant(row.name, name));
    let wanted = |bench: &Bench| bench.rows.iter().filter(is_wanted).copied().collect::<Vec<Name>>();
    Ok(BENCHES.iter().map(|bench| (bench, wanted(bench))).filter(|(_, rows)| !rows.is_empty()).collect())
}

/// The measuring of one bench.
pub struct Run<'a> {
    is_quick: bool,
    wanted: Vec<String>,
    tell: &'a mut dyn FnMut(Measured),
}

impl<'a> Run<'a> {
    /// Of these rows; each is told to `tell` as soon as it is measured.
    pub fn new(is_quick: bool, wanted: Vec<String>, tell: &'a mut dyn FnMut(Measured)) -> Self {
        Self { is_quick, wanted, tell }
    }

    /// Whether it is to be over soon, at the cost of what its figures are worth.
    pub fn is_quick(&self) -> bool {
        self.is_quick
    }

    /// A size, or a tenth of it.
    pub fn size(&self, full: u64) -> u64 {
        if self.is_quick { full / 10 } else { full }
    }

    /// A number of runs.
    pub fn times(&self, full: u32, quick: u32) -> u32 {
        if self.is_quick { quick } else { full }
    }

    /// Whether this row is to be measured.
    pub fn wants(&self, name: &str) -> bool {
        self.wanted.iter().any(|wanted| wanted == name)
    }

    /// Whether any of these is.
    pub fn wants_any(&self, names: &[&str]) -> bool {
        names.iter().any(|name| self.wants(name))
    }

    /// A row is measured. If nobody wants it, it came along with another.
    pub fn tell(&mut self, measured: Measured) {
        if self.wants(&measured.name) {
            (self.tell)(measured);
        }
    }
}

/// A row without peers.
const fn alone(name: &'static str) -> Name {
    Name { name, peers: &[] }
}

/// A row that peers have too.
const fn with_peers(name: &'static str, peers: &'static [&'static str]) -> Name {
    Name { name, peers }
}

/// Measures once to warm up, and then so many times.
fn sample(times: u32, mut measure: impl FnMut() -> f64) -> Sample {
    measure();
    Sample::of((0..times.max(1)).map(|_| measure()))
}

/// A number with its thousands apart.
fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn chosen(names: &[&str]) -> Result<Vec<&'static str>, UnknownName> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        Ok(choose(&names)?.into_iter().flat_map(|(_, rows)| rows).map(|row| row.name).collect())
    }

    #[test]
    fn every_row_has_a_name_of_its_own() {
        let names: Vec<&str> = chosen(&[]).unwrap();
        let all: BTreeSet<&str> = names.iter().copied().collect();
        assert_eq!(all.len(), names.len());
        assert!(names.len() >= 3, "{names:?}");
    }

    #[test]
    fn a_name_is_a_part_of_the_rows_it_means() {
        assert_eq!(chosen(&["member_read"]).unwrap(), ["member_read"]);
        let bytes = chosen(&["member_bytes"]).unwrap();
        assert_eq!(bytes, ["member_bytes_zipf", "member_bytes_random"]);
        assert_eq!(chosen(&["member_read", "member_bytes"]).unwrap().len(), 3);
    }

    #[test]
    fn a_name_that_no_row_has_is_refused_even_beside_a_good_one() {
        assert_eq!(chosen(&["member_read", "nonsense"]).unwrap_err(), UnknownName(String::from("nonsense")));
    }

    #[test]
    fn a_whole_name_means_its_row_alone() {
        let named = |name: &str| named(&[name.to_owned()]).map(|chosen| chosen[0].1.clone());
        assert_eq!(named("member_read").unwrap(), [with_peers("member_read", &["member_read"])]);
        assert_eq!(named("member_").unwrap_err(), UnknownName(String::from("member_")));
    }

    #[test]
    fn a_row_that_nobody_wants_is_not_told() {
        let mut told = Vec::new();
        let mut tell = |measured: Measured| told.push(measured.name);
        let mut run = Run::new(true, vec![String::from("one")], &mut tell);
        for name in ["one", "two"] {
            run.tell(Measured::new(name, (Sample::once(1.0), crate::row::Unit::Ns), "", ""));
        }
        assert_eq!(told, ["one"]);
    }

    #[test]
    fn the_first_measurement_only_warms_up() {
        let mut next = 0.0;
        let sample = sample(3, || {
            next += 1.0;
            next
        });
        assert_eq!(sample, Sample { middle: 3.0, least: 2.0, most: 4.0, runs: 3 });
    }

    #[test]
    fn thousands_stand_apart() {
        assert_eq!([7, 1_000, 1_234_567].map(count), ["7", "1,000", "1,234,567"]);
    }
}
