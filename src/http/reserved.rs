//! The one list of headers that a client must not bring to an upstream. The doors, the check of the
//! configuration, the tests and the files in `deploy/` are held against it.
//!
//! It has three parts, each in lower case and sorted. Of each family, a part has the names that are in use.

/// Headers in which CDNs, load balancers and application servers name the client's address, and nothing else.
/// `pass_headers` of a route may let them pass.
pub const ADDRESSES: [&str; 24] = [
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
    "x-real-ip",
    "x-vercel-forwarded-for",
];

/// Headers in which other gateways say who is calling. An application that was moved from one of them may still
/// believe them.
pub const IDENTITIES: [&str; 96] = [
    "cf-access-authenticated-user-email",
    "client-cert",
    "client-cert-chain",
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
    "sm-user",
    "ssl-client-cert",
    "ssl-client-issuer-dn",
    "ssl-client-s-dn",
    "ssl-client-subject-dn",
    "ssl-client-verify",
    "tailscale-user-login",
    "tailscale-user-name",
    "x-amzn-mtls-clientcert",
    "x-amzn-mtls-clientcert-leaf",
    "x-amzn-mtls-clientcert-subject",
    "x-amzn-oidc-accesstoken",
    "x-amzn-oidc-data",
    "x-amzn-oidc-identity",
    "x-anonymous-consumer",
    "x-apigateway-api-userinfo",
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
    "x-ms-client-principal",
    "x-ms-client-principal-id",
    "x-ms-client-principal-idp",
    "x-ms-client-principal-name",
    "x-pomerium-claim-email",
    "x-pomerium-claim-groups",
    "x-pomerium-claim-user",
    "x-pomerium-jwt-assertion",
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

/// Headers that an application may take for host, scheme, port, path or method, and what realmgate says itself.
pub const OTHERS: [&str; 54] = [
    "cf-visitor",
    "cloudfront-forwarded-proto",
    "forwarded",
    // The scheme.
    "front-end-https",
    // The path, as CGI calls it.
    "path-info",
    // `HTTP_PROXY` to CGI: the proxy through which the application sends its own requests.
    "proxy",
    "script-name",
    // With `x-sendfile-type`, where Rack takes files from that the server in front of it shall send.
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

/// What the names of further headers begin with that are removed. In all but the first [`OWN`], other gateways
/// say who is calling.
pub const FAMILIES: [&str; 19] = [
    "x-forwarded-",
    "x-original-",
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

/// How many of the [`FAMILIES`] say something else than who is calling.
const OWN: usize = 2;

/// Headers by which some frameworks take another method than that of the request line.
pub const METHOD_OVERRIDES: [&str; 3] = [
    "x-http-method-override",
    "x-http-method",
    "x-method-override",
];

/// Variables that an application server sets itself: CGI (RFC 3875 §4.1), WSGI, Rack, uwsgi, PHP and the
/// servers of servlets. With `-` for `_`, in lower case. Some servers take them from a header of that name.
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

/// What the names of further variables begin with. `http-` is what CGI makes of a header, `ssl-` what
/// web servers tell of a certificate.
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

/// Says whether a name holds a mark that CGI and its heirs take for `-`: anything but letters, digits and
/// `-`. Two such names may be one variable to an application, so that one header passes for another.
pub fn has_mark(name: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    !name.bytes().all(is_plain)
}

/// Writes a name as CGI and its heirs compare it: every mark is `-`, every letter small.
pub fn folded(name: &str) -> String {
    let fold = |letter: char| match letter {
        letter if letter.is_ascii_alphanumeric() => letter.to_ascii_lowercase(),
        _ => '-',
    };
    name.chars().map(fold).collect()
}

/// Returns every header that is removed from every request: the three parts of the list.
pub fn removed() -> impl Iterator<Item = &'static str> {
    let parts = [&ADDRESSES[..], &IDENTITIES, &OTHERS];
    parts.into_iter().flatten().copied()
}

/// Says whether a header names the client's address, and nothing else. The name is in lower case.
pub(crate) fn is_address(name: &str) -> bool {
    ADDRESSES.binary_search(&name).is_ok()
}

/// Says whether other gateways say in a header who is calling. The name is folded.
pub(crate) fn is_identity(name: &str) -> bool {
    let mut families = FAMILIES.iter().skip(OWN);
    families.any(|family| name.starts_with(family)) || IDENTITIES.binary_search(&name).is_ok()
}

/// Says whether an application server has a variable of this name. The name is folded.
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
            // Those that are tried at front proxies.
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
