//! The tests that the table of attacks names exist.

use std::fs;
use std::path::{Path, PathBuf};

/// Returns the text in backticks that is the path of a function.
pub(super) fn named(table: &str) -> Vec<&str> {
    let quoted = table.split('`').skip(1).step_by(2);
    quoted.filter(|text| text.contains("::")).collect()
}

/// Returns the file of a module: `a::b` is `a/b.rs`, `a/b/mod.rs`, or in `a.rs`.
fn file(root: &Path, modules: &[&str]) -> Option<PathBuf> {
    let within = |modules: &[&str]| {
        let path = root.join(modules.join("/"));
        [path.with_extension("rs"), path.join("mod.rs")]
            .into_iter()
            .find(|path| path.exists())
    };
    match modules {
        [outer @ .., "tests"] => within(modules).or_else(|| within(outer)),
        _ => within(modules),
    }
}

pub(super) fn is_test(path: &str) -> bool {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let modules: Vec<_> = path.split("::").collect();
    let [modules @ .., name] = &modules[..] else {
        return false;
    };
    let (trees, modules) = match modules {
        [member, modules @ ..] if member.starts_with("realmgate_") => {
            let member = member.trim_start_matches("realmgate_");
            (vec![format!("crates/{member}/src")], modules)
        }
        _ => (vec!["tests/it".to_owned(), "src".to_owned()], modules),
    };
    trees.iter().any(|tree| {
        file(&root.join(tree), modules).is_some_and(|file| {
            let text = fs::read_to_string(file).unwrap();
            let Some((before, _)) = text.split_once(&format!("fn {name}(")) else {
                return false;
            };
            // The line in which the function begins, then its attributes.
            before
                .rsplit('\n')
                .skip(1)
                .map(str::trim)
                .take_while(|line| line.starts_with("#["))
                .any(|line| line == "#[test]" || line.starts_with("#[tokio::test"))
        })
    })
}

#[test]
fn every_test_that_the_table_names_exists() {
    let table = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/attacks.md");
    let table = fs::read_to_string(table).unwrap();
    let named = named(&table);
    assert!(named.len() > 70, "{}", named.len());
    let gone: Vec<_> = named.into_iter().filter(|path| !is_test(path)).collect();
    assert!(gone.is_empty(), "{gone:#?}");
}

#[test]
fn test_that_does_not_exist_is_missed() {
    assert!(is_test(
        "project::attacks::test_that_does_not_exist_is_missed"
    ));
    assert!(!is_test("project::attacks::is_test"));
    assert!(!is_test("project::attacks::nothing"));
    assert!(!is_test("nothing::at_all"));
}
