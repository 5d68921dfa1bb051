//! Event loops: where they are made, and which one serves a connection.
//!
//! A serving loop is a thread with a current-thread runtime. Connections are accepted on the first loop and handed
//! to the loop that has the fewest. Background work runs on a loop of its own, on the main thread.
//!
//! State is kept in three kinds of place. An `Arc` that all loops hold is for the process. A [`PerLoop`] holds a value
//! for each loop, such as its pool of upstream connections. A task of a connection holds its requests.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use futures_util::future::join_all;
use pingora::server::ShutdownWatch;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::{oneshot, watch};
use tokio::time::timeout;

/// The most threads of a serving loop that wait for the database. The pool of database connections is smaller, so
/// only calls that hang need more than a few.
const BLOCKING_THREADS: usize = 64;
/// How long the end of the process waits for the loops to drop their connections.
const END: Duration = Duration::from_secs(1);

/// Makes the runtime of a command and of background work. It runs on the thread that blocks on it.
///
/// # Errors
/// The system has no descriptors left.
pub(crate) fn background() -> io::Result<Runtime> {
    Builder::new_current_thread().enable_all().build()
}

/// An event loop, and how many connections it has.
#[derive(Debug)]
pub(crate) struct EventLoop {
    handle: Handle,
    /// Whether connections are accepted on it.
    is_accepting: bool,
    connections: AtomicUsize,
    draining: watch::Sender<bool>,
}

impl EventLoop {
    fn new(handle: Handle, is_accepting: bool) -> Arc<Self> {
        Arc::new(Self {
            handle,
            is_accepting,
            connections: AtomicUsize::new(0),
            draining: watch::Sender::new(false),
        })
    }

    /// Returns the handle that starts tasks on this loop.
    pub(crate) fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Returns the signal that turns true when the shutdown begins. Each loop has its own, since every request waits
    /// for it.
    pub(crate) fn draining(&self) -> ShutdownWatch {
        self.draining.subscribe()
    }
}

/// The event loops that serve connections.
#[derive(Clone, Debug)]
pub struct Loops {
    /// Accepts the connections of all.
    first: Arc<EventLoop>,
    others: Arc<[Arc<EventLoop>]>,
}

impl Loops {
    /// Starts a number of loops, at least one, each on a thread of its own.
    ///
    /// # Errors
    /// The system has no threads or descriptors left.
    pub fn start(count: usize) -> io::Result<(Self, LoopThreads)> {
        let (first, thread) = start(0)?;
        let mut threads = vec![thread];
        let mut others = Vec::new();
        for number in 1..count {
            let (event_loop, thread) = start(number)?;
            others.push(event_loop);
            threads.push(thread);
        }
        let others = others.into();
        Ok((Self { first, others }, LoopThreads(threads)))
    }

    /// Returns the loop that this is called on, as the only one.
    pub(crate) fn current() -> Self {
        Self {
            first: EventLoop::new(Handle::current(), true),
            others: Arc::new([]),
        }
    }

    /// Returns the loop that accepts connections.
    pub(crate) fn accepting(&self) -> &EventLoop {
        &self.first
    }

    fn iter(&self) -> impl Iterator<Item = &Arc<EventLoop>> {
        std::iter::once(&self.first).chain(self.others.iter())
    }

    /// Returns how many connections each loop has.
    pub(crate) fn connections(&self) -> Vec<usize> {
        let count = |it: &Arc<EventLoop>| it.connections.load(Ordering::Relaxed);
        self.iter().map(count).collect()
    }

    /// Makes a value for each loop.
    pub(crate) fn each<T>(&self, mut make: impl FnMut(&EventLoop) -> T) -> PerLoop<T> {
        let mut of = |event_loop: &Arc<EventLoop>| OnLoop {
            own: make(event_loop),
            connections: Arc::default(),
            event_loop: Arc::clone(event_loop),
        };
        PerLoop {
            first: of(&self.first),
            others: self.others.iter().map(of).collect(),
        }
    }

    /// Begins the shutdown on every loop.
    pub(crate) fn drain(&self) {
        for event_loop in self.iter() {
            event_loop.draining.send_replace(true);
        }
    }

    /// Resolves once every loop has run a task.
    pub async fn turn(&self) {
        let turns = self.iter().map(|it| it.handle.spawn(async {}));
        join_all(turns).await;
    }
}

/// The threads of loops. The loops end when this is dropped.
pub struct LoopThreads(Vec<LoopThread>);

struct LoopThread {
    /// Ends the loop when dropped.
    _running: oneshot::Sender<Infallible>,
    ended: oneshot::Receiver<Infallible>,
}

