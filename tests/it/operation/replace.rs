//! Replaces the binary while it serves, and notifies the service manager.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::harness::{
    Gate, PATIENCE, Upstream, field, get, read_message, realmgate, routes, until,
};

/// A realmgate whose program is a file that can be replaced.
struct Installed {
    gate: Gate,
    folder: TempDir,
}

impl Installed {
    fn start(more: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("realmgate");
        symlink(realmgate(&[]).get_program(), &program).unwrap();
        let mut command = Command::new(program);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("REALMGATE_") {
                command.env_remove(name);
            }
        }
        Self {
            gate: Gate::start_as(command, more),
            folder,
        }
    }

    fn program(&self) -> PathBuf {
        self.folder.path().join("realmgate")
    }

    /// Replaces the program by a shell script in one step, as a package manager would.
    fn install(&self, script: &str) {
        let draft = self.folder.path().join("draft");
        fs::write(&draft, format!("#!/bin/bash\n{script}\n")).unwrap();
        fs::set_permissions(&draft, fs::Permissions::from_mode(0o755)).unwrap();
        fs::rename(draft, self.program()).unwrap();
    }

    /// Replaces the program by one that writes `mark` and then becomes realmgate.
    fn install_good(&self, mark: &Path) {
        let real = realmgate(&[]).get_program().to_owned();
        let real = real.to_string_lossy();
        self.install(&format!(
            "echo here >>'{}'\nexec -a \"$0\" '{real}' \"$@\"",
            mark.display()
        ));
    }

    /// Replaces the process, and waits until the new one serves and the old one has ended.
    fn replace(&mut self) {
        let old = self.gate.pid();
        self.gate.signal("USR2");
        until("another process", || self.gate.pid() != old);
        if old == self.gate.child.id() {
            until("the end of the old one", || {
                self.gate.child.try_wait().unwrap().is_some()
            });
            assert!(self.gate.child.wait().unwrap().success());
        } else {
            until("the end of the old one", || {
                !Path::new(&format!("/proc/{old}")).exists()
            });
        }
    }
}

/// Sends requests without pause until stopped. Counts successes, and records failures.
struct Traffic {
    stop: Arc<AtomicBool>,
    good: Arc<AtomicUsize>,
    threads: Vec<JoinHandle<Result<(), String>>>,
}

impl Traffic {
    fn start(address: SocketAddr) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let good = Arc::new(AtomicUsize::new(0));
        let threads = (0..6)
            .map(|n| {
                let (stop, good) = (Arc::clone(&stop), Arc::clone(&good));
                thread::spawn(move || {
                    let mut kept = None;
                    while !stop.load(Ordering::Relaxed) {
                        if n % 2 == 0 {
                            kept = None;
                        }
                        ask(address, &mut kept)?;
                        good.fetch_add(1, Ordering::Relaxed);
                    }
                    Ok(())
                })
            })
            .collect();
        Self {
            stop,
            good,
            threads,
        }
    }

    /// Waits for `count` further successes.
    fn more(&self, count: usize) {
        let before = self.good.load(Ordering::Relaxed);
        until("requests go on", || {
            self.threads.iter().any(JoinHandle::is_finished)
                || self.good.load(Ordering::Relaxed) >= before + count
        });
    }

    fn end(self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads {
            assert_eq!(thread.join().unwrap(), Ok(()));
        }
    }
}

/// An idle connection may be closed after this time, so a request on it may be lost before it is
/// sent.
const IDLE: Duration = Duration::from_millis(200);

/// Sends a request on the persistent connection, or on a new one.
fn ask(address: SocketAddr, kept: &mut Option<(TcpStream, Instant)>) -> Result<(), String> {
    let since = kept.as_ref().map(|(_, since)| *since);
    let stream = match kept.take() {
        Some((stream, _)) => Ok(stream),
        None => TcpStream::connect(address),
    };
    let mut stream = stream.map_err(|error| format!("connect: {error}"))?;
    let sent = stream.write_all(b"POST /public HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi");
    let reply = sent.ok().and_then(|()| read_message(&mut stream));
    match reply {
        Some(reply) if reply.starts_with("HTTP/1.1 200 ") => {
            if field(&reply, "Connection") != Some("close") {
                *kept = Some((stream, Instant::now()));
            }
            Ok(())
        }
        None if since.is_some_and(|since| since.elapsed() > IDLE) => ask(address, kept),
        other => Err(format!("kept: {}, {other:?}", since.is_some())),
    }
}

#[test]
fn replacing_the_binary_twice_loses_no_request() {
    let upstream = Upstream::start();
    let mut installed = Installed::start(&routes(upstream.address));
    let first = installed.gate.pid();
    let traffic = Traffic::start(installed.gate.gateway);
    let other = Traffic::start(installed.gate.gateway);
    let mark = installed.folder.path().join("mark");
    installed.install_good(&mark);
    traffic.more(100);
    for times in 1..=2 {
        installed.replace();
        let marks = fs::read_to_string(&mark).unwrap();
        assert_eq!(marks.lines().count(), times, "not what is at the path now");
        traffic.more(100);
    }
    traffic.end();
    other.end();
    assert_ne!(installed.gate.pid(), first);
    assert!(installed.gate.log().contains("replaced; shutting down"));
}

