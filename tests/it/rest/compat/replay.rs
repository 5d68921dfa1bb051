//! Replays every recorded exchange with current tokens. Responses are compared byte for byte,
//! except new seeds. `DIFFERENCES` lists the intended differences.

use std::collections::HashMap;
use std::fmt::Write;
use std::time::SystemTime;

use super::exchange::{Exchange, recorded};
use crate::harness::{Gate, Reply, raw, realmgate, stderr};
use realmgate::auth::{Parameters, Seed, Totp, UnixTime};

/// The identities of the recorded server in the order of their ids, and the token of each at the
/// time.
const RESIDENTS: [(&str, &str, &str, &str); 3] = [
    (
        "admin",
        "ungleich-admin",
        "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP",
        "124983",
    ),
    (
        "auth",
        "ungleich-auth",
        "PZKBPTHDGSLZBKIZPZKBPTHDGSLZBKIZ",
        "478165",
    ),
    (
        "user",
        "ungleich-intern",
        "CEKXVG3235PO2HDWCEKXVG3235PO2HDW",
        "535318",
    ),
];

/// Intended differences: the exchange, the reason in `docs/compat.md`, status and body.
const DIFFERENCES: [(&str, &str, u16, &str); 8] = [
    (
        "F2 OPTIONS verify, authenticated (body)",
        NO_HTML,
        200,
        "without text/html",
    ),
    (
        "F10 Accept: text/html",
        NO_HTML,
        406,
        r#"{"detail":"Could not satisfy the request Accept header."}"#,
    ),
    (
        "F13 verify.json suffix",
        NO_FAULT,
        200,
        r#"{"status":"OK"}"#,
    ),
    (
        "G22 username collision 2: a@b @ c",
        NO_FAULT,
        201,
        r#"{"id":16,"name":"a@b","realm":"c","seed":"NEWSEEDNEWSEEDNEWSEEDNEWSEEDNEWS"}"#,
    ),
    (
        "G35 retrieve id 2^63",
        NO_FAULT,
        404,
        r#"{"detail":"Not found."}"#,
    ),
    (
        "G47 OPTIONS list as admin",
        NO_HTML,
        200,
        "without text/html",
    ),
    (
        "G49 OPTIONS detail as admin",
        NO_HTML,
        200,
        "without text/html",
    ),
    (
        "G56 list as HTML",
        NO_HTML,
        406,
        r#"{"detail":"Could not satisfy the request Accept header."}"#,
    ),
];
const NO_HTML: &str = "there are no HTML pages";
const NO_FAULT: &str = "a 500 was a fault";

/// The behavior of ungleich-otp: its window, and seeds in lists.
const AS_BEFORE: &str = "[totp]\nwindow = 3\n[compat]\nreveal_seeds = true\n";

/// A realmgate with the recorded identities under their old ids.
struct Replay {
    gate: Gate,
    /// Recorded seeds, and the seeds that replaced them.
    seeds: HashMap<String, String>,
}

impl Replay {
    fn start() -> Self {
        Self::with(AS_BEFORE)
    }

    fn with(settings: &str) -> Self {
        let gate = Gate::start(settings);
        for (name, realm, seed, _) in RESIDENTS {
            register(&gate, name, realm, seed);
        }
        Self {
            gate,
            seeds: HashMap::new(),
        }
    }

    /// Replays the exchanges. Returns how many match the record; fails on an unknown difference.
    fn run(&mut self, exchanges: &[Exchange]) -> usize {
        let mut same = 0;
        let mut wrong = String::new();
        for exchange in exchanges {
            let expected = expected(exchange);
            let reply = self.send(exchange);
            if let Err(what) = self.compare(&expected, &reply) {
                let _ = write!(wrong, "\n{}: {what}\n{reply:?}\n", exchange.title);
            } else if expected.status == exchange.status && expected.answer == exchange.answer {
                same += 1;
            }
        }
        assert!(wrong.is_empty(), "{wrong}");
        same
    }

