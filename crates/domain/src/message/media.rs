//! Files that came with a message, and where their bytes can be had.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::MessageKind;
use crate::ids::ProviderMessageId;
use crate::text::Text;
use crate::words::words;

words! {
    /// What sort of file it is.
    MediaKind, "media kind" {
        /// A picture.
        Image = "image",
        /// A film.
        Video = "video",
        /// A sound file.
        Audio = "audio",
        /// A recorded voice note.
        Voice = "voice",
        /// Any other file.
        Document = "document",
        /// A sticker.
        Sticker = "sticker",
    }
}

words! {
    /// What became of a message's file.
    MediaState, "media state" {
        /// It is to be fetched.
        Pending = "pending",
        /// It is there.
        Stored = "stored",
        /// It could not be had, and is not tried for again.
        Failed = "failed",
        /// It is larger than we keep.
        TooLarge = "too_large",
        /// It is there and is not handed out: it is dangerous, or not what it was announced as.
        Quarantined = "quarantined",
        /// The message did not tell where it could be had.
        Nowhere = "none",
    }
}

impl MediaKind {
    /// The kind of message that carries it.
    #[must_use]
    pub const fn message_kind(self) -> MessageKind {
        match self {
            Self::Image => MessageKind::Image,
            Self::Video => MessageKind::Video,
            Self::Audio => MessageKind::Audio,
            Self::Voice => MessageKind::Voice,
            Self::Document => MessageKind::Document,
            Self::Sticker => MessageKind::Sticker,
        }
    }
}

/// A file of a message: what is said about it, and where it can be fetched. The bytes are another step's work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Media {
    /// What sort of file it is.
    pub media_kind: MediaKind,
    /// The words under it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub caption: Option<Text>,
    /// The type its sender declared. A claim: look at the bytes before serving it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mime_type: Option<Text>,
    /// The name its sender gave it. A claim: never a path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file_name: Option<Text>,
    /// Its size in bytes, as declared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// How long it plays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds: Option<u32>,
    /// SHA-256 of the decrypted bytes, in base64, as declared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// Where the bytes can be had, best first. Empty: nowhere that we know.
    #[serde(default)]
    pub sources: Vec<MediaSource>,
}

impl Media {
    /// Longest kept media type, in characters.
    pub const MAX_MIME_TYPE: usize = 127;
    /// Longest kept file name, in characters.
    pub const MAX_FILE_NAME: usize = 255;
}

/// A place where a file's bytes can be had.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "from", rename_all = "snake_case")]
pub enum MediaSource {
    /// The provider put it into a bucket.
    S3 {
        /// Where it can be fetched.
        url: String,
        /// Its key in the bucket.
        key: String,
        /// The bucket.
        bucket: String,
    },
    /// Whoever has the address can fetch it. Somebody else's word: never dialled unchecked.
    Link {
        /// An http or https address.
        url: String,
    },
    /// It came inside the webhook, in base64. Not copied here: it is only there while the webhook is in hand.
    Inline {
        /// How many base64 characters there were.
        encoded_length: u64,
    },
    /// The provider's own server holds it. Fetched from that server and from no other.
    Server(ServerFile),
    /// WhatsApp's servers hold it, encrypted, for some weeks.
    #[serde(rename = "whatsapp")]
    WhatsApp(DownloadKeys),
}

// An S3 address may be signed and so be a credential; it does not belong into logs either.
impl fmt::Debug for MediaSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::S3 { url, key, bucket: _ } => {
                write!(f, "S3 {{ url: {} bytes, key: {} bytes }}", url.len(), key.len())
            }
            Self::Link { url } => write!(f, "Link {{ url: {} bytes }}", url.len()),
            Self::Inline { encoded_length } => write!(f, "Inline {{ encoded_length: {encoded_length} }}"),
            Self::Server(file) => file.fmt(f),
            Self::WhatsApp(keys) => keys.fmt(f),
        }
    }
}

/// A file on a provider's own server, and the message it can be asked for by when it is not there any more.
///
/// Whoever knows the path can read the file on such a server, so `Debug` does not show it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerFile {
    /// Its path below the server's address. `None`: it has none yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// The message it came with.
    pub message: ProviderMessageId,
    /// The chat of that message, as the server names it.
    pub chat: String,
}

impl fmt::Debug for ServerFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerFile")
            .field("message", &self.message)
            .finish_non_exhaustive()
    }
}

/// What it takes to fetch and decrypt a file from WhatsApp's servers. The byte fields stay base64, as they came.
///
/// Whoever has these can read the file, so `Debug` shows none of it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DownloadKeys {
    /// The whole address, where given.
    pub url: Option<String>,
    /// The path on any of WhatsApp's media hosts.
    pub direct_path: Option<String>,
    /// The key the bytes are encrypted with.
    pub media_key: String,
    /// SHA-256 of the encrypted bytes.
    pub file_enc_sha256: Option<String>,
    /// SHA-256 of the decrypted bytes.
    pub file_sha256: Option<String>,
    /// Size of the decrypted bytes.
    pub file_length: Option<u64>,
}

impl fmt::Debug for DownloadKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DownloadKeys")
            .field("file_length", &self.file_length)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_signed_addresses_never_show_in_debug() {
        let keys = DownloadKeys {
            url: Some("https://mmg.example/secret-url".into()),
            direct_path: Some("/secret-path".into()),
            media_key: "secret-key".into(),
            file_enc_sha256: Some("secret-hash".into()),
            file_sha256: None,
            file_length: Some(7),
        };
        let s3 = MediaSource::S3 {
            url: "https://s3/secret".into(),
            key: "secret".into(),
            bucket: "wa".into(),
        };
        let media = Media {
            media_kind: MediaKind::Image,
            caption: Some("secret caption".into()),
            mime_type: None,
            file_name: Some("secret.pdf".into()),
            size: Some(7),
            seconds: None,
            sha256: None,
            sources: vec![
                s3,
                MediaSource::Link {
                    url: "https://a.example/secret".into(),
                },
                MediaSource::Server(ServerFile {
                    path: Some("statics/media/secret.jpg".into()),
                    message: ProviderMessageId::parse("3EB0A").unwrap(),
                    chat: "secret@s.whatsapp.net".into(),
                }),
                MediaSource::WhatsApp(keys),
            ],
        };
        let shown = format!("{media:?}");
        assert!(!shown.contains("secret"), "{shown}");
        assert!(shown.contains("file_length: Some(7)"));
        let json = serde_json::to_string(&media).unwrap();
        assert_eq!(serde_json::from_str::<Media>(&json).unwrap(), media);
    }
}
