//! The documentation: links lead somewhere, names exist, and pages stay short.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Adds the files below a directory whose names end in `.EXTENSION`.
fn add_files(folder: &Path, extension: &str, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if path.is_dir() {
            if !name.starts_with('.') && !["target", "corpus", "node_modules"].contains(&name) {
                add_files(&path, extension, found);
            }
        } else if path.extension().is_some_and(|it| it == extension) {
            found.push(path);
        }
    }
}

fn files(extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    add_files(root(), extension, &mut found);
    found
}

fn text(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap()
}

/// Returns the lines of a page outside fenced blocks.
fn prose(page: &str) -> impl Iterator<Item = &str> {
    let mut fenced = false;
    page.lines().filter(move |line| {
        let fence = line.trim_start().starts_with("```");
        fenced ^= fence;
        !fenced && !fence
    })
}

/// Returns the anchor that GitHub gives a heading.
fn anchor(heading: &str) -> String {
    heading
        .trim_start_matches('#')
        .trim()
        .to_lowercase()
        .chars()
        .filter(|it| it.is_alphanumeric() || "-_ ".contains(*it))
        .map(|it| if it == ' ' { '-' } else { it })
        .collect()
}

fn anchors(page: &str) -> BTreeSet<String> {
    prose(page)
        .filter(|line| line.starts_with('#'))
        .map(anchor)
        .collect()
}

/// Returns the targets of the links in a page.
fn links(page: &str) -> Vec<String> {
    prose(page)
        .flat_map(|line| line.split("](").skip(1))
        .filter_map(|rest| rest.split_once(')'))
        .map(|(target, _)| target.to_owned())
        .collect()
}

#[test]
fn every_link_leads_somewhere() {
    let mut broken = Vec::new();
    let mut count = 0;
    for page in files("md") {
        let text = fs::read_to_string(&page).unwrap();
        for link in links(&text) {
            if link.contains("://") {
                continue;
            }
            count += 1;
            let (path, fragment) = link.split_once('#').unwrap_or((&link, ""));
            let target = match path {
                "" => page.clone(),
                path => page.parent().unwrap().join(path),
            };
            let found = target.exists()
                && (fragment.is_empty()
                    || anchors(&fs::read_to_string(&target).unwrap()).contains(fragment));
            if !found {
                broken.push(format!("{}: {link}", page.display()));
            }
        }
    }
    assert!(count > 100, "{count}");
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn index_of_the_documentation_lists_every_page() {
    for folder in ["docs", "docs/adr"] {
        let index: BTreeSet<_> = links(&text(&format!("{folder}/README.md")))
            .into_iter()
            .collect();
        for entry in fs::read_dir(root().join(folder)).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            if name.ends_with(".md") && name != "README.md" {
                assert!(index.contains(&name), "{folder}/{name}");
            }
        }
    }
}

#[test]
fn readme_and_architecture_stay_short() {
    for (page, limit) in [("README.md", 1500), ("ARCHITECTURE.md", 1800)] {
        let words = text(page).split_whitespace().count();
        assert!(words <= limit, "{page}: {words} words");
    }
}

/// The nouns are "login" and "logout", the verbs "log in" and "log out".
#[test]
fn login_is_spelled_in_one_way() {
    let is_hyphenated = |line: &str| {
        // The anchor of a heading, and the name of a file.
        let line = line.to_lowercase().replace("#log-in)", "");
        let line = line.replace("change-log-in-triggers", "");
        ["log-in", "log-out"].iter().any(|it| line.contains(it))
    };
    assert!(is_hyphenated("A Log-in") && !is_hyphenated("[it](a.md#log-in)"));
    let own = Path::new(file!()).file_name().unwrap();
    let mut found = Vec::new();
    for extension in ["md", "rs", "html", "js", "toml", "py", "json"] {
        for path in files(extension) {
            let text = fs::read_to_string(&path).unwrap();
            if path.file_name() != Some(own) && text.lines().any(is_hyphenated) {
                found.push(path);
            }
        }
    }
    assert!(found.is_empty(), "{found:#?}");
}

/// Returns the text in backticks on a page.
fn names(page: &str) -> BTreeSet<String> {
    prose(page)
        .flat_map(|line| line.split('`').skip(1).step_by(2))
        .map(str::to_owned)
        .collect()
}

