//! The paths that realmgate serves itself.

/// The REST API.
pub(crate) const REST: &str = "/ungleichotp";

/// The administration API.
pub(crate) const V1: &str = "/v1";

/// Forward-auth over HTTP.
pub(crate) const FORWARD_AUTH: &str = "/forward-auth";

/// Returns whether a path is that of the REST API or of forward-auth, or below one: the paths of
/// `gateway.serve_api`.
pub(crate) fn is_public(path: &str) -> bool {
    is_below(path, REST) || is_below(path, FORWARD_AUTH)
}

/// Returns whether a path is one of [`is_public`] in any case of its ASCII letters.
pub(crate) fn is_public_in_any_case(path: &[u8]) -> bool {
    [REST, FORWARD_AUTH].iter().any(|own| {
        path.split_at_checked(own.len())
            .is_some_and(|(start, rest)| {
                start.eq_ignore_ascii_case(own.as_bytes()) && matches!(rest, [] | [b'/', ..])
            })
    })
}

/// Returns whether a path is `own` or below it.
pub(crate) fn is_below(path: &str, own: &str) -> bool {
    let rest = path.strip_prefix(own);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}
