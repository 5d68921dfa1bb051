//! Classifies failed TLS handshakes: the certificate of a peer or a client, or another cause.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use pingora::{Error, ErrorType};

/// Why a TLS handshake failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TlsFault {
    /// The certificate is not signed by a trusted CA.
    UnknownIssuer,
    /// The certificate is for other names.
    Name,
    /// The certificate has expired.
    Expired,
    /// The certificate is not valid yet.
    NotYetValid,
    /// The certificate is that of a CA.
    CaAsEndEntity,
    /// A required certificate was not sent.
    NoCertificate,
    /// Something else is wrong with the certificate.
    Certificate,
    /// The other side ended the handshake.
    Rejected,
    /// Anything else.
    Other,
}

impl TlsFault {
    /// All faults.
    pub(crate) const ALL: [Self; 9] = [
        Self::UnknownIssuer,
        Self::Name,
        Self::Expired,
        Self::NotYetValid,
        Self::CaAsEndEntity,
        Self::NoCertificate,
        Self::Certificate,
        Self::Rejected,
        Self::Other,
    ];

    /// Returns a short, stable code, for logs and metrics.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::UnknownIssuer => "unknown_issuer",
            Self::Name => "name",
            Self::Expired => "expired",
            Self::NotYetValid => "not_yet_valid",
            Self::CaAsEndEntity => "ca_as_end_entity",
            Self::NoCertificate => "no_certificate",
            Self::Certificate => "certificate",
            Self::Rejected => "refused",
            Self::Other => "other",
        }
    }

    /// Returns whether the fault is about a certificate.
    pub(crate) const fn is_of_a_certificate(self) -> bool {
        !matches!(self, Self::Rejected | Self::Other)
    }
}

/// The maximum length of a logged cause in characters.
const CAUSE_CHARS: usize = 300;

/// The minimum interval between two lines about the same fault.
const PAUSE: Duration = Duration::from_secs(10);

/// The meaning of phrases in rustls errors. Those with names come first, because a name may contain
/// any other phrase.
const WORDS: [(&str, TlsFault); 13] = [
    ("NotValidForName", TlsFault::Name),
    ("not valid for name", TlsFault::Name),
    ("not valid for any names", TlsFault::Name),
    ("UnknownIssuer", TlsFault::UnknownIssuer),
    // Signed by an unknown CA with the name of a trusted one.
    ("BadSignature", TlsFault::UnknownIssuer),
    ("CaUsedAsEndEntity", TlsFault::CaAsEndEntity),
    ("certificate expired", TlsFault::Expired),
    ("Expired", TlsFault::Expired),
    ("not valid yet", TlsFault::NotYetValid),
    ("NotValidYet", TlsFault::NotYetValid),
    ("sent no certificates", TlsFault::NoCertificate),
    ("peer certificate", TlsFault::Certificate),
    ("received fatal alert", TlsFault::Rejected),
];

/// The causes that rustls names by an identifier only, in words.
const PLAIN: [(&str, &str); 3] = [
    (
        "UnknownIssuer",
        "the certificate is not signed by a trusted CA",
    ),
    (
        "BadSignature",
        "the certificate is not signed by a trusted CA, but by one of the same name",
    ),
    (
        "CaUsedAsEndEntity",
        "the certificate is that of a CA, which no server or client can use as its own",
    ),
];

/// The beginnings of rustls errors about the other side.
const BEGINNINGS: [&str; 3] = [
    "invalid peer certificate",
    "peer sent no certificates",
    "received fatal alert",
];

/// Returns the fault and the cause for the log; `None` if the error is not about TLS.
pub(crate) fn fault_of(error: &Error) -> Option<(TlsFault, String)> {
    if !matches!(
        error.etype(),
        ErrorType::TLSHandshakeFailure | ErrorType::InvalidCert
    ) {
        return None;
    }
    Some(fault_in(&error.to_string()))
}

/// Returns the fault that an error text describes, and the text to log.
pub(crate) fn fault_in(text: &str) -> (TlsFault, String) {
    // Pingora adds text around the error of rustls.
    let begins = BEGINNINGS.iter().filter_map(|words| text.find(words)).min();
    let cause = begins.and_then(|at| text.get(at..)).unwrap_or(text);
    let cause = cause
        .rsplit_once(", SNI: ")
        .map_or(cause, |(cause, _)| cause);
    let mut meant = WORDS.iter().filter(|(words, _)| cause.contains(words));
    let (word, fault) = meant.next().copied().unwrap_or(("", TlsFault::Other));
    if let Some((_, plain)) = PLAIN.iter().find(|(identifier, _)| *identifier == word) {
        return (fault, (*plain).to_owned());
    }
    let cause = cause.trim().chars().take(CAUSE_CHARS).collect();
    (fault, cause)
}

/// Allows one line per fault and [`PAUSE`], and counts the others.
pub(crate) struct LogThrottle {
    start: Instant,
    lines: [Line; TlsFault::ALL.len()],
}

#[derive(Default)]
struct Line {
    /// When the next line is allowed, in milliseconds since `start`; 0 initially.
    next: AtomicU64,
    withheld: AtomicU64,
}

impl Default for LogThrottle {
    fn default() -> Self {
        Self {
            start: Instant::now(),
            lines: Default::default(),
        }
    }
}

impl LogThrottle {
    /// Returns the number of suppressed lines if another line is allowed.
    pub(crate) fn may_log(&self, fault: TlsFault) -> Option<u64> {
        let line = self.lines.get(fault as usize)?;
        let now = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        let pause = u64::try_from(PAUSE.as_millis()).unwrap_or(u64::MAX);
        let next = line.next.load(Ordering::Relaxed);
        let is_due = now >= next
            && line
                .next
                .compare_exchange(next, now + pause, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok();
        if is_due {
            Some(line.withheld.swap(0, Ordering::Relaxed))
        } else {
            line.withheld.fetch_add(1, Ordering::Relaxed);
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_of_each_fault_comes_at_a_time() {
        let throttle = LogThrottle::default();
        assert_eq!(throttle.may_log(TlsFault::Name), Some(0));
        assert_eq!(throttle.may_log(TlsFault::Name), None);
        assert_eq!(throttle.may_log(TlsFault::Expired), Some(0));
    }

    #[test]
    fn cause_is_in_words() {
        for (text, fault, cause) in [
            (
                "invalid peer certificate: UnknownIssuer",
                TlsFault::UnknownIssuer,
                "not signed by a trusted CA",
            ),
            (
                "invalid peer certificate: Other(OtherError(CaUsedAsEndEntity))",
                TlsFault::CaAsEndEntity,
                "that of a CA",
            ),
        ] {
            let found = fault_in(text);
            assert_eq!(found.0, fault);
            assert!(
                found.1.contains(cause) && !found.1.contains("Other("),
                "{found:?}"
            );
        }
    }

    #[test]
    fn name_in_a_certificate_passes_for_no_other_fault() {
        let context = "TLS connect() failed: TLSHandshakeFailure context: tls connect error cause: \
            invalid peer certificate: certificate not valid for name \"a\"; certificate is only valid for \
            DnsName(\"expired, SNI: b\"), SNI: a";
        let error = Error::explain(ErrorType::TLSHandshakeFailure, context);
        let (fault, cause) = fault_of(&error).unwrap();
        assert_eq!(fault, TlsFault::Name);
        assert!(cause.starts_with("invalid peer certificate: certificate not valid for name"));
        assert!(fault_of(&Error::new(ErrorType::ConnectRefused)).is_none());
    }
}
