//! A person leaves and nothing of theirs stays with the tenant here: contacts, names and pictures, links of messages, what
//! waits to be sent or shown, events on their way to URLs, files' places, rules that name them.
//!
//! Contacts go last: until then a second run finds the person by any name, so an erasure that was interrupted is begun again
//! by the same order. Of agents' messages and of events the ids stay, until their age ends them, so that what is told again is
//! known and nothing is sent twice. What is on its way at the broker is let go when it comes ([`erased`](super::erased)); what
//! somebody has in hand finds its lane gone. The audit log has a keyed hash instead of a number.
//!
//! What others wrote about the person is theirs and stays. What lives in Chatwoot is Chatwoot's: which contacts these are is told.

use std::collections::BTreeSet;

use chores::person::{Names, pseudonym};
use database::{Database, DatabaseError};
use domain::address::ChatAddress;
use messaging::lanes;
use runtime::encryption::KeyRing;
use tenant_isolation::{PlatformScope, PlatformTransaction, TenantScope, TenantTransaction};

use super::erased;
use super::person::{self, LeftContact, Person};
use crate::store::audit_log::{self, Actor};
use crate::store::people::InInbox;
use crate::store::{forward_events, people, tenant_data};

const BATCH: i64 = 500;

/// Why a person is not erased, or not yet.
#[derive(Debug, thiserror::Error)]
pub enum ErasePersonError {
    /// Nothing here is the tenant's.
    #[error("there is no such tenant")]
    NoSuchTenant,
    /// Postgres failed; beginning again is safe.
    #[error(transparent)]
    Database(#[from] DatabaseError),
}

/// What was erased.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Erased {
    /// Addresses of theirs that Chatwoot had a contact for.
    pub contacts: usize,
    /// Links between a message here and there.
    pub links: usize,
    /// Agents' messages to them, of which the ids stay.
    pub replies: usize,
    /// What waited to be sent or shown, or was put aside.
    pub waiting: usize,
    /// Events on their way to the URLs of routes.
    pub events: usize,
    /// Inboxes whose list of people to ignore named them.
    pub rules: usize,
    /// Bodies in quarantine.
    pub quarantined: usize,
    /// The contacts that Chatwoot goes on having: delete them there.
    pub left_in_chatwoot: BTreeSet<LeftContact>,
}

/// Erases the person.
///
/// # Errors
/// [`ErasePersonError`].
pub async fn erase(
    db: &Database,
    keys: &KeyRing,
    scope: &TenantScope,
    who: &ChatAddress,
    actor: &Actor,
) -> Result<Erased, ErasePersonError> {
    let subject = pseudonym(keys, scope, who);
    let mut erased = Erased::default();
    let mut tx = TenantTransaction::begin(db, scope, "begin erasing a person").await?;
    if !tenant_data::is_known(&mut tx).await? {
        return Err(ErasePersonError::NoSuchTenant);
    }
    let known = person::find(&mut tx, who).await?;
    // What waits goes first, and what is on its way is not taken in any more: nothing is sent or shown while the rest goes.
    drop_waiting(&mut tx, keys, &known, &mut erased).await?;
    let installations = people::installations(&mut tx).await?;
    audit_log::note(&mut tx, &actor.act("person.erase", Some(subject.clone()))).await?;
    tx.commit().await?;

    erased.events += erase_events(db, scope, &known.names).await?;
    erased.links += erase_links(db, scope, &known.conversations()).await?;
    erased.quarantined += erase_outside(db, scope, &installations, &known.names).await?;
    let all = finish(db, keys, scope, who, &mut erased).await?;
    // What came in meanwhile, and names that were learned from it.
    erased.events += erase_events(db, scope, &all.names).await?;
    erased.links += erase_links(db, scope, &all.conversations()).await?;
    erased.quarantined += erase_outside(db, scope, &installations, &all.names).await?;
    erased.left_in_chatwoot = all.in_chatwoot.union(&known.in_chatwoot).cloned().collect();

    let mut tx = TenantTransaction::begin(db, scope, "end erasing a person").await?;
    let act = actor.act("person.erased", Some(subject)).saying(format!(
        "{} contacts, {} links, {} replies, {} waiting, {} events",
        erased.contacts, erased.links, erased.replies, erased.waiting, erased.events
    ));
    audit_log::note(&mut tx, &act).await?;
    tx.commit().await?;
    tracing::info!(
        tenant = %scope.tenant(), contacts = erased.contacts, events = erased.events, "a person was erased"
    );
    Ok(erased)
}

