//! A real nginx.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::process::Command;

use super::program::Program;

/// A running nginx in a directory of its own. Stopped on drop.
pub(crate) struct Nginx {
    pub(crate) address: SocketAddr,
    _program: Program,
}

impl Nginx {
    /// Starts it with the configuration that `configure` returns for its address.
    pub(crate) fn start(configure: impl FnOnce(SocketAddr) -> String) -> Self {
        let program = Program::start(
            |address, folder| {
                let config = folder.join("nginx.conf");
                fs::write(&config, configure(address)).unwrap();
                let mut command = Command::new("nginx");
                command.arg("-p").arg(folder).arg("-c").arg(config);
                command.args(["-e", "error.log", "-g", "daemon off;"]);
                command
            },
            |program| TcpStream::connect(program.address).is_ok(),
        );
        Self {
            address: program.address,
            _program: program,
        }
    }

    /// Starts it in front of `upstream`, with a certificate and its key.
    pub(crate) fn with_tls(upstream: SocketAddr, cert: &str, key: &str) -> Self {
        Self::serve(&format!(
            "listen ADDRESS ssl; ssl_certificate {cert}; ssl_certificate_key {key};
             location / {{ proxy_pass http://{upstream}; }}"
        ))
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
