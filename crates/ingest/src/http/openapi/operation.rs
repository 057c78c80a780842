//! One operation of the document: what a request may bring, and every answer it may get.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use usher_lifecycle::{Phase, Scope, State, customer::CustomerStatus};

use super::build::{FILLED, at, filled, form, of, one_of, told, with, within};

/// A group of query parameters.
pub(in crate::http) type Query = fn() -> Vec<(&'static str, Value)>;

/// Where a list goes on.
pub(in crate::http) const PAGE: Query = || {
    let cursor = told(at(), "Only what is strictly older; the `next_cursor` of the part before.");
    vec![("limit", with(within(1, 100), json!({"default": 25}))), ("cursor", cursor)]
};

/// Filters of customers.
pub(in crate::http) const CUSTOMERS: Query = || {
    let names = CustomerStatus::ALL.map(CustomerStatus::as_str);
    let text = || filled(300);
    vec![("status", one_of(names)), ("slug", text()), ("external_id", text()), ("domain", text())]
};

/// Filters of onboardings.
pub(in crate::http) const ONBOARDINGS: Query = || {
    let since = "Changed at or after.";
    vec![
        ("customer_id", filled(300)),
        ("state", one_of(State::ALL.map(State::as_str))),
        ("phase", one_of(Phase::ALL.map(Phase::as_str))),
        ("csm_id", filled(300)),
        ("template_id", filled(300)),
        ("updated_since", told(super::build::instant(), since)),
        ("due_before", told(super::build::instant(), "Whose next reminder is due before.")),
    ]
};

/// An operation under construction.
#[expect(clippy::struct_excessive_bools, reason = "each is a property of an operation of its own")]
pub(in crate::http) struct Operation {
    id: &'static str,
    summary: &'static str,
    keyless: bool,
    tagged: bool,
    matched: bool,
    repeatable: bool,
    body: Option<(&'static str, bool)>,
    query: Vec<Query>,
    success: (u16, &'static str),
    /// Statuses with another body than the error envelope.
    others: Vec<(u16, &'static str)>,
    refusals: Vec<u16>,
}

/// An operation of that id and summary.
pub(in crate::http) fn op(id: &'static str, summary: &'static str) -> Operation {
    Operation {
        id,
        summary,
        keyless: false,
        tagged: false,
        matched: false,
        repeatable: false,
        body: None,
        query: Vec::new(),
        success: (200, "object"),
        others: Vec::new(),
        refusals: Vec::new(),
    }
}

impl Operation {
    /// Answers so when all is well.
    pub(in crate::http) fn gives(self, status: u16, schema: &'static str) -> Self {
        Self { success: (status, schema), ..self }
    }

    /// May answer so as well.
    pub(in crate::http) fn may_give(mut self, status: u16, schema: &'static str) -> Self {
        self.others.push((status, schema));
        self
    }

    /// May be refused with that status, beside those that follow from the rest.
    pub(in crate::http) fn refuses(mut self, status: u16) -> Self {
        self.refusals.push(status);
        self
    }

    /// Needs no key.
    pub(in crate::http) fn keyless(self) -> Self {
        Self { keyless: true, ..self }
    }

    /// The answer has an `ETag`.
    pub(in crate::http) fn tagged(self) -> Self {
        Self { tagged: true, ..self }
    }

    /// Heeds `If-Match`.
    pub(in crate::http) fn matched(self) -> Self {
        Self { matched: true, ..self }.refuses(412)
    }

    /// Heeds `Idempotency-Key`.
    pub(in crate::http) fn repeatable(self) -> Self {
        Self { repeatable: true, ..self }.refuses(400).refuses(409)
    }

    /// Takes that body.
    pub(in crate::http) fn takes(self, schema: &'static str) -> Self {
        Self { body: Some((schema, true)), ..self }.refuses(400).refuses(413).refuses(415)
    }

    /// The body may be left out.
    pub(in crate::http) fn optional(self) -> Self {
        let body = self.body.map(|(schema, _)| (schema, false));
        Self { body, ..self }
    }

    /// A POST that creates.
    pub(in crate::http) fn creates(self, body: &'static str, schema: &'static str) -> Self {
        self.takes(body).gives(201, schema).tagged().repeatable()
    }

    /// A PATCH.
    pub(in crate::http) fn changes(self, body: &'static str, schema: &'static str) -> Self {
        self.takes(body).gives(200, schema).tagged().matched().refuses(409)
    }

    /// A DELETE.
    pub(in crate::http) fn deletes(self) -> Self {
        self.gives(200, "Deleted").matched()
    }

    /// A list.
    pub(in crate::http) fn lists(self, schema: &'static str, query: &[Query]) -> Self {
        Self { query: query.to_vec(), ..self }.gives(200, schema).refuses(400)
    }

    /// The operation object of the document.
    pub(in crate::http) fn published(self, path: &str, scope: Option<Scope>) -> Value {
        let needs = match (self.keyless, scope) {
            (true, _) => "Needs no key.".to_owned(),
            (false, None) => "Any key will do.".to_owned(),
            (false, Some(scope)) => format!("Needs the scope `{scope}`."),
        };
        let tag = path.trim_start_matches("/api/v1").trim_start_matches('/').split('/').next();
        let mut published = json!({
            "operationId": self.id,
            "summary": self.summary,
            "description": needs,
            "tags": [tag],
            "responses": self.responses(path, scope),
        });
        if self.keyless {
            published["security"] = json!([]);
        }
        let parameters = self.parameters(path);
        if !parameters.is_empty() {
            published["parameters"] = parameters.into();
        }
        if let Some((schema, required)) = self.body {
            published["requestBody"] =
                json!({"required": required, "content": {"application/json": {"schema": of(schema)}}});
        }
        published
    }

    fn parameters(&self, path: &str) -> Vec<Value> {
        let parameter = |place: &str, name: &str, required: bool, schema: Value| json!({"name": name, "in": place, "required": required, "schema": schema});
        let mut all = Vec::new();
        if path.contains("{id}") {
            let id = told(
                with(filled(300), json!({"pattern": FILLED})),
                "The id, or a display_id where the kind has one.",
            );
            all.push(parameter("path", "id", true, id));
        }
        let query = self.query.iter().flat_map(|group| group());
        all.extend(query.map(|(name, schema)| parameter("query", name, false, schema)));
        if self.repeatable {
            all.push(json!({"$ref": "#/components/parameters/IdempotencyKey"}));
        }
        if self.matched {
            all.push(json!({"$ref": "#/components/parameters/IfMatch"}));
        }
        all
    }

    fn responses(&self, path: &str, scope: Option<Scope>) -> Map<String, Value> {
        let mut all = BTreeMap::new();
        let mut headers = json!({"X-Request-Id": header("RequestId")});
        if !self.keyless {
            for name in ["Limit", "Remaining", "Reset"] {
                headers[format!("X-RateLimit-{name}")] = header(&format!("RateLimit{name}"));
            }
        }
        let mut good = headers.clone();
        if self.tagged {
            good["ETag"] = header("ETag");
        }
        if self.repeatable {
            good["Idempotent-Replayed"] = header("IdempotentReplayed");
        }
        let (status, schema) = self.success;
        all.insert(status, answer(status, schema, &good));
        for (status, schema) in &self.others {
            all.insert(*status, answer(*status, schema, &headers));
        }
        let mut refusals = self.refusals.clone();
        if !self.keyless {
            refusals.extend([401, 429, 500, 503]);
        }
        if scope.is_some() {
            refusals.push(403);
        }
        if path.contains("{id}") {
            refusals.push(404);
        }
        for status in refusals {
            let mut headers = headers.clone();
            if matches!(status, 429 | 503) {
                headers["Retry-After"] = header("RetryAfter");
            }
            if status == 401 {
                headers =
                    json!({"X-Request-Id": header("RequestId"), "WWW-Authenticate": header("Authenticate")});
            }
            all.insert(status, answer(status, "Error", &headers));
        }
        all.into_iter().map(|(status, answer)| (status.to_string(), answer)).collect()
    }
}

fn header(name: &str) -> Value {
    json!({"$ref": format!("#/components/headers/{name}")})
}

fn answer(status: u16, schema: &str, headers: &Value) -> Value {
    let (media, schema) = match schema {
        "metrics" => ("application/openmetrics-text", json!({"type": "string"})),
        "page" => ("text/html", json!({"type": "string"})),
        "object" => ("application/json", json!({"type": "object"})),
        name => ("application/json", of(name)),
    };
    json!({"description": word(status), "headers": headers, "content": {media: {"schema": schema}}})
}

const fn word(status: u16) -> &'static str {
    match status {
        200 => "Done",
        201 => "Created",
        202 => "Taken; it happens soon",
        400 => "The request is wrong as it stands",
        401 => "Missing, unknown or revoked API key",
        403 => "The key lacks the scope",
        404 => "Not there",
        409 => "In conflict with what is there",
        412 => "`If-Match` is stale",
        413 => "The body is too large",
        415 => "The body is not JSON by its own account",
        429 => "Too many requests",
        503 => "The database is away; the same request may be sent again",
        _ => "A fault of ours; it is logged under the `X-Request-Id`",
    }
}

/// The parameters and headers that operations share.
pub(super) fn shared() -> (Value, Value) {
    let key = told(
        form("^[\\u0020-\\u007e]{1,255}$", 255),
        "1 to 255 printable ASCII characters. The same key and body get the first answer again, for 24 hours.",
    );
    let etag = "^\\*$|^(W/)?\"[0-9]{1,18}\"$";
    let tag = told(
        form(etag, 24),
        "The `ETag` of the record as it was read; `*` is any. Anything else is a version that no record has.",
    );
    let parameters = json!({
        "IdempotencyKey": {"name": "Idempotency-Key", "in": "header", "required": false, "schema": with(key, json!({"minLength": 1}))},
        "IfMatch": {"name": "If-Match", "in": "header", "required": false, "schema": tag, "examples": {"version": {"value": "\"3\""}}},
    });
    let head = |about: &str, required: bool, schema: Value| json!({"description": about, "required": required, "schema": schema});
    let number = || json!({"type": "integer", "minimum": 0});
    let headers = json!({
        "RequestId": head("Yours if it is 1 to 128 letters, digits and `-_.:`, else a new one.", true, json!({"type": "string"})),
        "ETag": head("The version, in quotes. Not on a replayed answer.", false, form(etag, 24)),
        "IdempotentReplayed": head("`true` when this is the stored answer of an earlier request.", false, one_of(["true"])),
        "RateLimitLimit": head("Requests in any 60 seconds. Absent when the key has no limit, as the two beside it.", false, number()),
        "RateLimitRemaining": head("What is left of it.", false, number()),
        "RateLimitReset": head("When one more is free than now, in unix seconds.", false, number()),
        "RetryAfter": head("In how many seconds the next try makes sense.", true, number()),
        "Authenticate": head("`Bearer`.", true, json!({"type": "string"})),
    });
    (parameters, headers)
}
