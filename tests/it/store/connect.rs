//! `check --connect`.

use std::fs;
use std::process::Output;

use serde_json::Value;

use super::run_with_store;
use crate::harness::certificate::Ca;
use crate::harness::port::Port;
use crate::harness::postgres::{Postgres, new_schema};
use crate::harness::{Gate, realmgate, stderr, stdout, until};

fn check(store: &str, environment: &[(&str, &str)], options: &[&str]) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let args = [&["check", "--connect"], options].concat();
    run_with_store(folder.path(), store, environment, &args)
}

fn connection(output: &Output) -> Value {
    assert!(output.status.success(), "{}", stderr(output));
    let value: Value = serde_json::from_slice(&output.stdout).unwrap();
    value["connection"].clone()
}

#[test]
fn server_is_described_and_nothing_is_changed() {
    let (url, schema) = new_schema();
    let store = format!("url = \"{url}\"\nschema = \"{schema}\"");
    let said = connection(&check(&store, &[], &["--json"]));
    assert_eq!(
        (&said["schema"], &said["keys"]),
        (&0.into(), &Value::Array(vec![]))
    );
    let server = &said["server"];
    assert_eq!(server["schema"], schema);
    assert_eq!(
        (&server["role"], &server["sslmode"]),
        (&"django".into(), &"disable".into())
    );
    assert_eq!(
        (&server["tls"], &server["standbys"]),
        (&Value::Null, &0.into())
    );
    assert_eq!(server["lacks"], Value::Array(vec![]));
    assert!(
        server["version"].as_str().unwrap().starts_with("1"),
        "{said}"
    );
    assert!(server["clock"].as_f64().unwrap().abs() < 20.0, "{said}");
    // It has not created the tables.
    let output = check(&store, &[], &[]);
    let text = stdout(&output);
    assert!(
        text.contains("no tables yet; `realmgate init` creates them"),
        "{text}"
    );
    assert!(text.ends_with("\nok\n"), "{text}");
}

#[test]
fn tables_and_keys_of_a_running_node_are_described() {
    for gate in [Gate::start_on_postgres(""), Gate::start("")] {
        let output = gate.run(&["check", "--connect"]);
        let said = connection(&output);
        assert_eq!(said["schema"], said["known"], "{said}");
        assert_eq!(said["keys"].as_array().unwrap().len(), 1, "{said}");
        if !said["server"].is_null() {
            until("the node is counted", || {
                let output = gate.run(&["check", "--connect"]);
                connection(&output)["server"]["nodes"] == 1
            });
        }
        let key = gate.config().with_file_name("realmgate.key");
        let other = realmgate(&["key", "generate"]).output().unwrap();
        fs::write(&key, other.stdout).unwrap();
        let output = gate.run(&["check", "--connect"]);
        assert_eq!(output.status.code(), Some(2));
        assert!(
            stderr(&output).contains("are encrypted with key"),
            "{}",
            stderr(&output)
        );
    }
}

#[test]
fn principal_that_the_database_does_not_have_is_a_warning() {
    let rules = r#"
        [group.callers]
        members = [{ realm = "payments", name = "billing" }, { realm = "payments", name = "bilings" }]
        [[route]]
        name = "first"
        path = "/first"
        allow = [{ group = "callers" }, { realm = "payments", name = "bill*" }, { realm = "payment" }]
        except = [{ realm = "payments", name = "Bill*" }]
        upstream = "app"
        [[route]]
        name = "second"
        allow = [{ realm = "payments" }, { realm = "payment" }, { realm = "payments", name = "gone" }]
        upstream = "app"
        [upstream.app]
        peers = ["127.0.0.1:9"]
    "#;
    for gate in [Gate::start_on_postgres(rules), Gate::start(rules)] {
        gate.register("billing", "payments");
        gate.register("gone", "payments");
        let disable = [
            "identity", "disable", "--name", "gone", "--realm", "payments",
        ];
        assert!(gate.run(&disable).status.success());
        let nobody = |args: &[&str]| {
            let output = gate.run(&[&["check"], args].concat());
            let code = output.status.code();
            let warnings = stderr(&output);
            let of_nobody = warnings.lines().filter(|it| it.contains("no identity"));
            let of_nobody = of_nobody.map(|line| {
                let warning: Value = serde_json::from_str(line).unwrap();
                let warning = warning["warning"].as_str().unwrap();
                let (place, text) = warning.split_once(": ").unwrap();
                assert!(place.contains("realmgate.toml:"), "{place}");
                text.to_owned()
            });
            (code, of_nobody.collect::<Vec<_>>())
        };
        assert_eq!(nobody(&[]), (Some(0), Vec::new()));
        let (code, warnings) = nobody(&["--connect"]);
        assert_eq!(code, Some(0));
        assert_eq!(
            warnings,
            [
                "group \"callers\": bilings@payments matches no identity in the database",
                "route \"first\": realm payment matches no identity in the database",
                "route \"first\": Bill*@payments matches no identity in the database",
            ]
        );
        assert_eq!(nobody(&["--connect", "--strict"]).0, Some(2));
    }
}

