//! Limits the numbers of connections and requests, in total and per address.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use tokio_util::task::task_tracker::TaskTrackerToken;

use crate::auth::network;
use crate::config;
use crate::http::rejection::Rejection;

/// Counts connections and requests.
#[derive(Default)]
pub(crate) struct Admission {
    open: Mutex<Open>,
    /// Requests in progress.
    requests: AtomicUsize,
}

#[derive(Default)]
struct Open {
    all: usize,
    /// Only addresses with a connection, so at most as many as there are connections.
    of: HashMap<IpAddr, Arc<Share>>,
}

/// The usage of one address.
#[derive(Debug)]
pub(crate) struct Share {
    address: IpAddr,
    /// Changed under the lock only.
    connections: AtomicUsize,
    requests: AtomicUsize,
}

/// Why a connection is closed right after it was accepted. For the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Full {
    /// `limits.connections` are open.
    InAll,
    /// `limits.connections_per_address` are open from its address.
    OfAddress,
}

/// A connection that counts toward the total until this is dropped.
pub(crate) struct ConnectionSlot(Arc<Admission>);

/// A connection that counts for its address until this is dropped.
pub(crate) struct AddressSlot {
    admission: Arc<Admission>,
    share: Arc<Share>,
}

/// A request that counts, in total and for its address, until this is dropped.
pub(crate) struct Entered {
    admission: Arc<Admission>,
    share: Option<Arc<Share>>,
}

impl Admission {
    /// Counts a connection. Fails if `most` are open already.
    pub(crate) fn admit(self: &Arc<Self>, most: usize) -> Result<ConnectionSlot, Full> {
        let mut open = self.open.lock();
        if open.all >= most {
            return Err(Full::InAll);
        }
        open.all += 1;
        Ok(ConnectionSlot(Arc::clone(self)))
    }

    /// Counts a connection from `address`. Fails if too many are open from there.
    pub(crate) fn admit_from(
        self: &Arc<Self>,
        address: IpAddr,
        limits: &config::Limits,
    ) -> Result<AddressSlot, Full> {
        let address = network(address);
        let mut open = self.open.lock();
        let share = open.of.entry(address).or_insert_with(|| {
            Arc::new(Share {
                address,
                connections: AtomicUsize::new(0),
                requests: AtomicUsize::new(0),
            })
        });
        if share.connections.load(Ordering::Relaxed) >= limits.connections_per_address {
            return Err(Full::OfAddress);
        }
        share.connections.fetch_add(1, Ordering::Relaxed);
        Ok(AddressSlot {
            share: Arc::clone(share),
            admission: Arc::clone(self),
        })
    }

    /// Counts a request. Fails if too many are in progress, in total or from the address of its
    /// connection, which is `None` for an address without a limit.
    pub(crate) fn enter(
        self: &Arc<Self>,
        share: Option<&Arc<Share>>,
        limits: &config::Limits,
    ) -> Result<Entered, Rejection> {
        if let Some(share) = share
            && !count(&share.requests, limits.requests_of_address())
        {
            return Err(Rejection::AddressBusy);
        }
        // Dropped from here on, so the count is undone on every path.
        let entered = Entered {
            admission: Arc::clone(self),
            share: share.cloned(),
        };
        if self.requests.fetch_add(1, Ordering::Relaxed) >= limits.requests {
            return Err(Rejection::Busy);
        }
        Ok(entered)
    }

    /// Returns the number of requests in progress.
    pub(crate) fn requests(&self) -> usize {
        self.requests.load(Ordering::Relaxed)
    }
}

impl Share {
    /// Returns the number of connections of the address.
    pub(super) fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }
}

impl AddressSlot {
    /// Returns the usage of the address.
    pub(crate) fn share(&self) -> &Arc<Share> {
        &self.share
    }
}

/// A connection that counts until this is dropped.
pub(crate) struct Counted {
    pub(super) _all: ConnectionSlot,
    pub(super) _from: Option<AddressSlot>,
    /// Tracks a connection that is not served by a task of ours.
    pub(super) _open: Option<TaskTrackerToken>,
}

