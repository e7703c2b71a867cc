//! The peers: other systems doing the same work on the same machine, started by `benches/peers/run`.
//!
//! That prints one JSON object a line for each of its rows. Where it is missing, or fails, the table goes without.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::row::PeerFigure;

/// Runs these rows of the peers.
///
/// # Errors
/// What was wrong, in words: the script is missing, does not start, fails, or says something else than agreed.
pub fn run(names: &[&str], quick: bool) -> Result<Vec<PeerFigure>, String> {
    let script = script();
    if !script.is_file() {
        return Err(format!("there is no {}", script.display()));
    }
    let mut command = Command::new(&script);
    command.args(names).args(quick.then_some("--quick")).stdin(Stdio::null()).stderr(Stdio::inherit());
    let output = command.output().map_err(|error| format!("{} does not start: {error}", script.display()))?;
    if !output.status.success() {
        return Err(format!("{} {}: {}", script.display(), names.join(" "), output.status));
    }
    parse(&String::from_utf8_lossy(&output.stdout), names)
}

/// Reads what the peers print: a figure a line, each of the rows asked for once.
///
/// # Errors
/// Which line is not as agreed, or which row is missing.
pub fn parse(text: &str, names: &[&str]) -> Result<Vec<PeerFigure>, String> {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let mut figures = Vec::new();
    for line in lines {
        let figure: PeerFigure = serde_json::from_str(line).map_err(|error| format!("{line:?}: {error}"))?;
        if !names.contains(&figure.name.as_str()) {
            return Err(format!("{:?} was not asked for", figure.name));
        }
        if !(figure.value.is_finite() && figure.value > 0.0) {
            return Err(format!("{:?} is said to be {}", figure.name, figure.value));
        }
        figures.push(figure);
    }
    match names.iter().find(|name| figures.iter().filter(|figure| figure.name == **name).count() != 1) {
        Some(name) => Err(format!("{name:?} is not there once")),
        None => Ok(figures),
    }
}

fn script() -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "peers", "run"].iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::row::Unit;

    const CALL: &str = r#"{"name": "call", "value": 1900, "unit": "ns", "what": "GenServer.call"}"#;

    #[test]
    fn a_line_is_a_figure() {
        let figures = parse(&format!("\n{CALL}\n"), &["call"]).unwrap();
        let call = PeerFigure {
            name: String::from("call"),
            value: 1_900.0,
            unit: Unit::Ns,
            what: String::from("GenServer.call"),
            quiet: None,
        };
        assert_eq!(figures, [call]);
        let in_slices = CALL.replace('}', r#", "quiet": 7}"#);
        assert_eq!(parse(&in_slices, &["call"]).unwrap()[0].quiet, Some(7));
    }

    #[test]
    fn what_is_not_as_agreed_is_told() {
        let refused = |text: &str, names: &[&str]| parse(text, names).unwrap_err();
        assert!(refused("starting…", &["call"]).starts_with("\"starting…\""));
        assert!(refused(r#"{"name": "call", "value": 1, "unit": "hours"}"#, &["call"]).contains("hours"));
        assert!(refused(r#"{"name": "call", "value": 0, "unit": "ns"}"#, &["call"]).ends_with("is said to be 0"));
        assert_eq!(refused(CALL, &["member_read"]), "\"call\" was not asked for");
        assert_eq!(refused(CALL, &["call", "member_read"]), "\"member_read\" is not there once");
        assert_eq!(refused(&format!("{CALL}\n{CALL}"), &["call"]), "\"call\" is not there once");
    }
}
