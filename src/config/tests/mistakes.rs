use std::fmt::Write;
use std::time::Instant;

use super::*;

fn lines(text: &str, env: &[(&str, &str)]) -> Vec<String> {
    let error = parse_with(text, env).unwrap_err().to_string();
    let lines = error.lines();
    lines
        .map(|line| line.replace("realmgate.toml:", ""))
        .collect()
}

#[test]
fn every_mistake_is_named_in_the_order_of_the_lines() {
    let text = "\
[totp]
window = 11
windwo = 1
digits = '6'

[[route]]
name = 3
path = 'api'
allow = 'everybody'
upstream = 'wbe'

[[route]]
nmae = 'b'
allow = [{ realm = 'a' }, { user = 'b' }]
upstream = 'web'

[upstream.web]
peers = ['127.0.0.1', 'http://a:1', '127.0.0.1:2']
balance = 'best'
read_timeout = 3

[gateway]
listen = '8080'
serve_api = 'yes'

[gatway]

[cache]
ttl = 300
";
    let known = "expected one of";
    let expected = [
        "2: totp.window = 11: expected 0 to 10".to_owned(),
        format!(
            "3: totp.windwo: unknown key (did you mean window?), {known} window, algorithm, digits, period, issuer"
        ),
        "4: totp.digits = '6': expected a whole number".to_owned(),
        "7: route[0].name = 3: expected a string".to_owned(),
        "8: route[0].path = 'api': expected a path".to_owned(),
        "9: route[0].allow = 'everybody': expected \"authenticated\"".to_owned(),
        "10: route[0].upstream = 'wbe': expected a defined upstream (defined: web)".to_owned(),
        "12: route[1].name: missing, expected 1 to 64 characters".to_owned(),
        format!("13: route[1].nmae: unknown key (did you mean name?), {known} name, host"),
        "14: route[1].allow[1].realm: missing, expected 1 to 128 characters".to_owned(),
        format!("14: route[1].allow[1].user: unknown key, {known} realm, name, group"),
        "18: upstream.web.peers[0] = '127.0.0.1': expected HOST:PORT".to_owned(),
        "18: upstream.web.peers[1] = 'http://a:1': expected HOST:PORT without a scheme".to_owned(),
        "19: upstream.web.balance = 'best': expected".to_owned(),
        "20: upstream.web.read_timeout = 3: expected a duration with a unit such as \"5m\""
            .to_owned(),
        "23: gateway.listen = '8080': expected an IP address and a port".to_owned(),
        "24: gateway.serve_api = 'yes': expected true or false".to_owned(),
        format!("26: gatway: unknown key (did you mean gateway?), {known} include, store"),
        "29: cache.ttl = 300: expected a duration with a unit such as \"5m\"".to_owned(),
        "REALMGATE_LOG_FORMAT: log.format = xml: expected \"human\" or \"json\"".to_owned(),
        "REALMGATE_TOTP_WIDOW: unknown variable, expected REALMGATE_TOTP_ and one of".to_owned(),
    ];
    let env = [
        ("REALMGATE_TOTP_WIDOW", "1"),
        ("REALMGATE_LOG_FORMAT", "xml"),
    ];
    let lines = lines(text, &env);
    for (line, expected) in lines.iter().zip(&expected) {
        assert!(line.starts_with(expected), "{line}\n{expected}\n{lines:#?}");
    }
    assert_eq!(lines.len(), expected.len(), "{lines:#?}");
}

#[test]
fn key_that_cannot_be_read_is_not_missing_as_well() {
    for (text, expected) in [
        ("[[route]]\nname = 3\nallow = 4\nupstream = 5", 3),
        (
            "[[route]]\nname = 'a'\nallow = 'anyone'\nupstream = 'b'\n[upstream.b]\npeers = 1",
            1,
        ),
        (
            "[[route]]\nname = 'a'\nallow = 'anyone'\nupstream = 'b'\n[upstream]\nb = 1",
            1,
        ),
        ("route = [1]", 1),
        ("[[certificate]]\ncert = 1\nkey = 2", 2),
    ] {
        let lines = lines(text, &[]);
        assert_eq!(lines.len(), expected, "{text} {lines:#?}");
    }
}

