//! Header lines of responses that are written as they are.

use http::header::{HeaderMap, HeaderName, HeaderValue};

/// Header lines of a response over HTTP/1. Writing them is much faster than setting each header, and
/// letting hyper write it. They do not frame the body, and do not concern the connection.
pub(crate) struct Lines(Vec<u8>);

/// Header lines without some of their values.
pub(crate) struct Template {
    /// What is written before each missing value.
    before: Box<[Box<[u8]>]>,
    /// What is written after the last one.
    after: Box<[u8]>,
}

/// The room for values, and for the lines that keep the connection.
const ROOM: usize = 256;

impl Template {
    /// Makes lines of headers whose values are missing, and of whole ones.
    pub(crate) fn new<'a>(
        missing: impl IntoIterator<Item = &'a HeaderName>,
        whole: impl IntoIterator<Item = (HeaderName, HeaderValue)>,
    ) -> Self {
        let mut end: &[u8] = b"";
        let before = missing.into_iter().map(|name| {
            let start = [end, name.as_str().as_bytes(), b": "].concat().into();
            end = b"\r\n";
            start
        });
        let before = before.collect();
        let mut after = end.to_vec();
        for (name, value) in whole {
            after.extend([name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat());
        }
        Self {
            before,
            after: after.into(),
        }
    }

    /// Returns the lines with the missing values.
    pub(crate) fn with(&self, values: &[HeaderValue]) -> Lines {
        let mut lines = Vec::with_capacity(self.after.len() + ROOM);
        for (before, value) in self.before.iter().zip(values) {
            lines.extend_from_slice(before);
            lines.extend_from_slice(value.as_bytes());
        }
        lines.extend_from_slice(&self.after);
        Lines(lines)
    }
}

impl Lines {
    /// Returns these lines with others behind them.
    pub(super) fn followed_by(mut self, others: &[u8]) -> Vec<u8> {
        self.0.extend_from_slice(others);
        self.0
    }

    /// Adds the headers of these lines to others.
    pub(super) fn add_to(&self, headers: &mut HeaderMap) {
        for line in self.0[..].split(|&byte| byte == b'\n') {
            let mut parts = line.splitn(2, |&byte| byte == b':');
            let (Some(name), Some(value)) = (parts.next(), parts.next()) else {
                continue;
            };
            let name = HeaderName::from_bytes(name);
            let value = HeaderValue::from_bytes(value.trim_ascii());
            if let (Ok(name), Ok(value)) = (name, value) {
                headers.append(name, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use http::header::CACHE_CONTROL;

    use super::*;

    fn template() -> Template {
        let missing = ["x-name", "x-realm"].map(HeaderName::from_static);
        let whole = [
            (CACHE_CONTROL, HeaderValue::from_static("no-store")),
            (
                HeaderName::from_static("x-token"),
                HeaderValue::from_static(""),
            ),
        ];
        Template::new(&missing, whole)
    }

    #[test]
    fn each_value_follows_its_name() {
        let values = ["a:b", "c"].map(HeaderValue::from_static);
        let lines = template().with(&values).followed_by(b"x: y\r\n");
        let expected =
            "x-name: a:b\r\nx-realm: c\r\ncache-control: no-store\r\nx-token: \r\nx: y\r\n";
        assert_eq!(str::from_utf8(&lines), Ok(expected));
    }

    #[test]
    fn headers_are_those_of_the_lines() {
        let values = ["a:b", "c"].map(HeaderValue::from_static);
        let mut headers = HeaderMap::new();
        template().with(&values).add_to(&mut headers);
        let found: Vec<_> = headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.to_str().unwrap()))
            .collect();
        let expected = [
            ("x-name", "a:b"),
            ("x-realm", "c"),
            ("cache-control", "no-store"),
            ("x-token", ""),
        ];
        assert_eq!(found, expected);
    }
}
