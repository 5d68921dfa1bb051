use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use data_encoding::BASE64;
use http::HeaderValue;
use realmgate_core::{NAME_CHARS, Parameters, Principal, Totp, UnixTime};
use zeroize::Zeroizing;

use super::credential_error::CredentialError;
use super::otpauth;
use super::seed_file::{SeedFile, read_seed};

/// A name, a realm and a seed, from which each request gets a new token.
///
/// Clones are cheap and share the seed. `Debug` shows neither seed nor token.
///
/// ```
/// use realmgate_client::Credential;
///
/// # fn main() -> Result<(), realmgate_client::CredentialError> {
/// let seed = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP";
/// let credential = Credential::new("billing", "payments", seed)?;
/// assert_eq!(credential.token().len(), 6);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Credential {
    principal: Arc<Principal>,
    source: Source,
    /// Added to the local time, in seconds.
    offset: i64,
}

#[derive(Clone)]
enum Source {
    Seed(Box<Totp>),
    File(Arc<SeedFile>),
}

impl Credential {
    /// Makes a credential. The seed is in one of the forms of [`read_seed`], with its parameters.
    ///
    /// # Errors
    /// A part is invalid, or the name or realm contains a colon.
    pub fn new(name: &str, realm: &str, seed: &str) -> Result<Self, CredentialError> {
        let totp = read_seed(seed)?;
        Self::with_source(name, realm, Source::Seed(Box::new(totp)))
    }

    /// Makes a credential whose seed is in a file, in one of the forms of [`read_seed`].
    ///
    /// The file is read again when it changes. If the new content is invalid, the last valid seed stays in use.
    /// [`Credential::token`] therefore asks for the state of the file each time, which blocks for some microseconds.
    ///
    /// # Errors
    /// As [`Credential::new`], or the file cannot be read.
    pub fn from_seed_file(
        name: &str,
        realm: &str,
        path: impl Into<PathBuf>,
    ) -> Result<Self, CredentialError> {
        let file = SeedFile::open(path.into())?;
        Self::with_source(name, realm, Source::File(Arc::new(file)))
    }

    /// Makes a credential of an `otpauth://totp/` URL whose label is `name@realm`, as `realmgate identity create`
    /// prints it.
    ///
    /// # Errors
    /// Anything else.
    pub fn from_otpauth(url: &str) -> Result<Self, CredentialError> {
        let parsed = otpauth::parse(url)?;
        let (name, realm) = parsed.principal.ok_or(CredentialError::Label)?;
        Self::with_source(&name, &realm, Source::Seed(Box::new(parsed.totp)))
    }

    /// Makes a credential of environment variables: `REALMGATE_IDENTITY` (`name@realm`) with `REALMGATE_SEED_FILE` or
    /// `REALMGATE_SEED`. Without `REALMGATE_IDENTITY`, those of ungleich-otp: `UNGLEICHOTPNAME`, `UNGLEICHOTPREALM`
    /// and `UNGLEICHOTPSEED`.
    ///
    /// # Errors
    /// A variable is missing or wrong.
    pub fn from_environment() -> Result<Self, CredentialError> {
        Self::from_variables(|name| std::env::var(name).ok())
    }

