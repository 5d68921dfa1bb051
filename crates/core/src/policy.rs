use super::principal::PrincipalRef;
use super::realm::{Capability, Realms};

/// Decides which principals may pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Policy {
    /// Everyone. No credential is read, and nobody is authenticated.
    Anyone,
    /// Every authenticated principal.
    Authenticated,
    /// Every authenticated principal that matches at least one rule. An empty list admits nobody.
    Allow(Vec<Rule>),
    /// Every authenticated principal whose realm has the capability.
    Capable(Capability),
    /// Every authenticated principal that both policies admit.
    Both(Box<Policy>, Box<Policy>),
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

/// An entry of an allow list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// The realm, compared byte for byte.
    pub realm: Box<str>,
    /// The name, compared byte for byte; `None` matches every name in the realm.
    pub name: Option<Box<str>>,
}

impl Policy {
    /// Returns whether the policy admits an authenticated principal.
    pub fn admits(&self, who: PrincipalRef<'_>, realms: &Realms) -> bool {
        match self {
            Self::Anyone | Self::Authenticated => true,
            Self::Allow(rules) => rules.iter().any(|rule| rule.fits(who)),
            Self::Capable(capability) => realms.grant(who.realm(), *capability),
            Self::Both(one, other) => one.admits(who, realms) && other.admits(who, realms),
        }
    }

    /// Returns the first rule of an allow list that the principal matches.
    pub fn rule_for(&self, who: PrincipalRef<'_>) -> Option<&Rule> {
        match self {
            Self::Allow(rules) => rules.iter().find(|rule| rule.fits(who)),
            _ => None,
        }
    }

    /// Returns whether `other` is known to admit every principal that this policy admits. A `false`
    /// may be wrong, a `true` never is.
    pub fn is_within(&self, other: &Self) -> bool {
        match (self, other) {
            (_, Self::Anyone) => true,
            (Self::Anyone, _) => false,
            (_, Self::Authenticated) => true,
            (Self::Allow(rules), Self::Allow(others)) => rules
                .iter()
                .all(|rule| others.iter().any(|other| rule.is_within(other))),
            (Self::Both(one, two), other) => one.is_within(other) || two.is_within(other),
            (one, other) => one == other,
        }
    }

    /// Returns the intersection of both policies. It is never wider than either of them.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Anyone, policy) | (policy, Self::Anyone) => policy,
            (one, other) => Self::Both(Box::new(one), Box::new(other)),
        }
    }
}

impl Rule {
    fn is_within(&self, other: &Self) -> bool {
        self.realm == other.realm && (other.name.is_none() || self.name == other.name)
    }

    fn fits(&self, who: PrincipalRef<'_>) -> bool {
        *self.realm == *who.realm() && self.name.as_deref().is_none_or(|name| name == who.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(realm: &str, name: Option<&str>) -> Rule {
        Rule {
            realm: realm.into(),
            name: name.map(Into::into),
        }
    }

    fn admits(policy: &Policy, name: &str, realm: &str) -> bool {
        policy.admits(
            PrincipalRef::new(name, realm, 128).unwrap(),
            &Realms::default(),
        )
    }

    #[test]
    fn empty_allow_list_admits_nobody() {
        assert!(!admits(&Policy::Allow(vec![]), "a", "r"));
    }

    #[test]
    fn rule_without_name_admits_its_realm_and_no_other() {
        let policy = Policy::Allow(vec![rule("ops", None)]);
        assert!(admits(&policy, "anyone", "ops"));
        assert!(!admits(&policy, "anyone", "Ops"));
        assert!(!admits(&policy, "anyone", "ops2"));
    }

    #[test]
    fn rule_with_name_admits_that_name_only() {
        let policy = Policy::Allow(vec![rule("ops", Some("alice"))]);
        assert!(admits(&policy, "alice", "ops"));
        assert!(!admits(&policy, "alicea", "ops"));
        assert!(!admits(&policy, "alice", "dev"));
    }

    #[test]
    fn conjunction_admits_whom_both_admit() {
        let ops = || Policy::Allow(vec![rule("ops", None)]);
        let alice = || Policy::Allow(vec![rule("ops", Some("alice")), rule("dev", Some("alice"))]);
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
        let allow = |rules: &[Rule]| Policy::Allow(rules.to_vec());
        let alice = allow(&[rule("ops", Some("alice"))]);
        let ops = allow(&[rule("ops", None)]);
        let two = allow(&[rule("ops", Some("alice")), rule("dev", None)]);
        let both = ops.clone().and(two.clone());
        let capable = Policy::Capable(Capability::Verify);
        for (one, other, expected) in [
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