/// The last transaction that finds the person: what came in meanwhile, and the names by which they are found.
async fn finish(
    db: &Database,
    keys: &KeyRing,
    scope: &TenantScope,
    who: &ChatAddress,
    erased: &mut Erased,
) -> Result<Person, DatabaseError> {
    let mut tx = TenantTransaction::begin(db, scope, "erase a person").await?;
    let person = person::find(&mut tx, who).await?;
    drop_waiting(&mut tx, keys, &person, erased).await?;
    erased.replies += people::empty_replies(&mut tx, &person.names, &person.conversations()).await?;
    let contacts: Vec<InInbox> = person.contacts.iter().copied().collect();
    let (forgotten, rules) = people::forget(&mut tx, &person.names, &contacts).await?;
    erased.contacts += forgotten;
    erased.rules += rules;
    tx.commit().await?;
    Ok(person)
}

/// Takes away what waits about the person, and lets go from now on what is told of the time before.
async fn drop_waiting(
    tx: &mut TenantTransaction,
    keys: &KeyRing,
    person: &Person,
    erased: &mut Erased,
) -> Result<(), DatabaseError> {
    for lane in &person.lanes {
        erased.waiting += lanes::discard(tx, lane).await?;
    }
    let orders = person.orders(tx).await?;
    let lanes: Vec<String> = person.lanes.iter().cloned().collect();
    erased.waiting += people::delete_orders(tx, &orders, &lanes).await?;
    erased::remember(tx, keys, &person.names.addresses()).await
}

async fn erase_events(db: &Database, scope: &TenantScope, names: &Names) -> Result<usize, DatabaseError> {
    let (mut erased, mut next) = (0, Some(0));
    while let Some(after) = next {
        let mut tx = TenantTransaction::begin(db, scope, "erase a person's events").await?;
        let theirs = person::events(&mut tx, names, after).await?;
        erased += forward_events::erase(&mut tx, &theirs.events, &theirs.conversations).await?;
        tx.commit().await?;
        next = theirs.next;
    }
    Ok(erased)
}

async fn erase_links(
    db: &Database,
    scope: &TenantScope,
    conversations: &[InInbox],
) -> Result<usize, DatabaseError> {
    in_batches(async || {
        let mut tx = TenantTransaction::begin(db, scope, "erase a person's links").await?;
        let gone = people::delete_links(&mut tx, conversations, BATCH).await?;
        tx.commit().await?;
        Ok(gone)
    })
    .await
}

/// What stands in tables that are nobody's. Returns how many bodies were in quarantine.
async fn erase_outside(
    db: &Database,
    scope: &TenantScope,
    installations: &[String],
    names: &Names,
) -> Result<usize, DatabaseError> {
    let platform = PlatformScope::for_purpose("erase a person from quarantine");
    in_batches(async || {
        let mut tx = PlatformTransaction::begin(db, platform).await?;
        people::delete_locks(&mut tx, scope, names).await?;
        let gone = people::delete_quarantined(&mut tx, installations, names, BATCH).await?;
        tx.commit().await?;
        Ok(gone)
    })
    .await
}

/// Does a step until it finds less than a batch. Returns how many there were.
async fn in_batches(step: impl AsyncFn() -> Result<usize, DatabaseError>) -> Result<usize, DatabaseError> {
    let mut all = 0;
    loop {
        let gone = step().await?;
        all += gone;
        if i64::try_from(gone).unwrap_or(BATCH) < BATCH {
            return Ok(all);
        }
    }
}
