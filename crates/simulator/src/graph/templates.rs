//! Templates: listed by pages, made, deleted, and compared with what is sent (contract 3.2, 3.6).

use serde_json::{Value, json};

use super::errors::Refusal;
use super::state::{GraphState, GraphTemplate};
use crate::http::{Answer, Call};

/// Templates per page if nobody says otherwise.
const PAGE: usize = 25;
/// Templates per account.
const MOST: usize = 10_000;

impl GraphTemplate {
    /// What is left empty gets what is usual.
    pub(super) fn completed(mut self, id: String) -> Self {
        let fill = |place: &mut String, usual: &str| {
            if place.is_empty() {
                usual.clone_into(place);
            }
        };
        fill(&mut self.id, &id);
        fill(&mut self.language, "id");
        fill(&mut self.status, "APPROVED");
        fill(&mut self.category, "UTILITY");
        let named = placeholders(&self.component_text("BODY"))
            .iter()
            .any(|name| name.parse::<u32>().is_err());
        fill(
            &mut self.parameter_format,
            if named { "NAMED" } else { "POSITIONAL" },
        );
        self
    }

    fn component(&self, kind: &str) -> Option<&Value> {
        self.components.iter().find(|component| {
            component["type"]
                .as_str()
                .is_some_and(|of| of.eq_ignore_ascii_case(kind))
        })
    }

    fn component_text(&self, kind: &str) -> String {
        self.component(kind)
            .and_then(|component| component["text"].as_str())
            .unwrap_or_default()
            .to_owned()
    }

    fn view(&self) -> Value {
        json!({
            "name": self.name, "language": self.language, "status": self.status, "category": self.category,
            "parameter_format": self.parameter_format, "components": self.components, "id": self.id,
        })
    }
}

/// The names between double braces, each once.
fn placeholders(text: &str) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for piece in text.split("{{").skip(1) {
        if let Some((name, _)) = piece.split_once("}}") {
            let name = name.trim().to_owned();
            if !names.contains(&name) {
                names.push(name);
            }
        }
    }
    names
}

/// What a message will be priced as.
pub(super) fn category(state: &GraphState, number: &str, body: &Value) -> String {
    if body["type"] != "template" {
        return "service".to_owned();
    }
    let waba = state.wabas.get(&state.waba_of(number));
    let template = waba.and_then(|waba| {
        let mut templates = waba.templates.iter();
        templates.find(|template| body["template"]["name"] == json!(template.name))
    });
    template.map_or_else(
        || "utility".to_owned(),
        |template| template.category.to_ascii_lowercase(),
    )
}

/// The template is there, may be sent, and has as many parameters as it gets.
pub(super) fn fits(state: &GraphState, number: &str, sent: &Value) -> Result<(), Refusal> {
    let (name, language) = (&sent["name"], &sent["language"]["code"]);
    let waba = state.wabas.get(&state.waba_of(number));
    let template = waba
        .and_then(|waba| {
            let mut templates = waba.templates.iter();
            templates.find(|template| *name == json!(template.name) && *language == json!(template.language))
        })
        .ok_or_else(|| {
            Refusal::because(
                132_001,
                format!("template name ({name}) does not exist in {language}"),
            )
        })?;
    match template.status.as_str() {
        "APPROVED" => {}
        "PAUSED" => return Err(Refusal::new(132_015)),
        "DISABLED" => return Err(Refusal::new(132_016)),
        _ => {
            return Err(Refusal::because(
                132_001,
                format!("template name ({name}) is not approved in {language}"),
            ));
        }
    }
    for kind in ["HEADER", "BODY"] {
        parameters(template, kind, sent)?;
    }
    Ok(())
}

fn parameters(template: &GraphTemplate, kind: &str, sent: &Value) -> Result<(), Refusal> {
    let given: Vec<&Value> = sent["components"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|component| {
            component["type"]
                .as_str()
                .is_some_and(|of| of.eq_ignore_ascii_case(kind))
        })
        .flat_map(|component| component["parameters"].as_array().into_iter().flatten())
        .collect();
    let format = template
        .component(kind)
        .and_then(|component| component["format"].as_str())
        .unwrap_or("TEXT")
        .to_ascii_lowercase();
    let wanted = placeholders(&template.component_text(kind));
    let count = if format == "text" { wanted.len() } else { 1 };
    let place = kind.to_ascii_lowercase();
    if given.len() != count {
        return Err(Refusal::because(
            132_000,
            format!(
                "{place}: number of localizable_params ({}) does not match the expected number of params ({count})",
                given.len()
            ),
        ));
    }
    if format != "text" && given.iter().any(|parameter| parameter["type"] != json!(format)) {
        return Err(Refusal::because(
            132_012,
            format!("{place}: Format mismatch, expected {format}"),
        ));
    }
    let named = template.parameter_format == "NAMED" && format == "text";
    let known = |parameter: &&Value| {
        let name = parameter["parameter_name"].as_str();
        name.is_some_and(|name| wanted.iter().any(|one| one == name))
    };
    if named && !given.iter().all(known) {
        return Err(Refusal::because(
            100,
            format!("{place}: Parameter name is missing or empty"),
        ));
    }
    Ok(())
}

