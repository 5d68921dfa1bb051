//! The log and the access log.

use std::fs;
use std::io::Write;
use std::path::Path;

use envoy_types::pb::envoy::service::auth::v3::check_response::HttpResponse;
use serde_json::{Value, json};

use crate::authentication::oracle;
use crate::harness::{Caller, Gate, Upstream, frames, get, read_message, routes, send, until};

const ALL: (&str, &str) = ("REALMGATE_LOG_ACCESS", "all");
const JSON: (&str, &str) = ("REALMGATE_LOG_FORMAT", "json");

fn start(environment: &[(&str, &str)]) -> (Gate, Upstream, Caller) {
    let upstream = Upstream::start();
    let gate = Gate::start_with(environment, &routes(upstream.address));
    let caller = gate.register("billing", "payments");
    (gate, upstream, caller)
}

/// Returns the lines of the access log in a log.
fn lines(log: &str) -> Vec<Value> {
    log.lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .filter(|line| line["target"] == "access")
        .collect()
}

#[test]
fn line_of_an_own_endpoint_has_the_bytes_of_the_request_body() {
    let (gate, _upstream, caller) = start(&[ALL, JSON]);
    let admin = gate.register("root", "ungleich-admin");
    let body = r#"{"method":"GET","url":"/x"}"#;
    let json = "Content-Type: application/json\r\n";
    let fields = format!("{}{json}", admin.fields());
    send(gate.service, "POST", "/v1/explain", &fields, body);
    // In two parts.
    let verify = format!(
        "POST /ungleichotp/verify/ HTTP/1.1\r\nHost: a\r\n{json}{}Content-Length: 12\r\n\r\n",
        caller.fields()
    );
    let mut stream = std::net::TcpStream::connect(gate.service).unwrap();
    stream.write_all(verify.as_bytes()).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(100));
    stream.write_all(br#"{"name":"a"}"#).unwrap();
    read_message(&mut stream).unwrap();
    let found = lines(&gate.log());
    let bytes: Vec<_> = found.iter().map(|line| &line["bytes_in"]).collect();
    assert_eq!(bytes, [body.len(), 12], "{found:?}");
}

#[test]
fn line_has_caller_target_and_duration() {
    let (gate, upstream, caller) = start(&[ALL, JSON]);
    let trace = "0af7651916cd43dd8448eb211c80319c";
    let fields = format!(
        "{}traceparent: 00-{trace}-b7ad6b7169203331-01\r\n",
        caller.fields()
    );
    send(gate.gateway, "POST", "/x/y?secret=canary", &fields, "12345");
    let log = gate.log();
    let found = lines(&log);
    let [line] = &found[..] else { panic!("{log}") };
    let seen = upstream.seen();
    let id = crate::harness::field(&seen[0], "X-Request-Id").unwrap();
    let address = upstream.address.to_string();
    for (key, expected) in [
        ("request_id", id),
        ("door", "proxy"),
        ("route", "all"),
        ("name", "billing"),
        ("realm", "payments"),
        ("decision", "permitted"),
        ("method", "POST"),
        ("host", "app.example"),
        ("path", "/x/y"),
        ("upstream", "app"),
        ("peer", &address),
        ("source", "127.0.0.1"),
        ("trace", trace),
    ] {
        assert_eq!(line[key], expected, "{key} {line}");
    }
    assert_eq!(line["status"], 200);
    assert_eq!(line["bytes_in"], 5);
    assert!(line["bytes_out"].as_u64().unwrap() > 100, "{line}");
    let of = |key: &str| line[key].as_u64().unwrap();
    assert!(
        of("duration_us") >= of("decision_us") + of("upstream_us"),
        "{line}"
    );
    assert!(line.get("reason").is_none());
    assert!(
        !log.contains("canary") && !log.contains(&caller.token()),
        "{log}"
    );
}

