use http::StatusCode;

use super::response::ApiResponse;

/// Makes the response to OPTIONS: the name of the resource, and the fields of `method` if the
/// caller may use one. HTML is not supported, so it is not listed.
pub(super) fn describe(name: &str, method: Option<&str>, limit: usize) -> ApiResponse {
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
    ApiResponse::json(StatusCode::OK, body)
}
