//! Applies a configuration that has changed.

use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;
use std::{fs, io};

use futures_util::FutureExt;

use super::process::Process;
use super::watch::Watcher;
use crate::audit::{Event, Kind};
use crate::cli::error::CliError;
use crate::cli::output::describe;
use crate::cli::setup::read;
use crate::config::{Config, Inputs};
use crate::net::aside;
use crate::server::Server;

/// Why a configuration is read again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// SIGHUP.
    Signal,
    /// A file has changed.
    Watch,
}

/// The outcome of a reload.
enum Applied {
    /// The configuration before, and the digest of the new one.
    New(Arc<Config>, String),
    /// The files mean what the running configuration means.
    Same,
}

/// The maximum length of an error that is returned, in characters.
const ERROR: usize = 8000;

/// Reads the configuration again and applies it, or logs and returns why the old one stays active.
/// The watcher then follows the files that were read.
///
/// Neither a panic nor cancellation does any harm: the old configuration stays active.
pub(super) async fn reload(
    server: &mut Server,
    path: Option<&Path>,
    process: &Process<'_>,
    watcher: &mut Option<Watcher>,
    cause: Cause,
) -> Option<String> {
    // An attempt that fails may not reach all files, so the earlier ones are followed too.
    let before = match watcher {
        Some(watcher) => Some(watcher.examine().await.0),
        None => None,
    };
    let mut inputs = Inputs::default();
    let outcome = contained(async {
        let file = path.map(Path::to_owned);
        if let Some(file) = path.filter(|file| is_no_file(file)) {
            let error = io::Error::other("it is not a regular file");
            return Err(CliError::Read(file.to_owned(), error));
        }
        // Blocking file reads must not run on the event loop.
        let (config, read) = aside(move || read(file.as_deref())).await;
        inputs = read;
        let config = config?;
        if cause == Cause::Watch {
            if let Some(empty) = inputs.empty_file() {
                return Err(CliError::EmptyFile(empty.to_owned()));
            }
            if server.config().is_like(&config) {
                return Ok(Applied::Same);
            }
        }
        warn(&config);
        let logs = process
            .telemetry
            .prepare(&config.log)
            .map_err(CliError::Telemetry)?;
        let old = server.config();
        server.reload(config).await?;
        process.telemetry.configure(logs);
        Ok(Applied::New(old, server.digest().to_owned()))
    });
    let outcome = outcome.await;
    if let (Some(watcher), Some(before)) = (watcher, before) {
        if outcome.is_err() {
            inputs.join(before);
        }
        watcher.follow(inputs);
    }
    match outcome {
        Ok(Applied::New(old, digest)) => {
            process.metrics.reloaded(true);
            process.metrics.activated(&server.config(), &digest);
            match cause {
                Cause::Signal => tracing::info!(config = digest, "reloaded"),
                Cause::Watch => tracing::info!(config = digest, "reloaded: a file has changed"),
            }
            process.audit.log(&Event {
                config: Some(&digest),
                ..Event::new(Kind::ConfigReloaded)
            });
            process.changes.add(old, server.config(), digest);
            None
        }
        Ok(Applied::Same) => {
            if process.metrics.unchanged() {
                tracing::info!("the files mean the active configuration again");
            } else {
                tracing::debug!("a file has changed, and the configuration has not");
            }
            None
        }
        Err(error) => {
            process.metrics.reloaded(false);
            let error = describe(&error).replace('\n', "; ");
            match cause {
                Cause::Signal => {
                    tracing::error!(error, "not reloaded; the old configuration stays");
                }
                Cause::Watch => {
                    tracing::error!(
                        error,
                        "a file has changed and cannot be used; the old configuration stays"
                    );
                }
            }
            // If the audit log was rotated, this line begins the new file.
            process.audit.log(&Event {
                detail: Some((&*error).into()),
                ..Event::new(Kind::ConfigRejected)
            });
            Some(error.chars().take(ERROR).collect())
        }
    }
}

/// Returns whether a path is that of something else than a file, such as a pipe, at which reading may
/// never end.
fn is_no_file(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|it| !it.is_file())
}

/// Logs a warning for each certificate that is not valid now or will soon expire, for each route that
/// only observes, and if the included files have no route.
pub(super) fn warn(config: &Config) {
    let certificates = config.certificate_warnings(SystemTime::now());
    let routes = config.observed_warnings().chain(config.no_routes_warning());
    for warning in routes.map(|it| it.to_string()).chain(certificates) {
        tracing::warn!("{warning}");
    }
}

/// Logs the warnings about certificates again.
pub(super) fn warn_of_certificates(config: &Config) {
    for warning in config.certificate_warnings(SystemTime::now()) {
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
