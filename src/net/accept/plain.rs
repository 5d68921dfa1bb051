//! Detects HTTP without TLS on a listener with TLS, and says what is wrong.

use std::io;

use http::StatusCode;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::tls::part;
use crate::http::own_response::OwnResponse;
use crate::net::stream::Rewound;

const LINE: &str = "this port speaks TLS: use https\n";

/// Returns whether a connection begins with a letter, like every HTTP method. A TLS record begins
/// with 22 (RFC 8446 §5.1). `unread` was read ahead of `stream`.
///
/// # Errors
/// The connection ends.
pub(super) async fn is_spoken(unread: &[u8], stream: &TcpStream) -> io::Result<bool> {
    let mut first = [0];
    match unread.first() {
        Some(byte) => first = [*byte],
        None if stream.peek(&mut first).await? == 0 => {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        None => {}
    }
    Ok(first.first().is_some_and(u8::is_ascii_alphabetic))
}

/// Responds in cleartext, and closes the connection.
pub(super) async fn reject(mut stream: Rewound<TcpStream>) {
    let answer = OwnResponse::line(StatusCode::BAD_REQUEST, LINE).last_bytes();
    if stream.write_all(&answer).await.is_ok() {
        part(stream).await;
    }
}
