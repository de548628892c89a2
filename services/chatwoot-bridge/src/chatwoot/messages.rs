//! Messages that we make (contract 3.4).

use reqwest::Method;
use reqwest::multipart::{Form, Part};

use super::client::{ChatwootApi, NOTHING};
use super::error::ChatwootError;
use super::wire::{Listed, Message, MessageBody, QuoteBody};

/// Whose message it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Author {
    /// The contact's.
    Contact,
    /// The tenant's. Chatwoot tells its webhooks of it, which know by the mark that it is ours.
    Tenant,
    /// Nobody's: a note that only agents read.
    Note,
}

impl Author {
    const fn message_type(self) -> &'static str {
        match self {
            Self::Contact => "incoming",
            Self::Tenant | Self::Note => "outgoing",
        }
    }
}

/// A message to be made.
#[derive(Clone, Copy)]
pub struct NewMessage<'a> {
    /// Whose it is.
    pub author: Author,
    /// What agents read.
    pub content: &'a str,
    /// The mark by which we find it again.
    pub source_id: &'a str,
    /// The mark of the message it answers, and that message's id in Chatwoot where known.
    pub quoted: Option<(&'a str, Option<i64>)>,
    /// When it was written, where that was long before now; unix seconds.
    pub written_at: Option<i64>,
}

/// A file that goes with a message, as a stream.
#[derive(Debug)]
pub struct MessageFile {
    /// What it is called.
    pub name: String,
    /// What it is.
    pub mime_type: String,
    /// How many bytes.
    pub size: u64,
    /// The bytes.
    pub body: reqwest::Body,
}

impl ChatwootApi<'_> {
    /// The newest messages of a conversation, or those before a message: a page of about 20, oldest first.
    pub async fn messages(
        &self,
        conversation: i64,
        before: Option<i64>,
    ) -> Result<Vec<Message>, ChatwootError> {
        let path = match before {
            Some(id) => format!("/conversations/{conversation}/messages?before={id}"),
            None => format!("/conversations/{conversation}/messages"),
        };
        let listed: Listed<Message> = self.call("list_messages", Method::GET, &path, NOTHING).await?;
        Ok(listed.payload)
    }

    /// Makes a message. Chatwoot makes two when asked twice.
    pub async fn create_message(
        &self,
        conversation: i64,
        message: NewMessage<'_>,
    ) -> Result<Message, ChatwootError> {
        self.pace_message(conversation).await?;
        let body = MessageBody {
            content: message.content,
            message_type: message.author.message_type(),
            private: message.author == Author::Note,
            source_id: message.source_id,
            content_attributes: message.quoted.map(QuoteBody::from),
            external_created_at: message.written_at,
        };
        let path = format!("/conversations/{conversation}/messages");
        self.call("create_message", Method::POST, &path, Some(&body))
            .await
    }

    /// Makes a message with a file, which streams through. Chatwoot makes two when asked twice.
    pub async fn create_message_with_file(
        &self,
        conversation: i64,
        message: NewMessage<'_>,
        file: MessageFile,
    ) -> Result<Message, ChatwootError> {
        self.pace_message(conversation).await?;
        let size = file.size;
        let part = Part::stream_with_length(file.body, size).file_name(file.name);
        // A text that is no type is not worth a file: without one Chatwoot looks for itself.
        let part = if Part::text("").mime_str(&file.mime_type).is_ok() {
            part.mime_str(&file.mime_type)
                .map_err(|_| ChatwootError::Refused { status: 415 })?
        } else {
            part
        };
        let mut form = Form::new()
            .text("message_type", message.author.message_type())
            .text("private", (message.author == Author::Note).to_string())
            .text("source_id", message.source_id.to_owned());
        if !message.content.is_empty() {
            form = form.text("content", message.content.to_owned());
        }
        if let Some(at) = message.written_at {
            form = form.text("external_created_at", at.to_string());
        }
        // Objects are JSON in forms.
        if let Some(quoted) = message.quoted.map(QuoteBody::from)
            && let Ok(attributes) = serde_json::to_string(&quoted)
        {
            form = form.text("content_attributes", attributes);
        }
        let form = form.part("attachments[]", part);
        let path = format!("/conversations/{conversation}/messages");
        let time = self.time_for(size);
        self.call_form("create_message_with_file", Method::POST, &path, form, time)
            .await
    }
}
