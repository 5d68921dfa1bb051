//! An upstream with an identity header of its own, behind front proxies whose files list it.

use super::{Program, Rig};
use crate::harness::{field, get, policies};

/// Adds the header to a file, as docs/forward-auth.md says.
fn listed(text: &str) -> String {
    text
        // nginx
        .replace(
            "            auth_request_set $realmgate_user ",
            "            auth_request_set $realmgate_who $upstream_http_x_who;\n            \
             proxy_set_header X-Who $realmgate_who;\n            auth_request_set $realmgate_user ",
        )
        // Traefik
        .replace("authResponseHeaders: [", "authResponseHeaders: [X-Who, ")
        // Caddy
        .replace("copy_headers ", "copy_headers X-Who ")
        // HAProxy
        .replace(
            "local IDENTITY = {\n",
            "local IDENTITY = {\n    [\"x-who\"] = \"txn.realmgate_who\",\n",
        )
        .replace(
            "    http-request set-header X-Auth-Name ",
            "    http-request del-header X-Who\n    \
             http-request set-header X-Who %[var(txn.realmgate_who)] if { var(txn.realmgate_who) -m found }\n    \
             http-request set-header X-Auth-Name ",
        )
        // Envoy over HTTP
        .replace(
            "                          allowed_upstream_headers:\n                            patterns:\n",
            "                          allowed_upstream_headers:\n                            patterns:\n                              - exact: x-who\n",
        )
}

pub(super) fn identity_header_of_an_upstream_comes_from_nobody_else(program: Program) {
    let routes =
        "[[route]]\nname = 'own'\npath = '/own'\nallow = 'authenticated'\nupstream = 'app'\n\
        [[route]]\nname = 'open'\npath = '/open'\nallow = 'anyone'\nupstream = 'app'\n"
            .to_owned()
            + &policies()
            + "[upstream.app]\npeers = ['127.0.0.1:9']\nidentity_headers = { user = 'X-Who' }\n";
    let rig = Rig::with_routes(program, &[], &routes, |text| listed(&text));
    let forged = "X-Who: root@ops\r\n";
    let billing = format!("{forged}{}", rig.billing.fields());
    for (path, fields, who) in [
        ("/own", &*billing, "billing@payments"),
        ("/api", &billing, ""),
        ("/open", forged, ""),
        ("/public", forged, ""),
    ] {
        let reply = get(rig.address(), path, fields);
        assert_eq!(reply.status, 200, "{path}: {}", rig.front.log());
        let seen = rig.app.seen().pop().unwrap();
        assert!(seen.starts_with(&format!("GET {path} ")), "{seen}");
        assert_eq!(field(&seen, "X-Who").unwrap_or_default(), who, "{seen}");
        let marked = format!("x_who: root@ops\r\nX.Who: root@ops\r\n{fields}");
        // Envoy rejects such names.
        let reply = get(rig.address(), path, &marked);
        assert!(matches!(reply.status, 200 | 400), "{path}: {reply:?}");
    }
    for seen in rig.app.seen() {
        assert!(!seen.contains("root"), "{seen}");
    }
}
