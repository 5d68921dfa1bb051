//! Compares whom two policies admit.

use std::collections::HashMap;
use std::fmt;

use crate::auth::{Names, Policy, PrincipalRef, Realms, Rule};

/// Callers for whom something is opened or closed. The order is that of importance.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Who {
    /// Everyone, with or without a credential, except the principals that match these rules.
    Anyone(Vec<Rule>),
    /// Callers without a credential.
    Nobody,
    /// Every authenticated principal except those that match these rules.
    Authenticated(Vec<Rule>),
    /// The principals that match the rule, except those that match one of the others.
    Matching(Rule, Vec<Rule>),
}

impl Who {
    /// Returns the rank: the lower, the more callers.
    pub(super) const fn rank(&self) -> u8 {
        match self {
            Self::Anyone(_) | Self::Nobody => 0,
            Self::Authenticated(_) => 1,
            Self::Matching(rule, _) => match rule.name {
                Names::All => 2,
                Names::Prefix(_) => 3,
                Names::One(_) => 4,
            },
        }
    }
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let except = match self {
            Self::Anyone(except) => {
                f.write_str("anyone")?;
                except
            }
            Self::Nobody => return f.write_str("callers without a credential"),
            Self::Authenticated(except) => {
                f.write_str("every authenticated principal")?;
                except
            }
            Self::Matching(rule, except) => {
                write!(f, "{rule}")?;
                except
            }
        };
        for (at, rule) in except.iter().take(SHOWN).enumerate() {
            let separator = if at == 0 { " except" } else { "," };
            write!(f, "{separator} {rule}")?;
        }
        match except.len().saturating_sub(SHOWN) {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}

/// The maximum number of exceptions in a text.
const SHOWN: usize = 8;

/// Callers that are admitted alike by each policy. One of them stands for all.
struct Class {
    /// `None` for all principals.
    rule: Option<Rule>,
    /// The index of the smallest class that contains it.
    above: Option<usize>,
    /// A member that is in no smaller class.
    name: String,
    realm: String,
}

/// Returns the callers that the second policy admits and the first one does not, and those that the
/// first one admits and the second one does not. `None` admits nobody.
pub(super) fn admitted(old: Option<&Policy>, new: Option<&Policy>) -> (Vec<Who>, Vec<Who>) {
    let mut rules = Vec::new();
    for policy in [old, new].into_iter().flatten() {
        add(policy, &mut rules);
    }
    let classes = classes(rules);
    let is_open = |policy: Option<&Policy>| policy == Some(&Policy::Anyone);
    let opened = match (is_open(old), is_open(new)) {
        (false, true) => vec![Who::Anyone(Vec::new())],
        _ => difference(old, new, &classes),
    };
    let mut closed = difference(new, old, &classes);
    if is_open(old) && !is_open(new) {
        let everyone = match closed.first() {
            Some(Who::Authenticated(except)) => Some(Who::Anyone(except.clone())),
            _ => None,
        };
        match (everyone, closed.first_mut()) {
            (Some(everyone), Some(first)) => *first = everyone,
            _ => closed.insert(0, Who::Nobody),
        }
    }
    (opened, closed)
}

/// Adds the rules of a policy.
fn add(policy: &Policy, rules: &mut Vec<Rule>) {
    match policy {
        Policy::Allow(allowed) => rules.extend(allowed.iter().cloned()),
        Policy::Except(policy, exceptions) => {
            add(policy, rules);
            rules.extend(exceptions.iter().cloned());
        }
        Policy::Both(one, other) => {
            add(one, rules);
            add(other, rules);
        }
        Policy::Anyone | Policy::Authenticated | Policy::Capable(_) => {}
    }
}

/// Returns the classes that rules make: the wider ones first.
fn classes(mut rules: Vec<Rule>) -> Vec<Class> {
    let realms: Vec<_> = rules.iter().map(|rule| rule.realm.clone()).collect();
    rules.extend(realms.into_iter().map(|realm| Rule {
        realm,
        name: Names::All,
    }));
    rules.sort_by(|one, other| {
        let width = |rule: &Rule| match &rule.name {
            Names::All => (0, 0),
            Names::Prefix(prefix) => (1, prefix.len()),
            Names::One(_) => (2, 0),
        };
        (&one.realm, width(one), &one.name).cmp(&(&other.realm, width(other), &other.name))
    });
    rules.dedup();
    let is_other = |realm: &str| rules.iter().any(|rule| *rule.realm == *realm);
    let realm = fresh("other", &is_other);
    let mut classes = vec![Class {
        rule: None,
        above: None,
        name: "other".to_owned(),
        realm,
    }];
    // The rules that may contain the next one, with their indexes.
    let mut within: Vec<(usize, &Rule)> = Vec::new();
    for rule in &rules {
        within.retain(|(_, above)| above.realm == rule.realm);
        let mut above = within.iter().rev();
        let above = above.find(|(_, above)| rule.is_within(above));
        let above = above.map_or(0, |(at, _)| *at);
        let name = match &rule.name {
            Names::One(name) => name.to_string(),
            Names::All | Names::Prefix(_) => {
                let start = match &rule.name {
                    Names::Prefix(prefix) => &**prefix,
                    _ => "",
                };
                let is_taken = |name: &str| {
                    rules.iter().any(|other| {
                        other != rule && other.realm == rule.realm && other.is_within(rule) && {
                            let who = PrincipalRef::new(name, &rule.realm, usize::MAX);
                            who.is_ok_and(|who| other.fits(who))
                        }
                    })
                };
                fresh(&format!("{start}other"), &is_taken)
            }
        };
        if !matches!(rule.name, Names::One(_)) {
            within.push((classes.len(), rule));
        }
        classes.push(Class {
            rule: Some(rule.clone()),
            above: Some(above),
            name,
            realm: rule.realm.to_string(),
        });
    }
    classes
}

/// Returns a text that begins with `start` and is not taken.
fn fresh(start: &str, is_taken: &dyn Fn(&str) -> bool) -> String {
    let numbered = (0_u32..).map(|number| match number {
        0 => start.to_owned(),
        number => format!("{start}~{number}"),
    });
    let mut free = numbered.filter(|text| !is_taken(text));
    free.next().unwrap_or_default()
}

/// Returns the callers that `new` admits and `old` does not.
fn difference(old: Option<&Policy>, new: Option<&Policy>, classes: &[Class]) -> Vec<Who> {
    let realms = Realms::default();
    let admits = |policy: Option<&Policy>, class: &Class| {
        let who = PrincipalRef::new(&class.name, &class.realm, usize::MAX);
        policy.is_some_and(|policy| who.is_ok_and(|who| policy.admits(who, &realms)))
    };
    let differs: Vec<bool> = classes
        .iter()
        .map(|class| admits(new, class) && !admits(old, class))
        .collect();
    let differs_at = |at: usize| differs.get(at).copied().unwrap_or_default();
    let above = |at: usize| classes.get(at).and_then(|class| class.above);
    // The exceptions of each class that is named.
    let mut except: HashMap<usize, Vec<Rule>> = HashMap::new();
    for (at, class) in classes.iter().enumerate() {
        let Some(mut top) = class.above.filter(|above| differs_at(*above)) else {
            continue;
        };
        if differs_at(at) {
            continue;
        }
        while let Some(next) = above(top).filter(|next| differs_at(*next)) {
            top = next;
        }
        let rules = except.entry(top).or_default();
        rules.extend(class.rule.clone());
    }
    let mut found = Vec::new();
    for (at, class) in classes.iter().enumerate() {
        // A class within one that differs too is not named.
        if !differs_at(at) || class.above.is_some_and(differs_at) {
            continue;
        }
        let except = except.remove(&at).unwrap_or_default();
        found.push(match &class.rule {
            None => Who::Authenticated(except),
            Some(rule) => Who::Matching(rule.clone(), except),
        });
    }
    found.sort();
    found
}
