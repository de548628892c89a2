//! The file of a message, until the message is committed.
//!
//! | what the message brings | the row says |
//! |---|---|
//! | a file inside the webhook | `stored`: it is written to the object store first, for it is nowhere else |
//! | the same, and the store fails | `pending` where there is another source, else `failed` with `inline_lost` |
//! | an address or WhatsApp's keys | `pending`: fetched after the commit, see [`super::fetch_media`] |
//! | more bytes than we keep | `too_large` |
//! | none of these | `none` |
//!
//! Whatever happens to the file, the text is kept, and nothing of this makes it wait for long.

use std::borrow::Cow;
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use chrono::Utc;
use database::{Database, DatabaseError};
use domain::ids::{AccountId, MessageId};
use domain::message::{InboundMessage, Media, MediaSource, MediaState, MessageContent};
use futures_util::stream::{self, BoxStream, StreamExt as _};
use messaging::cause::Cause;
use messaging::lanes::NewTask;
use runtime::encryption::KeyRing;
use serde::{Deserialize, Serialize};
use tenant_isolation::{TenantScope, TenantTransaction};
use uuid::Uuid;
use whatsapp::base64_stream::{Decoder, NotBase64};

use crate::config::MediaSettings;
use crate::media::file_type::{self, FileType};
use crate::media::{
    Announced, KeepError, KeptFile, MediaLinks, MediaStorage, ObjectKey, OpenFile, StorageError,
};
use crate::store::chat_picture::{self, PictureFile};
use crate::store::gate_media::{self, UploadRow};
use crate::store::media::{self, MediaRow, NewMedia, StoredFile};

/// Lanes of files begin like this; see [`messaging::lanes::LaneChoice`].
pub const LANES: &str = "media:";
/// How long a webhook may wait for the object store. Its sender gives up after 30 s.
const PATIENCE: Duration = Duration::from_secs(10);
/// Base64 that is decoded at once.
const PIECE: usize = 256 * 1024;

/// What the file of a message needs. Cheap to clone.
#[derive(Debug, Clone)]
pub struct MediaFlow {
    /// The tables.
    pub db: Database,
    /// Where files lie.
    pub storage: MediaStorage,
    /// How they are handed out.
    pub links: MediaLinks,
    /// Largest file that is kept, in bytes.
    pub limit: u64,
}

/// Bytes of a file inside a webhook, decoded while they are stored.
pub type InlineBytes<'a> = BoxStream<'a, Result<Bytes, NotBase64>>;

/// A file inside the webhook that is in hand.
pub struct InlineFile<'a> {
    /// It has at least so many bytes, as far as that is known beforehand.
    least_size: Option<u64>,
    bytes: InlineBytes<'a>,
}

impl<'a> InlineFile<'a> {
    /// A file in base64 that is in memory.
    #[must_use]
    pub fn of_text(base64: Cow<'a, str>) -> Self {
        Self {
            // Padding may make it two bytes less. What is on the edge is counted while it is stored.
            least_size: Some((base64.len() as u64 / 4 * 3).saturating_sub(2)),
            bytes: decoded(base64),
        }
    }

    /// A file that comes from elsewhere.
    #[must_use]
    pub fn of_stream(bytes: InlineBytes<'a>) -> Self {
        Self {
            least_size: None,
            bytes,
        }
    }
}

/// The task of fetching a file.
#[derive(Debug, Serialize, Deserialize)]
pub struct FetchTask {
    /// Whose file.
    pub message_id: MessageId,
    /// What brought it.
    #[serde(flatten)]
    pub cause: Cause,
}

impl FetchTask {
    /// The task's kind.
    pub const KIND: &'static str = "fetch_media";

    /// The task for a message, on a lane of its own.
    ///
    /// # Errors
    /// When it cannot be written as JSON.
    pub fn of(message_id: MessageId, cause: Cause) -> Result<NewTask, serde_json::Error> {
        Ok(NewTask {
            lane: format!("{LANES}{message_id}"),
            id: Uuid::now_v7(),
            kind: Self::KIND,
            payload: serde_json::to_string(&Self { message_id, cause })?,
        })
    }
}

impl From<KeptFile> for StoredFile {
    fn from(kept: KeptFile) -> Self {
        Self {
            object_key: kept.key.as_str().to_owned(),
            mime_type: kept.content.file_type.mime,
            size: kept.size,
            sha256: kept.sha256,
        }
    }
}

