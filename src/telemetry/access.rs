//! The access log: a line a request.
//!
//! A line is made when the answer has gone, and handed to a thread that writes it; when that does not keep
//! up lines are dropped and counted, and nobody waits.

use std::borrow::Cow;
use std::fmt::Display;
use std::fs::File;
use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwapOption;
use serde::Serialize;
use tracing_appender::non_blocking::{NonBlocking, WorkerGuard};

use super::file::{self, Appended};
use super::logs::background;
use super::metrics::{Door, metrics};
use super::record::RequestRecord;
use super::request_line::RequestLine;
use super::traces::Spans;
use crate::auth::PrincipalRef;
use crate::clock;
use crate::config::{Access, Log, LogFormat};
use crate::http::Trace;

/// What an answered request was.
pub struct Request<'a> {
    /// Its id.
    pub id: &'a str,
    /// When its header was here.
    pub began: SystemTime,
    /// How long it took from there to the end of its answer.
    pub took: Duration,
    /// Its method, host and path.
    pub request_line: RequestLine<'a>,
    /// The answer's; none if there was none.
    pub status: Option<u16>,
    /// Where its connection comes from.
    pub client: Option<SocketAddr>,
    /// Bytes of its body.
    pub bytes_in: u64,
    /// Bytes of the answer's body.
    pub bytes_out: u64,
    /// Where it went on to.
    pub forwarded: Option<Forwarded<'a>>,
    /// The trace that it came with.
    pub trace: Option<Trace>,
    /// Its spans, if it has some.
    pub spans: Option<Spans>,
}

/// Where a request went on to.
#[derive(Clone, Copy)]
pub struct Forwarded<'a> {
    /// The upstream.
    pub upstream: &'a str,
    /// One server there.
    pub peer: &'a dyn Display,
    /// How long it took to the header of its answer; none if there was none.
    pub took: Option<Duration>,
}

/// Where lines go, and which.
struct Settings {
    format: LogFormat,
    access: Access,
    one_in: u64,
    out: NonBlocking,
    file: Option<Arc<ToFile>>,
}

/// A file of its own. What waits is written when this is dropped.
struct ToFile {
    file: Appended,
    out: NonBlocking,
    _writing: WorkerGuard,
}

static SETTINGS: ArcSwapOption<Settings> = ArcSwapOption::const_empty();
/// Counts requests that one in some of is written of.
static COUNT: AtomicU64 = AtomicU64::new(0);

/// Opens the file that lines go to, if there is one.
///
/// # Errors
/// It cannot be opened.
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

/// Writes lines as configured from now on: to `file` if there is one, else among `lines`.
pub(super) fn configure(log: &Log, file: Option<File>, lines: &NonBlocking) {
    let file = file.map(to_file);
    let out = file.as_ref().map_or(lines, |file| &file.out).clone();
    if file.is_some() {
        metrics().count_lines("access", out.error_counter());
    }
    SETTINGS.store((log.access != Access::Off).then(|| {
        Arc::new(Settings {
            format: log.format,
            access: log.access,
            one_in: log.access_one_in,
            out,
            file,
        })
    }));
}

/// Writes what waits, and no more.
pub(super) fn end() {
    SETTINGS.store(None);
}

/// Lets the thread that writes go over to a file, or begins one.
fn to_file(opened: File) -> Arc<ToFile> {
    let settings = SETTINGS.load();
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

/// Writes the line of a request, if one is to be written.
pub(super) fn write(request: &Request<'_>, record: &RequestRecord) {
    let settings = SETTINGS.load();
    let Some(settings) = settings.as_ref().filter(|it| it.takes(request, record)) else {
        return;
    };
    let line = Line::new(request, record);
    let line = match settings.format {
        LogFormat::Human => Ok(line.for_people().into_bytes()),
        LogFormat::Json => serde_json::to_vec(&line).map(|mut line| {
            line.push(b'\n');
            line
        }),
    };
    if let Ok(line) = line {
        // It only says how much is waiting.
        let _ = settings.out.clone().write_all(&line);
    }
}

impl Settings {
    /// Says whether a line is written of a request: always if it was denied or failed.
    fn takes(&self, request: &Request<'_>, record: &RequestRecord) -> bool {
        let failed = request.status.is_none_or(|status| status >= 500);
        if failed || record.decision() == Some("denied") {
            return true;
        }
        self.access == Access::All
            && COUNT
                .fetch_add(1, Ordering::Relaxed)
                .is_multiple_of(self.one_in)
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

/// What was decided, of requests that come to a door.
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
        let who = record.principal();
        Self {
            timestamp: humantime::format_rfc3339_micros(clock::within(request.began)).to_string(),
            target: "access",
            request: request.id,
            decided: Decided {
                door: record.door().map(Door::as_str),
                route: record.route(),
                name: who.map(PrincipalRef::name),
                realm: who.map(PrincipalRef::realm),
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

    /// Quotes and escapes what clients choose, so that it cannot forge a line.
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
