//! Other programs that serve.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::port::Port;
use super::{PATIENCE, until};

/// A running program in a directory of its own, with its output in a file. Stopped on drop.
pub(crate) struct Program {
    pub(crate) address: SocketAddr,
    pub(crate) folder: TempDir,
    child: Child,
    _port: Port,
}

impl Program {
    /// Starts the command that `command` returns for an address and a directory, and waits until
    /// `is_ready`.
    pub(crate) fn start(
        command: impl FnOnce(SocketAddr, &Path) -> Command,
        mut is_ready: impl FnMut(&Self) -> bool,
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let port = Port::reserve();
        let log = fs::File::create(folder.path().join("log")).unwrap();
        let mut command = command(port.address, folder.path());
        // Debian installs some servers where only root looks.
        let path = std::env::var("PATH").unwrap_or_default();
        let child = command
            .current_dir(folder.path())
            .env("PATH", format!("{path}:/usr/sbin"))
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}; run scripts/setup test"));
        let mut program = Self {
            address: port.address,
            folder,
            child,
            _port: port,
        };
        until("the program listens", || {
            if let Some(status) = program.child.try_wait().unwrap() {
                panic!("{command:?} ended with {status}: {}", program.log());
            }
            is_ready(&program)
        });
        program
    }

    /// Returns its output.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// Ends it at once.
    pub(crate) fn kill(&mut self) {
        let _ = self.child.kill();
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // SIGTERM first, so that it stops its workers.
        let pid = self.child.id().to_string();
        let _ = Command::new("kill").arg(pid).status();
        let deadline = Instant::now() + PATIENCE;
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(10));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Returns a command that runs a script of the tests with the Python of `scripts/setup test`.
pub(crate) fn python(script: &str) -> Command {
    let project = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut python = Command::new(project.join("target/tools/bin/python"));
    python.arg(project.join(script));
    python
}

/// A Python script that serves until its input ends.
pub(crate) struct Script {
    /// The port on which it listens.
    pub(crate) port: u16,
    child: Child,
}

impl Script {
    /// Starts a script with the argument `serve`. Its first line is the port.
    pub(crate) fn serve(script: &str) -> Self {
        let mut child = python(script)
            .arg("serve")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("python: {error}; run scripts/setup test"));
        let mut port = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut port)
            .unwrap();
        let port = port.trim().parse().unwrap();
        Self { port, child }
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}
