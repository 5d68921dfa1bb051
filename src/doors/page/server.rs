//! Shows routes, explanations and keys.

use std::sync::Arc;

use askama::Template;
use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use http::{HeaderName, Method, Uri};

use super::fault::{Errors, Fault};
use super::form::{Form, query_of};
use super::state::Page;
use super::view::{Frame, html, number};
use super::visit::Visit;
use crate::config::Config;
use crate::doors::health::UpstreamHealth;
use crate::doors::v1::types::{
    Explained, Fate, IdentityHeaders, Inquiry, Key, Keys, Misfit, Reading, Route, RouteMode, Routes,
};

/// The number of routes on a page.
const PAGE: u32 = 100;

#[derive(Template)]
#[template(path = "routes.html")]
struct List {
    frame: Frame,
    routes: Vec<RouteRow>,
    /// Whether a route has responses or headers of its own.
    has_notes: bool,
    /// The identity headers of the other routes.
    headers: String,
    upstreams: Vec<UpstreamRow>,
    next: Option<String>,
    is_first: bool,
    method: String,
    url: String,
    who: String,
    from: String,
    explained: Option<Explained>,
    errors: Errors,
}

struct RouteRow {
    route: Route,
    /// What it does otherwise than the other routes.
    notes: Vec<String>,
}

impl RouteRow {
    fn new(route: Route, usual: &IdentityHeaders) -> Self {
        let headers = &route.effects.identity_headers;
        let headers =
            (headers != usual).then(|| format!("Identity headers: {}", described(headers)));
        let denials = route.effects.denials();
        let denials = denials.map(|it| format!("Denials: {it}"));
        let notes = [denials, headers].into_iter().flatten().collect();
        Self { route, notes }
    }
}

fn described(headers: &IdentityHeaders) -> String {
    match headers.to_string() {
        text if text.is_empty() => "none".to_owned(),
        text => text,
    }
}

struct UpstreamRow {
    health: UpstreamHealth,
    /// Whether health checks say which peers are healthy.
    is_checked: bool,
    /// How peers that fail are found.
    checks: String,
}

impl UpstreamRow {
    fn new(health: UpstreamHealth, config: &Config) -> Self {
        let mut upstreams = config.upstreams.iter();
        let upstream = upstreams.find(|it| it.name == health.name);
        let is_checked = upstream.is_some_and(|it| it.health.is_some());
        let failures = upstream.map_or(0, |it| it.ejection.failures);
        let checks = match (is_checked, failures) {
            (true, 0) => "health check".to_owned(),
            (true, _) => format!("health check; {failures} failed requests eject a peer"),
            (false, 0) => "none".to_owned(),
            (false, _) => format!("none; {failures} failed requests eject a peer"),
        };
        Self {
            health,
            is_checked,
            checks,
        }
    }
}

/// Describes an outcome.
fn outcome(fate: &Fate) -> String {
    let mut text = match (fate.passes, fate.status) {
        (true, None) => "forwarded".to_owned(),
        (true, Some(status)) => format!("permitted with {status}"),
        (false, Some(status)) => format!("rejected with {status}"),
        (false, None) => "rejected".to_owned(),
    };
    let reason = fate.detail.as_ref().or(fate.reason.as_ref());
    if let Some(reason) = reason {
        text.push_str(&format!(": {reason}"));
    }
    if let Some(observed) = &fate.observed {
        text.push_str(&format!(", although its policy denies it ({observed})"));
    }
    text
}

/// Describes the route of another reading of a path.
fn reading(reading: &Reading) -> String {
    match (&reading.route, reading.divided) {
        (Some(route), true) => format!("route {route}, or not, depending on how servers divide it"),
        (None, true) => "other routes, depending on how servers divide it".to_owned(),
        (Some(route), false) => format!("route {route}"),
        (None, false) => "no route".to_owned(),
    }
}

/// Says why a route does not fit.
fn misfits(misfits: &[Misfit]) -> String {
    let words = misfits.iter().map(|it| match it {
        Misfit::Host => "host",
        Misfit::Path => "path",
        Misfit::Method => "method",
        Misfit::Network => "network",
    });
    words.collect::<Vec<_>>().join(", ")
}

pub(super) async fn routes(
    State(page): State<Arc<Page>>,
    Extension(visit): Extension<Visit>,
    uri: Uri,
) -> Result<Response, Fault> {
    let query = Form::of_query(uri.query());
    let limit = PAGE.to_string();
    let wanted = query_of(&[("limit", &limit), ("cursor", query.text("cursor"))]);
    let path = format!("/v1/routes?{wanted}");
    let found: Routes = visit.get(&path).await?;
    let mut errors = Errors::default();
    let mut explained = None;
    if let Some(url) = query.some("url") {
        let from = query.some("from").map(|it| it.parse());
        if matches!(from, Some(Err(_))) {
            errors.add("from", "expected an IP address");
        }
        let is_wrong = !errors.is_empty();
        let inquiry = Inquiry {
            method: query.some("method").unwrap_or_else(|| "GET".to_owned()),
            url,
            who: query.some("as"),
            from: from.and_then(Result::ok),
        };
        let answer = visit.change(Method::POST, "/v1/explain", Some(&inquiry), None);
        match answer.await {
            Ok(_) if is_wrong => {}
            Ok(found) => explained = Some(found),
            // All of them at once.
            Err(fault) if is_wrong => errors.extend(fault.errors),
            Err(fault) => errors = fault.errors()?,
        }
    }
    let next = found.next.map(|cursor| {
        let query = query_of(&[("cursor", &cursor)]);
        format!("/routes?{query}")
    });
    let config = page.api.config.load_full();
    let usual = usual_headers(&config);
    let rows = found.items.into_iter();
    let rows: Vec<_> = rows.map(|it| RouteRow::new(it, &usual)).collect();
    let upstreams = page.health.upstreams().into_iter();
    let status = if errors.is_empty() { 200 } else { 422 };
    let text = |key| query.text(key).to_owned();
    let view = List {
        frame: Frame::new(&page, Some(&visit), "routes"),
        has_notes: rows.iter().any(|it| !it.notes.is_empty()),
        headers: described(&usual),
        routes: rows,
        upstreams: upstreams.map(|it| UpstreamRow::new(it, &config)).collect(),
        next,
        is_first: query.text("cursor").is_empty(),
        method: text("method"),
        url: text("url"),
        who: text("as"),
        from: text("from"),
        explained,
        errors,
    };
    Ok(html(status, &view))
}

/// Returns the identity headers of upstreams that do not name any.
fn usual_headers(config: &Config) -> IdentityHeaders {
    let names = config.identity_headers(None);
    let text = |name: Option<HeaderName>| name.map(|name| name.to_string());
    IdentityHeaders {
        name: text(names.name),
        realm: text(names.realm),
        user: text(names.user),
    }
}

#[derive(Template)]
#[template(path = "keys.html")]
struct KeyList {
    frame: Frame,
    keys: Vec<Key>,
}

pub(super) async fn keys(
    State(page): State<Arc<Page>>,
    Extension(visit): Extension<Visit>,
) -> Result<Response, Fault> {
    let found: Keys = visit.get("/v1/keys").await?;
    let view = KeyList {
        frame: Frame::new(&page, Some(&visit), "keys"),
        keys: found.items,
    };
    Ok(html(200, &view))
}
