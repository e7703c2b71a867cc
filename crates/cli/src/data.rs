//! Directories of guilds' data, as commands take them: made, opened to be written, or looked at as they are.

mod error;
mod running;

use std::ffi::OsString;
use std::fs;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use guildhall_proto::{GuildId, NodeId};
use guildhall_store::{Alone, Directory, EmbeddedConfig, EmbeddedStore, Identity, IdentityError, Inspection};

pub(crate) use error::DataError;
pub(crate) use running::Running;

/// Opens a directory's store to be written, and starts its writers. A directory that is not there, or in which nothing was ever stored,
/// becomes one of `cluster`.
///
/// # Errors
/// [`DataError`] if the directory is not ours to write; anything else if its store cannot be opened.
pub(crate) fn open(path: &Path, cluster: u128, config: &EmbeddedConfig) -> anyhow::Result<Running> {
    open_in(path, make(path)?, cluster, config)
}

/// As [`open`]; a directory that is made is this node's.
pub(crate) fn open_as(path: &Path, cluster: u128, node: NodeId, config: &EmbeddedConfig) -> anyhow::Result<Running> {
    open_locked(path, make(path)?, cluster, node, config)
}

/// As [`open`], in a directory that is locked. `path` is only told.
pub(crate) fn open_in(
    path: &Path,
    directory: Directory,
    cluster: u128,
    config: &EmbeddedConfig,
) -> anyhow::Result<Running> {
    open_locked(path, directory, cluster, NodeId::new(NODE)?, config)
}

fn open_locked(
    path: &Path,
    directory: Directory,
    cluster: u128,
    node: NodeId,
    config: &EmbeddedConfig,
) -> anyhow::Result<Running> {
    match found(path, &directory)? {
        Some(Identity { cluster: found, .. }) if found != cluster => {
            return Err(DataError::Cluster { path: path.into(), found, expected: cluster }.into());
        }
        Some(_) => {}
        None => {
            let identity = Identity::new(cluster, node, random()?);
            let created = EmbeddedStore::create(&directory, &identity, config);
            created.map_err(|error| DataError::opening(path, error))?;
        }
    }
    Running::open(path, directory, config.clone())
}

/// Whose a directory is that is locked; `None` if it holds no data, or what was begun in it was never finished.
///
/// # Errors
/// [`DataError`] for another format; anything else if it cannot be told.
pub(crate) fn found(path: &Path, directory: &Directory) -> anyhow::Result<Option<Identity>> {
    match directory.identity() {
        Ok(identity) => Ok(Some(identity)),
        Err(IdentityError::Missing | IdentityError::Unfinished) => Ok(None),
        Err(error) => Err(DataError::opening(path, error.into())),
    }
}

