//! Compares the token of a credential with those of a record.

use std::ops::RangeInclusive;

use super::credential::Credential;
use super::local::{LocalAuthenticator, NEAR};
use super::matching::Match;
use super::record::Record;
use super::time::UnixTime;
use super::totp::{Algorithm, Totp};

impl LocalAuthenticator {
    /// Compares the token with the one that passed last, if its step is still in the window. This is a
    /// shortcut: [`Self::checks`] would find the token too, at the same step, unless it is also the
    /// token of a nearer one.
    pub(super) fn repeated(
        &self,
        record: &Record,
        credential: &Credential<'_>,
        now: UnixTime,
    ) -> Option<Match> {
        let present = record.seeds.present();
        let totp = present.unwrap_or_else(|| self.decoy(record));
        let last = totp.last_step(credential.token(), now, self.settings.window);
        let step = std::hint::black_box(last).filter(|_| present.is_some())?;
        Some(Match {
            step,
            current: totp.step(now),
            is_of_previous: false,
        })
    }

    /// Returns the seed that replaces a missing one of a record.
    fn decoy(&self, record: &Record) -> &Totp {
        let parameters = record
            .identity
            .as_ref()
            .map_or(self.settings.parameters, |it| it.parameters);
        let [sha1, sha256, sha512] = &self.decoys;
        match parameters.algorithm() {
            Algorithm::Sha1 => sha1,
            Algorithm::Sha256 => sha256,
            Algorithm::Sha512 => sha512,
        }
    }

    /// Returns the offset in steps of a token that is right near the window but outside it,
    /// negative for late.
    pub(super) fn near(
        &self,
        record: &Record,
        credential: &Credential<'_>,
        now: UnixTime,
    ) -> Option<i64> {
        let window = self.settings.window;
        let distances = window.saturating_add(1)..=window.saturating_add(NEAR);
        let checks = self.checks_within(distances, record, credential, now);
        checks.fold(None, |found, it| it.map(Match::offset).or(found))
    }

    /// Compares the token with that of each step of the window, for the current and the previous
    /// seed. The decoy replaces a missing seed.
    pub(super) fn checks<'a>(
        &'a self,
        record: &'a Record,
        credential: &Credential<'a>,
        now: UnixTime,
    ) -> impl Iterator<Item = Option<Match>> + use<'a> {
        self.checks_within(0..=self.settings.window, record, credential, now)
    }

    /// Like [`Self::checks`], for the steps at these distances from the current one.
    pub(super) fn checks_within<'a>(
        &'a self,
        distances: RangeInclusive<u8>,
        record: &'a Record,
        credential: &Credential<'a>,
        now: UnixTime,
    ) -> impl Iterator<Item = Option<Match>> + use<'a> {
        let decoy = self.decoy(record);
        let present = record.seeds.present();
        let previous = record.seeds.previous(now);
        let token = credential.token();
        let seeds = [(present, false), (previous, true)];
        seeds.into_iter().flat_map(move |(seed, is_of_previous)| {
            let totp = seed.unwrap_or(decoy);
            let comparison = totp.comparison();
            totp.steps(now, distances.clone()).map(move |step| {
                let is_right = std::hint::black_box(comparison.is_of(token, step));
                (is_right && seed.is_some()).then(|| Match {
                    step,
                    current: totp.step(now),
                    is_of_previous,
                })
            })
        })
    }
}
