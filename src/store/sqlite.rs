//! Identities in one SQLite file: one writer, a few readers, all off the async threads.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use deadpool_sqlite::{
    Config, Hook, HookError, Object, Pool, PoolConfig, PoolError, Runtime, Timeouts,
};
use rusqlite::{Connection, ErrorCode, OptionalExtension, Row, Transaction, TransactionBehavior};

use super::seal::{SealError, Sealer};
use crate::auth::{
    Change, ChangeError, Identity, IdentityId, NewIdentity, Parameters, Principal, PrincipalRef,
    State, StoreError, Totp, UnixTime,
};

/// How many entries of the change log are kept: more than a process can fall behind by while it
/// still answers; one that did drops its whole cache.
const CHANGES_KEPT: i64 = 100_000;

const COLUMNS: &str = "id, name, realm, seed, algorithm, digits, period, state, created, updated";

/// The position in the change log that a reading reflects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Seq(pub(super) i64);

/// A reading, and how current it is.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) identity: Option<Arc<Identity>>,
    pub(super) as_of: Seq,
}

/// What happened since a position in the change log.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Changes {
    /// Nothing.
    None,
    /// These principals changed, up to this position.
    Some(Vec<Principal>, Seq),
    /// More than the log remembers, up to this position.
    Unknown(Seq),
}

/// The database, open and migrated.
pub(super) struct Sqlite {
    readers: Pool,
    writer: Pool,
    sealer: Arc<Sealer>,
    tails: Pool,
    timeout: Duration,
}

impl Sqlite {
    /// Wraps a file that [`super::open`] has prepared.
    pub(super) fn new(
        path: &Path,
        readers: usize,
        timeout: Duration,
        sealer: Sealer,
    ) -> Result<Self, StoreError> {
        Ok(Self {
            readers: pool(path, readers, timeout, Access::Read)?,
            writer: pool(path, 1, timeout, Access::Write)?,
            tails: pool(path, 1, timeout, Access::Read)?,
            sealer: Arc::new(sealer),
            timeout,
        })
    }

    pub(super) async fn load(&self, who: &Principal) -> Result<Loaded, StoreError> {
        let sealer = Arc::clone(&self.sealer);
        let who = who.clone();
        self.read(move |connection| {
            // One transaction: the row and the position are of the same moment.
            let snapshot = connection.transaction()?;
            let identity = find(&snapshot, &sealer, who.as_ref())?.map(Arc::new);
            let as_of = last_seq(&snapshot)?;
            Ok(Loaded { identity, as_of })
        })
        .await
    }

    pub(super) async fn load_by_id(
        &self,
        id: IdentityId,
    ) -> Result<Option<Arc<Identity>>, StoreError> {
        let sealer = Arc::clone(&self.sealer);
        self.read(move |connection| Ok(find_by_id(connection, &sealer, id)?.map(Arc::new)))
            .await
    }

    pub(super) async fn page(
        &self,
        after: IdentityId,
        limit: u32,
    ) -> Result<Vec<Arc<Identity>>, StoreError> {
        let sealer = Arc::clone(&self.sealer);
        self.read(move |connection| {
            let sql = format!("SELECT {COLUMNS} FROM identity WHERE id > ?1 ORDER BY id LIMIT ?2");
            connection
                .prepare_cached(&sql)?
                .query_map((after.0, limit), |row| identity(row, &sealer))?
                .map(|identity| identity.map(Arc::new))
                .collect()
        })
        .await
    }

