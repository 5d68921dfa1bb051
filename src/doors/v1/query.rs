//! The parameters of a query, and the cursors of pages.

use std::fmt::Display;
use std::str::FromStr;

use data_encoding::BASE64URL_NOPAD;
use http::Uri;

use super::problem::{Kind, Problem, field_error};
use super::types::FieldError;

/// The sizes of a page.
const SIZES: std::ops::RangeInclusive<u32> = 1..=1000;
const DEFAULT_SIZE: u32 = 100;

/// The parameters that were not taken yet, and those that are wrong.
pub(super) struct Query {
    left: Vec<(String, String)>,
    errors: Vec<FieldError>,
}

impl Query {
    pub(super) fn of(uri: &Uri) -> Self {
        let query = uri.query().unwrap_or_default();
        let pairs = form_urlencoded::parse(query.as_bytes());
        Self {
            left: pairs.into_owned().collect(),
            errors: Vec::new(),
        }
    }

    /// Takes a parameter that may be given once.
    pub(super) fn text(&mut self, name: &str) -> Option<String> {
        let mut found = None;
        let mut is_again = false;
        self.left.retain_mut(|(key, value)| {
            if key != name {
                return true;
            }
            is_again |= found.replace(std::mem::take(value)).is_some();
            false
        });
        if is_again {
            self.errors.push(field_error(name, "expected it once"));
        }
        found
    }

    /// Takes and parses a parameter.
    pub(super) fn parsed<T: FromStr>(&mut self, name: &str) -> Option<T>
    where
        T::Err: Display,
    {
        let text = self.text(name)?;
        let parsed = text.parse::<T>();
        parsed
            .map_err(|error| self.errors.push(field_error(name, error.to_string())))
            .ok()
    }

    /// Takes a number within bounds.
    pub(super) fn number(
        &mut self,
        name: &str,
        bounds: std::ops::RangeInclusive<u32>,
        default: u32,
    ) -> u32 {
        let Some(text) = self.text(name) else {
            return default;
        };
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        let number = text.parse().ok().filter(|it| digits && bounds.contains(it));
        number.unwrap_or_else(|| {
            let detail = format!("expected {} to {}", bounds.start(), bounds.end());
            self.errors.push(field_error(name, detail));
            default
        })
    }

    /// Takes the size of a page.
    pub(super) fn limit(&mut self) -> u32 {
        self.number("limit", SIZES, DEFAULT_SIZE)
    }

    /// Takes the cursor of a page of `list`, and returns the position in it.
    pub(super) fn cursor(&mut self, list: &str) -> Option<String> {
        let text = self.text("cursor")?;
        let position = read_cursor(list, &text);
        if position.is_none() {
            let detail = "expected the cursor of a response, with the same parameters";
            self.errors.push(field_error("cursor", detail));
        }
        position
    }

    pub(super) fn reject(&mut self, name: &str, detail: &str) {
        self.errors.push(field_error(name, detail));
    }

    /// # Errors
    /// 400 if a parameter is wrong or not known.
    pub(super) fn end(mut self) -> Result<(), Problem> {
        for (name, _) in &self.left {
            self.errors
                .push(field_error(name, "not a parameter of this resource"));
        }
        if self.errors.is_empty() {
            return Ok(());
        }
        let mut problem = Problem::new(Kind::Malformed);
        problem.errors = self.errors;
        Err(problem)
    }
}

/// Makes the cursor of a position in a list. A cursor is of no use for another list.
pub(super) fn cursor(list: &str, position: &str) -> String {
    BASE64URL_NOPAD.encode(format!("{list}\0{position}").as_bytes())
}

fn read_cursor(list: &str, text: &str) -> Option<String> {
    let bytes = BASE64URL_NOPAD.decode(text.as_bytes()).ok()?;
    let text = String::from_utf8(bytes).ok()?;
    let (of, position) = text.rsplit_once('\0')?;
    (of == list).then(|| position.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(text: &str) -> Query {
        Query::of(&format!("/?{text}").parse().unwrap())
    }

    #[test]
    fn cursor_is_read_by_its_own_list_only() {
        let made = cursor("realms\0x", "a\u{e9}");
        assert_eq!(read_cursor("realms\0x", &made).as_deref(), Some("a\u{e9}"));
        assert_eq!(read_cursor("realms", &made), None);
        assert_eq!(read_cursor("realms\0x", "%"), None);
        assert_eq!(read_cursor("realms\0x", ""), None);
    }

    #[test]
    fn limit_is_bounded() {
        for (text, expected) in [
            ("", Some(100)),
            ("limit=1", Some(1)),
            ("limit=1000", Some(1000)),
        ] {
            let mut query = query(text);
            assert_eq!(Some(query.limit()), expected);
            assert!(query.end().is_ok());
        }
        for text in [
            "limit=0",
            "limit=1001",
            "limit=",
            "limit=+5",
            "limit=x",
            "limit=1&limit=1",
        ] {
            let mut query = query(text);
            query.limit();
            assert!(query.end().is_err(), "{text}");
        }
    }

    #[test]
    fn unknown_parameter_is_rejected() {
        assert!(query("x").end().is_err());
        assert!(query("").end().is_ok());
    }
}
