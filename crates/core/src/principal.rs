use std::collections::HashSet;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use equivalent::Equivalent;
use thiserror::Error;

/// The default maximum length of a name and of a realm, in characters; the limit of ungleich-otp.
pub const NAME_CHARS: usize = 128;

/// A name in a realm.
///
/// Both parts are compared byte for byte: case matters, and a composed `é` differs from a
/// decomposed one.
#[derive(Clone, PartialEq, Eq)]
pub struct Principal {
    name: Box<str>,
    realm: Arc<str>,
}

impl Principal {
    /// Makes a principal of at most `limit` characters (not bytes) in each part.
    ///
    /// # Errors
    /// As [`PrincipalRef::new`].
    pub fn new(name: &str, realm: &str, limit: usize) -> Result<Self, PrincipalError> {
        PrincipalRef::new(name, realm, limit).map(PrincipalRef::to_owned)
    }

    /// Returns the name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the realm.
    pub fn realm(&self) -> &str {
        &self.realm
    }

    /// Shares the memory of its realm with that in `realms`, or adds it there.
    pub fn share_realm(&mut self, realms: &mut HashSet<Arc<str>>) {
        match realms.get(&self.realm) {
            Some(realm) => self.realm = Arc::clone(realm),
            None => drop(realms.insert(Arc::clone(&self.realm))),
        }
    }

    /// Borrows the principal.
    pub fn as_ref(&self) -> PrincipalRef<'_> {
        PrincipalRef {
            name: &self.name,
            realm: &self.realm,
        }
    }
}

impl Hash for Principal {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_ref().hash(state);
    }
}

impl fmt::Debug for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_ref().fmt(f)
    }
}

/// A borrowed [`Principal`], and the key of caches: a lookup allocates nothing.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct PrincipalRef<'a> {
    name: &'a str,
    realm: &'a str,
}

impl<'a> PrincipalRef<'a> {
    /// Makes a principal of at most `limit` characters (not bytes) in each part.
    ///
    /// # Errors
    /// [`PrincipalError`] if a part is empty, longer than `limit`, contains NUL, or begins or ends
    /// with white space.
    pub fn new(name: &'a str, realm: &'a str, limit: usize) -> Result<Self, PrincipalError> {
        check("name", name, limit)?;
        check("realm", realm, limit)?;
        Ok(Self { name, realm })
    }

    /// Returns the name.
    pub fn name(self) -> &'a str {
        self.name
    }

    /// Returns the realm.
    pub fn realm(self) -> &'a str {
        self.realm
    }

    /// Copies both parts.
    pub fn to_owned(self) -> Principal {
        Principal {
            name: self.name.into(),
            realm: self.realm.into(),
        }
    }
}

impl Equivalent<Principal> for PrincipalRef<'_> {
    fn equivalent(&self, key: &Principal) -> bool {
        *self == key.as_ref()
    }
}

/// Prints `"name"@"realm"` with control characters escaped, so that a name cannot forge a log line.
impl fmt::Debug for PrincipalRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}@{:?}", self.name, self.realm)
    }
}

/// Why a name or a realm is invalid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum PrincipalError {
    /// A part is empty.
    #[error("the {0} is empty")]
    Empty(&'static str),
    /// A part is longer than the limit.
    #[error("the {part} has {chars} characters, at most {limit} are allowed")]
    TooLong {
        /// `name` or `realm`.
        part: &'static str,
        /// Its length in characters.
        chars: usize,
        /// The maximum length in characters.
        limit: usize,
    },
    /// A part contains a NUL character.
    #[error("the {0} contains a NUL character")]
    Nul(&'static str),
    /// A part begins or ends with white space. Headers and forms trim it, so nobody could present
    /// it.
    #[error("the {0} begins or ends with white space")]
    Untrimmed(&'static str),
}

/// Trims white space as ungleich-otp did for every field: Unicode white space and the four ASCII
/// separators U+001C to U+001F.
pub fn trim(text: &str) -> &str {
    text.trim_matches(|c: char| c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c))
}

fn check(part: &'static str, text: &str, limit: usize) -> Result<(), PrincipalError> {
    if text.is_empty() {
        return Err(PrincipalError::Empty(part));
    }
    // Most parts are such, and pass all checks.
    if text.len() <= limit && text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Ok(());
    }
    // A character has at least one byte, so only a longer text needs to be counted.
    if text.len() > limit {
        let chars = text.chars().count();
        if chars > limit {
            return Err(PrincipalError::TooLong { part, chars, limit });
        }
    }
    if text.contains('\0') {
        return Err(PrincipalError::Nul(part));
    }
    if trim(text).len() != text.len() {
        return Err(PrincipalError::Untrimmed(part));
    }
    Ok(())
}

