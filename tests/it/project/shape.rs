//! Imports between rooms and between files, checked against the tables in ARCHITECTURE.md.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use super::arrows::{Crate, Module, sources};

/// A room: a directory or file in `src`, as its path there without extension, or a crate in
/// `crates`.
type Room = String;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Returns the rows of the table in ARCHITECTURE.md with this first heading.
fn table(first: &str) -> Vec<[String; 2]> {
    let page = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let heading = format!("| {first} | ");
    let rows: Vec<_> = page
        .lines()
        .skip_while(|line| !line.starts_with(&heading))
        .skip(2)
        .take_while(|line| line.starts_with("| "))
        .map(|line| {
            let cells: Vec<_> = line.trim_matches('|').split('|').map(str::trim).collect();
            [cells[0].to_owned(), cells[1].to_owned()]
        })
        .collect();
    assert!(rows.len() > 2, "no table of {first}");
    rows
}

/// Returns the room of a path: `src/doors/api/` is `doors/api`, `crates/core/` is `core`.
fn room_at(path: &str) -> Room {
    let path = path.trim_end_matches('/').trim_end_matches(".rs");
    let (_, name) = path.split_once('/').unwrap();
    name.to_owned()
}

/// Returns the rooms that each room may use; `None` for all.
fn allowed() -> BTreeMap<Room, Option<BTreeSet<Room>>> {
    let mut allowed = BTreeMap::new();
    for [rooms, uses] in table("Module") {
        let uses = match uses.as_str() {
            "everything" => None,
            "nothing" => Some(BTreeSet::new()),
            uses => Some(uses.split(", ").map(str::to_owned).collect()),
        };
        for path in rooms.split('`').skip(1).step_by(2) {
            assert!(root().join(path).exists(), "{path} is not there");
            allowed.insert(room_at(path), uses.clone());
        }
    }
    for used in allowed.values().flatten().flatten() {
        assert!(allowed.contains_key(used), "{used} is no room");
    }
    allowed
}

/// Returns the sources of the application and of each crate, with the room that a crate is.
fn crates() -> Vec<(Option<Room>, Crate)> {
    let mut found = vec![(None, Crate::read(&root().join("src")))];
    for folder in fs::read_dir(root().join("crates")).unwrap() {
        let folder = folder.unwrap().path();
        let name = folder.file_name().unwrap().to_str().unwrap();
        found.push((Some(name.to_owned()), Crate::read(&folder.join("src"))));
    }
    found
}

/// Returns the innermost room of a module of the application; `None` for the root, which only
/// declares modules.
fn room_of(module: &Module, rooms: &BTreeMap<Room, Option<BTreeSet<Room>>>) -> Option<Room> {
    if module.is_empty() {
        return None;
    }
    let innermost = (1..=module.len())
        .rev()
        .map(|length| module[..length].join("/"))
        .find(|room| rooms.contains_key(room));
    let Some(room) = innermost else {
        panic!("{} is in no row of the table", module.join("/"));
    };
    Some(room)
}

