//! A person leaves and nothing of theirs stays with the tenant: messages of both directions, files, pictures, raw events,
//! what waits to be sent or told, names, cached values.
//!
//! Names and chats go last, in one transaction: until then a second run finds the person by any name, so an erasure that
//! was interrupted is begun again by the same order. Everything before that goes in small batches. A message that comes
//! afterwards is a stranger's first one. The dedup ledger keeps the provider's ids, so that a webhook that is repeated
//! brings nothing back; they end with their age. The audit log has a keyed hash instead of a number.
//!
//! What others wrote about the person, a number in their words or a card that they sent, is theirs and stays.

use cache::{RedisLink, SpamGuard};
use chores::person::{Names, pseudonym, typed_number};
use database::{Database, DatabaseError};
use domain::address::ChatAddress;
use messaging::lanes;
use runtime::encryption::KeyRing;
use tenant_isolation::{PlatformScope, PlatformTransaction, TenantScope, TenantTransaction};

use super::gate::deliver::lane as gate_lane;
use super::identifier::{UnknownIdentifier, read_identifier};
use super::tenant::Actor;
use super::{hand_over, media_garbage};
use crate::media::MediaStorage;
use crate::store::person::{self, Person, Raw, Where};
use crate::store::{audit, chat, takeover, tenant};

const BATCH: i64 = 500;

/// Why a person is not erased, or not yet.
#[derive(Debug, thiserror::Error)]
pub enum ErasePersonError {
    /// Nobody is registered under the tenant's id.
    #[error("there is no such tenant")]
    NoSuchTenant,
    /// Postgres failed; beginning again is safe.
    #[error(transparent)]
    Database(#[from] DatabaseError),
}

/// What was erased.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Erased {
    /// Messages, both directions.
    pub messages: usize,
    /// Conversations.
    pub chats: usize,
    /// Events as providers told them, those in quarantine included.
    pub raw_events: usize,
    /// Redis was there: nothing of the person is in it any more. Else what it holds ends by itself, within the day.
    pub cache: bool,
}

/// Whom somebody means who erases or gives out a person: as [`read_identifier`], and with the spellings that people type.
/// A number without its country is one of Indonesia's, as in the search for chats.
///
/// # Errors
/// [`UnknownIdentifier`].
pub fn read_person(typed: &str) -> Result<ChatAddress, UnknownIdentifier> {
    let address = match typed_number(typed) {
        Some(number) => ChatAddress::Phone(number),
        None => read_identifier(typed.trim())?,
    };
    match address {
        ChatAddress::Group(_) | ChatAddress::Other(_) => Err(UnknownIdentifier),
        _ => Ok(address),
    }
}

/// Erases the person, and their files in `files`; where those are not at hand, the sweep of files deletes them. Also
/// returns by what identifiers other services know them.
///
/// # Errors
/// [`ErasePersonError`].
pub async fn erase(
    db: &Database,
    keys: &KeyRing,
    redis: &RedisLink,
    files: Option<&MediaStorage>,
    scope: &TenantScope,
    who: &ChatAddress,
    actor: &Actor,
) -> Result<(Erased, Vec<String>), ErasePersonError> {
    let subject = pseudonym(keys, scope, who);
    let mut tx = TenantTransaction::begin(db, scope, "begin erasing a person").await?;
    if tenant::find(&mut tx).await?.is_none() {
        return Err(ErasePersonError::NoSuchTenant);
    }
    let known = person::find(&mut tx, who).await?;
    // What waits goes first: nothing more is sent or told while the rest goes.
    drop_waiting(&mut tx, &known).await?;
    let instances = person::instances(&mut tx).await?;
    audit::note(&mut tx, &actor.act("person.erase", Some(subject.clone()))).await?;
    tx.commit().await?;

    let mut erased = Erased::default();
    for place in [Where::Chats, Where::Groups] {
        erased.messages += in_batches(async || {
            let mut tx = TenantTransaction::begin(db, scope, "erase a person's messages").await?;
            chat::lock(&mut tx, &known.chats).await?;
            let gone = person::delete_messages(&mut tx, &known, place, BATCH).await?;
            tx.commit().await?;
            Ok(gone)
        })
        .await?;
    }
    erased.raw_events += erase_raw(db, scope, &instances, &known.names).await?;
    // Before the chats go, by whose ids it is found, and again for what came in meanwhile.
    let forgotten = forget_cached(redis, scope, &known).await;
    let (last, all) = finish(db, scope, who, subject, actor, &mut erased).await?;
    // Names that were learned meanwhile.
    if all.names != known.names {
        erased.raw_events += erase_raw(db, scope, &instances, &all.names).await?;
    }
    erased.messages += last;
    if let Some(files) = files
        && let Err(error) = media_garbage::take_out_of(db, files, scope).await
    {
        tracing::warn!(error = %crate::error::chain(&error), "files of an erased person are left to the sweep");
    }
    erased.cache = forgotten.is_some() && forget_cached(redis, scope, &all).await.is_some();
    tracing::info!(tenant = %scope.tenant(), messages = erased.messages, "a person was erased");
    Ok((erased, all.names.identifiers()))
}

