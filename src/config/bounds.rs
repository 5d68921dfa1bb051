//! `host` and `path` of `[[include]]`: what included files may route.

use std::ops::Range;

use http::HeaderName;
use toml::Spanned;

use super::host::HostPattern;
use super::included::{Include, Texts};
use super::path::{PATH, is_path};
use super::raw::{self, OneOrMany, Table};
use super::source::Source;
use crate::http::IdentityHeaders;

/// The bounds of an item of `include`.
#[derive(Default)]
struct Bounds {
    /// `None` for every host.
    hosts: Option<Vec<HostPattern>>,
    /// The segments of the prefix; empty for every path.
    path: Vec<String>,
}

/// Rejects the routes of included files that are not within the bounds of their include.
///
/// `identity` has the default names of identity headers.
pub(super) fn check(source: &Source<'_>, raw: &raw::Raw, identity: &IdentityHeaders) {
    let bounds: Vec<_> = raw
        .include
        .iter()
        .enumerate()
        .map(|(at, raw)| bounds(source, at, raw))
        .collect();
    for (at, route) in raw.route.iter().enumerate() {
        let include = source.text().include_of(route.span().start);
        if let Some(bounds) = include.and_then(|include| bounds.get(include)) {
            within(source, at, route, bounds);
        }
    }
    let is_bounded = |span: Range<usize>| {
        let include = source.text().include_of(span.start);
        let bounds = include.and_then(|include| bounds.get(include));
        bounds.is_some_and(|it| it.hosts.is_some() || !it.path.is_empty())
    };
    // An identity header is removed from the requests to all applications, which may need it.
    for (name, upstream) in &raw.upstream {
        let Some(headers) = &upstream.get_ref().0.identity_headers else {
            continue;
        };
        let Table(headers) = headers.get_ref();
        let parts = [
            ("name", &headers.name),
            ("realm", &headers.realm),
            ("user", &headers.user),
        ];
        for (part, header) in parts {
            let Some(header) = header else { continue };
            let is_removed = HeaderName::from_bytes(header.get_ref().as_bytes())
                .is_ok_and(|header| identity.is_reserved(&header));
            if !is_removed && is_bounded(upstream.span()) {
                let key = format!("upstream.{name}.identity_headers.{part}");
                let expected = "in the files of an include with host or path, a header that realmgate removes anyway, such as \"X-WebAuth-User\"";
                source.reject(&key, header, expected);
            }
        }
    }
    // Routes of other files may name a group, and would let its members pass.
    for (name, group) in &raw.group {
        if is_bounded(group.span()) {
            let expected = "no groups in the files of an include with host or path";
            let (key, text) = (format!("group.{name}"), "{…}".to_owned());
            source.reject_as(&key, text, group.span(), expected);
        }
    }
}

/// Reads the bounds of an item. Invalid ones contain nothing.
fn bounds(source: &Source<'_>, at: usize, raw: &Spanned<Include>) -> Bounds {
    let Include { files, host, path } = raw.get_ref();
    if files.is_none() {
        let expected = r#"files such as "teams/billing/*.toml""#;
        source.missing(format!("include[{at}].files"), raw.span(), expected);
    }
    let hosts = host.as_ref().map(|host| {
        let Texts(texts) = host.get_ref();
        let hosts = texts.iter().map(|it| HostPattern::read(it).ok());
        let hosts: Option<Vec<_>> = hosts.collect();
        hosts.filter(|hosts| !hosts.is_empty()).unwrap_or_else(|| {
            source.reject(
                &format!("include[{at}].host"),
                host,
                r#"hosts such as "app.example.org", "*.example.org" (one label more) or "**.example.org" (one or more)"#,
            );
            Vec::new()
        })
    });
    let path = path.as_ref().map(|path| {
        let is_bound = is_path(path.get_ref()) && !path.get_ref().contains('*');
        if !is_bound {
            let expected = format!("a path such as \"/billing/\": no \"*\", {PATH}");
            source.reject(&format!("include[{at}].path"), path, expected);
        }
        segments(path.get_ref()).map(str::to_owned).collect()
    });
    Bounds {
        hosts,
        path: path.unwrap_or_default(),
    }
}

