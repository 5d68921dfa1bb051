//! Forges headers, and finds out which of them the application receives.

use std::{io, slice};

use super::site::{Asked, Site, mark};
use super::spellings;

/// The maximum number of forged headers in a request. Servers limit all headers to 100.
const FORGED: usize = 40;

/// Returns the identity headers of a client that reach the application beside `credential`, and at
/// the public path without one.
///
/// # Errors
/// The system has no random bytes.
pub(super) fn forged(
    site: &Site,
    credential: &str,
    public: Option<&str>,
) -> io::Result<Vec<String>> {
    let mut passed = Vec::new();
    let (others, own) = (spellings::of_others(), spellings::of_own_headers());
    for names in others.chunks(FORGED).chain(own.chunks(FORGED)) {
        passed.extend(passing(site, &site.path, names, credential)?);
    }
    // Some servers reject a request for one such name.
    for name in &own {
        if !passed.contains(name) {
            let name = slice::from_ref(name);
            passed.extend(passing(site, &site.path, name, credential)?);
        }
    }
    if let Some(public) = public {
        passed.extend(passing(site, public, &spellings::own_headers(), "")?);
    }
    Ok(passed)
}

/// Sends headers with a mark each, and returns those that the application shows.
///
/// # Errors
/// The system has no random bytes.
pub(super) fn passing(
    site: &Site,
    target: &str,
    names: &[String],
    fields: &str,
) -> io::Result<Vec<String>> {
    let mark = mark()?;
    let lines = names.iter().enumerate();
    let lines = lines.map(|(at, name)| format!("{name}: {mark}-{at}-\r\n"));
    let forged: String = lines.collect();
    let answer = site.send(&Asked {
        method: "GET",
        target,
        fields: &format!("{fields}{forged}"),
    });
    let Ok(answer) = answer else {
        return Ok(Vec::new());
    };
    let is_shown = |at: usize| answer.reply.text.contains(&format!("{mark}-{at}-"));
    let shown = names.iter().enumerate().filter(|(at, _)| is_shown(*at));
    Ok(shown.map(|(_, name)| name.clone()).collect())
}
