//! The identity that a path names.

use std::convert::Infallible;

use axum::extract::FromRequestParts;
use http::request::Parts;
use percent_encoding::percent_decode_str;

use super::problem::{Kind, Problem};

/// The `{who}` of `/v1/identities/{who}…`, as the client sent it. The extractors of axum decode it,
/// after which an encoded `@` or `%` could not be told from a written one.
pub(super) struct Who(String);

impl<S: Sync> FromRequestParts<S> for Who {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let segment = parts.uri.path().split('/').nth(3);
        Ok(Self(segment.unwrap_or_default().to_owned()))
    }
}

/// How a path names an identity.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Named {
    /// By its id, or by a number that none has.
    Id(Option<i64>),
    /// By its name and realm.
    Principal(String, String),
}

/// Reads `{who}`: an id, or a name and a realm.
///
/// # Errors
/// 404 if it can name no identity; 400 if it does not say where the name ends.
pub(super) fn named(who: &Who) -> Result<Named, Problem> {
    parse(&who.0)
}

/// The `@` between name and realm is the one that is not percent-encoded. If the client has encoded
/// all of them, there must be only one.
fn parse(raw: &str) -> Result<Named, Problem> {
    let whole = decoded(raw)?;
    if whole.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok(Named::Id(whole.parse().ok()));
    }
    let (name, realm) = match raw.split_once('@') {
        Some((name, realm)) => (decoded(name)?, decoded(realm)?),
        None => {
            let (name, realm) = whole.split_once('@').ok_or(Kind::NotFound)?;
            (name.to_owned(), realm.to_owned())
        }
    };
    let is_split_once = match raw.contains('@') {
        true => raw.matches('@').count() == 1,
        false => whole.matches('@').count() == 1,
    };
    if !is_split_once {
        let detail = "the @ between name and realm is not clear; percent-encode all others";
        return Err(Problem::new(Kind::Malformed).detail(detail));
    }
    Ok(Named::Principal(name, realm))
}

fn decoded(raw: &str) -> Result<String, Problem> {
    let text = percent_decode_str(raw).decode_utf8();
    text.map(Into::into).map_err(|_| Kind::NotFound.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_ends_at_the_at_that_is_not_encoded() {
        let principal = |name: &str, realm: &str| Named::Principal(name.into(), realm.into());
        for (raw, expected) in [
            ("12", Named::Id(Some(12))),
            ("%31", Named::Id(Some(1))),
            ("99999999999999999999", Named::Id(None)),
            ("a@b", principal("a", "b")),
            ("a%40b", principal("a", "b")),
            ("a@b%40c", principal("a", "b@c")),
            ("a%40b@c", principal("a@b", "c")),
            ("%40@%40", principal("@", "@")),
            ("1%2F2@r%20s", principal("1/2", "r s")),
            ("a%2541@b", principal("a%41", "b")),
        ] {
            assert_eq!(parse(raw).unwrap(), expected, "{raw}");
        }
        for (raw, expected) in [
            ("a", Kind::NotFound),
            ("a%ff@b", Kind::NotFound),
            ("a@b@c", Kind::Malformed),
            ("a%40b%40c", Kind::Malformed),
        ] {
            assert_eq!(parse(raw).unwrap_err().kind, expected, "{raw}");
        }
    }
}