impl LoopThreads {
    /// Ends the loops and drops the connections that are left. Waits for them a second at most.
    pub async fn end(self) {
        let ended: Vec<_> = self.0.into_iter().map(|thread| thread.ended).collect();
        if timeout(END, join_all(ended)).await.is_err() {
            tracing::warn!("an event loop did not end in time");
        }
    }
}

fn start(number: usize) -> io::Result<(Arc<EventLoop>, LoopThread)> {
    let name = format!("loop-{number}");
    let runtime = Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(BLOCKING_THREADS)
        .thread_name(format!("{name}-store"))
        .build()?;
    let event_loop = EventLoop::new(runtime.handle().clone(), number == 0);
    let (running, stopped) = oneshot::channel::<Infallible>();
    let (ending, ended) = oneshot::channel();
    thread::Builder::new().name(name).spawn(move || {
        // Its sender is dropped, and sends nothing.
        let _ = runtime.block_on(stopped);
        // A database call that hangs must not keep the process.
        runtime.shutdown_background();
        drop(ending);
    })?;
    let thread = LoopThread {
        _running: running,
        ended,
    };
    Ok((event_loop, thread))
}

/// A value for each loop, and how many connections of a listener each has.
pub(crate) struct PerLoop<T> {
    first: OnLoop<T>,
    others: Box<[OnLoop<T>]>,
}

struct OnLoop<T> {
    own: T,
    /// Of this listener.
    connections: Arc<AtomicUsize>,
    event_loop: Arc<EventLoop>,
}

impl<T> OnLoop<T> {
    fn load(&self) -> (usize, usize) {
        let of = |count: &AtomicUsize| count.load(Ordering::Relaxed);
        (of(&self.connections), of(&self.event_loop.connections))
    }
}

impl<T> PerLoop<T> {
    /// Returns the value of the loop that has the fewest connections of this listener, and among equals the fewest of
    /// all listeners, with a place there.
    pub(crate) fn least(&self) -> (&T, Place) {
        let least = self.others.iter().fold(&self.first, |least, other| {
            if other.load() < least.load() {
                other
            } else {
                least
            }
        });
        least.connections.fetch_add(1, Ordering::Relaxed);
        least.event_loop.connections.fetch_add(1, Ordering::Relaxed);
        let place = Place {
            connections: Arc::clone(&least.connections),
            event_loop: Arc::clone(&least.event_loop),
        };
        (&least.own, place)
    }

    /// Returns the values of all loops.
    pub(crate) fn values(&self) -> impl Iterator<Item = &T> {
        let all = std::iter::once(&self.first).chain(&self.others);
        all.map(|it| &it.own)
    }
}

/// A connection on a loop. It counts there until this is dropped.
pub(crate) struct Place {
    connections: Arc<AtomicUsize>,
    event_loop: Arc<EventLoop>,
}

impl Place {
    /// Returns the loop.
    pub(crate) fn event_loop(&self) -> &Arc<EventLoop> {
        &self.event_loop
    }

    /// Says whether the connection stays on the loop on which it was accepted.
    pub(crate) fn is_accepting(&self) -> bool {
        self.event_loop.is_accepting
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.connections.fetch_sub(1, Ordering::Relaxed);
        self.event_loop.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn three() -> (Loops, LoopThreads) {
        Loops::start(3).unwrap()
    }

    #[test]
    fn connections_of_a_listener_spread_evenly_and_those_of_others_decide_among_equals() {
        let (loops, _threads) = three();
        let (one, other) = (loops.each(|_| ()), loops.each(|_| ()));
        let places: Vec<_> = (0..7).map(|_| one.least().1).collect();
        let of = |listener: &PerLoop<()>| {
            let all = std::iter::once(&listener.first).chain(&listener.others);
            all.map(|it| it.load().0).collect::<Vec<_>>()
        };
        assert_eq!(of(&one), [3, 2, 2]);
        let _place = other.least().1;
        assert_eq!(of(&other), [0, 1, 0]);
        drop(places);
        assert_eq!(of(&one), [0, 0, 0]);
    }

    #[test]
    fn stopped_loops_drop_their_tasks() {
        let (loops, threads) = three();
        let alive = Arc::new(());
        for event_loop in loops.iter() {
            let alive = Arc::clone(&alive);
            event_loop.handle.spawn(async move {
                std::future::pending::<()>().await;
                drop(alive);
            });
        }
        let runtime = background().unwrap();
        runtime.block_on(loops.turn());
        assert_eq!(Arc::strong_count(&alive), 4);
        runtime.block_on(threads.end());
        assert_eq!(Arc::strong_count(&alive), 1);
    }
}
