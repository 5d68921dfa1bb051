use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use realmgate_core::{Seed, trim};

/// An identity in a response. `Debug` does not print the seed.
#[derive(Clone, Deserialize, Serialize)]
pub struct Registered {
    /// The number; `None` if the server does not return it, as ungleich-otp 0.6 does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<i64>,
    /// The name.
    pub name: String,
    /// The realm.
    pub realm: String,
    /// The seed in base32. The server shows it only at creation.
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

impl Registered {
    /// Returns whether the server would store `name` and `realm`, trimmed, as this identity.
    pub(super) fn is(&self, name: &str, realm: &str) -> bool {
        self.name == trim(name) && self.realm == trim(realm)
    }

    /// Returns whether the response contains a valid seed.
    pub(super) fn has_seed(&self) -> bool {
        let seed = self.seed.as_deref();
        seed.is_some_and(|seed| Seed::from_base32(seed).is_ok())
    }
}

/// A value that must be a JSON object. Serde alone would also accept an array of its values.
pub(super) struct Object<T>(pub(super) T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Fields<T> {
            type Value = Object<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, fields: A) -> Result<Self::Value, A::Error> {
                T::deserialize(MapAccessDeserializer::new(fields)).map(Object)
            }
        }

        deserializer.deserialize_map(Fields(PhantomData))
    }
}

/// Describes the type of a body without showing a value.
pub(super) fn shape(body: &[u8]) -> &'static str {
    if body.is_empty() {
        return "an empty body";
    }
    match serde_json::from_slice(body) {
        Ok(Value::Null) => "null",
        Ok(Value::Bool(_)) => "true or false",
        Ok(Value::Number(_)) => "a number",
        Ok(Value::String(_)) => "a string",
        Ok(Value::Array(_)) => "a list of another form",
        Ok(Value::Object(_)) => "an object of another form",
        Err(_) => "a body that is not JSON",
    }
}

/// The response to a verification.
#[derive(Deserialize)]
pub(super) struct Verified {
    status: String,
}

impl Verified {
    /// Returns whether the token was accepted.
    pub(super) fn is_ok(&self) -> bool {
        self.status == "OK"
    }

    /// Returns the status if it is a short word, which cannot be a token or a seed.
    pub(super) fn word(&self) -> &str {
        let is_word =
            self.status.len() <= 16 && self.status.bytes().all(|byte| byte.is_ascii_alphabetic());
        if is_word { &self.status } else { "another" }
    }
}

/// The fields of a request body.
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

/// The detail of a 403.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Detail {
    /// The caller's credential was rejected.
    NotAuthenticated,
    /// The caller is not allowed to do this, or the subject's credential was rejected.
    NotAllowed,
}

impl Detail {
    /// Reads the body of a 403.
    pub(super) fn read(body: &[u8]) -> Option<Self> {
        #[derive(Deserialize)]
        struct Rejection {
            detail: String,
        }
        let Object(rejection) = serde_json::from_slice::<Object<Rejection>>(body).ok()?;
        match &*rejection.detail {
            "Incorrect authentication credentials." => Some(Self::NotAuthenticated),
            "You do not have permission to perform this action." => Some(Self::NotAllowed),
            _ => None,
        }
    }
}

/// The maximum number of characters shown of a 400.
const MESSAGE: usize = 1000;

/// Joins the messages of all fields of a 400 on one line.
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
    // Control characters from the server must not reach the terminal.
    let line = lines.join("; ");
    let shown = line.chars().take(MESSAGE);
    Some(
        shown
            .map(|char| if char.is_control() { ' ' } else { char })
            .collect(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_of_a_registered_identity_shows_no_seed() {
        let created = Registered {
            id: Some(1),
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
