//! Headers that pass, and headers that carry a credential.

use super::{assert_route_errors, error, parse, with_route};
use crate::http::reserved;

#[test]
fn only_address_headers_of_others_pass() {
    let lines = "alias_headers = ['X_A']\npass_headers = ['CF-Connecting-IP', 'true-client-ip']";
    let rewrite = parse(&with_route(lines)).routes.remove(0).rewrite;
    let passing = ["x_a", "cf-connecting-ip", "true-client-ip"];
    assert_eq!(rewrite.passing, passing);
    let expected = "expected a header in which a CDN names the client's address, such as \"CF-Connecting-IP\", \
        and which realmgate does not set itself";
    let others = reserved::IDENTITIES.iter().chain(&reserved::OTHERS);
    let more = [
        "X-Auth-Name",
        "x-auth-token",
        "CF_Connecting_IP",
        "X-Plain",
        "",
        "a b",
    ];
    for name in others.chain(&reserved::METHOD_OVERRIDES).chain(&more) {
        assert_route_errors(&[(
            &format!("pass_headers = ['Fly-Client-IP', '{name}']"),
            &format!("2: route[0].pass_headers[1] = '{name}': {expected}"),
        )]);
    }
    assert_route_errors(&[(
        "pass_headers = ['Fly-Client-IP', 'fly-client-ip']",
        "2: route[0].pass_headers[1] = 'fly-client-ip': expected each name once",
    )]);
    let many = ["'X-Real-IP'"; 9].join(",");
    let message = error(&with_route(&format!("pass_headers = [{many}]")));
    assert!(
        message.ends_with("9 names: expected at most 8 names"),
        "{message}"
    );
}

#[test]
fn identity_header_of_another_gateway_may_become_ours_and_address_header_may_not() {
    for name in ["Remote-User", "X-WebAuth-User", "X-Auth-Request-User"] {
        let text = format!("[credentials]\nname_header = '{name}'\n");
        let shown = parse(&text).credential_headers.name;
        assert_eq!(shown, *name.to_ascii_lowercase());
    }
    for name in [
        "CF-Connecting-IP",
        "Remote_User",
        "X-Port",
        "X-Client-Subject",
    ] {
        let text = format!("[credentials]\nname_header = '{name}'\n");
        let expected = "expected a header without another meaning";
        assert!(error(&text).ends_with(expected), "{name}");
    }
}
