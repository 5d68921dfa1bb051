//! An application behind realmgate. It reads who calls from the identity headers.
//!
//! ```sh
//! cargo run --example service -- 127.0.0.1:9000
//! ```
//!
//! and in `realmgate.toml`:
//!
//! ```toml
//! [upstream.invoices]
//! peers = ["127.0.0.1:9000"]
//!
//! [[route]]
//! name = "invoices"
//! path = "/invoices/"
//! allow = [{ realm = "payments" }]
//! upstream = "invoices"
//! ```
//!
//! Only realmgate may reach the application, because any other client could send these headers. So
//! it listens on loopback, or in a network that only realmgate can reach.

use std::error::Error;
use std::net::SocketAddr;

use axum::Router;
use axum::extract::{FromRequestParts, Path};
use axum::routing::get;
use http::request::Parts;
use http::{HeaderMap, StatusCode};
use percent_encoding::percent_decode_str;
use tokio::net::TcpListener;

/// The authenticated caller. A handler with this argument is never called without one.
pub(crate) struct Caller {
    name: String,
    realm: String,
}

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = StatusCode;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, StatusCode> {
        // Without the headers the request did not come through a route that authenticates.
        let header = |name| decoded(&parts.headers, name).ok_or(StatusCode::UNAUTHORIZED);
        Ok(Self {
            name: header("x-auth-name")?,
            realm: header("x-auth-realm")?,
        })
    }
}

/// Returns the value of a header. realmgate percent-encodes all characters that are not visible ASCII.
fn decoded(headers: &HeaderMap, name: &str) -> Option<String> {
    let value = headers.get(name)?.to_str().ok()?;
    let decoded = percent_decode_str(value).decode_utf8().ok()?;
    Some(decoded.into_owned())
}

async fn invoice(caller: Caller, Path(number): Path<u32>) -> String {
    format!("invoice {number} for {} of {}\n", caller.name, caller.realm)
}

/// Returns the application.
pub(crate) fn application() -> Router {
    Router::new().route("/invoices/{number}", get(invoice))
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let address: SocketAddr = std::env::args()
        .nth(1)
        .ok_or("usage: service ADDRESS")?
        .parse()?;
    let listener = TcpListener::bind(address).await?;
    axum::serve(listener, application()).await?;
    Ok(())
}
