//! The list of headers that a client must not send to an upstream. The doors, the check of the
//! configuration, the tests and the files in `deploy/` all use it.
//!
//! It has three parts, each in lower case and sorted. Of a family of names, a part contains those
//! in use.

/// Headers with the client's address, set by CDNs, load balancers and application servers. A route
/// can let them pass with `pass_headers`.
pub const ADDRESSES: [&str; 25] = [
    "cf-connecting-ip",
    "cf-connecting-ipv6",
    "cf-pseudo-ipv4",
    "client-ip",
    "cloudfront-viewer-address",
    "do-connecting-ip",
    "fastly-client-ip",
    "fly-client-ip",
    "forwarded-for",
    "incap-client-ip",
    "proxy-client-ip",
    "true-client-ip",
    "wl-proxy-client-ip",
    "x-appengine-remote-addr",
    "x-appengine-user-ip",
    "x-azure-clientip",
    "x-azure-socketip",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-envoy-external-address",
    "x-nf-client-connection-ip",
    "x-originating-ip",
    "x-proxyuser-ip",
    "x-real-ip",
    "x-vercel-forwarded-for",
];

/// Headers in which other gateways name the caller. An application that was moved from such a
/// gateway may still trust them.
pub const IDENTITIES: [&str; 109] = [
    "ajp-remote-user",
    "cf-access-authenticated-user-email",
    "client-cert",
    "client-cert-chain",
    "impersonate-group",
    "impersonate-uid",
    "impersonate-user",
    "iv-groups",
    "iv-user",
    "oam-remote-user",
    "oidc-claim-email",
    "oidc-claim-groups",
    "oidc-claim-sub",
    "remote-email",
    "remote-groups",
    "remote-name",
    "remote-user",
    "shib-identity-provider",
    "shib-session-id",
    "sm-universalid",
    "sm-user",
    "ssl-client-cert",
    "ssl-client-issuer-dn",
    "ssl-client-s-dn",
    "ssl-client-subject-dn",
    "ssl-client-verify",
    "tailscale-user-login",
    "tailscale-user-name",
    "wl-proxy-client-cert",
    "x-amzn-mtls-clientcert",
    "x-amzn-mtls-clientcert-leaf",
    "x-amzn-mtls-clientcert-subject",
    "x-amzn-oidc-accesstoken",
    "x-amzn-oidc-data",
    "x-amzn-oidc-identity",
    "x-anonymous-consumer",
    "x-apigateway-api-userinfo",
    "x-appengine-user-email",
    "x-arr-clientcert",
    "x-auth-email",
    "x-auth-groups",
    "x-auth-request-access-token",
    "x-auth-request-email",
    "x-auth-request-groups",
    "x-auth-request-preferred-username",
    "x-auth-request-user",
    "x-auth-roles",
    "x-auth-subject",
    "x-auth-user",
    "x-auth-userid",
    "x-auth-username",
    "x-authelia-user",
    "x-authenticated-groups",
    "x-authenticated-scope",
    "x-authenticated-user",
    "x-authenticated-userid",
    "x-authentik-email",
    "x-authentik-groups",
    "x-authentik-jwt",
    "x-authentik-name",
    "x-authentik-uid",
    "x-authentik-username",
    "x-client-cert",
    "x-client-dn",
    "x-client-verify",
    "x-consumer-custom-id",
    "x-consumer-groups",
    "x-consumer-id",
    "x-consumer-username",
    "x-credential-identifier",
    "x-credential-username",
    "x-endpoint-api-userinfo",
    "x-goog-authenticated-user-email",
    "x-goog-authenticated-user-id",
    "x-grafana-id",
    "x-grafana-user",
    "x-iisnode-auth-user",
    "x-ms-client-principal",
    "x-ms-client-principal-id",
    "x-ms-client-principal-idp",
    "x-ms-client-principal-name",
    "x-pomerium-claim-email",
    "x-pomerium-claim-groups",
    "x-pomerium-claim-user",
    "x-pomerium-jwt-assertion",
    "x-proxy-user",
    "x-remote-addr",
    "x-remote-extra-scopes",
    "x-remote-group",
    "x-remote-host",
    "x-remote-ip",
    "x-remote-uid",
    "x-remote-user",
    "x-ssl-cert",
    "x-ssl-client-cert",
    "x-ssl-client-cn",
    "x-ssl-client-dn",
    "x-ssl-client-s-dn",
    "x-ssl-client-verify",
    "x-tailscale-user",
    "x-token-subject",
    "x-userinfo",
    "x-vouch-idp-claims-email",
    "x-vouch-user",
    "x-webauth-email",
    "x-webauth-groups",
    "x-webauth-name",
    "x-webauth-role",
    "x-webauth-user",
];

