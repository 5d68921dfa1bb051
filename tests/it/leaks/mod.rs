//! A secret has one way in and none out: seeds and tokens go through everything, and stay in nothing.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Output, Stdio};

use data_encoding::{BASE32_NOPAD, BASE64, BASE64URL, HEXLOWER, HEXUPPER};
use realmgate::auth::{Algorithm, Parameters, Seed, Totp, UnixTime};
use serde_json::{Value, json};

use crate::harness::{
    Gate, Reply, Upstream, get, raw, realmgate, routes, send, stderr, stdout, until,
};
use crate::oracle;
use crate::traces::collector;

/// A token that nobody makes, so that it is found nowhere by chance.
const CANARY: &str = "CANARY7Zq";

/// Every form in which bytes could stand in a text: as they are, in base32, base64, hex, percent
/// encoding, and as a list of numbers.
fn forms(secret: &[u8]) -> Vec<Vec<u8>> {
    let percent = |hex: String| -> String {
        let pairs = hex.as_bytes().chunks(2);
        pairs
            .map(|pair| format!("%{}", str::from_utf8(pair).unwrap()))
            .collect()
    };
    let mut texts = vec![
        BASE32_NOPAD.encode(secret),
        BASE32_NOPAD.encode(secret).to_lowercase(),
        HEXLOWER.encode(secret),
        HEXUPPER.encode(secret),
        percent(HEXLOWER.encode(secret)),
        percent(HEXUPPER.encode(secret)),
        format!("{secret:?}").trim_matches(['[', ']']).to_owned(),
    ];
    // Wherever it begins in what is encoded.
    for before in 0..3 {
        let shifted = [&vec![0; before][..], secret].concat();
        for encoded in [BASE64.encode(&shifted), BASE64URL.encode(&shifted)] {
            let whole = encoded.trim_end_matches('=');
            texts.push(
                whole
                    .get((before * 4).div_ceil(3)..whole.len() - 1)
                    .unwrap()
                    .to_owned(),
            );
        }
    }
    let mut forms: Vec<_> = texts.into_iter().map(String::into_bytes).collect();
    forms.push(secret.to_vec());
    forms
}

/// What must not be found.
struct Secrets {
    forms: Vec<Vec<u8>>,
    /// Tokens are short: they count where no other digit stands beside them.
    tokens: Vec<String>,
}

impl Secrets {
    fn assert_not_in(&self, place: &str, bytes: &[u8]) {
        let text = String::from_utf8_lossy(bytes);
        for form in &self.forms {
            let at = bytes.windows(form.len()).position(|it| it == form);
            assert!(
                at.is_none(),
                "{place} holds {:?}: {text}",
                String::from_utf8_lossy(form)
            );
        }
        for token in &self.tokens {
            let is_digit = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_digit);
            let found = bytes.windows(token.len()).enumerate().any(|(at, it)| {
                it == token.as_bytes()
                    && !is_digit(at.checked_sub(1).and_then(|at| bytes.get(at)))
                    && !is_digit(bytes.get(at + token.len()))
            });
            assert!(!found, "{place} holds the token {token}: {text}");
        }
    }

    fn assert_not_said(&self, what: &str, output: &Output) {
        self.assert_not_in(&format!("standard output of {what}"), &output.stdout);
        self.assert_not_in(&format!("standard error of {what}"), &output.stderr);
    }
}

/// Somebody whose tokens have 8 digits, which are found nowhere by chance.
struct Holder {
    name: String,
    realm: String,
    seed: Seed,
}

impl Holder {
    fn register(gate: &Gate, name: &str, realm: &str) -> Self {
        let output = gate.run(&[
            "identity", "create", "--name", name, "--realm", realm, "--digits", "8",
        ]);
        assert!(output.status.success(), "{}", stderr(&output));
        let created: Value = serde_json::from_slice(&output.stdout).unwrap();
        let seed = created["seed"].as_str().unwrap();
        // Shown once, on standard output and nowhere else.
        assert!(!stderr(&output).contains(seed));
        Self {
            name: name.to_owned(),
            realm: realm.to_owned(),
            seed: Seed::from_base32(seed).unwrap(),
        }
    }

    fn token(&self) -> String {
        let parameters = Parameters::new(Algorithm::Sha1, 8, 30).unwrap();
        Totp::new(&self.seed, parameters).token(UnixTime::from(std::time::SystemTime::now()))
    }

