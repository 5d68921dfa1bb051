mod changes;
mod manager;
mod metrics;
mod process;
mod reload;
mod successor;
mod watch;

use std::cell::Cell;
use std::collections::HashMap;
use std::convert::Infallible;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::{Pid, kill_process};
use tokio::signal::unix::Signal;
use tokio::time::Instant;

use super::check::exposed;
use super::error::CliError;
use super::output::describe;
use super::setup::{read, runtime};
use super::signals::{Early, Signals};
use crate::audit::{Audit, AuditMetrics, Event, Kind};
use crate::config::{Config, kubernetes_variables};
use crate::doors::{Addresses, End, Listeners, raise_file_limit};
use crate::files;
use crate::metrics::Registry;
use crate::server::{Instruments, LastReload, Server, StartError, store_options};
use crate::store::{self, Intent};
use crate::telemetry::Telemetry;
use changes::Changes;
use metrics::ConfigMetrics;
use process::Process;
use reload::{Cause, reload, warn, warn_of_certificates};
use successor::{Program, ReplaceError};
use watch::Watcher;

/// The maximum wait for the audit log at start and shutdown.
const LINE: Duration = Duration::from_secs(2);

/// The interval at which warnings about certificates are logged again.
const DAY: Duration = Duration::from_secs(86_400);

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
    let (config, inputs) = read(path);
    let config = config?;
    let watcher = config.server.watch.then(|| Watcher::new(inputs));
    let mut registry = Registry::new();
    let telemetry = Telemetry::start(&config.log, &mut registry).map_err(CliError::Telemetry)?;
    store::expect(&store_options(&config.store)?, args.intent())?;
    let audit = Audit::open(&config.audit, AuditMetrics::new(&mut registry))?;
    audit.note_position();
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
        changes: Changes::start(runtime.handle(), audit.clone()),
    };
    let instruments = Instruments {
        recorder: telemetry.recorder(audit.clone(), &mut registry),
        audit: audit.clone(),
        registry,
    };
    let served = serve(
        args,
        path,
        (config, watcher),
        &program,
        &process,
        instruments,
        early,
    );
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

async fn serve(
    args: &Args,
    path: Option<&Path>,
    (config, mut watcher): (Config, Option<Watcher>),
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
    let store = store_options(&config.store)?.database.location();
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
    let digest = server.digest().to_owned();
    if has_predecessor {
        warn_of_other_addresses(asked, addresses);
    }
    process.metrics.activated(&server.config(), &digest);
    let gateway = addresses.gateway.map(|it| it.to_string());
    let gateway = gateway.as_deref().unwrap_or("off");
    tracing::info!(service = %addresses.service, %gateway, %store, config = digest, "listening");
    if let Some(grpc) = addresses.grpc {
        tracing::info!(%grpc, "listening");
    }
    if let Some(metrics) = addresses.metrics {
        tracing::info!(%metrics, "listening");
        if let Some(warning) = exposed(metrics) {
            tracing::warn!(%metrics, "{warning}");
        }
    }
    if let Some(admin) = addresses.admin {
        tracing::info!(%admin, "listening");
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
        && let Err(error) = server.write_ready_file(path, None)
    {
        drop(sockets);
        server.close(End::Final, signals.next()).await;
        return Err(CliError::Write(path.clone(), error));
    }
    successor::notify(predecessor);
    manager::ready();
    let watchdog = manager::watch(server.loops().clone());
    let mut last_reload = None;
    let mut every_day = tokio::time::interval_at(Instant::now() + DAY, DAY);
    let successor = loop {
        tokio::select! {
            () = signals.next() => break None,
            _ = hangups.recv() => {
                manager::reloading();
                tokio::select! {
                    refusal = reload(&mut server, path, process, &mut watcher, Cause::Signal) => {
                        last_reload = Some(next(last_reload.take(), refusal));
                        write_again(&server, args, last_reload.as_ref());
                        manager::ready();
                    }
                    () = signals.next() => break None,
                }
            }
            () = changed(watcher.as_ref()) => tokio::select! {
                _ = reload(&mut server, path, process, &mut watcher, Cause::Watch) => {}
                () = signals.next() => break None,
            },
            _ = every_day.tick() => warn_of_certificates(&server.config()),
            _ = replacements.recv() => tokio::select! {
                successor = replace(program, &sockets, server.grace()) => match successor {
                    Ok(pid) => break Some(pid),
                    Err(error) => {
                        tracing::error!(error = describe(&error), "not replaced; this process continues");
                        // A replacement that failed late has written its own.
                        write_again(&server, args, last_reload.as_ref());
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

/// Returns when a file of the configuration has changed, if they are watched.
async fn changed(watcher: Option<&Watcher>) {
    match watcher {
        Some(watcher) => watcher.changed().await,
        None => std::future::pending().await,
    }
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

/// Returns the outcome of a reload after `before`. `refusal` is why it was rejected.
fn next(before: Option<LastReload>, refusal: Option<String>) -> LastReload {
    LastReload {
        number: before.map_or(0, |before| before.number) + 1,
        error: refusal,
    }
}

/// Writes the ready file again.
fn write_again(server: &Server, args: &Args, reload: Option<&LastReload>) {
    if let Some(path) = &args.ready_file
        && let Err(error) = server.write_ready_file(path, reload)
    {
        tracing::error!(path = %path.display(), %error, "cannot write the ready file");
    }
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
