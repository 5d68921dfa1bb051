//! The table of clients in docs/clients.md.

use std::path::Path;
use std::process::Command;

use crate::harness::{stderr, stdout};

#[test]
fn documentation_lists_every_client_that_is_tested() {
    let project = Path::new(env!("CARGO_MANIFEST_DIR"));
    let output = Command::new("python3")
        .arg(project.join("tests/clients/run"))
        .arg("--list")
        .output()
        .unwrap_or_else(|error| panic!("python3: {error}; run scripts/setup test"));
    assert!(output.status.success(), "{}", stderr(&output));
    let page = std::fs::read_to_string(project.join("docs/clients.md")).unwrap();
    let (_, table) = page.split_once("<!-- make clients -->\n").unwrap();
    let (table, _) = table.split_once("<!-- end -->").unwrap();
    let mut rows = table.lines().skip(2);
    let heading = table.lines().next().unwrap();
    for client in stdout(&output).lines() {
        let row = rows.next().unwrap_or_else(|| panic!("no row of {client}"));
        let cells: Vec<_> = row.trim_matches('|').split('|').map(str::trim).collect();
        assert_eq!(cells[0], client);
        assert_eq!(cells.len(), heading.matches('|').count() - 1, "{row}");
        assert!(cells.iter().all(|it| !it.is_empty()), "{row}");
    }
    assert_eq!(rows.next(), None);
}
