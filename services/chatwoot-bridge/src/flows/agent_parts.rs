//! What an agent's message is made of on WhatsApp: words and files, in order, each a message of its own there. The words
//! stand once: under the first file, where WhatsApp shows words under it, and else before everything (contract 6, 16).

use std::fmt;

use chrono::Utc;
use database::DatabaseError;
use domain::ids::{AccountId, ProviderMessageId};
use domain::message::{Media, MessageContent};
use domain::text::Text;
use messaging::events::send_requested::SendRequested;
use serde_json::Value;
use tenant_isolation::TenantTransaction;
use uuid::Uuid;

use super::Tools;
use super::agent_files::{Attached, Attachment, fetched_from, takes_caption};
use super::agent_template;
use super::agent_text;
use super::reference::Reference;
use super::reflect_status::refusals;
use crate::store::agent_files::{self, FileKey};
use crate::store::agent_parts::{self, Part};
use crate::store::inboxes::Inbox;
use crate::store::outbound_options::OutboundOptions;

/// Longest text the sender takes, in characters.
const LONGEST_TEXT: usize = 65_536;
/// Longest words under a file, in characters; WhatsApp takes no more there.
const LONGEST_CAPTION: usize = 1_024;
/// Most parts of one message; Chatwoot takes 15 files.
pub(super) const MOST_PARTS: i32 = 32;
/// The mark of messages that are in WhatsApp; the convention of GoWA and Evolution (contract 2.11).
const MARK: &str = "WAID:";

/// What an agent wrote, as a webhook or Chatwoot's own list has it.
#[derive(Clone, Default, PartialEq)]
pub struct Written {
    /// The text as Chatwoot has it.
    pub content: Option<String>,
    /// What is attached.
    pub attachments: Vec<Attachment>,
    /// The agent's name; none where no person wrote it.
    pub author: Option<String>,
    /// Which message it answers, in Chatwoot.
    pub in_reply_to: Option<i64>,
    /// And by the mark of that message.
    pub in_reply_to_mark: Option<String>,
    /// The template that it was made from.
    pub template: Option<Value>,
    /// Chatwoot wrote it by itself: a greeting, an out-of-office message, a survey.
    pub automatic: bool,
    /// No person wrote it: it is automatic, a bot's, or what an automation rule says.
    pub by_machine: bool,
}

impl fmt::Debug for Written {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Written")
            .field("attachments", &self.attachments.len())
            .finish_non_exhaustive()
    }
}

impl Written {
    /// Nothing but words.
    #[must_use]
    pub fn words(content: &str) -> Self {
        Self {
            content: Some(content.to_owned()),
            ..Self::default()
        }
    }

    /// Reads a message's JSON (contract 2.8, 3.4), its top level only. Missing keys and keys of another type are as if
    /// they were null.
    #[must_use]
    pub fn read(message: &Value) -> Self {
        let attributes = message.get("content_attributes").unwrap_or(&Value::Null);
        let sender = message.get("sender").unwrap_or(&Value::Null);
        let text = |from: &Value, key: &str| from.get(key).and_then(Value::as_str).map(str::to_owned);
        let is_person = sender.get("type").and_then(Value::as_str) == Some("user");
        // A word in webhooks, a number elsewhere.
        let automatic = match message.get("message_type") {
            Some(Value::String(word)) => word == "template",
            Some(number) => number.as_i64() == Some(3),
            None => false,
        };
        let by_rule = attributes
            .get("automation_rule_id")
            .is_some_and(|rule| !rule.is_null());
        Self {
            content: text(message, "content"),
            attachments: message
                .get("attachments")
                .and_then(Value::as_array)
                .map(|list| list.iter().map(Attachment::read).collect())
                .unwrap_or_default(),
            author: text(sender, "name").filter(|_| is_person),
            in_reply_to: attributes.get("in_reply_to").and_then(Value::as_i64),
            in_reply_to_mark: text(attributes, "in_reply_to_external_id"),
            template: message
                .get("additional_attributes")
                .and_then(|attributes| attributes.get("template_params"))
                .filter(|template| template.is_object())
                .cloned(),
            automatic,
            by_machine: automatic || by_rule || !is_person,
        }
    }
}

/// What one part says.
#[derive(Clone, PartialEq)]
pub(super) enum Said {
    /// Words, and nothing else.
    Words(String),
    /// A file in Chatwoot.
    File {
        media: Media,
        name: String,
        data_url: String,
    },
    /// Anything else.
    Other(MessageContent),
}

