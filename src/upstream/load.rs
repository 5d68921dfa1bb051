//! Counts the requests in progress at an upstream.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;

use crate::net::admission::Full;

/// The requests in progress.
#[derive(Default)]
pub(crate) struct Load {
    all: AtomicUsize,
    /// By client address; an address without requests has no entry.
    of_addresses: Mutex<HashMap<IpAddr, usize>>,
}

impl Load {
    pub(crate) fn requests(&self) -> usize {
        self.all.load(Ordering::Relaxed)
    }
}

/// A request in progress, counted until it is dropped.
pub(crate) struct UnderWay {
    load: Arc<Load>,
    address: Option<IpAddr>,
}

impl UnderWay {
    /// Counts a request, unless `most` are in progress, or `share` for its client address.
    pub(crate) fn enter(
        load: &Arc<Load>,
        most: usize,
        address: Option<IpAddr>,
        share: usize,
    ) -> Result<Self, Full> {
        if let Some(address) = address {
            let mut of_addresses = load.of_addresses.lock();
            let count = of_addresses.entry(address).or_default();
            if *count >= share {
                return Err(Full::OfAddress);
            }
            *count += 1;
        }
        // Counted even if rejected, until `entered` is dropped.
        let load = Arc::clone(load);
        let before = load.all.fetch_add(1, Ordering::Relaxed);
        let entered = Self { load, address };
        if before < most {
            Ok(entered)
        } else {
            Err(Full::InAll)
        }
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.load.all.fetch_sub(1, Ordering::Relaxed);
        let Some(address) = self.address else {
            return;
        };
        let mut of_addresses = self.load.of_addresses.lock();
        if let Some(count) = of_addresses.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                of_addresses.remove(&address);
            }
        }
    }
}
