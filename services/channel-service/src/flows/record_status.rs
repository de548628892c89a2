//! What Meta reports of messages of ours: how far they went, what they cost, why they failed. Many at once, in any order and
//! as often as Meta likes: what comes of it depends on what was reported only.
//!
//! A message goes by Meta's id, which the answer to the send tells. A report may be faster than that answer, and the answer
//! may be lost: then our own id, which a report repeats, says which message it is.
//!
//! Webhooks that wait at the same moment share a commit, whosever messages they are about, as messages do that come in
//! (`ingest_message`).

use std::collections::BTreeMap;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use database::{Database, DatabaseError};
use domain::delivery::{DeliveryStatus, Progress, Report, Stage};
use domain::ids::{AccountId, MessageId, ProviderMessageId, TenantId};
use domain::text::Text;
use messaging::outbox::Signal;
use tenant_isolation::{GroupTransaction, ScopeSet, TenantScope, TenantTransaction};
use tokio::sync::{mpsc, oneshot};
use whatsapp::cloud::{GraphError, StatusUpdate};

use super::announce_status::{Told, announce_group};
use super::early_receipt as early;
use crate::store::cloud_status::{self, DetailsRow, MovedTo, Named, Reached, StatusDetails, UnsettledRow};
use crate::store::{early_receipt, message_chat};
use crate::traffic::Traffic;

/// The longest word of Meta's that is kept of a message's cost.
const LONGEST_WORD: usize = 64;
/// The longest id of a conversation that is kept.
const LONGEST_ID: usize = 128;

/// Reports of one webhook about messages of one account.
#[derive(Debug)]
pub struct ReportJob {
    /// Whose messages they are.
    pub scope: TenantScope,
    /// On which account.
    pub account: AccountId,
    /// The reports.
    pub reports: Arc<[StatusUpdate]>,
}

/// Why reports are not recorded.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// As many wait as we allow.
    #[error("too many reports wait for a commit")]
    Overloaded,
    /// Postgres failed.
    #[error(transparent)]
    Database(#[from] DatabaseError),
}

/// A job and where its answer goes.
pub type Waiting = (ReportJob, oneshot::Sender<Result<(), DatabaseError>>);

/// The way into the queues of those who record reports. Cheap to clone.
///
/// All reports of one account go to one of them: two would wait for each other's messages.
#[derive(Debug, Clone)]
pub struct Reports {
    queues: Arc<[mpsc::Sender<Waiting>]>,
    spread: RandomState,
}

impl Reports {
    /// Queues for at most `capacity` jobs together; each receiver goes to one of `recorders`.
    #[must_use]
    pub fn new(capacity: usize, recorders: usize) -> (Self, Vec<mpsc::Receiver<Waiting>>) {
        let recorders = recorders.max(1);
        let each = capacity.div_ceil(recorders).max(1);
        let (queues, jobs): (Vec<_>, Vec<_>) = (0..recorders).map(|_| mpsc::channel(each)).unzip();
        let reports = Self {
            queues: queues.into(),
            spread: RandomState::new(),
        };
        (reports, jobs)
    }

    /// Records reports; returns when it is durable. It waits for room at most so long.
    ///
    /// # Errors
    /// [`ReportError`]: nothing of it is recorded then, or so much that a repetition completes it.
    pub async fn submit(&self, job: ReportJob, patience: Duration) -> Result<(), ReportError> {
        let (answer, answered) = oneshot::channel();
        let queues = u64::try_from(self.queues.len()).unwrap_or(1).max(1);
        let number = self.spread.hash_one((job.scope.tenant(), job.account)) % queues;
        let queue = usize::try_from(number)
            .ok()
            .and_then(|number| self.queues.get(number));
        let put = queue.ok_or(ReportError::Overloaded)?.send((job, answer));
        match tokio::time::timeout(patience, put).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) | Err(_) => return Err(ReportError::Overloaded),
        }
        match answered.await {
            Ok(outcome) => Ok(outcome?),
            // The recorders are gone: the process ends.
            Err(_) => Err(ReportError::Overloaded),
        }
    }
}

