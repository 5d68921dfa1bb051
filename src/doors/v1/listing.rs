//! Which identities a list has, in which order, and where its pages begin.

use http::header::{HeaderValue, InvalidHeaderValue};
use serde_json::Value;

use super::query::{Query, cursor};
use super::types::{Condition, Sort};
use crate::auth::{Listing, Order, Position, Selection, SortValue, State, UnixTime};

const EXPECTED: &str = "expected the cursor of a response, with the same parameters";

/// The parameters of a list.
pub(super) struct List {
    pub(super) selection: Selection,
    condition: Option<Condition>,
    sort: Sort,
}

impl List {
    /// Takes the parameters that select and sort identities.
    pub(super) fn of(query: &mut Query) -> Self {
        Self {
            condition: query.parsed("condition"),
            sort: query.parsed("sort").unwrap_or_default(),
            ..Self::selecting(query)
        }
    }

    /// Takes the parameters that select identities.
    pub(super) fn selecting(query: &mut Query) -> Self {
        let realm = query.text("realm");
        let name = query.text("name").filter(|name| !name.is_empty());
        let state = match query.text("state").as_deref() {
            None => None,
            Some("enabled") => Some(State::Enabled),
            Some("disabled") => Some(State::Disabled),
            Some(_) => {
                query.reject("state", "expected enabled or disabled");
                None
            }
        };
        Self {
            selection: Selection {
                realm: realm.map(Into::into),
                name: name.map(Into::into),
                state,
            },
            condition: None,
            sort: Sort::default(),
        }
    }

    /// Returns the parameters that are given, by their names.
    fn parameters(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let state = self.selection.state.map(|state| match state {
            State::Enabled => "enabled",
            State::Disabled => "disabled",
        });
        let sort = (self.sort != Sort::default()).then_some(self.sort.as_str());
        let all = [
            ("realm", self.selection.realm.as_deref()),
            ("name", self.selection.name.as_deref()),
            ("state", state),
            ("condition", self.condition.map(Condition::as_str)),
            ("sort", sort),
        ];
        all.into_iter()
            .filter_map(|(name, value)| Some((name, value?)))
    }

    /// Returns the name of the list, so that a cursor is of no use for another one.
    fn name(&self) -> String {
        let mut name = "identities".to_owned();
        for (key, value) in self.parameters() {
            name.extend(["\0", key, "\0", value]);
        }
        name
    }

    /// Takes the cursor, and returns the page that begins there.
    pub(super) fn page(&self, query: &mut Query, limit: u32, now: UnixTime) -> Listing {
        let (order, is_descending) = self.sort.in_core();
        let after = query.cursor(&self.name()).and_then(|text| {
            let position = position(order, &text);
            if position.is_none() {
                query.reject("cursor", EXPECTED);
            }
            position
        });
        Listing {
            selection: self.selection.clone(),
            condition: self.condition.map(Condition::in_core),
            order,
            is_descending,
            after,
            limit,
            now,
        }
    }

    /// Returns the cursor of the page that begins at a position.
    pub(super) fn cursor(&self, position: &Position) -> String {
        let values = position.values().iter().map(|value| match value {
            SortValue::Number(number) => Value::from(*number),
            SortValue::Text(text) => Value::from(&**text),
        });
        cursor(&self.name(), &Value::Array(values.collect()).to_string())
    }

    /// Returns the header that names the next page (RFC 8288).
    pub(super) fn link(&self, limit: u32, next: &str) -> Result<HeaderValue, InvalidHeaderValue> {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.extend_pairs(self.parameters());
        query.append_pair("limit", &limit.to_string());
        query.append_pair("cursor", next);
        let query = query.finish();
        HeaderValue::from_str(&format!("</v1/identities?{query}>; rel=\"next\""))
    }
}

/// Reads a position of an order.
fn position(order: Order, text: &str) -> Option<Position> {
    let Ok(Value::Array(values)) = serde_json::from_str(text) else {
        return None;
    };
    let values = values.into_iter().map(|value| match value {
        Value::String(text) => Some(SortValue::Text(text.into())),
        value => value.as_i64().map(SortValue::Number),
    });
    Position::new(order, values.collect::<Option<_>>()?)
}
