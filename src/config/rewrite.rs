//! Checks how routes change requests and responses.

use std::ops::Range;

use http::{HeaderName, HeaderValue};
use toml::Spanned;

use super::raw::{self, Opt, Table};
use super::scalar::flag;
use super::source::{Checked, Refused, Source};
use super::{HeaderRules, Rewrite, names};
use crate::http::reserved::folded;
use crate::http::{CredentialHeaders, IdentityHeaders};

/// The maximum number of headers that a route may set, and that it may remove.
const FIELDS: usize = 32;

/// The maximum length of a header value in bytes.
const VALUE_BYTES: usize = 4096;

/// Checks the changes of the route with the dotted path `route`. `host` checks a host.
pub(super) fn rewrite(
    source: &Source<'_>,
    credential: &CredentialHeaders,
    route: &str,
    raw: &raw::Route,
    host: impl Fn(&str) -> bool,
) -> Checked<Rewrite> {
    let identity = IdentityHeaders::new(credential);
    let rules = |name: &str, raw: &Opt<Table<raw::HeaderRules>>| {
        let rules = Rules {
            source,
            identity: &identity,
            key: format!("{route}.{name}"),
        };
        raw.as_ref()
            .map_or_else(|| Ok(HeaderRules::default()), |raw| rules.check(raw))
    };
    let request_headers = rules("request_headers", &raw.request_headers);
    let aliases = names::aliases(
        source,
        &identity,
        &format!("{route}.alias_headers"),
        &raw.alias_headers,
        request_headers.as_ref().unwrap_or(&HeaderRules::default()),
    );
    let key = format!("{route}.pass_headers");
    let addresses = names::addresses(source, &key, &raw.pass_headers);
    let prefix = match &raw.strip_prefix {
        Some(strip) if *strip.get_ref() => prefix(source, route, raw, strip).map(Some),
        _ => Ok(None),
    };
    let host = raw.upstream_host.as_ref().map(|raw| {
        let key = format!("{route}.upstream_host");
        authority(source, &key, raw, host)
    });
    let response_headers = rules("response_headers", &raw.response_headers);
    let mut passing = aliases?;
    passing.extend(addresses?);
    Ok(Rewrite {
        passing,
        shared_cache: flag(raw.shared_cache.as_ref()),
        prefix: prefix?,
        host: host.transpose()?,
        request_headers: request_headers?,
        response_headers: response_headers?,
    })
}

fn prefix(
    source: &Source<'_>,
    route: &str,
    raw: &raw::Route,
    strip: &Spanned<bool>,
) -> Checked<HeaderValue> {
    let path = raw.path.as_ref().map(|path| path.get_ref().as_str());
    let prefix = path.unwrap_or_default().trim_end_matches('/');
    match HeaderValue::from_str(prefix) {
        // The suffix belongs to the segment that would be stripped, and the upstream needs it.
        Ok(value) if !prefix.is_empty() && !flag(raw.ignore_suffix.as_ref()) => Ok(value),
        _ => {
            let expected = "a path beside it other than \"/\", and no ignore_suffix";
            Err(source.refuse(&format!("{route}.strip_prefix"), strip, expected))
        }
    }
}

/// Checks a host with or without a port.
pub(super) fn authority(
    source: &Source<'_>,
    key: &str,
    raw: &Spanned<String>,
    is_host: impl Fn(&str) -> bool,
) -> Checked<HeaderValue> {
    let text = raw.get_ref();
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (text.as_str(), None),
    };
    let is_port = port.is_none_or(|port| {
        port.bytes().all(|byte| byte.is_ascii_digit())
            && port.parse::<u16>().is_ok_and(|port| port != 0)
    });
    match HeaderValue::from_str(text) {
        Ok(value) if is_port && is_host(host) => Ok(value),
        _ => {
            let expected = r#"a host such as "app.internal" or "app.internal:8080""#;
            Err(source.refuse(key, raw, expected))
        }
    }
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
        let mut refused = None;
        if let Some(set) = &table.set {
            for (name, raw) in set.get_ref() {
                match (self.name("set", name, raw.span()), self.value(name, raw)) {
                    (Ok(header), Ok(_)) if checked.set.iter().any(|(it, _)| *it == header) => {
                        let mistake = self.refuse("set", name, raw.span(), "each header once");
                        refused = Some(mistake);
                    }
                    (Ok(header), Ok(value)) => checked.set.push((header, value)),
                    (Err(mistake), _) | (_, Err(mistake)) => refused = Some(mistake),
                }
            }
            refused = self
                .few("set", checked.set.len(), set.span())
                .err()
                .or(refused);
        }
        if let Some(remove) = &table.remove {
            for raw in remove.get_ref() {
                let name = raw.get_ref();
                let header = match self.name("remove", name, raw.span()) {
                    Ok(header) => header,
                    Err(mistake) => {
                        refused = Some(mistake);
                        continue;
                    }
                };
                let is_again = checked.remove.contains(&header)
                    || checked.set.iter().any(|(set, _)| *set == header);
                if is_again {
                    let expected = "each header once, set or removed";
                    refused = Some(self.refuse("remove", name, raw.span(), expected));
                } else {
                    checked.remove.push(header);
                }
            }
            let few = self.few("remove", checked.remove.len(), remove.span());
            refused = few.err().or(refused);
        }
        refused.map_or(Ok(checked), Err)
    }

    fn name(&self, list: &str, name: &str, span: Range<usize>) -> Checked<HeaderName> {
        let Ok(field) = HeaderName::from_bytes(name.as_bytes()) else {
            let expected = "the name of a header";
            return Err(self.refuse(list, name, span, expected));
        };
        let is_ours = self.identity.is_reserved(&field)
            || (list == "set" && IdentityHeaders::is_method_override(&field));
        let folded = folded(field.as_str());
        if is_ours || names::is_variable(&field, &folded) || names::is_framing(&folded) {
            let expected = "a header that concerns neither the identity or the address of the caller, nor the request target, nor the framing of the message";
            return Err(self.refuse(list, name, span, expected));
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
                    .refuse_as(&key, "\"…\"".into(), raw.span(), expected))
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
            .refuse_as(&key, shown, span, format!("at most {FIELDS} headers")))
    }

    fn refuse(&self, list: &str, name: &str, span: Range<usize>, expected: &str) -> Refused {
        let key = format!("{}.{list}", self.key);
        self.source
            .refuse_as(&key, format!("{name:?}"), span, expected)
    }
}
