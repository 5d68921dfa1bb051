//! Ambiguous messages: two readings of one message, and what the upstream receives.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;

use crate::harness::tape::Tape;
use crate::harness::{Gate, PATIENCE};

/// A further request on the same connection, if it stays open.
const NEXT: &str = "GET /public/next HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";

/// Sends a request, and the next one if the connection stays open. Returns the statuses of all
/// responses, and what the upstream received of the first, with `|` for line ends and without the
/// headers that realmgate sets.
fn outcome(request: &str) -> (Vec<String>, String) {
    let tape = Tape::start();
    let gate = Gate::start(&tape.routes());
    let mut stream = TcpStream::connect(gate.gateway).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answers = Vec::new();
    let mut buffer = [0; 4096];
    let mut is_asked = false;
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => answers.extend(&buffer[..read]),
            // The server closes with unread bytes.
            Err(error) if error.kind() == ErrorKind::ConnectionReset => break,
            Err(error) => panic!("{error}: {request:?}"),
        }
        // Each response ends with a line of text or the two letters of the tape.
        let is_whole = answers.ends_with(b"ok") || answers.ends_with(b"\n");
        let text = String::from_utf8_lossy(&answers);
        if is_whole && !is_asked && !text.to_lowercase().contains("connection: close") {
            is_asked = true;
            // If it has been closed, the responses show it.
            let _ = stream.write_all(NEXT.as_bytes());
        }
    }
    let answers = String::from_utf8_lossy(&answers).into_owned();
    let statuses = answers.split("HTTP/1.1 ").skip(1);
    let statuses = statuses.filter_map(|answer| answer.split(' ').next());
    let statuses = statuses.map(ToOwned::to_owned).collect();
    let heard = tape.heard();
    let heard = heard.split("GET /public/next").next().unwrap();
    let stamped = ["x-forwarded", "x-request", "via: "];
    let is_stamped = |line: &&str| stamped.iter().any(|it| line.starts_with(it));
    let lines: Vec<&str> = heard.split("\r\n").filter(|it| !is_stamped(it)).collect();
    (statuses, lines.join("|"))
}

#[test]
fn confusing_request_is_rejected_or_has_one_reading() {
    let mut others = Vec::new();
    for (request, statuses, heard) in CASES {
        let outcome = outcome(request);
        // A rejection may come before or after the header is forwarded, but the body is never
        // forwarded.
        let is_as_expected = outcome.1 == *heard
            || heard
                .strip_suffix('?')
                .is_some_and(|heard| heard.starts_with(&outcome.1));
        if outcome.0.join(" ") != *statuses || !is_as_expected {
            others.push(format!("{request:?}: {outcome:?}"));
        }
    }
    assert!(others.is_empty(), "{}", others.join("\n"));
}

