//! Connections that are closed before a request is read. The first one of a kind is logged at once;
//! those that follow are counted, and logged as one line.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::admission::Full;
use super::metrics::NetMetrics;

/// How long further ones of the same kind are counted after a line.
const PAUSE: Duration = Duration::from_secs(10);

/// Why a connection is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// `limits.connections` is reached.
    Connections,
    /// `limits.connections_per_address` is reached.
    OfAddress,
    /// The limit of the metrics listener is reached.
    OfMetrics,
    /// The required PROXY protocol header is missing.
    ProxyHeader,
    /// HTTP without TLS, where TLS is required.
    PlainHttp,
}

impl Cause {
    const ALL: [Self; 5] = [
        Self::Connections,
        Self::OfAddress,
        Self::OfMetrics,
        Self::ProxyHeader,
        Self::PlainHttp,
    ];

    /// Returns a short, stable code for logs and metrics.
    const fn as_str(self) -> &'static str {
        match self {
            Self::Connections => "connections",
            Self::OfAddress => "connections_per_address",
            Self::OfMetrics => "metrics_connections",
            Self::ProxyHeader => "proxy_header",
            Self::PlainHttp => "plain_http",
        }
    }
}

impl From<Full> for Cause {
    fn from(full: Full) -> Self {
        match full {
            Full::InAll => Self::Connections,
            Full::OfAddress => Self::OfAddress,
        }
    }
}

/// Counts closed connections by cause.
pub(crate) struct Rejected {
    kinds: [Mutex<Kind>; Cause::ALL.len()],
    metrics: NetMetrics,
}

/// The connections of a kind since its last line.
#[derive(Default)]
struct Kind {
    count: u64,
    /// The address of the last one; `None` over a Unix socket.
    peer: Option<SocketAddr>,
    /// The end of counting; `None` if the next one is logged at once.
    until: Option<Instant>,
}

impl Rejected {
    pub(crate) fn new(metrics: NetMetrics) -> Self {
        for cause in Cause::ALL {
            metrics.show(cause.as_str());
        }
        Self {
            kinds: Default::default(),
            metrics,
        }
    }

    /// Logs a closed connection, or counts it for a later line.
    pub(crate) fn add(&self, cause: Cause, peer: Option<SocketAddr>) {
        let reason = cause.as_str();
        self.metrics.rejected(reason);
        let kind = self.kinds.get(cause as usize);
        if kind.is_some_and(|kind| kind.lock().has_line(peer, Instant::now())) {
            let peer = peer.map(tracing::field::display);
            tracing::warn!(reason, peer, "connection rejected");
        }
    }

    /// Logs the counts that are due, or all of them. Call it about once per second.
    pub(crate) fn log_counts(&self, are_all: bool) {
        for (cause, kind) in Cause::ALL.iter().zip(&self.kinds) {
            let taken = kind.lock().take(Instant::now(), are_all);
            if let Some((connections, peer)) = taken {
                let (reason, peer) = (cause.as_str(), peer.map(tracing::field::display));
                tracing::warn!(reason, connections, peer, "connections rejected");
            }
        }
    }
}

impl Kind {
    /// Returns whether a connection is logged at once. Otherwise it is counted.
    fn has_line(&mut self, peer: Option<SocketAddr>, now: Instant) -> bool {
        if self.until.is_none() {
            self.until = Some(now + PAUSE);
            return true;
        }
        self.count += 1;
        self.peer = peer;
        false
    }

    /// Returns the count and the last address, if a line is due.
    fn take(&mut self, now: Instant, are_all: bool) -> Option<(u64, Option<SocketAddr>)> {
        let is_due = are_all || self.until.is_some_and(|until| now >= until);
        if !is_due {
            return None;
        }
        let count = std::mem::take(&mut self.count);
        self.until = (count > 0).then(|| now + PAUSE);
        (count > 0).then(|| (count, self.peer.take()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_event_is_logged_and_repeats_are_counted() {
        let (mut kind, now) = (Kind::default(), Instant::now());
        let peer = |port| Some(SocketAddr::from(([192, 0, 2, 1], port)));
        assert!(kind.has_line(peer(1), now));
        assert!(!kind.has_line(peer(2), now));
        assert!(!kind.has_line(peer(3), now));
        let early = now + PAUSE - Duration::from_millis(1);
        assert_eq!(kind.take(early, false), None);
        assert_eq!(kind.take(now + PAUSE, false), Some((2, peer(3))));
        // Counting continues.
        assert!(!kind.has_line(peer(4), now + PAUSE));
        assert_eq!(kind.take(now + PAUSE, true), Some((1, peer(4))));
        // Counting has ended.
        assert_eq!(kind.take(now + 2 * PAUSE, false), None);
        assert!(kind.has_line(peer(5), now + 2 * PAUSE));
    }
}
