//! Who gets a link and who does not, by what stands in the certificate.

use std::time::Duration;

use guildhall_proto::Millis;
use guildhall_transport::pki::{Authority, Issued, Validity};
use guildhall_transport::{
    CloseReason, Closed, Counter, Credentials, CredentialsError, DialError, Endpoint, IdentityError, TransportConfig,
};
use rcgen::string::Ia5String;
use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, Issuer, KeyPair, SanType};

use crate::raw::{connected, raw_server, raw_with};
use crate::world::{
    Node, all_counted, any, authority, backend, counted, credentials, held, hello, node, node_with, now, today,
};

/// An authority whose key signs whatever a test likes.
struct Signer {
    authority: Authority,
    issuer: Issuer<'static, KeyPair>,
}

impl Signer {
    fn new() -> Self {
        let (authority, issued) = Authority::create("main".parse().unwrap(), today()).unwrap();
        let key = KeyPair::from_pem(&issued.key).unwrap();
        Self { issuer: Issuer::from_ca_cert_pem(&issued.certificate, key).unwrap(), authority }
    }

    /// A certificate for both ends of a link, with these names.
    fn sign(&self, names: Vec<SanType>) -> Issued {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.subject_alt_names = names;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let certificate = params.signed_by(&key, &self.issuer).unwrap().pem();
        Issued { certificate, key: key.serialize_pem() }
    }
}

fn uri(text: &str) -> SanType {
    SanType::URI(Ia5String::try_from(text).unwrap())
}

fn host(text: &str) -> SanType {
    SanType::DnsName(Ia5String::try_from(text).unwrap())
}

#[tokio::test]
async fn every_role_of_the_cluster_may_dial() {
    let authority = authority("main");
    let mut node = node(&authority, TransportConfig::default());
    for role in ["guild-node", "backend", "operator", "observer"] {
        let uri = format!("spiffe://main/{role}/somebody");
        let endpoint =
            Endpoint::dialing(any(), &credentials(&authority, &uri), hello(2), TransportConfig::default()).unwrap();
        let (dialed, accepted) = tokio::join!(endpoint.dial(node.address), node.acceptor.accept());
        assert!(dialed.is_ok());
        assert_eq!(accepted.unwrap().peer().identity.to_string(), uri);
    }
}

#[tokio::test]
async fn who_dials_with_another_name_than_one_of_the_cluster_is_refused_under_its_reason() {
    let signer = Signer::new();
    let good = "spiffe://main/backend/a";
    let cases = [
        (vec![], Counter::IdentityNoUri),
        (vec![host("a.example")], Counter::IdentityNoUri),
        (vec![uri(good), uri("spiffe://main/operator/a")], Counter::IdentitySeveralUris),
        (vec![uri(good), host("a.example"), uri(good)], Counter::IdentitySeveralUris),
        (vec![uri("spiffe://main2/backend/a")], Counter::IdentityOtherCluster),
        (vec![uri("spiffe://main/admin/a")], Counter::IdentityUnknownRole),
        (vec![uri("spiffe://main/backend/A")], Counter::IdentityLabel),
        (vec![uri("spiffe://main/backend/a%2fb")], Counter::IdentityLabel),
        (vec![uri("spiffe://main/backend/a/b")], Counter::IdentityForm),
        (vec![uri("https://main/backend/a")], Counter::IdentityForm),
    ];
    let mut node = node(&signer.authority, TransportConfig::default());
    for (names, counter) in cases {
        let raw = raw_with(Some(&signer.sign(names)));
        let before = counted(&node.endpoint, counter);
        let closed = refused(&mut node, &raw).await;
        assert_eq!(closed, Closed::There(CloseReason::Identity));
        assert_eq!(counted(&node.endpoint, counter), before + 1, "{:?}", all_counted(&node.endpoint));
    }
    // A host name beside the one URI does no harm.
    let raw = raw_with(Some(&signer.sign(vec![host("a.example"), uri(good)])));
    let (_connection, accepted) = tokio::join!(crate::raw::greeted(&raw, node.address), node.acceptor.accept());
    assert_eq!(accepted.unwrap().peer().identity.to_string(), good);
}

#[tokio::test]
async fn who_dials_without_a_certificate_of_the_authority_gets_no_further_than_tls() {
    let (authority, other) = (authority("main"), authority("main"));
    let name = || "spiffe://main/backend/a".parse().unwrap();
    let foreign = other.issue(name(), today()).unwrap();
    let expired = Validity { from: Millis(now().0 - 7_200_000), lifetime: Duration::from_secs(3_600) };
    let expired = authority.issue(name(), expired).unwrap();
    let early = Validity { from: Millis(now().0 + 3_600_000), lifetime: Duration::from_secs(3_600) };
    let early = authority.issue(name(), early).unwrap();
    let mut node = node(&authority, TransportConfig::default());
    for (count, shown) in [None, Some(&foreign), Some(&expired), Some(&early)].into_iter().enumerate() {
        let closed = refused(&mut node, &raw_with(shown)).await;
        assert!(matches!(closed, Closed::Failed(_)), "{closed}");
        assert_eq!(counted(&node.endpoint, Counter::HandshakeFailed), count as u64 + 1);
    }
}

