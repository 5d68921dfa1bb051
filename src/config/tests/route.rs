use super::*;
use crate::auth::{Names, Policy, Rule};
use crate::http::Challenge;

fn texts<T: ToString>(patterns: &[T]) -> Vec<String> {
    patterns.iter().map(ToString::to_string).collect()
}

#[test]
fn route_is_read_with_all_its_keys() {
    let lines = "host = 'WWW.Example.org'\npath = '/api/'\nmethods = ['GET', 'PURGE', 'GET']\n\
                 allow = [{ realm = 'ops', name = 'alice' }, { realm = 'dev' }]";
    let config = parse(&with_route(lines));
    let [route] = &config.routes[..] else {
        panic!("{:?}", config.routes);
    };
    assert_eq!(texts(&route.hosts), ["www.example.org"]);
    assert_eq!(texts(&route.paths), ["/api/"]);
    let purge = http::Method::from_bytes(b"PURGE").unwrap();
    let methods = vec![http::Method::GET, purge, http::Method::HEAD];
    assert_eq!(route.methods, Some(methods));
    let rule = |realm: &str, name: Option<&str>| Rule {
        realm: realm.into(),
        name: name.map_or(Names::All, |name| Names::One(name.into())),
    };
    let rules = [rule("ops", Some("alice")), rule("dev", None)];
    assert_eq!(route.policy, Policy::Allow(rules.into()));
    assert_eq!(config.upstreams[route.upstream.unwrap()].name, "web");
    assert_eq!(
        config.upstreams[0].peers,
        [Peer {
            address: PeerAddress::At("127.0.0.1:9000".parse().unwrap()),
            weight: 1,
        }]
    );
}

#[test]
fn allow_keywords_are_policies() {
    let policy = |lines| parse(&with_route(lines)).routes.remove(0).policy;
    assert_eq!(policy(""), Policy::Authenticated);
    assert_eq!(policy("allow = 'anyone'"), Policy::Anyone);
}

#[test]
fn incomplete_route_is_rejected() {
    let web = "[upstream.web]\npeers = ['127.0.0.1:1']\n";
    let head = "[[route]]\nname = 'a'\n";
    let naming = "1 to 64 characters, no control characters, no white space at either end";
    assert_errors(&[
        (
            &format!("[[route]]\nallow = 'anyone'\nupstream = 'web'\n{web}"),
            &format!("1: route[0].name: missing, expected {naming}"),
        ),
        (
            &format!("{head}upstream = 'web'\n{web}"),
            &format!("1: route[0].allow: missing, expected {}", raw::ALLOW),
        ),
        (
            &format!("{head}allow = 'anyone'\n{web}"),
            "1: route[0].upstream: missing, expected a defined upstream (defined: web); with gateway.listen = \"off\" none is needed",
        ),
        (
            "[upstream.a]",
            "1: upstream.a.peers: missing, expected at least one address such as \
             \"127.0.0.1:9000\" or \"app.internal:9000\"",
        ),
    ]);
    let part = "1 to 128 characters, no NUL, no white space at either end";
    assert_route_errors(&[
        (
            "name = ' a'",
            &format!("2: route[0].name = ' a': expected {naming}"),
        ),
        (
            "allow = [{ name = 'alice' }]",
            &format!("2: route[0].allow[0].realm: missing, expected {part}"),
        ),
        (
            "allow = [{ realm = 'ops', name = '' }]",
            &format!("2: route[0].allow[0].name = '': expected {part}"),
        ),
    ]);
}

#[test]
fn bad_allow_is_rejected() {
    for allow in ["[]", "'everyone'", "3", "true", "{ realm = 'ops' }"] {
        let expected = format!("2: route[0].allow = {allow}: expected {}", raw::ALLOW);
        assert_route_errors(&[(&format!("allow = {allow}"), &expected)]);
    }
    assert_route_errors(&[
        (
            "allow = ['ops']",
            "2: route[0].allow[0] = 'ops': expected { realm = \"ops\" }, or { group = \"ops\" } for a group",
        ),
        (
            "allow = [['ops']]",
            "2: route[0].allow[0] = ['ops']: expected a table",
        ),
    ]);
}

