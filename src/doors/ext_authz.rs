//! Forward-auth for Envoy over gRPC: `envoy.service.auth.v3.Authorization/Check`, on a listener of
//! its own, which also serves `grpc.health.v1.Health/Check`.

mod bounds;
mod health;

use std::future::pending;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use async_trait::async_trait;
use envoy_types::pb::envoy::config::core::v3::address::Address;
use envoy_types::pb::envoy::config::core::v3::header_value_option::HeaderAppendAction;
use envoy_types::pb::envoy::config::core::v3::{HeaderValue as Field, HeaderValueOption};
use envoy_types::pb::envoy::service::auth::v3::attribute_context::HttpRequest;
use envoy_types::pb::envoy::service::auth::v3::authorization_server::{
    Authorization, AuthorizationServer,
};
use envoy_types::pb::envoy::service::auth::v3::check_response::HttpResponse;
use envoy_types::pb::envoy::service::auth::v3::{
    CheckRequest, CheckResponse, DeniedHttpResponse, OkHttpResponse,
};
use envoy_types::pb::envoy::r#type::v3::HttpStatus;
use envoy_types::pb::google::rpc;
use futures_util::stream::{self, StreamExt};
use http::{HeaderMap, HeaderName, HeaderValue};
use tokio::sync::mpsc::UnboundedReceiver;
use tonic::transport::Server;
use tonic::{Code, Request, Response, Status};
use tonic_health::pb::health_server::HealthServer;

use super::forward_auth::{self, ForwardAuth, Narrowing, Outcome, Rejection};
use super::readiness::Readiness;
use super::request_log::{RequestLog, request_line_of_envoy};
use crate::auth::{Permit, Policy, UnixTime};
use crate::http::IdentityOf;
use crate::http::own_response::OwnResponse;
use crate::net::connection::Connections;
use crate::net::incoming::FromFrontProxy;
use crate::telemetry::RequestRecord;
use bounds::{Bounds, Connection};
use health::GrpcHealth;

/// The maximum size of an auth request in bytes: a client's headers, which Envoy limits to 60 KiB,
/// and Envoy's additions.
const QUESTION_BYTES: usize = 256 << 10;
/// The maximum number of concurrent auth requests per connection. Envoy opens another connection
/// for more.
const STREAMS: u32 = 128;
/// The flow-control windows of an auth request and of a connection, in bytes.
const STREAM_WINDOW: u32 = 64 << 10;
const CONNECTION_WINDOW: u32 = 256 << 10;
/// The maximum header size of an auth request in bytes; it contains no client headers.
const HEADER_BYTES: u32 = 8 << 10;
/// The interval of pings on an idle connection.
const ALIVE: Duration = Duration::from_secs(30);

/// The door for Envoy's gRPC requests.
pub(crate) struct ExtAuthz {
    forward_auth: Arc<ForwardAuth>,
}

/// Serves the connections of a loop until `incoming` ends, and completes their requests.
pub(crate) async fn serve(
    forward_auth: Arc<ForwardAuth>,
    readiness: Arc<Readiness>,
    connections: Arc<Connections>,
    mut incoming: UnboundedReceiver<FromFrontProxy>,
) {
    let door = AuthorizationServer::new(ExtAuthz { forward_auth })
        .max_decoding_message_size(QUESTION_BYTES);
    let health = HealthServer::new(GrpcHealth::new(readiness))
        .max_decoding_message_size(health::QUESTION_BYTES);
    let bounds = Bounds::new(Arc::clone(&connections));
    let incoming = stream::poll_fn(move |context| incoming.poll_recv(context));
    let incoming = incoming.map(move |connection| {
        let patience = connections.settings().timeouts.header;
        Connection::begin(connection, patience)
    });
    let served = Server::builder()
        .max_concurrent_streams(STREAMS)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .http2_max_header_list_size(HEADER_BYTES)
        .http2_keepalive_interval(Some(ALIVE))
        .http2_keepalive_timeout(Some(ALIVE))
        .layer(bounds)
        .add_service(door)
        .add_service(health)
        // tonic shuts down gracefully at the end of `incoming` only if it has a signal, even one that
        // never fires.
        .serve_with_incoming_shutdown(incoming, pending());
    if let Err(error) = served.await {
        tracing::error!(%error, "the gRPC listener failed");
    }
}

