use super::*;

#[test]
fn filter_takes_levels_in_any_case_and_directives() {
    for filter in [
        "OFF",
        "Debug",
        "3",
        "warn,realmgate=debug",
        "realmgate::store=info",
        "[span]=warn",
    ] {
        parse(&format!("[log]\nfilter = '{filter}'"));
    }
}

#[test]
fn listeners_are_at_addresses_of_their_own() {
    let metrics = "metrics.listen = \"127.0.0.1:8081\": expected another address than service.listen (127.0.0.1:8081)";
    assert_errors(&[
        (
            "[metrics]\nlisten = '127.0.0.1:8081'",
            &format!("2: {metrics}"),
        ),
        (
            "[grpc]\nlisten = '0.0.0.0:8080'",
            "2: grpc.listen = \"0.0.0.0:8080\": expected another address than gateway.listen (127.0.0.1:8080)",
        ),
        (
            "[service]\nlisten = '[::]:8084'",
            "2: metrics.listen = \"127.0.0.1:8084\": expected another address than service.listen ([::]:8084)",
        ),
        (
            "[metrics]\nlisten = '127.0.0.1:8082'\n[grpc]\nlisten = '127.0.0.1:8082'",
            "2: metrics.listen = \"127.0.0.1:8082\": expected another address than grpc.listen (127.0.0.1:8082)",
        ),
        (
            "[metrics]\nlisten = false",
            "2: metrics.listen = false: expected an IP address and a port such as \"127.0.0.1:8084\", or \"off\"",
        ),
        (
            "[metrics]\nlisten = 'none'",
            "2: metrics.listen = 'none': expected an IP address and a port such as \"127.0.0.1:8084\", or \"off\"",
        ),
    ]);
    parse("[metrics]\nlisten = '127.0.0.2:8081'");
    parse("[metrics]\nlisten = '127.0.0.1:0'\n[grpc]\nlisten = '127.0.0.1:0'");
}

#[test]
fn host_of_a_route_has_no_scheme() {
    assert_route_errors(&[(
        "host = 'https://a.example'",
        "2: route[0].host = 'https://a.example': expected a host such as \"app.example.org\", or \"*.\" or \"**.\" and a domain, without a scheme",
    )]);
}

#[test]
fn proxy_that_is_off_needs_no_upstream_and_no_address() {
    let off = "[gateway]\nlisten = 'off'\n[service]\nlisten = '127.0.0.1:8080'\n";
    let route = "[[route]]\nname = 'web'\nallow = 'authenticated'\n";
    let config = parse(&format!("{off}{route}"));
    assert_eq!(config.gateway.listen, None);
    assert_eq!(config.routes[0].upstream, None);
    assert_eq!(warned(&config), [""; 0]);
    let upstream = "upstream = 'web'\n[upstream.web]\npeers = ['127.0.0.1:1']";
    let config = parse(&format!("{off}{route}{upstream}"));
    assert_eq!(config.routes[0].upstream, Some(0));
    assert_errors(&[
        (
            &format!("{off}{route}upstream = 'web'"),
            "8: route[0].upstream = 'web': expected a defined upstream (none is defined; write [upstream.NAME] with peers = [\"HOST:PORT\"])",
        ),
        (
            route,
            "1: route[0].upstream: missing, expected a defined upstream (none is defined; write [upstream.NAME] with peers = [\"HOST:PORT\"]); with gateway.listen = \"off\" none is needed",
        ),
        (
            "[gateway]\nlisten = false",
            "2: gateway.listen = false: expected an IP address and a port such as \"127.0.0.1:8080\", or \"off\"",
        ),
        (
            "[gateway]\nlisten = 'of'",
            "2: gateway.listen = 'of': expected an IP address and a port such as \"127.0.0.1:8080\", or \"off\"",
        ),
        (
            "[service]\nlisten = 'off'",
            "2: service.listen = 'off': expected an IP address and a port such as \"127.0.0.1:8081\"",
        ),
    ]);
}

#[test]
fn settings_of_a_proxy_that_is_off_are_warned_of() {
    let text = "[gateway]\nlisten = 'off'\nserve_api = true\nh2c = true\nproxy_protocol = ['10.0.0.1']\n\
                [upstream.web]\npeers = ['127.0.0.1:1']";
    let keys = warned(&parse(text));
    let keys: Vec<_> = keys
        .iter()
        .map(|it| it.split(' ').next().unwrap())
        .collect();
    let expected = [
        "gateway.serve_api",
        "gateway.h2c",
        "gateway.proxy_protocol",
        "upstream",
    ];
    assert_eq!(keys, expected);
    assert_eq!(
        warned(&parse(&text.replace("'off'", "'127.0.0.1:0'"))),
        [""; 0]
    );
}