#[test]
fn every_door_and_every_outcome_has_its_line() {
    let (gate, _upstream, caller) = start(&[ALL, JSON]);
    let wrong = caller.fields_with(&caller.wrong_token());
    let described = "X-Original-Method: GET\r\nX-Original-URL: http://a/ops/x\r\n";
    get(gate.gateway, "/x", &wrong);
    get(gate.gateway, "/a/../b", "");
    get(gate.service, "/forward-auth", &caller.fields());
    get(
        gate.service,
        "/forward-auth/nginx",
        &format!("{}{described}", caller.fields()),
    );
    get(gate.service, "/ungleichotp/", &caller.fields());
    get(gate.service, "/healthz", "");
    let log = gate.log();
    let reported: Vec<String> = lines(&log)
        .iter()
        .map(|line| {
            let text = |key: &str| line[key].as_str().unwrap_or("-").to_owned();
            let keys = ["door", "route", "name", "decision", "reason"].map(text);
            format!("{} {}", keys.join(" "), line["status"])
        })
        .collect();
    assert_eq!(
        reported,
        [
            "proxy all billing denied wrong_token 401",
            "proxy - - denied ambiguous_path 400",
            "forward-auth - billing permitted - 200",
            "forward-auth ops billing denied not_allowed 403",
            "rest - billing denied not_allowed 403",
            "- - - - - 200",
        ],
        "{log}"
    );
}

/// Returns the lines about denied or rejected requests.
fn denials(log: &str) -> Vec<Value> {
    log.lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|line| {
            let message = line["message"].as_str().unwrap_or_default();
            message.starts_with("denied") || message == "refused"
        })
        .collect()
}

#[test]
fn denial_at_every_door_is_logged_with_its_request_and_answered_with_its_id() {
    let limits = "[limits]\nheader_fields = 20\n[grpc]\nlisten = \"127.0.0.1:0\"\n";
    let upstream = Upstream::start();
    let gate = Gate::start_with(&[JSON], &(limits.to_owned() + &routes(upstream.address)));
    let caller = gate.register("billing", "payments");
    let verifier = gate.register("checker", "ungleich-auth");
    let wrong = caller.fields_with(&caller.wrong_token());
    let body = json!({
        "auth_name": verifier.name, "auth_realm": verifier.realm, "auth_token": verifier.token(),
        "name": caller.name, "realm": caller.realm, "token": caller.wrong_token(),
    });
    let json = "Content-Type: application/json\r\n";
    let many = "X-Many: canary\r\n".repeat(20);
    let nginx =
        "X-Original-Method: PUT\r\nX-Original-URL: http://a.example:8443/ops/\x1bx?canary\r\n";
    let nginx = nginx.replace('\x1b', "\u{e9}");
    let caddy = "X-Forwarded-Method: PUT\r\nX-Forwarded-Proto: https\r\n\
        X-Forwarded-Host: a.example\r\nX-Forwarded-Uri: /../x?canary\r\n";
    let [proxy, service] = [gate.gateway, gate.service];
    let own = |method, path| (method, "app.example", path);
    let asked = [
        (
            send(proxy, "POST", "/x/%1by?canary", &wrong, ""),
            own("POST", "/x/%1by"),
        ),
        (get(proxy, "/a/../b?canary", ""), own("GET", "/a/../b")),
        (get(proxy, "/many?canary", &many), own("GET", "/many")),
        (
            get(service, "/forward-auth?realm=a", &wrong),
            own("GET", "/forward-auth"),
        ),
        (
            get(service, "/forward-auth/nginx", &(wrong.clone() + &nginx)),
            ("PUT", "a.example:8443", "/ops/%C3%A9x"),
        ),
        // An incomplete description.
        (
            get(service, "/forward-auth/nginx", "X-Original-Method: PUT\r\n"),
            own("GET", "/forward-auth/nginx"),
        ),
        (
            get(service, "/forward-auth/caddy", caddy),
            ("PUT", "a.example", "/../x"),
        ),
        (
            get(service, "/forward-auth/envoy/x/y?canary", &wrong),
            own("GET", "/x/y"),
        ),
        (
            get(service, "/ungleichotp/?canary", &wrong),
            own("GET", "/ungleichotp/"),
        ),
        (
            send(
                service,
                "POST",
                "/ungleichotp/verify/",
                json,
                &body.to_string(),
            ),
            own("POST", "/ungleichotp/verify/"),
        ),
        (
            get(service, "http://app.example/forward-auth?canary", ""),
            own("GET", "/forward-auth"),
        ),
    ];
    let mut check_request =
        oracle::check_request(&caller.name, &caller.realm, &caller.wrong_token());
    let http = check_request
        .attributes
        .as_mut()
        .unwrap()
        .request
        .as_mut()
        .unwrap();
    let http = http.http.as_mut().unwrap();
    http.path = "/x\u{7f}?canary".to_owned();
    let answer = oracle::check(&gate, &check_request);
    let Some(HttpResponse::DeniedResponse(denied)) = answer.http_response else {
        panic!("{answer:?}");
    };
    let id = denied.headers.iter().find_map(|it| {
        let field = it.header.as_ref()?;
        (field.key == "x-request-id").then(|| field.value.clone())
    });
    let ids = asked.iter().map(|(reply, _)| {
        let id = reply.field("X-Request-Id");
        id.unwrap_or_else(|| panic!("{reply:?}")).to_owned()
    });
    let ids: Vec<_> = ids.chain(id).collect();
    let mut expected: Vec<_> = asked.iter().map(|(_, expected)| *expected).collect();
    expected.push(("GET", "a", "/x%7F"));
    let log = gate.log();
    let lines = denials(&log);
    let found: Vec<_> = lines
        .iter()
        .map(|line| ["method", "host", "path"].map(|key| line[key].as_str().unwrap_or("-")))
        .collect();
    let expected: Vec<_> = expected.iter().map(|it| [it.0, it.1, it.2]).collect();
    assert_eq!(found, expected, "{log}");
    let logged: Vec<_> = lines
        .iter()
        .map(|line| line["request_id"].as_str().unwrap())
        .collect();
    assert_eq!(logged, ids, "{log}");
    assert!(!log.contains("canary"), "{log}");
}

