//! What Meta reports of messages of ours: how far they went, what they cost, why they failed. Many at once, in any order and
//! as often as Meta likes: what comes of it depends on what was reported only.
//!
//! A message goes by Meta's id, which the answer to the send tells. A report may be faster than that answer, and the answer
//! may be lost: then our own id, which a report repeats, says which message it is.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use database::{Database, DatabaseError};
use domain::delivery::{DeliveryStatus, Progress, Report, Stage};
use domain::ids::{AccountId, MessageId, ProviderMessageId};
use domain::text::Text;
use messaging::outbox::Signal;
use tenant_isolation::{TenantScope, TenantTransaction};
use whatsapp::cloud::{GraphError, StatusUpdate};

use super::announce_status::{Told, announce_each};
use super::early_receipt as early;
use crate::store::cloud_status::{self, MovedTo, Reached, StatusDetails};
use crate::store::{early_receipt, message_chat};

/// The longest word of Meta's that is kept of a message's cost.
const LONGEST_WORD: usize = 64;
/// The longest id of a conversation that is kept.
const LONGEST_ID: usize = 128;

/// Records reports about messages of one account. Returns where those stand that moved.
///
/// # Errors
/// [`DatabaseError`]; nothing of it is recorded then, or so much that a repetition completes it.
pub async fn record(
    db: &Database,
    signal: &Signal,
    scope: &TenantScope,
    account: AccountId,
    reports: &[StatusUpdate],
) -> Result<Vec<DeliveryStatus>, DatabaseError> {
    let mut known: BTreeMap<&ProviderMessageId, Merged> = BTreeMap::new();
    for report in reports {
        known.entry(&report.id).or_default().add(report);
    }
    let mut reached_now = settle(db, signal, scope, account, &known).await?;
    let ids: Vec<&ProviderMessageId> = known.keys().copied().collect();
    let reached: Vec<Reached> = known.iter().map(|(id, merged)| merged.reached(id)).collect();
    let details: Vec<StatusDetails> = known.iter().map(|(id, merged)| merged.details(id)).collect();

    let mut tx = TenantTransaction::begin(db, scope, "record statuses").await?;
    cloud_status::add_details(&mut tx, account, &details).await?;
    cloud_status::keep_early(&mut tx, account, &reached).await?;
    message_chat::lock_all_by_provider_id(&mut tx, account, &ids).await?;
    let moved = cloud_status::advance(&mut tx, account, &reached).await?;
    let told = told(&moved)?;
    reached_now.extend(told.iter().map(|one| one.status));
    announce_each(&mut tx, told).await?;
    let ids: Vec<ProviderMessageId> = ids.into_iter().cloned().collect();
    early_receipt::forget_known(&mut tx, account, &ids).await?;
    tx.commit().await?;
    if !moved.is_empty() {
        signal.ring();
    }
    Ok(reached_now)
}

/// The stable code of a failure that Meta reported.
#[must_use]
pub fn reason_of(error: Option<&GraphError>) -> String {
    match error {
        Some(error) if error.code != 0 => format!("meta_{}", error.code),
        _ => "meta_failed".to_owned(),
    }
}

/// Lets messages whose answer was lost go by the id under which they are reported.
async fn settle(
    db: &Database,
    signal: &Signal,
    scope: &TenantScope,
    account: AccountId,
    known: &BTreeMap<&ProviderMessageId, Merged>,
) -> Result<Vec<DeliveryStatus>, DatabaseError> {
    let ours: BTreeMap<&ProviderMessageId, &ProviderMessageId> = known
        .iter()
        .filter_map(|(theirs, merged)| Some((merged.ours.as_ref()?, *theirs)))
        .collect();
    if ours.is_empty() {
        return Ok(Vec::new());
    }
    let asked: Vec<&ProviderMessageId> = ours.keys().copied().collect();
    let mut tx = TenantTransaction::begin(db, scope, "look for unsettled sends").await?;
    let unsettled = cloud_status::unsettled(&mut tx, account, &asked).await?;
    tx.commit().await?;
    let mut settled = Vec::new();
    for row in unsettled {
        let theirs = ProviderMessageId::parse(row.provider_message_id.as_str())
            .ok()
            .and_then(|own| ours.get(&own).copied());
        if let Some(theirs) = theirs {
            settled.extend(settle_one(db, scope, account, row.message(), theirs).await?);
            metrics::counter!("kanal_sends_settled_by_report_total").increment(1);
            signal.ring();
        }
    }
    Ok(settled)
}

