//! The keys of sessions' secrets, in a file of the data directory: a session may come back whose node was started anew meanwhile.
//!
//! A key signs for as long as a secret may be good, and is taken for as long again, so that none outlives its keys; that is looked at when the node
//! starts. Whoever has the file can come back as any session: it is its owner's alone, and in no backup.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use guildhall_node::{SecretKey, SecretKeys};
use guildhall_proto::Millis;
use guildhall_transport::pki;
use serde::{Deserialize, Serialize};

use crate::data;
use crate::input::InputError;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    current: Key,
    previous: Option<Key>,
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Key {
    number: u32,
    /// When it was made, in milliseconds since 1970.
    made_at: u64,
    /// Two digits a byte.
    key: String,
}

/// The keys of the node whose data lie in `dir`, which nobody else has open. Without any, and where the current one has signed for as long as a
/// secret is good, a new one is made.
///
/// # Errors
/// [`InputError::Keys`] for a file that has none in it; anything else if it cannot be read or written, or the system has no randomness.
pub(super) fn open(dir: &Path, now: Millis, secret_lifetime: Duration) -> anyhow::Result<SecretKeys> {
    let path = dir.join(FILE);
    let found = match fs::read(&path) {
        Ok(text) => {
            let wrong = |why| InputError::Keys { path: path.clone(), why };
            let found: Written = serde_json::from_slice(&text).map_err(|error| wrong(error.to_string()))?;
            // Before anything of it is used.
            found.keys().ok_or_else(|| wrong("a key that has not 64 hexadecimal digits".to_owned()))?;
            Some(found)
        }
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        Err(source) => return Err(InputError::Unreadable { path, source }.into()),
    };
    let written = match found {
        Some(found) if now.since(Millis(found.current.made_at)) < secret_lifetime => found,
        found => {
            let next = Written::after(found.map(|found| found.current), now)?;
            write(dir, &next).with_context(|| format!("{} cannot be written", path.display()))?;
            next
        }
    };
    Ok(written.keys().expect("what was read was looked at, and what was made is right"))
}

impl Written {
    fn after(previous: Option<Key>, now: Millis) -> anyhow::Result<Self> {
        let random = data::random()?;
        let key = random[..KEY_BYTES].iter().map(|byte| format!("{byte:02x}")).collect();
        let number = previous.as_ref().map_or(1, |previous| previous.number.wrapping_add(1));
        Ok(Self { current: Key { number, made_at: now.0, key }, previous })
    }

    fn keys(&self) -> Option<SecretKeys> {
        let previous = match &self.previous {
            Some(previous) => Some(previous.read()?),
            None => None,
        };
        Some(SecretKeys::with_previous(self.current.read()?, previous))
    }
}

impl Key {
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

/// Writes the file aside, and then gives it its name: it is there as a whole or as it was.
fn write(dir: &Path, written: &Written) -> io::Result<()> {
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

const FILE: &str = "session-keys";
const KEY_BYTES: usize = 32;

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const DAY: Duration = Duration::from_secs(24 * 3_600);

    #[test]
    fn keys_stay_as_long_as_they_sign_and_are_taken_as_long_again() {
        let dir = tempfile::tempdir().unwrap();
        let open = |hours: u64| open(dir.path(), Millis(1_700_000_000_000 + hours * 3_600_000), DAY).unwrap();
        let first = open(0);
        assert_eq!(open(23), first);
        let second = open(24);
        assert_eq!(second.previous(), Some(first.current()));
        assert!(second.current() != first.current() && second.current().number != first.current().number);
        assert_eq!(open(47), second);
        assert_eq!(open(48).previous(), Some(second.current()));
        let mode = fs::metadata(dir.path().join(FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing else is left");
    }

    #[test]
    fn a_start_that_was_broken_off_is_no_hindrance_and_a_file_without_keys_is_named() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("session-keys.new"), "hal").unwrap();
        let keys = open(dir.path(), Millis(5), DAY).unwrap();
        assert_eq!(open(dir.path(), Millis(6), DAY).unwrap(), keys);
        let text = fs::read_to_string(dir.path().join(FILE)).unwrap();
        for bad in [text.replace("\"key\":\"", "\"key\":\"0"), text.replace("\"key\":\"", "\"key\":\"x"), String::new()]
        {
            fs::write(dir.path().join(FILE), &bad).unwrap();
            let error = open(dir.path(), Millis(6), DAY).unwrap_err();
            assert!(error.is::<InputError>() && error.to_string().contains("session-keys"), "{error}");
            assert_eq!(fs::read_to_string(dir.path().join(FILE)).unwrap(), bad, "it is left as it is");
        }
    }
}
