//! `identity_headers` of an upstream.

use std::collections::BTreeSet;

use http::HeaderName;
use toml::Spanned;

use super::names::may_name_a_caller;
use super::raw::{self, Table};
use super::source::{Checked, Source};
use crate::http::reserved::folded;
use crate::http::{IdentityHeaders, IdentityNames};

/// The maximum number of different names over all upstreams. Each is removed from every request.
const NAMES: usize = 32;

/// The names of all upstreams that have been checked.
#[derive(Default)]
pub(super) struct Named(BTreeSet<String>);

impl Named {
    /// Checks the `identity_headers` with the dotted path `key`. `identity` has the default names.
    pub(super) fn check(
        &mut self,
        source: &Source<'_>,
        identity: &IdentityHeaders,
        key: &str,
        raw: Option<&Spanned<Table<raw::IdentityNames>>>,
    ) -> Checked<Option<IdentityNames>> {
        let Some(raw) = raw else {
            return Ok(None);
        };
        let Table(table) = raw.get_ref();
        let mut seen = Vec::new();
        let mut name = |part: &str, raw: &Option<Spanned<String>>| {
            let Some(raw) = raw else {
                return Ok(None);
            };
            let key = format!("{key}.{part}");
            let name = HeaderName::from_bytes(raw.get_ref().as_bytes()).ok();
            let name = name.filter(|name| {
                identity.names().any(|own| own == name) || may_name_a_caller(name, identity.token())
            });
            let Some(name) = name else {
                let expected =
                    "the name of a header without another meaning, of letters, digits and \"-\"";
                return Err(source.reject(&key, raw, expected));
            };
            let folded = folded(name.as_str());
            if seen.contains(&folded) {
                return Err(source.reject(&key, raw, "a header of its own"));
            }
            seen.push(folded);
            Ok(Some(name))
        };
        let [name, realm, user] = [
            name("name", &table.name),
            name("realm", &table.realm),
            name("user", &table.user),
        ];
        let names = IdentityNames {
            name: name?,
            realm: realm?,
            user: user?,
        };
        if names == IdentityNames::default() {
            let expected = "at least one of name, realm and user";
            return Err(source.reject(key, raw, expected));
        }
        self.0.extend(seen);
        if self.0.len() > NAMES {
            let expected = format!("at most {NAMES} different headers in all upstreams");
            return Err(source.reject(key, raw, expected));
        }
        Ok(Some(names))
    }
}