/// Records a group. When that fails for another reason than Postgres being away, each job is tried alone, so that one that
/// Postgres does not like harms no other.
pub async fn record(db: &Database, signal: &Signal, traffic: &Traffic, group: Vec<Waiting>) {
    let (jobs, answers): (Vec<_>, Vec<_>) = group.into_iter().unzip();
    metrics::histogram!("kanal_reports_group_size")
        .record(f64::from(u32::try_from(jobs.len()).unwrap_or(u32::MAX)));
    let mut outcomes = Vec::with_capacity(jobs.len());
    match record_group(db, signal, traffic, &jobs).await {
        Ok(()) => outcomes.extend(jobs.iter().map(|_| Ok(()))),
        Err(error) if jobs.len() == 1 => outcomes.push(Err(error)),
        Err(error) if matches!(error, DatabaseError::Unavailable(_)) => {
            tracing::warn!(waiting = jobs.len(), error = %crate::error::chain(&error), "reports were not recorded");
            let away = || DatabaseError::Unavailable("the group was not committed".into());
            outcomes.extend(jobs.iter().map(|_| Err(away())));
        }
        Err(_) => {
            for job in &jobs {
                outcomes.push(record_group(db, signal, traffic, std::slice::from_ref(job)).await);
            }
        }
    }
    for (answer, outcome) in answers.into_iter().zip(outcomes) {
        // A caller that has left gets no answer; its reports are recorded all the same.
        drop(answer.send(outcome));
    }
}

/// What was told of each message, whosever it is.
type Known<'a> = BTreeMap<Named<'a>, Merged>;

/// The transaction.
async fn record_group(
    db: &Database,
    signal: &Signal,
    traffic: &Traffic,
    jobs: &[ReportJob],
) -> Result<(), DatabaseError> {
    let mut known = Known::new();
    let mut scopes: BTreeMap<&TenantId, &TenantScope> = BTreeMap::new();
    for job in jobs {
        let tenant = job.scope.tenant();
        scopes.insert(tenant, &job.scope);
        for report in &*job.reports {
            known
                .entry((tenant, job.account, &report.id))
                .or_default()
                .add(report);
        }
    }
    let reached: Vec<Reached> = known.iter().map(|(of, merged)| merged.reached(*of)).collect();
    let details: Vec<DetailsRow> = known.iter().map(|(of, merged)| merged.details(*of)).collect();
    let named: Vec<Named<'_>> = known.keys().copied().collect();

    let mut tx = begin(db, &scopes).await?;
    let unsettled = unsettled(&mut tx, &known).await?;
    if !unsettled.is_empty() {
        // Each has its own transaction, for it holds rows in another order.
        tx.commit().await?;
        settle(db, signal, traffic, &scopes, &known, &unsettled).await?;
        tx = begin(db, &scopes).await?;
    }
    cloud_status::add_details(&mut tx, &details).await?;
    cloud_status::keep_early(&mut tx, &reached).await?;
    message_chat::lock_all_by_provider_id(&mut tx, &named).await?;
    let moved = cloud_status::advance(&mut tx, &reached).await?;
    let told = told(&scopes, &moved)?;
    let statuses: Vec<_> = told
        .iter()
        .map(|(scope, told)| (scope.tenant(), told.status))
        .collect();
    let mut tx = announce_group(tx, told).await?;
    early_receipt::forget_known_group(&mut tx, &named).await?;
    tx.commit().await?;
    if !statuses.is_empty() {
        signal.ring();
    }
    for (tenant, status) in statuses {
        traffic.moved(tenant, [status]);
    }
    Ok(())
}

async fn begin(
    db: &Database,
    scopes: &BTreeMap<&TenantId, &TenantScope>,
) -> Result<GroupTransaction, DatabaseError> {
    let scopes: ScopeSet = scopes.values().copied().collect();
    GroupTransaction::begin(&db.keeping_plans(), scopes, "record statuses").await
}

