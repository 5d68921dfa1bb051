//! A request: its caller, its body, and the conditions that it names.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use axum::body::Body;
use axum::extract::{ConnectInfo, Request};
use axum::response::Response;
use bytes::Bytes;
use http::header::{
    CACHE_CONTROL, CONNECTION, CONTENT_TYPE, ETAG, HeaderName, HeaderValue, IF_MATCH, IF_NONE_MATCH,
};
use http::{HeaderMap, Method, StatusCode, Uri};
use parking_lot::Mutex;
use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};

use super::parse::parse;
use super::problem::{Kind, Problem};
use super::state::V1;
use super::tag::etag;
use crate::auth::{
    Attempt, Capability, Identity, IdentityId, Mode, Permit, Policy, Source, UnixTime, Version,
};
use crate::doors::api::change::{Author, confirm};
use crate::doors::authorize::{AuthRequest, authorize};
use crate::doors::local::{Unread, read_whole};
use crate::http::Scratch;
use crate::telemetry::{Door, RecordSlot, RequestLine, RequestRecord};

/// The maximum length of an Idempotency-Key in bytes.
const KEY_BYTES: usize = 256;

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// A request, with its caller.
pub(super) struct Call {
    pub(super) method: Method,
    pub(super) uri: Uri,
    pub(super) headers: HeaderMap,
    /// In a lock only because a body cannot be shared between threads.
    body: Mutex<Body>,
    pub(super) source: Option<IpAddr>,
    pub(super) now: UnixTime,
    record: RecordSlot,
    host: String,
    /// What the caller needs.
    capability: Capability,
    /// The permit of the caller. A request of the admin page begins with that of its session.
    permit: Option<Permit>,
    /// Whether to check a change only.
    pub(super) is_trial: bool,
}

/// The permit of a session. Only the admin page adds it to a request, which has no credential then.
#[derive(Clone)]
pub struct Acting {
    /// The permit.
    pub permit: Permit,
    /// Checks everything that a change would be checked for, and changes nothing.
    pub is_trial: bool,
}

/// Authenticates the caller, which needs a capability, calls `run`, and renders the response.
pub(super) async fn handle<F>(
    api: &V1,
    request: Request,
    capability: Capability,
    run: F,
) -> Response
where
    F: AsyncFnOnce(Call, Permit) -> Result<Response, Problem>,
{
    let mut call = Call::of(request, capability);
    let record = call.record.with_same_id();
    let outcome = match call.admit(api).await {
        Ok(permit) => {
            call.permit = Some(permit.clone());
            run(call, permit).await
        }
        Err(problem) => Err(problem),
    };
    outcome.unwrap_or_else(|problem| problem.named(&record).response())
}

impl Call {
    fn of(request: Request, capability: Capability) -> Self {
        let (parts, body) = request.into_parts();
        let source = parts.extensions.get::<ConnectInfo<SocketAddr>>();
        let host = parts.headers.get(http::header::HOST);
        let host = host.and_then(|host| host.to_str().ok());
        let host = parts
            .uri
            .authority()
            .map(http::uri::Authority::as_str)
            .or(host);
        let acting = parts.extensions.get::<Acting>();
        Self {
            source: source.map(|ConnectInfo(address)| address.ip()),
            now: UnixTime::from(SystemTime::now()),
            record: parts.extensions.get().cloned().unwrap_or_default(),
            host: host.unwrap_or_default().to_owned(),
            permit: acting.map(|it| it.permit.clone()),
            is_trial: acting.is_some_and(|it| it.is_trial),
            capability,
            method: parts.method,
            uri: parts.uri,
            headers: parts.headers,
            body: Mutex::new(body),
        }
    }

    async fn admit(&self, api: &V1) -> Result<Permit, Problem> {
        if let Some(permit) = &self.permit {
            return self.confirm(api).await.map(|()| permit.clone());
        }
        let policy = &Policy::Capable(self.capability);
        let config = api.config.load();
        let mut scratch = Scratch::new();
        let attempt = Attempt {
            presented: config.credential_headers.read(&self.headers, &mut scratch),
            source: Source::of(self.source),
        };
        let mut record = self.record.with_same_id();
        let decided = self.decide(api, &attempt, policy, &mut record).await;
        self.record.set(record);
        decided
    }

