use std::fmt::Write;
use std::path::PathBuf;

use serde_json::json;

use super::error::CliError;
use super::output::{BAD, DIM, GOOD, Output};
use crate::audit::{Finding, Position, Report, read_positions, verify};

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Verify the hash chain, and report altered, missing, reordered or truncated lines
    ///
    /// Exit codes: 0 the chain is intact; 1 it is broken; 2 wrong usage or a file cannot be read.
    Verify(Verify),
}

#[derive(Debug, clap::Args)]
pub(super) struct Verify {
    /// Audit logs, oldest first; the head of the last one is FILE.head
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Position recorded elsewhere, as this command prints it for the last line; the files must contain it
    #[arg(long, value_name = "SEQ:HASH")]
    noted: Vec<Position>,
    /// Log of the server, or `-` for standard input; the files must contain every position recorded there
    #[arg(long, value_name = "LOG")]
    noted_in: Vec<PathBuf>,
    /// Require that the files begin with the first line ever written
    #[arg(long)]
    whole: bool,
    /// Verify without the head of the last file; truncation is not detected
    #[arg(long)]
    no_head: bool,
}

pub(super) fn run(command: &Command, output: Output) -> Result<(), CliError> {
    let Command::Verify(args) = command;
    let mut noted = args.noted.clone();
    for log in &args.noted_in {
        noted.extend(read_positions(log)?);
    }
    let report = verify(&args.files, !args.no_head, args.whole, &noted)?;
    let place = |at: Option<Position>| at.map(|at| at.to_string());
    let value = json!({
        "ok": report.breaks.is_empty(), "lines": report.lines,
        "first": place(report.first), "last": place(report.last),
        "breaks": report.breaks, "notes": report.notes,
    });
    output.print(&value, || text(&report));
    match report.breaks.len() {
        0 => Ok(()),
        breaks => Err(CliError::BrokenLog(breaks)),
    }
}

fn text(report: &Report) -> String {
    let mut text = String::new();
    for found in &report.breaks {
        let _ = writeln!(text, "{BAD}{}{BAD:#}", line(found));
    }
    for found in &report.notes {
        let _ = writeln!(text, "{DIM}{}{DIM:#}", line(found));
    }
    if let Some(last) = report.last {
        let _ = writeln!(text, "{} lines, last: {last}", report.lines);
    } else {
        text.push_str("no lines\n");
    }
    if report.breaks.is_empty() {
        let _ = write!(text, "{GOOD}fine{GOOD:#}");
    } else {
        let _ = write!(text, "{BAD}broken{BAD:#}");
    }
    text
}

fn line(found: &Finding) -> String {
    let file = found.file.display();
    match found.line {
        Some(line) => format!("{file}:{line}: {} ({})", found.message, found.code),
        None => format!("{file}: {} ({})", found.message, found.code),
    }
}
