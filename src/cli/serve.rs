mod manager;
mod metrics;
mod successor;

use std::cell::Cell;
use std::collections::HashMap;
use std::convert::Infallible;
use std::os::fd::OwnedFd;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use futures_util::FutureExt;
use rustix::process::{Pid, kill_process};
use tokio::signal::unix::Signal;

use super::check::exposed;
use super::error::CliError;
use super::output::describe;
use super::setup::{load, runtime};
use super::signals::{Early, Signals};
use crate::audit::{Audit, AuditMetrics, Event, Kind};
use crate::config::{Config, kubernetes_variables};
use crate::doors::{Addresses, End, Listeners, raise_file_limit};
use crate::files;
use crate::metrics::Registry;
use crate::net::aside;
use crate::server::{Instruments, Server, StartError, store_options};
use crate::store::{self, Intent};
use crate::telemetry::Telemetry;
use metrics::ConfigMetrics;
use successor::{Program, ReplaceError};

/// The maximum wait for the audit log at start and shutdown.
const LINE: Duration = Duration::from_secs(2);

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Write the bound addresses and the process id to this file, as JSON, once all listeners accept
    #[arg(long, value_name = "PATH")]
    ready_file: Option<PathBuf>,
    /// Create an empty database if there is none, even if a key exists
    #[arg(long)]
    init: bool,
}

impl Args {
    const fn intent(&self) -> Intent {
        match self.init {
            true => Intent::Create,
            false => Intent::Begin,
        }
    }
}

pub(super) fn run(args: &Args, path: Option<&Path>, early: Option<Early>) -> Result<(), CliError> {
    let early = early.map_or_else(Early::listen, Ok);
    let early = early.map_err(CliError::Runtime)?;
    // Before the program file can be replaced.
    let program = Program::of_this_process().map_err(CliError::Runtime)?;
    let config = load(path)?;
    let mut registry = Registry::new();
    let telemetry = Telemetry::start(&config.log, &mut registry).map_err(CliError::Telemetry)?;
    store::expect(&store_options(&config.store)?, args.intent())?;
    let audit = Audit::open(&config.audit, AuditMetrics::new(&mut registry))?;
    if let Err(error) = raise_file_limit() {
        tracing::warn!(%error, "cannot raise the soft limit of open files");
    }
    let runtime = runtime()?;
    if let Some(otlp) = &config.otlp {
        let _entered = runtime.enter();
        telemetry.trace(otlp, &config.server.node)?;
    }
    let process = Process {
        telemetry: &telemetry,
        audit: &audit,
        metrics: ConfigMetrics::new(&mut registry),
    };
    let instruments = Instruments {
        recorder: telemetry.recorder(audit.clone(), &mut registry),
        audit: audit.clone(),
        registry,
    };
    let served = serve(args, path, config, &program, &process, instruments, early);
    let outcome = runtime.block_on(async {
        let outcome = served.await;
        // The exporter needs this runtime to send the last spans.
        telemetry.end_traces().await;
        outcome
    });
    // A read of the configuration that hangs must not keep the process alive.
    runtime.shutdown_background();
    outcome
}

/// The parts that belong to the process, not to the server in it.
struct Process<'a> {
    telemetry: &'a Telemetry,
    audit: &'a Audit,
    metrics: ConfigMetrics,
}

