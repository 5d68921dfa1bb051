//! PEM files of certificates and keys, and why one cannot be used.
//!
//! Operators see these errors while a service is down, so each names the cause and the command that
//! fixes it.

use std::fs::File;
use std::io::{self, Read};

use memchr::memmem::find;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use x509_parser::oid_registry::{OID_EC_P256, OID_NIST_EC_P384};
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::public_key::PublicKey;
use zeroize::Zeroizing;

/// The maximum size of a PEM file in bytes: larger than the bundle of all CAs of a system.
const MAX_BYTES: u64 = 4 << 20;

/// The keys that a listener and its clients can use.
const SUPPORTED: &str = "RSA of 2048 to 8192 bits, ECDSA on P-256 or P-384, and Ed25519";

/// Reads the certificates of a file; at least one.
///
/// # Errors
/// A sentence that completes "expected".
pub(super) fn certificates(path: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let expected = |why: &str| format!("a PEM file of certificates ({why})");
    let bytes = read(path).map_err(|error| expected(&error.to_string()))?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    match chain {
        Ok(chain) if !chain.is_empty() => match damaged(&chain) {
            None => Ok(chain),
            Some(at) => Err(expected(&format!(
                "certificate {} of {} in it is damaged",
                at + 1,
                chain.len()
            ))),
        },
        Ok(_) => Err(expected(&why_empty(path, &bytes, Kind::Certificates))),
        Err(error) => Err(expected(&why_malformed(&error))),
    }
}

/// Reads the private key of a file.
///
/// # Errors
/// A sentence that completes "expected".
pub(super) fn private_key(path: &str) -> Result<PrivateKeyDer<'static>, String> {
    let expected = |why: &str| format!("a PEM file of a private key ({why})");
    let bytes = read(path).map_err(|error| expected(&error.to_string()))?;
    if is_encrypted(&bytes) {
        return Err(expected(&format!(
            "it is encrypted; decrypt it with: openssl pkey -in {path} -out NEW_FILE"
        )));
    }
    PrivateKeyDer::from_pem_slice(&bytes).map_err(|error| match error {
        pem::Error::NoItemsFound => expected(&why_empty(path, &bytes, Kind::Key)),
        error => expected(&why_malformed(&error)),
    })
}

/// Explains why the first certificate of a chain cannot be used, whatever its key.
pub(super) fn why_unsupported(chain: &[CertificateDer<'_>]) -> Option<String> {
    let kind = unsupported(chain.first()?)?;
    Some(format!(
        "a certificate with a supported key: {SUPPORTED} (it has {kind}; ask your CA for another)"
    ))
}

/// Explains why a certificate and a key do not match.
pub(super) fn why_unusable(
    chain: &[CertificateDer<'_>],
    key: &PrivateKeyDer<'_>,
    error: &rustls::Error,
) -> String {
    let provider = rustls::crypto::ring::default_provider();
    let mut others = chain.iter().enumerate().skip(1);
    let owner = others.find(|(_, certificate)| {
        CertifiedKey::from_der(
            vec![(*certificate).clone().into_owned()],
            key.clone_key(),
            &provider,
        )
        .is_ok()
    });
    if let Some((at, _)) = owner {
        return format!(
            "the key belongs to certificate {} of the file; put that one first, then the CA that issued it, and \
             so on",
            at + 1
        );
    }
    match error {
        rustls::Error::InconsistentKeys(_) => {
            "the key is that of another certificate; compare the outputs of: openssl x509 -noout -pubkey -in \
             CERT and openssl pkey -pubout -in KEY"
                .to_owned()
        }
        rustls::Error::General(_) => format!("the key is of a kind that is not supported; {SUPPORTED} are"),
        error => error.to_string(),
    }
}

/// Returns the position of the first certificate that is not X.509 in DER. A client could not read it.
fn damaged(chain: &[CertificateDer<'_>]) -> Option<usize> {
    let is_whole = |certificate: &CertificateDer<'_>| {
        X509Certificate::from_der(certificate).is_ok_and(|(rest, _)| rest.is_empty())
    };
    chain.iter().position(|certificate| !is_whole(certificate))
}

/// Returns the position of the first certificate that the one before it was not issued by.
pub(super) fn misplaced(chain: &[CertificateDer<'_>]) -> Option<usize> {
    let parsed: Option<Vec<_>> = chain
        .iter()
        .map(|certificate| Some(X509Certificate::from_der(certificate).ok()?.1))
        .collect();
    let parsed = parsed?;
    let mut pairs = parsed.iter().zip(parsed.iter().skip(1));
    let at = pairs.position(|(issued, issuer)| issued.issuer() != issuer.subject())?;
    Some(at + 1)
}

/// Names the type of a certificate's key if realmgate or its clients cannot use it.
fn unsupported(certificate: &CertificateDer<'_>) -> Option<String> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    let key = certificate.public_key();
    match key.parsed().ok()? {
        PublicKey::RSA(rsa) => {
            let bits = rsa.key_size();
            (!(2048..=8192).contains(&bits)).then(|| format!("an RSA key of {bits} bits"))
        }
        PublicKey::EC(point) => {
            let curve = key.algorithm.parameters.as_ref()?.as_oid().ok()?;
            let is_supported = [OID_EC_P256, OID_NIST_EC_P384].contains(&curve);
            let bits = point.key_size();
            (!is_supported).then(|| match bits {
                521 | 528 => "an ECDSA key on P-521".to_owned(),
                _ => format!("an ECDSA key on the curve {curve}"),
            })
        }
        PublicKey::DSA(_) => Some("a DSA key".to_owned()),
        _ => None,
    }
}

/// The expected content of a file.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Certificates,
    Key,
}

/// Reads a file that may contain a key. Its memory is zeroed on drop.
fn read(path: &str) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut bytes = Zeroizing::new(Vec::new());
    // Opening a pipe would block until somebody writes to it.
    if !std::fs::metadata(path)?.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    let mut file = File::open(path)?.take(MAX_BYTES + 1);
    file.read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(io::Error::other(format!(
            "it is longer than {MAX_BYTES} bytes"
        )));
    }
    Ok(bytes)
}

