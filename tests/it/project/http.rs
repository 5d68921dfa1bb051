//! The tests that the table of HTTP rules names exist.

use std::fs;
use std::path::Path;

use super::attacks::{is_test, named};

#[test]
fn every_rule_has_a_test_that_exists() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/http.md");
    let page = fs::read_to_string(page).unwrap();
    let mut rules = 0;
    for line in page.lines().filter(|line| line.starts_with("| ")) {
        let cells: Vec<&str> = line.trim_matches('|').split(" | ").collect();
        if cells.len() != 5 || cells[0].trim() == "Rule" {
            continue;
        }
        rules += 1;
        let tests = named(cells[4]);
        assert!(!tests.is_empty(), "no test: {line}");
        for test in tests {
            assert!(is_test(test), "{test}");
        }
    }
    assert!(rules > 40, "{rules}");
}
