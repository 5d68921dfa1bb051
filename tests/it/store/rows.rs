//! Rows that somebody has written with SQL, and that are no identities.

use std::fs;
use std::process::Output;

use serde_json::Value;

use super::cluster::status;
use crate::harness::postgres::sql_in;
use crate::harness::{Caller, Gate, Reply, get, raw, realmgate, stderr, stdout, until};
use crate::page::browser::{ADMIN, Browser};

/// Runs statements that constraints forbid now.
fn sql(gate: &Gate, is_file: bool, statements: &str) {
    if !is_file {
        sql_in(
            &gate.config(),
            &format!(
                "ALTER TABLE identity DROP CONSTRAINT IF EXISTS identity_name,
                    DROP CONSTRAINT IF EXISTS identity_realm,
                    DROP CONSTRAINT IF EXISTS identity_algorithm_check; {statements}"
            ),
        );
        return;
    }
    let database = gate.config().with_file_name("realmgate.db");
    let database = rusqlite::Connection::open(database).unwrap();
    database
        .pragma_update(None, "ignore_check_constraints", true)
        .unwrap();
    database.execute_batch(statements).unwrap();
}

fn ask(gate: &Gate, admin: &Caller, path: &str) -> String {
    let reply = get(gate.service, path, &admin.fields());
    assert_eq!(reply.status, 200, "{path}: {}", reply.body);
    reply.content()
}

fn at_server(gate: &Gate, admin: &Caller, args: &[&str]) -> Output {
    let seed = gate.config().with_file_name("seed");
    fs::write(&seed, &admin.seed).unwrap();
    realmgate(args)
        .args(["--server", &format!("http://{}", gate.service)])
        .args(["--as", &format!("{}@{}", admin.name, admin.realm)])
        .arg("--seed-file")
        .arg(seed)
        .output()
        .unwrap()
}

/// Returns the numbers of identities by their names.
fn number(gate: &Gate, name: &str) -> i64 {
    let output = gate.run(&["identity", "show", &format!("{name}@payments")]);
    let shown: Value = serde_json::from_slice(&output.stdout).unwrap();
    shown["id"].as_i64().unwrap()
}

