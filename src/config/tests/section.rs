use ipnet::IpNet;

use super::*;
use crate::auth::Algorithm;

#[test]
fn values_are_read() {
    let config = parse(
        r#"
        cache.ttl = "1m 30s"
        [store]
        url = "sqlite:/var/lib/r/r.db"
        [service]
        trusted_proxies = ["10.0.0.0/8", "192.0.2.1"]
        [totp]
        window = 10
        algorithm = "sha256"
        digits = 8
        [credentials]
        token_header = "X-Code"
        name_chars = 64
        [log]
        format = "json"
        "#,
    );
    assert_eq!(
        config.store.database.path(),
        Some(Path::new("/var/lib/r/r.db"))
    );
    assert_eq!(config.store.key.path(), Some(Path::new("/var/lib/r/r.key")));
    assert_eq!(config.store.cache.ttl, Duration::from_secs(90));
    let networks: Vec<_> = config.service.trusted_proxies;
    assert_eq!(
        networks,
        [
            "10.0.0.0/8".parse().unwrap(),
            "192.0.2.1/32".parse::<IpNet>().unwrap()
        ]
    );
    assert_eq!(config.totp.window, 10);
    assert_eq!(config.totp.parameters.algorithm(), Algorithm::Sha256);
    assert_eq!(config.totp.parameters.digits(), 8);
    assert_eq!(config.credential_headers.token, "x-code");
    assert_eq!(config.credential_headers.name_chars, 64);
    assert_eq!(config.log.format, LogFormat::Json);
    assert!(config.server.threads >= 1);
}

#[test]
fn defaults_are_what_rfc_6238_recommends() {
    let config = parse("");
    assert_eq!(config.totp.window, 1);
    let parameters = config.totp.parameters;
    assert_eq!((parameters.digits(), parameters.period()), (6, 30));
}

#[test]
fn unknown_principals_are_remembered_as_long_as_known_ones() {
    let cache = parse("").store.cache;
    assert_eq!(cache.ttl, cache.unknown_ttl);
}

#[test]
fn number_out_of_range_is_rejected() {
    for (section, key, least, most) in [
        ("store", "readers", 1, 32),
        ("cache", "capacity", 1, 100_000_000),
        ("cache", "unknown_capacity", 1, 100_000_000),
        ("credentials", "name_chars", 14, 128),
        ("totp", "window", 0, 10),
        ("totp", "digits", 6, 8),
        ("totp", "period", 1, 3600),
        ("throttle", "failures", 1, 1_000_000),
        ("throttle", "source_failures", 1, 1_000_000),
        ("throttle", "capacity", 1024, 100_000_000),
        ("limits", "header_bytes", 1024, 1_048_575),
        ("limits", "header_fields", 8, 256),
        ("limits", "target_bytes", 256, 65_534),
        ("limits", "body_rate", 0, 1_000_000),
        ("limits", "requests", 1, 1_000_000),
        ("limits", "requests_per_address", 1, 1_000_000),
        ("limits", "streams", 1, 1_000),
        ("limits", "stream_window", 65_535, 16_777_216),
        ("limits", "connection_window", 65_535, 1_073_741_824),
        ("limits", "body_bytes", 1024, 16_777_216),
        ("limits", "drain_bytes", 0, 1_073_741_824),
        ("server", "threads", 0, 1024),
        ("server", "upstream_idle_connections", 1, 1_000_000),
    ] {
        let text = |number: i64| format!("[{section}]\n{key} = {number}");
        parse(&text(least));
        parse(&text(most));
        let expected = |number| {
            format!("realmgate.toml:2: {section}.{key} = {number}: expected {least} to {most}")
        };
        assert_eq!(
            error(&text(most + 1)),
            expected(most + 1).replace(" 14 ", " 1 ")
        );
        if key != "name_chars" {
            assert_eq!(error(&text(least - 1)), expected(least - 1));
        }
    }
    assert_errors(&[
        (
            "[credentials]\nname_chars = 0",
            "2: credentials.name_chars = 0: expected 1 to 128",
        ),
        (
            "[credentials]\nname_chars = 13",
            "2: realms.admin = \"ungleich-admin\": expected 1 to 13 characters, no NUL, no white \
             space at either end",
        ),
    ]);
}

