//! The credentials that are sent, right and wrong.

use std::io;
use std::time::{Duration, SystemTime};

use data_encoding::BASE64;

use crate::client::Credential;

/// Returns a credential in headers, with another token if there is one.
///
/// # Errors
/// A part cannot be in a header.
pub(super) fn headers(who: &Credential, token: Option<&str>) -> io::Result<String> {
    let (name, realm) = (who.name(), who.realm());
    let right = who.token();
    let token = token.unwrap_or(&right);
    if [name, realm].iter().any(|it| it.contains(['\r', '\n'])) {
        return Err(io::Error::other("a name with a line break"));
    }
    Ok(format!(
        "X-Auth-Name: {name}\r\nX-Auth-Realm: {realm}\r\nX-Auth-Token: {token}\r\n"
    ))
}

/// Returns a credential as HTTP Basic.
pub(super) fn basic(who: &Credential) -> String {
    let token = who.token();
    let text = format!("{}@{}:{}", who.name(), who.realm(), &*token);
    format!(
        "Authorization: Basic {}\r\n",
        BASE64.encode(text.as_bytes())
    )
}

/// Returns a token that is wrong now and for some steps before and after.
pub(super) fn wrong_token(who: &Credential) -> String {
    let now = SystemTime::now();
    let steps = (0..=20).flat_map(|steps| {
        let off = Duration::from_secs(30 * steps);
        [now.checked_sub(off), now.checked_add(off)]
    });
    let right: Vec<_> = steps.flatten().map(|time| who.token_at(time)).collect();
    let digits = right.first().map_or(6, |token| token.len());
    let mut wrong = (0..).map(|number| format!("{number:0digits$}"));
    wrong
        .find(|token| right.iter().all(|right| **right != *token))
        .unwrap_or_default()
}