#[tokio::test]
async fn a_dialer_takes_only_a_guild_node_of_its_cluster_for_one() {
    let signer = Signer::new();
    let backend = backend(&signer.authority, 2);
    let cases = [
        (vec![uri("spiffe://main/backend/a")], Counter::IdentityWrongRole),
        (vec![uri("spiffe://main2/guild-node/a")], Counter::IdentityOtherCluster),
        (vec![host("guildhall")], Counter::IdentityNoUri),
        (vec![uri("spiffe://main/guild-node/a"), uri("spiffe://main/guild-node/b")], Counter::IdentitySeveralUris),
    ];
    for (names, counter) in cases {
        let serving = raw_server(&signer.sign(names));
        let address = serving.local_addr().unwrap();
        let (dialed, heard) = tokio::join!(backend.dial(address), async {
            Closed::from(serving.accept().await.unwrap().await.unwrap().closed().await)
        });
        assert!(matches!(dialed, Err(DialError::Identity(_))), "{dialed:?}");
        assert_eq!(heard, Closed::There(CloseReason::Identity));
        assert_eq!(counted(&backend, counter), 1);
    }
    assert_eq!(counted(&backend, Counter::DialIdentity), 4);
}

#[tokio::test]
async fn a_certificate_for_dialing_alone_serves_nobody_and_another_authority_s_is_not_dialed() {
    let (authority, other) = (authority("main"), authority("main"));
    let backend = backend(&authority, 2);
    let issued = authority.issue("spiffe://main/backend/a".parse().unwrap(), today()).unwrap();
    let serving = raw_server(&issued);
    let dialed = backend.dial(serving.local_addr().unwrap());
    let (dialed, _) = tokio::join!(dialed, async { serving.accept().await.unwrap().await });
    assert!(matches!(dialed, Err(DialError::Closed(Closed::Failed(_)))), "{dialed:?}");

    let mut foreign = node_with(&credentials(&other, "spiffe://main/guild-node/a"), TransportConfig::default());
    let address = foreign.address;
    tokio::select! {
        dialed = backend.dial(address) => assert!(matches!(dialed, Err(DialError::Closed(Closed::Failed(_)))), "{dialed:?}"),
        link = foreign.acceptor.accept() => panic!("{link:?} stands"),
    }
}

#[tokio::test]
async fn each_link_shows_its_certificates_anew_and_none_begins_in_0_rtt() {
    let authority = authority("main");
    let issued = authority.issue("spiffe://main/backend/a".parse().unwrap(), today()).unwrap();
    let (mut node, raw) = (node(&authority, TransportConfig::default()), raw_with(Some(&issued)));
    for _ in 0..2 {
        let connecting = raw.connect(node.address, "anybody").unwrap();
        assert!(connecting.into_0rtt().is_err(), "it went on from an earlier link");
        let (connection, accepted) = tokio::join!(crate::raw::greeted(&raw, node.address), node.acceptor.accept());
        assert_eq!(accepted.unwrap().peer().identity.name.as_str(), "a");
        drop(connection);
    }
}

#[test]
fn files_that_are_no_credentials_are_told() {
    let authority = authority("main");
    let issued = authority.issue("spiffe://main/backend/a".parse().unwrap(), today()).unwrap();
    let root = authority.certificate().as_bytes();
    let (certificate, key) = (issued.certificate.as_bytes(), issued.key.as_bytes());
    for (certificate, key, root, what) in [
        (&b""[..], key, root, "certificate"),
        (key, key, root, "certificate"),
        (certificate, certificate, root, "key"),
        (certificate, key, &b"-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n"[..], "authority"),
    ] {
        let refused = Credentials::from_pem(certificate, key, root).unwrap_err();
        assert!(matches!(refused, CredentialsError::Unreadable { what: told, .. } if told == what), "{refused}");
    }
    let nobody = Credentials::from_pem(root, key, root).unwrap_err();
    assert!(matches!(nobody, CredentialsError::Identity(IdentityError::Form { .. })), "{nobody}");
    let another = authority.issue("spiffe://main/backend/b".parse().unwrap(), today()).unwrap();
    let mixed = held(&Issued { key: another.key, ..issued }, &authority);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let _runtime = runtime.enter();
    let refused = Endpoint::dialing(any(), &mixed, hello(1), TransportConfig::default()).unwrap_err();
    assert!(refused.to_string().contains("do not go together"), "{refused}");
}

/// How the link ends for who dials, while no link may stand.
async fn refused(node: &mut Node, raw: &quinn::Endpoint) -> Closed {
    let address = node.address;
    let dialing = async {
        match connected(raw, address).await {
            Ok(connection) => connection.closed().await.into(),
            Err(error) => Closed::from(error),
        }
    };
    tokio::select! {
        closed = dialing => closed,
        link = node.acceptor.accept() => panic!("{link:?} stands"),
    }
}
