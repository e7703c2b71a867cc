//! The `guildhall` binary: works a large guild hard, or turns real chat logs into one, and checks every delivery; and looks after
//! directories of guilds.
//!
//! ```sh
//! guildhall demo
//! guildhall replay --irc logs/*.txt
//! guildhall guild list --data DIR
//! ```
//!
//! A demo, a replay and a guild node run their guilds in this process, on the same parts as everywhere else; a load, and whatever asks nodes that run,
//! reaches them over links. The binary reads, drives, checks and reports.

mod args;
mod backup;
mod bars;
mod checks;
mod data;
mod date;
mod demo;
mod guild;
mod input;
mod irc;
mod kill;
mod load;
mod log;
mod logging;
mod operations;
mod pki;
mod random;
mod remote;
mod replay;
mod runtime;
mod serve;
mod tables;
mod trial;

use std::io::{self, Write};
use std::process::ExitCode;

use args::{Args, Command, CrashArgs, DemoArgs, LoadArgs, ReplayArgs, VictimArgs};
use checks::Verdict;
use data::DataError;
use demo::DemoError;
use input::InputError;
use irc::IrcError;
use load::LoadError;
use logging::Logs;

/// What is freed here was mostly made by another thread.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let args = Args::read();
    let logs = match Logs::start(args.log, args.log_level) {
        Ok(logs) => logs,
        Err(error) => return failed(&error.context("cannot log")),
    };
    let done = match args.command {
        Command::Demo(args) => demo(&args),
        Command::Replay(args) => replay(args),
        Command::Serve(args) => serve::serve(&args.config, &logs.lost()),
        Command::Ping(args) => streamed(|out| remote::ping(&args, out)),
        Command::Stats(args) => streamed(|out| remote::stats(&args, out)),
        Command::Load(args) => load(&args),
        Command::Guild(command) => streamed(|out| guild::run(&command, out)),
        Command::Log(command) => streamed(|out| log::run(&command, out)),
        Command::Backup(args) => streamed(|out| backup::backup(&args, out)),
        Command::Restore(args) => streamed(|out| backup::restore(&args, out)),
        Command::Pki(command) => streamed(|out| pki::run(&command, out)),
        Command::Crash(args) => crash(&args),
        Command::Victim(args) => victim(&args),
        Command::Completions { shell } => completions(shell),
    };
    logs.finish();
    done.unwrap_or_else(|error| failed(&error))
}

fn demo(args: &DemoArgs) -> anyhow::Result<ExitCode> {
    let report = demo::demo(args.asked())?;
    print(if args.json { report.json()? } else { report.table() }.as_bytes())?;
    Ok(exit_code(report.verdict()))
}

fn replay(args: ReplayArgs) -> anyhow::Result<ExitCode> {
    let report = replay::replay(args.irc, args.data.as_deref())?;
    let text = if args.json { report.json()? } else { report.table() };
    print(text.as_bytes())?;
    Ok(exit_code(report.verdict()))
}

fn load(args: &LoadArgs) -> anyhow::Result<ExitCode> {
    let report = load::load(args)?;
    print(if args.json { report.json()? } else { report.table() }.as_bytes())?;
    Ok(exit_code(report.verdict()))
}

fn victim(args: &VictimArgs) -> anyhow::Result<ExitCode> {
    #[cfg(feature = "defects")]
    if let Some(name) = &args.defect {
        let defect = guildhall_proto::Defect::named(name);
        let is_on = defect.is_some_and(guildhall_proto::defects::switch_on_everywhere);
        anyhow::ensure!(is_on, "there is no defect {name:?}");
    }
    kill::victim(&args.data, args.round, args.seed).map(|()| ExitCode::SUCCESS)
}

fn crash(args: &CrashArgs) -> anyhow::Result<ExitCode> {
    #[cfg(feature = "defects")]
    let child_args: Vec<String> = args.defect.iter().map(|name| format!("--defect={name}")).collect();
    #[cfg(not(feature = "defects"))]
    let child_args: Vec<String> = Vec::new();
    let totals = kill::kills(args.rounds, args.seed, &child_args, args.state.as_deref(), |_| {})?;
    let text = if args.json { serde_json::to_string(&totals)? + "\n" } else { totals.table() };
    print(text.as_bytes())?;
    Ok(exit_code(totals.verdict()))
}

fn completions(shell: clap_complete::Shell) -> anyhow::Result<ExitCode> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut args::command_line(), "guildhall", &mut script);
    print(&script)?;
    Ok(ExitCode::SUCCESS)
}

fn exit_code(verdict: Verdict) -> ExitCode {
    match verdict {
        Verdict::Passed => ExitCode::SUCCESS,
        Verdict::Failed => ExitCode::from(args::EXIT_FAILED),
    }
}

/// Has a command write to standard output as it goes. Whoever reads there may have heard enough: that is no failure.
fn streamed(command: impl FnOnce(&mut dyn Write) -> anyhow::Result<ExitCode>) -> anyhow::Result<ExitCode> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    let done = command(&mut out).and_then(|code| Ok(out.flush().map(|()| code)?));
    match done {
        Err(error) if error.downcast_ref().is_some_and(is_broken_pipe) => Ok(ExitCode::SUCCESS),
        done => done,
    }
}

fn is_broken_pipe(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::BrokenPipe
}

/// Writes to standard output. Whoever reads there may have heard enough: that is no failure.
fn print(text: &[u8]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}

/// An error with its causes, each said once: many messages end with that of their cause.
fn told(error: &anyhow::Error) -> String {
    error.chain().map(ToString::to_string).fold(String::new(), |told, cause| match told.as_str() {
        "" => cause,
        before if before.ends_with(&cause) => told,
        before => format!("{before}: {cause}"),
    })
}

/// Says what went wrong, and whose fault it is.
fn failed(error: &anyhow::Error) -> ExitCode {
    // There is nobody left to tell if this fails.
    drop(writeln!(io::stderr(), "guildhall: {}", told(error)));
    let is_input = error.is::<IrcError>()
        || error.is::<DemoError>()
        || error.is::<LoadError>()
        || error.is::<DataError>()
        || error.is::<InputError>();
    ExitCode::from(if is_input { args::EXIT_BAD_INPUT } else { args::EXIT_FAILED })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_is_said_once_whether_its_error_says_it_or_not() {
        let cause = || io::Error::other("the disk is on fire");
        let said = |error: &anyhow::Error| assert_eq!(told(error), "no backup: guilds: the disk is on fire");
        let path = std::path::PathBuf::from("guilds");
        said(&anyhow::Error::new(DataError::Unreadable { path, source: cause() }).context("no backup"));
        said(&anyhow::Error::new(cause()).context("guilds").context("no backup"));
    }
}
