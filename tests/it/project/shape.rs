//! The arrows between modules: the core knows no face, no database and no wire.

use std::fs;
use std::path::{Path, PathBuf};

/// A folder, and the words that its `use` lines and paths must not hold.
const FORBIDDEN: [(&str, &[&str]); 8] = [
    (
        "crates/core/src",
        &["http::", "SystemTime::now", "Instant::now"],
    ),
    (
        "src/headers",
        &[
            "crate::api",
            "crate::commands::cli",
            "crate::config",
            "crate::gateway",
            "crate::server",
            "crate::store",
            "pingora",
            "axum",
            "rusqlite",
        ],
    ),
    (
        "src/store",
        &[
            "crate::api",
            "crate::commands::cli",
            "crate::config",
            "crate::gateway",
            "crate::headers",
            "crate::server",
            "pingora",
            "http::",
            "axum",
        ],
    ),
    (
        "src/api",
        &[
            "crate::commands::cli",
            "crate::gateway",
            "crate::server",
            "crate::config",
            "pingora",
            "rusqlite",
        ],
    ),
    (
        "src/telemetry",
        &[
            "crate::api",
            "crate::commands::cli",
            "crate::gateway",
            "crate::server",
            "pingora::",
            "axum",
            "rusqlite",
        ],
    ),
    (
        "src/import",
        &[
            "crate::api",
            "crate::commands::cli",
            "crate::commands::client",
            "crate::config",
            "crate::gateway",
            "crate::headers",
            "crate::server",
            "crate::store",
            "pingora",
            "axum",
        ],
    ),
    (
        "src/gateway",
        &[
            "crate::api",
            "crate::commands::cli",
            "crate::server",
            "crate::store",
            "rusqlite",
        ],
    ),
    (
        "src/config",
        &[
            "crate::api",
            "crate::commands::cli",
            "crate::gateway",
            "crate::server",
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
