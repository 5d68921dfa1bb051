use http::StatusCode;

use super::body::Body;
use super::encode::quote;
use super::field::Fault;
use super::response::{Answer, Spacing};

/// What is wrong with the fields of a body.
pub(super) struct Errors(Vec<(&'static str, Vec<String>)>);

impl Errors {
    /// Starts with what is wrong with the body as a whole.
    pub(super) fn new(body: &Body) -> Self {
        let whole = body.fault().map(|text| ("non_field_errors", vec![text]));
        Self(whole.into_iter().collect())
    }

    /// Returns what a field holds, or keeps its faults.
    pub(super) fn take<T>(&mut self, name: &'static str, read: Result<T, Vec<Fault>>) -> Option<T> {
        match read {
            Ok(text) => Some(text),
            Err(faults) => {
                // A body that has no fields is not to blame for each of them.
                if !matches!(self.0.first(), Some(("non_field_errors", _))) {
                    let faults = faults.iter().map(ToString::to_string).collect();
                    self.0.push((name, faults));
                }
                None
            }
        }
    }

    /// Says whether nothing is wrong.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Makes the 400 that names them all.
    pub(super) fn answer(&self, spacing: Spacing) -> Answer {
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
        Answer::spaced(StatusCode::BAD_REQUEST, body, spacing)
    }
}
