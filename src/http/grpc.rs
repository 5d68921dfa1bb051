//! realmgate's own responses to gRPC and gRPC-Web calls.
//!
//! gRPC clients read the status of a call from trailers, and would parse the text of an HTTP error
//! as a message.

use bytes::{BufMut, Bytes, BytesMut};
use data_encoding::BASE64;
use http::header::{
    ALLOW, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, WWW_AUTHENTICATE,
};
use http::{Response, StatusCode};

const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");

/// The framing of a call's messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    /// gRPC over HTTP/2: the status is in the trailers.
    Trailers,
    /// gRPC-Web: the trailers are the last message of the body.
    Web,
    /// The same, in base64.
    WebText,
}

impl Framing {
    /// Returns the framing of a request; `None` if it is not a call.
    fn of(request: &HeaderMap) -> Option<Self> {
        let kind = request.get(CONTENT_TYPE)?.as_bytes();
        let rest = strip(kind, b"application/grpc")?;
        let (framing, rest) = match (strip(rest, b"-web-text"), strip(rest, b"-web")) {
            (Some(rest), _) => (Self::WebText, rest),
            (None, Some(rest)) => (Self::Web, rest),
            (None, None) => (Self::Trailers, rest),
        };
        matches!(rest.first(), None | Some(b'+' | b';' | b' ')).then_some(framing)
    }

    const fn content_type(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::Trailers => "application/grpc",
            Self::Web => "application/grpc-web+proto",
            Self::WebText => "application/grpc-web-text+proto",
        })
    }
}

/// Returns whether a request is a gRPC or gRPC-Web call.
pub(crate) fn is_any_call(request: &HeaderMap) -> bool {
    Framing::of(request).is_some()
}

/// Returns whether a request is a gRPC call over HTTP/2, which may be a stream.
pub(crate) fn is_call(request: &HeaderMap) -> bool {
    Framing::of(request) == Some(Framing::Trailers)
}

fn strip<'a>(text: &'a [u8], prefix: &[u8]) -> Option<&'a [u8]> {
    let (start, rest) = text.split_at_checked(prefix.len())?;
    start.eq_ignore_ascii_case(prefix).then_some(rest)
}

/// Converts a response to the form that the client expects: unchanged, unless the request is a
/// call. The body is a line of text.
pub(crate) fn translate(response: Response<Bytes>, request: &HeaderMap) -> Response<Bytes> {
    let Some(framing) = Framing::of(request) else {
        return response;
    };
    let (mut parts, body) = response.into_parts();
    let code = code_of(parts.status);
    let message = str::from_utf8(&body).unwrap_or_default().trim();
    let message = match message {
        "" => parts.status.canonical_reason().unwrap_or("error"),
        message => message,
    };
    let fields = &mut parts.headers;
    for name in [CONTENT_LENGTH, WWW_AUTHENTICATE, ALLOW] {
        fields.remove(name);
    }
    fields.insert(CONTENT_TYPE, framing.content_type());
    parts.status = StatusCode::OK;
    let body = match framing {
        Framing::Trailers => {
            fields.insert(GRPC_STATUS, HeaderValue::from(code));
            if let Ok(message) = HeaderValue::from_str(message) {
                fields.insert(GRPC_MESSAGE, message);
            }
            Bytes::new()
        }
        Framing::Web => last_message(code, message),
        Framing::WebText => BASE64.encode(&last_message(code, message)).into(),
    };
    if framing != Framing::Trailers {
        fields.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
    }
    Response::from_parts(parts, body)
}

/// Returns trailers as a gRPC-Web message.
fn last_message(code: u16, message: &str) -> Bytes {
    /// The flag of a message with trailers.
    const TRAILERS: u8 = 0x80;
    let trailers = format!("grpc-status:{code}\r\ngrpc-message:{message}\r\n");
    let mut bytes = BytesMut::with_capacity(5 + trailers.len());
    bytes.put_u8(TRAILERS);
    bytes.put_u32(u32::try_from(trailers.len()).unwrap_or(0));
    bytes.put_slice(trailers.as_bytes());
    bytes.freeze()
}

/// Returns the gRPC code of an HTTP status. The table is in `docs/reasons.md`.
const fn code_of(status: StatusCode) -> u16 {
    match status {
        StatusCode::UNAUTHORIZED => 16,
        StatusCode::FORBIDDEN => 7,
        StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => 12,
        StatusCode::REQUEST_TIMEOUT => 4,
        StatusCode::TOO_MANY_REQUESTS | StatusCode::PAYLOAD_TOO_LARGE => 8,
        StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT => {
            14
        }
        status if status.as_u16() < 500 => 3,
        _ => 13,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn translated(kind: &str, status: u16) -> Response<Bytes> {
        let mut request = HeaderMap::new();
        request.insert(CONTENT_TYPE, kind.parse().unwrap());
        let response = Response::builder()
            .status(status)
            .header(CONTENT_LENGTH, "3")
            .header(WWW_AUTHENTICATE, "Basic")
            .header("x-request-id", "1")
            .body(Bytes::from_static(b"no\n"))
            .unwrap();
        translate(response, &request)
    }

    #[test]
    fn call_gets_its_status_where_it_reads_it() {
        for kind in [
            "application/grpc",
            "application/grpc+proto",
            "Application/gRPC; a=b",
        ] {
            for (status, code) in [
                (401, "16"),
                (403, "7"),
                (503, "14"),
                (429, "8"),
                (400, "3"),
                (500, "13"),
            ] {
                let response = translated(kind, status);
                assert_eq!(response.status(), 200);
                assert_eq!(response.headers()[GRPC_STATUS], code);
                assert_eq!(response.headers()[GRPC_MESSAGE], "no");
                assert_eq!(response.headers()["x-request-id"], "1");
                assert_eq!(response.headers()[CONTENT_TYPE], "application/grpc");
                assert!(!response.headers().contains_key(WWW_AUTHENTICATE));
                assert!(response.body().is_empty());
            }
        }
        let response = translated("application/grpc-web+proto", 401);
        let expected = b"\x80\0\0\0\x21grpc-status:16\r\ngrpc-message:no\r\n";
        assert_eq!(&response.body()[..], expected);
        let response = translated("application/grpc-web-text", 401);
        assert_eq!(BASE64.decode(response.body()).unwrap(), expected);
    }

    #[test]
    fn any_other_request_gets_plain_http() {
        for kind in [
            "application/json",
            "application/grpcx",
            "application/grpc-webx",
            "text/plain",
        ] {
            let response = translated(kind, 401);
            assert_eq!(
                (response.status().as_u16(), &response.body()[..]),
                (401, &b"no\n"[..])
            );
        }
    }
}