#[test]
fn description_by_a_stranger_is_not_logged_as_the_original_request() {
    let upstream = Upstream::start();
    let trusted = ("REALMGATE_SERVICE_TRUSTED_PROXIES", "['192.0.2.1']");
    let gate = Gate::start_with(&[JSON, trusted], &routes(upstream.address));
    let nginx = "X-Original-Method: PUT\r\nX-Original-URL: http://forged/canary\r\n";
    assert_eq!(get(gate.service, "/forward-auth/nginx", nginx).status, 403);
    let log = gate.log();
    let [line] = &denials(&log)[..] else {
        panic!("{log}")
    };
    assert_eq!(line["reason"], "untrusted_proxy");
    assert_eq!(line["path"], "/forward-auth/nginx");
    assert!(!log.contains("forged") && !log.contains("canary"), "{log}");
}

#[test]
fn long_path_is_logged_up_to_its_bound() {
    let (gate, _upstream, _) = start(&[ALL, JSON]);
    get(gate.gateway, &format!("/{}", "a".repeat(2000)), "");
    let log = gate.log();
    for line in [&denials(&log)[0], &lines(&log)[0]] {
        assert_eq!(line["path"].as_str().unwrap().len(), 512, "{line}");
    }
}

#[test]
fn request_rejected_before_its_header_is_parsed_has_an_id_too() {
    let upstream = Upstream::start();
    let limits = "[limits]\nheader_bytes = 4096\n";
    let gate = Gate::start_with(&[JSON], &(limits.to_owned() + &routes(upstream.address)));
    for address in [gate.gateway, gate.service] {
        let reply = get(address, "/x", &format!("X: {}\r\n", "a".repeat(9000)));
        assert_eq!(reply.status, 431);
        let log = gate.log();
        let id = reply.field("X-Request-Id").unwrap();
        assert!(
            denials(&log).iter().any(|line| line["request_id"] == id),
            "{log}"
        );
    }
}