#[test]
fn bad_duration_is_rejected() {
    let keys = [
        ("store", "timeout"),
        ("cache", "ttl"),
        ("cache", "unknown_ttl"),
        ("cache", "stale_if_error"),
        ("timeouts", "keep_alive"),
        ("timeouts", "read"),
        ("timeouts", "write"),
        ("timeouts", "body"),
        ("timeouts", "drain"),
        ("shutdown", "grace"),
        ("throttle", "trust"),
        ("throttle", "forgive"),
    ];
    for (section, key) in keys {
        for value in ["0s", "0", "5", "", "soon", "-1s", "999us", "24h 1s"] {
            let expected = if section == "throttle" || key == "keep_alive" {
                "a duration of whole seconds, \"1s\" to \"24h\""
            } else {
                "a duration with a unit, \"1ms\" to \"24h\", such as \"5s\""
            };
            assert_errors(&[(
                &format!("[{section}]\n{key} = \"{value}\""),
                &format!("2: {section}.{key} = \"{value}\": expected {expected}"),
            )]);
        }
        assert_errors(&[(
            &format!("[{section}]\n{key} = 300"),
            &format!("2: {section}.{key} = 300: expected a duration with a unit such as \"5m\""),
        )]);
        parse(&format!("[{section}]\n{key} = '1s'"));
        parse(&format!("[{section}]\n{key} = '24h'"));
    }
    assert_errors(&[
        (
            "[timeouts]\nkeep_alive = '1500ms'",
            "2: timeouts.keep_alive = '1500ms': expected a duration of whole seconds, \"1s\" to \"24h\"",
        ),
        (
            "[upstream.a]\npeers = ['127.0.0.1:1']\nread_timeout = '0s'",
            "3: upstream.a.read_timeout = '0s': expected a duration with a unit, \"1ms\" to \
             \"24h\", such as \"5s\"",
        ),
    ]);
}

#[test]
fn store_other_than_a_file_is_rejected_without_showing_its_password() {
    let sqlite =
        "expected \"sqlite:PATH\" with the path of a file, no \"//\" before it and no \"?\" in it";
    assert_errors(&[
        (
            "[store]\nurl = 'postgres://r:secret@db/r'\nkey_file = 'k'",
            "2: store.url = \"postgres:…\": expected a URL without a password: put it into store.password_file",
        ),
        (
            "[store]\nurl = 'r.db'",
            "2: store.url = \"…\": expected \"sqlite:PATH\" or \"postgres://USER@HOST/DATABASE\"",
        ),
        (
            "[store]\nurl = ''",
            "2: store.url = \"…\": expected \"sqlite:PATH\" or \"postgres://USER@HOST/DATABASE\"",
        ),
        (
            "[store]\nurl = 'sqlite:r.key'",
            "2: store.key_file = \"r.key\": expected another file than the database",
        ),
        (
            "[store]\nkey_file = 'realmgate-sealing-key-1:abab'",
            "2: store.key_file = a key: expected the path of a file with the key, not the key itself",
        ),
        (
            "[store]\nkey_file = ''",
            "2: store.key_file = '': expected the path of a file",
        ),
    ]);
    for path in ["", ":memory:", "//r.db", "data/", "r.db?mode=ro", ".."] {
        let text = format!("[store]\nurl = 'sqlite:{path}'");
        assert_errors(&[(&text, &format!("2: store.url = 'sqlite:{path}': {sqlite}"))]);
    }
}

#[test]
fn bad_network_is_rejected() {
    let expected = "expected an address or a network such as \"10.0.0.0/8\"";
    for value in ["10.0.0.0/33", "10.0.0/8", "proxy", ""] {
        assert_errors(&[(
            &format!("[service]\ntrusted_proxies = ['::1', '{value}']"),
            &format!("2: service.trusted_proxies[1] = '{value}': {expected}"),
        )]);
    }
    assert_errors(&[(
        "[service]\ntrusted_proxies = ['10.1.0.0/8']",
        "2: service.trusted_proxies[0] = '10.1.0.0/8': expected a network without host bits, \
         \"10.0.0.0/8\"",
    )]);
}

#[test]
fn no_trusted_proxy_is_rejected_with_routes_only() {
    let service = "[service]\ntrusted_proxies = []\n";
    assert_errors(&[(
        &format!("{service}{}", with_route("")),
        "2: service.trusted_proxies = []: expected at least one network while there are routes, \
         since forward-auth would believe nobody (or say service.no_front_proxy = true)",
    )]);
    let said = format!("{service}no_front_proxy = true\n{}", with_route(""));
    assert_eq!(parse(&said).service.trusted_proxies, []);
    assert_eq!(parse(service).service.trusted_proxies, []);
}

#[test]
fn bad_listener_is_rejected() {
    assert_errors(&[
        (
            "[service]\nlisten = 'localhost:1'",
            "2: service.listen = 'localhost:1': expected an IP address and a port such as \
             \"127.0.0.1:8081\"",
        ),
        (
            "[gateway]\nlisten = '127.0.0.1:8081'",
            "2: gateway.listen = \"127.0.0.1:8081\": expected another address than service.listen \
             (127.0.0.1:8081)",
        ),
        (
            "[service]\nlisten = '0.0.0.0:8080'",
            "2: gateway.listen = \"127.0.0.1:8080\": expected another address than service.listen \
             (0.0.0.0:8080)",
        ),
    ]);
    parse("[gateway]\nlisten = '127.0.0.1:0'\n[service]\nlisten = '127.0.0.1:0'");
    parse("[gateway]\nlisten = '127.0.0.2:8081'");
}

