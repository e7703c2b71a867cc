//! Certificates as an operator makes them: issued, shown, kept from others' eyes.

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use guildhall_proto::Millis;
use guildhall_transport::IdentityError;
use guildhall_transport::pki::{Authority, PkiError, Subject, Validity, show, write_key};

use crate::world::{authority, today};

const YEAR: Duration = Duration::from_secs(365 * 86_400);

#[test]
fn what_is_issued_is_shown_as_it_was_asked_for() {
    let from = Millis(1_700_000_000_000);
    let (authority, issued) = Authority::create("main".parse().unwrap(), Validity { from, lifetime: YEAR }).unwrap();
    let shown = show(&issued.certificate).unwrap();
    assert_eq!(shown.subject, Subject::Authority("main".parse().unwrap()));
    assert_eq!((shown.from, shown.expires_at), (from, Millis(from.0 + 365 * 86_400_000)));
    let mut serials = std::collections::BTreeSet::from([shown.serial]);
    for role in ["guild-node", "backend", "operator", "observer"] {
        let identity: guildhall_transport::Identity = format!("spiffe://main/{role}/x-1").parse().unwrap();
        let validity = Validity { from, lifetime: Duration::from_secs(60) };
        let shown = show(&authority.issue(identity.clone(), validity).unwrap().certificate).unwrap();
        assert_eq!(shown.subject, Subject::Identity(identity));
        assert_eq!((shown.from, shown.expires_at), (from, Millis(from.0 + 60_000)));
        assert!(serials.insert(shown.serial), "a serial number was given twice");
    }
}

#[test]
fn an_authority_is_taken_up_from_its_files_and_goes_on_issuing() {
    let (first, issued) = Authority::create("main".parse().unwrap(), today()).unwrap();
    let again = Authority::open(&issued.certificate, &issued.key).unwrap();
    assert_eq!((again.cluster(), again.certificate()), (first.cluster(), first.certificate()));
    let certificate = again.issue("spiffe://main/backend/a".parse().unwrap(), today()).unwrap().certificate;
    assert!(matches!(show(&certificate).unwrap().subject, Subject::Identity(_)));
}

#[test]
fn an_authority_issues_for_its_own_cluster_alone() {
    let refused = authority("main").issue("spiffe://other/backend/a".parse().unwrap(), today()).unwrap_err();
    assert!(matches!(refused, PkiError::Identity(IdentityError::OtherCluster { .. })), "{refused}");
}

#[test]
fn what_is_no_authority_issues_nothing() {
    let (authority, files) = Authority::create("main".parse().unwrap(), today()).unwrap();
    let (_, other) = Authority::create("main".parse().unwrap(), today()).unwrap();
    let issued = authority.issue("spiffe://main/backend/a".parse().unwrap(), today()).unwrap();
    assert!(matches!(Authority::open(&issued.certificate, &issued.key), Err(PkiError::NotAuthority)));
    assert!(matches!(Authority::open(&files.certificate, &other.key), Err(PkiError::ForeignKey)));
    assert!(matches!(Authority::open("", &files.key), Err(PkiError::Unreadable)));
    assert!(matches!(Authority::open(&files.certificate, &files.certificate), Err(PkiError::Failed(_))));
}

#[test]
fn a_certificate_is_good_for_some_time_that_can_be_told() {
    let at = Millis(1_700_000_000_000);
    for (from, lifetime) in [
        (at, Duration::ZERO),
        (at, Duration::from_millis(999)),
        (at, Duration::MAX),
        (at, Duration::from_secs(253_402_300_800 - 1_700_000_000)),
        (Millis(u64::MAX), Duration::from_secs(1)),
    ] {
        let refused = Authority::create("main".parse().unwrap(), Validity { from, lifetime }).unwrap_err();
        assert!(matches!(refused, PkiError::Validity), "{refused}");
    }
    let longest = Duration::from_secs(253_402_300_799 - 1_700_000_000);
    let (_, issued) = Authority::create("main".parse().unwrap(), Validity { from: at, lifetime: longest }).unwrap();
    assert_eq!(show(&issued.certificate).unwrap().expires_at, Millis(253_402_300_799_000));
}

#[test]
fn a_key_is_written_for_its_owner_alone_and_never_over_another() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.key");
    write_key(&path, "secret").unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(write_key(&path, "another").unwrap_err().kind(), std::io::ErrorKind::AlreadyExists);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "secret");
}

#[test]
fn keys_are_not_told_by_what_is_logged() {
    let (authority, issued) = Authority::create("main".parse().unwrap(), today()).unwrap();
    let secret = issued.key.lines().nth(1).unwrap();
    assert!(!format!("{issued:?} {authority:?}").contains(secret));
}
