use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;
use bytes::Bytes;
use http::Method;
use http::header::HeaderName;
use http::request::Parts;

use super::call::{self, Call};
use super::caller::{Resource, admit, decide, subject_names};
use super::errors::Errors;
use super::field::Fault;
use super::metadata;
use super::response::{ApiResponse, Content, Spacing};
use super::state::Api;
use crate::auth::{Attempt, Capability, Credential, Denial, Party, Permit, Policy, Source};
use crate::doors::local::Origin;

const ALLOW: &str = "POST, OPTIONS";

/// Serves `/ungleichotp/verify/`: verifies that a token belongs to a principal now.
pub(super) async fn verify(State(api): State<Arc<Api>>, request: Request) -> Response {
    call::handle(request, ALLOW, async |call| run(&api, &call).await).await
}

/// Serves the same for a request whose body has been read.
pub(super) async fn verify_read(
    api: Arc<Api>,
    parts: Parts,
    body: Bytes,
    origin: Origin,
) -> http::Response<Bytes> {
    let run = async |call| run(&api, &call).await;
    let response = call::handle_read(parts, Some(body), origin, ALLOW, run).await;
    response.map(Content::into_bytes)
}

async fn run(api: &Api, call: &Call) -> Result<ApiResponse, ApiResponse> {
    let capable = Policy::Capable(Capability::Verify);
    match call.method {
        Method::POST => {
            let permit = admit(api, call, Resource::Verify, &capable).await?;
            check_subject(api, call, &permit).await
        }
        Method::OPTIONS => {
            let permit = admit(api, call, Resource::Verify, &Policy::Authenticated).await?;
            let may = api.authority.is_capable(&permit, Capability::Verify);
            Ok(metadata::describe(
                "Verify",
                may.then_some("POST"),
                api.credential_headers.name_chars,
            ))
        }
        _ => {
            admit(api, call, Resource::Verify, &Policy::Authenticated).await?;
            Err(ApiResponse::wrong_method(&call.method))
        }
    }
}

/// Decides about the subject. All rejections look alike.
///
/// The source is not the verifier's address, because failures of its clients are not its own. The
/// verifier may name the address of its client, which then is the source.
async fn check_subject(
    api: &Api,
    call: &Call,
    verifier: &Permit,
) -> Result<ApiResponse, ApiResponse> {
    let limit = api.credential_headers.name_chars;
    let [name, realm, token] = subject_names(&call.body);
    let mut errors = Errors::new(&call.body);
    let subject_name = errors.take(name, call.body.text(name, limit));
    let subject_token = errors.take(token, call.body.token(token));
    let subject_realm = errors.take(realm, call.body.text(realm, limit));
    let client = match client_address(call) {
        Ok(client) => client,
        Err(fault) => {
            errors.take::<IpAddr>(CLIENT_ADDRESS, Err(vec![fault]));
            None
        }
    };
    let (Some(name), Some(token), Some(realm), true) = (
        subject_name,
        subject_token,
        subject_realm,
        errors.is_empty(),
    ) else {
        return Err(errors.response(Spacing::Wide));
    };
    // The log of the request names the caller, not the subject.
    let mut record = call.record.with_same_id();
    let token = token.token();
    let credential = token.and_then(|it| Credential::with_token(name, realm, it, limit));
    let attempt = Attempt {
        presented: credential.into(),
        source: Source {
            address: client.or(call.source),
            party: verifier.principal().map(|verifier| match client {
                Some(_) => Party::ClientOf(verifier),
                None => Party::Verifier(verifier),
            }),
        },
    };
    let answer = match decide(api, call, &attempt, &Policy::Authenticated, &mut record).await {
        Ok(_) => return Ok(ApiResponse::verified()),
        Err(Denial::Unavailable(_)) => ApiResponse::unavailable(),
        Err(_) => ApiResponse::not_allowed(),
    };
    Err(answer.named(&record))
}

/// The body field with the address of the verifier's client.
const CLIENT_ADDRESS: &str = "client_address";

/// The header with the same meaning.
const X_AUTH_CLIENT_ADDRESS: HeaderName = HeaderName::from_static("x-auth-client-address");

/// The maximum length of an address with a port, in characters. An IPv6 address has up to 45.
const ADDRESS_CHARS: usize = 64;

/// Returns the address of the verifier's client, if the verifier names it.
///
/// # Errors
/// It is not a single address.
fn client_address(call: &Call) -> Result<Option<IpAddr>, Fault> {
    let mut named = None;
    let mut name = |text: &str| {
        let address = address(text.trim()).ok_or(Fault::NotAddress)?;
        match named.replace(address) {
            Some(other) if other != address => Err(Fault::NotAddress),
            _ => Ok(()),
        }
    };
    if call.body.has(CLIENT_ADDRESS) {
        let text = call.body.text(CLIENT_ADDRESS, ADDRESS_CHARS);
        name(text.map_err(|_| Fault::NotAddress)?)?;
    }
    for value in call.headers.get_all(X_AUTH_CLIENT_ADDRESS) {
        name(value.to_str().map_err(|_| Fault::NotAddress)?)?;
    }
    Ok(named)
}

/// Parses an address with or without a port.
fn address(text: &str) -> Option<IpAddr> {
    let with_port = || Some(text.parse::<SocketAddr>().ok()?.ip());
    let address = text.parse().ok().or_else(with_port);
    address.map(|address: IpAddr| address.to_canonical())
}