#[test]
fn rooms_use_only_what_the_table_allows() {
    let allowed = allowed();
    let mut wrong = BTreeSet::new();
    let mut used = BTreeSet::new();
    for (whole, read) in crates() {
        for (module, path) in read.files() {
            let Some(room) = whole.clone().or_else(|| room_of(module, &allowed)) else {
                continue;
            };
            let may = &allowed[&room];
            let mut uses = read.crates(module);
            if whole.is_none() {
                let imports = read.imports(module);
                uses.extend(imports.iter().filter_map(|it| room_of(it, &allowed)));
            }
            uses.remove(&room);
            for other in uses {
                if may.as_ref().is_some_and(|may| !may.contains(&other)) {
                    wrong.insert(format!("{} uses {other}", path.display()));
                }
                used.insert((room.clone(), other));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    let unused: Vec<_> = allowed
        .iter()
        .flat_map(|(room, may)| {
            may.iter()
                .flatten()
                .map(move |it| (room.clone(), it.clone()))
        })
        .filter(|arrow| !used.contains(arrow))
        .collect();
    assert!(
        unused.is_empty(),
        "the table allows what nothing uses: {unused:?}"
    );
}

#[test]
fn no_files_import_each_other() {
    let mut circles = Vec::new();
    for (_, read) in crates() {
        for circle in read.circles() {
            let names: Vec<_> = circle.iter().map(|it| it.join("/")).collect();
            circles.push(names.join(" → "));
        }
    }
    assert!(circles.is_empty(), "{circles:#?}");
}

#[test]
fn libraries_are_used_only_where_the_table_allows() {
    let allowed = allowed();
    let crates = crates();
    let mut wrong = Vec::new();
    for [libraries, rooms] in table("Library") {
        let rooms: Vec<&str> = rooms.split(", ").collect();
        let libraries: Vec<String> = libraries
            .split(", ")
            .map(|it| it.replace('-', "_"))
            .collect();
        let mut is_used = false;
        for (whole, read) in &crates {
            for (module, path) in read.files() {
                let Some(room) = whole.clone().or_else(|| room_of(module, &allowed)) else {
                    continue;
                };
                let identifiers = read.identifiers(module);
                let paths: Vec<_> = read.paths(module).collect();
                let named = libraries.iter().any(|it| {
                    let is_first = |path: &String| path.split("::").next() == Some(it);
                    identifiers.contains(it.as_str()) || paths.iter().any(is_first)
                });
                is_used |= named;
                if named && !rooms.contains(&room.as_str()) {
                    wrong.push(format!("{} uses {libraries:?}", path.display()));
                }
            }
        }
        assert!(is_used, "nothing uses {libraries:?}");
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn core_reads_no_clock_and_depends_on_no_protocol() {
    let core = root().join("crates/core");
    let read = Crate::read(&core.join("src"));
    for (module, path) in read.files() {
        let identifiers = read.identifiers(module);
        // Clock functions have these names in the standard library and elsewhere.
        assert!(
            !identifiers.contains("now") || !identifiers.contains("Instant"),
            "{}",
            path.display()
        );
        assert!(
            !read.paths(module).any(|it| it == "SystemTime::now"),
            "{}",
            path.display()
        );
    }
    let manifest = fs::read_to_string(core.join("Cargo.toml")).unwrap();
    let dependencies = manifest.split("[dev-dependencies]").next().unwrap();
    for library in [
        "axum", "http", "hyper", "pingora", "rusqlite", "tokio", "tracing",
    ] {
        assert!(!dependencies.contains(&format!("\n{library}")), "{library}");
    }
}

/// Returns whether a line begins a global value that can change.
fn is_mutable_global(line: &str) -> bool {
    let line = line.trim_start();
    let line = line.strip_prefix("pub").map_or(line, |rest| {
        let rest = rest.trim_start();
        let visibility = rest.strip_prefix('(').and_then(|it| it.split_once(')'));
        visibility.map_or(rest, |(_, rest)| rest).trim_start()
    });
    if line.contains("thread_local!") {
        return true;
    }
    let Some((_, declared)) = line
        .strip_prefix("static ")
        .and_then(|it| it.split_once(':'))
    else {
        return false;
    };
    let changing = [
        "mut ",
        "Atomic",
        "ArcSwap",
        "Cell",
        "Condvar",
        "Mutex",
        "Notify",
        "Once",
        "RwLock",
        "Semaphore",
    ];
    changing.iter().any(|it| declared.contains(it)) || line.starts_with("static mut ")
}

/// Values are made in one place and passed on, so that two servers in one process share nothing. A
/// task-local belongs to one request, so it is allowed.
#[test]
fn no_global_state_changes() {
    assert!(is_mutable_global(
        "    static PLACES: Semaphore = Semaphore::const_new(1);"
    ));
    assert!(is_mutable_global(
        "pub(crate) static A: LazyLock<Mutex<u8>> = LazyLock::new(Mutex::default);"
    ));
    assert!(!is_mutable_global("static LISTED: [u64; 256] = {"));
    for (file, text) in programs() {
        let code = text.split("#[cfg(test)]").next().unwrap();
        let mut is_task_local = false;
        let found = code.lines().find(|line| {
            is_task_local = line.contains("task_local!") || is_task_local && !line.starts_with('}');
            !is_task_local && is_mutable_global(line)
        });
        assert_eq!(found, None, "{}", file.display());
    }
}

/// Returns the source files of the application and of the crates, with their text.
fn programs() -> impl Iterator<Item = (PathBuf, String)> {
    let mut files: Vec<PathBuf> = Vec::new();
    for tree in ["src", "crates"] {
        sources(&root().join(tree), &mut files);
    }
    files.into_iter().map(|file| {
        let text = fs::read_to_string(&file).unwrap();
        (file, text)
    })
}

#[test]
fn files_are_about_one_concept() {
    for (file, text) in programs() {
        let code = text.split("#[cfg(test)]").next().unwrap();
        assert!(
            code.lines().count() <= 400,
            "{} outgrew 400 lines",
            file.display()
        );
    }
}
