use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};

use hmac::block_api::HmacCore;
use sha1::Sha1;
use sha2::{Sha256, Sha512};
use subtle::ConstantTimeEq;
use thiserror::Error;
use zeroize::Zeroize;

use super::credential::Token;
use super::keyed_hash::{keyed, scrub, truncated};
use super::seed::Seed;
use super::time::UnixTime;

/// The hash under the HMAC (RFC 6238 §1.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// HMAC-SHA-1, which nearly all clients support.
    #[default]
    Sha1,
    /// HMAC-SHA-256.
    Sha256,
    /// HMAC-SHA-512.
    Sha512,
}

impl Algorithm {
    /// All algorithms, in the order of the help texts.
    pub const ALL: [Self; 3] = [Self::Sha1, Self::Sha256, Self::Sha512];

    /// Returns the name as in `otpauth://` URIs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sha1 => "SHA1",
            Self::Sha256 => "SHA256",
            Self::Sha512 => "SHA512",
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Algorithm {
    type Err = ParametersError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|algorithm| algorithm.as_str().eq_ignore_ascii_case(text))
            .ok_or(ParametersError::Algorithm)
    }
}

/// The parameters with which tokens are computed from a seed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parameters {
    algorithm: Algorithm,
    digits: u8,
    period: u16,
}

impl Parameters {
    /// Makes parameters of 6 to 8 digits (RFC 4226 §5.3) and a period of 1 to 3600 seconds.
    ///
    /// # Errors
    /// [`ParametersError`] if a number is outside its range.
    pub fn new(algorithm: Algorithm, digits: u8, period: u16) -> Result<Self, ParametersError> {
        if !(6..=8).contains(&digits) {
            return Err(ParametersError::Digits(digits));
        }
        if !(1..=3600).contains(&period) {
            return Err(ParametersError::Period(period));
        }
        Ok(Self {
            algorithm,
            digits,
            period,
        })
    }

    /// Returns the hash algorithm.
    pub const fn algorithm(self) -> Algorithm {
        self.algorithm
    }

    /// Returns the number of digits of a token, 6 to 8.
    pub const fn digits(self) -> u8 {
        self.digits
    }

    /// Returns the duration of a step in seconds, 1 to 3600.
    pub const fn period(self) -> u16 {
        self.period
    }

    /// Returns the step that contains `now`.
    pub fn step(self, now: UnixTime) -> Step {
        Step(now.as_secs() / u64::from(self.period))
    }

    /// Returns these parameters with another hash algorithm.
    pub(super) const fn with_algorithm(self, algorithm: Algorithm) -> Self {
        Self { algorithm, ..self }
    }
}

impl Default for Parameters {
    /// SHA-1, 6 digits, 30 seconds (RFC 6238 §5.2): the defaults of common clients.
    fn default() -> Self {
        Self {
            algorithm: Algorithm::Sha1,
            digits: 6,
            period: 30,
        }
    }
}

/// Why parameters are invalid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ParametersError {
    /// The text names no [`Algorithm`].
    #[error("the algorithm is none of SHA1, SHA256, SHA512")]
    Algorithm,
    /// The number of digits is not 6 to 8.
    #[error("{0} digits, expected 6 to 8")]
    Digits(u8),
    /// The period is not 1 to 3600 seconds.
    #[error("a period of {0} s, expected 1 to 3600")]
    Period(u16),
}

/// The time step that a token belongs to: T in RFC 6238 §4.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Step(pub u64);

/// A seed and its parameters, which computes and checks tokens. Zeroed on drop.
#[derive(Clone)]
pub struct Totp {
    seed: Seed,
    parameters: Parameters,
    last: Last,
}

impl Totp {
    /// Combines a seed with its parameters.
    pub fn new(seed: &Seed, parameters: Parameters) -> Self {
        Self {
            seed: seed.clone(),
            parameters,
            last: Last::default(),
        }
    }

    /// Returns the seed.
    pub fn seed(&self) -> Seed {
        self.seed.clone()
    }

    /// Returns the parameters.
    pub fn parameters(&self) -> Parameters {
        self.parameters
    }

    /// Returns the step that contains `now`.
    pub fn step(&self, now: UnixTime) -> Step {
        self.parameters.step(now)
    }

