use std::error::Error;
use std::os::unix::ffi::OsStringExt;

use super::*;

#[test]
fn text_in_place_of_a_list_or_a_principal_is_rejected_with_the_form() {
    let list = r#"expected an array of addresses, such as ["127.0.0.1:9000"]"#;
    assert_errors(&[(
        "[upstream.a]\npeers = '127.0.0.1:9000'",
        &format!("2: upstream.a.peers = '127.0.0.1:9000': {list}"),
    )]);
    let networks =
        r#"expected an array of addresses and networks, such as ["10.0.0.2", "10.0.1.0/24"]"#;
    assert_errors(&[(
        "[service]\ntrusted_proxies = '10.0.0.2'",
        &format!("2: service.trusted_proxies = '10.0.0.2': {networks}"),
    )]);
    for (typed, expected) in [
        (
            "'billing@payments'",
            r#"{ realm = "payments", name = "billing" }"#,
        ),
        (
            "'payments'",
            r#"{ realm = "payments" }, or { group = "payments" } for a group"#,
        ),
        (
            "'anyone'",
            r#"a table; for anyone write "anyone" without brackets"#,
        ),
        ("3", "a table"),
    ] {
        for key in ["allow", "except"] {
            let error = error(&format!("[[route]]\n{key} = [{typed}]"));
            let expected = format!("2: route[0].{key}[0] = {typed}: expected {expected}");
            assert!(error.contains(&expected), "{error}");
        }
    }
}

#[test]
fn unknown_key_is_rejected_with_the_known_ones() {
    assert_errors(&[
        (
            "\n[totp]\nwindow = 1\nwindwo = 1",
            "4: totp.windwo: unknown key (did you mean window?), expected one of window, algorithm, digits, period, issuer",
        ),
        (
            "[limits]\nx = 1",
            "2: limits.x: unknown key, expected one of header_bytes, header_fields, \
             target_bytes, body_bytes, body_rate, drain_bytes, connections, \
             connections_per_address, requests, requests_per_address, streams, stream_window, \
             connection_window",
        ),
        (
            "[gateway]\nport = 1",
            "2: gateway.port: unknown key, expected one of listen, serve_api, health_path, tls, client_certificates, h2c, proxy_protocol",
        ),
        (
            "[gatway]",
            "1: gatway: unknown key (did you mean gateway?), expected one of include, store, cache, service, gateway, grpc, metrics, admin, realms, \
             credentials, totp, throttle, realm, tls, certificate, limits, timeouts, server, shutdown, log, audit, otlp, compat, networks, group, route, upstream",
        ),
    ]);
    // The listener is called proxy in the documentation, and gateway here.
    let error = error("[proxy]\nlisten = '127.0.0.1:1'");
    let expected = "1: proxy: unknown key (did you mean gateway?), expected";
    assert!(error.contains(expected), "{error}");
    assert_route_errors(&[
        (
            "hosts = 1",
            "2: route[0].hosts: unknown key (did you mean host?), expected one of name, host, path, methods, from, allow, except, mode, \
             upstream, body_bytes, allow_double_slash, allow_encoded_slash, ignore_case, \
             ignore_suffix, strip_prefix, upstream_host, alias_headers, pass_headers, shared_cache, \
             challenge, errors, denial_headers, request_headers, response_headers",
        ),
        (
            "allow = [{ realm = 'a' }, { user = 'b' }]",
            "2: route[0].allow[1].realm: missing, expected 1 to 128 characters, no NUL, no white space at either end\n\
             realmgate.toml:2: route[0].allow[1].user: unknown key, expected one of realm, name, group",
        ),
    ]);
    let expected = "3: upstream.a.peer: unknown key (did you mean peers?), expected one of peers, identity_headers, balance, tls, server_name, \
        ca, client_cert, client_key, http, eject_failures, eject_time, tries, resolve_interval, \
        health_check, health_interval, health_timeout, health_host, requests, connect_timeout, read_timeout, \
        stream_timeout, write_timeout, idle_timeout";
    assert_errors(&[("[upstream.a]\npeers = ['127.0.0.1:1']\npeer = []", expected)]);
}

