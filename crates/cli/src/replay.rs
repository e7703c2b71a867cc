//! Chat logs, replayed through one guild, every delivery checked.
//!
//! A line is read by the rules of the log ([`irc`](crate::irc)), noted in a naive [`Model`] that knows what must follow from it, and
//! acted out on a [`Stage`]: a node with one guild, and a task for each session. What every session has heard is compared with
//! what the model says that it must hear.
//!
//! Each line takes full effect before the next because all go to the guild's owner in their order and it handles them in that
//! order; they are not waited for one by one.

mod hearing;
mod model;
mod report;
mod stage;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, ensure};
use guildhall_proto::limits::PAYLOAD_BYTES_MAX;
use guildhall_proto::{Nick, Payload, UserId};
use guildhall_store::{EmbeddedConfig, MemoryStore, Store};
use tracing::{info, warn};

use crate::checks::{Spoken, Waited};
use crate::data::{self, Running};
use crate::irc::{IrcError, Line, LogFile, in_name_order};
use crate::runtime::runtime;
use model::{Known, Model, user_of};
use stage::{RING_BYTES, RING_EVENTS, Stage};

pub(crate) use report::Report;

/// Replays the files in the order of their names.
///
/// With `data` the guild lies in that directory, and is gone on with if it is there.
///
/// # Errors
/// [`IrcError`] for a file that is not acceptable, [`DataError`](crate::data::DataError) for a directory; anything else is a failure of the replay itself.
pub(crate) fn replay(paths: Vec<PathBuf>, data: Option<&Path>) -> anyhow::Result<Report> {
    let began = Instant::now();
    let paths = in_name_order(paths);
    for path in &paths {
        LogFile::check(path)?;
    }
    let mut report = match data {
        None => in_memory(&paths)?,
        Some(data) => on_disk(&paths, data::open(data, CLUSTER, &EmbeddedConfig::default())?)?,
    };
    report.time(began.elapsed());
    Ok(report)
}

// Both on this thread, which is none of the runtime's: so reading files holds up no session.

fn in_memory(paths: &[PathBuf]) -> anyhow::Result<Report> {
    let runtime = runtime().context("the runtime does not start")?;
    runtime.block_on(Box::pin(replay_all(paths, Arc::new(MemoryStore::default()))))
}

fn on_disk(paths: &[PathBuf], running: Running) -> anyhow::Result<Report> {
    let store = Arc::clone(running.store()) as Arc<dyn Store>;
    running.run(Box::pin(replay_all(paths, store)))
}

async fn replay_all(paths: &[PathBuf], store: Arc<dyn Store>) -> anyhow::Result<Report> {
    let stage = Stage::new(store).await?;
    let mut replay =
        Replay { model: Model::default(), stage, report: Report::default(), ahead: Ahead::default(), met: 0 };
    for path in paths {
        replay.file(path).await?;
    }
    replay.finish().await
}

struct Replay {
    model: Model,
    stage: Stage,
    report: Report,
    /// What was sent since all was heard that was sent before.
    ahead: Ahead,
    /// Nicks of these logs that an earlier replay had made members.
    met: usize,
}

#[derive(Default)]
struct Ahead {
    lines: usize,
    bytes: usize,
}

/// Where a line stands.
#[derive(Clone, Copy)]
struct Place<'a> {
    path: &'a Path,
    line: usize,
}

impl Replay {
    async fn file(&mut self, path: &Path) -> anyhow::Result<()> {
        let log = LogFile::read(path)?;
        for (line, text) in log.lines() {
            self.line(Place { path, line }, &text).await?;
        }
        self.report.files += 1;
        let going = self.model.go_all();
        self.stage.detach(going).await?;
        self.catch_up().await?;
        info!(?path, lines = self.report.lines, deliveries = self.report.deliveries, "file replayed");
        Ok(())
    }

    async fn line(&mut self, place: Place<'_>, text: &str) -> anyhow::Result<()> {
        self.report.lines += 1;
        match Line::parse(text) {
            Line::Message { nick, text } => {
                self.report.messages += 1;
                self.speak(place, nick, text).await?;
            }
            Line::Join { nick } => {
                self.report.joins += 1;
                self.come(place, nick).await?;
            }
            Line::Leave { nick } => {
                self.report.leaves += 1;
                self.go(nick).await?;
            }
            Line::Rename { old, new } => {
                self.report.renames += 1;
                self.go(old).await?;
                self.come(place, new).await?;
            }
            Line::Skipped => self.report.skipped += 1,
        }
        self.ahead.lines += 1;
        self.ahead.bytes += text.len();
        if self.ahead.lines >= LINES_AHEAD_MAX || self.ahead.bytes >= BYTES_AHEAD_MAX {
            self.catch_up().await?;
        }
        Ok(())
    }

    /// Makes a nick a member if it is new, and has it come online if it is not.
    async fn come(&mut self, place: Place<'_>, nick: &str) -> anyhow::Result<UserId> {
        let user = user_of(nick);
        match self.model.know(user, nick).map_err(|other| place.collision(nick, other, user))? {
            Known::New => {
                let parsed = place.parse(nick)?;
                match self.stage.stored_nick(user) {
                    None => self.stage.add(user, parsed).await?,
                    Some(before) if before == parsed => self.met += 1,
                    Some(before) => return Err(place.collision(nick, before.to_string(), user).into()),
                }
            }
            Known::Already => {}
        }
        if !self.model.is_online(user) {
            let from = self.model.come(user);
            self.stage.attach(user, from).await?;
        }
        Ok(user)
    }

