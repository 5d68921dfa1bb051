//! Writes the log in the background: doors add events to a queue, and a thread writes them in batches.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use parking_lot::{Condvar, Mutex};
use tokio::sync::oneshot;

use super::chain::Position;
use super::denials::{Denials, Rank};
use super::disk::is_full as is_full_error;
use super::entry::Entry;
use super::error::AuditError;
use super::event::{Event, Kind};
use super::file::{Log, Room};
use super::metrics::AuditMetrics;
use super::positions::MESSAGE;
use super::queue::{Queue, Waiting};
use crate::config;

/// How long denials wait for others, so that a flood is synced a few times per second only.
const GATHER: Duration = Duration::from_millis(100);
/// The pause after a failed write.
const AGAIN: Duration = Duration::from_secs(1);
/// The interval at which a full disk is checked.
const LOOK: Duration = Duration::from_secs(2);
/// The maximum length of the queue. Then denials are dropped and counted, and changes are rejected.
const WAITING: usize = 16_384;

/// How long a caller waits at most for a line to be on disk.
pub const DURABLE: Duration = Duration::from_secs(10);

/// A handle of the thread that writes.
#[derive(Clone)]
pub(super) struct Writer(Arc<Shared>);

struct Shared {
    path: PathBuf,
    /// The position of the last line at the start.
    first: Position,
    queue: Mutex<Queue>,
    filled: Condvar,
    /// Locked before the queue.
    denials: Denials,
    note_every: Duration,
    metrics: AuditMetrics,
}

impl Writer {
    /// Starts the thread. It ends with the process.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub(super) fn start(
        mut log: Log,
        path: &Path,
        options: &config::Audit,
        metrics: AuditMetrics,
    ) -> io::Result<Self> {
        let is_full = matches!(log.has_room(), Ok(false));
        let shared = Arc::new(Shared {
            path: path.into(),
            first: log.last(),
            queue: Mutex::new(Queue {
                is_full,
                ..Queue::default()
            }),
            filled: Condvar::new(),
            denials: Denials::new(options),
            note_every: options.note_every,
            metrics,
        });
        if is_full {
            shared.log_full(true);
        }
        let kept = Arc::clone(&shared);
        std::thread::Builder::new()
            .name("audit".to_owned())
            .spawn(move || shared.run(log))?;
        Ok(Self(kept))
    }

    /// Logs the position of the line that was the last one at the start.
    pub(super) fn note(&self) {
        self.0.log_position(self.0.first);
    }

    /// Adds an event that clients cause, or counts it if it is a repeat or if there are too many.
    pub(super) fn deny(&self, event: &Event<'_>, rank: Rank) {
        let shared = &*self.0;
        let leave = |entry| shared.leave(Waiting::nobody(entry, 1));
        if !shared.denials.add(event, rank, leave) {
            return;
        }
        let mut queue = shared.queue.lock();
        queue.lost += 1;
        let is_first = queue.lost == 1;
        drop(queue);
        if is_first {
            shared.filled.notify_one();
        }
    }

    /// Adds an event without waiting for the disk.
    pub(super) fn log(&self, event: &Event<'_>) {
        self.0.leave_repeats(Some(event));
        let event = Entry::of(event, SystemTime::now());
        self.0.leave(Waiting::nobody(event, 0));
    }

    /// Resolves when the events are on disk.
    ///
    /// # Errors
    /// They are not on disk after `longest`. They stay in the queue, if there is room.
    pub(super) async fn write(
        &self,
        events: &[Event<'_>],
        longest: Duration,
    ) -> Result<(), AuditError> {
        if events.is_empty() {
            return Ok(());
        }
        for event in events {
            self.0.leave_repeats(Some(event));
        }
        let now = SystemTime::now();
        let entries = events.iter().map(|event| Entry::of(event, now)).collect();
        self.wait_for(entries, 0, longest).await
    }

    /// Resolves when there is room for a change and `bytes` of lines.
    ///
    /// # Errors
    /// The lines could not be written.
    pub(super) async fn ready(&self, bytes: u64) -> Result<(), AuditError> {
        self.wait_for(Vec::new(), bytes.max(1), DURABLE).await
    }

    async fn wait_for(
        &self,
        entries: Vec<Entry>,
        room: u64,
        longest: Duration,
    ) -> Result<(), AuditError> {
        let (done, written) = oneshot::channel();
        let waiting = Waiting {
            entries,
            room,
            done: Some(done),
            denials: 0,
        };
        if !self.0.leave(waiting) {
            return Err(AuditError::Failing(None));
        }
        match tokio::time::timeout(longest, written).await {
            Ok(Ok(done)) => done.map_err(|error| AuditError::Failing(Some(error))),
            _ => Err(AuditError::Failing(None)),
        }
    }
}

