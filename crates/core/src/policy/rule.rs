//! The entries of a list of principals.

use std::fmt;

use crate::principal::PrincipalRef;

/// An entry of a list of principals.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Rule {
    /// The realm, compared byte for byte.
    pub realm: Box<str>,
    /// The names in the realm.
    pub name: Names,
}

/// The names that a rule matches, compared byte for byte.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Names {
    /// Every name.
    All,
    /// The names that begin with this text, which is not empty. This text itself is one of them.
    Prefix(Box<str>),
    /// This name only.
    One(Box<str>),
}

impl Rule {
    /// Returns whether `other` matches every principal that this rule matches.
    pub fn is_within(&self, other: &Self) -> bool {
        self.realm == other.realm
            && match (&self.name, &other.name) {
                (_, Names::All) => true,
                (Names::All, _) | (Names::Prefix(_), Names::One(_)) => false,
                (Names::One(name), Names::One(other)) => name == other,
                (Names::One(name) | Names::Prefix(name), Names::Prefix(other)) => {
                    name.starts_with(&**other)
                }
            }
    }

    /// Returns whether a principal matches the rule.
    pub fn fits(&self, who: PrincipalRef<'_>) -> bool {
        *self.realm == *who.realm()
            && match &self.name {
                Names::All => true,
                Names::Prefix(prefix) => who.name().starts_with(&**prefix),
                Names::One(name) => **name == *who.name(),
            }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Names::All => write!(f, "realm {}", self.realm),
            Names::Prefix(prefix) => write!(f, "{prefix}*@{}", self.realm),
            Names::One(name) => write!(f, "{name}@{}", self.realm),
        }
    }
}
