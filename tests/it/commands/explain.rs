//! `realmgate explain`, compared with the doors.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::harness::{Caller, Gate, Upstream, get, raw, routes, stderr, stdout};

fn gate(more: &str) -> (Gate, Upstream) {
    let upstream = Upstream::start();
    let gate = Gate::start(&format!("{more}\n{}", routes(upstream.address)));
    (gate, upstream)
}

/// Returns the exit code and the JSON output.
fn explain(gate: &Gate, args: &[&str]) -> (i32, Value) {
    let mut all = vec!["explain"];
    all.extend(args);
    let output = gate.run(&all);
    let said = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
    (output.status.code().unwrap(), said)
}

#[test]
fn both_doors_are_explained() {
    let (gate, _upstream) = gate("");
    let callers = [
        gate.register("alice", "dev"),
        gate.register("bob", "dev"),
        gate.register("carol", "ops"),
    ];
    let paths = [
        "/public/x",
        "/ops",
        "/ops/x?y=/../z",
        "/opsx",
        "/%6fps/x",
        "/ops;v=1/x",
        "/ops/../x",
        "/a//b",
        "/a%2fb",
        "/a%00",
        "/a%zz",
        "/",
    ];
    let mut seen = BTreeSet::new();
    for host in [
        "app.example",
        "admin.example",
        "Admin.Example:8443",
        "bad host",
    ] {
        for method in ["GET", "PUT", "TRACE", "get"] {
            for path in paths {
                for caller in [
                    None,
                    Some(&callers[0]),
                    Some(&callers[1]),
                    Some(&callers[2]),
                ] {
                    let fields = caller.map_or(String::new(), Caller::fields);
                    let request = format!(
                        "{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{fields}\r\n"
                    );
                    let proxy = raw(gate.gateway, request.as_bytes()).status;
                    let asked = get(
                        gate.service,
                        "/forward-auth/nginx",
                        &format!(
                            "{fields}X-Original-Method: {method}\r\nX-Original-URL: http://{host}{path}\r\n"
                        ),
                    )
                    .status;
                    // Each combination once, because each takes a process.
                    if !seen.insert((host, method, path, proxy, asked)) {
                        continue;
                    }
                    let url = format!("http://{host}{path}");
                    let who = caller.map(|it| format!("{}@{}", it.name, it.realm));
                    let mut args = vec![method, &url];
                    if let Some(who) = &who {
                        args.extend(["--as", who]);
                    }
                    let (code, said) = explain(&gate, &args);
                    let status =
                        |door: &str, passed: u64| said[door]["status"].as_u64().unwrap_or(passed);
                    assert_eq!(status("proxy", 200), u64::from(proxy), "{args:?}: {said}");
                    // nginx forwards TRACE to an application that supports it.
                    if method != "TRACE" {
                        assert_eq!(
                            status("forward_auth", 200),
                            u64::from(asked),
                            "{args:?}: {said}"
                        );
                    }
                    assert_eq!(code, i32::from(proxy != 200), "{args:?}: {said}");
                }
            }
        }
    }
}

