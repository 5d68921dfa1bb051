//! TLS towards servers that the roots of the system vouch for.

use rustls::{ClientConfig, RootCertStore};

/// Makes a configuration that trusts the roots of the system, or those in the file that `SSL_CERT_FILE`
/// names. Without any, no certificate of a server is good.
pub fn to_servers() -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth()
}
