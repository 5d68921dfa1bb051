mod brute_force;

use super::{CompareError, Comparison, Counts, Limits, STEPS, compare};
use crate::config::Config;

const ALL: Limits = Limits {
    steps: STEPS,
    items: usize::MAX,
};

fn config(routes: &str) -> Config {
    let upstream = "[upstream.web]\npeers = ['127.0.0.1:9000']\n";
    let text = format!("{routes}\n{upstream}");
    Config::parse(&text, "realmgate.toml", []).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

fn route(name: &str, lines: &str) -> String {
    format!("[[route]]\nname = '{name}'\nupstream = 'web'\n{lines}\n")
}

fn compared(old: &str, new: &str) -> Comparison {
    compare(&config(old), &config(new), ALL).unwrap()
}

fn sentences(old: &str, new: &str) -> Vec<String> {
    let compared = compared(old, new);
    compared.items().map(ToString::to_string).collect()
}

const OPS: &str = "allow = [{ realm = 'ops' }]";

#[test]
fn change_without_effect_has_no_difference() {
    let a = route("a", &format!("path = '/a'\n{OPS}"));
    let b = route("b", "path = '/b'\nallow = 'anyone'");
    let both = a.clone() + &b;
    for other in [
        // In another order.
        b.clone() + &a,
        // Under another name.
        both.replace("'a'", "'z'"),
        // Split, with a route that never matches.
        route("a1", &format!("path = '/a/x'\n{OPS}"))
            + &route("a2", &format!("path = '/a'\n{OPS}"))
            + &b
            + &route("a3", "path = '/a/y'\nallow = 'anyone'"),
        // With keys that say what applies by default.
        both.replace(
            "path = '/b'",
            "path = '/b'\nchallenge = 'realmgate'\nerrors = 'text'\nbody_bytes = 7",
        ),
        // With another name of the upstream.
        both.replace("'web'", "'other'")
            + "[upstream.other]\npeers = ['127.0.0.1:9000']\nread_timeout = '7s'\n",
        // With a group.
        format!(
            "[group.g]\nmembers = [{{ realm = 'ops' }}]\n{}",
            both.replace("{ realm = 'ops' }", "{ group = 'g' }")
        ),
        // With a rule within another.
        both.replace(
            "{ realm = 'ops' }",
            "{ realm = 'ops' }, { realm = 'ops', name = 'x*' }",
        ),
        // With a network in two parts.
        route("b1", "path = '/b'\nfrom = ['0.0.0.0/1']\nallow = 'anyone'") + &both,
    ] {
        assert_eq!(sentences(&both, &other), [""; 0], "{other}");
        assert_eq!(sentences(&other, &both), [""; 0], "{other}");
    }
}

#[test]
fn what_is_opened_to_anyone_comes_first() {
    let old = route("all", "allow = 'authenticated'");
    let new = route(
        "x",
        "path = '/x'\nhost = 'a.example'\nallow = [{ realm = 'ops', name = 'a' }]",
    ) + &route(
        "health",
        "path = '=/health'\nmethods = ['GET']\nallow = 'anyone'",
    ) + &old;
    assert_eq!(
        sentences(&old, &new),
        [
            "opens =/health on any host to anyone with GET, HEAD: before route \"all\" for every authenticated principal, \
             now route \"health\" for anyone",
            "closes /x on a.example for every authenticated principal except a@ops: before route \"all\" for every \
             authenticated principal, now route \"x\" for a@ops",
        ]
    );
    let open = route("a", "allow = 'anyone'");
    assert_eq!(
        sentences(&route("a", OPS), &open),
        [
            "opens / on any host to anyone: before route \"a\" for realm ops, now route \"a\" for anyone"
        ]
    );
    assert_eq!(
        sentences(&open, &route("a", OPS)),
        [
            "closes / on any host for anyone except realm ops: before route \"a\" for anyone, now route \"a\" for realm ops"
        ]
    );
    assert_eq!(
        sentences(&open, &route("a", "allow = 'authenticated'")),
        [
            "closes / on any host for callers without a credential: before route \"a\" for anyone, now route \"a\" for \
             every authenticated principal"
        ]
    );
}

#[test]
fn hosts_and_paths_with_routes_of_their_own_are_excepted() {
    let own = route(
        "own",
        &format!("host = ['a.example', '*.b.example']\n{OPS}"),
    ) + &route("admin", &format!("path = '/admin'\n{OPS}"))
        + &route("key", &format!("path = '/users/root/keys'\n{OPS}"));
    let old = own.clone() + &route("users", &format!("path = '/users/*/keys'\n{OPS}"));
    let new = own.clone() + &route("users", "path = '/users/*/keys'\nallow = 'anyone'");
    assert_eq!(
        sentences(&old, &new),
        [
            "opens /users/*/keys except /users/root/keys on any host except *.b.example, a.example to anyone: before route \
             \"users\" for realm ops, now route \"users\" for anyone"
        ]
    );
    let new = own.clone() + &route("all", "allow = 'anyone'");
    assert_eq!(
        sentences(&own, &new),
        [
            "opens / except /admin, /users/root/keys on any host except *.b.example, a.example to anyone: before denied, \
             now route \"all\" for anyone"
        ]
    );
}

#[test]
fn networks_and_unknown_addresses_are_distinguished() {
    let old = route("all", "allow = 'authenticated'");
    let new = route("office", "from = ['10.0.0.0/8']\nallow = 'anyone'") + &old;
    assert_eq!(
        sentences(&old, &new),
        [
            "opens / on any host to anyone from 10.0.0.0/8: before route \"all\" for every authenticated principal, now \
             route \"office\" for anyone"
        ]
    );
    let open = route("all", "allow = 'anyone'");
    let kept = route("office", "from = ['10.0.0.0/8']\nallow = 'anyone'")
        + &route("all", "allow = 'authenticated'");
    assert_eq!(
        sentences(&open, &kept),
        [
            "closes / on any host for callers without a credential from outside 10.0.0.0/8: before route \"all\" for \
             anyone, now route \"all\" for every authenticated principal"
        ]
    );
}

#[test]
fn front_proxy_that_is_trusted_no_more_may_be_a_client() {
    let routes = route("local", "from = ['127.0.0.0/8']\nallow = 'anyone'");
    let old = format!("{routes}[service]\ntrusted_proxies = ['127.0.0.1']\n");
    let new = format!("{routes}[service]\ntrusted_proxies = ['127.0.0.2']\n");
    let found = sentences(&old, &new);
    assert!(
        found[0].contains(" to anyone from 127.0.0.1/32: before denied"),
        "{found:#?}"
    );
    assert!(
        found[1].contains(" for anyone from 127.0.0.2/32: before route"),
        "{found:#?}"
    );
    assert_eq!(found.len(), 2);
}

#[test]
fn route_that_only_observes_is_open_to_anyone() {
    let enforced = route("a", OPS);
    let observed = route("a", &format!("mode = 'observe'\n{OPS}"));
    assert_eq!(
        sentences(&enforced, &observed),
        [
            "opens / on any host to anyone: before route \"a\" for realm ops, now route \"a\" for anyone, since it only \
             observes"
        ]
    );
}

#[test]
fn slashes_that_a_route_accepts_are_opened() {
    let old = route("a", &format!("path = '/a'\n{OPS}"));
    let new = route(
        "a",
        &format!("path = '/a'\nallow_double_slash = true\n{OPS}"),
    );
    assert_eq!(
        sentences(&old, &new),
        ["opens /a with // on any host to realm ops: before denied, now route \"a\" for realm ops"]
    );
}

#[test]
fn last_route_that_goes_opens_forward_auth() {
    assert_eq!(
        sentences(&route("all", OPS), ""),
        [
            "opens / on any host to every authenticated principal except realm ops: before route \"all\" for realm ops, \
             now no routes, so every authenticated principal at forward-auth",
            "opens / with // on any host to every authenticated principal: before denied, now no routes, so every \
             authenticated principal at forward-auth",
            "opens / with %2f on any host to every authenticated principal: before denied, now no routes, so every \
             authenticated principal at forward-auth",
            "opens / with // and %2f on any host to every authenticated principal: before denied, now no routes, so \
             every authenticated principal at forward-auth"
        ]
    );
}

#[test]
fn route_that_does_something_else_with_requests_is_changed() {
    let old = route("a", &format!("path = '/a'\n{OPS}"));
    let others = "[upstream.other]\npeers = ['127.0.0.2:1', '127.0.0.1:1']\n\
                  [upstream.tls]\npeers = ['127.0.0.1:9000']\ntls = true\nserver_name = 'app'\n\
                  [upstream.names]\npeers = ['127.0.0.1:9000']\nidentity_headers = { user = 'X-Who' }\n";
    let with = |key: &str| old.replace("path =", &format!("{key}\npath =")) + others;
    let default = "X-Auth-Name (name), X-Auth-Realm (realm), X-Forwarded-User (user)";
    let default = default.to_lowercase();
    for (new, expected) in [
        (
            old.replace("'web'", "'other'") + others,
            "upstream web (127.0.0.1:9000), now other (127.0.0.2:1, 127.0.0.1:1)".to_owned(),
        ),
        (
            old.replace("'web'", "'tls'") + others,
            "upstream web (127.0.0.1:9000), now tls (127.0.0.1:9000; TLS, app)".to_owned(),
        ),
        (
            old.replace("'web'", "'names'") + others,
            format!("identity headers {default}, now x-who (user)"),
        ),
        (
            with("challenge = 'none'\nerrors = 'json'"),
            "challenge realmgate, now none; errors text, now json".to_owned(),
        ),
        (
            with("challenge = 'Acme'"),
            "challenge realmgate, now Acme".to_owned(),
        ),
        (
            with("denial_headers = { set = { X-A = 'secret' } }\nupstream_host = 'b'"),
            "other denial_headers; other upstream_host".to_owned(),
        ),
        (
            with("request_headers = { set = { X-A = 'secret' } }\nstrip_prefix = true"),
            "other request_headers; other strip_prefix".to_owned(),
        ),
    ] {
        assert_eq!(
            sentences(&old, &new),
            [format!("changes /a on any host: route \"a\": {expected}")]
        );
        assert_eq!(sentences(&new, &old).len(), 1);
        assert_eq!(sentences(&new, &new), [""; 0]);
    }
}

#[test]
fn part_of_a_route_that_goes_elsewhere_is_changed_and_not_opened() {
    let old = route("all", "allow = 'anyone'");
    let more = "[upstream.other]\npeers = ['127.0.0.1:1']\n";
    let new = route("x", "path = '/x'\nhost = 'a.example'\nallow = 'anyone'")
        .replace("'web'", "'other'")
        + &old
        + more;
    assert_eq!(
        sentences(&old, &new),
        [
            "changes /x on a.example: before route \"all\", now route \"x\": upstream web (127.0.0.1:9000), now other \
             (127.0.0.1:1)"
        ]
    );
    // Who is let in newly has no upstream before.
    assert!(
        sentences("", &new)
            .iter()
            .all(|it| !it.starts_with("changes"))
    );
}

#[test]
fn most_important_items_are_kept() {
    let old: String = (0..20)
        .map(|at| route(&format!("r{at}"), &format!("path = '/r{at}'\n{OPS}")))
        .collect();
    let new = old.replace(OPS, "allow = 'authenticated'");
    let new = new.replacen("allow = 'authenticated'", "allow = 'anyone'", 1);
    let new = new.replace("upstream = 'web'", "upstream = 'web'\nerrors = 'json'");
    let limits = Limits { items: 3, ..ALL };
    let found = compare(&config(&old), &config(&new), limits).unwrap();
    let lengths = [&found.opens, &found.closes, &found.changes].map(Vec::len);
    assert_eq!(lengths, [3, 0, 3]);
    let first = found.opens[0].to_string();
    assert!(
        first.starts_with("opens /r0 on any host to anyone"),
        "{first}"
    );
    let omitted = Counts {
        opens: 17,
        closes: 0,
        changes: 17,
    };
    assert_eq!(found.omitted, omitted);
    assert_eq!((found.counts().sum(), found.is_empty()), (40, false));
    let none = Limits { items: 0, ..ALL };
    let found = compare(&config(&old), &config(&new), none).unwrap();
    assert_eq!((found.items().count(), found.is_empty()), (0, false));
}

#[test]
fn comparison_that_is_too_large_is_an_error() {
    let a = route("a", OPS);
    let b = route("a", "allow = 'anyone'");
    let within = |steps| Limits { steps, ..ALL };
    let error = compare(&config(&a), &config(&b), within(1)).unwrap_err();
    assert_eq!(error, CompareError::TooMany(1));
    // Each request may match many routes, methods and networks, which count too.
    let many = |allow: &str| -> String {
        let of = |at: usize| {
            let stars = ["/*", "/b"].repeat(4).concat();
            let more = format!("methods = ['M{at}']\nfrom = ['10.{at}.0.0/16']\npath = '{stars}'");
            route(&format!("r{at}"), &format!("{more}\n{allow}"))
        };
        (0..60).map(of).collect()
    };
    let (old, new) = (config(&many(OPS)), config(&many("allow = 'authenticated'")));
    let error = compare(&old, &new, within(100_000)).unwrap_err();
    assert_eq!(error, CompareError::TooMany(100_000));
    let deep = route("a", &format!("path = '{}'\n{OPS}", "/x".repeat(257)));
    let error = compare(&config(&deep), &config(&b), ALL).unwrap_err();
    assert_eq!(error, CompareError::TooDeep);
}

/// Measures a comparison of 50,000 routes. Run it with
/// `cargo test --release --lib comparison::tests::fifty_thousand -- --ignored --nocapture`.
#[test]
#[ignore = "measures; takes long without optimization"]
fn fifty_thousand_routes_are_compared_in_less_than_ten_seconds() {
    let routes = |realm: &dyn Fn(usize) -> &'static str| -> String {
        let routes = (0..50_000).map(|at| {
            let lines = format!(
                "host = 'h{}.example.org'\npath = '/service-{}/v1'\nallow = [{{ realm = '{}' }}]",
                at / 10,
                at % 10,
                realm(at)
            );
            route(&format!("r{at}"), &lines)
        });
        routes.collect()
    };
    let old = config(&routes(&|_| "ops"));
    for (what, new, expected) in [
        (
            "one route",
            routes(&|at| if at == 25_000 { "dev" } else { "ops" }),
            1,
        ),
        ("all routes", routes(&|_| "dev"), 50_000),
    ] {
        let new = config(&new);
        let begin = std::time::Instant::now();
        let found = compare(&old, &new, ALL).unwrap();
        let took = begin.elapsed();
        println!("{what} of 50,000 changed: {took:?}");
        assert_eq!(
            (found.opens.len(), found.closes.len()),
            (expected, expected)
        );
        assert!(took.as_secs() < 10, "{took:?}");
    }
}
