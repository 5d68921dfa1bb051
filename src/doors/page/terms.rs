//! The fields of the form that changes an identity, and what others have changed since it was made.

use super::form::{Form, time};
use super::seen::without_controls;
use crate::doors::v1::Timestamp;
use crate::doors::v1::types::{Changes, Identity, NewIdentity};

/// The fields with their labels, in the order of the form.
const FIELDS: [(&str, &str); 5] = [
    ("name", "Name"),
    ("realm", "Realm"),
    ("comment", "Comment"),
    ("not_before", "Valid from"),
    ("expires", "Expires"),
];

/// The values of the fields, in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Terms([String; 5]);

/// A field that others have changed since the form was made.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Difference {
    pub(super) label: &'static str,
    /// The value that the form showed.
    pub(super) was: String,
    /// The value now.
    pub(super) now: String,
    /// Whether the form has another value typed, which would replace it.
    pub(super) is_typed: bool,
}

impl Terms {
    pub(super) fn of(identity: &Identity) -> Self {
        let local = |time: Option<Timestamp>| {
            let text = time.map(|it| it.to_string()).unwrap_or_default();
            text.get(..16).unwrap_or_default().to_owned()
        };
        // A field of one line would lose control characters, which only SQL can write into a name.
        Self([
            without_controls(&identity.name),
            without_controls(&identity.realm),
            without_controls(identity.comment.as_deref().unwrap_or_default()),
            local(identity.not_before),
            local(identity.expires),
        ])
    }

    /// Reads the values that were typed.
    pub(super) fn typed(form: &Form) -> Self {
        Self(FIELDS.map(|(field, _)| {
            let value = match field {
                "not_before" | "expires" => form.text(field),
                _ => form.exact(field),
            };
            value.to_owned()
        }))
    }

    /// Reads the values that the form showed; `None` if it does not have them.
    pub(super) fn shown(form: &Form) -> Option<Self> {
        let mut terms = Self::default();
        for ((field, _), value) in FIELDS.iter().zip(&mut terms.0) {
            form.given(&format!("was_{field}"))?.clone_into(value);
        }
        Some(terms)
    }

    /// Returns the fields with their values.
    pub(super) fn fields(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let fields = FIELDS.iter().zip(&self.0);
        fields.map(|((field, _), value)| (*field, value.as_str()))
    }

    /// Returns the value of a field; empty if there is no such field.
    pub(super) fn value(&self, name: &str) -> &str {
        let mut fields = self.fields();
        let found = fields.find(|(field, _)| *field == name);
        found.map_or("", |(_, value)| value)
    }

    /// Returns an identity with the texts that were typed, to check them.
    pub(super) fn identity(&self) -> NewIdentity {
        NewIdentity {
            name: self.value("name").to_owned(),
            realm: self.value("realm").to_owned(),
            comment: Some(self.value("comment").to_owned()),
            ..NewIdentity::default()
        }
    }

    /// Returns the changes that were typed into a form that showed other values.
    ///
    /// # Errors
    /// The fields that are no times.
    pub(super) fn changes(
        &self,
        shown: &Self,
    ) -> Result<Changes, Vec<(&'static str, &'static str)>> {
        let mut errors = Vec::new();
        let text = |field| {
            let (typed, shown) = (self.value(field), shown.value(field));
            (!is_same(typed, shown)).then(|| typed.to_owned())
        };
        let mut moment = |field| {
            let (typed, shown) = (self.value(field), shown.value(field));
            match time(typed) {
                // The form shows minutes: what was not typed keeps its seconds.
                Ok(typed) => {
                    (minute(typed) != minute(time(shown).unwrap_or_default())).then_some(typed)
                }
                Err(detail) => {
                    errors.push((field, detail));
                    None
                }
            }
        };
        let changes = Changes {
            name: text("name"),
            realm: text("realm"),
            not_before: moment("not_before"),
            expires: moment("expires"),
            comment: text("comment").map(Some),
        };
        match errors.is_empty() {
            true => Ok(changes),
            false => Err(errors),
        }
    }

    /// Returns what a form shows after others have changed the identity: what was typed, and elsewhere
    /// the present values, so that sending it again changes no field that was not typed into.
    pub(super) fn merged(&self, shown: &Self, now: &Self) -> (Self, Vec<Difference>) {
        let mut merged = now.clone();
        let mut differences = Vec::new();
        let rows = FIELDS.iter().zip(&self.0).zip(&shown.0);
        for ((((field, label), typed), shown), now) in rows.zip(&mut merged.0) {
            let is_typed = !is_same(typed, shown);
            if !is_same(shown, now) {
                differences.push(Difference {
                    label,
                    was: legible(field, shown),
                    now: legible(field, now),
                    is_typed: is_typed && !is_same(typed, now),
                });
            }
            if is_typed {
                now.clone_from(typed);
            }
        }
        (merged, differences)
    }
}

/// Compares values as browsers send them: fields of one line have no line breaks.
fn is_same(one: &str, other: &str) -> bool {
    let visible = |text: &str| text.replace(['\r', '\n'], "");
    visible(one) == visible(other)
}

/// Writes a time as the rest of the page does.
fn legible(field: &str, value: &str) -> String {
    match field {
        "not_before" | "expires" => value.replacen('T', " ", 1),
        _ => value.to_owned(),
    }
}

fn minute(time: Option<Timestamp>) -> Option<u64> {
    time.map(|it| it.0.as_secs() / 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn terms(values: [&str; 5]) -> Terms {
        Terms(values.map(str::to_owned))
    }

    #[test]
    fn only_typed_fields_are_changed() {
        let shown = terms(["svc", "r", "a\r\nb", "", "2100-01-01T00:00"]);
        let typed = terms(["svc", "r", "ab", "", "2100-01-01 00:00"]);
        assert_eq!(typed.changes(&shown), Ok(Changes::default()));
        let typed = terms(["svc", "r", "new", "2027-01-01", ""]);
        let changes = typed.changes(&shown).unwrap();
        assert_eq!((changes.name, changes.realm), (None, None));
        assert_eq!(changes.comment, Some(Some("new".to_owned())));
        assert_eq!(changes.expires, Some(None));
        assert!(changes.not_before.is_some_and(|it| it.is_some()));
        let typed = terms(["svc", "r", "", "soon", "later"]);
        let errors = typed.changes(&shown).unwrap_err();
        let fields: Vec<_> = errors.iter().map(|(field, _)| *field).collect();
        assert_eq!(fields, ["not_before", "expires"]);
    }

    #[test]
    fn fields_that_were_not_typed_into_get_the_values_of_others() {
        let shown = terms(["svc", "r", "old", "", "2100-01-01T00:00"]);
        let typed = terms(["svc", "r", "mine", "", "2100-01-01T00:00"]);
        let now = terms(["svc", "r", "theirs", "2027-01-01T00:00", ""]);
        let (merged, differences) = typed.merged(&shown, &now);
        let expected = terms(["svc", "r", "mine", "2027-01-01T00:00", ""]);
        assert_eq!(merged, expected);
        let found: Vec<_> = differences
            .iter()
            .map(|it| (it.label, it.is_typed))
            .collect();
        let expected = [("Comment", true), ("Valid from", false), ("Expires", false)];
        assert_eq!(found, expected);
        assert_eq!(differences.last().unwrap().was, "2100-01-01 00:00");
        // Sent again, only the comment is changed.
        let changes = merged.changes(&now).unwrap();
        let expected = Changes {
            comment: Some(Some("mine".to_owned())),
            ..Changes::default()
        };
        assert_eq!(changes, expected);
    }
}
