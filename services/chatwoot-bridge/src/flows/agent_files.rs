//! The files of agents' messages: what they are on WhatsApp, and the links by which they are fetched.
//!
//! No file is stored here. Whoever sends it fetches it from `GET /files/{name}`, which hands on what Chatwoot has, see
//! [`api::files`](crate::api::files). The link is signed, and its token stands in the query because queries are not logged.

use std::fmt;
use std::time::Duration;

use chrono::{DateTime, Utc};
use domain::ids::TenantId;
use domain::message::{Media, MediaKind, MediaSource, MessageContent};
use domain::text::Text;
use runtime::encryption::KeyRing;
use runtime::signing::{SIGNATURE_BYTES, SigningKeys};
use serde_json::Value;
use url::Url;
use uuid::Uuid;

use super::reflect_status::refusals;
use crate::store::agent_files::FileKey;

/// How long a link holds: longer than an order may wait for its turn.
pub const LINK_LIFETIME: Duration = Duration::from_secs(7 * 24 * 3600);
/// Expiry, inbox, message and part stand before the tenant.
const FIXED_BYTES: usize = 8 + 16 + 8 + 4;
const MAX_TOKEN: usize = 1_024;

/// Makes and checks links to files. Cheap to clone.
#[derive(Debug, Clone)]
pub struct FileLinks {
    keys: SigningKeys,
    base: Url,
}

/// The link is not ours, or not any more. One error for every reason: a caller learns nothing from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the link is not valid")]
pub struct LinkRefused;

impl FileLinks {
    /// Links under `base`, signed under keys that are derived from the ring. `None`: nothing can stand under that base.
    #[must_use]
    pub fn new(ring: &KeyRing, base: &str) -> Option<Self> {
        let base = Url::parse(base).ok().filter(|base| !base.cannot_be_a_base())?;
        Some(Self {
            keys: ring.signing_keys("agents' files"),
            base,
        })
    }

    /// The link of a file that is called `name`.
    #[must_use]
    pub fn of(&self, tenant: &TenantId, file: &FileKey, name: &str, now: DateTime<Utc>) -> String {
        let lifetime = i64::try_from(LINK_LIFETIME.as_secs()).unwrap_or(i64::MAX);
        let mut token = now.timestamp().saturating_add(lifetime).to_be_bytes().to_vec();
        token.extend_from_slice(file.inbox_id.as_bytes());
        token.extend_from_slice(&file.message_id.to_be_bytes());
        token.extend_from_slice(&file.part.to_be_bytes());
        token.extend_from_slice(tenant.as_str().as_bytes());
        let signature = self.keys.sign(&token).unwrap_or_default();
        token.extend_from_slice(&signature);
        let mut url = self.base.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(["files", name]);
        }
        url.query_pairs_mut().append_pair("token", &hex::encode(token));
        url.into()
    }

    /// Whose file a token is for, and which.
    ///
    /// # Errors
    /// [`LinkRefused`] when it was changed, made up or has expired.
    pub fn check(&self, token: &str, now: DateTime<Utc>) -> Result<(TenantId, FileKey), LinkRefused> {
        if token.len() > MAX_TOKEN {
            return Err(LinkRefused);
        }
        let bytes = hex::decode(token).map_err(|_| LinkRefused)?;
        let (said, signature) = bytes.split_last_chunk::<SIGNATURE_BYTES>().ok_or(LinkRefused)?;
        if !self.keys.verify(said, signature) {
            return Err(LinkRefused);
        }
        let (fixed, tenant) = said.split_first_chunk::<FIXED_BYTES>().ok_or(LinkRefused)?;
        let (expiry, rest) = fixed.split_first_chunk::<8>().ok_or(LinkRefused)?;
        let (inbox, rest) = rest.split_first_chunk::<16>().ok_or(LinkRefused)?;
        let (message, part) = rest.split_first_chunk::<8>().ok_or(LinkRefused)?;
        let part: [u8; 4] = part.try_into().map_err(|_| LinkRefused)?;
        if i64::from_be_bytes(*expiry) <= now.timestamp() {
            return Err(LinkRefused);
        }
        let tenant = String::from_utf8(tenant.to_vec()).map_err(|_| LinkRefused)?;
        let file = FileKey {
            inbox_id: Uuid::from_bytes(*inbox),
            message_id: i64::from_be_bytes(*message),
            part: i32::from_be_bytes(part),
        };
        Ok((TenantId::parse(tenant).map_err(|_| LinkRefused)?, file))
    }
}

