//! An upstream that responds with the request it received.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use axum::body::Body;
use axum::extract::Request;
use axum::{Json, Router};
use serde::Serialize;
use tokio::net::TcpListener;

/// The loopback address with a port chosen by the kernel.
pub(super) const LOOPBACK: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

#[derive(Serialize)]
struct Seen {
    method: String,
    path: String,
    headers: BTreeMap<String, String>,
}

/// Starts the upstream on a port chosen by the kernel. It runs as long as the event loop.
pub(super) async fn start() -> io::Result<SocketAddr> {
    let listener = TcpListener::bind(LOOPBACK).await?;
    let address = listener.local_addr()?;
    let router = Router::new().fallback(async |request: Request<Body>| {
        let headers = request
            .headers()
            .iter()
            .map(|(name, value)| {
                let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
                (name.to_string(), value)
            })
            .collect();
        Json(Seen {
            method: request.method().to_string(),
            path: request.uri().to_string(),
            headers,
        })
    });
    tokio::spawn(async move { axum::serve(listener, router).await });
    Ok(address)
}
