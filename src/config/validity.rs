//! Warnings about certificates that can be loaded: their validity and their order.

use std::time::{Duration, UNIX_EPOCH};

use rustls::pki_types::CertificateDer;
use x509_parser::prelude::{FromDer, X509Certificate};

/// How long before its end a certificate is warned of, in seconds; a third of its life if that is
/// shorter.
const SOON: i64 = 14 * 86_400;

/// The properties of a file's certificates that cause warnings.
#[derive(Clone, Debug)]
pub struct Validity {
    /// The dotted path of the key that names the file.
    key: String,
    file: String,
    /// The beginning and end of validity of each certificate, in seconds since 1970.
    terms: Vec<(i64, i64)>,
    /// The index of the first certificate that did not issue the one before it.
    misplaced: Option<usize>,
    /// The certificate of a listener has no host names.
    is_nameless: bool,
}

impl Validity {
    /// Reads the periods of a file's certificates. Those that are not X.509 are rejected elsewhere.
    pub(super) fn new(key: &str, file: &str, chain: &[CertificateDer<'_>]) -> Self {
        let term = |certificate: &CertificateDer<'_>| {
            let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
            let validity = certificate.validity();
            Some((
                validity.not_before.timestamp(),
                validity.not_after.timestamp(),
            ))
        };
        Self {
            key: key.to_owned(),
            file: file.to_owned(),
            terms: chain.iter().filter_map(term).collect(),
            misplaced: None,
            is_nameless: false,
        }
    }

    /// Records a chain with a certificate that did not issue the one before it.
    pub(super) fn misplaced(key: &str, file: &str, at: usize) -> Self {
        Self {
            key: key.to_owned(),
            file: file.to_owned(),
            terms: Vec::new(),
            misplaced: Some(at),
            is_nameless: false,
        }
    }

    /// Records the certificate of a listener that has no names.
    pub(super) fn nameless(key: &str, file: &str) -> Self {
        Self {
            is_nameless: true,
            ..Self::new(key, file, &[])
        }
    }

    /// Warns of a certificate without names, which clients reject (RFC 9525 §6.3).
    fn name_warning(&self) -> Option<String> {
        let (key, file) = (&self.key, &self.file);
        self.is_nameless.then(|| {
            format!(
                "{key} = {file:?}: the certificate has no subjectAltName, so that clients reject it for every \
                 name; request one with the host names of this server"
            )
        })
    }

    /// Returns what is wrong with the certificates at `now`.
    pub(super) fn warning(&self, now: i64) -> Option<String> {
        let of_time = self.time_warning(now);
        of_time
            .or_else(|| self.end_warning(now))
            .or_else(|| self.order_warning())
            .or_else(|| self.name_warning())
    }

    /// Warns of a chain in the wrong order, which some clients reject (RFC 5246 §7.4.2).
    fn order_warning(&self) -> Option<String> {
        let (key, file, at) = (&self.key, &self.file, self.misplaced?);
        Some(format!(
            "{key} = {file:?}: certificate {} of the file did not issue certificate {at}, so that some clients reject \
             the chain; put each CA after the certificate that it issued",
            at + 1
        ))
    }

    /// Warns of the certificate that expires next, if that is soon.
    fn end_warning(&self, now: i64) -> Option<String> {
        let is_soon = |(begin, end): &&(i64, i64)| end - now < SOON.min((end - begin) / 3);
        let ends = self.terms.iter().filter(is_soon).map(|(_, end)| *end);
        let (key, file, end) = (&self.key, &self.file, ends.min()?);
        Some(format!(
            "{key} = {file:?}: a certificate expires on {}; replace the file before that",
            date(end)
        ))
    }

    /// Returns the file, and when the first of its certificates expires.
    pub(super) fn end(&self) -> Option<(&str, i64)> {
        let ends = self.terms.iter().map(|(_, end)| *end);
        Some((&*self.file, ends.min()?))
    }

    /// Returns a warning about the first certificate that is not valid at `now`, with the number of
    /// others.
    fn time_warning(&self, now: i64) -> Option<String> {
        let is_wrong = |begin: i64, end: i64| now < begin || now > end;
        let terms = self.terms.iter().enumerate();
        let mut wrong = terms.filter(|(_, (begin, end))| is_wrong(*begin, *end));
        let (at, (begin, end)) = wrong.next()?;
        let which = match self.terms.len() {
            1 => "the certificate".to_owned(),
            many => format!("certificate {} of {many} in the file", at + 1),
        };
        let what = if now > *end {
            format!("expired on {}", date(*end))
        } else {
            format!("is not valid before {}", date(*begin))
        };
        let others = match wrong.count() {
            0 => String::new(),
            others => format!(" ({others} more are not valid either)"),
        };
        let (key, file) = (&self.key, &self.file);
        Some(format!(
            "{key} = {file:?}: {which} {what}{others}; connections that need it fail"
        ))
    }
}

/// Formats a time in seconds. A time outside the range of years that can be formatted becomes the
/// nearest one inside.
fn date(secs: i64) -> impl std::fmt::Display {
    let secs = u64::try_from(secs).unwrap_or(0).min(253_402_300_799);
    humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_secs(secs))
}
