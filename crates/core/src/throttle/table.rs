//! A hash table of bounded size, whose least valuable entries make room for new ones.

use parking_lot::{Mutex, MutexGuard};

use super::debt::Debt;

/// The average number of slots in a bucket.
const AVERAGE: usize = 8;

/// The key of a slot: a keyed hash, so that collisions cannot be chosen. The higher half selects
/// the bucket and identifies the owner.
pub(super) type Tag = u128;

/// The failures and trust recorded under a tag. Times are in seconds since 1970.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Slot {
    pub(super) tag: Tag,
    pub(super) debt: Debt,
    /// When a token was last right; 0 for never.
    pub(super) passed: u64,
    /// Until when another node may have the claim; 0 if none has it.
    pub(super) closed: u64,
    /// The number of failures counted since it was saved, negative if some were taken back.
    pub(super) unsaved: i32,
    /// Whether it has changed since it was saved.
    pub(super) is_dirty: bool,
    /// Whether it has changed other than by failures, so that the saved record must be replaced.
    pub(super) is_reset: bool,
}

/// The bounds of a bucket.
#[derive(Clone, Copy)]
pub(super) struct Shape {
    /// The maximum number of slots in a bucket. All but the least valuable survive a flood of other
    /// tags.
    most: usize,
    /// The maximum number of slots in a bucket with the same higher half of the tag.
    most_of_one: usize,
}

impl Shape {
    /// Each owner has one slot.
    pub(super) const ONE: Self = Self {
        most: AVERAGE,
        most_of_one: 1,
    };
    /// Each owner has up to 32 slots, and takes none from others while there is room.
    pub(super) const MANY: Self = Self {
        most: 64,
        most_of_one: 32,
    };
}

/// Slots by tag.
pub(super) struct Table {
    buckets: Box<[Mutex<Vec<Slot>>]>,
    shape: Shape,
}

impl Table {
    /// Makes a table of about `capacity` slots, which take memory once they are used.
    pub(super) fn new(capacity: usize, shape: Shape) -> Self {
        let buckets = capacity.div_ceil(AVERAGE).next_power_of_two();
        Self {
            buckets: (0..buckets).map(|_| Mutex::default()).collect(),
            shape,
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
            shape: self.shape,
            tag,
        }
    }

    /// Visits every slot.
    pub(super) fn each(&self, mut visit: impl FnMut(&mut Slot)) {
        for bucket in &self.buckets {
            bucket.lock().iter_mut().for_each(&mut visit);
        }
    }
}

/// The bucket of a tag, locked.
pub(super) struct Locked<'a> {
    bucket: Option<MutexGuard<'a, Vec<Slot>>>,
    shape: Shape,
    tag: Tag,
}

impl Locked<'_> {
    /// Returns the slot of the tag, if it has one.
    pub(super) fn find(&mut self) -> Option<&mut Slot> {
        let slots = self.bucket.as_mut()?;
        slots.iter_mut().find(|slot| slot.tag == self.tag)
    }

    /// Visits the slots with the same higher half of the tag.
    pub(super) fn each_of_one(&mut self, mut visit: impl FnMut(&mut Slot)) {
        let owner = self.tag >> 64;
        if let Some(slots) = &mut self.bucket {
            let own = slots.iter_mut().filter(|slot| slot.tag >> 64 == owner);
            own.for_each(&mut visit);
        }
    }

    /// Returns the slot of the tag, or replaces the one with the lowest `worth`.
    pub(super) fn claim(&mut self, worth: impl Fn(&Slot) -> u64) -> Option<&mut Slot> {
        let (tag, shape) = (self.tag, self.shape);
        let slots = self.bucket.as_mut()?;
        if let Some(found) = slots.iter().position(|slot| slot.tag == tag) {
            return slots.get_mut(found);
        }
        let new = Slot {
            tag,
            ..Slot::default()
        };
        let is_own = |slot: &Slot| slot.tag >> 64 == tag >> 64;
        let own = slots.iter().filter(|slot| is_own(slot)).count();
        if own < shape.most_of_one && slots.len() < shape.most {
            slots.push(new);
            return slots.last_mut();
        }
        // The owner with the most slots gives one up, so that nobody with few loses one to it.
        let loser = if own >= shape.most_of_one {
            tag >> 64
        } else {
            owner_of_most(slots)
        };
        let candidates = slots.iter().enumerate();
        let candidates =
            candidates.filter(|(_, slot)| shape.most_of_one == 1 || slot.tag >> 64 == loser);
        let place = candidates.min_by_key(|(_, slot)| worth(slot));
        let place = place.map(|(at, _)| at)?;
        let slot = slots.get_mut(place)?;
        *slot = new;
        Some(slot)
    }
}

/// Returns the higher half of the tag that occurs most often.
fn owner_of_most(slots: &[Slot]) -> u128 {
    let count = |owner: u128| slots.iter().filter(|slot| slot.tag >> 64 == owner).count();
    let owners = slots.iter().map(|slot| slot.tag >> 64);
    owners.max_by_key(|&owner| count(owner)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tag(n: u128) -> Tag {
        (n << 64) | (n + 1)
    }

    #[test]
    fn flood_of_tags_evicts_no_slot_of_higher_worth() {
        let table = Table::new(64, Shape::ONE);
        for n in 0..8 {
            let mut locked = table.lock(tag(n));
            locked.claim(|slot| slot.passed).unwrap().passed = 1000;
        }
        for n in 8..100_000 {
            let mut locked = table.lock(tag(n));
            locked.claim(|slot| slot.passed).unwrap().passed = 1;
        }
        for n in 0..8 {
            assert_eq!(table.lock(tag(n)).find().unwrap().passed, 1000);
        }
        let mut used = 0;
        table.each(|_| used += 1);
        assert_eq!(used, 64);
    }

    #[test]
    fn owners_of_many_slots_evict_nobody_with_few() {
        let table = Table::new(64, Shape::MANY);
        for n in 0..200 {
            table.lock(tag(n)).claim(|slot| slot.passed).unwrap().passed = 1;
        }
        // More than there is room for, all later.
        for owner in 1000..1032_u128 {
            for n in 0..32 {
                let mut locked = table.lock((owner << 64) | n);
                locked.claim(|slot| slot.passed).unwrap().passed = 2;
            }
        }
        for n in 0..200 {
            assert!(table.lock(tag(n)).find().is_some(), "{n}");
        }
    }

    #[test]
    fn owner_of_many_slots_evicts_only_its_own() {
        let table = Table::new(64, Shape::MANY);
        for n in 0..64 {
            table.lock(tag(n)).claim(|slot| slot.passed).unwrap().passed = 1;
        }
        for n in 0..100_000_u64 {
            let mut locked = table.lock((77 << 64) | u128::from(n));
            locked.claim(|slot| slot.passed).unwrap().passed = n + 2;
        }
        for n in 0..64 {
            assert!(table.lock(tag(n)).find().is_some(), "{n}");
        }
        let mut own = Vec::new();
        table
            .lock(77 << 64)
            .each_of_one(|slot| own.push(slot.passed));
        assert_eq!(own.len(), 32);
        assert!(own.iter().all(|&passed| passed > 99_000), "{own:?}");
    }
}
