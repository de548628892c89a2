//! Routes that say what they are: a path, a method, a handler and its description stand together, so a route that is
//! served is described and nothing is described that is not served.
//!
//! A service's API files add their endpoints to an [`Api`]. The server configures itself from it, and `openapi` prints
//! the document made of the same list (OpenAPI 3.1).

use actix_web::http::Method;
use actix_web::web::{self, ServiceConfig};
use actix_web::{FromRequest, Handler, Responder, Route};
use serde_json::{Map, Value, json};

use crate::error::ErrorField;

/// A JSON schema, as it stands in the document.
pub type Schema = Value;

/// A text.
#[must_use]
pub fn text() -> Schema {
    json!({"type": "string"})
}

/// A text with a limit on its characters.
#[must_use]
pub fn text_up_to(most: usize) -> Schema {
    json!({"type": "string", "maxLength": most})
}

/// One of these texts.
#[must_use]
pub fn one_of(words: &[&str]) -> Schema {
    json!({"type": "string", "enum": words})
}

/// True or false.
#[must_use]
pub fn flag() -> Schema {
    json!({"type": "boolean"})
}

/// A whole number.
#[must_use]
pub fn whole() -> Schema {
    json!({"type": "integer"})
}

/// A time, ISO 8601 in UTC.
#[must_use]
pub fn time() -> Schema {
    json!({"type": "string", "format": "date-time"})
}

/// A list.
#[must_use]
pub fn list(items: Schema) -> Schema {
    json!({"type": "array", "items": items})
}

/// The same, or null.
#[must_use]
pub fn nullable(mut schema: Schema) -> Schema {
    if let Some(kind) = schema.get("type").cloned() {
        schema["type"] = json!([kind, "null"]);
        if let Some(words) = schema.get_mut("enum").and_then(Value::as_array_mut) {
            words.push(Value::Null);
        }
        return schema;
    }
    json!({"anyOf": [schema, {"type": "null"}]})
}

/// An object with these fields, each of them always there.
#[must_use]
pub fn object<const N: usize>(fields: [(&str, Schema); N]) -> Schema {
    let required: Vec<&str> = fields.iter().map(|(name, _)| *name).collect();
    let properties: Map<String, Value> = fields
        .iter()
        .map(|(name, schema)| ((*name).to_owned(), schema.clone()))
        .collect();
    json!({"type": "object", "properties": properties, "required": required})
}

/// An object whose fields may each be missing or null, as in the bodies that callers send.
#[must_use]
pub fn fields<const N: usize>(fields: [(&str, Schema); N]) -> Schema {
    let properties: Map<String, Value> = fields
        .into_iter()
        .map(|(name, schema)| (name.to_owned(), nullable(schema)))
        .collect();
    json!({"type": "object", "properties": properties})
}

/// What an endpoint takes and answers.
#[derive(Debug, Clone)]
pub struct Doc {
    summary: &'static str,
    parameters: Vec<Value>,
    body: Option<Value>,
    answers: Vec<(u16, Value)>,
}

impl Doc {
    /// An endpoint that does what `summary` says.
    #[must_use]
    pub const fn new(summary: &'static str) -> Self {
        Self {
            summary,
            parameters: Vec::new(),
            body: None,
            answers: Vec::new(),
        }
    }

    /// A key of the query that may be given.
    #[must_use]
    pub fn query(self, name: &str, schema: Schema, meaning: &str) -> Self {
        self.parameter("query", name, false, schema, meaning)
    }

    /// A header that may be given.
    #[must_use]
    pub fn header(self, name: &str, schema: Schema, meaning: &str) -> Self {
        self.parameter("header", name, false, schema, meaning)
    }

    fn parameter(mut self, place: &str, name: &str, required: bool, schema: Schema, meaning: &str) -> Self {
        self.parameters.push(
            json!({"name": name, "in": place, "required": required, "schema": schema, "description": meaning}),
        );
        self
    }

