//! The built binary, replaying logs: the figures it reports, what it refuses, and its exit codes.

#![expect(clippy::unwrap_used, reason = "the helpers of a test fail as the test does")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Value, json};
use tempfile::TempDir;

/// The keys whose values follow from the logs alone, in the order in which they are printed.
const FIGURES: [&str; 14] = [
    "files",
    "lines",
    "messages",
    "joins",
    "leaves",
    "renames",
    "skipped",
    "deliveries",
    "members",
    "peak_online",
    "lost",
    "duplicated",
    "reordered",
    "leaked",
];

#[test]
fn a_small_log_is_delivered_as_counted_by_hand() {
    let logs = Logs::new();
    // Who is online after each line, and how many others hear it, stand behind it.
    let first = logs.file(
        "2020-01-01.txt",
        b"\
        === ada [~ada@host] has joined #hall\n\
        [10:00] <ada> alone\n\
        \n\
        [10:01] <bob> comes by speaking\n\
        [10:01] <[cy] > a nick with a space, not the one without\n\
        [10:02] <[cy]> so this is somebody else\n\
        === ada [~ada@host] has joined #hall\n\
        [10:02] <ada>\n\
        === bob [~bob@host] has left #hall []\n\
        === bob [~bob@host] has quit [twice]\n\
        [10:03] <ada> \xff\xfe not UTF-8\n\
        === bob is now known as ada\n\
        === ada is now known as eve\n\
        [10:04] <eve> after a rename\r\n\
        \r\n\
        [10:05] * eve waves\n\
        [10:06] <bob> back again",
    );
    // ada -; ada 0; bob 1; [cy] 2; [cy] 3 of 4 online; ada again: nothing; ada 3; bob gone; again: nothing; ada 2;
    // bob, offline, becomes ada, online: nothing; ada becomes eve; eve 2; 2 skipped; bob comes back, the 4th: 3.
    let second = logs.file("2020-01-02.txt", b"[00:00] <eve> a new day, nobody here\n[00:01] <ada> but me\n");
    // Everybody went offline with the first file: eve 0; ada 1.
    let report = replay(&[&second, &first]);
    assert_eq!(
        figures(&report),
        json!({
            "files": 2, "lines": 18, "messages": 10, "joins": 2, "leaves": 2, "renames": 2, "skipped": 2,
            "deliveries": 1 + 2 + 3 + 3 + 2 + 2 + 3 + 1, "members": 5, "peak_online": 4,
            "lost": 0, "duplicated": 0, "reordered": 0, "leaked": 0,
        })
    );
}

#[test]
fn the_sample_is_delivered_as_the_readme_says() {
    let report = replay(&[&repository().join("ops/sample/irc.txt")]);
    assert_eq!(
        figures(&report),
        json!({
            "files": 1, "lines": 65, "messages": 48, "joins": 7, "leaves": 3, "renames": 3, "skipped": 4,
            "deliveries": 151, "members": 7, "peak_online": 5,
            "lost": 0, "duplicated": 0, "reordered": 0, "leaked": 0,
        })
    );
}

#[test]
fn real_days_of_a_busy_channel_are_delivered_exactly() {
    let folder = repository().join("../shared/data/ubuntu-irc");
    if !folder.is_dir() {
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "{folder:?} must be there on the build machine");
        println!("skipped: {folder:?} is absent");
        return;
    }
    let logs: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    let report = replay(&logs.iter().map(PathBuf::as_path).collect::<Vec<_>>());
    // Counted independently: the README of the data.
    assert_eq!(
        figures(&report),
        json!({
            "files": 102, "lines": 146_343, "messages": 129_970, "joins": 10_708, "leaves": 1_748, "renames": 2_914,
            "skipped": 1_003, "deliveries": 13_295_704, "members": 16_998, "peak_online": 346,
            "lost": 0, "duplicated": 0, "reordered": 0, "leaked": 0,
        })
    );
}

#[test]
fn a_log_larger_than_any_ring_loses_nothing() {
    let logs = Logs::new();
    // 40 MB of text, to 3 listeners: the replay has to wait for them.
    let text = "x".repeat(40_000);
    let mut log = String::from("[00:00] <a> \n[00:00] <b> \n[00:00] <c> \n[00:00] <d> \n");
    for _ in 0..1_000 {
        log.push_str(&format!("[00:01] <a> {text}\n"));
    }
    let report = replay(&[&logs.file("long.txt", log.as_bytes())]);
    assert_eq!((&report["deliveries"], &report["lost"]), (&json!(1 + 2 + 3 + 3_000), &json!(0)));
}

#[test]
fn a_log_in_which_nobody_appears_makes_no_guild() {
    let logs = Logs::new();
    let report = replay(&[&logs.file("notices.txt", b"nothing of a chat\n\n=== bob [~bob@host] has quit []\n")]);
    assert_eq!((&report["lines"], &report["skipped"], &report["members"]), (&json!(2), &json!(1), &json!(0)));
}