/// The parts of a message, or why it cannot be sent. One that cannot be sent whole is not sent: half a message is worse than
/// a red mark.
pub(super) fn parts_of(written: &Written, options: &OutboundOptions) -> Result<Vec<Said>, &'static str> {
    if let Some(template) = &written.template
        && options.sends_templates()
    {
        let content = agent_template::content(template).ok_or(refusals::TEMPLATE)?;
        return Ok(vec![Said::Other(content)]);
    }
    let mut text = agent_text::for_whatsapp(written.content.as_deref().unwrap_or_default());
    let has_words = !text.trim().is_empty();
    if has_words
        && options.sign_agents
        && let Some(author) = &written.author
    {
        text = agent_text::signed(author, &options.sign_delimiter, &text);
    }
    let length = text.chars().count();
    if length > LONGEST_TEXT {
        return Err(refusals::TOO_LONG);
    }
    let mut parts = Vec::with_capacity(written.attachments.len() + 1);
    for attachment in &written.attachments {
        parts.push(match attachment.attached()? {
            Attached::File { media, name } => Said::File {
                media,
                name,
                data_url: attachment.data_url.clone().unwrap_or_default(),
            },
            Attached::Place(content) => Said::Other(content),
            Attached::Words(words) => Said::Words(words),
        });
    }
    if has_words {
        match parts.first_mut() {
            Some(Said::File { media, .. }) if takes_caption(media) && length <= LONGEST_CAPTION => {
                media.caption = Some(Text::new(&text));
            }
            _ => parts.insert(0, Said::Words(text)),
        }
    }
    match i32::try_from(parts.len()).unwrap_or(i32::MAX) {
        0 => Err(refusals::EMPTY),
        1..=MOST_PARTS => Ok(parts),
        _ => Err(refusals::ATTACHMENTS),
    }
}

/// What all orders of one message have in common.
pub(super) struct Ordering<'a> {
    pub(super) tools: &'a Tools,
    pub(super) inbox: &'a Inbox,
    pub(super) message_id: i64,
    /// To whom.
    pub(super) to: &'a str,
    /// What the first part answers.
    pub(super) quoted: Option<ProviderMessageId>,
}

impl Ordering<'_> {
    /// Can the part be ordered at all? A file needs a link, and a link an address of ours.
    pub(super) fn check(&self, said: &Said) -> Result<(), &'static str> {
        match said {
            Said::File { .. } if self.tools.file_links.is_none() => Err(refusals::NO_FILES_URL),
            _ => Ok(()),
        }
    }

    /// Notes the part as it is ordered now, and makes the order, in the place of an earlier one or not.
    pub(super) async fn order(
        &self,
        tx: &mut TenantTransaction,
        part: &Part,
        said: Said,
        replaces: Option<Uuid>,
    ) -> Result<SendRequested, DatabaseError> {
        agent_parts::put(tx, self.inbox.id, self.message_id, part).await?;
        let (text, content) = match said {
            Said::Words(text) => (text, None),
            Said::Other(content) => (String::new(), Some(content)),
            Said::File {
                media,
                name,
                data_url,
            } => {
                let file = FileKey {
                    inbox_id: self.inbox.id,
                    message_id: self.message_id,
                    part: part.number,
                };
                agent_files::put(tx, &file, &data_url).await?;
                let links = self.tools.file_links.as_ref();
                let link = links.map(|links| links.of(tx.scope().tenant(), &file, &name, Utc::now()));
                (String::new(), Some(fetched_from(media, link.unwrap_or_default())))
            }
        };
        let reference = Reference {
            inbox_id: self.inbox.id,
            message_id: self.message_id,
            part: part.number,
            attempt: part.attempt,
        };
        Ok(SendRequested {
            request_id: part.request_id,
            account_id: AccountId::from_uuid(self.inbox.account_id),
            to: self.to.to_owned(),
            text,
            content,
            quoted: self.quoted.clone().filter(|_| part.number == 0),
            reference: Some(reference.to_string()),
            replaces,
        })
    }
}

