//! Routes that only observe: what passes, what never does, and what says so.

use std::fs;

use envoy_types::pb::envoy::service::auth::v3::attribute_context::{HttpRequest, Request};
use envoy_types::pb::envoy::service::auth::v3::authorization_client::AuthorizationClient;
use envoy_types::pb::envoy::service::auth::v3::check_response::HttpResponse;
use envoy_types::pb::envoy::service::auth::v3::{AttributeContext, CheckRequest};
use tonic::transport::Endpoint;

use crate::harness::{Caller, Gate, Reply, Upstream, field, get, raw, realmgate, stderr, stdout};

/// A route that only observes, beside one that is enforced.
fn routes(upstream: &Upstream) -> String {
    format!(
        r#"
        [grpc]
        listen = "127.0.0.1:0"
        [[route]]
        name = "closed"
        path = "/closed"
        allow = [{{ realm = "payments" }}]
        upstream = "app"
        [[route]]
        name = "watched"
        host = "app.example"
        allow = [{{ realm = "payments" }}]
        mode = "observe"
        upstream = "app"
        [upstream.app]
        peers = ["{}"]
        "#,
        upstream.address
    )
}

fn gate(more: &str) -> (Gate, Upstream) {
    let upstream = Upstream::start();
    let gate = Gate::start(&format!("{more}\n{}", routes(&upstream)));
    (gate, upstream)
}

const FORGED: &str = "X-Auth-Name: root\r\nX_Auth_Name: root\r\nX-Forwarded-User: root@ops\r\n";

/// Requests a path of the watched host from the proxy.
fn through_proxy(gate: &Gate, path: &str, fields: &str) -> Reply {
    let request =
        format!("GET {path} HTTP/1.1\r\nHost: app.example\r\nConnection: close\r\n{fields}\r\n");
    raw(gate.gateway, request.as_bytes())
}

/// Asks as nginx does.
fn over_http(gate: &Gate, path: &str, query: &str, fields: &str) -> Reply {
    let described =
        format!("X-Original-Method: GET\r\nX-Original-URL: https://app.example{path}\r\n");
    let url = format!("/forward-auth/nginx{query}");
    get(gate.service, &url, &format!("{described}{fields}"))
}

/// Asks as Envoy does over gRPC. Returns the status, or 200 with the identity headers.
fn over_grpc(gate: &Gate, path: &str, fields: &str) -> (i32, Vec<(String, String)>) {
    let headers = fields.lines().filter_map(|line| line.split_once(": "));
    let headers = headers.map(|(name, value)| (name.to_lowercase(), value.to_owned()));
    let http = HttpRequest {
        method: "GET".into(),
        host: "app.example".into(),
        path: path.into(),
        headers: headers.collect(),
        ..HttpRequest::default()
    };
    let check = CheckRequest {
        attributes: Some(AttributeContext {
            request: Some(Request {
                http: Some(http),
                ..Request::default()
            }),
            ..AttributeContext::default()
        }),
    };
    let url = format!("http://{}", gate.grpc.unwrap());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let response = runtime.block_on(async {
        let channel = Endpoint::from_shared(url).unwrap().connect().await.unwrap();
        let mut client = AuthorizationClient::new(channel);
        client.check(check).await.unwrap().into_inner()
    });
    match response.http_response.unwrap() {
        HttpResponse::OkResponse(ok) => {
            let headers = ok.headers.into_iter().map(|it| it.header.unwrap());
            (200, headers.map(|it| (it.key, it.value)).collect())
        }
        HttpResponse::DeniedResponse(denied) => (denied.status.unwrap().code, Vec::new()),
        HttpResponse::ErrorResponse(_) => panic!("an error response"),
    }
}

