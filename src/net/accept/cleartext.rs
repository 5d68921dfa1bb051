//! Detects HTTP/2 with prior knowledge (RFC 9113 §3.3) by its first bytes.

use tokio::io::{AsyncRead, AsyncReadExt};

use super::start::{BadStart, Http};

/// The connection preface of clients (RFC 9113 §3.4).
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Detects the version. Also returns the bytes that it has read.
pub(super) async fn begin<S: AsyncRead + Unpin>(
    stream: &mut S,
) -> Result<(Http, Vec<u8>), BadStart> {
    let mut bytes = [0; PREFACE.len()];
    let mut read = 0;
    let http = loop {
        let Some(rest) = bytes.get_mut(read..).filter(|rest| !rest.is_empty()) else {
            break Http::Two;
        };
        match stream.read(rest).await {
            Ok(more @ 1..) => read += more,
            _ => return Err(BadStart::Gone),
        }
        if bytes.get(..read) != PREFACE.get(..read) {
            break Http::One;
        }
    };
    Ok((http, bytes.get(..read).unwrap_or_default().to_vec()))
}