/// A stored file that is being read.
pub struct ServedFile {
    /// What it is.
    pub file_type: FileType,
    /// A name to save it under.
    pub name: String,
    /// SHA-256 in hexadecimal.
    pub sha256: String,
    /// Its size.
    pub size: u64,
    /// The object.
    pub key: ObjectKey,
}

impl MediaFlow {
    /// Opens the object store and takes the keys of the links.
    ///
    /// # Errors
    /// When the store cannot be opened.
    pub fn open(db: Database, keys: &KeyRing, settings: &MediaSettings) -> anyhow::Result<Self> {
        let (internal, public) = (&settings.internal_url, &settings.public_url);
        Ok(Self {
            db,
            storage: MediaStorage::open(&settings.storage).context("MEDIA_STORAGE_PATH, MEDIA_S3_*")?,
            links: MediaLinks::new(keys, internal.as_str(), public.as_str(), settings.link_lifetime),
            limit: settings.limit,
        })
    }

    /// Says what is to be kept about the message's file, and stores it if it came along. `None`: the message has no
    /// file, or was kept before.
    ///
    /// # Errors
    /// [`DatabaseError`]: then the message could not be kept either.
    pub async fn take_in<'a>(
        &self,
        scope: &TenantScope,
        account: AccountId,
        message: &InboundMessage,
        inline: Option<InlineFile<'a>>,
    ) -> Result<Option<NewMedia>, DatabaseError> {
        let MessageContent::Media(file) = &message.content else {
            return Ok(None);
        };
        let mut row = NewMedia {
            kind: file.media_kind,
            state: MediaState::Nowhere,
            declared_type: file.mime_type.as_ref().map(|text| text.as_str().to_owned()),
            declared_size: file.size,
            file_name: file.file_name.as_ref().map(|text| text.as_str().to_owned()),
            stored: None,
            reason: None,
        };
        let size = inline.as_ref().map_or(file.size, |inline| inline.least_size);
        if size.is_some_and(|size| size > self.limit) {
            row.state = MediaState::TooLarge;
            row.reason = Some("too_large");
        } else if let Some(inline) = inline {
            if self.is_repeated(scope, account, message).await? {
                return Ok(None);
            }
            let announced = Announced {
                kind: file.media_kind,
                declared: row.declared_type.as_deref(),
            };
            match self.store_inline(scope, &announced, inline.bytes).await {
                Ok(kept) => {
                    (row.state, row.reason) = state_of(&kept);
                    row.stored = Some(kept.into());
                }
                Err(reason) => {
                    tracing::warn!(reason, "an inline file was not stored");
                    metrics::counter!("kanal_media_inline_lost_total", "reason" => reason).increment(1);
                    (row.state, row.reason) = match elsewhere(file) {
                        _ if reason == "too_large" => (MediaState::TooLarge, Some(reason)),
                        Some(pending) => pending,
                        None => (MediaState::Failed, Some(reason)),
                    };
                }
            }
        } else if let Some((state, reason)) = elsewhere(file) {
            (row.state, row.reason) = (state, reason);
        }
        metrics::counter!("kanal_media_received_total", "state" => row.state.as_str()).increment(1);
        Ok(Some(row))
    }

    /// The message had been kept before, so its file is one too many.
    pub async fn take_back(&self, row: &NewMedia) {
        let Some(file) = &row.stored else { return };
        let Ok(key) = ObjectKey::parse(&file.object_key) else {
            return;
        };
        // What stays behind here is found by the sweep.
        if let Err(error) = self.storage.delete(&key).await {
            tracing::warn!(error = %crate::error::chain(&error), "a superfluous object was not deleted");
        }
    }

    /// The file of a message of the tenant, one that was put up to be sent, or a person's picture, if it is there to be
    /// handed out.
    ///
    /// # Errors
    /// [`DatabaseError`].
    pub async fn find(
        &self,
        scope: &TenantScope,
        message: MessageId,
    ) -> Result<Option<ServedFile>, DatabaseError> {
        let mut tx = TenantTransaction::begin(&self.db, scope, "find media").await?;
        if let Some(row) = media::find(&mut tx, message).await? {
            tx.commit().await?;
            return Ok(served(row));
        }
        if let Some(upload) = gate_media::upload(&mut tx, message.as_uuid()).await? {
            tx.commit().await?;
            return Ok(uploaded(upload));
        }
        let picture = chat_picture::file(&mut tx, message.as_uuid()).await?;
        tx.commit().await?;
        Ok(picture.and_then(pictured))
    }

    /// Opens a stored file, or a part of it. `None`: the object is gone.
    ///
    /// # Errors
    /// [`StorageError`].
    pub async fn read(
        &self,
        key: &ObjectKey,
        range: Option<std::ops::Range<u64>>,
    ) -> Result<Option<OpenFile>, StorageError> {
        self.storage.read(key, range).await
    }

    /// A provider that brings a message again brings its file again, and the copy would be nobody's.
    async fn is_repeated(
        &self,
        scope: &TenantScope,
        account: AccountId,
        message: &InboundMessage,
    ) -> Result<bool, DatabaseError> {
        let mut tx = TenantTransaction::begin(&self.db, scope, "look for message").await?;
        let known = media::is_known_message(&mut tx, account, &message.provider_message_id).await?;
        tx.commit().await?;
        Ok(known)
    }

    async fn store_inline(
        &self,
        scope: &TenantScope,
        announced: &Announced<'_>,
        bytes: InlineBytes<'_>,
    ) -> Result<KeptFile, &'static str> {
        let key = ObjectKey::generate(scope.tenant(), Utc::now().date_naive());
        let storing = self.storage.keep(key, self.limit, announced, bytes);
        match tokio::time::timeout(PATIENCE, storing).await {
            Ok(Ok(kept)) => Ok(kept),
            Ok(Err(KeepError::Source(NotBase64))) => Err("inline_unreadable"),
            Ok(Err(KeepError::Empty)) => Err("empty"),
            Ok(Err(KeepError::TooLarge)) => Err("too_large"),
            Ok(Err(KeepError::Storage(error))) => {
                tracing::warn!(error = %crate::error::chain(&error), "the object store failed");
                Err("inline_lost")
            }
            Err(_) => Err("inline_lost"),
        }
    }
}

