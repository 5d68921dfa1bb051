//! TLS to the server, according to `sslmode`.

use std::io;
use std::path::Path;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
};

use super::server::Server;
use super::ssl_mode::TlsMode;

/// Makes the TLS configuration; `None` without TLS.
///
/// # Errors
/// A file cannot be read, or is invalid.
pub(super) fn client_config(server: &Server) -> io::Result<Option<ClientConfig>> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider));
    let builder = builder
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?;
    let needs_roots = match server.tls {
        TlsMode::Disable => return Ok(None),
        TlsMode::Require => server.root_certificate.is_some(),
        TlsMode::VerifyCa | TlsMode::VerifyFull => true,
    };
    let chain = match needs_roots {
        true => {
            let roots = Arc::new(roots(server.root_certificate.as_deref())?);
            let chain = WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(&provider));
            Some(chain.build().map_err(io::Error::other)?)
        }
        false => None,
    };
    let builder = match (server.tls, chain) {
        (TlsMode::VerifyFull, Some(chain)) => builder.with_webpki_verifier(chain),
        (_, chain) => builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Relaxed { chain, provider })),
    };
    let config = match &server.client_certificate {
        None => builder.with_no_client_auth(),
        Some((cert, key)) => {
            let certificates = certificates(cert)?;
            let key = PrivateKeyDer::from_pem_file(key).map_err(|error| named(key, error))?;
            builder
                .with_client_auth_cert(certificates, key)
                .map_err(|error| named(cert, error))?
        }
    };
    Ok(Some(config))
}

/// Returns the CAs in a file, or those of the system.
fn roots(file: Option<&Path>) -> io::Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    match file {
        Some(file) => {
            for certificate in certificates(file)? {
                roots.add(certificate).map_err(|error| named(file, error))?;
            }
        }
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    match roots.is_empty() {
        true => Err(io::Error::other("the system has no certificates of CAs")),
        false => Ok(roots),
    }
}

fn certificates(file: &Path) -> io::Result<Vec<CertificateDer<'static>>> {
    let all = CertificateDer::pem_file_iter(file)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| named(file, error))?;
    match all.is_empty() {
        true => Err(named(file, "holds no certificate")),
        false => Ok(all),
    }
}

fn named(file: &Path, error: impl std::fmt::Display) -> io::Error {
    io::Error::other(format!("{}: {error}", file.display()))
}

/// Verifies less than the chain and the name. The server must have the key of its certificate in any case.
#[derive(Debug)]
struct Relaxed {
    /// Verifies the chain (`sslmode=verify-ca`); any certificate is accepted without it (`sslmode=require`).
    chain: Option<Arc<WebPkiServerVerifier>>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Relaxed {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Some(chain) = &self.chain else {
            return Ok(ServerCertVerified::assertion());
        };
        // The name is checked last, when the chain is known to be valid.
        match chain.verify_server_cert(end_entity, intermediates, name, ocsp, now) {
            Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            other => other,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, cert, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}
