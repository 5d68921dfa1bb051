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
use super::unsent::Unsent;
use super::view::{Frame, html, number};
use super::visit::Visit;
use crate::doors::v1::closing;
use crate::doors::v1::types::{FieldError, NewIdentity, Problem};

/// The maximum number of lines.
const LINES: usize = 1000;

/// A line with its number, and the identity to create or what is expected.
type Read<'a> = (u64, &'a str, Result<NewIdentity, &'static str>);

#[derive(Template)]
#[template(path = "bulk.html")]
struct Bulk {
    frame: Frame,
    realm: String,
    list: String,
    most: u64,
    /// Whether the list was sent after its session had ended.
    is_unsent: bool,
    errors: Errors,
}

#[derive(Template)]
#[template(path = "bulk_done.html")]
struct Done {
    frame: Frame,
    created: u64,
    rejects: u64,
    rejected: Vec<(u64, String, String)>,
    /// The rejected lines, and the realm of those without one.
    list: String,
    realm: String,
    csv: String,
    /// Whether a cell has an apostrophe in front.
    has_formulas: bool,
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
        is_unsent: false,
        errors: Errors::default(),
    };
    html(200, &view)
}

/// Shows a list that was sent after its session had ended, to be sent again.
pub(super) fn unsent(page: &Page, visit: &Visit, Unsent { realm, list }: Unsent) -> Response {
    let view = Bulk {
        frame: Frame::new(page, Some(visit), "identities"),
        realm,
        list,
        most: LINES as u64,
        is_unsent: true,
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
    let lines = (1..).zip(list.lines());
    let lines = lines.filter(|(_, line)| !line.trim().is_empty());
    let lines = lines.map(|(at, line)| (at, line, read(line, realm)));
    let lines: Vec<Read<'_>> = lines.collect();
    let error = match lines.len() {
        0 => Some("expected at least one line".to_owned()),
        many if many > LINES => Some(format!("expected at most {LINES} lines")),
        _ => None,
    };
    if let Some(error) = error {
        let errors = Errors::one("list", error).with_unused_token(form.text("token"));
        return Ok(again(&page, &visit, (realm, list), errors));
    }
    let new = || lines.iter().filter_map(|(.., new)| new.as_ref().ok());
    if new().any(|new| is_reserved(&page, &new.realm)) {
        let tried = any_fits(&visit, &lines).await;
        if let Some(errors) = confirmed(&page, &visit, &form, tried).await? {
            return Ok(again(&page, &visit, (realm, list), errors));
        }
    }
    let mut body = Vec::new();
    for new in new() {
        serde_json::to_writer(&mut body, new).map_err(|_| Fault::UNAVAILABLE)?;
        body.push(b'\n');
    }
    let mut answers = visit.lines("/v1/identities/bulk", body).await?.into_iter();
    let mut csv = String::from("name,realm,seed,otpauth\r\n");
    let (mut created, mut rejected, mut has_formulas) = (0, Vec::new(), false);
    let mut rejected_lines = String::new();
    for (at, line, new) in &lines {
        let mut reject = |who: String, why: String| {
            rejected.push((*at, who, why));
            rejected_lines.push_str(line);
            rejected_lines.push('\n');
        };
        let new = match new {
            Ok(new) => new,
            Err(why) => {
                reject((*line).to_owned(), (*why).to_owned());
                continue;
            }
        };
        let answer = answers.next();
        let problem = answer.as_ref().and_then(|it| it.problem.as_ref());
        match answer.as_ref().and_then(|it| it.identity.as_ref()) {
            Some(identity) => {
                created += 1;
                let seed = identity.seed.as_deref().unwrap_or_default();
                let otpauth = identity.otpauth.as_deref().unwrap_or_default();
                let cells: [&str; 4] = [&identity.name, &identity.realm, seed, otpauth];
                has_formulas |= cells.iter().any(|it| is_formula(it));
                csv.push_str(&cells.map(cell).join(","));
                csv.push_str("\r\n");
            }
            None => {
                let why = problem.map(Problem::text).unwrap_or_default();
                reject(format!("{}@{}", new.name, new.realm), why);
            }
        }
    }
    let view = Done {
        frame: Frame::new(&page, Some(&visit), "identities"),
        created,
        rejects: rejected.len() as u64,
        rejected,
        list: rejected_lines,
        realm: realm.to_owned(),
        csv,
        has_formulas,
    };
    Ok(closing(html(200, &view)))
}

/// Checks that at least one of the lines can be created.
///
/// # Errors
/// 422 if none can, with the cause of the first one.
async fn any_fits(visit: &Visit, lines: &[Read<'_>]) -> Result<(), Fault> {
    let mut first = None;
    for (at, _, new) in lines {
        let Ok(new) = new else {
            continue;
        };
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
        is_unsent: false,
        errors,
    };
    html(422, &view)
}

/// Reads a line: `NAME@REALM`, a name and a realm with a comma or a tab between them, or a name. A name
/// in double quotes is one of CSV (RFC 4180).
///
/// # Errors
/// What is expected.
fn read(line: &str, realm: &str) -> Result<NewIdentity, &'static str> {
    let line = line.trim();
    let (name, own) = if line.starts_with('"') {
        let (name, rest) = cell_of(line).ok_or(QUOTED)?;
        let own = match rest.strip_prefix([',', '\t']) {
            Some(rest) => cell_of(rest.trim()).filter(|(_, end)| end.is_empty()),
            None => rest.is_empty().then(Default::default),
        };
        (name, own.ok_or(QUOTED)?.0)
    } else {
        let separated = line.split_once('\t').or_else(|| line.split_once(','));
        let parts = separated.or_else(|| line.rsplit_once('@'));
        let (name, own) = parts.unwrap_or((line, ""));
        let own = match own.trim() {
            own if own.starts_with('"') => {
                let own = cell_of(own).filter(|(_, end)| end.is_empty());
                own.ok_or(QUOTED)?.0
            }
            own => own.to_owned(),
        };
        (name.trim().to_owned(), own)
    };
    Ok(NewIdentity {
        name,
        realm: if own.is_empty() {
            realm.to_owned()
        } else {
            own
        },
        ..NewIdentity::default()
    })
}

const QUOTED: &str = "expected a name and a realm in double quotes, such as \"svc\",\"payments\"";

/// Reads a cell, in double quotes or without, and returns it with the rest of the line.
fn cell_of(text: &str) -> Option<(String, &str)> {
    let Some(mut rest) = text.strip_prefix('"') else {
        return (!text.contains([',', '\t', '"'])).then(|| (text.to_owned(), ""));
    };
    let mut cell = String::new();
    loop {
        let (part, after) = rest.split_once('"')?;
        cell.push_str(part);
        // Two quotes stand for one.
        match after.strip_prefix('"') {
            Some(after) => rest = after,
            None => return Some((cell, after.trim_start_matches(' '))),
        }
        cell.push('"');
    }
}

/// Returns a cell of CSV (RFC 4180) that a spreadsheet does not take for a formula.
fn cell(text: &str) -> String {
    let quote = if is_formula(text) { "'" } else { "" };
    format!("\"{quote}{}\"", text.replace('"', "\"\""))
}

/// Returns whether a spreadsheet would evaluate a cell.
fn is_formula(text: &str) -> bool {
    text.starts_with(['=', '+', '-', '@', '\t', '\r'])
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
            let new = read(line, "payments").unwrap();
            assert_eq!((&*new.name, &*new.realm), expected, "{line}");
        }
    }

    #[test]
    fn cells_may_be_in_quotes() {
        for (line, expected) in [
            (r#""billing""#, ("billing", "payments")),
            (r#""a, b","ops""#, ("a, b", "ops")),
            (r#""a", "ops""#, ("a", "ops")),
            (r#"a,"o""ps""#, ("a", "o\"ps")),
            (r#""a",ops"#, ("a", "ops")),
            (r#""a""b","#, ("a\"b", "payments")),
            ("\"a\"\t\"ops\"", ("a", "ops")),
        ] {
            let new = read(line, "payments").unwrap();
            assert_eq!((&*new.name, &*new.realm), expected, "{line}");
        }
        for line in [
            r#""a"#,
            r#""a"b"#,
            r#""a","b","c""#,
            r#""a",b,c"#,
            r#""a","b"#,
        ] {
            assert!(read(line, "payments").is_err(), "{line}");
        }
    }

    #[test]
    fn cell_is_quoted_and_no_formula() {
        assert_eq!(cell("a\"b,c"), "\"a\"\"b,c\"");
        assert_eq!(cell("=1+1"), "\"'=1+1\"");
        assert_eq!(cell("a=1"), "\"a=1\"");
    }
}
