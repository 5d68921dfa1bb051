//! Logs on standard error, for people or one JSON object a line, and figures for Prometheus.

pub mod audit;
mod metrics;

use std::io::{IsTerminal, stderr};

use tracing::subscriber::set_global_default;
use tracing_log::LogTracer;
use tracing_log::log::LevelFilter;
use tracing_subscriber::EnvFilter;

use crate::auth::{Attempt, Delay, Denial, Slowed};
use crate::config::{Log, LogFormat};
use audit::{Event, Kind};
pub use metrics::{
    Door, Exposition, Metrics, NO_ROUTE, Present, REFUSED, Tally, UpstreamEvent, UpstreamFigures,
    UpstreamTally, metrics,
};

/// Starts logging. A second call changes nothing.
pub fn init(log: &Log) {
    // Pingora writes through the `log` crate, and what it says below a warning can quote a request
    // with its token: no filter may turn that on.
    let _ = LogTracer::builder()
        .with_max_level(LevelFilter::Warn)
        // The doors say themselves how a request ends. What it would add is an error for each client that
        // leaves before its header is whole.
        .ignore_crate("pingora_proxy")
        .init();
    let filter = EnvFilter::try_new(&log.filter).unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(stderr);
    let _ = match log.format {
        LogFormat::Human => set_global_default(builder.with_ansi(stderr().is_terminal()).finish()),
        LogFormat::Json => set_global_default(builder.json().flatten_event(true).finish()),
    };
}

/// Logs why an attempt was denied under a route, with its stable reason, and counts it; the caller is told
/// less.
pub fn denied(door: Door, tally: &Tally, attempt: &Attempt<'_>, denial: &Denial) {
    tally.denied(door, attempt, denial);
    audit_denial(door, tally.route(), attempt, denial);
    let (door, route) = (door.as_str(), tally.route());
    let (source, principal, reason) = (attempt.source, attempt.principal(), denial.reason());
    match denial {
        Denial::Unavailable(error) => {
            tracing::error!(door, route, ?source, ?principal, reason, %error, "denied");
        }
        Denial::Malformed(flaw) => tracing::info!(door, route, ?source, reason, %flaw, "denied"),
        Denial::Refused {
            delay: Some(delay), ..
        } => {
            metrics().delayed();
            if let Some(slowed) = delay.first_of {
                metrics().audit.slowed(slowed);
            }
            let delay = delay.lasts.as_secs();
            tracing::warn!(
                door,
                route,
                ?source,
                ?principal,
                reason,
                delay,
                "denied; too many failures"
            );
        }
        _ => tracing::info!(door, route, ?source, ?principal, reason, "denied"),
    }
}

fn audit_denial(door: Door, route: Option<&str>, attempt: &Attempt<'_>, denial: &Denial) {
    if !audit::is_on() {
        return;
    }
    let event = |kind| Event {
        door: Some(door.as_str()),
        route,
        subject: attempt.principal(),
        source: attempt.source,
        reason: Some(denial.reason()),
        ..Event::new(kind)
    };
    let detail = match denial {
        Denial::Malformed(flaw) => Some(flaw.to_string().into()),
        Denial::Unavailable(error) => Some(error.to_string().into()),
        _ => None,
    };
    let delay = match denial {
        Denial::Refused { delay, .. } => *delay,
        _ => None,
    };
    let secs = |delay: Delay| delay.lasts.as_secs();
    audit::deny(&Event {
        detail,
        delay: delay.map(secs),
        ..event(Kind::Denied)
    });
    // Once for each attack, so it is not among what may be too much.
    if let Some(delay) = delay
        && let Some(slowed) = delay.first_of
    {
        let kind = match slowed {
            Slowed::Principal => Kind::PrincipalAttacked,
            Slowed::Source => Kind::SourceSlowed,
        };
        audit::note(&Event {
            delay: Some(secs(delay)),
            ..event(kind)
        });
    }
}