    pub(super) async fn insert(
        &self,
        new: NewIdentity,
        now: UnixTime,
    ) -> Result<Arc<Identity>, ChangeError> {
        let sealer = Arc::clone(&self.sealer);
        let sealed = sealer
            .seal(&new.seed, new.principal.as_ref())
            .map_err(sealing)?;
        self.write(move |transaction| {
            let at = sql_time(now);
            transaction
                .prepare_cached(
                    "INSERT INTO identity
                        (name, realm, seed, algorithm, digits, period, state, created, updated)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, 'enabled', ?7, ?7)",
                )?
                .execute((
                    new.principal.name(),
                    new.principal.realm(),
                    &sealed,
                    new.parameters.algorithm().as_str(),
                    new.parameters.digits(),
                    new.parameters.period(),
                    at,
                ))?;
            let id = IdentityId(transaction.last_insert_rowid());
            find_by_id(transaction, &sealer, id)?
                .map(Arc::new)
                .ok_or(rusqlite::Error::QueryReturnedNoRows)
        })
        .await
    }

    /// Changes a row; returns what it was and what it is.
    pub(super) async fn update(
        &self,
        id: IdentityId,
        change: Change,
        now: UnixTime,
    ) -> Result<Option<(Arc<Identity>, Arc<Identity>)>, ChangeError> {
        let sealer = Arc::clone(&self.sealer);
        self.write(move |transaction| {
            let Some(old) = find_by_id(transaction, &sealer, id)? else {
                return Ok(None);
            };
            let principal = change.principal.as_ref().unwrap_or(&old.principal);
            // The seal names the principal: another name needs another seal.
            let seed = match (&change.seed, &old.totp) {
                (Some(seed), _) => Some(seed.clone()),
                (None, Some(totp)) if *principal != old.principal => Some(totp.seed()),
                _ => None,
            };
            let sealed = match seed {
                Some(seed) => Some(sealer.seal(&seed, principal.as_ref()).map_err(conversion)?),
                None => None,
            };
            transaction
                .prepare_cached(
                    "UPDATE identity SET name = ?2, realm = ?3, seed = coalesce(?4, seed),
                        state = ?5, updated = ?6 WHERE id = ?1",
                )?
                .execute((
                    id.0,
                    principal.name(),
                    principal.realm(),
                    sealed,
                    state_text(change.state.unwrap_or(old.state)),
                    sql_time(now),
                ))?;
            let new = find_by_id(transaction, &sealer, id)?
                .ok_or(rusqlite::Error::QueryReturnedNoRows)?;
            Ok(Some((Arc::new(old), Arc::new(new))))
        })
        .await
    }

    /// Removes a row; returns what it was.
    pub(super) async fn delete(&self, id: IdentityId) -> Result<Option<Principal>, StoreError> {
        let deleted = self
            .write(move |transaction| {
                transaction
                    .prepare_cached("DELETE FROM identity WHERE id = ?1 RETURNING name, realm")?
                    .query_row((id.0,), |row| {
                        principal(&row.get::<_, String>(0)?, &row.get::<_, String>(1)?)
                    })
                    .optional()
            })
            .await;
        match deleted {
            Ok(principal) => Ok(principal),
            Err(ChangeError::Store(error)) => Err(error),
            Err(ChangeError::Taken) => Err(StoreError::Database("a row could not go".into())),
        }
    }

    /// Returns the last position of the change log.
    pub(super) async fn last_seq(&self) -> Result<Seq, StoreError> {
        self.read(|connection| last_seq(connection)).await
    }

    /// Takes the one connection that tails the change log.
    pub(super) async fn tail(&self) -> Result<Tail, StoreError> {
        let connection = self.tails.get().await.map_err(pool_error)?;
        Ok(Tail {
            connection,
            data_version: None,
            timeout: self.timeout,
        })
    }

    async fn read<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        let connection = self.readers.get().await.map_err(pool_error)?;
        interact(&connection, self.timeout, work).await
    }

    /// Runs one transaction; the write is on disk when this resolves.
    async fn write<T, F>(&self, work: F) -> Result<T, ChangeError>
    where
        T: Send + 'static,
        F: FnOnce(&Transaction<'_>) -> rusqlite::Result<T> + Send + 'static,
    {
        let connection = self.writer.get().await.map_err(pool_error)?;
        interact(&connection, self.timeout, move |connection| {
            // IMMEDIATE: a reader that becomes a writer half-way could not wait for another one.
            let transaction =
                connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let outcome = match work(&transaction) {
                Err(error) if is_taken(&error) => return Ok(Err(ChangeError::Taken)),
                other => other?,
            };
            transaction.execute(
                "DELETE FROM change WHERE seq <= (SELECT max(seq) FROM change) - ?1",
                (CHANGES_KEPT,),
            )?;
            transaction.commit()?;
            Ok(Ok(outcome))
        })
        .await?
    }
}

