//! Shows the audit log.

use std::collections::BTreeMap;
use std::sync::Arc;

use askama::Template;
use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use http::Uri;
use serde::Deserialize;

use super::fault::{Errors, Fault};
use super::form::{Form, query_of, time};
use super::state::Page;
use super::trail::{BEFORE, Step, Trail};
use super::view::{Frame, html};
use super::visit::Visit;
use crate::audit::{Kind, REASONS};
use crate::doors::v1::types::{AuditEvent, AuditLines, AuditReason, Identity};

/// The number of lines on a page, and of those of one identity.
const PAGE: u32 = 50;
const OF_IDENTITY: u32 = 10;

#[derive(Template)]
#[template(path = "audit.html")]
struct List {
    frame: Frame,
    principal: String,
    event: String,
    reason: String,
    since: String,
    until: String,
    lines: Vec<Entry>,
    next: Option<String>,
    previous: Option<String>,
    first: String,
    is_first: bool,
    is_off: bool,
    errors: Errors,
}

impl List {
    /// Returns the events to choose from, with their words.
    fn events(&self) -> impl Iterator<Item = (&'static str, String)> {
        Kind::ALL
            .iter()
            .map(|kind| (kind.as_str(), words(kind.as_str())))
    }
}

/// Returns an event as the page names it.
fn words(event: &str) -> String {
    match event {
        "refused" => "request rejected".to_owned(),
        "denied" => "attempt denied".to_owned(),
        "observed" => "passed, only observed".to_owned(),
        "config_reloaded" => "configuration reloaded".to_owned(),
        "config_refused" => "configuration rejected".to_owned(),
        "serve_started" => "server started".to_owned(),
        "serve_ended" => "server stopped".to_owned(),
        "source_slowed" => "address throttled".to_owned(),
        "trusted_source_throttled" => "throttled at a trusted address".to_owned(),
        other => other.replace('_', " "),
    }
}

/// A line of the audit log.
pub(super) struct Entry {
    pub(super) machine: String,
    pub(super) time: String,
    pub(super) event: String,
    pub(super) subject: Option<Who>,
    pub(super) id: Option<i64>,
    pub(super) by: String,
    pub(super) source: String,
    pub(super) detail: String,
    pub(super) is_denial: bool,
}

/// A principal in a line.
#[derive(Clone, Deserialize)]
pub(super) struct Who {
    pub(super) name: String,
    pub(super) realm: String,
}

/// The members of a line that are shown.
#[derive(Deserialize)]
struct Line {
    time: String,
    event: String,
    subject: Option<Who>,
    id: Option<i64>,
    was: Option<Who>,
    #[serde(default)]
    changes: BTreeMap<String, Values>,
    actor: Option<Actor>,
    proof: Option<String>,
    source: Option<String>,
    reason: Option<String>,
    detail: Option<String>,
    route: Option<String>,
    count: Option<u64>,
}

/// The values of a changed member.
#[derive(Deserialize)]
struct Values {
    old: Option<String>,
    new: Option<String>,
}

