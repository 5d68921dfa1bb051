//! The limit of a body that is discarded.

/// The size of a part below which the number of parts counts, in bytes.
const SMALL: usize = 256;
/// The number of parts that may be smaller in any case.
const FEW: usize = 64;

/// How much of a body may still be discarded. It also bounds the number of parts, because a part
/// costs about the same work if it has a single byte.
pub(crate) struct Allowance {
    bytes: usize,
    parts: usize,
}

impl Allowance {
    pub(crate) const fn new(bytes: usize) -> Self {
        Self {
            bytes,
            parts: FEW + bytes / SMALL,
        }
    }

    /// Takes a part of the body. Returns whether it is within the limit.
    pub(crate) fn take(&mut self, length: usize) -> bool {
        let left = self
            .bytes
            .checked_sub(length)
            .zip(self.parts.checked_sub(1));
        if let Some((bytes, parts)) = left {
            (self.bytes, self.parts) = (bytes, parts);
        }
        left.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_and_small_parts_are_bounded() {
        let mut of_bytes = Allowance::new(1000);
        assert!(of_bytes.take(999));
        assert!(!of_bytes.take(2));
        assert!(of_bytes.take(1));
        assert!(!of_bytes.take(1));
        let mut of_parts = Allowance::new(10 * SMALL);
        let taken = (0..1000).take_while(|_| of_parts.take(1)).count();
        assert_eq!(taken, FEW + 10);
    }
}
