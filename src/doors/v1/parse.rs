//! Parses JSON.

use serde::de::DeserializeOwned;

use super::problem::{Kind, Problem, field_error};

/// Parses JSON.
///
/// # Errors
/// 400 if it is not JSON, 422 if it is not as expected.
pub(super) fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    use serde_json::error::Category;

    // An array would be read as the members of an object in their order.
    if has_array(bytes) {
        return Err(Problem::invalid(vec![field_error("", "expected no array")]));
    }
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let parsed = serde_path_to_error::deserialize(&mut reader);
    let parsed = parsed.map_err(|error| {
        let field = error.path().to_string();
        let inner = error.into_inner();
        match inner.classify() {
            Category::Data => {
                let detail = inner.to_string();
                let detail = detail.split(" at line ").next().unwrap_or_default();
                let missing = detail.strip_prefix("missing field `");
                let missing = missing.and_then(|it| it.strip_suffix('`'));
                let field = missing.map_or(field.clone(), |it| format!("{field}.{it}"));
                // The path of the whole is a dot.
                let field = field.trim_start_matches('.');
                Problem::invalid(vec![field_error(field, detail)])
            }
            _ => Problem::new(Kind::Malformed).detail(format!("not JSON: {inner}")),
        }
    })?;
    let end = reader.end();
    end.map_err(|error| Problem::new(Kind::Malformed).detail(format!("not JSON: {error}")))?;
    Ok(parsed)
}

/// Parses a line of JSON. Its errors name the column only: the number of the line is not that in the request.
///
/// # Errors
/// Those of [`parse`].
pub(super) fn parse_line<T: DeserializeOwned>(line: &[u8]) -> Result<T, Problem> {
    parse(line).map_err(|problem| Problem {
        detail: problem
            .detail
            .map(|it| it.replace(" at line 1 column", " at column")),
        ..problem
    })
}

/// Returns whether JSON has an array.
fn has_array(json: &[u8]) -> bool {
    let (mut is_text, mut is_escaped) = (false, false);
    for byte in json {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = is_text,
            b'"' => is_text = !is_text,
            b'[' if !is_text => return true,
            _ => {}
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_in_a_line_names_a_column_and_no_other_line() {
        let detail = |problem: Problem| problem.detail.unwrap();
        let wrong = br#"{"name": }"#;
        let whole = detail(parse::<serde_json::Value>(wrong).unwrap_err());
        assert!(whole.ends_with("at line 1 column 10"), "{whole}");
        let line = detail(parse_line::<serde_json::Value>(wrong).unwrap_err());
        assert!(line.ends_with("value at column 10"), "{line}");
    }
}