#[test]
fn undefined_upstream_is_rejected() {
    assert_route_errors(&[(
        "upstream = 'wbe'",
        "2: route[0].upstream = 'wbe': expected a defined upstream (defined: web)",
    )]);
    assert_errors(&[(
        "[[route]]\nname = 'a'\nallow = 'anyone'\nupstream = 'web'",
        "4: route[0].upstream = 'web': expected a defined upstream (none is defined; write [upstream.NAME] with peers = [\"HOST:PORT\"])",
    )]);
}

#[test]
fn bad_match_is_rejected() {
    let host = |why: &str| {
        format!(
            "expected a host such as \"app.example.org\", or \"*.\" or \"**.\" and a domain{why}"
        )
    };
    let place = ", without port or path";
    let labels = "; \"*\" stands for whole labels, and only in front";
    for (typed, why) in [
        ("", place),
        ("a:80", place),
        ("a/b", place),
        ("a.", place),
        ("[::1", place),
        ("::1", place),
        (
            "é",
            ", with labels that are not ASCII in their \"xn--\" form",
        ),
        (
            "*.é",
            ", with labels that are not ASCII in their \"xn--\" form",
        ),
        ("*", "; leave the key out to match every host"),
        ("**", "; leave the key out to match every host"),
        ("*a.example", labels),
        ("a*.example", labels),
        ("a.*.example", labels),
        ("*.*.example", labels),
        ("***.example", labels),
        ("*.", labels),
        ("*.0.0.1", ", not an address"),
        ("**.1", ", not an address"),
        ("*.0x7f", ", not an address"),
        ("*.[::1]", ", not an address"),
    ] {
        assert_route_errors(&[
            (
                &format!("host = '{typed}'"),
                &format!("2: route[0].host = '{typed}': {}", host(why)),
            ),
            (
                &format!("host = ['a.example', '{typed}']"),
                &format!("2: route[0].host[1] = '{typed}': {}", host(why)),
            ),
        ]);
    }
    for path in [
        "", "api", "//", "/a//b", "/../a", "/a/..", "/./a", "/%61", "/a?b", "/a#b", "/a\\b", "/é",
        "/a;b", "/a.", "/a./b", "/a/...", "/a:$b",
    ] {
        assert_route_errors(&[(
            &format!("path = '{path}'"),
            &format!(
                "2: route[0].path = '{path}': expected a path such as \"/api/\", \"=/healthz\" or \
                 \"/users/*/keys\": visible ASCII from \"/\" on, no \"//\", no \":$\", no segment that ends with \".\", none of % ; ? # \\"
            ),
        )]);
    }
    let star = "expected \"*\" as a whole segment only, as in \"/users/*/keys\"; without \"=\", a path \
        matches all below it";
    for (path, expected) in [
        ("/a*", star),
        ("/*a/b", star),
        ("/a/**", star),
        ("=/a/b*c", star),
        ("=/a/", "expected no \"/\" at the end of an exact path"),
        (
            "/*/*/*/*/*/*/*/*/*",
            "expected at most 8 segments \"*\", and then at most 64 segments in all",
        ),
    ] {
        assert_route_errors(&[(
            &format!("path = ['/a', '{path}']"),
            &format!("2: route[0].path[1] = '{path}': {expected}"),
        )]);
    }
    assert_route_errors(&[
        (
            "host = []",
            "2: route[0].host = []: expected 1 to 256 entries",
        ),
        (
            "path = []",
            "2: route[0].path = []: expected 1 to 256 entries",
        ),
        (
            "host = 3",
            "2: route[0].host = 3: expected a string or an array of strings",
        ),
        (
            "path = ['/a', 3]",
            "2: route[0].path[1] = 3: expected a string",
        ),
        (
            "host = ['a.example', 'A.example']",
            "2: route[0].host[1] = 'A.example': expected each entry once",
        ),
        (
            "path = ['/a', '/a/']",
            "2: route[0].path[1] = '/a/': expected each entry once",
        ),
    ]);
    assert_route_errors(&[
        (
            "methods = ['GET', 'post']",
            "2: route[0].methods[1] = 'post': expected a method in upper case such as \"GET\"",
        ),
        (
            "methods = []",
            "2: route[0].methods = []: expected at least one method such as \"GET\"",
        ),
    ]);
    for lines in [
        "host = '[::1]'",
        "host = ['a', '*.a', '**.a', '*.xn--bcher-kva.example']",
        "path = '/'",
        "path = '/a..b/.c:d$'",
        "path = ['=/', '/', '/a', '=/a', '/*', '=/*', '/a/*/b']",
    ] {
        parse(&with_route(lines));
    }
}

