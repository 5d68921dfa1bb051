//! Three nodes behind nginx, while nodes and the PostgreSQL server are killed under load.

use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, SystemTime};

use super::cluster::{ONCE, on, readiness, status};
use crate::harness::nginx::Nginx;
use crate::harness::port::Port;
use crate::harness::postgres::Postgres;
use crate::harness::{Caller, Gate, configuration_with, get, on_server, realmgate, until};

const NODES: usize = 3;

/// Starts a node on a port that it keeps when it is started again.
fn node(store: &str, port: &Port) -> Gate {
    let folder = tempfile::tempdir().unwrap();
    let any = "[service]\nlisten = \"127.0.0.1:0\"";
    let text = configuration_with(store, ONCE);
    assert!(text.contains(any));
    let text = text.replace(any, &format!("[service]\nlisten = \"{}\"", port.address));
    std::fs::write(folder.path().join("realmgate.toml"), text).unwrap();
    Gate::start_in(folder, realmgate(&[]))
}

/// Starts nginx with one list of the nodes. A request that a killed node did not answer goes to
/// another one. nginx does not set nodes aside: it would have none left when several are restarted
/// within `fail_timeout`.
fn front(nodes: &[Port]) -> Nginx {
    let nodes: String = nodes
        .iter()
        .map(|port| format!("server {} max_fails=0; ", port.address))
        .collect();
    Nginx::start(|address| {
        let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
        let temporary = temporary.map(|name| format!("{name}_temp_path {name};"));
        let temporary = temporary.join(" ");
        format!(
            "pid nginx.pid; events {{}} http {{ access_log off; error_log /dev/null; {temporary}
            upstream realmgate {{ {nodes} keepalive 8; }}
            server {{
                listen {address};
                location / {{ auth_request /auth; try_files /none =204; }}
                location = /auth {{
                    internal;
                    proxy_pass http://realmgate/forward-auth;
                    proxy_http_version 1.1;
                    proxy_set_header Connection '';
                    proxy_set_header Content-Length '';
                    proxy_pass_request_body off;
                    proxy_connect_timeout 1s;
                    proxy_next_upstream error timeout;
                }}
            }} }}"
        )
    })
}

/// What the requests have found. All requests go through nginx.
struct Load {
    front: SocketAddr,
    has_ended: AtomicBool,
    /// The number of requests of remembered principals.
    made: AtomicUsize,
    /// What went wrong.
    wrong: Mutex<Vec<String>>,
    /// The one-time tokens that passed.
    passed: Mutex<Vec<(String, String)>>,
}

impl Load {
    fn ask(&self, caller: &Caller, token: &str) -> u16 {
        get(self.front, "/", &caller.fields_with(token)).status
    }

    /// Records what went wrong. The first few tell enough.
    fn report(&self, what: &str) {
        let mut wrong = self.wrong.lock().unwrap();
        if wrong.len() < 10 {
            let time = SystemTime::UNIX_EPOCH.elapsed().unwrap();
            wrong.push(format!("{what}, at {time:?}"));
        }
    }

    fn repeat(&self, mut request: impl FnMut()) {
        while !self.has_ended.load(Ordering::Relaxed) {
            request();
        }
    }

    fn remembered(&self, caller: &Caller) {
        self.repeat(|| match self.ask(caller, &caller.token()) {
            204 => {
                self.made.fetch_add(1, Ordering::Relaxed);
            }
            status => self.report(&format!("{} was lost: {status}", caller.name)),
        });
    }

    fn never(&self, caller: &Caller, token: impl Fn() -> String) {
        self.repeat(|| {
            if self.ask(caller, &token()) == 204 {
                self.report(&format!("{} passed", caller.name));
            }
            thread::sleep(Duration::from_millis(20));
        });
    }

    fn once(&self, callers: &[Caller]) {
        let mut turn = callers.iter().cycle();
        self.repeat(|| {
            let caller = turn.next().unwrap();
            let token = caller.token();
            if self.ask(caller, &token) == 204 {
                let mut passed = self.passed.lock().unwrap();
                passed.push((caller.name.clone(), token));
            }
        });
    }
}

