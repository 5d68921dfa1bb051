//! The keep-alive times of the front proxies in `deploy/` must be shorter than realmgate's. The
//! side that closes first loses no request; the other side may be sending the next one.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Where a file has the time: the text before the number, within a part of the file.
struct Place {
    file: &'static str,
    /// The beginning of the part.
    part: &'static str,
    before: &'static str,
}

const fn place(file: &'static str, part: &'static str, before: &'static str) -> Place {
    Place { file, part, before }
}

const PLACES: [Place; 8] = [
    place("caddy/Caddyfile", "forward_auth ", "keepalive "),
    place("envoy/http.yaml", "- name: realmgate", "idle_timeout: "),
    place("envoy/grpc.yaml", "- name: realmgate", "idle_timeout: "),
    place(
        "kubernetes/ingress-nginx.yaml",
        "annotations:",
        "auth-keepalive-timeout: \"",
    ),
    place(
        "nginx/realmgate.conf",
        "upstream realmgate",
        "keepalive_timeout ",
    ),
    // These are not configurable; the files mention them in comments.
    place("haproxy/realmgate.lua", "-- HAProxy closes", "within "),
    place("kubernetes/traefik.yaml", "# Traefik closes", "after "),
    place("traefik/dynamic.yml", "# Traefik closes", "after "),
];

/// Files without such a setting: the program that sends auth requests is configured elsewhere.
const OTHERS: [&str; 2] = ["docker/compose.yaml", "kubernetes/gateway-api.yaml"];

fn deploy() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy")
}

/// Parses a number of seconds.
fn seconds(text: &str) -> Duration {
    let digits: String = text.chars().take_while(char::is_ascii_digit).collect();
    Duration::from_secs(digits.parse().unwrap())
}

/// Returns the default of `timeouts.keep_alive` from the reference configuration.
fn of_realmgate() -> Duration {
    let reference = deploy().join("../config/realmgate.toml");
    let reference = fs::read_to_string(reference).unwrap();
    let (_, after) = reference.split_once("#keep_alive = \"").unwrap();
    seconds(after)
}

#[test]
fn every_front_proxy_closes_idle_connections_before_realmgate_does() {
    for Place { file, part, before } in PLACES {
        let text = fs::read_to_string(deploy().join(file)).unwrap();
        let (_, within) = text.split_once(part).unwrap_or_else(|| panic!("{file}"));
        let (_, number) = within
            .split_once(before)
            .unwrap_or_else(|| panic!("{file}"));
        let idle = seconds(number);
        assert!(idle < of_realmgate(), "{file}: {idle:?}");
        assert!(!idle.is_zero(), "{file}");
    }
}

#[test]
fn no_file_that_asks_realmgate_is_left_out() {
    let (mut files, mut folders) = (Vec::new(), vec![deploy()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let list = if path.is_dir() {
                &mut folders
            } else {
                &mut files
            };
            list.push(path);
        }
    }
    for path in files {
        let text = fs::read_to_string(&path).unwrap();
        let name = path
            .strip_prefix(deploy())
            .unwrap()
            .to_str()
            .unwrap()
            .to_owned();
        let asks = text
            .lines()
            .filter(|line| !line.trim_start().starts_with('#'));
        let asks = asks.filter(|line| {
            line.contains("8081") || line.contains("/forward-auth") || line.contains("ExternalAuth")
        });
        let is_known = PLACES.iter().any(|place| place.file == name) || OTHERS.contains(&&*name);
        // realmgate's own files only contain its addresses.
        let is_own = [
            "kubernetes/realmgate.yaml",
            "docker/Dockerfile",
            "docker/cluster.yaml",
        ]
        .contains(&&*name)
            || name.starts_with("systemd/")
            || name.starts_with("kubernetes/cluster/");
        assert!(is_known || is_own || asks.count() == 0, "{name}");
    }
}
