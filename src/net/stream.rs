//! The stream of a connection when HTTP begins: TCP, or TLS.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;
use tokio_util::either::Either;

use crate::net::delegate::delegate_write;

/// A stream with bytes that were read ahead, which are read again.
#[derive(Debug)]
pub(crate) struct Rewound<S> {
    unread: Bytes,
    stream: S,
}

/// The stream of a connection that carries HTTP.
pub(crate) type Stream = Rewound<Transport>;

/// The transport of HTTP: TCP, or TLS, which is boxed because of its size.
pub(crate) type Transport = Either<TcpStream, Box<TlsStream<Rewound<TcpStream>>>>;

impl<S> Rewound<S> {
    pub(crate) fn new(stream: S) -> Self {
        Self::with(Bytes::new(), stream)
    }

    /// Makes a stream that begins with the bytes read ahead.
    pub(crate) fn with(unread: Bytes, stream: S) -> Self {
        Self { unread, stream }
    }

    /// Returns the bytes that were read ahead.
    pub(crate) fn unread(&self) -> &[u8] {
        &self.unread
    }

    /// Takes the bytes that were read ahead.
    pub(crate) fn take_unread(&mut self) -> Bytes {
        std::mem::take(&mut self.unread)
    }

    /// Puts bytes back, before everything unread.
    pub(crate) fn rewind(&mut self, bytes: Bytes) {
        self.unread = match self.unread.is_empty() {
            true => bytes,
            false => [&bytes[..], &self.unread[..]].concat().into(),
        };
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Rewound<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.unread.is_empty() {
            return Pin::new(&mut self.stream).poll_read(context, buffer);
        }
        let length = self.unread.len().min(buffer.remaining());
        buffer.put_slice(self.unread.get(..length).unwrap_or_default());
        self.unread.advance(length);
        if self.unread.is_empty() {
            // Frees their buffer.
            self.unread = Bytes::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Rewound<S> {
    delegate_write!(stream);
}

/// The number of bytes that HTTP reads at a time.
pub(crate) const PART: usize = 4096;

/// Reads at most `room` bytes, and at most `MOST`, which `take` copies. Returns their number; 0 at the end.
pub(crate) fn poll_more<const MOST: usize, S: AsyncRead + Unpin>(
    stream: &mut S,
    context: &mut Context<'_>,
    room: usize,
    take: impl FnOnce(&[u8]),
) -> Poll<io::Result<usize>> {
    // On the stack only while reading: in the future, it would take memory while a connection
    // waits.
    let mut space = [std::mem::MaybeUninit::uninit(); MOST];
    let mut buffer = ReadBuf::uninit(space.get_mut(..room.min(MOST)).unwrap_or_default());
    ready!(Pin::new(stream).poll_read(context, &mut buffer))?;
    take(buffer.filled());
    // They may contain tokens and seeds, which must not remain on the stack.
    let read = buffer.filled_mut();
    read.fill(0);
    Poll::Ready(Ok(std::hint::black_box(read).len()))
}
