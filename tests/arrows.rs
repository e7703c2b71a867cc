//! Which crate may know which: the arrows of the architecture, read from the manifests.
//!
//! A pure crate has no runtime, clock, thread, randomness or hash order in it, so what it may depend on is listed here by name:
//! a new dependency of a pure crate is a decision, and it is taken in this file.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use cargo_metadata::{DependencyKind, MetadataCommand};

#[test]
fn the_workspace_keeps_to_its_arrows() {
    assert_eq!(violations(&workspace()), Vec::<String>::new());
}

#[test]
fn the_whole_workspace_is_looked_at() {
    let names: BTreeSet<String> = workspace().into_iter().map(|package| package.name).collect();
    for name in [
        "proto",
        "index",
        "threads",
        "permissions",
        "ring",
        "members",
        "guild",
        "relay",
        "cluster",
        "log",
        "store",
        "transport",
        "sessions",
        "node",
        "tests",
    ] {
        assert!(names.contains(name), "{name} is missing from {names:?}");
    }
}

#[test]
fn an_arrow_that_is_not_drawn_is_found() {
    let ring = pure("ring").with("guildhall-members", DependencyKind::Normal);
    assert_eq!(violations(&[ring]), ["ring may not depend on members"]);
}

#[test]
fn a_build_script_is_held_to_the_same_arrows_but_a_test_is_not() {
    let relay = pure("relay").with("guildhall-guild", DependencyKind::Build);
    assert_eq!(violations(&[relay]), ["relay may not depend on guild"]);
    let relay = pure("relay").with("guildhall-guild", DependencyKind::Development);
    assert_eq!(violations(&[relay]), Vec::<String>::new());
}

#[test]
fn a_runtime_in_a_pure_crate_is_found() {
    for name in ["tokio", "rayon", "quinn", "parking_lot", "tracing", "rand", "time", "chrono", "arc-swap"] {
        let guild = pure("guild").with(name, DependencyKind::Normal);
        assert_eq!(violations(&[guild]), [format!("guild is pure and may not depend on {name}")]);
    }
    let ring = pure("ring").with("arc-swap", DependencyKind::Normal).with("thiserror", DependencyKind::Normal);
    assert_eq!(violations(&[ring]), Vec::<String>::new());
}

#[test]
fn a_codec_outside_its_module_is_found() {
    let node = shell("node").with("bincode", DependencyKind::Development);
    assert_eq!(violations(&[node]), ["node may not depend on bincode: proto alone does"]);
    let mut proto = pure("proto");
    proto.naming_bincode = vec![PathBuf::from("src/codec.rs"), PathBuf::from("src/ids.rs")];
    assert_eq!(violations(&[proto]), ["proto names bincode in src/ids.rs: only src/codec.rs may"]);
}

#[test]
fn a_crate_without_the_shared_lints_is_found() {
    let mut store = shell("store");
    store.has_shared_lints = false;
    assert_eq!(violations(&[store]), ["store lacks `[lints] workspace = true`"]);
}

#[test]
fn a_crate_that_repeats_the_shared_lints_may_lack_that_of_unsafe_alone() {
    let workspace = "[workspace.lints.rust]\nunsafe_code = \"forbid\"\none = 1\n\n[workspace.lints.clippy]\ntwo = 2\n\n[profile]\nthree = 3\n";
    assert!(repeats_lints("[lints.rust]\nunsafe_code = \"deny\"\none = 1\n[lints.clippy]\ntwo = 2\n", workspace));
    assert!(!repeats_lints("[lints.rust]\none = 1\n", workspace));
}

#[test]
fn a_pure_crate_without_its_bans_is_found() {
    let mut ring = pure("ring");
    ring.bans = BANS[1..].join("\n");
    assert_eq!(violations(&[ring]), [format!("ring is pure, but its clippy.toml does not ban {}", BANS[0])]);
}

#[test]
fn a_crate_that_nobody_drew_is_found() {
    assert_eq!(violations(&[shell("helper")]), ["helper is not in the table of arrows"]);
}