    /// The body's fields: as JSON or as a form. A body is never demanded; what has to be in it says the answer 400.
    #[must_use]
    pub fn takes(mut self, schema: Schema) -> Self {
        self.body = Some(json!({"required": false, "content": {
            "application/json": {"schema": schema.clone()}, "application/x-www-form-urlencoded": {"schema": schema},
        }}));
        self
    }

    /// A body of another type.
    #[must_use]
    pub fn takes_as(mut self, content_type: &str, schema: Schema) -> Self {
        self.body = Some(json!({"required": true, "content": {content_type: {"schema": schema}}}));
        self
    }

    /// An answer in JSON.
    #[must_use]
    pub fn answers(self, status: u16, meaning: &str, schema: Schema) -> Self {
        self.answers_as(status, meaning, "application/json", schema)
    }

    /// An answer of another type.
    #[must_use]
    pub fn answers_as(mut self, status: u16, meaning: &str, content_type: &str, schema: Schema) -> Self {
        let content = json!({content_type: {"schema": schema}});
        self.answers
            .push((status, json!({"description": meaning, "content": content})));
        self
    }

    /// The last answer may be of this type, too.
    #[must_use]
    pub fn or_as(mut self, content_type: &str, schema: Schema) -> Self {
        if let Some((_, answer)) = self.answers.last_mut() {
            answer["content"][content_type] = json!({"schema": schema});
        }
        self
    }

    /// An answer that is a status and headers only.
    #[must_use]
    pub fn answers_without_body(mut self, status: u16, meaning: &str) -> Self {
        self.answers.push((status, json!({"description": meaning})));
        self
    }

    /// Refusals, each in the shape every error has.
    #[must_use]
    pub fn refuses(mut self, refusals: &[(u16, &str)]) -> Self {
        for (status, meaning) in refusals {
            let schema = json!({"$ref": "#/components/schemas/Error"});
            let content = json!({"application/json": {"schema": schema}});
            self.answers
                .push((*status, json!({"description": meaning, "content": content})));
        }
        self
    }
}

struct Endpoint {
    method: Method,
    path: String,
    tag: &'static str,
    security: Option<&'static str>,
    doc: Doc,
    route: Route,
}

/// What every endpoint of a group has in common.
#[derive(Debug, Clone, Copy)]
pub struct Group {
    /// What the group is about.
    pub tag: &'static str,
    /// The security scheme its endpoints ask for.
    pub security: Option<&'static str>,
    /// Refusals that every endpoint of the group may give.
    pub refusals: &'static [(u16, &'static str)],
}

/// The endpoints of a service, or of one scope of it, in the order in which they are matched.
#[derive(Default)]
pub struct Api {
    endpoints: Vec<Endpoint>,
    group: Option<Group>,
    prefix: &'static str,
}

impl Api {
    /// Endpoints under a prefix, e.g. `/internal`. The prefix is shown in the document; the scope that the endpoints
    /// are configured in adds it when they are served.
    #[must_use]
    pub fn under(prefix: &'static str) -> Self {
        Self {
            prefix,
            ..Self::default()
        }
    }

    /// Endpoints that are added from now on belong to this group.
    pub fn group(&mut self, group: Group) -> &mut Self {
        self.group = Some(group);
        self
    }

    /// Adds an endpoint. `path` is in the framework's form: `/tenants/{village_id}`.
    pub fn endpoint<F, Args>(&mut self, method: Method, path: &str, doc: Doc, handler: F) -> &mut Self
    where
        F: Handler<Args>,
        Args: FromRequest + 'static,
        F::Output: Responder + 'static,
    {
        let group = self.group;
        self.endpoints.push(Endpoint {
            route: web::method(method.clone()).to(handler),
            method,
            path: path.to_owned(),
            tag: group.map_or("", |group| group.tag),
            security: group.and_then(|group| group.security),
            doc: doc.refuses(group.map_or(&[], |group| group.refusals)),
        });
        self
    }

