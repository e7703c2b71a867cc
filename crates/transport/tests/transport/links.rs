//! How a link comes to be and ends, how many there may be, and how it is dialed again.

use std::time::Duration;

use guildhall_proto::frame::Kind;
use guildhall_proto::{NodeId, Version, Versions};
use guildhall_transport::{
    BackoffConfig, BindError, CloseReason, Closed, Counter, DialError, Endpoint, Redial, TransportConfig,
};
use tokio::time::timeout;

use crate::world::{
    PATIENCE, Pair, any, authority, backend, counted, credentials, hello, node, node_with, pair, until_counted,
};

#[tokio::test]
async fn both_ends_know_who_the_other_is() {
    let pair = pair(TransportConfig::default()).await;
    let (dialed, accepted) = (pair.dialed.peer(), pair.accepted.peer());
    assert_eq!((dialed.identity.to_string().as_str(), dialed.node), ("spiffe://main/guild-node/a", NodeId::MIN));
    assert_eq!(accepted.identity.to_string(), "spiffe://main/backend/chat");
    assert_eq!((accepted.node, accepted.instance), (hello(2).node, hello(2).instance));
    assert_eq!((pair.dialed.version(), pair.accepted.version()), (version(1), version(1)));
    assert_eq!(counted(&pair.backend, Counter::LinksDialed), 1);
    assert_eq!(counted(&pair.node.endpoint, Counter::LinksAccepted), 1);
}

#[tokio::test]
async fn whoever_closes_a_link_tells_the_other_end_why() {
    for reason in CloseReason::ALL {
        let pair = pair(TransportConfig::default()).await;
        pair.accepted.close(*reason);
        assert_eq!(pair.dialed.closed().await, Closed::There(*reason));
        assert_eq!(pair.accepted.closed().await, Closed::Here);
    }
}

#[tokio::test]
async fn a_link_ends_with_its_last_handle_and_its_end_is_counted() {
    let pair = pair(TransportConfig::default()).await;
    let another = pair.accepted.clone();
    drop(pair.accepted);
    assert!(timeout(Duration::from_millis(50), pair.dialed.closed()).await.is_err());
    drop(another);
    assert_eq!(pair.dialed.closed().await, Closed::There(CloseReason::Done));
    drop(pair.dialed);
    assert_eq!(counted(&pair.backend, Counter::EndedThere), 1);
    assert_eq!(counted(&pair.node.endpoint, Counter::EndedHere), 1);
}

#[tokio::test]
async fn an_end_that_falls_silent_is_given_up() {
    let (idle, keep_alive) = (Duration::from_secs(1), Duration::from_millis(200));
    let authority = authority("main");
    let mut node = node(&authority, TransportConfig { idle, keep_alive, ..TransportConfig::default() });
    // A runtime of its own, whose driver stops when it is dropped: the process stands still, and the socket says nothing.
    let (address, silent) = (node.address, tokio::runtime::Runtime::new().unwrap());
    let dialing = silent.spawn(async move {
        let backend = backend(&authority, 2);
        (backend.dial(address).await.unwrap(), backend)
    });
    let accepted = node.acceptor.accept().await.unwrap();
    let held = dialing.await.unwrap();
    silent.shutdown_background();
    assert_eq!(timeout(PATIENCE, accepted.closed()).await.unwrap(), Closed::Silent);
    drop(accepted);
    assert_eq!(counted(&node.endpoint, Counter::EndedSilent), 1);
    std::mem::forget(held); // Its drop would need the runtime that is gone.
}

#[tokio::test]
async fn a_quiet_link_stays() {
    let (idle, keep_alive) = (Duration::from_secs(1), Duration::from_millis(100));
    let pair = pair(TransportConfig { idle, keep_alive, ..TransportConfig::default() }).await;
    assert!(timeout(idle * 2, pair.dialed.closed()).await.is_err());
    assert!(timeout(Duration::ZERO, pair.accepted.closed()).await.is_err());
}

#[tokio::test]
async fn two_without_a_common_version_refuse_each_other_and_say_what_they_speak() {
    let authority = authority("main");
    let mut node = node(&authority, TransportConfig::default());
    let versions = Versions::new(version(2), version(4)).unwrap();
    let hello = guildhall_proto::Hello { versions, ..hello(2) };
    let credentials = credentials(&authority, "spiffe://main/backend/new");
    let newer = Endpoint::dialing(any(), &credentials, hello, TransportConfig::default()).unwrap();
    let refused = tokio::select! {
        dialed = newer.dial(node.address) => dialed.unwrap_err(),
        link = node.acceptor.accept() => panic!("{link:?} stands"),
    };
    let DialError::Version { asked, supported } = refused else { panic!("{refused}") };
    assert_eq!((asked, supported), (versions, Versions::SUPPORTED));
    let refused = async { until_counted(&node.endpoint, Counter::HandshakeVersion, 1).await };
    tokio::select! {
        () = refused => {}
        _ = node.acceptor.accept() => unreachable!("nobody else dials"),
    }
}

