//! Write transactions with a known outcome: the wait is bounded until COMMIT, and unbounded from
//! then on.
//!
//! The writing thread and the waiting task share the stage of the write. A task that gives up
//! before COMMIT cancels the write: the thread checks right before COMMIT, and rolls back. After
//! that, a write cannot be cancelled, so the task waits for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use deadpool_sqlite::{InteractError, Pool};
use rusqlite::{Connection, ErrorCode, Transaction, TransactionBehavior};
use tokio::time::timeout;

use super::changes::trim;
use super::pool::{database, pool_error};
use realmgate_core::{ChangeError, StoreError};

/// How long to wait for a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Patience {
    /// Until the outcome is known.
    Outcome,
    /// For this long after the other limits have passed. Then the outcome is
    /// [`StoreError::Unknown`].
    AtMost(Duration),
}

/// Runs one transaction. `Ok` means that it is on disk. An error other than
/// [`StoreError::Unknown`], or dropping the future before COMMIT, means that it did not happen.
/// Takes at most twice `limit` until COMMIT, plus the wait for a connection.
///
/// # Errors
/// [`ChangeError`] if the transaction failed or was cancelled.
pub(super) async fn write<T, F>(
    pool: &Pool,
    limit: Duration,
    patience: Patience,
    work: F,
) -> Result<T, ChangeError>
where
    T: Send + 'static,
    F: FnOnce(&Transaction<'_>) -> rusqlite::Result<T> + Send + 'static,
{
    let connection = pool.get().await.map_err(pool_error)?;
    let stage = Arc::new(Stage::default());
    let waiting = Waiting(Arc::clone(&stage));
    // A task of its own, so that the connection is returned only when its thread is done with it.
    let mut running = tokio::spawn(async move {
        let began = Instant::now();
        let done = connection.interact({
            let stage = Arc::clone(&stage);
            move |connection| run(connection, &stage, work)
        });
        let outcome = flatten(done.await);
        if stage.is_committing() && began.elapsed() > limit * 2 {
            let (took, is_done) = (began.elapsed().as_secs_f64(), outcome.is_ok());
            tracing::warn!(took, done = is_done, "the database was slow to commit");
        }
        outcome
    });
    // Twice, so that SQLite's own lock timeout ends first and names the lock.
    let in_time = timeout(limit * 2, &mut running).await;
    let outcome = match (in_time, patience) {
        (Ok(outcome), _) => outcome,
        (Err(_), _) if waiting.0.give_up() => return Err(StoreError::Timeout.into()),
        (Err(_), Patience::Outcome) => {
            tracing::warn!("the database has not confirmed a change yet: waiting");
            running.await
        }
        (Err(_), Patience::AtMost(longer)) => match timeout(longer, running).await {
            Ok(outcome) => outcome,
            Err(_) => return Err(StoreError::Unknown.into()),
        },
    };
    outcome.unwrap_or_else(|_| Err(StoreError::Closed.into()))
}

fn run<T>(
    connection: &mut Connection,
    stage: &Stage,
    work: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>,
) -> rusqlite::Result<Result<T, ChangeError>> {
    // IMMEDIATE, because a transaction that turns from reading to writing cannot wait for another
    // writer.
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let outcome = match work(&transaction) {
        Err(error) if is_taken(&error) => return Ok(Err(ChangeError::Taken)),
        other => other?,
    };
    trim(&transaction)?;
    if !stage.commit() {
        return Ok(Err(StoreError::Timeout.into()));
    }
    transaction.commit()?;
    Ok(Ok(outcome))
}

type Ran<T> = Result<rusqlite::Result<Result<T, ChangeError>>, InteractError>;

fn flatten<T>(ran: Ran<T>) -> Result<T, ChangeError> {
    match ran {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(error)) => Err(database(&error).into()),
        Err(_) => Err(StoreError::Closed.into()),
    }
}

