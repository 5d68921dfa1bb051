//! Creates identities, one or many.

use std::collections::HashSet;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use bytes::Bytes;
use futures_util::stream::{self, StreamExt};
use http::StatusCode;
use http::header::{HeaderName, HeaderValue, LOCATION};
use parking_lot::Mutex;
use sha2::{Digest, Sha256};

use super::call::{self, Call, closing, empty, json, location, response, tagged};
use super::identities::of;
use super::parse::parse_line;
use super::problem::{Kind, Problem};
use super::query::Query;
use super::shown::shown_with_seed;
use super::state::V1;
use super::terms::identity;
use super::types::{self, Line};
use crate::audit::{self, LINE};
use crate::auth::{Capability, Created, Creation, Identity, Once, Permit, Seed, UnixTime};
use crate::doors::api::change::{Author, Subject, finish};

/// The maximum size of a bulk request, and the maximum number of its lines.
const BULK_BYTES: usize = 4 << 20;
const BULK_LINES: usize = 10_000;

/// The number of identities per transaction.
const BATCH: usize = 250;

/// The space for the audit line of a creation: every character of a principal may take 12 bytes.
const AUDIT_LINE: u64 = 8 << 10;

const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

const NDJSON: [&str; 3] = [
    "application/x-ndjson",
    "application/ndjson",
    "application/jsonl",
];

/// Create an identity
///
/// The response is the only one that shows its seed.
#[utoipa::path(
    post, path = "/v1/identities", operation_id = "create_identity", tag = "identities",
    params(("Idempotency-Key" = Option<String>, Header, max_length = 256,
        description = "Repeating the request with the same key within 24 h creates nothing, and has the same response; 422 with another body, 410 after a deletion or rotation of the identity")),
    request_body(content = types::NewIdentity),
    responses((
        status = 201, body = types::Identity, description = "It is created",
        headers(
            ("Location" = String, description = "Its path"),
            ("ETag" = String, description = "Its version"),
            ("Idempotency-Replayed" = String, description = "`true` if an earlier request created it"),
        ),
        links(
            ("GetIdentity" = (operation_id = "get_identity", parameters(("who" = "$response.body#/id")))),
            ("ChangeIdentity" = (operation_id = "change_identity", parameters(("who" = "$response.body#/id")))),
            ("RotateIdentity" = (operation_id = "rotate_identity", parameters(("who" = "$response.body#/id")))),
            ("DisableIdentity" = (operation_id = "disable_identity", parameters(("who" = "$response.body#/id")))),
            ("EnableIdentity" = (operation_id = "enable_identity", parameters(("who" = "$response.body#/id")))),
            ("UnthrottleIdentity" = (operation_id = "unthrottle_identity", parameters(("who" = "$response.body#/id")))),
            ("DeleteIdentity" = (operation_id = "delete_identity", parameters(("who" = "$response.body#/id")))),
        ),
    )),
)]
pub(super) async fn create(State(api): State<Arc<V1>>, request: Request) -> Response {
    call::handle(&api, request, Capability::Create, async |call, permit| {
        let mut call = call;
        Query::of(&call.uri).end()?;
        let key = call.key(&permit)?;
        let new: types::NewIdentity = call.json(&api, &["application/json"]).await?;
        let creation = creation(&api, new, key, call.now)?;
        if call.is_trial {
            let who = &creation.new.principal;
            return match of(&api, who.name(), who.realm()).await? {
                Some(_) => Err(Kind::Taken.into()),
                None => Ok(empty()),
            };
        }
        let seed = creation.new.seed.clone();
        let author = call.author(&api, &permit);
        let outcome = make(&api, author, call.now, vec![creation]).await?;
        let (identity, seed, is_again) = match outcome.into_iter().next() {
            Some(Created::New(identity)) => (identity, seed, false),
            Some(created) => {
                let (identity, seed) = before(created)?;
                (identity, seed, true)
            }
            None => return Err(Kind::Unavailable.into()),
        };
        let shown = shown_with_seed(&api, &identity, &seed, call.now);
        let mut response = tagged(json(StatusCode::CREATED, &shown)?, &identity);
        let headers = response.headers_mut();
        if let Some(location) = location(identity.id) {
            headers.insert(LOCATION, location);
        }
        if is_again {
            headers.insert(REPLAYED, HeaderValue::from_static("true"));
        }
        Ok(closing(response))
    })
    .await
}

