//! `realmgate healthcheck` and `realmgate reload`, for containers that have neither curl nor kill.

use std::fs;
use std::io::Write;
use std::net::TcpListener;
use std::path::Path;
use std::process::Output;
use std::thread;
use std::time::Instant;

use serde_json::{Value, json};
use tonic::Code;
use tonic::transport::Endpoint;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use crate::harness::port::Port;
use crate::harness::{
    Gate, NOWHERE, PATIENCE, Upstream, configuration, get, raw, realmgate, routes, send, stderr,
    stdout, until,
};

fn ready_file(gate: &Gate) -> String {
    let path = gate.config().with_file_name("ready.json");
    path.display().to_string()
}

fn run(gate: &Gate, args: &[&str]) -> Output {
    let mut command = realmgate(args);
    command.arg("--config").arg(gate.config());
    command.output().unwrap()
}

#[test]
fn server_that_is_ready_is_healthy() {
    let gate = Gate::start("");
    let path = ready_file(&gate);
    for more in [&[][..], &["--alive"], &["--json"]] {
        let args = [&["healthcheck", "--ready-file", &path], more].concat();
        let output = run(&gate, &args);
        assert!(output.status.success(), "{}", stderr(&output));
        assert!(stdout(&output).contains("ok"));
    }
    // The configuration names the listener too, if its port is not 0.
    let port = gate.metrics().port();
    let text = fs::read_to_string(gate.config()).unwrap();
    let listen = "[metrics]\nlisten = \"127.0.0.1:0\"";
    assert!(text.contains(listen));
    let on_all = format!("[metrics]\nlisten = \"0.0.0.0:{port}\"");
    fs::write(gate.config(), text.replace(listen, &on_all)).unwrap();
    assert!(run(&gate, &["healthcheck"]).status.success());
}

#[test]
fn server_without_its_database_is_alive_and_not_ready() {
    let gate = Gate::start("");
    fs::remove_file(gate.config().with_file_name("realmgate.db")).unwrap();
    until("not ready", || {
        get(gate.metrics(), "/readyz", "").status == 503
    });
    let path = ready_file(&gate);
    let output = run(&gate, &["healthcheck", "--ready-file", &path]);
    assert_eq!(output.status.code(), Some(1));
    let message = stderr(&output);
    assert!(
        message.contains("not healthy: 503 a file of the database"),
        "{message}"
    );
    let alive = run(&gate, &["healthcheck", "--alive", "--ready-file", &path]);
    assert!(alive.status.success());
}

#[test]
fn nobody_and_anybody_else_at_the_address_are_unhealthy() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("realmgate.toml");
    let check = |address: &str| {
        let text = configuration(folder.path(), "");
        let listen = format!("[metrics]\nlisten = \"{address}\"");
        let text = text.replace("[metrics]\nlisten = \"127.0.0.1:0\"", &listen);
        fs::write(&config, text).unwrap();
        let mut command = realmgate(&["healthcheck", "--timeout", "1", "--config"]);
        let output = command.arg(&config).output().unwrap();
        (output.status.code().unwrap(), stderr(&output))
    };
    let (code, message) = check(&NOWHERE.to_string());
    assert_eq!(code, 3, "{message}");
    let (code, message) = check("off");
    assert_eq!(code, 2);
    assert!(message.contains("metrics.listen = \"off\""), "{message}");
    for reply in [
        &b"SSH-2.0-OpenSSH\r\n\r\n"[..],
        b"",
        b"HTTP/1.1 2",
        &[b'x'; 100_000],
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let serving = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let _ = stream.write_all(reply);
        });
        let (code, message) = check(&address);
        assert_eq!(code, 3, "{message}");
        serving.join().unwrap();
    }
    // One that accepts and says nothing.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let started = Instant::now();
    let (code, _) = check(&listener.local_addr().unwrap().to_string());
    assert_eq!(code, 3);
    assert!(started.elapsed() < PATIENCE);
}

