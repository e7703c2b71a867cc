//! Building the guild of a demo: roles and channels, and its members by imports.

use std::collections::VecDeque;
use std::time::Instant;

use anyhow::{Context, ensure};
use guildhall_node::{Node, Pending};
use guildhall_proto::{Actor, CallError, ClientId, Command, Outcome};
use tokio::time::sleep;

use super::GUILD;
use crate::operations::Operations;
use crate::trial::latency::{Kind, Latencies};
use crate::trial::shape::Shape;

/// Creates the guild; calls `imported` with the members of each import that is done.
pub(crate) async fn build(
    node: &Node,
    shape: Shape,
    latencies: &mut Latencies,
    imported: impl Fn(u64),
) -> anyhow::Result<()> {
    let mut builder = Builder { node, operations: Operations::of(ClientId::new(BUILDER)?), pending: VecDeque::new() };
    let (create, rest) = shape.founding("demo");
    let call = builder.operations.call(Actor::System, create)?;
    node.call(GUILD, call).await.context("the guild is not created")?;
    for command in rest {
        builder.begin(command).await?;
    }
    while builder.settle_one().await?.is_some() {}
    for import in shape.imports() {
        if builder.pending.len() == IMPORTS_AHEAD {
            builder.settle_import(latencies, &imported).await?;
        }
        builder.begin(import).await?;
    }
    while !builder.pending.is_empty() {
        builder.settle_import(latencies, &imported).await?;
    }
    let members = node.view(GUILD).await.context("the guild cannot be read")?.len() as u64;
    ensure!(members == shape.members, "the guild has {members} members instead of {}", shape.members);
    Ok(())
}

struct Builder<'a> {
    node: &'a Node,
    operations: Operations,
    pending: VecDeque<(Instant, Pending)>,
}

impl Builder<'_> {
    async fn begin(&mut self, command: Command) -> anyhow::Result<()> {
        let call = self.operations.call(Actor::System, command)?;
        let begun = Instant::now();
        loop {
            match self.node.begin(GUILD, call.clone()) {
                Ok(pending) => {
                    self.pending.push_back((begun, pending));
                    return Ok(());
                }
                Err(CallError::Overloaded { retry_after }) => sleep(retry_after).await,
                Err(error) => return Err(error).context("the guild is not built"),
            }
        }
    }

    async fn settle_one(&mut self) -> anyhow::Result<Option<(Instant, Outcome)>> {
        let Some((begun, pending)) = self.pending.pop_front() else {
            return Ok(None);
        };
        Ok(Some((begun, pending.answer().await.context("the guild is not built")?)))
    }

    async fn settle_import(&mut self, latencies: &mut Latencies, imported: &impl Fn(u64)) -> anyhow::Result<()> {
        if let Some((begun, Outcome::MembersImported { added, stopped, .. })) = self.settle_one().await? {
            ensure!(stopped.is_none(), "an import stopped: {stopped:?}");
            latencies.note(Kind::Import, begun.elapsed());
            imported(u64::from(added));
        }
        Ok(())
    }
}

/// The client that builds; another one drives.
const BUILDER: u64 = 2;
/// Imports begun and not done: while one is carried out, the next is on its way.
const IMPORTS_AHEAD: usize = 2;
