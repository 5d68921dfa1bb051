//! `[realms]`, and each `[realm.NAME]`.

use std::collections::BTreeMap;

use toml::Spanned;

use super::raw::{self, Opt};
use super::scalar::part;
use super::source::{Checked, Source, all};
use crate::auth::{PrincipalRef, Realms};
use crate::http::CredentialHeaders;

impl Source<'_> {
    pub(super) fn realms(
        &self,
        raw: &raw::Realms,
        credentials: &raw::Credentials,
        headers: &CredentialHeaders,
    ) -> Checked<Realms> {
        let limit = headers.name_chars;
        let name = |key, raw: &Opt<String>, default: &str| {
            let name = raw.as_ref().map_or(default, |raw| raw.get_ref());
            // A default can only be too long if the limit was configured.
            let set = match (raw, &credentials.name_chars) {
                (Some(raw), _) => Some(raw.span()),
                (None, limit) => limit.as_ref().map(Spanned::span),
            };
            match set {
                Some(span) if PrincipalRef::new("-", name, limit).is_err() => {
                    let expected = part(limit);
                    Err(self.reject_as(key, format!("{name:?}"), span, expected))
                }
                _ => Ok(name.to_owned()),
            }
        };
        let defaults = Realms::default();
        let admin = name("realms.admin", &raw.admin, defaults.admin());
        let auth = name("realms.auth", &raw.auth, defaults.auth());
        let (admin, auth) = (admin?, auth?);
        if admin == auth
            && let Some(set) = raw.auth.as_ref().or(raw.admin.as_ref())
        {
            let expected = "another realm than realms.admin";
            return Err(self.reject_as("realms.auth", format!("{auth:?}"), set.span(), expected));
        }
        Ok(Realms::new(&admin, &auth))
    }

    /// Returns the realms whose tokens are accepted only once.
    pub(super) fn one_time_realms(
        &self,
        raw: &BTreeMap<String, Spanned<raw::Table<raw::Realm>>>,
        limit: usize,
    ) -> Checked<Vec<Box<str>>> {
        let realm = |(name, table): (&String, &Spanned<raw::Table<raw::Realm>>)| {
            if PrincipalRef::new("-", name, limit).is_err() {
                let expected = format!("the name of a realm, {}", part(limit));
                return Err(self.reject_as("realm", format!("{name:?}"), table.span(), expected));
            }
            let is_once = self.word(
                &format!("realm.{name}.reuse"),
                table.get_ref().0.reuse.as_ref(),
                false,
                r#""window" or "once""#,
                |word| match word {
                    "window" => Some(false),
                    "once" => Some(true),
                    _ => None,
                },
            );
            Ok(is_once.then(|| name.as_str().into()))
        };
        let realms = all(raw.iter().map(realm))?;
        Ok(realms.into_iter().flatten().collect())
    }
}