fn is_taken(error: &rusqlite::Error) -> bool {
    error.sqlite_error().is_some_and(|error| {
        let unique = [
            rusqlite::ffi::SQLITE_CONSTRAINT_UNIQUE,
            rusqlite::ffi::SQLITE_CONSTRAINT_PRIMARYKEY,
            rusqlite::ffi::SQLITE_CONSTRAINT_ROWID,
        ];
        error.code == ErrorCode::ConstraintViolation && unique.contains(&error.extended_code)
    })
}

/// The stage of a write.
#[derive(Default)]
struct Stage(AtomicU8);

/// It can be cancelled.
const OPEN: u8 = 0;
/// COMMIT has begun.
const COMMITTING: u8 = 1;
/// It was cancelled and must not be committed.
const GIVEN_UP: u8 = 2;

impl Stage {
    /// Begins COMMIT. Returns `false` if the write was cancelled.
    fn commit(&self) -> bool {
        self.leave_open(COMMITTING)
    }

    /// Cancels the write. Returns `false` if COMMIT has begun.
    fn give_up(&self) -> bool {
        self.leave_open(GIVEN_UP)
    }

    fn is_committing(&self) -> bool {
        self.0.load(Ordering::Acquire) == COMMITTING
    }

    fn leave_open(&self, to: u8) -> bool {
        self.0
            .compare_exchange(OPEN, to, Ordering::AcqRel, Ordering::Acquire)
            .is_ok()
    }
}

/// Cancels the write when it is dropped, unless COMMIT has begun.
struct Waiting(Arc<Stage>);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.give_up();
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::thread;

    use super::super::pool::{Access, pool};
    use super::super::watch::Watch;
    use super::*;
    use crate::access::Way;

    const LIMIT: Duration = Duration::from_millis(50);

    fn table(path: &Path) -> Pool {
        let database = Connection::open(path).unwrap();
        let sql = "CREATE TABLE change (seq INTEGER PRIMARY KEY); CREATE TABLE t (n)";
        database.execute_batch(sql).unwrap();
        let watch = Arc::new(Watch::new(path).unwrap());
        pool(path, 1, LIMIT, (Way::Shared, Access::Write), watch).unwrap()
    }

    fn slowly(transaction: &Transaction<'_>) -> rusqlite::Result<()> {
        transaction.execute("INSERT INTO t VALUES (1)", ())?;
        thread::sleep(LIMIT * 20);
        Ok(())
    }

    /// Counts the rows once no write is in progress.
    async fn rows(pool: &Pool) -> i64 {
        let rows = loop {
            if let Ok(connection) = pool.get().await {
                break connection
                    .interact(|it| it.query_row("SELECT count(*) FROM t", (), |row| row.get(0)))
                    .await;
            }
        };
        rows.unwrap().unwrap()
    }

    #[tokio::test]
    async fn write_that_is_given_up_before_its_commit_does_not_happen() {
        let folder = tempfile::tempdir().unwrap();
        let pool = table(&folder.path().join("r.db"));
        let outcome = write(&pool, LIMIT, Patience::Outcome, slowly).await;
        assert!(matches!(
            outcome,
            Err(ChangeError::Store(StoreError::Timeout))
        ));
        assert_eq!(rows(&pool).await, 0);
    }

    #[tokio::test]
    async fn write_whose_caller_disconnects_before_its_commit_does_not_happen() {
        let folder = tempfile::tempdir().unwrap();
        let pool = table(&folder.path().join("r.db"));
        let gone = timeout(LIMIT, write(&pool, LIMIT, Patience::Outcome, slowly)).await;
        assert!(gone.is_err());
        assert_eq!(rows(&pool).await, 0);
    }

    #[test]
    fn write_is_committed_or_cancelled_and_never_both() {
        let (committed, taken_back) = (Stage::default(), Stage::default());
        assert!(committed.commit() && !committed.give_up() && committed.is_committing());
        assert!(taken_back.give_up() && !taken_back.commit() && !taken_back.is_committing());
    }
}
