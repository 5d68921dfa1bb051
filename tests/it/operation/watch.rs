//! `server.watch`: changed files are read again without a signal.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::harness::certificate::Ca;
use crate::harness::{Gate, curl, get, realmgate, routes, stdout, until};

const WATCH: &str = "[server]\nwatch = true\n";

const UPSTREAM: &str = "[upstream.app]\npeers = [\"127.0.0.1:9\"]\n";

/// Returns a route for anyone, so that a request without an upstream is 502 there and 404 elsewhere.
fn route(path: &str) -> String {
    format!(
        "[[route]]\nname = \"{path}\"\npath = \"{path}\"\nallow = \"anyone\"\nupstream = \"app\"\n"
    )
}

/// Starts it with `first`, which may be keys of the main file, in front of the other sections.
fn start(folder: TempDir, first: &str, more: &str) -> Gate {
    let text = crate::harness::configuration(folder.path(), more);
    fs::write(
        folder.path().join("realmgate.toml"),
        format!("{first}{text}"),
    )
    .unwrap();
    Gate::start_in(folder, realmgate(&[]))
}

fn folder_of(gate: &Gate) -> std::path::PathBuf {
    gate.config().parent().unwrap().to_owned()
}

fn is_there(gate: &Gate, path: &str) -> bool {
    get(gate.gateway, path, "").status == 502
}

fn has_metric(gate: &Gate, line: &str) -> bool {
    let metrics = get(gate.metrics(), "/metrics", "").body;
    metrics.lines().any(|it| it == line)
}

/// Makes a volume as Kubernetes does: each file is a link over `..data`, which is a link to a
/// directory. [`swap`] changes all files in one step.
fn volume(folder: &Path, files: &[(&str, &[u8])]) {
    fs::create_dir_all(folder).unwrap();
    swap(folder, "..1", files);
    for (name, _) in files {
        symlink(format!("..data/{name}"), folder.join(name)).unwrap();
    }
}

fn swap(folder: &Path, version: &str, files: &[(&str, &[u8])]) {
    fs::create_dir(folder.join(version)).unwrap();
    for (name, bytes) in files {
        fs::write(folder.join(version).join(name), bytes).unwrap();
    }
    let old = fs::read_link(folder.join("..data")).ok();
    symlink(version, folder.join("..data_tmp")).unwrap();
    fs::rename(folder.join("..data_tmp"), folder.join("..data")).unwrap();
    if let Some(old) = old {
        fs::remove_dir_all(folder.join(old)).unwrap();
    }
}

#[test]
fn file_that_is_written_or_replaced_is_read_again() {
    let gate = Gate::start(&format!("{WATCH}{UPSTREAM}{}", route("/a")));
    assert!(is_there(&gate, "/a") && !is_there(&gate, "/b"));
    let text = fs::read_to_string(gate.config()).unwrap();
    fs::write(gate.config(), format!("{text}{}", route("/b"))).unwrap();
    until("the written file", || is_there(&gate, "/b"));
    let new = folder_of(&gate).join("new");
    fs::write(&new, format!("{text}{}", route("/c"))).unwrap();
    fs::rename(&new, gate.config()).unwrap();
    until("the replaced file", || is_there(&gate, "/c"));
    assert!(!is_there(&gate, "/b"));
    assert!(gate.log().contains("reloaded: a file has changed"));
}

#[test]
fn included_files_may_change_appear_and_go() {
    let folder = tempfile::tempdir().unwrap();
    let included = folder.path().join("routes.d");
    volume(&included, &[("a.toml", route("/a").as_bytes())]);
    let first = "include = [\"routes.d/*.toml\"]\n";
    let gate = start(folder, first, &format!("{WATCH}{UPSTREAM}"));
    assert!(is_there(&gate, "/a"));
    swap(&included, "..2", &[("a.toml", route("/b").as_bytes())]);
    until("the swapped file", || is_there(&gate, "/b"));
    fs::write(included.join("new.toml"), route("/c")).unwrap();
    until("the new file", || is_there(&gate, "/c"));
    fs::remove_file(included.join("new.toml")).unwrap();
    until("the file that is gone", || !is_there(&gate, "/c"));
    assert!(is_there(&gate, "/b"));
    let warning = "no file has a route, so forward-auth allows every authenticated principal";
    assert!(!gate.log().contains(warning));
    fs::remove_file(included.join("a.toml")).unwrap();
    until("the warning", || gate.log().contains(warning));
    assert!(!is_there(&gate, "/b"));
}

