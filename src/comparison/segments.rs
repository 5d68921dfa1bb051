//! The classes of the next segment of a path.

use std::collections::BTreeSet;
use std::ops::Bound;

use super::position::Position;
use super::tree::Node;

/// Segments that the same routes match, if nothing follows.
#[derive(Clone, Debug)]
pub(super) struct Segment {
    /// One of them.
    pub(super) text: String,
    /// All of them, for people.
    shown: String,
    case: Case,
}

/// Whether the class contains only segments in a certain case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Case {
    AsWritten,
    Any,
    /// In a case in which no route has the segment.
    Other,
}

impl Segment {
    /// Returns whether the text for people includes other classes.
    pub(super) fn is_wide(&self) -> bool {
        self.start().is_some() || self.case == Case::Other
    }

    /// Returns whether the text for people includes another class.
    pub(super) fn includes(&self, other: &Self) -> bool {
        let is_start = |start: &str, text: &str| {
            text.strip_prefix(start)
                .is_some_and(|rest| rest.starts_with('.'))
        };
        let (ours, theirs) = match self.case {
            Case::AsWritten => (self.shown.clone(), other.text.clone()),
            Case::Any | Case::Other => {
                let texts = [&self.shown, &other.text];
                let [ours, theirs] = texts.map(|text| text.to_ascii_lowercase());
                (ours, theirs)
            }
        };
        let is_included = match ours.strip_suffix(".*") {
            Some(start) => is_start(start, &theirs),
            None => self.case == Case::Other && ours == theirs,
        };
        is_included && self.text != other.text
    }

    /// Returns the text for people, with what it says of the case.
    pub(super) fn marked(&self) -> String {
        match self.case {
            Case::AsWritten => self.shown.clone(),
            Case::Any => format!("{} (any case)", self.shown),
            Case::Other => format!("{} (other cases)", self.shown),
        }
    }

    /// Returns the name before any suffix, if the class is that of all suffixes.
    pub(super) fn start(&self) -> Option<&str> {
        self.shown.strip_suffix(".*")
    }
}

/// The names that routes have for the next segment.
#[derive(Default)]
struct Names {
    plain: BTreeSet<String>,
    /// Those that match in any case, in lower case.
    folded: BTreeSet<String>,
    /// Those that also match with a suffix.
    plain_suffixed: BTreeSet<String>,
    folded_suffixed: BTreeSet<String>,
}

/// Returns the classes of segments that routes name at a position. `other` is a segment without
/// dots that no route names. With `all`, every name counts, and otherwise only those that a changed
/// route may match.
pub(super) fn segments(position: &Position<'_>, other: &str, all: bool) -> Vec<Segment> {
    let names = match all {
        true => Names::all(position),
        false => Names::changed(position),
    };
    let mut segments = Vec::new();
    let mut texts = BTreeSet::new();
    let mut add = |text: String, shown: String, case| {
        if texts.insert(text.clone()) {
            segments.push(Segment { text, shown, case });
        }
    };
    for name in &names.plain {
        add(name.clone(), name.clone(), Case::AsWritten);
    }
    for name in &names.plain_suffixed {
        let shown = format!("{name}.*");
        add(format!("{name}.{other}"), shown, Case::AsWritten);
    }
    for name in &names.folded {
        let starts = names.starts(name);
        for text in starts
            .iter()
            .filter_map(|it| with_start(it, name, &names.plain))
        {
            add(text, name.clone(), Case::Other);
        }
        if let Some((text, case)) = free_case(name, &names.plain, &starts) {
            add(text, name.clone(), case);
        }
    }
    for name in &names.folded_suffixed {
        let starts = names.starts(name);
        let shown = format!("{name}.*");
        let taken = &names.plain_suffixed;
        for text in starts.iter().filter_map(|it| with_start(it, name, taken)) {
            add(format!("{text}.{other}"), shown.clone(), Case::Other);
        }
        if let Some((text, case)) = free_case(name, taken, &starts) {
            add(format!("{text}.{other}"), shown, case);
        }
    }
    segments
}

impl Names {
    fn all(position: &Position<'_>) -> Self {
        let mut names = Self::default();
        for (node, is_folded) in &position.states {
            for (name, node) in &node.named {
                names.add(name, node, *is_folded);
            }
        }
        names
    }