/// The last transaction: what came in meanwhile, the chats, and the names by which the person was found.
async fn finish(
    db: &Database,
    scope: &TenantScope,
    who: &ChatAddress,
    subject: String,
    actor: &Actor,
    erased: &mut Erased,
) -> Result<(usize, Person), ErasePersonError> {
    let mut tx = TenantTransaction::begin(db, scope, "end erasing a person").await?;
    let mut person = person::find(&mut tx, who).await?;
    // Whoever writes to a chat holds its row: from here on nothing new comes in.
    let locked = chat::lock(&mut tx, &person.chats).await?;
    person.chats = locked.iter().map(|chat| chat.as_uuid()).collect();
    let mut last = 0;
    for place in [Where::Chats, Where::Groups] {
        last += person::delete_messages(&mut tx, &person, place, i64::MAX).await?;
    }
    drop_waiting(&mut tx, &person).await?;
    for id in &locked {
        takeover::delete_of_chat(&mut tx, *id).await?;
    }
    erased.chats = chat::delete(&mut tx, &person.chats).await?;
    person::forget_names(&mut tx, &person.names).await?;
    let act = actor.act("person.erased", Some(subject)).saying(format!(
        "{} messages, {} conversations, {} raw events",
        erased.messages + last,
        erased.chats,
        erased.raw_events
    ));
    audit::note(&mut tx, &act).await?;
    tx.commit().await?;
    Ok((last, person))
}

async fn drop_waiting(tx: &mut TenantTransaction, person: &Person) -> Result<(), DatabaseError> {
    for chat in person.all_chats() {
        lanes::discard(tx, &chat.to_string()).await?;
        lanes::discard(tx, &hand_over::lane(chat)).await?;
        lanes::discard(tx, &gate_lane(chat)).await?;
    }
    person::delete_outbox(tx, &person.chats).await?;
    Ok(())
}

async fn erase_raw(
    db: &Database,
    scope: &TenantScope,
    instances: &[String],
    names: &Names,
) -> Result<usize, DatabaseError> {
    let mut all = 0;
    for raw in Raw::ALL {
        all += in_batches(async || {
            let mut tx = TenantTransaction::begin(db, scope, "erase a person's raw events").await?;
            let gone = person::delete_raw(&mut tx, raw, names, BATCH).await?;
            tx.commit().await?;
            Ok(gone)
        })
        .await?;
    }
    let platform = PlatformScope::for_purpose("erase a person from quarantine");
    all += in_batches(async || {
        let mut tx = PlatformTransaction::begin(db, platform).await?;
        let gone = person::delete_quarantined(&mut tx, instances, names, BATCH).await?;
        tx.commit().await?;
        Ok(gone)
    })
    .await?;
    Ok(all)
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

async fn forget_cached(redis: &RedisLink, scope: &TenantScope, person: &Person) -> Option<()> {
    for chat in person.all_chats() {
        SpamGuard::forget_chat(redis, scope, chat).await?;
        redis
            .forget_ending(scope, "cloud_pair", &chat.to_string())
            .await?;
    }
    for address in person.names.addresses() {
        redis
            .forget_ending(scope, "gate_pair", &format!("/{address}"))
            .await?;
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_of_a_number_means_the_same_person() {
        for spelling in [
            "6281290000011",
            "+62 812-9000-0011",
            "081290000011",
            " 0812 9000 0011 ",
            "6281290000011@s.whatsapp.net",
        ] {
            let address = read_person(spelling).unwrap();
            assert_eq!(address.as_str(), "6281290000011@s.whatsapp.net", "{spelling}");
        }
        assert_eq!(read_person("2044@lid"), Err(UnknownIdentifier));
        assert_eq!(
            read_person("204466881133557@lid").unwrap().as_str(),
            "204466881133557@lid"
        );
    }

    #[test]
    fn nobody_else_is_meant() {
        for wrong in ["", "+", "120363@g.us", "status@broadcast", "halo", "0", "12"] {
            assert_eq!(read_person(wrong), Err(UnknownIdentifier), "{wrong:?}");
        }
    }
}
