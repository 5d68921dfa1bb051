use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use zeroize::Zeroizing;

/// An identity as the server shows it. `Debug` does not print the seed.
#[derive(Clone, Deserialize, Serialize)]
pub struct Registered {
    /// Its number.
    pub id: i64,
    /// Its name.
    pub name: String,
    /// Its realm.
    pub realm: String,
    /// Its seed in base32, where the server shows it: at creation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<String>,
}

impl fmt::Debug for Registered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registered")
            .field("id", &self.id)
            .field("name", &self.name)
            .field("realm", &self.realm)
            .finish_non_exhaustive()
    }
}

/// The fields of a request.
#[derive(Default)]
pub(super) struct Body(Vec<(&'static str, Zeroizing<String>)>);

impl Body {
    pub(super) fn with(mut self, field: &'static str, value: &str) -> Self {
        self.0.push((field, Zeroizing::new(value.to_owned())));
        self
    }

    pub(super) fn to_json(&self) -> String {
        let fields = self.0.iter();
        let fields: Map<String, Value> = fields
            .map(|(field, value)| ((*field).to_owned(), Value::from(value.as_str())))
            .collect();
        Value::Object(fields).to_string()
    }
}

/// What a refusal says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Detail {
    /// The caller's credential was refused.
    NotAuthenticated,
    /// The caller may not do this, or the subject of a verification was refused.
    NotAllowed,
}

impl Detail {
    /// Reads the body of a 403.
    pub(super) fn read(body: &[u8]) -> Option<Self> {
        #[derive(Deserialize)]
        struct Refusal {
            detail: String,
        }
        let refusal: Refusal = serde_json::from_slice(body).ok()?;
        match &*refusal.detail {
            "Incorrect authentication credentials." => Some(Self::NotAuthenticated),
            "You do not have permission to perform this action." => Some(Self::NotAllowed),
            _ => None,
        }
    }
}

/// Puts what a 400 says of each field on one line.
pub(super) fn messages(body: &[u8]) -> Option<String> {
    let fields: Map<String, Value> = serde_json::from_slice(body).ok()?;
    let lines: Vec<String> = fields
        .iter()
        .map(|(field, what)| {
            let what = match what {
                Value::Array(messages) => {
                    let texts = messages.iter().filter_map(Value::as_str);
                    texts.collect::<Vec<_>>().join(" ")
                }
                Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            match field.as_str() {
                "detail" | "non_field_errors" => what,
                field => format!("{field}: {what}"),
            }
        })
        .collect();
    Some(lines.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_of_what_was_registered_shows_no_seed() {
        let created = Registered {
            id: 1,
            name: "n".into(),
            realm: "r".into(),
            seed: Some("JBSWY3DP".into()),
        };
        assert!(!format!("{created:?}").contains("JBSWY3DP"));
    }

    #[test]
    fn faults_of_fields_become_one_line() {
        let body = br#"{"name":["A.","B."],"realm":["C."]}"#;
        assert_eq!(messages(body).as_deref(), Some("name: A. B.; realm: C."));
        let body = br#"{"non_field_errors":["D."]}"#;
        assert_eq!(messages(body).as_deref(), Some("D."));
        assert_eq!(messages(b"<h1>"), None);
    }
}
