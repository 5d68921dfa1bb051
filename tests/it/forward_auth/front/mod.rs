//! Forward-auth with real front proxies, each with its file from `deploy/`.
//!
//! [`cases`] contains the properties; each is a separate test for each front proxy.

mod answers;
mod cases;
mod classes;
mod connections;
mod denials;
mod doctor;
mod edges;
mod http2;
mod identity_names;
mod keep_alive;
mod manifests;
mod paths;
mod program;
mod reserved;
mod tee;

use std::collections::HashSet;
use std::net::SocketAddr;

use crate::harness::{Caller, Gate, Upstream, field, policies};
use program::{Program, Running};
use tee::Tee;

/// The address of nginx's HTTP/2 listener, on the port of its HTTP/1 listener.
const HTTP2_HOST: &str = "127.0.0.2";

/// Client, front proxy, realmgate and application, and two principals with different rights.
struct Rig {
    front: Running,
    tee: Tee,
    gate: Gate,
    app: Upstream,
    /// `billing@payments`: may use routes for every authenticated principal.
    billing: Caller,
    /// `olga@ops`: may also use `/ops` and `admin.example`.
    olga: Caller,
}

impl Rig {
    fn start(program: Program) -> Self {
        Self::edited(program, |text| text)
    }

    /// The same with edited files.
    fn edited(program: Program, edit: fn(String) -> String) -> Self {
        Self::with(program, &[], edit)
    }

    /// The same with settings for realmgate.
    fn with(program: Program, settings: &[(&str, &str)], edit: fn(String) -> String) -> Self {
        Self::with_routes(program, settings, &policies(), edit)
    }

    /// The same with these routes.
    fn with_routes(
        program: Program,
        settings: &[(&str, &str)],
        routes: &str,
        edit: fn(String) -> String,
    ) -> Self {
        let app = Upstream::start();
        let grpc = "[grpc]\nlisten = \"127.0.0.1:0\"\n";
        // As in the examples: no proxy, and routes without upstreams.
        let mut settings = settings.to_vec();
        if program == Program::EnvoyHttp2 {
            settings.push(("REALMGATE_SERVICE_H2C", "true"));
        }
        let gate = Gate::start_without_proxy(&settings, &format!("{grpc}{routes}"));
        let tee = Tee::start(match program {
            Program::EnvoyGrpc => gate.grpc.unwrap(),
            _ => gate.service,
        });
        let front = program.start(tee.address, app.address, edit);
        Self {
            billing: gate.register("billing", "payments"),
            olga: gate.register("olga", "ops"),
            front,
            tee,
            gate,
            app,
        }
    }

    /// The same with an HTTP/2 listener. nginx's file leaves HTTP/2 to its reader, who would use
    /// TLS; here it is a second cleartext listener.
    fn with_http2(program: Program) -> Self {
        Self::edited(program, |text| {
            let lines = text.lines().map(|line| {
                match line.trim_start().strip_prefix("listen 127.0.0.1:") {
                    Some(port) => {
                        let port = port.trim_end_matches(';');
                        format!("{line}\nlisten {HTTP2_HOST}:{port} http2;")
                    }
                    None => line.to_owned(),
                }
            });
            lines.collect::<Vec<_>>().join("\n") + "\n"
        })
    }

    fn address(&self) -> SocketAddr {
        self.front.address
    }

    fn http2_address(&self) -> SocketAddr {
        let host = match self.front.program {
            Program::Nginx => HTTP2_HOST.parse().unwrap(),
            _ => self.front.address.ip(),
        };
        SocketAddr::new(host, self.front.address.port())
    }

    /// Asserts that the application received nothing.
    #[track_caller]
    fn nothing_passed(&self) {
        let seen = self.app.seen();
        assert!(seen.is_empty(), "{seen:?}");
    }

    /// Returns the only request that the application received, with each identity header of `who`
    /// exactly once, and without a credential.
    #[track_caller]
    fn passed_as(&self, who: &Caller) -> String {
        let seen = self.app.seen();
        assert_eq!(seen.len(), 1, "{seen:?} {}", self.front.log());
        let seen = seen.into_iter().next().unwrap();
        assert_eq!(field(&seen, "X-Auth-Name"), Some(&*who.name), "{seen}");
        assert_eq!(field(&seen, "X-Auth-Realm"), Some(&*who.realm), "{seen}");
        let user = format!("{}@{}", who.name, who.realm);
        assert_eq!(field(&seen, "X-Forwarded-User"), Some(&*user), "{seen}");
        no_credential(&seen);
        let mut names = HashSet::new();
        for name in identity_like(&seen) {
            assert!(names.insert(name.clone()), "{name} twice: {seen}");
        }
        seen
    }
}

