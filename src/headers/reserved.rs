//! The one list of headers that a client must not bring to an upstream. The doors, the check of the
//! configuration, the tests and the files in `deploy/` are held against it.

/// Headers that are removed from every request, in lower case and sorted. Of each of the [`FAMILIES`], the
/// names that are in use.
pub const REMOVED: [&str; 49] = [
    // The client's address, which Rails and others take from here.
    "client-ip",
    "forwarded",
    // The scheme.
    "front-end-https",
    // The path, as CGI calls it.
    "path-info",
    // `HTTP_PROXY` to CGI: the proxy through which the application sends its own requests.
    "proxy",
    "script-name",
    "true-client-ip",
    // With `x-sendfile-type`, where Rack takes files from that the server in front of it shall send.
    "x-accel-mapping",
    "x-client-ip",
    "x-client-subject",
    "x-cluster-client-ip",
    "x-envoy-original-path",
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
    "x-original-for",
    "x-original-host",
    "x-original-method",
    "x-original-prefix",
    "x-original-proto",
    "x-original-uri",
    "x-original-url",
    "x-real-ip",
    "x-request-id",
    "x-rewrite-url",
    "x-scheme",
    "x-script-name",
    "x-sendfile-type",
    "x-url-scheme",
];

/// What the names of further headers begin with that are removed.
pub const FAMILIES: [&str; 2] = ["x-forwarded-", "x-original-"];

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

/// Says whether a header is removed from every request. The name is in lower case and without marks.
pub(crate) fn is_removed(name: &str) -> bool {
    begins_with(name, &FAMILIES) || REMOVED.binary_search(&name).is_ok()
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
        assert!(REMOVED.is_sorted());
        for name in REMOVED.iter().chain(&METHOD_OVERRIDES) {
            assert_eq!(folded(name), **name);
        }
        for name in REMOVED {
            assert!(is_removed(name), "{name}");
        }
        for family in FAMILIES {
            assert!(is_removed(&format!("{family}other")), "{family}");
            // Those that are tried at front proxies.
            let known = REMOVED.iter().filter(|name| name.starts_with(family));
            assert!(known.count() > 5, "{family}");
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
