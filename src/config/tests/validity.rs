use std::time::{SystemTime, UNIX_EPOCH};

use super::*;

const YEAR: Duration = Duration::from_secs(365 * 86_400);

/// A configuration that names a certificate in every key that accepts one.
fn everywhere() -> String {
    let (cert, key) = &*CERTIFICATE;
    format!(
        "[tls]\nclient_ca = '{cert}'\n[[certificate]]\ncert = '{cert}'\nkey = '{key}'\n\
         [upstream.a]\npeers = ['127.0.0.1:1']\ntls = true\nserver_name = 'a'\nca = '{cert}'\n\
         client_cert = '{cert}'\nclient_key = '{key}'\n"
    )
}

#[test]
fn certificates_that_are_not_valid_are_warned_of_wherever_they_are() {
    let config = parse(&everywhere());
    let now = SystemTime::now();
    assert_eq!(config.certificate_warnings(now), [""; 0]);
    let keys = [
        "tls.client_ca",
        "certificate[0].cert",
        "upstream.a.client_cert",
        "upstream.a.ca",
    ];
    let file = &CERTIFICATE.0;
    for (at, what) in [
        (now + YEAR, "the certificate expired on 20"),
        (now - YEAR, "the certificate is not valid before 20"),
        (UNIX_EPOCH, "the certificate is not valid before 20"),
    ] {
        let warnings = config.certificate_warnings(at);
        assert_eq!(warnings.len(), keys.len(), "{warnings:#?}");
        for (warning, key) in warnings.iter().zip(keys) {
            let expected = format!("{key} = {file:?}: {what}");
            assert!(warning.starts_with(&expected), "{warning} {expected}");
        }
    }
}

#[test]
fn certificate_that_soon_expires_is_warned_of() {
    // Of a certificate for 30 days, the last third.
    let config = parse(&everywhere());
    let (file, end) = config.certificate_ends().into_iter().next().unwrap();
    assert_eq!(config.certificate_ends().len(), 1);
    assert_eq!(file, CERTIFICATE.0);
    let before = |days: u64| {
        let end = Duration::from_secs(end.unsigned_abs());
        UNIX_EPOCH + end - Duration::from_secs(days * 86_400)
    };
    assert_eq!(config.certificate_warnings(before(11)), [""; 0]);
    let warnings = config.certificate_warnings(before(9));
    assert_eq!(warnings.len(), 4, "{warnings:#?}");
    let expected = format!("tls.client_ca = {file:?}: a certificate expires on 20");
    assert!(warnings[0].starts_with(&expected), "{warnings:#?}");
}

#[test]
fn one_of_several_certificates_is_named_by_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let bundle = folder.path().join("bundle.pem");
    let pem = fs::read_to_string(&CERTIFICATE.0).unwrap();
    fs::write(&bundle, format!("{pem}{pem}")).unwrap();
    let config = parse(&format!("[tls]\nclient_ca = '{}'", bundle.display()));
    let warnings = config.certificate_warnings(SystemTime::now() + YEAR);
    assert_eq!(warnings.len(), 1);
    let warning = &warnings[0];
    assert!(
        warning.contains("certificate 1 of 2 in the file expired on "),
        "{warning}"
    );
    assert!(
        warning.contains("(1 more are not valid either)"),
        "{warning}"
    );
}
