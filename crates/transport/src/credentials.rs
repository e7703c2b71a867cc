//! By what an endpoint shows who it is, and knows who others are: its certificate and key, and the cluster's authority.
//!
//! TLS 1.3 alone, both ends with a certificate, and neither resumption nor 0-RTT: each link shows its certificates anew. That a certificate is the
//! authority's, for this use and in its time, rustls verifies in the handshake; whose it is, [`Identity`] says once that is over, and
//! before anything else is said. Host names are not looked at.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use std::{fmt, fs, io};

use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{ConnectionId, ConnectionIdGenerator, EndpointConfig};
use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, verify_server_cert_signed_by_trust_anchor};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::{NoServerSessionStorage, ParsedCertificate, WebPkiClientVerifier};
use rustls::{DigitallySignedStruct, RootCertStore, SignatureScheme};

use crate::{Identity, IdentityError};

/// A certificate with its key, and the authority by which others' are judged.
pub struct Credentials {
    identity: Identity,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    roots: Arc<RootCertStore>,
}

/// Why files are no credentials.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    /// A file cannot be read.
    #[error("{}: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file has no such thing in it, or one that is damaged.
    #[error("no {what} can be read: {error}")]
    Unreadable {
        /// What was looked for.
        what: &'static str,
        /// What is wrong.
        error: String,
    },
    /// The certificate names nobody.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// Certificate and key do not belong together, or cannot be used.
    #[error("certificate, key and authority do not go together: {0}")]
    Unusable(#[from] rustls::Error),
}

impl Credentials {
    /// Reads the directory that `guildhall pki issue` has made for somebody: the files [`CERTIFICATE_FILE`], [`KEY_FILE`] and [`AUTHORITY_FILE`], as
    /// [`from_pem`](Self::from_pem) takes them.
    ///
    /// # Errors
    /// [`CredentialsError`].
    pub fn read(dir: &Path) -> Result<Self, CredentialsError> {
        let [certificate, key, authority] = [CERTIFICATE_FILE, KEY_FILE, AUTHORITY_FILE].map(|name| {
            let path = dir.join(name);
            fs::read(&path).map_err(|source| CredentialsError::File { path, source })
        });
        Self::from_pem(&certificate?, &key?, &authority?)
    }

    /// Reads what is in three PEM files: the certificate, followed by those between it and the authority; its key; the authority's certificate, or
    /// several while one takes the place of another.
    ///
    /// # Errors
    /// [`CredentialsError`]. That the authority has signed the certificate, and for now, is not looked at: the other end will.
    pub fn from_pem(certificate: &[u8], key: &[u8], authority: &[u8]) -> Result<Self, CredentialsError> {
        let chain = certificates("certificate", certificate)?;
        let unreadable = |error: rustls::pki_types::pem::Error| CredentialsError::Unreadable {
            what: "key",
            error: error.to_string(),
        };
        let key = PrivateKeyDer::from_pem_slice(key).map_err(unreadable)?;
        let identity = Identity::from_certificate(&chain[0])?;
        let mut roots = RootCertStore::empty();
        for root in certificates("authority", authority)? {
            roots.add(root)?;
        }
        Ok(Self { identity, chain, key, roots: Arc::new(roots) })
    }

    /// Whose they are.
    pub const fn identity(&self) -> &Identity {
        &self.identity
    }

    /// What is shown to those who are dialed, and how they are judged.
    pub(crate) fn client(&self) -> Result<QuicClientConfig, CredentialsError> {
        let provider = provider();
        let algorithms = provider.signature_verification_algorithms;
        let verifier = AuthorityVerifier { roots: Arc::clone(&self.roots), algorithms };
        let mut tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(TLS)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_client_auth_cert(self.chain.clone(), self.key.clone_key())?;
        tls.alpn_protocols = vec![ALPN.to_vec()];
        tls.resumption = Resumption::disabled();
        tls.enable_sni = false;
        Ok(QuicClientConfig::try_from(tls).expect("ring has the cipher suite of QUIC's first packets"))
    }

