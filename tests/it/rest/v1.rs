//! `/v1` over HTTP.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs;
use std::process::Command;
use std::thread;

use realmgate::doors::v1::{ProblemKind, document};
use serde_json::{Value, json};

use crate::harness::{Caller, Gate, Reply, get, send, stdout, until};

const JSON: &str = "Content-Type: application/json\r\n";
const NDJSON: &str = "Content-Type: application/x-ndjson\r\n";

/// An administrator of a gate.
struct Admin<'a> {
    gate: &'a Gate,
    who: Caller,
}

impl<'a> Admin<'a> {
    fn of(gate: &'a Gate) -> Self {
        let who = gate.register("admin", "ungleich-admin");
        Self { gate, who }
    }

    fn send(&self, method: &str, path: &str, fields: &str, body: &str) -> Reply {
        let fields = format!("{}{fields}", self.who.fields());
        send(self.gate.service, method, path, &fields, body)
    }

    fn get(&self, path: &str) -> Value {
        let reply = self.send("GET", path, "", "");
        assert_eq!(reply.status, 200, "{path}: {}", reply.body);
        serde_json::from_str(&reply.content()).unwrap()
    }

    fn post(&self, path: &str, body: &Value) -> Reply {
        self.send("POST", path, JSON, &body.to_string())
    }

    /// Creates an identity.
    fn create(&self, name: &str, realm: &str) -> (Value, Caller) {
        let reply = self.post("/v1/identities", &json!({ "name": name, "realm": realm }));
        assert_eq!(reply.status, 201, "{}", reply.body);
        let created: Value = serde_json::from_str(&reply.body).unwrap();
        let caller = Caller {
            name: name.to_owned(),
            realm: realm.to_owned(),
            seed: created["seed"].as_str().unwrap().to_owned(),
        };
        (created, caller)
    }

    fn passes(&self, caller: &Caller) -> bool {
        get(self.gate.service, "/forward-auth", &caller.fields()).status == 200
    }
}

fn lines(text: &str) -> Vec<Value> {
    let lines = text.lines().map(serde_json::from_str);
    lines.map(Result::unwrap).collect()
}

/// Returns the kind of a problem document, after a check that it is one.
fn problem(reply: &Reply) -> String {
    assert_eq!(
        reply.field("Content-Type"),
        Some("application/problem+json"),
        "{reply:?}"
    );
    let document: Value = serde_json::from_str(&reply.body).unwrap();
    assert_eq!(document["status"], reply.status);
    assert!(document["title"].is_string());
    let uri = document["type"].as_str().unwrap();
    assert!(
        ProblemKind::ALL
            .iter()
            .any(|it| it.uri() == uri && it.status() == reply.status)
    );
    uri.strip_prefix("urn:realmgate:problem:")
        .unwrap()
        .to_owned()
}

#[test]
fn identity_lives_from_its_creation_to_its_deletion() {
    let gate = Gate::start("");
    let admin = Admin::of(&gate);
    let (created, caller) = admin.create("svc", "payments");
    assert!(created["otpauth"].as_str().unwrap().contains(&caller.seed));
    assert_eq!(created["seeds"].as_array().unwrap().len(), 1);
    assert_eq!(created["seeds"][0]["strength"], "good");
    assert!(admin.passes(&caller));
    let path = format!("/v1/identities/{}", created["id"]);
    let shown = admin.get(&path);
    assert!(shown.get("seed").is_none() && shown.get("otpauth").is_none());
    assert_eq!(shown, admin.get("/v1/identities/svc@payments"));

    let changes = json!({ "comment": "\u{1f600}", "expires": "2100-01-01T01:00:00+01:00" });
    let reply = admin.send("PATCH", &path, JSON, &changes.to_string());
    assert_eq!(reply.status, 200, "{}", reply.body);
    let shown = admin.get(&path);
    assert_eq!(shown["comment"], "\u{1f600}");
    assert_eq!(shown["expires"], "2100-01-01T00:00:00Z");
    let kind = "Content-Type: application/merge-patch+json\r\n";
    let changes = json!({ "comment": null, "name": "svc2" });
    let reply = admin.send("PATCH", &path, kind, &changes.to_string());
    assert_eq!(reply.status, 200, "{}", reply.body);
    let shown = admin.get(&path);
    assert_eq!(
        (&shown["comment"], &shown["name"]),
        (&Value::Null, &json!("svc2"))
    );
    let caller = Caller {
        name: "svc2".into(),
        ..caller
    };
    assert!(admin.passes(&caller));

    let reply = admin.post(&format!("{path}/rotate"), &json!({ "grace": 3600 }));
    assert_eq!(reply.status, 200, "{}", reply.body);
    let rotated: Value = serde_json::from_str(&reply.body).unwrap();
    assert_eq!(rotated["seeds"].as_array().unwrap().len(), 2);
    assert!(rotated["seeds"][1]["until"].is_string());
    let fresh = Caller {
        seed: rotated["seed"].as_str().unwrap().to_owned(),
        ..caller.clone()
    };
    assert!(admin.passes(&caller) && admin.passes(&fresh));
    let reply = admin.send("POST", &format!("{path}/rotate"), "", "");
    assert_eq!(problem(&reply), "seed-still-valid");
    let reply = admin.post(&format!("{path}/rotate"), &json!({ "force": true }));
    assert_eq!(reply.status, 200, "{}", reply.body);
    let seed = serde_json::from_str::<Value>(&reply.body).unwrap()["seed"].take();
    let last = Caller {
        seed: seed.as_str().unwrap().to_owned(),
        ..caller.clone()
    };
    assert!(!admin.passes(&caller) && !admin.passes(&fresh) && admin.passes(&last));

    for (action, state, passes) in [("disable", "disabled", false), ("enable", "enabled", true)] {
        let reply = admin.send("POST", &format!("{path}/{action}"), "", "");
        assert_eq!(reply.status, 200, "{}", reply.body);
        assert_eq!(admin.get(&path)["state"], state);
        assert_eq!(admin.passes(&last), passes);
    }
    let reply = admin.send("DELETE", &path, "", "");
    assert_eq!((reply.status, &*reply.body), (204, ""));
    assert!(!admin.passes(&last));
    assert_eq!(problem(&admin.send("GET", &path, "", "")), "not-found");
}

