use super::time::UnixTime;
use super::usage::Usage;

/// The validity period of an identity, and a comment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Terms {
    /// The beginning, inclusive.
    pub not_before: Option<UnixTime>,
    /// The end, exclusive.
    pub expires: Option<UnixTime>,
    /// A comment by administrators, at most [`Terms::COMMENT_CHARS`] characters.
    pub comment: Option<Box<str>>,
}

impl Terms {
    /// The maximum length of a comment in characters.
    pub const COMMENT_CHARS: usize = 256;

    /// Always valid, without a comment.
    pub const NONE: Self = Self {
        not_before: None,
        expires: None,
        comment: None,
    };
}

/// What most identities do not have.
#[derive(Debug)]
pub struct Rare {
    /// Validity period and comment.
    pub terms: Terms,
    /// Failures before this time do not count against the identity.
    pub unthrottled: UnixTime,
    /// When the seed before the current one was made, if there is one and that is known.
    pub previous_made: Option<UnixTime>,
    /// When the seed before the current one was last used.
    pub previous_usage: Usage,
}

impl Rare {
    /// Makes that of most identities: always valid, never unthrottled, with a single seed.
    pub(super) const fn none() -> Self {
        Self {
            terms: Terms::NONE,
            unthrottled: UnixTime::from_secs(0),
            previous_made: None,
            previous_usage: Usage::never(),
        }
    }

    /// Returns it in a box, or `None` for most identities: it has nothing, and the identity
    /// `has_previous`, a seed before the current one, whose usage is recorded here.
    pub fn boxed(self, has_previous: bool) -> Option<Box<Self>> {
        let Self {
            terms,
            unthrottled,
            previous_made,
            previous_usage,
        } = &self;
        let is_needed = has_previous
            || *terms != Terms::NONE
            || unthrottled.as_secs() != 0
            || previous_made.is_some()
            || previous_usage.used().is_some();
        is_needed.then(|| Box::new(self))
    }

    pub(super) fn copy(&self) -> Self {
        Self {
            terms: self.terms.clone(),
            unthrottled: self.unthrottled,
            previous_made: self.previous_made,
            previous_usage: self.previous_usage.copy(),
        }
    }
}

impl Default for Rare {
    fn default() -> Self {
        Self::none()
    }
}
