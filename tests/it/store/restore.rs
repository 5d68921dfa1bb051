//! The commands of docs/high-availability.md that copy and restore a database on a server.

use std::fs;

use crate::harness::postgres::{Postgres, program};
use crate::harness::{Gate, get, realmgate, stderr, until};

/// Returns the shell commands in a section of the page.
fn commands(section: &str) -> Vec<&'static str> {
    let page = include_str!("../../../docs/high-availability.md");
    let section = page.split(&format!("\n## {section}\n")).nth(1).unwrap();
    let section = section.split("\n## ").next().unwrap();
    let blocks = section.split("```sh\n").skip(1);
    let lines = blocks.flat_map(|it| it.split("```").next().unwrap().lines());
    lines.collect()
}

#[test]
fn dump_is_restored_by_the_commands_of_the_page() {
    const URL: &str = "'postgres://realmgate@db1.example.org/realmgate?sslmode=verify-full'";
    let server = Postgres::start();
    let one = Gate::start_on(&format!("url = \"{}\"", server.url()), "");
    let caller = one.register("svc", "payments");
    let backup = one.run(&["backup", "/nowhere/copy.db"]);
    assert_eq!(backup.status.code(), Some(2));
    let said = stderr(&backup);
    assert!(
        said.contains("copy it with `pg_dump --format=custom`"),
        "{said}"
    );

    server.sql("CREATE DATABASE restored");
    let restored = server.url().replace("/postgres", "/restored");
    let folder = tempfile::tempdir().unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o777);
    fs::set_permissions(folder.path(), mode).unwrap();
    let commands = commands("Backup");
    assert_eq!(commands.len(), 2, "{commands:?}");
    for (line, url) in commands.into_iter().zip([server.url(), restored.clone()]) {
        assert!(line.contains(URL), "{line}");
        let line = line.replace(URL, &url);
        let mut words = line.split_whitespace();
        let output = program(words.next().unwrap())
            .args(words)
            .current_dir(folder.path())
            .output()
            .unwrap();
        assert!(output.status.success(), "{line}: {}", stderr(&output));
    }
    let mut one = one;
    one.signal("TERM");
    assert!(one.child.wait().unwrap().success());
    let folder = one.into_folder();
    let config = folder.path().join("realmgate.toml");
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, text.replace(&server.url(), &restored)).unwrap();
    let two = Gate::start_in(folder, realmgate(&[]));
    until("it passes", || {
        get(two.service, "/forward-auth", &caller.fields()).status == 200
    });
    let late = two.register("late", "payments");
    until("it passes", || {
        get(two.service, "/forward-auth", &late.fields()).status == 200
    });
}
