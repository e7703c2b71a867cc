//! The built binary makes an authority and certificates: files that are whole, for their owner alone, and never written over.

#![expect(clippy::unwrap_used, reason = "the helpers of a test fail as the test does")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use guildhall_proto::Millis;
use guildhall_transport::Credentials;
use guildhall_transport::pki::{Authority, Validity};
use serde_json::Value;
use tempfile::TempDir;

#[test]
fn certificates_are_issued_for_who_is_named_and_tell_their_end() {
    let world = World::new();
    let authority = world.json(&["init", "--cluster", "main", "--to", "@authority", "--json"]);
    assert_eq!((&authority["subject"], &authority["standing"]), (&"spiffe://main".into(), &"good".into()));
    let issued = world.json(&[
        "issue",
        "backend",
        "chat-1",
        "--authority",
        "@authority",
        "--to",
        "@chat",
        "--days",
        "30",
        "--json",
    ]);
    assert_eq!(issued["subject"], "spiffe://main/backend/chat-1");
    assert!((29..=30).contains(&issued["days_left"].as_u64().unwrap()), "{issued}");
    assert_eq!(world.json(&["show", "@chat", "--json"]), issued);
    assert_eq!(world.json(&["show", "@authority", "--json"]), authority);

    let file = |name: &str| fs::read(world.path("@chat").join(name)).unwrap();
    let [certificate, key, by] = ["certificate.pem", "key.pem", "authority.pem"].map(file);
    let credentials = Credentials::from_pem(&certificate, &key, &by).unwrap();
    assert_eq!(credentials.identity().to_string(), "spiffe://main/backend/chat-1");
}

#[test]
fn files_are_for_their_owner_alone_and_nothing_else_is_left() {
    let world = World::new();
    world.json(&["init", "--cluster", "main", "--to", "@authority", "--json"]);
    world.json(&["issue", "observer", "o", "--authority", "@authority", "--to", "@o", "--json"]);
    let (dir, authority, observer) = (world.dir.path(), world.path("@authority"), world.path("@o"));
    for (dir, names) in [
        (dir, &["authority", "o"][..]),
        (&authority, &["authority.key", "authority.pem"]),
        (&observer, &["authority.pem", "certificate.pem", "key.pem"]),
    ] {
        let mut found: Vec<PathBuf> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
        found.sort();
        assert_eq!(found, names.iter().map(|name| dir.join(name)).collect::<Vec<_>>());
        for path in found {
            let mode = fs::metadata(&path).unwrap().permissions().mode() & 0o777;
            assert_eq!(mode, if path.is_dir() { 0o700 } else { 0o600 }, "{path:?}");
        }
    }
}

#[test]
fn what_is_there_is_not_written_over() {
    let world = World::new();
    let init = ["init", "--cluster", "main", "--to", "@authority"];
    let issue = ["issue", "operator", "ada", "--authority", "@authority", "--to", "@ada"];
    world.json(&[&init[..], &["--json"]].concat());
    world.json(&[&issue[..], &["--json"]].concat());
    let before = world.contents();
    world.refused(&init, "authority is there already");
    world.refused(&issue, "ada is there already");
    let onto_a_file = ["issue", "operator", "ada", "--authority", "@authority", "--to", "@ada/key.pem"];
    world.refused(&onto_a_file, "key.pem is there already");
    assert_eq!(world.contents(), before);
}

#[test]
fn nobody_is_issued_what_others_would_refuse() {
    let world = World::new();
    world.json(&["init", "--cluster", "main", "--to", "@authority", "--days", "10", "--json"]);
    let issue = |role, name, days| ["issue", role, name, "--authority", "@authority", "--to", "@new", "--days", days];
    world.refused(&issue("backend", "a", "11"), "would outlive the authority");
    world.refused(&issue("admin", "a", "1"), "admin");
    world.refused(&issue("backend", "A b", "1"), "A b");
    world.refused(&issue("backend", "a", "0"), "0");
    world.refused(&["issue", "backend", "a", "--authority", "@nowhere", "--to", "@new"], "nowhere");
    assert!(!world.path("@new").exists());
    world.json(&["issue", "backend", "a", "--authority", "@authority", "--to", "@new", "--days", "9", "--json"]);
    // Who is not an authority issues nothing.
    fs::copy(world.path("@new/certificate.pem"), world.path("@new/authority.pem")).unwrap();
    fs::copy(world.path("@new/key.pem"), world.path("@new/authority.key")).unwrap();
    world.refused(&["issue", "backend", "b", "--authority", "@new", "--to", "@newer"], "not an authority's");
}

#[test]
fn what_has_expired_is_told_as_a_failure() {
    let world = World::new();
    let validity = Validity { from: Millis(1_000_000_000_000), lifetime: Duration::from_secs(86_400) };
    let (_, issued) = Authority::create("old".parse().unwrap(), validity).unwrap();
    fs::write(world.path("@old.pem"), issued.certificate).unwrap();
    let output = world.run(&["show", "@old.pem"]);
    let told = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.code() == Some(1) && told.contains("2001-09-10T01:46:40Z, expired, 0 days left"), "{told}");
}

struct World {
    dir: TempDir,
}

impl World {
    fn new() -> Self {
        Self { dir: TempDir::new().unwrap() }
    }

    /// A path below the world's directory, for an argument that begins with `@`.
    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name.trim_start_matches('@'))
    }

    fn json(&self, args: &[&str]) -> Value {
        let output = self.run(args);
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    fn refused(&self, args: &[&str], why: &str) {
        let output = self.run(args);
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(2) && told.contains(why), "{args:?}: {:?} {told}", output.status);
    }

    fn run(&self, args: &[&str]) -> Output {
        let args = args.iter().map(|arg| if arg.starts_with('@') { self.path(arg) } else { PathBuf::from(arg) });
        let binary = Path::new(env!("CARGO_BIN_EXE_guildhall"));
        Command::new(binary).arg("pki").args(args).stdin(Stdio::null()).output().unwrap()
    }

    /// All files with what is in them.
    fn contents(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let dirs = fs::read_dir(self.dir.path()).unwrap().map(|entry| entry.unwrap().path());
        let files = dirs.flat_map(|dir| fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()));
        let mut files: Vec<_> = files.map(|path| (path.clone(), fs::read(path).unwrap())).collect();
        files.sort();
        files
    }
}
