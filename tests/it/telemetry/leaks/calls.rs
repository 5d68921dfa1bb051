//! Sends tokens to every place that a request can reach.

use std::io::Write;

use data_encoding::BASE64;
use realmgate::auth::{Algorithm, Parameters, Seed, Totp, UnixTime};
use serde_json::{Value, json};

use super::CANARY;
use crate::harness::{Gate, Reply, get, raw, send, stderr};

/// An identity with tokens of 8 digits, which do not occur by chance.
pub(super) struct Holder {
    pub(super) name: String,
    pub(super) realm: String,
    pub(super) seed: Seed,
}

impl Holder {
    pub(super) fn register(gate: &Gate, name: &str, realm: &str) -> Self {
        let output = gate.run(&[
            "identity", "create", "--name", name, "--realm", realm, "--digits", "8",
        ]);
        assert!(output.status.success(), "{}", stderr(&output));
        let created: Value = serde_json::from_slice(&output.stdout).unwrap();
        let seed = created["seed"].as_str().unwrap();
        // Shown once, on standard output only.
        assert!(!stderr(&output).contains(seed));
        Self {
            name: name.to_owned(),
            realm: realm.to_owned(),
            seed: Seed::from_base32(seed).unwrap(),
        }
    }

    pub(super) fn token(&self) -> String {
        let parameters = Parameters::new(Algorithm::Sha1, 8, 30).unwrap();
        Totp::new(&self.seed, parameters).token(UnixTime::from(std::time::SystemTime::now()))
    }

    pub(super) fn fields(&self, token: &str) -> String {
        format!(
            "X-Auth-Name: {}\r\nX-Auth-Realm: {}\r\nX-Auth-Token: {token}\r\n",
            self.name, self.realm
        )
    }

    pub(super) fn basic(&self, token: &str) -> String {
        let user = format!("{}@{}:{token}", self.name, self.realm);
        format!(
            "Authorization: Basic {}\r\n",
            BASE64.encode(user.as_bytes())
        )
    }
}

