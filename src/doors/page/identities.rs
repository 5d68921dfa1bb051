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
use super::state::Page;
use super::terms::{Difference, Terms};
use super::token::is_reserved;
use super::trail::{BEFORE, Step, Trail};
use super::view::{Distance, Frame, When, html};
use super::visit::Visit;
use crate::auth::{Algorithm, UnixTime};
use crate::doors::v1::types::{
    Identities, Identity, Realms, Seed, Sort, State as Enabled, Strength, Unreadable,
};

/// The number of identities on a page.
const PAGE: u32 = 50;

/// The number of realms that are suggested.
const NAMES: u32 = 100;

#[derive(Template)]
#[template(path = "identities.html")]
struct List {
    frame: Frame,
    realm: String,
    name: String,
    state: String,
    condition: String,
    sort: Sort,
    realms: Vec<String>,
    rows: Vec<Row>,
    unreadable: Vec<Unreadable>,
    next: Option<String>,
    previous: Option<String>,
    is_first: bool,
    errors: Errors,
}

impl List {
    fn is_filtered(&self) -> bool {
        let all = [&self.realm, &self.name, &self.state, &self.condition];
        all.iter().any(|it| !it.is_empty())
    }

    /// Returns whether the search has ended before the page was full.
    fn is_cut_short(&self) -> bool {
        let shown = self.rows.len() + self.unreadable.len();
        self.next.is_some() && shown < PAGE as usize
    }

    /// Returns the address of the first page in another order.
    fn in_order(&self, sort: Sort) -> String {
        let query = query_of(&[
            ("realm", &self.realm),
            ("name", &self.name),
            ("state", &self.state),
            ("condition", &self.condition),
            ("sort", in_query(sort)),
        ]);
        format!("/identities?{query}")
    }

    /// Returns the head of a column by which the list can be sorted: its text, the address that sorts
    /// by it, and the value of `aria-sort`.
    fn head(&self, text: &'static str, up: Sort, down: Sort) -> Head {
        let (next, sorted) = if self.sort == up {
            (down, "ascending")
        } else if self.sort == down {
            (up, "descending")
        } else {
            (up, "none")
        };
        Head {
            text,
            address: self.in_order(next),
            sorted,
        }
    }

    fn heads(&self) -> [Head; 4] {
        [
            self.head("Name", Sort::Name, Sort::NameReversed),
            self.head("Realm", Sort::Realm, Sort::RealmReversed),
            self.head("Last used", Sort::LastUsed, Sort::LastUsedReversed),
            self.head("Expires (UTC)", Sort::Expires, Sort::ExpiresReversed),
        ]
    }
}

/// Returns an order as a query names it; empty for the default one.
fn in_query(sort: Sort) -> &'static str {
    match sort == Sort::default() {
        true => "",
        false => sort.as_str(),
    }
}

/// The head of a column.
struct Head {
    text: &'static str,
    address: String,
    sorted: &'static str,
}

/// The conditions to choose from.
const CONDITIONS: [(&str, &str); 4] = [
    ("expiring", "expires within 30 days"),
    ("unused", "not used for 90 days"),
    ("weak", "weak seed"),
    ("clock-off", "clock is off"),
];

/// The orders to choose from.
const SORTS: [(Sort, &str); 10] = [
    (Sort::Id, "oldest first"),
    (Sort::IdReversed, "newest first"),
    (Sort::Name, "name"),
    (Sort::NameReversed, "name, reversed"),
    (Sort::Realm, "realm"),
    (Sort::RealmReversed, "realm, reversed"),
    (Sort::LastUsed, "longest unused"),
    (Sort::LastUsedReversed, "last used"),
    (Sort::Expires, "expires soonest"),
    (Sort::ExpiresReversed, "expires last"),
];