/// What Chatwoot says of an attachment (contract 2.8).
#[derive(Clone, Default, PartialEq)]
pub struct Attachment {
    /// `image`, `audio`, `video`, `file`, `location`, `contact` or `fallback`; others are files.
    pub file_type: String,
    /// Where it lies.
    pub data_url: Option<String>,
    /// Its size in bytes.
    pub size: Option<u64>,
    /// What a place, a card or a link is called.
    pub title: Option<String>,
    /// Degrees north and east.
    pub place: Option<(f64, f64)>,
}

impl fmt::Debug for Attachment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Attachment")
            .field("file_type", &self.file_type)
            .finish_non_exhaustive()
    }
}

/// What an attachment becomes.
pub(super) enum Attached {
    /// A message with a file; the caller adds where it is fetched.
    File {
        /// All but the place.
        media: Media,
        /// What it is called in its link.
        name: String,
    },
    /// A place.
    Place(MessageContent),
    /// Words.
    Words(String),
}

impl Attachment {
    /// Reads one; keys that are missing or of another type are as if they were null.
    #[must_use]
    pub fn read(value: &Value) -> Self {
        let text = |key: &str| {
            value
                .get(key)
                .and_then(Value::as_str)
                .filter(|text| !text.is_empty())
                .map(str::to_owned)
        };
        let degrees = |key: &str| value.get(key).and_then(Value::as_f64);
        Self {
            file_type: text("file_type").unwrap_or_default(),
            data_url: text("data_url"),
            size: value.get("file_size").and_then(Value::as_u64),
            title: text("fallback_title"),
            place: degrees("coordinates_lat").zip(degrees("coordinates_long")),
        }
    }

    /// What it becomes, or why it cannot be sent.
    pub(super) fn attached(&self) -> Result<Attached, &'static str> {
        match self.file_type.as_str() {
            "location" => self.location(),
            "contact" | "fallback" => {
                let words = [self.title.as_deref(), self.data_url.as_deref()];
                let words: Vec<&str> = words.into_iter().flatten().collect();
                if words.is_empty() {
                    return Err(refusals::ATTACHMENTS);
                }
                Ok(Attached::Words(words.join("\n")))
            }
            _ => self.file(),
        }
    }

    fn location(&self) -> Result<Attached, &'static str> {
        let (latitude, longitude) = self.place.ok_or(refusals::ATTACHMENTS)?;
        let on_earth = latitude.abs() <= 90.0 && longitude.abs() <= 180.0;
        if !on_earth {
            return Err(refusals::ATTACHMENTS);
        }
        Ok(Attached::Place(MessageContent::Location {
            latitude,
            longitude,
            name: self.title.as_deref().map(Text::new),
            address: None,
            live: false,
        }))
    }

    fn file(&self) -> Result<Attached, &'static str> {
        let url = self.data_url.as_deref().and_then(|url| Url::parse(url).ok());
        let url = url
            .filter(|url| matches!(url.scheme(), "http" | "https"))
            .ok_or(refusals::ATTACHMENTS)?;
        let name = file_name(&url);
        let ending = name
            .rsplit_once('.')
            .map(|(_, ending)| ending.to_ascii_lowercase());
        let known = ending.as_deref().and_then(known_type);
        let media = Media {
            media_kind: media_kind(&self.file_type, known),
            caption: None,
            mime_type: known.map(|known| Text::new(known.mime)),
            file_name: Text::label(&name, Media::MAX_FILE_NAME),
            size: self.size,
            seconds: None,
            sha256: None,
            sources: Vec::new(),
        };
        Ok(Attached::File { media, name })
    }
}

/// The link as the only source of a file.
pub(super) fn fetched_from(mut media: Media, url: String) -> MessageContent {
    media.sources = vec![MediaSource::Link { url }];
    MessageContent::Media(media)
}

/// Can words stand under it? WhatsApp shows none under sounds.
pub(super) const fn takes_caption(media: &Media) -> bool {
    matches!(
        media.media_kind,
        MediaKind::Image | MediaKind::Video | MediaKind::Document
    )
}

