//! Callers of `/v1` that lose their right after the head of their request was read.

use std::io::Write;
use std::net::TcpStream;

use serde_json::{Value, json};

use crate::harness::{Caller, Gate, PATIENCE, Reply, get, parse, read_message, send};

const SEED: &str = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP";

/// A request whose head is accepted and whose body has not been sent.
struct Held {
    what: String,
    stream: TcpStream,
    body: String,
}

impl Held {
    /// Sends the head of a request. The server asks for the body once it has permitted the caller.
    fn begin(gate: &Gate, who: &Caller, method: &str, path: &str, kind: &str, body: &str) -> Self {
        let mut stream = TcpStream::connect(gate.service).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: h\r\n{}Content-Type: {kind}\r\nContent-Length: {}\r\nExpect: 100-continue\r\n\r\n",
            who.fields(),
            body.len()
        );
        stream.write_all(head.as_bytes()).unwrap();
        let interim = read_message(&mut stream).unwrap();
        assert!(interim.starts_with("HTTP/1.1 100 "), "{path}: {interim}");
        Self {
            what: format!("{method} {path} by {}@{}", who.name, who.realm),
            stream,
            body: body.to_owned(),
        }
    }

    fn finish(mut self) -> (String, Reply) {
        self.stream.write_all(self.body.as_bytes()).unwrap();
        let message = read_message(&mut self.stream).unwrap();
        (self.what, parse(message.as_bytes()))
    }
}

fn post(gate: &Gate, who: &Caller, path: &str, body: &Value) -> Reply {
    call(gate, who, "POST", path, &body.to_string())
}

fn call(gate: &Gate, who: &Caller, method: &str, path: &str, body: &str) -> Reply {
    let kind = if body.is_empty() {
        ""
    } else {
        "Content-Type: application/json\r\n"
    };
    let fields = format!("{}{kind}", who.fields());
    send(gate.service, method, path, &fields, body)
}

pub(super) fn create(gate: &Gate, by: &Caller, name: &str, realm: &str) -> Caller {
    let new = json!({ "name": name, "realm": realm });
    let reply = post(gate, by, "/v1/identities", &new);
    assert_eq!(reply.status, 201, "{}", reply.body);
    let created: Value = serde_json::from_str(&reply.body).unwrap();
    Caller {
        name: name.into(),
        realm: realm.into(),
        seed: created["seed"].as_str().unwrap().into(),
    }
}

