//! Compares what routes do besides permitting: where requests go, and which headers and responses
//! applications and clients get.

use std::collections::HashMap;

use crate::config::{Config, Route, Upstream};

/// The index of an effect. Routes that do the same have the same index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct EffectId(usize);

/// All that a route does besides permitting.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Effect {
    /// The index of its servers; `None` without a proxy.
    servers: Option<usize>,
    identity: String,
    challenge: String,
    errors: &'static str,
    /// The keys that change requests or responses, with a text for comparison. It may have secrets.
    others: Vec<(&'static str, String)>,
}

/// The effects of the routes of both configurations.
#[derive(Debug, Default)]
pub(super) struct Effects {
    effects: Vec<Effect>,
    ids: HashMap<Effect, EffectId>,
    /// The descriptions of servers, and their indexes. An upstream that only has another name has
    /// the same servers.
    descriptions: Vec<String>,
    servers: HashMap<String, usize>,
}

/// The maximum number of addresses in a description.
const SHOWN: usize = 8;

impl Effects {
    /// Returns the effect of each route of a configuration.
    pub(super) fn of_routes(&mut self, config: &Config) -> Vec<EffectId> {
        // Without a proxy, upstreams get no requests.
        let has_proxy = config.gateway.listen.is_some();
        let upstreams = config.upstreams.iter().map(|upstream| {
            let servers = has_proxy.then(|| self.servers(upstream));
            (servers, identity(config, Some(upstream)))
        });
        let upstreams: Vec<_> = upstreams.collect();
        let no_upstream = (None, identity(config, None));
        let mut effects = Vec::with_capacity(config.routes.len());
        for route in &config.routes {
            let upstream = route.upstream.and_then(|at| upstreams.get(at));
            let (servers, identity) = upstream.unwrap_or(&no_upstream).clone();
            let denials = route.denials.as_deref().cloned().unwrap_or_default();
            let effect = Effect {
                servers,
                identity,
                challenge: denials.challenge.realm().to_owned(),
                errors: denials.errors(),
                others: others(route),
            };
            let next = EffectId(self.effects.len());
            let id = *self.ids.entry(effect.clone()).or_insert(next);
            if id == next {
                self.effects.push(effect);
            }
            effects.push(id);
        }
        effects
    }

    fn servers(&mut self, upstream: &Upstream) -> usize {
        let mut peers: Vec<_> = upstream
            .peers
            .iter()
            .map(|it| it.address.to_string())
            .collect();
        let shown = peers.iter().take(SHOWN).map(String::as_str);
        let mut text = shown.collect::<Vec<_>>().join(", ");
        if let Some(more) = peers.len().checked_sub(SHOWN).filter(|more| *more > 0) {
            text.push_str(&format!(" and {more} more"));
        }
        if let Some(tls) = &upstream.tls {
            text.push_str(&format!("; TLS, {}", tls.server_name));
        }
        peers.sort_unstable();
        let name = upstream.tls.as_ref().map(|tls| &tls.server_name);
        let next = self.descriptions.len();
        let key = format!("{peers:?} {name:?}");
        let index = *self.servers.entry(key).or_insert(next);
        if index == next {
            self.descriptions
                .push(format!("{} ({text})", upstream.name));
        }
        index
    }

    /// Describes how two effects differ, the most important first.
    pub(super) fn differences(&self, ids: [EffectId; 2]) -> Vec<String> {
        let [Some(old), Some(new)] = ids.map(|id| self.effects.get(id.0)) else {
            return Vec::new();
        };
        let mut texts = Vec::new();
        if old.servers != new.servers {
            let text = |servers: Option<usize>| {
                let text = servers.and_then(|at| self.descriptions.get(at));
                text.map_or("none", String::as_str)
            };
            let (old, new) = (text(old.servers), text(new.servers));
            match old == new {
                true => texts.push(format!("upstream {new}, with other peers")),
                false => texts.push(format!("upstream {old}, now {new}")),
            }
        }
        let mut add = |what: &str, old: &str, new: &str| {
            if old != new {
                texts.push(format!("{what} {old}, now {new}"));
            }
        };
        add("identity headers", &old.identity, &new.identity);
        add("challenge", &old.challenge, &new.challenge);
        add("errors", old.errors, new.errors);
        let pairs = [(&old.others, &new.others), (&new.others, &old.others)];
        let mut keys: Vec<_> = pairs
            .into_iter()
            .flat_map(|(one, other)| one.iter().filter(|it| !other.contains(it)))
            .map(|(key, _)| *key)
            .collect();
        keys.sort_unstable();
        keys.dedup();
        // A value may be a secret of the upstream.
        texts.extend(keys.into_iter().map(|key| format!("other {key}")));
        texts
    }

    /// Returns how important the difference is: 0 if requests go to other servers, 1 if the caller is
    /// named in other headers, 2 for the rest.
    pub(super) fn rank(&self, ids: [EffectId; 2]) -> u8 {
        let [Some(old), Some(new)] = ids.map(|id| self.effects.get(id.0)) else {
            return 2;
        };
        match (old.servers == new.servers, old.identity == new.identity) {
            (false, _) => 0,
            (true, false) => 1,
            (true, true) => 2,
        }
    }
}

/// Describes the headers that name the caller to an upstream.
fn identity(config: &Config, upstream: Option<&Upstream>) -> String {
    let names = config.identity_headers(upstream);
    let parts = [
        ("name", names.name),
        ("realm", names.realm),
        ("user", names.user),
    ];
    let parts = parts.iter().filter_map(|(part, header)| {
        let header = header.as_ref()?;
        Some(format!("{header} ({part})"))
    });
    parts.collect::<Vec<_>>().join(", ")
}

/// Returns the other keys that are not at their defaults.
fn others(route: &Route) -> Vec<(&'static str, String)> {
    let mut others = Vec::new();
    let mut add = |key, is_set: bool, value: &dyn std::fmt::Debug| {
        if is_set {
            others.push((key, format!("{value:?}")));
        }
    };
    let rewrite = &route.rewrite;
    if let Some(denials) = &route.denials {
        let headers = &denials.headers;
        add("denial_headers", !headers.is_empty(), headers);
    }
    add("upstream_host", rewrite.host.is_some(), &rewrite.host);
    add("strip_prefix", rewrite.prefix.is_some(), &rewrite.prefix);
    add(
        "pass_headers or alias_headers",
        !rewrite.passing.is_empty(),
        &rewrite.passing,
    );
    add("shared_cache", rewrite.shared_cache, &true);
    for (key, rules) in [
        ("request_headers", &rewrite.request_headers),
        ("response_headers", &rewrite.response_headers),
    ] {
        let is_set = !rules.set.is_empty() || !rules.remove.is_empty();
        add(key, is_set, rules);
    }
    others
}