/// Returns whether a key is encrypted: in PKCS #8 (RFC 7468 §11), or in OpenSSL's older format (RFC
/// 1421 §4.6.1.1).
fn is_encrypted(bytes: &[u8]) -> bool {
    find(bytes, b"-----BEGIN ENCRYPTED PRIVATE KEY-----").is_some()
        || find(bytes, b"Proc-Type: 4,ENCRYPTED").is_some()
}

/// Explains why a file does not contain the expected content.
fn why_empty(path: &str, bytes: &[u8], kind: Kind) -> String {
    if bytes.starts_with(b"\xEF\xBB\xBF") {
        return format!(
            "it begins with a byte order mark; remove it with: sed -i '1s/^\\xEF\\xBB\\xBF//' {path}"
        );
    }
    if bytes.starts_with(b"\xFF\xFE") || bytes.starts_with(b"\xFE\xFF") {
        return format!(
            "it is UTF-16; convert it with: iconv -f UTF-16 -t ASCII {path} > NEW_FILE"
        );
    }
    // A DER file begins with a sequence whose length takes two or three bytes.
    if let [0x30, 0x81 | 0x82, ..] = bytes {
        let is_pkcs12 = bytes
            .get(..7)
            .is_some_and(|start| start.ends_with(&[0x02, 0x01, 0x03]));
        return match (is_pkcs12, kind) {
            (true, _) => format!(
                "it is PKCS #12; convert it with: openssl pkcs12 -in {path} -nodes -out NEW_FILE"
            ),
            (false, Kind::Certificates) => format!(
                "it is DER; convert it with: openssl x509 -inform DER -in {path} -out NEW_FILE"
            ),
            (false, Kind::Key) => {
                format!(
                    "it is DER; convert it with: openssl pkey -inform DER -in {path} -out NEW_FILE"
                )
            }
        };
    }
    let has_certificate = find(bytes, b"-----BEGIN CERTIFICATE-----").is_some();
    let has_key = find(bytes, b"PRIVATE KEY-----").is_some();
    match kind {
        Kind::Certificates if has_key => "it holds a private key".to_owned(),
        Kind::Key if has_certificate => "it holds a certificate".to_owned(),
        Kind::Key if find(bytes, b"-----BEGIN PUBLIC KEY-----").is_some() => {
            "it holds a public key".to_owned()
        }
        _ => "there is none in it".to_owned(),
    }
}

fn why_malformed(error: &pem::Error) -> String {
    match error {
        pem::Error::MissingSectionEnd { end_marker } => format!(
            "the line -----END {}----- is missing",
            String::from_utf8_lossy(end_marker)
        ),
        _ => "it is not well formed".to_owned(),
    }
}
