use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;
use http::Method;

use super::Api;
use super::call::{self, Call};
use super::caller::{Resource, admit, decide, subject_names};
use super::field::Kind;
use super::metadata;
use super::wire::{Answer, Errors, Spacing};
use crate::auth::{Attempt, Capability, Credential, Denial, Policy, Token};

const ALLOW: &str = "POST, OPTIONS";

/// Answers `/ungleichotp/verify/`: is this the token of that principal now?
pub(super) async fn verify(State(api): State<Arc<Api>>, request: Request) -> Response {
    call::answer(request, ALLOW, async |call| run(&api, &call).await).await
}

async fn run(api: &Api, call: &Call) -> Result<Answer, Answer> {
    let capable = Policy::Capable(Capability::Verify);
    match call.method {
        Method::POST => {
            admit(api, call, Resource::Verify, &capable).await?;
            check_subject(api, call).await
        }
        Method::OPTIONS => {
            admit(api, call, Resource::Verify, &capable).await?;
            Ok(metadata::describe(
                "Verify",
                "POST",
                api.credential_headers.name_chars,
            ))
        }
        _ => {
            admit(api, call, Resource::Verify, &Policy::Authenticated).await?;
            Err(Answer::wrong_method(&call.method))
        }
    }
}

/// Decides on the subject as if it called itself; every refusal looks the same.
async fn check_subject(api: &Api, call: &Call) -> Result<Answer, Answer> {
    let limit = api.credential_headers.name_chars;
    let [name, realm, token] = subject_names(&call.body);
    let mut errors = Errors::new(&call.body);
    let subject_name = errors.take(name, call.body.text(name, Kind::Plain, limit));
    let subject_token = errors.take(token, call.body.text(token, Kind::Token, Token::MAX_CHARS));
    let subject_realm = errors.take(realm, call.body.text(realm, Kind::Plain, limit));
    let (Some(name), Some(token), Some(realm)) = (subject_name, subject_token, subject_realm)
    else {
        return Err(errors.answer(Spacing::Wide));
    };
    // What is told of the request is who asks.
    let mut note = call.note.another();
    let attempt = Attempt {
        presented: Credential::new(&name, &realm, &token, limit).into(),
        source: call.source,
    };
    match decide(api, &attempt, &Policy::Authenticated, call.now, &mut note).await {
        Ok(_) => Ok(Answer::verified()),
        Err(Denial::Unavailable(_)) => Err(Answer::unavailable()),
        Err(_) => Err(Answer::not_allowed()),
    }
}
