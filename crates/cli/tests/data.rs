//! The built binary on directories of guilds: what a replay leaves in one, what is shown of it, refused, mended, saved and restored.

#![expect(clippy::unwrap_used, reason = "the helpers of a test fail as the test does")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

#[test]
fn a_replay_into_a_directory_counts_as_one_in_memory_and_is_gone_on_with() {
    let world = World::new();
    let in_memory = world.json(&["replay", "--irc", world.log(MONDAY), "--json"]);
    let stored = world.replay(MONDAY);
    for figure in ["lines", "messages", "deliveries", "members", "peak_online", "lost", "duplicated", "leaked", "late"]
    {
        assert_eq!(stored[figure], in_memory[figure], "{figure}");
    }
    assert_eq!(world.told(&["guild", "members", "--count"]), "3\n");

    // Once more: nobody is added, and all else is counted as it was.
    let again = world.replay(MONDAY);
    assert_eq!((&again["members"], &again["deliveries"]), (&stored["members"], &stored["deliveries"]));
    // One of these is new.
    assert_eq!(world.replay(TUESDAY)["members"], 4);
    assert_eq!(world.told(&["guild", "members", "--count"]), "4\n");
    let members = world.told(&["guild", "members", "--json"]);
    let nicks = members.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["nick"].clone());
    let mut nicks: Vec<Value> = nicks.collect();
    nicks.sort_by_key(ToString::to_string);
    assert_eq!(nicks, ["ada", "bob", "cy", "dan"]);
}

#[test]
fn a_directory_that_is_not_ours_is_refused_and_left_as_it_is() {
    let world = World::new();
    let refused = |args: &[&str], why: &str| {
        let output = world.run(args);
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.code() == Some(2) && stderr.contains(why), "{args:?}: {:?} {stderr}", output.status);
    };
    let monday = world.log(MONDAY);
    fs::create_dir(&world.data).unwrap();
    fs::write(world.data.join("thesis.tex"), "years of work").unwrap();
    refused(&["replay", "--irc", monday, "--data", world.data()], "not empty");
    refused(&["guild", "list", "--data", world.data()], "no data of Guildhall");
    assert_eq!(fs::read_dir(&world.data).unwrap().count(), 1);
    fs::remove_file(world.data.join("thesis.tex")).unwrap();

    world.replay(MONDAY);
    refused(&["guild", "show", "77", "--data", world.data()], "no guild 77");
    let identity = world.data.join("guildhall");
    let text = fs::read_to_string(&identity).unwrap();
    fs::write(&identity, text.replace("format 1", "format 9")).unwrap();
    for args in [&["replay", "--irc", monday][..], &["guild", "list"], &["log", "verify"]] {
        refused(&[args, &["--data", world.data()]].concat(), "format 9");
    }
    fs::write(&identity, text.replace("cluster ", "cluster 1")).unwrap();
    let output = world.run(&["guild", "list", "--data", world.data()]);
    assert_eq!(output.status.code(), Some(1), "it is ours, and damaged");
}

#[test]
fn a_guild_is_exported_whole() {
    let world = World::new();
    world.replay(MONDAY);
    let lines = world.told(&["guild", "export"]);
    assert_eq!(world.told(&["guild", "export", "--json"]), lines, "it is JSON anyway");
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let kinds: Vec<&str> = lines.iter().map(|line| line["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["guild", "role", "channel", "member", "member", "member"]);
    assert_eq!((&lines[0]["members"], &lines[0]["standing"]), (&Value::from(3), &Value::from("alive")));
    assert!(world.told(&["guild", "list"]).contains("3 members"));
    assert!(world.told(&["guild", "show"]).contains("members   3"));
    assert!(world.told(&["guild", "verify"]).contains("1 guilds: 0 damaged"));
}

#[test]
fn damage_is_told_with_its_place_and_cut_off_only_when_told() {
    let world = World::new();
    world.replay(MONDAY);
    world.replay(TUESDAY);
    let cat = world.told(&["log", "cat", "--json"]);
    let records: Vec<Value> = cat.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let epochs = |records: &[Value]| records.iter().filter_map(|record| record["epoch"].as_u64()).max().unwrap();
    let highest = epochs(&records);
    // The last claim: behind it stand what the second replay stored, and a mark, so it is no torn tail.
    let claim = records.iter().rfind(|record| record["kind"] == "claim").unwrap();
    let offset = claim["offset"].as_u64().unwrap();
    let file = world.data.join("records/000000000001.log");
    let mut bytes = fs::read(&file).unwrap();
    bytes[usize::try_from(offset).unwrap() + 20] ^= 1;
    fs::write(&file, &bytes).unwrap();

    let place = "records/000000000001.log: record";
    for args in [&["guild", "verify"][..], &["log", "verify"], &["log", "repair"]] {
        let output = world.run(&[args, &["--data", world.data()]].concat());
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.code() == Some(1), "{args:?}: {stderr}");
        assert!(stderr.contains(place) && stderr.contains(&format!("offset {offset}")), "{args:?}: {stderr}");
    }
    assert_eq!(fs::read(&file).unwrap(), bytes, "nobody said yes");

    let output = world.run(&["log", "repair", "--yes", "--data", world.data()]);
    assert!(String::from_utf8(output.stdout).unwrap().contains("lost"));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.contains("of 1 lost records or more it cannot be told whose they were"), "{stderr}");
    assert!(world.told(&["log", "verify"]).contains("not damaged"));
    // The checkpoint of the second replay was made when it ended, and has all of it: nothing is missing.
    assert_eq!(world.told(&["guild", "members", "--count"]), "4\n");
    world.replay(TUESDAY);
    let cat = world.told(&["log", "cat", "--json"]);
    let records: Vec<Value> = cat.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(epochs(&records) >= highest + (1 << 32), "the next epoch is above all that may have been given");
}

