//! The headers of permits.

use http::header::{CACHE_CONTROL, CONTENT_LENGTH, HeaderName, HeaderValue};
use http::{HeaderMap, Response};

use crate::http::IdentityHeaders;
use crate::http::own_response::NO_STORE;
use crate::net::http::{Reply, Template};

/// The number of headers for which a permit has room: enough that those which the connection adds cause no rehashing.
const ROOM: usize = 12;

/// The headers of a permit, but for the identity. Cloning them is faster than setting each.
pub(super) struct Permitted {
    /// The same for HTTP/1, without a length: hyper writes it.
    lines: Template,
    headers: HeaderMap,
    /// The identity headers, in the order of `headers`, where they come first.
    places: Box<[usize]>,
}

impl Permitted {
    /// Makes the headers of all permits, with further ones.
    pub(super) fn new(
        identity: &IdentityHeaders,
        further: impl IntoIterator<Item = (HeaderName, HeaderValue)>,
    ) -> Self {
        let mut headers = HeaderMap::with_capacity(ROOM);
        for name in identity.names() {
            headers.insert(name, HeaderValue::from_static(""));
        }
        let place = |name| identity.names().position(|identity| identity == name);
        let places = headers.keys().filter_map(place).collect();
        add_bare(&mut headers);
        let further: Vec<_> = further.into_iter().collect();
        let whole = [(CACHE_CONTROL, NO_STORE)].into_iter();
        let lines = Template::new(identity.names(), whole.chain(further.iter().cloned()));
        headers.extend(further);
        Self {
            lines,
            headers,
            places,
        }
    }

    /// Returns the response to an HTTP/1.1 request other than HEAD, with the values of the identity
    /// headers.
    pub(super) fn response(&self, identity: &[HeaderValue; 3]) -> Response<Reply> {
        Response::new(Reply::empty().with_lines(self.lines.with(identity)))
    }

    /// Returns the headers with the values of the identity headers.
    pub(super) fn with(&self, identity: &[HeaderValue; 3]) -> HeaderMap {
        let mut headers = self.headers.clone();
        for (value, place) in headers.values_mut().zip(&self.places) {
            if let Some(of_permit) = identity.get(*place) {
                value.clone_from(of_permit);
            }
        }
        headers
    }
}

/// Returns the headers that every permit has.
pub(super) fn bare() -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(ROOM);
    add_bare(&mut headers);
    headers
}

fn add_bare(headers: &mut HeaderMap) {
    headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
    headers.insert(CACHE_CONTROL, NO_STORE);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::CredentialHeaders;

    #[test]
    fn each_value_is_that_of_its_header() {
        let identity = IdentityHeaders::new(&CredentialHeaders {
            name: HeaderName::from_static("x-who"),
            realm: HeaderName::from_static("x-where"),
            token: HeaderName::from_static("x-code"),
            name_chars: 128,
        });
        let empty = (identity.token().clone(), HeaderValue::from_static(""));
        let permitted = Permitted::new(&identity, [empty]);
        let values = ["alice", "ops", "alice@ops"];
        let headers = permitted.with(&values.map(HeaderValue::from_static));
        let expected = [
            ("content-length", "0"),
            ("cache-control", "no-store"),
            ("x-who", "alice"),
            ("x-where", "ops"),
            ("x-forwarded-user", "alice@ops"),
            ("x-code", ""),
        ];
        assert_eq!(headers.len(), expected.len());
        for (name, value) in expected {
            assert_eq!(headers[name], value);
        }
    }
}
