//! The real front proxies, each run with its files from `deploy/`, in which only the addresses are
//! replaced.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;

use crate::harness::{get, program as harness};

/// A front proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Program {
    Nginx,
    Traefik,
    Caddy,
    Haproxy,
    /// With realmgate as an HTTP service.
    Envoy,
    /// The same over HTTP/2.
    EnvoyHttp2,
    /// With realmgate as a gRPC service.
    EnvoyGrpc,
}

/// A running front proxy in a directory of its own. Stopped on drop.
pub(super) struct Running {
    pub(super) program: Program,
    pub(super) address: SocketAddr,
    process: harness::Program,
}

impl Program {
    /// Returns the files in `deploy/`; the first is the main one.
    fn files(self) -> &'static [&'static str] {
        match self {
            Self::Nginx => &["nginx/realmgate.conf"],
            Self::Traefik => &["traefik/traefik.yml", "traefik/dynamic.yml"],
            Self::Caddy => &["caddy/Caddyfile"],
            Self::Haproxy => &["haproxy/haproxy.cfg", "haproxy/realmgate.lua"],
            Self::Envoy | Self::EnvoyHttp2 => &["envoy/http.yaml"],
            Self::EnvoyGrpc => &["envoy/grpc.yaml"],
        }
    }

    pub(super) fn is_envoy(self) -> bool {
        matches!(self, Self::Envoy | Self::EnvoyHttp2 | Self::EnvoyGrpc)
    }

    /// Returns whether its file can remove headers by prefix, and change responses by status.
    pub(super) fn removes_families(self) -> bool {
        !matches!(self, Self::Nginx | Self::Traefik)
    }

    fn command(self, folder: &Path, file: &Path) -> Command {
        let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tools/bin");
        match self {
            Self::Nginx => {
                let mut command = Command::new("nginx");
                command.arg("-p").arg(folder).arg("-c").arg(file);
                command.args(["-e", "error.log", "-g", "daemon off;"]);
                command
            }
            Self::Traefik => {
                let mut command = Command::new(tools.join("traefik"));
                command.arg("--configFile").arg(file);
                command
            }
            Self::Caddy => {
                let mut command = Command::new(tools.join("caddy"));
                command.args(["run", "--adapter", "caddyfile", "--config"]);
                command.arg(file);
                command
            }
            Self::Haproxy => {
                let mut command = Command::new("haproxy");
                command.args(["-db", "-f"]).arg(file);
                command
            }
            Self::Envoy | Self::EnvoyHttp2 | Self::EnvoyGrpc => {
                let mut command = Command::new(tools.join("envoy"));
                command.args(["--disable-hot-restart", "--concurrency", "1"]);
                command.args(["--log-level", "warn", "-c"]).arg(file);
                command
            }
        }
    }

    /// Starts it between clients, realmgate and the application. `edit` makes changes beyond the
    /// addresses, as a reader of the file might.
    pub(super) fn start(
        self,
        realmgate: SocketAddr,
        app: SocketAddr,
        edit: fn(String) -> String,
    ) -> Running {
        let asked = match self {
            Self::EnvoyGrpc => 8082,
            _ => 8081,
        };
        self.launch(|address, _, text| {
            let mut replaced = 0;
            let mut text = text;
            for (port, with) in [(asked, realmgate), (9000, app), (8088, address)] {
                let (before, count) = (text.clone(), replaced);
                text = replace_address(&text, port, with);
                replaced = count + usize::from(text != before);
            }
            if self == Self::EnvoyHttp2 {
                let (before, after) = (
                    "{ http_protocol_options: {} }",
                    "{ http2_protocol_options: {} }",
                );
                assert!(text.contains(before), "{text}");
                text = text.replace(before, after);
            }
            (edit(text), replaced)
        })
    }

    /// Starts it with other versions of some files.
    pub(super) fn start_with(self, others: &[(&str, &str)]) -> Running {
        self.launch(|address, name, text| {
            let other = others.iter().find(|(other, _)| *other == name);
            let text = other.map_or(text, |(_, text)| (*text).to_owned());
            (replace_address(&text, 8088, address), 3)
        })
    }

    /// Starts it with the files that `prepare` returns for the listening address, the name and the
    /// text of each. `prepare` also returns how many of the three addresses it has replaced.
    fn launch(self, prepare: impl Fn(SocketAddr, &str, String) -> (String, usize)) -> Running {
        let process = harness::Program::start(
            |address, folder| {
                let mut replaced = 0;
                for file in self.files() {
                    let path = Path::new(env!("CARGO_MANIFEST_DIR"));
                    let path = path.join("deploy").join(file);
                    let name = path.file_name().unwrap().to_str().unwrap();
                    let text = fs::read_to_string(&path).unwrap();
                    let (text, count) = prepare(address, name, text);
                    replaced += count;
                    fs::write(folder.join(name), text).unwrap();
                }
                assert!(replaced >= 3, "an address does not stand in the files");
                let first = Path::new(self.files()[0]).file_name().unwrap();
                let mut command = self.command(folder, &folder.join(first));
                command.env("HOME", folder);
                command
            },
            // Traefik listens before it has loaded its routers.
            |process| {
                let address = process.address;
                TcpStream::connect(address).is_ok() && get(address, "/", "").status != 404
            },
        );
        Running {
            program: self,
            address: process.address,
            process,
        }
    }
}

/// Replaces `127.0.0.1:PORT` by an address, in every form in which the files contain it.
fn replace_address(text: &str, port: u16, with: SocketAddr) -> String {
    let envoy = "address: 127.0.0.1, port_value:";
    text.replace(&format!("127.0.0.1:{port}"), &with.to_string())
        .replace(
            &format!("{envoy} {port}"),
            &format!("{envoy} {}", with.port()),
        )
        .replace(
            &format!("http://:{port} {{"),
            &format!("http://:{} {{", with.port()),
        )
}

impl Running {
    /// Returns its output.
    pub(super) fn log(&self) -> String {
        self.process.log()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // The others have no workers to stop, and would wait for open connections.
        if self.program != Program::Nginx {
            self.process.kill();
        }
    }
}
