//! A real nginx.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command};

use tempfile::TempDir;

use crate::harness::port::Port;
use crate::harness::until;

/// A running nginx in a directory of its own. Stopped on drop.
pub(crate) struct Nginx {
    pub(crate) address: SocketAddr,
    child: Child,
    _folder: TempDir,
    _port: Port,
}

impl Nginx {
    /// Starts it with the configuration that `configure` returns for its address.
    pub(crate) fn start(configure: impl FnOnce(SocketAddr) -> String) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let port = Port::reserve();
        let address = port.address;
        let config = folder.path().join("nginx.conf");
        fs::write(&config, configure(address)).unwrap();
        let path = std::env::var("PATH").unwrap_or_default();
        let child = Command::new("nginx")
            .env("PATH", format!("{path}:/usr/sbin"))
            .arg("-p")
            .arg(folder.path())
            .arg("-c")
            .arg(&config)
            .args(["-e", "error.log", "-g", "daemon off;"])
            .spawn()
            .unwrap_or_else(|error| panic!("nginx: {error}; run scripts/setup test"));
        until("nginx listens", || TcpStream::connect(address).is_ok());
        Self {
            address,
            child,
            _folder: folder,
            _port: port,
        }
    }

    /// Starts it with this content of `server`.
    pub(crate) fn serve(server: &str) -> Self {
        Self::start(|address| {
            let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
            let temporary = temporary.map(|name| format!("{name}_temp_path {name};"));
            let temporary = temporary.join(" ");
            let server = server.replace("ADDRESS", &address.to_string());
            format!(
                "pid nginx.pid; events {{}} http {{ access_log off; {temporary} server {{ {server} }} }}"
            )
        })
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // SIGTERM, so that the master stops its workers.
        let _ = Command::new("kill")
            .arg(self.child.id().to_string())
            .status();
        let _ = self.child.wait();
    }
}