#[test]
fn path_names_the_identity_whose_name_it_encodes_once() {
    let gate = Gate::start("");
    let admin = Admin::of(&gate);
    let names = [
        ("a%41", "r", "a%2541@r"),
        ("aA", "r", "aA@r"),
        ("x", "y@z", "x@y%40z"),
        ("x@y", "z", "x%40y@z"),
        ("1/2", "r s", "1%2F2@r%20s"),
        ("x%40y", "z", "x%2540y@z"),
    ];
    for (name, realm, _) in names {
        admin.create(name, realm);
    }
    for (name, realm, path) in names {
        let shown = admin.get(&format!("/v1/identities/{path}"));
        assert_eq!(
            (&shown["name"], &shown["realm"]),
            (&json!(name), &json!(realm)),
            "{path}"
        );
        let reply = admin.send("POST", &format!("/v1/identities/{path}/disable"), JSON, "");
        let disabled: Value = serde_json::from_str(&reply.body).unwrap();
        assert_eq!(disabled["id"], shown["id"], "{path}");
    }
    let unclear = admin.send("GET", "/v1/identities/x@y@z", "", "");
    assert_eq!(
        (unclear.status, problem(&unclear).as_str()),
        (400, "malformed")
    );
}

#[test]
fn failures_are_shown_and_cleared() {
    let gate = Gate::start("");
    let admin = Admin::of(&gate);
    let (created, caller) = admin.create("svc", "payments");
    for _ in 0..3 {
        let fields = caller.fields_with(&caller.wrong_token());
        assert_eq!(get(gate.service, "/forward-auth", &fields).status, 401);
    }
    let path = format!("/v1/identities/{}", created["id"]);
    assert!(admin.get(&path)["throttle"]["failures"].as_u64() >= Some(1));
    let reply = admin.send("POST", &format!("{path}/unthrottle"), "", "");
    assert_eq!(reply.status, 200);
    let unthrottled: Value = serde_json::from_str(&reply.body).unwrap();
    assert_eq!(unthrottled["throttle"]["failures"], 0);
    until("no failures are shown", || {
        admin.get(&path)["throttle"]["failures"] == 0
    });
}

#[test]
fn version_that_somebody_else_changed_is_not_overwritten() {
    let gate = Gate::start("");
    let admin = Admin::of(&gate);
    let (created, _) = admin.create("svc", "payments");
    let path = format!("/v1/identities/{}", created["id"]);
    let tag = || {
        let reply = admin.send("GET", &path, "", "");
        reply.field("ETag").unwrap().to_owned()
    };
    let first = tag();
    let known = format!("If-None-Match: {first}\r\n");
    assert_eq!(admin.send("GET", &path, &known, "").status, 304);
    let patch = |tag: &str, comment: &str| {
        let fields = format!("{JSON}If-Match: {tag}\r\n");
        let changes = json!({ "comment": comment }).to_string();
        admin.send("PATCH", &path, &fields, &changes)
    };
    assert_eq!(patch(&first, "mine").status, 200);
    let second = tag();
    assert_ne!(first, second);
    assert_eq!(problem(&patch(&first, "lost")), "stale");
    for (method, path) in [
        ("DELETE", path.clone()),
        ("POST", format!("{path}/disable")),
        ("POST", format!("{path}/rotate")),
    ] {
        for tag in [&first, &format!("W/{second}")] {
            let reply = admin.send(method, &path, &format!("If-Match: {tag}\r\n"), "");
            assert_eq!(problem(&reply), "stale", "{method} {path} {tag}");
        }
    }
    assert_eq!(admin.get(&path)["comment"], "mine");
    assert_eq!(admin.send("GET", &path, &known, "").status, 200);
    assert_eq!(patch(&format!("\"x\", {second}"), "again").status, 200);
    let last = tag();
    assert_eq!(
        admin.send("DELETE", &path, "If-Match: *\r\n", "").status,
        204
    );
    // Another identity of that name is not the one that was seen, even with as many changes.
    admin.create("svc", "payments");
    let path = "/v1/identities/svc@payments";
    for tag in [&first, &last] {
        let reply = admin.send("DELETE", path, &format!("If-Match: {tag}\r\n"), "");
        assert_eq!(problem(&reply), "stale", "{tag}");
    }
}

#[test]
fn of_changes_at_the_same_moment_none_is_lost() {
    let gate = Gate::start("");
    let admin = Admin::of(&gate);
    let (created, _) = admin.create("svc", "payments");
    let path = format!("/v1/identities/{}", created["id"]);
    let changes = [
        json!({ "comment": "c" }),
        json!({ "expires": "2100-01-01T00:00:00Z" }),
        json!({ "not_before": "2020-01-01T00:00:00Z" }),
        json!({ "name": "other" }),
    ];
    thread::scope(|scope| {
        for change in &changes {
            scope.spawn(|| {
                let reply = admin.send("PATCH", &path, JSON, &change.to_string());
                assert_eq!(reply.status, 200, "{}", reply.body);
            });
        }
    });
    let shown = admin.get(&path);
    for change in &changes {
        for (member, value) in change.as_object().unwrap() {
            assert_eq!(&shown[member], value);
        }
    }
}