/// Other programs may write files beside the included ones all the time.
#[test]
fn busy_directory_of_included_files_postpones_no_change() {
    let folder = tempfile::tempdir().unwrap();
    let included = folder.path().join("routes.d");
    volume(&included, &[("a.toml", route("/a").as_bytes())]);
    let first = "include = [\"routes.d/*.toml\"]\n";
    let gate = start(folder, first, &format!("{WATCH}{UPSTREAM}"));
    let (end, over) = mpsc::channel::<()>();
    thread::scope(|scope| {
        // Dropped at the end, also after a failure.
        let _end = end;
        let state = included.join("state.json");
        scope.spawn(move || {
            let pause = Duration::from_millis(20);
            while over.recv_timeout(pause) == Err(mpsc::RecvTimeoutError::Timeout) {
                fs::write(&state, "{}").unwrap();
                fs::remove_file(&state).unwrap();
            }
        });
        fs::write(included.join("new.toml"), route("/c")).unwrap();
        until("the new file", || is_there(&gate, "/c"));
        fs::remove_file(included.join("new.toml")).unwrap();
        until("the file that is gone", || !is_there(&gate, "/c"));
    });
    assert!(is_there(&gate, "/a"));
}

#[test]
fn broken_file_changes_nothing_and_is_logged_once_until_it_is_mended() {
    let gate = Gate::start(&format!("{WATCH}{UPSTREAM}{}", route("/a")));
    let text = fs::read_to_string(gate.config()).unwrap();
    assert!(has_metric(&gate, "realmgate_config_outdated 0"));
    fs::write(gate.config(), format!("{text}nonsense = 1\n")).unwrap();
    until("the metric", || {
        has_metric(&gate, "realmgate_config_outdated 1")
    });
    let what = "a file has changed and cannot be used; the old configuration stays";
    until("the line", || gate.log().contains(what));
    assert!(
        gate.log().contains("nonsense: unknown key"),
        "{}",
        gate.log()
    );
    assert!(is_there(&gate, "/a"));
    // The next change is noticed, and so is that there is none any more.
    fs::write(gate.config(), &text).unwrap();
    until("the metric", || {
        has_metric(&gate, "realmgate_config_outdated 0")
    });
    assert!(has_metric(
        &gate,
        "realmgate_config_last_reload_successful 1"
    ));
    assert_eq!(gate.log().matches(what).count(), 1, "{}", gate.log());
    until("the line", || {
        gate.log()
            .contains("the files mean the active configuration again")
    });
    assert!(!gate.log().contains("reloaded"), "{}", gate.log());
}

#[test]
fn pipe_in_place_of_a_file_is_an_error_and_not_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let gate = start(folder, WATCH, &format!("{UPSTREAM}{}", route("/a")));
    let config = gate.config();
    let text = fs::read_to_string(&config).unwrap();
    let (aside, pipe) = (
        config.with_extension("aside"),
        config.with_extension("pipe"),
    );
    fs::write(&aside, format!("{text}{}", route("/b"))).unwrap();
    let made = std::process::Command::new("mkfifo").arg(&pipe).status();
    assert!(made.unwrap().success());
    fs::rename(&pipe, &config).unwrap();
    until("the pipe is reported", || {
        gate.log().contains("it is not a regular file")
    });
    assert!(is_there(&gate, "/a"));
    fs::rename(&aside, &config).unwrap();
    until("the file is read", || is_there(&gate, "/b"));
}

#[test]
fn emptied_file_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a.inc"), route("/a")).unwrap();
    let first = "include = [\"*.inc\"]\n";
    let gate = start(folder, first, &format!("{WATCH}{UPSTREAM}"));
    for file in [gate.config(), folder_of(&gate).join("a.inc")] {
        let text = fs::read_to_string(&file).unwrap();
        fs::write(&file, "").unwrap();
        let expected = format!("{}: is empty", file.display());
        until("the line", || gate.log().contains(&expected));
        assert!(is_there(&gate, "/a"));
        fs::write(&file, text).unwrap();
        until("the metric", || {
            has_metric(&gate, "realmgate_config_outdated 0")
        });
    }
}

