use super::*;

fn warnings(text: &str) -> Vec<String> {
    let upstream = "[upstream.web]\npeers = ['127.0.0.1:9000']\n";
    warned(&parse(&format!("{text}{upstream}")))
}

fn named(name: &str, allow: &str, more: &str) -> String {
    format!("[[route]]\nname = '{name}'\nallow = {allow}\nupstream = 'web'\n{more}\n")
}

const OPS: &str = "[{ realm = 'ops' }]";
const DEV: &str = "[{ realm = 'dev' }]";
const SAID: &str = "ignore_case = false\nignore_suffix = false";

#[test]
fn wider_route_after_a_narrower_one_with_a_longer_path_is_warned_of() {
    let web = named("web", "'anyone'", "");
    let both =
        |more: &str| warnings(&(named("admin", OPS, &format!("path = '/admin/'\n{more}")) + &web));
    assert_eq!(
        both(""),
        [
            "route \"web\" admits callers that route \"admin\" does not, and matches /ADMIN and /admin.json: if its \
             upstream reads these as /admin, set ignore_case = true, ignore_suffix = true in route \"admin\", \
             otherwise ignore_case = false, ignore_suffix = false"
        ]
    );
    assert_eq!(
        both("ignore_case = true"),
        [
            "route \"web\" admits callers that route \"admin\" does not, and matches /admin.json: if its upstream reads \
             these as /admin, set ignore_suffix = true in route \"admin\", otherwise ignore_suffix = false"
        ]
    );
    assert_eq!(both(SAID), [""; 0]);
}

#[test]
fn star_at_the_end_that_leaves_the_bare_prefix_to_a_wider_route_is_warned_of() {
    let admin =
        |path: &str, more: &str| named("admin", OPS, &format!("path = '{path}'\n{SAID}\n{more}"));
    let web = named("web", "'anyone'", "");
    let warned = "route \"admin\" does not match /admin/: requests for it match route \"web\", which admits callers \
                  that it does not; ";
    assert_eq!(
        warnings(&(admin("/admin/*", "") + &web)),
        [format!(
            "{warned}write \"/admin\" in place of \"/admin/*\", or add a route with path = \"=/admin\""
        )]
    );
    assert_eq!(
        warnings(&(admin("=/admin/*", "") + &web)),
        [format!("{warned}add a route with path = \"=/admin\"")]
    );
    let bare = |allow: &str, more: &str| named("bare", allow, &format!("{more}\n{SAID}"));
    for (text, expected) in [
        (admin("/admin/*", "") + &named("web", OPS, ""), 0),
        (admin("/admin", "") + &web, 0),
        // Also what is in front of several.
        (admin("/users/*/*", "") + &web, 1),
        // Every other route matches `/`.
        (admin("/*", "") + &web, 0),
        (admin("/users/*/keys", "") + &web, 0),
        // A route for the bare prefix shows that this is intended.
        (
            admin("/admin/*", "") + &bare("'anyone'", "path = '=/admin'") + &web,
            0,
        ),
        (
            bare("'anyone'", "path = '=/admin'") + &admin("/admin/*", "") + &web,
            0,
        ),
        (
            named(
                "both",
                OPS,
                &format!("path = ['=/admin', '/admin/*']\n{SAID}"),
            ) + &web,
            0,
        ),
        (
            admin("/admin/*", "host = 'a.example'")
                + &bare("'anyone'", "path = '=/admin'\nhost = 'b.example'")
                + &web,
            1,
        ),
        // A route in between takes the prefix.
        (
            admin("/admin/*", "")
                + &named("all", OPS, "")
                + &named("web", "'anyone'", "path = '/'"),
            0,
        ),
        (
            admin("/admin/*", "") + &named("web", "'anyone'", "path = '/other'"),
            0,
        ),
        (
            admin("/admin/*", "methods = ['GET']") + &named("web", "'anyone'", "methods = ['PUT']"),
            0,
        ),
    ] {
        let mut warnings = warnings(&text);
        warnings.retain(|warning| warning.contains("does not match"));
        assert_eq!(warnings.len(), expected, "{text}{warnings:#?}");
    }
}

