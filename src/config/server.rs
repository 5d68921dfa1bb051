//! `[server]`.

use std::num::NonZero;
use std::thread;

use super::raw;
use super::scalar::flag;
use super::source::{Checked, Source};

/// `[server]`.
#[derive(Clone, Debug)]
pub struct Server {
    /// The name of this node, for the audit log and the database; by default that of the host.
    pub node: Box<str>,
    /// The number of threads that serve requests, at least 1; one per core by default.
    pub threads: usize,
    /// The maximum number of idle connections to upstreams, 1 to 1,000,000; 1,024 by default.
    pub upstream_idle_connections: usize,
    /// Whether changed files are read again without a signal; false by default.
    pub watch: bool,
}

impl Source<'_> {
    /// Returns the name of this node: the configured one, or the name of the host.
    pub(super) fn node(&self, raw: &raw::Server) -> Checked<Box<str>> {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        let is_node = |name: &str| (1..=64).contains(&name.len()) && name.chars().all(is_plain);
        match &raw.node {
            Some(node) if !is_node(node.get_ref()) => Err(self.reject(
                "server.node",
                node,
                "1 to 64 letters, digits, dots, hyphens and underscores",
            )),
            Some(node) => Ok(node.get_ref().as_str().into()),
            None => {
                let host = rustix::system::uname();
                let host = host.nodename().to_string_lossy();
                let host: String = host.chars().filter(|c| is_plain(*c)).take(64).collect();
                Ok(match host.is_empty() {
                    true => "node".into(),
                    false => host.into(),
                })
            }
        }
    }

    pub(super) fn server(&self, raw: &raw::Server, node: Box<str>) -> Server {
        let threads = match self.number("server.threads", raw.threads.as_ref(), 0, 0..=1024) {
            0 => thread::available_parallelism().map_or(1, NonZero::get),
            threads => threads,
        };
        Server {
            node,
            threads,
            upstream_idle_connections: self.number(
                "server.upstream_idle_connections",
                raw.upstream_idle_connections.as_ref(),
                1024,
                1..=1_000_000,
            ),
            watch: flag(raw.watch.as_ref()),
        }
    }
}

impl Server {
    /// Returns the number of idle upstream connections to keep if the process may open `files`
    /// files.
    pub fn fitted_idle(&self, files: usize) -> usize {
        self.upstream_idle_connections.min((files / 8).max(1))
    }
}