#[test]
fn a_backup_is_restored_elsewhere_under_higher_epochs_and_a_damaged_one_is_not() {
    let world = World::new();
    world.replay(MONDAY);
    let backup = world.dir.path().join("monday.backup");
    let path = backup.to_str().unwrap();
    world.told(&["backup", "--to", path]);
    assert_eq!(world.run(&["backup", "--to", path, "--data", world.data()]).status.code(), Some(2), "it is there");

    // What it is written as meanwhile is a name of its own, and not a user's.
    let (again, users) = (world.dir.path().join("again"), world.dir.path().join("again.unfinished"));
    fs::write(&users, "notes").unwrap();
    world.told(&["backup", "--to", again.to_str().unwrap()]);
    assert_eq!(
        (fs::read(&users).unwrap(), fs::read(&again).unwrap().len()),
        (b"notes".to_vec(), fs::read(&backup).unwrap().len())
    );
    let left = fs::read_dir(world.dir.path()).unwrap();
    let left = left.filter(|entry| entry.as_ref().unwrap().path().to_str().unwrap().ends_with(".unfinished"));
    assert_eq!(left.count(), 1);

    let other = World::new();
    other.told(&["restore", "--from", path]);
    let export =
        |world: &World| world.told(&["guild", "export"]).lines().skip(1).map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(export(&other), export(&world));
    assert_eq!(other.run(&["restore", "--from", path, "--data", other.data()]).status.code(), Some(2), "it has data");
    assert_eq!(other.replay(TUESDAY)["members"], 4);
    let show =
        |world: &World| world.json(&["guild", "list", "--data", world.data(), "--json"])["epoch"].as_u64().unwrap();
    assert!(show(&other) > show(&world) + (1 << 32));

    let mut bytes = fs::read(&backup).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&backup, bytes).unwrap();
    let third = World::new();
    let output = third.run(&["restore", "--from", path, "--data", third.data()]);
    assert_eq!(output.status.code(), Some(1));
    let listed = third.run(&["guild", "list", "--data", third.data()]);
    assert_eq!(listed.status.code(), Some(2), "nothing is there");
    let why = String::from_utf8(listed.stderr).unwrap();
    assert_eq!(why.matches("no data of Guildhall").count(), 1, "{why}");
    let letter = world.dir.path().join("letter");
    fs::write(&letter, "a letter").unwrap();
    let output = third.run(&["restore", "--from", letter.to_str().unwrap(), "--data", third.data()]);
    assert_eq!(output.status.code(), Some(2));
    // The one that failed is begun again.
    third.told(&["restore", "--from", again.to_str().unwrap()]);
    assert_eq!(export(&third), export(&world));
}

const MONDAY: &str =
    "[10:00] <ada> hello\n[10:01] <bob> hello\n=== cy [~cy@host] has joined #hall\n[10:02] <ada> bye\n";
const TUESDAY: &str = "[10:00] <ada> me again\n[10:01] <dan> and me\n[10:01] <ada> hello\n";

/// A place for logs and a directory of data.
struct World {
    dir: TempDir,
    data: PathBuf,
}

impl World {
    fn new() -> Self {
        let dir = TempDir::new().unwrap();
        Self { data: dir.path().join("data"), dir }
    }

    fn data(&self) -> &str {
        self.data.to_str().unwrap()
    }

    /// A chat log's file.
    fn log(&self, text: &str) -> &'static str {
        let path = self.dir.path().join(format!("{}.txt", text.len()));
        fs::write(&path, text).unwrap();
        String::leak(path.to_str().unwrap().to_owned())
    }

    fn replay(&self, text: &str) -> Value {
        self.json(&["replay", "--irc", self.log(text), "--data", self.data(), "--json"])
    }

    fn json(&self, args: &[&str]) -> Value {
        serde_json::from_str(&self.succeed(args)).unwrap()
    }

    /// What a command says of the directory.
    fn told(&self, args: &[&str]) -> String {
        self.succeed(&[args, &["--data", self.data()]].concat())
    }

    fn succeed(&self, args: &[&str]) -> String {
        let output = self.run(args);
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    fn run(&self, args: &[&str]) -> Output {
        let binary = Path::new(env!("CARGO_BIN_EXE_guildhall"));
        Command::new(binary).args(args).stdin(Stdio::null()).output().unwrap()
    }
}
