//! The keys of sessions' secrets, in a file of the data directory: a session may come back whose node was started anew meanwhile.
//!
//! A key has three times. It is told to backends as the one that signs next, for longer than any of them goes without asking; so whatever one signs
//! with it then, all others take. Then it signs. Then it is taken for as long as what it has signed may be good, and longer. At any time there are two
//! at most. Whoever has the file can come back as any session: it is its owner's alone, and in no backup.
//!
//! For how long a secret is good that a backend signs is the backend's to say; one that promises longer than a key is taken is refused before its time.
//!
//! These are the keys of one node. Several nodes of a cluster must have the same, or what is signed with the keys of one is not taken by whoever has
//! asked another.

use std::convert::Infallible;
use std::fmt;
use std::fs::{self, File};
use std::future::pending;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use guildhall_node::{SecretKey, SecretKeys};
use guildhall_proto::Millis;
use guildhall_transport::pki;
use serde::{Deserialize, Serialize};
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use crate::data;
use crate::input::InputError;

/// When keys rotate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct KeysConfig {
    /// How long a key signs before the next one is told; zero for ever.
    pub(super) sign_for: Duration,
}

/// The keys as they lie in the file, which nobody else writes.
#[derive(Debug)]
pub(super) struct Keyring {
    dir: PathBuf,
    config: KeysConfig,
    written: Written,
    /// Since when backends can have been told of them by this process.
    told_since: Millis,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    /// The one that signs.
    current: Key,
    /// The one that signed before; not beside `next`.
    previous: Option<Key>,
    /// The one that signs next.
    #[serde(default)]
    next: Option<Key>,
}

#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Key {
    number: u32,
    /// When it was made, or, once it signs, since when; in milliseconds since 1970.
    made_at: u64,
    /// Two digits a byte.
    key: String,
}

impl KeysConfig {
    /// # Errors
    /// Why it cannot be so.
    pub(super) fn check(self) -> Result<(), String> {
        // The one before is left out when the next one is told.
        let least = SECRETS_GOOD_FOR.saturating_add(TOLD_FOR).as_secs();
        if self.sign_for.is_zero() || self.sign_for.as_secs() >= least {
            return Ok(());
        }
        Err(format!(
            "sign_for_s must be 0, or {least} at least: {} more than the day that sessions' secrets are good for",
            TOLD_FOR.as_secs()
        ))
    }
}

impl Default for KeysConfig {
    fn default() -> Self {
        Self { sign_for: Duration::from_secs(7 * 24 * 3_600) }
    }
}

impl Keyring {
    /// The keys of the node whose data lie in `dir`, which nobody else has open. Without any, one is made, which signs at once.
    ///
    /// # Errors
    /// [`InputError::Keys`] for a file that has none in it; anything else if it cannot be read or written, or the system has no randomness.
    pub(super) fn open(dir: &Path, now: Millis, config: KeysConfig) -> anyhow::Result<Self> {
        let path = dir.join(FILE);
        let written = match fs::read(&path) {
            Ok(text) => {
                let wrong = |why| InputError::Keys { path: path.clone(), why };
                let found: Written = serde_json::from_slice(&text).map_err(|error| wrong(error.to_string()))?;
                // Before anything of it is used.
                found.keys().ok_or_else(|| wrong("a key that has not 64 hexadecimal digits".to_owned()))?;
                found
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let made = Written { current: Key::made(1, now)?, previous: None, next: None };
                write(dir, &made)?;
                tracing::info!(path = %path.display(), "session keys made: no session from before can come back");
                made
            }
            Err(source) => return Err(InputError::Unreadable { path, source }.into()),
        };
        Ok(Self { dir: dir.to_path_buf(), config, written, told_since: now })
    }

    pub(super) fn keys(&self) -> SecretKeys {
        self.written.keys().expect("what was read was looked at, and what was made is right")
    }

    /// Rotates the keys whenever it is time, and puts them in force then. A step that cannot be written is not taken, and tried again.
    pub(super) async fn keep(mut self, clock: impl Fn() -> Millis, put: impl Fn(SecretKeys)) -> Infallible {
        // Not before anybody can ask.
        self.told_since = clock();
        loop {
            let Some(due) = self.due() else { pending().await };
            let now = clock();
            let left = due.since(now);
            if !left.is_zero() {
                // The clock may be set meanwhile.
                sleep(left.min(LOOK_EVERY)).await;
                continue;
            }
            let stepping = move || {
                let stepped = self.step(now);
                (self, stepped)
            };
            let stepped;
            (self, stepped) = spawn_blocking(stepping).await.expect("to rotate keys does not panic");
            match stepped {
                Ok(()) => {
                    put(self.keys());
                    let Written { current, next, .. } = &self.written;
                    let next = next.as_ref().map(|next| next.number);
                    tracing::info!(signs = current.number, next, "session keys rotated");
                }
                Err(error) => {
                    tracing::error!(%error, "session keys are not rotated");
                    sleep(LOOK_EVERY).await;
                }
            }
        }
    }

