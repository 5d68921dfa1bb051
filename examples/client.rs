//! A service that calls another one, which is behind realmgate. It authenticates with a token of its seed.
//!
//! ```sh
//! REALMGATE_SEED=JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP \
//!     cargo run --example client -- billing payments http://127.0.0.1:8080/invoices/7
//! ```

#![expect(clippy::print_stdout, reason = "the response is shown")]

use std::error::Error;

use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{HeaderValue, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use realmgate_client::{Caller, Proof};

/// The most bytes of a response.
const MOST: usize = 1 << 20;

/// Requests `uri` as `caller`, and returns the status and the body.
pub(crate) async fn call(
    caller: &Caller,
    uri: Uri,
) -> Result<(StatusCode, Bytes), Box<dyn Error + Send + Sync>> {
    // A token is valid for about a minute: make one for each request.
    let mut credential = HeaderValue::from_str(&caller.basic())?;
    credential.set_sensitive(true);
    let request = Request::get(uri)
        .header(AUTHORIZATION, credential)
        .body(Empty::<Bytes>::new())?;
    // This client follows no redirects, so it sends the credential nowhere else.
    let client = Client::builder(TokioExecutor::new()).build_http();
    let response = client.request(request).await?;
    let status = response.status();
    let body = Limited::new(response.into_body(), MOST).collect().await?;
    Ok((status, body.to_bytes()))
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [name, realm, url] = &arguments[..] else {
        return Err("usage: client NAME REALM URL".into());
    };
    let seed: Proof = std::env::var("REALMGATE_SEED")?.parse()?;
    let (status, body) = call(&Caller::new(name, realm, seed), url.parse()?).await?;
    println!("{status}\n{}", String::from_utf8_lossy(&body));
    Ok(())
}
