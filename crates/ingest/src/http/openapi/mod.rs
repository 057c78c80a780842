//! The published description of the API, OpenAPI 3.1, from the table of routes, the schemas of the wire types and the
//! limits of the body readers.
//!
//! Law: what is not in it is not there, and what is in it is so; `scripts/api-check` sends generated requests to hold that.

mod bodies;
mod build;
pub(super) mod operation;
pub(super) mod page;
mod schemas;

use std::sync::LazyLock;

use axum::{
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
};
use serde_json::{Map, Value, json};

use super::routes;

static TEXT: LazyLock<String> = LazyLock::new(|| format!("{:#}\n", document()));

/// The document.
pub fn document() -> Value {
    let (parameters, headers) = operation::shared();
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "usher",
            "version": "1",
            "summary": "Customer onboardings: created, moved through phases, reminded of.",
            "description": "Within v1 nothing is removed, renamed or narrowed; fields and enum values may be added.",
            "license": {"name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "security": [{"BearerAuth": []}],
        "paths": routes::table().paths,
        "components": {
            "schemas": schemas::all(),
            "parameters": parameters,
            "headers": headers,
            "securitySchemes": {
                "BearerAuth": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "`Authorization: Bearer pivotal_...`, or `pivotal_test_...` for test records, which cause nothing outside. A revoked key is refused at once.",
                },
            },
        },
    })
}

/// The schemas of the document, by name; the other document, of what goes over NATS, has them, too.
pub(crate) fn schemas() -> Map<String, Value> {
    schemas::all()
}

/// `GET /api/v1/openapi.json`.
pub(super) async fn show() -> Response {
    let json = HeaderValue::from_static("application/json");
    ([(header::CONTENT_TYPE, json)], TEXT.as_str()).into_response()
}