/// Headers that an application may read as host, scheme, port, path or method, and headers that
/// realmgate sets itself.
pub const OTHERS: [&str; 55] = [
    "cf-visitor",
    "cloudfront-forwarded-proto",
    "forwarded",
    // The scheme.
    "front-end-https",
    // The path, as CGI calls it.
    "path-info",
    // `HTTP_PROXY` in CGI: the proxy for requests of the application.
    "proxy",
    "script-name",
    // With `x-sendfile-type`, makes Rack delegate files to the server in front of it.
    "x-accel-mapping",
    "x-arr-ssl",
    "x-client-subject",
    "x-envoy-original-path",
    "x-forwarded",
    "x-forwarded-access-token",
    "x-forwarded-by",
    "x-forwarded-client-cert",
    "x-forwarded-email",
    "x-forwarded-for",
    "x-forwarded-groups",
    "x-forwarded-host",
    "x-forwarded-method",
    "x-forwarded-path",
    "x-forwarded-port",
    "x-forwarded-preferred-username",
    "x-forwarded-prefix",
    "x-forwarded-proto",
    "x-forwarded-protocol",
    "x-forwarded-scheme",
    "x-forwarded-server",
    "x-forwarded-ssl",
    "x-forwarded-tls-client-cert",
    "x-forwarded-tls-client-cert-info",
    "x-forwarded-uri",
    "x-forwarded-user",
    "x-host",
    "x-http-destinationurl",
    "x-http-host-override",
    "x-https",
    "x-original-for",
    "x-original-host",
    "x-original-method",
    "x-original-prefix",
    "x-original-proto",
    "x-original-uri",
    "x-original-url",
    "x-override-url",
    "x-path-info",
    "x-port",
    "x-replaced-path",
    "x-request-id",
    "x-rewrite-url",
    "x-scheme",
    "x-script-name",
    "x-sendfile-type",
    "x-server-name",
    "x-url-scheme",
];

/// Prefixes of further removed headers. Those after the first [`OWN`] name the caller.
pub const FAMILIES: [&str; 20] = [
    "x-forwarded-",
    "x-original-",
    "impersonate-",
    "oidc-claim-",
    "shib-",
    "ssl-client-",
    "tailscale-user-",
    "x-amzn-mtls-",
    "x-amzn-oidc-",
    "x-auth-request-",
    "x-authenticated-",
    "x-authentik-",
    "x-consumer-",
    "x-goog-authenticated-user-",
    "x-ms-client-principal",
    "x-pomerium-",
    "x-remote-",
    "x-ssl-",
    "x-vouch-",
    "x-webauth-",
];

/// The number of [`FAMILIES`] that do not name the caller.
const OWN: usize = 2;

/// Headers that override the method of the request line in some frameworks.
pub const METHOD_OVERRIDES: [&str; 5] = [
    "x-http-method-override",
    "x-http-method",
    "x-method-override",
    "x-http-verb",
    "x-tunneled-method",
];

/// Variables that application servers set themselves: CGI (RFC 3875 §4.1), WSGI, Rack, uwsgi, PHP
/// and servlets. In lower case, with `-` for `_`. Some servers also set them from a header of that
/// name.
pub const SERVER_VARIABLES: [&str; 36] = [
    "auth-type",
    "content-length",
    "content-type",
    "document-root",
    "document-uri",
    "fragment",
    "gateway-interface",
    "https",
    "orig-path-info",
    "path-info",
    "path-translated",
    "php-auth-digest",
    "php-auth-pw",
    "php-auth-user",
    "php-self",
    "query-string",
    "raw-uri",
    "remote-addr",
    "remote-host",
    "remote-ident",
    "remote-port",
    "remote-user",
    "request-method",
    "request-path",
    "request-scheme",
    "request-uri",
    "script-filename",
    "script-name",
    "script-url",
    "server-addr",
    "server-admin",
    "server-name",
    "server-port",
    "server-protocol",
    "server-software",
    "unencoded-url",
];

