//! Connections on which TLS was not agreed on.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;

/// Why TLS was not agreed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsFault {
    /// Nobody who is trusted vouches for the certificate.
    UnknownIssuer,
    /// The certificate is for other names.
    Name,
    /// The certificate has expired.
    Expired,
    /// The certificate is not valid yet.
    NotYetValid,
    /// The certificate is a CA's, and was shown as that of a server or client.
    CaAsEndEntity,
    /// A certificate was asked for, and none came.
    NoCertificate,
    /// Something else is wrong with the certificate.
    Certificate,
    /// The other side said no.
    Refused,
    /// Anything else.
    Other,
}

impl TlsFault {
    /// All.
    pub const ALL: [Self; 9] = [
        Self::UnknownIssuer,
        Self::Name,
        Self::Expired,
        Self::NotYetValid,
        Self::CaAsEndEntity,
        Self::NoCertificate,
        Self::Certificate,
        Self::Refused,
        Self::Other,
    ];

    /// Returns a short, stable code, for logs and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::UnknownIssuer => "unknown_issuer",
            Self::Name => "name",
            Self::Expired => "expired",
            Self::NotYetValid => "not_yet_valid",
            Self::CaAsEndEntity => "ca_as_end_entity",
            Self::NoCertificate => "no_certificate",
            Self::Certificate => "certificate",
            Self::Refused => "refused",
            Self::Other => "other",
        }
    }

    /// Says whether it is about a certificate that was shown, or not.
    pub const fn is_of_a_certificate(self) -> bool {
        !matches!(self, Self::Refused | Self::Other)
    }
}

/// How often each has happened.
#[derive(Debug, Default)]
pub(super) struct TlsFaults([AtomicU64; TlsFault::ALL.len()]);

impl TlsFaults {
    pub(super) fn count(&self, fault: TlsFault) {
        if let Some(count) = self.0.get(fault as usize) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn counts(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let counts = self.0.iter().map(|count| count.load(Ordering::Relaxed));
        TlsFault::ALL.iter().map(|fault| fault.as_str()).zip(counts)
    }
}

/// Of clients.
#[derive(Debug)]
pub(super) struct OfClients(pub(super) Arc<TlsFaults>);

impl Collector for OfClients {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut family = encoder.encode_descriptor(
            "tls_failures",
            "TLS handshakes with clients that failed, by reason",
            None,
            MetricType::Counter,
        )?;
        for (reason, count) in self.0.counts() {
            let labels = [("reason", reason)];
            let mut counter = family.encode_family(&labels)?;
            counter.encode_counter::<NoLabelSet, _, f64>(&count, None)?;
        }
        Ok(())
    }
}
