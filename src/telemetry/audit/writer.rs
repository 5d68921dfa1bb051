//! Writing off the hot path: doors leave events in a queue, a thread of its own takes them to disk in batches.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use parking_lot::{Condvar, Mutex};
use tokio::sync::oneshot;

use super::AuditError;
use super::event::{Event, Kind};
use super::file::{Entry, Log};
use crate::telemetry::metrics;

/// How long denials may wait for others, so that a flood of them is synced a few times a second.
const GATHER: Duration = Duration::from_millis(100);
/// How often it is written how many events were lost.
const TELL: Duration = Duration::from_secs(1);
/// How long after a failure it is tried again.
const AGAIN: Duration = Duration::from_secs(1);
/// The most events that wait for the disk. Then denials are counted instead, and changes refused.
const WAITING: usize = 16_384;
/// The longest wait for a line to be on disk.
const DURABLE: Duration = Duration::from_secs(10);

/// The way to the thread that writes.
pub(super) struct Writer(Arc<Shared>);

struct Shared {
    queue: Mutex<Queue>,
    filled: Condvar,
    denials_per_second: u32,
}

#[derive(Default)]
struct Queue {
    waiting: Vec<Waiting>,
    /// Whether one of them is waited for.
    is_urgent: bool,
    /// Events that were not kept.
    lost: u64,
    /// When it was written last how many those were.
    told: Option<Instant>,
    /// Whether lines could not be written of late.
    is_failing: bool,
    /// The second that denials are counted in, and how many there were.
    second: u64,
    denials: u32,
}

struct Waiting {
    entries: Vec<Entry>,
    /// Who waits for it to be on disk; none for what may be lost.
    done: Option<oneshot::Sender<()>>,
    /// Whether it may be counted instead of written.
    is_denial: bool,
}

impl Writer {
    /// Starts the thread. It ends with the process.
    ///
    /// # Errors
    /// There can be no thread.
    pub(super) fn start(log: Log, denials_per_second: u32) -> std::io::Result<Self> {
        let shared = Arc::new(Shared {
            queue: Mutex::default(),
            filled: Condvar::new(),
            denials_per_second,
        });
        let kept = Arc::clone(&shared);
        std::thread::Builder::new()
            .name("audit".to_owned())
            .spawn(move || shared.run(log))?;
        Ok(Self(kept))
    }

    /// Leaves a denial, which is counted instead where there are too many.
    pub(super) fn deny(&self, event: &Event<'_>) {
        if self.0.denials_per_second == 0 {
            return;
        }
        let now = SystemTime::now();
        let second = now.duration_since(SystemTime::UNIX_EPOCH);
        let second = second.map_or(0, |since| since.as_secs());
        {
            let mut queue = self.0.queue.lock();
            if queue.second != second {
                (queue.second, queue.denials) = (second, 0);
            }
            if queue.denials >= self.0.denials_per_second {
                queue.lost += 1;
                return;
            }
            queue.denials += 1;
        }
        self.0.leave(vec![entry(event, now)], None, true);
    }

    /// Leaves an event that nobody waits for.
    pub(super) fn note(&self, event: &Event<'_>) {
        let event = entry(event, SystemTime::now());
        self.0.leave(vec![event], None, false);
    }

    /// Resolves when events are on disk.
    ///
    /// # Errors
    /// They are not yet. They stay in the queue, if there is room.
    pub(super) async fn write(&self, events: &[Event<'_>]) -> Result<(), AuditError> {
        if events.is_empty() {
            return Ok(());
        }
        let now = SystemTime::now();
        let entries = events.iter().map(|event| entry(event, now)).collect();
        let (done, written) = oneshot::channel();
        if !self.0.leave(entries, Some(done), false) {
            return Err(AuditError::Failing);
        }
        match tokio::time::timeout(DURABLE, written).await {
            Ok(Ok(())) => Ok(()),
            _ => Err(AuditError::Failing),
        }
    }

    /// Says whether lines are being written.
    pub(super) fn is_failing(&self) -> bool {
        self.0.queue.lock().is_failing
    }
}

impl Queue {
    /// Says whether it is too early to write again how many events were lost.
    fn is_early(&self) -> bool {
        self.told.is_some_and(|told| told.elapsed() < TELL)
    }
}

impl Shared {
    /// Keeps entries; says whether there was room.
    fn leave(
        &self,
        entries: Vec<Entry>,
        done: Option<oneshot::Sender<()>>,
        is_denial: bool,
    ) -> bool {
        let mut queue = self.queue.lock();
        if queue.waiting.len() >= WAITING {
            queue.lost += entries.len() as u64;
            return false;
        }
        queue.is_urgent |= done.is_some();
        queue.waiting.push(Waiting {
            entries,
            done,
            is_denial,
        });
        drop(queue);
        self.filled.notify_one();
        true
    }

    fn run(&self, mut log: Log) {
        loop {
            let (batch, lost) = self.take();
            let summary = (lost > 0).then(|| {
                let event = Event {
                    lost: Some(lost),
                    ..Event::new(Kind::AuditLost)
                };
                entry(&event, SystemTime::now())
            });
            let entries = batch.iter().flat_map(|it| &it.entries);
            let entries: Vec<_> = entries.chain(&summary).collect();
            match log.append(&entries) {
                Ok(()) => self.written(batch, lost),
                Err(error) => self.failed(batch, lost, &error),
            }
        }
    }

    /// Waits for something to write: events, and how many were lost.
    fn take(&self) -> (Vec<Waiting>, u64) {
        let mut queue = self.queue.lock();
        while queue.waiting.is_empty() && (queue.lost == 0 || queue.is_early()) {
            match queue.lost {
                0 => self.filled.wait(&mut queue),
                _ => drop(self.filled.wait_for(&mut queue, GATHER)),
            }
        }
        let deadline = Instant::now() + GATHER;
        while !queue.is_urgent && !self.filled.wait_until(&mut queue, deadline).timed_out() {}
        let mut lost = 0;
        if queue.is_urgent || !queue.is_early() {
            lost = std::mem::take(&mut queue.lost);
            queue.told = Some(Instant::now());
        }
        queue.is_urgent = false;
        (std::mem::take(&mut queue.waiting), lost)
    }

    fn written(&self, batch: Vec<Waiting>, lost: u64) {
        let lines = batch.iter().map(|it| it.entries.len() as u64).sum();
        metrics().audit.written(lines, lost);
        let was_failing = std::mem::take(&mut self.queue.lock().is_failing);
        if was_failing {
            metrics().audit.set_failing(false);
            tracing::info!("the audit log is written again");
        }
        for done in batch.into_iter().filter_map(|it| it.done) {
            // Who does not wait any more has been told that it failed.
            let _ = done.send(());
        }
    }

    /// Keeps what must not be lost, and waits.
    fn failed(&self, batch: Vec<Waiting>, lost: u64, error: &std::io::Error) {
        let mut queue = self.queue.lock();
        let all = batch.len();
        let mut waiting: Vec<_> = batch.into_iter().filter(|it| !it.is_denial).collect();
        queue.lost += lost + (all - waiting.len()) as u64;
        waiting.append(&mut queue.waiting);
        queue.waiting = waiting;
        if !queue.is_failing {
            queue.is_failing = true;
            metrics().audit.set_failing(true);
            tracing::error!(%error, "the audit log cannot be written");
        }
        drop(queue);
        std::thread::sleep(AGAIN);
    }
}

fn entry(event: &Event<'_>, time: SystemTime) -> Entry {
    Entry {
        time,
        body: event.body(),
    }
}