impl Counted {
    pub(super) fn share(&self) -> Option<Arc<Share>> {
        self._from.as_ref().map(|from| Arc::clone(from.share()))
    }
}

/// Adds one, unless the count is `most` already.
fn count(counted: &AtomicUsize, most: usize) -> bool {
    counted
        .try_update(Ordering::Relaxed, Ordering::Relaxed, |count| {
            (count < most).then_some(count + 1)
        })
        .is_ok()
}

impl Drop for ConnectionSlot {
    fn drop(&mut self) {
        self.0.open.lock().all -= 1;
    }
}

impl Drop for AddressSlot {
    fn drop(&mut self) {
        let mut open = self.admission.open.lock();
        if self.share.connections.fetch_sub(1, Ordering::Relaxed) == 1 {
            open.of.remove(&self.share.address);
        }
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        self.admission.requests.fetch_sub(1, Ordering::Relaxed);
        if let Some(share) = &self.share {
            share.requests.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits() -> config::Limits {
        config::Limits {
            header_bytes: 0,
            header_fields: 0,
            target_bytes: 0,
            body_bytes: 0,
            body_rate: 0,
            drain_bytes: 0,
            connections: 4,
            connections_per_address: 2,
            requests: 4,
            requests_per_address: Some(3),
            streams: 1,
            stream_window: 65_535,
            connection_window: 65_535,
        }
    }

    fn admit(admission: &Arc<Admission>, address: &str) -> Result<AddressSlot, Full> {
        admission.admit_from(address.parse().unwrap(), &limits())
    }

    #[test]
    fn address_has_its_share_and_gets_it_back() {
        let admission = Arc::<Admission>::default();
        let first = admit(&admission, "192.0.2.1").ok();
        let _second = admit(&admission, "::ffff:192.0.2.1").ok().unwrap();
        assert_eq!(admit(&admission, "192.0.2.1").err(), Some(Full::OfAddress));
        assert!(admit(&admission, "192.0.2.2").is_ok());
        drop(first);
        assert!(admit(&admission, "192.0.2.1").is_ok());
    }

    #[test]
    fn addresses_of_one_host_share() {
        let admission = Arc::<Admission>::default();
        let _open = ["2001:db8::1", "2001:db8::2"].map(|it| admit(&admission, it).ok().unwrap());
        let third = admit(&admission, "2001:db8::ffff:0:0:1");
        assert_eq!(third.err(), Some(Full::OfAddress));
        assert!(admit(&admission, "2001:db8:0:1::1").is_ok());
    }

    #[test]
    fn all_together_have_a_limit_and_nothing_is_left_behind() {
        let admission = Arc::<Admission>::default();
        let from = admit(&admission, "192.0.2.1").ok();
        let open: Vec<_> = (0..4).map(|_| admission.admit(4).ok().unwrap()).collect();
        assert_eq!(admission.admit(4).err(), Some(Full::InAll));
        drop((open, from));
        let left = admission.open.lock();
        assert_eq!((left.all, left.of.len()), (0, 0));
    }

    #[test]
    fn requests_of_an_address_are_bounded_over_its_connections_and_leave_room_for_others() {
        let admission = Arc::<Admission>::default();
        let connections =
            ["2001:db8::1", "2001:db8::2"].map(|it| admit(&admission, it).ok().unwrap());
        let enter = |of: &AddressSlot| admission.enter(Some(of.share()), &limits());
        let mut under_way: Vec<_> = [0, 1, 0]
            .map(|of: usize| enter(&connections[of]).ok().unwrap())
            .into();
        assert_eq!(enter(&connections[1]).err(), Some(Rejection::AddressBusy));
        let other = admit(&admission, "192.0.2.2").ok().unwrap();
        under_way.push(enter(&other).ok().unwrap());
        assert_eq!(enter(&other).err(), Some(Rejection::Busy));
        assert_eq!(
            admission.enter(None, &limits()).err(),
            Some(Rejection::Busy)
        );
        assert_eq!(admission.requests(), 4);
        drop(under_way);
        assert_eq!(admission.requests(), 0);
        assert_eq!(connections[0].share.requests.load(Ordering::Relaxed), 0);
        assert!(enter(&connections[0]).is_ok());
    }
}
