use http::header::ACCEPT;
use http::{HeaderMap, Uri};

use super::encode::{Format, WIDEST};
use super::response::ApiResponse;

/// Negotiates the format of the response from `format=` in the query and from `Accept`.
///
/// # Errors
/// The response: 404 for another `format`, 406 if `Accept` excludes JSON.
pub(super) fn negotiate(uri: &Uri, headers: &HeaderMap) -> Result<Format, ApiResponse> {
    if !is_json(uri.query().unwrap_or_default()) {
        return Err(ApiResponse::not_found());
    }
    accepted(headers).ok_or_else(ApiResponse::not_acceptable)
}

/// Returns whether the query allows JSON. The last `format` counts.
fn is_json(query: &str) -> bool {
    if query.is_empty() {
        return true;
    }
    form_urlencoded::parse(query.as_bytes())
        .filter(|(name, _)| name == "format")
        .last()
        .is_none_or(|(_, format)| format == "json" || format.is_empty())
}

/// Reads `Accept` (RFC 9110 §12.5.1). A missing or empty one accepts everything.
///
/// Weights are ignored, as in ungleich-otp. Of several ranges that match JSON, the most specific
/// one sets the indentation.
fn accepted(headers: &HeaderMap) -> Option<Format> {
    let mut asked = false;
    let mut best: Option<(u8, Format)> = None;
    for value in headers.get_all(ACCEPT) {
        for range in value.as_bytes().split(|&byte| byte == b',') {
            let mut parts = range.split(|&byte| byte == b';').map(<[u8]>::trim_ascii);
            let media = parts.next().unwrap_or_default();
            asked |= !media.is_empty();
            let mut specific = match media {
                b"*/*" => 0,
                _ if media.eq_ignore_ascii_case(b"application/*") => 1,
                _ if media.eq_ignore_ascii_case(b"application/json") => 2,
                _ => continue,
            };
            let mut format = Format::default();
            for parameter in parts {
                if let Some(indent) = parameter.strip_prefix(b"indent=") {
                    format.indent = indentation(indent);
                }
                if specific == 2 && !parameter.starts_with(b"q=") {
                    specific = 3;
                }
            }
            if best.is_none_or(|(rank, _)| rank < specific) {
                best = Some((specific, format));
            }
        }
    }
    match best {
        Some((_, format)) => Some(format),
        None if asked => None,
        None => Some(Format::default()),
    }
}

fn indentation(text: &[u8]) -> usize {
    let spaces = str::from_utf8(text).ok().and_then(|text| text.parse().ok());
    spaces.unwrap_or(0).min(WIDEST)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn accept(accept: &'static str) -> Option<usize> {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static(accept));
        accepted(&headers).map(|format| format.indent)
    }

    #[test]
    fn json_satisfies_its_own_name_and_wildcards() {
        assert_eq!(accepted(&HeaderMap::new()), Some(Format::default()));
        for (range, indent) in [
            ("", Some(0)),
            ("*/*", Some(0)),
            ("text/html, application/json;q=0.9", Some(0)),
            ("Application/JSON; indent=4", Some(4)),
            ("application/*", Some(0)),
            ("application/xml", None),
            ("text/html", None),
            ("text/*", None),
        ] {
            assert_eq!(accept(range), indent, "{range:?}");
        }
    }

    #[test]
    fn most_specific_range_says_how_far_to_indent() {
        for (range, indent) in [
            ("*/*; indent=2", 2),
            ("*/*; indent=2, application/json", 0),
            ("application/json, application/json; indent=3", 3),
            ("application/json; indent=99", 8),
            ("application/json; indent=0", 0),
            ("application/json; indent=-1", 0),
            ("application/json; indent=x", 0),
        ] {
            assert_eq!(accept(range), Some(indent), "{range:?}");
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
            assert_eq!(is_json(query), json, "{query}");
        }
    }
}
