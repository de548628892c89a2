//! Files that clients put up, to be sent: so many of a tenant's at once, inspected by content, and kept when the form that
//! brings them is whole. Of a form that breaks off nothing stays.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use chrono::{TimeDelta, Utc};
use database::DatabaseError;
use domain::ids::{AccountId, TenantId};
use domain::message::{Media, MediaKind};
use domain::text::Text;
use futures_util::Stream;
use tenant_isolation::{TenantScope, TenantTransaction};
use tokio::runtime::Handle;
use uuid::Uuid;

use super::{GateError, Refusal};
use crate::config::UploadLimits;
use crate::flows::media::MediaFlow;
use crate::media::{Announced, KeepError, KeptFile, MediaStorage, ObjectKey, StorageError};
use crate::store::gate_media::{self, HeldRow, UploadRow};
use crate::store::tenant;

/// How long a file stays that was put up.
const LIFE: TimeDelta = TimeDelta::days(30);
/// A file that takes longer than this does not come, or the store has failed, for now.
const PATIENCE: Duration = Duration::from_secs(60);
/// Files of one tenant that are on their way up at once through one process: what lies in the store uncounted.
const AT_ONCE: usize = 8;

/// What is said of a file that a client puts up.
pub struct Announcement<'a> {
    /// The type its sender declares.
    pub mime_type: Option<&'a str>,
    /// What its sender calls it.
    pub file_name: Option<&'a str>,
}

/// Why a file is not taken.
#[derive(Debug, thiserror::Error)]
pub enum UploadError {
    /// Too many of the tenant's are on their way at this moment.
    #[error("too many files are on their way")]
    Busy,
    /// The tenant holds as many as it may.
    #[error("the tenant holds as many files as it may")]
    Full(UploadLimits),
    /// It has more bytes than this.
    #[error("the file has more than {0} bytes")]
    TooLarge(u64),
    /// There is nothing in it.
    #[error("the file is empty")]
    Empty,
    /// It did not come to its end.
    #[error("the file ended early")]
    Broken,
    /// It did not come in time.
    #[error("the file took too long")]
    Slow,
    /// It is dangerous, or not what it was announced as. The reason is a stable code.
    #[error("the file is not taken: {0}")]
    Suspicious(&'static str),
    /// The object store failed.
    #[error("the object store failed")]
    Storage(#[source] StorageError),
    /// Postgres failed.
    #[error(transparent)]
    Database(#[from] DatabaseError),
}

impl From<UploadError> for GateError {
    fn from(error: UploadError) -> Self {
        match error {
            UploadError::Busy => Refusal::uploads().into(),
            UploadError::Full(limits) => Refusal::full(limits).into(),
            UploadError::TooLarge(limit) => {
                Refusal::file(format!("The file has more than {limit} bytes")).into()
            }
            UploadError::Empty => Refusal::file("The file is empty").into(),
            UploadError::Broken => Refusal::unreadable("The upload ended before the file did").into(),
            UploadError::Slow => Refusal::body(408, "The upload took too long").into(),
            UploadError::Suspicious(reason) => {
                Refusal::file(format!("The file is not taken: {reason}")).into()
            }
            UploadError::Storage(error) => Self::Storage(error),
            UploadError::Database(error) => Self::Database(error),
        }
    }
}

/// Takes files in. Cheap to clone.
#[derive(Clone)]
pub struct Uploads {
    media: MediaFlow,
    limits: UploadLimits,
    under_way: Arc<Mutex<HashMap<TenantId, usize>>>,
}

/// The place of a file that is on its way up.
pub struct Place {
    tenant: TenantId,
    /// What the tenant may still put up.
    left: u64,
    under_way: Arc<Mutex<HashMap<TenantId, usize>>>,
}

/// A file that lies in the store and is nobody's yet. It is deleted there if it is not kept.
pub struct Arrived {
    object: Uncounted,
    file: KeptFile,
    name: Option<String>,
}

impl Arrived {
    /// What it is, by its content.
    #[must_use]
    pub const fn mime_type(&self) -> &'static str {
        self.file.content.file_type.mime
    }

    /// SHA-256 in hexadecimal.
    #[must_use]
    pub fn sha256(&self) -> &str {
        &self.file.sha256
    }

    /// Its size in bytes.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.file.size
    }

    /// What its sender calls it.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// As what sort of message it goes out.
    #[must_use]
    pub fn kind(&self) -> MediaKind {
        kind_of(self.mime_type())
    }
}

impl Uploads {
    /// Files of at most so many and so much for each tenant.
    #[must_use]
    pub fn new(media: MediaFlow, limits: UploadLimits) -> Self {
        Self {
            media,
            limits,
            under_way: Arc::default(),
        }
    }

    /// A place for one more file, before any of its bytes are read.
    ///
    /// # Errors
    /// [`UploadError`].
    pub async fn place(&self, scope: &TenantScope) -> Result<Place, UploadError> {
        let mut place = self.enter(scope.tenant()).ok_or(UploadError::Busy)?;
        let mut tx = TenantTransaction::begin(&self.media.db, scope, "look before upload").await?;
        let held = gate_media::held_uploads(&mut tx).await?;
        tx.commit().await?;
        if !self.fits(held, 1) {
            return Err(UploadError::Full(self.limits));
        }
        place.left = self.limits.bytes.saturating_sub(unsigned(held.bytes));
        Ok(place)
    }

