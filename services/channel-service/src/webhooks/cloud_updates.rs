//! The updates of one webhook of Meta's, each on its way: up to a thousand, of any tenants, and none of them costs another.
//!
//! Messages go to the committers in the order in which they came and are waited for together, so that they share commits
//! and the order of a chat is kept. Reports about messages are recorded together for each account. The rest is little.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use database::DatabaseError;
use domain::endpoint::Provider;
use domain::ids::{AccountId, PhoneNumberId, ProviderMessageId, TenantId, WabaId};
use domain::message::MessageContent;
use domain::text::Text;
use futures_util::{StreamExt as _, stream};
use serde_json::value::RawValue;
use tenant_isolation::{PlatformScope, TenantScope};
use whatsapp::cloud::{StatusUpdate, Update, What};
use whatsapp::event::{InboundEvent, Keep};

use super::accept::{Arrived, Ids, job_of, keep, take};
use crate::app::State;
use crate::error::ServiceError;
use crate::flows::ingest_message::Submitted;
use crate::flows::quarantine::{self, Stray};
use crate::flows::record_status::{ReportError, ReportJob};
use crate::flows::record_update::{self, Told};
use crate::flows::route_number::{Address, Nobodys, NumberRouter, Owner, RouteError};
use crate::store::cloud_number::OwnerRow;

/// How long one message waits for its place with the committers.
const PATIENCE: Duration = Duration::from_secs(5);
/// Whoever fails after so long was waiting for something that others would wait for, too.
const LONG: Duration = Duration::from_millis(500);
/// Accounts of one webhook whose reports wait for their commit at the same time.
const ACCOUNTS_AT_ONCE: usize = 64;
/// A message that Postgres cannot hold, whatever is tried.
const NOT_STORABLE: &str = "not_storable";

/// What became of the updates of one webhook.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct TakenAll {
    /// Dealt with, or durable with their tenant.
    pub(super) done: usize,
    /// Nobody's, and kept in quarantine.
    pub(super) strays: usize,
    /// Neither: they have to come again.
    pub(super) left: usize,
}

impl TakenAll {
    fn count(&mut self, what: Result<(), ServiceError>, how_many: usize) {
        match what {
            // What one tenant has no more place for must not make Meta repeat what is everybody's.
            Ok(()) | Err(ServiceError::KeptTooMany) => self.done += how_many,
            Err(error) => {
                tracing::warn!(error = %crate::error::chain(&error), how_many, "updates of Meta's were not kept");
                self.left += how_many;
            }
        }
    }
}

/// Takes all of them. What is left is not among what was kept.
pub(super) async fn take_all(state: &State, signed_by: &[String], updates: Vec<Update>) -> TakenAll {
    let mut batch = Batch::place_all(state, signed_by, updates).await;
    batch.keep_strays(signed_by).await;
    batch.finish().await
}

/// As [`take_all`], but what is nobody's is only counted: it is kept already.
pub(super) async fn take_known(state: &State, signed_by: &[String], updates: Vec<Update>) -> TakenAll {
    let mut batch = Batch::place_all(state, signed_by, updates).await;
    batch.taken.strays += batch.strays.len();
    batch.finish().await
}

/// A message that waits for its commit.
struct Waiting {
    submitted: Submitted,
    owner: Owner,
    field: Text,
    raw: Box<RawValue>,
}

struct Batch<'a> {
    state: &'a State,
    taken: TakenAll,
    messages: Vec<Waiting>,
    reports: BTreeMap<(TenantId, AccountId), (TenantScope, Vec<StatusUpdate>)>,
    strays: Vec<(Nobodys, Update)>,
}

