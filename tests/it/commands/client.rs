//! `realmgate client` with a running server, and with servers that misbehave.

use std::io::Write;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use serde_json::{Value, json};

use crate::harness::certificate::certificate;
use crate::harness::nginx::Nginx;
use crate::harness::port::Port;
use crate::harness::{Caller, Gate, read_message, realmgate, stderr, stdout};

fn client(args: &[&str]) -> Command {
    let mut command = realmgate(&["client"]);
    command.args(args);
    for name in ["NAME", "REALM", "SEED", "SERVER"] {
        command.env_remove(format!("UNGLEICHOTP{name}"));
    }
    command
}

/// Returns the options for the server and the caller.
fn as_caller(server: &str, caller: &Caller) -> Vec<String> {
    let pairs = [
        ("--server-url", server),
        ("--auth-name", &caller.name),
        ("--auth-realm", &caller.realm),
        ("--auth-seed", &caller.seed),
    ];
    let words = pairs.into_iter().flat_map(|(name, value)| [name, value]);
    words.map(str::to_owned).collect()
}

fn run(server: &str, caller: &Caller, args: &[&str]) -> Output {
    client(args)
        .args(as_caller(server, caller))
        .output()
        .unwrap()
}

fn parsed(output: &Output) -> Value {
    assert!(output.status.success(), "{}", stderr(output));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn url(gate: &Gate) -> String {
    format!("http://{}", gate.service)
}

#[track_caller]
fn fails(output: &Output, code: i32, message: &str) {
    let error = stderr(output);
    assert_eq!(output.status.code(), Some(code), "{error}");
    assert!(error.contains(message), "{error}");
    assert_eq!(stdout(output), "");
}

#[test]
fn admin_creates_lists_renames_and_deletes_by_name_and_realm() {
    let gate = Gate::start("");
    let admin = gate.register("admin", "ungleich-admin");
    let ask = |args: &[&str]| run(&url(&gate), &admin, &[args, &["--json"]].concat());
    let svc = ["--name", "svc", "--realm", "payments"];
    let created = parsed(&ask(&[&["create"], &svc[..]].concat()));
    assert_eq!(created["id"], 2);
    assert_eq!(created["seed"].as_str().unwrap().len(), 32);
    assert_eq!(
        parsed(&ask(&["list"])),
        json!([
            {"id": 1, "name": "admin", "realm": "ungleich-admin"},
            {"id": 2, "name": "svc", "realm": "payments"},
        ])
    );
    let renamed = ask(&[&["update"], &svc[..], &["--new-name", "svc2"]].concat());
    assert_eq!(
        parsed(&renamed),
        json!({"id": 2, "name": "svc2", "realm": "payments"})
    );
    fails(
        &ask(&[&["delete"], &svc[..]].concat()),
        1,
        "no identity svc@payments",
    );
    let deleted = ask(&["delete", "svc2@payments"]);
    assert_eq!(parsed(&deleted)["id"], 2);
    assert_eq!(parsed(&ask(&["list"])).as_array().unwrap().len(), 1);
}

#[test]
fn people_read_lines_instead_of_json() {
    let gate = Gate::start("");
    let admin = gate.register("admin", "ungleich-admin");
    let ask = |args: &[&str]| stdout(&run(&url(&gate), &admin, args));
    let created = ask(&["create", "--name", "n\u{1b}", "--realm", "r"]);
    let words: Vec<&str> = created.split_whitespace().collect();
    assert_eq!(words[..2], ["2", "n\\u{1b}@r"]);
    assert_eq!(words[2].len(), 32);
    assert_eq!(
        ask(&["list"]),
        "     1  admin@ungleich-admin\n     2  n\\u{1b}@r\n"
    );
}

#[test]
fn verify_takes_a_token_or_a_seed_and_any_order_of_options() {
    let gate = Gate::start("");
    let auth = gate.register("auth", "ungleich-auth");
    let user = gate.register("user", "payments");
    let server = format!("{}/ungleichotp/verify/", url(&gate));
    let token = user.token();
    let who = ["--name", "user", "--realm", "payments"];
    for proof in [["--token", &token], ["--seed", &user.seed]] {
        let mut after = vec!["verify"];
        after.extend(who.iter().chain(&proof));
        assert_eq!(stdout(&run(&server, &auth, &after)), "OK user@payments\n");
        let mut before = as_caller(&server, &auth);
        before.extend(proof.iter().chain(&who).map(|&word| word.to_owned()));
        before.push("verify".to_owned());
        let output = client(&[]).args(before).output().unwrap();
        assert!(output.status.success(), "{}", stderr(&output));
    }
}

#[test]
fn variables_of_the_old_client_stand_in_for_options() {
    let gate = Gate::start("");
    let auth = gate.register("auth", "ungleich-auth");
    let user = gate.register("user", "payments");
    let token = user.token();
    let args = [
        "verify", "--name", "user", "--realm", "payments", "--token", &token,
    ];
    let with_variables = |seed: &str, more: &[&str]| {
        client(&args)
            .args(more)
            .env("UNGLEICHOTPSERVER", url(&gate))
            .env("UNGLEICHOTPNAME", &auth.name)
            .env("UNGLEICHOTPREALM", &auth.realm)
            .env("UNGLEICHOTPSEED", seed)
            .output()
            .unwrap()
    };
    assert!(with_variables(&auth.seed, &[]).status.success());
    assert!(
        with_variables(&user.seed, &["--auth-token", &auth.token()])
            .status
            .success()
    );
    assert!(
        with_variables("!", &["--auth-seed", &auth.seed])
            .status
            .success()
    );
    fails(
        &with_variables("!", &[]),
        2,
        "UNGLEICHOTPSEED is not a seed",
    );
    fails(
        &with_variables(&user.seed, &[]),
        1,
        "the caller auth@ungleich-auth",
    );
}

#[test]
fn seed_on_standard_input_is_read() {
    let gate = Gate::start("");
    let admin = gate.register("admin", "ungleich-admin");
    let stdin = Caller {
        seed: "-".to_owned(),
        ..admin.clone()
    };
    let mut child = client(&["list"])
        .args(as_caller(&url(&gate), &stdin))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let seed = format!("{}\n", admin.seed);
    child
        .stdin
        .take()
        .unwrap()
        .write_all(seed.as_bytes())
        .unwrap();
    assert!(child.wait_with_output().unwrap().status.success());
}

#[test]
fn error_names_the_rejected_credential() {
    let gate = Gate::start("");
    let auth = gate.register("auth", "ungleich-auth");
    let user = gate.register("user", "payments");
    let (good, wrong) = (user.token(), user.wrong_token());
    let verify = |caller: &Caller, token: &str| {
        let args = [
            "verify", "--name", "user", "--realm", "payments", "--token", token,
        ];
        run(&url(&gate), caller, &args)
    };
    fails(
        &verify(&auth, &wrong),
        1,
        "the credential of user@payments was rejected; the caller's was accepted",
    );
    let impostor = Caller {
        seed: user.seed.clone(),
        ..auth.clone()
    };
    fails(
        &verify(&impostor, &good),
        1,
        "the credential of the caller auth@ungleich-auth was rejected",
    );
    fails(&verify(&user, &good), 1, "user@payments may not do this");
    fails(
        &run(&url(&gate), &auth, &["list"]),
        1,
        "auth@ungleich-auth may not do this",
    );
}

#[test]
fn rejection_of_the_server_is_reported_in_its_words() {
    let gate = Gate::start("");
    let admin = gate.register("admin", "ungleich-admin");
    let who = ["--name", "admin", "--realm", "ungleich-admin"];
    let taken = run(&url(&gate), &admin, &[&["create"], &who[..]].concat());
    fails(&taken, 1, "The fields name, realm must make a unique set.");
    let long = "x".repeat(129);
    let long = run(
        &url(&gate),
        &admin,
        &["create", "--name", &long, "--realm", "r"],
    );
    fails(
        &long,
        1,
        "name: Ensure this field has no more than 128 characters.",
    );
}

#[test]
fn contradictory_options_are_rejected_before_anything_is_sent() {
    let nobody = Caller {
        name: "n".into(),
        realm: "r".into(),
        seed: "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP".into(),
    };
    let who = ["--name", "n", "--realm", "r"];
    for (args, message) in [
        (vec!["create", "--name", "n"], "--realm is missing"),
        (vec!["list", "--name", "n"], "--name does not apply to list"),
        (vec!["list", "n@r"], "NAME@REALM does not apply to list"),
        (vec!["create", "n"], "expected NAME@REALM"),
        (vec!["create", "@r"], "--name is missing"),
        (
            [&["verify"], &who[..]].concat(),
            "--token, --seed or --seed-file is missing",
        ),
        (
            [&["update"], &who[..]].concat(),
            "--new-name or --new-realm is missing",
        ),
        (
            [&["delete"], &who[..], &["--token", "1"]].concat(),
            "--token does not apply to delete",
        ),
        (
            [&["verify"], &who[..], &["--seed", "1"]].concat(),
            "--seed is not a seed",
        ),
        (vec!["destroy"], "invalid value 'destroy'"),
        (
            [&["verify"], &who[..], &["--seed", "A", "--token", "1"]].concat(),
            "cannot be used with",
        ),
    ] {
        fails(&run("http://127.0.0.1:9", &nobody, &args), 2, message);
    }
    fails(
        &run("otp.example", &nobody, &["list"]),
        2,
        "has no scheme http or https",
    );
    fails(
        &client(&["list"]).output().unwrap(),
        2,
        "--server-url (or UNGLEICHOTPSERVER) is missing",
    );
}

/// A server that counts requests and gives the same response to each.
struct Canned {
    address: SocketAddr,
    requests: Arc<AtomicUsize>,
}

impl Canned {
    fn start(answer: &'static str) -> Self {
        Self::serve(move |_| answer.to_owned())
    }

    /// Responds to request `n`, counted from 0, with `answer(n)`.
    fn serve(answer: impl Fn(usize) -> String + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let requests = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&requests);
        thread::spawn(move || {
            let mut open = Vec::new();
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let number = count.load(Ordering::SeqCst);
                if read_message(&mut stream).is_some() {
                    count.fetch_add(1, Ordering::SeqCst);
                }
                let answer = answer(number);
                stream.write_all(answer.as_bytes()).unwrap();
                // An empty response hangs; another one ends with the stream.
                if answer.is_empty() {
                    open.push(stream);
                }
            }
        });
        Self { address, requests }
    }

    fn list(&self, more: &[&str]) -> Output {
        self.ask(&[&["list"], more].concat())
    }

    fn ask(&self, args: &[&str]) -> Output {
        let caller = Caller {
            name: "n".into(),
            realm: "r".into(),
            seed: SEED.into(),
        };
        run(&format!("http://{}", self.address), &caller, args)
    }
}

