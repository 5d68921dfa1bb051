use std::fs;
use std::path::{Path, PathBuf};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use super::error::CliError;
use super::output::Output;
use super::ready_file::ReadyFile;
use super::setup::load;

/// The process of a container.
const FIRST: i32 = 1;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Ready file of the server (`serve --ready-file`), which names its process. Default: process 1, as in a container
    #[arg(long, value_name = "PATH")]
    ready_file: Option<PathBuf>,
}

pub(super) fn run(args: &Args, config: Option<&Path>, output: Output) -> Result<(), CliError> {
    // The server would keep its configuration and only log the error.
    load(config)?;
    let pid = match &args.ready_file {
        Some(path) => ReadyFile::read(path)?.pid,
        None => FIRST,
    };
    // 0 and negative numbers would be groups of processes.
    let process = Some(pid).filter(|&pid| pid > 0 && is_realmgate(pid));
    let process = process
        .and_then(Pid::from_raw)
        .ok_or(CliError::NoServer(pid))?;
    kill_process(process, Signal::HUP).map_err(|error| CliError::Signal(pid, error.into()))?;
    output.print(&json!({ "pid": pid }), || {
        format!("sent SIGHUP to process {pid}; its log has the outcome")
    });
    Ok(())
}

/// Returns whether a process has the name of this one: the ID of a server that has exited may belong to any other
/// process, which a SIGHUP would end.
fn is_realmgate(pid: i32) -> bool {
    let name = |process: &str| fs::read_to_string(format!("/proc/{process}/comm")).ok();
    name(&pid.to_string()).is_some_and(|found| name("self").as_ref() == Some(&found))
}
