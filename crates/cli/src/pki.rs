//! A cluster's authority and its certificates, as directories of files.
//!
//! A directory is filled aside and then takes its name in one step, which fails where something is: so nothing is overwritten, and none is there
//! that has a part of its files only.

use std::fs;
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use guildhall_proto::Millis;
use guildhall_transport::pki::{self, Authority, Shown, Subject, Validity};
use guildhall_transport::{AUTHORITY_FILE, CERTIFICATE_FILE, Credentials, CredentialsError, Identity, KEY_FILE};
use serde::Serialize;

use crate::args::{EXIT_FAILED, PkiCommand, PkiInitArgs, PkiIssueArgs, PkiShowArgs};
use crate::date::{DAY_SECONDS, Date};
use crate::input::InputError;
use crate::operations::now;

/// Carries a command out.
///
/// # Errors
/// [`InputError`] for files that are not there or no certificates; anything else if a file cannot be written.
pub(crate) fn run(command: &PkiCommand, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    match command {
        PkiCommand::Init(args) => init(args, out),
        PkiCommand::Issue(args) => issue(args, out),
        PkiCommand::Show(args) => show(args, out),
    }
}

/// Reads who a process is from the directory that `pki issue` has made for it.
///
/// # Errors
/// [`InputError`].
pub(crate) fn credentials(dir: &Path) -> Result<Credentials, InputError> {
    Credentials::read(dir).map_err(|error| match error {
        CredentialsError::File { path, source } => InputError::Unreadable { path, source },
        source @ (CredentialsError::Unreadable { .. }
        | CredentialsError::Identity(_)
        | CredentialsError::Unusable(_)) => InputError::Credentials { path: dir.into(), source },
    })
}

/// Until when the certificate in such a directory is good, in milliseconds since 1970.
///
/// # Errors
/// [`InputError`].
pub(crate) fn expires_at(dir: &Path) -> Result<u64, InputError> {
    let path = dir.join(CERTIFICATE_FILE);
    let shown = pki::show(&read(&path)?).map_err(|source| InputError::Certificate { path, source })?;
    Ok(shown.expires_at.0)
}

fn init(args: &PkiInitArgs, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    let (_, issued) = Authority::create(args.cluster.clone(), validity(now()?, args.days))?;
    install(&args.to, &[(AUTHORITY_FILE, &issued.certificate), (AUTHORITY_KEY, &issued.key)])?;
    tell(&args.to.join(AUTHORITY_FILE), args.json, out)
}

fn issue(args: &PkiIssueArgs, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    let (path, key) = (args.authority.join(AUTHORITY_FILE), args.authority.join(AUTHORITY_KEY));
    let refused = |source| InputError::Certificate { path: path.clone(), source };
    let authority = Authority::open(&read(&path)?, &read(&key)?).map_err(refused)?;
    let until = pki::show(authority.certificate()).map_err(refused)?.expires_at;
    let validity = validity(now()?, args.days);
    if validity.from.plus(validity.lifetime) > until {
        let (path, days, expires) = (args.authority.clone(), args.days, Date(until).to_string());
        return Err(InputError::Outlives { path, days, expires }.into());
    }
    let (cluster, role, name) = (authority.cluster().clone(), args.role, args.name.clone());
    let issued = authority.issue(Identity { cluster, role, name }, validity)?;
    let files =
        [(CERTIFICATE_FILE, &*issued.certificate), (KEY_FILE, &issued.key), (AUTHORITY_FILE, authority.certificate())];
    install(&args.to, &files)?;
    tell(&args.to.join(CERTIFICATE_FILE), args.json, out)
}

fn show(args: &PkiShowArgs, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    let mut code = ExitCode::SUCCESS;
    for path in &args.paths {
        if tell(&certificate_at(path), args.json, out)? != ExitCode::SUCCESS {
            code = ExitCode::from(EXIT_FAILED);
        }
    }
    Ok(code)
}

/// The certificate that a path names: itself, or the one that a directory is there for.
fn certificate_at(path: &Path) -> PathBuf {
    let of_somebody = path.join(CERTIFICATE_FILE);
    match (path.is_dir(), of_somebody.exists()) {
        (true, true) => of_somebody,
        (true, false) => path.join(AUTHORITY_FILE),
        (false, _) => path.into(),
    }
}

