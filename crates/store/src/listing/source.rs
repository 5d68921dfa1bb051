//! The indexes from which lists are read.

use realmgate_core::{Condition, Listing, Order, State};

use super::builder::{Builder, Dialect, identity_of, state, use_of};

/// The columns of identities that filters and orders use.
const IDENTITY: [&str; 5] = ["i.name", "i.realm", "i.state", "i.expires", "i.seed"];

/// Returns those columns that parts of a statement name, each after a comma.
fn named(columns: &[&str], parts: &[&str]) -> String {
    let is_named = |column: &&&str| parts.iter().any(|part| part.contains(**column));
    let named = columns.iter().filter(is_named);
    named.map(|column| format!(", {column}")).collect()
}

/// A table with an index.
pub(super) struct Source {
    pub(super) id: &'static str,
    table: &'static str,
    index: &'static str,
}

impl Source {
    pub(super) const fn identities(index: &'static str) -> Self {
        Self {
            id: "i.id",
            table: "@.identity i",
            index,
        }
    }

    pub(super) const fn uses(index: &'static str) -> Self {
        Self {
            id: "u.identity",
            table: "@.identity_use u",
            index,
        }
    }

    pub(super) const fn of(condition: Condition) -> Self {
        match condition {
            Condition::Expiring => Self::identities("identity_by_end"),
            Condition::Unused => Self::uses("identity_by_use"),
            Condition::Weak => Self::identities("identity_weak"),
            Condition::ClockOff => Self::uses("identity_with_drift"),
        }
    }

    /// Returns the table. SQLite is told the index, because it has no statistics.
    pub(super) fn text(&self, dialect: Dialect) -> String {
        let Self { table, index, .. } = self;
        match dialect {
            Dialect::Sqlite if !index.is_empty() => format!("{table} INDEXED BY {index}"),
            _ => (*table).to_owned(),
        }
    }

    /// Returns the order of the index.
    fn order(&self) -> &'static str {
        match self.index {
            "identity_by_end" => "coalesce(i.expires, 9223372036854775807), i.id",
            "identity_by_name" => "i.name, i.id",
            "identity_by_realm" => "i.realm, i.id",
            "identity_by_use" => "u.day, u.identity",
            _ => self.id,
        }
    }

    pub(super) fn is_of_uses(&self) -> bool {
        self.id == "u.identity"
    }

    /// Returns the name under which [`Self::matching`] reads the table.
    pub(super) fn alias(&self) -> &'static str {
        if self.is_of_uses() { "s" } else { "i" }
    }

    /// Returns the columns of the table that filters and orders name, each after a comma. An index that
    /// has them is read alone.
    pub(super) fn columns(&self, parts: &[&str]) -> String {
        match self.is_of_uses() {
            true => String::new(),
            false => named(&IDENTITY, parts),
        }
    }

    /// Returns a statement that reads `columns` of those rows of `inner` that match filters, for
    /// PostgreSQL. It reads only the tables that the filters and the order need.
    pub(super) fn matching(
        &self,
        (columns, inner): (&str, &str),
        filters: &[String],
        order: &str,
        limit: u32,
    ) -> String {
        let parts: Vec<_> = filters.iter().map(|it| &**it).chain([order]).collect();
        let needs = |alias: &str| parts.iter().any(|it| it.contains(alias));
        let table = self.alias();
        let mut tables = String::new();
        if needs("i.") && self.is_of_uses() {
            let columns = format!("i.id{}", named(&IDENTITY, &parts)).replace("i.", "");
            tables.push_str(&identity_of(table, &columns));
        }
        if needs("u.") {
            tables.push_str(&use_of(table, "identity, day, drift"));
        }
        let filters: String = filters.iter().map(|it| format!(" AND {it}")).collect();
        format!(
            "SELECT {table}.id{columns} FROM ({inner}) {table}{tables} WHERE true{filters}
                ORDER BY {order} LIMIT {limit}"
        )
    }

    /// Returns the IDs and columns of the rows that a filter matches.
    pub(super) fn select(
        &self,
        dialect: Dialect,
        columns: &str,
        filter: &str,
        limit: u32,
    ) -> String {
        let (id, from) = (self.id, self.text(dialect));
        // PostgreSQL reads the index for the order. Otherwise it may read the whole table, where it
        // expects more matches than there are.
        let order = match dialect {
            Dialect::Sqlite => String::new(),
            Dialect::Postgres => format!(" ORDER BY {}", self.order()),
        };
        format!("SELECT {id} AS id{columns} FROM {from} WHERE {filter}{order} LIMIT {limit}")
    }
}