#[test]
fn bad_names_are_rejected() {
    let taken = "expected a header without another meaning";
    assert_errors(&[
        (
            "[realms]\nauth = 'ungleich-admin'",
            "2: realms.auth = \"ungleich-admin\": expected another realm than realms.admin",
        ),
        (
            "[realms]\nadmin = ''",
            "2: realms.admin = \"\": expected 1 to 128 characters, no NUL, no white space at \
             either end",
        ),
        (
            "[credentials]\nname_header = 'X Name'",
            "2: credentials.name_header = 'X Name': expected the name of a header",
        ),
        (
            "[credentials]\nrealm_header = 'x_auth.name'",
            "2: credentials.realm_header = 'x_auth.name': expected a header of its own, \
             every mark counting as \"-\"",
        ),
    ]);
    for name in [
        "Authorization",
        "host",
        "Content_Length",
        "X-Forwarded-User",
        "Connection",
        "SCRIPT_NAME",
        "Proxy",
        "X-Original-Host",
    ] {
        assert_errors(&[(
            &format!("[credentials]\ntoken_header = '{name}'"),
            &format!("2: credentials.token_header = '{name}': {taken}"),
        )]);
    }
}

#[test]
fn bad_word_is_rejected() {
    assert_errors(&[
        (
            "[totp]\nalgorithm = 'MD5'",
            "2: totp.algorithm = 'MD5': expected one of SHA1, SHA256, SHA512",
        ),
        (
            "[log]\nformat = 'xml'",
            "2: log.format = 'xml': expected \"human\" or \"json\"",
        ),
        (
            "[log]\nfilter = 'a=b=c'",
            "2: log.filter = 'a=b=c': expected a level (off, error, warn, info, debug, trace), or directives such as \"warn,realmgate=debug\"",
        ),
        (
            "[log]\nfilter = 'verbose'",
            "2: log.filter = 'verbose': expected a level (off, error, warn, info, debug, trace), or directives such as \"warn,realmgate=debug\"",
        ),
        (
            "[log]\nfilter = 'warn,verbose'",
            "2: log.filter = 'warn,verbose': expected a level (off, error, warn, info, debug, trace), or directives such as \"warn,realmgate=debug\"",
        ),
        (
            "[log]\nfilter = ' '",
            "2: log.filter = ' ': expected a level (off, error, warn, info, debug, trace), or directives such as \"warn,realmgate=debug\"",
        ),
        (
            "[log]\naccess = 'some'",
            "2: log.access = 'some': expected \"off\", \"failed\" or \"all\"",
        ),
        (
            "[log]\naccess_one_in = 0",
            "2: log.access_one_in = 0: expected 1 to 1000000",
        ),
        (
            "[log]\naccess_file = ''",
            "2: log.access_file = '': expected the path of a file",
        ),
        (
            "[otlp]\nendpoint = 'https://a:4317'",
            "2: otlp.endpoint = 'https://a:4317': expected the address of a collector such as \
             \"http://127.0.0.1:4317\"",
        ),
        (
            "[otlp]\nendpoint = 'http://a:4318/v1/traces'",
            "2: otlp.endpoint = 'http://a:4318/v1/traces': expected the address of a collector such as \
             \"http://127.0.0.1:4317\"",
        ),
    ]);
}

#[test]
fn audit_log_is_a_file_of_its_own() {
    let another = "expected another file than the database and its key";
    assert_errors(&[
        (
            "[audit]\nfile = '/'",
            "2: audit.file = '/': expected the path of a file",
        ),
        (
            "[audit]\nfile = 'realmgate.db'",
            &format!("2: audit.file = 'realmgate.db': {another}"),
        ),
        (
            "[audit]\nfile = 'realmgate.key'",
            &format!("2: audit.file = 'realmgate.key': {another}"),
        ),
    ]);
}

#[test]
fn header_that_names_the_client_means_nothing_else() {
    let of = |name: &str| {
        parse_with(&format!("[service]\nclient_address_header = {name:?}"), &[])
            .map(|config| config.service.client_address_header.unwrap().to_string())
    };
    for name in ["X-Forwarded-For", "X-Real-IP", "CF-Connecting-IP"] {
        assert_eq!(of(name).unwrap(), name.to_ascii_lowercase());
    }
    for name in [
        "",
        "a b",
        "Host",
        "Authorization",
        "Connection",
        "Forwarded",
        "REMOTE_ADDR",
    ] {
        let error = of(name).unwrap_err().to_string();
        assert!(
            error.contains("a header that contains an address"),
            "{error}"
        );
    }
}
