//! How sessions begin and end.

use std::io::{Read, Write};
use std::net::TcpStream;

use super::browser::{ADMIN, Browser};
use crate::harness::{Gate, until};

/// Logs in twice, with different secrets.
fn two<'a>(gate: &'a Gate) -> [Browser<'a>; 2] {
    ["root", "second"].map(|name| {
        let admin = gate.register(name, "ungleich-admin");
        Browser::log_in(gate, &admin)
    })
}

#[test]
fn log_in_makes_a_new_session_and_its_cookie_is_kept_from_scripts() {
    let gate = Gate::start(ADMIN);
    let admin = gate.register("root", "ungleich-admin");
    let mut browser = Browser::of(&gate);
    let planted = "A".repeat(43);
    browser.cookie = Some(planted.clone());
    let reply = browser.try_to_log_in(&admin, &admin.token());
    let set = reply.field("Set-Cookie").unwrap();
    assert!(
        set.ends_with("; Path=/; HttpOnly; SameSite=Strict"),
        "{set}"
    );
    let first = browser.cookie.clone().unwrap();
    assert_ne!(first, planted);
    assert_eq!(first.len(), 43);
    // The store has the hash only.
    let text = format!("SELECT count(*) FROM session WHERE kind = '{first}'");
    assert_eq!(gate.number(&text), 0);
    assert_eq!(gate.number("SELECT count(*) FROM session"), 1);
    // Another login in the same browser ends the session before.
    let reply = browser.try_to_log_in(&admin, &admin.token_of(1));
    assert_eq!(reply.status, 303);
    assert!(browser.is_in());
    let mut old = Browser::of(&gate);
    old.cookie = Some(first);
    assert!(!old.is_in());
}

#[test]
fn log_in_leads_back_to_the_page_and_nowhere_else() {
    let gate = Gate::start(ADMIN);
    for (name, next, expected) in [
        ("a", "/audit?event=denied", "/audit?event=denied"),
        ("b", "//evil.example/", "/"),
        ("c", "https://evil.example/", "/"),
        ("d", "/\\evil.example", "/"),
    ] {
        let admin = gate.register(name, "ungleich-admin");
        let mut browser = Browser::of(&gate);
        let fields = [("name", name), ("token", &*admin.token()), ("next", next)];
        let reply = browser.post("/login", &fields);
        assert_eq!(reply.field("Location"), Some(expected), "{next}");
    }
    let page = Browser::of(&gate).get("/audit?event=denied").body;
    assert!(
        page.contains("name=\"next\" value=\"/audit?event=denied\""),
        "{page}"
    );
}

