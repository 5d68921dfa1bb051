//! The imports of each file, from `use` lines and from paths in the code.

#![expect(
    clippy::string_slice,
    reason = "cuts are where a search has found something"
)]

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs;
use std::path::{Path, PathBuf};

/// The module of a file: `a/b.rs` and `a/b/mod.rs` are `[a, b]`.
pub(super) type Module = Vec<String>;

/// The sources of a crate without tests.
pub(super) struct Crate {
    files: BTreeMap<Module, File>,
}

struct File {
    path: PathBuf,
    /// The tokens outside comments and literals.
    tokens: Vec<String>,
    uses: Vec<Use>,
    /// Paths of two or more segments outside `use` lines.
    paths: Vec<Vec<String>>,
}

struct Use {
    is_public: bool,
    path: Vec<String>,
    /// The name in this file; `*` for a glob import.
    name: String,
}

impl Crate {
    /// Reads the sources below a directory.
    pub(super) fn read(root: &Path) -> Self {
        let mut paths = Vec::new();
        sources(root, &mut paths);
        assert!(!paths.is_empty(), "{}", root.display());
        let files = paths.into_iter().map(|path| {
            let relative = path.strip_prefix(root).unwrap().with_extension("");
            let mut module: Module = relative
                .iter()
                .map(|part| part.to_str().unwrap().to_owned())
                .collect();
            if matches!(module.last().unwrap().as_str(), "mod" | "lib") {
                module.pop();
            }
            let text = fs::read_to_string(&path).unwrap();
            (module, File::parse(path, &text))
        });
        Self {
            files: files.collect(),
        }
    }

    /// Returns the files and their modules.
    pub(super) fn files(&self) -> impl Iterator<Item = (&Module, &Path)> {
        self.files
            .iter()
            .map(|(at, file)| (at, file.path.as_path()))
    }

    /// Returns the identifiers in a file, outside comments and literals.
    pub(super) fn identifiers(&self, module: &Module) -> BTreeSet<&str> {
        self.files[module]
            .tokens
            .iter()
            .map(String::as_str)
            .collect()
    }

    /// Returns the paths in a file as written, in `use` lines and elsewhere.
    pub(super) fn paths(&self, module: &Module) -> impl Iterator<Item = String> {
        let file = &self.files[module];
        let uses = file.uses.iter().map(|it| it.path.join("::"));
        uses.chain(file.paths.iter().map(|it| it.join("::")))
    }

    /// Returns the other crates of the workspace that a file uses, without the prefix `realmgate_`.
    pub(super) fn crates(&self, module: &Module) -> BTreeSet<String> {
        let short = |name: &String| name.strip_prefix("realmgate_").map(str::to_owned);
        let named = self.files[module].tokens.iter().filter_map(short);
        // The root may rename a crate.
        let root = &self.files[&Module::new()].uses;
        let file = &self.files[module];
        let paths = file.uses.iter().map(|it| &it.path).chain(&file.paths);
        let renamed = paths
            .filter_map(|path| self.absolute(module, path))
            .filter_map(|path| {
                let renamed = root.iter().find(|it| Some(&it.name) == path.first());
                renamed.and_then(|it| short(it.path.first()?))
            });
        let used = file.uses.iter().filter_map(|it| short(it.path.first()?));
        named.chain(renamed).chain(used).collect()
    }

    /// Returns the files that a file imports from, by module.
    pub(super) fn imports(&self, module: &Module) -> BTreeSet<Module> {
        let file = &self.files[module];
        let mut found = BTreeSet::new();
        let mut add = |path: Option<Vec<String>>| {
            found.extend(path.map(|path| self.defined_in(&path, 0)));
        };
        for one in &file.uses {
            let path = self.absolute(module, &one.path);
            // What is used of an imported module is visible where it is named.
            let is_module = path.as_ref().is_some_and(|it| self.files.contains_key(it));
            // A re-exported name that is not used here is not an import.
            if (!is_module || one.name == "*") && (!one.is_public || file.names(&one.name)) {
                add(path);
            }
        }
        for path in &file.paths {
            add(match file.uses.iter().find(|it| it.name == path[0]) {
                Some(alias) => self.absolute(module, &[&alias.path, &path[1..]].concat()),
                None => self.absolute(module, path),
            });
        }
        found.remove(module);
        found
    }

    /// Returns a path from the root of the crate; `None` if it leads to another crate.
    fn absolute(&self, module: &Module, path: &[String]) -> Option<Vec<String>> {
        let (first, rest) = path.split_first()?;
        match first.as_str() {
            "crate" => Some(rest.to_vec()),
            "self" => Some([module, rest].concat()),
            "super" => {
                let ups = path.iter().take_while(|it| *it == "super").count();
                let base = &module[..module.len().checked_sub(ups)?];
                Some([base, &path[ups..]].concat())
            }
            child => {
                let is_child = self
                    .files
                    .contains_key(&[module, &[child.to_owned()][..]].concat());
                is_child.then(|| [module, path].concat())
            }
        }
    }

