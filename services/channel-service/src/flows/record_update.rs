//! What Meta tells of accounts, templates, numbers and people: kept once for each tenant that it concerns, and published.

use chrono::{DateTime, Utc};
use database::{Database, DatabaseError};
use domain::ids::{AccountId, PhoneNumberId, WabaId};
use messaging::Envelope;
use messaging::events::whatsapp_update::{UpdateKind, WhatsAppUpdate};
use messaging::outbox::{NewRow, Signal, enqueue};
use serde_json::value::{RawValue, to_raw_value};
use tenant_isolation::{TenantScope, TenantTransaction};
use whatsapp::cloud::{TemplateChange, Update, What};

use crate::store::cloud_sending;
use crate::store::cloud_template::{self, Aspect, News};
use crate::store::cloud_update::{self, NewUpdate};

/// An update as it is kept and published.
#[derive(Debug)]
pub struct Told {
    kind: UpdateKind,
    subject: Option<String>,
    details: Box<RawValue>,
    at: Option<DateTime<Utc>>,
}

impl Told {
    /// Reads an update. `None`: it is a message, a status, or nothing that is published.
    ///
    /// # Errors
    /// [`DatabaseError::Refused`] for what cannot be written as JSON.
    pub fn of(what: &What) -> Result<Option<Self>, DatabaseError> {
        let (kind, subject, details, at) = match what {
            What::Identity(change) => (
                UpdateKind::Identity,
                Some(change.person.as_str().to_owned()),
                to_raw_value(change),
                Some(change.at),
            ),
            What::Notice(errors) => (UpdateKind::Notice, None, to_raw_value(errors), None),
            What::Account(update) => (UpdateKind::Account, None, to_raw_value(update), update.at),
            What::Template(update) => (
                UpdateKind::Template,
                update.name.as_ref().map(|name| name.as_str().to_owned()),
                to_raw_value(update),
                update.at,
            ),
            What::Quality(update) => (UpdateKind::Quality, None, to_raw_value(update), update.at),
            What::Preference(preference) => (
                UpdateKind::Preference,
                Some(preference.person.as_str().to_owned()),
                to_raw_value(preference),
                Some(preference.at),
            ),
            What::Event(_) | What::Status(_) | What::Unknown(_) => return Ok(None),
        };
        Ok(Some(Self {
            kind,
            subject,
            details: details.map_err(|error| DatabaseError::Refused(error.into()))?,
            at,
        }))
    }
}

/// Keeps and publishes an update for one tenant. False: it was told before.
///
/// # Errors
/// [`DatabaseError`].
pub async fn record(
    db: &Database,
    signal: &Signal,
    scope: &TenantScope,
    account: Option<AccountId>,
    update: &Update,
    told: &Told,
    request_id: Option<String>,
) -> Result<bool, DatabaseError> {
    let number = update.number.as_ref().map(PhoneNumberId::as_str);
    let place = number
        .or(update.waba.as_ref().map(WabaId::as_str))
        .unwrap_or_default();
    let kept = NewUpdate {
        scope: place,
        key: &update.key,
        kind: told.kind.as_str(),
        account,
        subject: told.subject.as_deref(),
        payload: told.details.get(),
    };
    let event = WhatsAppUpdate {
        kind: told.kind,
        account_id: account,
        waba_id: update.waba.clone(),
        phone_number_id: update.number.clone(),
        subject: told.subject.clone(),
        details: told.details.clone(),
        at: told.at.unwrap_or_else(Utc::now),
    };
    let envelope = Envelope::new(scope, &event).map_err(|error| DatabaseError::Refused(error.into()))?;
    let mut tx = TenantTransaction::begin(db, scope, "record update of Meta's").await?;
    let is_new = cloud_update::insert(&mut tx, &kept).await?;
    if is_new {
        let row = NewRow {
            lane: format!("whatsapp:{place}"),
            envelope: envelope.caused_by(request_id),
        };
        enqueue(&mut tx, vec![row]).await?;
        apply(&mut tx, account, update).await?;
    }
    tx.commit().await?;
    if is_new {
        metrics::counter!("kanal_whatsapp_updates_total", "kind" => told.kind.as_str()).increment(1);
        if told.kind == UpdateKind::Identity {
            tracing::warn!(tenant = %scope.tenant(), "a person's number, user id or phone changed");
        }
        signal.ring();
    }
    Ok(is_new)
}

/// What an update changes of what is known here.
async fn apply(
    tx: &mut TenantTransaction,
    account: Option<AccountId>,
    update: &Update,
) -> Result<(), DatabaseError> {
    match &update.what {
        Ok(What::Template(template)) => {
            let (Some(waba), Some(name)) = (&update.waba, &template.name) else {
                return Ok(());
            };
            let (waba, name) = (waba.as_str(), name.as_str());
            if matches!(template.change, TemplateChange::Components { .. }) {
                return cloud_template::forget(tx, waba, name).await;
            }
            let Some(language) = &template.language else {
                return Ok(());
            };
            for (aspect, value) in news_of(&template.change) {
                let news = News {
                    waba,
                    name,
                    language: language.as_str(),
                    aspect,
                    value,
                    at: template.at,
                };
                cloud_template::tell(tx, news).await?;
            }
            Ok(())
        }
        Ok(What::Quality(quality)) if quality.event.as_str() == "THROUGHPUT_UPGRADE" => match account {
            Some(account) => cloud_sending::upgrade(tx, account).await,
            None => Ok(()),
        },
        _ => Ok(()),
    }
}

/// What of a template is another than before.
fn news_of(change: &TemplateChange) -> Vec<(Aspect, &str)> {
    match change {
        TemplateChange::Status { event, category, .. } => {
            let status = match event.as_str() {
                // A warning: it can be sent as before.
                "FLAGGED" => None,
                "REINSTATED" => Some("APPROVED"),
                event => Some(event),
            };
            let status = status.map(|status| (Aspect::Status, status));
            let category = category.as_ref().map(|now| (Aspect::Category, now.as_str()));
            status.into_iter().chain(category).collect()
        }
        TemplateChange::Category { now, .. } => {
            now.iter().map(|now| (Aspect::Category, now.as_str())).collect()
        }
        TemplateChange::Quality { now, .. } => vec![(Aspect::Quality, now.as_str())],
        TemplateChange::Components { .. } => Vec::new(),
    }
}