impl<'a> Batch<'a> {
    async fn place_all(state: &'a State, signed_by: &[String], updates: Vec<Update>) -> Self {
        let mut batch = Self {
            state,
            taken: TakenAll::default(),
            messages: Vec::new(),
            reports: BTreeMap::new(),
            strays: Vec::new(),
        };
        let mut router = NumberRouter::new(&state.db, &state.routes, signed_by);
        let reports = updates
            .iter()
            .filter_map(|update| Some((update.number.as_ref()?, about(update)?)));
        if let Err(error) = router.prepare(reports.collect()).await {
            // Each of them finds out by itself.
            tracing::warn!(error = %crate::error::chain(&error), "senders of messages could not be looked up");
        }
        let mut rest = updates.into_iter();
        while let Some(update) = rest.next() {
            let begun = Instant::now();
            let error = match batch.place(&mut router, update).await {
                Ok(()) => continue,
                Err(error @ ServiceError::KeptTooMany) => {
                    batch.taken.count(Err(error), 1);
                    continue;
                }
                Err(error) => error,
            };
            // Where Postgres is away or the committers are full, each of the others would wait as long and in vain.
            if begun.elapsed() > LONG {
                batch.taken.count(Err(error), 1 + rest.len());
                break;
            }
            batch.taken.count(Err(error), 1);
        }
        batch
    }

    async fn place(&mut self, router: &mut NumberRouter<'_>, update: Update) -> Result<(), ServiceError> {
        let Some(number) = &update.number else {
            return self.place_by_account(router, update).await;
        };
        let to = Address {
            number,
            waba: update.waba.as_ref(),
            display_number: update.display_number.as_ref().map(Text::as_str),
            at: time_of(&update),
            about: about(&update),
        };
        match router.find(to).await.map_err(not_found)? {
            Ok(owner) => self.give(owner, update).await,
            Err(nobodys) => {
                self.strays.push((nobodys, update));
                Ok(())
            }
        }
    }

    /// What is about an account and its templates is everybody's who has a number there.
    async fn place_by_account(
        &mut self,
        router: &NumberRouter<'_>,
        update: Update,
    ) -> Result<(), ServiceError> {
        let Some(waba) = &update.waba else {
            self.strays.push((Nobodys::NoNumber, update));
            return Ok(());
        };
        let display_number = update.display_number.as_ref().map(Text::as_str);
        let owners = router.find_all(waba, display_number).await?;
        if owners.is_empty() {
            let why = match display_number {
                Some(_) => Nobodys::UnknownNumber,
                None => Nobodys::UnknownWaba,
            };
            self.strays.push((why, update));
            return Ok(());
        }
        for owner in &owners {
            match self.tell_owner(owner, &update).await {
                Ok(()) | Err(ServiceError::KeptTooMany) => {}
                Err(error) => return Err(error),
            }
        }
        self.taken.done += 1;
        Ok(())
    }

    async fn tell_owner(&self, owner: &OwnerRow, update: &Update) -> Result<(), ServiceError> {
        let platform = PlatformScope::for_purpose("update of a business account");
        let owner = Owner {
            scope: TenantScope::of_swept_row(&platform, owner.tenant()?),
            account: owner.account(),
            keep: Keep::default(),
        };
        let told = match &update.what {
            Ok(what) => Told::of(what)?,
            Err(_) => None,
        };
        let done = match told {
            // Several accounts of a tenant there are told once, unless it names one of their numbers.
            Some(told) => {
                let account = update.display_number.as_ref().map(|_| owner.account);
                self.tell(&owner.scope, account, update, &told).await
            }
            None => {
                let reason = update.what.as_ref().err().map(|unusable| unusable.code());
                let (field, raw) = (update.field.as_str(), update.raw.get());
                keep(self.state, &owner.scope, owner.account, field, reason, raw).await
            }
        };
        self.or_keep(done, &owner, &update.field, &update.raw).await
    }

    async fn tell(
        &self,
        scope: &TenantScope,
        account: Option<AccountId>,
        update: &Update,
        told: &Told,
    ) -> Result<(), ServiceError> {
        let (db, relay) = (&self.state.db, &self.state.relay);
        let request = ::web::request_id();
        record_update::record(db, relay, scope, account, update, told, request).await?;
        Ok(())
    }

