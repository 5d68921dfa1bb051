//! The paths that a route matches.

use std::fmt;

/// A path that a route matches: a prefix that ends at a segment boundary, or with `=` in front the
/// whole path. A segment `*` stands for one segment that is not empty.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PathPattern {
    /// As typed, without `=`. Begins with `/`, in the canonical form in which paths are compared.
    text: Box<str>,
    is_exact: bool,
}

/// The maximum number of segments of a path with a `*`, and of those that are `*`.
const SEGMENTS: usize = 64;
const STARS: usize = 8;

/// Describes the valid paths without wildcards.
pub(super) const PATH: &str = r#"visible ASCII from "/" on, no "//", no ":$", no segment that ends with ".", none of % ; ? # \"#;

impl PathPattern {
    /// Reads a path.
    ///
    /// # Errors
    /// The description of what is expected instead.
    pub(crate) fn read(typed: &str) -> Result<Self, String> {
        let (text, is_exact) = match typed.strip_prefix('=') {
            Some(text) => (text, true),
            None => (typed, false),
        };
        if !is_path(text) {
            return Err(format!(
                "a path such as \"/api/\", \"=/healthz\" or \"/users/*/keys\": {PATH}"
            ));
        }
        let pattern = Self {
            text: text.into(),
            is_exact,
        };
        let stars = pattern.segments().filter(|it| *it == STAR).count();
        if pattern.segments().any(|it| it.contains('*') && it != STAR) {
            return Err(
                "\"*\" as a whole segment only, as in \"/users/*/keys\"; without \"=\", a path matches all below it"
                    .to_owned(),
            );
        }
        if is_exact && text.len() > 1 && text.ends_with('/') {
            return Err("no \"/\" at the end of an exact path".to_owned());
        }
        if stars > STARS || (stars > 0 && pattern.segments().count() > SEGMENTS) {
            return Err(format!(
                "at most {STARS} segments \"*\", and then at most {SEGMENTS} segments in all"
            ));
        }
        Ok(pattern)
    }

    /// Returns the path without `=` and without a trailing slash: empty for `/`.
    pub fn text(&self) -> &str {
        self.text.trim_end_matches('/')
    }

    /// Returns the segments.
    pub fn segments(&self) -> impl Iterator<Item = &str> {
        self.text().split('/').skip(1)
    }

    /// Returns whether only the whole path matches, not what is below it.
    pub fn is_exact(&self) -> bool {
        self.is_exact
    }

    /// Returns whether a segment is a `*`.
    pub fn has_star(&self) -> bool {
        self.text.contains(STAR)
    }

    /// Returns whether this pattern matches every path that the other one matches.
    pub fn holds(&self, other: &Self) -> bool {
        self.holds_by(other, |one, other| one == other)
    }

    /// Returns whether this pattern would match every path that the other one matches if both matched
    /// in any case.
    pub(super) fn holds_in_any_case(&self, other: &Self) -> bool {
        self.holds_by(other, str::eq_ignore_ascii_case)
    }

    fn holds_by(&self, other: &Self, is_same: impl Fn(&str, &str) -> bool) -> bool {
        let (ones, others) = (self.segments(), other.segments());
        let is_long_enough = match self.is_exact {
            true => other.is_exact && self.segments().count() == other.segments().count(),
            false => self.segments().count() <= other.segments().count(),
        };
        is_long_enough
            && ones
                .zip(others)
                .all(|(one, other)| one == STAR || is_same(one, other))
    }

    /// Returns the pattern that matches every path.
    pub(crate) fn all() -> Self {
        Self {
            text: "/".into(),
            is_exact: false,
        }
    }

    /// Returns the pattern of the same text that also matches what is below it.
    pub(super) fn prefix(&self) -> Self {
        Self {
            is_exact: false,
            ..self.clone()
        }
    }

    /// Returns the shorter prefixes of this path, the shortest first.
    pub(super) fn above(&self) -> impl Iterator<Item = Self> {
        let text = self.text();
        let ends = text.match_indices('/').map(|(end, _)| end);
        let above = ends.filter_map(move |end| text.get(..end));
        above.map(|text| Self {
            text: if text.is_empty() { "/" } else { text }.into(),
            is_exact: false,
        })
    }

    /// Returns the whole path in front of a `*` at the end, if there is one: `/admin` of `/admin/*`.
    pub(super) fn before_star(&self) -> Option<Self> {
        let text = self.text().strip_suffix(STAR)?.trim_end_matches('/');
        (!text.is_empty()).then(|| Self {
            text: text.into(),
            is_exact: true,
        })
    }

    /// Returns the pattern in lower case.
    pub(super) fn to_lower_case(&self) -> Self {
        let text = self.text().to_ascii_lowercase();
        Self {
            text: if text.is_empty() {
                "/".into()
            } else {
                text.into()
            },
            is_exact: self.is_exact,
        }
    }
}

/// The segment that stands for any.
pub const STAR: &str = "*";

impl fmt::Display for PathPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let exact = if self.is_exact { "=" } else { "" };
        write!(f, "{exact}{}", self.text)
    }
}

/// Returns whether all servers read a path alike. Otherwise every request for it would be rejected.
pub(super) fn is_path(path: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_graphic() && !b"%;?#\\".contains(&byte);
    path.starts_with('/')
        && path.bytes().all(is_plain)
        && !path.contains("//")
        && !path.contains(":$")
        && !path.split('/').any(|segment| segment.ends_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pattern_holds_the_paths_of_narrower_ones() {
        for (one, other, expected) in [
            ("/", "/a", true),
            ("/", "=/", true),
            ("=/", "/", false),
            ("/a", "/a/", true),
            ("/a/", "/a/b", true),
            ("/a", "/ab", false),
            ("/a/b", "/a", false),
            ("/a", "=/a", true),
            ("=/a", "/a", false),
            ("=/a", "=/a", true),
            ("=/a", "=/a/b", false),
            ("/*", "/a", true),
            ("/a", "/*", false),
            ("/*", "/*/b", true),
            ("/*/b", "/a/b/c", true),
            ("/*/b", "/a/c", false),
            ("=/*", "=/a", true),
            ("=/*", "=/a/b", false),
            ("/*", "/", false),
        ] {
            let read = |text| PathPattern::read(text).unwrap();
            assert_eq!(read(one).holds(&read(other)), expected, "{one} {other}");
        }
    }
}
