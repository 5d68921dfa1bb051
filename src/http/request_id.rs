use std::fmt;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use data_encoding::HEXLOWER;
use http::HeaderValue;

/// The id of a request: 8 random bytes of this process and a count, 32 hexadecimal digits in all.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct RequestId(u64);

static PROCESS: LazyLock<[u8; 8]> = LazyLock::new(|| {
    let mut bytes = [0; 8];
    // Without random bytes, ids are unique in this process only. That is no reason to fail.
    let _ = getrandom::fill(&mut bytes);
    bytes
});
static COUNT: AtomicU64 = AtomicU64::new(1);

impl RequestId {
    pub(crate) fn next() -> Self {
        Self(COUNT.fetch_add(1, Ordering::Relaxed))
    }

    pub(crate) fn value(self) -> HeaderValue {
        // Hexadecimal digits are a valid header value.
        HeaderValue::from_maybe_shared(Bytes::copy_from_slice(&self.digits()))
            .unwrap_or_else(|_| HeaderValue::from_static(""))
    }

    pub(crate) fn digits(self) -> [u8; 32] {
        let mut digits = [0; 32];
        let (process, count) = digits.split_at_mut(16);
        HEXLOWER.encode_mut(&*PROCESS, process);
        HEXLOWER.encode_mut(&self.0.to_be_bytes(), count);
        digits
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(str::from_utf8(&self.digits()).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_differ_and_read_the_same_in_log_and_header() {
        let (one, other) = (RequestId::next(), RequestId::next());
        assert_ne!(one.value(), other.value());
        assert_eq!(one.value().to_str().unwrap(), one.to_string());
        assert_eq!(one.to_string().len(), 32);
    }
}