#[test]
fn duplicate_route_is_rejected() {
    let second = |name: &str, host: &str, methods: &str| {
        format!(
            "{}[[route]]\nname = '{name}'\nhost = '{host}'\nmethods = {methods}\nallow = 'anyone'\n\
             upstream = 'web'",
            with_route("host = 'a'\nmethods = ['GET', 'PUT']")
        )
    };
    assert_errors(&[
        (
            &second("web", "b", "['GET']"),
            "10: route[1].name = 'web': expected a name that no earlier route has",
        ),
        (
            &second("b", "A", "['PUT', 'GET']"),
            "9: route[1].name = \"b\": expected another host, path, methods or from than route \"web\", \
             which matches first",
        ),
    ]);
    parse(&second("b", "a", "['GET']"));
    // Those match more.
    for key in ["ignore_case", "ignore_suffix"] {
        parse(&format!(
            "{}\n{key} = true",
            second("b", "a", "['GET', 'PUT']")
        ));
    }
}

#[test]
fn route_shadowed_by_an_endpoint_of_realmgate_is_rejected() {
    let gateway = "[gateway]\nserve_api = true\n";
    for path in [
        "/ungleichotp",
        "/ungleichotp/x",
        "/forward-auth/",
        "=/forward-auth",
        "/Forward-Auth/x",
        "=/UNGLEICHOTP",
    ] {
        let text = format!(
            "{gateway}{}",
            with_route(&format!("path = ['/a', '{path}']"))
        );
        let error = parse_with(&text, &[]).unwrap_err().to_string();
        let expected = "expected a path that realmgate does not answer itself";
        assert!(error.contains(expected), "{error}");
        assert!(parse_with(&with_route(&format!("path = '{path}'")), &[]).is_ok());
    }
    for path in ["/", "/forward-authority", "/api"] {
        let text = format!("{gateway}{}", with_route(&format!("path = '{path}'")));
        assert!(parse_with(&text, &[]).is_ok(), "{path}");
    }
}

#[test]
fn rewrites_are_read_with_all_their_keys() {
    let lines = "path = '/api/'\nstrip_prefix = true\nupstream_host = 'App.internal:8080'\n\
                 request_headers = { set = { X-Edge = 'eu west', Authorization = 'Basic YTpi' } }\n\
                 response_headers = { remove = ['Server'], set = {} }";
    let rewrite = parse(&with_route(lines)).routes.remove(0).rewrite;
    assert_eq!(rewrite.prefix.unwrap(), "/api");
    assert_eq!(rewrite.host.unwrap(), "App.internal:8080");
    let set: Vec<_> = rewrite.request_headers.set;
    assert_eq!(set.len(), 2);
    assert_eq!(
        (set[1].0.as_str(), set[1].1.as_bytes()),
        ("x-edge", &b"eu west"[..])
    );
    assert_eq!(rewrite.response_headers.remove, ["server"]);
}