#[test]
fn standbys_privileges_and_superusers_are_reported() {
    let server = Postgres::start();
    let standby = server.standby();
    assert!(standby.answers());
    let url = server.url();
    let store = format!("url = \"{url}\"\nschema = \"gate\"");
    // The standby answers before it is connected to the primary.
    until("the standby is connected", || {
        let said = connection(&check(&store, &[], &["--json"]));
        said["server"]["standbys"] == 1 && said["server"]["lag"].is_number()
    });
    let output = check(&store, &[], &["--json"]);
    let said = connection(&output);
    assert_eq!(said["server"]["synchronous"], "", "{said}");
    assert!(
        stderr(&output).contains("role django is a superuser"),
        "{}",
        stderr(&output)
    );

    server.sql("CREATE ROLE otp LOGIN PASSWORD 'secret'");
    server.sql("CREATE SCHEMA closed");
    let store = format!("url = \"{}\"\nschema = \"closed\"", server.url_of("otp"));
    let output = check(&store, &[("PGPASSWORD", "secret")], &[]);
    assert_eq!(output.status.code(), Some(3));
    let said = stderr(&output);
    assert!(said.contains("the role lacks a privilege"), "{said}");
    server.sql("GRANT USAGE ON SCHEMA closed TO otp");
    let output = check(&store, &[("PGPASSWORD", "secret")], &["--json"]);
    let said = connection(&output);
    assert_eq!(
        said["server"]["lacks"],
        serde_json::json!(["CREATE on schema closed"])
    );
    assert_eq!(said["server"]["lag"], Value::Null);
    assert!(
        stderr(&output).contains("role otp lacks privileges"),
        "{}",
        stderr(&output)
    );
    let strict = check(&store, &[("PGPASSWORD", "secret")], &["--strict"]);
    assert_eq!(strict.status.code(), Some(2));
}

#[test]
fn trouble_is_named_by_its_kind() {
    let ca = Ca::new();
    let (cert, key) = ca.issue("server", "/CN=db", "IP:127.0.0.1");
    let server = Postgres::start_with_tls(&cert, &key, &cert);
    server.sql("CREATE ROLE otp LOGIN PASSWORD 'secret'");
    let address = server.address();
    let trusted = format!("sslmode=verify-full&sslrootcert={}", ca.file());
    let good = check(
        &format!("url = \"{}?{trusted}\"", server.url()),
        &[],
        &["--json"],
    );
    let said = connection(&good);
    assert_eq!(said["server"]["sslmode"], "verify-full");
    assert_eq!(said["server"]["tls"], "TLSv1.3");
    let closed = Port::reserve();
    let closed_address = closed.address;
    for (url, password, expected) in [
        (
            format!("postgres://otp@{address}/postgres"),
            "wrong",
            "did not accept the password",
        ),
        (
            format!("postgres://otp@{address}/postgres"),
            "",
            "did not accept the password",
        ),
        (
            format!("postgres://django@{address}/nothere"),
            "",
            "the server has no such database",
        ),
        (
            format!("postgres://django@{address}/postgres?sslmode=verify-full"),
            "",
            "TLS failed",
        ),
        (
            format!("postgres://django@{closed_address}/x"),
            "",
            "nothing listens at this address",
        ),
        (
            "postgres://django@nowhere.invalid/x?sslmode=disable".to_owned(),
            "",
            "does not resolve",
        ),
    ] {
        let environment = [("PGPASSWORD", password)];
        let environment = if password.is_empty() {
            &[][..]
        } else {
            &environment
        };
        let output = check(&format!("url = \"{url}\""), environment, &[]);
        assert_eq!(output.status.code(), Some(3), "{url}");
        let said = stderr(&output);
        assert!(said.contains(expected), "{url}: {said}");
    }
}

#[test]
fn failed_connection_to_several_hosts_says_what_each_responded() {
    let server = Postgres::start();
    let standby = server.standby();
    let (dead, standby_address) = (server.address(), standby.address());
    server.kill();
    until("the primary is dead", || server.has_ended());
    let url = format!("postgres://django@{dead},{standby_address}/postgres");
    let output = check(&format!("url = \"{url}\""), &[], &[]);
    assert_eq!(output.status.code(), Some(3));
    let said = stderr(&output);
    for expected in [
        format!("cannot connect: {dead}: "),
        "refused".to_owned(),
        format!("; {standby_address}: "),
        "no server accepts writes: check that the primary runs".to_owned(),
    ] {
        assert!(said.contains(&expected), "{expected}: {said}");
    }
}

#[test]
fn schema_without_tables_beside_one_with_tables_is_a_warning() {
    let gate = Gate::start_on_postgres("");
    let (url, schema) = new_schema();
    let store = format!("url = \"{url}\"\nschema = \"{schema}\"");
    let output = check(&store, &[], &[]);
    let said = stderr(&output);
    assert!(
        said.contains("the schema has no tables of realmgate, but "),
        "{said}"
    );
    assert!(
        said.contains(": check store.schema") || said.contains(" has: check"),
        "{said}"
    );
    drop(gate);
}
