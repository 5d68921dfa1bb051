//! A request with a session, and the requests to `/v1` that it makes in the same process.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::ConnectInfo;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, ETAG, IF_MATCH};
use http::{HeaderMap, Method, Request};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tower::ServiceExt;

use super::fault::Fault;
use super::state::Page;
use crate::audit::{Actor, DURABLE, Event, Kind, LINE};
use crate::auth::{Permit, PrincipalRef, SessionId, Store, UnixTime};
use crate::doors::api::change::finish;
use crate::doors::v1::{Acting, types};
use crate::telemetry::{Door, RecordSlot};

/// The maximum size of a response of `/v1`: that of a bulk creation.
const MOST: usize = 64 << 20;

/// The client of a request.
#[derive(Clone)]
pub(super) struct Client {
    pub(super) source: Option<IpAddr>,
    pub(super) now: UnixTime,
    pub(super) record: RecordSlot,
}

/// A request with a session.
#[derive(Clone)]
pub(super) struct Visit {
    pub(super) client: Client,
    pub(super) permit: Permit,
    pub(super) session: SessionId,
    v1: Router,
    store: Arc<dyn Store>,
    /// Whether changes are only checked.
    is_trial: bool,
}

/// A response of `/v1`.
struct Answer {
    status: u16,
    headers: HeaderMap,
    body: Bytes,
}

impl Visit {
    pub(super) fn new(page: &Page, client: Client, permit: Permit, session: SessionId) -> Self {
        Self {
            client,
            permit,
            session,
            v1: page.v1.clone(),
            store: Arc::clone(&page.api.store),
            is_trial: false,
        }
    }

    /// Returns the principal of the session.
    pub(super) fn who(&self) -> String {
        let who = self.permit.principal();
        who.map_or_else(String::new, |who| format!("{}@{}", who.name(), who.realm()))
    }

    /// Returns the name of the principal of the session.
    pub(super) fn name(&self) -> &str {
        self.permit.principal().map_or("", PrincipalRef::name)
    }

    /// Gets a resource.
    ///
    /// # Errors
    /// The problem of the response.
    pub(super) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Fault> {
        Ok(self.get_tagged(path).await?.0)
    }

    /// Gets a resource with its version.
    ///
    /// # Errors
    /// The problem of the response.
    pub(super) async fn get_tagged<T: DeserializeOwned>(
        &self,
        path: &str,
    ) -> Result<(T, String), Fault> {
        let answer = self.send(Method::GET, path, None, None).await?;
        let tag = answer.headers.get(ETAG).and_then(|it| it.to_str().ok());
        let tag = tag.unwrap_or_default().to_owned();
        Ok((answer.read()?, tag))
    }

    /// Sends JSON, with the version that the resource must have.
    ///
    /// # Errors
    /// The problem of the response.
    pub(super) async fn change<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<&(impl Serialize + Sync)>,
        version: Option<&str>,
    ) -> Result<T, Fault> {
        let body = body.map(json).transpose()?;
        self.send(method, path, body, version).await?.read()
    }

    /// Checks everything for which a change could be rejected, and changes nothing.
    ///
    /// # Errors
    /// The problem with which the change would be rejected now.
    pub(super) async fn rehearse<T: Serialize + Sync>(
        &self,
        method: Method,
        path: &str,
        body: Option<&T>,
        version: Option<&str>,
    ) -> Result<(), Fault> {
        let trial = Self {
            is_trial: true,
            ..self.clone()
        };
        let body = body.map(json).transpose()?;
        trial.send(method, path, body, version).await.map(drop)
    }

    /// Makes a change that has neither a body nor a result.
    ///
    /// # Errors
    /// The problem of the response.
    pub(super) async fn order(
        &self,
        method: Method,
        path: &str,
        version: Option<&str>,
    ) -> Result<(), Fault> {
        self.send(method, path, None, version).await.map(drop)
    }

    /// Sends lines of JSON, and returns those of the response.
    ///
    /// # Errors
    /// The problem of the response.
    pub(super) async fn lines(
        &self,
        path: &str,
        lines: Vec<u8>,
    ) -> Result<Vec<types::Line>, Fault> {
        let body = Some(("application/x-ndjson", lines));
        let answer = self.send(Method::POST, path, body, None).await?;
        let lines = answer.body.split(|byte| *byte == b'\n');
        let lines = lines.filter(|line| !line.is_empty());
        let lines: Result<_, _> = lines.map(serde_json::from_slice).collect();
        lines.map_err(|_| Fault::UNAVAILABLE)
    }

    /// Returns whether the session is still there, right before a change.
    async fn is_open(&self) -> Result<bool, Fault> {
        let found = self.store.session(self.session).await.map_err(|error| {
            tracing::error!(%error, door = "admin", "a session cannot be read");
            Fault::UNAVAILABLE
        })?;
        Ok(found.is_some())
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<(&str, Vec<u8>)>,
        version: Option<&str>,
    ) -> Result<Answer, Fault> {
        let is_change = method != Method::GET && !self.is_trial;
        if is_change && !self.is_open().await? {
            return Err(Fault::ENDED);
        }
        let mut request = Request::builder().method(method).uri(path);
        if let Some((kind, _)) = body {
            request = request.header(CONTENT_TYPE, kind);
        }
        if let Some(version) = version.filter(|it| !it.is_empty()) {
            request = request.header(IF_MATCH, version);
        }
        if let Some(source) = self.client.source {
            request = request.extension(ConnectInfo(SocketAddr::new(source, 0)));
        }
        let body = body.map_or_else(Body::empty, |(_, body)| Body::from(body));
        let request = request
            .extension(Acting {
                permit: self.permit.clone(),
                is_trial: self.is_trial,
            })
            .extension(self.client.record.clone())
            .body(body)
            .map_err(|_| Fault::UNAVAILABLE)?;
        let response = match self.v1.clone().oneshot(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        };
        let (parts, body) = response.into_parts();
        let body = to_bytes(body, MOST).await;
        let answer = Answer {
            status: parts.status.as_u16(),
            headers: parts.headers,
            body: body.map_err(|_| Fault::UNAVAILABLE)?,
        };
        match answer.status {
            200..=299 => Ok(answer),
            _ => Err(answer.problem()),
        }
    }
}

