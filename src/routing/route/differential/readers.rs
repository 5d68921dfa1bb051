//! Readers of a path: each returns the path that the application behind a server sees, or `None` if
//! the server rejects it.

use unicode_normalization::UnicodeNormalization;

pub(super) fn literal(path: &[u8]) -> Option<Vec<u8>> {
    Some(path.to_vec())
}

pub(super) fn once(path: &[u8]) -> Option<Vec<u8>> {
    decode(path, |_| true)
}

/// RFC 3986 §6.2.2: decodes unreserved characters only; §5.2.4 without merging slashes.
pub(super) fn rfc3986(path: &[u8]) -> Option<Vec<u8>> {
    let unreserved = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    Some(resolve(&decode(path, unreserved)?))
}

/// The WHATWG URL parser with a base: `new URL(request.url, base).pathname`.
pub(super) fn node_url(path: &[u8]) -> Option<Vec<u8>> {
    let path = replace(path, b"\\", b"/");
    let path = if path.starts_with(b"//") {
        let begin = path.iter().position(|&byte| byte != b'/');
        without_host(&path[begin.unwrap_or(path.len())..])
    } else {
        path
    };
    Some(resolve(&decode(&path, |byte| byte == b'.')?))
}

/// RFC 3986 §4.2, applied to a decoded path.
pub(super) fn reference(path: &[u8]) -> Option<Vec<u8>> {
    let path = once(path)?;
    let path = path.strip_prefix(b"//").map(without_host).unwrap_or(path);
    Some(resolve(&path))
}

fn without_host(rest: &[u8]) -> Vec<u8> {
    let end = rest.iter().position(|&byte| byte == b'/');
    end.map_or(b"/".to_vec(), |end| rest[end..].to_vec())
}

pub(super) fn nginx(path: &[u8]) -> Option<Vec<u8>> {
    let path = once(path)?;
    (!path.contains(&0)).then(|| resolve(&merge(&path)))
}

pub(super) fn nginx_unmerged(path: &[u8]) -> Option<Vec<u8>> {
    Some(resolve(&once(path)?))
}

/// `AllowEncodedSlashes On`.
pub(super) fn apache(path: &[u8]) -> Option<Vec<u8>> {
    Some(merge(&resolve(&once(path)?)))
}

/// The decoded path is parsed again, and its query is removed.
pub(super) fn apache_rewrite(path: &[u8]) -> Option<Vec<u8>> {
    let path = apache(path)?;
    let end = path.iter().position(|&byte| byte == b'?');
    Some(path[..end.unwrap_or(path.len())].to_vec())
}

pub(super) fn tomcat(path: &[u8]) -> Option<Vec<u8>> {
    if contains(path, b"%2f") || contains(path, b"%5c") || path.contains(&b'\\') {
        return None;
    }
    tomcat_slashes(path)
}

pub(super) fn tomcat_slashes(path: &[u8]) -> Option<Vec<u8>> {
    Some(resolve(&merge(&once(&without_parameters(path))?)))
}

pub(super) fn tomcat_backslashes(path: &[u8]) -> Option<Vec<u8>> {
    let path = once(&without_parameters(path))?;
    Some(resolve(&merge(&replace(&path, b"\\", b"/"))))
}

/// Decodes before it drops parameters.
pub(super) fn undertow(path: &[u8]) -> Option<Vec<u8>> {
    Some(resolve(&merge(&without_parameters(&once(path)?))))
}

/// `UrlPathHelper`: drops parameters, decodes, merges slashes; keeps dot segments.
pub(super) fn spring(path: &[u8]) -> Option<Vec<u8>> {
    Some(merge(&once(&without_parameters(path))?))
}

/// `path.Clean`.
pub(super) fn go(path: &[u8]) -> Option<Vec<u8>> {
    Some(resolve(&merge(&once(path)?)))
}

pub(super) fn iis(path: &[u8]) -> Option<Vec<u8>> {
    let path = overlong_decode(&microsoft_decode(path));
    let path = resolve(&merge(&replace(&path, b"\\", b"/")));
    let names = path.split(|&byte| byte == b'/').map(|segment| {
        let end = segment.iter().rposition(|byte| !b". ".contains(byte));
        segment[..end.map_or(0, |end| end + 1)].to_vec()
    });
    Some(resolve(&merge(&names.collect::<Vec<_>>().join(&b'/'))))
}

/// NTFS: `name:stream:$TYPE`.
pub(super) fn iis_streams(path: &[u8]) -> Option<Vec<u8>> {
    let path = iis(path)?;
    let names = path.split(|&byte| byte == b'/').map(|segment| {
        let has_type = contains(segment, b":$");
        let end = segment.iter().position(|&byte| has_type && byte == b':');
        segment[..end.unwrap_or(segment.len())].to_vec()
    });
    Some(names.collect::<Vec<_>>().join(&b'/'))
}

pub(super) fn overlong(path: &[u8]) -> Option<Vec<u8>> {
    Some(resolve(&merge(&overlong_decode(&once(path)?))))
}

