//! Logs, metrics for Prometheus, and traces.

mod access;
mod file;
mod logs;
mod metrics;
mod quota;
mod record;
mod request_line;
mod traces;

use std::fmt::Display;
use std::fs::File;
use std::io;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use opentelemetry_otlp::ExporterBuildError;

use crate::audit::{self, Event, Kind};
use crate::auth::{Attempt, Delay, Denial, Permit, PrincipalRef, Refusal, Throttled};
use crate::config::{Access, Log, Otlp};
pub use access::{Forwarded, Request};
use logs::Logs;
pub use logs::init;
pub use metrics::{
    Door, Exposition, Metrics, NO_ROUTE, Present, REFUSED, Tally, TlsFault, UpstreamEvent,
    UpstreamStatus, UpstreamTally, metrics,
};
use quota::Quota;
pub use record::{RecordSlot, RequestRecord};
pub use request_line::RequestLine;
pub use traces::Spans;

/// Writes a line about a rejected request, with what it says besides.
macro_rules! line {
    ($level:ident, $line:expr, $message:literal $(, $($more:tt)+)?) => {
        tracing::$level!(
            door = $line.door.map(Door::as_str),
            route = $line.route,
            name = $line.principal().map(PrincipalRef::name),
            realm = $line.principal().map(PrincipalRef::realm),
            source = $line.source.map(tracing::field::display),
            request_id = $line.request,
            method = $line.request_line.method().as_deref(),
            host = $line.request_line.host().as_deref(),
            path = $line.request_line.path().as_deref(),
            reason = $line.reason,
            $($($more)+,)?
            $message
        )
    };
}

/// Whether anybody tells of requests.
static IS_RECORDING: AtomicBool = AtomicBool::new(false);

/// The quota of the log of this process.
static QUOTA: OnceLock<Arc<Quota>> = OnceLock::new();

/// What a process that serves says of itself. What waits is written when this is dropped.
pub struct Telemetry {
    logs: Logs,
    is_tracing: AtomicBool,
}

/// Other settings, ready to be put in force.
pub struct Prepared {
    log: Log,
    file: Option<File>,
}

impl Telemetry {
    /// Starts it.
    ///
    /// # Errors
    /// The access log cannot be opened.
    pub fn start(log: &Log) -> io::Result<Self> {
        let logs = Logs::start(log);
        metrics().count_lines("main", logs.dropped());
        let _ = QUOTA.set(Arc::clone(logs.quota()));
        let telemetry = Self {
            logs,
            is_tracing: AtomicBool::new(false),
        };
        telemetry.configure(telemetry.prepare(log)?);
        Ok(telemetry)
    }

