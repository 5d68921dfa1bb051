//! A server, and its errors.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, StatusCode};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::cli::error::CliError;
use crate::cli::option_error::OptionError;
use crate::cli::secret;
use crate::cli::who::Named;
use crate::client::{Api, ApiRequest, ApiResponse, Caller, Proof};
use crate::doors::v1::ProblemKind;
use crate::doors::v1::types::Problem;

/// The maximum time for a request, and the maximum size of its response.
const LONGEST: Duration = Duration::from_secs(60);
const LIMIT: usize = 16 << 20;

pub(super) const JSON: &str = "application/json";

/// Makes a connection to a server for an administrator.
pub(in crate::cli) fn connect(
    url: &str,
    caller: &Named,
    token: Option<&str>,
    seed_file: Option<&Path>,
) -> Result<Server, CliError> {
    let proof = match (token, seed_file) {
        (Some(token), None) => Proof::token(token),
        (None, Some(path)) => secret::seed_file(path)?.into(),
        _ => return Err(OptionError::Missing("--seed-file or --token (with --server)").into()),
    };
    let who = format!("{}@{}", caller.name, caller.realm);
    let caller = Caller::new(&caller.name, &caller.realm, proof);
    let api = Api::new(url, caller, LONGEST).map_err(OptionError::from)?;
    let url = url.to_owned();
    Ok(Server { api, url, who })
}

/// A server, for one administrator.
pub(in crate::cli) struct Server {
    api: Api,
    url: String,
    /// The administrator.
    who: String,
}

impl Server {
    /// Gets a resource.
    pub(in crate::cli) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, CliError> {
        self.ask(Method::GET, path, None, &[]).await
    }

    /// Posts to a resource.
    pub(in crate::cli) async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, CliError> {
        let body = serde_json::to_vec(body).unwrap_or_default();
        self.ask(Method::POST, path, Some((JSON, body.into())), &[])
            .await
    }

    pub(super) async fn ask<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<(&'static str, Bytes)>,
        headers: &[(HeaderName, HeaderValue)],
    ) -> Result<T, CliError> {
        let response = self.send(method, path, body, headers).await?;
        let parsed = serde_json::from_slice(&response.body);
        parsed.map_err(|_| self.no_api(response.status))
    }

    /// Sends a request, and returns the response if it has a 2xx status.
    pub(super) async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<(&'static str, Bytes)>,
        headers: &[(HeaderName, HeaderValue)],
    ) -> Result<ApiResponse, CliError> {
        let (media_type, body) = body.unzip();
        let request = ApiRequest {
            method,
            path,
            media_type,
            headers,
            body: body.unwrap_or_default(),
            limit: LIMIT,
        };
        let response = self.api.send(request).await?;
        if response.status.is_success() {
            return Ok(response);
        }
        Err(self.failure(&response))
    }

    /// Returns the error of a response that no realmgate sends.
    pub(super) fn no_api(&self, status: StatusCode) -> CliError {
        self.named(CliError::NoApi(status))
    }

    /// Returns the error of a response, which names the server, and the administrator if it is about that.
    fn failure(&self, response: &ApiResponse) -> CliError {
        let Ok(problem) = serde_json::from_slice::<Problem>(&response.body) else {
            return self.no_api(response.status);
        };
        let is = |kind: ProblemKind| problem.kind == kind.uri();
        self.named(if is(ProblemKind::Unauthenticated) {
            CliError::RejectedCaller(self.who.clone())
        } else if is(ProblemKind::NotAllowed) {
            CliError::NoRight(self.who.clone())
        } else {
            CliError::Problem(Box::new(problem))
        })
    }

    fn named(&self, error: CliError) -> CliError {
        let (server, error) = (self.url.clone(), Box::new(error));
        CliError::There { server, error }
    }
}

/// Percent-encodes a part of a path or a query.
pub(super) fn encoded(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}
