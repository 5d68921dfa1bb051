//! Reads the identities that are not cached, several in one transaction.
//!
//! To hand a read over to a thread, and to begin and end its transaction, costs more than the read
//! itself. So when all readers are busy, the next one reads all principals that have been requested
//! meanwhile.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use deadpool_sqlite::Pool;
use parking_lot::Mutex;
use rusqlite::Connection;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::changes::last_seq;
use super::pool::{database, interact, pool_error};
use super::rows::{entry, find};
use crate::database::Loaded;
use crate::key_ring::KeyRing;
use realmgate_core::{Principal, StoreError};

/// The maximum number of identities read in one transaction: few enough that the first need not wait
/// for long.
const TOGETHER: usize = 64;

/// The requested identities, and their readers.
pub(super) struct Loads {
    readers: Pool,
    most_readers: usize,
    ring: Arc<KeyRing>,
    timeout: Duration,
    queue: Mutex<Queue>,
}

#[derive(Default)]
struct Queue {
    /// At most one per waiting request.
    waiting: VecDeque<Waiting>,
    readers: usize,
}

struct Waiting {
    who: Principal,
    reply: oneshot::Sender<Result<Loaded, StoreError>>,
}

impl Loads {
    pub(super) fn new(
        (readers, most_readers): (Pool, usize),
        ring: Arc<KeyRing>,
        timeout: Duration,
    ) -> Arc<Self> {
        Arc::new(Self {
            readers,
            most_readers,
            ring,
            timeout,
            queue: Mutex::default(),
        })
    }

    /// Reads an identity.
    ///
    /// # Errors
    /// As [`super::query::Sqlite::read`].
    pub(super) async fn load(self: &Arc<Self>, who: Principal) -> Result<Loaded, StoreError> {
        let (reply, loaded) = oneshot::channel();
        if self.wait(Waiting { who, reply }) {
            let reader = Reader {
                loads: Arc::clone(self),
                is_counted: true,
            };
            tokio::spawn(reader.run());
        }
        // As long as a reader waits for a connection and for the end of its transaction.
        match timeout(self.timeout * 3, loaded).await {
            Err(_) => Err(StoreError::Timeout),
            Ok(loaded) => loaded.unwrap_or(Err(StoreError::Closed)),
        }
    }

    /// Adds a request. Returns whether another reader must begin.
    fn wait(&self, waiting: Waiting) -> bool {
        let mut queue = self.queue.lock();
        queue.waiting.push_back(waiting);
        let begins = queue.readers < self.most_readers;
        queue.readers += usize::from(begins);
        begins
    }
}

/// A task that reads. It counts as a reader until nobody waits, or it is dropped.
struct Reader {
    loads: Arc<Loads>,
    is_counted: bool,
}

impl Reader {
    /// Reads until nobody waits.
    async fn run(mut self) {
        let loads = Arc::clone(&self.loads);
        loop {
            let connection = loads.readers.get().await.map_err(pool_error);
            let some = self.next();
            if some.is_empty() {
                return;
            }
            match connection {
                Err(error) => reply(some, &error),
                Ok(connection) => {
                    let ring = Arc::clone(&loads.ring);
                    let read = move |connection: &mut Connection| {
                        read(connection, &ring, some);
                        Ok(())
                    };
                    if let Err(error) = interact(&connection, loads.timeout, read).await {
                        tracing::debug!(%error, "reading identities failed");
                    }
                }
            }
        }
    }

    /// Takes the next requests. If there are none, it does not count any more: the next request
    /// begins another reader.
    fn next(&mut self) -> Vec<Waiting> {
        let mut queue = self.loads.queue.lock();
        let together = queue.waiting.len().min(TOGETHER);
        if together == 0 {
            queue.readers -= 1;
            self.is_counted = false;
        }
        queue.waiting.drain(..together).collect()
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        if self.is_counted {
            self.loads.queue.lock().readers -= 1;
        }
    }
}

/// Reads identities in one transaction, so that each row and the position are of the same moment.
fn read(connection: &mut Connection, ring: &KeyRing, some: Vec<Waiting>) {
    let begun = connection.transaction().and_then(|snapshot| {
        let as_of = last_seq(&snapshot)?;
        Ok((snapshot, as_of))
    });
    let (snapshot, as_of) = match begun {
        Ok(begun) => begun,
        Err(error) => return reply(some, &database(&error)),
    };
    for Waiting { who, reply } in some {
        let found =
            find(&snapshot, who.as_ref(), |row| entry(row, ring)).map_err(|error| database(&error));
        let identity = found.and_then(|entry| entry.transpose().map_err(StoreError::Row));
        // The caller may have gone.
        let _ = reply.send(identity.map(|identity| Loaded { identity, as_of }));
    }
}

fn reply(some: Vec<Waiting>, error: &StoreError) {
    for waiting in some {
        let _ = waiting.reply.send(Err(error.clone()));
    }
}