/// A program that normalizes Unicode, and maps to a code page with best fit.
pub(super) fn wide(path: &[u8]) -> Option<Vec<u8>> {
    let text = String::from_utf8_lossy(&once(path)?)
        .nfkc()
        .collect::<String>();
    let text = text
        .replace(['\u{2215}', '\u{2044}'], "/")
        .replace('\u{2216}', "\\");
    let text = text
        .replace(['\u{200b}', '\u{feff}'], "")
        .replace('\\', "/");
    Some(resolve(&merge(text.as_bytes())))
}

pub(super) fn twice(path: &[u8]) -> Option<Vec<u8>> {
    Some(resolve(&merge(&lenient(&once(path)?))))
}

pub(super) fn thrice(path: &[u8]) -> Option<Vec<u8>> {
    let path = lenient(&lenient(&once(path)?));
    Some(resolve(&merge(&without_parameters(&replace(
        &path, b"\\", b"/",
    )))))
}

pub(super) fn cut(path: &[u8]) -> Option<Vec<u8>> {
    let path = once(path)?;
    let end = path.iter().position(|&byte| byte == b';');
    Some(resolve(&path[..end.unwrap_or(path.len())]))
}

/// Decodes some bytes; `None` for an invalid escape.
fn decode(path: &[u8], is_decoded: impl Fn(u8) -> bool) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    let mut at = 0;
    while at < path.len() {
        if path[at] != b'%' {
            out.push(path[at]);
            at += 1;
            continue;
        }
        let digits = str::from_utf8(path.get(at + 1..at + 3)?).ok()?;
        let byte = u8::from_str_radix(digits, 16).ok()?;
        if is_decoded(byte) {
            out.push(byte);
        } else {
            out.extend_from_slice(&path[at..at + 3]);
        }
        at += 3;
    }
    Some(out)
}

/// Decodes all bytes and keeps invalid escapes.
fn lenient(path: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut at = 0;
    while at < path.len() {
        match path.get(at..at + 3).and_then(|it| decode(it, |_| true)) {
            Some(byte) if path[at] == b'%' => {
                out.extend(byte);
                at += 3;
            }
            _ => {
                out.push(path[at]);
                at += 1;
            }
        }
    }
    out
}

/// Like [`lenient`], and decodes `%u002e`.
fn microsoft_decode(path: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut at = 0;
    while at < path.len() {
        let four = path
            .get(at + 2..at + 6)
            .and_then(|it| str::from_utf8(it).ok());
        let code = four.and_then(|it| u32::from_str_radix(it, 16).ok());
        if let Some(code) = code
            && path[at] == b'%'
            && path[at + 1].eq_ignore_ascii_case(&b'u')
        {
            let char = char::from_u32(code).unwrap_or('?');
            out.extend(char.to_string().bytes());
            at += 6;
        } else {
            out.push(path[at]);
            at += 1;
        }
    }
    lenient(&out)
}

/// Decodes overlong forms of two bytes.
fn overlong_decode(path: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut at = 0;
    while at < path.len() {
        match path[at..] {
            [lead @ (0xc0 | 0xc1), byte, ..] => {
                out.push((lead & 1) << 6 | (byte & 0x3f));
                at += 2;
            }
            [0xe0, one @ 0x80..=0x81, two, ..] => {
                out.push((one & 1) << 6 | (two & 0x3f));
                at += 3;
            }
            _ => {
                out.push(path[at]);
                at += 1;
            }
        }
    }
    out
}

fn without_parameters(path: &[u8]) -> Vec<u8> {
    let segments = path.split(|&byte| byte == b'/');
    let plain = segments.map(|it| it.split(|&byte| byte == b';').next().unwrap());
    plain.collect::<Vec<_>>().join(&b'/')
}

fn merge(path: &[u8]) -> Vec<u8> {
    let mut out = path.to_vec();
    out.dedup_by(|one, before| *one == b'/' && *before == b'/');
    out
}

/// Removes dot segments.
fn resolve(path: &[u8]) -> Vec<u8> {
    let mut out: Vec<&[u8]> = Vec::new();
    let mut segments = path.split(|&byte| byte == b'/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        match segment {
            b"." => {}
            b".." => drop(out.pop()),
            other => {
                out.push(other);
                continue;
            }
        }
        if segments.peek().is_none() {
            out.push(b"");
        }
    }
    [b"/", &*out.join(&b'/')].concat()
}

fn replace(path: &[u8], from: &[u8; 1], to: &[u8; 1]) -> Vec<u8> {
    let bytes = path
        .iter()
        .map(|&byte| if byte == from[0] { to[0] } else { byte });
    bytes.collect()
}

fn contains(path: &[u8], what: &[u8]) -> bool {
    path.windows(what.len())
        .any(|it| it.eq_ignore_ascii_case(what))
}

/// A server that serves `/x/` as `/x`.
pub(super) fn unslashed(path: &[u8]) -> Option<Vec<u8>> {
    let cut = path.strip_suffix(b"/").filter(|path| !path.is_empty());
    Some(cut.unwrap_or(path).to_vec())
}
