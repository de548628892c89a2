//! What each kind of `/chat/send/*` carries, and its checks (§7.1).

use serde_json::{Map, Value, json};

use super::error;
use super::fields::{Fields, missing};
use super::media::{describe, parse_data_url};
use super::state::SentMedia;
use crate::http::Answer;

/// What a send carries: its text, its media, and the message as WhatsApp would encode it.
pub(super) struct Content {
    pub(super) text: Option<String>,
    pub(super) media: Option<SentMedia>,
    pub(super) message: Value,
}

/// Reads and checks the body of `/chat/send/<kind>`, receiver aside.
pub(super) fn read(fields: &Fields, kind: &str) -> Result<Content, Answer> {
    let plain = |text: Option<String>, message: Value| Content {
        text,
        media: None,
        message,
    };
    Ok(match kind {
        "text" => {
            let body = fields.required("Body")?;
            let message = json!({"extendedTextMessage": {
                "text": body, "matchedText": "", "description": "", "title": "",
            }});
            plain(Some(body), message)
        }
        "location" => {
            let (latitude, longitude) = (fields.number("Latitude")?, fields.number("Longitude")?);
            // Exactly 0 counts as missing, as in the original.
            if latitude == 0.0 {
                return Err(missing("Latitude"));
            }
            if longitude == 0.0 {
                return Err(missing("Longitude"));
            }
            let name = fields.text("Name")?;
            let message = json!({"locationMessage": {
                "degreesLatitude": latitude, "degreesLongitude": longitude, "name": name,
            }});
            plain(Some(name), message)
        }
        "contact" => {
            let (name, vcard) = (fields.required("Name")?, fields.required("Vcard")?);
            let message = json!({"contactMessage": {"displayName": name, "vcard": vcard}});
            plain(Some(name), message)
        }
        "poll" => {
            let header = fields.required("header")?;
            let options = fields.texts("options")?.unwrap_or_default();
            if options.len() < 2 {
                return Err(error(400, "at least 2 options are required"));
            }
            let options: Vec<Value> = options.iter().map(|name| json!({"optionName": name})).collect();
            let message = json!({"pollCreationMessageV3": {
                "name": header, "options": options, "selectableOptionsCount": 1,
            }});
            plain(Some(header), message)
        }
        "buttons" => {
            let title = fields.required("Title")?;
            fields.get("Buttons").ok_or_else(|| missing("Buttons"))?;
            plain(
                Some(title.clone()),
                json!({"buttonsMessage": {"contentText": title}}),
            )
        }
        "list" => {
            let (button, description) = (fields.required("ButtonText")?, fields.required("Desc")?);
            let title = fields.required("TopText")?;
            let message = json!({"listMessage": {
                "title": title, "description": description, "buttonText": button,
            }});
            plain(Some(description), message)
        }
        _ => media_content(fields, kind)?,
    })
}

fn media_content(fields: &Fields, kind: &str) -> Result<Content, Answer> {
    let (field, prefix) = match kind {
        "image" => ("Image", "data:image"),
        "audio" => ("Audio", "data:audio/"),
        "document" => ("Document", "data:application/octet-stream"),
        "video" => ("Video", "data:"),
        _ => ("Sticker", "data:"),
    };
    let source = fields.required(field)?;
    let file_name = match kind {
        "document" => Some(fields.required("FileName")?),
        _ => None,
    };
    // The original slices these without looking at their length and panics: the connection closes unanswered (§16).
    if (kind == "document" && source.len() < 29) || (kind == "video" && source.len() < 4) {
        return Err(Answer::cut());
    }
    let by_url = source.starts_with("http://") || source.starts_with("https://");
    let declared = fields.text("MimeType")?;
    let media = if by_url && matches!(kind, "image" | "video") {
        SentMedia {
            mimetype: declared,
            bytes: 0,
            sha256: String::new(),
            file_name: None,
            url: Some(source),
        }
    } else {
        if !source.starts_with(prefix) {
            return Err(error(400, &format!("{kind} data should start with \"{prefix}\"")));
        }
        let Some((inline_type, bytes)) = parse_data_url(&source) else {
            return Err(error(400, "could not decode base64 encoded data from payload"));
        };
        let mimetype = if declared.is_empty() {
            inline_type
        } else {
            declared
        };
        describe(mimetype, &bytes, file_name.clone())
    };
    let caption = Some(fields.text("Caption")?).filter(|caption| !caption.is_empty());
    let mut inner = json!({"mimetype": media.mimetype, "fileLength": media.bytes});
    if let Some(caption) = &caption {
        inner["caption"] = json!(caption);
    }
    if let Some(name) = &file_name {
        inner["fileName"] = json!(name);
    }
    if kind == "audio" {
        inner["PTT"] = json!(fields.flag("ptt")?.unwrap_or(true));
    }
    let mut message = Map::new();
    message.insert(format!("{kind}Message"), inner);
    Ok(Content {
        text: caption,
        media: Some(media),
        message: Value::Object(message),
    })
}
