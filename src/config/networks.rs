//! Checks `[networks]` and the `from` of routes.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use ipnet::IpNet;
use toml::Spanned;

use super::network_set::NetworkSet;
use super::raw::List;
use super::source::{Checked, Rejected, Source, all};

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
    /// The names with mistakes, which are recorded.
    rejected: BTreeMap<&'a str, Rejected>,
    used: RefCell<BTreeSet<&'a str>>,
    /// The sets of routes, so that equal ones are in memory once.
    sets: RefCell<HashMap<Arc<[IpNet]>, Arc<NetworkSet>>>,
}

impl<'a> Networks<'a> {
    /// Checks the networks. Records every mistake.
    pub(super) fn new(source: &'a Source<'a>, raw: &'a BTreeMap<String, Spanned<List>>) -> Self {
        let check = |(name, list): (&'a String, &'a Spanned<List>)| {
            let key = format!("networks.{name}");
            let is_letter = |char: char| char.is_ascii_alphanumeric() || "-_".contains(char);
            if !name.starts_with(|char: char| char.is_ascii_alphabetic())
                || !name.chars().all(is_letter)
                || name.len() > 64
            {
                let expected =
                    "a name of 1 to 64 letters, digits, \"-\" and \"_\" that begins with a letter";
                return Err(source.reject_as(&key, format!("{name:?}"), list.span(), expected));
            }
            if !(1..=NETWORKS).contains(&list.get_ref().len()) {
                return Err(source.reject(&key, list, format!("1 to {NETWORKS} networks")));
            }
            source.networks(&key, list)
        };
        let (mut of, mut rejected) = (BTreeMap::new(), BTreeMap::new());
        for (name, list) in raw {
            match check((name, list)) {
                Ok(networks) => drop(of.insert(name.as_str(), networks)),
                Err(mistake) => drop(rejected.insert(name.as_str(), mistake)),
            }
        }
        Self {
            source,
            raw,
            of,
            rejected,
            used: RefCell::default(),
            sets: RefCell::default(),
        }
    }

    /// Checks the `from` with the dotted path `key`. Returns its networks, each once.
    pub(super) fn from(&self, key: &str, raw: &Spanned<List>) -> Checked<Arc<NetworkSet>> {
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
            if let Some(rejected) = self.rejected.get(text) {
                return Err(*rejected);
            }
            let is_name =
                text.starts_with(|char: char| char.is_ascii_alphabetic()) && !text.contains(':');
            if is_name {
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
        if let Some(set) = self.sets.borrow().get(&networks[..]) {
            return Ok(Arc::clone(set));
        }
        let networks: Arc<[IpNet]> = networks.into();
        let set = Arc::new(NetworkSet::new(Arc::clone(&networks)));
        self.sets.borrow_mut().insert(networks, Arc::clone(&set));
        Ok(set)
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
