//! What TLS must prove.

use std::str::FromStr;

/// What TLS must prove, as libpq's `sslmode` has it. `allow` and `prefer`, which prove nothing, are left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TlsMode {
    /// No TLS.
    Disable,
    /// Encryption; with `sslrootcert` as `VerifyCa`.
    Require,
    /// A certificate of a trusted authority, for any name.
    VerifyCa,
    /// A certificate of a trusted authority for the host.
    VerifyFull,
}

impl FromStr for TlsMode {
    type Err = UnknownMode;

    fn from_str(text: &str) -> Result<Self, UnknownMode> {
        Ok(match text {
            "disable" => Self::Disable,
            "require" => Self::Require,
            "verify-ca" => Self::VerifyCa,
            "verify-full" => Self::VerifyFull,
            _ => return Err(UnknownMode),
        })
    }
}

/// A value of `sslmode` that is not one of ours.
#[derive(Clone, Copy, Debug)]
pub(super) struct UnknownMode;
