use http::HeaderMap;
use http::header::ACCEPT;

/// Says whether JSON satisfies a request's `Accept` (RFC 9110 §12.5.1).
///
/// No `Accept`, or an empty one, accepts everything. Weights and parameters are not looked at, as the
/// old server did not.
pub(super) fn takes_json(headers: &HeaderMap) -> bool {
    let mut asked = false;
    for value in headers.get_all(ACCEPT) {
        for range in value.as_bytes().split(|&byte| byte == b',') {
            let range = range.split(|&byte| byte == b';').next().unwrap_or_default();
            let range = range.trim_ascii();
            if [&b"*/*"[..], b"application/*", b"application/json"]
                .iter()
                .any(|json| range.eq_ignore_ascii_case(json))
            {
                return true;
            }
            asked |= !range.is_empty();
        }
    }
    !asked
}

/// Says whether the query leaves the format open or asks for JSON with `format=json`; the last one
/// counts.
pub(super) fn format_is_json(query: &str) -> bool {
    form_urlencoded::parse(query.as_bytes())
        .filter(|(name, _)| name == "format")
        .last()
        .is_none_or(|(_, format)| format == "json" || format.is_empty())
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn json_satisfies_its_own_name_and_wildcards() {
        for (accept, takes) in [
            (None, true),
            (Some(""), true),
            (Some("*/*"), true),
            (Some("text/html, application/json;q=0.9"), true),
            (Some("Application/JSON; indent=4"), true),
            (Some("application/*"), true),
            (Some("application/xml"), false),
            (Some("text/html"), false),
            (Some("text/*"), false),
        ] {
            let mut headers = HeaderMap::new();
            if let Some(accept) = accept {
                headers.insert(ACCEPT, HeaderValue::from_static(accept));
            }
            assert_eq!(takes_json(&headers), takes, "{accept:?}");
        }
    }

    #[test]
    fn last_format_of_the_query_counts() {
        for (query, json) in [
            ("", true),
            ("limit=1", true),
            ("format=json", true),
            ("format=", true),
            ("format=xml", false),
            ("format=xml&format=json", true),
            ("format=json&format=api", false),
        ] {
            assert_eq!(format_is_json(query), json, "{query}");
        }
    }
}