    /// Computes the token of the step that contains `now`.
    pub fn token(&self, now: UnixTime) -> String {
        // RFC 4226 §4 R6 requires 128 bits, which `build` of the library enforces, but seeds of old
        // clients have 80. `Seed` and `Parameters` check every other bound.
        let totp = totp_rs::Builder::new()
            .with_algorithm(match self.parameters.algorithm {
                Algorithm::Sha1 => totp_rs::Algorithm::SHA1,
                Algorithm::Sha256 => totp_rs::Algorithm::SHA256,
                Algorithm::Sha512 => totp_rs::Algorithm::SHA512,
            })
            .with_digits(self.parameters.digits)
            .with_step_duration(u64::from(self.parameters.period))
            .with_skew(0)
            .with_secret(self.seed.as_bytes())
            .build_noncompliant();
        totp.generate(now.as_secs()).to_string()
    }

    /// Returns the seconds until the next step, 1 to the period.
    pub fn remaining(&self, now: UnixTime) -> u64 {
        let period = u64::from(self.parameters.period);
        period - now.as_secs() % period
    }

    /// Returns the step that `token` belongs to, among those at most `window` steps from `now`. Of
    /// several, returns the nearest (RFC 6238 §5.2, §6).
    ///
    /// A match ends the search. For a wrong token every step is computed, so the time does not
    /// reveal how close a guess was.
    pub fn check(&self, token: &str, now: UnixTime, window: u8) -> Option<Step> {
        let (token, comparison) = (Token::unbounded(token), self.comparison());
        self.steps(now, 0..=window)
            .find(|step| comparison.is_of(token, *step))
    }

    /// Returns the steps at these distances from `now`, nearest first. Steps before the epoch are
    /// left out.
    pub(super) fn steps(
        &self,
        now: UnixTime,
        distances: RangeInclusive<u8>,
    ) -> impl Iterator<Item = Step> + use<> {
        let current = self.step(now).0;
        let at = move |distance: u8| {
            let distance = u64::from(distance);
            let after = current.checked_add(distance).filter(|_| distance > 0);
            [current.checked_sub(distance), after]
        };
        distances.flat_map(at).flatten().map(Step)
    }

    /// Begins to compare tokens with those of several steps.
    pub(super) fn comparison(&self) -> Comparison<'_> {
        let key = Key::new(&self.seed, self.parameters.algorithm);
        Comparison { totp: self, key }
    }

    /// Returns the step of `token` if it is the last one passed to [`Self::remember`], and its step is at
    /// most `window` steps from `now`. Does the same work for every token, and compares in constant
    /// time.
    pub(super) fn last_step(&self, token: Token<'_>, now: UnixTime, window: u8) -> Option<Step> {
        let (presented, is_shaped) = self.number(token);
        let (step, code) = self.last.load();
        let is_near = step.0.abs_diff(self.step(now).0) <= u64::from(window);
        let is_right = bool::from(code.ct_eq(&presented));
        (is_right & is_shaped & is_near & (step != Last::NONE)).then_some(step)
    }

    /// Stores the token of a step, so that it is not computed again when it is presented again.
    pub(super) fn remember(&self, token: Token<'_>, step: Step) {
        let (presented, is_shaped) = self.number(token);
        if let Some(last) = Last::of(step, presented).filter(|_| is_shaped) {
            self.last.0.store(last, Ordering::Relaxed);
        }
    }

    /// Returns the value of a token, and whether it has the shape of one; if not, the value is 0.
    fn number(&self, token: Token<'_>) -> (u32, bool) {
        let digits = usize::from(self.parameters.digits);
        let text = token.expose();
        let is_numeric = text.bytes().all(|byte| byte.is_ascii_digit());
        let is_long_enough = token.is_number() | (text.len() == digits);
        // A token of another length is compared like one of zeros.
        let mut shaped = *ZEROS;
        let end = shaped.get_mut(..digits).unwrap_or_default();
        let (missing, is_too_long) = digits.overflowing_sub(text.len());
        let is_shaped = is_numeric & is_long_enough & !is_too_long;
        if let Some(place) = end.get_mut(missing..)
            && is_shaped
        {
            place.copy_from_slice(text.as_bytes());
        }
        let digits = end.iter().map(|digit| u32::from(digit.wrapping_sub(b'0')));
        let presented = digits.fold(0_u32, |number, digit| {
            number.wrapping_mul(10).wrapping_add(digit)
        });
        (presented, is_shaped)
    }
}

/// A right token and its step; 0 if there is none. It is as secret as the seed, for a minute.
struct Last(AtomicU64);

