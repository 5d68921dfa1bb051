//! A request read by hyper, as a session of Pingora's proxy.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::Stream;
use http::header::{EXPECT, HeaderMap, UPGRADE};
use http::{StatusCode, Version};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::protocols::Digest;
use pingora::protocols::http::HttpTask;
use pingora::protocols::http::custom::CustomMessageWrite;
use pingora::protocols::http::custom::server;
use pingora::protocols::l4::socket::SocketAddr;
use pingora::{Error, ErrorType, Result};
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::arrival::Arrival;
use super::inbound::Inbound;
use super::outbound::{Message, Outbound};
use super::target::{take_authority, take_empty_host, take_ignored_upgrade};
use super::tunnel::Tunnel;
use crate::doors::proxy::tenure::{Ending, Tenure, within_tenure};
use crate::net::http::ClientRequest;

/// A request and its response.
pub(super) struct Session {
    header: RequestHeader,
    may_upgrade: bool,
    inbound: Inbound,
    outbound: Outbound,
    /// Set once the connection has switched to another protocol.
    tunnel: Option<Tunnel>,
    /// Set for a response that ends with the right of its caller.
    ending: Option<Ending>,
    client: Option<SocketAddr>,
    read_limit: Option<Duration>,
    drain_limit: Option<Duration>,
}

type Messages = Box<dyn Stream<Item = Result<Bytes>> + Unpin + Send + Sync + 'static>;

impl Session {
    /// Takes a request whose response is sent to `head`.
    pub(super) fn new(request: ClientRequest, head: oneshot::Sender<Message>) -> Self {
        let ClientRequest {
            mut parts,
            named,
            body,
            peer,
            began,
            now,
            ..
        } = request;
        take_authority(&mut parts);
        let has_empty_host = take_empty_host(&mut parts);
        if named.upgrade {
            take_ignored_upgrade(&mut parts);
        }
        let is_expected =
            named.expect && parts.version == Version::HTTP_11 && parts.headers.contains_key(EXPECT);
        let outbound = Outbound::new(head, (parts.version, &parts.method));
        let client = peer.address.map(SocketAddr::Inet);
        parts.extensions.insert(Arrival {
            peer,
            began,
            now,
            named,
            has_empty_host,
        });
        Self {
            header: RequestHeader::from(parts),
            may_upgrade: named.upgrade,
            inbound: Inbound::new(body, is_expected),
            outbound,
            tunnel: None,
            ending: None,
            client,
            read_limit: None,
            drain_limit: None,
        }
    }

    /// Sends a header, with the part of the response that is available. Returns whether that is all
    /// of it.
    async fn begin<I: Iterator<Item = HttpTask>>(
        &mut self,
        header: ResponseHeader,
        is_end: bool,
        rest: &mut std::iter::Peekable<I>,
    ) -> Result<bool> {
        let status = header.status;
        if let Some(tenure) = self.header.extensions_mut().remove::<Tenure>() {
            self.ending = Some(tenure.begin());
        }
        if status == StatusCode::SWITCHING_PROTOCOLS {
            let (tunnel, reply) = Tunnel::new();
            self.outbound.switch(header, reply)?;
            self.tunnel = Some(tunnel);
            return Ok(false);
        }
        if status.is_informational() {
            if status == StatusCode::CONTINUE && self.inbound.is_expected() {
                // The connection sends one when the body is read.
                self.inbound.go_on();
            } else if self.header.version != Version::HTTP_10 {
                let fields = http::response::Parts::from(header).headers;
                self.outbound.interim(status, fields)?;
            }
            return Ok(false);
        }
        self.inbound.responded();
        self.outbound.begin(header, is_end, rest).await
    }