#[test]
fn wrong_type_is_rejected() {
    assert_errors(&[
        (
            "[totp]\nwindow = '1'",
            "2: totp.window = '1': expected a whole number",
        ),
        (
            "[totp]\nwindow = 1.5",
            "2: totp.window = 1.5: expected a whole number",
        ),
        (
            "[totp]\nwindow = 9223372036854775808",
            "2: totp.window = 9223372036854775808: expected a whole number",
        ),
        (
            "[gateway]\nserve_api = 'yes'",
            "2: gateway.serve_api = 'yes': expected true or false",
        ),
        ("[log]\nfilter = 3", "2: log.filter = 3: expected a string"),
        (
            "[service]\ntrusted_proxies = '10.0.0.0/8'",
            "2: service.trusted_proxies = '10.0.0.0/8': expected an array of addresses and networks, such as [\"10.0.0.2\", \"10.0.1.0/24\"]",
        ),
        (
            "[service]\ntrusted_proxies = [\n  '10.0.0.0/8',\n  8,\n]",
            "4: service.trusted_proxies[1] = 8: expected a string",
        ),
        ("totp = 3", "1: totp = 3: expected a table"),
        ("totp = [3]", "1: totp = [3]: expected a table"),
        (
            "[[totp]]\nwindow = 3",
            "1: totp = [[totp]]: expected a table",
        ),
        (
            "upstream = 3",
            "1: upstream = 3: expected a table; write [upstream.NAME]",
        ),
        ("upstream.a = 3", "1: upstream.a = 3: expected a table"),
        (
            "[route]\nname = 'a'",
            "1: route = [route]: expected an array; write [[route]]",
        ),
        (
            "[certificate]\ncert = 'a'",
            "1: certificate = [certificate]: expected an array; write [[certificate]]",
        ),
        (
            "[[upstream]]\nname = 'a'",
            "1: upstream = [[upstream]]: expected a table; write [upstream.NAME]",
        ),
        (
            "[[realm]]\nname = 'a'",
            "1: realm = [[realm]]: expected a table; write [realm.NAME]",
        ),
        (
            "[upstream.a]\npeers = ['127.0.0.1:1']\nread_timeout = 3",
            "3: upstream.a.read_timeout = 3: expected a duration with a unit such as \"5m\"",
        ),
    ]);
}

#[test]
fn syntax_error_names_line_and_column() {
    assert_errors(&[
        ("[totp]\nwindow = = 1", "2:10: extra `=`, expected nothing"),
        (
            "[totp]\nwindow = 1\nwindow = 2",
            "3:1: duplicate key window",
        ),
        ("[totp", "1:6: unclosed table, expected `]`"),
    ]);
}

#[test]
fn unreadable_file_is_named_with_its_cause() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("r.toml");
    let error = Config::load(Some(&path), []).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("{}: cannot be read", path.display())
    );
    let source = error.source().unwrap().to_string();
    assert_eq!(source, "No such file or directory (os error 2)");
    fs::write(&path, b"\xff").unwrap();
    let error = Config::load(Some(&path), []).unwrap_err();
    assert!(error.source().is_some());
    fs::write(&path, "[totp]\nwindow = 11").unwrap();
    let error = Config::load(Some(&path), []).unwrap_err();
    let expected = format!("{}:2: totp.window = 11: expected 0 to 10", path.display());
    assert_eq!(error.to_string(), expected);
}

#[test]
fn long_values_are_shortened_and_cannot_forge_a_line() {
    assert_errors(&[(
        &format!("[log]\nformat = '{}'", "x".repeat(80)),
        &format!(
            "2: log.format = '{}…: expected \"human\" or \"json\"",
            "x".repeat(59)
        ),
    )]);
    let message = error_with("", "REALMGATE_LOG_FORMAT", "\u{1b}[2Ja\nb");
    let expected =
        "REALMGATE_LOG_FORMAT: log.format = \\u{1b}[2Ja…: expected \"human\" or \"json\"";
    assert_eq!(message, expected);
}

#[test]
fn variable_wins_over_the_file() {
    let text = "[totp]\nwindow = 11\ndigits = 7\n";
    let env = [
        ("REALMGATE_TOTP_WINDOW", "3"),
        ("REALMGATE_STORE_URL", "sqlite:/r.db"),
        ("REALMGATE_LOG_FILTER", "\"debug\""),
        ("REALMGATE_GATEWAY_SERVE_API", "true"),
        ("REALMGATE_SERVICE_TRUSTED_PROXIES", "['10.0.0.0/8']"),
        ("REALMGATE_REALMS_ADMIN", "1979-05-27"),
        ("PATH", "/bin"),
    ];
    let config = parse_with(text, &env).unwrap();
    assert_eq!(config.totp.window, 3);
    assert_eq!(config.totp.parameters.digits(), 7);
    assert_eq!(config.store.database.path(), Some(Path::new("/r.db")));
    assert_eq!(config.log.filter, "debug");
    assert!(config.gateway.serve_api);
    let networks = config.service.trusted_proxies;
    assert_eq!(networks, ["10.0.0.0/8".parse().unwrap()]);
    assert_eq!(config.realms.admin(), "1979-05-27");
}

