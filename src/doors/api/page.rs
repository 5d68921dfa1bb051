//! Parts of the list, an extension that old clients do not use.

use std::ops::RangeInclusive;

use form_urlencoded::Serializer;
use http::HeaderValue;

use super::response::ApiResponse;
use crate::auth::{IdentityId, Selection};

/// The possible sizes of a part.
const FIRST: RangeInclusive<u32> = 1..=1000;

/// A part of the list: at most `first` selected identities with ids above `after`.
pub(super) struct Page {
    pub(super) first: u32,
    pub(super) after: IdentityId,
    pub(super) selection: Selection,
}

impl Page {
    /// Reads `first`, and with it `after`, `realm` (exact) and `name` (prefix). `None` without
    /// `first`: then the other parameters are ignored, as in ungleich-otp.
    ///
    /// # Errors
    /// The response: 400 if `first` is not 1 to 1000, `after` is not a number, or `realm` or `name`
    /// contains NUL.
    pub(super) fn read(query: &str) -> Result<Option<Self>, ApiResponse> {
        let value = |wanted: &str| {
            form_urlencoded::parse(query.as_bytes())
                .filter(|(key, _)| key == wanted)
                .last()
                .map(|(_, value)| value)
        };
        let Some(first) = value("first") else {
            return Ok(None);
        };
        let first = first.parse().ok().filter(|first| FIRST.contains(first));
        let first = first.ok_or_else(|| ApiResponse::bad_body("first: expected 1 to 1000."))?;
        let after = match value("after") {
            None => i64::MIN,
            Some(after) => after
                .parse()
                .map_err(|_| ApiResponse::bad_body("after: expected the number of an identity."))?,
        };
        // No name contains NUL, and not every database accepts one in a query.
        let text = |key| match value(key).filter(|it| !it.is_empty()) {
            Some(text) if text.contains('\0') => {
                let why = format!("{key}: null characters are not allowed.");
                Err(ApiResponse::bad_body(&why))
            }
            text => Ok(text.map(|it| it.as_ref().into())),
        };
        Ok(Some(Self {
            first,
            after: IdentityId(after),
            selection: Selection {
                realm: text("realm")?,
                name: text("name")?,
                state: None,
            },
        }))
    }

    /// Returns the `Link` header (RFC 8288) for the part after the identity `last`.
    pub(super) fn next(&self, last: IdentityId) -> Option<HeaderValue> {
        let mut query = Serializer::new(String::new());
        query.append_pair("first", &self.first.to_string());
        query.append_pair("after", &last.0.to_string());
        for (key, value) in [
            ("realm", &self.selection.realm),
            ("name", &self.selection.name),
        ] {
            if let Some(value) = value {
                query.append_pair(key, value);
            }
        }
        let query = query.finish();
        format!("</ungleichotp/?{query}>; rel=\"next\"")
            .try_into()
            .ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_keys_mean_nothing_without_first() {
        for query in ["", "limit=1", "name=a&realm=b&after=x", "page=2"] {
            assert!(matches!(Page::read(query), Ok(None)), "{query}");
        }
    }

    #[test]
    fn first_is_bounded_after_a_number_and_nothing_contains_nul() {
        for query in [
            "first=0",
            "first=1001",
            "first=x",
            "first=",
            "first=1&after=x",
            "first=1&name=%00",
            "first=1&realm=a%00b",
        ] {
            assert!(Page::read(query).is_err(), "{query}");
        }
        for (query, first) in [("first=1", 1), ("first=1000&after=-1", 1000)] {
            assert_eq!(Page::read(query).ok().flatten().unwrap().first, first);
        }
    }

    #[test]
    fn link_keeps_the_selection() {
        let page = Page::read("first=2&realm=a+b&name=%22%3E");
        let link = page.ok().flatten().unwrap().next(IdentityId(7)).unwrap();
        let expected = "</ungleichotp/?first=2&after=7&realm=a+b&name=%22%3E>; rel=\"next\"";
        assert_eq!(link, expected);
    }
}