    /// What Postgres refuses whatever is tried is kept as it came: it would be refused as often as it comes.
    async fn or_keep(
        &self,
        done: Result<(), ServiceError>,
        owner: &Owner,
        field: &Text,
        raw: &RawValue,
    ) -> Result<(), ServiceError> {
        let error = match done {
            Err(ServiceError::Database(error)) if !error.is_transient() => error,
            done => return done,
        };
        tracing::error!(error = %crate::error::chain(&error), "an update cannot be stored");
        let (scope, reason) = (&owner.scope, Some(NOT_STORABLE));
        keep(
            self.state,
            scope,
            owner.account,
            field.as_str(),
            reason,
            raw.get(),
        )
        .await
    }

    async fn give(&mut self, owner: Owner, update: Update) -> Result<(), ServiceError> {
        if let Some(place) = update.place()
            && !owner.keep.wants(place)
        {
            metrics::counter!("kanal_messages_skipped_total", "reason" => place.as_str()).increment(1);
            self.taken.done += 1;
            return Ok(());
        }
        let Owner { scope, account, .. } = &owner;
        let account = *account;
        if let Ok(what) = &update.what
            && let Some(told) = Told::of(what)?
        {
            let told = self.tell(scope, Some(account), &update, &told).await;
            self.or_keep(told, &owner, &update.field, &update.raw).await?;
            self.taken.done += 1;
            return Ok(());
        }
        let Update {
            field,
            what,
            raw,
            key,
            ..
        } = update;
        let event = match what {
            Ok(What::Event(InboundEvent::Message(mut message))) => {
                // Meta changes a reaction, and takes it away, under the id that it had come under: that is no repetition of it.
                if matches!(message.content, MessageContent::Reaction { .. })
                    && let Ok(own) = ProviderMessageId::parse(key)
                {
                    message.provider_message_id = own;
                }
                self.state.sessions.hearing().heard(scope, account);
                let job = job_of(self.state, scope, account, *message, None).await?;
                let submitted = self.state.ingest.put(job, PATIENCE).await?;
                self.messages.push(Waiting {
                    submitted,
                    owner,
                    field,
                    raw,
                });
                return Ok(());
            }
            Ok(What::Status(report)) => {
                self.state.sessions.hearing().heard(scope, account);
                let key = (scope.tenant().clone(), account);
                let (_, reports) = self
                    .reports
                    .entry(key)
                    .or_insert_with(|| (scope.clone(), Vec::new()));
                reports.push(*report);
                return Ok(());
            }
            Ok(What::Event(event)) => Ok(event),
            Ok(What::Unknown(unknown)) => Ok(InboundEvent::Unknown(unknown)),
            // They were told above.
            Ok(
                What::Identity(_)
                | What::Notice(_)
                | What::Account(_)
                | What::Template(_)
                | What::Quality(_)
                | What::Preference(_),
            ) => return Ok(()),
            Err(unusable) => Err(unusable),
        };
        let arrived = Arrived {
            event,
            type_name: field.as_str(),
            payload: raw.get(),
            inline: None,
            ids: Ids::OfProvider,
        };
        let taken = take(self.state, scope, account, arrived).await.map(drop);
        self.or_keep(taken, &owner, &field, &raw).await?;
        self.taken.done += 1;
        Ok(())
    }

    async fn finish(mut self) -> TakenAll {
        let reports: Vec<_> = std::mem::take(&mut self.reports).into_iter().collect();
        let state = self.state;
        let recorded: Vec<(usize, usize)> = stream::iter(reports)
            .map(|((_, account), (scope, reports))| async move {
                record_reports(state, &scope, account, reports).await
            })
            .buffer_unordered(ACCOUNTS_AT_ONCE)
            .collect()
            .await;
        for (done, left) in recorded {
            self.taken.done += done;
            self.taken.left += left;
        }
        for waiting in std::mem::take(&mut self.messages) {
            let kept = self.kept(waiting).await;
            self.taken.count(kept, 1);
        }
        self.taken
    }

    /// Waits for a message's commit. One that Postgres refuses whatever is tried is kept as it came.
    async fn kept(&self, waiting: Waiting) -> Result<(), ServiceError> {
        let Waiting {
            submitted,
            owner,
            field,
            raw,
        } = waiting;
        let kept = submitted.outcome().await.map(drop).map_err(ServiceError::from);
        self.or_keep(kept, &owner, &field, &raw).await
    }

