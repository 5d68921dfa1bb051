//! Real application servers behind the proxy, over TCP and over a Unix socket: whatever header a
//! client adds, each serves the request that was decided on.

mod program;

use std::io::Write;
use std::net::TcpStream;

use serde_json::Value;

use crate::harness::frames;
use crate::harness::{Caller, Gate, parse, read_message};
use crate::proxy::reserved::spellings;
use program::{Running, Server};

const BODY: &str = "abcdefghij";

/// A requested path: who may use it, and what the application must see.
struct Path {
    asked: &'static str,
    expected: &'static str,
    page: &'static str,
    is_proved: bool,
}

const PATHS: [Path; 4] = [
    Path {
        asked: "/public/admin",
        expected: "/public/admin",
        page: "page",
        is_proved: false,
    },
    Path {
        asked: "/stripped/public/admin",
        expected: "/public/admin",
        page: "page",
        is_proved: false,
    },
    Path {
        asked: "/api/admin",
        expected: "/api/admin",
        page: "page",
        is_proved: true,
    },
    // A list of methods decides here.
    Path {
        asked: "/posted/x",
        expected: "/posted/x",
        page: "page",
        is_proved: true,
    },
];

/// Routes to the application, selected by host for each of its two sockets.
fn routes(server: &Running) -> String {
    let upstreams = [
        ("tcp", server.address().to_string()),
        ("unix", format!("unix:{}", server.socket().display())),
    ];
    let text = upstreams.map(|(name, peer)| {
        let routes = [
            ("public", "/public", "allow = 'anyone'"),
            ("stripped", "/stripped", "allow = 'anyone'\nstrip_prefix = true"),
            ("posted", "/posted", "allow = 'authenticated'\nmethods = ['POST']"),
            ("admin", "/admin", "allow = [{ realm = 'ops' }]"),
            ("all", "/", "allow = 'authenticated'"),
        ];
        let routes = routes.map(|(route, path, more)| {
            format!(
                "[[route]]\nname = '{name}-{route}'\nhost = '{name}.example'\npath = '{path}'\n{more}\nupstream = '{name}'\n"
            )
        });
        let upstream = format!("[upstream.{name}]\npeers = ['{peer}']\nread_timeout = '20s'\n");
        (routes.concat(), upstream)
    });
    let [tcp, unix] = text;
    format!("h2c = true\n{}{}{}{}", tcp.0, unix.0, tcp.1, unix.1)
}

/// Returns a value with which a client could mislead an application.
fn value(name: &str) -> &'static str {
    let name = name.to_ascii_lowercase();
    let values = [
        ("length", "3"),
        ("encoding", "chunked"),
        ("method", "DELETE"),
        ("scheme", "https"),
        ("proto", "https"),
        ("ssl", "https"),
        ("https", "on"),
        ("query", "q=2"),
        ("user", "root"),
        ("host", "admin.example"),
        ("port", "1"),
        // For the path `/public/admin`, it leaves `/admin`.
        ("", "/public"),
    ];
    let found = values.iter().find(|(part, _)| name.contains(part));
    found.unwrap().1
}

/// Requests each path with each header over one connection, and checks what the application sees.
fn every_header_changes_nothing(program: Server) {
    let server = program.start();
    let gate = Gate::start(&routes(&server));
    let caller = gate.register("billing", "payments");
    let mut tried = 0;
    for host in ["tcp.example", "unix.example"] {
        for path in &PATHS {
            let mut stream = TcpStream::connect(gate.gateway).unwrap();
            for name in spellings() {
                let planted = format!("{name}: {}\r\n", value(&name));
                ask(&mut stream, &caller, host, path, &planted);
                tried += 1;
            }
            // Many headers at once.
            for some in spellings().chunks(60) {
                let planted = some
                    .iter()
                    .map(|name| format!("{name}: {}\r\n", value(name)));
                ask(
                    &mut stream,
                    &caller,
                    host,
                    path,
                    &planted.collect::<String>(),
                );
            }
        }
        // The request is not authenticated, and no header changes that.
        for name in spellings() {
            let fields = format!("{name}: {}\r\n", value(&name));
            let reply = crate::harness::get(gate.gateway, &format!("http://{host}/admin"), &fields);
            assert!(matches!(reply.status, 400 | 401), "{name}: {reply:?}");
        }
    }
    assert!(tried > 3000, "{tried}");
}

