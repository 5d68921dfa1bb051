use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use super::error::CliError;
use super::monitor::{get, reachable};
use super::output::{Output, describe};
use super::ready_file::ReadyFile;
use super::setup::load;

/// The process of a container.
const FIRST: i32 = 1;

/// The interval at which the outcome is read.
const LOOK: Duration = Duration::from_millis(100);

/// The maximum size of the metrics in bytes. There are some per route and upstream.
const METRICS: usize = 64 << 20;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Ready file of the server (`serve --ready-file`), which names its process and has the outcome. Default: process 1,
    /// as in a container, and its metrics
    #[arg(long, value_name = "PATH")]
    ready_file: Option<PathBuf>,
    /// Maximum wait for the outcome in seconds, 1 to 300
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=300))]
    timeout: u64,
    /// Only send the signal, and do not wait for the outcome
    #[arg(long)]
    no_wait: bool,
}

pub(super) fn run(args: &Args, config: Option<&Path>, output: Output) -> Result<(), CliError> {
    // Most mistakes are found here, before the server looks.
    let meant = load(config)?;
    let pid = match &args.ready_file {
        Some(path) => ReadyFile::read(path)?.pid,
        None => FIRST,
    };
    // 0 and negative numbers would be groups of processes.
    let process = Some(pid).filter(|&pid| pid > 0 && is_realmgate(pid));
    let process = process
        .and_then(Pid::from_raw)
        .ok_or_else(|| match &args.ready_file {
            Some(path) => CliError::EndedServer {
                path: path.clone(),
                pid,
            },
            None => CliError::NoServer(pid),
        })?;
    let deadline = Instant::now() + Duration::from_secs(args.timeout);
    let source = match (&args.ready_file, meant.metrics) {
        (Some(path), _) => Ok(Source::ReadyFile(path)),
        (None, Some(metrics)) => Ok(Source::Metrics(pid, reachable(metrics))),
        (None, None) => {
            Err("metrics.listen is \"off\"; name the ready file with --ready-file".to_owned())
        }
    };
    let before = match args.no_wait {
        true => None,
        false => Some(source.and_then(|source| Ok((source.read(deadline)?, source)))),
    };
    kill_process(process, Signal::HUP).map_err(|error| CliError::Signal(pid, error.into()))?;
    let Some(before) = before else {
        output.print(&json!({ "pid": pid }), || {
            format!("sent SIGHUP to process {pid}; its log has the outcome")
        });
        return Ok(());
    };
    let unknown = |why| CliError::NoOutcome(pid, why);
    let (before, source) = before.map_err(unknown)?;
    let after = wait(&before, &source, deadline).map_err(unknown)?;
    match after.refusal {
        None => {
            output.print(&json!({ "pid": after.pid, "reloaded": true }), || {
                format!("process {} has accepted the configuration", after.pid)
            });
            Ok(())
        }
        Some(why) => Err(CliError::Refused(after.pid, why)),
    }
}

/// Where the outcome is read.
enum Source<'a> {
    ReadyFile(&'a Path),
    /// The metrics of a process.
    Metrics(i32, SocketAddr),
}

/// The last reload of a server.
#[derive(Debug, PartialEq, Eq)]
struct Last {
    pid: i32,
    /// The number of reloads since the start.
    number: u64,
    /// Why the last one was rejected.
    refusal: Option<String>,
}

impl Source<'_> {
    /// # Errors
    /// Why the outcome cannot be read.
    fn read(&self, deadline: Instant) -> Result<Last, String> {
        match self {
            Self::ReadyFile(path) => {
                let file = ReadyFile::read(path).map_err(|error| describe(&error))?;
                let (number, refusal) = file.reload.map(|it| (it.number, it.error)).unzip();
                Ok(Last {
                    pid: file.pid,
                    number: number.unwrap_or_default(),
                    refusal: refusal.flatten(),
                })
            }
            Self::Metrics(pid, address) => {
                let (status, metrics) = get(*address, "/metrics", deadline, METRICS)
                    .map_err(|error| format!("{address} does not respond: {error}"))?;
                let last = in_metrics(&metrics, *pid).filter(|_| status == 200);
                last.ok_or_else(|| format!("{address} has no metrics of realmgate"))
            }
        }
    }
}

/// Waits until there is another reload.
///
/// # Errors
/// Why the outcome cannot be read.
fn wait(before: &Last, source: &Source<'_>, deadline: Instant) -> Result<Last, String> {
    loop {
        let last = source.read(deadline)?;
        // During an upgrade, the signal is passed to the new process.
        let earlier = match last.pid == before.pid {
            true => before.number,
            false => 0,
        };
        if last.number > earlier {
            return Ok(last);
        }
        if Instant::now() + LOOK >= deadline {
            return Err("it takes too long".to_owned());
        }
        thread::sleep(LOOK);
    }
}

fn in_metrics(metrics: &str, pid: i32) -> Option<Last> {
    let number = |name: &str| -> Option<u64> {
        let mut values = metrics.lines().filter_map(|line| {
            let value = line.strip_prefix(name)?.strip_prefix(' ')?;
            value.trim().parse().ok()
        });
        values.next()
    };
    let [applied, refused] = ["applied", "refused"].map(|outcome| {
        number(&format!(
            "realmgate_config_reloads_total{{outcome=\"{outcome}\"}}"
        ))
    });
    let is_applied = number("realmgate_config_last_reload_successful")? == 1;
    Some(Last {
        pid,
        number: applied? + refused?,
        refusal: (!is_applied).then(|| "its log has the reason".to_owned()),
    })
}

/// Returns whether a process has the name of this one: the ID of a server that has exited may belong to any other
/// process, which a SIGHUP would end.
fn is_realmgate(pid: i32) -> bool {
    let name = |process: &str| fs::read_to_string(format!("/proc/{process}/comm")).ok();
    name(&pid.to_string()).is_some_and(|found| name("self").as_ref() == Some(&found))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcome_is_read_from_metrics() {
        let metrics = |applied: u64, refused: u64, last: u64| {
            format!(
                "# TYPE realmgate_config_reloads counter\n\
                 realmgate_config_reloads_total{{outcome=\"applied\"}} {applied}\n\
                 realmgate_config_reloads_total{{outcome=\"refused\"}} {refused}\n\
                 realmgate_config_last_reload_successful {last}\n"
            )
        };
        let last = |number, refusal: Option<&str>| Last {
            pid: 7,
            number,
            refusal: refusal.map(str::to_owned),
        };
        assert_eq!(in_metrics(&metrics(0, 0, 1), 7), Some(last(0, None)));
        let refused = Some(last(5, Some("its log has the reason")));
        assert_eq!(in_metrics(&metrics(2, 3, 0), 7), refused);
        assert_eq!(in_metrics("up 1\n", 7), None);
    }
}
