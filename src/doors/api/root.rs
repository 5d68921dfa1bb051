use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;
use http::{Method, StatusCode};

use super::call::{self, Call};
use super::caller::{Resource, admit};
use super::encode::quote;
use super::response::ApiResponse;
use super::state::Api;
use crate::auth::Policy;

const ALLOW: &str = "GET, HEAD, OPTIONS";

/// Serves `/`: the URLs of the resources, for every authenticated caller.
pub(super) async fn root(State(api): State<Arc<Api>>, request: Request) -> Response {
    call::handle(request, ALLOW, async |call| run(&api, &call).await).await
}

async fn run(api: &Api, call: &Call) -> Result<ApiResponse, ApiResponse> {
    admit(api, call, Resource::Identities, &Policy::Authenticated).await?;
    match call.method {
        Method::GET | Method::HEAD => {
            let url = quote(&identities_url(call));
            Ok(ApiResponse::json(
                StatusCode::OK,
                format!(r#"{{"ungleichotp":{url}}}"#),
            ))
        }
        Method::OPTIONS => Ok(ApiResponse::json(
            StatusCode::OK,
            concat!(
                r#"{"name":"Api Root","description":"The default basic root view for DefaultRouter","#,
                r#""renders":["application/json"],"parses":["application/json","#,
                r#""application/x-www-form-urlencoded","multipart/form-data"]}"#
            )
            .to_owned(),
        )),
        _ => Err(ApiResponse::wrong_method(&call.method)),
    }
}

/// Returns the URL of the identities with the scheme and host of the request; only its path if the
/// request has no host.
fn identities_url(call: &Call) -> String {
    match call.host() {
        Some(host) => format!("{}://{host}/ungleichotp/", call.scheme),
        None => "/ungleichotp/".to_owned(),
    }
}