#[test]
fn rejected_request_has_an_access_line_with_its_door_and_is_counted() {
    let upstream = Upstream::start();
    let failed = ("REALMGATE_LOG_ACCESS", "failed");
    let gate = Gate::start_with(&[failed, JSON], &routes(upstream.address));
    let twice = "Content-Length: 1\r\nContent-Length: 2\r\n";
    for (at, (address, path, door)) in [
        (gate.gateway, "/x", "proxy"),
        (gate.service, "/forward-auth", "forward-auth"),
        (gate.service, "/ungleichotp/verify/", "rest"),
    ]
    .into_iter()
    .enumerate()
    {
        let reply = get(address, path, twice);
        assert_eq!(reply.status, 400, "{door}");
        until("a line of the access log", || lines(&gate.log()).len() > at);
        let line = &lines(&gate.log())[at];
        for (key, expected) in [("door", door), ("decision", "denied")] {
            assert_eq!(line[key], expected, "{key} {line}");
        }
        assert!(line["reason"].is_string(), "{line}");
        let metrics = get(gate.metrics(), "/metrics", "").body;
        let counted = metrics.lines().any(|line| {
            line.starts_with(&format!("realmgate_decisions_total{{door=\"{door}\""))
                && line.contains("outcome=\"refused\"")
                && line.ends_with(" 1")
        });
        assert!(counted, "{door}: {metrics}");
    }
}

#[test]
fn name_cannot_forge_a_line_for_people() {
    let (gate, _upstream, _) = start(&[ALL]);
    let forged = "eve%0aACCESS door=proxy";
    let fields = format!(
        "Authorization: Basic {}\r\n",
        data_encoding::BASE64.encode(b"eve\nACCESS door=proxy@\"ops:123456")
    );
    get(
        gate.gateway,
        &format!("/{}", forged.replace(' ', "%20")),
        &fields,
    );
    let log = gate.log();
    let access: Vec<&str> = log
        .lines()
        .filter(|it| it.contains("ACCESS request_id="))
        .collect();
    assert_eq!(access.len(), 1, "{log}");
    let principal = r#"principal="eve\nACCESS door=proxy"@"\"ops""#;
    assert!(
        access[0].contains("reason=") || access[0].contains(principal),
        "{log}"
    );
    assert!(!log.lines().any(|line| line.starts_with("ACCESS")), "{log}");
}

#[test]
fn one_in_n_is_logged_and_every_denial() {
    let (gate, _upstream, caller) = start(&[ALL, JSON, ("REALMGATE_LOG_ACCESS_ONE_IN", "5")]);
    for _ in 0..10 {
        get(gate.gateway, "/x", &caller.fields());
    }
    for _ in 0..3 {
        get(gate.gateway, "/x", "");
    }
    let count = |decision: &str| {
        let lines = lines(&gate.log());
        lines.iter().filter(|it| it["decision"] == decision).count()
    };
    // A line follows its response.
    until("two permits and three denials", || {
        (count("permitted"), count("denied")) == (2, 3)
    });
}

#[test]
fn nothing_is_logged_by_default() {
    let (gate, _upstream, caller) = start(&[JSON]);
    get(gate.gateway, "/x", &caller.fields());
    get(gate.gateway, "/x", "");
    assert_eq!(lines(&gate.log()).len(), 0);
}

fn in_file(path: &Path, lines: usize) {
    until("lines in the file", || {
        fs::read_to_string(path).is_ok_and(|text| text.lines().count() == lines)
    });
}

