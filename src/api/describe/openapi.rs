//! The API as an OpenAPI 3.1 document.
//!
//! The protocol has one path and names the action in a header; OpenAPI wants a
//! path for each operation. A fragment tells them apart here, which clients do
//! not send. Parameters stand in the form body, where nothing writes them into
//! a log; the query takes them as well.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::{Description, ErrorCode, Kind, Member, MemberKind, Parameter, all, errors};

/// The OpenAPI document of all actions.
#[must_use]
pub fn openapi() -> Value {
    let mut paths = Map::new();
    for description in all() {
        paths.insert(format!("/#{}", description.name), json!({ "post": operation(description) }));
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Strongroom",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Alibaba Cloud's KMS and RAM APIs in RPC style, as this appliance serves them. \
                Every path is /; what follows the # only tells the operations apart. \
                Parameters may stand in the form body or in the query.",
        },
        "paths": paths,
        "security": [{ "signature": [] }],
        "components": {
            "securitySchemes": {
                "signature": {
                    "type": "apiKey",
                    "in": "header",
                    "name": "Authorization",
                    "description": "ACS3-HMAC-SHA256 Credential=…,SignedHeaders=…,Signature=… (docs/contract/kms-secrets.md section 2.5); the older V1 signature in the query is served as well.",
                },
            },
            "schemas": { "Error": error_body() },
        },
    })
}

fn operation(description: &Description) -> Value {
    let mut operation = json!({
        "operationId": description.name,
        "tags": [description.service.name()],
        "summary": description.summary,
        "description": description.right_in_words("`") + ".",
        "parameters": [
            header("x-acs-action", description.name),
            header("x-acs-version", description.service.version()),
        ],
        "responses": responses(description),
    });
    if !description.parameters.is_empty()
        && let Some(members) = operation.as_object_mut()
    {
        members.insert(
            "requestBody".to_owned(),
            json!({
                "required": description.parameters.iter().any(|p| p.required),
                "content": { "application/x-www-form-urlencoded": { "schema": form(description.parameters) } },
            }),
        );
    }
    operation
}

fn header(name: &str, value: &str) -> Value {
    json!({ "name": name, "in": "header", "required": true, "schema": { "type": "string", "const": value } })
}

fn form(parameters: &[Parameter]) -> Value {
    let (mut properties, mut patterns) = (Map::new(), Map::new());
    for parameter in parameters {
        if parameter.is_repeated() {
            let name = parameter.name.replace('.', "\\.").replace("\\.N", "\\.[1-9][0-9]{0,1}");
            let name = name.strip_suffix('*').map_or_else(|| name.clone(), |open| format!("{open}.+"));
            patterns.insert(format!("^{name}$"), value_schema(parameter));
        } else {
            properties.insert(parameter.name.to_owned(), value_schema(parameter));
        }
    }
    let required: Vec<&str> =
        parameters.iter().filter(|p| p.required && !p.is_repeated()).map(|p| p.name).collect();
    let mut schema = json!({ "type": "object", "properties": properties, "additionalProperties": false });
    if let Some(members) = schema.as_object_mut() {
        if !patterns.is_empty() {
            members.insert("patternProperties".to_owned(), patterns.into());
        }
        if !required.is_empty() {
            members.insert("required".to_owned(), required.into());
        }
    }
    schema
}

fn value_schema(parameter: &Parameter) -> Value {
    let mut schema = Map::new();
    schema.insert("description".to_owned(), parameter.text.into());
    let mut limit = |name: &str, limit: Option<u64>| {
        if let Some(limit) = limit {
            schema.insert(name.to_owned(), limit.into());
        }
    };
    let kind = match parameter.kind {
        Kind::Integer => {
            limit("minimum", parameter.min);
            limit("maximum", parameter.max);
            "integer"
        }
        Kind::Boolean => "boolean",
        Kind::Base64 | Kind::Json | Kind::String => {
            limit("minLength", parameter.min);
            let bytes = parameter.max_bytes.and_then(|bytes| u64::try_from(bytes).ok());
            limit("maxLength", parameter.max.or(bytes));
            "string"
        }
    };
    schema.insert("type".to_owned(), kind.into());
    match parameter.kind {
        Kind::Json => drop(schema.insert("contentMediaType".to_owned(), "application/json".into())),
        Kind::Base64 => drop(schema.insert("contentEncoding".to_owned(), "base64".into())),
        Kind::Boolean | Kind::Integer | Kind::String => {}
    }
    if !parameter.values.is_empty() {
        schema.insert("enum".to_owned(), parameter.values.into());
    }
    if let Some(pattern) = parameter.pattern {
        schema.insert("pattern".to_owned(), format!("^(?:{pattern})$").into());
    }
    if let Some(default) = parameter.default {
        schema.insert("default".to_owned(), typed(parameter.kind, default));
    }
    if let Some(example) = parameter.example {
        schema.insert("examples".to_owned(), json!([typed(parameter.kind, example)]));
    }
    Value::Object(schema)
}