#[test]
fn rows_that_are_no_identities_are_named_and_hide_no_others() {
    for is_file in [true, false] {
        let gate = match is_file {
            true => Gate::start(ADMIN),
            false => Gate::start_on_postgres(ADMIN),
        };
        if is_file && crate::harness::postgres::is_store() {
            continue;
        }
        let admin = gate.register("root", "ungleich-admin");
        let good = gate.register("good", "payments");
        let odd = gate.register("odd", "payments");
        for name in ["spaced", "garbled", "sealed", "late"] {
            gate.register(name, "payments");
        }
        let [spaced, garbled, sealed] = ["spaced", "garbled", "sealed"].map(|it| number(&gate, it));
        sql(
            &gate,
            is_file,
            &format!(
                "UPDATE identity SET name = ' spaced' WHERE id = {spaced};
                UPDATE identity SET algorithm = 'none' WHERE id = {garbled};
                UPDATE identity SET seed = (SELECT seed FROM identity WHERE name = 'good') WHERE id = {sealed};
                UPDATE identity SET created = -1, updated = 9223372036854775807, expires = 9223372036854775807
                    WHERE name = 'late';"
            ),
        );
        let expected = [
            (spaced, "the name begins or ends with white space"),
            (garbled, "none"),
        ];
        // Over REST, in each order, and page by page.
        for sort in ["id", "-name", "realm", "last_used", "expires"] {
            let (mut names, mut bad) = (Vec::new(), Vec::new());
            let mut cursor = String::new();
            loop {
                let path = format!("/v1/identities?realm=payments&limit=2&sort={sort}{cursor}");
                let page: Value = serde_json::from_str(&ask(&gate, &admin, &path)).unwrap();
                for it in page["items"].as_array().unwrap() {
                    names.push(it["name"].as_str().unwrap().to_owned());
                }
                for it in page["unreadable"].as_array().into_iter().flatten() {
                    let problem = it["problem"].as_str().unwrap().to_owned();
                    bad.push((it["id"].as_i64().unwrap(), problem));
                }
                match page["next"].as_str() {
                    Some(next) => cursor = format!("&cursor={next}"),
                    None => break,
                }
            }
            names.sort_unstable();
            assert_eq!(names, ["good", "late", "odd", "sealed"], "{sort}");
            bad.sort_unstable();
            for ((id, problem), (of, text)) in bad.iter().zip(expected) {
                assert!(*id == of && problem.contains(text), "{sort}: {bad:?}");
            }
            assert_eq!(bad.len(), 2, "{sort}");
        }
        let export = ask(&gate, &admin, "/v1/identities/export");
        let lines: Vec<Value> = export
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        let unreadable = lines
            .iter()
            .filter_map(|it| it["unreadable"]["id"].as_i64());
        assert_eq!(unreadable.collect::<Vec<_>>(), [spaced, garbled]);
        assert_eq!(lines.len(), 7, "{export}");
        // The list of ungleich-otp has no place for them.
        let list: Vec<Value> = serde_json::from_str(&ask(&gate, &admin, "/ungleichotp/")).unwrap();
        assert_eq!(list.len(), 5);
        until("they are logged", || {
            let message = "a row of the database is no identity, and not listed";
            gate.log().matches(message).count() == 2
        });
        // In the commands, on the database and at the server.
        for command in ["list", "export"] {
            let here = gate.run(&["identity", command]);
            let there = at_server(&gate, &admin, &["--json", "identity", command]);
            for output in [here, there] {
                let error = stderr(&output);
                assert_eq!(output.status.code(), Some(6), "{error}");
                for (id, text) in expected {
                    let warning = format!("row {id} of the table identity is left out: ");
                    assert!(error.contains(&warning) && error.contains(text), "{error}");
                }
                assert_eq!(stdout(&output).lines().count(), 5, "{output:?}");
            }
        }
        // On the page.
        let page = Browser::log_in(&gate, &admin).read("/identities");
        assert!(page.contains(&format!("Row {spaced} of the database is no identity")));
        assert!(page.contains("good") && page.contains("late"), "{page}");
        // They stay denied, and the others do not.
        let as_named = |name: &str| Caller {
            name: name.to_owned(),
            ..odd.clone()
        };
        assert_eq!(status(&gate, &good), 200);
        assert_eq!(status(&gate, &odd), 200);
        for name in ["garbled", "sealed", "spaced"] {
            assert_ne!(status(&gate, &as_named(name)), 200, "{name}");
        }
        // And how to mend them.
        let output = gate.run(&["check", "--connect"]);
        let said = stderr(&output);
        for text in [
            &format!("DELETE FROM identity WHERE id = {spaced}"),
            &format!("DELETE FROM identity WHERE id = {garbled}"),
            "the seed of sealed@payments",
        ] {
            assert!(said.contains(text), "{said}");
        }
        let delete = format!("DELETE FROM identity WHERE id IN ({spaced}, {garbled})");
        sql(&gate, is_file, &delete);
        let output = gate.run(&["identity", "export"]);
        assert!(output.status.success(), "{}", stderr(&output));
        if is_file {
            let rename =
                format!("UPDATE identity SET name = CAST(x'62ff' AS TEXT) WHERE id = {sealed}");
            sql(&gate, is_file, &rename);
            assert_eq!(gate.run(&["identity", "list"]).status.code(), Some(6));
            let sorted = gate.run(&["identity", "list", "--sort", "name"]);
            let row = format!("row {sealed} of the table identity");
            assert_eq!(sorted.status.code(), Some(3));
            assert!(stderr(&sorted).contains(&row), "{}", stderr(&sorted));
            let rename = format!("UPDATE identity SET name = 'sealed' WHERE id = {sealed}");
            sql(&gate, is_file, &rename);
        }
        let rotate = ["identity", "rotate", "sealed@payments"];
        assert!(gate.run(&rotate).status.success());
        let said = stderr(&gate.run(&["check", "--connect"]));
        assert!(
            !said.contains("no identity") && !said.contains("decrypted"),
            "{said}"
        );
    }
}