async fn settle_one(
    db: &Database,
    scope: &TenantScope,
    account: AccountId,
    message: MessageId,
    theirs: &ProviderMessageId,
) -> Result<Option<DeliveryStatus>, DatabaseError> {
    let mut tx = TenantTransaction::begin(db, scope, "settle send by report").await?;
    let learned = early::learn(&mut tx, account, message, theirs).await?;
    message_chat::lock(&mut tx, message).await?;
    learned.adopt(&mut tx, message).await?;
    let confirmed = learned.confirm(&mut tx, message).await?;
    tx.commit().await?;
    Ok(confirmed)
}

fn told(moved: &[MovedTo]) -> Result<Vec<Told<'_>>, DatabaseError> {
    let told = moved.iter().map(|one| {
        let status: DeliveryStatus = one
            .status
            .parse()
            .map_err(|error: domain::delivery::UnknownStatus| DatabaseError::Refused(error.into()))?;
        Ok(Told {
            moved: one.moved(),
            status,
            reason: one.reason.as_deref(),
            detail: one.detail.clone(),
            at: one.at,
        })
    });
    told.collect()
}

/// Everything that was told of one message.
#[derive(Debug, Default)]
struct Merged {
    progress: Progress,
    latest: Option<DateTime<Utc>>,
    ours: Option<ProviderMessageId>,
    error: Option<GraphError>,
    details: StatusDetails,
}

impl Merged {
    fn add(&mut self, report: &StatusUpdate) {
        self.progress = self.progress.with(report.report, report.at);
        self.latest = self.latest.max(Some(report.at));
        if self.ours.is_none() {
            let ours = report.callback.as_ref();
            self.ours = ours.and_then(|text| ProviderMessageId::parse(text.as_str()).ok());
        }
        if self.error.is_none() && report.report == Report::Failed {
            self.error = report.errors.first().cloned();
        }
        let details = &mut self.details;
        let slot = match report.report {
            Report::Reached(Stage::Accepted) => return,
            Report::Reached(Stage::Sent) => &mut details.sent_at,
            Report::Reached(Stage::Delivered) => &mut details.delivered_at,
            Report::Reached(Stage::Read) => &mut details.read_at,
            Report::Reached(Stage::Played) => &mut details.played_at,
            Report::Failed => &mut details.failed_at,
        };
        *slot = Some(slot.map_or(report.at, |at| at.min(report.at)));
        if let Some(pricing) = &report.pricing {
            details.billable = details.billable.or(pricing.billable);
            fill(&mut details.pricing_model, pricing.model.as_ref(), LONGEST_WORD);
            fill(&mut details.pricing_type, pricing.kind.as_ref(), LONGEST_WORD);
            fill(
                &mut details.pricing_category,
                pricing.category.as_ref(),
                LONGEST_WORD,
            );
        }
        if let Some(conversation) = &report.conversation {
            fill(&mut details.conversation_id, conversation.id.as_ref(), LONGEST_ID);
            let origin = conversation.origin.as_ref();
            fill(&mut details.conversation_origin, origin, LONGEST_WORD);
        }
    }

    fn reached(&self, id: &ProviderMessageId) -> Reached {
        let status = self.progress.status();
        let at = match self.progress.headline() {
            Report::Failed => self.progress.failed_at(),
            Report::Reached(stage) => self.progress.reached_at(stage),
        };
        Reached {
            id: id.clone(),
            status,
            at: at.or(self.latest).unwrap_or_else(Utc::now),
            reason: (status == DeliveryStatus::Failed).then(|| reason_of(self.error.as_ref())),
        }
    }

    fn details(&self, id: &ProviderMessageId) -> StatusDetails {
        let words = |text: &Text| Some(text.as_str().to_owned()).filter(|text| !text.is_empty());
        let error = self.error.as_ref();
        StatusDetails {
            provider_message_id: id.as_str().to_owned(),
            error_code: error.map(|error| error.code),
            error_title: error.and_then(|error| words(&error.title)),
            error_details: error.and_then(|error| words(&error.details).or_else(|| words(&error.message))),
            ..self.details.clone()
        }
    }
}

/// What was told first counts.
fn fill(slot: &mut Option<String>, text: Option<&Text>, most: usize) {
    if slot.is_none() {
        let label = text.and_then(|text| Text::label(text.as_str(), most));
        *slot = label.map(Text::into_string);
    }
}