/// Create many identities
///
/// A `NewIdentity` a line, at most 10,000 lines and 4 MiB. Each is created or rejected by itself. To
/// continue a request that broke off, repeat it with the same `Idempotency-Key`: what was created
/// before is shown again. A second line with the same name and realm is rejected.
#[utoipa::path(
    post, path = "/v1/identities/bulk", operation_id = "create_identities", tag = "identities",
    params(("Idempotency-Key" = Option<String>, Header, max_length = 256, description = "Repeating the request with the same key within 24 h creates nothing twice: what it created before is shown again")),
    request_body(content = String, content_type = "application/x-ndjson"),
    responses((
        status = 200, body = String, content_type = "application/x-ndjson",
        description = "A `Line` for each line of the request, in its order",
    )),
)]
pub(super) async fn bulk(State(api): State<Arc<V1>>, request: Request) -> Response {
    call::handle(&api, request, Capability::Create, async |call, permit| {
        let mut call = call;
        Query::of(&call.uri).end()?;
        let key = call.key(&permit)?;
        let bytes = call.bytes(&api, &NDJSON, BULK_BYTES).await?;
        let mut lines = Vec::new();
        for (number, line) in (1..).zip(bytes.split(|byte| *byte == b'\n')) {
            if line.iter().all(u8::is_ascii_whitespace) {
                continue;
            }
            lines.push((number, bytes.slice_ref(line)));
        }
        if lines.len() > BULK_LINES {
            let detail = format!("expected at most {BULK_LINES} lines");
            return Err(Problem::new(Kind::TooLarge).detail(detail));
        }
        let bulk = Arc::new(Bulk {
            api: Arc::clone(&api),
            call,
            permit,
            key,
            named: Mutex::default(),
        });
        let batches: Vec<_> = lines.chunks(BATCH).map(<[_]>::to_vec).collect();
        let parts = stream::iter(batches).then(move |batch| {
            let bulk = Arc::clone(&bulk);
            async move { Ok::<_, std::convert::Infallible>(bulk.run(batch).await) }
        });
        let body = Body::from_stream(parts);
        let response = response(StatusCode::OK, "application/x-ndjson", body);
        Ok(closing(response))
    })
    .await
}

/// A bulk creation.
struct Bulk {
    api: Arc<V1>,
    call: Call,
    permit: Permit,
    key: Option<Sha256>,
    /// The principals of the batches before. With a key, a second line of the same principal would
    /// pass for a repetition of the first.
    named: Mutex<HashSet<(String, String)>>,
}

impl Bulk {
    /// Creates the identities of some lines, and returns the lines of the response.
    async fn run(&self, lines: Vec<(u64, Bytes)>) -> Bytes {
        let mut outcomes = Vec::with_capacity(lines.len());
        let mut creations = Vec::with_capacity(lines.len());
        let mut named = HashSet::new();
        for (number, line) in lines {
            let parsed = parse_line::<types::NewIdentity>(&line).and_then(|new| {
                let who = (new.name.clone(), new.realm.clone());
                let key = self.key.clone().map(|key| key_of_line(key, &new));
                let creation = creation(&self.api, new, key, self.call.now)?;
                if self.named.lock().contains(&who) || !named.insert(who) {
                    return Err(Kind::Taken.into());
                }
                Ok(creation)
            });
            outcomes.push((
                number,
                parsed.map(|creation| {
                    let seed = creation.new.seed.clone();
                    creations.push(creation);
                    seed
                }),
            ));
        }
        let author = self.call.author(&self.api, &self.permit);
        let (made, failed) = match make(&self.api, author, self.call.now, creations).await {
            Ok(made) => {
                self.named.lock().extend(named);
                (made, None)
            }
            Err(problem) => (Vec::new(), Some(problem)),
        };
        let mut made = made.into_iter();
        let mut text = Vec::new();
        for (line, outcome) in outcomes {
            let outcome = outcome.and_then(|seed| match (made.next(), &failed) {
                (Some(Created::New(identity)), _) => Ok((identity, seed)),
                (Some(created), _) => before(created),
                (None, Some(problem)) => Err(problem.clone()),
                (None, None) => Err(Kind::Unavailable.into()),
            });
            let line = match outcome {
                Ok((identity, seed)) => Line {
                    line,
                    status: StatusCode::CREATED.as_u16(),
                    identity: Some(shown_with_seed(&self.api, &identity, &seed, self.call.now)),
                    problem: None,
                },
                Err(problem) => Line {
                    line,
                    status: problem.kind.status(),
                    identity: None,
                    problem: Some(problem.named(&self.call.record()).document()),
                },
            };
            let _ = serde_json::to_writer(&mut text, &line);
            text.push(b'\n');
        }
        text.into()
    }
}

