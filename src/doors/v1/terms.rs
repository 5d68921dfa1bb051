//! Checks the values of identities.

use super::problem::{Kind, Problem, field_error};
use super::types::{self, Changes, FieldError, NewIdentity};
use crate::auth::{self, Parameters, Principal, Seed, Terms, UnixTime, trim};
use crate::config::Config;

/// Checks an identity to create.
///
/// # Errors
/// The problem, with all members that are wrong.
pub fn new_identity(
    config: &Config,
    new: NewIdentity,
    now: UnixTime,
) -> Result<auth::NewIdentity, Box<types::Problem>> {
    identity(config, new, now).map_err(|problem| Box::new(problem.document()))
}

/// Checks an identity to create.
///
/// # Errors
/// 422 with all members that are wrong.
pub(super) fn identity(
    config: &Config,
    new: NewIdentity,
    now: UnixTime,
) -> Result<auth::NewIdentity, Problem> {
    let limit = config.credential_headers.name_chars;
    let mut errors = Vec::new();
    for (field, text) in [("name", &new.name), ("realm", &new.realm)] {
        part(field, text, limit, &mut errors);
    }
    let comment = new.comment.filter(|comment| !comment.is_empty());
    let terms = Terms {
        not_before: new.not_before.map(|it| it.0),
        expires: new.expires.map(|it| it.0),
        comment: comment.map(Into::into),
    };
    check(&terms, new.expires.is_some(), now, &mut errors);
    let (given, defaults) = (new.parameters.unwrap_or_default(), config.totp.parameters);
    let algorithm = given.algorithm.unwrap_or(defaults.algorithm());
    let digits = given.digits.unwrap_or(defaults.digits());
    let period = given.period.unwrap_or(defaults.period());
    let parameters = Parameters::new(algorithm, digits, period);
    for (field, parameters) in [
        (
            "parameters.digits",
            Parameters::new(algorithm, digits, defaults.period()),
        ),
        (
            "parameters.period",
            Parameters::new(algorithm, defaults.digits(), period),
        ),
    ] {
        if let Err(error) = parameters {
            errors.push(field_error(field, error.to_string()));
        }
    }
    let seed = seed(new.seed.as_deref(), &mut errors)?;
    let principal = Principal::new(&new.name, &new.realm, limit);
    match (principal, parameters, seed) {
        (Ok(principal), Ok(parameters), Some(seed)) if errors.is_empty() => Ok(auth::NewIdentity {
            principal,
            seed,
            parameters,
            terms,
        }),
        _ => Err(Problem::invalid(errors)),
    }
}

/// Reads a seed, or makes one if none is given.
///
/// # Errors
/// 503 if there are no random bytes.
pub(super) fn seed(
    text: Option<&str>,
    errors: &mut Vec<FieldError>,
) -> Result<Option<Seed>, Problem> {
    let Some(text) = text else {
        let seed = Seed::generate().map_err(|error| {
            tracing::error!(%error, door = "rest", "cannot generate a seed");
            Problem::new(Kind::Unavailable)
        });
        return seed.map(Some);
    };
    match Seed::from_base32(text.trim()) {
        Ok(seed) if seed.as_bytes().len() * 8 < Seed::LEAST_BITS => {
            let detail = format!("expected at least {} bits", Seed::LEAST_BITS);
            errors.push(field_error("seed", detail));
        }
        Ok(seed) => return Ok(Some(seed)),
        Err(error) => errors.push(field_error("seed", error.to_string())),
    }
    Ok(None)
}

/// Applies changes of the terms of an identity.
pub(super) fn changed(
    old: &Terms,
    changes: &Changes,
    now: UnixTime,
    errors: &mut Vec<FieldError>,
) -> Terms {
    let time = |old, new: Option<Option<super::time::Timestamp>>| match new {
        None => old,
        Some(new) => new.map(|it| it.0),
    };
    let comment = match &changes.comment {
        None => old.comment.clone(),
        Some(comment) => comment
            .as_deref()
            .filter(|it| !it.is_empty())
            .map(Into::into),
    };
    let terms = Terms {
        not_before: time(old.not_before, changes.not_before),
        expires: time(old.expires, changes.expires),
        comment,
    };
    let is_new = changes.expires.is_some_and(|it| it.is_some());
    check(&terms, is_new, now, errors);
    terms
}

/// Checks that an identity with these terms can authenticate at some time.
fn check(terms: &Terms, is_new: bool, now: UnixTime, errors: &mut Vec<FieldError>) {
    if is_new && terms.expires.is_some_and(|expires| expires <= now) {
        errors.push(field_error("expires", "expected a time after now"));
    }
    if let (Some(from), Some(until)) = (terms.not_before, terms.expires)
        && from >= until
    {
        errors.push(field_error("expires", "expected a time after not_before"));
    }
    if let Some(comment) = &terms.comment {
        let most = Terms::COMMENT_CHARS;
        if comment.chars().count() > most || comment.contains('\0') {
            let detail = format!("expected at most {most} characters, no NUL");
            errors.push(field_error("comment", detail));
        }
    }
}

/// Checks a name or a realm.
pub(super) fn part(field: &str, text: &str, limit: usize, errors: &mut Vec<FieldError>) {
    if text.is_empty() || text.chars().count() > limit {
        errors.push(field_error(
            field,
            format!("expected 1 to {limit} characters"),
        ));
    } else if text.contains('\0') || trim(text).len() != text.len() {
        let detail = "expected no white space at the ends and no NUL";
        errors.push(field_error(field, detail));
    }
}
