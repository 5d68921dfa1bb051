//! Options for the validity period and the comment.

use std::str::FromStr;
use std::time::SystemTime;

use crate::auth::{Terms, UnixTime};
use crate::cli::error::CliError;
use crate::cli::local_store::now;
use crate::clock;
use crate::doors::v1::types::Changes;

/// Options for the validity period and the comment.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct TermsArgs {
    /// Valid from: a time (2027-01-31T12:00:00Z), a duration from now (30d), or "never" for no limit
    #[arg(long, value_name = "TIME")]
    not_before: Option<Limit>,
    /// Valid until, in the formats of --not-before
    #[arg(long, value_name = "TIME")]
    expires: Option<Limit>,
    /// Comment of at most 256 characters; an empty one removes it
    #[arg(long, value_parser = comment)]
    comment: Option<String>,
}

/// A time from an option; `None` for `never`.
#[derive(Clone, Copy, Debug)]
struct Limit(Option<UnixTime>);

impl FromStr for Limit {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "never" {
            return Ok(Self(None));
        }
        let from_now = humantime::parse_duration(text).ok();
        let at = from_now.and_then(|duration| SystemTime::now().checked_add(duration));
        let at = at.or_else(|| humantime::parse_rfc3339_weak(text).ok());
        let at = at.filter(|&at| clock::is_usable(at));
        at.map(|at| Self(Some(at.into())))
            .ok_or("expected a time such as 2027-01-31T12:00:00Z, a duration such as 30d, or never")
    }
}

impl TermsArgs {
    /// Returns `old` with the given options applied.
    ///
    /// # Errors
    /// [`CliError::ExpiresInThePast`] or [`CliError::NeverValid`] if the identity could never
    /// authenticate.
    pub(super) fn of(&self, old: Terms) -> Result<Terms, CliError> {
        let typed = self.expires.and_then(|limit| limit.0);
        if typed.is_some_and(|expires| expires <= now()) {
            return Err(CliError::ExpiresInThePast);
        }
        let comment = match &self.comment {
            None => old.comment,
            Some(comment) if comment.is_empty() => None,
            Some(comment) => Some(comment.as_str().into()),
        };
        let terms = Terms {
            not_before: self.not_before.map_or(old.not_before, |limit| limit.0),
            expires: self.expires.map_or(old.expires, |limit| limit.0),
            comment,
        };
        match (terms.not_before, terms.expires) {
            (Some(from), Some(until)) if from >= until => Err(CliError::NeverValid),
            _ => Ok(terms),
        }
    }
}

impl TermsArgs {
    /// Returns the given options as changes.
    pub(super) fn changes(&self) -> Changes {
        let time = |limit: Option<Limit>| limit.map(|limit| limit.0.map(Into::into));
        Changes {
            not_before: time(self.not_before),
            expires: time(self.expires),
            comment: self
                .comment
                .clone()
                .map(|it| (!it.is_empty()).then_some(it)),
            ..Changes::default()
        }
    }
}

fn comment(text: &str) -> Result<String, String> {
    let most = Terms::COMMENT_CHARS;
    if text.chars().count() > most || text.contains('\0') {
        return Err(format!("expected at most {most} characters, no NUL"));
    }
    Ok(text.to_owned())
}