#[tokio::test]
async fn a_node_that_dials_anew_takes_the_place_of_its_older_link() {
    let authority = authority("main");
    let mut node = node(&authority, TransportConfig { peer_links_max: 1, ..TransportConfig::default() });
    let (older, newer) = (backend(&authority, 2), backend(&authority, 2));
    let (first, at_first) = tokio::join!(older.dial(node.address), node.acceptor.accept());
    let (second, at_second) = tokio::join!(newer.dial(node.address), node.acceptor.accept());
    assert_eq!(first.unwrap().closed().await, Closed::There(CloseReason::Replaced));
    assert_eq!(counted(&node.endpoint, Counter::LinksReplaced), 1);
    drop(at_first);
    // The older one's end has not freed the newer one's place.
    let third = backend(&authority, 3);
    let (third, _) = tokio::join!(third.dial(node.address), refuse_one(&mut node, Counter::HandshakePeerFull));
    assert!(matches!(third, Err(DialError::Closed(Closed::There(CloseReason::PeerFull)))), "{third:?}");
    drop((second, at_second));
}

#[tokio::test]
async fn one_identity_may_not_take_all_links_and_nobody_more_than_there_are() {
    let authority = authority("main");
    let mut node = node(&authority, TransportConfig { links_max: 3, peer_links_max: 2, ..TransportConfig::default() });
    let mut links = Vec::new();
    let mut backends = Vec::new();
    for number in 2..4 {
        let backend = backend(&authority, number);
        let (dialed, accepted) = tokio::join!(backend.dial(node.address), node.acceptor.accept());
        links.push((dialed.unwrap(), accepted.unwrap()));
        backends.push(backend);
    }
    let over = backend(&authority, 4);
    let (refused, ()) = tokio::join!(over.dial(node.address), refuse_one(&mut node, Counter::HandshakePeerFull));
    assert!(matches!(refused, Err(DialError::Closed(Closed::There(CloseReason::PeerFull)))), "{refused:?}");

    let other = |name: &str, number| {
        let credentials = credentials(&authority, &format!("spiffe://main/operator/{name}"));
        Endpoint::dialing(any(), &credentials, hello(number), TransportConfig::default()).unwrap()
    };
    let (last, beyond) = (other("ann", 5), other("bob", 6));
    let (dialed, accepted) = tokio::join!(last.dial(node.address), node.acceptor.accept());
    links.push((dialed.unwrap(), accepted.unwrap()));
    let (refused, ()) = tokio::join!(beyond.dial(node.address), refuse_one(&mut node, Counter::HandshakeFull));
    assert!(matches!(refused, Err(DialError::Closed(Closed::There(CloseReason::Full)))), "{refused:?}");

    // One that ends makes room.
    let (dialed, accepted) = links.remove(0);
    drop(dialed);
    accepted.closed().await;
    let (dialed, accepted) = tokio::join!(beyond.dial(node.address), node.acceptor.accept());
    assert!(dialed.is_ok() && accepted.is_some());
}

#[tokio::test]
async fn only_a_guild_node_listens() {
    let authority = authority("main");
    let credentials = credentials(&authority, "spiffe://main/backend/a");
    let refused = Endpoint::listening(any(), &credentials, hello(1), TransportConfig::default()).unwrap_err();
    assert!(matches!(refused, BindError::NotGuildNode { .. }), "{refused}");
}

#[tokio::test]
async fn limits_that_do_not_fit_together_bind_nothing() {
    let authority = authority("main");
    let credentials = credentials(&authority, "spiffe://main/guild-node/a");
    let config = TransportConfig { calls_max: 0, ..TransportConfig::default() };
    for refused in [
        Endpoint::listening(any(), &credentials, hello(1), config).map(drop).unwrap_err(),
        Endpoint::dialing(any(), &credentials, hello(1), config).map(drop).unwrap_err(),
    ] {
        assert!(matches!(refused, BindError::Config(_)), "{refused}");
    }
}

