//! Imports from a PostgreSQL server of the test.

use std::time::Instant;

use serde_json::json;

use super::{PLAIN_MODEL, SEED, USER_MODEL, identities, import, report};
use crate::harness::certificate::certificate;
use crate::harness::postgres::Postgres;
use crate::harness::{Caller, Gate, PATIENCE, get, realmgate, stderr, until};

/// Creates the table without Django's user columns, with one row that everybody may read.
fn plain(postgres: &Postgres) {
    postgres.sql(&PLAIN_MODEL.replace(
        "integer NOT NULL PRIMARY KEY AUTOINCREMENT",
        "bigserial PRIMARY KEY",
    ));
    postgres.sql("GRANT SELECT ON otpauth_otpseed TO public");
    postgres.sql(&format!(
        "INSERT INTO otpauth_otpseed (name, realm, seed) VALUES ('x', 'y', '{SEED}')"
    ));
}

/// Runs a dry run in an empty directory. Returns the exit code and both outputs.
fn look(url: &str, environment: &[(&str, &str)]) -> (i32, String) {
    let folder = tempfile::tempdir().unwrap();
    let output = realmgate(&["import", "django", url, "--verbose"])
        .current_dir(folder.path())
        .env_remove("PGPASSWORD")
        .env_remove("SSL_CERT_FILE")
        .envs(environment.iter().copied())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &stderr(&output);
    (output.status.code().unwrap(), text)
}

#[test]
fn postgresql_is_read_by_its_url() {
    let postgres = Postgres::start();
    postgres.sql(
        &USER_MODEL
            .replace(
                "integer NOT NULL PRIMARY KEY AUTOINCREMENT",
                "serial PRIMARY KEY",
            )
            .replace("datetime", "timestamptz")
            .replace("bool", "boolean"),
    );
    postgres.sql(&format!(
        "INSERT INTO otpauth_otpseed VALUES
           (3, '!', NULL, false, 'a', '', '', '', false, true, '2018-11-17 21:45:03.5+00', 'svc', 'payments', '{SEED}'),
           (9, '!', NULL, false, 'b', '', '', '', false, false, '2018-11-17 21:45:03+00', 'off', 'r', '{SEED}')"
    ));
    let gate = Gate::start("");
    let report = report(&import(&gate, &postgres.url(), &["--apply"]));
    assert_eq!(
        report["rows"][1]["notes"],
        json!(["disabled, because is_active is false (the old server ignored it)"])
    );
    let rows = identities(&gate);
    assert_eq!(
        (&rows[0]["id"], &rows[0]["created"]),
        (&json!(3), &json!(1_542_491_103))
    );
    let caller = Caller {
        name: "svc".into(),
        realm: "payments".into(),
        seed: SEED.into(),
    };
    until("the server has noticed", || {
        get(gate.service, "/forward-auth", &caller.fields()).status == 200
    });
}

#[test]
fn table_without_djangos_user_is_read() {
    let postgres = Postgres::start();
    plain(&postgres);
    let (code, text) = look(&postgres.url(), &[]);
    assert_eq!(code, 0, "{text}");
    assert!(text.contains(" 1  x@y         new\n"), "{text}");
}

#[test]
fn server_is_reached_through_its_socket() {
    let postgres = Postgres::start();
    plain(&postgres);
    for more in ["", "?sslmode=require"] {
        let (code, text) = look(&format!("{}{more}", postgres.socket_url()), &[]);
        assert_eq!(code, 0, "{more}: {text}");
    }
}

#[test]
fn database_without_the_table_is_reported() {
    let postgres = Postgres::start();
    let (code, text) = look(&postgres.url(), &[]);
    assert_eq!(code, 2);
    assert!(text.contains("no table otpauth_otpseed"), "{text}");
}

#[test]
fn password_is_taken_from_the_url_or_the_environment_and_never_shown() {
    let postgres = Postgres::start();
    plain(&postgres);
    postgres.sql("CREATE ROLE otp LOGIN PASSWORD 'geheim'");
    let (with, without) = (postgres.url_of("otp:geheim"), postgres.url_of("otp"));
    assert_eq!(look(&with, &[]).0, 0);
    assert_eq!(look(&without, &[("PGPASSWORD", "geheim")]).0, 0);
    let wrong = postgres.url_of("otp:falsch");
    for (url, environment) in [(&wrong, &[][..]), (&without, &[("PGPASSWORD", "falsch")])] {
        let (code, text) = look(url, environment);
        assert_eq!(code, 3, "{text}");
        assert!(text.contains("password authentication failed"), "{text}");
        assert!(!text.contains("falsch"), "{text}");
    }
}

#[test]
fn tls_is_used_where_asked_for_with_a_certificate_that_the_system_trusts() {
    let folder = tempfile::tempdir().unwrap();
    let (cert, key) = certificate(folder.path());
    let postgres = Postgres::start_with_tls(&cert, &key, &cert);
    plain(&postgres);
    // From now on, the server requires TLS.
    postgres.sql(
        "CREATE FUNCTION refuse() RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN
           IF (SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()) THEN RETURN true; END IF;
           RAISE EXCEPTION 'in clear'; END $$;
         ALTER TABLE otpauth_otpseed RENAME TO rows;
         CREATE VIEW otpauth_otpseed AS SELECT * FROM rows WHERE refuse()",
    );
    let url = format!("{}?sslmode=require", postgres.url());
    let (code, text) = look(&url, &[("SSL_CERT_FILE", &cert)]);
    assert_eq!(code, 0, "{text}");
    let (code, text) = look(&url, &[]);
    assert_eq!(code, 3, "{text}");
    assert!(text.contains("certificate"), "{text}");
    let (code, text) = look(&postgres.url(), &[]);
    assert_eq!(code, 2, "{text}");
    assert!(text.contains("in clear"), "{text}");
}

#[test]
fn server_without_tls_is_rejected_where_it_is_asked_for() {
    let postgres = Postgres::start();
    plain(&postgres);
    let (code, text) = look(&format!("{}?sslmode=require", postgres.url()), &[]);
    assert_eq!(code, 3, "{text}");
    assert!(text.contains("does not support TLS"), "{text}");
}

#[test]
fn endless_view_is_given_up_after_the_timeout() {
    let postgres = Postgres::start();
    postgres.sql(
        "CREATE VIEW otpauth_otpseed AS
           SELECT 1::bigint AS id, 'n'::text AS name, 'r'::text AS realm, pg_sleep(3600)::text AS seed",
    );
    let folder = tempfile::tempdir().unwrap();
    let began = Instant::now();
    let output = realmgate(&["import", "django", &postgres.url(), "--timeout", "1"])
        .current_dir(folder.path())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
    assert!(stderr(&output).contains("could not be read within 1s"));
    assert!(began.elapsed() < PATIENCE);
}

#[test]
fn rows_are_not_kept_beyond_the_bound() {
    let postgres = Postgres::start();
    postgres.sql(
        "CREATE VIEW otpauth_otpseed AS
           WITH RECURSIVE n(i) AS (SELECT 1::bigint UNION ALL SELECT i + 1 FROM n)
           SELECT i AS id, 'n' || i AS name, 'r' AS realm, 'AAAAAAAAAAAAAAAA' AS seed FROM n",
    );
    let folder = tempfile::tempdir().unwrap();
    let output = realmgate(&["import", "django", &postgres.url(), "--max-rows", "1000"])
        .current_dir(folder.path())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
    assert!(stderr(&output).contains("more than 1000 rows"));
}
