use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;
use std::time::Duration;

use super::*;
use crate::http::reserved;

mod header;
mod include;
mod listener;
mod mistakes;
mod principals;
mod route;
mod section;
mod source;
mod throttle;
mod upstream;
mod validity;
mod warning;

fn parse_with(text: &str, env: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let env = env.iter().map(|(name, value)| (name.into(), value.into()));
    Config::parse(text, "realmgate.toml", env)
}

fn parse(text: &str) -> Config {
    parse_with(text, &[]).unwrap()
}

/// Returns the warnings without their places.
fn warned(config: &Config) -> Vec<String> {
    let warnings = config.warnings().into_iter();
    warnings.map(|warning| warning.text).collect()
}

fn error(text: &str) -> String {
    parse_with(text, &[]).unwrap_err().to_string()
}

fn error_with(text: &str, name: &str, value: &str) -> String {
    parse_with(text, &[(name, value)]).unwrap_err().to_string()
}

/// Asserts the message of each text, without the file name.
#[track_caller]
fn assert_errors(cases: &[(&str, &str)]) {
    for (text, expected) in cases {
        assert_eq!(error(text), format!("realmgate.toml:{expected}"), "{text}");
    }
}

/// Returns a route and its upstream. `lines` are added to the route or replace its own.
fn with_route(lines: &str) -> String {
    let own = [
        "name = 'web'",
        "allow = 'authenticated'",
        "upstream = 'web'",
    ];
    let keys: Vec<_> = lines
        .lines()
        .filter_map(|line| line.split(' ').next())
        .collect();
    let own: Vec<_> = own
        .into_iter()
        .filter(|line| !keys.contains(&line.split(' ').next().unwrap()))
        .collect();
    format!(
        "[[route]]\n{lines}\n{}\n[upstream.web]\npeers = ['127.0.0.1:9000']\n",
        own.join("\n")
    )
}

#[track_caller]
fn assert_route_errors(cases: &[(&str, &str)]) {
    for (lines, expected) in cases {
        let text = with_route(lines);
        assert_eq!(error(&text), format!("realmgate.toml:{expected}"), "{text}");
    }
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("config")
}

fn reference() -> String {
    fs::read_to_string(folder().join("realmgate.toml")).unwrap()
}

/// Makes a self-signed certificate and its key.
static CERTIFICATE: LazyLock<(String, String)> = LazyLock::new(|| {
    let folder = tempfile::tempdir().unwrap().keep();
    let path = |name| folder.join(name).display().to_string();
    let (cert, key) = (path("cert.pem"), path("cert.key"));
    let output = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
        ])
        .args([
            "-nodes",
            "-subj",
            "/CN=a",
            "-addext",
            "subjectAltName=DNS:A.example",
        ])
        .args(["-keyout", &key, "-out", &cert])
        .output()
        .unwrap_or_else(|error| panic!("openssl: {error}; run scripts/setup test"));
    assert!(output.status.success(), "{output:?}");
    (cert, key)
});

/// Returns the reference configuration with every commented key enabled.
fn uncommented() -> String {
    let line = |line: &str| match line.strip_prefix('#') {
        Some(key) if !key.starts_with(' ') => format!("{key}\n"),
        _ => format!("{line}\n"),
    };
    let text: String = reference().lines().map(line).collect();
    // These files must exist.
    let (cert, key) = &*CERTIFICATE;
    text.replace("[\"routes.d/*.toml\"]", "[]")
        .replace("clients.pem", cert)
        .replace("server.pem", cert)
        .replace("server.key", key)
        .replace("upstreams.pem", cert)
        .replace("gateway.pem", cert)
        .replace("gateway.key", key)
        // Add what the reference configuration depends on.
        .replace("tls = false\n\n# With tls, required", "tls = true\n#")
}

/// The keys of `[store]` that only a PostgreSQL server has.
const OF_SERVERS: [&str; 3] = ["password_file", "schema", "connections"];

/// Removes the keys of a server from `[store]`, where the reference shows both kinds of database.
fn of_a_file(text: &str) -> String {
    let (store, rest) = text.split_once("\n[cache]").unwrap();
    let is_of_a_file = |line: &&str| {
        let key = line.split(' ').next();
        !OF_SERVERS.iter().any(|it| key == Some(*it))
    };
    let store: Vec<_> = store.lines().filter(is_of_a_file).collect();
    assert_eq!(
        store.len() + OF_SERVERS.len(),
        text.split_once("\n[cache]").unwrap().0.lines().count()
    );
    format!("{}\n[cache]{rest}", store.join("\n"))
}

