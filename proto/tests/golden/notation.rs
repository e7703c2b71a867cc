//! How vectors are written: `name = bytes`, bytes as two hex digits each, `61*32` for a byte that stands there 32 times.

use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Reads a vector file. Empty lines and lines that start with `#` say nothing.
pub(crate) fn parse(text: &str) -> Result<BTreeMap<String, Vec<u8>>, String> {
    let mut vectors = BTreeMap::new();
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let (name, bytes) = line.split_once(" =").ok_or_else(|| format!("no ` =` in {line:?}"))?;
        if vectors.insert(name.to_owned(), parse_bytes(bytes)?).is_some() {
            return Err(format!("{name} stands there twice"));
        }
    }
    Ok(vectors)
}

fn parse_bytes(text: &str) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    for word in text.split_ascii_whitespace() {
        let (digits, count) = word.split_once('*').unwrap_or((word, "1"));
        let byte = u8::from_str_radix(digits, 16).map_err(|error| format!("{word:?}: {error}"))?;
        let count: usize = count.parse().map_err(|error| format!("{word:?}: {error}"))?;
        bytes.resize(bytes.len() + count, byte);
    }
    Ok(bytes)
}

/// Writes a vector file, in the order given.
pub(crate) fn write<'a>(vectors: impl Iterator<Item = (&'a str, Vec<u8>)>) -> String {
    let mut text =
        String::from("# Wire vectors: see proto/SPEC.md. Written by the golden test; until 0.1.0 they may change.\n");
    for (name, bytes) in vectors {
        text.push_str(name);
        text.push_str(" =");
        for run in bytes.chunk_by(|left, right| left == right) {
            if run.len() < RUN_BYTES_MIN {
                run.iter().for_each(|byte| write!(text, " {byte:02x}").expect("a String takes all that is written"));
            } else {
                write!(text, " {:02x}*{}", run[0], run.len()).expect("a String takes all that is written");
            }
        }
        text.push('\n');
    }
    text
}

/// Shorter runs are easier to read spelt out.
const RUN_BYTES_MIN: usize = 9;

#[test]
fn what_is_written_is_read() {
    let bytes = [vec![0, 255], vec![7; RUN_BYTES_MIN], vec![8; RUN_BYTES_MIN - 1]].concat();
    let text = write([("a/b", bytes.clone()), ("empty", Vec::new())].into_iter());
    assert_eq!(parse(&text).unwrap(), BTreeMap::from([("a/b".into(), bytes), ("empty".into(), Vec::new())]));
}

#[test]
fn what_is_no_vector_is_refused() {
    for text in ["a: 00", "a = 0g", "a = 00*x", "a = 00\na = 00"] {
        assert!(parse(text).is_err(), "{text:?}");
    }
}