/// A request, the statuses of the responses to it and to the next one, if there is one, and what
/// the upstream receives; with a `?`, at most that.
const CASES: &[(&str, &str, &str)] = &[
    (
        "POST /public HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /ops HTTP/1.1\r\nHost: a\r\n\r\n",
        "200",
        "POST /public HTTP/1.1|Host: a|Transfer-Encoding: chunked||0||",
    ),
    (
        "POST /public HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "400",
        "",
    ),
    (
        "POST /public HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        "400",
        "",
    ),
    (
        "POST /public HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nab",
        "400",
        "",
    ),
    (
        "POST /public HTTP/1.1\r\nHost: a\r\nContent-Length: 2, 2\r\n\r\nab",
        "400",
        "",
    ),
    (
        "POST /public HTTP/1.1\r\nHost: a\r\nContent-Length: +2\r\n\r\nab",
        "400",
        "",
    ),
    (
        "POST /public HTTP/1.1\r\nHost: a\r\nContent-Length: 0x2\r\n\r\nab",
        "400",
        "",
    ),
    (
        "POST /public HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999999\r\n\r\nab",
        "400",
        "",
    ),
    (
        "POST /public HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\nab",
        "501",
        "",
    ),
    (
        "POST /public HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
        "400",
        "",
    ),
    (
        "POST /public HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "501",
        "",
    ),
    (
        "POST /public HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        "501",
        "",
    ),
    (
        "POST /public HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "400",
        "",
    ),
    (
        "POST /public HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "400",
        "",
    ),
    (
        "POST /public HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\tchunked\r\n\r\n0\r\n\r\n",
        "200 200",
        "POST /public HTTP/1.1|Host: a|Transfer-Encoding: chunked||0||",
    ),
    (
        "POST /public HTTP/1.1\r\nHost: a\r\nTransfer_Encoding: chunked\r\nContent-Length: 2\r\n\r\nab",
        "200 200",
        "POST /public HTTP/1.1|Host: a|Content-Length: 2||ab",
    ),
    (
        "GET /public HTTP/1.1\r\nHost: a\r\nX: a\r\n b\r\n\r\n",
        "400",
        "",
    ),
    (
        "POST /public HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
        "400",
        "",
    ),
    (
        "GET /public HTTP/1.1\r\nHost: a\r\nX : a\r\n\r\n",
        "400",
        "",
    ),
    ("GET /public HTTP/1.1\r\n Host: a\r\n\r\n", "400", ""),
    ("GET /public HTTP/1.1\nHost: a\n\n", "400", ""),
    (
        "GET /public HTTP/1.1\r\nHost: a\r\nX: y\nX-Auth-Name: root\r\n\r\n",
        "400",
        "",
    ),
    (
        "GET /public HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n",
        "400",
        "",
    ),
    ("GET /public\0 HTTP/1.1\r\nHost: a\r\n\r\n", "400", ""),
    (
        "GET /public HTTP/1.1\r\nHost: a\r\nX: a\rX-Auth-Name: root\r\n\r\n",
        "400",
        "",
    ),
    (
        "POST /public HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2;x=y\r\nab\r\n0\r\n\r\n",
        "200 200",
        "POST /public HTTP/1.1|Host: a|Transfer-Encoding: chunked||2|ab|0||",
    ),
    (
        "POST /public HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2;x\nab\r\n0\r\n\r\n",
        "400",
        "POST /public HTTP/1.1|Host: a|Transfer-Encoding: chunked||?",
    ),
    (
        "POST /public HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n10000000000000002\r\nab\r\n0\r\n\r\n",
        "400",
        "POST /public HTTP/1.1|Host: a|Transfer-Encoding: chunked||?",
    ),
    (
        "POST /public HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n-2\r\nab\r\n0\r\n\r\n",
        "400",
        "POST /public HTTP/1.1|Host: a|Transfer-Encoding: chunked||?",
    ),
    (
        "POST /public HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0x2\r\nab\r\n0\r\n\r\n",
        "400",
        "POST /public HTTP/1.1|Host: a|Transfer-Encoding: chunked||?",
    ),
    (
        "POST /public HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nabX0\r\n\r\n",
        "400",
        "POST /public HTTP/1.1|Host: a|Transfer-Encoding: chunked||?",
    ),
    (
        "POST /public HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\nab\n0\n\n",
        "400",
        "POST /public HTTP/1.1|Host: a|Transfer-Encoding: chunked||?",
    ),
    (
        "POST /public HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTrailer: X-Auth-Name\r\n\r\n2\r\nab\r\n0\r\nX-Auth-Name: root\r\n\r\n",
        "200 200",
        "POST /public HTTP/1.1|Host: a|Transfer-Encoding: chunked||2|ab|0||",
    ),
    (
        "GET http://evil/public HTTP/1.1\r\nHost: a\r\n\r\n",
        "400 200",
        "",
    ),
    (
        "GET http://u@a/public HTTP/1.1\r\nHost: a\r\n\r\n",
        "400 200",
        "",
    ),
    ("GET /public HTTP/1.1\r\n\r\n", "400 200", ""),
    (
        "GET /public HTTP/1.1\r\nHost: a\r\nHost: admin.example\r\n\r\n",
        "400 200",
        "",
    ),
    (
        "GET /public HTTP/1.1\r\nHost:\r\nHost: a\r\n\r\n",
        "400 200",
        "",
    ),
    (
        "GET /public HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n\r\n",
        "200 200",
        "GET /public HTTP/1.1|Host: a||",
    ),
    (
        "GET /public HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nGET /ops HTTP/1.1\r\nHost: a\r\nX-Auth-Name: root\r\n\r\n",
        "200 401 200",
        "GET /public HTTP/1.1|Host: a|Connection: Upgrade|upgrade: websocket||",
    ),
    (
        "GET /ops HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nGET /ops/2 HTTP/1.1\r\nHost: a\r\nX-Auth-Name: root\r\n\r\n",
        "401 401 200",
        "",
    ),
    (
        "GET /public HTTP/1.1\r\nHost: a\r\n\r\nGET /ops HTTP/1.1\r\nHost: a\r\n\r\nGET /public HTTP/1.1\r\nHost: a\r\n\r\n",
        "200 401 200 200",
        "GET /public HTTP/1.1|Host: a||GET /public HTTP/1.1|Host: a||",
    ),
    ("CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n", "405", ""),
    ("TRACE /public HTTP/1.1\r\nHost: a\r\n\r\n", "405 200", ""),
    (
        "GET /public HTTP/1.1\r\nHost: a\r\nConnection: X-Auth-Name, X-Forwarded-User, X-Request-Id, X-Forwarded-Prefix\r\n\r\n",
        "200 200",
        "GET /public HTTP/1.1|Host: a||",
    ),
    (
        "GET /public HTTP/1.1\r\nHost: a\r\nConnection: X-Forwarded-For\r\n\r\n",
        "400",
        "",
    ),
    (
        "GET /public HTTP/1.1\r\nHost: a\r\nConnection: a,b,c,d,e,f,g,h,i,j,k\r\n\r\n",
        "400",
        "",
    ),
    (
        "POST /public HTTP/1.1\r\nHost: a\r\nConnection: Content-Length\r\nContent-Length: 2\r\n\r\nab",
        "200 200",
        "POST /public HTTP/1.1|Host: a|Transfer-Encoding: chunked||2|ab|0||",
    ),
    (
        "POST /public HTTP/1.1\r\nHost: a\r\nConnection: Transfer-Encoding\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n",
        "200 200",
        "POST /public HTTP/1.1|Host: a|Transfer-Encoding: chunked||2|ab|0||",
    ),
    (
        "GET /public HTTP/1.1\r\nHost: a\r\nContent-Length: 37\r\n\r\nGET /ops HTTP/1.1\r\nX-Auth-Name: r\r\n\r\n",
        "200 200",
        "GET /public HTTP/1.1|Host: a|Content-Length: 37||GET /ops HTTP/1.1|X-Auth-Name: r||",
    ),
    ("GET /public HTTP/2.0\r\nHost: a\r\n\r\n", "505", ""),
    ("GET /public\r\n\r\n", "400", ""),
    (
        "GET /public HTTP/1.2\r\nHost: a\r\n\r\n",
        "200 200",
        "GET /public HTTP/1.1|Host: a||",
    ),
    ("GET  /public  HTTP/1.1\r\nHost: a\r\n\r\n", "400", ""),
    ("GET /public /ops HTTP/1.1\r\nHost: a\r\n\r\n", "400", ""),
    ("GET\t/public HTTP/1.1\r\nHost: a\r\n\r\n", "400", ""),
    (
        "GET /public HTTP/1.1\r\nHost: a\r\nProxy-Connection: keep-alive\r\nKeep-Alive: 300\r\nTE: trailers\r\nProxy-Authorization: Basic x\r\n\r\n",
        "200 200",
        "GET /public HTTP/1.1|Host: a||",
    ),
    (
        "POST /public HTTP/1.1\r\nHost: a\r\nExpect: 200-ok\r\nContent-Length: 2\r\n\r\nab",
        "417",
        "",
    ),
    ("GET /public HTTP/1.1\r\nHost: a, b\r\n\r\n", "400 200", ""),
    ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "505", ""),
];
