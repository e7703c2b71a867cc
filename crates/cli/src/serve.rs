//! A guild node as a process: over the store of a directory, serving links until it is told to end.
//!
//! Which cluster and which node it is, its certificate says. What numbers stand for them, in the store and in hello, is a hash of their names: so
//! nobody has to hand out numbers, and two nodes have the same by a chance of one in 2^64.

mod config;
mod keys;
mod section;

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, bail};
use guildhall_node::{Coordinator, Membership, Node, Peer};
use guildhall_proto::{Hello, Instance, NodeId, Versions};
use guildhall_store::EmbeddedStore;
use guildhall_transport::{Credentials, Endpoint, Identity, Label, Role};
use serde::Serialize;
use tokio::signal::unix::{Signal, SignalKind, signal};
use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

use crate::input::InputError;
use crate::logging::Lost;
use crate::operations::now;
use crate::{data, pki};
use config::Config;
use keys::Keyring;

/// Runs a node until the process is told to end (SIGTERM, SIGINT); then all that was accepted is stored. Who asks it for its counters is told of
/// log lines that are lost, too.
///
/// # Errors
/// [`InputError`] or [`DataError`](crate::data::DataError) for a configuration that is not acceptable; anything else if the node does not start, its
/// disk fails, or it was told to end again before all was stored.
pub(crate) fn serve(path: &Path, lost: &Lost) -> anyhow::Result<ExitCode> {
    let mut config = Config::read(path)?;
    let credentials = pki::credentials(&config.credentials)?;
    let identity = credentials.identity().clone();
    if identity.role != Role::GuildNode {
        return Err(InputError::NotGuildNode { path: config.credentials, identity }.into());
    }
    let running = data::open_as(&config.data, cluster(&identity.cluster), node_id(&identity), &config.store)?;
    let keyring = Keyring::open(&config.data, now()?, config.keys)?;
    config.node.resume.keys = Some(keyring.keys());
    config.serving.also_counted = vec![
        ("log_lines_lost_total{target=\"audit\"}", Arc::clone(&lost.audit)),
        ("log_lines_lost_total{target=\"other\"}", Arc::clone(&lost.other)),
    ];
    let store = Arc::clone(running.store());
    running.run(Box::pin(work(config, credentials, store, keyring)))?;
    Ok(ExitCode::SUCCESS)
}

async fn work(
    config: Config,
    credentials: Credentials,
    store: Arc<EmbeddedStore>,
    keyring: Keyring,
) -> anyhow::Result<()> {
    // Before anybody is told that the node is there, so that none of these ends it in the middle.
    let mut ends = Ends::new()?;
    let identity = credentials.identity().clone();
    let hello = Hello { versions: Versions::SUPPORTED, node: node_id(&identity), instance: Instance(random()?) };
    // More than one process would need a coordinator outside of them: here the placement has one node. Its grants are above those of all runs before, whose
    // word clients may still have.
    let coordinator: Arc<dyn Coordinator> = {
        let (store, now) = (Arc::clone(&store), config.node.clock.now());
        Arc::new(tokio::task::spawn_blocking(move || store.coordinator(now)).await??)
    };
    let membership = Membership { node: hello.node, instance: hello.instance, coordinator: Arc::clone(&coordinator) };
    let clock = config.node.clock.clone();
    let node = Node::start_as(config.node, store, membership)?;
    let listening = Endpoint::listening(config.listen, &credentials, hello, config.links);
    let (endpoint, acceptor) = listening.with_context(|| format!("cannot listen at {}", config.listen))?;
    let mut served = config.serving;
    (served.node, served.instance) = (hello.node, hello.instance);
    let serving = node.serve(acceptor, served);
    let address = endpoint.address()?;
    coordinator.join(hello.node, Peer { instance: hello.instance, addresses: vec![address] });
    let ready = Ready {
        addresses: vec![address.to_string()],
        node: hello.node.to_string(),
        cluster: identity.cluster.to_string(),
        name: identity.name.to_string(),
        data: config.data.display().to_string(),
        expires_at: pki::expires_at(&config.credentials)?,
        pid: std::process::id(),
    };
    say(&ready)?;
    tokio::select! {
        () = ends.next() => {}
        never = keyring.keep(move || clock.now(), |keys| node.rotate_session_keys(keys)) => match never {},
    }
    tracing::info!("told to end");
    tokio::select! {
        () = async {
            serving.stop().await;
            endpoint.close().await;
            node.stop().await;
            coordinator.leave(hello.node, hello.instance);
        } => Ok(()),
        () = ends.next() => bail!("told to end again, before all was stored that was accepted"),
    }
}

/// What is printed when a node is ready, in one line.
#[derive(Debug, Serialize)]
struct Ready {
    /// Where it listens, with the ports that were bound.
    addresses: Vec<String>,
    /// Its number.
    node: String,
    cluster: String,
    name: String,
    data: String,
    /// Until when its certificate is good, in milliseconds since 1970.
    expires_at: u64,
    pid: u32,
}

/// What tells a process to end.
struct Ends {
    terminate: Signal,
    interrupt: Signal,
}

impl Ends {
    fn new() -> anyhow::Result<Self> {
        let hear = |kind| signal(kind).context("signals cannot be heard");
        Ok(Self { terminate: hear(SignalKind::terminate())?, interrupt: hear(SignalKind::interrupt())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// The number of a cluster in the directories of its nodes.
fn cluster(name: &Label) -> u128 {
    xxh3_128(name.as_str().as_bytes())
}

/// The number of a node.
fn node_id(identity: &Identity) -> NodeId {
    let hash = xxh3_64(identity.to_string().as_bytes());
    NodeId::new(hash).unwrap_or(NodeId::MIN)
}

fn random() -> anyhow::Result<u64> {
    let [a, b, c, d, e, f, g, h, ..] = data::random()?;
    Ok(u64::from_le_bytes([a, b, c, d, e, f, g, h]))
}

fn say(ready: &Ready) -> io::Result<()> {
    let mut out = io::stdout().lock();
    serde_json::to_writer(&mut out, ready)?;
    out.write_all(b"\n")?;
    out.flush()
}
