mod rule;
mod sorted;

use std::sync::Arc;

pub use rule::{Names, Rule};
use sorted::Sorted;

use super::principal::PrincipalRef;
use super::realm::{Capability, Realms};

/// Decides which principals may pass. A clone shares the lists, which may be long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Policy {
    /// Everyone. No credential is read, and nobody is authenticated.
    Anyone,
    /// Every authenticated principal.
    Authenticated,
    /// Every authenticated principal that matches at least one rule. An empty list admits nobody.
    Allow(Arc<[Rule]>),
    /// Every authenticated principal whose realm has the capability.
    Capable(Capability),
    /// Every authenticated principal that both policies admit.
    Both(Arc<Policy>, Arc<Policy>),
    /// Every authenticated principal that the policy admits and that matches none of the rules.
    Except(Arc<Policy>, Arc<[Rule]>),
}

/// What happens to a request that the policy denies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// It is denied.
    #[default]
    Enforce,
    /// It passes. The denial is logged and counted.
    Observe,
}

impl Policy {
    /// Returns whether the policy admits an authenticated principal.
    pub fn admits(&self, who: PrincipalRef<'_>, realms: &Realms) -> bool {
        match self {
            Self::Anyone | Self::Authenticated => true,
            Self::Allow(rules) => rules.iter().any(|rule| rule.fits(who)),
            Self::Capable(capability) => realms.grant(who.realm(), *capability),
            Self::Both(one, other) => one.admits(who, realms) && other.admits(who, realms),
            Self::Except(policy, rules) => {
                policy.admits(who, realms) && !rules.iter().any(|rule| rule.fits(who))
            }
        }
    }

    /// Returns the first rule of an allow list that the principal matches.
    pub fn rule_for(&self, who: PrincipalRef<'_>) -> Option<&Rule> {
        match self {
            Self::Allow(rules) => rules.iter().find(|rule| rule.fits(who)),
            Self::Except(policy, _) => policy.rule_for(who),
            _ => None,
        }
    }

    /// Returns the first exception that the principal matches.
    pub fn exception_for(&self, who: PrincipalRef<'_>) -> Option<&Rule> {
        match self {
            Self::Except(_, rules) => rules.iter().find(|rule| rule.fits(who)),
            _ => None,
        }
    }

    /// Returns whether `other` is known to admit every principal that this policy admits. A `false`
    /// may be wrong, a `true` never is.
    pub fn is_within(&self, other: &Self) -> bool {
        if self == other {
            return true;
        }
        match (self, other) {
            (_, Self::Anyone) => true,
            (Self::Anyone, _) => false,
            (_, Self::Except(other, exceptions)) => {
                self.is_within(other) && exceptions.iter().all(self.has_none())
            }
            (Self::Except(policy, _), other) => policy.is_within(other),
            (_, Self::Authenticated) => true,
            (Self::Allow(rules), Self::Allow(others)) => are_within(rules, others),
            (Self::Both(one, two), other) => one.is_within(other) || two.is_within(other),
            _ => false,
        }
    }

    /// Returns a function that tells whether the policy is known to admit no principal that matches
    /// a rule.
    fn has_none(&self) -> Box<dyn Fn(&Rule) -> bool + '_> {
        match self {
            Self::Allow(rules) => {
                let rules = Sorted::new(rules);
                Box::new(move |rule| !rules.meets(rule))
            }
            Self::Both(one, other) => {
                let (one, other) = (one.has_none(), other.has_none());
                Box::new(move |rule| one(rule) || other(rule))
            }
            Self::Except(policy, exceptions) => {
                let (policy, exceptions) = (policy.has_none(), Sorted::new(exceptions));
                Box::new(move |rule| policy(rule) || exceptions.has_all_of(rule))
            }
            Self::Anyone | Self::Authenticated | Self::Capable(_) => Box::new(|_| false),
        }
    }

    /// Returns the intersection of both policies. It is never wider than either of them.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Anyone, policy) | (policy, Self::Anyone) => policy,
            (one, other) => Self::Both(Arc::new(one), Arc::new(other)),
        }
    }
}

