//! Files that came with a message, and where their bytes can be had.

use std::fmt;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::general_purpose::STANDARD as BASE64;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::{Deserialize, Serialize};

use super::MessageKind;
use crate::ids::ProviderMessageId;
use crate::text::Text;
use crate::words::words;

/// Base64 with or without the sign at its end.
const ANY_BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

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
    /// Meta holds it for some days. Its id is asked for an address, and the address for the bytes.
    Graph(GraphFile),
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
            Self::Graph(file) => file.fmt(f),
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

/// A file that Meta holds.
///
/// No address is kept: one lives for minutes, and a new one can be had for the id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GraphFile {
    /// What it is asked for by.
    pub id: MediaId,
    /// What its bytes must hash to, where Meta said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<Sha256>,
}

/// Meta's id of a file: 1 to 128 ASCII letters, digits, `_` or `-`, so that it is safe as a part of a path.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct MediaId(String);

/// A text that is no id of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a media id has 1 to 128 letters, digits, _ or -")]
pub struct InvalidMediaId;

impl MediaId {
    /// Longest accepted id, in characters.
    pub const MAX_LENGTH: usize = 128;

    /// Reads an id.
    ///
    /// # Errors
    /// [`InvalidMediaId`] when empty, too long or with another character.
    pub fn parse(text: impl Into<String>) -> Result<Self, InvalidMediaId> {
        let text = text.into();
        let fits = (1..=Self::MAX_LENGTH).contains(&text.len())
            && text
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
        if fits { Ok(Self(text)) } else { Err(InvalidMediaId) }
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for MediaId {
    type Error = InvalidMediaId;

    fn try_from(text: String) -> Result<Self, InvalidMediaId> {
        Self::parse(text)
    }
}

impl From<MediaId> for String {
    fn from(id: MediaId) -> Self {
        id.0
    }
}

/// A SHA-256. As JSON: 64 lower-case hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Sha256([u8; 32]);

/// A text that is no SHA-256.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a SHA-256 is 32 bytes, in hexadecimal or base64")]
pub struct InvalidSha256;

impl Sha256 {
    /// Takes the bytes.
    #[must_use]
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Reads one however it is written: Meta writes base64 into webhooks and hexadecimal into answers.
    ///
    /// # Errors
    /// [`InvalidSha256`] for what is neither.
    pub fn parse(text: &str) -> Result<Self, InvalidSha256> {
        let mut bytes = [0; 32];
        // The lengths differ (64 against 43 or 44), so no text can be read as both.
        if hex::decode_to_slice(text, &mut bytes).is_ok() {
            return Ok(Self(bytes));
        }
        let decoded = ANY_BASE64.decode(text).map_err(|_| InvalidSha256)?;
        decoded.try_into().map(Self).map_err(|_| InvalidSha256)
    }

    /// The bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// In base64, as [`Media::sha256`] has it.
    #[must_use]
    pub fn to_base64(self) -> String {
        BASE64.encode(self.0)
    }

    /// In hexadecimal.
    #[must_use]
    pub fn to_hex(self) -> String {
        hex::encode(self.0)
    }
}

impl TryFrom<String> for Sha256 {
    type Error = InvalidSha256;

    fn try_from(text: String) -> Result<Self, InvalidSha256> {
        Self::parse(&text)
    }
}

impl From<Sha256> for String {
    fn from(hash: Sha256) -> Self {
        hash.to_hex()
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
                MediaSource::Graph(GraphFile {
                    id: MediaId::parse("1900000000000001").unwrap(),
                    sha256: Some(Sha256::new([7; 32])),
                }),
            ],
        };
        let shown = format!("{media:?}");
        assert!(!shown.contains("secret"), "{shown}");
        assert!(shown.contains("file_length: Some(7)"));
        let json = serde_json::to_string(&media).unwrap();
        assert_eq!(serde_json::from_str::<Media>(&json).unwrap(), media);
    }

    #[test]
    fn a_hash_is_the_same_however_it_is_written() {
        let hex = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
        let hash = Sha256::parse(hex).unwrap();
        for spelling in [
            "n4bQgYhMfWWaL+qgxVrQFaO/TxsrC4Is0V1sFbDwCgg=",
            "n4bQgYhMfWWaL+qgxVrQFaO/TxsrC4Is0V1sFbDwCgg",
            &hex.to_uppercase(),
        ] {
            assert_eq!(Sha256::parse(spelling), Ok(hash), "{spelling}");
        }
        assert_eq!(Sha256::parse(&hash.to_base64()), Ok(hash));
        assert_eq!(serde_json::to_value(hash).unwrap(), hex);
        for wrong in ["", "9f86", "n4bQ", &hex[1..], &format!("{hex}00"), "é"] {
            assert_eq!(Sha256::parse(wrong), Err(InvalidSha256), "{wrong}");
        }
    }

    #[test]
    fn a_media_id_fits_into_a_path() {
        assert!(MediaId::parse("1900000000000001").is_ok());
        for wrong in ["", "..", "a/b", "a b", "é", "1?x", &"1".repeat(129)] {
            assert_eq!(MediaId::parse(wrong), Err(InvalidMediaId), "{wrong}");
        }
    }
}