#[async_trait]
impl Authorization for ExtAuthz {
    async fn check(
        &self,
        request: Request<CheckRequest>,
    ) -> Result<Response<CheckResponse>, Status> {
        // Servers differ in which of them they use (RFC 9113 §8.1.1, RFC 9110 §8.6).
        let lengths = request.metadata().get_all("content-length");
        if lengths.iter().nth(1).is_some() {
            return Err(Status::invalid_argument("content-length twice"));
        }
        let log = RequestLog::new(&self.forward_auth.recorder, Instant::now());
        let client = request.remote_addr();
        let source = client.map(|peer| peer.ip().to_canonical());
        let check = request.into_inner();
        let mut record = log.record.with_same_id();
        let answer = self.decide(source, &check, &mut record).await;
        RequestLog { record, ..log }.write_for_envoy(&self.forward_auth.recorder, client, &check);
        Ok(Response::new(answer))
    }
}

impl ExtAuthz {
    async fn decide(
        &self,
        source: Option<IpAddr>,
        check: &CheckRequest,
        record: &mut RequestRecord,
    ) -> CheckResponse {
        let (began, now) = (Instant::now(), UnixTime::from(SystemTime::now()));
        let attributes = check.attributes.as_ref();
        let http = attributes
            .and_then(|it| it.request.as_ref()?.http.as_ref())
            .ok_or(Rejection::Missing("attributes.request.http"));
        let client = self.forward_auth.client(source, forward_auth::GRPC, || {
            match attributes?
                .source
                .as_ref()?
                .address
                .as_ref()?
                .address
                .as_ref()?
            {
                Address::SocketAddress(socket) => forward_auth::address(&socket.address),
                _ => None,
            }
        });
        let read = http.and_then(|http| Ok((http, fields(http)?)));
        let (headers, asked) = match read {
            Ok((http, headers)) => {
                let extensions = attributes.map(|it| &it.context_extensions);
                let asked = narrowed(extensions.into_iter().flatten()).and_then(|narrowed| {
                    let described =
                        forward_auth::input(&http.method, &http.host, http.path.as_bytes());
                    self.forward_auth
                        .described_policy((source, client), described, narrowed)
                });
                (headers, asked)
            }
            Err(rejection) => (HeaderMap::new(), Err(rejection)),
        };
        let request_line = || {
            let http = attributes.and_then(|it| it.request.as_ref()?.http.as_ref());
            let described = http.filter(|_| self.forward_auth.is_trusted(source));
            described.map(request_line_of_envoy).unwrap_or_default()
        };
        let judged =
            self.forward_auth
                .judge(client, &headers, asked, (began, now, request_line), record);
        match judged.await {
            Outcome::Permitted(permit, identity) => self.permitted(&permit, identity.as_deref()),
            Outcome::Denied(denial, denials) => {
                let answer = OwnResponse::sub_request_denied(&denial);
                denied(
                    &answer
                        .denied_as(denials.as_deref())
                        .named(record.request_id()),
                )
            }
            Outcome::Rejected => {
                denied(&OwnResponse::empty(http::StatusCode::FORBIDDEN).named(record.request_id()))
            }
        }
    }

    fn permitted(&self, permit: &Permit, identity: Option<&IdentityOf>) -> CheckResponse {
        let who = self.forward_auth.who(permit, identity);
        let removed = self.forward_auth.headers_to_remove(permit, identity);
        response(
            Code::Ok,
            HttpResponse::OkResponse(OkHttpResponse {
                headers: who.map(|(name, value)| option(&name, &value)).collect(),
                headers_to_remove: removed.into_iter().map(str::to_owned).collect(),
                ..OkHttpResponse::default()
            }),
        )
    }
}

