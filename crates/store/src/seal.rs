//! Encryption of seeds: XChaCha20-Poly1305 (RFC 8439 with a 192-bit nonce).
//!
//! An encrypted seed is `version (1 byte) ‖ key id (8) ‖ nonce (24) ‖ ciphertext and tag`. Name and
//! realm are associated data, so an encrypted seed that is moved to another row does not decrypt.

use std::fmt;

use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};
use thiserror::Error;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use realmgate_core::{PrincipalRef, Seed};

const VERSION: u8 = 1;
const NONCE_BYTES: usize = 24;

/// A key that encrypts and decrypts seeds. Zeroed on drop, redacted in `Debug`.
#[derive(Zeroize, ZeroizeOnDrop)]
pub(super) struct SealingKey {
    /// On the heap, because moving a value leaves a copy behind.
    bytes: Box<[u8; Self::BYTES]>,
    #[zeroize(skip)]
    id: KeyId,
}

impl SealingKey {
    pub(super) const BYTES: usize = 32;

    pub(super) fn generate() -> Result<Self, SealError> {
        let mut bytes = Zeroizing::new([0; Self::BYTES]);
        getrandom::fill(&mut *bytes).map_err(|_| SealError::NoRandom)?;
        Ok(Self::from_bytes(&bytes))
    }

    pub(super) fn from_bytes(bytes: &[u8; Self::BYTES]) -> Self {
        let mut own = Box::new([0; Self::BYTES]);
        own.copy_from_slice(bytes);
        Self {
            id: KeyId::of(bytes),
            bytes: own,
        }
    }

    pub(super) fn as_bytes(&self) -> &[u8; Self::BYTES] {
        &self.bytes
    }

    /// Returns the id of the key, which does not reveal it.
    pub(super) fn id(&self) -> KeyId {
        self.id
    }

    pub(super) fn seal(&self, seed: &Seed, who: PrincipalRef<'_>) -> Result<Vec<u8>, SealError> {
        let mut nonce = [0; NONCE_BYTES];
        getrandom::fill(&mut nonce).map_err(|_| SealError::NoRandom)?;
        let payload = Payload {
            msg: seed.as_bytes(),
            aad: &associated_data(who),
        };
        let ciphertext = self
            .cipher()
            .encrypt(&XNonce::from(nonce), payload)
            .map_err(|_| SealError::Altered)?;
        let mut sealed = vec![VERSION];
        sealed.extend_from_slice(&self.id.0);
        sealed.extend_from_slice(&nonce);
        sealed.extend_from_slice(&ciphertext);
        Ok(sealed)
    }

    pub(super) fn open(&self, sealed: &[u8], who: PrincipalRef<'_>) -> Result<Seed, SealError> {
        let (id, rest) = divide(sealed)?;
        if id != self.id {
            return Err(SealError::OtherKey(id));
        }
        let (nonce, ciphertext) = rest
            .split_first_chunk::<NONCE_BYTES>()
            .ok_or(SealError::Altered)?;
        let payload = Payload {
            msg: ciphertext,
            aad: &associated_data(who),
        };
        let bytes = self.cipher().decrypt(&XNonce::from(*nonce), payload);
        let bytes = Zeroizing::new(bytes.map_err(|_| SealError::Altered)?);
        Seed::from_bytes(&bytes).map_err(|_| SealError::Altered)
    }

    /// Made for each use and zeroed after it.
    fn cipher(&self) -> XChaCha20Poly1305 {
        XChaCha20Poly1305::new((&*self.bytes).into())
    }
}

impl fmt::Debug for SealingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// The first 8 bytes of a hash of a key. Distinguishes keys without revealing them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeyId(pub(super) [u8; Self::BYTES]);

impl KeyId {
    pub(super) const BYTES: usize = 8;

    fn of(key: &[u8; SealingKey::BYTES]) -> Self {
        let mut hash = Sha256::new();
        // Hash in place: moving a hasher leaves its input behind.
        hash.update(b"realmgate sealing key id\0");
        hash.update(key);
        let digest = hash.finalize_reset();
        let mut id = [0; Self::BYTES];
        for (to, from) in id.iter_mut().zip(digest) {
            *to = from;
        }
        Self(id)
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0))
    }
}

/// Returns the id of the key that a seed is encrypted with.
pub(super) fn key_of(sealed: &[u8]) -> Result<KeyId, SealError> {
    divide(sealed).map(|(id, _)| id)
}

/// Splits an encrypted seed into the id of its key, and nonce with ciphertext.
fn divide(sealed: &[u8]) -> Result<(KeyId, &[u8]), SealError> {
    let (&version, rest) = sealed.split_first().ok_or(SealError::Altered)?;
    if version != VERSION {
        return Err(SealError::Version(version));
    }
    let (id, rest) = rest
        .split_first_chunk::<{ KeyId::BYTES }>()
        .ok_or(SealError::Altered)?;
    Ok((KeyId(*id), rest))
}

/// Each part is preceded by its length, so that ("ab", "c") and ("a", "bc") differ.
fn associated_data(who: PrincipalRef<'_>) -> Vec<u8> {
    let mut data = b"realmgate seed\0".to_vec();
    for part in [who.name(), who.realm()] {
        data.extend_from_slice(&(part.len() as u64).to_be_bytes());
        data.extend_from_slice(part.as_bytes());
    }
    data
}

