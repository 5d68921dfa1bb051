//! The response on its way to the client.

use std::iter::Peekable;
use std::mem;
use std::sync::OnceLock;
use std::time::Duration;

use bytes::Bytes;
use http::header::{
    CONNECTION, CONTENT_LENGTH, DATE, HeaderMap, HeaderValue, TRANSFER_ENCODING, UPGRADE,
};
use http::response::Parts;
use http::{Method, Response, StatusCode, Version};
use pingora::http::ResponseHeader;
use pingora::protocols::http::HttpTask;
use pingora::{Error, ErrorType, Result};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::parts::{Once, Piece, Stream};
use crate::net::http::{Reply, name_status};

/// The maximum number of body parts queued for the connection.
const WAITING: usize = 2;

/// A message to the connection about a request.
pub(super) enum Message {
    /// An interim response, and the receiver of the next message.
    Interim(StatusCode, HeaderMap, oneshot::Receiver<Message>),
    /// A response whose body, if any, is complete.
    Response(Response<Reply>),
    /// The header of a response whose body follows.
    Header(Response<Stream>),
}

/// A response.
pub(super) struct Outbound {
    way: Way,
    /// The HTTP version of the client.
    version: Version,
    is_head: bool,
    /// The status that was sent.
    status: Option<StatusCode>,
    /// The same as a header, once somebody asks for it.
    written: OnceLock<Option<ResponseHeader>>,
    sent: usize,
    /// The remaining bytes of the body, if its length was announced.
    left: Option<u64>,
    limit: Option<Duration>,
}

/// The next step of the response.
enum Way {
    /// The header has not been sent.
    Before(oneshot::Sender<Message>),
    /// The body is being sent to the connection.
    Body(mpsc::Sender<Piece>),
    /// The response is complete.
    Over,
}

impl Outbound {
    pub(super) fn new(
        head: oneshot::Sender<Message>,
        (version, method): (Version, &Method),
    ) -> Self {
        Self {
            way: Way::Before(head),
            version,
            is_head: *method == Method::HEAD,
            status: None,
            written: OnceLock::new(),
            sent: 0,
            left: None,
            limit: None,
        }
    }

    /// Sets the maximum time for the connection to take a part.
    pub(super) const fn set_limit(&mut self, limit: Option<Duration>) {
        self.limit = limit;
    }

    pub(super) const fn limit(&self) -> Option<Duration> {
        self.limit
    }

    /// Returns a header with the status that was sent, and nothing else.
    pub(super) fn written(&self) -> Option<&ResponseHeader> {
        let status = self.status?;
        let header = || ResponseHeader::build_no_case(status, Some(0)).ok();
        self.written.get_or_init(header).as_ref()
    }

    /// Returns whether a header was sent.
    pub(super) const fn has_begun(&self) -> bool {
        self.status.is_some()
    }

    /// Returns whether the response is complete.
    pub(super) const fn is_over(&self) -> bool {
        matches!(self.way, Way::Over)
    }

    /// Returns the number of body bytes sent.
    pub(super) const fn bytes(&self) -> usize {
        self.sent
    }

    /// Resolves when the client disconnects before the end of the response.
    pub(super) async fn closed(&mut self) {
        match &mut self.way {
            Way::Before(head) => head.closed().await,
            Way::Body(body) => body.closed().await,
            Way::Over => std::future::pending().await,
        }
    }

    /// Aborts the response, so that the client sees that it is incomplete.
    pub(super) fn abandon(&mut self) {
        self.way = Way::Over;
    }

    /// Sends an interim response.
    ///
    /// # Errors
    /// The client has disconnected.
    pub(super) fn interim(&mut self, status: StatusCode, fields: HeaderMap) -> Result<()> {
        let (next, following) = oneshot::channel();
        if let Way::Before(head) = mem::replace(&mut self.way, Way::Before(next)) {
            let interim = Message::Interim(status, fields, following);
            return head.send(interim).map_err(|_| gone());
        }
        self.abandon();
        let text = "an interim response behind the response";
        Err(Error::explain(ErrorType::InternalError, text))
    }

