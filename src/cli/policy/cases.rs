//! The cases of `realmgate policy test`.

use std::fs::File;
use std::io::Read;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use thiserror::Error;
use toml::Spanned;

/// The maximum size of a file in bytes, and the maximum number of cases in it.
const FILE_BYTES: u64 = 16 << 20;
const CASES: usize = 100_000;

/// The reasons for which routes and identities reject a request, of those in `docs/reasons.md`.
const REASONS: [&str; 15] = [
    "ambiguous_path",
    "bad_host",
    "bad_method",
    "broken_seed",
    "connect",
    "disabled",
    "expired",
    "no_credential",
    "no_route",
    "not_allowed",
    "not_yet_valid",
    "slashes",
    "throttled",
    "trace",
    "unknown_principal",
];

/// Why a file of cases cannot be used.
#[derive(Debug, Error)]
pub(super) enum CasesError {
    #[error("{0}: cannot be read: {1}")]
    Unreadable(PathBuf, std::io::Error),
    #[error("{0}: is longer than {FILE_BYTES} bytes")]
    TooLong(PathBuf),
    #[error("{file}:{line}: {message}")]
    Mistake {
        file: String,
        line: usize,
        message: String,
    },
}

/// A request, and what is expected of its decision.
#[derive(Debug)]
pub(super) struct Case {
    /// The line of the file, counted from 1.
    pub(super) line: usize,
    pub(super) method: String,
    pub(super) url: String,
    pub(super) from: Option<IpAddr>,
    /// `NAME@REALM`; `None` for a request without a credential.
    pub(super) who: Option<String>,
    pub(super) expected: Expected,
    pub(super) route: Option<String>,
    pub(super) door: Option<Door>,
}

/// The expected decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Expected {
    Permit,
    Deny,
    /// Denied for this reason.
    Reason(String),
}

/// The door that decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Door {
    Proxy,
    ForwardAuth,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Typed {
    #[serde(default)]
    case: Vec<Spanned<TypedCase>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TypedCase {
    request: String,
    from: Option<IpAddr>,
    #[serde(rename = "as")]
    who: Option<String>,
    expect: String,
    route: Option<String>,
    door: Option<Door>,
}

/// Reads a file of cases.
///
/// # Errors
/// [`CasesError`]: the first mistake.
pub(super) fn read(path: &Path) -> Result<Vec<Case>, CasesError> {
    let unreadable = |error| CasesError::Unreadable(path.into(), error);
    let mut text = String::new();
    let file = File::open(path).map_err(unreadable)?;
    file.take(FILE_BYTES + 1)
        .read_to_string(&mut text)
        .map_err(unreadable)?;
    if text.len() as u64 > FILE_BYTES {
        return Err(CasesError::TooLong(path.into()));
    }
    parse(&text, &path.display().to_string())
}

fn parse(text: &str, file: &str) -> Result<Vec<Case>, CasesError> {
    let line = |at: usize| {
        let before = text.get(..at).unwrap_or_default();
        before.matches('\n').count() + 1
    };
    let mistake = |line: usize, message: String| CasesError::Mistake {
        file: file.to_owned(),
        line,
        message,
    };
    let typed: Typed = toml::from_str(text).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start);
        mistake(line(at), error.message().to_owned())
    })?;
    if typed.case.is_empty() || typed.case.len() > CASES {
        let many = typed.case.len();
        return Err(mistake(
            1,
            format!("{many} cases, expected 1 to {CASES}; write [[case]]"),
        ));
    }
    // Counting from the beginning for each case would take time that grows with the square of the
    // length.
    let (mut counted, mut last) = (1, 0);
    typed
        .case
        .into_iter()
        .map(|case| {
            let start = case.span().start;
            let between = text.get(last..start).unwrap_or_default();
            counted += between.matches('\n').count();
            last = start.max(last);
            check(counted, case.into_inner()).map_err(|message| mistake(counted, message))
        })
        .collect()
}

fn check(line: usize, typed: TypedCase) -> Result<Case, String> {
    let (method, url) = match typed.request.split_once(' ') {
        Some((method, url)) if !method.is_empty() && !url.is_empty() && !url.contains(' ') => {
            (method.to_owned(), url.to_owned())
        }
        _ => {
            return Err(format!(
                "request = {:?}: expected a method and a URL, such as \"GET https://app.example.org/x\"",
                typed.request
            ));
        }
    };
    let expected = match &*typed.expect {
        "permit" => Expected::Permit,
        "deny" => Expected::Deny,
        reason if REASONS.contains(&reason) => Expected::Reason(reason.to_owned()),
        other => {
            let reasons = REASONS.join(", ");
            return Err(format!(
                "expect = {other:?}: expected \"permit\", \"deny\", or a reason ({reasons})"
            ));
        }
    };
    Ok(Case {
        line,
        method,
        url,
        from: typed.from,
        who: typed.who.filter(|who| who != "nobody"),
        expected,
        route: typed.route,
        door: typed.door,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        parse(text, "cases.toml").unwrap_err().to_string()
    }

    #[test]
    fn cases_are_read_with_their_lines() {
        let text = "# a\n[[case]]\nrequest = 'GET /x'\nexpect = 'permit'\n\n[[case]]\nrequest = 'PUT https://a/x'\nfrom = '10.1.2.3'\nas = 'shop@payments'\nexpect = 'not_allowed'\nroute = 'a'\ndoor = 'forward-auth'\n[[case]]\nrequest = 'GET /'\nas = 'nobody'\nexpect = 'deny'\n";
        let cases = parse(text, "cases.toml").unwrap();
        let lines: Vec<_> = cases.iter().map(|case| case.line).collect();
        assert_eq!(lines, [2, 6, 13]);
        let second = &cases[1];
        assert_eq!((&*second.method, &*second.url), ("PUT", "https://a/x"));
        assert_eq!(second.who.as_deref(), Some("shop@payments"));
        assert_eq!(second.expected, Expected::Reason("not_allowed".into()));
        assert_eq!(second.door, Some(Door::ForwardAuth));
        assert_eq!(cases[2].who, None);
    }

    #[test]
    fn mistakes_are_named_with_their_line() {
        for (text, expected) in [
            ("", "1: 0 cases, expected 1 to 100000; write [[case]]"),
            (
                "[[case]]\nrequest = 'GET'\nexpect = 'permit'",
                "1: request = \"GET\": expected a method and a URL, such as \"GET https://app.example.org/x\"",
            ),
            (
                "[[case]]\nrequest = 'GET /'\nexpect = 'allow!'",
                "1: expect = \"allow!\": expected \"permit\", \"deny\", or a reason (ambiguous_path, bad_host, bad_method, broken_seed, connect, disabled, expired, no_credential, no_route, not_allowed, not_yet_valid, slashes, throttled, trace, unknown_principal)",
            ),
            ("[[case]]\nrequest = 'GET /'\n", "1: missing field `expect`"),
        ] {
            assert_eq!(error(text), format!("cases.toml:{expected}"));
        }
        let unknown = error("[[case]]\nrequest = 'GET /'\nexpect = 'deny'\nform = '1.1.1.1'");
        assert!(
            unknown.starts_with("cases.toml:4: unknown field `form`"),
            "{unknown}"
        );
        let address = error("[[case]]\nrequest = 'GET /'\nexpect = 'deny'\nfrom = 'x'");
        assert!(address.starts_with("cases.toml:4: invalid"), "{address}");
    }
}
