//! The two sides of a run: the process that shows the table, and those that it starts, one for each bench.

use std::env;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, bail};

use crate::row::{Measured, PeerFigure, Row};
use crate::rows::{Bench, Name, Run};
use crate::{machine, peers, report};

/// What to do.
#[derive(Debug, Clone)]
pub struct Options {
    /// Smaller sizes and fewer runs.
    pub quick: bool,
    /// The peers' rows too, each beside ours.
    pub peer: bool,
    /// Where to write the rows as JSON.
    pub json: Option<PathBuf>,
}

/// Measures the rows of these benches and shows them.
///
/// # Errors
/// A bench whose process fails, after all others are measured and shown; a file that cannot be written.
pub fn table(chosen: &[(&Bench, Vec<Name>)], options: &Options) -> anyhow::Result<()> {
    let (begin, stolen) = (Instant::now(), machine::stolen());
    println!("{}", machine::describe());
    if options.quick {
        println!(
            "--quick: a tenth of the sizes and few runs. The numbers to reach are those of the full sizes; these figures are a smoke test."
        );
    }
    let mut rows = Vec::new();
    let mut failed = Vec::new();
    for (_, names) in chosen {
        let begun = Instant::now();
        let (measured, end) = measure(names, options.quick);
        eprintln!("    in {:.0} s", begun.elapsed().as_secs_f64());
        let figures = if options.peer { beside(names, options.quick) } else { Vec::new() };
        for measured in measured {
            let peers = names.iter().find(|name| name.name == measured.name).map_or(&[][..], |name| name.peers);
            let of_row = figures.iter().filter(|figure| peers.contains(&figure.name.as_str())).cloned();
            rows.push(Row::new(measured, &of_row.collect::<Vec<PeerFigure>>()));
        }
        if let Err(error) = end {
            eprintln!("{error:#}");
            failed.extend(names.iter().map(|name| name.name));
        }
    }
    let (took, stolen) = (begin.elapsed(), machine::stolen() - stolen);
    println!("{}", report::table(&rows));
    println!(
        "{} rows in {:.0} s, of which the machine's host took {:.1} s of processors' time",
        rows.len(),
        took.as_secs_f64(),
        stolen.as_secs_f64()
    );
    if let Some(unjudged) = report::unjudged(&rows) {
        println!("{unjudged}");
    }
    if let Some(path) = &options.json {
        report::write_json(path, &rows).with_context(|| format!("cannot write {}", path.display()))?;
    }
    if !failed.is_empty() {
        bail!("not measured: {}", failed.join(", "));
    }
    Ok(())
}

/// Has a process of its own measure these rows: those that it came to, and how it ended.
fn measure(names: &[Name], quick: bool) -> (Vec<Measured>, anyhow::Result<()>) {
    let mut measured = Vec::new();
    let end = measure_into(names, quick, &mut measured);
    (measured, end)
}

fn measure_into(names: &[Name], quick: bool, measured: &mut Vec<Measured>) -> anyhow::Result<()> {
    let mut command = Command::new(env::current_exe().context("where is this program?")?);
    command.arg("rows").args(names.iter().map(|name| name.name)).args(quick.then_some("--quick"));
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().context("no process for the rows")?;
    let lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
    for line in lines {
        let line = line.context("the rows' process cannot be read")?;
        let row: Measured = serde_json::from_str(&line).with_context(|| format!("no row: {line:?}"))?;
        eprintln!("{}: {:.4} {}", row.name, row.ours.middle, row.unit.name());
        measured.push(row);
    }
    let status = child.wait().context("the rows' process cannot be waited for")?;
    if !status.success() {
        bail!(
            "the process of {} ended with {status}",
            names.iter().map(|name| name.name).collect::<Vec<_>>().join(", ")
        );
    }
    Ok(())
}

/// What the peers do in the place of these rows.
fn beside(names: &[Name], quick: bool) -> Vec<PeerFigure> {
    let mut wanted: Vec<&str> = names.iter().flat_map(|name| name.peers).copied().collect();
    wanted.sort_unstable();
    wanted.dedup();
    let mut figures = Vec::new();
    for name in wanted {
        // One by one: where one fails, the others still count.
        match peers::run(&[name], quick) {
            Ok(figure) => figures.extend(figure),
            Err(error) => println!("without the peer's {name}: {error}"),
        }
    }
    figures
}

/// Measures rows in this process, and writes each as a line of JSON.
pub fn rows(chosen: &[(&Bench, Vec<Name>)], quick: bool) {
    for (bench, names) in chosen {
        let wanted = names.iter().map(|name| name.name.to_owned()).collect();
        let mut tell = |measured: Measured| {
            println!("{}", serde_json::to_string(&measured).expect("figures and texts are JSON"));
        };
        (bench.run)(&mut Run::new(quick, wanted, &mut tell));
    }
}