    /// Returns the names that a changed route may match: also those that differ from one of a changed
    /// route in case or by a suffix.
    fn changed(position: &Position<'_>) -> Self {
        let (mut bases, mut suffixed) = (BTreeSet::new(), BTreeSet::new());
        for (node, _) in &position.states {
            for name in &node.changed {
                let lower = name.to_ascii_lowercase();
                let named = node.named.get(name);
                if named.is_some_and(|node| !node.suffixed.is_empty()) {
                    suffixed.insert(lower.clone());
                }
                bases.insert(lower);
            }
        }
        // A name that also matches with a suffix takes some spellings of those that begin with it.
        let starts = bases.iter().flat_map(|base| starts_of(base));
        let starts: BTreeSet<String> = starts.map(str::to_owned).collect();
        let is_meant = |name: &str| {
            let lower = name.to_ascii_lowercase();
            bases.contains(&lower)
                || starts.contains(&lower)
                || starts_of(&lower).any(|start| suffixed.contains(start))
        };
        let mut names = Self::default();
        for (node, is_folded) in &position.states {
            for base in bases.union(&starts) {
                if let Some((name, node)) = node.named.get_key_value(&**base) {
                    names.add(name, node, *is_folded);
                }
            }
            for base in &suffixed {
                let from = format!("{base}.");
                let bounds = (Bound::Included(&*from), Bound::Unbounded);
                let named = node.named.range::<str, _>(bounds);
                for (name, node) in named.take_while(|(name, _)| name.starts_with(&from)) {
                    names.add(name, node, *is_folded);
                }
            }
            for name in node.raised.iter().filter(|name| is_meant(name)) {
                if let Some(node) = node.named.get(name) {
                    names.add(name, node, *is_folded);
                }
            }
        }
        names
    }

    fn add(&mut self, name: &str, node: &Node, is_folded: bool) {
        let (names, suffixed) = match is_folded {
            true => (&mut self.folded, &mut self.folded_suffixed),
            false => (&mut self.plain, &mut self.plain_suffixed),
        };
        names.insert(name.to_owned());
        if !node.suffixed.is_empty() {
            suffixed.insert(name.to_owned());
        }
    }

    /// Returns the names that also match with a suffix, as written, with which a name in lower case
    /// begins in some case.
    fn starts(&self, name: &str) -> Vec<&str> {
        let is_start = |start: &&String| {
            let rest = name.strip_prefix(&*start.to_ascii_lowercase());
            rest.is_some_and(|rest| rest.starts_with('.'))
        };
        let starts = self.plain_suffixed.iter().filter(is_start);
        starts.map(String::as_str).collect()
    }
}

/// Returns the parts of a name before each of its dots.
fn starts_of(name: &str) -> impl Iterator<Item = &str> {
    let dots = name.match_indices('.');
    dots.filter_map(|(dot, _)| name.get(..dot))
}

/// Returns a spelling of a name in lower case that begins with `start` and is not taken.
fn with_start(start: &str, lower: &str, taken: &BTreeSet<String>) -> Option<String> {
    let rest = spellings(lower.get(start.len()..)?, taken.len());
    let mut texts = rest.map(|rest| format!("{start}{rest}"));
    texts.find(|text| !taken.contains(text))
}

/// Returns a spelling of a name in lower case that is not taken and begins with none of `starts`, if
/// there is one.
fn free_case(lower: &str, taken: &BTreeSet<String>, starts: &[&str]) -> Option<(String, Case)> {
    let has_start = |text: &str| {
        let rest = |start: &&str| text.strip_prefix(*start);
        starts.iter().filter_map(rest).any(|it| it.starts_with('.'))
    };
    // Each start takes at most half of the spellings.
    let most = taken.len() << starts.len().min(MOST_STARTS);
    let mut texts = spellings(lower, most.max(1 << starts.len().min(MOST_STARTS)));
    let text = texts.find(|text| !taken.contains(text) && !has_start(text))?;
    let has_letters = lower.bytes().any(|byte| byte.is_ascii_lowercase());
    let is_in_taken = taken.iter().any(|it| it.eq_ignore_ascii_case(lower));
    let case = match (has_letters, is_in_taken || !starts.is_empty()) {
        (false, _) => Case::AsWritten,
        (true, false) => Case::Any,
        (true, true) => Case::Other,
    };
    Some((text, case))
}

/// The number of starts for which enough spellings are tried.
const MOST_STARTS: usize = 10;

/// Returns spellings of a name in lower case, all of them or one more than `taken`.
fn spellings(lower: &str, taken: usize) -> impl Iterator<Item = String> {
    let letters = lower.bytes().filter(u8::is_ascii_lowercase).count();
    let all = u32::try_from(letters)
        .ok()
        .and_then(|it| 1_usize.checked_shl(it));
    let spelling = |number: usize| {
        let mut number = number;
        let raise = |byte: u8| {
            if !byte.is_ascii_lowercase() {
                return char::from(byte);
            }
            let is_raised = number & 1 == 1;
            number >>= 1;
            char::from(match is_raised {
                true => byte.to_ascii_uppercase(),
                false => byte,
            })
        };
        lower.bytes().map(raise).collect()
    };
    let most = taken.saturating_add(1).min(all.unwrap_or(usize::MAX));
    (0..most).map(spelling)
}
