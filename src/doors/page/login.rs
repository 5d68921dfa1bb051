//! Log-in, by a token or a link, and log-out.

use std::sync::Arc;

use askama::Template;
use axum::Extension;
use axum::extract::{Request, State};
use axum::response::Response;
use http::header::SET_COOKIE;
use http::request::Parts;
use http::{Method, Uri};

use super::fault::{Fault, throttled};
use super::form::{Form, SMALL};
use super::state::Page;
use super::token::{Rejected, prove};
use super::view::{Frame, html, see};
use super::visit::{Client, Visit, record};
use crate::audit::Kind;
use crate::auth::{
    Capability, Denial, Permit, Policy, Session, SessionKind, SessionSecret, Source,
};

/// The longest path to which a log-in returns.
const NEXT: usize = 512;

#[derive(Template)]
#[template(path = "login.html")]
struct LogIn<'a> {
    frame: Frame,
    realm: &'a str,
    name: &'a str,
    next: &'a str,
    /// What is to be said above the form.
    notice: &'a str,
    error: &'a str,
}

#[derive(Template)]
#[template(path = "link.html")]
struct Link<'a> {
    frame: Frame,
    secret: &'a str,
}

/// Returns the log-in page instead of one that needs a session.
pub(super) fn required(page: &Page, parts: &Parts, had_one: bool) -> Response {
    let is_get = parts.method == Method::GET;
    let notice = match (had_one, is_get) {
        (true, true) => "Your session has ended.",
        (true, false) => "Your session has ended, and nothing was changed.",
        (false, _) => "",
    };
    let next = parts.uri.path_and_query().filter(|_| is_get);
    let next = next.map_or("/", |it| it.as_str());
    let config = page.api.config.load();
    let view = LogIn {
        frame: Frame::new(page, None, ""),
        realm: config.realms.admin(),
        name: "",
        next: local(next),
        notice,
        error: "",
    };
    html(401, &view)
}

/// Returns a path of this origin, whatever is given.
fn local(next: &str) -> &str {
    let is_path = next.starts_with('/')
        && !next.starts_with("//")
        && next.len() <= NEXT
        && next
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    if is_path { next } else { "/" }
}

pub(super) async fn form(
    State(page): State<Arc<Page>>,
    visit: Option<Extension<Visit>>,
    uri: Uri,
) -> Response {
    if visit.is_some() {
        return see("/");
    }
    let query = Form::of_query(uri.query());
    let notice = match query.text("after") {
        "logout" => "You are logged out.",
        _ => "",
    };
    let config = page.api.config.load();
    let view = LogIn {
        frame: Frame::new(&page, None, ""),
        realm: config.realms.admin(),
        name: "",
        next: "/",
        notice,
        error: "",
    };
    html(200, &view)
}

pub(super) async fn log_in(
    State(page): State<Arc<Page>>,
    Extension(client): Extension<Client>,
    visit: Option<Extension<Visit>>,
    request: Request,
) -> Result<Response, Fault> {
    let form = Form::read(&page, request, SMALL).await?;
    let (name, token) = (form.text("name"), form.text("token"));
    let next = local(form.text("next"));
    match prove(&page, &client, (name, token), "/login").await {
        Ok(permit) => begin(&page, &client, permit, visit.as_deref(), next).await,
        Err(Rejected::Fault(fault)) => Err(fault),
        Err(Rejected::Wrong(error)) => {
            let config = page.api.config.load();
            let view = LogIn {
                frame: Frame::new(&page, None, ""),
                realm: config.realms.admin(),
                name,
                next,
                notice: "",
                error,
            };
            Ok(html(401, &view))
        }
    }
}

/// Asks before a link is used, since programs that look at links must not use it up.
pub(super) async fn link(State(page): State<Arc<Page>>, uri: Uri) -> Response {
    let query = Form::of_query(uri.query());
    let view = Link {
        frame: Frame::new(&page, None, ""),
        secret: query.text("secret"),
    };
    html(200, &view)
}

