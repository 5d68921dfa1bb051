//! The fields of a form, or of a query.

use axum::body::Body;
use axum::extract::Request;
use bytes::Bytes;
use http::HeaderMap;
use http::header::CONTENT_TYPE;
use zeroize::Zeroizing;

use super::fault::Fault;
use super::state::Page;
use crate::doors::local::{Unread, read_whole};
use crate::doors::v1::Timestamp;

/// The maximum number of fields.
const FIELDS: usize = 64;

/// The maximum size of a form, except a pasted list.
pub(super) const SMALL: usize = 64 << 10;

/// The maximum size of a form with a pasted list.
pub(super) const LARGE: usize = 1 << 20;

const FORM: &str = "application/x-www-form-urlencoded";

/// Returns a query of the pairs whose values are not empty.
pub(super) fn query_of(pairs: &[(&str, &str)]) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.extend_pairs(pairs.iter().filter(|(_, value)| !value.is_empty()));
    query.finish()
}

/// Fields, which may be secret.
#[derive(Default)]
pub(super) struct Form(Vec<(String, Zeroizing<String>)>);

impl Form {
    /// Reads the fields of a query.
    pub(super) fn of_query(query: Option<&str>) -> Self {
        Self::parse(query.unwrap_or_default().as_bytes())
    }

    /// Reads the body of a request, of at most `most` bytes.
    ///
    /// # Errors
    /// 400, 408, 413 or 415.
    pub(super) async fn read(page: &Page, request: Request, most: usize) -> Result<Self, Fault> {
        let (parts, body) = request.into_parts();
        let kind = parts.headers.get(CONTENT_TYPE);
        let kind = kind.and_then(|it| it.to_str().ok()).unwrap_or_default();
        let kind = kind.split(';').next().unwrap_or_default().trim();
        if !kind.eq_ignore_ascii_case(FORM) {
            return Err(Fault::new(415, "The form has an unexpected media type."));
        }
        let bytes = whole(page, &parts.headers, body, most).await?;
        Ok(Self::parse(&bytes))
    }

    fn parse(bytes: &[u8]) -> Self {
        let fields = form_urlencoded::parse(bytes).take(FIELDS);
        Self(
            fields
                .map(|(key, value)| (key.into_owned(), Zeroizing::new(value.into_owned())))
                .collect(),
        )
    }

    /// Returns a field without white space at its ends; empty if it is not there.
    pub(super) fn text(&self, name: &str) -> &str {
        self.exact(name).trim()
    }

    /// Returns a field as typed; empty if it is not there.
    pub(super) fn exact(&self, name: &str) -> &str {
        self.given(name).unwrap_or_default()
    }

    /// Returns a field as typed; `None` if it is not there.
    pub(super) fn given(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str())
    }

    /// Returns the version of the identity that the form was made for. Without it, the form could
    /// overwrite a change that its sender has not seen.
    ///
    /// # Errors
    /// 400 if it is missing or no version.
    pub(super) fn version(&self) -> Result<&str, Fault> {
        let text = self.exact("version");
        let inner = text.strip_prefix('"').and_then(|it| it.strip_suffix('"'));
        let is_number = |it: &str| !it.is_empty() && it.bytes().all(|byte| byte.is_ascii_digit());
        let parts = inner.and_then(|it| it.split_once('-'));
        match parts.is_some_and(|(id, version)| is_number(id) && is_number(version)) {
            true => Ok(text),
            false => Err(Fault::new(400, "The form is incomplete.")
                .detail("It does not name the version of the identity. Open it again.")),
        }
    }

    /// Returns a field that is not empty.
    pub(super) fn some(&self, name: &str) -> Option<String> {
        let text = self.text(name);
        (!text.is_empty()).then(|| text.to_owned())
    }
}

/// Reads a body of at most `most` bytes.
///
/// # Errors
/// 400, 408 or 413.
pub(super) async fn whole(
    page: &Page,
    headers: &HeaderMap,
    body: Body,
    most: usize,
) -> Result<Bytes, Fault> {
    let within = page.api.config.load().timeouts.body;
    let read = read_whole(body, headers, most, within).await;
    read.map_err(|unread| match unread {
        Unread::TooLarge => Fault::new(413, "The form is too large."),
        Unread::Broken => Fault::new(400, "The form is incomplete."),
        Unread::Slow => Fault::new(408, "The form came too slowly."),
    })
}

/// Reads a time as a browser sends it, in UTC.
pub(super) fn time(text: &str) -> Result<Option<Timestamp>, &'static str> {
    const EXPECTED: &str = "expected a time in UTC, such as 2027-01-31 12:00";
    if text.is_empty() {
        return Ok(None);
    }
    let text = text.replacen(' ', "T", 1);
    let full = match text.len() {
        10 => format!("{text}T00:00:00Z"),
        16 => format!("{text}:00Z"),
        19 => format!("{text}Z"),
        _ => text,
    };
    full.parse().map(Some).map_err(|_| EXPECTED)
}

#[cfg(test)]
mod tests {
    use super::time;

    #[test]
    fn times_are_read_as_browsers_and_people_write_them() {
        for (text, expected) in [
            ("2027-01-31T12:00", "2027-01-31T12:00:00Z"),
            ("2027-01-31T12:00:30", "2027-01-31T12:00:30Z"),
            ("2027-01-31 12:00", "2027-01-31T12:00:00Z"),
            ("2027-01-31", "2027-01-31T00:00:00Z"),
            ("2027-01-31T12:00:00+01:00", "2027-01-31T11:00:00Z"),
        ] {
            assert_eq!(time(text).unwrap().unwrap().to_string(), expected, "{text}");
        }
        assert!(time("").unwrap().is_none());
        for text in [
            "tomorrow",
            "2027-13-01",
            "12:00",
            "\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}",
        ] {
            assert!(time(text).is_err(), "{text}");
        }
    }
}
