//! Creates identities from a pasted list.

use std::sync::Arc;

use askama::Template;
use axum::Extension;
use axum::extract::{Request, State};
use axum::response::Response;
use http::Method;

use super::fault::{Errors, Fault};
use super::form::{Form, LARGE};
use super::state::Page;
use super::token::{confirmed, is_reserved};
use super::view::{Frame, html, number};
use super::visit::Visit;
use crate::doors::v1::closing;
use crate::doors::v1::types::{FieldError, Line, NewIdentity};

/// The maximum number of lines.
const LINES: usize = 1000;

#[derive(Template)]
#[template(path = "bulk.html")]
struct Bulk {
    frame: Frame,
    realm: String,
    list: String,
    most: u64,
    errors: Errors,
}

#[derive(Template)]
#[template(path = "bulk_done.html")]
struct Done {
    frame: Frame,
    created: u64,
    rejects: u64,
    rejected: Vec<(u64, String, String)>,
    csv: String,
}

pub(super) async fn form(
    State(page): State<Arc<Page>>,
    Extension(visit): Extension<Visit>,
) -> Response {
    let view = Bulk {
        frame: Frame::new(&page, Some(&visit), "identities"),
        realm: String::new(),
        list: String::new(),
        most: LINES as u64,
        errors: Errors::default(),
    };
    html(200, &view)
}

pub(super) async fn create(
    State(page): State<Arc<Page>>,
    Extension(visit): Extension<Visit>,
    request: Request,
) -> Result<Response, Fault> {
    let form = Form::read(&page, request, LARGE).await?;
    let (realm, list) = (form.text("realm"), form.exact("list"));
    let names = (1..).zip(list.lines());
    let names = names.filter(|(_, line)| !line.trim().is_empty());
    let names: Vec<(u64, NewIdentity)> = names.map(|(at, line)| (at, read(line, realm))).collect();
    let error = match names.len() {
        0 => Some("expected at least one line".to_owned()),
        lines if lines > LINES => Some(format!("expected at most {LINES} lines")),
        _ => None,
    };
    if let Some(error) = error {
        let errors = Errors::one("list", error).with_unused_token(form.text("token"));
        return Ok(again(&page, &visit, (realm, list), errors));
    }
    if names.iter().any(|(_, new)| is_reserved(&page, &new.realm)) {
        let tried = any_fits(&visit, &names).await;
        if let Some(errors) = confirmed(&page, &visit, &form, tried).await? {
            return Ok(again(&page, &visit, (realm, list), errors));
        }
    }
    let mut lines = Vec::new();
    for (_, new) in &names {
        serde_json::to_writer(&mut lines, new).map_err(|_| Fault::UNAVAILABLE)?;
        lines.push(b'\n');
    }
    let answers = visit.lines("/v1/identities/bulk", lines).await?;
    let mut csv = String::from("name,realm,seed,otpauth\r\n");
    let (mut created, mut rejected) = (0, Vec::new());
    for (
        (at, new),
        Line {
            identity, problem, ..
        },
    ) in names.into_iter().zip(answers)
    {
        match (identity, problem) {
            (Some(identity), _) => {
                created += 1;
                let seed = identity.seed.as_deref().unwrap_or_default();
                let otpauth = identity.otpauth.as_deref().unwrap_or_default();
                let cells = [&identity.name, &identity.realm, seed, otpauth].map(cell);
                csv.push_str(&cells.join(","));
                csv.push_str("\r\n");
            }
            (None, problem) => {
                let text = problem.map(|it| it.text()).unwrap_or_default();
                rejected.push((at, format!("{}@{}", new.name, new.realm), text));
            }
        }
    }
    let view = Done {
        frame: Frame::new(&page, Some(&visit), "identities"),
        created,
        rejects: rejected.len() as u64,
        rejected,
        csv,
    };
    Ok(closing(html(200, &view)))
}

/// Checks that at least one of the lines can be created.
///
/// # Errors
/// 422 if none can, with the cause of the first one.
async fn any_fits(visit: &Visit, names: &[(u64, NewIdentity)]) -> Result<(), Fault> {
    let mut first = None;
    for (at, new) in names {
        let tried = visit.rehearse(Method::POST, "/v1/identities", Some(new), None);
        match tried.await {
            Ok(()) => return Ok(()),
            Err(fault) if ![409, 422].contains(&fault.status) => return Err(fault),
            Err(fault) => {
                first.get_or_insert((at, fault));
            }
        }
    }
    let Some((at, fault)) = first else {
        return Ok(());
    };
    let causes = fault
        .errors
        .iter()
        .map(|it| format!("{}: {}", it.field, it.detail));
    let causes: Vec<_> = causes.collect();
    let detail = format!("no line can be created; line {at}: {}", causes.join(", "));
    let list = FieldError {
        field: "list".to_owned(),
        detail,
    };
    let mut rejected = Fault::new(422, "That did not work.");
    rejected.errors = vec![list];
    Err(rejected)
}

/// Shows the form as it was sent, with its errors.
fn again(page: &Page, visit: &Visit, (realm, list): (&str, &str), errors: Errors) -> Response {
    let view = Bulk {
        frame: Frame::new(page, Some(visit), "identities"),
        realm: realm.to_owned(),
        list: list.to_owned(),
        most: LINES as u64,
        errors,
    };
    html(422, &view)
}

/// Reads a line: `NAME@REALM`, a name and a realm with a comma or a tab between them, or a name.
fn read(line: &str, realm: &str) -> NewIdentity {
    let separated = line.split_once('\t').or_else(|| line.split_once(','));
    let parts = separated.or_else(|| line.rsplit_once('@'));
    let (name, own) = parts.unwrap_or((line, ""));
    let own = own.trim();
    NewIdentity {
        name: name.trim().to_owned(),
        realm: if own.is_empty() { realm } else { own }.to_owned(),
        ..NewIdentity::default()
    }
}

/// Returns a cell of CSV (RFC 4180) that a spreadsheet does not take for a formula.
fn cell(text: &str) -> String {
    let is_formula = text.starts_with(['=', '+', '-', '@', '\t', '\r']);
    let quote = if is_formula { "'" } else { "" };
    format!("\"{quote}{}\"", text.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::{cell, read};

    #[test]
    fn line_has_a_name_and_may_have_a_realm() {
        for (line, expected) in [
            ("billing", ("billing", "payments")),
            (" billing ", ("billing", "payments")),
            ("billing,ops", ("billing", "ops")),
            ("billing\t ops", ("billing", "ops")),
            ("billing,", ("billing", "payments")),
            ("a@b", ("a", "b")),
            ("a@b@c", ("a@b", "c")),
            ("a@b,payments", ("a@b", "payments")),
            ("a@b,", ("a@b", "payments")),
        ] {
            let new = read(line, "payments");
            assert_eq!((&*new.name, &*new.realm), expected, "{line}");
        }
    }

    #[test]
    fn cell_is_quoted_and_no_formula() {
        assert_eq!(cell("a\"b,c"), "\"a\"\"b,c\"");
        assert_eq!(cell("=1+1"), "\"'=1+1\"");
        assert_eq!(cell("a=1"), "\"a=1\"");
    }
}