/// The callers that an enforced route would deny, with the reason of the denial and the proved
/// name.
fn denied(gate: &Gate) -> Vec<(String, &'static str, Option<&'static str>)> {
    let billing = gate.register("billing", "payments");
    let other = gate.register("alice", "ops");
    let unknown = Caller {
        name: "nobody".into(),
        ..billing.clone()
    };
    let twice = format!(
        "{}Authorization: Basic YUBiOjEyMzQ1Ng==\r\n",
        billing.fields()
    );
    vec![
        (String::new(), "no_credential", None),
        (twice, "malformed_credential", None),
        (
            billing.fields_with(&billing.wrong_token()),
            "wrong_token",
            None,
        ),
        (unknown.fields(), "unknown_principal", None),
        // Authenticated, and not allowed.
        (other.fields(), "not_allowed", Some("alice")),
    ]
}

#[test]
fn observed_route_permits_denied_callers_and_sets_identity_of_authenticated_ones_only() {
    let (gate, upstream) = gate("");
    let cases = denied(&gate);
    for (fields, reason, proved) in &cases {
        let before = upstream.seen().len();
        let forged = match fields.contains("X-Auth-Name") {
            true => FORGED.replace("X-Auth-Name: root\r\n", ""),
            false => FORGED.replace("X-Auth-Name: root\r\n", "X-Auth_Name: root\r\n"),
        };
        let reply = through_proxy(&gate, "/x", &format!("{fields}{forged}"));
        assert_eq!(reply.status, 200, "{reason}");
        let seen = &upstream.seen()[before];
        assert_eq!(field(seen, "x-auth-name"), *proved, "{reason}: {seen}");
        assert_eq!(field(seen, "x-auth-token"), None, "{reason}: {seen}");
        assert!(!seen.contains("root"), "{reason}: {seen}");
        let user = proved.map(|name| format!("{name}@ops"));
        assert_eq!(field(seen, "x-forwarded-user"), user.as_deref(), "{seen}");

        let reply = over_http(&gate, "/x", "", fields);
        assert_eq!(reply.status, 200, "{reason}");
        assert_eq!(reply.field("x-auth-name"), *proved, "{reason}");

        let (status, headers) = over_grpc(&gate, "/x", fields);
        assert_eq!(status, 200, "{reason}");
        let name = headers.iter().find(|(name, _)| name == "x-auth-name");
        assert_eq!(name.map(|it| &*it.1), *proved, "{reason}");
    }
    // Each reason is logged and counted, at each door.
    let (log, metrics) = (gate.log(), get(gate.metrics(), "/metrics", "").body);
    for (_, reason, _) in &cases {
        let line = |line: &str| line.contains("not enforced: denied") && line.contains(reason);
        assert!(log.lines().any(line), "{reason}: {log}");
        for (door, times) in [("proxy", 1), ("forward-auth", 2)] {
            let counted = metrics.lines().any(|line| {
                line.starts_with("realmgate_observed_denials_total{")
                    && line.contains(&format!("door=\"{door}\""))
                    && line.contains("route=\"watched\"")
                    && line.ends_with(&format!("reason=\"{reason}\"}} {times}"))
            });
            assert!(counted, "{door} {reason}: {metrics}");
        }
    }
    assert!(!metrics.contains("outcome=\"no_credential\""), "{metrics}");
    assert!(metrics.contains("outcome=\"observed\""), "{metrics}");
    assert!(
        metrics.contains("realmgate_observed_routes 1\n"),
        "{metrics}"
    );
}

#[test]
fn permitted_caller_of_an_observed_route_has_its_identity() {
    let (gate, upstream) = gate("");
    let billing = gate.register("billing", "payments");
    let reply = through_proxy(&gate, "/x", &billing.fields());
    assert_eq!(reply.status, 200);
    let seen = upstream.seen();
    assert_eq!(
        field(&seen[0], "x-forwarded-user"),
        Some("billing@payments")
    );
    let reply = over_http(&gate, "/x", "", &billing.fields());
    assert_eq!(reply.field("x-auth-name"), Some("billing"));
    assert!(!gate.log().contains("not enforced: denied"));
}

