//! Files as clients name them: by an id in digits, and put into messages by a reference that only we can make.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use bytes::BytesMut;
use database::{Database, DatabaseError};
use domain::ids::{MessageId, TenantId};
use domain::message::{Media, MediaSource};
use domain::text::Text;
use futures_util::future::BoxFuture;
use futures_util::{FutureExt as _, StreamExt as _};
use runtime::encryption::KeyRing;
use runtime::signing::{SIGNATURE_BYTES, SigningKeys};
use tenant_isolation::{TenantScope, TenantTransaction};
use uuid::Uuid;
use whatsapp::port::{FileBytes, OutboundFile};

use super::ids;
use crate::flows::load_media::{LoadMedia, LoadedFile, MediaNotLoaded, Wanted};
use crate::flows::media::{MediaFlow, ServedFile};
use crate::store::gate_media;

/// How references begin. No client can be asked to fetch one.
const SCHEME: &str = "kanal-file:";

/// Deletes a file that a client put up. False: the tenant has none of this id, or it is a message's.
///
/// # Errors
/// [`DatabaseError`].
pub async fn delete(db: &Database, scope: &TenantScope, id: Uuid) -> Result<bool, DatabaseError> {
    let mut tx = TenantTransaction::begin(db, scope, "delete upload").await?;
    let found = gate_media::delete_upload(&mut tx, id).await?;
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

    /// The file that a message of the tenant's refers to, where it does.
    #[must_use]
    pub fn meant(&self, scope: &TenantScope, media: &Media) -> Option<Uuid> {
        let (whose, id) = self.read(reference(media)?)?;
        (whose.tenant() == scope.tenant()).then_some(id)
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
