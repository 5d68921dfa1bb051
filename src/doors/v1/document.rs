//! The OpenAPI document.

use std::sync::LazyLock;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::StatusCode;
use utoipa::openapi::extensions::ExtensionsBuilder;
use utoipa::openapi::path::Operation;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{
    Content, ContentBuilder, HeaderBuilder, OpenApi as Document, Ref, RefOr, ResponseBuilder,
    SecurityRequirement, path::Paths,
};
use utoipa::{Modify, OpenApi};

use super::call::response;
use super::{
    attention, audit, change, create, decide, explain, identities, keys, realms, routes, status,
    types,
};

/// The text of the document.
static TEXT: LazyLock<Bytes> = LazyLock::new(|| {
    let text = document().to_pretty_json().unwrap_or_default();
    // utoipa 5.5 writes this member of a link in snake case.
    text.replace("\"operation_id\":", "\"operationId\":").into()
});

/// Returns the OpenAPI document of `/v1`.
pub fn document() -> Document {
    Api::openapi()
}

/// Show the OpenAPI document
#[utoipa::path(
    get, path = "/v1/openapi.json", operation_id = "get_openapi", tag = "server",
    security(()),
    responses((status = 200, body = Object, description = "OpenAPI 3.1")),
)]
pub(super) async fn openapi() -> Response {
    response(StatusCode::OK, "application/json", Body::from(TEXT.clone()))
}

#[derive(OpenApi)]
#[openapi(
    info(
        title = "realmgate",
        description = "Administration of realmgate. Each request carries a token, as HTTP Basic with NAME@REALM as the user or in three headers. All failures are problem documents (RFC 9457) with stable types.",
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
    ),
    servers((url = "/", description = "This server")),
    paths(
        identities::list,
        create::create,
        create::bulk,
        identities::export,
        identities::read,
        change::patch,
        change::delete,
        change::rotate,
        change::disable,
        change::enable,
        change::unthrottle,
        realms::realms,
        decide::decide,
        decide::changes,
        explain::explain,
        routes::routes,
        audit::lines,
        keys::keys,
        status::status,
        attention::attention,
        openapi,
    ),
    components(schemas(
        types::Problem,
        types::Line,
        types::Sort,
        types::AuditEvent,
        types::AuditReason
    )),
    modifiers(&Common),
)]
struct Api;

/// Adds what all operations have in common: credentials and problems.
struct Common;

/// The problems that depend on the operation, besides those of all.
const PROBLEMS: &[(&str, &[(u16, &str)])] = &[
    (
        "create_identity",
        &[
            (409, "Another identity has that name in that realm"),
            (
                410,
                "An earlier request with the key created it, and it was deleted or rotated since",
            ),
        ],
    ),
    (
        "change_identity",
        &[
            (409, "Another identity has that name in that realm"),
            (412, "It has changed since"),
        ],
    ),
    (
        "rotate_identity",
        &[
            (409, "The seed before is still valid"),
            (412, "It has changed since"),
        ],
    ),
    ("disable_identity", &[(412, "It has changed since")]),
    ("enable_identity", &[(412, "It has changed since")]),
    ("unthrottle_identity", &[(412, "It has changed since")]),
    ("delete_identity", &[(412, "It has changed since")]),
    ("list_audit_lines", &[(404, "This node has no audit log")]),
];

impl Modify for Common {
    fn modify(&self, document: &mut Document) {
        document.info.version = env!("CARGO_PKG_VERSION").to_owned();
        let components = document.components.get_or_insert_default();
        let basic = HttpBuilder::new()
            .scheme(HttpAuthScheme::Basic)
            .description(Some("NAME@REALM and a token"));
        components.add_security_scheme("basic", SecurityScheme::Http(basic.build()));
        let mut headers = SecurityRequirement::default();
        for (scheme, name) in [
            ("name", "X-Auth-Name"),
            ("realm", "X-Auth-Realm"),
            ("token", "X-Auth-Token"),
        ] {
            let key = SecurityScheme::ApiKey(ApiKey::Header(ApiKeyValue::new(name)));
            components.add_security_scheme(scheme, key);
            headers = headers.add::<_, [&str; 0], _>(scheme, []);
        }
        let basic = SecurityRequirement::new::<_, [&str; 0], _>("basic", []);
        document.security = Some(vec![basic, headers]);
        for operation in operations(&mut document.paths) {
            describe_lines(operation);
            describe(operation);
        }
    }
}

