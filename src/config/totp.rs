//! `[totp]`.

use super::raw;
use super::source::{Checked, Source};
use crate::auth::{Algorithm, Parameters};

/// `[totp]`: how tokens are computed and compared.
#[derive(Clone, Debug)]
pub struct Totp {
    /// The number of steps accepted on each side of the current one, 0 to 10; 1 by default.
    pub window: u8,
    /// The default parameters of new identities.
    pub parameters: Parameters,
    /// The issuer that authenticator apps show, 1 to 64 characters without `:`; `realmgate` by
    /// default.
    pub issuer: Box<str>,
}

impl Source<'_> {
    pub(super) fn totp(&self, raw: &raw::Totp) -> Checked<Totp> {
        let default = Parameters::default();
        let algorithm = match &raw.algorithm {
            None => Ok(default.algorithm()),
            Some(raw) => raw.get_ref().parse().map_err(|_| {
                let expected = format!(
                    "one of {}",
                    Algorithm::ALL.map(Algorithm::as_str).join(", ")
                );
                self.reject("totp.algorithm", raw, expected)
            }),
        };
        let digits = self.number("totp.digits", raw.digits.as_ref(), default.digits(), 6..=8);
        let period = self.number(
            "totp.period",
            raw.period.as_ref(),
            default.period(),
            1..=3600,
        );
        let issuer = self.word(
            "totp.issuer",
            raw.issuer.as_ref(),
            "realmgate".into(),
            "1 to 64 characters, no colon, no control character",
            |text| is_issuer(text).then(|| text.into()),
        );
        Ok(Totp {
            window: self.number("totp.window", raw.window.as_ref(), 1, 0..=10),
            // Both numbers are within the bounds of `Parameters::new`.
            parameters: Parameters::new(algorithm?, digits, period).unwrap_or(default),
            issuer,
        })
    }
}

/// Returns whether an authenticator app can show a text as the issuer. A colon would end it.
fn is_issuer(text: &str) -> bool {
    let is_shown = |c: char| c != ':' && !c.is_control();
    (1..=64).contains(&text.chars().count()) && text.chars().all(is_shown)
}