    fn from_variables(
        variable: impl Fn(&'static str) -> Option<String>,
    ) -> Result<Self, CredentialError> {
        let optional = |name| variable(name).filter(|value| !value.is_empty());
        let required = |name| optional(name).ok_or(CredentialError::Variable(name));
        let Some(identity) = optional("REALMGATE_IDENTITY") else {
            let (name, realm) = (required("UNGLEICHOTPNAME")?, required("UNGLEICHOTPREALM")?);
            let seed = Zeroizing::new(required("UNGLEICHOTPSEED")?);
            return Self::new(&name, &realm, &seed);
        };
        let (name, realm) = identity.rsplit_once('@').ok_or(CredentialError::Identity)?;
        match (optional("REALMGATE_SEED_FILE"), optional("REALMGATE_SEED")) {
            (Some(_), Some(_)) => Err(CredentialError::TwoSeeds),
            (Some(path), None) => Self::from_seed_file(name, realm, path),
            (None, Some(seed)) => Self::new(name, realm, &Zeroizing::new(seed)),
            (None, None) => Err(CredentialError::Variable("REALMGATE_SEED_FILE")),
        }
    }

    fn with_source(name: &str, realm: &str, source: Source) -> Result<Self, CredentialError> {
        if name.contains(':') || realm.contains(':') {
            return Err(CredentialError::Colon);
        }
        Ok(Self {
            principal: Arc::new(Principal::new(name, realm, NAME_CHARS)?),
            source,
            offset: 0,
        })
    }

    /// Computes tokens with these parameters, and not with those of the `otpauth://` URL, or SHA1, 6 digits and 30 s.
    #[must_use]
    pub fn with_parameters(mut self, parameters: Parameters) -> Self {
        self.source = match self.source {
            Source::Seed(totp) => Source::Seed(Box::new(Totp::new(&totp.seed(), parameters))),
            Source::File(file) => Source::File(Arc::new(file.with_parameters(parameters))),
        };
        self
    }

    /// Adds seconds to the local time, for a clock that is wrong.
    #[must_use]
    pub fn with_clock_offset(mut self, seconds: i64) -> Self {
        self.offset = seconds;
        self
    }

    /// Returns the name.
    pub fn name(&self) -> &str {
        self.principal.name()
    }

    /// Returns the realm.
    pub fn realm(&self) -> &str {
        self.principal.realm()
    }

    /// Returns the current token.
    pub fn token(&self) -> Zeroizing<String> {
        self.token_at(SystemTime::now())
    }

    /// Returns the token of a time, to which the clock offset is added.
    pub fn token_at(&self, time: SystemTime) -> Zeroizing<String> {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        let time = UnixTime::from_secs(since.as_secs().saturating_add_signed(self.offset));
        Zeroizing::new(match &self.source {
            Source::Seed(totp) => totp.token(time),
            Source::File(file) => file.totp().token(time),
        })
    }

    /// Returns the value of an `Authorization` header with the current token, marked as sensitive.
    ///
    /// Send it to the service only, and not to another host to which a redirect leads.
    pub fn authorization(&self) -> HeaderValue {
        let pair = Zeroizing::new(format!("{self}:{}", *self.token()));
        let letters = Zeroizing::new(BASE64.encode(pair.as_bytes()));
        let text = Zeroizing::new(format!("Basic {}", *letters));
        // Base64 is always a header value.
        let mut value = HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static("Basic"));
        value.set_sensitive(true);
        value
    }
}