const SEED: &str = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP";

/// A server that gives the first response to the first request, and so on; the last one to all
/// further ones.
fn scripted(answers: &[(u16, &str)]) -> Canned {
    let answers: Vec<String> = answers
        .iter()
        .map(|(status, body)| {
            format!(
                "HTTP/1.1 {status} X\r\nContent-Type: application/json\r\n\
                 Connection: close\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            )
        })
        .collect();
    Canned::serve(move |request| answers[request.min(answers.len() - 1)].clone())
}

const NAMED: [&str; 4] = ["--name", "svc", "--realm", "payments"];

#[test]
fn verify_succeeds_only_on_status_ok() {
    let token = ["--token", "492039"];
    let verify = [&["verify"], &NAMED[..], &token].concat();
    let yes = scripted(&[(200, r#"{"status":"OK"}"#)]).ask(&verify);
    assert!(yes.status.success(), "{}", stderr(&yes));
    for (body, says) in [
        ("", "an empty body"),
        ("null", "null"),
        ("true", "true or false"),
        ("1", "a number"),
        (r#""OK""#, "a string"),
        (r#"["OK"]"#, "a list of another form"),
        ("{}", "an object of another form"),
        ("OK", "not JSON"),
        (r#"{"status":"FAIL"}"#, r#"the status is \"FAIL\", not OK"#),
        (r#"{"status":"ok"}"#, r#"the status is \"ok\", not OK"#),
        (
            r#"{"status":"492039"}"#,
            r#"the status is \"another\", not OK"#,
        ),
        (r#"{"status":true}"#, "an object of another form"),
        (r#"{"status":["OK"]}"#, "an object of another form"),
        (
            r#"{"status":"OK","status":"FAIL"}"#,
            "an object of another form",
        ),
        (
            r#"{"status":"FAIL","status":"OK"}"#,
            "an object of another form",
        ),
        (r#"{"Status":"OK"}"#, "an object of another form"),
        (r#"{"status":"OK"}{}"#, "not JSON"),
        (r#"{"status":"OK""#, "not JSON"),
    ] {
        let output = scripted(&[(200, body)]).ask(&[&verify[..], &["--json"]].concat());
        fails(&output, 3, says);
        assert!(!stderr(&output).contains("492039"), "{}", stderr(&output));
    }
    for status in [201, 202, 204, 206] {
        let output = scripted(&[(status, r#"{"status":"OK"}"#)]).ask(&verify);
        fails(&output, 3, "not a response of an ungleich-otp server");
    }
}

#[test]
fn identity_that_was_not_asked_for_is_no_success() {
    let svc = r#"{"id":7,"name":"svc","realm":"payments"}"#;
    let list = format!("[{svc}]");
    let with = |seed: &str| svc.replace('}', &format!(r#","seed":"{seed}"}}"#));
    let create = [&["create"], &NAMED[..]].concat();
    let created = scripted(&[(201, &with(SEED))]).ask(&create);
    assert!(created.status.success(), "{}", stderr(&created));
    for (body, says) in [
        (svc.to_owned(), "without a usable seed"),
        (with(""), "without a usable seed"),
        (with("\\u001b[2J"), "without a usable seed"),
        (with(SEED).replace("svc", "root"), "not asked for"),
        (with(SEED).replace("payments", "ops"), "not asked for"),
        (
            format!(r#"[7,"svc","payments","{SEED}"]"#),
            "a list of another form",
        ),
        ("null".to_owned(), "null"),
        ("[]".to_owned(), "a list of another form"),
    ] {
        let output = scripted(&[(201, &body)]).ask(&create);
        fails(&output, 3, says);
        assert!(!stderr(&output).contains(SEED), "{}", stderr(&output));
    }
    let update = [&["update"], &NAMED[..], &["--new-name", "new"]].concat();
    let new = svc.replace("svc", "new");
    let changed = scripted(&[(200, &list), (200, &new)]).ask(&update);
    assert!(changed.status.success(), "{}", stderr(&changed));
    for body in [svc, &new.replace('7', "8"), &new.replace("payments", "ops")] {
        let output = scripted(&[(200, &list), (200, body)]).ask(&update);
        fails(&output, 3, "not asked for");
    }
    let delete = [&["delete"], &NAMED[..]].concat();
    let deleted = scripted(&[(200, &list), (204, "")]).ask(&delete);
    assert!(deleted.status.success(), "{}", stderr(&deleted));
    for (status, body) in [(200, ""), (200, svc), (202, "")] {
        let output = scripted(&[(200, &list), (status, body)]).ask(&delete);
        fails(&output, 3, "not a response of an ungleich-otp server");
    }
    let twice = format!("[{svc},{}]", svc.replace('7', "8"));
    let output = scripted(&[(200, &twice), (204, "")]).ask(&delete);
    fails(&output, 3, "a list that has the identity twice");
    for body in [
        "null",
        "{}",
        r#"{"detail":"x"}"#,
        "[1]",
        r#"[{"id":1}]"#,
        r#"[{"id":"1","name":"n","realm":"r"}]"#,
        r#"[[1,"n","r",null]]"#,
    ] {
        let output = scripted(&[(200, body)]).ask(&["list"]);
        fails(&output, 3, "not a response of an ungleich-otp server");
    }
}

#[test]
fn server_without_ids_shows_the_seed_of_a_new_identity() {
    let svc = r#"{"name":"svc","realm":"payments"}"#;
    let made = svc.replace('}', &format!(r#","seed":"{SEED}"}}"#));
    let create = [&["create"], &NAMED[..]].concat();
    let created = scripted(&[(201, &made)]).ask(&create);
    assert_eq!(
        stdout(&created),
        format!("     -  svc@payments  {SEED}\n"),
        "{}",
        stderr(&created)
    );
    let created = scripted(&[(201, &made)]).ask(&[&create[..], &["--json"]].concat());
    let expected = json!({"name": "svc", "realm": "payments", "seed": SEED});
    assert_eq!(parsed(&created), expected);
    let list = format!("[{svc}]");
    let listed = scripted(&[(200, &list)]).ask(&["list", "--json"]);
    assert_eq!(
        parsed(&listed),
        json!([{"name": "svc", "realm": "payments"}])
    );
    // Without an id, no request can be made, and none is.
    for action in [&["update", "--new-name", "new"][..], &["delete"]] {
        let server = scripted(&[(200, &list), (204, "")]);
        let output = server.ask(&[action, &NAMED[..]].concat());
        fails(&output, 3, "does not return the id");
        assert_eq!(server.requests.load(Ordering::SeqCst), 1);
    }
}

#[test]
fn server_that_cannot_be_reached_is_exit_code_3() {
    let port = Port::reserve();
    let nobody = Canned {
        address: port.address,
        requests: Arc::default(),
    };
    fails(&nobody.list(&[]), 3, "cannot be reached");
}

#[test]
fn hanging_server_is_given_up_after_the_timeout() {
    let server = Canned::start("");
    fails(
        &server.list(&["--timeout", "1"]),
        3,
        "did not answer within 1 s",
    );
    assert_eq!(server.requests.load(Ordering::SeqCst), 1);
}

/// Forwards connections to `to`, except the first `dropped`, which it closes at once. Counts all.
fn stumbling(to: SocketAddr, dropped: usize) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    thread::spawn(move || {
        for near in listener.incoming() {
            let near = near.unwrap();
            if counted.fetch_add(1, Ordering::SeqCst) < dropped {
                continue;
            }
            let far = TcpStream::connect(to).unwrap();
            let ways = [
                (near.try_clone().unwrap(), far.try_clone().unwrap()),
                (far, near),
            ];
            for (mut from, mut to) in ways {
                thread::spawn(move || {
                    let _ = std::io::copy(&mut from, &mut to);
                    let _ = to.shutdown(Shutdown::Write);
                });
            }
        }
    });
    (address, count)
}

#[test]
fn connection_that_could_not_be_made_is_tried_three_times_in_all() {
    let gate = Gate::start("");
    let admin = gate.register("admin", "ungleich-admin");
    let folder = tempfile::tempdir().unwrap();
    let (cert, key) = certificate(folder.path());
    let tls = Nginx::with_tls(gate.service, &cert, &key);
    for (dropped, reached) in [(0, 1), (2, 3), (3, 3)] {
        let (address, count) = stumbling(tls.address, dropped);
        let output = client(&["list"])
            .args(as_caller(&format!("https://{address}"), &admin))
            .env("SSL_CERT_FILE", &cert)
            .output()
            .unwrap();
        if dropped < 3 {
            assert!(output.status.success(), "{}", stderr(&output));
        } else {
            fails(&output, 3, "cannot be reached");
        }
        assert_eq!(count.load(Ordering::SeqCst), reached, "{dropped}");
    }
}

#[test]
fn request_that_was_sent_is_never_sent_again() {
    let server = Canned::start("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n[");
    fails(
        &server.list(&[]),
        3,
        "closed before the response was complete",
    );
    assert_eq!(server.requests.load(Ordering::SeqCst), 1);
}

#[test]
fn response_of_another_server_is_reported_and_no_redirect_followed() {
    for (answer, message) in [
        (
            "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:9/\r\nContent-Length: 0\r\n\r\n",
            "302 Found",
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 4\r\n\r\n<h1>",
            "200 OK, text/html",
        ),
        (
            "HTTP/1.1 404 Not Found\r\nContent-Type: text/html\r\nContent-Length: 0\r\n\r\n",
            "404 Not Found, text/html",
        ),
        (
            "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n",
            "the server is unavailable",
        ),
    ] {
        let server = Canned::start(answer);
        fails(&server.list(&[]), 3, message);
        assert_eq!(server.requests.load(Ordering::SeqCst), 1);
    }
}

#[test]
fn clock_that_is_far_off_is_named_when_the_caller_is_rejected() {
    let server = Canned::start(concat!(
        "HTTP/1.1 403 Forbidden\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n",
        "Content-Type: application/json\r\nContent-Length: 50\r\n\r\n",
        r#"{"detail":"Incorrect authentication credentials."}"#
    ));
    fails(&server.list(&[]), 1, "ahead of the server's");
}

#[test]
fn https_server_needs_a_certificate_that_the_system_trusts() {
    let gate = Gate::start("");
    let admin = gate.register("admin", "ungleich-admin");
    let folder = tempfile::tempdir().unwrap();
    let (cert, key) = certificate(folder.path());
    let tls = Nginx::with_tls(gate.service, &cert, &key);
    let server = format!("https://{}", tls.address);
    let list = |trusted: &str| {
        client(&["list"])
            .args(as_caller(&server, &admin))
            .env("SSL_CERT_FILE", trusted)
            .output()
            .unwrap()
    };
    assert!(list(&cert).status.success(), "{}", stderr(&list(&cert)));
    fails(&list("/dev/null"), 3, "cannot be reached");
}