/// Returns whether some rule of `others` covers each of `rules`.
fn are_within(rules: &[Rule], others: &[Rule]) -> bool {
    let Some((first, rest)) = rules.split_first() else {
        return true;
    };
    // Most lists that differ do so here, so that nothing is sorted for them.
    if !others.iter().any(|other| first.is_within(other)) {
        return false;
    }
    let others = Sorted::new(others);
    rest.iter().all(|rule| others.has_all_of(rule))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(realm: &str, name: Option<&str>) -> Rule {
        Rule {
            realm: realm.into(),
            name: name.map_or(Names::All, |name| match name.strip_suffix('*') {
                Some(prefix) => Names::Prefix(prefix.into()),
                None => Names::One(name.into()),
            }),
        }
    }

    fn allow(rules: &[Rule]) -> Policy {
        Policy::Allow(rules.into())
    }

    fn admits(policy: &Policy, name: &str, realm: &str) -> bool {
        policy.admits(
            PrincipalRef::new(name, realm, 128).unwrap(),
            &Realms::default(),
        )
    }

    #[test]
    fn empty_allow_list_admits_nobody() {
        assert!(!admits(&allow(&[]), "a", "r"));
    }

    #[test]
    fn rule_without_name_admits_its_realm_and_no_other() {
        let policy = allow(&[rule("ops", None)]);
        assert!(admits(&policy, "anyone", "ops"));
        assert!(!admits(&policy, "anyone", "Ops"));
        assert!(!admits(&policy, "anyone", "ops2"));
    }

    #[test]
    fn rule_with_name_admits_that_name_only() {
        let policy = allow(&[rule("ops", Some("alice"))]);
        assert!(admits(&policy, "alice", "ops"));
        assert!(!admits(&policy, "alicea", "ops"));
        assert!(!admits(&policy, "alice", "dev"));
    }

    #[test]
    fn rule_with_a_prefix_admits_the_names_that_begin_with_it() {
        let policy = allow(&[rule("ops", Some("batch-*"))]);
        for (name, realm, expected) in [
            ("batch-1", "ops", true),
            ("batch-", "ops", true),
            ("batch", "ops", false),
            ("Batch-1", "ops", false),
            ("xbatch-1", "ops", false),
            ("batch-1", "dev", false),
        ] {
            assert_eq!(admits(&policy, name, realm), expected, "{name}@{realm}");
        }
    }

    #[test]
    fn exception_takes_away_from_whom_the_policy_admits() {
        let except =
            |policy: Policy, name| Policy::Except(policy.into(), [rule("ops", Some(name))].into());
        let ops = || allow(&[rule("ops", None)]);
        assert!(!admits(&except(ops(), "batch-7"), "batch-7", "ops"));
        assert!(admits(&except(ops(), "batch-7"), "batch-70", "ops"));
        assert!(!admits(&except(ops(), "batch-*"), "batch-70", "ops"));
        assert!(!admits(&except(ops(), "batch-7"), "a", "dev"));
        assert!(admits(
            &except(Policy::Authenticated, "batch-7"),
            "batch-7",
            "dev"
        ));
    }

    #[test]
    fn conjunction_admits_whom_both_admit() {
        let ops = || allow(&[rule("ops", None)]);
        let alice = || allow(&[rule("ops", Some("alice")), rule("dev", Some("alice"))]);
        let both = ops().and(alice());
        assert!(admits(&both, "alice", "ops"));
        assert!(!admits(&both, "bob", "ops"));
        assert!(!admits(&both, "alice", "dev"));
        assert_eq!(Policy::Anyone.and(ops()), ops());
        assert_eq!(ops().and(Policy::Anyone), ops());
        assert!(!admits(&Policy::Authenticated.and(ops()), "bob", "dev"));
    }

    #[test]
    fn policy_is_within_those_that_admit_as_many_or_more() {
        let alice = allow(&[rule("ops", Some("alice"))]);
        let ops = allow(&[rule("ops", None)]);
        let two = allow(&[rule("ops", Some("alice")), rule("dev", None)]);
        let both = ops.clone().and(two.clone());
        let capable = Policy::Capable(Capability::Verify);
        let batch = allow(&[rule("ops", Some("batch-*"))]);
        let seven = allow(&[rule("ops", Some("batch-7"))]);
        let except = |policy: &Policy, name| {
            Policy::Except(policy.clone().into(), [rule("ops", Some(name))].into())
        };
        for (one, other, expected) in [
            (&seven, &batch, true),
            (&batch, &seven, false),
            (&batch, &ops, true),
            (&ops, &batch, false),
            (&except(&ops, "batch-7"), &ops, true),
            (&ops, &except(&ops, "batch-7"), false),
            (&batch, &except(&ops, "batch-7"), false),
            (&alice, &except(&ops, "batch-*"), true),
            (&except(&ops, "batch-*"), &except(&ops, "batch-7"), true),
            (&except(&ops, "batch-7"), &except(&ops, "batch-*"), false),
            (&except(&ops, "batch-7"), &Policy::Authenticated, true),
            (
                &Policy::Authenticated,
                &except(&Policy::Authenticated, "a"),
                false,
            ),
            (&Policy::Anyone, &Policy::Anyone, true),
            (&Policy::Anyone, &Policy::Authenticated, false),
            (&Policy::Authenticated, &Policy::Anyone, true),
            (&Policy::Authenticated, &ops, false),
            (&ops, &Policy::Authenticated, true),
            (&alice, &ops, true),
            (&ops, &alice, false),
            (&alice, &alice, true),
            (&two, &ops, false),
            (&alice, &two, true),
            (&ops, &two, false),
            (&both, &ops, true),
            (&capable, &capable, true),
            (&capable, &ops, false),
            (&allow(&[]), &alice, true),
        ] {
            assert_eq!(one.is_within(other), expected, "{one:?} {other:?}");
        }
    }

    #[test]
    fn capability_is_that_of_the_realm() {
        let policy = Policy::Capable(Capability::Verify);
        assert!(admits(&policy, "a", "ungleich-auth"));
        assert!(!admits(&policy, "a", "ungleich-admin"));
    }
}
