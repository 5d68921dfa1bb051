//! Tests that no server assigns a request to another route than the one that decided.
//!
//! Each reader below reimplements how a server reads a path, independently of the code under test.
//! `cargo test --lib differential -- --nocapture` prints how many paths and readers were compared.

mod readers;

use http::Method;

use crate::auth::{Mode, Policy};
use crate::config::{self, PathPattern, STAR};
use crate::routing::input::MatchInput;
use crate::routing::route::{RouteTable, Unrouted};
use crate::routing::target::Target;
use readers::{
    apache, apache_rewrite, cut, go, iis, iis_streams, literal, nginx, nginx_unmerged, node_url,
    once, overlong, reference, rfc3986, spring, thrice, tomcat, tomcat_backslashes, tomcat_slashes,
    twice, undertow, unslashed, wide,
};

/// Returns the path that an application behind a server sees; `None` if the server rejects it.
type Read = fn(&[u8]) -> Option<Vec<u8>>;

/// How an application compares a path with its own names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Names {
    Exactly,
    InAnyCase,
    WithAnySuffix,
}

use Names::{Exactly, InAnyCase, WithAnySuffix};

const READERS: [(&str, Read, Names); 27] = [
    ("RFC 3986", rfc3986, Exactly),
    ("literal (chi)", literal, Exactly),
    ("Express", literal, InAnyCase),
    ("URL of a browser or of Node", node_url, Exactly),
    ("reference of RFC 3986", reference, Exactly),
    ("nginx", nginx, Exactly),
    ("nginx, merge_slashes off", nginx_unmerged, Exactly),
    ("Apache", apache, Exactly),
    ("Apache's mod_rewrite", apache_rewrite, Exactly),
    ("Tomcat", tomcat, Exactly),
    ("Tomcat, encoded slashes decoded", tomcat_slashes, Exactly),
    (
        "Tomcat, backslashes taken for slashes",
        tomcat_backslashes,
        Exactly,
    ),
    ("Undertow", undertow, Exactly),
    ("Spring", spring, Exactly),
    ("Go's ServeMux", go, Exactly),
    ("Flask", nginx, Exactly),
    ("Django", once, Exactly),
    ("Rack", nginx, Exactly),
    ("Rails", nginx, WithAnySuffix),
    ("IIS", iis, InAnyCase),
    ("IIS, streams", iis_streams, InAnyCase),
    ("overlong decoder", overlong, Exactly),
    ("NFKC", wide, Exactly),
    ("double decoder", twice, Exactly),
    ("triple decoder without parameters", thrice, Exactly),
    ("cut at the first semicolon", cut, Exactly),
    ("without the last slash", unslashed, Exactly),
];

/// Path segments. Paths are made of one or more of them.
const SEGMENTS: [&str; 78] = [
    "",
    "admin",
    "public",
    "api",
    "x",
    "v1.0",
    "ADMIN",
    "Api",
    "aDmin.json",
    "admin.json",
    "api.x",
    "admin.x.y",
    "%61dmin",
    "adm%69n",
    "%41dmin",
    "%70ublic",
    "%2561dmin",
    "%252561dmin",
    "adm%6",
    "%zzadmin",
    "100%25",
    ";",
    ";x",
    ";x=1;y",
    "%3b",
    "%3bx",
    "%253bx",
    "admin;",
    "admin;x=1",
    "admin%3bx",
    "admin%253b",
    "x;y",
    "admin;x%2fy",
    "x;%2fadmin",
    ".",
    "..",
    "...",
    "%2e",
    "%2e%2e",
    ".%2e",
    "%252e%252e",
    "..;",
    "..;x",
    ".;",
    "..%3b",
    "..%00",
    "..%20",
    "%20",
    "admin%20",
    "%20admin",
    "admin.",
    "admin..",
    "admin.%20",
    "..%2fadmin",
    "%2fadmin",
    "admin%2fx",
    "%252fadmin",
    "admin%252fx",
    "..%252fadmin",
    "%5cadmin",
    "..%5cadmin",
    "%255cadmin",
    "..\\admin",
    "admin%00",
    "%c0%ae%c0%ae",
    "%c0%afadmin",
    "%e0%80%afadmin",
    "%u002e%u002e",
    "%u0061dmin",
    "%25u002e",
    "%ef%bc%8e%ef%bc%8e",
    "%ef%bd%81dmin",
    "%ef%bc%8fadmin",
    "a%e2%80%8bdmin",
    "admin::$DATA",
    "admin%3fx",
    "admin%23",
    "caf%c3%a9",
];

/// Returns every path of up to two segments, and many longer ones from a fixed pseudorandom
/// sequence.
fn paths() -> Vec<String> {
    let mut paths = Vec::new();
    for one in SEGMENTS {
        paths.push(format!("/{one}"));
        for two in SEGMENTS {
            paths.push(format!("/{one}/{two}"));
        }
    }
    let mut dice = 1_u64;
    let mut roll = |sides: usize| {
        dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (dice >> 33) as usize % sides
    };
    for _ in 0..24_000 {
        let many = 3 + roll(3);
        let segments = (0..many).map(|_| match roll(2) {
            0 => SEGMENTS[roll(6)],
            _ => SEGMENTS[roll(SEGMENTS.len())],
        });
        paths.push(format!("/{}", segments.collect::<Vec<_>>().join("/")));
    }
    paths.sort();
    paths.dedup();
    paths
}

