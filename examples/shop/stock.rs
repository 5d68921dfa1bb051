//! Stock: knows prices, and what is left. Orders more at billing before it runs out.
//!
//! ```sh
//! export GATEWAY=http://127.0.0.1:8080 REALMGATE_IDENTITY=stock@warehouse REALMGATE_SEED_FILE=seed.txt
//! cargo run --example stock -- 127.0.0.1:9000
//! ```
//!
//! It is one of the three services of `examples/shop`, where `run` starts it.

use std::error::Error;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::{ConnectInfo, FromRequestParts, Path, State};
use axum::routing::{get, post};
use axum::{Json, Router};
use bytes::Bytes;
use http::request::Parts;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use realmgate_client::{Auth, AuthLayer, Credential};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tower::{Layer, ServiceExt};

/// The most bytes of a response of another service.
const MOST: usize = 64 << 10;

/// Who connects to this service: realmgate. Anyone else could write any name into the identity headers.
const PEER: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// The realms that may call. realmgate's routes say the same; a mistake in one of the two lets nobody pass.
const REALMS: [&str; 2] = ["storefront", "payments"];

/// Proof that a service of [`REALMS`] calls. A handler with this argument is never called without one.
struct Service;

impl<S: Sync> FromRequestParts<S> for Service {
    type Rejection = StatusCode;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, StatusCode> {
        let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>();
        if peer.is_none_or(|peer| peer.0.ip() != PEER) {
            return Err(StatusCode::UNAUTHORIZED);
        }
        let mut realms = parts.headers.get_all("x-auth-realm").iter();
        match (realms.next(), realms.next()) {
            (Some(realm), None) if REALMS.iter().any(|it| realm == it) => Ok(Self),
            (Some(_), None) => Err(StatusCode::FORBIDDEN),
            _ => Err(StatusCode::UNAUTHORIZED),
        }
    }
}

struct Stock {
    apples: Mutex<u32>,
    gateway: String,
    others: Auth<Client<HttpConnector, Empty<Bytes>>>,
}

async fn price(_: Service, Path(item): Path<String>) -> Result<Json<Value>, StatusCode> {
    match item.as_str() {
        "apple" => Ok(Json(json!({ "cents": 50 }))),
        _ => Err(StatusCode::NOT_FOUND),
    }
}

async fn reserve(
    _: Service,
    State(stock): State<Arc<Stock>>,
    Path(item): Path<String>,
) -> Result<Json<Value>, StatusCode> {
    if item != "apple" {
        return Err(StatusCode::NOT_FOUND);
    }
    let left = {
        let mut apples = stock.apples.lock().unwrap_or_else(PoisonError::into_inner);
        *apples = apples.checked_sub(1).ok_or(StatusCode::CONFLICT)?;
        *apples
    };
    let bought = match left {
        0..3 => stock.buy(&item).await.ok_or(StatusCode::BAD_GATEWAY)?,
        _ => 0,
    };
    let mut apples = stock.apples.lock().unwrap_or_else(PoisonError::into_inner);
    *apples = apples.saturating_add(bought);
    Ok(Json(json!({ "left": *apples })))
}

impl Stock {
    /// Orders more at billing, through realmgate, and returns how many.
    async fn buy(&self, item: &str) -> Option<u32> {
        let uri = format!("{}/billing/purchases/{item}", self.gateway);
        let request = Request::post(uri).body(Empty::new()).ok()?;
        let response = self.others.clone().oneshot(request).await.ok()?;
        if response.status() != StatusCode::OK {
            return None;
        }
        let body = Limited::new(response.into_body(), MOST).collect().await;
        let purchase: Value = serde_json::from_slice(&body.ok()?.to_bytes()).ok()?;
        purchase.get("bought")?.as_u64()?.try_into().ok()
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let address: SocketAddr = std::env::args()
        .nth(1)
        .ok_or("usage: stock ADDRESS")?
        .parse()?;
    let gateway = std::env::var("GATEWAY")?;
    // The credential goes to realmgate only, whatever this client requests. It follows no redirects.
    let layer = AuthLayer::new(Credential::from_environment()?, &gateway)?;
    let others = layer.layer(Client::builder(TokioExecutor::new()).build_http());
    let stock = Arc::new(Stock {
        apples: Mutex::new(3),
        gateway,
        others,
    });
    let router = Router::new()
        .route("/stock/prices/{item}", get(price))
        .route("/stock/reservations/{item}", post(reserve))
        .with_state(stock)
        .into_make_service_with_connect_info::<SocketAddr>();
    axum::serve(TcpListener::bind(address).await?, router).await?;
    Ok(())
}
