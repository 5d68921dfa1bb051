use http::Method;
use serde::Serialize;

use super::server::{JSON, Server, encoded};
use crate::cli::error::CliError;
use crate::doors::v1::types::{Identities, Identity, NewIdentity};

/// The number of identities per request.
const PAGE: u32 = 1000;

/// A change of an identity.
pub(in crate::cli) enum Changed<'a, T> {
    /// Members of it.
    Members(&'a T),
    /// By an action, with its options.
    Action(&'static str, Option<&'a T>),
}

/// Returns the path of an identity.
fn path(name: &str, realm: &str) -> String {
    format!("/v1/identities/{}@{}", encoded(name), encoded(realm))
}

/// Finds an identity.
pub(in crate::cli) async fn find(
    server: &Server,
    name: &str,
    realm: &str,
) -> Result<Identity, CliError> {
    let path = path(name, realm);
    server.get(&path).await
}

/// Creates an identity.
pub(in crate::cli) async fn create(
    server: &Server,
    new: &NewIdentity,
) -> Result<Identity, CliError> {
    server.post("/v1/identities", new).await
}

/// Changes an identity.
pub(in crate::cli) async fn change<T: Serialize>(
    server: &Server,
    (name, realm): (&str, &str),
    change: Changed<'_, T>,
) -> Result<Identity, CliError> {
    let mut path = path(name, realm);
    let json = |body: &T| (JSON, serde_json::to_vec(body).unwrap_or_default().into());
    let (method, body) = match change {
        Changed::Members(members) => (Method::PATCH, Some(json(members))),
        Changed::Action(action, options) => {
            path = format!("{path}/{action}");
            (Method::POST, options.map(json))
        }
    };
    server.ask(method, &path, body, &[]).await
}

/// Deletes an identity, and returns it as it was before.
pub(in crate::cli) async fn delete(
    server: &Server,
    name: &str,
    realm: &str,
) -> Result<Identity, CliError> {
    let path = path(name, realm);
    let identity = server.get(&path).await?;
    server.send(Method::DELETE, &path, None, &[]).await?;
    Ok(identity)
}

/// Calls `visit` for each identity that a query selects, which begins with `&` unless it is empty.
pub(in crate::cli) async fn each(
    server: &Server,
    query: &str,
    mut visit: impl FnMut(&Identity),
) -> Result<(), CliError> {
    let mut cursor = String::new();
    loop {
        let path = format!("/v1/identities?limit={PAGE}{query}{cursor}");
        let page: Identities = server.get(&path).await?;
        page.items.iter().for_each(&mut visit);
        match page.next {
            Some(next) => cursor = format!("&cursor={}", encoded(&next)),
            None => return Ok(()),
        }
    }
}
