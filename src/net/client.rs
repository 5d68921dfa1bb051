//! The client of a connection, and its limits.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::admission::{Admission, Entered, Share};
use super::settings::{Listening, Live, Settings};
use crate::http::answer::Answer;
use crate::http::refusal::Refusal;
use crate::telemetry::{Door, Recorder, RequestLine, RequestRecord};

/// How long requests that are in progress at the beginning of a shutdown still count as in time.
pub(super) const LINGER: Duration = Duration::from_millis(250);

/// The client of a connection.
pub(crate) struct Client {
    pub(super) settings: Live,
    pub(super) admission: Arc<Admission>,
    pub(super) recorder: Arc<Recorder>,
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
        let mut record = RequestRecord::new(self.recorder.next_id());
        match self.listening {
            Listening::Gateway => {
                let (door, address) = (Door::Proxy, self.address);
                refusal.log_and_count(
                    &self.recorder,
                    door,
                    None,
                    address,
                    request_line,
                    &mut record,
                );
            }
            Listening::Service | Listening::Metrics => {
                refusal.log(&self.recorder, self.address, request_line, &record);
            }
        }
        refusal.answer().named(&record)
    }
}
