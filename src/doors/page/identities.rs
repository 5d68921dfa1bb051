//! Lists and shows identities.

use std::sync::Arc;

use askama::Template;
use axum::Extension;
use axum::extract::{Path, State};
use axum::response::Response;
use http::Uri;

use super::audit::{Entry, of_identity};
use super::fault::{Errors, Fault};
use super::form::{Form, query_of};
use super::realms::RealmCounts;
use super::state::Page;
use super::view::{Distance, Frame, When, html};
use super::visit::Visit;
use crate::auth::{Algorithm, UnixTime};
use crate::doors::v1::types::{Identities, Identity, Seed, State as Enabled, Strength};

/// The number of identities on a page.
const PAGE: u32 = 50;

/// The number of realms that are suggested.
const NAMES: usize = 100;

#[derive(Template)]
#[template(path = "identities.html")]
struct List {
    frame: Frame,
    realm: String,
    name: String,
    state: String,
    realms: Vec<String>,
    rows: Vec<Row>,
    next: Option<String>,
    is_first: bool,
}

impl List {
    fn is_filtered(&self) -> bool {
        !(self.realm.is_empty() && self.name.is_empty() && self.state.is_empty())
    }
}

/// An identity in a list.
struct Row {
    id: i64,
    name: String,
    realm: String,
    badge: Badge,
    used: Option<(When, String)>,
    expires: Option<When>,
    seed: &'static str,
}

/// The state of an identity in a word, with its style.
pub(super) struct Badge {
    pub(super) style: &'static str,
    pub(super) text: &'static str,
}

impl Badge {
    pub(super) fn of(identity: &Identity, now: UnixTime) -> Self {
        let (style, text) = if identity.state == Enabled::Disabled {
            ("off", "disabled")
        } else if identity.expires.is_some_and(|it| it.0 <= now) {
            ("off", "expired")
        } else if identity.not_before.is_some_and(|it| now < it.0) {
            ("wait", "not yet valid")
        } else if identity.throttle.waits > 0 || identity.throttle.trusted_waits > 0 {
            ("warn", "throttled")
        } else {
            ("on", "enabled")
        };
        Self { style, text }
    }
}

fn strength(seed: &Seed) -> &'static str {
    match seed.strength {
        Strength::Good => "",
        other => other.as_str(),
    }
}

pub(super) async fn list(
    State(page): State<Arc<Page>>,
    Extension(visit): Extension<Visit>,
    Extension(counts): Extension<RealmCounts>,
    uri: Uri,
) -> Result<Response, Fault> {
    let query = Form::of_query(uri.query());
    let (realm, name) = (query.text("realm"), query.text("name"));
    let state = match query.text("state") {
        state @ ("enabled" | "disabled") => state,
        _ => "",
    };
    let cursor = query.text("cursor");
    let filter = |cursor: &str, limit: &str| {
        query_of(&[
            ("realm", realm),
            ("name", name),
            ("state", state),
            ("cursor", cursor),
            ("limit", limit),
        ])
    };
    let wanted = filter(cursor, &PAGE.to_string());
    let found: Identities = visit.get(&format!("/v1/identities?{wanted}")).await?;
    // Only names that are known already: to count them takes long.
    let realms = counts.last().map(|(realms, _)| realms);
    let realms = realms.iter().flat_map(|it| it.items.iter().take(NAMES));
    let now = visit.client.now;
    let next = found
        .next
        .map(|next| format!("/identities?{}", filter(&next, "")));
    let view = List {
        frame: Frame::new(&page, Some(&visit), "identities").done(query.text("done")),
        realm: realm.to_owned(),
        name: name.to_owned(),
        state: state.to_owned(),
        realms: realms.map(|it| it.realm.clone()).collect(),
        rows: found.items.into_iter().map(|it| row(it, now)).collect(),
        next,
        is_first: cursor.is_empty(),
    };
    Ok(html(200, &view))
}

fn row(identity: Identity, now: UnixTime) -> Row {
    let badge = Badge::of(&identity, now);
    let used = identity.seeds.iter().filter_map(|it| it.last_used).max();
    Row {
        id: identity.id,
        badge,
        used: used.map(|it| (it.into(), Distance(it.0, now).to_string())),
        expires: identity.expires.map(Into::into),
        seed: identity.seeds.first().map_or("", strength),
        name: identity.name,
        realm: identity.realm,
    }
}

#[derive(Template)]
#[template(path = "identity.html")]
pub(super) struct One {
    frame: Frame,
    it: Identity,
    version: String,
    badge: Badge,
    created: When,
    updated: When,
    seeds: Vec<SeedRow>,
    algorithm: Algorithm,
    not_before: String,
    expires: String,
    form: Terms,
    errors: Errors,
    lines: Vec<Entry>,
}

/// A seed of an identity.
struct SeedRow {
    title: &'static str,
    made: Option<When>,
    used: Option<(When, String)>,
    drift: i64,
    until: Option<When>,
    strength: &'static str,
}

/// The fields of the form that changes an identity.
pub(super) struct Terms {
    pub(super) name: String,
    pub(super) realm: String,
    pub(super) comment: String,
    pub(super) not_before: String,
    pub(super) expires: String,
}

impl Terms {
    fn of(identity: &Identity) -> Self {
        let local = |time: Option<crate::doors::v1::Timestamp>| {
            let text = time.map(|it| it.to_string()).unwrap_or_default();
            text.get(..16).unwrap_or_default().to_owned()
        };
        Self {
            name: identity.name.clone(),
            realm: identity.realm.clone(),
            comment: identity.comment.clone().unwrap_or_default(),
            not_before: local(identity.not_before),
            expires: local(identity.expires),
        }
    }
}

pub(super) async fn show(
    State(page): State<Arc<Page>>,
    Extension(visit): Extension<Visit>,
    Path(id): Path<i64>,
    uri: Uri,
) -> Result<Response, Fault> {
    let query = Form::of_query(uri.query());
    one(&page, &visit, id, None, query.text("done")).await
}

/// Renders an identity, with what was typed and what is wrong about it.
pub(super) async fn one(
    page: &Page,
    visit: &Visit,
    id: i64,
    typed: Option<(Terms, Errors)>,
    done: &str,
) -> Result<Response, Fault> {
    let path = format!("/v1/identities/{id}");
    let (it, version): (Identity, _) = visit.get_tagged(&path).await?;
    let now = visit.client.now;
    let titles = ["Current seed", "Previous seed"];
    let seeds = it.seeds.iter().zip(titles).map(|(seed, title)| SeedRow {
        title,
        made: seed.made.map(Into::into),
        used: seed
            .last_used
            .map(|it| (it.into(), Distance(it.0, now).to_string())),
        drift: seed.drift,
        until: seed.until.map(Into::into),
        strength: strength(seed),
    });
    let status = if typed.is_some() { 422 } else { 200 };
    let (form, errors) = typed.unwrap_or_else(|| (Terms::of(&it), Errors::default()));
    let saved = Terms::of(&it);
    let view = One {
        frame: Frame::new(page, Some(visit), "identities").done(done),
        badge: Badge::of(&it, now),
        created: it.created.into(),
        updated: it.updated.into(),
        seeds: seeds.collect(),
        algorithm: it.parameters.algorithm,
        not_before: saved.not_before.replace('T', " "),
        expires: saved.expires.replace('T', " "),
        lines: of_identity(visit, &it).await,
        version,
        form,
        errors,
        it,
    };
    Ok(html(status, &view))
}