    /// Decides about a credential in the request, and records the decision.
    pub(super) async fn decide(
        &self,
        api: &V1,
        attempt: &Attempt<'_>,
        policy: &Policy,
        record: &mut RequestRecord,
    ) -> Result<Permit, Problem> {
        let decided = self.judge(api, attempt, policy, record).await;
        decided.map_err(|denial| Problem::from(&denial))
    }

    /// Decides about a credential in the request.
    ///
    /// # Errors
    /// The denial.
    pub(super) async fn judge(
        &self,
        api: &V1,
        attempt: &Attempt<'_>,
        policy: &Policy,
        record: &mut RequestRecord,
    ) -> Result<Permit, crate::auth::Denial> {
        let request = AuthRequest {
            door: Door::Rest,
            tally: api.recorder.no_route(),
            attempt,
            policy,
            mode: Mode::Enforce,
            now: self.now,
            began: Instant::now(),
        };
        let line = || RequestLine {
            method: self.method.as_str().as_bytes(),
            host: self.host.as_bytes(),
            path: self.uri.path().as_bytes(),
        };
        authorize(&api.authority, &api.recorder, request, line, record).await
    }

    /// Returns another record of the request, without an outcome.
    pub(super) fn record(&self) -> RequestRecord {
        self.record.with_same_id()
    }

    /// Returns the author of changes by this request.
    pub(super) fn author(&self, api: &V1, permit: &Permit) -> Author {
        Author {
            permit: permit.clone(),
            capability: self.capability,
            authority: Arc::clone(&api.authority),
            source: self.source,
            audit: api.audit.clone(),
            record: self.record(),
        }
    }

    /// Checks that the caller may still do what it was permitted to when the request began.
    ///
    /// # Errors
    /// The problem of the denial.
    pub(super) async fn confirm(&self, api: &V1) -> Result<(), Problem> {
        let permit = self.permit.as_ref().ok_or(Kind::Unauthenticated)?;
        let record = self.record();
        let confirmed = confirm(&api.authority, permit, self.capability, &record).await;
        confirmed.map_err(|denial| Problem::from(&denial))
    }

    /// Reads a body of one of these media types. The client may send it slowly, so afterwards this
    /// checks again that the caller is permitted, and the time of the request is that of its end.
    ///
    /// # Errors
    /// 408, 413 or 415; 400 if the client ends it too early; the problem of a denial.
    pub(super) async fn bytes(
        &mut self,
        api: &V1,
        types: &[&str],
        most: usize,
    ) -> Result<Bytes, Problem> {
        let is_named = |kind: &str| types.iter().any(|it| it.eq_ignore_ascii_case(kind));
        let kind = self.headers.get(CONTENT_TYPE);
        let kind = kind.and_then(|it| it.to_str().ok()).unwrap_or_default();
        let kind = kind.split(';').next().unwrap_or_default().trim();
        if !is_named(kind) {
            let detail = format!("expected {}", types.join(" or "));
            return Err(Problem::new(Kind::MediaType).detail(detail));
        }
        let within = api.config.load().timeouts.body;
        let body = std::mem::take(&mut *self.body.lock());
        let read = read_whole(body, &self.headers, most, within).await;
        let read = read.map_err(|unread| match unread {
            Unread::TooLarge => {
                Problem::new(Kind::TooLarge).detail(format!("expected at most {most} bytes"))
            }
            Unread::Broken => Problem::new(Kind::Malformed).detail("the body is incomplete"),
            Unread::Slow => Problem::from(Kind::Slow),
        })?;
        self.now = UnixTime::from(SystemTime::now());
        self.confirm(api).await?;
        Ok(read)
    }

    /// Reads a JSON body.
    ///
    /// # Errors
    /// Those of [`Self::bytes`]; 400 if it is not JSON, 422 if it is not as expected.
    pub(super) async fn json<T: DeserializeOwned>(
        &mut self,
        api: &V1,
        types: &[&str],
    ) -> Result<T, Problem> {
        let most = api.config.load().limits.body_bytes;
        let bytes = self.bytes(api, types, most).await?;
        parse(&bytes)
    }

