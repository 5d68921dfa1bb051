//! A real PostgreSQL in a directory of its own.

use std::fs;
use std::net::TcpStream;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::harness::port::Port;
use crate::harness::{stderr, until};

/// The users that the server accepts: `django` without a password, `otp` over TCP only with one.
const ACCESS: &str = "local all all trust
host all otp 127.0.0.1/32 scram-sha-256
host all all 127.0.0.1/32 trust
";

/// A running server. Stopped on drop.
pub(crate) struct Postgres {
    port: u16,
    child: Child,
    folder: TempDir,
    _reserved: Port,
}

impl Postgres {
    pub(crate) fn start() -> Self {
        Self::start_with(None)
    }

    /// Starts a server that also accepts TLS, with the paths of a certificate and its key.
    pub(crate) fn start_with_tls(cert: &str, key: &str) -> Self {
        Self::start_with(Some((cert, key)))
    }

    fn start_with(tls: Option<(&str, &str)>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        fs::create_dir(&data).unwrap();
        if is_root() {
            // PostgreSQL refuses to run as root.
            let (user, group) = nobody();
            chown(folder.path(), Some(user), Some(group)).unwrap();
            chown(&data, Some(user), Some(group)).unwrap();
        }
        let output = program("initdb")
            .args([
                "--auth=trust",
                "--username=django",
                "--no-sync",
                "--encoding=UTF8",
                "--locale=C.UTF-8",
                "-D",
            ])
            .arg(&data)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", stderr(&output));
        fs::write(data.join("pg_hba.conf"), ACCESS).unwrap();
        if let Some((cert, key)) = tls {
            fs::copy(cert, data.join("server.crt")).unwrap();
            fs::copy(key, data.join("server.key")).unwrap();
            if is_root() {
                let (user, group) = nobody();
                chown(data.join("server.key"), Some(user), Some(group)).unwrap();
            }
        }
        let reserved = Port::reserve();
        let port = reserved.address.port();
        let child = program("postgres")
            .arg("-D")
            .arg(&data)
            .args(["-c", "listen_addresses=127.0.0.1", "-c", "fsync=off", "-p"])
            .arg(port.to_string())
            .arg("-k")
            .arg(folder.path())
            .args(["-c", if tls.is_some() { "ssl=on" } else { "ssl=off" }])
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let server = Self {
            port,
            child,
            folder,
            _reserved: reserved,
        };
        until("PostgreSQL answers", || {
            TcpStream::connect(("127.0.0.1", port)).is_ok()
                && server.psql("SELECT 1").status.success()
        });
        server
    }

    pub(crate) fn url(&self) -> String {
        self.url_of("django")
    }

    /// Returns the URL for a user, or for a user and a password separated by a colon.
    pub(crate) fn url_of(&self, user: &str) -> String {
        format!("postgres://{user}@127.0.0.1:{}/postgres", self.port)
    }

    /// Returns the URL for the Unix socket.
    pub(crate) fn socket_url(&self) -> String {
        let folder = self.folder.path().to_str().unwrap().replace('/', "%2F");
        format!("postgres://django@{folder}:{}/postgres", self.port)
    }

    pub(crate) fn sql(&self, sql: &str) {
        let output = self.psql(sql);
        assert!(output.status.success(), "{}", stderr(&output));
    }

    fn psql(&self, sql: &str) -> std::process::Output {
        program("psql")
            .args([
                "--no-psqlrc",
                "--quiet",
                "--set=ON_ERROR_STOP=1",
                "--dbname",
                &self.url(),
            ])
            .args(["--command", sql])
            .current_dir(self.folder.path())
            .output()
            .unwrap()
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // SIGINT: disconnects the clients and stops.
        let pid = self.child.id().to_string();
        let _ = Command::new("kill").args(["-s", "INT", &pid]).status();
        let _ = self.child.wait();
    }
}

/// Returns a program of the newest PostgreSQL of Debian. As root, it runs as nobody.
fn program(name: &str) -> Command {
    let root = Path::new("/usr/lib/postgresql");
    let mut versions: Vec<PathBuf> = fs::read_dir(root)
        .unwrap_or_else(|error| panic!("{}: {error}; run scripts/setup test", root.display()))
        .map(|entry| entry.unwrap().path())
        .collect();
    versions.sort();
    let program = versions.last().unwrap().join("bin").join(name);
    if !is_root() {
        return Command::new(program);
    }
    let (user, group) = nobody();
    let mut command = Command::new("setpriv");
    command
        .args([
            "--clear-groups",
            "--reuid",
            &user.to_string(),
            "--regid",
            &group.to_string(),
        ])
        .arg(program);
    command
}

fn is_root() -> bool {
    fs::metadata("/proc/self").unwrap().uid() == 0
}

/// Returns user and group `nobody`.
fn nobody() -> (u32, u32) {
    (65534, 65534)
}
