//! The table of log lines in the documentation.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn file(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// Splits code into the arguments of a macro and the rest.
fn given(code: &str) -> Vec<&str> {
    let (mut depth, mut start, mut args) = (1, 0, Vec::new());
    let (mut is_text, mut is_escaped) = (false, false);
    for (at, char) in code.char_indices() {
        match char {
            _ if is_escaped => is_escaped = false,
            '\\' if is_text => is_escaped = true,
            '"' => is_text = !is_text,
            _ if is_text => {}
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth -= 1,
            _ => {}
        }
        let is_end = depth == 0;
        if is_end || (depth == 1 && char == ',' && !is_text) {
            args.push(code.get(start..at).unwrap().trim());
            start = at + 1;
        }
        if is_end {
            break;
        }
    }
    args.retain(|arg| !arg.is_empty());
    args
}

/// Decodes a string literal.
fn text(literal: &str) -> String {
    let mut lines = literal.split("\\\n");
    let mut text = lines.next().unwrap().to_owned();
    for line in lines {
        text += line.trim_start();
    }
    text.replace("\\\"", "\"")
}

/// The constants that are part of messages.
fn constants(code: &str) -> Vec<(String, String)> {
    let parts = code.split("const ").skip(1);
    let constants = parts.filter_map(|part| {
        let (name, rest) = part.split_once(": &str =")?;
        let literal = rest.trim_start().strip_prefix('"')?;
        let (literal, _) = literal.split_once("\";")?;
        Some((format!("{{{name}}}"), text(literal)))
    });
    constants.collect()
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if path.is_dir() && name != "tests" {
            sources(&path, found);
        } else if name.ends_with(".rs") && name != "tests.rs" {
            found.push(path);
        }
    }
}

/// Message, level and fields of each line that the program can log at `info` or above, in the form
/// of the table rows.
fn logged() -> BTreeSet<String> {
    let mut files = Vec::new();
    for folder in ["src", "crates"] {
        sources(&file(folder), &mut files);
    }
    let code: Vec<_> = files
        .iter()
        .map(|it| fs::read_to_string(it).unwrap())
        .collect();
    let constants: Vec<_> = code.iter().flat_map(|it| constants(it)).collect();
    let mut rows = BTreeSet::new();
    for code in &code {
        for (level, begin) in ["error", "warn", "info"].iter().flat_map(|level| {
            [
                (level, format!("tracing::{level}!(")),
                (level, "line!(".into()),
            ]
        }) {
            for part in code.split(&begin).skip(1) {
                let mut args = given(part);
                if begin == "line!(" {
                    if args.first() != Some(level) {
                        continue;
                    }
                    args.drain(..2);
                }
                let is_text = |arg: &&&str| arg.starts_with('"');
                let message = args.iter().rfind(is_text).unwrap().trim_matches('"');
                let mut message = text(message);
                for (name, value) in &constants {
                    message = message.replace(name, value);
                }
                let fields = args.iter().filter(|arg| !is_text(arg)).map(|arg| {
                    let name = arg.split('=').next().unwrap().trim();
                    assert!(!name.starts_with('?'), "debug output in {message:?}");
                    format!("`{}`", name.trim_start_matches('%'))
                });
                let fields: Vec<_> = fields.collect();
                rows.insert(format!("| `{message}` | {level} | {} |", fields.join(", ")));
            }
        }
    }
    rows
}

#[test]
fn documentation_lists_every_line_that_is_logged() {
    let text = fs::read_to_string(file("docs/observability.md")).unwrap();
    let (_, table) = text.split_once("| Message | Level |").unwrap();
    let rows = table
        .lines()
        .skip(2)
        .take_while(|line| line.starts_with('|'));
    let documented = rows.map(|row| {
        let (begin, _) = row
            .trim_end_matches('|')
            .trim_end()
            .rsplit_once(" | ")
            .unwrap();
        format!("{begin} |")
    });
    let documented: BTreeSet<_> = documented.collect();
    let logged = logged();
    assert!(logged.len() > 50, "{logged:#?}");
    let missing: Vec<_> = logged.difference(&documented).collect();
    let gone: Vec<_> = documented.difference(&logged).collect();
    assert!(
        missing.is_empty() && gone.is_empty(),
        "missing: {missing:#?}\nnot in the code: {gone:#?}"
    );
}
