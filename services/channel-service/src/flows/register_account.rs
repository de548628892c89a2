//! A tenant gets a sender: the account's row, its sealed credentials and the outside ids that lead to it.

use database::{Database, DatabaseError};
use domain::endpoint::Provider;
use domain::ids::{AccountId, TenantId};
use runtime::encryption::{EncryptionError, KeyRing};
use secrecy::SecretString;
use tenant_isolation::{TenantScope, TenantTransaction};

use super::route_account::AccountRoutes;
use super::tenant_config::{Place, place_of};
use crate::endpoints::Endpoints;
use crate::store::account::{self, AccountRow, INSTANCE, SESSION};
use crate::store::tenant;
use crate::store::tenant_move::{self, Binding};

/// What an operator says about an account.
#[derive(Debug)]
pub struct NewAccount {
    /// Whose it is.
    pub tenant: TenantId,
    /// The session's name on the WhatsApp server.
    pub instance_name: String,
    /// The server's id of the session.
    pub session_id: Option<String>,
    /// The session's token.
    pub token: SecretString,
    /// Signs the session's webhooks; without one the keys that are stored stay.
    pub webhook_key: Option<SecretString>,
    /// Forget the keys that are stored: webhooks are accepted unsigned.
    pub unsigned: bool,
}

/// Why an account cannot be registered.
#[derive(Debug, thiserror::Error)]
pub enum RegisterError {
    /// The name leads to somebody already.
    #[error("the instance name is registered for another account")]
    InstanceTaken,
    /// The session leads to somebody already.
    #[error("the session id is registered for another account")]
    SessionTaken,
    /// Webhooks that name the tenant by its id would be another tenant's.
    #[error("the tenant's id {0} is the instance name of another tenant's account")]
    TenantNameTaken(TenantId),
    /// The endpoint where the tenant's next device is made is not configured, or there is no telling which it is.
    #[error("the tenant's endpoint {} is not configured", .0.as_deref().unwrap_or("was not chosen yet and"))]
    EndpointMissing(Option<String>),
    /// Devices of the tenant's endpoint are made there.
    #[error("the tenant's endpoint {0} is of another kind: its devices are made over the API")]
    OtherProvider(String),
    /// A secret cannot be sealed.
    #[error(transparent)]
    Encryption(#[from] EncryptionError),
    /// Postgres failed.
    #[error(transparent)]
    Database(#[from] DatabaseError),
}

/// Registers an account, or replaces the session and the credentials of the one with this instance name.
///
/// # Errors
/// [`RegisterError`]; nothing is changed then.
pub async fn register(
    db: &Database,
    routes: &AccountRoutes,
    keys: &KeyRing,
    endpoints: &Endpoints,
    new: NewAccount,
) -> Result<AccountId, RegisterError> {
    let scope = TenantScope::named_by_operator(new.tenant.clone());
    let mut tx = TenantTransaction::begin(db, &scope, "register account").await?;
    let place = place_of(&mut tx, endpoints).await?;
    let registered = register_in(&mut tx, keys, &place, &new).await?;
    tx.commit().await?;
    registered.make_known(routes).await;
    Ok(registered.id)
}

/// An account that is registered as soon as the transaction it was registered in is committed.
#[derive(Debug)]
#[must_use = "other processes go on with the old account until the change is made known"]
pub struct Registered {
    /// The account.
    pub id: AccountId,
    names: Vec<(&'static str, String)>,
}

impl Registered {
    pub(super) const fn of(id: AccountId, names: Vec<(&'static str, String)>) -> Self {
        Self { id, names }
    }

    /// Makes the change known everywhere within a second. Call it after the commit.
    pub async fn make_known(&self, routes: &AccountRoutes) {
        for (kind, name) in &self.names {
            routes.forget(kind, name).await;
        }
    }
}

/// As [`register`], in a transaction of the caller's. An account without a session is bound to `place`; one that has a
/// session stays where that is.
///
/// # Errors
/// [`RegisterError`]; the transaction must be given up then.
pub async fn register_in(
    tx: &mut TenantTransaction,
    keys: &KeyRing,
    place: &Place,
    new: &NewAccount,
) -> Result<Registered, RegisterError> {
    tenant::ensure(tx, None).await?;
    let existing = match account::find_by_instance(tx, &new.instance_name).await? {
        Some(known) => Some(known),
        // An account that waits for its first session is the one this session is for.
        None => account::find_primary(tx)
            .await?
            .filter(|waiting| waiting.token_sealed.is_none()),
    };
    let id = existing
        .as_ref()
        .map_or_else(AccountId::generate, |row| AccountId::from_uuid(row.id));
    let webhook_keys_sealed = match (&new.webhook_key, &existing) {
        (Some(key), _) => vec![keys.seal(key, &account::webhook_key_binding(&new.tenant, id))?],
        (None, Some(row)) if !new.unsigned => row.webhook_keys_sealed.clone(),
        (None, _) => Vec::new(),
    };
    let (provider, endpoint) = match &existing {
        Some(row) if row.token_sealed.is_some() => (row.provider.clone(), row.endpoint.clone()),
        waiting => {
            let to = home(place)?;
            if waiting.is_some() {
                tenant_move::bind(tx, &[id], to).await?;
            }
            (to.provider.to_string(), to.endpoint.to_string())
        }
    };
    let row = AccountRow {
        id: id.as_uuid(),
        provider,
        endpoint,
        instance_name: new.instance_name.clone(),
        session_id: new.session_id.clone(),
        token_sealed: Some(keys.seal(&new.token, &account::token_binding(&new.tenant, id))?),
        webhook_keys_sealed,
    };
    account::upsert(tx, &row).await?;
    if !account::register(tx, INSTANCE, &new.instance_name, id).await? {
        return Err(RegisterError::InstanceTaken);
    }
    // Webhooks may also come under the tenant's id; a second account of the tenant leaves that name to the first.
    if !account::register(tx, INSTANCE, new.tenant.as_str(), id).await?
        && !account::is_registered(tx, INSTANCE, new.tenant.as_str()).await?
    {
        return Err(RegisterError::TenantNameTaken(new.tenant.clone()));
    }
    let old_session = existing
        .and_then(|row| row.session_id)
        .filter(|old| Some(old) != new.session_id.as_ref());
    if let Some(old) = &old_session {
        account::unregister(tx, SESSION, old).await?;
    }
    if let Some(session) = &new.session_id
        && !account::register(tx, SESSION, session, id).await?
    {
        return Err(RegisterError::SessionTaken);
    }

    let mut names = vec![
        (INSTANCE, new.instance_name.clone()),
        (INSTANCE, new.tenant.to_string()),
    ];
    names.extend(
        old_session
            .into_iter()
            .chain(new.session_id.clone())
            .map(|id| (SESSION, id)),
    );
    Ok(Registered { id, names })
}

/// Where a session can be registered.
fn home(place: &Place) -> Result<Binding<'_>, RegisterError> {
    let endpoint = place.endpoint.as_ref();
    let endpoint = endpoint.ok_or_else(|| RegisterError::EndpointMissing(place.name.clone()))?;
    if endpoint.provider != Provider::Genfity {
        return Err(RegisterError::OtherProvider(endpoint.name.to_string()));
    }
    Ok(Binding {
        endpoint: &endpoint.name,
        provider: endpoint.provider,
    })
}
