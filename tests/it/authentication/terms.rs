//! Validity periods, and two seeds during a rotation.

use std::process::Command;

use super::{gate, identity};
use crate::harness::{Caller, get, stderr, until};

#[test]
fn terms_count_within_a_second_and_can_be_lifted() {
    let (gate, _upstream) = gate("[throttle]\nfailures = 1000\n");
    let caller = gate.register("billing", "payments");
    let status = || get(gate.gateway, "/x", &caller.fields()).status;
    assert_eq!(status(), 200);
    for (option, reason) in [("--expires", "expired"), ("--not-before", "not_yet_valid")] {
        identity(&gate, &["set", "--comment", "the shop"], &caller);
        if option == "--expires" {
            gate.expire(&caller);
        } else {
            identity(&gate, &["set", option, "2999-01-31T00:00:00Z"], &caller);
        }
        until("it counts", || status() == 401);
        assert!(gate.log().contains(reason), "{}", gate.log());
        let shown = identity(&gate, &["set", option, "never"], &caller);
        assert_eq!(shown["comment"], "the shop");
        until("it is lifted", || status() == 200);
    }
    for (args, message) in [
        (&["--expires", "soon"][..], "or never"),
        (&["--expires", "2020-01-01T00:00:00Z"], "identity disable"),
        (
            &["--not-before", "3d", "--expires", "2d"],
            "is not before --expires",
        ),
    ] {
        let who = [
            "identity", "set", "--name", "billing", "--realm", "payments",
        ];
        let output = gate.run(&[&who[..], args].concat());
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(stderr(&output).contains(message), "{}", stderr(&output));
    }
}

#[test]
fn two_seeds_count_while_one_replaces_the_other() {
    let (gate, _upstream) = gate("[throttle]\nfailures = 1000\n");
    let old = gate.register("billing", "payments");
    assert_eq!(get(gate.gateway, "/x", &old.fields()).status, 200);
    let rotated = identity(&gate, &["rotate", "--grace", "1h"], &old);
    let new = Caller {
        seed: rotated["seed"].as_str().unwrap().to_owned(),
        ..old.clone()
    };
    assert_ne!(old.seed, new.seed);
    until("the new one counts", || {
        get(gate.gateway, "/x", &new.fields()).status == 200
    });
    assert_eq!(get(gate.gateway, "/x", &old.fields()).status, 200);
    let used = || identity(&gate, &["show"], &old);
    until("each is noted", || {
        let shown = used();
        shown["last_used"].is_u64() && shown["previous_last_used"].is_u64()
    });
    assert!(used()["previous_until"].is_u64(), "{}", used());
    // Renaming encrypts both again.
    // The last use of a seed does not carry over to the next one.
    assert!(
        used()["last_used"].as_u64() >= rotated["updated"].as_u64(),
        "{}",
        used()
    );
    // Another rotation would end the overlap early.
    let rotate = [
        "identity", "rotate", "--name", "billing", "--realm", "payments",
    ];
    let output = gate.run(&[&rotate[..], &["--grace", "1h"]].concat());
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("--force"), "{}", stderr(&output));
    assert_eq!(get(gate.gateway, "/x", &old.fields()).status, 200);
    // Without an overlap, both old seeds are invalid.
    let last = identity(&gate, &["rotate", "--force"], &old);
    let last = Caller {
        seed: last["seed"].as_str().unwrap().to_owned(),
        ..old.clone()
    };
    until("the last one counts", || {
        get(gate.gateway, "/x", &last.fields()).status == 200
    });
    for gone in [old, new] {
        assert_eq!(get(gate.gateway, "/x", &gone.fields()).status, 401);
    }
}

#[test]
fn apps_can_read_the_address_of_a_new_seed() {
    let (gate, _upstream) = gate("[totp]\nissuer = \"Shop & Söhne\"\n");
    let who = Caller {
        name: "a b/ü".into(),
        realm: "r@x".into(),
        seed: String::new(),
    };
    let created = identity(
        &gate,
        &["create", "--algorithm", "sha256", "--digits", "8"],
        &who,
    );
    let uri = created["uri"].as_str().unwrap();
    let python = concat!(env!("CARGO_MANIFEST_DIR"), "/target/tools/bin/python");
    let script = "import pyotp, sys; t = pyotp.parse_uri(sys.argv[1]); \
        print(t.secret, t.name, t.issuer, t.digits, t.digest().name, t.interval)";
    let output = Command::new(python).args(["-c", script, uri]).output();
    let output = output.unwrap_or_else(|error| panic!("{error}; run scripts/setup test"));
    let seed = created["seed"].as_str().unwrap();
    let expected = format!("{seed} a b/ü@r@x Shop & Söhne 8 sha256 30\n");
    assert_eq!(
        crate::harness::stdout(&output),
        expected,
        "{}",
        stderr(&output)
    );
}
