//! A session that its tenant left on another endpoint, or that outlived its tenant, is unlinked there: at once where that can
//! be done, else again and again.
//!
//! That it is left is written down in the transaction that leaves it, with all that is needed to unlink it: the token, and the
//! customer's key, which stays for as long as there is something to unlink. So it does not matter who dies when.

use std::time::Duration;

use chrono::{TimeDelta, Utc};
use domain::ids::{AccountId, TenantId};
use runtime::encryption::{EncryptionError, KeyRing};
use secrecy::{ExposeSecret as _, SecretString};
use tenant_isolation::{PlatformScope, PlatformTransaction, TenantScope, TenantTransaction};
use tokio::time::Instant;
use uuid::Uuid;
use whatsapp::credentials::SessionToken;
use whatsapp::genfity::CallError;

use super::create::Intent;
use super::delete::Outside;
use super::take_back::{Begun, sweeper};
use super::work::{LEASE, Work};
use super::{SessionError, Sessions};
use crate::flows::tenant::Actor;
use crate::flows::tenant_config::place_of;
use crate::store::account::{self, AccountRow};
use crate::store::session::{self, SessionRow, SessionVia};
use crate::store::session_intent::{self, IntentRow};
use crate::store::session_to_unlink::{self, DueRow, LeftRow, NewLeft};
use crate::store::{audit, support_customer, tenant};

/// How long one may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// The wait after the first try; it doubles.
const FIRST: Duration = Duration::from_secs(60);
/// The longest wait.
const LONGEST: Duration = Duration::from_secs(60 * 60);
/// How long what is due at an endpoint is left alone that is away.
const REST: Duration = Duration::from_secs(60);
/// A session that was not unlinked by then stays where it is.
const GIVE_UP: TimeDelta = TimeDelta::days(7);

/// What became of a session that was to be unlinked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unlinking {
    /// It is gone there.
    Unlinked,
    /// Its tenant came back to it.
    UsedAgain,
    /// It is tried again later. `away`: the endpoint did not answer, and would not for another one.
    Later {
        /// The endpoint did not answer.
        away: bool,
    },
    /// It stays where it is.
    GivenUp,
    /// There was nothing to be done, or somebody else works on the tenant's sessions.
    Nothing,
}

impl Unlinking {
    const fn as_str(self) -> Option<&'static str> {
        match self {
            Self::Unlinked => Some("unlinked"),
            Self::UsedAgain => Some("used_again"),
            Self::Later { .. } => Some("failed"),
            Self::GivenUp => Some("given_up"),
            Self::Nothing => None,
        }
    }
}

impl Sessions {
    /// Writes down, in the transaction that leaves it, that a session is to be unlinked.
    pub(super) async fn leave_session(
        &self,
        tx: &mut TenantTransaction,
        row: &SessionRow,
    ) -> Result<Uuid, SessionError> {
        leave(tx, &self.keys, row, FIRST).await
    }

    /// As [`Self::leave_session`], of one that was only begun and could not be taken back.
    pub(super) async fn leave_begun(
        &self,
        tx: &mut TenantTransaction,
        known: &IntentRow,
        row: &AccountRow,
        why: &SessionError,
        actor: &Actor,
    ) -> Result<(), SessionError> {
        leave_intent(tx, &self.keys, known, row, Some(reason_of(why)), FIRST).await?;
        let mut act = actor.act("endpoint.unlink", Some(known.session_name.clone()));
        act.detail = Some("left behind".to_owned());
        audit::note(tx, &act).await?;
        Ok(())
    }

    /// Unlinks what was just left, as far as that can be done until then. Gives how many are left to the sweep.
    pub(super) async fn unlink_at_once(
        &self,
        work: &Work<'_>,
        left: &[Uuid],
        until: Instant,
        actor: &Actor,
    ) -> usize {
        let mut left_behind = 0;
        for id in left {
            match self.try_unlinking(work, *id, until, actor).await {
                Ok(Unlinking::Later { .. } | Unlinking::GivenUp) => left_behind += 1,
                Ok(Unlinking::Unlinked | Unlinking::UsedAgain | Unlinking::Nothing) => {}
                Err(error) => {
                    tracing::warn!(tenant = %work.scope().tenant(), error = %crate::error::chain(&error),
                        "it is not known what became of a session that was to be unlinked");
                    left_behind += 1;
                }
            }
        }
        left_behind
    }

