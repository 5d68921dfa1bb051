//! Identities in JSON.

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::state::V1;
use super::types::{Identity, Parameters, Seed, State, Strength, Throttle};
use crate::auth::{self, Failures, UnixTime};

/// Returns an identity with the failures that count against it.
pub(super) fn shown(api: &V1, identity: &auth::Identity, now: UnixTime) -> Identity {
    show(identity, api.authenticator.failures(identity, now), now)
}

/// Returns an identity with its seed, for the response to its creation or rotation.
pub(super) fn shown_with_seed(
    api: &V1,
    identity: &auth::Identity,
    seed: &auth::Seed,
    now: UnixTime,
) -> Identity {
    let mut shown = shown(api, identity, now);
    let issuer = &api.config.load().totp.issuer;
    let seed = seed.to_base32();
    shown.otpauth = Some(otpauth(identity, &seed, issuer));
    shown.seed = Some(seed.as_str().to_owned());
    shown
}

/// Returns an identity without its seed.
pub fn show(identity: &auth::Identity, failures: Failures, now: UnixTime) -> Identity {
    let terms = identity.terms();
    let seeds = identity.seeds().unwrap_or_default();
    let usage = &identity.usage;
    let strength = |seed: Option<&auth::Totp>| match seed.map(|totp| totp.seed().strength()) {
        Some(auth::Strength::Good) => Strength::Good,
        Some(auth::Strength::Weak) => Strength::Weak,
        None => Strength::Broken,
    };
    let current = Seed {
        made: identity.history.seed_made.map(Into::into),
        last_used: usage.used().map(Into::into),
        drift: usage.drift(),
        until: None,
        strength: strength(seeds.present()),
    };
    let before = seeds.replaced().filter(|it| now < it.until);
    let before = before.map(|previous| Seed {
        made: identity.previous_made().map(Into::into),
        last_used: identity.previous_used().map(Into::into),
        drift: 0,
        until: Some(previous.until.into()),
        strength: strength(Some(&previous.totp)),
    });
    let parameters = identity.parameters;
    Identity {
        id: identity.id.0,
        name: identity.principal.name().to_owned(),
        realm: identity.principal.realm().to_owned(),
        state: match identity.state {
            auth::State::Enabled => State::Enabled,
            auth::State::Disabled => State::Disabled,
        },
        created: identity.created.into(),
        updated: identity.updated.into(),
        not_before: terms.not_before.map(Into::into),
        expires: terms.expires.map(Into::into),
        comment: terms.comment.as_deref().map(str::to_owned),
        parameters: Parameters {
            algorithm: parameters.algorithm(),
            digits: parameters.digits(),
            period: parameters.period(),
        },
        seeds: [Some(current), before].into_iter().flatten().collect(),
        throttle: failures.into(),
        seed: None,
        otpauth: None,
    }
}

impl From<Failures> for Throttle {
    fn from(failures: Failures) -> Self {
        Self {
            failures: failures.elsewhere,
            waits: failures.elsewhere_delay.as_secs(),
            trusted_sources: failures.trusted_sources as u64,
            trusted_failures: failures.trusted,
            trusted_waits: failures.trusted_delay.as_secs(),
        }
    }
}

/// Returns the URI that authenticator apps read, as text or as a QR code.
pub fn otpauth(identity: &auth::Identity, seed: &str, issuer: &str) -> String {
    let who = &identity.principal;
    let label = format!("{}@{}", who.name(), who.realm());
    let label = utf8_percent_encode(&label, NON_ALPHANUMERIC);
    let issuer = utf8_percent_encode(issuer, NON_ALPHANUMERIC);
    let parameters = identity.parameters;
    format!(
        "otpauth://totp/{issuer}:{label}?secret={seed}&issuer={issuer}&algorithm={}&digits={}&period={}",
        parameters.algorithm(),
        parameters.digits(),
        parameters.period(),
    )
}
