//! An authority for one cluster, and the certificates that it issues: enough for a start, and in the same form as a company's own would have.
//!
//! An authority's certificate bears the cluster's name as a URI, and signs certificates for identities of that cluster only. Each certificate is for
//! one [`Identity`], and says for which end of a link it may be used: a guild node's for both, all others' for dialing alone. There are no lists of
//! what was revoked: certificates are to be short-lived, and an authority is taken out of use by taking it out of the files.
//!
//! Keys are secrets: [`write_key`] makes a file that its owner alone can read.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use guildhall_proto::Millis;
use rcgen::string::Ia5String;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use x509_parser::extensions::GeneralName;

use crate::identity::SCHEME;
use crate::{Identity, IdentityError, Label, Role};

/// A cluster's authority, with the key by which it issues.
pub struct Authority {
    cluster: Label,
    certificate: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate and its key, as the text of PEM files.
#[derive(Clone, PartialEq, Eq)]
pub struct Issued {
    /// For everybody to see.
    pub certificate: String,
    /// For nobody but its owner.
    pub key: String,
}

/// From when to when a certificate is good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    /// Its first moment; to the second.
    pub from: Millis,
    /// How long; to the second.
    pub lifetime: Duration,
}

/// What stands in a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// Whose it is.
    pub subject: Subject,
    /// From when on it is good.
    pub from: Millis,
    /// Until when.
    pub expires_at: Millis,
    /// Its number, in hexadecimal digits.
    pub serial: String,
}

/// Whose a certificate is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// A cluster's authority's.
    Authority(Label),
    /// Somebody's of a cluster.
    Identity(Identity),
}

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    /// A file holds no certificate, or none that can be read.
    #[error("no certificate can be read")]
    Unreadable,
    /// It names nobody.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// It is not an authority's.
    #[error("the certificate is not an authority's")]
    NotAuthority,
    /// The key is another's.
    #[error("the key does not belong to the certificate")]
    ForeignKey,
    /// It would be good from before 1970, after 9999, or for no time at all.
    #[error("a certificate cannot be good for that time")]
    Validity,
    /// It could not be made or signed.
    #[error(transparent)]
    Failed(#[from] rcgen::Error),
}

impl Authority {
    /// Makes one, with a new key from the system's randomness.
    ///
    /// # Errors
    /// [`PkiError::Validity`], [`PkiError::Failed`].
    pub fn create(cluster: Label, validity: Validity) -> Result<(Self, Issued), PkiError> {
        let key = KeyPair::generate()?;
        let uri = format!("{SCHEME}{cluster}");
        let mut params = params(&format!("Guildhall authority of {cluster}"), &uri, validity)?;
        // It issues for whoever takes part, and makes no authorities.
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let certificate = params.self_signed(&key)?.pem();
        let issued = Issued { certificate: certificate.clone(), key: key.serialize_pem() };
        Ok((Self { cluster, certificate, issuer: Issuer::new(params, key) }, issued))
    }

    /// Takes one up from its files.
    ///
    /// # Errors
    /// [`PkiError`] if they are not an authority's, or do not belong together.
    pub fn open(certificate: &str, key: &str) -> Result<Self, PkiError> {
        let Subject::Authority(cluster) = show(certificate)?.subject else {
            return Err(PkiError::NotAuthority);
        };
        let der = der(certificate)?;
        let key = KeyPair::from_pem(key)?;
        let (_, parsed) = x509_parser::parse_x509_certificate(&der).map_err(|_| PkiError::Unreadable)?;
        if *parsed.public_key().subject_public_key.data != *key.public_key_raw() {
            return Err(PkiError::ForeignKey);
        }
        let issuer = Issuer::from_ca_cert_der(&der, key)?;
        Ok(Self { cluster, certificate: certificate.to_owned(), issuer })
    }

    /// Which cluster's it is.
    pub const fn cluster(&self) -> &Label {
        &self.cluster
    }

    /// Its certificate (PEM), by which others' are judged.
    pub fn certificate(&self) -> &str {
        &self.certificate
    }

