//! Disables an identity: at once, or with a fresh token if it is in a reserved realm.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Path, Request, State};
use axum::response::Response;
use http::Method;

use super::change::{Order, ask, confirmed_order};
use super::fault::{Errors, Fault};
use super::form::{Form, SMALL};
use super::state::Page;
use super::token::is_reserved;
use super::view::see;
use super::visit::Visit;
use crate::doors::v1::types::Identity;

/// The number of tries to disable an identity that others are changing.
const TRIES: u8 = 8;

pub(super) async fn form(
    State(page): State<Arc<Page>>,
    Extension(visit): Extension<Visit>,
    Path(id): Path<i64>,
) -> Result<Response, Fault> {
    ask(&page, &visit, id, Order::Disable, Errors::default()).await
}

pub(super) async fn disable(
    State(page): State<Arc<Page>>,
    Extension(visit): Extension<Visit>,
    Path(id): Path<i64>,
    request: Request,
) -> Result<Response, Fault> {
    let form = Form::read(&page, request, SMALL).await?;
    // Otherwise an open browser could lock out all administrators, or all services that verify.
    let is_reserved = |realm: &str| is_reserved(&page, realm);
    match unless_reserved(&Visited { visit: &visit, id }, is_reserved).await? {
        Outcome::Disabled => Ok(see(&format!("/identities/{id}?done=disabled"))),
        Outcome::Reserved => confirmed_order(&page, &visit, id, Order::Disable, &form).await,
    }
}

/// An identity that others may change meanwhile.
trait Changing: Sync {
    /// Returns its realm and its version.
    fn look(&self) -> impl Future<Output = Result<(String, String), Fault>> + Send;

    /// Disables it. Fails with 412 if it has another version.
    fn disable(&self, version: &str) -> impl Future<Output = Result<(), Fault>> + Send;
}

struct Visited<'a> {
    visit: &'a Visit,
    id: i64,
}

impl Changing for Visited<'_> {
    async fn look(&self) -> Result<(String, String), Fault> {
        let path = format!("/v1/identities/{}", self.id);
        let (it, version): (Identity, _) = self.visit.get_tagged(&path).await?;
        Ok((it.realm, version))
    }

    async fn disable(&self, version: &str) -> Result<(), Fault> {
        let path = format!("/v1/identities/{}/disable", self.id);
        self.visit.order(Method::POST, &path, Some(version)).await
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    Disabled,
    /// Nothing was done: the identity is in a reserved realm.
    Reserved,
}

/// Disables an identity unless its realm is reserved.
///
/// The version is the one whose realm was looked at, not that of the form: in an emergency this must
/// not fail because somebody else has changed the identity.
async fn unless_reserved(
    it: &impl Changing,
    is_reserved: impl Fn(&str) -> bool + Send,
) -> Result<Outcome, Fault> {
    let mut tries = 0;
    loop {
        let (realm, version) = it.look().await?;
        if is_reserved(&realm) {
            return Ok(Outcome::Reserved);
        }
        tries += 1;
        match it.disable(&version).await {
            Ok(()) => return Ok(Outcome::Disabled),
            Err(fault) if fault.status == 412 && tries < TRIES => {}
            Err(fault) => return Err(fault),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// An identity that is in the next of these realms each time after somebody has looked at it, and
    /// stays in the last one.
    struct Racing<'a> {
        realms: &'a [&'a str],
        looks: AtomicUsize,
    }

    impl Changing for Racing<'_> {
        async fn look(&self) -> Result<(String, String), Fault> {
            let at = self.looks.fetch_add(1, Ordering::Relaxed);
            let realm = self.realms[at.min(self.realms.len() - 1)];
            Ok((realm.to_owned(), at.to_string()))
        }

        async fn disable(&self, version: &str) -> Result<(), Fault> {
            let last = self.realms.len() - 1;
            match version.parse::<usize>().unwrap() >= last {
                true => Ok(()),
                false => Err(Fault::new(412, "stale")),
            }
        }
    }

    async fn race(realms: &[&str]) -> (Result<Outcome, u16>, usize) {
        let looks = AtomicUsize::new(0);
        let racing = Racing { realms, looks };
        let outcome = unless_reserved(&racing, |realm| realm == "reserved").await;
        let looks = racing.looks.load(Ordering::Relaxed);
        (outcome.map_err(|fault| fault.status), looks)
    }

    #[tokio::test]
    async fn identity_that_moves_to_a_reserved_realm_meanwhile_is_not_disabled_without_a_token() {
        assert_eq!(race(&["a", "reserved"]).await, (Ok(Outcome::Reserved), 2));
        assert_eq!(race(&["reserved"]).await, (Ok(Outcome::Reserved), 1));
    }

    #[tokio::test]
    async fn identity_that_others_change_meanwhile_is_disabled_in_the_end() {
        assert_eq!(race(&["a"]).await, (Ok(Outcome::Disabled), 1));
        let some = vec!["a"; usize::from(TRIES)];
        assert_eq!(race(&some).await, (Ok(Outcome::Disabled), some.len()));
        let many = vec!["a"; usize::from(TRIES) + 1];
        assert_eq!(race(&many).await, (Err(412), usize::from(TRIES)));
    }
}
