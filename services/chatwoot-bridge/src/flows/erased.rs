//! What was on its way when somebody was erased brings nothing of them back: events that happened before it are let go. Of
//! people only a keyed hash of each name is remembered, for as long as an event can be on its way.

use chrono::{DateTime, Utc};
use database::DatabaseError;
use messaging::lanes::NewTask;
use runtime::encryption::KeyRing;
use tenant_isolation::{TenantScope, TenantTransaction};

use super::work::read_stored;
use crate::store::erasures::{self, WHOLE_TENANT};

const PURPOSE: &str = "people who were erased";

fn message(scope: &TenantScope, name: &str) -> Vec<u8> {
    let name = name.strip_suffix("@s.whatsapp.net").unwrap_or(name);
    format!("{}/{name}", scope.tenant()).into_bytes()
}

/// Remembers that everybody with one of these names is erased now.
///
/// # Errors
/// [`DatabaseError`].
pub(super) async fn remember(
    tx: &mut TenantTransaction,
    keys: &KeyRing,
    names: &[String],
) -> Result<(), DatabaseError> {
    let signing = keys.signing_keys(PURPOSE);
    let who: Vec<Vec<u8>> = names
        .iter()
        .filter_map(|name| signing.sign(&message(tx.scope(), name)))
        .map(Vec::from)
        .collect();
    erasures::note(tx, &who).await
}

/// Is the task about something that happened at `moment`, and whom it is about, or the whole tenant, erased since?
///
/// # Errors
/// [`DatabaseError`].
pub(super) async fn is_of_erased(
    tx: &mut TenantTransaction,
    keys: &KeyRing,
    task: &NewTask,
    moment: DateTime<Utc>,
) -> Result<bool, DatabaseError> {
    let erased = erasures::since(tx, moment).await?;
    if erased.is_empty() {
        return Ok(false);
    }
    if erased.iter().any(|who| who == WHOLE_TENANT) {
        return Ok(true);
    }
    // What cannot be read is put aside by whoever has it in hand.
    let Ok(errand) = read_stored(task.kind, &task.payload) else {
        return Ok(false);
    };
    let signing = keys.signing_keys(PURPOSE);
    let is_erased = |name: &str| {
        let message = message(tx.scope(), name);
        erased.iter().any(|who| signing.verify(&message, who))
    };
    Ok(errand.work.names().into_iter().any(is_erased))
}
