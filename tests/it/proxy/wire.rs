//! What is sent to confuse: two readings of one message, and what is left of it at the upstream.

use crate::harness::{Gate, parse, raw};
use crate::tape::Tape;

#[test]
fn probe() {
    for (name, request) in CASES {
        let tape = Tape::start();
        let gate = Gate::start(&tape.routes());
        let mut stream = std::net::TcpStream::connect(gate.gateway).unwrap();
        stream
            .set_read_timeout(Some(std::time::Duration::from_millis(700)))
            .unwrap();
        std::io::Write::write_all(&mut stream, request.as_bytes()).unwrap();
        let mut bytes = Vec::new();
        let end = std::io::Read::read_to_end(&mut stream, &mut bytes);
        eprintln!(
            "== {name}\n-- client ({end:?})\n{}\n-- upstream\n{}",
            String::from_utf8_lossy(&bytes),
            tape.heard()
        );
        let _ = (parse, raw);
    }
}

const CASES: &[(&str, &str)] = &[
    (
        "cl+te",
        "POST /public HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /ops HTTP/1.1\r\nHost: a\r\n\r\n",
    ),
    (
        "te 1.0",
        "POST /public HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    (
        "two cl",
        "POST /public HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    ),
    (
        "two cl same",
        "POST /public HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nab",
    ),
    (
        "list cl same",
        "POST /public HTTP/1.1\r\nHost: a\r\nContent-Length: 2, 2\r\n\r\nab",
    ),
    (
        "signed cl",
        "POST /public HTTP/1.1\r\nHost: a\r\nContent-Length: +2\r\n\r\nab",
    ),
    (
        "hex cl",
        "POST /public HTTP/1.1\r\nHost: a\r\nContent-Length: 0x2\r\n\r\nab",
    ),
    (
        "huge cl",
        "POST /public HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999999\r\n\r\nab",
    ),
    (
        "te gzip",
        "POST /public HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\nab",
    ),
    (
        "te chunked, gzip",
        "POST /public HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
    ),
    (
        "te gzip, chunked",
        "POST /public HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    ),
    (
        "te xchunked",
        "POST /public HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    ),
    (
        "te twice",
        "POST /public HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    (
        "te identity twice",
        "POST /public HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    (
        "te \\t",
        "POST /public HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\tchunked\r\n\r\n0\r\n\r\n",
    ),
    (
        "te _",
        "POST /public HTTP/1.1\r\nHost: a\r\nTransfer_Encoding: chunked\r\nContent-Length: 2\r\n\r\nab",
    ),
    (
        "obs-fold",
        "GET /public HTTP/1.1\r\nHost: a\r\nX: a\r\n b\r\n\r\n",
    ),
    (
        "fold te",
        "POST /public HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
    ),
    (
        "space colon",
        "GET /public HTTP/1.1\r\nHost: a\r\nX : a\r\n\r\n",
    ),
    ("space first", "GET /public HTTP/1.1\r\n Host: a\r\n\r\n"),
    ("bare lf", "GET /public HTTP/1.1\nHost: a\n\n"),
    (
        "bare lf one",
        "GET /public HTTP/1.1\r\nHost: a\r\nX: y\nX-Auth-Name: root\r\n\r\n",
    ),
    ("nul", "GET /public HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n"),
    ("nul path", "GET /public\0 HTTP/1.1\r\nHost: a\r\n\r\n"),
    (
        "bare cr",
        "GET /public HTTP/1.1\r\nHost: a\r\nX: a\rX-Auth-Name: root\r\n\r\n",
    ),
    (
        "chunk ext",
        "POST /public HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2;x=y\r\nab\r\n0\r\n\r\n",
    ),
    (
        "chunk ext lf",
        "POST /public HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2;x\nab\r\n0\r\n\r\n",
    ),
    (
        "chunk big",
        "POST /public HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n10000000000000002\r\nab\r\n0\r\n\r\n",
    ),
    (
        "chunk neg",
        "POST /public HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n-2\r\nab\r\n0\r\n\r\n",
    ),
    (
        "chunk 0x",
        "POST /public HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0x2\r\nab\r\n0\r\n\r\n",
    ),
    (
        "chunk no crlf",
        "POST /public HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nabX0\r\n\r\n",
    ),
    (
        "chunk lf",
        "POST /public HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\nab\n0\n\n",
    ),
    (
        "trailers",
        "POST /public HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTrailer: X-Auth-Name\r\n\r\n2\r\nab\r\n0\r\nX-Auth-Name: root\r\n\r\n",
    ),
    (
        "absolute other",
        "GET http://evil/public HTTP/1.1\r\nHost: a\r\n\r\n",
    ),
    (
        "absolute user",
        "GET http://u@a/public HTTP/1.1\r\nHost: a\r\n\r\n",
    ),
    ("no host", "GET /public HTTP/1.1\r\n\r\n"),
    (
        "two hosts",
        "GET /public HTTP/1.1\r\nHost: a\r\nHost: admin.example\r\n\r\n",
    ),
    ("empty host", "GET /public HTTP/1.1\r\nHost:\r\n\r\n"),
    (
        "h2c",
        "GET /public HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n\r\n",
    ),
    (
        "upgrade ws piped",
        "GET /public HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nGET /ops HTTP/1.1\r\nHost: a\r\nX-Auth-Name: root\r\n\r\n",
    ),
    (
        "upgrade denied piped",
        "GET /ops HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nGET /ops/2 HTTP/1.1\r\nHost: a\r\nX-Auth-Name: root\r\n\r\n",
    ),
    (
        "pipelined",
        "GET /public HTTP/1.1\r\nHost: a\r\n\r\nGET /ops HTTP/1.1\r\nHost: a\r\n\r\nGET /public HTTP/1.1\r\nHost: a\r\n\r\n",
    ),
    ("connect", "CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n"),
    ("trace", "TRACE /public HTTP/1.1\r\nHost: a\r\n\r\n"),
    (
        "nominate",
        "GET /public HTTP/1.1\r\nHost: a\r\nConnection: X-Auth-Name, X-Forwarded-User, X-Request-Id, X-Forwarded-Prefix\r\n\r\n",
    ),
    (
        "nominate xff",
        "GET /public HTTP/1.1\r\nHost: a\r\nConnection: X-Forwarded-For\r\n\r\n",
    ),
    (
        "nominate many",
        "GET /public HTTP/1.1\r\nHost: a\r\nConnection: a,b,c,d,e,f,g,h,i,j,k\r\n\r\n",
    ),
    (
        "nominate cl",
        "POST /public HTTP/1.1\r\nHost: a\r\nConnection: Content-Length\r\nContent-Length: 2\r\n\r\nab",
    ),
    (
        "nominate te",
        "POST /public HTTP/1.1\r\nHost: a\r\nConnection: Transfer-Encoding\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n",
    ),
    (
        "get body",
        "GET /public HTTP/1.1\r\nHost: a\r\nContent-Length: 34\r\n\r\nGET /ops HTTP/1.1\r\nX-Auth-Name: r\r\n\r\n",
    ),
    ("http 2.0", "GET /public HTTP/2.0\r\nHost: a\r\n\r\n"),
    ("http 0.9", "GET /public\r\n\r\n"),
    ("http 1.2", "GET /public HTTP/1.2\r\nHost: a\r\n\r\n"),
    ("spaces", "GET  /public  HTTP/1.1\r\nHost: a\r\n\r\n"),
    (
        "space in path",
        "GET /public /ops HTTP/1.1\r\nHost: a\r\n\r\n",
    ),
    ("tab in line", "GET\t/public HTTP/1.1\r\nHost: a\r\n\r\n"),
    (
        "proxy conn",
        "GET /public HTTP/1.1\r\nHost: a\r\nProxy-Connection: keep-alive\r\nKeep-Alive: 300\r\nTE: trailers\r\nProxy-Authorization: Basic x\r\n\r\n",
    ),
    (
        "expect",
        "POST /public HTTP/1.1\r\nHost: a\r\nExpect: 200-ok\r\nContent-Length: 2\r\n\r\nab",
    ),
    ("host comma", "GET /public HTTP/1.1\r\nHost: a, b\r\n\r\n"),
    ("preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
];