/// Why a seed cannot be encrypted or decrypted. Never contains the seed or the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum SealError {
    /// The operating system gave no random bytes.
    #[error("the operating system gave no random bytes")]
    NoRandom,
    /// Truncated, altered, or moved from another row.
    #[error("the encrypted seed is altered, or belongs to another name")]
    Altered,
    /// Written by a later version.
    #[error("the encrypted seed has format {0}, this version supports 1")]
    Version(u8),
    /// Encrypted with another key.
    #[error("the seed is encrypted with key {0}")]
    OtherKey(KeyId),
    /// The current key is not available.
    #[error("seeds are encrypted with key {0}, which this process does not have")]
    NotHeld(KeyId),
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::FileExt;

    use super::*;
    use realmgate_core::{Parameters, Totp};

    fn who<'a>(name: &'a str, realm: &'a str) -> PrincipalRef<'a> {
        PrincipalRef::new(name, realm, 128).unwrap()
    }

    fn sealed() -> (SealingKey, Seed, Vec<u8>) {
        let key = SealingKey::from_bytes(&[7; 32]);
        let seed = Seed::from_bytes(b"canary-canary-canary").unwrap();
        let sealed = key.seal(&seed, who("ab", "c")).unwrap();
        (key, seed, sealed)
    }

    #[test]
    fn sealed_seed_opens_for_its_principal_only() {
        let (key, seed, sealed) = sealed();
        assert_eq!(key.open(&sealed, who("ab", "c")), Ok(seed));
        for other in [who("a", "bc"), who("c", "ab"), who("ab", "d")] {
            assert_eq!(key.open(&sealed, other), Err(SealError::Altered));
        }
    }

    #[test]
    fn sealed_seed_shows_nothing_and_differs_each_time() {
        let (key, seed, sealed) = sealed();
        assert!(!sealed.windows(6).any(|window| window == b"canary"));
        assert_ne!(key.seal(&seed, who("ab", "c")).unwrap(), sealed);
    }

    #[test]
    fn any_altered_or_missing_byte_is_rejected() {
        let (key, _, sealed) = sealed();
        for at in 0..sealed.len() {
            let mut altered = sealed.clone();
            altered[at] ^= 1;
            assert!(key.open(&altered, who("ab", "c")).is_err(), "byte {at}");
            assert!(key.open(&sealed[..at], who("ab", "c")).is_err());
        }
    }

    #[test]
    fn other_key_is_named() {
        let (_, _, sealed) = sealed();
        let other = SealingKey::from_bytes(&[8; 32]);
        let id = SealingKey::from_bytes(&[7; 32]).id();
        assert_eq!(
            other.open(&sealed, who("ab", "c")),
            Err(SealError::OtherKey(id))
        );
    }

    proptest::proptest! {
        #[test]
        fn no_two_principals_have_the_same_associated_data(
            one in crate::tricky(), other in crate::tricky(),
        ) {
            let data = |it: &(String, String)| associated_data(who(&it.0, &it.1));
            assert_eq!(data(&one) == data(&other), one == other);
        }

        #[test]
        fn stored_bytes_decrypt_only_to_the_encrypted_seed(
            bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..120),
        ) {
            let (key, _, _) = sealed();
            assert!(key.open(&bytes, who("ab", "c")).is_err());
        }
    }

    /// Counts the occurrences of these bytes in the writable memory of this process. The argument
    /// has every bit inverted, so that it is not an occurrence itself.
    fn copies(turned: &[u8]) -> usize {
        let memory = fs::File::open("/proc/self/mem").unwrap();
        let maps = fs::read_to_string("/proc/self/maps").unwrap();
        let mut found = 0;
        for map in maps.lines().filter(|map| map.contains(" rw")) {
            let (range, _) = map.split_once(' ').unwrap();
            let (start, end) = range.split_once('-').unwrap();
            let [start, end] = [start, end].map(|it| u64::from_str_radix(it, 16).unwrap());
            let mut bytes = vec![0; usize::try_from(end - start).unwrap()];
            // Another thread may have unmapped it.
            if memory.read_exact_at(&mut bytes, start).is_ok() {
                let is_there =
                    |it: &&[u8]| it.iter().zip(turned).all(|(one, other)| *one == !other);
                found += bytes.windows(turned.len()).filter(is_there).count();
            }
            bytes.zeroize();
        }
        found
    }

    /// Overwrites the stack as the next request would: a cipher leaves its last block there.
    #[inline(never)]
    fn run_over_the_stack() {
        std::hint::black_box([0_u8; 1 << 16]);
    }

    #[test]
    fn keys_and_seeds_that_are_dropped_are_not_in_memory_any_more() {
        // Search for the end: the allocator overwrites the beginning of freed memory.
        let turned = |bytes: &[u8]| {
            bytes[bytes.len() - 16..]
                .iter()
                .map(|it| !it)
                .collect::<Vec<_>>()
        };
        let key = SealingKey::generate().unwrap();
        let mut bytes = Zeroizing::new(vec![0; 64]);
        getrandom::fill(&mut bytes).unwrap();
        let seed = Seed::from_bytes(&bytes).unwrap();
        let (key_turned, seed_turned) = (turned(key.as_bytes()), turned(seed.as_bytes()));
        // Many keys: with few, later allocations would hide that they were not zeroed.
        let keys: Vec<_> = (0..64)
            .map(|_| SealingKey::from_bytes(key.as_bytes()))
            .collect();
        let open = |key: &SealingKey| {
            let sealed = key.seal(&seed, who("a", "r")).unwrap();
            let opened = key.open(&sealed, who("a", "r")).unwrap();
            let totp = Totp::new(&opened, Parameters::default());
            (opened.to_base32(), opened, totp)
        };
        let opened: Vec<_> = keys.iter().map(open).collect();
        assert!(copies(&key_turned) >= 64 && copies(&seed_turned) >= 128);
        drop((opened, keys, key, seed, bytes));
        run_over_the_stack();
        assert_eq!((copies(&key_turned), copies(&seed_turned)), (0, 0));
    }
}
