//! Checks who may pass a route: `allow`, `except` and `[group.NAME]`.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use toml::Spanned;

use super::raw::{self, ALLOW, Allow, Table};
use super::scalar::{is_name, naming, part};
use super::source::{Checked, Rejected, Source, all};
use crate::auth::{Names, Policy, PrincipalRef, Realms, Rule};

/// `[group.NAME]`: principals under a name.
#[derive(Clone, Debug)]
pub struct Group {
    /// The name.
    pub name: String,
    /// The members, those of groups in it included.
    pub members: Vec<Rule>,
    /// Whether a route uses it, or a group that a route uses.
    pub is_used: bool,
}

/// The maximum number of members of a group, those of groups in it included.
const MEMBERS: usize = 10_000;

/// How deep groups may be within groups.
const DEPTH: usize = 16;

/// The maximum number of group names in a message.
const NAMED: usize = 20;

/// What lists of principals are checked with.
pub(super) struct Principals<'a> {
    source: &'a Source<'a>,
    raw: &'a BTreeMap<String, Spanned<Table<raw::Group>>>,
    name_chars: usize,
    realms: &'a Realms,
    /// The members of each valid group.
    members: BTreeMap<&'a str, Vec<Rule>>,
    /// The groups with mistakes, which are recorded.
    rejected: BTreeMap<&'a str, Rejected>,
    used: RefCell<BTreeSet<&'a str>>,
}

type RawRules = [Spanned<Table<raw::Rule>>];

impl<'a> Principals<'a> {
    /// Checks the groups. Records every mistake.
    pub(super) fn new(
        source: &'a Source<'a>,
        raw: &'a BTreeMap<String, Spanned<Table<raw::Group>>>,
        name_chars: usize,
        realms: &'a Realms,
    ) -> Self {
        let mut principals = Self {
            source,
            raw,
            name_chars,
            realms,
            members: BTreeMap::new(),
            rejected: BTreeMap::new(),
            used: RefCell::default(),
        };
        for name in raw.keys() {
            let _ = principals.add(name, &mut Vec::new());
        }
        principals
    }

    /// Returns the groups, after all routes have been checked.
    pub(super) fn groups(self) -> Vec<Group> {
        let used = self.used.borrow();
        let group = |(name, members): (&&str, &Vec<Rule>)| Group {
            name: (*name).to_owned(),
            members: members.clone(),
            is_used: used.contains(name),
        };
        self.members.iter().map(group).collect()
    }

    /// Checks a group after the groups in it. `within` are the groups that contain it.
    fn add(&mut self, name: &'a str, within: &mut Vec<&'a str>) -> Checked<()> {
        let Some(group) = self.raw.get(name) else {
            return Ok(());
        };
        if self.members.contains_key(name) {
            return Ok(());
        }
        if let Some(rejected) = self.rejected.get(name) {
            return Err(*rejected);
        }
        within.push(name);
        let members = self.checked(name, group, within);
        within.pop();
        match members {
            Ok(members) => drop(self.members.insert(name, members)),
            Err(rejected) => {
                self.rejected.insert(name, rejected);
                return Err(rejected);
            }
        }
        Ok(())
    }

    /// Checks a group, the last one of `within`. Returns its members, each once.
    fn checked(
        &mut self,
        name: &str,
        group: &'a Spanned<Table<raw::Group>>,
        within: &mut Vec<&'a str>,
    ) -> Checked<Vec<Rule>> {
        let key = format!("group.{name}");
        if !is_name(name) {
            let shown = format!("{name:?}");
            return Err(self.source.reject_as(&key, shown, group.span(), naming()));
        }
        let key = format!("{key}.members");
        let expected =
            "at least one { realm = \"…\", name = \"…\" }, the name optional, or { group = \"…\" }";
        let raw = match &group.get_ref().0.members {
            None => return Err(self.source.missing(key, group.span(), expected)),
            Some(raw) if raw.get_ref().is_empty() => {
                return Err(self.source.reject(&key, raw, expected));
            }
            Some(raw) => raw,
        };
        for (at, rule) in raw.get_ref().iter().enumerate() {
            let Some(inner) = rule.get_ref().0.group.as_ref() else {
                continue;
            };
            let named = inner.get_ref().as_str();
            let key = format!("{key}[{at}].group");
            if within.contains(&named) {
                let expected = format!("a group that does not contain {name:?} itself");
                return Err(self.source.reject(&key, inner, expected));
            }
            if within.len() >= DEPTH {
                let expected = format!("groups at most {DEPTH} deep within each other");
                return Err(self.source.reject(&key, inner, expected));
            }
            self.add(named, within)?;
        }
        let mut members = self.rules(&key, raw.get_ref())?;
        members.sort();
        members.dedup();
        if members.len() > MEMBERS {
            let many = format!("{} members", members.len());
            let expected = format!("at most {MEMBERS}");
            return Err(self.source.reject_as(&key, many, raw.span(), expected));
        }
        Ok(members)
    }

