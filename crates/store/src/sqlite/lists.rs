//! Sorted lists of identities, and counts.

use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, Row, ToSql, params_from_iter};
use thiserror::Error;

use super::rows::{conversion, entry};
use crate::key_ring::KeyRing;
use crate::listing::{
    Dialect, Statement, drivers, end, most_counted, most_sorted, page, position, size, sorted,
    tally, walked,
};
use crate::record::COLUMNS;
use realmgate_core::{Condition, Listing, Page, Position, SortValue, Tally, UnixTime};

/// A list cannot continue behind a row with this problem.
#[derive(Debug, Error)]
#[error(
    "row {0} of the table identity has a name or a realm that is not UTF-8: correct or delete it"
)]
struct NotUtf8(i64);

/// A value of a statement.
struct Bound(SortValue);

impl ToSql for Bound {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match &self.0 {
            SortValue::Number(number) => ValueRef::Integer(*number),
            SortValue::Text(text) => ValueRef::Text(text.as_bytes()),
        }))
    }
}

fn each<T>(
    connection: &Connection,
    statement: Statement,
    read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
) -> rusqlite::Result<Vec<T>> {
    let Statement { sql, values } = statement;
    let sql = sql.replace("@.", "");
    let values = params_from_iter(values.into_iter().map(Bound));
    connection
        .prepare_cached(&sql)?
        .query_map(values, read)?
        .collect()
}

/// Reads the values of an order that begin at a column.
fn place(row: &Row<'_>, from: usize, listing: &Listing) -> rusqlite::Result<Position> {
    let count = row.as_ref().column_count();
    let value = |at| match row.get_ref(at)? {
        ValueRef::Text(text) => match std::str::from_utf8(text) {
            Ok(text) => Ok(SortValue::Text(text.into())),
            Err(_) => Err(conversion(NotUtf8(row.get(0)?))),
        },
        _ => row.get(at).map(SortValue::Number),
    };
    let values: rusqlite::Result<Vec<_>> = (from..count).map(value).collect();
    position(listing, values?).ok_or(rusqlite::Error::InvalidQuery)
}

/// Reads a page of a list.
pub(super) fn list(
    connection: &mut Connection,
    ring: &KeyRing,
    listing: &Listing,
) -> rusqlite::Result<Page> {
    let snapshot = connection.transaction()?;
    let (limit, columns) = (listing.limit, COLUMNS.split(',').count());
    let read = |row: &Row<'_>| {
        let place = place(row, columns, listing)?;
        Ok((entry(row, ring)?, place))
    };
    let reads = (Dialect::Sqlite, COLUMNS);
    for driver in drivers(listing) {
        let count = |row: &Row<'_>| row.get::<_, i64>(0);
        let size = each(&snapshot, size(Dialect::Sqlite, driver, listing), count)?;
        if size
            .iter()
            .all(|size| *size <= i64::from(most_sorted(Dialect::Sqlite, listing)))
        {
            let statement = sorted(reads, driver, listing, limit.saturating_add(1));
            let rows = each(&snapshot, statement, read)?;
            return page(rows, limit, || Ok(None));
        }
    }
    let statement = walked(reads, listing, limit.saturating_add(1));
    let rows = each(&snapshot, statement, read)?;
    page(rows, limit, || {
        let end = end(Dialect::Sqlite, listing);
        let mut last = each(&snapshot, end, |row| place(row, 0, listing))?;
        Ok(last.pop())
    })
}

/// Counts the identities that meet a condition.
pub(super) fn count(
    connection: &Connection,
    condition: Condition,
    now: UnixTime,
) -> rusqlite::Result<Tally> {
    let statement = tally(Dialect::Sqlite, condition, now);
    let read = |row: &Row<'_>| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?));
    let counted = each(connection, statement, read)?.pop().unwrap_or_default();
    Ok(Tally {
        count: counted.0.unsigned_abs(),
        is_at_least: counted.1 > i64::from(most_counted(Dialect::Sqlite, condition)),
    })
}
