//! What front proxies pass on of the form that a route has for denials.

use super::{Program, Rig};
use crate::harness::{get, policies};

pub(super) fn route_says_how_denied_requests_are_responded_to(program: Program) {
    let form = |name: &str, keys: &str| {
        format!(
            "[[route]]\nname = '{name}'\npath = '/{name}'\nallow = [{{ realm = 'ops' }}]\n{keys}\n"
        )
    };
    let routes = [
        form("quiet", "challenge = 'none'"),
        form("acme", "challenge = 'Acme & Co.'"),
        form(
            "help",
            "errors = 'json'\ndenial_headers = { set = { X-Help = 'ask ops' } }",
        ),
        policies(),
    ];
    let rig = Rig::with_routes(program, &[], &routes.concat(), |text| text);
    let basic = "Basic realm=\"realmgate\", charset=\"UTF-8\"";
    let acme = "Basic realm=\"Acme & Co.\", charset=\"UTF-8\"";
    // nginx passes on the challenge only. The files of HAProxy and of Envoy over HTTP list what they
    // pass on.
    let passes_all = matches!(
        program,
        Program::Traefik | Program::Caddy | Program::EnvoyGrpc
    );
    let billing = rig.billing.fields();
    for (path, challenge, help) in [
        ("/quiet", None, None),
        ("/acme", Some(acme), None),
        ("/help", Some(basic), passes_all.then_some("ask ops")),
        ("/api", Some(basic), None),
    ] {
        let reply = get(rig.address(), path, "");
        assert_eq!(reply.status, 401, "{path}: {reply:?}");
        assert_eq!(reply.field("WWW-Authenticate"), challenge, "{path}");
        assert_eq!(reply.field("X-Help"), help, "{path}: {reply:?}");
        if path == "/api" {
            continue;
        }
        let reply = get(rig.address(), path, &billing);
        assert_eq!(reply.status, 403, "{path}: {reply:?}");
        assert_eq!(reply.field("WWW-Authenticate"), None, "{path}");
        assert_eq!(reply.field("X-Help"), help, "{path}: {reply:?}");
    }
    rig.nothing_passed();
}