impl Values {
    /// Describes a change of a member.
    fn of(&self, member: &str) -> String {
        let label = match member {
            "not_before" => "valid from",
            other => other,
        };
        let text = |value: &Option<String>| match value {
            None => "none".to_owned(),
            Some(text) if member == "comment" => format!("\u{201c}{text}\u{201d}"),
            Some(time) => time.replacen('T', " ", 1).replace('Z', ""),
        };
        format!("{label}: {} \u{2192} {}", text(&self.old), text(&self.new))
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Actor {
    Principal(Who),
    User { uid: u32 },
}

impl From<Line> for Entry {
    fn from(line: Line) -> Self {
        let time = line.time.replacen('T', " ", 1);
        let by = match line.actor {
            Some(Actor::Principal(Who { name, realm })) => format!("{name}@{realm}"),
            Some(Actor::User { uid }) => format!("user {uid} on the host"),
            None => String::new(),
        };
        let was = line.was.map(|it| format!("was {}@{}", it.name, it.realm));
        let count = line
            .count
            .filter(|it| *it > 1)
            .map(|it| format!("{it} times"));
        let route = line.route.map(|it| format!("route {it}"));
        let proof = line
            .proof
            .filter(|it| it != "token")
            .map(|it| format!("by {it}"));
        let details = [line.reason, route, was, count, proof, line.detail];
        let changes = line.changes.iter().map(|(member, it)| it.of(member));
        let details: Vec<_> = details.into_iter().flatten().chain(changes).collect();
        Self {
            time: time.get(..19).unwrap_or(&time).to_owned(),
            machine: line.time,
            is_denial: ["denied", "refused"].contains(&&*line.event),
            event: words(&line.event),
            subject: line.subject,
            id: line.id,
            by,
            source: line.source.unwrap_or_default(),
            detail: details.join(" · "),
        }
    }
}

fn entries(lines: &AuditLines) -> Vec<Entry> {
    let lines = lines.items.iter();
    let lines = lines.filter_map(|it| serde_json::from_str::<Line>(it.get()).ok());
    lines.map(Into::into).collect()
}

/// Returns the last lines about an identity, also under its earlier names; none if the log is off or
/// cannot be read. Lines about denials have no id.
pub(super) async fn of_identity(visit: &Visit, identity: &Identity) -> Vec<Entry> {
    let principal = format!("{}@{}", identity.name, identity.realm);
    let id = identity.id.to_string();
    last(
        visit,
        &[("principal", &principal), ("id", &id)],
        OF_IDENTITY,
    )
    .await
}

/// Returns the last lines with these values of parameters; none if the log is off.
pub(super) async fn last(visit: &Visit, wanted: &[(&str, &str)], most: u32) -> Vec<Entry> {
    let limit = most.to_string();
    let query = query_of(&[wanted, &[("limit", &limit)]].concat());
    let lines = visit.get::<AuditLines>(&format!("/v1/audit?{query}")).await;
    lines.map(|it| entries(&it)).unwrap_or_default()
}

pub(super) async fn lines(
    State(page): State<Arc<Page>>,
    Extension(visit): Extension<Visit>,
    uri: Uri,
) -> Result<Response, Fault> {
    let query = Form::of_query(uri.query());
    let mut errors = Errors::default();
    let mut times = [String::new(), String::new()];
    for (key, parsed) in ["since", "until"].into_iter().zip(&mut times) {
        match time(query.text(key)) {
            Ok(time) => *parsed = time.map(|it| it.to_string()).unwrap_or_default(),
            Err(detail) => errors.add(key, detail),
        }
    }
    let text = |key| query.text(key);
    let header_bytes = page.api.config.load().limits.header_bytes;
    let trail = Trail::of(&query, header_bytes);
    // Only an address that somebody has typed can name others than the form.
    let is_event = text("event").parse::<AuditEvent>().is_ok();
    if !text("event").is_empty() && !is_event {
        errors.add("event", "no such event: choose one");
    }
    let is_reason = text("reason").parse::<AuditReason>().is_ok();
    if !text("reason").is_empty() && !is_reason {
        errors.add("reason", "no such reason: choose one");
    }
    let [since, until] = &times;
    let limit = PAGE.to_string();
    let wanted = query_of(&[
        ("principal", text("principal")),
        ("event", text("event")),
        ("reason", text("reason")),
        ("since", since),
        ("until", until),
        ("cursor", trail.cursor()),
        ("limit", &limit),
    ]);
    let mut is_off = false;
    let none = || AuditLines {
        items: Vec::new(),
        next: None,
    };
    let found = match errors.is_empty() {
        true => visit.get(&format!("/v1/audit?{wanted}")).await,
        false => Ok(none()),
    };
    let found = match found {
        Ok(found) => found,
        Err(fault) if fault.status == 404 => {
            is_off = true;
            none()
        }
        Err(fault) if fault.status == 400 => {
            errors = fault.fields();
            none()
        }
        Err(fault) => return Err(fault),
    };
    let at = |step: Step| {
        let query = query_of(&[
            ("principal", text("principal")),
            ("event", text("event")),
            ("reason", text("reason")),
            ("since", text("since")),
            ("until", text("until")),
            ("cursor", &step.cursor),
            (BEFORE, &step.before),
        ]);
        format!("/audit?{query}")
    };
    let first = at(Step::default());
    let next = found.next.clone().map(|next| at(trail.next(next)));
    let status = if errors.is_empty() { 200 } else { 400 };
    let text = |key| query.text(key).to_owned();
    let view = List {
        frame: Frame::new(&page, Some(&visit), "audit"),
        principal: text("principal"),
        event: text("event"),
        reason: text("reason"),
        since: text("since"),
        until: text("until"),
        lines: entries(&found),
        next,
        previous: trail.previous().map(at),
        first,
        is_first: trail.is_first(),
        is_off,
        errors,
    };
    Ok(html(status, &view))
}
