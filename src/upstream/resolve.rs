//! Resolves names on blocking threads, a bounded number at a time.

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

/// The maximum number of concurrent lookups. Each occupies a thread until the system resolver
/// returns, even if nobody waits for the result any more.
const AT_ONCE: usize = 64;

/// The maximum number of addresses used per name.
const MOST_ADDRESSES: usize = 256;

/// A resolver of names. All clones share the limit.
#[derive(Clone)]
pub(crate) struct Resolver(Arc<Semaphore>);

impl Default for Resolver {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(AT_ONCE)))
    }
}

impl Resolver {
    /// Returns the addresses of a name with a port, sorted and without duplicates.
    ///
    /// # Errors
    /// `NotFound` if the name has no address, or the error of the resolver.
    pub(crate) async fn look_up(&self, name: &str) -> io::Result<Vec<SocketAddr>> {
        let limit = Arc::clone(&self.0);
        let place = limit.acquire_owned().await.map_err(io::Error::other)?;
        let name = name.to_owned();
        let found = spawn_blocking(move || {
            // Released when the resolver returns.
            let _place = place;
            name.to_socket_addrs().map(Vec::from_iter)
        });
        let mut found = found.await.map_err(io::Error::other)??;
        found.sort_unstable();
        found.dedup();
        found.truncate(MOST_ADDRESSES);
        if found.is_empty() {
            return Err(io::Error::new(ErrorKind::NotFound, "it has no address"));
        }
        Ok(found)
    }
}