/// Tells what a certificate says, and whether it is good now.
fn tell(path: &Path, json: bool, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    let shown = pki::show(&read(path)?).map_err(|source| InputError::Certificate { path: path.into(), source })?;
    let line = CertificateLine::of(path, &shown, now()?);
    if json {
        serde_json::to_writer(&mut *out, &line).map_err(io::Error::from)?;
        writeln!(out)?;
    } else {
        let CertificateLine { path, subject, from, expires_at, standing, days_left, serial } = &line;
        let (from, until) = (Date(Millis(*from)), Date(Millis(*expires_at)));
        writeln!(
            out,
            "{path}\n  subject  {subject}\n  from     {from}\n  until    {until}, {standing}, {days_left} days left\n  serial   {serial}"
        )?;
    }
    Ok(if line.standing == GOOD { ExitCode::SUCCESS } else { ExitCode::from(EXIT_FAILED) })
}

/// What is told of a certificate.
#[derive(Debug, Serialize)]
struct CertificateLine {
    path: String,
    /// As its URI has it.
    subject: String,
    /// Milliseconds since 1970, as the next.
    from: u64,
    expires_at: u64,
    /// `early`, `good` or `expired`.
    standing: &'static str,
    days_left: u64,
    serial: String,
}

impl CertificateLine {
    fn of(path: &Path, shown: &Shown, now: Millis) -> Self {
        let Shown { subject, from, expires_at, serial } = shown;
        Self {
            path: path.display().to_string(),
            subject: match subject {
                Subject::Authority(cluster) => format!("spiffe://{cluster}"),
                Subject::Identity(identity) => identity.to_string(),
            },
            from: from.0,
            expires_at: expires_at.0,
            standing: match (now < *from, now < *expires_at) {
                (true, _) => "early",
                (false, true) => GOOD,
                (false, false) => "expired",
            },
            days_left: expires_at.since(now).as_secs() / DAY_SECONDS,
            serial: serial.clone(),
        }
    }
}

/// Good for so many days from now, and for a moment before: other machines' clocks may be behind.
fn validity(now: Millis, days: u64) -> Validity {
    Validity { from: now.minus(CLOCKS_APART), lifetime: CLOCKS_APART + Duration::from_secs(days * DAY_SECONDS) }
}

/// Makes a directory of files, all of them or none.
fn install(to: &Path, files: &[(&str, &str)]) -> anyhow::Result<()> {
    let beside = match to.parent() {
        Some(parent) if parent != Path::new("") => parent,
        Some(_) | None => Path::new("."),
    };
    // For its owner alone, as the files are.
    let aside = tempfile::Builder::new()
        .prefix(".guildhall-")
        .permissions(fs::Permissions::from_mode(0o700))
        .tempdir_in(beside);
    let aside = aside.with_context(|| format!("{} cannot be made", to.display()))?;
    for (name, text) in files {
        let path = aside.path().join(name);
        pki::write_key(&path, text).with_context(|| format!("{} cannot be written", path.display()))?;
    }
    match fs::rename(aside.path(), to) {
        // What it was made as is not there any more, and is not to be removed.
        Ok(()) => drop(aside.keep()),
        Err(error)
            if matches!(
                error.kind(),
                ErrorKind::DirectoryNotEmpty | ErrorKind::AlreadyExists | ErrorKind::NotADirectory
            ) =>
        {
            return Err(InputError::Exists { path: to.into() }.into());
        }
        Err(error) => return Err(error).with_context(|| format!("{} cannot be made", to.display())),
    }
    fs::File::open(beside)
        .and_then(|dir| dir.sync_all())
        .with_context(|| format!("{} cannot be synced", beside.display()))
}

fn read(path: &Path) -> Result<String, InputError> {
    fs::read_to_string(path).map_err(|source| InputError::Unreadable { path: path.into(), source })
}

const AUTHORITY_KEY: &str = "authority.key";
const GOOD: &str = "good";
const CLOCKS_APART: Duration = Duration::from_secs(300);