#[test]
fn repeated_creation_with_the_same_key_has_the_same_response() {
    let gate = Gate::start("");
    let admin = Admin::of(&gate);
    let create = |who: &Admin<'_>, key: &str, body: &str| {
        let fields = format!("{JSON}Idempotency-Key: {key}\r\n");
        who.send("POST", "/v1/identities", &fields, body)
    };
    let svc = r#"{"name":"svc","realm":"payments"}"#;
    let first = create(&admin, "k1", svc);
    let again = create(&admin, "k1", svc);
    assert_eq!((first.status, again.status), (201, 201));
    let parsed = |reply: &Reply| serde_json::from_str::<Value>(&reply.body).unwrap();
    for member in ["id", "seed", "otpauth", "created"] {
        assert_eq!(parsed(&first)[member], parsed(&again)[member], "{member}");
    }
    assert_eq!(first.field("Idempotency-Replayed"), None);
    assert_eq!(again.field("Idempotency-Replayed"), Some("true"));
    assert_eq!(problem(&create(&admin, "k2", svc)), "name-taken");
    let other = r#"{"name":"other","realm":"payments"}"#;
    assert_eq!(
        problem(&create(&admin, "k1", other)),
        "idempotency-key-reused"
    );
    // A key belongs to its caller.
    let second = Admin {
        gate: &gate,
        who: gate.register("second", "ungleich-admin"),
    };
    assert_eq!(problem(&create(&second, "k1", svc)), "name-taken");
    assert_eq!(create(&second, "k1", other).status, 201);
    // A seed that was made later is not shown again.
    let path = format!("/v1/identities/{}", parsed(&first)["id"]);
    assert_eq!(
        admin.send("POST", &format!("{path}/rotate"), "", "").status,
        200
    );
    assert_eq!(problem(&create(&admin, "k1", svc)), "gone");
    assert_eq!(admin.send("DELETE", &path, "", "").status, 204);
    assert_eq!(problem(&create(&admin, "k1", svc)), "gone");
    for key in ["", "a b", &"k".repeat(257)] {
        assert_eq!(problem(&create(&admin, key, svc)), "malformed", "{key}");
    }
}

#[test]
fn seed_that_is_shown_again_is_in_the_audit_log() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("audit.log");
    let gate = Gate::start(&format!("[audit]\nfile = {log:?}"));
    let admin = Admin::of(&gate);
    let shown = || {
        let text = fs::read_to_string(&log).unwrap();
        let found = lines(&text);
        found
            .into_iter()
            .filter(|it| it["event"] == "identity_shown")
            .collect::<Vec<_>>()
    };
    let svc = r#"{"name":"svc","realm":"payments"}"#;
    let fields = format!("{JSON}Idempotency-Key: k\r\n");
    for (repeats, status) in [(0, 201), (1, 201), (2, 201)] {
        let reply = admin.send("POST", "/v1/identities", &fields, svc);
        assert_eq!(reply.status, status);
        assert_eq!(shown().len(), repeats);
    }
    assert_eq!(shown()[0]["subject"]["name"], "svc");
    assert_eq!(shown()[0]["actor"]["name"], "admin");
    // In bulk too, and only for the line that was there before.
    let fields = format!("{NDJSON}Idempotency-Key: b\r\n");
    let bulk = |body: &str| {
        admin
            .send("POST", "/v1/identities/bulk", &fields, body)
            .status
    };
    let one = "{\"name\":\"a\",\"realm\":\"r\"}\n";
    assert_eq!(bulk(one), 200);
    assert_eq!(shown().len(), 2);
    assert_eq!(
        bulk(&format!("{one}{{\"name\":\"b\",\"realm\":\"r\"}}\n")),
        200
    );
    assert_eq!(shown().len(), 3);
    assert_eq!(shown()[2]["subject"]["name"], "a");
}

