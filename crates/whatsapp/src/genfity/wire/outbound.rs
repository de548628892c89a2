//! Bodies of the routes under `/chat` that we call.

use std::fmt;

use base64::display::Base64Display;
use base64::engine::general_purpose::STANDARD;
use serde::{Serialize, Serializer};

/// Body of `POST /chat/send/*`: what all of them take, and what is in it.
#[derive(Serialize)]
pub(in crate::genfity) struct Send<'a> {
    #[serde(rename = "Phone")]
    pub(in crate::genfity) phone: &'a str,
    #[serde(rename = "Id")]
    pub(in crate::genfity) id: &'a str,
    #[serde(rename = "ContextInfo", skip_serializing_if = "Option::is_none")]
    pub(in crate::genfity) context: Option<Context<'a>>,
    #[serde(rename = "QuotedMessage", skip_serializing_if = "Option::is_none")]
    pub(in crate::genfity) quoted: Option<QuotedMessage<'a>>,
    #[serde(flatten)]
    pub(in crate::genfity) content: Content<'a>,
}

/// The message that is answered: both halves or none.
#[derive(Serialize)]
pub(in crate::genfity) struct Context<'a> {
    #[serde(rename = "StanzaID")]
    pub(in crate::genfity) stanza_id: &'a str,
    #[serde(rename = "Participant")]
    pub(in crate::genfity) participant: &'a str,
}

/// What the answered message says, as WhatsApp encodes a text.
#[derive(Serialize)]
pub(in crate::genfity) struct QuotedMessage<'a> {
    pub(in crate::genfity) conversation: &'a str,
}

/// The fields of one route.
#[derive(Serialize)]
#[serde(untagged)]
pub(in crate::genfity) enum Content<'a> {
    Text {
        #[serde(rename = "Body")]
        body: &'a str,
    },
    Image {
        #[serde(rename = "Image")]
        image: Source<'a>,
        #[serde(rename = "Caption", skip_serializing_if = "Option::is_none")]
        caption: Option<&'a str>,
        #[serde(rename = "MimeType", skip_serializing_if = "Option::is_none")]
        mime_type: Option<&'a str>,
    },
    Video {
        #[serde(rename = "Video")]
        video: Source<'a>,
        #[serde(rename = "Caption", skip_serializing_if = "Option::is_none")]
        caption: Option<&'a str>,
        #[serde(rename = "MimeType", skip_serializing_if = "Option::is_none")]
        mime_type: Option<&'a str>,
    },
    Audio {
        #[serde(rename = "Audio")]
        audio: Source<'a>,
        ptt: bool,
        #[serde(rename = "mimetype", skip_serializing_if = "Option::is_none")]
        mime_type: Option<&'a str>,
        #[serde(rename = "Seconds", skip_serializing_if = "Option::is_none")]
        seconds: Option<u32>,
    },
    Document {
        #[serde(rename = "Document")]
        document: Source<'a>,
        #[serde(rename = "FileName")]
        file_name: &'a str,
        #[serde(rename = "Caption", skip_serializing_if = "Option::is_none")]
        caption: Option<&'a str>,
        #[serde(rename = "MimeType", skip_serializing_if = "Option::is_none")]
        mime_type: Option<&'a str>,
    },
    Sticker {
        #[serde(rename = "Sticker")]
        sticker: Source<'a>,
        #[serde(rename = "MimeType", skip_serializing_if = "Option::is_none")]
        mime_type: Option<&'a str>,
    },
    Location {
        #[serde(rename = "Latitude")]
        latitude: f64,
        #[serde(rename = "Longitude")]
        longitude: f64,
        #[serde(rename = "Name", skip_serializing_if = "Option::is_none")]
        name: Option<&'a str>,
    },
    Contact {
        #[serde(rename = "Name")]
        name: &'a str,
        #[serde(rename = "Vcard")]
        vcard: &'a str,
    },
}

/// A file inside a body: an address, or a data URL that is written out while the body is, so that its base64 is in
/// memory once.
pub(in crate::genfity) enum Source<'a> {
    Link(&'a str),
    Data { mime_type: &'a str, bytes: &'a [u8] },
}

impl fmt::Display for Source<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Link(url) => f.write_str(url),
            Self::Data { mime_type, bytes } => {
                write!(
                    f,
                    "data:{mime_type};base64,{}",
                    Base64Display::new(bytes, &STANDARD)
                )
            }
        }
    }
}

impl Serialize for Source<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Body of `POST /chat/send/edit`: `Id` is the message that is edited.
#[derive(Serialize)]
pub(in crate::genfity) struct Edit<'a> {
    #[serde(rename = "Phone")]
    pub(in crate::genfity) phone: &'a str,
    #[serde(rename = "Body")]
    pub(in crate::genfity) body: &'a str,
    #[serde(rename = "Id")]
    pub(in crate::genfity) target: &'a str,
}

/// Body of `POST /chat/delete`.
#[derive(Serialize)]
pub(in crate::genfity) struct Delete<'a> {
    #[serde(rename = "Phone")]
    pub(in crate::genfity) phone: &'a str,
    #[serde(rename = "Id")]
    pub(in crate::genfity) target: &'a str,
}

/// Body of `POST /chat/react`: a message of our own is named with `me:` in front.
#[derive(Serialize)]
pub(in crate::genfity) struct React<'a> {
    #[serde(rename = "Phone")]
    pub(in crate::genfity) phone: &'a str,
    #[serde(rename = "Body")]
    pub(in crate::genfity) body: &'a str,
    #[serde(rename = "Id")]
    pub(in crate::genfity) target: String,
    #[serde(rename = "Participant", skip_serializing_if = "Option::is_none")]
    pub(in crate::genfity) participant: Option<&'a str>,
}

/// Body of `POST /chat/presence`.
#[derive(Serialize)]
pub(in crate::genfity) struct ChatPresence<'a> {
    #[serde(rename = "Phone")]
    pub(in crate::genfity) phone: &'a str,
    #[serde(rename = "State")]
    pub(in crate::genfity) state: &'a str,
    #[serde(rename = "Media")]
    pub(in crate::genfity) media: &'a str,
}

/// Body of `POST /chat/markread`.
#[derive(Serialize)]
pub(in crate::genfity) struct MarkRead<'a> {
    #[serde(rename = "Id")]
    pub(in crate::genfity) ids: Vec<&'a str>,
    #[serde(rename = "ChatPhone")]
    pub(in crate::genfity) chat: &'a str,
    #[serde(rename = "SenderPhone")]
    pub(in crate::genfity) sender: &'a str,
}
