//! `request_headers` and `response_headers` of a route.

use std::ops::Range;

use http::{HeaderName, HeaderValue};
use toml::Spanned;

use super::names;
use super::raw::{self, Table};
use super::source::{Checked, Rejected, Source};
use crate::http::IdentityHeaders;
use crate::http::reserved::folded;

/// The maximum number of headers that a route may set, and that it may remove.
const FIELDS: usize = 32;

/// The maximum length of a header value in bytes.
const VALUE_BYTES: usize = 4096;

/// Headers to set and to remove. None of them concerns identity, framing or `Host`, and none is
/// listed twice.
#[derive(Clone, Debug, Default)]
pub struct HeaderRules {
    /// At most 32. Each replaces all headers of its name.
    pub set: Vec<(HeaderName, HeaderValue)>,
    /// At most 32.
    pub remove: Vec<HeaderName>,
}

/// Checks the rules with the dotted path `key`.
pub(super) fn header_rules(
    source: &Source<'_>,
    identity: &IdentityHeaders,
    key: String,
    raw: Option<&Spanned<Table<raw::HeaderRules>>>,
) -> Checked<HeaderRules> {
    let rules = Rules {
        source,
        identity,
        key,
    };
    raw.map_or_else(|| Ok(HeaderRules::default()), |raw| rules.check(raw))
}

/// Header rules being checked.
struct Rules<'a> {
    source: &'a Source<'a>,
    identity: &'a IdentityHeaders,
    key: String,
}

impl Rules<'_> {
    fn check(&self, raw: &Spanned<Table<raw::HeaderRules>>) -> Checked<HeaderRules> {
        let Table(table) = raw.get_ref();
        let mut checked = HeaderRules::default();
        let mut rejected = None;
        if let Some(set) = &table.set {
            for (name, raw) in set.get_ref() {
                match (self.name("set", name, raw.span()), self.value(name, raw)) {
                    (Ok(header), Ok(_)) if checked.set.iter().any(|(it, _)| *it == header) => {
                        let mistake = self.reject("set", name, raw.span(), "each header once");
                        rejected = Some(mistake);
                    }
                    (Ok(header), Ok(value)) => checked.set.push((header, value)),
                    (Err(mistake), _) | (_, Err(mistake)) => rejected = Some(mistake),
                }
            }
            rejected = self
                .few("set", checked.set.len(), set.span())
                .err()
                .or(rejected);
        }
        if let Some(remove) = &table.remove {
            for raw in remove.get_ref() {
                let name = raw.get_ref();
                let header = match self.name("remove", name, raw.span()) {
                    Ok(header) => header,
                    Err(mistake) => {
                        rejected = Some(mistake);
                        continue;
                    }
                };
                let is_again = checked.remove.contains(&header)
                    || checked.set.iter().any(|(set, _)| *set == header);
                if is_again {
                    let expected = "each header once, set or removed";
                    rejected = Some(self.reject("remove", name, raw.span(), expected));
                } else {
                    checked.remove.push(header);
                }
            }
            let few = self.few("remove", checked.remove.len(), remove.span());
            rejected = few.err().or(rejected);
        }
        rejected.map_or(Ok(checked), Err)
    }

    fn name(&self, list: &str, name: &str, span: Range<usize>) -> Checked<HeaderName> {
        let Ok(field) = HeaderName::from_bytes(name.as_bytes()) else {
            let expected = "the name of a header";
            return Err(self.reject(list, name, span, expected));
        };
        let is_ours = self.identity.is_reserved(&field)
            || (list == "set" && IdentityHeaders::is_method_override(&field));
        let folded = folded(field.as_str());
        if is_ours || names::is_variable(&field, &folded) || names::is_framing(&folded) {
            let expected = "a header that concerns neither the identity or the address of the caller, nor the request target, nor the framing of the message";
            return Err(self.reject(list, name, span, expected));
        }
        Ok(field)
    }

    fn value(&self, name: &str, raw: &Spanned<String>) -> Checked<HeaderValue> {
        let text = raw.get_ref();
        let is_plain = text.len() <= VALUE_BYTES
            && text.trim() == text
            && text.bytes().all(|byte| matches!(byte, b' '..=b'~'));
        match HeaderValue::from_str(text) {
            Ok(value) if is_plain => Ok(value),
            _ => {
                let key = format!("{}.set.{name}", self.key);
                let expected = format!(
                    "visible ASCII, at most {VALUE_BYTES} bytes, no white space at either end"
                );
                // The value may be a secret of the upstream.
                Err(self
                    .source
                    .reject_as(&key, "\"…\"".into(), raw.span(), expected))
            }
        }
    }

    fn few(&self, list: &str, count: usize, span: Range<usize>) -> Checked<()> {
        if count <= FIELDS {
            return Ok(());
        }
        let key = format!("{}.{list}", self.key);
        let shown = format!("{count} headers");
        Err(self
            .source
            .reject_as(&key, shown, span, format!("at most {FIELDS} headers")))
    }

    fn reject(&self, list: &str, name: &str, span: Range<usize>, expected: &str) -> Rejected {
        let key = format!("{}.{list}", self.key);
        self.source
            .reject_as(&key, format!("{name:?}"), span, expected)
    }
}
