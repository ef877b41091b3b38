//! The OpenAPI document of the client API: made from the types the handlers use, kept in `docs/openapi.json`, served
//! by the Coordinator, and true about which paths and methods there are.

mod operations;

use std::collections::BTreeSet;
use std::path::PathBuf;

use marblerun_wire::rest::path;
use operations::{Operation, Who, all};
use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use crate::support::program::start;

/// Set to write the document anew instead of comparing.
const RENEW: &str = "RENEW_OPENAPI";

fn file() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/openapi.json")
}

/// What a reply of this kind looks like (JSend).
fn envelope(statuses: &[&str], data: &Value) -> Value {
    json!({
        "type": "object",
        "required": ["status", "data"],
        "properties": {
            "status": {"enum": statuses},
            "data": data,
            "message": {"type": "string", "description": "Left out when empty."},
        },
    })
}

fn json_content(schema: &Value) -> Value {
    json!({"application/json": {"schema": schema}})
}

fn item(operation: &Operation, requests: &mut SchemaGenerator, replies: &mut SchemaGenerator) -> Value {
    let mut responses = Map::new();
    let data = (operation.data)(replies).to_value();
    let success = if operation.path == path::V2_OPENAPI {
        data
    } else {
        envelope(&["success"], &data)
    };
    // What is gone never succeeds.
    if operation.path != path::V1_RECOVER {
        responses.insert(
            "200".to_owned(),
            json!({"description": "done", "content": json_content(&success)}),
        );
    }
    for (code, meaning) in &operation.refusals {
        let statuses: &[&str] = match code {
            400 | 401 if operation.path.starts_with(path::V2) => &["fail", "error"],
            _ => &["error"],
        };
        let schema = envelope(statuses, &json!({}));
        responses.insert(
            code.to_string(),
            json!({"description": meaning, "content": json_content(&schema)}),
        );
    }
    let mut item = json!({
        "summary": operation.summary,
        "operationId": format!("{} {}", operation.method, operation.path.trim_start_matches('/')).replace(['/', '-', ' '], "_"),
        "tags": [if operation.path.starts_with(path::V2) { "version 2" } else { "version 1" }],
        "responses": responses,
        "security": match operation.who {
            Who::Anybody => json!([]),
            Who::User => json!([{"user": []}]),
            Who::Marble => json!([{"marble": []}]),
        },
    });
    if !operation.description.is_empty() {
        item["description"] = json!(operation.description);
    }
    if !operation.parameters.is_empty() {
        item["parameters"] = json!(operation.parameters);
    }
    if let Some(request) = operation.request {
        let schema = request(requests).to_value();
        item["requestBody"] = json!({"required": true, "content": json_content(&schema)});
    }
    item
}

/// Links that lead into the source are of no use here.
fn without_links(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            fields.retain(|name, value| {
                name != "description" || !value.as_str().is_some_and(|text| text.contains("[`"))
            });
            fields.values_mut().for_each(without_links);
        }
        Value::Array(items) => items.iter_mut().for_each(without_links),
        _ => {}
    }
}

/// The document, made anew.
fn document() -> Value {
    let settings = || {
        SchemaSettings::draft2020_12().with(|settings| {
            settings.definitions_path = "/components/schemas".into();
            settings.meta_schema = None;
        })
    };
    // What is sent may leave out what has a default; what is answered has every field.
    let mut requests = settings().for_deserialize().into_generator();
    let mut replies = settings().for_serialize().into_generator();
    let mut paths = Map::new();
    for operation in all() {
        let item = item(&operation, &mut requests, &mut replies);
        paths.entry(operation.path).or_insert_with(|| json!({}))[operation.method] = item;
    }
    let mut schemas = replies.take_definitions(true);
    schemas.values_mut().for_each(without_links);
    for (name, schema) in requests.take_definitions(true) {
        let before = schemas.insert(name.clone(), schema);
        assert!(
            before.is_none(),
            "{name} is both sent and answered, its schemas need two names"
        );
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "MarbleRun Coordinator, client API",
            "version": "2",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
            "description":
                "Every reply is JSend: `status`, `data`, and `message` unless it is empty. Names of fields in requests \
                 match ignoring case, unknown ones are ignored, and the content type of a request is not looked at. A \
                 path or method that is not here is answered with 405. Who is a user or a marble is told by the \
                 certificate presented in the TLS handshake. How to know that it is the right Coordinator that \
                 answers: verify its quote, or pin its root certificate.",
        },
        "servers": [{"url": "https://localhost:4433"}],
        "tags": [
            {"name": "version 2"},
            {"name": "version 1", "description": "Still served for existing clients. Codes differ: refusals of users are 400."},
        ],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "user": {"type": "mutualTLS", "description": "A certificate of `Users` in the manifest in force, or of a marble whose entry names `Roles`."},
                "marble": {"type": "mutualTLS", "description": "A certificate that the current Marble root has signed."},
            },
        },
    })
}

#[test]
fn the_document_is_kept_as_it_is_made() {
    let made = format!("{:#}\n", document());
    if std::env::var_os(RENEW).is_some() {
        std::fs::write(file(), &made).unwrap();
    }
    let kept = std::fs::read_to_string(file()).unwrap_or_default();
    assert!(
        kept == made,
        "docs/openapi.json is not of these types: {RENEW}=1 cargo test -p marblerun-coordinator --test server openapi"
    );
}

#[tokio::test]
async fn it_names_exactly_what_is_served() {
    let documented: BTreeSet<(String, String)> = all()
        .iter()
        .map(|operation| (operation.path.to_owned(), operation.method.to_uppercase()))
        .collect();
    let paths: BTreeSet<&str> = documented.iter().map(|(path, _)| path.as_str()).collect();
    assert_eq!(paths, path::ALL.iter().copied().collect());

    let directory = tempfile::tempdir().unwrap();
    let program = start(directory.path(), &[]);
    let mut served = BTreeSet::new();
    for path in path::ALL {
        for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"] {
            if program.ask(method, path, "{bad").await.0 != 405 {
                served.insert(((*path).to_owned(), method.to_owned()));
            }
        }
    }
    assert_eq!(served, documented);
}

#[tokio::test]
async fn it_is_served_as_it_is_kept() {
    let directory = tempfile::tempdir().unwrap();
    let program = start(directory.path(), &[]);
    let (code, served) = program.ask("GET", path::V2_OPENAPI, "").await;
    assert_eq!(code, 200);
    assert!(served == document(), "not what is kept in docs/openapi.json");
}
