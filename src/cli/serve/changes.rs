//! Logs what reloads open, close and change, and records it in the audit log.
//!
//! Configurations are compared after the new one is in effect, on a blocking thread, one pair at a
//! time.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::runtime::Handle;
use tokio::sync::Notify;

use crate::audit::{Audit, Event, Kind};
use crate::comparison::{CompareError, Comparison, Counts, Limits, STEPS, compare};
use crate::config::Config;

/// The maximum number of sentences in the log, and in the audit log.
const LINES: usize = 20;

/// The maximum length of a sentence in characters.
const CHARS: usize = 500;

/// The reload to compare next.
#[derive(Default)]
pub(super) struct Changes(Arc<Slot>);

#[derive(Default)]
struct Slot {
    waiting: Mutex<Option<Reload>>,
    added: Notify,
}

/// The configurations before and after a reload.
struct Reload {
    old: Arc<Config>,
    new: Arc<Config>,
    /// The digest of the new one.
    digest: String,
}

impl Changes {
    /// Starts the task that compares.
    pub(super) fn start(runtime: &Handle, audit: Audit) -> Self {
        let changes = Self::default();
        runtime.spawn(run(Arc::clone(&changes.0), audit));
        changes
    }

    /// Compares two configurations soon. If an earlier reload still waits, both are compared as one.
    pub(super) fn add(&self, old: Arc<Config>, new: Arc<Config>, digest: String) {
        let Slot { waiting, added } = &*self.0;
        let mut waiting = waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let old = waiting.take().map_or(old, |earlier| earlier.old);
        *waiting = Some(Reload { old, new, digest });
        drop(waiting);
        added.notify_one();
    }
}

impl Slot {
    fn take(&self) -> Option<Reload> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.take()
    }
}

async fn run(slot: Arc<Slot>, audit: Audit) {
    loop {
        slot.added.notified().await;
        let Some(reload) = slot.take() else {
            continue;
        };
        let config = reload.digest.clone();
        // Both configurations are released on that thread.
        let compared = tokio::task::spawn_blocking(move || {
            let limits = Limits {
                steps: STEPS,
                items: LINES,
            };
            compare(&reload.old, &reload.new, limits)
        });
        match compared.await {
            Ok(compared) => record(compared, &config, &audit),
            Err(error) => {
                let error = error.to_string();
                tracing::error!(error, config, "the comparison of a reload failed");
            }
        }
    }
}

fn record(compared: Result<Comparison, CompareError>, config: &str, audit: &Audit) {
    let log = |detail: String| {
        audit.log(&Event {
            config: Some(config),
            detail: Some(detail.into()),
            ..Event::new(Kind::PolicyChanged)
        });
    };
    let compared = match compared {
        Ok(compared) => compared,
        Err(error) => {
            tracing::warn!(%error, config, "what the reload opens and closes is not known");
            log(format!("not known: {error}"));
            return;
        }
    };
    if compared.is_empty() {
        tracing::info!(config, "the reload changes nothing that routes do");
        return;
    }
    let Counts {
        opens,
        closes,
        changes,
    } = compared.counts();
    tracing::info!(
        opens,
        closes,
        changes,
        config,
        "the reload changes what routes do"
    );
    log(format!("opens {opens}, closes {closes}, changes {changes}"));
    for item in compared.items().take(LINES) {
        let sentence = cut(&item.sentence);
        tracing::info!(sentence, config, "changed by the reload");
        log(sentence);
    }
}

/// Returns the beginning of a long sentence.
fn cut(sentence: &str) -> String {
    match sentence.char_indices().nth(CHARS) {
        None => sentence.to_owned(),
        Some((end, _)) => format!("{}…", sentence.get(..end).unwrap_or_default()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(allow: &str) -> Arc<Config> {
        let text = format!(
            "[[route]]\nname = 'a'\nallow = '{allow}'\nupstream = 'b'\n[upstream.b]\npeers = ['127.0.0.1:9']\n"
        );
        Arc::new(Config::parse(&text, "realmgate.toml", []).unwrap())
    }

    #[test]
    fn reload_that_waits_is_compared_with_the_next_one() {
        let changes = Changes::default();
        let all = ["anyone", "authenticated", "anyone"].map(config);
        let [first, second, third] = &all;
        changes.add(Arc::clone(first), Arc::clone(second), "b".to_owned());
        changes.add(Arc::clone(second), Arc::clone(third), "c".to_owned());
        let waiting = changes.0.take().unwrap();
        assert!(Arc::ptr_eq(&waiting.old, first));
        assert!(Arc::ptr_eq(&waiting.new, third));
        assert_eq!(waiting.digest, "c");
        assert!(changes.0.take().is_none());
        // The one in between is not kept.
        assert_eq!(Arc::strong_count(second), 1);
    }

    #[test]
    fn long_sentence_is_cut() {
        assert_eq!(cut("opens /"), "opens /");
        let cut = cut(&"é".repeat(CHARS + 1));
        assert_eq!(cut.chars().count(), CHARS + 1);
        assert!(cut.ends_with('…'));
    }
}