    /// Adds a `GET`.
    pub fn get<F, Args>(&mut self, path: &str, doc: Doc, handler: F) -> &mut Self
    where
        F: Handler<Args>,
        Args: FromRequest + 'static,
        F::Output: Responder + 'static,
    {
        self.endpoint(Method::GET, path, doc, handler)
    }

    /// Adds a `POST`.
    pub fn post<F, Args>(&mut self, path: &str, doc: Doc, handler: F) -> &mut Self
    where
        F: Handler<Args>,
        Args: FromRequest + 'static,
        F::Output: Responder + 'static,
    {
        self.endpoint(Method::POST, path, doc, handler)
    }

    /// Adds a `PUT`.
    pub fn put<F, Args>(&mut self, path: &str, doc: Doc, handler: F) -> &mut Self
    where
        F: Handler<Args>,
        Args: FromRequest + 'static,
        F::Output: Responder + 'static,
    {
        self.endpoint(Method::PUT, path, doc, handler)
    }

    /// Adds a `PATCH`.
    pub fn patch<F, Args>(&mut self, path: &str, doc: Doc, handler: F) -> &mut Self
    where
        F: Handler<Args>,
        Args: FromRequest + 'static,
        F::Output: Responder + 'static,
    {
        self.endpoint(Method::PATCH, path, doc, handler)
    }

    /// Adds a `DELETE`.
    pub fn delete<F, Args>(&mut self, path: &str, doc: Doc, handler: F) -> &mut Self
    where
        F: Handler<Args>,
        Args: FromRequest + 'static,
        F::Output: Responder + 'static,
    {
        self.endpoint(Method::DELETE, path, doc, handler)
    }

    /// Serves the endpoints: one resource a path.
    pub fn configure(self, config: &mut ServiceConfig) {
        let mut resources: Vec<(String, Vec<Route>)> = Vec::new();
        for endpoint in self.endpoints {
            match resources.iter_mut().find(|(path, _)| *path == endpoint.path) {
                Some((_, routes)) => routes.push(endpoint.route),
                None => resources.push((endpoint.path, vec![endpoint.route])),
            }
        }
        for (path, routes) in resources {
            let resource = routes
                .into_iter()
                .fold(web::resource(path), actix_web::Resource::route);
            config.service(resource);
        }
    }

    /// Adds the endpoints to the document's `paths`.
    pub fn describe(&self, paths: &mut Map<String, Value>) {
        for endpoint in &self.endpoints {
            let path = format!("{}{}", self.prefix, shown(&endpoint.path));
            let item = paths.entry(path).or_insert_with(|| json!({}));
            item[endpoint.method.as_str().to_ascii_lowercase()] = endpoint.operation();
        }
    }

    /// The methods and paths that are served, prefix included.
    #[must_use]
    pub fn served(&self) -> Vec<(String, String)> {
        self.endpoints
            .iter()
            .map(|endpoint| {
                let path = format!("{}{}", self.prefix, shown(&endpoint.path));
                (endpoint.method.to_string(), path)
            })
            .collect()
    }
}

impl Endpoint {
    fn operation(&self) -> Value {
        let mut parameters: Vec<Value> = names_in(&self.path)
            .map(|name| json!({"name": name, "in": "path", "required": true, "schema": {"type": "string", "minLength": 1}}))
            .collect();
        parameters.extend(self.doc.parameters.iter().cloned());
        let mut responses = Map::new();
        for (status, answer) in &self.doc.answers {
            // The first word on a status is the endpoint's own; what its group says of it is more general.
            responses
                .entry(status.to_string())
                .or_insert_with(|| answer.clone());
        }
        let mut operation = json!({
            "summary": self.doc.summary, "parameters": parameters, "responses": responses,
        });
        if !self.tag.is_empty() {
            operation["tags"] = json!([self.tag]);
        }
        if let Some(body) = &self.doc.body {
            operation["requestBody"] = body.clone();
        }
        if let Some(scheme) = self.security {
            operation["security"] = json!([{scheme: []}]);
        }
        operation
    }
}