    fn send(&self, exchange: &Exchange) -> Reply {
        loop {
            let step = step();
            let body = with_tokens_of_today(exchange);
            let content_type = match &exchange.content_type {
                Some(content_type) => format!("Content-Type: {content_type}\r\n"),
                None => String::new(),
            };
            let length = match body.len() {
                0 => String::new(),
                length => format!("Content-Length: {length}\r\n"),
            };
            let request = format!(
                "{} {} HTTP/1.1\r\nHost: SERVER\r\nConnection: close\r\n{}{content_type}{length}\r\n{body}",
                exchange.method,
                exchange.path,
                exchange.sent_fields(),
            );
            let reply = raw(self.gate.service, request.as_bytes());
            // At the edge of the window, a step that ends in the meantime changes the response; a
            // verification can be repeated.
            if exchange.offset().is_none() || step == self::step() {
                return reply;
            }
        }
    }

    fn compare(&mut self, expected: &Exchange, reply: &Reply) -> Result<(), String> {
        if reply.status != expected.status {
            return Err(format!("status {}", expected.status));
        }
        for name in ["Content-Type", "Allow", "Location", "Vary"] {
            if reply.field(name) != expected.field(name) {
                return Err(format!("{name}: {:?}", expected.field(name)));
            }
        }
        if expected.status == 201 {
            self.seeds
                .insert(seed_in(&expected.answer)?, seed_in(&reply.body)?);
        }
        let mut answer = expected.answer.clone();
        for (old, new) in &self.seeds {
            answer = answer.replace(old, new);
        }
        let same = match answer.split_once(" …[") {
            Some((start, length)) => {
                // The truncation may be inside a seed, which differs from the recorded one.
                let (start, _) = start.rsplit_once(r#""seed":""#).unwrap();
                let length: usize = length.strip_suffix(" bytes]").unwrap().parse().unwrap();
                reply.body.starts_with(start) && reply.body.len() == length
            }
            None => reply.body == answer,
        };
        if same { Ok(()) } else { Err(answer) }
    }
}

fn difference(
    exchange: &Exchange,
) -> Option<&'static (&'static str, &'static str, u16, &'static str)> {
    let mut all = DIFFERENCES.iter();
    all.find(|(title, ..)| *title == exchange.title)
}

