//! The client of a connection, and its limits.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::admission::{Admission, Entered, Share};
use super::settings::{Listening, Live};
use crate::config::Limits;
use crate::http::rejection::Rejection;

/// How long after the start of a shutdown requests in progress still count as on time.
pub(super) const LINGER: Duration = Duration::from_millis(250);

/// The number of connections per address that get large HTTP/2 windows, which bounds the memory one
/// address can take.
const FEW_CONNECTIONS: usize = 16;

/// The client of a connection.
pub(crate) struct Client {
    pub(super) settings: Live,
    pub(super) admission: Arc<Admission>,
    pub(super) listening: Listening,
    /// `None` over a Unix socket.
    pub(super) address: Option<IpAddr>,
    /// The usage of its address; `None` if the address has no limits.
    pub(super) share: Option<Arc<Share>>,
}

impl Client {
    /// Returns whether the address has few connections, or no limit of them: only then does a connection get the windows of
    /// the configuration.
    pub(super) fn is_of_few(&self) -> bool {
        let share = self.share.as_ref();
        share.is_none_or(|share| share.connections() <= FEW_CONNECTIONS)
    }

    /// Counts a request until the returned value is dropped. Requests to the metrics listener do
    /// not count.
    pub(super) fn enter(&self, limits: &Limits) -> Result<Option<Entered>, Rejection> {
        if self.listening == Listening::Metrics {
            return Ok(None);
        }
        let entered = self.admission.enter(self.share.as_ref(), limits);
        entered.map(Some)
    }
}