#[test]
fn rewriting_reserved_headers_is_rejected() {
    let expected = "expected a header that concerns neither the identity or the address of the caller, nor the request target, nor the framing of the message";
    for name in [
        "X-Auth-Name",
        "x_auth_realm",
        "X.Auth.Token",
        "X-Forwarded-User",
        "X-Forwarded-Port",
        "Forwarded",
        "X-Real-IP",
        "X-Request-Id",
        "Host",
        "Content-Length",
        "content_length",
        "Transfer-Encoding",
        "Connection",
        "Upgrade",
        "TE",
        "Trailer",
        "Keep-Alive",
        "Proxy-Connection",
        "Content~Length",
        "SCRIPT_NAME",
        "X-Script-Name",
        "Proxy",
    ] {
        for key in ["request_headers", "response_headers"] {
            assert_route_errors(&[
                (
                    &format!("{key} = {{ set = {{ '{name}' = 'x' }} }}"),
                    &format!("2: route[0].{key}.set = {name:?}: {expected}"),
                ),
                (
                    &format!("{key} = {{ remove = ['{name}'] }}"),
                    &format!("2: route[0].{key}.remove = {name:?}: {expected}"),
                ),
            ]);
        }
    }
    let set = "request_headers = { set = { X-HTTP-Method-Override = 'DELETE' } }";
    let message = error(&with_route(set));
    assert!(message.ends_with(expected), "{message}");
    parse(&with_route(
        &set.replace("set", "remove")
            .replace("{ X", "['X")
            .replace(" = 'DELETE' }", "']"),
    ));
    // With other names, the identity is in other headers.
    let renamed = "[credentials]\nname_header = 'X-Who'\n";
    let rules = with_route("request_headers = { remove = ['x_who'] }");
    assert!(error(&format!("{renamed}{rules}")).ends_with(expected));
}

#[test]
fn headers_with_marks_pass_where_they_mean_nothing() {
    let lines = "alias_headers = ['X_Tenant', 'api.key', 'X~Tenant']\nshared_cache = true";
    let rewrite = parse(&with_route(lines)).routes.remove(0).rewrite;
    assert_eq!(rewrite.passing, ["x_tenant", "api.key", "x~tenant"]);
    assert!(rewrite.shared_cache);
    let rewrite = parse(&with_route("")).routes.remove(0).rewrite;
    assert!(rewrite.passing.is_empty() && !rewrite.shared_cache);
}

#[test]
fn header_with_a_mark_that_means_something_never_passes() {
    let meant = "expected a name that, with \"-\" in place of \"_\" and similar characters, is no header of HTTP or realmgate, and no \
        variable of an application server";
    let marked = |name: &str, mark: &str| name.replacen('-', mark, 1);
    let listed = reserved::removed()
        .chain(reserved::METHOD_OVERRIDES)
        .chain(reserved::SERVER_VARIABLES);
    let families = reserved::FAMILIES
        .iter()
        .chain(&reserved::SERVER_VARIABLE_FAMILIES)
        .map(|family| format!("{family}x"));
    let names = listed.map(str::to_owned).chain(families);
    let others = ["x-auth-name", "transfer-encoding", "www-authenticate"].map(str::to_owned);
    let mut tried = 0;
    for name in names.chain(others).filter(|name| name.contains('-')) {
        let upper = marked(&name, "_").to_ascii_uppercase();
        for name in [marked(&name, "_"), marked(&name, "."), upper] {
            assert_route_errors(&[(
                &format!("alias_headers = ['X_A', '{name}']"),
                &format!("2: route[0].alias_headers[1] = '{name}': {meant}"),
            )]);
            tried += 1;
        }
    }
    assert!(tried > 200, "{tried}");
    // With other names, the identity is in other headers.
    let renamed = "[credentials]\nname_header = 'X-Who'\n";
    let text = format!("{renamed}{}", with_route("alias_headers = ['x_who']"));
    assert!(error(&text).ends_with(meant));
    assert_route_errors(&[
        (
            "alias_headers = ['X-Tenant']",
            "2: route[0].alias_headers[0] = 'X-Tenant': expected a name with \"_\" or another character besides \
             letters, digits and \"-\"; all others pass anyway",
        ),
        (
            "alias_headers = ['X_A', 'x_a']",
            "2: route[0].alias_headers[1] = 'x_a': expected each name once",
        ),
        (
            "alias_headers = ['X A']",
            "2: route[0].alias_headers[0] = 'X A': expected the name of a header",
        ),
        (
            "alias_headers = ['X_Edge']\nrequest_headers = { set = { X-Edge = 'eu' } }",
            "2: route[0].alias_headers[0] = 'X_Edge': expected a name that does not resemble one that request_headers sets",
        ),
    ]);
    let many = vec!["'X_A'"; 33].join(",");
    let message = error(&with_route(&format!("alias_headers = [{many}]")));
    assert!(
        message.ends_with("33 names: expected at most 32 names"),
        "{message}"
    );
}

