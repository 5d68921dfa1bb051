//! A value made of an identity once.

use std::any::Any;
use std::fmt;

use once_cell::race::OnceBox;

/// A value that a door has made of an identity, such as its headers. It lasts as long as the record
/// is in memory. The first kind of value that is asked for stays; others are made each time.
#[derive(Default)]
pub struct Derived(
    /// In a box twice, because a pointer to `dyn Any` takes two words, and most identities that are
    /// cached have no value.
    OnceBox<Box<dyn Any + Send + Sync>>,
);

impl Derived {
    pub(super) fn read<T, R>(&self, make: impl Fn() -> T, read: impl FnOnce(&T) -> R) -> R
    where
        T: Any + Send + Sync,
    {
        let kept = self.0.get_or_init(|| Box::new(Box::new(make())));
        match kept.downcast_ref() {
            Some(kept) => read(kept),
            None => read(&make()),
        }
    }
}

impl fmt::Debug for Derived {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Derived").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn value_is_made_once_and_another_kind_each_time() {
        let derived = Derived::default();
        let number = |number: u8| derived.read(|| number, |kept| *kept);
        let text = |text: &'static str| derived.read(|| text, |kept| *kept);
        assert_eq!(number(1), 1);
        assert_eq!(number(2), 1);
        assert_eq!(text("a"), "a");
        assert_eq!(text("b"), "b");
        assert_eq!(number(3), 1);
    }
}
