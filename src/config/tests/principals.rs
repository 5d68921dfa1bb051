use super::*;
use crate::auth::{Policy, PrincipalRef, Realms};

const GROUPS: &str = "[group.callers]\nmembers = [{ realm = 'payments' }, { group = 'batch' }]\n\
                      [group.batch]\nmembers = [{ realm = 'ops', name = 'batch-*' }]\n";

fn policy(lines: &str) -> Policy {
    let text = format!("{GROUPS}{}", with_route(lines));
    parse(&text).routes.remove(0).policy
}

fn admits(policy: &Policy, who: &str) -> bool {
    let (name, realm) = who.split_once('@').unwrap();
    let who = PrincipalRef::new(name, realm, 128).unwrap();
    policy.admits(who, &Realms::default())
}

#[test]
fn groups_and_exceptions_are_read() {
    let policy = policy(
        "allow = [{ group = 'callers' }, { realm = 'dev', name = 'a' }]\n\
         except = [{ realm = 'ops', name = 'batch-7' }, { realm = 'payments', name = 'x*' }]",
    );
    for (who, expected) in [
        ("shop@payments", true),
        ("x@payments", false),
        ("xy@payments", false),
        ("batch-1@ops", true),
        ("batch-7@ops", false),
        ("batch-70@ops", true),
        ("batch@ops", false),
        ("a@dev", true),
        ("b@dev", false),
    ] {
        assert_eq!(admits(&policy, who), expected, "{who}");
    }
}

#[test]
fn exceptions_apply_to_every_authenticated_principal() {
    let policy = policy("allow = 'authenticated'\nexcept = [{ group = 'batch' }]");
    assert!(admits(&policy, "a@dev"));
    assert!(!admits(&policy, "batch-1@ops"));
}

#[test]
fn bad_principals_are_rejected() {
    let end = "expected a name, or the beginning of names with one \"*\" at its end";
    for name in ["a*b", "*a", "a**", "**"] {
        assert_route_errors(&[(
            &format!("allow = [{{ realm = 'ops', name = '{name}' }}]"),
            &format!("2: route[0].allow[0].name = '{name}': {end}"),
        )]);
    }
    let list = "expected at least one { realm = \"…\", name = \"…\" }, the name optional, or { group = \"…\" }";
    assert_route_errors(&[
        (
            "allow = [{ realm = 'ops', name = '*' }]",
            "2: route[0].allow[0].name = '*': expected the beginning of names before \"*\"; leave the key out to match every name",
        ),
        (
            "allow = [{ realm = 'op*' }]",
            "2: route[0].allow[0].realm = 'op*': expected a whole realm; only names may end with \"*\"",
        ),
        (
            "allow = [{ realm = 'ungleich-admin', name = 'a*' }]",
            "2: route[0].allow[0].name = 'a*': expected a whole name, since the realm is reserved",
        ),
        (
            "allow = [{ group = 'callers' }]",
            "2: route[0].allow[0].group = 'callers': expected a defined group (none is defined)",
        ),
        (
            "allow = [{ group = 'callers', realm = 'a' }]",
            "2: route[0].allow[0].group = 'callers': expected a group alone, without realm and name",
        ),
        ("except = []", &format!("2: route[0].except = []: {list}")),
        (
            "allow = 'anyone'\nexcept = [{ realm = 'ops' }]",
            "3: route[0].except = [{ realm = 'ops' }]: expected no exceptions beside allow = \"anyone\", which authenticates nobody",
        ),
    ]);
    let with_groups = |groups: &str| error(&format!("{groups}\n{}", with_route("")));
    for (groups, expected) in [
        (
            "[group.a]\nmembers = [{ group = 'a' }]",
            "2: group.a.members[0].group = 'a': expected a group that does not contain \"a\" itself",
        ),
        (
            "[group.a]\nmembers = [{ group = 'b' }]\n[group.b]\nmembers = [{ group = 'a' }]",
            "4: group.b.members[0].group = 'a': expected a group that does not contain \"b\" itself",
        ),
        (
            "[group.a]\nmembers = [{ group = 'b' }]",
            "2: group.a.members[0].group = 'b': expected a defined group (defined: a)",
        ),
        (
            "[group.a]\nmembers = []",
            &format!("2: group.a.members = []: {list}"),
        ),
        ("[group.a]", &format!("1: group.a.members: missing, {list}")),
        (
            "[group.a]\nmembers = [{ realm = 'ungleich-auth', name = 'a*' }]",
            "2: group.a.members[0].name = 'a*': expected a whole name, since the realm is reserved",
        ),
    ] {
        let message = with_groups(groups);
        let first = message.lines().next().unwrap();
        assert_eq!(first, format!("realmgate.toml:{expected}"), "{message}");
        assert_eq!(message.lines().count(), 1, "{message}");
    }
    // With other names, other realms are reserved.
    let text = format!(
        "[realms]\nadmin = 'root'\n{}",
        with_route("allow = [{ realm = 'root', name = 'a*' }]")
    );
    assert!(error(&text).ends_with("since the realm is reserved"));
}