/// What becomes of a file that was stored, and why: one that is suspicious stays where nobody is handed it.
pub(super) fn state_of(kept: &KeptFile) -> (MediaState, Option<&'static str>) {
    match kept.content.suspicion {
        None => (MediaState::Stored, None),
        Some(suspicion) => {
            let reason = suspicion.as_str();
            metrics::counter!("kanal_media_quarantined_total", "reason" => reason).increment(1);
            (MediaState::Quarantined, Some(reason))
        }
    }
}

/// Where else the file can be had.
fn elsewhere(file: &Media) -> Option<(MediaState, Option<&'static str>)> {
    file.sources
        .iter()
        .any(|source| !matches!(source, MediaSource::Inline { .. }))
        .then_some((MediaState::Pending, None))
}

/// The bytes of a base64 text, a piece at a time.
fn decoded(text: Cow<'_, str>) -> InlineBytes<'_> {
    let start = match text.split_once(";base64,") {
        Some((head, rest)) if head.starts_with("data:") => text.len() - rest.len(),
        _ => 0,
    };
    let (mut decoder, mut at) = (Decoder::default(), start);
    stream::iter(std::iter::from_fn(move || {
        let piece = text.as_bytes().get(at..).filter(|rest| !rest.is_empty())?;
        let piece = &piece[..piece.len().min(PIECE)];
        at += piece.len();
        let mut bytes = Vec::with_capacity(PIECE);
        let mut outcome = decoder.feed(piece, &mut bytes);
        if at == text.len() {
            outcome = outcome.and_then(|()| decoder.finish(&mut bytes));
        }
        Some(outcome.map(|()| Bytes::from(bytes)))
    }))
    .boxed()
}

fn uploaded(row: UploadRow) -> Option<ServedFile> {
    let file_type = file_type::named(&row.mime_type);
    Some(ServedFile {
        file_type,
        name: file_type::safe_name(row.file_name.as_deref(), "file", file_type),
        sha256: row.sha256,
        size: u64::try_from(row.size).ok()?,
        key: ObjectKey::parse(&row.object_key).ok()?,
    })
}

fn pictured(row: PictureFile) -> Option<ServedFile> {
    let file_type = file_type::named(&row.mime_type);
    Some(ServedFile {
        file_type,
        name: file_type::safe_name(None, "picture", file_type),
        sha256: row.sha256,
        size: u64::try_from(row.size).ok()?,
        key: ObjectKey::parse(&row.object_key).ok()?,
    })
}

fn served(row: MediaRow) -> Option<ServedFile> {
    if row.state != MediaState::Stored.as_str() {
        return None;
    }
    let file_type = file_type::named(row.mime_type.as_deref().unwrap_or_default());
    Some(ServedFile {
        file_type,
        name: file_type::safe_name(row.file_name.as_deref(), &row.kind, file_type),
        sha256: row.sha256?,
        size: u64::try_from(row.size?).ok()?,
        key: ObjectKey::parse(&row.object_key?).ok()?,
    })
}
