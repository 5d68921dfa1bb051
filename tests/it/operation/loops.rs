//! Event loops: connections are spread evenly, each is served as often as the others, and background work delays none.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinSet;

use crate::harness::{Gate, Upstream, field, get, policies, read_message, routes, until};

const TWO: &str = "[server]\nthreads = 2\n";

/// Returns the connections of each loop.
fn loads(gate: &Gate) -> Vec<usize> {
    let metrics = get(gate.metrics(), "/metrics", "").body;
    let lines = metrics.lines().filter_map(|line| {
        let (number, count) = line
            .strip_prefix("realmgate_loop_connections{loop=\"")?
            .split_once("\"} ")?;
        Some((number.parse().unwrap(), count.parse().unwrap()))
    });
    let mut loads: Vec<(usize, usize)> = lines.collect();
    loads.sort_unstable();
    loads.into_iter().map(|(_, count)| count).collect()
}

/// Connects, and asks once, so that the connection is served.
fn connection(address: SocketAddr, path: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    ask(&mut stream, path);
    stream
}

fn ask(stream: &mut TcpStream, path: &str) {
    write!(stream, "GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    let reply = read_message(stream).unwrap();
    assert!(reply.starts_with("HTTP/1.1 200"), "{reply}");
}

#[test]
fn few_connections_of_a_front_proxy_spread_evenly_over_the_loops_of_each_listener() {
    let upstream = Upstream::start();
    let gate = Gate::start(&format!("{TWO}{}", routes(upstream.address)));
    let service: Vec<_> = (0..8)
        .map(|_| connection(gate.service, "/healthz"))
        .collect();
    assert_eq!(loads(&gate), [4, 4]);
    let proxy: Vec<_> = (0..8)
        .map(|_| connection(gate.gateway, "/public"))
        .collect();
    assert_eq!(loads(&gate), [8, 8]);
    drop(service);
    until("the loops are equally loaded", || loads(&gate) == [4, 4]);
    drop(proxy);
    until("the loops are idle", || loads(&gate) == [0, 0]);
}

#[test]
fn loop_that_lost_connections_gets_the_next() {
    let gate = Gate::start_without_proxy(&[], &format!("{TWO}{}", policies()));
    let mut all: Vec<_> = (0..8)
        .map(|_| connection(gate.service, "/healthz"))
        .collect();
    // Every second is on the other loop.
    let mut number = 0;
    all.retain(|_| {
        number += 1;
        number % 2 == 0
    });
    until("one loop is idle", || loads(&gate).contains(&0));
    all.extend((0..4).map(|_| connection(gate.service, "/healthz")));
    assert_eq!(loads(&gate), [4, 4]);
}

/// Holds up the main thread, and with it the background loop, whenever it waits for events. The other threads go on.
struct Held(Child);

impl Held {
    fn of(pid: u32) -> Self {
        let hour = Duration::from_secs(3600).as_micros();
        let mut strace = Command::new("strace")
            .args([
                "-o",
                "/dev/null",
                "-e",
                "trace=epoll_wait,epoll_pwait,epoll_pwait2",
                "-e",
            ])
            .arg(format!(
                "inject=epoll_wait,epoll_pwait,epoll_pwait2:delay_exit={hour}"
            ))
            .args(["-p", &pid.to_string()])
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let said = strace.stderr.as_mut().unwrap();
        BufReader::new(said).read_line(&mut line).unwrap();
        assert!(line.contains("attached"), "{line}");
        Self(strace)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Says whether the metrics listener, which the background loop serves, answers soon.
fn background_answers(gate: &Gate) -> bool {
    let mut stream = TcpStream::connect(gate.metrics()).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_millis(500)))
        .unwrap();
    write!(stream, "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    stream.read(&mut [0]).is_ok()
}

#[test]
fn blocked_background_task_delays_no_request() {
    let upstream = Upstream::start();
    let gate = Gate::start(&format!("{TWO}{}", routes(upstream.address)));
    let [known, new] = ["alice", "bob"].map(|name| gate.register(name, "dev"));
    assert_eq!(get(gate.gateway, "/x", &known.fields()).status, 200);
    let held = Held::of(gate.pid());
    until("the background loop is blocked", || {
        !background_answers(&gate)
    });
    // From memory, from the database, rejected, and realmgate's own endpoints.
    for _ in 0..4 {
        assert_eq!(get(gate.gateway, "/x", &known.fields()).status, 200);
        assert_eq!(get(gate.gateway, "/x", &new.fields()).status, 200);
        assert_eq!(get(gate.gateway, "/x", "").status, 401);
        assert_eq!(get(gate.service, "/readyz", "").status, 200);
        let described = format!(
            "{}X-Original-URL: http://a/x\r\nX-Original-Method: GET\r\n",
            new.fields()
        );
        assert_eq!(
            get(gate.service, "/forward-auth/nginx", &described).status,
            200
        );
    }
    // The background loop was blocked all the time.
    assert!(!background_answers(&gate));
    drop(held);
}

/// More than the queues of a scheduler hold: tokio's with several threads keeps 256 tasks in one.
const MANY: usize = 1024;

#[test]
fn many_connections_are_served_equally_often_under_saturation() {
    let limits = "[limits]\nconnections = 4000\nconnections_per_address = 4000\nrequests = 4000\n";
    let more = format!("[server]\nthreads = 1\n{limits}{}", policies());
    let gate = Gate::start_without_proxy(&[], &more);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let served = runtime.block_on(saturate(gate.service));
    let (least, most) = (*served.iter().min().unwrap(), *served.iter().max().unwrap());
    assert!(
        2 * most <= 3 * least,
        "a connection was served {least} times, another {most} times"
    );
}

/// Asks over many connections at once, each again as soon as it is answered, and returns how often each was answered
/// until all together had 16 answers a connection.
async fn saturate(address: SocketAddr) -> Vec<usize> {
    let mut streams = Vec::new();
    for _ in 0..MANY {
        streams.push(tokio::net::TcpStream::connect(address).await.unwrap());
    }
    let total = Arc::new(AtomicUsize::new(0));
    let mut all = JoinSet::new();
    for mut stream in streams {
        let total = Arc::clone(&total);
        all.spawn(async move {
            let mut served = 0;
            let mut reply = [0; 1024];
            while total.load(Ordering::Relaxed) < 16 * MANY {
                stream
                    .write_all(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n")
                    .await
                    .unwrap();
                let length = stream.read(&mut reply).await.unwrap();
                let reply = String::from_utf8_lossy(&reply[..length]).into_owned();
                assert_eq!(field(&reply, "Content-Length"), Some("3"), "{reply}");
                served += 1;
                total.fetch_add(1, Ordering::Relaxed);
            }
            served
        });
    }
    all.join_all().await
}
