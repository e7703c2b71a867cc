//! The wire form, pinned byte by byte: each sample encodes to its vector and each vector decodes to its sample.
//!
//! The vectors lie in `proto/vectors`, one `name = bytes` a line, for other implementations to read (`proto/SPEC.md` describes
//! the notation). Every variant of every wire enum has at least one; a variant without a vector stops the build here.
//! `GUILDHALL_BLESS=1` writes the files anew, which is allowed until 0.1.0 only: after it vectors are added, never rewritten.

#![expect(clippy::unwrap_used, reason = "the helpers of a test fail as the test does")]

mod answers;
mod calls;
mod commands;
mod events;
mod fits;
mod frames;
mod hellos;
mod lengths;
mod notation;
mod refused;
mod sample;
mod values;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use guildhall_proto::codec;
use guildhall_proto::limits::{BULK_MEMBERS_MAX, MEMBER_ROLES_MAX, NICK_CHARS_MAX};
use guildhall_proto::{MemberFlags, NewMember, Nick, RoleId, UserId};

use crate::sample::Sample;

#[test]
fn every_sample_has_the_bytes_of_its_vector_and_every_vector_a_sample() {
    for (file, samples) in files() {
        let mut computed = BTreeMap::new();
        for sample in &samples {
            let twice = computed.insert(sample.name().to_owned(), sample.encoded());
            assert!(twice.is_none(), "{file}: two samples are called {}", sample.name());
        }
        bless_if_asked(file, samples.iter().map(|sample| (sample.name(), sample.encoded())));
        assert_eq!(difference(&read(file), &computed), Vec::<String>::new(), "{file} and its samples differ");
    }
}

#[test]
fn every_vector_decodes_to_its_sample() {
    for (file, samples) in files() {
        let vectors = read(file);
        for sample in &samples {
            let bytes = vectors.get(sample.name()).unwrap_or_else(|| panic!("{file} lacks {}", sample.name()));
            assert!(sample.is_decoded_from(bytes), "{file}: {} decodes to something else", sample.name());
        }
    }
}

#[test]
fn every_variant_has_a_vector() {
    let names: BTreeSet<String> = files().iter().flat_map(|(_, samples)| samples).map(Sample::subject).collect();
    let variants = [
        commands::variants(),
        answers::variants(),
        events::variants(),
        values::variants(),
        hellos::variants(),
        calls::variants(),
    ]
    .into_iter()
    .flatten();
    let missing: Vec<String> = variants.filter(|variant| !names.contains(variant)).collect();
    assert_eq!(missing, Vec::<String>::new(), "variants without a vector");
}

/// The types are found in the source text; those that a macro makes (ids, nicks, names) are not, and stand in `values.rs`.
#[test]
fn every_wire_type_has_a_vector() {
    let names: BTreeSet<String> =
        files().iter().flat_map(|(_, samples)| samples).map(|sample| sample.type_name().to_owned()).collect();
    let types = wire_types();
    assert!(types.contains("Command") && types.contains("Payload"), "the search finds too little: {types:?}");
    let missing: Vec<&String> = types.difference(&names).collect();
    assert_eq!(missing, Vec::<&String>::new(), "wire types without a vector");
}

#[test]
fn the_specification_numbers_every_variant_as_it_is_encoded() {
    let text = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/SPEC.md")).unwrap();
    let types = wire_types();
    let missing: Vec<&String> = types.iter().filter(|name| !text.contains(&format!("`{name}`"))).collect();
    assert_eq!(missing, Vec::<&String>::new(), "wire types without a word in SPEC.md");
    for (_, samples) in files() {
        for sample in samples {
            let subject = sample.subject();
            let Some((enumeration, variant)) = subject.split_once("::") else { continue };
            let section =
                text.split_once(&format!("#### `{enumeration}`\n")).map(|(_, behind)| behind).unwrap_or_default();
            let section = section.split("\n#").next().unwrap_or_default();
            let row = format!("\n| {} | `{variant}` |", sample.encoded()[0]);
            assert!(section.contains(&row), "SPEC.md lacks the row {row:?} under {enumeration}");
        }
    }
}

#[test]
fn what_must_be_refused_is_refused() {
    let cases = refused::cases();
    bless_if_asked(REFUSED, cases.iter().map(|case| (case.name, case.bytes.clone())));
    let vectors = read(REFUSED);
    assert_eq!(vectors.len(), cases.len(), "{REFUSED} and its cases differ");
    for case in &cases {
        assert_eq!(vectors.get(case.name), Some(&case.bytes), "{REFUSED}: {}", case.name);
        assert!((case.is_refused)(&case.bytes), "{} was accepted", case.name);
    }
}

/// Every truncation, and every value of every byte; of the long vectors only at their two ends, as [`tried`] says.
#[test]
fn damaged_vectors_are_refused_or_read_as_another_value() {
    for (file, samples) in files() {
        for sample in &samples {
            let bytes = sample.encoded();
            for cut in tried(bytes.len()) {
                assert!(sample.refuses(&bytes[..cut]), "{file}: {} was accepted when cut at {cut}", sample.name());
            }
            let mut damaged = bytes.clone();
            for at in tried(bytes.len()) {
                for value in 0..=u8::MAX {
                    damaged[at] = value;
                    sample.read_damaged(&damaged);
                }
                damaged[at] = bytes[at];
            }
        }
    }
}