/// Begins one request of each operation that has a body.
fn begin_all(gate: &Gate, who: &Caller) -> Vec<Held> {
    let evil = |tail: &str| {
        let name = format!("evil-{}-{tail}", who.name);
        json!({ "name": name, "realm": "ungleich-admin", "seed": SEED }).to_string()
    };
    let (json, lines) = ("application/json", "application/x-ndjson");
    let rotation = json!({ "seed": SEED }).to_string();
    let victim = "/v1/identities/victim@r";
    [
        ("POST", "/v1/identities", json, evil("one")),
        ("POST", "/v1/identities/bulk", lines, evil("many") + "\n"),
        (
            "PATCH",
            victim,
            json,
            r#"{"realm":"ungleich-admin"}"#.into(),
        ),
        ("POST", &format!("{victim}/rotate"), json, rotation),
        ("POST", "/v1/explain", json, r#"{"url":"/"}"#.into()),
    ]
    .into_iter()
    .map(|(method, path, kind, body)| Held::begin(gate, who, method, path, kind, &body))
    .collect()
}

fn caller_that_loses_its_right_changes_nothing(gate: &Gate) {
    let admin = gate.register("admin", "ungleich-admin");
    let victim = create(gate, &admin, "victim", "r");
    let losses: [(&str, &str, &str, Value); 5] = [
        ("disabled", "POST", "/disable", Value::Null),
        ("deleted", "DELETE", "", Value::Null),
        ("renamed", "PATCH", "", json!({ "name": "another" })),
        ("moved", "PATCH", "", json!({ "realm": "r" })),
        ("rotated", "POST", "/rotate", Value::Null),
    ];
    let callers = losses
        .each_ref()
        .map(|(name, ..)| create(gate, &admin, name, "ungleich-admin"));
    let verifier = create(gate, &admin, "verifier", "ungleich-auth");
    let mut held: Vec<Held> = callers
        .iter()
        .flat_map(|who| begin_all(gate, who))
        .collect();
    let question = json!({ "name": "admin", "realm": "ungleich-admin", "token": admin.token() });
    let (path, kind) = ("/v1/decide", "application/json");
    let decide = Held::begin(gate, &verifier, "POST", path, kind, &question.to_string());
    held.push(decide);
    for (who, (name, method, action, body)) in callers.iter().zip(&losses) {
        let path = format!("/v1/identities/{}@{}{action}", who.name, who.realm);
        let body = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        let reply = call(gate, &admin, method, &path, &body);
        assert!((200..300).contains(&reply.status), "{name}: {}", reply.body);
    }
    let path = "/v1/identities/verifier@ungleich-auth/disable";
    assert_eq!(call(gate, &admin, "POST", path, "").status, 200);
    for held in held {
        let (what, reply) = held.finish();
        assert_eq!(reply.status, 401, "{what}: {}", reply.body);
    }
    let listed = call(gate, &admin, "GET", "/v1/identities?name=evil", "");
    let listed: Value = serde_json::from_str(&listed.body).unwrap();
    assert_eq!(listed["items"], json!([]));
    assert_eq!(
        get(gate.service, "/forward-auth", &victim.fields()).status,
        200
    );
    assert!(gate.log().contains("its caller may not do this any more"));
}

#[test]
fn caller_that_loses_its_right_while_it_sends_a_body_changes_nothing_on_sqlite() {
    caller_that_loses_its_right_changes_nothing(&Gate::start(""));
}

#[test]
fn caller_that_loses_its_right_while_it_sends_a_body_changes_nothing_on_postgres() {
    caller_that_loses_its_right_changes_nothing(&Gate::start_on_postgres(""));
}

#[test]
fn caller_that_keeps_its_right_while_it_sends_a_body_is_served() {
    let gate = Gate::start("");
    let admin = gate.register("admin", "ungleich-admin");
    let who = create(&gate, &admin, "second", "ungleich-admin");
    let held: Vec<_> = ["commented", "rotated"]
        .map(|name| {
            let new = json!({ "name": name, "realm": "r" }).to_string();
            let path = "/v1/identities";
            Held::begin(&gate, &who, "POST", path, "application/json", &new)
        })
        .into();
    let path = "/v1/identities/second@ungleich-admin";
    let changed = call(&gate, &admin, "PATCH", path, r#"{"comment":"on leave"}"#);
    assert_eq!(changed.status, 200, "{}", changed.body);
    let grace = json!({ "grace": 3600 });
    let rotated = post(&gate, &admin, &format!("{path}/rotate"), &grace);
    assert_eq!(rotated.status, 200, "{}", rotated.body);
    for held in held {
        let (what, reply) = held.finish();
        assert_eq!(reply.status, 201, "{what}: {}", reply.body);
    }
}

#[test]
fn verifier_that_is_disabled_while_it_waits_for_changes_learns_none() {
    let gate = Gate::start("");
    let admin = gate.register("admin", "ungleich-admin");
    let verifier = create(&gate, &admin, "verifier", "ungleich-auth");
    let changes = |query: &str| {
        let feed = call(&gate, &verifier, "GET", &format!("/v1/changes{query}"), "");
        serde_json::from_str::<Value>(&feed.body).unwrap()
    };
    // Until the creations of both are behind it.
    let mut feed = changes("");
    loop {
        feed = changes(&format!("?after={}&wait=1", feed["next"]));
        if feed["changed"].as_array().unwrap().is_empty() {
            break;
        }
    }
    let path = format!("/v1/changes?after={}&wait=30", feed["next"]);
    let mut stream = TcpStream::connect(gate.service).unwrap();
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: h\r\n{}\r\n",
        verifier.fields()
    );
    stream.write_all(request.as_bytes()).unwrap();
    let disabled = "/v1/identities/verifier@ungleich-auth/disable";
    assert_eq!(call(&gate, &admin, "POST", disabled, "").status, 200);
    let reply = parse(read_message(&mut stream).unwrap().as_bytes());
    assert_eq!(reply.status, 401, "{}", reply.body);
}
