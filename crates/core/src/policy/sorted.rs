//! Compares long lists of rules.

use super::rule::{Names, Rule};

/// A list of rules, sorted for lookups.
pub(super) struct Sorted<'a>(Vec<&'a Rule>);

/// What rules are sorted by: the realm, the name or the beginning of names, and the kind.
type Key<'a> = (&'a str, &'a str, Kind);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    All,
    Prefix,
    One,
}

fn key(rule: &Rule) -> Key<'_> {
    let (name, kind) = match &rule.name {
        Names::All => ("", Kind::All),
        Names::Prefix(name) => (&**name, Kind::Prefix),
        Names::One(name) => (&**name, Kind::One),
    };
    (&rule.realm, name, kind)
}

impl<'a> Sorted<'a> {
    pub(super) fn new(rules: &'a [Rule]) -> Self {
        let mut rules: Vec<_> = rules.iter().collect();
        rules.sort_unstable_by(|one, other| key(one).cmp(&key(other)));
        Self(rules)
    }

    /// Returns whether a rule of the list matches every principal that `rule` matches.
    pub(super) fn has_all_of(&self, rule: &Rule) -> bool {
        let (realm, name, kind) = key(rule);
        let mut prefixes = name.char_indices().map(|(at, char)| at + char.len_utf8());
        self.has((realm, "", Kind::All))
            || self.has((realm, name, kind))
            || prefixes.any(|end| {
                let prefix = name.get(..end).unwrap_or_default();
                self.has((realm, prefix, Kind::Prefix))
            })
    }

    /// Returns whether some principal may match `rule` and a rule of the list.
    pub(super) fn meets(&self, rule: &Rule) -> bool {
        // Of two prefixes, either none is a prefix of the other, or the longer one is within it.
        self.has_all_of(rule) || self.has_some_within(rule)
    }

    /// Returns whether `rule` matches every principal that some rule of the list matches.
    fn has_some_within(&self, rule: &Rule) -> bool {
        let (realm, name, kind) = key(rule);
        let at = self.0.partition_point(|it| key(it) < (realm, name, kind));
        let next = self.0.get(at).map(|it| key(it));
        next.is_some_and(|(its_realm, its_name, its_kind)| {
            its_realm == realm
                && match kind {
                    Kind::All => true,
                    Kind::Prefix => its_name.starts_with(name),
                    Kind::One => (its_name, its_kind) == (name, kind),
                }
        })
    }

    fn has(&self, wanted: Key<'_>) -> bool {
        let found = self.0.binary_search_by(|it| key(it).cmp(&wanted));
        found.is_ok()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rule() -> impl Strategy<Value = Rule> {
        let name = prop_oneof![
            Just(Names::All),
            "[aé]{1,3}".prop_map(|it| Names::Prefix(it.into())),
            "[aé]{1,3}".prop_map(|it| Names::One(it.into())),
        ];
        ("[rs]", name).prop_map(|(realm, name)| Rule {
            realm: realm.into(),
            name,
        })
    }

    proptest! {
        #[test]
        fn lookup_finds_what_a_search_of_all_rules_finds(
            rules in proptest::collection::vec(rule(), 0..6),
            wanted in rule(),
        ) {
            let sorted = Sorted::new(&rules);
            let all = rules.iter().any(|it| wanted.is_within(it));
            prop_assert_eq!(sorted.has_all_of(&wanted), all, "{:?} {:?}", rules, wanted);
            let some = all || rules.iter().any(|it| it.is_within(&wanted));
            prop_assert_eq!(sorted.meets(&wanted), some, "{:?} {:?}", rules, wanted);
        }
    }
}