/// Copies the headers of the original request. With `encode_raw_headers`, Envoy passes repeated
/// headers separately.
fn fields(http: &HttpRequest) -> Result<HeaderMap, Rejection> {
    let mut fields = HeaderMap::new();
    let mut keep = |name: &str, value: &[u8]| {
        // Envoy's pseudo-header fields are not headers.
        if name.starts_with(':') {
            return Ok(());
        }
        let name = HeaderName::from_bytes(name.as_bytes());
        let value = HeaderValue::from_bytes(value);
        let (Ok(name), Ok(value)) = (name, value) else {
            return Err(Rejection::Malformed("header"));
        };
        fields.append(name, value);
        Ok(())
    };
    match &http.header_map {
        Some(raw) => raw.headers.iter().try_for_each(|field| {
            if field.raw_value.is_empty() {
                keep(&field.key, field.value.as_bytes())
            } else {
                keep(&field.key, &field.raw_value)
            }
        })?,
        None => http
            .headers
            .iter()
            .try_for_each(|(name, value)| keep(name, value.as_bytes()))?,
    }
    Ok(fields)
}

/// Reads `context_extensions`, which the route in Envoy's configuration sets: `realm` and `name`,
/// each a comma-separated list.
fn narrowed<'a>(
    extensions: impl Iterator<Item = (&'a String, &'a String)>,
) -> Result<Option<Policy>, Rejection> {
    let mut narrowing = Narrowing::default();
    for (key, value) in extensions {
        for one in value.split(',') {
            narrowing.add(key, one.trim())?;
        }
    }
    narrowing.policy()
}

fn denied(answer: &OwnResponse) -> CheckResponse {
    let code = match answer.status {
        http::StatusCode::UNAUTHORIZED => Code::Unauthenticated,
        http::StatusCode::SERVICE_UNAVAILABLE => Code::Unavailable,
        _ => Code::PermissionDenied,
    };
    let fields = answer.fields.iter();
    response(
        code,
        HttpResponse::DeniedResponse(DeniedHttpResponse {
            status: Some(HttpStatus {
                code: i32::from(answer.status.as_u16()),
            }),
            headers: fields.map(|(name, value)| option(name, value)).collect(),
            ..DeniedHttpResponse::default()
        }),
    )
}

fn response(code: Code, http: HttpResponse) -> CheckResponse {
    CheckResponse {
        status: Some(rpc::Status {
            code: code.into(),
            ..rpc::Status::default()
        }),
        http_response: Some(http),
        ..CheckResponse::default()
    }
}

/// Replaces a header.
fn option(name: &HeaderName, value: &HeaderValue) -> HeaderValueOption {
    HeaderValueOption {
        header: Some(Field {
            key: name.to_string(),
            value: String::from_utf8_lossy(value.as_bytes()).into_owned(),
            ..Field::default()
        }),
        append_action: HeaderAppendAction::OverwriteIfExistsOrAdd.into(),
        ..HeaderValueOption::default()
    }
}

/// Reads an auth request from Envoy.
///
/// # Panics
/// An ambiguous description is accepted, or a header that the client did not send.
#[cfg(any(test, fuzzing))]
pub fn fuzz(check: &CheckRequest) {
    let Some(attributes) = &check.attributes else {
        return;
    };
    if let Ok(Some(policy)) = narrowed(attributes.context_extensions.iter()) {
        assert!(matches!(policy, Policy::Allow(rules) if !rules.is_empty()));
    }
    let Some(http) = attributes.request.as_ref().and_then(|it| it.http.as_ref()) else {
        return;
    };
    if let Ok(fields) = fields(http) {
        assert!(fields.keys().all(|name| !name.as_str().starts_with(':')));
    }
    if let Ok(described) = forward_auth::input(&http.method, &http.host, http.path.as_bytes()) {
        forward_auth::fuzzing::assert_described(&described);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extensions_narrow_to_sixteen_realms_and_no_more() {
        let narrow = |count: usize| {
            let realms = (0..count).map(|n| format!("r{n}")).collect::<Vec<_>>();
            let extension = ("realm".to_owned(), realms.join(", "));
            narrowed([(&extension.0, &extension.1)].into_iter())
        };
        let Ok(Some(Policy::Allow(rules))) = narrow(16) else {
            panic!("sixteen realms");
        };
        assert_eq!(rules.len(), 16);
        assert!(matches!(narrow(17), Err(Rejection::Query)));
    }
}