async fn serve(
    args: &Args,
    path: Option<&Path>,
    config: Config,
    program: &Program,
    process: &Process<'_>,
    instruments: Instruments,
    early: Early,
) -> Result<(), CliError> {
    // As early as possible, so that no signal meets its default action.
    let mut signals = Signals::listen().map_err(CliError::Runtime)?;
    let Early {
        mut hangups,
        mut replacements,
    } = early;
    warn(&config);
    let digest = config.digest();
    let asked = Addresses::of(&config);
    let mut listeners = Listeners::inherit_or_bind(asked).map_err(StartError::Listen)?;
    let predecessor = listeners.take_predecessor();
    let has_predecessor = predecessor.is_some();
    if let Some(path) = &args.ready_file
        && !has_predecessor
    {
        remove_stale(path).map_err(|error| CliError::Write(path.clone(), error))?;
    }
    let sockets = listeners.share().map_err(CliError::Runtime)?;
    let mut server = tokio::select! {
        server = Server::start(config, listeners, args.intent(), instruments) => server?,
        () = signals.next() => {
            tracing::info!("stopped before it was ready");
            return Ok(());
        }
    };
    let addresses = server.addresses();
    if has_predecessor {
        warn_of_other_addresses(asked, addresses);
    }
    process.metrics.activated(&digest);
    let gateway = addresses.gateway.map(|it| it.to_string());
    let gateway = gateway.as_deref().unwrap_or("off");
    tracing::info!(service = %addresses.service, %gateway, config = digest, "listening");
    if let Some(grpc) = addresses.grpc {
        tracing::info!(%grpc, "listening");
    }
    if let Some(metrics) = addresses.metrics {
        tracing::info!(%metrics, "listening");
        if let Some(warning) = exposed(metrics) {
            tracing::warn!(%metrics, "{warning}");
        }
    }
    for variable in kubernetes_variables(std::env::vars_os()) {
        tracing::debug!(variable, "ignored: Kubernetes describes a service by it");
    }
    let pid = Some(std::process::id());
    record(
        process.audit,
        Event {
            pid,
            config: Some(&digest),
            ..Event::new(Kind::ServeStarted)
        },
    )
    .await;
    if let Some(path) = &args.ready_file
        && let Err(error) = server.write_ready_file(path)
    {
        drop(sockets);
        server.close(End::Final, signals.next()).await;
        return Err(CliError::Write(path.clone(), error));
    }
    successor::notify(predecessor);
    manager::ready();
    let watchdog = manager::watch(server.loops().clone());
    let successor = loop {
        tokio::select! {
            () = signals.next() => break None,
            _ = hangups.recv() => {
                manager::reloading();
                tokio::select! {
                    () = reload(&mut server, path, process) => manager::ready(),
                    () = signals.next() => break None,
                }
            }
            _ = replacements.recv() => tokio::select! {
                successor = replace(program, &sockets, server.grace()) => match successor {
                    Ok(pid) => break Some(pid),
                    Err(error) => {
                        tracing::error!(error = describe(&error), "not replaced; this process continues");
                        restore(&server, args);
                    }
                },
                () = signals.next() => break None,
            },
        }
    };
    match successor {
        Some(pid) => {
            if let Some(watchdog) = watchdog {
                watchdog.abort();
            }
            manager::replaced_by(pid);
            tracing::info!(pid, "replaced; shutting down");
        }
        None => {
            manager::stopping();
            tracing::info!("shutting down");
        }
    }
    // With the sockets open, clients would still connect, and no process would accept.
    drop(sockets);
    let aborted = Cell::new(false);
    let abort = async {
        signals.next().await;
        aborted.set(true);
    };
    let ended = async {
        let end = successor.map_or(End::Final, |_| End::Replaced);
        let cut = server.close(end, abort).await;
        record(
            process.audit,
            Event {
                pid,
                detail: Some(format!("connections cut: {cut}").into()),
                reason: successor.map(|_| "replaced"),
                ..Event::new(Kind::ServeEnded)
            },
        )
        .await;
        cut
    };
    let cut = tokio::select! {
        biased;
        never = forward_signals(successor, &mut hangups, &mut replacements) => match never {},
        cut = ended => cut,
    };
    if aborted.get() {
        tracing::warn!(connections = cut, "terminated by a second signal");
        return Err(CliError::CutShort);
    }
    match cut {
        0 => tracing::info!("stopped"),
        cut => tracing::warn!(connections = cut, "stopped; shutdown.grace expired"),
    }
    Ok(())
}

/// Passes signals to the process that has replaced this one, until this one ends, including those
/// that arrived during the replacement. The new process may have read the configuration before it
/// was changed.
async fn forward_signals(
    successor: Option<u32>,
    hangups: &mut Signal,
    replacements: &mut Signal,
) -> Infallible {
    let successor = successor.and_then(|pid| Pid::from_raw(pid.cast_signed()));
    let Some(successor) = successor else {
        return std::future::pending().await;
    };
    loop {
        let (signal, name) = tokio::select! {
            Some(()) = hangups.recv() => (rustix::process::Signal::HUP, "SIGHUP"),
            Some(()) = replacements.recv() => (rustix::process::Signal::USR2, "SIGUSR2"),
            else => return std::future::pending().await,
        };
        match kill_process(successor, signal) {
            Ok(()) => tracing::info!(signal = name, %successor, "signal passed to the new process"),
            Err(error) => {
                tracing::error!(signal = name, %successor, %error, "cannot pass the signal to the new process");
            }
        }
    }
}

