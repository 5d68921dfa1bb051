//! Denials with different causes look alike and cost the same.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

use data_encoding::BASE64;
use envoy_types::pb::envoy::service::auth::v3::attribute_context::{HttpRequest, Request};
use envoy_types::pb::envoy::service::auth::v3::check_response::HttpResponse;
use envoy_types::pb::envoy::service::auth::v3::{AttributeContext, CheckRequest, CheckResponse};
use prost::Message;
use serde_json::{Value, json};

use crate::harness::{Caller, Gate, Reply, Upstream, get, routes, send, stderr};

#[path = "../../../bench/workloads/denials.rs"]
mod denials;

/// The maximum relative difference of the work of a denial from that of a wrong token.
const DIFFERENCE: f64 = 0.01;

#[test]
#[ignore = "run by the next one, under callgrind"]
fn workload() {
    denials::run();
}

/// Counts the instructions of each kind of decision. The lowest count is the work of the decision
/// itself: others include cache maintenance, which runs after a number of lookups or 300 ms for any
/// name, and on a busy machine affects most decisions.
fn instructions() -> BTreeMap<String, f64> {
    let folder = tempfile::tempdir().unwrap();
    let mut valgrind = Command::new("timeout");
    valgrind.args(["600", "valgrind", "--tool=callgrind", "--fair-sched=try"]);
    valgrind.arg("--combine-dumps=no");
    let file = folder.path().join("profile");
    valgrind.arg(format!("--callgrind-out-file={}", file.display()));
    let function = |kind: &&str| format!("{}::denials::kinds::{kind}", module_path!());
    for function in denials::kinds::NAMES.iter().map(function) {
        valgrind.arg(format!("--zero-before={function}"));
        valgrind.arg(format!("--dump-after={function}"));
    }
    valgrind.arg(std::env::current_exe().unwrap());
    let (_, here) = module_path!().split_once("::").unwrap();
    valgrind.args([&format!("{here}::workload"), "--exact", "--ignored"]);
    let output = valgrind.output();
    let output = output.unwrap_or_else(|error| panic!("{error}; run scripts/setup test"));
    assert!(output.status.success(), "{}", stderr(&output));
    let mut lowest = BTreeMap::<String, f64>::new();
    for dump in fs::read_dir(folder.path()).unwrap() {
        let dump = fs::read_to_string(dump.unwrap().path()).unwrap();
        let value = |name: &str| dump.lines().find_map(|line| line.strip_prefix(name));
        let Some(trigger) = value("desc: Trigger: --dump-after=") else {
            continue;
        };
        let (_, kind) = trigger.rsplit_once("::").unwrap();
        let count: f64 = value("totals: ").unwrap().parse().unwrap();
        let count = count / denials::AT_A_TIME as f64;
        let so_far = lowest.entry(kind.to_owned()).or_insert(count);
        *so_far = so_far.min(count);
    }
    lowest
}

#[test]
fn every_denial_is_the_same_work() {
    let all = instructions();
    for (of, kinds) in [
        (
            "wrong_token",
            &[
                "unknown",
                "disabled",
                "expired",
                "not_yet_valid",
                "broken_seed",
            ][..],
        ),
        // The token is not evaluated, so steps near the window are not searched.
        ("throttled_wrong", &["throttled_right", "throttled_unknown"]),
        ("shape_of_known", &["shape_of_unknown"]),
        ("eight_digits_known", &["eight_digits_unknown"]),
        ("sha512_wrong", &["sha512_disabled", "sha512_broken"]),
    ] {
        let expected = all.get(of).unwrap_or_else(|| panic!("{of}: {all:?}"));
        for kind in kinds {
            let found = all.get(*kind).unwrap_or_else(|| panic!("{kind}: {all:?}"));
            let difference = (found - expected) / expected;
            assert!(
                difference.abs() < DIFFERENCE,
                "{kind} differs from {of} by {:+.2} %: {all:#?}",
                difference * 100.0
            );
        }
    }
    // Otherwise the test would measure nothing.
    assert!(all["permitted"] < all["wrong_token"] * 0.7, "{all:#?}");
}

/// Delays longer than any test, after one failure at each place.
fn throttled() -> String {
    format!(
        "[grpc]\nlisten = \"127.0.0.1:0\"\n\
         [throttle]\nfailures = {}\nsource_failures = 1000000\ndelay = \"1h\"\nlongest_delay = \"1h\"\n",
        PLACES.len()
    )
}

