//! Connections to PostgreSQL: TLS, passwords, PgBouncer.

use std::fs;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Stdio};

use tempfile::TempDir;

use super::run_with_store;
use crate::harness::certificate::Ca;
use crate::harness::port::Port;
use crate::harness::postgres::{Postgres, program};
use crate::harness::{Caller, Gate, get, stderr, stdout, until};

/// Starts a server with a certificate for other names than its address; returns it with the URL
/// without parameters.
fn with_tls(ca: &Ca, names: &str) -> (Postgres, String) {
    let (cert, key) = ca.issue("server", "/CN=db", names);
    let server = Postgres::start_with_tls(&cert, &key, &ca.file());
    let url = format!("postgres://django@{}/postgres", server.address());
    (server, url)
}

#[test]
fn certificate_is_verified_as_sslmode_says() {
    let (ca, other) = (Ca::new(), Ca::new());
    let (right, other) = (ca.file(), other.file());
    let (_elsewhere, of_another_name) = with_tls(&ca, "DNS:db.example.org");
    let (_here, of_this_name) = with_tls(&ca, "IP:127.0.0.1");
    let cases = [
        (
            &of_this_name,
            format!("sslmode=verify-full&sslrootcert={right}"),
            true,
        ),
        (
            &of_this_name,
            format!("sslmode=verify-full&sslrootcert={other}"),
            false,
        ),
        (&of_this_name, "sslmode=verify-full".to_owned(), false),
        (
            &of_another_name,
            format!("sslmode=verify-full&sslrootcert={right}"),
            false,
        ),
        (
            &of_another_name,
            format!("sslmode=verify-ca&sslrootcert={right}"),
            true,
        ),
        (
            &of_another_name,
            format!("sslmode=verify-ca&sslrootcert={other}"),
            false,
        ),
        (
            &of_another_name,
            format!("sslmode=require&sslrootcert={other}"),
            false,
        ),
        (&of_another_name, "sslmode=require".to_owned(), true),
    ];
    for (number, (url, parameters, is_good)) in cases.into_iter().enumerate() {
        let folder = tempfile::tempdir().unwrap();
        let store = format!("url = \"{url}?{parameters}\"\nschema = \"s{number}\"");
        let output = run_with_store(folder.path(), &store, &[], &["init"]);
        let expected = if is_good { 0 } else { 3 };
        assert_eq!(
            output.status.code(),
            Some(expected),
            "{parameters}: {}",
            stderr(&output)
        );
    }
}

#[test]
fn client_certificate_of_the_right_authority_and_user_opens_the_database() {
    let (ca, other) = (Ca::new(), Ca::new());
    let (server, _) = with_tls(&ca, "IP:127.0.0.1");
    server.sql("CREATE ROLE cert LOGIN");
    server.sql("CREATE SCHEMA gate AUTHORIZATION cert");
    let root = ca.file();
    let url = format!(
        "postgres://cert@{}/postgres?sslrootcert={root}&sslmode=verify-full",
        server.address()
    );
    let of = |(cert, key): (String, String)| format!("&sslcert={cert}&sslkey={key}");
    let right = of(ca.issue("right", "/CN=cert", ""));
    let of_another_user = of(ca.issue("another", "/CN=django", ""));
    let of_another_authority = of(other.issue("foreign", "/CN=cert", ""));
    let expired = of(ca.issue_for("expired", "/CN=cert", "", "-1"));
    for (certificate, expected) in [
        ("", 3),
        (&*of_another_user, 3),
        (&*of_another_authority, 3),
        (&*expired, 3),
        (&*right, 0),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let store = format!("url = \"{url}{certificate}\"\nschema = \"gate\"");
        let output = run_with_store(folder.path(), &store, &[], &["init"]);
        let said = stderr(&output);
        assert_eq!(
            output.status.code(),
            Some(expected),
            "{certificate}: {said}"
        );
    }
}

#[test]
fn password_comes_from_a_file_the_environment_or_a_credential_and_is_shown_nowhere() {
    const SECRET: &str = "canary-5f2a";
    let server = Postgres::start();
    server.sql("CREATE ROLE otp LOGIN PASSWORD 'canary-5f2a'");
    server.sql("CREATE SCHEMA gate AUTHORIZATION otp");
    let url = format!("postgres://otp@{}/postgres", server.address());
    let store = format!("url = \"{url}\"\nschema = \"gate\"");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("password");
    fs::write(&file, format!("{SECRET}\n")).unwrap();
    fs::set_permissions(&file, PermissionsExt::from_mode(0o600)).unwrap();
    let with_file = format!("{store}\npassword_file = \"{}\"", file.display());
    let wrong = folder.path().join("wrong");
    fs::write(&wrong, "canary-5f2b").unwrap();
    fs::set_permissions(&wrong, PermissionsExt::from_mode(0o600)).unwrap();
    let with_wrong = format!("{store}\npassword_file = \"{}\"", wrong.display());
    let credentials = tempfile::tempdir().unwrap();
    fs::write(credentials.path().join("realmgate.pgpassword"), SECRET).unwrap();
    let credentials = credentials.path().to_str().unwrap();
    let list = ["identity", "list"];
    for (store, environment, args, expected) in [
        (&with_file, &[][..], &["init"][..], 0),
        (&with_file, &[], &["check"], 0),
        (&with_file, &[], &list, 0),
        // The file comes first.
        (&with_file, &[("PGPASSWORD", "canary-5f2b")], &list, 0),
        (&store, &[("PGPASSWORD", SECRET)], &list, 0),
        (&store, &[("CREDENTIALS_DIRECTORY", credentials)], &list, 0),
        (&store, &[], &list, 3),
        (&with_wrong, &[], &list, 3),
        (&store, &[("PGPASSWORD", "canary-5f2b")], &list, 3),
        (&store, &[("PGPASSWORD", SECRET)], &["backup", "x"], 2),
    ] {
        let output = run_with_store(folder.path(), store, environment, args);
        let said = format!("{}{}", stdout(&output), stderr(&output));
        assert_eq!(output.status.code(), Some(expected), "{args:?}: {said}");
        assert!(!said.contains("canary"), "{args:?}: {said}");
    }
}

