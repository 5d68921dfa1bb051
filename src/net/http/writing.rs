//! The responses of an HTTP/1 connection, as hyper writes them.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Buf;
use tokio::io::AsyncWrite;

use super::checked::Checked;
use super::inserted::Inserted;

impl Checked {
    /// Writes interim responses.
    fn poll_interim(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = self.shared.lock();
        while !state.interim.is_empty() {
            state.is_dirty = true;
            let written = Pin::new(&mut self.stream).poll_write(context, &state.interim);
            state.is_blocked = written.is_pending();
            let written = ready!(written)?;
            state.interim.advance(written);
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Begins a response: finds the place of the lines to insert, and writes the version of realmgate
    /// if the request was HTTP/1.0 (RFC 9110 §6.2).
    fn begin_write(
        &mut self,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Option<Poll<io::Result<usize>>> {
        let mut state = self.shared.lock();
        if let Some(lines) = state.lines.take() {
            self.inserted = Inserted::behind_status(lines, bytes);
        }
        let left = state.version;
        let is_there = !left.is_empty() && bytes.len() >= left.len();
        if !is_there {
            return None;
        }
        let written = Pin::new(&mut self.stream).poll_write(context, left);
        if let Poll::Ready(Ok(length)) = written {
            state.version = left.get(length..).unwrap_or_default();
        }
        drop(state);
        Some(self.written(written))
    }

    /// Writes, with lines between the bytes of hyper. Returns how many of those are written.
    fn poll_inserting(
        &mut self,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        loop {
            let all = self.inserted.among(parts);
            let written = Pin::new(&mut self.stream).poll_write_vectored(context, &all);
            let Poll::Ready(Ok(written)) = written else {
                return self.written(written);
            };
            let of_hyper = self.inserted.wrote(written);
            if of_hyper > 0 || written == 0 {
                return self.written(Poll::Ready(Ok(of_hyper)));
            }
        }
    }

    fn written<T>(&self, outcome: Poll<T>) -> Poll<T> {
        let mut state = self.shared.lock();
        state.is_blocked = outcome.is_pending();
        state.is_dirty = true;
        // An attempt that writes nothing does not count: otherwise each wake-up would restart the deadline.
        if outcome.is_ready() {
            state.writes = state.writes.wrapping_add(1);
        }
        outcome
    }
}

impl AsyncWrite for Checked {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        ready!(this.poll_interim(context))?;
        if let Some(written) = this.begin_write(context, bytes) {
            return written;
        }
        if !this.inserted.is_empty() {
            return this.poll_inserting(context, &[io::IoSlice::new(bytes)]);
        }
        let written = Pin::new(&mut this.stream).poll_write(context, bytes);
        this.written(written)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        ready!(this.poll_interim(context))?;
        let first = parts.first().map(|part| &**part).unwrap_or_default();
        if let Some(written) = this.begin_write(context, first) {
            return written;
        }
        if !this.inserted.is_empty() {
            return this.poll_inserting(context, parts);
        }
        let written = Pin::new(&mut this.stream).poll_write_vectored(context, parts);
        this.written(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_interim(context))?;
        let flushed = Pin::new(&mut this.stream).poll_flush(context);
        let mut state = this.shared.lock();
        state.is_blocked = flushed.is_pending();
        state.is_dirty &= !matches!(flushed, Poll::Ready(Ok(())));
        flushed
    }

    /// Leaves the stream open: the task of the connection decides on it.
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