    /// Sends a header with the part of the body that is available. Returns whether that is all of
    /// it.
    ///
    /// # Errors
    /// The client has disconnected.
    pub(super) async fn begin<I: Iterator<Item = HttpTask>>(
        &mut self,
        header: ResponseHeader,
        is_end: bool,
        rest: &mut Peekable<I>,
    ) -> Result<bool> {
        if self.is_bodiless(header.status) {
            self.head(header, whole(Reply::empty()), Way::Over)?;
            return Ok(is_end);
        }
        self.left = length_of(&header.headers);
        let (first, is_whole) = if is_end {
            (Bytes::new(), true)
        } else {
            gather(rest)
        };
        if is_whole && self.left.is_none_or(|left| left == first.len() as u64) {
            self.sent = first.len();
            let reply = match self.left {
                // Chunked, whether it arrived at once or not.
                None if !first.is_empty() => Reply::streamed(Once(Some(first))),
                _ => Reply::whole(first),
            };
            self.head(header, whole(reply), Way::Over)?;
            return Ok(true);
        }
        let (parts, body) = mpsc::channel(WAITING);
        let answer = |header| Message::Header(Response::from_parts(header, Stream::new(body)));
        self.head(header, answer, Way::Body(parts))?;
        self.part(first, is_whole).await?;
        Ok(is_whole)
    }

    /// Sends the header that switches the connection to another protocol.
    ///
    /// # Errors
    /// The client has disconnected.
    pub(super) fn switch(&mut self, header: ResponseHeader, reply: Reply) -> Result<()> {
        self.head(header, whole(reply), Way::Over)
    }

    /// Sends a part of the body.
    ///
    /// # Errors
    /// The client has disconnected or does not read, or the body does not have the announced length.
    pub(super) async fn part(&mut self, part: Bytes, is_last: bool) -> Result<()> {
        if part.is_empty() && !is_last || matches!(self.way, Way::Over) {
            return Ok(());
        }
        let bytes = part.len();
        if let Some(left) = &mut self.left {
            let rest = left.checked_sub(bytes as u64);
            match rest.filter(|rest| !is_last || *rest == 0) {
                Some(rest) => *left = rest,
                None => return Err(self.unfit()),
            }
        }
        let piece = if is_last {
            Piece::Last(part)
        } else {
            Piece::Part(part)
        };
        self.send(piece).await?;
        self.sent += bytes;
        if is_last {
            self.way = Way::Over;
        }
        Ok(())
    }

    /// Sends trailers, which end the response.
    ///
    /// # Errors
    /// See [`Self::part`].
    pub(super) async fn trailers(&mut self, trailers: HeaderMap) -> Result<()> {
        if matches!(self.way, Way::Over) {
            return Ok(());
        }
        if self.left.is_some_and(|left| left > 0) {
            return Err(self.unfit());
        }
        if trailers.is_empty() {
            return self.part(Bytes::new(), true).await;
        }
        self.send(Piece::Trailers(trailers)).await?;
        self.way = Way::Over;
        Ok(())
    }

    fn unfit(&mut self) -> Box<Error> {
        self.abandon();
        Error::explain(ErrorType::WriteError, "a body of another length").into_up()
    }

    fn is_bodiless(&self, status: StatusCode) -> bool {
        self.is_head || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
    }

    /// Sends a header.
    fn head(
        &mut self,
        header: ResponseHeader,
        answer: impl FnOnce(Parts) -> Message,
        next: Way,
    ) -> Result<()> {
        let status = header.status;
        let known = status.canonical_reason();
        let reason = header.get_reason_phrase();
        let reason = reason.filter(|it| Some(*it) != known).map(str::to_owned);
        let mut parts = Parts::from(header);
        self.frame(status, &mut parts.headers);
        if self.version != Version::HTTP_2 {
            name_status(&mut parts, reason.as_deref());
        }
        let Way::Before(head) = mem::replace(&mut self.way, next) else {
            self.abandon();
            let text = "two headers for one request";
            return Err(Error::explain(ErrorType::InternalError, text));
        };
        head.send(answer(parts)).map_err(|_| gone())?;
        self.status = Some(status);
        Ok(())
    }

