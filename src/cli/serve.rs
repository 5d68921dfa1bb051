use std::path::{Path, PathBuf};

use tokio::signal::unix::{SignalKind, signal};

use super::error::CliError;
use super::output::describe;
use super::{load, runtime};
use crate::gateway::Listeners;
use crate::server::{Server, StartError};
use crate::telemetry::metrics;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Write the bound addresses here, as JSON, once both listeners accept
    #[arg(long, value_name = "PATH")]
    ready_file: Option<PathBuf>,
}

pub(super) fn run(args: Args, path: Option<&Path>) -> Result<(), CliError> {
    let config = load(path)?;
    crate::telemetry::init(&config.log);
    let runtime = runtime(config.server.threads)?;
    runtime.block_on(async {
        if let Some(path) = &args.ready_file {
            remove_stale(path).map_err(|error| CliError::Write(path.clone(), error))?;
        }
        // Before anything can be asked of us, so that no signal finds the default in force.
        let mut signals = Signals::listen()?;
        let mut hangups = signal(SignalKind::hangup()).map_err(CliError::Runtime)?;
        let digest = config.digest();
        let listeners =
            Listeners::inherit_or_bind(config.service.listen, config.gateway.listen, config.grpc)
                .map_err(StartError::Listen)?;
        let mut server = Server::start(config, listeners).await?;
        let addresses = server.addresses();
        metrics().in_force(&digest);
        tracing::info!(service = %addresses.service, gateway = %addresses.gateway, config = digest, "listening");
        if let Some(grpc) = addresses.grpc {
            tracing::info!(%grpc, "listening");
        }
        if let Some(path) = args.ready_file {
            server
                .write_ready_file(&path)
                .map_err(|error| CliError::Write(path, error))?;
        }
        loop {
            tokio::select! {
                () = signals.next() => break,
                _ = hangups.recv() => reload(&mut server, path),
            }
        }
        tracing::info!("draining");
        tokio::select! {
            cut = server.close() => match cut {
                0 => tracing::info!("ended"),
                cut => tracing::warn!(connections = cut, "ended; the grace ran out"),
            },
            () = signals.next() => tracing::warn!("ended at once by a second signal"),
        }
        Ok::<(), CliError>(())
    })?;
    // A reading that hangs must not keep the process.
    runtime.shutdown_background();
    Ok(())
}

/// Reads the configuration again and puts it in force, or says why the old one stays.
fn reload(server: &mut Server, path: Option<&Path>) {
    // Files and names of hosts are looked up: other tasks go on elsewhere.
    let outcome = tokio::task::block_in_place(|| {
        let config = load(path)?;
        let digest = config.digest();
        server.reload(config)?;
        Ok::<_, CliError>(digest)
    });
    metrics().reloaded(outcome.is_ok());
    match outcome {
        Ok(digest) => {
            metrics().in_force(&digest);
            tracing::info!(config = digest, "reloaded");
        }
        Err(error) => {
            tracing::error!(
                error = describe(&error),
                "not reloaded; the old configuration stays"
            );
        }
    }
}

/// Removes the ready file of an earlier run, so that nobody takes its addresses for ours.
fn remove_stale(ready_file: &Path) -> std::io::Result<()> {
    match std::fs::remove_file(ready_file) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// What asks a process to end.
pub(super) struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

impl Signals {
    pub(super) fn listen() -> Result<Self, CliError> {
        Ok(Self {
            terminate: signal(SignalKind::terminate()).map_err(CliError::Runtime)?,
            interrupt: signal(SignalKind::interrupt()).map_err(CliError::Runtime)?,
        })
    }

    pub(super) async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
