use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use data_encoding::HEXLOWER;
use http::HeaderValue;

/// Makes the request ids of a server: 8 random bytes, and a count.
pub(crate) struct RequestIds {
    random: [u8; 8],
    count: AtomicU64,
}

impl RequestIds {
    pub(crate) fn new() -> Self {
        let mut random = [0; 8];
        // Without random bytes, ids are unique within this server only. That is no reason to stop.
        let _ = getrandom::fill(&mut random);
        Self {
            random,
            count: AtomicU64::new(1),
        }
    }

    pub(crate) fn next(&self) -> RequestId {
        let mut id = [0; 16];
        let (random, count) = id.split_at_mut(8);
        random.copy_from_slice(&self.random);
        count.copy_from_slice(&self.count.fetch_add(1, Ordering::Relaxed).to_be_bytes());
        RequestId(id)
    }
}

/// The id of a request; 32 hexadecimal digits as text.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct RequestId([u8; 16]);

impl RequestId {
    pub(crate) fn value(self) -> HeaderValue {
        // Hexadecimal digits are a valid header value.
        HeaderValue::from_maybe_shared(Bytes::copy_from_slice(&self.digits()))
            .unwrap_or_else(|_| HeaderValue::from_static(""))
    }

    pub(crate) fn digits(self) -> [u8; 32] {
        let mut digits = [0; 32];
        HEXLOWER.encode_mut(&self.0, &mut digits);
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
        let ids = RequestIds::new();
        let (one, other) = (ids.next(), ids.next());
        assert_ne!(one.value(), other.value());
        assert_eq!(one.value().to_str().unwrap(), one.to_string());
        assert_eq!(one.to_string().len(), 32);
    }
}