#[test]
fn every_example_loads() {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder()).unwrap() {
        let path = entry.unwrap().path();
        let config = Config::load(Some(&path), []).unwrap();
        let has_proxy = path.file_name().unwrap() != "forward-auth.toml";
        assert_eq!(config.gateway.listen.is_some(), has_proxy, "{path:?}");
        names.push(path.file_name().unwrap().to_owned());
    }
    names.sort();
    assert_eq!(names, ["forward-auth.toml", "proxy.toml", "realmgate.toml"]);
}

#[test]
fn reference_shows_the_defaults() {
    let mut shown = parse(&of_a_file(&uncommented()));
    assert_eq!((shown.routes.len(), shown.upstreams.len()), (1, 1));
    shown.routes.clear();
    assert_eq!(shown.tls.certificates.remove(0).names, ["a.example"]);
    assert_eq!(shown.tls.client_roots.take().unwrap().roots.len(), 1);
    // A listener that is off by default.
    assert_eq!(shown.grpc.take(), Some(([127, 0, 0, 1], 8082).into()));
    // An origin that is that of the listener by default.
    let origin = shown.admin.origin.take();
    assert_eq!(origin.as_deref(), Some("https://admin.example.org"));
    // A path that realmgate does not answer by default.
    assert_eq!(shown.gateway.health_path.take(), Some("/healthz".into()));
    // A header that is not read by default.
    let header = shown.service.client_address_header.take();
    assert_eq!(header.unwrap(), "x-forwarded-for");
    // 1,000 by default, and at most a share of each upstream.
    assert_eq!(shown.limits.requests_per_address.take(), Some(1000));
    assert_eq!(shown.limits.requests_of_address(), 1000);
    // A log that is off by default.
    assert_eq!(shown.audit.file.take(), Some("audit.jsonl".into()));
    let otlp = shown.otlp.take().unwrap();
    assert_eq!((otlp.one_in, otlp.timeout.as_secs()), (1, 5));
    assert!(shown.log.access_file.take().is_some());
    assert_eq!(shown.networks.remove(0).name, "office");
    assert_eq!(shown.groups.remove(0).members.len(), 2);
    let mut upstream = shown.upstreams.remove(0);
    let tls = upstream.tls.take().unwrap();
    assert_eq!(tls.server_name, "billing.internal");
    assert!(tls.roots.is_some() && tls.client.is_some());
    // The default headers by default.
    assert!(upstream.identity_headers.take().is_some());
    // No health check by default; these are the defaults when there is one.
    let health = upstream.health.take().unwrap();
    assert_eq!(
        (health.interval.as_secs(), health.timeout.as_secs()),
        (2, 1)
    );
    let defaults = parse("[upstream.billing]\npeers = ['127.0.0.1:9000', '127.0.0.1:9001']");
    assert_eq!(
        format!("{:?}", defaults.upstreams),
        format!("{:?}", [upstream])
    );
    assert_eq!(std::mem::take(&mut shown.validities).len(), 4);
    let empty = Config::load(None, []).unwrap();
    // The host name by default.
    assert_eq!(
        std::mem::replace(&mut shown.server.node, empty.server.node.clone()),
        "gate-1".into()
    );
    assert_eq!(
        std::mem::replace(&mut shown.audit.node, empty.audit.node.clone()),
        "gate-1".into()
    );
    assert_eq!(format!("{shown:?}"), format!("{empty:?}"));
    let reference = parse(&reference());
    assert_eq!(format!("{reference:?}"), format!("{empty:?}"));
}

#[test]
fn reference_shows_every_key() {
    let text = uncommented();
    let written: toml::Table = text.parse().unwrap();
    let mut known: Vec<_> = raw::sections().to_vec();
    assert_eq!(known.len() + 7, raw::keys::<raw::Raw>().len());
    known.push(("certificate", raw::keys::<raw::Certificate>()));
    known.push(("realm", raw::keys::<raw::Realm>()));
    known.push(("group", raw::keys::<raw::Group>()));
    // Any name.
    known.push(("networks", &["office"]));
    known.push(("route", raw::keys::<raw::Route>()));
    known.push(("upstream", raw::keys::<raw::Upstream>()));
    // And `include`, which is a list of files.
    assert_eq!(known.len() + 1, written.len());
    for (section, keys) in known {
        let table = match &written[section] {
            toml::Value::Array(routes) => routes[0].as_table(),
            table => {
                let named = ["billing", "callers", "payments"];
                let inner = named.iter().find_map(|name| table.get(name));
                inner.unwrap_or(table).as_table()
            }
        };
        let mut keys = keys.to_vec();
        keys.sort_unstable();
        assert!(table.unwrap().keys().eq(keys), "{section}");
    }
}
