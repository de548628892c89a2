//! A message held against the template that it names, before it is sent (Cloud API contract 3.2).

use std::collections::BTreeSet;

use domain::message::{InvalidContent, TemplateComponent, TemplateMessage, TemplateParameter};
use domain::text::Text;

use super::templates::{Template, TemplateHeader, Variables};

/// Does a message fill in what a template wants? Everything that Meta would answer with 132000, 132001 or 132012.
///
/// # Errors
/// [`InvalidContent`] for the first field that does not fit.
pub fn check(message: &TemplateMessage, template: &Template) -> Result<(), InvalidContent> {
    message.validate()?;
    if message.name != template.name {
        return Err(InvalidContent::new("name", "is not this template's"));
    }
    if message.language.code != template.language {
        return Err(InvalidContent::new("language.code", "is not this template's"));
    }
    if !template.is_approved() {
        return Err(InvalidContent::new("name", "is a template that is not approved"));
    }
    let (mut header, mut body) = (None, None);
    let mut filled = BTreeSet::new();
    for (position, component) in message.components.iter().enumerate() {
        let place = format!("components[{position}]");
        match component {
            TemplateComponent::Header { parameters } => header = Some((place, parameters.as_slice())),
            TemplateComponent::Body { parameters } => body = Some((place, parameters.as_slice())),
            TemplateComponent::Button {
                sub_type,
                index,
                parameters,
            } => {
                check_button(template, usize::from(index.0), sub_type, parameters)
                    .map_err(|error| error.within(&place))?;
                filled.insert(usize::from(index.0));
            }
            // What we do not take apart, we do not judge.
            TemplateComponent::Other(_) => {}
        }
    }
    let (place, given) = header.unwrap_or_else(|| ("components.header".to_owned(), &[]));
    check_header(template.header.as_ref(), given).map_err(|error| error.within(&place))?;
    let (place, given) = body.unwrap_or_else(|| ("components.body".to_owned(), &[]));
    template.body.check(given).map_err(|error| error.within(&place))?;
    let empty = template
        .buttons
        .iter()
        .enumerate()
        .find(|(index, button)| button.wants && !filled.contains(index));
    match empty {
        Some((index, _)) => Err(InvalidContent::new(
            "components",
            format!("must have one for button {index}"),
        )),
        None => Ok(()),
    }
}

fn check_header(header: Option<&TemplateHeader>, given: &[TemplateParameter]) -> Result<(), InvalidContent> {
    match header {
        None => Variables::Positional(0).check(given),
        Some(TemplateHeader::Text(variables)) => variables.check(given),
        Some(TemplateHeader::Media(kind)) => match given {
            [one] if one.type_name() == *kind => Ok(()),
            [_] => Err(InvalidContent::new(
                "parameters[0].type",
                format!("must be {kind}"),
            )),
            _ => Err(InvalidContent::new(
                "parameters",
                format!("must have exactly one of type {kind}"),
            )),
        },
        Some(TemplateHeader::Other) => Ok(()),
    }
}

fn check_button(
    template: &Template,
    index: usize,
    sub_type: &Text,
    given: &[TemplateParameter],
) -> Result<(), InvalidContent> {
    let Some(button) = template.buttons.get(index) else {
        return Err(InvalidContent::new(
            "index",
            format!("is beyond the template's {} buttons", template.buttons.len()),
        ));
    };
    if sub_type.as_str() != button.sub_type {
        return Err(InvalidContent::new(
            "sub_type",
            format!("must be {}", button.sub_type),
        ));
    }
    let fits = if button.wants {
        !given.is_empty()
    } else {
        // An address without an end to fill in takes none; other buttons may be told what comes back.
        given.is_empty() || button.sub_type != "url"
    };
    if fits {
        Ok(())
    } else {
        let rule = if button.wants {
            "must have one entry"
        } else {
            "may not be there: the button wants nothing filled in"
        };
        Err(InvalidContent::new("parameters", rule))
    }
}

impl Variables {
    fn check(&self, given: &[TemplateParameter]) -> Result<(), InvalidContent> {
        match self {
            Self::Positional(wanted) if given.len() != *wanted => Err(InvalidContent::new(
                "parameters",
                format!("must have exactly {wanted}, and {} are given", given.len()),
            )),
            Self::Positional(_) => match given.iter().position(|one| one.name().is_some()) {
                Some(position) => Err(InvalidContent::new(
                    format!("parameters[{position}].parameter_name"),
                    "may not be there: the template's parameters have no names",
                )),
                None => Ok(()),
            },
            Self::Named(wanted) => named(wanted, given),
        }
    }
}

