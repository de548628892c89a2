//! For how long a tenant keeps words, files, and what providers told as it came; and letting go of what is older.
//!
//! A message whose words are too old keeps its row: receipts, repeated webhooks and the ledger go on. One of ours that has
//! not gone out by then is put aside for good, because there is nothing left to send. Everything goes in small batches.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use database::{Database, DatabaseError};
use domain::delivery::DeliveryStatus;
use domain::ids::{MessageId, TenantId};
use domain::message::MessageContent;
use messaging::lanes;
use runtime::shutdown::Shutdown;
use tenant_isolation::{PlatformScope, PlatformTransaction, TenantScope, TenantTransaction};
use uuid::Uuid;

use super::announce_status::announce_put_aside;
use super::tenant::Actor;
use crate::store::retention::{self, Aged, DaysRow, PARKED_EVENTS, PARKED_WEBHOOKS, RAW, WordsRow};
use crate::store::{audit, chat, message_status};

/// Most days for which anything may be kept, if not for ever.
pub const MOST_DAYS: i32 = 3_650;
const BATCH: i64 = 500;
/// Between two batches, so that nobody waits for a sweep.
const BREATH: Duration = Duration::from_millis(50);
/// Tenants that are looked up at once.
const PAGE: i64 = 500;
/// Why a message of ours is put aside whose words are gone.
const TEXT_EXPIRED: &str = "text_expired";

/// A change of what a tenant has set. The outer `None` leaves a thing as it is, the inner one is back to the default.
#[derive(Debug, Clone, Copy, Default)]
pub struct DaysChange {
    /// Words.
    pub text_days: Option<Option<i32>>,
    /// Files.
    pub media_days: Option<Option<i32>>,
    /// What providers told, as it came.
    pub raw_days: Option<Option<i32>>,
}

/// What the tenant has set. `None`: there is no such tenant.
///
/// # Errors
/// [`DatabaseError`].
pub async fn find(db: &Database, scope: &TenantScope) -> Result<Option<DaysRow>, DatabaseError> {
    let mut tx = TenantTransaction::begin(db, scope, "find retention").await?;
    let days = retention::days(&mut tx).await?;
    tx.commit().await?;
    Ok(days)
}

/// Changes it, and returns what holds then. `None`: there is no such tenant. Days are between 1 and [`MOST_DAYS`].
///
/// # Errors
/// [`DatabaseError`].
pub async fn set(
    db: &Database,
    scope: &TenantScope,
    change: DaysChange,
    actor: &Actor,
) -> Result<Option<DaysRow>, DatabaseError> {
    let mut tx = TenantTransaction::begin(db, scope, "set retention").await?;
    let Some(known) = retention::days(&mut tx).await? else {
        return Ok(None);
    };
    let days = DaysRow {
        text_days: change.text_days.unwrap_or(known.text_days),
        media_days: change.media_days.unwrap_or(known.media_days),
        raw_days: change.raw_days.unwrap_or(known.raw_days),
    };
    retention::set_days(&mut tx, days).await?;
    let word = |days: Option<i32>| days.map_or("default".to_owned(), |days| days.to_string());
    let act = actor.act("retention.set", None).saying(format!(
        "texts {}, media {}, raw events {}",
        word(days.text_days),
        word(days.media_days),
        word(days.raw_days)
    ));
    audit::note(&mut tx, &act).await?;
    tx.commit().await?;
    Ok(Some(days))
}

/// What was let go of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LetGo {
    /// Messages that lost their words.
    pub texts: usize,
    /// Files.
    pub files: usize,
    /// Raw events.
    pub raw: usize,
}

/// Lets go of what is too old at `now`, of every tenant that keeps anything for a time; `defaults` holds for what a tenant
/// has not set. One tenant's failure is logged and keeps no other back.
///
/// # Errors
/// [`DatabaseError`] when the tenants cannot be looked up.
pub async fn sweep(
    db: &Database,
    defaults: DaysRow,
    now: DateTime<Utc>,
    shutdown: &Shutdown,
) -> Result<(), DatabaseError> {
    let platform = PlatformScope::for_purpose("find tenants that keep things for a time");
    let everybody = defaults != DaysRow::default();
    let mut after = String::new();
    loop {
        let mut tx = PlatformTransaction::begin(db, platform).await?;
        let page = retention::tenants(&mut tx, everybody, &after, PAGE).await?;
        tx.commit().await?;
        let Some(last) = page.last() else { return Ok(()) };
        after.clone_from(&last.tenant_id);
        for row in page {
            let Ok(tenant) = TenantId::parse(row.tenant_id) else {
                continue;
            };
            let scope = TenantScope::of_swept_row(&platform, tenant);
            let days = DaysRow {
                text_days: row.days.text_days.or(defaults.text_days),
                media_days: row.days.media_days.or(defaults.media_days),
                raw_days: row.days.raw_days.or(defaults.raw_days),
            };
            match let_go(db, &scope, days, now, shutdown).await {
                Ok(gone) if gone != LetGo::default() => {
                    tracing::info!(tenant = %scope.tenant(), texts = gone.texts, files = gone.files, raw = gone.raw,
                        "what was kept for its time is gone");
                }
                Ok(_) => {}
                Err(error) => {
                    tracing::warn!(tenant = %scope.tenant(), error = %crate::error::chain(&error),
                        "what is too old could not be let go of");
                }
            }
            if !shutdown.sleep(BREATH / 10).await {
                return Ok(());
            }
        }
    }
}