    /// Returns the module that defines a name, following re-exports.
    fn defined_in(&self, path: &[String], depth: usize) -> Module {
        let is_module = |length: &usize| self.files.contains_key(&path[..*length]);
        let length = (0..=path.len()).rev().find(is_module).unwrap_or(0);
        let (module, rest) = path.split_at(length);
        let module = module.to_vec();
        let Some(file) = self.files.get(&module) else {
            return module;
        };
        let passed_on = rest.first().and_then(|name| {
            let found = file.uses.iter().find(|it| it.is_public && it.name == *name);
            self.absolute(&module, &found?.path)
        });
        match passed_on {
            Some(origin) if depth < 8 => {
                self.defined_in(&[&origin, &rest[1..]].concat(), depth + 1)
            }
            _ => module,
        }
    }

    /// Returns the import circles, each as a list of files.
    pub(super) fn circles(&self) -> Vec<Vec<Module>> {
        let arrows: BTreeMap<&Module, BTreeSet<Module>> =
            self.files.keys().map(|it| (it, self.imports(it))).collect();
        let mut circles: Vec<Vec<Module>> = Vec::new();
        for start in self.files.keys() {
            if circles.iter().flatten().any(|it| it == start) {
                continue;
            }
            circles.extend(way(&arrows, start));
        }
        circles
    }
}

/// Returns the shortest path from a file back to itself, if there is one.
fn way(arrows: &BTreeMap<&Module, BTreeSet<Module>>, start: &Module) -> Option<Vec<Module>> {
    let mut before: BTreeMap<&Module, &Module> = BTreeMap::new();
    let mut next = VecDeque::from([start]);
    while let Some(at) = next.pop_front() {
        for to in &arrows[at] {
            if to == start {
                let mut way = vec![at.clone()];
                while let Some(from) = before.get(way.last().unwrap()) {
                    way.push((*from).clone());
                }
                way.reverse();
                return Some(way);
            }
            if !before.contains_key(to) {
                before.insert(to, at);
                next.push_back(to);
            }
        }
    }
    None
}

impl File {
    fn parse(path: PathBuf, text: &str) -> Self {
        let tokens = without_tests(tokens(text));
        let mut file = Self {
            path,
            tokens: Vec::new(),
            uses: Vec::new(),
            paths: Vec::new(),
        };
        let mut at = 0;
        let mut is_public = false;
        while let Some(token) = tokens.get(at) {
            match token.as_str() {
                // Not the captures of an `impl Trait`: `use<'a, T>`.
                "use" if tokens.get(at + 1).is_none_or(|it| it != "<") => {
                    at += 1;
                    tree(&tokens, &mut at, &[], is_public, &mut file.uses);
                    is_public = false;
                    continue;
                }
                "pub" => {
                    is_public = true;
                    // The visibility in parentheses is not an import.
                    if tokens.get(at + 1).is_some_and(|it| it == "(") {
                        at += tokens[at..].iter().position(|it| it == ")").unwrap();
                    }
                    at += 1;
                    continue;
                }
                token if is_identifier(token) => {
                    let mut path = vec![token.to_owned()];
                    let follows = |at: usize| {
                        tokens.get(at + 1).is_some_and(|it| it == "::")
                            && tokens.get(at + 2).is_some_and(|it| is_identifier(it))
                    };
                    let is_within = at > 0 && (tokens[at - 1] == "::" || tokens[at - 1] == ".");
                    while follows(at) {
                        at += 2;
                        path.push(tokens[at].clone());
                    }
                    file.tokens.extend(path.iter().cloned());
                    if path.len() > 1 && !is_within {
                        file.paths.push(path);
                    }
                }
                _ => {}
            }
            is_public = false;
            at += 1;
        }
        file
    }

    fn names(&self, name: &str) -> bool {
        self.tokens.iter().any(|it| it == name)
    }
}

/// Parses a tree of a `use` line.
fn tree(
    tokens: &[String],
    at: &mut usize,
    before: &[String],
    is_public: bool,
    found: &mut Vec<Use>,
) {
    let mut path = before.to_vec();
    let mut name = None;
    while let Some(token) = tokens.get(*at) {
        *at += 1;
        match token.as_str() {
            "::" => {}
            "{" => {
                while tokens[*at] != "}" {
                    tree(tokens, at, &path, is_public, found);
                    if tokens[*at] == "," {
                        *at += 1;
                    }
                }
                *at += 1;
                return;
            }
            "as" => {
                name = Some(tokens[*at].clone());
                *at += 1;
            }
            "self" if !path.is_empty() => {}
            "," | "}" | ";" => {
                *at -= 1;
                break;
            }
            part => path.push(part.to_owned()),
        }
    }
    let name = name.unwrap_or_else(|| path.last().unwrap().clone());
    if name == "*" {
        path.pop();
    }
    found.push(Use {
        is_public,
        path,
        name,
    });
}