fn members(count: usize, first: usize) -> String {
    let members = (first..first + count).map(|n| format!("{{ realm = 'ops', name = 'a{n}' }}"));
    members.collect::<Vec<_>>().join(", ")
}

#[test]
fn list_of_a_route_is_bounded_with_the_members_of_its_groups() {
    let groups = |allow: &str, count: usize| {
        format!(
            "[group.a]\nmembers = [{}]\n[group.b]\nmembers = [{}, {}]\n{}",
            members(6000, 0),
            members(4000, 6000),
            members(count, 0),
            with_route(allow)
        )
    };
    for key in ["allow", "except"] {
        let list = format!("{key} = [{{ group = 'a' }}, {{ group = 'b' }}]");
        // A member of both groups counts once.
        parse(&groups(&list, 1000));
        let message = error(&groups(&format!("{list}\nmethods = ['GET']"), 1).replace(
            "[group.b]\nmembers = [",
            "[group.b]\nmembers = [{ realm = 'dev' }, ",
        ));
        let expected = format!("6: route[0].{key} = 10001 members: expected at most 10000");
        assert_eq!(message, format!("realmgate.toml:{expected}"));
    }
    let message = error(&with_route(&format!("allow = [{}]", members(10_001, 0))));
    assert_eq!(
        message,
        "realmgate.toml:2: route[0].allow = 10001 members: expected at most 10000"
    );
}

#[test]
fn routes_with_the_same_principals_and_networks_share_them() {
    let group = format!("[group.a]\nmembers = [{}]\n", members(3, 0));
    let route = |name: &str, path: &str| {
        with_route(&format!(
            "name = '{name}'\npath = '{path}'\nallow = [{{ group = 'a' }}, {{ realm = 'dev' }}]\nfrom = ['10.0.0.0/8', '::1']"
        ))
    };
    let (one, other) = (route("one", "/a"), route("other", "/b"));
    let (upstream, _) = one.split_at(one.find("[upstream").unwrap_or(one.len()));
    let text = format!("{group}{upstream}{other}");
    let routes = parse(&text).routes;
    let [one, other] = &routes[..] else {
        panic!("{routes:?}")
    };
    let (Policy::Allow(ones), Policy::Allow(others)) = (&one.policy, &other.policy) else {
        panic!("{routes:?}")
    };
    assert!(std::sync::Arc::ptr_eq(ones, others));
    let from = |route: &Route| route.from.clone().unwrap();
    assert!(std::sync::Arc::ptr_eq(&from(one), &from(other)));
}

#[test]
fn chain_of_groups_is_as_deep_whatever_their_names() {
    let chain = |count: usize, name: &dyn Fn(usize) -> String| {
        let groups = (0..count).map(|n| {
            let inner = match n + 1 {
                next if next == count => "realm = 'ops'".to_owned(),
                next => format!("group = '{}'", name(next)),
            };
            format!("[group.{}]\nmembers = [{{ {inner} }}]\n", name(n))
        });
        groups.collect::<String>() + &with_route(&format!("allow = [{{ group = '{}' }}]", name(0)))
    };
    let ascending = |n: usize| format!("g{n:02}");
    let descending = |n: usize| format!("g{:02}", 99 - n);
    let mixed = |n: usize| format!("g{:02}", n * 37 % 100);
    let names: [&dyn Fn(usize) -> String; 3] = [&ascending, &descending, &mixed];
    for name in names {
        parse(&chain(16, name));
        let message = error(&chain(17, name));
        let expected = "expected groups at most 16 deep within each other";
        assert!(message.contains(expected), "{message}");
        assert_eq!(message.lines().count(), 1, "{message}");
    }
}