impl Last {
    /// The bits of a token: it has at most eight digits.
    const CODE: u32 = 27;
    /// The step when there is none.
    const NONE: Step = Step(0);

    /// Returns the step and the token.
    fn load(&self) -> (Step, u32) {
        let last = self.0.load(Ordering::Relaxed);
        let code = last & ((1 << Self::CODE) - 1);
        (Step(last >> Self::CODE), u32::try_from(code).unwrap_or(0))
    }

    /// Combines a step and a token. Returns `None` for steps that do not fit, thousands of years from
    /// now, and for the first one.
    fn of(step: Step, code: u32) -> Option<u64> {
        let is_fit = step != Self::NONE && step.0 >> (u64::BITS - Self::CODE) == 0;
        is_fit.then(|| step.0 << Self::CODE | u64::from(code))
    }
}

impl Default for Last {
    fn default() -> Self {
        Self(AtomicU64::new(0))
    }
}

impl Clone for Last {
    fn clone(&self) -> Self {
        Self(AtomicU64::new(self.0.load(Ordering::Relaxed)))
    }
}

impl Drop for Last {
    fn drop(&mut self) {
        self.0.get_mut().zeroize();
    }
}

/// Compares tokens with those of several steps: the seed is absorbed once, which is half of the work for a
/// token.
pub(super) struct Comparison<'a> {
    totp: &'a Totp,
    key: Key,
}

impl Comparison<'_> {
    /// Computes the token of a step as a number (RFC 6238 §4.2, RFC 4226 §5.3).
    fn code(&self, step: Step) -> u32 {
        let bits = self.key.truncated(step.0.to_be_bytes());
        bits % 10_u32.pow(u32::from(self.totp.parameters.digits))
    }

    /// Returns whether `token` is the token of `step`. Does the same work for every token, and
    /// compares in constant time.
    pub(super) fn is_of(&self, token: Token<'_>, step: Step) -> bool {
        let (presented, is_shaped) = self.totp.number(token);
        let is_right = bool::from(self.code(step).ct_eq(&presented));
        is_right & is_shaped
    }
}

/// An HMAC that has absorbed its key. It is as secret as the seed, so it lasts no longer than a
/// comparison. Zeroed on drop, and boxed, because a value that is moved leaves a copy on the stack.
enum Key {
    Sha1(Box<HmacCore<Sha1>>),
    Sha256(Box<HmacCore<Sha256>>),
    Sha512(Box<HmacCore<Sha512>>),
}

impl Key {
    fn new(seed: &Seed, algorithm: Algorithm) -> Self {
        let key = match algorithm {
            Algorithm::Sha1 => Self::Sha1(keyed(seed)),
            Algorithm::Sha256 => Self::Sha256(keyed(seed)),
            Algorithm::Sha512 => Self::Sha512(keyed(seed)),
        };
        scrub();
        key
    }

    /// Computes the HMAC of a counter, and truncates it to 31 bits (RFC 4226 §5.3 "dynamic truncation").
    fn truncated(&self, counter: [u8; 8]) -> u32 {
        let truncated = match self {
            Self::Sha1(key) => truncated(key, counter),
            Self::Sha256(key) => truncated(key, counter),
            Self::Sha512(key) => truncated(key, counter),
        };
        scrub();
        truncated
    }
}

/// The digits of the longest token.
const ZEROS: &[u8; 8] = b"00000000";