    /// Sessions whose turn it is to be unlinked, at most `most`.
    ///
    /// # Errors
    /// [`SessionError::Database`].
    pub async fn due_to_unlink(&self, most: i64) -> Result<Vec<DueRow>, SessionError> {
        let mut tx = self.sweep_of_left().await?;
        let due = session_to_unlink::due(&mut tx, most).await?;
        tx.commit().await?;
        Ok(due)
    }

    /// Tries once to unlink a session that was left.
    ///
    /// # Errors
    /// [`SessionError`] about our own side; it is tried again then.
    pub async fn unlink_left(&self, due: &DueRow) -> Result<Unlinking, SessionError> {
        let Ok(tenant) = TenantId::parse(due.tenant_id.as_str()) else {
            return Ok(Unlinking::Nothing);
        };
        let platform = PlatformScope::for_purpose("sweep sessions to unlink");
        let scope = TenantScope::of_swept_row(&platform, tenant);
        let Some(work) = self.try_work(&scope).await? else {
            return Ok(Unlinking::Nothing);
        };
        let until = Instant::now() + PATIENCE;
        let outcome = self.try_unlinking(&work, due.id, until, &sweeper()).await;
        work.end().await;
        outcome
    }

    /// Leaves what is due at an endpoint alone for a while: it is away.
    ///
    /// # Errors
    /// [`SessionError::Database`].
    pub async fn rest_unlinking_at(&self, endpoint: &str) -> Result<(), SessionError> {
        let mut tx = self.sweep_of_left().await?;
        session_to_unlink::postpone(&mut tx, endpoint, REST).await?;
        tx.commit().await?;
        Ok(())
    }

    async fn sweep_of_left(&self) -> Result<PlatformTransaction, SessionError> {
        let platform = PlatformScope::for_purpose("sweep sessions to unlink");
        Ok(PlatformTransaction::begin(&self.db, platform).await?)
    }

    async fn try_unlinking(
        &self,
        work: &Work<'_>,
        id: Uuid,
        until: Instant,
        actor: &Actor,
    ) -> Result<Unlinking, SessionError> {
        let outcome = self.try_once(work, id, until, actor).await?;
        if let Some(word) = outcome.as_str() {
            metrics::counter!("kanal_sessions_unlinked_total", "outcome" => word).increment(1);
        }
        Ok(outcome)
    }

    async fn try_once(
        &self,
        work: &Work<'_>,
        id: Uuid,
        until: Instant,
        actor: &Actor,
    ) -> Result<Unlinking, SessionError> {
        let mut tx = work.transaction("begin unlinking").await?;
        let Some(row) = session_to_unlink::begin(&mut tx, id, FIRST, LONGEST).await? else {
            return Ok(Unlinking::Nothing);
        };
        let is_used = session_to_unlink::is_used_again(&mut tx, &row).await?;
        tx.commit().await?;
        if is_used {
            self.end_unlinking(work, &row, "used again", actor).await?;
            return Ok(Unlinking::UsedAgain);
        }
        let (reason, away) = match tokio::time::timeout_at(until, self.remove_left(work, &row)).await {
            Ok(Ok(())) => {
                self.end_unlinking(work, &row, "unlinked", actor).await?;
                return Ok(Unlinking::Unlinked);
            }
            Ok(Err(error @ (SessionError::Database(_) | SessionError::Busy))) => return Err(error),
            Ok(Err(error)) => {
                tracing::warn!(tenant = %work.scope().tenant(), endpoint = row.endpoint,
                    error = %crate::error::chain(&error), "a session could not be unlinked where it was left");
                (reason_of(&error), is_about_all(&error))
            }
            Err(_) => {
                tracing::warn!(tenant = %work.scope().tenant(), endpoint = row.endpoint,
                    "a session was not unlinked in time where it was left");
                ("provider_silent", true)
            }
        };
        if Utc::now() - row.left_at >= GIVE_UP {
            tracing::error!(tenant = %work.scope().tenant(), endpoint = row.endpoint, session = row.session_name,
                reason, "a session stays linked where its tenant left it: unlink it by hand");
            let detail = format!("given up: {reason}");
            self.end_unlinking(work, &row, &detail, actor).await?;
            return Ok(Unlinking::GivenUp);
        }
        let mut tx = work.transaction("put unlinking off").await?;
        session_to_unlink::note_reason(&mut tx, row.id, reason).await?;
        if row.tries == 1 {
            note(&mut tx, &row, "left behind", actor).await?;
        }
        tx.commit().await?;
        Ok(Unlinking::Later { away })
    }

