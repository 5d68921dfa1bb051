//! Every recorded exchange again, with today's tokens. Answers are compared byte for byte, but for seeds
//! that are made anew; where realmgate differs on purpose, `DIFFERENCES` says what it answers instead.

use std::collections::HashMap;
use std::fmt::Write;
use std::time::SystemTime;

use super::exchange::{Exchange, recorded};
use crate::harness::{Gate, Reply, raw, realmgate, stderr};
use realmgate::auth::{Parameters, Seed, Totp, UnixTime};

/// Who the old server knew, in the order of their ids, and the token each had when it was recorded.
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

/// Where realmgate answers something else, on purpose: the exchange, status and body. `docs/compat.md`
/// has the reasons.
const DIFFERENCES: [(&str, u16, &str); 8] = [
    // HTML pages.
    (
        "F2 OPTIONS verify, authenticated (body)",
        200,
        "without text/html",
    ),
    ("G47 OPTIONS list as admin", 200, "without text/html"),
    ("G49 OPTIONS detail as admin", 200, "without text/html"),
    (
        "F10 Accept: text/html",
        406,
        r#"{"detail":"Could not satisfy the request Accept header."}"#,
    ),
    (
        "G56 list as HTML",
        406,
        r#"{"detail":"Could not satisfy the request Accept header."}"#,
    ),
    // What answered 500.
    ("F13 verify.json suffix", 200, r#"{"status":"OK"}"#),
    ("G35 retrieve id 2^63", 404, r#"{"detail":"Not found."}"#),
    (
        "G22 username collision 2: a@b @ c",
        201,
        r#"{"id":16,"name":"a@b","realm":"c","seed":"NEWSEEDNEWSEEDNEWSEEDNEWSEEDNEWS"}"#,
    ),
];

/// The old server's ways: its window, and seeds in lists.
const AS_BEFORE: &str = "[totp]\nwindow = 3\n[compat]\nreveal_seeds = true\n";

/// A realmgate that knows the residents, under their old ids.
struct Replay {
    gate: Gate,
    /// Seeds of the record, and what was made instead.
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

    /// Replays the exchanges; returns how many are as recorded, and fails on one that is neither that
    /// nor a known difference.
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
            // At the edge of the window a step that ends meanwhile changes the answer; verifying can
            // be done again.
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
                // The cut may fall into a seed, which is not the one of the record then.
                let (start, _) = start.rsplit_once(r#""seed":""#).unwrap();
                let length: usize = length.strip_suffix(" bytes]").unwrap().parse().unwrap();
                reply.body.starts_with(start) && reply.body.len() == length
            }
            None => reply.body == answer,
        };
        if same { Ok(()) } else { Err(answer) }
    }
}

/// Returns the exchange with the answer that realmgate should give.
fn expected(exchange: &Exchange) -> Exchange {
    let mut expected = exchange.clone();
    let Some((_, status, body)) = DIFFERENCES
        .iter()
        .find(|(title, ..)| *title == exchange.title)
    else {
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
        // As JSON's integer, a leading zero would be no number.
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

#[test]
fn recorded_verifications_are_answered_as_before() {
    let mut replay = Replay::start();
    for (section, exchanges) in [('A', 24), ('B', 20), ('C', 47)] {
        assert_eq!(replay.run(&recorded(Some(section))), exchanges, "{section}");
    }
}

#[test]
fn recorded_methods_paths_and_formats_are_answered_as_before() {
    assert_eq!(Replay::start().run(&recorded(Some('F'))), 26 - 3);
}

#[test]
fn recorded_administration_is_answered_as_before() {
    let mut replay = Replay::start();
    let (late, recorded): (Vec<_>, Vec<_>) = recorded(Some('G'))
        .into_iter()
        .partition(|exchange| exchange.number() == "G22");
    assert_eq!(replay.run(&recorded), 58 - 4);
    // What answered 500 makes an identity now, and would move every id after it.
    assert_eq!(replay.run(&late), 0);
}

#[test]
fn unless_asked_otherwise_a_token_counts_one_step_and_no_list_shows_a_seed() {
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