#[test]
fn route_that_never_matches_or_admits_no_others_is_not_warned_of() {
    let admin = named("admin", OPS, "path = '/admin'");
    let last = named("web", "'anyone'", "path = '/'");
    for (later, expected) in [
        (named("web", OPS, ""), 0),
        (named("web", "[{ realm = 'ops', name = 'alice' }]", ""), 0),
        (named("web", "[{ realm = 'dev' }]", ""), 1),
        (named("web", "'authenticated'", ""), 1),
        (named("web", "'anyone'", "path = '/other'"), 0),
        (named("web", "'anyone'", "path = '/admin/x'"), 0),
        (named("web", "'anyone'", "host = 'a.example'"), 1),
        // The route in between matches everything.
        (named("all", OPS, "") + &last, 0),
        (named("all", OPS, "host = 'a.example'") + &last, 1),
        (named("all", OPS, "methods = ['GET']") + &last, 1),
    ] {
        let text = format!("{admin}{later}");
        let mut warnings = warnings(&text);
        // Another test covers routes that never match.
        warnings.retain(|warning| !warning.contains("never matches"));
        assert_eq!(warnings.len(), expected, "{text}{warnings:#?}");
    }
    // The first match wins: an earlier route leaves nothing to this one.
    let before = named("web", "'anyone'", "path = '/public'") + &named("admin", OPS, "");
    assert_eq!(warnings(&before), [""; 0]);
}

#[test]
fn methods_that_fall_through_to_a_wider_route_are_warned_of() {
    let admin = |methods: &str| {
        named(
            "admin",
            OPS,
            &format!("path = '/admin'\nmethods = {methods}\n{SAID}"),
        )
    };
    let web = named("web", "'anyone'", "");
    let rest =
        |allow: &str, more: &str| named("rest", allow, &format!("path = '/admin'\n{more}\n{SAID}"));
    assert_eq!(
        warnings(&(admin("['GET']") + &web)),
        [
            "route \"admin\" matches GET, HEAD only: other methods of /admin match route \"web\", which admits \
             callers that it does not; remove methods, or add a route with the same path and no methods after it"
        ]
    );
    for (text, expected) in [
        (admin("['GET']") + &named("web", OPS, ""), 0),
        // A route for the remaining requests shows that this is intended.
        (admin("['GET']") + &rest("'authenticated'", "") + &web, 0),
        (
            admin("['GET']") + &rest(OPS, "methods = ['POST']") + &web,
            2,
        ),
        (
            admin("['GET']") + &rest(OPS, "host = 'a.example'") + &web,
            1,
        ),
        (
            admin("['GET']") + &named("web", "'anyone'", "methods = ['GET', 'HEAD']"),
            0,
        ),
        (
            admin("['GET']") + &named("web", "'anyone'", "methods = ['PUT']"),
            1,
        ),
    ] {
        let warnings = warnings(&text);
        assert_eq!(warnings.len(), expected, "{text}{warnings:#?}");
    }
}

#[test]
fn exact_paths_and_paths_with_a_star_take_what_is_left_too() {
    let get = |path: &str| {
        named(
            "get",
            OPS,
            &format!("path = '{path}'\nmethods = ['GET']\n{SAID}"),
        )
    };
    let rest =
        |path: &str, more: &str| named("rest", DEV, &format!("path = '{path}'\n{more}\n{SAID}"));
    let web = named("web", "'anyone'", "");
    for (first, then, expected) in [
        ("=/a", rest("=/a", ""), 0),
        ("=/a", rest("/a", ""), 0),
        // Leaves what is below the path.
        ("/a", rest("=/a", ""), 1),
        ("=/a", rest("=/b", ""), 1),
        ("=/a", rest("=/A", ""), 1),
        (
            "=/a",
            rest("=/A", "ignore_case = true").replace(SAID, "ignore_suffix = false"),
            0,
        ),
        ("/users/*", rest("/users/*", ""), 0),
        ("/users/*", rest("/users/*", "methods = ['POST']"), 1),
        ("/other", rest("/users/*", ""), 1),
    ] {
        let text = get(first) + &then + &web;
        let mut warnings = warnings(&text);
        warnings.retain(|warning| warning.starts_with("route \"get\" matches"));
        assert_eq!(warnings.len(), expected, "{text}{warnings:#?}");
    }
    // Other methods reach the route with a `*`, so that one is named, and no other.
    for (first, allow, expected) in [
        ("/users/me", DEV, Some("rest")),
        ("/users/me/keys", DEV, Some("rest")),
        ("=/users/me", DEV, Some("rest")),
        ("/users/me", OPS, None),
        ("/USERS/me", DEV, Some("web")),
        ("/users", DEV, Some("web")),
    ] {
        let then = named("rest", allow, &format!("path = '/users/*'\n{SAID}"));
        let text = get(first) + &then + &web;
        let mut warnings = warnings(&text);
        warnings.retain(|warning| warning.starts_with("route \"get\" matches"));
        let named = warnings.first().and_then(|warning| {
            let (_, rest) = warning.split_once(" match route \"")?;
            Some(rest.split_once('"')?.0.to_owned())
        });
        assert_eq!(named.as_deref(), expected, "{text}{warnings:#?}");
    }
}

