//! Compares small generated policies request by request, and checks that the sentences say the same.

use std::collections::BTreeSet;
use std::net::IpAddr;

use http::Method;
use ipnet::IpNet;

use crate::auth::{Mode, Policy, PrincipalRef, Realms};
use crate::comparison::{Item, Limits, STEPS, compare};
use crate::config::{Config, Route};
use crate::routing::input::MatchInput;
use crate::routing::route::{RouteTable, Unrouted};
use crate::routing::target::Target;

const HOSTS: [&str; 7] = [
    "'a.example'",
    "'*.example'",
    "'**.example'",
    "['*.a.example', 'example']",
    "['b.example', 'a.example']",
    "'**.a.example'",
    "['d.c.a.example', '*.c.example']",
];
const PATHS: [&str; 16] = [
    "'/'",
    "'/a'",
    "'=/a'",
    "'/a/b'",
    "'/*/b'",
    "'=/a/*'",
    "'/*'",
    "['/c', '/a/b']",
    "'=/'",
    "'/a/*/c'",
    "'/a.json'",
    "'/A'",
    "'/A/b.json'",
    "'/*/*'",
    "'=/a/b'",
    "['/a/b/c', '=/c']",
];
const ALLOWED: [&str; 9] = [
    "allow = 'anyone'",
    "allow = 'authenticated'",
    "allow = [{ realm = 'r' }]",
    "allow = [{ realm = 'r', name = 'x' }]",
    "allow = [{ realm = 'r', name = 'x*' }]",
    "allow = [{ realm = 'r' }, { realm = 's' }]",
    "allow = [{ realm = 'r' }]\nexcept = [{ realm = 'r', name = 'x*' }]",
    "allow = 'authenticated'\nexcept = [{ realm = 'r', name = 'xy' }]",
    "allow = [{ realm = 'r' }]\nexcept = [{ realm = 'r', name = 'x' }]",
];
/// What routes do with requests. The last but one does what the first one does.
const EFFECTS: [&str; 6] = [
    "upstream = 'web'",
    "upstream = 'other'",
    "upstream = 'web'\nchallenge = 'none'",
    "upstream = 'web'\nerrors = 'json'\nupstream_host = 'x'",
    "upstream = 'same'",
    "upstream = 'named'",
];
const UPSTREAMS: &str = "[upstream.web]\npeers = ['127.0.0.1:9000', '127.0.0.1:9001']\n\
                         [upstream.same]\npeers = ['127.0.0.1:9001', '127.0.0.1:9000']\n\
                         [upstream.other]\npeers = ['127.0.0.1:9002']\n\
                         [upstream.named]\npeers = ['127.0.0.1:9000', '127.0.0.1:9001']\n\
                         identity_headers = { user = 'X-Who' }\n";
const NETWORKS: [&str; 4] = [
    "'10.0.0.0/8'",
    "'10.1.0.0/16', '192.0.2.1'",
    "'127.0.0.0/8'",
    "'2001:db8::/32', '10.2.0.0/16'",
];

const TO_HOSTS: [&str; 10] = [
    "a.example",
    "b.example",
    "example",
    "c.example",
    "c.a.example",
    "d.c.a.example",
    "e.c.a.example",
    "d.c.example",
    "e.d.c.example",
    "elsewhere",
];
const TO_PATHS: [&str; 44] = [
    "/",
    "/a",
    "/A",
    "/a.json",
    "/A.json",
    "/a.JSON",
    "/a.xml",
    "/A.xml",
    "/a.json.gz",
    "/a/b",
    "/a/B",
    "/A/b",
    "/A/B",
    "/a/b.json",
    "/a/b.xml",
    "/A/b.json",
    "/A/b.xml",
    "/a/b/c",
    "/a/b/C",
    "/a/b/c.json",
    "/a/b/c/d",
    "/a/d",
    "/a/d/c",
    "/a/d/C",
    "/a/d/e",
    "/a.json/b",
    "/a.xml/b",
    "/a.xml/d",
    "/b",
    "/b/b",
    "/b/d",
    "/c",
    "/C",
    "/c.json",
    "/C.json",
    "/c/b",
    "/c/b/d",
    "/c/d",
    "/d/b",
    "/d/B",
    "/d/b.json",
    "/d/e/f",
    "/a.json/b/c",
    "/a/b.json/c",
];
/// Paths with slashes that only some routes accept. They are compared by their openings only.
const SLASHED: [&str; 5] = ["/a//b", "/a//d", "/a%2fd", "/d//e", "/a/b//d%2fe"];
const CLIENTS: [Option<&str>; 8] = [
    None,
    Some("10.1.0.1"),
    Some("10.2.0.1"),
    Some("192.0.2.1"),
    Some("198.51.100.1"),
    // A front proxy, whose address is never that of a client.
    Some("127.0.0.1"),
    Some("127.0.0.9"),
    Some("2001:db8::1"),
];
const CALLERS: [Option<(&str, &str)>; 6] = [
    None,
    Some(("x", "r")),
    Some(("xy", "r")),
    Some(("z", "r")),
    Some(("x", "s")),
    Some(("x", "t")),
];

struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (self.0 >> 33) as usize % sides
    }

    /// Returns the lines of a route.
    fn route(&mut self) -> String {
        let mut lines = ALLOWED[self.roll(ALLOWED.len())].to_owned();
        let mut add = |line: String| lines.push_str(&format!("\n{line}"));
        if self.roll(2) == 0 {
            add(format!("host = {}", HOSTS[self.roll(HOSTS.len())]));
        }
        if self.roll(5) > 0 {
            add(format!("path = {}", PATHS[self.roll(PATHS.len())]));
        }
        match self.roll(4) {
            0 => add("methods = ['GET']".to_owned()),
            1 => add("methods = ['POST', 'PUT']".to_owned()),
            _ => {}
        }
        if self.roll(4) == 0 {
            add(format!("from = [{}]", NETWORKS[self.roll(NETWORKS.len())]));
        }
        for key in ["ignore_case", "ignore_suffix"] {
            if self.roll(4) == 0 {
                add(format!("{key} = true"));
            }
        }
        for key in ["allow_double_slash", "allow_encoded_slash"] {
            if self.roll(8) == 0 {
                add(format!("{key} = true"));
            }
        }
        if self.roll(8) == 0 {
            add("mode = 'observe'".to_owned());
        }
        let effect = match self.roll(3) {
            0 => self.roll(EFFECTS.len()),
            _ => 0,
        };
        lines.push_str(&format!("\n{}", EFFECTS[effect]));
        lines
    }

    /// Returns a route with another effect, or the same.
    fn other_effect(&mut self, route: &str) -> String {
        let (rest, _) = route.split_once("\nupstream = ").unwrap();
        format!("{rest}\n{}", EFFECTS[self.roll(EFFECTS.len())])
    }

    /// Returns routes, and a few changes to them.
    fn change(&mut self) -> [Vec<String>; 2] {
        let old: Vec<_> = (0..self.roll(6)).map(|_| self.route()).collect();
        let mut new = old.clone();
        for _ in 0..=self.roll(3) {
            let at = self.roll(new.len() + 1);
            match self.roll(6) {
                0 => new.insert(at, self.route()),
                4 if at < new.len() => new[at] = self.other_effect(&new[at]),
                1 if at < new.len() => drop(new.remove(at)),
                2 if at < new.len() => new.swap(at, 0),
                3 if new.len() > 1 => new.rotate_left(1),
                _ if at < new.len() => new[at] = self.route(),
                _ => {}
            }
        }
        [old, new]
    }
}

/// Returns the configuration, unless two routes have the same criteria, which is an error.
fn config(routes: &[String]) -> Option<Config> {
    let route = |(at, lines): (usize, &String)| format!("[[route]]\nname = 'r{at}'\n{lines}\n");
    let routes: String = routes.iter().enumerate().map(route).collect();
    let text = format!("{routes}{UPSTREAMS}");
    Config::parse(&text, "realmgate.toml", []).ok()
}

/// Returns who may pass, and the effect of the route.
fn decided<'a>(
    (config, effects): &'a (Config, Vec<String>),
    table: &RouteTable,
    input: &mut MatchInput<'_>,
    client: Option<IpAddr>,
) -> (Option<&'a Policy>, Option<&'a str>) {
    input.client = client.filter(|client| config.may_be_client(*client));
    match table.resolve(input) {
        Ok(found) => {
            let policy = match config.routes[found.place].mode {
                Mode::Enforce => &config.routes[found.place].policy,
                Mode::Observe => &Policy::Anyone,
            };
            (Some(policy), Some(&effects[found.place]))
        }
        Err(Unrouted::None) if config.routes.is_empty() => (Some(&Policy::Authenticated), None),
        Err(_) => (None, None),
    }
}

/// Returns a text for what each route does besides permitting.
fn effects(config: &Config) -> Vec<String> {
    let of_route = |route: &Route| {
        let upstream = &config.upstreams[route.upstream.unwrap()];
        let peers = upstream.peers.iter().map(|it| it.address.to_string());
        let peers: BTreeSet<_> = peers.collect();
        let (names, denials) = (&upstream.identity_headers, &route.denials);
        format!("{peers:?} {names:?} {denials:?} {:?}", route.rewrite)
    };
    config.routes.iter().map(of_route).collect()
}