#[test]
fn credential_of_the_application_passes_an_observed_route() {
    let (gate, upstream) = gate("");
    for own in ["Bearer abc.def", "Basic dXNlcjpwYXNz"] {
        let before = upstream.seen().len();
        let reply = through_proxy(&gate, "/x", &format!("Authorization: {own}\r\n"));
        assert_eq!(reply.status, 200);
        let seen = &upstream.seen()[before];
        assert_eq!(field(seen, "authorization"), Some(own), "{seen}");
    }
    // A token for realmgate does not, right or wrong.
    let before = upstream.seen().len();
    let reply = through_proxy(&gate, "/x", "Authorization: Basic YUBiOjEyMzQ1Ng==\r\n");
    assert_eq!(reply.status, 200);
    assert_eq!(field(&upstream.seen()[before], "authorization"), None);
}

#[test]
fn nothing_but_the_policy_of_the_route_is_observed() {
    let (gate, upstream) = gate("");
    let status = |path: &str, fields: &str| through_proxy(&gate, path, fields).status;
    // Another route.
    assert_eq!(status("/closed", ""), 401);
    assert_eq!(over_http(&gate, "/closed", "", "").status, 401);
    assert_eq!(over_grpc(&gate, "/closed", "").0, 401);
    // Requests that are ambiguous, or that no route matches.
    assert_eq!(status("/x/../closed", ""), 400);
    assert_eq!(status("/%63losed", ""), 400);
    assert_eq!(over_http(&gate, "/%63losed", "", "").status, 403);
    assert_eq!(over_grpc(&gate, "/%63losed", "").0, 403);
    let other = "GET /x HTTP/1.1\r\nHost: other\r\nConnection: close\r\n\r\n";
    assert_eq!(raw(gate.gateway, other.as_bytes()).status, 404);
    let trace = "TRACE /x HTTP/1.1\r\nHost: app.example\r\nConnection: close\r\n\r\n";
    assert_eq!(raw(gate.gateway, trace.as_bytes()).status, 405);
    // What is no route: REST, plain forward-auth, and the restriction of a front proxy.
    assert_eq!(get(gate.service, "/ungleichotp/", "").status, 403);
    assert_eq!(get(gate.service, "/forward-auth", "").status, 401);
    assert_eq!(over_http(&gate, "/x", "?realm=payments", "").status, 401);
    assert_eq!(over_http(&gate, "/x", "?realms=payments", "").status, 403);
    assert_eq!(upstream.seen(), [""; 0]);
}

#[test]
fn front_proxy_that_is_not_trusted_gets_no_observed_permit() {
    let upstream = Upstream::start();
    let untrusted = [("REALMGATE_SERVICE_TRUSTED_PROXIES", "[\"10.0.0.0/8\"]")];
    let gate = Gate::start_with(&untrusted, &routes(&upstream));
    assert_eq!(over_http(&gate, "/x", "", "").status, 403);
}

#[test]
fn throttling_goes_on_under_an_observed_route() {
    let long = "[throttle]\nfailures = 1\ndelay = \"1h\"\nlongest_delay = \"1h\"\n";
    let (gate, upstream) = gate(long);
    let billing = gate.register("billing", "payments");
    for _ in 0..5 {
        let fields = billing.fields_with(&billing.wrong_token());
        assert_eq!(through_proxy(&gate, "/x", &fields).status, 200);
    }
    // The token is right, and is not evaluated: the request passes as anybody's.
    let before = upstream.seen().len();
    assert_eq!(through_proxy(&gate, "/x", &billing.fields()).status, 200);
    let seen = &upstream.seen()[before];
    assert_eq!(field(seen, "x-auth-name"), None, "{seen}");
    assert_eq!(field(seen, "x-auth-token"), None, "{seen}");
    assert_eq!(
        through_proxy(&gate, "/closed", &billing.fields()).status,
        429
    );
    let metrics = get(gate.metrics(), "/metrics", "").body;
    assert!(metrics.contains("reason=\"throttled\""), "{metrics}");
}