const PLACES: [&str; 10] = [
    "proxy",
    "proxy, basic",
    "forward-auth",
    "nginx",
    "traefik",
    "envoy",
    "envoy, grpc",
    "rest, fields",
    "rest, body",
    "rest, subject",
];

/// Presents a credential at a place.
fn ask(gate: &Gate, verifier: &Caller, place: &str, who: &Caller, token: &str) -> String {
    let fields = who.fields_with(token);
    let basic = BASE64.encode(format!("{}@{}:{token}", who.name, who.realm).as_bytes());
    let post = |body: &Value| {
        let with_json = "Content-Type: application/json\r\n";
        let path = "/ungleichotp/verify/";
        send(gate.service, "POST", path, with_json, &body.to_string())
    };
    let reply = match place {
        "proxy" => get(gate.gateway, "/x", &fields),
        "proxy, basic" => get(
            gate.gateway,
            "/x",
            &format!("Authorization: Basic {basic}\r\n"),
        ),
        "forward-auth" => get(gate.service, "/forward-auth", &fields),
        "nginx" => {
            let described = "X-Original-Method: GET\r\nX-Original-URL: http://a/x\r\n";
            get(gate.service, "/forward-auth/nginx", &(fields + described))
        }
        "traefik" => {
            let described = "X-Forwarded-Method: GET\r\nX-Forwarded-Proto: http\r\n\
                X-Forwarded-Host: a\r\nX-Forwarded-Uri: /x\r\n";
            get(gate.service, "/forward-auth/traefik", &(fields + described))
        }
        "envoy" => get(gate.service, "/forward-auth/envoy/x", &fields),
        "envoy, grpc" => return over_grpc(gate, who, token),
        "rest, fields" => get(gate.service, "/ungleichotp/", &fields),
        "rest, body" => {
            let body = json!({"auth_name": who.name, "auth_realm": who.realm, "auth_token": token});
            post(&body)
        }
        "rest, subject" => {
            let body = json!({
                "auth_name": verifier.name, "auth_realm": verifier.realm,
                "auth_token": verifier.token(),
                "name": who.name, "realm": who.realm, "token": token,
            });
            post(&body)
        }
        _ => panic!("{place}"),
    };
    plain(&reply)
}

/// Returns the response without its date, the digits of its id, and the last digit of its
/// Retry-After.
fn plain(reply: &Reply) -> String {
    let mut text = String::new();
    for line in reply.head.lines() {
        let (name, value) = line.split_once(": ").unwrap_or((line, ""));
        match name.to_lowercase().as_str() {
            "date" => text += "date\n",
            "retry-after" => text += &waits(value),
            "x-request-id" => text += &id(value),
            _ => text += &format!("{line}\n"),
        }
    }
    text + &reply.body
}

fn id(digits: &str) -> String {
    let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    assert!(
        digits.len() == 32 && digits.bytes().all(is_digit),
        "{digits}"
    );
    "x-request-id\n".to_owned()
}

fn waits(seconds: &str) -> String {
    let seconds: u64 = seconds.parse().unwrap();
    assert!((3000..=3600).contains(&seconds), "{seconds}");
    "retry-after\n".to_owned()
}

/// Returns Envoy's auth request for a request with this credential.
pub(crate) fn check_request(name: &str, realm: &str, token: &str) -> CheckRequest {
    let headers = [
        ("x-auth-name", name),
        ("x-auth-realm", realm),
        ("x-auth-token", token),
    ];
    let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned()));
    CheckRequest {
        attributes: Some(AttributeContext {
            request: Some(Request {
                http: Some(HttpRequest {
                    method: "GET".into(),
                    host: "a".into(),
                    path: "/x".into(),
                    headers: headers.into(),
                    ..HttpRequest::default()
                }),
                ..Request::default()
            }),
            ..AttributeContext::default()
        }),
    }
}

/// Sends an auth request as Envoy does.
fn over_grpc(gate: &Gate, who: &Caller, token: &str) -> String {
    let check_request = check_request(&who.name, &who.realm, token);
    let answer = check(gate, &check_request);
    let Some(HttpResponse::DeniedResponse(denied)) = answer.http_response else {
        panic!("{answer:?}");
    };
    let fields = denied.headers.iter().map(|field| {
        let field = field.header.as_ref().unwrap();
        match field.key.as_str() {
            "retry-after" => waits(&field.value),
            "x-request-id" => id(&field.value),
            name => format!("{name}: {}\n", field.value),
        }
    });
    let fields: String = fields.collect();
    format!(
        "{:?} {:?} {fields} {}",
        answer.status, denied.status, denied.body
    )
}

