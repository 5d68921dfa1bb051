//! `gateway.listen = "off"`: only forward-auth and REST, and switching the proxy on and off.

use std::collections::BTreeSet;
use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::process::Command;

use serde_json::Value;

use crate::harness::{
    Gate, NOWHERE, PROXY_OFF, PROXY_ON, Upstream, configuration, get, policies, realmgate, routes,
    stdout, until,
};

/// Returns the ports on which a process listens.
fn ports(pid: u32) -> BTreeSet<u16> {
    let sockets = fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    let sockets: BTreeSet<String> = sockets
        .filter_map(|entry| fs::read_link(entry.ok()?.path()).ok())
        .filter_map(|link| {
            let link = link.to_str()?;
            Some(link.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned())
        })
        .collect();
    let table = fs::read_to_string("/proc/net/tcp").unwrap();
    let listening = table.lines().skip(1).filter_map(|line| {
        let columns: Vec<_> = line.split_whitespace().collect();
        let is_it = columns[3] == "0A" && sockets.contains(columns[9]);
        let (_, port) = columns[1].split_once(':').unwrap();
        is_it.then(|| u16::from_str_radix(port, 16).unwrap())
    });
    listening.collect()
}

fn ready(gate: &Gate) -> Value {
    let file = gate.config().with_file_name("ready.json");
    serde_json::from_slice(&fs::read(file).unwrap()).unwrap()
}

/// Replaces the configuration.
fn write(gate: &Gate, old: &str, new: &str) {
    let text = fs::read_to_string(gate.config()).unwrap();
    assert!(text.contains(old));
    fs::write(gate.config(), text.replace(old, new)).unwrap();
}

/// Replaces the process, and waits until the new one serves and the old one has ended.
fn replace(gate: &mut Gate) {
    let old = gate.pid();
    gate.signal("USR2");
    until("another process", || gate.pid() != old);
    until("the end of the old one", || {
        let _ = gate.child.try_wait();
        !fs::exists(format!("/proc/{old}")).unwrap()
    });
}

#[test]
fn forward_auth_alone_opens_no_proxy_and_needs_no_upstream() {
    let gate = Gate::start_without_proxy(&[], &policies());
    let (billing, olga) = (
        gate.register("billing", "payments"),
        gate.register("olga", "ops"),
    );
    let expected = [gate.service, gate.metrics()].map(|it| it.port());
    assert_eq!(ports(gate.pid()), expected.into());
    assert_eq!(ready(&gate).get("gateway"), None);
    assert!(gate.log().contains("gateway=off"), "{}", gate.log());
    let asked = |path: &str, fields: &str| {
        let fields = format!(
            "{fields}X-Original-Method: GET\r\nX-Original-URL: http://app.example{path}\r\n"
        );
        get(gate.service, "/forward-auth/nginx", &fields).status
    };
    assert_eq!(asked("/public", ""), 200);
    assert_eq!(asked("/x", ""), 401);
    assert_eq!(asked("/x", &billing.fields()), 200);
    assert_eq!(asked("/ops", &billing.fields()), 403);
    assert_eq!(asked("/ops", &olga.fields()), 200);
    let metrics = get(gate.metrics(), "/metrics", "");
    assert_eq!(metrics.status, 200);
    assert!(metrics.body.contains("route=\"ops\""), "{}", metrics.body);
    assert!(!metrics.body.contains("upstream=\""), "{}", metrics.body);
}

#[test]
fn upstream_without_a_route_gets_no_requests() {
    let upstream = Upstream::start();
    let health = "health_check = \"/healthz\"\nhealth_interval = \"20ms\"\n";
    let more = format!("{}{health}", routes(upstream.address));
    let gate = Gate::start_without_proxy(&[], &more);
    let described = "X-Original-Method: GET\r\nX-Original-URL: http://a/public\r\n";
    // Much longer than the interval of health checks.
    for _ in 0..100 {
        assert_eq!(
            get(gate.service, "/forward-auth/nginx", described).status,
            200
        );
    }
    assert_eq!(upstream.seen(), [""; 0]);
    let output = gate.run(&["check"]);
    let checked: Value = serde_json::from_slice(&output.stdout).unwrap();
    let warning = checked["warnings"][0].as_str().unwrap();
    assert!(
        warning.contains(": upstream \"app\" gets no requests"),
        "{warning}"
    );
}

