//! Commands that ask nodes that run.

use std::future::Future;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use guildhall_client::{Client, ClientConfig};
use serde::Serialize;

use crate::args::{NodeArgs, NodesArgs};
use crate::date::Date;
use crate::pki;

/// Asks each node whether it answers.
///
/// # Errors
/// [`InputError`](crate::input::InputError) for credentials; anything else if a node does not answer.
pub(crate) fn ping(args: &NodeArgs, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    #[derive(Serialize)]
    struct Line {
        address: String,
        node: String,
        instance: String,
        /// Milliseconds since 1970, as the next.
        started: u64,
        now: u64,
        took_us: u128,
    }
    each(&args.at, async |address, client| {
        let pong = client.ping().await?;
        if args.json {
            return json(
                out,
                &Line {
                    address: address.to_string(),
                    node: pong.node.to_string(),
                    instance: format!("{:016x}", pong.instance.0),
                    started: pong.started.0,
                    now: pong.now.0,
                    took_us: pong.took.as_micros(),
                },
            );
        }
        let (started, took) = (Date(pong.started), pong.took.as_micros());
        Ok(writeln!(out, "{address}\tnode {}\trunning since {started}\tanswered in {took} us", pong.node)?)
    })
}

/// Asks each node for its counters.
///
/// # Errors
/// [`InputError`](crate::input::InputError) for credentials; anything else if a node does not answer, or refuses.
pub(crate) fn stats(args: &NodeArgs, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    #[derive(Serialize)]
    struct Line {
        address: String,
        counters: serde_json::Map<String, serde_json::Value>,
    }
    each(&args.at, async |address, client| {
        let counts = client.stats().await?;
        if args.json {
            let counters = counts.iter().map(|(name, count)| (name.to_string(), (*count).into())).collect();
            return json(out, &Line { address: address.to_string(), counters });
        }
        counts.iter().try_for_each(|(name, count)| Ok(writeln!(out, "{address}\t{name}\t{count}")?))
    })
}

/// Does something with each node alone, in order.
pub(crate) fn each(
    nodes: &NodesArgs,
    mut work: impl AsyncFnMut(SocketAddr, &Client) -> anyhow::Result<()>,
) -> anyhow::Result<ExitCode> {
    for address in &nodes.node {
        let one = NodesArgs { node: vec![*address], ..nodes.clone() };
        with(&one, async |client| work(*address, client).await.with_context(|| format!("{address}")))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Does something with a client of all nodes, in a runtime of its own.
///
/// # Errors
/// Those of `work`; [`InputError`](crate::input::InputError) for credentials; anything else if no node can be reached.
pub(crate) fn with<T>(nodes: &NodesArgs, work: impl AsyncFnOnce(&Client) -> anyhow::Result<T>) -> anyhow::Result<T> {
    let credentials = pki::credentials(&nodes.credentials)?;
    let mut config = ClientConfig::new(nodes.node.clone(), credentials);
    config.deadline = Duration::from_secs(nodes.within);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.context("the runtime does not start")?.block_on(boxed(async {
        let client = Client::connect(config).await?;
        let done = work(&client).await;
        client.close().await;
        done
    }))
}

/// In a box, for what is done may be large.
fn boxed<'a, T>(work: impl Future<Output = T> + 'a) -> std::pin::Pin<Box<dyn Future<Output = T> + 'a>> {
    Box::pin(work)
}

fn json(out: &mut dyn Write, line: &impl Serialize) -> anyhow::Result<()> {
    serde_json::to_writer(&mut *out, line).map_err(io::Error::from)?;
    Ok(out.write_all(b"\n")?)
}