pub(super) async fn use_link(
    State(page): State<Arc<Page>>,
    Extension(client): Extension<Client>,
    visit: Option<Extension<Visit>>,
    request: Request,
) -> Result<Response, Fault> {
    const GONE: Fault = Fault::new(410, "The link was used, or is older than a minute.");
    let form = Form::read(&page, request, SMALL).await?;
    let secret = SessionSecret::parse(form.text("secret").as_bytes()).ok_or(GONE)?;
    let resumed = page.api.authority.resume(
        (&secret, SessionKind::Link),
        Source::of(client.source),
        &Policy::Capable(Capability::List),
        client.now,
    );
    let permit = resumed.await.map_err(|denial| match denial {
        Denial::Throttled { retry_after, .. } => throttled(retry_after),
        Denial::Unavailable(_) => Fault::UNAVAILABLE,
        _ => GONE,
    })?;
    begin(&page, &client, permit.ok_or(GONE)?, visit.as_deref(), "/").await
}

/// Begins a session with a new secret. One that the browser had before ends.
async fn begin(
    page: &Page,
    client: &Client,
    permit: Permit,
    before: Option<&Visit>,
    next: &str,
) -> Result<Response, Fault> {
    let secret = SessionSecret::generate().map_err(|error| {
        tracing::error!(%error, door = "admin", "cannot begin a session");
        Fault::UNAVAILABLE
    })?;
    let stored = permit.identity().zip(permit.principal());
    let ((identity, version), principal) = stored.ok_or(Fault::UNAVAILABLE)?;
    let id = secret.id();
    let session = Session {
        id,
        kind: SessionKind::Session,
        identity,
        principal: principal.to_owned(),
        made: client.now,
        seen: client.now,
        source: client.source,
    };
    let store = &page.api.store;
    let failed = |error| {
        tracing::error!(%error, door = "admin", "a session cannot be saved");
        Fault::UNAVAILABLE
    };
    if !store
        .begin_session(session, version)
        .await
        .map_err(failed)?
    {
        return Err(Fault::new(
            409,
            "Your identity was changed just now. Log in again.",
        ));
    }
    let logged = record(
        page,
        client,
        Kind::SessionStarted,
        (&permit, None),
        "log_in",
    )
    .await;
    if let Err(fault) = logged {
        store.end_session(id).await.map_err(failed)?;
        return Err(fault);
    }
    if let Some(before) = before {
        store.end_session(before.session).await.map_err(failed)?;
    }
    let mut response = see(next);
    let cookie = page.site.set_cookie(Some(&secret));
    let cookie = cookie.ok_or(Fault::UNAVAILABLE)?;
    response.headers_mut().insert(SET_COOKIE, cookie);
    Ok(response)
}

pub(super) async fn log_out(
    State(page): State<Arc<Page>>,
    Extension(visit): Extension<Visit>,
) -> Result<Response, Fault> {
    let ended = page.api.store.end_session(visit.session).await;
    ended.map_err(|error| {
        tracing::error!(%error, door = "admin", "a session cannot be ended");
        Fault::UNAVAILABLE
    })?;
    let by = (&visit.permit, None);
    record(&page, &visit.client, Kind::SessionEnded, by, "log_out").await?;
    let mut response = see("/login?after=logout");
    if let Some(gone) = page.site.set_cookie(None) {
        response.headers_mut().insert(SET_COOKIE, gone);
    }
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::local;

    #[test]
    fn log_in_returns_to_paths_of_this_origin_only() {
        for path in ["/", "/identities?realm=x&name=%C3%A9", "/audit"] {
            assert_eq!(local(path), path);
        }
        for url in [
            "",
            "//evil.example",
            "https://evil.example",
            "/\\evil.example",
            "/a\r\nb",
            "/\u{e9}",
            "evil",
            "\t//evil.example",
        ] {
            assert_eq!(local(url), "/", "{url:?}");
        }
    }
}
