//! Decisions for other programs, and the feed of changes.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::response::Response;
use http::StatusCode;
use tokio::time::{Instant, sleep};

use super::call::{self, json};
use super::problem::{Kind, Problem};
use super::query::Query;
use super::state::V1;
use super::types::{DecideRequest, Decision, DenialKind, Feed, PrincipalName, Verdict};
use crate::auth::{
    Attempt, Capability, Credential, Denial, Party, Permit, Policy, PrincipalRef, Proof, Source,
};

/// The maximum wait for a change in seconds, and the interval between looks.
const LONGEST_WAIT: u32 = 30;
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// The default number of changes in a response.
const CHANGES: u32 = 1000;

/// Decide about a credential
///
/// For programs that ask this server instead of a database. A permit holds until `until`, or until
/// the principal is in the change feed.
#[utoipa::path(
    post, path = "/v1/decide", operation_id = "decide", tag = "decisions",
    request_body(content = DecideRequest),
    responses((status = 200, body = Verdict, description = "The decision")),
)]
pub(super) async fn decide(State(api): State<Arc<V1>>, request: Request) -> Response {
    call::handle(&api, request, Capability::Verify, async |call, permit| {
        let mut call = call;
        Query::of(&call.uri).end()?;
        let asked: DecideRequest = call.json(&api, &["application/json"]).await?;
        let DecideRequest {
            name,
            realm,
            token,
            source,
        } = &asked;
        let config = api.config.load();
        let limit = config.credential_headers.name_chars;
        let token = crate::auth::Token::new(token);
        let credential = token.and_then(|it| Credential::with_token(name, realm, it, limit));
        let client = source.map(|source| source.to_canonical());
        let attempt = Attempt {
            presented: credential.into(),
            source: Source {
                address: client.or(call.source),
                party: permit.principal().map(|verifier| match client {
                    Some(_) => Party::ClientOf(verifier),
                    None => Party::Verifier(verifier),
                }),
            },
        };
        // The log of the request names the caller, not the subject.
        let mut record = call.record();
        let decided = call
            .judge(&api, &attempt, &Policy::Authenticated, &mut record)
            .await;
        let is_one_time = config.one_time_realms.iter().any(|it| **it == **realm);
        json(StatusCode::OK, &verdict(decided, is_one_time)?)
    })
    .await
}

fn verdict(decided: Result<Permit, Denial>, is_one_time: bool) -> Result<Verdict, Problem> {
    let mut verdict = Verdict {
        decision: Decision::Deny,
        name: None,
        realm: None,
        proof: None,
        until: None,
        denial: None,
        retry_after: None,
    };
    match decided {
        Ok(permit) => {
            verdict.decision = Decision::Permit;
            verdict.name = permit.principal().map(|who| who.name().to_owned());
            verdict.realm = permit.principal().map(|who| who.realm().to_owned());
            verdict.proof = permit.proof().as_str().map(str::to_owned);
            if let Proof::Token { until, .. } = permit.proof()
                && !is_one_time
            {
                verdict.until = Some(until.into());
            }
        }
        Err(Denial::Unavailable(_)) => return Err(Kind::Unavailable.into()),
        Err(Denial::Throttled { retry_after, .. }) => {
            verdict.denial = Some(DenialKind::Throttled);
            verdict.retry_after = Some(retry_after.as_secs().max(1));
        }
        Err(Denial::Malformed(_) | Denial::NoCredential) => {
            verdict.denial = Some(DenialKind::Malformed);
        }
        Err(Denial::InvalidCredential { .. } | Denial::NotAllowed) => {
            verdict.denial = Some(DenialKind::Refused);
        }
    }
    Ok(verdict)
}

/// Follow the changes of identities
///
/// Waits up to `wait` seconds for a change after a position.
#[utoipa::path(
    get, path = "/v1/changes", operation_id = "list_changes", tag = "decisions",
    params(
        ("after" = Option<i64>, Query, minimum = 0, description = "`next` of the response before; without it, the response has the current position and no changes"),
        ("wait" = Option<u32>, Query, maximum = 30, description = "The maximum wait for a change in seconds, 0 by default"),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 1000, description = "The maximum number of changes, 1,000 by default"),
    ),
    responses((status = 200, body = Feed, description = "The changes")),
)]
pub(super) async fn changes(State(api): State<Arc<V1>>, request: Request) -> Response {
    call::handle(&api, request, Capability::Verify, async |call, _| {
        let mut query = Query::of(&call.uri);
        let after = query.parsed::<i64>("after");
        if after.is_some_and(|after| after < 0) {
            query.reject("after", "expected a position");
        }
        let wait = query.number("wait", 0..=LONGEST_WAIT, 0);
        let limit = query.number("limit", 1..=CHANGES, CHANGES);
        query.end()?;
        let Some(after) = after else {
            let feed = Feed {
                changed: Vec::new(),
                reset: false,
                next: api.store.position(),
            };
            return json(StatusCode::OK, &feed);
        };
        let deadline = Instant::now() + Duration::from_secs(wait.into());
        while api.store.position() == after
            && Instant::now() < deadline
            && !api.closing.is_cancelled()
        {
            sleep(LOOK_EVERY).await;
        }
        call.confirm(&api).await?;
        let changes = api.store.changes(after, limit).await?;
        let name = |who: PrincipalRef<'_>| PrincipalName {
            name: who.name().to_owned(),
            realm: who.realm().to_owned(),
        };
        let changed = changes.changed.as_ref();
        let feed = Feed {
            reset: changed.is_none(),
            changed: changed
                .into_iter()
                .flatten()
                .map(|who| name(who.as_ref()))
                .collect(),
            next: changes.last,
        };
        json(StatusCode::OK, &feed)
    })
    .await
}
