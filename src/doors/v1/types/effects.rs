//! What routes do besides permitting.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::http::DEFAULT_REALM;

/// What applications and denied clients get.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Effects {
    /// The realm that browsers show when they ask for a password, or `none` if a 401 has no
    /// challenge.
    pub challenge: String,
    /// The form of error responses: `text` or `json`.
    pub errors: String,
    /// The headers of responses to denied requests.
    pub denial_headers: BTreeMap<String, String>,
    /// The headers that name the caller to the application.
    pub identity_headers: IdentityHeaders,
}

/// The headers that name the caller to an application; null for none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct IdentityHeaders {
    /// The header with the name.
    pub name: Option<String>,
    /// The header with the realm.
    pub realm: Option<String>,
    /// The header with NAME@REALM.
    pub user: Option<String>,
}

impl Effects {
    /// Describes the responses to denied requests; `None` if they are the default ones.
    pub fn denials(&self) -> Option<String> {
        let mut texts = Vec::new();
        if self.challenge != DEFAULT_REALM {
            texts.push(format!("challenge {}", self.challenge));
        }
        if self.errors != "text" {
            texts.push(format!("errors {}", self.errors));
        }
        let headers = self.denial_headers.iter();
        texts.extend(headers.map(|(name, value)| format!("{name}: {value}")));
        (!texts.is_empty()).then(|| texts.join(", "))
    }
}

impl fmt::Display for IdentityHeaders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [
            ("name", &self.name),
            ("realm", &self.realm),
            ("user", &self.user),
        ];
        let parts = parts.into_iter();
        let parts =
            parts.filter_map(|(part, header)| Some(format!("{} ({part})", header.as_ref()?)));
        f.write_str(&parts.collect::<Vec<_>>().join(", "))
    }
}