#[test]
fn rows_that_are_no_identities_can_be_deleted() {
    if !crate::harness::postgres::is_store() {
        delete_rows(Gate::start, true);
    }
}

#[test]
fn rows_that_are_no_identities_can_be_deleted_on_postgres() {
    delete_rows(Gate::start_on_postgres, false);
}

fn delete_rows(start: impl Fn(&str) -> Gate, is_file: bool) {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("audit.log");
    let gate = start(&format!("{ADMIN}[audit]\nfile = \"{}\"\n", log.display()));
    let admin = gate.register("root", "ungleich-admin");
    let names = ["garbled", "spaced", "foreign", "kept", "listed"];
    for name in names {
        gate.register(name, "payments");
    }
    let ids = names.map(|name| number(&gate, name));
    let [garbled, spaced, foreign, kept, listed] = ids;
    // PostgreSQL stores no text that is not UTF-8.
    let text = if is_file {
        "CAST(x'62ff' AS TEXT)"
    } else {
        "' b'"
    };
    sql(
        &gate,
        is_file,
        &format!(
            "UPDATE identity SET algorithm = 'none' WHERE id IN ({garbled}, {kept});
            UPDATE identity SET name = ' spaced' WHERE id IN ({spaced});
            UPDATE identity SET name = {text}, realm = {text} WHERE id = {foreign};
            UPDATE identity SET name = ' listed' WHERE id = {listed};"
        ),
    );
    let ask = |method: &str, id: i64, fields: &str| {
        let fields = format!("{}{fields}", admin.fields());
        let request = format!(
            "{method} /v1/identities/{id} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{fields}\r\n"
        );
        raw(gate.service, request.as_bytes())
    };
    let is_bad = |reply: &Reply, id: i64| {
        let problem: Value = serde_json::from_str(&reply.content()).unwrap();
        assert_eq!(reply.status, 409, "{problem}");
        assert_eq!(problem["type"], "urn:realmgate:problem:unreadable-row");
        let detail = problem["detail"].as_str().unwrap();
        assert!(
            detail.starts_with(&format!("Row {id} of the table")),
            "{detail}"
        );
    };
    for id in [garbled, spaced, foreign] {
        let reply = ask("GET", id, "");
        is_bad(&reply, id);
        let tag = reply.field("ETag").unwrap();
        assert_eq!(tag, format!("\"{id}-2\""));
        // As for identities: not if somebody has changed it meanwhile.
        let stale = format!("If-Match: \"{id}-1\"\r\n");
        assert_eq!(ask("DELETE", id, &stale).status, 412);
        let matching = format!("If-Match: {tag}\r\n");
        assert_eq!(ask("DELETE", id, &matching).status, 204);
        assert_eq!(ask("DELETE", id, "").status, 404);
        assert_eq!(ask("GET", id, "").status, 404);
    }
    // By its name, the response says which row it is.
    let by_name = "/v1/identities/kept@payments";
    is_bad(&get(gate.service, by_name, &admin.fields()), kept);
    let deleted = gate.run(&["identity", "delete", "kept@payments"]);
    assert!(deleted.status.success(), "{}", stderr(&deleted));
    // On the page, with a fresh token.
    let mut browser = Browser::log_in(&gate, &admin);
    let page = browser.read("/identities");
    let path = format!("/identities/{listed}/delete");
    assert!(page.contains(&format!("href=\"{path}\"")), "{page}");
    let page = browser.get(&format!("/identities/{listed}"));
    assert_eq!(page.status, 409);
    assert!(page.body.contains("no identity"), "{}", page.body);
    let version = browser.version(&path);
    let wrong = [("version", &*version), ("token", "000000")];
    let reply = browser.post(&path, &wrong);
    assert_eq!(reply.status, 422);
    assert!(
        reply.body.contains("not your current token"),
        "{}",
        reply.body
    );
    let fields = [("version", &*version), ("token", &*admin.token_of(1))];
    let reply = browser.post(&path, &fields);
    assert_eq!(reply.field("Location"), Some("/identities?done=deleted"));
    // All of it is in the audit log, and in the change log, which every process can read.
    let lines = fs::read_to_string(&log).unwrap();
    let lines = lines.lines().map(|it| serde_json::from_str(it).unwrap());
    let deleted: Vec<Value> = lines
        .filter(|it: &Value| it["event"] == "identity_deleted")
        .collect();
    let deleted_ids = deleted.iter().map(|it| it["id"].as_i64().unwrap());
    assert_eq!(
        deleted_ids.collect::<Vec<_>>(),
        [garbled, spaced, foreign, kept, listed]
    );
    assert_eq!(deleted[0]["subject"]["name"], "garbled");
    assert!(deleted[1]["subject"].is_null(), "{}", deleted[1]);
    let detail = deleted[2]["detail"].as_str().unwrap();
    assert!(
        detail.starts_with(&format!("row {foreign} was no identity: ")),
        "{detail}"
    );
    let left = gate.run(&["identity", "list"]);
    assert_eq!(stdout(&left).lines().count(), 1, "{left:?}");
    let svc = gate.register("svc", "payments");
    until("changes are still seen", || status(&gate, &svc) == 200);
    let output = gate.run(&["identity", "disable", "svc@payments"]);
    assert!(output.status.success(), "{}", stderr(&output));
    until("another process has disabled it", || {
        status(&gate, &svc) != 200
    });
    assert!(
        !gate.log().contains("the change log cannot be read"),
        "{}",
        gate.log()
    );
}