/// Returns whether a text defines a name: an item, a field or a variant.
fn defines(code: &str, name: &str) -> bool {
    let is_word = |it: char| it.is_alphanumeric() || it == '_';
    code.match_indices(name).any(|(at, _)| {
        let (before, after) = code.split_at(at);
        let after = after.strip_prefix(name).unwrap();
        if before.ends_with(is_word) || after.starts_with(is_word) {
            return false;
        }
        let before = before.rsplit('\n').next().unwrap().trim_start();
        let is_item = [
            "struct",
            "enum",
            "trait",
            "type",
            "fn",
            "const",
            "static",
            "mod",
            "macro_rules!",
        ]
        .iter()
        .any(|it| before.trim_end().ends_with(it));
        is_item
            || (before.is_empty() || before.starts_with("pub"))
                && after.starts_with([':', ',', '(', ' '])
    })
}

/// Returns whether a name from ARCHITECTURE.md exists: a path, `Type::item`, an item, or text in a
/// source or in the reference configuration.
fn exists(name: &str, sources: &[(PathBuf, String)], reference: &str) -> bool {
    if root().join(name.trim_end_matches('/')).exists() {
        return true;
    }
    if let Some((of, item)) = name.rsplit_once("::") {
        let of = of.rsplit("::").next().unwrap();
        let is_module = of.starts_with(|it: char| it.is_lowercase());
        return sources.iter().any(|(path, code)| {
            let has_owner = match is_module {
                true => {
                    path.ends_with(format!("{of}.rs")) || path.ends_with(format!("{of}/mod.rs"))
                }
                false => defines(code, of) || code.contains(&format!("impl {of} ")),
            };
            has_owner && defines(code, item)
        });
    }
    let is_identifier = name.chars().all(|it| it.is_alphanumeric() || it == '_');
    if is_identifier && sources.iter().any(|(_, code)| defines(code, name)) {
        return true;
    }
    // A key or a table of the configuration.
    let (section, key) = name.split_once('.').unwrap_or((name, ""));
    let section = section.trim_matches(['[', ']']);
    reference
        .split("\n[")
        .chain(reference.split("\n#["))
        .any(|table| {
            let table = table.trim_start_matches('[');
            table.starts_with(section) && (key.is_empty() || table.contains(&format!("{key} = ")))
        })
}

#[test]
fn architecture_names_only_what_is_in_the_tree() {
    let this = Path::new(file!()).file_name().unwrap();
    let sources: Vec<_> = files("rs")
        .into_iter()
        .filter(|path| path.file_name() != Some(this))
        .map(|path| {
            let code = fs::read_to_string(&path).unwrap();
            (path, code)
        })
        .collect();
    let reference = text("config/realmgate.toml");
    let names = names(&text("ARCHITECTURE.md"));
    assert!(names.len() > 80, "{}", names.len());
    let gone: Vec<_> = names
        .iter()
        .filter(|name| !exists(name, &sources, &reference))
        .collect();
    assert!(gone.is_empty(), "{gone:#?}");
    for invented in [
        "src/nothing.rs",
        "Authority::nothing",
        "NoSuchThing",
        "limits.nothing",
    ] {
        assert!(!exists(invented, &sources, &reference), "{invented}");
    }
}

#[test]
fn every_target_of_make_that_a_page_names_exists() {
    let makefile = text("Makefile");
    let targets: BTreeSet<&str> = makefile
        .lines()
        .filter(|line| !line.starts_with(['\t', '#', '.']))
        .filter_map(|line| Some(line.split_once(':')?.0))
        .collect();
    let phony = makefile.lines().next().unwrap();
    let phony = phony.strip_prefix(".PHONY: ").unwrap().split(' ');
    assert_eq!(phony.collect::<BTreeSet<_>>(), targets);
    let mut named = 0;
    for path in files("md") {
        let page = fs::read_to_string(&path).unwrap();
        let code = page.split('`').skip(1).step_by(2);
        for target in code.filter_map(|it| it.strip_prefix("make ")) {
            let target = target.split_whitespace().next().unwrap();
            assert!(
                targets.contains(target),
                "{}: make {target}",
                path.display()
            );
            named += 1;
        }
    }
    assert!(named > 10, "{named}");
}