/// Cuts off the test module at the end of a file.
fn without_tests(mut tokens: Vec<String>) -> Vec<String> {
    let cfg = ["#", "[", "cfg", "(", "test", ")", "]", "mod"];
    let tests = tokens.windows(cfg.len()).position(|it| it == cfg);
    tokens.truncate(tests.unwrap_or(tokens.len()));
    tokens
}

fn is_identifier(token: &str) -> bool {
    token.starts_with(|it: char| it.is_alphabetic() || it == '_')
}

/// Tokenizes code into identifiers, `::` and single characters, without comments and literals.
fn tokens(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let length = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if let Some(length) = literal(rest) {
            length
        } else if rest.starts_with("::") {
            found.push("::".to_owned());
            2
        } else if is_identifier(rest) {
            let end = rest.find(|it: char| !it.is_alphanumeric() && it != '_');
            let end = end.unwrap_or(rest.len());
            found.push(rest[..end].to_owned());
            end
        } else {
            if !first.is_whitespace() {
                found.push(first.to_string());
            }
            first.len_utf8()
        };
        rest = &rest[length..];
    }
    found
}

/// Returns the length of the literal at the beginning of the code.
fn literal(code: &str) -> Option<usize> {
    let raw = code.trim_start_matches(['b', 'r']);
    let prefix = code.len() - raw.len();
    if prefix <= 2 && code[..prefix].contains('r') {
        let marks = raw.len() - raw.trim_start_matches('#').len();
        if raw[marks..].starts_with('"') {
            let end = format!("\"{}", "#".repeat(marks));
            let begun = prefix + marks + 1;
            return Some(begun + code[begun..].find(&end).unwrap() + end.len());
        }
    }
    let code_after = code.strip_prefix('b').unwrap_or(code);
    let offset = code.len() - code_after.len();
    let quote = code_after.chars().next().filter(|it| "\"'".contains(*it))?;
    let mut escaped = false;
    let within = code_after.char_indices().skip(1);
    let end = within.clone().find(|(_, it)| {
        let is_end = *it == quote && !escaped;
        escaped = *it == '\\' && !escaped;
        is_end
    });
    let (end, _) = end?;
    // A lifetime has no closing quote nearby.
    let chars = within.take_while(|(at, _)| *at < end).count();
    let is_escape = code_after[1..].starts_with('\\');
    if quote == '\'' && chars != 1 && !is_escape {
        return None;
    }
    Some(offset + end + 1)
}

/// Finds the sources below a directory, except tests, code for fuzzing only, and the binary, which
/// is a crate of its own.
pub(super) fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if path.is_dir() {
            if !["tests", "fuzzing"].contains(&name) {
                sources(&path, found);
            }
        } else if path.extension().is_some_and(|it| it == "rs")
            && !["tests.rs", "fuzzing.rs", "main.rs"].contains(&name)
        {
            found.push(path);
        }
    }
}

#[test]
fn imports_are_seen_in_use_lines_and_in_paths_wherever_a_name_is_passed_on() {
    let folder = tempfile::tempdir().unwrap();
    for (path, text) in [
        ("lib.rs", "mod a; mod b; mod c; mod d; mod e;"),
        (
            "a.rs",
            "use crate::{b::{self, B}, c::C as D}; fn f() { b::g() }",
        ),
        (
            "b/mod.rs",
            "mod inner; pub use inner::{B, g}; pub use crate::d::unused;",
        ),
        (
            "b/inner.rs",
            "pub struct B; pub fn g<'a>() -> &'a str { \"crate::e::E\" } // crate::e",
        ),
        (
            "c.rs",
            "pub(in crate::e) struct C; #[cfg(test)] mod tests { use crate::e::E; }",
        ),
        (
            "d.rs",
            "fn f() { let quote = '\"'; crate::e::run(r#\"crate::c \"#); super::b::B; }",
        ),
        ("e.rs", "use super::d; fn run() { self::h(d::f) } fn h() {}"),
    ] {
        let path = folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let read = Crate::read(folder.path());
    let imports = |module: &str| {
        let module: Module = module.split('/').map(str::to_owned).collect();
        let found: Vec<String> = read
            .imports(&module)
            .iter()
            .map(|it| it.join("/"))
            .collect();
        found.join(" ")
    };
    for (module, expected) in [
        ("a", "b/inner c"),
        ("b", ""),
        ("b/inner", ""),
        ("c", ""),
        ("d", "b/inner e"),
        ("e", "d"),
    ] {
        assert_eq!(imports(module), expected, "{module}");
    }
    assert_eq!(read.circles(), [[["d".to_owned()], ["e".to_owned()]]]);
}