fn operations(paths: &mut Paths) -> impl Iterator<Item = &mut Operation> {
    paths.paths.values_mut().flat_map(|path| {
        [
            &mut path.get,
            &mut path.post,
            &mut path.patch,
            &mut path.delete,
        ]
        .into_iter()
        .flatten()
    })
}

/// The media type of lines of JSON.
const NDJSON: &str = "application/x-ndjson";

/// The operations with lines of JSON: the schemas of a line of the request and of the response.
const LINES: &[(&str, &str, &str)] = &[
    ("create_identities", "NewIdentity", "Line"),
    ("export_identities", "", "Identity"),
];

/// Adds the schemas of lines of JSON. OpenAPI 3.1 describes a body only as a whole, a text here; 3.2
/// has `itemSchema` for what the extension says.
fn describe_lines(operation: &mut Operation) {
    let id = operation.operation_id.clone().unwrap_or_default();
    let Some((_, asked, answered)) = LINES.iter().find(|(of, ..)| *of == id) else {
        return;
    };
    let add = |content: Option<&mut Content>, schema: &str| {
        let line = serde_json::json!({ "$ref": format!("#/components/schemas/{schema}") });
        let extensions = ExtensionsBuilder::new().add("x-item-schema", line).build();
        if let Some(content) = content {
            content.extensions = Some(extensions);
        }
    };
    if let Some(body) = &mut operation.request_body {
        add(body.content.get_mut(NDJSON), asked);
    }
    if let Some(RefOr::T(response)) = operation.responses.responses.get_mut("200") {
        add(response.content.get_mut(NDJSON), answered);
    }
}

/// Adds the problems of an operation.
fn describe(operation: &mut Operation) {
    let id = operation.operation_id.clone().unwrap_or_default();
    if id == "get_openapi" {
        return;
    }
    let mut problems = vec![
        (
            400,
            "The request cannot be parsed, or has a parameter that is wrong or unknown",
        ),
        (401, "The request has no valid credential"),
        (403, "The caller may not do this"),
        (429, "Too many failures; the credential was not evaluated"),
        (
            503,
            "The store or the audit log is not available; `type` says whether a change was made",
        ),
    ];
    if operation.request_body.is_some() {
        problems.extend([
            (408, "The body came too slowly"),
            (413, "The body is too large"),
            (415, "The body has another media type"),
        ]);
        if id != "create_identities" {
            problems.push((422, "The body has values that are not allowed"));
        }
    }
    let params = operation.parameters.iter().flatten();
    if params.into_iter().any(|it| it.name == "who") {
        problems.push((404, "There is no such identity"));
    }
    let own = PROBLEMS.iter().find(|(of, _)| *of == id);
    problems.extend(own.iter().flat_map(|(_, own)| own.iter().copied()));
    problems.sort_unstable();
    for (status, description) in problems {
        let content = ContentBuilder::new()
            .schema(Some(RefOr::Ref(Ref::from_schema_name("Problem"))))
            .build();
        let mut response = ResponseBuilder::new()
            .description(description)
            .content("application/problem+json", content);
        let header = |text| HeaderBuilder::new().description(Some(text)).build();
        if status == 429 {
            response = response.header("Retry-After", header("The rest of the delay in seconds"));
        }
        if status == 401 {
            response = response.header("WWW-Authenticate", header("Basic"));
        }
        let responses = &mut operation.responses.responses;
        responses.insert(status.to_string(), RefOr::T(response.build()));
    }
}