#[test]
fn request_under_way_is_answered_by_the_process_that_was_replaced() {
    let upstream = Upstream::start_slow(Duration::from_secs(2));
    let mut installed = Installed::start(&routes(upstream.address));
    let address = installed.gate.gateway;
    let request = thread::spawn(move || get(address, "/public/slow", ""));
    until("the upstream has it", || upstream.seen().len() == 1);
    installed.replace();
    assert_eq!(request.join().unwrap().status, 200);
    assert_eq!(upstream.seen().len(), 1);
}

#[test]
fn identities_are_the_same_before_and_after() {
    let upstream = Upstream::start();
    let mut installed = Installed::start(&routes(upstream.address));
    let before = installed.gate.register("before", "r");
    let passes =
        |gate: &Gate, fields: &str| get(gate.service, "/forward-auth", fields).status == 200;
    assert!(passes(&installed.gate, &before.fields()));
    installed.replace();
    let after = installed.gate.register("after", "r");
    assert!(passes(&installed.gate, &before.fields()));
    assert!(passes(&installed.gate, &after.fields()));
}

/// Makes a replacement fail, and checks that it changed nothing.
fn fails(installed: &Installed, expected: &str) {
    let old = installed.gate.pid();
    let count = |what: &str| installed.gate.log().matches(what).count();
    let reported = count("not replaced; this process continues");
    installed.gate.signal("USR2");
    until("it is reported", || {
        count("not replaced; this process continues") > reported
    });
    let log = installed.gate.log();
    assert!(log.contains(expected), "{expected}: {log}");
    assert_eq!(installed.gate.pid(), old);
    assert_eq!(get(installed.gate.gateway, "/public", "").status, 200);
}

#[test]
fn replacement_that_fails_leaves_the_old_process_in_force() {
    let upstream = Upstream::start();
    let mut installed = Installed::start(&routes(upstream.address));
    let config = fs::read_to_string(installed.gate.config()).unwrap();
    let traffic = Traffic::start(installed.gate.gateway);

    fs::write(installed.gate.config(), format!("{config}\nwrong = 1\n")).unwrap();
    fails(&installed, "unknown");
    fails(&installed, "exited before it was ready: exit status: 2");
    fs::write(installed.gate.config(), &config).unwrap();

    installed.install("exit 7");
    fails(&installed, "exited before it was ready: exit status: 7");
    installed.install("kill -s SEGV $$");
    fails(&installed, "exited before it was ready: signal: 11");
    fs::remove_file(installed.program()).unwrap();
    fails(&installed, "realmgate: cannot be started: No such file");
    fs::write(installed.program(), "no program").unwrap();
    fails(
        &installed,
        "realmgate: cannot be started: Permission denied",
    );

    // The next valid program replaces the process.
    let mark = installed.folder.path().join("mark");
    installed.install_good(&mark);
    traffic.more(10);
    installed.replace();
    traffic.more(10);
    traffic.end();
}

#[test]
fn replacement_that_hangs_is_given_up_after_the_grace() {
    let upstream = Upstream::start();
    let rules = routes(upstream.address);
    let installed = Installed::start(&format!("[shutdown]\ngrace = \"1s\"\n{rules}"));
    let mark = installed.folder.path().join("mark");
    installed.install(&format!("echo $$ >'{}'\nexec sleep 1000", mark.display()));
    fails(&installed, "was not ready within 1s");
    if let Ok(pid) = fs::read_to_string(&mark) {
        assert!(!Path::new(&format!("/proc/{}", pid.trim())).exists());
    }
}

#[test]
fn shutdown_during_a_replacement_ends_both() {
    let upstream = Upstream::start();
    let mut installed = Installed::start(&routes(upstream.address));
    let mark = installed.folder.path().join("mark");
    installed.install(&format!("echo $$ >'{}'\nexec sleep 1000", mark.display()));
    installed.gate.signal("USR2");
    until("the new one runs", || {
        fs::read_to_string(&mark).is_ok_and(|pid| pid.ends_with('\n'))
    });
    let new = fs::read_to_string(&mark).unwrap();
    installed.gate.signal("TERM");
    until("the end", || {
        installed.gate.child.try_wait().unwrap().is_some()
    });
    assert!(installed.gate.child.wait().unwrap().success());
    assert!(!Path::new(&format!("/proc/{}", new.trim())).exists());
}

/// Returns whether a process has ended, even as a zombie.
fn has_ended(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"));
    stat.is_ok_and(|stat| stat.contains(") Z ")) || !Path::new(&format!("/proc/{pid}")).exists()
}

