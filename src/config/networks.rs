//! Checks `[networks]` and the `from` of routes.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use ipnet::IpNet;
use toml::Spanned;

use super::raw::List;
use super::source::{Checked, Source, all};

/// A name of `[networks]`.
#[derive(Clone, Debug)]
pub struct Network {
    /// The name.
    pub name: String,
    /// At least one network.
    pub networks: Vec<IpNet>,
    /// Whether a route uses it.
    pub is_used: bool,
}

/// The maximum number of networks of a route, or of a name.
const NETWORKS: usize = 10_000;

/// The maximum number of names in a message.
const NAMED: usize = 20;

/// The networks by name.
pub(super) struct Networks<'a> {
    source: &'a Source<'a>,
    raw: &'a BTreeMap<String, Spanned<List>>,
    of: BTreeMap<&'a str, Vec<IpNet>>,
    used: RefCell<BTreeSet<&'a str>>,
}

impl<'a> Networks<'a> {
    /// Checks the networks. Records every mistake.
    pub(super) fn new(source: &'a Source<'a>, raw: &'a BTreeMap<String, Spanned<List>>) -> Self {
        let networks = raw.iter().filter_map(|(name, list)| {
            let key = format!("networks.{name}");
            let is_letter = |char: char| char.is_ascii_alphanumeric() || "-_".contains(char);
            if !name.starts_with(|char: char| char.is_ascii_alphabetic())
                || !name.chars().all(is_letter)
                || name.len() > 64
            {
                let expected =
                    "a name of 1 to 64 letters, digits, \"-\" and \"_\" that begins with a letter";
                source.reject_as(&key, format!("{name:?}"), list.span(), expected);
                return None;
            }
            if !(1..=NETWORKS).contains(&list.get_ref().len()) {
                source.reject(&key, list, format!("1 to {NETWORKS} networks"));
                return None;
            }
            let networks = source.networks(&key, list).ok()?;
            Some((name.as_str(), networks))
        });
        Self {
            source,
            raw,
            of: networks.collect(),
            used: RefCell::default(),
        }
    }

    /// Checks the `from` with the dotted path `key`. Returns its networks, each once.
    pub(super) fn from(&self, key: &str, raw: &Spanned<List>) -> Checked<Vec<IpNet>> {
        if raw.get_ref().is_empty() {
            let expected = format!("at least one of {}", self.expected());
            return Err(self.source.reject(key, raw, expected));
        }
        let lists = raw.get_ref().iter().enumerate().map(|(at, raw)| {
            let text = raw.get_ref().as_str();
            let key = format!("{key}[{at}]");
            if let Some((name, networks)) = self.of.get_key_value(text) {
                self.used.borrow_mut().insert(name);
                return Ok(networks.clone());
            }
            let is_name =
                text.starts_with(|char: char| char.is_ascii_alphabetic()) && !text.contains(':');
            if is_name && !self.raw.contains_key(text) {
                return Err(self.source.reject(&key, raw, self.expected()));
            }
            self.source.network(&key, raw).map(|network| vec![network])
        });
        let mut networks: Vec<IpNet> = all(lists)?.into_iter().flatten().collect();
        networks.sort();
        networks.dedup();
        if networks.len() > NETWORKS {
            let many = format!("{} networks", networks.len());
            let expected = format!("at most {NETWORKS}");
            return Err(self.source.reject_as(key, many, raw.span(), expected));
        }
        Ok(networks)
    }

    /// Returns the names, after all routes have been checked.
    pub(super) fn named(self) -> Vec<Network> {
        let used = self.used.borrow();
        let network = |(name, networks): (&&str, &Vec<IpNet>)| Network {
            name: (*name).to_owned(),
            networks: networks.clone(),
            is_used: used.contains(name),
        };
        self.of.iter().map(network).collect()
    }

    fn expected(&self) -> String {
        let names: Vec<_> = self.raw.keys().take(NAMED).map(String::as_str).collect();
        let names = match names.join(", ") {
            names if names.is_empty() => "none is defined".to_owned(),
            names => format!("defined: {names}"),
        };
        format!("an address, a network such as \"10.0.0.0/8\", or a name in [networks] ({names})")
    }
}
