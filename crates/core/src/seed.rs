use std::fmt;
use std::sync::LazyLock;

use data_encoding::{BASE32_NOPAD, Encoding};
use thiserror::Error;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// The secret of an identity: the raw key of the HMAC. Zeroed on drop, redacted in `Debug`.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct Seed(Box<[u8]>);

/// Whether a seed is long enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strength {
    /// At least 128 bits, as RFC 4226 §4 R6 requires.
    Good,
    /// Shorter. It is accepted, because old clients have such seeds, but should be rotated.
    Weak,
}

impl Seed {
    /// The length of a new seed in bytes: 160 bits, as RFC 4226 §4 R6 recommends.
    pub const NEW_BYTES: usize = 20;
    /// The minimum length of a seed in bits.
    pub const LEAST_BITS: usize = 40;
    /// The maximum length of a seed in bytes: that of 128 base32 characters, the limit of
    /// ungleich-otp.
    pub const MAX_BYTES: usize = 80;

    /// Makes a seed from raw bytes.
    ///
    /// # Errors
    /// [`SeedError::Empty`] (anyone would know the key), or [`SeedError::TooLong`] above
    /// [`Seed::MAX_BYTES`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, SeedError> {
        match bytes.len() {
            0 => Err(SeedError::Empty),
            n if n > Self::MAX_BYTES => Err(SeedError::TooLong),
            _ => Ok(Self(bytes.into())),
        }
    }

    /// Generates a seed with the random number generator of the operating system.
    ///
    /// # Errors
    /// [`SeedError::NoRandom`] if the generator fails.
    pub fn generate() -> Result<Self, SeedError> {
        let mut bytes = Zeroizing::new([0; Self::NEW_BYTES]);
        getrandom::fill(&mut *bytes).map_err(|_| SeedError::NoRandom)?;
        Self::from_bytes(&*bytes)
    }

    /// Decodes base32 (RFC 4648 §6) as people and old clients write it: upper or lower case, padded
    /// or not, with spaces and hyphens between groups, and with stray bits in the last character.
    ///
    /// # Errors
    /// [`SeedError::NotBase32`] for other characters or an impossible length, [`SeedError::Empty`],
    /// or [`SeedError::TooLong`].
    pub fn from_base32(text: &str) -> Result<Self, SeedError> {
        let bytes = Zeroizing::new(
            LENIENT_BASE32
                .decode(text.trim_end_matches('=').as_bytes())
                .map_err(|_| SeedError::NotBase32)?,
        );
        Self::from_bytes(&bytes)
    }

    /// Returns the seed in base32 without padding, the form of old clients.
    pub fn to_base32(&self) -> Zeroizing<String> {
        Zeroizing::new(BASE32_NOPAD.encode(&self.0))
    }

    /// Returns the raw HMAC key.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Returns whether the seed has at least 128 bits.
    pub fn strength(&self) -> Strength {
        if self.0.len() < 16 {
            Strength::Weak
        } else {
            Strength::Good
        }
    }
}

impl fmt::Debug for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// Why a seed is invalid. Never contains the seed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum SeedError {
    /// No bytes.
    #[error("the seed is empty")]
    Empty,
    /// More than [`Seed::MAX_BYTES`].
    #[error("the seed is longer than {} bytes", Seed::MAX_BYTES)]
    TooLong,
    /// The text is not base32, or truncated.
    #[error("the seed is not base32 (letters A to Z and digits 2 to 7)")]
    NotBase32,
    /// The random number generator of the operating system failed.
    #[error("the operating system gave no random bytes")]
    NoRandom,
}

static LENIENT_BASE32: LazyLock<Encoding> = LazyLock::new(|| {
    let mut spec = BASE32_NOPAD.specification();
    spec.check_trailing_bits = false;
    spec.ignore.push_str(" -");
    spec.translate.from.push_str("abcdefghijklmnopqrstuvwxyz");
    spec.translate.to.push_str("ABCDEFGHIJKLMNOPQRSTUVWXYZ");
    #[expect(clippy::expect_used, reason = "constant; the tests below run it")]
    spec.encoding().expect("the specification is consistent")
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_padding_and_grouping_do_not_matter() {
        let plain = Seed::from_base32("JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP").unwrap();
        for text in [
            "jbswy3dpehpk3pxpjbswy3dpehpk3pxp",
            "JBSW Y3DP-EHPK 3PXP JBSW Y3DP EHPK 3PXP",
        ] {
            assert_eq!(Seed::from_base32(text).unwrap(), plain);
        }
        assert_eq!(
            Seed::from_base32("JBSWY3DPEHPK3PXPJA======").unwrap(),
            Seed::from_base32("JBSWY3DPEHPK3PXPJA").unwrap()
        );
        assert_eq!(&**plain.to_base32(), "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP");
    }

    #[test]
    fn stray_bits_in_the_last_letter_are_ignored() {
        // 26 characters, as pyotp 2.5 generates them, are 130 bits: two too many.
        let seed = Seed::from_base32("JBSWY3DPEHPK3PXPJBSWY3DPEH").unwrap();
        assert_eq!(seed.as_bytes().len(), 16);
    }

    #[test]
    fn text_that_is_not_base32_is_rejected() {
        for text in ["1", "JBSWY3DPEHPK3PX1", "JBSWY3DPÉ", "A", "JBS=WY3D"] {
            assert_eq!(Seed::from_base32(text), Err(SeedError::NotBase32), "{text}");
        }
    }

    #[test]
    fn empty_seed_is_rejected() {
        for text in ["", "====", " - "] {
            assert_eq!(Seed::from_base32(text), Err(SeedError::Empty), "{text}");
        }
    }

    #[test]
    fn length_is_bounded() {
        assert!(Seed::from_bytes(&[1; Seed::MAX_BYTES]).is_ok());
        assert_eq!(
            Seed::from_bytes(&[1; Seed::MAX_BYTES + 1]),
            Err(SeedError::TooLong)
        );
    }

    #[test]
    fn seeds_below_128_bits_are_weak() {
        let strength = |bytes: usize| Seed::from_bytes(&vec![1; bytes]).unwrap().strength();
        assert_eq!(strength(10), Strength::Weak);
        assert_eq!(strength(15), Strength::Weak);
        assert_eq!(strength(16), Strength::Good);
    }

    #[test]
    fn debug_shows_nothing() {
        let seed = Seed::from_bytes(b"canary-canary-canary").unwrap();
        assert_eq!(format!("{seed:?}"), "[redacted]");
    }

    #[test]
    fn generated_seeds_are_160_bits_and_no_two_are_alike() {
        let seeds: Vec<_> = (0..1000).map(|_| Seed::generate().unwrap()).collect();
        let distinct: std::collections::HashSet<_> = seeds.iter().map(Seed::as_bytes).collect();
        assert_eq!(distinct.len(), seeds.len());
        assert!(seeds.iter().all(|seed| seed.as_bytes().len() == 20));
        assert!(seeds.iter().all(|seed| seed.strength() == Strength::Good));
    }
}