/// Returns the names of headers that an application could read as an identity in the spelling of
/// CGI.
fn identity_like(request: &str) -> Vec<String> {
    let head = request.split("\r\n\r\n").next().unwrap();
    let names = head.lines().skip(1).filter_map(|line| line.split_once(':'));
    let names = names.map(|(name, _)| {
        let canonical = name.to_ascii_lowercase();
        canonical.replace(|c: char| !c.is_ascii_alphanumeric(), "-")
    });
    let like = ["x-auth-name", "x-auth-realm", "x-forwarded-user"];
    names.filter(|name| like.contains(&&**name)).collect()
}

#[track_caller]
fn no_credential(request: &str) {
    assert_eq!(
        field(request, "X-Auth-Token").unwrap_or_default(),
        "",
        "{request}"
    );
    assert_eq!(field(request, "Authorization"), None, "{request}");
}

/// Defines a module for each front proxy, with a test for every case.
macro_rules! tests_of {
    ($($module:ident: $program:expr;)*) => {$(
        mod $module {
            use super::program::Program;
            super::tests_of!(@cases $program,
                cases: good_credential_passes_as_identity_without_token,
                cases: basic_credential_passes_as_identity_without_token,
                cases: no_credential_is_401_with_a_challenge,
                cases: wrong_token_is_401,
                cases: denial_names_its_request,
                cases: other_realm_is_403,
                cases: credential_twice_is_401,
                cases: credential_that_cannot_be_read_is_none,
                cases: public_route_passes_without_identity,
                cases: credential_on_a_public_route_stays_here,
                cases: nothing_passes_while_realmgate_is_down,
                cases: claimed_identity_never_arrives_beside_a_good_credential,
                cases: claimed_identity_never_arrives_on_a_public_route,
                cases: identity_nominated_as_hop_by_hop_arrives_all_the_same,
                cases: identity_in_a_trailer_never_arrives,
                cases: description_of_a_client_is_ignored,
                cases: front_proxy_that_is_not_trusted_is_believed_nothing,
                cases: health_checks_are_authorized_too,
                cases: head_passes,
                cases: body_passes_whole,
                cases: large_body_passes_whole,
                cases: websocket_passes_with_a_credential_only,
                cases: upgrade_to_something_else_is_no_way_around,
                cases: methods_are_those_of_the_request,
                cases: method_override_never_arrives,
                cases: host_counts_in_every_spelling,
                cases: whole_url_in_the_request_line_is_no_way_around,
                cases: query_and_fragment_satisfy_no_path,
                cases: two_lengths_smuggle_nothing,
                cases: callers_at_once_are_never_mixed_up,
                cases: auth_requests_share_connections,
                cases: front_proxy_may_restrict_access_to_a_realm,
                paths: path_that_was_decided_on_is_the_one_that_arrives,
                connections: each_request_of_a_connection_is_authorized,
                connections: pipelined_request_is_authorized_too,
                connections: description_nominated_as_hop_by_hop_is_no_way_around,
                connections: credential_nominated_as_hop_by_hop_never_arrives,
                connections: auth_requests_about_bodies_and_upgrades_share_connections,
                denials: route_says_how_denied_requests_are_responded_to,
                identity_names: identity_header_of_an_upstream_comes_from_nobody_else,
                answers: response_that_is_no_permit_lets_nothing_pass,
                edges: stranger_at_another_address_locks_no_service_out,
                edges: request_to_a_hung_realmgate_times_out,
                edges: trace_and_connect_never_arrive,
                edges: longest_name_passes,
                reserved: no_reserved_header_of_a_client_arrives,
                reserved: no_reserved_header_of_a_client_arrives_over_http2,
                reserved: headers_that_the_front_proxy_sets_are_true,
                reserved: response_to_an_authenticated_request_is_kept_out_of_shared_caches,
                reserved: cache_specific_header_is_removed_from_an_authenticated_response,
                http2: http2_passes,
                http2: http2_by_the_frame_passes,
                http2: authority_beside_another_host_is_no_way_around,
                http2: pseudo_fields_smuggle_nothing,
                http2: http2_fields_smuggle_no_identity,
                http2: http2_lengths_smuggle_nothing,
            );
        }
    )*};
    (@cases $program:expr, $($file:ident: $case:ident,)*) => {$(
        #[test]
        fn $case() {
            super::$file::$case($program);
        }
    )*};
}
use tests_of;

tests_of! {
    nginx: Program::Nginx;
    traefik: Program::Traefik;
    caddy: Program::Caddy;
    haproxy: Program::Haproxy;
    envoy: Program::Envoy;
    envoy_http2: Program::EnvoyHttp2;
    envoy_grpc: Program::EnvoyGrpc;
}