    /// What is shown to those who dial, and how they are judged.
    pub(crate) fn server(&self) -> Result<QuicServerConfig, CredentialsError> {
        let provider = provider();
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::clone(&self.roots), Arc::clone(&provider))
            .build()
            .map_err(|error| rustls::Error::General(error.to_string()))?;
        let mut tls = rustls::ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(TLS)?
            .with_client_cert_verifier(verifier)
            .with_single_cert(self.chain.clone(), self.key.clone_key())?;
        tls.alpn_protocols = vec![ALPN.to_vec()];
        tls.session_storage = Arc::new(NoServerSessionStorage {});
        tls.send_tls13_tickets = 0;
        Ok(QuicServerConfig::try_from(tls).expect("ring has the cipher suite of QUIC's first packets"))
    }
}

impl Credentials {
    /// With what the next run of a node tells those who were linked to this one that it knows nothing of their links: it comes from the node's key, which no
    /// other has. Were it drawn in each run, they would not believe the next, and wait until their links have been idle for too long.
    pub(crate) fn endpoint(&self) -> EndpointConfig {
        let key = hmac::Key::new(hmac::HMAC_SHA256, self.key.secret_der());
        let resets = hmac::sign(&key, b"guildhall: stateless resets");
        let mut endpoint = EndpointConfig::new(Arc::new(hmac::Key::new(hmac::HMAC_SHA256, resets.as_ref())));
        endpoint.cid_generator(|| Box::new(AnyIds));
        endpoint
    }
}

/// Connections are named by any 8 bytes. The library's own names bear a mark of their run, and those of an earlier one are left unanswered.
struct AnyIds;

impl ConnectionIdGenerator for AnyIds {
    fn generate_cid(&mut self) -> ConnectionId {
        let mut id = [0; Self::BYTES];
        SystemRandom::new().fill(&mut id).expect("the system gave randomness when its endpoint was made");
        ConnectionId::new(&id)
    }

    fn cid_len(&self) -> usize {
        Self::BYTES
    }

    fn cid_lifetime(&self) -> Option<Duration> {
        None
    }
}

impl AnyIds {
    const BYTES: usize = 8;
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("identity", &self.identity).finish_non_exhaustive()
    }
}

/// Takes any certificate that the authority has signed for whoever is dialed, whatever names are in it.
#[derive(Debug)]
struct AuthorityVerifier {
    roots: Arc<RootCertStore>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for AuthorityVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let certificate = ParsedCertificate::try_from(end_entity)?;
        let algorithms = self.algorithms.all;
        verify_server_cert_signed_by_trust_anchor(&certificate, &self.roots, intermediates, now, algorithms)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("TLS 1.2 is not spoken".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// Who is at the other end of a connection whose handshake is over.
pub(crate) fn peer_identity(connection: &quinn::Connection) -> Result<Identity, IdentityError> {
    let shown = connection.peer_identity().and_then(|shown| shown.downcast::<Vec<CertificateDer<'static>>>().ok());
    let shown = shown.ok_or(IdentityError::Unreadable)?;
    Identity::from_certificate(shown.first().ok_or(IdentityError::Unreadable)?)
}

/// At least one.
fn certificates(what: &'static str, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, CredentialsError> {
    let unreadable = |error: String| CredentialsError::Unreadable { what, error };
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match read {
        Ok(read) if read.is_empty() => Err(unreadable("there is none".to_owned())),
        Ok(read) => Ok(read),
        Err(error) => Err(unreadable(error.to_string())),
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// In the directory of somebody's credentials: the certificate.
pub const CERTIFICATE_FILE: &str = "certificate.pem";
/// The certificate's key.
pub const KEY_FILE: &str = "key.pem";
/// The cluster's authority, by which others are judged.
pub const AUTHORITY_FILE: &str = "authority.pem";

const TLS: &[&rustls::SupportedProtocolVersion] = &[&rustls::version::TLS13];

/// What both ends say they speak; its version is hello's matter.
const ALPN: &[u8] = b"guildhall";