#[test]
fn deciding_route_and_rule_are_explained() {
    let (gate, upstream) = gate("");
    gate.register("alice", "dev");
    let (code, said) = explain(
        &gate,
        &["PUT", "http://a.example/ops/x", "--as", "alice@dev"],
    );
    assert_eq!(code, 0);
    assert_eq!(said["route"], "all");
    let misfits = |at: usize| said["routes"][at]["misfits"].to_string();
    assert_eq!(misfits(0), "[\"path\"]");
    assert_eq!(misfits(1), "[\"method\"]");
    assert_eq!(misfits(2), "[\"host\"]");
    assert_eq!(misfits(3), "[]");
    let (_, said) = explain(&gate, &["GET", "http://a/ops/%78?q", "--as", "alice@dev"]);
    assert_eq!(said["rule"], "alice@dev");
    assert_eq!(said["path"], "/ops/x");
    assert_eq!(said["upstream_path"], "/ops/%78?q");
    assert!(
        said["upstream"]
            .as_str()
            .unwrap()
            .contains(&upstream.address.to_string())
    );
    // Servers that decode the path would find another route than those that do not.
    let (code, said) = explain(&gate, &["GET", "http://a/%6fps/x", "--as", "alice@dev"]);
    assert_eq!(code, 1);
    assert_eq!(said["proxy"]["reason"], "ambiguous_path");
    assert_eq!(
        (&said["path"], &said["other_path"]),
        (&"/ops/x".into(), &"/ops/x".into())
    );
    assert_eq!(
        (&said["route"], &said["other_route"]),
        (&"all".into(), &"ops".into())
    );
    let output = gate.run(&["explain", "GET", "/ops", "--as", "nobody@ops"]);
    assert_eq!(output.status.code(), Some(1));
    let (_, said) = explain(&gate, &["GET", "/ops", "--as", "nobody@ops"]);
    assert_eq!(said["proxy"]["reason"], "unknown_principal");
    // The command sends no request, and changes nothing.
    assert!(upstream.seen().is_empty());
}

#[test]
fn other_readings_and_effects_are_explained() {
    let more = "[[route]]\nname = 'health'\npath = '=/healthz'\nallow = 'anyone'\nupstream = 'named'\n\
                challenge = 'none'\nerrors = 'json'\ndenial_headers = { set = { X-Help = 'https://help.example' } }\n\
                [[route]]\nname = 'keys'\npath = '/users/*/keys'\nallow = 'anyone'\nupstream = 'app'\n\
                [upstream.named]\npeers = ['127.0.0.1:9']\nidentity_headers = { user = 'X-Who' }\n";
    let (gate, _upstream) = gate(more);
    for (path, reading, route, divided) in [
        ("/healthz/", "/healthz", "health", false),
        ("/healthz;x", "/healthz", "health", false),
        ("/users/a;x/keys", "/users/a/keys", "keys", true),
    ] {
        let (code, said) = explain(&gate, &["GET", path]);
        assert_eq!(
            (code, &said["proxy"]["reason"]),
            (1, &"ambiguous_path".into())
        );
        let expected = serde_json::json!([{ "path": reading, "route": route, "divided": divided }]);
        assert_eq!(said["readings"], expected, "{path}");
    }
    let (_, said) = explain(&gate, &["GET", "/public/x;y"]);
    assert_eq!(said["readings"], serde_json::json!([]));
    let (_, said) = explain(&gate, &["GET", "/healthz"]);
    let expected = serde_json::json!({
        "challenge": "none",
        "errors": "json",
        "denial_headers": { "x-help": "https://help.example" },
        "identity_headers": { "name": null, "realm": null, "user": "x-who" },
    });
    assert_eq!(said["effects"], expected);
    let people = |args: &[&str]| {
        let config = gate.config();
        let output = crate::harness::realmgate(args)
            .arg("--config")
            .arg(config)
            .output();
        stdout(&output.unwrap())
    };
    let said = people(&["explain", "GET", "/healthz/"]);
    let line = "some servers read it as /healthz, which matches route health\n";
    assert!(said.contains(line), "{said}");
    let said = people(&["explain", "GET", "/users/a;x/keys"]);
    let line = "some servers divide it into other segments: route keys may match or not\n";
    assert!(said.contains(line), "{said}");
    let denials = "denials: challenge none, errors json, x-help: https://help.example";
    let said = people(&["explain", "GET", "/healthz"]);
    let lines = format!("{denials}\nidentity headers: x-who (user)\n");
    assert!(said.contains(&lines), "{said}");
    let said = people(&["explain", "GET", "/public"]);
    let line =
        "identity headers: x-auth-name (name), x-auth-realm (realm), x-forwarded-user (user)\n";
    assert!(said.contains(line) && !said.contains("denials: "), "{said}");
    let said = people(&["check"]);
    let line =
        format!("anyone, no credential needed ({denials}; identity headers: x-who (user))\n");
    assert!(said.contains(&line), "{said}");
}