#[tokio::test]
async fn a_lost_link_is_dialed_again_until_the_node_is_back() {
    let authority = authority("main");
    let mut first = node(&authority, TransportConfig::default());
    let address = first.address;
    let backend = {
        let credentials = credentials(&authority, "spiffe://main/backend/chat");
        let config = TransportConfig { handshake: Duration::from_millis(500), ..TransportConfig::default() };
        Endpoint::dialing(any(), &credentials, hello(2), config).unwrap()
    };
    let backoff = BackoffConfig { first: Duration::from_millis(5), most: Duration::from_millis(50) };
    let mut redial = Redial::new(backend.clone(), address, backoff, 7);
    let (link, accepted) = tokio::join!(redial.link(), first.acceptor.accept());
    assert!(redial.failed().is_none());
    drop(accepted);
    first.endpoint.close().await;
    drop(first);
    assert_eq!(link.closed().await, Closed::There(CloseReason::Done));

    // While nobody listens it goes on failing; and being dropped half-way does it no harm.
    let waits = async { until_counted(&backend, Counter::DialLate, 2).await };
    tokio::select! {
        _ = redial.link() => panic!("nobody listens"),
        () = waits => {}
    }
    assert!(redial.failed().is_some());

    let credentials = credentials(&authority, "spiffe://main/guild-node/a");
    let (_endpoint, mut acceptor) =
        Endpoint::listening(address, &credentials, hello(1), TransportConfig::default()).unwrap();
    let (link, accepted) = tokio::join!(timeout(PATIENCE, redial.link()), acceptor.accept());
    assert_eq!(link.unwrap().peer().node, NodeId::MIN);
    assert!(accepted.is_some() && redial.failed().is_none());
}

#[tokio::test]
async fn whoever_stops_accepting_keeps_its_links_and_lets_nobody_in() {
    let Pair { node, backend, dialed, accepted } = pair(TransportConfig::default()).await;
    drop(node.acceptor);
    let impatient = {
        let credentials = credentials(&authority("main"), "spiffe://main/backend/late");
        let config = TransportConfig { handshake: Duration::from_millis(100), ..TransportConfig::default() };
        Endpoint::dialing(any(), &credentials, hello(3), config).unwrap()
    };
    let refused = impatient.dial(node.address).await.unwrap_err();
    assert!(matches!(refused, DialError::Late), "{refused}");
    assert_eq!(counted(&impatient, Counter::DialLate), 1);

    let (mut request, _answer) = dialed.call().await.unwrap();
    request.append(Kind::Request, b"?").unwrap();
    request.finish().await.unwrap();
    let (_answer, mut request) = accepted.next_call().await.unwrap();
    assert_eq!(request.next().await.unwrap().unwrap().body, b"?"[..]);
    drop(backend);
}

/// Has handshakes go on until that was counted once more; no link may stand.
async fn refuse_one(node: &mut crate::world::Node, counter: Counter) {
    let count = counted(&node.endpoint, counter) + 1;
    tokio::select! {
        () = until_counted(&node.endpoint, counter, count) => {}
        link = node.acceptor.accept() => panic!("{link:?} stands"),
    }
    // The refused end is told by the library's driver, which needs nobody.
}

fn version(number: u8) -> Version {
    Version::new(number).unwrap()
}

#[tokio::test]
async fn who_was_linked_to_a_node_that_was_killed_is_told_so_by_its_next_run() {
    let authority = authority("main");
    let credentials = credentials(&authority, "spiffe://main/guild-node/a");
    // A run in a runtime of its own, which ends without a word to anybody.
    let run = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let node = {
        let _run = run.enter();
        node_with(&credentials, TransportConfig::default())
    };
    let (address, backend) = (node.address, backend(&authority, 2));
    run.spawn(async move {
        let mut node = node;
        let _accepted = node.acceptor.accept().await;
        std::future::pending::<()>().await;
    });
    let dialed = backend.dial(address).await.unwrap();
    run.shutdown_background();
    let next = async {
        loop {
            match Endpoint::listening(address, &credentials, hello(1), TransportConfig::default()) {
                Ok(next) => break next,
                Err(BindError::Address(_)) => tokio::task::yield_now().await,
                Err(error) => panic!("{error}"),
            }
        }
    };
    let _next = timeout(PATIENCE, next).await.unwrap();
    let (mut ask, _answer) = dialed.call().await.unwrap();
    ask.append(Kind::Request, b"?").unwrap();
    ask.flush().await.unwrap();
    // Long before it would be given up as silent.
    let within = TransportConfig::default().idle / 2;
    assert_eq!(timeout(within, dialed.closed()).await, Ok(Closed::Forgotten));
}