/// Sends an auth request over gRPC, with curl as the client.
pub(crate) fn check(gate: &Gate, check_request: &CheckRequest) -> CheckResponse {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("check_request");
    let message = check_request.encode_to_vec();
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    fs::write(&file, [&[0], &length[..], &message].concat()).unwrap();
    let output = Command::new("curl")
        .args(["-sS", "--http2-prior-knowledge", "-H", "te: trailers"])
        .args(["-H", "content-type: application/grpc"])
        .arg("--data-binary")
        .arg(format!("@{}", file.display()))
        .arg(format!(
            "http://{}/envoy.service.auth.v3.Authorization/Check",
            gate.grpc.unwrap()
        ))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    CheckResponse::decode(output.stdout.get(5..).unwrap_or_default()).unwrap()
}

#[test]
fn every_denial_looks_the_same_at_every_door() {
    every_denial_looks_the_same("");
}

#[test]
fn every_denial_looks_the_same_in_the_form_of_a_route() {
    every_denial_looks_the_same(
        "challenge = 'Acme'\nerrors = 'json'\ndenial_headers = { set = { X-Help = 'ask ops' } }\n",
    );
}

/// `form` has further keys for each route.
fn every_denial_looks_the_same(form: &str) {
    let upstream = Upstream::start();
    let routes = routes(upstream.address).replace("[[route]]\n", &format!("[[route]]\n{form}"));
    let gate = Gate::start(&(throttled() + &routes));
    let verifier = gate.register("checker", "ungleich-auth");
    let [wrong, disabled, expired, early, broken] =
        ["wrong", "disabled", "expired", "early", "broken"]
            .map(|name| gate.register(name, "payments"));
    let change = |args: &[&str], who: &Caller| {
        let who = ["--name", &who.name, "--realm", &who.realm];
        let output = gate.run(&[&["identity"], args, &who[..]].concat());
        assert!(output.status.success(), "{}", stderr(&output));
    };
    change(&["disable"], &disabled);
    gate.expire(&expired);
    change(&["set", "--not-before", "30d"], &early);
    // No name is cached yet, so this is the first one read.
    let sql = "UPDATE identity SET seed = (SELECT seed FROM identity WHERE name = 'wrong')
        WHERE name = 'broken' RETURNING 1";
    assert_eq!(gate.number(sql), 1);
    let unknown = Caller {
        name: "unknown".into(),
        ..wrong.clone()
    };

    let answers = |who: &Caller, token: &dyn Fn() -> String| {
        // The first round counts a failure at each place, the second one is throttled.
        [0, 1].map(|_| PLACES.map(|place| ask(&gate, &verifier, place, who, &token())))
    };
    let expected = answers(&wrong, &|| wrong.wrong_token());
    let helps = |answers: &[String]| answers.iter().filter(|it| it.contains("ask ops")).count();
    // REST and the forward-auth that receives no description have no route.
    let of_routes = if form.is_empty() { 0 } else { PLACES.len() - 4 };
    assert_eq!(helps(&expected[0]), of_routes, "{expected:#?}");
    assert_eq!(helps(&expected[1]), of_routes, "{expected:#?}");
    assert!(expected[0].iter().all(|it| !it.contains("retry-after")));
    // The subject of a verification is not the caller, so it gets no Retry-After.
    let waiting = expected[1].iter().filter(|it| it.contains("retry-after"));
    assert_eq!(waiting.count(), PLACES.len() - 1, "{expected:#?}");
    for who in [disabled, expired, early, broken, unknown] {
        assert_eq!(answers(&who, &|| who.token()), expected, "{}", who.name);
    }
    // While throttled, a correct token gets the response of a wrong one.
    let late = PLACES.map(|place| ask(&gate, &verifier, place, &wrong, &wrong.token()));
    assert_eq!(late, expected[1]);
    assert_eq!(upstream.seen(), [""; 0]);
    for reason in [
        "wrong_token",
        "disabled",
        "expired",
        "not_yet_valid",
        "broken_seed",
    ] {
        assert!(gate.log().contains(reason), "{reason}: {}", gate.log());
    }
}