/// The path as the document writes it: without the patterns that a name may carry.
fn shown(path: &str) -> String {
    let mut shown = String::with_capacity(path.len());
    let mut rest = path;
    while let Some((before, after)) = rest.split_once('{') {
        shown.push_str(before);
        let (name, after) = after.split_once('}').unwrap_or((after, ""));
        shown.push('{');
        shown.push_str(name.split(':').next().unwrap_or(name));
        shown.push('}');
        rest = after;
    }
    shown.push_str(rest);
    shown
}

fn names_in(path: &str) -> impl Iterator<Item = &str> {
    path.split('{')
        .skip(1)
        .filter_map(|part| part.split('}').next()?.split(':').next())
}

/// The whole document. `error_field` is the field in which the service's refusals carry their text.
#[must_use]
pub fn document(
    error_field: ErrorField,
    title: &str,
    version: &str,
    paths: Map<String, Value>,
    security_schemes: Value,
) -> Value {
    let field = error_field.name();
    json!({
        "openapi": "3.1.0",
        "info": {"title": title, "version": version},
        "paths": paths,
        "components": {
            "securitySchemes": security_schemes,
            "schemas": {"Error": {
                "type": "object",
                "description": format!("What every refusal looks like. `{field}` is for people, `code` is stable, `request_id` finds the log lines."),
                "properties": {
                    field: {"type": "string"}, "code": {"type": "string"},
                    "request_id": {"type": ["string", "null"]},
                },
                "required": [field, "code", "request_id"],
            }},
        },
    })
}

#[cfg(test)]
mod tests {
    use actix_web::test::{self, TestRequest};
    use actix_web::{App, HttpResponse};

    use super::*;

    async fn nothing() -> HttpResponse {
        HttpResponse::NoContent().finish()
    }

    fn api() -> Api {
        let mut api = Api::under("/internal");
        api.group(Group {
            tag: "things",
            security: Some("key"),
            refusals: &[(401, "No key"), (404, "No such thing")],
        });
        let show = Doc::new("Show one")
            .query("limit", whole(), "how many")
            .answers(200, "It", object([("name", nullable(text()))]))
            .refuses(&[(404, "Not here")]);
        api.get("/things/{id:[a-z]+}", show, nothing).delete(
            "/things/{id:[a-z]+}",
            Doc::new("Delete one"),
            nothing,
        );
        api
    }

    #[actix_web::test]
    async fn what_is_described_is_served_and_the_other_way_round() {
        let mut paths = Map::new();
        api().describe(&mut paths);
        let item = &paths["/internal/things/{id}"];
        assert_eq!(item["get"]["parameters"][0]["name"], "id");
        assert_eq!(item["get"]["parameters"][1]["in"], "query");
        assert_eq!(
            item["get"]["responses"]["404"]["description"], "Not here",
            "its own word first"
        );
        assert_eq!(item["delete"]["responses"]["404"]["description"], "No such thing");
        assert_eq!(item["get"]["security"], json!([{"key": []}]));

        let app = App::new().service(web::scope("/internal").configure(|config| api().configure(config)));
        let app = test::init_service(app).await;
        for (method, path, status) in [
            (Method::GET, "/internal/things/a", 204),
            (Method::DELETE, "/internal/things/a", 204),
            (Method::POST, "/internal/things/a", 405),
            (Method::GET, "/internal/things/7", 404),
        ] {
            let request = TestRequest::with_uri(path).method(method).to_request();
            assert_eq!(
                test::call_service(&app, request).await.status().as_u16(),
                status,
                "{path}"
            );
        }
        assert_eq!(api().served().len(), 2);
    }

    #[::core::prelude::v1::test]
    fn nullable_keeps_what_it_is_put_around() {
        assert_eq!(
            nullable(one_of(&["a"])),
            json!({"type": ["string", "null"], "enum": ["a", null]})
        );
        assert_eq!(
            nullable(json!({"$ref": "#/x"}))["anyOf"][1],
            json!({"type": "null"})
        );
    }
}
