//! Properties that hold for anything that clients and front proxies send.

use http::header::{AUTHORIZATION, COOKIE};
use percent_encoding::percent_decode;

use super::proxy::strip;
use crate::http::IdentityHeaders;
use crate::http::fuzzing::{assert_stripped, fields, names};
use crate::routing::target::{Target, host_of, is_plain_method};

pub use super::ext_authz::fuzz as check;
pub use super::forward_auth::fuzzing::forward_auth;
pub use crate::net::accept::proxy_protocol::fuzz as proxy_protocol;
pub use crate::net::http::fuzz_header as header;

/// Parses a path, a host and a method.
///
/// # Panics
/// One is accepted that can be read in two ways.
pub fn target(data: &[u8]) {
    if let Ok(target) = Target::read(data) {
        assert_plain(data, &target);
    }
    let Ok(text) = str::from_utf8(data) else {
        return;
    };
    if let Some(host) = host_of(text) {
        assert!(text.contains(host) && !host.is_empty() && !host.ends_with('.'));
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._+[]:".contains(&byte);
        assert!(host.bytes().all(is_plain), "{host:?}");
        assert!(host.starts_with('[') || !host.contains(':'), "{host:?}");
        assert_eq!(host_of(host), Some(host));
    }
    if is_plain_method(text) {
        assert!(http::Method::from_bytes(data).is_ok());
    }
}

/// Checks that a path hides nothing from a server that decodes it any number of times.
pub(super) fn assert_plain(raw: &[u8], target: &Target<'_>) {
    assert!(target.literal() == raw && raw.starts_with(b"/"));
    let mut text = raw.to_vec();
    loop {
        for segment in text.split(|&byte| byte == b'/') {
            let plain = segment.split(|&byte| byte == b';').next();
            let is_dots = matches!(plain, Some(b"." | b".."));
            assert!(!is_dots, "a dot segment in {raw:?}");
            assert!(!segment.starts_with(b";"), "only a parameter in {raw:?}");
        }
        assert!(
            !text
                .iter()
                .any(|&byte| matches!(byte, b'\\' | 0..=0x1f | 0x7f)),
            "a control character or backslash in {raw:?}"
        );
        let decoded: Vec<u8> = percent_decode(&text).collect();
        if decoded == text {
            break;
        }
        text = decoded;
    }
    let holds = |what: &[u8]| {
        raw.windows(what.len())
            .any(|it| it.eq_ignore_ascii_case(what))
    };
    assert_eq!(target.encoded_slash, holds(b"%2f"));
    assert_eq!(target.double_slash, holds(b"//"));
    // If every server reads the path as written, it must not contain anything ambiguous.
    let is_odd = holds(b"%") || holds(b";") || holds(b"//") || holds(b"./") || raw.ends_with(b".");
    assert_eq!(target.readings().count() > 0, is_odd, "{raw:?}");
    for reading in target.readings() {
        assert!(
            reading.starts_with(b"/") && !reading.contains(&b';'),
            "{raw:?}"
        );
        let mut segments = reading.split(|&byte| byte == b'/').skip(1);
        assert!(
            reading == b"/" || segments.all(|it| !it.is_empty()),
            "{raw:?}"
        );
    }
    assert!(
        target
            .readings()
            .next()
            .is_none_or(|it| it == target.plain())
    );
}

/// Strips the headers that an upstream must not receive.
///
/// The first byte selects whether the request is authenticated; the rest are headers.
///
/// # Panics
/// A header remains that could pass for one of realmgate's.
pub fn forwarded(data: &[u8]) {
    let Some((&first, rest)) = data.split_first() else {
        return;
    };
    let mut fields = fields(rest);
    let is_proved = first & 1 == 1;
    let identity = IdentityHeaders::new(&names());
    let (mut before, mut removed) = (fields.clone(), Vec::new());
    let properties = (is_proved, first & 2 == 2);
    strip(&mut fields, &identity, &[], properties, |name| {
        removed.push(name.clone());
    });
    for name in &removed {
        before.remove(name);
    }
    let mut after = fields.clone();
    for name in [AUTHORIZATION, COOKIE] {
        before.remove(&name);
        after.remove(&name);
    }
    assert_eq!(before, after);
    assert!(removed.iter().all(|name| !fields.contains_key(name)));
    assert_stripped(&fields, is_proved);
}
