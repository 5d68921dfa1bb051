//! The statements that read a page of a sorted list, for both kinds of databases.
//!
//! Each reads a bounded number of rows, whatever the filters and the order. If a filter has an index
//! and matches few rows, these are read and sorted. Otherwise the rows are read in their order, and
//! those that do not match are left out. Then a page may end early.

mod builder;
mod source;

use std::sync::Arc;

use realmgate_core::{
    BadRow, Condition, Identity, Listing, Order, Page, Position, Rows, SortValue, State, UnixTime,
};

use builder::{Builder, keys, state};
pub(super) use builder::{Dialect, Statement};
use source::Source;
pub(super) use source::{Driver, drivers};

/// The maximum numbers of rows that are read for a page.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    /// Those that are read and sorted.
    sorted: u32,
    /// Those that are read in their order.
    walked: u32,
    /// Those that are read to count the rows that meet a condition.
    counted: u32,
}

/// With more matches than are sorted among a million identities, as many as are walked have 50 of
/// them.
const FAR: Bounds = Bounds {
    sorted: 5_000,
    walked: 10_000,
    counted: 10_000,
};

/// PostgreSQL reads the table for each of these rows that it walks. A page may then end early.
const HALF: Bounds = Bounds {
    walked: 5_000,
    ..FAR
};

/// For each of these rows, PostgreSQL also reads one of another table, which takes ten times as long.
const NEAR: Bounds = Bounds {
    sorted: 1_500,
    walked: 3_000,
    counted: 3_000,
};

impl Bounds {
    fn of(dialect: Dialect, listing: &Listing) -> Self {
        // Every condition but this one needs a column that the indexes of the orders do not have.
        let is_near = !matches!(listing.condition, None | Some(Condition::Expiring));
        match (dialect, listing.order) {
            (Dialect::Sqlite, _) => FAR,
            (Dialect::Postgres, Order::LastUsed) => NEAR,
            (Dialect::Postgres, _) if is_near => NEAR,
            (Dialect::Postgres, Order::Realm) => HALF,
            (Dialect::Postgres, Order::Id | Order::Name | Order::Expires) => FAR,
        }
    }
}

/// Returns the maximum number of rows that are read and sorted.
pub(super) fn most_sorted(dialect: Dialect, listing: &Listing) -> u32 {
    Bounds::of(dialect, listing).sorted
}

/// Returns the maximum number of rows that are read to count those that meet a condition.
pub(super) fn most_counted(dialect: Dialect, condition: Condition) -> u32 {
    match (dialect, condition) {
        (Dialect::Postgres, Condition::Unused | Condition::ClockOff) => NEAR.counted,
        _ => FAR.counted,
    }
}

