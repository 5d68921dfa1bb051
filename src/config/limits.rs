//! Checks `[limits]`, and fits the limits to the number of files that the process may open.

use super::raw;
use super::server::Server;
use super::source::Source;
use super::upstream::Upstream;

/// The maximum number of header fields, and of bytes of a header, that the HTTP parser accepts.
const FIELDS_READ: i64 = 256;
const BYTES_READ: i64 = 1024 * 1024 - 1;
/// The maximum length of a request target that the HTTP parser accepts.
const TARGET_READ: i64 = 65_534;

/// The window with which each stream and connection of HTTP/2 begins (RFC 9113 §6.9.2).
const LEAST_WINDOW: i64 = 65_535;

/// The default maximum number of concurrent requests of one address.
const REQUESTS_OF_ADDRESS: usize = 1_000;

/// The number of open files besides connections: listeners, the database, logs.
const OWN_FILES: usize = 256;

/// `[limits]`.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The maximum size of a request header in bytes, 1024 to 1,048,575; 64 KiB by default. For
    /// HTTP/2, the sum of RFC 9113 §6.5.2, where all cookie crumbs count as one field.
    pub header_bytes: usize,
    /// The maximum number of header fields of a request, 8 to 256; 100 by default.
    pub header_fields: usize,
    /// The maximum length of a request target with its query, in bytes, 256 to 65,534; 8 KiB by
    /// default.
    pub target_bytes: usize,
    /// The maximum size of a request body at realmgate's own endpoints, in bytes, 1024 to 16 MiB;
    /// 64 KiB by default.
    pub body_bytes: usize,
    /// The minimum rate of a request body in bytes per second, averaged over each `timeouts.read`,
    /// until the response begins; 0 to 1,000,000, where 0 is no minimum; 100 by default.
    pub body_rate: u64,
    /// The maximum number of bytes of a body that are discarded after an early response, 0 to 1
    /// GiB; 16 MiB by default.
    pub drain_bytes: usize,
    /// The maximum number of connections, 1 to 1,000,000; 20,000 by default.
    pub connections: usize,
    /// The maximum number of connections from one address or one IPv6 /64, 1 to 1,000,000; 1,000 by
    /// default. `service.trusted_proxies` are exempt.
    pub connections_per_address: usize,
    /// The maximum number of concurrent requests on all listeners but the metrics listener, 1 to
    /// 1,000,000; 20,000 by default.
    pub requests: usize,
    /// The maximum number of concurrent requests from one address or one IPv6 /64, 1 to 1,000,000.
    /// By default 1,000, and at most half of those of an upstream. `service.trusted_proxies` are
    /// exempt.
    pub requests_per_address: Option<usize>,
    /// The maximum number of concurrent requests on an HTTP/2 connection, 1 to 1,000; 32 by
    /// default.
    pub streams: u32,
    /// How much of a request body an HTTP/2 client may send ahead, in bytes, 65,535 to 16 MiB; 1
    /// MiB by default.
    pub stream_window: u32,
    /// How much of all request bodies on an HTTP/2 connection a client may send ahead, in bytes,
    /// 65,535 to 1 GiB; 4 MiB by default.
    pub connection_window: u32,
}

impl Source<'_> {
    pub(super) fn limits(&self, raw: &raw::Limits) -> Limits {
        let number = |key: &str, raw: &raw::Opt<i64>, default, range| {
            self.number(&format!("limits.{key}"), raw.as_ref(), default, range)
        };
        let count =
            |key: &str, raw: &raw::Opt<i64>, default| number(key, raw, default, 1..=1_000_000);
        let requests_per_address = "requests_per_address";
        Limits {
            header_bytes: number("header_bytes", &raw.header_bytes, 65_536, 1024..=BYTES_READ),
            header_fields: number("header_fields", &raw.header_fields, 100, 8..=FIELDS_READ),
            target_bytes: number("target_bytes", &raw.target_bytes, 8192, 256..=TARGET_READ),
            body_bytes: number(
                "body_bytes",
                &raw.body_bytes,
                65_536,
                1024..=16 * 1024 * 1024,
            ),
            body_rate: self.number(
                "limits.body_rate",
                raw.body_rate.as_ref(),
                100,
                0..=1_000_000,
            ),
            drain_bytes: number("drain_bytes", &raw.drain_bytes, 16 << 20, 0..=1 << 30),
            connections: count("connections", &raw.connections, 20_000),
            connections_per_address: count(
                "connections_per_address",
                &raw.connections_per_address,
                1_000,
            ),
            requests: count("requests", &raw.requests, 20_000),
            requests_per_address: raw
                .requests_per_address
                .as_ref()
                .map(|_| count(requests_per_address, &raw.requests_per_address, 1)),
            streams: self.number("limits.streams", raw.streams.as_ref(), 32, 1..=1_000),
            stream_window: self.number(
                "limits.stream_window",
                raw.stream_window.as_ref(),
                1 << 20,
                LEAST_WINDOW..=16 << 20,
            ),
            connection_window: self.number(
                "limits.connection_window",
                raw.connection_window.as_ref(),
                4 << 20,
                LEAST_WINDOW..=1 << 30,
            ),
        }
    }
}

impl Limits {
    /// Returns the maximum number of concurrent requests of one address.
    pub fn requests_of_address(&self) -> usize {
        self.requests_per_address.unwrap_or(REQUESTS_OF_ADDRESS)
    }

