//! A table of a fixed size: what is least worth keeping makes room for what is new.

use parking_lot::{Mutex, MutexGuard};

/// How many slots a key may be in. All but the one least worth keeping survive a flood of other keys.
const WAYS: usize = 8;

/// The name of a slot: a keyed hash, so that nobody can choose two that collide.
pub(super) type Tag = u128;

/// What is known under a tag. Times are seconds since 1970.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Slot {
    pub(super) tag: Tag,
    /// Failures that count.
    pub(super) failures: u32,
    /// When the last of them was.
    pub(super) failed: u64,
    /// When a token was right last; 0 for never.
    pub(super) passed: u64,
    /// Whether this has changed since it was saved.
    pub(super) is_dirty: bool,
}

/// The slots among which a tag is looked for; none until the first is needed.
pub(super) type Bucket = Option<Box<[Slot; WAYS]>>;

/// Slots by tag, at most as many as it was made for.
pub(super) struct Table {
    buckets: Box<[Mutex<Bucket>]>,
}

impl Table {
    /// Makes a table of at least `capacity` slots. They take memory once they are used.
    pub(super) fn new(capacity: usize) -> Self {
        let buckets = capacity.div_ceil(WAYS).next_power_of_two();
        Self {
            buckets: (0..buckets).map(|_| Mutex::default()).collect(),
        }
    }

    /// Locks the bucket of a tag.
    pub(super) fn lock(&self, tag: Tag) -> Locked<'_> {
        let last = self.buckets.len() - 1;
        let index = usize::try_from(tag >> 64 & last as u128).unwrap_or_default();
        let bucket = self.buckets.get(index).or(self.buckets.first());
        Locked {
            // There is at least one bucket.
            bucket: bucket.map(Mutex::lock),
            tag,
        }
    }

    /// Visits every slot that is used.
    pub(super) fn each(&self, mut visit: impl FnMut(&mut Slot)) {
        for bucket in &self.buckets {
            if let Some(slots) = bucket.lock().as_mut() {
                slots
                    .iter_mut()
                    .filter(|it| it.tag != 0)
                    .for_each(&mut visit);
            }
        }
    }
}

/// The bucket of a tag, for as long as nobody else may look at it.
pub(super) struct Locked<'a> {
    bucket: Option<MutexGuard<'a, Bucket>>,
    tag: Tag,
}

impl Locked<'_> {
    /// Returns the tag's slot, if it has one.
    pub(super) fn find(&mut self) -> Option<&mut Slot> {
        let slots = self.bucket.as_mut()?.as_mut()?;
        slots.iter_mut().find(|slot| slot.tag == self.tag)
    }

    /// Returns the tag's slot, or gives it the one that `worth` says is worth least.
    pub(super) fn claim(&mut self, worth: impl Fn(&Slot) -> u64) -> Option<&mut Slot> {
        let tag = self.tag;
        let slots = self.bucket.as_mut()?.get_or_insert_default();
        let found = slots.iter().position(|slot| slot.tag == tag);
        let place = found.or_else(|| {
            let worth = |(_, slot): &(usize, &Slot)| match slot.tag {
                0 => 0,
                _ => worth(slot).max(1),
            };
            slots.iter().enumerate().min_by_key(worth).map(|(at, _)| at)
        });
        let slot = slots.get_mut(place?)?;
        if found.is_none() {
            *slot = Slot {
                tag,
                ..Slot::default()
            };
        }
        Some(slot)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flood_of_worthless_tags_leaves_what_is_worth_more() {
        let table = Table::new(64);
        let tag = |n: u128| (n << 64) | (n + 1);
        for n in 0..8 {
            let mut locked = table.lock(tag(n));
            locked.claim(|slot| slot.failed).unwrap().failed = 1000;
        }
        for n in 8..100_000 {
            let mut locked = table.lock(tag(n));
            locked.claim(|slot| slot.failed).unwrap().failed = 1;
        }
        for n in 0..8 {
            assert_eq!(table.lock(tag(n)).find().unwrap().failed, 1000);
        }
        let mut used = 0;
        table.each(|_| used += 1);
        assert_eq!(used, 64);
    }
}