    /// What an erased tenant of the same id left under the name of a session that is to be made goes first: the new tenant's
    /// would be taken for it, with the phone that is still linked to it.
    pub(super) async fn clear_predecessors(
        &self,
        work: &Work<'_>,
        intent: &Intent,
        actor: &Actor,
    ) -> Result<(), SessionError> {
        let mut tx = work.transaction("look for sessions of an erased tenant").await?;
        let left =
            session_to_unlink::of_predecessor(&mut tx, intent.endpoint.name.as_str(), &intent.name).await?;
        tx.commit().await?;
        for row in left {
            work.go_on().await?;
            self.remove_left(work, &row).await?;
            self.end_unlinking(work, &row, "unlinked", actor).await?;
        }
        Ok(())
    }

    /// The key for it goes with the last session that was to be unlinked.
    async fn end_unlinking(
        &self,
        work: &Work<'_>,
        row: &LeftRow,
        detail: &str,
        actor: &Actor,
    ) -> Result<(), SessionError> {
        let mut tx = work.transaction("end unlinking").await?;
        session_to_unlink::delete(&mut tx, row.id).await?;
        // An erased tenant belongs nowhere.
        let place = match tenant::find(&mut tx).await? {
            Some(_) => place_of(&mut tx, &self.endpoints).await?.name,
            None => None,
        };
        support_customer::forget_unused(&mut tx, place.as_deref()).await?;
        note(&mut tx, row, detail, actor).await?;
        tx.commit().await?;
        Ok(())
    }

    async fn remove_left(&self, work: &Work<'_>, row: &LeftRow) -> Result<(), SessionError> {
        let endpoint = self.endpoint_named(&row.provider, &row.endpoint)?;
        let binding = session_to_unlink::token_binding(work.scope().tenant(), &row.endpoint, row.id);
        let sealed = row.token_sealed.as_deref();
        let token = sealed.and_then(|sealed| self.keys.open(sealed, &binding).ok());
        let via = row.session_via.as_deref();
        if let (None, Some(via)) = (&row.session_id, via.and_then(SessionVia::parse)) {
            let begun = Begun {
                endpoint,
                via,
                name: &row.session_name,
                token: token.as_ref(),
            };
            return self.remove_begun(work, &begun).await;
        }
        let outside = Outside {
            endpoint,
            via,
            session_id: row.session_id.as_deref(),
            token: token.and_then(|token| SessionToken::new(token.expose_secret()).ok()),
        };
        self.remove_there(work, &outside).await
    }
}

/// Writes down that everything is to be unlinked that the tenant has anywhere, or has begun to make, and takes it from its
/// accounts. The sweep unlinks it at once. Returns how much that is.
///
/// # Errors
/// [`SessionError`] about our own side.
pub(in crate::flows) async fn leave_all(
    tx: &mut TenantTransaction,
    keys: &KeyRing,
) -> Result<usize, SessionError> {
    let mut left = 0;
    for known in session_intent::list(tx).await? {
        let row = account::find(tx, known.account()).await?;
        // Whoever is making it may still be at it.
        leave_intent(tx, keys, &known, &row, None, 2 * LEASE).await?;
        session_intent::delete(tx, known.account()).await?;
        left += 1;
    }
    for row in session::all(tx).await? {
        // Nobody is logged in with a number: whoever may use it says Meta.
        if !row.is_number() {
            leave(tx, keys, &row, Duration::ZERO).await?;
            left += 1;
        }
        session::clear(tx, row.account()).await?;
    }
    Ok(left)
}

