//! Identities.

use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;

use super::problem::Problem;
use crate::auth::{Algorithm, BadRow};
use crate::doors::v1::time::Timestamp;

/// An identity.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Identity {
    /// The number of the identity. It never changes, and is never used again.
    pub id: i64,
    pub name: String,
    pub realm: String,
    pub state: State,
    pub created: Timestamp,
    /// When it was last changed.
    pub updated: Timestamp,
    /// The beginning of its validity, inclusive; null for none.
    pub not_before: Option<Timestamp>,
    /// The end of its validity, exclusive; null for none.
    pub expires: Option<Timestamp>,
    pub comment: Option<String>,
    pub parameters: Parameters,
    /// The current seed, and the one before it while that is valid.
    #[schema(min_items = 1, max_items = 2)]
    pub seeds: Vec<Seed>,
    pub throttle: Throttle,
    /// The seed in base32. Only the response to its creation or rotation has it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    #[schema(nullable = false)]
    pub seed: Option<String>,
    /// The URI that authenticator apps read. Only where `seed` is.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    #[schema(nullable = false)]
    pub otpauth: Option<String>,
}

/// Whether an identity may authenticate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum State {
    Enabled,
    Disabled,
}

impl State {
    /// Returns the name in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Enabled => "enabled",
            Self::Disabled => "disabled",
        }
    }
}

/// The TOTP parameters (RFC 6238).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Parameters {
    #[serde(with = "algorithm")]
    #[schema(value_type = AlgorithmName)]
    pub algorithm: Algorithm,
    /// The number of digits of a token.
    #[schema(minimum = 6, maximum = 8)]
    pub digits: u8,
    /// The length of a step in seconds.
    #[schema(minimum = 1, maximum = 3600)]
    pub period: u16,
}

/// The hash algorithm.
#[derive(Clone, Copy, Debug, ToSchema)]
#[schema(rename_all = "UPPERCASE")]
pub enum AlgorithmName {
    Sha1,
    Sha256,
    Sha512,
}

/// A seed, without its value.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Seed {
    /// When it was made; null if that is not known. Seeds made within one second have times a second
    /// apart, so that they differ.
    pub made: Option<Timestamp>,
    /// When it was last used, to the minute; null if never.
    pub last_used: Option<Timestamp>,
    /// How far the clock of its last user was off, in steps; negative if it was behind.
    pub drift: i64,
    /// When it ends to be valid; null for the current seed.
    pub until: Option<Timestamp>,
    pub strength: Strength,
}

/// The strength of a seed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Strength {
    /// At least 128 bits.
    Good,
    /// Fewer: rotate it.
    Weak,
    /// It cannot be decrypted, so that no token is valid.
    Broken,
}

impl Strength {
    /// Returns the name in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Weak => "weak",
            Self::Broken => "broken",
        }
    }
}

/// The failures that count against an identity.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Throttle {
    /// Failures at sources that are not trusted.
    pub failures: u32,
    /// The rest of the delay there, in seconds.
    pub waits: u64,
    /// The sources at which the identity has authenticated recently.
    pub trusted_sources: u64,
    /// Failures at trusted sources.
    pub trusted_failures: u32,
    /// The rest of the longest delay at a trusted source, in seconds.
    pub trusted_waits: u64,
}

/// A page of identities.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct Identities {
    pub items: Vec<Identity>,
    /// The cursor of the next page; null on the last one.
    pub next: Option<String>,
    /// The rows of the database that belong on this page but are no identities, because somebody has written them
    /// with SQL. Absent if there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unreadable: Vec<Unreadable>,
}

/// A row of the database that is no identity. Nobody can authenticate with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Unreadable {
    /// Its number in the table `identity`.
    pub id: i64,
    /// What is wrong.
    pub problem: String,
}

impl From<&BadRow> for Unreadable {
    fn from(row: &BadRow) -> Self {
        Self {
            id: row.id.0,
            problem: row.problem.to_string(),
        }
    }
}

/// An identity to create.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewIdentity {
    /// At most 128 characters (`limits.name_chars`), without white space at its ends and without NUL.
    #[schema(min_length = 1, max_length = 128)]
    pub name: String,
    /// Likewise.
    #[schema(min_length = 1, max_length = 128)]
    pub realm: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_before: Option<Timestamp>,
    /// After now and after `not_before`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 256)]
    pub comment: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parameters: Option<NewParameters>,
    /// The seed in base32, at least 40 bits; null for a new one of 160 bits, which is better.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 128)]
    pub seed: Option<String>,
}

/// TOTP parameters that differ from the configured ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewParameters {
    #[serde(
        default,
        with = "some_algorithm",
        skip_serializing_if = "Option::is_none"
    )]
    #[schema(value_type = Option<AlgorithmName>)]
    pub algorithm: Option<Algorithm>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 6, maximum = 8)]
    pub digits: Option<u8>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 3600)]
    pub period: Option<u16>,
}

/// Changes of an identity. Absent members stay as they are; null removes a value (RFC 7396).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Changes {
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "given"
    )]
    #[schema(min_length = 1, max_length = 128, nullable = false)]
    pub name: Option<String>,
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "given"
    )]
    #[schema(min_length = 1, max_length = 128, nullable = false)]
    pub realm: Option<String>,
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "given"
    )]
    #[schema(value_type = Option<Timestamp>)]
    pub not_before: Option<Option<Timestamp>>,
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "given"
    )]
    #[schema(value_type = Option<Timestamp>)]
    pub expires: Option<Option<Timestamp>>,
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "given"
    )]
    #[schema(value_type = Option<String>, max_length = 256)]
    pub comment: Option<Option<String>>,
}

/// How to rotate a seed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Rotation {
    /// How long the seed before stays valid, in seconds; null or 0 to end it at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(maximum = 31_536_000)]
    pub grace: Option<u64>,
    /// Whether to rotate although the seed before is still valid. It then ends at once.
    #[serde(default)]
    pub force: bool,
    /// The new seed in base32; null for a new one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 128)]
    pub seed: Option<String>,
}

/// The outcome of a line of a bulk creation.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Line {
    /// The number of the line in the request, from 1.
    pub line: u64,
    /// The status that the same request alone would have.
    pub status: u16,
    /// The identity with its seed, if the status is 201.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub identity: Option<Identity>,
    /// Why it was not created, otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<Problem>,
}

/// Reads a member that is there; null is a value.
fn given<'de, D: Deserializer<'de>, T: Deserialize<'de>>(from: D) -> Result<Option<T>, D::Error> {
    T::deserialize(from).map(Some)
}

mod algorithm {
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    use crate::auth::Algorithm;

    pub(super) fn serialize<S: Serializer>(it: &Algorithm, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(it.as_str())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Algorithm, D::Error> {
        let text = String::deserialize(from)?;
        let known = Algorithm::ALL.into_iter().find(|it| it.as_str() == text);
        known.ok_or_else(|| D::Error::custom("expected SHA1, SHA256 or SHA512"))
    }
}

mod some_algorithm {
    use serde::{Deserialize, Deserializer, Serializer};

    use crate::auth::Algorithm;

    pub(super) fn serialize<S: Serializer>(
        it: &Option<Algorithm>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        match it {
            Some(it) => super::algorithm::serialize(it, to),
            None => to.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<Algorithm>, D::Error> {
        #[derive(Deserialize)]
        struct Named(#[serde(with = "super::algorithm")] Algorithm);

        let named = Option::<Named>::deserialize(from)?;
        Ok(named.map(|Named(algorithm)| algorithm))
    }
}
