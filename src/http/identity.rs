use std::borrow::Cow;

use bytes::Bytes;
use http::header::{HeaderName, HeaderValue};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use super::credential::CredentialHeaders;
use super::lookup::is_removed;
use super::reserved::{self, folded, has_mark};
use crate::auth::{Permit, PrincipalRef};

/// The bytes that are percent-encoded: all but visible ASCII, and `%` itself, so that different
/// names never look alike to an upstream.
const VALUE: &AsciiSet = &CONTROLS.add(b' ').add(b'%');
/// The byte that is also encoded in the realm of `name@realm`, so that the last `@` separates the two.
const AT: &AsciiSet = &AsciiSet::EMPTY.add(b'@');

/// Encodes a name or realm as a header value: visible ASCII is kept, everything else, including
/// `%`, becomes percent-encoded UTF-8 (RFC 3986 §2.1).
pub fn encode(text: &str) -> Cow<'_, str> {
    if is_plain(text) {
        return text.into();
    }
    utf8_percent_encode(text, VALUE).into()
}

/// Returns whether [`encode`] leaves a text as it is.
fn is_plain(text: &str) -> bool {
    text.bytes()
        .all(|byte| byte.is_ascii_graphic() && byte != b'%')
}

/// The headers that tell an upstream who is calling. They are removed from every request, then set
/// from the permit.
#[derive(Clone, Debug)]
pub struct IdentityHeaders {
    name: HeaderName,
    realm: HeaderName,
    token: HeaderName,
    /// The three names in folded form, in which applications may compare them.
    folded: [Box<str>; 3],
    /// The names for single upstreams, in order, which no client may send to any.
    others: Box<[HeaderName]>,
}

/// `name@realm` of the permit.
static X_FORWARDED_USER: HeaderName = HeaderName::from_static("x-forwarded-user");
/// The address of the client.
pub const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
/// `http` or `https`, the scheme of the client's connection.
pub const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
/// The `Host` of the client's request.
pub const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
/// The subject of the client certificate (RFC 4514), percent-encoded.
pub const X_CLIENT_SUBJECT: HeaderName = HeaderName::from_static("x-client-subject");
/// The prefix that was stripped from the path.
pub const X_FORWARDED_PREFIX: HeaderName = HeaderName::from_static("x-forwarded-prefix");
/// The id of the request in the logs of every program on its way.
pub const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

impl IdentityHeaders {
    /// Sets the identity in the headers in which credentials are read.
    pub fn new(credential: &CredentialHeaders) -> Self {
        Self {
            name: credential.name.clone(),
            realm: credential.realm.clone(),
            token: credential.token.clone(),
            folded: [&credential.name, &credential.realm, &credential.token]
                .map(|name| folded(name.as_str()).into()),
            others: Box::default(),
        }
    }

