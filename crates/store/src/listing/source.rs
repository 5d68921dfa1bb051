//! The indexes from which lists are read.

use realmgate_core::{Condition, Listing, Order, State};

use super::builder::{Builder, Dialect, state};

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

    /// Returns the IDs of the rows that a filter matches.
    pub(super) fn select(&self, dialect: Dialect, filter: &str, limit: u32) -> String {
        let (id, from) = (self.id, self.text(dialect));
        format!("SELECT {id} AS id FROM {from} WHERE {filter} LIMIT {limit}")
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
    pub(super) fn sql(self, builder: &mut Builder, listing: &Listing, limit: u32) -> String {
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
        source.select(builder.dialect, &filter, limit)
    }
}