    fn fields(&self, token: &str) -> String {
        format!(
            "X-Auth-Name: {}\r\nX-Auth-Realm: {}\r\nX-Auth-Token: {token}\r\n",
            self.name, self.realm
        )
    }

    fn basic(&self, token: &str) -> String {
        let user = format!("{}@{}:{token}", self.name, self.realm);
        format!(
            "Authorization: Basic {}\r\n",
            BASE64.encode(user.as_bytes())
        )
    }
}

fn configuration(format: &str, upstream: &Upstream, collector: &str, folder: &Path) -> String {
    format!(
        "h2c = true\n[grpc]\nlisten = \"127.0.0.1:0\"\n\
         [log]\nfilter = \"trace\"\nformat = \"{format}\"\naccess = \"all\"\naccess_file = \"{}\"\n\
         [otlp]\nendpoint = \"{collector}\"\n\
         [audit]\nfile = \"{}\"\ndenials_per_second = 100000\n\
         [throttle]\nfailures = 1000\nsource_failures = 100000\n\
         [realm.once]\nreuse = \"once\"\n\
         [[route]]\nname = \"dead\"\nhost = \"dead.example\"\nallow = \"authenticated\"\n\
         upstream = \"dead\"\n{}\n[upstream.dead]\npeers = [\"127.0.0.1:1\"]\n",
        folder.join("access").display(),
        folder.join("audit.jsonl").display(),
        routes(upstream.address)
    )
}

/// Sends tokens to every place that a request can reach, where they belong and where they do not.
fn call_everything(
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
            // What is Basic and no token is the application's.
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
            "/metrics",
            "/nothing",
        ] {
            for method in ["GET", "POST", "DELETE", "OPTIONS", "BREW"] {
                replies.push(send(gate.service, method, path, fields, ""));
            }
        }
        let described = format!("{fields}X-Original-Method: GET\r\nX-Original-URL: http://a/x\r\n");
        replies.push(get(gate.service, "/forward-auth/nginx", &described));
    }
    // Where nobody should write one.
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

