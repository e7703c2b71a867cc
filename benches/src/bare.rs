//! Bare QUIC: calls over the library that links use, with nothing of Guildhall in them, between the same processes.
//!
//! A call is a stream: as many bytes as a request has, which begin with how many are to be answered; then these. Windows, numbers of streams and sockets'
//! buffers are those of links, and like links it answers what waits for nothing where it was taken, and makes a task of the rest; what each end shows is not
//! looked at, which costs nothing once a connection stands.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::Poll;

use guildhall_transport::TransportConfig;
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{Connection, Endpoint, EndpointConfig, IdleTimeout, RecvStream, SendStream, TokioRuntime, VarInt};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, ring, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, SignatureScheme};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::runtime::Handle;
use tokio::task::yield_now;

/// A connection to make calls on.
#[derive(Debug, Clone)]
pub struct Bare {
    connection: Connection,
    /// It ends with the last clone.
    _endpoint: Endpoint,
}

/// Answers calls on loopback until the runtime ends. Where.
pub fn answer(runtime: &Handle, certificate: &str, key: &str) -> SocketAddr {
    let _inside = runtime.enter();
    let certificate = CertificateDer::from_pem_slice(certificate.as_bytes()).expect("a certificate");
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).expect("a key");
    let mut tls = rustls::ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("ring has TLS 1.3")
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .expect("they go together");
    tls.alpn_protocols = vec![ALPN.to_vec()];
    let tls = QuicServerConfig::try_from(tls).expect("ring has the suite of QUIC's first packets");
    let mut server = quinn::ServerConfig::with_crypto(Arc::new(tls));
    server.transport_config(Arc::new(transport()));
    let endpoint = endpoint(Some(server));
    let address = endpoint.local_addr().expect("it is bound");
    runtime.spawn(async move {
        while let Some(incoming) = endpoint.accept().await {
            tokio::spawn(async move {
                let Ok(connection) = incoming.await else { return };
                let mut begun = 0_u32;
                while let Ok((send, receive)) = connection.accept_bi().await {
                    let mut call = Box::pin(serve(send, receive));
                    if poll_fn(|context| Poll::Ready(call.as_mut().poll(context))).await.is_pending() {
                        tokio::spawn(call);
                    }
                    begun = begun.wrapping_add(1);
                    if begun.is_multiple_of(BEGUN_AT_ONCE) {
                        yield_now().await;
                    }
                }
            });
        }
    });
    address
}

async fn serve(mut send: SendStream, mut receive: RecvStream) {
    let request = receive.read_to_end(REQUEST_MAX).await.expect("a request");
    let (bytes, _) = request.split_first_chunk().expect("it says how much to answer");
    let mut left = u32::from_le_bytes(*bytes) as usize;
    while left > 0 {
        let some = left.min(FILL.len());
        send.write_all(&FILL[..some]).await.expect("somebody reads");
        left -= some;
    }
    send.finish().expect("it was not finished before");
}

fn endpoint(server: Option<quinn::ServerConfig>) -> Endpoint {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP)).expect("a socket");
    socket.set_recv_buffer_size(BUFFER_BYTES).expect("the system grants what it allows");
    socket.set_send_buffer_size(BUFFER_BYTES).expect("the system grants what it allows");
    socket.bind(&SocketAddr::from(LOOPBACK).into()).expect("a port is free");
    let endpoint = Endpoint::new(EndpointConfig::default(), server, socket.into(), Arc::new(TokioRuntime));
    endpoint.expect("it is bound")
}

impl Bare {
    /// Dials.
    pub fn dial(runtime: &Handle, address: SocketAddr) -> Self {
        let _inside = runtime.enter();
        let provider = Arc::new(ring::default_provider());
        let algorithms = provider.signature_verification_algorithms;
        let mut tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .expect("ring has TLS 1.3")
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Anyone(algorithms)))
            .with_no_client_auth();
        tls.alpn_protocols = vec![ALPN.to_vec()];
        let tls = QuicClientConfig::try_from(tls).expect("ring has the suite of QUIC's first packets");
        let mut config = quinn::ClientConfig::new(Arc::new(tls));
        config.transport_config(Arc::new(transport()));
        let endpoint = endpoint(None);
        let connecting = endpoint.connect_with(config, address, "bare").expect("an address on loopback");
        let connection = runtime.block_on(connecting).expect("somebody answers");
        Self { connection, _endpoint: endpoint }
    }

    /// A call of so many bytes, four at least, with an answer of so many.
    pub async fn call(&self, request: usize, answer: usize) {
        let mut bytes = vec![7; request];
        let length = u32::try_from(answer).expect("less than 4 GiB").to_le_bytes();
        bytes[..length.len()].copy_from_slice(&length);
        let (mut send, mut receive) = self.connection.open_bi().await.expect("the connection stands");
        send.write_all(&bytes).await.expect("somebody reads");
        send.finish().expect("it was not finished before");
        let mut left = answer;
        while let Some(chunk) = receive.read_chunk(usize::MAX, true).await.expect("an answer") {
            left -= chunk.bytes.len();
        }
        assert_eq!(left, 0, "the answer is whole");
    }
}

/// As links have it.
fn transport() -> quinn::TransportConfig {
    let config = TransportConfig::default();
    let mut quic = quinn::TransportConfig::default();
    let window = VarInt::from_u32;
    quic.max_concurrent_bidi_streams(window(config.calls_max))
        .receive_window(window(config.link_receive_bytes))
        .stream_receive_window(window(config.lane_receive_bytes))
        .send_window(config.link_send_bytes.into())
        .max_idle_timeout(Some(IdleTimeout::try_from(config.idle).expect("some seconds")))
        .keep_alive_interval(Some(config.keep_alive));
    quic
}

/// Takes any certificate.
#[derive(Debug)]
struct Anyone(WebPkiSupportedAlgorithms);

impl ServerCertVerifier for Anyone {
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
        Err(rustls::Error::General("TLS 1.2 is not spoken".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}

const ALPN: &[u8] = b"bare";
const LOOPBACK: ([u8; 4], u16) = ([127, 0, 0, 1], 0);
const REQUEST_MAX: usize = 1 << 20;
/// Calls that are begun before what sends their answers goes on, as links have it.
const BEGUN_AT_ONCE: u32 = 16;
/// In a socket, each way, as links have it.
const BUFFER_BYTES: usize = 4 << 20;
static FILL: [u8; 64 << 10] = [7; 64 << 10];