/// The stable code of a failure that Meta reported.
#[must_use]
pub fn reason_of(error: Option<&GraphError>) -> String {
    match error {
        Some(error) if error.code != 0 => format!("meta_{}", error.code),
        _ => "meta_failed".to_owned(),
    }
}

/// Messages that still go by our own ids although reports show Meta's.
async fn unsettled(tx: &mut GroupTransaction, known: &Known<'_>) -> Result<Vec<UnsettledRow>, DatabaseError> {
    let ours: Vec<Named<'_>> = known
        .iter()
        .filter_map(|((tenant, account, _), merged)| Some((*tenant, *account, merged.ours.as_ref()?)))
        .collect();
    if ours.is_empty() {
        return Ok(Vec::new());
    }
    cloud_status::unsettled(tx, &ours).await
}

/// Lets messages whose answer was lost go by the id under which they are reported.
async fn settle(
    db: &Database,
    signal: &Signal,
    traffic: &Traffic,
    scopes: &BTreeMap<&TenantId, &TenantScope>,
    known: &Known<'_>,
    unsettled: &[UnsettledRow],
) -> Result<(), DatabaseError> {
    let theirs: BTreeMap<(&str, AccountId, &str), &ProviderMessageId> = known
        .iter()
        .filter_map(|((tenant, account, theirs), merged)| {
            Some((
                (tenant.as_str(), *account, merged.ours.as_ref()?.as_str()),
                *theirs,
            ))
        })
        .collect();
    for row in unsettled {
        let account = row.account();
        let named = (row.tenant_id.as_str(), account, row.provider_message_id.as_str());
        let scope = scopes
            .values()
            .find(|scope| scope.tenant().as_str() == row.tenant_id);
        if let (Some(theirs), Some(scope)) = (theirs.get(&named), scope) {
            let confirmed = settle_one(db, scope, account, row.message(), theirs).await?;
            traffic.moved(scope.tenant(), confirmed);
            metrics::counter!("kanal_sends_settled_by_report_total").increment(1);
            signal.ring();
        }
    }
    Ok(())
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

fn told<'a>(
    scopes: &BTreeMap<&TenantId, &'a TenantScope>,
    moved: &'a [MovedTo],
) -> Result<Vec<(&'a TenantScope, Told<'a>)>, DatabaseError> {
    let told = moved.iter().map(|one| {
        let status: DeliveryStatus = one
            .status
            .parse()
            .map_err(|error: domain::delivery::UnknownStatus| DatabaseError::Refused(error.into()))?;
        let scope = scopes
            .values()
            .find(|scope| scope.tenant().as_str() == one.tenant_id);
        let told = Told {
            moved: one.moved(),
            status,
            reason: one.reason.as_deref(),
            detail: one.detail.clone(),
            at: one.at,
        };
        Ok((*scope.ok_or(DatabaseError::NotFound)?, told))
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

    fn reached(&self, (tenant, account, id): Named<'_>) -> Reached {
        let status = self.progress.status();
        let at = match self.progress.headline() {
            Report::Failed => self.progress.failed_at(),
            Report::Reached(stage) => self.progress.reached_at(stage),
        };
        Reached {
            tenant: tenant.clone(),
            account,
            id: id.clone(),
            status,
            at: at.or(self.latest).unwrap_or_else(Utc::now),
            reason: (status == DeliveryStatus::Failed).then(|| reason_of(self.error.as_ref())),
        }
    }

    fn details(&self, (tenant, account, id): Named<'_>) -> DetailsRow {
        let words = |text: &Text| Some(text.as_str().to_owned()).filter(|text| !text.is_empty());
        let error = self.error.as_ref();
        let details = StatusDetails {
            provider_message_id: id.as_str().to_owned(),
            error_code: error.map(|error| error.code),
            error_title: error.and_then(|error| words(&error.title)),
            error_details: error.and_then(|error| words(&error.details).or_else(|| words(&error.message))),
            ..self.details.clone()
        };
        DetailsRow {
            tenant_id: tenant.clone(),
            account_id: account,
            details,
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