    async fn take(&mut self, tasks: Vec<HttpTask>) -> Result<bool> {
        let mut is_end = false;
        let mut tasks = tasks.into_iter().peekable();
        while let Some(task) = tasks.next() {
            match task {
                HttpTask::Header(header, is_last) => {
                    is_end |= self.begin(*header, is_last, &mut tasks).await?;
                }
                HttpTask::Body(part, is_last) => {
                    let part = part.unwrap_or_default();
                    self.outbound.part(part, is_last).await?;
                    is_end |= is_last;
                }
                HttpTask::UpgradedBody(part, is_last) => {
                    self.pass_through(&part.unwrap_or_default()).await?;
                    is_end |= is_last;
                    if is_last {
                        self.end().await?;
                    }
                }
                HttpTask::Trailer(Some(trailers)) => {
                    self.outbound.trailers(*trailers).await?;
                    is_end = true;
                }
                HttpTask::Trailer(None) | HttpTask::Done => {
                    self.end().await?;
                    is_end = true;
                }
                HttpTask::Failed(error) => return Err(error),
            }
        }
        Ok(is_end)
    }

    async fn pass_through(&mut self, part: &[u8]) -> Result<()> {
        let Some(tunnel) = &mut self.tunnel else {
            let text = "bytes of another protocol";
            return Err(Error::explain(ErrorType::InternalError, text));
        };
        if part.is_empty() {
            return Ok(());
        }
        let limit = self.outbound.limit().unwrap_or(Duration::MAX);
        // Boxed, so that requests without a tunnel have smaller futures. So are the others that few
        // requests wait for.
        Box::pin(tunnel.write(part, limit)).await
    }

    async fn end(&mut self) -> Result<()> {
        match &mut self.tunnel {
            Some(tunnel) => {
                Box::pin(tunnel.end()).await;
                Ok(())
            }
            None if self.outbound.has_begun() => self.outbound.part(Bytes::new(), true).await,
            None => Ok(()),
        }
    }

    async fn drain(&mut self) -> Result<()> {
        while self.inbound.part().await?.is_some() {}
        Ok(())
    }
}

/// Waits for a future, at most for a given time.
async fn within<T>(
    limit: Option<Duration>,
    kind: ErrorType,
    future: impl Future<Output = Result<T>>,
) -> Result<T> {
    match limit {
        Some(limit) => timeout(limit, future)
            .await
            .unwrap_or_else(|_| Err(Error::explain(kind, "the client is silent").into_down())),
        None => future.await,
    }
}

fn gone() -> Box<Error> {
    Error::explain(ErrorType::ConnectionClosed, "the client is gone").into_down()
}

#[async_trait]
impl server::Session for Session {
    fn req_header(&self) -> &RequestHeader {
        &self.header
    }

    fn req_header_mut(&mut self) -> &mut RequestHeader {
        &mut self.header
    }

    async fn read_body_bytes(&mut self) -> Result<Option<Bytes>> {
        match &mut self.tunnel {
            Some(tunnel) => {
                let limit = self.read_limit;
                Box::pin(within(limit, ErrorType::ReadTimedout, tunnel.read())).await
            }
            None => self.inbound.part().await,
        }
    }

    async fn drain_request_body(&mut self) -> Result<()> {
        if self.header.version != Version::HTTP_2 {
            // The connection discards it.
            self.inbound.leave();
            return Ok(());
        }
        let limit = self.drain_limit;
        Box::pin(within(limit, ErrorType::ReadTimedout, self.drain())).await
    }

    async fn write_response_header(&mut self, resp: Box<ResponseHeader>, end: bool) -> Result<()> {
        let nothing = std::iter::empty::<HttpTask>();
        self.begin(*resp, end, &mut nothing.peekable()).await?;
        Ok(())
    }

    async fn write_response_header_ref(&mut self, resp: &ResponseHeader, end: bool) -> Result<()> {
        self.write_response_header(Box::new(resp.clone()), end)
            .await
    }

    async fn write_body(&mut self, data: Bytes, end: bool) -> Result<()> {
        self.outbound.part(data, end).await
    }

    async fn write_trailers(&mut self, trailers: HeaderMap) -> Result<()> {
        self.outbound.trailers(trailers).await
    }

    async fn response_duplex_vec(&mut self, tasks: Vec<HttpTask>) -> Result<bool> {
        self.take(tasks).await
    }

