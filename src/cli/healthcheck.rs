use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::json;

use super::error::CliError;
use super::monitor::{get, reachable};
use super::output::Output;
use super::ready_file::ReadyFile;
use super::setup::load;

/// The maximum size of a response in bytes. Readiness is one line.
const MOST: usize = 16 << 10;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Ready file of the server (`serve --ready-file`), which names its listeners. Default: the configuration names them
    #[arg(long, value_name = "PATH")]
    ready_file: Option<PathBuf>,
    /// Check only whether the process responds (/healthz), not whether it can decide (/readyz)
    #[arg(long)]
    alive: bool,
    /// Time limit in seconds, 1 to 300
    #[arg(long, value_name = "SECONDS", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=300))]
    timeout: u64,
}

pub(super) fn run(args: &Args, config: Option<&Path>, output: Output) -> Result<(), CliError> {
    let listener = match &args.ready_file {
        Some(path) => ReadyFile::read(path)?.metrics,
        None => load(config)?.metrics,
    };
    let address = reachable(listener.ok_or(CliError::NoMetrics)?);
    let path = if args.alive { "/healthz" } else { "/readyz" };
    let deadline = Instant::now() + Duration::from_secs(args.timeout);
    let unreachable = |error: io::Error| {
        let error = match error.kind() {
            // What a socket's timeouts report.
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
                let text = format!("no response within {} s", args.timeout);
                io::Error::new(io::ErrorKind::TimedOut, text)
            }
            _ => error,
        };
        CliError::NoHealth(address, error)
    };
    let (status, body) = get(address, path, deadline, MOST).map_err(unreachable)?;
    match status {
        200 => {
            output.print(&json!({ "status": "ok" }), || "ok".to_owned());
            Ok(())
        }
        _ => {
            let line = body.lines().next().unwrap_or_default();
            Err(CliError::Unhealthy(status, line.escape_debug().collect()))
        }
    }
}
