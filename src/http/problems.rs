//! Problem documents (RFC 9457) of routes with `errors = "json"`.

use http::StatusCode;

/// Makes a document with a type of the administration API.
macro_rules! typed {
    ($status:literal, $name:literal, $title:literal) => {
        concat!(
            r#"{"type":"urn:realmgate:problem:"#,
            $name,
            r#"","title":""#,
            $title,
            r#"","status":"#,
            $status,
            "}\n"
        )
    };
}

/// Makes a document without a type: the status says all (RFC 9457 §4.2.1).
macro_rules! untyped {
    ($status:literal, $title:literal) => {
        concat!(
            r#"{"type":"about:blank","title":""#,
            $title,
            r#"","status":"#,
            $status,
            "}\n"
        )
    };
}

/// Returns the document of a denial.
pub(crate) const fn of_denial(status: StatusCode) -> &'static str {
    match status {
        StatusCode::UNAUTHORIZED => typed!(
            401,
            "unauthenticated",
            "The request has no valid credential."
        ),
        StatusCode::TOO_MANY_REQUESTS => typed!(
            429,
            "throttled",
            "Too many failures; the credential was not evaluated."
        ),
        StatusCode::FORBIDDEN => typed!(403, "not-allowed", "The caller may not do this."),
        _ => typed!(
            503,
            "unavailable",
            "The store or the audit log is not available."
        ),
    }
}

/// Returns the document of another response.
pub(super) const fn of_failure(status: StatusCode) -> &'static str {
    match status {
        StatusCode::BAD_REQUEST => untyped!(400, "Bad Request"),
        StatusCode::REQUEST_TIMEOUT => untyped!(408, "Request Timeout"),
        StatusCode::PAYLOAD_TOO_LARGE => untyped!(413, "Content Too Large"),
        StatusCode::TOO_MANY_REQUESTS => untyped!(429, "Too Many Requests"),
        StatusCode::BAD_GATEWAY => untyped!(502, "Bad Gateway"),
        StatusCode::SERVICE_UNAVAILABLE => untyped!(503, "Service Unavailable"),
        StatusCode::GATEWAY_TIMEOUT => untyped!(504, "Gateway Timeout"),
        _ => untyped!(500, "Internal Server Error"),
    }
}
