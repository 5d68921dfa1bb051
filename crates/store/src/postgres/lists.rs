//! Sorted lists of identities, and counts.

use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Column, Row};

use super::fault::Fault;
use super::query::Postgres;
use super::rows::entry;
use crate::listing::{
    Dialect, Statement, drivers, end, most_counted, most_sorted, page, position, size, sorted,
    tally, walked,
};
use crate::record::{COLUMNS, RecordError};
use realmgate_core::{Condition, Listing, Page, Position, SortValue, StoreError, Tally, UnixTime};

/// Reads the values of an order that begin at a column.
fn place(row: &Row, from: usize, listing: &Listing) -> Result<Position, Fault> {
    let value = |at| {
        let column: &Column = row.columns().get(at).ok_or(Fault::Closed)?;
        Ok::<_, Fault>(match *column.type_() {
            Type::TEXT => SortValue::Text(row.try_get::<_, &str>(at)?.into()),
            _ => SortValue::Number(row.try_get(at)?),
        })
    };
    let values: Result<Vec<_>, _> = (from..row.len()).map(value).collect();
    position(listing, values?).ok_or_else(|| RecordError::Number.into())
}

impl Postgres {
    async fn rows(&self, statement: Statement) -> Result<Vec<Row>, StoreError> {
        let values = statement.values.iter().map(|value| match value {
            SortValue::Number(number) => (number as &(dyn ToSql + Sync), Type::INT8),
            SortValue::Text(text) => (text as &(dyn ToSql + Sync), Type::TEXT),
        });
        let values: Vec<_> = values.collect();
        self.read(&statement.sql, &values).await
    }

    /// Reads a page of a list.
    pub(super) async fn sorted_list(&self, listing: &Listing) -> Result<Page, StoreError> {
        let (limit, columns) = (listing.limit, COLUMNS.split(',').count());
        let reads = (Dialect::Postgres, COLUMNS);
        let read = |row: &Row| {
            let place = place(row, columns, listing)?;
            Ok::<_, Fault>((entry(row, &self.ring)?, place))
        };
        for driver in drivers(listing) {
            let rows = self.rows(size(Dialect::Postgres, driver, listing)).await?;
            let size: i64 = match rows.first() {
                Some(row) => row.try_get(0).map_err(Fault::from)?,
                None => 0,
            };
            if size == 0 {
                return Ok(Page::default());
            }
            if size <= i64::from(most_sorted(Dialect::Postgres, listing)) {
                let statement = sorted(reads, driver, listing, limit.saturating_add(1));
                let rows = self.rows(statement).await?;
                let rows: Result<Vec<_>, _> = rows.iter().map(read).collect();
                return page(rows?, limit, || Ok(None));
            }
        }
        let rows = self
            .rows(walked(reads, listing, limit.saturating_add(1)))
            .await?;
        let rows: Result<Vec<_>, _> = rows.iter().map(read).collect();
        let rows = rows?;
        let last = match rows.len() > limit as usize {
            true => None,
            false => {
                let rows = self.rows(end(Dialect::Postgres, listing)).await?;
                let last = rows.first().map(|row| place(row, 0, listing));
                last.transpose()?
            }
        };
        page(rows, limit, || Ok(last))
    }

    /// Counts the identities that meet a condition.
    pub(super) async fn tally(
        &self,
        condition: Condition,
        now: UnixTime,
    ) -> Result<Tally, StoreError> {
        let rows = self.rows(tally(Dialect::Postgres, condition, now)).await?;
        let row = rows.first().ok_or(StoreError::Closed)?;
        let number = |at| row.try_get::<_, i64>(at).map_err(Fault::from);
        Ok(Tally {
            count: number(0)?.unsigned_abs(),
            is_at_least: number(1)? > i64::from(most_counted(Dialect::Postgres, condition)),
        })
    }
}
