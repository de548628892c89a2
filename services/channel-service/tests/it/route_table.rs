//! Every described route with what it takes and answers, and a good request to each: what `every_route` varies.

use channel_service::routes;
use reqwest::Method;
use serde_json::{Map, Value, json};
use uuid::Uuid;

/// Whom requests are about.
pub(crate) const RARA: &str = "6281290000011";
/// The instance of the village that is posted for without a signature.
pub(crate) const UNSIGNED: &str = "desa-tiga-wa";

/// A device of the village that is asked for, and one of another village.
pub(crate) const DEVICES: [&str; 2] = [
    "f0000000-0000-7000-8000-000000000001",
    "f0000000-0000-7000-8000-000000000002",
];

/// What a route asks of its caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Guard {
    Nothing,
    Key,
    Session,
}

/// A route as the document describes it.
#[derive(Debug, Clone)]
pub(crate) struct Route {
    /// Method and path, as lists in the tests name it.
    pub(crate) name: String,
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) guard: Guard,
    pub(crate) queries: Vec<String>,
    pub(crate) headers: Vec<String>,
    /// Fields of the body, with a value of the described type.
    pub(crate) fields: Map<String, Value>,
    pub(crate) takes_body: bool,
    /// Content types by status.
    answers: Map<String, Value>,
}

/// A request that can be taken apart and changed.
#[derive(Debug, Clone, Default)]
pub(crate) struct Call {
    /// What is odd about it, for the reader of a failure.
    pub(crate) what: String,
    pub(crate) path: String,
    pub(crate) query: Vec<(String, String)>,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Option<Vec<u8>>,
}

impl Route {
    /// All of them, those that change the world for the others at the end.
    pub(crate) fn all() -> Vec<Self> {
        let document = routes::openapi();
        let mut all = Vec::new();
        for (path, item) in document["paths"].as_object().unwrap() {
            for (method, operation) in item.as_object().unwrap() {
                all.push(Self::read(path, method, operation));
            }
        }
        assert_eq!(all.len(), routes::served().len());
        all.sort_by_key(Self::upheaval);
        all
    }

    fn read(path: &str, method: &str, operation: &Value) -> Self {
        let method: Method = method.to_uppercase().parse().unwrap();
        let names = |place: &str| {
            let parameters = operation["parameters"].as_array().unwrap().iter();
            let named = parameters.filter(|parameter| parameter["in"] == place);
            named
                .map(|parameter| parameter["name"].as_str().unwrap().to_owned())
                .collect()
        };
        let content = operation["requestBody"]["content"].as_object();
        let schema = content.and_then(|content| content.values().next());
        let properties = schema.and_then(|schema| schema["schema"]["properties"].as_object());
        let fields = properties.into_iter().flatten();
        let fields = fields
            .map(|(name, schema)| (name.clone(), of_type(schema)))
            .collect();
        Self {
            name: format!("{method} {path}"),
            method,
            path: path.to_owned(),
            guard: match operation["security"][0]
                .as_object()
                .and_then(|one| one.keys().next())
            {
                Some(scheme) if scheme == "internalKey" => Guard::Key,
                Some(_) => Guard::Session,
                None => Guard::Nothing,
            },
            queries: names("query"),
            headers: names("header"),
            fields,
            takes_body: content.is_some(),
            answers: operation["responses"].as_object().unwrap().clone(),
        }
    }

    fn upheaval(&self) -> u8 {
        match self.name.as_str() {
            "DELETE /internal/whatsapp/session"
            | "DELETE /api/whatsapp/session"
            | "DELETE /api/whatsapp/devices/{device_id}" => 2,
            "POST /api/tenants/{village_id}/suspend" => 3,
            name if name.ends_with("/logout") || name.ends_with("/disconnect") => 1,
            _ => 0,
        }
    }

    /// May only superadmins use it, or name a village to it?
    pub(crate) fn is_for_superadmins(&self) -> bool {
        let theirs = [
            "/api/tenants",
            "/api/whatsapp/tenant-config",
            "/api/whatsapp/available-endpoints",
            "/api/dead-letters/all",
        ];
        theirs.iter().any(|path| self.path.starts_with(path))
    }

    pub(crate) fn is_webhook(&self) -> bool {
        let theirs = !self.path.starts_with("/api") || self.path.starts_with("/api/whatsapp/webhook");
        self.guard == Guard::Nothing && self.takes_body && theirs
    }

    /// Is it a webhook's second path? What is in a body, they read alike.
    pub(crate) fn is_copy(&self) -> bool {
        self.is_webhook() && self.path != "/webhook"
    }

    /// May it answer with this status and, where it does, with this content type? `None`: not described.
    pub(crate) fn describes(&self, status: u16) -> Option<Vec<String>> {
        let answer = self.answers.get(&status.to_string())?;
        let types = answer["content"].as_object().into_iter().flat_map(Map::keys);
        Some(types.cloned().collect())
    }

