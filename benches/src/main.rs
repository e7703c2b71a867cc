//! `guildhall-benches`: every number to reach, measured.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use guildhall_benches::processes;
use guildhall_benches::rows::{BENCHES, UnknownName, choose, named};
use guildhall_benches::run::{self, Options};

/// The product's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Every number to reach, measured beside what the machine allows and, if wanted, what the peer does.
#[derive(Debug, Parser)]
struct Arguments {
    #[command(subcommand)]
    order: Order,
}

#[derive(Debug, Subcommand)]
enum Order {
    /// Measures rows and shows them in a table. Exits with 0 also if numbers are missed, or rows not judged because the machine was too busy
    /// for them, with 1 if a row could not be measured, with 2 if there is no such row.
    Run {
        /// Rows with one of these in their names; all, if none is given.
        names: Vec<String>,
        /// Also writes the rows to a file, as a JSON list.
        #[arg(long, value_name = "FILE")]
        json: Option<PathBuf>,
        /// Also runs the peers (benches/peers), each row beside ours.
        #[arg(long)]
        peer: bool,
        /// Smaller sizes and fewer runs: less than two minutes in all.
        #[arg(long)]
        quick: bool,
    },
    /// Lists the names of all rows.
    List,
    /// Is another process of a row, as standard input says.
    #[command(hide = true)]
    Process {
        /// Which.
        what: String,
    },
    /// Measures rows of one bench in this process, for `run`.
    #[command(hide = true)]
    Rows {
        names: Vec<String>,
        #[arg(long)]
        quick: bool,
    },
}

fn main() -> ExitCode {
    match Arguments::parse().order {
        Order::Run { names, json, peer, quick } => match choose(&names) {
            Err(unknown) => refuse(&unknown),
            Ok(chosen) => match run::table(&chosen, &Options { quick, peer, json }) {
                Ok(()) => ExitCode::SUCCESS,
                Err(error) => {
                    eprintln!("{error:#}");
                    ExitCode::FAILURE
                }
            },
        },
        Order::List => {
            list().for_each(|name| println!("{name}"));
            ExitCode::SUCCESS
        }
        Order::Process { what } => match processes::be(&what) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("{what}: {error:#}");
                ExitCode::FAILURE
            }
        },
        Order::Rows { names, quick } => match named(&names) {
            Err(unknown) => refuse(&unknown),
            Ok(chosen) => {
                run::rows(&chosen, quick);
                ExitCode::SUCCESS
            }
        },
    }
}

fn refuse(unknown: &UnknownName) -> ExitCode {
    eprintln!("{unknown}; the rows are:");
    list().for_each(|name| eprintln!("  {name}"));
    ExitCode::from(2)
}

fn list() -> impl Iterator<Item = &'static str> {
    BENCHES.iter().flat_map(|bench| bench.rows).map(|row| row.name)
}
