//! Connections and responses that outlast the decision about their request: they end when the caller
//! would not pass any more.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Fuse};
use http::header::CONTENT_LENGTH;
use parking_lot::Mutex;
use pingora::http::ResponseHeader;
use tokio::time::sleep;

use super::context::Authorized;
use crate::auth::{Authority, Denial, Mode, Permit, Policy, PrincipalRef, UnixTime};
use crate::doors::snapshot::Snapshot;
use crate::http::request_id::RequestId;
use crate::routing::route::Route;

/// How often the caller is checked.
const EVERY: Duration = Duration::from_secs(2);
/// How many checks in a row may fail because the store does.
const MOST_FAILURES: usize = 30;
/// The number of digits of the shortest `Content-Length` of a response that takes long to send.
const LONG: usize = 8;

/// The permit of a request that goes on. An extension of the request header on its way to the
/// session.
#[derive(Clone)]
pub(super) struct Tenure {
    authority: Arc<Authority>,
    permit: Permit,
    snapshot: Arc<Snapshot>,
    /// The index of the route.
    route: usize,
    id: RequestId,
}

impl Tenure {
    /// Makes that of a response whose end is not near. `None` if its route admits anyone.
    pub(super) fn of(
        authority: &Arc<Authority>,
        authorized: &Authorized,
        response: &ResponseHeader,
        id: RequestId,
    ) -> Option<Self> {
        let is_named = authorized.permit.principal().is_some();
        let is_enforced = authorized
            .route()
            .is_some_and(|route| route.mode == Mode::Enforce && route.policy != Policy::Anyone);
        (is_named && is_enforced && may_last(response)).then(|| Self {
            authority: Arc::clone(authority),
            permit: authorized.permit.clone(),
            snapshot: Arc::clone(&authorized.snapshot),
            route: authorized.route,
            id,
        })
    }

    fn route(&self) -> Option<&Route> {
        self.snapshot.routes.get(self.route)
    }

    /// Begins to check the caller.
    pub(super) fn begin(self) -> Ending {
        Mutex::new(self.ended().boxed().fuse())
    }

    /// Resolves when the caller would not pass any more: its identity is disabled, expired, renamed
    /// or deleted, or has another seed. While the store fails, it waits for a minute.
    async fn ended(self) {
        let Some(route) = self.route() else {
            return;
        };
        let mut failures = 0;
        loop {
            sleep(EVERY).await;
            let now = UnixTime::from(SystemTime::now());
            let denial = match self
                .authority
                .confirm(&self.permit, &route.policy, now)
                .await
            {
                Ok(()) => {
                    failures = 0;
                    continue;
                }
                Err(Denial::Unavailable(_)) if failures < MOST_FAILURES => {
                    failures += 1;
                    continue;
                }
                Err(denial) => denial,
            };
            let principal = self.permit.principal();
            tracing::info!(
                request_id = %self.id,
                name = principal.map(PrincipalRef::name),
                realm = principal.map(PrincipalRef::realm),
                route = %route.name,
                reason = denial.reason(),
                "connection closed: its caller would be denied now"
            );
            return;
        }
    }
}

/// Resolves when the caller would not pass any more. Never locked: the mutex only makes the future
/// `Sync`.
pub(super) type Ending = Mutex<Fuse<BoxFuture<'static, ()>>>;

/// Waits for a future; `None` if the caller would not pass any more.
pub(super) async fn within_tenure<T>(
    ending: &mut Option<Ending>,
    next: impl Future<Output = T>,
) -> Option<T> {
    let Some(ending) = ending else {
        return Some(next.await);
    };
    tokio::select! {
        biased;
        () = ending.get_mut() => None,
        next = next => Some(next),
    }
}

/// Returns whether a response has no known end, or a distant one.
fn may_last(response: &ResponseHeader) -> bool {
    let length = response.headers.get(CONTENT_LENGTH);
    length.is_none_or(|length| length.len() >= LONG)
}
