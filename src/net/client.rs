//! The client of a connection, and its limits.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::admission::{Admission, Entered, Share};
use super::settings::{Listening, Live, Settings};
use crate::http::answer::Answer;
use crate::http::refusal::Refusal;
use crate::http::request_id::RequestId;
use crate::telemetry::{Door, RequestLine, RequestRecord, metrics};

/// How long requests that are in progress at the beginning of a shutdown still count as in time.
pub(super) const LINGER: Duration = Duration::from_millis(250);

/// The client of a connection.
pub(super) struct Client {
    pub(super) settings: Live,
    pub(super) admission: Arc<Admission>,
    pub(super) listening: Listening,
    /// `None` over a Unix socket.
    pub(super) address: Option<IpAddr>,
    /// The usage of its address; `None` if the address has no limits.
    pub(super) share: Option<Arc<Share>>,
}

impl Client {
    /// Returns the settings in force.
    pub(super) fn settings(&self) -> Arc<Settings> {
        self.settings.load_full()
    }

    /// Counts a request until the returned value is dropped. Requests to the metrics listener do
    /// not count.
    pub(super) fn enter(&self) -> Result<Option<Entered>, Refusal> {
        if self.listening == Listening::Metrics {
            return Ok(None);
        }
        let limits = &self.settings.load().limits;
        let entered = self.admission.enter(self.share.as_ref(), limits);
        entered.map(Some)
    }

    /// Logs and counts a request that is rejected unread, and returns its response.
    pub(super) fn refuse(&self, refusal: Refusal, request_line: RequestLine<'_>) -> Answer {
        let mut record = RequestRecord::new(RequestId::next().digits());
        match self.listening {
            Listening::Gateway => {
                let tally = metrics().no_route();
                refusal.log_and_count(Door::Proxy, tally, self.address, request_line, &mut record);
            }
            Listening::Service | Listening::Metrics => {
                refusal.log(self.address, request_line, &record);
            }
        }
        refusal.answer().named(&record)
    }
}
