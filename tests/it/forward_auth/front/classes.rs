//! The tests that the page on bypasses names exist.

use std::collections::HashSet;
use std::fs;
use std::path::Path;

/// Adds the names of all tests below a directory, and of all cases for front proxies.
fn add_tests(folder: &Path, tests: &mut HashSet<String>, cases: &mut HashSet<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            add_tests(&path, tests, cases);
        } else if path.extension().is_some_and(|it| it == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            let lines: Vec<&str> = text.lines().map(str::trim).collect();
            for pair in lines.windows(2) {
                let is_test = matches!(pair[0], "#[test]" | "#[tokio::test]");
                let name = pair[1].trim_start_matches("async ").strip_prefix("fn ");
                if let (true, Some(name)) = (is_test, name) {
                    tests.insert(name.split('(').next().unwrap().to_owned());
                }
            }
            let listed = lines.iter().filter_map(|line| line.strip_suffix(','));
            let listed = listed.filter_map(|line| line.split_once(": "));
            cases.extend(listed.map(|(_, name)| name.to_owned()));
        }
    }
}

#[test]
fn every_name_on_the_page_is_a_test() {
    let project = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (mut tests, mut cases) = (HashSet::new(), HashSet::new());
    for tree in ["src", "crates", "tests"] {
        add_tests(&project.join(tree), &mut tests, &mut HashSet::new());
    }
    add_tests(
        &project.join("tests/it/forward_auth/front"),
        &mut HashSet::new(),
        &mut cases,
    );
    let page = fs::read_to_string(project.join("docs/bypasses.md")).unwrap();
    // Subsections have other tables.
    let page = page.split("\n## ").next().unwrap();
    let rows = page.lines().filter_map(|line| line.strip_prefix("| "));
    let mut count = 0;
    for row in rows.skip(1) {
        let held = row.split(" | ").nth(2).unwrap();
        // The parts alternate between text and names in backticks.
        let parts: Vec<&str> = held.split('`').collect();
        assert!(parts.len() > 1, "no test: {row}");
        for (before, name) in parts.iter().zip(&parts[1..]).step_by(2) {
            let known = if before.ends_with("front ") {
                &cases
            } else {
                &tests
            };
            assert!(known.contains(*name), "{name} is no test: {row}");
            count += 1;
        }
    }
    assert!(count > 70, "{count}");
}
