//! Checks `[tls]`, certificates, and the connection settings of listeners.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use ipnet::IpNet;
use rustls::RootCertStore;
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use sha2::{Digest, Sha256};
use toml::Spanned;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::scalar::flag;
use super::source::{Checked, Source, all};
use super::validity::Validity;
use super::{pem, raw};

/// `[tls]` and each `[[certificate]]`.
#[derive(Clone, Debug)]
pub struct Tls {
    /// The minimum version; 1.2 by default.
    pub min_version: TlsVersion,
    /// The CAs of client certificates; none by default.
    pub client_roots: Option<ClientRoots>,
    /// In the order of the file. If several match a name, the first is used; if none matches, the
    /// first of all.
    pub certificates: Vec<Certificate>,
}

/// A TLS version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsVersion {
    /// RFC 5246.
    V1_2,
    /// RFC 8446.
    V1_3,
}

/// The CAs that client certificates must lead to.
#[derive(Clone)]
pub struct ClientRoots {
    /// At least one.
    pub roots: Arc<RootCertStore>,
}

impl fmt::Debug for ClientRoots {
    /// Distinguishes values without listing the certificates.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut digest = Sha256::new();
        for root in &self.roots.roots {
            digest.update(&root.subject);
            digest.update(&root.subject_public_key_info);
        }
        f.debug_tuple("ClientRoots")
            .field(&digest.finalize())
            .finish()
    }
}

/// A certificate with its private key.
#[derive(Clone)]
pub struct Certificate {
    /// The path of the certificate file.
    pub file: PathBuf,
    /// The host names in lower case; a leading `*.` stands for one label.
    pub names: Vec<String>,
    /// The end of its validity, in seconds since 1970.
    pub not_after: i64,
    /// The chain and the matching private key.
    pub key: Arc<CertifiedKey>,
}

impl fmt::Debug for Certificate {
    /// Distinguishes certificates without revealing the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut digest = Sha256::new();
        self.key.cert.iter().for_each(|part| digest.update(part));
        f.debug_struct("Certificate")
            .field("file", &self.file)
            .field("names", &self.names)
            .field("digest", &digest.finalize())
            .finish_non_exhaustive()
    }
}

/// A certificate chain, optionally with the private key of the first certificate.
pub struct Credential {
    /// At least one X.509 certificate in DER.
    pub chain: Vec<CertificateDer<'static>>,
    /// The key in DER; `None` for CA certificates.
    pub key: Option<PrivateKeyDer<'static>>,
}

impl Clone for Credential {
    fn clone(&self) -> Self {
        Self {
            chain: self.chain.clone(),
            key: self.key.as_ref().map(PrivateKeyDer::clone_key),
        }
    }
}

impl fmt::Debug for Credential {
    /// Distinguishes credentials without revealing the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut digest = Sha256::new();
        self.chain.iter().for_each(|part| digest.update(part));
        f.debug_tuple("Credential")
            .field(&digest.finalize())
            .finish()
    }
}

/// The connection settings of a listener: what happens before HTTP.
#[derive(Clone, Debug, Default)]
pub struct Transport {
    /// Whether connections use TLS; false by default.
    pub tls: bool,
    /// Whether clients must present certificates; not by default.
    pub client_certificates: ClientCertificates,
    /// Whether HTTP/2 is accepted without TLS; false by default.
    pub h2c: bool,
    /// The peers that must send a PROXY protocol header first; none by default.
    pub proxy_protocol: Vec<IpNet>,
}

/// Whether a listener requests client certificates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClientCertificates {
    /// None is requested.
    #[default]
    Off,
    /// Optional, but an invalid certificate fails the handshake.
    Optional,
    /// A valid certificate is required.
    Required,
}