/// Runs the test above and that of claimed lengths once more in a process of its own, under a limit of its address space: an allocation beyond it aborts.
#[test]
fn damaged_vectors_are_read_in_bounded_memory() {
    if env::var_os(BOUNDED).is_some() {
        return;
    }
    let run = Command::new("sh")
        .args(["-c", &format!("ulimit -v {ADDRESS_SPACE_KIB_MAX} && exec \"$0\" \"$@\"")])
        .arg(env::current_exe().unwrap())
        .args(["--exact", "damaged_vectors_are_refused_or_read_as_another_value"])
        .args(["lengths::a_length_that_is_claimed_in_a_few_bytes_is_refused_before_anything_is_taken_for_it"])
        .arg("--test-threads=1")
        .env(BOUNDED, "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&run.stdout);
    assert!(run.status.success(), "{said}{}", String::from_utf8_lossy(&run.stderr));
    assert!(said.contains("2 passed"), "the tests under the limit did not run: {said}");
}

#[test]
fn the_largest_import_can_be_encoded() {
    let nick = Nick::parse(&"\u{1f3db}".repeat(NICK_CHARS_MAX)).unwrap();
    let roles: Vec<RoleId> = (0..MEMBER_ROLES_MAX as u64).map(|nth| RoleId::new(u64::MAX - 1 - nth).unwrap()).collect();
    let members: Vec<NewMember> = (0..BULK_MEMBERS_MAX as u64)
        .map(|nth| NewMember {
            user: UserId::new(u64::MAX - 1 - nth).unwrap(),
            nick: nick.clone(),
            roles: roles.clone(),
            flags: MemberFlags(u16::MAX),
        })
        .collect();
    let command = guildhall_proto::Command::ImportMembers(members);
    let bytes = codec::encode(&command).unwrap();
    assert_eq!(codec::decode::<guildhall_proto::Command>(&bytes).unwrap(), command);
}

fn files() -> [(&'static str, Vec<Sample>); 6] {
    [
        ("values.hex", values::samples()),
        ("commands.hex", commands::samples()),
        ("answers.hex", answers::samples()),
        ("events.hex", events::samples()),
        ("hellos.hex", hellos::samples()),
        ("calls.hex", calls::samples()),
    ]
}

/// The types of `src` that derive `Encode` or implement it.
fn wire_types() -> BTreeSet<String> {
    let mut types = BTreeSet::new();
    for file in sources(concat!(env!("CARGO_MANIFEST_DIR"), "/src").as_ref()) {
        let text = fs::read_to_string(file).unwrap();
        let mut derives = false;
        for line in text.lines().map(str::trim_start) {
            derives |= line.starts_with("#[derive(") && line.contains("Encode");
            let declared = line.strip_prefix("pub struct ").or_else(|| line.strip_prefix("pub enum "));
            let implemented = line.strip_prefix("impl Encode for ");
            if let Some(rest) = implemented.or(declared.filter(|_| derives)) {
                let name: String = rest.chars().take_while(|character| character.is_alphanumeric()).collect();
                types.insert(name);
            }
            derives &= declared.is_none();
        }
    }
    // What a macro makes starts with a dollar sign.
    types.remove("");
    types
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { sources(&path) } else { vec![path] }).collect()
}

fn path(file: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("vectors").join(file)
}

fn read(file: &str) -> BTreeMap<String, Vec<u8>> {
    let text = fs::read_to_string(path(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
    notation::parse(&text).unwrap_or_else(|error| panic!("{file}: {error}"))
}

fn bless_if_asked<'a>(file: &str, vectors: impl Iterator<Item = (&'a str, Vec<u8>)>) {
    if env::var("GUILDHALL_BLESS").is_ok_and(|value| value == "1") {
        fs::write(path(file), notation::write(vectors)).unwrap();
    }
}

/// What stands in one and not in the other, or differs; one line each.
fn difference(pinned: &BTreeMap<String, Vec<u8>>, computed: &BTreeMap<String, Vec<u8>>) -> Vec<String> {
    let names: BTreeSet<&String> = pinned.keys().chain(computed.keys()).collect();
    names
        .into_iter()
        .filter(|name| pinned.get(*name) != computed.get(*name))
        .map(|name| format!("{name}: pinned {:02x?}, computed {:02x?}", pinned.get(name), computed.get(name)))
        .collect()
}

/// The places of a vector that are damaged: all of a short one, both ends of a long one, between which one byte is like another.
fn tried(len: usize) -> impl Iterator<Item = usize> {
    (0..len).filter(move |at| len <= SHORT_BYTES_MAX || *at < ENDS_BYTES || len - at <= ENDS_BYTES)
}

const REFUSED: &str = "refused.hex";

/// Set in the process that runs under a limit.
const BOUNDED: &str = "GUILDHALL_GOLDEN_BOUNDED";

/// All vectors are short but the longest payload's.
const SHORT_BYTES_MAX: usize = 1_024;

/// What is tried at each end of a long vector: more than the few bytes of its length.
const ENDS_BYTES: usize = 64;

/// 512 MiB: the test's own code and threads, and several times what one value may claim while it is decoded (32 MiB).
const ADDRESS_SPACE_KIB_MAX: usize = 512 * 1024;
