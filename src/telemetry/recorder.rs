//! Records requests and decisions: in the log, the access log, metrics, traces and the audit log.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;

use super::access::AccessLog;
use super::decisions::{NO_ROUTE, REJECTED, Tally};
use super::door::Door;
use super::lines::{DroppedLines, OverLimit};
use super::metrics::DecisionMetrics;
use super::record::RequestRecord;
use super::request::Request;
use super::request_line::RequestLine;
use super::spans::Spans;
use super::traces::Tracer;
use crate::audit::{Audit, Event, Kind};
use crate::auth::{Attempt, Delay, Denial, DenialCause, Permit, PrincipalRef, Throttled};
use crate::http::rejection::Rejection;
use crate::http::request_id::{RequestId, RequestIds};
use crate::metrics::Registry;

/// Logs a rejected or denied request, with more fields.
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
            "{}{}",
            $line.prefix,
            $message
        )
    };
}

/// How a line begins about a request that passes although its policy denies it.
const NOT_ENFORCED: &str = "not enforced: ";

/// Records the requests and decisions of a server.
pub struct Recorder {
    ids: RequestIds,
    access: Arc<AccessLog>,
    tracer: Arc<Tracer>,
    /// `None` if the process has no log of its own.
    over_limit: Option<OverLimit>,
    audit: Audit,
    metrics: DecisionMetrics,
}

/// The fields of a line about a rejected or denied request.
struct Line<'a> {
    door: Option<Door>,
    route: Option<&'a str>,
    /// `None` if the credential was not read.
    attempt: Option<&'a Attempt<'a>>,
    source: Option<IpAddr>,
    request: Option<&'a str>,
    request_line: RequestLine<'a>,
    /// Before the message: empty, or [`NOT_ENFORCED`].
    prefix: &'static str,
    reason: &'static str,
}

impl Line<'_> {
    fn principal(&self) -> Option<PrincipalRef<'_>> {
        self.attempt.and_then(Attempt::principal)
    }
}

impl Recorder {
    pub(super) fn new(
        access: Arc<AccessLog>,
        tracer: Arc<Tracer>,
        over_limit: Option<OverLimit>,
        audit: Audit,
        registry: &mut Registry,
    ) -> Self {
        Self {
            ids: RequestIds::new(),
            access,
            tracer,
            over_limit,
            audit,
            metrics: DecisionMetrics::new(registry),
        }
    }

    /// Makes a recorder without access log, traces and audit log.
    pub fn without_logs(registry: &mut Registry) -> Arc<Self> {
        let access = Arc::new(AccessLog::new(DroppedLines::new(registry)));
        let tracer = Arc::new(Tracer::new(registry));
        Arc::new(Self::new(access, tracer, None, Audit::default(), registry))
    }

    /// Returns the id of the next request.
    pub(crate) fn next_id(&self) -> RequestId {
        self.ids.next()
    }

    /// Returns the counters of a route. They stay the same as long as the route stays in the configuration.
    pub fn route(&self, name: &str) -> Arc<Tally> {
        self.metrics.decisions.of(name)
    }

    /// Returns the counters of requests without a route.
    pub fn no_route(&self) -> &Arc<Tally> {
        self.metrics.decisions.rest()
    }

    /// Returns the number of permits and that of denials since the start.
    pub(crate) fn decisions(&self) -> (u64, u64) {
        self.metrics.decisions.totals()
    }

    /// Returns whether requests are logged or traced.
    pub fn is_recording(&self) -> bool {
        self.access.is_on() || self.tracer.is_on()
    }

    /// Makes the spans of a request; none while traces are off.
    pub fn begin_spans(&self, headers: &HeaderMap) -> Option<Spans> {
        self.tracer.begin(headers)
    }

    /// Logs and traces a request that has its response.
    pub fn completed(&self, request: &Request<'_>, record: &RequestRecord) {
        self.access.write(request, record);
        self.tracer.send(request, record);
    }

    /// Logs how many lines were over the limit since the last call. To be called about once a second.
    pub fn log_dropped_lines(&self) {
        if let Some(over_limit) = &self.over_limit {
            over_limit.log();
        }
    }

    /// Counts and records a permit under a route.
    pub fn permitted(
        &self,
        door: Door,
        tally: &Arc<Tally>,
        attempt: &Attempt<'_>,
        permit: &Permit,
        record: &mut RequestRecord,
    ) {
        self.metrics.permitted(door, tally, permit);
        if self.is_recording() {
            record.permitted(door, tally, attempt, permit);
        }
    }

    /// Counts and records the time to a decision.
    pub fn decided(&self, door: Door, took: Duration, record: &mut RequestRecord) {
        self.metrics.decided(door, took);
        record.decided(took);
    }