    /// Reserves the names for single upstreams too.
    #[must_use]
    pub fn with<'a>(self, names: impl Iterator<Item = &'a HeaderName>) -> Self {
        let named = names.filter(|name| self.names().all(|own| own != *name));
        let mut others: Vec<_> = named.cloned().collect();
        others.sort_unstable_by(|one, other| one.as_str().cmp(other.as_str()));
        others.dedup();
        Self {
            others: others.into(),
            ..self
        }
    }

    /// Returns the names for single upstreams, without the default ones.
    pub fn others(&self) -> &[HeaderName] {
        &self.others
    }

    /// Returns whether a header of a client must not reach an upstream: the identity headers, and
    /// those of [`reserved`], in any case and with any punctuation for `-`.
    pub fn is_reserved(&self, header: &HeaderName) -> bool {
        let name = header.as_str();
        if has_mark(name) {
            return self.is_reserved_as(&folded(name));
        }
        self.is_reserved_as(name)
    }

    fn is_reserved_as(&self, name: &str) -> bool {
        self.folded.iter().any(|ours| **ours == *name)
            || self.others.iter().any(|other| other.as_str() == name)
            || is_removed(name)
    }

    /// Returns whether a header of a client must be removed: it is reserved, or its name has
    /// unusual punctuation. Keeps those in `passing`, which the configuration has checked.
    pub fn is_dropped(&self, header: &HeaderName, passing: &[HeaderName]) -> bool {
        let name = header.as_str();
        (has_mark(name) || self.is_reserved_as(name)) && !passing.contains(header)
    }

    /// Returns whether a header overrides the method, in any case and with any punctuation for `-`.
    pub fn is_method_override(header: &HeaderName) -> bool {
        let name = header.as_str();
        if has_mark(name) {
            return reserved::METHOD_OVERRIDES.contains(&&*folded(name));
        }
        reserved::METHOD_OVERRIDES.contains(&name)
    }

    /// Returns the three headers that carry the identity.
    pub fn names(&self) -> impl Iterator<Item = &HeaderName> {
        [&self.name, &self.realm, &X_FORWARDED_USER].into_iter()
    }

    /// Returns the header that carries the token.
    pub fn token(&self) -> &HeaderName {
        &self.token
    }

    /// Returns the identity headers of a permit; `None` for an anonymous one.
    pub fn who(&self, permit: &Permit) -> Option<[(HeaderName, HeaderValue); 3]> {
        let [name, realm, user] = Self::values(permit)?;
        Some([
            (self.name.clone(), name),
            (self.realm.clone(), realm),
            (X_FORWARDED_USER.clone(), user),
        ])
    }

    /// Returns the values of the identity headers of a permit, in the order of [`Self::names`];
    /// `None` for an anonymous one.
    pub fn values(permit: &Permit) -> Option<[HeaderValue; 3]> {
        Self::with_values(permit, Clone::clone)
    }

    /// Returns what `read` makes of [`Self::values`], without copying them.
    pub fn with_values<R>(permit: &Permit, read: impl FnOnce(&[HeaderValue; 3]) -> R) -> Option<R> {
        let make = |who: PrincipalRef<'_>| {
            let (name, realm) = (encode(who.name()), encode(who.realm()));
            let user = Bytes::from(joined(&name, &realm));
            // They share the memory of their text: many identities are kept.
            let realm = match realm.contains('@') {
                true => Bytes::from(realm.into_owned()),
                false => user.slice(name.len() + 1..),
            };
            [user.slice(..name.len()), realm, user].map(value)
        };
        permit.derived(make, read)
    }
}

/// Joins an encoded name and an encoded realm.
fn joined(name: &str, realm: &str) -> String {
    let mut user = String::with_capacity(name.len() + 1 + realm.len());
    user.push_str(name);
    user.push('@');
    match realm.contains('@') {
        // All else is encoded already.
        true => user.extend(utf8_percent_encode(realm, AT)),
        false => user.push_str(realm),
    }
    user
}

