//! Login, by a token or a link, and logout.

use std::sync::Arc;

use askama::Template;
use axum::Extension;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use http::header::SET_COOKIE;
use http::request::Parts;
use http::{Method, Uri};

use super::bulk;
use super::fault::{Fault, throttled};
use super::form::{Form, LARGE, SMALL};
use super::state::Page;
use super::token::{Rejected, USED, prove};
use super::unsent::Unsent;
use super::view::{Frame, html, see};
use super::visit::{Client, Visit, end, logged, record};
use crate::audit::Kind;
use crate::auth::{
    Capability, Denial, Permit, Policy, Session, SessionKind, SessionSecret, Source, Version,
};
use crate::doors::v1::closing;

/// The longest path to which a login returns.
const NEXT: usize = 512;

#[derive(Template)]
#[template(path = "login.html")]
struct LogIn<'a> {
    frame: Frame,
    realm: &'a str,
    name: &'a str,
    next: &'a str,
    unsent: Unsent,
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

/// Returns the login page instead of one that needs a session.
pub(super) async fn required(page: &Page, parts: &Parts, body: Body, had_one: bool) -> Response {
    let unsent = Unsent::of(page, parts, body).await;
    let is_get = parts.method == Method::GET;
    let notice = match (had_one, is_get) {
        (true, true) => "Your session has ended.",
        (_, false) if !unsent.is_empty() => {
            "Your session has ended, and nothing was created. After the login, you can send your list again."
        }
        (true, false) => "Your session has ended, and nothing was changed.",
        (false, _) => "",
    };
    let next = parts.uri.path_and_query().map_or("/", |it| it.as_str());
    let next = if is_get { next } else { form_of(next) };
    let config = page.api.config.load();
    let view = LogIn {
        frame: Frame::new(page, None, ""),
        realm: config.realms.admin(),
        name: "",
        next: local(next),
        unsent,
        notice,
        error: "",
    };
    html(401, &view)
}

/// Returns the path of the page with the form that is sent to a path.
fn form_of(path: &str) -> &str {
    let path = path.split('?').next().unwrap_or_default();
    match path {
        "/logout" => "/",
        _ if path.starts_with("/sessions/") => "/sessions",
        // All others have the path of their page.
        _ => path,
    }
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
        unsent: Unsent::default(),
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
    // It may have a list that was sent before.
    let form = Form::read(&page, request, LARGE + SMALL).await?;
    let unsent = Unsent::kept(&form);
    let (name, token) = (form.text("name"), form.text("token"));
    let next = local(form.text("next"));
    let config = page.api.config.load_full();
    let realm = config.realms.admin();
    // People type the whole principal.
    let whole = name
        .strip_suffix(realm)
        .and_then(|rest| rest.strip_suffix('@'));
    let proved = prove(&page, &client, (whole.unwrap_or(name), token), "/login").await;
    let error = match proved {
        Ok(permit) => {
            let show = |visit: &Visit| match unsent.is_empty() {
                true => see(next),
                false => bulk::unsent(&page, visit, unsent),
            };
            return begin(&page, &client, permit, visit.map(|it| it.0), show).await;
        }
        Err(Rejected::Fault(fault)) => return Err(fault),
        Err(Rejected::Used) => USED,
        Err(Rejected::Wrong) => "Name or token is wrong.",
    };
    let view = LogIn {
        frame: Frame::new(&page, None, ""),
        realm,
        name,
        next,
        unsent,
        notice: "",
        error,
    };
    Ok(html(401, &view))
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
    const GONE: Fault = Fault::new(
        410,
        "This link was already used, or is older than a minute.",
    );
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
    let permit = permit.ok_or(GONE)?;
    begin(&page, &client, permit, visit.map(|it| it.0), |_| see("/")).await
}

/// Begins a session with a new secret, and shows a page of it. One that the browser had before ends.
async fn begin(
    page: &Arc<Page>,
    client: &Client,
    permit: Permit,
    before: Option<Visit>,
    show: impl FnOnce(&Visit) -> Response,
) -> Result<Response, Fault> {
    let secret = SessionSecret::generate().map_err(|error| {
        tracing::error!(%error, door = "admin", "cannot begin a session");
        Fault::UNAVAILABLE
    })?;
    let stored = permit.identity().zip(permit.principal());
    let ((identity, version), principal) = stored.ok_or(Fault::UNAVAILABLE)?;
    let session = Session {
        id: secret.id(),
        kind: SessionKind::Session,
        identity,
        principal: principal.to_owned(),
        made: client.now,
        seen: client.now,
        source: client.source,
    };
    let visit = Visit::new(page, client.clone(), permit.clone(), secret.id());
    let work = {
        let (page, client) = (Arc::clone(page), client.clone());
        async move {
            save(&page, &client, session, version, &permit).await?;
            if let Some(before) = before {
                // The new session has begun, whatever becomes of the old one.
                let by = (&before.permit, None);
                let _ = end(&page, &before.client, before.session, by, "log_in").await;
            }
            Ok(())
        }
    };
    logged(page, client, work).await?;
    page.api.authenticator.session_has_begun(secret.id());
    let mut response = closing(show(&visit));
    let cookie = page.site.set_cookie(Some(&secret));
    let cookie = cookie.ok_or(Fault::UNAVAILABLE)?;
    response.headers_mut().insert(SET_COOKIE, cookie);
    Ok(response)
}

/// Saves a session, and writes its beginning into the audit log.
async fn save(
    page: &Page,
    client: &Client,
    session: Session,
    version: Version,
    permit: &Permit,
) -> Result<(), Fault> {
    let (store, id) = (&page.api.store, session.id);
    let failed = |error| {
        tracing::error!(%error, door = "admin", "a session cannot be saved");
        Fault::UNAVAILABLE
    };
    let begun = store.begin_session(session, version).await;
    if !begun.map_err(failed)? {
        return Err(Fault::new(
            409,
            "Your identity was changed just now. Log in again.",
        ));
    }
    let logged = record(page, client, Kind::SessionStarted, (permit, None), "log_in").await;
    if let Err(fault) = logged {
        store.end_session(id).await.map_err(failed)?;
        return Err(fault);
    }
    Ok(())
}

pub(super) async fn log_out(
    State(page): State<Arc<Page>>,
    Extension(visit): Extension<Visit>,
) -> Result<Response, Fault> {
    let work = {
        let (page, visit) = (Arc::clone(&page), visit.clone());
        async move {
            let by = (&visit.permit, None);
            end(&page, &visit.client, visit.session, by, "log_out").await
        }
    };
    logged(&page, &visit.client, work).await?;
    let mut response = see("/login?after=logout");
    if let Some(gone) = page.site.set_cookie(None) {
        response.headers_mut().insert(SET_COOKIE, gone);
    }
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::{form_of, local};

    #[test]
    fn log_in_returns_to_the_page_of_a_form() {
        for (path, expected) in [
            ("/logout", "/"),
            ("/sessions/00ff/end", "/sessions"),
            ("/identities/bulk", "/identities/bulk"),
            ("/identities/7/rotate?x=1", "/identities/7/rotate"),
            ("//evil.example", "/"),
        ] {
            assert_eq!(local(form_of(path)), expected, "{path}");
        }
    }

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