    async fn speak(&mut self, place: Place<'_>, nick: &str, text: &str) -> anyhow::Result<()> {
        let author = self.come(place, nick).await?;
        let number = self.model.speak(author);
        let payload = Payload::new(Spoken { number, author }.write(text));
        let payload = payload.map_err(|source| IrcError::Text { path: place.path.into(), line: place.line, source })?;
        self.stage.publish(author, payload).await
    }

    /// Has a nick go offline that may be, and may never have been seen.
    async fn go(&mut self, nick: &str) -> anyhow::Result<()> {
        let user = user_of(nick);
        match self.model.go(user, nick) {
            Some(due) => self.stage.detach(vec![(user, due)]).await,
            None => Ok(()),
        }
    }

    /// Waits until all that was sent has been heard, collects what ended sessions have heard, and has guild and model compared.
    async fn catch_up(&mut self) -> anyhow::Result<()> {
        self.ahead = Ahead::default();
        self.stage.settle().await?;
        // What was late once is not waited for again.
        let due = self.model.deliveries() - self.report.late;
        match self.stage.progress().wait_for(due).await {
            Waited::Reached => {}
            Waited::Stalled(heard) => {
                warn!(due, heard, lines = self.report.lines, "sessions hear nothing more, and deliveries are due");
                self.report.late += due - heard;
            }
        }
        self.stage.collect(&mut self.report).await?;
        let shown = self.stage.shown().await?;
        let known = (self.stage.stored() + self.model.members() - self.met, self.model.online());
        ensure!(shown == known, "the guild shows {shown:?} members and of them online, the log {known:?}");
        Ok(())
    }

    async fn finish(mut self) -> anyhow::Result<Report> {
        self.report.members = self.stage.shown().await?.0 as u64;
        self.report.peak_online = self.model.peak_online() as u64;
        self.stage.stop().await;
        Ok(self.report)
    }
}

impl Place<'_> {
    fn parse(self, nick: &str) -> Result<Nick, IrcError> {
        let refused = |source| IrcError::Nick { path: self.path.into(), line: self.line, nick: nick.into(), source };
        Nick::parse(nick).map_err(refused)
    }

    fn collision(self, nick: &str, other: String, user: UserId) -> IrcError {
        IrcError::NickCollision { path: self.path.into(), line: self.line, nick: nick.into(), other, user }
    }
}

/// The cluster of directories that replays make: "guildhall replay". Others are not theirs to write.
const CLUSTER: u128 = u128::from_be_bytes(*b"guildhall replay");
/// Lines sent before everybody must have heard all of them, so that who has heard nothing of them yet does not fall out of a ring.
/// Live traffic knows no such pause: there a slow session is told a gap.
const LINES_AHEAD_MAX: usize = 1_024;
/// Bytes of lines sent before everybody must have heard all of them.
const BYTES_AHEAD_MAX: usize = 2 * 1024 * 1024;
/// Events that a line makes at most: somebody becomes a member and says something.
const LINE_EVENTS_MAX: usize = 2;
/// What an event takes in a ring beside the text of its line, at most.
const EVENT_BYTES_MAX: usize = 1_024;

const _: () = assert!(LINES_AHEAD_MAX * LINE_EVENTS_MAX <= RING_EVENTS / 2);
const _: () = assert!(
    BYTES_AHEAD_MAX + PAYLOAD_BYTES_MAX + LINES_AHEAD_MAX * LINE_EVENTS_MAX * EVENT_BYTES_MAX <= RING_BYTES * 3 / 4
);

#[cfg(test)]
mod tests {
    use std::fs;

    use guildhall_log::MemoryFiles;
    use guildhall_log::files::{Failure, Fault, Files, Site};
    use guildhall_node::WriterFailure;
    use guildhall_store::Directory;

    use super::*;

    #[test]
    fn a_disk_that_fails_ends_a_replay_with_what_failed() {
        let logs = tempfile::tempdir().unwrap();
        let log = logs.path().join("log.txt");
        let lines: String = (0..500).map(|nick| format!("[10:00] <nick{nick}> hears of it\n")).collect();
        fs::write(&log, lines).unwrap();
        for after in [0, 3, 9] {
            let files: [MemoryFiles; 3] = Default::default();
            let [root, records, checkpoints] = files.clone().map(|files| Arc::new(files) as Arc<dyn Files>);
            let directory = Directory::new(root, records, checkpoints);
            let running = data::open_in(logs.path(), directory, CLUSTER, &EmbeddedConfig::default()).unwrap();
            files[1].fail(Fault { site: Site::Sync, after, times: 1, failure: Failure::Error(5) });
            let error = on_disk(std::slice::from_ref(&log), running).unwrap_err();
            assert!(error.is::<WriterFailure>(), "{error:#}");
            let told = error.to_string();
            assert!(told.contains("records/") && told.contains("cannot sync"), "{told}");
        }
    }
}