/// Who may depend on whom, by the last part of the package names. A crate that does not exist yet has its row already.
const ARROWS: &[(&str, &[&str])] = &[
    ("proto", &[]),
    ("index", &[]),
    ("threads", &[]),
    ("permissions", &["proto"]),
    ("ring", &["proto"]),
    ("members", &["permissions", "proto"]),
    ("guild", &["members", "permissions", "ring", "index", "proto"]),
    ("relay", &["permissions", "ring", "index", "proto"]),
    ("cluster", &["proto"]),
    ("log", &[]),
    ("store", &["log", "members", "cluster", "proto"]),
    ("transport", &["proto"]),
    ("sessions", &["relay", "permissions", "ring", "index", "proto"]),
    (
        "node",
        &[
            "guild",
            "members",
            "permissions",
            "ring",
            "relay",
            "sessions",
            "cluster",
            "store",
            "threads",
            "transport",
            "proto",
        ],
    ),
    ("client", &["relay", "sessions", "ring", "permissions", "cluster", "transport", "proto"]),
    ("gateway", &["client", "proto"]),
    ("console", &["proto"]),
    ("sim", &["proto", "permissions", "ring", "members", "guild", "relay", "cluster", "log", "store"]),
    ("cli", &["node", "gateway", "console", "client", "store", "log", "threads", "transport", "proto"]),
];

/// The one crate that may have `unsafe`, and so repeats the other shared lints.
const UNSAFE: &str = "guildhall-threads";

/// These look at everything from outside.
const FREE: &[&str] = &["tests", "benches"];

/// Each pure crate with all it may take from elsewhere.
const PURE: &[(&str, &[&str])] = &[
    ("proto", &["bincode", "bytes", "smol_str", "thiserror", "xxhash-rust"]),
    ("index", &[]),
    ("permissions", &["imbl", "thiserror"]),
    // One writer, many readers: the pointer swap is the seam between them; under `loom` its model stands in. The lock is that of the
    // keep-latest map, held for a put or a look.
    ("ring", &["arc-swap", "loom", "parking_lot", "thiserror"]),
    ("members", &["hashbrown", "imbl", "prefetch-index", "smallvec", "thiserror", "xxhash-rust"]),
    ("guild", &["thiserror"]),
    // The lock of a session's door, between the task that feeds the relay and the session's own: one byte, never held over a wait.
    // The signature of a session's secret: pure arithmetic, at which we would be worse.
    ("relay", &["hmac", "parking_lot", "sha2", "thiserror"]),
    ("cluster", &["imbl", "thiserror"]),
];

/// What the `clippy.toml` of a pure crate turns away at least.
const BANS: &[&str] = &[
    "std::time::Instant::now",
    "std::time::SystemTime::now",
    "std::thread::spawn",
    "std::thread::sleep",
    "tokio::spawn",
    "rayon::spawn",
    "std::collections::HashMap",
    "std::collections::HashSet",
    "std::hash::RandomState",
];

/// Of one package, what the rules look at.
struct Package {
    /// The last part of its name, which is its folder's.
    name: String,
    /// The packages it names, as they are called in the registry.
    dependencies: Vec<(String, DependencyKind)>,
    has_shared_lints: bool,
    /// The text of its `clippy.toml`, empty if it has none.
    bans: String,
    /// The source files in which the word `bincode` stands.
    naming_bincode: Vec<PathBuf>,
}

/// Every rule that the packages break, a sentence each.
fn violations(packages: &[Package]) -> Vec<String> {
    packages
        .iter()
        .flat_map(|package| arrows(package).into_iter().chain(purity(package)).chain(codec(package)))
        .collect()
}

fn arrows(package: &Package) -> Vec<String> {
    let name = &package.name;
    let mut broken = Vec::new();
    if !package.has_shared_lints {
        broken.push(format!("{name} lacks `[lints] workspace = true`"));
    }
    if FREE.contains(&name.as_str()) {
        return broken;
    }
    let Some(allowed) = row(ARROWS, name) else {
        broken.push(format!("{name} is not in the table of arrows"));
        return broken;
    };
    for target in package.shipped().filter_map(|dependency| dependency.strip_prefix(PREFIX)) {
        if !allowed.contains(&target) {
            broken.push(format!("{name} may not depend on {target}"));
        }
    }
    broken
}

fn purity(package: &Package) -> Vec<String> {
    let name = &package.name;
    let Some(allowed) = row(PURE, name) else {
        return Vec::new();
    };
    let foreign =
        package.shipped().filter(|dependency| !dependency.starts_with(PREFIX) && !allowed.contains(dependency));
    let unbanned = BANS.iter().filter(|ban| !package.bans.contains(*ban));
    foreign
        .map(|dependency| format!("{name} is pure and may not depend on {dependency}"))
        .chain(unbanned.map(|ban| format!("{name} is pure, but its clippy.toml does not ban {ban}")))
        .collect()
}