    /// Removes the headers that frame a message on a connection, or that only the connection can
    /// set.
    fn frame(&self, status: StatusCode, fields: &mut HeaderMap) {
        // One pass over the names is faster than a lookup of each.
        let (mut has_coding, mut has_date, mut is_of_a_hop) = (false, false, false);
        for name in fields.keys() {
            has_coding |= name == TRANSFER_ENCODING;
            has_date |= name == DATE;
            is_of_a_hop |= name == CONNECTION || name == UPGRADE;
        }
        if has_coding {
            fields.remove(TRANSFER_ENCODING);
        }
        if self.version == Version::HTTP_2 {
            if is_of_a_hop {
                fields.remove(CONNECTION);
                fields.remove(UPGRADE);
            }
            // hyper looks for `Date` and `Content-Length` with `entry`, which may grow the map each time.
            fields.reserve(2);
        } else if status == StatusCode::NOT_MODIFIED {
            // Optional (RFC 9110 §8.6), and hyper would mistake it for that of a body.
            fields.remove(CONTENT_LENGTH);
        }
        if has_date {
            let mut dates = fields.get_all(DATE).iter();
            let is_good = dates.next().is_none_or(is_date) && dates.next().is_none();
            if !is_good {
                fields.remove(DATE);
            }
        }
    }

    async fn send(&mut self, piece: Piece) -> Result<()> {
        let Way::Body(body) = &self.way else {
            let text = "a body before its header";
            return Err(Error::explain(ErrorType::InternalError, text));
        };
        let piece = match body.try_send(piece) {
            Ok(()) => return Ok(()),
            Err(mpsc::error::TrySendError::Closed(_)) => return Err(gone()),
            Err(mpsc::error::TrySendError::Full(piece)) => piece,
        };
        // Boxed, so that requests that do not wait have smaller futures.
        Box::pin(send_in_time(body, piece, self.limit)).await
    }
}

async fn send_in_time(
    body: &mpsc::Sender<Piece>,
    piece: Piece,
    limit: Option<Duration>,
) -> Result<()> {
    let sent = match limit {
        Some(limit) => timeout(limit, body.send(piece)).await.map_err(|_| {
            let text = "the client does not read";
            Error::explain(ErrorType::WriteTimedout, text).into_down()
        })?,
        None => body.send(piece).await,
    };
    sent.map_err(|_| gone())
}

/// Returns the function that turns a header into a complete response.
fn whole(reply: Reply) -> impl FnOnce(Parts) -> Message {
    |header| Message::Response(Response::from_parts(header, reply))
}

/// Takes the first part of a body if it has arrived. Returns it, and whether it is the last.
fn gather<I: Iterator<Item = HttpTask>>(rest: &mut Peekable<I>) -> (Bytes, bool) {
    let mut first = Bytes::new();
    loop {
        let next = rest.next_if(|task| match task {
            HttpTask::Body(Some(part), _) => first.is_empty() || part.is_empty(),
            HttpTask::Body(None, _) | HttpTask::Done => true,
            _ => false,
        });
        match next {
            Some(HttpTask::Body(part, is_end)) => {
                if let Some(part) = part.filter(|part| !part.is_empty()) {
                    first = part;
                }
                if is_end {
                    return (first, true);
                }
            }
            Some(_) => return (first, true),
            None => return (first, false),
        }
    }
}

fn gone() -> Box<Error> {
    Error::explain(ErrorType::WriteError, "the client is gone").into_down()
}

fn length_of(fields: &HeaderMap) -> Option<u64> {
    fields.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// The only date format that is sent (RFC 9110 §5.6.7): `0` stands for a digit, `a` for a letter.
const DATE_FORM: &[u8; 29] = b"aaa, 00 aaa 0000 00:00:00 GMT";

fn is_date(value: &HeaderValue) -> bool {
    let text = value.as_bytes();
    let is_like = |(byte, form): (&u8, &u8)| match form {
        b'0' => byte.is_ascii_digit(),
        b'a' => byte.is_ascii_alphabetic(),
        form => byte == form,
    };
    text.len() == DATE_FORM.len() && text.iter().zip(DATE_FORM).all(is_like)
}