/// Sends what may be answered or not.
fn try_raw(gate: &Gate, request: &[u8]) -> Vec<Reply> {
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

fn over_http2(gate: &Gate, fields: &str) {
    let mut curl = std::process::Command::new("curl");
    curl.args(["-s", "--http2-prior-knowledge", "-o", "/dev/null"]);
    for field in fields.trim_end().split("\r\n") {
        curl.args(["-H", field]);
    }
    curl.arg(format!("http://{}/x", gate.gateway));
    curl.output().unwrap();
}

/// Takes the paths out of an access log, which are the client's.
fn without_paths(log: &str) -> Vec<u8> {
    let lines = log.lines().map(|line| {
        let (before, rest) = ["\"path\":\"", " path=\""]
            .iter()
            .find_map(|key| line.split_once(key))
            .unwrap();
        let (_, after) = [",\"status\"", " status="]
            .iter()
            .find_map(|key| rest.split_once(key))
            .unwrap();
        [before, after, "\n"].concat().into_bytes()
    });
    let rest: Vec<_> = lines.flatten().collect();
    assert!(rest.len() > 10_000, "{log}");
    rest
}

fn go_through(format: &str) {
    let upstream = Upstream::start();
    let audit = tempfile::tempdir().unwrap();
    let (collector, _runtime, endpoint) = collector();
    let gate = Gate::start(&configuration(format, &upstream, &endpoint, audit.path()));
    let who = Holder::register(&gate, "billing", "payments");
    let once = Holder::register(&gate, "single", "once");
    let admin = Holder::register(&gate, "admin", "ungleich-admin");
    let verifier = Holder::register(&gate, "checker", "ungleich-auth");
    let mut secrets = Secrets {
        forms: forms(CANARY.as_bytes()),
        tokens: vec![],
    };
    for holder in [&who, &once, &admin, &verifier] {
        secrets.forms.extend(forms(holder.seed.as_bytes()));
        secrets.tokens.push(holder.token());
    }

    let mut replies = Vec::new();
    for token in [CANARY, &*who.token()] {
        replies.extend(call_everything(&gate, &who, &admin, &verifier, token));
        over_http2(&gate, &who.fields(token));
        let _ = oracle::check(&gate, &oracle::question(&who.name, &who.realm, token));
    }
    replies.push(get(gate.gateway, "/x", &once.fields(&once.token())));
    replies.push(get(gate.gateway, "/x", &once.fields(&once.token())));
    let path = "/ungleichotp/";
    replies.push(get(gate.service, path, &admin.fields(&admin.token())));
    for holder in [&who, &once, &admin, &verifier] {
        secrets.tokens.push(holder.token());
    }
    assert!(replies.iter().any(|it| it.status == 200));
    for reply in &replies {
        secrets.assert_not_in(
            "an answer",
            format!("{}\n{}", reply.head, reply.body).as_bytes(),
        );
    }
    // A path and a query are the client's: those go on as they are.
    for seen in upstream.seen() {
        let (line, rest) = seen.split_once("\r\n").unwrap();
        secrets.assert_not_in(
            &format!("what the upstream got after {line:?}"),
            rest.as_bytes(),
        );
    }

    for command in [
        &["identity", "list"][..],
        &[
            "identity", "show", "--name", "billing", "--realm", "payments",
        ],
        &[
            "identity",
            "set",
            "--name",
            "billing",
            "--realm",
            "payments",
            "--comment",
            "x",
        ],
        &[
            "identity", "disable", "--name", "billing", "--realm", "payments",
        ],
        &[
            "identity", "enable", "--name", "billing", "--realm", "payments",
        ],
        &[
            "identity",
            "unthrottle",
            "--name",
            "billing",
            "--realm",
            "payments",
        ],
        &[
            "identity", "create", "--name", "billing", "--realm", "payments",
        ],
        &[
            "identity", "rotate", "--name", "single", "--realm", "once", "--grace", "1h",
        ],
        &["identity", "delete", "--name", "single", "--realm", "once"],
        &["check"],
    ] {
        secrets.assert_not_said(&command.join(" "), &gate.run(command));
    }

    until("what was used is saved", || {
        let output = gate.run(&[
            "identity", "show", "--name", "billing", "--realm", "payments",
        ]);
        stdout(&output).contains("last_used")
    });
    let metrics = get(gate.service, "/metrics", "").body;
    assert!(metrics.contains("wrong_token"), "{metrics}");
    secrets.assert_not_in("/metrics", metrics.as_bytes());
    let pid = gate.pid();
    for file in ["cmdline", "environ", "status", "comm"] {
        let bytes = fs::read(format!("/proc/{pid}/{file}")).unwrap();
        secrets.assert_not_in(&format!("/proc/{pid}/{file}"), &bytes);
    }
    gate.signal("HUP");
    until("reloaded", || gate.log().contains("reload"));
    gate.signal("TERM");
    until("ended", || {
        !Path::new(&format!("/proc/{pid}/exe")).exists() || gate.log().contains("stopped")
    });

    assert!(collector.spans().len() > 100, "{:?}", collector.spans());
    for mut span in collector.spans() {
        // The path is the client's, here as in the access log.
        span.attributes.retain(|it| it.key != "url.path");
        secrets.assert_not_in("a span", format!("{span:?}").as_bytes());
    }
    let log = gate.log();
    for word in ["wrong_token", "TRACE"] {
        assert!(log.contains(word), "{word}: {log}");
    }
    // The log, the database with its journal, the ready file, the audit log. The configuration is the
    // user's.
    let mut files = Vec::new();
    for folder in [gate.config().parent().unwrap(), audit.path()] {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let mut bytes = fs::read(&path).unwrap();
            if path.ends_with("access") {
                bytes = without_paths(&String::from_utf8(bytes).unwrap());
            }
            secrets.assert_not_in(&path.display().to_string(), &bytes);
            files.push(path.file_name().unwrap().to_owned());
        }
    }
    for file in ["log", "ready.json", "realmgate.db", "audit.jsonl", "access"] {
        assert!(files.iter().any(|it| it == file), "{file}: {files:?}");
    }
    let audit = fs::read_to_string(audit.path().join("audit.jsonl")).unwrap();
    for event in ["denied", "identity_rotated"] {
        assert!(audit.contains(event), "{event}: {audit}");
    }
}

#[test]
fn no_secret_stays_in_anything_a_server_writes_for_people() {
    go_through("human");
}

#[test]
fn no_secret_stays_in_anything_a_server_writes_as_json() {
    go_through("json");
}