impl Shared {
    /// Adds entries to the queue. Returns whether there was room.
    fn leave(&self, waiting: Waiting) -> bool {
        let mut queue = self.queue.lock();
        if queue.waiting.len() >= WAITING {
            queue.lost += waiting.denials.max(waiting.entries.len() as u64);
            return false;
        }
        queue.is_urgent |= waiting.done.is_some();
        queue.waiting.push(waiting);
        drop(queue);
        self.filled.notify_one();
        true
    }

    /// Adds the counts of denials that belong before an event, or whose interval has ended.
    fn leave_repeats(&self, before: Option<&Event<'_>>) {
        let is_last = before.is_some_and(|event| event.kind == Kind::ServeEnded);
        if self.holds_repeats() && !is_last {
            return;
        }
        let leave = |entry, count| {
            // If there is no room, `leave` has counted the denials.
            let _ = self.leave(Waiting::nobody(entry, count));
        };
        match before {
            Some(event) => self.denials.take_before(event, leave),
            None => self.denials.take_due(leave),
        }
    }

    /// Returns whether counts have to wait because lines cannot be written.
    fn holds_repeats(&self) -> bool {
        let queue = self.queue.lock();
        queue.is_full || queue.is_failing
    }

    /// Returns the time until which the thread may sleep without new entries.
    fn end_of_rest(&self, noted: Instant) -> Instant {
        let end = noted + self.note_every;
        let due = match self.holds_repeats() {
            true => None,
            false => self.denials.next_due(),
        };
        due.map_or(end, |due| due.min(end))
    }

    fn run(&self, mut log: Log) {
        let mut noted = (Instant::now(), log.last());
        loop {
            self.leave_repeats(None);
            let mut batch = self.take(self.end_of_rest(noted.0));
            if let Err(error) = self.write(&mut log, &mut batch) {
                self.failed(batch, error);
            }
            if noted.0.elapsed() >= self.note_every {
                // Other processes append lines, too, and the file may have been altered.
                if let Ok(broken) = log.append(&[], Room::Reserved) {
                    self.log_altered(broken);
                    if log.last() != noted.1 {
                        self.log_position(log.last());
                    }
                    noted.1 = log.last();
                }
                noted.0 = Instant::now();
            }
        }
    }

    /// Waits for entries, at most until `end`.
    fn take(&self, end: Instant) -> Vec<Waiting> {
        let mut queue = self.queue.lock();
        while queue.waiting.is_empty() && !queue.is_due() {
            let now = Instant::now();
            let until = match (queue.is_full, queue.lost) {
                (true, _) => end.min(now + LOOK),
                (false, 0) => end,
                (false, _) => end.min(now + GATHER),
            };
            let is_time_up = self.filled.wait_until(&mut queue, until).timed_out();
            if is_time_up && (queue.is_full || Instant::now() >= end) {
                return std::mem::take(&mut queue.waiting);
            }
        }
        let deadline = Instant::now() + GATHER;
        while !queue.is_urgent && !self.filled.wait_until(&mut queue, deadline).timed_out() {}
        queue.is_urgent = false;
        std::mem::take(&mut queue.waiting)
    }

    /// Writes a batch. On failure, keeps the entries to retry.
    fn write(&self, log: &mut Log, batch: &mut Vec<Waiting>) -> io::Result<()> {
        let was_full = self.queue.lock().is_full;
        // If the free space cannot be read, assume that it has not changed.
        let is_full = log.has_room().map_or(was_full, |has_room| !has_room);
        match self.try_to_write(log, batch, is_full) {
            // The disk is fuller than it seemed.
            Err(error) if !is_full && is_full_error(&error) => self.try_to_write(log, batch, true),
            done => done,
        }
    }