/// A filter that has an index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Driver {
    Condition,
    Name,
    Disabled,
    Realm,
}

/// Returns the filters that may match few rows, unless the order itself leaves out all other rows.
pub(crate) fn drivers(listing: &Listing) -> Vec<Driver> {
    let selection = &listing.selection;
    let has = (
        selection.realm.is_some(),
        selection.name.is_some(),
        selection.state,
        listing.condition.is_some(),
    );
    let is_walked = matches!(
        (listing.order, has),
        (Order::Id, (_, false, None, false))
            | (Order::Id, (false, false, Some(State::Disabled), false))
            | (Order::Name, (false, _, None, false))
            | (
                Order::Realm,
                (true, _, None, false) | (false, false, None, false)
            )
            | (_, (false, false, None, false))
    );
    if is_walked {
        return Vec::new();
    }
    let all = [
        (listing.condition.is_some(), Driver::Condition),
        (selection.name.is_some(), Driver::Name),
        (selection.state == Some(State::Disabled), Driver::Disabled),
        (selection.realm.is_some(), Driver::Realm),
    ];
    let given = all.into_iter().filter(|(is_given, _)| *is_given);
    given.map(|(_, driver)| driver).collect()
}

impl Driver {
    /// Returns the rows that the filter matches, and the filter.
    pub(super) fn source(self, builder: &mut Builder, listing: &Listing) -> (Source, String) {
        let selection = &listing.selection;
        let (filter, source) = match self {
            Self::Condition => {
                let condition = listing.condition.unwrap_or(Condition::Weak);
                let filter = builder.condition(condition, listing.now);
                (filter, Source::of(condition))
            }
            Self::Name => {
                let filter = builder.name(selection.name.as_deref().unwrap_or_default());
                (filter, Source::identities("identity_by_name"))
            }
            Self::Disabled => (
                state(State::Disabled).to_owned(),
                Source::identities("identity_disabled"),
            ),
            Self::Realm => {
                let filter = builder.realm(selection.realm.as_deref().unwrap_or_default());
                (filter, Source::identities("identity_by_realm"))
            }
        };
        (source, filter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn postgres_reads_the_index_of_a_filter_in_its_order() {
        let listing = Listing {
            selection: realmgate_core::Selection {
                realm: Some("r".into()),
                name: Some("n".into()),
                state: Some(State::Disabled),
            },
            condition: Some(Condition::Weak),
            order: Order::Name,
            is_descending: false,
            after: None,
            limit: 50,
            now: realmgate_core::UnixTime::from_secs(0),
        };
        for (driver, order) in [
            (Driver::Condition, "i.id"),
            (Driver::Name, "i.name, i.id"),
            (Driver::Disabled, "i.id"),
            (Driver::Realm, "i.realm, i.id"),
        ] {
            let mut builder = Builder::new(Dialect::Postgres);
            let (source, filter) = driver.source(&mut builder, &listing);
            let sql = source.select(Dialect::Postgres, "", &filter, 7);
            let end = format!(" ORDER BY {order} LIMIT 7");
            assert!(sql.ends_with(&end), "{sql}");
        }
        let of = |condition| Source::of(condition).order();
        assert_eq!(of(Condition::Unused), "u.day, u.identity");
        assert_eq!(of(Condition::ClockOff), "u.identity");
        assert!(of(Condition::Expiring).ends_with(", i.id"));
    }
}
