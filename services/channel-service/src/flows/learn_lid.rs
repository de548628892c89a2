//! Which number is behind a hidden id (a LID of WhatsApp's, a user id of Meta's), learned from messages that show both. A person is one chat: the number's, as
//! soon as the number is known, and what was said under the hidden id until then moves there.

use std::collections::{BTreeMap, HashMap};

use chrono::Utc;
use database::DatabaseError;
use domain::address::{ChatAddress, Lid, PhoneNumber};
use domain::ids::{AccountId, ChatId};
use messaging::Envelope;
use messaging::events::chat_merged::ChatMerged;
use messaging::lanes;
use messaging::outbox::{NewRow, enqueue_group};
use tenant_isolation::{GroupTransaction, TenantTransaction};

use super::gate::deliver::lane as gate_lane;
use super::hand_over;
use super::ingest_message::Fresh;
use crate::store::chat::ChatKey;
use crate::store::chat_merge;
use crate::store::contact_lid::{self, HiddenId, LidKey};
use crate::store::inbound_ledger::Noted;

/// What a group of messages told about hidden ids.
#[derive(Debug, Default)]
pub(super) struct Learned(HashMap<LidKey, PhoneNumber>);

/// Gives each message that shows a hidden id alone the number that is known for it, and notes what the others teach.
/// Messages that teach what was known cost nothing here.
///
/// # Errors
/// [`DatabaseError`].
pub(super) async fn learn(
    tx: &mut GroupTransaction,
    fresh: &mut [Fresh<'_>],
    known: &Noted,
) -> Result<Learned, DatabaseError> {
    let mut claims: BTreeMap<LidKey, Option<PhoneNumber>> = BTreeMap::new();
    for one in &mut *fresh {
        let Some(key) = key_of(one) else { continue };
        let before = known.get(&one.id).and_then(Option::as_ref);
        match (&one.job.message.chat_phone, before) {
            (Some(phone), Some(before)) if phone == before => {}
            (Some(phone), _) => drop(claims.insert(key, Some(phone.clone()))),
            (None, Some(before)) => name_by_number(one, before.clone()),
            (None, None) => drop(claims.entry(key).or_insert(None)),
        }
    }
    if claims.is_empty() {
        return Ok(Learned::default());
    }
    let learned = contact_lid::claim_group(tx, &claims).await?;
    for one in fresh {
        if one.job.message.chat_phone.is_none()
            && let Some(phone) = key_of(one).and_then(|key| learned.get(&key))
        {
            name_by_number(one, phone.clone());
        }
    }
    Ok(Learned(learned))
}

fn key_of(fresh: &Fresh<'_>) -> Option<LidKey> {
    let hidden = HiddenId::shown_by(&fresh.job.message)?;
    Some((fresh.job.scope.tenant().clone(), fresh.job.account, hidden))
}

fn name_by_number(fresh: &mut Fresh<'_>, phone: PhoneNumber) {
    let message = &mut fresh.job.to_mut().message;
    message.chat = ChatAddress::Phone(phone.clone());
    message.chat_phone = Some(phone);
}

impl Learned {
    /// Locks the chats of the group together with those that may become one with them. Costs nothing where nothing was
    /// learned.
    ///
    /// # Errors
    /// [`DatabaseError`].
    pub(super) async fn lock_chats(
        &self,
        tx: &mut GroupTransaction,
        fresh: &[Fresh<'_>],
    ) -> Result<(), DatabaseError> {
        if self.0.is_empty() {
            return Ok(());
        }
        let hidden = self.0.keys();
        let hidden = hidden.map(|(tenant, account, id)| (tenant.clone(), *account, id.as_jid().to_owned()));
        let shown = fresh.iter().map(|Fresh { job, .. }| {
            let address = job.message.chat.as_str().to_owned();
            (job.scope.tenant().clone(), job.account, address)
        });
        chat_merge::lock_group(tx, &hidden.chain(shown).collect::<Vec<_>>()).await
    }

    /// Makes one chat of two, where a number became known that had a chat under its hidden id. The chat of the number
    /// survives; `chats` holds it, locked by this transaction like the other one, see [`Self::lock_chats`]. Whoever
    /// holds on to chats is told.
    ///
    /// # Errors
    /// [`DatabaseError`].
    pub(super) async fn merge_chats(
        &self,
        tx: &mut GroupTransaction,
        chats: &HashMap<ChatKey, ChatId>,
        fresh: &[Fresh<'_>],
    ) -> Result<(), DatabaseError> {
        let mut learned: Vec<(&LidKey, &PhoneNumber)> = self.0.iter().collect();
        learned.sort();
        for ((tenant, account, hidden), phone) in learned {
            let key = (tenant.clone(), *account, ChatAddress::Phone(phone.clone()));
            let Some(&into) = chats.get(&key) else { continue };
            let teaches = |one: &&Fresh<'_>| {
                let job = &one.job;
                job.scope.tenant() == tenant && job.account == *account && job.message.chat == key.2
            };
            let Some(teacher) = fresh.iter().find(teaches) else {
                continue;
            };
            let merged = chat_merge::merge(tx, tenant, *account, hidden.as_jid(), into).await?;
            if let Some(from) = merged {
                lanes::merge(tx, tenant, &from.to_string(), &into.to_string()).await?;
                lanes::merge(tx, tenant, &hand_over::lane(from), &hand_over::lane(into)).await?;
                lanes::merge(tx, tenant, &gate_lane(from), &gate_lane(into)).await?;
                let event = ChatMerged {
                    account_id: *account,
                    chat_id: into,
                    address: key.2.as_str().to_owned(),
                    merged_chat_id: from,
                    merged_address: hidden.as_jid().to_owned(),
                    at: Utc::now(),
                };
                let envelope = Envelope::new(&teacher.job.scope, &event)
                    .map_err(|error| DatabaseError::Refused(error.into()))?
                    .caused_by(teacher.job.request_id.clone())
                    .traced(teacher.job.traceparent);
                // Behind everything that was told of either chat.
                let row = NewRow {
                    lane: into.to_string(),
                    envelope,
                };
                enqueue_group(tx, vec![row]).await?;
                metrics::counter!("kanal_chats_merged_total").increment(1);
                tracing::info!(%tenant, chat = %from, %into, "two chats are one person");
            }
        }
        Ok(())
    }
}

/// The address under which the chat with this partner is kept: the number's, where it is known. Locks the hidden id
/// until the commit, so that a message that teaches the number at the same moment is not missed.
///
/// # Errors
/// [`DatabaseError`].
pub async fn chat_address(
    tx: &mut TenantTransaction,
    account: AccountId,
    to: ChatAddress,
) -> Result<(ChatAddress, Option<Lid>), DatabaseError> {
    let (hidden, lid) = match &to {
        ChatAddress::Lid(lid) => (HiddenId::Lid(lid.clone()), Some(lid.clone())),
        ChatAddress::User(user) => (HiddenId::User(user.clone()), None),
        _ => return Ok((to, None)),
    };
    let known = contact_lid::claim_one(tx, account, &hidden).await?;
    Ok((known.map_or(to, ChatAddress::Phone), lid))
}