    /// Checks `allow` and `except` of the table with the dotted path `route`.
    pub(super) fn policy(
        &self,
        route: &str,
        allow: &Spanned<Allow>,
        except: Option<&Spanned<Vec<Spanned<Table<raw::Rule>>>>>,
    ) -> Checked<Policy> {
        let key = format!("{route}.allow");
        let policy = match allow.get_ref() {
            Allow::Word(word) if word == "authenticated" => Ok(Policy::Authenticated),
            Allow::Word(word) if word == "anyone" => Ok(Policy::Anyone),
            Allow::Rules(rules) if !rules.is_empty() => {
                self.used_rules(&key, rules).map(Policy::Allow)
            }
            Allow::Word(_) | Allow::Rules(_) => Err(self.source.reject(&key, allow, ALLOW)),
        };
        let Some(except) = except else {
            return policy;
        };
        let key = format!("{route}.except");
        let expected = match &policy {
            Ok(Policy::Anyone) => {
                "no exceptions beside allow = \"anyone\", which authenticates nobody"
            }
            _ if except.get_ref().is_empty() => {
                "at least one { realm = \"…\", name = \"…\" }, the name optional, or { group = \"…\" }"
            }
            _ => {
                let rules = self.used_rules(&key, except.get_ref())?;
                return Ok(Policy::Except(Box::new(policy?), rules));
            }
        };
        Err(self.source.reject(&key, except, expected))
    }

    /// Checks rules of a route, and remembers that their groups are used.
    fn used_rules(&self, key: &str, raw: &RawRules) -> Checked<Vec<Rule>> {
        let named = raw
            .iter()
            .filter_map(|rule| rule.get_ref().0.group.as_ref());
        let mut left: Vec<&str> = named.map(|group| group.get_ref().as_str()).collect();
        while let Some(name) = left.pop() {
            let Some((name, group)) = self.raw.get_key_value(name) else {
                continue;
            };
            if self.used.borrow_mut().insert(name) {
                let members = group.get_ref().0.members.iter();
                let inner = members.flat_map(Spanned::get_ref);
                let inner = inner.filter_map(|rule| rule.get_ref().0.group.as_ref());
                left.extend(inner.map(|group| group.get_ref().as_str()));
            }
        }
        self.rules(key, raw)
    }

    fn rules(&self, key: &str, raw: &RawRules) -> Checked<Vec<Rule>> {
        let rules = raw.iter().enumerate();
        let rules = all(rules.map(|(at, rule)| self.rule(&format!("{key}[{at}]"), rule)))?;
        Ok(rules.into_iter().flatten().collect())
    }

    /// Checks one rule. Returns the members if it is a group.
    fn rule(&self, key: &str, raw: &Spanned<Table<raw::Rule>>) -> Checked<Vec<Rule>> {
        let Table(rule) = raw.get_ref();
        if let Some(group) = &rule.group {
            return self.group(key, rule, group);
        }
        let expected = part(self.name_chars);
        let realm = match &rule.realm {
            Some(realm) => self.realm(&format!("{key}.realm"), realm, &expected),
            None => {
                let key = format!("{key}.realm");
                Err(self.source.missing(key, raw.span(), expected.clone()))
            }
        };
        let name = match &rule.name {
            None => Ok(Names::All),
            Some(name) => {
                let realm = rule.realm.as_ref().map(|realm| realm.get_ref().as_str());
                self.name(&format!("{key}.name"), name, realm, &expected)
            }
        };
        Ok(vec![Rule {
            realm: realm?,
            name: name?,
        }])
    }

    fn group(&self, key: &str, rule: &raw::Rule, group: &Spanned<String>) -> Checked<Vec<Rule>> {
        let key = format!("{key}.group");
        if rule.realm.is_some() || rule.name.is_some() {
            let expected = "a group alone, without realm and name";
            return Err(self.source.reject(&key, group, expected));
        }
        if let Some(members) = self.members.get(group.get_ref().as_str()) {
            return Ok(members.clone());
        }
        if let Some(rejected) = self.rejected.get(group.get_ref().as_str()) {
            return Err(*rejected);
        }
        let names: Vec<_> = self.raw.keys().take(NAMED).map(String::as_str).collect();
        let expected = match names.join(", ") {
            names if names.is_empty() => "a defined group (none is defined)".to_owned(),
            names => format!("a defined group (defined: {names})"),
        };
        Err(self.source.reject(&key, group, expected))
    }

    fn realm(&self, key: &str, raw: &Spanned<String>, expected: &str) -> Checked<Box<str>> {
        let text = raw.get_ref();
        if text.contains('*') {
            let expected = "a whole realm; only names may end with \"*\"";
            return Err(self.source.reject(key, raw, expected));
        }
        self.part(key, raw, text, expected)
    }

    fn name(
        &self,
        key: &str,
        raw: &Spanned<String>,
        realm: Option<&str>,
        expected: &str,
    ) -> Checked<Names> {
        let text = raw.get_ref();
        let Some(star) = text.find('*') else {
            return self.part(key, raw, text, expected).map(Names::One);
        };
        let is_reserved =
            realm.is_some_and(|it| it == self.realms.admin() || it == self.realms.auth());
        let expected = if star + 1 != text.len() {
            "a name, or the beginning of names with one \"*\" at its end"
        } else if star == 0 {
            "the beginning of names before \"*\"; leave the key out to match every name"
        } else if is_reserved {
            "a whole name, since the realm is reserved"
        } else {
            let prefix = text.trim_end_matches('*');
            return self.part(key, raw, prefix, expected).map(Names::Prefix);
        };
        Err(self.source.reject(key, raw, expected))
    }

    /// Checks a name or realm, or the beginning of one.
    fn part(
        &self,
        key: &str,
        raw: &Spanned<String>,
        text: &str,
        expected: &str,
    ) -> Checked<Box<str>> {
        match PrincipalRef::new("-", text, self.name_chars) {
            Ok(_) => Ok(text.into()),
            Err(_) => Err(self.reject(key, raw, expected)),
        }
    }

    fn reject(&self, key: &str, raw: &Spanned<String>, expected: &str) -> Rejected {
        self.source.reject(key, raw, expected)
    }
}
