//! Finds and reads the files that `include` names.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, Read};
use std::ops::Range;
use std::path::{Component, Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::folder::entries;
use super::inputs::{InputKind, Inputs};

/// The maximum number of included files.
const FILES: usize = 10_000;

/// Describes the valid patterns.
const PATTERN: &str = r#"files below the directory of this file, such as "routes.d/*.toml": a relative path without "..", with "*" only in the name of the file"#;

/// A file that was included.
pub(super) struct IncludedFile {
    /// The name in messages.
    pub(super) name: String,
    pub(super) text: String,
    /// The index of its item of `include`.
    pub(super) item: usize,
}

/// The included files in order, and what is wrong with `include`.
#[derive(Default)]
pub(super) struct Includes {
    pub(super) files: Vec<IncludedFile>,
    pub(super) mistakes: Vec<Mistaken>,
}

/// An item of `include` that cannot be followed.
pub(super) struct Mistaken {
    /// The dotted path of the key.
    pub(super) key: String,
    /// The position in the main file.
    pub(super) span: Range<usize>,
    pub(super) expected: String,
}

/// Reads the files that the `include` of `text` names, in the order of the items and, within an
/// item, of the names. `main` is the file with that text. All files together have at most
/// `bytes` bytes.
pub(super) fn read(text: &str, main: &Path, bytes: u64, inputs: &mut Inputs) -> Includes {
    let mut includes = Includes::default();
    // Most files include nothing, and are parsed only once.
    if !text.contains("include") {
        return includes;
    }
    let (table, _) = DeTable::parse_recoverable(text);
    let Some(DeValue::Array(items)) = table.get_ref().get("include").map(Spanned::get_ref) else {
        return includes;
    };
    let mut reader = Reader::new(main, bytes.saturating_sub(text.len() as u64), inputs);
    for (item, value) in items.iter().enumerate() {
        let (pattern, key) = match value.get_ref() {
            DeValue::String(_) => (value, format!("include[{item}]")),
            DeValue::Table(table) => match table.get("files") {
                Some(files) => (files, format!("include[{item}].files")),
                None => continue,
            },
            // Rejected when the table is read.
            _ => continue,
        };
        let DeValue::String(text) = pattern.get_ref() else {
            continue;
        };
        if let Err(expected) = reader.item(text, item, &mut includes.files) {
            let span = pattern.span();
            includes.mistakes.push(Mistaken {
                key,
                span,
                expected,
            });
        }
    }
    includes
}

struct Reader<'a> {
    /// The directory of the main file.
    folder: PathBuf,
    /// The same without symbolic links, if it can be resolved.
    root: io::Result<PathBuf>,
    /// The files that were read, without symbolic links.
    read: HashSet<PathBuf>,
    main: Option<PathBuf>,
    bytes_left: u64,
    inputs: &'a mut Inputs,
}

impl<'a> Reader<'a> {
    fn new(main: &Path, bytes_left: u64, inputs: &'a mut Inputs) -> Self {
        let folder = main.parent().unwrap_or_else(|| Path::new(""));
        let there = match folder.as_os_str().is_empty() {
            true => Path::new("."),
            false => folder,
        };
        Self {
            folder: folder.to_owned(),
            root: there.canonicalize(),
            read: HashSet::new(),
            main: main.canonicalize().ok(),
            bytes_left,
            inputs,
        }
    }

    /// Reads the files of an item.
    ///
    /// # Errors
    /// A text that completes "expected".
    fn item(
        &mut self,
        pattern: &str,
        item: usize,
        files: &mut Vec<IncludedFile>,
    ) -> Result<(), String> {
        for path in self.expand(pattern)? {
            if files.len() == FILES {
                return Err(format!("at most {FILES} files in all"));
            }
            let name = path.display().to_string();
            let text = self
                .file(&path)
                .map_err(|why| format!("files that can be read ({name}: {why})"))?;
            files.push(IncludedFile { name, text, item });
        }
        Ok(())
    }

    /// Returns the files that a pattern stands for, in the order of their names.
    fn expand(&mut self, pattern: &str) -> Result<Vec<PathBuf>, String> {
        let is_plain = |it: Component<'_>| matches!(it, Component::Normal(_) | Component::CurDir);
        let (folder, name) = pattern.rsplit_once('/').unwrap_or(("", pattern));
        let is_valid = Path::new(pattern).components().all(is_plain)
            && !folder.contains('*')
            && !name.is_empty()
            && !pattern.contains('\0');
        if !is_valid {
            return Err(PATTERN.to_owned());
        }
        if !name.contains('*') {
            return Ok(vec![self.folder.join(pattern)]);
        }
        let folder = self.folder.join(folder);
        let there = match folder.as_os_str().is_empty() {
            true => Path::new("."),
            false => &folder,
        };
        self.inputs.add_folder(there, name);
        let found = entries(there, name)?;
        Ok(found.into_iter().map(|it| folder.join(it)).collect())
    }

    /// Reads a regular file within the directory of the main file.
    ///
    /// # Errors
    /// Why it cannot be read.
    fn file(&mut self, path: &Path) -> Result<String, String> {
        self.inputs.add(path, InputKind::Configuration);
        let text_of = |error: io::Error| error.to_string();
        let resolved = path.canonicalize().map_err(text_of)?;
        let root = self.root.as_ref().map_err(ToString::to_string)?;
        if !resolved.starts_with(root) {
            return Err(
                "it is a link to a place outside the directory of the main file".to_owned(),
            );
        }
        if self.main.as_ref() == Some(&resolved) {
            return Err("it is the main file".to_owned());
        }
        // Before it is opened: opening a pipe waits for a writer.
        if !fs::metadata(&resolved).map_err(text_of)?.is_file() {
            return Err("it is not a regular file".to_owned());
        }
        if self.read.contains(&resolved) {
            return Err("it is included twice".to_owned());
        }
        let mut text = String::new();
        let opened = File::open(&resolved).map_err(text_of)?;
        let mut opened = opened.take(self.bytes_left + 1);
        opened.read_to_string(&mut text).map_err(text_of)?;
        let left = self.bytes_left.checked_sub(text.len() as u64);
        self.bytes_left = left.ok_or("all files together are too long")?;
        self.read.insert(resolved);
        Ok(text)
    }
}
