use http::Method;
use serde::Serialize;

use super::server::{JSON, Server, encoded};
use crate::cli::error::CliError;
use crate::doors::v1::ProblemKind;
use crate::doors::v1::types::{Identities, Identity, NewIdentity, Unreadable};

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

/// Returns an error that names the identity it is about, as the commands on the local database do.
fn about(error: CliError, name: &str, realm: &str) -> CliError {
    match error {
        CliError::There { server, error } => CliError::There {
            server,
            error: Box::new(about(*error, name, realm)),
        },
        CliError::Problem(mut problem) => {
            let is = |kind: ProblemKind| problem.kind == kind.uri();
            let (name, realm) = (name.to_owned(), realm.to_owned());
            if is(ProblemKind::NotFound) {
                CliError::NotFound { name, realm }
            } else if is(ProblemKind::Taken) {
                CliError::Taken { name, realm }
            } else if is(ProblemKind::SeedStillValid) {
                problem.detail = Some(format!("{} Wait, or use --force.", problem.text()));
                CliError::Problem(problem)
            } else {
                CliError::Problem(problem)
            }
        }
        error => error,
    }
}

/// Finds an identity.
pub(in crate::cli) async fn find(
    server: &Server,
    name: &str,
    realm: &str,
) -> Result<Identity, CliError> {
    let found = server.get(&path(name, realm)).await;
    found.map_err(|error| about(error, name, realm))
}

/// Creates an identity.
pub(in crate::cli) async fn create(
    server: &Server,
    new: &NewIdentity,
) -> Result<Identity, CliError> {
    let created = server.post("/v1/identities", new).await;
    created.map_err(|error| about(error, &new.name, &new.realm))
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
    let changed = server.ask(method, &path, body, &[]).await;
    changed.map_err(|error| about(error, name, realm))
}

/// Deletes an identity, and returns it as it was before.
pub(in crate::cli) async fn delete(
    server: &Server,
    name: &str,
    realm: &str,
) -> Result<Identity, CliError> {
    let identity = find(server, name, realm).await?;
    let path = path(name, realm);
    let deleted = server.send(Method::DELETE, &path, None, &[]).await;
    deleted.map_err(|error| about(error, name, realm))?;
    Ok(identity)
}

/// Calls `visit` for each identity that a query selects, which begins with `&` unless it is empty. Returns the
/// rows that are no identities.
pub(in crate::cli) async fn each(
    server: &Server,
    query: &str,
    mut visit: impl FnMut(&Identity),
) -> Result<Vec<Unreadable>, CliError> {
    let mut cursor = String::new();
    let mut unreadable = Vec::new();
    loop {
        let path = format!("/v1/identities?limit={PAGE}{query}{cursor}");
        let page: Identities = server.get(&path).await?;
        page.items.iter().for_each(&mut visit);
        unreadable.extend(page.unreadable);
        match page.next {
            Some(next) => cursor = format!("&cursor={}", encoded(&next)),
            None => return Ok(unreadable),
        }
    }
}