fn admits(policy: Option<&Policy>, caller: Option<(&str, &str)>) -> bool {
    policy.is_some_and(|policy| match caller {
        None => *policy == Policy::Anyone,
        Some((name, realm)) => {
            let who = PrincipalRef::new(name, realm, 128).unwrap();
            policy.admits(who, &Realms::default())
        }
    })
}

/// Returns how narrow a host of a sentence is, if it contains `host`.
fn width(text: &str, host: &str) -> Option<usize> {
    if text == "any host" {
        return Some(0);
    }
    let more = |domain: &str| {
        let more = host.strip_suffix(domain)?.strip_suffix('.')?;
        Some(more.split('.').count())
    };
    let (domain, labels, rank) = if let Some(domain) = text.strip_prefix("**.*.") {
        (domain, 2..=usize::MAX, 2)
    } else if let Some(domain) = text.strip_prefix("**.") {
        (domain, 1..=usize::MAX, 1)
    } else if let Some(domain) = text.strip_prefix("*.") {
        (domain, 1..=1, 2)
    } else {
        return (text == host).then_some(1000);
    };
    labels
        .contains(&more(domain)?)
        .then(|| domain.len() * 4 + rank)
}

fn has_host(item: &Item, host: &str) -> bool {
    let widest = |texts: &[String]| texts.iter().filter_map(|text| width(text, host)).max();
    widest(&item.hosts) > widest(&item.except_hosts)
}

/// Returns whether a path of a sentence contains `path`.
fn contains(text: &str, path: &str) -> bool {
    let (text, is_exact) = match text.strip_prefix('=') {
        Some(text) => (text, true),
        None => (text, false),
    };
    let segments = |text: &str| -> Vec<String> {
        let segments = text.split('/').skip(1).map(str::to_owned);
        segments.filter(|segment| !segment.is_empty()).collect()
    };
    let (ours, theirs) = (segments(text), segments(path));
    let fits = |our: &String, their: &String| {
        let (mut our, mut any_case) = (our.as_str(), false);
        for mark in [" (any case)", " (other cases)"] {
            if let Some(name) = our.strip_suffix(mark) {
                (our, any_case) = (name, true);
            }
        }
        let (our, their) = match any_case {
            true => (our.to_ascii_lowercase(), their.to_ascii_lowercase()),
            false => (our.to_owned(), their.clone()),
        };
        match our.strip_suffix(".*") {
            Some(name) => their
                .strip_prefix(name)
                .is_some_and(|it| it.starts_with('.')),
            None => our == "*" || our == their,
        }
    };
    let is_long_enough = match is_exact {
        true => ours.len() == theirs.len(),
        false => ours.len() <= theirs.len(),
    };
    let mut both = ours.iter().zip(&theirs);
    is_long_enough && both.all(|(our, their)| fits(our, their))
}

fn has_path(item: &Item, path: &str) -> bool {
    let has = |paths: &[String]| paths.iter().any(|it| contains(it, path));
    has(&item.paths) && !has(&item.except_paths)
}

fn has_method(item: &Item, method: &Method) -> bool {
    let is_it = |text: &String| *text == *method.as_str();
    item.methods
        .as_ref()
        .is_none_or(|these| these.iter().any(is_it))
        && !item.except_methods.iter().any(is_it)
}

fn has_client(item: &Item, client: Option<IpAddr>) -> bool {
    match (&item.from, client) {
        (None, _) => true,
        (Some(_), None) => item.unknown_address,
        (Some(networks), Some(client)) => networks.iter().any(|network| {
            let network: IpNet = network.parse().unwrap();
            network.contains(&client)
        }),
    }
}

fn has_caller(item: &Item, caller: Option<(&str, &str)>) -> bool {
    item.who.iter().any(|text| {
        let (base, except) = text.split_once(" except ").unwrap_or((text, ""));
        let Some((name, realm)) = caller else {
            return matches!(base, "anyone" | "callers without a credential");
        };
        let fits = |rule: &str| match (rule.strip_prefix("realm "), rule.split_once('@')) {
            (Some(of), _) => of == realm,
            (None, Some((of, in_realm))) => {
                let has_name = match of.strip_suffix('*') {
                    Some(start) => name.starts_with(start),
                    None => name == of,
                };
                in_realm == realm && has_name
            }
            (None, None) => false,
        };
        let is_of_base = match base {
            "anyone" | "every authenticated principal" => true,
            rule => fits(rule),
        };
        is_of_base && !except.split(", ").any(fits)
    })
}