#[test]
fn file_of_its_own_is_opened_anew_at_a_reload() {
    let folder = tempfile::tempdir().unwrap();
    let (file, moved) = (folder.path().join("access"), folder.path().join("access.1"));
    let path = file.to_str().unwrap();
    let (gate, _upstream, caller) = start(&[ALL, ("REALMGATE_LOG_ACCESS_FILE", path)]);
    get(gate.gateway, "/x", &caller.fields());
    in_file(&file, 1);
    fs::rename(&file, &moved).unwrap();
    gate.signal("HUP");
    until("reloaded", || gate.log().contains("reloaded"));
    get(gate.gateway, "/x", &caller.fields());
    in_file(&file, 1);
    in_file(&moved, 1);
    assert!(!gate.log().contains("ACCESS"));
}

#[test]
fn file_that_cannot_be_opened_stops_the_start_and_rejects_a_reload() {
    let output = crate::harness::realmgate(&["serve"])
        .envs([ALL, ("REALMGATE_LOG_ACCESS_FILE", "/nonexistent/access")])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(3));
    let reported = crate::harness::stderr(&output);
    assert!(
        reported.contains("log.access_file: cannot be opened: /nonexistent/access: "),
        "{reported}"
    );
    let (gate, _upstream, caller) = start(&[]);
    let text = fs::read_to_string(gate.config()).unwrap();
    let log = "[log]\naccess = \"all\"\naccess_file = \"/nonexistent/access\"\n";
    fs::write(
        gate.config(),
        format!("{log}{}", text.replace("/ops", "/changed")),
    )
    .unwrap();
    gate.signal("HUP");
    until("refused", || {
        gate.log().contains("the old configuration stays")
    });
    assert_eq!(get(gate.gateway, "/ops", &caller.fields()).status, 403);
}

#[test]
fn filter_changes_at_a_reload_and_pingora_stays_silent() {
    let (gate, _upstream, caller) = start(&[]);
    let text = fs::read_to_string(gate.config()).unwrap();
    get(gate.gateway, "/x", "");
    assert!(gate.log().contains("no_credential"));
    let reload = |filter: &str, expected: &str| {
        fs::write(
            gate.config(),
            format!("[log]\nfilter = \"{filter}\"\n{text}"),
        )
        .unwrap();
        gate.signal("HUP");
        until(expected, || gate.log().contains(expected));
    };
    reload("realmgate=trace,trace", "reloaded");
    get(gate.gateway, "/x?canary", &caller.fields());
    let log = gate.log();
    assert!(
        !log.contains("canary") && !log.contains(&caller.token()),
        "{log}"
    );
    assert!(!log.contains("pingora"), "{log}");
    fs::write(gate.config(), format!("[log]\nfilter = \"error\"\n{text}")).unwrap();
    let applied = "realmgate_config_reloads_total{outcome=\"applied\"} 2";
    gate.signal("HUP");
    until("reloaded again", || {
        get(gate.metrics(), "/metrics", "").body.contains(applied)
    });
    let before = gate.log();
    get(gate.gateway, "/x", "");
    assert_eq!(gate.log(), before);
}

/// At its lowest level, h2 logs the value of `TE`.
#[test]
fn libraries_say_nothing_of_a_request_whatever_the_filter() {
    let (gate, _upstream, caller) = start(&[
        ("REALMGATE_LOG_FILTER", "trace"),
        ("REALMGATE_GATEWAY_H2C", "true"),
    ]);
    let token = caller.token();
    for (name, value) in [
        ("te", "canary"),
        ("x-canary", "canary"),
        ("te", "trailers, canary"),
    ] {
        let fields = [
            &frames::request("GET", "a.example", "/x")[..],
            &frames::credential(&token),
            &[(name, value)],
        ]
        .concat();
        frames::ask(gate.gateway, &fields, b"", &[]);
    }
    let log = gate.log();
    assert!(!log.contains("canary") && !log.contains(&token), "{log}");
    // It was enabled.
    assert!(log.contains("TRACE"), "{log}");
}