    fn set_read_timeout(&mut self, timeout: Option<Duration>) {
        self.read_limit = timeout;
    }

    fn get_read_timeout(&self) -> Option<Duration> {
        self.read_limit
    }

    fn set_write_timeout(&mut self, timeout: Option<Duration>) {
        self.outbound.set_limit(timeout);
    }

    fn get_write_timeout(&self) -> Option<Duration> {
        self.outbound.limit()
    }

    fn set_total_drain_timeout(&mut self, timeout: Option<Duration>) {
        self.drain_limit = timeout;
    }

    fn get_total_drain_timeout(&self) -> Option<Duration> {
        self.drain_limit
    }

    /// Contains neither path nor query, which could contain a secret.
    fn request_summary(&self) -> String {
        self.header.method.to_string()
    }

    fn response_written(&self) -> Option<&ResponseHeader> {
        self.outbound.written()
    }

    async fn shutdown(&mut self, _: u32, _: &str) {
        self.outbound.abandon();
        self.tunnel = None;
    }

    fn is_body_done(&mut self) -> bool {
        match &self.tunnel {
            Some(tunnel) => tunnel.is_over(),
            None => self.inbound.is_done(),
        }
    }

    async fn finish(&mut self) -> Result<()> {
        self.end().await
    }

    fn is_body_empty(&mut self) -> bool {
        self.inbound.is_empty()
    }

    async fn read_body_or_idle(&mut self, no_body_expected: bool) -> Result<Option<Bytes>> {
        let limit = self.read_limit;
        let next = async {
            if let Some(tunnel) = self.tunnel.as_mut().filter(|_| !no_body_expected) {
                let read = within(limit, ErrorType::ReadTimedout, tunnel.read());
                return Box::pin(read).await;
            }
            if no_body_expected || self.inbound.is_done() {
                self.outbound.closed().await;
                return Err(gone());
            }
            // Before that, the body has its own deadlines, or waits for the response.
            let limit = limit.filter(|_| self.outbound.is_over());
            let part = Box::pin(within(limit, ErrorType::ReadTimedout, self.inbound.part()));
            tokio::select! {
                biased;
                part = part => part,
                () = self.outbound.closed() => Err(gone()),
            }
        };
        let next = within_tenure(&mut self.ending, next).await;
        next.unwrap_or_else(|| Err(gone()))
    }

    fn body_bytes_sent(&self) -> usize {
        self.outbound.bytes()
    }

    fn body_bytes_read(&self) -> usize {
        self.inbound.bytes()
    }

    fn digest(&self) -> Option<&Digest> {
        None
    }

    fn digest_mut(&mut self) -> Option<&mut Digest> {
        None
    }

    fn client_addr(&self) -> Option<&SocketAddr> {
        self.client.as_ref()
    }

    fn server_addr(&self) -> Option<&SocketAddr> {
        None
    }

    fn pseudo_raw_h1_request_header(&self) -> Bytes {
        Bytes::new()
    }

    fn enable_retry_buffering(&mut self) {
        self.inbound.keep_parts();
    }

    fn retry_buffer_truncated(&self) -> bool {
        self.inbound.is_cut()
    }

    fn get_retry_buffer(&self) -> Option<Bytes> {
        self.inbound.kept()
    }

    async fn finish_custom(&mut self) -> Result<()> {
        Ok(())
    }

    fn take_custom_message_reader(&mut self) -> Option<Messages> {
        None
    }

    fn restore_custom_message_reader(&mut self, _: Messages) -> Result<()> {
        Ok(())
    }

    fn take_custom_message_writer(&mut self) -> Option<Box<dyn CustomMessageWrite>> {
        None
    }

    fn restore_custom_message_writer(&mut self, _: Box<dyn CustomMessageWrite>) -> Result<()> {
        Ok(())
    }

    fn is_upgrade_req(&self) -> bool {
        self.may_upgrade
            && self.header.version == Version::HTTP_11
            && self.header.headers.contains_key(UPGRADE)
    }

    fn was_upgraded(&self) -> bool {
        self.tunnel.is_some()
    }
}