/// Lets go of what of one tenant's is too old at `now`.
///
/// # Errors
/// [`DatabaseError`]; what is gone until then stays gone.
pub async fn let_go(
    db: &Database,
    scope: &TenantScope,
    days: DaysRow,
    now: DateTime<Utc>,
    shutdown: &Shutdown,
) -> Result<LetGo, DatabaseError> {
    let mut gone = LetGo::default();
    for (days, kind) in [
        (days.media_days, Old::Files),
        (days.text_days, Old::Words),
        (days.text_days, Old::Parked(PARKED_WEBHOOKS)),
        (days.text_days, Old::Parked(PARKED_EVENTS)),
        (days.raw_days, Old::Raw(RAW[0])),
        (days.raw_days, Old::Raw(RAW[1])),
    ] {
        let Some(days) = days else { continue };
        let before = now - TimeDelta::days(days.into());
        let count = in_batches(db, scope, kind, before, shutdown).await?;
        match kind {
            Old::Files => gone.files += count,
            Old::Words => gone.texts += count,
            Old::Parked(_) => {}
            Old::Raw(_) => gone.raw += count,
        }
    }
    Ok(gone)
}

/// What grows too old.
#[derive(Debug, Clone, Copy)]
enum Old {
    Files,
    Words,
    /// What was put aside with messages in it.
    Parked(Aged),
    Raw(Aged),
}

/// Lets go of one kind until there is less than a batch, with a breath in between. Returns how many there were.
async fn in_batches(
    db: &Database,
    scope: &TenantScope,
    kind: Old,
    before: DateTime<Utc>,
    shutdown: &Shutdown,
) -> Result<usize, DatabaseError> {
    let mut all = 0;
    loop {
        let mut tx = TenantTransaction::begin(db, scope, "let go of what is too old").await?;
        let gone = match kind {
            Old::Files => drop_files(&mut tx, before).await?,
            Old::Words => drop_words(&mut tx, before).await?,
            Old::Parked(rows) | Old::Raw(rows) => {
                retention::delete_aged(&mut tx, rows, before, BATCH).await?
            }
        };
        tx.commit().await?;
        all += gone;
        let more = i64::try_from(gone).unwrap_or(BATCH) >= BATCH;
        if !more || !shutdown.sleep(BREATH).await {
            return Ok(all);
        }
    }
}

async fn drop_words(tx: &mut TenantTransaction, before: DateTime<Utc>) -> Result<usize, DatabaseError> {
    let rows = retention::old_words(tx, before, BATCH).await?;
    if rows.is_empty() {
        return Ok(0);
    }
    // Chats before messages, as everybody takes them.
    let mut chats: Vec<Uuid> = rows.iter().map(|row| row.chat_id).collect();
    chats.sort_unstable();
    chats.dedup();
    chat::lock(tx, &chats).await?;
    give_up(tx, &rows).await?;
    let contents = rows
        .iter()
        .map(|row| rewritten(&row.content, MessageContent::without_words))
        .collect::<Result<Vec<_>, _>>()?;
    retention::blank(tx, &rows, &contents, before).await?;
    Ok(rows.len())
}

/// What has not gone out by now never will.
async fn give_up(tx: &mut TenantTransaction, rows: &[WordsRow]) -> Result<(), DatabaseError> {
    let open: Vec<Uuid> = rows.iter().filter(|row| row.is_open).map(|row| row.id).collect();
    if open.is_empty() {
        return Ok(());
    }
    lanes::put_aside(tx, &open, TEXT_EXPIRED).await?;
    let mut moved = Vec::new();
    for id in open {
        lanes::discard_parked(tx, id).await?;
        let id = MessageId::from_uuid(id);
        moved.extend(message_status::advance(tx, id, DeliveryStatus::Parked, Some(TEXT_EXPIRED)).await?);
    }
    announce_put_aside(tx, moved, DeliveryStatus::Parked, Some(TEXT_EXPIRED), Utc::now()).await
}

async fn drop_files(tx: &mut TenantTransaction, before: DateTime<Utc>) -> Result<usize, DatabaseError> {
    let rows = retention::delete_files(tx, before, BATCH).await?;
    let contents = rows
        .iter()
        .map(|row| rewritten(&row.content, without_file))
        .collect::<Result<Vec<_>, _>>()?;
    let ids: Vec<Uuid> = rows.iter().map(|row| row.id).collect();
    retention::set_contents(tx, &ids, &contents).await?;
    Ok(rows.len())
}

/// The same without the places where its file could be had again.
fn without_file(content: MessageContent) -> MessageContent {
    match content {
        MessageContent::Media(mut media) => {
            media.sources.clear();
            media.file_name = None;
            MessageContent::Media(media)
        }
        other => other,
    }
}

/// A content in the domain's JSON, changed. What cannot be read is kept as nothing.
fn rewritten(
    content: &str,
    change: impl FnOnce(MessageContent) -> MessageContent,
) -> Result<String, DatabaseError> {
    let content = match serde_json::from_str::<MessageContent>(content) {
        Ok(content) => change(content),
        Err(_) => MessageContent::nothing(),
    };
    serde_json::to_string(&content).map_err(|error| DatabaseError::Refused(error.into()))
}