#[test]
fn check_warns_of_password_and_key_files_that_others_can_read() {
    let folder = tempfile::tempdir().unwrap();
    let [password, key] = ["password", "realmgate.key"].map(|name| folder.path().join(name));
    let store = format!(
        "url = \"postgres://otp@127.0.0.1/x\"\npassword_file = \"{}\"",
        password.display()
    );
    for (file, what) in [(&password, "password"), (&key, "key")] {
        fs::write(file, "secret").unwrap();
        for (mode, is_exposed) in [(0o600, false), (0o400, false), (0o640, true), (0o604, true)] {
            fs::set_permissions(file, PermissionsExt::from_mode(mode)).unwrap();
            let output = run_with_store(folder.path(), &store, &[], &["check"]);
            assert!(output.status.success(), "{}", stderr(&output));
            let warning = format!(
                "{what} file {}: others can read it (mode {mode:04o}), expected mode 0600",
                file.display()
            );
            let said = stderr(&output);
            assert_eq!(said.contains(&warning), is_exposed, "{mode:o}: {said}");
            assert!(is_exposed || !said.contains("others can read"), "{said}");
        }
        fs::set_permissions(file, PermissionsExt::from_mode(0o600)).unwrap();
    }
}

/// PgBouncer in transaction mode, ended when dropped.
struct PgBouncer {
    port: Port,
    child: Child,
    _folder: TempDir,
}

impl PgBouncer {
    fn start(server: &Postgres) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755)).unwrap();
        let port = Port::reserve();
        let config = folder.path().join("pgbouncer.ini");
        let text = format!(
            "[databases]\n* = host=127.0.0.1 port={} user=django\n[pgbouncer]\nlisten_addr = 127.0.0.1\n\
             listen_port = {}\nunix_socket_dir =\nauth_type = any\npool_mode = transaction\n\
             default_pool_size = 3\nserver_round_robin = 1\n",
            server.address().port(),
            port.address.port()
        );
        fs::write(&config, text).unwrap();
        let child = program("/usr/sbin/pgbouncer")
            .arg("--quiet")
            .arg(&config)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        until("PgBouncer answers", || {
            TcpStream::connect(port.address).is_ok()
        });
        Self {
            port,
            child,
            _folder: folder,
        }
    }
}

impl Drop for PgBouncer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn nodes_work_through_pgbouncer_in_transaction_mode() {
    let server = Postgres::start();
    let bouncer = PgBouncer::start(&server);
    let once = "[realm.once]\nreuse = \"once\"\n";
    let url = format!(
        "url = \"postgres://django@{}/postgres\"",
        bouncer.port.address
    );
    let one = Gate::start_on(&url, once);
    let other = one.start_beside(once);
    let callers: Vec<_> = (0..20)
        .map(|n| one.register(&format!("svc{n}"), "payments"))
        .collect();
    let single = one.register("svc", "once");
    let status =
        |gate: &Gate, caller: &Caller| get(gate.service, "/forward-auth", &caller.fields()).status;
    for caller in &callers {
        until("passes", || status(&one, caller) == 200);
        until("passes at the other", || status(&other, caller) == 200);
    }
    let fields = single.fields();
    let both = [&one, &other].map(|gate| get(gate.service, "/forward-auth", &fields).status);
    assert_eq!(both, [200, 401]);
    let disable = [
        "identity", "disable", "--name", "svc7", "--realm", "payments",
    ];
    assert!(one.run(&disable).status.success());
    until("felt", || status(&other, &callers[7]) == 401);
    let rotated = one.run(&["key", "rotate"]);
    assert!(rotated.status.success(), "{}", stderr(&rotated));
    assert_eq!(status(&other, &callers[8]), 200);
    // All of it over the three connections that PgBouncer has.
    let sql = "SELECT count(*) <= 3 FROM pg_stat_activity WHERE application_name = 'realmgate'";
    assert_eq!(server.query(sql), "t");
}