    /// Issues a certificate, with a new key from the system's randomness.
    ///
    /// # Errors
    /// [`IdentityError::OtherCluster`], [`PkiError::Validity`], [`PkiError::Failed`].
    pub fn issue(&self, identity: Identity, validity: Validity) -> Result<Issued, PkiError> {
        let identity = identity.expect(&self.cluster, None)?;
        let key = KeyPair::generate()?;
        let mut params = params(identity.name.as_str(), &identity.to_string(), validity)?;
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = match identity.role {
            Role::GuildNode => vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth],
            Role::Backend | Role::Operator | Role::Observer => vec![ExtendedKeyUsagePurpose::ClientAuth],
        };
        let certificate = params.signed_by(&key, &self.issuer)?.pem();
        Ok(Issued { certificate, key: key.serialize_pem() })
    }
}

/// What stands in a certificate (PEM; the first of a file that has several).
///
/// # Errors
/// [`PkiError::Unreadable`], [`PkiError::Identity`], [`PkiError::Validity`].
pub fn show(certificate: &str) -> Result<Shown, PkiError> {
    let der = der(certificate)?;
    let (_, parsed) = x509_parser::parse_x509_certificate(&der).map_err(|_| PkiError::Unreadable)?;
    let subject = if parsed.is_ca() {
        Subject::Authority(cluster(&parsed)?)
    } else {
        Subject::Identity(Identity::from_certificate(&der)?)
    };
    let millis = |time: x509_parser::time::ASN1Time| {
        let seconds = u64::try_from(time.timestamp()).map_err(|_| PkiError::Validity)?;
        Ok::<_, PkiError>(Millis(seconds * 1_000))
    };
    Ok(Shown {
        subject,
        from: millis(parsed.validity().not_before)?,
        expires_at: millis(parsed.validity().not_after)?,
        serial: parsed.raw_serial().iter().map(|byte| format!("{byte:02x}")).collect(),
    })
}

/// Writes a key into a new file that its owner alone can read and write.
///
/// # Errors
/// If there is such a file already, or the disk does not take it.
pub fn write_key(path: &Path, key: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(key.as_bytes())?;
    file.sync_all()
}

impl std::fmt::Debug for Issued {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Issued").field("certificate", &self.certificate).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority").field("cluster", &self.cluster).finish_non_exhaustive()
    }
}

/// A certificate for a common name, which is for people, and a URI, which counts.
fn params(common_name: &str, uri: &str, Validity { from, lifetime }: Validity) -> Result<CertificateParams, PkiError> {
    let (from, until) =
        (Duration::from_secs(from.0 / 1_000), Duration::from_secs(from.0 / 1_000).checked_add(lifetime));
    let until = until.filter(|until| until.as_secs() > from.as_secs() && until.as_secs() < YEAR_10000_SECONDS);
    let until = until.ok_or(PkiError::Validity)?;
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    let mut params = CertificateParams::default();
    params.not_before = epoch + from;
    params.not_after = epoch + Duration::from_secs(until.as_secs());
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    params.subject_alt_names = vec![SanType::URI(Ia5String::try_from(uri)?)];
    Ok(params)
}

/// The first certificate of a PEM file.
fn der(certificate: &str) -> Result<CertificateDer<'static>, PkiError> {
    CertificateDer::from_pem_slice(certificate.as_bytes()).map_err(|_| PkiError::Unreadable)
}

/// Of which cluster an authority is: its only URI says so.
fn cluster(certificate: &x509_parser::certificate::X509Certificate<'_>) -> Result<Label, PkiError> {
    let names = certificate.subject_alternative_name().map_err(|_| PkiError::Unreadable)?;
    let names = names.ok_or(IdentityError::NoUri)?;
    let [GeneralName::URI(uri)] = names.value.general_names[..] else {
        return Err(IdentityError::NoUri.into());
    };
    let cluster = uri.strip_prefix(SCHEME).ok_or_else(|| IdentityError::Form { uri: uri.to_owned() })?;
    Ok(cluster.parse()?)
}

/// The first second that a certificate cannot tell.
const YEAR_10000_SECONDS: u64 = 253_402_300_800;
