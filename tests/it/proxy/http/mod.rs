//! The requirements of RFC 9110, RFC 9112 and RFC 9113 for gateways. `docs/http.md` has a row for
//! each rule.

mod answers;
mod clients;
mod framing;
mod requests;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use ::http::{HeaderMap, Method, Request, Response, response::Parts};
use bytes::Bytes;
use tokio::runtime::Runtime;

use crate::harness::{Gate, PATIENCE, field, read_message, routes};

/// An HTTP/1 upstream that responds to every request with the same bytes.
struct Canned {
    address: SocketAddr,
    answer: Arc<Mutex<String>>,
    heard: Arc<Mutex<Vec<String>>>,
}

impl Canned {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let answer: Arc<Mutex<String>> = Arc::default();
        let heard: Arc<Mutex<Vec<String>>> = Arc::default();
        let (said, keep) = (Arc::clone(&answer), Arc::clone(&heard));
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (said, keep) = (Arc::clone(&said), Arc::clone(&keep));
                thread::spawn(move || {
                    let mut stream = stream.unwrap();
                    while let Some(request) = read_message(&mut stream) {
                        keep.lock().unwrap().push(request);
                        let answer = said.lock().unwrap().clone();
                        let is_last = answer.contains("Connection: close");
                        if stream.write_all(answer.as_bytes()).is_err() || is_last {
                            return;
                        }
                    }
                });
            }
        });
        Self {
            address,
            answer,
            heard,
        }
    }

    /// Changes the response.
    fn says(&self, answer: &str) {
        answer.clone_into(&mut self.answer.lock().unwrap());
    }

    /// Returns the requests received since the last call.
    fn heard(&self) -> Vec<String> {
        std::mem::take(&mut *self.heard.lock().unwrap())
    }
}

/// A gateway in front of an upstream, for clients of every HTTP version.
fn before(upstream: &Canned) -> Gate {
    let more = format!("h2c = true\n{}", routes(upstream.address));
    Gate::start(&more)
}

/// Requests `/public` with this version and these headers. Returns everything received until the
/// connection ends, which an HTTP/1.1 request asks for.
fn ask(gate: &Gate, method: &str, version: &str, fields: &str) -> String {
    let close = if version == "1.1" {
        "Connection: close\r\n"
    } else {
        ""
    };
    let request =
        format!("{method} /public HTTP/{version}\r\nHost: app.example\r\n{close}{fields}\r\n");
    exchange(gate, request.as_bytes())
}

/// Sends bytes, and returns everything received until the connection ends.
fn exchange(gate: &Gate, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(gate.gateway).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(request).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

fn status(answer: &str) -> u16 {
    let status = answer.split(' ').nth(1);
    status
        .and_then(|it| it.parse().ok())
        .unwrap_or_else(|| panic!("no answer: {answer:?}"))
}

/// The response that an HTTP/2 client received.
type Got = Result<(Parts, Vec<u8>, Option<HeaderMap>), h2::Error>;

/// Requests `/public` over HTTP/2 with these headers, and a body if it is not empty.
fn ask2(gate: &Gate, method: Method, fields: &[(&str, &str)], body: &'static [u8]) -> Got {
    let runtime = Runtime::new().unwrap();
    runtime.block_on(async {
        let stream = tokio::net::TcpStream::connect(gate.gateway).await.unwrap();
        let (mut client, connection) = h2::client::handshake(stream).await.unwrap();
        tokio::spawn(async move { drop(connection.await) });
        let mut request = Request::builder()
            .method(method)
            .uri("http://app.example/public");
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let request = request.body(()).unwrap();
        let (answer, mut sent) = client.send_request(request, body.is_empty())?;
        if !body.is_empty() {
            sent.send_data(Bytes::from_static(body), true)?;
        }
        let (parts, mut rest) = answer.await?.into_parts();
        let mut whole = Vec::new();
        while let Some(part) = rest.data().await {
            whole.extend_from_slice(&part?);
        }
        let trailers = rest.trailers().await?;
        Ok((parts, whole, trailers))
    })
}

/// Responds to a request of an HTTP/2 upstream.
type Answer2 = fn(h2::server::SendResponse<Bytes>);

/// An HTTP/2 upstream.
struct Upstream2 {
    address: SocketAddr,
    heard: Arc<Mutex<Vec<HeaderMap>>>,
    _runtime: Runtime,
}

impl Upstream2 {
    /// Starts an upstream that reads each request completely and then responds.
    fn start(answer: Answer2) -> Self {
        let runtime = Runtime::new().unwrap();
        let listener = runtime
            .block_on(tokio::net::TcpListener::bind("127.0.0.1:0"))
            .unwrap();
        let address = listener.local_addr().unwrap();
        let heard: Arc<Mutex<Vec<HeaderMap>>> = Arc::default();
        let keep = Arc::clone(&heard);
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let keep = Arc::clone(&keep);
                tokio::spawn(async move {
                    let mut connection = h2::server::handshake(stream).await.unwrap();
                    while let Some(Ok((request, respond))) = connection.accept().await {
                        let keep = Arc::clone(&keep);
                        tokio::spawn(async move {
                            let (parts, mut body) = request.into_parts();
                            keep.lock().unwrap().push(parts.headers);
                            while let Some(Ok(part)) = body.data().await {
                                body.flow_control().release_capacity(part.len()).unwrap();
                            }
                            answer(respond);
                        });
                    }
                });
            }
        });
        Self {
            address,
            heard,
            _runtime: runtime,
        }
    }

    fn gate(&self) -> Gate {
        let routes = routes(self.address).replace("peers", "http = '2'\npeers");
        Gate::start(&format!("h2c = true\n{routes}"))
    }
}

/// Responds with these headers and this body.
fn answer2(
    mut respond: h2::server::SendResponse<Bytes>,
    status: u16,
    fields: &[(&str, &str)],
    body: &'static [u8],
    trailers: &[(&str, &str)],
) {
    let mut response = Response::builder().status(status);
    for (name, value) in fields {
        response = response.header(*name, *value);
    }
    let mut stream = respond
        .send_response(response.body(()).unwrap(), false)
        .unwrap();
    let is_last = trailers.is_empty();
    let _ = stream.send_data(Bytes::from_static(body), is_last);
    if !is_last {
        let mut map = HeaderMap::new();
        for (name, value) in trailers {
            let name: ::http::HeaderName = name.parse().unwrap();
            map.append(name, value.parse().unwrap());
        }
        let _ = stream.send_trailers(map);
    }
}

/// Asserts that none of these headers is in the head of a message.
#[track_caller]
fn without(message: &str, names: &[&str]) {
    for name in names {
        assert_eq!(field(message, name), None, "{message}");
    }
}