#[test]
fn bad_rewrite_is_rejected() {
    let value = "expected visible ASCII, at most 4096 bytes, no white space at either end";
    let host = "expected a host such as \"app.internal\" or \"app.internal:8080\"";
    let prefix = "expected a single path beside it, a prefix without \"*\" other than \"/\", and no ignore_suffix";
    assert_route_errors(&[
        (
            "request_headers = { set = { 'X A' = 'x' } }",
            "2: route[0].request_headers.set = \"X A\": expected the name of a header",
        ),
        (
            "request_headers = { set = { X-A = \"a\\nb\" } }",
            &format!("2: route[0].request_headers.set.X-A = \"…\": {value}"),
        ),
        (
            "request_headers = { set = { X-A = ' a' } }",
            &format!("2: route[0].request_headers.set.X-A = \"…\": {value}"),
        ),
        (
            "request_headers = { set = { X-A = 'a', x-a = 'b' } }",
            "2: route[0].request_headers.set = \"x-a\": expected each header once",
        ),
        (
            "response_headers = { set = { X-A = 'a' }, remove = ['x-a'] }",
            "2: route[0].response_headers.remove = \"x-a\": expected each header once, set or removed",
        ),
        (
            "response_headers = { add = ['x-a'] }",
            "2: route[0].response_headers.add: unknown key, expected one of set or remove",
        ),
        (
            "strip_prefix = true",
            &format!("2: route[0].strip_prefix = true: {prefix}"),
        ),
        (
            "path = '/'\nstrip_prefix = true",
            &format!("3: route[0].strip_prefix = true: {prefix}"),
        ),
        (
            "path = '/a'\nstrip_prefix = true\nignore_suffix = true",
            &format!("3: route[0].strip_prefix = true: {prefix}"),
        ),
        (
            "path = '/a/*'\nstrip_prefix = true",
            &format!("3: route[0].strip_prefix = true: {prefix}"),
        ),
        (
            "path = '=/a'\nstrip_prefix = true",
            &format!("3: route[0].strip_prefix = true: {prefix}"),
        ),
        (
            "path = ['/a', '/b']\nstrip_prefix = true",
            &format!("3: route[0].strip_prefix = true: {prefix}"),
        ),
    ]);
    for value in [
        "", "a b", "http://a", "a/b", "a:0", "a:+80", "a:65536", "u@a", "::1",
    ] {
        let text = format!("upstream_host = '{value}'");
        let expected = format!("2: route[0].upstream_host = '{value}': {host}");
        assert_route_errors(&[(&text, &expected)]);
    }
    for value in ["a", "a:80", "[::1]", "[::1]:80"] {
        parse(&with_route(&format!("upstream_host = '{value}'")));
    }
    let many: String = (0..33).map(|at| format!("X-{at} = 'y', ")).collect();
    let text = with_route(&format!("request_headers = {{ set = {{ {many} }} }}"));
    let message = error(&text);
    assert!(
        message.ends_with("set = 33 headers: expected at most 32 headers"),
        "{message}"
    );
}

