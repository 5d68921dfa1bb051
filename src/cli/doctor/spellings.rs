//! The spellings that servers disagree about: of headers and of paths.

use crate::http::reserved::{ADDRESSES, IDENTITIES};

/// The headers in which realmgate names the caller.
const OWN: [&str; 3] = ["X-Auth-Name", "X-Auth-Realm", "X-Forwarded-User"];

/// Spellings of realmgate's headers that CGI, WSGI, PHP or Rack read alike.
pub(super) fn of_own_headers() -> Vec<String> {
    let with = |from: &'static str, to: &'static str| OWN.map(|name| name.replace(from, to));
    let mut all: Vec<String> = [
        "_", ".", "~", "!", "^", "'", "$", "*", "+", "`", "|", "#", "%", "&",
    ]
    .into_iter()
    .flat_map(|mark| with("-", mark))
    .collect();
    all.extend(OWN.map(|name| name.replacen('-', "_", 1)));
    all.extend(OWN.map(|name| name.to_lowercase().replace('-', "_")));
    // Without a credential in headers, this is the only one of them that every door reads as an identity.
    all.extend(["x-forwarded-user", "X-FORWARDED-USER"].map(str::to_owned));
    all
}

/// The headers themselves, which a request with a credential in headers cannot forge.
pub(super) fn own_headers() -> Vec<String> {
    OWN.map(str::to_owned).to_vec()
}

/// The headers in which other gateways and CDNs name the caller or its address.
pub(super) fn of_others() -> Vec<String> {
    IDENTITIES
        .into_iter()
        .chain(ADDRESSES)
        .map(str::to_owned)
        .collect()
}

/// Other spellings of a path, and ways from a public path to it.
pub(super) fn of_path(path: &str, public: Option<&str>) -> Vec<String> {
    let (plain, query) = path.split_once('?').unwrap_or((path, ""));
    let query = if query.is_empty() {
        String::new()
    } else {
        format!("?{query}")
    };
    let inner = plain.trim_start_matches('/');
    let mut all = vec![
        format!("//{inner}"),
        format!("/./{inner}"),
        format!("/x/../{inner}"),
        format!("/%2e/{inner}"),
        format!("/;/{inner}"),
        format!("/{}", inner.replace('/', "%2f")),
        format!("/{}", inner.replace('/', "\\")),
        format!("/{}", inner.to_uppercase()),
        format!("/{inner}/"),
        format!("/{inner};x=1"),
        format!("/{inner}."),
        format!("/{inner}%20"),
        format!("/{inner}%00"),
        format!("/{inner}.json"),
    ];
    if let Some(first) = inner.chars().next().filter(char::is_ascii_alphanumeric) {
        let rest = inner.get(1..).unwrap_or_default();
        all.push(format!("/%{:02x}{rest}", u32::from(first)));
        all.push(format!("/%25{:02x}{rest}", u32::from(first)));
    }
    if let Some(public) = public {
        let public = public.trim_end_matches('/');
        // As many steps up as the public path has segments.
        let depth = public.matches('/').count();
        let ups = [
            "/..",
            "/..;",
            "/%2e%2e",
            "/.%2e",
            "/%252e%252e",
            "%2f..",
            "\\..",
        ];
        all.extend(ups.map(|up| format!("{public}{}/{inner}", up.repeat(depth))));
        all.push(format!("{public}/{}{inner}", "..%2f".repeat(depth)));
        all.push(format!("/{inner}?{public}"));
        all.push(format!("/{inner};{public}"));
    }
    all.iter().map(|path| format!("{path}{query}")).collect()
}
