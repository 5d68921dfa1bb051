//! The TLS verification mode.

use std::str::FromStr;

/// The TLS verification mode, as in the `sslmode` of libpq. `allow` and `prefer` are not supported,
/// because they verify nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TlsMode {
    /// No TLS.
    Disable,
    /// Encryption; with `sslrootcert`, the same as `VerifyCa`.
    Require,
    /// A certificate of a trusted CA, for any name.
    VerifyCa,
    /// A certificate of a trusted CA for the host.
    VerifyFull,
}

impl TlsMode {
    /// Returns its name.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Disable => "disable",
            Self::Require => "require",
            Self::VerifyCa => "verify-ca",
            Self::VerifyFull => "verify-full",
        }
    }
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

/// An unsupported value of `sslmode`.
#[derive(Clone, Copy, Debug)]
pub(super) struct UnknownMode;
