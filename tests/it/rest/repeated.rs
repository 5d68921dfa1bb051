//! Responses to creations, and to requests of `/v1` that are repeated or not served.

use std::io::Write;
use std::net::TcpStream;

use serde_json::{Value, json};

use super::lost_rights::create;
use crate::harness::{Caller, Gate, Reply, parse, read_message, send};

fn call(gate: &Gate, who: &Caller, method: &str, path: &str, fields: &str, body: &str) -> Reply {
    let fields = format!("{}{fields}", who.fields());
    send(gate.service, method, path, &fields, body)
}

/// Creates one identity, on its own or in a line, with a key of its name.
fn create_with_key(gate: &Gate, who: &Caller, path: &str, name: &str) -> (u16, Value) {
    let kind = match path.ends_with("bulk") {
        true => "application/x-ndjson",
        false => "application/json",
    };
    let fields =
        format!("Content-Type: {kind}\r\nConnection: close\r\nIdempotency-Key: k-{name}\r\n");
    let new = json!({ "name": name, "realm": "payments" }).to_string();
    let reply = call(gate, who, "POST", path, &fields, &new);
    if !path.ends_with("bulk") {
        return (reply.status, serde_json::from_str(&reply.body).unwrap());
    }
    let line = reply.body.lines().find(|line| line.starts_with('{'));
    let mut line: Value = serde_json::from_str(line.unwrap()).unwrap();
    let status = line["status"].as_u64().unwrap();
    (status.try_into().unwrap(), line["identity"].take())
}

const PATHS: [&str; 2] = ["/v1/identities", "/v1/identities/bulk"];

fn repeated_creation_never_shows_a_seed_that_was_made_later(gate: &Gate) {
    let admin = gate.register("admin", "ungleich-admin");
    let other = gate.register("other", "ungleich-admin");
    for (at, path) in PATHS.into_iter().enumerate() {
        // In the second of the creation, most times.
        for n in 0..3 {
            let name = format!("svc-{at}-{n}");
            let (status, created) = create_with_key(gate, &admin, path, &name);
            assert_eq!(status, 201);
            let rotate = format!("/v1/identities/{}/rotate", created["id"]);
            assert_eq!(call(gate, &other, "POST", &rotate, "", "").status, 200);
            assert_eq!(create_with_key(gate, &admin, path, &name).0, 410);
        }
    }
}

#[test]
fn repeated_creation_never_shows_a_seed_that_was_made_later_on_sqlite() {
    repeated_creation_never_shows_a_seed_that_was_made_later(&Gate::start(""));
}

#[test]
fn repeated_creation_never_shows_a_seed_that_was_made_later_on_postgres() {
    repeated_creation_never_shows_a_seed_that_was_made_later(&Gate::start_on_postgres(""));
}

#[test]
fn key_belongs_to_the_identity_of_its_caller_and_not_to_its_name() {
    let log = tempfile::tempdir().unwrap();
    let log = log.path().join("audit.jsonl");
    let gate = Gate::start(&format!("[audit]\nfile = '{}'\n", log.display()));
    let admin = gate.register("admin", "ungleich-admin");
    for (at, path) in PATHS.into_iter().enumerate() {
        let name = format!("batch{at}");
        let first = create(&gate, &admin, &name, "ungleich-admin");
        let bank = format!("bank{at}");
        let (status, created) = create_with_key(&gate, &first, path, &bank);
        assert_eq!(status, 201);
        let who = format!("/v1/identities/{name}@ungleich-admin");
        let rename = json!({ "name": format!("old{at}") }).to_string();
        let kind = "Content-Type: application/json\r\n";
        assert_eq!(
            call(&gate, &admin, "PATCH", &who, kind, &rename).status,
            200
        );
        let second = create(&gate, &admin, &name, "ungleich-admin");
        let (status, shown) = create_with_key(&gate, &second, path, &bank);
        assert_eq!((status, &shown["seed"]), (409, &Value::Null));
        let renamed = Caller {
            name: format!("old{at}"),
            ..first
        };
        let (status, shown) = create_with_key(&gate, &renamed, path, &bank);
        assert_eq!((status, &shown["seed"]), (201, &created["seed"]));
        let lines = std::fs::read_to_string(&log).unwrap();
        let lines = lines.lines().map(serde_json::from_str::<Value>);
        let shown: Vec<_> = lines
            .map(Result::unwrap)
            .filter(|line| line["event"] == "identity_shown")
            .collect();
        assert_eq!(shown.len(), at + 1);
        let last = shown.last().unwrap();
        assert_eq!(
            (&last["id"], &last["actor"]["name"]),
            (&created["id"], &json!(renamed.name))
        );
    }
}

#[test]
fn response_with_a_seed_ends_its_connection() {
    let gate = Gate::start("");
    let admin = gate.register("admin", "ungleich-admin");
    let one = r#"{"name":"svc","realm":"payments"}"#;
    let other = r#"{"name":"other","realm":"payments"}"#;
    let (json, lines) = ("application/json", "application/x-ndjson");
    let key = "Idempotency-Key: k\r\n";
    for (path, kind, fields, body, ends) in [
        ("/v1/identities", json, key, one, true),
        ("/v1/identities", json, key, one, true),
        ("/v1/identities/bulk", lines, "", other, true),
        ("/v1/identities/svc@payments/rotate", json, "", "{}", true),
        ("/v1/identities/svc@payments/disable", json, "", "", false),
    ] {
        let mut stream = TcpStream::connect(gate.service).unwrap();
        let request = format!(
            "POST {path} HTTP/1.1\r\nHost: h\r\n{}{fields}Content-Type: {kind}\r\nContent-Length: {}\r\n\r\n{body}",
            admin.fields(),
            body.len()
        );
        stream.write_all(request.as_bytes()).unwrap();
        let reply = parse(read_message(&mut stream).unwrap().as_bytes());
        assert!(reply.status < 300, "{path}: {reply:?}");
        let closes = reply.field("Connection") == Some("close");
        assert_eq!(closes, ends, "{path}: {}", reply.head);
    }
}

#[test]
fn problem_of_a_path_that_is_not_served_names_the_request() {
    let gate = Gate::start("");
    for (method, path, status) in [("GET", "/v1/nothing", 404), ("PUT", "/v1/realms", 405)] {
        let reply = send(
            gate.service,
            method,
            path,
            "X-Request-Id: it-was-me-1\r\n",
            "",
        );
        let problem: Value = serde_json::from_str(&reply.body).unwrap();
        assert_eq!(reply.status, status, "{path}: {}", reply.body);
        assert_eq!(problem["request_id"].as_str(), reply.field("X-Request-Id"));
        assert!(problem["request_id"].is_string(), "{path}: {problem}");
    }
}