    /// Returns how many of the `requests` of an upstream one address may use: as configured, else
    /// at most half, so that other addresses find room.
    pub fn share_of_upstream(&self, requests: usize) -> usize {
        match self.requests_per_address {
            Some(most) => most,
            None => REQUESTS_OF_ADDRESS.min(requests.div_ceil(2)),
        }
    }

    /// Returns the number of open files at full use: one for each connection, and one for each
    /// request to its upstream.
    pub fn files(&self, server: &Server) -> usize {
        self.connections + self.requests + server.upstream_idle_connections + OWN_FILES
    }

    /// Returns limits that need at most `files` open files: these, if they fit, else reduced ones,
    /// of which one address may use at most a quarter.
    #[must_use]
    pub fn fitted(mut self, files: usize, server: &Server) -> Self {
        if self.files(server) <= files {
            return self;
        }
        let idle = server.fitted_idle(files);
        let room = files.saturating_sub(OWN_FILES + idle).max(8);
        // Half of the room each, or more if the other needs less.
        let (connections, requests) = (self.connections, self.requests);
        self.connections = connections.min(room.saturating_sub(requests).max(room / 2));
        self.requests = requests.min(room.saturating_sub(connections).max(room / 2));
        self.connections_per_address = self
            .connections_per_address
            .min(self.connections / 4)
            .max(1);
        let of_address = self.requests_of_address();
        if of_address > self.requests / 4 {
            self.requests_per_address = Some((self.requests / 4).max(1));
        }
        self
    }

    /// Returns a warning if the limits need more than `files` open files.
    pub fn file_warning(&self, server: &Server, files: usize) -> Option<String> {
        let needed = self.files(server);
        (needed > files).then(|| {
            format!(
                "limits.connections, limits.requests and server.upstream_idle_connections need {needed} open \
                 files together; this process may open {files} files, so limits will be lowered"
            )
        })
    }

    /// Returns warnings about limits that let one address use everything.
    pub fn warnings(&self, upstreams: &[Upstream]) -> Vec<String> {
        let of_address = self.requests_of_address();
        let mut warnings = Vec::new();
        let mut all_for_one = |key: &str, one: usize, all: &str, most: usize| {
            if one >= most && most > 1 {
                warnings.push(format!(
                    "limits.{key} ({one}) is not below {all} ({most}): one address can use all of them"
                ));
            }
        };
        let connections = self.connections_per_address;
        all_for_one(
            "connections_per_address",
            connections,
            "limits.connections",
            self.connections,
        );
        all_for_one(
            "requests_per_address",
            of_address,
            "limits.requests",
            self.requests,
        );
        for upstream in upstreams {
            all_for_one(
                "requests_per_address",
                self.share_of_upstream(upstream.requests),
                &format!("requests of upstream {:?}", upstream.name),
                upstream.requests,
            );
        }
        warnings
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn parse(text: &str) -> Config {
        Config::parse(text, "test", []).unwrap()
    }

    #[test]
    fn limits_that_fit_stay_and_others_leave_three_quarters_to_others() {
        let config = parse("");
        let (limits, server) = (config.limits, &config.server);
        let needed = limits.files(server);
        let fitted = limits.fitted(needed, server);
        assert_eq!(fitted.connections, limits.connections);
        for files in [1024, 4096, needed - 1] {
            let fitted = limits.fitted(files, server);
            assert!(fitted.connections + fitted.requests + OWN_FILES <= files);
            assert!(fitted.connections_per_address * 4 <= fitted.connections);
            assert!(fitted.requests_of_address() * 4 <= fitted.requests);
        }
        let few = Limits {
            requests: 100,
            ..limits
        };
        let fitted = few.fitted(4096, server);
        assert_eq!(fitted.requests, 100);
        assert!(fitted.connections + 100 + OWN_FILES + server.fitted_idle(4096) == 4096);
        // Nothing fits, but the limits must not become 0.
        let fitted = limits.fitted(0, server);
        assert!(fitted.connections > 0 && fitted.connections_per_address > 0);
    }

    #[test]
    fn limits_that_do_not_fit_or_let_one_take_all_are_warned_of() {
        let warnings = |text| {
            let config = parse(text);
            config.limits.warnings(&config.upstreams)
        };
        let config = parse("");
        let file_warning = |files| config.limits.file_warning(&config.server, files);
        assert_eq!(warnings(""), [""; 0]);
        assert_eq!(file_warning(usize::MAX), None);
        assert!(file_warning(1024).is_some());
        for text in [
            "[limits]\nconnections = 1000",
            "[limits]\nrequests = 1000",
            "[limits]\nrequests_per_address = 10000\n[upstream.a]\npeers = ['127.0.0.1:1']",
        ] {
            let warnings = warnings(text);
            assert_eq!(warnings.len(), 1, "{text}: {warnings:?}");
            assert!(warnings[0].ends_with("one address can use all of them"));
        }
    }

    #[test]
    fn address_gets_half_of_a_small_upstream_unless_configured() {
        let limits = parse("").limits;
        let shares = [1, 2, 3, 100, 10_000].map(|requests| limits.share_of_upstream(requests));
        assert_eq!(shares, [1, 1, 2, 50, 1000]);
        let limits = parse("[limits]\nrequests_per_address = 70").limits;
        assert_eq!(limits.share_of_upstream(100), 70);
    }
}
