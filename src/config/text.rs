//! The texts of all files, one after the other.

use std::cell::OnceCell;
use std::ops::Range;

use super::include::IncludedFile;

/// The texts of the files, followed by lines for the variables.
pub(super) struct Text<'a> {
    /// The main file, then those that it includes.
    files: Vec<FileText<'a>>,
    text: String,
    /// The end of the last file.
    files_end: usize,
    /// The positions where the lines of the files begin.
    lines: OnceCell<Vec<usize>>,
}

/// A file in a [`Text`].
struct FileText<'a> {
    name: &'a str,
    range: Range<usize>,
    /// The index of the item of `include` that names it; `None` for the main file.
    include: Option<usize>,
}

impl<'a> Text<'a> {
    pub(super) fn new(name: &'a str, text: &str, included: &'a [IncludedFile]) -> Self {
        let mut files = vec![FileText {
            name,
            range: 0..text.len(),
            include: None,
        }];
        let mut text = text.to_owned();
        for file in included {
            text.push('\n');
            let start = text.len();
            text.push_str(&file.text);
            files.push(FileText {
                name: &file.name,
                range: start..text.len(),
                include: Some(file.item),
            });
        }
        Self {
            files,
            files_end: text.len(),
            text,
            lines: OnceCell::new(),
        }
    }

    /// Returns the length of the text.
    pub(super) const fn end(&self) -> usize {
        self.text.len()
    }

    /// Adds a line with a variable. Returns the position of the value.
    pub(super) fn add_line(&mut self, name: &str, value: &str) -> Range<usize> {
        self.text.push('\n');
        self.text.push_str(name);
        self.text.push('=');
        let start = self.text.len();
        self.text.push_str(value);
        start..self.text.len()
    }

    /// Returns the text of each file, with its position.
    pub(super) fn files(&self) -> impl Iterator<Item = (&str, usize)> {
        let files = self.files.iter();
        files.map(|file| (self.slice(file.range.clone()), file.range.start))
    }

    /// Returns the names of the included files.
    pub(super) fn included(&self) -> Vec<String> {
        let included = self.files.iter().filter(|it| it.include.is_some());
        included.map(|it| it.name.to_owned()).collect()
    }

    /// Returns the index of the item of `include` that names the file at a position.
    pub(super) fn include_of(&self, at: usize) -> Option<usize> {
        self.file_at(at)?.include
    }

    /// Returns the name of the file at a position.
    pub(super) fn name(&self, at: usize) -> &str {
        self.file_at(at).map_or("", |file| file.name)
    }

    /// Returns the line number of a position in its file, counted from 1.
    pub(super) fn line(&self, at: usize) -> usize {
        let start = self.file_at(at).map_or(0, |file| file.range.start);
        self.lines_to(at) - self.lines_to(start) + 1
    }

    /// Returns the column of a position, in characters, counted from 1.
    pub(super) fn column(&self, at: usize) -> usize {
        let begin = self.lines().get(self.lines_to(at) - 1).copied();
        self.slice(begin.unwrap_or_default()..at).chars().count() + 1
    }

    /// Returns a part of the text; nothing if it has no such part.
    pub(super) fn slice(&self, span: Range<usize>) -> &str {
        self.text.get(span).unwrap_or_default()
    }

    fn file_at(&self, at: usize) -> Option<&FileText<'a>> {
        let end = self.files.partition_point(|file| file.range.start <= at);
        self.files.get(end.checked_sub(1)?)
    }

    /// Returns the number of lines that begin at or before a position, at least 1.
    fn lines_to(&self, at: usize) -> usize {
        self.lines().partition_point(|begin| *begin <= at).max(1)
    }

    fn lines(&self) -> &[usize] {
        self.lines.get_or_init(|| {
            let ends = self.slice(0..self.files_end).match_indices('\n');
            std::iter::once(0)
                .chain(ends.map(|(end, _)| end + 1))
                .collect()
        })
    }
}