    /// Returns whether the request has a body.
    pub(super) fn has_body(&self) -> bool {
        use http_body::Body as _;
        !self.body.lock().is_end_stream() || self.headers.contains_key(CONTENT_TYPE)
    }

    /// Returns the version that an identity must have at the change, from `If-Match` (RFC 9110
    /// §13.1.1).
    ///
    /// # Errors
    /// 412 if it has another one already.
    pub(super) fn expected(
        &self,
        id: IdentityId,
        version: Version,
    ) -> Result<Option<Version>, Problem> {
        let mut values = self.headers.get_all(IF_MATCH).iter().peekable();
        if values.peek().is_none() {
            return Ok(None);
        }
        for value in values {
            for tag in value.to_str().unwrap_or_default().split(',') {
                match tag.trim() {
                    "*" => return Ok(None),
                    tag if tag == etag(id, version) => return Ok(Some(version)),
                    _ => {}
                }
            }
        }
        Err(Kind::Stale.into())
    }

    /// Returns whether the client has this version of an identity already (`If-None-Match`).
    pub(super) fn is_known(&self, identity: &Identity) -> bool {
        let tags = self.headers.get_all(IF_NONE_MATCH).iter();
        let mut tags = tags.flat_map(|value| value.to_str().unwrap_or_default().split(','));
        tags.any(|tag| {
            let tag = tag.trim();
            tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == etag_of(identity)
        })
    }

    /// Returns a hash of the caller and its Idempotency-Key, if there is one.
    ///
    /// # Errors
    /// 400 if it is no such key.
    pub(super) fn key(&self, permit: &Permit) -> Result<Option<Sha256>, Problem> {
        let mut values = self.headers.get_all(IDEMPOTENCY_KEY).iter();
        let Some(value) = values.next() else {
            return Ok(None);
        };
        let is_visible = |byte: &u8| matches!(byte, b'!'..=b'~');
        let key = value.as_bytes();
        if values.next().is_some()
            || key.is_empty()
            || key.len() > KEY_BYTES
            || !key.iter().all(is_visible)
        {
            let detail = format!("expected 1 to {KEY_BYTES} visible ASCII characters, once");
            return Err(Problem::field(Kind::Malformed, "Idempotency-Key", detail));
        }
        // Another identity may get the name of the caller, so the key belongs to the id.
        let (id, _) = permit.identity().ok_or(Kind::NotAllowed)?;
        let mut hash = Sha256::new();
        hash.update(b"realmgate idempotency 2");
        hash.update(id.0.to_be_bytes());
        hash.update((key.len() as u64).to_be_bytes());
        hash.update(key);
        Ok(Some(hash))
    }
}

fn etag_of(identity: &Identity) -> String {
    etag(identity.id, identity.history.version)
}

/// Makes a JSON response.
pub(super) fn json(status: StatusCode, value: &impl Serialize) -> Result<Response, Problem> {
    let body = serde_json::to_vec(value).map_err(|error| {
        tracing::error!(%error, door = "rest", "a response cannot be written");
        Problem::new(Kind::Unavailable)
    })?;
    Ok(response(status, "application/json", Body::from(body)))
}

pub(super) fn response(status: StatusCode, kind: &'static str, body: Body) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

pub(super) fn empty() -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
}

/// Makes an HTTP/1 connection end with a response that has a seed, or whose request had a secret,
/// because its buffers have it too.
pub(crate) fn closing(mut response: Response) -> Response {
    let close = HeaderValue::from_static("close");
    response.headers_mut().insert(CONNECTION, close);
    response
}

/// Adds the entity tag of an identity to a response.
pub(super) fn tagged(mut response: Response, identity: &Identity) -> Response {
    if let Ok(tag) = HeaderValue::from_str(&etag_of(identity)) {
        response.headers_mut().insert(ETAG, tag);
    }
    response
}

/// Returns the path of an identity.
pub(super) fn location(id: IdentityId) -> Option<HeaderValue> {
    HeaderValue::from_str(&format!("/v1/identities/{}", id.0)).ok()
}
