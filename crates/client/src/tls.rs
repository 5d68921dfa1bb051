//! The TLS configuration for connections to servers with certificates of well-known authorities.

use rustls::{ClientConfig, RootCertStore};

/// Returns a configuration that trusts the root certificates of the system, or those in the file
/// named by `SSL_CERT_FILE`. Without any, every server certificate is rejected.
pub fn to_servers() -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth()
}