#[test]
fn reload_makes_the_server_read_its_configuration() {
    let upstream = Upstream::start();
    let gate = Gate::start(&routes(upstream.address));
    let caller = gate.register("billing", "payments");
    assert_eq!(get(gate.gateway, "/ops/x", &caller.fields()).status, 403);
    let text = fs::read_to_string(gate.config()).unwrap();
    let changed = text.replace("{ realm = \"ops\" }", "{ realm = \"payments\" }");
    fs::write(gate.config(), changed).unwrap();
    let reload = ["reload", "--ready-file", &ready_file(&gate)];
    let output = run(&gate, &reload);
    assert!(output.status.success(), "{}", stderr(&output));
    let accepted = format!("process {} has accepted the configuration\n", gate.pid());
    assert_eq!(stdout(&output), accepted);
    // It is in effect when the command returns.
    assert_eq!(get(gate.gateway, "/ops/x", &caller.fields()).status, 200);
    // The next one is not mistaken for the last one.
    let text = fs::read_to_string(gate.config()).unwrap();
    fs::write(gate.config(), text.replace("\"/ops\"", "\"/none\"")).unwrap();
    assert!(run(&gate, &reload).status.success());
    let ready: Value = serde_json::from_str(&fs::read_to_string(reload[2]).unwrap()).unwrap();
    assert_eq!(ready["reload"], json!({ "number": 2, "error": null }));
    let output = run(&gate, &["reload", "--no-wait", "--ready-file", reload[2]]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(stdout(&output).contains("its log has the outcome"));
}

#[test]
fn configuration_that_only_the_server_rejects_is_reported_by_reload() {
    let upstream = Upstream::start();
    let gate = Gate::start(&routes(upstream.address));
    let path = ready_file(&gate);
    let reload = ["reload", "--ready-file", &path];
    let text = fs::read_to_string(gate.config()).unwrap();
    let other = text.replace(
        "[metrics]\nlisten = \"127.0.0.1:0\"",
        "[metrics]\nlisten = \"off\"",
    );
    assert_ne!(other, text);
    fs::write(gate.config(), other).unwrap();
    let output = run(&gate, &reload);
    assert_eq!(output.status.code(), Some(1), "{}", stdout(&output));
    let why = format!(
        "process {} has rejected the configuration and keeps the old one: metrics.listen changed; restart required",
        gate.pid()
    );
    assert!(stderr(&output).contains(&why), "{}", stderr(&output));
    fs::write(gate.config(), text).unwrap();
    assert!(run(&gate, &reload).status.success());
}

/// Runs `serve` as process 1 of a container, and there `reload`. Returns its exit code and its output.
fn reload_in_container(metrics: &str) -> (String, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let text = configuration(folder.path(), "");
    let text = text.replace(
        "[metrics]\nlisten = \"127.0.0.1:0\"",
        &format!("[metrics]\nlisten = \"{metrics}\""),
    );
    assert!(text.contains(metrics));
    fs::write(path("realmgate.toml"), text).unwrap();
    let script = r#"
        realmgate=$1 folder=$2
        {
            for _ in $(seq 300); do [ -e "$folder/ready" ] && break; sleep 0.1; done
            "$realmgate" reload --config "$folder/realmgate.toml" >"$folder/output" 2>&1
            echo $? >"$folder/code"
            kill 1
        } &
        exec "$realmgate" serve --config "$folder/realmgate.toml" --ready-file "$folder/ready"
    "#;
    let mut unshare = std::process::Command::new("unshare");
    unshare.args([
        "--user",
        "--map-root-user",
        "--pid",
        "--fork",
        "--mount-proc",
    ]);
    unshare.args([
        "bash",
        "-c",
        script,
        "bash",
        env!("CARGO_BIN_EXE_realmgate"),
    ]);
    let ended = unshare.arg(folder.path()).output().unwrap();
    let read = |name: &str| {
        fs::read_to_string(path(name)).unwrap_or_else(|error| panic!("{error}{}", stderr(&ended)))
    };
    (read("code"), read("output"))
}

#[test]
fn process_1_is_reloaded_and_its_metrics_have_the_outcome() {
    let port = Port::reserve();
    let (code, output) = reload_in_container(&port.address.to_string());
    let accepted = "process 1 has accepted the configuration\n";
    assert_eq!((&*code, &*output), ("0\n", accepted));
    let (code, output) = reload_in_container("off");
    assert_eq!(code, "3\n");
    let why = "is not known: metrics.listen is \"off\"; name the ready file with --ready-file";
    assert!(output.contains(why), "{output}");
}

#[test]
fn outcome_that_cannot_be_read_is_not_called_a_success() {
    let gate = Gate::start("");
    // The server does not write this file.
    let path = gate.config().with_file_name("copy.json");
    fs::copy(ready_file(&gate), &path).unwrap();
    let path = path.to_str().unwrap();
    let output = run(&gate, &["reload", "--timeout", "1", "--ready-file", path]);
    assert_eq!(output.status.code(), Some(3), "{}", stdout(&output));
    let unknown = "whether it has accepted the configuration is not known: it takes too long";
    assert!(stderr(&output).contains(unknown), "{}", stderr(&output));
    // The signal was sent all the same.
    until("reloaded", || gate.log().contains("reloaded config="));
}

#[test]
fn wrong_configuration_is_reported_and_not_sent() {
    let gate = Gate::start("");
    let text = fs::read_to_string(gate.config()).unwrap();
    fs::write(gate.config(), text + "[nonsense]\n").unwrap();
    let output = run(&gate, &["reload", "--ready-file", &ready_file(&gate)]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("nonsense"));
    assert!(!gate.log().contains("reload"), "{}", gate.log());
}

#[test]
fn process_that_is_no_realmgate_gets_no_signal() {
    let gate = Gate::start("");
    let path = gate.config().with_file_name("other.json");
    let reload = |pid: &str| {
        fs::write(&path, format!("{{\"pid\":{pid}}}")).unwrap();
        run(&gate, &["reload", "--ready-file", path.to_str().unwrap()])
    };
    // SIGHUP would end it.
    let mut other = std::process::Command::new("sleep")
        .arg("60")
        .spawn()
        .unwrap();
    for pid in [
        other.id().to_string(),
        "4194303".into(),
        "0".into(),
        "-1".into(),
    ] {
        let output = reload(&pid);
        assert_eq!(output.status.code(), Some(3), "{pid}");
        assert!(stderr(&output).contains("is not a realmgate process: the server has ended"));
    }
    assert!(other.try_wait().unwrap().is_none());
    other.kill().unwrap();
    other.wait().unwrap();
    for broken in ["\"x\"", "99999999999"] {
        assert_eq!(reload(broken).status.code(), Some(2), "{broken}");
    }
    let missing = Path::new("/nonexistent/ready.json").to_str().unwrap();
    let output = run(&gate, &["reload", "--ready-file", missing]);
    assert_eq!(output.status.code(), Some(2));
    // In this machine, process 1 is something else.
    assert_eq!(run(&gate, &["reload"]).status.code(), Some(3));
}

#[test]
fn health_path_of_the_proxy_shows_the_health_of_realmgate_and_hides_the_cause() {
    let upstream = Upstream::start();
    let gate = Gate::start(&format!(
        "health_path = \"/up\"\n{}",
        routes(upstream.address)
    ));
    for path in ["/up", "/up?x=1"] {
        let reply = get(gate.gateway, path, "");
        assert_eq!((reply.status, &*reply.body), (200, "ready\n"), "{path}");
    }
    let reply = send(gate.gateway, "POST", "/up", "", "");
    assert_eq!(
        (reply.status, reply.field("allow")),
        (405, Some("GET, HEAD"))
    );
    assert_eq!(upstream.seen(), [""; 0]);
    // Other paths and spellings belong to the routes.
    for path in ["/up/", "/up/x", "/%75p", "/UP", "/healthz", "/up;x"] {
        assert_eq!(get(gate.gateway, path, "").status, 401, "{path}");
    }
    for path in ["/up#x", "http://a/up"] {
        let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        assert_eq!(raw(gate.gateway, request.as_bytes()).status, 400, "{path}");
    }
    assert_eq!(get(gate.service, "/up", "").status, 404);
    let output = gate.run(&["explain", "GET", "http://a/up"]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(
        stdout(&output).contains("\"own\":true"),
        "{}",
        stdout(&output)
    );
    fs::remove_file(gate.config().with_file_name("realmgate.db")).unwrap();
    until("not ready", || get(gate.gateway, "/up", "").status == 503);
    assert_eq!(get(gate.gateway, "/up", "").body, "not ready\n");
    assert_eq!(get(gate.gateway, "/public", "").status, 200);
}

#[test]
fn health_path_is_a_path_of_its_own() {
    let upstream = Upstream::start();
    let gate = Gate::start(&routes(upstream.address));
    let text = fs::read_to_string(gate.config()).unwrap();
    let check = |path: &str| {
        let key = format!("[gateway]\nhealth_path = \"{path}\"");
        fs::write(gate.config(), text.replace("[gateway]", &key)).unwrap();
        let output = run(&gate, &["check"]);
        (output.status.code().unwrap(), stderr(&output))
    };
    assert_eq!(check("/up").0, 0);
    for path in [
        "",
        "/",
        "up",
        "/a//b",
        "/a.",
        "/%61",
        "/forward-auth/nginx",
        "/ungleichotp",
    ] {
        let (code, message) = check(path);
        assert_eq!(code, 2, "{path:?}");
        assert!(message.contains("gateway.health_path"), "{message}");
    }
    // The path of a route.
    let (code, message) = check("/ops");
    assert_eq!(code, 2);
    assert!(
        message.contains("another path than gateway.health_path"),
        "{message}"
    );
}

#[test]
fn grpc_listener_serves_the_health_protocol() {
    let gate = Gate::start("[grpc]\nlisten = \"127.0.0.1:0\"\n");
    let url = format!("http://{}", gate.grpc.unwrap());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let connect = Endpoint::from_shared(url).unwrap();
    let mut client =
        runtime.block_on(async { HealthClient::new(connect.connect().await.unwrap()) });
    let mut check = |service: &str| {
        let service = service.to_owned();
        let status = runtime.block_on(client.check(HealthCheckRequest { service }));
        status.map(|it| it.into_inner().status())
    };
    for service in ["", "envoy.service.auth.v3.Authorization"] {
        assert_eq!(check(service).unwrap(), ServingStatus::Serving);
    }
    let unknown = check("grpc.health.v1.Health").unwrap_err();
    assert_eq!(unknown.code(), Code::NotFound);
    let long = check(&"x".repeat(100_000)).unwrap_err();
    assert_eq!(long.code(), Code::OutOfRange);
    fs::remove_file(gate.config().with_file_name("realmgate.db")).unwrap();
    until("not ready", || {
        check("").unwrap() == ServingStatus::NotServing
    });
    let watched = runtime.block_on(client.watch(HealthCheckRequest::default()));
    assert_eq!(watched.unwrap_err().code(), Code::Unimplemented);
}
