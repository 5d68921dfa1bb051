//! The access log: one line per request.
//!
//! A line is made after the response and queued for a thread that writes it. If the thread does not keep up, lines
//! are dropped and counted; no request waits.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, Write};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use serde::Serialize;
use tracing_appender::non_blocking::{NonBlocking, WorkerGuard};

use super::door::Door;
use super::file::{self, Appended};
use super::lines::DroppedLines;
use super::logs::background;
use super::record::RequestRecord;
use super::request::Request;
use crate::auth::PrincipalRef;
use crate::clock;
use crate::config::{Access, Log, LogFormat};

/// The access log: where lines go, and of which requests.
pub(super) struct AccessLog {
    /// None while the log is off.
    settings: ArcSwapOption<Settings>,
    is_on: AtomicBool,
    /// The number of permitted requests, of which one in `one_in` is logged.
    count: AtomicU64,
    dropped: DroppedLines,
}

struct Settings {
    format: LogFormat,
    access: Access,
    one_in: u64,
    out: NonBlocking,
    file: Option<Arc<ToFile>>,
}

/// A file with a thread that writes it. Waiting lines are written when this is dropped.
struct ToFile {
    file: Appended,
    out: NonBlocking,
    _writing: WorkerGuard,
}

/// Opens the file of the access log, if there is one.
///
/// # Errors
/// The file cannot be opened.
pub(super) fn open(log: &Log) -> io::Result<Option<File>> {
    match &log.access_file {
        Some(path) if log.access != Access::Off => {
            let named = |error: io::Error| {
                io::Error::new(error.kind(), format!("{}: {error}", path.display()))
            };
            file::open(path).map(Some).map_err(named)
        }
        _ => Ok(None),
    }
}

impl AccessLog {
    /// Makes an access log that is off.
    pub(super) fn new(dropped: DroppedLines) -> Self {
        Self {
            settings: ArcSwapOption::empty(),
            is_on: AtomicBool::new(false),
            count: AtomicU64::new(0),
            dropped,
        }
    }

    /// Returns whether requests are logged.
    pub(super) fn is_on(&self) -> bool {
        self.is_on.load(Ordering::Relaxed)
    }

    /// Writes lines as configured from now on: to `file` if there is one, else to `lines`, the main log.
    pub(super) fn configure(&self, log: &Log, file: Option<File>, lines: &NonBlocking) {
        let file = file.map(|file| self.to_file(file));
        let out = file.as_ref().map_or(lines, |file| &file.out).clone();
        if file.is_some() {
            self.dropped.set("access", out.error_counter());
        }
        let is_on = log.access != Access::Off;
        self.settings.store(is_on.then(|| {
            Arc::new(Settings {
                format: log.format,
                access: log.access,
                one_in: log.access_one_in,
                out,
                file,
            })
        }));
        self.is_on.store(is_on, Ordering::Relaxed);
    }

    /// Writes the waiting lines, and no others after that.
    pub(super) fn end(&self) {
        self.is_on.store(false, Ordering::Relaxed);
        self.settings.store(None);
    }

    /// Switches the thread that writes to another file, or starts one.
    fn to_file(&self, opened: File) -> Arc<ToFile> {
        let settings = self.settings.load();
        if let Some(present) = settings.as_ref().and_then(|it| it.file.as_ref()) {
            present.file.replace(opened);
            return Arc::clone(present);
        }
        let file = Appended::new(opened);
        let (out, writing) = background(file.clone());
        Arc::new(ToFile {
            file,
            out,
            _writing: writing,
        })
    }

    /// Writes the line of a request, if it is to be logged.
    pub(super) fn write(&self, request: &Request<'_>, record: &RequestRecord) {
        let settings = self.settings.load();
        let Some(settings) = settings.as_ref() else {
            return;
        };
        if !self.takes(settings, request, record) {
            return;
        }
        let line = Line::new(request, record);
        let line = match settings.format {
            LogFormat::Human => Ok(line.for_people().into_bytes()),
            LogFormat::Json => serde_json::to_vec(&line).map(|mut line| {
                line.push(b'\n');
                line
            }),
        };
        if let Ok(line) = line {
            // A full queue drops the line and counts it.
            let _ = settings.out.clone().write_all(&line);
        }
    }

