//! A minimal Pingora proxy, the baseline of `bench/doors`, `bench/instructions` and `bench/proxy`.
//!
//! With `headers`, it also removes the headers that clients must not send to an upstream, and sets the ones that
//! realmgate sets on every request. Any proxy in front of an application has to do that.
//!
//! With `in-turn`, it serves as realmgate does: on Pingora's runtime without work stealing, which runs its tasks in the
//! order in which they became ready, and with as many idle connections to the peer as there are clients.
//!
//! `bare_proxy LISTEN PEER [h2c] [headers] [in-turn]`

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use http::header::{HOST, HeaderName, HeaderValue};
use pingora::Result;
use pingora::apps::HttpServerOptions;
use pingora::http::RequestHeader;
use pingora::proxy::{ProxyHttp, Session, http_proxy_service};
use pingora::server::Server;
use pingora::server::configuration::ServerConf;
use pingora::upstreams::peer::HttpPeer;

const USAGE: &str = "usage: bare_proxy LISTEN PEER [h2c] [headers] [in-turn]";

/// The usual headers with a client address, an identity or a credential. realmgate compares each header with a much
/// longer list, in one pass.
const REMOVED: [HeaderName; 8] = [
    HeaderName::from_static("forwarded"),
    HeaderName::from_static("remote-user"),
    HeaderName::from_static("x-auth-name"),
    HeaderName::from_static("x-auth-realm"),
    HeaderName::from_static("x-auth-token"),
    HeaderName::from_static("x-forwarded-prefix"),
    HeaderName::from_static("x-forwarded-user"),
    HeaderName::from_static("x-real-ip"),
];

struct Bare {
    peer: SocketAddr,
    changes_headers: bool,
    /// The first half of the request ids of this process.
    start: u64,
    /// The second half of the next one.
    count: AtomicU64,
}

#[async_trait]
impl ProxyHttp for Bare {
    type CTX = ();

    fn new_ctx(&self) {}

    async fn upstream_peer(&self, _: &mut Session, (): &mut ()) -> Result<Box<HttpPeer>> {
        Ok(Box::new(HttpPeer::new(self.peer, false, String::new())))
    }

    async fn upstream_request_filter(
        &self,
        session: &mut Session,
        request: &mut RequestHeader,
        (): &mut (),
    ) -> Result<()> {
        if !self.changes_headers {
            return Ok(());
        }
        for name in &REMOVED {
            request.remove_header(name);
        }
        if let Some(client) = session.client_addr().and_then(|client| client.as_inet()) {
            request.insert_header("X-Forwarded-For", client.ip().to_string())?;
        }
        let header = session.req_header();
        let host = header.headers.get(HOST).map(HeaderValue::as_bytes);
        let host = host.or_else(|| Some(header.uri.authority()?.as_str().as_bytes()));
        if let Some(host) = host {
            request.insert_header("X-Forwarded-Host", host)?;
        }
        request.insert_header("X-Forwarded-Proto", "http")?;
        let count = self.count.fetch_add(1, Ordering::Relaxed);
        request.insert_header("X-Request-Id", format!("{:x}{count:016x}", self.start))?;
        let via = match session.is_http2() {
            true => "2.0 bare",
            false => "1.1 bare",
        };
        request.append_header("Via", via)?;
        Ok(())
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let listen = arguments.next().ok_or(USAGE)?;
    let peer = arguments.next().ok_or(USAGE)?;
    let more: Vec<String> = arguments.collect();
    let has = |word: &str| more.iter().any(|it| it == word);
    let default = ServerConf::default();
    let configuration = ServerConf {
        threads: 1,
        work_stealing: !has("in-turn"),
        upstream_keepalive_pool_size: match has("in-turn") {
            true => 4096,
            false => default.upstream_keepalive_pool_size,
        },
        // By default, the shutdown takes five minutes.
        grace_period_seconds: Some(0),
        graceful_shutdown_timeout_seconds: Some(0),
        ..default
    };
    let mut server = Server::new_with_opt_and_conf(None, configuration);
    server.bootstrap();
    let bare = Bare {
        peer: peer.parse()?,
        changes_headers: has("headers"),
        start: u64::from(std::process::id()) << 32 | 1 << 63,
        count: AtomicU64::new(0),
    };
    let mut service = http_proxy_service(&server.configuration, bare);
    if has("h2c")
        && let Some(app) = service.app_logic_mut()
    {
        let mut options = HttpServerOptions::default();
        options.h2c = true;
        app.server_options = Some(options);
    }
    service.add_tcp(&listen);
    server.add_service(service);
    server.run_forever();
}
