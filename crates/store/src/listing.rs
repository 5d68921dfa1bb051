//! The statements that read a page of a sorted list, for both kinds of databases.
//!
//! Each reads a bounded number of rows, whatever the filters and the order. If a filter has an index
//! and matches few rows, these are read and sorted. Otherwise the rows are read in their order, and
//! those that do not match are left out. Then a page may end early.

mod builder;
mod source;

use std::sync::Arc;

use realmgate_core::{
    Condition, Identity, Listing, Order, Page, Position, SortValue, State, UnixTime,
};

use builder::{Builder, keys, state};
pub(super) use builder::{Dialect, Statement};
use source::Source;
pub(super) use source::{Driver, drivers};

/// The maximum number of rows that are read and sorted.
pub(super) const SORTED: u32 = 5_000;

/// The maximum number of rows that are read in their order. With more matches than [`SORTED`] among
/// a million identities, that many rows have 50 of them.
pub(super) const WALKED: u32 = 10_000;

/// The maximum number of rows that are read to count those that meet a condition.
pub(super) const COUNTED: u32 = 10_000;

/// Counts the rows that a filter matches, up to one more than are sorted.
pub(super) fn size(dialect: Dialect, driver: Driver, listing: &Listing) -> Statement {
    let mut builder = Builder::new(dialect);
    let inner = driver.sql(&mut builder, listing, SORTED + 1);
    Statement {
        sql: format!("SELECT count(*) FROM ({inner}) s"),
        values: builder.values,
    }
}

/// Reads the rows that a filter matches, and sorts those that also match the others. The keys of the
/// order come after the columns.
pub(super) fn sorted(
    (dialect, columns): (Dialect, &str),
    driver: Driver,
    listing: &Listing,
    limit: u32,
) -> Statement {
    let mut builder = Builder::new(dialect);
    let inner = driver.sql(&mut builder, listing, SORTED);
    let mut filters = builder.filters(&others(driver, listing));
    filters.extend(builder.after(listing));
    let order = Builder::order(
        listing,
        keys(dialect, listing.order).iter().map(|&it| it.to_owned()),
    );
    let sql = match dialect {
        Dialect::Sqlite => {
            let rows = builder.rows(columns, listing.order, &inner);
            let filters: String = filters.iter().map(|it| format!(" AND {it}")).collect();
            format!("{rows}{filters} ORDER BY {order} LIMIT {limit}")
        }
        Dialect::Postgres => {
            let first = Builder::sorted(&inner, &filters, &order, limit);
            let rows = builder.rows(columns, listing.order, &first);
            format!("{rows} ORDER BY {order}")
        }
    };
    Statement {
        sql,
        values: builder.values,
    }
}

/// Returns the filters that are left once one of them has been applied.
fn others(driver: Driver, listing: &Listing) -> Listing {
    let mut rest = listing.clone();
    let selection = &mut rest.selection;
    match driver {
        Driver::Realm => selection.realm = None,
        Driver::Name => selection.name = None,
        Driver::Disabled => selection.state = None,
        // A disabled identity meets no condition.
        Driver::Condition if selection.state == Some(State::Disabled) => {}
        Driver::Condition => {
            selection.state = Some(State::Enabled);
            rest.condition = None;
        }
    }
    rest
}

/// Returns the statement that reads IDs and keys in their order.
fn walk(builder: &mut Builder, listing: &Listing) -> String {
    let selection = &listing.selection;
    let keys = keys(builder.dialect, listing.order);
    let is_disabled = selection.state == Some(State::Disabled);
    let source = match listing.order {
        Order::LastUsed => Source::uses("identity_by_use"),
        Order::Expires => Source::identities("identity_by_end"),
        Order::Name => Source::identities("identity_by_name"),
        Order::Id if selection.realm.is_some() => Source::identities("identity_by_realm"),
        Order::Id if is_disabled => Source::identities("identity_disabled"),
        Order::Id | Order::Realm => Source::identities(""),
    };
    // The filters for which the index of the order has the rows side by side.
    let mut filters = Vec::new();
    match (listing.order, &selection.realm, &selection.name) {
        (Order::Id, Some(realm), _) => filters.push(builder.realm(realm)),
        (Order::Id, None, _) if is_disabled => {
            filters.push(state(State::Disabled).to_owned());
        }
        (Order::Name, _, Some(name)) => filters.push(builder.name(name)),
        (Order::Realm, Some(realm), name) => {
            filters.push(builder.realm(realm));
            filters.extend(name.as_ref().map(|name| builder.name(name)));
        }
        _ => {}
    }
    match (listing.order, listing.condition) {
        (Order::LastUsed, Some(condition @ Condition::Unused))
        | (Order::Expires, Some(condition @ Condition::Expiring)) => {
            filters.push(builder.condition(condition, listing.now));
        }
        _ => {}
    }
    let named = keys
        .iter()
        .zip(1..)
        .map(|(key, at)| format!("{key} AS k{at}"));
    let named: Vec<_> = named.collect();
    let order = Builder::order(listing, keys.iter().map(|&it| it.to_owned()));
    let select = format!(
        "SELECT {} AS id, {} FROM {}",
        source.id,
        named.join(", "),
        source.text(builder.dialect)
    );
    let part = |after: Option<String>| {
        let all: Vec<_> = filters.iter().cloned().chain(after).collect();
        let all = match all.is_empty() {
            true => "true".to_owned(),
            false => all.join(" AND "),
        };
        format!("{select} WHERE {all} ORDER BY {order}")
    };
    match builder.after_generated(listing) {
        None => part(builder.after(listing)),
        Some(parts) => {
            let parts =
                parts.map(|after| format!("SELECT * FROM ({} LIMIT {WALKED})", part(Some(after))));
            parts.join(" UNION ALL ")
        }
    }
}