#[test]
fn route_that_an_earlier_one_takes_all_of_is_warned_of() {
    let route = |name: &str, more: &str| named(name, OPS, &format!("{more}\n"));
    let never = "route \"later\" never matches: the earlier route \"first\" matches all of its requests; \
                 move \"later\" up, or remove it";
    for (first, later, is_reached) in [
        ("", "path = '/api'", false),
        (
            "path = '/api/'",
            "path = '/api/v1'\nhost = 'a.example'",
            false,
        ),
        ("path = '/api'", "path = '/api/'\nmethods = ['GET']", false),
        ("methods = ['GET', 'PUT']", "methods = ['HEAD']", false),
        (
            "path = '/API'\nignore_case = true",
            "path = '/api/x'",
            false,
        ),
        (
            "",
            "path = '/a'\nignore_case = true\nignore_suffix = true",
            false,
        ),
        ("path = '/a'", "path = '/a/b'\nignore_suffix = true", false),
        ("path = '/a'", "path = '=/a'", false),
        ("", "path = ['=/', '/b']", false),
        ("path = '/*'", "path = '/a'\nignore_case = true", false),
        ("path = '/*'", "path = '/a'\nignore_suffix = true", false),
        ("path = '=/*'", "path = '/a'\nignore_suffix = true", true),
        ("", "path = '/'\nignore_suffix = true", false),
        ("path = '/a/*'", "path = '/a/b'\nignore_case = true", true),
        ("path = '/api'", "path = '/apis'", true),
        ("path = '/API'", "path = '/api'", true),
        ("path = '/a'", "path = '/a/b'\nignore_case = true", true),
        (
            "path = '/a'",
            "path = '/a'\nhost = 'a.example'\nignore_suffix = true",
            true,
        ),
        ("host = 'a.example'", "path = '/a'", true),
        ("host = 'a.example'", "host = 'b.example'", true),
        ("methods = ['GET']", "path = '/a'", true),
        ("methods = ['GET']", "methods = ['GET', 'PUT']", true),
        (
            "host = '*.example'",
            "host = ['a.example', 'b.example']",
            false,
        ),
        ("host = '**.example'", "host = '*.a.example'", false),
        ("host = '*.example'", "host = '**.example'", true),
        ("host = '*.example'", "host = 'example'", true),
        (
            "host = ['a.example', '*.b']",
            "host = ['x.b', 'a.example']\npath = ['/a', '=/b']",
            false,
        ),
        ("host = ['a.example', '*.b']", "host = ['x.b', 'b']", true),
        ("path = ['/a', '/b']", "path = ['/b/c', '=/a']", false),
        ("path = ['/a', '/b']", "path = ['/b/c', '/']", true),
        ("path = '=/a'", "path = '/a'", true),
        ("path = '=/a'", "path = '=/a'\nmethods = ['GET']", false),
        ("path = '/users/*'", "path = '/users/alice/keys'", false),
        ("path = '/users/*/keys'", "path = '=/users/*/keys/*'", false),
        ("path = '/users/alice'", "path = '/users/*'", true),
        (
            "from = ['10.0.0.0/8']",
            "from = ['10.1.0.0/16', '10.2.0.1']",
            false,
        ),
        (
            "from = ['10.0.0.0/8']",
            "from = ['10.1.0.0/16', '192.0.2.1']",
            true,
        ),
        ("from = ['10.0.0.0/8']", "", true),
        ("", "from = ['10.0.0.0/8']", false),
    ] {
        let warnings = warnings(&(route("first", first) + &route("later", later)));
        let found = warnings.iter().any(|warning| warning == never);
        assert_eq!(found, !is_reached, "{first} {later}: {warnings:#?}");
    }
}

#[test]
fn clients_that_fall_through_to_a_wider_route_are_warned_of() {
    let admin = |from: &str| {
        named(
            "admin",
            OPS,
            &format!("path = '/admin'\nfrom = ['{from}']\n{SAID}"),
        )
    };
    let web = named("web", "'anyone'", "");
    assert_eq!(
        warnings(&(admin("192.0.2.0/24") + &web)),
        [
            "route \"admin\" matches the clients in from only: requests of others for /admin match route \"web\", \
             which admits callers that it does not; remove from, or add a route with the same path and no from \
             after it"
        ]
    );
    for (later, expected) in [
        (named("web", OPS, ""), 0),
        (
            named("rest", OPS, &format!("path = '/admin'\n{SAID}")) + &web,
            0,
        ),
        (named("web", "'anyone'", "from = ['192.0.2.128/25']"), 0),
        (named("web", "'anyone'", "from = ['192.0.2.0/23']"), 1),
    ] {
        let text = admin("192.0.2.0/24") + &later;
        let warnings = warnings(&text);
        assert_eq!(warnings.len(), expected, "{text}{warnings:#?}");
    }
}

