//! Application servers with an application that reports the request it sees.

use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::harness::program::Program;

/// The name of the Unix socket.
const SOCKET: &str = "socket";

/// An application server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Server {
    /// With Flask.
    Gunicorn,
    /// With Flask.
    Uwsgi,
    /// With Rack.
    Unicorn,
    /// With Rack.
    Puma,
}

/// A running server on a port and on a Unix socket. Stopped on drop.
pub(super) struct Running(Program);

impl Server {
    fn command(self, address: SocketAddr, socket: &Path) -> Command {
        let project = Path::new(env!("CARGO_MANIFEST_DIR"));
        let tools = project.join("target/tools");
        let applications = project.join("tests/it/proxy/servers");
        let rack = applications.join("config.ru");
        let socket = socket.display();
        let mut command;
        match self {
            Self::Gunicorn => {
                command = Command::new(tools.join("bin/gunicorn"));
                command.args(["--bind", &address.to_string()]);
                command.args(["--bind", &format!("unix:{socket}")]);
                command.args(["--threads", "4", "--graceful-timeout", "1", "--chdir"]);
                command.arg(applications).arg("app:app");
            }
            Self::Uwsgi => {
                command = Command::new("uwsgi");
                command
                    .args(["--plugin", "python3", "--virtualenv"])
                    .arg(tools);
                command.arg("--chdir").arg(applications);
                command.args(["--module", "app:app", "--master", "--die-on-term"]);
                // It closes each connection without announcing it.
                command.args(["--add-header", "Connection: close"]);
                command.args(["--http-socket", &address.to_string()]);
                command.args(["--http-socket", &socket.to_string()]);
            }
            Self::Unicorn => {
                command = Command::new("unicorn");
                command.args(["-E", "none", "-l", &address.to_string()]);
                command.args(["-l", &socket.to_string()]).arg(rack);
            }
            Self::Puma => {
                command = Command::new("puma");
                command.args(["-e", "production", "-b", &format!("tcp://{address}")]);
                command.args(["-b", &format!("unix://{socket}")]).arg(rack);
            }
        }
        command
    }

    pub(super) fn start(self) -> Running {
        Running(Program::start(
            |address, folder| self.command(address, &folder.join(SOCKET)),
            |program| {
                TcpStream::connect(program.address).is_ok()
                    && UnixStream::connect(program.folder.path().join(SOCKET)).is_ok()
            },
        ))
    }
}

impl Running {
    pub(super) fn address(&self) -> SocketAddr {
        self.0.address
    }

    pub(super) fn socket(&self) -> PathBuf {
        self.0.folder.path().join(SOCKET)
    }
}