    fn enter(&self, tenant: &TenantId) -> Option<Place> {
        let mut under_way = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        let count = under_way.entry(tenant.clone()).or_default();
        if *count >= AT_ONCE {
            return None;
        }
        *count += 1;
        Some(Place {
            tenant: tenant.clone(),
            left: 0,
            under_way: Arc::clone(&self.under_way),
        })
    }

    /// Takes the bytes of a file in.
    ///
    /// # Errors
    /// [`UploadError`].
    pub async fn take_in<E>(
        &self,
        place: &Place,
        announced: &Announcement<'_>,
        bytes: impl Stream<Item = Result<Bytes, E>> + Unpin,
    ) -> Result<Arrived, UploadError> {
        let declared = announced.mime_type.map(essence);
        let declared = declared.as_deref().filter(|declared| !declared.is_empty());
        let kind = kind_of(declared.unwrap_or_default());
        let most = most_bytes(declared.unwrap_or_default()).min(self.media.limit);
        let looked_at = Announced { kind, declared };
        let key = ObjectKey::generate(&place.tenant, Utc::now().date_naive());
        let object = Uncounted::new(self.media.storage.clone(), key.clone());
        let limit = most.min(place.left);
        let keeping = self.media.storage.keep(key, limit, &looked_at, bytes);
        let file = match tokio::time::timeout(PATIENCE, keeping).await {
            Ok(Ok(file)) => file,
            Ok(Err(KeepError::TooLarge)) if limit < most => return Err(UploadError::Full(self.limits)),
            Ok(Err(KeepError::TooLarge)) => return Err(UploadError::TooLarge(limit)),
            Ok(Err(KeepError::Empty)) => return Err(UploadError::Empty),
            Ok(Err(KeepError::Source(_))) => return Err(UploadError::Broken),
            Ok(Err(KeepError::Storage(error))) => return Err(UploadError::Storage(error)),
            Err(_) => return Err(UploadError::Slow),
        };
        if let Some(suspicion) = file.content.suspicion {
            let reason = suspicion.as_str();
            metrics::counter!("kanal_gate_files_refused_total", "reason" => reason).increment(1);
            return Err(UploadError::Suspicious(reason));
        }
        let name = announced
            .file_name
            .and_then(|name| Text::label(name, Media::MAX_FILE_NAME))
            .map(Text::into_string);
        Ok(Arrived { object, file, name })
    }

    /// Keeps a file that came in. Returns its id.
    ///
    /// # Errors
    /// [`UploadError`].
    pub async fn keep(
        &self,
        scope: &TenantScope,
        account: AccountId,
        arrived: Arrived,
    ) -> Result<Uuid, UploadError> {
        let Arrived { object, file, name } = arrived;
        let row = UploadRow {
            id: Uuid::now_v7(),
            account_id: account.as_uuid(),
            file_name: name,
            mime_type: file.content.file_type.mime.to_owned(),
            size: i64::try_from(file.size).unwrap_or(i64::MAX),
            sha256: file.sha256,
            object_key: file.key.as_str().to_owned(),
        };
        let mut tx = TenantTransaction::begin(&self.media.db, scope, "keep upload").await?;
        // Others that come at the same moment count, too.
        tenant::hold(&mut tx).await?;
        if !self.fits(gate_media::held_uploads(&mut tx).await?, file.size) {
            return Err(UploadError::Full(self.limits));
        }
        gate_media::insert_upload(&mut tx, &row, Utc::now() + LIFE).await?;
        // From here on nobody can tell whether it is kept; what is not is found by the sweep.
        object.counts();
        tx.commit().await?;
        metrics::counter!("kanal_gate_files_kept_total").increment(1);
        Ok(row.id)
    }

    fn fits(&self, held: HeldRow, size: u64) -> bool {
        let (files, bytes) = (unsigned(held.files), unsigned(held.bytes));
        files < self.limits.files && bytes.saturating_add(size) <= self.limits.bytes
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut under_way = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        if let Entry::Occupied(mut count) = under_way.entry(self.tenant.clone()) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}

/// An object that no row speaks of.
struct Uncounted {
    object: Option<(MediaStorage, ObjectKey)>,
    runtime: Handle,
}

impl Uncounted {
    fn new(storage: MediaStorage, key: ObjectKey) -> Self {
        Self {
            object: Some((storage, key)),
            runtime: Handle::current(),
        }
    }

    /// It has its row.
    fn counts(mut self) {
        self.object = None;
    }
}

impl Drop for Uncounted {
    fn drop(&mut self) {
        if let Some((storage, key)) = self.object.take() {
            self.runtime.spawn(async move {
                if let Err(error) = storage.delete(&key).await {
                    tracing::warn!(error = %crate::error::chain(&error), "an upload that nobody keeps is left to the sweep");
                }
            });
        }
    }
}

/// A count of Postgres'.
fn unsigned(count: i64) -> u64 {
    u64::try_from(count).unwrap_or_default()
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