/// The last part of the address: Chatwoot's addresses end in the file's name.
fn file_name(url: &Url) -> String {
    let last = url.path_segments().and_then(|mut parts| parts.next_back());
    let decoded = percent_encoding::percent_decode_str(last.unwrap_or_default()).decode_utf8_lossy();
    // Never a path, whatever was encoded.
    let name: String = decoded
        .chars()
        .filter(|c| !c.is_control() && !matches!(c, '/' | '\\'))
        .take(Media::MAX_FILE_NAME)
        .collect();
    let name = name.trim().trim_start_matches('.');
    if name.is_empty() {
        "file".to_owned()
    } else {
        name.to_owned()
    }
}

/// A type by the ending of a name, and as what WhatsApp shows it by itself.
#[derive(Clone, Copy)]
struct KnownType {
    mime: &'static str,
    shown_as: Option<MediaKind>,
}

fn known_type(ending: &str) -> Option<KnownType> {
    let (mime, shown_as) = match ending {
        "jpg" | "jpeg" | "jfif" => ("image/jpeg", Some(MediaKind::Image)),
        "png" => ("image/png", Some(MediaKind::Image)),
        "webp" => ("image/webp", None),
        "gif" => ("image/gif", None),
        "svg" => ("image/svg+xml", None),
        "heic" => ("image/heic", None),
        "bmp" => ("image/bmp", None),
        "mp4" | "m4v" => ("video/mp4", Some(MediaKind::Video)),
        "3gp" => ("video/3gpp", Some(MediaKind::Video)),
        "mov" => ("video/quicktime", None),
        "webm" => ("video/webm", None),
        // A recording is a voice note: in this container both WhatsApp and browsers make them.
        "ogg" | "oga" | "opus" => ("audio/ogg; codecs=opus", Some(MediaKind::Voice)),
        "mp3" => ("audio/mpeg", Some(MediaKind::Audio)),
        "m4a" => ("audio/mp4", Some(MediaKind::Audio)),
        "aac" => ("audio/aac", Some(MediaKind::Audio)),
        "amr" => ("audio/amr", Some(MediaKind::Audio)),
        "wav" => ("audio/wav", None),
        "pdf" => ("application/pdf", None),
        "txt" => ("text/plain", None),
        "csv" => ("text/csv", None),
        "json" => ("application/json", None),
        "zip" => ("application/zip", None),
        "rar" => ("application/vnd.rar", None),
        "doc" => ("application/msword", None),
        "docx" => (
            "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
            None,
        ),
        "xls" => ("application/vnd.ms-excel", None),
        "xlsx" => (
            "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
            None,
        ),
        "ppt" => ("application/vnd.ms-powerpoint", None),
        "pptx" => (
            "application/vnd.openxmlformats-officedocument.presentationml.presentation",
            None,
        ),
        _ => return None,
    };
    Some(KnownType { mime, shown_as })
}