/// A connection of its own that notices what other connections, of any process, have committed.
pub(super) struct Tail {
    connection: Object,
    data_version: Option<i64>,
    timeout: Duration,
}

impl Tail {
    /// Says what happened since `seen`. While nothing was committed this reads one number.
    pub(super) async fn changes(&mut self, seen: Seq) -> Result<Changes, StoreError> {
        let known = self.data_version;
        let (version, changes) = interact(&self.connection, self.timeout, move |connection| {
            // Read before the log: what is committed in between shows at the next call.
            let version = connection.pragma_query_value(None, "data_version", |row| row.get(0))?;
            if Some(version) == known {
                return Ok((version, Changes::None));
            }
            let snapshot = connection.transaction()?;
            Ok((version, changes_since(&snapshot, seen)?))
        })
        .await?;
        self.data_version = Some(version);
        Ok(changes)
    }
}

fn changes_since(snapshot: &Connection, seen: Seq) -> rusqlite::Result<Changes> {
    let last = last_seq(snapshot)?;
    if last == seen {
        return Ok(Changes::None);
    }
    let first: Option<i64> =
        snapshot.query_row("SELECT min(seq) FROM change", (), |row| row.get(0))?;
    // Behind the log's start, or ahead of its end, as after a restored backup.
    if last < seen || first.is_none_or(|first| first > seen.0 + 1) {
        return Ok(Changes::Unknown(last));
    }
    let changed = snapshot
        .prepare_cached("SELECT name, realm FROM change WHERE seq > ?1 ORDER BY seq")?
        .query_map((seen.0,), |row| {
            principal(&row.get::<_, String>(0)?, &row.get::<_, String>(1)?)
        })?
        .collect::<Result<_, _>>()?;
    Ok(Changes::Some(changed, last))
}

fn last_seq(connection: &Connection) -> rusqlite::Result<Seq> {
    connection
        .prepare_cached("SELECT seq FROM sqlite_sequence WHERE name = 'change'")?
        .query_row((), |row| row.get(0))
        .optional()
        .map(|seq| Seq(seq.unwrap_or(0)))
}

fn find(
    connection: &Connection,
    sealer: &Sealer,
    who: PrincipalRef<'_>,
) -> rusqlite::Result<Option<Identity>> {
    let sql = format!("SELECT {COLUMNS} FROM identity WHERE realm = ?1 AND name = ?2");
    connection
        .prepare_cached(&sql)?
        .query_row((who.realm(), who.name()), |row| identity(row, sealer))
        .optional()
}

fn find_by_id(
    connection: &Connection,
    sealer: &Sealer,
    id: IdentityId,
) -> rusqlite::Result<Option<Identity>> {
    let sql = format!("SELECT {COLUMNS} FROM identity WHERE id = ?1");
    connection
        .prepare_cached(&sql)?
        .query_row((id.0,), |row| identity(row, sealer))
        .optional()
}

/// Reads a row in the order of [`COLUMNS`].
///
/// A seed that does not open is logged and left out: its identity exists, and no token proves it.
fn identity(row: &Row<'_>, sealer: &Sealer) -> rusqlite::Result<Identity> {
    let principal = principal(&row.get::<_, String>(1)?, &row.get::<_, String>(2)?)?;
    let parameters = Parameters::new(
        row.get::<_, String>(4)?.parse().map_err(conversion)?,
        row.get(5)?,
        row.get(6)?,
    )
    .map_err(conversion)?;
    let totp = match sealer.open(row.get_ref(3)?.as_blob()?, principal.as_ref()) {
        Ok(seed) => Some(Totp::new(&seed, parameters)),
        Err(error) => {
            tracing::error!(?principal, %error, "a stored seed does not open");
            None
        }
    };
    Ok(Identity {
        id: IdentityId(row.get(0)?),
        principal,
        totp,
        parameters,
        state: match row.get_ref(7)?.as_str()? {
            "enabled" => State::Enabled,
            _ => State::Disabled,
        },
        created: unix_time(row.get(8)?),
        updated: unix_time(row.get(9)?),
    })
}

