//! The REST API over HTTP. Unit tests beside the router cover the bodies.

mod clients;
mod compat;
mod lost_rights;
mod repeated;
mod v1;

use std::process::Command;

use serde_json::Value;

use crate::harness::{Caller, Gate, get, raw, send, stderr};
use crate::store::fill;

const JSON: &str = "Content-Type: application/json\r\n";
const IAC: &str = r#"{"detail":"Incorrect authentication credentials."}"#;
const NOPERM: &str = r#"{"detail":"You do not have permission to perform this action."}"#;

fn verify_body(caller: &Caller, auth_token: &str, subject: &Caller, token: &str) -> String {
    format!(
        r#"{{"auth_name": "{}", "auth_realm": "{}", "auth_token": "{auth_token}", "name": "{}", "realm": "{}", "token": "{token}"}}"#,
        caller.name, caller.realm, subject.name, subject.realm
    )
}

#[test]
fn verify_says_ok_and_both_403s() {
    let gate = Gate::start("");
    let verifier = gate.register("auth", "ungleich-auth");
    let user = gate.register("user", "payments");
    for (caller, auth_token, token, expected) in [
        (
            &verifier,
            verifier.token(),
            user.token(),
            (200, r#"{"status":"OK"}"#),
        ),
        (
            &verifier,
            verifier.token(),
            user.wrong_token(),
            (403, NOPERM),
        ),
        (&verifier, verifier.wrong_token(), user.token(), (403, IAC)),
        (&user, user.token(), user.token(), (403, NOPERM)),
    ] {
        let body = verify_body(caller, &auth_token, &user, &token);
        let reply = send(gate.service, "POST", "/ungleichotp/verify/", JSON, &body);
        assert_eq!((reply.status, &*reply.body), expected);
        assert_eq!(reply.field("Content-Type"), Some("application/json"));
        assert_eq!(reply.field("Allow"), Some("POST, OPTIONS"));
        assert_eq!(reply.field("Vary"), Some("Accept"));
    }
}

#[test]
fn admin_creates_reads_changes_and_deletes() {
    let gate = Gate::start("");
    let admin = gate.register("admin", "ungleich-admin");
    let credential = admin.fields();
    let call = |method: &str, path: &str, body: &str| {
        send(
            gate.service,
            method,
            path,
            &format!("{JSON}{credential}"),
            body,
        )
    };
    let created = call(
        "POST",
        "/ungleichotp/",
        r#"{"name": "svc", "realm": "payments"}"#,
    );
    assert_eq!(created.status, 201, "{}", created.body);
    let identity: Value = serde_json::from_str(&created.body).unwrap();
    assert_eq!(identity["seed"].as_str().unwrap().len(), 32);
    let path = format!("/ungleichotp/{}/", identity["id"]);
    assert!(
        call("GET", "/ungleichotp/", "")
            .body
            .contains(r#""name":"svc""#)
    );
    assert!(!call("GET", &path, "").body.contains("seed"));
    let svc = Caller {
        name: "svc".into(),
        realm: "payments".into(),
        seed: identity["seed"].as_str().unwrap().into(),
    };
    assert_eq!(
        get(gate.service, "/forward-auth", &svc.fields()).status,
        200
    );
    assert_eq!(call("PATCH", &path, r#"{"name": "svc2"}"#).status, 200);
    assert_eq!(
        get(gate.service, "/forward-auth", &svc.fields()).status,
        401
    );
    let renamed = svc.fields().replace("svc", "svc2");
    assert_eq!(get(gate.service, "/forward-auth", &renamed).status, 200);
    let deleted = call("DELETE", &path, "");
    assert_eq!((deleted.status, &*deleted.body), (204, ""));
    assert_eq!(get(gate.service, "/forward-auth", &renamed).status, 401);
    assert_eq!(call("GET", &path, "").status, 404);
}

#[test]
fn credentials_in_the_body_of_a_get_are_read() {
    let gate = Gate::start("");
    let admin = gate.register("admin", "ungleich-admin");
    let body = format!(
        r#"{{"auth_name": "admin", "auth_realm": "ungleich-admin", "auth_token": "{}"}}"#,
        admin.token()
    );
    let reply = send(gate.service, "GET", "/ungleichotp/", JSON, &body);
    assert_eq!(reply.status, 200);
    assert!(
        reply.body.starts_with(r#"[{"id":1,"name":"admin""#),
        "{}",
        reply.body
    );
}

#[test]
fn head_has_the_head_of_get_and_no_body() {
    let gate = Gate::start("");
    let admin = gate.register("admin", "ungleich-admin");
    let reply = send(gate.service, "HEAD", "/ungleichotp/", &admin.fields(), "");
    assert_eq!((reply.status, &*reply.body), (200, ""));
}

#[test]
fn head_has_the_content_length_of_get() {
    let gate = Gate::start("");
    let admin = gate.register("admin", "ungleich-admin");
    for path in [
        "/ungleichotp/",
        "/ungleichotp/1/",
        "/ungleichotp/2/",
        "/ungleichotp/verify/",
        "/ungleichotp",
        "/",
        "/none",
        "/healthz",
        "/readyz",
    ] {
        for fields in [&admin.fields(), ""] {
            let get = get(gate.service, path, fields);
            let head = send(gate.service, "HEAD", path, fields, "");
            assert_eq!((head.status, &*head.body), (get.status, ""), "{path}");
            let length = get.body.len().to_string();
            // The text of a 405 contains the method.
            if get.status != 405 {
                assert_eq!(head.field("Content-Length"), Some(&*length), "{path}");
            }
            assert_eq!(
                head.head.matches("ontent-").count(),
                get.head.matches("ontent-").count()
            );
        }
    }
    let deleted = send(
        gate.service,
        "DELETE",
        "/ungleichotp/1/",
        &admin.fields(),
        "",
    );
    assert_eq!(
        (deleted.status, deleted.field("Content-Length")),
        (204, None)
    );
    // The length of a long list is not known.
    fill(&gate.config(), 0..1500);
    let admin = gate.register("other", "ungleich-admin");
    let head = send(gate.service, "HEAD", "/ungleichotp/", &admin.fields(), "");
    assert_eq!((head.status, head.field("Content-Length")), (200, None));
    assert_eq!(head.body, "");
}

/// Requests `/` with these headers and returns the URL in the response.
fn link(gate: &Gate, credential: &str, fields: &str) -> String {
    let reply = get(gate.service, "/", &format!("{credential}{fields}"));
    assert_eq!(reply.status, 200, "{reply:?}");
    let root: Value = serde_json::from_str(&reply.body).unwrap();
    root["ungleichotp"].as_str().unwrap().to_owned()
}

#[test]
fn link_has_the_scheme_that_a_trusted_proxy_names_and_no_other() {
    let gate = Gate::start("");
    let user = gate.register("user", "payments").fields();
    for (fields, scheme) in [
        ("", "http"),
        ("X-Forwarded-Proto: https\r\n", "https"),
        ("X-Forwarded-Proto: HTTPS\r\n", "https"),
        ("X-Forwarded-Proto: https, http\r\n", "https"),
        ("X-Forwarded-Proto: http\r\n", "http"),
        ("X-Forwarded-Proto: javascript\r\n", "http"),
    ] {
        let expected = format!("{scheme}://app.example/ungleichotp/");
        assert_eq!(link(&gate, &user, fields), expected, "{fields}");
    }
    let trusted = [("REALMGATE_SERVICE_TRUSTED_PROXIES", "['192.0.2.1/32']")];
    let gate = Gate::start_with(&trusted, "");
    let user = gate.register("user", "payments").fields();
    let found = link(&gate, &user, "X-Forwarded-Proto: https\r\n");
    assert_eq!(found, "http://app.example/ungleichotp/");
}

#[test]
fn url_in_the_request_line_is_taken_where_it_is_plain_and_a_rest_resource() {
    let gate = Gate::start("");
    let admin = gate.register("admin", "ungleich-admin");
    let ask = |target: &str, hosts: &str| {
        let request = format!(
            "GET {target} HTTP/1.1\r\n{hosts}Connection: close\r\n{}\r\n",
            admin.fields()
        );
        raw(gate.service, request.as_bytes()).status
    };
    for (target, host) in [
        ("http://otp.example/ungleichotp/", "otp.example"),
        (
            "HTTP://OTP.example:8081/ungleichotp/?first=1",
            "OTP.example:8081",
        ),
        ("https://otp.example/ungleichotp/1/", "otp.example"),
        ("http://[::1]:8081/ungleichotp/", "[::1]:8081"),
    ] {
        assert_eq!(ask(target, &format!("Host: {host}\r\n")), 200, "{target}");
    }
    let host = "Host: otp.example\r\n";
    for (target, hosts) in [
        ("http://otp.example/ungleichotp/", "Host: other.example\r\n"),
        (
            "http://otp.example/ungleichotp/",
            "Host: otp.example:80\r\n",
        ),
        ("http://otp.example/ungleichotp/", ""),
        (
            "http://otp.example/ungleichotp/",
            "Host: otp.example\r\nHost: otp.example\r\n",
        ),
        ("http://OTP.example/ungleichotp/", host),
        ("http://u@otp.example/ungleichotp/", host),
        ("http://otp.example", host),
        ("http://otp.example/", host),
        ("http://otp.example/healthz", host),
        ("http://otp.example/readyz", host),
        ("http://otp.example/forward-auth", host),
        ("http://otp.example/forward-auth/nginx", host),
        ("http://otp.example/ungleichotp/../forward-auth", host),
        ("http://otp.example/ungleichotp/%2e%2e/healthz", host),
        ("http://otp.example/ungleichotp//", host),
        ("http://otp.example/ungleichotp%2f", host),
        ("http://otp.example/ungleichotp/;x/", host),
        ("http://otp.example/ungleichotp/\\1/", host),
        ("ftp://otp.example/ungleichotp/", host),
        ("x:http://otp.example/ungleichotp/", host),
        ("otp.example/ungleichotp/", host),
        ("http:/ungleichotp/", host),
        ("http:///ungleichotp/", host),
    ] {
        assert_eq!(ask(target, hosts), 400, "{target} {hosts}");
    }
}

#[test]
fn body_over_the_limit_is_rejected_however_it_is_announced() {
    let gate = Gate::start("");
    let body = format!("{{\"x\": \"{}\"}}", "x".repeat(70_000));
    let reply = send(gate.service, "POST", "/ungleichotp/", JSON, &body);
    assert_eq!(
        (reply.status, &*reply.body),
        (413, "the body is too large\n")
    );
    let chunked = format!(
        "POST /ungleichotp/ HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{JSON}\
         Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n",
        body.len()
    );
    assert_eq!(raw(gate.service, chunked.as_bytes()).status, 413);
}

#[test]
fn health_and_readiness_need_no_credential() {
    let gate = Gate::start("");
    for (path, expected) in [("/healthz", "ok\n"), ("/readyz", "ready\n")] {
        let reply = get(gate.service, path, "");
        assert_eq!((reply.status, &*reply.body), (200, expected));
    }
}

#[test]
fn list_is_paged_on_request_and_whole_otherwise() {
    let gate = Gate::start("");
    let admin = gate.register("admin", "ungleich-admin");
    for (name, realm) in [
        ("a1", "x"),
        ("b", "x"),
        ("a2", "y"),
        ("a3", "x"),
        ("A4", "x"),
    ] {
        gate.register(name, realm);
    }
    let get = |path: &str| send(gate.service, "GET", path, &admin.fields(), "");
    let names = |reply: &crate::harness::Reply| -> Vec<String> {
        assert_eq!(reply.status, 200, "{}", reply.body);
        let all: Vec<Value> = serde_json::from_str(&reply.body).unwrap();
        let names = all.iter().map(|it| it["name"].as_str().unwrap().to_owned());
        names.collect()
    };
    let mut path = "/ungleichotp/?first=2".to_owned();
    let mut seen = Vec::new();
    loop {
        let reply = get(&path);
        let part = names(&reply);
        assert!(!part.is_empty() && part.len() <= 2);
        seen.extend(part);
        let Some(link) = reply.field("Link") else {
            break;
        };
        let next = link.strip_prefix('<').unwrap();
        path = next.strip_suffix(">; rel=\"next\"").unwrap().to_owned();
    }
    assert_eq!(seen, ["admin", "a1", "b", "a2", "a3", "A4"]);
    for (query, expected) in [
        ("first=9&realm=x", &["a1", "b", "a3", "A4"][..]),
        ("first=9&name=a", &["admin", "a1", "a2", "a3"]),
        ("first=9&name=a&realm=x", &["a1", "a3"]),
        ("first=1&name=a&realm=x&after=2", &["a3"]),
        ("first=9&name=%25", &[]),
        ("first=9&realm=X", &[]),
        ("first=9&name=%F4%8F%BF%BF", &[]),
        // ungleich-otp ignored what it did not know.
        (
            "limit=1&name=a&after=x",
            &["admin", "a1", "b", "a2", "a3", "A4"],
        ),
    ] {
        let reply = get(&format!("/ungleichotp/?{query}"));
        assert_eq!(names(&reply), expected, "{query}");
        assert_eq!(reply.field("Link"), None, "{query}");
    }
    for query in [
        "first=0",
        "first=1001",
        "first=x",
        "first=1&after=x",
        "first=1&name=%00",
        "first=1&realm=x%00",
    ] {
        assert_eq!(
            get(&format!("/ungleichotp/?{query}")).status,
            400,
            "{query}"
        );
    }
}

/// Requests the list with curl. Returns how the transfer ended, and the body.
fn list(gate: &Gate, credential: &str, options: &[&str]) -> (String, String) {
    let url = format!("http://{}/ungleichotp/", gate.service);
    let transfer = "\n%{http_code} %{http_version} %header{transfer-encoding} %{num_connects}";
    let fields = credential.lines().flat_map(|field| ["-H", field]);
    let output = Command::new("curl")
        .args(["-sS", "-w", transfer, &url, &url])
        .args(fields)
        .args(options)
        .output()
        .unwrap();
    assert!(output.status.success(), "{options:?}: {}", stderr(&output));
    let text = String::from_utf8(output.stdout).unwrap();
    let (_, second) = text.split_once(" 1[").unwrap_or(("", &text));
    let (body, transfer) = second.rsplit_once('\n').unwrap();
    let body = body.strip_prefix('[').unwrap_or(body);
    (transfer.to_owned(), format!("[{body}"))
}

#[test]
fn long_list_is_streamed() {
    let gate = Gate::start("");
    let admin = gate.register("admin", "ungleich-admin");
    for (numbers, total) in [(0..1998, 1999), (1998..1999, 2000), (1999..2500, 2501)] {
        fill(&gate.config(), numbers);
        // The second of two requests over one connection: the first response has ended correctly.
        for (options, transfer) in [
            (&["--http1.1"][..], "200 1.1 chunked 0"),
            (&["--http1.0"], "200 1.1  1"),
        ] {
            let (how, body) = list(&gate, &admin.fields(), options);
            assert_eq!(how, transfer, "{options:?}");
            let all: Vec<Value> = serde_json::from_str(&body).unwrap();
            assert_eq!(all.len(), total, "{options:?}");
            let number = |it: &Value| it["id"].as_i64().unwrap();
            assert!(all.is_sorted_by(|one, other| number(one) < number(other)));
        }
    }
    let indented = list(
        &gate,
        &admin.fields(),
        &["-H", "Accept: application/json; indent=2"],
    )
    .1;
    let value: Value = serde_json::from_str(&indented).unwrap();
    assert_eq!(indented, serde_json::to_string_pretty(&value).unwrap());
    let (how, head) = list(&gate, &admin.fields(), &["--head"]);
    assert!(how.starts_with("200 1.1 "), "{how}");
    assert!(!head.contains("admin"));
}

#[test]
fn long_list_that_breaks_off_is_not_taken_for_whole() {
    let gate = Gate::start("");
    let admin = gate.register("admin", "ungleich-admin");
    fill(&gate.config(), 0..1500);
    let database = gate.config().with_file_name("realmgate.db");
    let database = rusqlite::Connection::open(database).unwrap();
    // Reading one row fails, as on a failing disk.
    let broken = "ALTER TABLE identity_use RENAME TO usage;
        CREATE VIEW identity_use AS SELECT identity, used, previous_used, day,
            CASE identity WHEN 1400 THEN abs(-9223372036854775807 - 1) ELSE drift END AS drift
            FROM usage";
    database.execute_batch(broken).unwrap();
    let output = Command::new("curl")
        .args(["-sS", "--max-time", "60"])
        .args(admin.fields().lines().flat_map(|field| ["-H", field]))
        .arg(format!("http://{}/ungleichotp/", gate.service))
        .output()
        .unwrap();
    // The transfer was closed with data outstanding.
    assert_eq!(output.status.code(), Some(18), "{}", stderr(&output));
    let body = String::from_utf8(output.stdout).unwrap();
    assert!(body.contains("\"n900\"") && !body.ends_with(']'), "{body}");
    assert!(gate.log().contains("the database operation failed"));
    let status = get(gate.service, "/forward-auth", &admin.fields()).status;
    assert_eq!(status, 200);
}
