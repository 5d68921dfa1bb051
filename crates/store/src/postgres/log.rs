//! The change log.

use tokio_postgres::types::Type;

use super::fault::Fault;
use super::transaction::Writing;

/// The number of entries of the change log that are kept: more than a process falls behind while it
/// still responds. One that does drops its whole cache.
pub(super) const CHANGES_KEPT: i64 = 100_000;

/// The last position of the change log.
pub(super) const LAST: &str = "(SELECT coalesce(max(seq), 0) FROM @.change)";

/// Deletes the entries older than [`CHANGES_KEPT`].
pub(super) async fn trim(writing: &Writing) -> Result<(), Fault> {
    let sql = "DELETE FROM @.change WHERE seq <= (SELECT max(seq) FROM @.change) - $1";
    writing.execute(sql, &[(&CHANGES_KEPT, Type::INT8)]).await?;
    Ok(())
}
