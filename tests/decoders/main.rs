//! Bytes from outside: each decoder over a corpus, and over what becomes of the corpus when it is changed at random.
//!
//! `corpus/TARGET` holds files of raw bytes, as fuzzers keep them. A file that once made a decoder fail stays there for ever.

#![expect(clippy::unwrap_used, reason = "the helpers of a test fail as the test does")]

mod targets;

use std::fs;
use std::path::Path;

use proptest::collection::vec;
use proptest::prelude::*;

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

/// What may happen to bytes; places are taken modulo what is there.
#[derive(Debug, Clone)]
enum Change {
    Set(usize, u8),
    Flip(usize, u8),
    Insert(usize, Vec<u8>),
    Remove(usize, usize),
    Repeat(usize, usize),
    /// The end of another file of the corpus in place of one's own.
    Splice(usize, usize),
    Cut(usize),
}

fn change() -> impl Strategy<Value = Change> {
    let edge = prop::sample::select(vec![0, 1, 127, 128, 250, 251, 252, 253, 254, 255]);
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

fn changed(bytes: &[u8], also: &[u8], changes: &[Change]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for change in changes {
        let place = |at: usize| at % (bytes.len() + 1);
        let run = |at: usize, count: usize| place(at)..(place(at) + count).min(bytes.len());
        match change {
            Change::Set(at, byte) => {
                let at = place(*at);
                bytes.splice(at..(at + 1).min(bytes.len()), [*byte]);
            }
            Change::Flip(at, bit) => {
                let at = place(*at);
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= 1 << bit;
                }
            }
            Change::Insert(at, inserted) => {
                let at = place(*at);
                bytes.splice(at..at, inserted.iter().copied());
            }
            Change::Remove(at, count) => {
                bytes.drain(run(*at, *count));
            }
            Change::Repeat(at, count) => {
                let run = run(*at, *count);
                let repeated = bytes[run.clone()].to_vec();
                bytes.splice(run.end..run.end, repeated);
            }
            Change::Splice(at, from) => {
                bytes.truncate(place(*at));
                bytes.extend_from_slice(&also[from % (also.len() + 1)..]);
            }
            Change::Cut(at) => bytes.truncate(place(*at)),
        }
    }
    bytes
}

/// The files of one target, by name.
fn corpus(target: &str) -> Vec<Vec<u8>> {
    let mut files: Vec<_> =
        fs::read_dir(Path::new(CORPUS).join(target)).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort_unstable();
    files.into_iter().map(|file| fs::read(file).unwrap()).collect()
}

const CORPUS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/decoders/corpus");
