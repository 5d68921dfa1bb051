//! Measures how long many routes take to load, and how much memory they take: reading the
//! configuration, warnings of `check`, and the table in which requests are looked up.
//!
//! `cargo run --release -p realmgate-bench --bin routes -- [ROUTES]`, 50,000 by default.

#![expect(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a measurement that cannot be made ends, and prints its result"
)]

use std::fmt::Write as _;
use std::fs;
use std::process::Command;
use std::time::Instant;

use realmgate::config::Config;
use realmgate::doors::lookup;

/// The routes of a service, by its number.
type Route = fn(usize) -> String;

const KINDS: [(&str, Route); 4] = [
    ("exact hosts", |at| {
        format!("host = 'service-{at}.example.org'\n")
    }),
    ("prefixes", |at| format!("path = '/api/service-{at}/'\n")),
    ("paths with *", |at| {
        format!("path = '/tenants/*/service-{at}/keys'\n")
    }),
    ("mixed", |at| match at % 5 {
        0 => format!("host = 'service-{at}.example.org'\n"),
        1 => format!("host = '*.service-{at}.example.org'\npath = ['/api/', '=/health']\n"),
        2 => format!("path = '/api/service-{at}/'\nmethods = ['GET']\n"),
        3 => format!("path = '/tenants/*/service-{at}/'\n"),
        _ => format!(
            "path = '=/service-{at}'\nfrom = ['office', '198.51.100.{}']\n",
            at % 256
        ),
    }),
];

fn main() {
    let mut args = std::env::args().skip(1);
    let routes = args
        .next()
        .map_or(50_000, |it| it.parse().expect("a number of routes"));
    if let Some(kind) = args.next() {
        return measure(&kind, routes);
    }
    println!("| {routes} routes | read, ms | warnings, ms | table, ms | memory, MB |");
    println!("|---|---|---|---|---|");
    // Each in a process of its own, so that the memory of one is not that of the others.
    let program = std::env::current_exe().expect("this program");
    for (kind, _) in KINDS {
        let mut command = Command::new(&program);
        let status = command.args([&routes.to_string(), kind]).status();
        assert!(status.expect("this program").success(), "{kind}");
    }
}

fn measure(kind: &str, routes: usize) {
    let (_, route) = KINDS
        .iter()
        .find(|(name, _)| *name == kind)
        .expect("a kind");
    let text = text(*route, routes);
    let before = resident();
    let began = Instant::now();
    let config = Config::parse(&text, "bench", []).expect("a valid configuration");
    let read = began.elapsed();
    let began = Instant::now();
    let warnings = config.warnings();
    let warned = began.elapsed();
    drop(warnings);
    let began = Instant::now();
    let find = lookup(&config.routes);
    let built = began.elapsed();
    // The configuration stays in memory beside the table, as in a running server.
    let memory = resident().saturating_sub(before) / 1_000_000;
    let found = find(
        "none.example.org",
        b"/none",
        &"GET".parse().expect("a method"),
    );
    assert_eq!(found, None);
    println!(
        "| {kind} | {} | {} | {} | {memory} |",
        read.as_millis(),
        warned.as_millis(),
        built.as_millis()
    );
}

fn text(route: Route, routes: usize) -> String {
    let mut text = "service.no_front_proxy = true\n[networks]\noffice = ['192.0.2.0/24']\n\
                    [group.callers]\nmembers = [{ realm = 'payments' }, { realm = 'ops', name = 'batch-*' }]\n\
                    [upstream.app]\npeers = ['127.0.0.1:9']\n"
        .to_owned();
    for at in 0..routes {
        let _ = write!(
            text,
            "[[route]]\nname = 'r{at}'\n{}allow = [{{ group = 'callers' }}, {{ realm = 'r{}' }}]\nupstream = 'app'\n",
            route(at),
            at % 100
        );
    }
    text
}

/// Returns the resident memory of this process in bytes.
fn resident() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("/proc");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB"));
    let kilobytes: u64 = kilobytes.expect("VmRSS").trim().parse().expect("a number");
    kilobytes * 1024
}