#[track_caller]
fn ask(stream: &mut TcpStream, caller: &Caller, host: &str, path: &Path, planted: &str) {
    let credential = if path.is_proved {
        caller.fields()
    } else {
        String::new()
    };
    let request = format!(
        "POST {}?q=1 HTTP/1.1\r\nHost: {host}\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n{credential}{planted}\r\n{BODY}",
        path.asked,
        BODY.len()
    );
    stream.write_all(request.as_bytes()).unwrap();
    let answer = read_message(stream).unwrap_or_else(|| panic!("no answer: {request}"));
    let reply = parse(answer.as_bytes());
    assert_eq!(reply.status, 200, "{request}\n{reply:?}");
    assert_taken(&reply.body, host, path, planted);
}

#[track_caller]
fn assert_taken(reported: &str, host: &str, path: &Path, planted: &str) {
    let reported: Value =
        serde_json::from_str(reported).unwrap_or_else(|_| panic!("{reported}: {planted}"));
    let expected = serde_json::json!({
        "page": path.page,
        "path": path.expected,
        "root": "",
        "method": "POST",
        "query": "q=1",
        "scheme": "http",
        "host": host,
        "user": "",
        "body": BODY,
    });
    assert_eq!(reported, expected, "{}: {planted}", path.asked);
}

#[test]
fn gunicorn_takes_no_request_for_another() {
    every_header_changes_nothing(Server::Gunicorn);
}

#[test]
fn uwsgi_takes_no_request_for_another() {
    every_header_changes_nothing(Server::Uwsgi);
}

#[test]
fn unicorn_takes_no_request_for_another() {
    every_header_changes_nothing(Server::Unicorn);
}

#[test]
fn puma_takes_no_request_for_another() {
    every_header_changes_nothing(Server::Puma);
}

/// Without these checks, the tests above prove nothing.
#[test]
fn servers_read_headers_as_variables_without_removal() {
    let reported = |server: &Running, path: &str, planted: &str| {
        let fields = format!("Content-Type: text/plain\r\n{planted}");
        let reply = crate::harness::send(server.address(), "POST", path, &fields, BODY);
        serde_json::from_str::<Value>(&reply.body).unwrap_or_else(|_| panic!("{reply:?}"))
    };
    let gunicorn = Server::Gunicorn.start();
    let plain = reported(&gunicorn, "/public/admin", "");
    assert_eq!(
        (&plain["page"], &plain["body"]),
        (&"page".into(), &BODY.into())
    );
    assert_eq!(
        reported(&gunicorn, "/public/admin", "SCRIPT_NAME: /public\r\n")["page"],
        "admin"
    );
    let uwsgi = Server::Uwsgi.start();
    assert_eq!(reported(&uwsgi, "/x", "")["body"], BODY);
    assert_eq!(reported(&uwsgi, "/x", "Content_Length: 3\r\n")["body"], "");
    assert_eq!(
        reported(&uwsgi, "/x", "Transfer_Encoding: chunked\r\n")["body"],
        ""
    );
}

/// HTTP/2 encodes headers differently.
#[test]
fn gunicorn_takes_no_request_of_http2_for_another() {
    let server = Server::Gunicorn.start();
    let gate = Gate::start(&routes(&server));
    let path = &PATHS[0];
    let mut fields = frames::request("POST", "unix.example", "/public/admin?q=1").to_vec();
    fields.push(("content-type", "text/plain"));
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let stream = tokio::net::TcpStream::connect(gate.gateway).await.unwrap();
        let (client, connection) = h2::client::handshake(stream).await.unwrap();
        tokio::spawn(connection);
        for name in spellings() {
            let name = name.to_ascii_lowercase();
            let request = http::Request::post("http://unix.example/public/admin?q=1")
                .header("content-type", "text/plain")
                .header(&*name, value(&name));
            let mut client = client.clone().ready().await.unwrap();
            let (answer, mut body) = client
                .send_request(request.body(()).unwrap(), false)
                .unwrap();
            body.send_data(BODY.into(), false).unwrap();
            let mut trailers = http::HeaderMap::new();
            let planted = http::HeaderName::from_bytes(name.as_bytes()).unwrap();
            trailers.insert(planted, value(&name).parse().unwrap());
            body.send_trailers(trailers).unwrap();
            let answer = answer.await.unwrap();
            assert_eq!(answer.status(), 200, "{name}");
            let mut rest = answer.into_body();
            let mut reported = Vec::new();
            while let Some(part) = rest.data().await {
                reported.extend_from_slice(&part.unwrap());
            }
            let reported = String::from_utf8(reported).unwrap();
            assert_taken(&reported, "unix.example", path, &name);
        }
    });
}
