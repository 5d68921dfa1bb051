//! The nodes of a store, as the administration lists them.

use std::fs;

use serde_json::Value;

use crate::harness::postgres::{is_store, sql_in};
use crate::harness::{Caller, Gate, realmgate, stderr, stdout, until};
use crate::page::browser::{ADMIN, Browser};

fn named(name: &str) -> String {
    format!("{ADMIN}[server]\nnode = \"{name}\"\n")
}

/// Runs `realmgate status` at a node.
fn status(gate: &Gate, admin: &Caller, options: &[&str]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let seed = folder.path().join("seed");
    fs::write(&seed, &admin.seed).unwrap();
    let output = realmgate(&["status"])
        .args(options)
        .args(["--server", &format!("http://{}", gate.service)])
        .args(["--as", &format!("{}@{}", admin.name, admin.realm)])
        .arg("--seed-file")
        .arg(seed)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    stdout(&output)
}

fn nodes(gate: &Gate, admin: &Caller) -> Vec<Value> {
    let status: Value = serde_json::from_str(&status(gate, admin, &["--json"])).unwrap();
    status["nodes"].as_array().unwrap().clone()
}

fn number(gate: &Gate, sql: &str) -> i64 {
    sql_in(&gate.config(), sql).trim().parse().unwrap()
}

fn names(nodes: &[Value]) -> Vec<&str> {
    nodes
        .iter()
        .map(|it| it["name"].as_str().unwrap())
        .collect()
}

#[test]
fn node_that_is_killed_is_listed_as_not_seen() {
    let one = Gate::start_on_postgres(&named("one"));
    let two = one.start_beside(&named("two"));
    let three = one.start_beside(&named("three"));
    let admin = one.register("root", "ungleich-admin");
    until("all nodes are listed", || nodes(&one, &admin).len() == 3);
    let all = nodes(&one, &admin);
    assert_eq!(names(&all), ["one", "three", "two"]);
    for node in &all {
        assert_eq!(node["is_missing"], false, "{node}");
        assert_eq!(node["is_this"], node["name"] == "one", "{node}");
        assert_eq!(node["version"], env!("CARGO_PKG_VERSION"));
        // The configurations differ in addresses that the system has chosen, if at all.
        assert_eq!(node["config"].as_str().unwrap().len(), 16, "{node}");
    }
    let mut browser = Browser::log_in(&one, &admin);
    let page = browser.read("/");
    assert!(page.contains("<h2>Nodes</h2>"), "{page}");
    assert!(!page.contains("not been seen"), "{page}");

    two.signal("KILL");
    // Its record grows old. One that it was writing may come after this.
    let later = || {
        let sql = "UPDATE node SET seen = seen - 80000 WHERE name = 'two' RETURNING 1";
        sql_in(&one.config(), sql).trim() == "1"
    };
    let find = |name: &str| {
        nodes(&one, &admin)
            .into_iter()
            .find(|it| it["name"] == name)
    };
    until("it is missing", || {
        later() && find("two").is_some_and(|it| it["is_missing"] == true)
    });
    assert!(find("two").unwrap()["age"].as_u64().unwrap() >= 80);
    // A node that is shut down has left.
    shut_down(&three);
    until("the other node has left", || find("three").is_none());
    assert_eq!(names(&nodes(&one, &admin)), ["one", "two"]);
    let text = status(&one, &admin, &[]);
    assert!(
        text.contains("two ") && text.contains("not seen for "),
        "{text}"
    );
    let page = browser.read("/");
    assert!(
        page.contains("A node has not been seen for more than 30 seconds."),
        "{page}"
    );
    let (_, rows) = page.split_once("<h2>Nodes</h2>").unwrap();
    let (_, row) = rows.split_once("<bdi>two</bdi>").unwrap();
    let (row, _) = row.split_once("</tr>").unwrap();
    assert!(row.contains("not seen for "), "{row}");

    // Started again, it replaces its record.
    let again = one.start_beside(&named("two"));
    until("it has replaced its record", || {
        let all = nodes(&again, &admin);
        all.len() == 2 && all.iter().all(|it| it["is_missing"] == false)
    });
    assert!(!browser.read("/").contains("not been seen"));
}

/// Ends a process in an orderly way.
fn shut_down(gate: &Gate) {
    let pid = gate.pid();
    gate.signal("TERM");
    until("it has ended", || {
        let state = fs::read_to_string(format!("/proc/{pid}/stat"));
        state.map_or(true, |it| it.contains(") Z "))
    });
}