    /// Returns whether a request is logged: always if it was denied, would be denied, or failed.
    fn takes(&self, settings: &Settings, request: &Request<'_>, record: &RequestRecord) -> bool {
        let failed = request.status.is_none_or(|status| status >= 500);
        if failed || record.reason().is_some() {
            return true;
        }
        settings.access == Access::All
            && self
                .count
                .fetch_add(1, Ordering::Relaxed)
                .is_multiple_of(settings.one_in)
    }
}

/// A line. Its fields are in `docs/observability.md`.
#[derive(Serialize)]
struct Line<'a> {
    timestamp: String,
    target: &'static str,
    #[serde(rename = "request_id")]
    request: &'a str,
    #[serde(flatten)]
    decided: Decided<'a>,
    method: Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    host: Option<Cow<'a, str>>,
    path: Cow<'a, str>,
    status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    upstream: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    peer: Option<String>,
    client: Option<String>,
    duration_us: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    decision_us: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    upstream_us: Option<u64>,
    bytes_in: u64,
    bytes_out: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    trace: Option<String>,
}

/// The decision, of requests that reached a door.
#[derive(Serialize)]
struct Decided<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    door: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    route: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    realm: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    decision: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<IpAddr>,
}

impl<'a> Line<'a> {
    fn new(request: &'a Request<'a>, record: &'a RequestRecord) -> Self {
        let forwarded = request.forwarded;
        let principal = record.principal();
        Self {
            timestamp: humantime::format_rfc3339_micros(clock::within(request.began)).to_string(),
            target: "access",
            request: request.id,
            decided: Decided {
                door: record.door().map(Door::as_str),
                route: record.route(),
                name: principal.map(PrincipalRef::name),
                realm: principal.map(PrincipalRef::realm),
                decision: record.decision(),
                reason: record.reason(),
                source: record.source(),
            },
            method: request.request_line.method().unwrap_or_default(),
            host: request.request_line.host(),
            path: request.request_line.path().unwrap_or_default(),
            status: request.status,
            upstream: forwarded.map(|it| it.upstream),
            peer: forwarded.map(|it| it.peer.to_string()),
            client: request.client.map(|client| client.to_string()),
            duration_us: micros(request.took),
            decision_us: record.took().map(micros),
            upstream_us: forwarded.and_then(|it| it.took).map(micros),
            bytes_in: request.bytes_in,
            bytes_out: request.bytes_out,
            trace: request
                .spans
                .map(|spans| spans.trace())
                .or(request.trace)
                .map(|trace| trace.to_string()),
        }
    }

    /// Formats the line for people. Quotes and escapes values that clients choose, so that they cannot forge a line.
    fn for_people(&self) -> String {
        use std::fmt::Write;
        let mut line = format!("{} ACCESS", self.timestamp);
        let status = self.status.map_or("-".to_owned(), |it| it.to_string());
        let decided = &self.decided;
        let principal = decided.name.zip(decided.realm);
        let principal = principal.map(|(name, realm)| format!("{name:?}@{realm:?}"));
        let text = |value: Option<&str>| value.map(str::to_owned);
        let number = |value: Option<u64>| value.map(|it| it.to_string());
        for (key, value) in [
            ("request_id", text(Some(self.request))),
            ("door", text(decided.door)),
            ("method", text(Some(&self.method))),
            ("host", self.host.as_ref().map(|host| format!("{host:?}"))),
            ("path", Some(format!("{:?}", self.path))),
            ("status", Some(status)),
            ("route", decided.route.map(|route| format!("{route:?}"))),
            ("principal", principal),
            ("decision", text(decided.decision)),
            ("reason", text(decided.reason)),
            ("source", decided.source.map(|it| it.to_string())),
            ("upstream", self.upstream.map(|it| format!("{it:?}"))),
            ("peer", self.peer.clone()),
            ("client", self.client.clone()),
            ("duration_us", number(Some(self.duration_us))),
            ("decision_us", number(self.decision_us)),
            ("upstream_us", number(self.upstream_us)),
            ("bytes_in", number(Some(self.bytes_in))),
            ("bytes_out", number(Some(self.bytes_out))),
            ("trace", self.trace.clone()),
        ] {
            if let Some(value) = value {
                // Writing to a `String` does not fail.
                let _ = write!(line, " {key}={value}");
            }
        }
        line.push('\n');
        line
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