/// Makes a header value. Cannot fail, because [`encode`] returns visible ASCII only.
fn value(text: Bytes) -> HeaderValue {
    HeaderValue::from_maybe_shared(text).unwrap_or_else(|_| HeaderValue::from_static(""))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers() -> IdentityHeaders {
        IdentityHeaders::new(&CredentialHeaders {
            name: HeaderName::from_static("x-auth-name"),
            realm: HeaderName::from_static("x-auth-realm"),
            token: HeaderName::from_static("x-who-token"),
            name_chars: 128,
        })
    }

    fn user(name: &str, realm: &str) -> String {
        joined(&encode(name), &encode(realm))
    }

    #[test]
    fn reserved_fields_are_found_in_every_spelling() {
        for field in [
            "X-Auth-Name",
            "x_auth_name",
            "X.Auth-Name",
            "x-auth_realm",
            "X-Who-Token",
            "x-forwarded-user",
            "X_Forwarded_User",
            "x-forwarded-for",
            "x-forwarded-prefix",
            "x_forwarded.port",
            "X-Request-Id",
            "Forwarded",
            "X-Real-IP",
            "X-Original-URL",
            "X-Rewrite-Url",
            "CF-Connecting-IP",
            "x-forwarded",
            "Remote_User",
            "X-Auth-Request-Anything",
        ] {
            let name: HeaderName = field.parse().unwrap();
            assert!(headers().is_reserved(&name), "{field}");
        }
    }

    #[test]
    fn other_fields_are_left_alone() {
        for field in [
            "x-auth-nam",
            "x-auth-names",
            "xx-auth-name",
            "x-auth",
            "authorization",
            "host",
            "x-forward",
            "accept",
            "x-auth-token",
        ] {
            let name: HeaderName = field.parse().unwrap();
            assert!(!headers().is_reserved(&name), "{field}");
        }
    }

    #[test]
    fn method_overrides_are_found_in_every_spelling() {
        for (field, expected) in [
            ("X-HTTP-Method-Override", true),
            ("x_http_method_override", true),
            ("X-Method-Override", true),
            ("X-HTTP-Method", true),
            ("X-HTTP-Verb", true),
            ("x_tunneled_method", true),
            ("X-Method", false),
        ] {
            let name: HeaderName = field.parse().unwrap();
            assert_eq!(IdentityHeaders::is_method_override(&name), expected);
        }
    }

    #[test]
    fn names_are_encoded_so_that_no_two_look_alike() {
        assert_eq!(encode("alice"), "alice");
        assert_eq!(encode("é"), "%C3%A9");
        assert_eq!(encode("%C3%A9"), "%25C3%25A9");
        assert_eq!(encode("a b\r\nc\u{7f}"), "a%20b%0D%0Ac%7F");
    }

    #[test]
    fn last_at_of_a_user_divides_name_and_realm() {
        assert_eq!(user("a@b", "c"), "a@b@c");
        assert_eq!(user("a", "b@c"), "a@b%40c");
        assert_eq!(user("a", "b%40c"), "a@b%2540c");
    }

    proptest::proptest! {
        #[test]
        fn text_is_encoded_whether_or_not_it_needs_to_be(text in "[ -~é\u{1}\u{7f}]{0,8}") {
            assert_eq!(encode(&text), utf8_percent_encode(&text, VALUE).to_string());
        }

        #[test]
        fn no_two_principals_look_alike_to_an_upstream(
            one in super::super::tricky(), other in super::super::tricky(),
        ) {
            let fields = |(name, realm): &(String, String)| {
                let (name, realm) = (encode(name).into_owned(), encode(realm).into_owned());
                let user = joined(&name, &realm);
                assert!(user.bytes().all(|byte| byte.is_ascii_graphic()), "{user}");
                assert_eq!(user.rsplit_once('@').unwrap().0, name);
                (user, name, realm)
            };
            let is_same = one == other;
            let (one, other) = (fields(&one), fields(&other));
            assert_eq!(one.0 == other.0, is_same);
            assert_eq!((one.1, one.2) == (other.1, other.2), is_same);
        }
    }

    #[test]
    fn identities_are_written_as_in_the_vectors() {
        let text = include_str!("../../tests/vectors/identities.json");
        let all: serde_json::Value = serde_json::from_str(text).unwrap();
        let rows = all["identities"].as_array().unwrap();
        assert!(rows.len() > 10);
        for row in rows {
            let [name, realm] = ["name", "realm"].map(|key| row[key].as_str().unwrap());
            let who = PrincipalRef::new(name, realm, crate::auth::NAME_CHARS).unwrap();
            assert_eq!(encode(name), row["x_auth_name"].as_str().unwrap());
            assert_eq!(encode(realm), row["x_auth_realm"].as_str().unwrap());
            assert_eq!(
                user(who.name(), who.realm()),
                row["x_forwarded_user"].as_str().unwrap()
            );
        }
    }
}