/// What a message answers, in WhatsApp. Some versions of Chatwoot know only the one id, some only the other (contract 3.4).
pub(super) async fn quoted(
    tx: &mut TenantTransaction,
    inbox: &Inbox,
    written: &Written,
) -> Result<Option<ProviderMessageId>, DatabaseError> {
    if let Some(message) = written.in_reply_to
        && let Some(id) = agent_parts::known_as(tx, inbox.id, message).await?
    {
        return Ok(Some(id));
    }
    let mark = written.in_reply_to_mark.as_deref();
    let id = mark.and_then(|mark| mark.strip_prefix(MARK));
    // Behind the id stands what tells the parts of one message apart.
    let id = id.map(|id| id.split_once('#').map_or(id, |(id, _)| id));
    Ok(id.and_then(|id| ProviderMessageId::parse(id).ok()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn file(name: &str, file_type: &str) -> Value {
        json!({"file_type": file_type, "data_url": format!("https://chat.example/x/{name}")})
    }

    fn written(content: &str, attachments: &[Value]) -> Written {
        Written::read(
            &json!({"content": content, "attachments": attachments, "message_type": "outgoing",
            "sender": {"name": "Budi", "type": "user"}}),
        )
    }

    fn shape(parts: &[Said]) -> Vec<String> {
        let one = |part: &Said| match part {
            Said::Words(words) => format!("words {words}"),
            Said::File { media, .. } => format!(
                "{} {}",
                media.media_kind.as_str(),
                media.caption.as_ref().map_or("-", Text::as_str)
            ),
            Said::Other(content) => content.kind().as_str().to_owned(),
        };
        parts.iter().map(one).collect()
    }

    fn of(content: &str, attachments: &[Value]) -> Result<Vec<String>, &'static str> {
        parts_of(&written(content, attachments), &OutboundOptions::default()).map(|parts| shape(&parts))
    }

    #[test]
    fn the_words_stand_once() {
        let (picture, sound, card) = (
            file("a.jpg", "image"),
            file("b.mp3", "audio"),
            json!({"file_type": "contact", "fallback_title": "+628"}),
        );
        let both = [picture.clone(), sound.clone()];
        assert_eq!(of("halo", &both).unwrap(), ["image halo", "audio -"]);
        assert_eq!(of("", &both).unwrap(), ["image -", "audio -"]);
        assert_eq!(
            of("halo", &[sound.clone(), picture.clone()]).unwrap(),
            ["words halo", "audio -", "image -"]
        );
        assert_eq!(of("halo", &[card]).unwrap(), ["words halo", "words +628"]);
        let long = "x".repeat(LONGEST_CAPTION + 1);
        assert_eq!(
            of(&long, &[picture]).unwrap(),
            [format!("words {long}"), "image -".into()]
        );
    }

    #[test]
    fn what_cannot_be_sent_has_a_reason_and_nothing_of_it_is_sent() {
        assert!(of("ok", &[]).is_ok());
        assert_eq!(of(" \n", &[]).unwrap_err(), refusals::EMPTY);
        assert_eq!(
            of(&"x".repeat(LONGEST_TEXT + 1), &[]).unwrap_err(),
            refusals::TOO_LONG
        );
        assert!(of(&"é".repeat(LONGEST_TEXT), &[]).is_ok());
        let broken = [file("a.jpg", "image"), json!({"file_type": "image"})];
        assert_eq!(of("halo", &broken).unwrap_err(), refusals::ATTACHMENTS);
        let many = vec![file("a.jpg", "image"); 33];
        assert_eq!(of("", &many).unwrap_err(), refusals::ATTACHMENTS);
    }

    #[test]
    fn the_agents_name_as_the_inbox_wants() {
        let signing = OutboundOptions {
            sign_agents: true,
            sign_delimiter: ": ".to_owned(),
            ..OutboundOptions::default()
        };
        let shown =
            |written: &Written, options: &OutboundOptions| shape(&parts_of(written, options).unwrap());
        assert_eq!(
            shown(&written("halo", &[]), &OutboundOptions::default()),
            ["words halo"]
        );
        assert_eq!(shown(&written("halo", &[]), &signing), ["words *Budi*: halo"]);
        let picture = [file("a.jpg", "image")];
        assert_eq!(
            shown(&written("halo", &picture), &signing),
            ["image *Budi*: halo"]
        );
        // A name alone says nothing, and a bot has none to show.
        assert_eq!(shown(&written("", &picture), &signing), ["image -"]);
        let bot = Written::read(&json!({"content": "halo", "sender": {"name": "Bot", "type": "agent_bot"}}));
        assert_eq!(shown(&bot, &signing), ["words halo"]);
    }

    #[test]
    fn a_message_is_read_from_a_webhook_and_from_a_list() {
        let webhook = json!({"content": null, "message_type": "outgoing", "content_attributes":
            {"in_reply_to": 8999, "in_reply_to_external_id": "WAID:3EB0AAAA0001"},
            "sender": {"name": "Budi", "type": "user"}, "attachments": [file("resi.jpg", "image")]});
        let read = Written::read(&webhook);
        assert_eq!(
            (read.in_reply_to, read.in_reply_to_mark.as_deref()),
            (Some(8_999), Some("WAID:3EB0AAAA0001"))
        );
        assert_eq!(
            (read.author.as_deref(), read.attachments.len()),
            (Some("Budi"), 1)
        );
        let listed =
            json!({"message_type": 3, "content": "Terima kasih", "sender": null, "content_attributes": {}});
        assert!(
            Written::read(&listed).automatic && Written::read(&json!({"message_type": "template"})).automatic
        );
        let nobodys = Written {
            by_machine: true,
            ..Written::default()
        };
        assert_eq!(Written::read(&json!(null)), nobodys);
    }

    #[test]
    fn a_template_goes_out_as_the_inbox_wants() {
        let message = Written::read(&json!({"content": "Halo Sari", "additional_attributes":
            {"template_params": {"name": "sapaan", "language": "id", "processed_params": {"1": "Sari"}}}}));
        let options = OutboundOptions::default();
        assert_eq!(shape(&parts_of(&message, &options).unwrap()), ["words Halo Sari"]);
        let whatsapp = OutboundOptions {
            templates: OutboundOptions::AS_WHATSAPP.to_owned(),
            ..options
        };
        assert_eq!(shape(&parts_of(&message, &whatsapp).unwrap()), ["template"]);
    }
}