    /// When the next step is to be taken; `None` for never.
    fn due(&self) -> Option<Millis> {
        let Written { current, next, .. } = &self.written;
        match next {
            // While the node was down nobody was told.
            Some(next) => Some(Millis(next.made_at).max(self.told_since).plus(TOLD_FOR)),
            None if self.config.sign_for.is_zero() => None,
            None => Some(Millis(current.made_at).plus(self.config.sign_for)),
        }
    }

    /// Tells a new key; or has the one sign that was told.
    fn step(&mut self, now: Millis) -> anyhow::Result<()> {
        let Written { current, next, .. } = self.written.clone();
        let written = match next {
            None => {
                let next = Key::made(current.number.wrapping_add(1), now)?;
                Written { current, previous: None, next: Some(next) }
            }
            Some(next) => Written { current: Key { made_at: now.0, ..next }, previous: Some(current), next: None },
        };
        write(&self.dir, &written)?;
        self.written = written;
        Ok(())
    }
}

impl Written {
    fn keys(&self) -> Option<SecretKeys> {
        let other = match self.next.as_ref().or(self.previous.as_ref()) {
            Some(other) => Some(other.read()?),
            None => None,
        };
        Some(SecretKeys::with_previous(self.current.read()?, other))
    }
}

impl Key {
    fn made(number: u32, now: Millis) -> anyhow::Result<Self> {
        let random = data::random()?;
        let key = random[..KEY_BYTES].iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Self { number, made_at: now.0, key })
    }

    fn read(&self) -> Option<SecretKey> {
        let digits = self.key.as_bytes();
        let mut key = [0; KEY_BYTES];
        if digits.len() != 2 * KEY_BYTES {
            return None;
        }
        for (byte, digits) in key.iter_mut().zip(digits.chunks_exact(2)) {
            let digit = |digit: u8| char::from(digit).to_digit(16);
            *byte = u8::try_from(16 * digit(digits[0])? + digit(digits[1])?).ok()?;
        }
        Some(SecretKey { number: self.number, key })
    }
}

/// Shows no key.
impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key").field("number", &self.number).field("made_at", &self.made_at).finish_non_exhaustive()
    }
}

/// Writes the file aside, and then gives it its name: it is there as a whole or as it was.
fn write(dir: &Path, written: &Written) -> anyhow::Result<()> {
    let path = dir.join(FILE);
    put(dir, written).with_context(|| format!("{} cannot be written", path.display()))
}

fn put(dir: &Path, written: &Written) -> io::Result<()> {
    let aside = dir.join(format!("{FILE}.new"));
    match fs::remove_file(&aside) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        // It was left by a start that was broken off.
        Ok(()) | Err(_) => {}
    }
    pki::write_key(&aside, &serde_json::to_string(written)?)?;
    fs::rename(&aside, dir.join(FILE))?;
    File::open(dir)?.sync_all()
}

