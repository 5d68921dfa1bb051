//! The fresh token that some forms need.

use super::browser::{ADMIN, Browser};
use crate::harness::Gate;

/// A form with its path, its fields, and what is wrong with it.
type Case<'a> = (String, &'a [(&'a str, &'a str)], &'a str);

/// What a form says if something other than the token is wrong.
const UNUSED: &str = "Your token was not used";

#[test]
fn token_is_not_used_up_by_a_form_that_is_rejected_for_another_reason() {
    let gate = Gate::start(ADMIN);
    let admin = gate.register("root", "ungleich-admin");
    gate.register("taken", "ungleich-admin");
    gate.register("svc", "payments");
    let mut browser = Browser::log_in(&gate, &admin);
    let token = admin.token_of(1);
    let number = gate.number("SELECT id FROM identity WHERE name = 'svc'");
    let path = format!("/identities/{number}");
    let of = |what: &str| format!("{path}{what}");
    let stale = browser.version(&path);
    let fields = [("name", "svc"), ("realm", "payments"), ("comment", "new")];
    let fields = [&fields[..], &[("version", &*stale)]].concat();
    assert_eq!(browser.post(&path, &fields).status, 303);
    let version = browser.version(&path);
    assert_ne!(stale, version);
    // A seed that is still valid keeps another from being made.
    let rotated = gate.run(&["identity", "rotate", "svc@payments", "--grace", "1h"]);
    assert!(rotated.status.success());
    let version_now = browser.version(&path);
    assert_ne!(version, version_now);
    let taken = [("name", "taken"), ("realm", "ungleich-admin")];
    let long = "x".repeat(129);
    let lines = "taken,ungleich-admin\n,ungleich-admin";
    let cases: [Case<'_>; 13] = [
        (
            "/identities/new".to_owned(),
            &taken[..],
            "taken in this realm",
        ),
        (
            "/identities/new".to_owned(),
            &[
                ("name", "new"),
                ("realm", "ungleich-admin"),
                ("expires", "2001-01-01"),
            ],
            "expected a time after now",
        ),
        (
            "/identities/new".to_owned(),
            &[
                ("name", "new"),
                ("realm", "ungleich-admin"),
                ("expires", "soon"),
            ],
            "expected a time in UTC",
        ),
        (
            "/identities/bulk".to_owned(),
            &[("list", lines)],
            "line 1: name: expected another name",
        ),
        (
            of(""),
            &[
                ("name", "taken"),
                ("realm", "ungleich-admin"),
                ("version", &*version_now),
            ],
            "taken in this realm",
        ),
        (
            of(""),
            &[
                ("name", &*long),
                ("realm", "payments"),
                ("version", &*version_now),
            ],
            "expected 1 to 128 characters",
        ),
        (
            of(""),
            &[
                ("name", "other"),
                ("realm", "payments"),
                ("version", &*version),
            ],
            "has changed since",
        ),
        (
            of("/rotate"),
            &[("grace", "0"), ("version", &*version)],
            "has changed since",
        ),
        (
            of("/rotate"),
            &[("grace", "0"), ("version", &*version_now)],
            "is valid until",
        ),
        (
            of("/rotate"),
            &[
                ("grace", "99999999"),
                ("version", &*version_now),
                ("force", "on"),
            ],
            "expected at most",
        ),
        (
            of("/delete"),
            &[("version", &*version)],
            "has changed since",
        ),
        (
            of("/enable"),
            &[("version", &*version)],
            "has changed since",
        ),
        (
            of("/unthrottle"),
            &[("version", &*version)],
            "has changed since",
        ),
    ];
    for (at, fields, expected) in cases {
        let fields = [fields, &[("token", &*token)]].concat();
        let reply = browser.post(&at, &fields);
        assert_eq!(reply.status, 422, "{at} {fields:?}: {reply:?}");
        assert!(
            reply.body.contains(expected),
            "{at} {expected}: {}",
            reply.body
        );
        assert!(
            reply.body.contains(UNUSED),
            "{at} {expected}: {}",
            reply.body
        );
        assert!(!reply.body.contains(&token), "{at}: the token is repeated");
    }
    assert_eq!(gate.number("SELECT count(*) FROM identity"), 3);
    // Still good, once.
    let fields = [("version", &*version_now), ("token", &*token)];
    assert_eq!(browser.post(&of("/delete"), &fields).status, 303);
    let fields = [
        ("name", "new"),
        ("realm", "ungleich-admin"),
        ("token", &*token),
    ];
    let reply = browser.post("/identities/new", &fields);
    assert_eq!(reply.status, 422);
    assert!(reply.body.contains("used here already"), "{}", reply.body);
    assert!(!reply.body.contains(UNUSED), "{}", reply.body);
}

#[test]
fn trial_of_a_form_changes_nothing_and_guesses_of_tokens_count_as_before() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("audit.log");
    let gate = Gate::start(&format!(
        "{ADMIN}[throttle]\nfailures = 2\nsource_failures = 100\ndelay = \"1h\"\nlongest_delay = \"1h\"\n\
         [audit]\nfile = \"{}\"\n",
        log.display()
    ));
    let admin = gate.register("root", "ungleich-admin");
    gate.register("svc", "payments");
    let mut browser = Browser::log_in(&gate, &admin);
    let number = gate.number("SELECT id FROM identity WHERE name = 'svc'");
    let path = format!("/identities/{number}");
    let version = browser.version(&path);
    let before = std::fs::read_to_string(&log).unwrap();
    let wrong = admin.wrong_token();
    let mut guess = |what: &str| {
        let fields = [("version", &*version), ("token", &*wrong), ("grace", "0")];
        browser.post(&format!("{path}{what}"), &fields).status
    };
    assert_eq!(guess("/delete"), 422);
    let statuses: Vec<_> = (0..12)
        .map(|n| guess(["/rotate", "/delete"][n % 2]))
        .collect();
    assert!(statuses.contains(&429), "{statuses:?}");
    assert_eq!(browser.version(&path), version);
    let after = std::fs::read_to_string(&log).unwrap();
    let new = after.strip_prefix(&before).unwrap();
    assert!(!new.contains("identity_"), "{new}");
}
