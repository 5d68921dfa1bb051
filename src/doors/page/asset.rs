//! Serves an asset.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};

use super::fault::Fault;
use super::state::Page;

pub(super) async fn serve(State(page): State<Arc<Page>>, Path(name): Path<String>) -> Response {
    let Some((text, kind)) = page.assets.find(&name) else {
        return Fault::NOT_FOUND.into_response();
    };
    let mut response = Response::new(Body::from(text));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    let forever = "public, max-age=31536000, immutable";
    headers.insert(CACHE_CONTROL, HeaderValue::from_static(forever));
    response
}