/// Counts the rows that a filter matches, up to one more than are sorted.
pub(super) fn size(dialect: Dialect, driver: Driver, listing: &Listing) -> Statement {
    let mut builder = Builder::new(dialect);
    let (source, filter) = driver.source(&mut builder, listing);
    let most = most_sorted(dialect, listing);
    let inner = source.select(dialect, "", &filter, most.saturating_add(1));
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
    let (source, filter) = driver.source(&mut builder, listing);
    let most = most_sorted(dialect, listing);
    let mut filters = builder.filters(&others(driver, listing));
    filters.extend(builder.after(listing));
    let order = Builder::order(
        listing,
        keys(dialect, listing.order).iter().map(|&it| it.to_owned()),
    );
    let sql = match dialect {
        Dialect::Sqlite => {
            let inner = source.select(dialect, "", &filter, most);
            let rows = builder.rows(columns, listing.order, &inner);
            let filters: String = filters.iter().map(|it| format!(" AND {it}")).collect();
            format!("{rows}{filters} ORDER BY {order} LIMIT {limit}")
        }
        Dialect::Postgres => {
            let parts: Vec<_> = filters.iter().chain([&order]).map(|it| &**it).collect();
            let inner = source.select(dialect, &source.columns(&parts), &filter, most);
            let first = source.matching(("", &inner), &filters, &order, limit);
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

/// Returns the table that a walk reads.
fn walked_source(listing: &Listing) -> Source {
    let selection = &listing.selection;
    match listing.order {
        Order::LastUsed => Source::uses("identity_by_use"),
        Order::Expires => Source::identities("identity_by_end"),
        Order::Name => Source::identities("identity_by_name"),
        Order::Id if selection.realm.is_some() => Source::identities("identity_by_realm"),
        Order::Id if selection.state == Some(State::Disabled) => {
            Source::identities("identity_disabled")
        }
        Order::Id | Order::Realm => Source::identities(""),
    }
}

/// Returns the statement that reads IDs, keys and `columns` in their order.
fn walk(builder: &mut Builder, listing: &Listing, columns: &str) -> String {
    let selection = &listing.selection;
    let keys = keys(builder.dialect, listing.order);
    let is_disabled = selection.state == Some(State::Disabled);
    let source = walked_source(listing);
    let most = Bounds::of(builder.dialect, listing).walked;
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
        "SELECT {} AS id, {}{columns} FROM {}",
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
                parts.map(|after| format!("SELECT * FROM ({} LIMIT {most})", part(Some(after))));
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
    let filters = builder.filters(listing);
    let source = walked_source(listing);
    let most = Bounds::of(dialect, listing).walked;
    let sql = match dialect {
        Dialect::Sqlite => {
            let inner = walk(&mut builder, listing, "");
            let rows = builder.rows(columns, listing.order, &format!("{inner} LIMIT {most}"));
            let filters: String = filters.iter().map(|it| format!(" AND {it}")).collect();
            format!("{rows}{filters} LIMIT {limit}")
        }
        Dialect::Postgres => {
            let count = keys(dialect, listing.order).len();
            let named = |table: &str| {
                (1..=count)
                    .map(move |at| format!("{table}.k{at}"))
                    .collect()
            };
            let order = |table: &str| {
                let keys: Vec<String> = named(table);
                Builder::order(listing, keys.into_iter())
            };
            let parts: Vec<_> = filters.iter().map(|it| &**it).collect();
            let inner = walk(&mut builder, listing, &source.columns(&parts));
            let inner = format!("{inner} LIMIT {most}");
            let table = source.alias();
            let keys: Vec<String> = named(table);
            let keys: String = keys.iter().map(|key| format!(", {key}")).collect();
            let first = source.matching((&keys, &inner), &filters, &order(table), limit);
            let rows = builder.rows(columns, listing.order, &first);
            format!("{rows} ORDER BY {}", order("s"))
        }
    };
    Statement {
        sql,
        values: builder.values,
    }
}

/// Reads the keys of the last row that [`walked`] has read, if it has read as many as it may.
pub(super) fn end(dialect: Dialect, listing: &Listing) -> Statement {
    let mut builder = Builder::new(dialect);
    let inner = walk(&mut builder, listing, "");
    let most = Bounds::of(dialect, listing).walked;
    let keys = (1..=keys(dialect, listing.order).len()).map(|at| format!("k{at}"));
    let keys: Vec<_> = keys.collect();
    Statement {
        sql: format!(
            "SELECT {} FROM ({inner} LIMIT 1 OFFSET {}) s",
            keys.join(", "),
            most.saturating_sub(1)
        ),
        values: builder.values,
    }
}

/// Counts the identities that meet a condition, and the rows that were read for this.
pub(super) fn tally(dialect: Dialect, condition: Condition, now: UnixTime) -> Statement {
    let mut builder = Builder::new(dialect);
    let filter = builder.condition(condition, now);
    let source = Source::of(condition);
    // The index of weak seeds has no others.
    let enabled = match condition {
        Condition::Weak => "true",
        _ => state(State::Enabled),
    };
    let most = most_counted(dialect, condition).saturating_add(1);
    let inner = source.select(dialect, &source.columns(&[enabled]), &filter, most);
    let counts = format!("SELECT count(*) FILTER (WHERE {enabled}), count(*) FROM ({inner})");
    let sql = match dialect {
        Dialect::Sqlite if source.is_of_uses() => {
            format!("{counts} s CROSS JOIN identity i WHERE i.id = s.id")
        }
        Dialect::Postgres if source.is_of_uses() => format!(
            "{counts} s
                JOIN LATERAL (SELECT state FROM @.identity WHERE id = s.id OFFSET 0) i ON true"
        ),
        _ => format!("{counts} i"),
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

/// A row that was read: an identity, or none.
pub(super) type Entry = Result<Arc<Identity>, BadRow>;

/// Makes a page of rows, of which there is one more than the page has if there is a next page. If
/// there are fewer, `end` returns where the search has ended.
pub(super) fn page<E>(
    mut rows: Vec<(Entry, Position)>,
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
    let (identities, bad) = parted(rows.into_iter().map(|(entry, _)| entry));
    Ok(Page {
        identities,
        bad,
        next,
    })
}

/// Makes a part of rows in the order of their IDs, of which there is one more than the part has if
/// there are more.
pub(super) fn rows(mut rows: Vec<Entry>, limit: u32) -> Rows {
    let limit = limit as usize;
    let has_more = rows.len() > limit;
    rows.truncate(limit);
    let last = rows.last().filter(|_| has_more);
    let next = last.map(|entry| match entry {
        Ok(identity) => identity.id,
        Err(bad) => bad.id,
    });
    let (identities, bad) = parted(rows.into_iter());
    Rows {
        identities,
        bad,
        next,
    }
}

fn parted(rows: impl Iterator<Item = Entry>) -> (Vec<Arc<Identity>>, Vec<BadRow>) {
    let (mut identities, mut bad) = (Vec::new(), Vec::new());
    for entry in rows {
        match entry {
            Ok(identity) => identities.push(identity),
            Err(row) => bad.push(row),
        }
    }
    (identities, bad)
}