#[test]
fn many_are_created_line_by_line_and_a_repeated_request_creates_none() {
    let gate = Gate::start("");
    let admin = Admin::of(&gate);
    admin.create("n7", "bulk");
    let mut request = String::new();
    for n in 0..600 {
        writeln!(request, r#"{{"name":"n{n}","realm":"bulk"}}"#).unwrap();
    }
    request.push_str("\n{\"name\":\"\",\"realm\":\"bulk\"}\nnot json\n");
    let fields = format!("{NDJSON}Idempotency-Key: bulk-1\r\n");
    let bulk = || {
        let reply = admin.send("POST", "/v1/identities/bulk", &fields, &request);
        assert_eq!(reply.status, 200, "{}", reply.body);
        assert_eq!(reply.field("Content-Type"), Some("application/x-ndjson"));
        lines(&reply.content())
    };
    let (first, again) = (bulk(), bulk());
    assert_eq!(first.len(), 602);
    for (at, (line, again)) in first.iter().zip(&again).enumerate() {
        let expected = match at {
            7 => 409,
            600 => 422,
            601 => 400,
            _ => 201,
        };
        assert_eq!(line["status"], expected, "{line}");
        assert_eq!(again["status"], expected, "{again}");
        assert_eq!(line["identity"]["seed"], again["identity"]["seed"]);
        assert_eq!(line["problem"]["status"].is_null(), expected == 201);
    }
    assert_eq!(
        (&first[599]["line"], &first[600]["line"]),
        (&json!(600), &json!(602))
    );
    let of = |line: &Value| Caller {
        name: line["identity"]["name"].as_str().unwrap().to_owned(),
        realm: "bulk".into(),
        seed: line["identity"]["seed"].as_str().unwrap().to_owned(),
    };
    assert!(admin.passes(&of(&first[0])) && admin.passes(&of(&first[599])));
    let export = admin.send("GET", "/v1/identities/export?realm=bulk", "", "");
    assert_eq!(export.field("Content-Type"), Some("application/x-ndjson"));
    let exported = lines(&export.content());
    assert_eq!(exported.len(), 600);
    assert!(exported.iter().all(|it| it.get("seed").is_none()));
}

#[test]
fn pages_have_each_identity_once() {
    let gate = Gate::start("");
    let admin = Admin::of(&gate);
    for n in 0..25 {
        admin.create(&format!("{}{n}", ["a", "b"][n % 2]), "r");
    }
    let walk = |query: &str| {
        let (mut names, mut path) = (Vec::new(), format!("/v1/identities?{query}"));
        loop {
            let reply = admin.send("GET", &path, "", "");
            let page: Value = serde_json::from_str(&reply.body).unwrap();
            let items = page["items"].as_array().unwrap().iter();
            names.extend(items.map(|it| it["name"].as_str().unwrap().to_owned()));
            let Some(next) = page["next"].as_str() else {
                assert_eq!(reply.field("Link"), None);
                return names;
            };
            let link = reply.field("Link").unwrap();
            let (url, _) = link.split_once('>').unwrap();
            path = url.trim_start_matches('<').to_owned();
            assert!(path.contains(&format!("cursor={next}")), "{path}");
        }
    };
    let all = walk("limit=7");
    assert_eq!(all.len(), 26);
    assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), 26);
    assert_eq!(walk("limit=3&realm=r").len(), 25);
    let a = walk("limit=5&realm=r&name=a");
    assert!(a.len() == 13 && a.iter().all(|it| it.starts_with('a')));
    admin.send("POST", "/v1/identities/a0@r/disable", "", "");
    assert_eq!(walk("limit=1&state=disabled"), ["a0"]);
    // A cursor is of no use for another list.
    let page = admin.get("/v1/identities?limit=2&realm=r");
    let path = format!(
        "/v1/identities?limit=2&cursor={}",
        page["next"].as_str().unwrap()
    );
    assert_eq!(problem(&admin.send("GET", &path, "", "")), "malformed");
    let realms = admin.get("/v1/realms?limit=1");
    assert_eq!(realms["items"][0]["realm"], "r");
    assert_eq!(
        (
            &realms["items"][0]["identities"],
            &realms["items"][0]["disabled"]
        ),
        (&json!(25), &json!(1))
    );
    let next = realms["next"].as_str().unwrap();
    let rest = admin.get(&format!("/v1/realms?limit=1&cursor={next}"));
    assert_eq!(rest["items"][0]["realm"], "ungleich-admin");
    assert!(
        rest["items"][0]["capabilities"]
            .as_array()
            .unwrap()
            .contains(&json!("create"))
    );
    assert_eq!(rest["next"], Value::Null);
}