fn typed(kind: Kind, text: &str) -> Value {
    let read = match kind {
        Kind::Integer => text.parse::<u64>().ok().map(Value::from),
        Kind::Boolean => text.parse::<bool>().ok().map(Value::from),
        Kind::Base64 | Kind::Json | Kind::String => None,
    };
    read.unwrap_or_else(|| text.into())
}

fn responses(description: &Description) -> Value {
    let mut responses = Map::new();
    responses.insert(
        "200".to_owned(),
        json!({
            "description": "Done.",
            "content": { "application/json": { "schema": description.answer_schema() } },
        }),
    );
    let mut by_status: BTreeMap<u16, Vec<&ErrorCode>> = BTreeMap::new();
    for error in description.error_codes() {
        by_status.entry(error.status).or_default().push(error);
    }
    for (status, errors) in by_status {
        let codes: Vec<&str> = errors.iter().map(|e| e.code).collect();
        responses.insert(
            status.to_string(),
            json!({
                "description": codes.join(", "),
                "content": { "application/json": { "schema": {
                    "allOf": [
                        { "$ref": "#/components/schemas/Error" },
                        { "properties": { "Code": { "enum": codes }, "HttpStatus": { "const": status } } },
                    ],
                } } },
            }),
        );
    }
    Value::Object(responses)
}

fn error_body() -> Value {
    let all: Vec<&str> = errors().iter().map(|e| e.code).collect();
    json!({
        "type": "object",
        "required": ["RequestId", "HostId", "HttpStatus", "Code", "Message", "Recommend"],
        "properties": {
            "RequestId": { "type": "string" },
            "HostId": { "type": "string" },
            "HttpStatus": { "type": "integer" },
            "Code": { "type": "string", "enum": all },
            "Message": { "type": "string" },
            "Recommend": { "type": "string" },
            "AccessDeniedDetail": { "type": "object" },
        },
    })
}

/// A member of an answer with those below it.
#[derive(Default)]
struct Node<'a> {
    leaf: Option<&'a Member>,
    is_array: bool,
    below: BTreeMap<&'a str, Node<'a>>,
}

impl<'a> Node<'a> {
    fn add(&mut self, member: &'a Member) {
        let mut node = self;
        for part in member.name.split('.') {
            let name = part.strip_suffix("[]");
            node = node.below.entry(name.unwrap_or(part)).or_default();
            node.is_array |= name.is_some();
        }
        node.leaf = Some(member);
    }

    /// A wrapper is there unless it is said to be optional, or nothing in it has to be.
    fn is_required(&self) -> bool {
        match self.leaf {
            Some(member) => !member.optional,
            None => self.below.values().any(Self::is_required),
        }
    }

    fn schema(&self) -> Value {
        let mut schema = if self.below.is_empty() {
            self.leaf.map_or_else(|| json!({}), leaf_schema)
        } else {
            let required: Vec<&str> =
                self.below.iter().filter(|(_, node)| node.is_required()).map(|(name, _)| *name).collect();
            let properties: Map<String, Value> =
                self.below.iter().map(|(name, node)| ((*name).to_owned(), node.schema())).collect();
            json!({ "type": "object", "properties": properties, "required": required, "additionalProperties": false })
        };
        if let (Some(member), Some(members)) = (self.leaf, schema.as_object_mut()) {
            members.insert("description".to_owned(), member.text.into());
        }
        if self.is_array { json!({ "type": "array", "items": schema }) } else { schema }
    }
}

fn leaf_schema(member: &Member) -> Value {
    match member.kind {
        MemberKind::Boolean => json!({ "type": "boolean" }),
        MemberKind::Integer => json!({ "type": "integer" }),
        MemberKind::Object => json!({ "type": "object" }),
        MemberKind::Base64 => json!({ "type": "string", "contentEncoding": "base64" }),
        MemberKind::Json => json!({ "type": "string", "contentMediaType": "application/json" }),
        MemberKind::Secret | MemberKind::String => json!({ "type": "string" }),
        // Some moments are empty texts while they are not set.
        MemberKind::Time => {
            json!({ "type": "string", "pattern": "^([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z)?$" })
        }
    }
}

impl Description {
    /// The JSON schema of the action's answer.
    #[must_use]
    pub fn answer_schema(&self) -> Value {
        let request_id = Member {
            name: "RequestId",
            kind: MemberKind::String,
            optional: false,
            text: "The id of the call, by which the audit journal knows it.",
        };
        let mut root = Node::default();
        root.add(&request_id);
        for member in self.answer {
            root.add(member);
        }
        root.schema()
    }
}
