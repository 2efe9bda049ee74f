//! Holds the answers of a running tracker against the OpenAPI description that it serves.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::tracker::http::{Answer, get, send};

/// The description, as the tracker serves it.
pub struct Description {
    document: Value,
    admin: SocketAddr,
}

/// An operation of the description: its path, its method, and what it is.
pub struct ApiOperation<'a> {
    pub path: &'a str,
    pub method: &'a str,
    pub parts: &'a Value,
}

impl Description {
    pub fn of(admin: SocketAddr) -> Self {
        let mut document = get(admin, "/api/openapi.json").json();
        close(&mut document["components"]["schemas"]);
        Self { document, admin }
    }

    pub fn operations(&self) -> impl Iterator<Item = ApiOperation<'_>> {
        let paths = self.document["paths"].as_object().unwrap();
        paths.iter().flat_map(|(path, methods)| {
            let methods = methods.as_object().unwrap();
            methods.iter().map(move |(method, parts)| ApiOperation { path, method, parts })
        })
    }

    /// Gets what must be answered with this status, as it is described. The body, if it is JSON.
    pub fn get(&self, target: &str, status: u16) -> Value {
        let path = target.split('?').next().unwrap();
        let operation = self.operations().find(|operation| operation.serves(path));
        let operation = operation.unwrap_or_else(|| panic!("{target} is not described"));
        let answer = get(self.admin, target);
        assert_eq!(answer.status, status, "{target}: {answer:?}");
        self.check(target, &operation.parts["responses"][status.to_string()], &answer)
    }

    /// The error of a request that no operation describes: another method, or an unknown path.
    pub fn error(&self, method: &str, target: &str, status: u16) -> Value {
        let request = format!("{method} {target} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        let answer = send(self.admin, request.as_bytes()).unwrap();
        assert_eq!(answer.status, status, "{target}: {answer:?}");
        let described =
            json!({"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}});
        self.check(target, &described, &answer)
    }

    fn check(&self, target: &str, response: &Value, answer: &Answer) -> Value {
        let response = self.resolved(response);
        assert!(response.is_object(), "{target}: status {} is not described", answer.status);
        for name in response["headers"].as_object().into_iter().flat_map(|headers| headers.keys()) {
            assert!(header(answer, name).is_some(), "{target}: {name} is missing: {}", answer.head);
        }
        let content_type = header(answer, "content-type").unwrap();
        let schema = &response["content"][content_type]["schema"];
        assert!(schema.is_object(), "{target}: {content_type} is not described");
        let is_json = content_type == "application/json";
        let body = if is_json { answer.json() } else { Value::String(answer.text()) };
        self.validate(target, schema, &body);
        body
    }

    /// What a reference refers to.
    fn resolved<'a>(&'a self, part: &'a Value) -> &'a Value {
        match part["$ref"].as_str() {
            Some(reference) => self.document.pointer(reference.trim_start_matches('#')).unwrap(),
            None => part,
        }
    }

    fn validate(&self, target: &str, schema: &Value, body: &Value) {
        let schema = json!({
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "components": self.document["components"],
            "allOf": [schema],
        });
        let validator = jsonschema::validator_for(&schema).unwrap();
        let errors: Vec<_> =
            validator.iter_errors(body).map(|error| format!("{}: {error}", error.instance_path())).collect();
        assert!(errors.is_empty(), "{target} is not as described: {errors:#?}\n{body:#}");
    }
}

impl ApiOperation<'_> {
    fn serves(&self, path: &str) -> bool {
        match self.path.split_once('{') {
            Some((prefix, _)) => path.strip_prefix(prefix).is_some_and(|rest| !rest.is_empty()),
            None => path == self.path,
        }
    }

    /// Requests with the examples of its parameters: without any that may be left out, and with each of these.
    pub fn examples(&self) -> Vec<String> {
        let parameters = self.parts["parameters"].as_array().cloned().unwrap_or_default();
        let examples = parameters.iter().filter_map(|parameter| {
            let example = &parameter["example"];
            let text = example.as_str().map_or_else(|| example.to_string(), str::to_owned);
            (!example.is_null())
                .then(|| (parameter["in"].as_str().unwrap(), parameter["name"].as_str().unwrap(), text))
        });
        let (in_path, in_query): (Vec<_>, Vec<_>) = examples.partition(|(place, ..)| *place == "path");
        let path = in_path.iter().fold(self.path.to_owned(), |path, (_, name, example)| {
            path.replace(&format!("{{{name}}}"), example)
        });
        let with = in_query.iter().map(|(_, name, example)| format!("{path}?{name}={example}"));
        std::iter::once(path.clone()).chain(with).collect()
    }

    /// Whether this status is described.
    pub fn has(&self, status: u16) -> bool {
        self.parts["responses"][status.to_string()].is_object()
    }
}

fn header<'a>(answer: &'a Answer, name: &str) -> Option<&'a str> {
    let lines = answer.head.lines().filter_map(|line| line.split_once(": "));
    lines.filter(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value).next()
}

/// Lets objects have no properties but those described. Clients must not count on that, so the description does not say
/// so.
fn close(schema: &mut Value) {
    match schema {
        Value::Object(parts) => {
            parts.values_mut().for_each(close);
            if parts.get("properties").is_some_and(Value::is_object) {
                parts.insert("additionalProperties".into(), Value::Bool(false));
            }
        }
        Value::Array(parts) => parts.iter_mut().for_each(close),
        _ => {}
    }
}
