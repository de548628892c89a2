//! Files that clients put up: kept like files of messages, inspected by content, named by an id in digits, and put into
//! messages by a reference that only we can make.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use bytes::{Bytes, BytesMut};
use chrono::{TimeDelta, Utc};
use database::{Database, DatabaseError};
use domain::ids::{AccountId, MessageId, TenantId};
use domain::message::{Media, MediaKind, MediaSource};
use domain::text::Text;
use futures_util::future::BoxFuture;
use futures_util::{FutureExt as _, Stream, StreamExt as _};
use runtime::encryption::KeyRing;
use runtime::signing::{SIGNATURE_BYTES, SigningKeys};
use tenant_isolation::{TenantScope, TenantTransaction};
use uuid::Uuid;
use whatsapp::port::{FileBytes, OutboundFile};

use super::{GateError, Refusal, ids};
use crate::flows::load_media::{LoadMedia, LoadedFile, MediaNotLoaded, Wanted};
use crate::flows::media::{MediaFlow, ServedFile};
use crate::media::{Announced, KeepError, ObjectKey};
use crate::store::gate::{self, UploadRow};

/// How long a file stays that was put up.
const LIFE: TimeDelta = TimeDelta::days(30);
/// How references begin. No client can be asked to fetch one.
const SCHEME: &str = "kanal-file:";
/// A store that is slower than this has failed, for now.
const PATIENCE: Duration = Duration::from_secs(60);

/// What is said of a file that a client puts up.
pub struct Announcement<'a> {
    /// The type its sender declares.
    pub mime_type: Option<&'a str>,
    /// What its sender calls it.
    pub file_name: Option<&'a str>,
}

/// Keeps a file that a client puts up. Returns its id.
///
/// # Errors
/// [`GateError`]: 131053 for a file that is too large, empty, or not what it says it is.
pub async fn keep<E>(
    media: &MediaFlow,
    scope: &TenantScope,
    account: AccountId,
    announced: &Announcement<'_>,
    bytes: impl Stream<Item = Result<Bytes, E>> + Unpin,
) -> Result<Uuid, GateError> {
    let declared = announced.mime_type.map(essence);
    let declared = declared.as_deref().filter(|declared| !declared.is_empty());
    let kind = kind_of(declared.unwrap_or_default());
    let limit = most_bytes(declared.unwrap_or_default()).min(media.limit);
    let looked_at = Announced { kind, declared };
    let key = ObjectKey::generate(scope.tenant(), Utc::now().date_naive());
    let keeping = media.storage.keep(key, limit, &looked_at, bytes);
    let kept = match tokio::time::timeout(PATIENCE, keeping).await {
        Ok(Ok(kept)) => kept,
        Ok(Err(KeepError::TooLarge)) => {
            return Err(Refusal::file(format!("The file has more than {limit} bytes")).into());
        }
        Ok(Err(KeepError::Empty)) => return Err(Refusal::file("The file is empty").into()),
        Ok(Err(KeepError::Source(_))) => {
            return Err(Refusal::unreadable("The upload ended before the file did").into());
        }
        Ok(Err(KeepError::Storage(error))) => return Err(GateError::Storage(error)),
        Err(_) => return Err(Refusal::body(408, "The upload took too long").into()),
    };
    if let Some(suspicion) = kept.content.suspicion {
        let reason = suspicion.as_str();
        metrics::counter!("kanal_gate_files_refused_total", "reason" => reason).increment(1);
        // What stays behind here is found by the sweep.
        let _ = media.storage.delete(&kept.key).await;
        return Err(Refusal::file(format!("The file is not taken: {reason}")).into());
    }
    let row = UploadRow {
        id: Uuid::now_v7(),
        account_id: account.as_uuid(),
        file_name: announced
            .file_name
            .and_then(|name| Text::label(name, Media::MAX_FILE_NAME))
            .map(Text::into_string),
        mime_type: kept.content.file_type.mime.to_owned(),
        size: i64::try_from(kept.size).unwrap_or(i64::MAX),
        sha256: kept.sha256,
        object_key: kept.key.as_str().to_owned(),
    };
    let mut tx = TenantTransaction::begin(&media.db, scope, "keep upload").await?;
    gate::insert_upload(&mut tx, &row, Utc::now() + LIFE).await?;
    tx.commit().await?;
    metrics::counter!("kanal_gate_files_kept_total").increment(1);
    Ok(row.id)
}

/// Deletes a file that a client put up. False: the tenant has none of this id, or it is a message's.
///
/// # Errors
/// [`DatabaseError`].
pub async fn delete(db: &Database, scope: &TenantScope, id: Uuid) -> Result<bool, DatabaseError> {
    let mut tx = TenantTransaction::begin(db, scope, "delete upload").await?;
    let found = gate::delete_upload(&mut tx, id).await?;
    tx.commit().await?;
    Ok(found)
}

/// Makes and reads references to files in messages that go out. Cheap to clone.
#[derive(Debug, Clone)]
pub struct References(SigningKeys);

impl References {
    /// References signed under a key that is derived from the ring.
    #[must_use]
    pub fn new(ring: &KeyRing) -> Self {
        Self(ring.signing_keys("gate files"))
    }

    /// Where the bytes of a file of the tenant can be had, for [`GateFiles`]. Messages may come from other services, so it
    /// is signed: nobody else can put another tenant's file into a message.
    #[must_use]
    pub fn of(&self, scope: &TenantScope, id: Uuid) -> MediaSource {
        let signed = signed(scope.tenant(), id);
        let signature = self.0.sign(&signed).unwrap_or_default();
        MediaSource::Link {
            url: format!(
                "{SCHEME}{}",
                BASE64.encode([&signed[..], &signature[..]].concat())
            ),
        }
    }