fn within(source: &Source<'_>, at: usize, route: &Spanned<Table<raw::Route>>, bounds: &Bounds) {
    let Table(raw) = route.get_ref();
    let key = |key| format!("route[{at}].{key}");
    if let Some(hosts) = &bounds.hosts {
        let expected = || {
            format!(
                "a host within the bounds of its include ({})",
                listed(hosts)
            )
        };
        match &raw.host {
            None => drop(source.missing(key("host"), route.span(), expected())),
            Some(raw) => each(&key("host"), raw, |key, host, span| {
                // An invalid host is rejected with the route.
                let outside = HostPattern::read(host).ok();
                let outside = outside.filter(|host| !hosts.iter().any(|it| it.holds(host)));
                if outside.is_some() {
                    source.reject_as(key, source.shown(span.clone()), span, expected());
                }
            }),
        }
    }
    if bounds.path.is_empty() {
        return;
    }
    let prefix = format!("/{}", bounds.path.join("/"));
    let expected = || format!("a path within the bounds of its include (\"{prefix}\")");
    match &raw.path {
        None => drop(source.missing(key("path"), route.span(), expected())),
        Some(raw) => each(&key("path"), raw, |key, path, span| {
            // A `*` where the bound names a segment is beyond it.
            let mut own = segments(path);
            if !bounds.path.iter().all(|it| own.next() == Some(it)) {
                source.reject_as(key, source.shown(span.clone()), span, expected());
            }
        }),
    }
    // `/a` then also matches /A, or /a.json/x, which are beyond the bound.
    let wider = [
        ("ignore_case", &raw.ignore_case),
        ("ignore_suffix", &raw.ignore_suffix),
    ];
    for (name, flag) in wider {
        if let Some(flag) = flag
            && *flag.get_ref()
        {
            let expected =
                format!("false: the path of its include, \"{prefix}\", is in one spelling only");
            source.reject(&key(name), flag, expected);
        }
    }
}

/// Calls `check` with each text of a key, its dotted path and its position.
fn each(key: &str, raw: &Spanned<OneOrMany>, mut check: impl FnMut(&str, &str, Range<usize>)) {
    match raw.get_ref() {
        OneOrMany::One(text) => check(key, text, raw.span()),
        OneOrMany::Many(texts) => {
            for (at, text) in texts.iter().enumerate() {
                check(&format!("{key}[{at}]"), text.get_ref(), text.span());
            }
        }
    }
}

/// Returns the segments of a path; the empty one at the end does not count.
fn segments(path: &str) -> impl Iterator<Item = &str> {
    let path = path.strip_prefix('=').unwrap_or(path);
    path.split('/').filter(|segment| !segment.is_empty())
}

fn listed(hosts: &[HostPattern]) -> String {
    let texts: Vec<_> = hosts.iter().map(ToString::to_string).collect();
    texts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::HostPattern;

    #[test]
    fn pattern_contains_what_matches_no_other_host() {
        let parse = |text| HostPattern::read(text).unwrap();
        for (bound, host, expected) in [
            ("a.example", "a.example", true),
            ("a.example", "A.Example", true),
            ("a.example", "b.a.example", false),
            ("a.example", "*.a.example", false),
            ("*.a.example", "b.a.example", true),
            ("*.a.example", "*.a.example", true),
            ("*.a.example", "**.a.example", false),
            ("*.a.example", "a.example", false),
            ("*.a.example", "c.b.a.example", false),
            ("*.a.example", "ba.example", false),
            ("*.a.example", "*.b.a.example", false),
            ("**.a.example", "b.a.example", true),
            ("**.a.example", "c.b.a.example", true),
            ("**.a.example", "*.a.example", true),
            ("**.a.example", "**.a.example", true),
            ("**.a.example", "**.b.a.example", true),
            ("**.a.example", "a.example", false),
            ("**.a.example", "*.example", false),
            ("**.a.example", "xa.example", false),
            ("**.a.example", "**.xa.example", false),
        ] {
            let contains = parse(bound).holds(&parse(host));
            assert_eq!(contains, expected, "{bound} {host}");
        }
        for text in [
            "",
            "*",
            "*.",
            "a.*.example",
            "*a.example",
            "a.example:80",
            "***.example",
        ] {
            assert!(HostPattern::read(text).is_err(), "{text}");
        }
    }
}