/// Sends tokens to every place that a request can reach, correct or not.
pub(super) fn call_everything(
    gate: &Gate,
    who: &Holder,
    admin: &Holder,
    verifier: &Holder,
    token: &str,
) -> Vec<Reply> {
    let json = "Content-Type: application/json\r\n";
    let form = "Content-Type: application/x-www-form-urlencoded\r\n";
    let fields = who.fields(token);
    let basic = who.basic(token);
    let mut replies = Vec::new();
    for fields in [
        &fields,
        &basic,
        &format!("{fields}{fields}"),
        &format!("{fields}{basic}"),
    ] {
        for path in ["/x", "/public/x", "/ops/x", "/a/../x"] {
            // A Basic credential that is not a token belongs to the application.
            let is_theirs = path == "/public/x" && token == CANARY && fields.contains("Basic");
            if !is_theirs {
                replies.push(get(gate.gateway, path, fields));
            }
        }
        replies.push(get(gate.gateway, "/x", &format!("{fields}bad header\r\n")));
        replies.push(get(
            gate.gateway,
            "/x",
            &format!("{fields}Content-Length: x\r\n"),
        ));
        let dead =
            format!("GET /x HTTP/1.1\r\nHost: dead.example\r\nConnection: close\r\n{fields}\r\n");
        replies.push(raw(gate.gateway, dead.as_bytes()));
        for path in [
            "/forward-auth",
            "/forward-auth/nginx",
            "/forward-auth/traefik",
            "/forward-auth/caddy",
            "/forward-auth/haproxy",
            "/forward-auth/envoy/x",
            "/ungleichotp/",
            "/ungleichotp/1/",
            "/ungleichotp/verify/",
            "/healthz",
            "/readyz",
            "/nothing",
        ] {
            for method in ["GET", "POST", "DELETE", "OPTIONS", "BREW"] {
                replies.push(send(gate.service, method, path, fields, ""));
            }
        }
        for path in ["/healthz", "/readyz", "/metrics", "/nothing"] {
            for method in ["GET", "POST", "DELETE", "OPTIONS", "BREW"] {
                replies.push(send(gate.metrics(), method, path, fields, ""));
            }
        }
        let described = format!("{fields}X-Original-Method: GET\r\nX-Original-URL: http://a/x\r\n");
        replies.push(get(gate.service, "/forward-auth/nginx", &described));
    }
    // Places where nobody should send a token.
    for path in [
        "/ungleichotp/?token=T",
        "/forward-auth?token=T",
        "/T",
        "/ungleichotp/T/",
    ] {
        replies.push(get(gate.service, &path.replace('T', token), &fields));
    }
    get(gate.gateway, &format!("/x?token={token}"), &fields);
    get(gate.gateway, &format!("/a//{token}"), &fields);
    for (kind, body) in [
        (json, json!({"auth_name": who.name, "auth_realm": who.realm, "auth_token": token}).to_string()),
        (json, json!({
            "auth_name": verifier.name, "auth_realm": verifier.realm, "auth_token": verifier.token(),
            "name": who.name, "realm": who.realm, "token": token,
        }).to_string()),
        (json, json!({"name": who.name, "realm": who.realm, "token": token, "verifytoken": token}).to_string()),
        (json, format!("{{\"auth_token\": \"{token}\", oops")),
        (json, format!("{{\"auth_token\": {token}, \"name\": [\"{token}\"]}}")),
        (form, format!("auth_name={}&auth_realm={}&auth_token={token}", who.name, who.realm)),
        ("Content-Type: multipart/form-data; boundary=b\r\n", format!("--b\r\nContent-Disposition: form-data; name=auth_token\r\n\r\n{token}\r\n--b--\r\n")),
        ("Content-Type: multipart/form-data; boundary=b\r\n", format!("--b\r\nContent-Disposition: {token}")),
        ("Content-Type: text/plain\r\n", token.to_owned()),
    ] {
        for path in ["/ungleichotp/verify/", "/ungleichotp/"] {
            replies.push(send(gate.service, "POST", path, kind, &body));
        }
        let fields = format!("{kind}{}", admin.fields(&admin.token()));
        replies.push(send(gate.service, "PUT", "/ungleichotp/1/", &fields, &body));
    }
    for broken in [
        format!("GET /x HTTP/1.1\nX-Auth-Token: {token}\n\n"),
        format!("GET /x HTTP/9.9\r\nX-Auth-Token: {token}\r\n\r\n"),
        format!("GET /x HTTP/1.1\r\nHost: a b\r\nX-Auth-Token: {token}\r\n\r\n"),
        format!("GET /x HTTP/1.1\r\nHost: a\r\nX-Auth-Token: {token}\r\nX: \0\r\n\r\n"),
        format!(
            "GET /x HTTP/1.1\r\nHost: a\r\nX-Auth-Token: {token}{}\r\n\r\n",
            "x".repeat(70_000)
        ),
        format!("{token} {token}\r\n\r\n"),
    ] {
        replies.extend(try_raw(gate, broken.as_bytes()));
    }
    replies
}

/// Sends bytes that may or may not get a response.
pub(super) fn try_raw(gate: &Gate, request: &[u8]) -> Vec<Reply> {
    let mut replies = Vec::new();
    for address in [gate.gateway, gate.service] {
        let mut stream = std::net::TcpStream::connect(address).unwrap();
        stream
            .set_read_timeout(Some(crate::harness::PATIENCE))
            .unwrap();
        let _ = stream.write_all(request);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let mut bytes = Vec::new();
        let _ = std::io::Read::read_to_end(&mut stream, &mut bytes);
        if bytes.windows(4).any(|it| it == b"\r\n\r\n") {
            replies.push(crate::harness::parse(&bytes));
        }
    }
    replies
}

pub(super) fn over_http2(gate: &Gate, fields: &str) {
    let mut curl = std::process::Command::new("curl");
    curl.args(["-s", "--http2-prior-knowledge", "-o", "/dev/null"]);
    for field in fields.trim_end().split("\r\n") {
        curl.args(["-H", field]);
    }
    curl.arg(format!("http://{}/x", gate.gateway));
    curl.output().unwrap();
}
