//! Fast lookup in the list of [`reserved`](super::reserved), done for each header of each request.

use super::reserved::{ADDRESSES, FAMILIES, IDENTITIES, OTHERS};

/// Returns whether a header is removed from every request. The name must be folded.
///
/// Almost no header is on the list. Two small tables exclude most of them without a comparison.
pub(crate) fn is_removed(name: &str) -> bool {
    let bytes = name.as_bytes();
    let mut families = FAMILIES_BY_KEY
        .get(usize::from(key(bytes)))
        .map_or(u32::MAX, |families| *families);
    while families != 0 {
        let family = FAMILIES.get(families.trailing_zeros() as usize);
        if family.is_some_and(|family| name.starts_with(family)) {
            return true;
        }
        families &= families - 1;
    }
    let (row, bit) = place(bytes);
    LISTED.get(row).is_none_or(|bits| bits & bit != 0)
        && (ADDRESSES.binary_search(&name).is_ok()
            || IDENTITIES.binary_search(&name).is_ok()
            || OTHERS.binary_search(&name).is_ok())
}

/// For each [`key`], a bit for each of the [`FAMILIES`] that begins with it.
#[expect(clippy::indexing_slicing, reason = "evaluated by the compiler")]
static FAMILIES_BY_KEY: [u32; 256] = {
    let mut table = [0; 256];
    let mut at = 0;
    while at < FAMILIES.len() {
        table[key(FAMILIES[at].as_bytes()) as usize] |= 1 << at;
        at += 1;
    }
    table
};

/// A bit at the [`place`] of each listed name. If its bit is not set, a name is not listed.
static LISTED: [u64; 256] = {
    let table = with_places([0; 256], &ADDRESSES);
    let table = with_places(table, &IDENTITIES);
    with_places(table, &OTHERS)
};

#[expect(clippy::indexing_slicing, reason = "evaluated by the compiler")]
const fn with_places(mut table: [u64; 256], names: &[&str]) -> [u64; 256] {
    let mut at = 0;
    while at < names.len() {
        let (row, bit) = place(names[at].as_bytes());
        table[row] |= bit;
        at += 1;
    }
    table
}

/// Returns the letter after `x-`, else the first letter with the highest bit set.
const fn key(name: &[u8]) -> u8 {
    match name {
        [b'x', b'-', letter, ..] => *letter,
        [letter, ..] => *letter | 0x80,
        [] => 0,
    }
}

/// Returns the row and bit of a name in [`LISTED`]: from its [`key`], its last letter and its
/// length.
const fn place(name: &[u8]) -> (usize, u64) {
    let last = match name {
        [.., last] => *last,
        [] => 0,
    };
    let row = key(name) ^ last.wrapping_mul(8);
    (row as usize, 1 << (name.len() % 64))
}

#[cfg(test)]
mod tests {
    use super::super::reserved::removed;
    use super::*;

    #[test]
    fn each_name_and_each_family_of_the_list_is_found() {
        for name in removed() {
            assert!(is_removed(name), "{name}");
        }
        for family in FAMILIES {
            for end in ["", "other", &"o".repeat(64)] {
                assert!(is_removed(&format!("{family}{end}")), "{family}{end}");
            }
        }
    }

    #[test]
    fn names_that_differ_by_one_letter_or_in_length_are_found_no_more() {
        let is_listed = |name: &str| {
            removed().any(|listed| listed == name)
                || FAMILIES.iter().any(|family| name.starts_with(family))
        };
        let mut others = 0;
        for name in removed() {
            let changed = (0..name.len()).flat_map(|at| {
                let (before, rest) = name.split_at(at);
                let (_, after) = rest.split_at(1);
                ["", "q", "x-"].map(|put| [before, put, after].concat())
            });
            let longer = ["x", "-x"].map(|end| format!("{name}{end}"));
            for other in changed.chain(longer) {
                assert_eq!(is_removed(&other), is_listed(&other), "{other}");
                others += usize::from(!is_listed(&other));
            }
        }
        assert!(others > 3000, "{others}");
        let long = "x".repeat(200);
        for name in ["", "x", "x-", "x-a", &long, "accept", "host", "x-auth-name"] {
            assert!(!is_removed(name), "{name}");
        }
    }
}
