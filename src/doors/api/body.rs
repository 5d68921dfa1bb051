use super::field::{self, Fault, TokenText, Value};

/// The fields with a meaning. All others are ignored.
pub(super) const KNOWN: [&str; 10] = [
    "auth_name",
    "auth_realm",
    "auth_token",
    "name",
    "realm",
    "token",
    "verifyname",
    "verifyrealm",
    "verifytoken",
    "client_address",
];

/// The values of known fields.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Fields(Vec<(Known, Value)>);

/// A field of [`KNOWN`], by its place there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Known(usize);

impl Fields {
    /// Sets a field.
    pub(super) fn set(&mut self, field: Known, value: Value) {
        if let Some((_, old)) = self.0.iter_mut().find(|(known, _)| *known == field) {
            *old = value;
            return;
        }
        if self.0.capacity() == 0 {
            self.0.reserve_exact(KNOWN.len());
        }
        self.0.push((field, value));
    }

    fn get(&self, name: &str) -> Option<&Value> {
        let field = known(name)?;
        let found = self.0.iter().find(|(known, _)| *known == field);
        found.map(|(_, value)| value)
    }
}

/// A parsed request body.
pub(super) enum Body {
    /// The known fields of an object or a form; none for an empty body.
    Fields(Fields),
    /// `null`.
    Null,
    /// JSON of another type, with Python's name of the type.
    Other(&'static str),
}

impl Body {
    /// Returns whether at least one of the fields is present, whatever its value.
    pub(super) fn has_any(&self, names: [&str; 3]) -> bool {
        names.into_iter().any(|name| self.has(name))
    }

    /// Returns whether a field is present, whatever its value.
    pub(super) fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// Returns the text of a field, as [`field::text`] does.
    ///
    /// # Errors
    /// The faults of the field.
    pub(super) fn text(&self, name: &str, limit: usize) -> Result<&str, Vec<Fault>> {
        field::text(self.get(name), limit)
    }

    /// Returns the token in a field, as [`field::token`] does.
    ///
    /// # Errors
    /// The faults of the field.
    pub(super) fn token(&self, name: &str) -> Result<TokenText<'_>, Vec<Fault>> {
        field::token(self.get(name))
    }

    /// Returns ungleich-otp's message if the body cannot have fields.
    pub(super) fn fault(&self) -> Option<String> {
        match self {
            Self::Fields(_) => None,
            Self::Null => Some("No data provided".to_owned()),
            Self::Other(kind) => Some(format!(
                "Invalid data. Expected a dictionary, but got {kind}."
            )),
        }
    }

    fn get(&self, name: &str) -> Option<&Value> {
        match self {
            Self::Fields(fields) => fields.get(name),
            Self::Null | Self::Other(_) => None,
        }
    }
}

/// Returns the known field with this name.
pub(super) fn known(name: &str) -> Option<Known> {
    KNOWN.iter().position(|known| *known == name).map(Known)
}