#[test]
fn responses_to_denied_requests_are_read() {
    let denials = |lines: &str| parse(&with_route(lines)).routes.remove(0).denials;
    for default in ["", "errors = 'text'", "challenge = 'realmgate'"] {
        assert_eq!(denials(default), None, "{default}");
    }
    let all = denials(
        "challenge = 'none'\nerrors = 'json'\ndenial_headers = { set = { X-Help = 'ask ops' } }",
    )
    .unwrap();
    assert_eq!(all.challenge, Challenge::None);
    assert!(all.is_json);
    assert_eq!(all.headers.len(), 1);
    assert_eq!(all.headers[0].0, "x-help");
    assert_eq!(all.headers[0].1, "ask ops");
    let acme = denials("challenge = 'Acme & Co.'")
        .unwrap()
        .challenge
        .clone();
    let value = http::HeaderValue::from_static("Basic realm=\"Acme & Co.\", charset=\"UTF-8\"");
    assert_eq!(acme, Challenge::As(value));
    assert!(denials(&format!("challenge = '{}'", "a".repeat(64))).is_some());
}

#[test]
fn bad_response_to_denied_requests_is_rejected() {
    let realm = "expected \"none\", or a realm of 1 to 64 visible ASCII characters and spaces, without \" and \\ and without a space at either end";
    let long = "a".repeat(65);
    for text in ["", " a", "a ", "a\\b", "a\"b", "a\tb", "\u{e9}", &long] {
        let message = error(&with_route(&format!("challenge = '{text}'")));
        assert!(
            message.starts_with("realmgate.toml:2: route[0].challenge = '"),
            "{message}"
        );
        assert!(message.ends_with(realm), "{message}");
    }
    let ours = "expected a header other than Set-Cookie, those that realmgate sets itself, and those that caches obey";
    let concerns = "expected a header that concerns neither the identity or the address of the caller, nor the request target, nor the framing of the message";
    for name in [
        "cache-control",
        "cdn-cache-control",
        "content-encoding",
        "content-type",
        "date",
        "grpc-message",
        "grpc-status",
        "grpc-status-details-bin",
        "retry-after",
        "set-cookie",
        "surrogate-control",
        "www-authenticate",
        "x-accel-expires",
    ] {
        assert_route_errors(&[(
            &format!("denial_headers = {{ set = {{ {name} = 'a' }} }}"),
            &format!("2: route[0].denial_headers.set = \"{name}\": {ours}"),
        )]);
    }
    for name in [
        "connection",
        "content-length",
        "host",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "x-auth-name",
        "x-auth-token",
        "x-forwarded-user",
        "x-forwarded-for",
        "x-request-id",
        "X_Auth_Name",
    ] {
        assert_route_errors(&[(
            &format!("denial_headers = {{ set = {{ {name} = 'a' }} }}"),
            &format!("2: route[0].denial_headers.set = \"{name}\": {concerns}"),
        )]);
    }
    assert_route_errors(&[
        (
            "errors = 'xml'",
            "2: route[0].errors = 'xml': expected \"text\" or \"json\"",
        ),
        (
            "denial_headers = { remove = ['X-A'] }",
            "2: route[0].denial_headers.remove = ['X-A']: expected only set; realmgate's own responses have no headers to remove",
        ),
        (
            "denial_headers = { set = { 'X A' = 'a' } }",
            "2: route[0].denial_headers.set = \"X A\": expected the name of a header",
        ),
        (
            "denial_headers = { set = { X-A = \"a\\r\\nX-B: b\" } }",
            "2: route[0].denial_headers.set.X-A = \"…\": expected visible ASCII, at most 4096 bytes, no white space at either end",
        ),
    ]);
    let many: String = (0..33).map(|at| format!("X-{at} = 'y', ")).collect();
    let message = error(&with_route(&format!(
        "denial_headers = {{ set = {{ {many} }} }}"
    )));
    assert!(
        message.ends_with("set = 33 headers: expected at most 32 headers"),
        "{message}"
    );
}

