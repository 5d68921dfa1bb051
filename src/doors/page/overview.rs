//! The first page: what there is, and what needs attention.

use std::sync::Arc;

use askama::Template;
use axum::Extension;
use axum::extract::State;
use axum::response::Response;

use super::audit::{Entry, last};
use super::fault::Fault;
use super::history::MINUTES;
use super::state::Page;
use super::view::{Distance, Frame, When, html, number};
use super::visit::Visit;
use crate::doors::v1::types::{Attention, Condition, Realm, Realms, Status, ThrottledIdentity};

/// The number of realms, denials and attacks shown.
const REALMS: u32 = 20;

/// The most realms whose identities are added up.
const COUNTED: u32 = 1000;

const DENIALS: u32 = 8;
const ATTACKS: u32 = 5;

#[derive(Template)]
#[template(path = "overview.html")]
struct Overview {
    frame: Frame,
    realms: Vec<Realm>,
    has_more_realms: bool,
    identities: u64,
    disabled: u64,
    status: Status,
    started: When,
    running: String,
    throttled: u64,
    concerns: Vec<Concern>,
    named: Vec<ThrottledIdentity>,
    /// The permits and denials of the last hour.
    charts: [Chart; 2],
    attacks: Vec<Entry>,
    denials: Vec<Entry>,
}

/// A number of identities that meet a condition.
struct Concern {
    condition: Condition,
    text: &'static str,
    count: u64,
    is_at_least: bool,
}

/// The number of throttled identities that are named.
const NAMED: usize = 10;

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
) -> Result<Response, Fault> {
    let realms: Realms = visit.get(&format!("/v1/realms?limit={COUNTED}")).await?;
    let attention: Attention = visit.get("/v1/attention").await?;
    let concerns = attention.conditions.iter().map(|it| Concern {
        condition: it.condition,
        text: match it.condition {
            Condition::Expiring => "Expire within 30 days",
            Condition::Unused => "Not used for 90 days",
            Condition::Weak => "Weak seeds",
            Condition::ClockOff => "Clocks that are off",
        },
        count: it.count,
        is_at_least: it.is_at_least,
    });
    let concerns = concerns.collect();
    let mut named = attention.throttled;
    named.truncate(NAMED);
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
        started: status.started.into(),
        running: Distance(status.started.0, status.now.0).to_string(),
        throttled: principals.map(|it| it.count).sum(),
        concerns,
        named,
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
