//! A message on its way out, whatever the provider.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use domain::address::ChatAddress;
use domain::ids::ProviderMessageId;
use domain::message::{ContactCard, InteractiveMessage, MediaId, MediaKind, MessageKind, TemplateMessage};
use domain::text::Text;
use url::Url;

/// A message on its way out.
#[derive(Debug, Clone, PartialEq)]
pub struct OutboundMessage {
    /// Our id for it, the same at every attempt.
    pub id: ProviderMessageId,
    /// To whom.
    pub to: ChatAddress,
    /// What it says.
    pub content: OutboundContent,
    /// The message it answers. Reactions, edits and deletions answer none.
    pub quoted: Option<OutboundQuote>,
}

/// The slowest line we wait for when a file is in a call: bytes in a second.
const SLOWEST_LINE: u64 = 256 * 1024;

impl OutboundMessage {
    /// How long sending it may take when a call may take `limit`: each contact card is a call of its own, and the bytes
    /// of a file take their time.
    #[must_use]
    pub fn time_within(&self, limit: Duration) -> Duration {
        match &self.content {
            OutboundContent::Contacts(cards) => {
                let calls = u32::try_from(cards.len()).unwrap_or(u32::MAX).max(1);
                limit.saturating_mul(calls)
            }
            OutboundContent::Media(OutboundMedia {
                file: OutboundFile::Bytes(bytes),
                ..
            }) => limit + time_for_file(bytes.as_slice().len()),
            _ => limit,
        }
    }
}

/// How much longer a call may take that carries so many bytes.
pub(crate) fn time_for_file(bytes: usize) -> Duration {
    Duration::from_secs(u64::try_from(bytes).unwrap_or(u64::MAX) / SLOWEST_LINE)
}

/// The message that is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutboundQuote {
    /// Its id.
    pub id: ProviderMessageId,
    /// Who wrote it, where that is known. Providers that do not know the message themselves cannot show a quote without.
    pub participant: Option<ChatAddress>,
    /// What it says, for phones that do not have it.
    pub text: Option<Text>,
}

/// What a message says.
#[derive(Debug, Clone, PartialEq)]
pub enum OutboundContent {
    /// Words.
    Text(Text),
    /// A file.
    Media(OutboundMedia),
    /// A place.
    Location {
        /// Degrees north.
        latitude: f64,
        /// Degrees east.
        longitude: f64,
        /// What it is called.
        name: Option<Text>,
        /// Where it is, in words.
        address: Option<Text>,
    },
    /// Contact cards, at least one. What has no card of its own is not sent.
    Contacts(Vec<ContactCard>),
    /// An emoji under another message.
    Reaction {
        /// The message.
        target: MessageReference,
        /// The emoji; `None` takes an earlier one away.
        emoji: Option<Text>,
    },
    /// New words for a message of our own.
    Edit {
        /// The message.
        target: ProviderMessageId,
        /// What it says from now on.
        text: Text,
    },
    /// A message of our own is deleted for everyone.
    Revoke {
        /// The message.
        target: ProviderMessageId,
    },
    /// Words that WhatsApp approved beforehand, filled in.
    Template(TemplateMessage),
    /// Words with something to press.
    Interactive(Box<InteractiveMessage>),
}

/// Another message of the same chat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageReference {
    /// Its id.
    pub id: ProviderMessageId,
    /// We wrote it.
    pub ours: bool,
    /// Who wrote it, where the chat has several people.
    pub participant: Option<ChatAddress>,
}

/// A file on its way out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutboundMedia {
    /// What sort of file.
    pub kind: MediaKind,
    /// The bytes, or where the provider gets them.
    pub file: OutboundFile,
    /// Its media type, by its bytes where somebody has looked.
    pub mime_type: Option<Text>,
    /// The words under it; voice notes, sound files and stickers carry none.
    pub caption: Option<Text>,
    /// Its name; documents only.
    pub file_name: Option<Text>,
    /// How long it plays.
    pub seconds: Option<u32>,
}

/// Where the bytes of a file are.
#[derive(Clone, PartialEq, Eq)]
pub enum OutboundFile {
    /// Here.
    Bytes(FileBytes),
    /// At an address that the provider fetches itself; see [`SendMessage::takes_links`](super::SendMessage::takes_links).
    Link(Url),
    /// At the provider already, under this id.
    Uploaded(MediaId),
}

/// The bytes of a file, at most [`FileBytes::MOST`]. In memory as a whole, because the server wants them as one base64 text in
/// a JSON body: there is nothing to stream to.
#[derive(Clone, PartialEq, Eq)]
pub struct FileBytes(Bytes);

/// A file that is larger than WhatsApp takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the file is empty or larger than 100 MiB")]
pub struct NotAFile;

impl FileBytes {
    /// Most bytes of one file.
    pub const MOST: usize = 100 * 1024 * 1024;

    /// Takes the bytes of a file.
    ///
    /// # Errors
    /// [`NotAFile`] when there are none, or too many.
    pub fn new(bytes: Bytes) -> Result<Self, NotAFile> {
        if bytes.is_empty() || bytes.len() > Self::MOST {
            return Err(NotAFile);
        }
        Ok(Self(bytes))
    }

    /// The bytes.
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        &self.0
    }

    /// The same memory once more, for a body that is not JSON.
    pub(crate) fn share(&self) -> Bytes {
        self.0.clone()
    }
}

impl OutboundContent {
    /// What sort of message it is.
    #[must_use]
    pub const fn kind(&self) -> MessageKind {
        match self {
            Self::Text(_) => MessageKind::Text,
            Self::Media(media) => media.kind.message_kind(),
            Self::Location { .. } => MessageKind::Location,
            Self::Contacts(_) => MessageKind::Contact,
            Self::Reaction { .. } => MessageKind::Reaction,
            Self::Edit { .. } => MessageKind::Edit,
            Self::Revoke { .. } => MessageKind::Revoke,
            Self::Template(_) => MessageKind::Template,
            Self::Interactive(_) => MessageKind::Interactive,
        }
    }
}

// Files are people's own, and a link to one may be signed.
impl fmt::Debug for OutboundFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bytes(bytes) => bytes.fmt(f),
            Self::Link(url) => write!(f, "Link({} bytes)", url.as_str().len()),
            Self::Uploaded(id) => write!(f, "Uploaded({})", id.as_str()),
        }
    }
}

impl fmt::Debug for FileBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FileBytes({} bytes)", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_has_bytes_and_not_too_many() {
        assert_eq!(FileBytes::new(Bytes::new()), Err(NotAFile));
        assert!(FileBytes::new(Bytes::from(vec![0; FileBytes::MOST])).is_ok());
        assert_eq!(
            FileBytes::new(Bytes::from(vec![0; FileBytes::MOST + 1])),
            Err(NotAFile)
        );
    }

    #[test]
    fn debug_shows_neither_bytes_nor_links() {
        let bytes = OutboundFile::Bytes(FileBytes::new(Bytes::from_static(b"rahasia")).unwrap());
        let link = OutboundFile::Link("https://media.example/rahasia?signature=rahasia".parse().unwrap());
        assert!(!format!("{bytes:?} {link:?}").contains("rahasia"));
    }
}
