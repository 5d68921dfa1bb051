//! Keeps the `Date` of an upstream in responses over HTTP/1 (RFC 9110 §6.6.1).
//!
//! Pingora 0.9.1 writes the current time into every response, and has no switch for it. The
//! original date replaces it when the header is written; both have the same length. This can go
//! when Pingora, or its replacement towards clients, keeps an existing `Date`.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use async_trait::async_trait;
use http::HeaderValue;
use parking_lot::Mutex;
use pingora::protocols::http::ServerSession;
use pingora::protocols::raw_connect::ProxyDigest;
use pingora::protocols::tls::SslDigest;
use pingora::protocols::{
    ALPN, GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl,
    Stream, TimingDigest, UniqueID, UniqueIDType,
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The format of dates that are kept (RFC 9110 §5.6.7): `0` is a digit, `a` a letter.
const FORM: &[u8; 29] = b"aaa, 00 aaa 0000 00:00:00 GMT";
/// The bytes before the date.
const NAME: &[u8] = b"\r\ndate: ";

type Date = [u8; FORM.len()];

/// Sets the date of the next response. Without one, or with one in another format, the response has
/// the current time.
pub(crate) fn keep_date(session: &ServerSession, date: Option<&HeaderValue>) {
    let stream = session.stream().map(|stream| (**stream).as_any());
    if let Some(dated) = stream.and_then(|stream| stream.downcast_ref::<Dated>()) {
        *dated.date.lock() = date.and_then(|date| read(date.as_bytes()));
    }
}

fn read(text: &[u8]) -> Option<Date> {
    let is_like = |(byte, form): (&u8, &u8)| match form {
        b'0' => byte.is_ascii_digit(),
        b'a' => byte.is_ascii_alphabetic(),
        form => byte == form,
    };
    let date = Date::try_from(text).ok()?;
    // The letters of `GMT` and of the names are only checked to be letters.
    date.iter().zip(FORM).all(is_like).then_some(date)
}

/// An HTTP/1 connection.
#[derive(Debug)]
pub(super) struct Dated {
    stream: Stream,
    /// The date for the next response.
    date: Mutex<Option<Date>>,
    /// A header with its date, and how many of its bytes have been written.
    header: Option<(Vec<u8>, usize)>,
}

impl Dated {
    pub(super) fn new(stream: Stream) -> Self {
        Self {
            stream,
            date: Mutex::new(None),
            header: None,
        }
    }

    /// Replaces the date in a header, if it has one.
    fn put(&mut self, header: &[u8]) {
        let Some(date) = *self.date.get_mut() else {
            return;
        };
        let at = header
            .windows(NAME.len())
            .position(|part| part.eq_ignore_ascii_case(NAME));
        let Some(at) = at.map(|at| at + NAME.len()) else {
            return;
        };
        let mut header = header.to_vec();
        if let Some(written) = header.get_mut(at..at + FORM.len()) {
            written.copy_from_slice(&date);
            *self.date.get_mut() = None;
            self.header = Some((header, 0));
        }
    }
}

impl AsyncWrite for Dated {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        if this.header.is_none() {
            this.put(bytes);
        }
        let Some((header, from)) = &mut this.header else {
            return Pin::new(&mut this.stream).poll_write(context, bytes);
        };
        // It has the length of `bytes`; the caller passes the unwritten rest again.
        let rest = header.get(*from..).unwrap_or_default();
        let written = ready!(Pin::new(&mut this.stream).poll_write(context, rest))?;
        *from += written;
        if *from >= header.len() {
            this.header = None;
        }
        Poll::Ready(Ok(written))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

impl AsyncRead for Dated {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

#[async_trait]
impl Shutdown for Dated {
    async fn shutdown(&mut self) {
        Shutdown::shutdown(&mut *self.stream).await;
    }
}

#[async_trait]
impl Peek for Dated {
    async fn try_peek(&mut self, buffer: &mut [u8]) -> io::Result<bool> {
        self.stream.try_peek(buffer).await
    }
}

impl UniqueID for Dated {
    fn id(&self) -> UniqueIDType {
        self.stream.id()
    }
}

impl Ssl for Dated {
    fn get_ssl_digest(&self) -> Option<Arc<SslDigest>> {
        self.stream.get_ssl_digest()
    }

    fn selected_alpn_proto(&self) -> Option<ALPN> {
        self.stream.selected_alpn_proto()
    }
}

impl GetTimingDigest for Dated {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        self.stream.get_timing_digest()
    }

    fn get_read_pending_time(&self) -> Duration {
        self.stream.get_read_pending_time()
    }

    fn get_write_pending_time(&self) -> Duration {
        self.stream.get_write_pending_time()
    }
}

impl GetProxyDigest for Dated {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        self.stream.get_proxy_digest()
    }
}

impl GetSocketDigest for Dated {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        self.stream.get_socket_digest()
    }
}

#[cfg(test)]
mod tests {
    use super::read;

    #[test]
    fn date_has_one_form() {
        assert!(read(b"Sun, 06 Nov 1994 08:49:37 GMT").is_some());
        for date in [
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
            "Sun, 06 Nov 1994 08:49:37 UTC",
            "Sun, 06 Nov 1994 08:49:37 GM",
            "Sun, 6  Nov 1994 08:49:37 GMT",
            "Sun, 06 Nov 1994 08:49:37\r\nX",
            "",
        ] {
            assert!(read(date.as_bytes()).is_none(), "{date}");
        }
    }
}
