//! Used steps that cannot be read.

use tokio_postgres::types::{ToSql, Type};

use super::fault::Fault;
use super::query::Postgres;
use super::transaction::Writing;
use crate::spent::{NAMED, READ, mended, used_steps};
use realmgate_core::{Identity, IdentityId, StoreError, UnixTime};

/// Replaces the used steps of an identity if they cannot be read.
pub(super) async fn mend(
    writing: &Writing,
    identity: &Identity,
    now: UnixTime,
) -> Result<(), Fault> {
    let id = identity.id.0;
    let sql = "SELECT steps FROM @.spent WHERE identity = $1 FOR UPDATE";
    let Some(row) = writing.first(sql, &[(&id, Type::INT8)]).await? else {
        return Ok(());
    };
    if let Some(steps) = mended(row.try_get(0)?, identity.parameters, now) {
        let sql = "UPDATE @.spent SET steps = $2 WHERE identity = $1";
        let parameters: [(&(dyn ToSql + Sync), Type); 2] =
            [(&id, Type::INT8), (&steps, Type::BYTEA)];
        writing.execute(sql, &parameters).await?;
    }
    Ok(())
}

impl Postgres {
    /// Finds the identities whose used steps cannot be read.
    pub(super) async fn find_bad_steps(&self) -> Result<Vec<IdentityId>, StoreError> {
        let (mut bad, mut after) = (Vec::new(), i64::MIN);
        loop {
            let sql = "SELECT identity, steps FROM @.spent WHERE identity > $1
                ORDER BY identity LIMIT $2";
            let limit = i64::from(READ);
            let parameters: [(&(dyn ToSql + Sync), Type); 2] =
                [(&after, Type::INT8), (&limit, Type::INT8)];
            let rows = self.read(sql, &parameters).await?;
            for row in &rows {
                after = row.try_get(0).map_err(Fault::from)?;
                let (id, steps) = (IdentityId(after), row.try_get(1).map_err(Fault::from)?);
                if used_steps(id, steps).is_err() {
                    bad.push(id);
                }
            }
            if rows.len() < READ as usize || bad.len() >= NAMED {
                bad.truncate(NAMED);
                return Ok(bad);
            }
        }
    }
}