#[test]
fn killing_any_node_and_the_primary_loses_no_remembered_caller_and_permits_nobody_else() {
    let primary = Postgres::start();
    let standby = primary.standby();
    let folder = tempfile::tempdir().unwrap();
    let hosts = format!("{},{}", primary.address(), standby.address());
    let store = on_server(folder.path(), &on(hosts));
    let ports: [Port; NODES] = std::array::from_fn(|_| Port::reserve());
    let mut nodes: Vec<_> = ports.iter().map(|port| node(&store, port)).collect();
    let nginx = front(&ports);

    let one = &nodes[0];
    let known: Vec<_> = (0..3)
        .map(|n| one.register(&format!("known{n}"), "payments"))
        .collect();
    let single: Vec<_> = (0..12)
        .map(|n| one.register(&format!("single{n}"), "once"))
        .collect();
    let guessed = one.register("guessed", "payments");
    let disabled = one.register("disabled", "payments");
    let stranger = one.register("stranger", "payments");
    let who = ["--name", "disabled", "--realm", "payments"];
    let disable = one.run(&[&["identity", "disable"][..], &who].concat());
    assert!(disable.status.success());
    let remember = |node: &Gate| {
        for caller in &known {
            until("remembered", || status(node, caller) == 200);
        }
    };
    nodes.iter().for_each(remember);
    until("replicated", || {
        let sql = "SELECT count(*) FROM identity WHERE state = 'disabled' OR name = 'stranger'";
        standby.try_query(sql).is_ok_and(|it| it == "2")
    });

    let load = Load {
        front: nginx.address,
        has_ended: AtomicBool::default(),
        made: AtomicUsize::default(),
        wrong: Mutex::default(),
        passed: Mutex::default(),
    };
    let restarted = |nodes: &mut Vec<Gate>, at: usize| {
        let node = nodes.remove(at);
        nodes.insert(at, node.restart());
        remember(&nodes[at]);
    };
    let more = |count: usize| {
        let target = load.made.load(Ordering::Relaxed) + count;
        until("requests", || load.made.load(Ordering::Relaxed) >= target);
    };
    thread::scope(|scope| {
        for caller in &known {
            scope.spawn(|| load.remembered(caller));
        }
        for half in single.chunks(6) {
            // Two at a time, so that two nodes get the same token.
            scope.spawn(|| load.once(half));
            scope.spawn(|| load.once(half));
        }
        scope.spawn(|| load.never(&guessed, || guessed.wrong_token()));
        scope.spawn(|| load.never(&disabled, || disabled.token()));
        // The load ends even if this fails.
        let script = std::panic::AssertUnwindSafe(|| {
            more(50);
            for at in 0..NODES {
                restarted(&mut nodes, at);
                more(50);
            }
            primary.kill();
            until("the primary is dead", || primary.has_ended());
            more(100);
            // A node dies too. It cannot start again before there is a primary.
            nodes[0].child.kill().unwrap();
            more(100);
            assert_eq!(standby.query("SELECT pg_promote()"), "t");
            until("strangers pass", || {
                load.ask(&stranger, &stranger.token()) == 204
            });
            restarted(&mut nodes, 0);
            for node in &nodes {
                until("ready", || readiness(node) == 200);
            }
            more(100);
        });
        let outcome = std::panic::catch_unwind(script);
        load.has_ended.store(true, Ordering::Relaxed);
        if let Err(panic) = outcome {
            std::panic::resume_unwind(panic);
        }
    });
    let wrong = load.wrong.into_inner().unwrap();
    let logs = || nodes.iter().map(Gate::log).collect::<Vec<_>>().join("\n\n");
    assert!(wrong.is_empty(), "{wrong:?}\n{}", logs());
    let mut passed = load.passed.into_inner().unwrap();
    assert!(!passed.is_empty());
    let all = passed.len();
    passed.sort();
    passed.dedup();
    assert_eq!(passed.len(), all, "one-time tokens passed twice");
}
