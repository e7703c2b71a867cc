//! One kill: a child at its work, killed at a moment that it does not know, and the lines that it wrote until then.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;

use super::line::Line;
use crate::random::Random;

/// When a child is killed.
#[derive(Debug, Clone, Copy)]
enum Moment {
    /// When it was answered so many operations.
    Answers(u64),
    /// So long after its start: in the middle of opening what the one before left, perhaps.
    After(Duration),
}

/// What a child came to.
#[derive(Debug)]
pub(super) struct Killed {
    pub(super) lines: Vec<Line>,
    /// Whether it was still alive to be killed.
    pub(super) was_alive: bool,
}

/// Starts a child on a directory and kills it.
///
/// # Errors
/// If the child does not start, or writes what means nothing.
pub(super) fn kill(path: &Path, round: u64, seed: u64, args: &[String], random: &mut Random) -> anyhow::Result<Killed> {
    let moment = match random.below(4) {
        0 => Moment::After(Duration::from_micros(random.below(EARLY_MICROS))),
        _ => Moment::Answers(1 + random.below(ANSWERS_MAX)),
    };
    let binary = std::env::current_exe().context("this program's own file is not known")?;
    let mut child = Command::new(binary)
        .args(["victim", "--data"])
        .arg(path)
        .args(["--round", &round.to_string(), "--seed", &seed.to_string()])
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("the child does not start")?;
    let started = Instant::now();
    let stdout = child.stdout.take().expect("it was asked for a pipe");
    let (told, lines) = mpsc::channel();
    // Read on while the child is killed, so that it never waits for us with a line.
    let reading = thread::spawn(move || {
        for line in BufReader::new(stdout).lines() {
            if told.send(line).is_err() {
                return;
            }
        }
    });
    let killed = watch(&mut child, &lines, moment, started);
    // Whatever happened: no child outlives its round.
    drop(child.kill());
    child.wait().context("the child does not end")?;
    reading.join().expect("reading lines does not panic");
    let (mut read, was_alive) = killed?;
    for line in lines.try_iter() {
        read.push(line?.parse()?);
    }
    Ok(Killed { lines: read, was_alive })
}

/// Reads lines until the moment, and kills.
fn watch(
    child: &mut Child,
    lines: &Receiver<std::io::Result<String>>,
    moment: Moment,
    started: Instant,
) -> anyhow::Result<(Vec<Line>, bool)> {
    let (mut read, mut answers) = (Vec::new(), 0);
    loop {
        let left = match moment {
            Moment::Answers(due) if answers >= due => Duration::ZERO,
            Moment::Answers(_) => PATIENCE.saturating_sub(started.elapsed()),
            Moment::After(time) => time.saturating_sub(started.elapsed()),
        };
        if left.is_zero() {
            break;
        }
        match lines.recv_timeout(left) {
            Ok(line) => {
                let line: Line = line?.parse()?;
                answers += u64::from(matches!(line, Line::Answered { .. }));
                read.push(line);
            }
            Err(RecvTimeoutError::Timeout) => break,
            Err(RecvTimeoutError::Disconnected) => return Ok((read, false)),
        }
    }
    let was_alive = child.try_wait().context("the child cannot be looked at")?.is_none();
    child.kill().context("the child cannot be killed")?;
    Ok((read, was_alive))
}

/// Answers after which a child is killed, at most.
const ANSWERS_MAX: u64 = 1_000;
/// The latest of those that are killed by the clock.
const EARLY_MICROS: u64 = 150_000;
/// A child that is not answered as much by then is killed all the same.
const PATIENCE: Duration = Duration::from_secs(20);
