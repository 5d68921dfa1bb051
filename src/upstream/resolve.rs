//! Looking up a name: a bounded number at a time, off the threads that serve requests.

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, ToSocketAddrs};

use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

/// How many names are looked up at a time at most. Each takes a thread for as long as the resolver of the
/// system waits, even if nobody waits for the answer any more.
const AT_ONCE: usize = 64;

/// The most addresses of a name that are used.
const MOST_ADDRESSES: usize = 256;

static PLACES: Semaphore = Semaphore::const_new(AT_ONCE);

/// Returns the addresses of a name with a port, in order, each once.
///
/// # Errors
/// It has none, or the resolver does not answer.
pub(crate) async fn look_up(name: &str) -> io::Result<Vec<SocketAddr>> {
    let place = PLACES.acquire().await.map_err(io::Error::other)?;
    let name = name.to_owned();
    let found = spawn_blocking(move || {
        // Held until the resolver is done.
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
