//! SIGHUP: another configuration without a restart, as a whole or not at all.

use std::fs;
use std::io::Write;
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use crate::harness::{Gate, Upstream, field, get, parse, read_message, routes, until};

/// Replaces the routes in a running realmgate's file, and asks it to read that again.
fn reload(gate: &Gate, old: &str, new: &str) {
    let text = fs::read_to_string(gate.config()).unwrap();
    assert!(text.contains(old));
    fs::write(gate.config(), text.replace(old, new)).unwrap();
    gate.signal("HUP");
}

fn logged(gate: &Gate, what: &str) {
    until(what, || gate.log().contains(what));
}

#[test]
fn routes_policies_and_upstreams_change_without_a_restart() {
    let (old, new) = (Upstream::start(), Upstream::start());
    let rules = routes(old.address);
    let gate = Gate::start(&rules);
    let caller = gate.register("billing", "payments");
    assert_eq!(get(gate.gateway, "/ops/x", &caller.fields()).status, 403);
    let changed = routes(new.address).replace("{ realm = \"ops\" }", "{ realm = \"payments\" }");
    reload(&gate, &rules, &changed);
    logged(&gate, "reloaded");
    let log = gate.log();
    let digest = log.split_once("reloaded config=\"").unwrap().1;
    let in_force = format!(
        "realmgate_config_info{{digest=\"{}\"}} 1\n",
        digest.split_once("\"").unwrap().0
    );
    let figures = get(gate.metrics(), "/metrics", "").body;
    assert!(figures.contains(&in_force), "{in_force}{figures}");
    assert_eq!(figures.matches("realmgate_config_info{").count(), 1);
    assert_eq!(get(gate.gateway, "/ops/x", &caller.fields()).status, 200);
    assert_eq!(new.seen().len(), 1);
    assert_eq!(field(&new.seen()[0], "X-Auth-Name"), Some("billing"));
    assert!(old.seen().is_empty());
}

#[test]
fn trusted_proxies_and_limits_change_too() {
    let gate = Gate::start("");
    let caller = gate.register("billing", "payments");
    let described = format!(
        "{}X-Original-Method: GET\r\nX-Original-URL: http://a/b\r\n",
        caller.fields()
    );
    let asked = || get(gate.service, "/forward-auth/nginx", &described).status;
    assert_eq!(asked(), 200);
    reload(
        &gate,
        "requests = 4000\n[service]\n",
        "requests = 4000\nbody_bytes = 1024\n[service]\ntrusted_proxies = ['192.0.2.1']\n",
    );
    logged(&gate, "reloaded");
    assert_eq!(asked(), 403);
    let fields = format!("{}Content-Length: 2000\r\n", caller.fields());
    assert_eq!(get(gate.service, "/ungleichotp/", &fields).status, 413);
}

#[test]
fn bad_file_leaves_the_old_configuration_in_force_and_is_told() {
    let upstream = Upstream::start();
    let rules = routes(upstream.address);
    let gate = Gate::start(&rules);
    reload(&gate, "path = \"/public\"", "path = \"public\"");
    logged(&gate, "not reloaded; the old configuration stays");
    assert!(gate.log().contains("route[0].path"), "{}", gate.log());
    let figures = get(gate.metrics(), "/metrics", "").body;
    let stays = "realmgate_config_last_reload_successful 0\n";
    assert!(figures.contains(stays), "{figures}");
    assert!(figures.contains("realmgate_config_reloads_total{outcome=\"refused\"} 1\n"));
    assert_eq!(get(gate.gateway, "/public/x", "").status, 200);
    reload(&gate, "path = \"public\"", "path = \"/public\"");
    reload(&gate, "realmgate.db", "other.db");
    logged(&gate, "store or cache has changed, which takes a restart");
    assert_eq!(get(gate.gateway, "/public/x", "").status, 200);
}

#[test]
fn request_under_way_ends_by_the_rules_it_began_with() {
    let slow = Upstream::start_slow(Duration::from_millis(800));
    let other = Upstream::start();
    let rules = routes(slow.address);
    let gate = Gate::start(&rules);
    let address = gate.gateway;
    let request = thread::spawn(move || get(address, "/public/x", ""));
    until("it is under way", || !slow.seen().is_empty());
    reload(&gate, &rules, &routes(other.address));
    logged(&gate, "reloaded");
    assert_eq!(request.join().unwrap().status, 200);
    assert_eq!(slow.seen().len(), 1);
    assert_eq!(get(gate.gateway, "/public/y", "").status, 200);
    assert_eq!(other.seen().len(), 1);
}

#[test]
fn connections_stay_when_the_configuration_changes() {
    let upstream = Upstream::start();
    let rules = routes(upstream.address);
    let gate = Gate::start(&rules);
    let mut stream = TcpStream::connect(gate.gateway).unwrap();
    let mut ask = |path: &str| {
        let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        parse(read_message(&mut stream).unwrap().as_bytes()).status
    };
    assert_eq!(ask("/public/x"), 200);
    reload(&gate, "path = \"/public\"", "path = \"/open\"");
    logged(&gate, "reloaded");
    assert_eq!(ask("/public/x"), 401);
    assert_eq!(ask("/open/x"), 200);
}