/// Returns the key of a line. It does not depend on the place of the line, so that a client may
/// repeat a part of its lines.
fn key_of_line(mut key: Sha256, new: &types::NewIdentity) -> Sha256 {
    for part in [&new.realm, &new.name] {
        key.update((part.len() as u64).to_be_bytes());
        key.update(part);
    }
    key
}

/// Checks an identity to create.
fn creation(
    api: &V1,
    new: types::NewIdentity,
    key: Option<Sha256>,
    now: UnixTime,
) -> Result<Creation, Problem> {
    let once = key.map(|key| {
        let content = serde_json::to_vec(&new).unwrap_or_default();
        Once {
            key: key.finalize().into(),
            content: Sha256::digest(content).into(),
        }
    });
    let new = identity(&api.config.load(), new, now)?;
    Ok(Creation { new, once })
}

/// Creates identities in one transaction, and writes them into the audit log.
async fn make(
    api: &V1,
    author: Author,
    now: UnixTime,
    creations: Vec<Creation>,
) -> Result<Vec<Created>, Problem> {
    if creations.is_empty() {
        return Ok(Vec::new());
    }
    let store = Arc::clone(&api.store);
    let bytes = LINE.max(AUDIT_LINE * creations.len() as u64);
    let record = author.record.with_same_id();
    finish((&api.audit, &api.changes), bytes, record, async move {
        let confirmed = author.confirm().await;
        confirmed.map_err(|denial| Problem::from(&denial))?;
        let created = store.create_all(creations, now).await?;
        let new = created.iter().filter_map(|it| match it {
            Created::New(identity) => Some((Subject::of(identity), None)),
            _ => None,
        });
        let new: Vec<_> = new.collect();
        author
            .record_all(audit::Kind::IdentityCreated, &new)
            .await?;
        let again = created.iter().filter_map(|it| match it {
            Created::Before(identity) if first_seed(identity).is_some() => {
                Some((Subject::of(identity), None))
            }
            _ => None,
        });
        let again: Vec<_> = again.collect();
        author
            .record_all(audit::Kind::IdentityShown, &again)
            .await?;
        Ok::<_, Problem>(created)
    })
    .await
}

/// Returns the seed with which an identity was created. One that was made later is shown only to the
/// caller who rotated it.
fn first_seed(identity: &Identity) -> Option<Seed> {
    let is_first = identity.history.seed_made == Some(identity.created);
    identity.seed().filter(|_| is_first)
}

/// Returns the identity that the same request created before, with its seed.
fn before(created: Created) -> Result<(Arc<Identity>, Seed), Problem> {
    match created {
        Created::New(identity) | Created::Before(identity) => {
            let seed = first_seed(&identity);
            let rotated = || Problem::new(Kind::Gone).detail("The seed was rotated since.");
            Ok((Arc::clone(&identity), seed.ok_or_else(rotated)?))
        }
        Created::Deleted => Err(Problem::new(Kind::Gone).detail("The identity was deleted since.")),
        Created::OtherContent => Err(Kind::KeyReused.into()),
        Created::Taken => Err(Kind::Taken.into()),
    }
}
