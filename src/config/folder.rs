//! The files of a directory that a pattern stands for.

use std::path::Path;
use std::{fs, io};

/// The maximum number of entries of a directory that are compared with a pattern.
const ENTRIES: usize = 100_000;

/// Returns the names of the entries of a directory that match a pattern, ascending.
///
/// # Errors
/// A text that completes "expected".
pub(super) fn entries(folder: &Path, pattern: &str) -> Result<Vec<String>, String> {
    let unreadable = |error: io::Error| {
        format!(
            "a directory that can be read ({}: {error})",
            folder.display()
        )
    };
    let mut found = Vec::new();
    for (at, entry) in fs::read_dir(folder).map_err(unreadable)?.enumerate() {
        if at == ENTRIES {
            return Err(format!("a directory of at most {ENTRIES} entries"));
        }
        let entry = entry.map_err(unreadable)?.file_name();
        // The names of an editor's and of Kubernetes' own files begin with a dot.
        let entry = entry.to_str().filter(|it| !it.starts_with('.'));
        found.extend(entry.filter(|it| matches(pattern, it)).map(str::to_owned));
    }
    found.sort_unstable();
    Ok(found)
}

/// Returns whether a name matches a pattern, in which `*` stands for any characters.
fn matches(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = name.strip_prefix(first) else {
        return false;
    };
    let Some(last) = parts.next_back() else {
        return rest.is_empty();
    };
    for part in parts {
        let Some(at) = rest.find(part) else {
            return false;
        };
        rest = rest.get(at + part.len()..).unwrap_or_default();
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn star_stands_for_any_characters() {
        for (pattern, name, expected) in [
            ("*.toml", "a.toml", true),
            ("*.toml", ".toml", true),
            ("*.toml", "a.toml~", false),
            ("a*b", "ab", true),
            ("a*b", "a", false),
            ("ab*b", "ab", false),
            ("a*b*c", "a-b-c", true),
            ("a*b*c", "a-c-b", false),
            ("**", "a", true),
            ("a", "a", true),
            ("a", "ab", false),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
    }
}