#[test]
fn check_and_explain_say_that_the_proxy_is_off() {
    let gate = Gate::start_without_proxy(&[], &policies());
    let people = |args: &[&str]| {
        let mut command = realmgate(args);
        stdout(&command.arg("--config").arg(gate.config()).output().unwrap())
    };
    let text = people(&["check"]);
    assert!(text.contains("\ngateway:  off\n"), "{text}");
    assert!(
        text.contains("  public: any method any host/public: anyone"),
        "{text}"
    );
    let checked: Value = serde_json::from_slice(&gate.run(&["check"]).stdout).unwrap();
    assert_eq!(checked["gateway"], Value::Null);
    assert_eq!(checked["routes"][0]["upstream"], Value::Null);
    let text = people(&["explain", "GET", "/public"]);
    assert!(text.contains("\nproxy: off\n"), "{text}");
    let output = gate.run(&["explain", "GET", "/public"]);
    assert!(output.status.success());
    let explained: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(explained["proxy"], Value::Null);
    assert_eq!(explained["forward_auth"]["passes"], true);
    let output = gate.run(&["explain", "GET", "/public", "--door", "proxy"]);
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn reload_says_that_the_proxy_takes_a_restart_and_a_replacement_opens_and_closes_it() {
    let upstream = Upstream::start();
    let mut gate = Gate::start_without_proxy(&[], &routes(upstream.address));
    let refused = "gateway.listen changed; restart required";
    write(&gate, PROXY_OFF, PROXY_ON);
    gate.signal("HUP");
    until("the rejection", || gate.log().contains(refused));
    assert_eq!(ready(&gate).get("gateway"), None);
    replace(&mut gate);
    let opened: SocketAddr = ready(&gate)["gateway"].as_str().unwrap().parse().unwrap();
    assert_eq!(get(opened, "/public", "").status, 200);

    // From here on without an upstream, which the proxy would reject.
    let text = configuration(gate.config().parent().unwrap(), &policies());
    fs::write(gate.config(), text.replace(PROXY_ON, PROXY_OFF)).unwrap();
    gate.signal("HUP");
    until("another rejection", || {
        gate.log().matches(refused).count() == 2
    });
    assert_eq!(get(opened, "/public", "").status, 200);
    replace(&mut gate);
    assert_eq!(ready(&gate).get("gateway"), None);
    assert!(TcpStream::connect(opened).is_err());
    let expected = [gate.service, gate.metrics()].map(|it| it.port());
    assert_eq!(ports(gate.pid()), expected.into());
    let log = gate.log();
    assert!(
        log.contains("closed: gateway.listen is \"off\" now"),
        "{log}"
    );
    assert_ne!(opened, NOWHERE);
}

#[test]
fn socket_of_a_service_manager_is_not_served_while_the_proxy_is_off() {
    let folder = tempfile::tempdir().unwrap();
    let text = configuration(folder.path(), &policies());
    fs::write(
        folder.path().join("realmgate.toml"),
        text.replace(PROXY_ON, PROXY_OFF),
    )
    .unwrap();
    // Passes sockets like systemd: from descriptor 3 on, to the process with this id.
    let program = realmgate(&[]).get_program().to_owned();
    let mut command = Command::new("python3");
    command.arg("-c").arg(
        "import os, socket, sys\n\
         sockets = [socket.create_server(('127.0.0.1', 0)) for _ in range(2)]\n\
         spare = [os.dup2(it.fileno(), 20 + at) for at, it in enumerate(sockets)]\n\
         for at, it in enumerate(spare): os.dup2(it, 3 + at)\n\
         os.environ.update(LISTEN_FDS='2', LISTEN_FDNAMES='service:gateway', LISTEN_PID=str(os.getpid()))\n\
         os.execv(sys.argv[1], sys.argv[1:])",
    );
    command.arg(program);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("REALMGATE_") {
            command.env_remove(name);
        }
    }
    let gate = Gate::start_in(folder, command);
    assert_eq!(ready(&gate).get("gateway"), None);
    let log = gate.log();
    assert!(
        log.contains("is not served, since gateway.listen is \"off\""),
        "{log}"
    );
    assert_eq!(get(gate.service, "/healthz", "").status, 200);
}