#[test]
fn no_command_says_what_it_was_given_in_secret() {
    let secret = "CANARYCANARYCANARY7Z";
    let secrets = Secrets {
        forms: forms(secret.as_bytes()),
        tokens: vec![],
    };
    let caller = [
        "--server-url",
        "http://127.0.0.1:1",
        "--auth-name",
        "a",
        "--auth-realm",
        "r",
    ];
    let database = format!("postgres://otp:{secret}@127.0.0.1:1/otp");
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("realmgate.toml");
    fs::write(&config, crate::harness::configuration(folder.path(), "")).unwrap();
    let config = ["--config", config.to_str().unwrap()];
    for (args, environment) in [
        (
            [&["token", "--seed", secret][..], &["--nonsense"]].concat(),
            None,
        ),
        (vec!["token", "--seed", "CANARYCANARYCANARY7Z81"], None),
        (
            vec!["token"],
            Some(("REALMGATE_SEED", "CANARYCANARYCANARY7Z81")),
        ),
        (
            [&["client", "list"], &caller[..], &["--auth-seed", secret]].concat(),
            None,
        ),
        (
            [&["client", "list"], &caller[..], &["--auth-token", secret]].concat(),
            None,
        ),
        (
            [&["client", "list"], &caller[..]].concat(),
            Some(("UNGLEICHOTPSEED", secret)),
        ),
        (
            [
                &["client", "verify", "--name", "n", "--realm", "r"],
                &caller[..],
                &["--auth-seed", secret, "--token", secret],
            ]
            .concat(),
            None,
        ),
        (vec!["import", "django", &*database], None),
        (
            [
                &["import", "django", "postgres://otp@127.0.0.1:1/otp"],
                &config[..],
            ]
            .concat(),
            Some(("PGPASSWORD", secret)),
        ),
        (vec!["serve"], Some(("REALMGATE_STORE_URL", &*database))),
        (vec!["serve"], Some(("REALMGATE_STORE_KEY", secret))),
    ] {
        let mut command = realmgate(&args);
        command.current_dir(folder.path()).stdin(Stdio::null());
        if let Some((name, value)) = environment {
            command.env(name, value);
        }
        let output = command.output().unwrap();
        assert!(!output.status.success(), "{args:?}");
        assert!(!stderr(&output).is_empty(), "{args:?}");
        secrets.assert_not_said(&format!("{args:?}"), &output);
    }
}

#[test]
fn no_mistake_in_a_configuration_shows_a_secret() {
    let secret = "CANARYCANARYCANARY7Z";
    let secrets = Secrets {
        forms: forms(secret.as_bytes()),
        tokens: vec![],
    };
    let route = |line: &str| {
        format!(
            "[[route]]\nname = \"a\"\nallow = \"anyone\"\nupstream = \"a\"\n{line}\n\
             [upstream.a]\npeers = [\"127.0.0.1:1\"]\n"
        )
    };
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("key.pem");
    fs::write(&key, secret).unwrap();
    for text in [
        format!("[store]\nurl = \"postgres://u:{secret}@h/db\"\n"),
        format!("[store]\nurl = [\"postgres://u:{secret}@h/db\"]\n"),
        format!("[store]\nurl = \"postgres://u:{secret}@h/db\n"),
        format!("[store]\nurl = postgres://u:{secret}@h/db\n"),
        format!("[store]\nkey_file = \"{}\"\n", key.display()),
        format!(
            "[[certificate]]\ncert = \"{0}\"\nkey = \"{0}\"\n",
            key.display()
        ),
        route(&format!("request_headers = \"Bearer {secret}\"")),
        route(&format!(
            "request_headers = {{ set = \"Bearer {secret}\" }}"
        )),
        route(&format!(
            "request_headers = {{ set = [\"Bearer {secret}\"] }}"
        )),
        route(&format!(
            "request_headers = {{ set = {{ \"X-Key\" = [\"{secret}\"] }} }}"
        )),
        route(&format!(
            "request_headers = {{ set = {{ \"X-Key\" = \"{secret}\\n\" }} }}"
        )),
        route(&format!(
            "request_headers = {{ sets = {{ \"X-Key\" = \"{secret}\" }} }}"
        )),
        route(&format!(
            "request_headers = {{ set = {{ \"Host\" = \"{secret}\" }} }}"
        )),
        route(&format!(
            "request_headers = {{ set = {{ \"X-Key\" = \"{secret} }} }}"
        )),
    ] {
        let config = folder.path().join("realmgate.toml");
        fs::write(&config, &text).unwrap();
        for command in ["check", "serve"] {
            let mut command = realmgate(&[command, "--config"]);
            let output = command
                .arg(&config)
                .current_dir(folder.path())
                .output()
                .unwrap();
            if output.status.success() {
                // Whether the key file can be used is seen when it is.
                continue;
            }
            assert!(!stderr(&output).is_empty());
            secrets.assert_not_said(&text, &output);
        }
    }
}