/// The new process may have read the configuration before it changed. The signal arrives at another
/// moment each time: before it reads the configuration, before it serves, while the old process
/// shuts down.
#[test]
fn hangup_during_a_replacement_reaches_the_successor() {
    let upstream = Upstream::start();
    let installed = Installed::start(&routes(upstream.address));
    let gate = &installed.gate;
    let text = fs::read_to_string(gate.config()).unwrap();
    let mut before = "/public".to_owned();
    for round in 0..24 {
        let old = gate.pid();
        // An incomplete request keeps the old process alive until its connection is closed.
        let mut kept = TcpStream::connect(gate.gateway).unwrap();
        let begun = format!("POST {before} HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n1");
        kept.write_all(begun.as_bytes()).unwrap();
        until("the request is under way", || {
            let in_flight = "realmgate_upstream_requests_in_flight{upstream=\"app\"} 1";
            get(gate.metrics(), "/metrics", "").body.contains(in_flight)
        });
        gate.signal("USR2");
        thread::sleep(Duration::from_millis(5 * round));
        let path = format!("/public{round}");
        let changed = text.replace("\"/public\"", &format!("{path:?}"));
        // In one step, because the new process may be reading it.
        let draft = installed.folder.path().join("draft");
        fs::write(&draft, changed).unwrap();
        fs::rename(draft, gate.config()).unwrap();
        let status = Command::new("kill")
            .args(["-s", "HUP", &old.to_string()])
            .status();
        assert!(status.unwrap().success(), "round {round}");
        let deadline = Instant::now() + PATIENCE;
        while get(gate.gateway, &path, "").status != 200 {
            assert!(Instant::now() < deadline, "round {round}: {}", gate.log());
            thread::sleep(Duration::from_millis(10));
        }
        drop(kept);
        until("the end of the old one", || has_ended(old));
        before = path;
    }
    let log = gate.log();
    let handed_on = log.matches("signal passed to the new process").count();
    assert!(handed_on > 12, "{handed_on}: {log}");
}

/// The notifications that the service manager received.
struct Manager {
    socket: UnixDatagram,
    reported: Vec<String>,
}

impl Manager {
    fn new(path: &Path) -> Self {
        let socket = UnixDatagram::bind(path).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self {
            socket,
            reported: Vec::new(),
        }
    }

    /// Receives messages until one begins with `what`, and returns it.
    fn hears(&mut self, what: &str) -> String {
        let mut buffer = [0; 1024];
        loop {
            let Ok(length) = self.socket.recv(&mut buffer) else {
                panic!("not reported {what}: {:?}", self.reported);
            };
            let message = String::from_utf8_lossy(&buffer[..length]).into_owned();
            self.reported.push(message.clone());
            if message.starts_with(what) {
                return message;
            }
        }
    }
}

#[test]
fn service_manager_is_notified_of_start_reload_replacement_and_end() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let mut manager = Manager::new(&path);
    let environment = [
        ("NOTIFY_SOCKET", path.to_str().unwrap()),
        ("WATCHDOG_USEC", "200000"),
    ];
    let mut gate = Gate::start_with(&environment, "");
    assert_eq!(manager.hears("READY"), "READY=1\n");
    assert_eq!(manager.hears("WATCHDOG"), "WATCHDOG=1\n");
    assert_eq!(manager.hears("WATCHDOG"), "WATCHDOG=1\n");
    gate.signal("HUP");
    let reloading = manager.hears("RELOADING");
    let now = reloading
        .strip_prefix("RELOADING=1\nMONOTONIC_USEC=")
        .unwrap();
    assert!(now.trim_end().parse::<u64>().unwrap() > 0);
    manager.hears("READY");
    let old = gate.pid();
    gate.signal("USR2");
    let main = manager.hears("MAINPID");
    assert_ne!(gate.pid(), old);
    assert_eq!(main, format!("MAINPID={}\n", gate.pid()));
    until("the end of the old one", || {
        gate.child.try_wait().unwrap().is_some()
    });
    manager.hears("WATCHDOG");
    // The old process must not send this, or systemd would stop its successor.
    assert!(!manager.reported.iter().any(|it| it.starts_with("STOPPING")));
    gate.signal("TERM");
    assert_eq!(manager.hears("STOPPING"), "STOPPING=1\n");
}

#[test]
fn ready_file_of_the_old_process_stays_until_the_new_one_serves() {
    let upstream = Upstream::start();
    let mut installed = Installed::start(&routes(upstream.address));
    let old = installed.gate.pid();
    installed.install("exec sleep 1000");
    installed.gate.signal("USR2");
    until("it starts", || {
        installed.gate.log().contains("starting a replacement")
    });
    assert_eq!(installed.gate.pid(), old);
    let mut stream = TcpStream::connect(installed.gate.gateway).unwrap();
    stream.write_all(b"GET /public HTTP/1.0\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    assert!(text.contains(" 200 "), "{text}");
    // The signal also ends the new process that is not ready.
    installed.gate.signal("TERM");
    until("the end", || {
        installed.gate.child.try_wait().unwrap().is_some()
    });
}

#[test]
fn metrics_listener_continues_in_the_successor() {
    let mut installed = Installed::start("");
    let at = installed.gate.metrics();
    assert_eq!(get(at, "/readyz", "").status, 200);
    installed.replace();
    assert_eq!(get(at, "/readyz", "").status, 200);
    let ready = fs::read_to_string(installed.gate.config().with_file_name("ready.json")).unwrap();
    assert!(ready.contains(&format!("\"metrics\":\"{at}\"")), "{ready}");
}