#[test]
fn endpoint_for_any_front_proxy_is_explained_apart_since_it_ignores_routes() {
    let (gate, _upstream) = gate("");
    let carol = gate.register("carol", "dev");
    for args in [
        ["GET", "http://a/ops/x", "--as", "carol@dev"],
        ["GET", "http://a/../x", "--as", "carol@dev"],
        ["GET", "http://a/ops/x", "--as", "nobody@dev"],
    ] {
        let who = if args[3] == "carol@dev" {
            carol.fields()
        } else {
            "X-Auth-Name: nobody\r\nX-Auth-Realm: dev\r\nX-Auth-Token: 123456\r\n".to_owned()
        };
        let asked = get(gate.service, "/forward-auth", &who).status;
        let (_, said) = explain(&gate, &args);
        assert_eq!(
            said["any_forward_auth"]["status"], asked,
            "{args:?}: {said}"
        );
        assert_ne!(said["forward_auth"]["status"], 200, "{args:?}: {said}");
        let (code, _) = explain(
            &gate,
            &[&args[..], &["--door", "any-forward-auth"]].concat(),
        );
        assert_eq!(code, i32::from(asked != 200), "{args:?}");
    }
    let people =
        crate::harness::realmgate(&["explain", "GET", "http://a/ops/x", "--as", "carol@dev"])
            .arg("--config")
            .arg(gate.config())
            .output();
    let said = stdout(&people.unwrap());
    assert!(said.contains("Envoy: 403 not_allowed"), "{said}");
    assert!(said.contains("the credential only: 200, passes"), "{said}");
}

#[test]
fn identities_that_may_not_authenticate_are_named() {
    let (gate, _upstream) = gate(
        "[throttle]\ndelay = \"1h\"\nlongest_delay = \"1h\"\n[realm.payments]\nreuse = \"once\"\n",
    );
    let caller = gate.register("billing", "payments");
    let reason = || {
        let (_, said) = explain(&gate, &["GET", "/x", "--as", "billing@payments"]);
        said["proxy"]["reason"].as_str().map(str::to_owned)
    };
    assert_eq!(reason(), None);
    let (_, said) = explain(&gate, &["GET", "/x", "--as", "billing@payments"]);
    assert_eq!(said["once"], true);
    let run = |args: &[&str]| {
        let mut all = vec!["identity"];
        all.extend(args);
        all.extend(["--name", "billing", "--realm", "payments"]);
        assert!(gate.run(&all).status.success());
    };
    run(&["disable"]);
    assert_eq!(reason().as_deref(), Some("disabled"));
    run(&["enable"]);
    gate.expire(&caller);
    assert_eq!(reason().as_deref(), Some("expired"));
    run(&["set", "--expires", "never", "--not-before", "1d"]);
    assert_eq!(reason().as_deref(), Some("not_yet_valid"));
    run(&["set", "--not-before", "never"]);
    let wrong = caller.fields_with(&caller.wrong_token());
    // Failures in the second in which it was enabled are forgiven.
    crate::harness::until("it is throttled", || {
        (0..6).for_each(|_| drop(get(gate.gateway, "/x", &wrong)));
        reason().as_deref() == Some("throttled")
    });
    // Failures in the current second still count.
    crate::harness::until("it is unthrottled", || {
        run(&["unthrottle"]);
        reason().is_none()
    });
}