    fn try_to_write(
        &self,
        log: &mut Log,
        batch: &mut Vec<Waiting>,
        is_full: bool,
    ) -> io::Result<()> {
        if is_full {
            self.drop_denials(batch);
        }
        let has_changes = is_full || batch.iter().any(|it| it.denials == 0);
        let is_waited_for = batch.iter().any(|it| it.done.is_some());
        let (lost, was_full, was_failing) = {
            let queue = self.queue.lock();
            let is_due = queue.is_due() || is_waited_for;
            let lost = queue.lost * u64::from(is_due);
            (lost, queue.is_full, queue.is_failing)
        };
        let now = SystemTime::now();
        // If lines failed on a full disk, this line shows whether they still do.
        let full = (is_full && (!was_full || was_failing))
            .then(|| Entry::of(&Event::new(Kind::AuditFull), now));
        let summary = (lost > 0).then(|| {
            let event = Event {
                lost: Some(lost),
                ..Event::new(Kind::AuditLost)
            };
            Entry::of(&event, now)
        });
        let room = batch.iter().map(|it| it.room).sum();
        if room > 0 {
            log.make_room(room)?;
        }
        let entries = batch.iter().flat_map(|it| &it.entries);
        let entries: Vec<_> = full.iter().chain(entries).chain(&summary).collect();
        if !entries.is_empty() {
            let room = match has_changes {
                true => Room::Reserved,
                false => Room::Common,
            };
            self.log_altered(log.append(&entries, room)?);
        }
        self.written(std::mem::take(batch), lost, is_full);
        Ok(())
    }

    fn written(&self, batch: Vec<Waiting>, lost: u64, is_full: bool) {
        let lines = batch.iter().map(|it| it.entries.len() as u64).sum();
        self.metrics.written(lines, lost);
        let (was_failing, was_full) = {
            let mut queue = self.queue.lock();
            if lost > 0 {
                queue.lost -= lost;
                queue.logged = Some(Instant::now());
            }
            (
                std::mem::take(&mut queue.is_failing),
                std::mem::replace(&mut queue.is_full, is_full),
            )
        };
        if was_full != is_full {
            self.log_full(is_full);
        }
        if was_failing {
            self.metrics.set_failing(false);
            tracing::info!("the audit log can be written again");
        }
        for done in batch.into_iter().filter_map(|it| it.done) {
            // A caller that no longer waits already got an error.
            let _ = done.send(Ok(()));
        }
    }

    fn drop_denials(&self, batch: &mut Vec<Waiting>) {
        let denials: u64 = batch.iter().map(|it| it.denials).sum();
        batch.retain(|it| it.denials == 0);
        self.queue.lock().lost += denials;
    }

    /// Keeps the entries that must not be lost, fails those that wait for room, and pauses.
    fn failed(&self, mut batch: Vec<Waiting>, error: io::Error) {
        let error = Arc::new(error);
        self.drop_denials(&mut batch);
        for it in batch.extract_if(.., |it| it.room > 0) {
            if let Some(done) = it.done {
                let _ = done.send(Err(Arc::clone(&error)));
            }
        }
        let mut queue = self.queue.lock();
        batch.append(&mut queue.waiting);
        queue.waiting = batch;
        if !queue.is_failing {
            queue.is_failing = true;
            self.metrics.set_failing(true);
            tracing::error!(%error, "the audit log cannot be written");
        }
        drop(queue);
        std::thread::sleep(AGAIN);
    }

    /// Logs the position of the last line to the main log, which an intruder may not be able to write.
    fn log_position(&self, at: Position) {
        if at != Position::START {
            tracing::info!(file = %self.path.display(), %at, "{MESSAGE}");
        }
    }

    fn log_altered(&self, broken: Option<&'static str>) {
        if let Some(reason) = broken {
            self.metrics.broken();
            let file = self.path.display();
            tracing::error!(%file, reason, "the audit log was altered by somebody else");
        }
    }

    fn log_full(&self, is_full: bool) {
        self.metrics.set_full(is_full);
        if is_full {
            tracing::warn!(
                "the disk of the audit log is nearly full: denials are counted but not written, and changes use the reserve"
            );
        } else {
            tracing::info!("the disk of the audit log has room again");
        }
    }
}
