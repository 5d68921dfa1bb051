use http::StatusCode;

use super::response::Answer;

/// Answers OPTIONS: what the resource `name` is, and the fields that `method` takes, if the caller may use
/// one. No HTML is written here, so it is not named.
pub(super) fn describe(name: &str, method: Option<&str>, limit: usize) -> Answer {
    let text = |label: &str| {
        format!(
            r#"{{"type":"string","required":true,"read_only":false,"label":"{label}","max_length":{limit}}}"#
        )
    };
    let actions = method.map(|method| {
        format!(
            concat!(
                r#","actions":{{"{}":{{"#,
                r#""id":{{"type":"integer","required":false,"read_only":true,"label":"Id"}},"#,
                r#""name":{},"realm":{},"#,
                r#""seed":{{"type":"string","required":false,"read_only":true,"label":"Seed"}}}}}}"#,
            ),
            method,
            text("Name"),
            text("Realm"),
        )
    });
    let body = format!(
        concat!(
            r#"{{"name":"{}","description":"","renders":["application/json"],"#,
            r#""parses":["application/json","application/x-www-form-urlencoded","multipart/form-data"]{}}}"#,
        ),
        name,
        actions.unwrap_or_default(),
    );
    Answer::json(StatusCode::OK, body)
}