#[test]
fn value_that_is_rejected_makes_no_second_mistake() {
    for text in [
        "[service]\nlisten = 'x'\n[gateway]\nlisten = '127.0.0.1:8081'",
        "[realms]\nadmin = ' x'\nauth = 'ungleich-admin'",
        "[throttle]\nlongest_delay = '1'\ndelay = '2h'",
        "[credentials]\nname_header = 'a b'\nrealm_header = 'X-Auth-Name'",
    ] {
        let lines = lines(text, &[]);
        assert_eq!(lines.len(), 1, "{text} {lines:#?}");
    }
}

#[test]
fn every_syntax_error_is_named() {
    let lines = lines("[totp]\nwindow = = 1\n[log\nformat = 'human'\n", &[]);
    assert_eq!(lines.len(), 2, "{lines:#?}");
    assert!(lines[0].starts_with("2:10: "), "{lines:#?}");
    assert!(lines[1].starts_with("3:"), "{lines:#?}");
}

#[test]
fn fifty_mistakes_are_shown_and_the_others_counted() {
    let routes = |count: usize| {
        let mut text = String::new();
        for at in 0..count {
            let _ = writeln!(
                text,
                "[[route]]\nname = 'r{at}'\nallow = 'x'\nupstream = 'a'"
            );
        }
        text + "[upstream.a]\npeers = ['127.0.0.1:1']\n"
    };
    assert_eq!(lines(&routes(50), &[]).len(), 50);
    let many = lines(&routes(53), &[]);
    assert_eq!(many.len(), 51);
    assert_eq!(many[50], "and 3 more");
    // More than are kept and sorted.
    assert_eq!(lines(&routes(12_000), &[])[50], "and 11950 more");
}

/// Fifty thousand routes, each with a host and a path, in forms that once took quadratic time.
#[test]
fn time_grows_with_the_routes_and_not_with_their_square() {
    let text = |count: usize, route: &dyn Fn(usize) -> String| {
        let mut text = String::from("[upstream.a]\npeers = ['127.0.0.1:1']\n");
        for at in 0..count {
            let _ = writeln!(
                text,
                "[[route]]\nname = 'r{at}'\nallow = [{{ realm = 'a{}' }}]\nupstream = 'a'\n{}",
                at % 7,
                route(at)
            );
        }
        text
    };
    let kinds: [(&str, &dyn Fn(usize) -> String); 4] = [
        ("hosts", &|at| {
            format!("host = 'h{at}.example'\npath = '/a'\nmethods = ['GET']")
        }),
        ("paths", &|at| {
            format!("path = '/p{at}/a'\nmethods = ['GET']")
        }),
        ("methods", &|at| {
            format!("host = 'a.example'\nmethods = ['M{at}']")
        }),
        ("both", &|at| {
            let host = if at % 2 == 0 {
                String::new()
            } else {
                format!("host = 'h{at}'\n")
            };
            format!("{host}path = '/p{}'", at / 2)
        }),
    ];
    for (kind, route) in kinds {
        let took = |count: usize| {
            let text = text(count, route);
            let began = Instant::now();
            let config = parse(&text);
            let warnings = config.warnings().len();
            assert!(warnings <= count, "{warnings}");
            began.elapsed()
        };
        let (few, many) = (took(1_500), took(12_000));
        // Eight times as many: quadratic time would be 64 times as long.
        assert!(many < few * 32, "{kind}: {few:?}, {many:?}");
    }
}

