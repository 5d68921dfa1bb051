//! A request of the tour, which can be sent and shown as a curl command.

use bytes::Bytes;
use data_encoding::BASE64;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;

/// A request to a door.
#[derive(Default)]
pub(super) struct Call {
    pub(super) url: String,
    pub(super) headers: Vec<(&'static str, String)>,
    /// `user:password` of `Authorization: Basic`.
    pub(super) user: Option<String>,
    /// The body, sent by POST as JSON. Without it, the method is GET.
    pub(super) json: Option<String>,
}

/// A response.
pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) headers: http::HeaderMap,
    pub(super) body: String,
}

impl Call {
    /// Returns the curl command, quoted for a shell.
    pub(super) fn curl(&self) -> String {
        let mut command = "curl -i".to_owned();
        for (name, value) in &self.headers {
            command.push_str(&format!(" -H '{name}: {value}'"));
        }
        if let Some(user) = &self.user {
            command.push_str(&format!(" -u '{user}'"));
        }
        if let Some(json) = &self.json {
            command.push_str(&format!(" -H 'Content-Type: application/json' -d '{json}'"));
        }
        command.push(' ');
        command.push_str(&self.url);
        command
    }

    /// Sends the request.
    ///
    /// # Errors
    /// A description of the failure, if there is no response.
    pub(super) async fn make(&self) -> Result<Reply, String> {
        let method = if self.json.is_some() { "POST" } else { "GET" };
        let mut request = Request::builder().method(method).uri(&self.url);
        for (name, value) in &self.headers {
            request = request.header(*name, value);
        }
        if let Some(user) = &self.user {
            let value = format!("Basic {}", BASE64.encode(user.as_bytes()));
            request = request.header(AUTHORIZATION, value);
        }
        let body = self.json.clone().unwrap_or_default();
        if self.json.is_some() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        let request = request
            .body(Full::new(Bytes::from(body)))
            .map_err(|error| error.to_string())?;
        let client = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
        let response = client
            .request(request)
            .await
            .map_err(|error| error.to_string())?;
        let (parts, body) = response.into_parts();
        let body = body.collect().await.map_err(|error| error.to_string())?;
        Ok(Reply {
            status: parts.status,
            headers: parts.headers,
            body: String::from_utf8_lossy(&body.to_bytes()).into_owned(),
        })
    }
}