#[test]
fn every_key_of_the_plain_sections_has_a_variable() {
    let written: toml::Table = uncommented().parse().unwrap();
    for (section, keys) in raw::sections() {
        for key in keys {
            let name = format!("realmgate_{section}_{key}").to_uppercase();
            let value = written[section][key].to_string();
            let text = match section == "store" && OF_SERVERS.contains(key) {
                true => {
                    "[store]\nurl = 'postgres://realmgate@127.0.0.1/realmgate'\nkey_file = 'realmgate.key'"
                }
                false => "",
            };
            parse_with(text, &[(&name, &value)]).unwrap();
        }
    }
}

#[test]
fn bad_variable_is_named() {
    for (name, value, expected) in [
        ("TOTP_WINDOW", "11", "totp.window = 11: expected 0 to 10"),
        (
            "TOTP_WINDOW",
            "two",
            "totp.window = two: expected a whole number",
        ),
        (
            "LOG_FILTER",
            "",
            "log.filter = : expected a level (off, error, warn, info, debug, trace), or directives such as \"warn,realmgate=debug\"",
        ),
        (
            "SERVICE_TRUSTED_PROXIES",
            "['::1', 'x']",
            "service.trusted_proxies[1] = 'x': expected an address or a network such as \"10.0.0.0/8\"",
        ),
        (
            "STORE_URL",
            "postgres://r:secret@db/r",
            "store.url = \"postgres:…\": expected a URL without a password: put it into store.password_file\n\
             REALMGATE_STORE_URL: store.key_file: missing, expected the path of a file with the keys, the same on every node",
        ),
        (
            "TOTP_WINDWO",
            "1",
            "unknown variable, expected REALMGATE_TOTP_ and one of WINDOW, ALGORITHM, DIGITS, PERIOD, ISSUER",
        ),
        (
            "ROUTE_NAME",
            "1",
            "unknown variable, expected REALMGATE_ and one of STORE, CACHE, SERVICE, GATEWAY, GRPC, METRICS, ADMIN, REALMS, \
             CREDENTIALS, TOTP, THROTTLE, TLS, LIMITS, TIMEOUTS, SERVER, SHUTDOWN, LOG, AUDIT, OTLP, COMPAT",
        ),
    ] {
        let name = format!("REALMGATE_{name}");
        let message = error_with("[totp]\nwindow = 1", &name, value);
        assert_eq!(message, format!("{name}: {expected}"));
    }
}

#[test]
fn place_in_the_file_stays_right_beside_variables() {
    let message = error_with("\n[totp]\nwindow = 11", "REALMGATE_TOTP_DIGITS", "7");
    assert_eq!(
        message,
        "realmgate.toml:3: totp.window = 11: expected 0 to 10"
    );
    let message = error_with("totp = 3", "REALMGATE_TOTP_DIGITS", "7");
    assert_eq!(message, "realmgate.toml:1: totp = 3: expected a table");
    let message = error_with("[log\n", "REALMGATE_TOTP_DIGITS", "7");
    assert!(message.starts_with("realmgate.toml:1:"), "{message}");
}

#[test]
fn variables_of_others_are_ignored() {
    for name in [
        "REALMGATE_CONFIG",
        "REALMGATE_IDENTITY",
        "REALMGATE_SEED",
        "REALMGATE_SEED_FILE",
        "REALMGATE_URL",
        "REALMGATE_PORT",
        "REALMGATE_PORT_8081_TCP_ADDR",
        "REALMGATE_SERVICE_HOST",
        "REALMGATE_SERVICE_PORT",
        "REALMGATE_SERVICE_PORT_HTTP",
        "XREALMGATE_FOO",
    ] {
        parse_with("", &[(name, "x")]).unwrap();
    }
}

#[test]
fn variable_that_is_not_text_is_rejected() {
    let value = || OsString::from_vec(vec![0xff]);
    let name = || OsString::from("REALMGATE_LOG_FILTER");
    let error = Config::parse("", "r.toml", [(name(), value())]).unwrap_err();
    assert_eq!(error.to_string(), "REALMGATE_LOG_FILTER: not UTF-8");
    Config::parse("", "r.toml", [("REALMGATE_SEED".into(), value())]).unwrap();
    Config::parse("", "r.toml", [(value(), value())]).unwrap();
}