#[test]
fn networks_are_read_by_name_and_without_mapping() {
    let text = format!(
        "[networks]\noffice = ['192.0.2.0/24', '::ffff:198.51.100.0/120']\n{}",
        with_route(
            "from = ['10.0.0.0/8', 'office', '2001:db8::/32', '10.0.0.0/8', '::ffff:203.0.113.9']"
        )
    );
    let route = parse(&text).routes.remove(0);
    let from: Vec<_> = route
        .from
        .unwrap()
        .listed()
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(
        from,
        [
            "10.0.0.0/8",
            "192.0.2.0/24",
            "198.51.100.0/24",
            "203.0.113.9/32",
            "2001:db8::/32"
        ]
    );
    assert!(parse(&with_route("")).routes[0].from.is_none());
}

#[test]
fn bad_networks_are_rejected() {
    let one = "an address, a network such as \"10.0.0.0/8\", or a name in [networks]";
    assert_route_errors(&[
        (
            "from = []",
            &format!("2: route[0].from = []: expected at least one of {one} (none is defined)"),
        ),
        (
            "from = ['office']",
            &format!("2: route[0].from[0] = 'office': expected {one} (none is defined)"),
        ),
        (
            "from = ['10.0.0.1', '10.0.0.1/8']",
            "2: route[0].from[1] = '10.0.0.1/8': expected a network without host bits, \"10.0.0.0/8\"",
        ),
        (
            "from = ['10.0.0.0/33']",
            "2: route[0].from[0] = '10.0.0.0/33': expected an address or a network such as \"10.0.0.0/8\"",
        ),
        (
            "from = '10.0.0.0/8'",
            "2: route[0].from = '10.0.0.0/8': expected an array of addresses and networks, such as [\"10.0.0.2\", \"10.0.1.0/24\"]",
        ),
    ]);
    let naming =
        "expected a name of 1 to 64 letters, digits, \"-\" and \"_\" that begins with a letter";
    for (networks, expected) in [
        ("a = []", "2: networks.a = []: expected 1 to 10000 networks"),
        (
            "a = ['10.0.0.1/8']",
            "2: networks.a[0] = '10.0.0.1/8': expected a network without host bits, \"10.0.0.0/8\"",
        ),
        (
            "'10.0.0.0/8' = ['10.0.0.0/8']",
            &format!("2: networks.10.0.0.0/8 = \"10.0.0.0/8\": {naming}"),
        ),
        (
            "'fe80::' = ['10.0.0.0/8']",
            &format!("2: networks.fe80:: = \"fe80::\": {naming}"),
        ),
    ] {
        // A route that names them is no further mistake.
        for route in ["", "from = ['a']"] {
            if networks.starts_with('\'') && !route.is_empty() {
                continue;
            }
            let message = error(&format!("[networks]\n{networks}\n{}", with_route(route)));
            assert_eq!(message, format!("realmgate.toml:{expected}"));
        }
    }
}

#[test]
fn groups_and_networks_that_no_route_uses_are_warned_of() {
    let text = |allow: &str| {
        let route = with_route(&format!("{allow}\nignore_case = true"));
        format!("[networks]\noffice = ['10.0.0.0/8']\n{GROUPS}{route}")
    };
    let warnings = |allow: &str| warned(&parse(&text(allow)));
    assert_eq!(
        warnings("allow = [{ group = 'batch' }]"),
        [
            "group \"callers\": no route uses it; name it in allow or except, or delete it",
            "networks.office: no route uses it; name it in from, or delete it",
        ]
    );
    assert_eq!(
        warnings("allow = [{ group = 'callers' }]\nfrom = ['office']"),
        [""; 0]
    );
    assert_eq!(warnings("except = [{ group = 'callers' }]").len(), 1);
}