/// Writes `name@realm`.
impl fmt::Display for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.name(), self.realm())
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credential")
            .field("name", &self.name())
            .field("realm", &self.realm())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const SEED: &str = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ";
    const OTHER: &str = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP";

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn token_is_that_of_the_time_and_the_offset() {
        let credential = Credential::new("billing", "payments", SEED).unwrap();
        assert_eq!(*credential.token_at(at(59)), "287082");
        let late = credential.with_clock_offset(600);
        assert_eq!(*late.token_at(at(1_111_111_109 - 600)), "081804");
        let early = late.with_clock_offset(-1);
        assert_eq!(*early.token_at(at(60)), "287082");
    }

    #[test]
    fn parameters_come_from_the_url_or_from_the_caller() {
        let url = format!("otpauth://totp/x:billing%40payments?secret={SEED}&digits=8");
        let credential = Credential::from_otpauth(&url).unwrap();
        assert_eq!(credential.to_string(), "billing@payments");
        assert_eq!(*credential.token_at(at(59)), "94287082");
        let credential = credential.with_parameters(Parameters::default());
        assert_eq!(*credential.token_at(at(59)), "287082");
        let nobody = format!("otpauth://totp/x?secret={SEED}");
        assert!(matches!(
            Credential::from_otpauth(&nobody),
            Err(CredentialError::Label)
        ));
    }

    #[test]
    fn authorization_is_basic_and_sensitive() {
        let credential = Credential::new("billing", "payments", SEED).unwrap();
        let value = credential.authorization();
        assert!(value.is_sensitive());
        let letters = value.to_str().unwrap().strip_prefix("Basic ").unwrap();
        let pair = String::from_utf8(BASE64.decode(letters.as_bytes()).unwrap()).unwrap();
        assert_eq!(pair.strip_prefix("billing@payments:").unwrap().len(), 6);
    }

    #[test]
    fn nothing_shows_a_seed() {
        let credential = Credential::new("n", "r", SEED).unwrap();
        assert_eq!(
            format!("{credential:?}"),
            r#"Credential { name: "n", realm: "r", .. }"#
        );
        for wrong in [format!("{SEED}1"), format!("otpauth://x/?secret={SEED}")] {
            let error = Credential::new("n", "r", &wrong).unwrap_err();
            assert!(!format!("{error} {error:?}").contains(SEED), "{error}");
        }
    }

    #[test]
    fn colon_and_impossible_names_are_errors() {
        for (name, realm) in [
            ("a:b", "r"),
            ("a", "r:s"),
            ("", "r"),
            ("a", ""),
            (" a", "r"),
        ] {
            assert!(
                Credential::new(name, realm, SEED).is_err(),
                "{name}@{realm}"
            );
        }
    }

    #[test]
    fn seed_file_is_read_again_when_it_changes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("seed");
        let replace = |content: &[u8]| {
            fs::write(folder.path().join("new"), content).unwrap();
            fs::rename(folder.path().join("new"), &path).unwrap();
        };
        replace(format!("{SEED}\n").as_bytes());
        let credential = Credential::from_seed_file("n", "r", &path).unwrap();
        assert_eq!(*credential.token_at(at(59)), "287082");
        replace(OTHER.as_bytes());
        let other = credential.token_at(at(59));
        assert_ne!(*other, "287082");
        replace(format!("otpauth://totp/a@b?secret={SEED}&digits=8").as_bytes());
        assert_eq!(*credential.token_at(at(59)), "94287082");
        // An invalid, oversized or missing file leaves the last valid seed in use.
        for broken in [&b""[..], b"no seed", b"\xff", &[b'A'; 4097]] {
            replace(broken);
            assert_eq!(*credential.token_at(at(59)), "94287082");
            assert!(Credential::from_seed_file("n", "r", &path).is_err());
        }
        fs::remove_file(&path).unwrap();
        assert_eq!(*credential.token_at(at(59)), "94287082");
        let fixed = credential.with_parameters(Parameters::default());
        replace(SEED.as_bytes());
        assert_eq!(*fixed.token_at(at(59)), "287082");
    }

    #[test]
    fn variables_of_either_kind_are_understood_as_a_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("seed");
        fs::write(&path, SEED).unwrap();
        let path = path.to_str().unwrap();
        let old = [
            ("UNGLEICHOTPNAME", "old"),
            ("UNGLEICHOTPREALM", "realm"),
            ("UNGLEICHOTPSEED", OTHER),
        ];
        let made = |variables: &[(&str, &str)]| {
            Credential::from_variables(|name| {
                let found = variables.iter().rev().find(|(key, _)| *key == name);
                found.map(|(_, value)| (*value).to_owned())
            })
        };
        assert_eq!(made(&old).unwrap().to_string(), "old@realm");
        for seed in [("REALMGATE_SEED", SEED), ("REALMGATE_SEED_FILE", path)] {
            let new = [&old[..], &[("REALMGATE_IDENTITY", "a@b@c"), seed]].concat();
            let credential = made(&new).unwrap();
            assert_eq!((credential.name(), credential.realm()), ("a@b", "c"));
            assert_eq!(*credential.token_at(at(59)), "287082");
        }
        for wrong in [
            &[("UNGLEICHOTPSEED", "")][..],
            &[("REALMGATE_IDENTITY", "a@b")],
            &[("REALMGATE_IDENTITY", "a"), ("REALMGATE_SEED", SEED)],
            &[
                ("REALMGATE_IDENTITY", "a@b"),
                ("REALMGATE_SEED", SEED),
                ("REALMGATE_SEED_FILE", path),
            ],
        ] {
            assert!(made(&[&old[..], wrong].concat()).is_err(), "{wrong:?}");
        }
    }
}