impl Source<'_> {
    pub(super) fn tls(&self, raw: &raw::Raw) -> Checked<Tls> {
        let tls = &raw.tls.0;
        let min_version = self.word(
            "tls.min_version",
            tls.min_version.as_ref(),
            TlsVersion::V1_2,
            r#""1.2" or "1.3""#,
            |word| match word {
                "1.2" => Some(TlsVersion::V1_2),
                "1.3" => Some(TlsVersion::V1_3),
                _ => None,
            },
        );
        let client_roots = tls.client_ca.as_ref().map(|file| {
            let (roots, _) = self.roots("tls.client_ca", file)?;
            Ok(ClientRoots {
                roots: Arc::new(roots),
            })
        });
        let certificates = raw.certificate.iter().enumerate();
        let certificates = all(certificates.map(|(at, raw)| self.certificate(at, raw)));
        Ok(Tls {
            min_version,
            client_roots: client_roots.transpose()?,
            certificates: certificates?,
        })
    }

    /// Reads the CA certificates of a file. Returns them as a root store and as a list.
    fn roots(
        &self,
        key: &str,
        file: &Spanned<String>,
    ) -> Checked<(RootCertStore, Vec<CertificateDer<'static>>)> {
        let mut roots = RootCertStore::empty();
        let chain = self.chain(key, file)?;
        for certificate in &chain {
            roots
                .add(certificate.clone())
                .map_err(|error| self.reject(key, file, format!("a file of CAs ({error})")))?;
        }
        Ok((roots, chain))
    }

    /// Reads a file of at least one certificate.
    fn chain(&self, key: &str, file: &Spanned<String>) -> Checked<Vec<CertificateDer<'static>>> {
        self.reads(file.get_ref());
        let chain = pem::certificates(file.get_ref())
            .map_err(|expected| self.reject(key, file, expected))?;
        self.remember(Validity::new(key, file.get_ref(), &chain));
        Ok(chain)
    }

    /// Reads CA certificates.
    pub(super) fn authorities(&self, key: &str, file: &Spanned<String>) -> Checked<Credential> {
        let (_, chain) = self.roots(key, file)?;
        Ok(Credential { chain, key: None })
    }

    /// Reads a certificate chain and its private key.
    pub(super) fn credential(
        &self,
        (cert_key, cert): (&str, &Spanned<String>),
        (key_key, key): (&str, &Spanned<String>),
    ) -> Checked<Credential> {
        let chain = self.chain(cert_key, cert);
        self.reads(key.get_ref());
        let der =
            pem::private_key(key.get_ref()).map_err(|expected| self.reject(key_key, key, expected));
        let (chain, der) = (chain?, der?);
        if let Some(expected) = pem::why_unsupported(&chain) {
            return Err(self.reject(cert_key, cert, expected));
        }
        let why = certified(&chain, &der)
            .err()
            .map(|error| pem::why_unusable(&chain, &der, &error));
        if let Some(why) = why {
            let expected = format!("the key of the certificate in {cert_key} ({why})");
            return Err(self.reject(key_key, key, expected));
        }
        if let Some(at) = pem::misplaced(&chain) {
            self.remember(Validity::misplaced(cert_key, cert.get_ref(), at));
        }
        let credential = Credential {
            chain,
            key: Some(der),
        };
        Ok(credential)
    }

    fn certificate(
        &self,
        at: usize,
        raw: &Spanned<raw::Table<raw::Certificate>>,
    ) -> Checked<Certificate> {
        let (cert_key, key_key) = (
            format!("certificate[{at}].cert"),
            format!("certificate[{at}].key"),
        );
        let table = &raw.get_ref().0;
        let file = |name: &str, value: &raw::Opt<String>| {
            value
                .clone()
                .ok_or_else(|| self.missing(name.to_owned(), raw.span(), "the path of a PEM file"))
        };
        let (cert, key) = (file(&cert_key, &table.cert), file(&key_key, &table.key));
        let (cert, key) = (cert?, key?);
        let credential = self.credential((&cert_key, &cert), (&key_key, &key))?;
        let bad = |error: String| self.reject(&cert_key, &cert, error);
        let key_der = credential
            .key
            .as_ref()
            .ok_or_else(|| bad("a key".to_owned()))?;
        let certified =
            certified(&credential.chain, key_der).map_err(|error| bad(error.to_string()))?;
        let first = certified.cert.first().map_or(&[][..], |first| first);
        let parsed = X509Certificate::from_der(first).map_err(|error| bad(error.to_string()))?;
        let has_names = parsed.1.subject_alternative_name();
        if has_names.is_ok_and(|names| names.is_none()) {
            self.remember(Validity::nameless(&cert_key, cert.get_ref()));
        }
        Ok(Certificate {
            file: PathBuf::from(cert.get_ref()),
            names: names(&parsed.1),
            not_after: parsed.1.validity().not_after.timestamp(),
            key: Arc::new(certified),
        })
    }

    /// Checks the connection settings of a listener.
    pub(super) fn transport(
        &self,
        section: &str,
        raw: &raw::Transport<'_>,
        tls: Option<&Tls>,
    ) -> Checked<Transport> {
        let key = |name: &str| format!("{section}.{name}");
        let client_certificates = self.word(
            &key("client_certificates"),
            raw.client_certificates,
            ClientCertificates::Off,
            r#""off", "optional" or "required""#,
            |word| match word {
                "off" => Some(ClientCertificates::Off),
                "optional" => Some(ClientCertificates::Optional),
                "required" => Some(ClientCertificates::Required),
                _ => None,
            },
        );
        let proxy_protocol = match raw.proxy_protocol {
            Some(networks) => self.networks(&key("proxy_protocol"), networks),
            None => Ok(Vec::new()),
        };
        let transport = Transport {
            tls: flag(raw.tls),
            client_certificates,
            h2c: flag(raw.h2c),
            proxy_protocol: proxy_protocol?,
        };
        // If [tls] is invalid, it is not known what is missing.
        let Some(tls) = tls else {
            return Ok(transport);
        };
        if let Some(raw) = raw.tls
            && transport.tls
            && tls.certificates.is_empty()
        {
            self.reject(&key("tls"), raw, "at least one [[certificate]] as well");
        }
        if let Some(raw) = raw.client_certificates
            && transport.client_certificates != ClientCertificates::Off
        {
            let missing = match (transport.tls, &tls.client_roots) {
                (false, _) => Some(format!("{} = true as well", key("tls"))),
                (true, None) => Some("tls.client_ca as well".to_owned()),
                (true, Some(_)) => None,
            };
            if let Some(missing) = missing {
                self.reject(&key("client_certificates"), raw, missing);
            }
        }
        if let Some(raw) = raw.h2c
            && transport.h2c
            && transport.tls
        {
            let expected = format!(
                "false if {} is true, where TLS negotiates HTTP/2",
                key("tls")
            );
            self.reject(&key("h2c"), raw, expected);
        }
        Ok(transport)
    }
}

/// Joins a certificate and its key.
fn certified(
    chain: &[CertificateDer<'static>],
    key: &PrivateKeyDer<'static>,
) -> Result<CertifiedKey, rustls::Error> {
    CertifiedKey::from_der(chain.to_vec(), key.clone_key(), &ring::default_provider())
}

/// Returns the host names of a certificate, from its `subjectAltName` (RFC 6125).
fn names(certificate: &X509Certificate<'_>) -> Vec<String> {
    let names = certificate.subject_alternative_name().ok().flatten();
    let names = names
        .into_iter()
        .flat_map(|names| &names.value.general_names);
    names
        .filter_map(|name| match name {
            GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
            _ => None,
        })
        .collect()
}
