//! What a command cannot take of the files and addresses that it is given.

use std::io;
use std::path::PathBuf;

use guildhall_transport::CredentialsError;
use guildhall_transport::pki::PkiError;

/// The caller names another file, or mends the one it has named.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InputError {
    #[error("{}: {source}", path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    #[error("{} is there already", path.display())]
    Exists { path: PathBuf },
    #[error("{}: {source}", path.display())]
    Certificate { path: PathBuf, source: PkiError },
    #[error("{}: {source}", path.display())]
    Credentials { path: PathBuf, source: CredentialsError },
    #[error("a certificate that is good for {days} days would outlive the authority in {}, which expires on {expires}", path.display())]
    Outlives { path: PathBuf, days: u64, expires: String },
}