#[test]
fn changes_take_effect_though_another_name_or_realm_is_not_utf8() {
    // PostgreSQL writes no such text.
    if crate::harness::postgres::is_store() {
        return;
    }
    let gate = Gate::start("");
    let admin = gate.register("root", "ungleich-admin");
    let names = ["alice", "bob", "carol", "dave"];
    let [alice, bob, carol, dave] = names.map(|name| gate.register(name, "payments"));
    for caller in [&alice, &bob, &carol, &dave] {
        assert_eq!(status(&gate, caller), 200);
    }
    for (column, broken, next) in [("name", &bob, &alice), ("realm", &dave, &carol)] {
        let id = number(&gate, &broken.name);
        let write = format!("UPDATE identity SET {column} = CAST(x'62ff' AS TEXT) WHERE id = {id}");
        sql(&gate, true, &write);
        until("the row is no identity", || status(&gate, broken) == 401);
        let disable = ["identity", "disable", &format!("{}@payments", next.name)];
        assert!(gate.run(&disable).status.success());
        until("it is disabled", || status(&gate, next) == 401);
        assert_eq!(super::cluster::readiness(&gate), 200);
        let realms = ask(&gate, &admin, "/v1/realms");
        assert!(realms.contains("payments") && realms.contains("ungleich-admin"));
    }
}

#[test]
fn used_steps_that_cannot_be_read_are_logged_and_mended_by_one_command() {
    let gate = Gate::start(super::cluster::ONCE);
    let caller = gate.register("svc", "once");
    assert_eq!(status(&gate, &caller), 200);
    let garbage = match crate::harness::postgres::is_store() {
        true => "'\\x01'",
        false => "X'01'",
    };
    let sql = format!("UPDATE spent SET steps = {garbage} RETURNING 1");
    assert_eq!(gate.number(&sql), 1);
    assert_eq!(status(&gate, &caller), 503);
    let id = gate.number("SELECT id FROM identity WHERE name = 'svc'");
    let expected = format!("the used steps of identity {id} cannot be read");
    until("it is logged", || gate.log().contains(&expected));
    let said = stderr(&gate.run(&["check", "--connect"]));
    let expected = format!("the used one-time tokens of identity {id} cannot be read");
    assert!(said.contains(&expected), "{said}");
    let output = gate.run(&["identity", "unthrottle", "svc@once"]);
    assert!(output.status.success(), "{}", stderr(&output));
    // Its tokens of this moment may have been used.
    assert_eq!(status(&gate, &caller), 401);
    assert!(
        !gate
            .run(&["check", "--connect"])
            .stderr
            .windows(8)
            .any(|it| it == b"one-time")
    );
}
