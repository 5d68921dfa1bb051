//! Identifies the front proxy by the path of the endpoint.

/// The prefix of Envoy's endpoint, followed by the original path.
pub(super) const ENVOY: &str = "/forward-auth/envoy";

/// The parser of the original request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FrontProxy {
    /// None: only the credential is checked.
    Any,
    /// nginx's `auth_request`, and ingress-nginx.
    Nginx,
    /// Traefik's ForwardAuth.
    Traefik,
    /// Caddy's `forward_auth`.
    Caddy,
    /// HAProxy, with the script in `deploy/haproxy/`.
    Haproxy,
    /// Envoy's `ext_authz` with an HTTP service. With gRPC: [`crate::doors::ext_authz`].
    Envoy,
}

impl FrontProxy {
    /// Returns the parser for a path, if it is an endpoint.
    pub(crate) fn of(path: &str) -> Option<Self> {
        match path {
            "/forward-auth" => Some(Self::Any),
            "/forward-auth/nginx" => Some(Self::Nginx),
            "/forward-auth/traefik" => Some(Self::Traefik),
            "/forward-auth/caddy" => Some(Self::Caddy),
            "/forward-auth/haproxy" => Some(Self::Haproxy),
            _ => path
                .strip_prefix(ENVOY)?
                .starts_with('/')
                .then_some(Self::Envoy),
        }
    }
}
