//! W3C Trace Context: `traceparent` and `tracestate`, <https://www.w3.org/TR/trace-context/>.

use std::fmt;

use data_encoding::HEXLOWER;
use http::{HeaderMap, HeaderName, HeaderValue};

/// The header with the trace id and the span of the sender.
pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// The header with vendor-specific data about the trace.
pub const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// The maximum number of members in `tracestate` (§3.3.1.1).
const MEMBERS: usize = 32;

/// The trace that a request belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trace {
    /// The trace id; not zero.
    pub id: [u8; 16],
    /// The span of the sender; `None` if the trace begins here.
    pub parent: Option<[u8; 8]>,
    /// Whether the trace is recorded.
    pub is_sampled: bool,
}

impl Trace {
    /// Reads `traceparent`; `None` if it is missing, repeated or malformed (§3.2.2).
    pub fn read(headers: &HeaderMap) -> Option<Self> {
        let mut values = headers.get_all(TRACEPARENT).iter();
        let (Some(value), None) = (values.next(), values.next()) else {
            return None;
        };
        let value = value.as_bytes();
        let (known, rest) = value.split_at_checked(55)?;
        let mut parts = known.split(|&byte| byte == b'-');
        let version: [u8; 1] = hex(parts.next()?)?;
        let id = hex(parts.next()?)?;
        let parent = hex(parts.next()?)?;
        let [flags]: [u8; 1] = hex(parts.next()?)?;
        // Later versions may append fields after another dash; version 0 may not.
        let is_whole = rest.is_empty() || (version != [0] && rest.starts_with(b"-"));
        let is_right = parts.next().is_none() && version != [0xff] && is_whole;
        (is_right && id != [0; 16] && parent != [0; 8]).then_some(Self {
            id,
            parent: Some(parent),
            is_sampled: flags & 1 == 1,
        })
    }

    /// Returns the `traceparent` for requests that are sent within `span`.
    pub fn parent_of(&self, span: [u8; 8]) -> HeaderValue {
        let flags = u8::from(self.is_sampled);
        let text = format!(
            "00-{}-{}-{flags:02x}",
            HEXLOWER.encode(&self.id),
            HEXLOWER.encode(&span)
        );
        // Hexadecimal digits are a valid header value.
        HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static(""))
    }
}

/// Writes the trace id in hexadecimal.
impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.id))
    }
}

/// Returns whether all `tracestate` headers together are well-formed (§3.3.1).
pub fn is_state(headers: &HeaderMap) -> bool {
    let fields = headers.get_all(TRACESTATE).iter();
    let members = fields.flat_map(|field| field.as_bytes().split(|&byte| byte == b','));
    let mut members = members.map(<[u8]>::trim_ascii).filter(|it| !it.is_empty());
    members.by_ref().take(MEMBERS).all(is_member) && members.next().is_none()
}

fn is_member(member: &[u8]) -> bool {
    let Some(at) = member.iter().position(|&byte| byte == b'=') else {
        return false;
    };
    let (key, value) = member.split_at(at);
    let value = value.get(1..).unwrap_or_default();
    let is_key =
        |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-*/@".contains(byte);
    let is_value = |byte: &u8| (0x20..=0x7e).contains(byte) && *byte != b'=';
    (1..=256).contains(&key.len())
        && key.first().is_some_and(u8::is_ascii_alphanumeric)
        && key.iter().all(is_key)
        && (1..=256).contains(&value.len())
        && value.iter().all(is_value)
}

/// Decodes lower-case hexadecimal digits.
fn hex<const N: usize>(digits: &[u8]) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    if digits.len() != 2 * N {
        return None;
    }
    HEXLOWER.decode_mut(digits, &mut bytes).ok()?;
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: &HeaderName, values: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(name, HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    const REST: &str = "-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    const GOOD: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn right_parent_is_read_and_written_again() {
        let trace = Trace::read(&headers(&TRACEPARENT, &[GOOD])).unwrap();
        assert!(trace.is_sampled);
        assert_eq!(trace.to_string(), "0af7651916cd43dd8448eb211c80319c");
        assert_eq!(trace.parent_of(trace.parent.unwrap()), GOOD);
        let later = format!("01{REST}-more");
        assert_eq!(Trace::read(&headers(&TRACEPARENT, &[&later])), Some(trace));
    }

    #[test]
    fn wrong_parent_is_none() {
        for wrong in [
            "",
            "00",
            GOOD.strip_suffix('1').unwrap(),
            &format!("{GOOD}-"),
            &format!("{GOOD}-more"),
            &format!("01{REST}more"),
            &format!("ff{REST}"),
            &GOOD.to_uppercase(),
            &GOOD.replace("0af7651916cd43dd8448eb211c80319c", &"0".repeat(32)),
            &GOOD.replace("b7ad6b7169203331", &"0".repeat(16)),
            &GOOD.replace('-', "_"),
            &GOOD.replace("-01", "-0g"),
        ] {
            assert_eq!(
                Trace::read(&headers(&TRACEPARENT, &[wrong])),
                None,
                "{wrong}"
            );
        }
        assert_eq!(Trace::read(&headers(&TRACEPARENT, &[GOOD, GOOD])), None);
    }

    #[test]
    fn state_is_a_list_of_pairs() {
        let many: Vec<String> = (0..33).map(|n| format!("k{n}=v")).collect();
        for (values, expected) in [
            (&["rojo=00f067aa0ba902b7,congo=t61rcWkgMzE"][..], true),
            (&["a=1 , b=2", "t@v=3", ""], true),
            (&[&many[..32].join(",")], true),
            (&[&many.join(",")], false),
            (&["a"], false),
            (&["A=1"], false),
            (&["a="], false),
            (&["a=b=c"], false),
            (&["=b"], false),
        ] {
            assert_eq!(
                is_state(&headers(&TRACESTATE, values)),
                expected,
                "{values:?}"
            );
        }
    }
}