fn codec(package: &Package) -> Vec<String> {
    let name = &package.name;
    let mut broken = Vec::new();
    if name != "proto" && package.dependencies.iter().any(|(dependency, _)| dependency == "bincode") {
        broken.push(format!("{name} may not depend on bincode: proto alone does"));
    }
    let elsewhere = package.naming_bincode.iter().filter(|file| name != "proto" || **file != Path::new("src/codec.rs"));
    broken.extend(elsewhere.map(|file| format!("{name} names bincode in {}: only src/codec.rs may", file.display())));
    broken
}

fn row<'a>(table: &[(&str, &'a [&'a str])], name: &str) -> Option<&'a [&'a str]> {
    table.iter().find(|(row, _)| *row == name).map(|(_, allowed)| *allowed)
}

impl Package {
    /// What the package depends on when it is built, its tests apart.
    fn shipped(&self) -> impl Iterator<Item = &str> {
        let shipped = self.dependencies.iter().filter(|(_, kind)| *kind != DependencyKind::Development);
        shipped.map(|(name, _)| name.as_str())
    }

    fn with(mut self, dependency: &str, kind: DependencyKind) -> Self {
        self.dependencies.push((dependency.to_owned(), kind));
        self
    }
}

/// A package of the shell that breaks no rule.
fn shell(name: &str) -> Package {
    Package {
        name: name.to_owned(),
        dependencies: Vec::new(),
        has_shared_lints: true,
        bans: String::new(),
        naming_bincode: Vec::new(),
    }
}

/// A pure package that breaks no rule.
fn pure(name: &str) -> Package {
    Package { bans: BANS.join("\n"), ..shell(name) }
}

/// Every package of this workspace.
fn workspace() -> Vec<Package> {
    let metadata = MetadataCommand::new()
        .manifest_path(concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml"))
        .no_deps()
        .other_options(["--offline".to_owned()])
        .exec()
        .expect("the workspace that runs this test has metadata");
    metadata.packages.iter().map(package).collect()
}

fn package(package: &cargo_metadata::Package) -> Package {
    let manifest = package.manifest_path.as_std_path();
    let folder = manifest.parent().expect("a manifest lies in a folder");
    let dependencies = package.dependencies.iter().map(|dependency| (dependency.name.to_string(), dependency.kind));
    Package {
        name: package.name.strip_prefix(PREFIX).unwrap_or(&package.name).to_owned(),
        dependencies: dependencies.collect(),
        has_shared_lints: if package.name == UNSAFE {
            repeats_lints(&read(manifest), &read(Path::new(WORKSPACE)))
        } else {
            has_shared_lints(&read(manifest))
        },
        bans: fs::read_to_string(folder.join("clippy.toml")).unwrap_or_default(),
        naming_bincode: naming_bincode(folder, &folder.join("src")),
    }
}

/// Whether a manifest has each of the workspace's lints, but for that of `unsafe`.
fn repeats_lints(manifest: &str, workspace: &str) -> bool {
    let tables = workspace.split("\n[").filter(|table| table.starts_with("workspace.lints"));
    let mut lints = tables.flat_map(|table| table.lines().skip(1)).filter(|line| !line.is_empty());
    let own: Vec<&str> = manifest.lines().collect();
    lints.all(|lint| lint.starts_with("unsafe_code") || own.contains(&lint))
}

fn has_shared_lints(manifest: &str) -> bool {
    let mut lines = manifest.lines().skip_while(|line| *line != "[lints]").skip(1);
    lines.next() == Some("workspace = true")
}

fn naming_bincode(folder: &Path, within: &Path) -> Vec<PathBuf> {
    // Such a package has tests only.
    if !within.exists() {
        return Vec::new();
    }
    let mut found = Vec::new();
    for entry in fs::read_dir(within).expect("a source folder can be listed") {
        let path = entry.expect("a source folder can be listed").path();
        if path.is_dir() {
            found.extend(naming_bincode(folder, &path));
        } else if path.extension().is_some_and(|extension| extension == "rs") && read(&path).contains("bincode") {
            found.push(path.strip_prefix(folder).expect("what is found lies in the folder").to_owned());
        }
    }
    found.sort();
    found
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The workspace's manifest.
const WORKSPACE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml");
/// How the names of all packages of the workspace begin.
const PREFIX: &str = "guildhall-";