impl fmt::Debug for Totp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Totp")
            .field("parameters", &self.parameters)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn totp(seed: &[u8], algorithm: Algorithm, digits: u8) -> Totp {
        Totp::new(
            &Seed::from_bytes(seed).unwrap(),
            Parameters::new(algorithm, digits, 30).unwrap(),
        )
    }

    fn repeated(len: usize) -> Vec<u8> {
        b"1234567890".iter().copied().cycle().take(len).collect()
    }

    #[test]
    fn number_stands_for_the_token_of_its_value_and_a_text_for_itself() {
        // RFC 6238, appendix B: 07081804 at 1111111109.
        let totp = totp(&repeated(20), Algorithm::Sha1, 8);
        let step = totp.step(UnixTime::from_secs(1_111_111_109));
        let is_right = |token: Token<'_>| totp.comparison().is_of(token, step);
        for number in ["7081804", "07081804"] {
            assert!(is_right(Token::number(number).unwrap()), "{number}");
        }
        for number in [
            "081804",
            "7081805",
            "70818040",
            "007081804",
            "-7081804",
            "x",
        ] {
            assert!(!is_right(Token::number(number).unwrap()), "{number}");
        }
        assert!(is_right(Token::new("07081804").unwrap()));
        assert!(!is_right(Token::new("7081804").unwrap()));
    }

    #[test]
    fn only_the_last_token_is_known_without_computing_it_and_only_near_its_step() {
        let totp = totp(&repeated(20), Algorithm::Sha1, 6);
        let (now, next) = (Step(50_000_000), Step(50_000_001));
        let token = Token::unbounded;
        let last = |token, step: Step, window| {
            let time = UnixTime::from_secs(step.0.saturating_mul(30));
            totp.last_step(token, time, window)
        };
        for window in [0, 1, 10] {
            assert_eq!(last(token("000000"), Step(0), window), None);
        }
        totp.remember(token("081804"), now);
        assert_eq!(last(token("081804"), now, 0), Some(now));
        assert_eq!(last(Token::number("81804").unwrap(), now, 0), Some(now));
        for wrong in ["081805", "81804", "0081804", "08180x", ""] {
            assert_eq!(last(token(wrong), now, 10), None, "{wrong}");
        }
        for window in [0, 1, 3] {
            for distance in -5..=5_i64 {
                let other = Step(now.0.saturating_add_signed(distance));
                let is_near = distance.unsigned_abs() <= u64::from(window);
                let expected = is_near.then_some(now);
                assert_eq!(last(token("081804"), other, window), expected);
            }
        }
        for other in [Step(0), Step(u64::MAX)] {
            assert_eq!(last(token("081804"), other, 10), None);
        }
        totp.remember(token("000000"), next);
        assert_eq!(last(token("000000"), next, 0), Some(next));
        assert_eq!(
            last(token("x"), next, 0),
            None,
            "what is no token counts as 0"
        );
        assert_eq!(last(token("081804"), now, 1), None);
        totp.remember(token("x"), now);
        assert_eq!(last(token("000000"), now, 0), None);
        totp.remember(token("081804"), Step(u64::MAX));
        assert_eq!(last(token("081804"), Step(u64::MAX), 0), None);
    }

    #[test]
    fn tokens_are_those_of_rfc_6238_appendix_b() {
        // time, SHA-1 (20-byte seed), SHA-256 (32), SHA-512 (64)
        let vectors = [
            (59, "94287082", "46119246", "90693936"),
            (1111111109, "07081804", "68084774", "25091201"),
            (1111111111, "14050471", "67062674", "99943326"),
            (1234567890, "89005924", "91819424", "93441116"),
            (2000000000, "69279037", "90698825", "38618901"),
            (20000000000, "65353130", "77737706", "47863826"),
        ];
        for (secs, sha1, sha256, sha512) in vectors {
            let now = UnixTime::from_secs(secs);
            for (len, algorithm, expected) in [
                (20, Algorithm::Sha1, sha1),
                (32, Algorithm::Sha256, sha256),
                (64, Algorithm::Sha512, sha512),
            ] {
                let eight = totp(&repeated(len), algorithm, 8);
                assert_eq!(eight.token(now), expected, "{algorithm} at {secs}");
                assert_eq!(eight.check(expected, now, 0), Some(eight.step(now)));
                // RFC 4226 §5.3: fewer digits are the last ones of more.
                for digits in [6, 7] {
                    let shorter = totp(&repeated(len), algorithm, digits).token(now);
                    assert_eq!(shorter.len(), usize::from(digits));
                    assert!(expected.ends_with(&shorter));
                }
            }
        }
    }

    #[test]
    fn tokens_are_those_of_rfc_4226_appendix_d() {
        let vectors = [
            "755224", "287082", "359152", "969429", "338314", "254676", "287922", "162583",
            "399871", "520489",
        ];
        let totp = totp(&repeated(20), Algorithm::Sha1, 6);
        for (counter, expected) in (0..).zip(vectors) {
            assert_eq!(totp.token(UnixTime::from_secs(counter * 30)), expected);
        }
    }

    #[test]
    fn seed_of_80_bits_makes_the_token_pyotp_makes() {
        let seed = Seed::from_base32("PZKBPTHDGSLZBKIZ").unwrap();
        let totp = Totp::new(&seed, Parameters::default());
        let now = UnixTime::from_secs(1500000015);
        assert_eq!(totp.token(now), "279349");
    }

    #[test]
    fn window_ends_exactly_where_it_says() {
        let totp = totp(&repeated(20), Algorithm::Sha1, 8);
        let now = UnixTime::from_secs(1_000_000 * 30 + 7);
        for window in [0, 1, 3] {
            for offset in -5..=5_i64 {
                let secs = now.as_secs().checked_add_signed(offset * 30).unwrap();
                let token = totp.token(UnixTime::from_secs(secs));
                let expected = (offset.unsigned_abs() <= u64::from(window))
                    .then(|| Step(1_000_000_u64.checked_add_signed(offset).unwrap()));
                assert_eq!(totp.check(&token, now, window), expected);
            }
        }
    }

    #[test]
    fn first_and_last_steps_of_time_do_not_overflow() {
        let totp = totp(&repeated(20), Algorithm::Sha1, 6);
        assert_eq!(
            totp.check("755224", UnixTime::from_secs(0), 3),
            Some(Step(0))
        );
        assert_eq!(totp.check("755224", UnixTime::from_secs(u64::MAX), 3), None);
    }

    #[test]
    fn token_of_another_shape_is_no_token() {
        let totp = totp(&repeated(20), Algorithm::Sha1, 6);
        let now = UnixTime::from_secs(0);
        for token in [
            "",
            "55224",
            "0755224",
            " 755224",
            "755224 ",
            "+55224",
            "-55224",
            "75522A",
            "７５５２２４",
            "٧٥٥٢٢٤",
            "755224\n",
            "1755224",
        ] {
            assert_eq!(totp.check(token, now, 1), None, "{token:?}");
        }
    }

    #[test]
    fn remaining_seconds_run_from_the_period_down_to_one() {
        let totp = totp(&repeated(20), Algorithm::Sha1, 6);
        assert_eq!(totp.remaining(UnixTime::from_secs(30)), 30);
        assert_eq!(totp.remaining(UnixTime::from_secs(59)), 1);
    }

    #[test]
    fn parameters_are_bounded() {
        for (digits, period, ok) in [
            (5, 30, false),
            (6, 30, true),
            (8, 30, true),
            (9, 30, false),
            (6, 0, false),
            (6, 1, true),
            (6, 3600, true),
            (6, 3601, false),
        ] {
            assert_eq!(
                Parameters::new(Algorithm::Sha1, digits, period).is_ok(),
                ok,
                "{digits} {period}"
            );
        }
    }

    #[test]
    fn debug_shows_no_seed() {
        let totp = totp(b"canary-canary-canary", Algorithm::Sha1, 6);
        assert!(!format!("{totp:?}").contains("canary"));
    }

    proptest::proptest! {
        #[test]
        fn computed_number_is_the_token_of_the_library(
            key in proptest::collection::vec(proptest::num::u8::ANY, 1..=80),
            algorithm in proptest::sample::select(&Algorithm::ALL),
            digits in 6..=8_u8,
            period in 1..=3600_u16,
            secs in proptest::num::u64::ANY,
        ) {
            let seed = Seed::from_bytes(&key).unwrap();
            let totp = Totp::new(&seed, Parameters::new(algorithm, digits, period).unwrap());
            for secs in [secs, secs % 10_000_000_000] {
                let now = UnixTime::from_secs(secs);
                let token = totp.token(now);
                assert_eq!(token.len(), usize::from(digits));
                assert_eq!(token.parse(), Ok(totp.comparison().code(totp.step(now))));
                assert!(totp.comparison().is_of(Token::unbounded(&token), totp.step(now)));
            }
        }

        #[test]
        fn token_is_right_for_the_steps_of_its_window_and_no_others(
            key in proptest::collection::vec(proptest::num::u8::ANY, 1..=80),
            secs in 300..10_000_000_000_u64,
            digits in 6..=8_u8,
            offset in -9..=9_i64,
            window in 0..=10_u8,
        ) {
            let totp = totp(&key, Algorithm::Sha256, digits);
            let now = UnixTime::from_secs(secs);
            let token = totp.token(UnixTime::from_secs(secs.saturating_add_signed(offset * 30)));
            let right: Vec<_> = totp
                .steps(now, 0..=window)
                .filter(|step| totp.token(UnixTime::from_secs(step.0 * 30)) == token)
                .collect();
            assert_eq!(totp.check(&token, now, window), right.first().copied());
            if offset.unsigned_abs() <= u64::from(window) {
                assert!(!right.is_empty());
            }
        }
    }
}