    /// Logs a denial under a route with its reason, and counts and records it. `passed` is the permit of a request
    /// that passes all the same, because its route only observes.
    pub fn denied(
        &self,
        (door, tally): (Door, &Arc<Tally>),
        attempt: &Attempt<'_>,
        (denial, passed): (&Denial, Option<&Permit>),
        request_line: RequestLine<'_>,
        record: &mut RequestRecord,
    ) {
        let (kind, prefix) = match passed {
            None => (Kind::Denied, ""),
            Some(_) => (Kind::Observed, NOT_ENFORCED),
        };
        match passed {
            None => tally.denied(door, attempt, denial),
            Some(_) => tally.observed(door, attempt, denial),
        }
        self.audit_denial(kind, (door, tally.route()), attempt, denial, record);
        if self.is_recording() {
            let reason = denial.reason();
            match passed {
                None => record.denied(door, tally, attempt, reason),
                Some(permit) => record.observed((door, tally), attempt, permit, reason),
            }
        }
        if let Denial::InvalidCredential {
            delay: Some(delay), ..
        } = denial
        {
            self.metrics.delayed();
            if let Some(slowed) = delay.first_of {
                self.metrics.attacked(slowed);
            }
        }
        let log = Line {
            door: Some(door),
            route: tally.route(),
            attempt: Some(attempt),
            source: attempt.source.address,
            request: record.request_id(),
            request_line,
            prefix,
            reason: denial.reason(),
        };
        match denial {
            Denial::Unavailable(error) => line!(error, log, "denied", %error),
            Denial::Malformed(flaw) => line!(info, log, "denied", %flaw),
            // The identity has expired or is disabled, and its client keeps trying.
            Denial::InvalidCredential {
                cause,
                delay: Some(delay @ Delay { first_of: None, .. }),
            } if cause.is_of_terms() => {
                line!(info, log, "denied", delay = delay.lasts.as_secs());
            }
            Denial::InvalidCredential {
                delay: Some(delay), ..
            } => {
                let throttled = delay.first_of.map(Throttled::as_str);
                let delay = delay.lasts.as_secs();
                line!(warn, log, "denied; too many failures", delay, throttled);
            }
            // Correct tokens are denied, too.
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
            Denial::InvalidCredential {
                cause: DenialCause::OutsideWindow { steps },
                ..
            } => line!(info, log, "denied", steps),
            _ => line!(info, log, "denied"),
        }
    }

    /// Logs that a rejected token is valid `steps` after now, or before if negative.
    pub fn clock_is_off(&self, attempt: &Attempt<'_>, steps: i64, record: &RequestRecord) {
        tracing::info!(
            name = attempt.principal().map(PrincipalRef::name),
            realm = attempt.principal().map(PrincipalRef::realm),
            source = attempt.source.address.map(tracing::field::display),
            request_id = record.request_id(),
            steps,
            "the rejected token is valid at another time; check the caller's clock"
        );
    }

    /// Logs, counts and records a request that was rejected at a door, under its route if it has one.
    pub(crate) fn rejected(
        &self,
        (door, tally): (Door, Option<&Tally>),
        source: Option<IpAddr>,
        rejection: Rejection,
        request_line: RequestLine<'_>,
        record: &mut RequestRecord,
    ) {
        let tally = tally.unwrap_or_else(|| self.no_route());
        let outcome = match rejection {
            Rejection::NoRoute => NO_ROUTE,
            _ => REJECTED,
        };
        tally.rejected(door, outcome);
        if self.is_recording() {
            record.rejected(door, source, rejection.reason());
        }
        self.log_rejected(
            (Some(door), tally.route()),
            source,
            rejection,
            request_line,
            record,
        );
    }

    /// Logs a request that was rejected after it was counted, or before its door was known.
    pub(crate) fn log_rejected(
        &self,
        (door, route): (Option<Door>, Option<&str>),
        source: Option<IpAddr>,
        rejection: Rejection,
        request_line: RequestLine<'_>,
        record: &RequestRecord,
    ) {
        let reason = rejection.reason();
        let log = Line {
            door,
            route,
            attempt: None,
            source,
            request: record.request_id(),
            request_line,
            prefix: "",
            reason,
        };
        line!(info, log, "refused", detail = %rejection);
        let door = door.map(Door::as_str);
        if self.audit.is_on() {
            self.audit.deny(&Event {
                door,
                route,
                source,
                request: record.request_id(),
                reason: Some(reason),
                detail: Some(rejection.to_string().into()),
                ..Event::new(Kind::Rejected)
            });
        }
    }

    fn audit_denial(
        &self,
        kind: Kind,
        (door, route): (Door, Option<&str>),
        attempt: &Attempt<'_>,
        denial: &Denial,
        record: &RequestRecord,
    ) {
        if !self.audit.is_on() {
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
            Denial::InvalidCredential { delay, .. } => *delay,
            _ => None,
        };
        let secs = |delay: Delay| delay.lasts.as_secs();
        self.audit.deny(&Event {
            detail,
            delay: delay.map(secs),
            ..event(kind)
        });
        // A client that invents a name for each request starts an attack with each.
        if let Some(delay) = delay
            && let Some(slowed) = delay.first_of
        {
            let kind = match slowed {
                Throttled::Principal => Kind::PrincipalAttacked,
                Throttled::Source => Kind::SourceSlowed,
                Throttled::TrustedSource => Kind::TrustedSourceThrottled,
            };
            self.audit.attack(&Event {
                delay: Some(secs(delay)),
                ..event(kind)
            });
        }
    }
}
