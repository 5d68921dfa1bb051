//! Checks single values.

use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

use ipnet::{IpNet, Ipv4Net};
use toml::Spanned;

use super::raw::{List, Time};
use super::source::{Checked, Source, all};

/// The range of every duration, inclusive.
const SHORTEST: Duration = Duration::from_millis(1);
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// Each method returns the value, or the default if there is none or if it is invalid.
impl Source<'_> {
    pub(super) fn number<T: TryFrom<i64>>(
        &self,
        key: &str,
        raw: Option<&Spanned<i64>>,
        default: T,
        range: RangeInclusive<i64>,
    ) -> T {
        let Some(raw) = raw else {
            return default;
        };
        let number = Some(*raw.get_ref()).filter(|number| range.contains(number));
        match number.and_then(|number| T::try_from(number).ok()) {
            Some(number) => number,
            None => {
                let expected = format!("{} to {}", range.start(), range.end());
                self.reject(key, raw, expected);
                default
            }
        }
    }

    pub(super) fn duration(
        &self,
        key: &str,
        raw: Option<&Spanned<Time>>,
        default_millis: u64,
    ) -> Duration {
        let default = Duration::from_millis(default_millis);
        let Some(raw) = raw else {
            return default;
        };
        let duration = humantime::parse_duration(&raw.get_ref().0).ok();
        match duration.filter(|duration| (SHORTEST..=LONGEST).contains(duration)) {
            Some(duration) => duration,
            None => {
                let expected = r#"a duration with a unit, "1ms" to "24h", such as "5s""#;
                self.reject(key, raw, expected);
                default
            }
        }
    }

    /// Checks a duration of whole seconds.
    pub(super) fn seconds(
        &self,
        key: &str,
        raw: Option<&Spanned<Time>>,
        default: Duration,
    ) -> Duration {
        let Some(raw) = raw else {
            return default;
        };
        let duration = humantime::parse_duration(&raw.get_ref().0).ok();
        let duration = duration
            .filter(|duration| duration.subsec_nanos() == 0)
            .filter(|duration| (Duration::from_secs(1)..=LONGEST).contains(duration));
        match duration {
            Some(duration) => duration,
            None => {
                let expected = r#"a duration of whole seconds, "1s" to "24h""#;
                self.reject(key, raw, expected);
                default
            }
        }
    }

    /// Checks a word; `meaning` maps the valid ones to values.
    pub(super) fn word<T>(
        &self,
        key: &str,
        raw: Option<&Spanned<String>>,
        default: T,
        expected: &str,
        meaning: impl FnOnce(&str) -> Option<T>,
    ) -> T {
        let Some(raw) = raw else {
            return default;
        };
        match meaning(raw.get_ref()) {
            Some(meaning) => meaning,
            None => {
                self.reject(key, raw, expected);
                default
            }
        }
    }

    pub(super) fn networks(&self, key: &str, raw: &Spanned<List>) -> Checked<Vec<IpNet>> {
        let network = |(at, raw)| self.network(&format!("{key}[{at}]"), raw);
        all(raw.get_ref().iter().enumerate().map(network))
    }

    /// Checks a network. One of IPv4-mapped IPv6 addresses becomes one of IPv4.
    pub(super) fn network(&self, key: &str, raw: &Spanned<String>) -> Checked<IpNet> {
        let text = raw.get_ref();
        let network: Result<IpNet, _> = text
            .parse()
            .or_else(|_| text.parse().map(|address: IpAddr| address.into()));
        let Ok(network) = network else {
            let expected = r#"an address or a network such as "10.0.0.0/8""#;
            return Err(self.reject(key, raw, expected));
        };
        if network != network.trunc() {
            let meant = network.trunc();
            let expected = format!("a network without host bits, \"{meant}\"");
            return Err(self.reject(key, raw, expected));
        }
        Ok(unmapped(network))
    }
}

/// Returns the IPv4 network of a network of IPv4-mapped addresses (RFC 4291 §2.5.5.2).
fn unmapped(network: IpNet) -> IpNet {
    let IpNet::V6(six) = network else {
        return network;
    };
    let four = six
        .addr()
        .to_ipv4_mapped()
        .zip(six.prefix_len().checked_sub(96));
    let four = four.and_then(|(address, length)| Ipv4Net::new(address, length).ok());
    four.map_or(network, IpNet::V4)
}

/// Describes the valid names and realms.
pub(super) fn part(limit: usize) -> String {
    format!("1 to {limit} characters, no NUL, no white space at either end")
}

pub(super) fn flag(raw: Option<&Spanned<bool>>) -> bool {
    raw.is_some_and(|raw| *raw.get_ref())
}

/// The maximum length of the name of a route or an upstream, in characters.
const NAME_CHARS: usize = 64;

/// Returns whether a text is a valid name of a route or an upstream.
pub(super) fn is_name(name: &str) -> bool {
    (1..=NAME_CHARS).contains(&name.chars().count())
        && name.trim() == name
        && !name.chars().any(char::is_control)
}

/// Describes the valid names of routes and upstreams.
pub(super) fn naming() -> String {
    format!("1 to {NAME_CHARS} characters, no control characters, no white space at either end")
}