/// Makes a principal of what stands in the database: its length was checked on the way in, against a
/// limit that may have changed since.
fn principal(name: &str, realm: &str) -> rusqlite::Result<Principal> {
    Principal::new(name, realm, usize::MAX).map_err(conversion)
}

const fn state_text(state: State) -> &'static str {
    match state {
        State::Enabled => "enabled",
        State::Disabled => "disabled",
    }
}

fn sql_time(time: UnixTime) -> i64 {
    i64::try_from(time.as_secs()).unwrap_or(i64::MAX)
}

fn unix_time(secs: i64) -> UnixTime {
    UnixTime::from_secs(u64::try_from(secs).unwrap_or(0))
}

fn conversion(error: impl std::error::Error + Send + Sync + 'static) -> rusqlite::Error {
    rusqlite::Error::ToSqlConversionFailure(Box::new(error))
}

fn sealing(error: SealError) -> StoreError {
    StoreError::Seal(error.to_string().into())
}

fn is_taken(error: &rusqlite::Error) -> bool {
    error.sqlite_error().is_some_and(|error| {
        error.extended_code == rusqlite::ffi::SQLITE_CONSTRAINT_UNIQUE
            && error.code == ErrorCode::ConstraintViolation
    })
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Access {
    Read,
    Write,
}

fn pool(path: &Path, size: usize, timeout: Duration, access: Access) -> Result<Pool, StoreError> {
    let mut config = Config::new(path);
    config.pool = Some(PoolConfig {
        max_size: size,
        timeouts: Timeouts {
            wait: Some(timeout),
            create: Some(timeout),
            recycle: Some(timeout),
        },
        ..PoolConfig::default()
    });
    let set_up = Hook::async_fn(move |connection, _| {
        Box::pin(async move {
            connection
                .interact(move |connection| set_up(connection, timeout, access))
                .await
                .map_err(|error| HookError::message(error.to_string()))?
                .map_err(HookError::Backend)
        })
    });
    config
        .builder(Runtime::Tokio1)
        .map_err(|error| database(&error))?
        .post_create(set_up)
        .build()
        .map_err(|error| database(&error))
}

fn set_up(connection: &Connection, timeout: Duration, access: Access) -> rusqlite::Result<()> {
    configure(connection, timeout)?;
    if access == Access::Read {
        connection.pragma_update(None, "query_only", true)?;
    }
    Ok(())
}

/// Sets what holds for every connection.
pub(super) fn configure(connection: &Connection, timeout: Duration) -> rusqlite::Result<()> {
    connection.busy_timeout(timeout)?;
    connection.set_prepared_statement_cache_capacity(32);
    // FULL syncs the log at each commit: what was answered with a 2xx survives a power cut.
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "trusted_schema", false)?;
    connection.pragma_update(None, "cell_size_check", true)
}

async fn interact<T, F>(connection: &Object, timeout: Duration, work: F) -> Result<T, StoreError>
where
    T: Send + 'static,
    F: FnOnce(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
{
    // Twice: SQLite's own wait for a lock ends first, and says what it waited for.
    match tokio::time::timeout(timeout * 2, connection.interact(work)).await {
        Err(_) => Err(StoreError::Timeout),
        Ok(Err(_)) => Err(StoreError::Closed),
        Ok(Ok(outcome)) => outcome.map_err(|error| database(&error)),
    }
}

fn pool_error(error: PoolError) -> StoreError {
    match error {
        PoolError::Timeout(_) => StoreError::Timeout,
        PoolError::Closed => StoreError::Closed,
        other => database(&other),
    }
}

fn database(error: &dyn std::error::Error) -> StoreError {
    StoreError::Database(error.to_string().into())
}
