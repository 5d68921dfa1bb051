//! HTTP/2 requests that an upstream receives in another form.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use http::{HeaderMap, Request, Response};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;

use crate::harness::frames::{self, Field, request};
use crate::harness::{Gate, Upstream, routes};

/// RFC 9113 §8.1.1, RFC 9110 §8.6.
#[test]
fn repeated_length_is_rejected_at_every_listener() {
    let upstream = Upstream::start();
    let more = format!("h2c = true\n{}", routes(upstream.address));
    let gate = Gate::start_with(&[("REALMGATE_SERVICE_H2C", "true")], &more);
    let base = request("POST", "app.example", "/public/x");
    let rest = request("POST", "app.example", "/ungleichotp/verify/");
    let lengths: [&[Field]; 5] = [
        &[("content-length", "5"), ("content-length", "5")],
        &[("content-length", "5"), ("content-length", "0")],
        &[("content-length", "0"), ("content-length", "5")],
        &[("content-length", "5, 5")],
        &[("content-length", "+5")],
    ];
    for lengths in lengths {
        for (address, base) in [(gate.gateway, &base), (gate.service, &rest)] {
            let fields = [&base[..], lengths].concat();
            let status = frames::ask(address, &fields, b"hello", &[]);
            // Or the stream is reset.
            assert!(matches!(status, None | Some(400)), "{lengths:?} {status:?}");
        }
    }
    assert_eq!(upstream.seen(), [""; 0]);
    let once = [&base[..], &[("content-length", "5")]].concat();
    let status = frames::ask(gate.gateway, &once, b"hello", &[]);
    assert_eq!(status, Some(200));
    assert!(upstream.seen()[0].ends_with("\r\n\r\nhello"));
}

/// Sends a gRPC auth request with these lengths and an empty message. Returns `grpc-status` if the
/// response has no message.
async fn status_of_check(address: SocketAddr, lengths: &[&str]) -> Option<String> {
    let stream = TcpStream::connect(address).await.unwrap();
    let (mut client, connection) = h2::client::handshake(stream).await.unwrap();
    let connection = tokio::spawn(connection);
    let mut request = Request::post("http://realmgate/envoy.service.auth.v3.Authorization/Check")
        .header("content-type", "application/grpc")
        .header("te", "trailers");
    for length in lengths {
        request = request.header("content-length", *length);
    }
    let request = request.body(()).unwrap();
    let (answer, mut body) = client.send_request(request, false).unwrap();
    body.send_data("\0\0\0\0\0".into(), true).unwrap();
    let answer = answer.await.unwrap();
    connection.abort();
    let status = answer.headers().get("grpc-status")?;
    Some(status.to_str().unwrap().to_owned())
}

#[test]
fn repeated_length_is_rejected_over_grpc() {
    let gate = Gate::start("[grpc]\nlisten = \"127.0.0.1:0\"\n");
    let runtime = Runtime::new().unwrap();
    let ask = |lengths| runtime.block_on(status_of_check(gate.grpc.unwrap(), lengths));
    // INVALID_ARGUMENT, and no decision.
    assert_eq!(ask(&["5", "5"]).as_deref(), Some("3"));
    assert_eq!(ask(&["5"]), None);
}

/// The requests that an HTTP/2 upstream received, with bodies and trailers.
struct Listening {
    address: SocketAddr,
    heard: Arc<Mutex<Vec<Heard>>>,
    _runtime: Runtime,
}

impl Listening {
    fn start() -> Self {
        let runtime = Runtime::new().unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let heard = Arc::<Mutex<Vec<_>>>::default();
        let keep = Arc::clone(&heard);
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let keep = Arc::clone(&keep);
                tokio::spawn(async move {
                    let mut connection = h2::server::handshake(stream).await.unwrap();
                    while let Some(Ok((request, mut answer))) = connection.accept().await {
                        let keep = Arc::clone(&keep);
                        tokio::spawn(async move {
                            let (head, mut rest) = request.into_parts();
                            let mut body = Vec::new();
                            while let Some(Ok(part)) = rest.data().await {
                                body.extend_from_slice(&part);
                            }
                            let trailers = rest.trailers().await.ok().flatten();
                            keep.lock().unwrap().push(Heard {
                                uri: head.uri.to_string(),
                                body,
                                trailers,
                            });
                            let _ = answer.send_response(Response::new(()), true);
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
}

struct Heard {
    uri: String,
    body: Vec<u8>,
    trailers: Option<HeaderMap>,
}

#[test]
fn trailers_of_a_client_reach_no_upstream_of_http2() {
    let upstream = Listening::start();
    let gate = Gate::start(&format!(
        "h2c = true\n{}",
        routes(upstream.address).replace("peers", "http = '2'\npeers")
    ));
    let fields = request("POST", "app.example", "/public/x");
    let trailers = [("script_name", "/"), ("x-auth-name", "root"), ("x-y", "z")];
    let status = frames::ask(gate.gateway, &fields, b"body", &trailers);
    assert_eq!(status, Some(200));
    let heard = upstream.heard.lock().unwrap();
    assert_eq!((heard.len(), &*heard[0].body), (1, &b"body"[..]));
    assert_eq!(heard[0].trailers, None);
}

#[test]
fn upstream_sees_its_own_scheme_and_the_decided_host() {
    let upstream = Listening::start();
    let gate = Gate::start(&format!(
        "h2c = true\n[[route]]\nname = 'stripped'\npath = '/api'\nallow = 'anyone'\nupstream = 'app'\nstrip_prefix = true\n\
         [[route]]\nname = 'all'\nallow = 'anyone'\nupstream = 'app'\n\
         [upstream.app]\npeers = ['{}']\nhttp = '2'\n",
        upstream.address
    ));
    for scheme in ["http", "https", "ftp", "x-admin"] {
        for path in ["/x?q", "/api/x?q"] {
            let mut fields = request("GET", "app.example", path);
            fields[1].1 = scheme;
            let status = frames::ask(gate.gateway, &fields, b"", &[]);
            let heard = std::mem::take(&mut *upstream.heard.lock().unwrap());
            let heard: Vec<String> = heard.into_iter().map(|heard| heard.uri).collect();
            // Or it was rejected.
            if status == Some(200) {
                assert_eq!(heard, ["http://app.example/x?q"], "{scheme} {path}");
            } else {
                assert!(heard.is_empty(), "{scheme} {path} {heard:?}");
                assert!(!matches!(scheme, "http" | "https"), "{scheme} {status:?}");
            }
        }
    }
}

#[test]
fn scheme_of_a_client_reaches_no_upstream_of_http1() {
    let upstream = Upstream::start();
    let gate = Gate::start(&format!("h2c = true\n{}", routes(upstream.address)));
    let mut fields = request("GET", "app.example", "/public/x");
    fields[1].1 = "https";
    assert_eq!(frames::ask(gate.gateway, &fields, b"", &[]), Some(200));
    let seen = upstream.seen().remove(0);
    assert!(seen.starts_with("GET /public/x HTTP/1.1\r\n"), "{seen}");
    assert!(seen.contains("x-forwarded-proto: http\r\n"), "{seen}");
    assert!(!seen.contains("https"), "{seen}");
    assert_eq!(
        seen.to_lowercase().matches("\r\nhost:").count(),
        1,
        "{seen}"
    );
}