#[test]
fn node_of_another_version_and_one_of_the_same_name_are_marked() {
    let gate = Gate::start_on_postgres(&named("one"));
    let admin = gate.register("root", "ungleich-admin");
    let add = "INSERT INTO node VALUES
        ('\\x0123456789abcdef', 'one', '9.9.9', 'c0ffee', 1700000000, 1700000000, 0, 7,
            (extract(epoch FROM clock_timestamp()) * 1000)::bigint) RETURNING 1";
    assert_eq!(number(&gate, add), 1);
    let all = nodes(&gate, &admin);
    let (this, other): (Vec<_>, Vec<_>) = all.iter().partition(|it| it["is_this"] == true);
    assert_eq!((this.len(), other.len()), (1, 1), "{all:?}");
    assert_eq!(other[0]["id"], "0123456789abcdef");
    let text = status(&gate, &admin, &[]);
    assert!(text.contains("one 9.9.9 (another version), "), "{text}");
    assert!(text.contains(", 7 changes behind"), "{text}");
    let page = Browser::log_in(&gate, &admin).read("/");
    assert!(
        page.contains("<code class=\"soft\">01234567</code>"),
        "{page}"
    );
    assert!(
        page.contains("9.9.9 <span class=\"badge warn\">differs</span>"),
        "{page}"
    );
}

#[test]
fn records_of_nodes_are_bounded_and_old_ones_are_deleted() {
    let gate = Gate::start_on_postgres(&named("one"));
    let add = "INSERT INTO node SELECT substr(sha256(n::text::bytea), 1, 8), 'n' || n, '1', '', 0, 0, 0, 0,
            (extract(epoch FROM clock_timestamp()) * 1000)::bigint - CASE n % 3
                WHEN 0 THEN 90000000 WHEN 1 THEN -90000000 ELSE 0 END
        FROM generate_series(1, 3300) n";
    sql_in(&gate.config(), add);
    let count = || number(&gate, "SELECT count(*) FROM node");
    assert!(count() > 3000);
    // A reload records the node at once.
    gate.signal("HUP");
    until("there are few", || count() <= 1001);
    let old = "SELECT count(*) FROM node
        WHERE abs(seen - extract(epoch FROM clock_timestamp()) * 1000) > 86400000";
    assert_eq!(number(&gate, old), 0);
    let admin = gate.register("root", "ungleich-admin");
    let all = nodes(&gate, &admin);
    assert_eq!(all.len(), 200);
    assert!(names(&all).contains(&"one"));
    let total = count() as usize;
    let text = status(&gate, &admin, &[]);
    let more = format!(
        "and {} more, which have not been seen for longer",
        total - 200
    );
    assert!(text.contains(&more), "{text}");
    let page = Browser::log_in(&gate, &admin).read("/");
    assert!(page.len() < 50_000, "{}", page.len());
    let more = format!("And {} more nodes", total - 30);
    assert!(page.contains(&more), "{page}");
    assert!(
        page.contains("lists the 200 nodes that were seen last"),
        "{page}"
    );
}

#[test]
fn node_that_cannot_be_recorded_serves_and_says_so_once() {
    let gate = Gate::start_on_postgres(&named("one"));
    let recorded = || number(&gate, "SELECT count(*) FROM node") == 1;
    until("it is recorded", recorded);
    sql_in(&gate.config(), "ALTER TABLE node RENAME TO away");
    let message = "cannot record that this node serves";
    let said = || gate.log().matches(message).count();
    gate.signal("HUP");
    until("it says so", || said() == 1);
    let reloads = || gate.log().matches("reloaded").count();
    let before = reloads();
    gate.signal("HUP");
    until("it is loaded again", || reloads() > before);
    let caller = gate.register("svc", "payments");
    until("it serves", || {
        super::cluster::status(&gate, &caller) == 200
    });
    assert_eq!(super::cluster::readiness(&gate), 200);
    assert_eq!(said(), 1, "{}", gate.log());
    sql_in(
        &gate.config(),
        "ALTER TABLE away RENAME TO node; DELETE FROM node",
    );
    gate.signal("HUP");
    until("it is recorded again", recorded);
}

#[test]
fn file_is_served_by_one_node() {
    if is_store() {
        return;
    }
    let gate = Gate::start(&named("one"));
    let admin = gate.register("root", "ungleich-admin");
    let all = nodes(&gate, &admin);
    assert_eq!(names(&all), ["one"]);
    assert_eq!(all[0]["is_this"], true);
    let page = Browser::log_in(&gate, &admin).read("/");
    assert!(!page.contains("<h2>Nodes</h2>"), "{page}");
}
