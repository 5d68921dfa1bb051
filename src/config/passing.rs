//! Headers of a client that pass although others of their kind are removed: `alias_headers` and
//! `pass_headers` of a route.

use http::HeaderName;

use super::header_rules::HeaderRules;
use super::names::is_meant;
use super::raw::{List, Opt};
use super::source::{Checked, Source};
use crate::http::IdentityHeaders;
use crate::http::reserved::{folded, has_mark, is_address};

/// The maximum number of `alias_headers`.
const ALIASES: usize = 32;

/// The maximum number of `pass_headers`.
const ADDRESS_HEADERS: usize = 8;

/// Checks `alias_headers`. `set` contains the headers that the route sets.
pub(super) fn aliases(
    source: &Source<'_>,
    identity: &IdentityHeaders,
    key: &str,
    raw: &Opt<List>,
    set: &HeaderRules,
) -> Checked<Vec<HeaderName>> {
    let is_alike =
        |one: &HeaderName, other: &HeaderName| folded(one.as_str()) == folded(other.as_str());
    let alias = |text: &str| {
        let Ok(name) = HeaderName::from_bytes(text.as_bytes()) else {
            return Err("the name of a header");
        };
        if !has_mark(name.as_str()) {
            return Err(
                r#"a name with "_" or another character besides letters, digits and "-"; all others pass anyway"#,
            );
        }
        if is_meant(&name, identity) {
            return Err(
                "a name that, with \"-\" in place of \"_\" and similar characters, is no header of HTTP or realmgate, and no variable of an application server",
            );
        }
        if set.set.iter().any(|(set, _)| is_alike(set, &name)) {
            return Err("a name that does not resemble one that request_headers sets");
        }
        Ok(name)
    };
    names(source, key, raw, ALIASES, alias)
}

/// Checks `pass_headers`.
pub(super) fn addresses(
    source: &Source<'_>,
    key: &str,
    raw: &Opt<List>,
) -> Checked<Vec<HeaderName>> {
    let address = |text: &str| {
        let name = HeaderName::from_bytes(text.as_bytes()).ok();
        name.filter(|name| is_address(name.as_str())).ok_or(
            r#"a header in which a CDN names the client's address, such as "CF-Connecting-IP", and which realmgate does not set itself"#,
        )
    };
    names(source, key, raw, ADDRESS_HEADERS, address)
}

/// Checks a list of at most `most` different names. `check` returns the expected value for a name
/// that may not pass.
fn names(
    source: &Source<'_>,
    key: &str,
    raw: &Opt<List>,
    most: usize,
    check: impl Fn(&str) -> Result<HeaderName, &'static str>,
) -> Checked<Vec<HeaderName>> {
    let mut passing = Vec::new();
    let Some(raw) = raw else {
        return Ok(passing);
    };
    if raw.get_ref().len() > most {
        let shown = format!("{} names", raw.get_ref().len());
        return Err(source.reject_as(key, shown, raw.span(), format!("at most {most} names")));
    }
    let mut rejected = None;
    for (at, raw) in raw.get_ref().iter().enumerate() {
        let checked = match check(raw.get_ref()) {
            Ok(name) if passing.contains(&name) => Err("each name once"),
            checked => checked,
        };
        match checked {
            Ok(name) => passing.push(name),
            Err(expected) => {
                rejected = Some(source.reject(&format!("{key}[{at}]"), raw, expected));
            }
        }
    }
    rejected.map_or(Ok(passing), Err)
}
