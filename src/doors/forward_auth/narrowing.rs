use percent_encoding::percent_decode_str;

use crate::auth::{Names, Policy, Rule};
use crate::http::rejection::Rejection;

/// The maximum number of realms, and of names, in a query.
const NARROWED_TO: usize = 16;

/// Parses `realm=a&realm=b&name=x`: any of the realms, and any of the names if there are some.
pub(super) fn narrowing(query: &str) -> Result<Option<Policy>, Rejection> {
    let mut narrowing = Narrowing::default();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').ok_or(Rejection::Query)?;
        // The query has the encoding of forms, where `+` is a space.
        narrowing.add(key, &value.replace('+', " "))?;
    }
    narrowing.policy()
}

/// The realms and names to which a front proxy restricts access.
#[derive(Default)]
pub(crate) struct Narrowing {
    realms: Vec<Box<str>>,
    names: Vec<Box<str>>,
}

impl Narrowing {
    /// Adds a percent-encoded realm or name.
    ///
    /// # Errors
    /// [`Rejection::Query`] for another key, which might be a misspelled restriction; for an empty
    /// value; for more than [`NARROWED_TO`] of a kind.
    pub(crate) fn add(&mut self, key: &str, value: &str) -> Result<(), Rejection> {
        let list = match key {
            "realm" => &mut self.realms,
            "name" => &mut self.names,
            _ => return Err(Rejection::Query),
        };
        let value = percent_decode_str(value).decode_utf8();
        let value = value.map_err(|_| Rejection::Query)?;
        if value.is_empty() || list.len() == NARROWED_TO {
            return Err(Rejection::Query);
        }
        list.push(value.into());
        Ok(())
    }

    /// Returns the policy that admits the names in the realms, or all of the realms if there are no
    /// names.
    ///
    /// # Errors
    /// [`Rejection::Query`] for names without a realm.
    pub(crate) fn policy(self) -> Result<Option<Policy>, Rejection> {
        let Self { realms, names } = self;
        if realms.is_empty() {
            return if names.is_empty() {
                Ok(None)
            } else {
                Err(Rejection::Query)
            };
        }
        let rules = realms.iter().flat_map(|realm| {
            let whole_realm = names.is_empty().then_some(Names::All);
            let each_name = names.iter().cloned().map(Names::One);
            whole_realm.into_iter().chain(each_name).map(|name| Rule {
                realm: realm.clone(),
                name,
            })
        });
        Ok(Some(Policy::Allow(rules.collect())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn query_narrows_to_realms_and_names() {
        let rule = |realm: &str, name: Option<&str>| Rule {
            realm: realm.into(),
            name: name.map_or(Names::All, |name| Names::One(name.into())),
        };
        let allow = |query: &str| match narrowing(query) {
            Ok(Some(Policy::Allow(rules))) => rules.to_vec(),
            other => panic!("{other:?}"),
        };
        assert!(matches!(narrowing(""), Ok(None)));
        assert_eq!(allow("realm=a"), [rule("a", None)]);
        assert_eq!(
            allow("realm=a&realm=b%26"),
            [rule("a", None), rule("b&", None)]
        );
        assert_eq!(
            allow("realm=a+b&realm=a%20b&realm=a%2Bb&name=x+y"),
            [
                rule("a b", Some("x y")),
                rule("a b", Some("x y")),
                rule("a+b", Some("x y"))
            ]
        );
        assert_eq!(
            allow("realm=a&name=x&name=y"),
            [rule("a", Some("x")), rule("a", Some("y"))]
        );
    }

    #[test]
    fn query_with_other_parameters_is_rejected() {
        let many = "realm=a&".repeat(NARROWED_TO + 1);
        for query in [
            "realms=a",
            "realm",
            "realm=",
            "name=x",
            "realm=%ff",
            "Realm=a",
            &many,
        ] {
            assert!(matches!(narrowing(query), Err(Rejection::Query)), "{query}");
        }
    }
}