/// Reads rows in their order, and leaves out those that do not match. The keys of the order come
/// after the columns.
pub(super) fn walked(
    (dialect, columns): (Dialect, &str),
    listing: &Listing,
    limit: u32,
) -> Statement {
    let mut builder = Builder::new(dialect);
    let inner = walk(&mut builder, listing);
    let inner = format!("{inner} LIMIT {WALKED}");
    let rows = builder.rows(columns, listing.order, &inner);
    let filters = builder.filters(listing);
    let filters: String = filters.iter().map(|it| format!(" AND {it}")).collect();
    let order = match dialect {
        Dialect::Sqlite => String::new(),
        Dialect::Postgres => {
            let keys = (1..=keys(dialect, listing.order).len()).map(|at| format!("s.k{at}"));
            format!(" ORDER BY {}", Builder::order(listing, keys))
        }
    };
    Statement {
        sql: format!("{rows}{filters}{order} LIMIT {limit}"),
        values: builder.values,
    }
}

/// Reads the keys of the last row that [`walked`] has read, if it has read as many as it may.
pub(super) fn end(dialect: Dialect, listing: &Listing) -> Statement {
    let mut builder = Builder::new(dialect);
    let inner = walk(&mut builder, listing);
    let keys = (1..=keys(dialect, listing.order).len()).map(|at| format!("k{at}"));
    let keys: Vec<_> = keys.collect();
    Statement {
        sql: format!(
            "SELECT {} FROM ({inner} LIMIT 1 OFFSET {}) s",
            keys.join(", "),
            WALKED - 1
        ),
        values: builder.values,
    }
}

/// Counts the identities that meet a condition, and the rows that were read for this.
pub(super) fn tally(dialect: Dialect, condition: Condition, now: UnixTime) -> Statement {
    let mut builder = Builder::new(dialect);
    let filter = builder.condition(condition, now);
    let inner = Source::of(condition).select(dialect, &filter, COUNTED + 1);
    let enabled = state(State::Enabled);
    let sql = match dialect {
        Dialect::Sqlite => format!(
            "SELECT count(*) FILTER (WHERE {enabled}), count(*) FROM ({inner}) s
                CROSS JOIN identity i WHERE i.id = s.id"
        ),
        Dialect::Postgres => format!(
            "SELECT count(*) FILTER (WHERE {enabled}), count(*) FROM ({inner}) s
                JOIN LATERAL (SELECT state FROM @.identity WHERE id = s.id OFFSET 0) i ON true"
        ),
    };
    Statement {
        sql,
        values: builder.values,
    }
}

/// Makes a position of the values of a row.
pub(super) fn position(listing: &Listing, values: Vec<SortValue>) -> Option<Position> {
    Position::new(listing.order, values)
}

/// Makes a page of rows, of which there is one more than the page has if there is a next page. If
/// there are fewer, `end` returns where the search has ended.
pub(super) fn page<E>(
    mut rows: Vec<(Arc<Identity>, Position)>,
    limit: u32,
    end: impl FnOnce() -> Result<Option<Position>, E>,
) -> Result<Page, E> {
    let limit = limit as usize;
    let next = if rows.len() > limit {
        rows.truncate(limit);
        rows.last().map(|(_, place)| place.clone())
    } else {
        end()?
    };
    Ok(Page {
        identities: rows.into_iter().map(|(identity, _)| identity).collect(),
        next,
    })
}