async fn leave(
    tx: &mut TenantTransaction,
    keys: &KeyRing,
    row: &SessionRow,
    first: Duration,
) -> Result<Uuid, SessionError> {
    let tenant = tx.scope().tenant().clone();
    let token = keys.open(&row.token_sealed, &account::token_binding(&tenant, row.account()));
    let id = Uuid::now_v7();
    let new = NewLeft {
        id,
        endpoint: &row.endpoint,
        provider: &row.provider,
        session_name: &row.instance_name,
        session_id: row.session_id.as_deref(),
        session_via: row.session_via.as_deref(),
        token_sealed: seal_left(keys, &tenant, &row.endpoint, id, token)?,
        reason: None,
    };
    session_to_unlink::insert(tx, &new, first).await?;
    Ok(id)
}

async fn leave_intent(
    tx: &mut TenantTransaction,
    keys: &KeyRing,
    known: &IntentRow,
    row: &AccountRow,
    reason: Option<&'static str>,
    first: Duration,
) -> Result<(), SessionError> {
    let tenant = tx.scope().tenant().clone();
    let token = keys.open(
        &known.token_sealed,
        &session_intent::token_binding(&tenant, AccountId::from_uuid(row.id)),
    );
    let id = Uuid::now_v7();
    let new = NewLeft {
        id,
        endpoint: &row.endpoint,
        provider: &row.provider,
        session_name: &known.session_name,
        session_id: None,
        session_via: Some(&known.via),
        token_sealed: seal_left(keys, &tenant, &row.endpoint, id, token)?,
        reason,
    };
    session_to_unlink::insert(tx, &new, first).await?;
    Ok(())
}

/// A token that does not open is left out: what can be unlinked without it is.
fn seal_left(
    keys: &KeyRing,
    tenant: &TenantId,
    endpoint: &str,
    id: Uuid,
    token: Result<SecretString, EncryptionError>,
) -> Result<Option<String>, EncryptionError> {
    let binding = session_to_unlink::token_binding(tenant, endpoint, id);
    token.ok().map(|token| keys.seal(&token, &binding)).transpose()
}

async fn note(
    tx: &mut TenantTransaction,
    row: &LeftRow,
    detail: &str,
    actor: &Actor,
) -> Result<(), SessionError> {
    let mut act = actor.act("endpoint.unlink", Some(row.session_name.clone()));
    act.detail = Some(detail.to_owned());
    audit::note(tx, &act).await?;
    Ok(())
}

/// Why it was not unlinked, as a stable code.
fn reason_of(error: &SessionError) -> &'static str {
    match error {
        SessionError::EndpointMissing(_) => "endpoint_missing",
        SessionError::NotConfigured => "not_configured",
        SessionError::Encryption(_) => "secret_does_not_open",
        SessionError::Provider(failure) => failure.reason.as_str(),
        SessionError::Maker(error) => match error {
            CallError::Unreachable { .. } => "provider_unreachable",
            CallError::NoAnswer { .. } => "provider_silent",
            CallError::Refused { .. } => "provider_refused",
            CallError::Unreadable { .. } => "provider_unreadable",
            CallError::Credential { .. } => "unusable_credential",
        },
        _ => "failed",
    }
}

/// Would every other session of the endpoint meet the same?
const fn is_about_all(error: &SessionError) -> bool {
    matches!(
        error,
        SessionError::EndpointMissing(_)
            | SessionError::Maker(CallError::Unreachable { .. } | CallError::NoAnswer { .. })
    )
}
