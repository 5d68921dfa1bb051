//! The root certificates of the system.

use std::io;

pub(crate) use realmgate_client::to_servers;
use x509_parser::prelude::{FromDer, X509Certificate};

/// Returns the root certificates of the system in DER, or those in the file named by
/// `SSL_CERT_FILE`.
///
/// # Errors
/// There are none.
pub(crate) fn roots_of_the_system() -> io::Result<Vec<Vec<u8>>> {
    let found = rustls_native_certs::load_native_certs();
    let roots: Vec<Vec<u8>> = found
        .certs
        .iter()
        .filter(|root| X509Certificate::from_der(root).is_ok())
        .map(|root| root.to_vec())
        .collect();
    if roots.is_empty() {
        return Err(io::Error::other("the system has no CA certificates"));
    }
    Ok(roots)
}