fn json(body: &impl Serialize) -> Result<(&'static str, Vec<u8>), Fault> {
    let body = serde_json::to_vec(body);
    body.map(|body| ("application/json", body))
        .map_err(|_| Fault::UNAVAILABLE)
}

impl Answer {
    fn read<T: DeserializeOwned>(&self) -> Result<T, Fault> {
        serde_json::from_slice(&self.body).map_err(|error| {
            tracing::error!(%error, door = "admin", "a response of /v1 cannot be read");
            Fault::UNAVAILABLE
        })
    }

    fn problem(&self) -> Fault {
        match serde_json::from_slice::<types::Problem>(&self.body) {
            Ok(problem) => {
                let tag = self.headers.get(ETAG).and_then(|it| it.to_str().ok());
                Fault::of_problem(problem, tag)
            }
            Err(_) => Fault::UNAVAILABLE,
        }
    }
}

/// Writes the beginning or end of a session into the audit log, before its response is sent.
///
/// # Errors
/// 503.
pub(super) async fn record(
    page: &Page,
    client: &Client,
    kind: Kind,
    (permit, subject): (&Permit, Option<PrincipalRef<'_>>),
    reason: &str,
) -> Result<(), Fault> {
    let request = client.record.with_same_id();
    let by = permit.principal();
    let event = Event {
        door: Some(Door::Admin.as_str()),
        subject: subject.or(by),
        actor: by.map(Actor::Principal),
        proof: permit.proof().as_str(),
        source: client.source,
        request: request.request_id(),
        reason: Some(reason),
        ..Event::new(kind)
    };
    let audit = &page.api.audit;
    let written = match audit.ready(LINE).await {
        Ok(()) => audit.record(&[event], DURABLE).await,
        error => error,
    };
    written.map_err(|error| {
        tracing::error!(%error, door = "admin", "a session is not in the audit log");
        Fault::UNAVAILABLE
    })
}

/// Ends a session, and writes that into the audit log.
///
/// # Errors
/// 503.
pub(super) async fn end(
    page: &Page,
    client: &Client,
    id: SessionId,
    (permit, subject): (&Permit, Option<PrincipalRef<'_>>),
    reason: &str,
) -> Result<(), Fault> {
    let ended = page.api.store.end_session(id).await.map_err(|error| {
        tracing::error!(%error, door = "admin", "a session cannot be ended");
        Fault::UNAVAILABLE
    })?;
    match ended {
        Some(_) => record(page, client, Kind::SessionEnded, (permit, subject), reason).await,
        None => Ok(()),
    }
}

/// Begins or ends sessions in a task of its own, so that this reaches the audit log even if the
/// browser disconnects. Does not begin if the audit log cannot be written.
///
/// # Errors
/// Those of `work`; 503.
pub(super) async fn logged(
    page: &Page,
    client: &Client,
    work: impl Future<Output = Result<(), Fault>> + Send + 'static,
) -> Result<(), Fault> {
    let log = (&page.api.audit, &page.api.changes);
    finish(log, LINE, client.record.with_same_id(), work).await
}
