//! What all pages have in common: the frame, errors and the form of values.

use std::borrow::Borrow;
use std::fmt;

use askama::Template;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue, LOCATION, RETRY_AFTER};

use super::fault::Fault;
use super::state::Page;
use super::visit::Visit;
use crate::auth::UnixTime;
use crate::doors::v1::{Timestamp, types};

/// The frame of a page.
pub(super) struct Frame {
    pub(super) style: String,
    pub(super) script: String,
    pub(super) icon: String,
    pub(super) node: String,
    /// The principal of the session; empty without one.
    pub(super) who: String,
    /// The entry of the menu.
    pub(super) here: &'static str,
    /// What was just done; empty if nothing was.
    pub(super) done: &'static str,
}

impl Frame {
    pub(super) fn new(page: &Page, visit: Option<&Visit>, here: &'static str) -> Self {
        Self {
            style: page.assets.style.clone(),
            script: page.assets.script.clone(),
            icon: page.assets.icon.clone(),
            node: page.api.config.load().server.node.to_string(),
            who: visit.map(Visit::who).unwrap_or_default(),
            here,
            done: "",
        }
    }

    /// Adds the outcome that a redirect has named.
    pub(super) fn done(mut self, name: &str) -> Self {
        self.done = match name {
            "changed" => "Saved.",
            "disabled" => "Disabled. Its tokens are rejected on every node within a second.",
            "enabled" => "Enabled.",
            "unthrottled" => "Unthrottled. Its next attempt is evaluated at once.",
            "deleted" => "Deleted.",
            "ended" => "The session has ended.",
            _ => "",
        };
        self
    }
}

/// Renders a page.
pub(super) fn html(status: u16, page: &impl Template) -> Response {
    let Ok(text) = page.render() else {
        tracing::error!(door = "admin", "a page cannot be rendered");
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or_default();
    let headers = response.headers_mut();
    let kind = HeaderValue::from_static("text/html; charset=utf-8");
    headers.insert(CONTENT_TYPE, kind);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Sends the browser to a path of this page after a form.
pub(super) fn see(path: &str) -> Response {
    let mut response = StatusCode::SEE_OTHER.into_response();
    let path = HeaderValue::from_str(path).unwrap_or(HeaderValue::from_static("/"));
    let headers = response.headers_mut();
    headers.insert(LOCATION, path);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Renders the page of a fault.
pub(super) fn fault_page(fault: &Fault, page: &Page, visit: Option<&Visit>) -> Response {
    let view = FaultPage {
        frame: Frame::new(page, visit, ""),
        status: fault.status,
        title: fault.title,
        detail: fault.detail.as_deref().unwrap_or_default(),
        errors: &fault.errors,
    };
    let mut response = html(fault.status, &view);
    if let Some(secs) = fault.retry_after {
        response.headers_mut().insert(RETRY_AFTER, secs.into());
    }
    response
}

#[derive(Template)]
#[template(path = "fault.html")]
struct FaultPage<'a> {
    frame: Frame,
    status: u16,
    title: &'static str,
    detail: &'a str,
    errors: &'a [types::FieldError],
}

/// A time, for people and for machines.
pub(super) struct When {
    pub(super) machine: String,
    pub(super) text: String,
}

impl From<Timestamp> for When {
    fn from(time: Timestamp) -> Self {
        let machine = time.to_string();
        let text = machine.replacen('T', " ", 1);
        let text = text.get(..16).unwrap_or(&text).to_owned();
        Self { machine, text }
    }
}

impl When {
    pub(super) fn of(time: UnixTime) -> Self {
        Timestamp(time).into()
    }
}

/// Formats the distance of two times, such as `3 days ago` or `in 2 hours`.
pub(super) struct Distance(pub(super) UnixTime, pub(super) UnixTime);

impl fmt::Display for Distance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (time, now) = (self.0.as_secs(), self.1.as_secs());
        let secs = time.abs_diff(now);
        let (count, unit) = match secs {
            0..60 => return f.write_str("now"),
            60..3600 => (secs / 60, "minute"),
            3600..172_800 => (secs / 3600, "hour"),
            172_800..7_776_000 => (secs / 86_400, "day"),
            7_776_000..63_072_000 => (secs / 2_592_000, "month"),
            _ => (secs / 31_536_000, "year"),
        };
        let s = if count == 1 { "" } else { "s" };
        match time < now {
            true => write!(f, "{count} {unit}{s} ago"),
            false => write!(f, "in {count} {unit}{s}"),
        }
    }
}

/// Formats a number with thin spaces between its thousands.
pub(super) fn number(number: impl Borrow<u64>) -> String {
    let digits = number.borrow().to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at) % 3 == 0 {
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_are_in_the_largest_fitting_unit() {
        let at = UnixTime::from_secs;
        for (secs, expected) in [
            (0, "now"),
            (59, "now"),
            (60, "1 minute ago"),
            (7199, "1 hour ago"),
            (172_800, "2 days ago"),
            (7_776_000, "3 months ago"),
            (100_000_000, "3 years ago"),
        ] {
            let text = Distance(at(1_000_000_000 - secs), at(1_000_000_000)).to_string();
            assert_eq!(text, expected);
        }
        assert_eq!(Distance(at(180), at(0)).to_string(), "in 3 minutes");
    }

    #[test]
    fn thousands_are_grouped() {
        assert_eq!(number(999_u64), "999");
        assert_eq!(number(1000_u64), "1\u{202f}000");
        assert_eq!(number(1_234_567_u64), "1\u{202f}234\u{202f}567");
    }
}
