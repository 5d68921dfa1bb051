//! Key management for a PostgreSQL database.

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio_postgres::Row;
use tokio_postgres::types::{ToSql, Type};

use super::fault::Fault;
use super::log::trim;
use super::open::open;
use super::query::Postgres;
use super::rows::key_id;
use super::server::Server;
use super::transaction::{Lock, Writing};
use crate::intent::Intent;
use crate::key_ring::{KeyRing, KeySource};
use crate::key_tables::{
    Batch, KeyRole, KeyTables, Named, Renewed, Sealed, SealedRow, SealingError,
};
use crate::open_error::OpenError;
use crate::seal::KeyId;
use realmgate_core::StoreError;

/// The number of rows per transaction and per read.
const BATCH: i64 = 64;
const PAGE: i64 = 1000;

/// The rows with seeds encrypted with another key than the first parameter.
const PENDING: &str = "(substr(seed, 2, 8) <> $1 OR substr(previous_seed, 2, 8) <> $1)";

/// A database on a server, with an event loop of its own.
pub(crate) struct PostgresKeys {
    runtime: Runtime,
    database: Postgres,
}

impl PostgresKeys {
    /// Opens an existing database.
    pub(crate) fn open(
        server: Server,
        key: KeySource,
        timeout: Duration,
        intent: Intent,
    ) -> Result<(Self, Arc<KeyRing>), OpenError> {
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|_| OpenError::Store(StoreError::Closed))?;
        let database = runtime.block_on(open(server, key, timeout, intent))?;
        let ring = Arc::clone(&database.ring);
        Ok((Self { runtime, database }, ring))
    }

    fn run<T>(
        &self,
        work: impl AsyncFnOnce(&Postgres) -> Result<T, Fault>,
    ) -> Result<T, SealingError> {
        let outcome = self.runtime.block_on(work(&self.database));
        outcome.map_err(|fault| StoreError::from(fault).into())
    }

    /// Runs one transaction, during which no other process changes identities or keys.
    fn write<T>(
        &self,
        work: impl AsyncFnOnce(&Writing) -> Result<T, Failure>,
    ) -> Result<T, SealingError> {
        let outcome = self.runtime.block_on(async {
            let writing = self.database.begin(Lock::Identities).await?;
            let outcome = work(&writing).await?;
            writing.commit().await?;
            Ok(outcome)
        });
        outcome.map_err(|failure| match failure {
            Failure::Fault(fault) => StoreError::from(fault).into(),
            Failure::Sealing(error) => error,
        })
    }
}

/// Why a transaction failed.
enum Failure {
    Fault(Fault),
    Sealing(SealingError),
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl From<SealingError> for Failure {
    fn from(error: SealingError) -> Self {
        Self::Sealing(error)
    }
}

impl KeyTables for PostgresKeys {
    fn named(&mut self) -> Result<Named, SealingError> {
        self.run(async |database| {
            let rows = database.read(NAMED, &[]).await;
            named(&rows.map_err(|error| Fault::text(error.to_string()))?)
        })
    }

    fn seeds(&mut self) -> Result<Sealed, SealingError> {
        let sql = "SELECT seeds, key FROM @.seed_count WHERE length(key) = 8";
        self.write(async |writing| Ok(seeds(&writing.query(sql, &[]).await?)?))
    }

    fn each(&mut self, visit: &mut dyn FnMut(&SealedRow)) -> Result<(), SealingError> {
        let mut after = i64::MIN;
        loop {
            let rows = self.run(async |database| {
                let sql = "SELECT id, name, realm, seed, previous_seed FROM @.identity
                    WHERE id > $1 ORDER BY id LIMIT $2";
                let parameters: [(&(dyn ToSql + Sync), Type); 2] =
                    [(&after, Type::INT8), (&PAGE, Type::INT8)];
                let rows = database.read(sql, &parameters).await;
                let rows = rows.map_err(|error| Fault::text(error.to_string()))?;
                rows.iter().map(sealed_row).collect::<Result<Vec<_>, _>>()
            })?;
            rows.iter().for_each(&mut *visit);
            match rows.last() {
                Some(last) => after = last.id,
                None => return Ok(()),
            }
        }
    }

    fn announce(&mut self, id: KeyId) -> Result<(), SealingError> {
        self.write(async |writing| {
            let id = id.0.as_slice();
            let only: [(&(dyn ToSql + Sync), Type); 1] = [(&id, Type::BYTEA)];
            let sql = "DELETE FROM @.sealing_key WHERE state = 'announced' AND id <> $1";
            writing.execute(sql, &only).await?;
            let sql = "INSERT INTO @.sealing_key (id, state) VALUES ($1, 'announced')
                ON CONFLICT DO NOTHING";
            writing.execute(sql, &only).await?;
            writing.execute("DELETE FROM @.key_missing", &[]).await?;
            Ok(())
        })
    }

    fn withdraw(&mut self, id: KeyId) -> Result<(), SealingError> {
        self.write(async |writing| {
            let sql = "DELETE FROM @.sealing_key WHERE state = 'announced' AND id = $1";
            writing
                .execute(sql, &[(&id.0.as_slice(), Type::BYTEA)])
                .await?;
            Ok(())
        })
    }

    fn heed(&mut self, id: KeyId) -> Result<(), SealingError> {
        self.write(async |writing| heed(writing, id).await)
    }

    fn switch(&mut self, id: KeyId) -> Result<(), SealingError> {
        self.write(async |writing| {
            heed(writing, id).await?;
            let id = id.0.as_slice();
            let only: [(&(dyn ToSql + Sync), Type); 1] = [(&id, Type::BYTEA)];
            let sql = "UPDATE @.sealing_key SET state = 'retiring'
                WHERE state = 'current' AND id <> $1";
            writing.execute(sql, &only).await?;
            let sql = "UPDATE @.sealing_key SET state = 'current'
                WHERE id = $1 AND state <> 'current'";
            writing.execute(sql, &only).await?;
            Ok(())
        })
    }

