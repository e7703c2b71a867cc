//! Bytes from outside: each decoder over a corpus, and over what becomes of the corpus when it is changed at random.
//!
//! `corpus/TARGET` holds files of raw bytes, as fuzzers keep them. A file that once made a decoder fail stays there for ever.

#![expect(clippy::unwrap_used, reason = "the helpers of a test fail as the test does")]

mod change;
mod fuzz;
mod targets;

use std::fs;
use std::path::Path;

use proptest::collection::vec;
use proptest::prelude::*;

use crate::change::{Change, EDGES, changed};
use crate::targets::TARGETS;

#[test]
fn every_decoder_holds_on_its_corpus_and_accepts_and_refuses_some_of_it() {
    for target in &TARGETS {
        let accepted: Vec<bool> = corpus(target.name).iter().map(|bytes| (target.run)(bytes)).collect();
        assert!(accepted.contains(&true), "nothing in the corpus of {} is accepted", target.name);
        assert!(accepted.contains(&false), "nothing in the corpus of {} is refused", target.name);
    }
}

#[test]
fn the_corpus_is_that_of_the_decoders() {
    let mut folders: Vec<String> =
        fs::read_dir(CORPUS).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    folders.sort_unstable();
    let mut names: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
    names.sort_unstable();
    assert_eq!(folders, names);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_048, ..ProptestConfig::default() })]

    #[test]
    fn every_decoder_holds_on_what_becomes_of_its_corpus(changes in vec(change(), 0..6), also in any::<prop::sample::Index>()) {
        for target in &TARGETS {
            let corpus = corpus(target.name);
            let also = also.get(&corpus);
            for bytes in &corpus {
                (target.run)(&changed(bytes, also, &changes));
            }
        }
    }

    #[test]
    fn every_decoder_holds_on_noise(noise in vec(any::<u8>(), 0..400)) {
        for target in &TARGETS {
            (target.run)(&noise);
        }
    }
}

fn change() -> impl Strategy<Value = Change> {
    let edge = prop::sample::select(&EDGES);
    prop_oneof![
        (any::<usize>(), prop_oneof![edge, any::<u8>()]).prop_map(|(at, byte)| Change::Set(at, byte)),
        (any::<usize>(), 0_u8..8).prop_map(|(at, bit)| Change::Flip(at, bit)),
        (any::<usize>(), vec(any::<u8>(), 1..9)).prop_map(|(at, bytes)| Change::Insert(at, bytes)),
        (any::<usize>(), 1_usize..20).prop_map(|(at, count)| Change::Remove(at, count)),
        (any::<usize>(), 1_usize..20).prop_map(|(at, count)| Change::Repeat(at, count)),
        (any::<usize>(), any::<usize>()).prop_map(|(at, from)| Change::Splice(at, from)),
        any::<usize>().prop_map(Change::Cut),
    ]
}

/// The files of one target, by name.
fn corpus(target: &str) -> Vec<Vec<u8>> {
    let mut files: Vec<_> =
        fs::read_dir(Path::new(CORPUS).join(target)).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort_unstable();
    files.into_iter().map(|file| fs::read(file).unwrap()).collect()
}

const CORPUS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/decoders/corpus");