/// As what a file goes out. Of what Chatwoot calls a picture, a film or a sound, WhatsApp shows only some types; the rest
/// arrives as a document rather than not at all. One without an ending is what Chatwoot says.
fn media_kind(file_type: &str, known: Option<KnownType>) -> MediaKind {
    let said = match file_type {
        "image" => MediaKind::Image,
        "video" => MediaKind::Video,
        "audio" => MediaKind::Audio,
        _ => return MediaKind::Document,
    };
    match known {
        None => said,
        Some(KnownType {
            shown_as: Some(kind), ..
        }) => kind,
        Some(KnownType { shown_as: None, .. }) => MediaKind::Document,
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use runtime::config::Setting as _;
    use serde_json::json;

    use super::*;

    fn links() -> FileLinks {
        let ring = KeyRing::from_text("a:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=").unwrap();
        FileLinks::new(&ring, "https://bridge.example/sub").unwrap()
    }

    fn key() -> FileKey {
        FileKey {
            inbox_id: Uuid::now_v7(),
            message_id: 9_001,
            part: 2,
        }
    }

    fn token(url: &str) -> &str {
        url.split_once("token=").unwrap().1
    }

    #[test]
    fn a_link_opens_its_own_file_until_it_expires() {
        let (links, key, now) = (links(), key(), Utc::now());
        let tenant = TenantId::parse("desa-a").unwrap();
        let url = links.of(&tenant, &key, "bukti bayar/1.pdf", now);
        assert!(
            url.starts_with("https://bridge.example/sub/files/bukti%20bayar%2F1.pdf?token="),
            "{url}"
        );
        assert_eq!(links.check(token(&url), now), Ok((tenant, key)));
        let end = now + TimeDelta::from_std(LINK_LIFETIME).unwrap();
        assert!(links.check(token(&url), end - TimeDelta::seconds(2)).is_ok());
        assert_eq!(links.check(token(&url), end), Err(LinkRefused));
    }

    #[test]
    fn nothing_in_a_link_can_be_changed() {
        let (links, now) = (links(), Utc::now());
        let url = links.of(&TenantId::parse("desa-a").unwrap(), &key(), "a.pdf", now);
        let bytes = hex::decode(token(&url)).unwrap();
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            assert_eq!(links.check(&hex::encode(changed), now), Err(LinkRefused), "{at}");
        }
        for wrong in ["", "0", "zz", &token(&url)[2..], &"0".repeat(2_000)] {
            assert_eq!(links.check(wrong, now), Err(LinkRefused), "{wrong}");
        }
    }

    fn read(file_type: &str, name: &str) -> (MediaKind, Option<String>, Option<String>) {
        let url = format!("https://chat.example/rails/active_storage/blobs/redirect/x--1/{name}");
        let attachment = Attachment::read(&json!({"file_type": file_type, "data_url": url}));
        match attachment.attached() {
            Ok(Attached::File { media, .. }) => (
                media.media_kind,
                media.mime_type.map(Text::into_string),
                media.file_name.map(Text::into_string),
            ),
            Ok(_) => panic!("no file"),
            Err(reason) => panic!("{reason}"),
        }
    }

    #[test]
    fn a_file_is_shown_as_what_whatsapp_can_show() {
        for (file_type, name, kind, mime) in [
            ("image", "resi.jpg", MediaKind::Image, Some("image/jpeg")),
            ("image", "RESI.PNG", MediaKind::Image, Some("image/png")),
            ("image", "lucu.gif", MediaKind::Document, Some("image/gif")),
            ("image", "tanpa", MediaKind::Image, None),
            ("video", "rumah.mp4", MediaKind::Video, Some("video/mp4")),
            ("video", "rumah.mov", MediaKind::Document, Some("video/quicktime")),
            (
                "audio",
                "suara.ogg",
                MediaKind::Voice,
                Some("audio/ogg; codecs=opus"),
            ),
            ("audio", "lagu.mp3", MediaKind::Audio, Some("audio/mpeg")),
            ("audio", "suara.wav", MediaKind::Document, Some("audio/wav")),
            ("file", "KK.pdf", MediaKind::Document, Some("application/pdf")),
            ("file", "foto.jpg", MediaKind::Document, Some("image/jpeg")),
            ("ig_reel", "x.mp4", MediaKind::Document, Some("video/mp4")),
        ] {
            let (read_kind, read_mime, read_name) = read(file_type, name);
            assert_eq!((read_kind, read_mime.as_deref()), (kind, mime), "{name}");
            assert_eq!(read_name.as_deref(), Some(name));
        }
    }

    #[test]
    fn names_are_never_paths() {
        for (encoded, name) in [
            ("bukti%20bayar%20%C3%A9.pdf", "bukti bayar é.pdf"),
            ("..%2F..%2Fetc%2Fpasswd", "etcpasswd"),
            ("%5C%5Cserver%5Cx.pdf", "serverx.pdf"),
            ("a%0Ab.pdf", "ab.pdf"),
            ("", "file"),
        ] {
            assert_eq!(read("file", encoded).2.as_deref(), Some(name), "{encoded}");
        }
    }

    #[test]
    fn places_cards_and_links_are_sent_without_a_file() {
        let location = json!({"file_type": "location", "coordinates_lat": -6.2, "coordinates_long": 106.8,
            "fallback_title": "Monas", "data_url": "https://maps.example"});
        assert!(matches!(
            Attachment::read(&location).attached(),
            Ok(Attached::Place(MessageContent::Location { name: Some(name), .. })) if name.as_str() == "Monas"
        ));
        let card = json!({"file_type": "contact", "fallback_title": "+628123450001"});
        assert!(matches!(
            Attachment::read(&card).attached(), Ok(Attached::Words(words)) if words == "+628123450001"
        ));
        for nothing in [
            json!({"file_type": "image"}),
            json!({"file_type": "file", "data_url": "file:///etc/passwd"}),
            json!({"file_type": "file", "data_url": 7}),
            json!({"file_type": "fallback"}),
            json!({"file_type": "location", "coordinates_lat": 91.0, "coordinates_long": 0.0}),
            json!({}),
            json!(null),
        ] {
            assert_eq!(
                Attachment::read(&nothing).attached().err(),
                Some(refusals::ATTACHMENTS),
                "{nothing}"
            );
        }
    }
}