#[test]
fn without_json_people_get_a_table() {
    let logs = Logs::new();
    let output =
        run(&["replay".as_ref(), "--irc".as_ref(), &logs.file("a.txt", b"[10:00] <ada> hi\n[10:00] <bob> hi\n")]);
    let table = String::from_utf8(output.stdout).unwrap();
    assert!(table.contains("deliveries                        1\n"), "{table}");
    assert!(table.ends_with("Every session heard exactly what it had to, in order.\n"), "{table}");
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn bad_logs_are_refused_with_what_is_wrong_and_where() {
    let logs = Logs::new();
    let good = logs.file("good.txt", b"[10:00] <ada> hi\n");
    let huge = logs.file("huge.txt", b"x");
    fs::File::options().write(true).open(&huge).unwrap().set_len((1 << 30) + 1).unwrap();
    let long_nick = format!("\n[10:00] <{}> hi\n", "n".repeat(33));
    let long_text = format!("[10:00] <ada> {}\n", "x".repeat(64 * 1024));
    for (bad, said) in [
        (logs.folder.path().join("absent\u{1b}[31m.txt"), "absent\\u{1b}[31m.txt\" does not exist"),
        (logs.folder.path().to_owned(), "is not a file"),
        (logs.file("empty.txt", b""), "empty.txt\" is empty"),
        (logs.file("nul.txt", b"[10:00] <ada> \0"), "nul.txt\" is no text: a NUL byte stands at byte 14"),
        (huge, "huge.txt\" has more than 1073741824 bytes"),
        (logs.file("nick.txt", long_nick.as_bytes()), "nick.txt\", line 2: \"nnn"),
        (logs.file("blank.txt", b"[10:00] < > hi"), "line 1: \" \" cannot be a member: a nick may not be blank"),
        (logs.file("bell.txt", b"[10:00] <a\x07> hi"), "\"a\\u{7}\" cannot be a member"),
        (
            logs.file("text.txt", long_text.as_bytes()),
            "the text is too long for a message: a payload of 65560 bytes; at most",
        ),
    ] {
        let output = run(&["replay".as_ref(), "--json".as_ref(), "--irc".as_ref(), &good, &bad]);
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{bad:?}: {stderr}");
        assert!(stderr.contains(said), "{bad:?}: {stderr}");
        assert!(!stderr.trim_end().contains(char::is_control), "{bad:?}: {stderr:?}");
        assert_eq!(output.stdout, b"", "{bad:?}");
    }
}

#[test]
fn help_teaches_and_the_version_is_told() {
    for args in [&["--help"][..], &["replay", "--help"], &["help", "replay"], &["completions", "--help"]] {
        let help = String::from_utf8(succeed(args).stdout).unwrap();
        assert!(help.contains("Examples:"), "{args:?}: {help}");
    }
    let help = String::from_utf8(succeed(&["replay", "--help"]).stdout).unwrap();
    for told in FIGURES.iter().chain(&["Exit codes:", "1 GiB", "--json", "--log <FORMAT>"]) {
        assert!(help.contains(told), "{told}: {help}");
    }
    assert!(succeed(&["--version"]).stdout.starts_with(b"guildhall "));
}

#[test]
fn completions_are_printed_for_every_shell() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let script = String::from_utf8(succeed(&["completions", shell]).stdout).unwrap();
        assert!(script.contains("guildhall") && script.contains("replay"), "{shell}");
    }
}

#[test]
fn log_lines_are_json_if_asked_for_and_never_on_standard_output() {
    let logs = Logs::new();
    let log = logs.file("a\u{1b}b.txt", b"[10:00] <ada> hi\n");
    let flags = ["--log", "json", "--log-level", "info", "replay", "--json", "--irc"];
    let output = run(&flags.map(Path::new).iter().copied().chain([log.as_path()]).collect::<Vec<_>>());
    let stderr = String::from_utf8(output.stderr).unwrap();
    let lines: Vec<Value> = stderr.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(lines.iter().any(|line| line["message"] == "file replayed"), "{stderr}");
    assert!(!stderr.contains('\u{1b}'), "{stderr:?}");
    serde_json::from_slice::<Value>(&output.stdout).unwrap();
}

/// A folder of logs, gone with the test.
struct Logs {
    folder: TempDir,
}

impl Logs {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn file(&self, name: &str, content: &[u8]) -> PathBuf {
        let path = self.folder.path().join(name);
        fs::write(&path, content).unwrap();
        path
    }
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn run(args: &[&Path]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_guildhall")).args(args).output().unwrap()
}

fn succeed(args: &[&str]) -> Output {
    let output = run(&args.iter().map(Path::new).collect::<Vec<_>>());
    assert_eq!(output.status.code(), Some(0), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    output
}

/// Replays logs and returns the report; every check must have passed.
fn replay(logs: &[&Path]) -> Value {
    let output = run(&["replay", "--json", "--irc"].map(Path::new).iter().chain(logs).copied().collect::<Vec<_>>());
    let (stdout, stderr) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert_eq!((output.status.code(), stderr.as_str()), (Some(0), ""), "{stdout}");
    let report: Value = serde_json::from_str(&stdout).unwrap();
    assert!(report["seconds"].as_f64().unwrap() > 0.0, "{stdout}");
    report
}

/// The part of a report that follows from the logs.
fn figures(report: &Value) -> Value {
    FIGURES.iter().map(|&key| (key.to_owned(), report[key].clone())).collect::<serde_json::Map<_, _>>().into()
}