/// Prefixes of further variables: `http-` stands for headers in CGI, `ssl-` for the client
/// certificate in web servers.
pub const SERVER_VARIABLE_FAMILIES: [&str; 14] = [
    "action-",
    "ajp-",
    "gunicorn-",
    "http-",
    "jakarta-servlet-",
    "javax-servlet-",
    "org-apache-",
    "puma-",
    "rack-",
    "redirect-",
    "ssl-",
    "unicorn-",
    "uwsgi-",
    "wsgi-",
];

/// Returns whether a name contains a character that CGI and similar interfaces replace like `-`:
/// anything but letters, digits and `-`. Two such names may become the same variable of an
/// application, so one header could pose as another.
pub fn has_mark(name: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    !name.bytes().all(is_plain)
}

/// Folds a name as CGI and similar interfaces do: lower case, and `-` for everything but letters
/// and digits.
pub fn folded(name: &str) -> String {
    let fold = |letter: char| match letter {
        letter if letter.is_ascii_alphanumeric() => letter.to_ascii_lowercase(),
        _ => '-',
    };
    name.chars().map(fold).collect()
}

/// Returns every header that is removed from all requests: the three parts of the list.
pub fn removed() -> impl Iterator<Item = &'static str> {
    let parts = [&ADDRESSES[..], &IDENTITIES, &OTHERS];
    parts.into_iter().flatten().copied()
}

/// Returns whether a header contains the client's address and nothing else. The name must be in
/// lower case.
pub(crate) fn is_address(name: &str) -> bool {
    ADDRESSES.binary_search(&name).is_ok()
}

/// Returns whether other gateways name the caller in a header. The name must be folded.
pub(crate) fn is_identity(name: &str) -> bool {
    let mut families = FAMILIES.iter().skip(OWN);
    families.any(|family| name.starts_with(family)) || IDENTITIES.binary_search(&name).is_ok()
}

/// Returns whether an application server has a variable of this name. The name must be folded.
pub(crate) fn is_server_variable(name: &str) -> bool {
    begins_with(name, &SERVER_VARIABLE_FAMILIES) || SERVER_VARIABLES.contains(&name)
}

fn begins_with(name: &str, families: &[&str]) -> bool {
    families.iter().any(|family| name.starts_with(family))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn list_is_sorted_folded_and_finds_each_of_its_names() {
        for part in [&ADDRESSES[..], &IDENTITIES, &OTHERS] {
            assert!(part.is_sorted_by(|one, other| one < other));
        }
        for name in removed() {
            assert_eq!(folded(name), *name);
            assert_eq!(is_address(name), ADDRESSES.contains(&name), "{name}");
            assert_eq!(is_identity(name), IDENTITIES.contains(&name), "{name}");
        }
        assert_eq!(FAMILIES[..OWN], ["x-forwarded-", "x-original-"]);
        for name in METHOD_OVERRIDES {
            assert_eq!(folded(name), name);
        }
        for family in &FAMILIES {
            // The names that the tests of front proxies send.
            let known = removed().filter(|name| name.starts_with(family));
            assert!(known.count() > 1, "{family}");
        }
    }

    #[test]
    fn variables_are_found_in_every_spelling() {
        for name in [
            "SCRIPT_NAME",
            "script.name",
            "Path_Info",
            "Content_Length",
            "content~type",
            "HTTP_X_AUTH_NAME",
            "wsgi.url_scheme",
            "rack.url_scheme",
            "UWSGI_SCHEME",
            "ssl_client_cert",
            "Remote_User",
            "javax.servlet.request.X509Certificate",
        ] {
            assert!(is_server_variable(&folded(name)), "{name}");
        }
        for name in ["X_Tenant", "api_key", "Name_Script", "x-script"] {
            assert!(!is_server_variable(&folded(name)), "{name}");
        }
    }

    #[test]
    fn mark_is_anything_but_letters_digits_and_dashes() {
        for (name, expected) in [
            ("x-tenant", false),
            ("a1-b2", false),
            ("x_tenant", true),
            ("x.tenant", true),
            ("x~tenant", true),
            ("x|tenant", true),
        ] {
            assert_eq!(has_mark(name), expected, "{name}");
        }
    }
}