#[test]
fn identity_headers_of_an_upstream_are_read_and_reserved_on_every_route() {
    let with = |line: &str, route: &str| format!("{}{line}\n", with_route(route));
    let read = |line: &str| {
        let mut config = parse(&with(line, ""));
        config.upstreams.remove(0).identity_headers
    };
    assert_eq!(read(""), None);
    let names = read("identity_headers = { user = 'X-WebAuth-User' }").unwrap();
    assert_eq!(names.user.unwrap(), "x-webauth-user");
    assert_eq!((names.name, names.realm), (None, None));
    // The default ones may be used for something else.
    let names = read("identity_headers = { user = 'X-Auth-Name' }").unwrap();
    assert_eq!(names.user.unwrap(), "x-auth-name");
    let name =
        "expected the name of a header without another meaning, of letters, digits and \"-\"";
    for bad in [
        "",
        "a b",
        "é",
        "X_User",
        "Host",
        "Authorization",
        "Cookie",
        "Connection",
        "Transfer-Encoding",
        "Http2-Settings",
        "X-Auth-Token",
        "X-Forwarded-For",
        "X-Request-Id",
        "X-Real-IP",
        "X-HTTP-Method",
        "Traceparent",
        "Cache-Control",
        "Grpc-Status",
        "If-None-Match",
        "Location",
        "Retry-After",
        "X-Accel-Redirect",
    ] {
        let line = format!("identity_headers = {{ realm = '{bad}' }}");
        let message = error(&with(&line, ""));
        let key = format!("upstream.web.identity_headers.realm = '{bad}': {name}");
        assert!(message.ends_with(&key), "{message}");
        assert!(message.starts_with("realmgate.toml:"), "{message}");
    }
    for (headers, expected) in [
        (
            "{}",
            "identity_headers = {}: expected at least one of name, realm and user",
        ),
        (
            "{ name = 'X-A', user = 'x-a' }",
            "identity_headers.user = 'x-a': expected a header of its own",
        ),
        (
            "{ email = 'X-A' }",
            "identity_headers.email: unknown key, expected one of name, realm, user",
        ),
    ] {
        let message = error(&with(&format!("identity_headers = {headers}"), ""));
        assert!(message.ends_with(expected), "{message}");
    }
    // A route may neither set it nor let it pass, whatever its upstream is.
    let who = "identity_headers = { name = 'X-Who' }";
    for set in [
        "request_headers = { set = { X-Who = 'root' } }",
        "request_headers = { remove = ['X-Who'] }",
        "denial_headers = { set = { X-Who = 'root' } }",
        "alias_headers = ['X_Who']",
    ] {
        let message = error(&with(who, set));
        assert!(message.contains("2: route[0]."), "{message}");
        parse(&with("", set));
    }
}

#[test]
fn upstreams_name_at_most_32_identity_headers() {
    let upstreams = |count: usize| {
        let one = |at| {
            format!(
                "[upstream.u{at}]\npeers = ['127.0.0.1:9']\nidentity_headers = {{ name = 'X-Same', user = 'X-Who-{at}' }}\n"
            )
        };
        (0..count).map(one).collect::<String>()
    };
    assert_eq!(parse(&upstreams(31)).upstreams.len(), 31);
    let message = error(&upstreams(32));
    assert!(
        message.ends_with("expected at most 32 different headers in all upstreams"),
        "{message}"
    );
}

#[test]
fn get_includes_head() {
    let methods = |lines: &str| {
        let methods = parse(&with_route(lines)).routes.remove(0).methods.unwrap();
        methods.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(methods("methods = ['GET']"), ["GET", "HEAD"]);
    assert_eq!(methods("methods = ['HEAD', 'GET']"), ["HEAD", "GET"]);
    assert_eq!(methods("methods = ['POST']"), ["POST"]);
    assert_eq!(methods("methods = ['HEAD']"), ["HEAD"]);
}