#[test]
fn cursor_belongs_to_its_order_and_its_filters() {
    let gate = Gate::start("");
    let admin = Admin::of(&gate);
    for name in ["a", "b", "c"] {
        gate.register(name, "x");
    }
    let page = admin.get("/v1/identities?sort=name&realm=x&limit=1");
    let next = page["next"].as_str().unwrap();
    let more = admin.get(&format!("/v1/identities?sort=name&realm=x&cursor={next}"));
    let names: Vec<_> = more["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| &it["name"])
        .collect();
    assert_eq!(names, ["b", "c"]);
    for other in [
        "realm=x",
        "sort=-name&realm=x",
        "sort=id&realm=x",
        "sort=name",
        "sort=name&realm=x&state=enabled",
        "sort=name&realm=x&condition=weak",
    ] {
        let path = format!("/v1/identities?{other}&cursor={next}");
        let reply = admin.send("GET", &path, "", "");
        assert_eq!(reply.status, 400, "{other}: {}", reply.body);
        assert!(
            reply.body.contains("\"field\":\"cursor\""),
            "{}",
            reply.body
        );
    }
    // Right for the list, but no position of its order.
    for position in [
        "1",
        "[1]",
        "[\"a\"]",
        "[1,\"a\"]",
        "[\"a\",1,2]",
        "[\"a\",1.5]",
        "{}",
        "",
    ] {
        let text = format!("identities\0realm\0x\0sort\0name\0{position}");
        let cursor = data_encoding::BASE64URL_NOPAD.encode(text.as_bytes());
        let path = format!("/v1/identities?sort=name&realm=x&cursor={cursor}");
        let reply = admin.send("GET", &path, "", "");
        assert_eq!(reply.status, 400, "{position}: {}", reply.body);
    }
    for wrong in ["sort=age", "condition=old", "sort=name&sort=id"] {
        let reply = admin.send("GET", &format!("/v1/identities?{wrong}"), "", "");
        assert_eq!(reply.status, 400, "{wrong}");
    }
}

#[test]
fn each_wrong_value_is_named() {
    let gate = Gate::start("");
    let admin = Admin::of(&gate);
    let long = "x".repeat(129);
    let create = |body: &Value| admin.post("/v1/identities", body);
    for (changes, field) in [
        (json!({ "name": "" }), "name"),
        (json!({ "name": " a" }), "name"),
        (json!({ "realm": "a\u{0}" }), "realm"),
        (json!({ "realm": long }), "realm"),
        (json!({ "name": 5 }), "name"),
        (json!({ "expires": "2020-01-01T00:00:00Z" }), "expires"),
        (json!({ "expires": "30d" }), "expires"),
        (
            json!({ "not_before": "2100-01-01T00:00:00Z", "expires": "2099-01-01T00:00:00Z" }),
            "expires",
        ),
        (json!({ "comment": "x".repeat(257) }), "comment"),
        (
            json!({ "parameters": { "digits": 9 } }),
            "parameters.digits",
        ),
        (
            json!({ "parameters": { "algorithm": "MD5" } }),
            "parameters.algorithm",
        ),
        (json!({ "seed": "x" }), "seed"),
        (json!({ "seed": "AAAA" }), "seed"),
        (json!({ "color": "red" }), "color"),
    ] {
        let mut body = json!({ "name": "a", "realm": "r" });
        body.as_object_mut()
            .unwrap()
            .extend(changes.as_object().unwrap().clone());
        let reply = create(&body);
        assert_eq!(problem(&reply), "invalid", "{body}");
        let document: Value = serde_json::from_str(&reply.body).unwrap();
        assert_eq!(document["errors"][0]["field"], field, "{document}");
    }
    let missing: Value = serde_json::from_str(&create(&json!({ "name": "a" })).body).unwrap();
    assert_eq!(missing["errors"][0]["field"], "realm", "{missing}");
    assert_eq!(admin.get("/v1/identities?realm=r")["items"], json!([]));
    let (created, _) = admin.create("a", "r");
    let path = format!("/v1/identities/{}", created["id"]);
    for changes in [
        json!({ "name": null }),
        json!({ "name": "" }),
        json!({ "seed": "x" }),
        json!([]),
    ] {
        let reply = admin.send("PATCH", &path, JSON, &changes.to_string());
        assert_eq!(problem(&reply), "invalid", "{changes}");
    }
    for (method, path, fields, body, kind) in [
        ("POST", "/v1/identities", JSON, "{", "malformed"),
        (
            "POST",
            "/v1/identities",
            "Content-Type: text/plain\r\n",
            "{}",
            "media-type",
        ),
        ("POST", "/v1/identities", "", "{}", "media-type"),
        ("POST", "/v1/identities/bulk", JSON, "{}", "media-type"),
        ("GET", "/v1/identities?limit=0", "", "", "malformed"),
        ("GET", "/v1/identities?color=red", "", "", "malformed"),
        ("GET", "/v1/identities/x", "", "", "not-found"),
        (
            "GET",
            "/v1/identities/99999999999999999999",
            "",
            "",
            "not-found",
        ),
        ("GET", "/v1/identities/a%00@r", "", "", "not-found"),
        ("GET", "/v1/none", "", "", "not-found"),
        ("GET", "/v1", "", "", "not-found"),
        ("PUT", "/v1/identities", JSON, "{}", "wrong-method"),
        ("DELETE", "/v1/status", "", "", "wrong-method"),
        ("GET", "/v1/audit", "", "", "not-found"),
    ] {
        let reply = admin.send(method, path, fields, body);
        assert_eq!(problem(&reply), kind, "{method} {path} {body}");
    }
    let allowed = admin.send("PUT", "/v1/identities", JSON, "{}");
    assert_eq!(allowed.field("Allow"), Some("GET,HEAD,POST"));
    let large = format!(r#"{{"name":"{}"}}"#, "x".repeat(1 << 20));
    let reply = admin.send("POST", "/v1/identities", JSON, &large);
    assert_eq!(problem(&reply), "too-large");
}

#[test]
fn only_the_admin_realm_administers_and_only_the_auth_realm_decides() {
    let gate = Gate::start("");
    let admin = gate.register("admin", "ungleich-admin");
    let verifier = gate.register("auth", "ungleich-auth");
    let user = gate.register("user", "payments");
    let check_request = json!({ "name": "user", "realm": "payments", "token": user.token() });
    let check_request = check_request.to_string();
    for (method, path, body, allowed) in [
        ("GET", "/v1/identities", "", &admin),
        ("GET", "/v1/identities/export", "", &admin),
        ("GET", "/v1/identities/1", "", &admin),
        ("GET", "/v1/realms", "", &admin),
        ("GET", "/v1/routes", "", &admin),
        ("GET", "/v1/keys", "", &admin),
        ("GET", "/v1/status", "", &admin),
        ("POST", "/v1/identities/3/unthrottle", "", &admin),
        (
            "POST",
            "/v1/explain",
            r#"{"method":"GET","url":"/"}"#,
            &admin,
        ),
        ("POST", "/v1/decide", &*check_request, &verifier),
        ("GET", "/v1/changes", "", &verifier),
    ] {
        for caller in [&admin, &verifier, &user] {
            let fields = match body {
                "" => caller.fields(),
                _ => format!("{}{JSON}", caller.fields()),
            };
            let reply = send(gate.service, method, path, &fields, body);
            if caller.name == allowed.name {
                assert_eq!(reply.status, 200, "{method} {path}: {}", reply.body);
            } else {
                assert_eq!(problem(&reply), "not-allowed", "{method} {path}");
            }
        }
        let reply = send(gate.service, method, path, "", "");
        assert_eq!(problem(&reply), "unauthenticated", "{method} {path}");
        assert!(
            reply
                .field("WWW-Authenticate")
                .unwrap()
                .starts_with("Basic")
        );
    }
    let wrong = admin.fields_with(&admin.wrong_token());
    assert_eq!(
        problem(&get(gate.service, "/v1/status", &wrong)),
        "unauthenticated"
    );
    let basic = format!("{}@{}:{}", admin.name, admin.realm, admin.token());
    let basic = data_encoding::BASE64.encode(basic.as_bytes());
    let basic = format!("Authorization: Basic {basic}\r\n");
    assert_eq!(get(gate.service, "/v1/status", &basic).status, 200);
    // Two kinds are no credential.
    let both = format!("{basic}{}", admin.fields());
    assert_eq!(
        problem(&get(gate.service, "/v1/status", &both)),
        "unauthenticated"
    );
}

#[test]
fn stranger_is_rejected_before_its_body_is_read() {
    let gate = Gate::start("");
    // Announced, and never sent.
    let fields = format!("{NDJSON}Content-Length: 4000000\r\n");
    let reply = send(gate.service, "POST", "/v1/identities/bulk", &fields, "");
    assert_eq!(problem(&reply), "unauthenticated");
}

#[test]
fn change_is_in_the_audit_log_before_its_response() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("audit.log");
    let gate = Gate::start(&format!("[audit]\nfile = {log:?}"));
    let admin = Admin::of(&gate);
    let written = |event: &str| {
        let text = fs::read_to_string(&log).unwrap();
        let found = lines(&text)
            .into_iter()
            .rev()
            .find(|it| it["event"] == event);
        found.unwrap_or_else(|| panic!("no {event} in {text}"))
    };
    let (created, _) = admin.create("svc", "payments");
    let path = format!("/v1/identities/{}", created["id"]);
    let line = written("identity_created");
    assert_eq!(
        line["subject"],
        json!({ "name": "svc", "realm": "payments" })
    );
    assert_eq!(
        line["actor"],
        json!({ "name": "admin", "realm": "ungleich-admin" })
    );
    assert_eq!(
        (&line["proof"], &line["source"]),
        (&json!("token"), &json!("127.0.0.1"))
    );
    for (method, path, body, event) in [
        (
            "PATCH",
            path.clone(),
            r#"{"comment":"x"}"#,
            "identity_changed",
        ),
        (
            "PATCH",
            path.clone(),
            r#"{"name":"svc2"}"#,
            "identity_renamed",
        ),
        ("POST", format!("{path}/rotate"), "", "identity_rotated"),
        ("POST", format!("{path}/disable"), "", "identity_disabled"),
        ("POST", format!("{path}/enable"), "", "identity_enabled"),
        (
            "POST",
            format!("{path}/unthrottle"),
            "",
            "identity_unthrottled",
        ),
        ("DELETE", path.clone(), "", "identity_deleted"),
    ] {
        let fields = if body.is_empty() { "" } else { JSON };
        let reply = admin.send(method, &path, fields, body);
        assert!(reply.status < 300, "{}", reply.body);
        let line = written(event);
        assert_eq!(line["proof"], "token", "{line}");
        assert_eq!(line["id"], created["id"]);
    }
    assert_eq!(written("identity_renamed")["was"]["name"], "svc");
    let bulk = "{\"name\":\"a\",\"realm\":\"r\"}\n{\"name\":\"b\",\"realm\":\"r\"}\n";
    let reply = admin.send("POST", "/v1/identities/bulk", NDJSON, bulk);
    assert_eq!(reply.status, 200);
    assert_eq!(written("identity_created")["subject"]["name"], "b");

    let page = admin.get("/v1/audit?principal=svc2@payments&limit=2");
    let events = |page: &Value| -> Vec<String> {
        let items = page["items"].as_array().unwrap().iter();
        items
            .map(|it| it["event"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(events(&page), ["identity_deleted", "identity_unthrottled"]);
    let next = page["next"].as_str().unwrap();
    let page = admin.get(&format!(
        "/v1/audit?principal=svc2@payments&limit=2&cursor={next}"
    ));
    assert_eq!(events(&page), ["identity_enabled", "identity_disabled"]);
    let page = admin.get("/v1/audit?event=identity_renamed");
    assert_eq!((events(&page).len(), &page["next"]), (1, &Value::Null));
    assert_eq!(
        admin.get("/v1/audit?since=2100-01-01T00:00:00Z")["items"],
        json!([])
    );
    // A typo would look like a log without such lines.
    for (query, field, known) in [
        ("event=identity_delete", "event", "identity_deleted"),
        ("event=", "event", "serve_started"),
        ("event=DENIED", "event", "denied"),
        ("reason=wrong", "reason", "wrong_token"),
        ("reason=no_routes", "reason", "no_route"),
    ] {
        let reply = admin.send("GET", &format!("/v1/audit?{query}"), "", "");
        assert_eq!(problem(&reply), "malformed", "{query}");
        let problem: Value = serde_json::from_str(&reply.body).unwrap();
        let error = &problem["errors"][0];
        assert_eq!(error["field"], field, "{problem}");
        let detail = error["detail"].as_str().unwrap();
        let mut names = detail.strip_prefix("expected one of ").unwrap().split(", ");
        assert!(names.any(|it| it == known), "{detail}");
    }
    let none = admin.get("/v1/audit?reason=administrator");
    assert_eq!(none["items"], json!([]));
}

#[test]
fn problem_names_the_identity_that_does_not_exist() {
    let gate = Gate::start("");
    let admin = Admin::of(&gate);
    let long = "x".repeat(129);
    for (who, expected) in [
        (
            "svc@payments",
            "There is no identity \"svc\" in the realm \"payments\".",
        ),
        ("77", "There is no identity with the id 77."),
        (
            &*format!("{long}@r"),
            "There is no identity with this name and realm.",
        ),
    ] {
        for (method, path) in [
            ("GET", ""),
            ("POST", "/rotate"),
            ("POST", "/disable"),
            ("DELETE", ""),
        ] {
            let reply = admin.send(method, &format!("/v1/identities/{who}{path}"), "", "");
            assert_eq!(problem(&reply), "not-found", "{method} {who}");
            let problem: Value = serde_json::from_str(&reply.body).unwrap();
            assert_eq!(problem["detail"], expected, "{method} {who}");
        }
    }
}

#[test]
fn decision_holds_until_its_token_ends_and_the_feed_names_what_changes() {
    let gate = Gate::start("[realm.once]\nreuse = \"once\"\n");
    let verifier = gate.register("auth", "ungleich-auth");
    let user = gate.register("user", "payments");
    let once = gate.register("one", "once");
    let fields = || format!("{}{JSON}", verifier.fields());
    let decide = |who: &Caller, token: &str| -> Value {
        let check_request =
            json!({ "name": who.name, "realm": who.realm, "token": token, "source": "192.0.2.1" });
        let reply = send(
            gate.service,
            "POST",
            "/v1/decide",
            &fields(),
            &check_request.to_string(),
        );
        assert_eq!(reply.status, 200, "{}", reply.body);
        serde_json::from_str(&reply.body).unwrap()
    };
    let permit = decide(&user, &user.token());
    assert_eq!(
        (&permit["decision"], &permit["proof"]),
        (&json!("permit"), &json!("token"))
    );
    assert_eq!(
        (&permit["name"], &permit["realm"]),
        (&json!("user"), &json!("payments"))
    );
    assert!(permit["until"].is_string());
    let token = once.token();
    assert_eq!(decide(&once, &token)["until"], Value::Null);
    assert_eq!(decide(&once, &token)["decision"], "deny");
    let denied = decide(&user, &user.wrong_token());
    assert_eq!(
        (&denied["decision"], &denied["denial"]),
        (&json!("deny"), &json!("refused"))
    );
    let padded = Caller {
        name: " user".into(),
        ..user.clone()
    };
    assert_eq!(decide(&padded, "123456")["denial"], "malformed");

    let feed = |query: &str| -> Value {
        let path = format!("/v1/changes{query}");
        let reply = get(gate.service, &path, &verifier.fields());
        assert_eq!(reply.status, 200, "{}", reply.body);
        serde_json::from_str(&reply.body).unwrap()
    };
    let mut start = Value::Null;
    until("the position is that of the last change", || {
        start = feed("")["next"].clone();
        feed(&format!("?after={start}"))["changed"] == json!([])
    });
    thread::scope(|scope| {
        let waiting = scope.spawn(|| feed(&format!("?after={start}&wait=30")));
        let output = gate.run(&["identity", "disable", "user@payments"]);
        assert!(output.status.success());
        let news = waiting.join().unwrap();
        assert_eq!(
            news["changed"],
            json!([{ "name": "user", "realm": "payments" }])
        );
        assert_eq!(news["reset"], false);
        assert!(news["next"].as_i64() > start.as_i64());
    });
    assert_eq!(feed("?after=999999")["reset"], true);
    assert_eq!(decide(&user, &user.token())["decision"], "deny");
}

#[test]
fn explanation_is_that_of_the_command() {
    let gate = Gate::start(
        "[[route]]\nname = \"app\"\npath = \"/app/\"\nallow = [{ realm = \"payments\" }]\nupstream = \"app\"\n[upstream.app]\npeers = [\"127.0.0.1:1\"]\n",
    );
    let admin = Admin::of(&gate);
    gate.register("user", "payments");
    for (who, url) in [
        (None, "http://h/app/x"),
        (Some("user@payments"), "http://h/app/x"),
        (Some("none@other"), "/app/x"),
        (Some("user@payments"), "http://h/none"),
    ] {
        let inquiry = json!({ "method": "GET", "url": url, "as": who });
        let reply = admin.post("/v1/explain", &inquiry);
        assert_eq!(reply.status, 200, "{}", reply.body);
        let mut args = vec!["explain", "GET", url];
        if let Some(who) = who {
            args.extend(["--as", who]);
        }
        let printed: Value = serde_json::from_str(&stdout(&gate.run(&args))).unwrap();
        assert_eq!(serde_json::from_str::<Value>(&reply.body).unwrap(), printed);
    }
    let routes = admin.get("/v1/routes");
    assert_eq!(routes["items"][0]["name"], "app");
    assert_eq!(routes["items"][0]["policy"], "realm payments");
    let effects = json!({
        "challenge": "realmgate",
        "errors": "text",
        "denial_headers": {},
        "identity_headers": { "name": "x-auth-name", "realm": "x-auth-realm", "user": "x-forwarded-user" },
    });
    assert_eq!(routes["items"][0]["effects"], effects);
    assert_eq!(
        routes["items"][0]["upstream"]["peers"],
        json!(["127.0.0.1:1"])
    );
    let status = admin.get("/v1/status");
    assert_eq!(
        (&status["routes"], &status["store"]["ready"]),
        (&json!(1), &json!(true))
    );
    let keys = admin.get("/v1/keys");
    assert_eq!(keys["items"][0]["role"], "current");
    assert_eq!(keys["items"][0]["seeds"], 2);
}

#[test]
fn proxy_never_serves_it() {
    // In the section of the proxy, which is the last one.
    let gate = Gate::start("serve_api = true\n");
    let admin = Admin::of(&gate);
    let fields = admin.who.fields();
    assert_eq!(get(gate.gateway, "/ungleichotp/", &fields).status, 200);
    let reply = get(gate.gateway, "/v1/status", &fields);
    assert_eq!(reply.status, 404);
    assert!(!reply.body.contains("version"), "{}", reply.body);
}

#[test]
fn document_is_the_one_in_docs_and_names_what_the_server_has() {
    let gate = Gate::start("");
    let served = get(gate.service, "/v1/openapi.json", "");
    assert_eq!(served.status, 200);
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/openapi.json");
    let written = fs::read_to_string(path).unwrap_or_default();
    if std::env::var_os("WRITE_OPENAPI").is_some() {
        fs::write(path, format!("{}\n", served.body)).unwrap();
    } else {
        assert_eq!(
            written,
            format!("{}\n", served.body),
            "run it with WRITE_OPENAPI=1"
        );
    }
    let document = serde_json::to_value(document()).unwrap();
    for (path, methods) in document["paths"].as_object().unwrap() {
        let methods: BTreeSet<_> = methods
            .as_object()
            .unwrap()
            .keys()
            .map(String::as_str)
            .collect();
        let path = path.replace("{who}", "1");
        for method in ["get", "post", "put", "patch", "delete"] {
            let is_served = send(gate.service, &method.to_uppercase(), &path, "", "").status != 405;
            assert_eq!(is_served, methods.contains(method), "{method} {path}");
        }
    }
}

#[test]
fn references_of_the_document_lead_somewhere() {
    fn look(value: &Value, document: &Value, count: &mut usize) {
        match value {
            Value::Object(members) => {
                if let Some(Value::String(reference)) = members.get("$ref") {
                    let target = document.pointer(reference.strip_prefix('#').unwrap());
                    assert!(target.is_some(), "{reference}");
                    *count += 1;
                }
                members.values().for_each(|it| look(it, document, count));
            }
            Value::Array(items) => items.iter().for_each(|it| look(it, document, count)),
            _ => {}
        }
    }
    let document = serde_json::to_value(document()).unwrap();
    let mut count = 0;
    look(&document, &document, &mut count);
    assert!(count > 50, "{count}");
    // Every body with lines of JSON says what a line is.
    let text = document.to_string();
    let bodies = text.matches("\"application/x-ndjson\"").count();
    assert_eq!(text.matches("\"x-item-schema\"").count(), bodies);
    assert_eq!(bodies, 3);
}

#[test]
fn name_that_is_there_twice_in_a_request_is_created_once() {
    let gate = Gate::start("");
    let admin = Admin::of(&gate);
    for (realm, fields) in [
        ("plain", NDJSON.to_owned()),
        ("once", format!("{NDJSON}Idempotency-Key: twice\r\n")),
    ] {
        let line = |n: usize| format!("{{\"name\":\"n{n}\",\"realm\":\"{realm}\"}}\n");
        // In one batch, and in two.
        let mut request = line(0) + &line(0);
        request.extend((1..300).map(line));
        request.push_str(&line(0));
        for _ in 0..2 {
            let reply = admin.send("POST", "/v1/identities/bulk", &fields, &request);
            let outcomes = lines(&reply.content());
            let outcomes = outcomes.iter().map(|it| it["status"].as_u64().unwrap());
            let taken = outcomes.clone().filter(|it| *it == 409).count();
            let outcomes: Vec<_> = outcomes.collect();
            assert_eq!(outcomes.len(), 302);
            assert_eq!((outcomes[1], outcomes[301]), (409, 409));
            match outcomes[0] {
                201 => assert_eq!(taken, 2),
                _ => assert_eq!((realm, taken), ("plain", 302)),
            }
        }
    }
}

/// Random requests that fit the document, and some that do not.
#[test]
fn schemathesis_finds_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("audit.log");
    let gate = Gate::start(&format!("[audit]\nfile = {log:?}"));
    let admin = Admin::of(&gate);
    let verifier = gate.register("auth", "ungleich-auth");
    let root = env!("CARGO_MANIFEST_DIR");
    let run = |who: &Caller, filter: &[&str]| {
        let output = Command::new(format!("{root}/target/tools/schemathesis/bin/schemathesis"))
            .env("SCHEMATHESIS_HOOKS", "schemathesis_auth")
            .env("PYTHONPATH", format!("{root}/tests/it/rest"))
            .env("CALLER", format!("{}@{}", who.name, who.realm))
            .env("SEED", &who.seed)
            .current_dir(folder.path())
            .args(["run", &format!("http://{}/v1/openapi.json", gate.service)])
            .args([
                "--max-examples",
                "30",
                "--seed",
                "1",
                "--suppress-health-check",
                "all",
            ])
            .args(filter)
            .output()
            .unwrap();
        let text = stdout(&output);
        assert!(
            output.status.success(),
            "{text}\n{}",
            String::from_utf8_lossy(&output.stderr)
        );
    };
    // Valid requests may fail for other reasons, such as names that are taken.
    let (not, most) = ("--exclude-checks", "positive_data_acceptance");
    let bulk = "/v1/identities/bulk";
    let all = ["--exclude-tag", "decisions", "--exclude-path", bulk];
    run(&admin.who, &[&[not, most][..], &all].concat());
    // Any text is lines, some of which are rejected. There is nothing to link to.
    let lines = format!("{most},negative_data_rejection");
    let phases = ["--phases", "coverage,fuzzing"];
    run(
        &admin.who,
        &[&[not, &lines, "--include-path", bulk][..], &phases].concat(),
    );
    run(
        &verifier,
        &[&[not, most, "--include-tag", "decisions"][..], &phases].concat(),
    );
}
