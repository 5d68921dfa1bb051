//! Notices changes of the files of a configuration (`server.watch`).
//!
//! The files are examined at an interval, because a network file system reports no changes. A
//! change counts when nothing has changed for [`SETTLED`].

use std::time::{Duration, Instant};

use crate::config::Inputs;
use crate::net::aside;

/// The interval at which the files are examined.
const EVERY: Duration = Duration::from_millis(500);

/// The interval while they change.
const WHILE_CHANGING: Duration = Duration::from_millis(100);

/// How long the files must stay the same before they are read.
const SETTLED: Duration = Duration::from_secs(1);

/// How long the files may keep changing before a warning is logged.
const RESTLESS: Duration = Duration::from_secs(60);

/// The part of the time that may be spent on examining files: one in this many.
const SHARE: u32 = 20;

/// Notices changes.
pub(super) struct Watcher {
    /// The files with the states in which they were read.
    read: Inputs,
}

impl Watcher {
    /// Makes a watcher of the files that were read.
    pub(super) const fn new(read: Inputs) -> Self {
        Self { read }
    }

    /// Follows other files, which were read in these states.
    pub(super) fn follow(&mut self, read: Inputs) {
        self.read = read;
    }

    /// Returns when a file has changed, and nothing has changed since for [`SETTLED`]. Can be
    /// cancelled.
    pub(super) async fn changed(&self) {
        let mut pause = EVERY;
        loop {
            tokio::time::sleep(pause).await;
            let (mut last, took) = self.examine().await;
            if last == self.read {
                pause = EVERY.max(took * SHARE);
                continue;
            }
            let began = Instant::now();
            let (mut since, mut is_logged) = (began, false);
            while since.elapsed() < SETTLED {
                tokio::time::sleep(WHILE_CHANGING.max(took * SHARE)).await;
                let (now, _) = self.examine().await;
                if now != last {
                    (last, since) = (now, Instant::now());
                }
                if began.elapsed() > RESTLESS && !is_logged {
                    is_logged = true;
                    tracing::warn!("the configuration files keep changing, so they are not read");
                }
            }
            if last != self.read {
                return;
            }
        }
    }

    /// Returns the current states of the files, and how long that took.
    pub(super) async fn examine(&self) -> (Inputs, Duration) {
        let (read, began) = (self.read.clone(), Instant::now());
        // A network file system may not respond.
        let current = aside(move || read.current()).await;
        (current, began.elapsed())
    }
}