/// `GET /{waba}/message_templates`.
pub(super) fn list(state: &GraphState, call: &Call, waba: &str) -> Answer {
    let is = |name: &str, value: &str| {
        call.query(name)
            .is_none_or(|wanted| wanted.eq_ignore_ascii_case(value))
    };
    let all: Vec<&GraphTemplate> = state
        .wabas
        .get(waba)
        .into_iter()
        .flat_map(|waba| &waba.templates)
        .filter(|one| is("name", &one.name) && is("language", &one.language))
        .filter(|one| is("status", &one.status) && is("category", &one.category))
        .collect();
    page(state, call, &all, |template| template.view())
}

/// One page of a list, with Meta's cursors.
pub(super) fn page<T>(state: &GraphState, call: &Call, all: &[T], view: impl Fn(&T) -> Value) -> Answer {
    let limit = call.limit().unwrap_or(PAGE).clamp(1, 1_000);
    let start = match call.query("after") {
        None => 0,
        Some(cursor) => match cursor.strip_prefix("QVFI").and_then(|place| place.parse().ok()) {
            Some(start) if start <= all.len() => start,
            _ => return Refusal::new(131_059).answer(),
        },
    };
    let end = (start + limit).min(all.len());
    let data: Vec<Value> = all.iter().take(end).skip(start).map(view).collect();
    if data.is_empty() {
        return Answer::ok(&json!({"data": []}));
    }
    let mut paging = json!({"cursors": {"before": format!("QVFI{start}"), "after": format!("QVFI{end}")}});
    if end < all.len() {
        let host = call.header("host").map(|host| format!("http://{host}"));
        let base = host.unwrap_or_else(|| state.base_url.trim_end_matches("/graph").to_owned());
        let mut query = form_urlencoded::Serializer::new(String::new());
        for (key, value) in call
            .query
            .iter()
            .filter(|(key, _)| key != "after" && key != "limit")
        {
            query.append_pair(key, value);
        }
        query.append_pair("limit", &limit.to_string());
        query.append_pair("after", &format!("QVFI{end}"));
        paging["next"] = json!(format!("{base}{}?{}", call.path, query.finish()));
    }
    Answer::ok(&json!({"data": data, "paging": paging}))
}

/// `POST /{waba}/message_templates`: waits for a decision.
pub(super) fn create(state: &mut GraphState, call: &Call, waba: &str) -> Answer {
    let Ok(body) = call.json::<Value>() else {
        return Refusal::new(100).answer();
    };
    let text = |key: &str| body[key].as_str().unwrap_or_default().to_owned();
    let (name, category) = (text("name"), text("category"));
    let valid = !name.is_empty()
        && name
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    let known = ["UTILITY", "MARKETING", "AUTHENTICATION"].contains(&category.as_str());
    if !valid || !known || text("language").is_empty() || !body["components"].is_array() {
        return Refusal::because(100, "name, language, category and components are required").answer();
    }
    let id = state.next_id("1689000000");
    let template = GraphTemplate {
        name,
        category: category.clone(),
        language: text("language"),
        status: "PENDING".to_owned(),
        parameter_format: text("parameter_format"),
        components: body["components"].as_array().cloned().unwrap_or_default(),
        ..GraphTemplate::default()
    }
    .completed(id.clone());
    let Some(waba) = state.wabas.get_mut(waba) else {
        return Refusal::no_such(waba, "post").answer();
    };
    let same = |one: &GraphTemplate| one.name == template.name && one.language == template.language;
    if waba.templates.iter().any(same) || waba.templates.len() >= MOST {
        return Refusal {
            subcode: Some(2_388_024),
            ..Refusal::because(100, "Content in this language already exists")
        }
        .answer();
    }
    waba.templates.push(template);
    Answer::ok(&json!({"id": id, "status": "PENDING", "category": category}))
}

/// `DELETE /{waba}/message_templates?name=`.
pub(super) fn delete(state: &mut GraphState, call: &Call, waba: &str) -> Answer {
    let name = call.query("name").unwrap_or_default();
    let Some(waba) = state.wabas.get_mut(waba) else {
        return Refusal::no_such(waba, "delete").answer();
    };
    let before = waba.templates.len();
    waba.templates.retain(|template| template.name != name);
    if waba.templates.len() == before {
        return Refusal {
            subcode: Some(2_593_002),
            ..Refusal::because(100, "No template of this name")
        }
        .answer();
    }
    Answer::ok(&json!({"success": true}))
}
