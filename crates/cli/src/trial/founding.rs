//! Makes the guild of a trial: its roles and channels, and its members by imports, of which the next is on its way while one is carried out.

use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use guildhall_client::{ClientError, Guild};
use guildhall_proto::{Actor, Command, Outcome};
use tokio::task::JoinSet;

use super::shape::Shape;

/// Makes a guild; calls `imported` with the members of each import that is done, and how long it took.
///
/// # Errors
/// The [`ClientError`] of a call that failed.
pub(crate) async fn found(
    guild: &Guild,
    shape: Shape,
    name: &str,
    mut imported: impl FnMut(u64, Duration),
) -> anyhow::Result<()> {
    let (create, rest) = shape.founding(name);
    guild.call(Actor::System, create).await.context("the guild is not made")?;
    for command in rest {
        guild.call(Actor::System, command).await.context("the guild is not made")?;
    }
    let (mut imports, mut importing) = (shape.imports(), JoinSet::new());
    loop {
        if importing.len() < IMPORTS_AHEAD
            && let Some(command) = imports.next()
        {
            importing.spawn(import(guild.clone(), command));
            continue;
        }
        let Some(done) = importing.join_next().await else { return Ok(()) };
        match done.context("an import failed")?.context("an import failed")? {
            (Outcome::MembersImported { added, stopped: None, .. }, took) => imported(added.into(), took),
            (
                outcome @ (Outcome::MembersImported { .. } | Outcome::MembersPruned { .. } | Outcome::Applied { .. }),
                _,
            ) => bail!("an import came to {outcome:?}"),
        }
    }
}

async fn import(guild: Guild, command: Command) -> Result<(Outcome, Duration), ClientError> {
    let begun = Instant::now();
    let outcome = guild.call(Actor::System, command).await?;
    Ok((outcome, begun.elapsed()))
}

/// Imports begun and not done.
const IMPORTS_AHEAD: usize = 2;
