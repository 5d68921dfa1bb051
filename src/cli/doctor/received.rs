//! The checks of the headers that the application receives.

use std::io;

use data_encoding::BASE64;

use super::checks::Outcomes;
use super::forging::{forged, passing};
use super::front::Front;
use super::outcome::Check;
use super::presented::{basic, headers};
use super::site::Received;
use crate::http::reserved::METHOD_OVERRIDES;

/// Why checks of headers have no result.
const NOT_SHOWN: &str = "the application does not show the headers that it receives; use one that does, such as \
     traefik/whoami";
/// Why checks that send several right tokens have no result.
const ONCE: &str = "each token of this realm can be used once, and this check sends several: name a caller of another \
     realm, or also check a route that admits such a realm";
impl Outcomes<'_> {
    /// Checks which headers the application receives.
    pub(super) fn shown(&mut self, good: &Received) -> io::Result<()> {
        let it = self.examination;
        if self.is_once {
            return self.shown_once(good);
        }
        let basic = it.site.get(&basic(it.caller))?;
        if !good.is_shown() || !basic.is_shown() {
            for check in [
                Check::Identity,
                Check::Token,
                Check::ForgedHeaders,
                Check::MethodOverride,
            ] {
                self.unknown(check, NOT_SHOWN);
            }
            return Ok(());
        }
        self.identity(&basic);
        self.token(&[good, &basic]);
        let forged = forged(it.site, &headers(it.caller, None)?, it.public)?;
        let fault = || {
            format!(
                "forged headers of a client reach the application: {}",
                forged.join(", ")
            )
        };
        let has_any = !forged.is_empty();
        self.add(Check::ForgedHeaders, has_any.then(fault));
        let names = METHOD_OVERRIDES.map(str::to_owned);
        let credential = headers(it.caller, None)?;
        let passed = passing(it.site, &it.site.path, &names, &credential)?;
        let fault = || {
            format!(
                "a client can name another method: {} reaches the application",
                passed.join(", ")
            )
        };
        let has_any = !passed.is_empty() && self.front != Some(Front::Realmgate);
        self.add(Check::MethodOverride, has_any.then(fault));
        Ok(())
    }

    /// Checks which headers the application receives, by the one response that a one-time token gets.
    fn shown_once(&mut self, good: &Received) -> io::Result<()> {
        if good.is_shown() {
            self.identity(good);
            self.token(&[good]);
        } else {
            self.unknown(Check::Identity, NOT_SHOWN);
            self.unknown(Check::Token, NOT_SHOWN);
        }
        self.unknown(Check::ForgedHeaders, ONCE);
        self.unknown(Check::MethodOverride, ONCE);
        Ok(())
    }

    /// Checks that the application receives the caller.
    fn identity(&mut self, answer: &Received) {
        let fault = "the application does not receive X-Forwarded-User with the caller";
        let is_there = answer.reply.text.contains(&self.user());
        self.add(Check::Identity, (!is_there).then(|| fault.to_owned()));
    }

    /// Checks that the application does not receive the token.
    fn token(&mut self, answers: &[&Received]) {
        let token = self.examination.caller.token();
        let encoded = BASE64.encode(format!("{}:{}", self.user(), &*token).as_bytes());
        let fault = "the application receives the token, and can use it at any other service";
        let leaks = answers.iter().any(|answer| {
            let text = &answer.reply.text;
            text.contains(&*token) || text.contains(&encoded)
        });
        self.add(Check::Token, leaks.then(|| fault.to_owned()));
    }

    /// Returns the caller as `X-Forwarded-User` names it.
    fn user(&self) -> String {
        let caller = self.examination.caller;
        format!("{}@{}", caller.name(), caller.realm())
    }
}