    fn pending(&mut self, id: KeyId) -> Result<u64, SealingError> {
        self.run(async |database| {
            let sql = format!("SELECT count(*) FROM @.identity WHERE {PENDING}");
            let rows = database
                .read(&sql, &[(&id.0.as_slice(), Type::BYTEA)])
                .await;
            let rows = rows.map_err(|error| Fault::text(error.to_string()))?;
            let count: i64 = rows.first().ok_or(Fault::Closed)?.try_get(0)?;
            Ok(count.unsigned_abs())
        })
    }

    fn reseal(
        &mut self,
        id: KeyId,
        after: i64,
        renew: &mut dyn FnMut(&SealedRow) -> Result<Option<Renewed>, SealingError>,
    ) -> Result<Batch, SealingError> {
        self.write(async |writing| {
            heed(writing, id).await?;
            let sql = format!(
                "SELECT id, name, realm, seed, previous_seed FROM @.identity
                    WHERE id > $2 AND {PENDING} ORDER BY id LIMIT $3"
            );
            let key = id.0.as_slice();
            let parameters: [(&(dyn ToSql + Sync), Type); 3] = [
                (&key, Type::BYTEA),
                (&after, Type::INT8),
                (&BATCH, Type::INT8),
            ];
            let rows = writing.query(&sql, &parameters).await?;
            let mut batch = Batch::default();
            for row in &rows {
                let row = sealed_row(row)?;
                batch.rows += 1;
                batch.last = Some(row.id);
                let Some(new) = renew(&row)? else { continue };
                batch.resealed += 1;
                let sql = "UPDATE @.identity SET seed = coalesce($2, seed),
                    previous_seed = coalesce($3, previous_seed) WHERE id = $1";
                let parameters: [(&(dyn ToSql + Sync), Type); 3] = [
                    (&row.id, Type::INT8),
                    (&new.seed, Type::BYTEA),
                    (&new.previous, Type::BYTEA),
                ];
                writing.execute(sql, &parameters).await?;
            }
            trim(writing).await?;
            Ok(batch)
        })
    }

    fn settle(&mut self) -> Result<(Vec<KeyId>, Vec<KeyId>), SealingError> {
        self.write(async |writing| {
            let seeds = seeds(&writing.query(SEEDS, &[]).await?)?;
            let named = named(&writing.query(NAMED, &[]).await?)?;
            let retiring = named.into_iter().filter(|it| it.1 == KeyRole::Retiring);
            let retiring = retiring.map(|it| it.0);
            let (kept, retired): (Vec<_>, Vec<_>) = retiring.partition(|id| seeds.contains_key(id));
            for id in &retired {
                let sql = "DELETE FROM @.sealing_key WHERE id = $1";
                writing
                    .execute(sql, &[(&id.0.as_slice(), Type::BYTEA)])
                    .await?;
            }
            writing.execute("DELETE FROM @.key_missing", &[]).await?;
            Ok((retired, kept))
        })
    }

    fn alone(
        &mut self,
        work: &mut dyn FnMut(Named, Sealed) -> Result<(), SealingError>,
    ) -> Result<(), SealingError> {
        // No notification is needed: every process polls the keys.
        self.write(async |writing| {
            let named = named(&writing.query(NAMED, &[]).await?)?;
            let seeds = seeds(&writing.query(SEEDS, &[]).await?)?;
            Ok(work(named, seeds)?)
        })
    }
}

const NAMED: &str = "SELECT id, state FROM @.sealing_key ORDER BY state, id";

// A value too short for a key ID counts as not encrypted.
const SEEDS: &str = "SELECT count(*), key FROM (
        SELECT substr(seed, 2, 8) AS key FROM @.identity
        UNION ALL SELECT substr(previous_seed, 2, 8) FROM @.identity) k
    WHERE length(key) = 8 GROUP BY key";

fn named(rows: &[Row]) -> Result<Named, Fault> {
    let one = |row: &Row| {
        let role = match row.try_get(1)? {
            "announced" => KeyRole::Announced,
            "current" => KeyRole::Current,
            _ => KeyRole::Retiring,
        };
        Ok((key_id(row.try_get(0)?)?, role))
    };
    rows.iter().map(one).collect()
}

fn seeds(rows: &[Row]) -> Result<Sealed, Fault> {
    let one = |row: &Row| {
        let count: i64 = row.try_get(0)?;
        Ok((key_id(row.try_get(1)?)?, count.unsigned_abs()))
    };
    rows.iter().map(one).collect()
}

/// Reads `id, name, realm, seed, previous_seed`.
fn sealed_row(row: &Row) -> Result<SealedRow, Fault> {
    Ok(SealedRow {
        id: row.try_get(0)?,
        name: row.try_get(1)?,
        realm: row.try_get(2)?,
        seed: row.try_get(3)?,
        previous: row.try_get(4)?,
    })
}

/// Fails if a process has objected because it lacks the key.
async fn heed(writing: &Writing, key: KeyId) -> Result<(), Failure> {
    let sql = "SELECT node, process FROM @.key_missing WHERE key = $1";
    let said = writing
        .first(sql, &[(&key.0.as_slice(), Type::BYTEA)])
        .await?;
    let Some(row) = said else { return Ok(()) };
    let read = || Ok::<_, Fault>((row.try_get::<_, &str>(0)?, row.try_get::<_, i64>(1)?));
    let (node, process) = read()?;
    let process = format!("{process} on {node}").into();
    Err(SealingError::Missing { process, key }.into())
}
