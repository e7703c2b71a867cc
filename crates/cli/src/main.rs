//! The `guildhall` binary: turns real chat logs into one guild, and checks every delivery.
//!
//! ```sh
//! guildhall replay --irc logs/*.txt
//! ```
//!
//! The guild runs in this process, on the same parts as everywhere else; the binary reads, drives, checks and reports.

mod args;
mod irc;
mod logging;
mod replay;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use args::{Args, Command, ReplayArgs};
use irc::IrcError;
use logging::Logs;
use replay::Verdict;

fn main() -> ExitCode {
    let args = Args::parse();
    let logs = match Logs::start(args.log, args.log_level) {
        Ok(logs) => logs,
        Err(error) => return failed(&error.context("cannot log")),
    };
    let done = match args.command {
        Command::Replay(args) => replay(args),
        Command::Completions { shell } => completions(shell),
    };
    logs.finish();
    done.unwrap_or_else(|error| failed(&error))
}

fn replay(args: ReplayArgs) -> anyhow::Result<ExitCode> {
    let report = replay::replay(args.irc)?;
    let text = if args.json { report.json()? } else { report.table() };
    print(text.as_bytes())?;
    Ok(match report.verdict() {
        Verdict::Passed => ExitCode::SUCCESS,
        Verdict::Failed => ExitCode::from(args::EXIT_FAILED),
    })
}

fn completions(shell: clap_complete::Shell) -> anyhow::Result<ExitCode> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Args::command(), "guildhall", &mut script);
    print(&script)?;
    Ok(ExitCode::SUCCESS)
}

/// Writes to standard output. Whoever reads there may have heard enough: that is no failure.
fn print(text: &[u8]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}

/// Says what went wrong, and whose fault it is.
fn failed(error: &anyhow::Error) -> ExitCode {
    // There is nobody left to tell if this fails.
    drop(writeln!(io::stderr(), "guildhall: {error:#}"));
    if error.is::<IrcError>() { ExitCode::from(args::EXIT_BAD_INPUT) } else { ExitCode::from(args::EXIT_FAILED) }
}
