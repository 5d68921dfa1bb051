//! The line to change, by finding and front proxy.

use super::front::Front;
use super::outcome::Check;

/// Returns the line of the front proxy's configuration that a finding is about.
pub(super) fn of(check: Check, front: Option<Front>) -> String {
    let Some(front) = front else {
        return format!(
            "{} (name your front proxy with --front for the line)",
            general(check)
        );
    };
    let file = match front {
        Front::Nginx => "deploy/nginx/realmgate.conf",
        Front::Traefik => "deploy/traefik/dynamic.yml",
        Front::Caddy => "deploy/caddy/Caddyfile",
        Front::Haproxy => "deploy/haproxy/haproxy.cfg",
        Front::Envoy => "deploy/envoy/http.yaml or grpc.yaml",
        Front::Realmgate => "the configuration of realmgate",
    };
    match line(check, front) {
        Some(line) => format!("{line} ({file})"),
        None => general(check).to_owned(),
    }
}

const fn line(check: Check, front: Front) -> Option<&'static str> {
    Some(match (check, front) {
        (Check::NoCredential, Front::Nginx) => {
            "auth_request /_realmgate; in the server, and its proxy_pass"
        }
        (Check::NoCredential, Front::Traefik) => {
            "middlewares: [realmgate, leave-out] of the router, and the address of forwardAuth"
        }
        (Check::NoCredential, Front::Caddy) => {
            "forward_auth before reverse_proxy, and its uri /forward-auth/caddy?"
        }
        (Check::NoCredential, Front::Haproxy) => {
            "http-request lua.realmgate, and the three http-request deny lines after it"
        }
        (Check::NoCredential, Front::Envoy) => {
            "the filter envoy.filters.http.ext_authz before the router, with its path_prefix"
        }
        (Check::NoCredential, Front::Realmgate) => {
            "allow of the route; a route with mode = \"observe\" is not enforced"
        }
        (Check::Identity, Front::Nginx) => {
            "auth_request_set $realmgate_…, and proxy_set_header of X-Auth-Name, X-Auth-Realm and X-Forwarded-User"
        }
        (Check::Identity, Front::Traefik) => "authResponseHeaders of the middleware realmgate",
        (Check::Identity, Front::Caddy) => "copy_headers X-Auth-Name X-Auth-Realm X-Forwarded-User",
        (Check::Identity, Front::Haproxy) => {
            "http-request set-header X-Auth-Name, X-Auth-Realm and X-Forwarded-User"
        }
        (Check::Identity, Front::Envoy) => "allowed_upstream_headers of the filter ext_authz",
        (Check::Token, Front::Nginx) => {
            "proxy_set_header X-Auth-Token \"\"; and proxy_set_header Authorization \"\";"
        }
        (Check::Token, Front::Traefik) => "X-Auth-Token and Authorization in authResponseHeaders",
        (Check::Token, Front::Caddy) => {
            "request_header -X-Auth-Token and request_header -Authorization after forward_auth"
        }
        (Check::Token, Front::Haproxy) => {
            "http-request del-header X-Auth-Token and http-request del-header Authorization"
        }
        (Check::Token, Front::Envoy) => {
            "the filter ext_authz: realmgate's response names the headers to remove"
        }
        (Check::ForgedHeaders, Front::Nginx) => {
            "a proxy_set_header NAME \"\"; for each header, underscores_in_headers off; and ignore_invalid_headers on;"
        }
        (Check::ForgedHeaders, Front::Traefik) => {
            "customRequestHeaders of the middleware leave-out"
        }
        (Check::ForgedHeaders, Front::Caddy) => {
            "request_header -NAME for each header, before forward_auth"
        }
        (Check::ForgedHeaders, Front::Haproxy) => {
            "http-request del-header for each header, and option http-restrict-req-hdr-names delete"
        }
        (Check::ForgedHeaders, Front::Envoy) => {
            "request_mutations of the filter header_mutation, and headers_with_underscores_action: REJECT_REQUEST"
        }
        (Check::MethodOverride, Front::Nginx) => {
            "proxy_set_header X-HTTP-Method-Override \"\"; and of X-HTTP-Method, X-Method-Override, X-HTTP-Verb and X-Tunneled-Method"
        }
        (Check::Caches, Front::Nginx) => "add_header Cache-Control $realmgate_caching always;",
        (Check::Caches, Front::Traefik) => {
            "customResponseHeaders: { Cache-Control: \"private, no-cache\" } of the middleware leave-out, unless the application sends Cache-Control: private"
        }
        (Check::Caches, Front::Caddy) => "+Cache-Control private in header @proved",
        (Check::Caches, Front::Haproxy) => "http-response add-header Cache-Control private",
        (Check::Caches, Front::Envoy) => "the filter envoy.filters.http.lua",
        (Check::Caches, Front::Realmgate) => "shared_cache = true of the route; delete it",
        (Check::Stopped, Front::Haproxy) => {
            "http-request deny deny_status 503 unless { var(txn.realmgate) -m int 200 }"
        }
        (Check::Stopped, Front::Envoy) => "failure_mode_allow: false of the filter ext_authz",
        (Check::AbsoluteForm, Front::Caddy) => "error @pathless 400",
        (Check::AbsoluteForm, Front::Haproxy) => "http-request set-uri %[pathq]",
        (Check::Paths, Front::Envoy) => {
            "normalize_path, merge_slashes and path_with_escaped_slashes_action"
        }
        (Check::Paths, Front::Nginx) => {
            "proxy_pass http://app; without a path, and X-Original-URL $scheme://$host$request_uri"
        }
        _ => return None,
    })
}

const fn general(check: Check) -> &'static str {
    match check {
        Check::GoodCredential => {
            "the addresses of realmgate and the application, what the front proxy tells realmgate \
             about the request, service.trusted_proxies, allow of the route; or the seed is that of another identity or an \
             old one, or a clock is wrong; or the caller is throttled, also by the wrong tokens of earlier runs: realmgate \
             identity unthrottle; realmgate's log has the reason"
        }
        Check::NoCredential | Check::WrongToken => {
            "the auth request of the front proxy, and allow of the route; a \
             route with mode = \"observe\" is not enforced"
        }
        Check::OtherRealm => "allow of the route, or ?realm=… in the URL of the auth request",
        Check::Identity => "the lines that copy the headers of realmgate's response to the request",
        Check::Token => "the lines that remove X-Auth-Token and Authorization",
        Check::ForgedHeaders => "the lines that remove these headers",
        Check::Paths => {
            "the path that the front proxy sends to realmgate must be the path that it forwards"
        }
        Check::Methods => "the auth request must be made for every method",
        Check::MethodOverride => {
            "the lines that remove X-HTTP-Method-Override, X-HTTP-Method, X-Method-Override, X-HTTP-Verb and X-Tunneled-Method"
        }
        Check::AbsoluteForm => "the front proxy must reject a request target that is no path",
        Check::Caches => "the lines that add Cache-Control: private",
        Check::Redirects => {
            "the redirect of the application, or clients that follow redirects with their token: use \
             HTTP Basic, which libraries drop for another host"
        }
        Check::Clock => "NTP on the server, or on this machine",
        Check::Tls => {
            "the scheme of the URL; a listener with TLS, and a certificate for this name: [[certificate]] in \
             realmgate, or the certificate of the front proxy"
        }
        Check::Metrics => "metrics.listen: an address that only the monitoring system can reach",
        Check::TrustedProxies => {
            "service.trusted_proxies: list the addresses of the front proxies only"
        }
        Check::Stopped => "the front proxy must deny requests while realmgate does not respond",
    }
}
