use http::StatusCode;

use super::body::Body;
use super::encode::quote;
use super::field::Fault;
use super::response::{ApiResponse, Spacing};

/// The faults of the fields of a body.
pub(super) struct Errors(Vec<(&'static str, Vec<String>)>);

impl Errors {
    /// Begins with the fault of the body as a whole, if it has one.
    pub(super) fn new(body: &Body) -> Self {
        let whole = body.fault().map(|text| ("non_field_errors", vec![text]));
        Self(whole.into_iter().collect())
    }

    /// Returns the value of a field, or records its faults.
    pub(super) fn take<T>(&mut self, name: &'static str, read: Result<T, Vec<Fault>>) -> Option<T> {
        match read {
            Ok(text) => Some(text),
            Err(faults) => {
                // If the body cannot have fields, that is its only fault.
                if !matches!(self.0.first(), Some(("non_field_errors", _))) {
                    let faults = faults.iter().map(ToString::to_string).collect();
                    self.0.push((name, faults));
                }
                None
            }
        }
    }

    /// Returns whether there are no faults.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Makes the 400 that lists all faults.
    pub(super) fn response(&self, spacing: Spacing) -> ApiResponse {
        let (colon, comma) = match spacing {
            Spacing::Wide => (": ", ", "),
            Spacing::Compact => (":", ","),
        };
        let fields: Vec<String> = self
            .0
            .iter()
            .map(|(name, messages)| {
                let messages: Vec<String> = messages.iter().map(|text| quote(text)).collect();
                format!("{}{colon}[{}]", quote(name), messages.join(comma))
            })
            .collect();
        let body = format!("{{{}}}", fields.join(comma));
        ApiResponse::spaced(StatusCode::BAD_REQUEST, body, spacing)
    }
}