#[test]
fn methods_that_are_rejected_are_warned_of() {
    let warned = |more: &str| warnings(&named("web", OPS, more));
    assert_eq!(
        warned("methods = ['TRACE', 'GET', 'CONNECT']"),
        [
            "route \"web\": methods names TRACE and CONNECT, which every listener rejects before it matches routes"
        ]
    );
    assert_eq!(warned("methods = ['OPTIONS']"), [""; 0]);
}

#[test]
fn warning_begins_with_the_file_and_the_line() {
    let text = "[service]\ntrusted_proxies = ['0.0.0.0/0']\n\
                [networks]\noffice = ['192.0.2.0/24']\n\
                [group.nobody]\nmembers = [{ realm = 'x' }]\n\
                [[route]]\nname = 'all'\nallow = 'anyone'\nupstream = 'web'\n\
                [[route]]\nname = 'never'\npath = '/a'\nallow = 'anyone'\nupstream = 'web'\n\
                [upstream.web]\npeers = ['127.0.0.1:9000']\n";
    let starts = |text: &str, env: &[(&str, &str)]| -> Vec<String> {
        let config = parse_with(text, env).unwrap();
        let warnings = config.warnings().into_iter().map(|it| it.to_string());
        let start = |it: String| it.splitn(3, ' ').take(2).collect::<Vec<_>>().join(" ");
        warnings.map(start).collect()
    };
    assert_eq!(
        starts(text, &[]),
        [
            "realmgate.toml:2: service.trusted_proxies:",
            "realmgate.toml:5: group",
            "realmgate.toml:4: networks.office:",
            "realmgate.toml:11: route",
        ]
    );
    let variable = ("REALMGATE_SERVICE_TRUSTED_PROXIES", "::/0");
    let warnings = starts(text, &[variable]);
    let expected = "REALMGATE_SERVICE_TRUSTED_PROXIES: service.trusted_proxies:";
    assert_eq!(warnings[0], expected);
    let off = starts(
        "[gateway]\nlisten = 'off'\nserve_api = true\n[upstream.web]\npeers = ['127.0.0.1:9000']\n",
        &[],
    );
    assert_eq!(
        off,
        [
            "realmgate.toml:3: gateway.serve_api",
            "realmgate.toml:4: upstream"
        ]
    );
}

#[test]
fn place_of_a_route_is_no_part_of_the_digest() {
    let text = named("web", "'anyone'", "") + "[upstream.web]\npeers = ['127.0.0.1:9000']\n";
    let digest = parse(&text).digest();
    assert_eq!(parse(&format!("\n# moved\n{text}")).digest(), digest);
    assert_ne!(
        parse(&text.replace("anyone", "authenticated")).digest(),
        digest
    );
}

#[test]
fn trusted_networks_beyond_private_ones_are_warned_of() {
    let trusting = |networks: &str| {
        warned(&parse(&format!(
            "[service]\ntrusted_proxies = [{networks}]"
        )))
    };
    let private =
        "'10.0.0.0/8', '172.16.0.0/12', '192.168.7.0/24', 'fd00::/8', '127.0.0.0/8', '::1'";
    assert_eq!(trusting(private), [""; 0]);
    // The front proxy itself.
    assert_eq!(trusting("'203.0.113.7', '2001:db8::7/128'"), [""; 0]);
    for (network, expected) in [
        ("0.0.0.0/0", "contains every address"),
        ("::/0", "contains every address"),
        ("203.0.113.0/24", "is not a private network"),
        ("10.0.0.0/7", "is not a private network"),
        ("2001:db8::/32", "is not a private network"),
    ] {
        let warnings = trusting(&format!("'{network}'"));
        let expected = format!("service.trusted_proxies: {network} {expected}: ");
        assert!(
            warnings.len() == 1 && warnings[0].starts_with(&expected),
            "{warnings:?}"
        );
    }
}

#[test]
fn networks_that_no_client_can_have_are_warned_of() {
    let route = |from: &str| named("office", OPS, &format!("from = {from}\n"));
    let balancer = "[gateway]\nproxy_protocol = ['192.0.2.0/24']\n";
    for (text, expected) in [
        (route("['127.0.0.1']"), 1),
        (route("['127.0.0.1', '10.0.0.0/8']"), 0),
        (route("['127.0.0.0/8']"), 0),
        (format!("{balancer}{}", route("['192.0.2.7', '::1']")), 1),
    ] {
        let warnings = warnings(&text);
        let never = warnings.iter().filter(|it| it.contains("never matches"));
        assert_eq!(never.count(), expected, "{text}{warnings:#?}");
    }
}