/// How long the secrets are good that backends sign, unless they say otherwise: [`Returning`](guildhall_client::Returning).
const SECRETS_GOOD_FOR: Duration = Duration::from_secs(24 * 3_600);
const FILE: &str = "session-keys";
const KEY_BYTES: usize = 32;
/// How long a key is told before it signs: backends ask each minute, and some of that may fail.
const TOLD_FOR: Duration = Duration::from_secs(600);
/// How often it is looked at the clock, at least, and how soon a step is tried again that failed.
const LOOK_EVERY: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::sync::{Arc, Mutex};

    use tokio::time::{Instant, timeout};

    use super::*;

    const HOUR: Duration = Duration::from_secs(3_600);
    const CONFIG: KeysConfig = KeysConfig { sign_for: Duration::from_secs(48 * 3_600) };
    const BEGIN: Millis = Millis(1_700_000_000_000);

    /// Which numbers the keys have: of the one that signs, and the other.
    fn numbers(keys: &SecretKeys) -> (u32, Option<u32>) {
        (keys.current().number, keys.previous().map(|key| key.number))
    }

    /// But for the grain of timers.
    fn is_near(one: Duration, other: Duration) -> bool {
        one.abs_diff(other) < Duration::from_secs(1)
    }

    /// Runs a node on the directory from `from` on, for some time; what it has put in force, and when.
    async fn run(dir: &Path, from: Duration, time: Duration) -> Vec<(Duration, SecretKeys)> {
        let begun = Instant::now();
        let since = move || from + begun.elapsed();
        let clock = move || BEGIN.plus(since());
        let ring = Keyring::open(dir, clock(), CONFIG).unwrap();
        let put = Arc::new(Mutex::new(vec![(since(), ring.keys())]));
        let to = Arc::clone(&put);
        let keeping = ring.keep(clock, move |keys| to.lock().unwrap().push((since(), keys)));
        drop(timeout(time, keeping).await);
        Arc::into_inner(put).unwrap().into_inner().unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_key_is_told_before_it_signs_and_taken_for_long_after_it_has() {
        let dir = tempfile::tempdir().unwrap();
        let put = run(dir.path(), Duration::ZERO, 200 * HOUR).await;
        let all: Vec<_> = put.iter().map(|(_, keys)| numbers(keys)).collect();
        assert_eq!(&all[..5], [(1, None), (1, Some(2)), (2, Some(1)), (2, Some(3)), (3, Some(2))]);
        for (told, signs) in put[1..].chunks_exact(2).map(|pair| (&pair[0], &pair[1])) {
            assert_eq!(told.1.previous(), Some(signs.1.current()), "another signs than was told");
            assert!(is_near(signs.0 - told.0, TOLD_FOR));
        }
        for (signs, next) in put[2..].chunks_exact(2).map(|pair| (&pair[0], &pair[1])) {
            assert!(is_near(next.0 - signs.0, CONFIG.sign_for), "the one before is not taken any more");
        }
        // Each has bytes of its own.
        assert!(put.windows(2).all(|pair| {
            pair[0].1.current().number == pair[1].1.current().number
                || pair[0].1.current().key != pair[1].1.current().key
        }));
        let mode = fs::metadata(dir.path().join(FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing else is left");
    }

    #[tokio::test(start_paused = true)]
    async fn a_node_that_is_started_anew_goes_on_with_its_keys_and_tells_of_the_next_one_first() {
        let dir = tempfile::tempdir().unwrap();
        let before = run(dir.path(), Duration::ZERO, CONFIG.sign_for + Duration::from_secs(1)).await;
        let told = &before.last().unwrap().1;
        assert_eq!(numbers(told), (1, Some(2)));
        // Down when it was to sign, and for days more: nobody has heard of it.
        let after = run(dir.path(), 90 * HOUR, HOUR).await;
        assert_eq!(after[0].1, *told);
        assert!(is_near(after[1].0 - 90 * HOUR, TOLD_FOR));
        assert_eq!(numbers(&after[1].1), (2, Some(1)));
        // From then on the one before is taken as long as ever.
        let later = run(dir.path(), 91 * HOUR, 60 * HOUR).await;
        assert_eq!(later[0].1, after[1].1);
        assert!(is_near(later[1].0, after[1].0 + CONFIG.sign_for));
    }

    #[test]
    fn a_step_that_cannot_be_written_is_tried_again_and_keys_may_stay_for_ever() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data");
        fs::create_dir(&data).unwrap();
        let mut ring = Keyring::open(&data, BEGIN, CONFIG).unwrap();
        let keys = ring.keys();
        let away = dir.path().join("away");
        fs::rename(&data, &away).unwrap();
        assert!(ring.step(BEGIN.plus(CONFIG.sign_for)).is_err());
        assert_eq!((ring.keys(), ring.due()), (keys, Some(BEGIN.plus(CONFIG.sign_for))));
        fs::rename(&away, &data).unwrap();
        ring.step(BEGIN.plus(CONFIG.sign_for)).unwrap();
        assert_eq!(numbers(&ring.keys()), (1, Some(2)));

        let stays = Keyring::open(dir.path(), BEGIN, KeysConfig { sign_for: Duration::ZERO }).unwrap();
        assert_eq!(stays.due(), None);
    }

    #[test]
    fn no_secret_outlives_its_key() {
        let config = |hours| KeysConfig { sign_for: hours * HOUR };
        assert!(KeysConfig::default().check().is_ok() && config(0).check().is_ok());
        assert!(config(25).check().is_ok());
        let refused = config(24).check().unwrap_err();
        assert!(refused.starts_with("sign_for_s must be 0, or 87000 at least: 600 more than the day"), "{refused}");
    }

    #[test]
    fn a_start_that_was_broken_off_is_no_hindrance_and_a_file_without_keys_is_named() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("session-keys.new"), "hal").unwrap();
        let open = || Keyring::open(dir.path(), BEGIN, CONFIG);
        let keys = open().unwrap().keys();
        assert_eq!(open().unwrap().keys(), keys);
        let text = fs::read_to_string(dir.path().join(FILE)).unwrap();
        for bad in [text.replace("\"key\":\"", "\"key\":\"0"), text.replace("\"key\":\"", "\"key\":\"x"), String::new()]
        {
            fs::write(dir.path().join(FILE), &bad).unwrap();
            let error = open().unwrap_err();
            assert!(error.is::<InputError>() && error.to_string().contains("session-keys"), "{error}");
            assert_eq!(fs::read_to_string(dir.path().join(FILE)).unwrap(), bad, "it is left as it is");
        }
    }
}