    fn read(&self, url: &str) -> Option<(TenantScope, Uuid)> {
        let bytes = BASE64.decode(url.strip_prefix(SCHEME)?).ok()?;
        let (text, signature) = bytes.split_last_chunk::<SIGNATURE_BYTES>()?;
        if !self.0.verify(text, signature) {
            return None;
        }
        let (id, tenant) = text.split_first_chunk::<16>()?;
        let tenant = TenantId::parse(String::from_utf8(tenant.to_vec()).ok()?).ok()?;
        Some((TenantScope::of_own_link(tenant), Uuid::from_bytes(*id)))
    }
}

/// The tenant stands last: the id has a fixed length, so no two references sign the same bytes.
fn signed(tenant: &TenantId, id: Uuid) -> Vec<u8> {
    [&id.as_bytes()[..], tenant.as_str().as_bytes()].concat()
}

fn reference(media: &Media) -> Option<&str> {
    media.sources.iter().find_map(|source| match source {
        MediaSource::Link { url } if url.starts_with(SCHEME) => Some(url.as_str()),
        _ => None,
    })
}

/// Files that lie in our own store, and for others whoever finds those.
pub struct GateFiles {
    /// Where files lie.
    pub media: MediaFlow,
    /// Reads references.
    pub references: References,
    /// Finds every other file.
    pub others: Arc<dyn LoadMedia>,
}

impl GateFiles {
    async fn read(&self, url: &str, most: u64) -> Result<LoadedFile, MediaNotLoaded> {
        let (scope, id) = self.references.read(url).ok_or(MediaNotLoaded::Never)?;
        let later = |_: DatabaseError| MediaNotLoaded::Later;
        let found = self.media.find(&scope, MessageId::from_uuid(id)).await;
        let file = found.map_err(later)?.ok_or(MediaNotLoaded::Never)?;
        if file.size > most {
            return Err(MediaNotLoaded::Never);
        }
        let open = self.media.read(&file.key, None).await;
        let mut open = open
            .map_err(|_| MediaNotLoaded::Later)?
            .ok_or(MediaNotLoaded::Never)?;
        let mut bytes = BytesMut::new();
        while let Some(piece) = open.bytes.next().await {
            let piece = piece.map_err(|_| MediaNotLoaded::Later)?;
            if (bytes.len() + piece.len()) as u64 > most {
                return Err(MediaNotLoaded::Never);
            }
            bytes.extend_from_slice(&piece);
        }
        let bytes = FileBytes::new(bytes.freeze()).map_err(|_| MediaNotLoaded::Never)?;
        Ok(LoadedFile {
            file: OutboundFile::Bytes(bytes),
            mime_type: Some(Text::new(file.file_type.mime)),
        })
    }
}

impl LoadMedia for GateFiles {
    fn load<'a>(
        &'a self,
        media: &'a Media,
        wanted: Wanted,
    ) -> BoxFuture<'a, Result<LoadedFile, MediaNotLoaded>> {
        match (reference(media), wanted) {
            (Some(url), Wanted::Bytes { most }) => self.read(url, most).boxed(),
            // The provider's route would fetch it itself, and is handed the bytes instead.
            (Some(url), Wanted::Link) => self.read(url, FileBytes::MOST as u64).boxed(),
            (None, wanted) => self.others.load(media, wanted),
        }
    }

    fn holds(&self, media: &Media) -> bool {
        reference(media).is_some()
    }
}

/// What is told of a file at the gate.
#[must_use]
pub fn described(id: Uuid, file: &ServedFile, url: &str) -> serde_json::Value {
    serde_json::json!({
        "messaging_product": "whatsapp", "url": url, "mime_type": file.file_type.mime, "sha256": file.sha256,
        "file_size": file.size, "id": ids::media_id(id),
    })
}

fn essence(mime_type: &str) -> String {
    let essence = mime_type.split(';').next().unwrap_or_default();
    essence.trim().to_ascii_lowercase()
}

fn kind_of(mime_type: &str) -> MediaKind {
    match mime_type.split('/').next().unwrap_or_default() {
        _ if mime_type == "image/webp" => MediaKind::Sticker,
        "image" => MediaKind::Image,
        "video" => MediaKind::Video,
        "audio" => MediaKind::Audio,
        _ => MediaKind::Document,
    }
}

/// Contract 4.2, in Meta's megabytes.
fn most_bytes(mime_type: &str) -> u64 {
    match kind_of(mime_type) {
        MediaKind::Sticker => 500_000,
        MediaKind::Image => 5_000_000,
        MediaKind::Video | MediaKind::Audio | MediaKind::Voice => 16_000_000,
        MediaKind::Document => 100_000_000,
    }
}

#[cfg(test)]
mod tests {
    use runtime::config::Setting as _;

    use super::*;

    #[test]
    fn a_reference_means_one_tenants_file_and_cannot_be_changed() {
        let key = base64::engine::general_purpose::STANDARD.encode([7; 32]);
        let references = References::new(&KeyRing::from_text(&format!("a:{key}")).unwrap());
        let scope = TenantScope::named_by_operator(TenantId::parse("desa-satu").unwrap());
        let id = Uuid::now_v7();
        let MediaSource::Link { url } = references.of(&scope, id) else {
            panic!("no link");
        };
        assert_eq!(references.read(&url), Some((scope, id)));
        assert!(crate::flows::load_media::web_address(&url).is_none());
        let bytes = BASE64.decode(&url[SCHEME.len()..]).unwrap();
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            let url = format!("{SCHEME}{}", BASE64.encode(changed));
            assert_eq!(references.read(&url), None, "{at}");
        }
    }
}