#[test]
fn explain_agrees_with_the_doors() {
    let (gate, _upstream) = gate("");
    gate.register("billing", "payments");
    gate.register("alice", "ops");
    let explain = |path: &str, who: Option<&str>, door: &str| {
        let url = format!("http://app.example{path}");
        let mut args = vec!["explain", "GET", &url, "--door", door];
        args.extend(who.iter().flat_map(|who| ["--as", who]));
        let output = gate.run(&args);
        let said: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        (output.status.code().unwrap(), said)
    };
    for (who, observed) in [
        (None, Some("no_credential")),
        (Some("alice@ops"), Some("not_allowed")),
        (Some("nobody@payments"), Some("unknown_principal")),
        (Some("billing@payments"), None),
    ] {
        for (door, key) in [("proxy", "proxy"), ("forward-auth", "forward_auth")] {
            let (code, said) = explain("/x", who, door);
            assert_eq!(code, 0, "{said}");
            assert_eq!(said["mode"], "observe");
            assert_eq!(said[key]["passes"], true);
            assert_eq!(said[key]["observed"].as_str(), observed, "{said}");
        }
        // An enforced route, and the endpoint that knows no route.
        let (code, said) = explain("/closed", who, "proxy");
        assert_eq!(code == 0, observed.is_none(), "{said}");
        assert_eq!(said["proxy"]["observed"], serde_json::Value::Null);
        let (code, _) = explain("/x", who, "any-forward-auth");
        let is_known = who.is_some_and(|who| who != "nobody@payments");
        assert_eq!(code == 0, is_known);
    }
    let mut command = realmgate(&["explain", "GET", "http://app.example/x", "--config"]);
    let text = stdout(&command.arg(gate.config()).output().unwrap());
    assert!(text.contains("NOT ENFORCED"), "{text}");
    assert!(
        text.contains("not enforced: mode = \"enforce\" would give 401 no_credential"),
        "{text}"
    );
}

#[test]
fn observed_route_is_named_by_check_and_in_the_log_at_start_and_reload() {
    let (gate, _upstream) = gate("");
    let check = |args: &[&str]| {
        let mut command = realmgate(&["check", "--config"]);
        command.arg(gate.config()).args(args).output().unwrap()
    };
    let output = check(&[]);
    assert!(output.status.success());
    let warning = "route \"watched\" is not enforced";
    assert!(stderr(&output).contains(warning), "{}", stderr(&output));
    assert!(
        stdout(&output).contains("NOT ENFORCED"),
        "{}",
        stdout(&output)
    );
    assert_eq!(check(&["--strict"]).status.code(), Some(2));
    let times = || gate.log().matches(warning).count();
    assert_eq!(times(), 1);
    gate.signal("HUP");
    crate::harness::until("reloaded", || gate.log().contains("reloaded"));
    assert_eq!(times(), 2);
    // Enforced after a reload, for the next request.
    assert_eq!(through_proxy(&gate, "/x", "").status, 200);
    let text = fs::read_to_string(gate.config()).unwrap();
    fs::write(gate.config(), text.replace("mode = \"observe\"", "")).unwrap();
    gate.signal("HUP");
    crate::harness::until("enforced", || through_proxy(&gate, "/x", "").status == 401);
    assert!(check(&["--strict"]).status.success());
    let metrics = get(gate.metrics(), "/metrics", "").body;
    assert!(
        metrics.contains("realmgate_observed_routes 0\n"),
        "{metrics}"
    );
}

#[test]
fn other_modes_are_errors_and_an_open_route_has_nothing_to_observe() {
    let (gate, _upstream) = gate("");
    let text = fs::read_to_string(gate.config()).unwrap();
    let check = |text: String| {
        fs::write(gate.config(), text).unwrap();
        let mut command = realmgate(&["check", "--config"]);
        let output = command.arg(gate.config()).output().unwrap();
        (output.status.code(), stderr(&output))
    };
    for mode in ["Observe", "off", ""] {
        let (code, message) = check(text.replace("\"observe\"", &format!("\"{mode}\"")));
        assert_eq!(code, Some(2));
        assert!(
            message.contains("expected \"enforce\" or \"observe\""),
            "{message}"
        );
    }
    let open = text.replace(
        "allow = [{ realm = \"payments\" }]\n        mode",
        "allow = \"anyone\"\n        mode",
    );
    let (code, message) = check(open);
    assert_eq!(code, Some(0));
    assert!(message.contains("has no effect"), "{message}");
}
