use std::fmt;
use std::str::FromStr;
use std::time::SystemTime;

use data_encoding::BASE64;
use zeroize::Zeroizing;

use realmgate_core::{Parameters, Seed, Totp, UnixTime};

use super::credential::Credential;
use super::credential_error::CredentialError;
use super::seed_file::read_seed;

/// The principal on whose behalf requests are made.
#[derive(Clone, Debug)]
pub struct Caller {
    name: String,
    realm: String,
    proof: Proof,
}

/// A seed, from which each request computes the current token, or a single token.
///
/// `Debug` prints neither.
#[derive(Clone)]
pub struct Proof(Kind);

#[derive(Clone)]
enum Kind {
    Seed(Totp),
    Token(Zeroizing<String>),
    Credential(Credential),
}

impl Caller {
    /// Makes a caller from a name, a realm and its proof.
    pub fn new(name: &str, realm: &str, proof: Proof) -> Self {
        Self {
            name: name.to_owned(),
            realm: realm.to_owned(),
            proof,
        }
    }

    /// Returns the value of an `Authorization` header for a service behind realmgate: HTTP Basic
    /// with the user `name@realm` and the current token as password.
    ///
    /// A name with a colon cannot be sent in this form (RFC 7617 §2). Use the three headers
    /// instead.
    pub fn basic(&self) -> Zeroizing<String> {
        let token = self.proof.now();
        let pair = Zeroizing::new(format!("{}@{}:{}", self.name, self.realm, *token));
        Zeroizing::new(format!(
            "Basic {}",
            *Zeroizing::new(BASE64.encode(pair.as_bytes()))
        ))
    }
}

#[cfg(feature = "rest")]
impl Caller {
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn realm(&self) -> &str {
        &self.realm
    }

    pub(super) fn proof(&self) -> &Proof {
        &self.proof
    }
}

impl From<Credential> for Caller {
    fn from(credential: Credential) -> Self {
        let (name, realm) = (credential.name().to_owned(), credential.realm().to_owned());
        Self {
            name,
            realm,
            proof: Proof(Kind::Credential(credential)),
        }
    }
}

/// Writes `name@realm`.
impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.name, self.realm)
    }
}

impl Proof {
    /// Uses the tokens of a seed: SHA-1, 6 digits, 30 s.
    pub fn seed(seed: &Seed) -> Self {
        Self(Kind::Seed(Totp::new(seed, Parameters::default())))
    }

    /// Uses one token, until it expires.
    pub fn token(token: &str) -> Self {
        Self(Kind::Token(Zeroizing::new(token.to_owned())))
    }

    /// Returns the current token.
    pub fn now(&self) -> Zeroizing<String> {
        match &self.0 {
            Kind::Seed(totp) => Zeroizing::new(totp.token(UnixTime::from(SystemTime::now()))),
            Kind::Token(token) => token.clone(),
            Kind::Credential(credential) => credential.token(),
        }
    }
}

/// Reads a seed in any of the forms of [`read_seed`], with its parameters.
impl FromStr for Proof {
    type Err = CredentialError;

    fn from_str(seed: &str) -> Result<Self, CredentialError> {
        Ok(read_seed(seed)?.into())
    }
}

/// Uses the tokens of a seed with its parameters.
impl From<Totp> for Proof {
    fn from(totp: Totp) -> Self {
        Self(Kind::Seed(totp))
    }
}

impl fmt::Debug for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn basic_is_name_at_realm_and_token() {
        let caller = Caller::new("billing", "payments", Proof::token("123456"));
        assert_eq!(*caller.basic(), "Basic YmlsbGluZ0BwYXltZW50czoxMjM0NTY=");
    }

    #[test]
    fn debug_shows_neither_seed_nor_token() {
        let seed: Proof = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP".parse().unwrap();
        for proof in [seed, Proof::token("123456")] {
            let caller = Caller::new("n", "r", proof);
            assert_eq!(
                format!("{caller:?}"),
                r#"Caller { name: "n", realm: "r", proof: [redacted] }"#
            );
        }
    }
}