/// Returns whether the spelling of the paths of a sentence depends on other routes.
fn is_vague(item: &Item) -> bool {
    item.sentence.contains(" (other cases)")
}

#[test]
fn sentences_say_the_same_as_brute_force() {
    let mut dice = Dice(7);
    let (mut pairs, mut requests, mut differing, mut same) = (0, 0_usize, 0_usize, 0);
    let mut elsewhere = 0_usize;
    let limits = Limits {
        steps: STEPS,
        items: usize::MAX,
    };
    while pairs < 150 {
        let [old, new] = dice.change();
        let (Some(old), Some(new)) = (config(&old), config(&new)) else {
            continue;
        };
        pairs += 1;
        let found = compare(&old, &new, limits).unwrap();
        let tables = [&old, &new].map(|config| RouteTable::new(&config.routes));
        let [old, new] = [old, new].map(|config| {
            let effects = effects(&config);
            (config, effects)
        });
        let mut is_different = false;
        for host in TO_HOSTS {
            for path in TO_PATHS.into_iter().chain(SLASHED) {
                let is_slashed = SLASHED.contains(&path);
                let read = path.replace("%2f", "/");
                let of_place = |items: &[Item]| -> Vec<Item> {
                    let items = items.iter().filter(|item| {
                        let has = |text| item.sentence.contains(text);
                        let is_slash = has(" with //") || has(" with %2f");
                        has_host(item, host) && has_path(item, &read) && (is_slashed || !is_slash)
                    });
                    items.cloned().collect()
                };
                let here = [of_place(&found.opens), of_place(&found.closes)];
                let changed = of_place(&found.changes);
                for method in [Method::GET, Method::POST, Method::DELETE] {
                    let mut input = MatchInput {
                        host: Some(host),
                        method: method.clone(),
                        target: Target::read(path.as_bytes()).unwrap(),
                        client: None,
                    };
                    for client in CLIENTS {
                        let client: Option<IpAddr> = client.map(|client| client.parse().unwrap());
                        let (before, effect) = decided(&old, &tables[0], &mut input, client);
                        let (now, new_effect) = decided(&new, &tables[1], &mut input, client);
                        requests += CALLERS.len();
                        let is_changed = effect.zip(new_effect).is_some_and(|(a, b)| a != b);
                        elsewhere += usize::from(is_changed);
                        is_different |= is_changed;
                        let item = changed
                            .iter()
                            .find(|item| has_method(item, &method) && has_client(item, client));
                        let is_meant = item.is_some_and(|it| !is_vague(it) && !is_slashed);
                        assert!(
                            if is_changed {
                                item.is_some()
                            } else {
                                !is_meant
                            },
                            "{host}{path} {method} {client:?}: {effect:?} then {new_effect:?}\n{:#?}\n{:#?}\n{found:#?}",
                            old.0.routes,
                            new.0.routes,
                        );
                        if before == now && here.iter().all(Vec::is_empty) {
                            continue;
                        }
                        for caller in CALLERS {
                            let is_said = here.each_ref().map(|items| {
                                items.iter().find(|item| {
                                    has_method(item, &method)
                                        && has_client(item, client)
                                        && has_caller(item, caller)
                                })
                            });
                            let (before, now) = (admits(before, caller), admits(now, caller));
                            let report = || {
                                format!(
                                    "{host}{path} {method} {client:?} {caller:?}: {before} then {now}\n{:#?}\n{:#?}\n{found:#?}",
                                    old.0.routes, new.0.routes
                                )
                            };
                            differing += usize::from(before != now);
                            is_different |= before != now;
                            let [opened, closed] = is_said;
                            if !before && now {
                                assert!(opened.is_some(), "{}", report());
                            }
                            if is_slashed {
                                continue;
                            }
                            if before && !now {
                                assert!(closed.is_some(), "{}", report());
                            }
                            // Everyone is named where a route opens to anyone.
                            if let Some(item) = opened.filter(|item| !is_vague(item)) {
                                assert!(now, "{item:#?}\n{}", report());
                                let is_anyone = item.who.iter().any(|who| who == "anyone");
                                assert!(is_anyone || !before, "{item:#?}\n{}", report());
                            }
                            if let Some(item) = closed.filter(|item| !is_vague(item)) {
                                assert!(before && !now, "{item:#?}\n{}", report());
                            }
                        }
                    }
                }
            }
        }
        same += usize::from(!is_different);
    }
    println!(
        "{pairs} changes of policies, {requests} requests, {differing} of them decided differently; the route of {elsewhere} \
         requests, whoever the caller is, does something else; {same} changes without a difference in them"
    );
    assert!(differing > 20_000 && elsewhere > 5_000 && same > 5);
}