/// Locks a directory that a store may be made in: one that is not there, is empty, or was made by us.
///
/// # Errors
/// [`DataError`].
pub(crate) fn make(path: &Path) -> Result<Directory, DataError> {
    match fs::read_dir(path) {
        Ok(entries) => {
            let names: io::Result<Vec<_>> = entries.map(|entry| entry.map(|entry| entry.file_name())).collect();
            let names = names.map_err(|source| DataError::Unreadable { path: path.into(), source })?;
            // What a start leaves that was broken off before anything could be stored.
            let is_begun = |name: &OsString| match name.to_str() {
                Some("guildhall.new") => is_of_an_identity(&path.join(name)),
                Some("records" | "checkpoints") => is_of_a_log(&path.join(name)),
                Some(_) | None => false,
            };
            // A damaged one has its logs beside it.
            let has = |wanted: &str| names.iter().any(|name| name == wanted);
            let is_ours = has("guildhall")
                && (is_of_an_identity(&path.join("guildhall")) || has("records") && has("checkpoints"));
            if !is_ours && !names.iter().all(is_begun) {
                return Err(DataError::Foreign { path: path.into() });
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(source) => return Err(DataError::Unreadable { path: path.into(), source }),
    }
    Ok(Directory::make(path)?)
}

/// Whether a file begins as one does that tells whose a directory is.
fn is_of_an_identity(path: &Path) -> bool {
    let read = |mut file: fs::File| {
        let mut begin = Vec::new();
        file.by_ref().take(64).read_to_end(&mut begin)?;
        io::Result::Ok(begin)
    };
    fs::File::open(path).and_then(read).is_ok_and(|begin| Identity::may_begin(&begin))
}

/// Whether a folder has nothing in it but what a log may have.
fn is_of_a_log(path: &Path) -> bool {
    let is_segment = |name: &str| {
        let is_numbered =
            |(number, _): (&str, &str)| number.len() == 12 && number.bytes().all(|digit| digit.is_ascii_digit());
        name == "spare.log" || name.split_once(".log").is_some_and(is_numbered)
    };
    let is_ours = |entry: fs::DirEntry| entry.file_name().to_str().is_some_and(is_segment);
    fs::read_dir(path).is_ok_and(|mut entries| entries.all(|entry| entry.is_ok_and(is_ours)))
}

/// Looks at the store of a directory that no process has open. Changes nothing of what is stored.
///
/// # Errors
/// [`DataError`] if there is none, or another process has it; anything else if it cannot be read.
pub(crate) fn inspect(path: &Path) -> anyhow::Result<Inspection> {
    let directory = Directory::look(path).map_err(DataError::from)?;
    Inspection::open(directory, Arc::new(Alone)).map_err(|error| DataError::opening(path, error))
}

/// The guild that was asked for: by its id, or as the only one there is.
///
/// # Errors
/// [`DataError::UnknownGuild`], [`DataError::WhichGuild`].
pub(crate) fn choose(path: &Path, guilds: &[GuildId], asked: Option<GuildId>) -> Result<GuildId, DataError> {
    match (asked, guilds) {
        (Some(guild), guilds) if guilds.contains(&guild) => Ok(guild),
        (Some(guild), _) => Err(DataError::UnknownGuild { path: path.into(), guild }),
        (None, [guild]) => Ok(*guild),
        (None, guilds) => Err(DataError::WhichGuild { path: path.into(), guilds: guilds.len() }),
    }
}

/// What nobody else has: for the names of a new directory's logs.
///
/// # Errors
/// If the system has no randomness.
pub(crate) fn random() -> anyhow::Result<[u8; 40]> {
    let mut bytes = [0; 40];
    getrandom::fill(&mut bytes).context("the system gives no randomness")?;
    Ok(bytes)
}

/// The node that a directory made by a command belongs to: the only one of its cluster.
pub(crate) const NODE: u64 = 1;

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::PathBuf;

    use guildhall_proto::Grant;
    use guildhall_store::Store;

    use super::*;

    const CLUSTER: u128 = 7;

    #[test]
    fn a_directory_is_made_once_and_then_only_its_own_cluster_may_write_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("new");
        let config = EmbeddedConfig::default();
        open(&path, CLUSTER, &config).unwrap().close().unwrap();
        open(&path, CLUSTER, &config).unwrap().close().unwrap();
        // Under another configuration the segments that are kept ahead would be made anew.
        let (before, config) = (contents(&path), EmbeddedConfig { segment_bytes: 64 * 1024, ..config });
        let error = open(&path, CLUSTER + 1, &config).unwrap_err();
        assert!(matches!(error.downcast_ref(), Some(DataError::Cluster { found: CLUSTER, .. })), "{error}");
        assert!(contents(&path) == before, "not a byte of it is changed");
        open(&path, CLUSTER, &config).unwrap().close().unwrap();
        assert!(contents(&path) != before);
    }

    /// The files in a directory and those under it, with what is in them.
    fn contents(path: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
        let entries = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path());
        let files = entries.flat_map(|path| match path.is_dir() {
            true => contents(&path).into_iter().collect(),
            false => vec![(path.clone(), fs::read(&path).unwrap())],
        });
        files.collect()
    }

    #[test]
    fn a_directory_with_other_files_in_it_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("thesis.tex"), "years of work").unwrap();
        let error = open(dir.path(), CLUSTER, &EmbeddedConfig::default()).unwrap_err();
        assert!(matches!(error.downcast_ref(), Some(DataError::Foreign { .. })), "{error}");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_folder_that_is_named_as_one_of_ours_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("checkpoints")).unwrap();
        fs::write(dir.path().join("checkpoints/epoch-7.pt"), "weeks of training").unwrap();
        let error = open(dir.path(), CLUSTER, &EmbeddedConfig::default()).unwrap_err();
        assert!(matches!(error.downcast_ref(), Some(DataError::Foreign { .. })), "{error}");
        assert_eq!(contents(dir.path()).len(), 1);
        assert!(!dir.path().join("records").exists());
    }

    #[test]
    fn files_that_are_named_as_ours_are_left_alone() {
        for name in ["guildhall", "guildhall.new", "records/2024.log"] {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, "a whole year").unwrap();
            let before = contents(dir.path());
            let error = open(dir.path(), CLUSTER, &EmbeddedConfig::default()).unwrap_err();
            assert!(matches!(error.downcast_ref(), Some(DataError::Foreign { .. })), "{name}: {error}");
            assert!(contents(dir.path()) == before && !dir.path().join("checkpoints").exists(), "{name}");
        }
    }

    #[test]
    fn a_directory_that_has_lost_its_identity_is_not_given_another() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("data");
        let config = EmbeddedConfig { segment_bytes: 64 * 1024, ..EmbeddedConfig::default() };
        let running = open(&path, CLUSTER, &config).unwrap();
        let store = Arc::clone(running.store());
        drop(store.claim(GuildId::MIN, Grant(1)).unwrap());
        drop(store);
        running.close().unwrap();
        let identity = fs::read(path.join("guildhall")).unwrap();
        fs::remove_file(path.join("guildhall")).unwrap();
        let error = format!("{:#}", open(&path, CLUSTER, &config).unwrap_err());
        assert!(error.contains("there is a log already: 000000000001.log"), "{error}");
        fs::write(path.join("guildhall"), identity).unwrap();
        open(&path, CLUSTER, &config).unwrap().close().unwrap();
    }

    #[test]
    fn a_start_that_was_broken_off_is_begun_again() {
        let dir = tempfile::tempdir().unwrap();
        drop(Directory::make(dir.path()).unwrap());
        open(dir.path(), CLUSTER, &EmbeddedConfig::default()).unwrap().close().unwrap();
    }

    #[test]
    fn a_directory_in_use_and_one_without_data_are_told_apart() {
        let dir = tempfile::tempdir().unwrap();
        let is_in = |error: anyhow::Error, text: &str| assert!(error.to_string().contains(text), "{error}");
        is_in(inspect(dir.path()).unwrap_err(), "no data of Guildhall");
        let running = open(dir.path(), CLUSTER, &EmbeddedConfig::default()).unwrap();
        is_in(inspect(dir.path()).unwrap_err(), "in use");
        running.close().unwrap();
        assert_eq!(inspect(dir.path()).unwrap().guilds(), []);
    }

    #[test]
    fn a_guild_must_be_named_if_there_are_several() {
        let [one, two, three] = [1, 2, 3].map(|id| GuildId::new(id).unwrap());
        let path = Path::new("data");
        assert_eq!(choose(path, &[one], None).unwrap(), one);
        assert_eq!(choose(path, &[one, two], Some(two)).unwrap(), two);
        assert!(matches!(choose(path, &[one, two], None), Err(DataError::WhichGuild { guilds: 2, .. })));
        assert!(matches!(choose(path, &[], None), Err(DataError::WhichGuild { guilds: 0, .. })));
        assert!(matches!(choose(path, &[one], Some(three)), Err(DataError::UnknownGuild { .. })));
    }
}
