//! Lists of identities: filters, orders and pages.

use std::sync::Arc;

use super::id::IdentityId;
use super::identity::{Identity, State, Version};
use super::time::UnixTime;

const DAY: u64 = 24 * 60 * 60;

/// Which identities to list; `None` matches all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// Only those of this realm.
    pub realm: Option<Box<str>>,
    /// Only those whose names begin with this.
    pub name: Option<Box<str>>,
    /// Only those in this state.
    pub state: Option<State>,
}

/// What is to be done about an enabled identity. A disabled one meets no condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// It expires within [`Condition::EXPIRING_DAYS`].
    Expiring,
    /// It was not used for [`Condition::UNUSED_DAYS`], and is older than that.
    Unused,
    /// Its seed is weak.
    Weak,
    /// Its last token was of another step than the one in which it arrived.
    ClockOff,
}

impl Condition {
    /// All conditions.
    pub const ALL: [Self; 4] = [Self::Expiring, Self::Unused, Self::Weak, Self::ClockOff];

    /// The number of days before its end within which an identity is about to expire.
    pub const EXPIRING_DAYS: u64 = 30;

    /// The number of days without use after which an identity is unused.
    pub const UNUSED_DAYS: u64 = 90;

    /// Returns a stable name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Expiring => "expiring",
            Self::Unused => "unused",
            Self::Weak => "weak",
            Self::ClockOff => "clock-off",
        }
    }

    /// Returns the end of the time in which an identity is about to expire, inclusive.
    pub const fn expires_until(now: UnixTime) -> UnixTime {
        UnixTime::from_secs(now.as_secs() + Self::EXPIRING_DAYS * DAY)
    }

    /// Returns the number of the day since 1970 from which on a use counts as recent.
    pub const fn used_since(now: UnixTime) -> u64 {
        (now.as_secs() / DAY).saturating_sub(Self::UNUSED_DAYS)
    }
}

/// By what a list is sorted. Equal ones are in the order of their IDs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// The ID.
    #[default]
    Id,
    /// The name, by its bytes in UTF-8.
    Name,
    /// The realm, then the name.
    Realm,
    /// The day of the last use; if it was never used, the day of its creation.
    LastUsed,
    /// The end of validity. Those without one come last.
    Expires,
}

impl Order {
    /// All orders.
    pub const ALL: [Self; 5] = [
        Self::Id,
        Self::Name,
        Self::Realm,
        Self::LastUsed,
        Self::Expires,
    ];

    /// Returns a stable name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Id => "id",
            Self::Name => "name",
            Self::Realm => "realm",
            Self::LastUsed => "last_used",
            Self::Expires => "expires",
        }
    }
}

/// One of the values by which a list is sorted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SortValue {
    /// A number.
    Number(i64),
    /// A text.
    Text(Box<str>),
}

/// A position in a sorted list: the values of the identity before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position(Vec<SortValue>);

impl Position {
    /// Makes a position. Returns `None` if the values are not those of the order.
    pub fn new(order: Order, values: Vec<SortValue>) -> Option<Self> {
        use SortValue::{Number, Text};

        let fits = match order {
            Order::Id => matches!(*values, [Number(_)]),
            Order::Name => matches!(*values, [Text(_), Number(_)]),
            Order::Realm => matches!(*values, [Text(_), Text(_)]),
            Order::LastUsed | Order::Expires => matches!(*values, [Number(_), Number(_)]),
        };
        fits.then_some(Self(values))
    }

    /// Returns its values.
    pub fn values(&self) -> &[SortValue] {
        &self.0
    }
}

/// A page of a list.
#[derive(Clone, Debug)]
pub struct Listing {
    /// Which identities.
    pub selection: Selection,
    /// Only those that meet this condition.
    pub condition: Option<Condition>,
    /// The order.
    pub order: Order,
    /// Whether the order is reversed.
    pub is_descending: bool,
    /// Where the page begins; at the beginning if `None`.
    pub after: Option<Position>,
    /// The maximum number of identities.
    pub limit: u32,
    /// The time, for conditions.
    pub now: UnixTime,
}

/// A row of the database that is no identity, because somebody has written it with SQL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadRow {
    /// Its number.
    pub id: IdentityId,
    /// Its version.
    pub version: Version,
    /// What is wrong.
    pub problem: Arc<str>,
}

/// Identities in the order of their IDs.
#[derive(Clone, Debug, Default)]
pub struct Rows {
    /// The identities.
    pub identities: Vec<Arc<Identity>>,
    /// The rows among them that are no identities.
    pub bad: Vec<BadRow>,
    /// The ID of the last row, if there are more.
    pub next: Option<IdentityId>,
}

/// A page of identities.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// The identities, at most as many as asked for. There may be fewer, or none, although there are
    /// more: a page ends after a bounded search.
    pub identities: Vec<Arc<Identity>>,
    /// The rows of this page that are no identities.
    pub bad: Vec<BadRow>,
    /// Where the next page begins; `None` if there is none.
    pub next: Option<Position>,
}

/// The number of identities of a realm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RealmCount {
    /// The realm.
    pub realm: Box<str>,
    /// All of its identities.
    pub identities: u64,
    /// Those that are disabled.
    pub disabled: u64,
}

/// The sums of all realms.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RealmTotals {
    /// The number of realms that have identities.
    pub realms: u64,
    /// All identities.
    pub identities: u64,
    /// Those that are disabled.
    pub disabled: u64,
}

/// The number of identities that meet a condition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// How many were counted.
    pub count: u64,
    /// Whether there may be more, because counting has ended after a bounded search.
    pub is_at_least: bool,
}

impl From<IdentityId> for Position {
    fn from(id: IdentityId) -> Self {
        Self(vec![SortValue::Number(id.0)])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn position_has_the_values_of_its_order() {
        let number = || SortValue::Number(1);
        let text = || SortValue::Text("a".into());
        for (order, values) in [
            (Order::Id, vec![number()]),
            (Order::Name, vec![text(), number()]),
            (Order::Realm, vec![text(), text()]),
            (Order::LastUsed, vec![number(), number()]),
            (Order::Expires, vec![number(), number()]),
        ] {
            for other in Order::ALL {
                let fits = Position::new(other, values.clone()).is_some();
                let is_alike = [order, other]
                    .iter()
                    .all(|it| matches!(it, Order::LastUsed | Order::Expires));
                assert_eq!(fits, order == other || is_alike, "{order:?} {other:?}");
            }
            assert!(Position::new(order, Vec::new()).is_none());
        }
    }
}