/// Records an event in the audit log, and waits for it and the events before it. The log reports
/// its own failures, and the wait is bounded.
async fn record(audit: &Audit, event: Event<'_>) {
    let _ = audit.record(&[event], LINE).await;
}

/// Starts the program again on the same sockets, and returns the ID of the new process once it
/// serves.
async fn replace(
    program: &Program,
    sockets: &[(&'static str, OwnedFd)],
    within: Duration,
) -> Result<u32, ReplaceError> {
    tracing::info!("starting a replacement");
    program.start(sockets)?.serving(within).await
}

/// Writes the ready file again, because a replacement that failed late has written its own.
fn restore(server: &Server, args: &Args) {
    if let Some(path) = &args.ready_file
        && let Err(error) = server.write_ready_file(path)
    {
        tracing::error!(path = %path.display(), %error, "cannot write the ready file");
    }
}

/// Reloads the configuration, or logs why the old one stays active.
///
/// Neither a panic nor cancellation does any harm: the old configuration stays active.
async fn reload(server: &mut Server, path: Option<&Path>, process: &Process<'_>) {
    let outcome = contained(async {
        let file = path.map(Path::to_owned);
        // Blocking file reads must not run on the event loop.
        let config = aside(move || load(file.as_deref())).await?;
        warn(&config);
        let digest = config.digest();
        let logs = process
            .telemetry
            .prepare(&config.log)
            .map_err(CliError::Telemetry)?;
        server.reload(config).await?;
        process.telemetry.configure(logs);
        Ok::<_, CliError>(digest)
    });
    let outcome = outcome.await;
    process.metrics.reloaded(outcome.is_ok());
    match outcome {
        Ok(digest) => {
            process.metrics.activated(&digest);
            tracing::info!(config = digest, "reloaded");
            process.audit.log(&Event {
                config: Some(&digest),
                ..Event::new(Kind::ConfigReloaded)
            });
        }
        Err(error) => {
            let error = describe(&error).replace('\n', "; ");
            tracing::error!(error, "not reloaded; the old configuration stays");
            // If the audit log was rotated, this line begins the new file.
            process.audit.log(&Event {
                detail: Some(error.into()),
                ..Event::new(Kind::ConfigRejected)
            });
        }
    }
}

/// Logs a warning for each certificate that is not valid now, and for each route that only observes.
fn warn(config: &Config) {
    let certificates = config.certificate_warnings(SystemTime::now());
    for warning in config.observed_warnings().chain(certificates) {
        tracing::warn!("{warning}");
    }
}

/// Turns a panic into an error. The work must leave nothing half done when it panics.
async fn contained<T>(work: impl Future<Output = Result<T, CliError>>) -> Result<T, CliError> {
    let outcome = AssertUnwindSafe(work).catch_unwind().await;
    outcome.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
        Err(CliError::Panicked(text.unwrap_or("no text").to_owned()))
    })
}

/// Logs a warning for each inherited socket whose address differs from the configuration.
fn warn_of_other_addresses(asked: Addresses, have: Addresses) {
    let asked: HashMap<_, _> = asked.named().collect();
    for (listener, have) in have.named() {
        let asked = asked.get(listener);
        if asked.is_none_or(|asked| asked.port() != 0 && *asked != have) {
            let asked = asked.map_or_else(|| "off".to_owned(), ToString::to_string);
            tracing::warn!(listener, asked, %have, "the inherited socket has another address than the configuration; restart to change it");
        }
    }
}

/// Removes the ready file of an earlier run, so that its addresses are not mistaken for current
/// ones.
fn remove_stale(ready_file: &Path) -> std::io::Result<()> {
    files::reject_link(ready_file)?;
    files::remove(ready_file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn panic_of_a_reload_is_an_error() {
        let outcome = contained(async { aside(|| panic!("a bad {}", "file")).await }).await;
        let error = outcome.map(|()| String::new()).unwrap_err();
        assert_eq!(describe(&error), "internal error (panic): a bad file");
        let outcome = contained(async { panic!("here") }).await;
        let error = outcome.map(|()| String::new()).unwrap_err();
        assert_eq!(describe(&error), "internal error (panic): here");
    }
}