fn named(wanted: &BTreeSet<String>, given: &[TemplateParameter]) -> Result<(), InvalidContent> {
    for (position, parameter) in given.iter().enumerate() {
        let known = parameter
            .name()
            .is_some_and(|name| wanted.contains(name.as_str()));
        if !known {
            return Err(InvalidContent::new(
                format!("parameters[{position}].parameter_name"),
                "is none of the template's",
            ));
        }
    }
    let is_given = |name: &String| {
        let mut names = given.iter().filter_map(TemplateParameter::name);
        names.any(|given| given.as_str() == name)
    };
    match wanted.iter().find(|name| !is_given(name)) {
        Some(missing) => Err(InvalidContent::new(
            "parameters",
            format!("must have one named {missing}"),
        )),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn template(value: &Value) -> Template {
        Template::read(value).unwrap()
    }

    fn court() -> Value {
        json!({
            "id": "1", "name": "pengingat_sidang", "language": "id", "status": "APPROVED", "category": "UTILITY",
            "parameter_format": "POSITIONAL",
            "components": [
                {"type": "HEADER", "format": "DOCUMENT"},
                {"type": "BODY", "text": "Yth. {{1}}, sidang {{2}}, biaya {{3}}; {{1}}"},
                {"type": "BUTTONS", "buttons": [
                    {"type": "QUICK_REPLY", "text": "Ya"},
                    {"type": "URL", "text": "Lihat", "url": "https://example.test/{{1}}"},
                ]},
            ],
        })
    }

    /// The contract's first sample.
    fn summons() -> Value {
        json!({
            "name": "pengingat_sidang", "language": {"code": "id"},
            "components": [
                {"type": "header", "parameters": [
                    {"type": "document", "document": {"id": "1900000000000010", "filename": "panggilan.pdf"}}]},
                {"type": "body", "parameters": [
                    {"type": "text", "text": "Sari"},
                    {"type": "date_time", "date_time": {"fallback_value": "22 November 2026"}},
                    {"type": "currency",
                     "currency": {"fallback_value": "Rp 150.000", "code": "IDR", "amount_1000": 150_000_000}}]},
                {"type": "button", "sub_type": "quick_reply", "index": "0",
                 "parameters": [{"type": "payload", "payload": "confirm:4711"}]},
                {"type": "button", "sub_type": "url", "index": "1",
                 "parameters": [{"type": "text", "text": "perkara/4711"}]},
            ],
        })
    }

    fn told(message: Value, template: &Template) -> String {
        let message: TemplateMessage = serde_json::from_value(message).unwrap();
        check(&message, template).map_or_else(|error| error.to_string(), |()| "fits".to_owned())
    }

    #[test]
    fn a_message_fits_its_template_or_says_where_not() {
        let court = template(&court());
        assert_eq!(told(summons(), &court), "fits");
        type Change = fn(&mut Value);
        let changes: [(Change, &str); 9] = [
            (|m| m["name"] = json!("lain"), "name is not this template's"),
            (
                |m| m["language"]["code"] = json!("en"),
                "language.code is not this template's",
            ),
            (
                |m| m["components"][0]["parameters"] = json!([]),
                "components[0].parameters must have exactly one of type document",
            ),
            (
                |m| m["components"][0]["parameters"] = json!([{"type": "image", "image": {"id": "1"}}]),
                "components[0].parameters[0].type must be document",
            ),
            (
                |m| drop(m["components"][1]["parameters"].as_array_mut().unwrap().pop()),
                "components[1].parameters must have exactly 3, and 2 are given",
            ),
            (
                |m| {
                    for one in m["components"][1]["parameters"].as_array_mut().unwrap() {
                        one["parameter_name"] = json!(one["type"].as_str().unwrap());
                    }
                },
                "components[1].parameters[0].parameter_name may not be there: the template's parameters have no names",
            ),
            (
                |m| m["components"][2]["sub_type"] = json!("url"),
                "components[2].sub_type must be quick_reply",
            ),
            (
                |m| drop(m["components"].as_array_mut().unwrap().pop()),
                "components must have one for button 1",
            ),
            (
                |m| m["components"][3]["index"] = json!(2),
                "components[3].index is beyond the template's 2 buttons",
            ),
        ];
        for (change, expected) in changes {
            let mut message = summons();
            change(&mut message);
            assert_eq!(told(message, &court), expected);
        }
    }

    #[test]
    fn named_parameters_are_matched_by_name() {
        let template = template(&json!({
            "name": "janji_temu", "language": "id", "status": "APPROVED", "parameter_format": "NAMED",
            "components": [{"type": "BODY", "text": "Halo {{nama}}, jam {{jam}}"}],
        }));
        let message = |names: &[&str]| {
            let parameters: Vec<Value> = names
                .iter()
                .map(|name| json!({"type": "text", "parameter_name": name, "text": "x"}))
                .collect();
            json!({"name": "janji_temu", "language": {"code": "id"},
                   "components": [{"type": "body", "parameters": parameters}]})
        };
        assert_eq!(told(message(&["jam", "nama"]), &template), "fits");
        assert_eq!(
            told(message(&["nama"]), &template),
            "components[0].parameters must have one named jam"
        );
        assert_eq!(
            told(message(&["nama", "jam", "tempat"]), &template),
            "components[0].parameters[2].parameter_name is none of the template's"
        );
    }

    #[test]
    fn what_is_not_approved_is_not_sent() {
        let mut paused = court();
        paused["status"] = json!("PAUSED");
        assert_eq!(
            told(summons(), &template(&paused)),
            "name is a template that is not approved"
        );
    }

    #[test]
    fn a_code_fills_the_words_and_the_button() {
        let template = template(&json!({
            "name": "kode_masuk", "language": "id", "status": "APPROVED", "category": "AUTHENTICATION",
            "components": [
                {"type": "BODY", "add_security_recommendation": true},
                {"type": "BUTTONS", "buttons": [{"type": "OTP", "otp_type": "COPY_CODE"}]}],
        }));
        let code = json!({
            "name": "kode_masuk", "language": {"code": "id"},
            "components": [
                {"type": "body", "parameters": [{"type": "text", "text": "493021"}]},
                {"type": "button", "sub_type": "url", "index": "0",
                 "parameters": [{"type": "text", "text": "493021"}]}],
        });
        assert_eq!(told(code, &template), "fits");
    }
}
