//! The first page: what there is, and what needs attention.

use std::sync::Arc;

use askama::Template;
use axum::Extension;
use axum::extract::State;
use axum::response::Response;

use super::audit::{Entry, last};
use super::fault::Fault;
use super::history::MINUTES;
use super::nodes::NodeRow;
use super::state::Page;
use super::view::{Distance, Frame, When, html, number};
use super::visit::Visit;
use crate::doors::v1::types::{
    Attention, Condition, Realm, Realms, Status, Throttled, ThrottledIdentity, Totals,
};

/// The number of realms, denials and attacks shown.
const REALMS: u32 = 20;
/// The number of nodes shown.
const NODES: usize = 30;

const DENIALS: u32 = 8;
const ATTACKS: u32 = 5;

#[derive(Template)]
#[template(path = "overview.html")]
struct Overview {
    frame: Frame,
    realms: Vec<Realm>,
    totals: Totals,
    /// The realms that are not shown, and their identities.
    more: Option<(u64, u64)>,
    nodes: Vec<NodeRow>,
    more_nodes: u64,
    missing: usize,
    status: Status,
    started: When,
    running: String,
    throttled: u64,
    /// Who is throttled, of each kind.
    delayed: Vec<String>,
    concerns: Vec<Concern>,
    named: Vec<ThrottledIdentity>,
    /// Whether this node has an audit log.
    is_logged: bool,
    /// The decisions of the last hour.
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
    /// The counts of the busiest minute and of the present one.
    most: u64,
    now: u64,
    /// The count of the busiest minute, in words.
    peak: String,
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
            now: counts.last().copied().unwrap_or(0),
            peak: peak(most),
            bars: bars.collect(),
        }
    }
}

/// Says how many were counted in the busiest minute, per second if there are many.
fn peak(most: u64) -> String {
    match most {
        0..600 => format!("at most {} per minute", number(most)),
        _ => format!("at most about {} per second", number(most.div_ceil(60))),
    }
}

pub(super) async fn overview(
    State(page): State<Arc<Page>>,
    Extension(visit): Extension<Visit>,
) -> Result<Response, Fault> {
    let realms: Realms = visit.get(&format!("/v1/realms?limit={REALMS}")).await?;
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
    let sum = |of: fn(&Realm) -> u64| realms.items.iter().map(of).sum::<u64>();
    let shown = Totals {
        realms: realms.items.len() as u64,
        identities: sum(|it| it.identities),
        disabled: sum(|it| it.disabled),
    };
    let totals = status.identities.unwrap_or(shown);
    let more = (
        totals.realms.saturating_sub(shown.realms),
        totals.identities.saturating_sub(shown.identities),
    );
    let mut nodes = match page.api.options.database.path() {
        Some(_) => Vec::new(),
        None => NodeRow::all(&status),
    };
    let missing = nodes.iter().filter(|it| it.is_missing).count();
    let more_nodes = nodes.len().saturating_sub(NODES) as u64;
    let more_nodes = match nodes.len() {
        0 => 0,
        _ => more_nodes + status.nodes_left_out(),
    };
    nodes.truncate(NODES);
    let delayed = status.throttled.iter().filter(|it| it.count > 0);
    let delayed = delayed.map(Throttled::text).collect();
    // An identity may be throttled both in general and at its trusted addresses.
    let identities = status.throttled.iter();
    let identities = identities.filter(|it| ["known", "trusted"].contains(&&*it.scope));
    let minutes = page.history.minutes(&page.api.recorder);
    let permits: Vec<_> = minutes.iter().map(|it| it.permitted).collect();
    let denials: Vec<_> = minutes.iter().map(|it| it.denied).collect();
    let view = Overview {
        frame: Frame::new(&page, Some(&visit), "overview"),
        totals,
        more: Some(more).filter(|(realms, _)| *realms > 0),
        realms: realms.items,
        missing,
        more_nodes,
        nodes,
        started: status.started.into(),
        running: Distance(status.started.0, status.now.0).to_string(),
        throttled: identities.map(|it| it.count).max().unwrap_or(0),
        delayed,
        concerns,
        named,
        is_logged: page.api.config.load().audit.file.is_some(),
        charts: [
            Chart::new("Passed", "good", &permits),
            Chart::new("Denied or rejected", "bad", &denials),
        ],
        attacks: last(&visit, &[("event", "principal_attacked")], ATTACKS).await,
        denials: last(&visit, &[("event", "denied")], DENIALS).await,
        status,
    };
    Ok(html(200, &view))
}
