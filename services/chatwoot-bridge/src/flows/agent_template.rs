//! Chatwoot's template parameters as a template of WhatsApp's. Chatwoot writes them in two shapes: what is filled in by its
//! place in the words, and, in newer versions, that for each part of the template.

use domain::message::{MessageContent, TemplateMessage};
use serde_json::{Map, Value, json};

/// The template, filled in. `None`: these are no parameters, or break a rule of WhatsApp's.
pub(super) fn content(parameters: &Value) -> Option<MessageContent> {
    let text = |key: &str| parameters.get(key).and_then(Value::as_str);
    let filled_in = parameters.get("processed_params").unwrap_or(&Value::Null);
    let mut components = Vec::new();
    match filled_in {
        Value::Object(filled_in) if filled_in.values().any(is_a_part) => {
            components.extend(filled_in.get("header").and_then(header));
            components.extend(filled_in.get("body").and_then(Value::as_object).and_then(body));
            let buttons = filled_in.get("buttons").and_then(Value::as_array);
            let buttons = buttons.into_iter().flatten().enumerate();
            components.extend(buttons.filter_map(|(index, filled_in)| button(index, filled_in)));
        }
        Value::Object(filled_in) => components.extend(body(filled_in)),
        _ => {}
    }
    let template = json!({
        "name": text("name")?,
        "language": {"code": text("language").unwrap_or("en")},
        "components": components,
    });
    let template: TemplateMessage = serde_json::from_value(template).ok()?;
    template.validate().ok()?;
    Some(MessageContent::Template { template })
}

fn is_a_part(value: &Value) -> bool {
    value.is_object() || value.is_array()
}

/// Keys are places, counted from 1, or names.
fn body(filled_in: &Map<String, Value>) -> Option<Value> {
    let mut words: Vec<(&String, String)> = filled_in
        .iter()
        .filter_map(|(key, value)| Some((key, written(value)?)))
        .collect();
    words.sort_by_key(|(key, _)| key.parse::<u32>().unwrap_or(u32::MAX));
    let parameters: Vec<Value> = words
        .into_iter()
        .map(|(key, text)| {
            if key.parse::<u32>().is_ok() {
                json!({"type": "text", "text": text})
            } else {
                json!({"type": "text", "parameter_name": key, "text": text})
            }
        })
        .collect();
    (!parameters.is_empty()).then(|| json!({"type": "body", "parameters": parameters}))
}

fn header(filled_in: &Value) -> Option<Value> {
    let link = filled_in.get("media_url").and_then(Value::as_str);
    if let Some(link) = link.filter(|link| !link.is_empty()) {
        let kind = filled_in
            .get("media_type")
            .and_then(Value::as_str)
            .unwrap_or("image");
        let mut file = json!({"link": link});
        if kind == "document"
            && let Some(name) = filled_in.get("media_name").and_then(Value::as_str)
        {
            file["filename"] = json!(name);
        }
        return Some(json!({"type": "header", "parameters": [{"type": kind, kind: file}]}));
    }
    let words = filled_in.as_object()?;
    let text = words
        .iter()
        .find(|(key, _)| !key.starts_with("media_"))
        .and_then(|(_, value)| written(value))?;
    Some(json!({"type": "header", "parameters": [{"type": "text", "text": text}]}))
}

fn button(index: usize, filled_in: &Value) -> Option<Value> {
    let kind = filled_in.get("type").and_then(Value::as_str)?;
    let value = written(filled_in.get("parameter")?)?;
    let parameter = match kind {
        "url" => json!({"type": "text", "text": value}),
        "copy_code" => json!({"type": "coupon_code", "coupon_code": value}),
        _ => return None,
    };
    Some(json!({"type": "button", "sub_type": kind, "index": index.to_string(), "parameters": [parameter]}))
}

fn written(value: &Value) -> Option<String> {
    match value {
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(parameters: Value) -> Option<Value> {
        match content(&parameters)? {
            MessageContent::Template { template } => serde_json::to_value(template).ok(),
            _ => None,
        }
    }

    #[test]
    fn both_shapes_are_filled_in_in_order() {
        let old =
            json!({"name": "janji", "language": "id", "processed_params": {"10": "j", "2": "b", "1": "a"}});
        let texts: Vec<Value> = ["a", "b", "j"]
            .iter()
            .map(|text| json!({"type": "text", "text": text}))
            .collect();
        let body = json!({"type": "body", "parameters": texts});
        assert_eq!(
            read(old).unwrap(),
            json!({"name": "janji", "language": {"code": "id"}, "components": [body]})
        );
        let new = json!({"name": "tagihan", "language": "id", "processed_params": {
            "header": {"media_url": "https://toko.example/a.pdf", "media_type": "document", "media_name": "a.pdf"},
            "body": {"nama": "Sari"},
            "buttons": [{"type": "url", "parameter": "123"}, {"type": "copy_code", "parameter": "HEMAT"}]}});
        let read = read(new).unwrap();
        assert_eq!(read["components"].as_array().unwrap().len(), 4);
        assert_eq!(read["components"][1]["parameters"][0]["parameter_name"], "nama");
        assert_eq!(read["components"][3]["index"], "1");
    }

    #[test]
    fn what_is_no_template_is_none() {
        assert!(content(&json!({})).is_none());
        assert!(content(&json!({"name": 7})).is_none());
        assert!(content(&json!({"name": "polos", "language": "id"})).is_some());
    }
}