/// An identity in a list.
struct Row {
    id: i64,
    name: String,
    realm: String,
    badge: Badge,
    used: Option<(When, String)>,
    expires: Option<When>,
    seed: &'static str,
    drift: i64,
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
    uri: Uri,
) -> Result<Response, Fault> {
    let query = Form::of_query(uri.query());
    let (mut realm, mut name) = (query.text("realm"), query.text("name"));
    let (state, condition) = (query.text("state"), query.text("condition"));
    let (sort, errors) = chosen(&query);
    let header_bytes = page.api.config.load().limits.header_bytes;
    let trail = Trail::of(&query, header_bytes);
    let filter = |(name, realm): (&str, &str), cursor: &str, limit: (&str, &str)| {
        query_of(&[
            ("realm", realm),
            ("name", name),
            ("state", state),
            ("condition", condition),
            ("sort", in_query(sort)),
            ("cursor", cursor),
            limit,
        ])
    };
    let limit = PAGE.to_string();
    let path = |who| {
        let query = filter(who, trail.cursor(), ("limit", &limit));
        format!("/v1/identities?{query}")
    };
    let mut found = match errors.is_empty() {
        true => visit.get(&path((name, realm))).await?,
        false => Identities::default(),
    };
    // No name begins like this, but people paste NAME@REALM.
    if errors.is_empty()
        && found.items.is_empty()
        && found.next.is_none()
        && trail.is_first()
        && realm.is_empty()
        && let Some((own, of)) = name.rsplit_once('@')
    {
        let other: Identities = visit.get(&path((own, of))).await?;
        if !other.items.is_empty() || other.next.is_some() {
            (found, name, realm) = (other, own, of);
        }
    }
    let realms: Realms = visit.get(&format!("/v1/realms?limit={NAMES}")).await?;
    let mut realms: Vec<_> = realms.items.into_iter().map(|it| it.realm).collect();
    // A field would lose the control characters.
    realms.retain(|it| !it.contains(char::is_control));
    let now = visit.client.now;
    let at = |step: Step| {
        let query = filter((name, realm), &step.cursor, (BEFORE, &step.before));
        format!("/identities?{query}")
    };
    let next = found.next.map(|next| at(trail.next(next)));
    let view = List {
        frame: Frame::new(&page, Some(&visit), "identities").done(query.text("done")),
        realm: realm.to_owned(),
        name: name.to_owned(),
        state: state.to_owned(),
        condition: condition.to_owned(),
        sort,
        realms,
        rows: found.items.into_iter().map(|it| row(it, now)).collect(),
        unreadable: found.unreadable,
        next,
        previous: trail.previous().map(at),
        is_first: trail.is_first(),
        errors,
    };
    let status = if view.errors.is_empty() { 200 } else { 400 };
    Ok(html(status, &view))
}

/// Returns the order of a list, and which of its filters are none that the form has. Only an address
/// that somebody has typed can name others.
fn chosen(query: &Form) -> (Sort, Errors) {
    let mut errors = Errors::default();
    if !["", "enabled", "disabled"].contains(&query.text("state")) {
        errors.add("state", "no such state: choose one");
    }
    let condition = query.text("condition");
    if !condition.is_empty() && CONDITIONS.iter().all(|(name, _)| *name != condition) {
        errors.add("condition", "no such condition: choose one");
    }
    let sort = match query.text("sort") {
        "" => Sort::default(),
        sort => sort.parse().unwrap_or_else(|_| {
            errors.add("sort", "no such order: choose one");
            Sort::default()
        }),
    };
    (sort, errors)
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
        drift: identity.seeds.first().map_or(0, |it| it.drift),
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
    /// The saved values, by which the form tells which fields were typed into.
    was: Terms,
    is_stale: bool,
    differences: Vec<Difference>,
    errors: Errors,
    lines: Vec<Entry>,
    /// Whether this node has an audit log.
    is_logged: bool,
    is_reserved: bool,
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

/// A form that was sent, to be shown again.
pub(super) struct Sent {
    /// The version that the form names.
    pub(super) version: String,
    pub(super) typed: Terms,
    /// The values that the form showed.
    pub(super) shown: Terms,
    pub(super) errors: Errors,
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

/// Renders an identity, with a form that was sent and what is wrong about it. If the identity has
/// changed since that form was made, the new one keeps only what was typed, and says what has changed.
pub(super) async fn one(
    page: &Page,
    visit: &Visit,
    id: i64,
    sent: Option<Sent>,
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
    let status = if sent.is_some() { 422 } else { 200 };
    let saved = Terms::of(&it);
    let is_stale = sent.as_ref().is_some_and(|it| it.version != version);
    let (form, differences, errors) = match sent {
        Some(it) => {
            let (form, differences) = it.typed.merged(&it.shown, &saved);
            (form, differences, it.errors)
        }
        None => (saved.clone(), Vec::new(), Errors::default()),
    };
    let view = One {
        frame: Frame::new(page, Some(visit), "identities").done(done),
        badge: Badge::of(&it, now),
        created: it.created.into(),
        updated: it.updated.into(),
        seeds: seeds.collect(),
        algorithm: it.parameters.algorithm,
        not_before: saved.value("not_before").replace('T', " "),
        expires: saved.value("expires").replace('T', " "),
        lines: of_identity(visit, &it).await,
        is_logged: page.api.config.load().audit.file.is_some(),
        is_reserved: is_reserved(page, &it.realm),
        version,
        form,
        was: saved,
        is_stale,
        differences,
        errors,
        it,
    };
    Ok(html(status, &view))
}