#[test]
fn variable_holds_what_its_key_wants() {
    let env = [
        ("REALMGATE_REALMS_ADMIN", "2024"),
        ("REALMGATE_REALMS_AUTH", "true"),
        ("REALMGATE_TOTP_ISSUER", "[x]"),
        (
            "REALMGATE_SERVICE_TRUSTED_PROXIES",
            "10.0.0.0/8, 192.168.0.1",
        ),
        ("REALMGATE_GATEWAY_PROXY_PROTOCOL", "10.0.0.7"),
    ];
    let config = parse_with("", &env).unwrap();
    assert_eq!(config.realms.admin(), "2024");
    assert_eq!(config.realms.auth(), "true");
    assert_eq!(&*config.totp.issuer, "[x]");
    let networks = ["10.0.0.0/8", "192.168.0.1/32"].map(|it| it.parse().unwrap());
    assert_eq!(config.service.trusted_proxies, networks);
    assert_eq!(config.gateway.transport.proxy_protocol.len(), 1);
    for (name, value, expected) in [
        (
            "TOTP_WINDOW",
            "true",
            "totp.window = true: expected a whole number",
        ),
        (
            "GATEWAY_SERVE_API",
            "1",
            "gateway.serve_api = 1: expected true or false",
        ),
        (
            "SERVICE_TRUSTED_PROXIES",
            "10.0.0.0/8,x",
            "service.trusted_proxies[1] = x: expected an address or a network such as \"10.0.0.0/8\"",
        ),
        (
            "CACHE_TTL",
            "300",
            "cache.ttl = 300: expected a duration with a unit, \"1ms\" to \"24h\", such as \"5s\"",
        ),
    ] {
        let name = format!("REALMGATE_{name}");
        assert_eq!(error_with("", &name, value), format!("{name}: {expected}"));
    }
}

/// The variables that Kubernetes sets for a service with a named port.
fn of_a_service(name: &str) -> Vec<(String, String)> {
    let mut variables = vec![
        (format!("{name}_SERVICE_HOST"), "10.43.0.7".to_owned()),
        (format!("{name}_SERVICE_PORT"), "8082".to_owned()),
        (format!("{name}_SERVICE_PORT_GRPC_WEB"), "8082".to_owned()),
        (format!("{name}_PORT"), "tcp://10.43.0.7:8082".to_owned()),
    ];
    for protocol in ["TCP", "UDP"] {
        let port = format!("{name}_PORT_8082_{protocol}");
        variables.extend([
            (port.clone(), "tcp://[fd00::7]:8082".to_owned()),
            (format!("{port}_PROTO"), protocol.to_ascii_lowercase()),
            (format!("{port}_PORT"), "8082".to_owned()),
            (format!("{port}_ADDR"), "fd00::7".to_owned()),
        ]);
    }
    variables
}

#[test]
fn variables_that_kubernetes_sets_for_services_are_ignored_and_known() {
    for service in [
        "REALMGATE",
        "REALMGATE_GRPC",
        "REALMGATE_METRICS",
        "REALMGATE_PORT_FORWARD",
        "REALMGATE_STORE_2",
    ] {
        let env = of_a_service(service);
        let env: Vec<_> = env
            .iter()
            .map(|(name, value)| (&**name, &**value))
            .collect();
        parse_with("", &env).unwrap_or_else(|error| panic!("{service}: {error}"));
        let known = kubernetes_variables(env.iter().copied());
        assert_eq!(known.len(), env.len(), "{service}");
    }
    // A typo that resembles one of them is still a mistake.
    for (name, value) in [
        ("REALMGATE_GATEWAY_PORT", "8080"),
        ("REALMGATE_GRPC_SERVICE_HOST", "realmgate"),
        ("REALMGATE_METRICS_PORT_HTTP", "8084"),
        ("REALMGATE_LOG_SERVICE_PORT", "many"),
    ] {
        parse_with("", &[(name, value)]).unwrap_err();
        assert_eq!(kubernetes_variables([(name, value)]), [""; 0]);
    }
    assert_eq!(
        kubernetes_variables([("REALMGATE_TOTP_WINDOW", "1")]),
        [""; 0]
    );
}
