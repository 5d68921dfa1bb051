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
        "2: route[0].host = 'https://a.example': expected a host such as \"app.example.org\", without a scheme",
    )]);
}