/// Returns the exchange with the expected response of realmgate.
fn expected(exchange: &Exchange) -> Exchange {
    let mut expected = exchange.clone();
    let Some((_, _, status, body)) = difference(exchange) else {
        return expected;
    };
    expected.status = *status;
    expected.answer = match *body {
        "without text/html" => exchange.answer.replace(r#","text/html""#, ""),
        body => body.to_owned(),
    };
    let allow = match exchange.path.as_str() {
        "/ungleichotp/" => "GET, POST, HEAD, OPTIONS",
        path if path.contains("verify") => "POST, OPTIONS",
        _ => "GET, PUT, PATCH, DELETE, HEAD, OPTIONS",
    };
    let field = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    expected.fields = vec![
        field("Content-Type", "application/json"),
        field("Allow", allow),
        field("Vary", "Accept"),
    ];
    expected
}

fn register(gate: &Gate, name: &str, realm: &str, seed: &str) {
    let file = gate.config().with_file_name("seed");
    std::fs::write(&file, seed).unwrap();
    let output = realmgate(&["identity", "create", "--name", name, "--realm", realm])
        .arg("--seed-file")
        .arg(&file)
        .arg("--config")
        .arg(gate.config())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
}

fn with_tokens_of_today(exchange: &Exchange) -> String {
    let mut body = exchange.body.clone();
    if let Some(offset) = exchange.offset() {
        let (subject, rest) = body.rsplit_once(r#""token": ""#).unwrap();
        let (recorded, _) = rest.split_once('"').unwrap();
        let user = rest.replacen(recorded, &token(RESIDENTS[2].2, offset), 1);
        body = format!(r#"{subject}"token": "{user}"#);
    }
    for (_, _, seed, recorded) in RESIDENTS {
        let today = token(seed, 0);
        // A JSON integer cannot have a leading zero.
        let as_integer = format!("\"auth_token\": {recorded}");
        body = body.replace(
            &as_integer,
            &format!("\"auth_token\": {}", today.trim_start_matches('0')),
        );
        body = body.replace(recorded, &today);
    }
    body
}

fn token(seed: &str, steps: i64) -> String {
    let now = UnixTime::from(SystemTime::now()).as_secs();
    let at = UnixTime::from_secs(now.checked_add_signed(30 * steps).unwrap());
    Totp::new(&Seed::from_base32(seed).unwrap(), Parameters::default()).token(at)
}

fn step() -> u64 {
    UnixTime::from(SystemTime::now()).as_secs() / 30
}

fn seed_in(body: &str) -> Result<String, String> {
    let (_, rest) = body.split_once(r#""seed":""#).ok_or("no seed")?;
    let seed = rest.strip_suffix("\"}").ok_or("nothing after the seed")?;
    let is_base32 = |c: char| c.is_ascii_uppercase() || ('2'..='7').contains(&c);
    if seed.len() == 32 && seed.chars().all(is_base32) {
        Ok(seed.to_owned())
    } else {
        Err(format!("{seed} is no seed of 160 bits"))
    }
}

/// Prints the result; `make transcripts` shows it.
#[test]
fn recorded_exchanges_are_answered_as_before_or_differ_on_purpose() {
    let (mut all, mut same) = (0, 0);
    let mut reported = |name: &str, replay: &mut Replay, exchanges: &[Exchange]| {
        let as_recorded = replay.run(exchanges);
        println!("{name}: {as_recorded} of {} as recorded", exchanges.len());
        for exchange in exchanges {
            if let Some((title, why, status, _)) = difference(exchange) {
                let recorded = exchange.status;
                println!("  differs: {title}: recorded {recorded}, here {status}: {why}");
            }
        }
        all += exchanges.len();
        same += as_recorded;
    };
    let section = |name| recorded(Some(name));
    let mut verifying = Replay::start();
    reported("A, verifying", &mut verifying, &section('A'));
    reported("B, callers", &mut verifying, &section('B'));
    reported("C, fields", &mut verifying, &section('C'));
    let mut other = Replay::start();
    reported("F, methods, paths and formats", &mut other, &section('F'));
    let mut administering = Replay::start();
    // Requests that returned 500 now create an identity, which would shift every later id.
    let (late, first): (Vec<_>, Vec<_>) = section('G')
        .into_iter()
        .partition(|exchange| exchange.number() == "G22");
    reported("G, administering", &mut administering, &first);
    reported("G, what comes last", &mut administering, &late);
    println!("{same} of {all} as recorded");
    assert_eq!((same, all), (168, 176));
}

#[test]
fn every_difference_is_in_the_documentation() {
    let page = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/compat.md");
    let page = std::fs::read_to_string(page).unwrap();
    for (title, ..) in DIFFERENCES {
        let number = title.split(' ').next().unwrap();
        assert!(page.contains(&format!("| {number} |")), "{title}");
    }
}

#[test]
fn by_default_the_window_is_one_step_and_no_list_shows_a_seed() {
    let replay = Replay::with("");
    for exchange in recorded(None) {
        if let Some(offset) = exchange.offset() {
            let expected = if offset.abs() <= 1 { 200 } else { 403 };
            assert_eq!(replay.send(&exchange).status, expected, "{offset}");
        } else if exchange.number() == "G1" {
            let body = replay.send(&exchange).body;
            let mut without = exchange.answer;
            for (_, _, seed, _) in RESIDENTS {
                without = without.replace(&format!(r#","seed":"{seed}""#), "");
            }
            assert_eq!(body, without);
        }
    }
}
