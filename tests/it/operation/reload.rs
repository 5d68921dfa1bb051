//! SIGHUP: a new configuration without a restart, completely or not at all.

use std::fs;
use std::io::Write;
use std::net::TcpStream;
use std::path::Path;
use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::harness::port::Port;
use crate::harness::{
    Gate, Upstream, audited_routes, field, get, parse, read_message, routes, until,
};

/// Replaces the routes in the file of a running realmgate, and reloads it.
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
    let metrics = get(gate.metrics(), "/metrics", "").body;
    assert!(metrics.contains(&in_force), "{in_force}{metrics}");
    assert_eq!(metrics.matches("realmgate_config_info{").count(), 1);
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
fn bad_file_is_logged_and_leaves_the_old_configuration_in_force() {
    let upstream = Upstream::start();
    let rules = routes(upstream.address);
    let gate = Gate::start(&rules);
    reload(&gate, "path = \"/public\"", "path = \"public\"");
    logged(&gate, "not reloaded; the old configuration stays");
    assert!(gate.log().contains("route[0].path"), "{}", gate.log());
    let metrics = get(gate.metrics(), "/metrics", "").body;
    let stays = "realmgate_config_last_reload_successful 0\n";
    assert!(metrics.contains(stays), "{metrics}");
    assert!(metrics.contains("realmgate_config_reloads_total{outcome=\"refused\"} 1\n"));
    assert_eq!(get(gate.gateway, "/public/x", "").status, 200);
    reload(&gate, "path = \"public\"", "path = \"/public\"");
    reload(&gate, "realmgate.db", "other.db");
    logged(&gate, "store or cache changed; restart required");
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

/// Two peers, one of which refuses connections, and an upstream that ejects it for long.
fn with_a_dead_peer(dead: &Port, good: &Upstream, more: &str) -> String {
    format!(
        "[[route]]\nname = 'all'\nallow = 'anyone'\nupstream = 'app'\n[upstream.app]\n\
         peers = ['{}', '{}']\n{more}",
        dead.address, good.address
    )
}

#[test]
fn ejections_outlive_a_reload_even_of_a_changed_upstream() {
    let (dead, good) = (Port::reserve(), Upstream::start());
    let eject = "eject_failures = 1\neject_time = '1h'\n";
    let rules = with_a_dead_peer(&dead, &good, eject);
    let gate = Gate::start(&rules);
    until("the dead peer is ejected", || {
        assert_eq!(get(gate.gateway, "/x", "").status, 200);
        gate.log().contains("gets no requests for a while")
    });
    let changed = with_a_dead_peer(&dead, &good, &format!("{eject}read_timeout = '7s'\n"));
    for (old, new) in [(&*rules, &*rules), (&rules, &changed)] {
        let before = gate.log().matches("reloaded config=").count();
        reload(&gate, old, new);
        until("the reload", || {
            gate.log().matches("reloaded config=").count() > before
        });
        for _ in 0..10 {
            assert_eq!(get(gate.gateway, "/x", "").status, 200);
        }
        let log = gate.log();
        assert_eq!(
            log.matches("connecting to a peer failed").count(),
            1,
            "{log}"
        );
    }
}

#[test]
fn health_outlives_a_reload() {
    let dead = Port::reserve();
    let good = Upstream::start();
    let check = "health_check = 'tcp'\nhealth_interval = '1h'\ntries = 1\n";
    let rules = with_a_dead_peer(&dead, &good, check);
    let gate = Gate::start(&rules);
    logged(&gate, "a peer is not healthy");
    gate.signal("HUP");
    logged(&gate, "reloaded config=");
    for _ in 0..10 {
        assert_eq!(get(gate.gateway, "/x", "").status, 200);
    }
    // No peer was checked again.
    let unhealthy = "realmgate_upstream_peers{upstream=\"app\",state=\"unhealthy\"} 1\n";
    assert!(get(gate.metrics(), "/metrics", "").body.contains(unhealthy));
    assert_eq!(gate.log().matches("a peer is not healthy").count(), 1);
}

#[test]
fn requests_under_way_count_after_a_reload() {
    let slow = Upstream::start_slow(Duration::from_secs(6));
    let rules = |timeout: &str| {
        format!(
            "[[route]]\nname = 'all'\nallow = 'anyone'\nupstream = 'app'\n[upstream.app]\n\
             peers = ['{}']\nrequests = 1\nread_timeout = '{timeout}'\n",
            slow.address
        )
    };
    let gate = Gate::start(&rules("60s"));
    let address = gate.gateway;
    let first = thread::spawn(move || get(address, "/x", "").status);
    until("it is under way", || !slow.seen().is_empty());
    reload(&gate, &rules("60s"), &rules("50s"));
    logged(&gate, "reloaded config=");
    assert_eq!(get(address, "/y", "").body, "upstream is busy\n");
    assert_eq!(first.join().unwrap(), 200);
    until("the place is free", || get(address, "/z", "").status == 200);
}

#[test]
fn connections_to_upstreams_outlive_a_reload() {
    let upstream = Upstream::start();
    let rules = routes(upstream.address);
    let gate = Gate::start(&format!("[server]\nthreads = 1\n{rules}"));
    assert_eq!(get(gate.gateway, "/public/x", "").status, 200);
    reload(&gate, "path = \"/public\"", "path = \"/open\"");
    logged(&gate, "reloaded config=");
    assert_eq!(get(gate.gateway, "/open/x", "").status, 200);
    let metrics = get(gate.metrics(), "/metrics", "").body;
    for kind in ["new", "reused"] {
        let one =
            format!("realmgate_upstream_connections_total{{upstream=\"app\",kind=\"{kind}\"}} 1");
        assert!(metrics.contains(&one), "{metrics}");
    }
}

#[test]
fn health_check_for_a_connection_needs_no_roots() {
    let upstream = Upstream::start();
    let nothing = [
        ("SSL_CERT_FILE", "/nonexistent"),
        ("SSL_CERT_DIR", "/nonexistent"),
    ];
    let rules = routes(upstream.address);
    let gate = Gate::start_with(&nothing, &rules);
    reload(&gate, "peers = [", "health_check = \"tcp\"\npeers = [");
    logged(&gate, "reloaded config=");
    assert_eq!(get(gate.gateway, "/public/x", "").status, 200);
}

/// Returns the details of the lines of the audit log about changed policies.
fn policy_changes(log: &Path) -> Vec<String> {
    let text = fs::read_to_string(log).unwrap_or_default();
    let events = text
        .lines()
        .map(|line| -> Value { serde_json::from_str(line).unwrap() });
    let events = events.filter(|event| event["event"] == "policy_changed");
    events
        .map(|event| {
            assert_eq!(event["config"].as_str().unwrap().len(), 16);
            event["detail"].as_str().unwrap().to_owned()
        })
        .collect()
}

#[test]
fn reload_logs_what_it_opens_closes_and_changes() {
    let upstream = Upstream::start();
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("audit.jsonl");
    let gate = Gate::start(&audited_routes(&log, "", upstream.address));
    reload(
        &gate,
        "path = \"/ops\"\n",
        "path = \"/ops\"\nchallenge = \"none\"\n",
    );
    logged(&gate, "changed by the reload");
    reload(&gate, "allow = \"authenticated\"", "allow = \"anyone\"");
    let opens = "opens / except /ops, /public on any host except admin.example to anyone: before route \"all\" for every \
                 authenticated principal, now route \"all\" for anyone";
    logged(&gate, "to anyone");
    let text = gate.log();
    // Quotation marks are escaped in a field.
    let sentence = |sentence: &str| format!("sentence=\"{}\"", sentence.replace('"', "\\\""));
    assert!(text.contains(&sentence(opens)), "{text}");
    assert!(
        text.contains("opens=0 closes=0 changes=1 config="),
        "{text}"
    );
    until("the audit log", || policy_changes(&log).len() >= 4);
    let found = policy_changes(&log);
    assert_eq!(found[0], "opens 0, closes 0, changes 1");
    assert_eq!(
        found[1],
        "changes /ops on any host with GET, HEAD, POST: route \"ops\": challenge realmgate, now none"
    );
    assert_eq!(found[2], "opens 2, closes 0, changes 0");
    assert_eq!(found[3], opens);
}

#[test]
fn reload_that_changes_nothing_or_is_rejected_records_no_change_of_policy() {
    let upstream = Upstream::start();
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("audit.jsonl");
    let gate = Gate::start(&audited_routes(&log, "", upstream.address));
    let same = "the reload changes nothing that routes do";
    reload(&gate, "name = \"public\"", "name = \"open\"");
    logged(&gate, same);
    reload(&gate, "path = \"/public\"", "path = \"public\"");
    logged(&gate, "not reloaded");
    // A third one, after which the second one would have been compared.
    reload(&gate, "path = \"public\"", "path = \"/public\"");
    until("the third one", || gate.log().matches(same).count() == 2);
    assert_eq!(policy_changes(&log), [""; 0]);
}

#[test]
fn summary_of_a_reload_is_bounded() {
    let upstream = Upstream::start();
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("audit.jsonl");
    let routes: String = (0..200)
        .map(|at| {
            format!(
                "[[route]]\nname = 'r{at}'\npath = '/r{at}'\nallow = [{{ realm = 'ops{at}' }}]\nupstream = 'app'\n"
            )
        })
        .collect();
    let audited = audited_routes(&log, &routes, upstream.address);
    let gate = Gate::start(&audited);
    reload(&gate, "realm = 'ops", "realm = 'dev");
    logged(&gate, "opens=200 closes=200 changes=0");
    reload(&gate, "allow = \"authenticated\"", "allow = \"anyone\"");
    logged(&gate, "opens=2 closes=0 changes=0");
    let text = gate.log();
    let (first, _) = text.split_once("opens=2 closes=0").unwrap();
    assert_eq!(first.matches("sentence=\"").count(), 20, "{text}");
    until("the audit log", || policy_changes(&log).len() >= 24);
    let found = policy_changes(&log);
    assert_eq!(found[0], "opens 200, closes 200, changes 0");
    assert_eq!(found[21], "opens 2, closes 0, changes 0");
}
