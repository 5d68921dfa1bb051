//! Seeds at rest: XChaCha20-Poly1305 (RFC 8439 with a 192-bit nonce), bound to name and realm.
//!
//! A sealed seed is `version (1 byte) ‖ key id (8) ‖ nonce (24) ‖ ciphertext and tag`. The
//! associated data names the principal, so a sealed seed that is moved to another row does not open.

use std::fmt;

use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};
use thiserror::Error;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::auth::{PrincipalRef, Seed};

const VERSION: u8 = 1;
const NONCE_BYTES: usize = 24;

/// The key that seals seeds. Zeroed on drop, redacted in `Debug`.
#[derive(Zeroize, ZeroizeOnDrop)]
pub(super) struct SealingKey([u8; Self::BYTES]);

impl SealingKey {
    pub(super) const BYTES: usize = 32;

    pub(super) fn generate() -> Result<Self, SealError> {
        let mut bytes = [0; Self::BYTES];
        getrandom::fill(&mut bytes).map_err(|_| SealError::NoRandom)?;
        Ok(Self(bytes))
    }

    pub(super) const fn from_bytes(bytes: [u8; Self::BYTES]) -> Self {
        Self(bytes)
    }

    pub(super) fn as_bytes(&self) -> &[u8; Self::BYTES] {
        &self.0
    }

    /// Returns what names the key without telling it.
    pub(super) fn id(&self) -> KeyId {
        let digest = Sha256::new()
            .chain_update(b"realmgate sealing key id\0")
            .chain_update(self.0)
            .finalize();
        let mut id = [0; KeyId::BYTES];
        for (to, from) in id.iter_mut().zip(digest) {
            *to = from;
        }
        KeyId(id)
    }
}

impl fmt::Debug for SealingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// The first 8 bytes of a hash of a key: enough to tell keys apart, useless to find one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyId(pub(super) [u8; Self::BYTES]);

impl KeyId {
    pub(super) const BYTES: usize = 8;
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0))
    }
}

/// Seals and opens seeds with one key.
pub(super) struct Sealer {
    cipher: XChaCha20Poly1305,
    key_id: KeyId,
}

impl Sealer {
    pub(super) fn new(key: &SealingKey) -> Self {
        Self {
            cipher: XChaCha20Poly1305::new(key.as_bytes().into()),
            key_id: key.id(),
        }
    }

    pub(super) fn seal(&self, seed: &Seed, who: PrincipalRef<'_>) -> Result<Vec<u8>, SealError> {
        let mut nonce = [0; NONCE_BYTES];
        getrandom::fill(&mut nonce).map_err(|_| SealError::NoRandom)?;
        let ciphertext = self
            .cipher
            .encrypt(
                &XNonce::from(nonce),
                Payload {
                    msg: seed.as_bytes(),
                    aad: &associated_data(who),
                },
            )
            .map_err(|_| SealError::Refused)?;
        let mut sealed = vec![VERSION];
        sealed.extend_from_slice(&self.key_id.0);
        sealed.extend_from_slice(&nonce);
        sealed.extend_from_slice(&ciphertext);
        Ok(sealed)
    }

    pub(super) fn open(&self, sealed: &[u8], who: PrincipalRef<'_>) -> Result<Seed, SealError> {
        let (&version, rest) = sealed.split_first().ok_or(SealError::Refused)?;
        let (key_id, rest) = rest
            .split_first_chunk::<{ KeyId::BYTES }>()
            .ok_or(SealError::Refused)?;
        let (nonce, ciphertext) = rest
            .split_first_chunk::<NONCE_BYTES>()
            .ok_or(SealError::Refused)?;
        if version != VERSION {
            return Err(SealError::Version(version));
        }
        if *key_id != self.key_id.0 {
            return Err(SealError::OtherKey(KeyId(*key_id)));
        }
        let bytes = Zeroizing::new(
            self.cipher
                .decrypt(
                    &XNonce::from(*nonce),
                    Payload {
                        msg: ciphertext,
                        aad: &associated_data(who),
                    },
                )
                .map_err(|_| SealError::Refused)?,
        );
        Seed::from_bytes(&bytes).map_err(|_| SealError::Refused)
    }
}

/// Lengths go before the parts: ("ab", "c") and ("a", "bc") are not the same.
fn associated_data(who: PrincipalRef<'_>) -> Vec<u8> {
    let mut data = b"realmgate seed\0".to_vec();
    for part in [who.name(), who.realm()] {
        data.extend_from_slice(&(part.len() as u64).to_be_bytes());
        data.extend_from_slice(part.as_bytes());
    }
    data
}

/// Why a seed was not sealed or opened. Never holds the seed or the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(super) enum SealError {
    /// The operating system gave no random bytes.
    #[error("the operating system gave no random bytes")]
    NoRandom,
    /// Cut short, altered, or moved from another row.
    #[error("the sealed seed is altered, or belongs to another name")]
    Refused,
    /// Made by a later version.
    #[error("the sealed seed has layout {0}, this version knows 1")]
    Version(u8),
    /// Sealed with another key.
    #[error("the seed is sealed with key {0}")]
    OtherKey(KeyId),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn who<'a>(name: &'a str, realm: &'a str) -> PrincipalRef<'a> {
        PrincipalRef::new(name, realm, 128).unwrap()
    }

    fn sealed() -> (Sealer, Seed, Vec<u8>) {
        let sealer = Sealer::new(&SealingKey::from_bytes([7; 32]));
        let seed = Seed::from_bytes(b"canary-canary-canary").unwrap();
        let sealed = sealer.seal(&seed, who("ab", "c")).unwrap();
        (sealer, seed, sealed)
    }

    #[test]
    fn sealed_seed_opens_for_its_principal_only() {
        let (sealer, seed, sealed) = sealed();
        assert_eq!(sealer.open(&sealed, who("ab", "c")), Ok(seed));
        for other in [who("a", "bc"), who("c", "ab"), who("ab", "d")] {
            assert_eq!(sealer.open(&sealed, other), Err(SealError::Refused));
        }
    }

    #[test]
    fn sealed_seed_shows_nothing_and_differs_each_time() {
        let (sealer, seed, sealed) = sealed();
        assert!(!sealed.windows(6).any(|window| window == b"canary"));
        assert_ne!(sealer.seal(&seed, who("ab", "c")).unwrap(), sealed);
    }

    #[test]
    fn any_altered_or_missing_byte_is_refused() {
        let (sealer, _, sealed) = sealed();
        for at in 0..sealed.len() {
            let mut altered = sealed.clone();
            altered[at] ^= 1;
            assert!(sealer.open(&altered, who("ab", "c")).is_err(), "byte {at}");
            assert!(sealer.open(&sealed[..at], who("ab", "c")).is_err());
        }
    }

    #[test]
    fn other_key_is_named() {
        let (_, _, sealed) = sealed();
        let other = Sealer::new(&SealingKey::from_bytes([8; 32]));
        let id = SealingKey::from_bytes([7; 32]).id();
        assert_eq!(
            other.open(&sealed, who("ab", "c")),
            Err(SealError::OtherKey(id))
        );
    }
}