#[test]
fn form_that_is_complete_after_its_session_has_ended_changes_nothing() {
    let gate = Gate::start(ADMIN);
    let [mut browser, mut other] = two(&gate);
    let body = "name=late&realm=payments";
    let host = gate.admin.unwrap();
    let cookie = browser.cookie.clone().unwrap();
    let mut held = TcpStream::connect(host).unwrap();
    let head = format!(
        "POST /identities/new HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nCookie: rg={cookie}\r\n\
         Origin: http://{host}\r\nSec-Fetch-Site: same-origin\r\n\
         Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    let (first, last) = body.split_at(body.len() - 1);
    held.write_all(format!("{head}{first}").as_bytes()).unwrap();
    // The answer to another request says that the first one is read, or will be read too late.
    assert!(browser.is_in());
    browser.post("/logout", &[]);
    held.write_all(last.as_bytes()).unwrap();
    let mut text = String::new();
    held.read_to_string(&mut text).unwrap();
    assert!(text.starts_with("HTTP/1.1 401"), "{text}");
    assert_eq!(
        gate.number("SELECT count(*) FROM identity WHERE name = 'late'"),
        0
    );
    assert!(other.is_in());
}

#[test]
fn log_out_ends_the_session_for_every_holder_of_the_cookie() {
    let gate = Gate::start(ADMIN);
    let [mut browser, mut other] = two(&gate);
    let secret = browser.cookie.clone();
    let reply = browser.post("/logout", &[]);
    assert_eq!(reply.field("Location"), Some("/login?after=logout"));
    assert_eq!(browser.cookie, None);
    browser.cookie = secret;
    let reply = browser.get("/identities");
    assert_eq!(reply.status, 401);
    assert!(reply.body.contains("Your session has ended."));
    // The cookie is deleted, so that the next visit says nothing of a session.
    assert_eq!(browser.cookie, None);
    assert!(other.is_in());
}

#[test]
fn change_of_its_identity_ends_a_session_on_every_node() {
    let gate = Gate::start(ADMIN);
    let node = gate.start_beside(ADMIN);
    let root = gate.register("root", "ungleich-admin");
    let mut root = Browser::log_in(&node, &root);
    for (name, change) in [
        ("disabled", "disable"),
        ("rotated", "rotate"),
        ("renamed", "rename"),
        ("deleted", "delete"),
    ] {
        let admin = gate.register(name, "ungleich-admin");
        let mut browser = Browser::log_in(&gate, &admin);
        let mut same = Browser::of(&node);
        same.cookie.clone_from(&browser.cookie);
        assert!(browser.is_in() && same.is_in(), "{name}");
        let who = format!("{name}@ungleich-admin");
        if change == "rename" {
            let sql = "UPDATE identity SET name = 'other' WHERE name = 'renamed' RETURNING 1";
            assert_eq!(gate.number(sql), 1);
        } else {
            let output = gate.run(&["identity", change, &who]);
            assert!(output.status.success(), "{name}: {output:?}");
        }
        until("the session has ended on both nodes", || {
            !browser.is_in() && !same.is_in()
        });
    }
    assert!(root.is_in());
}

#[test]
fn expiry_of_its_identity_ends_a_session() {
    let gate = Gate::start(ADMIN);
    let admin = gate.register("root", "ungleich-admin");
    let mut browser = Browser::log_in(&gate, &admin);
    gate.expire(&admin);
    until("the session has ended", || !browser.is_in());
}

#[test]
fn session_ends_without_use_and_after_eight_hours() {
    let gate = Gate::start(ADMIN);
    let [mut idle, mut old] = two(&gate);
    let age = |column: &str, secs: u32, name: &str| {
        let sql = format!(
            "UPDATE session SET {column} = {column} - {secs} WHERE name = '{name}' RETURNING 1"
        );
        assert_eq!(gate.number(&sql), 1);
    };
    age("seen", 600, "root");
    assert!(idle.is_in());
    // That was a use.
    age("seen", 600, "root");
    assert!(idle.is_in());
    age("seen", 900, "root");
    assert!(!idle.is_in());
    age("made", 8 * 3600 - 600, "second");
    assert!(old.is_in());
    age("made", 600, "second");
    assert!(!old.is_in());
}

#[test]
fn administrator_ends_the_session_of_another_and_the_audit_log_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("audit.log");
    let gate = Gate::start(&format!("{ADMIN}[audit]\nfile = \"{}\"\n", log.display()));
    let [mut browser, mut other] = two(&gate);
    let page = browser.read("/sessions");
    let (_, row) = page.split_once(">second</bdi>").unwrap();
    let (_, path) = row.split_once("action=\"").unwrap();
    let path = path.split('"').next().unwrap();
    assert!(other.is_in());
    assert_eq!(browser.post(path, &[]).status, 303);
    assert!(!other.is_in());
    assert!(browser.is_in());
    let lines = std::fs::read_to_string(&log).unwrap();
    let lines: Vec<serde_json::Value> = lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .filter(|line: &serde_json::Value| line["door"] == "admin")
        .collect();
    let short: Vec<_> = lines
        .iter()
        .map(|line| {
            let text = |key: &str| line[key].as_str().unwrap();
            (
                text("event"),
                line["subject"]["name"].as_str().unwrap(),
                line["actor"]["name"].as_str().unwrap(),
                text("proof"),
                text("reason"),
            )
        })
        .collect();
    assert_eq!(
        short,
        [
            ("session_started", "root", "root", "token", "log_in"),
            ("session_started", "second", "second", "token", "log_in"),
            (
                "session_ended",
                "second",
                "root",
                "session",
                "administrator"
            ),
        ]
    );
}
