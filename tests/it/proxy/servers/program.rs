//! Application servers with an application that reports the request it sees.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use tempfile::TempDir;

use crate::harness::port::Port;
use crate::harness::{PATIENCE, until};

/// An application server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Program {
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
pub(super) struct Running {
    pub(super) address: SocketAddr,
    child: Child,
    folder: TempDir,
    _port: Port,
}

impl Program {
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
        let folder = tempfile::tempdir().unwrap();
        let port = Port::reserve();
        let log = fs::File::create(folder.path().join("log")).unwrap();
        let child = self
            .command(port.address, &folder.path().join("socket"))
            .current_dir(folder.path())
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap_or_else(|error| panic!("{self:?}: {error}; run scripts/setup test"));
        let mut running = Running {
            address: port.address,
            child,
            folder,
            _port: port,
        };
        until("the server listens", || {
            if let Some(status) = running.child.try_wait().unwrap() {
                panic!("{self:?} ended with {status}: {}", running.log());
            }
            TcpStream::connect(running.address).is_ok()
                && UnixStream::connect(running.socket()).is_ok()
        });
        running
    }
}

impl Running {
    pub(super) fn socket(&self) -> PathBuf {
        self.folder.path().join("socket")
    }

    /// Returns its output.
    pub(super) fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // SIGTERM first, so that it stops its workers.
        let pid = self.child.id().to_string();
        let _ = Command::new("kill").arg(pid).status();
        let deadline = Instant::now() + PATIENCE;
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < deadline {
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
