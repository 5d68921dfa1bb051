//! Checks who may pass a route: `allow`, `except` and `[group.NAME]`.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::ops::Range;
use std::sync::Arc;

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
    pub members: Arc<[Rule]>,
    /// Whether a route uses it, or a group that a route uses.
    pub is_used: bool,
}

/// The maximum number of members of a group, and of a list of a route, those of groups in it
/// included.
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
    /// The valid groups.
    known: BTreeMap<&'a str, Known>,
    /// The groups with mistakes, which are recorded.
    rejected: BTreeMap<&'a str, Rejected>,
    used: RefCell<BTreeSet<&'a str>>,
    /// The lists of routes, so that equal ones are in memory once.
    lists: RefCell<HashSet<Arc<[Rule]>>>,
}

/// A valid group.
struct Known {
    members: Arc<[Rule]>,
    /// The length of the longest chain of groups within each other that begins with this one.
    depth: usize,
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
            known: BTreeMap::new(),
            rejected: BTreeMap::new(),
            used: RefCell::default(),
            lists: RefCell::default(),
        };
        for name in raw.keys() {
            let _ = principals.add(name, &mut Vec::new());
        }
        principals
    }

    /// Returns the groups, after all routes have been checked.
    pub(super) fn groups(self) -> Vec<Group> {
        let used = self.used.borrow();
        let group = |(name, known): (&&str, &Known)| Group {
            name: (*name).to_owned(),
            members: Arc::clone(&known.members),
            is_used: used.contains(name),
        };
        self.known.iter().map(group).collect()
    }

    /// Checks a group after the groups in it. `within` are the groups that contain it.
    fn add(&mut self, name: &'a str, within: &mut Vec<&'a str>) -> Checked<()> {
        let Some(group) = self.raw.get(name) else {
            return Ok(());
        };
        if self.known.contains_key(name) {
            return Ok(());
        }
        if let Some(rejected) = self.rejected.get(name) {
            return Err(*rejected);
        }
        within.push(name);
        let known = self.checked(name, group, within);
        within.pop();
        match known {
            Ok(known) => drop(self.known.insert(name, known)),
            Err(rejected) => {
                self.rejected.insert(name, rejected);
                return Err(rejected);
            }
        }
        Ok(())
    }

    /// Checks a group, the last one of `within`. Its members are each there once.
    fn checked(
        &mut self,
        name: &str,
        group: &'a Spanned<Table<raw::Group>>,
        within: &mut Vec<&'a str>,
    ) -> Checked<Known> {
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
        let mut depth = 1;
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
            let of_inner = self.known.get(named).map_or(1, |known| known.depth);
            if within.len() + of_inner > DEPTH {
                let expected = format!("groups at most {DEPTH} deep within each other");
                return Err(self.source.reject(&key, inner, expected));
            }
            self.add(named, within)?;
            depth = depth.max(self.known.get(named).map_or(1, |known| known.depth) + 1);
        }
        let mut members = self.rules(&key, raw.get_ref())?;
        members.sort();
        members.dedup();
        let members = self.bounded(&key, raw.span(), members)?.into();
        Ok(Known { members, depth })
    }

    /// Checks the number of members of a list.
    fn bounded(&self, key: &str, span: Range<usize>, members: Vec<Rule>) -> Checked<Vec<Rule>> {
        if members.len() > MEMBERS {
            let many = format!("{} members", members.len());
            let expected = format!("at most {MEMBERS}");
            return Err(self.source.reject_as(key, many, span, expected));
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
                self.of_route(&key, rules, allow.span()).map(Policy::Allow)
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
                let rules = self.of_route(&key, except.get_ref(), except.span())?;
                return Ok(Policy::Except(policy?.into(), rules));
            }
        };
        Err(self.source.reject(&key, except, expected))
    }

    /// Checks the rules of a route, and records that their groups are used. Returns the rules, each
    /// once, with the members of groups in place of the groups.
    fn of_route(&self, key: &str, raw: &RawRules, span: Range<usize>) -> Checked<Arc<[Rule]>> {
        self.mark_used(raw);
        if let [rule] = raw
            && let Table(rule) = rule.get_ref()
            && let Some(group) = &rule.group
        {
            return self.group(&format!("{key}[0]"), rule, group);
        }
        let mut rules = self.rules(key, raw)?;
        let is_first: Vec<bool> = {
            let mut seen = HashSet::new();
            rules.iter().map(|rule| seen.insert(rule)).collect()
        };
        let mut is_first = is_first.into_iter();
        rules.retain(|_| is_first.next().unwrap_or_default());
        let rules = self.bounded(key, span, rules)?;
        if let Some(list) = self.lists.borrow().get(&rules[..]) {
            return Ok(Arc::clone(list));
        }
        let rules: Arc<[Rule]> = rules.into();
        self.lists.borrow_mut().insert(Arc::clone(&rules));
        Ok(rules)
    }

    fn mark_used(&self, raw: &RawRules) {
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
            return Ok(self.group(key, rule, group)?.to_vec());
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

    fn group(&self, key: &str, rule: &raw::Rule, group: &Spanned<String>) -> Checked<Arc<[Rule]>> {
        let key = format!("{key}.group");
        if rule.realm.is_some() || rule.name.is_some() {
            let expected = "a group alone, without realm and name";
            return Err(self.source.reject(&key, group, expected));
        }
        if let Some(known) = self.known.get(group.get_ref().as_str()) {
            return Ok(Arc::clone(&known.members));
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
