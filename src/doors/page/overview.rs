//! The first page: what there is, and what needs attention.

use std::sync::Arc;

use askama::Template;
use axum::Extension;
use axum::extract::State;
use axum::response::Response;

use super::audit::{Entry, last};
use super::fault::Fault;
use super::history::MINUTES;
use super::realms::RealmCounts;
use super::state::Page;
use super::view::{Distance, Frame, When, html, number};
use super::visit::Visit;
use crate::doors::v1::types::{Realm, Status};

/// The number of realms, denials and attacks shown.
const REALMS: u32 = 20;
const DENIALS: u32 = 8;
const ATTACKS: u32 = 5;

#[derive(Template)]
#[template(path = "overview.html")]
struct Overview {
    frame: Frame,
    realms: Vec<Realm>,
    has_more_realms: bool,
    counted: String,
    identities: u64,
    disabled: u64,
    status: Status,
    started: When,
    running: String,
    throttled: u64,
    /// The permits and denials of the last hour.
    charts: [Chart; 2],
    attacks: Vec<Entry>,
    denials: Vec<Entry>,
}

/// Bars of the minutes of an hour.
struct Chart {
    title: &'static str,
    style: &'static str,
    total: u64,
    most: u64,
    /// Place and height in the drawing.
    bars: Vec<(usize, u64)>,
}

/// The height of a drawing.
const HEIGHT: u64 = 48;

impl Chart {
    fn new(title: &'static str, style: &'static str, counts: &[u64]) -> Self {
        let most = counts.iter().copied().max().unwrap_or(0);
        let first = (MINUTES + 1).saturating_sub(counts.len());
        let bars = counts.iter().enumerate();
        let bars = bars.filter(|(_, count)| **count > 0).map(|(at, count)| {
            let height = (count.saturating_mul(HEIGHT) / most.max(1)).max(1);
            ((first + at) * 4, height)
        });
        Self {
            title,
            style,
            total: counts.iter().sum(),
            most,
            bars: bars.collect(),
        }
    }
}

pub(super) async fn overview(
    State(page): State<Arc<Page>>,
    Extension(visit): Extension<Visit>,
    Extension(counts): Extension<RealmCounts>,
) -> Result<Response, Fault> {
    let (realms, counted) = counts.get(&visit).await?;
    let status: Status = visit.get("/v1/status").await?;
    let sum = |of: fn(&Realm) -> u64| realms.items.iter().map(of).sum();
    let shown = realms.items.iter().take(REALMS as usize).cloned();
    let principals = status.throttled.iter().filter(|it| it.scope != "unknown");
    let minutes = page.history.minutes(&page.api.recorder);
    let permits: Vec<_> = minutes.iter().map(|it| it.permitted).collect();
    let denials: Vec<_> = minutes.iter().map(|it| it.denied).collect();
    let view = Overview {
        frame: Frame::new(&page, Some(&visit), "overview"),
        identities: sum(|it| it.identities),
        disabled: sum(|it| it.disabled),
        has_more_realms: realms.items.len() > REALMS as usize || realms.next.is_some(),
        realms: shown.collect(),
        counted: Distance(counted, visit.client.now).to_string(),
        started: status.started.into(),
        running: Distance(status.started.0, status.now.0).to_string(),
        throttled: principals.map(|it| it.count).sum(),
        charts: [
            Chart::new("Permits", "good", &permits),
            Chart::new("Denials", "bad", &denials),
        ],
        attacks: last(&visit, "event", "principal_attacked", ATTACKS).await,
        denials: last(&visit, "event", "denied", DENIALS).await,
        status,
    };
    Ok(html(200, &view))
}