#[test]
fn key_that_needs_a_restart_is_reported() {
    let gate = Gate::start(&format!("{WATCH}{UPSTREAM}{}", route("/a")));
    let text = fs::read_to_string(gate.config()).unwrap();
    fs::write(gate.config(), text.replace("watch = true", "watch = false")).unwrap();
    until("the line", || {
        gate.log().contains("server changed; restart required")
    });
    assert!(has_metric(&gate, "realmgate_config_outdated 1"));
}

/// Returns the serial number of the certificate on the wire.
fn served(ca: &Ca, at: SocketAddr) -> String {
    let output = curl()
        .args(["--cacert", &ca.file(), "-o", "/dev/null", "-w", "%{certs}"])
        .args(["--resolve", &format!("a.example:{}:{}", at.port(), at.ip())])
        .arg(format!("https://a.example:{}/", at.port()))
        .output()
        .unwrap();
    let text = stdout(&output);
    let serial = text.lines().find(|line| line.starts_with("Serial Number"));
    serial.unwrap_or_default().to_owned()
}

#[test]
fn swapped_secret_of_kubernetes_is_the_certificate_on_the_wire() {
    let ca = Ca::new();
    let pair = |name: &str| {
        let (cert, key) = ca.issue(name, "/CN=a", "DNS:a.example");
        (fs::read(cert).unwrap(), fs::read(key).unwrap())
    };
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("tls");
    let (cert, key) = pair("a");
    volume(&secret, &[("tls.crt", &cert), ("tls.key", &key)]);
    let path = |name| secret.join(name).display().to_string();
    let rest = format!(
        "tls = true\n[[certificate]]\ncert = '{}'\nkey = '{}'\n{WATCH}",
        path("tls.crt"),
        path("tls.key")
    );
    let gate = start(folder, "", &rest);
    let file = format!(
        "realmgate_certificate_expiry_timestamp_seconds{{file=\"{}\"}} ",
        path("tls.crt")
    );
    let ends = || {
        let metrics = get(gate.metrics(), "/metrics", "").body;
        let line = metrics.lines().find_map(|line| line.strip_prefix(&file));
        line.unwrap_or_else(|| panic!("{metrics}")).to_owned()
    };
    assert!(ends().parse::<u64>().unwrap() > 1_700_000_000);
    let old = served(&ca, gate.gateway);
    assert!(!old.is_empty());
    let mut times = Vec::new();
    for version in ["..2", "..3", "..4"] {
        let old = served(&ca, gate.gateway);
        let (cert, key) = pair(version);
        let began = Instant::now();
        swap(&secret, version, &[("tls.crt", &cert), ("tls.key", &key)]);
        until("the new certificate", || {
            let now = served(&ca, gate.gateway);
            !now.is_empty() && now != old
        });
        times.push(began.elapsed());
    }
    println!("from the swap to the wire: {times:?}");
    assert!(times.iter().all(|time| *time > Duration::from_millis(900)));
}

#[test]
fn pair_that_is_replaced_file_by_file_is_read_when_it_fits() {
    let ca = Ca::new();
    let server = ca.issue("a", "/CN=a", "DNS:a.example");
    let rest = format!(
        "tls = true\n[[certificate]]\ncert = '{}'\nkey = '{}'\n{WATCH}",
        server.0, server.1
    );
    let gate = Gate::start(&rest);
    let old = served(&ca, gate.gateway);
    let (cert, key) = ca.issue("b", "/CN=a", "DNS:a.example");
    fs::copy(&cert, &server.0).unwrap();
    until("the metric", || {
        has_metric(&gate, "realmgate_config_outdated 1")
    });
    assert_eq!(served(&ca, gate.gateway), old);
    fs::copy(&key, &server.1).unwrap();
    until("the new certificate", || served(&ca, gate.gateway) != old);
    until("the metric", || {
        has_metric(&gate, "realmgate_config_outdated 0")
    });
}

#[test]
fn without_the_key_no_file_is_watched() {
    let gate = Gate::start(&routes("127.0.0.1:9".parse().unwrap()));
    let text = fs::read_to_string(gate.config()).unwrap();
    fs::write(gate.config(), format!("{text}\n{}", route("/b"))).unwrap();
    // The signal is the only cause.
    gate.signal("HUP");
    until("the reload", || gate.log().contains("reloaded config="));
    assert!(!gate.log().contains("a file has changed"), "{}", gate.log());
}