struct Table {
    paths: Vec<String>,
    routes: Vec<config::Route>,
    /// How the servers behind its routes compare names.
    names: Names,
}

/// Makes a table with a route per path, in this order, that accepts all slashes.
fn table(names: Names, paths: &[&str]) -> Table {
    let route = |path: &&str| config::Route {
        name: (*path).into(),
        hosts: Vec::new(),
        paths: vec![PathPattern::read(path).unwrap()],
        methods: path.starts_with("/api").then(|| vec![Method::GET]),
        from: None,
        policy: Policy::Authenticated,
        mode: Mode::Enforce,
        upstream: None,
        body_bytes: None,
        allow_double_slash: true,
        allow_encoded_slash: true,
        ignore_case: names == InAnyCase,
        ignore_suffix: names == WithAnySuffix,
        unsaid: Vec::new(),
        denials: None,
        rewrite: config::Rewrite::default(),
    };
    Table {
        paths: paths.iter().map(ToString::to_string).collect(),
        routes: paths.iter().map(route).collect(),
        names,
    }
}

/// Returns the index of the first route to which an application would assign a path.
fn seen(table: &Table, path: &[u8]) -> Option<usize> {
    let holds = |pattern: &PathPattern| {
        let named: Vec<&[u8]> = pattern.segments().map(str::as_bytes).collect();
        let mut there: Vec<&[u8]> = path.split(|&byte| byte == b'/').skip(1).collect();
        if path == b"/" {
            there.clear();
        }
        if pattern.is_exact() && there.len() != named.len() {
            return false;
        }
        let is_alike = |at: usize| {
            let Some(&there) = there.get(at) else {
                return false;
            };
            match table.names {
                _ if named[at] == STAR.as_bytes() => !there.is_empty(),
                Exactly => there == named[at],
                InAnyCase => there.eq_ignore_ascii_case(named[at]),
                WithAnySuffix if at + 1 < named.len() => there == named[at],
                WithAnySuffix => there
                    .strip_prefix(named[at])
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with(b".")),
            }
        };
        (0..named.len()).all(is_alike)
    };
    table
        .routes
        .iter()
        .position(|route| route.paths.iter().any(holds))
}

#[test]
fn no_reader_sees_a_path_under_another_route_than_the_one_decided_on() {
    let orders: [&[&str]; 12] = [
        &["/admin", "/"],
        &["/public", "/api/admin", "/api", "/admin", "/"],
        &["/public", "/admin/x", "/admin"],
        &["/api", "/", "/admin"],
        &["/x/admin", "/public", "/"],
        &["/admin"],
        &["/*/admin", "/public", "/"],
        &["=/admin", "=/public/*", "/api/*/x", "/"],
        &["/public/*/admin/*", "/*/*/public", "=/", "/admin"],
        &["/public", "=/*", "/*/x/admin", "=/x/*/admin"],
        &["/x/*", "=/*/admin", "/*/public", "/"],
        &["/*"],
    ];
    let tables: Vec<Table> = orders
        .iter()
        .flat_map(|paths| [Exactly, InAnyCase, WithAnySuffix].map(|names| table(names, paths)))
        .collect();
    let built: Vec<RouteTable> = tables
        .iter()
        .map(|it| RouteTable::new(&it.routes))
        .collect();
    let paths = paths();
    let (mut rejected, mut decided, mut compared) = (0, 0, 0);
    // Counts how often each reader sees another route than a server that decodes nothing.
    let mut differs = [0; READERS.len()];
    for path in &paths {
        let path = path.as_bytes();
        let read: Vec<_> = READERS.iter().map(|(_, read, _)| read(path)).collect();
        let input = Target::read(path).map(|target| MatchInput {
            host: None,
            method: Method::GET,
            target,
            client: None,
        });
        rejected += usize::from(input.is_err());
        for (table, built) in tables.iter().zip(&built) {
            let literal = seen(table, path);
            let place = input.as_ref().ok().map(|input| {
                match built.resolve(input) {
                    Ok(found) => Some(Some(found.place)),
                    // It is denied, which agrees with a reader that finds nothing there.
                    Err(Unrouted::None) => Some(None),
                    Err(_) => None,
                }
            });
            let place = place.flatten();
            decided += usize::from(place.is_some());
            for (at, (reader, _, names)) in READERS.iter().enumerate() {
                let Some(there) = &read[at] else {
                    continue;
                };
                if *names != table.names {
                    continue;
                }
                compared += 1;
                let seen = seen(table, there);
                differs[at] += usize::from(seen != literal);
                if let Some(place) = place {
                    let shown = String::from_utf8_lossy(path);
                    assert_eq!(
                        seen, place,
                        "{shown} of {reader}, {names:?}, {:?}",
                        table.paths
                    );
                }
            }
        }
    }
    println!(
        "{} paths, {rejected} of them rejected whatever the routes; {} readers, {} route tables; {decided} \
         decisions, {compared} comparisons",
        paths.len(),
        READERS.len(),
        tables.len(),
    );
    assert!(paths.len() > 20_000 && decided > 30_000 && rejected > 5_000);
    for ((reader, _, _), differs) in READERS.iter().zip(differs) {
        // A reader that never differs tests nothing. Exempt are those that decode nothing.
        let is_literal = matches!(*reader, "literal (chi)" | "Express");
        assert!(is_literal || differs > 100, "{reader}: {differs}");
    }
}
