//! Filters and orders of the list of identities.

use std::str::FromStr;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::auth::{self, Order};

/// What is to be done about an enabled identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Condition {
    /// It expires within 30 days.
    Expiring,
    /// It was not used for 90 days, and is older than that.
    Unused,
    /// Its seed has fewer than 128 bits.
    Weak,
    /// Its last token was of another step than the one in which it arrived.
    ClockOff,
}

impl Condition {
    /// All conditions.
    pub const ALL: [Self; 4] = [Self::Expiring, Self::Unused, Self::Weak, Self::ClockOff];

    /// Returns the name in JSON.
    pub const fn as_str(self) -> &'static str {
        self.in_core().as_str()
    }

    /// Returns the condition of the core.
    pub const fn in_core(self) -> auth::Condition {
        match self {
            Self::Expiring => auth::Condition::Expiring,
            Self::Unused => auth::Condition::Unused,
            Self::Weak => auth::Condition::Weak,
            Self::ClockOff => auth::Condition::ClockOff,
        }
    }
}

impl FromStr for Condition {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut all = Self::ALL.into_iter();
        let found = all.find(|it| it.as_str() == text);
        found.ok_or("expected expiring, unused, weak or clock-off")
    }
}

/// The order of a list; a minus reverses it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub enum Sort {
    #[default]
    #[serde(rename = "id")]
    Id,
    #[serde(rename = "-id")]
    IdReversed,
    #[serde(rename = "name")]
    Name,
    #[serde(rename = "-name")]
    NameReversed,
    /// By realm, then by name.
    #[serde(rename = "realm")]
    Realm,
    #[serde(rename = "-realm")]
    RealmReversed,
    /// By the day of the last use, or of the creation if it was never used.
    #[serde(rename = "last_used")]
    LastUsed,
    #[serde(rename = "-last_used")]
    LastUsedReversed,
    /// Those without an end come last.
    #[serde(rename = "expires")]
    Expires,
    #[serde(rename = "-expires")]
    ExpiresReversed,
}

impl Sort {
    /// All orders.
    pub const ALL: [Self; 10] = [
        Self::Id,
        Self::IdReversed,
        Self::Name,
        Self::NameReversed,
        Self::Realm,
        Self::RealmReversed,
        Self::LastUsed,
        Self::LastUsedReversed,
        Self::Expires,
        Self::ExpiresReversed,
    ];

    /// Returns the name in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Id => "id",
            Self::IdReversed => "-id",
            Self::Name => "name",
            Self::NameReversed => "-name",
            Self::Realm => "realm",
            Self::RealmReversed => "-realm",
            Self::LastUsed => "last_used",
            Self::LastUsedReversed => "-last_used",
            Self::Expires => "expires",
            Self::ExpiresReversed => "-expires",
        }
    }

    /// Returns the order of the core, and whether it is reversed.
    pub const fn in_core(self) -> (Order, bool) {
        match self {
            Self::Id => (Order::Id, false),
            Self::IdReversed => (Order::Id, true),
            Self::Name => (Order::Name, false),
            Self::NameReversed => (Order::Name, true),
            Self::Realm => (Order::Realm, false),
            Self::RealmReversed => (Order::Realm, true),
            Self::LastUsed => (Order::LastUsed, false),
            Self::LastUsedReversed => (Order::LastUsed, true),
            Self::Expires => (Order::Expires, false),
            Self::ExpiresReversed => (Order::Expires, true),
        }
    }
}

impl FromStr for Sort {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut all = Self::ALL.into_iter();
        let found = all.find(|it| it.as_str() == text);
        found.ok_or("expected id, name, realm, last_used or expires, or one of them after a minus")
    }
}

/// What needs the attention of an administrator.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Attention {
    /// The number of identities that meet each condition.
    pub conditions: Vec<ConditionCount>,
    /// The identities that this node throttles now, of those with an attempt here lately. Names that
    /// no identity has are only counted, by `/v1/status`.
    #[schema(max_items = 100)]
    pub throttled: Vec<ThrottledIdentity>,
}

/// The number of identities that meet a condition.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, ToSchema)]
pub struct ConditionCount {
    pub condition: Condition,
    pub count: u64,
    /// Whether there may be more, because counting has ended after many.
    pub is_at_least: bool,
}

/// An identity whose attempts are not evaluated now.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ThrottledIdentity {
    pub id: i64,
    pub name: String,
    pub realm: String,
    /// The rest of its longest delay, in seconds.
    pub waits: u64,
}
