use super::*;

fn peer(address: PeerAddress, weight: usize) -> Peer {
    Peer { address, weight }
}

#[test]
fn upstream_with_missing_or_contradictory_keys_is_rejected() {
    let peers = "[upstream.a]\npeers = ['127.0.0.1:1']\n";
    for (more, expected) in [
        (
            "tls = true",
            "1: upstream.a.server_name: missing, expected the name that the peers have a certificate for",
        ),
        (
            "tls = true\nserver_name = ''",
            "4: upstream.a.server_name = '': expected the name that the peers have a certificate for",
        ),
        (
            "server_name = 'a'",
            "3: upstream.a.server_name = 'a': expected tls = true beside it",
        ),
        (
            "ca = 'a.pem'",
            "3: upstream.a.ca = 'a.pem': expected tls = true beside it",
        ),
        (
            "tls = true\nserver_name = 'a'\nclient_key = 'k'",
            "5: upstream.a.client_key = 'k': expected client_cert beside it",
        ),
        (
            "http = 'auto'",
            "3: upstream.a.http = 'auto': expected \"1.1\" or \"2\", or with tls \"auto\"",
        ),
        (
            "balance = 'random'",
            "3: upstream.a.balance = 'random': expected \"round-robin\", \"least-busy\" or \"hash\"",
        ),
        ("tries = 0", "3: upstream.a.tries = 0: expected 1 to 10"),
    ] {
        let message = error(&format!("{peers}{more}"));
        assert_eq!(message, format!("realmgate.toml:{expected}"), "{more}");
    }
    for (peers, expected) in [
        (
            "{ address = 'localhost:1', weight = 0 }",
            "peers[0].weight = 0: expected 1 to 100",
        ),
        (
            "{ weight = 1 }",
            "peers[0].address: missing, expected an address",
        ),
        (
            "{ address = '127.0.0.1:1', wait = 1 }",
            "peers[0].wait: unknown key, expected one of address or weight",
        ),
        (
            "'unix:a'",
            "peers[0] = 'unix:a': expected unix: and the path of a socket, at most 107 bytes",
        ),
        (
            "'[::1]:1', '[::1]:1'",
            "peers[1] = '[::1]:1': expected an address that is not there already",
        ),
    ] {
        let message = error(&format!("[upstream.a]\npeers = [{peers}]"));
        assert_eq!(message, format!("realmgate.toml:2: upstream.a.{expected}"));
    }
}

#[test]
fn name_of_a_peer_is_not_looked_up() {
    let config = parse(
        "[upstream.a]\npeers = ['nobody.invalid:9000', '[::1]:9', { address = 'unix:/a/b', weight = 3 }]",
    );
    let expected = [
        peer(PeerAddress::Named("nobody.invalid:9000".to_owned()), 1),
        peer(PeerAddress::At("[::1]:9".parse().unwrap()), 1),
        peer(PeerAddress::Unix("/a/b".into()), 3),
    ];
    assert_eq!(config.upstreams[0].peers, expected);
    for name in ["a", "my_app", "a-b.example.", "3com.example", "A.internal"] {
        let config = parse(&format!("[upstream.a]\npeers = ['{name}:1']"));
        let named = PeerAddress::Named(format!("{name}:1"));
        assert_eq!(config.upstreams[0].peers, [peer(named, 1)]);
    }
}

#[test]
fn invalid_host_name_is_rejected() {
    let long = format!("{}.example", "a".repeat(64));
    for name in [
        "a b",
        "a/b",
        "a..b",
        ".a",
        "127.1",
        "1",
        "0x7f",
        "300.1.1.1",
        "[::1",
        "::1",
        "b\u{fc}ro",
        "user@a",
        &long,
    ] {
        let message = error(&format!("[upstream.a]\npeers = ['{name}:80']"));
        let expected = "expected an IP address (IPv6 in brackets) or the name of a host, and a port, without a scheme";
        assert!(message.ends_with(expected), "{message}");
    }
}

#[test]
fn bad_upstream_is_rejected() {
    let scheme = "expected HOST:PORT without a scheme; tls = true is for https";
    let peers = "expected at least one address such as \"127.0.0.1:9000\" or \"app.internal:9000\"";
    let port = "expected HOST:PORT with a port from 1 to 65535";
    for (value, at, expected) in [
        ("[]", "peers = []", peers),
        ("['127.0.0.1']", "peers[0] = '127.0.0.1'", port),
        ("['a:1', ':80']", "peers[1] = ':80'", port),
        ("['127.0.0.1:0']", "peers[0] = '127.0.0.1:0'", port),
        ("['127.0.0.1:65536']", "peers[0] = '127.0.0.1:65536'", port),
        ("['http://a']", "peers[0] = 'http://a'", scheme),
        ("['https://a:443']", "peers[0] = 'https://a:443'", scheme),
        ("['http://a:80']", "peers[0] = 'http://a:80'", scheme),
    ] {
        let text = format!(
            "[upstream.a]\npeers = {}",
            value.replace("'a:1'", "'[::1]:1'")
        );
        assert_errors(&[(&text, &format!("2: upstream.a.{at}: {expected}"))]);
    }
    let message = error("[upstream.'']\npeers = []");
    let expected = "realmgate.toml:1: upstream = \"\": expected a name of 1 to 64 characters";
    assert!(message.starts_with(expected), "{message}");
}

#[test]
fn health_check_is_a_connection_or_a_path() {
    let upstream = |more: &str| format!("[upstream.a]\npeers = ['127.0.0.1:1']\n{more}");
    let config = parse(&upstream("health_check = '/up'\nhealth_interval = '5s'"));
    let health = config.upstreams[0].health.as_ref().unwrap();
    assert_eq!(health.path.as_deref(), Some("/up"));
    assert_eq!(health.interval.as_secs(), 5);
    let config = parse(&upstream("health_check = 'tcp'"));
    assert_eq!(config.upstreams[0].health.as_ref().unwrap().path, None);
    assert_eq!(config.upstreams[0].health.as_ref().unwrap().host, None);
    assert_errors(&[
        (
            &upstream("health_check = 'tcp'\nhealth_host = 'a'"),
            "4: upstream.a.health_host = 'a': expected health_check with a path beside it",
        ),
        (
            &upstream("health_check = '/'\nhealth_host = 'a/b'"),
            "4: upstream.a.health_host = 'a/b': expected a host such as \"app.internal\" or \"app.internal:8080\"",
        ),
        (
            &upstream("health_check = 'http'"),
            "3: upstream.a.health_check = 'http': expected \"tcp\", or a path such as \"/healthz\" \
             that returns 200",
        ),
        (
            &upstream("health_timeout = '1s'"),
            "3: upstream.a.health_timeout = '1s': expected health_check beside it",
        ),
    ]);
}
