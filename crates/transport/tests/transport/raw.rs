//! A peer that speaks QUIC and TLS well, with a certificate of the authority, and then whatever a test likes.

use std::net::SocketAddr;
use std::sync::Arc;

use guildhall_proto::frame::{self, Kind};
use guildhall_proto::{Hello, Instance, NodeId, Version, Versions};
use guildhall_transport::pki::{Authority, Issued};
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{Connection, ConnectionError, RecvStream, SendStream};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, SignatureScheme};

use crate::world::{any, today};

pub(crate) const VERSION: Version = Version::new(1).unwrap();

/// With a certificate for `uri`.
pub(crate) fn raw(authority: &Authority, uri: &str) -> quinn::Endpoint {
    raw_with(Some(&authority.issue(uri.parse().unwrap(), today()).unwrap()))
}

/// With that certificate, or none.
pub(crate) fn raw_with(shown: Option<&Issued>) -> quinn::Endpoint {
    let tls = rustls::ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Trusting));
    let mut tls = match shown {
        Some(Issued { certificate, key }) => {
            let chain = vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()];
            tls.with_client_auth_cert(chain, PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap()).unwrap()
        }
        None => tls.with_no_client_auth(),
    };
    tls.alpn_protocols = vec![b"guildhall".to_vec()];
    // It would begin in 0-RTT if it were let.
    tls.enable_early_data = true;
    let mut endpoint = quinn::Endpoint::client(any()).unwrap();
    endpoint.set_default_client_config(quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).unwrap())));
    endpoint
}

/// Serves with that certificate, and asks nobody for one.
pub(crate) fn raw_server(Issued { certificate, key }: &Issued) -> quinn::Endpoint {
    let chain = vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()];
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
    let mut tls = rustls::ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    tls.alpn_protocols = vec![b"guildhall".to_vec()];
    let crypto = QuicServerConfig::try_from(tls).unwrap();
    quinn::Endpoint::server(quinn::ServerConfig::with_crypto(Arc::new(crypto)), any()).unwrap()
}

/// What a guild node does at first, with what it answers to hello.
pub(crate) async fn answering(server: &quinn::Endpoint, answer: &[u8]) -> Connection {
    let connection = server.accept().await.unwrap().await.unwrap();
    let (mut send, mut receive) = connection.accept_bi().await.unwrap();
    receive.read_to_end(1_000).await.unwrap();
    send.write_all(answer).await.unwrap();
    send.finish().unwrap();
    connection
}

/// As far as QUIC goes.
pub(crate) async fn connected(raw: &quinn::Endpoint, address: SocketAddr) -> Result<Connection, ConnectionError> {
    raw.connect(address, "anybody").unwrap().await
}

/// Past hello, as node 9.
pub(crate) async fn greeted(raw: &quinn::Endpoint, address: SocketAddr) -> Connection {
    let connection = connected(raw, address).await.unwrap();
    let hello = Hello { versions: Versions::SUPPORTED, node: NodeId::new(9).unwrap(), instance: Instance(900) };
    let mut bytes = Vec::new();
    frame::append_value(Kind::Hello, VERSION, &hello, &mut bytes).unwrap();
    let (_send, mut receive) = sent(&connection, &bytes, true).await;
    receive.read_to_end(1_000).await.unwrap();
    connection
}

/// A new lane with these bytes on it, and its end if asked for.
pub(crate) async fn sent(connection: &Connection, bytes: &[u8], is_whole: bool) -> (SendStream, RecvStream) {
    let (mut send, receive) = connection.open_bi().await.unwrap();
    send.write_all(bytes).await.unwrap();
    if is_whole {
        send.finish().unwrap();
    }
    (send, receive)
}

pub(crate) fn framed(kind: Kind, body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    frame::append(kind, VERSION, body, &mut bytes).unwrap();
    bytes
}

/// Takes any certificate.
#[derive(Debug)]
struct Trusting;

impl ServerCertVerifier for Trusting {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        unreachable!("QUIC is TLS 1.3")
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        ring::default_provider().signature_verification_algorithms.supported_schemes()
    }
}
