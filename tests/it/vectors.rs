//! `tests/vectors`: what Rust and Python must agree about.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Stdio;

use realmgate::auth::{Parameters, Seed, Totp, UnixTime};
use serde_json::Value;

use crate::harness::{Gate, realmgate, stdout};

fn vectors(name: &str, part: &str) -> Vec<Value> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors");
    let text = fs::read_to_string(folder.join(format!("{name}.json"))).unwrap();
    let all: Value = serde_json::from_str(&text).unwrap();
    all[part].as_array().unwrap().clone()
}

fn parameters(row: &Value) -> Parameters {
    let number = |key: &str| row[key].as_u64().unwrap();
    Parameters::new(
        row["algorithm"].as_str().unwrap().parse().unwrap(),
        number("digits").try_into().unwrap(),
        number("period").try_into().unwrap(),
    )
    .unwrap()
}

#[test]
fn tokens_are_those_of_the_vectors() {
    for row in vectors("totp", "tokens") {
        let seed = Seed::from_base32(row["seed"].as_str().unwrap()).unwrap();
        let time = UnixTime::from_secs(row["time"].as_u64().unwrap());
        let token = Totp::new(&seed, parameters(&row)).token(time);
        assert_eq!(token, row["token"].as_str().unwrap(), "{row}");
    }
}

#[test]
fn seeds_are_those_of_the_vectors() {
    for row in vectors("seeds", "valid") {
        let seed = Seed::from_base32(row["text"].as_str().unwrap()).unwrap();
        let hex: String = seed
            .as_bytes()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        assert_eq!(hex, row["hex"].as_str().unwrap(), "{row}");
    }
    for text in vectors("seeds", "invalid") {
        assert!(Seed::from_base32(text.as_str().unwrap()).is_err(), "{text}");
    }
}

#[test]
fn otpauth_urls_are_written_as_in_the_vectors() {
    let mut count = 0;
    for row in vectors("otpauth", "valid") {
        let Some(issuer) = row["issuer"].as_str() else {
            continue;
        };
        let gate = Gate::start(&format!("[totp]\nissuer = \"{issuer}\"\n"));
        let text = |key: &str| row[key].as_str().unwrap();
        let mut command = realmgate(&["identity", "create", "--json", "--seed-file", "-"]);
        let mut child = command
            .args(["--name", text("name"), "--realm", text("realm")])
            .args(["--algorithm", text("algorithm")])
            .args(["--digits", &row["digits"].to_string()])
            .args(["--period", &row["period"].to_string()])
            .arg("--config")
            .arg(gate.config())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(text("seed").as_bytes()).unwrap();
        drop(stdin);
        let created: Value =
            serde_json::from_str(&stdout(&child.wait_with_output().unwrap())).unwrap();
        assert_eq!(created["uri"], row["url"], "{row}");
        count += 1;
    }
    assert!(count > 3, "{count}");
}