/// Names and realms that are easily confused.
#[cfg(test)]
pub(crate) fn tricky() -> impl proptest::strategy::Strategy<Value = (String, String)> {
    let part = "[ab@:%/\\\\\"é\u{ff}\u{1}2F4]{1,4}";
    (part, part)
}

#[cfg(test)]
mod tests {
    use std::hash::{BuildHasher, RandomState};

    use super::*;

    #[test]
    fn limit_counts_characters_not_bytes() {
        let name = "é".repeat(128);
        assert!(Principal::new(&name, "r", NAME_CHARS).is_ok());
        let name = "é".repeat(129);
        assert_eq!(
            Principal::new(&name, "r", NAME_CHARS),
            Err(PrincipalError::TooLong {
                part: "name",
                chars: 129,
                limit: 128
            })
        );
    }

    #[test]
    fn empty_nul_and_untrimmed_parts_are_rejected() {
        assert_eq!(
            Principal::new("", "r", 8),
            Err(PrincipalError::Empty("name"))
        );
        assert_eq!(
            Principal::new("n", "", 8),
            Err(PrincipalError::Empty("realm"))
        );
        assert_eq!(
            Principal::new("a\0b", "r", 8),
            Err(PrincipalError::Nul("name"))
        );
        assert_eq!(
            Principal::new("n", "r\u{a0}", 8),
            Err(PrincipalError::Untrimmed("realm"))
        );
    }

    #[test]
    fn moving_a_character_from_name_to_realm_makes_another_key() {
        let hasher = RandomState::new();
        let one = Principal::new("ab", "c", 8).unwrap();
        let other = Principal::new("a", "bc", 8).unwrap();
        assert_ne!(one, other);
        assert_ne!(hasher.hash_one(&one), hasher.hash_one(&other));
        assert_eq!(hasher.hash_one(&one), hasher.hash_one(one.as_ref()));
        assert!(one.as_ref().equivalent(&one));
        assert!(!one.as_ref().equivalent(&other));
    }

    #[test]
    fn debug_escapes_line_breaks() {
        let who = Principal::new("a\nb", "r", 8).unwrap();
        assert_eq!(format!("{who:?}"), r#""a\nb"@"r""#);
    }

    #[test]
    fn case_and_composition_distinguish_names() {
        for other in ["Alice", "alicé", "alice\u{301}", "alicé\u{200b}"] {
            assert_ne!(
                Principal::new("alice", "r", 8),
                Principal::new(other, "r", 8)
            );
        }
        assert_ne!(
            Principal::new("\u{e9}", "r", 8),
            Principal::new("e\u{301}", "r", 8)
        );
    }

    proptest::proptest! {
        #[test]
        fn pairs_are_the_same_key_only_if_both_parts_are(
            one in tricky(), other in tricky(),
        ) {
            let is_same = one == other;
            let hasher = RandomState::new();
            let [one, other] = [one, other].map(|(name, realm)| Principal::new(&name, &realm, 128).unwrap());
            assert_eq!(one == other, is_same);
            assert_eq!(one.as_ref().equivalent(&other), is_same);
            assert_eq!(hasher.hash_one(&one) == hasher.hash_one(other.as_ref()), is_same);
            assert_eq!(format!("{one:?}") == format!("{other:?}"), is_same);
        }
    }
}
