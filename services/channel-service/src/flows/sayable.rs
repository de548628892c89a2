//! What can be said through which provider, known before anything is queued.

use domain::address::ChatAddress;
use domain::endpoint::Provider;
use domain::message::{InteractiveHeader, MediaReference, TemplateComponent, TemplateParameter};
use domain::message::{InteractiveMessage, InvalidContent, MediaSource, MessageContent, TemplateMessage};
use outbound_url::OutboundPolicy;

/// Most contact cards where each is a call of its own.
const MOST_CARDS: usize = 10;

/// Can this be said there? Links that begin with `own_files` lead to files of ours.
///
/// # Errors
/// [`InvalidContent`]: the field, and why not.
pub fn check(provider: Provider, content: &MessageContent, own_files: &str) -> Result<(), InvalidContent> {
    let is_cloud = provider == Provider::Cloud;
    let only_meta = |field: &str| {
        Err(InvalidContent::new(
            field,
            "is known to the WhatsApp Cloud API only, which this device does not use",
        ))
    };
    match content {
        MessageContent::Template { template } if is_cloud => links_of_template(template, own_files),
        MessageContent::Interactive { interactive } if is_cloud => {
            links_of_interactive(interactive, own_files)
        }
        MessageContent::Template { .. } => only_meta("template"),
        MessageContent::Interactive { .. } => only_meta("interactive"),
        MessageContent::Media(media) if !is_cloud => {
            let is_metas = |source: &MediaSource| matches!(source, MediaSource::Graph(_));
            if media.sources.iter().any(is_metas) {
                return only_meta("id");
            }
            Ok(())
        }
        MessageContent::Contacts { contacts } if !is_cloud && contacts.len() > MOST_CARDS => Err(
            InvalidContent::new("contacts", "may have ten entries through this device"),
        ),
        MessageContent::Edit { .. } | MessageContent::Revoke { .. } if is_cloud => Err(InvalidContent::new(
            "type",
            "is nothing that the WhatsApp Cloud API can do: it neither edits nor deletes messages",
        )),
        _ => Ok(()),
    }
}

/// Can anything be said to this address there?
///
/// # Errors
/// [`InvalidContent`]: the field, and why not.
pub fn check_recipient(provider: Provider, to: &ChatAddress) -> Result<(), InvalidContent> {
    let is_metas = match to {
        ChatAddress::Phone(_) => return Ok(()),
        ChatAddress::User(_) => true,
        ChatAddress::Lid(_) | ChatAddress::Group(_) | ChatAddress::Other(_) | ChatAddress::Visitor(_) => {
            false
        }
    };
    match (provider == Provider::Cloud, is_metas) {
        (true, true) | (false, false) => Ok(()),
        (true, false) => Err(InvalidContent::new(
            "to",
            "must be a phone number or a user id: the WhatsApp Cloud API writes to nobody else",
        )),
        (false, true) => Err(InvalidContent::new(
            "recipient",
            "is known to the WhatsApp Cloud API only, which this device does not use",
        )),
    }
}

/// Files of these are fetched by Meta, so they have to be where Meta can get at them, and nowhere in our own network.
fn link(field: &str, file: &MediaReference, own_files: &str) -> Result<(), InvalidContent> {
    let Some(link) = &file.link else { return Ok(()) };
    let is_ours = link.as_str().starts_with(own_files);
    let is_public = link
        .as_str()
        .parse()
        .is_ok_and(|url| OutboundPolicy::default().check_link(&url).is_ok());
    if is_ours || is_public {
        Ok(())
    } else {
        Err(InvalidContent::new(
            format!("{field}.link"),
            "must be a public address",
        ))
    }
}

fn links_of_template(template: &TemplateMessage, own_files: &str) -> Result<(), InvalidContent> {
    for (position, component) in template.components.iter().enumerate() {
        let TemplateComponent::Header { parameters } = component else {
            continue;
        };
        for (nth, parameter) in parameters.iter().enumerate() {
            let place = format!("template.components[{position}].parameters[{nth}]");
            match parameter {
                TemplateParameter::Image { image } => link(&format!("{place}.image"), image, own_files)?,
                TemplateParameter::Video { video } => link(&format!("{place}.video"), video, own_files)?,
                TemplateParameter::Document { document } => {
                    link(&format!("{place}.document"), document, own_files)?;
                }
                _ => {}
            }
        }
    }
    Ok(())
}

fn links_of_interactive(message: &InteractiveMessage, own_files: &str) -> Result<(), InvalidContent> {
    let header = match message {
        InteractiveMessage::Button(framed) => framed.header.as_ref(),
        InteractiveMessage::List(framed) => framed.header.as_ref(),
        InteractiveMessage::CtaUrl(framed) => framed.header.as_ref(),
        InteractiveMessage::Flow(framed) => framed.header.as_ref(),
        InteractiveMessage::ProductList(framed) => framed.header.as_ref(),
        InteractiveMessage::Product(framed) => framed.header.as_ref(),
        InteractiveMessage::LocationRequestMessage(framed) => framed.header.as_ref(),
        InteractiveMessage::Raw(_) => None,
    };
    match header {
        Some(InteractiveHeader::Image { image }) => link("interactive.header.image", image, own_files),
        Some(InteractiveHeader::Video { video }) => link("interactive.header.video", video, own_files),
        Some(InteractiveHeader::Document { document }) => {
            link("interactive.header.document", document, own_files)
        }
        Some(InteractiveHeader::Text { .. }) | None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn phones_are_written_to_everywhere_user_ids_at_meta_and_groups_elsewhere() {
        for (address, refused_at_meta, refused_elsewhere) in [
            ("6281290000011@s.whatsapp.net", None, None),
            ("ID.90812345670000000001@bsuid", None, Some("recipient")),
            ("120363025246125486@g.us", Some("to"), None),
            ("123456789012345@lid", Some("to"), None),
        ] {
            let to = ChatAddress::parse(address).unwrap();
            let refused = |provider| {
                let refused = check_recipient(provider, &to).err();
                refused.map(|error| error.field().to_owned())
            };
            assert_eq!(refused(Provider::Cloud).as_deref(), refused_at_meta, "{address}");
            for provider in [Provider::Genfity, Provider::Gowa] {
                assert_eq!(refused(provider).as_deref(), refused_elsewhere, "{address}");
            }
        }
    }

    #[test]
    fn meta_fetches_from_public_addresses_and_from_ours_only() {
        let with = |link: &str| {
            let message = json!({"type": "button", "body": {"text": "Hadir?"},
                "header": {"type": "image", "image": {"link": link}},
                "action": {"buttons": [{"type": "reply", "reply": {"id": "1", "title": "Ya"}}]}});
            let content = MessageContent::Interactive {
                interactive: serde_json::from_value(message).unwrap(),
            };
            check(Provider::Cloud, &content, "http://10.0.0.7:3001/")
        };
        assert_eq!(with("https://media.example.org/a.jpg"), Ok(()));
        assert_eq!(with("http://10.0.0.7:3001/uploads/media/a"), Ok(()));
        for private in [
            "http://10.0.0.7:3002/a.jpg",
            "http://127.0.0.1/a.jpg",
            "http://169.254.169.254/",
        ] {
            assert_eq!(
                with(private).unwrap_err().field(),
                "interactive.header.image.link",
                "{private}"
            );
        }
    }
}