    /// Sends traces from now on. To be called where the event loop is.
    ///
    /// # Errors
    /// They cannot be sent there.
    pub fn trace(&self, otlp: &Otlp) -> Result<(), ExporterBuildError> {
        traces::start(otlp)?;
        self.is_tracing.store(true, Ordering::Relaxed);
        IS_RECORDING.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Sends the last traces. The event loop must still be there, and this must not run on it.
    pub fn end_traces(&self) {
        traces::end();
    }

    /// Opens what is needed for other settings. Nothing changes yet.
    ///
    /// # Errors
    /// The access log cannot be opened.
    pub fn prepare(&self, log: &Log) -> io::Result<Prepared> {
        Ok(Prepared {
            file: access::open(log)?,
            log: log.clone(),
        })
    }

    /// Puts another filter and another access log in force.
    pub fn configure(&self, prepared: Prepared) {
        let Prepared { log, file } = prepared;
        access::configure(&log, file, self.logs.lines());
        self.logs.configure(&log);
        tracing::trace!("libraries log only warnings and errors, whatever log.filter says");
        let is_recording = log.access != Access::Off || self.is_tracing.load(Ordering::Relaxed);
        IS_RECORDING.store(is_recording, Ordering::Relaxed);
    }
}

impl Drop for Telemetry {
    fn drop(&mut self) {
        access::end();
    }
}

/// Logs how many lines were too many to be logged. To be called about once a second.
pub fn log_dropped_lines() {
    let lost = QUOTA.get().map(|quota| quota.take_dropped());
    for (part, lines) in lost.into_iter().flatten() {
        metrics().over_limit(lines);
        tracing::warn!(
            part = &*part,
            lines,
            "lines came too fast and were not written"
        );
    }
}

/// Says whether anybody tells of requests, so that it is worth noting something.
pub fn is_recording() -> bool {
    IS_RECORDING.load(Ordering::Relaxed)
}

/// Tells of a request that has been answered.
pub fn answered(request: &Request<'_>, record: &RequestRecord) {
    access::write(request, record);
    traces::send(request, record);
}

/// Counts and notes a permit that was given under a route.
pub fn permitted(
    door: Door,
    tally: &Arc<Tally>,
    attempt: &Attempt<'_>,
    permit: &Permit,
    record: &mut RequestRecord,
) {
    metrics().permitted(door, tally, permit);
    if is_recording() {
        record.permitted(door, tally, attempt, permit);
    }
}

/// Counts and notes how long a decision took.
pub fn decided(door: Door, took: Duration, record: &mut RequestRecord) {
    metrics().decided(door, took);
    record.decided(took);
}

/// Logs why an attempt was denied under a route, with its stable reason, and counts it; the caller is told
/// less.
pub fn denied(
    door: Door,
    tally: &Arc<Tally>,
    attempt: &Attempt<'_>,
    denial: &Denial,
    request_line: RequestLine<'_>,
    record: &mut RequestRecord,
) {
    tally.denied(door, attempt, denial);
    audit_denial(door, tally.route(), attempt, denial, record);
    if is_recording() {
        record.denied(door, tally, attempt, denial.reason());
    }
    let log = Line {
        door: Some(door),
        route: tally.route(),
        attempt: Some(attempt),
        source: attempt.source.address,
        request: record.request_id(),
        request_line,
        reason: denial.reason(),
    };
    match denial {
        Denial::Unavailable(error) => line!(error, log, "denied", %error),
        Denial::Malformed(flaw) => line!(info, log, "denied", %flaw),
        // Its own client goes on asking.
        Denial::Refused {
            refusal,
            delay: Some(delay @ Delay { first_of: None, .. }),
        } if refusal.is_of_terms() => {
            metrics().delayed();
            line!(info, log, "denied", delay = delay.lasts.as_secs());
        }
        Denial::Refused {
            delay: Some(delay), ..
        } => {
            metrics().delayed();
            if let Some(whom) = delay.first_of {
                metrics().audit.slowed(whom);
            }
            let throttled = delay.first_of.map(Throttled::as_str);
            let delay = delay.lasts.as_secs();
            line!(warn, log, "denied; too many failures", delay, throttled);
        }
        // Right tokens are denied as well.
        Denial::Throttled {
            whom: whom @ Throttled::TrustedSource,
            retry_after,
        } => line!(
            warn,
            log,
            "denied; too many failures at a source where this principal has authenticated",
            delay = retry_after.as_secs(),
            throttled = whom.as_str()
        ),
        Denial::Throttled { whom, retry_after } => line!(
            info,
            log,
            "denied",
            delay = retry_after.as_secs(),
            throttled = whom.as_str()
        ),
        Denial::Refused {
            refusal: Refusal::OutsideWindow { steps },
            ..
        } => line!(info, log, "denied", steps),
        _ => line!(info, log, "denied"),
    }
}

/// Logs that a token which was refused is right at another time, `steps` after now; less than 0 if before.
pub fn clock_is_off(attempt: &Attempt<'_>, steps: i64, record: &RequestRecord) {
    tracing::info!(
        name = attempt.principal().map(PrincipalRef::name),
        realm = attempt.principal().map(PrincipalRef::realm),
        source = attempt.source.address.map(tracing::field::display),
        request_id = record.request_id(),
        steps,
        "the rejected token is valid at another time; check the caller's clock"
    );
}

/// What every line about a rejected request says.
struct Line<'a> {
    door: Option<Door>,
    route: Option<&'a str>,
    /// None where no credential was looked at.
    attempt: Option<&'a Attempt<'a>>,
    source: Option<IpAddr>,
    request: Option<&'a str>,
    request_line: RequestLine<'a>,
    reason: &'static str,
}

impl Line<'_> {
    fn principal(&self) -> Option<PrincipalRef<'_>> {
        self.attempt.and_then(Attempt::principal)
    }
}

/// Why a request was refused before its credential was looked at.
pub struct Refused<'a> {
    /// A stable code.
    pub reason: &'static str,
    /// The same in words.
    pub detail: &'a dyn Display,
}

/// Logs why a request was refused at a door, counts it as `outcome`, and notes it.
pub fn refused(
    door: Door,
    tally: &Tally,
    outcome: &'static str,
    source: Option<IpAddr>,
    refused: &Refused<'_>,
    request_line: RequestLine<'_>,
    record: &mut RequestRecord,
) {
    tally.refused(door, outcome);
    if is_recording() {
        record.refused(door, source, refused.reason);
    }
    log_refused(
        Some(door),
        tally.route(),
        source,
        refused,
        request_line,
        record,
    );
}

/// Logs why a request was refused under a route that it was counted under, or before there was a door.
pub fn log_refused(
    door: Option<Door>,
    route: Option<&str>,
    source: Option<IpAddr>,
    refused: &Refused<'_>,
    request_line: RequestLine<'_>,
    record: &RequestRecord,
) {
    let (reason, detail) = (refused.reason, refused.detail);
    let log = Line {
        door,
        route,
        attempt: None,
        source,
        request: record.request_id(),
        request_line,
        reason,
    };
    line!(info, log, "refused", %detail);
    let door = door.map(Door::as_str);
    if audit::is_on() {
        audit::deny(&Event {
            door,
            route,
            source,
            request: record.request_id(),
            reason: Some(reason),
            detail: Some(detail.to_string().into()),
            ..Event::new(Kind::Refused)
        });
    }
}

fn audit_denial(
    door: Door,
    route: Option<&str>,
    attempt: &Attempt<'_>,
    denial: &Denial,
    record: &RequestRecord,
) {
    if !audit::is_on() {
        return;
    }
    let event = |kind| Event {
        door: Some(door.as_str()),
        route,
        subject: attempt.principal(),
        source: attempt.source.address,
        request: record.request_id(),
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
    // Whoever invents a name for each request begins an attack with each.
    if let Some(delay) = delay
        && let Some(slowed) = delay.first_of
    {
        let kind = match slowed {
            Throttled::Principal => Kind::PrincipalAttacked,
            Throttled::Source => Kind::SourceSlowed,
            Throttled::TrustedSource => Kind::TrustedSourceThrottled,
        };
        audit::attack(&Event {
            delay: Some(secs(delay)),
            ..event(kind)
        });
    }
}
