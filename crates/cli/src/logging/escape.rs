//! Log lines without control characters.
//!
//! The formatters leave some through: the human one tabs, line ends and most of C0, the JSON one DEL and all of C1, which some
//! terminals obey as they do ESC. So whole lines are escaped once more.

use std::fmt::Write;

use super::Format;

/// Returns `line` with each control character but the line feed at its end escaped: as in Rust for people, as in JSON for programs.
pub(super) fn escape_controls(line: &[u8], format: Format) -> Vec<u8> {
    let line = String::from_utf8_lossy(line);
    let (line, end) = match line.strip_suffix('\n') {
        Some(line) => (line, "\n"),
        None => (&*line, ""),
    };
    let mut escaped = String::with_capacity(line.len() + end.len());
    for character in line.chars() {
        match (character.is_control(), format) {
            (false, Format::Human | Format::Json) => escaped.push(character),
            (true, Format::Human) => escaped.extend(character.escape_default()),
            // A control character in JSON stands in a string. All of them are below U+0100, so four digits do.
            (true, Format::Json) => {
                write!(escaped, "\\u{:04x}", u32::from(character)).expect("writing to a string cannot fail");
            }
        }
    }
    escaped.push_str(end);
    escaped.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_line_feed_at_the_end_stays() {
        let line = "a\u{1b}b\nc\u{9b}d\te\n".as_bytes();
        assert_eq!(escape_controls(line, Format::Human), b"a\\u{1b}b\\nc\\u{9b}d\\te\n");
        assert_eq!(escape_controls(line, Format::Json), b"a\\u001bb\\u000ac\\u009bd\\u0009e\n");
    }

    #[test]
    fn letters_beyond_ascii_stay() {
        assert_eq!(escape_controls("é \u{fffd}".as_bytes(), Format::Human), "é \u{fffd}".as_bytes());
    }
}
