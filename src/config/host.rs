//! The hosts that a route matches.

use std::fmt;
use std::net::Ipv6Addr;

/// The maximum length of a host in characters (RFC 1035 §2.3.4, without the trailing dot).
const HOST_CHARS: usize = 253;

/// A host that a route matches, in lower case and without a port.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum HostPattern {
    /// This host only.
    Exact(Box<str>),
    /// `*.` and this domain: the hosts with exactly one label more.
    OneLabel(Box<str>),
    /// `**.` and this domain: the hosts with one or more labels more.
    Labels(Box<str>),
}

/// Describes the valid hosts.
const HOST: &str = r#"a host such as "app.example.org", or "*." or "**." and a domain"#;

impl HostPattern {
    /// Reads a host.
    ///
    /// # Errors
    /// The description of what is expected instead.
    pub(crate) fn read(text: &str) -> Result<Self, String> {
        let host = text.to_ascii_lowercase();
        let (kind, domain): (fn(Box<str>) -> Self, _) = match host.strip_prefix("**.") {
            Some(domain) => (Self::Labels, domain),
            None => match host.strip_prefix("*.") {
                Some(domain) => (Self::OneLabel, domain),
                None => (Self::Exact, &*host),
            },
        };
        let is_wild = domain.len() < host.len();
        if is_host(domain) && !(is_wild && is_address(domain)) {
            return Ok(kind(domain.into()));
        }
        Err(if host.contains("://") {
            format!("{HOST}, without a scheme")
        } else if !host.is_ascii() {
            format!(r#"{HOST}, with labels that are not ASCII in their "xn--" form"#)
        } else if matches!(&*host, "*" | "**") {
            format!("{HOST}; leave the key out to match every host")
        } else if is_wild && is_address(domain) {
            format!("{HOST}, not an address")
        } else if host.contains('*') {
            format!(r#"{HOST}; "*" stands for whole labels, and only in front"#)
        } else {
            format!("{HOST}, without port or path")
        })
    }

    /// Returns the domain without wildcard.
    pub fn domain(&self) -> &str {
        let (Self::Exact(domain) | Self::OneLabel(domain) | Self::Labels(domain)) = self;
        domain
    }

    /// Returns whether this pattern matches every host that the other one matches.
    pub fn holds(&self, other: &Self) -> bool {
        let more = other.domain().strip_suffix(self.domain());
        let more = more.and_then(|more| match more {
            "" => Some(0),
            more => Some(more.strip_suffix('.')?.split('.').count()),
        });
        match (self, other, more) {
            (_, _, None) => false,
            (Self::Exact(_), Self::Exact(_), Some(more)) => more == 0,
            (Self::Exact(_), ..) => false,
            (Self::OneLabel(_), Self::Exact(_), Some(more)) => more == 1,
            (Self::OneLabel(_), Self::OneLabel(_), Some(more)) => more == 0,
            (Self::OneLabel(_), Self::Labels(_), _) => false,
            (Self::Labels(_), Self::Exact(_), Some(more)) => more >= 1,
            (Self::Labels(_), ..) => true,
        }
    }

    /// Returns the patterns that match every host that this one matches, this one included.
    pub(super) fn wider(&self) -> Vec<Self> {
        let mut wider = vec![self.clone()];
        let domain = self.domain();
        let rests = domain.match_indices('.').filter_map(|(at, _)| {
            let rest = domain.get(at + 1..)?;
            Some(Box::<str>::from(rest))
        });
        if let Self::OneLabel(_) = self {
            wider.push(Self::Labels(domain.into()));
        }
        for (at, rest) in rests.enumerate() {
            if at == 0 && matches!(self, Self::Exact(_)) {
                wider.push(Self::OneLabel(rest.clone()));
            }
            wider.push(Self::Labels(rest));
        }
        wider
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(host) => f.write_str(host),
            Self::OneLabel(domain) => write!(f, "*.{domain}"),
            Self::Labels(domain) => write!(f, "**.{domain}"),
        }
    }
}

/// Returns whether a text is a host name or an IP address, without a port.
pub(super) fn is_host(host: &str) -> bool {
    let is_v6 = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .is_some_and(|host| host.parse::<Ipv6Addr>().is_ok());
    let is_label = |label: &str| {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        !label.is_empty() && label.bytes().all(is_plain)
    };
    is_v6 || ((1..=HOST_CHARS).contains(&host.len()) && host.split('.').all(is_label))
}

/// Returns whether clients may take a host for an IP address: its last label is a number (WHATWG
/// URL, "ends in a number").
fn is_address(host: &str) -> bool {
    let last = host.rsplit('.').next().unwrap_or_default();
    let is_decimal = !last.is_empty() && last.bytes().all(|byte| byte.is_ascii_digit());
    let hex = last.strip_prefix("0x");
    host.starts_with('[')
        || is_decimal
        || hex.is_some_and(|hex| hex.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> HostPattern {
        HostPattern::read(text).unwrap()
    }

    #[test]
    fn pattern_holds_the_hosts_of_narrower_ones() {
        for (one, other, expected) in [
            ("a.example", "a.example", true),
            ("a.example", "b.example", false),
            ("*.example", "a.example", true),
            ("*.example", "b.a.example", false),
            ("*.example", "example", false),
            ("*.example", "*.example", true),
            ("*.example", "**.example", false),
            ("*.example", "a.badexample", false),
            ("**.example", "a.example", true),
            ("**.example", "b.a.example", true),
            ("**.example", "example", false),
            ("**.example", "*.example", true),
            ("**.example", "*.a.example", true),
            ("**.example", "**.a.example", true),
            ("**.a.example", "**.example", false),
            ("**.example", "a.badexample", false),
            ("a.example", "*.a.example", false),
        ] {
            let (one, other) = (pattern(one), pattern(other));
            assert_eq!(one.holds(&other), expected, "{one} {other}");
            let is_listed = other.wider().contains(&one);
            assert_eq!(is_listed, expected, "{one} {other}");
        }
    }
}
