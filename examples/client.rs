//! A service that calls another one, which is behind realmgate. It authenticates with a token of its seed.
//!
//! ```sh
//! export REALMGATE_IDENTITY=billing@payments REALMGATE_SEED_FILE=seed.txt
//! cargo run --example client -- http://127.0.0.1:8080/invoices/7
//! ```

#![expect(clippy::print_stdout, reason = "the response is shown")]

use std::error::Error;

use bytes::Bytes;
use http::{Request, StatusCode, Uri};
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use realmgate_client::{AuthLayer, Credential};
use tower::{Layer, ServiceExt};

/// The maximum size of a response in bytes.
const MOST: usize = 1 << 20;

/// Requests `uri` with a credential, and returns the status and the body.
pub(crate) async fn call(
    credential: Credential,
    uri: Uri,
) -> Result<(StatusCode, Bytes), Box<dyn Error + Send + Sync>> {
    // Keep such a client: each request gets a new token. Requests to any other scheme, host or port get none.
    let layer = AuthLayer::new(credential, &uri.to_string())?;
    let client = layer.layer(Client::builder(TokioExecutor::new()).build_http());
    let request = Request::get(uri).body(Empty::<Bytes>::new())?;
    let response = client.oneshot(request).await?;
    let status = response.status();
    let body = Limited::new(response.into_body(), MOST).collect().await?;
    Ok((status, body.to_bytes()))
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let url = std::env::args().nth(1).ok_or("usage: client URL")?;
    let (status, body) = call(Credential::from_environment()?, url.parse()?).await?;
    println!("{status}\n{}", String::from_utf8_lossy(&body));
    Ok(())
}