    async fn keep_strays(&mut self, signed_by: &[String]) {
        if self.strays.is_empty() {
            return;
        }
        for (nobodys, update) in &self.strays {
            if !nobodys.may_be_claimed() {
                let number = update.number.as_ref().map(PhoneNumberId::as_str);
                let waba = update.waba.as_ref().map(WabaId::as_str);
                tracing::error!(
                    reason = nobodys.as_str(),
                    number,
                    waba,
                    "an update of Meta's was given to nobody"
                );
            }
        }
        let strays: Vec<Stray<'_>> = self
            .strays
            .iter()
            .map(|(nobodys, update)| Stray {
                reason: nobodys.as_str(),
                instance: match &update.number {
                    Some(number) => Some(number.as_str()),
                    None => update.waba.as_ref().map(WabaId::as_str),
                },
                body: update.raw.get().as_bytes(),
            })
            .collect();
        let kept = quarantine::keep_all(&self.state.db, Provider::Cloud, signed_by, &strays).await;
        match kept {
            Ok(()) => self.taken.strays += strays.len(),
            Err(error) => self.taken.count(Err(error.into()), strays.len()),
        }
    }
}

/// Records one account's reports together, and where that does not go each by itself, so that one that Postgres does not
/// like harms no other. Returns how many were recorded, and how many were not.
async fn record_reports(
    state: &State,
    scope: &TenantScope,
    account: AccountId,
    reports: Vec<StatusUpdate>,
) -> (usize, usize) {
    let record = |reports: Arc<[StatusUpdate]>| {
        let scope = scope.clone();
        let job = ReportJob {
            scope,
            account,
            reports,
        };
        state.reports.submit(job, PATIENCE)
    };
    let reports: Arc<[StatusUpdate]> = reports.into();
    let error = match record(Arc::clone(&reports)).await {
        Ok(()) => return (reports.len(), 0),
        Err(error) => error,
    };
    tracing::warn!(error = %crate::error::chain(&error), reports = reports.len(), "reports were not recorded together");
    let ReportError::Database(DatabaseError::Refused(_) | DatabaseError::NotFound | DatabaseError::Contended) =
        error
    else {
        return (0, reports.len());
    };
    let (mut done, mut left) = (0, 0);
    for report in &*reports {
        match record(std::iter::once(report.clone()).collect()).await {
            Ok(()) => done += 1,
            Err(ReportError::Database(error)) if !error.is_transient() => {
                // It is refused as often as it comes.
                tracing::error!(error = %crate::error::chain(&error), "a report cannot be recorded");
                let payload = serde_json::to_string(report).unwrap_or_default();
                let kept = keep(state, scope, account, "messages", Some(NOT_STORABLE), &payload).await;
                if kept.is_ok() { done += 1 } else { left += 1 }
            }
            Err(_) => left += 1,
        }
    }
    (done, left)
}

/// The message of ours that it reports about, by Meta's id and by ours.
fn about(update: &Update) -> Option<(&ProviderMessageId, Option<&str>)> {
    match &update.what {
        Ok(What::Status(report)) => Some((&report.id, report.callback.as_ref().map(Text::as_str))),
        _ => None,
    }
}

/// When it happened, where it says so.
fn time_of(update: &Update) -> Option<DateTime<Utc>> {
    match update.what.as_ref().ok()? {
        What::Event(InboundEvent::Message(message)) => Some(message.sent_at),
        What::Status(report) => Some(report.at),
        What::Identity(change) => Some(change.at),
        What::Preference(preference) => Some(preference.at),
        What::Quality(update) => update.at,
        What::Account(update) => update.at,
        What::Template(update) => update.at,
        What::Event(_) | What::Notice(_) | What::Unknown(_) => None,
    }
}

fn not_found(error: RouteError) -> ServiceError {
    match error {
        RouteError::Database(error) => error.into(),
        RouteError::NotLoaded(error) => {
            tracing::warn!(error = %crate::error::chain(error.as_ref()), "an account could not be looked up");
            ServiceError::Overloaded
        }
    }
}
