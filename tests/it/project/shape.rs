//! The arrows between modules: the core knows no face, no database and no wire.

use std::fs;
use std::path::{Path, PathBuf};

/// A folder, and the words that its `use` lines and paths must not hold.
const FORBIDDEN: [(&str, &[&str]); 10] = [
    (
        "crates/core/src",
        &["http::", "SystemTime::now", "Instant::now"],
    ),
    (
        "src/http",
        &[
            "crate::cli",
            "crate::config",
            "crate::doors",
            "crate::net",
            "crate::server",
            "crate::store",
            "crate::upstream",
            "axum",
            "rusqlite",
        ],
    ),
    (
        "src/store",
        &[
            "crate::cli",
            "crate::config",
            "crate::doors",
            "crate::http",
            "crate::net",
            "crate::routing",
            "crate::server",
            "crate::telemetry",
            "crate::upstream",
            "pingora",
            "http::",
            "axum",
        ],
    ),
    (
        "src/doors/api",
        &[
            "crate::cli",
            "crate::config",
            "crate::net",
            "crate::server",
            "pingora",
            "rusqlite",
        ],
    ),
    (
        "src/telemetry",
        &[
            "crate::cli",
            "crate::doors",
            "crate::net",
            "crate::routing",
            "crate::server",
            "crate::upstream",
            "pingora::",
            "axum",
            "rusqlite",
        ],
    ),
    (
        "src/import",
        &[
            "crate::cli",
            "crate::client",
            "crate::config",
            "crate::doors",
            "crate::http",
            "crate::net",
            "crate::routing",
            "crate::server",
            "crate::store",
            "crate::upstream",
            "pingora",
            "axum",
        ],
    ),
    (
        "src/routing",
        &[
            "crate::cli",
            "crate::doors",
            "crate::net",
            "crate::server",
            "crate::store",
            "crate::upstream",
            "pingora",
            "rusqlite",
        ],
    ),
    (
        "src/upstream",
        &[
            "crate::cli",
            "crate::doors",
            "crate::routing",
            "crate::server",
            "crate::store",
            "rusqlite",
        ],
    ),
    (
        "src/doors",
        &["crate::cli", "crate::server", "crate::store", "rusqlite"],
    ),
    (
        "src/config",
        &[
            "crate::cli",
            "crate::doors",
            "crate::net",
            "crate::routing",
            "crate::server",
            "crate::upstream",
            "pingora",
            "rusqlite",
        ],
    ),
];

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|it| it == "rs") && !path.ends_with("tests.rs") {
            found.push(path);
        }
    }
}

#[test]
fn arrows_point_one_way() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for (folder, words) in FORBIDDEN {
        let mut files = Vec::new();
        sources(&root.join(folder), &mut files);
        assert!(!files.is_empty(), "{folder}");
        for file in files {
            let text = fs::read_to_string(&file).unwrap();
            let code = text.split("#[cfg(test)]").next().unwrap();
            for line in code
                .lines()
                .filter(|line| !line.trim_start().starts_with("//"))
            {
                for word in words {
                    assert!(
                        !line.contains(word),
                        "{}: {word} in {line:?}",
                        file.display()
                    );
                }
            }
        }
    }
}

#[test]
fn files_are_about_one_concept() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    for tree in ["src", "crates"] {
        sources(&root.join(tree), &mut files);
    }
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        let code = text.split("#[cfg(test)]").next().unwrap();
        assert!(
            code.lines().count() <= 400,
            "{} outgrew 400 lines",
            file.display()
        );
    }
}