    /// Where a caller can name a village.
    pub(crate) fn village_places(&self) -> Vec<&'static str> {
        let mut places = Vec::new();
        if self.path.contains("{village_id}") {
            places.push("path");
        }
        if self.queries.iter().any(|name| name == "village_id") {
            places.push("query");
        }
        if self.fields.contains_key("village_id") {
            places.push("body");
        }
        if self.headers.iter().any(|name| name == "x-village-id") {
            places.push("header");
        }
        places
    }

    /// A request that nothing is wrong with, which names the village in the first place where it can be named.
    pub(crate) fn good(&self, village: &str) -> Call {
        let place = self.village_places().first().copied().unwrap_or("nowhere");
        self.naming(village, place)
    }

    /// As [`Self::good`], with the village in this place only.
    pub(crate) fn naming(&self, village: &str, place: &str) -> Call {
        let in_path = if place == "path" { village } else { "desa-satu" };
        let mut call = Call {
            path: self
                .path
                .replace("{village_id}", in_path)
                .replace(
                    "{device_id}",
                    DEVICES[usize::from(village == crate::route_world::THEIRS)],
                )
                .replace("{version}", "v22.0")
                .replace("{wa_user_id}", RARA)
                .replace("{user_id}", "desa-satu")
                .replace(['{', '}'], ""),
            ..Call::default()
        };
        if place == "query" {
            call.query.push(("village_id".into(), village.into()));
        }
        if place == "header" {
            call.headers.push(("x-village-id".into(), village.into()));
        }
        for name in self
            .queries
            .iter()
            .filter(|name| *name == "wa_user_id" || *name == "wa_number")
        {
            call.query.push((name.clone(), RARA.into()));
        }
        if self.takes_body {
            let body = self.body(village, place == "body");
            call.body = Some(body.to_string().into_bytes());
        }
        call
    }

    /// The fields of a good body.
    pub(crate) fn body(&self, village: &str, named: bool) -> Value {
        if self.path.starts_with("/webhook/gowa/") {
            return json!({"event": "message", "session_id": "toko-tiada", "payload": {"id": fresh("3EB0"),
                "chat_id": format!("{RARA}@s.whatsapp.net"), "body": "halo"}});
        }
        if self.is_webhook() {
            let mut event = crate::harness::text(RARA, &fresh("3EB0"), "halo");
            event["instanceName"] = json!(UNSIGNED);
            return event;
        }
        if self.path == "/api/whatsapp/messages" || self.path == "/internal/messages/send" {
            let mut order = json!({"to": RARA, "type": "text", "text": {"body": "halo"}, "wait": false});
            if named {
                order["village_id"] = village.into();
            }
            return order;
        }
        let mut fields = self.fields.clone();
        fields.remove("village_id");
        for (name, value) in &mut fields {
            *value = good_value(name).unwrap_or_else(|| value.take());
        }
        if named {
            fields.insert("village_id".into(), village.into());
        }
        Value::Object(fields)
    }
}

impl Call {
    pub(crate) fn but(mut self, what: impl Into<String>) -> Self {
        self.what = what.into();
        self
    }

    pub(crate) fn with_body(mut self, body: &Value) -> Self {
        self.body = Some(body.to_string().into_bytes());
        self
    }

    /// With another value of a query's key; `value` is as it stands in an address.
    pub(crate) fn with_query(mut self, name: &str, value: &str) -> Self {
        self.query.retain(|(known, _)| known != name);
        self.query.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn url(&self, base: &str) -> String {
        let query: Vec<String> = self
            .query
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let mark = if query.is_empty() { "" } else { "?" };
        format!("{base}{}{mark}{}", self.path, query.join("&"))
    }
}

fn fresh(prefix: &str) -> String {
    format!("{prefix}{}", Uuid::now_v7().simple())
}

/// A value of the described type.
fn of_type(schema: &Value) -> Value {
    let kind = match &schema["type"] {
        Value::Array(kinds) => kinds[0].as_str(),
        kind => kind.as_str(),
    };
    match kind {
        Some("boolean") => json!(true),
        Some("integer") => json!(1),
        Some("array") => json!(["3EB0X"]),
        Some("object") => json!({}),
        _ => json!("teks"),
    }
}

/// A value that the route is content with, where any text would not do.
fn good_value(name: &str) -> Option<Value> {
    Some(match name {
        "wa_user_id" | "channel_identifier" | "person" => RARA.into(),
        "phone" | "Phone" | "wa_number" | "user_phone" => "6281290000077".into(),
        "channel" => "WHATSAPP".into(),
        "metadata" => json!({"channel": "WHATSAPP"}),
        "direction" => "IN".into(),
        "state" => "composing".into(),
        "message_id" => fresh("in-").into(),
        "older_than" | "newer_than" | "ordered_before" => "2026-03-02T02:15:04Z".into(),
        "village_slug" => "desa-satu".into(),
        // Another village, whose number is another.
        "target_village_id" => "desa-dua".into(),
        "email" => format!("{}@desa.id", fresh("warga")).into(),
        // Nobody is erased.
        "confirm" => "bukan desa ini".into(),
        "endpoint_name" => "Primary".into(),
        "text_days" | "media_days" | "raw_days" => 30.into(),
        _ => return None,
    })
}

/// An address that nobody has asked from yet.
pub(crate) fn an_address() -> String {
    let bytes = Uuid::now_v7().into_bytes();
    std::net::Ipv6Addr::from(bytes).to_string()
}

/// Pointers to everything in it.
pub(crate) fn nodes(value: &Value) -> Vec<String> {
    let inner: Vec<(String, &Value)> = match value {
        Value::Object(fields) => fields.iter().map(|(name, value)| (name.clone(), value)).collect(),
        Value::Array(items) => items
            .iter()
            .enumerate()
            .map(|(at, value)| (at.to_string(), value))
            .collect(),
        _ => Vec::new(),
    };
    let mut found = Vec::new();
    for (name, value) in inner {
        found.extend(nodes(value).into_iter().map(|rest| format!("/{name}{rest}")));
        found.push(format!("/{name}"));
    }
    found
}
