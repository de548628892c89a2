//! What Meta told of a number before it was anybody's here, or known to be in the business account that it is in: kept in
//! quarantine, and taken in when it is.

use bytes::Bytes;
use chrono::Utc;
use database::DatabaseError;
use domain::ids::AccountId;
use tenant_isolation::{PlatformScope, PlatformTransaction, TenantScope, TenantTransaction};
use uuid::Uuid;

use super::{cloud, cloud_updates};
use crate::app::State;
use crate::error::ServiceError;
use crate::flows::route_number::Nobodys;
use crate::flows::session::SessionError;
use crate::store::cloud_number::{self, NumberRow};
use crate::store::{device, quarantine};

/// Bodies taken in at once; one request takes as many of them as it finds in the time of one.
const AT_ONCE: i64 = 200;
/// Most bodies of one request.
const MOST: usize = 5_000;

/// What came of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Replayed {
    /// Updates that are somebody's now.
    pub(crate) taken: usize,
    /// Updates that still are nobody's, for whatever reason: the number was another's then, or another app's.
    pub(crate) kept: usize,
}

/// Takes in what was kept of the number that the tenant's device is. Each update goes the way that it would have gone if it
/// came now, with the signature that it came with.
///
/// # Errors
/// [`SessionError::NoDevice`], or [`SessionError::NotANumber`].
pub(crate) async fn replay(
    state: &State,
    scope: &TenantScope,
    id: AccountId,
) -> Result<Replayed, ServiceError> {
    let number = number_of(state, scope, id).await?;
    let instances: Vec<&str> = std::iter::once(number.phone_number_id.as_str())
        .chain(number.waba_id.as_deref())
        .collect();
    let reasons = Nobodys::PASSING.map(Nobodys::as_str);
    let (mut replayed, mut after, mut seen) = (Replayed::default(), Uuid::nil(), 0);
    while seen < MOST {
        let platform = PlatformScope::for_purpose("take in what was kept of a number");
        let mut tx = PlatformTransaction::begin(&state.db, platform).await?;
        let kept = quarantine::kept_for(&mut tx, &instances, &reasons, after, AT_ONCE).await?;
        tx.commit().await?;
        let Some(last) = kept.last() else { break };
        (after, seen) = (last.id, seen + kept.len());
        let mut forgotten = Vec::with_capacity(kept.len());
        for row in kept {
            let id = row.id;
            match take_one(state, &row.signed_by, row.body.into()).await? {
                Some(taken) => {
                    replayed.taken += taken;
                    forgotten.push(id);
                }
                None => replayed.kept += 1,
            }
        }
        let mut tx = PlatformTransaction::begin(&state.db, platform).await?;
        quarantine::forget(&mut tx, &forgotten).await?;
        tx.commit().await?;
    }
    Ok(replayed)
}

/// How many updates of a body are somebody's now. `None`: none, and the body stays where it is.
async fn take_one(state: &State, signed_by: &[String], body: Bytes) -> Result<Option<usize>, ServiceError> {
    let Some((signed, signed_by)) = cloud::signed_before(&state.endpoints, signed_by, body) else {
        return Ok(None);
    };
    let Ok(updates) = signed.updates_with(Utc::now(), cloud::EVERYWHERE) else {
        return Ok(None);
    };
    let taken = cloud_updates::take_known(state, &signed_by, updates).await;
    if taken.left > 0 {
        return Err(ServiceError::Overloaded);
    }
    Ok((taken.done > 0).then_some(taken.done))
}

async fn number_of(state: &State, scope: &TenantScope, id: AccountId) -> Result<NumberRow, ServiceError> {
    let found: Result<_, DatabaseError> = async {
        let mut tx = TenantTransaction::begin(&state.db, scope, "find number of device").await?;
        let known = device::find(&mut tx, id).await?;
        let number = cloud_number::of_account(&mut tx, id).await?;
        tx.commit().await?;
        Ok((known, number))
    }
    .await;
    match found? {
        (None, _) => Err(ServiceError::Device(SessionError::NoDevice)),
        (Some(_), None) => Err(ServiceError::Device(SessionError::NotANumber)),
        (Some(_), Some(number)) => Ok(number),
    }
}
