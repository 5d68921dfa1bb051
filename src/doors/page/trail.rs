//! The way back through the pages of a list.
//!
//! `/v1` names only the next page. So each link to a next page carries the cursors of the pages before
//! it. A cursor is a position, not a number of rows: a page that is shown again has the rows that are
//! now after that position, and none is skipped between it and its next page.

use super::form::Form;

/// The parameter that names the pages before the present one.
pub(super) const BEFORE: &str = "before";

/// The maximum length of that parameter. What does not fit is left out from its beginning.
const MOST: usize = 4096;

/// The part of the headers of a request that the parameter may take, since a browser sends it twice:
/// in the target and in `Referer`.
const PART: usize = 8;

/// Stands for the first page, which has no cursor.
const FIRST: &str = "0";

const SEPARATOR: char = '.';

/// Where a list is, and how it got there.
pub(super) struct Trail<'a> {
    cursor: &'a str,
    before: &'a str,
    most: usize,
}

/// A page of a list, as the parameters of its address name it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Step {
    /// Empty for the first page.
    pub(super) cursor: String,
    pub(super) before: String,
}

impl<'a> Trail<'a> {
    /// Reads the parameters of a list. The headers of a request have at most `header_bytes`.
    pub(super) fn of(query: &'a Form, header_bytes: usize) -> Self {
        let before = query.text(BEFORE);
        let is_cursor = |char: char| char.is_ascii_alphanumeric() || "-_".contains(char);
        let is_trail = before.chars().all(|it| is_cursor(it) || it == SEPARATOR);
        Self {
            cursor: query.text("cursor"),
            before: if is_trail { before } else { "" },
            most: MOST.min(header_bytes / PART),
        }
    }

    pub(super) const fn cursor(&self) -> &str {
        self.cursor
    }

    pub(super) const fn is_first(&self) -> bool {
        self.cursor.is_empty()
    }

    /// Returns the page that begins at a cursor, after this one.
    pub(super) fn next(&self, cursor: String) -> Step {
        let here = if self.is_first() { FIRST } else { self.cursor };
        let mut pages: Vec<_> = self.pages().collect();
        pages.push(here);
        let mut length = 0;
        let fits = |page: &&&str| {
            length += page.len() + 1;
            length <= self.most
        };
        let kept = pages.iter().rev().take_while(fits).count();
        let kept = pages.split_off(pages.len() - kept);
        Step {
            cursor,
            before: kept.join(&SEPARATOR.to_string()),
        }
    }

    /// Returns the page before this one; `None` if this is the first one, or it is not known.
    pub(super) fn previous(&self) -> Option<Step> {
        if self.is_first() {
            return None;
        }
        let mut pages: Vec<_> = self.pages().collect();
        let cursor = match pages.pop()? {
            FIRST => "",
            cursor => cursor,
        };
        Some(Step {
            cursor: cursor.to_owned(),
            before: pages.join(&SEPARATOR.to_string()),
        })
    }

    fn pages(&self) -> impl Iterator<Item = &'a str> {
        // The first page has none before it, whatever its address says.
        let before = if self.is_first() { "" } else { self.before };
        before.split(SEPARATOR).filter(|page| !page.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LARGE: usize = 65_536;

    fn query(step: &Step) -> Form {
        let Step { cursor, before } = step;
        Form::of_query(Some(&format!("cursor={cursor}&before={before}")))
    }

    #[test]
    fn way_back_leads_through_the_same_pages() {
        let mut step = Step {
            cursor: String::new(),
            before: String::new(),
        };
        let mut steps = Vec::new();
        for cursor in ["YQ", "Yg-_", "Yw"] {
            let form = query(&step);
            let next = Trail::of(&form, LARGE).next(cursor.to_owned());
            steps.push(std::mem::replace(&mut step, next));
        }
        assert_eq!(step.before, "0.YQ.Yg-_");
        while let Some(expected) = steps.pop() {
            let form = query(&step);
            step = Trail::of(&form, LARGE).previous().unwrap();
            assert_eq!(step, expected);
        }
        assert_eq!(Trail::of(&query(&step), LARGE).previous(), None);
    }

    #[test]
    fn way_back_is_bounded_and_keeps_the_nearest_pages() {
        let mut step = Step {
            cursor: "c".to_owned(),
            before: FIRST.to_owned(),
        };
        for at in 0..MOST {
            let form = query(&step);
            step = Trail::of(&form, LARGE).next(format!("c{at}"));
            assert!(step.before.len() < MOST, "{}", step.before.len());
        }
        assert!(step.before.ends_with(&format!(".c{}", MOST - 2)));
        assert!(step.before.len() > MOST - 10);
        // Less of it if headers must be short.
        let form = query(&step);
        let short = Trail::of(&form, 1024).next("d".to_owned());
        assert_eq!(short.before.len(), 125);
        // The first page that is left has none before it.
        while let Some(previous) = Trail::of(&query(&step), LARGE).previous() {
            step = previous;
        }
        assert!(!step.cursor.is_empty());
    }

    #[test]
    fn way_back_that_is_none_is_left_out() {
        for before in ["", ".", "..", "a/b", "%22", "0.%00"] {
            let form = Form::of_query(Some(&format!("cursor=YQ&before={before}")));
            assert_eq!(Trail::of(&form, LARGE).previous(), None, "{before}");
        }
    }
}