#[test]
fn without_routes_forward_auth_decides_and_a_database_must_be_there_for_a_caller() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("realmgate.toml");
    fs::write(&config, crate::harness::configuration(folder.path(), "")).unwrap();
    let config = config.display().to_string();
    let run = |args: &[&str]| {
        let mut all = vec!["explain", "--json", "--config", &config];
        all.extend(args);
        crate::harness::realmgate(&all).output().unwrap()
    };
    let output = run(&["GET", "http://a/x", "--as", "a@b"]);
    assert_eq!(output.status.code(), Some(3));
    assert!(stderr(&output).contains("realmgate.db: does not exist"));
    assert!(!folder.path().join("realmgate.db").exists());
    let made = crate::harness::realmgate(&["init", "--config", &config]).output();
    assert!(made.unwrap().status.success());
    let output = run(&["GET", "http://a/x", "--as", "a@b"]);
    let said: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(said["forward_auth"]["reason"], "unknown_principal");
    assert_eq!(said["proxy"]["reason"], "no_route");
    assert_eq!(run(&["GET", "/x", "--as", "nobody"]).status.code(), Some(2));
    let people = crate::harness::realmgate(&["explain", "GET", "/x", "--config", &config]);
    let mut people = people;
    assert!(stdout(&people.output().unwrap()).contains("Envoy: 401 no_credential"));
}

#[test]
fn what_explain_cannot_read_is_rejected_before_anything_is_sent() {
    let run = |args: &[&str]| {
        let output = crate::harness::realmgate(&[&["explain", "GET"], args].concat()).output();
        let output = output.unwrap();
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        stderr(&output)
    };
    let bare = run(&["a.example/x"]);
    assert!(bare.contains("https://a.example/x"), "{bare}");
    // Nothing listens there.
    let there = ["/x", "--server", "http://127.0.0.1:1"];
    for more in [
        &[][..],
        &["--caller", "a@b"],
        &["--as", "a@b"],
        &["--token", "1"],
    ] {
        let said = run(&[&there, more].concat());
        assert!(
            said.contains("--as NAME@REALM") && said.contains("--caller"),
            "{said}"
        );
    }
}

#[test]
fn rejections_are_logged_with_their_reason() {
    let (gate, _upstream) = gate("");
    get(gate.gateway, "/a/../b", "");
    get(gate.gateway, "/a//b", "");
    raw(
        gate.gateway,
        b"GET / HTTP/1.1\r\nHost: a b\r\nConnection: close\r\n\r\n",
    );
    raw(
        gate.gateway,
        b"TRACE / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    );
    raw(
        gate.gateway,
        b"GET / HTTP/1.1\nHost: a\r\nConnection: close\r\n\r\n",
    );
    get(gate.service, "/forward-auth/nginx", "");
    get(gate.service, "/forward-auth?x=y", "");
    assert_eq!(get(gate.service, "/forward-auth/ngnix", "").status, 404);
    for reason in [
        "ambiguous_path",
        "slashes",
        "bad_host",
        "trace",
        "bad_line_ending",
        "description_missing",
        "bad_narrowing",
        "no_endpoint",
    ] {
        let field = format!("reason=\"{reason}\"");
        crate::harness::until(reason, || gate.log().contains(&field));
    }
}

#[test]
fn page_of_reasons_is_that_of_the_code() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = |path: &str| fs::read_to_string(root.join(path)).unwrap();
    // The results of functions named reason…, and literals.
    let mut codes: BTreeSet<String> = BTreeSet::new();
    for file in [
        "crates/core/src/decision.rs",
        "src/http/rejection.rs",
        "src/doors/proxy/failure.rs",
    ] {
        let text = text(file);
        let functions = text.split("const fn reason").skip(1);
        for function in functions {
            let body = function.split("\n    }\n").next().unwrap();
            let body = body.split("\n}\n").next().unwrap();
            codes.extend(body.split('"').skip(1).step_by(2).map(str::to_owned));
        }
    }
    codes.insert("upstream_busy".to_owned());
    assert!(text("src/doors/proxy/decide.rs").contains("reason = \"upstream_busy\""));
    assert!(codes.len() > 30, "{codes:?}");
    let page: BTreeSet<_> = text("docs/reasons.md")
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once("` |"))
        .map(|(code, _)| code.to_owned())
        .collect();
    assert_eq!(page, codes);
}
