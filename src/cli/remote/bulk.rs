use std::fmt::Write;
use std::time::Duration;

use http::{HeaderName, HeaderValue, Method};

use super::server::Server;
use crate::cli::error::CliError;
use crate::client::Error as ClientError;
use crate::doors::v1::types::{Line, NewIdentity};

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// How often a request is repeated whose response is lost, and the pause before.
const TRIES: u32 = 3;
const PAUSE: Duration = Duration::from_secs(1);

/// Creates identities in one request, and returns the outcome of each. A request whose response is
/// lost is repeated with the same key.
pub(in crate::cli) async fn bulk(
    server: &Server,
    key: &str,
    new: &[NewIdentity],
) -> Result<Vec<Line>, CliError> {
    let mut text = String::new();
    for one in new {
        let line = serde_json::to_string(one).unwrap_or_default();
        let _ = writeln!(text, "{line}");
    }
    let key = HeaderValue::from_str(key).map_err(|_| CliError::BadKey)?;
    let headers = [(IDEMPOTENCY_KEY, key)];
    let mut tries = 0;
    let response = loop {
        let body = ("application/x-ndjson", text.clone().into());
        let path = "/v1/identities/bulk";
        match server.send(Method::POST, path, Some(body), &headers).await {
            Err(CliError::Client(ClientError::Broken { .. } | ClientError::Timeout { .. }))
                if tries < TRIES =>
            {
                tries += 1;
                tokio::time::sleep(PAUSE).await;
            }
            response => break response?,
        }
    };
    let lines = response.body.split(|byte| *byte == b'\n');
    let lines = lines
        .filter(|line| !line.is_empty())
        .map(serde_json::from_slice);
    let lines: Result<Vec<Line>, _> = lines.collect();
    let lines = lines.map_err(|_| server.no_api(response.status))?;
    match lines.len() == new.len() {
        true => Ok(lines),
        false => Err(server.no_api(response.status)),
    }
}
