//! A value made of an identity once.

use std::any::Any;
use std::fmt;
use std::sync::OnceLock;

/// A value that a door has made of an identity, such as its headers. It lasts as long as the record
/// is in memory. The first kind of value that is asked for stays; others are made each time.
#[derive(Default)]
pub struct Derived(OnceLock<Box<dyn Any + Send + Sync>>);

impl Derived {
    pub(super) fn get<T>(&self, make: impl Fn() -> T) -> T
    where
        T: Any + Clone + Send + Sync,
    {
        let kept = self.0.get_or_init(|| Box::new(make()));
        match kept.downcast_ref::<T>() {
            Some(kept) => kept.clone(),
            None => make(),
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
        assert_eq!(derived.get(|| 1_u8), 1);
        assert_eq!(derived.get(|| 2_u8), 1);
        assert_eq!(derived.get(|| "a"), "a");
        assert_eq!(derived.get(|| "b"), "b");
        assert_eq!(derived.get(|| 3_u8), 1);
    }
}
