//! Parts of statements.

use realmgate_core::{Condition, Listing, Order, SortValue, State, UnixTime};

/// The kind of database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    Sqlite,
    Postgres,
}

/// A statement. An `@.` stands for the schema.
#[derive(Debug)]
pub(crate) struct Statement {
    pub(crate) sql: String,
    pub(crate) values: Vec<SortValue>,
}

/// Makes a statement, and collects its values.
pub(super) struct Builder {
    pub(super) dialect: Dialect,
    pub(super) values: Vec<SortValue>,
}

/// Returns the columns of an order, which are those of its index.
pub(super) fn keys(dialect: Dialect, order: Order) -> &'static [&'static str] {
    match order {
        Order::Id => &["i.id"],
        Order::Name => &["i.name", "i.id"],
        Order::Realm => &["i.realm", "i.name"],
        Order::LastUsed => &["u.day", "u.identity"],
        Order::Expires => match dialect {
            Dialect::Sqlite => &["i.ends", "i.id"],
            // PostgreSQL finds a position by an expression, and a column would rewrite the table.
            Dialect::Postgres => &["coalesce(i.expires, 9223372036854775807)", "i.id"],
        },
    }
}

impl Builder {
    pub(super) const fn new(dialect: Dialect) -> Self {
        Self {
            dialect,
            values: Vec::new(),
        }
    }

    pub(super) fn bind(&mut self, value: SortValue) -> String {
        self.values.push(value);
        let sign = match self.dialect {
            Dialect::Sqlite => '?',
            Dialect::Postgres => '$',
        };
        format!("{sign}{}", self.values.len())
    }

    pub(super) fn number(&mut self, number: u64) -> String {
        self.bind(SortValue::Number(i64::try_from(number).unwrap_or(i64::MAX)))
    }

    pub(super) fn text(&mut self, text: &str) -> String {
        self.bind(SortValue::Text(text.into()))
    }

    pub(super) fn realm(&mut self, realm: &str) -> String {
        format!("i.realm = {}", self.text(realm))
    }

    pub(super) fn name(&mut self, name: &str) -> String {
        let from = self.text(name);
        // U+10FFFF sorts after every character of a name.
        let to = self.text(&format!("{name}\u{10ffff}"));
        format!("i.name >= {from} AND i.name < {to}")
    }

    /// Returns a condition, without that the identity is enabled.
    pub(super) fn condition(&mut self, condition: Condition, now: UnixTime) -> String {
        match condition {
            Condition::Expiring => {
                let from = self.number(now.as_secs());
                let to = self.number(Condition::expires_until(now).as_secs());
                let end = keys(self.dialect, Order::Expires).first().unwrap_or(&"");
                format!("{end} > {from} AND {end} <= {to}")
            }
            Condition::Unused => {
                let day = self.number(Condition::used_since(now));
                format!("u.day < {day}")
            }
            // As the index has it, so that both kinds of databases use it.
            Condition::Weak => "length(i.seed) < 65 AND i.state = 'enabled'".to_owned(),
            Condition::ClockOff => "u.drift <> 0".to_owned(),
        }
    }

    /// Returns all filters.
    pub(super) fn filters(&mut self, listing: &Listing) -> Vec<String> {
        let selection = &listing.selection;
        let mut filters = Vec::new();
        if let Some(realm) = &selection.realm {
            filters.push(self.realm(realm));
        }
        if let Some(name) = &selection.name {
            filters.push(self.name(name));
        }
        filters.extend(selection.state.map(state).map(str::to_owned));
        if let Some(condition) = listing.condition {
            filters.push(self.condition(condition, listing.now));
            filters.push(state(State::Enabled).to_owned());
        }
        filters
    }

    pub(super) fn after(&mut self, listing: &Listing) -> Option<String> {
        let values = listing.after.as_ref()?.values().to_vec();
        let values: Vec<_> = values.into_iter().map(|it| self.bind(it)).collect();
        let sign = if listing.is_descending { '<' } else { '>' };
        let keys = keys(self.dialect, listing.order).join(", ");
        Some(format!("({keys}) {sign} ({})", values.join(", ")))
    }

    /// Returns the condition for rows after a position, in two parts: those with an equal first key, and
    /// all others. SQLite does not find a position by two columns if one of them is generated. `None`
    /// if it finds it.
    pub(super) fn after_generated(&mut self, listing: &Listing) -> Option<[String; 2]> {
        if (self.dialect, listing.order) != (Dialect::Sqlite, Order::Expires) {
            return None;
        }
        let [end, id] = listing.after.as_ref()?.values() else {
            return None;
        };
        let (end, id) = (self.bind(end.clone()), self.bind(id.clone()));
        let sign = if listing.is_descending { '<' } else { '>' };
        Some([
            format!("i.ends = {end} AND i.id {sign} {id}"),
            format!("i.ends {sign} {end}"),
        ])
    }

    /// Returns the keys in their order for ORDER BY.
    pub(super) fn order(listing: &Listing, keys: impl Iterator<Item = String>) -> String {
        let direction = if listing.is_descending { " DESC" } else { "" };
        let keys: Vec<_> = keys.map(|key| format!("{key}{direction}")).collect();
        keys.join(", ")
    }

    /// Returns a statement that reads the rows with the IDs of `inner`, which has the alias `s`.
    pub(super) fn rows(&self, columns: &str, order: Order, inner: &str) -> String {
        let keys = keys(self.dialect, order).join(", ");
        match self.dialect {
            // `CROSS JOIN` keeps the order of the tables, and so that of the rows.
            Dialect::Sqlite => format!(
                "SELECT {columns}, {keys} FROM ({inner}) s CROSS JOIN identity i
                    LEFT JOIN identity_use u ON u.identity = i.id WHERE i.id = s.id"
            ),
            Dialect::Postgres => {
                let (identity, usage) = (identity_of("s", "*"), use_of("s", "*"));
                format!("SELECT {columns}, {keys} FROM ({inner}) s{identity}{usage} WHERE true")
            }
        }
    }
}

/// Returns `columns` of the identities of PostgreSQL with the IDs of a table: row by row, whatever the planner
/// believes about their number.
pub(super) fn identity_of(table: &str, columns: &str) -> String {
    format!(
        "
    JOIN LATERAL (SELECT {columns} FROM @.identity WHERE id = {table}.id OFFSET 0) i ON true"
    )
}

/// Returns `columns` of their uses likewise.
pub(super) fn use_of(table: &str, columns: &str) -> String {
    format!(
        "
    LEFT JOIN LATERAL
        (SELECT {columns} FROM @.identity_use WHERE identity = {table}.id OFFSET 0) u ON true"
    )
}

pub(super) const fn state(state: State) -> &'static str {
    match state {
        State::Enabled => "i.state = 'enabled'",
        State::Disabled => "i.state = 'disabled'",
    }
}
